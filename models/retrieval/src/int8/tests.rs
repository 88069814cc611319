use super::*;
use aisle_math::kernels::LANES;
use aisle_math::random::SplitMix;

const GROUPS: usize = 3;

/// Random codes of three groups of items and of a query in three stages, with the sums that plain
/// arithmetic gives.
struct Fixture {
    stages: Vec<Stage>,
    bounds: Vec<GroupBounds>,
    query: QueryCodes,
    /// The sum of the item at each position.
    sums: Vec<i32>,
}

impl Fixture {
    fn new() -> Self {
        let ends = [3, 4, 9];
        let mut random = SplitMix(7);
        let mut byte = || (random.draw() >> 32) as u8;
        let mut from = 0;
        let stages: Vec<Stage> = ends
            .into_iter()
            .map(|end| {
                let quads = from..end;
                from = end;
                let lines = GROUPS * PANELS * quads.len();
                // What is left adds up to 24 quads of 63 · 128 at most: a tail of 200 allows for
                // all.
                let tails = if end == 9 { 0 } else { GROUPS * PANELS };
                Stage {
                    lines: (0..lines)
                        .map(|_| CodeLine(std::array::from_fn(|_| byte())))
                        .collect(),
                    tails: vec![[200; LANES]; tails],
                    quads,
                    tail_unit: 1.0,
                }
            })
            .collect();
        // Codes that the narrowest level can hold, its extremes among them.
        let codes: Vec<i8> = (0..36)
            .map(|at| {
                if at < 8 {
                    63 - 126 * (at as i8 % 2)
                } else {
                    (byte() % 127) as i8 - 63
                }
            })
            .collect();
        let code_sum = |range: &Range<usize>| {
            let codes = &codes[4 * range.start..4 * range.end];
            codes.iter().map(|&code| i32::from(code)).sum::<i32>()
        };
        let bounds = GroupBounds {
            lengths: [[1.0; 4], [0.5, 1.0, 1.0, 1.0], [1.0; 4]],
            error: [2.0; 4],
            inverse_scale: [2.0; 4],
        };
        Self {
            query: QueryCodes {
                quads: codes
                    .chunks(4)
                    .map(|four| i32::from_le_bytes(std::array::from_fn(|at| four[at] as u8)))
                    .collect(),
                starts: stages
                    .iter()
                    .map(|stage| -128 * code_sum(&stage.quads))
                    .collect(),
                tails: vec![24.0 * 4.0 * 63.0 * 128.0 / 200.0; 3],
                scale: 1.0,
            },
            sums: (0..GROUPS * GROUP)
                .map(|position| plain_sum(&stages, &codes, position))
                .collect(),
            bounds: vec![bounds; GROUPS],
            stages,
        }
    }

    fn items(&self) -> ItemCodes<'_> {
        ItemCodes {
            stages: &self.stages,
            bounds: &self.bounds,
        }
    }

    /// The positions whose sums reach the limit of a threshold, and these sums.
    fn expected(&self, threshold: f32, is_cosine: bool) -> Vec<(usize, i32)> {
        let limit = |position: usize| {
            let shortest = is_cosine && position % GROUP < LANES;
            let factor = if shortest { 0.5 } else { 1.0 };
            (threshold * factor - 5.0) * 2.0
        };
        let sums = self.sums.iter().copied().enumerate();
        sums.filter(|&(position, sum)| sum as f32 >= limit(position))
            .collect()
    }
}

/// The sum of an item without the 128 in its codes, one product at a time.
fn plain_sum(stages: &[Stage], codes: &[i8], position: usize) -> i32 {
    let (panel, lane) = (position / LANES, position % LANES);
    let mut sum = 0;
    for stage in stages {
        for (at, quad) in stage.quads.clone().enumerate() {
            let line = &stage.lines[panel * stage.quads.len() + at];
            for d in 0..4 {
                let code = i32::from(line.0[lane * 4 + d]) - 128;
                sum += code * i32::from(codes[4 * quad + d]);
            }
        }
    }
    sum
}

/// The positions that survive a scan, and their sums.
fn positions(survivors: &Survivors) -> Vec<(usize, i32)> {
    let items = survivors.iter().flat_map(|(panel, mask, sums)| {
        (0..LANES)
            .filter(move |lane| mask >> lane & 1 == 1)
            .map(move |lane| (panel * LANES + lane, sums[lane]))
    });
    items.collect()
}

/// Thresholds from one that every item reaches to one that few do, by product and by cosine.
const LIMITS: [(f32, bool); 4] = [(-1e9, false), (0.0, false), (9000.0, false), (9000.0, true)];

fn limit(threshold: f32, is_cosine: bool) -> ScoreLimit {
    ScoreLimit {
        threshold,
        slack: [1.0, 2.0],
        is_cosine,
    }
}

#[test]
fn every_level_finds_the_items_that_reach_the_limit() {
    let fixture = Fixture::new();
    for level in Level::available() {
        for (threshold, is_cosine) in LIMITS {
            let query = (&fixture.query, limit(threshold, is_cosine));
            let mut survivors = [Survivors::default()];
            scan(level, fixture.items(), [query], 0..GROUPS, &mut survivors);
            let expected = fixture.expected(threshold, is_cosine);
            assert_eq!(positions(&survivors[0]), expected, "{level:?}");
        }
    }
}

#[test]
fn several_queries_together_find_what_one_finds() {
    let fixture = Fixture::new();
    for level in Level::available() {
        for (threshold, is_cosine) in LIMITS {
            let query = (&fixture.query, limit(threshold, is_cosine));
            let mut survivors: [Survivors; 4] = std::array::from_fn(|_| Survivors::default());
            scan(
                level,
                fixture.items(),
                [query; 4],
                0..GROUPS,
                &mut survivors,
            );
            let expected = fixture.expected(threshold, is_cosine);
            for survivors in &survivors {
                assert_eq!(positions(survivors), expected, "{level:?}");
            }
        }
    }
}
