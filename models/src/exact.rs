//! The exact top k without looking at everything.
//!
//! The score of an item is one inner product in f32, [`kernels::dot_rows`], whoever asks. To find the k best, the index walks codes of
//! 8 bits a dimension, the longest vectors first. From codes q̂ and x̂ follows a score that is off by at most
//! |q·x − q̂·x̂| ≤ |q − q̂| |x| + |q̂| |x − x̂| (Cauchy-Schwarz, both errors known exactly). So each item has a lower and an upper bound:
//! the k-th largest lower bound so far is a threshold, items whose upper bound is below it are out, and the walk ends where
//! |q| |x| is below it. What is left, a few times k, is scored in f32. The answer *is* that of the plain scan, ties included.

use crate::index::{Eligible, Found, Index};
use crate::int8::{Codes, GROUP, Items, Level, Limit, Line, PANELS, ZERO, four, next};
use crate::kernels::{self, LANES, Simd, simd};
use crate::top_k::{Scored, TopK};
use crate::weights::Array;
use rayon::prelude::*;

/// Lengths between which sums of squares and products neither overflow nor lose digits. Other vectors are scored in f32 without bounds.
const USABLE: std::ops::RangeInclusive<f64> = 1e-15..=1e15;
/// A filter that passes fewer than one item in so many is faster answered by scoring what it passes.
const GATHER: usize = 24;

/// An item that may be among the best.
#[derive(Clone, Copy, Debug)]
struct Candidate {
    low: f32,
    high: f32,
    item: u32,
}

/// What a search needs besides its results.
#[derive(Clone, Debug, Default)]
pub(crate) struct Scratch {
    top: TopK,
    query: Query,
    walk: Walk,
    rows: Vec<u32>,
    scores: Vec<f32>,
    unit: Vec<f32>,
}

/// A query as the scan needs it.
#[derive(Clone, Debug, Default)]
struct Query {
    codes: Codes,
    /// |q|.
    length: f32,
    /// |q − q̂| with what f32 rounding adds, and |q̂|: what multiplies |x| and |x − x̂|.
    slack: [f32; 2],
}

impl Query {
    /// Codes a vector; false if its length allows no bounds.
    fn set(&mut self, values: &[f32], largest: f32) -> bool {
        let length = length_of(values);
        if !USABLE.contains(&length) {
            return false;
        }
        let peak = values.iter().fold(0f32, |peak, value| peak.max(value.abs()));
        let scale = peak / largest;
        let code = |value: f32| (value / scale).round_ties_even().clamp(-largest, largest);
        let (mut sum, mut error, mut rounded) = (0i32, 0f64, 0f64);
        self.codes.quads.clear();
        for four in values.chunks(4) {
            let mut quad = [0u8; 4];
            for (byte, &value) in quad.iter_mut().zip(four) {
                let code = code(value);
                let back = f64::from(code) * f64::from(scale);
                error += (f64::from(value) - back).powi(2);
                rounded += back * back;
                sum += code as i32;
                *byte = code as i8 as u8;
            }
            self.codes.quads.push(i32::from_le_bytes(quad));
        }
        self.codes.start = -i32::from(ZERO) * sum;
        self.codes.scale = scale;
        self.length = length as f32;
        // The f32 sum of d products is off by at most d ε |q| |x|; the bounds themselves are a few operations more.
        let rounding = (values.len() as f64 + 64.0) * f64::from(f32::EPSILON) * length;
        self.slack = [(error.sqrt() + rounding) as f32 * (1.0 + 1e-6), rounded.sqrt() as f32 * (1.0 + 1e-6)];
        true
    }
}

/// One question, and the view that it is answered by.
#[derive(Clone, Copy)]
struct Ask<'a> {
    view: &'a View,
    query: &'a [f32],
    k: usize,
    eligible: Eligible<'a>,
}

/// One way to read the codes: scales and bounds for inner products, or for cosines.
struct View {
    scales: Vec<f32>,
    /// For each panel of 16: the largest length, and the largest error of its codes; the error is infinite where there is no bound.
    bounds: Vec<[f32; 2]>,
}

/// Finds the largest inner products exactly. Beside the vectors it keeps d + 12 bytes an item. O(items · d) a query at worst; on factors of
/// real shops a tenth to a third of that.
pub struct Exact {
    rows: Array<f32>,
    depth: usize,
    lines: Vec<Line>,
    inner: View,
    cosine: View,
    /// The item at each place, by descending length.
    order: Vec<u32>,
    /// The length of the longest vector of each group of 64.
    longest: Vec<f32>,
    simd: Simd,
    level: Level,
}

/// Summed in double precision, where no f32 is too large or too small to be squared.
fn length_of(vector: &[f32]) -> f64 {
    vector.iter().map(|&value| f64::from(value) * f64::from(value)).sum::<f64>().sqrt()
}

/// A number at least as large, as f32.
fn up(value: f64) -> f32 {
    (value * (1.0 + 1e-6)) as f32
}

impl Exact {
    /// Codes `len × depth` row-major vectors. O(items · (depth + log items)).
    pub fn new(rows: Array<f32>, depth: usize) -> Self {
        Self::with_level(rows, depth, Level::best())
    }

    fn with_level(rows: Array<f32>, depth: usize, level: Level) -> Self {
        let len = rows.len().checked_div(depth).unwrap_or(0);
        let lengths: Vec<f64> = rows.par_chunks(depth.max(1)).map(length_of).collect();
        // What is not a number counts as endless: it is looked at, and never taken.
        let key = |item: u32| if lengths[item as usize].is_nan() { f64::INFINITY } else { lengths[item as usize] };
        let mut order: Vec<u32> = (0..len as u32).collect();
        order.par_sort_unstable_by(|&a, &b| key(b).total_cmp(&key(a)).then(a.cmp(&b)));
        let (groups, quads) = (len.div_ceil(GROUP), depth.div_ceil(4));
        let mut lines = vec![Line([ZERO; 64]); groups * quads * PANELS];
        let view = || View { scales: vec![0f32; groups * GROUP], bounds: vec![[0f32; 2]; groups * PANELS] };
        let (mut inner, mut cosine) = (view(), view());
        let views = (inner.scales.par_chunks_mut(GROUP).zip(inner.bounds.par_chunks_mut(PANELS)))
            .zip(cosine.scales.par_chunks_mut(GROUP).zip(cosine.bounds.par_chunks_mut(PANELS)));
        lines.par_chunks_mut((quads * PANELS).max(1)).zip(views).enumerate().for_each(|(group, (lines, (inner, cosine)))| {
            for (&item, at) in order[group * GROUP..].iter().take(GROUP).zip(0..) {
                let vector = &rows[item as usize * depth..][..depth];
                let (length, panel) = (lengths[item as usize], at / LANES);
                if length == 0.0 {
                    continue;
                }
                if !USABLE.contains(&length) {
                    inner.1[panel][1] = f32::INFINITY;
                    cosine.1[panel][1] = f32::INFINITY;
                    continue;
                }
                let (scale, error) = encode(vector, at, lines);
                inner.0[at] = scale;
                cosine.0[at] = (f64::from(scale) / length) as f32;
                let widen = |bounds: &mut [f32; 2], length: f64, error: f64| {
                    *bounds = [bounds[0].max(up(length)), bounds[1].max(up(error))];
                };
                widen(&mut inner.1[panel], length, error);
                widen(&mut cosine.1[panel], 1.0, error / length);
            }
        });
        let longest = order.iter().step_by(GROUP).map(|&item| up(key(item).max(*USABLE.start()))).collect();
        Self { rows, depth, lines, inner, cosine, order, longest, simd: simd(), level }
    }

    /// The vectors, row-major.
    pub fn rows(&self) -> &Array<f32> {
        &self.rows
    }

    /// Dimension.
    pub fn depth(&self) -> usize {
        self.depth
    }

    /// Bytes beside the vectors.
    pub fn bytes(&self) -> usize {
        let view = |view: &View| size_of_val(&view.scales[..]) + size_of_val(&view.bounds[..]);
        size_of_val(&self.lines[..])
            + view(&self.inner)
            + view(&self.cosine)
            + size_of_val(&self.order[..])
            + size_of_val(&self.longest[..])
    }

    /// As [`Index::search`], by the cosine. Zero vectors have cosine 0 with everything.
    pub fn search_cosine(&self, query: &[f32], k: usize, eligible: Eligible, found: &mut Found) {
        let length = length_of(query);
        let mut unit = std::mem::take(&mut found.scratch.unit);
        unit.clear();
        unit.extend(query.iter().map(|&value| if length > 0.0 { (f64::from(value) / length) as f32 } else { 0.0 }));
        self.find(Ask { view: &self.cosine, query: &unit, k, eligible }, found);
        found.scratch.unit = unit;
    }

    /// The groups that can hold a score of the threshold: those before the first whose longest vector is too short for it.
    fn until(&self, view: &View, length: f32, threshold: f32) -> usize {
        if std::ptr::eq(view, &raw const self.cosine) || threshold <= 0.0 {
            return self.longest.len();
        }
        let slack = 1.0 + (self.depth as f32 + 64.0) * f32::EPSILON;
        self.longest.partition_point(|&longest| longest * length * slack >= threshold)
    }

    fn find(&self, ask: Ask, found: &mut Found) {
        if !self.begin(ask, found) {
            return;
        }
        let items = self.coded(ask.view);
        let mut out = [0f32; GROUP];
        let mut from = 0;
        loop {
            let Scratch { query, walk, .. } = &found.scratch;
            let limit = query.limit(walk.threshold);
            let Some((group, reached)) = next(self.level, items, &query.codes, limit, (from..walk.until, &mut out)) else { break };
            self.take(ask, (group, reached, &out), &mut found.scratch);
            from = group + 1;
        }
        self.finish(ask, found);
    }

    /// As [`Exact::find`] for several queries: each part of the codes is read once for all of them.
    fn find_block(&self, queries: &[&[f32]], k: usize, eligible: &[Eligible], found: &mut [Found]) {
        let ask = |at: usize| Ask { view: &self.inner, query: queries[at], k, eligible: eligible[at] };
        let open: Vec<usize> = (0..queries.len()).filter(|&at| self.begin(ask(at), &mut found[at])).collect();
        let items = self.coded(&self.inner);
        let groups = self.longest.len();
        let step = (STAY / (self.depth.div_ceil(4) * PANELS * size_of::<Line>()).max(1)).max(1);
        let mut outs = [[0f32; GROUP]; 4];
        for start in (0..groups).step_by(step) {
            let end = groups.min(start + step);
            let mut all_done = true;
            for four_of in open.chunks(4) {
                for group in start..end {
                    let closed = |at: usize| group >= found[at].scratch.walk.until;
                    if four_of.iter().all(|&at| closed(at)) {
                        break;
                    }
                    all_done = false;
                    let asked = std::array::from_fn(|lane| {
                        let at = four_of[lane.min(four_of.len() - 1)];
                        let Scratch { query, walk, .. } = &found[at].scratch;
                        let idle = lane >= four_of.len() || closed(at);
                        (&query.codes, query.limit(if idle { f32::INFINITY } else { walk.threshold }))
                    });
                    let reached = four(self.level, items, group, asked, &mut outs);
                    for (lane, &at) in four_of.iter().enumerate().filter(|&(lane, _)| reached[lane] != 0) {
                        self.take(ask(at), (group, reached[lane], &outs[lane]), &mut found[at].scratch);
                    }
                }
            }
            if all_done {
                break;
            }
        }
        for at in open {
            self.finish(ask(at), &mut found[at]);
        }
    }

    fn coded<'a>(&'a self, view: &'a View) -> Items<'a> {
        Items { lines: &self.lines, scales: &view.scales, bounds: &view.bounds }
    }

    /// Makes ready for a walk, and returns true. Where a walk does not pay (few items pass the filter) or has no bounds, all that passes is
    /// scored, and the search is done.
    fn begin(&self, Ask { view, query, k, eligible }: Ask, found: &mut Found) -> bool {
        let Found { items, scratch } = found;
        items.clear();
        if self.depth == 0 || query.len() != self.depth || k == 0 {
            return false;
        }
        scratch.top.reset(k);
        let few = (self.len() / GATHER).max(k);
        if eligible.allowed.count() > few && scratch.query.set(query, self.level.largest()) {
            scratch.walk.reset(k, self.longest.len());
            return true;
        }
        let mut eligible = eligible.iter();
        loop {
            scratch.rows.clear();
            scratch.rows.extend(eligible.by_ref().take(4 * GROUP));
            if scratch.rows.is_empty() {
                break;
            }
            self.score(view, query, scratch);
        }
        scratch.top.drain_into(items);
        false
    }

    /// Takes the items of a group that reached their limit and may be returned.
    #[inline]
    fn take(&self, ask: Ask, (group, mut reached, scores): (usize, u64, &[f32; GROUP]), scratch: &mut Scratch) {
        let Scratch { query, walk, .. } = scratch;
        while reached != 0 {
            let at = reached.trailing_zeros() as usize;
            reached &= reached - 1;
            let Some(&item) = self.order.get(group * GROUP + at) else { break };
            if ask.eligible.contains(item) {
                let bounds = ask.view.bounds[group * PANELS + at / LANES];
                let slack = bounds[0] * query.slack[0] + bounds[1] * query.slack[1];
                let score = scores[at] * query.codes.scale;
                walk.near.push(Candidate { low: score - slack, high: score + slack, item });
            }
        }
        if walk.near.len() >= walk.enough && walk.tighten() {
            walk.until = self.until(ask.view, query.length, walk.threshold);
        }
    }

    /// Scores the candidates that a walk left.
    fn finish(&self, Ask { view, query, .. }: Ask, found: &mut Found) {
        let Found { items, scratch } = found;
        scratch.walk.tighten();
        scratch.rows.clear();
        scratch.rows.extend(scratch.walk.near.iter().map(|candidate| candidate.item));
        self.score(view, query, scratch);
        scratch.top.drain_into(items);
    }

    /// Scores `scratch.rows` in f32 and offers them.
    fn score(&self, view: &View, query: &[f32], scratch: &mut Scratch) {
        let Scratch { top, rows, scores, .. } = scratch;
        scores.resize(rows.len(), 0.0);
        kernels::dot_rows(self.simd, &self.rows, rows, query, scores);
        let cosine = std::ptr::eq(view, &raw const self.cosine);
        for (&item, &score) in rows.iter().zip(scores.iter()) {
            let score = if cosine { score * self.inverse_length(item) } else { score };
            if score >= top.threshold() {
                top.offer(item, score);
            }
        }
    }

    /// One over the length of a vector; 0 for a zero vector.
    fn inverse_length(&self, item: u32) -> f32 {
        let length = length_of(&self.rows[item as usize * self.depth..][..self.depth]);
        if length > 0.0 { (1.0 / length) as f32 } else { 0.0 }
    }
}

/// Codes one vector as item `at` of a group. Returns the value of a code of 1 and |x − x̂|.
fn encode(vector: &[f32], at: usize, lines: &mut [Line]) -> (f32, f64) {
    let peak = vector.iter().fold(0f32, |peak, value| peak.max(value.abs()));
    let scale = peak / 127.0;
    let mut error = 0f64;
    for (d, &value) in vector.iter().enumerate() {
        let code = (value / scale).round_ties_even().clamp(-127.0, 127.0);
        error += (f64::from(value) - f64::from(code) * f64::from(scale)).powi(2);
        lines[d / 4 * PANELS + at / LANES].0[at % LANES * 4 + d % 4] = (code as i16 + i16::from(ZERO)) as u8;
    }
    (scale, error.sqrt())
}

impl Query {
    /// What a score in units of codes must reach for the item to be possible.
    fn limit(&self, threshold: f32) -> Limit {
        let unit = self.codes.scale;
        Limit { threshold: threshold / unit, slack: self.slack.map(|slack| slack / unit) }
    }
}

/// How far a walk has come.
#[derive(Clone, Debug, Default)]
struct Walk {
    near: Vec<Candidate>,
    k: usize,
    /// The k-th largest lower bound, as of the last look.
    threshold: f32,
    /// How many candidates call for another look.
    enough: usize,
    /// The groups that still matter are those before this one.
    until: usize,
}

impl Walk {
    fn reset(&mut self, k: usize, groups: usize) {
        self.near.clear();
        (self.k, self.threshold, self.enough, self.until) = (k, f32::NEG_INFINITY, 2 * k + GROUP, groups);
    }

    /// Raises the threshold and drops what is below it. O(candidates).
    fn tighten(&mut self) -> bool {
        if self.near.len() <= self.k {
            return false;
        }
        let (_, kth, _) = self.near.select_nth_unstable_by(self.k - 1, |a, b| b.low.total_cmp(&a.low));
        let rose = kth.low > self.threshold;
        self.threshold = self.threshold.max(kth.low);
        let threshold = self.threshold;
        self.near.retain(|candidate| candidate.high >= threshold);
        self.enough = (2 * self.k + GROUP).max(self.near.len() * 3 / 2);
        rose
    }
}

impl Index for Exact {
    fn len(&self) -> usize {
        self.order.len()
    }

    fn search(&self, query: &[f32], k: usize, eligible: Eligible, found: &mut Found) {
        self.find(Ask { view: &self.inner, query, k, eligible }, found);
    }

    fn search_batch(&self, queries: &[&[f32]], k: usize, eligible: &[Eligible]) -> Vec<Vec<Scored>> {
        assert_eq!(queries.len(), eligible.len(), "one filter a query");
        queries
            .par_chunks(BLOCK)
            .zip(eligible.par_chunks(BLOCK))
            .map_init(
                || vec![Found::default(); BLOCK],
                |found, (queries, eligible)| {
                    self.find_block(queries, k, eligible, found);
                    found.iter().take(queries.len()).map(|found| found.items.clone()).collect::<Vec<_>>()
                },
            )
            .flatten_iter()
            .collect()
    }
}

/// Queries that walk the codes together.
const BLOCK: usize = 32;
/// Bytes of codes that stay in the cache while all queries of a block pass over them.
const STAY: usize = 128 << 10;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bitmap::Bitmap;
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
                let index = Exact::with_level(rows.clone().into(), depth, level);
                for every in [1, 2, 7, 100] {
                    let allowed = Bitmap::of(items, |item| item as usize * 7919 % items < items / every);
                    for k in [1, 20, 300, items] {
                        let eligible = Eligible::without(&allowed, &[3, 5, 700]);
                        let mut found = Found::default();
                        let expected: Vec<Vec<Scored>> = asked.iter().map(|query| plain(&index, query, k, eligible)).collect();
                        for (query, expected) in asked.iter().zip(&expected) {
                            index.search(query, k, eligible, &mut found);
                            assert_eq!(&found.items, expected, "{case}, {level:?}, one item of {every}, k {k}");
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
