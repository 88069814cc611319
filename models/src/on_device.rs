//! Many queries at once on a GPU: the same answers, to the bit, as one by one on a core.
//!
//! The device multiplies a block of queries with the items, the longest first, and keeps of each query the places that can be among its
//! best. A product that the device rounds in its own way is off from ours by at most a known error: a query's limit is a score that as many
//! items reach as are wanted, and what comes within twice the error of it stays. Those few are scored again on the cores by the kernel of
//! every other search, which decides; meanwhile the device is at the next block. It stops where no later item is long enough.

use crate::device::Device;
use crate::exact::Exact;
use crate::index::{Eligible, Found, Index};
use crate::top_k::Scored;
use crate::{Bitmap, ModelError, Result};
use rayon::prelude::*;
use std::ops::Range;
use std::sync::Arc;

/// Queries of a block, at most.
pub(crate) const BLOCK: usize = 1024;
/// Sections of a tile whose largest scores tell the first limit, and so the most items that a query can want.
pub(crate) const SECTIONS: usize = 1024;
/// Places that can be kept for a query. One that has more is answered on the cores.
pub(crate) const ROOM: usize = 2048;
/// Places and depth are filled up with zeros to multiples of this.
const WHOLE: usize = 4;

/// What a processor is asked about a block of queries.
pub(crate) struct Block<'a> {
    pub queries: &'a [&'a [f32]],
    /// How many places must reach the limit of each, 1 to [`SECTIONS`].
    pub wanted: &'a [u32],
    /// How far below its limit a score may be and its place is kept.
    pub slack: &'a [f32],
    /// One bit a place, the lowest first: whether it may be found.
    pub open: &'a [u32],
    /// Whether no place from this one on can reach what is kept at these limits.
    pub over: &'a (dyn Fn(usize, &[f32]) -> bool + Sync),
}

/// What holds the vectors.
enum Processor {
    Cores(cores::Cores),
    #[cfg(feature = "cuda")]
    Gpu(Box<crate::cuda::Gpu>),
}

impl Processor {
    /// For each query the places that can be among its best, nothing for one that has too many; nothing at all from a device that fails.
    fn candidates(&self, block: &Block) -> Option<Vec<Option<Vec<u32>>>> {
        match self {
            Processor::Cores(cores) => Some(cores.candidates(block)),
            #[cfg(feature = "cuda")]
            Processor::Gpu(gpu) => gpu.candidates(block).ok(),
        }
    }
}

/// An exact index whose batches are computed on a device.
pub struct OnDevice {
    exact: Arc<Exact>,
    processor: Processor,
    /// Whether the items lie by length and all products have bounds.
    bounded: bool,
}

impl OnDevice {
    /// Copies the vectors of an index to a device. [`Device::Cpu`] does the same on the cores, slowly: to compare with.
    ///
    /// # Errors
    /// [`ModelError::Device`] without such a device, or without room on it: it takes 4 bytes a number, and 150 MiB.
    pub fn new(exact: Arc<Exact>, device: Device) -> Result<Self> {
        let (depth, order) = (exact.depth().next_multiple_of(WHOLE), exact.order());
        // In lists they do not lie by length: the cores answer.
        let order = if exact.lists().is_some() { &[] } else { order };
        let mut rows = vec![0f32; order.len().next_multiple_of(WHOLE) * depth];
        let copy = |(row, &item): (&mut [f32], &u32)| row[..exact.depth()].copy_from_slice(exact.row(item));
        rows.par_chunks_mut(depth.max(1)).zip(order).for_each(copy);
        let bounded = !rows.is_empty() && exact.has_bounds();
        let processor = match device {
            #[cfg(feature = "cuda")]
            Device::Cuda(number) if !rows.is_empty() => {
                let gpu = crate::cuda::Gpu::new(number, &rows, depth);
                Processor::Gpu(Box::new(gpu.map_err(|error| ModelError::device(candle_core::Error::wrap(error)))?))
            }
            #[cfg(not(feature = "cuda"))]
            Device::Cuda(_) if !rows.is_empty() => return Err(ModelError::NoCuda),
            _ => Processor::Cores(cores::Cores { rows, depth }),
        };
        Ok(Self { exact, processor, bounded })
    }

    /// Which places hold an item that is allowed.
    fn open(&self, allowed: &Bitmap) -> Vec<u32> {
        let word = |items: &[u32]| items.iter().enumerate().map(|(bit, &item)| u32::from(allowed.contains(item)) << bit).sum();
        self.exact.order().par_chunks(32).map(word).collect()
    }

    /// For each query the places that can be among its `k` best, if the device can tell.
    fn candidates(&self, queries: &[&[f32]], k: usize, eligible: &[Eligible], open: &[u32]) -> Option<Vec<Option<Vec<u32>>>> {
        // Exclusions are looked at later: with them, so many items must reach a limit.
        let wanted: Vec<usize> = eligible.iter().map(|eligible| k + eligible.except.len()).collect();
        let within: Vec<u32> = wanted.iter().map(|&wanted| wanted.clamp(1, SECTIONS) as u32).collect();
        let order = self.exact.order();
        let length = |place: usize| order.get(place).map_or(0.0, |&item| self.exact.length(item));
        // A score of ours may be this much above the device's, and the one it must beat this much below.
        let slack: Vec<f32> = queries.iter().map(|query| 2.0 * self.exact.rounding(query) * length(0)).collect();
        let reach: Vec<f32> = queries.iter().map(|query| self.exact.reach(query)).collect();
        let over = |place: usize, least: &[f32]| {
            let longest = length(place);
            least.iter().zip(&slack).zip(&reach).all(|((least, slack), reach)| reach * longest < least - slack)
        };
        let block = Block { queries, wanted: &within, slack: &slack, open, over: &over };
        let mut found = self.processor.candidates(&block)?;
        found.iter_mut().zip(wanted).filter(|(_, wanted)| *wanted > SECTIONS).for_each(|(found, _)| *found = None);
        Some(found)
    }
}

/// Blocks of queries under one filter.
fn blocks(eligible: &[Eligible]) -> Vec<Range<usize>> {
    let mut blocks = Vec::new();
    let mut from = 0;
    while from < eligible.len() {
        let same = |other: &&Eligible| std::ptr::eq(other.allowed, eligible[from].allowed);
        let until = from + eligible[from..].iter().take(BLOCK).take_while(same).count();
        blocks.push(from..until);
        from = until;
    }
    blocks
}

impl Index for OnDevice {
    fn len(&self) -> usize {
        self.exact.len()
    }

    /// One query alone is faster on a core.
    fn search(&self, query: &[f32], k: usize, eligible: Eligible, found: &mut Found) {
        self.exact.search(query, k, eligible, found);
    }

    fn search_batch(&self, queries: &[&[f32]], k: usize, eligible: &[Eligible]) -> Vec<Vec<Scored>> {
        assert_eq!(queries.len(), eligible.len(), "one filter a query");
        let order = self.exact.order();
        let mut answers = Vec::with_capacity(queries.len());
        let mut decide = |block: Range<usize>, candidates: Option<Vec<Option<Vec<u32>>>>| {
            let (queries, eligible) = (&queries[block.clone()], &eligible[block]);
            // A device that fails, numbers without bounds, or more answers than it can tell: the cores know them too.
            let Some(candidates) = candidates else { return answers.extend(self.exact.search_batch(queries, k, eligible)) };
            let of_query = |found: &mut Found, ((query, &eligible), places): ((&&[f32], &Eligible), Option<Vec<u32>>)| {
                match places {
                    Some(mut items) => {
                        items.iter_mut().for_each(|place| *place = order[*place as usize]);
                        items.retain(|&item| eligible.contains(item));
                        self.exact.best_of(&items, query, k, found);
                    }
                    None => self.exact.search(query, k, eligible, found),
                }
                found.items.clone()
            };
            answers.par_extend(queries.par_iter().zip(eligible).zip(candidates).map_init(Found::default, of_query));
        };
        let mut open: Option<(&Bitmap, Vec<u32>)> = None;
        let mut multiply = |block: &Range<usize>| {
            let (queries, eligible) = (&queries[block.clone()], &eligible[block.clone()]);
            if k > SECTIONS || !self.bounded || !queries.iter().all(|query| Exact::bounds(query)) {
                return None;
            }
            let allowed = eligible[0].allowed;
            if !open.as_ref().is_some_and(|(of, _)| std::ptr::eq(*of, allowed)) {
                open = Some((allowed, self.open(allowed)));
            }
            self.candidates(queries, k, eligible, &open.as_ref()?.1)
        };
        let mut before = None;
        for block in blocks(eligible) {
            let known = before.take();
            let ((), found) =
                rayon::join(|| known.into_iter().for_each(|(block, found)| decide(block, found)), || multiply(&block));
            before = Some((block, found));
        }
        before.into_iter().for_each(|(block, found)| decide(block, found));
        answers
    }
}

/// The same steps as on a GPU, with sums in another order.
mod cores {
    use super::{Block, ROOM};
    use rayon::prelude::*;

    /// Places of a tile.
    const TILE: usize = 128;

    pub(super) struct Cores {
        pub rows: Vec<f32>,
        pub depth: usize,
    }

    impl Cores {
        pub fn candidates(&self, block: &Block) -> Vec<Option<Vec<u32>>> {
            let mut least = vec![f32::NEG_INFINITY; block.queries.len()];
            let mut taken: Vec<Option<Vec<(f32, u32)>>> = vec![Some(Vec::new()); block.queries.len()];
            for (tile, rows) in self.rows.chunks(TILE * self.depth).enumerate() {
                let first = tile * TILE;
                if tile > 0 && (block.over)(first, &least) {
                    break;
                }
                taken.par_iter_mut().zip(&mut least).enumerate().for_each(|(query, (taken, least))| {
                    let Some(places) = taken else { return };
                    let limit = (*least - block.slack[query]).next_down();
                    for (place, row) in (first as u32..).zip(rows.chunks(self.depth)) {
                        let product = |(a, b): (&f32, &f32)| f64::from(*a) * f64::from(*b);
                        let score = row.iter().zip(block.queries[query]).map(product).sum::<f64>() as f32;
                        let open = block.open.get(place as usize / 32).is_some_and(|word| word >> (place % 32) & 1 == 1);
                        if open && score >= limit {
                            places.push((score, place));
                        }
                    }
                    let wanted = block.wanted[query] as usize;
                    if places.len() > wanted {
                        places.select_nth_unstable_by(wanted - 1, |a, b| b.0.total_cmp(&a.0));
                        *least = places[wanted - 1].0;
                        let limit = (*least - block.slack[query]).next_down();
                        places.retain(|place| place.0 >= limit);
                    }
                    if places.len() > ROOM {
                        *taken = None;
                    }
                });
            }
            let places = |taken: Vec<(f32, u32)>| taken.into_iter().map(|(_, place)| place).collect();
            taken.into_iter().map(|taken| taken.map(places)).collect()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use aisle_data::SplitMix;

    /// Everything but the processor is the same on a GPU; that one is asked too where a build has it and one is at hand.
    fn devices() -> Vec<Device> {
        let mut devices = vec![Device::Cpu];
        if cfg!(feature = "cuda") {
            match Device::Cuda(0).open() {
                Ok(_) => devices.push(Device::Cuda(0)),
                Err(error) => eprintln!("no GPU to compare with: {error}"),
            }
        }
        devices
    }

    #[test]
    fn a_device_gives_the_answers_of_the_index() {
        let mut random = SplitMix(3);
        for (case, items, depth) in [
            ("normal", 1000, 24),
            ("falling", 777, 64),
            ("unit", 333, 7),
            ("copies", 200, 5),
            ("copies", 20_000, 3),
            ("one", 1, 3),
            ("long", 70_000, 8),
            ("extreme", 90, 4),
        ] {
            let mut vector = |number: usize| -> Vec<f32> {
                let mut vector: Vec<f32> = (0..depth).map(|_| random.normal()).collect();
                let length = vector.iter().map(|value| value * value).sum::<f32>().sqrt();
                match case {
                    "falling" if number > 700 => vector.fill(0.0),
                    "falling" => vector.iter_mut().for_each(|value| *value *= 20.0 / (number + 1) as f32),
                    "unit" => vector.iter_mut().for_each(|value| *value /= length),
                    "copies" => (0..depth).for_each(|d| vector[d] = ((number % 7 * 5 + d * 3) % 11) as f32 - 5.0),
                    "extreme" => vector.iter_mut().for_each(|value| *value *= [1.0, 1e-30, 1e25, f32::MAX][number % 4]),
                    _ => {}
                }
                vector
            };
            let rows: Vec<f32> = (0..items).flat_map(&mut vector).collect();
            let asked: Vec<Vec<f32>> = (0..9).map(&mut vector).collect();
            let asked: Vec<&[f32]> = asked.iter().map(Vec::as_slice).collect();
            let exact = Arc::new(Exact::new(rows.into(), depth));
            let all = Bitmap::filled(items, true);
            let some = Bitmap::of(items, |item| item % 5 == 2);
            for device in devices() {
                let index = OnDevice::new(exact.clone(), device).unwrap();
                for (k, except) in [(1, vec![]), (20, vec![0, 2, 7, 12]), (100, vec![3]), (items + 3, vec![1])] {
                    // Two filters in turn, so that blocks end where they change.
                    let eligible: Vec<Eligible> =
                        (0..9).map(|at| Eligible::without(if at % 4 < 2 { &all } else { &some }, &except)).collect();
                    let expected = exact.search_batch(&asked, k, &eligible);
                    assert_eq!(index.search_batch(&asked, k, &eligible), expected, "{case}, k {k}, {device:?}");
                }
            }
        }
    }

    #[test]
    fn a_device_that_is_not_there_is_an_error() {
        let exact = Arc::new(Exact::new(vec![1.0].into(), 1));
        assert!(matches!(OnDevice::new(exact, Device::Cuda(99)), Err(ModelError::Device { .. } | ModelError::NoCuda)));
    }
}
