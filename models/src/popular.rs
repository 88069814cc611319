//! What sells: the time-decayed number of purchases of each item, and the last rung of every ladder.

use crate::index::{Eligible, Found};
use crate::recommend::{Fit, History, Recommend, Training, Watch};
use crate::top_k::TopK;
use crate::weights::{Array, Tensor, Weights};
use crate::{ModelError, Result};
use aisle_data::EventRole;
use serde::{Deserialize, Serialize};

/// Hyperparameters.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Popular {
    /// After so many days a purchase counts half; 0 = it never fades.
    pub half_life_days: f32,
}

impl Default for Popular {
    fn default() -> Self {
        Self { half_life_days: 90.0 }
    }
}

impl Fit for Popular {
    type Model = PopularModel;

    /// score(j) = Σ over purchases of j of 2^(−age / half-life), a shopper's or order's first on each day only, so that
    /// one wholesale order does not make a bestseller. In a log without purchases every event but returns counts. O(events log events).
    fn fit(&self, training: &Training, watch: &dyn Watch) -> Result<PopularModel> {
        if !(self.half_life_days.is_finite() && self.half_life_days >= 0.0) {
            let (name, found) = ("half_life_days".into(), self.half_life_days.to_string());
            return Err(ModelError::Hyperparameter { name, found, expected: "a number of days, 0 = never".into() });
        }
        let log = training.log;
        let bought = log.has_purchases();
        let latest = log.span().map_or(0, |(_, last)| last);
        let mut sales: Vec<(u32, i64, u32, u32)> = (0..log.len())
            .filter(|&event| match log.type_of(event).role {
                EventRole::Purchase => true,
                EventRole::Return => false,
                _ => !bought,
            })
            .map(|event| {
                let user = log.user_of(event);
                let order = if user == aisle_data::NONE { log.order_of(event) } else { 0 };
                (log.item[event], log.time_of(event).div_euclid(86_400_000), user, order)
            })
            .collect();
        sales.sort_unstable();
        sales.dedup();
        let mut scores = vec![0f64; log.items.len()];
        for (item, day, _, _) in sales {
            let age = (latest.div_euclid(86_400_000) - day) as f64;
            let fades = self.half_life_days > 0.0 && !log.time.is_empty();
            scores[item as usize] += if fades { (-age / f64::from(self.half_life_days)).exp2() } else { 1.0 };
        }
        watch.step("popular", 1, 1);
        let items = scores.len();
        Ok(PopularModel::new(scores.into_iter().map(|score| score as f32).collect::<Vec<_>>().into(), items))
    }
}

/// Items by what they sold.
pub struct PopularModel {
    scores: Array<f32>,
    /// Items by descending score.
    ranking: Vec<u32>,
    /// Of the scores over all items.
    deviation: f32,
}

impl PopularModel {
    /// Fitted to the first so many items.
    fn new(scores: Array<f32>, fitted: usize) -> Self {
        let mut ranking: Vec<u32> = (0..scores.len() as u32).collect();
        ranking.sort_by(|&a, &b| scores[b as usize].total_cmp(&scores[a as usize]).then(a.cmp(&b)));
        let count = fitted.max(1) as f64;
        let mean = scores[..fitted].iter().map(|&score| f64::from(score)).sum::<f64>() / count;
        let variance = scores[..fitted].iter().map(|&score| (f64::from(score) - mean).powi(2)).sum::<f64>() / count;
        Self { scores, ranking, deviation: variance.sqrt() as f32 }
    }

    pub(crate) fn load(items: usize, weights: &mut Weights) -> Result<Self> {
        let learned = weights.learned(items);
        Ok(Self::new(weights.reals("popular.scores", items)?, learned))
    }

    /// The decayed sales of an item.
    pub fn sales(&self, item: u32) -> f32 {
        self.scores.get(item as usize).copied().unwrap_or(0.0)
    }

    /// Eligible items by descending sales, those that never sold last: every eligible item is in it.
    pub fn ranked<'a>(&'a self, eligible: Eligible<'a>) -> impl Iterator<Item = u32> + 'a {
        self.ranking.iter().copied().filter(move |&item| eligible.contains(item))
    }
}

impl Recommend for PopularModel {
    fn algorithm(&self) -> &'static str {
        "popular"
    }

    fn recommend(&self, _: History, k: usize, eligible: Eligible, found: &mut Found) {
        let mut top = TopK::new(k);
        for item in self.ranked(eligible).take(k) {
            top.offer(item, self.sales(item));
        }
        top.drain_into(&mut found.items);
    }

    fn similar_items(&self, _: u32, k: usize, eligible: Eligible, found: &mut Found) {
        self.recommend(History::default(), k, eligible, found);
    }

    fn similarity(&self, _: u32, _: u32) -> f32 {
        0.0
    }

    fn score(&self, _: History, items: &[u32]) -> Vec<Option<f32>> {
        items.iter().map(|&item| Some(self.sales(item))).collect()
    }

    fn deviation(&self, _: History) -> f32 {
        self.deviation
    }

    fn tensors(&self) -> Vec<Tensor<'_>> {
        vec![Tensor::f32("popular.scores", &[self.scores.len()], &self.scores)]
    }
}
