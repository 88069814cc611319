//! A search for the weights with which a measure is highest.

/// Weights that are tried, as ratios to the largest.
const GRID: [f32; 12] = [
    0.0, 0.05, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.65, 0.8, 1.0, 1.25,
];
/// A member whose weight is 0 must raise the measure by this factor to get a weight: less is not
/// worth its cost.
const LEAST_GAIN: f64 = 1.001;
/// Most rounds, each of which goes through all weights.
const MOST_ROUNDS: usize = 4;

/// Finds the weights of `members` members, each 0 or more, for which `value` is highest, by
/// coordinate ascent from the best single member: one weight after the other goes through a grid,
/// until a round improves nothing. `None` if `value` is 0 or less for every single member.
pub(super) fn ascend(members: usize, value: impl Fn(&[f32]) -> f64) -> Option<Vec<f32>> {
    let single = |member: usize| -> Vec<f32> {
        (0..members)
            .map(|at| if at == member { 1.0 } else { 0.0 })
            .collect()
    };
    let values: Vec<f64> = (0..members).map(|member| value(&single(member))).collect();
    let first = (0..members)
        .max_by(|&a, &b| values[a].total_cmp(&values[b]).then(b.cmp(&a)))
        .unwrap_or(0);
    let (mut best, mut best_value) = (single(first), values[first]);
    if best_value <= 0.0 {
        return None;
    }
    for _ in 0..MOST_ROUNDS {
        let before = best_value;
        for member in 0..members {
            for ratio in GRID {
                let mut weights = best.clone();
                weights[member] = ratio;
                if weights.iter().all(|&weight| weight == 0.0) {
                    continue;
                }
                let tried = value(&weights);
                let least_gain = if best[member] == 0.0 { LEAST_GAIN } else { 1.0 };
                if tried > best_value * least_gain {
                    (best, best_value) = (weights, tried);
                }
            }
        }
        if best_value <= before {
            break;
        }
    }
    Some(best)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Is highest at weights 1 : 0.4 : 0.
    fn value(weights: &[f32]) -> f64 {
        let scale = weights.iter().copied().fold(f32::MIN_POSITIVE, f32::max);
        let distance = (weights[0] / scale - 1.0).powi(2)
            + (weights[1] / scale - 0.4).powi(2)
            + (weights[2] / scale).powi(2);
        f64::from(2.0 - distance)
    }

    #[test]
    fn the_ascent_finds_the_best_ratio() {
        let found = ascend(3, value).unwrap();
        assert!((found[1] / found[0] - 0.4).abs() < 0.11, "{found:?}");
    }

    #[test]
    fn a_member_that_does_not_help_gets_no_weight() {
        let found = ascend(3, value).unwrap();
        assert!(found[2] == 0.0, "{found:?}");
    }

    #[test]
    fn nothing_is_found_where_no_member_has_a_value() {
        assert_eq!(ascend(2, |_| 0.0), None);
    }
}
