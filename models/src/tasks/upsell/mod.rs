//! Upsell: the higher-priced item of the same category that a shopper of an item steps up to, with
//! the probability that they do.
//!
//! In: an `Anchor`, the higher-priced items of its category, and the fitted
//! models of [`UpsellParts`]. Out: the probability of each item (`features.rs`). `fit.rs` counts
//! the steps of earlier shoppers, and `learn.rs` learns the weight of each feature. A new feature
//! is a number in `features.rs`; it changes the length of the stored weights.
//!
//! Weights are learned by conditional logit with an outside option
//! ([`Choices`](aisle_math::logit::Choices)): of a shopper who had item i of a category when the
//! last weeks of the log began, the alternatives are all higher-priced items of the category that
//! they never had, and to take none of them. So probabilities are calibrated over that many days,
//! and times the price difference they are an expected value. What speaks for item j: how many
//! shoppers of i went on to it, the similarity of the two, the price ratio against the category's
//! usual step, size and price per unit where titles state them, brand, sales, and the shopper's own
//! price level, brands and pace. An unknown shopper has weights of their own.

mod features;
mod fit;
mod learn;

use crate::algorithms::neighbours::Neighbours;
use crate::catalog::item_groups::ItemGroups;
use crate::error::{ModelError, Result};
use crate::weights::{Tensor, Weights};
use aisle_data::NONE;
use aisle_math::array::Array;
pub(crate) use features::Anchor;
pub use features::UpsellParts;
use features::{FEATURES, SetOfWeights};
pub(crate) use learn::learn;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Hyperparameters of upselling.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Upsell {
    /// The lowest price of an answer as a multiple of the anchor's price, above 1.
    pub min_ratio: f32,
    /// The highest price of an answer as a multiple of the anchor's price, above `min_ratio`.
    pub max_ratio: f32,
    /// Steps kept for each item, those of most shoppers.
    pub neighbours: usize,
    /// The weights are learned on the steps of this many last days of the log, and probabilities
    /// hold within as many days, 0 to 3650; 0 = the weights are not learned.
    pub learn_days: f32,
}

impl Default for Upsell {
    fn default() -> Self {
        Self {
            min_ratio: 1.05,
            max_ratio: 4.0,
            neighbours: 100,
            learn_days: 28.0,
        }
    }
}

/// Checks a price band, given as multiples of the anchor's price.
///
/// # Errors
/// [`ModelError::Hyperparameter`] unless 1 < `min` < `max` and both are finite.
pub fn check_band(min: f32, max: f32) -> Result<()> {
    if min.is_finite() && max.is_finite() && min > 1.0 && max > min {
        return Ok(());
    }
    Err(ModelError::Hyperparameter {
        name: "min_ratio, max_ratio".into(),
        found: format!("{min} to {max}"),
        expected: "1 < min_ratio < max_ratio".into(),
    })
}

/// The arrays of the steps in a weights file.
const STEP_ARRAYS: [&str; 3] = ["upsell.offsets", "upsell.items", "upsell.shoppers"];

/// The fitted model: the steps of earlier shoppers, and the weights of features.
#[derive(Default)]
pub struct UpsellModel {
    /// For each item the higher-priced items that its shoppers went on to, scored by distinct
    /// shoppers.
    steps: Neighbours,
    settings: Upsell,
    /// For each item ln of the usual price ratio of a step in its category.
    usual_log_ratios: Array<f32>,
    /// [`FEATURES`] weights for each [`SetOfWeights`].
    weights: Array<f32>,
}

impl UpsellModel {
    /// Reads a model from the arrays of a version.
    pub(crate) fn load(settings: Upsell, items: usize, weights: &mut Weights) -> Result<Self> {
        Ok(Self {
            steps: Neighbours::load(STEP_ARRAYS, items, weights)?,
            settings,
            usual_log_ratios: weights.reals("upsell.usual", items)?,
            weights: weights.reals("upsell.weights", SetOfWeights::COUNT * FEATURES)?,
        })
    }

    /// The arrays that a version stores.
    pub(crate) fn tensors(&self) -> Vec<Tensor<'_>> {
        let mut tensors = self.steps.tensors(STEP_ARRAYS);
        for (name, values) in [
            ("upsell.usual", &self.usual_log_ratios),
            ("upsell.weights", &self.weights),
        ] {
            tensors.push(Tensor::f32(name, &[values.len()], values));
        }
        tensors
    }

    /// Gives the items from row `first` on the usual price ratio of their category path, or the
    /// mean of all items where the path has no earlier item. O(items · log categories).
    pub(crate) fn set_usual_ratios_from(&mut self, first: usize, groups: &ItemGroups) {
        let mut log_ratios = self.usual_log_ratios.to_vec();
        // The group NONE stands for all items.
        let mut sums: BTreeMap<u32, (f32, f32)> = BTreeMap::new();
        for (item, &log_ratio) in (0..).zip(&log_ratios[..first]) {
            for group in [groups.path_of(item), NONE] {
                let (sum, count) = sums.entry(group).or_default();
                *sum += log_ratio;
                *count += 1.0;
            }
        }
        for (item, log_ratio) in (0..).zip(&mut log_ratios).skip(first) {
            let of_path = sums.get(&groups.path_of(item)).or_else(|| sums.get(&NONE));
            *log_ratio = of_path.map_or(0.0, |(sum, count)| sum / count);
        }
        self.usual_log_ratios = log_ratios.into();
    }

    /// The lowest and the highest price of an answer, as multiples of the anchor's price.
    pub fn band(&self) -> (f32, f32) {
        (self.settings.min_ratio, self.settings.max_ratio)
    }

    /// The days within which the probabilities of an answer hold.
    pub fn horizon(&self) -> f32 {
        self.settings.learn_days
    }

    /// The kept steps from an item, as (item, distinct shoppers), those of most shoppers first.
    pub fn steps(&self, from: u32) -> impl Iterator<Item = (u32, u32)> + '_ {
        self.steps
            .row(from)
            .map(|step| (step.item, step.score as u32))
    }

    /// The distinct shoppers of one step; 0 for a step that is not kept.
    pub(crate) fn shoppers(&self, from: u32, to: u32) -> u32 {
        self.steps
            .place(from, to)
            .map_or(0, |at| self.steps.scores[at] as u32)
    }

    /// The same model with the weights that [`learn()`] returned; unchanged if it returned none.
    pub(crate) fn with_weights(self, learned: Option<Vec<f32>>) -> Self {
        match learned {
            Some(weights) => Self {
                weights: weights.into(),
                ..self
            },
            None => self,
        }
    }
}
