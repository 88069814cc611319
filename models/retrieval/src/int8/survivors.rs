//! What a scan leaves: the panels that hold an item that may reach its limit.

use super::codes::PANELS;
use super::kernel::ScanKernel;
use aisle_math::kernels::LANES;

/// Groups that are scanned at a time, at most.
pub(crate) const STRIDE: usize = 8;

/// Room for the panels of a stretch, and for one more that is written and not kept. A power of two,
/// so that no index needs a check.
pub(super) const ROOM: usize = (STRIDE * PANELS + 1).next_power_of_two();

/// The panels of at most [`STRIDE`] groups that hold an item that may reach its limit.
#[derive(Clone, Debug)]
pub(crate) struct Survivors {
    pub(super) count: usize,
    pub(super) panels: [u32; ROOM],
    masks: [u16; ROOM],
    pub(super) limits: [f32; ROOM],
    pub(super) sums: [[i32; LANES]; ROOM],
}

impl Default for Survivors {
    fn default() -> Self {
        Self {
            count: 0,
            panels: [0; ROOM],
            masks: [0; ROOM],
            limits: [0.0; ROOM],
            sums: [[0; LANES]; ROOM],
        }
    }
}

/// A panel, which of its items reach their limit, and that limit.
pub(super) struct Reached {
    pub panel: usize,
    pub mask: u16,
    pub limit: f32,
}

impl Survivors {
    /// Writes a panel after the `kept` panels. Returns 1 if it is to be kept, else 0, so that no
    /// branch depends on it.
    ///
    /// # Safety
    /// The processor has the instructions of the kernel.
    #[inline(always)]
    pub(super) unsafe fn put<K: ScanKernel>(
        &mut self,
        kept: usize,
        reached: Reached,
        sums: K::Sums,
    ) -> usize {
        let at = kept % ROOM;
        // SAFETY: the caller's.
        unsafe { K::store(sums, &mut self.sums[at]) };
        self.panels[at] = reached.panel as u32;
        self.masks[at] = reached.mask;
        self.limits[at] = reached.limit;
        usize::from(reached.mask != 0)
    }

    /// Returns the number of each panel, one bit for each of its items that reached its limit, and
    /// the sums of all its items.
    pub fn iter(&self) -> impl Iterator<Item = (usize, u16, &[i32; LANES])> {
        (0..self.count).map(|at| (self.panels[at] as usize, self.masks[at], &self.sums[at]))
    }
}
