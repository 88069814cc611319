//! The hyperparameters of alternating least squares, and what a fit with them costs.

use crate::algorithms::recommend::check_range;
use crate::algorithms::scaling::Scaling;
use crate::error::Result;
use aisle_data::Interactions;
use aisle_math::kernels::LANES;
use serde::{Deserialize, Serialize};

/// Hyperparameters of alternating least squares.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Als {
    /// Dimension d of the vectors, 1 to 1024.
    pub factors: usize,
    /// Strength λ of the L2 regularization, 0 or more.
    pub regularization: f32,
    /// Weight α₀ of every cell of the matrix, observed or not, 0 or more; 0 chooses it by the
    /// density of the matrix, see [`Als::resolved`].
    pub alpha: f32,
    /// Exponent ν, 0 to 1: the larger it is, the more strongly long rows are regularized.
    pub nu: f32,
    /// How summed event weights become confidence.
    pub scaling: Scaling,
    /// Number of iterations, each of which solves for all items and then for all users, 1 to 1000.
    pub iterations: usize,
    /// Seed of the random user vectors that the fit starts from.
    pub seed: u64,
}

impl Default for Als {
    fn default() -> Self {
        Self {
            factors: 64,
            regularization: 0.006,
            alpha: 0.0,
            nu: 1.0,
            scaling: Scaling::Log,
            iterations: 10,
            seed: 42,
        }
    }
}

impl Als {
    /// Checks the ranges of the hyperparameters.
    pub(super) fn validate(&self) -> Result<()> {
        check_range("factors", self.factors, 1..=1024)?;
        check_range("regularization", self.regularization, 0.0..=f32::MAX)?;
        check_range("alpha", self.alpha, 0.0..=f32::MAX)?;
        check_range("nu", self.nu, 0.0..=1.0)?;
        check_range("iterations", self.iterations, 1..=1000)
    }

    /// Returns a copy whose automatic α₀ is replaced by 20 × the share of observed cells: the
    /// unobserved cells of a row then weigh some 20 times what its observed ones do. On validation
    /// parts of gowalla, Complete Journey and Online Retail the best of a random search lay between
    /// 13 and 30 times, while the best α₀ itself differed by a factor of 20.
    pub fn resolved(&self, interactions: &Interactions) -> Self {
        let cells = interactions.users() as f64 * interactions.items_with_users() as f64;
        let observed_share = interactions.nnz() as f64 / cells.max(1.0);
        let alpha = if self.alpha > 0.0 {
            self.alpha
        } else {
            (20.0 * observed_share).clamp(1e-4, 1.0) as f32
        };
        Self {
            alpha,
            ..self.clone()
        }
    }

    /// Returns the bytes that a fit takes beside the data: the vectors, a rotated copy of those of
    /// one side, and the scratch memory of each thread.
    pub fn memory(&self, users: usize, items: usize, threads: usize) -> u64 {
        let width = self.factors.next_multiple_of(LANES);
        (4 * self.factors * (users + 2 * items + users.max(items)) + threads * 8 * width * width)
            as u64
    }

    /// Returns the multiply-adds that one iteration spends on a row of `entries` entries.
    pub fn work(&self, entries: usize) -> f64 {
        let (n, d) = (entries as f64, self.factors as f64);
        if n <= d {
            n * n * d / 2.0 + n * n * n / 6.0 + 2.0 * n * d
        } else {
            n * d * d / 2.0 + d * d * d / 6.0
        }
    }

    /// Returns λ′ = λ (|I_u| + α₀ |I|)^ν, the L2 penalty of a row with `entries` entries against
    /// `other_rows` rows of the other side.
    pub(super) fn penalty(&self, entries: usize, other_rows: usize) -> f32 {
        self.regularization * (entries as f32 + self.alpha * other_rows as f32).powf(self.nu)
    }
}
