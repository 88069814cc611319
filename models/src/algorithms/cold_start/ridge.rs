//! Ridge regression from sparse features, for many targets at once.

use aisle_math::sparse::{Csr, product};

/// Share of the first squared residual at which the conjugate gradients end: a thousandth of a
/// vector.
const TOLERANCE: f64 = 1e-6;
/// Most steps of the conjugate gradients.
const MOST_STEPS: usize = 40;

/// A matrix of features F, by row and by column, and the strength λ of the L2 regularization.
pub(super) struct Ridge<'a> {
    pub by_row: &'a Csr,
    pub by_column: &'a Csr,
    pub regularization: f32,
}

impl Ridge<'_> {
    /// Solves (FᵀF + λI) X = FᵀT for all `width` columns of T at once, by conjugate gradients
    /// preconditioned with the diagonal (Golub and Van Loan, "Matrix Computations", 4th edition,
    /// algorithm 11.5.1). T and X are row-major. O(steps · entries of F · width).
    pub fn solve(&self, targets: &[f32], width: usize) -> Vec<f32> {
        let diagonal = self.diagonal();
        let mut solution = vec![0f32; diagonal.len() * width];
        let mut residual = product(self.by_column, targets, width);
        let mut direction = preconditioned(&residual, &diagonal, width);
        // rᵀM⁻¹r of each column, with r the residual and M the diagonal.
        let mut squares = column_products(&residual, &direction, width);
        let limits: Vec<f64> = squares.iter().map(|first| first * TOLERANCE).collect();
        for _ in 0..MOST_STEPS {
            if squares.iter().zip(&limits).all(|(now, limit)| now <= limit) {
                break;
            }
            let image = self.image(&direction, width);
            let steps = ratios(&squares, &column_products(&direction, &image, width));
            add_scaled(&mut solution, &direction, &steps);
            let back: Vec<f32> = steps.iter().map(|step| -step).collect();
            add_scaled(&mut residual, &image, &back);
            let scaled = preconditioned(&residual, &diagonal, width);
            let next_squares = column_products(&residual, &scaled, width);
            let kept = ratios(&next_squares, &squares);
            for (direction, scaled) in direction.chunks_mut(width).zip(scaled.chunks(width)) {
                for ((value, next), kept) in direction.iter_mut().zip(scaled).zip(&kept) {
                    *value = next + kept * *value;
                }
            }
            squares = next_squares;
        }
        solution
    }

    /// Returns the diagonal of FᵀF + λI.
    fn diagonal(&self) -> Vec<f32> {
        let squares = |column: usize| {
            self.by_column
                .row(column)
                .1
                .iter()
                .map(|value| value * value)
        };
        (0..self.by_column.rows())
            .map(|column| self.regularization + squares(column).sum::<f32>())
            .collect()
    }

    /// Returns (FᵀF + λI) X.
    fn image(&self, x: &[f32], width: usize) -> Vec<f32> {
        let mut image = product(self.by_column, &product(self.by_row, x, width), width);
        add_scaled(&mut image, x, &vec![self.regularization; width]);
        image
    }
}

/// Divides each row by the diagonal.
fn preconditioned(rows: &[f32], diagonal: &[f32], width: usize) -> Vec<f32> {
    rows.chunks(width)
        .zip(diagonal)
        .flat_map(|(row, &divisor)| row.iter().map(move |value| value / divisor))
        .collect()
}

/// Returns the inner product of each column of `a` with the same column of `b`.
fn column_products(a: &[f32], b: &[f32], width: usize) -> Vec<f64> {
    let mut sums = vec![0f64; width];
    for (a, b) in a.chunks(width).zip(b.chunks(width)) {
        sums.iter_mut()
            .zip(a.iter().zip(b))
            .for_each(|(sum, (a, b))| *sum += f64::from(*a) * f64::from(*b));
    }
    sums
}

/// Adds `from` to `to`, each column times its scale.
fn add_scaled(to: &mut [f32], from: &[f32], scales: &[f32]) {
    let width = scales.len();
    for (to, from) in to.chunks_mut(width).zip(from.chunks(width)) {
        to.iter_mut()
            .zip(from)
            .zip(scales)
            .for_each(|((to, from), scale)| *to += scale * from);
    }
}

/// Divides number by number; 0 where the denominator is not positive.
fn ratios(numerators: &[f64], denominators: &[f64]) -> Vec<f32> {
    numerators
        .iter()
        .zip(denominators)
        .map(|(above, below)| match *below > 0.0 {
            true => (above / below) as f32,
            false => 0.0,
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_solution_fulfils_the_normal_equations() {
        let triples = vec![
            (0, 0, 1.0),
            (0, 1, 1.0),
            (1, 1, 2.0),
            (2, 0, 1.0),
            (2, 2, 1.0),
        ];
        let by_row = Csr::from_triples(3, triples);
        let by_column = by_row.transposed(3);
        let ridge = Ridge {
            by_row: &by_row,
            by_column: &by_column,
            regularization: 0.5,
        };
        let targets = [1.0, -2.0, 0.5, 3.0, 4.0, 0.0];
        let left = ridge.image(&ridge.solve(&targets, 2), 2);
        let right = product(&by_column, &targets, 2);
        for (left, right) in left.iter().zip(right) {
            assert!((left - right).abs() < 0.01, "{left} {right}");
        }
    }
}
