//! Products of dense matrices.

use super::registers::ClearRegisters;
use faer::linalg::matmul;
use faer::linalg::matmul::triangular::{self, BlockStructure};
use faer::{Accum, MatMut, MatRef, Par};
use rayon::prelude::*;

/// Rows that one thread works on at a time.
pub const BLOCK: usize = 4096;

/// Blocks whose Gram matrices are computed before they are added up, so that those of a long matrix
/// do not pile up in memory.
const BLOCKS_AT_ONCE: usize = 16;

/// Returns AᵀA of a `rows × width` matrix: both triangles, `width × width`. O(rows · width²).
pub fn gram(matrix: &[f32], width: usize) -> Vec<f32> {
    let mut total = vec![0f32; width * width];
    for blocks in matrix.chunks(BLOCKS_AT_ONCE * BLOCK * width) {
        let grams: Vec<Vec<f32>> = blocks
            .par_chunks(BLOCK * width)
            .map(|rows| lower_gram(rows, width))
            .collect();
        for gram in grams {
            total
                .iter_mut()
                .zip(gram)
                .for_each(|(sum, value)| *sum += value);
        }
    }
    for row in 0..width {
        for column in 0..row {
            total[column * width + row] = total[row * width + column];
        }
    }
    total
}

/// The lower triangle of AᵀA, on this thread.
fn lower_gram(rows: &[f32], width: usize) -> Vec<f32> {
    let _registers = ClearRegisters;
    let block = MatRef::from_row_major_slice(rows, rows.len() / width, width);
    let mut gram = vec![0f32; width * width];
    let (lower, whole) = (BlockStructure::TriangularLower, BlockStructure::Rectangular);
    triangular::matmul(
        MatMut::from_row_major_slice_mut(&mut gram, width, width),
        lower,
        Accum::Replace,
        block.transpose(),
        whole,
        block,
        whole,
        1.0,
        Par::Seq,
    );
    gram
}

/// Returns A · B for a `rows × inner` and an `inner × width` matrix. O(rows · inner · width).
pub fn multiply(left: &[f32], right: &[f32], inner: usize) -> Vec<f32> {
    let width = right.len() / inner;
    let mut product = vec![0f32; left.len() / inner * width];
    let right = MatRef::from_row_major_slice(right, inner, width);
    product
        .par_chunks_mut(BLOCK * width)
        .zip(left.par_chunks(BLOCK * inner))
        .for_each(|(product, rows)| {
            let _registers = ClearRegisters;
            let count = rows.len() / inner;
            matmul::matmul(
                MatMut::from_row_major_slice_mut(product, count, width),
                Accum::Replace,
                MatRef::from_row_major_slice(rows, count, inner),
                right,
                1.0,
                Par::Seq,
            );
        });
    product
}

/// Returns A · Bᵀ for matrices of the same width, computed on this thread.
pub fn multiply_transposed(left: &[f32], right: &[f32], width: usize) -> Vec<f32> {
    let _registers = ClearRegisters;
    let (rows, columns) = (left.len() / width, right.len() / width);
    let mut product = vec![0f32; rows * columns];
    let left = MatRef::from_row_major_slice(left, rows, width);
    let right = MatRef::from_row_major_slice(right, columns, width);
    matmul::matmul(
        MatMut::from_row_major_slice_mut(&mut product, rows, columns),
        Accum::Replace,
        left,
        right.transpose(),
        1.0,
        Par::Seq,
    );
    product
}
