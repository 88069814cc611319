//! The inner loop of the bounded scan: approximate inner products of 8-bit codes, 64 items at a
//! time.
//!
//! In come the codes and bounds of the items, the codes of some queries, and the score that an item
//! must reach for each; out go the panels that hold an item that may reach it, with their sums.
//!
//! A group of 64 items is four panels of 16. A panel holds its codes in quads of dimensions,
//! `[quad][item][4]`, one byte each, so that one instruction multiplies four dimensions of 16 items
//! by four bytes of the query and no sum is horizontal. Item codes are unsigned (the value + 128),
//! query codes signed; what the 128 adds is taken away at the start of each sum.
//!
//! Dimensions come in stages, those that weigh most first. After each stage but the last, a panel
//! is given up if no item of it could reach its limit even if all that is left of it pointed
//! straight at the query.
//!
//! A new set of instructions is a [`kernel::ScanKernel`] and a [`Level`]; `tests.rs` compares all
//! levels.

#[cfg(target_arch = "aarch64")]
mod arm;
mod codes;
mod kernel;
mod level;
mod portable;
mod stages;
mod survivors;
#[cfg(test)]
mod tests;
#[cfg(target_arch = "x86_64")]
mod x86;

pub(crate) use codes::{
    CodeLine, GROUP, GroupBounds, ItemCodes, PANELS, QueryCodes, ScoreLimit, Stage, ZERO,
};
pub(crate) use level::Level;
pub(crate) use survivors::{STRIDE, Survivors};

use std::ops::Range;

/// Finds in at most [`STRIDE`] groups the items that reach the limits of `Q` queries. The codes are
/// read once for all of them.
#[inline]
pub(crate) fn scan<const Q: usize>(
    level: Level,
    items: ItemCodes,
    queries: [(&QueryCodes, ScoreLimit); Q],
    groups: Range<usize>,
    survivors: &mut [Survivors; Q],
) {
    assert!(
        groups.len() <= STRIDE,
        "a stretch of {} groups, expected at most {STRIDE}",
        groups.len()
    );
    match level {
        // SAFETY: `Level::best` returns this only where the processor reports the features.
        #[cfg(target_arch = "x86_64")]
        Level::Vnni => unsafe { x86::scan_vnni(items, queries, groups, survivors) },
        // SAFETY: as above.
        #[cfg(target_arch = "x86_64")]
        Level::Avx2 => unsafe { x86::scan_avx2(items, queries, groups, survivors) },
        // SAFETY: as above.
        #[cfg(target_arch = "aarch64")]
        Level::Dot => unsafe { arm::scan_dot(items, queries, groups, survivors) },
        // SAFETY: as above.
        #[cfg(target_arch = "aarch64")]
        Level::Neon => unsafe { arm::scan_neon(items, queries, groups, survivors) },
        // SAFETY: needs no features.
        Level::Portable => unsafe {
            stages::scan_stages::<portable::Portable, Q>(items, queries, groups, survivors)
        },
    }
}
