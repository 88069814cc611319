//! Lengths and directions of vectors, measured in double precision.

use std::ops::RangeInclusive;

/// Lengths between which sums of squares and products neither overflow nor lose digits. A vector of
/// another length has no direction here, and its scores have no bounds.
const MEASURABLE: RangeInclusive<f64> = 1e-15..=1e15;

/// Whether a vector of this length has a direction: it is neither zero, nor too long or too short
/// to be measured.
pub(crate) fn has_direction(length: f64) -> bool {
    MEASURABLE.contains(&length)
}

/// Whether there are bounds of inner products with a vector of this length.
pub(crate) fn is_bounded(length: f64) -> bool {
    length == 0.0 || has_direction(length)
}

/// |x|, summed in double precision, where no f32 is too large or too small to be squared.
pub(crate) fn length_of(vector: &[f32]) -> f64 {
    square_of(vector).sqrt()
}

/// |x|².
pub(crate) fn square_of(vector: &[f32]) -> f64 {
    let square = |&value: &f32| f64::from(value) * f64::from(value);
    let mut sums = [0f64; 8];
    let (chunks, rest) = vector.as_chunks::<8>();
    for chunk in chunks {
        for (sum, value) in sums.iter_mut().zip(chunk) {
            *sum += square(value);
        }
    }
    sums.iter().sum::<f64>() + rest.iter().map(square).sum::<f64>()
}

/// The largest absolute value of a vector.
pub(crate) fn peak_of(vector: &[f32]) -> f32 {
    vector
        .iter()
        .fold(0f32, |peak, value| peak.max(value.abs()))
}

/// The vector of length 1 in the same direction; zeros for a vector of zeros.
pub(crate) fn direction_of(vector: &[f32]) -> impl Iterator<Item = f32> {
    let length = length_of(vector);
    vector.iter().map(move |&value| {
        if length > 0.0 {
            (f64::from(value) / length) as f32
        } else {
            0.0
        }
    })
}

/// A number in f32 that is at least as large as `value`, which must not be negative.
pub(crate) fn round_up(value: f64) -> f32 {
    (value * (1.0 + 1e-6)) as f32
}
