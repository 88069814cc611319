//! The members of a blend and their weights.

use crate::algorithms::personal::Personal;
use crate::algorithms::recommend::check_range;
use crate::error::{ModelError, Result};
use serde::{Deserialize, Serialize};

/// Hyperparameters of a blend.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Blend {
    /// The models to blend, each algorithm at most once.
    pub members: Vec<Personal>,
    /// One weight for each member, 0 or more; none to learn them, see [`Blend::resolved`].
    pub weights: Vec<f32>,
    /// How the part of the data is held out that weights are learned on, written as
    /// [`aisle_data::Split`] is: it should resemble what the model will be asked. `validation`
    /// suits a shop, `last-order` the next order of every shopper.
    pub split: String,
    /// Number of candidates that each member contributes, 10 to 10000; never fewer than twice the
    /// number of items in the answer.
    pub candidates: usize,
}

impl Blend {
    /// Checks the members, their weights and the number of candidates.
    pub(super) fn validate(&self) -> Result<()> {
        let refused = |name: &str, found: String, expected: &str| {
            Err(ModelError::Hyperparameter {
                name: name.into(),
                found,
                expected: expected.into(),
            })
        };
        let mut names: Vec<&str> = self.members.iter().map(Personal::algorithm).collect();
        let listed = names.join(", ");
        names.sort_unstable();
        names.dedup();
        // Learned weights may have left a single member.
        let fewest = if self.weights.is_empty() { 2 } else { 1 };
        if names.len() < fewest || names.len() < self.members.len() || names.contains(&"blend") {
            return refused(
                "members",
                listed,
                "two different algorithms or more, none of them blend",
            );
        }
        let in_range = |weight: &f32| weight.is_finite() && *weight >= 0.0;
        let usable = self.weights.is_empty()
            || (self.weights.len() == names.len()
                && self.weights.iter().all(in_range)
                && self.weights.iter().any(|&weight| weight != 0.0));
        if !usable {
            return refused(
                "weights",
                format!("{:?}", self.weights),
                "one number of 0 or more for each member, not all 0, or none at all",
            );
        }
        check_range("candidates", self.candidates, 10..=10_000)
    }
}
