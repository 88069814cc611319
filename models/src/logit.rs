//! Conditional logit: which of several alternatives is chosen, and with what probability.
//!
//! P(j | set) = exp(w · x_j) / (o + Σ over the set of exp(w · x)), where o is 1 if nothing need be chosen and 0 if something is: McFadden,
//! "Conditional logit analysis of qualitative choice behavior" (1974). Alternatives drawn evenly from a large set give the same weights as
//! the whole set would ("Modelling the choice of residential location", 1978), which is why few of those not chosen are enough.

use crate::dense;
use crate::kernels::dot;
use rayon::prelude::*;

/// Sets of alternatives and what was chosen.
pub(crate) struct Choices {
    /// Features of an alternative.
    width: usize,
    /// Alternatives of all sets, one row each.
    values: Vec<f32>,
    /// `sets + 1` rows.
    ends: Vec<usize>,
    /// Row chosen in each set; `None` = nothing was.
    chosen: Vec<Option<usize>>,
    /// Whether nothing could have been chosen.
    outside: bool,
}

/// How features were standardised.
struct Units {
    centres: Vec<f64>,
    scales: Vec<f64>,
    /// The feature that never varies.
    constant: Option<usize>,
}

impl Units {
    /// Weights of the features as they were.
    fn undo(&self, weights: &[f64]) -> Vec<f32> {
        let mut plain: Vec<f64> = weights.iter().zip(&self.scales).map(|(weight, scale)| weight * scale).collect();
        if let Some(at) = self.constant {
            // The constant's value is 1 / scale.
            let shift: f64 = plain.iter().zip(&self.centres).map(|(weight, centre)| weight * centre).sum();
            plain[at] -= shift * self.scales[at];
        }
        plain.into_iter().map(|weight| weight as f32).collect()
    }
}

/// Newton steps at most; seven are usual.
const STEPS: usize = 25;

impl Choices {
    /// None yet.
    pub fn new(width: usize, outside: bool) -> Self {
        Self { width, values: Vec::new(), ends: vec![0], chosen: Vec::new(), outside }
    }

    /// Adds a set; `chosen` counts within it.
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

    /// The weights that make what was chosen most likely, with `ridge` / 2 of their squares (features in standard deviations) against it.
    /// `None` if there are no sets, or the numbers are not finite. The same bits at any number of threads.
    pub fn fit(mut self, ridge: f64) -> Option<Vec<f32>> {
        let width = self.width;
        if self.len() == 0 {
            return None;
        }
        let units = self.standardise();
        let mut weights = vec![0f64; width];
        let (mut loss, mut odds) = self.odds(&weights, ridge);
        for _ in 0..STEPS {
            let (gradient, hessian) = self.slope(&odds, &weights, ridge);
            let (squares, axes) = dense::eigen(&hessian, width)?;
            let mut step = vec![0f64; width];
            for axis in 0..width {
                let along: f64 = (0..width).map(|at| f64::from(axes[at * width + axis]) * gradient[at]).sum();
                let length = along / f64::from(squares[axis]).max(ridge);
                (0..width).for_each(|at| step[at] += f64::from(axes[at * width + axis]) * length);
            }
            let mut share = 1.0;
            let better = loop {
                let tried: Vec<f64> = weights.iter().zip(&step).map(|(weight, step)| weight - share * step).collect();
                let (tried_loss, tried_odds) = self.odds(&tried, ridge);
                if tried_loss < loss {
                    let gain = loss - tried_loss;
                    (weights, loss, odds) = (tried, tried_loss, tried_odds);
                    break gain;
                }
                share /= 2.0;
                if share < 1e-3 {
                    break 0.0;
                }
            };
            if better <= 1e-7 * loss.abs() {
                break;
            }
        }
        loss.is_finite().then(|| units.undo(&weights))
    }

    /// Centres each feature and divides it by its deviation: what is far from zero and hardly varies would drown the rest in rounding. A shift
    /// changes nothing where something must be chosen; else a constant feature makes up for it, and without one nothing is shifted.
    fn standardise(&mut self) -> Units {
        let rows = (self.values.len() / self.width).max(1) as f64;
        let mut sums = vec![(0f64, 0f64); self.width];
        for row in self.values.chunks(self.width) {
            for (sum, &value) in sums.iter_mut().zip(row) {
                sum.0 += f64::from(value);
                sum.1 += f64::from(value).powi(2);
            }
        }
        let moments: Vec<(f64, f64)> = sums.iter().map(|&(first, second)| (first / rows, second / rows)).collect();
        let varies = |&(mean, square): &(f64, f64)| square - mean * mean > 1e-9 * square;
        let constant = moments.iter().position(|moments| self.outside && moments.1 > 1e-20 && !varies(moments));
        let shifted = !self.outside || constant.is_some();
        let mut units = Units { centres: vec![0.0; self.width], scales: vec![0.0; self.width], constant };
        for (at, moments) in moments.iter().enumerate() {
            let (mean, square) = *moments;
            let centred = varies(moments) && shifted;
            units.centres[at] = if centred { mean } else { 0.0 };
            let unit = if varies(moments) { square - mean * mean } else { square };
            units.scales[at] = if unit > 1e-20 { unit.sqrt().recip() } else { 0.0 };
        }
        self.values.par_chunks_mut(self.width).for_each(|row| {
            for ((value, centre), scale) in row.iter_mut().zip(&units.centres).zip(&units.scales) {
                *value = ((f64::from(*value) - centre) * scale) as f32;
            }
        });
        units
    }

    /// −log likelihood with the ridge, and the probability of each row.
    fn odds(&self, weights: &[f64], ridge: f64) -> (f64, Vec<f32>) {
        let short: Vec<f32> = weights.iter().map(|&weight| weight as f32).collect();
        let mut odds: Vec<f32> = self.values.par_chunks(self.width).map(|row| dot(row, &short)).collect();
        let mut losses = 0f64;
        for (set, chosen) in self.ends.windows(2).zip(&self.chosen) {
            let utility = chosen.map_or(0.0, |row| f64::from(odds[row]));
            losses += softmax(&mut odds[set[0]..set[1]], self.outside) - utility;
        }
        (losses + ridge / 2.0 * weights.iter().map(|weight| weight * weight).sum::<f64>(), odds)
    }

    /// Gradient and Hessian.
    fn slope(&self, odds: &[f32], weights: &[f64], ridge: f64) -> (Vec<f64>, Vec<f32>) {
        let width = self.width;
        let mut scaled = vec![0f32; self.values.len()];
        scaled.par_chunks_mut(width).zip(self.values.par_chunks(width)).zip(odds).for_each(|((to, row), &odds)| {
            let root = odds.sqrt();
            to.iter_mut().zip(row).for_each(|(to, &value)| *to = root * value);
        });
        let mut hessian = dense::gram(&scaled, width);
        drop(scaled);
        let mut means = vec![0f32; self.len() * width];
        means.par_chunks_mut(width).zip(self.ends.par_windows(2)).for_each(|(mean, set)| {
            let rows = self.values[set[0] * width..set[1] * width].chunks(width);
            for (values, odds) in rows.zip(&odds[set[0]..set[1]]) {
                mean.iter_mut().zip(values).for_each(|(mean, &value)| *mean += odds * value);
            }
        });
        let between = dense::gram(&means, width);
        hessian.iter_mut().zip(between).for_each(|(sum, part)| *sum -= part);
        (0..width).for_each(|at| hessian[at * width + at] += ridge as f32);
        let mut gradient: Vec<f64> = weights.iter().map(|weight| ridge * weight).collect();
        for (mean, chosen) in means.chunks(width).zip(&self.chosen) {
            gradient.iter_mut().zip(mean).for_each(|(sum, &value)| *sum += f64::from(value));
            if let Some(row) = chosen {
                let values = &self.values[row * width..][..width];
                gradient.iter_mut().zip(values).for_each(|(sum, &value)| *sum -= f64::from(value));
            }
        }
        (gradient, hessian)
    }
}

/// Turns utilities into probabilities; with `outside`, nothing (of utility 0) is an alternative too. Returns ln of the denominator.
pub(crate) fn softmax(utilities: &mut [f32], outside: bool) -> f64 {
    let largest = utilities.iter().copied().fold(if outside { 0.0 } else { f32::NEG_INFINITY }, f32::max);
    if utilities.is_empty() {
        return 0.0;
    }
    let mut sum = if outside { f64::from(-largest).exp() } else { 0.0 };
    for utility in utilities.iter_mut() {
        *utility = (*utility - largest).exp();
        sum += f64::from(*utility);
    }
    utilities.iter_mut().for_each(|utility| *utility = (f64::from(*utility) / sum) as f32);
    f64::from(largest) + sum.ln()
}

#[cfg(test)]
mod tests {
    use super::*;
    use aisle_data::SplitMix;

    /// Draws choices by known weights and finds the weights again, from all alternatives and from a part of them.
    #[test]
    fn known_weights_are_found_again() {
        let truth = [1.5f32, -0.7, 0.0];
        for (outside, kept) in [(false, 40), (true, 40), (false, 8)] {
            let mut random = SplitMix(9);
            let mut choices = Choices::new(3, outside);
            let mut nothing = 0;
            for _ in 0..6000 {
                let rows: Vec<f32> = (0..120).map(|at| if at % 3 == 1 { 3.0 } else { 1.0 } * random.normal()).collect();
                let mut odds: Vec<f32> = rows.chunks(3).map(|row| dot(row, &truth)).collect();
                softmax(&mut odds, outside);
                let mut draw = random.uniform();
                let chosen = odds.iter().position(|&odds| {
                    draw -= odds;
                    draw < 0.0
                });
                nothing += usize::from(chosen.is_none());
                match (chosen, kept < 40) {
                    (None, _) if !outside => {}
                    (Some(chosen), true) => {
                        let mut part = rows[chosen * 3..][..3].to_vec();
                        part.extend((0..40).filter(|&row| row != chosen).take(kept).flat_map(|row| &rows[row * 3..][..3]));
                        choices.push(&part, Some(0));
                    }
                    _ => choices.push(&rows, chosen),
                }
            }
            assert_eq!(nothing > 5, outside, "{nothing}");
            let found = choices.fit(1e-3).unwrap();
            assert!(found.iter().zip(truth).all(|(found, truth)| (found - truth).abs() < 0.06), "{found:?} {outside} {kept}");
        }
    }

    #[test]
    fn nothing_to_learn_and_constants_are_no_trouble() {
        assert!(Choices::new(2, false).fit(1.0).is_none());
        let mut choices = Choices::new(2, false);
        choices.push(&[1.0, 5.0, 0.0, 5.0], Some(0));
        let weights = choices.fit(1.0).unwrap();
        assert!(weights[0] > 0.0 && weights[1].abs() < 1e-3, "{weights:?}");
    }
}
