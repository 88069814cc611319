//! The vectors of all items in codes, 64 items a group.

use super::quantize::quantize;
use crate::int8::{CodeLine, GROUP, GroupBounds, ItemCodes, Level, PANELS, Stage, ZERO};
use crate::length::{has_direction, length_of, peak_of, round_up};
use crate::rotation::Rotation;
use aisle_math::kernels::LANES;
use rayon::prelude::*;
use std::ops::Range;

/// Groups that are coded together.
const GROUPS_AT_ONCE: usize = 32;
/// The rotation is learned from about so many vectors for each dimension, and from no fewer than
/// [`MIN_SAMPLE`].
const SAMPLE_PER_DIMENSION: usize = 16;
const MIN_SAMPLE: usize = 4096;

/// The vectors to code: row-major, and the length of each.
#[derive(Clone, Copy)]
pub(crate) struct Vectors<'a> {
    pub rows: &'a [f32],
    pub depth: usize,
    pub lengths: &'a [f64],
}

impl<'a> Vectors<'a> {
    /// The length of the vector of an item; 0 for the number of no item.
    fn length(&self, item: u32) -> f64 {
        self.lengths.get(item as usize).copied().unwrap_or(0.0)
    }

    /// The vector of an item if it has a direction.
    fn with_direction(&self, item: u32) -> Option<&'a [f32]> {
        has_direction(self.length(item))
            .then(|| &self.rows[item as usize * self.depth..][..self.depth])
    }
}

/// The codes of all items, in the order in which they are scanned.
pub(crate) struct EncodedItems {
    depth: usize,
    rotation: Rotation,
    stages: Vec<Stage>,
    bounds: Vec<GroupBounds>,
    level: Level,
}

impl EncodedItems {
    /// Codes the vectors of the items at each position of `order`, whole groups of 64. A number of
    /// no item stands for a position without one. O(items · depth²).
    pub fn new(order: &[u32], vectors: Vectors, level: Level) -> Self {
        let depth = vectors.depth;
        let mut stages = empty_stages(depth);
        let rotation = learn_rotation(order, vectors, &stages);
        let coded: Vec<CodedGroups> = order
            .par_chunks(GROUPS_AT_ONCE * GROUP)
            .map(|items| code_groups(items, vectors, &rotation, &stages))
            .collect();
        let groups = order.len() / GROUP;
        let mut bounds = Vec::with_capacity(groups);
        for stage in &mut stages {
            let lines = groups * PANELS * stage.quads.len();
            stage.lines.reserve_exact(lines);
        }
        for groups in coded {
            bounds.extend(groups.bounds);
            for (stage, codes) in stages.iter_mut().zip(groups.stages) {
                stage.lines.extend(codes.lines);
                stage.tails.extend(codes.tails);
            }
        }
        Self {
            depth,
            rotation,
            stages,
            bounds,
            level,
        }
    }

    /// The number of dimensions.
    pub fn depth(&self) -> usize {
        self.depth
    }

    /// The basis of the codes.
    pub fn rotation(&self) -> &Rotation {
        &self.rotation
    }

    /// The codes, those of the heaviest dimensions first.
    pub fn stages(&self) -> &[Stage] {
        &self.stages
    }

    /// The instructions that multiply the codes.
    pub fn level(&self) -> Level {
        self.level
    }

    /// The number of groups.
    pub fn groups(&self) -> usize {
        self.bounds.len()
    }

    /// What is known of the items of a group.
    pub fn bounds(&self, group: usize) -> &GroupBounds {
        &self.bounds[group]
    }

    /// What the scan reads.
    pub fn codes(&self) -> ItemCodes<'_> {
        ItemCodes {
            stages: &self.stages,
            bounds: &self.bounds,
        }
    }

    /// Bytes of the codes and bounds.
    pub fn bytes(&self) -> usize {
        let stages = self
            .stages
            .iter()
            .map(|stage| size_of_val(&stage.lines[..]) + size_of_val(&stage.tails[..]));
        stages.sum::<usize>() + size_of_val(&self.bounds[..])
    }
}

/// The stages of vectors without codes: the first quarter of the dimensions, the second, and the
/// other half. Shorter vectors have fewer stages, because each stage has a cost.
fn empty_stages(depth: usize) -> Vec<Stage> {
    let quads = depth.div_ceil(4);
    let cuts = match quads {
        0..8 => vec![0, quads],
        8..24 => vec![0, quads / 2, quads],
        _ => vec![0, quads / 4, quads / 2, quads],
    };
    let stage = |cut: &[usize]| {
        let dimensions_left = depth.saturating_sub(4 * cut[1]);
        Stage {
            quads: cut[0]..cut[1],
            lines: vec![],
            tails: vec![],
            // No value is larger than 127 codes, so no tail is longer than 127 √dimensions_left.
            tail_unit: (127.0 / 255.0) * (dimensions_left as f32).sqrt(),
        }
    };
    cuts.windows(2).map(stage).collect()
}

/// The rotation for a sample of the vectors.
fn learn_rotation(order: &[u32], vectors: Vectors, stages: &[Stage]) -> Rotation {
    let depth = vectors.depth;
    let sample_size = (SAMPLE_PER_DIMENSION * depth).max(MIN_SAMPLE);
    let items = vectors.rows.len().checked_div(depth).unwrap_or(0);
    let step = (items / sample_size).max(1);
    let sample: Vec<&[f32]> = order
        .iter()
        .step_by(step)
        .filter_map(|&item| vectors.with_direction(item))
        .collect();
    let blocks: Vec<Range<usize>> = stages.iter().map(|stage| stage.dimensions(depth)).collect();
    Rotation::learn(&sample.concat(), depth, &blocks)
}

/// The codes of some groups in one stage.
#[derive(Default)]
struct StageCodes {
    lines: Vec<CodeLine>,
    tails: Vec<[u8; LANES]>,
}

/// The codes of some groups.
struct CodedGroups {
    bounds: Vec<GroupBounds>,
    /// One for each stage.
    stages: Vec<StageCodes>,
}

/// Codes whole groups of items, on this thread.
fn code_groups(
    items: &[u32],
    vectors: Vectors,
    rotation: &Rotation,
    stages: &[Stage],
) -> CodedGroups {
    let depth = vectors.depth;
    let zeros = vec![0f32; depth];
    let rows: Vec<&[f32]> = items
        .iter()
        .map(|&item| vectors.with_direction(item).unwrap_or(&zeros))
        .collect();
    let rotated = rotation.rotate_all(rows.concat());
    let mut codes: Vec<StageCodes> = stages.iter().map(|_| StageCodes::default()).collect();
    let groups = items
        .chunks(GROUP)
        .zip(rotated.chunks((GROUP * depth).max(1)));
    let bounds = groups
        .map(|(items, rows)| {
            let lengths: Vec<f64> = items.iter().map(|&item| vectors.length(item)).collect();
            let group = Vectors {
                rows,
                depth,
                lengths: &lengths,
            };
            code_group(group, stages, &mut codes)
        })
        .collect();
    CodedGroups {
        bounds,
        stages: codes,
    }
}

/// Codes the rotated vectors of one group and appends them to `codes`. Vectors without a direction
/// are zeros here.
fn code_group(group: Vectors, stages: &[Stage], codes: &mut [StageCodes]) -> GroupBounds {
    let depth = group.depth;
    let mut bounds = GroupBounds {
        lengths: [[1.0; PANELS], [1.0; PANELS], [0.0; PANELS]],
        error: [0.0; PANELS],
        inverse_scale: [1.0; PANELS],
    };
    for (codes, stage) in codes.iter_mut().zip(stages) {
        let lines = codes.lines.len() + PANELS * stage.quads.len();
        codes.lines.resize(lines, CodeLine([ZERO; 64]));
        if stage.quads.end < depth.div_ceil(4) {
            codes.tails.resize(codes.tails.len() + PANELS, [0; LANES]);
        }
    }
    let panels = group
        .lengths
        .chunks(LANES)
        .zip(group.rows.chunks((LANES * depth).max(1)));
    for (panel, (lengths, rows)) in panels.enumerate() {
        let peak = peak_of(rows);
        let inverse_scale = if peak > 0.0 { 127.0 / peak } else { 1.0 };
        let directed = lengths
            .iter()
            .copied()
            .filter(|&length| has_direction(length));
        bounds.inverse_scale[panel] = inverse_scale;
        bounds.lengths[1][panel] = directed
            .clone()
            .reduce(f64::min)
            .map_or(1.0, |shortest| (shortest * (1.0 - 1e-6)) as f32);
        bounds.lengths[2][panel] = directed.reduce(f64::max).map_or(0.0, round_up);
        for (lane, (&length, row)) in lengths.iter().zip(rows.chunks(depth.max(1))).enumerate() {
            let error = if length == 0.0 {
                0.0
            } else if has_direction(length) {
                code_item(row, inverse_scale, (panel, lane), stages, codes)
            } else {
                f32::INFINITY
            };
            bounds.error[panel] = bounds.error[panel].max(error);
        }
    }
    bounds
}

/// Codes one vector into the last group of `codes`. Returns |x − x̂|, rounded up.
fn code_item(
    vector: &[f32],
    inverse_scale: f32,
    (panel, lane): (usize, usize),
    stages: &[Stage],
    codes: &mut [StageCodes],
) -> f32 {
    let depth = vector.len();
    let mut errors = 0f64;
    for (stage, codes) in stages.iter().zip(codes) {
        let quads = stage.quads.len();
        let group = codes.lines.len() - PANELS * quads;
        let lines = &mut codes.lines[group + panel * quads..][..quads];
        let dimensions = stage.dimensions(depth);
        let squares = quantize(&vector[dimensions.clone()], inverse_scale, |d, code| {
            lines[d / 4].0[lane * 4 + d % 4] = code ^ ZERO
        });
        errors += squares.errors;
        let group = codes.tails.len().saturating_sub(PANELS);
        if let Some(tails) = codes.tails[group..].get_mut(panel) {
            let tail = length_of(&vector[dimensions.end..]) * f64::from(inverse_scale)
                / f64::from(stage.tail_unit);
            tails[lane] = (tail * (1.0 + 1e-6)).ceil() as u8;
        }
    }
    round_up(errors.sqrt() / f64::from(inverse_scale))
}
