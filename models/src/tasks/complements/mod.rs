//! Complements: which items are bought together, counted on orders.
//!
//! For each item the items that share orders with it, with the distinct shoppers behind each pair.
//! A pair with fewer shoppers than [`Complements::min_shoppers`] is never stored. The score of a
//! pair is √LLR (the log-likelihood ratio of Dunning, "Accurate Methods for the Statistics of
//! Surprise and Coincidence", Computational Linguistics 19, 1993): pairs that are certain come
//! first, and popular items only as far as they go with this one. How this evidence weighs beside
//! all else that is known of a cart and its shopper is learned in `cross_sell`.
//!
//! In: the orders of a [`Training`](crate::Training). Out: a [`ComplementsModel`], whose pairs are
//! counted in `fit.rs`. A further kind of evidence is an array of the model and a field of
//! `CartEvidence`.

mod fit;

use crate::algorithms::neighbours::{Names, Neighbours};
use crate::algorithms::recommend::check_range;
use crate::error::{ModelError, Result};
use crate::weights::{Tensor, Weights};
use aisle_math::array::Array;
use aisle_retrieval::index::{Eligible, SearchBuffer};
use serde::{Deserialize, Serialize};
use std::cell::RefCell;

/// Hyperparameters of complements, and of the cross-selling that is built on them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Complements {
    /// The exponent by which popularity is discounted in p(j | i) / p(j)^`discount`, 0 to 1.
    pub discount: f32,
    /// Orders added to those of item i in p(j | i), so that a few pairs of a rare item do not
    /// decide; 0 or more.
    pub shrink: f32,
    /// The dimension of the order vectors, 1 to 1024.
    pub factors: usize,
    /// The weights of all evidence are learned on the orders of this many last days of the log
    /// (without times: on each shopper's last order), 0 to 3650; 0 = they are not learned, and the
    /// evidence of pairs decides alone.
    pub learn_days: f32,
    /// Distinct shoppers that must stand behind a pair, 1 or more; an order without a user counts
    /// as one shopper.
    pub min_shoppers: u32,
    /// Pairs kept for each item, those with the highest score; 1 to 100,000.
    pub neighbours: usize,
    /// Orders with more distinct items than this (wholesale) are left out; 2 or more.
    pub max_order_items: usize,
    /// How many levels of the category path make a category; items of the cart's categories are not
    /// recommended. 0 = the whole path.
    pub category_levels: usize,
}

impl Default for Complements {
    fn default() -> Self {
        Self {
            discount: 0.3,
            shrink: 10.0,
            factors: 64,
            learn_days: 28.0,
            min_shoppers: 5,
            neighbours: 200,
            max_order_items: 200,
            category_levels: 0,
        }
    }
}

impl Complements {
    /// Checks the range of every hyperparameter.
    fn validate(&self) -> Result<()> {
        check_range("neighbours", self.neighbours, 1..=100_000)?;
        check_range("factors", self.factors, 1..=1024)?;
        check_range("learn_days", self.learn_days, 0.0..=3650.0)?;
        let out_of_range = |name: &str, found: String, expected: &str| {
            Err(ModelError::Hyperparameter {
                name: name.into(),
                found,
                expected: expected.into(),
            })
        };
        if !(0.0..=1.0).contains(&self.discount) {
            return out_of_range("discount", self.discount.to_string(), "0 to 1");
        }
        if !(self.shrink.is_finite() && self.shrink >= 0.0) {
            return out_of_range("shrink", self.shrink.to_string(), "a number of 0 or more");
        }
        if self.min_shoppers == 0 {
            return out_of_range("min_shoppers", "0".into(), "1 or more");
        }
        if self.max_order_items < 2 {
            return out_of_range(
                "max_order_items",
                self.max_order_items.to_string(),
                "2 or more",
            );
        }
        Ok(())
    }
}

/// The arrays of the pairs in a weights file.
const PAIR_ARRAYS: Names = [
    "complements.offsets",
    "complements.items",
    "complements.scores",
];

/// p(j)^−`discount` of each item; 0 for an item that was never sold.
fn popularity_factors(sold: &[u32], all: u32, discount: f32) -> Vec<f32> {
    let factor = |&sold: &u32| {
        if sold > 0 {
            (sold as f32 / all.max(1) as f32).powf(-discount)
        } else {
            0.0
        }
    };
    sold.iter().map(factor).collect()
}

/// The evidence of a whole cart for one item.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct CartEvidence {
    /// Σ over the cart of √LLR.
    pub together: f32,
    /// Σ over the cart of p(j | i) / p(j)^discount.
    pub confidence: f32,
    /// Σ over the cart of the weights of a regression: an item that goes with several of the cart's
    /// items for one reason counts once.
    pub ridge: f32,
}

/// The evidence of a cart by item.
#[derive(Default)]
struct CartSums {
    /// For each item; all zero for items that are not in `touched`.
    evidence: Vec<CartEvidence>,
    /// The items that have some.
    touched: Vec<u32>,
}

thread_local! {
    /// Kept for each thread, because there are many items and a cart touches few of them; all zero
    /// while no cart is summed up.
    static CART_SUMS: RefCell<CartSums> = RefCell::default();
}

/// The stored pairs.
#[derive(Default)]
pub struct ComplementsModel {
    /// The pairs of each item, best first, scored by √LLR. The next four arrays run parallel to
    /// them.
    neighbours: Neighbours,
    /// Orders that hold both items.
    orders: Array<u32>,
    /// Distinct shoppers of those orders.
    shoppers: Array<u32>,
    /// How many times more often than by chance the two share an order.
    lift: Array<f32>,
    /// The weight of each pair in a regression of the second item on all that share orders with it.
    ridge: Array<f32>,
    /// For each item the orders that hold it, of those not too large.
    sold: Array<u32>,
    /// How many such orders there are, one number.
    all: Array<u32>,
    /// For each item p(j)^−discount.
    popularity_factors: Vec<f32>,
    shrink: f32,
    /// Pairs that are left out because too few shoppers stand behind them; 0 in a loaded model.
    pub suppressed: u64,
    /// Orders that are left out because they are too large; 0 in a loaded model.
    pub too_large: u64,
}

/// The evidence of one pair of items.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct CoPurchase {
    /// The row of the cart's item.
    pub item: u32,
    /// √LLR of the pair.
    pub score: f32,
    /// Orders that hold both.
    pub orders: u32,
    /// Distinct shoppers of those orders.
    pub shoppers: u32,
    /// How many times more often than by chance the two share an order.
    pub lift: f32,
}

impl ComplementsModel {
    /// Reads the pairs from the arrays of a version.
    pub(crate) fn load(
        settings: &Complements,
        items: usize,
        weights: &mut Weights,
    ) -> Result<Self> {
        let neighbours = Neighbours::load(PAIR_ARRAYS, items, weights)?;
        let pairs = neighbours.items.len();
        let sold = weights.rows("complements.sold", items, u32::MAX as usize)?;
        let all = weights.rows("complements.all", 1, u32::MAX as usize)?;
        Ok(Self {
            popularity_factors: popularity_factors(&sold, all[0], settings.discount),
            sold,
            all,
            shrink: settings.shrink,
            orders: weights.rows("complements.orders", pairs, u32::MAX as usize)?,
            shoppers: weights.rows("complements.shoppers", pairs, u32::MAX as usize)?,
            lift: weights.reals("complements.lift", pairs)?,
            ridge: weights.reals("complements.ridge", pairs)?,
            neighbours,
            suppressed: 0,
            too_large: 0,
        })
    }

    /// The arrays that a version stores.
    pub(crate) fn tensors(&self) -> Vec<Tensor<'_>> {
        let mut tensors = self.neighbours.tensors(PAIR_ARRAYS);
        for (name, values) in [
            ("complements.sold", &self.sold),
            ("complements.all", &self.all),
            ("complements.orders", &self.orders),
            ("complements.shoppers", &self.shoppers),
        ] {
            tensors.push(Tensor::u32(name, values));
        }
        for (name, values) in [
            ("complements.lift", &self.lift),
            ("complements.ridge", &self.ridge),
        ] {
            tensors.push(Tensor::f32(name, &[values.len()], values));
        }
        tensors
    }

    /// How many pairs are stored, both directions counted.
    pub fn pairs(&self) -> usize {
        self.orders.len()
    }

    /// The orders that hold an item, of those not too large.
    pub(crate) fn order_count(&self, item: u32) -> u32 {
        self.sold[item as usize]
    }

    /// Adds up the evidence of a cart, and hands `read` the items that have some and a function
    /// that returns the evidence of an item. O(cart · neighbours).
    pub(crate) fn with_cart_evidence<T>(
        &self,
        cart: &[u32],
        read: impl FnOnce(&[u32], &dyn Fn(u32) -> CartEvidence) -> T,
    ) -> T {
        // Taken and not borrowed: `read` may sum up another cart on this thread.
        let CartSums {
            evidence: mut sums,
            mut touched,
        } = CART_SUMS.take();
        sums.resize(self.sold.len(), CartEvidence::default());
        for &cart_item in cart {
            let per_order = (self.sold[cart_item as usize] as f32 + self.shrink).recip();
            for at in self.neighbours.range(cart_item) {
                let other = self.neighbours.items[at];
                let sum = &mut sums[other as usize];
                if sum.together == 0.0 {
                    touched.push(other);
                }
                sum.together += self.neighbours.scores[at];
                sum.confidence += self.orders[at] as f32 * per_order;
                sum.ridge += self.ridge[at];
            }
        }
        let evidence = |item: u32| {
            let sum = sums[item as usize];
            CartEvidence {
                confidence: sum.confidence * self.popularity_factors[item as usize],
                ..sum
            }
        };
        let result = read(&touched, &evidence);
        for item in touched.drain(..) {
            sums[item as usize] = CartEvidence::default();
        }
        CART_SUMS.set(CartSums {
            evidence: sums,
            touched,
        });
        result
    }

    /// Finds the `k` eligible items that best complete a cart by its pairs alone, scored by the sum
    /// of √LLR over the cart. O(cart · neighbours).
    pub fn complete(&self, cart: &[u32], k: usize, eligible: Eligible, found: &mut SearchBuffer) {
        self.neighbours
            .accumulate(cart.iter().map(|&item| (item, 1.0)), k, eligible, found);
    }

    /// The evidence of the pair of a cart's item and another one; `None` if the pair is not stored.
    pub fn pair(&self, source: u32, item: u32) -> Option<CoPurchase> {
        let at = self.neighbours.place(source, item)?;
        Some(CoPurchase {
            item: source,
            score: self.neighbours.scores[at],
            orders: self.orders[at],
            shoppers: self.shoppers[at],
            lift: self.lift[at],
        })
    }

    /// Why `item` goes with a cart: the evidence of each cart item that has some, strongest first.
    pub fn evidence(&self, cart: &[u32], item: u32) -> Vec<CoPurchase> {
        let mut evidence: Vec<CoPurchase> = cart
            .iter()
            .filter_map(|&source| self.pair(source, item))
            .collect();
        evidence.sort_by(|a, b| b.score.total_cmp(&a.score).then(a.item.cmp(&b.item)));
        evidence
    }

    /// How many orders the pairs were counted in.
    pub(crate) fn all_orders(&self) -> u32 {
        self.all.first().copied().unwrap_or(0)
    }

    /// The items that have a pair with this one, with how many times more often than by chance the
    /// two share an order.
    pub fn lifts(&self, item: u32) -> impl Iterator<Item = (u32, f32)> + '_ {
        self.neighbours
            .range(item)
            .map(|at| (self.neighbours.items[at], self.lift[at]))
    }
}
