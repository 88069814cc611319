//! Best sellers: the time-decayed number of purchases of each item.
//!
//! Every answer that no better model can give falls back to them.

use crate::algorithms::recommend::{Fit, History, Progress, Recommend, Training};
use crate::error::{ModelError, Result};
use crate::weights::{Tensor, Weights};
use aisle_data::{EventRole, NONE, day_number};
use aisle_math::array::Array;
use aisle_retrieval::index::{Eligible, SearchBuffer};
use aisle_retrieval::top_k::TopK;
use serde::{Deserialize, Serialize};

/// Hyperparameters of best sellers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Popular {
    /// Days after which a purchase counts half; 0 lets it count in full for ever.
    pub half_life_days: f32,
}

impl Default for Popular {
    fn default() -> Self {
        Self {
            half_life_days: 90.0,
        }
    }
}

impl Fit for Popular {
    type Model = PopularModel;

    /// score(j) = Σ over purchases of j of 2^(−age / half-life). Of the purchases that a shopper
    /// (or an order without a shopper) makes of an item on one day only one counts, so that a
    /// wholesale order does not make a best seller. In a log without purchases every event counts,
    /// except returns. O(events log events).
    fn fit(&self, training: &Training, progress: &dyn Progress) -> Result<PopularModel> {
        if !(self.half_life_days.is_finite() && self.half_life_days >= 0.0) {
            return Err(ModelError::Hyperparameter {
                name: "half_life_days".into(),
                found: self.half_life_days.to_string(),
                expected: "a number of days, 0 = never".into(),
            });
        }
        let log = training.log;
        let has_purchases = log.has_purchases();
        let latest = log.span().map_or(0, |(_, last)| last);
        let mut sales: Vec<(u32, i64, u32, u32)> = (0..log.len())
            .filter(|&event| match log.type_of(event).role {
                EventRole::Purchase => true,
                EventRole::Return => false,
                _ => !has_purchases,
            })
            .map(|event| {
                let user = log.user_of(event);
                let order = if user == NONE { log.order_of(event) } else { 0 };
                (log.item[event], day_number(log.time_of(event)), user, order)
            })
            .collect();
        sales.sort_unstable();
        sales.dedup();
        let mut scores = vec![0f64; log.items.len()];
        for (item, day, _, _) in sales {
            let age = (day_number(latest) - day) as f64;
            let fades = self.half_life_days > 0.0 && !log.time.is_empty();
            scores[item as usize] += if fades {
                (-age / f64::from(self.half_life_days)).exp2()
            } else {
                1.0
            };
        }
        progress.step("popular", 1, 1);
        let items = scores.len();
        Ok(PopularModel::new(
            scores
                .into_iter()
                .map(|score| score as f32)
                .collect::<Vec<_>>()
                .into(),
            items,
        ))
    }
}

/// The time-decayed sales of all items.
pub struct PopularModel {
    /// Time-decayed number of purchases of each item.
    scores: Array<f32>,
    /// Items by descending score.
    ranking: Vec<u32>,
    /// Standard deviation of the scores of the items that the model was fitted to.
    deviation: f32,
}

impl PopularModel {
    /// Ranks the items; the model was fitted to the first `fitted` of them.
    fn new(scores: Array<f32>, fitted: usize) -> Self {
        let mut ranking: Vec<u32> = (0..scores.len() as u32).collect();
        ranking.sort_by(|&a, &b| {
            scores[b as usize]
                .total_cmp(&scores[a as usize])
                .then(a.cmp(&b))
        });
        let count = fitted.max(1) as f64;
        let mean = scores[..fitted]
            .iter()
            .map(|&score| f64::from(score))
            .sum::<f64>()
            / count;
        let variance = scores[..fitted]
            .iter()
            .map(|&score| (f64::from(score) - mean).powi(2))
            .sum::<f64>()
            / count;
        Self {
            scores,
            ranking,
            deviation: variance.sqrt() as f32,
        }
    }

    /// Takes the array of a version.
    pub(crate) fn load(items: usize, weights: &mut Weights) -> Result<Self> {
        let learned = weights.learned(items);
        Ok(Self::new(weights.reals("popular.scores", items)?, learned))
    }

    /// Returns the time-decayed number of purchases of an item; 0 for an unknown one.
    pub fn sales(&self, item: u32) -> f32 {
        self.scores.get(item as usize).copied().unwrap_or(0.0)
    }

    /// Returns all eligible items by descending sales, those that never sold at the end.
    pub fn ranked<'a>(&'a self, eligible: Eligible<'a>) -> impl Iterator<Item = u32> + 'a {
        self.ranking
            .iter()
            .copied()
            .filter(move |&item| eligible.contains(item))
    }
}

impl Recommend for PopularModel {
    fn algorithm(&self) -> &'static str {
        "popular"
    }

    fn recommend(&self, _: History, k: usize, eligible: Eligible, buffer: &mut SearchBuffer) {
        let mut top = TopK::new(k);
        for item in self.ranked(eligible).take(k) {
            top.offer(item, self.sales(item));
        }
        top.drain_into(&mut buffer.items);
    }

    /// Finds nothing: sales do not say which items are similar.
    fn similar_items(&self, _: u32, _: usize, _: Eligible, buffer: &mut SearchBuffer) {
        buffer.items.clear();
    }

    fn has_similarity(&self) -> bool {
        false
    }

    fn similarity(&self, _: u32, _: u32) -> f32 {
        0.0
    }

    fn score(&self, _: History, items: &[u32]) -> Vec<Option<f32>> {
        items.iter().map(|&item| Some(self.sales(item))).collect()
    }

    fn score_deviation(&self, _: History) -> f32 {
        self.deviation
    }

    fn tensors(&self) -> Vec<Tensor<'_>> {
        vec![Tensor::f32(
            "popular.scores",
            &[self.scores.len()],
            &self.scores,
        )]
    }
}
