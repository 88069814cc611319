//! Inner products of one vector with many rows.

#[cfg(target_arch = "x86_64")]
use super::avx512;
use super::rows::prefetch_row;
use super::simd::{LANES, dispatch, multiply_add};

dispatch! {
    /// Writes the inner product of each row with `vector` to `out`. Rows are as long as `vector`,
    /// and `out` has one number for each of them.
    dots, dots_body, (rows: &[f32], vector: &[f32], out: &mut [f32])
}
dispatch! {
    /// Writes the inner products of `query` with the rows `which` to `out`: the same bits as
    /// [`dots`].
    dot_rows, dot_rows_body, (rows: &[f32], which: &[u32], query: &[f32], out: &mut [f32])
}

/// Returns the inner product of two vectors of equal length, in 16 running sums and without fused
/// multiply-add: the same bits at every call site and on every machine.
pub fn dot(a: &[f32], b: &[f32]) -> f32 {
    dot_body::<false>(a, b)
}

/// Rows that are multiplied at a time: one sum after the other would wait for itself.
const ROWS_AT_ONCE: usize = 4;

/// The sum of all lanes: half of them are added to the other half until one is left.
#[inline(always)]
fn sum_of_lanes(mut lanes: [f32; LANES]) -> f32 {
    let mut width = LANES / 2;
    while width > 0 {
        for lane in 0..width {
            lanes[lane] += lanes[lane + width];
        }
        width /= 2;
    }
    lanes[0]
}

#[inline(always)]
pub(super) fn dot_body<const FMA: bool>(a: &[f32], b: &[f32]) -> f32 {
    let mut sums = [0f32; LANES];
    let (a_chunks, a_rest) = a.as_chunks::<LANES>();
    let (b_chunks, b_rest) = b.as_chunks::<LANES>();
    for (x, y) in a_chunks.iter().zip(b_chunks) {
        for ((sum, &x), &y) in sums.iter_mut().zip(x).zip(y) {
            *sum = multiply_add::<FMA>(x, y, *sum);
        }
    }
    let rest = a_rest
        .iter()
        .zip(b_rest)
        .fold(0.0, |sum, (&x, &y)| multiply_add::<FMA>(x, y, sum));
    sum_of_lanes(sums) + rest
}

#[inline(always)]
fn dots_body<const FMA: bool, const WIDE: bool>(rows: &[f32], vector: &[f32], out: &mut [f32]) {
    let depth = vector.len();
    let done = dots_of_sixteens::<WIDE>(rows, vector, out);
    let rows = &rows[done * depth..];
    let (fours, rest) = out[done..].as_chunks_mut::<ROWS_AT_ONCE>();
    let rest_from = fours.len() * ROWS_AT_ONCE * depth;
    for (rows, out) in rows.chunks_exact(ROWS_AT_ONCE * depth).zip(fours) {
        dots_of_four::<FMA>(rows, vector, out);
    }
    for (row, out) in rows[rest_from..].chunks_exact(depth).zip(rest) {
        *out = dot_body::<FMA>(row, vector);
    }
}

/// The inner products of four rows: for each the operations of [`dot_body`] in the same order. The
/// compiler finds vector code for it only if the end of a row is added in the same function.
#[inline(always)]
fn dots_of_four<const FMA: bool>(rows: &[f32], vector: &[f32], out: &mut [f32; ROWS_AT_ONCE]) {
    let depth = vector.len();
    let rows: [&[f32]; ROWS_AT_ONCE] = std::array::from_fn(|row| &rows[row * depth..][..depth]);
    let (chunks, vector_rest) = vector.as_chunks::<LANES>();
    let mut sums = [[0f32; LANES]; ROWS_AT_ONCE];
    for (at, chunk) in chunks.iter().enumerate() {
        for (sums, row) in sums.iter_mut().zip(&rows) {
            let values = &row[at * LANES..][..LANES];
            for ((sum, &x), &y) in sums.iter_mut().zip(values).zip(chunk) {
                *sum = multiply_add::<FMA>(x, y, *sum);
            }
        }
    }
    for ((out, sums), row) in out.iter_mut().zip(sums).zip(rows) {
        let rest = row[chunks.len() * LANES..]
            .iter()
            .zip(vector_rest)
            .fold(0.0, |sum, (&x, &y)| multiply_add::<FMA>(x, y, sum));
        *out = sum_of_lanes(sums) + rest;
    }
}

/// Multiplies whole groups of 16 rows with AVX-512, where the body is compiled for it and a row is
/// whole lanes long. Returns how many rows are done.
#[inline(always)]
fn dots_of_sixteens<const WIDE: bool>(rows: &[f32], vector: &[f32], out: &mut [f32]) -> usize {
    #[cfg(target_arch = "x86_64")]
    if WIDE && vector.len().is_multiple_of(LANES) {
        // SAFETY: `WIDE` is true only where `dispatch` compiles for AVX-512.
        return unsafe { avx512::dots(rows, vector, out) };
    }
    let _ = (rows, vector, out);
    0
}

#[inline(always)]
fn dot_rows_body<const FMA: bool, const WIDE: bool>(
    rows: &[f32],
    which: &[u32],
    query: &[f32],
    out: &mut [f32],
) {
    let depth = query.len();
    for (at, (&row, out)) in which.iter().zip(out).enumerate() {
        prefetch_row(rows, depth, which, at);
        *out = dot_body::<FMA>(&rows[row as usize * depth..][..depth], query);
    }
}
