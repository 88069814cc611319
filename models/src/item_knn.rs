//! Item k-nearest-neighbours: items are alike when the same shoppers chose them.
//!
//! The family after Sarwar et al., "Item-Based Collaborative Filtering Recommendation Algorithms" (WWW 2001), and
//! Deshpande and Karypis, "Item-Based Top-N Recommendation Algorithms" (TOIS 2004).

use crate::als::Scaling;
use crate::item_item::ItemItemModel;
use crate::neighbours::{Neighbours, Pair, from_co_occurrence};
use crate::recommend::{Fit, Training, Watch, hyperparameter};
use crate::{ModelError, Result};
use aisle_data::Csr;
use serde::{Deserialize, Serialize};

/// When two items are alike.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Measure {
    /// Cosine of the confidence columns.
    #[default]
    Cosine,
    /// Inner product after Okapi BM25 weighting (k₁ 1.2, b 0.75): users are documents, items terms.
    Bm25,
    /// Cosine after √confidence × inverse document frequency.
    TfIdf,
    /// Shared users over all users of the two.
    Jaccard,
    /// Log-likelihood ratio x as 1 − 1 / (1 + x).
    Llr,
}

/// Hyperparameters.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ItemKnn {
    /// The similarity.
    pub measure: Measure,
    /// Neighbours kept an item, 1 to 100000.
    pub neighbours: usize,
    /// Added to the denominator of cosine and Jaccard, so that a single shared user proves little; 0 or more.
    pub shrink: f32,
    /// Items of a shopper that count, 2 or more: of a longer history as many, drawn evenly. Bounds what one robot can cost.
    pub longest: usize,
    /// Confidence from summed event weights.
    pub scaling: Scaling,
}

impl Default for ItemKnn {
    fn default() -> Self {
        Self { measure: Measure::Cosine, neighbours: 100, shrink: 10.0, longest: 2000, scaling: Scaling::Log }
    }
}

impl ItemKnn {
    /// The matrix with confidence, or its BM25 or TF-IDF weights, as values.
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
                        idf * confidence * (k1 + 1.0) / (confidence + k1 * (1.0 - b + b * length / mean_length))
                    }
                };
            }
        }
        matrix
    }

    /// Finds each item's neighbours in a users × items (or orders × items) matrix. O(Σ row lengths²).
    pub fn neighbours(&self, by_user: &Csr, by_item: &Csr) -> Result<Neighbours> {
        hyperparameter("neighbours", self.neighbours, 1..=100_000)?;
        hyperparameter("longest", self.longest, 2..=usize::MAX)?;
        hyperparameter("shrink", self.shrink, 0.0..=f32::MAX)?;
        let rows = self.weighted(by_user, by_item);
        let columns = rows.transposed(by_item.rows());
        let lengths: Vec<f32> =
            (0..columns.rows()).map(|item| columns.row(item).1.iter().map(|v| v * v).sum::<f32>().sqrt()).collect();
        Ok(from_co_occurrence(&rows, &columns, self.neighbours, |i, j, pair: Pair| match self.measure {
            Measure::Cosine | Measure::TfIdf => {
                pair.product / (lengths[i as usize] * lengths[j as usize] + self.shrink).max(f32::MIN_POSITIVE)
            }
            Measure::Bm25 => pair.product,
            Measure::Jaccard => {
                pair.both as f32 / ((pair.each.0 + pair.each.1 - pair.both) as f32 + self.shrink).max(f32::MIN_POSITIVE)
            }
            Measure::Llr => 1.0 - 1.0 / (1.0 + pair.llr()),
        }))
    }
}

impl Fit for ItemKnn {
    type Model = ItemItemModel;

    fn fit(&self, training: &Training, watch: &dyn Watch) -> Result<ItemItemModel> {
        let data = training.interactions;
        if data.nnz() == 0 {
            return Err(ModelError::NothingToLearn { model: "item-knn", why: "no user has a positive interaction".into() });
        }
        let neighbours = self.neighbours(&data.by_user, &data.by_item)?;
        watch.step("item-knn", 1, 1);
        Ok(ItemItemModel::knn(neighbours, self.scaling))
    }
}
