//! The steps of a walk through the codes: begin, collect candidates, and score them.

use super::{Exact, Search};
use crate::candidates::Candidates;
use crate::encoding::EncodedQuery;
use crate::index::SearchBuffer;
use crate::int8::{GROUP, PANELS, STRIDE, Survivors};
use aisle_math::kernels::LANES;
use std::ops::Range;

/// A filter that passes fewer than one item in so many is answered by scoring what it passes. On
/// gowalla's vectors and on vectors of length 1 that is twice as fast at a twentieth, and nowhere
/// faster at a tenth.
const MIN_PASSING: usize = 20;
/// Candidates are sorted in the order of the vectors if there are more than this: reading them from
/// memory in order then saves more than the sort costs.
const SORT_FROM: usize = 2048;

impl Exact {
    /// Makes the buffer ready for a walk, and returns true. Where a walk does not pay, because few
    /// items pass the filter, or where there are no bounds, it scores all items that pass, and
    /// returns false: the search is done.
    pub(super) fn begin(&self, search: Search, buffer: &mut SearchBuffer) -> bool {
        let SearchBuffer { items, scratch } = buffer;
        items.clear();
        if self.depth == 0 || search.query.len() != self.depth || search.k == 0 {
            return false;
        }
        let few = (self.lengths.len() / MIN_PASSING).max(search.k);
        if search.eligible.allowed.count() > few
            && scratch.query.encode(&self.encoded, search.query)
        {
            scratch.candidates.reset(search.k, self.encoded.groups());
            return true;
        }
        scratch.rows.clear();
        search.eligible.list(&mut scratch.rows);
        self.score_rows(search.similarity, search.query, search.k, buffer);
        false
    }

    /// Collects the survivors of a scan that may be returned, and prunes the candidates once there
    /// are many.
    pub(super) fn collect(
        &self,
        search: Search,
        survivors: &Survivors,
        query: &EncodedQuery,
        candidates: &mut Candidates,
    ) {
        for (panel, mut mask, sums) in survivors.iter() {
            let (group, panel_of_group) = (panel / PANELS, panel % PANELS);
            let bounds = self.encoded.bounds(group);
            let scale = query.codes.scale / bounds.inverse_scale[panel_of_group];
            let error = bounds.error[panel_of_group] * query.slack[1];
            while mask != 0 {
                let lane = mask.trailing_zeros() as usize;
                mask &= mask - 1;
                let position = panel * LANES + lane;
                let item = self.order[position];
                if !search.eligible.contains(item) {
                    continue;
                }
                let length = self.lengths_by_position[position];
                let mut score = sums[lane] as f32 * scale;
                let mut slack = length * query.slack[0] + error;
                if search.is_cosine() {
                    let inverse = if length > 0.0 { 1.0 / length } else { 0.0 };
                    (score, slack) = (score * inverse, slack * inverse);
                }
                candidates.push(score - slack, score + slack, item);
            }
        }
        candidates.stride = (2 * candidates.stride).min(STRIDE);
        if candidates.items.len() >= candidates.prune_at && candidates.prune() {
            candidates.end = self.end_of_walk(
                search,
                query.length,
                candidates.threshold,
                &candidates.groups,
            );
        }
    }

    /// The end of those of some groups that can hold a score of the threshold: the first group
    /// whose longest vector is too short for it. O(log groups).
    pub(super) fn end_of_walk(
        &self,
        search: Search,
        query_length: f32,
        threshold: f32,
        groups: &Range<usize>,
    ) -> usize {
        if search.is_cosine() || threshold <= 0.0 {
            return groups.end;
        }
        let factor = query_length * self.rounding_factor();
        let max_score = |group: usize| self.lengths_by_position[group * GROUP] * factor;
        let (mut first, mut end) = (groups.start, groups.end);
        while first < end {
            let middle = usize::midpoint(first, end);
            if max_score(middle) >= threshold {
                first = middle + 1
            } else {
                end = middle
            }
        }
        first
    }

    /// Scores the candidates that a walk left.
    pub(super) fn finish(&self, search: Search, buffer: &mut SearchBuffer) {
        let scratch = &mut buffer.scratch;
        scratch.candidates.prune();
        std::mem::swap(&mut scratch.rows, &mut scratch.candidates.items);
        if scratch.rows.len() > SORT_FROM {
            scratch.rows.sort_unstable();
        }
        self.score_rows(search.similarity, search.query, search.k, buffer);
    }
}
