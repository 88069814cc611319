//! What all kernels promise together: the same bits at AVX2 and AVX-512, and the plain sum.

use super::simd::Level;
use super::*;
use crate::random::SplitMix;

fn numbers(count: usize, seed: u64) -> Vec<f32> {
    let mut random = SplitMix(seed);
    (0..count).map(|_| random.uniform() - 0.5).collect()
}

/// Asserts that a kernel gives the same bits at AVX2 and AVX-512, where this processor has both.
fn assert_same_bits(kernel: impl Fn(Simd) -> Vec<f32>) {
    #[cfg(target_arch = "x86_64")]
    {
        let (narrow, wide) = (Simd(Level::Avx2), Simd(Level::Avx512));
        let available = Simd::available();
        if available.contains(&narrow) && available.contains(&wide) {
            let bits = |simd| {
                kernel(simd)
                    .into_iter()
                    .map(f32::to_bits)
                    .collect::<Vec<_>>()
            };
            assert_eq!(bits(narrow), bits(wide));
            return;
        }
    }
    let _ = (kernel, Level::Portable);
    eprintln!("skipped: this processor does not have AVX2 and AVX-512");
}

#[test]
fn chosen_rows_score_as_all_rows_do() {
    for depth in [1, 16, 37, 64] {
        let (query, rows) = (numbers(depth, 1), numbers(20 * depth, 2));
        let which = [19, 0, 7];
        for simd in Simd::available() {
            let (mut chosen, mut all) = ([0f32; 3], [0f32; 20]);
            dot_rows(simd, &rows, &which, &query, &mut chosen);
            dots(simd, &rows, &query, &mut all);
            assert_eq!(chosen, which.map(|row| all[row as usize]), "{simd:?}");
        }
    }
}

#[test]
fn inner_products_are_the_plain_sum() {
    for depth in [1, 16, 37, 64] {
        let (query, rows) = (numbers(depth, 1), numbers(20 * depth, 2));
        for simd in Simd::available() {
            let mut scores = [0f32; 20];
            dots(simd, &rows, &query, &mut scores);
            for (row, score) in rows.chunks(depth).zip(scores) {
                let products = row.iter().zip(&query);
                let plain: f64 = products.map(|(&a, &b)| f64::from(a) * f64::from(b)).sum();
                assert!((plain - f64::from(score)).abs() < 1e-5, "{simd:?}");
            }
        }
    }
}

#[test]
fn gathered_columns_are_the_scaled_rows() {
    let (depth, which) = (37, [3, 0, 7, 2, 2, 1, 5, 4, 9, 8, 6, 1, 0, 3, 3, 7, 8, 2]);
    let (rows, scales) = (numbers(11 * depth, 3), numbers(depth, 6));
    let width = which.len().next_multiple_of(LANES);
    for simd in Simd::available() {
        let mut columns = vec![f32::NAN; depth * width];
        gather(simd, &rows, &which, &scales, &mut columns);
        for (d, cells) in columns.chunks(width).enumerate() {
            let expected = which.map(|row| rows[row as usize * depth + d] * scales[d]);
            assert_eq!(cells[..which.len()], expected, "{simd:?}");
            assert!(
                cells[which.len()..].iter().all(|&cell| cell == 0.0),
                "{simd:?}"
            );
        }
    }
}

#[test]
fn gram_and_solve_give_the_same_bits_at_any_width_of_vectors() {
    let (width, rows) = (112, 11);
    let left = numbers(rows * width, 3);
    assert_same_bits(|simd| {
        let mut matrix = vec![0f32; width * width];
        gram(simd, &left, &left, width, &mut matrix);
        (0..width).for_each(|at| matrix[at * width + at] += 1.0);
        let mut x = numbers(width, 5);
        assert!(solve(simd, width, &mut matrix, &mut x));
        let upper = (0..width).flat_map(|row| &matrix[row * width + row..(row + 1) * width]);
        upper.copied().chain(x).collect()
    });
}

#[test]
fn substitutions_give_the_same_bits_at_any_width_of_vectors() {
    let (size, width) = (48, 32);
    let rows = numbers(60 * size, 3);
    assert_same_bits(|simd| {
        let mut factor = vec![0f32; size * size];
        gram(simd, &rows, &rows, size, &mut factor);
        (0..size).for_each(|at| factor[at * size + at] += 1.0);
        assert!(solve(simd, size, &mut factor, &mut numbers(size, 5)));
        let mut sides = numbers(size * width, 7);
        substitute_all(simd, size, &factor, (&mut sides, width));
        sides
    });
}

#[test]
fn gathering_gives_the_same_bits_at_any_width_of_vectors() {
    let rows = numbers(11 * 112, 3);
    let which = [3, 0, 7, 2, 2, 1, 5, 4, 9, 8, 6, 1, 0, 3, 3, 7, 8, 2];
    assert_same_bits(|simd| {
        let mut columns = vec![0f32; 37 * 32];
        gather(simd, &rows, &which, &numbers(37, 6), &mut columns);
        columns
    });
}

#[test]
fn inner_products_give_the_same_bits_at_any_width_of_vectors() {
    for (depth, count) in [(32, 37), (37, 37), (64, 16), (16, 3)] {
        let rows = numbers(count * depth, 3);
        assert_same_bits(|simd| {
            let mut products = vec![0f32; count];
            dots(simd, &rows, &numbers(depth, 7), &mut products);
            products
        });
    }
}
