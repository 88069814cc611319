//! What a set of instructions must be able to do for the scan.

use super::codes::{CodeLine, PANELS};
use aisle_math::kernels::LANES;

/// How a set of instructions adds up and compares. The functions are inlined into a function that
/// has the instructions enabled.
///
/// # Safety
/// Every function may be called only where the processor has the instructions of the kernel.
pub(super) trait ScanKernel {
    /// The sums of one panel.
    type Sums: Copy;

    unsafe fn load(sums: &[i32; LANES]) -> Self::Sums;

    unsafe fn store(sums: Self::Sums, out: &mut [i32; LANES]);

    /// Begins a stage: raises all sums by its start, or leaves them as they are where `add` itself
    /// takes the 128 from each code.
    unsafe fn start_stage(sums: Self::Sums, start: i32) -> Self::Sums;

    /// Adds the products of one panel with a query: one line for each quad.
    unsafe fn add(lines: &[CodeLine], quads: &[i32], sums: Self::Sums) -> Self::Sums;

    /// Adds the products of a whole group with `Q` queries: four panels, one after the other.
    #[inline(always)]
    unsafe fn add_group<const Q: usize>(
        lines: &[CodeLine],
        quads: [&[i32]; Q],
        sums: &mut [[Self::Sums; PANELS]; Q],
    ) {
        for (sums, quads) in sums.iter_mut().zip(quads) {
            for (sums, lines) in sums.iter_mut().zip(lines.chunks_exact(quads.len())) {
                // SAFETY: the caller's.
                *sums = unsafe { Self::add(lines, quads, *sums) };
            }
        }
    }

    /// Which sums reach `limit` once `tails` · `tail` is added, one bit for each item. Without
    /// `tails` nothing is added.
    unsafe fn reaching(sums: Self::Sums, tails: Option<&[u8; LANES]>, tail: f32, limit: f32)
    -> u16;
}
