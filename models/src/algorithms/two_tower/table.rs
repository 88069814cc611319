//! Rows of numbers that are learned by gradient descent, and sums of them.
//!
//! Tables stay in main memory whatever device computes the loss: a batch reads a few thousand rows
//! of perhaps millions, so only those travel, and the memory of a GPU bounds the batch, not the
//! catalogue.

use crate::algorithms::random::normal_matrix;
use aisle_math::sparse::{Csr, product};
use rayon::prelude::*;

/// Added to the root of the squared gradients, so that it can be divided by.
const EPSILON: f32 = 1e-10;

/// A table of embeddings, with what Adagrad keeps of its gradients.
pub(super) struct EmbeddingTable {
    /// Length of a row.
    pub width: usize,
    /// The embeddings, row-major.
    pub values: Vec<f32>,
    /// For each value the sum of its squared gradients so far.
    pub squared_gradients: Vec<f32>,
}

/// The step size of Adagrad, and the strength of its L2 regularization.
#[derive(Clone, Copy)]
pub(super) struct Adagrad {
    pub learning_rate: f32,
    pub regularization: f32,
}

impl EmbeddingTable {
    /// Draws a table of `(rows, width)` normal numbers, see [`normal_matrix`].
    pub fn random((rows, width): (usize, usize), deviation: f32, seed: u64) -> Self {
        let values = normal_matrix((rows, width), deviation, seed);
        Self {
            width,
            squared_gradients: vec![0.0; values.len()],
            values,
        }
    }

    /// Returns one row, to change it.
    pub fn row_mut(&mut self, row: usize) -> &mut [f32] {
        &mut self.values[row * self.width..][..self.width]
    }

    /// Returns, for each row of `bags`, the weighted sum of the rows of the table that it names.
    pub fn sums(&self, bags: &Csr) -> Vec<f32> {
        product(bags, &self.values, self.width)
    }

    /// Takes one step of Adagrad (Duchi, Hazan and Singer, JMLR 2011). `gradient` is that of the
    /// [`EmbeddingTable::sums`] of `bags`; the rows that no bag names stay the same. Gradients of a
    /// row are added up in the order of the bags, at any number of threads.
    pub fn descend(&mut self, bags: &Csr, gradient: &[f32], adagrad: Adagrad) {
        let mut entries: Vec<(u32, u32, f32)> = Vec::with_capacity(bags.nnz());
        for bag in 0..bags.rows() {
            let (rows, weights) = bags.row(bag);
            let weighted = rows.iter().zip(weights);
            entries.extend(weighted.map(|(&row, &weight)| (row, bag as u32, weight)));
        }
        entries.par_sort_unstable_by_key(|&(row, bag, _)| (row, bag));
        let mut touched = Vec::new();
        let mut transposed = Csr {
            offsets: vec![0],
            ..Csr::default()
        };
        for group in entries.chunk_by(|a, b| a.0 == b.0) {
            touched.push(group[0].0);
            transposed.indices.extend(group.iter().map(|entry| entry.1));
            transposed.values.extend(group.iter().map(|entry| entry.2));
            transposed.offsets.push(transposed.indices.len());
        }
        let gradients = product(&transposed, gradient, self.width);
        for (&row, gradient) in touched.iter().zip(gradients.chunks(self.width)) {
            let range = row as usize * self.width..(row as usize + 1) * self.width;
            adagrad.step(
                &mut self.values[range.clone()],
                &mut self.squared_gradients[range],
                gradient,
            );
        }
    }

    /// Takes one step of Adagrad with a gradient of every row.
    pub fn descend_all(&mut self, gradient: &[f32], adagrad: Adagrad) {
        adagrad.step(&mut self.values, &mut self.squared_gradients, gradient);
    }
}

impl Adagrad {
    fn step(self, values: &mut [f32], squared_gradients: &mut [f32], gradient: &[f32]) {
        for ((value, square), gradient) in values.iter_mut().zip(squared_gradients).zip(gradient) {
            let gradient = gradient + self.regularization * *value;
            *square += gradient * gradient;
            *value -= self.learning_rate * gradient / (square.sqrt() + EPSILON);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two bags: rows 0 and 2, and row 2 twice as strong.
    fn bags() -> Csr {
        Csr {
            offsets: vec![0, 2, 3],
            indices: vec![0, 2, 2],
            values: vec![1.0, 1.0, 2.0],
        }
    }

    const ADAGRAD: Adagrad = Adagrad {
        learning_rate: 0.1,
        regularization: 0.0,
    };

    fn table() -> EmbeddingTable {
        EmbeddingTable::random((4, 2), 1.0, 7)
    }

    #[test]
    fn a_sum_adds_up_the_rows_of_its_bag() {
        let table = table();
        assert_eq!(table.sums(&bags())[0], table.values[0] + table.values[4]);
    }

    #[test]
    fn a_step_leaves_rows_that_no_bag_names() {
        let mut table = table();
        let before = table.values.clone();
        table.descend(&bags(), &[1.0, -1.0, 0.5, 0.0], ADAGRAD);
        assert_eq!(table.values[2..4], before[2..4]);
        assert_eq!(table.values[6..8], before[6..8]);
    }

    #[test]
    fn the_first_step_is_as_long_as_the_learning_rate() {
        let mut table = table();
        let before = table.values.clone();
        table.descend(&bags(), &[1.0, -1.0, 0.5, 0.0], ADAGRAD);
        // Whatever the gradient: row 2 has 1 + 2 × 0.5 and −1.
        for (at, sign) in [(0, 1.0), (1, -1.0), (4, 1.0), (5, -1.0)] {
            assert!(
                (before[at] - table.values[at] - 0.1 * sign).abs() < 1e-6,
                "{at}"
            );
        }
        assert_eq!(table.squared_gradients[4..6], [4.0, 1.0]);
    }
}
