//! Ranking metrics over the full catalogue, and confidence intervals for them.
//!
//! For a query with relevant items R and the answers a₁ … a_k, best first, rel_i = 1 if a_i ∈ R,
//! else 0:
//!
//! | metric | formula |
//! |---|---|
//! | recall@k | Σ rel_i / \|R\| |
//! | precision@k | Σ rel_i / k |
//! | hit_rate@k | 1 if any rel_i = 1 |
//! | ndcg@k | Σ rel_i / log₂(i + 1) ÷ Σ_{i ≤ min(k, \|R\|)} 1 / log₂(i + 1) |
//! | map@k | Σ rel_i · (Σ_{j ≤ i} rel_j) / i ÷ min(k, \|R\|) |
//! | mrr@k | 1 / i of the first rel_i = 1, else 0 |
//! | coverage@k | distinct items in all answers / candidates |
//! | gini@k | Σ_i Σ_j \|x_i − x_j\| / (2 n Σ x), x_i = how often candidate i of n is answered |
//! | diversity@k | mean over answers of the share of pairs whose categories differ |
//! | novelty@k | mean over answered items of −log₂(users of the item / users) |
//!
//! The first six are means over queries, and no negatives are sampled: a sample changes the order
//! of models (Krichene and Rendle, "On Sampled Metrics for Item Recommendation", KDD 2020). NDCG is
//! that of Järvelin and Kekäläinen, "Cumulated gain-based evaluation of IR techniques", ACM TOIS
//! 20, 2002. The Gini coefficient is 0 where all candidates are answered equally often, and near 1
//! where one item is answered alone. Diversity is the intra-list distance of Ziegler et al.,
//! "Improving Recommendation Lists Through Topic Diversification", WWW 2005, with categories that
//! are the same or not; it is absent where no category is known. Novelty is the mean
//! self-information of Zhou et al., "Solving the apparent diversity-accuracy dilemma of recommender
//! systems", PNAS 107, 2010.

use aisle_math::random::SplitMix;
use aisle_retrieval::top_k::Scored;
use rayon::prelude::*;
use std::collections::BTreeMap;

/// The metrics of one query, in the order of [`NAMES`], 0 to 1 each.
pub type PerQuery = [f64; 6];

/// The names of the metrics that are means over queries.
pub const NAMES: [&str; 6] = ["recall", "precision", "hit_rate", "ndcg", "map", "mrr"];

/// The place of NDCG in [`PerQuery`].
pub(crate) const NDCG: usize = 3;

/// The metrics of one answer (best first) against the relevant items (ascending); all 0 without
/// relevant items. O(k log |R|).
pub fn score(answers: &[u32], relevant: &[u32], k: usize) -> PerQuery {
    debug_assert!(relevant.is_sorted());
    if relevant.is_empty() || k == 0 {
        return [0.0; 6];
    }
    let discount = |rank: usize| 1.0 / ((rank + 2) as f64).log2();
    let (mut hits, mut gain, mut precisions, mut reciprocal_rank) = (0usize, 0.0, 0.0, 0.0);
    for (rank, item) in answers.iter().take(k).enumerate() {
        if relevant.binary_search(item).is_ok() {
            hits += 1;
            gain += discount(rank);
            precisions += hits as f64 / (rank + 1) as f64;
            if hits == 1 {
                reciprocal_rank = 1.0 / (rank + 1) as f64;
            }
        }
    }
    let most_hits = k.min(relevant.len());
    let ideal_gain: f64 = (0..most_hits).map(discount).sum();
    [
        hits as f64 / relevant.len() as f64,
        hits as f64 / k as f64,
        f64::from(u8::from(hits > 0)),
        gain / ideal_gain,
        precisions / most_hits as f64,
        reciprocal_rank,
    ]
}

/// The metrics of a set of queries.
#[derive(Clone, Debug)]
pub struct QueryMetrics {
    /// How many items of each answer count.
    pub k: usize,
    /// The metrics of each query.
    pub queries: Vec<PerQuery>,
    /// For each query its group, such as its shopper: intervals are drawn over whole groups.
    pub groups: Vec<u32>,
    /// Distinct items answered / candidates, 0 to 1.
    pub coverage: f64,
    /// Mean −log₂ of the share of users that an answered item has, in bits.
    pub novelty: f64,
    /// The Gini coefficient of how often candidates are answered, 0 to 1.
    pub gini: f64,
    /// The mean share of an answer's pairs that differ in category; `None` where no category is
    /// known or no answer has a pair.
    pub diversity: Option<f64>,
}

/// What coverage, inequality, diversity and novelty are measured against.
#[derive(Clone, Copy, Debug)]
pub struct Population<'a> {
    /// How many items could be answered.
    pub candidates: usize,
    /// For each item its users in the training data.
    pub item_users: &'a [u32],
    /// The users of the training data.
    pub users: usize,
    /// For each item the number of its category; empty = not known.
    pub categories: &'a [u32],
}

/// The Gini coefficient of how often items are shown. Those of `candidates` that are never shown
/// count as 0. O(n log n).
fn gini(mut shown: Vec<u32>, candidates: usize) -> f64 {
    shown.sort_unstable_by(|a, b| b.cmp(a));
    shown.resize(candidates, 0);
    let total: f64 = shown.iter().map(|&times| f64::from(times)).sum();
    if total == 0.0 {
        return 0.0;
    }
    let count = candidates as f64;
    // From the most shown down, place p of n has the weight n + 1 − 2 p.
    let weighted: f64 = shown
        .iter()
        .enumerate()
        .map(|(at, &times)| (count - 1.0 - 2.0 * at as f64) * f64::from(times))
        .sum();
    weighted / (count * total)
}

/// The mean over answers of the share of pairs whose categories differ; `None` where no category is
/// known or no answer has a pair.
fn diversity(answers: &[Vec<u32>], k: usize, categories: &[u32]) -> Option<f64> {
    if categories.is_empty() {
        return None;
    }
    let pairs_of = |items: usize| items * items.saturating_sub(1) / 2;
    let differing_share = |answer: &Vec<u32>| {
        let answer = &answer[..answer.len().min(k)];
        let mut by_category: BTreeMap<u32, usize> = BTreeMap::new();
        for &item in answer {
            *by_category.entry(categories[item as usize]).or_default() += 1;
        }
        let pairs = pairs_of(answer.len());
        let same: usize = by_category.values().map(|&items| pairs_of(items)).sum();
        (pairs > 0).then(|| (pairs - same) as f64 / pairs as f64)
    };
    let shares: Vec<f64> = answers.iter().filter_map(differing_share).collect();
    (!shares.is_empty()).then(|| shares.iter().sum::<f64>() / shares.len() as f64)
}

impl QueryMetrics {
    /// Measures the answer to each query (best first) against the query's relevant items
    /// (ascending). Each query is a group of its own. O(queries · k · log items).
    pub fn of(
        answers: &[Vec<Scored>],
        relevant: &[&[u32]],
        k: usize,
        population: Population,
    ) -> Self {
        let lists: Vec<Vec<u32>> = answers
            .iter()
            .map(|list| list.iter().map(|scored| scored.item).collect())
            .collect();
        let queries = lists
            .iter()
            .zip(relevant)
            .map(|(list, relevant)| score(list, relevant, k))
            .collect();
        let mut shown = vec![0u32; population.item_users.len()];
        let (mut information, mut answered) = (0.0, 0usize);
        for &item in lists.iter().flat_map(|list| list.iter().take(k)) {
            shown[item as usize] += 1;
            let share = f64::from(population.item_users[item as usize].max(1))
                / population.users.max(1) as f64;
            information -= share.min(1.0).log2();
            answered += 1;
        }
        Self {
            k,
            queries,
            groups: (0..answers.len() as u32).collect(),
            coverage: shown.iter().filter(|&&times| times > 0).count() as f64
                / population.candidates.max(1) as f64,
            novelty: information / answered.max(1) as f64,
            gini: gini(shown, population.candidates),
            diversity: diversity(&lists, k, population.categories),
        }
    }

    /// The same metrics with other groups, one for each query: the queries of one shopper resemble
    /// each other, so an interval over single queries would be too narrow.
    pub fn grouped(mut self, groups: Vec<u32>) -> Self {
        self.groups = groups;
        self
    }

    /// The values of one of [`NAMES`], query by query; `None` for another name.
    pub fn values(&self, name: &str) -> Option<Vec<f64>> {
        let at = NAMES.iter().position(|known| *known == name)?;
        Some(self.queries.iter().map(|query| query[at]).collect())
    }

    /// Every metric by its name and k, for example `ndcg@20`.
    pub fn means(&self) -> BTreeMap<String, f64> {
        let count = self.queries.len().max(1) as f64;
        let mut means: BTreeMap<String, f64> = NAMES
            .iter()
            .enumerate()
            .map(|(at, name)| {
                (
                    format!("{name}@{}", self.k),
                    self.queries.iter().map(|query| query[at]).sum::<f64>() / count,
                )
            })
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

/// How many resamples an interval is drawn from.
pub const RESAMPLES: usize = 1000;

/// The 95 % percentile bootstrap interval of the mean of `values`, as (low, high), drawing whole
/// groups with replacement (Efron and Tibshirani, "An Introduction to the Bootstrap", 1993,
/// chapters 8 and 13). `groups` holds the group of each value. For the interval of a paired
/// difference, pass the differences. The same input gives the same interval; (0, 0) without values.
/// O(resamples · groups).
pub fn interval(values: &[f64], groups: &[u32]) -> (f64, f64) {
    let mut by_group: BTreeMap<u32, (f64, f64)> = BTreeMap::new();
    for (&value, &group) in values.iter().zip(groups) {
        let (sum, count) = by_group.entry(group).or_default();
        *sum += value;
        *count += 1.0;
    }
    let sums_and_counts: Vec<(f64, f64)> = by_group.into_values().collect();
    if sums_and_counts.is_empty() {
        return (0.0, 0.0);
    }
    let mut means: Vec<f64> = (0..RESAMPLES as u64)
        .into_par_iter()
        .map(|resample| {
            let mut random =
                SplitMix(resample.wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ 0xD1B5_4A32_D192_ED03);
            let (mut total, mut total_count) = (0.0, 0.0);
            let groups = sums_and_counts.len();
            for _ in 0..groups {
                let drawn = ((u128::from(random.draw()) * groups as u128) >> 64) as usize;
                let (sum, count) = sums_and_counts[drawn];
                total += sum;
                total_count += count;
            }
            total / total_count
        })
        .collect();
    means.sort_by(f64::total_cmp);
    let percentile =
        |share: f64| means[((means.len() as f64 * share) as usize).min(means.len() - 1)];
    (percentile(0.025), percentile(0.975))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn per_query_metrics_follow_their_formulas() {
        // Hits at ranks 1 and 3 of 4; three relevant items.
        let [recall, precision, hit, ndcg, map, mrr] = score(&[7, 1, 9, 2], &[5, 7, 9], 4);
        let close = |a: f64, b: f64| assert!((a - b).abs() < 1e-12, "{a} {b}");
        close(recall, 2.0 / 3.0);
        close(precision, 0.5);
        close(hit, 1.0);
        close(ndcg, (1.0 + 0.5) / (1.0 + 1.0 / 3f64.log2() + 0.5));
        close(map, (1.0 + 2.0 / 3.0) / 3.0);
        close(mrr, 1.0);
    }

    #[test]
    fn an_answer_without_a_hit_scores_zero() {
        assert_eq!(score(&[1, 2], &[3], 2), [0.0; 6]);
    }

    #[test]
    fn the_ideal_answer_has_an_ndcg_of_one() {
        assert_eq!(score(&[3], &[3], 5)[NDCG], 1.0);
    }

    #[test]
    fn gini_measures_unequal_exposure() {
        assert!((gini(vec![5, 5, 5, 5], 4)).abs() < 1e-12);
        assert!((gini(vec![8, 0, 0, 0], 4) - 0.75).abs() < 1e-12);
        // (1, 3): Σ|differences| / (2 n² mean) = 4 / 16.
        assert!((gini(vec![1, 3], 2) - 0.25).abs() < 1e-12);
    }

    #[test]
    fn diversity_is_the_share_of_pairs_of_different_categories() {
        let lists = [vec![0, 1, 2], vec![0, 1], vec![3]];
        let found = diversity(&lists, 3, &[7, 7, 8, 9]).unwrap();
        assert!((found - (2.0 / 3.0 + 0.0) / 2.0).abs() < 1e-12, "{found}");
        assert_eq!(diversity(&lists, 3, &[]), None);
    }

    #[test]
    fn an_interval_holds_the_mean_and_has_the_expected_width() {
        let values: Vec<f64> = (0..400).map(|i| f64::from(i % 10)).collect();
        let groups: Vec<u32> = (0..400).collect();
        let (low, high) = interval(&values, &groups);
        assert!(low < 4.5 && 4.5 < high, "{low} {high}");
        // Deviation of the mean is 2.872 / 20; the interval is about 1.96 of it on each side.
        assert!(
            (high - low - 2.0 * 1.96 * 2.872 / 20.0).abs() < 0.1,
            "{low} {high}"
        );
    }

    #[test]
    fn equal_values_have_an_interval_of_no_width() {
        let groups: Vec<u32> = (0..50).collect();
        assert_eq!(interval(&[3.0; 50], &groups), (3.0, 3.0));
    }

    #[test]
    fn queries_of_one_group_widen_the_interval() {
        let values: Vec<f64> = (0..400).map(|i| f64::from(i / 100)).collect();
        let alone: Vec<u32> = (0..400).collect();
        let together: Vec<u32> = (0..400).map(|i| i / 100).collect();
        let width = |(low, high): (f64, f64)| high - low;
        assert!(width(interval(&values, &together)) > 3.0 * width(interval(&values, &alone)));
    }
}
