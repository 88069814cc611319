//! Counts the steps of shoppers to higher-priced items of the same category.

use crate::algorithms::neighbours::Neighbours;
use crate::algorithms::recommend::{Fit, Progress, Training, check_range};
use crate::error::Result;
use crate::tasks::upsell::features::initial_weights;
use crate::tasks::upsell::{Upsell, UpsellModel, check_band};
use aisle_data::{Catalog, EventRole, NONE};
use aisle_retrieval::top_k::{Scored, TopK};
use rayon::prelude::*;

/// How many later events of a shopper in the category are looked at for steps from an item: a later
/// event is no longer a consequence of it.
const MAX_LATER_EVENTS: usize = 200;
/// The mean of all steps counts as much as this many shoppers in a category's usual price ratio.
const PRIOR_SHOPPERS: f32 = 20.0;
/// ln of the usual price ratio if there are no steps at all.
const DEFAULT_LOG_RATIO: f32 = 0.3;

/// An event of a shopper in a category. The order puts a shopper's events in one category side by
/// side, by time.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct CategoryEvent {
    user: u32,
    category: u32,
    time: i64,
    item: u32,
}

/// A step of one shopper. The order puts the steps between two items side by side.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Step {
    from: u32,
    to: u32,
    user: u32,
}

impl Fit for Upsell {
    type Model = UpsellModel;

    /// O(Σ over shoppers of pairs of events in the same category).
    fn fit(&self, training: &Training, progress: &dyn Progress) -> Result<UpsellModel> {
        check_band(self.min_ratio, self.max_ratio)?;
        check_range("learn_days", self.learn_days, 0.0..=3650.0)?;
        let catalog = training.catalog;
        let category = catalog.category_codes(0);
        let steps = find_steps(training, &category);
        let mut rows: Vec<Vec<Scored>> = (0..catalog.len()).map(|_| Vec::new()).collect();
        for from_item in steps.chunk_by(|a, b| a.from == b.from) {
            let mut top = TopK::new(self.neighbours);
            for between in from_item.chunk_by(|a, b| a.to == b.to) {
                top.offer(between[0].to, between.len() as f32);
            }
            rows[from_item[0].from as usize] = top.into_sorted();
        }
        progress.step("upsell", 1, 1);
        let usual_log_ratios = usual_log_ratios(&rows, catalog, &category);
        Ok(UpsellModel {
            steps: Neighbours::from_rows(rows),
            settings: self.clone(),
            usual_log_ratios: usual_log_ratios.into(),
            weights: initial_weights().into(),
        })
    }
}

/// The distinct steps of known shoppers, ascending: from each event to each later one with a
/// higher-priced item of the same category. Returns are left out.
fn find_steps(training: &Training, category: &[u32]) -> Vec<Step> {
    let log = training.log;
    let mut events: Vec<CategoryEvent> = (0..log.len())
        .into_par_iter()
        .filter(|&event| log.type_of(event).role != EventRole::Return && log.user_of(event) != NONE)
        .map(|event| CategoryEvent {
            user: log.user_of(event),
            category: category[log.item[event] as usize],
            time: log.time_of(event),
            item: log.item[event],
        })
        .filter(|event| event.category != NONE)
        .collect();
    events.par_sort_unstable();
    let price = |item: u32| training.catalog.price[item as usize];
    let is_step = move |from: &CategoryEvent, to: &CategoryEvent| {
        to.time > from.time && price(to.item) > price(from.item)
    };
    let mut steps: Vec<Step> = events
        .par_chunk_by(|a, b| (a.user, a.category) == (b.user, b.category))
        .flat_map_iter(|events| {
            events.iter().enumerate().flat_map(move |(at, from)| {
                let later = events[at + 1..].iter().take(MAX_LATER_EVENTS);
                later.filter(move |to| is_step(from, to)).map(|to| Step {
                    from: from.item,
                    to: to.item,
                    user: from.user,
                })
            })
        })
        .collect();
    steps.par_sort_unstable();
    steps.dedup();
    steps
}

/// For each item ln of the mean price ratio of its category's steps, drawn to the mean of all
/// steps. O(steps).
fn usual_log_ratios(rows: &[Vec<Scored>], catalog: &Catalog, category: &[u32]) -> Vec<f32> {
    let known = category.iter().filter(|&&code| code != NONE);
    let categories = known.max().map_or(0, |&code| code as usize + 1);
    // Σ shoppers · ln ratio, and Σ shoppers.
    let mut by_category: Vec<(f32, f32)> = vec![(0.0, 0.0); categories];
    let (mut total, mut shoppers) = (0f64, 0f64);
    for (from, row) in rows.iter().enumerate() {
        let Some((category_total, category_shoppers)) =
            by_category.get_mut(category[from] as usize)
        else {
            continue;
        };
        for step in row {
            let log_ratio = (catalog.price[step.item as usize] / catalog.price[from]).ln();
            if log_ratio.is_finite() {
                *category_total += step.score * log_ratio;
                *category_shoppers += step.score;
                total += f64::from(step.score * log_ratio);
                shoppers += f64::from(step.score);
            }
        }
    }
    let mean = if shoppers > 0.0 {
        (total / shoppers) as f32
    } else {
        DEFAULT_LOG_RATIO
    };
    let usual = |&code: &u32| {
        by_category
            .get(code as usize)
            .map_or(mean, |(category_total, category_shoppers)| {
                (category_total + PRIOR_SHOPPERS * mean) / (category_shoppers + PRIOR_SHOPPERS)
            })
    };
    category.iter().map(usual).collect()
}
