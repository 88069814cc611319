//! Lists of items whose vectors point the same way, for vectors whose lengths differ little.
//!
//! Of vectors of length 1 the exact index can end no search early: it reads the codes of all items,
//! which at a million of them come from memory. An inverted file (Jégou, Douze and Schmid, "Product
//! Quantization for Nearest Neighbor Search", TPAMI 2011, section 4) reads only the lists whose
//! centroids have the largest products with the query.
//!
//! This file holds the structure: in come a query and a count, out go the lists to look at.
//! `inverted_lists_fit.rs` learns the lists from an exact index and measures what they miss; where
//! they miss too much or read too much, the search stays exact.

use crate::index::SearchBuffer;
use crate::length::length_of;
use crate::top_k;
use aisle_math::array::Array;
use aisle_math::kernels::{dot_rows, simd};
use serde::{Deserialize, Serialize};

/// The number of results that recall is measured at.
pub(crate) const MEASURED_K: usize = 100;
/// The recall that lists must have on queries that did not choose the number of probes.
const MIN_RECALL: f64 = 0.99;
/// Lists that read a larger share of the items are not worth what they miss.
const MAX_SHARE: f64 = 0.25;
/// How much the length of a centroid may differ from 1.
const LENGTH_TOLERANCE: f64 = 1e-3;

/// How an index finds its items where the search is not exact.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Retrieval {
    /// The number of lists.
    pub lists: usize,
    /// The number of lists that a search looks at: more for more than 100 results, and for a
    /// filter.
    pub probes: usize,
    /// The share of the 100 best items that a search finds, from 0 to 1, over queries that did not
    /// choose `probes`.
    pub recall: f64,
    /// The share of the codes that a search reads, from 0 to 1, of items whose vectors have a
    /// direction.
    pub share: f64,
    /// The number of queries that recall was measured on, one for each shopper.
    pub shoppers: usize,
}

impl Retrieval {
    /// Whether the lists miss so little, and read so much less than all items, that they are used.
    /// Else the search is exact.
    pub fn is_worthwhile(&self) -> bool {
        self.recall >= MIN_RECALL && self.share <= MAX_SHARE
    }
}

/// Parts of stored lists that do not fit each other.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the {part} of stored inverted lists: found {found}, expected {expected}; fit again")]
pub struct InvalidLists {
    /// The part that does not fit: `probes`, `centroids` or `items`.
    pub part: &'static str,
    /// What was found.
    pub found: String,
    /// What was expected.
    pub expected: String,
}

/// Which list each item is in, and which way each list points.
pub struct InvertedLists {
    depth: usize,
    /// `lists × depth`, each of length 1.
    centroids: Array<f32>,
    list_of_item: Array<u32>,
    /// See [`Retrieval::probes`]; one number.
    probes: Array<u64>,
}

impl InvertedLists {
    /// Makes lists of parts that fit each other. A search looks at one list until
    /// [`InvertedLists::with_probes`] says otherwise.
    pub(crate) fn new(depth: usize, centroids: Vec<f32>, list_of_item: Vec<u32>) -> Self {
        Self {
            depth,
            centroids: centroids.into(),
            list_of_item: list_of_item.into(),
            probes: vec![1].into(),
        }
    }

    /// Returns the lists with another number of lists that a search looks at.
    pub(crate) fn with_probes(self, probes: usize) -> Self {
        Self {
            probes: vec![probes as u64].into(),
            ..self
        }
    }

    /// Makes lists of parts that were stored: `centroids` is `lists × depth`, row-major, `of` the
    /// list of each item, and `probes` one number, see [`Retrieval::probes`].
    ///
    /// # Errors
    /// [`InvalidLists`] if the parts are not what [`InvertedLists::of`] would have made.
    pub fn from_parts(
        depth: usize,
        centroids: Array<f32>,
        of: Array<u32>,
        probes: Array<u64>,
    ) -> Result<Self, InvalidLists> {
        let count = centroids.len() / depth.max(1);
        let probes_found = probes.first().copied().unwrap_or(0);
        if !(1..=count as u64).contains(&probes_found) {
            return Err(InvalidLists {
                part: "probes",
                found: probes_found.to_string(),
                expected: format!("1 to {count}"),
            });
        }
        // Products with a query are compared, so a centroid of another length would hide the
        // others.
        let is_off = |length: &f64| length.is_nan() || (length - 1.0).abs() > LENGTH_TOLERANCE;
        let mut lengths = centroids.chunks(depth.max(1)).map(length_of);
        if let Some(length) = lengths.find(is_off) {
            return Err(InvalidLists {
                part: "centroids",
                found: format!("one of length {length}"),
                expected: "vectors of length 1".into(),
            });
        }
        if let Some(list) = of.iter().find(|&&list| list as usize >= count) {
            return Err(InvalidLists {
                part: "items",
                found: format!("list {list}"),
                expected: format!("lists below {count}"),
            });
        }
        Ok(Self {
            depth,
            centroids,
            list_of_item: of,
            probes,
        })
    }

    /// The centroids: `lists × depth`, row-major.
    pub fn centroids(&self) -> &[f32] {
        &self.centroids
    }

    /// [`Retrieval::probes`] as it is stored: one number.
    pub fn stored_probes(&self) -> &[u64] {
        &self.probes
    }

    /// The number of lists.
    pub fn len(&self) -> usize {
        self.centroids.len() / self.depth
    }

    /// Whether there are no lists.
    pub fn is_empty(&self) -> bool {
        self.centroids.is_empty()
    }

    /// The list of each item.
    pub fn items(&self) -> &[u32] {
        &self.list_of_item
    }

    /// See [`Retrieval::probes`].
    pub fn min_probes(&self) -> usize {
        self.probes[0] as usize
    }

    /// Bytes beside the vectors.
    pub(crate) fn bytes(&self) -> usize {
        size_of_val(&self.centroids[..]) + size_of_val(&self.list_of_item[..])
    }

    /// Returns how many lists to look at for the `k` best, where `eligible` of the `known` items
    /// that have a vector may be returned. Where fewer may be returned, the best of them are as
    /// many times further away.
    pub fn probes(&self, k: usize, eligible: usize, known: usize) -> usize {
        let results = k.div_ceil(MEASURED_K) as f64;
        let rarity = (known as f64 / eligible.max(1) as f64).max(1.0);
        let probes = (self.min_probes() as f64 * (results * rarity)).ceil() as usize;
        probes.min(self.len())
    }

    /// Writes the `count` lists whose centroids have the largest products with a query to
    /// `found.items`, the best first. O(lists · depth).
    pub fn nearest_lists(&self, query: &[f32], count: usize, found: &mut SearchBuffer) {
        let SearchBuffer { items, scratch } = found;
        let (rows, scores) = (&mut scratch.rows, &mut scratch.scores);
        rows.clear();
        rows.extend(0..self.len() as u32);
        scores.resize(rows.len(), 0.0);
        dot_rows(simd(), &self.centroids, rows, query, scores);
        top_k::best(rows, scores, count, &mut scratch.keys, items);
    }
}

#[cfg(test)]
impl InvertedLists {
    /// Makes lists without meaning, all of which a search looks at, so that what it finds is exact.
    pub(crate) fn all_searched(items: usize, depth: usize, count: usize) -> Self {
        let list_of_item = (0..items as u32)
            .map(|item| item * 7 % 13 % count as u32)
            .collect();
        let centroids = (0..count * depth)
            .map(|at| if at / depth == at % depth { 1.0 } else { 0.0 })
            .collect();
        Self::new(depth, centroids, list_of_item).with_probes(count)
    }
}
