//! How often pairs of items occur together, and the neighbours that follow from it.

use crate::algorithms::neighbours::rows::Neighbours;
use crate::algorithms::neighbours::sums::SparseSums;
use aisle_math::sparse::Csr;
use aisle_retrieval::top_k::TopK;
use rayon::prelude::*;

/// The co-occurrence counts of a pair of items (i, j), from which it is scored. A row is a user, an
/// order or a session.
#[derive(Clone, Copy, Debug)]
pub struct Pair {
    /// Number of rows that hold both items, n_ij.
    pub both: u32,
    /// Σ over those rows of value(i) · value(j).
    pub product: f32,
    /// Number of rows that hold i, n_i, and number of rows that hold j, n_j.
    pub each: (u32, u32),
    /// Number of all rows, N.
    pub all: u32,
}

impl Pair {
    /// Returns the log-likelihood ratio of the 2 × 2 table (Dunning, Computational Linguistics 19,
    /// 1993); 0 if the items occur together no more often than by chance.
    pub fn llr(&self) -> f32 {
        let both = f64::from(self.both);
        let (only_i, only_j) = (f64::from(self.each.0) - both, f64::from(self.each.1) - both);
        let neither = f64::from(self.all) - both - only_i - only_j;
        if both * neither <= only_i * only_j {
            return 0.0;
        }
        let entropy = |parts: &[f64]| {
            let total: f64 = parts.iter().sum();
            parts
                .iter()
                .filter(|&&part| part > 0.0)
                .map(|part| part * (part / total).ln())
                .sum::<f64>()
        };
        let rows = entropy(&[both + only_i, only_j + neither]);
        let columns = entropy(&[both + only_j, only_i + neither]);
        let cells = entropy(&[both, only_i, only_j, neither]);
        (2.0 * (cells - rows - columns)).max(0.0) as f32
    }

    /// Returns how many times more often the items occur together than by chance:
    /// n_ij · N / (n_i · n_j).
    pub fn lift(&self) -> f32 {
        let chance = f64::from(self.each.0) * f64::from(self.each.1);
        if chance > 0.0 {
            (f64::from(self.both) * f64::from(self.all) / chance) as f32
        } else {
            0.0
        }
    }

    /// Returns the Jaccard index: n_ij / (n_i + n_j − n_ij).
    pub fn jaccard(&self) -> f32 {
        self.both as f32 / (self.each.0 + self.each.1 - self.both).max(1) as f32
    }

    /// Returns the share of the rows with i that hold j too: p(j | i).
    pub fn confidence(&self) -> f32 {
        self.both as f32 / self.each.0.max(1) as f32
    }
}

/// Scores, for each item, every item that shares a row with it, and keeps the `k` best of those
/// whose score is positive. `score` gets i, j and their counts. The matrix is given by row and by
/// item. O(Σ over rows of (entries of the row)²), on all threads.
pub fn from_co_occurrence(
    by_row: &Csr,
    by_item: &Csr,
    k: usize,
    score: impl Fn(u32, u32, Pair) -> f32 + Sync,
) -> Neighbours {
    let rows = (0..by_item.rows() as u32)
        .into_par_iter()
        .map_init(SparseSums::default, |sums, item| {
            sums.co_occurrences(by_row, by_item, item);
            let rows_with_item = by_item.columns(item as usize).len() as u32;
            let mut top = TopK::new(k);
            for &other in sums.touched.iter().filter(|&&other| other != item) {
                let pair = Pair {
                    both: sums.counts[other as usize],
                    product: sums.values[other as usize],
                    each: (rows_with_item, by_item.columns(other as usize).len() as u32),
                    all: by_row.rows() as u32,
                };
                let score = score(item, other, pair);
                if score > 0.0 {
                    top.offer(other, score);
                }
            }
            top.into_sorted()
        })
        .collect();
    Neighbours::from_rows(rows)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_log_likelihood_ratio_is_dunnings() {
        // Values of Mahout's LogLikelihoodTest, a public test suite: k11, k12, k21, k22 → ratio.
        let published = [
            ((1u32, 0u32, 0u32, 1u32), 2.772_589),
            ((10, 0, 0, 10), 27.725_89),
            ((5, 1995, 0, 100_000), 39.330_52),
            ((1000, 1995, 1000, 100_000), 4730.737),
            ((1000, 1000, 1000, 100_000), 5734.343),
            ((1000, 1000, 1000, 99_000), 5714.932),
        ];
        for (cells, expected) in published {
            let (both, only_i, only_j, neither) = cells;
            let pair = Pair {
                both,
                product: 0.0,
                each: (both + only_i, both + only_j),
                all: both + only_i + only_j + neither,
            };
            assert!(
                (pair.llr() / expected - 1.0).abs() < 1e-6,
                "{cells:?}: {}",
                pair.llr()
            );
        }
    }

    /// A pair that occurs together as often as chance has it.
    fn independent() -> Pair {
        Pair {
            both: 1,
            product: 1.0,
            each: (10, 10),
            all: 100,
        }
    }

    #[test]
    fn a_pair_by_chance_has_no_likelihood_ratio() {
        assert_eq!(independent().llr(), 0.0);
    }

    #[test]
    fn a_pair_by_chance_has_lift_1() {
        assert!((independent().lift() - 1.0).abs() < 1e-6);
    }
}
