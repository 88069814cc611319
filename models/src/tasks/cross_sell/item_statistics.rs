//! What is known of an item whoever the cart belongs to: sales, recent sales and repurchases.

use crate::algorithms::popular::PopularModel;
use crate::error::Result;
use crate::tasks::complements::ComplementsModel;
use crate::tasks::order_history::days_since_epoch;
use crate::weights::{Tensor, Weights};
use aisle_data::{NONE, Orders};
use aisle_math::array::Array;
use rayon::prelude::*;

/// An order is recent if it is among the last so many days of the log.
const RECENT_DAYS: f32 = 28.0;
/// Days between purchases of an item if no item of the shop was bought again often enough to tell.
const DEFAULT_GAP_DAYS: f32 = 60.0;
/// Shoppers who came back that an item must have before it gets days between purchases of its own.
const MIN_GAPS: usize = 3;
/// Shoppers without a repurchase that are added to those of each item: a few purchases of a rare
/// item say little of how many come back for it.
const PRIOR_SHOPPERS: f32 = 5.0;

/// Counts of each item, over all shoppers.
pub(super) struct ItemStatistics {
    /// Recent orders that hold the item; in a log without times all orders are recent.
    recent_orders: Array<f32>,
    /// The median over shoppers of the mean days between purchases.
    gap_days: Array<f32>,
    /// The share of its shoppers who bought it again.
    returning: Array<f32>,
}

/// The features of an item that do not depend on the cart.
#[derive(Clone, Copy)]
pub(crate) struct ItemFeatures {
    /// ln(1 + orders that hold the item).
    pub ln_orders: f32,
    /// ln(1 + those of the last four weeks).
    pub ln_recent_orders: f32,
    /// The share of its shoppers who bought it again.
    pub returning: f32,
    /// ln of the usual days between a shopper's purchases.
    pub ln_gap: f32,
    /// ln(1 + decayed sales).
    pub ln_sales: f32,
}

/// A purchase by a known shopper.
struct Purchase {
    item: u32,
    user: u32,
    order: u32,
    /// Days since 1970.
    day: f32,
}

impl ItemStatistics {
    /// Counts the orders of a log with `items` items. O(lines · log lines).
    pub(super) fn of(orders: &Orders, items: usize) -> Self {
        let has_times = orders.time.iter().any(|&time| time != 0);
        let end = orders
            .time
            .iter()
            .copied()
            .max()
            .map_or(0.0, days_since_epoch);
        let mut recent_orders = vec![0f32; items];
        let mut purchases: Vec<Purchase> = Vec::new();
        for order in 0..orders.len() {
            let (user, day) = (orders.user[order], days_since_epoch(orders.time[order]));
            for &item in orders.order(order) {
                if !has_times || day > end - RECENT_DAYS {
                    recent_orders[item as usize] += 1.0;
                }
                if user != NONE {
                    let order = order as u32;
                    purchases.push(Purchase {
                        item,
                        user,
                        order,
                        day,
                    });
                }
            }
        }
        purchases
            .par_sort_unstable_by_key(|purchase| (purchase.item, purchase.user, purchase.order));
        let mut gap_days = vec![f32::NAN; items];
        let mut returning = vec![0f32; items];
        let mut known_gaps = Vec::new();
        for of_item in purchases.chunk_by(|a, b| a.item == b.item) {
            let item = of_item[0].item as usize;
            let by_shopper: Vec<&[Purchase]> = of_item.chunk_by(|a, b| a.user == b.user).collect();
            let shoppers = by_shopper.len() as f32;
            let mut gaps: Vec<f32> = by_shopper.into_iter().filter_map(mean_gap).collect();
            returning[item] = gaps.len() as f32 / (shoppers + PRIOR_SHOPPERS);
            gaps.sort_by(f32::total_cmp);
            if gaps.len() >= MIN_GAPS {
                gap_days[item] = gaps[gaps.len() / 2];
                known_gaps.push(gaps[gaps.len() / 2]);
            }
        }
        known_gaps.sort_by(f32::total_cmp);
        let median = known_gaps.get(known_gaps.len() / 2).copied();
        let usual_gap = median.unwrap_or(DEFAULT_GAP_DAYS);
        for gap in gap_days.iter_mut().filter(|gap| gap.is_nan()) {
            *gap = usual_gap;
        }
        Self {
            recent_orders: recent_orders.into(),
            gap_days: gap_days.into(),
            returning: returning.into(),
        }
    }

    /// Reads the counts from the arrays of a version.
    pub(super) fn load(items: usize, weights: &mut Weights) -> Result<Self> {
        Ok(Self {
            recent_orders: weights.reals("items.recent", items)?,
            gap_days: weights.reals("items.gap", items)?,
            returning: weights.reals("items.returning", items)?,
        })
    }

    /// The arrays that a version stores.
    pub(super) fn tensors(&self) -> Vec<Tensor<'_>> {
        let arrays = [
            ("items.recent", &self.recent_orders),
            ("items.gap", &self.gap_days),
            ("items.returning", &self.returning),
        ];
        arrays
            .into_iter()
            .map(|(name, values)| Tensor::f32(name, &[values.len()], values))
            .collect()
    }

    /// The features of each item.
    pub(super) fn features(
        &self,
        complements: &ComplementsModel,
        popular: &PopularModel,
    ) -> Vec<ItemFeatures> {
        let features = |item: usize| ItemFeatures {
            ln_orders: (complements.order_count(item as u32) as f32).ln_1p(),
            ln_recent_orders: self.recent_orders[item].ln_1p(),
            returning: self.returning[item],
            ln_gap: self.gap_days[item].max(0.5).ln(),
            ln_sales: popular.sales(item as u32).ln_1p(),
        };
        let items = 0..self.recent_orders.len();
        items.into_par_iter().map(features).collect()
    }
}

/// Mean days between one shopper's purchases of one item, at least ½; `None` of a single purchase.
fn mean_gap(purchases: &[Purchase]) -> Option<f32> {
    if purchases.len() < 2 {
        return None;
    }
    let days = purchases.iter().map(|purchase| purchase.day);
    let (first, last) = days.fold((f32::MAX, f32::MIN), |(first, last), day| {
        (first.min(day), last.max(day))
    });
    Some(((last - first) / (purchases.len() - 1) as f32).max(0.5))
}
