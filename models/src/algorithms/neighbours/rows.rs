//! For each item its neighbours with their scores, in three flat arrays.

use crate::algorithms::neighbours::sums::{SparseSums, with_thread_sums};
use crate::error::Result;
use crate::weights::{Tensor, Weights};
use aisle_math::array::Array;
use aisle_retrieval::index::{Eligible, SearchBuffer};
use aisle_retrieval::top_k::{Scored, TopK};
use rayon::prelude::*;

/// Entries of a row that are compared at once when a neighbour is looked up.
const COMPARED_AT_ONCE: usize = 16;

/// For each item its neighbours with their scores, by descending score.
#[derive(Default)]
pub struct Neighbours {
    /// Positions in `items` and `scores`: the neighbours of item i lie from `offsets[i]` up to
    /// `offsets[i + 1]`. One more than there are items.
    pub offsets: Array<u64>,
    /// Item rows of the neighbours.
    pub items: Array<u32>,
    /// Score of each neighbour; may be negative.
    pub scores: Array<f32>,
}

/// The names of the three arrays in a version: offsets, items, scores.
pub(crate) type Names = [&'static str; 3];

/// Sorts by descending score, and equal scores by ascending item.
pub(crate) fn sort_descending(row: &mut [Scored]) {
    row.sort_by(|a, b| b.score.total_cmp(&a.score).then(a.item.cmp(&b.item)));
}

impl Neighbours {
    /// Joins the lists of neighbours of all items, each by descending score.
    pub fn from_rows(rows: Vec<Vec<Scored>>) -> Self {
        let mut offsets = vec![0u64];
        let (mut items, mut scores) = (Vec::new(), Vec::new());
        for row in rows {
            items.extend(row.iter().map(|scored| scored.item));
            scores.extend(row.iter().map(|scored| scored.score));
            offsets.push(items.len() as u64);
        }
        Self {
            offsets: offsets.into(),
            items: items.into(),
            scores: scores.into(),
        }
    }

    /// Transposes: `columns` holds, for each item, the items that it is a neighbour of, with the
    /// scores.
    pub fn from_columns(columns: Vec<Vec<Scored>>) -> Self {
        let mut rows: Vec<Vec<Scored>> = vec![Vec::new(); columns.len()];
        for (item, column) in columns.into_iter().enumerate() {
            column.into_iter().for_each(|source| {
                rows[source.item as usize].push(Scored {
                    item: item as u32,
                    score: source.score,
                })
            });
        }
        rows.par_iter_mut().for_each(|row| sort_descending(row));
        Self::from_rows(rows)
    }

    /// Takes the arrays of a version.
    pub(crate) fn load(names: Names, items: usize, weights: &mut Weights) -> Result<Self> {
        let (offsets, entries) = weights.offsets(names[0], items)?;
        let neighbours = weights.rows(names[1], entries, items)?;
        let scores = weights.reals(names[2], entries)?;
        Ok(Self {
            offsets,
            items: neighbours,
            scores,
        })
    }

    /// Returns the arrays that a version stores.
    pub(crate) fn tensors(&self, names: Names) -> Vec<Tensor<'_>> {
        vec![
            Tensor::u64(names[0], &self.offsets),
            Tensor::u32(names[1], &self.items),
            Tensor::f32(names[2], &[self.scores.len()], &self.scores),
        ]
    }

    /// Returns the number of items.
    pub(crate) fn len(&self) -> usize {
        self.offsets.len().saturating_sub(1)
    }

    /// Multiplies every score of a neighbour by the `scale` of the neighbour, and sorts again.
    pub(crate) fn scaled(&self, scale: impl Fn(u32) -> f32 + Sync) -> Self {
        let rows = (0..self.len() as u32).into_par_iter().map(|item| {
            let scaled = |neighbour: Scored| Scored {
                item: neighbour.item,
                score: neighbour.score * scale(neighbour.item),
            };
            let mut row: Vec<Scored> = self.row(item).map(scaled).collect();
            sort_descending(&mut row);
            row
        });
        Self::from_rows(rows.collect())
    }

    /// Removes the neighbours of some items (ascending), and these items from the neighbours of all
    /// others.
    pub(crate) fn without(&self, items: &[u32]) -> Self {
        let removed = |item: u32| items.binary_search(&item).is_ok();
        let rows = (0..self.len() as u32)
            .into_par_iter()
            .map(|item| match removed(item) {
                true => Vec::new(),
                false => self
                    .row(item)
                    .filter(|neighbour| !removed(neighbour.item))
                    .collect(),
            });
        Self::from_rows(rows.collect())
    }

    /// Returns where the neighbours of an item lie in the arrays.
    pub fn range(&self, item: u32) -> std::ops::Range<usize> {
        let at = |row: usize| {
            self.offsets
                .get(row)
                .map_or(self.items.len(), |&position| position as usize)
        };
        at(item as usize)..at(item as usize + 1)
    }

    /// Returns where a neighbour of an item lies in the arrays; `None` if it is not a neighbour.
    pub(crate) fn place(&self, item: u32, neighbour: u32) -> Option<usize> {
        let range = self.range(item);
        let row = &self.items[range.clone()];
        let block = row.chunks(COMPARED_AT_ONCE).position(|block| {
            // Without an early exit, so that the processor compares the entries side by side.
            block
                .iter()
                .fold(false, |any, &other| any | (other == neighbour))
        })?;
        let within = row[block * COMPARED_AT_ONCE..]
            .iter()
            .position(|&other| other == neighbour)?;
        Some(range.start + block * COMPARED_AT_ONCE + within)
    }

    /// Returns the neighbours of an item, by descending score.
    pub fn row(&self, item: u32) -> impl Iterator<Item = Scored> + '_ {
        self.range(item).map(|at| Scored {
            item: self.items[at],
            score: self.scores[at],
        })
    }

    /// Adds up weight × score over the neighbours of several items, and leaves the `k` eligible
    /// items with the highest sums in `buffer.items`, best first. `sources` gives the items with
    /// their weights. O(entries read).
    pub fn accumulate(
        &self,
        sources: impl Iterator<Item = (u32, f32)>,
        k: usize,
        eligible: Eligible,
        buffer: &mut SearchBuffer,
    ) {
        self.with_sums(sources, |sums| {
            let mut top = TopK::new(k);
            for &item in &sums.touched {
                if eligible.contains(item) {
                    top.offer(item, sums.values[item as usize]);
                }
            }
            top.drain_into(&mut buffer.items);
        });
    }

    /// Adds up weight × score over the neighbours of several items, and passes the sums to `read`.
    pub(crate) fn with_sums<T>(
        &self,
        sources: impl Iterator<Item = (u32, f32)>,
        read: impl FnOnce(&SparseSums) -> T,
    ) -> T {
        with_thread_sums(|sums| {
            sums.reset(self.len());
            for (source, weight) in sources {
                let range = self.range(source);
                for (&item, &score) in self.items[range.clone()].iter().zip(&self.scores[range]) {
                    sums.add(item, weight * score);
                }
            }
            read(sums)
        })
    }
}
