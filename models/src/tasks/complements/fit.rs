//! Counts which items are bought together, and by how many distinct shoppers.

use crate::algorithms::local_ridge::LocalRidge;
use crate::algorithms::neighbours::{Neighbours, Pair};
use crate::algorithms::recommend::{Fit, Progress, Training};
use crate::error::{ModelError, Result};
use crate::tasks::complements::{Complements, ComplementsModel, popularity_factors};
use crate::tasks::order_vectors::by_order;
use aisle_data::{Orders, shopper_key};
use aisle_retrieval::top_k::Scored;
use rayon::prelude::*;

/// A pair that is stored with one of its items.
struct StoredPair {
    /// The other item.
    item: u32,
    /// √LLR.
    score: f32,
    /// Orders that hold both.
    orders: u32,
    /// Distinct shoppers of those orders.
    shoppers: u32,
    /// How many times more often than by chance the two share an order.
    lift: f32,
}

/// The pairs of one item, best first.
struct PairsOfItem {
    pairs: Vec<StoredPair>,
    /// Pairs that too few shoppers stand behind.
    suppressed: u64,
}

impl Fit for Complements {
    type Model = ComplementsModel;

    /// O(Σ over orders of items²).
    fn fit(&self, training: &Training, progress: &dyn Progress) -> Result<ComplementsModel> {
        self.validate()?;
        let counts = OrderCounts::of(self, training);
        let items = training.catalog.len();
        let rows: Vec<PairsOfItem> = (0..items as u32)
            .into_par_iter()
            .map_init(
                || PairCounts::new(items),
                |pair_counts, item| {
                    pair_counts.count(&counts, item);
                    self.pairs_of(item, pair_counts, &counts)
                },
            )
            .collect();
        progress.step("cross-sell", 1, 1);
        let ridge_weights = self.ridge_weights(&rows, training, progress)?;
        let suppressed = rows.iter().map(|row| row.suppressed).sum::<u64>() / 2;
        let mut offsets = vec![0u64];
        for row in &rows {
            offsets.push(offsets[offsets.len() - 1] + row.pairs.len() as u64);
        }
        let pairs = || rows.iter().flat_map(|row| &row.pairs);
        let counts_of = |count: fn(&StoredPair) -> u32| pairs().map(count).collect::<Vec<_>>();
        let reals_of = |real: fn(&StoredPair) -> f32| pairs().map(real).collect::<Vec<_>>();
        Ok(ComplementsModel {
            orders: counts_of(|pair| pair.orders).into(),
            shoppers: counts_of(|pair| pair.shoppers).into(),
            lift: reals_of(|pair| pair.lift).into(),
            ridge: ridge_weights.into(),
            neighbours: Neighbours {
                offsets: offsets.into(),
                items: counts_of(|pair| pair.item).into(),
                scores: reals_of(|pair| pair.score).into(),
            },
            popularity_factors: popularity_factors(&counts.sold, counts.all, self.discount),
            sold: counts.sold.into(),
            all: vec![counts.all].into(),
            shrink: self.shrink,
            suppressed,
            too_large: counts.too_large,
        })
    }
}

impl Complements {
    /// The pairs of an item that enough shoppers stand behind and whose score is above 0.
    fn pairs_of(&self, item: u32, counted: &PairCounts, counts: &OrderCounts) -> PairsOfItem {
        let mut pairs: Vec<StoredPair> = Vec::new();
        let mut suppressed = 0;
        for &other in counted.touched.iter().filter(|&&other| other != item) {
            let at = other as usize;
            if counted.shoppers[at] < self.min_shoppers {
                suppressed += 1;
                continue;
            }
            let pair = Pair {
                both: counted.orders[at],
                product: 0.0,
                each: (counts.sold[item as usize], counts.sold[at]),
                all: counts.all,
            };
            let score = pair.llr().sqrt();
            if score > 0.0 && score.is_finite() {
                pairs.push(StoredPair {
                    item: other,
                    score,
                    orders: counted.orders[at],
                    shoppers: counted.shoppers[at],
                    lift: pair.lift(),
                });
            }
        }
        pairs.sort_by(|a, b| b.score.total_cmp(&a.score).then(a.item.cmp(&b.item)));
        pairs.truncate(self.neighbours);
        PairsOfItem { pairs, suppressed }
    }

    /// For each stored pair the weight of its first item in a regression of the second one on all
    /// items that share orders with it; 0 where the regression does not keep the pair.
    fn ridge_weights(
        &self,
        rows: &[PairsOfItem],
        training: &Training,
        progress: &dyn Progress,
    ) -> Result<Vec<f32>> {
        let items = training.catalog.len();
        let matrix = training.orders.matrix(items, self.max_order_items);
        let ridge = match LocalRidge::default().fit(&by_order(training, &matrix), progress) {
            Err(ModelError::NothingToLearn { .. }) => Neighbours::default(),
            fitted => fitted?.into_neighbours(),
        };
        let weights: Vec<Vec<f32>> = rows
            .par_iter()
            .enumerate()
            .map(|(item, row)| {
                let mut weights: Vec<Scored> = ridge.row(item as u32).collect();
                weights.sort_unstable_by_key(|weight| weight.item);
                let weight_of = |pair: &StoredPair| {
                    weights
                        .binary_search_by_key(&pair.item, |weight| weight.item)
                        .map_or(0.0, |at| weights[at].score)
                };
                row.pairs.iter().map(weight_of).collect()
            })
            .collect();
        Ok(weights.concat())
    }
}

/// The orders of a log that pairs are counted in.
struct OrderCounts<'a> {
    orders: &'a Orders,
    /// For each item the orders of two or more items that hold it, those of one shopper side by
    /// side.
    of_item: Vec<Vec<u32>>,
    /// For each item the orders that hold it, whatever their size up to the largest that counts.
    sold: Vec<u32>,
    /// How many such orders there are.
    all: u32,
    /// Orders that are left out because they are too large.
    too_large: u64,
}

impl<'a> OrderCounts<'a> {
    fn of(settings: &Complements, training: &Training<'a>) -> Self {
        let orders = training.orders;
        let items = training.catalog.len();
        let mut sold = vec![0u32; items];
        let mut with_pairs: Vec<usize> = Vec::new();
        let mut too_large = 0;
        for order in 0..orders.len() {
            let order_items = orders.order(order);
            if order_items.len() > settings.max_order_items {
                too_large += 1;
                continue;
            }
            for &item in order_items {
                sold[item as usize] += 1;
            }
            if order_items.len() >= 2 {
                with_pairs.push(order);
            }
        }
        with_pairs.sort_by_key(|&order| (orders.user[order], order));
        let mut of_item: Vec<Vec<u32>> = vec![Vec::new(); items];
        for order in with_pairs {
            for &item in orders.order(order) {
                of_item[item as usize].push(order as u32);
            }
        }
        Self {
            orders,
            of_item,
            sold,
            all: (orders.len() - too_large) as u32,
            too_large: too_large as u64,
        }
    }
}

/// How often one item shares an order with each other item. One of these serves many items, because
/// clearing what one item touched is cheaper than new arrays.
struct PairCounts {
    /// For each item the orders that it shares.
    orders: Vec<u32>,
    /// For each item the distinct shoppers of those orders.
    shoppers: Vec<u32>,
    /// For each item the shopper counted last; `u64::MAX` = none.
    last_shopper: Vec<u64>,
    /// The items that share an order, in the order of their first one.
    touched: Vec<u32>,
}

impl PairCounts {
    fn new(items: usize) -> Self {
        Self {
            orders: vec![0; items],
            shoppers: vec![0; items],
            last_shopper: vec![u64::MAX; items],
            touched: Vec::new(),
        }
    }

    /// Counts for one item, and forgets the one before.
    fn count(&mut self, counts: &OrderCounts, item: u32) {
        for other in self.touched.drain(..) {
            let at = other as usize;
            self.orders[at] = 0;
            self.shoppers[at] = 0;
            self.last_shopper[at] = u64::MAX;
        }
        for &order in &counts.of_item[item as usize] {
            let shopper = shopper_key(counts.orders.user[order as usize], order);
            for &other in counts.orders.order(order as usize) {
                let at = other as usize;
                if self.orders[at] == 0 {
                    self.touched.push(other);
                }
                self.orders[at] += 1;
                // The orders of one shopper are side by side.
                if self.last_shopper[at] != shopper {
                    self.last_shopper[at] = shopper;
                    self.shoppers[at] += 1;
                }
            }
        }
    }
}
