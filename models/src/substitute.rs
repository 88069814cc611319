//! Instead of, or beside: how much one item looks like a substitute of another.
//!
//! Substitutes serve the same need: shoppers choose the one or the other, so the two are alike in who chooses them (or share a category path)
//! and are rarely in one order. The score is likeness over how many times more often than by chance they share an order, both counted with one
//! order more: s(i, j) = max(cos(i, j), ¼ [same path]) / max(1, (n_ij + 1) / (e_ij + 1)), e_ij = n_i n_j / n. Pairs without the support of
//! enough shoppers count as never together, as they do everywhere else.

use crate::bundle::Bundle;
use aisle_data::NONE;

/// Items of a cart that are compared, the last ones.
const COMPARED: usize = 50;

/// Orders that a pair's evidence is drawn to chance by.
const KAPPA: f32 = 50.0;
/// A threefold probability weighs as much as a third of a cosine.
const EVIDENCE: f32 = 0.3;
/// How alike two items of one category path are at least.
const SAME_PATH: f32 = 0.25;

impl Bundle {
    /// For each item how much it goes beside another one rather than instead of it: .3 ln p(j | i) − cos(i, j), where p(j | i) is the share of
    /// orders with i that hold j, drawn to j's share of all orders by 50 of them. So what sells anyway is a complement of much, and what the
    /// same shoppers choose is not. O(items · neighbours).
    pub fn complement_scores(&self, from: u32, items: &[u32]) -> Vec<f32> {
        let complements = self.complements();
        let all = complements.all_orders().max(1) as f32;
        let of_from = complements.sold(from) as f32;
        let score = |(&item, alike): (&u32, f32)| {
            let together = complements.pair(from, item).map_or(0, |pair| pair.orders) as f32;
            let share = complements.sold(item) as f32 / all;
            EVIDENCE * ((together + KAPPA * share + 1e-6) / (of_from + KAPPA)).ln() - alike
        };
        items.iter().zip(self.personal().similarities(from, items)).map(score).collect()
    }

    /// How alike items are to one, 0 to 1: by who chooses them, and at least `same_path` within its category path.
    pub(crate) fn likeness(&self, item: u32, items: &[u32], same_path: f32) -> Vec<f32> {
        let path = self.groups().path_of(item);
        let same = |other: u32| path != NONE && self.groups().path_of(other) == path;
        let alike = |(&other, cosine): (&u32, f32)| cosine.clamp(0.0, 1.0).max(if same(other) { same_path } else { 0.0 });
        items.iter().zip(self.personal().similarities(item, items)).map(alike).collect()
    }

    /// For each item its largest substitute score beside an item of a cart, 0 to 1. O(cart · (items + neighbours)).
    pub fn substitute_scores(&self, cart: &[u32], items: &[u32]) -> Vec<f32> {
        let mut scores = vec![0f32; items.len()];
        let complements = self.complements();
        let all = complements.all_orders().max(1) as f32;
        for &held in &cart[cart.len().saturating_sub(COMPARED)..] {
            let likeness = self.likeness(held, items, SAME_PATH);
            for ((score, &item), likeness) in scores.iter_mut().zip(items).zip(likeness) {
                if likeness <= *score {
                    continue;
                }
                let together = complements.pair(held, item).map_or(0, |pair| pair.orders) as f32;
                let chance = complements.sold(held) as f32 * complements.sold(item) as f32 / all;
                *score = score.max(likeness / ((together + 1.0) / (chance + 1.0)).max(1.0));
            }
        }
        scores
    }
}
