//! The items of a scan that may be among the k best.

use crate::int8::{GROUP, STRIDE};
use aisle_math::kernels::{simd, threshold_reached_by};
use std::ops::Range;

/// The candidates of one search, and how far its walk through the codes has come. It keeps its
/// memory from one search to the next.
#[derive(Clone, Debug, Default)]
pub(crate) struct Candidates {
    /// Items that may be among the best.
    pub items: Vec<u32>,
    /// A lower bound of the score of each.
    lows: Vec<f32>,
    /// An upper bound of the score of each.
    highs: Vec<f32>,
    k: usize,
    /// A score that at least k items are known to reach.
    pub threshold: f32,
    /// The number of candidates at which the next call of [`Candidates::prune`] pays.
    pub prune_at: usize,
    /// The groups that the search walks.
    pub groups: Range<usize>,
    /// The end of those groups that can still hold one of the best.
    pub end: usize,
    /// How many groups to scan before candidates are collected.
    pub stride: usize,
}

impl Candidates {
    /// Empties it for a search for the `k` best of some groups.
    pub fn reset(&mut self, k: usize, groups: usize) {
        self.items.clear();
        self.lows.clear();
        self.highs.clear();
        self.k = k;
        self.threshold = f32::NEG_INFINITY;
        self.prune_at = 2 * k + GROUP;
        (self.groups, self.end) = (0..groups, groups);
        self.stride = (2 * k).div_ceil(GROUP).clamp(1, STRIDE);
    }

    /// Adds an item whose score lies between `low` and `high`.
    #[inline]
    pub fn push(&mut self, low: f32, high: f32, item: u32) {
        self.items.push(item);
        self.lows.push(low);
        self.highs.push(high);
    }

    /// Raises the threshold and drops the candidates below it. Returns whether the threshold rose.
    /// O(candidates).
    pub fn prune(&mut self) -> bool {
        if self.items.len() <= self.k {
            return false;
        }
        let threshold = self
            .threshold
            .max(threshold_reached_by(simd(), &self.lows, self.k));
        let has_risen = threshold > self.threshold;
        self.threshold = threshold;
        let mut kept = 0;
        for at in 0..self.items.len() {
            let high = self.highs[at];
            self.items[kept] = self.items[at];
            self.lows[kept] = self.lows[at];
            self.highs[kept] = high;
            kept += usize::from(high >= threshold);
        }
        self.items.truncate(kept);
        self.lows.truncate(kept);
        self.highs.truncate(kept);
        self.prune_at = (2 * self.k + GROUP).max(kept * 3 / 2);
        has_risen
    }
}
