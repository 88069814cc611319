//! Substitutes and complements: whether one item replaces another or goes with it.
//!
//! Substitutes serve the same need: shoppers choose the one or the other, so the two are similar in
//! who chooses them (or share a category path) and are rarely in one order. The score of a
//! substitute is the similarity over how many times more often than by chance the two share an
//! order, both counted with one order more, where e_ij = n_i n_j / n:
//!
//! s(i, j) = max(cos(i, j), ¼ [same path]) / max(1, (n_ij + 1) / (e_ij + 1))
//!
//! A pair that too few shoppers stand behind counts as never in one order, as everywhere else.
//!
//! In: the fitted models of [`SubstituteParts`] and items. Out: a score for each item. Nothing is
//! fitted here.

use crate::algorithms::recommend::Recommend;
use crate::catalog::item_groups::ItemGroups;
use crate::tasks::complements::ComplementsModel;
use aisle_data::NONE;

/// How many items of a cart are compared, the last ones.
const MAX_CART_ITEMS: usize = 50;
/// Orders by which p(j | i) is drawn to the share of j in all orders.
const PRIOR_ORDERS: f32 = 50.0;
/// How much ln p(j | i) counts beside the cosine: a threefold probability as much as a third.
const CO_PURCHASE_WEIGHT: f32 = 0.3;
/// The similarity that two items of one category path have at least.
const SAME_PATH_SIMILARITY: f32 = 0.25;

/// The fitted models that distinguish substitutes from complements.
#[derive(Clone, Copy)]
pub struct SubstituteParts<'a> {
    /// The pairs of items that are bought together.
    pub complements: &'a ComplementsModel,
    /// The personal model: which items the same shoppers choose.
    pub personal: &'a dyn Recommend,
    /// The groups of items: which share a category path.
    pub groups: &'a ItemGroups,
}

impl SubstituteParts<'_> {
    /// For each item j how much it goes with item i (`from`) rather than replaces it:
    ///
    /// 0.3 ln p(j | i) − cos(i, j)
    ///
    /// p(j | i) is the share of orders with i that hold j, drawn to the share of j in all orders by
    /// 50 orders. So a best seller is a complement of many items, and an item that the same
    /// shoppers choose is none. O(items · neighbours).
    pub fn complement_scores(&self, from: u32, items: &[u32]) -> Vec<f32> {
        let complements = self.complements;
        let all = complements.all_orders().max(1) as f32;
        let orders_of_from = complements.order_count(from) as f32;
        let score = |(&item, similarity): (&u32, f32)| {
            let together = complements.pair(from, item).map_or(0, |pair| pair.orders) as f32;
            let share = complements.order_count(item) as f32 / all;
            let probability =
                (together + PRIOR_ORDERS * share + 1e-6) / (orders_of_from + PRIOR_ORDERS);
            CO_PURCHASE_WEIGHT * probability.ln() - similarity
        };
        items
            .iter()
            .zip(self.personal.similarities(from, items))
            .map(score)
            .collect()
    }

    /// How similar each item is to `item`, 0 to 1: by who chooses them, and at least `same_path`
    /// within the same category path.
    pub(crate) fn similarities_to(&self, item: u32, items: &[u32], same_path: f32) -> Vec<f32> {
        let path = self.groups.path_of(item);
        let is_same_path = |other: u32| path != NONE && self.groups.path_of(other) == path;
        let similarity = |(&other, cosine): (&u32, f32)| {
            let least = if is_same_path(other) { same_path } else { 0.0 };
            cosine.clamp(0.0, 1.0).max(least)
        };
        items
            .iter()
            .zip(self.personal.similarities(item, items))
            .map(similarity)
            .collect()
    }

    /// For each item its highest substitute score for an item of a cart, 0 to 1.
    /// O(cart · (items + neighbours)).
    pub fn substitute_scores(&self, cart: &[u32], items: &[u32]) -> Vec<f32> {
        let mut scores = vec![0f32; items.len()];
        let complements = self.complements;
        let all = complements.all_orders().max(1) as f32;
        for &cart_item in &cart[cart.len().saturating_sub(MAX_CART_ITEMS)..] {
            let similarities = self.similarities_to(cart_item, items, SAME_PATH_SIMILARITY);
            for ((score, &item), similarity) in scores.iter_mut().zip(items).zip(similarities) {
                // Orders can only lower the score.
                if similarity <= *score {
                    continue;
                }
                let pair = complements.pair(cart_item, item);
                let together = pair.map_or(0, |pair| pair.orders) as f32;
                let by_chance = complements.order_count(cart_item) as f32
                    * complements.order_count(item) as f32
                    / all;
                let lift = (together + 1.0) / (by_chance + 1.0);
                *score = score.max(similarity / lift.max(1.0));
            }
        }
        scores
    }
}
