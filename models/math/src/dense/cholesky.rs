//! Cholesky factors, and what is solved with them.

use super::products::{BLOCK, gram};
use super::registers::ClearRegisters;
use faer::linalg::{cholesky::llt::factor as llt, matmul, triangular_solve};
use faer::{Accum, MatMut, MatRef, Par, dyn_stack};
use rayon::prelude::*;
use std::ops::Range;

/// Columns that are factored at a time.
const PANEL_WIDTH: usize = 256;
/// Rows below a panel that one thread works on at a time.
const PANEL_ROWS: usize = 256;

/// Makes the columns of a tall `rows × width` matrix orthonormal, in place, by Cholesky QR: Q = A
/// R⁻¹ with AᵀA = RᵀR. A ridge of 10⁻⁶ of the largest diagonal entry replaces a rank that rounding
/// has lost. Returns false if the numbers are not finite. O(rows · width²).
pub fn orthonormalise(matrix: &mut [f32], width: usize) -> bool {
    let _registers = ClearRegisters;
    let mut square = gram(matrix, width);
    let largest = (0..width)
        .map(|at| square[at * width + at])
        .fold(0f32, f32::max);
    (0..width).for_each(|at| square[at * width + at] += 1e-6 * largest.max(f32::MIN_POSITIVE));
    if !factor_on_this_thread(&mut square, width) {
        return false;
    }
    let lower = MatRef::from_row_major_slice(&square, width, width);
    matrix.par_chunks_mut(BLOCK * width).for_each(|rows| {
        let _registers = ClearRegisters;
        let count = rows.len() / width;
        let block = MatMut::from_row_major_slice_mut(rows, count, width);
        triangular_solve::solve_lower_triangular_in_place(lower, block.transpose_mut(), Par::Seq);
    });
    true
}

/// Replaces the lower triangle of a symmetric `size × size` matrix by its Cholesky factor.
/// Right-looking in panels, so that the rows below a panel are independent and all threads work on
/// them. Returns false if the matrix is not positive definite. O(size³).
pub fn cholesky(matrix: &mut [f32], size: usize) -> bool {
    let _registers = ClearRegisters;
    for start in (0..size).step_by(PANEL_WIDTH) {
        let columns = start..size.min(start + PANEL_WIDTH);
        let width = columns.len();
        let (done, below) = matrix.split_at_mut((start + width) * size);
        let diagonal_rows = &mut done[start * size..];
        let mut factor = vec![0f32; width * width];
        copy_columns_out(diagonal_rows, size, columns.clone(), &mut factor);
        if !factor_on_this_thread(&mut factor, width) {
            return false;
        }
        copy_columns_in(diagonal_rows, size, columns.clone(), &factor);
        let panel = solve_panel(&factor, below, size, columns.clone());
        subtract_panel(&panel, below, size, columns);
    }
    true
}

/// The Cholesky factor of a `size × size` matrix, in place in its lower triangle. Returns false if
/// the matrix is not positive definite.
fn factor_on_this_thread(matrix: &mut [f32], size: usize) -> bool {
    let scratch = llt::cholesky_in_place_scratch::<f32>(size, Par::Seq, Default::default());
    let mut memory = dyn_stack::MemBuffer::new(scratch);
    llt::cholesky_in_place(
        MatMut::from_row_major_slice_mut(matrix, size, size),
        Default::default(),
        Par::Seq,
        dyn_stack::MemStack::new(&mut memory),
        Default::default(),
    )
    .is_ok()
}

/// Solves the rows below a diagonal block, whose `factor` is given, for the columns of that block,
/// in place. Returns these columns: `rows below × columns`.
fn solve_panel(factor: &[f32], below: &mut [f32], size: usize, columns: Range<usize>) -> Vec<f32> {
    let width = columns.len();
    let lower = MatRef::from_row_major_slice(factor, width, width);
    let mut panel = vec![0f32; below.len() / size * width];
    panel
        .par_chunks_mut(PANEL_ROWS * width)
        .zip(below.par_chunks_mut(PANEL_ROWS * size))
        .for_each(|(panel, rows)| {
            let _registers = ClearRegisters;
            copy_columns_out(rows, size, columns.clone(), panel);
            let count = panel.len() / width;
            triangular_solve::solve_lower_triangular_in_place(
                lower,
                MatMut::from_row_major_slice_mut(panel, count, width).transpose_mut(),
                Par::Seq,
            );
            copy_columns_in(rows, size, columns.clone(), panel);
        });
    panel
}

/// Subtracts the products of a solved panel from the columns right of it, up to the diagonal.
fn subtract_panel(panel: &[f32], below: &mut [f32], size: usize, columns: Range<usize>) {
    let width = columns.len();
    below
        .par_chunks_mut(PANEL_ROWS * size)
        .enumerate()
        .for_each(|(number, rows)| {
            let _registers = ClearRegisters;
            let count = rows.len() / size;
            let first = number * PANEL_ROWS;
            let end = first + count;
            let own =
                MatRef::from_row_major_slice(&panel[first * width..end * width], count, width);
            let others = MatRef::from_row_major_slice(&panel[..end * width], end, width);
            let target = MatMut::from_row_major_slice_mut(rows, count, size).submatrix_mut(
                0,
                columns.end,
                count,
                end,
            );
            matmul::matmul(target, Accum::Add, own, others.transpose(), -1.0, Par::Seq);
        });
}

/// Copies some columns of rows that are `size` long to the rows of `out`.
fn copy_columns_out(rows: &[f32], size: usize, columns: Range<usize>, out: &mut [f32]) {
    for (to, from) in out.chunks_mut(columns.len()).zip(rows.chunks(size)) {
        to.copy_from_slice(&from[columns.clone()]);
    }
}

/// Copies the rows of `values` to some columns of rows that are `size` long.
fn copy_columns_in(rows: &mut [f32], size: usize, columns: Range<usize>, values: &[f32]) {
    for (to, from) in rows.chunks_mut(size).zip(values.chunks(columns.len())) {
        to[columns.clone()].copy_from_slice(from);
    }
}

/// Returns some columns of the inverse of a `size × size` matrix whose factor [`cholesky`] made:
/// row-major, `size × columns.len()`. O(size² · columns).
pub fn inverse_columns(factor: &[f32], size: usize, columns: Range<usize>) -> Vec<f32> {
    let _registers = ClearRegisters;
    let count = columns.len();
    let mut out = vec![0f32; size * count];
    for (column, row) in columns.clone().enumerate() {
        out[row * count + column] = 1.0;
    }
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
