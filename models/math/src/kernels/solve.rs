//! Linear systems with a symmetric positive definite matrix, by its Cholesky factor.

#[cfg(target_arch = "x86_64")]
use super::avx512;
use super::dot::dot_body;
use super::outer::add_outer_products;
use super::row_pairs::RowPairs;
use super::simd::{LANES, dispatch, multiply_add};

dispatch! {
    /// Solves `matrix · x = b` for a symmetric positive definite `size × size` matrix given by its
    /// upper triangle, `size` a multiple of 16. `b` becomes `x`, and the upper triangle becomes the
    /// Cholesky factor U (A = UᵀU) with 1 / u_pp on its diagonal. Returns false if the matrix is
    /// not positive definite. O(size³ / 6) multiply-adds.
    solve, solve_body, (size: usize, matrix: &mut [f32], b: &mut [f32]) -> bool
}
dispatch! {
    /// Solves for many right sides with the factor that [`solve`] left in `matrix`. `b` is the
    /// right sides, one a column (`size × width`, row-major), and `width`, a multiple of 16. The
    /// right sides become the solutions. O(size² · width) multiply-adds.
    substitute_all, substitute_all_body, (size: usize, matrix: &[f32], b: (&mut [f32], usize))
}

/// Right-looking Cholesky factorisation in panels of 16 rows, then both substitutions.
#[inline(always)]
fn solve_body<const FMA: bool, const WIDE: bool>(
    size: usize,
    matrix: &mut [f32],
    b: &mut [f32],
) -> bool {
    for start in (0..size).step_by(LANES) {
        let next = start + LANES;
        let (panel, trailing) = matrix[start * size..].split_at_mut(LANES * size);
        if !factor_panel::<FMA, WIDE>(panel, size, start) {
            return false;
        }
        if next < size {
            let right_of_block = &panel[next..];
            let pairs = RowPairs {
                left: right_of_block,
                right: right_of_block,
                stride: size,
                count: LANES,
            };
            add_outer_products::<FMA, WIDE, true>(pairs, trailing, (size, next));
        }
    }
    substitute_forward::<FMA>(size, matrix, b);
    substitute_backward::<FMA>(size, matrix, b);
    true
}

/// Factors the 16 rows of a panel from column `start` on. Rows are eliminated by u_pr / u_pp and
/// scaled by 1 / √pivot afterwards, so that no square root waits in the chain from pivot to pivot.
/// Returns false if a pivot is not positive.
#[inline(always)]
fn factor_panel<const FMA: bool, const WIDE: bool>(
    panel: &mut [f32],
    size: usize,
    start: usize,
) -> bool {
    #[cfg(target_arch = "x86_64")]
    if WIDE {
        // SAFETY: `WIDE` is true only where `dispatch` compiles for AVX-512.
        return unsafe { avx512::factor_panel(panel, size, start) };
    }
    let mut scales = [0f32; LANES];
    for pivot in 0..LANES {
        let (done, below) = panel.split_at_mut((pivot + 1) * size);
        let pivot_row = &done[pivot * size + start..];
        let diagonal = pivot_row[pivot];
        if !(diagonal > 0.0 && diagonal.is_finite()) {
            return false;
        }
        let inverse = 1.0 / diagonal;
        scales[pivot] = 1.0 / diagonal.sqrt();
        for (row, cells) in below.chunks_exact_mut(size).enumerate() {
            let multiplier = -(pivot_row[pivot + 1 + row] * inverse);
            for (cell, &value) in cells[start..].iter_mut().zip(pivot_row) {
                *cell = multiply_add::<FMA>(multiplier, value, *cell);
            }
        }
    }
    for (pivot, scale) in scales.into_iter().enumerate() {
        let row = &mut panel[pivot * size + start..(pivot + 1) * size];
        row.iter_mut().for_each(|cell| *cell *= scale);
        row[pivot] = scale;
    }
    true
}

/// Solves Uᵀ z = b in place, column by column of Uᵀ, which are the rows of U.
#[inline(always)]
fn substitute_forward<const FMA: bool>(size: usize, matrix: &[f32], b: &mut [f32]) {
    for row in 0..size {
        let factor = &matrix[row * size + row..(row + 1) * size];
        let value = b[row] * factor[0];
        b[row] = value;
        for (target, &cell) in b[row + 1..].iter_mut().zip(&factor[1..]) {
            *target = multiply_add::<FMA>(-value, cell, *target);
        }
    }
}

/// Solves U x = z in place, in blocks of 16 rows from the last: each block is first reduced by the
/// rows that are already solved, then solved column by column.
#[inline(always)]
fn substitute_backward<const FMA: bool>(size: usize, matrix: &[f32], b: &mut [f32]) {
    for start in (0..size).step_by(LANES).rev() {
        let next = start + LANES;
        let (unsolved, solved) = b.split_at_mut(next);
        let block = &mut unsolved[start..];
        if next < size {
            for (row, value) in block.iter_mut().enumerate() {
                let factor = &matrix[(start + row) * size..][..size];
                *value -= dot_body::<FMA>(&factor[next..], solved);
            }
        }
        for column in (0..LANES).rev() {
            let value = block[column] * matrix[(start + column) * size + start + column];
            block[column] = value;
            for (row, target) in block[..column].iter_mut().enumerate() {
                let cell = matrix[(start + row) * size + start + column];
                *target = multiply_add::<FMA>(-value, cell, *target);
            }
        }
    }
}

/// Both substitutions for 16 right sides at a time, so that a row of them stays in registers.
#[inline(always)]
fn substitute_all_body<const FMA: bool, const WIDE: bool>(
    size: usize,
    matrix: &[f32],
    (b, width): (&mut [f32], usize),
) {
    let (b, _) = b.as_chunks_mut::<LANES>();
    let blocks = width / LANES;
    for block in 0..blocks {
        for row in 0..size {
            let factor = &matrix[row * size..][..size];
            let solved = b[row * blocks + block].map(|value| value * factor[row]);
            b[row * blocks + block] = solved;
            for (below, &cell) in factor.iter().enumerate().skip(row + 1) {
                let targets = &mut b[below * blocks + block];
                for (target, &value) in targets.iter_mut().zip(&solved) {
                    *target = multiply_add::<FMA>(-cell, value, *target);
                }
            }
        }
        for row in (0..size).rev() {
            let factor = &matrix[row * size..][..size];
            let mut values = b[row * blocks + block];
            // The last row comes first: the one that was just solved is waited for at the end.
            for below in (row + 1..size).rev() {
                let solved = &b[below * blocks + block];
                for (value, &solved) in values.iter_mut().zip(solved) {
                    *value = multiply_add::<FMA>(-factor[below], solved, *value);
                }
            }
            b[row * blocks + block] = values.map(|value| value * factor[row]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::{Simd, gram, simd};
    use crate::random::SplitMix;

    fn numbers(count: usize, seed: u64) -> Vec<f32> {
        let mut random = SplitMix(seed);
        (0..count).map(|_| random.uniform() - 0.5).collect()
    }

    /// A symmetric positive definite matrix by its upper triangle.
    fn positive_definite(simd: Simd, size: usize) -> Vec<f32> {
        let rows = numbers(2 * size * size, 5);
        let mut matrix = vec![0f32; size * size];
        gram(simd, &rows, &rows, size, &mut matrix);
        (0..size).for_each(|at| matrix[at * size + at] += 0.1);
        matrix
    }

    /// Asserts that row by row `matrix · x` is `expected`, where `x(j)` is the j-th unknown.
    fn assert_solves(matrix: &[f32], size: usize, expected: &[f32], x: impl Fn(usize) -> f32) {
        let cell = |i: usize, j: usize| f64::from(matrix[i.min(j) * size + i.max(j)]);
        for (i, &expected) in expected.iter().enumerate() {
            let found: f64 = (0..size).map(|j| cell(i, j) * f64::from(x(j))).sum();
            assert!(
                (found - f64::from(expected)).abs() < 1e-3,
                "size {size}, row {i}: {found} and {expected}"
            );
        }
    }

    #[test]
    fn a_solved_system_gives_back_its_right_side() {
        for simd in Simd::available() {
            for size in [16, 48, 64, 112] {
                let matrix = positive_definite(simd, size);
                let b = numbers(size, 6);
                let (mut factor, mut x) = (matrix.clone(), b.clone());
                assert!(solve(simd, size, &mut factor, &mut x));
                assert_solves(&matrix, size, &b, |j| x[j]);
            }
        }
    }

    #[test]
    fn many_systems_with_one_factor_give_back_their_right_sides() {
        let width = 32;
        for simd in Simd::available() {
            for size in [16, 48, 64, 112] {
                let matrix = positive_definite(simd, size);
                let mut factor = matrix.clone();
                assert!(solve(simd, size, &mut factor, &mut numbers(size, 6)));
                let sides = numbers(size * width, 7);
                let mut solutions = sides.clone();
                substitute_all(simd, size, &factor, (&mut solutions, width));
                for column in 0..width {
                    let side: Vec<f32> = sides.chunks(width).map(|row| row[column]).collect();
                    assert_solves(&matrix, size, &side, |j| solutions[j * width + column]);
                }
            }
        }
    }

    #[test]
    fn a_matrix_that_is_not_positive_definite_is_refused() {
        let mut matrix = vec![0f32; 16 * 16];
        assert!(!solve(simd(), 16, &mut matrix, &mut [1.0; 16]));
        matrix[0] = f32::NAN;
        assert!(!solve(simd(), 16, &mut matrix, &mut [1.0; 16]));
    }
}
