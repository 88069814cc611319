//! Several evaluations of the same methods, one for each fold, as one evaluation.

use super::{Evaluation, MethodResult, SliceResult, mean};
use aisle_math::random::mix;

/// Group numbers from here on belong to shoppers without an id.
const ANONYMOUS: u32 = 1 << 31;

impl Evaluation {
    /// Pools evaluations of the same methods, each with its name: their questions are put together,
    /// intervals are drawn by shopper across all of them, and figures and seconds are averaged. The
    /// parts become the slices. Hyperparameters and training size are those of the last part.
    /// `None` without a part.
    pub fn pooled(parts: Vec<(String, Evaluation)>) -> Option<Self> {
        let count = parts.len() as f64;
        let mut parts = parts.into_iter();
        let (name, mut pooled) = parts.next()?;
        for row in &mut pooled.rows {
            row.slices = vec![as_slice(&name, row)];
        }
        for (number, (name, part)) in (1u64..).zip(parts) {
            pooled.add(&name, part, number);
        }
        for figure in &mut pooled.figures {
            figure.value /= count;
        }
        for row in &mut pooled.rows {
            row.divide(count);
        }
        Some(pooled)
    }

    /// Adds the questions of another part and sums what is averaged later.
    fn add(&mut self, name: &str, part: Evaluation, number: u64) {
        for (row, added) in self.rows.iter_mut().zip(part.rows) {
            row.slices.push(as_slice(name, &added));
            row.add(added, number);
        }
        for (figure, added) in self.figures.iter_mut().zip(part.figures) {
            figure.value += added.value;
        }
        for (check, added) in self.checks.iter_mut().zip(part.checks) {
            check.good += added.good;
            check.all += added.all;
        }
        self.training = part.training;
    }
}

/// A whole part as a slice of the pooled evaluation.
fn as_slice(name: &str, row: &MethodResult) -> SliceResult {
    let mean_of = |metric: &str| mean(&row.measured.values(metric).unwrap_or_default());
    SliceResult {
        slice: name.into(),
        questions: row.measured.queries.len(),
        recall: mean_of("recall"),
        ndcg: mean_of("ndcg"),
    }
}

impl MethodResult {
    fn add(&mut self, added: MethodResult, number: u64) {
        // Each part numbers its shoppers without an id anew: they are different shoppers in each
        // part.
        let group_in_pool = |group: u32| {
            if group < ANONYMOUS {
                group
            } else {
                ANONYMOUS | mix(u64::from(group) << 8 ^ number) as u32
            }
        };
        let (measured, other) = (&mut self.measured, added.measured);
        measured.queries.extend(other.queries);
        measured
            .groups
            .extend(other.groups.into_iter().map(group_in_pool));
        measured.coverage += other.coverage;
        measured.novelty += other.novelty;
        measured.gini += other.gini;
        measured.diversity = sum_if_both(measured.diversity, other.diversity);
        self.params = added.params;
        self.fit_seconds += added.fit_seconds;
        self.epoch_seconds = sum_if_both(self.epoch_seconds, added.epoch_seconds);
        self.evaluate_seconds += added.evaluate_seconds;
    }

    fn divide(&mut self, count: f64) {
        let measured = &mut self.measured;
        let always = [
            &mut measured.coverage,
            &mut measured.novelty,
            &mut measured.gini,
            &mut self.fit_seconds,
            &mut self.evaluate_seconds,
        ];
        let sometimes = [&mut measured.diversity, &mut self.epoch_seconds];
        let values = always.into_iter().chain(sometimes.into_iter().flatten());
        for value in values {
            *value /= count;
        }
    }
}

fn sum_if_both(a: Option<f64>, b: Option<f64>) -> Option<f64> {
    a.zip(b).map(|(a, b)| a + b)
}
