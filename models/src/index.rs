//! Exact top-k by inner product: the oracle of every faster index to come.

use crate::bitmap::Bitmap;
use crate::kernels::{LANES, Simd, TILE, dot, scan, simd, tile};
use crate::top_k::{Scored, TopK};
use rayon::prelude::*;

/// The items that an answer may hold: those of a bitmap, less a short list.
#[derive(Clone, Copy, Debug)]
pub struct Eligible<'a> {
    /// One bit an item.
    pub allowed: &'a Bitmap,
    /// Items left out beside it, ascending.
    pub except: &'a [u32],
}

impl<'a> Eligible<'a> {
    /// All items of a bitmap.
    pub fn new(allowed: &'a Bitmap) -> Self {
        Self { allowed, except: &[] }
    }

    /// Without these items, which must ascend.
    pub fn without(allowed: &'a Bitmap, except: &'a [u32]) -> Self {
        debug_assert!(except.is_sorted());
        Self { allowed, except }
    }

    /// Whether an item may be returned.
    #[inline]
    pub fn contains(&self, item: u32) -> bool {
        self.allowed.contains(item) && self.except.binary_search(&item).is_err()
    }

    /// How many items may be returned.
    pub fn count(&self) -> usize {
        let mut except = self.except.to_vec();
        except.dedup();
        self.allowed.count() - except.iter().filter(|&&item| self.allowed.contains(item)).count()
    }
}

/// Finds the items whose vectors have the largest inner product with a query.
///
/// Contract: exactly min(k, eligible) results, best first, ties by ascending row, every score finite;
/// nothing outside `eligible`. An index that approximates says so in its manifest.
pub trait Index: Send + Sync {
    /// Items in the index.
    fn len(&self) -> usize;
    /// Whether it is empty.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }
    /// The `k` best for one query of the index's dimension. Results go to `out`; `top` is scratch.
    fn search(&self, query: &[f32], k: usize, eligible: Eligible, found: &mut Found);
    /// Many queries at once, on all threads of the pool; the same bits as one by one.
    fn search_batch(&self, queries: &[&[f32]], k: usize, eligible: &[Eligible]) -> Vec<Vec<Scored>>;
}

/// Results and the scratch memory that finding them takes; reuse it and a search allocates nothing.
#[derive(Clone, Debug, Default)]
pub struct Found {
    /// Best first.
    pub items: Vec<Scored>,
    top: TopK,
}

/// Scans every vector in f32. O(items · dimension) a query; memory is that of the vectors.
///
/// Vectors lie in panels of 16 items, dimension by dimension, so that one load serves 16 items and no sum is horizontal.
pub struct Exact {
    panels: Vec<f32>,
    /// One over the length of each vector, 0 for a zero vector; padded like the panels.
    inverse_lengths: Vec<f32>,
    len: usize,
    depth: usize,
    simd: Simd,
}

impl Exact {
    /// Packs `len × depth` row-major vectors.
    pub fn new(vectors: &[f32], depth: usize) -> Self {
        let len = vectors.len().checked_div(depth).unwrap_or(0);
        // Whole groups of four panels, so that the scan has no remainder.
        let padded = len.div_ceil(LANES * TILE) * LANES * TILE;
        let mut panels = vec![0f32; padded * depth];
        let mut inverse_lengths = vec![0f32; padded];
        if depth > 0 {
            let lanes = inverse_lengths.par_chunks_mut(LANES);
            panels.par_chunks_mut(LANES * depth).zip(lanes).enumerate().for_each(|(number, (panel, inverse))| {
                for (vector, lane) in vectors.chunks(depth).skip(number * LANES).zip(0..LANES) {
                    vector.iter().enumerate().for_each(|(d, &value)| panel[d * LANES + lane] = value);
                    let length = dot(vector, vector).sqrt();
                    inverse[lane] = if length > 0.0 { 1.0 / length } else { 0.0 };
                }
            });
        }
        Self { panels, inverse_lengths, len, depth, simd: simd() }
    }

    /// As [`Index::search`], by the cosine. Zero vectors have cosine 0 with everything.
    pub fn search_cosine(&self, query: &[f32], k: usize, eligible: Eligible, found: &mut Found) {
        let length = dot(query, query).sqrt();
        let query: Vec<f32> = query.iter().map(|value| if length > 0.0 { value / length } else { 0.0 }).collect();
        found.top.reset(k);
        self.scan(&query, |first, scores| {
            scores.iter_mut().zip(&self.inverse_lengths[first..]).for_each(|(score, inverse)| *score *= inverse);
            offer(&mut found.top, first, scores, &eligible, self.len);
        });
        found.top.drain_into(&mut found.items);
    }

    /// Scores all items: `take` gets the number of the first of 16 with their scores.
    fn scan(&self, query: &[f32], mut take: impl FnMut(usize, &mut [f32; LANES])) {
        if self.depth == 0 || query.len() != self.depth {
            return;
        }
        let mut out = [[0f32; LANES]; TILE];
        for (number, panels) in self.panels.chunks_exact(TILE * LANES * self.depth).enumerate() {
            scan(self.simd, query, panels, &mut out);
            out.iter_mut().enumerate().for_each(|(panel, scores)| take((number * TILE + panel) * LANES, scores));
        }
    }
}

/// Offers a panel's scores: first against the threshold, and only what passes against the filter.
#[inline]
fn offer(top: &mut TopK, first: usize, scores: &[f32; LANES], eligible: &Eligible, len: usize) {
    let threshold = top.threshold();
    // One comparison of all lanes decides for nearly every panel.
    if !scores.iter().fold(false, |any, &score| any | (score >= threshold)) {
        return;
    }
    for (lane, &score) in scores.iter().enumerate() {
        let item = first + lane;
        if score >= threshold && item < len && eligible.contains(item as u32) {
            top.offer(item as u32, score);
        }
    }
}

impl Index for Exact {
    fn len(&self) -> usize {
        self.len
    }

    fn search(&self, query: &[f32], k: usize, eligible: Eligible, found: &mut Found) {
        found.top.reset(k);
        self.scan(query, |first, scores| offer(&mut found.top, first, scores, &eligible, self.len));
        found.top.drain_into(&mut found.items);
    }

    fn search_batch(&self, queries: &[&[f32]], k: usize, eligible: &[Eligible]) -> Vec<Vec<Scored>> {
        assert_eq!(queries.len(), eligible.len(), "one filter a query");
        // 32 queries walk the panels together: a block of panels stays in the cache while all of them use it.
        const BLOCK: usize = 32;
        const PANELS: usize = 16;
        queries
            .par_chunks(BLOCK)
            .zip(eligible.par_chunks(BLOCK))
            .flat_map_iter(|(queries, eligible)| {
                let mut tops = vec![TopK::new(k); queries.len()];
                let mut out = [[0f32; LANES]; TILE];
                if self.depth > 0 && k > 0 {
                    for (block, panels) in self.panels.chunks(PANELS * LANES * self.depth).enumerate() {
                        for (group, four) in queries.chunks(TILE).enumerate() {
                            let padded: [&[f32]; TILE] = std::array::from_fn(|query| four[query.min(four.len() - 1)]);
                            for (number, panel) in panels.chunks_exact(LANES * self.depth).enumerate() {
                                tile(self.simd, padded, panel, &mut out);
                                let first = (block * PANELS + number) * LANES;
                                for (query, scores) in out.iter().take(four.len()).enumerate() {
                                    let at = group * TILE + query;
                                    offer(&mut tops[at], first, scores, &eligible[at], self.len);
                                }
                            }
                        }
                    }
                }
                tops.into_iter().map(TopK::into_sorted).collect::<Vec<_>>()
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn naive(vectors: &[f32], depth: usize, query: &[f32], k: usize, eligible: Eligible) -> Vec<(u32, f64)> {
        let mut all: Vec<(u32, f64)> = vectors
            .chunks(depth)
            .enumerate()
            .filter(|(item, _)| eligible.contains(*item as u32))
            .map(|(item, vector)| {
                (item as u32, vector.iter().zip(query).map(|(&a, &b)| f64::from(a) * f64::from(b)).sum::<f64>() + 0.0)
            })
            .collect();
        all.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
        all.truncate(k);
        all
    }

    proptest! {
        #[test]
        fn finds_what_the_naive_scan_finds(
            items in 1usize..150,
            depth in 1usize..9,
            seed in prop::collection::vec(-2i8..3, 150 * 9),
            query in prop::collection::vec(-2i8..3, 9),
            k in 1usize..30,
            keep in prop::collection::vec(any::<bool>(), 150),
            except in prop::collection::btree_set(0u32..150, 0..10),
        ) {
            // Small whole numbers: sums are exact, so ties are real ties.
            let vectors: Vec<f32> = seed[..items * depth].iter().map(|&v| f32::from(v)).collect();
            let query: Vec<f32> = query[..depth].iter().map(|&v| f32::from(v)).collect();
            let allowed = Bitmap::of(items, |item| keep[item as usize]);
            let except: Vec<u32> = except.into_iter().collect();
            let eligible = Eligible::without(&allowed, &except);
            let index = Exact::new(&vectors, depth);
            let mut found = Found::default();
            index.search(&query, k, eligible, &mut found);
            let expected = naive(&vectors, depth, &query, k, eligible);
            prop_assert_eq!(found.items.len(), k.min(eligible.count()));
            let same = found.items.iter().zip(&expected).all(|(a, b)| a.item == b.0 && f64::from(a.score) == b.1);
            prop_assert!(same, "{:?} {:?}", found.items, expected);
            let batch = index.search_batch(&[&query, &query, &query], k, &[eligible; 3]);
            prop_assert!(batch.iter().all(|one| *one == found.items));
        }
    }

    #[test]
    fn an_infinite_or_nan_vector_never_comes_out() {
        let vectors = [f32::NAN, 1.0, f32::INFINITY, 2.0, 0.5];
        let index = Exact::new(&vectors, 1);
        let all = Bitmap::filled(5, true);
        let mut found = Found::default();
        index.search(&[1.0], 5, Eligible::new(&all), &mut found);
        assert_eq!(found.items.iter().map(|s| s.item).collect::<Vec<_>>(), vec![3, 1, 4]);
    }

    #[test]
    fn cosine_ignores_length() {
        let index = Exact::new(&[10.0, 0.0, 0.6, 0.8, 0.0, 0.0], 2);
        let all = Bitmap::filled(3, true);
        let mut found = Found::default();
        index.search_cosine(&[0.0, 5.0], 3, Eligible::new(&all), &mut found);
        assert_eq!(found.items.iter().map(|scored| scored.item).collect::<Vec<_>>(), [1, 0, 2]);
        assert!((found.items[0].score - 0.8).abs() < 1e-6);
    }
}
