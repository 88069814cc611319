//! Features in units of their standard deviations.

use rayon::prelude::*;

/// A sum of squares per row below this is that of a feature that is always zero.
const ZERO: f64 = 1e-20;
/// A feature varies if its variance is more than this share of its mean square.
const VARIES: f64 = 1e-9;

/// How features were standardised: x became (x − centre) · scale.
pub(super) struct Standardisation {
    centres: Vec<f64>,
    scales: Vec<f64>,
    /// The feature that never varies, if a shift of the others must be made up for.
    constant: Option<usize>,
}

impl Standardisation {
    /// Returns the weights of the features as they were, given the weights of the standardised
    /// ones.
    pub fn weights_of_features(&self, weights: &[f64]) -> Vec<f32> {
        let mut original: Vec<f64> = weights
            .iter()
            .zip(&self.scales)
            .map(|(weight, scale)| weight * scale)
            .collect();
        if let Some(constant) = self.constant {
            // The value of the constant feature is 1 / scale.
            let shift: f64 = original
                .iter()
                .zip(&self.centres)
                .map(|(weight, centre)| weight * centre)
                .sum();
            original[constant] -= shift * self.scales[constant];
        }
        original.into_iter().map(|weight| weight as f32).collect()
    }
}

/// The mean and the mean square of a feature.
#[derive(Clone, Copy)]
struct Moments {
    mean: f64,
    square: f64,
}

impl Moments {
    fn variance(self) -> f64 {
        self.square - self.mean * self.mean
    }

    fn varies(self) -> bool {
        self.variance() > VARIES * self.square
    }
}

/// Centres each feature of the rows and divides it by its deviation, in place: a feature that is
/// far from zero and hardly varies would drown the others in rounding. A shift changes no
/// probability where something must be chosen. Where choosing nothing is possible (`outside`), a
/// constant feature makes up for the shift, and without one nothing is shifted.
pub(super) fn standardise(values: &mut [f32], width: usize, outside: bool) -> Standardisation {
    let moments = moments_of(values, width);
    let constant = moments
        .iter()
        .position(|moments| outside && moments.square > ZERO && !moments.varies());
    let may_shift = !outside || constant.is_some();
    let centre = |moments: &Moments| {
        if moments.varies() && may_shift {
            moments.mean
        } else {
            0.0
        }
    };
    let scale = |moments: &Moments| {
        let unit = if moments.varies() {
            moments.variance()
        } else {
            moments.square
        };
        if unit > ZERO {
            unit.sqrt().recip()
        } else {
            0.0
        }
    };
    let standardisation = Standardisation {
        centres: moments.iter().map(centre).collect(),
        scales: moments.iter().map(scale).collect(),
        constant,
    };
    let Standardisation {
        centres, scales, ..
    } = &standardisation;
    values.par_chunks_mut(width).for_each(|row| {
        for ((value, centre), scale) in row.iter_mut().zip(centres).zip(scales) {
            *value = ((f64::from(*value) - centre) * scale) as f32;
        }
    });
    standardisation
}

fn moments_of(values: &[f32], width: usize) -> Vec<Moments> {
    let rows = (values.len() / width).max(1) as f64;
    let mut sums = vec![(0f64, 0f64); width];
    for row in values.chunks(width) {
        for ((sum, squares), &value) in sums
            .iter_mut()
            .map(|(sum, squares)| (sum, squares))
            .zip(row)
        {
            *sum += f64::from(value);
            *squares += f64::from(value).powi(2);
        }
    }
    let moments = |(sum, squares): (f64, f64)| Moments {
        mean: sum / rows,
        square: squares / rows,
    };
    sums.into_iter().map(moments).collect()
}
