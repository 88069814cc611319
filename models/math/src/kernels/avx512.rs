//! The parts of the kernels that a compiler does not find by itself: blocks of 16 × 16 numbers held
//! in the 32 registers of AVX-512.
//!
//! Each function does the same operations in the same order as the portable body that calls it, so
//! both give the same bits. QueryMetrics against that body compiled for AVX2, on an AMD EPYC with
//! AVX-512 at 64 to 256 dimensions: [`add_tile`] makes `gram` 1.1 (few rows) to 1.6 (many rows)
//! times as fast, [`factor_panel`] a whole `solve` 1.1 to 1.2 times, [`gather`] is 1.8 to 2.3 times
//! and [`dots`] 1.2 to 1.3 times as fast while the rows are in the cache.

use super::row_pairs::RowPairs;
use super::simd::LANES;
use std::arch::x86_64::{
    __m512, _mm512_add_ps, _mm512_fmadd_ps, _mm512_fnmadd_ps, _mm512_loadu_ps, _mm512_mul_ps,
    _mm512_permutexvar_ps, _mm512_set1_epi32, _mm512_set1_ps, _mm512_setzero_ps,
    _mm512_shuffle_f32x4, _mm512_shuffle_ps, _mm512_storeu_ps, _mm512_sub_ps, _mm512_unpackhi_ps,
    _mm512_unpacklo_ps,
};

/// Sixteen rows of sixteen numbers.
type Block = [__m512; LANES];

/// The 16 numbers of a slice from position `at` on.
#[inline]
#[target_feature(enable = "avx512f")]
fn load(slice: &[f32], at: usize) -> __m512 {
    let chunk = &slice[at..at + LANES];
    // SAFETY: the chunk holds 16 numbers, and the load needs no alignment.
    unsafe { _mm512_loadu_ps(chunk.as_ptr()) }
}

#[inline]
#[target_feature(enable = "avx512f")]
fn store(slice: &mut [f32], at: usize, value: __m512) {
    let chunk = &mut slice[at..at + LANES];
    // SAFETY: the chunk holds 16 numbers, and the store needs no alignment.
    unsafe { _mm512_storeu_ps(chunk.as_mut_ptr(), value) }
}

/// The number in lane `LANE`, in all lanes.
#[inline]
#[target_feature(enable = "avx512f")]
fn broadcast_lane<const LANE: usize>(value: __m512) -> __m512 {
    _mm512_permutexvar_ps(_mm512_set1_epi32(LANE as i32), value)
}

/// Adds (or, with `SUBTRACT`, subtracts) the outer products of `pairs` in one tile of 8 rows and
/// `COLUMNS` · 16 columns. `cells` starts at the first cell of the tile, its rows are `width`
/// apart.
#[inline]
#[target_feature(enable = "avx512f")]
pub(super) fn add_tile<const SUBTRACT: bool, const COLUMNS: usize>(
    pairs: RowPairs,
    cells: &mut [f32],
    width: usize,
) {
    const HEIGHT: usize = 8;
    let last = (pairs.count - 1) * pairs.stride;
    assert!(
        pairs.left.len() >= last + HEIGHT
            && pairs.right.len() >= last + COLUMNS * LANES
            && cells.len() >= (HEIGHT - 1) * width + COLUMNS * LANES
    );
    let mut sums = [[_mm512_setzero_ps(); COLUMNS]; HEIGHT];
    for row in 0..pairs.count {
        // SAFETY: row ≤ count − 1, so both reads end within the lengths asserted above.
        let (weights, values) = unsafe {
            let from = pairs.right.as_ptr().add(row * pairs.stride);
            let values: [__m512; COLUMNS] =
                std::array::from_fn(|column| _mm512_loadu_ps(from.add(column * LANES)));
            let weights = pairs.left.as_ptr().add(row * pairs.stride);
            (&*weights.cast::<[f32; HEIGHT]>(), values)
        };
        for line in 0..HEIGHT {
            let weight = _mm512_set1_ps(weights[line]);
            for column in 0..COLUMNS {
                sums[line][column] = _mm512_fmadd_ps(weight, values[column], sums[line][column]);
            }
        }
    }
    for (line, sums) in sums.into_iter().enumerate() {
        for (column, sum) in sums.into_iter().enumerate() {
            let at = line * width + column * LANES;
            let before = load(cells, at);
            let after = if SUBTRACT {
                _mm512_sub_ps(before, sum)
            } else {
                _mm512_add_ps(before, sum)
            };
            store(cells, at, after);
        }
    }
}

/// Turns the rows of a block into its columns.
#[inline]
#[target_feature(enable = "avx512f")]
fn transpose(rows: Block) -> Block {
    let mut fours = rows;
    for group in 0..4 {
        let [a, b, c, d]: [__m512; 4] = std::array::from_fn(|row| rows[4 * group + row]);
        let (ab, ab_high) = (_mm512_unpacklo_ps(a, b), _mm512_unpackhi_ps(a, b));
        let (cd, cd_high) = (_mm512_unpacklo_ps(c, d), _mm512_unpackhi_ps(c, d));
        fours[4 * group] = _mm512_shuffle_ps::<0x44>(ab, cd);
        fours[4 * group + 1] = _mm512_shuffle_ps::<0xEE>(ab, cd);
        fours[4 * group + 2] = _mm512_shuffle_ps::<0x44>(ab_high, cd_high);
        fours[4 * group + 3] = _mm512_shuffle_ps::<0xEE>(ab_high, cd_high);
    }
    // Quarter l of fours[4 g + j] now holds column 4 l + j of rows 4 g to 4 g + 3.
    let mut columns = rows;
    for j in 0..4 {
        let (low, low_next) = (
            _mm512_shuffle_f32x4::<0x44>(fours[j], fours[4 + j]),
            _mm512_shuffle_f32x4::<0x44>(fours[8 + j], fours[12 + j]),
        );
        let (high, high_next) = (
            _mm512_shuffle_f32x4::<0xEE>(fours[j], fours[4 + j]),
            _mm512_shuffle_f32x4::<0xEE>(fours[8 + j], fours[12 + j]),
        );
        columns[j] = _mm512_shuffle_f32x4::<0x88>(low, low_next);
        columns[4 + j] = _mm512_shuffle_f32x4::<0xDD>(low, low_next);
        columns[8 + j] = _mm512_shuffle_f32x4::<0x88>(high, high_next);
        columns[12 + j] = _mm512_shuffle_f32x4::<0xDD>(high, high_next);
    }
    columns
}

/// Writes sixteen rows, scaled by dimension, as columns `column` to `column` + 15 of `out`, whose
/// rows are `width` long. Dimensions that do not make a whole block of 16 are left to the caller.
#[inline]
#[target_feature(enable = "avx512f")]
pub(super) fn gather(
    sources: &[&[f32]; LANES],
    scales: &[f32],
    out: &mut [f32],
    (column, width): (usize, usize),
) {
    for from in (0..scales.len() / LANES * LANES).step_by(LANES) {
        let scale = load(scales, from);
        let columns = transpose(std::array::from_fn(|row| {
            _mm512_mul_ps(load(sources[row], from), scale)
        }));
        for (d, cells) in columns.into_iter().enumerate() {
            store(out, (from + d) * width + column, cells);
        }
    }
}

/// Calls a function with a constant parameter once for each of the numbers.
macro_rules! for_each {
    ($call:ident $arguments:tt: $($number:literal)*) => { $($call::<$number> $arguments;)* };
}

/// One step of the elimination in a diagonal block: row `P` leaves the rows below it.
#[inline]
#[target_feature(enable = "avx512f")]
fn eliminate_in_diagonal_block<const P: usize>(
    block: &mut Block,
    inverse: &mut [f32; LANES],
    diagonal: &mut [f32; LANES],
) {
    let mut pivot_row = [0f32; LANES];
    store(&mut pivot_row, 0, block[P]);
    diagonal[P] = pivot_row[P];
    inverse[P] = 1.0 / pivot_row[P];
    let multipliers = _mm512_mul_ps(block[P], _mm512_set1_ps(inverse[P]));
    macro_rules! subtract_from {
        ($($row:literal)*) => {
            $(if $row > P {
                let multiplier = broadcast_lane::<$row>(multipliers);
                block[$row] = _mm512_fnmadd_ps(multiplier, block[P], block[$row]);
            })*
        };
    }
    subtract_from!(1 2 3 4 5 6 7 8 9 10 11 12 13 14 15);
}

/// One step of the elimination in a block right of the diagonal: row `P` leaves the rows below it.
#[inline]
#[target_feature(enable = "avx512f")]
fn eliminate_right_of_diagonal<const P: usize>(
    rows: &mut Block,
    multipliers: &[[f32; LANES]; LANES],
) {
    macro_rules! subtract_from {
        ($($row:literal)*) => {
            $(if $row > P {
                let multiplier = _mm512_set1_ps(multipliers[P][$row]);
                rows[$row] = _mm512_fnmadd_ps(multiplier, rows[P], rows[$row]);
            })*
        };
    }
    subtract_from!(1 2 3 4 5 6 7 8 9 10 11 12 13 14 15);
}

/// Factors the 16 rows of a panel from column `start` on, in place: U = D^-½ (eliminated rows), the
/// diagonal replaced by its inverse. Returns false if a pivot is not positive.
#[inline]
#[target_feature(enable = "avx512f")]
pub(super) fn factor_panel(panel: &mut [f32], size: usize, start: usize) -> bool {
    let mut block: Block = std::array::from_fn(|row| load(panel, row * size + start));
    let (mut inverse, mut diagonal) = ([0f32; LANES], [0f32; LANES]);
    for_each!(eliminate_in_diagonal_block(&mut block, &mut inverse, &mut diagonal):
        0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15);
    if diagonal
        .iter()
        .any(|&pivot| !(pivot > 0.0 && pivot.is_finite()))
    {
        return false;
    }
    let scale = diagonal.map(|pivot| 1.0 / pivot.sqrt());
    // The multipliers of the elimination: row p holds u_pr / u_pp.
    let mut multipliers = [[0f32; LANES]; LANES];
    for row in 0..LANES {
        let eliminated = _mm512_mul_ps(block[row], _mm512_set1_ps(inverse[row]));
        store(&mut multipliers[row], 0, eliminated);
        let scaled = _mm512_mul_ps(block[row], _mm512_set1_ps(scale[row]));
        store(panel, row * size + start, scaled);
        panel[row * size + start + row] = scale[row];
    }
    for from in (start + LANES..size).step_by(LANES) {
        let mut rows: Block = std::array::from_fn(|row| load(panel, row * size + from));
        for_each!(eliminate_right_of_diagonal(&mut rows, &multipliers):
            0 1 2 3 4 5 6 7 8 9 10 11 12 13 14);
        for row in 0..LANES {
            let scaled = _mm512_mul_ps(rows[row], _mm512_set1_ps(scale[row]));
            store(panel, row * size + from, scaled);
        }
    }
    true
}

/// The sums of the lanes of sixteen vectors, added in the order of the portable inner product.
#[inline]
#[target_feature(enable = "avx512f")]
fn sums_of_lanes(rows: Block) -> __m512 {
    let lanes = transpose(rows);
    let eight: [__m512; 8] = std::array::from_fn(|at| _mm512_add_ps(lanes[at], lanes[at + 8]));
    let four: [__m512; 4] = std::array::from_fn(|at| _mm512_add_ps(eight[at], eight[at + 4]));
    _mm512_add_ps(
        _mm512_add_ps(four[0], four[2]),
        _mm512_add_ps(four[1], four[3]),
    )
}

/// The inner products of whole groups of sixteen rows with `vector`, whose length is a multiple of
/// 16. Returns how many rows are done.
#[inline]
#[target_feature(enable = "avx512f")]
pub(super) fn dots(rows: &[f32], vector: &[f32], out: &mut [f32]) -> usize {
    let depth = vector.len();
    let done = out.len() / LANES * LANES;
    for first in (0..done).step_by(LANES) {
        let mut sums = [_mm512_setzero_ps(); LANES];
        for from in (0..depth).step_by(LANES) {
            let weights = load(vector, from);
            for (row, sum) in sums.iter_mut().enumerate() {
                let values = load(rows, (first + row) * depth + from);
                *sum = _mm512_fmadd_ps(values, weights, *sum);
            }
        }
        store(out, first, sums_of_lanes(sums));
    }
    done
}
