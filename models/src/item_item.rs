//! What every item-item model becomes: sparse rows of weights, a shopper's score the weighted sum of the rows of their history.

use crate::Result;
use crate::als::Scaling;
use crate::content::Newcomers;
use crate::index::{Eligible, Found};
use crate::neighbours::{Names, Neighbours};
use crate::recommend::{History, Recommend, strongest};
use crate::weights::{Array, Tensor, Weights};

/// Rows of item → item weights.
pub struct ItemItemModel {
    algorithm: &'static str,
    names: Names,
    neighbours: Neighbours,
    scaling: Scaling,
    /// Name of the array of `cold`.
    cold_name: &'static str,
    /// Items whose weights come from their content, ascending.
    cold: Array<u32>,
    /// Items that it was fitted to; others came since.
    fitted: usize,
}

impl ItemItemModel {
    fn new(algorithm: &'static str, (names, cold_name): (Names, &'static str), neighbours: Neighbours, scaling: Scaling) -> Self {
        let fitted = neighbours.offsets.len().saturating_sub(1);
        Self { algorithm, names, neighbours, scaling, cold_name, cold: Array::default(), fitted }
    }

    /// Neighbours by co-occurrence, for example on orders.
    pub fn knn(neighbours: Neighbours, scaling: Scaling) -> Self {
        let names = ["item_knn.offsets", "item_knn.items", "item_knn.scores"];
        Self::new("item-knn", (names, "item_knn.cold"), neighbours, scaling)
    }

    pub(crate) fn linear_filter(neighbours: Neighbours, scaling: Scaling) -> Self {
        let names = ["linear_filter.offsets", "linear_filter.items", "linear_filter.scores"];
        Self::new("linear-filter", (names, "linear_filter.cold"), neighbours, scaling)
    }

    pub(crate) fn local_ridge(neighbours: Neighbours, scaling: Scaling) -> Self {
        let names = ["local_ridge.offsets", "local_ridge.items", "local_ridge.scores"];
        Self::new("local-ridge", (names, "local_ridge.cold"), neighbours, scaling)
    }

    pub(crate) fn ease(neighbours: Neighbours, scaling: Scaling) -> Self {
        let names = ["ease.offsets", "ease.items", "ease.scores"];
        Self::new("ease", (names, "ease.cold"), neighbours, scaling)
    }

    /// Its rows.
    pub(crate) fn into_neighbours(self) -> Neighbours {
        self.neighbours
    }

    /// Takes the arrays of a version; `self` says which algorithm's.
    pub(crate) fn load(mut self, items: usize, weights: &mut Weights) -> Result<Self> {
        self.neighbours = Neighbours::load(self.names, items, weights)?;
        self.cold = weights.some_rows(self.cold_name, items)?;
        self.fitted = weights.learned(items);
        Ok(self)
    }

    fn sources<'a>(&self, history: History<'a>) -> impl Iterator<Item = (u32, f32)> + 'a {
        let scaling = self.scaling;
        history.items.iter().zip(history.values).map(move |(&item, &value)| (item, scaling.of(value)))
    }
}

impl Recommend for ItemItemModel {
    fn algorithm(&self) -> &'static str {
        self.algorithm
    }

    fn recommend(&self, history: History, k: usize, eligible: Eligible, found: &mut Found) {
        self.neighbours.accumulate(self.sources(history), k, eligible, found);
    }

    fn similar_items(&self, item: u32, k: usize, eligible: Eligible, found: &mut Found) {
        self.neighbours.accumulate(std::iter::once((item, 1.0)), k, eligible, found);
        // A negative weight says that two items are chosen instead of each other.
        found.items.retain(|scored| scored.score > 0.0);
    }

    /// A score is a sum over the history, so its parts are exact. O(entries of the history's rows).
    fn explain(&self, history: History, items: &[u32]) -> Vec<Option<u32>> {
        let mut parts: Vec<Vec<(u32, f32)>> = vec![Vec::new(); items.len()];
        for (source, weight) in self.sources(history) {
            for neighbour in self.neighbours.row(source) {
                if let Some(at) = items.iter().position(|&item| item == neighbour.item) {
                    parts[at].push((source, weight * neighbour.score));
                }
            }
        }
        items.iter().zip(parts).map(|(&item, parts)| strongest(parts.into_iter(), item)).collect()
    }

    fn similarity(&self, a: u32, b: u32) -> f32 {
        self.neighbours.row(a).find(|neighbour| neighbour.item == b).map_or(0.0, |neighbour| neighbour.score)
    }

    fn score(&self, history: History, items: &[u32]) -> Vec<Option<f32>> {
        self.neighbours.with_sums(self.sources(history), |sums| items.iter().map(|&item| sums.get(item)).collect())
    }

    fn deviation(&self, history: History) -> f32 {
        self.neighbours.with_sums(self.sources(history), |sums| sums.deviation(self.fitted))
    }

    fn knows(&self, item: u32) -> bool {
        self.cold.binary_search(&item).is_ok()
    }

    fn introduce(&mut self, newcomers: &Newcomers) {
        let learned = self.neighbours.without(&self.cold);
        self.neighbours = newcomers.rows(&learned);
        self.cold = newcomers.items().to_vec().into();
    }

    fn soften(&mut self, scale: f32) {
        self.neighbours = self.neighbours.scaled(|item| if self.cold.binary_search(&item).is_ok() { scale } else { 1.0 });
    }

    fn tensors(&self) -> Vec<Tensor<'_>> {
        let mut tensors = self.neighbours.tensors(self.names);
        tensors.extend((!self.cold.is_empty()).then(|| Tensor::u32(self.cold_name, &self.cold)));
        tensors
    }
}
