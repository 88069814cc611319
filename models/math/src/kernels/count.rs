//! Counting: set bits, and how many scores reach a threshold.

use super::simd::dispatch;

dispatch! {
    /// Returns how many bits of the words are set.
    count_ones, count_ones_body, (words: &[u64]) -> usize
}
dispatch! {
    /// Returns a threshold that at least `k` of the values reach, and few more, or minus infinity
    /// if there are fewer than `k` values or one of them is not finite. Found by bisection,
    /// O(values).
    threshold_reached_by, reached_by_body, (values: &[f32], k: usize) -> f32
}

#[inline(always)]
fn count_ones_body<const FMA: bool, const WIDE: bool>(words: &[u64]) -> usize {
    words
        .iter()
        .map(|word| u64::from(word.count_ones()))
        .sum::<u64>() as usize
}

#[inline(always)]
fn reached_by_body<const FMA: bool, const WIDE: bool>(values: &[f32], k: usize) -> f32 {
    /// Ten halvings narrow the range to a thousandth.
    const HALVINGS: usize = 10;
    /// A threshold is good enough if at most `k` / 32 more values than `k` reach it.
    const TOLERANCE: usize = 32;
    let count_reaching = |threshold: f32| {
        values
            .iter()
            .map(|&value| u32::from(value >= threshold))
            .sum::<u32>() as usize
    };
    let (mut smallest, mut largest) = (f32::INFINITY, f32::NEG_INFINITY);
    for &value in values {
        smallest = if value < smallest { value } else { smallest };
        largest = if value > largest { value } else { largest };
    }
    let (mut low, mut high) = (f32::NEG_INFINITY, f32::NEG_INFINITY);
    if smallest.is_finite() && largest.is_finite() && values.len() >= k {
        (low, high) = (smallest, largest);
    }
    for _ in 0..HALVINGS {
        let middle = low + (high - low) / 2.0;
        let reached = count_reaching(middle);
        if reached >= k {
            low = middle
        } else {
            high = middle
        }
        if reached >= k && reached - k <= k / TOLERANCE {
            break;
        }
    }
    low
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::Simd;

    #[test]
    fn set_bits_are_counted() {
        for simd in Simd::available() {
            assert_eq!(count_ones(simd, &[u64::MAX, 5, 0, 1 << 63]), 67, "{simd:?}");
        }
    }

    #[test]
    fn at_least_k_values_reach_the_threshold() {
        let values: Vec<f32> = (0..1000).map(|at| (at * 7919 % 1000) as f32).collect();
        for simd in Simd::available() {
            for k in [1, 20, 500, 1000] {
                let threshold = threshold_reached_by(simd, &values, k);
                let reached = values.iter().filter(|&&value| value >= threshold).count();
                assert!(reached >= k, "{simd:?}: {reached} of {k}");
                assert!(reached <= k + k / 32 + 1, "{simd:?}: {reached} of {k}");
            }
        }
    }

    #[test]
    fn fewer_values_than_k_have_no_threshold() {
        for simd in Simd::available() {
            assert_eq!(
                threshold_reached_by(simd, &[1.0, 2.0], 3),
                f32::NEG_INFINITY
            );
        }
    }
}
