//! Cross-sell: what goes with what, learned on orders.
//!
//! For each item the items that share orders with it, counted once an order, with the distinct shoppers behind each pair.
//! A pair below the support in distinct shoppers is never stored. The score of a pair is √LLR (log-likelihood ratio, Dunning 1993): sure pairs
//! first, popular items only as far as they go with this one. How it is weighed with everything else that is known of a cart and its
//! shopper is learned, in `cross_sell.rs`.

use crate::index::{Eligible, Found};
use crate::local_ridge::LocalRidge;
use crate::neighbours::{Names, Neighbours, Pair};
use crate::order_vectors::by_order;
use crate::recommend::{Fit, Training, Watch, hyperparameter};
use crate::top_k::Scored;
use crate::weights::{Array, Tensor, Weights};
use crate::{ModelError, Result};
use aisle_data::NONE;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use std::cell::RefCell;

/// Hyperparameters.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Complements {
    /// How much popularity is discounted in p(j | i) / p(j)^`discount`, 0 to 1.
    pub discount: f32,
    /// Orders added to n_i there, so that a rare item's few pairs do not shout; 0 or more.
    pub shrink: f32,
    /// Dimension of the complement vectors, 1 to 1024.
    pub factors: usize,
    /// How all evidence is weighed is learned on the orders of so many last days (without times: on each shopper's last order) by what
    /// came before them; 0 = it is not learned, and the evidence of pairs decides alone.
    pub learn_days: f32,
    /// Distinct shoppers that must stand behind a pair, 1 or more; an anonymous order counts as one shopper.
    pub min_shoppers: u32,
    /// Pairs kept an item.
    pub neighbours: usize,
    /// Orders with more distinct items than this (wholesale) are left out; 2 or more.
    pub max_order_items: usize,
    /// Levels of the category path that must differ to be "another category"; 0 = the whole path.
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
    fn validate(&self) -> Result<()> {
        hyperparameter("neighbours", self.neighbours, 1..=100_000)?;
        hyperparameter("factors", self.factors, 1..=1024)?;
        hyperparameter("learn_days", self.learn_days, 0.0..=3650.0)?;
        let wrong = |name: &str, found: String, expected: &str| {
            Err(ModelError::Hyperparameter { name: name.into(), found, expected: expected.into() })
        };
        if !(0.0..=1.0).contains(&self.discount) {
            return wrong("discount", self.discount.to_string(), "0 to 1");
        }
        if !(self.shrink.is_finite() && self.shrink >= 0.0) {
            return wrong("shrink", self.shrink.to_string(), "a number of 0 or more");
        }
        if self.min_shoppers == 0 {
            return wrong("min_shoppers", "0".into(), "1 or more");
        }
        if self.max_order_items < 2 {
            return wrong("max_order_items", self.max_order_items.to_string(), "2 or more");
        }
        Ok(())
    }
}

const NAMES: Names = ["complements.offsets", "complements.items", "complements.scores"];

/// One stored pair.
struct Link {
    item: u32,
    score: f32,
    orders: u32,
    shoppers: u32,
    lift: f32,
}

impl Fit for Complements {
    type Model = ComplementsModel;

    /// O(Σ over orders of items²).
    fn fit(&self, training: &Training, watch: &dyn Watch) -> Result<ComplementsModel> {
        self.validate()?;
        let orders = training.orders;
        let items = training.catalog.len();
        let used: Vec<usize> =
            (0..orders.len()).filter(|&order| (2..=self.max_order_items).contains(&orders.order(order).len())).collect();
        let too_large = (0..orders.len()).filter(|&order| orders.order(order).len() > self.max_order_items).count();

        // Orders of each item, the orders of one shopper side by side so that distinct shoppers are counted in passing.
        let mut by_shopper = used.clone();
        by_shopper.sort_by_key(|&order| (orders.user[order], order));
        let mut of_item: Vec<Vec<u32>> = vec![Vec::new(); items];
        for &order in &by_shopper {
            orders.order(order).iter().for_each(|&item| of_item[item as usize].push(order as u32));
        }
        // How often an item is bought at all, in orders of whatever size that count.
        let mut sold = vec![0u32; items];
        for order in (0..orders.len()).filter(|&order| orders.order(order).len() <= self.max_order_items) {
            orders.order(order).iter().for_each(|&item| sold[item as usize] += 1);
        }
        let all = (orders.len() - too_large) as u32;

        #[derive(Clone, Default)]
        struct Seen {
            orders: Vec<u32>,
            shoppers: Vec<u32>,
            last: Vec<u64>,
            touched: Vec<u32>,
        }
        let rows: Vec<(Vec<Link>, u64)> = (0..items as u32)
            .into_par_iter()
            .map_init(
                || Seen { orders: vec![0; items], shoppers: vec![0; items], last: vec![u64::MAX; items], touched: Vec::new() },
                |seen, item| {
                    for other in seen.touched.drain(..) {
                        let at = other as usize;
                        (seen.orders[at], seen.shoppers[at], seen.last[at]) = (0, 0, u64::MAX);
                    }
                    for &order in &of_item[item as usize] {
                        let user = orders.user[order as usize];
                        let shopper = if user == NONE { (1 << 32) | u64::from(order) } else { u64::from(user) };
                        for &other in orders.order(order as usize) {
                            let at = other as usize;
                            if seen.orders[at] == 0 {
                                seen.touched.push(other);
                            }
                            seen.orders[at] += 1;
                            if seen.last[at] != shopper {
                                seen.last[at] = shopper;
                                seen.shoppers[at] += 1;
                            }
                        }
                    }
                    let mut links: Vec<Link> = Vec::new();
                    let mut suppressed = 0;
                    for &other in seen.touched.iter().filter(|&&other| other != item) {
                        let at = other as usize;
                        if seen.shoppers[at] < self.min_shoppers {
                            suppressed += 1;
                            continue;
                        }
                        let pair = Pair { both: seen.orders[at], product: 0.0, each: (sold[item as usize], sold[at]), all };
                        let score = pair.llr().sqrt();
                        if score > 0.0 && score.is_finite() {
                            links.push(Link {
                                item: other,
                                score,
                                orders: seen.orders[at],
                                shoppers: seen.shoppers[at],
                                lift: pair.lift(),
                            });
                        }
                    }
                    links.sort_by(|a, b| b.score.total_cmp(&a.score).then(a.item.cmp(&b.item)));
                    links.truncate(self.neighbours);
                    (links, suppressed)
                },
            )
            .collect();
        watch.step("cross-sell", 1, 1);

        let matrix = orders.matrix(items, self.max_order_items);
        let ridge = match LocalRidge::default().fit(&by_order(training, &matrix), watch) {
            Err(ModelError::NothingToLearn { .. }) => Neighbours::default(),
            fitted => fitted?.into_neighbours(),
        };
        // Only for pairs that have the support.
        let ridge: Vec<Vec<f32>> = rows
            .par_iter()
            .enumerate()
            .map(|(item, (links, _))| {
                let mut weights: Vec<Scored> = ridge.row(item as u32).collect();
                weights.sort_unstable_by_key(|weight| weight.item);
                let of = |link: &Link| {
                    weights.binary_search_by_key(&link.item, |weight| weight.item).map_or(0.0, |at| weights[at].score)
                };
                links.iter().map(of).collect()
            })
            .collect();
        let suppressed = rows.iter().map(|(_, suppressed)| suppressed).sum::<u64>() / 2;
        let links = || rows.iter().flat_map(|(links, _)| links);
        let mut offsets = vec![0u64];
        for (links, _) in &rows {
            offsets.push(offsets[offsets.len() - 1] + links.len() as u64);
        }
        Ok(ComplementsModel {
            orders: links().map(|link| link.orders).collect::<Vec<_>>().into(),
            shoppers: links().map(|link| link.shoppers).collect::<Vec<_>>().into(),
            lift: links().map(|link| link.lift).collect::<Vec<_>>().into(),
            ridge: ridge.concat().into(),
            neighbours: Neighbours {
                offsets: offsets.into(),
                items: links().map(|link| link.item).collect::<Vec<_>>().into(),
                scores: links().map(|link| link.score).collect::<Vec<_>>().into(),
            },
            boost: boosts(&sold, all, self.discount),
            sold: sold.into(),
            all: [all].to_vec().into(),
            shrink: self.shrink,
            suppressed,
            too_large: too_large as u64,
        })
    }
}

/// p(j)^−`discount` of each item; 0 of one that was never sold.
fn boosts(sold: &[u32], all: u32, discount: f32) -> Vec<f32> {
    let boost = |&sold: &u32| if sold > 0 { (sold as f32 / all.max(1) as f32).powf(-discount) } else { 0.0 };
    sold.iter().map(boost).collect()
}

/// The evidence of a whole cart for one item.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct CartEvidence {
    /// Σ over the cart of √LLR.
    pub together: f32,
    /// Σ over the cart of p(j | i) / p(j)^discount.
    pub confidence: f32,
    /// Σ over the cart of the weights of a regression: what goes with several of its items for one reason counts once.
    pub ridge: f32,
}

/// Evidence by item, and the items that have some.
#[derive(Default)]
struct CartSums {
    items: Vec<CartEvidence>,
    touched: Vec<u32>,
}

thread_local! {
    static CART: RefCell<CartSums> = RefCell::default();
}

/// Fitted pairs.
#[derive(Default)]
pub struct ComplementsModel {
    neighbours: Neighbours,
    orders: Array<u32>,
    shoppers: Array<u32>,
    lift: Array<f32>,
    /// Weight of each pair in a regression of the second item on all that go with it.
    ridge: Array<f32>,
    /// Orders that hold an item, of those not too large.
    sold: Array<u32>,
    /// How many such orders there are.
    all: Array<u32>,
    /// p(j)^−discount.
    boost: Vec<f32>,
    shrink: f32,
    /// Pairs left out because too few shoppers stand behind them.
    pub suppressed: u64,
    /// Orders left out because they were too large.
    pub too_large: u64,
}

/// The evidence for one pair.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Together {
    /// The cart's item.
    pub item: u32,
    /// Its part of the score.
    pub score: f32,
    /// Orders that hold both.
    pub orders: u32,
    /// Distinct shoppers of those orders.
    pub shoppers: u32,
    /// Times more often than by chance.
    pub lift: f32,
}

impl ComplementsModel {
    pub(crate) fn load(settings: &Complements, items: usize, weights: &mut Weights) -> Result<Self> {
        let neighbours = Neighbours::load(NAMES, items, weights)?;
        let entries = neighbours.items.len();
        let sold = weights.rows("complements.sold", items, u32::MAX as usize)?;
        let all = weights.rows("complements.all", 1, u32::MAX as usize)?;
        Ok(Self {
            boost: boosts(&sold, all[0], settings.discount),
            sold,
            all,
            shrink: settings.shrink,
            orders: weights.rows("complements.orders", entries, u32::MAX as usize)?,
            shoppers: weights.rows("complements.shoppers", entries, u32::MAX as usize)?,
            lift: weights.reals("complements.lift", entries)?,
            ridge: weights.reals("complements.ridge", entries)?,
            neighbours,
            suppressed: 0,
            too_large: 0,
        })
    }

    pub(crate) fn tensors(&self) -> Vec<Tensor<'_>> {
        let mut tensors = self.neighbours.tensors(NAMES);
        tensors.push(Tensor::u32("complements.sold", &self.sold));
        tensors.push(Tensor::u32("complements.all", &self.all));
        tensors.push(Tensor::u32("complements.orders", &self.orders));
        tensors.push(Tensor::u32("complements.shoppers", &self.shoppers));
        tensors.push(Tensor::f32("complements.lift", &[self.lift.len()], &self.lift));
        tensors.push(Tensor::f32("complements.ridge", &[self.ridge.len()], &self.ridge));
        tensors
    }

    /// Pairs stored, both directions counted.
    pub fn pairs(&self) -> usize {
        self.orders.len()
    }

    /// Orders that hold an item.
    pub(crate) fn sold(&self, item: u32) -> u32 {
        self.sold[item as usize]
    }

    /// Adds up the evidence of a cart for every item that has some, and hands `read` those items and a way to look one up.
    pub(crate) fn of_cart<T>(&self, cart: &[u32], read: impl FnOnce(&[u32], &dyn Fn(u32) -> CartEvidence) -> T) -> T {
        // Taken and not borrowed: what `read` does may ask for another cart on this thread.
        let CartSums { mut items, mut touched } = CART.take();
        items.resize(self.sold.len(), CartEvidence::default());
        for &source in cart {
            let share = (self.sold[source as usize] as f32 + self.shrink).recip();
            for at in self.neighbours.range(source) {
                let other = self.neighbours.items[at];
                let evidence = &mut items[other as usize];
                if evidence.together == 0.0 {
                    touched.push(other);
                }
                evidence.together += self.neighbours.scores[at];
                evidence.confidence += self.orders[at] as f32 * share;
                evidence.ridge += self.ridge[at];
            }
        }
        let boosted = |item: u32| {
            let evidence = items[item as usize];
            CartEvidence { confidence: evidence.confidence * self.boost[item as usize], ..evidence }
        };
        let result = read(&touched, &boosted);
        touched.drain(..).for_each(|item| items[item as usize] = CartEvidence::default());
        CART.set(CartSums { items, touched });
        result
    }

    /// The items that best complete a cart by its pairs alone: Σ over its items of the pair's score.
    pub fn complete(&self, cart: &[u32], k: usize, eligible: Eligible, found: &mut Found) {
        self.neighbours.accumulate(cart.iter().map(|&item| (item, 1.0)), k, eligible, found);
    }

    /// The evidence for one pair; `None` without support.
    pub fn pair(&self, source: u32, item: u32) -> Option<Together> {
        let at = self.neighbours.place(source, item)?;
        Some(Together {
            item: source,
            score: self.neighbours.scores[at],
            orders: self.orders[at],
            shoppers: self.shoppers[at],
            lift: self.lift[at],
        })
    }

    /// Why `item` goes with a cart: the evidence of each cart item that has some, strongest first.
    pub fn evidence(&self, cart: &[u32], item: u32) -> Vec<Together> {
        let mut evidence: Vec<Together> = cart.iter().filter_map(|&source| self.pair(source, item)).collect();
        evidence.sort_by(|a, b| b.score.total_cmp(&a.score).then(a.item.cmp(&b.item)));
        evidence
    }

    /// Orders that pairs were counted in.
    pub(crate) fn all_orders(&self) -> u32 {
        self.all.first().copied().unwrap_or(0)
    }

    /// The stored neighbours of an item with how many times more often than by chance they share its orders.
    pub fn lifts(&self, item: u32) -> impl Iterator<Item = (u32, f32)> + '_ {
        self.neighbours.range(item).map(|at| (self.neighbours.items[at], self.lift[at]))
    }
}
