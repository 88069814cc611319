//! `aisle-train tune`: a search for good hyperparameters on a validation part cut from the training
//! data.
//!
//! The tree-structured Parzen estimator of Bergstra et al., "Algorithms for Hyper-Parameter
//! Optimization" (NeurIPS 2011), section 4: after some random trials each new one is the most
//! promising of a few candidates, by the ratio of the density of good trials to that of the others.
//! One trial runs at a time: a fit already uses every core. `space.rs` holds what is searched,
//! `history.rs` the file of trials.

mod history;
mod space;

use crate::evaluate::{self, TrainTestSplit};
use crate::report::{seconds, table_with_text};
use crate::settings::{Settings, put};
use aisle_data::{Dataset, Split};
use aisle_math::random::mix;
use aisle_models::metrics::NAMES;
use anyhow::{Result, bail};
use space::{SearchedParameter, searched_parameters};
use std::path::Path;

/// One tried setting.
#[derive(Clone, Debug, PartialEq)]
pub struct Trial {
    /// The settings as `--set` pairs.
    pub pairs: Vec<String>,
    /// The metric on the validation part.
    pub value: f64,
    /// Seconds to fit.
    pub fit_seconds: f64,
}

/// What a search should do.
pub struct Search<'a> {
    /// Trials in all, those of the history included.
    pub trials: usize,
    /// What to maximise, for example `ndcg@20`.
    pub metric: &'a str,
    /// How the validation part is cut off the log, as [`Split`] is written.
    pub split: &'a str,
    /// Seed of the draws.
    pub seed: u64,
    /// A Parquet file that every trial is added to, and that a search goes on from.
    pub history: Option<&'a Path>,
}

/// Random trials before the first one that learns from others.
const RANDOM_TRIALS: usize = 8;
/// Candidates that one learned trial is chosen from.
const CANDIDATES: u64 = 24;
/// The share of trials that count as good.
const GOOD_SHARE: f64 = 0.25;

/// A trial as a point: a position from 0 to 1 for each parameter, and the metric there.
type TriedPoint = (Vec<f64>, f64);

/// Width of the kernels, in positions: narrower as trials add up.
fn width(trials: &[&TriedPoint]) -> f64 {
    0.25 / (trials.len().max(1) as f64).sqrt()
}

/// Where the next trial lies, given those so far. O(trials · candidates · dimensions).
fn propose(tried: &[TriedPoint], dimensions: usize, seed: u64) -> Vec<f64> {
    let mut state = mix(seed ^ mix(tried.len() as u64));
    let mut uniform = || {
        state = mix(state);
        (state >> 11) as f64 / (1u64 << 53) as f64
    };
    if tried.len() < RANDOM_TRIALS {
        return (0..dimensions).map(|_| uniform()).collect();
    }
    let mut order: Vec<&TriedPoint> = tried.iter().collect();
    order.sort_by(|a, b| b.1.total_cmp(&a.1));
    let (good, others) = order.split_at(((order.len() as f64 * GOOD_SHARE).ceil() as usize).max(2));
    let density = |trials: &[&TriedPoint], axis: usize, position: f64| {
        let width = width(trials);
        let kernel = |trial: &&TriedPoint| {
            (-0.5 * ((position - trial.0[axis]) / width).powi(2)).exp() / (width * 2.5066)
        };
        // A flat kernel beside the others keeps every position possible.
        (1.0 + trials.iter().map(kernel).sum::<f64>()) / (1 + trials.len()) as f64
    };
    let mut best = (f64::NEG_INFINITY, Vec::new());
    for _ in 0..CANDIDATES {
        let candidate: Vec<f64> = (0..dimensions)
            .map(|axis| {
                let from = (uniform() * (good.len() + 1) as f64) as usize;
                let offset: f64 = (0..12).map(|_| uniform()).sum::<f64>() - 6.0;
                good.get(from).map_or_else(&mut uniform, |trial| {
                    (trial.0[axis] + width(good) * offset).clamp(0.0, 1.0)
                })
            })
            .collect();
        let promise = candidate
            .iter()
            .enumerate()
            .map(|(axis, &at)| (density(good, axis, at) / density(others, axis, at)).ln());
        let promise: f64 = promise.sum();
        if promise > best.0 {
            best = (promise, candidate);
        }
    }
    best.1
}

/// Tries settings until there are as many trials as asked for, and returns them, best first. The
/// first trial is the settings as they are.
///
/// # Errors
/// For an unknown metric, a history of another search, and what the fits return.
pub fn run(data: &Dataset, settings: &Settings, search: &Search) -> Result<Vec<Trial>> {
    let metric = Metric::parse(search.metric)?;
    let algorithm = settings.algorithm;
    let (train, test) = search.split.parse::<Split>()?.apply(&data.log)?;
    let searcher = Searcher {
        settings,
        metric,
        parameters: searched_parameters(algorithm)?,
        seed: search.seed,
        parts: TrainTestSplit {
            train: Dataset {
                log: train,
                ..data.clone()
            },
            test,
            description: search.split.to_string(),
        },
    };
    // A history is good for the same question only.
    let question = format!(
        "{} {}, {} events split by {}",
        algorithm.name(),
        search.metric,
        data.log.len(),
        search.split
    );
    let mut trials = match search.history.filter(|path| path.exists()) {
        Some(path) => history::read(path, &question)?,
        None => Vec::new(),
    };
    if !trials.is_empty() {
        eprintln!("{} trials are known from before", trials.len());
    }
    while trials.len() < search.trials {
        let trial = searcher.next(&trials)?;
        trials.push(trial);
        if let Some(path) = search.history {
            history::write(path, &question, &trials)?;
        }
        report_last(&trials, search);
    }
    trials.sort_by(|a, b| b.value.total_cmp(&a.value));
    Ok(trials)
}

/// Tells the last trial and the best value so far.
fn report_last(trials: &[Trial], search: &Search) {
    let values = trials.iter().map(|trial| trial.value);
    let best = values.fold(f64::NEG_INFINITY, f64::max);
    if let Some(trial) = trials.last() {
        eprintln!(
            "trial {:>3}/{}  {} {:.4}  best {best:.4}  {}",
            trials.len(),
            search.trials,
            search.metric,
            trial.value,
            trial.pairs.join(" ")
        );
    }
}

/// A metric with its cut-off.
struct Metric {
    /// The name with the cut-off, `ndcg@20`.
    name: String,
    k: usize,
}

impl Metric {
    fn parse(text: &str) -> Result<Self> {
        let parts = text.split_once('@');
        let parts = parts.and_then(|(name, k)| Some((name, k.parse::<usize>().ok()?)));
        let Some((name, k)) = parts else {
            bail!("--metric {text}: expected a name and a cut-off, for example ndcg@20");
        };
        if !NAMES.contains(&name) || k == 0 {
            let known = NAMES.map(|name| format!("{name}@{}", k.max(1)));
            bail!(
                "--metric {text}: expected one of {} with a cut-off above 0",
                known.join(", ")
            );
        }
        Ok(Self {
            name: format!("{name}@{k}"),
            k,
        })
    }
}

/// Makes one trial after the other.
struct Searcher<'a> {
    settings: &'a Settings,
    metric: Metric,
    parameters: Vec<SearchedParameter>,
    seed: u64,
    parts: TrainTestSplit,
}

impl Searcher<'_> {
    /// Chooses settings by the trials so far, and measures them. Settings that cannot be fitted are
    /// a trial of value 0, unless they are the present ones.
    fn next(&self, trials: &[Trial]) -> Result<Trial> {
        let pairs = match trials.is_empty() {
            true => self.present_settings()?,
            false => self.proposed_settings(trials),
        };
        let algorithm = self.settings.algorithm;
        let settings = self.settings.with(algorithm, &pairs)?;
        match evaluate::personal_alone(&self.parts, &settings, algorithm, self.metric.k) {
            Ok(row) => {
                let means = row.measured.means();
                Ok(Trial {
                    pairs,
                    value: means.get(&self.metric.name).copied().unwrap_or(0.0),
                    fit_seconds: row.fit_seconds,
                })
            }
            Err(error) if trials.is_empty() => Err(error),
            Err(error) => {
                eprintln!("{}: {error:#}", pairs.join(" "));
                Ok(Trial {
                    pairs,
                    value: 0.0,
                    fit_seconds: 0.0,
                })
            }
        }
    }

    /// The settings in force, as `key=value` pairs.
    fn present_settings(&self) -> Result<Vec<String>> {
        let section = self.settings.section(self.settings.algorithm)?;
        let pair = |parameter: &SearchedParameter| {
            let value = section.get(parameter.key);
            let value = value.map_or_else(String::new, ToString::to_string);
            format!("{}={value}", parameter.key)
        };
        Ok(self.parameters.iter().map(pair).collect())
    }

    /// The settings that promise most, as `key=value` pairs.
    fn proposed_settings(&self, trials: &[Trial]) -> Vec<String> {
        let tried: Vec<TriedPoint> = trials
            .iter()
            .filter_map(|trial| Some((self.positions_of(trial)?, trial.value)))
            .collect();
        let positions = propose(&tried, self.parameters.len(), self.seed);
        let parameters = self.parameters.iter().zip(positions);
        let pairs = parameters
            .map(|(parameter, at)| format!("{}={}", parameter.key, parameter.value_at(at)));
        pairs.collect()
    }

    /// Where a trial lies; `None` if it was not drawn from these parameters.
    fn positions_of(&self, trial: &Trial) -> Option<Vec<f64>> {
        let position = |parameter: &SearchedParameter| {
            let mut pairs = trial.pairs.iter().filter_map(|pair| pair.split_once('='));
            let (_, value) = pairs.find(|(key, _)| *key == parameter.key)?;
            parameter.position_of(value)
        };
        self.parameters.iter().map(position).collect()
    }
}

/// The trials as a table, best first.
pub fn render(trials: &[Trial], metric: &str) -> String {
    let rows: Vec<Vec<String>> = trials
        .iter()
        .map(|trial| {
            vec![
                trial.pairs.join(" "),
                format!("{:.4}", trial.value),
                seconds(trial.fit_seconds),
            ]
        })
        .collect();
    table_with_text(&["settings", metric, "fit"], &rows, &[0])
}

/// The config of the run with the best trial's settings in it.
///
/// # Errors
/// If the config cannot be written as TOML.
pub fn config(settings: &Settings, trial: &Trial) -> Result<String> {
    let algorithm = settings.algorithm.name();
    let mut table = settings.source.clone();
    table.insert("algorithm".into(), toml::Value::String(algorithm.into()));
    for pair in &trial.pairs {
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        put(&mut table, algorithm, key, value)?;
    }
    Ok(toml::to_string(&table)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_search_beats_chance() {
        // A narrow peak at (0.7, 0.2): what 40 trials reach by learning, over 20 seeds, against 40
        // random ones.
        let value = |place: &[f64]| -((place[0] - 0.7).powi(2) + (place[1] - 0.2).powi(2));
        let reach = |seed: u64, learn: bool| {
            let mut tried: Vec<(Vec<f64>, f64)> = Vec::new();
            while tried.len() < 40 {
                let place = if learn {
                    propose(&tried, 2, seed)
                } else {
                    propose(&[], 2, mix(seed) ^ tried.len() as u64)
                };
                tried.push((place.clone(), value(&place)));
            }
            tried
                .into_iter()
                .map(|trial| trial.1)
                .fold(f64::NEG_INFINITY, f64::max)
        };
        let mean = |learn: bool| (0..20).map(|seed| reach(seed, learn)).sum::<f64>() / 20.0;
        assert!(
            mean(true) > mean(false) / 2.0,
            "{} {}",
            mean(true),
            mean(false)
        );
    }
}
