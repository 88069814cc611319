//! Codes of items and queries, and the bounds that they come with.

use aisle_math::kernels::LANES;
use std::ops::Range;

/// Items of a group.
pub(crate) const GROUP: usize = 64;
/// Panels of 16 items in a group. Each panel has its own bounds.
pub(crate) const PANELS: usize = GROUP / LANES;
/// What is added to the code of an item to make it unsigned.
pub(crate) const ZERO: u8 = 128;

/// The codes of four dimensions of the 16 items of a panel. They fill a cache line and are aligned
/// to it, so that one load never touches two.
#[derive(Clone, Copy)]
#[repr(C, align(64))]
pub(crate) struct CodeLine(pub [u8; 64]);

/// The codes of some dimensions of all items.
pub(crate) struct Stage {
    /// Which quads (groups of four dimensions).
    pub quads: Range<usize>,
    /// `groups × 4 panels × quads` lines.
    pub lines: Vec<CodeLine>,
    /// For each item of each panel the length of its vector in the dimensions after this stage, in
    /// units of [`Stage::tail_unit`], rounded up. Empty in the last stage.
    pub tails: Vec<[u8; LANES]>,
    /// What a tail of 1 means, in units of the codes.
    pub tail_unit: f32,
}

impl Stage {
    /// The dimensions whose codes the stage holds, of vectors of `depth` dimensions.
    pub fn dimensions(&self, depth: usize) -> Range<usize> {
        4 * self.quads.start..depth.min(4 * self.quads.end)
    }
}

/// What is known of the items of a group, for each of its panels.
#[derive(Clone, Copy)]
pub(crate) struct GroupBounds {
    /// What a threshold may be multiplied by, see [`ScoreLimit`]: one, the smallest length above
    /// zero, and the largest length.
    pub lengths: [[f32; PANELS]; 3],
    /// The largest |x − x̂| of the items; infinite where there is no bound.
    pub error: [f32; PANELS],
    /// One over the value of a code of 1.
    pub inverse_scale: [f32; PANELS],
}

/// The items of an index, as the scan reads them.
#[derive(Clone, Copy)]
pub(crate) struct ItemCodes<'a> {
    /// From the dimensions that weigh most to those that weigh least.
    pub stages: &'a [Stage],
    /// One for each group.
    pub bounds: &'a [GroupBounds],
}

/// A query in codes: `value ≈ scale · code`.
#[derive(Clone, Debug, Default)]
pub(crate) struct QueryCodes {
    /// Four codes each.
    pub quads: Vec<i32>,
    /// −128 · Σ codes of each stage: what makes up for the 128 in the codes of the items.
    pub starts: Vec<i32>,
    /// For each stage, what a tail of 1 can add to the sum.
    pub tails: Vec<f32>,
    /// The value of a code of 1.
    pub scale: f32,
}

/// What the sum of an item must reach so that its score can reach a threshold.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ScoreLimit {
    /// The score to reach, over the scale of the query.
    pub threshold: f32,
    /// What multiplies the largest length and the largest error of a panel, over the scale of the
    /// query.
    pub slack: [f32; 2],
    /// Whether the score is divided by the length of the item.
    pub is_cosine: bool,
}

impl ScoreLimit {
    /// Which of [`GroupBounds::lengths`] multiplies the threshold.
    #[inline(always)]
    pub fn length_factor(&self) -> usize {
        match (self.is_cosine, self.threshold < 0.0) {
            (false, _) => 0,
            (true, false) => 1,
            (true, true) => 2,
        }
    }

    /// The sums to reach in each panel, in units of the codes. `factor` is
    /// [`ScoreLimit::length_factor`], which the scan computes only once.
    #[inline(always)]
    pub fn in_codes(&self, factor: usize, bounds: &GroupBounds) -> [f32; PANELS] {
        let (factors, longest) = (&bounds.lengths[factor], &bounds.lengths[2]);
        std::array::from_fn(|panel| {
            let slack = longest[panel] * self.slack[0] + bounds.error[panel] * self.slack[1];
            (self.threshold * factors[panel] - slack) * bounds.inverse_scale[panel]
        })
    }
}
