//! `aisle-train evaluate`: how good a model is on what it has not seen, beside the baselines that
//! it must beat.
//!
//! In: a [`TrainTestSplit`] and settings. Out: an [`Evaluation`], which `report.rs` writes as text
//! and JSON and `html.rs` as a page. Every task ranks the full catalogue, without sampled
//! negatives. Each task is one file, and the doc of its function states the protocol. A new task is
//! a variant of [`Task`], a file beside the others that asks its methods through `compare.rs`, and
//! an arm of `cli/evaluate.rs`.

mod buy_again;
mod calibration;
mod cold;
mod compare;
mod context;
mod cross_sell;
mod html;
mod personal;
mod pool;
mod relations;
mod report;
mod rules;
mod session;
mod slices;
mod upsell;

pub use buy_again::buy_again;
pub use cold::cold;
pub use context::context;
pub use cross_sell::{CrossSellOptions, HeldOutLines, TargetKind, cross_sell};
pub use personal::{PersonalOptions, personal, personal_alone};
pub use relations::relations;
pub use rules::{read as read_rules, rules};
pub use session::session;
pub use upsell::upsell;

use aisle_data::{Dataset, EventLog, EventRole, IdMap, Interactions};
use aisle_models::metrics::{QueryMetrics, interval};
use clap::ValueEnum;
use compare::row_or_beyond;
use serde_json::Value;
use std::collections::BTreeMap;

/// What is measured.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Task {
    /// What a shopper chooses next, that is new to them.
    #[default]
    Personal,
    /// The missing line of an order, from another category than the rest.
    CrossSell,
    /// The higher-priced item of the same category that a shopper stepped up to.
    Upsell,
    /// The next click of a visit.
    Session,
    /// What a shopper buys again.
    BuyAgain,
    /// What is bought in a given context (device, place, time of day), by whomever.
    Context,
    /// Complements told from substitutes, against known pairs; needs --relations.
    Relations,
    /// Which new product suits whom, by its content: a tenth of the items is hidden from training.
    Cold,
}

/// What models learn from, and what they are measured on.
pub struct TrainTestSplit {
    /// The data that models learn from.
    pub train: Dataset,
    /// The events that models are measured on. Its user and item rows are its own, not those of
    /// `train`.
    pub test: EventLog,
    /// How the two were split, for the headline.
    pub description: String,
}

/// One measured method: a model or a baseline.
pub struct MethodResult {
    /// Its name in tables and JSON.
    pub name: String,
    /// Its hyperparameters; null for a method without any.
    pub params: Value,
    /// The metrics of every question.
    pub measured: QueryMetrics,
    /// The means over parts of the questions.
    pub slices: Vec<SliceResult>,
    /// Seconds to fit.
    pub fit_seconds: f64,
    /// Seconds of one iteration; `None` for a method that does not iterate.
    pub epoch_seconds: Option<f64>,
    /// Seconds to answer all questions and to measure the answers.
    pub evaluate_seconds: f64,
}

/// The means over one slice of the questions.
#[derive(Clone, Debug)]
pub struct SliceResult {
    /// Name of the slice.
    pub slice: String,
    /// How many questions are in it.
    pub questions: usize,
    /// Mean recall at the cut-off, 0 to 1.
    pub recall: f64,
    /// Mean NDCG at the cut-off, 0 to 1.
    pub ndcg: f64,
}

/// How much the methods learned from.
#[derive(Clone, Copy, Debug)]
pub struct TrainingSize {
    /// Rows of the matrix: shoppers, or orders for tasks about orders.
    pub users: usize,
    /// Items that can be answered.
    pub items: usize,
    /// Cells of the matrix.
    pub interactions: usize,
}

/// A property that every answer should have, and how many have it.
#[derive(Clone, Debug)]
pub struct Check {
    /// The property.
    pub name: String,
    /// How many have it.
    pub good: usize,
    /// How many were looked at.
    pub all: usize,
}

impl Check {
    fn new(name: impl Into<String>, good: usize, all: usize) -> Self {
        Self {
            name: name.into(),
            good,
            all,
        }
    }
}

/// A number beside the metrics, for example a calibration error.
#[derive(Clone, Debug)]
pub struct Figure {
    /// What it measures.
    pub name: String,
    /// Its value.
    pub value: f64,
}

impl Figure {
    fn new(name: impl Into<String>, value: f64) -> Self {
        Self {
            name: name.into(),
            value,
        }
    }
}

/// A finished evaluation.
pub struct Evaluation {
    /// Task and data in a line or two.
    pub headline: String,
    /// The metric in which methods are compared, one of [`aisle_models::metrics::NAMES`].
    pub metric: &'static str,
    /// The evaluated method first, then the others.
    pub rows: Vec<MethodResult>,
    /// How much the methods learned from.
    pub training: TrainingSize,
    /// Checks that the task makes beside the metrics.
    pub checks: Vec<Check>,
    /// Figures beside the metrics.
    pub figures: Vec<Figure>,
}

/// The paired difference between the first method and another one, first minus other.
pub struct Difference {
    /// Name of the other method.
    pub against: String,
    /// Mean over the questions.
    pub mean: f64,
    /// The 95 % bootstrap interval of the mean, lower and upper end.
    pub interval: (f64, f64),
}

impl Difference {
    /// What the interval says of the first method: better, worse, or neither.
    fn verdict(&self) -> &'static str {
        let (low, high) = self.interval;
        if low > 0.0 {
            "better"
        } else if high < 0.0 {
            "worse"
        } else {
            "inconclusive"
        }
    }
}

impl Evaluation {
    /// The cut-off of the metrics; 0 without a method.
    fn k(&self) -> usize {
        self.rows.first().map_or(0, |row| row.measured.k)
    }

    /// Compares the first method with each other one in [`Evaluation::metric`], question by
    /// question.
    pub fn differences(&self) -> Vec<Difference> {
        let Some((first, others)) = self.rows.split_first() else {
            return Vec::new();
        };
        let of_first = first.measured.values(self.metric).unwrap_or_default();
        let difference = |other: &MethodResult| {
            let of_other = other.measured.values(self.metric).unwrap_or_default();
            let paired: Vec<f64> = of_first.iter().zip(&of_other).map(|(a, b)| a - b).collect();
            Difference {
                against: other.name.clone(),
                mean: mean(&paired),
                interval: interval(&paired, &first.measured.groups),
            }
        };
        others.iter().map(difference).collect()
    }
}

/// The mean of some values; 0 of none.
fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len().max(1) as f64
}

/// What the shoppers of a test part chose in it.
struct TestChoices {
    /// For each shopper's row in the training part, their items by ascending row. Items that
    /// training never saw have rows beyond its last one: nobody can find them, and they count as
    /// missed.
    by_user: BTreeMap<u32, Vec<u32>>,
    /// Shoppers of the test part whom the training part does not know.
    unknown_users: usize,
}

/// Reads what shoppers bought in the test part or, in a log without purchases, what they did.
fn test_choices(test: &EventLog, users: &IdMap, items: &IdMap) -> TestChoices {
    let has_purchases = test.has_purchases();
    let positive =
        test.select(|event| !has_purchases || test.type_of(event).role == EventRole::Purchase);
    let interactions = Interactions::of(&positive);
    let mut choices = TestChoices {
        by_user: BTreeMap::new(),
        unknown_users: 0,
    };
    for user in 0..interactions.users() {
        let columns = interactions.by_user.columns(user);
        if columns.is_empty() {
            continue;
        }
        let Some(row) = users.get(test.users.id(user as u32)) else {
            choices.unknown_users += 1;
            continue;
        };
        let mut rows: Vec<u32> = columns
            .iter()
            .map(|&item| row_or_beyond(items, &test.items, item))
            .collect();
        rows.sort_unstable();
        choices.by_user.insert(row, rows);
    }
    choices
}
