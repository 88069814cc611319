//! The basis in which the exact index codes its vectors.
//!
//! A rotation changes no inner product, but much about how fast bounds on it close. Along the
//! principal axes most of a product lies in the first dimensions. Within a block of dimensions that
//! are mixed evenly no single one stands out, which is what codes of 8 bits need.

use aisle_math::dense;
use aisle_math::kernels::{dots, simd};
use rayon::prelude::*;
use std::f64::consts::PI;
use std::ops::Range;

/// A rotation of vectors, or none.
pub(crate) struct Rotation {
    depth: usize,
    /// One axis a row; empty if vectors are not rotated.
    axes: Vec<f32>,
    /// See [`Rotation::error`].
    error: f64,
}

/// How far the axes may be from orthonormal.
const MAX_SKEW: f64 = 1e-3;

impl Rotation {
    /// Learns the principal axes of some vectors, mixed evenly within each block of dimensions.
    /// Makes no rotation if the vectors have no axes. O(vectors · depth² + depth³).
    pub fn learn(sample: &[f32], depth: usize, blocks: &[Range<usize>]) -> Self {
        let none = Self {
            depth,
            axes: vec![],
            error: 0.0,
        };
        let Some((_, principal)) = dense::eigen(&dense::gram(sample, depth), depth) else {
            return none;
        };
        let columns = dense::multiply(&principal, &cosine_transform(depth, blocks), depth);
        let axes: Vec<f32> = (0..depth * depth)
            .map(|at| columns[at % depth * depth + at / depth])
            .collect();
        let skew = skew_of(&axes, depth);
        if skew.is_nan() || skew >= MAX_SKEW {
            return none;
        }
        // A sum of d products in f32 is off by at most d ε/2 times the product of the lengths, and
        // a rotated vector has d such sums.
        let rounding = (depth as f64).powf(1.5) * f64::from(f32::EPSILON) / 2.0;
        Self {
            depth,
            axes,
            error: skew + 2.01 * rounding,
        }
    }

    /// The most that |q·x − q′·x′| / (|q| |x|) can be, where q′ and x′ are rotated in f32.
    pub fn error(&self) -> f64 {
        self.error
    }

    /// Writes a rotated vector to `out`. O(depth²).
    pub fn rotate(&self, vector: &[f32], out: &mut Vec<f32>) {
        out.clear();
        if self.axes.is_empty() {
            out.extend_from_slice(vector);
        } else {
            out.resize(vector.len(), 0.0);
            dots(simd(), &self.axes, vector, out);
        }
    }

    /// Rotates row-major vectors, on this thread.
    pub fn rotate_all(&self, rows: Vec<f32>) -> Vec<f32> {
        if self.axes.is_empty() {
            rows
        } else {
            dense::multiply_transposed(&rows, &self.axes, self.depth)
        }
    }
}

/// The orthonormal discrete cosine transform of each block of dimensions, whose entries are no
/// larger than √(2 / block): `depth × depth`.
fn cosine_transform(depth: usize, blocks: &[Range<usize>]) -> Vec<f32> {
    let mut transform = vec![0f32; depth * depth];
    for block in blocks {
        let size = block.len() as f64;
        for row in block.clone() {
            for column in block.clone() {
                let frequency = (column - block.start) as f64;
                let at = (row - block.start) as f64 + 0.5;
                let norm = if column == block.start {
                    (1.0 / size).sqrt()
                } else {
                    (2.0 / size).sqrt()
                };
                transform[row * depth + column] =
                    (norm * (PI * frequency * at / size).cos()) as f32;
            }
        }
    }
    transform
}

/// How far the products of the axes are from those of orthonormal ones: |A Aᵀ − I|.
fn skew_of(axes: &[f32], depth: usize) -> f64 {
    let product = |a: &[f32], b: &[f32]| {
        a.iter()
            .zip(b)
            .map(|(&a, &b)| f64::from(a) * f64::from(b))
            .sum::<f64>()
    };
    let squares: Vec<f64> = axes
        .par_chunks(depth)
        .enumerate()
        .map(|(row, a)| {
            let square = |(other, b): (usize, &[f32])| {
                (product(a, b) - f64::from(u8::from(row == other))).powi(2)
            };
            axes.chunks(depth).enumerate().map(square).sum::<f64>()
        })
        .collect();
    squares.into_iter().sum::<f64>().sqrt()
}

#[cfg(test)]
mod tests {
    use super::*;
    use aisle_math::kernels::dot;
    use aisle_math::random::SplitMix;

    const DEPTH: usize = 24;
    const ROWS: usize = 500;

    /// Vectors with one heavy direction that is spread over all dimensions, their rotation, and the
    /// rotated vectors.
    fn rotated() -> (Vec<f32>, Rotation, Vec<f32>) {
        let mut random = SplitMix(3);
        let vectors: Vec<f32> = (0..ROWS)
            .flat_map(|_| {
                let heavy = 5.0 * random.normal();
                (0..DEPTH)
                    .map(|_| heavy + random.normal())
                    .collect::<Vec<f32>>()
            })
            .collect();
        let rotation = Rotation::learn(&vectors, DEPTH, &[0..6, 6..12, 12..24]);
        let rotated = rotation.rotate_all(vectors.clone());
        (vectors, rotation, rotated)
    }

    fn row_of(vectors: &[f32], row: usize) -> &[f32] {
        &vectors[row * DEPTH..][..DEPTH]
    }

    #[test]
    fn one_vector_is_rotated_as_many_are() {
        let (vectors, rotation, rotated) = rotated();
        let mut one = vec![];
        rotation.rotate(&vectors[..DEPTH], &mut one);
        assert!(one.iter().zip(&rotated).all(|(a, b)| (a - b).abs() < 1e-4));
    }

    #[test]
    fn products_stay_within_the_error() {
        let (vectors, rotation, rotated) = rotated();
        let first = row_of(&vectors, 0);
        for row in 0..ROWS {
            let other = row_of(&vectors, row);
            let lengths = (dot(first, first) * dot(other, other)).sqrt();
            let before = dot(first, other);
            let after = dot(row_of(&rotated, 0), row_of(&rotated, row));
            assert!(
                f64::from((before - after).abs()) <= (rotation.error() + 1e-5) * f64::from(lengths),
                "{before} {after}"
            );
        }
    }

    #[test]
    fn the_first_dimensions_weigh_most_and_none_of_them_stands_out() {
        let (_, _, rotated) = rotated();
        let energy = |range: Range<usize>| -> f32 {
            rotated
                .chunks(DEPTH)
                .flat_map(|row| &row[range.clone()])
                .map(|value| value * value)
                .sum()
        };
        assert!(energy(0..6) > 0.9 * energy(0..24));
        let largest = (0..6).map(|d| energy(d..d + 1)).fold(0f32, f32::max);
        assert!(largest < 0.5 * energy(0..6), "one dimension stands out");
    }

    #[test]
    fn vectors_without_axes_are_left_alone() {
        let rotation = Rotation::learn(&[f32::NAN; 8], 4, std::slice::from_ref(&(0..4)));
        let mut rotated = vec![];
        rotation.rotate(&[1.0, 2.0, 3.0, 4.0], &mut rotated);
        assert_eq!(rotated, [1.0, 2.0, 3.0, 4.0]);
        assert_eq!(rotation.error(), 0.0);
    }
}
