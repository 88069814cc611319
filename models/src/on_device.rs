//! Many queries at once on a GPU: the same answers, to the bit, as one by one on a core.
//!
//! The device multiplies a block of queries with all items, as they lie in the exact index, and keeps of each group of [`GROUP`] items the
//! largest score: what comes back over the bus is a sixteenth of the scores. A product that the device rounds in its own way is off from
//! ours by at most a known error, so the groups that can hold one of the k best are known for certain; their items are scored again on the
//! cores by the kernel of every other search, which decides.

use crate::device::Device;
use crate::exact::Exact;
use crate::index::{Eligible, Found, Index};
use crate::kernels::{reached_by, simd};
use crate::top_k::Scored;
use crate::{Bitmap, ModelError, Result};
use candle_core::{DType, Device as Processor, Tensor};
use rayon::prelude::*;
use std::sync::Arc;

/// Items of which the device tells the largest score alone.
const GROUP: usize = 16;
/// Scores of a block: with the sum of scores and filter, 1 GiB on the device.
const SCORES: usize = 1 << 27;
/// Queries of a block, at most.
const BLOCK: usize = 1024;

/// An exact index whose batches are computed on a device.
pub struct OnDevice {
    exact: Arc<Exact>,
    processor: Processor,
    /// `depth × places`: the vectors as columns, the longest first, zeros to the next whole group.
    columns: Tensor,
    places: usize,
    /// Whether all products have bounds.
    bounded: bool,
}

impl OnDevice {
    /// Copies the vectors of an index to a device.
    ///
    /// # Errors
    /// [`ModelError::Device`] without such a device, or without room on it.
    pub fn new(exact: Arc<Exact>, device: Device) -> Result<Self> {
        let processor = device.open()?;
        let (depth, order) = (exact.depth(), exact.order());
        let places = order.len().next_multiple_of(GROUP);
        let mut rows = vec![0f32; places * depth];
        rows.par_chunks_mut(depth.max(1)).zip(order).for_each(|(row, &item)| row.copy_from_slice(exact.row(item)));
        let columns = Tensor::from_vec(rows, (places, depth), &processor).and_then(|rows| rows.t()?.contiguous());
        let bounded = places * depth > 0 && exact.has_bounds();
        Ok(Self { columns: columns.map_err(ModelError::device)?, exact, processor, places, bounded })
    }

    /// For each query the largest score of each group of places; what is not allowed counts as minus infinity.
    fn peaks(&self, queries: &[&[f32]], allowed: &Bitmap) -> candle_core::Result<Vec<f32>> {
        let order = self.exact.order();
        let closed = |place: usize| order.get(place).is_none_or(|&item| !allowed.contains(item));
        let bias: Vec<f32> = (0..self.places).map(|place| if closed(place) { f32::NEG_INFINITY } else { 0.0 }).collect();
        let bias = Tensor::from_vec(bias, (1, self.places), &self.processor)?;
        let queries = Tensor::from_vec(queries.concat(), (queries.len(), self.exact.depth()), &self.processor)?;
        let scores = queries.matmul(&self.columns)?.broadcast_add(&bias)?;
        let peaks = scores.reshape((scores.dim(0)?, self.places / GROUP, GROUP))?.max(2)?;
        peaks.to_dtype(DType::F32)?.flatten_all()?.to_vec1()
    }

    /// The best among the groups whose peak allows it.
    fn best(&self, (peaks, query): (&[f32], &[f32]), k: usize, eligible: Eligible, found: &mut Found) {
        // So many groups reach this, each by another item: with those that are left out, at least k items do.
        let open: Vec<f32> = peaks.iter().copied().filter(|peak| peak.is_finite()).collect();
        let least = reached_by(simd(), &open, k + eligible.except.len());
        let order = self.exact.order();
        let error = self.exact.rounding(query);
        let mut candidates: Vec<u32> = Vec::new();
        for (peak, group) in peaks.iter().zip(order.chunks(GROUP)) {
            // This peak may be too low for its longest item, which is its first, and `least` too high for the longest of all.
            let longest = [group, order].iter().filter_map(|items| items.first()).map(|&item| self.exact.length(item)).sum::<f32>();
            if peak.is_finite() && *peak >= least - error * longest {
                candidates.extend(group.iter().filter(|&&item| eligible.contains(item)));
            }
        }
        self.exact.best_of(&candidates, query, k, found);
    }
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
        let block = (SCORES / self.places.max(1)).clamp(1, BLOCK);
        let mut answers = Vec::with_capacity(queries.len());
        let mut from = 0;
        while from < queries.len() {
            // One filter a block; exclusions are looked at on the cores.
            let allowed = eligible[from].allowed;
            let same = eligible[from..].iter().take(block).take_while(|other| std::ptr::eq(other.allowed, allowed)).count();
            let (queries, eligible) = (&queries[from..from + same], &eligible[from..from + same]);
            from += same;
            let usable = self.bounded && queries.iter().all(|query| Exact::bounds(query));
            match usable.then(|| self.peaks(queries, allowed)) {
                Some(Ok(peaks)) => {
                    answers.par_extend(queries.par_iter().zip(eligible).zip(peaks.par_chunks(self.places / GROUP)).map_init(
                        Found::default,
                        |found, ((query, &eligible), peaks)| {
                            self.best((peaks, query), k, eligible, found);
                            found.items.clone()
                        },
                    ))
                }
                // A device that fails, or numbers without bounds: the cores know the answer too.
                _ => answers.extend(self.exact.search_batch(queries, k, eligible)),
            }
        }
        answers
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
        for (case, items, depth) in
            [("normal", 1000, 24), ("falling", 777, 64), ("unit", 333, 7), ("copies", 200, 5), ("one", 1, 3), ("extreme", 90, 4)]
        {
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
                for (k, except) in [(1, vec![]), (20, vec![0, 2, 7, 12]), (items + 3, vec![1])] {
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
        assert!(matches!(OnDevice::new(exact, Device::Cuda(99)), Err(ModelError::Device { .. })));
    }
}
