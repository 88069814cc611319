//! Many queries at once on a GPU: the same answers, to the bit, as one by one on a core.
//!
//! In come the queries of a batch, each with its eligible items; out go the k best of each.
//!
//! The device multiplies a block of queries with the vectors, the longest first, and keeps for each
//! query the positions that can be among its best. A product that the device rounds in its own way
//! is off from ours by at most a known error. The limit of a query is a score that as many items
//! reach as are needed, and what comes within twice the error of it stays. The cores score those
//! few again with the kernel of every other search, which decides; meanwhile the device is at the
//! next block. It stops where no later vector is long enough.

mod block;
mod cpu;
#[cfg(feature = "cuda")]
mod cuda;
#[cfg(test)]
mod tests;

use crate::bitmap::Bitmap;
use crate::device::Device;
use crate::error::{Result, RetrievalError};
use crate::exact::Exact;
use crate::index::{Eligible, Index, SearchBuffer};
use crate::length::{is_bounded, length_of};
use crate::top_k::Scored;
use block::{BLOCK, Candidates, QueryBlock, SECTIONS};
use rayon::prelude::*;
use std::ops::Range;
use std::sync::Arc;

/// Positions and dimensions are filled up with zeros to multiples of this.
const MULTIPLE: usize = 4;

/// What holds the vectors.
enum Processor {
    Cores(cpu::Cores),
    #[cfg(feature = "cuda")]
    Gpu(Box<cuda::Gpu>),
}

impl Processor {
    /// The candidates of a block of queries; `None` from a device that fails.
    fn candidates(&self, block: &QueryBlock) -> Option<Candidates> {
        match self {
            Processor::Cores(cores) => Some(cores.candidates(block)),
            #[cfg(feature = "cuda")]
            Processor::Gpu(gpu) => gpu.candidates(block).ok(),
        }
    }
}

/// An exact index whose batches are computed on a device.
pub struct OnDevice {
    exact: Arc<Exact>,
    processor: Processor,
    /// Whether the items lie by length and all products have bounds.
    is_bounded: bool,
}

impl OnDevice {
    /// Copies the vectors of an index to a device. [`Device::Cpu`] takes the steps of a GPU on the
    /// cores, slowly, to compare with.
    ///
    /// # Errors
    /// [`RetrievalError::Device`] if there is no such device, or no room on it: it takes 4 bytes a
    /// number, and 150 MiB.
    pub fn new(exact: Arc<Exact>, device: Device) -> Result<Self> {
        let depth = exact.depth().next_multiple_of(MULTIPLE);
        // In lists the items do not lie by length, and the cores answer.
        let order = if exact.inverted_lists().is_some() {
            &[]
        } else {
            exact.order()
        };
        let mut rows = vec![0f32; order.len().next_multiple_of(MULTIPLE) * depth];
        rows.par_chunks_mut(depth.max(1))
            .zip(order)
            .for_each(|(row, &item)| row[..exact.depth()].copy_from_slice(exact.row(item)));
        let is_bounded = !rows.is_empty() && exact.has_bounds();
        let processor = match device {
            #[cfg(feature = "cuda")]
            Device::Cuda(number) if !rows.is_empty() => {
                let gpu = cuda::Gpu::new(number, &rows, depth);
                Processor::Gpu(Box::new(gpu.map_err(|error| {
                    RetrievalError::from(candle_core::Error::wrap(error))
                })?))
            }
            #[cfg(not(feature = "cuda"))]
            Device::Cuda(_) if !rows.is_empty() => return Err(RetrievalError::NoCuda),
            _ => Processor::Cores(cpu::Cores { rows, depth }),
        };
        Ok(Self {
            exact,
            processor,
            is_bounded,
        })
    }

    /// One bit for each position: whether it holds an item that is allowed.
    fn allowed_positions(&self, allowed: &Bitmap) -> Vec<u32> {
        let word = |items: &[u32]| {
            items
                .iter()
                .enumerate()
                .map(|(bit, &item)| u32::from(allowed.contains(item)) << bit)
                .sum()
        };
        self.exact.order().par_chunks(32).map(word).collect()
    }

    /// The length of the vector at a position; 0 behind the last.
    fn length_at(&self, position: usize) -> f32 {
        self.exact
            .order()
            .get(position)
            .map_or(0.0, |&item| self.exact.length(item))
    }

    /// Whether the device can answer a block of queries.
    fn can_answer(&self, queries: &[&[f32]], k: usize) -> bool {
        k <= SECTIONS && self.is_bounded && queries.iter().all(|query| is_bounded(length_of(query)))
    }

    /// The candidates for the `k` best of each query, if the device can find them.
    fn candidates(
        &self,
        queries: &[&[f32]],
        k: usize,
        eligible: &[Eligible],
        allowed: &[u32],
    ) -> Option<Candidates> {
        // Excluded items are left out later, so that many more items must reach a limit.
        let needed: Vec<usize> = eligible
            .iter()
            .map(|eligible| k + eligible.except.len())
            .collect();
        let needed_on_device: Vec<u32> = needed
            .iter()
            .map(|&needed| needed.clamp(1, SECTIONS) as u32)
            .collect();
        // A score of ours may be this much above that of the device, and the one it must beat this
        // much below.
        let longest = self.length_at(0);
        let slack: Vec<f32> = queries
            .iter()
            .map(|query| 2.0 * self.exact.max_rounding(query) * longest)
            .collect();
        let max_scores: Vec<f32> = queries
            .iter()
            .map(|query| self.exact.max_score(query))
            .collect();
        let is_done = |position: usize, limits: &[f32]| {
            let length = self.length_at(position);
            limits
                .iter()
                .zip(&slack)
                .zip(&max_scores)
                .all(|((limit, slack), max_score)| max_score * length < limit - slack)
        };
        let block = QueryBlock {
            queries,
            needed: &needed_on_device,
            slack: &slack,
            allowed,
            is_done: &is_done,
        };
        let mut candidates = self.processor.candidates(&block)?;
        for (candidates, needed) in candidates.iter_mut().zip(needed) {
            if needed > SECTIONS {
                *candidates = None;
            }
        }
        Some(candidates)
    }

    /// The best of the candidates of one query, or of all items if there were too many.
    fn decide(
        &self,
        search: (&[f32], usize, Eligible),
        positions: Option<Vec<u32>>,
        buffer: &mut SearchBuffer,
    ) -> Vec<Scored> {
        let (query, k, eligible) = search;
        let order = self.exact.order();
        match positions {
            Some(positions) => {
                let items: Vec<u32> = positions
                    .into_iter()
                    .map(|position| order[position as usize])
                    .filter(|&item| eligible.contains(item))
                    .collect();
                self.exact.best_of(&items, query, k, buffer);
            }
            None => self.exact.search(query, k, eligible, buffer),
        }
        buffer.items.clone()
    }

    /// The answers to a block of queries, on all threads. Without candidates, because a device
    /// failed or cannot answer, the cores search.
    fn decide_block(
        &self,
        queries: &[&[f32]],
        k: usize,
        eligible: &[Eligible],
        candidates: Option<Candidates>,
    ) -> Vec<Vec<Scored>> {
        let Some(candidates) = candidates else {
            return self.exact.search_batch(queries, k, eligible);
        };
        queries
            .par_iter()
            .zip(eligible)
            .zip(candidates)
            .map_init(
                SearchBuffer::default,
                |buffer, ((query, &eligible), positions)| {
                    self.decide((query, k, eligible), positions, buffer)
                },
            )
            .collect()
    }
}

/// Cuts a batch into blocks of queries under one filter.
fn blocks(eligible: &[Eligible]) -> Vec<Range<usize>> {
    let mut blocks = Vec::new();
    let mut from = 0;
    while from < eligible.len() {
        let has_same_filter =
            |other: &&Eligible| std::ptr::eq(other.allowed, eligible[from].allowed);
        let length = eligible[from..]
            .iter()
            .take(BLOCK)
            .take_while(has_same_filter)
            .count();
        blocks.push(from..from + length);
        from += length;
    }
    blocks
}

impl Index for OnDevice {
    fn len(&self) -> usize {
        self.exact.len()
    }

    /// Searches on this core, which is faster for one query alone.
    fn search(&self, query: &[f32], k: usize, eligible: Eligible, buffer: &mut SearchBuffer) {
        self.exact.search(query, k, eligible, buffer);
    }

    fn search_batch(
        &self,
        queries: &[&[f32]],
        k: usize,
        eligible: &[Eligible],
    ) -> Vec<Vec<Scored>> {
        assert_eq!(queries.len(), eligible.len(), "one filter for each query");
        let mut answers = Vec::with_capacity(queries.len());
        let mut decide = |block: Range<usize>, candidates: Option<Candidates>| {
            let (queries, eligible) = (&queries[block.clone()], &eligible[block]);
            answers.extend(self.decide_block(queries, k, eligible, candidates));
        };
        // The positions that the last filter allows.
        let mut last: Option<(&Bitmap, Vec<u32>)> = None;
        let mut multiply = |block: &Range<usize>| {
            let (queries, eligible) = (&queries[block.clone()], &eligible[block.clone()]);
            if !self.can_answer(queries, k) {
                return None;
            }
            let allowed = eligible[0].allowed;
            let is_last = |(last, _): &(&Bitmap, Vec<u32>)| std::ptr::eq(*last, allowed);
            if !last.as_ref().is_some_and(is_last) {
                last = Some((allowed, self.allowed_positions(allowed)));
            }
            self.candidates(queries, k, eligible, &last.as_ref()?.1)
        };
        // The cores decide one block while the device is at the next.
        let mut undecided: Option<(Range<usize>, Option<Candidates>)> = None;
        for block in blocks(eligible) {
            let before = undecided.take();
            let ((), candidates) = rayon::join(
                || {
                    if let Some((block, candidates)) = before {
                        decide(block, candidates)
                    }
                },
                || multiply(&block),
            );
            undecided = Some((block, candidates));
        }
        if let Some((block, candidates)) = undecided {
            decide(block, candidates)
        }
        answers
    }
}
