//! Sums of outer products of rows, a tile of the matrix at a time: Gram matrices, and what the
//! Cholesky factorisation of [`super::solve`] subtracts.

#[cfg(target_arch = "x86_64")]
use super::avx512;
use super::row_pairs::RowPairs;
use super::simd::{LANES, dispatch, multiply_add};

dispatch! {
    /// Adds `Σ_n left[n] ⊗ right[n]` to the upper triangle of `matrix`. `left` and `right` are
    /// `n × width`, row-major, `matrix` is `width × width`, and `width` is a multiple of 16. Cells
    /// left of the diagonal are written too where a tile contains the diagonal.
    gram, gram_body, (left: &[f32], right: &[f32], width: usize, matrix: &mut [f32])
}

/// Rows of a tile.
const TILE_HEIGHT: usize = 4;

#[inline(always)]
fn gram_body<const FMA: bool, const WIDE: bool>(
    left: &[f32],
    right: &[f32],
    width: usize,
    matrix: &mut [f32],
) {
    let pairs = RowPairs {
        left,
        right,
        stride: width,
        count: left.len() / width,
    };
    add_outer_products::<FMA, WIDE, false>(pairs, matrix, (width, 0));
}

/// Adds (or, with `SUBTRACT`, subtracts) the outer products of `pairs` in the upper triangle of a
/// `width × width` matrix, from row and column `start` (a multiple of 16) on. `pairs` begin at that
/// column, and `matrix` at that row.
#[inline(always)]
pub(super) fn add_outer_products<const FMA: bool, const WIDE: bool, const SUBTRACT: bool>(
    pairs: RowPairs,
    matrix: &mut [f32],
    (width, start): (usize, usize),
) {
    if pairs.count == 0 {
        return;
    }
    // Where there are registers for them, sixteen running sums hide the latency of a multiply-add.
    let height = if WIDE && cfg!(target_arch = "x86_64") {
        2 * TILE_HEIGHT
    } else {
        TILE_HEIGHT
    };
    for top in (start..width).step_by(height) {
        let mut column = top / LANES * LANES;
        while column < width {
            let tile = RowPairs {
                left: &pairs.left[top - start..],
                right: &pairs.right[column - start..],
                ..pairs
            };
            let cells = &mut matrix[(top - start) * width + column..];
            #[cfg(target_arch = "x86_64")]
            if WIDE {
                // SAFETY: `WIDE` is true only where `dispatch` compiles for AVX-512.
                unsafe {
                    if column + 2 * LANES <= width {
                        avx512::add_tile::<SUBTRACT, 2>(tile, cells, width);
                        column += LANES;
                    } else {
                        avx512::add_tile::<SUBTRACT, 1>(tile, cells, width);
                    }
                }
                column += LANES;
                continue;
            }
            add_tile::<FMA, SUBTRACT>(tile, cells, width);
            column += LANES;
        }
    }
}

/// Adds or subtracts the outer products in one tile of 4 × 16 cells. `cells` starts at the first
/// cell of the tile, and its rows are `width` apart.
#[inline(always)]
fn add_tile<const FMA: bool, const SUBTRACT: bool>(
    pairs: RowPairs,
    cells: &mut [f32],
    width: usize,
) {
    let mut sums = [[0f32; LANES]; TILE_HEIGHT];
    for row in 0..pairs.count {
        let (Some(left), Some(right)) = (
            pairs.left[row * pairs.stride..].first_chunk::<TILE_HEIGHT>(),
            pairs.right[row * pairs.stride..].first_chunk::<LANES>(),
        ) else {
            return;
        };
        for (sums, &weight) in sums.iter_mut().zip(left) {
            for (sum, &value) in sums.iter_mut().zip(right) {
                *sum = multiply_add::<FMA>(weight, value, *sum);
            }
        }
    }
    for (row, sums) in sums.iter().enumerate() {
        let targets = &mut cells[row * width..][..LANES];
        for (cell, sum) in targets.iter_mut().zip(sums) {
            *cell = if SUBTRACT { *cell - sum } else { *cell + sum };
        }
    }
}
