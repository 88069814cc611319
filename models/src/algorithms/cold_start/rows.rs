//! Item-to-item weights of an item, predicted from those of the items most similar in content.
//!
//! A predicted row is a · (mean of the rows of the similar items) + b · (the similar items
//! themselves, each with its similarity).

use crate::algorithms::neighbours::SparseSums;
use aisle_math::sparse::Csr;
use aisle_retrieval::top_k::{Scored, TopK};

/// Most weights of a predicted row.
const MOST_WEIGHTS: usize = 50;

/// The coefficients of the two parts of a predicted row, each 0 or more.
#[derive(Clone, Copy)]
pub(super) struct Coefficients {
    /// Coefficient a of the mean row, at most 1.
    mean: f32,
    /// Coefficient b of the similar items themselves.
    similarity: f32,
}

/// Leaves in `sums` the mean of the rows of the similar items, weighted by similarity.
fn mean_row(rows: &Csr, similar: &[Scored], sums: &mut SparseSums) {
    sums.reset(rows.rows());
    let total: f32 = similar
        .iter()
        .map(|similar| similar.score)
        .sum::<f32>()
        .max(f32::MIN_POSITIVE);
    for similar in similar {
        let (items, values) = rows.row(similar.item as usize);
        items
            .iter()
            .zip(values)
            .for_each(|(&item, &value)| sums.add(item, similar.score / total * value));
    }
}

impl Coefficients {
    /// Fits the coefficients by least squares to a sample of items whose rows are known; `similar`
    /// holds the similar items of each.
    pub fn fit(rows: &Csr, sample: &[u32], similar: &[Vec<Scored>]) -> Self {
        let mut sums = SparseSums::default();
        // Sums of products of m = mean row, s = similarity and t = true weight.
        let (mut mm, mut ss, mut ms, mut mt, mut st) = (0f64, 0f64, 0f64, 0f64, 0f64);
        for (&item, similar) in sample.iter().zip(similar) {
            mean_row(rows, similar, &mut sums);
            let mean = |other: u32| f64::from(sums.get(other).unwrap_or(0.0));
            for &other in sums.touched.iter().filter(|&&other| other != item) {
                mm += mean(other).powi(2);
            }
            let (others, truths) = rows.row(item as usize);
            for (&other, &truth) in others.iter().zip(truths) {
                mt += mean(other) * f64::from(truth);
            }
            for similar in similar {
                let similarity = f64::from(similar.score);
                ss += similarity * similarity;
                ms += similarity * mean(similar.item);
                let truth = others
                    .iter()
                    .position(|&other| other == similar.item)
                    .map_or(0.0, |place| f64::from(truths[place]));
                st += similarity * truth;
            }
        }
        let determinant = mm * ss - ms * ms;
        if determinant <= 1e-9 * mm * ss {
            let similarity = if ss > 0.0 {
                (st / ss).max(0.0) as f32
            } else {
                0.0
            };
            return Self {
                mean: 0.0,
                similarity,
            };
        }
        let mean = ((mt * ss - st * ms) / determinant).clamp(0.0, 1.0);
        Self {
            mean: mean as f32,
            similarity: ((st - mean * ms) / ss).max(0.0) as f32,
        }
    }

    /// Predicts the row of an item from its similar items: the weights of the largest size.
    pub fn predict(self, rows: &Csr, similar: &[Scored], sums: &mut SparseSums) -> Vec<Scored> {
        mean_row(rows, similar, sums);
        for item in &sums.touched {
            sums.values[*item as usize] *= self.mean;
        }
        for similar in similar {
            sums.add(similar.item, self.similarity * similar.score);
        }
        let mut top = TopK::new(MOST_WEIGHTS);
        for &item in &sums.touched {
            top.offer(item, sums.values[item as usize].abs());
        }
        top.into_sorted()
            .into_iter()
            .filter(|scored| scored.score > 0.0)
            .map(|scored| Scored {
                item: scored.item,
                score: sums.values[scored.item as usize],
            })
            .collect()
    }
}
