//! Adds cold items to a fitted model, and scales their scores to their share of the answers.

use crate::algorithms::cold_start::cold_items::ColdStart;
use crate::algorithms::cold_start::hyperparameters::Content;
use crate::algorithms::recommend::{ColdItems, History, Recommend, Training};
use crate::error::Result;
use aisle_data::{EventLog, days_to_millis};
use aisle_retrieval::bitmap::Bitmap;
use aisle_retrieval::index::Eligible;
use aisle_retrieval::top_k::Scored;

/// Most shoppers whose answers decide how much cold items are scaled down.
const MOST_SHOPPERS: usize = 500;
/// Most items in the answer to each of them.
const MOST_ANSWERS: usize = 20;
/// Smallest scale: cold items must stay in order among themselves.
const SMALLEST_SCALE: f32 = 0.01;

/// How many cold items were added to a model, and how they were scaled.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ColdStartSummary {
    /// Number of cold items that the model can recommend.
    pub items: usize,
    /// What their scores were multiplied by, at most 1.
    pub scale: f32,
}

impl Content {
    /// Adds cold items to a fitted model: items that it learned nothing about, and that appear in
    /// `log`, the log that the training data were cleaned from, for the first time in its last
    /// days, or not at all.
    ///
    /// # Errors
    /// The same as [`Content::validate`].
    pub fn add_cold_items(
        &self,
        training: &Training,
        log: &EventLog,
        model: &mut dyn Recommend,
    ) -> Result<ColdStartSummary> {
        self.validate()?;
        let by_item = &training.interactions.by_item;
        let established = established_items(log, self.days);
        let users = |item: u32| by_item.columns(item as usize).len();
        let fresh = |item: u32| !established.contains(item);
        let Some(cold_start) = ColdStart::of(self, training.catalog, &users, &fresh) else {
            return Ok(ColdStartSummary {
                items: 0,
                scale: 1.0,
            });
        };
        let by_user = &training.interactions.by_user;
        let history = |row: usize| {
            let (items, values) = by_user.row(row);
            History {
                items,
                values,
                user: (!training.interactions.rows_are_orders).then_some(row as u32),
            }
        };
        let histories: Vec<History> = (0..by_user.rows())
            .map(history)
            .filter(|history| !history.items.is_empty())
            .collect();
        let scale = cold_start.enter(&histories, (training.interactions.items(), 1.0), model);
        Ok(ColdStartSummary {
            items: cold_start
                .items()
                .iter()
                .filter(|&&item| model.knows_cold_item(item))
                .count(),
            scale,
        })
    }
}

/// Returns the items that appear in a log before its last `days` days.
fn established_items(log: &EventLog, days: f32) -> Bitmap {
    let first_fresh = log
        .span()
        .map_or(i64::MAX, |(_, last)| last - days_to_millis(f64::from(days)));
    let mut established = Bitmap::filled(log.items.len(), false);
    (0..log.len())
        .filter(|&event| log.time_of(event) < first_fresh)
        .for_each(|event| established.insert(log.item[event]));
    established
}

impl ColdStart<'_> {
    /// Adds the cold items to a model of `items` items, and scales their scores until they take no
    /// more than their share of the answers to `histories`, but at least by `largest_scale`.
    /// Returns the scale.
    pub(crate) fn enter(
        &self,
        histories: &[History],
        (items, largest_scale): (usize, f32),
        model: &mut dyn Recommend,
    ) -> f32 {
        model.add_cold_items(self);
        let scale = self.scale(histories, items, model).min(largest_scale);
        if scale < 1.0 {
            model.scale_cold_scores(scale);
        }
        scale
    }

    /// Returns what the scores of cold items must be multiplied by, at most 1, so that they take no
    /// more than their share of the answers to a sample of histories.
    fn scale(&self, histories: &[History], items: usize, model: &dyn Recommend) -> f32 {
        let step = histories.len().div_ceil(MOST_SHOPPERS).max(1);
        let histories: Vec<History> = histories.iter().copied().step_by(step).collect();
        let k = (self.known().len() / 10).clamp(1, MOST_ANSWERS);
        let answers = |among: &[u32]| -> Vec<Vec<Scored>> {
            let allowed = Bitmap::of(items, |item| among.binary_search(&item).is_ok());
            let eligible: Vec<Eligible> = histories
                .iter()
                .map(|history| Eligible::without(&allowed, history.items))
                .collect();
            model.recommend_batch(&histories, k, &eligible)
        };
        // The n-th best cold item is among the k best of all once its score, scaled, is above that
        // of the (k − n + 1)-th best known item.
        let mut entry_scales: Vec<f32> = Vec::new();
        for (known, cold) in answers(self.known()).iter().zip(answers(self.items())) {
            for (rank, cold) in cold.iter().enumerate().filter(|(_, cold)| cold.score > 0.0) {
                let rival = known.get(k - 1 - rank).map_or(0.0, |known| known.score);
                entry_scales.push((rival / cold.score).max(0.0));
            }
        }
        let admitted = (self.share() * (k * histories.len()) as f32) as usize;
        entry_scales.sort_by(f32::total_cmp);
        entry_scales
            .get(admitted)
            .map_or(1.0, |&scale| scale.clamp(SMALLEST_SCALE, 1.0))
    }
}
