//! One query: a walk through all groups, or through the groups of some lists.

use super::{Exact, Search, Similarity};
use crate::index::SearchBuffer;
use crate::int8::scan;
use crate::inverted_lists::InvertedLists;
use crate::scratch::Scratch;
use std::ops::Range;

impl Exact {
    /// Writes the best items to `buffer.items`.
    pub(super) fn search_one(&self, search: Search, buffer: &mut SearchBuffer) {
        if !self.begin(search, buffer) {
            return;
        }
        match &self.lists {
            Some(lists) if search.similarity == Similarity::InnerProduct => {
                self.walk_lists(search, lists, buffer)
            }
            _ => self.walk(search, 0..self.encoded.groups(), &mut buffer.scratch),
        }
        self.finish(search, buffer);
    }

    /// Collects the candidates of some groups.
    fn walk(&self, search: Search, groups: Range<usize>, scratch: &mut Scratch) {
        let Scratch {
            query,
            candidates,
            survivors,
            ..
        } = scratch;
        let mut from = groups.start;
        candidates.end = self.end_of_walk(search, query.length, candidates.threshold, &groups);
        candidates.groups = groups;
        while from < candidates.end {
            let end = candidates.end.min(from + candidates.stride);
            let limit = query.limit(search.is_cosine(), candidates.threshold);
            scan(
                self.encoded.level(),
                self.encoded.codes(),
                [(&query.codes, limit)],
                from..end,
                std::array::from_mut(survivors),
            );
            self.collect(search, survivors, query, candidates);
            from = end;
        }
    }

    /// Collects the candidates of as many lists as a search looks at, and of others for as long as
    /// there are fewer than k.
    fn walk_lists(&self, search: Search, lists: &InvertedLists, buffer: &mut SearchBuffer) {
        let probes = lists.probes(search.k, search.eligible.count(), self.with_direction);
        let mut walked = 0;
        for count in [probes, lists.len()] {
            lists.nearest_lists(search.query, count, buffer);
            std::mem::swap(&mut buffer.items, &mut buffer.scratch.lists);
            for at in walked..buffer.scratch.lists.len() {
                if walked > 0 && buffer.scratch.candidates.items.len() >= search.k {
                    return;
                }
                let list = buffer.scratch.lists[at].item as usize;
                let groups = self.groups_of_lists[list].clone();
                self.walk(search, groups, &mut buffer.scratch);
            }
            if buffer.scratch.candidates.items.len() >= search.k {
                return;
            }
            walked = buffer.scratch.lists.len();
        }
    }
}
