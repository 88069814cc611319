//! Dense linear algebra of the fits, on faer. Everything here gives the same bits at any number of threads: rows are cut
//! into blocks of a fixed size, each computed on one thread, and added in order.

use faer::linalg::matmul::triangular::{self, BlockStructure};
use faer::linalg::{cholesky::llt::factor as llt, evd, matmul, triangular_solve};
use faer::{Accum, MatMut, MatRef, Par, diag::DiagMut, dyn_stack};
use rayon::prelude::*;

/// Rows that one thread works on at a time.
pub(crate) const BLOCK: usize = 4096;

/// Clears the upper halves of the vector registers when it goes. The kernels of faer leave them in use, and until they are cleared every
/// scalar instruction that follows on the thread is up to ten times slower on Intel processors (Intel 64 and IA-32 Architectures
/// Optimization Reference Manual, "Mixing Intel AVX and Intel SSE instructions").
struct Registers;

impl Drop for Registers {
    fn drop(&mut self) {
        #[cfg(target_arch = "x86_64")]
        {
            #[target_feature(enable = "avx")]
            fn clear() {
                std::arch::x86_64::_mm256_zeroupper();
            }
            if is_x86_feature_detected!("avx") {
                // SAFETY: the processor has AVX.
                unsafe { clear() }
            }
        }
    }
}

/// AᵀA of a `rows × width` row-major matrix: both triangles, `width × width`.
pub(crate) fn gram(matrix: &[f32], width: usize) -> Vec<f32> {
    let mut total = vec![0f32; width * width];
    // Sixteen blocks at a time, so that the partial sums of a long matrix do not pile up.
    for blocks in matrix.chunks(16 * BLOCK * width) {
        let parts: Vec<Vec<f32>> = blocks
            .par_chunks(BLOCK * width)
            .map(|rows| {
                let _registers = Registers;
                let block = MatRef::from_row_major_slice(rows, rows.len() / width, width);
                let mut part = vec![0f32; width * width];
                let (lower, whole) = (BlockStructure::TriangularLower, BlockStructure::Rectangular);
                let target = MatMut::from_row_major_slice_mut(&mut part, width, width);
                triangular::matmul(target, lower, Accum::Replace, block.transpose(), whole, block, whole, 1.0, Par::Seq);
                part
            })
            .collect();
        for part in parts {
            total.iter_mut().zip(part).for_each(|(sum, value)| *sum += value);
        }
    }
    for row in 0..width {
        for column in 0..row {
            total[column * width + row] = total[row * width + column];
        }
    }
    total
}

/// A · B for a `rows × inner` and an `inner × width` matrix, both row-major.
pub(crate) fn multiply(left: &[f32], right: &[f32], inner: usize) -> Vec<f32> {
    let width = right.len() / inner;
    let mut product = vec![0f32; left.len() / inner * width];
    let right = MatRef::from_row_major_slice(right, inner, width);
    product.par_chunks_mut(BLOCK * width).zip(left.par_chunks(BLOCK * inner)).for_each(|(product, rows)| {
        let _registers = Registers;
        let count = rows.len() / inner;
        let target = MatMut::from_row_major_slice_mut(product, count, width);
        matmul::matmul(target, Accum::Replace, MatRef::from_row_major_slice(rows, count, inner), right, 1.0, Par::Seq);
    });
    product
}

/// A · Bᵀ for matrices of the same width, both row-major; on this thread.
pub(crate) fn multiply_transposed(left: &[f32], right: &[f32], width: usize) -> Vec<f32> {
    let _registers = Registers;
    let (rows, columns) = (left.len() / width, right.len() / width);
    let mut product = vec![0f32; rows * columns];
    let target = MatMut::from_row_major_slice_mut(&mut product, rows, columns);
    let (left, right) = (MatRef::from_row_major_slice(left, rows, width), MatRef::from_row_major_slice(right, columns, width));
    matmul::matmul(target, Accum::Replace, left, right.transpose(), 1.0, Par::Seq);
    product
}

/// Makes the columns of a tall row-major matrix orthonormal, by Cholesky QR: Q = A R⁻¹ with AᵀA = RᵀR. A rank that rounding has
/// lost is held up by a ridge of 10⁻⁶ of the largest diagonal entry. Returns false if the numbers are not finite.
pub(crate) fn orthonormalise(matrix: &mut [f32], width: usize) -> bool {
    let _registers = Registers;
    let mut square = gram(matrix, width);
    let largest = (0..width).map(|at| square[at * width + at]).fold(0f32, f32::max);
    (0..width).for_each(|at| square[at * width + at] += 1e-6 * largest.max(f32::MIN_POSITIVE));
    let mut memory = dyn_stack::MemBuffer::new(llt::cholesky_in_place_scratch::<f32>(width, Par::Seq, Default::default()));
    let stack = dyn_stack::MemStack::new(&mut memory);
    let factor = MatMut::from_row_major_slice_mut(&mut square, width, width);
    if llt::cholesky_in_place(factor, Default::default(), Par::Seq, stack, Default::default()).is_err() {
        return false;
    }
    let lower = MatRef::from_row_major_slice(&square, width, width);
    matrix.par_chunks_mut(BLOCK * width).for_each(|rows| {
        let _registers = Registers;
        let count = rows.len() / width;
        let block = MatMut::from_row_major_slice_mut(rows, count, width);
        triangular_solve::solve_lower_triangular_in_place(lower, block.transpose_mut(), Par::Seq);
    });
    true
}

/// The Cholesky factor of a symmetric row-major matrix, in place in its lower triangle: right-looking in panels, so that the
/// trailing rows are independent. Returns false if the matrix is not positive definite.
pub(crate) fn cholesky(matrix: &mut [f32], size: usize) -> bool {
    const PANEL: usize = 256;
    const ROWS: usize = 256;
    let _registers = Registers;
    for start in (0..size).step_by(PANEL) {
        let width = PANEL.min(size - start);
        let (done, below) = matrix.split_at_mut((start + width) * size);
        let corner = &mut done[start * size..];
        let mut block = vec![0f32; width * width];
        block.chunks_mut(width).zip(corner.chunks(size)).for_each(|(to, from)| to.copy_from_slice(&from[start..start + width]));
        let mut memory = dyn_stack::MemBuffer::new(llt::cholesky_in_place_scratch::<f32>(width, Par::Seq, Default::default()));
        let stack = dyn_stack::MemStack::new(&mut memory);
        let factor = MatMut::from_row_major_slice_mut(&mut block, width, width);
        if llt::cholesky_in_place(factor, Default::default(), Par::Seq, stack, Default::default()).is_err() {
            return false;
        }
        block.chunks(width).zip(corner.chunks_mut(size)).for_each(|(from, to)| to[start..start + width].copy_from_slice(from));
        // The rows below: first their part of this panel, then what it takes away from the rest.
        let lower = MatRef::from_row_major_slice(&block, width, width);
        let mut panel = vec![0f32; below.len() / size * width];
        panel.par_chunks_mut(ROWS * width).zip(below.par_chunks_mut(ROWS * size)).for_each(|(panel, rows)| {
            let _registers = Registers;
            panel.chunks_mut(width).zip(rows.chunks(size)).for_each(|(to, from)| to.copy_from_slice(&from[start..start + width]));
            let count = panel.len() / width;
            let target = MatMut::from_row_major_slice_mut(panel, count, width);
            triangular_solve::solve_lower_triangular_in_place(lower, target.transpose_mut(), Par::Seq);
            rows.chunks_mut(size).zip(panel.chunks(width)).for_each(|(to, from)| to[start..start + width].copy_from_slice(from));
        });
        let panel = &panel;
        below.par_chunks_mut(ROWS * size).enumerate().for_each(|(number, rows)| {
            let _registers = Registers;
            let count = rows.len() / size;
            let reach = number * ROWS + count;
            let own = MatRef::from_row_major_slice(&panel[number * ROWS * width..reach * width], count, width);
            let others = MatRef::from_row_major_slice(&panel[..reach * width], reach, width);
            let whole = MatMut::from_row_major_slice_mut(rows, count, size);
            let target = whole.submatrix_mut(0, start + width, count, reach);
            matmul::matmul(target, Accum::Add, own, others.transpose(), -1.0, Par::Seq);
        });
    }
    true
}

/// Columns of the inverse of a matrix whose factor [`cholesky`] made: row-major, `size × columns.len()`. O(size² · columns).
pub(crate) fn inverse_columns(factor: &[f32], size: usize, columns: std::ops::Range<usize>) -> Vec<f32> {
    let _registers = Registers;
    let count = columns.len();
    let mut out = vec![0f32; size * count];
    columns.clone().zip(0..).for_each(|(row, column)| out[row * count + column] = 1.0);
    let lower = MatRef::from_row_major_slice(factor, size, size);
    // Above the first of the columns the forward solution is zero.
    let from = columns.start;
    let corner = lower.submatrix(from, from, size - from, size - from);
    let below = MatMut::from_row_major_slice_mut(&mut out[from * count..], size - from, count);
    triangular_solve::solve_lower_triangular_in_place(corner, below, Par::Seq);
    let whole = MatMut::from_row_major_slice_mut(&mut out, size, count);
    triangular_solve::solve_upper_triangular_in_place(lower.transpose(), whole, Par::Seq);
    out
}

/// Eigenvalues, descending, of a symmetric row-major matrix, and its eigenvectors as the columns of a row-major matrix;
/// computed in double precision. `None` if it does not converge.
pub(crate) fn eigen(symmetric: &[f32], size: usize) -> Option<(Vec<f32>, Vec<f32>)> {
    let _registers = Registers;
    let matrix = faer::Mat::<f64>::from_fn(size, size, |row, column| f64::from(symmetric[row * size + column]));
    let mut vectors = faer::Mat::<f64>::zeros(size, size);
    let mut values = vec![0f64; size];
    let needed = evd::self_adjoint_evd_scratch::<f64>(size, evd::ComputeEigenvectors::Yes, Par::Seq, Default::default());
    let mut memory = dyn_stack::MemBuffer::new(needed);
    let diagonal = DiagMut::from_slice_mut(&mut values);
    let stack = dyn_stack::MemStack::new(&mut memory);
    evd::self_adjoint_evd(matrix.as_ref(), diagonal, Some(vectors.as_mut()), Par::Seq, stack, Default::default()).ok()?;
    values.reverse();
    let flat = (0..size * size).map(|at| vectors[(at / size, size - 1 - at % size)] as f32).collect();
    Some((values.into_iter().map(|value| value as f32).collect(), flat))
}

#[cfg(test)]
mod tests {
    use super::*;
    use aisle_data::SplitMix;

    fn numbers(count: usize) -> Vec<f32> {
        let mut state = SplitMix(7);
        (0..count).map(|_| state.normal()).collect()
    }

    #[test]
    fn columns_become_orthonormal_and_keep_their_span() {
        let (rows, width) = (5000, 24);
        let before = numbers(rows * width);
        let mut after = before.clone();
        assert!(orthonormalise(&mut after, width));
        let square = gram(&after, width);
        for (at, &value) in square.iter().enumerate() {
            let expected = if at / width == at % width { 1.0 } else { 0.0 };
            assert!((value - expected).abs() < 1e-4, "{at}: {value}");
        }
        // Projected on the new columns, the old ones are what they were.
        let transposed: Vec<f32> = (0..width * rows).map(|at| after[at % rows * width + at / rows]).collect();
        let inside = multiply(&after, &multiply(&transposed, &before, rows), width);
        assert!(before.iter().zip(&inside).all(|(a, b)| (a - b).abs() < 1e-2));
    }

    #[test]
    fn the_factored_matrix_is_inverted() {
        let size = 700;
        let mut matrix = gram(&numbers(900 * size), size);
        (0..size).for_each(|at| matrix[at * size + at] += 50.0);
        let mut factor = matrix.clone();
        assert!(cholesky(&mut factor, size));
        for from in [0, 670] {
            let product = multiply(&matrix, &inverse_columns(&factor, size, from..from + 30), size);
            for (at, &value) in product.iter().enumerate() {
                let expected = if at / 30 == from + at % 30 { 1.0 } else { 0.0 };
                assert!((value - expected).abs() < 1e-3, "{at}: {value}");
            }
        }
        matrix[5 * size + 5] = -1.0;
        assert!(!cholesky(&mut matrix, size));
    }

    #[test]
    fn eigenvectors_diagonalise() {
        let size = 40;
        let symmetric = gram(&numbers(100 * size), size);
        let (values, vectors) = eigen(&symmetric, size).unwrap();
        assert!(values.is_sorted_by(|a, b| a >= b));
        let product = multiply(&symmetric, &vectors, size);
        for at in 0..size * size {
            assert!((product[at] - vectors[at] * values[at % size]).abs() < 1e-3 * values[0], "{at}");
        }
    }
}
