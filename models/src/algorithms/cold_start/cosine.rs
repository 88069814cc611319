//! How similar items are in content.

use crate::algorithms::cold_start::features::ContentFeatures;
use crate::algorithms::neighbours::SparseSums;
use aisle_math::sparse::Csr;
use aisle_retrieval::top_k::{Scored, TopK};

/// A feature that more than one in this many known items have finds no similar items: it says too
/// little for the time that it costs.
const COMMON: usize = 8;
/// A feature of at most this many known items is never too common.
const NEVER_COMMON: usize = 20;

/// The cosine of items in content, each of their features weighted ln(1 + N / n), with n of N known
/// items having it.
pub struct ContentCosine {
    features: ContentFeatures,
    /// The known items that have each feature.
    items_by_feature: Csr,
    /// Weight of each feature.
    feature_weights: Vec<f32>,
    /// Length of the weighted features of each item.
    lengths: Vec<f32>,
    /// Most known items of a feature that finds similar items.
    most_items: usize,
}

impl ContentCosine {
    /// Prepares to find the items of `known`, ascending: those with events.
    pub fn new(features: ContentFeatures, known: &[u32]) -> Self {
        let mut triples = Vec::new();
        for &item in known {
            let features = features.item(item).iter();
            triples.extend(features.map(|&feature| (feature, item, 1.0)));
        }
        let items_by_feature = Csr::from_triples(features.len(), triples);
        let frequency = |feature: usize| items_by_feature.columns(feature).len().max(1) as f32;
        let feature_weights: Vec<f32> = (0..features.len())
            .map(|feature| (known.len() as f32 / frequency(feature)).ln_1p())
            .collect();
        let square = |item: u32| {
            features
                .item(item)
                .iter()
                .map(|&feature| feature_weights[feature as usize].powi(2))
                .sum::<f32>()
        };
        let lengths = (0..features.items() as u32)
            .map(|item| square(item).sqrt())
            .collect();
        Self {
            items_by_feature,
            feature_weights,
            lengths,
            most_items: (known.len() / COMMON).max(NEVER_COMMON),
            features,
        }
    }

    /// Returns the features that the cosine compares.
    pub(super) fn features(&self) -> &ContentFeatures {
        &self.features
    }

    /// Returns the `k` known items most similar to an item, best first, with scores from 0 to 1;
    /// the item itself is left out. O(items of its features).
    pub(super) fn most_similar(&self, item: u32, k: usize, sums: &mut SparseSums) -> Vec<Scored> {
        sums.reset(self.lengths.len());
        for &feature in self.features.item(item) {
            let others = self.items_by_feature.columns(feature as usize);
            if others.len() <= self.most_items {
                let square = self.feature_weights[feature as usize].powi(2);
                others.iter().for_each(|&other| sums.add(other, square));
            }
        }
        let mut top = TopK::new(k);
        for &other in sums.touched.iter().filter(|&&other| other != item) {
            top.offer(
                other,
                sums.values[other as usize]
                    / (self.lengths[other as usize] * self.lengths[item as usize]),
            );
        }
        top.into_sorted()
    }

    /// Returns the similarity of each of `items` to a history: the inner product of its features,
    /// of length 1, with the sum of those of the history's items, each times its value. `history`
    /// holds item rows and values.
    pub fn profile(&self, history: (&[u32], &[f32]), items: &[u32]) -> Vec<f32> {
        let mut profile = vec![0f32; self.features.len()];
        for (&item, &value) in history.0.iter().zip(history.1) {
            for &feature in self.features.item(item) {
                profile[feature as usize] +=
                    value * self.feature_weights[feature as usize] / self.lengths[item as usize];
            }
        }
        let similarity = |&item: &u32| {
            let products =
                self.features.item(item).iter().map(|&feature| {
                    profile[feature as usize] * self.feature_weights[feature as usize]
                });
            products.sum::<f32>() / self.lengths[item as usize].max(f32::MIN_POSITIVE)
        };
        items.iter().map(similarity).collect()
    }
}
