//! Rows of a table, wherever they lie: added up, copied, or laid side by side as columns.

#[cfg(target_arch = "x86_64")]
use super::avx512;
use super::simd::{LANES, dispatch, multiply_add};

dispatch! {
    /// Adds `Σ_n weights[n] · rows[which[n]]` to `out`. Rows are as long as `out`.
    add_rows, add_rows_body, (rows: &[f32], which: &[u32], weights: &[f32], out: &mut [f32])
}
dispatch! {
    /// Copies rows and scales them: `out[n] = scales[n] · rows[which[n]]`. `out` is the output and
    /// the length of a row of `rows`. Rows of the output may be longer: their ends become zero.
    copy_rows, copy_rows_body,
    (rows: &[f32], which: &[u32], scales: &[f32], out: (&mut [f32], usize))
}
dispatch! {
    /// Writes rows as columns, scaled by dimension: `out[d][n] = scales[d] · rows[which[n]][d]`.
    /// Rows are as long as `scales`. The rows of `out` are a multiple of 16 long, and what lies
    /// right of the last column becomes zero.
    gather, gather_body, (rows: &[f32], which: &[u32], scales: &[f32], out: &mut [f32])
}

/// A row is requested from memory so many rows before it is read, because the rows lie anywhere.
const PREFETCH_DISTANCE: usize = 16;

/// Requests the row that is read [`PREFETCH_DISTANCE`] rows after position `at` of `which`.
#[inline(always)]
pub(super) fn prefetch_row(rows: &[f32], length: usize, which: &[u32], at: usize) {
    let Some(&row) = which.get(at + PREFETCH_DISTANCE) else {
        return;
    };
    let values = &rows[row as usize * length..][..length];
    #[cfg(target_arch = "x86_64")]
    for cache_line in values.chunks(64 / size_of::<f32>()) {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        // SAFETY: a prefetch reads nothing.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(cache_line.as_ptr().cast()) };
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = values;
}

#[inline(always)]
fn add_rows_body<const FMA: bool, const WIDE: bool>(
    rows: &[f32],
    which: &[u32],
    weights: &[f32],
    out: &mut [f32],
) {
    let width = out.len();
    for (at, (&row, &weight)) in which.iter().zip(weights).enumerate() {
        prefetch_row(rows, width, which, at);
        let row = &rows[row as usize * width..][..width];
        for (sum, &value) in out.iter_mut().zip(row) {
            *sum = multiply_add::<FMA>(weight, value, *sum);
        }
    }
}

#[inline(always)]
fn copy_rows_body<const FMA: bool, const WIDE: bool>(
    rows: &[f32],
    which: &[u32],
    scales: &[f32],
    (out, depth): (&mut [f32], usize),
) {
    let width = out.len() / which.len().max(1);
    for ((&row, &scale), out) in which.iter().zip(scales).zip(out.chunks_exact_mut(width)) {
        let (copy, padding) = out.split_at_mut(depth);
        let source = &rows[row as usize * depth..][..depth];
        for (target, &value) in copy.iter_mut().zip(source) {
            *target = scale * value;
        }
        padding.fill(0.0);
    }
}

#[inline(always)]
fn gather_body<const FMA: bool, const WIDE: bool>(
    rows: &[f32],
    which: &[u32],
    scales: &[f32],
    out: &mut [f32],
) {
    let depth = scales.len();
    let width = out.len() / depth;
    for (block, which) in which.chunks(LANES).enumerate() {
        let column = block * LANES;
        // Lanes past the end repeat the last row and are wiped afterwards: the loop has no branch.
        let sources: [&[f32]; LANES] = std::array::from_fn(|lane| {
            let row = which[lane.min(which.len() - 1)] as usize;
            &rows[row * depth..][..depth]
        });
        let done = gather_whole_blocks::<WIDE>(&sources, scales, out, (column, width));
        for (d, &scale) in scales.iter().enumerate().skip(done) {
            let cells = &mut out[d * width + column..][..LANES];
            for (cell, source) in cells.iter_mut().zip(&sources) {
                *cell = source[d] * scale;
            }
        }
        if which.len() < LANES {
            for row in out.chunks_exact_mut(width) {
                row[column + which.len()..].fill(0.0);
            }
        }
    }
}

/// Gathers the dimensions that make whole blocks of 16 with AVX-512, where the body is compiled for
/// it. Returns how many dimensions are done.
#[inline(always)]
fn gather_whole_blocks<const WIDE: bool>(
    sources: &[&[f32]; LANES],
    scales: &[f32],
    out: &mut [f32],
    (column, width): (usize, usize),
) -> usize {
    #[cfg(target_arch = "x86_64")]
    if WIDE {
        // SAFETY: `WIDE` is true only where `dispatch` compiles for AVX-512.
        unsafe { avx512::gather(sources, scales, out, (column, width)) };
        return scales.len() / LANES * LANES;
    }
    let _ = (sources, scales, out, column, width);
    0
}
