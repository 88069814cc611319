//! The exact top k without looking at everything.
//!
//! In come vectors, then queries; out go the k best items with their scores.
//!
//! The score of an item is one inner product in f32, [`dot_rows`], whoever needs it. To find the k
//! best, the index walks codes of 8 bits a dimension, the longest vectors first, in a basis in
//! which the first dimensions weigh most. From codes q̂ and x̂ follows a score that is off by at
//! most |q·x − q̂·x̂| ≤ |q − q̂| |x| + |q̂| |x − x̂| (Cauchy-Schwarz, both errors known exactly).
//! So each item has a lower and an upper bound: the k-th largest lower bound so far is a threshold,
//! items whose upper bound is below it are out, and the walk ends where |q| |x| is below it. What
//! is left, a few times k, is scored in f32. The answer *is* that of the plain scan, ties included.
//!
//! The order by length and the bound are those of LEMP (Teflioudi and Gemulla 2015), the heavy
//! dimensions first those of FEXIPRO (Li et al. 2017); both work in floating point, item by item.
//!
//! `build.rs` orders and codes the items, `search.rs` answers one query, `batch.rs` several at
//! once, and `walk.rs` holds the steps that both share. What may be changed is the walk, as long as
//! its bounds hold.

mod batch;
mod build;
mod search;
#[cfg(test)]
mod tests;
mod walk;

use crate::encoding::EncodedItems;
use crate::index::{Eligible, Index, SearchBuffer};
use crate::int8::Level;
use crate::inverted_lists::InvertedLists;
use crate::length::{direction_of, has_direction, is_bounded, length_of, round_up};
use crate::top_k::{self, Scored};
use aisle_math::array::Array;
use aisle_math::kernels::{dot_rows, simd};
use std::ops::Range;

/// What a score is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Similarity {
    /// The inner product of the query and the vector of the item.
    InnerProduct,
    /// The inner product divided by the length of the item's vector. The query has length 1.
    Cosine,
}

/// One query.
#[derive(Clone, Copy)]
struct Search<'a> {
    similarity: Similarity,
    query: &'a [f32],
    k: usize,
    eligible: Eligible<'a>,
}

impl Search<'_> {
    fn is_cosine(&self) -> bool {
        self.similarity == Similarity::Cosine
    }
}

/// Finds the largest inner products exactly; with [`InvertedLists`], those of the items that it
/// looks at. Beside the vectors it keeps depth + 15.5 bytes an item. A query costs O(items · depth)
/// at worst; on factors of real shops a twentieth to a quarter of that.
pub struct Exact {
    rows: Array<f32>,
    depth: usize,
    encoded: EncodedItems,
    /// The item at each position, by list and descending length; whole groups, with
    /// [`build::NO_ITEM`] at the end of each list.
    order: Vec<u32>,
    lists: Option<InvertedLists>,
    /// The groups of each list; one range of all groups where there are no lists.
    groups_of_lists: Vec<Range<usize>>,
    /// The length of the vector at each position.
    lengths_by_position: Vec<f32>,
    /// The length of the vector of each item.
    lengths: Vec<f32>,
    /// How many items have a vector with a direction.
    with_direction: usize,
}

impl Exact {
    /// Makes an index of `items × depth` row-major vectors. O(items · depth²).
    pub fn new(rows: Array<f32>, depth: usize) -> Self {
        Self::with_lists(rows, depth, None)
    }

    /// Makes an index that looks only at some lists of the items, if there are lists.
    pub fn with_lists(rows: Array<f32>, depth: usize, lists: Option<InvertedLists>) -> Self {
        Self::with_level(rows, depth, lists, Level::best())
    }

    /// The vectors: `items × depth`, row-major.
    pub fn rows(&self) -> &Array<f32> {
        &self.rows
    }

    /// The number of dimensions.
    pub fn depth(&self) -> usize {
        self.depth
    }

    /// How many items have a vector with a direction: neither zero nor beyond measure.
    pub fn items_with_direction(&self) -> usize {
        self.with_direction
    }

    /// The lists that a search looks at, if it does not look at all items.
    pub fn inverted_lists(&self) -> Option<&InvertedLists> {
        self.lists.as_ref()
    }

    /// The vector of an item.
    pub fn row(&self, item: u32) -> &[f32] {
        &self.rows[item as usize * self.depth..][..self.depth]
    }

    /// Returns one over the length of the vector of an item, 0 for a zero vector.
    pub fn inverse_length(&self, item: u32) -> f32 {
        let length = self.length(item);
        if length > 0.0 { 1.0 / length } else { 0.0 }
    }

    /// Bytes beside the vectors.
    pub fn bytes(&self) -> usize {
        self.encoded.bytes()
            + size_of_val(&self.order[..])
            + size_of_val(&self.lengths_by_position[..])
            + size_of_val(&self.lengths[..])
            + self.lists.as_ref().map_or(0, InvertedLists::bytes)
    }

    /// The items by descending length; of no use with lists.
    pub(crate) fn order(&self) -> &[u32] {
        &self.order[..self.len()]
    }

    /// The length of the vector of an item; infinite if it is not a number.
    pub(crate) fn length(&self, item: u32) -> f32 {
        self.lengths[item as usize]
    }

    /// Whether the vector of an item has a direction.
    pub(crate) fn item_has_direction(&self, item: u32) -> bool {
        has_direction(f64::from(self.length(item)))
    }

    /// Whether inner products with every vector have bounds. O(items).
    pub(crate) fn has_bounds(&self) -> bool {
        self.lengths
            .iter()
            .all(|&length| is_bounded(f64::from(length)))
    }

    /// The most that two ways to add up an inner product with a query can differ by, for a vector
    /// of length 1.
    pub(crate) fn max_rounding(&self, query: &[f32]) -> f32 {
        round_up(length_of(query)) * (self.rounding_factor() - 1.0)
    }

    /// The largest score that a query can have with a vector of length 1, however it is added up.
    pub(crate) fn max_score(&self, query: &[f32]) -> f32 {
        round_up(length_of(query)) * self.rounding_factor()
    }

    /// How many times the product of two lengths a score in f32 can be.
    fn rounding_factor(&self) -> f32 {
        1.0 + (self.depth as f32 + 64.0) * f32::EPSILON
    }

    /// Writes the `k` best of some items to `buffer.items`, whatever else there is.
    /// O(items · depth).
    pub fn best_of(&self, items: &[u32], query: &[f32], k: usize, buffer: &mut SearchBuffer) {
        buffer.scratch.rows.clear();
        buffer.scratch.rows.extend_from_slice(items);
        self.score_rows(Similarity::InnerProduct, query, k, buffer);
    }

    /// Writes the `k` of some items with the largest cosine to `buffer.items`, with the scores of
    /// [`Exact::search_cosine`]. O(items · depth).
    pub fn nearest_of(
        &self,
        query: &[f32],
        items: impl Iterator<Item = u32>,
        k: usize,
        buffer: &mut SearchBuffer,
    ) {
        buffer.scratch.rows.clear();
        buffer.scratch.rows.extend(items);
        with_direction_of(query, buffer, |direction, buffer| {
            self.score_rows(Similarity::Cosine, direction, k, buffer)
        });
    }

    /// Searches as [`Index::search`] does, but by the cosine. Zero vectors have cosine 0 with
    /// everything.
    pub fn search_cosine(
        &self,
        query: &[f32],
        k: usize,
        eligible: Eligible,
        buffer: &mut SearchBuffer,
    ) {
        with_direction_of(query, buffer, |direction, buffer| {
            let search = Search {
                similarity: Similarity::Cosine,
                query: direction,
                k,
                eligible,
            };
            self.search_one(search, buffer)
        });
    }

    /// Searches with the vectors of some of its items as [`Exact::search_cosine`] does, on all
    /// threads. Returns the same bits as one search after the other.
    pub fn nearest(&self, items: &[u32], k: usize, eligible: Eligible) -> Vec<Vec<Scored>> {
        let directions: Vec<Vec<f32>> = items
            .iter()
            .map(|&item| direction_of(self.row(item)).collect())
            .collect();
        let searches: Vec<Search> = directions
            .iter()
            .map(|query| Search {
                similarity: Similarity::Cosine,
                query,
                k,
                eligible,
            })
            .collect();
        self.search_all(&searches)
    }

    /// Writes the `k` best of the rows in the scratch memory to `buffer.items`, scored in f32.
    fn score_rows(
        &self,
        similarity: Similarity,
        query: &[f32],
        k: usize,
        buffer: &mut SearchBuffer,
    ) {
        let SearchBuffer { items, scratch } = buffer;
        let (rows, scores) = (&scratch.rows, &mut scratch.scores);
        scores.resize(rows.len(), 0.0);
        dot_rows(simd(), &self.rows, rows, query, scores);
        if similarity == Similarity::Cosine {
            for (score, &item) in scores.iter_mut().zip(rows) {
                *score *= self.inverse_length(item);
            }
        }
        top_k::best(rows, scores, k, &mut scratch.keys, items);
    }
}

/// Runs `search` with the direction of a query, which lies in the memory of the buffer.
fn with_direction_of(
    query: &[f32],
    buffer: &mut SearchBuffer,
    search: impl FnOnce(&[f32], &mut SearchBuffer),
) {
    let mut direction = std::mem::take(&mut buffer.scratch.direction);
    direction.clear();
    direction.extend(direction_of(query));
    search(&direction, buffer);
    buffer.scratch.direction = direction;
}

impl Index for Exact {
    fn len(&self) -> usize {
        self.lengths.len()
    }

    fn search(&self, query: &[f32], k: usize, eligible: Eligible, buffer: &mut SearchBuffer) {
        let search = Search {
            similarity: Similarity::InnerProduct,
            query,
            k,
            eligible,
        };
        self.search_one(search, buffer);
    }

    fn search_batch(
        &self,
        queries: &[&[f32]],
        k: usize,
        eligible: &[Eligible],
    ) -> Vec<Vec<Scored>> {
        assert_eq!(queries.len(), eligible.len(), "one filter for each query");
        let searches: Vec<Search> = queries
            .iter()
            .zip(eligible)
            .map(|(&query, &eligible)| Search {
                similarity: Similarity::InnerProduct,
                query,
                k,
                eligible,
            })
            .collect();
        self.search_all(&searches)
    }
}
