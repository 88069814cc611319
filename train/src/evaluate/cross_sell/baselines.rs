//! The methods that a cross-sell must beat: what the shopper buys most often, and pairs of items in
//! orders.

use super::super::compare::Method;
use super::questions::PurchaseCounts;
use super::{Ask, Run};
use aisle_data::Interactions;
use aisle_models::{
    Eligible, FittedModels, History, Pair, Recommend, Scored, SearchBuffer, TopK,
    from_co_occurrence,
};
use std::collections::BTreeMap;
use std::time::Instant;

/// Most neighbours of an item that the co-occurrence counts keep.
const NEIGHBOURS: usize = 1000;

/// What the baselines read.
pub(super) struct Baselines<'a> {
    pub models: &'a FittedModels,
    pub purchases: &'a PurchaseCounts,
    /// Answers per question.
    pub k: usize,
}

impl Baselines<'_> {
    /// Measures every baseline; `matrix` has a row for each order.
    pub(super) fn measure(&self, run: &mut Run, matrix: &Interactions) {
        let complements = self.models.complements();
        run.measure(
            Method::baseline("personal frequency", 0.0),
            &|ask, found| {
                self.personal_frequency(ask, found);
            },
        );
        run.measure(Method::baseline("pairs by √LLR", 0.0), &|ask, found| {
            let eligible = Eligible::new(&ask.allowed);
            complements.complete(&ask.question.cart, self.k, eligible, found);
        });
        run.measure(Method::baseline("pairs by lift", 0.0), &|ask, found| {
            self.pairs_by_lift(ask, found);
        });
        let began = Instant::now();
        let orders_of_both = |_: u32, _: u32, pair: Pair| pair.both as f32;
        let counts =
            from_co_occurrence(&matrix.by_user, &matrix.by_item, NEIGHBOURS, orders_of_both);
        let fit_seconds = began.elapsed().as_secs_f64();
        let method = Method::baseline("co-occurrence", fit_seconds);
        run.measure(method, &|ask, found| {
            let cart = ask.question.cart.iter().map(|&item| (item, 1.0));
            counts.accumulate(cart, self.k, Eligible::new(&ask.allowed), found);
        });
    }

    /// What the shopper ordered most often.
    fn personal_frequency(&self, ask: &Ask, found: &mut SearchBuffer) {
        let mut top = TopK::new(self.k);
        for &(item, orders) in self.purchases.of_user(ask.question.user) {
            if ask.allowed.contains(item) {
                top.offer(item, orders as f32);
            }
        }
        self.fill_with_popular(top.into_sorted(), ask, found);
    }

    /// The items with the largest sum of lifts over the lines of the cart.
    fn pairs_by_lift(&self, ask: &Ask, found: &mut SearchBuffer) {
        let mut sums: BTreeMap<u32, f32> = BTreeMap::new();
        for &item in &ask.question.cart {
            for (other, lift) in self.models.complements().lifts(item) {
                *sums.entry(other).or_default() += lift;
            }
        }
        let mut top = TopK::new(self.k);
        for (item, lift) in sums {
            if ask.allowed.contains(item) {
                top.offer(item, lift);
            }
        }
        self.fill_with_popular(top.into_sorted(), ask, found);
    }

    /// Writes some items into the answer, and best sellers after them up to `k`.
    fn fill_with_popular(&self, first: Vec<Scored>, ask: &Ask, found: &mut SearchBuffer) {
        let mut left = ask.allowed.clone();
        for scored in &first {
            left.remove(scored.item);
        }
        self.models.popular.recommend(
            History::default(),
            self.k - first.len(),
            Eligible::new(&left),
            found,
        );
        found.items.splice(0..0, first);
    }
}
