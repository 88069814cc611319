//! The fit of a blend: its weights, learned by coordinate ascent on NDCG of a held-out part of the
//! data, and its members.

use crate::algorithms::held_out::{CUTOFF, HeldOut};
use crate::algorithms::personal::Personal;
use crate::algorithms::personal::blend::coordinate_ascent::ascend;
use crate::algorithms::personal::blend::hyperparameters::Blend;
use crate::algorithms::personal::blend::model::{BlendModel, StandardizedScores};
use crate::algorithms::recommend::{Fit, Progress, Training};
use crate::error::Result;
use crate::weights::Weights;
use rayon::prelude::*;

impl Blend {
    /// Returns a copy with learned weights, and without the members whose weight is 0. Learning
    /// fits every member on the data less the held-out part. Members get equal weights where
    /// nothing can be learned: in a log that names no users, or if nothing new was chosen in the
    /// held-out part.
    ///
    /// # Errors
    /// The same as a fit of the members.
    pub fn resolved(&self, training: &Training, progress: &dyn Progress) -> Result<Self> {
        self.validate()?;
        let weights = match self.weights.is_empty() {
            true => self.learn_weights(training, progress)?,
            false => self.weights.clone(),
        };
        let largest = weights.iter().copied().fold(f32::MIN_POSITIVE, f32::max);
        let kept: Vec<(&Personal, f32)> = self
            .members
            .iter()
            .zip(weights)
            .filter(|(_, weight)| *weight > 0.0)
            .collect();
        let members = kept
            .iter()
            .map(|(member, _)| member.resolved(training, progress))
            .collect::<Result<_>>()?;
        Ok(Self {
            members,
            weights: kept.iter().map(|(_, weight)| weight / largest).collect(),
            split: self.split.clone(),
            candidates: self.candidates,
        })
    }

    fn learn_weights(&self, training: &Training, progress: &dyn Progress) -> Result<Vec<f32>> {
        let equal = vec![1.0; self.members.len()];
        let Some(held_out) = HeldOut::new(training, &self.split)? else {
            return Ok(equal);
        };
        let past = held_out.training(training);
        let mut members = Vec::new();
        for member in &self.members {
            let fitted = member.resolved(&past, progress)?.fit(&past, progress)?;
            members.push((1.0, fitted));
        }
        let model = BlendModel::new(members, self.candidates);
        let histories = held_out.histories();
        let candidates = model.candidates(&histories, CUTOFF, &held_out.eligible(&histories));
        let scores: Vec<StandardizedScores> = histories
            .par_iter()
            .zip(candidates)
            .map(|(&history, items)| model.standardize(history, items))
            .collect();
        let ndcg = |weights: &[f32]| -> f64 {
            let ndcg_of = |(shopper, scores): (usize, &StandardizedScores)| {
                let best = scores.best(weights, CUTOFF);
                let items: Vec<u32> = best.iter().map(|scored| scored.item).collect();
                held_out.ndcg(shopper, &items)
            };
            let ndcgs: Vec<f64> = scores.par_iter().enumerate().map(ndcg_of).collect();
            ndcgs.iter().sum()
        };
        Ok(ascend(self.members.len(), ndcg).unwrap_or(equal))
    }

    /// Takes the arrays of all members out of a version of `(rows, items)`.
    pub(crate) fn load(&self, sizes: (usize, usize), weights: &mut Weights) -> Result<BlendModel> {
        let load =
            |(member, &weight): (&Personal, &f32)| Ok((weight, member.load(sizes, weights)?));
        let members = self
            .members
            .iter()
            .zip(&self.weights)
            .map(load)
            .collect::<Result<_>>()?;
        Ok(BlendModel::new(members, self.candidates))
    }
}

impl Fit for Blend {
    type Model = BlendModel;

    fn fit(&self, training: &Training, progress: &dyn Progress) -> Result<BlendModel> {
        let resolved = self.resolved(training, progress)?;
        let mut members = Vec::new();
        for (member, &weight) in resolved.members.iter().zip(&resolved.weights) {
            members.push((weight, member.fit(training, progress)?));
        }
        Ok(BlendModel::new(members, self.candidates))
    }
}
