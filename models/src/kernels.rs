//! The three inner loops that everything else waits for, compiled for the widest vectors the processor has.
//!
//! Each loop is written once as portable Rust over fixed-size lanes, which the compiler turns into vector code;
//! it is compiled three times (portable, AVX2 with FMA, AVX-512) and chosen at run time. Every lane adds in the same
//! order whatever the width, so AVX2 and AVX-512 give the same bits, and one query gives the same bits as a batch.

/// Items scored side by side: the width of a panel.
pub const LANES: usize = 16;
/// Queries, or panels, that one call of a kernel works on.
pub const TILE: usize = 4;

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
        if is_x86_feature_detected!("avx512f") && is_x86_feature_detected!("avx512vl") {
            return Simd::Avx512;
        }
        if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") {
            return Simd::Avx2;
        }
    }
    Simd::Portable
}

#[inline(always)]
fn madd<const FMA: bool>(a: f32, b: f32, sum: f32) -> f32 {
    if FMA { a.mul_add(b, sum) } else { a * b + sum }
}

/// `out[q][lane] = Σ_d queries[q][d] · panel[d][lane]`: four queries against one panel of 16 items.
#[inline(always)]
fn tile_body<const FMA: bool>(queries: [&[f32]; TILE], panel: &[f32], out: &mut [[f32; LANES]; TILE]) {
    let mut sums = [[0f32; LANES]; TILE];
    let depth = panel.len() / LANES;
    let [a, b, c, d] = queries.map(|query| &query[..depth]);
    for (step, items) in panel.as_chunks::<LANES>().0.iter().enumerate() {
        let weights = [a[step], b[step], c[step], d[step]];
        for (sum, weight) in sums.iter_mut().zip(weights) {
            for (total, &item) in sum.iter_mut().zip(items) {
                *total = madd::<FMA>(weight, item, *total);
            }
        }
    }
    *out = sums;
}

/// `out[p][lane] = Σ_d query[d] · panels[p][d][lane]`: one query against four panels.
#[inline(always)]
fn scan_body<const FMA: bool>(query: &[f32], panels: &[f32], out: &mut [[f32; LANES]; TILE]) {
    let mut sums = [[0f32; LANES]; TILE];
    let size = query.len() * LANES;
    let (first, rest) = panels.split_at(size);
    let (second, rest) = rest.split_at(size);
    let (third, fourth) = rest.split_at(size);
    let panels = [first, second, third, fourth].map(|panel| panel.as_chunks::<LANES>().0);
    let [a, b, c, d] = panels.map(|panel| &panel[..query.len()]);
    for (step, &weight) in query.iter().enumerate() {
        for (sum, items) in sums.iter_mut().zip([&a[step], &b[step], &c[step], &d[step]]) {
            for (total, &item) in sum.iter_mut().zip(items) {
                *total = madd::<FMA>(weight, item, *total);
            }
        }
    }
    *out = sums;
}

/// Adds `Σ_n left[n] ⊗ right[n]` to the lower triangle of a `width × width` matrix, in tiles of 4 rows × 16 columns.
#[inline(always)]
fn gram_body<const FMA: bool>(left: &[f32], right: &[f32], width: usize, matrix: &mut [f32]) {
    let rows = left.len() / width;
    for top in (0..width).step_by(TILE) {
        for from in (0..=top).step_by(LANES) {
            let mut sums = [[0f32; LANES]; TILE];
            for row in 0..rows {
                let start = row * width;
                let (Some(weights), Some(items)) =
                    (left[start + top..].first_chunk::<TILE>(), right[start + from..].first_chunk::<LANES>())
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
                let target = &mut matrix[(top + line) * width + from..][..LANES];
                target.iter_mut().zip(sum).for_each(|(cell, sum)| *cell += sum);
            }
        }
    }
}

/// Cholesky factorisation in place of the lower triangle (`stride` = `size`), then solves for `b` in place.
/// Returns false if the matrix is not positive definite. `column` is scratch of `size`.
#[inline(always)]
fn solve_body<const FMA: bool>(size: usize, matrix: &mut [f32], b: &mut [f32], column: &mut [f32]) -> bool {
    for pivot in 0..size {
        let diagonal = matrix[pivot * size + pivot];
        if !(diagonal > 0.0 && diagonal.is_finite()) {
            return false;
        }
        let root = diagonal.sqrt();
        let inverse = 1.0 / root;
        matrix[pivot * size + pivot] = root;
        for row in pivot + 1..size {
            let value = matrix[row * size + pivot] * inverse;
            matrix[row * size + pivot] = value;
            column[row] = value;
        }
        for row in pivot + 1..size {
            let factor = -column[row];
            let line = &mut matrix[row * size + pivot + 1..=row * size + row];
            for (cell, &value) in line.iter_mut().zip(&column[pivot + 1..=row]) {
                *cell = madd::<FMA>(factor, value, *cell);
            }
        }
    }
    substitute_body::<FMA>(size, matrix, b);
    true
}

/// Solves for `b` in place, given the Cholesky factor that [`solve`] left in `matrix`.
#[inline(always)]
fn substitute_body<const FMA: bool>(size: usize, matrix: &[f32], b: &mut [f32]) {
    // L z = b, by rows: a dot product in 16 running sums.
    for row in 0..size {
        let line = &matrix[row * size..row * size + row];
        let mut sums = [0f32; LANES];
        let (chunks, rest) = line.as_chunks::<LANES>();
        let (known, known_rest) = b[..row].as_chunks::<LANES>();
        for (chunk, values) in chunks.iter().zip(known) {
            for ((sum, &cell), &value) in sums.iter_mut().zip(chunk).zip(values) {
                *sum = madd::<FMA>(cell, value, *sum);
            }
        }
        let mut dot: f32 = sums.iter().sum();
        for (&cell, &value) in rest.iter().zip(known_rest) {
            dot = madd::<FMA>(cell, value, dot);
        }
        b[row] = (b[row] - dot) / matrix[row * size + row];
    }
    // Lᵀ x = z, by columns of Lᵀ, which are rows of L.
    for row in (0..size).rev() {
        let value = b[row] / matrix[row * size + row];
        b[row] = value;
        let line = &matrix[row * size..row * size + row];
        for (target, &cell) in b[..row].iter_mut().zip(line) {
            *target = madd::<FMA>(-value, cell, *target);
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
                #[target_feature(enable = "avx2,fma")]
                fn avx2($($arg: $kind),*) $(-> $out)? { $body::<true>($($arg),*) }
                #[target_feature(enable = "avx512f,avx512vl,fma")]
                fn avx512($($arg: $kind),*) $(-> $out)? { $body::<true>($($arg),*) }
                match simd {
                    // SAFETY: `simd()` returns these variants only where the processor reports the features,
                    // and the bodies are safe code: the features are the only condition of the call.
                    Simd::Avx512 => return unsafe { avx512($($arg),*) },
                    // SAFETY: as above.
                    Simd::Avx2 => return unsafe { avx2($($arg),*) },
                    Simd::Portable => {}
                }
            }
            let _ = simd;
            $body::<false>($($arg),*)
        }
    };
}

dispatch! {
    /// Scores four queries against one panel of 16 items, `panel[d][lane]`.
    tile, tile_body, (queries: [&[f32]; TILE], panel: &[f32], out: &mut [[f32; LANES]; TILE])
}
dispatch! {
    /// Scores one query against four panels of 16 items each.
    scan, scan_body, (query: &[f32], panels: &[f32], out: &mut [[f32; LANES]; TILE])
}
dispatch! {
    /// Adds the outer products of the rows of `left` and `right` (both `n × width`, `width` a multiple of 16)
    /// to the lower triangle of `matrix` (`width × width`); cells right of the diagonal within a tile are also written.
    gram, gram_body, (left: &[f32], right: &[f32], width: usize, matrix: &mut [f32])
}
dispatch! {
    /// Solves `matrix · x = b` for a symmetric positive definite matrix given by its lower triangle; `b` becomes `x`,
    /// the matrix its Cholesky factor. O(size³ / 3). Returns false if it is not positive definite.
    solve, solve_body, (size: usize, matrix: &mut [f32], b: &mut [f32], column: &mut [f32]) -> bool
}

dispatch! {
    /// Solves for another right side with the Cholesky factor that [`solve`] left in `matrix`. O(size²).
    substitute, substitute_body, (size: usize, matrix: &[f32], b: &mut [f32])
}

/// The inner product of two vectors of equal length, in 16 running sums: the same bits at every call site.
pub fn dot(a: &[f32], b: &[f32]) -> f32 {
    let mut sums = [0f32; LANES];
    let (a_chunks, a_rest) = a.as_chunks::<LANES>();
    let (b_chunks, b_rest) = b.as_chunks::<LANES>();
    for (x, y) in a_chunks.iter().zip(b_chunks) {
        for ((sum, &x), &y) in sums.iter_mut().zip(x).zip(y) {
            *sum += x * y;
        }
    }
    sums.iter().sum::<f32>() + a_rest.iter().zip(b_rest).map(|(x, y)| x * y).sum::<f32>()
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
        let depth = 37;
        let (query, panels) = (numbers(depth, 1), numbers(TILE * depth * LANES, 2));
        for simd in levels() {
            let mut out = [[0f32; LANES]; TILE];
            scan(simd, &query, &panels, &mut out);
            for (number, scores) in out.iter().enumerate() {
                let panel = &panels[number * depth * LANES..][..depth * LANES];
                for (lane, &score) in scores.iter().enumerate() {
                    let plain: f64 = (0..depth).map(|d| f64::from(query[d]) * f64::from(panel[d * LANES + lane])).sum();
                    assert!((plain - f64::from(score)).abs() < 1e-5, "{simd:?}");
                }
                let mut batch = [[0f32; LANES]; TILE];
                tile(simd, [&query; TILE], panel, &mut batch);
                assert!(batch.iter().all(|row| row == scores), "batch and single differ with {simd:?}");
            }
        }
    }

    #[test]
    fn wide_vectors_give_the_same_bits() {
        if simd() != Simd::Avx512 {
            return;
        }
        let (width, rows) = (48, 11);
        let (left, right) = (numbers(rows * width, 3), numbers(rows * width, 4));
        let of = |simd| {
            let mut matrix = vec![0f32; width * width];
            gram(simd, &left, &right, width, &mut matrix);
            matrix
        };
        assert_eq!(of(Simd::Avx2), of(Simd::Avx512));
    }

    #[test]
    fn a_solved_system_gives_back_its_right_side() {
        for simd in levels() {
            for size in [16, 48, 64] {
                let rows = numbers(2 * size * size, 5);
                let mut matrix = vec![0f32; size * size];
                gram(simd, &rows, &rows, size, &mut matrix);
                (0..size).for_each(|i| matrix[i * size + i] += 0.1);
                let cell = |i: usize, j: usize| f64::from(if j <= i { matrix[i * size + j] } else { matrix[j * size + i] });
                let b = numbers(size, 6);
                let (mut factor, mut x, mut scratch) = (matrix.clone(), b.clone(), vec![0f32; size]);
                assert!(solve(simd, size, &mut factor, &mut x, &mut scratch));
                let mut again = b.clone();
                substitute(simd, size, &factor, &mut again);
                assert_eq!(again, x);
                for (i, &expected) in b.iter().enumerate() {
                    let found: f64 = (0..size).map(|j| cell(i, j) * f64::from(x[j])).sum();
                    assert!((found - f64::from(expected)).abs() < 1e-3, "{simd:?} size {size}: {found} and {expected}");
                }
            }
        }
    }

    #[test]
    fn a_matrix_that_is_not_positive_definite_is_refused() {
        let mut matrix = vec![0f32; 16 * 16];
        assert!(!solve(simd(), 16, &mut matrix, &mut [1.0; 16], &mut [0.0; 16]));
        matrix[0] = f32::NAN;
        assert!(!solve(simd(), 16, &mut matrix, &mut [1.0; 16], &mut [0.0; 16]));
    }
}
