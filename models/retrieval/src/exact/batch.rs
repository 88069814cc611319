//! Many queries: each part of the codes is read once for several of them.

use super::{Exact, Search};
use crate::index::SearchBuffer;
use crate::int8::{STRIDE, Survivors, scan};
use crate::scratch::Scratch;
use crate::top_k::Scored;
use rayon::prelude::*;

/// Queries that walk the codes together on one thread.
const BLOCK: usize = 32;
/// Queries of a scan.
const QUERIES_PER_SCAN: usize = 4;

impl Exact {
    /// Searches in blocks of queries, on all threads.
    pub(super) fn search_all(&self, searches: &[Search]) -> Vec<Vec<Scored>> {
        let blocks = searches.par_chunks(BLOCK).map_init(
            || vec![SearchBuffer::default(); BLOCK],
            |buffers, searches| {
                self.search_block(searches, buffers);
                buffers
                    .iter()
                    .take(searches.len())
                    .map(|buffer| buffer.items.clone())
                    .collect::<Vec<_>>()
            },
        );
        blocks.flatten_iter().collect()
    }

    /// Searches for several queries on this thread, each with a buffer of its own.
    fn search_block(&self, searches: &[Search], buffers: &mut [SearchBuffer]) {
        if self.lists.is_some() {
            // Each looks at other lists.
            for (&search, buffer) in searches.iter().zip(buffers) {
                self.search_one(search, buffer);
            }
            return;
        }
        let walking: Vec<usize> = (0..searches.len())
            .filter(|&at| self.begin(searches[at], &mut buffers[at]))
            .collect();
        let mut survivors: [Survivors; QUERIES_PER_SCAN] =
            std::array::from_fn(|_| Survivors::default());
        let groups = self.encoded.groups();
        let (mut from, mut any_walks) = (0, true);
        while any_walks && from < groups {
            let stride = walking
                .iter()
                .map(|&at| buffers[at].scratch.candidates.stride)
                .min()
                .unwrap_or(STRIDE);
            let end = groups.min(from + stride);
            any_walks = false;
            for together in walking.chunks(QUERIES_PER_SCAN) {
                let has_ended = |&at: &usize| from >= buffers[at].scratch.candidates.end;
                if together.iter().all(has_ended) {
                    continue;
                }
                any_walks = true;
                let queries = std::array::from_fn(|lane| {
                    // Lanes past the end repeat the last query, with a limit that nothing reaches.
                    let at = together[lane.min(together.len() - 1)];
                    let Scratch {
                        query, candidates, ..
                    } = &buffers[at].scratch;
                    let is_idle = lane >= together.len() || from >= candidates.end;
                    let threshold = if is_idle {
                        f32::INFINITY
                    } else {
                        candidates.threshold
                    };
                    let limit = query.limit(searches[at].is_cosine(), threshold);
                    (&query.codes, limit)
                });
                scan(
                    self.encoded.level(),
                    self.encoded.codes(),
                    queries,
                    from..end,
                    &mut survivors,
                );
                for (&at, survivors) in together.iter().zip(&survivors) {
                    let Scratch {
                        query, candidates, ..
                    } = &mut buffers[at].scratch;
                    self.collect(searches[at], survivors, query, candidates);
                }
            }
            from = end;
        }
        for at in walking {
            self.finish(searches[at], &mut buffers[at]);
        }
    }
}
