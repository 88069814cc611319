//! The features of a step up, and the probabilities that follow from them.

use crate::algorithms::recommend::Recommend;
use crate::catalog::CatalogIndexes;
use crate::tasks::cross_sell::CrossSellModel;
use crate::tasks::group_purchases::GroupPurchases;
use crate::tasks::order_history::PurchaseHistory;
use crate::tasks::shopper_histories::ShopperHistories;
use crate::tasks::upsell::UpsellModel;
use aisle_data::{Catalog, NONE};
use aisle_math::kernels::{dot, ln, simd};
use aisle_math::logit::softmax;
use std::collections::BTreeMap;

/// Features of a step.
pub(super) const FEATURES: usize = 28;

/// The usual price level counts as much as this many orders in a shopper's own.
const PRIOR_ORDERS: f32 = 10.0;
/// Shoppers without a step that are added to those of each item: a few steps of a rare item say
/// little.
const PRIOR_SHOPPERS: f32 = 5.0;

/// Which weights a step has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum SetOfWeights {
    /// Those of a known shopper.
    KnownShopper,
    /// Those of an unknown shopper.
    UnknownShopper,
}

impl SetOfWeights {
    /// How many sets there are.
    pub(super) const COUNT: usize = 2;

    fn of(anchor: &Anchor) -> Self {
        match anchor.shopper {
            Some(_) => Self::KnownShopper,
            None => Self::UnknownShopper,
        }
    }
}

/// The weights before anything is learned: earlier steps, similarity and sales decide, and about
/// one shopper in a hundred steps up.
pub(super) fn initial_weights() -> Vec<f32> {
    let mut weights = vec![0f32; SetOfWeights::COUNT * FEATURES];
    for weights in weights.chunks_mut(FEATURES) {
        weights[..5].copy_from_slice(&[-9.0, 1.0, 0.0, 1.0, 0.7]);
    }
    weights
}

/// An item that a shopper may step up from.
pub(crate) struct Anchor<'a> {
    /// Item row.
    pub item: u32,
    /// The shopper with what they bought before, if known.
    pub shopper: Option<(u32, &'a PurchaseHistory)>,
}

/// The fitted models that upselling reads.
#[derive(Clone, Copy)]
pub struct UpsellParts<'a> {
    /// The model of upselling itself.
    pub model: &'a UpsellModel,
    /// The personal model: what the shopper likes, and which items are similar.
    pub personal: &'a dyn Recommend,
    /// The model of cross-selling, for its statistics of items.
    pub cross_sell: &'a CrossSellModel,
    /// The history of each shopper.
    pub histories: &'a ShopperHistories,
    /// The catalogue.
    pub catalog: &'a Catalog,
    /// The indexes of the catalogue.
    pub indexes: &'a CatalogIndexes,
}

/// 1 for true, 0 for false.
fn indicator(condition: bool) -> f32 {
    if condition { 1.0 } else { 0.0 }
}

impl UpsellParts<'_> {
    /// The probability that the anchor's shopper steps up to each of some higher-priced items,
    /// which ascend by row. `price` returns the current price of an item.
    pub(crate) fn step_probabilities(
        &self,
        anchor: &Anchor,
        items: &[u32],
        price: &dyn Fn(u32) -> f32,
    ) -> Vec<f32> {
        let set = SetOfWeights::of(anchor) as usize;
        let weights = &self.model.weights[set * FEATURES..][..FEATURES];
        let mut utilities = Vec::with_capacity(items.len());
        self.step_features(anchor, items, price, |features| {
            utilities.push(dot(features, weights));
        });
        softmax(&mut utilities, true);
        utilities
    }

    /// Hands the features of a step to each item (ascending by row) to `read`, one item after the
    /// other: a table of them could be large, and would be allocated anew for every request.
    pub(super) fn step_features(
        &self,
        anchor: &Anchor,
        items: &[u32],
        price: &dyn Fn(u32) -> f32,
        mut read: impl FnMut(&[f32; FEATURES]),
    ) {
        let model = self.model;
        let groups = &self.indexes.groups;
        let mut steps: Vec<(u32, u32)> = model.steps(anchor.item).collect();
        let all_step_shoppers: u32 = steps.iter().map(|step| step.1).sum();
        steps.sort_unstable();
        let mut steps = steps.into_iter().peekable();
        let similarities = self.personal.similarities(anchor.item, items);
        let no_purchases = PurchaseHistory::default();
        let past = anchor.shopper.map_or(&no_purchases, |(_, past)| past);
        let is_known = indicator(anchor.shopper.is_some());
        let by_group = GroupPurchases::of(past, groups);
        let [path, ..] = by_group.get(groups, anchor.item);
        let decayed_orders = past
            .of(anchor.item)
            .map_or(0.0, |purchased| purchased.decayed_orders[1]);
        let ln_orders = past.ln_orders();
        let price_level = self.price_level(past, price);
        let anchor_brand = self.catalog.brand.code(anchor.item);
        let anchor_ln_sales = self.cross_sell.item_features(anchor.item).ln_sales;
        let usual_log_ratio = model.usual_log_ratios[anchor.item as usize];
        let personal_scores = anchor.shopper.map(|(user, _)| {
            let history = self.histories.history(user);
            self.personal.standardized_scores(history, items)
        });
        let anchor_price = price(anchor.item);
        let mut log_ratios: Vec<f32> = items
            .iter()
            .map(|&item| (price(item) / anchor_price).max(1.0))
            .collect();
        ln(simd(), &mut log_ratios);
        let candidates = items.iter().zip(similarities).zip(log_ratios);
        for (at, ((&item, similarity), log_ratio)) in candidates.enumerate() {
            // Both the steps and the items ascend.
            while steps.next_if(|step| step.0 < item).is_some() {}
            let shoppers = steps
                .next_if(|step| step.0 == item)
                .map_or(0, |step| step.1) as f32;
            let personal_score = personal_scores.as_ref().and_then(|scores| scores[at]);
            let beyond_usual = log_ratio - usual_log_ratio;
            let log_size_ratio = self.indexes.quantities.growth(anchor.item, item);
            let is_same_brand =
                anchor_brand != NONE && self.catalog.brand.code(item) == anchor_brand;
            let [_, _, brand, path_and_brand] = by_group.get(groups, item);
            let statistics = self.cross_sell.item_features(item);
            read(&[
                1.0,
                if shoppers > 0.0 {
                    shoppers.ln_1p()
                } else {
                    0.0
                },
                (shoppers / (all_step_shoppers as f32 + PRIOR_SHOPPERS)).sqrt(),
                similarity.max(0.0),
                statistics.ln_sales,
                statistics.ln_recent_orders,
                anchor_ln_sales,
                log_ratio,
                log_ratio * log_ratio,
                beyond_usual.max(0.0),
                beyond_usual.min(0.0),
                beyond_usual * beyond_usual,
                log_size_ratio.map_or(0.0, |size| size.clamp(-3.0, 3.0)),
                // ln of the ratio of prices per unit.
                log_size_ratio.map_or(0.0, |size| (log_ratio - size).clamp(-3.0, 3.0)),
                indicator(log_size_ratio.is_some()),
                indicator(is_same_brand),
                personal_score.unwrap_or(0.0),
                brand.ln_lines,
                path_and_brand.ln_lines,
                path_and_brand.ln_decayed_lines,
                is_known * (log_ratio - price_level).abs(),
                is_known * (log_ratio - price_level),
                path.ln_lines,
                path.ln_decayed_lines,
                path.ln_days_since,
                decayed_orders.ln_1p(),
                ln_orders,
                (items.len() as f32).ln(),
            ]);
        }
    }

    /// ln of how many times the median price of its category a shopper usually pays for an item; 0
    /// where no price is known.
    fn price_level(&self, past: &PurchaseHistory, price: &dyn Fn(u32) -> f32) -> f32 {
        let median_prices = &self.indexes.median_prices;
        let (mut sum, mut orders) = (0f32, 0f32);
        for purchased in &past.items {
            let log_ratio = (price(purchased.item) / median_prices[purchased.item as usize]).ln();
            if log_ratio.is_finite() {
                sum += log_ratio * purchased.orders as f32;
                orders += purchased.orders as f32;
            }
        }
        sum / (orders + PRIOR_ORDERS)
    }

    /// Whether an item may be a step up from another of its category path: available, in the same
    /// currency, and higher-priced within the band, at catalogue prices.
    pub(super) fn is_higher_priced(&self, from: u32, to: u32) -> bool {
        let (min, max) = self.model.band();
        let price = |item: u32| self.catalog.price[item as usize];
        price(to) >= min * price(from)
            && price(to) <= max * price(from)
            && self.catalog.currency.code(to) == self.catalog.currency.code(from)
            && self.catalog.available[to as usize]
    }

    /// The items that a shopper could step up to from an item: higher-priced ones of its category
    /// path that they never bought, ascending by row.
    pub fn higher_priced_items(&self, from: u32, past: &PurchaseHistory) -> Vec<u32> {
        let path = self.catalog.category.get(from).unwrap_or_default();
        let in_category = self.indexes.in_category(path).iter().copied();
        in_category
            .filter(|&item| self.is_higher_priced(from, item) && past.of(item).is_none())
            .collect()
    }

    /// The items that a shopper could step up from: of each category path the priced item that they
    /// bought last, of several of that day the most expensive.
    pub fn anchor_items(&self, past: &PurchaseHistory) -> Vec<u32> {
        struct Latest {
            day: f32,
            price: f32,
            item: u32,
        }
        let mut by_path: BTreeMap<u32, Latest> = BTreeMap::new();
        for purchased in &past.items {
            let path = self.indexes.groups.path_of(purchased.item);
            let latest = Latest {
                day: purchased.last,
                price: self.catalog.price[purchased.item as usize],
                item: purchased.item,
            };
            let is_superseded = by_path.get(&path).is_some_and(|known| {
                known.day > latest.day || (known.day == latest.day && known.price >= latest.price)
            });
            if path != NONE && !latest.price.is_nan() && !is_superseded {
                by_path.insert(path, latest);
            }
        }
        by_path.into_values().map(|latest| latest.item).collect()
    }
}
