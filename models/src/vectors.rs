//! Item vectors and what every model made of them does: rank by inner product, compare by cosine.

use crate::dense;
use crate::index::{Eligible, Exact, Found, Index};
use crate::kernels::{dot, score_rows, simd};
use crate::top_k::Scored;
use crate::weights::Array;
use std::sync::OnceLock;

/// The vectors of all items.
pub(crate) struct Vectors {
    /// `items × depth`, row-major.
    pub values: Array<f32>,
    /// Dimension.
    pub depth: usize,
    index: Exact,
    /// Mean vector, and the covariance matrix of the vectors over items: made when first asked for.
    moments: OnceLock<(Vec<f32>, Vec<f32>)>,
}

impl Vectors {
    /// Packs row-major vectors.
    pub fn new(values: Array<f32>, depth: usize) -> Self {
        let index = Exact::new(&values, depth);
        Self { values, depth, index, moments: OnceLock::new() }
    }

    /// Items.
    pub fn len(&self) -> usize {
        self.values.len() / self.depth
    }

    /// The vector of an item.
    pub fn item(&self, item: u32) -> &[f32] {
        &self.values[item as usize * self.depth..][..self.depth]
    }

    /// The best for a query; nothing for none.
    pub fn recommend(&self, query: Option<&[f32]>, k: usize, eligible: Eligible, found: &mut Found) {
        match query.filter(|query| query.iter().any(|&value| value != 0.0)) {
            Some(query) => self.index.search(query, k, eligible, found),
            None => found.items.clear(),
        }
    }

    /// The same for many queries, on all threads.
    pub fn recommend_batch(&self, queries: &[Option<Vec<f32>>], k: usize, eligible: &[Eligible]) -> Vec<Vec<Scored>> {
        let nothing = vec![0f32; self.depth];
        let known: Vec<&[f32]> = queries.iter().map(|query| query.as_deref().unwrap_or(&nothing)).collect();
        let mut results = self.index.search_batch(&known, k, eligible);
        // A history of nothing, or of items that were never trained on, is no taste.
        let blank = |query: &&[f32]| query.iter().all(|&value| value == 0.0);
        for (result, _) in results.iter_mut().zip(&known).filter(|(_, query)| blank(query)) {
            result.clear();
        }
        results
    }

    /// The items with the largest cosine.
    pub fn similar(&self, item: u32, k: usize, eligible: Eligible, found: &mut Found) {
        if self.item(item).iter().all(|&value| value == 0.0) {
            found.items.clear();
            return;
        }
        self.index.search_cosine(self.item(item), k, eligible, found);
    }

    /// The cosine of two items; 0 where one has no vector.
    pub fn similarity(&self, a: u32, b: u32) -> f32 {
        let (a, b) = (self.item(a), self.item(b));
        let lengths = (dot(a, a) * dot(b, b)).sqrt();
        if lengths > 0.0 { dot(a, b) / lengths } else { 0.0 }
    }

    /// Inner products with given items, the same bits as a search.
    pub fn score(&self, query: Option<&[f32]>, items: &[u32]) -> Vec<Option<f32>> {
        let Some(query) = query else { return vec![None; items.len()] };
        let mut scores = vec![0f32; items.len()];
        score_rows(simd(), &self.values, items, query, &mut scores);
        scores.into_iter().map(|score| score.is_finite().then_some(score)).collect()
    }

    /// The standard deviation of a query's scores over all items: √(qᵀ C q) with the covariance C of the vectors. O(d²).
    pub fn deviation(&self, query: &[f32]) -> f32 {
        let (mean, square) = self.moments.get_or_init(|| {
            let count = self.len().max(1) as f32;
            let mut mean = vec![0f32; self.depth];
            self.values.chunks(self.depth).for_each(|row| mean.iter_mut().zip(row).for_each(|(sum, value)| *sum += value / count));
            // Block after block on this thread: who waits inside a lock must not lend itself to other work.
            let mut square = vec![0f32; self.depth * self.depth];
            for block in self.values.chunks(dense::BLOCK * self.depth) {
                let part = dense::gram(block, self.depth);
                square.iter_mut().zip(part).for_each(|(sum, value)| *sum += value / count);
            }
            (mean, square)
        });
        let second: f32 = square.chunks(self.depth).zip(query).map(|(row, &value)| value * dot(row, query)).sum();
        let first = dot(mean, query);
        (second - first * first).max(0.0).sqrt()
    }
}
