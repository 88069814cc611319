//! Complements by vectors: what goes with rare items too, by what goes with items like them.
//!
//! The matrix of pair scores M of [`crate::Complements`], each side divided by a power of its sum so that best sellers do not fill the first
//! axes, is cut to its leading singular vectors by block power iteration (Halko, Martinsson and Tropp, SIAM Review 2011, algorithm 4.4):
//! D M D ≈ U S Vᵀ. An item has two vectors, U S^½ as one that is in the cart and V S^½ as one that is not, so "goes with" is not
//! "is like": what completes a cart is the nearest to the sum of its vectors.

use crate::dense;
use crate::index::{Eligible, Found};
use crate::kernels::{LANES, add_rows, dot_rows, product, simd};
use crate::neighbours::Neighbours;
use crate::vectors::{Vectors, random};
use crate::weights::{Array, Tensor, Weights};
use crate::{ModelError, Result};
use aisle_data::Csr;

/// Exponent of the sums.
const DAMPING: f32 = 0.35;
/// Power iterations.
const ITERATIONS: usize = 4;
/// Columns beside those kept.
const OVERSAMPLE: usize = 16;
/// Of the random start.
const SEED: u64 = 42;

/// Two vectors an item.
pub(crate) struct ComplementVectors {
    /// Of items in the cart: `items × depth`.
    sources: Array<f32>,
    /// Of items that may complete it.
    targets: Vectors,
}

impl ComplementVectors {
    /// Of `depth` dimensions, fewer where there are fewer items. O(iterations · pairs · depth + items · depth²).
    pub fn fit(pairs: &Neighbours, depth: usize) -> Result<Self> {
        let items = pairs.offsets.len().saturating_sub(1);
        let lost = || ModelError::Diverged { model: "cross-sell", iteration: 0, advice: "lower cross-sell.factors".into() };
        let triples: Vec<(u32, u32, f32)> =
            (0..items as u32).flat_map(|item| pairs.row(item).map(move |other| (item, other.item, other.score))).collect();
        let mut forward = Csr::from_triples(items, triples);
        let mut backward = forward.transposed(items);
        let damp = |matrix: &Csr| -> Vec<f32> {
            (0..items).map(|row| (1.0 + matrix.row(row).1.iter().sum::<f32>()).powf(-DAMPING)).collect()
        };
        let (left, right) = (damp(&forward), damp(&backward));
        let scale = |matrix: &mut Csr, rows: &[f32], columns: &[f32]| {
            for (row, factor) in rows.iter().enumerate() {
                for at in matrix.offsets[row]..matrix.offsets[row + 1] {
                    matrix.values[at] *= factor * columns[matrix.indices[at] as usize];
                }
            }
        };
        scale(&mut forward, &left, &right);
        scale(&mut backward, &right, &left);

        let width = (depth + OVERSAMPLE).next_multiple_of(LANES);
        let mut basis = random((items, width), 1.0, SEED);
        for _ in 0..ITERATIONS {
            basis = product(&backward, &product(&forward, &basis, width), width);
            if !dense::orthonormalise(&mut basis, width) {
                return Err(lost());
            }
        }
        let image = product(&forward, &basis, width);
        let (squares, rotation) = dense::eigen(&dense::gram(&image, width), width).ok_or_else(lost)?;
        let largest = squares.first().copied().unwrap_or(0.0);
        // U S^½ = M V S^-½, and V S^½.
        let turned = |matrix: &[f32], power: f32| {
            let mut kept = vec![0f32; width * depth];
            for (row, target) in rotation.chunks(width).zip(kept.chunks_mut(depth)) {
                for ((target, &value), &square) in target.iter_mut().zip(row).zip(&squares) {
                    *target = if square > 1e-8 * largest { value * square.powf(power / 2.0) } else { 0.0 };
                }
            }
            dense::multiply(matrix, &kept, width)
        };
        let (sources, targets) = (turned(&image, -0.5), turned(&basis, 0.5));
        if sources.iter().chain(&targets).any(|value| !value.is_finite()) {
            return Err(lost());
        }
        Ok(Self { sources: sources.into(), targets: Vectors::new(targets.into(), depth) })
    }

    pub fn load(items: usize, weights: &mut Weights) -> Result<Self> {
        let (sources, depth) = weights.matrix("complements.source_vectors", items, None)?;
        let (targets, _) = weights.matrix("complements.target_vectors", items, Some(depth))?;
        Ok(Self { sources, targets: Vectors::new(targets, depth) })
    }

    pub fn tensors(&self) -> Vec<Tensor<'_>> {
        let shape = [self.targets.len(), self.targets.depth()];
        vec![
            Tensor::f32("complements.source_vectors", &shape, &self.sources),
            Tensor::f32("complements.target_vectors", &shape, self.targets.values()),
        ]
    }

    /// The vector of a cart: the sum of its items' over the square root of their number.
    pub fn query(&self, cart: &[u32]) -> Vec<f32> {
        let mut query = vec![0f32; self.targets.depth()];
        let share = (cart.len().max(1) as f32).sqrt().recip();
        add_rows(simd(), &self.sources, cart, &vec![share; cart.len()], &mut query);
        query
    }

    /// What completes a cart best.
    pub fn complete(&self, query: &[f32], k: usize, eligible: Eligible, found: &mut Found) {
        self.targets.recommend(Some(query), k, eligible, found);
    }

    /// How well items complete a cart.
    pub fn scores(&self, query: &[f32], items: &[u32]) -> Vec<f32> {
        let mut scores = vec![0f32; items.len()];
        dot_rows(simd(), self.targets.values(), items, query, &mut scores);
        scores
    }
}
