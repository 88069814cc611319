//! Random starting values that depend on a seed alone, never on the number of threads.

use aisle_math::random::{SplitMix, mix};
use rayon::prelude::*;

/// 2⁶⁴ divided by the golden ratio. Its multiples, one for each row, make seeds that lie far apart.
const GOLDEN_RATIO: u64 = 0x9E37_79B9_7F4A_7C15;

/// Draws a `rows × width` matrix, row-major, of normal numbers with mean 0 and the given standard
/// deviation. Each row has its own generator, so its numbers depend only on the row and the seed.
pub(crate) fn normal_matrix((rows, width): (usize, usize), deviation: f32, seed: u64) -> Vec<f32> {
    let mut values = vec![0f32; rows * width];
    values
        .par_chunks_mut(width)
        .enumerate()
        .for_each(|(row, values)| {
            let mut random = SplitMix(seed ^ (row as u64).wrapping_mul(GOLDEN_RATIO));
            values
                .iter_mut()
                .for_each(|value| *value = deviation * random.normal());
        });
    values
}

/// Derives the seed of one of several independent streams of random numbers from one seed.
pub(crate) fn stream_seed(seed: u64, stream: u64) -> u64 {
    mix(seed ^ stream)
}
