//! The inner loops that everything else waits for, compiled for the widest vectors the processor has.
//!
//! Each loop is written once as portable Rust over fixed-size lanes, which the compiler turns into vector code;
//! it is compiled three times (portable, AVX2 with FMA, AVX-512) and chosen at run time. Every lane adds in the same
//! order whatever the width, so AVX2 and AVX-512 give the same bits, and one query gives the same bits as a batch.

#[cfg(target_arch = "x86_64")]
use crate::avx512;
use rayon::prelude::*;

/// Items scored side by side: the width of a panel.
pub const LANES: usize = 16;
/// Rows of a tile of the Gram kernel.
const TILE: usize = 4;

/// The vector instructions in use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Simd {
    /// Whatever the compiler's baseline has.
    Portable,
    /// 8 lanes with fused multiply-add.
    Avx2,
    /// 16 lanes with fused multiply-add.
    Avx512,
}

/// The best that this processor has.
pub fn simd() -> Simd {
    #[cfg(target_arch = "x86_64")]
    {
        if is_x86_feature_detected!("avx512f") && is_x86_feature_detected!("avx512vl") && is_x86_feature_detected!("fma") {
            return Simd::Avx512;
        }
        if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") && is_x86_feature_detected!("popcnt") {
            return Simd::Avx2;
        }
    }
    Simd::Portable
}

#[inline(always)]
fn madd<const FMA: bool>(a: f32, b: f32, sum: f32) -> f32 {
    if FMA { a.mul_add(b, sum) } else { a * b + sum }
}

/// Adds (or, with `SUB`, takes away) `Σ_n left[n] ⊗ right[n]` in one tile of 4 × 16 cells. The rows of `left` and
/// `right` start `stride` apart; `cells` starts at the tile's first cell and its rows are `width` apart.
#[inline(always)]
fn outer<const FMA: bool, const SUB: bool>(
    (left, right, stride): (&[f32], &[f32], usize),
    rows: usize,
    cells: &mut [f32],
    width: usize,
) {
    let mut sums = [[0f32; LANES]; TILE];
    for row in 0..rows {
        let (Some(weights), Some(items)) =
            (left[row * stride..].first_chunk::<TILE>(), right[row * stride..].first_chunk::<LANES>())
        else {
            return;
        };
        for (sum, &weight) in sums.iter_mut().zip(weights) {
            for (total, &item) in sum.iter_mut().zip(items) {
                *total = madd::<FMA>(weight, item, *total);
            }
        }
    }
    for (line, sum) in sums.iter().enumerate() {
        let target = &mut cells[line * width..][..LANES];
        for (cell, sum) in target.iter_mut().zip(sum) {
            *cell = if SUB { *cell - sum } else { *cell + sum };
        }
    }
}

/// The tiles of the upper triangle, from row and column `start` (a multiple of 16) on. `left` and `right` begin at that column.
#[inline(always)]
fn outers<const FMA: bool, const WIDE: bool, const SUB: bool>(
    (left, right, stride): (&[f32], &[f32], usize),
    rows: usize,
    matrix: &mut [f32],
    (width, start): (usize, usize),
) {
    if rows == 0 {
        return;
    }
    // Sixteen running sums hide the latency of a fused multiply-add where there are registers for them.
    let height = if WIDE && cfg!(target_arch = "x86_64") { 2 * TILE } else { TILE };
    for top in (start..width).step_by(height) {
        let mut from = top / LANES * LANES;
        while from < width {
            let operands = (&left[top - start..], &right[from - start..], stride);
            let cells = &mut matrix[(top - start) * width + from..];
            #[cfg(target_arch = "x86_64")]
            if WIDE {
                // SAFETY: `WIDE` is true in the AVX-512 twin of the dispatch alone.
                unsafe {
                    if from + 2 * LANES <= width {
                        avx512::outer::<SUB, 2>(operands, rows, cells, width);
                        from += LANES;
                    } else {
                        avx512::outer::<SUB, 1>(operands, rows, cells, width);
                    }
                }
                from += LANES;
                continue;
            }
            outer::<FMA, SUB>(operands, rows, cells, width);
            from += LANES;
        }
    }
}

#[inline(always)]
fn gram_body<const FMA: bool, const WIDE: bool>(left: &[f32], right: &[f32], width: usize, matrix: &mut [f32]) {
    outers::<FMA, WIDE, false>((left, right, width), left.len() / width, matrix, (width, 0));
}

/// Right-looking Cholesky factorisation A = UᵀU in blocks of 16 rows, in place in the upper triangle; the diagonal holds 1 / u_pp.
#[inline(always)]
fn solve_body<const FMA: bool, const WIDE: bool>(size: usize, matrix: &mut [f32], b: &mut [f32]) -> bool {
    for start in (0..size).step_by(LANES) {
        let next = start + LANES;
        let (panel, trailing) = matrix[start * size..].split_at_mut(LANES * size);
        if !factor::<FMA, WIDE>(panel, size, start) {
            return false;
        }
        if next < size {
            let operand = &panel[next..];
            outers::<FMA, WIDE, true>((operand, operand, size), LANES, trailing, (size, next));
        }
    }
    substitute_body::<FMA, WIDE>(size, matrix, b);
    true
}

/// Factors the 16 rows of a panel from column `start` on. Rows are eliminated by u_pr / u_pp and scaled by 1 / √pivot afterwards:
/// no square root waits in the chain from pivot to pivot.
#[inline(always)]
fn factor<const FMA: bool, const WIDE: bool>(panel: &mut [f32], size: usize, start: usize) -> bool {
    #[cfg(target_arch = "x86_64")]
    if WIDE {
        // SAFETY: `WIDE` is true in the AVX-512 twin of the dispatch alone.
        return unsafe { avx512::factor(panel, size, start) };
    }
    let mut scales = [0f32; LANES];
    for pivot in 0..LANES {
        let (done, below) = panel.split_at_mut((pivot + 1) * size);
        let own = &done[pivot * size + start..];
        let diagonal = own[pivot];
        if !(diagonal > 0.0 && diagonal.is_finite()) {
            return false;
        }
        let inverse = 1.0 / diagonal;
        scales[pivot] = 1.0 / diagonal.sqrt();
        for (row, cells) in below.chunks_exact_mut(size).enumerate() {
            let factor = -(own[pivot + 1 + row] * inverse);
            for (cell, &value) in cells[start..].iter_mut().zip(own) {
                *cell = madd::<FMA>(factor, value, *cell);
            }
        }
    }
    for (pivot, scale) in scales.into_iter().enumerate() {
        let own = &mut panel[pivot * size + start..(pivot + 1) * size];
        own.iter_mut().for_each(|cell| *cell *= scale);
        own[pivot] = scale;
    }
    true
}

/// Solves for `b` in place, given the Cholesky factor that [`solve`] left in `matrix`.
#[inline(always)]
fn substitute_body<const FMA: bool, const WIDE: bool>(size: usize, matrix: &[f32], b: &mut [f32]) {
    #[cfg(target_arch = "x86_64")]
    if WIDE {
        // SAFETY: `WIDE` is true in the AVX-512 twin of the dispatch alone.
        return unsafe { avx512::substitute(size, matrix, b) };
    }
    // Uᵀ z = b, by columns of Uᵀ, which are rows of U.
    for row in 0..size {
        let line = &matrix[row * size + row..(row + 1) * size];
        let value = b[row] * line[0];
        b[row] = value;
        for (target, &cell) in b[row + 1..].iter_mut().zip(&line[1..]) {
            *target = madd::<FMA>(-value, cell, *target);
        }
    }
    // U x = z, in blocks of 16 rows: first what the later blocks take away, then column by column.
    for start in (0..size).step_by(LANES).rev() {
        let next = start + LANES;
        let (own, later) = b.split_at_mut(next);
        let own = &mut own[start..];
        for (row, value) in own.iter_mut().enumerate().filter(|_| next < size) {
            *value -= dot_body::<FMA>(&matrix[(start + row) * size + next..(start + row + 1) * size], later);
        }
        for column in (0..LANES).rev() {
            let value = own[column] * matrix[(start + column) * size + start + column];
            own[column] = value;
            for (row, target) in own[..column].iter_mut().enumerate() {
                *target = madd::<FMA>(-value, matrix[(start + row) * size + start + column], *target);
            }
        }
    }
}

#[inline(always)]
fn substitute_all_body<const FMA: bool, const WIDE: bool>(size: usize, matrix: &[f32], (b, width): (&mut [f32], usize)) {
    #[cfg(target_arch = "x86_64")]
    if WIDE {
        // SAFETY: `WIDE` is true in the AVX-512 twin of the dispatch alone.
        return unsafe { avx512::substitute_all(size, matrix, b, width) };
    }
    for row in 0..size {
        let line = &matrix[row * size..][..size];
        let (own, below) = b[row * width..size * width].split_at_mut(width);
        own.iter_mut().for_each(|value| *value *= line[row]);
        for (target, &cell) in below.chunks_exact_mut(width).zip(&line[row + 1..]) {
            target.iter_mut().zip(own.iter()).for_each(|(target, &value)| *target = madd::<FMA>(-cell, value, *target));
        }
    }
    for row in (0..size).rev() {
        let line = &matrix[row * size..][..size];
        let (own, below) = b[row * width..size * width].split_at_mut(width);
        for (cells, &cell) in below.chunks_exact(width).zip(&line[row + 1..]).rev() {
            own.iter_mut().zip(cells).for_each(|(target, &value)| *target = madd::<FMA>(-cell, value, *target));
        }
        own.iter_mut().for_each(|value| *value *= line[row]);
    }
}

#[inline(always)]
fn largest_body<const FMA: bool, const WIDE: bool>(
    rows: &[f32],
    (which, weights): (&[u32], &[f32]),
    table: &[f32],
    (own, best): (&[u32], &mut [u32]),
) {
    let width = own.len();
    #[cfg(target_arch = "x86_64")]
    if WIDE {
        // SAFETY: `WIDE` is true in the AVX-512 twin of the dispatch alone.
        return unsafe { avx512::largest(rows, (which, weights), table, (own, best)) };
    }
    let depth = table.len() / width.max(1);
    let (mut most, mut parts) = (vec![0f32; width], vec![0f32; width]);
    for (&source, &weight) in which.iter().zip(weights) {
        parts.fill(0.0);
        for (&value, cells) in rows[source as usize * depth..][..depth].iter().zip(table.chunks_exact(width)) {
            parts.iter_mut().zip(cells).for_each(|(part, &cell)| *part = madd::<FMA>(value, cell, *part));
        }
        for (((part, most), best), &own) in parts.iter().zip(&mut most).zip(best.iter_mut()).zip(own) {
            if part * weight > *most && source != own {
                (*most, *best) = (part * weight, source);
            }
        }
    }
}

#[inline(always)]
fn dot_body<const FMA: bool>(a: &[f32], b: &[f32]) -> f32 {
    let mut sums = [0f32; LANES];
    let (a_chunks, a_rest) = a.as_chunks::<LANES>();
    let (b_chunks, b_rest) = b.as_chunks::<LANES>();
    for (x, y) in a_chunks.iter().zip(b_chunks) {
        for ((sum, &x), &y) in sums.iter_mut().zip(x).zip(y) {
            *sum = madd::<FMA>(x, y, *sum);
        }
    }
    // A tree, not a chain: half the lanes at a time.
    let mut width = LANES / 2;
    while width > 0 {
        for lane in 0..width {
            sums[lane] += sums[lane + width];
        }
        width /= 2;
    }
    let rest = a_rest.iter().zip(b_rest).fold(0.0, |sum, (&x, &y)| madd::<FMA>(x, y, sum));
    sums[0] + rest
}

#[inline(always)]
fn dots_body<const FMA: bool, const WIDE: bool>(rows: &[f32], vector: &[f32], out: &mut [f32]) {
    #[cfg(target_arch = "x86_64")]
    let done = match WIDE && vector.len().is_multiple_of(LANES) {
        // SAFETY: `WIDE` is true in the AVX-512 twin of the dispatch alone.
        true => unsafe { avx512::dots(rows, vector, out) },
        false => 0,
    };
    #[cfg(not(target_arch = "x86_64"))]
    let done = 0;
    for (row, out) in rows.chunks_exact(vector.len()).zip(out).skip(done) {
        *out = dot_body::<FMA>(row, vector);
    }
}

/// How many rows ahead memory is asked for: rows lie anywhere.
const AHEAD: usize = 16;

/// Asks for the memory of a slice.
#[inline(always)]
fn fetch(values: &[f32]) {
    #[cfg(target_arch = "x86_64")]
    for line in values.chunks(64 / size_of::<f32>()) {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        // SAFETY: a prefetch reads nothing.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(line.as_ptr().cast()) };
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = values;
}

#[inline(always)]
fn dot_rows_body<const FMA: bool, const WIDE: bool>(rows: &[f32], which: &[u32], query: &[f32], out: &mut [f32]) {
    let depth = query.len();
    for (at, (&row, out)) in which.iter().zip(out).enumerate() {
        if let Some(&next) = which.get(at + AHEAD) {
            fetch(&rows[next as usize * depth..][..depth]);
        }
        *out = dot_body::<FMA>(&rows[row as usize * depth..][..depth], query);
    }
}

#[inline(always)]
fn reached_by_body<const FMA: bool, const WIDE: bool>(values: &[f32], k: usize) -> f32 {
    let count = |least: f32| values.iter().map(|&value| u32::from(value >= least)).sum::<u32>() as usize;
    let (mut low, mut high) = (f32::NEG_INFINITY, f32::NEG_INFINITY);
    let (mut bottom, mut top) = (f32::INFINITY, f32::NEG_INFINITY);
    for &value in values {
        bottom = if value < bottom { value } else { bottom };
        top = if value > top { value } else { top };
    }
    if bottom.is_finite() && top.is_finite() && values.len() >= k {
        (low, high) = (bottom, top);
    }
    // Halved ten times, the range is a thousandth.
    for _ in 0..10 {
        let middle = low + (high - low) / 2.0;
        let reached = count(middle);
        if reached >= k {
            low = middle
        } else {
            high = middle
        }
        if reached >= k && reached - k <= k / 32 {
            break;
        }
    }
    low
}

#[inline(always)]
fn ln_body<const FMA: bool, const WIDE: bool>(values: &mut [f32]) {
    /// √½ as bits: a number is 2^e · m with m from √½ to √2.
    const HALF: u32 = 0x3F35_04F3;
    const TERMS: [f32; 9] = [
        7.037_683_6e-2,
        -1.151_461e-1,
        1.167_699_9e-1,
        -1.242_014_1e-1,
        1.424_932_3e-1,
        -1.666_805_7e-1,
        2.000_071_5e-1,
        -2.499_999_4e-1,
        3.333_333e-1,
    ];
    for value in values {
        let exponent = value.to_bits().wrapping_sub(HALF) as i32 >> 23;
        let over = f32::from_bits(value.to_bits().wrapping_sub((exponent << 23) as u32)) - 1.0;
        let exponent = exponent as f32;
        let square = over * over;
        let series = TERMS.iter().skip(1).fold(TERMS[0], |sum, &term| madd::<FMA>(sum, over, term));
        let small = madd::<FMA>(-0.5, square, madd::<FMA>(exponent, -2.121_944_4e-4, series * over * square));
        // ln 2 in two parts, so that e · ln 2 loses nothing.
        *value = madd::<FMA>(exponent, 355.0 / 512.0, over + small);
    }
}

#[inline(always)]
fn count_ones_body<const FMA: bool, const WIDE: bool>(words: &[u64]) -> usize {
    words.iter().map(|word| u64::from(word.count_ones())).sum::<u64>() as usize
}

#[inline(always)]
fn add_rows_body<const FMA: bool, const WIDE: bool>(rows: &[f32], which: &[u32], weights: &[f32], out: &mut [f32]) {
    let width = out.len();
    for (at, (&row, &weight)) in which.iter().zip(weights).enumerate() {
        if let Some(&next) = which.get(at + AHEAD) {
            fetch(&rows[next as usize * width..][..width]);
        }
        let row = &rows[row as usize * width..][..width];
        for (sum, &value) in out.iter_mut().zip(row) {
            *sum = madd::<FMA>(weight, value, *sum);
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
        let (own, padding) = out.split_at_mut(depth);
        own.iter_mut().zip(&rows[row as usize * depth..][..depth]).for_each(|(target, &value)| *target = scale * value);
        padding.fill(0.0);
    }
}

#[inline(always)]
fn gather_body<const FMA: bool, const WIDE: bool>(rows: &[f32], which: &[u32], scales: &[f32], out: &mut [f32]) {
    let depth = scales.len();
    let width = out.len() / depth;
    for (group, sixteen) in which.chunks(LANES).enumerate() {
        // Lanes past the end repeat the last row and are wiped afterwards, so that the loop has no branch.
        let sources: [&[f32]; LANES] = std::array::from_fn(|lane| {
            let row = sixteen[lane.min(sixteen.len() - 1)] as usize;
            &rows[row * depth..][..depth]
        });
        #[cfg(target_arch = "x86_64")]
        if WIDE {
            // SAFETY: `WIDE` is true in the AVX-512 twin of the dispatch alone.
            unsafe { avx512::gather(&sources, scales, out, (group * LANES, width)) };
        }
        let from = if WIDE { depth / LANES * LANES } else { 0 };
        for (d, &scale) in scales.iter().enumerate().skip(from) {
            let cells = &mut out[d * width + group * LANES..][..LANES];
            for (cell, source) in cells.iter_mut().zip(&sources) {
                *cell = source[d] * scale;
            }
        }
        if sixteen.len() < LANES {
            out.chunks_exact_mut(width).for_each(|row| row[group * LANES + sixteen.len()..].fill(0.0));
        }
    }
}

macro_rules! dispatch {
    ($(#[$doc:meta])* $name:ident, $body:ident, ($($arg:ident: $kind:ty),*) $(-> $out:ty)?) => {
        $(#[$doc])*
        #[inline]
        pub fn $name(simd: Simd, $($arg: $kind),*) $(-> $out)? {
            #[cfg(target_arch = "x86_64")]
            {
                #[target_feature(enable = "avx2,fma,popcnt")]
                fn avx2($($arg: $kind),*) $(-> $out)? { $body::<true, false>($($arg),*) }
                #[target_feature(enable = "avx512f,avx512vl,fma")]
                fn avx512($($arg: $kind),*) $(-> $out)? { $body::<true, true>($($arg),*) }
                match simd {
                    // SAFETY: `simd()` returns these variants only where the processor reports the features,
                    // and the features are the only condition of the bodies, those in avx512.rs included.
                    Simd::Avx512 => return unsafe { avx512($($arg),*) },
                    // SAFETY: as above.
                    Simd::Avx2 => return unsafe { avx2($($arg),*) },
                    Simd::Portable => {}
                }
            }
            let _ = simd;
            $body::<false, false>($($arg),*)
        }
    };
}

dispatch! {
    /// Adds the outer products of the rows of `left` and `right` (both `n × width`, `width` a multiple of 16)
    /// to the upper triangle of `matrix` (`width × width`); cells left of the diagonal within a tile are also written.
    gram, gram_body, (left: &[f32], right: &[f32], width: usize, matrix: &mut [f32])
}
dispatch! {
    /// Solves `matrix · x = b` for a symmetric positive definite matrix given by its upper triangle, `size` a multiple of 16;
    /// `b` becomes `x`, the matrix its Cholesky factor U (A = UᵀU). O(size³ / 6) multiply-adds. Returns false if it is not
    /// positive definite.
    solve, solve_body, (size: usize, matrix: &mut [f32], b: &mut [f32]) -> bool
}
dispatch! {
    /// Solves for many right sides with the Cholesky factor that [`solve`] left in `matrix`: `b` is `size × width`, `width` a multiple of 16.
    /// O(size² · width).
    substitute_all, substitute_all_body, (size: usize, matrix: &[f32], b: (&mut [f32], usize))
}
dispatch! {
    /// For each column of `table` (as many rows as a row of `rows` is long, a multiple of 16 columns) the row of `weighed` with the largest
    /// weight · inner product above zero, the first of equals, into the second list of `found`. The first names a row that does not count
    /// for the column. What no row exceeds stays as it was.
    largest, largest_body, (rows: &[f32], weighed: (&[u32], &[f32]), table: &[f32], found: (&[u32], &mut [u32]))
}
dispatch! {
    /// The inner product of each row of `rows` with `vector`.
    dots, dots_body, (rows: &[f32], vector: &[f32], out: &mut [f32])
}
dispatch! {
    /// The inner products of a query with chosen rows: the bits of [`dots`].
    dot_rows, dot_rows_body, (rows: &[f32], which: &[u32], query: &[f32], out: &mut [f32])
}
dispatch! {
    /// A number that at least `k` of the values reach, and few more: bisected, O(values). Minus infinity where there is none.
    reached_by, reached_by_body, (values: &[f32], k: usize) -> f32
}
dispatch! {
    /// The natural logarithm of each number, to a relative error of 10⁻⁶; numbers positive and normal. After `logf` of the Cephes library
    /// (Moshier).
    ln, ln_body, (values: &mut [f32])
}
dispatch! {
    /// How many bits are set.
    count_ones, count_ones_body, (words: &[u64]) -> usize
}
dispatch! {
    /// `out += Σ weights[n] · rows[which[n]]`, rows as long as `out`.
    add_rows, add_rows_body, (rows: &[f32], which: &[u32], weights: &[f32], out: &mut [f32])
}
dispatch! {
    /// Rows of length `depth` chosen by `which`, each scaled: `out[n] = scales[n] · rows[which[n]]`, padded with zeros to whatever length
    /// the rows of `out` have.
    copy_rows, copy_rows_body, (rows: &[f32], which: &[u32], scales: &[f32], out: (&mut [f32], usize))
}
dispatch! {
    /// Rows chosen by `which`, scaled by dimension, as columns: `out[d][n] = scales[d] · rows[which[n]][d]`. `out` holds whole lanes;
    /// lanes past the last row become zero.
    gather, gather_body, (rows: &[f32], which: &[u32], scales: &[f32], out: &mut [f32])
}

/// The inner product of two vectors of equal length, in 16 running sums: the same bits at every call site.
pub fn dot(a: &[f32], b: &[f32]) -> f32 {
    dot_body::<false>(a, b)
}

/// Sparse × dense: `matrix` times the row-major `right` of the given width.
pub(crate) fn product(matrix: &aisle_data::Csr, right: &[f32], width: usize) -> Vec<f32> {
    let simd = simd();
    let mut out = vec![0f32; matrix.rows() * width];
    out.par_chunks_mut(width).enumerate().with_min_len(64).for_each(|(row, out)| {
        let (columns, values) = matrix.row(row);
        add_rows(simd, right, columns, values, out);
    });
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbers(count: usize, seed: u64) -> Vec<f32> {
        let mut state = seed;
        (0..count)
            .map(|_| {
                state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
                ((state >> 40) as f32 / (1u64 << 24) as f32) - 0.5
            })
            .collect()
    }

    fn levels() -> Vec<Simd> {
        match simd() {
            Simd::Avx512 => vec![Simd::Portable, Simd::Avx2, Simd::Avx512],
            Simd::Avx2 => vec![Simd::Portable, Simd::Avx2],
            Simd::Portable => vec![Simd::Portable],
        }
    }

    #[test]
    fn every_width_scores_like_the_plain_sum() {
        for depth in [1, 16, 37, 64] {
            let (query, rows) = (numbers(depth, 1), numbers(20 * depth, 2));
            let which = [19, 0, 7];
            for simd in levels() {
                let (mut picked, mut all) = ([0f32; 3], [0f32; 20]);
                dot_rows(simd, &rows, &which, &query, &mut picked);
                dots(simd, &rows, &query, &mut all);
                assert_eq!(picked, which.map(|row| all[row as usize]), "picked and all differ with {simd:?}");
                for (row, score) in rows.chunks(depth).zip(all) {
                    let plain: f64 = row.iter().zip(&query).map(|(&a, &b)| f64::from(a) * f64::from(b)).sum();
                    assert!((plain - f64::from(score)).abs() < 1e-5, "{simd:?}");
                }
            }
        }
        assert!(levels().into_iter().all(|simd| count_ones(simd, &[u64::MAX, 5, 0, 1 << 63]) == 67));
    }

    #[test]
    fn logarithms_are_those_of_the_standard_library() {
        let numbers: Vec<f32> =
            (0..200_000).map(|at| 1.0001f32.powi(at - 100_000) * 1.3).filter(|value| value.is_normal()).collect();
        for level in levels() {
            let mut found = numbers.clone();
            found.extend([1.0, f32::MIN_POSITIVE, f32::MAX]);
            let expected: Vec<f32> = found.iter().map(|value| value.ln()).collect();
            ln(level, &mut found);
            for (found, expected) in found.iter().zip(expected) {
                assert!((found - expected).abs() <= 1e-6 * expected.abs().max(0.1), "{level:?}: {found} for {expected}");
            }
        }
    }

    #[test]
    fn wide_vectors_give_the_same_bits() {
        if simd() != Simd::Avx512 {
            return;
        }
        let (width, rows) = (112, 11);
        let left = numbers(rows * width, 3);
        let of = |simd| {
            let mut matrix = vec![0f32; width * width];
            gram(simd, &left, &left, width, &mut matrix);
            (0..width).for_each(|at| matrix[at * width + at] += 1.0);
            let mut x = numbers(width, 5);
            assert!(solve(simd, width, &mut matrix, &mut x));
            let upper = (0..width).flat_map(|row| matrix[row * width + row..(row + 1) * width].to_vec());
            let mut columns = vec![0f32; 37 * 32];
            gather(simd, &left, &[3, 0, 7, 2, 2, 1, 5, 4, 9, 8, 6, 1, 0, 3, 3, 7, 8, 2], &numbers(37, 6), &mut columns);
            let mut products = vec![0f32; 37];
            dots(simd, &columns, &numbers(32, 7), &mut products);
            upper.chain(x).chain(columns).chain(products).collect::<Vec<f32>>()
        };
        assert_eq!(of(Simd::Avx2), of(Simd::Avx512));
    }

    #[test]
    fn a_solved_system_gives_back_its_right_side() {
        for simd in levels() {
            for size in [16, 48, 64, 112] {
                let rows = numbers(2 * size * size, 5);
                let mut matrix = vec![0f32; size * size];
                gram(simd, &rows, &rows, size, &mut matrix);
                (0..size).for_each(|i| matrix[i * size + i] += 0.1);
                let cell = |i: usize, j: usize| f64::from(if j >= i { matrix[i * size + j] } else { matrix[j * size + i] });
                let b = numbers(size, 6);
                let (mut factor, mut x) = (matrix.clone(), b.clone());
                assert!(solve(simd, size, &mut factor, &mut x));
                let width = 32;
                let sides = numbers(size * width, 7);
                let mut solutions = sides.clone();
                substitute_all(simd, size, &factor, (&mut solutions, width));
                let solved = |expected: f32, i: usize, x: &dyn Fn(usize) -> f32| {
                    let found: f64 = (0..size).map(|j| cell(i, j) * f64::from(x(j))).sum();
                    assert!((found - f64::from(expected)).abs() < 1e-3, "{simd:?} size {size}: {found} and {expected}");
                };
                for i in 0..size {
                    solved(b[i], i, &|j| x[j]);
                    (0..width).for_each(|column| solved(sides[i * width + column], i, &|j| solutions[j * width + column]));
                }
            }
        }
    }

    #[test]
    fn the_largest_part_is_found_for_each_column() {
        let (depth, width, count) = (37, 32, 50);
        let (rows, table, weights) = (numbers(60 * depth, 1), numbers(depth * width, 2), numbers(count, 3));
        let weights: Vec<f32> = weights.into_iter().map(f32::abs).collect();
        let which: Vec<u32> = (0..count as u32).map(|at| at + at / 7).collect();
        let own: Vec<u32> = (0..width as u32).collect();
        for simd in levels() {
            for count in [0, 1, 2, 7, count] {
                let mut found = vec![u32::MAX; width];
                largest(simd, &rows, (&which[..count], &weights[..count]), &table, (&own, &mut found));
                for column in 0..width {
                    let part = |at: usize| {
                        let row = &rows[which[at] as usize * depth..][..depth];
                        weights[at] * (0..depth).map(|d| row[d] * table[d * width + column]).sum::<f32>()
                    };
                    let parts = (0..count).filter(|&at| which[at] != own[column]).map(|at| (part(at), which[at]));
                    let best = parts.filter(|part| part.0 > 0.0).max_by(|a, b| a.0.total_cmp(&b.0));
                    assert_eq!(found[column], best.map_or(u32::MAX, |best| best.1), "{simd:?}, {count} rows, column {column}");
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
