//! Solves for the vector of one user (or item) while the vectors of the other side stand still.
//!
//! A row of n entries solves (D + YᵀCY) x = YᵀC1 with Y its n vectors of the other side, C their
//! confidences and D = α₀ YᵀY over all rows + λ′I. The other side is on its principal axes, where
//! that Gram matrix, and so D, is diagonal for every λ′ at once. Then x = D⁻¹Yᵀz with
//! (C⁻¹ + Y D⁻¹ Yᵀ) z = 1 (the push-through identity): a system of n equations instead of d.
//! Rows of at most d entries, nearly all in a shop, are solved that way (the dual system),
//! n²·d/2 + n³/6 multiply-adds; the others directly (the primal system), n·d²/2 + d³/6.

use crate::algorithms::als::hyperparameters::Als;
use crate::algorithms::recommend::{History, largest_contribution};
use crate::algorithms::scaling::Scaling;
use aisle_data::NONE;
use aisle_math::kernels::{
    LANES, Simd, add_rows, copy_rows, dots, gather, gram, largest, simd, solve, substitute_all,
};
use std::cell::RefCell;

/// Returns the diagonal of α₀ YᵀY for row-major vectors Y on their principal axes, where all other
/// cells are 0. Sums in double precision, in the order of the rows.
pub(super) fn gram_diagonal(vectors: &[f32], depth: usize, alpha: f32) -> Vec<f32> {
    let mut sums = vec![0f64; depth];
    for row in vectors.chunks(depth) {
        sums.iter_mut()
            .zip(row)
            .for_each(|(sum, &value)| *sum += f64::from(value) * f64::from(value));
    }
    sums.into_iter().map(|sum| alpha * sum as f32).collect()
}

/// Returns a millionth of the largest number of the diagonal, and at least 10⁻¹²: with a
/// smaller diagonal, rounding errors would dominate the solution.
fn diagonal_floor(diagonal: &[f32]) -> f32 {
    diagonal
        .iter()
        .fold(1e-12, |floor, &value| floor.max(1e-6 * value))
}

/// Memory that one thread reuses for every solve.
#[derive(Default)]
struct Scratch {
    /// The matrix of the system, then its Cholesky factor.
    matrix: Vec<f32>,
    /// Vectors of the history: as columns in the dual system, as rows in the primal one.
    history_vectors: Vec<f32>,
    /// Right side of the system, then its solution; later the table of an explanation.
    right_side: Vec<f32>,
    /// The diagonal D; the dual solve turns it into D^-½.
    diagonal: Vec<f32>,
    /// Square roots of confidences.
    roots: Vec<f32>,
    /// Confidence of each entry of the history.
    confidences: Vec<f32>,
}

thread_local! {
    static SCRATCH: RefCell<Scratch> = RefCell::default();
}

/// Solves rows against the vectors of the other side.
pub(super) struct RowSolver<'a> {
    als: &'a Als,
    /// Vectors of the other side on principal axes, row-major.
    vectors: &'a [f32],
    /// How many of them count in the penalty: those that the model was fitted to.
    other_rows: usize,
    /// See [`gram_diagonal`].
    gram_diagonal: &'a [f32],
    /// See [`diagonal_floor`].
    diagonal_floor: f32,
    /// How the values of histories become confidences.
    scaling: Scaling,
    simd: Simd,
}

impl<'a> RowSolver<'a> {
    /// Prepares to solve against `vectors`, of which `other_rows` count in the penalty and whose
    /// [`gram_diagonal`] is given. The values of histories are confidences already.
    pub fn new(
        als: &'a Als,
        vectors: &'a [f32],
        other_rows: usize,
        gram_diagonal: &'a [f32],
    ) -> Self {
        Self {
            als,
            vectors,
            other_rows,
            gram_diagonal,
            diagonal_floor: diagonal_floor(gram_diagonal),
            scaling: Scaling::Linear,
            simd: simd(),
        }
    }

    /// Turns the values of histories into confidences by `scaling` first.
    pub fn with_scaling(self, scaling: Scaling) -> Self {
        Self { scaling, ..self }
    }

    /// Writes the vector of a history into `out`; zeros for an empty history. Returns false if the
    /// system is not positive definite.
    pub fn solve(&self, history: History, out: &mut [f32]) -> bool {
        SCRATCH.with_borrow_mut(|scratch| self.solve_with(history, scratch, out))
    }

    /// Returns, for each of some items, the entry of the history that contributes most to its
    /// score, c_i y_iᵀ A⁻¹ y_j, after Hu, Koren and Volinsky, "Collaborative Filtering for Implicit
    /// Feedback Datasets" (ICDM 2008), section 5. O(solve + items · n · (n + d)).
    pub fn explain(&self, history: History, items: &[u32]) -> Vec<Option<u32>> {
        let mut vector = vec![0f32; self.depth()];
        SCRATCH.with_borrow_mut(|scratch| {
            if history.items.is_empty()
                || items.is_empty()
                || !self.solve_with(history, scratch, &mut vector)
            {
                return vec![None; items.len()];
            }
            if self.is_dual(history) {
                self.explain_dual(history, scratch, items)
            } else {
                self.explain_primal(history, scratch, items)
            }
        })
    }

    fn depth(&self) -> usize {
        self.als.factors
    }

    /// Returns whether the dual system, with one equation for each entry, is the smaller one.
    fn is_dual(&self, history: History) -> bool {
        history.items.len() <= self.depth()
    }

    fn solve_with(&self, history: History, scratch: &mut Scratch, out: &mut [f32]) -> bool {
        if history.items.is_empty() {
            out.fill(0.0);
            return true;
        }
        let penalty = self.als.penalty(history.items.len(), self.other_rows);
        scratch.confidences.clear();
        scratch
            .confidences
            .extend(history.values.iter().map(|&value| self.scaling.of(value)));
        scratch.diagonal.clear();
        scratch.diagonal.extend(
            self.gram_diagonal
                .iter()
                .map(|&value| (value + penalty).max(self.diagonal_floor)),
        );
        if self.is_dual(history) {
            self.solve_dual(history, scratch, out)
        } else {
            self.solve_primal(history, scratch, out)
        }
    }

    fn solve_dual(&self, history: History, scratch: &mut Scratch, out: &mut [f32]) -> bool {
        let (count, depth) = (history.items.len(), self.depth());
        let size = count.next_multiple_of(LANES);
        let Scratch {
            matrix,
            history_vectors: columns,
            right_side,
            diagonal: scales,
            confidences,
            ..
        } = scratch;
        scales
            .iter_mut()
            .for_each(|value| *value = 1.0 / value.sqrt());
        columns.resize(depth * size, 0.0);
        gather(self.simd, self.vectors, history.items, scales, columns);
        matrix.clear();
        matrix.resize(size * size, 0.0);
        gram(self.simd, columns, columns, size, matrix);
        right_side.clear();
        right_side.resize(size, 0.0);
        right_side[..count].fill(1.0);
        for at in 0..size {
            matrix[at * size + at] += confidences
                .get(at)
                .map_or(1.0, |confidence| 1.0 / confidence);
        }
        if !solve(self.simd, size, matrix, right_side) {
            return false;
        }
        dots(self.simd, columns, right_side, out);
        out.iter_mut()
            .zip(scales)
            .for_each(|(value, scale)| *value *= *scale);
        true
    }

    fn solve_primal(&self, history: History, scratch: &mut Scratch, out: &mut [f32]) -> bool {
        const BLOCK: usize = 96;
        let depth = self.depth();
        let width = depth.next_multiple_of(LANES);
        let Scratch {
            matrix,
            history_vectors: rows,
            right_side,
            diagonal,
            roots,
            confidences,
        } = scratch;
        matrix.clear();
        matrix.resize(width * width, 0.0);
        right_side.clear();
        right_side.resize(width, 0.0);
        for (items, confidences) in history.items.chunks(BLOCK).zip(confidences.chunks(BLOCK)) {
            add_rows(
                self.simd,
                self.vectors,
                items,
                confidences,
                &mut right_side[..depth],
            );
            roots.clear();
            roots.extend(confidences.iter().map(|confidence| confidence.sqrt()));
            rows.resize(items.len() * width, 0.0);
            copy_rows(self.simd, self.vectors, items, roots, (rows, depth));
            gram(self.simd, rows, rows, width, matrix);
        }
        for d in 0..width {
            matrix[d * width + d] += diagonal.get(d).copied().unwrap_or(1.0);
        }
        let solved = solve(self.simd, width, matrix, right_side);
        out.copy_from_slice(&right_side[..depth]);
        solved
    }

    /// Explains with what [`RowSolver::solve_dual`] left in `scratch`: the contributions to the
    /// score of item j are C (Y A⁻¹ y_j) = K⁻¹ Y D⁻¹ y_j with K the matrix of the dual system.
    fn explain_dual(
        &self,
        history: History,
        scratch: &mut Scratch,
        items: &[u32],
    ) -> Vec<Option<u32>> {
        let (count, depth) = (history.items.len(), self.depth());
        let size = count.next_multiple_of(LANES);
        let width = items.len().next_multiple_of(LANES);
        let Scratch {
            matrix,
            history_vectors: columns,
            diagonal: scales,
            right_side: table,
            ..
        } = scratch;
        table.clear();
        table.resize(size * width, 0.0);
        let dimensions: Vec<u32> = (0..depth as u32).collect();
        let (mut scaled, mut products) = (vec![0f32; depth], vec![0f32; size]);
        for (at, &item) in items.iter().enumerate() {
            scaled
                .iter_mut()
                .zip(self.row(item))
                .zip(scales.iter())
                .for_each(|((scaled, value), scale)| *scaled = value * scale);
            products.fill(0.0);
            add_rows(self.simd, columns, &dimensions, &scaled, &mut products);
            write_column(table, (at, width), &products);
        }
        substitute_all(self.simd, size, matrix, (table, width));
        let column = |at: usize| table.iter().skip(at).step_by(width).copied();
        (0..)
            .zip(items)
            .map(|(at, &item)| {
                largest_contribution(history.items.iter().copied().zip(column(at)), item)
            })
            .collect()
    }

    /// Explains with what [`RowSolver::solve_primal`] left in `scratch`: solves A⁻¹ y_j for all
    /// items at once, and finds the entry with the largest c_i y_i · A⁻¹ y_j.
    fn explain_primal(
        &self,
        history: History,
        scratch: &mut Scratch,
        items: &[u32],
    ) -> Vec<Option<u32>> {
        let depth = self.depth();
        let size = depth.next_multiple_of(LANES);
        let width = items.len().next_multiple_of(LANES);
        let Scratch {
            matrix,
            confidences,
            right_side: table,
            ..
        } = scratch;
        table.clear();
        table.resize(size * width, 0.0);
        for (at, &item) in items.iter().enumerate() {
            write_column(table, (at, width), self.row(item));
        }
        substitute_all(self.simd, size, matrix, (table, width));
        // Columns of padding stand for no item.
        let (mut excluded, mut best) = (items.to_vec(), vec![NONE; width]);
        excluded.resize(width, NONE);
        largest(
            self.simd,
            self.vectors,
            (history.items, confidences),
            &table[..depth * width],
            (&excluded, &mut best),
        );
        best.into_iter()
            .take(items.len())
            .map(|source| (source != NONE).then_some(source))
            .collect()
    }

    fn row(&self, item: u32) -> &[f32] {
        let depth = self.depth();
        &self.vectors[item as usize * depth..][..depth]
    }
}

/// Writes `values` from the top into one column of a row-major table of `width` columns.
fn write_column(table: &mut [f32], (column, width): (usize, usize), values: &[f32]) {
    table
        .iter_mut()
        .skip(column)
        .step_by(width)
        .zip(values)
        .for_each(|(cell, &value)| *cell = value);
}
