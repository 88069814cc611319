//! Ranking metrics over the full catalogue, and intervals for them.
//!
//! For a query with relevant items R and the first k answers a₁ … a_k, rel_i = 1 if a_i ∈ R, else 0:
//!
//! | metric | formula |
//! |---|---|
//! | recall@k | Σ rel_i / \|R\| |
//! | precision@k | Σ rel_i / k |
//! | hit_rate@k | 1 if any rel_i = 1 |
//! | ndcg@k | Σ rel_i / log₂(i + 1) ÷ Σ_{i ≤ min(k, \|R\|)} 1 / log₂(i + 1) |
//! | map@k | Σ rel_i · (Σ_{j ≤ i} rel_j) / i ÷ min(k, \|R\|) |
//! | mrr@k | 1 / i of the first rel_i = 1, else 0 |
//! | coverage@k | distinct items over all answers / items that could be answered |
//! | gini@k | inequality of how often each item that could be answered is answered: 0 = all alike, near 1 = one item only |
//! | diversity@k | mean share of pairs of an answer that are of different categories; absent where no category is known |
//! | novelty@k | mean over answers of −log₂(users of the item / users) |
//!
//! The first six are means over queries. No negatives are sampled.

use crate::top_k::Scored;
use aisle_data::SplitMix;
use rayon::prelude::*;
use std::collections::BTreeMap;

/// Metrics of one query, in the order of [`NAMES`].
pub type PerQuery = [f64; 6];

/// Names of the metrics that are means over queries.
pub const NAMES: [&str; 6] = ["recall", "precision", "hit_rate", "ndcg", "map", "mrr"];

/// The place of NDCG in [`PerQuery`].
pub(crate) const NDCG: usize = 3;

/// Scores one answer list (best first) against the relevant items (ascending). O(k log |R|).
pub fn score(answers: &[u32], relevant: &[u32], k: usize) -> PerQuery {
    debug_assert!(relevant.is_sorted());
    if relevant.is_empty() || k == 0 {
        return [0.0; 6];
    }
    let discount = |rank: usize| 1.0 / ((rank + 2) as f64).log2();
    let (mut hits, mut gain, mut precisions, mut first) = (0usize, 0.0, 0.0, 0.0);
    for (rank, item) in answers.iter().take(k).enumerate() {
        if relevant.binary_search(item).is_ok() {
            hits += 1;
            gain += discount(rank);
            precisions += hits as f64 / (rank + 1) as f64;
            if hits == 1 {
                first = 1.0 / (rank + 1) as f64;
            }
        }
    }
    let best = k.min(relevant.len());
    let ideal: f64 = (0..best).map(discount).sum();
    [
        hits as f64 / relevant.len() as f64,
        hits as f64 / k as f64,
        f64::from(u8::from(hits > 0)),
        gain / ideal,
        precisions / best as f64,
        first,
    ]
}

/// All metrics of a run.
#[derive(Clone, Debug)]
pub struct Measured {
    /// Cut-off.
    pub k: usize,
    /// One row a query.
    pub queries: Vec<PerQuery>,
    /// Who asked each query: intervals are drawn over these groups.
    pub groups: Vec<u32>,
    /// Distinct items answered / items that could be.
    pub coverage: f64,
    /// Mean −log₂ popularity of the answers.
    pub novelty: f64,
    /// Gini coefficient of the exposure of items.
    pub gini: f64,
    /// Mean share of an answer's pairs that differ in category; `None` without categories.
    pub diversity: Option<f64>,
}

/// What coverage and novelty are measured against.
#[derive(Clone, Copy, Debug)]
pub struct Population<'a> {
    /// Items that could be answered.
    pub candidates: usize,
    /// Users of each item in the training data.
    pub item_users: &'a [u32],
    /// Users of the training data.
    pub users: usize,
    /// Category number of each item; empty = unknown.
    pub categories: &'a [u32],
}

/// Gini coefficient of how often items are shown, those of `candidates` that are never shown counted as 0. O(n log n).
fn gini(mut shown: Vec<u32>, candidates: usize) -> f64 {
    shown.sort_unstable_by(|a, b| b.cmp(a));
    shown.resize(candidates, 0);
    let total: f64 = shown.iter().map(|&times| f64::from(times)).sum();
    if total == 0.0 {
        return 0.0;
    }
    let count = candidates as f64;
    // From the most shown down: place p of n weighs n + 1 − 2 p.
    let weighed: f64 = shown.iter().enumerate().map(|(at, &times)| (count - 1.0 - 2.0 * at as f64) * f64::from(times)).sum();
    weighed / (count * total)
}

fn diversity(lists: &[Vec<u32>], k: usize, categories: &[u32]) -> Option<f64> {
    if categories.is_empty() {
        return None;
    }
    let different = |list: &Vec<u32>| {
        let list = &list[..list.len().min(k)];
        let pairs = list.len() * list.len().saturating_sub(1) / 2;
        let mut tally: BTreeMap<u32, usize> = BTreeMap::new();
        list.iter().for_each(|&item| *tally.entry(categories[item as usize]).or_default() += 1);
        let alike: usize = tally.values().map(|&count| count * (count - 1) / 2).sum();
        (pairs > 0).then(|| (pairs - alike) as f64 / pairs as f64)
    };
    let each: Vec<f64> = lists.iter().filter_map(different).collect();
    (!each.is_empty()).then(|| each.iter().sum::<f64>() / each.len() as f64)
}

impl Measured {
    /// Measures answer lists against relevant items, query by query.
    pub fn of(answers: &[Vec<Scored>], relevant: &[&[u32]], k: usize, population: Population) -> Self {
        let lists: Vec<Vec<u32>> = answers.iter().map(|list| list.iter().map(|scored| scored.item).collect()).collect();
        let queries = lists.iter().zip(relevant).map(|(list, relevant)| score(list, relevant, k)).collect();
        let mut shown = vec![0u32; population.item_users.len()];
        let (mut surprise, mut answered) = (0.0, 0usize);
        for &item in lists.iter().flat_map(|list| list.iter().take(k)) {
            shown[item as usize] += 1;
            let share = f64::from(population.item_users[item as usize].max(1)) / population.users.max(1) as f64;
            surprise -= share.min(1.0).log2();
            answered += 1;
        }
        Self {
            k,
            queries,
            groups: (0..answers.len() as u32).collect(),
            coverage: shown.iter().filter(|&&times| times > 0).count() as f64 / population.candidates.max(1) as f64,
            novelty: surprise / answered.max(1) as f64,
            gini: gini(shown, population.candidates),
            diversity: diversity(&lists, k, population.categories),
        }
    }

    /// The same with queries grouped by shopper, for intervals that respect that a shopper's queries resemble each other.
    pub fn grouped(mut self, groups: Vec<u32>) -> Self {
        self.groups = groups;
        self
    }

    /// The values of one per-query metric.
    pub fn values(&self, name: &str) -> Option<Vec<f64>> {
        let at = NAMES.iter().position(|known| *known == name)?;
        Some(self.queries.iter().map(|query| query[at]).collect())
    }

    /// Every metric by its name with the cut-off, for example `ndcg@20`.
    pub fn means(&self) -> BTreeMap<String, f64> {
        let count = self.queries.len().max(1) as f64;
        let mut means: BTreeMap<String, f64> = NAMES
            .iter()
            .enumerate()
            .map(|(at, name)| (format!("{name}@{}", self.k), self.queries.iter().map(|query| query[at]).sum::<f64>() / count))
            .collect();
        means.insert(format!("coverage@{}", self.k), self.coverage);
        means.insert(format!("novelty@{}", self.k), self.novelty);
        means.insert(format!("gini@{}", self.k), self.gini);
        if let Some(diversity) = self.diversity {
            means.insert(format!("diversity@{}", self.k), diversity);
        }
        means
    }
}

/// Resamples that an interval is drawn from.
pub const RESAMPLES: usize = 1000;

/// The 95 % percentile bootstrap interval of the mean of `values`, drawing whole groups with replacement (Efron and
/// Tibshirani, "An Introduction to the Bootstrap", 1993, chapters 8 and 13). For a paired difference pass the differences.
/// The same input gives the same interval. O(resamples · groups).
pub fn interval(values: &[f64], groups: &[u32]) -> (f64, f64) {
    let mut sums: BTreeMap<u32, (f64, f64)> = BTreeMap::new();
    for (&value, &group) in values.iter().zip(groups) {
        let sum = sums.entry(group).or_default();
        sum.0 += value;
        sum.1 += 1.0;
    }
    let sums: Vec<(f64, f64)> = sums.into_values().collect();
    if sums.is_empty() {
        return (0.0, 0.0);
    }
    let mut means: Vec<f64> = (0..RESAMPLES as u64)
        .into_par_iter()
        .map(|resample| {
            let mut random = SplitMix(resample.wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ 0xD1B5_4A32_D192_ED03);
            let (mut total, mut count) = (0.0, 0.0);
            for _ in 0..sums.len() {
                let draw = ((u128::from(random.draw()) * sums.len() as u128) >> 64) as usize;
                total += sums[draw].0;
                count += sums[draw].1;
            }
            total / count
        })
        .collect();
    means.sort_by(f64::total_cmp);
    let at = |share: f64| means[((means.len() as f64 * share) as usize).min(means.len() - 1)];
    (at(0.025), at(0.975))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hand_made_example() {
        // Hits at ranks 1 and 3 of 4; three relevant items.
        let [recall, precision, hit, ndcg, map, mrr] = score(&[7, 1, 9, 2], &[5, 7, 9], 4);
        let close = |a: f64, b: f64| assert!((a - b).abs() < 1e-12, "{a} {b}");
        close(recall, 2.0 / 3.0);
        close(precision, 0.5);
        close(hit, 1.0);
        close(ndcg, (1.0 + 0.5) / (1.0 + 1.0 / 3f64.log2() + 0.5));
        close(map, (1.0 + 2.0 / 3.0) / 3.0);
        close(mrr, 1.0);
        assert_eq!(score(&[1, 2], &[3], 2), [0.0; 6]);
        assert_eq!(score(&[3], &[3], 5)[3], 1.0);
    }

    #[test]
    fn exposure_and_variety() {
        assert!((gini(vec![5, 5, 5, 5], 4)).abs() < 1e-12);
        assert!((gini(vec![8, 0, 0, 0], 4) - 0.75).abs() < 1e-12);
        // (1, 3): Σ|differences| / (2 n² mean) = 4 / 16.
        assert!((gini(vec![1, 3], 2) - 0.25).abs() < 1e-12);
        let lists = [vec![0, 1, 2], vec![0, 1], vec![3]];
        let found = diversity(&lists, 3, &[7, 7, 8, 9]).unwrap();
        assert!((found - (2.0 / 3.0 + 0.0) / 2.0).abs() < 1e-12, "{found}");
        assert_eq!(diversity(&lists, 3, &[]), None);
    }

    #[test]
    fn the_interval_holds_the_mean_and_knows_certainty() {
        let values: Vec<f64> = (0..400).map(|i| f64::from(i % 10)).collect();
        let groups: Vec<u32> = (0..400).collect();
        let (low, high) = interval(&values, &groups);
        assert!(low < 4.5 && 4.5 < high, "{low} {high}");
        // Deviation of the mean is 2.872 / 20; the interval is about 1.96 of it on each side.
        assert!((high - low - 2.0 * 1.96 * 2.872 / 20.0).abs() < 0.1, "{low} {high}");
        assert_eq!(interval(&[3.0; 50], &groups[..50]), (3.0, 3.0));
    }

    #[test]
    fn queries_of_one_shopper_count_as_one_witness() {
        let values: Vec<f64> = (0..400).map(|i| f64::from(i / 100)).collect();
        let alone: Vec<u32> = (0..400).collect();
        let together: Vec<u32> = (0..400).map(|i| i / 100).collect();
        let width = |(low, high): (f64, f64)| high - low;
        assert!(width(interval(&values, &together)) > 3.0 * width(interval(&values, &alone)));
    }
}
