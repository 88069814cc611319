//! The vectors of all items, and every question that they answer.

use crate::error::Result;
use aisle_math::array::Array;
use aisle_math::dense;
use aisle_math::kernels::{add_rows, dot, dot_rows, simd};
use aisle_retrieval::bitmap::Bitmap;
use aisle_retrieval::device::Device;
use aisle_retrieval::exact::Exact;
use aisle_retrieval::index::{Eligible, Index, SearchBuffer};
use aisle_retrieval::inverted_lists::{InvertedLists, Retrieval};
use aisle_retrieval::neighbour_cache::{NEIGHBOURS, NeighbourCache};
use aisle_retrieval::on_device::OnDevice;
use aisle_retrieval::top_k::Scored;
use std::sync::{Arc, OnceLock};

/// Only filters that let more than one in this many items pass use remembered neighbours.
const LEAST_PASSING: usize = 8;

/// First and second moments of the item vectors.
struct Moments {
    mean: Vec<f32>,
    /// Mean of v vᵀ, `depth × depth`, row-major.
    second: Vec<f32>,
}

/// The vectors of all items, searchable.
pub(crate) struct Vectors {
    index: Arc<Exact>,
    /// Ranks batches in place of the index where a device was chosen.
    on_device: Option<OnDevice>,
    neighbour_cache: NeighbourCache,
    /// Items with a learned vector; `None` if all have one. A cosine does not see the length of a
    /// vector, so predicted vectors, which all lie in the middle of their category, would be the
    /// most similar to everything: they have similar items, but are never among the similar items.
    learned: Option<Bitmap>,
    /// Number of items that the model was fitted to, with or without events; others came later.
    fitted_items: usize,
    /// Moments of the vectors of the items fitted to, computed when they are first needed.
    moments: OnceLock<Moments>,
}

impl Vectors {
    /// Indexes `values`, one vector of `depth` numbers for each item, row-major.
    pub fn new(values: Array<f32>, depth: usize) -> Self {
        Self::with_lists(values, depth, None)
    }

    /// Indexes `values` in inverted lists, if there are any.
    pub fn with_lists(values: Array<f32>, depth: usize, lists: Option<InvertedLists>) -> Self {
        let index = Arc::new(Exact::with_lists(values, depth, lists));
        Self {
            fitted_items: index.len(),
            index,
            on_device: None,
            neighbour_cache: NeighbourCache::default(),
            learned: None,
            moments: OnceLock::new(),
        }
    }

    /// Returns the same vectors, with those of `items` marked as predicted and all others as
    /// learned.
    pub fn with_cold_items(self, items: &[u32]) -> Self {
        let mut learned = Bitmap::filled(self.len(), true);
        items.iter().for_each(|&item| learned.remove(item));
        Self {
            learned: (!items.is_empty()).then_some(learned),
            ..self
        }
    }

    /// Returns the same vectors as those of a model that was fitted to the first `items` items
    /// only.
    pub fn fitted_to(self, items: usize) -> Self {
        Self {
            fitted_items: items,
            ..self
        }
    }

    /// Returns how many items the model was fitted to.
    pub fn fitted_items(&self) -> usize {
        self.fitted_items
    }

    /// Returns an index of other vectors for the same items, all marked as learned.
    pub fn with_values(&self, values: Vec<f32>) -> Self {
        Self::new(values.into(), self.depth()).fitted_to(self.fitted_items)
    }

    /// Returns an index in which the vectors of `items`, which were predicted, are multiplied by
    /// `scale`.
    pub fn with_scaled_cold_items(&self, items: &[u32], scale: f32) -> Self {
        let mut values = self.values().to_vec();
        for &item in items {
            values[item as usize * self.depth()..][..self.depth()]
                .iter_mut()
                .for_each(|value| *value *= scale);
        }
        self.with_values(values).with_cold_items(items)
    }

    /// Divides the items into inverted lists if that is faster for queries like these. Returns what
    /// was measured; `None` if there are too few queries or items to tell.
    pub fn build_inverted_lists(&mut self, queries: &[Vec<f32>]) -> Option<Retrieval> {
        let queries: Vec<&[f32]> = queries.iter().map(Vec::as_slice).collect();
        let (lists, retrieval) = InvertedLists::of(&self.index, &queries)?;
        if retrieval.is_worthwhile() {
            self.index = Arc::new(Exact::with_lists(
                self.values().to_vec().into(),
                self.depth(),
                Some(lists),
            ));
        }
        Some(retrieval)
    }

    /// Ranks batches on `device` from now on. An index with inverted lists stays on the cores, so
    /// that a batch gives the same answers as a single search.
    ///
    /// # Errors
    /// [`crate::ModelError::Device`] if the device cannot be used.
    pub fn use_device(&mut self, device: Device) -> Result<()> {
        self.on_device = match device {
            Device::Cpu => None,
            _ if self.index.inverted_lists().is_some() => None,
            device => Some(OnDevice::new(self.index.clone(), device)?),
        };
        Ok(())
    }

    /// Returns all vectors, `items × depth`, row-major.
    pub fn values(&self) -> &[f32] {
        self.index.rows()
    }

    /// Returns the dimension of the vectors.
    pub fn depth(&self) -> usize {
        self.index.depth()
    }

    /// Returns the number of items.
    pub fn len(&self) -> usize {
        self.index.len()
    }

    /// Returns the number of items whose vector is long enough to have a direction.
    pub fn items_with_vector(&self) -> usize {
        self.index.items_with_direction()
    }

    /// Returns the inverted lists of the items, if they are divided into any.
    pub fn inverted_lists(&self) -> Option<&InvertedLists> {
        self.index.inverted_lists()
    }

    /// Returns the vector of an item.
    pub fn item(&self, item: u32) -> &[f32] {
        self.index.row(item)
    }

    /// Finds the items with the largest inner products with a query; none if there is no query, or
    /// if it is zero.
    pub fn recommend(
        &self,
        query: Option<&[f32]>,
        k: usize,
        eligible: Eligible,
        buffer: &mut SearchBuffer,
    ) {
        match query.filter(|query| !is_zero(query)) {
            Some(query) => self.index.search(query, k, eligible, buffer),
            None => buffer.items.clear(),
        }
    }

    /// Answers each query as [`Vectors::recommend`] does, on all threads or on the device.
    pub fn recommend_batch(
        &self,
        queries: &[Option<Vec<f32>>],
        k: usize,
        eligible: &[Eligible],
    ) -> Vec<Vec<Scored>> {
        let zero = vec![0f32; self.depth()];
        let queries: Vec<&[f32]> = queries
            .iter()
            .map(|query| query.as_deref().unwrap_or(&zero))
            .collect();
        let index: &dyn Index = match &self.on_device {
            Some(on_device) => on_device,
            None => self.index.as_ref(),
        };
        let mut results = index.search_batch(&queries, k, eligible);
        // The index ranks for a zero query too, but such a query knows of no taste.
        for (result, query) in results.iter_mut().zip(&queries) {
            if is_zero(query) {
                result.clear();
            }
        }
        results
    }

    /// Finds the items with the largest cosine with `item`, predicted ones left out. A search by
    /// cosine has to read all items, so the nearest of an item are remembered: if enough of them
    /// are eligible, they are the answer.
    pub fn similar_items(
        &self,
        item: u32,
        k: usize,
        eligible: Eligible,
        buffer: &mut SearchBuffer,
    ) {
        if is_zero(self.item(item)) {
            buffer.items.clear();
            return;
        }
        let allowed = self.learned.as_ref().map(|learned| {
            let mut allowed = eligible.allowed.clone();
            allowed.intersect(learned);
            allowed
        });
        let eligible = Eligible::without(
            allowed.as_ref().unwrap_or(eligible.allowed),
            eligible.except,
        );
        if self.similar_from_cache(item, k, eligible, buffer) {
            return;
        }
        self.index
            .search_cosine(self.item(item), k, eligible, buffer);
    }

    /// Answers [`Vectors::similar_items`] from the remembered neighbours of `item`. Returns false
    /// if fewer than `k` of them are eligible, or if a search is faster: where a filter lets few
    /// items pass, it reads few, and hardly any remembered neighbour passes.
    fn similar_from_cache(
        &self,
        item: u32,
        k: usize,
        eligible: Eligible,
        buffer: &mut SearchBuffer,
    ) -> bool {
        if k >= NEIGHBOURS || LEAST_PASSING * eligible.allowed.count() <= self.len() {
            return false;
        }
        let find = || {
            let mut buffer = SearchBuffer::default();
            let learned = self
                .learned
                .clone()
                .unwrap_or_else(|| Bitmap::filled(self.len(), true));
            let query = self.item(item);
            self.index
                .search_cosine(query, NEIGHBOURS, Eligible::new(&learned), &mut buffer);
            buffer.items.iter().map(|scored| scored.item).collect()
        };
        let Some(neighbours) = self.neighbour_cache.get_or_find(item, find) else {
            return false;
        };
        let passing = neighbours
            .iter()
            .copied()
            .filter(|&neighbour| eligible.contains(neighbour))
            .take(k);
        self.index.nearest_of(self.item(item), passing, k, buffer);
        buffer.items.len() == k
    }

    /// Computes ahead what the first answer would otherwise have to wait for.
    pub fn warm(&self) {
        self.score_deviation(&vec![0.0; self.depth()]);
    }

    /// Returns the cosine of two items; 0 if one of them has no vector.
    pub fn similarity(&self, a: u32, b: u32) -> f32 {
        let (a, b) = (self.item(a), self.item(b));
        let lengths = (dot(a, a) * dot(b, b)).sqrt();
        if lengths > 0.0 {
            dot(a, b) / lengths
        } else {
            0.0
        }
    }

    /// Returns the cosine of `a` with each of `items`.
    pub fn similarities(&self, a: u32, items: &[u32]) -> Vec<f32> {
        let mut products = vec![0f32; items.len()];
        dot_rows(simd(), self.values(), items, self.item(a), &mut products);
        let length = self.index.inverse_length(a);
        products
            .iter_mut()
            .zip(items)
            .for_each(|(product, &item)| *product *= length * self.index.inverse_length(item));
        products
    }

    /// Returns the inner product of a query with each of `items`, the same bits as in a search.
    pub fn score(&self, query: Option<&[f32]>, items: &[u32]) -> Vec<Option<f32>> {
        let Some(query) = query else {
            return vec![None; items.len()];
        };
        let mut scores = vec![0f32; items.len()];
        dot_rows(simd(), self.values(), items, query, &mut scores);
        scores
            .into_iter()
            .map(|score| score.is_finite().then_some(score))
            .collect()
    }

    /// Returns the scores of `items` in standard deviations of the query's scores over all items.
    pub fn standardized_scores(&self, query: Option<&[f32]>, items: &[u32]) -> Vec<Option<f32>> {
        let deviation = query.map_or(0.0, |query| self.score_deviation(query));
        let mut scores = self.score(query.filter(|_| deviation > 0.0), items);
        scores
            .iter_mut()
            .flatten()
            .for_each(|score| *score /= deviation);
        scores
    }

    /// Returns the standard deviation of a query's scores over all items: √(qᵀ C q) with the
    /// covariance C of the vectors. O(d²), after O(items · d²) once.
    pub fn score_deviation(&self, query: &[f32]) -> f32 {
        let Moments { mean, second } = self.moments.get_or_init(|| self.moments());
        let rows: Vec<u32> = (0..self.depth() as u32).collect();
        let mut product = vec![0f32; self.depth()];
        add_rows(simd(), second, &rows, query, &mut product);
        let (mean_score, mean_square) = (dot(mean, query), dot(&product, query));
        (mean_square - mean_score * mean_score).max(0.0).sqrt()
    }

    fn moments(&self) -> Moments {
        let count = self.fitted_items.max(1) as f32;
        let values = &self.values()[..self.fitted_items * self.depth()];
        let mut mean = vec![0f32; self.depth()];
        values.chunks(self.depth()).for_each(|row| {
            mean.iter_mut()
                .zip(row)
                .for_each(|(sum, value)| *sum += value / count)
        });
        // Block after block on this thread: the caller holds a lock, and a thread that waits for
        // others inside a lock could be given work that needs the same lock.
        let mut second = vec![0f32; self.depth() * self.depth()];
        for block in values.chunks(dense::BLOCK * self.depth()) {
            let part = dense::gram(block, self.depth());
            second
                .iter_mut()
                .zip(part)
                .for_each(|(sum, value)| *sum += value / count);
        }
        Moments { mean, second }
    }
}

fn is_zero(vector: &[f32]) -> bool {
    vector.iter().all(|&value| value == 0.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::algorithms::random::normal_matrix;

    #[test]
    fn cached_neighbours_are_those_of_a_search() {
        let (items, depth) = (400usize, 6);
        let mut values = normal_matrix((items, depth), 1.0, 7);
        // Copies are ties, and zeros are similar to nothing.
        values.copy_within(0..60, 60);
        values[600..900].fill(0.0);
        let vectors = Vectors::new(values.into(), depth);
        let allowed = [
            Bitmap::filled(items, true),
            Bitmap::of(items, |item| item % 3 == 1),
            Bitmap::of(items, |item| item > 390),
        ];
        let (mut searched, mut found) = (SearchBuffer::default(), SearchBuffer::default());
        for item in [0, 10, 13, 120, 399] {
            for k in [1, 20, 63, 64, 100] {
                for allowed in &allowed {
                    let eligible = Eligible::without(allowed, &[3, 10]);
                    vectors
                        .index
                        .search_cosine(vectors.item(item), k, eligible, &mut searched);
                    vectors.similar_items(item, k, eligible, &mut found);
                    let expected = if is_zero(vectors.item(item)) {
                        Vec::new()
                    } else {
                        searched.items.clone()
                    };
                    assert_eq!(found.items, expected, "item {item}, k {k}");
                }
            }
        }
        // One of the five has no vector.
        assert_eq!(vectors.neighbour_cache.len(), 4);
    }

    #[test]
    fn cold_items_are_never_similar_items() {
        let values = normal_matrix((400, 6), 1.0, 7);
        let vectors = Vectors::new(values.into(), 6).with_cold_items(&[7, 20, 399]);
        let all = Bitmap::filled(400, true);
        let mut found = SearchBuffer::default();
        for item in [0, 7, 399] {
            vectors.similar_items(item, 60, Eligible::new(&all), &mut found);
            assert_eq!(found.items.len(), 60);
            assert!(
                found
                    .items
                    .iter()
                    .all(|scored| ![7, 20, 399].contains(&scored.item)),
                "item {item}"
            );
        }
    }
}
