//! What became of requests: counts, latencies, and whether answers were what was asked for.

use crate::calls::{Call, PAGE_SIZE};
use aisle_proto::RecommendResponse;
use anyhow::{Context, Result};
use bytes::Bytes;
use hdrhistogram::Histogram;
use prost::Message;
use std::collections::BTreeMap;
use std::time::Duration;
use tonic::{Code, Status};

/// One answer in this many is decoded and checked.
const CHECK_EVERY: usize = 16;
/// Longest latency that is told apart from longer ones, in nanoseconds: an hour.
const LONGEST_NANOS: u64 = 3_600_000_000_000;
/// Significant decimal digits of a latency.
const DIGITS: u8 = 3;

/// An empty histogram of nanoseconds.
pub fn latency_histogram() -> Result<Histogram<u64>> {
    Histogram::new_with_max(LONGEST_NANOS, DIGITS).context("making a histogram")
}

/// What became of one request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It was answered.
    Answered,
    /// It was refused with RESOURCE_EXHAUSTED.
    Refused,
    /// Anything else.
    Failed,
}

/// What became of many requests.
pub struct Run {
    /// Nanoseconds of each outcome's requests, in the order of [`Outcome`].
    latencies: [Histogram<u64>; 3],
    /// Seconds during which requests were sent.
    pub seconds: f64,
    /// How late the generator itself was at the 99th percentile.
    pub late_p99: Duration,
    /// The first failure.
    pub failure: Option<String>,
    /// Checked answers, by the version that they name.
    pub versions: BTreeMap<String, usize>,
    noted: usize,
}

impl Run {
    /// A run without requests.
    pub fn new() -> Result<Self> {
        Ok(Self {
            latencies: [
                latency_histogram()?,
                latency_histogram()?,
                latency_histogram()?,
            ],
            seconds: 0.0,
            late_p99: Duration::ZERO,
            failure: None,
            versions: BTreeMap::new(),
            noted: 0,
        })
    }

    /// How many requests had an outcome.
    pub fn count(&self, outcome: Outcome) -> u64 {
        self.latencies[outcome as usize].len()
    }

    /// How many requests a second had an outcome.
    pub fn per_second(&self, outcome: Outcome) -> f64 {
        self.count(outcome) as f64 / self.seconds
    }

    /// A quantile of the latency, in microseconds; 0 where nothing was measured.
    pub fn latency(&self, outcome: Outcome, quantile: f64) -> f64 {
        self.latencies[outcome as usize].value_at_quantile(quantile) as f64 / 1000.0
    }

    /// Notes what became of one request and how long it took.
    pub fn note(&mut self, call: Call, answer: Result<Bytes, Status>, latency: Duration) {
        self.noted += 1;
        let outcome = match answer {
            Ok(bytes) => self.answer_outcome(call, bytes),
            Err(status) if status.code() == Code::ResourceExhausted => Outcome::Refused,
            Err(status) => {
                self.failure.get_or_insert(format!("{status}"));
                Outcome::Failed
            }
        };
        self.latencies[outcome as usize].saturating_record(latency.as_nanos() as u64);
    }

    fn answer_outcome(&mut self, call: Call, bytes: Bytes) -> Outcome {
        if call == Call::Empty {
            return Outcome::Answered;
        }
        if !self.noted.is_multiple_of(CHECK_EVERY) {
            return if bytes.is_empty() {
                Outcome::Failed
            } else {
                Outcome::Answered
            };
        }
        match check(call, bytes) {
            Ok(version) => {
                *self.versions.entry(version).or_default() += 1;
                Outcome::Answered
            }
            Err(what) => {
                self.failure.get_or_insert(what);
                Outcome::Failed
            }
        }
    }
}

/// Checks that an answer holds as many different items as it must. Returns the version it names.
fn check(call: Call, bytes: Bytes) -> Result<String, String> {
    let answer = RecommendResponse::decode(bytes)
        .map_err(|error| format!("an answer does not decode: {error}"))?;
    let serving = answer.serving.ok_or("an answer names no version")?;
    let expected = PAGE_SIZE.min(serving.eligible_count) as usize;
    let found = answer.items.len();
    if found != expected {
        return Err(format!(
            "{}: {found} items, expected {expected}",
            call.name()
        ));
    }
    let mut ids: Vec<&str> = answer
        .items
        .iter()
        .map(|item| item.item_id.as_str())
        .collect();
    ids.sort_unstable();
    ids.dedup();
    if ids.len() != expected {
        return Err(format!("{}: an item came back twice", call.name()));
    }
    Ok(serving.model_version)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_those_of_the_noted_latencies() {
        let mut run = Run::new().unwrap();
        for micros in 1..=1000 {
            let refused = Err(Status::resource_exhausted("full"));
            run.note(Call::User, refused, Duration::from_micros(micros));
        }
        assert_eq!(
            (run.count(Outcome::Refused), run.count(Outcome::Answered)),
            (1000, 0)
        );
        let median = run.latency(Outcome::Refused, 0.5);
        assert!((median / 500.0 - 1.0).abs() < 0.01, "{median}");
        assert_eq!(run.latency(Outcome::Answered, 0.5), 0.0);
    }
}
