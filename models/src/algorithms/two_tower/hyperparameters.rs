//! The hyperparameters of two towers, and what a fit with them costs.

use crate::algorithms::recommend::check_range;
use crate::algorithms::scaling::Scaling;
use crate::error::{ModelError, Result};
use serde::{Deserialize, Serialize};

/// The loss that a fit minimises.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Loss {
    /// Sampled softmax of cosines.
    #[default]
    Softmax,
    /// Cosine contrastive loss.
    CosineContrastive,
    /// Bayesian personalised ranking of inner products.
    Bpr,
}

/// Hyperparameters of two towers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TwoTower {
    /// Dimension of the vectors, 1 to 1024.
    pub factors: usize,
    /// The loss that the fit minimises.
    pub loss: Loss,
    /// Number of passes over the interactions, 0 to 10000; 0 trains until NDCG of a held-out part
    /// no longer rises, see [`TwoTower::resolved`].
    pub epochs: usize,
    /// Number of epochs without a higher NDCG after which the search for the number of epochs ends,
    /// 1 to 100.
    pub patience: usize,
    /// How the part of the data is held out that the number of epochs is chosen on, written as
    /// [`aisle_data::Split`] is.
    pub split: String,
    /// Number of interactions in a batch, 2 to 65536.
    pub batch: usize,
    /// Number of items drawn at random as negatives of a whole batch, beside the items of the batch
    /// itself, 0 to 65536.
    pub negatives: usize,
    /// Number of negatives that count for each interaction, those with the highest scores; 0 counts
    /// all.
    pub hard: usize,
    /// Strength of the correction for popularity in the softmax loss, 0 to 1.
    pub popularity: f32,
    /// Temperature that divides the cosines in the softmax loss, 0.03 to 1.
    pub temperature: f32,
    /// Cosine below which a negative does not count in the cosine contrastive loss, −1 to 1.
    pub margin: f32,
    /// Weight of the negatives in the cosine contrastive loss, 0 or more.
    pub negative_weight: f32,
    /// Learning rate of Adagrad, 10⁻⁶ to 10.
    pub learning_rate: f32,
    /// Strength of the L2 regularization, 0 or more, added to the gradient of the rows that a batch
    /// reads.
    pub regularization: f32,
    /// Most items of a history that a batch reads, drawn anew each time; 0 describes users by their
    /// own vector and their features alone.
    pub history: usize,
    /// Whether each user has a vector of their own. Shoppers who are not in the data never have
    /// one.
    pub users: bool,
    /// Number of neurons of the hidden layer of each tower, 0 to 4096; 0 means no hidden layer. A
    /// bypass leads around the layer.
    pub hidden: usize,
    /// Features of items: category, brand, price, or columns of the items file.
    pub item_features: Vec<String>,
    /// Features of users: columns of the users file.
    pub user_features: Vec<String>,
    /// Probability, 0 to 0.9, that a batch leaves out the own vector of an item that has features,
    /// so that its features learn to describe it.
    pub dropout: f32,
    /// Number of items with a vector from which on inverted lists are tried, where vectors have
    /// length 1. Fewer items are searched in less time than the network takes for the answer.
    pub lists_from: usize,
    /// How summed event weights become confidence.
    pub scaling: Scaling,
    /// Seed of the random start and of all draws.
    pub seed: u64,
}

/// Temperature, popularity, history and learning rate come from a search on validation parts of
/// gowalla and an Amazon grocery log, which disagree: the first is best so (NDCG@20 .134, against
/// .118 at temperature 0.15 and popularity 0.8), the second at temperature 0.25 and popularity 0.5
/// (.027 against .022). Tune them.
impl Default for TwoTower {
    fn default() -> Self {
        Self {
            factors: 64,
            loss: Loss::Softmax,
            epochs: 0,
            patience: 3,
            split: "validation".into(),
            batch: 512,
            negatives: 512,
            hard: 0,
            popularity: 1.0,
            temperature: 0.1,
            margin: 0.5,
            negative_weight: 100.0,
            learning_rate: 0.05,
            regularization: 0.0,
            history: 50,
            users: true,
            hidden: 0,
            item_features: Vec::new(),
            user_features: Vec::new(),
            dropout: 0.1,
            lists_from: 500_000,
            scaling: Scaling::Log,
            seed: 42,
        }
    }
}

impl TwoTower {
    /// Checks the ranges of the hyperparameters.
    pub(super) fn validate(&self) -> Result<()> {
        check_range("factors", self.factors, 1..=1024)?;
        check_range("epochs", self.epochs, 0..=10_000)?;
        check_range("patience", self.patience, 1..=100)?;
        check_range("batch", self.batch, 2..=65_536)?;
        check_range("negatives", self.negatives, 0..=65_536)?;
        check_range("popularity", self.popularity, 0.0..=1.0)?;
        check_range("temperature", self.temperature, 0.03..=1.0)?;
        check_range("margin", self.margin, -1.0..=1.0)?;
        check_range("negative_weight", self.negative_weight, 0.0..=f32::MAX)?;
        check_range("learning_rate", self.learning_rate, 1e-6..=10.0)?;
        check_range("regularization", self.regularization, 0.0..=f32::MAX)?;
        check_range("history", self.history, 0..=100_000)?;
        check_range("hidden", self.hidden, 0..=4096)?;
        check_range("dropout", self.dropout, 0.0..=0.9)?;
        if self.history == 0 && !self.users && self.user_features.is_empty() {
            return Err(ModelError::Hyperparameter {
                name: "history".into(),
                found: "0 with users = false and no user_features".into(),
                expected: "one of the three: nothing else tells users apart".into(),
            });
        }
        Ok(())
    }

    /// Returns whether vectors have length 1, so that inner products are cosines.
    pub(super) fn has_unit_vectors(&self) -> bool {
        self.loss != Loss::Bpr
    }

    /// Returns the bytes that a fit takes beside the data: both tables with their sums of squares,
    /// the arrays of the model, and one batch.
    pub fn memory(&self, users: usize, items: usize, interactions: usize) -> u64 {
        let user_rows = if self.users { users } else { 0 };
        let batch = self.batch.min(interactions);
        let scores = 8 * batch * (batch + self.negatives).min(items);
        let rows = 2 * (user_rows + items) + user_rows + 3 * items;
        (4 * self.factors * rows + 4 * scores) as u64
    }

    /// Returns the multiply-adds of one epoch.
    pub fn work(&self, interactions: usize) -> f64 {
        // Each score is computed once forward, and differentiated to both of its sides; the passes
        // over the scores cost as much as some thirty factors.
        interactions as f64
            * (self.batch + self.negatives) as f64
            * (3.0 * self.factors as f64 + 90.0)
    }
}
