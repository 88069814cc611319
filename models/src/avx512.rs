//! The parts of the kernels that a compiler does not find by itself: blocks of 16 × 16 held in the 32 registers of AVX-512.
//!
//! Each function has its portable twin in `kernels.rs`, does the same operations in the same order, and gives the same bits.

use crate::kernels::LANES;
use std::arch::x86_64::{
    __m512, _CMP_GT_OQ, _mm512_add_ps, _mm512_cmp_ps_mask, _mm512_cmpneq_epi32_mask, _mm512_fmadd_ps, _mm512_fnmadd_ps,
    _mm512_loadu_ps, _mm512_loadu_si512, _mm512_mask_mov_epi32, _mm512_mask_mov_ps, _mm512_mul_ps, _mm512_permutexvar_ps,
    _mm512_set1_epi32, _mm512_set1_ps, _mm512_setzero_ps, _mm512_shuffle_f32x4, _mm512_shuffle_ps, _mm512_storeu_ps,
    _mm512_storeu_si512, _mm512_sub_ps, _mm512_unpackhi_ps, _mm512_unpacklo_ps,
};

type Block = [__m512; LANES];

/// 16 numbers of a slice from a position on.
#[inline]
#[target_feature(enable = "avx512f")]
fn load(slice: &[f32], at: usize) -> __m512 {
    let chunk = &slice[at..at + LANES];
    // SAFETY: the chunk holds 16 numbers; the load needs no alignment.
    unsafe { _mm512_loadu_ps(chunk.as_ptr()) }
}

#[inline]
#[target_feature(enable = "avx512f")]
fn store(slice: &mut [f32], at: usize, value: __m512) {
    let chunk = &mut slice[at..at + LANES];
    // SAFETY: the chunk holds 16 numbers; the store needs no alignment.
    unsafe { _mm512_storeu_ps(chunk.as_mut_ptr(), value) }
}

/// Lane `LANE` in all lanes.
#[inline]
#[target_feature(enable = "avx512f")]
fn lane<const LANE: usize>(value: __m512) -> __m512 {
    _mm512_permutexvar_ps(_mm512_set1_epi32(LANE as i32), value)
}

/// Adds (or, with `SUB`, takes away) `Σ_n left[n] ⊗ right[n]` in one tile of 8 rows × `COLS` · 16 cells.
#[inline]
#[target_feature(enable = "avx512f")]
pub(crate) fn outer<const SUB: bool, const COLS: usize>(
    (left, right, stride): (&[f32], &[f32], usize),
    rows: usize,
    cells: &mut [f32],
    width: usize,
) {
    const HEIGHT: usize = 8;
    let last = (rows - 1) * stride;
    assert!(
        left.len() >= last + HEIGHT && right.len() >= last + COLS * LANES && cells.len() >= (HEIGHT - 1) * width + COLS * LANES
    );
    let mut sums = [[_mm512_setzero_ps(); COLS]; HEIGHT];
    for row in 0..rows {
        // SAFETY: row ≤ rows − 1, so both reads end within the lengths asserted above.
        let (weights, items) = unsafe {
            let from = right.as_ptr().add(row * stride);
            let items: [__m512; COLS] = std::array::from_fn(|column| _mm512_loadu_ps(from.add(column * LANES)));
            (&*left.as_ptr().add(row * stride).cast::<[f32; HEIGHT]>(), items)
        };
        for line in 0..HEIGHT {
            let weight = _mm512_set1_ps(weights[line]);
            for column in 0..COLS {
                sums[line][column] = _mm512_fmadd_ps(weight, items[column], sums[line][column]);
            }
        }
    }
    for (line, sums) in sums.into_iter().enumerate() {
        for (column, sum) in sums.into_iter().enumerate() {
            let at = line * width + column * LANES;
            let before = load(cells, at);
            store(cells, at, if SUB { _mm512_sub_ps(before, sum) } else { _mm512_add_ps(before, sum) });
        }
    }
}

/// Rows become columns.
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
        let (low, low_next) =
            (_mm512_shuffle_f32x4::<0x44>(fours[j], fours[4 + j]), _mm512_shuffle_f32x4::<0x44>(fours[8 + j], fours[12 + j]));
        let (high, high_next) =
            (_mm512_shuffle_f32x4::<0xEE>(fours[j], fours[4 + j]), _mm512_shuffle_f32x4::<0xEE>(fours[8 + j], fours[12 + j]));
        columns[j] = _mm512_shuffle_f32x4::<0x88>(low, low_next);
        columns[4 + j] = _mm512_shuffle_f32x4::<0xDD>(low, low_next);
        columns[8 + j] = _mm512_shuffle_f32x4::<0x88>(high, high_next);
        columns[12 + j] = _mm512_shuffle_f32x4::<0xDD>(high, high_next);
    }
    columns
}

/// Sixteen rows from dimension `from` on, scaled by dimension, as sixteen rows of `out` from lane `at` on, `width` apart.
#[inline]
#[target_feature(enable = "avx512f")]
pub(crate) fn gather(sources: &[&[f32]; LANES], scales: &[f32], out: &mut [f32], (at, width): (usize, usize)) {
    for from in (0..scales.len() / LANES * LANES).step_by(LANES) {
        let scale = load(scales, from);
        let columns = transpose(std::array::from_fn(|row| _mm512_mul_ps(load(sources[row], from), scale)));
        columns.into_iter().enumerate().for_each(|(row, column)| store(out, (from + row) * width + at, column));
    }
}

/// One step of the elimination in a diagonal block: row `P` leaves those below it.
#[inline]
#[target_feature(enable = "avx512f")]
fn eliminate<const P: usize>(block: &mut Block, inverse: &mut [f32; LANES], diagonal: &mut [f32; LANES]) {
    let mut line = [0f32; LANES];
    store(&mut line, 0, block[P]);
    diagonal[P] = line[P];
    inverse[P] = 1.0 / line[P];
    let scaled = _mm512_mul_ps(block[P], _mm512_set1_ps(inverse[P]));
    macro_rules! rows {
        ($($row:literal)*) => {
            $(if $row > P { block[$row] = _mm512_fnmadd_ps(lane::<$row>(scaled), block[P], block[$row]); })*
        };
    }
    rows!(1 2 3 4 5 6 7 8 9 10 11 12 13 14 15);
}

macro_rules! each {
    ($call:ident $arguments:tt: $($number:literal)*) => { $($call::<$number> $arguments;)* };
}

/// Factors the 16 rows of a panel from column `start` on, in place: U = D^-½ (eliminated rows), the diagonal replaced by its inverse.
/// Returns false if a pivot is not positive.
#[inline]
#[target_feature(enable = "avx512f")]
pub(crate) fn factor(panel: &mut [f32], size: usize, start: usize) -> bool {
    let mut block: Block = std::array::from_fn(|row| load(panel, row * size + start));
    let (mut inverse, mut diagonal) = ([0f32; LANES], [0f32; LANES]);
    each!(eliminate(&mut block, &mut inverse, &mut diagonal): 0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15);
    if diagonal.iter().any(|&pivot| !(pivot > 0.0 && pivot.is_finite())) {
        return false;
    }
    let scale = diagonal.map(|pivot| 1.0 / pivot.sqrt());
    // The multipliers of the elimination: row p holds u_pr / u_pp.
    let mut multipliers = [[0f32; LANES]; LANES];
    for row in 0..LANES {
        store(&mut multipliers[row], 0, _mm512_mul_ps(block[row], _mm512_set1_ps(inverse[row])));
        store(panel, row * size + start, _mm512_mul_ps(block[row], _mm512_set1_ps(scale[row])));
        panel[row * size + start + row] = scale[row];
    }
    for from in (start + LANES..size).step_by(LANES) {
        let mut rows: Block = std::array::from_fn(|row| load(panel, row * size + from));
        each!(below(&mut rows, &multipliers): 0 1 2 3 4 5 6 7 8 9 10 11 12 13 14);
        for row in 0..LANES {
            store(panel, row * size + from, _mm512_mul_ps(rows[row], _mm512_set1_ps(scale[row])));
        }
    }
    true
}

/// One step of the elimination in a block right of the diagonal.
#[inline]
#[target_feature(enable = "avx512f")]
fn below<const P: usize>(rows: &mut Block, multipliers: &[[f32; LANES]; LANES]) {
    macro_rules! rows {
        ($($row:literal)*) => {
            $(if $row > P { rows[$row] = _mm512_fnmadd_ps(_mm512_set1_ps(multipliers[P][$row]), rows[P], rows[$row]); })*
        };
    }
    rows!(1 2 3 4 5 6 7 8 9 10 11 12 13 14 15);
}

/// The sums of the lanes of sixteen vectors, added in the order of the portable dot product.
#[inline]
#[target_feature(enable = "avx512f")]
fn totals(rows: Block) -> __m512 {
    let lanes = transpose(rows);
    let eight: [__m512; 8] = std::array::from_fn(|at| _mm512_add_ps(lanes[at], lanes[at + 8]));
    let four: [__m512; 4] = std::array::from_fn(|at| _mm512_add_ps(eight[at], eight[at + 4]));
    _mm512_add_ps(_mm512_add_ps(four[0], four[2]), _mm512_add_ps(four[1], four[3]))
}

/// The inner products of sixteen rows, `stride` apart, with as many whole lanes of a vector.
#[inline]
#[target_feature(enable = "avx512f")]
fn products(rows: &[f32], stride: usize, vector: &[f32]) -> __m512 {
    let mut sums = [_mm512_setzero_ps(); LANES];
    for from in (0..vector.len()).step_by(LANES) {
        let weight = load(vector, from);
        for (row, sum) in sums.iter_mut().enumerate() {
            *sum = _mm512_fmadd_ps(load(rows, row * stride + from), weight, *sum);
        }
    }
    totals(sums)
}

/// The inner products of whole groups of sixteen rows with a vector of whole lanes. Returns how many rows that were.
#[inline]
#[target_feature(enable = "avx512f")]
pub(crate) fn dots(rows: &[f32], vector: &[f32], out: &mut [f32]) -> usize {
    let whole = out.len() / LANES * LANES;
    for row in (0..whole).step_by(LANES) {
        store(out, row, products(&rows[row * vector.len()..], vector.len(), vector));
    }
    whole
}

#[inline]
#[target_feature(enable = "avx512f")]
fn forward<const P: usize>(b: &mut __m512, solved: &mut [f32; LANES], panel: &[f32], (size, start): (usize, usize)) {
    let value = _mm512_mul_ps(lane::<P>(*b), _mm512_set1_ps(panel[P * size + start + P]));
    let mut lanes = [0f32; LANES];
    store(&mut lanes, 0, value);
    solved[P] = lanes[P];
    *b = _mm512_fnmadd_ps(value, load(panel, P * size + start), *b);
}

#[inline]
#[target_feature(enable = "avx512f")]
fn backward<const P: usize>(b: &mut __m512, solved: &mut [f32; LANES], columns: &Block) {
    let value = _mm512_mul_ps(lane::<P>(*b), lane::<P>(columns[P]));
    let mut lanes = [0f32; LANES];
    store(&mut lanes, 0, value);
    solved[P] = lanes[P];
    *b = _mm512_fnmadd_ps(value, columns[P], *b);
}

/// Solves UᵀU x = b in place; the diagonal of `matrix` holds 1 / u_pp.
#[inline]
#[target_feature(enable = "avx512f")]
pub(crate) fn substitute(size: usize, matrix: &[f32], b: &mut [f32]) {
    let mut solved = [0f32; LANES];
    for start in (0..size).step_by(LANES) {
        let panel = &matrix[start * size..];
        let mut own = load(b, start);
        each!(forward(&mut own, &mut solved, panel, (size, start)): 0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15);
        b[start..start + LANES].copy_from_slice(&solved);
        for from in (start + LANES..size).step_by(LANES) {
            let mut rest = load(b, from);
            for (row, &value) in solved.iter().enumerate() {
                rest = _mm512_fnmadd_ps(_mm512_set1_ps(value), load(panel, row * size + from), rest);
            }
            store(b, from, rest);
        }
    }
    for start in (0..size).step_by(LANES).rev() {
        let (panel, next) = (&matrix[start * size..], start + LANES);
        let mut own = load(b, start);
        if next < size {
            own = _mm512_sub_ps(own, products(&panel[next..], size, &b[next..size]));
        }
        let columns = transpose(std::array::from_fn(|row| load(panel, row * size + start)));
        each!(backward(&mut own, &mut solved, &columns): 15 14 13 12 11 10 9 8 7 6 5 4 3 2 1 0);
        b[start..next].copy_from_slice(&solved);
    }
}

/// Solves UᵀU X = B in place, B `size × width` with whole lanes; the diagonal of `matrix` holds 1 / u_pp.
#[inline]
#[target_feature(enable = "avx512f")]
pub(crate) fn substitute_all(size: usize, matrix: &[f32], b: &mut [f32], width: usize) {
    let cell = |row: usize, column: usize| _mm512_set1_ps(matrix[row * size + column]);
    for column in (0..width).step_by(LANES) {
        let place = |row: usize| row * width + column;
        for row in 0..size {
            let own = _mm512_mul_ps(load(b, place(row)), cell(row, row));
            store(b, place(row), own);
            for other in row + 1..size {
                let rest = _mm512_fnmadd_ps(cell(row, other), own, load(b, place(other)));
                store(b, place(other), rest);
            }
        }
        for row in (0..size).rev() {
            let mut own = load(b, place(row));
            // The last row first: the one that was just solved is waited for at the end.
            for other in (row + 1..size).rev() {
                own = _mm512_fnmadd_ps(cell(row, other), load(b, place(other)), own);
            }
            store(b, place(row), _mm512_mul_ps(own, cell(row, row)));
        }
    }
}

/// See `kernels::largest`: eight rows at a time with sixteen columns.
#[inline]
#[target_feature(enable = "avx512f")]
pub(crate) fn largest(rows: &[f32], (which, weights): (&[u32], &[f32]), table: &[f32], (own, best): (&[u32], &mut [u32])) {
    const TOGETHER: usize = 8;
    let width = own.len();
    let depth = table.len() / width.max(1);
    let whole = own.as_chunks::<LANES>().0.iter().zip(best.as_chunks_mut::<LANES>().0);
    for (block, (own, best)) in whole.enumerate() {
        // SAFETY: both hold 16 numbers; the loads need no alignment.
        let (own, mut found) = unsafe { (_mm512_loadu_si512(own.as_ptr().cast()), _mm512_loadu_si512(best.as_ptr().cast())) };
        let mut most = _mm512_setzero_ps();
        for (some, weights) in which.chunks(TOGETHER).zip(weights.chunks(TOGETHER)) {
            let row = |at: usize| &rows[some[at.min(some.len() - 1)] as usize * depth..][..depth];
            let sources: [&[f32]; TOGETHER] = std::array::from_fn(row);
            let mut parts = [_mm512_setzero_ps(); TOGETHER];
            for d in 0..depth {
                let cells = load(table, d * width + block * LANES);
                for (part, source) in parts.iter_mut().zip(&sources) {
                    *part = _mm512_fmadd_ps(_mm512_set1_ps(source[d]), cells, *part);
                }
            }
            for ((part, &source), &weight) in parts.into_iter().zip(some).zip(weights) {
                let part = _mm512_mul_ps(part, _mm512_set1_ps(weight));
                let source = _mm512_set1_epi32(source as i32);
                let more = _mm512_cmp_ps_mask::<_CMP_GT_OQ>(part, most) & _mm512_cmpneq_epi32_mask(source, own);
                most = _mm512_mask_mov_ps(most, more, part);
                found = _mm512_mask_mov_epi32(found, more, source);
            }
        }
        // SAFETY: as above.
        unsafe { _mm512_storeu_si512(best.as_mut_ptr().cast(), found) };
    }
}
