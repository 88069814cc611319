//! A weighted mix of other models.
//!
//! score(j) = Σ_m w_m s_m(j) / σ_m, with σ_m the standard deviation of model m's scores over all items for this shopper, so that models of
//! different scales speak equally loud to everyone. Each member proposes its best candidates; all members score the union.
//! Weights are learned by coordinate ascent on NDCG over a part of the data that should resemble the future (`split`).

use crate::content::Newcomers;
use crate::device::Device;
use crate::held_out::{CUT, HeldOut};
use crate::index::{Eligible, Found};
use crate::manifest::Personal;
use crate::recommend::{Fit, History, Recommend, Training, Watch, hyperparameter};
use crate::top_k::{Scored, TopK};
use crate::weights::{Tensor, Weights};
use crate::{ModelError, Result};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

/// Hyperparameters.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Blend {
    /// The models, each algorithm at most once.
    pub members: Vec<Personal>,
    /// One weight a member, 0 or more; empty = learned, see [`Blend::resolved`].
    pub weights: Vec<f32>,
    /// How the part that weights are learned on is cut off, as [`aisle_data::Split`] is written: it should resemble what the model will be
    /// asked. `validation` suits a shop; `last-order` the next order of every shopper.
    pub split: String,
    /// Items that each member proposes, 10 to 10000; never fewer than twice the number asked for.
    pub candidates: usize,
}

impl Blend {
    fn validate(&self) -> Result<()> {
        let wrong = |name: &str, found: String, expected: &str| {
            Err(ModelError::Hyperparameter { name: name.into(), found, expected: expected.into() })
        };
        let mut names: Vec<&str> = self.members.iter().map(Personal::algorithm).collect();
        let listed = names.join(", ");
        names.sort_unstable();
        names.dedup();
        // Learned weights may have left a single member.
        let least = if self.weights.is_empty() { 2 } else { 1 };
        if names.len() < least || names.len() < self.members.len() || names.contains(&"blend") {
            return wrong("members", listed, "two different algorithms or more, none of them blend");
        }
        let usable = self.weights.iter().all(|weight| weight.is_finite() && *weight >= 0.0);
        if !self.weights.is_empty() && (self.weights.len() != names.len() || !usable || self.weights.iter().all(|&w| w == 0.0)) {
            return wrong(
                "weights",
                format!("{:?}", self.weights),
                "one number of 0 or more for each member, not all 0, or none at all",
            );
        }
        hyperparameter("candidates", self.candidates, 10..=10_000)
    }

    /// With learned weights, and without the members whose weight is 0. Fits every member on the data less the validation part.
    /// Members weigh the same where nothing can be learned: in a log that names no users, or whose held-out part asks nothing.
    ///
    /// # Errors
    /// What the fits return.
    pub fn resolved(&self, training: &Training, watch: &dyn Watch) -> Result<Self> {
        self.validate()?;
        let mut weights = self.weights.clone();
        if weights.is_empty() {
            weights = self.learn(training, watch)?;
        }
        let largest = weights.iter().copied().fold(f32::MIN_POSITIVE, f32::max);
        let kept: Vec<(Personal, f32)> = self.members.iter().cloned().zip(weights).filter(|(_, weight)| *weight > 0.0).collect();
        let members = kept.iter().map(|(member, _)| member.resolved(training, watch)).collect::<Result<_>>()?;
        Ok(Self {
            members,
            weights: kept.iter().map(|(_, weight)| weight / largest).collect(),
            split: self.split.clone(),
            candidates: self.candidates,
        })
    }

    fn learn(&self, training: &Training, watch: &dyn Watch) -> Result<Vec<f32>> {
        let alike = vec![1.0; self.members.len()];
        let Some(held) = HeldOut::new(training, &self.split)? else { return Ok(alike) };
        let mut members = Vec::new();
        for member in &self.members {
            let part = held.training(training);
            members.push((1.0, member.resolved(&part, watch)?.fit(&part, watch)?));
        }
        let model = BlendModel { members, candidates: self.candidates };
        let histories = held.histories();
        let proposed = model.propose(&histories, CUT, &held.eligible(&histories));
        let scored: Vec<Standardised> =
            histories.par_iter().zip(proposed).map(|(&history, items)| model.standardised(history, items)).collect();
        let ndcg = |weights: &[f32]| -> f64 {
            let one = |(number, scored): (usize, &Standardised)| {
                let items: Vec<u32> = scored.best(weights, CUT).iter().map(|scored| scored.item).collect();
                held.ndcg(number, &items)
            };
            let each: Vec<f64> = scored.par_iter().enumerate().map(one).collect();
            each.iter().sum()
        };
        // Where nothing could be found there is nothing to learn from.
        Ok(ascend(self.members.len(), ndcg).unwrap_or(alike))
    }
}

/// Coordinate ascent from the best single member: one weight at a time goes through a grid of ratios to the largest, until nothing gets
/// better. A weight that gains less than a thousandth is not worth a member.
/// `None` if no member finds anything.
fn ascend(members: usize, value: impl Fn(&[f32]) -> f64) -> Option<Vec<f32>> {
    const GRID: [f32; 12] = [0.0, 0.05, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.65, 0.8, 1.0, 1.25];
    const WORTH: f64 = 1.001;
    let alone = |member: usize| -> Vec<f32> { (0..members).map(|at| if at == member { 1.0 } else { 0.0 }).collect() };
    let values: Vec<f64> = (0..members).map(|member| value(&alone(member))).collect();
    let first = (0..members).max_by(|&a, &b| values[a].total_cmp(&values[b]).then(b.cmp(&a))).unwrap_or(0);
    let (mut best, mut reached) = (alone(first), values[first]);
    if reached <= 0.0 {
        return None;
    }
    for _ in 0..4 {
        let before = reached;
        for member in 0..members {
            for ratio in GRID {
                let mut tried = best.clone();
                tried[member] = ratio;
                if tried.iter().all(|&weight| weight == 0.0) {
                    continue;
                }
                let now = value(&tried);
                let needed = if best[member] == 0.0 { WORTH } else { 1.0 };
                if now > reached * needed {
                    (best, reached) = (tried, now);
                }
            }
        }
        if reached <= before {
            break;
        }
    }
    Some(best)
}

impl Fit for Blend {
    type Model = BlendModel;

    fn fit(&self, training: &Training, watch: &dyn Watch) -> Result<BlendModel> {
        let settled = self.resolved(training, watch)?;
        let mut members = Vec::new();
        for (member, &weight) in settled.members.iter().zip(&settled.weights) {
            members.push((weight, member.fit(training, watch)?));
        }
        Ok(BlendModel { members, candidates: self.candidates })
    }
}

impl Blend {
    pub(crate) fn load(&self, sizes: (usize, usize), weights: &mut Weights) -> Result<BlendModel> {
        let load = |(member, &weight): (&Personal, &f32)| Ok((weight, member.load(sizes, weights)?));
        let members = self.members.iter().zip(&self.weights).map(load).collect::<Result<_>>()?;
        Ok(BlendModel { members, candidates: self.candidates })
    }
}

/// Fitted members with their weights.
pub struct BlendModel {
    members: Vec<(f32, Box<dyn Recommend>)>,
    candidates: usize,
}

/// One shopper's candidates with each member's score of them in standard deviations.
struct Standardised {
    items: Vec<u32>,
    /// One row a member; `None` where it has no opinion.
    scores: Vec<Vec<Option<f32>>>,
}

impl Standardised {
    fn sum(&self, at: usize, weights: impl Iterator<Item = f32>) -> Option<f32> {
        let parts = weights.zip(&self.scores).filter_map(|(weight, scores)| Some(weight * scores[at]?));
        parts.fold(None, |sum, part| Some(sum.unwrap_or(0.0) + part))
    }

    fn best(&self, weights: &[f32], k: usize) -> Vec<Scored> {
        let mut top = TopK::new(k);
        for (at, &item) in self.items.iter().enumerate() {
            if let Some(score) = self.sum(at, weights.iter().copied()) {
                top.offer(item, score);
            }
        }
        top.into_sorted()
    }
}

impl BlendModel {
    fn weights(&self) -> Vec<f32> {
        self.members.iter().map(|(weight, _)| *weight).collect()
    }

    fn depth(&self, k: usize) -> usize {
        self.candidates.max(2 * k)
    }

    /// The union of what the members would answer, ascending, for each history.
    fn propose(&self, histories: &[History], k: usize, eligible: &[Eligible]) -> Vec<Vec<u32>> {
        let mut union: Vec<Vec<u32>> = vec![Vec::new(); histories.len()];
        for (_, member) in &self.members {
            let answers = member.recommend_batch(histories, self.depth(k), eligible);
            union.iter_mut().zip(answers).for_each(|(items, answer)| items.extend(answer.iter().map(|scored| scored.item)));
        }
        union.par_iter_mut().for_each(|items| {
            items.sort_unstable();
            items.dedup();
        });
        union
    }

    fn standardised(&self, history: History, items: Vec<u32>) -> Standardised {
        let score = |(_, member): &(f32, Box<dyn Recommend>)| {
            let deviation = member.deviation(history);
            let unit = if deviation > 0.0 { 1.0 / deviation } else { 0.0 };
            member.score(history, &items).into_iter().map(|score| Some(score? * unit)).collect()
        };
        Standardised { scores: self.members.iter().map(score).collect(), items }
    }

    /// The places of members that know likeness, by descending weight.
    fn loudest(&self) -> Vec<usize> {
        let mut places: Vec<usize> =
            (0..self.members.len()).filter(|&place| self.members[place].1.algorithm() != "popular").collect();
        places.sort_by(|&a, &b| self.members[b].0.total_cmp(&self.members[a].0));
        places
    }

    /// The member that is asked what is like an item.
    fn likeness(&self) -> Option<&dyn Recommend> {
        self.loudest().first().map(|&place| self.members[place].1.as_ref())
    }
}

impl Recommend for BlendModel {
    fn algorithm(&self) -> &'static str {
        "blend"
    }

    fn recommend(&self, history: History, k: usize, eligible: Eligible, found: &mut Found) {
        let mut items: Vec<u32> = Vec::new();
        for (_, member) in &self.members {
            member.recommend(history, self.depth(k), eligible, found);
            items.extend(found.items.iter().map(|scored| scored.item));
        }
        items.sort_unstable();
        items.dedup();
        found.items = self.standardised(history, items).best(&self.weights(), k);
    }

    fn recommend_batch(&self, histories: &[History], k: usize, eligible: &[Eligible]) -> Vec<Vec<Scored>> {
        let weights = self.weights();
        let proposed = self.propose(histories, k, eligible);
        histories.par_iter().zip(proposed).map(|(&history, items)| self.standardised(history, items).best(&weights, k)).collect()
    }

    /// Of the member that is asked for them.
    fn store_neighbours(&mut self, items: &[u32]) {
        if let Some(&place) = self.loudest().first() {
            self.members[place].1.store_neighbours(items);
        }
    }

    fn warm(&self) {
        self.members.iter().for_each(|(_, member)| member.warm());
    }

    /// As the member of the largest weight.
    fn similar_items(&self, item: u32, k: usize, eligible: Eligible, found: &mut Found) {
        found.items.clear();
        if let Some(member) = self.likeness() {
            member.similar_items(item, k, eligible, found);
        }
    }

    fn similarity(&self, a: u32, b: u32) -> f32 {
        self.likeness().map_or(0.0, |member| member.similarity(a, b))
    }

    fn similarities(&self, a: u32, items: &[u32]) -> Vec<f32> {
        self.likeness().map_or_else(|| vec![0.0; items.len()], |member| member.similarities(a, items))
    }

    /// As the loudest member that has a reason.
    fn explain(&self, history: History, items: &[u32]) -> Vec<Option<u32>> {
        let mut reasons = vec![None; items.len()];
        for place in self.loudest() {
            if reasons.iter().all(Option::is_some) {
                break;
            }
            let found = self.members[place].1.explain(history, items);
            reasons.iter_mut().zip(found).for_each(|(reason, found)| *reason = reason.or(found));
        }
        reasons
    }

    fn score(&self, history: History, items: &[u32]) -> Vec<Option<f32>> {
        let weights = self.weights();
        let scored = self.standardised(history, items.to_vec());
        (0..items.len()).map(|at| scored.sum(at, weights.iter().copied())).collect()
    }

    /// At most the sum of the weights: each member's scores deviate by 1.
    fn deviation(&self, _: History) -> f32 {
        self.weights().iter().sum()
    }

    fn knows(&self, item: u32) -> bool {
        self.members.iter().any(|(_, member)| member.knows(item))
    }

    fn introduce(&mut self, newcomers: &Newcomers) {
        self.members.iter_mut().for_each(|(_, member)| member.introduce(newcomers));
    }

    fn soften(&mut self, scale: f32) {
        self.members.iter_mut().for_each(|(_, member)| member.soften(scale));
    }

    /// True if a member has vectors.
    fn rank_on(&mut self, device: Device) -> Result<bool> {
        self.members.iter_mut().try_fold(false, |any, (_, member)| Ok(member.rank_on(device)? || any))
    }

    /// Of the first member that has vectors.
    fn vector(&self, history: History) -> Option<Vec<f32>> {
        self.members.iter().find_map(|(_, member)| member.vector(history))
    }

    fn tensors(&self) -> Vec<Tensor<'_>> {
        self.members.iter().flat_map(|(_, member)| member.tensors()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ascent_finds_the_mix_and_drops_what_does_not_help() {
        // Best at weights 1 : 0.4 : 0.
        let value = |w: &[f32]| {
            let scale = w.iter().copied().fold(f32::MIN_POSITIVE, f32::max);
            let off = (w[0] / scale - 1.0).powi(2) + (w[1] / scale - 0.4).powi(2) + (w[2] / scale).powi(2);
            f64::from(2.0 - off)
        };
        let found = ascend(3, value).unwrap();
        assert!((found[1] / found[0] - 0.4).abs() < 0.11 && found[2] == 0.0, "{found:?}");
    }
}
