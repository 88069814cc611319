//! Learns inverted lists from the vectors of an exact index, and measures what they miss.
//!
//! In come an exact index and queries like those to come; out go the lists, with the number of them
//! that a search looks at. Half of the queries choose that number, the other half measure recall:
//! the share of the best items that a search finds.

#[cfg(test)]
mod tests;

use crate::bitmap::Bitmap;
use crate::exact::Exact;
use crate::index::{Eligible, Index, SearchBuffer};
use crate::int8::GROUP;
use crate::inverted_lists::{InvertedLists, MEASURED_K, Retrieval};
use crate::length::{has_direction, length_of};
use crate::top_k::Scored;
use rayon::prelude::*;

/// The recall that is aimed at on the half of the queries that choose the number of probes.
const TARGET_RECALL: f64 = 0.995;
/// Fewer queries than this are too few to measure recall.
const MIN_QUERIES: usize = 64;
/// Vectors that a centroid is learned from, on average.
const EXAMPLES_PER_LIST: usize = 64;
/// How often the centroids are learned anew.
const ROUNDS: usize = 10;
/// Vectors whose lists are searched at a time.
const BLOCK: usize = 1 << 16;

impl InvertedLists {
    /// Learns lists for the vectors of an index and queries like these, and measures them. Returns
    /// `None` if there are too few queries with a direction to measure recall, or too few vectors
    /// with one. The same vectors and queries give the same lists. O(√items · items · depth).
    pub fn of(index: &Exact, queries: &[&[f32]]) -> Option<(Self, Retrieval)> {
        let queries: Vec<&[f32]> = queries
            .iter()
            .copied()
            .filter(|query| has_direction(length_of(query)))
            .collect();
        if queries.len() < MIN_QUERIES
            || index.items_with_direction() < MEASURED_K
            || index.depth() == 0
        {
            return None;
        }
        let with_direction = Bitmap::of(index.len(), |item| index.item_has_direction(item));
        let eligible = vec![Eligible::new(&with_direction); queries.len()];
        let best = index.search_batch(&queries, MEASURED_K, &eligible);
        let lists = learn_lists(index)?;
        let groups = groups_of_lists(&lists, &with_direction);
        let traces: Vec<Trace> = queries
            .par_iter()
            .zip(&best)
            .map_init(SearchBuffer::default, |buffer, (query, best)| {
                Trace::of(&lists, &groups, query, best, buffer)
            })
            .collect();
        let (choosing, measuring): (Vec<_>, Vec<_>) =
            traces.iter().enumerate().partition(|(at, _)| at % 2 == 0);
        let choosing: Vec<&Trace> = choosing.into_iter().map(|(_, trace)| trace).collect();
        let measuring: Vec<&Trace> = measuring.into_iter().map(|(_, trace)| trace).collect();
        let probes = fewest_probes(&choosing, lists.len());
        let groups_read: usize = measuring
            .iter()
            .map(|trace| trace.groups_read[probes - 1])
            .sum();
        let retrieval = Retrieval {
            lists: lists.len(),
            probes,
            recall: recall(&measuring, probes),
            share: (groups_read * GROUP) as f64
                / (measuring.len() * index.items_with_direction()) as f64,
            shoppers: measuring.len(),
        };
        Some((lists.with_probes(probes), retrieval))
    }
}

/// What a query finds and reads as it looks at one list after the other.
struct Trace {
    /// After how many lists the query has found each of its best items.
    lists_needed: Vec<usize>,
    /// How many groups of codes the query has read after each list.
    groups_read: Vec<usize>,
}

impl Trace {
    /// `groups` is the number of groups of each list, `best` the items that the query should find.
    fn of(
        lists: &InvertedLists,
        groups: &[usize],
        query: &[f32],
        best: &[Scored],
        buffer: &mut SearchBuffer,
    ) -> Self {
        lists.nearest_lists(query, lists.len(), buffer);
        let mut rank_of_list = vec![0; lists.len()];
        for (rank, list) in buffer.items.iter().enumerate() {
            rank_of_list[list.item as usize] = rank;
        }
        let list_of_item = |item: u32| lists.items()[item as usize] as usize;
        let mut read = 0;
        Self {
            lists_needed: best
                .iter()
                .map(|scored| rank_of_list[list_of_item(scored.item)] + 1)
                .collect(),
            groups_read: buffer
                .items
                .iter()
                .map(|list| {
                    read += groups[list.item as usize];
                    read
                })
                .collect(),
        }
    }
}

/// The share of their best items that queries find in so many lists.
fn recall(traces: &[&Trace], probes: usize) -> f64 {
    let needed = traces.iter().flat_map(|trace| &trace.lists_needed);
    let found = needed.clone().filter(|&&lists| lists <= probes).count();
    found as f64 / needed.count().max(1) as f64
}

/// The fewest of `lists` lists in which the queries reach [`TARGET_RECALL`].
fn fewest_probes(traces: &[&Trace], lists: usize) -> usize {
    let (mut low, mut high) = (1, lists);
    while low < high {
        let middle = usize::midpoint(low, high);
        if recall(traces, middle) >= TARGET_RECALL {
            high = middle
        } else {
            low = middle + 1
        }
    }
    low
}

/// How many groups of codes the items with a direction fill in each list.
fn groups_of_lists(lists: &InvertedLists, with_direction: &Bitmap) -> Vec<usize> {
    let mut items = vec![0usize; lists.len()];
    with_direction.list(|item| items[lists.items()[item as usize] as usize] += 1);
    items
        .into_iter()
        .map(|items| items.div_ceil(GROUP))
        .collect()
}

/// Learns about √items lists, and puts each item into the nearest. `None` if there are no
/// centroids.
fn learn_lists(index: &Exact) -> Option<InvertedLists> {
    let count = (index.items_with_direction() as f64).sqrt() as usize;
    let centroids = learn_centroids(index, count.next_power_of_two());
    if centroids.is_empty() {
        return None;
    }
    let rows = (0..index.len() as u32).map(|item| index.row(item));
    let list_of_item = nearest_centroids(&centroids, index.depth(), rows);
    Some(InvertedLists::new(index.depth(), centroids, list_of_item))
}

/// Directions that the vectors of an index lie around: k-means by the product with centroids of
/// length 1, on about [`EXAMPLES_PER_LIST`] vectors for each.
fn learn_centroids(index: &Exact, count: usize) -> Vec<f32> {
    let depth = index.depth();
    let step = (index.items_with_direction() / (EXAMPLES_PER_LIST * count)).max(1);
    let sample = (0..index.len() as u32)
        .filter(|&item| index.item_has_direction(item))
        .step_by(step);
    let examples: Vec<Vec<f32>> = sample
        .map(|item| unit(index.row(item).iter().map(|&value| f64::from(value))))
        .collect();
    let starts = examples
        .iter()
        .step_by((examples.len() / count).max(1))
        .take(count);
    let mut centroids: Vec<f32> = starts.flatten().copied().collect();
    for _ in 0..ROUNDS {
        let rows = examples.iter().map(Vec::as_slice);
        let lists = nearest_centroids(&centroids, depth, rows);
        let mut sums = vec![0f64; centroids.len()];
        for (example, list) in examples.iter().zip(lists) {
            let sum = &mut sums[list as usize * depth..][..depth];
            for (sum, &value) in sum.iter_mut().zip(example) {
                *sum += f64::from(value);
            }
        }
        for (centroid, sum) in centroids.chunks_mut(depth).zip(sums.chunks(depth)) {
            // A centroid that no vector is nearest to stays where it is.
            if sum.iter().any(|&value| value != 0.0) {
                centroid.copy_from_slice(&unit(sum.iter().copied()));
            }
        }
    }
    centroids
}

/// The vector of length 1 in the same direction.
fn unit(values: impl Iterator<Item = f64> + Clone) -> Vec<f32> {
    let squares = values.clone().map(|value| value * value);
    let length = squares.sum::<f64>().sqrt();
    values.map(|value| (value / length) as f32).collect()
}

/// For each vector the centroid with the largest product, the first of equals.
fn nearest_centroids<'a>(
    centroids: &[f32],
    depth: usize,
    vectors: impl Iterator<Item = &'a [f32]>,
) -> Vec<u32> {
    let index = Exact::new(centroids.to_vec().into(), depth);
    let all = Bitmap::filled(index.len(), true);
    let vectors: Vec<&[f32]> = vectors.collect();
    let nearest = |found: Vec<Scored>| found.first().map_or(0, |scored| scored.item);
    vectors
        .chunks(BLOCK)
        .flat_map(|block| index.search_batch(block, 1, &vec![Eligible::new(&all); block.len()]))
        .map(nearest)
        .collect()
}
