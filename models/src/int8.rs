//! The inner loop of the bounded scan: approximate inner products of 8-bit codes, 64 items at a time.
//!
//! A group of 64 items holds its codes in quads of dimensions: `[quad][item][4]`, one byte each, so that one instruction multiplies
//! four dimensions of 16 items by four bytes of the query and no sum is horizontal. Item codes are unsigned (the value + 128),
//! query codes signed; what the 128 adds is taken away at the start of each sum.

use crate::kernels::LANES;

/// Items of a group, which is also what one word of a bitmap holds.
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
    /// Whatever the compiler's baseline has (NEON on 64-bit ARM).
    Portable,
    /// Pairs of bytes multiplied and added in 16 bits, 32 bytes at once.
    #[cfg(target_arch = "x86_64")]
    Avx2,
    /// Fours of bytes multiplied and added in 32 bits, 64 bytes at once.
    #[cfg(target_arch = "x86_64")]
    Vnni,
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
            if is_x86_feature_detected!("avx2") {
                return Level::Avx2;
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

/// A query in codes: `value ≈ scale · code`.
#[derive(Clone, Debug, Default)]
pub(crate) struct Codes {
    /// Four codes each.
    pub quads: Vec<i32>,
    /// −128 · Σ codes.
    pub start: i32,
    /// The value of a code of 1.
    pub scale: f32,
}

/// The items of an index, as the scan reads them.
#[derive(Clone, Copy)]
pub(crate) struct Items<'a> {
    /// `groups × quads × 4` lines.
    pub lines: &'a [Line],
    /// For each place, the value of a code of 1; `groups × 64`.
    pub scales: &'a [f32],
    /// For each panel of 16, what multiplies the two parts of [`Limit`].
    pub bounds: &'a [[f32; 2]],
}

/// What a score in units of codes must reach: `threshold − bounds · slack`, for each panel.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limit {
    pub threshold: f32,
    pub slack: [f32; 2],
}

impl Limit {
    #[inline(always)]
    fn of(&self, bounds: &[f32; 2]) -> f32 {
        self.threshold - (bounds[0] * self.slack[0] + bounds[1] * self.slack[1])
    }
}

/// Looks for the first group from `from` on and before `until` of which an item reaches its limit. Returns the group and which of its
/// items do, and leaves the scores of all 64 in `out`.
#[inline]
pub(crate) fn next(
    level: Level,
    items: Items,
    query: &Codes,
    limit: Limit,
    (range, out): (std::ops::Range<usize>, &mut [f32; GROUP]),
) -> Option<(usize, u64)> {
    let lines = query.quads.len() * PANELS;
    assert!(items.lines.len() >= range.end * lines && items.scales.len() >= range.end * GROUP);
    assert!(items.bounds.len() >= range.end * PANELS);
    match level {
        // SAFETY: `Level::best` returns this only where the processor reports the features; the lengths are asserted above.
        #[cfg(target_arch = "x86_64")]
        Level::Vnni => unsafe { x86::next_vnni(items, query, limit, range, out) },
        // SAFETY: as above.
        #[cfg(target_arch = "x86_64")]
        Level::Avx2 => unsafe { x86::next_avx2(items, query, limit, range, out) },
        Level::Portable => next_by(items, query, limit, (range, out), portable),
    }
}

/// [`next`] by a function that adds up one group.
#[inline(always)]
fn next_by(
    items: Items,
    query: &Codes,
    limit: Limit,
    (range, out): (std::ops::Range<usize>, &mut [f32; GROUP]),
    sums: impl Fn(&[Line], &Codes, &mut [i32; GROUP]),
) -> Option<(usize, u64)> {
    let lines = query.quads.len() * PANELS;
    let mut totals = [0i32; GROUP];
    for group in range {
        sums(&items.lines[group * lines..][..lines], query, &mut totals);
        let scales = &items.scales[group * GROUP..][..GROUP];
        let mut reached = 0u64;
        for panel in 0..PANELS {
            let limit = limit.of(&items.bounds[group * PANELS + panel]);
            let places = panel * LANES..(panel + 1) * LANES;
            let mut any = false;
            for ((score, &total), &scale) in
                out[places.clone()].iter_mut().zip(&totals[places.clone()]).zip(&scales[places.clone()])
            {
                *score = total as f32 * scale;
                any |= *score >= limit;
            }
            if any {
                for place in places {
                    reached |= u64::from(out[place] >= limit) << place;
                }
            }
        }
        if reached != 0 {
            return Some((group, reached));
        }
    }
    None
}

/// The sums of one group in plain Rust.
#[inline(always)]
fn portable(lines: &[Line], query: &Codes, totals: &mut [i32; GROUP]) {
    totals.fill(query.start);
    for (quad, lines) in query.quads.iter().zip(lines.chunks_exact(PANELS)) {
        let codes = quad.to_le_bytes().map(|code| i32::from(code as i8));
        for (line, totals) in lines.iter().zip(totals.as_chunks_mut::<LANES>().0) {
            for (total, items) in totals.iter_mut().zip(line.0.as_chunks::<4>().0) {
                *total += items.iter().zip(&codes).map(|(&item, &code)| i32::from(item) * code).sum::<i32>();
            }
        }
    }
}

/// For four queries at once: which items of one group reach each one's limit, with their scores. A query that is done gets a limit of
/// infinity.
#[inline]
pub(crate) fn four(
    level: Level,
    items: Items,
    group: usize,
    queries: [(&Codes, Limit); 4],
    out: &mut [[f32; GROUP]; 4],
) -> [u64; 4] {
    #[cfg(target_arch = "x86_64")]
    if level == Level::Vnni {
        let quads = queries[0].0.quads.len();
        assert!(queries.iter().all(|(query, _)| query.quads.len() == quads) && items.lines.len() >= (group + 1) * quads * PANELS);
        assert!(items.scales.len() >= (group + 1) * GROUP && items.bounds.len() >= (group + 1) * PANELS);
        // SAFETY: as in `next`.
        return unsafe { x86::four_vnni(items, group, queries, out) };
    }
    let mut reached = [0; 4];
    for (((query, limit), out), reached) in queries.into_iter().zip(out).zip(&mut reached) {
        *reached = next(level, items, query, limit, (group..group + 1, out)).map_or(0, |(_, reached)| reached);
    }
    reached
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use super::{Codes, GROUP, Items, LANES, Limit, Line, PANELS, next_by};
    use std::arch::x86_64::{
        __m512i, _CMP_GE_OQ, _MM_HINT_T0, _mm_prefetch, _mm256_add_epi32, _mm256_load_si256, _mm256_madd_epi16,
        _mm256_maddubs_epi16, _mm256_set1_epi16, _mm256_set1_epi32, _mm256_storeu_si256, _mm512_cmp_ps_mask, _mm512_cvtepi32_ps,
        _mm512_dpbusd_epi32, _mm512_load_si512, _mm512_loadu_ps, _mm512_mul_ps, _mm512_set1_epi32, _mm512_set1_ps,
        _mm512_storeu_ps,
    };

    /// How far ahead of the scan lines are asked for.
    const AHEAD: usize = 4096;

    /// Scores and limits of one group, given its sums. The caller asserts the lengths.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vnni")]
    unsafe fn compare(items: Items, group: usize, limit: Limit, sums: [__m512i; PANELS], out: &mut [f32; GROUP]) -> u64 {
        let mut reached = 0u64;
        let mut scores = [_mm512_set1_ps(0.0); PANELS];
        for panel in 0..PANELS {
            // SAFETY: `group` lies within scales and bounds, as `next` and `four` assert.
            let (scale, bounds) = unsafe {
                let scale = _mm512_loadu_ps(items.scales.as_ptr().add(group * GROUP + panel * LANES));
                (scale, items.bounds.get_unchecked(group * PANELS + panel))
            };
            scores[panel] = _mm512_mul_ps(_mm512_cvtepi32_ps(sums[panel]), scale);
            let mask = _mm512_cmp_ps_mask::<_CMP_GE_OQ>(scores[panel], _mm512_set1_ps(limit.of(bounds)));
            reached |= u64::from(mask) << (panel * LANES);
        }
        if reached != 0 {
            for (panel, score) in scores.into_iter().enumerate() {
                // SAFETY: the four stores of 16 fill `out`.
                unsafe { _mm512_storeu_ps(out.as_mut_ptr().add(panel * LANES), score) };
            }
        }
        reached
    }

    #[target_feature(enable = "avx512f,avx512bw,avx512vnni")]
    pub(super) unsafe fn next_vnni(
        items: Items,
        query: &Codes,
        limit: Limit,
        range: std::ops::Range<usize>,
        out: &mut [f32; GROUP],
    ) -> Option<(usize, u64)> {
        let lines = query.quads.len() * PANELS;
        for group in range {
            let mut sums = [_mm512_set1_epi32(query.start); PANELS];
            // SAFETY: `next` asserts that all groups of the range lie within the lines; a prefetch beyond them is harmless.
            unsafe {
                let mut line = items.lines.as_ptr().add(group * lines);
                for &quad in &query.quads {
                    let codes = _mm512_set1_epi32(quad);
                    for (panel, sum) in sums.iter_mut().enumerate() {
                        let at = line.add(panel);
                        _mm_prefetch::<_MM_HINT_T0>(at.cast::<i8>().wrapping_add(AHEAD));
                        *sum = _mm512_dpbusd_epi32(*sum, _mm512_load_si512(at.cast()), codes);
                    }
                    line = line.add(PANELS);
                }
                let reached = compare(items, group, limit, sums, out);
                if reached != 0 {
                    return Some((group, reached));
                }
            }
        }
        None
    }

    #[target_feature(enable = "avx512f,avx512bw,avx512vnni")]
    pub(super) unsafe fn four_vnni(
        items: Items,
        group: usize,
        queries: [(&Codes, Limit); 4],
        out: &mut [[f32; GROUP]; 4],
    ) -> [u64; 4] {
        let quads = queries[0].0.quads.len();
        let mut sums = queries.map(|(query, _)| [_mm512_set1_epi32(query.start); PANELS]);
        // SAFETY: `four` asserts that the group lies within the lines and that every query has as many quads.
        unsafe {
            let first = items.lines.as_ptr().add(group * quads * PANELS);
            for quad in 0..quads {
                let lines: [__m512i; PANELS] =
                    std::array::from_fn(|panel| _mm512_load_si512(first.add(quad * PANELS + panel).cast()));
                for (sums, (query, _)) in sums.iter_mut().zip(&queries) {
                    let codes = _mm512_set1_epi32(*query.quads.get_unchecked(quad));
                    for (sum, line) in sums.iter_mut().zip(lines) {
                        *sum = _mm512_dpbusd_epi32(*sum, line, codes);
                    }
                }
            }
            let mut reached = [0; 4];
            for at in 0..4 {
                reached[at] = compare(items, group, queries[at].1, sums[at], &mut out[at]);
            }
            reached
        }
    }

    #[target_feature(enable = "avx2")]
    pub(super) unsafe fn next_avx2(
        items: Items,
        query: &Codes,
        limit: Limit,
        range: std::ops::Range<usize>,
        out: &mut [f32; GROUP],
    ) -> Option<(usize, u64)> {
        #[inline(always)]
        fn sums(lines: &[Line], query: &Codes, totals: &mut [i32; GROUP]) {
            // SAFETY: called below only, where the processor has AVX2; every load and store is within its slice.
            unsafe {
                let ones = _mm256_set1_epi16(1);
                let mut sums = [_mm256_set1_epi32(query.start); 2 * PANELS];
                for (&quad, lines) in query.quads.iter().zip(lines.chunks_exact(PANELS)) {
                    let codes = _mm256_set1_epi32(quad);
                    let halves = lines.as_ptr().cast::<std::arch::x86_64::__m256i>();
                    for (half, sum) in sums.iter_mut().enumerate() {
                        let pairs = _mm256_maddubs_epi16(_mm256_load_si256(halves.add(half)), codes);
                        *sum = _mm256_add_epi32(*sum, _mm256_madd_epi16(pairs, ones));
                    }
                }
                for (half, sum) in sums.into_iter().enumerate() {
                    _mm256_storeu_si256(totals.as_mut_ptr().add(half * 8).cast(), sum);
                }
            }
        }
        next_by(items, query, limit, (range, out), sums)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use aisle_data::SplitMix;

    #[test]
    fn every_level_finds_the_same_sums() {
        let (groups, quads) = (3, 5);
        let mut random = SplitMix(7);
        let mut byte = || (random.draw() >> 32) as u8;
        let lines: Vec<Line> = (0..groups * quads * PANELS).map(|_| Line(std::array::from_fn(|_| byte()))).collect();
        // Codes that the narrowest level can hold, its extremes among them.
        let codes: Vec<i8> =
            (0..quads * 4).map(|at| if at < 8 { 63 - 126 * (at as i8 % 2) } else { (byte() % 127) as i8 - 63 }).collect();
        let quad = |four: &[i8]| i32::from_le_bytes(std::array::from_fn(|at| four[at] as u8));
        let query = Codes {
            quads: codes.chunks(4).map(quad).collect(),
            start: -128 * codes.iter().map(|&code| i32::from(code)).sum::<i32>(),
            scale: 1.0,
        };
        let (scales, bounds) = (vec![0.5; groups * GROUP], vec![[1.0, 2.0]; groups * PANELS]);
        let items = Items { lines: &lines, scales: &scales, bounds: &bounds };
        let mut levels = vec![Level::Portable];
        #[cfg(target_arch = "x86_64")]
        levels.extend([Level::Avx2, Level::Vnni].into_iter().filter(|level| {
            let best = Level::best();
            best == *level || (best == Level::Vnni && *level == Level::Avx2)
        }));
        let plain = |place: usize| -> f32 {
            let (group, at) = (place / GROUP, place % GROUP);
            let value = |d: usize| {
                let line = &lines[(group * quads + d / 4) * PANELS + at / LANES];
                (i32::from(line.0[at % LANES * 4 + d % 4]) - 128) * i32::from(codes[d])
            };
            (0..quads * 4).map(value).sum::<i32>() as f32 * 0.5
        };
        for level in levels {
            for (group, limit) in (0..groups).flat_map(|group| [-1e9, 0.0, 9000.0].map(|limit| (group, limit))) {
                let expected: u64 = (0..GROUP).map(|at| u64::from(plain(group * GROUP + at) >= limit - 5.0) << at).sum();
                let limit = Limit { threshold: limit, slack: [1.0, 2.0] };
                let mut out = [0f32; GROUP];
                let found = next(level, items, &query, limit, (group..group + 1, &mut out));
                assert_eq!(found, (expected != 0).then_some((group, expected)), "{level:?}");
                assert!(expected == 0 || (0..GROUP).all(|at| out[at] == plain(group * GROUP + at)), "{level:?}");
                let mut outs = [[0f32; GROUP]; 4];
                assert_eq!(four(level, items, group, [(&query, limit); 4], &mut outs), [expected; 4], "{level:?}");
            }
        }
    }
}
