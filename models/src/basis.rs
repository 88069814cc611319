//! The basis in which the exact index looks at its vectors.
//!
//! A rotation changes no inner product, but much about how fast bounds on it close: along the principal axes most of a product lies in the
//! first dimensions, and within a block of dimensions that are mixed evenly no single one stands out, which is what codes of 8 bits want.

use crate::dense;
use crate::kernels::{Simd, dots};
use rayon::prelude::*;
use std::ops::Range;

/// A rotation of vectors, or none.
pub(crate) struct Basis {
    depth: usize,
    /// One axis a row; none for no rotation.
    axes: Vec<f32>,
    /// At most |q·x − q′·x′| / (|q| |x|), where q′ and x′ are turned in f32.
    error: f64,
}

impl Basis {
    /// Principal axes of some vectors, mixed evenly within each block of dimensions. No rotation if the vectors have no axes.
    pub fn of(sample: &[f32], depth: usize, blocks: &[Range<usize>]) -> Self {
        let none = Self { depth, axes: vec![], error: 0.0 };
        let Some((_, principal)) = dense::eigen(&dense::gram(sample, depth), depth) else { return none };
        let mut mix = vec![0f32; depth * depth];
        for block in blocks {
            let size = block.len() as f64;
            for (row, column) in block.clone().flat_map(|row| block.clone().map(move |column| (row, column))) {
                // The orthonormal discrete cosine transform: no entry is larger than √(2 / size).
                let (wave, at) = ((column - block.start) as f64, (row - block.start) as f64 + 0.5);
                let norm = if column == block.start { (1.0 / size).sqrt() } else { (2.0 / size).sqrt() };
                mix[row * depth + column] = (norm * (std::f64::consts::PI * wave * at / size).cos()) as f32;
            }
        }
        let columns = dense::multiply(&principal, &mix, depth);
        let axes: Vec<f32> = (0..depth * depth).map(|at| columns[at % depth * depth + at / depth]).collect();
        // How far the products of the axes are from those of orthonormal ones.
        let product = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(&a, &b)| f64::from(a) * f64::from(b)).sum::<f64>();
        let squares = axes.par_chunks(depth).enumerate().map(|(row, a)| {
            let off = |(other, b): (usize, &[f32])| (product(a, b) - f64::from(u8::from(row == other))).powi(2);
            axes.chunks(depth).enumerate().map(off).sum::<f64>()
        });
        let skew = squares.collect::<Vec<f64>>().into_iter().sum::<f64>().sqrt();
        // A sum of d products in f32 is off by at most d ε/2 times the product of the lengths; a turned vector has d such sums.
        let turning = (depth as f64).powf(1.5) * f64::from(f32::EPSILON) / 2.0;
        if skew.is_nan() || skew >= 1e-3 {
            return none;
        }
        Self { depth, axes, error: skew + 2.01 * turning }
    }

    /// See the field.
    pub fn error(&self) -> f64 {
        self.error
    }

    /// Turns one vector. O(depth²).
    pub fn turn(&self, simd: Simd, vector: &[f32], out: &mut Vec<f32>) {
        out.clear();
        if self.axes.is_empty() {
            out.extend_from_slice(vector);
        } else {
            out.resize(vector.len(), 0.0);
            dots(simd, &self.axes, vector, out);
        }
    }

    /// Turns row-major vectors, on this thread.
    pub fn turn_all(&self, rows: Vec<f32>) -> Vec<f32> {
        if self.axes.is_empty() { rows } else { dense::multiply_transposed(&rows, &self.axes, self.depth) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::{dot, simd};
    use aisle_data::SplitMix;

    #[test]
    fn products_stay_and_the_first_dimensions_weigh_most() {
        let (depth, rows) = (24, 500);
        let mut random = SplitMix(3);
        // One heavy direction, spread over all dimensions.
        let vectors: Vec<f32> = (0..rows)
            .flat_map(|_| {
                let heavy = 5.0 * random.normal();
                (0..depth).map(|_| heavy + random.normal()).collect::<Vec<f32>>()
            })
            .collect();
        let basis = Basis::of(&vectors, depth, &[0..6, 6..12, 12..24]);
        let turned = basis.turn_all(vectors.clone());
        let mut one = vec![];
        basis.turn(simd(), &vectors[..depth], &mut one);
        assert!(one.iter().zip(&turned).all(|(a, b)| (a - b).abs() < 1e-4));
        let lengths =
            |row: usize| (dot(&vectors[..depth], &vectors[..depth]) * dot(row_of(&vectors, row), row_of(&vectors, row))).sqrt();
        fn row_of(vectors: &[f32], row: usize) -> &[f32] {
            &vectors[row * 24..][..24]
        }
        for row in 0..rows {
            let (before, after) = (dot(row_of(&vectors, 0), row_of(&vectors, row)), dot(row_of(&turned, 0), row_of(&turned, row)));
            assert!(f64::from((before - after).abs()) <= (basis.error() + 1e-5) * f64::from(lengths(row)), "{before} {after}");
        }
        let energy = |range: Range<usize>| -> f32 { turned.chunks(depth).flat_map(|row| &row[range.clone()]).map(|v| v * v).sum() };
        assert!(energy(0..6) > 0.9 * energy(0..24));
        let largest = (0..6).map(|d| energy(d..d + 1)).fold(0f32, f32::max);
        assert!(largest < 0.5 * energy(0..6), "one dimension of the block stands out");
    }

    #[test]
    fn vectors_without_axes_are_left_alone() {
        let basis = Basis::of(&[f32::NAN; 8], 4, std::slice::from_ref(&(0..4)));
        let mut turned = vec![];
        basis.turn(simd(), &[1.0, 2.0, 3.0, 4.0], &mut turned);
        assert_eq!(turned, [1.0, 2.0, 3.0, 4.0]);
        assert_eq!(basis.error(), 0.0);
    }
}
