//! Learns how the features of a candidate weigh, from orders that came after the models were
//! fitted.

use crate::algorithms::recommend::Progress;
use crate::tasks::cross_sell::features::FEATURES;
use crate::tasks::cross_sell::{Cart, CrossSellParts, RequestKind};
use crate::tasks::order_history::{OrderHistory, days_since_epoch};
use aisle_data::{Catalog, NONE, Orders};
use aisle_math::logit::Choices;
use aisle_math::random::SplitMix;
use aisle_retrieval::bitmap::Bitmap;
use aisle_retrieval::index::Eligible;
use rayon::prelude::*;
use std::ops::RangeInclusive;

/// Choices that the weights of a kind of request are learned from, at most.
const MAX_CHOICES: usize = 8000;
/// Choices below which the weights of a kind of request are not learned.
const MIN_CHOICES: usize = 50;
/// Alternatives of a choice, the chosen one included, at most: others are drawn from its
/// candidates.
const MAX_ALTERNATIVES: usize = 100;
/// Known items of an order that is learned from: two lines and the missing one at least.
const ORDER_ITEMS: RangeInclusive<usize> = 3..=200;
/// Orders of a choice that are computed at once: the drawn ones are many more than those needed.
const BLOCK: usize = 1024;
/// The strength of the logit's ridge penalty.
const RIDGE: f64 = 3.0;
/// The seed of the draw of choices.
const SEED: u64 = 42;

/// What weights are learned from: models fitted to the earlier part of a log, and the orders that
/// came after it. Both have the same rows of users and items.
pub(crate) struct LaterOrders<'a> {
    /// The models.
    pub parts: CrossSellParts<'a>,
    /// The earlier orders of each shopper.
    pub order_history: &'a OrderHistory,
    /// Items that the personal model can recommend.
    pub recommendable: &'a Bitmap,
    /// The catalogue.
    pub catalog: &'a Catalog,
    /// The orders that came after.
    pub orders: &'a Orders,
}

/// A line of a later order that the models are to find from the other lines.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct MissingLine {
    order: usize,
    /// The place of the line among the known items of the order.
    line: usize,
}

/// Learns the weights. Returns them with the number of choices; `None` if there are too few.
pub(crate) fn learn(later: &LaterOrders, progress: &dyn Progress) -> Option<(Vec<f32>, usize)> {
    let known = Bitmap::of(later.catalog.len(), |item| {
        later.parts.model.complements.order_count(item) > 0 && later.recommendable.contains(item)
    });
    let recommend_for_cart = later.draw_missing_lines(&known)?;
    let mut weights = later.parts.model.weights.to_vec();
    let mut learned_from = 0;
    for (number, kind) in RequestKind::ALL.into_iter().enumerate() {
        let choices = later.choices(&recommend_for_cart, kind, &known);
        progress.step("cross-sell: learning", number + 1, RequestKind::ALL.len());
        if choices.len() < MIN_CHOICES {
            continue;
        }
        learned_from += choices.len();
        if let Some(fitted) = choices.fit(RIDGE) {
            weights[kind as usize * FEATURES..][..FEATURES].copy_from_slice(&fitted);
        }
    }
    (learned_from > 0).then_some((weights, learned_from))
}

impl LaterOrders<'_> {
    /// The items of an order that the models know.
    fn known_items(&self, order: usize, known: &Bitmap) -> Vec<u32> {
        let items = self.orders.order(order).iter().copied();
        items.filter(|&item| known.contains(item)).collect()
    }

    /// Draws lines that share their category with no other line of their order, because
    /// cross-selling answers with other categories. `None` if there are too few.
    fn draw_missing_lines(&self, known: &Bitmap) -> Option<Vec<MissingLine>> {
        let category = |item: u32| self.parts.indexes.groups.category_of(item);
        let mut all: Vec<MissingLine> = Vec::new();
        for order in 0..self.orders.len() {
            let items = self.known_items(order, known);
            if !ORDER_ITEMS.contains(&items.len()) {
                continue;
            }
            for (line, &target) in items.iter().enumerate() {
                let of_target = category(target);
                let mut others = items.iter().enumerate();
                let is_alone = others.all(|(at, &item)| at == line || category(item) != of_target);
                if of_target == NONE || is_alone {
                    all.push(MissingLine { order, line });
                }
            }
        }
        if all.len() < MIN_CHOICES {
            return None;
        }
        // Spread evenly over orders and lines.
        let mut random = SplitMix(SEED);
        let mut drawn: Vec<(u64, MissingLine)> = all
            .into_iter()
            .map(|missing| (random.draw(), missing))
            .collect();
        drawn.sort_unstable();
        // Not every line becomes a choice of every kind of request.
        drawn.truncate(4 * MAX_CHOICES);
        Some(drawn.into_iter().map(|(_, missing)| missing).collect())
    }

    /// The choices of one kind of request, from as many of the missing lines as are needed.
    fn choices(&self, missing: &[MissingLine], kind: RequestKind, known: &Bitmap) -> Choices {
        let mut choices = Choices::new(FEATURES, false);
        for block in missing.chunks(BLOCK) {
            let rows: Vec<Option<Vec<f32>>> = block
                .par_iter()
                .map(|&missing| self.choice(missing, kind, known))
                .collect();
            for rows in rows.into_iter().flatten() {
                choices.push(&rows, Some(0));
            }
            if choices.len() >= MAX_CHOICES {
                break;
            }
        }
        choices
    }

    /// The features of the alternatives for a missing line, [`FEATURES`] numbers each, the chosen
    /// one first. `None` if the missing item is not a candidate, or the shopper has no orders where
    /// the kind of request needs them.
    fn choice(&self, missing: MissingLine, kind: RequestKind, known: &Bitmap) -> Option<Vec<f32>> {
        let MissingLine { order, line } = missing;
        let mut cart_items = self.known_items(order, known);
        let target = cart_items[line];
        cart_items.retain(|&item| item != target);
        let user = Some(self.orders.user[order])
            .filter(|&user| user != NONE && kind != RequestKind::UnknownShopper);
        let mut except = cart_items.clone();
        let mut allowed = known.clone();
        for &item in &cart_items {
            self.parts
                .indexes
                .remove_category_of(item, self.catalog, &mut allowed);
        }
        let now = Some(days_since_epoch(self.orders.time[order]));
        let past = user
            .map(|user| self.order_history.purchase_history(user, &cart_items, now))
            .unwrap_or_default();
        let only_new = kind == RequestKind::OnlyNewItems;
        if only_new {
            except.extend(past.items.iter().map(|purchased| purchased.item));
            except.sort_unstable();
            except.dedup();
        }
        let cart = Cart {
            items: &cart_items,
            user,
            past: &past,
            only_new,
        };
        // A shopper without earlier orders is an unknown one: such lines teach the weights of
        // unknown shoppers alone.
        if RequestKind::of(&cart) != kind {
            return None;
        }
        let eligible = Eligible::without(&allowed, &except);
        let candidates = self
            .parts
            .candidates(cart, 0, eligible, |features| features.row());
        let chosen = candidates.items.binary_search(&target).ok()?;
        let mut random = SplitMix(order as u64 ^ (line as u64) << 32);
        let mut others: Vec<(u64, usize)> = (0..candidates.items.len())
            .filter(|&at| at != chosen)
            .map(|at| (random.draw(), at))
            .collect();
        others.sort_unstable();
        let others = others.into_iter().map(|(_, at)| at);
        let alternatives = std::iter::once(chosen).chain(others.take(MAX_ALTERNATIVES - 1));
        Some(alternatives.flat_map(|at| candidates.values[at]).collect())
    }
}
