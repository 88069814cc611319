//! Lists of items that point the same way, for vectors whose lengths tell nothing.
//!
//! Of vectors of length 1 the exact index can end no walk early: a search reads the codes of all items, which at a million of them come from
//! memory. An inverted file (Jégou, Douze and Schmid, "Product Quantization for Nearest Neighbor Search", TPAMI 2011, section 4) reads only
//! the lists whose centroids have the largest products with the query. What it misses is measured when a version is made, on shoppers who
//! chose nothing, and stands in its manifest; where it misses too much or reads too much, there are no lists.

use crate::Result;
use crate::bitmap::Bitmap;
use crate::exact::{Exact, length_of};
use crate::index::{Eligible, Found, Index};
use crate::int8::GROUP;
use crate::kernels::{dot_rows, simd};
use crate::top_k::{self, Scored};
use crate::weights::{Array, Tensor, Weights};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

/// Answers that recall is measured at.
const K: usize = 100;
/// The recall that is aimed at on half of the sample, and what must be seen on the other.
const RECALL: [f64; 2] = [0.995, 0.99];
/// Lists that read a larger share of the items are not worth what they miss.
const SHARE: f64 = 0.25;
/// Queries of a sample that tells nothing.
const FEW: usize = 64;
/// What the length of a centroid may differ from 1 by.
const OFF: f64 = 1e-3;
/// Vectors that a centroid is learned from, and how often it is learned anew.
const EXAMPLES: usize = 64;
const ROUNDS: usize = 10;
/// Vectors that look for their list at a time.
const BLOCK: usize = 1 << 16;

/// How the personal model finds its items, where that is not exact.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Retrieval {
    /// Lists of items.
    pub lists: usize,
    /// Lists that a search looks at; more for more than 100 answers, and for a filter.
    pub probes: usize,
    /// The share of the 100 best that it finds, over shoppers who did not choose `probes`.
    pub recall: f64,
    /// The share of the codes that it reads, of items that have a vector.
    pub share: f64,
    /// Shoppers that recall was measured on.
    pub shoppers: usize,
}

impl Retrieval {
    /// Whether lists miss so little, and read so much less, that they are used; else the search is exact.
    pub fn pays(&self) -> bool {
        self.recall >= RECALL[1] && self.share <= SHARE
    }
}

/// Which items point the same way.
pub struct Lists {
    depth: usize,
    /// `lists × depth`, each of length 1.
    centroids: Array<f32>,
    /// The list of each item.
    of: Array<u32>,
    /// See [`Retrieval::probes`]; one number.
    probes: Array<u64>,
}

impl Lists {
    /// Lists for the vectors of an index and queries like these, and what they are worth; `None` where the sample is too small to tell, or no
    /// vector has a direction. Queries without a direction are no sample. The same vectors and queries give the same lists.
    /// O(√items · items · d).
    pub fn of(index: &Exact, queries: &[&[f32]]) -> Option<(Self, Retrieval)> {
        let (len, depth, known) = (index.len(), index.depth(), index.known());
        let queries: Vec<&[f32]> = queries.iter().copied().filter(|query| Exact::points(length_of(query))).collect();
        if queries.len() < FEW || known < K || depth == 0 {
            return None;
        }
        let asked = Bitmap::of(len, |item| Exact::points(f64::from(index.length(item))));
        let best = index.search_batch(&queries, K, &vec![Eligible::new(&asked); queries.len()]);

        let count = (known as f64).sqrt() as usize;
        let centroids = learn(index, count.next_power_of_two());
        if centroids.is_empty() {
            return None;
        }
        let of = nearest(&centroids, depth, (0..len as u32).map(|item| index.row(item)));
        let mut lists = Self { depth, centroids: centroids.into(), of: of.into(), probes: vec![1].into() };
        let count = lists.len();
        let mut groups = vec![0usize; count];
        asked.list(|item| groups[lists.of[item as usize] as usize] += 1);
        groups.iter_mut().for_each(|items| *items = items.div_ceil(GROUP));

        // When each query comes to each list, and so after how many lists it has found each of its best.
        let looks: Vec<(Vec<usize>, Vec<usize>)> = queries
            .par_iter()
            .zip(&best)
            .map_init(Found::default, |found, (query, best)| {
                lists.route(query, count, found);
                let mut turn = vec![0; count];
                found.items.iter().enumerate().for_each(|(at, list)| turn[list.item as usize] = at);
                let needed = best.iter().map(|scored| turn[lists.of[scored.item as usize] as usize] + 1).collect();
                let mut read = 0;
                let reading = found.items.iter().map(|list| {
                    read += groups[list.item as usize];
                    read
                });
                (needed, reading.collect())
            })
            .collect();
        let recall = |half: usize, probes: usize| {
            let needed = looks.iter().skip(half).step_by(2).flat_map(|(needed, _)| needed);
            needed.clone().filter(|&&needed| needed <= probes).count() as f64 / needed.count().max(1) as f64
        };
        let (mut probes, mut most) = (1, count);
        while probes < most {
            let middle = usize::midpoint(probes, most);
            if recall(0, middle) >= RECALL[0] { most = middle } else { probes = middle + 1 }
        }
        let measured = looks.iter().skip(1).step_by(2);
        let shoppers = measured.len();
        let read: usize = measured.map(|(_, read)| read[probes - 1]).sum();
        let share = (read * GROUP) as f64 / (shoppers * known) as f64;
        let retrieval = Retrieval { lists: count, probes, recall: recall(1, probes), share, shoppers };
        lists.probes = vec![probes as u64].into();
        Some((lists, retrieval))
    }

    /// Takes the lists of `items` vectors out of a version; `None` if it has none.
    ///
    /// # Errors
    /// [`crate::ModelError::Damaged`].
    pub(crate) fn load(items: usize, depth: usize, weights: &mut Weights) -> Result<Option<Self>> {
        if !weights.has("lists.probes") {
            return Ok(None);
        }
        let (centroids, _) = weights.some_matrix("lists.centroids", depth)?;
        let count = centroids.len() / depth.max(1);
        let probes = weights.numbers("lists.probes", 1)?;
        if !(1..=count as u64).contains(&probes[0]) {
            return Err(weights.damaged("lists.probes", probes[0].to_string(), format!("1 to {count}")));
        }
        // Their products with a query are compared, so that one of another length would hide the others.
        if let Some(length) =
            centroids.chunks(depth.max(1)).map(length_of).find(|length| length.is_nan() || (length - 1.0).abs() > OFF)
        {
            return Err(weights.damaged("lists.centroids", format!("one of length {length}"), "vectors of length 1".into()));
        }
        // Items that came since are in the first list until they have a vector.
        let of = weights.rows("lists.items", items, count)?;
        Ok(Some(Self { depth, centroids, of, probes }))
    }

    /// The arrays to export.
    pub(crate) fn tensors(&self) -> [Tensor<'_>; 3] {
        [
            Tensor::f32("lists.centroids", &[self.len(), self.depth], &self.centroids),
            Tensor::u32("lists.items", &self.of),
            Tensor::u64("lists.probes", &self.probes),
        ]
    }

    /// How many.
    pub(crate) fn len(&self) -> usize {
        self.centroids.len() / self.depth
    }

    /// The list of each item.
    pub(crate) fn items(&self) -> &[u32] {
        &self.of
    }

    /// See [`Retrieval::probes`].
    pub(crate) fn least(&self) -> usize {
        self.probes[0] as usize
    }

    /// Bytes beside the vectors.
    pub(crate) fn bytes(&self) -> usize {
        size_of_val(&self.centroids[..]) + size_of_val(&self.of[..])
    }

    /// How many lists to look at for `k` of so many eligible ones of all that have a vector. Where fewer may be returned, the best of them
    /// are as many times further away.
    pub(crate) fn probes(&self, k: usize, eligible: usize, known: usize) -> usize {
        let more = k.div_ceil(K) as f64 * (known as f64 / eligible.max(1) as f64).max(1.0);
        ((self.probes[0] as f64 * more).ceil() as usize).min(self.len())
    }

    /// The `count` lists whose centroids have the largest products with a query, into `found.items`. O(lists · d).
    pub(crate) fn route(&self, query: &[f32], count: usize, found: &mut Found) {
        let Found { items, scratch } = found;
        let (rows, scores, keys) = scratch.for_rows();
        rows.clear();
        rows.extend(0..self.len() as u32);
        scores.resize(rows.len(), 0.0);
        dot_rows(simd(), &self.centroids, rows, query, scores);
        top_k::best(rows, scores, count, keys, items);
    }
}

#[cfg(test)]
impl Lists {
    /// Lists without meaning, all of which a search looks at: what it finds is exact.
    pub(crate) fn all_of(items: usize, depth: usize, count: usize) -> Self {
        let of: Vec<u32> = (0..items as u32).map(|item| item * 7 % 13 % count as u32).collect();
        let centroids: Vec<f32> = (0..count * depth).map(|at| if at / depth == at % depth { 1.0 } else { 0.0 }).collect();
        Self { depth, centroids: centroids.into(), of: of.into(), probes: vec![count as u64].into() }
    }
}

/// Directions that the vectors of an index lie around: k-means by the product with centroids of length 1.
fn learn(index: &Exact, count: usize) -> Vec<f32> {
    let (len, depth) = (index.len(), index.depth());
    let step = (index.known() / (EXAMPLES * count)).max(1);
    let sample = (0..len as u32).filter(|&item| Exact::points(f64::from(index.length(item)))).step_by(step);
    let examples: Vec<Vec<f32>> = sample.map(|item| unit(index.row(item).iter().map(|&value| f64::from(value)))).collect();
    let starts = examples.iter().step_by((examples.len() / count).max(1)).take(count);
    let mut centroids: Vec<f32> = starts.flatten().copied().collect();
    for _ in 0..ROUNDS {
        let mut sums = vec![0f64; centroids.len()];
        for (example, list) in examples.iter().zip(nearest(&centroids, depth, examples.iter().map(Vec::as_slice))) {
            let sum = &mut sums[list as usize * depth..][..depth];
            sum.iter_mut().zip(example).for_each(|(sum, &value)| *sum += f64::from(value));
        }
        for (centroid, sum) in centroids.chunks_mut(depth).zip(sums.chunks(depth)) {
            // One that nothing is near stays where it is.
            if sum.iter().any(|&value| value != 0.0) {
                centroid.copy_from_slice(&unit(sum.iter().copied()));
            }
        }
    }
    centroids
}

/// In the same direction, of length 1.
fn unit(values: impl Iterator<Item = f64> + Clone) -> Vec<f32> {
    let length = values.clone().map(|value| value * value).sum::<f64>().sqrt();
    values.map(|value| (value / length) as f32).collect()
}

/// The centroid with the largest product with each vector, the first of equals.
fn nearest<'a>(centroids: &[f32], depth: usize, vectors: impl Iterator<Item = &'a [f32]>) -> Vec<u32> {
    let index = Exact::new(centroids.to_vec().into(), depth);
    let all = Bitmap::filled(index.len(), true);
    let vectors: Vec<&[f32]> = vectors.collect();
    let first = |found: Vec<Scored>| found.first().map_or(0, |scored| scored.item);
    let blocks = vectors.chunks(BLOCK);
    blocks.flat_map(|block| index.search_batch(block, 1, &vec![Eligible::new(&all); block.len()])).map(first).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::weights;
    use aisle_data::SplitMix;

    /// Vectors of length 1 around some directions, or around none.
    fn made(count: usize, depth: usize, directions: usize, seed: u64) -> Vec<f32> {
        let mut random = SplitMix(7);
        let centres: Vec<f64> = (0..directions.max(1) * depth).map(|_| f64::from(random.normal())).collect();
        let mut random = SplitMix(seed);
        let around = |at: usize, random: &mut SplitMix| -> Vec<f64> {
            let centre = at * 31 % directions.max(1) * depth;
            let near = if directions == 0 { 0.0 } else { 1.0 };
            (0..depth).map(|d| near * centres[centre + d] + 0.5 * f64::from(random.normal())).collect()
        };
        (0..count).flat_map(|at| unit(around(at, &mut random).into_iter())).collect()
    }

    #[test]
    fn what_is_measured_is_what_a_search_finds() {
        let (items, depth) = (20_000, 16);
        let mut vectors = made(items, depth, 90, 1);
        // One in five has no vector, and is not asked for.
        vectors.chunks_mut(depth).step_by(5).for_each(|vector| vector.fill(0.0));
        let exact = Exact::new(vectors.into(), depth);
        assert_eq!(exact.known(), 16_000);
        let queries = made(400, depth, 90, 2);
        let queries: Vec<&[f32]> = queries.chunks(depth).collect();
        let (lists, retrieval) = Lists::of(&exact, &queries).unwrap();
        assert!(retrieval.pays() && retrieval.shoppers == 200, "clusters are what lists are for: {retrieval:?}");
        // Those without a vector are not read: the measure is that of the others alone.
        let some: Vec<f32> = exact.rows().chunks(depth).filter(|vector| vector[0] != 0.0).flatten().copied().collect();
        let (_, alone) = Lists::of(&Exact::new(some.into(), depth), &queries).unwrap();
        assert_eq!((alone.lists, alone.probes, alone.share), (retrieval.lists, retrieval.probes, retrieval.share));

        let all = Bitmap::of(items, |item| item % 5 != 0);
        let listed = Exact::with_lists(exact.rows().to_vec().into(), depth, Some(lists));
        let mut found = Found::default();
        let mut good = 0;
        for query in queries.iter().skip(1).step_by(2) {
            exact.search(query, K, Eligible::new(&all), &mut found);
            let best = std::mem::take(&mut found.items);
            listed.search(query, K, Eligible::new(&all), &mut found);
            assert_eq!(found.items.len(), K);
            good += found.items.iter().filter(|scored| best.contains(scored)).count();
        }
        assert!((good as f64 / (200.0 * K as f64) - retrieval.recall).abs() < 1e-9, "{good} of {retrieval:?}");

        // A filter, and more answers: other lists are looked at, and no fewer of the best are found.
        let (tenth, most) = (Bitmap::of(items, |item| item % 5 != 0 && item / 5 % 10 == 3), Bitmap::of(items, |item| item % 5 > 1));
        for (k, allowed) in [(20, &tenth), (100, &tenth), (100, &most), (300, &all), (300, &most)] {
            let mut good = 0;
            for query in queries.iter().skip(1).step_by(2) {
                exact.search(query, k, Eligible::new(allowed), &mut found);
                let best = std::mem::take(&mut found.items);
                listed.search(query, k, Eligible::new(allowed), &mut found);
                good += found.items.iter().filter(|scored| best.contains(scored)).count();
            }
            let recall = good as f64 / (200 * k) as f64;
            assert!(recall > 0.98, "{recall} of the {k} best of {}", allowed.count());
        }

        // Few of many, and more than some lists hold: as many as there are, and no other.
        let some = Bitmap::of(items, |item| item % 11 == 3);
        for (k, allowed) in [(1000, &all), (20, &some), (5000, &some)] {
            let eligible = Eligible::without(allowed, &[3, 14]);
            listed.search(queries[0], k, eligible, &mut found);
            assert_eq!(found.items.len(), k.min(eligible.count()));
            assert!(found.items.iter().all(|scored| eligible.contains(scored.item)));
            let batch = listed.search_batch(&queries[..3], k, &[eligible; 3]);
            assert_eq!(batch[0], found.items, "one by one and in a batch");
        }
    }

    #[test]
    fn lists_come_back_from_a_version_and_damaged_ones_are_refused() {
        let (items, depth) = (10_000, 8);
        let exact = Exact::new(made(items, depth, 50, 1).into(), depth);
        let queries = made(200, depth, 50, 2);
        let queries: Vec<&[f32]> = queries.chunks(depth).collect();
        let (lists, _) = Lists::of(&exact, &queries).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("weights.safetensors");
        weights::write(&path, lists.tensors().into()).unwrap();
        // Two items came since.
        let mut weights = Weights::open(&path).unwrap().grow(items, items + 2);
        let read = Lists::load(items + 2, depth, &mut weights).unwrap().unwrap();
        weights.finish().unwrap();
        assert_eq!(read.items()[..items], *lists.items());
        assert_eq!(read.items()[items..], [0, 0]);
        let mut found = [Found::default(), Found::default()];
        for (lists, found) in [&lists, &read].into_iter().zip(&mut found) {
            lists.route(queries[0], lists.probes(20, items - 3, items - 3), found);
        }
        assert!(found[0].items == found[1].items && found[0].items.len() == lists.least());

        let refused = |lists: &Lists| {
            weights::write(&path, lists.tensors().into()).unwrap();
            Lists::load(items, depth, &mut Weights::open(&path).unwrap()).err().unwrap().to_string()
        };
        let mut centroids = lists.centroids.to_vec();
        centroids[3] = 1e38;
        let endless = Lists { centroids: centroids.into(), ..lists };
        let text = refused(&endless);
        assert!(text.contains("lists.centroids") && text.contains("vectors of length 1"), "{text}");
        let text = refused(&Lists { probes: vec![read.len() as u64 + 1].into(), ..read });
        assert!(text.contains("lists.probes") && text.contains(&format!("1 to {}", endless.len())), "{text}");
    }

    #[test]
    fn lists_do_not_pay_where_vectors_point_everywhere() {
        let (items, depth) = (20_000, 32);
        let exact = Exact::new(made(items, depth, 0, 1).into(), depth);
        let queries = made(200, depth, 0, 2);
        let queries: Vec<&[f32]> = queries.chunks(depth).collect();
        let (_, retrieval) = Lists::of(&exact, &queries).unwrap();
        assert!(!retrieval.pays(), "vectors in all directions: {retrieval:?}");
        assert!(Lists::of(&exact, &queries[..FEW - 1]).is_none(), "a sample that tells nothing");
        let nowhere = [vec![0.0; depth], vec![f32::NAN; depth], vec![f32::MAX; depth]];
        let some: Vec<&[f32]> = queries[1..FEW].iter().copied().chain(nowhere.iter().map(Vec::as_slice)).collect();
        assert!(Lists::of(&exact, &some).is_none(), "queries without a direction are no sample");
        let nothing = Exact::new(vec![0.0; items * depth].into(), depth);
        assert!(Lists::of(&nothing, &queries).is_none(), "vectors without a direction");
    }
}
