//! The fitted blend: members with weights.

use crate::algorithms::recommend::{ColdItems, History, Recommend};
use crate::error::Result;
use crate::weights::Tensor;
use aisle_retrieval::device::Device;
use aisle_retrieval::index::{Eligible, SearchBuffer};
use aisle_retrieval::top_k::{Scored, TopK};
use rayon::prelude::*;

/// Fitted members with their weights.
pub struct BlendModel {
    members: Vec<(f32, Box<dyn Recommend>)>,
    /// See [`crate::Blend::candidates`].
    candidates: usize,
}

/// The candidates of one shopper, with the score of every member in its standard deviations.
pub(super) struct StandardizedScores {
    /// The candidates, ascending.
    items: Vec<u32>,
    /// For each member one score for each candidate; `None` where the member has no opinion.
    scores: Vec<Vec<Option<f32>>>,
}

impl StandardizedScores {
    /// Returns the weighted sum of the members' scores of the candidate at this place; `None` if no
    /// member has an opinion.
    fn weighted_sum(&self, candidate: usize, weights: &[f32]) -> Option<f32> {
        let terms = weights
            .iter()
            .zip(&self.scores)
            .filter_map(|(weight, scores)| Some(weight * scores[candidate]?));
        terms.fold(None, |sum, term| Some(sum.unwrap_or(0.0) + term))
    }

    /// Returns the `k` candidates with the highest weighted sums, best first.
    pub fn best(&self, weights: &[f32], k: usize) -> Vec<Scored> {
        let mut top = TopK::new(k);
        for (candidate, &item) in self.items.iter().enumerate() {
            if let Some(score) = self.weighted_sum(candidate, weights) {
                top.offer(item, score);
            }
        }
        top.into_sorted()
    }
}

impl BlendModel {
    /// Makes a blend of fitted members with their weights; each contributes `candidates`
    /// candidates.
    pub(super) fn new(members: Vec<(f32, Box<dyn Recommend>)>, candidates: usize) -> Self {
        Self {
            members,
            candidates,
        }
    }

    fn weights(&self) -> Vec<f32> {
        self.members.iter().map(|(weight, _)| *weight).collect()
    }

    /// Returns how many candidates each member contributes to an answer of `k` items.
    fn candidates_per_member(&self, k: usize) -> usize {
        self.candidates.max(2 * k)
    }

    /// Returns the candidates of all members for each history, ascending.
    pub(super) fn candidates(
        &self,
        histories: &[History],
        k: usize,
        eligible: &[Eligible],
    ) -> Vec<Vec<u32>> {
        let mut union: Vec<Vec<u32>> = vec![Vec::new(); histories.len()];
        for (_, member) in &self.members {
            let answers =
                member.recommend_batch(histories, self.candidates_per_member(k), eligible);
            for (items, answer) in union.iter_mut().zip(answers) {
                items.extend(answer.iter().map(|scored| scored.item));
            }
        }
        union.par_iter_mut().for_each(|items| {
            items.sort_unstable();
            items.dedup();
        });
        union
    }

    /// Scores the candidates of a history by every member.
    pub(super) fn standardize(&self, history: History, items: Vec<u32>) -> StandardizedScores {
        let score = |(_, member): &(f32, Box<dyn Recommend>)| {
            let deviation = member.score_deviation(history);
            let scale = if deviation > 0.0 {
                1.0 / deviation
            } else {
                0.0
            };
            member
                .score(history, &items)
                .into_iter()
                .map(|score| Some(score? * scale))
                .collect()
        };
        StandardizedScores {
            scores: self.members.iter().map(score).collect(),
            items,
        }
    }

    /// Returns the members that know which items are similar, by descending weight.
    fn members_with_similarity(&self) -> Vec<&dyn Recommend> {
        let mut members: Vec<&(f32, Box<dyn Recommend>)> = self
            .members
            .iter()
            .filter(|(_, member)| member.has_similarity())
            .collect();
        members.sort_by(|a, b| b.0.total_cmp(&a.0));
        members.iter().map(|(_, member)| member.as_ref()).collect()
    }

    /// Returns the member that answers which items are similar: the one with the largest weight.
    fn similarity_member(&self) -> Option<&dyn Recommend> {
        self.members_with_similarity().first().copied()
    }
}

impl Recommend for BlendModel {
    fn algorithm(&self) -> &'static str {
        "blend"
    }

    fn recommend(&self, history: History, k: usize, eligible: Eligible, buffer: &mut SearchBuffer) {
        let mut items: Vec<u32> = Vec::new();
        for (_, member) in &self.members {
            member.recommend(history, self.candidates_per_member(k), eligible, buffer);
            items.extend(buffer.items.iter().map(|scored| scored.item));
        }
        items.sort_unstable();
        items.dedup();
        buffer.items = self.standardize(history, items).best(&self.weights(), k);
    }

    fn recommend_batch(
        &self,
        histories: &[History],
        k: usize,
        eligible: &[Eligible],
    ) -> Vec<Vec<Scored>> {
        let weights = self.weights();
        let candidates = self.candidates(histories, k, eligible);
        histories
            .par_iter()
            .zip(candidates)
            .map(|(&history, items)| self.standardize(history, items).best(&weights, k))
            .collect()
    }

    fn warm(&self) {
        self.members.iter().for_each(|(_, member)| member.warm());
    }

    /// Answers as the member of the largest weight does.
    fn similar_items(&self, item: u32, k: usize, eligible: Eligible, buffer: &mut SearchBuffer) {
        buffer.items.clear();
        if let Some(member) = self.similarity_member() {
            member.similar_items(item, k, eligible, buffer);
        }
    }

    fn similarity(&self, a: u32, b: u32) -> f32 {
        self.similarity_member()
            .map_or(0.0, |member| member.similarity(a, b))
    }

    fn similarities(&self, a: u32, items: &[u32]) -> Vec<f32> {
        self.similarity_member().map_or_else(
            || vec![0.0; items.len()],
            |member| member.similarities(a, items),
        )
    }

    /// Explains each item as the member of the largest weight does that has an explanation for it.
    fn explain(&self, history: History, items: &[u32]) -> Vec<Option<u32>> {
        let mut explanations = vec![None; items.len()];
        for member in self.members_with_similarity() {
            if explanations.iter().all(Option::is_some) {
                break;
            }
            for (explanation, source) in explanations.iter_mut().zip(member.explain(history, items))
            {
                *explanation = explanation.or(source);
            }
        }
        explanations
    }

    fn score(&self, history: History, items: &[u32]) -> Vec<Option<f32>> {
        let weights = self.weights();
        let scores = self.standardize(history, items.to_vec());
        (0..items.len())
            .map(|candidate| scores.weighted_sum(candidate, &weights))
            .collect()
    }

    /// Returns the sum of the weights, an upper bound: the scores of each member have deviation 1.
    fn score_deviation(&self, _: History) -> f32 {
        self.weights().iter().sum()
    }

    fn knows_cold_item(&self, item: u32) -> bool {
        self.members
            .iter()
            .any(|(_, member)| member.knows_cold_item(item))
    }

    fn add_cold_items(&mut self, cold_items: &dyn ColdItems) {
        self.members
            .iter_mut()
            .for_each(|(_, member)| member.add_cold_items(cold_items));
    }

    fn scale_cold_scores(&mut self, scale: f32) {
        self.members
            .iter_mut()
            .for_each(|(_, member)| member.scale_cold_scores(scale));
    }

    /// Returns true if any member has vectors.
    fn use_device(&mut self, device: Device) -> Result<bool> {
        self.members.iter_mut().try_fold(false, |any, (_, member)| {
            Ok(member.use_device(device)? || any)
        })
    }

    /// Returns the vector of the first member that has one.
    fn vector(&self, history: History) -> Option<Vec<f32>> {
        self.members
            .iter()
            .find_map(|(_, member)| member.vector(history))
    }

    fn tensors(&self) -> Vec<Tensor<'_>> {
        self.members
            .iter()
            .flat_map(|(_, member)| member.tensors())
            .collect()
    }
}
