//! `aisle-train evaluate`: how good a model is on what it has not seen, beside the baselines that it must beat.
//!
//! Full catalogue, no sampled negatives. Each task is a file, and its function's doc states the protocol.

mod buy_again;
mod cold;
mod context;
mod cross_sell;
mod html;
mod personal;
mod relations;
mod rules;
mod session;
mod slices;
mod upsell;

pub use buy_again::buy_again;
pub use cold::cold;
pub use context::context;
pub use cross_sell::{Ask, Lines, Targets, cross_sell};
pub use personal::{AskPersonal, personal, personal_alone};
pub use relations::relations;
pub use rules::{read as read_rules, rules};
pub use session::session;
pub use upsell::upsell;

use crate::report::{count, peak_rss, seconds, table};
use aisle_data::{Dataset, EventLog, EventRole, IdMap, Interactions, mix};
use aisle_models::Personal;
use aisle_models::metrics::{Measured, interval};
use clap::ValueEnum;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;

/// What is measured.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Task {
    /// What a shopper chooses next, that is new to them.
    #[default]
    Personal,
    /// The missing line of an order, from another category than the rest.
    CrossSell,
    /// The dearer item of the same category that a shopper stepped up to.
    Upsell,
    /// The next click of a visit.
    Session,
    /// What a shopper buys again.
    BuyAgain,
    /// What is bought under given circumstances, by whomever.
    Context,
    /// Complements told from substitutes, against known pairs; needs --relations.
    Relations,
    /// Which new product suits whom, by what is known of it: a tenth of the items is hidden.
    Cold,
}

/// Past and future.
pub struct Parts {
    /// To learn from.
    pub train: Dataset,
    /// To be measured on; its ids are its own.
    pub test: EventLog,
    /// How they were split, in words.
    pub split: String,
}

/// One measured method.
pub struct Row {
    /// Its name.
    pub name: String,
    /// Its hyperparameters.
    pub params: Value,
    /// What it reached.
    pub measured: Measured,
    /// What it reached on parts of the questions.
    pub slices: Vec<Reached>,
    /// Seconds to fit.
    pub fit_seconds: f64,
    /// Seconds of one iteration, for algorithms that iterate.
    pub epoch_seconds: Option<f64>,
    /// Seconds to rank and measure.
    pub evaluate_seconds: f64,
}

/// Means on one slice of the questions.
#[derive(Clone, Debug)]
pub struct Reached {
    /// Its name.
    pub slice: String,
    /// Questions in it.
    pub questions: usize,
    /// Mean recall at the cut-off.
    pub recall: f64,
    /// Mean NDCG at the cut-off.
    pub ndcg: f64,
}

/// A finished evaluation.
pub struct Evaluation {
    /// Task and data in a line or two.
    pub headline: String,
    /// The metric that comparisons are made in.
    pub metric: &'static str,
    /// The algorithm asked for first, then the baselines.
    pub rows: Vec<Row>,
    /// Users, items and interactions of the training part.
    pub sizes: (usize, usize, usize),
    /// Checks that the task makes beside the metrics, as (what, how many, of how many).
    pub checks: Vec<(String, usize, usize)>,
    /// Figures beside the metrics.
    pub figures: Vec<(String, f64)>,
}

/// The hyperparameters of an algorithm, without the enum's name around them.
fn params(personal: &Personal) -> Value {
    match serde_json::to_value(personal) {
        Ok(Value::Object(map)) => map.into_iter().next().map_or(Value::Null, |(_, value)| value),
        _ => Value::Null,
    }
}

/// The test part's positive (user, item) pairs with rows of the training ids. Items that training never saw get rows beyond
/// its last: nobody can find them, and they count as missed.
fn relevant(test: &EventLog, users: &IdMap, items: &IdMap) -> (BTreeMap<u32, Vec<u32>>, usize) {
    let bought = test.has_purchases();
    let chosen = test.select(|event| !bought || test.type_of(event).role == EventRole::Purchase);
    let wanted = Interactions::of(&chosen);
    let mut found = BTreeMap::new();
    let mut strangers = 0;
    for user in 0..wanted.users() {
        let columns = wanted.by_user.columns(user);
        if columns.is_empty() {
            continue;
        }
        match users.get(test.users.id(user as u32)) {
            None => strangers += 1,
            Some(row) => {
                let mut rows: Vec<u32> =
                    columns.iter().map(|&item| items.get(test.items.id(item)).unwrap_or(items.len() as u32 + item)).collect();
                rows.sort_unstable();
                found.insert(row, rows);
            }
        }
    }
    (found, strangers)
}

impl Evaluation {
    /// Several evaluations of the same algorithms as one: questions together, intervals drawn by shopper across all, figures that are not
    /// means of questions and seconds averaged. Their slices are the parts; settings and sizes are those of the last.
    pub fn pooled(parts: Vec<(String, Evaluation)>) -> Option<Self> {
        let count = parts.len() as f64;
        let slice = |name: &str, row: &Row| {
            let mean = |metric: &str| {
                let values = row.measured.values(metric).unwrap_or_default();
                values.iter().sum::<f64>() / values.len().max(1) as f64
            };
            Reached { slice: name.into(), questions: row.measured.queries.len(), recall: mean("recall"), ndcg: mean("ndcg") }
        };
        let mut parts = parts.into_iter();
        let (name, mut pooled) = parts.next()?;
        for row in &mut pooled.rows {
            row.slices = vec![slice(&name, row)];
        }
        for (number, (name, part)) in (1u64..).zip(parts) {
            // Shoppers without an id are numbered from 2³¹ on in each part anew, and are others in each.
            let apart = |group: u32| if group >> 31 == 0 { group } else { 1 << 31 | mix(u64::from(group) << 8 ^ number) as u32 };
            for (row, added) in pooled.rows.iter_mut().zip(part.rows) {
                row.params = added.params.clone();
                row.slices.push(slice(&name, &added));
                row.measured.queries.extend(added.measured.queries);
                row.measured.groups.extend(added.measured.groups.into_iter().map(apart));
                row.measured.coverage += added.measured.coverage;
                row.measured.novelty += added.measured.novelty;
                row.measured.gini += added.measured.gini;
                row.measured.diversity = row.measured.diversity.zip(added.measured.diversity).map(|(a, b)| a + b);
                row.fit_seconds += added.fit_seconds;
                row.epoch_seconds = row.epoch_seconds.zip(added.epoch_seconds).map(|(a, b)| a + b);
                row.evaluate_seconds += added.evaluate_seconds;
            }
            for (figure, added) in pooled.figures.iter_mut().zip(part.figures) {
                figure.1 += added.1;
            }
            for (check, added) in pooled.checks.iter_mut().zip(part.checks) {
                check.1 += added.1;
                check.2 += added.2;
            }
            pooled.sizes = part.sizes;
        }
        pooled.figures.iter_mut().for_each(|figure| figure.1 /= count);
        for row in &mut pooled.rows {
            let measured = &mut row.measured;
            for figure in
                [&mut measured.coverage, &mut measured.novelty, &mut measured.gini].into_iter().chain(&mut measured.diversity)
            {
                *figure /= count;
            }
            for seconds in [&mut row.fit_seconds, &mut row.evaluate_seconds].into_iter().chain(&mut row.epoch_seconds) {
                *seconds /= count;
            }
        }
        Some(pooled)
    }

    fn k(&self) -> usize {
        self.rows.first().map_or(0, |row| row.measured.k)
    }

    /// For people.
    pub fn render(&self) -> String {
        let k = self.k();
        let names = [
            format!("recall@{k}"),
            format!("ndcg@{k}"),
            format!("mrr@{k}"),
            format!("hit_rate@{k}"),
            format!("precision@{k}"),
            format!("map@{k}"),
        ];
        let mut header = vec!["", names[0].as_str(), "95 %"];
        header.extend(names[1..].iter().map(String::as_str));
        let varied = self.rows.iter().any(|row| row.measured.diversity.is_some());
        header.extend(["coverage", "novelty", "gini"]);
        header.extend(varied.then_some("diversity"));
        header.extend(["fit", "epoch", "rank"]);
        let rows: Vec<Vec<String>> = self
            .rows
            .iter()
            .map(|row| {
                let means = row.measured.means();
                let of = |name: &str| means.get(name).map_or("-".into(), |value| short(*value));
                let (low, high) = interval(&row.measured.values("recall").unwrap_or_default(), &row.measured.groups);
                let mut cells = vec![row.name.clone(), of(&names[0]), format!("±{}", short((high - low) / 2.0))];
                cells.extend(names[1..].iter().map(|name| of(name)));
                cells.push(of(&format!("coverage@{k}")));
                cells.push(format!("{:.1}", row.measured.novelty));
                cells.push(format!("{:.2}", row.measured.gini));
                if varied {
                    cells.push(row.measured.diversity.map_or("-".into(), |diversity| format!("{diversity:.2}")));
                }
                cells.push(seconds(row.fit_seconds));
                cells.push(row.epoch_seconds.map_or("-".into(), seconds));
                cells.push(seconds(row.evaluate_seconds));
                cells
            })
            .collect();
        let mut text = format!("{}\n\n{}", self.headline, table(&header, &rows));
        text += &self.render_slices();
        let differences = self.differences();
        if !differences.is_empty() {
            text += &format!(
                "\n  {} against each baseline, paired difference in {}@{k} with its 95 % bootstrap interval:\n",
                self.rows[0].name, self.metric
            );
            for (name, mean, (low, high)) in differences {
                let verdict = verdict(low, high);
                text += &format!("    {name:<16} {} [{}, {}]  {verdict}\n", signed(mean), signed(low), signed(high));
            }
        }
        for (what, good, all) in &self.checks {
            text += &format!("  {what}: {} of {}\n", count(*good as u64), count(*all as u64));
        }
        for (what, figure) in &self.figures {
            text += &format!("  {what}: {}\n", short(*figure));
        }
        let (users, items, interactions) = self.sizes;
        text += &format!(
            "\n  learned from {} interactions of {} rows and {} items; peak memory {}\n",
            count(interactions as u64),
            count(users as u64),
            count(items as u64),
            crate::report::bytes(peak_rss()),
        );
        text
    }

    /// The metric that comparisons are made in, or NDCG, by slice, one line a slice; empty where nothing was sliced.
    fn render_slices(&self) -> String {
        let Some(first) = self.rows.first().filter(|row| !row.slices.is_empty()) else { return String::new() };
        let of = |slice: &Reached| if self.metric == "recall" { slice.recall } else { slice.ndcg };
        let metric = if self.metric == "recall" { "recall" } else { "ndcg" };
        let mut header = vec![format!("{metric} by slice"), "questions".to_string()];
        header.extend(self.rows.iter().map(|row| row.name.clone()));
        let line = |(at, slice): (usize, &Reached)| {
            let mut cells = vec![slice.slice.clone(), count(slice.questions as u64)];
            cells.extend(self.rows.iter().map(|row| row.slices.get(at).map_or("-".into(), |slice| short(of(slice)))));
            cells
        };
        let rows: Vec<Vec<String>> = first.slices.iter().enumerate().map(line).collect();
        format!("\n{}", table(&header.iter().map(String::as_str).collect::<Vec<_>>(), &rows))
    }

    /// The first row against each other one: name, mean difference, interval.
    pub fn differences(&self) -> Vec<(String, f64, (f64, f64))> {
        let Some((first, others)) = self.rows.split_first() else { return Vec::new() };
        let ours = first.measured.values(self.metric).unwrap_or_default();
        others
            .iter()
            .map(|other| {
                let theirs = other.measured.values(self.metric).unwrap_or_default();
                let paired: Vec<f64> = ours.iter().zip(&theirs).map(|(a, b)| a - b).collect();
                let mean = paired.iter().sum::<f64>() / paired.len().max(1) as f64;
                (other.name.clone(), mean, interval(&paired, &first.measured.groups))
            })
            .collect()
    }

    /// For programs.
    pub fn json(&self) -> Value {
        let one = |row: &Row| {
            let intervals: Map<String, Value> = aisle_models::metrics::NAMES
                .iter()
                .map(|name| {
                    let (low, high) = interval(&row.measured.values(name).unwrap_or_default(), &row.measured.groups);
                    (format!("{name}@{}", row.measured.k), json!([low, high]))
                })
                .collect();
            json!({
                "algorithm": row.name,
                "params": row.params,
                "metrics": row.measured.means(),
                "intervals_95": intervals,
                "queries": row.measured.queries.len(),
                "slices": row.slices.iter().map(|slice| json!({
                    "slice": slice.slice, "questions": slice.questions, "recall": slice.recall, "ndcg": slice.ndcg
                })).collect::<Vec<_>>(),
                "fit_seconds": row.fit_seconds,
                "epoch_seconds": row.epoch_seconds,
                "evaluate_seconds": row.evaluate_seconds,
            })
        };
        let mut value = self.rows.first().map_or(json!({}), one);
        value["peak_rss_bytes"] = json!(peak_rss());
        value["users"] = json!(self.sizes.0);
        value["items"] = json!(self.sizes.1);
        value["interactions"] = json!(self.sizes.2);
        value["baselines"] = self.rows.iter().skip(1).map(one).collect();
        value["differences"] = self
            .differences()
            .into_iter()
            .map(|(name, mean, (low, high))| json!({"against": name, "metric": self.metric, "mean": mean, "interval_95": [low, high]}))
            .collect();
        value["figures"] = self.figures.iter().map(|(what, figure)| json!({"what": what, "value": figure})).collect();
        value["checks"] = self.checks.iter().map(|(what, good, all)| json!({"what": what, "good": good, "all": all})).collect();
        value
    }
}

/// What an interval of a difference says.
fn verdict(low: f64, high: f64) -> &'static str {
    match () {
        () if low > 0.0 => "better",
        () if high < 0.0 => "worse",
        () => "not told apart",
    }
}

/// Four digits, without the zero before the point, as the field's tables print them.
fn short(value: f64) -> String {
    let text = format!("{value:.4}");
    text.strip_prefix('0').map_or(text.clone(), str::to_string)
}

fn signed(value: f64) -> String {
    format!("{}{}", if value < 0.0 { "−" } else { "+" }, short(value.abs()))
}
