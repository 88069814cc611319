//! `aisle-train tune`: a search for good hyperparameters on a validation part cut from the training data.
//!
//! The tree-structured Parzen estimator of Bergstra et al., "Algorithms for Hyper-Parameter Optimization" (NeurIPS 2011), section 4:
//! after some random trials each new one is the most promising of a few candidates, by the ratio of the density of good
//! trials to that of the others. One trial runs at a time: a fit already uses every core.

use crate::evaluate::{self, Parts};
use crate::report::table;
use crate::settings::{Algorithm, Settings, put};
use aisle_data::{Dataset, Split, mix};
use aisle_models::write_table;
use anyhow::{Context, Result, bail};
use arrow_array::{Array, Float64Array, StringArray};
use std::path::Path;
use std::sync::Arc;

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

/// What a search is asked to do.
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
const RANDOM: usize = 8;
/// Candidates that one learned trial is chosen from.
const CANDIDATES: u64 = 24;
/// The share of trials that count as good.
const GOOD: f64 = 0.25;

/// One hyperparameter that is searched: its key, range, and how it lies in it.
struct Dimension {
    key: &'static str,
    low: f64,
    high: f64,
    kind: Kind,
}

enum Kind {
    /// Evenly in the logarithm.
    Log,
    /// The same, whole numbers.
    LogWhole,
    /// Evenly.
    Even,
    /// One of some words; the range is 0 to their number.
    Word(&'static [&'static str]),
}

impl Dimension {
    /// The value at a place from 0 to 1. Three digits: a search knows no more, and a reader wants no more.
    fn at(&self, place: f64) -> String {
        let logarithmic = (self.low.max(f64::MIN_POSITIVE).ln() * (1.0 - place) + self.high.ln() * place).exp();
        let short = |value: f64| format!("{value:.2e}").parse::<f64>().unwrap_or(value).to_string();
        match self.kind {
            Kind::Log => short(logarithmic),
            Kind::LogWhole => (logarithmic.round() as u64).to_string(),
            Kind::Even => short(self.low * (1.0 - place) + self.high * place),
            Kind::Word(words) => format!("\"{}\"", words[((place * words.len() as f64) as usize).min(words.len() - 1)]),
        }
    }

    /// The place of a value; `None` for one that was not drawn from here.
    fn place(&self, value: &str) -> Option<f64> {
        let number = || value.parse::<f64>().ok();
        let place = match self.kind {
            Kind::Log | Kind::LogWhole => (number()?.ln() - self.low.ln()) / (self.high.ln() - self.low.ln()),
            Kind::Even => (number()? - self.low) / (self.high - self.low),
            Kind::Word(words) => {
                (words.iter().position(|word| *word == value.trim_matches('"'))? as f64 + 0.5) / words.len() as f64
            }
        };
        place.is_finite().then(|| place.clamp(0.0, 1.0))
    }
}

/// What is worth searching of an algorithm.
fn space(algorithm: Algorithm) -> Result<Vec<Dimension>> {
    let log = |key, low, high| Dimension { key, low, high, kind: Kind::Log };
    let whole = |key, low, high| Dimension { key, low, high, kind: Kind::LogWhole };
    let even = |key, low, high| Dimension { key, low, high, kind: Kind::Even };
    let word = |key, words: &'static [&'static str]| Dimension { key, low: 0.0, high: words.len() as f64, kind: Kind::Word(words) };
    Ok(match algorithm {
        Algorithm::Als => {
            vec![
                log("regularization", 3e-4, 0.1),
                log("alpha", 1e-3, 0.3),
                whole("iterations", 4.0, 20.0),
                whole("factors", 32.0, 256.0),
            ]
        }
        Algorithm::LowPass => vec![whole("factors", 32.0, 1024.0), even("popularity", 0.2, 0.8)],
        Algorithm::LinearFilter => vec![whole("neighbours", 50.0, 2000.0), even("popularity", 0.0, 0.8)],
        Algorithm::LocalRidge => vec![whole("neighbours", 30.0, 400.0), log("l2", 1.0, 500.0), even("length", 0.0, 1.0)],
        Algorithm::Ease => vec![log("l2", 5.0, 2000.0), even("length", 0.0, 1.0)],
        Algorithm::ItemKnn => vec![
            word("measure", &["cosine", "tf-idf", "bm25", "jaccard", "llr"]),
            whole("neighbours", 20.0, 1000.0),
            log("shrink", 0.1, 100.0),
        ],
        Algorithm::TwoTower => vec![
            log("learning_rate", 0.01, 0.3),
            log("temperature", 0.03, 0.5),
            even("popularity", 0.0, 1.0),
            whole("history", 10.0, 200.0),
            whole("negatives", 64.0, 4096.0),
        ],
        Algorithm::Popular => vec![log("half_life_days", 2.0, 720.0)],
        Algorithm::Blend => {
            bail!("blend learns its weights by itself: tune its members one by one and put what is found into their sections")
        }
    })
}

/// Width of the kernels, on a scale of 0 to 1: narrower as trials add up.
fn width(trials: &[&(Vec<f64>, f64)]) -> f64 {
    0.25 / (trials.len().max(1) as f64).sqrt()
}

/// Where the next trial lies, given those there are as (places, value). O(trials · candidates · dimensions).
fn propose(tried: &[(Vec<f64>, f64)], dimensions: usize, seed: u64) -> Vec<f64> {
    let mut state = mix(seed ^ mix(tried.len() as u64));
    let mut uniform = || {
        state = mix(state);
        (state >> 11) as f64 / (1u64 << 53) as f64
    };
    if tried.len() < RANDOM {
        return (0..dimensions).map(|_| uniform()).collect();
    }
    let mut order: Vec<&(Vec<f64>, f64)> = tried.iter().collect();
    order.sort_by(|a, b| b.1.total_cmp(&a.1));
    let (good, others) = order.split_at(((order.len() as f64 * GOOD).ceil() as usize).max(2));
    let density = |trials: &[&(Vec<f64>, f64)], axis: usize, place: f64| {
        let width = width(trials);
        let kernel = |trial: &&(Vec<f64>, f64)| (-0.5 * ((place - trial.0[axis]) / width).powi(2)).exp() / (width * 2.5066);
        // And a flat one, which keeps every place possible.
        (1.0 + trials.iter().map(kernel).sum::<f64>()) / (1 + trials.len()) as f64
    };
    let mut best = (f64::NEG_INFINITY, Vec::new());
    for _ in 0..CANDIDATES {
        let candidate: Vec<f64> = (0..dimensions)
            .map(|axis| {
                let from = (uniform() * (good.len() + 1) as f64) as usize;
                let offset: f64 = (0..12).map(|_| uniform()).sum::<f64>() - 6.0;
                good.get(from).map_or_else(&mut uniform, |trial| (trial.0[axis] + width(good) * offset).clamp(0.0, 1.0))
            })
            .collect();
        let promise =
            candidate.iter().enumerate().map(|(axis, &place)| (density(good, axis, place) / density(others, axis, place)).ln());
        let promise: f64 = promise.sum();
        if promise > best.0 {
            best = (promise, candidate);
        }
    }
    best.1
}

/// Tries settings until there are as many trials as asked for, and returns them, best first. Trial 1 is the settings as they are.
///
/// # Errors
/// For an unknown metric, a history of another search, and what the fits return.
pub fn run(data: &Dataset, settings: &Settings, search: &Search) -> Result<Vec<Trial>> {
    let metric = search.metric;
    let Some((name, k)) = metric.split_once('@').and_then(|(name, k)| Some((name, k.parse::<usize>().ok()?))) else {
        bail!("--metric {metric}: expected a name and a cut-off, for example ndcg@20");
    };
    if !aisle_models::metrics::NAMES.contains(&name) || k == 0 {
        bail!(
            "--metric {metric}: expected one of {} with a cut-off above 0",
            aisle_models::metrics::NAMES.map(|name| format!("{name}@{}", k.max(1))).join(", ")
        );
    }
    let algorithm = settings.algorithm;
    let space = space(algorithm)?;
    let (train, test) = search.split.parse::<Split>()?.apply(&data.log)?;
    let parts = Parts { train: Dataset { log: train, ..data.clone() }, test, split: search.split.to_string() };
    // A history is good for the same question only.
    let question = format!("{} {name}@{k}, {} events split by {}", algorithm.name(), data.log.len(), parts.split);
    let mut tried = match search.history.filter(|path| path.exists()) {
        Some(path) => read(path, &question)?,
        None => Vec::new(),
    };
    if !tried.is_empty() {
        eprintln!("{} trials are known from before", tried.len());
    }
    while tried.len() < search.trials {
        let places: Vec<(Vec<f64>, f64)> = tried
            .iter()
            .filter_map(|trial: &Trial| {
                let place = |dimension: &Dimension| {
                    let of = |pair: &String| {
                        pair.split_once('=').filter(|(key, _)| *key == dimension.key).map(|(_, value)| value.to_string())
                    };
                    dimension.place(&trial.pairs.iter().find_map(of)?)
                };
                let places = space.iter().map(place).collect::<Option<Vec<f64>>>()?;
                Some((places, trial.value))
            })
            .collect();
        let pairs: Vec<String> = if tried.is_empty() {
            let present = settings.section(algorithm)?;
            space
                .iter()
                .map(|dimension| {
                    format!("{}={}", dimension.key, present.get(dimension.key).map_or_else(String::new, ToString::to_string))
                })
                .collect()
        } else {
            let places = propose(&places, space.len(), search.seed);
            space.iter().zip(places).map(|(dimension, place)| format!("{}={}", dimension.key, dimension.at(place))).collect()
        };
        let drawn = settings.with(algorithm, &pairs)?;
        match evaluate::personal_alone(&parts, &drawn, algorithm, k) {
            Ok(row) => {
                let value = row.measured.means().get(&format!("{name}@{k}")).copied().unwrap_or(0.0);
                tried.push(Trial { pairs, value, fit_seconds: row.fit_seconds });
            }
            // The present settings must work; a drawn one may not, and says so.
            Err(error) if tried.is_empty() => return Err(error),
            Err(error) => {
                eprintln!("{}: {error:#}", pairs.join(" "));
                tried.push(Trial { pairs, value: 0.0, fit_seconds: 0.0 });
            }
        }
        if let Some(path) = search.history {
            write(path, &question, &tried)?;
        }
        let best = tried.iter().map(|trial| trial.value).fold(f64::NEG_INFINITY, f64::max);
        if let Some(trial) = tried.last() {
            let (number, all) = (tried.len(), search.trials);
            eprintln!("trial {number:>3}/{all}  {metric} {:.4}  best {best:.4}  {}", trial.value, trial.pairs.join(" "));
        }
    }
    tried.sort_by(|a, b| b.value.total_cmp(&a.value));
    Ok(tried)
}

/// Writes all trials beside the file and renames: a search that is interrupted loses at most the trial it was at.
fn write(path: &Path, question: &str, trials: &[Trial]) -> Result<()> {
    let texts = |of: &dyn Fn(&Trial) -> String| Arc::new(trials.iter().map(|trial| Some(of(trial))).collect::<StringArray>());
    let numbers = |of: &dyn Fn(&Trial) -> f64| Arc::new(trials.iter().map(|trial| Some(of(trial))).collect::<Float64Array>());
    let columns: Vec<(String, Arc<dyn Array>)> = vec![
        ("search".into(), texts(&|_| question.to_string())),
        ("settings".into(), texts(&|trial| trial.pairs.join(" "))),
        ("value".into(), numbers(&|trial| trial.value)),
        ("fit_seconds".into(), numbers(&|trial| trial.fit_seconds)),
    ];
    let beside = path.with_extension("parquet.part");
    write_table(&beside, columns)?;
    std::fs::rename(&beside, path).with_context(|| format!("cannot write {}", path.display()))
}

/// Reads the trials of an earlier search.
fn read(path: &Path, question: &str) -> Result<Vec<Trial>> {
    let unusable = || format!("{} is not a history of aisle-train tune: give another --history", path.display());
    let file = std::fs::File::open(path).with_context(|| format!("cannot read {}", path.display()))?;
    let reader = parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder::try_new(file).with_context(unusable)?.build()?;
    let mut trials = Vec::new();
    for batch in reader {
        let batch = batch.with_context(unusable)?;
        let texts = |name: &str| batch.column_by_name(name)?.as_any().downcast_ref::<StringArray>().cloned();
        let numbers = |name: &str| batch.column_by_name(name)?.as_any().downcast_ref::<Float64Array>().cloned();
        let columns = (texts("search"), texts("settings"), numbers("value"), numbers("fit_seconds"));
        let (Some(search), Some(settings), Some(value), Some(seconds)) = columns else { bail!(unusable()) };
        for row in 0..batch.num_rows() {
            if search.value(row) != question {
                bail!(
                    "{} is the history of another search (found: {}; this one: {question}): give another --history",
                    path.display(),
                    search.value(row)
                );
            }
            let pairs = settings.value(row).split(' ').map(str::to_string).collect();
            trials.push(Trial { pairs, value: value.value(row), fit_seconds: seconds.value(row) });
        }
    }
    Ok(trials)
}

/// The trials as a table, best first.
pub fn render(trials: &[Trial], metric: &str) -> String {
    let rows: Vec<Vec<String>> = trials
        .iter()
        .map(|trial| vec![trial.pairs.join(" "), format!("{:.4}", trial.value), crate::report::seconds(trial.fit_seconds)])
        .collect();
    table(&["settings", metric, "fit"], &rows)
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
    fn a_value_lies_where_it_was_drawn() {
        for dimension in space(Algorithm::LocalRidge).unwrap().iter().chain(&space(Algorithm::ItemKnn).unwrap()) {
            for place in [0.0, 0.3, 0.5, 1.0] {
                let again = dimension.place(&dimension.at(place)).unwrap();
                let exact = !matches!(dimension.kind, Kind::Word(_));
                assert!((again - place).abs() < 0.02 || !exact, "{}: {place} {again}", dimension.key);
                assert_eq!(dimension.at(again), dimension.at(place), "{}", dimension.key);
            }
        }
    }

    #[test]
    fn the_search_beats_chance() {
        // A narrow peak at (0.7, 0.2): what 40 trials reach by learning, over 20 seeds, against 40 random ones.
        let value = |place: &[f64]| -((place[0] - 0.7).powi(2) + (place[1] - 0.2).powi(2));
        let reach = |seed: u64, learn: bool| {
            let mut tried: Vec<(Vec<f64>, f64)> = Vec::new();
            while tried.len() < 40 {
                let place = if learn { propose(&tried, 2, seed) } else { propose(&[], 2, mix(seed) ^ tried.len() as u64) };
                tried.push((place.clone(), value(&place)));
            }
            tried.into_iter().map(|trial| trial.1).fold(f64::NEG_INFINITY, f64::max)
        };
        let mean = |learn: bool| (0..20).map(|seed| reach(seed, learn)).sum::<f64>() / 20.0;
        assert!(mean(true) > mean(false) / 2.0, "{} {}", mean(true), mean(false));
    }
}
