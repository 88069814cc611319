//! The exact top k without looking at everything.
//!
//! The score of an item is one inner product in f32, [`kernels::dot_rows`], whoever asks. To find the k best, the index walks codes of
//! 8 bits a dimension, the longest vectors first, in a basis in which the first dimensions weigh most. From codes q̂ and x̂ follows a score
//! that is off by at most |q·x − q̂·x̂| ≤ |q − q̂| |x| + |q̂| |x − x̂| (Cauchy-Schwarz, both errors known exactly). So each item has a lower
//! and an upper bound: the k-th largest lower bound so far is a threshold, items whose upper bound is below it are out, and the walk ends
//! where |q| |x| is below it. What is left, a few times k, is scored in f32. The answer *is* that of the plain scan, ties included.
//!
//! The order by length and the bound are those of LEMP (Teflioudi and Gemulla 2015), the heavy dimensions first those of FEXIPRO (Li et
//! al. 2017); both work in floating point, item by item.

use crate::basis::Basis;
use crate::bitmap::Bitmap;
use crate::index::{Eligible, Found, Index};
use crate::int8::{Bounds, Codes, GROUP, Items, Left, Level, Limit, Line, PANELS, STRIDE, Stage, ZERO, scan};
use crate::kernels::{self, LANES, Simd, simd};
use crate::lists::Lists;
use crate::top_k::{self, Scored};
use crate::weights::Array;
use rayon::prelude::*;
use std::ops::Range;

/// Lengths between which sums of squares and products neither overflow nor lose digits. Other vectors are scored in f32 without bounds.
const USABLE: std::ops::RangeInclusive<f64> = 1e-15..=1e15;
/// A filter that passes fewer than one item in so many is faster answered by scoring what it passes: at a twentieth twice as fast on gowalla's
/// vectors and on unit length, at a tenth nowhere.
const GATHER: usize = 20;
/// Queries that walk the codes together.
const BLOCK: usize = 32;
/// Groups that are coded together.
const CHUNK: usize = 32;
/// Candidates in the order of the vectors are worth sorting for from this many on.
const SORT: usize = 2048;

/// What a search needs besides its results.
#[derive(Clone, Debug, Default)]
pub(crate) struct Scratch {
    query: Query,
    walk: Walk,
    left: Box<Left>,
    rows: Vec<u32>,
    scores: Vec<f32>,
    keys: Vec<u64>,
    unit: Vec<f32>,
    route: Vec<Scored>,
}

impl Scratch {
    /// Memory to score rows in: their numbers, scores, and what orders them.
    pub(crate) fn for_rows(&mut self) -> (&mut Vec<u32>, &mut Vec<f32>, &mut Vec<u64>) {
        (&mut self.rows, &mut self.scores, &mut self.keys)
    }
}

/// A query as the scan needs it.
#[derive(Clone, Debug, Default)]
struct Query {
    /// In the basis of the index.
    turned: Vec<f32>,
    codes: Codes,
    /// |q|.
    length: f32,
    /// |q − q̂| with what f32 rounding adds, and |q̂|: what multiplies |x| and |x − x̂|.
    slack: [f32; 2],
}

/// What scores are.
#[derive(Clone, Copy, PartialEq, Eq)]
enum By {
    Product,
    Cosine,
}

/// One question.
#[derive(Clone, Copy)]
struct Ask<'a> {
    by: By,
    query: &'a [f32],
    k: usize,
    eligible: Eligible<'a>,
}

/// A place that no item has.
const NOBODY: u32 = u32::MAX;

/// Finds the largest inner products exactly; with [`Lists`], those of the items that it looks at. Beside the vectors it keeps d + 15.5 bytes an
/// item. O(items · d) a query at worst; on factors of real shops a twentieth to a quarter of that.
pub struct Exact {
    rows: Array<f32>,
    depth: usize,
    basis: Basis,
    stages: Vec<Stage>,
    bounds: Vec<Bounds>,
    /// The item at each place, by list and descending length; whole groups, [`NOBODY`] at the end of each list.
    order: Vec<u32>,
    lists: Option<Lists>,
    /// The groups of each list; of all items where there are none.
    parts: Vec<Range<usize>>,
    /// The length at each place; whole groups.
    lengths: Vec<f32>,
    /// The length of each item.
    by_item: Vec<f32>,
    /// Items whose vectors point somewhere.
    known: usize,
    simd: Simd,
    level: Level,
}

/// Summed in double precision, where no f32 is too large or too small to be squared.
pub(crate) fn length_of(vector: &[f32]) -> f64 {
    square_of(vector).sqrt()
}

/// In the same direction, of length 1; zeros of zeros.
fn direction(vector: &[f32]) -> impl Iterator<Item = f32> {
    let length = length_of(vector);
    vector.iter().map(move |&value| if length > 0.0 { (f64::from(value) / length) as f32 } else { 0.0 })
}

/// Hands the direction of a vector to `search`; it lies in the memory of `found`.
fn with_direction(vector: &[f32], found: &mut Found, search: impl FnOnce(&[f32], &mut Found)) {
    let mut unit = std::mem::take(&mut found.scratch.unit);
    unit.clear();
    unit.extend(direction(vector));
    search(&unit, found);
    found.scratch.unit = unit;
}

/// Whether products with a vector of some length have bounds.
fn is_bounded(length: f64) -> bool {
    length == 0.0 || USABLE.contains(&length)
}

/// |x|².
fn square_of(vector: &[f32]) -> f64 {
    let mut sums = [0f64; 8];
    let (chunks, rest) = vector.as_chunks::<8>();
    for chunk in chunks {
        sums.iter_mut().zip(chunk).for_each(|(sum, &value)| *sum += f64::from(value) * f64::from(value));
    }
    sums.iter().sum::<f64>() + rest.iter().map(|&value| f64::from(value) * f64::from(value)).sum::<f64>()
}

fn peak_of(vector: &[f32]) -> f32 {
    vector.iter().fold(0f32, |peak, value| peak.max(value.abs()))
}

/// A number at least as large, as f32.
fn up(value: f64) -> f32 {
    (value * (1.0 + 1e-6)) as f32
}

/// The nearest whole number of a value up to ±127, as the low byte and as f32: adding 1.5 · 2²³ leaves it in the last bits.
#[inline]
fn rounded(value: f32) -> (u8, f32) {
    const MAGIC: f32 = 12_582_912.0;
    let sum = value + MAGIC;
    (sum.to_bits() as u8, sum - MAGIC)
}

/// Sums of squares of what coding loses and of what it keeps, in units of the codes.
#[derive(Clone, Copy, Default)]
struct Coded {
    lost: f64,
    kept: f64,
}

/// Codes values, each times `inverse`.
fn encode(values: &[f32], inverse: f32, mut put: impl FnMut(usize, u8)) -> Coded {
    let mut coded = Coded::default();
    for (at, &value) in values.iter().enumerate() {
        let (byte, code) = rounded(value * inverse);
        let (lost, kept) = (f64::from(value) * f64::from(inverse) - f64::from(code), f64::from(code));
        coded.lost += lost * lost;
        coded.kept += kept * kept;
        put(at, byte);
    }
    coded
}

impl Query {
    /// Codes a query; false if its length allows no bounds.
    fn set(&mut self, index: &Exact, values: &[f32]) -> bool {
        let length = length_of(values);
        if !USABLE.contains(&length) {
            return false;
        }
        index.basis.turn(index.simd, values, &mut self.turned);
        let scale = peak_of(&self.turned) / index.level.largest();
        let inverse = 1.0 / scale;
        let codes = &mut self.codes;
        codes.scale = scale;
        codes.quads.clear();
        codes.starts.clear();
        codes.tails.clear();
        let (mut lost, mut kept, mut left) = (0f64, 0f64, square_of(&self.turned));
        for stage in &index.stages {
            let values = &self.turned[stage.dimensions(index.depth)];
            let mut sum = 0i32;
            for four in values.chunks(4) {
                let mut quad = [0u8; 4];
                let coded = encode(four, inverse, |at, code| quad[at] = code);
                (lost, kept) = (lost + coded.lost, kept + coded.kept);
                sum += quad.iter().map(|&code| i32::from(code as i8)).sum::<i32>();
                codes.quads.push(i32::from_le_bytes(quad));
            }
            left -= square_of(values);
            codes.starts.push(-i32::from(ZERO) * sum);
            codes.tails.push(up(f64::from(stage.unit) * left.max(0.0).sqrt() * (1.0 + 1e-5) / f64::from(scale)));
        }
        self.length = length as f32;
        // The f32 sum of d products is off by at most d ε |q| |x|; the bounds themselves are a few operations more.
        let rounding = ((values.len() as f64 + 64.0) * f64::from(f32::EPSILON) + index.basis.error()) * length;
        let scale = f64::from(scale);
        self.slack = [up(lost.sqrt() * scale + rounding), up(kept.sqrt() * scale)];
        true
    }

    /// What a sum must reach for the item to be possible.
    fn limit(&self, by: By, threshold: f32) -> Limit {
        let unit = self.codes.scale;
        // Finite where it is negative, for it may be multiplied by a length of zero.
        let threshold = (threshold / unit).max(f32::MIN);
        Limit { threshold, slack: self.slack.map(|slack| slack / unit), cosine: by == By::Cosine }
    }
}

impl Stage {
    /// The dimensions whose codes it holds.
    fn dimensions(&self, depth: usize) -> Range<usize> {
        4 * self.quads.start..depth.min(4 * self.quads.end)
    }
}

/// The quads of each stage: the first quarter, the second, and the other half. Shorter vectors have fewer stages, for each has a cost.
fn stages(depth: usize) -> Vec<Stage> {
    let quads = depth.div_ceil(4);
    let cuts = match quads {
        0..8 => vec![0, quads],
        8..24 => vec![0, quads / 2, quads],
        _ => vec![0, quads / 4, quads / 2, quads],
    };
    let stage = |cut: &[usize]| {
        let left = depth.saturating_sub(4 * cut[1]);
        // No value is larger than 127 codes: a tail is at most 127 √left.
        Stage { quads: cut[0]..cut[1], lines: vec![], tails: vec![], unit: (127.0 / 255.0) * (left as f32).sqrt() }
    };
    cuts.windows(2).map(stage).collect()
}

/// The lines and tails of one stage, for some groups.
#[derive(Default)]
struct Part {
    lines: Vec<Line>,
    tails: Vec<[u8; LANES]>,
}

impl Exact {
    /// Codes `len × depth` row-major vectors. O(items · depth²).
    pub fn new(rows: Array<f32>, depth: usize) -> Self {
        Self::with_lists(rows, depth, None)
    }

    /// The same, looking only at some lists of the items, if there are any.
    pub fn with_lists(rows: Array<f32>, depth: usize, lists: Option<Lists>) -> Self {
        Self::with_level(rows, depth, lists, Level::best())
    }

    fn with_level(rows: Array<f32>, depth: usize, lists: Option<Lists>, level: Level) -> Self {
        let len = rows.len().checked_div(depth).unwrap_or(0);
        let lengths: Vec<f64> = rows.par_chunks(depth.max(1)).map(length_of).collect();
        // What is not a number counts as endless: it is looked at, and never taken.
        let key = |item: u32| if lengths[item as usize].is_nan() { f64::INFINITY } else { lengths[item as usize] };
        let list = |item: u32| lists.as_ref().map_or(0, |lists| lists.items()[item as usize]);
        let mut order: Vec<u32> = (0..len as u32).collect();
        order.par_sort_unstable_by(|&a, &b| list(a).cmp(&list(b)).then(key(b).total_cmp(&key(a))).then(a.cmp(&b)));
        let mut parts = Vec::new();
        let mut places = Vec::with_capacity(len.next_multiple_of(GROUP));
        let mut rest = order.as_slice();
        for number in 0..lists.as_ref().map_or(1, Lists::len) as u32 {
            let (items, others) = rest.split_at(rest.partition_point(|&item| list(item) <= number));
            let from = places.len();
            places.extend_from_slice(items);
            places.resize(places.len().next_multiple_of(GROUP), NOBODY);
            parts.push(from / GROUP..places.len() / GROUP);
            rest = others;
        }
        let order = places;
        let length = |item: u32| lengths.get(item as usize).copied().unwrap_or(0.0);
        let usable = |item: u32| USABLE.contains(&length(item));
        let row = |item: u32| &rows[item as usize * depth..][..depth];

        let mut stages = stages(depth);
        let step = (len / (16 * depth).max(4096)).max(1);
        let sample: Vec<&[f32]> = order.iter().step_by(step).filter(|&&item| usable(item)).map(|&item| row(item)).collect();
        let sample = sample.concat();
        let basis = Basis::of(&sample, depth, &stages.iter().map(|stage| stage.dimensions(depth)).collect::<Vec<_>>());
        drop(sample);

        let coded: Vec<(Vec<Bounds>, Vec<Part>)> = order
            .par_chunks(CHUNK * GROUP)
            .map(|items| {
                let nothing = vec![0f32; depth];
                let all: Vec<&[f32]> = items.iter().map(|&item| if usable(item) { row(item) } else { &nothing }).collect();
                let turned = basis.turn_all(all.concat());
                let mut parts: Vec<Part> = stages.iter().map(|_| Part::default()).collect();
                let groups = items.chunks(GROUP).zip(turned.chunks((GROUP * depth).max(1)));
                let bounds = groups.map(|(items, vectors)| {
                    let lengths: Vec<f64> = items.iter().map(|&item| length(item)).collect();
                    code_group(&lengths, vectors, (&stages, depth), &mut parts)
                });
                (bounds.collect(), parts)
            })
            .collect();
        let mut bounds = Vec::with_capacity(order.len() / GROUP);
        for stage in &mut stages {
            stage.lines.reserve_exact(order.len() / LANES * stage.quads.len());
        }
        for (some, parts) in coded {
            bounds.extend(some);
            for (stage, part) in stages.iter_mut().zip(parts) {
                stage.lines.extend(part.lines);
                stage.tails.extend(part.tails);
            }
        }
        let by_item: Vec<f32> = (0..len as u32).map(|item| key(item) as f32).collect();
        let lengths = order.iter().map(|&item| by_item.get(item as usize).copied().unwrap_or(0.0)).collect();
        let known = by_item.iter().filter(|&&length| Self::points(f64::from(length))).count();
        Self { rows, depth, basis, stages, bounds, order, lists, parts, lengths, by_item, known, simd: simd(), level }
    }

    /// The vectors, row-major.
    pub fn rows(&self) -> &Array<f32> {
        &self.rows
    }

    /// Dimension.
    pub fn depth(&self) -> usize {
        self.depth
    }

    /// How many items have a vector that points somewhere.
    pub(crate) fn known(&self) -> usize {
        self.known
    }

    /// Whether a vector of some length points somewhere.
    pub(crate) fn points(length: f64) -> bool {
        USABLE.contains(&length)
    }

    /// The lists that a search looks at, if not at all items.
    pub(crate) fn lists(&self) -> Option<&Lists> {
        self.lists.as_ref()
    }

    /// The items by descending length; of no use with lists.
    pub(crate) fn order(&self) -> &[u32] {
        &self.order[..self.len()]
    }

    /// The vector of an item.
    pub(crate) fn row(&self, item: u32) -> &[f32] {
        &self.rows[item as usize * self.depth..][..self.depth]
    }

    /// The length of its vector.
    pub(crate) fn length(&self, item: u32) -> f32 {
        self.by_item[item as usize]
    }

    /// Whether products with any of the vectors have bounds. O(items).
    pub(crate) fn has_bounds(&self) -> bool {
        self.by_item.iter().all(|&length| is_bounded(f64::from(length)))
    }

    /// The same of a query.
    pub(crate) fn bounds(query: &[f32]) -> bool {
        is_bounded(length_of(query))
    }

    /// What two ways to add up a product with a query may differ by, for a vector of length 1.
    pub(crate) fn rounding(&self, query: &[f32]) -> f32 {
        up(length_of(query)) * (self.slack() - 1.0)
    }

    /// The largest score that a query can have with a vector of length 1, however it is added up.
    pub(crate) fn reach(&self, query: &[f32]) -> f32 {
        up(length_of(query)) * self.slack()
    }

    /// The best of some items, whatever else there is.
    pub(crate) fn best_of(&self, items: &[u32], query: &[f32], k: usize, found: &mut Found) {
        self.among((By::Product, query), items.iter().copied(), k, found);
    }

    /// The same by the cosine, as [`Exact::search_cosine`].
    pub(crate) fn nearest_of(&self, query: &[f32], items: impl Iterator<Item = u32>, k: usize, found: &mut Found) {
        with_direction(query, found, |unit, found| self.among((By::Cosine, unit), items, k, found));
    }

    fn among(&self, (by, query): (By, &[f32]), items: impl Iterator<Item = u32>, k: usize, found: &mut Found) {
        found.scratch.rows.clear();
        found.scratch.rows.extend(items);
        let nothing = Bitmap::default();
        self.best(Ask { by, query, k, eligible: Eligible::new(&nothing) }, found);
    }

    /// Bytes beside the vectors.
    pub fn bytes(&self) -> usize {
        let stages = self.stages.iter().map(|stage| size_of_val(&stage.lines[..]) + size_of_val(&stage.tails[..]));
        stages.sum::<usize>()
            + size_of_val(&self.bounds[..])
            + size_of_val(&self.order[..])
            + size_of_val(&self.lengths[..])
            + size_of_val(&self.by_item[..])
            + self.lists.as_ref().map_or(0, Lists::bytes)
    }

    /// As [`Index::search`], by the cosine. Zero vectors have cosine 0 with everything.
    pub fn search_cosine(&self, query: &[f32], k: usize, eligible: Eligible, found: &mut Found) {
        with_direction(query, found, |unit, found| self.find(Ask { by: By::Cosine, query: unit, k, eligible }, found));
    }

    /// As [`Exact::search_cosine`] for some of its items, on all threads; the same bits as one by one.
    pub(crate) fn nearest(&self, items: &[u32], k: usize, eligible: Eligible) -> Vec<Vec<Scored>> {
        let units: Vec<Vec<f32>> = items.iter().map(|&item| direction(self.row(item)).collect()).collect();
        let asks: Vec<Ask> = units.iter().map(|query| Ask { by: By::Cosine, query, k, eligible }).collect();
        self.find_all(&asks)
    }

    /// The groups of a part that can hold a score of the threshold: those before the first whose longest vector is too short for it.
    fn until(&self, by: By, length: f32, threshold: f32, part: &Range<usize>) -> usize {
        if by == By::Cosine || threshold <= 0.0 {
            return part.end;
        }
        let reach = length * self.slack();
        let longest = |group: usize| self.lengths[group * GROUP] * reach;
        let (mut first, mut last) = (part.start, part.end);
        while first < last {
            let middle = usize::midpoint(first, last);
            if longest(middle) >= threshold { first = middle + 1 } else { last = middle }
        }
        first
    }

    fn find(&self, ask: Ask, found: &mut Found) {
        if !self.begin(ask, found) {
            return;
        }
        let mut left = std::mem::take(&mut found.scratch.left);
        match self.lists.as_ref().filter(|_| ask.by == By::Product) {
            None => self.walk(ask, 0..self.bounds.len(), &mut left, &mut found.scratch),
            Some(lists) => self.walk_lists(ask, lists, &mut left, found),
        }
        found.scratch.left = left;
        self.finish(ask, found);
    }

    /// Walks one part of the codes.
    fn walk(&self, ask: Ask, part: Range<usize>, left: &mut Box<Left>, scratch: &mut Scratch) {
        let mut from = part.start;
        scratch.walk.until = self.until(ask.by, scratch.query.length, scratch.walk.threshold, &part);
        scratch.walk.part = part;
        while let Scratch { query, walk, .. } = &scratch
            && from < walk.until
        {
            let end = walk.until.min(from + walk.stride);
            let limit = query.limit(ask.by, walk.threshold);
            scan(self.level, self.items(), [(&query.codes, limit)], from..end, std::array::from_mut(left));
            self.take(ask, left, scratch);
            from = end;
        }
    }

    /// Walks the lists that a search is worth, and others for as long as fewer than k items were found.
    fn walk_lists(&self, ask: Ask, lists: &Lists, left: &mut Box<Left>, found: &mut Found) {
        let mut known = 0;
        for count in [lists.probes(ask.k, ask.eligible.count(), self.known), lists.len()] {
            lists.route(ask.query, count, found);
            std::mem::swap(&mut found.items, &mut found.scratch.route);
            for at in known..found.scratch.route.len() {
                if known > 0 && found.scratch.walk.items.len() >= ask.k {
                    return;
                }
                let list = found.scratch.route[at].item as usize;
                self.walk(ask, self.parts[list].clone(), left, &mut found.scratch);
            }
            if found.scratch.walk.items.len() >= ask.k {
                return;
            }
            known = found.scratch.route.len();
        }
    }

    /// As [`Exact::find`] for several queries: each part of the codes is read once for all of them.
    fn find_block(&self, asks: &[Ask], found: &mut [Found]) {
        const TOGETHER: usize = 4;
        if self.lists.is_some() {
            // Each looks at lists of its own.
            return asks.iter().zip(found).for_each(|(&ask, found)| self.find(ask, found));
        }
        let open: Vec<usize> = (0..asks.len()).filter(|&at| self.begin(asks[at], &mut found[at])).collect();
        let mut left: [Left; TOGETHER] = std::array::from_fn(|_| Left::default());
        let (mut from, mut any) = (0, true);
        while any && from < self.bounds.len() {
            let stride = open.iter().map(|&at| found[at].scratch.walk.stride).min().unwrap_or(STRIDE);
            let end = self.bounds.len().min(from + stride);
            any = false;
            for some in open.chunks(TOGETHER) {
                if some.iter().all(|&at| from >= found[at].scratch.walk.until) {
                    continue;
                }
                any = true;
                let asked = std::array::from_fn(|lane| {
                    let at = some[lane.min(some.len() - 1)];
                    let Scratch { query, walk, .. } = &found[at].scratch;
                    let idle = lane >= some.len() || from >= walk.until;
                    (&query.codes, query.limit(asks[at].by, if idle { f32::INFINITY } else { walk.threshold }))
                });
                scan(self.level, self.items(), asked, from..end, &mut left);
                for (&at, left) in some.iter().zip(&left) {
                    self.take(asks[at], left, &mut found[at].scratch);
                }
            }
            from = end;
        }
        for at in open {
            self.finish(asks[at], &mut found[at]);
        }
    }

    /// Blocks of queries, on all threads.
    fn find_all(&self, asks: &[Ask]) -> Vec<Vec<Scored>> {
        let blocks = asks.par_chunks(BLOCK).map_init(
            || vec![Found::default(); BLOCK],
            |found, asks| {
                self.find_block(asks, found);
                found.iter().take(asks.len()).map(|found| found.items.clone()).collect::<Vec<_>>()
            },
        );
        blocks.flatten_iter().collect()
    }

    fn items(&self) -> Items<'_> {
        Items { stages: &self.stages, bounds: &self.bounds }
    }

    /// Makes ready for a walk, and returns true. Where a walk does not pay (few items pass the filter) or has no bounds, all that passes is
    /// scored, and the search is done.
    fn begin(&self, ask: Ask, found: &mut Found) -> bool {
        let Found { items, scratch } = found;
        items.clear();
        if self.depth == 0 || ask.query.len() != self.depth || ask.k == 0 {
            return false;
        }
        let few = (self.len() / GATHER).max(ask.k);
        if ask.eligible.allowed.count() > few && scratch.query.set(self, ask.query) {
            scratch.walk.reset(ask.k, self.bounds.len());
            return true;
        }
        scratch.rows.clear();
        ask.eligible.list(&mut scratch.rows);
        self.best(ask, found);
        false
    }

    /// By how much the product of two lengths may be exceeded by a score in f32.
    fn slack(&self) -> f32 {
        1.0 + (self.depth as f32 + 64.0) * f32::EPSILON
    }

    /// Takes the items that reached their limit and may be returned.
    fn take(&self, ask: Ask, left: &Left, scratch: &mut Scratch) {
        let Scratch { query, walk, .. } = scratch;
        for (panel, mut mask, sums) in left.iter() {
            let bounds = &self.bounds[panel / PANELS];
            let unit = query.codes.scale / bounds.inverse[panel % PANELS];
            let error = bounds.error[panel % PANELS] * query.slack[1];
            while mask != 0 {
                let at = mask.trailing_zeros() as usize;
                mask &= mask - 1;
                let place = panel * LANES + at;
                let item = self.order[place];
                if ask.eligible.contains(item) {
                    let length = self.lengths[place];
                    let (mut score, mut slack) = (sums[at] as f32 * unit, length * query.slack[0] + error);
                    if ask.by == By::Cosine {
                        let over = if length > 0.0 { 1.0 / length } else { 0.0 };
                        (score, slack) = (score * over, slack * over);
                    }
                    walk.push(score - slack, score + slack, item);
                }
            }
        }
        walk.stride = (2 * walk.stride).min(STRIDE);
        if walk.items.len() >= walk.enough && walk.tighten(self.simd) {
            walk.until = self.until(ask.by, query.length, walk.threshold, &walk.part);
        }
    }

    /// Scores the candidates that a walk left.
    fn finish(&self, ask: Ask, found: &mut Found) {
        let Scratch { walk, rows, .. } = &mut found.scratch;
        walk.tighten(self.simd);
        std::mem::swap(rows, &mut walk.items);
        if rows.len() > SORT {
            rows.sort_unstable();
        }
        self.best(ask, found);
    }

    /// The best of `scratch.rows`, scored in f32.
    fn best(&self, ask: Ask, found: &mut Found) {
        let Found { items, scratch: Scratch { rows, scores, keys, .. } } = found;
        scores.resize(rows.len(), 0.0);
        kernels::dot_rows(self.simd, &self.rows, rows, ask.query, scores);
        if ask.by == By::Cosine {
            rows.iter().zip(scores.iter_mut()).for_each(|(&item, score)| *score *= self.inverse_length(item));
        }
        top_k::best(rows, scores, ask.k, keys, items);
    }

    /// One over the length of a vector; 0 for a zero vector.
    pub fn inverse_length(&self, item: u32) -> f32 {
        let length = self.length(item);
        if length > 0.0 { 1.0 / length } else { 0.0 }
    }
}

/// Codes the turned vectors of one group, whose lengths are given; unusable vectors are zeros here.
fn code_group(lengths: &[f64], vectors: &[f32], (stages, depth): (&[Stage], usize), parts: &mut [Part]) -> Bounds {
    let mut bounds =
        Bounds { lengths: [[1.0; PANELS], [1.0; PANELS], [0.0; PANELS]], error: [0.0; PANELS], inverse: [1.0; PANELS] };
    let firsts: Vec<usize> = parts.iter().map(|part| part.lines.len()).collect();
    for (part, stage) in parts.iter_mut().zip(stages) {
        part.lines.resize(part.lines.len() + PANELS * stage.quads.len(), Line([ZERO; 64]));
        if stage.quads.end < depth.div_ceil(4) {
            part.tails.resize(part.tails.len() + PANELS, [0; LANES]);
        }
    }
    for (panel, (lengths, vectors)) in lengths.chunks(LANES).zip(vectors.chunks((LANES * depth).max(1))).enumerate() {
        let peak = peak_of(vectors);
        let inverse = if peak > 0.0 { 127.0 / peak } else { 1.0 };
        let known = lengths.iter().copied().filter(|length| USABLE.contains(length));
        bounds.inverse[panel] = inverse;
        bounds.lengths[1][panel] = known.clone().reduce(f64::min).map_or(1.0, |least| (least * (1.0 - 1e-6)) as f32);
        bounds.lengths[2][panel] = known.reduce(f64::max).map_or(0.0, up);
        for (lane, (&length, vector)) in lengths.iter().zip(vectors.chunks(depth.max(1))).enumerate() {
            if length == 0.0 {
                continue;
            }
            if !USABLE.contains(&length) {
                bounds.error[panel] = f32::INFINITY;
                continue;
            }
            let mut lost = 0f64;
            for ((stage, part), first) in stages.iter().zip(parts.iter_mut()).zip(&firsts) {
                let lines = &mut part.lines[first + panel * stage.quads.len()..][..stage.quads.len()];
                let range = stage.dimensions(depth);
                let coded = encode(&vector[range.clone()], inverse, |d, code| lines[d / 4].0[lane * 4 + d % 4] = code ^ ZERO);
                lost += coded.lost;
                let last = part.tails.len().saturating_sub(PANELS);
                if let Some(tails) = part.tails[last..].get_mut(panel) {
                    let tail = length_of(&vector[range.end..]) * f64::from(inverse) / f64::from(stage.unit);
                    tails[lane] = (tail * (1.0 + 1e-6)).ceil() as u8;
                }
            }
            bounds.error[panel] = bounds.error[panel].max(up(lost.sqrt() / f64::from(inverse)));
        }
    }
    bounds
}

/// How far a walk has come.
#[derive(Clone, Debug, Default)]
struct Walk {
    /// What may be among the best, with bounds of its score.
    items: Vec<u32>,
    lows: Vec<f32>,
    highs: Vec<f32>,
    k: usize,
    /// At least k items are known to reach it.
    threshold: f32,
    /// How many candidates call for another look.
    enough: usize,
    /// Where it walks; the groups of it that still matter are those before `until`.
    part: Range<usize>,
    until: usize,
    /// How many groups to scan before the next look.
    stride: usize,
}

impl Walk {
    fn reset(&mut self, k: usize, groups: usize) {
        self.items.clear();
        self.lows.clear();
        self.highs.clear();
        (self.k, self.threshold, self.enough) = (k, f32::NEG_INFINITY, 2 * k + GROUP);
        (self.part, self.until) = (0..groups, groups);
        self.stride = (2 * k).div_ceil(GROUP).clamp(1, STRIDE);
    }

    #[inline]
    fn push(&mut self, low: f32, high: f32, item: u32) {
        self.items.push(item);
        self.lows.push(low);
        self.highs.push(high);
    }

    /// Raises the threshold and drops what is below it. O(candidates).
    fn tighten(&mut self, simd: Simd) -> bool {
        if self.items.len() <= self.k {
            return false;
        }
        let threshold = self.threshold.max(kernels::reached_by(simd, &self.lows, self.k));
        let rose = threshold > self.threshold;
        self.threshold = threshold;
        let mut kept = 0;
        for at in 0..self.items.len() {
            let high = self.highs[at];
            (self.items[kept], self.lows[kept], self.highs[kept]) = (self.items[at], self.lows[at], high);
            kept += usize::from(high >= threshold);
        }
        self.items.truncate(kept);
        self.lows.truncate(kept);
        self.highs.truncate(kept);
        self.enough = (2 * self.k + GROUP).max(kept * 3 / 2);
        rose
    }
}

impl Index for Exact {
    fn len(&self) -> usize {
        self.by_item.len()
    }

    fn search(&self, query: &[f32], k: usize, eligible: Eligible, found: &mut Found) {
        self.find(Ask { by: By::Product, query, k, eligible }, found);
    }

    fn search_batch(&self, queries: &[&[f32]], k: usize, eligible: &[Eligible]) -> Vec<Vec<Scored>> {
        assert_eq!(queries.len(), eligible.len(), "one filter a query");
        let pairs = queries.iter().zip(eligible);
        let asks: Vec<Ask> = pairs.map(|(&query, &eligible)| Ask { by: By::Product, query, k, eligible }).collect();
        self.find_all(&asks)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::top_k::TopK;
    use aisle_data::SplitMix;
    use proptest::prelude::*;

    fn naive(vectors: &[f32], depth: usize, query: &[f32], k: usize, eligible: Eligible) -> Vec<(u32, f64)> {
        let mut all: Vec<(u32, f64)> = vectors
            .chunks(depth)
            .enumerate()
            .filter(|(item, _)| eligible.contains(*item as u32))
            .map(|(item, vector)| {
                (item as u32, vector.iter().zip(query).map(|(&a, &b)| f64::from(a) * f64::from(b)).sum::<f64>() + 0.0)
            })
            .collect();
        all.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
        all.truncate(k);
        all
    }

    proptest! {
        #[test]
        fn finds_what_the_naive_scan_finds(
            items in 1usize..150,
            depth in 1usize..9,
            seed in prop::collection::vec(-2i8..3, 150 * 9),
            query in prop::collection::vec(-2i8..3, 9),
            k in 1usize..30,
            keep in prop::collection::vec(any::<bool>(), 150),
            except in prop::collection::btree_set(0u32..150, 0..10),
            powers in prop::collection::vec(prop_oneof![Just(0i32), -3i32..4, -90i32..30], 151),
        ) {
            // Small whole numbers: sums are exact, so ties are real ties.
            // So they stay when a whole vector is scaled by a power of two, however large or small.
            let scaled = |value: i8, power: i32| f32::from(value) * 2f32.powi(power);
            let vectors: Vec<f32> = (0..items * depth).map(|at| scaled(seed[at], powers[at / depth])).collect();
            let query: Vec<f32> = query[..depth].iter().map(|&value| scaled(value, -powers[150])).collect();
            let allowed = Bitmap::of(items, |item| keep[item as usize]);
            let except: Vec<u32> = except.into_iter().collect();
            let eligible = Eligible::without(&allowed, &except);
            let index = Exact::new(vectors.clone().into(), depth);
            let mut found = Found::default();
            index.search(&query, k, eligible, &mut found);
            let expected = naive(&vectors, depth, &query, k, eligible);
            prop_assert_eq!(found.items.len(), k.min(eligible.count()));
            let same = found.items.iter().zip(&expected).all(|(a, b)| a.item == b.0 && f64::from(a.score) == b.1);
            prop_assert!(same, "{:?} {:?}", found.items, expected);
            let batch = index.search_batch(&[&query, &query, &query], k, &[eligible; 3]);
            prop_assert!(batch.iter().all(|one| *one == found.items));
        }
    }

    /// What the plain scan in f32 finds.
    fn plain(index: &Exact, query: &[f32], k: usize, eligible: Eligible) -> Vec<Scored> {
        let all: Vec<u32> = (0..index.len() as u32).collect();
        let mut scores = vec![0f32; all.len()];
        kernels::dot_rows(index.simd, index.rows(), &all, query, &mut scores);
        let mut top = TopK::new(k);
        all.into_iter().zip(scores).filter(|&(item, _)| eligible.contains(item)).for_each(|(item, score)| top.offer(item, score));
        top.into_sorted()
    }

    fn levels() -> Vec<Level> {
        let mut levels = vec![Level::Portable];
        #[cfg(target_arch = "x86_64")]
        levels.extend(match Level::best() {
            Level::Vnni => vec![Level::Avx2, Level::Vnni],
            Level::Avx2 => vec![Level::Avx2],
            Level::Portable => vec![],
        });
        #[cfg(target_arch = "aarch64")]
        levels.extend([Level::Neon, Level::best()]);
        levels
    }

    #[test]
    fn finds_what_the_plain_scan_finds_whatever_the_vectors() {
        let (items, queries) = (3000, 6);
        for (case, depth) in [("normal", 64), ("skewed", 32), ("unit", 50), ("outliers", 17), ("extreme", 8), ("copies", 5)] {
            let mut random = SplitMix(depth as u64);
            let mut vector = |number: usize| -> Vec<f32> {
                let number = if case == "copies" { number % 7 } else { number };
                let mut vector: Vec<f32> = match case {
                    "copies" => (0..depth).map(|d| ((number * 5 + d * 3) % 11) as f32 - 5.0).collect(),
                    _ => (0..depth).map(|_| random.normal()).collect(),
                };
                let length = length_of(&vector) as f32;
                match case {
                    // Lengths as those of items whose sales follow Zipf's law, the last ones without a vector.
                    "skewed" => {
                        vector.iter_mut().for_each(|value| *value *= if number > 2900 { 0.0 } else { 30.0 / (number + 1) as f32 })
                    }
                    "unit" => vector.iter_mut().for_each(|value| *value /= length),
                    "outliers" => vector[number % depth] *= 300.0,
                    "extreme" => vector.iter_mut().for_each(|value| *value *= [1.0, 1e-30, 1e25, 1e-42, 0.0, f32::MAX][number % 6]),
                    _ => {}
                }
                vector
            };
            let rows: Vec<f32> = (0..items).flat_map(&mut vector).collect();
            let asked: Vec<Vec<f32>> = (0..queries).map(vector).collect();
            for level in levels() {
                let index = Exact::with_level(rows.clone().into(), depth, None, level);
                let lists = Lists::all_of(items, depth, 5);
                let listed = Exact::with_level(rows.clone().into(), depth, Some(lists), level);
                for every in [1, 2, 7, 100] {
                    let allowed = Bitmap::of(items, |item| item as usize * 7919 % items < items / every);
                    for k in [1, 20, 300, items] {
                        let eligible = Eligible::without(&allowed, &[3, 5, 700]);
                        let mut found = Found::default();
                        let expected: Vec<Vec<Scored>> = asked.iter().map(|query| plain(&index, query, k, eligible)).collect();
                        for (query, expected) in asked.iter().zip(&expected) {
                            index.search(query, k, eligible, &mut found);
                            assert_eq!(&found.items, expected, "{case}, {level:?}, one item of {every}, k {k}");
                            listed.search(query, k, eligible, &mut found);
                            assert_eq!(&found.items, expected, "{case}, {level:?}, one item of {every}, k {k}, in lists");
                        }
                        let batch: Vec<&[f32]> = asked.iter().map(Vec::as_slice).collect();
                        let batch = index.search_batch(&batch, k, &vec![eligible; queries]);
                        assert_eq!(batch, expected, "{case}, {level:?}, one item of {every}, k {k}, in a batch");
                        // The longest first is another order by cosine: every item must still be looked at.
                        index.search_cosine(&asked[0], k, eligible, &mut found);
                        let unit: Vec<f32> =
                            asked[0].iter().map(|&value| (f64::from(value) / length_of(&asked[0])) as f32).collect();
                        let mut by_cosine: Vec<Scored> = plain(&index, &unit, items, eligible);
                        by_cosine.iter_mut().for_each(|scored| scored.score *= index.inverse_length(scored.item));
                        by_cosine.sort_by(|a, b| b.score.total_cmp(&a.score).then(a.item.cmp(&b.item)));
                        by_cosine.truncate(k);
                        assert!(
                            case == "extreme" || found.items == by_cosine,
                            "{case}, {level:?}, one item of {every}, k {k}, cosine"
                        );
                        let expected = std::mem::take(&mut found.items);
                        let some = [0, 1, 2, 5, 700, 2999];
                        for index in [&index, &listed] {
                            for (item, together) in some.into_iter().zip(index.nearest(&some, k, eligible)) {
                                index.search_cosine(index.row(item), k, eligible, &mut found);
                                assert_eq!(found.items, together, "{case}, {level:?}, one item of {every}, k {k}, item {item}");
                            }
                        }
                        listed.search_cosine(&asked[0], k, eligible, &mut found);
                        assert!(
                            case == "extreme" || found.items == expected,
                            "{case}, {level:?}, one item of {every}, k {k}, cosine, in lists"
                        );
                    }
                }
            }
        }
    }

    #[test]
    fn an_infinite_or_nan_vector_never_comes_out() {
        let vectors = [f32::NAN, 1.0, f32::INFINITY, 2.0, 0.5];
        let index = Exact::new(vectors.to_vec().into(), 1);
        let all = Bitmap::filled(5, true);
        let mut found = Found::default();
        index.search(&[1.0], 5, Eligible::new(&all), &mut found);
        assert_eq!(found.items.iter().map(|s| s.item).collect::<Vec<_>>(), vec![3, 1, 4]);
    }

    #[test]
    fn cosine_ignores_length() {
        let index = Exact::new(vec![10.0, 0.0, 0.6, 0.8, 0.0, 0.0].into(), 2);
        let all = Bitmap::filled(3, true);
        let mut found = Found::default();
        index.search_cosine(&[0.0, 5.0], 3, Eligible::new(&all), &mut found);
        assert_eq!(found.items.iter().map(|scored| scored.item).collect::<Vec<_>>(), [1, 0, 2]);
        assert!((found.items[0].score - 0.8).abs() < 1e-6);
    }
}
