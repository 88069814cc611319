//! Which row contributes most to each column.

use super::simd::{LANES, dispatch, multiply_add};

dispatch! {
    /// Finds for each column of `table` the row of `weighed` with the largest weight · inner
    /// product above zero, the first of equals.
    ///
    /// `weighed` is numbers of rows of `rows`, and their weights. `table` is row-major, with as
    /// many rows as a row of `rows` is long and a multiple of 16 columns. `found` is for each
    /// column the number of a row that does not count for it, and the output: the number of the row
    /// that was found. It stays as it was where no row is above zero.
    largest, largest_body,
    (rows: &[f32], weighed: (&[u32], &[f32]), table: &[f32], found: (&[u32], &mut [u32]))
}

/// Rows that are multiplied at a time: their running sums stay in registers, and more of them would
/// not.
const ROWS_AT_ONCE: usize = 4;

/// Sixteen columns at a time with [`ROWS_AT_ONCE`] rows at a time.
#[inline(always)]
fn largest_body<const FMA: bool, const WIDE: bool>(
    rows: &[f32],
    (which, weights): (&[u32], &[f32]),
    table: &[f32],
    (excluded, best): (&[u32], &mut [u32]),
) {
    let (table, _) = table.as_chunks::<LANES>();
    let (excluded, _) = excluded.as_chunks::<LANES>();
    let (best, _) = best.as_chunks_mut::<LANES>();
    let blocks = excluded.len();
    let depth = table.len() / blocks.max(1);
    for (block, (excluded, best)) in excluded.iter().zip(best).enumerate() {
        let mut most = [0f32; LANES];
        for (which, weights) in which.chunks(ROWS_AT_ONCE).zip(weights.chunks(ROWS_AT_ONCE)) {
            // Places past the end repeat the last row: the loop over dimensions has no branch.
            let sources: [&[f32]; ROWS_AT_ONCE] = std::array::from_fn(|at| {
                let row = which[at.min(which.len() - 1)] as usize;
                &rows[row * depth..][..depth]
            });
            let mut products = [[0f32; LANES]; ROWS_AT_ONCE];
            for d in 0..depth {
                let cells = &table[d * blocks + block];
                for (products, source) in products.iter_mut().zip(&sources) {
                    let value = source[d];
                    for (sum, &cell) in products.iter_mut().zip(cells) {
                        *sum = multiply_add::<FMA>(value, cell, *sum);
                    }
                }
            }
            for ((products, &row), &weight) in products.iter().zip(which).zip(weights) {
                for lane in 0..LANES {
                    let contribution = products[lane] * weight;
                    let is_larger = (contribution > most[lane]) & (row != excluded[lane]);
                    most[lane] = if is_larger { contribution } else { most[lane] };
                    best[lane] = if is_larger { row } else { best[lane] };
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::Simd;
    use crate::random::SplitMix;

    fn numbers(count: usize, seed: u64) -> Vec<f32> {
        let mut random = SplitMix(seed);
        (0..count).map(|_| random.uniform() - 0.5).collect()
    }

    #[test]
    fn the_largest_contribution_is_found_for_each_column() {
        let (depth, width, count) = (37, 32, 50);
        let (rows, table) = (numbers(60 * depth, 1), numbers(depth * width, 2));
        let weights: Vec<f32> = numbers(count, 3).into_iter().map(f32::abs).collect();
        let which: Vec<u32> = (0..count as u32).map(|at| at + at / 7).collect();
        let excluded: Vec<u32> = (0..width as u32).collect();
        let contribution = |at: usize, column: usize| {
            let row = &rows[which[at] as usize * depth..][..depth];
            let product = (0..depth).map(|d| row[d] * table[d * width + column]);
            weights[at] * product.sum::<f32>()
        };
        for simd in Simd::available() {
            for count in [0, 1, 2, 7, count] {
                let mut found = vec![u32::MAX; width];
                let weighed = (&which[..count], &weights[..count]);
                largest(simd, &rows, weighed, &table, (&excluded, &mut found));
                for column in 0..width {
                    let best = (0..count)
                        .filter(|&at| which[at] != excluded[column])
                        .map(|at| (contribution(at, column), which[at]))
                        .filter(|&(contribution, _)| contribution > 0.0)
                        .max_by(|a, b| a.0.total_cmp(&b.0));
                    assert_eq!(
                        found[column],
                        best.map_or(u32::MAX, |best| best.1),
                        "{simd:?}, {count} rows, column {column}"
                    );
                }
            }
        }
    }
}
