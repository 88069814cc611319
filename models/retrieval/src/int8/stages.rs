//! The scan itself, for any kernel: stage after stage, fewer panels each time.

use super::codes::{ItemCodes, PANELS, QueryCodes, ScoreLimit};
use super::kernel::ScanKernel;
use super::survivors::{ROOM, Reached, Survivors};
use aisle_math::kernels::LANES;
use std::ops::Range;

/// [`super::scan`] with one kernel.
///
/// # Safety
/// The processor has the instructions of the kernel.
#[inline(always)]
pub(super) unsafe fn scan_stages<K: ScanKernel, const Q: usize>(
    items: ItemCodes,
    queries: [(&QueryCodes, ScoreLimit); Q],
    groups: Range<usize>,
    survivors: &mut [Survivors; Q],
) {
    // SAFETY: the caller's.
    let counts = unsafe { scan_first_stage::<K, Q>(items, queries, groups, survivors) };
    for ((survivors, (query, _)), count) in survivors.iter_mut().zip(queries).zip(counts) {
        survivors.count = count;
        // SAFETY: the caller's.
        unsafe { scan_later_stages::<K>(items, query, survivors) };
    }
}

/// Scans all panels of the groups in the first stage. Returns how many panels survive for each
/// query. Nothing here but these counts depends on which panels do: no branch is guessed wrongly.
///
/// # Safety
/// The processor has the instructions of the kernel.
#[inline(always)]
unsafe fn scan_first_stage<K: ScanKernel, const Q: usize>(
    items: ItemCodes,
    queries: [(&QueryCodes, ScoreLimit); Q],
    groups: Range<usize>,
    survivors: &mut [Survivors; Q],
) -> [usize; Q] {
    let mut counts = [0; Q];
    let Some(stage) = items.stages.first() else {
        return counts;
    };
    let lines_of_group = stage.quads.len() * PANELS;
    let mut quads: [&[i32]; Q] = [&[]; Q];
    let mut factors = [0; Q];
    for at in 0..Q {
        quads[at] = &queries[at].0.quads[stage.quads.clone()];
        factors[at] = queries[at].1.length_factor();
    }
    for group in groups {
        let lines = &stage.lines[group * lines_of_group..][..lines_of_group];
        // SAFETY: the caller's.
        let sums = unsafe {
            let zeros = K::load(&[0; LANES]);
            let mut sums = [[zeros; PANELS]; Q];
            for at in 0..Q {
                sums[at] = [K::start_stage(zeros, queries[at].0.starts[0]); PANELS];
            }
            K::add_group(lines, quads, &mut sums);
            sums
        };
        let tails = stage.tails.get(group * PANELS..(group + 1) * PANELS);
        for at in 0..Q {
            let (query, limit) = queries[at];
            let limits = limit.in_codes(factors[at], &items.bounds[group]);
            for panel in 0..PANELS {
                let tails = tails.map(|tails| &tails[panel]);
                let (sums, limit) = (sums[at][panel], limits[panel]);
                // SAFETY: the caller's.
                unsafe {
                    let reached = Reached {
                        panel: group * PANELS + panel,
                        mask: K::reaching(sums, tails, query.tails[0], limit),
                        limit,
                    };
                    counts[at] += survivors[at].put::<K>(counts[at], reached, sums);
                }
            }
        }
    }
    counts
}

/// Scans the panels that survived so far in the stages after the first.
///
/// # Safety
/// The processor has the instructions of the kernel.
#[inline(always)]
unsafe fn scan_later_stages<K: ScanKernel>(
    items: ItemCodes,
    query: &QueryCodes,
    survivors: &mut Survivors,
) {
    let of_query = query.starts.iter().zip(&query.tails);
    for (stage, (&start, &tail)) in items.stages.iter().zip(of_query).skip(1) {
        let quads = &query.quads[stage.quads.clone()];
        let mut kept = 0;
        for at in (0..survivors.count).map(|at| at % ROOM) {
            let (panel, limit) = (survivors.panels[at] as usize, survivors.limits[at]);
            let lines = &stage.lines[panel * quads.len()..][..quads.len()];
            // SAFETY: the caller's.
            unsafe {
                let sums = K::start_stage(K::load(&survivors.sums[at]), start);
                let sums = K::add(lines, quads, sums);
                let reached = Reached {
                    panel,
                    mask: K::reaching(sums, stage.tails.get(panel), tail, limit),
                    limit,
                };
                kept += survivors.put::<K>(kept, reached, sums);
            }
        }
        survivors.count = kept;
    }
}
