//! The hyperparameters of predictions from content.

use crate::algorithms::recommend::check_range;
use crate::error::Result;
use serde::{Deserialize, Serialize};

/// Hyperparameters of the predictions for items without events.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Content {
    /// Largest share of the answers that cold items may take, 0 to 1: their scores are scaled down
    /// until it is so for a sample of shoppers. At 0 items without events are never recommended by
    /// taste.
    pub share: f32,
    /// Strength λ of the L2 regularization of the regression, 0.001 or more, in units of items.
    pub regularization: f32,
    /// Number of shoppers of an item at which the item has half the full weight in the regression,
    /// 0 or more.
    pub known: f32,
    /// Number of items most similar in content whose item-to-item weights are averaged, 1 to 1000.
    pub neighbours: usize,
    /// Days after its first event during which an item that `clean.min_users_per_item` leaves out
    /// still counts as new, 0 or more.
    pub days: f32,
    /// Further columns of the items file that describe the items.
    pub attributes: Vec<String>,
}

impl Default for Content {
    fn default() -> Self {
        Self {
            share: 0.05,
            regularization: 3.0,
            known: 50.0,
            neighbours: 5,
            days: 28.0,
            attributes: Vec::new(),
        }
    }
}

impl Content {
    /// Checks the ranges.
    ///
    /// # Errors
    /// [`crate::ModelError::Hyperparameter`] for the first one out of its range.
    pub fn validate(&self) -> Result<()> {
        check_range("share", self.share, 0.0..=1.0)?;
        check_range("days", self.days, 0.0..=f32::MAX)?;
        check_range("regularization", self.regularization, 1e-3..=f32::MAX)?;
        check_range("known", self.known, 0.0..=f32::MAX)?;
        check_range("neighbours", self.neighbours, 1..=1000)
    }
}
