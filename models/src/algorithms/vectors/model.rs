//! Models that turn a history into a query vector: what they must say, and how they then recommend.

use crate::algorithms::recommend::{ColdItems, History, Recommend};
use crate::algorithms::vectors::item_vectors::Vectors;
use crate::algorithms::vectors::stored_lists::list_tensors;
use crate::error::Result;
use crate::weights::Tensor;
use aisle_retrieval::device::Device;
use aisle_retrieval::index::{Eligible, SearchBuffer};
use aisle_retrieval::inverted_lists::Retrieval;
use aisle_retrieval::top_k::Scored;
use rayon::prelude::*;

/// A model that turns a history into a query and scores an item by the inner product of its vector
/// with the query. Such a model is a [`Recommend`].
pub(crate) trait VectorModel: Send + Sync {
    /// See [`Recommend::algorithm`].
    fn algorithm(&self) -> &'static str;

    /// Returns the vectors of the items.
    fn vectors(&self) -> &Vectors;

    /// Returns the vectors of the items, to change how they are searched.
    fn vectors_mut(&mut self) -> &mut Vectors;

    /// Returns the query vector of a history; `None` if nothing is known of the shopper.
    fn query(&self, history: History) -> Option<Vec<f32>>;

    /// See [`Recommend::explain`].
    fn explain(&self, history: History, items: &[u32]) -> Vec<Option<u32>>;

    /// See [`Recommend::knows_cold_item`].
    fn knows_cold_item(&self, _item: u32) -> bool {
        false
    }

    /// See [`Recommend::add_cold_items`].
    fn add_cold_items(&mut self, _cold_items: &dyn ColdItems) {}

    /// See [`Recommend::scale_cold_scores`].
    fn scale_cold_scores(&mut self, _scale: f32) {}

    /// Returns the number of items with a vector from which on inverted lists are tried; `None` if
    /// vectors differ in length, for then an exact search can skip items by itself.
    fn lists_from(&self) -> Option<usize> {
        None
    }

    /// Returns the arrays that a version stores of this model, without its inverted lists.
    fn tensors(&self) -> Vec<Tensor<'_>>;
}

impl<T: VectorModel> Recommend for T {
    fn algorithm(&self) -> &'static str {
        VectorModel::algorithm(self)
    }

    fn recommend(&self, history: History, k: usize, eligible: Eligible, buffer: &mut SearchBuffer) {
        self.vectors()
            .recommend(self.query(history).as_deref(), k, eligible, buffer);
    }

    fn recommend_batch(
        &self,
        histories: &[History],
        k: usize,
        eligible: &[Eligible],
    ) -> Vec<Vec<Scored>> {
        let queries: Vec<Option<Vec<f32>>> = histories
            .par_iter()
            .map(|&history| self.query(history))
            .collect();
        self.vectors().recommend_batch(&queries, k, eligible)
    }

    fn similar_items(&self, item: u32, k: usize, eligible: Eligible, buffer: &mut SearchBuffer) {
        self.vectors().similar_items(item, k, eligible, buffer);
    }

    fn similarity(&self, a: u32, b: u32) -> f32 {
        self.vectors().similarity(a, b)
    }

    fn similarities(&self, a: u32, items: &[u32]) -> Vec<f32> {
        self.vectors().similarities(a, items)
    }

    fn explain(&self, history: History, items: &[u32]) -> Vec<Option<u32>> {
        VectorModel::explain(self, history, items)
    }

    fn score(&self, history: History, items: &[u32]) -> Vec<Option<f32>> {
        self.vectors().score(self.query(history).as_deref(), items)
    }

    fn standardized_scores(&self, history: History, items: &[u32]) -> Vec<Option<f32>> {
        self.vectors()
            .standardized_scores(self.query(history).as_deref(), items)
    }

    fn score_deviation(&self, history: History) -> f32 {
        self.query(history)
            .map_or(0.0, |query| self.vectors().score_deviation(&query))
    }

    fn knows_cold_item(&self, item: u32) -> bool {
        VectorModel::knows_cold_item(self, item)
    }

    fn add_cold_items(&mut self, cold_items: &dyn ColdItems) {
        VectorModel::add_cold_items(self, cold_items);
    }

    fn scale_cold_scores(&mut self, scale: f32) {
        VectorModel::scale_cold_scores(self, scale);
    }

    fn use_device(&mut self, device: Device) -> Result<bool> {
        self.vectors_mut().use_device(device).map(|()| true)
    }

    fn build_inverted_lists(&mut self, histories: &[History]) -> Option<Retrieval> {
        self.lists_from()
            .filter(|&from| self.vectors().items_with_vector() >= from)?;
        let queries: Vec<Vec<f32>> = histories
            .par_iter()
            .filter_map(|&history| self.query(history))
            .collect();
        self.vectors_mut().build_inverted_lists(&queries)
    }

    fn warm(&self) {
        self.vectors().warm();
    }

    fn inverted_lists(&self) -> Option<(usize, usize)> {
        self.vectors()
            .inverted_lists()
            .map(|lists| (lists.len(), lists.min_probes()))
    }

    fn vector(&self, history: History) -> Option<Vec<f32>> {
        self.query(history)
    }

    fn tensors(&self) -> Vec<Tensor<'_>> {
        let mut tensors = VectorModel::tensors(self);
        tensors.extend(
            self.vectors()
                .inverted_lists()
                .into_iter()
                .flat_map(list_tensors),
        );
        tensors
    }
}
