//! The fitted model of every item-to-item algorithm: sparse rows of weights.
//!
//! In: [`Neighbours`], whatever algorithm found them. Out: a [`Recommend`] whose scores are the sum
//! of the rows of the history's items, each times its confidence.

use crate::algorithms::neighbours::{Names, Neighbours};
use crate::algorithms::recommend::{ColdItems, History, Recommend, largest_contribution};
use crate::algorithms::scaling::Scaling;
use crate::error::Result;
use crate::weights::{Tensor, Weights};
use aisle_math::array::Array;
use aisle_retrieval::index::{Eligible, SearchBuffer};

/// Weights from item to item, as any of several algorithms fits them.
pub struct ItemItemModel {
    algorithm: &'static str,
    /// Names of the arrays of `neighbours` in a version.
    names: Names,
    /// Name of the array of `cold` in a version.
    cold_name: &'static str,
    /// The weights from each item.
    neighbours: Neighbours,
    /// How the values of histories become confidences.
    scaling: Scaling,
    /// Items whose weights were predicted from their content, ascending.
    cold: Array<u32>,
    /// Number of items that the model was fitted to; others came later.
    fitted_items: usize,
}

impl ItemItemModel {
    fn new(
        algorithm: &'static str,
        (names, cold_name): (Names, &'static str),
        neighbours: Neighbours,
        scaling: Scaling,
    ) -> Self {
        let fitted_items = neighbours.len();
        Self {
            algorithm,
            names,
            cold_name,
            neighbours,
            scaling,
            cold: Array::default(),
            fitted_items,
        }
    }

    /// Makes a model of neighbours by co-occurrence, for example in orders.
    pub fn knn(neighbours: Neighbours, scaling: Scaling) -> Self {
        let names = ["item_knn.offsets", "item_knn.items", "item_knn.scores"];
        Self::new("item-knn", (names, "item_knn.cold"), neighbours, scaling)
    }

    /// Makes a model of the weights of a linear graph filter.
    pub(crate) fn linear_filter(neighbours: Neighbours, scaling: Scaling) -> Self {
        let names = [
            "linear_filter.offsets",
            "linear_filter.items",
            "linear_filter.scores",
        ];
        Self::new(
            "linear-filter",
            (names, "linear_filter.cold"),
            neighbours,
            scaling,
        )
    }

    /// Makes a model of the weights of local ridge regressions.
    pub(crate) fn local_ridge(neighbours: Neighbours, scaling: Scaling) -> Self {
        let names = [
            "local_ridge.offsets",
            "local_ridge.items",
            "local_ridge.scores",
        ];
        Self::new(
            "local-ridge",
            (names, "local_ridge.cold"),
            neighbours,
            scaling,
        )
    }

    /// Makes a model of the weights of EASE.
    pub(crate) fn ease(neighbours: Neighbours, scaling: Scaling) -> Self {
        let names = ["ease.offsets", "ease.items", "ease.scores"];
        Self::new("ease", (names, "ease.cold"), neighbours, scaling)
    }

    /// Returns the weights alone.
    pub(crate) fn into_neighbours(self) -> Neighbours {
        self.neighbours
    }

    /// Takes the arrays of a version, those of the algorithm of `self`.
    pub(crate) fn load(mut self, items: usize, weights: &mut Weights) -> Result<Self> {
        self.neighbours = Neighbours::load(self.names, items, weights)?;
        self.cold = weights.some_rows(self.cold_name, items)?;
        self.fitted_items = weights.learned(items);
        Ok(self)
    }

    /// Returns the items of a history with their confidences.
    fn sources<'a>(&self, history: History<'a>) -> impl Iterator<Item = (u32, f32)> + 'a {
        let scaling = self.scaling;
        history
            .items
            .iter()
            .zip(history.values)
            .map(move |(&item, &value)| (item, scaling.of(value)))
    }
}

impl Recommend for ItemItemModel {
    fn algorithm(&self) -> &'static str {
        self.algorithm
    }

    fn recommend(&self, history: History, k: usize, eligible: Eligible, buffer: &mut SearchBuffer) {
        self.neighbours
            .accumulate(self.sources(history), k, eligible, buffer);
    }

    fn similar_items(&self, item: u32, k: usize, eligible: Eligible, buffer: &mut SearchBuffer) {
        self.neighbours
            .accumulate(std::iter::once((item, 1.0)), k, eligible, buffer);
        // A negative weight says that shoppers choose one of the two items instead of the other.
        buffer.items.retain(|scored| scored.score > 0.0);
    }

    /// A score is a sum over the history, so the contributions are exact. O(weights of its items).
    fn explain(&self, history: History, items: &[u32]) -> Vec<Option<u32>> {
        let mut contributions: Vec<Vec<(u32, f32)>> = vec![Vec::new(); items.len()];
        for (source, weight) in self.sources(history) {
            for neighbour in self.neighbours.row(source) {
                if let Some(at) = items.iter().position(|&item| item == neighbour.item) {
                    contributions[at].push((source, weight * neighbour.score));
                }
            }
        }
        items
            .iter()
            .zip(contributions)
            .map(|(&item, contributions)| largest_contribution(contributions.into_iter(), item))
            .collect()
    }

    fn similarity(&self, a: u32, b: u32) -> f32 {
        self.neighbours
            .row(a)
            .find(|neighbour| neighbour.item == b)
            .map_or(0.0, |neighbour| neighbour.score)
    }

    fn score(&self, history: History, items: &[u32]) -> Vec<Option<f32>> {
        self.neighbours.with_sums(self.sources(history), |sums| {
            items.iter().map(|&item| sums.get(item)).collect()
        })
    }

    fn score_deviation(&self, history: History) -> f32 {
        self.neighbours.with_sums(self.sources(history), |sums| {
            sums.deviation(self.fitted_items)
        })
    }

    fn knows_cold_item(&self, item: u32) -> bool {
        self.cold.binary_search(&item).is_ok()
    }

    fn add_cold_items(&mut self, cold_items: &dyn ColdItems) {
        let learned = self.neighbours.without(&self.cold);
        self.neighbours = cold_items.rows(&learned);
        self.cold = cold_items.items().to_vec().into();
    }

    fn scale_cold_scores(&mut self, scale: f32) {
        self.neighbours = self.neighbours.scaled(|item| {
            if self.cold.binary_search(&item).is_ok() {
                scale
            } else {
                1.0
            }
        });
    }

    fn tensors(&self) -> Vec<Tensor<'_>> {
        let mut tensors = self.neighbours.tensors(self.names);
        tensors.extend((!self.cold.is_empty()).then(|| Tensor::u32(self.cold_name, &self.cold)));
        tensors
    }
}
