//! Conditional logit: which of several alternatives is chosen, and with what probability.
//!
//! P(j | set) = exp(w · x_j) / (o + Σ over the set of exp(w · x)), where o is 1 if choosing nothing
//! is possible and 0 if something must be chosen: McFadden, "Conditional logit analysis of
//! qualitative choice behavior" (1974). Alternatives drawn evenly from a large set give the same
//! weights as the whole set would ("Modelling the choice of residential location", 1978), so a few
//! of those that were not chosen are enough.
//!
//! In come sets of alternatives, each a row of features, and which of them was chosen; out go the
//! weights w.

mod standardise;
#[cfg(test)]
mod tests;

use crate::dense;
use crate::kernels::dot;
use rayon::prelude::*;
use standardise::{Standardisation, standardise};

/// Sets of alternatives, and which alternative of each was chosen.
pub struct Choices {
    /// Features of an alternative.
    width: usize,
    /// The alternatives of all sets, one row each.
    values: Vec<f32>,
    /// The row at which each set ends, with a 0 before: `sets + 1` numbers.
    ends: Vec<usize>,
    /// The row chosen in each set; `None` where nothing was chosen.
    chosen: Vec<Option<usize>>,
    /// Whether choosing nothing is possible.
    outside: bool,
}

/// Newton steps at most; seven are usual.
const MAX_STEPS: usize = 25;
/// A step is halved until it improves the likelihood, but to no less than this share of it.
const MIN_STEP_SHARE: f64 = 1e-3;
/// The fit ends when a step improves the loss by no more than this share of it.
const MIN_IMPROVEMENT: f64 = 1e-7;

/// How well some weights explain the choices.
struct Likelihood {
    /// −log likelihood plus the ridge.
    loss: f64,
    /// The probability of each row in its set.
    probabilities: Vec<f32>,
}

impl Choices {
    /// Makes an empty collection of sets whose alternatives have `width` features. `outside` says
    /// whether choosing nothing is possible.
    pub fn new(width: usize, outside: bool) -> Self {
        Self {
            width,
            values: Vec::new(),
            ends: vec![0],
            chosen: Vec::new(),
            outside,
        }
    }

    /// Adds a set. `rows` is its alternatives, `chosen` the number of the chosen one within the
    /// set. `None` is allowed only where choosing nothing is possible.
    pub fn push(&mut self, rows: &[f32], chosen: Option<usize>) {
        debug_assert!(rows.len().is_multiple_of(self.width) && (chosen.is_some() || self.outside));
        let first = self.values.len() / self.width;
        self.values.extend_from_slice(rows);
        self.ends.push(self.values.len() / self.width);
        self.chosen.push(chosen.map(|at| first + at));
    }

    /// The number of sets.
    pub fn len(&self) -> usize {
        self.chosen.len()
    }

    /// Whether there are no sets.
    pub fn is_empty(&self) -> bool {
        self.chosen.is_empty()
    }

    /// Returns the weights of the features that maximise the likelihood of the choices less `ridge`
    /// / 2 times the sum of their squares, where features are measured in standard deviations.
    /// Returns `None` if there are no sets or the numbers are not finite. Newton's method,
    /// O(alternatives · width²) a step; the same bits at any number of threads.
    pub fn fit(mut self, ridge: f64) -> Option<Vec<f32>> {
        if self.is_empty() {
            return None;
        }
        let standardisation = self.standardise();
        let mut weights = vec![0f64; self.width];
        let mut best = self.likelihood(&weights, ridge);
        for _ in 0..MAX_STEPS {
            let step = self.newton_step(&best.probabilities, &weights, ridge)?;
            let before = best.loss;
            let Some((shorter, better)) = self.line_search(&weights, &step, before, ridge) else {
                break;
            };
            (weights, best) = (shorter, better);
            if before - best.loss <= MIN_IMPROVEMENT * best.loss.abs() {
                break;
            }
        }
        best.loss
            .is_finite()
            .then(|| standardisation.weights_of_features(&weights))
    }

    /// Standardises the features in place.
    fn standardise(&mut self) -> Standardisation {
        standardise(&mut self.values, self.width, self.outside)
    }

    /// The Newton step H⁻¹ g, along the axes of the Hessian. `None` if it has none.
    fn newton_step(&self, probabilities: &[f32], weights: &[f64], ridge: f64) -> Option<Vec<f64>> {
        let width = self.width;
        let gradient = self.gradient(probabilities, weights, ridge);
        let (curvatures, axes) = dense::eigen(&gradient.hessian, width)?;
        let mut step = vec![0f64; width];
        for axis in 0..width {
            let along: f64 = (0..width)
                .map(|at| f64::from(axes[at * width + axis]) * gradient.gradient[at])
                .sum();
            let length = along / f64::from(curvatures[axis]).max(ridge);
            (0..width).for_each(|at| step[at] += f64::from(axes[at * width + axis]) * length);
        }
        Some(step)
    }

    /// Halves a step until the loss falls below `loss`. Returns the weights there, or `None` if no
    /// share of the step is an improvement.
    fn line_search(
        &self,
        weights: &[f64],
        step: &[f64],
        loss: f64,
        ridge: f64,
    ) -> Option<(Vec<f64>, Likelihood)> {
        let mut share = 1.0;
        loop {
            let shorter: Vec<f64> = weights
                .iter()
                .zip(step)
                .map(|(weight, step)| weight - share * step)
                .collect();
            let likelihood = self.likelihood(&shorter, ridge);
            if likelihood.loss < loss {
                return Some((shorter, likelihood));
            }
            share /= 2.0;
            if share < MIN_STEP_SHARE {
                return None;
            }
        }
    }

    fn likelihood(&self, weights: &[f64], ridge: f64) -> Likelihood {
        let weights_f32: Vec<f32> = weights.iter().map(|&weight| weight as f32).collect();
        // Utilities, until each set is normalised below.
        let mut probabilities: Vec<f32> = self
            .values
            .par_chunks(self.width)
            .map(|row| dot(row, &weights_f32))
            .collect();
        let mut losses = 0f64;
        for (set, chosen) in self.ends.windows(2).zip(&self.chosen) {
            let utility = chosen.map_or(0.0, |row| f64::from(probabilities[row]));
            losses += softmax(&mut probabilities[set[0]..set[1]], self.outside) - utility;
        }
        let squares: f64 = weights.iter().map(|weight| weight * weight).sum();
        Likelihood {
            loss: losses + ridge / 2.0 * squares,
            probabilities,
        }
    }

    fn gradient(&self, probabilities: &[f32], weights: &[f64], ridge: f64) -> Gradient {
        let width = self.width;
        let means = self.means_of_sets(probabilities);
        let mut hessian = self.second_moments(probabilities);
        let between = dense::gram(&means, width);
        hessian
            .iter_mut()
            .zip(between)
            .for_each(|(sum, value)| *sum -= value);
        (0..width).for_each(|at| hessian[at * width + at] += ridge as f32);
        let mut gradient: Vec<f64> = weights.iter().map(|weight| ridge * weight).collect();
        for (mean, chosen) in means.chunks(width).zip(&self.chosen) {
            for (sum, &value) in gradient.iter_mut().zip(mean) {
                *sum += f64::from(value);
            }
            if let Some(row) = chosen {
                let values = &self.values[row * width..][..width];
                for (sum, &value) in gradient.iter_mut().zip(values) {
                    *sum -= f64::from(value);
                }
            }
        }
        Gradient { gradient, hessian }
    }

    /// Σ p · x xᵀ over all rows: `width × width`.
    fn second_moments(&self, probabilities: &[f32]) -> Vec<f32> {
        let width = self.width;
        let mut scaled = vec![0f32; self.values.len()];
        scaled
            .par_chunks_mut(width)
            .zip(self.values.par_chunks(width))
            .zip(probabilities)
            .for_each(|((to, row), &probability)| {
                let root = probability.sqrt();
                to.iter_mut()
                    .zip(row)
                    .for_each(|(to, &value)| *to = root * value);
            });
        dense::gram(&scaled, width)
    }

    /// The expected features of the choice in each set, Σ p · x: `sets × width`.
    fn means_of_sets(&self, probabilities: &[f32]) -> Vec<f32> {
        let width = self.width;
        let mut means = vec![0f32; self.len() * width];
        means
            .par_chunks_mut(width)
            .zip(self.ends.par_windows(2))
            .for_each(|(mean, set)| {
                let rows = self.values[set[0] * width..set[1] * width].chunks(width);
                for (values, probability) in rows.zip(&probabilities[set[0]..set[1]]) {
                    mean.iter_mut()
                        .zip(values)
                        .for_each(|(mean, &value)| *mean += probability * value);
                }
            });
        means
    }
}

/// The derivatives of the loss at some weights.
struct Gradient {
    /// `width` numbers.
    gradient: Vec<f64>,
    /// `width × width`.
    hessian: Vec<f32>,
}

/// Turns the utilities of a set into probabilities, in place. With `outside`, choosing nothing is
/// an alternative too, and its utility is 0. Returns the logarithm of the denominator, 0 for an
/// empty set.
pub fn softmax(utilities: &mut [f32], outside: bool) -> f64 {
    if utilities.is_empty() {
        return 0.0;
    }
    let utility_of_nothing = if outside { 0.0 } else { f32::NEG_INFINITY };
    let largest = utilities.iter().copied().fold(utility_of_nothing, f32::max);
    let mut sum = if outside {
        f64::from(-largest).exp()
    } else {
        0.0
    };
    for utility in utilities.iter_mut() {
        *utility = (*utility - largest).exp();
        sum += f64::from(*utility);
    }
    for utility in utilities.iter_mut() {
        *utility = (f64::from(*utility) / sum) as f32;
    }
    f64::from(largest) + sum.ln()
}
