//! A tower: the network between the sum of embeddings and the vector.

use crate::algorithms::two_tower::hyperparameters::TwoTower;
use aisle_math::array::Array;
use aisle_math::kernels::{add_rows, dot, simd};
use std::ops::Range;

/// Added to squared lengths, so that they can be divided by.
pub(super) const LENGTH_EPSILON: f32 = 1e-12;

/// Which of the two towers.
#[derive(Clone, Copy)]
pub(super) enum Side {
    Item,
    User,
}

/// Where the dense parameters lie in a table of rows that are `factors` wide: first the matrix P
/// that a history is multiplied by, then the inward and the outward layer of the item tower, then
/// those of the user tower.
#[derive(Clone, Copy)]
pub(super) struct DenseLayout {
    depth: usize,
    hidden: usize,
}

impl DenseLayout {
    pub fn of(tower: &TwoTower) -> Self {
        Self {
            depth: tower.factors,
            hidden: tower.hidden,
        }
    }

    /// Returns the number of rows of the table.
    pub fn rows(self) -> usize {
        self.depth + 4 * self.hidden
    }

    /// Returns the rows of P.
    pub fn history_projection(self) -> Range<usize> {
        0..self.depth
    }

    /// Returns the rows of the layer from the sum of embeddings to the hidden neurons.
    pub fn inward(self, side: Side) -> Range<usize> {
        let first = match side {
            Side::Item => self.depth,
            Side::User => self.depth + 2 * self.hidden,
        };
        first..first + self.hidden
    }

    /// Returns the rows of the layer from the hidden neurons to the vector.
    pub fn outward(self, side: Side) -> Range<usize> {
        let first = self.inward(side).end;
        first..first + self.hidden
    }
}

/// A fitted tower: z + Wᵀ max(0, A z), then scaled to length 1 if vectors have that length.
#[derive(Default)]
pub(super) struct Tower {
    /// The layer A, `hidden × depth`, row-major; empty without a hidden layer.
    pub inward: Array<f32>,
    /// The layer W, of the same shape.
    pub outward: Array<f32>,
    /// Whether vectors are scaled to length 1.
    pub has_unit_vectors: bool,
}

impl Tower {
    /// Turns a sum of embeddings into a vector, in place.
    pub fn apply(&self, z: &mut [f32]) {
        if !self.inward.is_empty() {
            let active: Vec<f32> = self
                .inward
                .chunks(z.len())
                .map(|row| dot(row, z).max(0.0))
                .collect();
            let rows: Vec<u32> = (0..active.len() as u32).collect();
            add_rows(simd(), &self.outward, &rows, &active, z);
        }
        if self.has_unit_vectors {
            let scale = 1.0 / (dot(z, z) + LENGTH_EPSILON).sqrt();
            z.iter_mut().for_each(|value| *value *= scale);
        }
    }
}
