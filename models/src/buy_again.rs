//! Buy again: what a shopper is due to reorder, with the probability that they do.
//!
//! Logistic regression (`logit.rs`) on how often, how lately and how regularly a shopper bought an item, and on how long ago that is in units of the
//! item's own interval: the shopper's where they bought it twice or more, else that of those who did. A Weibull hazard is the special
//! case that uses the last alone. Learned on the last weeks of the log; probabilities hold over as many days.

use crate::Result;
use crate::bundle::Bundle;
use crate::groups::ByGroup;
use crate::habits::{Habit, LOGS, Past, RHYTHM, day};
use crate::kernels::{dot, ln, simd};
use crate::logit::Choices;
use crate::recommend::hyperparameter;
use crate::weights::{Array, Tensor, Weights};
use aisle_data::{NONE, Orders, mix};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Hyperparameters.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct BuyAgain {
    /// Learned on the reorders of so many last days, and probabilities hold within as many; 0 = it is not learned.
    pub learn_days: f32,
}

impl Default for BuyAgain {
    fn default() -> Self {
        Self { learn_days: 28.0 }
    }
}

impl BuyAgain {
    pub(crate) fn validate(&self) -> Result<()> {
        hyperparameter("learn_days", self.learn_days, 0.0..=3650.0)
    }
}

/// Features of an item that a shopper had.
const FEATURES: usize = 18;
/// The place of how overdue it is among them.
const DUE: usize = 6;
/// Items of shoppers that weights are learned from, at most.
const EXAMPLES: usize = 100_000;
const RIDGE: f64 = 3.0;

/// How habits weigh.
pub struct BuyAgainModel {
    settings: BuyAgain,
    weights: Array<f32>,
}

/// An item that a shopper may be due to reorder.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Due {
    /// Item row.
    pub item: u32,
    /// That it is bought again within the horizon.
    pub probability: f32,
    /// Orders that held it.
    pub orders: u32,
    /// Days since the last.
    pub since: f32,
    /// Days from now until it is usually bought again; below zero = overdue.
    pub due_in: f32,
}

impl BuyAgainModel {
    /// Before anything is learned: often, lately, and near the usual interval.
    pub(crate) fn new(settings: BuyAgain) -> Self {
        let mut weights = vec![0f32; FEATURES];
        (weights[0], weights[1], weights[4], weights[7]) = (-5.0, 1.0, 1.0, -0.3);
        Self { settings, weights: weights.into() }
    }

    pub(crate) fn load(settings: BuyAgain, weights: &mut Weights) -> Result<Self> {
        settings.validate()?;
        Ok(Self { settings, weights: weights.reals("buy_again.weights", FEATURES)? })
    }

    pub(crate) fn tensors(&self) -> Vec<Tensor<'_>> {
        vec![Tensor::f32("buy_again.weights", &[FEATURES], &self.weights)]
    }

    pub(crate) fn with_weights(self, learned: Option<Vec<f32>>) -> Self {
        match learned {
            Some(weights) => Self { weights: weights.into(), ..self },
            None => self,
        }
    }

    /// Days within which probabilities hold where no others are asked for.
    pub fn horizon(&self) -> f32 {
        if self.settings.learn_days > 0.0 { self.settings.learn_days } else { BuyAgain::default().learn_days }
    }
}

impl Bundle {
    /// Everything that a shopper had, with the probability that it is bought again within `days`. By ascending item. O(lines of the shopper).
    pub fn due(&self, user: u32, now: Option<f32>, days: f32) -> Vec<Due> {
        let model = self.buy_again_model();
        let past = self.habits().past(user, &[], now);
        let stretch = f64::from(days / model.horizon());
        let due = |(habit, reorder): (&Habit, Reorder)| {
            let stays = 1.0 / (1.0 + f64::from(dot(&reorder.features, &model.weights)).exp());
            let stays = if stretch == 1.0 { stays } else { stays.powf(stretch) };
            Due {
                item: habit.item,
                probability: (1.0 - stays) as f32,
                orders: habit.orders,
                since: (past.now - habit.last).max(0.0),
                due_in: habit.last + reorder.gap - past.now,
            }
        };
        past.habits.iter().zip(self.reorders(&past)).map(due).collect()
    }

    /// What is known of each of a shopper's habits.
    fn reorders(&self, past: &Past) -> Vec<Reorder> {
        let groups = self.groups();
        let by_group = ByGroup::of(past, groups);
        let ln_orders = past.ln_orders();
        // All logarithms at once.
        let mut logs: Vec<[f32; LOGS]> = past.habits.iter().map(|habit| habit.numbers(past.now)).collect();
        ln(simd(), logs.as_flattened_mut());
        let reorder = |(habit, logs): (&Habit, [f32; LOGS])| {
            let described = self.cross_sell_model().described(habit.item);
            // The shopper's own days between purchases, drawn to those of all by as much as two purchases.
            let gaps = (habit.orders - 1) as f32;
            let gap = (gaps * logs[LOGS - 1] + described.gap) / (gaps + 1.0);
            let rhythm = Habit::rhythm(logs, ln_orders, gap);
            let [path, category, ..] = by_group.get(groups, habit.item);
            let mut features = [0f32; FEATURES];
            features[..RHYTHM].copy_from_slice(&rhythm);
            features[RHYTHM..].copy_from_slice(&[
                if habit.orders > 1 { 1.0 } else { 0.0 },
                described.returning,
                described.recent,
                ln_orders,
                path.faded,
                path.since,
                category.faded,
                rhythm[DUE].max(0.0),
            ]);
            Reorder { features, gap: gap.exp() }
        };
        past.habits.iter().zip(logs).map(reorder).collect()
    }
}

/// What is known of an item that a shopper may reorder.
struct Reorder {
    features: [f32; FEATURES],
    /// Days between purchases.
    gap: f32,
}

/// Learns the weights from what shoppers of `past` ordered later.
pub(crate) fn learn(past: &Bundle, later: &Orders) -> Option<Vec<f32>> {
    let mut ordered: BTreeMap<u32, Vec<u32>> = BTreeMap::new();
    for order in (0..later.len()).filter(|&order| later.user[order] != NONE) {
        ordered.entry(later.user[order]).or_default().extend_from_slice(later.order(order));
    }
    let begin = later.time.iter().copied().min().unwrap_or(0);
    let now = (past.habits().end() > 0.0).then(|| day(begin));
    // Of shoppers who came back: who asks is here.
    let shoppers: Vec<u32> = ordered.keys().copied().collect();
    let lines: usize = shoppers.par_iter().map(|&user| past.habits().past(user, &[], now).habits.len()).sum();
    let keep = lines.div_ceil(EXAMPLES).max(1) as u64;
    let examples: Vec<([f32; FEATURES], bool)> = shoppers
        .par_iter()
        .flat_map_iter(|&user| {
            let mut again = ordered[&user].clone();
            again.sort_unstable();
            let known = past.habits().past(user, &[], now);
            let drawn = |(habit, _): &(&Habit, Reorder)| mix(u64::from(user) << 32 | u64::from(habit.item)).is_multiple_of(keep);
            let example = |(habit, reorder): (&Habit, Reorder)| (reorder.features, again.binary_search(&habit.item).is_ok());
            known.habits.iter().zip(past.reorders(&known)).filter(drawn).map(example).collect::<Vec<_>>()
        })
        .collect();
    if examples.iter().filter(|example| example.1).count() < 50 {
        return None;
    }
    let mut choices = Choices::new(FEATURES, true);
    examples.iter().for_each(|(features, again)| choices.push(features, again.then_some(0)));
    choices.fit(RIDGE)
}
