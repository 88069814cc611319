//! The inner loop of the bounded scan: approximate inner products of 8-bit codes, 64 items at a time.
//!
//! A group of 64 items is four panels of 16, and a panel holds its codes in quads of dimensions: `[quad][item][4]`, one byte each, so that
//! one instruction multiplies four dimensions of 16 items by four bytes of the query and no sum is horizontal. Item codes are unsigned
//! (the value + 128), query codes signed; what the 128 adds is taken away at the start of each sum.
//!
//! Dimensions come in stages, the heaviest first. After each but the last, a panel of which no item can reach its limit, even if all that
//! is left pointed straight at the query, is given up.

#[cfg(target_arch = "aarch64")]
mod arm;
#[cfg(target_arch = "x86_64")]
mod x86;

use crate::kernels::LANES;
use std::ops::Range;

/// Items of a group.
pub(crate) const GROUP: usize = 64;
/// Panels of 16 items in a group; each has its own bounds.
pub(crate) const PANELS: usize = GROUP / LANES;
/// What is added to an item's code to make it unsigned.
pub(crate) const ZERO: u8 = 128;

/// 64 bytes, and aligned so: one load never touches two cache lines.
#[derive(Clone, Copy)]
#[repr(C, align(64))]
pub(crate) struct Line(pub [u8; 64]);

/// The instructions in use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Level {
    /// Whatever the compiler's baseline has.
    Portable,
    /// Pairs of bytes multiplied and added in 16 bits, 32 bytes at once.
    #[cfg(target_arch = "x86_64")]
    Avx2,
    /// Fours of bytes multiplied and added in 32 bits, 64 bytes at once.
    #[cfg(target_arch = "x86_64")]
    Vnni,
    /// Bytes multiplied in 16 bits, pairs of pairs added, 16 bytes at once.
    #[cfg(target_arch = "aarch64")]
    Neon,
    /// Fours of bytes multiplied and added in 32 bits, 16 bytes at once.
    #[cfg(target_arch = "aarch64")]
    Dot,
}

impl Level {
    /// The best that this processor has.
    pub fn best() -> Self {
        #[cfg(target_arch = "x86_64")]
        {
            if is_x86_feature_detected!("avx512vnni") && is_x86_feature_detected!("avx512bw") && is_x86_feature_detected!("avx512f")
            {
                return Level::Vnni;
            }
            if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") {
                return Level::Avx2;
            }
        }
        #[cfg(target_arch = "aarch64")]
        {
            if std::arch::is_aarch64_feature_detected!("dotprod") {
                return Level::Dot;
            }
            if std::arch::is_aarch64_feature_detected!("neon") {
                return Level::Neon;
            }
        }
        Level::Portable
    }

    /// The largest code of a query. Where pairs are added in 16 bits, 2 · 255 · 64 must not overflow them.
    pub fn largest(self) -> f32 {
        match self {
            #[cfg(target_arch = "x86_64")]
            Level::Avx2 => 63.0,
            _ => 127.0,
        }
    }
}

/// The codes of some dimensions of all items.
pub(crate) struct Stage {
    /// Which quads of dimensions.
    pub quads: Range<usize>,
    /// `groups × 4 panels × quads` lines.
    pub lines: Vec<Line>,
    /// The length of what comes after these dimensions, for each item of each panel: so many times `unit`, in codes. Empty in the last
    /// stage.
    pub tails: Vec<[u8; LANES]>,
    /// See `tails`.
    pub unit: f32,
}

/// What is known of the items of a group, for each of its panels.
#[derive(Clone, Copy)]
pub(crate) struct Bounds {
    /// Ones, the smallest length but zero, and the largest length.
    pub lengths: [[f32; PANELS]; 3],
    /// The largest error of the codes; infinite where there is no bound.
    pub error: [f32; PANELS],
    /// One over the value of a code of 1.
    pub inverse: [f32; PANELS],
}

/// The items of an index, as the scan reads them.
#[derive(Clone, Copy)]
pub(crate) struct Items<'a> {
    /// From the heaviest dimensions to the lightest.
    pub stages: &'a [Stage],
    /// One a group.
    pub bounds: &'a [Bounds],
}

/// A query in codes: `value ≈ scale · code`.
#[derive(Clone, Debug, Default)]
pub(crate) struct Codes {
    /// Four codes each.
    pub quads: Vec<i32>,
    /// −128 · Σ codes of each stage.
    pub starts: Vec<i32>,
    /// For each stage, what a tail of 1 can add to the sum.
    pub tails: Vec<f32>,
    /// The value of a code of 1.
    pub scale: f32,
}

/// What a sum must reach for the item to be possible.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limit {
    /// The score to reach, over the scale of the query.
    pub threshold: f32,
    /// What multiplies the largest length and the largest error of a panel, over the scale of the query.
    pub slack: [f32; 2],
    /// Whether the score is divided by the length of the item.
    pub cosine: bool,
}

impl Limit {
    /// Which of [`Bounds::lengths`] multiplies the threshold.
    #[inline(always)]
    fn factor(&self) -> usize {
        match (self.cosine, self.threshold < 0.0) {
            (false, _) => 0,
            (true, false) => 1,
            (true, true) => 2,
        }
    }

    /// For each panel, in units of the codes.
    #[inline(always)]
    fn of(&self, factor: usize, bounds: &Bounds) -> [f32; PANELS] {
        let (factors, longest) = (&bounds.lengths[factor], &bounds.lengths[2]);
        std::array::from_fn(|panel| {
            let slack = longest[panel] * self.slack[0] + bounds.error[panel] * self.slack[1];
            (self.threshold * factors[panel] - slack) * bounds.inverse[panel]
        })
    }
}

/// Groups that are scanned at a time.
pub(crate) const STRIDE: usize = 8;

/// Room for the panels of a stretch, and for one more that is written and not kept. A power of two, so that no index needs a check.
const ROOM: usize = (STRIDE * PANELS + 1).next_power_of_two();

/// The panels of a stretch of groups that hold an item that may reach its limit.
#[derive(Clone, Debug)]
pub(crate) struct Left {
    count: usize,
    panels: [u32; ROOM],
    masks: [u16; ROOM],
    limits: [f32; ROOM],
    sums: [[i32; LANES]; ROOM],
}

impl Default for Left {
    fn default() -> Self {
        Self { count: 0, panels: [0; ROOM], masks: [0; ROOM], limits: [0.0; ROOM], sums: [[0; LANES]; ROOM] }
    }
}

impl Left {
    /// Writes a panel after those that are kept. Returns whether to keep it.
    #[inline(always)]
    unsafe fn put<K: Kernel>(&mut self, at: usize, (panel, mask, limit): (usize, u16, f32), sums: K::Sums) -> usize {
        let at = at % ROOM;
        // SAFETY: the caller's.
        unsafe { K::store(sums, &mut self.sums[at]) };
        (self.panels[at], self.masks[at], self.limits[at]) = (panel as u32, mask, limit);
        usize::from(mask != 0)
    }

    /// Each panel, which of its items reached their limit, and their sums.
    pub fn iter(&self) -> impl Iterator<Item = (usize, u16, &[i32; LANES])> {
        (0..self.count).map(|at| (self.panels[at] as usize, self.masks[at], &self.sums[at]))
    }
}

/// Finds in at most [`STRIDE`] groups the items that reach the limits of `Q` queries. The codes are read once for all of them.
#[inline]
pub(crate) fn scan<const Q: usize>(
    level: Level,
    items: Items,
    queries: [(&Codes, Limit); Q],
    groups: Range<usize>,
    left: &mut [Left; Q],
) {
    assert!(groups.len() <= STRIDE, "a stretch of {} groups", groups.len());
    match level {
        // SAFETY: `Level::best` returns this only where the processor reports the features.
        #[cfg(target_arch = "x86_64")]
        Level::Vnni => unsafe { x86::scan_vnni(items, queries, groups, left) },
        // SAFETY: as above.
        #[cfg(target_arch = "x86_64")]
        Level::Avx2 => unsafe { x86::scan_avx2(items, queries, groups, left) },
        // SAFETY: as above.
        #[cfg(target_arch = "aarch64")]
        Level::Dot => unsafe { arm::scan_dot(items, queries, groups, left) },
        // SAFETY: as above.
        #[cfg(target_arch = "aarch64")]
        Level::Neon => unsafe { arm::scan_neon(items, queries, groups, left) },
        // SAFETY: needs no features.
        Level::Portable => unsafe { scan_by::<Portable, Q>(items, queries, groups, left) },
    }
}

/// How a level adds up and compares. Its functions are inlined into a function that has the features they need.
trait Kernel {
    /// The sums of one panel.
    type Sums: Copy;

    unsafe fn load(sums: &[i32; LANES]) -> Self::Sums;

    unsafe fn store(sums: Self::Sums, out: &mut [i32; LANES]);

    /// Begins a stage: all sums raised by its start, or as they were where `add` itself takes the 128 from each code.
    unsafe fn begin(sums: Self::Sums, start: i32) -> Self::Sums;

    /// Adds the products of one panel: one line a quad.
    unsafe fn add(lines: &[Line], quads: &[i32], sums: Self::Sums) -> Self::Sums;

    /// Adds the products of a whole group: four panels, one after the other.
    #[inline(always)]
    unsafe fn add_group<const Q: usize>(lines: &[Line], quads: [&[i32]; Q], sums: &mut [[Self::Sums; PANELS]; Q]) {
        for (sums, quads) in sums.iter_mut().zip(quads) {
            for (sums, lines) in sums.iter_mut().zip(lines.chunks_exact(quads.len())) {
                // SAFETY: the caller's.
                *sums = unsafe { Self::add(lines, quads, *sums) };
            }
        }
    }

    /// Which sums reach a limit, if `tails × tail` is added.
    unsafe fn reach(sums: Self::Sums, tails: Option<&[u8; LANES]>, tail: f32, limit: f32) -> u16;
}

/// [`scan`] with one kernel. Nothing here depends on which panels survive but how many there are: no branch is guessed wrongly.
///
/// # Safety
/// The processor has what the kernel needs.
#[inline(always)]
unsafe fn scan_by<K: Kernel, const Q: usize>(
    items: Items,
    queries: [(&Codes, Limit); Q],
    groups: Range<usize>,
    left: &mut [Left; Q],
) {
    let mut counts = [0; Q];
    if let Some(stage) = items.stages.first() {
        let size = stage.quads.len() * PANELS;
        let mut quads: [&[i32]; Q] = [&[]; Q];
        let mut factors = [0; Q];
        for at in 0..Q {
            (quads[at], factors[at]) = (&queries[at].0.quads[stage.quads.clone()], queries[at].1.factor());
        }
        for group in groups {
            // SAFETY: the caller's.
            let mut sums = unsafe {
                let none = K::load(&[0; LANES]);
                let mut sums = [[none; PANELS]; Q];
                for at in 0..Q {
                    sums[at] = [K::begin(none, queries[at].0.starts[0]); PANELS];
                }
                sums
            };
            // SAFETY: the caller's.
            unsafe { K::add_group(&stage.lines[group * size..][..size], quads, &mut sums) };
            let tails = stage.tails.get(group * PANELS..(group + 1) * PANELS);
            for at in 0..Q {
                let limits = queries[at].1.of(factors[at], &items.bounds[group]);
                for panel in 0..PANELS {
                    let tails = tails.map(|tails| &tails[panel]);
                    // SAFETY: the caller's.
                    let mask = unsafe { K::reach(sums[at][panel], tails, queries[at].0.tails[0], limits[panel]) };
                    let found = (group * PANELS + panel, mask, limits[panel]);
                    // SAFETY: the caller's.
                    counts[at] += unsafe { left[at].put::<K>(counts[at], found, sums[at][panel]) };
                }
            }
        }
    }
    for ((left, (query, _)), mut count) in left.iter_mut().zip(queries).zip(counts) {
        for (stage, (&start, &tail)) in items.stages.iter().zip(query.starts.iter().zip(&query.tails)).skip(1) {
            let quads = &query.quads[stage.quads.clone()];
            let mut kept = 0;
            for at in (0..count).map(|at| at % ROOM) {
                let (panel, limit) = (left.panels[at] as usize, left.limits[at]);
                let lines = &stage.lines[panel * quads.len()..][..quads.len()];
                // SAFETY: the caller's.
                unsafe {
                    let sums = K::add(lines, quads, K::begin(K::load(&left.sums[at]), start));
                    let mask = K::reach(sums, stage.tails.get(panel), tail, limit);
                    kept += left.put::<K>(kept, (panel, mask, limit), sums);
                }
            }
            count = kept;
        }
        left.count = count;
    }
}

/// The kernel in plain Rust.
struct Portable;

impl Kernel for Portable {
    type Sums = [i32; LANES];

    #[inline(always)]
    unsafe fn load(sums: &[i32; LANES]) -> Self::Sums {
        *sums
    }

    #[inline(always)]
    unsafe fn store(sums: Self::Sums, out: &mut [i32; LANES]) {
        *out = sums;
    }

    #[inline(always)]
    unsafe fn add(lines: &[Line], quads: &[i32], mut sums: Self::Sums) -> Self::Sums {
        for (quad, line) in quads.iter().zip(lines) {
            let codes = quad.to_le_bytes().map(|code| i32::from(code as i8));
            for (sum, items) in sums.iter_mut().zip(line.0.as_chunks::<4>().0) {
                *sum += items.iter().zip(&codes).map(|(&item, &code)| i32::from(item) * code).sum::<i32>();
            }
        }
        sums
    }

    #[inline(always)]
    unsafe fn begin(sums: Self::Sums, start: i32) -> Self::Sums {
        sums.map(|sum| sum + start)
    }

    #[inline(always)]
    unsafe fn reach(sums: Self::Sums, tails: Option<&[u8; LANES]>, tail: f32, limit: f32) -> u16 {
        let tails = tails.unwrap_or(&[0; LANES]);
        sums.iter()
            .zip(tails)
            .rev()
            .fold(0, |mask, (&sum, &length)| mask << 1 | u16::from(sum as f32 + f32::from(length) * tail >= limit))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use aisle_data::SplitMix;

    #[test]
    fn every_level_finds_the_same_items() {
        let (groups, ends) = (3, [3, 4, 9]);
        let mut random = SplitMix(7);
        let mut byte = || (random.draw() >> 32) as u8;
        let mut from = 0;
        let stages: Vec<Stage> = ends
            .into_iter()
            .map(|end| {
                let quads = from..end;
                from = end;
                Stage {
                    lines: (0..groups * PANELS * quads.len()).map(|_| Line(std::array::from_fn(|_| byte()))).collect(),
                    // What is left adds up to 24 quads of 63 · 128 at most: a tail of 200 allows for all of it.
                    tails: if end == 9 { vec![] } else { vec![[200; LANES]; groups * PANELS] },
                    quads,
                    unit: 1.0,
                }
            })
            .collect();
        // Codes that the narrowest level can hold, its extremes among them.
        let codes: Vec<i8> = (0..36).map(|at| if at < 8 { 63 - 126 * (at as i8 % 2) } else { (byte() % 127) as i8 - 63 }).collect();
        let sum = |range: &Range<usize>| codes[4 * range.start..4 * range.end].iter().map(|&code| i32::from(code)).sum::<i32>();
        let query = Codes {
            quads: codes.chunks(4).map(|four| i32::from_le_bytes(std::array::from_fn(|at| four[at] as u8))).collect(),
            starts: stages.iter().map(|stage| -128 * sum(&stage.quads)).collect(),
            tails: vec![24.0 * 4.0 * 63.0 * 128.0 / 200.0; 3],
            scale: 1.0,
        };
        let lengths = [[1.0; 4], [0.5, 1.0, 1.0, 1.0], [1.0; 4]];
        let bounds = vec![Bounds { lengths, error: [2.0; 4], inverse: [2.0; 4] }; groups];
        let items = Items { stages: &stages, bounds: &bounds };
        let mut levels = vec![Level::Portable];
        #[cfg(target_arch = "x86_64")]
        levels.extend([Level::Avx2, Level::Vnni].into_iter().filter(|level| {
            let best = Level::best();
            best == *level || (best == Level::Vnni && *level == Level::Avx2)
        }));
        #[cfg(target_arch = "aarch64")]
        levels.extend([Level::Neon, Level::best()]);
        let plain = |place: usize| -> i32 {
            let (panel, at) = (place / LANES, place % LANES);
            let value = |stage: &Stage, quad: usize, d: usize| {
                let line = &stage.lines[panel * stage.quads.len() + quad - stage.quads.start];
                (i32::from(line.0[at * 4 + d]) - 128) * i32::from(codes[4 * quad + d])
            };
            stages
                .iter()
                .map(|stage| stage.quads.clone().flat_map(|quad| (0..4).map(move |d| value(stage, quad, d))).sum::<i32>())
                .sum()
        };
        for level in levels {
            for (threshold, cosine) in [(-1e9, false), (0.0, false), (9000.0, false), (9000.0, true)] {
                let limit = |place: usize| {
                    let least = if cosine && place % GROUP < LANES { threshold * 0.5 } else { threshold };
                    (least - 5.0) * 2.0
                };
                let expected: Vec<(usize, i32)> = (0..groups * GROUP)
                    .map(|place| (place, plain(place)))
                    .filter(|&(place, sum)| sum as f32 >= limit(place))
                    .collect();
                let of = |left: &Left| -> Vec<(usize, i32)> {
                    let items = left.iter().flat_map(|(panel, mask, sums)| {
                        (0..LANES).filter(move |at| mask >> at & 1 == 1).map(move |at| (panel * LANES + at, sums[at]))
                    });
                    items.collect()
                };
                let limit = Limit { threshold, slack: [1.0, 2.0], cosine };
                let (mut one, mut four) = ([Left::default()], std::array::from_fn::<Left, 4, _>(|_| Left::default()));
                scan(level, items, [(&query, limit)], 0..groups, &mut one);
                assert_eq!(of(&one[0]), expected, "{level:?}");
                scan(level, items, [(&query, limit); 4], 0..groups, &mut four);
                assert!(four.iter().all(|left| of(left) == expected), "{level:?}");
            }
        }
    }
}
