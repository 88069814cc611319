//! The cold items of a catalogue, and what the content of the others predicts for them.

use crate::algorithms::cold_start::cosine::ContentCosine;
use crate::algorithms::cold_start::features::ContentFeatures;
use crate::algorithms::cold_start::hyperparameters::Content;
use crate::algorithms::cold_start::ridge::Ridge;
use crate::algorithms::cold_start::rows::Coefficients;
use crate::algorithms::neighbours::{Neighbours, SparseSums, sort_descending};
use crate::algorithms::recommend::ColdItems;
use aisle_data::Catalog;
use aisle_math::sparse::{Csr, product};
use aisle_retrieval::top_k::Scored;
use rayon::prelude::*;
use std::sync::OnceLock;

/// Columns of a table that are regressed at once.
const COLUMNS_AT_ONCE: usize = 64;
/// Most items to whose known weights the coefficients of predicted rows are fitted.
const MOST_SAMPLED_ITEMS: usize = 2000;

/// Items without events of whose content something is known, and what the content of items with
/// events teaches about them.
pub struct ColdStart<'a> {
    /// The cold items, ascending.
    items: Vec<u32>,
    /// The items with events, ascending.
    known: Vec<u32>,
    /// Square root of the weight of each known item in the regression.
    root_weights: Vec<f32>,
    cosine: ContentCosine,
    content: &'a Content,
    /// The known items most similar to each cold item, found when they are first needed.
    similar: OnceLock<Vec<Vec<Scored>>>,
}

impl<'a> ColdStart<'a> {
    /// Finds the cold items of a catalogue. `users` returns the number of shoppers of an item, and
    /// `fresh` whether an item without shoppers counts as new. `None` if `content` lets cold items
    /// have no share, or if no new item has a feature in common with others.
    /// O(text of the catalogue).
    pub(crate) fn of(
        content: &'a Content,
        catalog: &Catalog,
        users: &dyn Fn(u32) -> usize,
        fresh: &dyn Fn(u32) -> bool,
    ) -> Option<Self> {
        let rows = catalog.len() as u32;
        let known: Vec<u32> = (0..rows).filter(|&item| users(item) > 0).collect();
        if content.share == 0.0 || known.is_empty() || known.len() == rows as usize {
            return None;
        }
        let features = ContentFeatures::of(catalog, &content.attributes, |item| users(item) > 0);
        let is_cold =
            |&item: &u32| users(item) == 0 && fresh(item) && !features.item(item).is_empty();
        let items: Vec<u32> = (0..rows).filter(is_cold).collect();
        if items.is_empty() {
            return None;
        }
        let root_weight =
            |&item: &u32| (users(item) as f32 / (users(item) as f32 + content.known)).sqrt();
        let root_weights = known.iter().map(root_weight).collect();
        let cosine = ContentCosine::new(features, &known);
        Some(Self {
            items,
            known,
            root_weights,
            cosine,
            content,
            similar: OnceLock::new(),
        })
    }

    /// Returns the items with events, ascending.
    pub(super) fn known(&self) -> &[u32] {
        &self.known
    }

    /// Returns the largest share of the answers that the cold items may take.
    pub(super) fn share(&self) -> f32 {
        self.content.share
    }

    /// Returns the known items most similar to each of `items`.
    fn most_similar(&self, items: &[u32]) -> Vec<Vec<Scored>> {
        items
            .par_iter()
            .map_init(SparseSums::default, |sums, &item| {
                self.cosine
                    .most_similar(item, self.content.neighbours, sums)
            })
            .collect()
    }

    /// Returns the features of some items, and a last feature that every item has, the intercept.
    /// The row of the n-th item is multiplied by `scale(n)`.
    fn design(&self, items: &[u32], scale: impl Fn(usize) -> f32) -> Csr {
        let features = self.cosine.features();
        let mut csr = Csr {
            offsets: vec![0],
            ..Csr::default()
        };
        for (number, &item) in items.iter().enumerate() {
            csr.indices.extend_from_slice(features.item(item));
            csr.indices.push(features.len() as u32);
            csr.values.resize(csr.indices.len(), scale(number));
            csr.offsets.push(csr.indices.len());
        }
        csr
    }

    /// Returns `width` columns of a table of `depth`, from column `first` on, for the known items,
    /// each row times its root weight.
    fn weighted_targets(
        &self,
        values: &[f32],
        depth: usize,
        (first, width): (usize, usize),
    ) -> Vec<f32> {
        let mut targets = vec![0f32; self.known.len() * width];
        for ((target, &item), weight) in targets
            .chunks_mut(width)
            .zip(&self.known)
            .zip(&self.root_weights)
        {
            let row = &values[item as usize * depth + first..][..width];
            target
                .iter_mut()
                .zip(row)
                .for_each(|(target, value)| *target = weight * value);
        }
        targets
    }
}

impl ColdItems for ColdStart<'_> {
    fn items(&self) -> &[u32] {
        &self.items
    }

    /// Regresses the table on features. O(steps of the solver · features of all items · depth).
    fn vectors(&self, values: &[f32], depth: usize) -> Vec<f32> {
        let by_item = self.design(&self.known, |number| self.root_weights[number]);
        let by_feature = by_item.transposed(self.cosine.features().len() + 1);
        let cold_design = self.design(&self.items, |_| 1.0);
        let ridge = Ridge {
            by_row: &by_item,
            by_column: &by_feature,
            regularization: self.content.regularization,
        };
        let mut vectors = vec![0f32; self.items.len() * depth];
        for first in (0..depth).step_by(COLUMNS_AT_ONCE) {
            let width = COLUMNS_AT_ONCE.min(depth - first);
            let targets = self.weighted_targets(values, depth, (first, width));
            let solution = ridge.solve(&targets, width);
            let predicted = product(&cold_design, &solution, width);
            for (row, predicted) in vectors.chunks_mut(depth).zip(predicted.chunks(width)) {
                row[first..first + width].copy_from_slice(predicted);
            }
        }
        vectors
    }

    /// Averages the weights of the items most similar in content, those from each item and those
    /// into it.
    fn rows(&self, neighbours: &Neighbours) -> Neighbours {
        let items = neighbours.len();
        let outward = Csr {
            offsets: neighbours.offsets.iter().map(|&at| at as usize).collect(),
            indices: neighbours.items.to_vec(),
            values: neighbours.scores.to_vec(),
        };
        let inward = outward.transposed(items);
        let similar = self.similar.get_or_init(|| self.most_similar(&self.items));
        let step = self.known.len().div_ceil(MOST_SAMPLED_ITEMS).max(1);
        let sample: Vec<u32> = self.known.iter().copied().step_by(step).collect();
        let similar_of_sample = self.most_similar(&sample);
        let predict = |rows: &Csr| -> Vec<Vec<Scored>> {
            let coefficients = Coefficients::fit(rows, &sample, &similar_of_sample);
            similar
                .par_iter()
                .map_init(SparseSums::default, |sums, similar| {
                    coefficients.predict(rows, similar, sums)
                })
                .collect()
        };
        let (weights_into, weights_from) = (predict(&inward), predict(&outward));
        let mut rows: Vec<Vec<Scored>> = (0..items as u32)
            .map(|item| neighbours.row(item).collect())
            .collect();
        for (&item, weights) in self.items.iter().zip(weights_from) {
            rows[item as usize] = weights;
        }
        for (&item, weights) in self.items.iter().zip(weights_into) {
            for source in weights {
                rows[source.item as usize].push(Scored {
                    item,
                    score: source.score,
                });
            }
        }
        rows.par_iter_mut().for_each(|row| sort_descending(row));
        Neighbours::from_rows(rows)
    }
}
