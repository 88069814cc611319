//! From the summed event weights of a user and an item to the confidence that the user likes the
//! item.

use aisle_math::sparse::Csr;
use serde::{Deserialize, Serialize};

/// How the summed weight v of a user's events on an item becomes the confidence c.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Scaling {
    /// c = log₂(1 + v): one purchase of weight 1 is 1, three are 2, a view of weight 0.1 is 0.14.
    #[default]
    Log,
    /// c = v.
    Linear,
    /// c = 1.
    Binary,
}

impl Scaling {
    /// Returns the confidence of a summed weight, at least 10⁻⁶: events that have all but faded
    /// away count for nothing, yet leave a number that can be divided by.
    pub(crate) fn of(self, weight: f32) -> f32 {
        match self {
            Scaling::Log => (1.0 + weight).log2().max(1e-6),
            Scaling::Linear => weight.max(1e-6),
            Scaling::Binary => 1.0,
        }
    }

    /// Returns a matrix of confidences for a matrix of summed weights.
    pub(crate) fn applied(self, matrix: &Csr) -> Csr {
        let mut confidences = matrix.clone();
        confidences
            .values
            .iter_mut()
            .for_each(|value| *value = self.of(*value));
        confidences
    }

    /// Turns the summed weights of each user (row) into confidences, and divides those of a user of
    /// n items by n^(`length` / 2), so that every pair of the user's items counts n^-`length`.
    pub(crate) fn applied_by_length(self, mut matrix: Csr, length: f32) -> Csr {
        for user in 0..matrix.rows() {
            let range = matrix.offsets[user]..matrix.offsets[user + 1];
            let damping = (range.len().max(1) as f32).powf(-0.5 * length);
            matrix.values[range]
                .iter_mut()
                .for_each(|value| *value = self.of(*value) * damping);
        }
        matrix
    }

    /// Returns the degree of each row in the graph of users and items: its summed confidence.
    pub(crate) fn degrees(self, matrix: &Csr) -> Vec<f32> {
        (0..matrix.rows())
            .map(|row| matrix.row(row).1.iter().map(|&value| self.of(value)).sum())
            .collect()
    }
}
