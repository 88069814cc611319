//! An evaluation as text for people and as JSON for programs.

use super::{Evaluation, MethodResult, SliceResult};
use crate::report::{bytes, count, peak_rss, seconds, table};
use aisle_models::metrics::{NAMES, interval};
use serde_json::{Map, Value, json};
use std::fmt::Write;

impl Evaluation {
    /// Writes the evaluation as text: the metrics of every method, slices, differences, checks and
    /// figures.
    pub fn render(&self) -> String {
        let mut text = format!("{}\n\n{}", self.headline, self.render_metrics());
        text += &self.render_slices();
        text += &self.render_differences();
        for check in &self.checks {
            let (good, all) = (count(check.good as u64), count(check.all as u64));
            let _ = writeln!(text, "  {}: {good} of {all}", check.name);
        }
        for figure in &self.figures {
            let _ = writeln!(text, "  {}: {}", figure.name, short(figure.value));
        }
        let size = self.training;
        let _ = writeln!(
            text,
            "\n  learned from {} interactions of {} rows and {} items; peak memory {}",
            count(size.interactions as u64),
            count(size.users as u64),
            count(size.items as u64),
            bytes(peak_rss()),
        );
        text
    }

    /// One line a method, one column a metric.
    fn render_metrics(&self) -> String {
        let k = self.k();
        let names =
            ["ndcg", "mrr", "hit_rate", "precision", "map"].map(|name| format!("{name}@{k}"));
        let has_diversity = self.rows.iter().any(|row| row.measured.diversity.is_some());
        let recall = format!("recall@{k}");
        let mut header = vec!["", recall.as_str(), "95 %"];
        header.extend(names.iter().map(String::as_str));
        header.extend(["coverage", "novelty", "gini"]);
        header.extend(has_diversity.then_some("diversity"));
        header.extend(["fit", "epoch", "rank"]);
        let line = |row: &MethodResult| {
            let means = row.measured.means();
            let metric = |name: &str| means.get(name).map_or("-".into(), |&value| short(value));
            let recalls = row.measured.values("recall").unwrap_or_default();
            let (low, high) = interval(&recalls, &row.measured.groups);
            let half_width = format!("±{}", short((high - low) / 2.0));
            let mut cells = vec![row.name.clone(), metric(&recall), half_width];
            cells.extend(names.iter().map(|name| metric(name)));
            cells.push(metric(&format!("coverage@{k}")));
            cells.push(format!("{:.1}", row.measured.novelty));
            cells.push(format!("{:.2}", row.measured.gini));
            if has_diversity {
                let diversity = row.measured.diversity;
                cells.push(diversity.map_or("-".into(), |value| format!("{value:.2}")));
            }
            cells.push(seconds(row.fit_seconds));
            cells.push(row.epoch_seconds.map_or("-".into(), seconds));
            cells.push(seconds(row.evaluate_seconds));
            cells
        };
        table(&header, &self.rows.iter().map(line).collect::<Vec<_>>())
    }

    /// One line a slice, one column a method; empty if nothing was sliced.
    fn render_slices(&self) -> String {
        let Some(first) = self.rows.first().filter(|row| !row.slices.is_empty()) else {
            return String::new();
        };
        let by_recall = self.metric == "recall";
        let metric = if by_recall { "recall" } else { "ndcg" };
        let value = |slice: &SliceResult| match by_recall {
            true => slice.recall,
            false => slice.ndcg,
        };
        let title = format!("{metric} by slice");
        let mut header = vec![title.as_str(), "questions"];
        header.extend(self.rows.iter().map(|row| row.name.as_str()));
        let line = |(at, slice): (usize, &SliceResult)| {
            let mut cells = vec![slice.slice.clone(), count(slice.questions as u64)];
            let of_row = |row: &MethodResult| row.slices.get(at).map(value);
            let values = self.rows.iter().map(of_row);
            cells.extend(values.map(|value| value.map_or("-".into(), short)));
            cells
        };
        let rows: Vec<Vec<String>> = first.slices.iter().enumerate().map(line).collect();
        format!("\n{}", table(&header, &rows))
    }

    /// One line for each difference to the first method; empty without another one.
    fn render_differences(&self) -> String {
        let differences = self.differences();
        let Some(first) = self.rows.first().filter(|_| !differences.is_empty()) else {
            return String::new();
        };
        let mut text = format!(
            "\n  {} against each other method, paired difference in {}@{} with its 95 % \
             bootstrap interval:\n",
            first.name,
            self.metric,
            self.k()
        );
        let width = differences
            .iter()
            .map(|one| one.against.chars().count())
            .max()
            .unwrap_or(0);
        for one in differences {
            let (low, high) = one.interval;
            let _ = writeln!(
                text,
                "    {:<width$}  {} [{}, {}]  {}",
                one.against,
                signed(one.mean),
                signed(low),
                signed(high),
                one.verdict()
            );
        }
        text
    }

    /// Writes the evaluation as JSON: the first method at the top level, the others under
    /// `baselines`.
    pub fn json(&self) -> Value {
        let mut value = self.rows.first().map_or(json!({}), method_json);
        value["peak_rss_bytes"] = json!(peak_rss());
        value["users"] = json!(self.training.users);
        value["items"] = json!(self.training.items);
        value["interactions"] = json!(self.training.interactions);
        value["baselines"] = self.rows.iter().skip(1).map(method_json).collect();
        let differences = self.differences();
        let difference = |one: &super::Difference| {
            let (low, high) = one.interval;
            json!({
                "against": one.against,
                "metric": self.metric,
                "mean": one.mean,
                "interval_95": [low, high],
            })
        };
        value["differences"] = differences.iter().map(difference).collect();
        value["figures"] = self
            .figures
            .iter()
            .map(|figure| json!({"what": figure.name, "value": figure.value}))
            .collect();
        value["checks"] = self
            .checks
            .iter()
            .map(|check| json!({"what": check.name, "good": check.good, "all": check.all}))
            .collect();
        value
    }
}

/// The JSON of one method.
fn method_json(row: &MethodResult) -> Value {
    let measured = &row.measured;
    let interval_of = |name: &&str| {
        let values = measured.values(name).unwrap_or_default();
        let (low, high) = interval(&values, &measured.groups);
        (format!("{name}@{}", measured.k), json!([low, high]))
    };
    let intervals: Map<String, Value> = NAMES.iter().map(interval_of).collect();
    let slice = |slice: &SliceResult| {
        json!({
            "slice": slice.slice,
            "questions": slice.questions,
            "recall": slice.recall,
            "ndcg": slice.ndcg,
        })
    };
    json!({
        "algorithm": row.name,
        "params": row.params,
        "metrics": measured.means(),
        "intervals_95": intervals,
        "queries": measured.queries.len(),
        "slices": row.slices.iter().map(slice).collect::<Vec<_>>(),
        "fit_seconds": row.fit_seconds,
        "epoch_seconds": row.epoch_seconds,
        "evaluate_seconds": row.evaluate_seconds,
    })
}

/// Four digits, without the zero before the point, as the field's tables print them.
pub(super) fn short(value: f64) -> String {
    let text = format!("{value:.4}");
    text.strip_prefix('0').map_or(text.clone(), str::to_string)
}

/// The same with a sign, also before positive values.
pub(super) fn signed(value: f64) -> String {
    let sign = if value < 0.0 { "−" } else { "+" };
    format!("{sign}{}", short(value.abs()))
}
