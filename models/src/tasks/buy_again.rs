//! Buy again: what a shopper is due to reorder, with the probability that they do.
//!
//! Logistic regression ([`Choices`]) on how often, how lately and how regularly a shopper bought an
//! item, and on how much of the usual interval between purchases has passed. The interval is the
//! shopper's own where they bought the item twice or more, else that of the shoppers who did. A
//! Weibull hazard is the special case that reads the interval alone. The weights are learned on the
//! last weeks of the log, and probabilities hold over as many days.
//!
//! In: the orders of a shopper ([`OrderHistory`]). Out: [`ReorderCandidate`]s. A new feature is a
//! number in `reorder_features`; it changes the length of the stored weights.

use crate::algorithms::recommend::check_range;
use crate::catalog::item_groups::ItemGroups;
use crate::error::Result;
use crate::tasks::cross_sell::CrossSellModel;
use crate::tasks::group_purchases::GroupPurchases;
use crate::tasks::order_history::{
    OrderHistory, PurchaseHistory, PurchasedItem, REPURCHASE_FEATURES, REPURCHASE_LOGS,
    days_since_epoch,
};
use crate::weights::{Tensor, Weights};
use aisle_data::{NONE, Orders};
use aisle_math::array::Array;
use aisle_math::kernels::{dot, ln, simd};
use aisle_math::logit::Choices;
use aisle_math::random::mix;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Hyperparameters of reorders.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct BuyAgain {
    /// The weights are learned on the reorders of this many last days of the log, and probabilities
    /// hold within as many days, 0 to 3650; 0 = the weights are not learned.
    pub learn_days: f32,
}

impl Default for BuyAgain {
    fn default() -> Self {
        Self { learn_days: 28.0 }
    }
}

impl BuyAgain {
    /// Checks the range of every hyperparameter.
    pub(crate) fn validate(&self) -> Result<()> {
        check_range("learn_days", self.learn_days, 0.0..=3650.0)
    }
}

/// Features of an item that a shopper bought.
const FEATURES: usize = 18;
/// The place among them of ln(days since the last purchase / usual days between purchases).
const OVERDUE: usize = 6;
/// Items of shoppers that weights are learned from, about.
const MAX_EXAMPLES: usize = 100_000;
/// Reorders below which weights are not learned.
const MIN_REORDERS: usize = 50;
/// The strength of the logit's ridge penalty.
const RIDGE: f64 = 3.0;

/// The fitted model: the weight of each feature.
pub struct BuyAgainModel {
    settings: BuyAgain,
    weights: Array<f32>,
}

/// An item that a shopper may be due to buy again.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ReorderCandidate {
    /// Item row.
    pub item: u32,
    /// The probability that the item is bought again within the days asked about, 0 to 1.
    pub probability: f32,
    /// How many of the shopper's orders hold the item.
    pub orders: u32,
    /// Days since the last of these orders.
    pub days_since: f32,
    /// Days from now until the item is usually bought again; below zero = overdue.
    pub days_until_due: f32,
}

impl BuyAgainModel {
    /// The model before anything is learned: items bought often, lately, and about one usual
    /// interval ago come first.
    pub(crate) fn new(settings: BuyAgain) -> Self {
        let mut weights = vec![0f32; FEATURES];
        (weights[0], weights[1], weights[4], weights[7]) = (-5.0, 1.0, 1.0, -0.3);
        Self {
            settings,
            weights: weights.into(),
        }
    }

    /// Reads a model from the arrays of a version.
    pub(crate) fn load(settings: BuyAgain, weights: &mut Weights) -> Result<Self> {
        settings.validate()?;
        Ok(Self {
            settings,
            weights: weights.reals("buy_again.weights", FEATURES)?,
        })
    }

    /// The arrays that a version stores.
    pub(crate) fn tensors(&self) -> Vec<Tensor<'_>> {
        vec![Tensor::f32("buy_again.weights", &[FEATURES], &self.weights)]
    }

    /// The same model with the weights that [`learn`] returned; unchanged if it returned none.
    pub(crate) fn with_weights(self, learned: Option<Vec<f32>>) -> Self {
        match learned {
            Some(weights) => Self {
                weights: weights.into(),
                ..self
            },
            None => self,
        }
    }

    /// The days within which probabilities hold if a request does not say otherwise.
    pub fn horizon(&self) -> f32 {
        if self.settings.learn_days > 0.0 {
            self.settings.learn_days
        } else {
            BuyAgain::default().learn_days
        }
    }
}

/// The fitted models that reorders are computed from.
#[derive(Clone, Copy)]
pub struct BuyAgainParts<'a> {
    /// The model of reorders itself.
    pub model: &'a BuyAgainModel,
    /// The orders of each shopper.
    pub order_history: &'a OrderHistory,
    /// The groups of items.
    pub groups: &'a ItemGroups,
    /// The model of cross-selling, for its statistics of items.
    pub cross_sell: &'a CrossSellModel,
}

/// What the model reads of an item that a shopper bought.
struct ReorderFeatures {
    features: [f32; FEATURES],
    /// Usual days between purchases of this shopper and item.
    gap_days: f32,
}

impl BuyAgainParts<'_> {
    /// Every item that a shopper bought, ascending by row, with the probability that it is bought
    /// again within `days` after `now` (days since 1970; `None` = the end of the log). O(lines of
    /// the shopper).
    pub fn reorder_candidates(
        &self,
        user: u32,
        now: Option<f32>,
        days: f32,
    ) -> Vec<ReorderCandidate> {
        let model = self.model;
        let past = self.order_history.purchase_history(user, &[], now);
        // With a constant hazard, the probability of no reorder is multiplied day by day.
        let horizons = f64::from(days / model.horizon());
        let candidate = |(purchased, reorder): (&PurchasedItem, ReorderFeatures)| {
            let log_odds = dot(&reorder.features, &model.weights);
            let within_horizon = 1.0 / (1.0 + f64::from(log_odds).exp());
            let no_reorder = if horizons == 1.0 {
                within_horizon
            } else {
                within_horizon.powf(horizons)
            };
            ReorderCandidate {
                item: purchased.item,
                probability: (1.0 - no_reorder) as f32,
                orders: purchased.orders,
                days_since: (past.now - purchased.last).max(0.0),
                days_until_due: purchased.last + reorder.gap_days - past.now,
            }
        };
        let features = self.reorder_features(&past);
        past.items.iter().zip(features).map(candidate).collect()
    }

    /// The features of each item of a shopper's history.
    fn reorder_features(&self, past: &PurchaseHistory) -> Vec<ReorderFeatures> {
        let groups = self.groups;
        let by_group = GroupPurchases::of(past, groups);
        let ln_orders = past.ln_orders();
        // All logarithms at once.
        let mut logs: Vec<[f32; REPURCHASE_LOGS]> = past
            .items
            .iter()
            .map(|purchased| purchased.repurchase_inputs(past.now))
            .collect();
        ln(simd(), logs.as_flattened_mut());
        let features = |(purchased, logs): (&PurchasedItem, [f32; REPURCHASE_LOGS])| {
            let statistics = self.cross_sell.item_features(purchased.item);
            // The shopper's own days between purchases, drawn to those of all shoppers, which count
            // as much as one interval.
            let intervals = (purchased.orders - 1) as f32;
            let own_ln_gap = logs[REPURCHASE_LOGS - 1];
            let ln_gap = (intervals * own_ln_gap + statistics.ln_gap) / (intervals + 1.0);
            let repurchase = PurchasedItem::repurchase_features(logs, ln_orders, ln_gap);
            let [path, category, ..] = by_group.get(groups, purchased.item);
            let mut features = [0f32; FEATURES];
            features[..REPURCHASE_FEATURES].copy_from_slice(&repurchase);
            features[REPURCHASE_FEATURES..].copy_from_slice(&[
                if purchased.orders > 1 { 1.0 } else { 0.0 },
                statistics.returning,
                statistics.ln_recent_orders,
                ln_orders,
                path.ln_decayed_lines,
                path.ln_days_since,
                category.ln_decayed_lines,
                repurchase[OVERDUE].max(0.0),
            ]);
            ReorderFeatures {
                features,
                gap_days: ln_gap.exp(),
            }
        };
        past.items.iter().zip(logs).map(features).collect()
    }
}

/// Learns the weights from the `later` orders of the shoppers that the models know; `None` if there
/// are too few reorders.
pub(crate) fn learn(parts: &BuyAgainParts, later: &Orders) -> Option<Vec<f32>> {
    let mut items_of: BTreeMap<u32, Vec<u32>> = BTreeMap::new();
    for order in (0..later.len()).filter(|&order| later.user[order] != NONE) {
        let items = items_of.entry(later.user[order]).or_default();
        items.extend_from_slice(later.order(order));
    }
    items_of
        .values_mut()
        .for_each(|items| items.sort_unstable());
    let begin = later.time.iter().copied().min().unwrap_or(0);
    let now = (parts.order_history.log_end_day() > 0.0).then(|| days_since_epoch(begin));
    let past_of = |user: u32| parts.order_history.purchase_history(user, &[], now);
    // Only shoppers who came back: whoever asks came back too.
    let shoppers: Vec<u32> = items_of.keys().copied().collect();
    let all_examples: usize = shoppers
        .par_iter()
        .map(|&user| past_of(user).items.len())
        .sum();
    let keep_one_in = all_examples.div_ceil(MAX_EXAMPLES).max(1) as u64;
    let examples: Vec<([f32; FEATURES], bool)> = shoppers
        .par_iter()
        .flat_map_iter(|&user| {
            let past = past_of(user);
            let is_drawn = |(purchased, _): &(&PurchasedItem, ReorderFeatures)| {
                mix(u64::from(user) << 32 | u64::from(purchased.item)).is_multiple_of(keep_one_in)
            };
            let example = |(purchased, reorder): (&PurchasedItem, ReorderFeatures)| {
                let is_reordered = items_of[&user].binary_search(&purchased.item).is_ok();
                (reorder.features, is_reordered)
            };
            let with_features = past.items.iter().zip(parts.reorder_features(&past));
            let drawn = with_features.filter(is_drawn).map(example);
            drawn.collect::<Vec<_>>()
        })
        .collect();
    let reorders = examples.iter().filter(|(_, is_reordered)| *is_reordered);
    if reorders.count() < MIN_REORDERS {
        return None;
    }
    let mut choices = Choices::new(FEATURES, true);
    for (features, is_reordered) in &examples {
        choices.push(features, is_reordered.then_some(0));
    }
    choices.fit(RIDGE)
}
