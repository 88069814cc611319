//! Item vectors and what every model made of them does: rank by inner product, compare by cosine.

use crate::Result;
use crate::bitmap::Bitmap;
use crate::content::Newcomers;
use crate::dense;
use crate::device::Device;
use crate::exact::Exact;
use crate::index::{Eligible, Found, Index};
use crate::kernels::{add_rows, dot, dot_rows, simd};
use crate::lists::{Lists, Retrieval};
use crate::near::{NEAR, Near};
use crate::on_device::OnDevice;
use crate::recommend::{History, Recommend};
use crate::top_k::Scored;
use crate::weights::{Array, Tensor};
use aisle_data::SplitMix;
use rayon::prelude::*;
use std::sync::{Arc, OnceLock};

/// `rows × width` normal numbers of the given deviation, one generator a row: a row's numbers depend on its place and the seed alone.
pub(crate) fn random((rows, width): (usize, usize), deviation: f32, seed: u64) -> Vec<f32> {
    let mut values = vec![0f32; rows * width];
    values.par_chunks_mut(width).enumerate().for_each(|(row, values)| {
        let mut random = SplitMix(seed ^ (row as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15));
        values.iter_mut().for_each(|value| *value = deviation * random.normal());
    });
    values
}

/// A model that turns a history into a query and ranks items by the inner product of their vectors with it.
pub(crate) trait ByVectors: Send + Sync {
    /// The arrays that hold neighbours, see [`Near::load`].
    const NEAR: [&'static str; 2];

    /// See [`Recommend::algorithm`].
    fn algorithm(&self) -> &'static str;

    /// Of the items.
    fn vectors(&self) -> &Vectors;

    /// The same, to be changed.
    fn vectors_mut(&mut self) -> &mut Vectors;

    /// The vector of a history; `None` where nothing is known.
    fn query(&self, history: History) -> Option<Vec<f32>>;

    /// See [`Recommend::explain`].
    fn explain(&self, history: History, items: &[u32]) -> Vec<Option<u32>>;

    /// See [`Recommend::knows`].
    fn knows(&self, _item: u32) -> bool {
        false
    }

    /// See [`Recommend::introduce`].
    fn introduce(&mut self, _newcomers: &Newcomers) {}

    /// See [`Recommend::soften`].
    fn soften(&mut self, _scale: f32) {}

    /// From how many items on lists of them are tried; `None` where an exact search can leave some out, because vectors differ in length.
    fn lists_from(&self) -> Option<usize> {
        None
    }

    /// See [`Recommend::tensors`].
    fn tensors(&self) -> Vec<Tensor<'_>>;
}

impl<T: ByVectors> Recommend for T {
    fn algorithm(&self) -> &'static str {
        ByVectors::algorithm(self)
    }

    fn recommend(&self, history: History, k: usize, eligible: Eligible, found: &mut Found) {
        self.vectors().recommend(self.query(history).as_deref(), k, eligible, found);
    }

    fn recommend_batch(&self, histories: &[History], k: usize, eligible: &[Eligible]) -> Vec<Vec<Scored>> {
        let queries: Vec<Option<Vec<f32>>> = histories.par_iter().map(|&history| self.query(history)).collect();
        self.vectors().recommend_batch(&queries, k, eligible)
    }

    fn similar_items(&self, item: u32, k: usize, eligible: Eligible, found: &mut Found) {
        self.vectors().similar(item, k, eligible, found);
    }

    fn similarity(&self, a: u32, b: u32) -> f32 {
        self.vectors().similarity(a, b)
    }

    fn similarities(&self, a: u32, items: &[u32]) -> Vec<f32> {
        self.vectors().similarities(a, items)
    }

    fn explain(&self, history: History, items: &[u32]) -> Vec<Option<u32>> {
        ByVectors::explain(self, history, items)
    }

    fn score(&self, history: History, items: &[u32]) -> Vec<Option<f32>> {
        self.vectors().score(self.query(history).as_deref(), items)
    }

    fn standing(&self, history: History, items: &[u32]) -> Vec<Option<f32>> {
        self.vectors().standing(self.query(history).as_deref(), items)
    }

    fn deviation(&self, history: History) -> f32 {
        self.query(history).map_or(0.0, |query| self.vectors().deviation(&query))
    }

    fn knows(&self, item: u32) -> bool {
        ByVectors::knows(self, item)
    }

    fn introduce(&mut self, newcomers: &Newcomers) {
        ByVectors::introduce(self, newcomers);
    }

    fn soften(&mut self, scale: f32) {
        ByVectors::soften(self, scale);
    }

    fn rank_on(&mut self, device: Device) -> Result<bool> {
        self.vectors_mut().rank_on(device).map(|()| true)
    }

    fn partition(&mut self, histories: &[History]) -> Option<Retrieval> {
        self.lists_from().filter(|&from| self.vectors().index.known() >= from)?;
        let queries: Vec<Vec<f32>> = histories.par_iter().filter_map(|&history| self.query(history)).collect();
        self.vectors_mut().partition(&queries)
    }

    fn store_neighbours(&mut self, items: &[u32]) {
        self.vectors_mut().store_neighbours(items);
    }

    fn warm(&self) {
        self.vectors().warm();
    }

    fn lists(&self) -> Option<(usize, usize)> {
        self.vectors().index.lists().map(|lists| (lists.len(), lists.least()))
    }

    fn vector(&self, history: History) -> Option<Vec<f32>> {
        self.query(history)
    }

    fn tensors(&self) -> Vec<Tensor<'_>> {
        let mut tensors = ByVectors::tensors(self);
        tensors.extend(self.vectors().index.lists().into_iter().flat_map(Lists::tensors));
        tensors.extend(self.vectors().near.tensors(T::NEAR));
        tensors
    }
}

/// Multiply-adds of 8 bits that a version's neighbours may cost when it is made: some three seconds of a core.
const WORK: usize = 128_000_000_000;

/// The vectors of all items.
pub(crate) struct Vectors {
    index: Arc<Exact>,
    /// What answers batches, if not the index itself.
    batches: Option<OnDevice>,
    near: Near,
    /// Items with a learned vector, if some have one that was only inferred. A cosine sees no length, so the inferred ones, which all lie in
    /// the middle of their category, would be the nearest to everything: they are like items, but no item is said to be like them.
    learned: Option<Bitmap>,
    /// Items that a model was fitted to, with or without events; others came since.
    fitted: usize,
    /// Mean vector, and the covariance matrix of the vectors over the items fitted to: made when first asked for.
    moments: OnceLock<(Vec<f32>, Vec<f32>)>,
}

impl Vectors {
    /// Packs row-major vectors.
    pub fn new(values: Array<f32>, depth: usize) -> Self {
        Self::with_lists(values, depth, None)
    }

    /// The same, in lists if there are any.
    pub fn with_lists(values: Array<f32>, depth: usize, lists: Option<Lists>) -> Self {
        let index = Arc::new(Exact::with_lists(values, depth, lists));
        Self { fitted: index.len(), index, batches: None, near: Near::default(), learned: None, moments: OnceLock::new() }
    }

    /// The same, the vectors of some items being inferred and not learned.
    pub fn inferred(self, items: &[u32]) -> Self {
        let mut learned = Bitmap::filled(self.len(), true);
        items.iter().for_each(|&item| learned.remove(item));
        Self { learned: (!items.is_empty()).then_some(learned), ..self }
    }

    /// The same, fitted to the first so many items.
    pub fn fitted_to(self, fitted: usize) -> Self {
        Self { fitted, ..self }
    }

    /// How many items it was fitted to.
    pub fn fitted(&self) -> usize {
        self.fitted
    }

    /// The same with neighbours that were stored.
    pub fn with_near(self, near: Near) -> Self {
        Self { near, ..self }
    }

    /// With other vectors of the items that are, or will be, inferred. What is near the others stays: no inferred one is.
    pub fn replaced(&self, values: Vec<f32>) -> Self {
        Self::new(values.into(), self.depth()).fitted_to(self.fitted).with_near(self.near.stored())
    }

    /// Puts the items into lists if that pays for queries like these. What was measured; nothing if the sample is too small.
    pub fn partition(&mut self, queries: &[Vec<f32>]) -> Option<Retrieval> {
        let queries: Vec<&[f32]> = queries.iter().map(Vec::as_slice).collect();
        let (lists, retrieval) = Lists::of(&self.index, &queries)?;
        if retrieval.pays() {
            self.index = Arc::new(Exact::with_lists(self.values().to_vec().into(), self.depth(), Some(lists)));
        }
        Some(retrieval)
    }

    /// Batches are ranked on a device from now on; where a search looks at lists, a batch does the same on the cores.
    pub fn rank_on(&mut self, device: Device) -> Result<()> {
        self.batches = match device {
            Device::Cpu => None,
            _ if self.index.lists().is_some() => None,
            device => Some(OnDevice::new(self.index.clone(), device)?),
        };
        Ok(())
    }

    /// `items × depth`, row-major.
    pub fn values(&self) -> &[f32] {
        self.index.rows()
    }

    /// Dimension.
    pub fn depth(&self) -> usize {
        self.index.depth()
    }

    /// Items.
    pub fn len(&self) -> usize {
        self.index.len()
    }

    /// The vector of an item.
    pub fn item(&self, item: u32) -> &[f32] {
        self.index.row(item)
    }

    /// The same with the vectors of some items, which are inferred, scaled.
    pub fn scaled(&self, items: &[u32], scale: f32) -> Self {
        let mut values = self.values().to_vec();
        for &item in items {
            values[item as usize * self.depth()..][..self.depth()].iter_mut().for_each(|value| *value *= scale);
        }
        self.replaced(values).inferred(items)
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
        let nothing = vec![0f32; self.depth()];
        let known: Vec<&[f32]> = queries.iter().map(|query| query.as_deref().unwrap_or(&nothing)).collect();
        let index: &dyn Index = match &self.batches {
            Some(on_device) => on_device,
            None => self.index.as_ref(),
        };
        let mut results = index.search_batch(&known, k, eligible);
        // A history of nothing, or of items that were never trained on, is no taste.
        let blank = |query: &&[f32]| query.iter().all(|&value| value == 0.0);
        for (result, _) in results.iter_mut().zip(&known).filter(|(_, query)| blank(query)) {
            result.clear();
        }
        results
    }

    /// The items with the largest cosine. Lengths do not help to find them as they do for a product, so the nearest are remembered: those of
    /// them that pass a filter are the best that pass it, if they are enough.
    pub fn similar(&self, item: u32, k: usize, eligible: Eligible, found: &mut Found) {
        if self.item(item).iter().all(|&value| value == 0.0) {
            found.items.clear();
            return;
        }
        let known = self.learned.as_ref().map(|learned| {
            let mut known = eligible.allowed.clone();
            known.intersect(learned);
            known
        });
        let eligible = Eligible::without(known.as_ref().unwrap_or(eligible.allowed), eligible.except);
        // A filter that passes little is answered faster than without it, and of few that are remembered hardly any pass.
        if k < NEAR && 8 * eligible.allowed.count() > self.len() {
            let find = || {
                let mut fresh = Found::default();
                self.index.search_cosine(self.item(item), NEAR, Eligible::new(&self.candidates()), &mut fresh);
                fresh.items.iter().map(|near| near.item).collect()
            };
            let enough = self.near.with(item, find, |near| {
                let passing = near.iter().copied().filter(|&near| eligible.contains(near)).take(k);
                self.index.nearest_of(self.item(item), passing, k, found);
                found.items.len() == k
            });
            if enough == Some(true) {
                return;
            }
        }
        self.index.search_cosine(self.item(item), k, eligible, found);
    }

    /// What neighbours are found among.
    fn candidates(&self) -> Bitmap {
        self.learned.clone().unwrap_or_else(|| Bitmap::filled(self.len(), true))
    }

    /// Finds the neighbours of the first of some items that were learned, as many as [`WORK`] allows, once and for all.
    pub fn store_neighbours(&mut self, items: &[u32]) {
        let candidates = self.candidates();
        let points = |item: u32| candidates.contains(item) && self.index.inverse_length(item) > 0.0;
        let affordable = WORK / (self.len() * self.depth()).max(1);
        let mut items: Vec<u32> = items.iter().copied().filter(|&item| points(item)).take(affordable).collect();
        items.sort_unstable();
        self.near = Near::of(&items, &self.index.nearest(&items, NEAR, Eligible::new(&candidates)));
    }

    /// Makes what a first answer would wait for.
    pub fn warm(&self) {
        self.deviation(&vec![0.0; self.depth()]);
    }

    /// The cosine of two items; 0 where one has no vector.
    pub fn similarity(&self, a: u32, b: u32) -> f32 {
        let (a, b) = (self.item(a), self.item(b));
        let lengths = (dot(a, a) * dot(b, b)).sqrt();
        if lengths > 0.0 { dot(a, b) / lengths } else { 0.0 }
    }

    /// The same for many items.
    pub fn similarities(&self, a: u32, items: &[u32]) -> Vec<f32> {
        let mut products = vec![0f32; items.len()];
        dot_rows(simd(), self.values(), items, self.item(a), &mut products);
        let length = self.index.inverse_length(a);
        products.iter_mut().zip(items).for_each(|(product, &item)| *product *= length * self.index.inverse_length(item));
        products
    }

    /// Inner products with given items, the same bits as a search.
    pub fn score(&self, query: Option<&[f32]>, items: &[u32]) -> Vec<Option<f32>> {
        let Some(query) = query else { return vec![None; items.len()] };
        let mut scores = vec![0f32; items.len()];
        dot_rows(simd(), self.values(), items, query, &mut scores);
        scores.into_iter().map(|score| score.is_finite().then_some(score)).collect()
    }

    /// The same in standard deviations of the query's scores over all items.
    pub fn standing(&self, query: Option<&[f32]>, items: &[u32]) -> Vec<Option<f32>> {
        let unit = query.map_or(0.0, |query| self.deviation(query));
        let mut scores = self.score(query.filter(|_| unit > 0.0), items);
        scores.iter_mut().flatten().for_each(|score| *score /= unit);
        scores
    }

    /// The standard deviation of a query's scores over all items: √(qᵀ C q) with the covariance C of the vectors. O(d²).
    pub fn deviation(&self, query: &[f32]) -> f32 {
        let (mean, square) = self.moments.get_or_init(|| {
            let count = self.fitted.max(1) as f32;
            let values = &self.values()[..self.fitted * self.depth()];
            let mut mean = vec![0f32; self.depth()];
            values.chunks(self.depth()).for_each(|row| mean.iter_mut().zip(row).for_each(|(sum, value)| *sum += value / count));
            // Block after block on this thread: who waits inside a lock must not lend itself to other work.
            let mut square = vec![0f32; self.depth() * self.depth()];
            for block in values.chunks(dense::BLOCK * self.depth()) {
                let part = dense::gram(block, self.depth());
                square.iter_mut().zip(part).for_each(|(sum, value)| *sum += value / count);
            }
            (mean, square)
        });
        let rows: Vec<u32> = (0..self.depth() as u32).collect();
        let mut turned = vec![0f32; self.depth()];
        add_rows(simd(), square, &rows, query, &mut turned);
        let (first, second) = (dot(mean, query), dot(&turned, query));
        (second - first * first).max(0.0).sqrt()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn remembered_neighbours_are_those_of_a_search() {
        let (items, depth) = (400usize, 6);
        let mut values = random((items, depth), 1.0, 7);
        // Copies are ties, and zeros are like nothing.
        values.copy_within(0..60, 60);
        values[600..900].fill(0.0);
        let asked = [0, 10, 13, 120, 399];
        let vectors = Vectors::new(values.clone().into(), depth);
        let cold = || Vectors::new(values.clone().into(), depth).inferred(&[7, 20, 399]);
        let mut stored = cold();
        stored.store_neighbours(&asked);
        // A new item stands nearest to all others, and one has another vector: neither is a neighbour of any.
        let mut others = stored.values().to_vec();
        others[7 * depth..8 * depth].fill(3.0);
        others.extend_from_slice(stored.item(10));
        let grown = |near: Near| Vectors::new(others.clone().into(), depth).inferred(&[7, 20, 399, 400]).with_near(near);
        let [grown, fresh] = [grown(stored.replaced(values.clone()).near), grown(Near::default())];
        let same = |a: &Vectors, b: &Vectors, item: u32, k: usize, eligible: Eligible| {
            let (mut left, mut right) = (Found::default(), Found::default());
            a.similar(item, k, eligible, &mut left);
            b.similar(item, k, eligible, &mut right);
            assert_eq!(left.items, right.items, "item {item}, k {k}");
        };
        let allowed = [Bitmap::filled(401, true), Bitmap::of(401, |item| item % 3 == 1), Bitmap::of(401, |item| item > 390)];
        for item in asked {
            for k in [1, 20, 63, 64, 100] {
                for allowed in &allowed {
                    let within = Bitmap::of(items, |item| allowed.contains(item));
                    let eligible = Eligible::without(&within, &[3, 10]);
                    let (mut searched, mut found) = (Found::default(), Found::default());
                    vectors.index.search_cosine(vectors.item(item), k, eligible, &mut searched);
                    vectors.similar(item, k, eligible, &mut found);
                    let zero = vectors.item(item).iter().all(|&value| value == 0.0);
                    assert_eq!(found.items, if zero { Vec::new() } else { searched.items }, "item {item}, k {k}");
                    same(&stored, &cold(), item, k, eligible);
                    same(&grown, &fresh, item, k, Eligible::without(allowed, &[3, 10]));
                }
            }
        }
        // Of five one has no vector, and one an inferred one.
        assert_eq!(
            [&vectors, &stored, &grown].map(|vectors| (vectors.near.len(), vectors.near.remembered())),
            [(0, 4), (3, 1), (3, 1)]
        );
    }
}
