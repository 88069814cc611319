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

/// Scans vectors in f32, the longest first, and stops where no vector can be long enough to enter: |q · v| ≤ |q| |v|. O(items · dimension) a
/// query at worst; memory is that of the vectors.
///
/// Vectors lie in panels of 16 items, dimension by dimension, so that one load serves 16 items and no sum is horizontal.
pub struct Exact {
    panels: Vec<f32>,
    /// The item at each place, by descending length.
    order: Vec<u32>,
    /// The length of the longest vector of each panel.
    longest: Vec<f32>,
    /// One over the length of the vector at each place, 0 for a zero vector; padded like the panels.
    inverse_lengths: Vec<f32>,
    depth: usize,
    simd: Simd,
}

/// Summed in double precision, where no f32 is too large or too small to be squared.
fn length_of(vector: &[f32]) -> f32 {
    vector.iter().map(|&value| f64::from(value) * f64::from(value)).sum::<f64>().sqrt() as f32
}

impl Exact {
    /// Packs `len × depth` row-major vectors.
    pub fn new(vectors: &[f32], depth: usize) -> Self {
        let len = vectors.len().checked_div(depth).unwrap_or(0);
        let lengths: Vec<f32> = vectors.par_chunks(depth.max(1)).map(length_of).collect();
        let mut order: Vec<u32> = (0..len as u32).collect();
        // What is not a number counts as endless: it is looked at, and never taken.
        let key = |item: u32| if lengths[item as usize].is_nan() { f32::INFINITY } else { lengths[item as usize] };
        order.par_sort_unstable_by(|&a, &b| key(b).total_cmp(&key(a)).then(a.cmp(&b)));
        // Whole groups of four panels, so that the scan has no remainder.
        let padded = len.div_ceil(LANES * TILE) * LANES * TILE;
        let mut panels = vec![0f32; padded * depth];
        let mut inverse_lengths = vec![0f32; padded];
        if depth > 0 {
            let lanes = inverse_lengths.par_chunks_mut(LANES);
            panels.par_chunks_mut(LANES * depth).zip(lanes).enumerate().for_each(|(number, (panel, inverse))| {
                for (&item, lane) in order.iter().skip(number * LANES).zip(0..LANES) {
                    let vector = &vectors[item as usize * depth..][..depth];
                    vector.iter().enumerate().for_each(|(d, &value)| panel[d * LANES + lane] = value);
                    let length = dot(vector, vector).sqrt();
                    inverse[lane] = if length > 0.0 { 1.0 / length } else { 0.0 };
                }
            });
        }
        let longest = (0..padded / LANES).map(|panel| order.get(panel * LANES).map_or(0.0, |&item| key(item))).collect();
        Self { panels, order, longest, inverse_lengths, depth, simd: simd() }
    }

    /// Whether no vector of a panel or of a later one can enter: its length × the query's, with the rounding of a sum, is below the
    /// threshold. Never where one of them is not a number.
    fn beaten(&self, panel: usize, query_length: f32, top: &TopK) -> bool {
        self.longest[panel] * query_length * (1.0 + 4.0 * self.depth as f32 * f32::EPSILON) < top.threshold()
    }

    /// As [`Index::search`], by the cosine. Zero vectors have cosine 0 with everything.
    pub fn search_cosine(&self, query: &[f32], k: usize, eligible: Eligible, found: &mut Found) {
        let length = dot(query, query).sqrt();
        let query: Vec<f32> = query.iter().map(|value| if length > 0.0 { value / length } else { 0.0 }).collect();
        found.top.reset(k);
        self.scan(&query, |first, scores| {
            scores.iter_mut().zip(&self.inverse_lengths[first..]).for_each(|(score, inverse)| *score *= inverse);
            self.offer(&mut found.top, first, scores, &eligible);
            true
        });
        found.top.drain_into(&mut found.items);
    }

    /// Scores items, the longest vectors first, until `take` says no: it gets the first of 16 places with their scores.
    fn scan(&self, query: &[f32], mut take: impl FnMut(usize, &mut [f32; LANES]) -> bool) {
        if self.depth == 0 || query.len() != self.depth {
            return;
        }
        let mut out = [[0f32; LANES]; TILE];
        for (number, panels) in self.panels.chunks_exact(TILE * LANES * self.depth).enumerate() {
            scan(self.simd, query, panels, &mut out);
            for (panel, scores) in out.iter_mut().enumerate() {
                if !take((number * TILE + panel) * LANES, scores) {
                    return;
                }
            }
        }
    }

    /// Offers a panel's scores: first against the threshold, and only what passes against the filter.
    #[inline]
    fn offer(&self, top: &mut TopK, first: usize, scores: &[f32; LANES], eligible: &Eligible) {
        let threshold = top.threshold();
        // One comparison of all lanes decides for nearly every panel.
        if !scores.iter().fold(false, |any, &score| any | (score >= threshold)) {
            return;
        }
        for (&score, &item) in scores.iter().zip(&self.order[first.min(self.order.len())..]) {
            if score >= threshold && eligible.contains(item) {
                top.offer(item, score);
            }
        }
    }
}

impl Index for Exact {
    fn len(&self) -> usize {
        self.order.len()
    }

    fn search(&self, query: &[f32], k: usize, eligible: Eligible, found: &mut Found) {
        found.top.reset(k);
        let length = length_of(query);
        self.scan(query, |first, scores| {
            self.offer(&mut found.top, first, scores, &eligible);
            !self.beaten(first / LANES, length, &found.top)
        });
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
                let lengths: Vec<f32> = queries.iter().map(|query| length_of(query)).collect();
                let mut out = [[0f32; LANES]; TILE];
                if self.depth > 0 && k > 0 {
                    for (block, panels) in self.panels.chunks(PANELS * LANES * self.depth).enumerate() {
                        let open: Vec<bool> =
                            (0..queries.len()).map(|query| !self.beaten(block * PANELS, lengths[query], &tops[query])).collect();
                        if !open.contains(&true) {
                            break;
                        }
                        for (group, four) in queries.chunks(TILE).enumerate() {
                            if !open[group * TILE..].iter().take(TILE).any(|&open| open) {
                                continue;
                            }
                            let padded: [&[f32]; TILE] = std::array::from_fn(|query| four[query.min(four.len() - 1)]);
                            for (number, panel) in panels.chunks_exact(LANES * self.depth).enumerate() {
                                tile(self.simd, padded, panel, &mut out);
                                let first = (block * PANELS + number) * LANES;
                                for (query, scores) in out.iter().take(four.len()).enumerate() {
                                    let at = group * TILE + query;
                                    self.offer(&mut tops[at], first, scores, &eligible[at]);
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
            powers in prop::collection::vec(prop_oneof![Just(0i32), -3i32..4, -90i32..30], 151),
        ) {
            // Small whole numbers: sums are exact, so ties are real ties.
            // So they stay when a whole vector is scaled by a power of two, however large or small.
            let scaled = |value: i8, power: i32| f32::from(value) * 2f32.powi(power);
            let vectors: Vec<f32> = (0..items * depth).map(|at| scaled(seed[at], powers[at / depth])).collect();
            let query: Vec<f32> = query[..depth].iter().map(|&value| scaled(value, -powers[150])).collect();
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
