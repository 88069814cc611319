//! Times each kernel at every set of vector instructions that this processor has, at the sizes of
//! shops: vectors of 64 to 256 numbers, systems of 16 to 256 unknowns.
//!
//! `cargo bench -p aisle-math -- solve` times one kernel. A function of `kernels/avx512.rs` stays
//! only while `Avx512` beats `Avx2` here by more than a tenth.

use aisle_math::kernels::{
    Simd, add_rows, count_ones, dot_rows, dots, gather, gram, largest, ln, solve, substitute_all,
    threshold_reached_by,
};
use aisle_math::random::SplitMix;
use criterion::measurement::WallTime;
use criterion::{BenchmarkGroup, BenchmarkId, Criterion, criterion_group, criterion_main};
use std::hint::black_box;
use std::time::Duration;

const DEPTHS: [usize; 3] = [64, 128, 256];

fn numbers(count: usize, seed: u64) -> Vec<f32> {
    let mut random = SplitMix(seed);
    (0..count).map(|_| random.uniform() - 0.5).collect()
}

/// Numbers of `count` rows of a table of 20 000, in no order.
fn rows_anywhere(count: usize) -> Vec<u32> {
    (0..count as u32).map(|at| at * 7919 % 20_000).collect()
}

fn group<'a>(criterion: &'a mut Criterion, name: &str) -> BenchmarkGroup<'a, WallTime> {
    let mut group = criterion.benchmark_group(name);
    group
        .sample_size(20)
        .warm_up_time(Duration::from_millis(200))
        .measurement_time(Duration::from_secs(1));
    group
}

/// Times `kernel` at each set of instructions.
fn at_every_simd(
    group: &mut BenchmarkGroup<WallTime>,
    parameters: &str,
    mut kernel: impl FnMut(Simd),
) {
    for simd in Simd::available() {
        let id = BenchmarkId::new(format!("{simd:?}"), parameters);
        group.bench_function(id, |bencher| bencher.iter(|| kernel(simd)));
    }
}

fn outer_products(criterion: &mut Criterion) {
    let mut group = group(criterion, "gram");
    for width in DEPTHS {
        for count in [20, 300] {
            let rows = numbers(count * width, 1);
            let mut matrix = vec![0f32; width * width];
            at_every_simd(&mut group, &format!("{count}x{width}"), |simd| {
                gram(simd, &rows, &rows, width, black_box(&mut matrix))
            });
        }
    }
}

/// A symmetric positive definite matrix by its upper triangle.
fn positive_definite(size: usize) -> Vec<f32> {
    let rows = numbers(2 * size * size, 5);
    let mut matrix = vec![0f32; size * size];
    gram(aisle_math::kernels::simd(), &rows, &rows, size, &mut matrix);
    (0..size).for_each(|at| matrix[at * size + at] += 1.0);
    matrix
}

fn systems(criterion: &mut Criterion) {
    let mut group = group(criterion, "solve");
    for size in [16, 32, 64, 128, 256] {
        let (matrix, sides) = (positive_definite(size), numbers(size, 6));
        let (mut factor, mut x) = (matrix.clone(), sides.clone());
        at_every_simd(&mut group, &size.to_string(), |simd| {
            factor.copy_from_slice(&matrix);
            x.copy_from_slice(&sides);
            solve(simd, size, &mut factor, black_box(&mut x));
        });
    }
}

fn many_sides(criterion: &mut Criterion) {
    let mut group = group(criterion, "substitute_all");
    for (size, width) in [(32, 64), (64, 64), (64, 128), (128, 128)] {
        let mut factor = positive_definite(size);
        solve(
            aisle_math::kernels::simd(),
            size,
            &mut factor,
            &mut numbers(size, 6),
        );
        let sides = numbers(size * width, 7);
        let mut x = sides.clone();
        at_every_simd(&mut group, &format!("{size}x{width}"), |simd| {
            x.copy_from_slice(&sides);
            substitute_all(simd, size, &factor, (black_box(&mut x), width));
        });
    }
}

fn inner_products(criterion: &mut Criterion) {
    let mut all = group(criterion, "dots");
    for depth in DEPTHS {
        for count in [depth, 1000, 20_000] {
            let (rows, vector) = (numbers(count * depth, 1), numbers(depth, 2));
            let mut out = vec![0f32; count];
            at_every_simd(&mut all, &format!("{count}x{depth}"), |simd| {
                dots(simd, &rows, &vector, black_box(&mut out))
            });
        }
    }
    all.finish();
    let mut chosen = group(criterion, "dot_rows");
    for depth in DEPTHS {
        let (rows, query) = (numbers(20_000 * depth, 1), numbers(depth, 2));
        let which = rows_anywhere(300);
        let mut out = vec![0f32; which.len()];
        at_every_simd(&mut chosen, &format!("300x{depth}"), |simd| {
            dot_rows(simd, &rows, &which, &query, black_box(&mut out))
        });
    }
}

fn rows(criterion: &mut Criterion) {
    let mut added = group(criterion, "add_rows");
    for depth in DEPTHS {
        let table = numbers(20_000 * depth, 1);
        let (which, weights) = (rows_anywhere(300), numbers(300, 3));
        let mut out = vec![0f32; depth];
        at_every_simd(&mut added, &format!("300x{depth}"), |simd| {
            add_rows(simd, &table, &which, &weights, black_box(&mut out))
        });
    }
    added.finish();
    let mut gathered = group(criterion, "gather");
    for depth in DEPTHS {
        let (table, scales) = (numbers(20_000 * depth, 1), numbers(depth, 4));
        for count in [20, 120] {
            let which = rows_anywhere(count);
            let mut out = vec![0f32; depth * count.next_multiple_of(16)];
            at_every_simd(&mut gathered, &format!("{count}x{depth}"), |simd| {
                gather(simd, &table, &which, &scales, black_box(&mut out))
            });
        }
    }
}

fn contributions(criterion: &mut Criterion) {
    let mut group = group(criterion, "largest");
    for depth in DEPTHS {
        let table = numbers(20_000 * depth, 1);
        for (count, width) in [(20, 16), (20, 112), (120, 112)] {
            let which = rows_anywhere(count);
            let weights: Vec<f32> = numbers(count, 3).into_iter().map(f32::abs).collect();
            let columns = numbers(depth * width, 5);
            let excluded: Vec<u32> = (0..width as u32).collect();
            let mut best = vec![u32::MAX; width];
            at_every_simd(&mut group, &format!("{count}x{depth}x{width}"), |simd| {
                let found = (&excluded[..], black_box(&mut best[..]));
                largest(simd, &table, (&which, &weights), &columns, found)
            });
        }
    }
}

fn element_by_element(criterion: &mut Criterion) {
    let mut group = group(criterion, "by_element");
    let positive: Vec<f32> = numbers(1000, 3)
        .iter()
        .map(|value| value.abs() + 0.1)
        .collect();
    let mut logarithms = positive.clone();
    at_every_simd(&mut group, "ln", |simd| {
        logarithms.copy_from_slice(&positive);
        ln(simd, black_box(&mut logarithms));
    });
    at_every_simd(&mut group, "threshold_reached_by", |simd| {
        black_box(threshold_reached_by(simd, &positive, 20));
    });
    let mut random = SplitMix(8);
    let words: Vec<u64> = (0..1000).map(|_| random.draw()).collect();
    at_every_simd(&mut group, "count_ones", |simd| {
        black_box(count_ones(simd, &words));
    });
}

criterion_group!(
    benches,
    outer_products,
    systems,
    many_sides,
    inner_products,
    rows,
    contributions,
    element_by_element
);
criterion_main!(benches);
