//! The alternation: solves for all items, then for all users, and again.
//!
//! Each half-step first rotates the other side to its principal axes, see `row_solver.rs`. Rows are
//! independent of each other, so the result does not depend on the number of threads.

use crate::algorithms::als::hyperparameters::Als;
use crate::algorithms::als::model::AlsModel;
use crate::algorithms::als::row_solver::{RowSolver, gram_diagonal};
use crate::algorithms::random::normal_matrix;
use crate::algorithms::recommend::{Fit, History, Progress, Training};
use crate::error::{ModelError, Result};
use aisle_math::array::Array;
use aisle_math::dense;
use aisle_math::sparse::Csr;
use rayon::prelude::*;

/// The vectors of the users, or of the items, row-major.
struct FactorMatrix {
    depth: usize,
    values: Vec<f32>,
}

impl FactorMatrix {
    fn zero(rows: usize, depth: usize) -> Self {
        Self {
            depth,
            values: vec![0.0; rows * depth],
        }
    }

    /// Draws normal numbers with standard deviation 0.1 / √depth.
    fn random(rows: usize, depth: usize, seed: u64) -> Self {
        Self {
            depth,
            values: normal_matrix((rows, depth), 0.1 / (depth as f32).sqrt(), seed),
        }
    }

    /// Rotates the vectors to their principal axes, where YᵀY is diagonal. Their inner products
    /// stay the same. Returns false if a number is not finite.
    fn rotate_to_principal_axes(&mut self) -> bool {
        let Some((_, axes)) = dense::eigen(&dense::gram(&self.values, self.depth), self.depth)
        else {
            return false;
        };
        self.values = dense::multiply(&self.values, &axes, self.depth);
        true
    }
}

/// Solves every row of `side` against `other`, which it rotates to its principal axes first. Row by
/// row, `confidences` is the matrix to fit. Returns false if a number is not finite.
fn half_step(
    side: &mut FactorMatrix,
    other: &mut FactorMatrix,
    confidences: &Csr,
    als: &Als,
) -> bool {
    if !other.rotate_to_principal_axes() {
        return false;
    }
    let diagonal = gram_diagonal(&other.values, other.depth, als.alpha);
    let other_rows = other.values.len() / other.depth;
    let solver = RowSolver::new(als, &other.values, other_rows, &diagonal);
    side.values
        .par_chunks_mut(side.depth)
        .enumerate()
        .with_min_len(16)
        .map(|(row, out)| {
            let (items, values) = confidences.row(row);
            let history = History {
                items,
                values,
                user: None,
            };
            solver.solve(history, out) && out.iter().all(|value| value.is_finite())
        })
        .reduce(|| true, |a, b| a && b)
}

impl Fit for Als {
    type Model = AlsModel;

    fn fit(&self, training: &Training, progress: &dyn Progress) -> Result<AlsModel> {
        self.validate()?;
        self.resolved(training.interactions)
            .fit_resolved(training, progress)
    }
}

impl Als {
    fn fit_resolved(&self, training: &Training, progress: &dyn Progress) -> Result<AlsModel> {
        let data = training.require_interactions("als")?;
        let [by_user, by_item] =
            [&data.by_user, &data.by_item].map(|matrix| self.scaling.applied(matrix));
        let mut users = FactorMatrix::random(data.users(), self.factors, self.seed);
        let mut items = FactorMatrix::zero(data.items(), self.factors);
        for iteration in 1..=self.iterations {
            // The half-step of the users comes last, so that a stored user vector is the fold-in.
            let finite = half_step(&mut items, &mut users, &by_item, self)
                && half_step(&mut users, &mut items, &by_user, self);
            if !finite {
                let advice = format!(
                    "raise regularization (now {}) or lower the event weights",
                    self.regularization
                );
                return Err(ModelError::Diverged {
                    model: "als",
                    iteration,
                    advice,
                });
            }
            progress.step("als", iteration, self.iterations);
        }
        Ok(AlsModel::new(
            self.clone(),
            users.values.into(),
            items.values.into(),
            Array::default(),
        ))
    }
}
