//! Item-based k-nearest neighbours (ItemKNN): items are similar if the same shoppers chose them.
//!
//! The family of models after Sarwar et al., "Item-Based Collaborative Filtering Recommendation
//! Algorithms" (WWW 2001), and Deshpande and Karypis, "Item-Based Top-N Recommendation Algorithms"
//! (TOIS 2004).

use crate::algorithms::item_item::ItemItemModel;
use crate::algorithms::neighbours::{Neighbours, Pair, from_co_occurrence};
use crate::algorithms::recommend::{Fit, Progress, Training, check_range};
use crate::algorithms::scaling::Scaling;
use crate::error::Result;
use aisle_math::sparse::Csr;
use serde::{Deserialize, Serialize};

/// How the similarity of two items is measured.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Measure {
    /// Cosine of the confidence columns.
    #[default]
    Cosine,
    /// Inner product after Okapi BM25 weighting (k₁ 1.2, b 0.75), with users for documents and
    /// items for terms.
    Bm25,
    /// Cosine after TF-IDF weighting: √confidence × inverse document frequency.
    TfIdf,
    /// Number of users of both items over the number of users of either.
    Jaccard,
    /// Log-likelihood ratio x, brought to the range from 0 to 1 as 1 − 1 / (1 + x).
    Llr,
}

/// Hyperparameters of item-based k-nearest neighbours.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ItemKnn {
    /// How the similarity of two items is measured.
    pub measure: Measure,
    /// Number of neighbours kept for each item, 1 to 100000.
    pub neighbours: usize,
    /// Added to the denominator of cosine, TF-IDF and Jaccard, 0 or more: it lowers similarities
    /// that rest on few shared users.
    pub shrink: f32,
    /// Most items of a shopper that count, 2 or more; of a longer history as many are drawn evenly.
    /// Bounds the time that a single robot can cost.
    pub longest: usize,
    /// How summed event weights become confidence.
    pub scaling: Scaling,
}

impl Default for ItemKnn {
    fn default() -> Self {
        Self {
            measure: Measure::Cosine,
            neighbours: 100,
            shrink: 10.0,
            longest: 2000,
            scaling: Scaling::Log,
        }
    }
}

impl ItemKnn {
    /// Returns the matrix with at most `longest` items a user, and with the weights that `measure`
    /// compares as values: confidences, their BM25 or TF-IDF weights, or ones.
    fn weighted(&self, by_user: &Csr, by_item: &Csr) -> Csr {
        let mut matrix = by_user.capped(self.longest);
        let users = by_user.rows() as f32;
        let mean_length = (by_user.nnz() as f32 / users.max(1.0)).max(1.0);
        for user in 0..by_user.rows() {
            let range = matrix.offsets[user]..matrix.offsets[user + 1];
            let length = range.len() as f32;
            for at in range {
                let frequency = by_item.columns(matrix.indices[at] as usize).len() as f32;
                let confidence = self.scaling.of(matrix.values[at]);
                matrix.values[at] = match self.measure {
                    Measure::Cosine => confidence,
                    Measure::Jaccard | Measure::Llr => 1.0,
                    Measure::TfIdf => confidence.sqrt() * (users / (1.0 + frequency)).ln().max(0.0),
                    Measure::Bm25 => {
                        let idf = ((users - frequency + 0.5) / (frequency + 0.5)).ln_1p();
                        let (k1, b) = (1.2, 0.75);
                        idf * confidence * (k1 + 1.0)
                            / (confidence + k1 * (1.0 - b + b * length / mean_length))
                    }
                };
            }
        }
        matrix
    }

    /// Finds the neighbours of each item in a matrix of users (or orders, or sessions) × items,
    /// given by user and by item. O(Σ row lengths²).
    ///
    /// # Errors
    /// [`crate::ModelError::Hyperparameter`] if a hyperparameter is out of range.
    pub fn neighbours(&self, by_user: &Csr, by_item: &Csr) -> Result<Neighbours> {
        check_range("neighbours", self.neighbours, 1..=100_000)?;
        check_range("longest", self.longest, 2..=usize::MAX)?;
        check_range("shrink", self.shrink, 0.0..=f32::MAX)?;
        let rows = self.weighted(by_user, by_item);
        let columns = rows.transposed(by_item.rows());
        let squares = |item: usize| columns.row(item).1.iter().map(|value| value * value);
        let lengths: Vec<f32> = (0..columns.rows())
            .map(|item| squares(item).sum::<f32>().sqrt())
            .collect();
        Ok(from_co_occurrence(
            &rows,
            &columns,
            self.neighbours,
            |i, j, pair| self.similarity(pair, lengths[i as usize] * lengths[j as usize]),
        ))
    }

    /// Returns the similarity of a pair of items whose columns have this product of lengths.
    fn similarity(&self, pair: Pair, lengths: f32) -> f32 {
        match self.measure {
            Measure::Cosine | Measure::TfIdf => {
                pair.product / (lengths + self.shrink).max(f32::MIN_POSITIVE)
            }
            Measure::Bm25 => pair.product,
            Measure::Jaccard => {
                let either = (pair.each.0 + pair.each.1 - pair.both) as f32;
                pair.both as f32 / (either + self.shrink).max(f32::MIN_POSITIVE)
            }
            Measure::Llr => 1.0 - 1.0 / (1.0 + pair.llr()),
        }
    }
}

impl Fit for ItemKnn {
    type Model = ItemItemModel;

    fn fit(&self, training: &Training, progress: &dyn Progress) -> Result<ItemItemModel> {
        let data = training.require_interactions("item-knn")?;
        let neighbours = self.neighbours(&data.by_user, &data.by_item)?;
        progress.step("item-knn", 1, 1);
        Ok(ItemItemModel::knn(neighbours, self.scaling))
    }
}
