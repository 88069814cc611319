//! `aisle-train tune`: random search (Bergstra and Bengio, JMLR 2012) on a validation part cut from the training data.

use crate::evaluate::{self, Parts};
use crate::report::table;
use crate::settings::{Algorithm, Settings, put};
use aisle_data::{Dataset, NONE, Split};
use aisle_models::{Measure, mix};
use anyhow::{Result, bail};

/// One tried setting.
pub struct Trial {
    /// The settings as `--set` pairs.
    pub pairs: Vec<String>,
    /// The metric on the validation part.
    pub value: f64,
    /// Seconds to fit.
    pub fit_seconds: f64,
}

/// Cuts a validation part off: by time where there are times (the last tenth), else a fixed tenth of each shopper's events.
pub fn validation(data: &Dataset) -> Result<Parts> {
    let (train, test, split) = if data.log.time.is_empty() {
        let log = &data.log;
        let held = |event: usize| log.user_of(event) != NONE && mix(event as u64).is_multiple_of(10);
        (log.select(|event| !held(event)), log.select(held), "a tenth of each shopper's events (the log has no times)")
    } else {
        let (train, test) = Split::Share(0.9).apply(&data.log)?;
        (train, test, "the last tenth by time")
    };
    Ok(Parts { train: Dataset { log: train, ..data.clone() }, test, split: format!("validated on {split}") })
}

/// Draws one setting of an algorithm. Trial 0 is the settings as they are.
fn draw(algorithm: Algorithm, settings: &Settings, trial: usize, seed: u64) -> (Settings, Vec<String>) {
    let mut drawn = settings.clone();
    let mut state = mix(seed ^ mix(trial as u64));
    let mut uniform = || {
        state = mix(state);
        (state >> 11) as f64 / (1u64 << 53) as f64
    };
    // Three digits: a search knows no more, and a reader wants no more.
    let mut log_uniform = |low: f64, high: f64| {
        let drawn = (low.ln() + uniform() * (high / low).ln()).exp();
        format!("{drawn:.2e}").parse::<f64>().unwrap_or(drawn)
    };
    let pairs = match algorithm {
        Algorithm::Als => {
            if trial > 0 {
                drawn.als.regularization = log_uniform(3e-4, 0.1) as f32;
                drawn.als.alpha = log_uniform(1e-3, 0.3) as f32;
                drawn.als.iterations = log_uniform(6.0, 20.0).round() as usize;
            }
            let als = &drawn.als;
            vec![
                format!("regularization={}", als.regularization),
                format!("alpha={}", als.alpha),
                format!("iterations={}", als.iterations),
            ]
        }
        Algorithm::ItemKnn => {
            if trial > 0 {
                drawn.item_knn.neighbours = log_uniform(20.0, 1000.0) as usize;
                drawn.item_knn.shrink = log_uniform(0.1, 100.0) as f32;
                drawn.item_knn.measure = match (log_uniform(1.0, 4.0)) as u32 {
                    1 => Measure::Cosine,
                    2 => Measure::TfIdf,
                    _ => Measure::Bm25,
                };
            }
            let knn = &drawn.item_knn;
            let measure =
                serde_json::to_value(knn.measure).ok().and_then(|value| value.as_str().map(str::to_string)).unwrap_or_default();
            vec![format!("measure=\"{measure}\""), format!("neighbours={}", knn.neighbours), format!("shrink={}", knn.shrink)]
        }
        Algorithm::Popular => {
            if trial > 0 {
                drawn.popular.half_life_days = log_uniform(2.0, 720.0) as f32;
            }
            vec![format!("half_life_days={}", drawn.popular.half_life_days)]
        }
    };
    (drawn, pairs)
}

/// Tries `trials` settings and returns them, best first.
pub fn run(data: &Dataset, settings: &Settings, trials: usize, metric: &str, seed: u64) -> Result<Vec<Trial>> {
    let Some((name, k)) = metric.split_once('@').and_then(|(name, k)| Some((name, k.parse::<usize>().ok()?))) else {
        bail!("--metric {metric}: expected a name and a cut-off, for example ndcg@20");
    };
    if !aisle_models::metrics::NAMES.contains(&name) || k == 0 {
        bail!(
            "--metric {metric}: expected one of {} with a cut-off above 0",
            aisle_models::metrics::NAMES.map(|name| format!("{name}@{}", k.max(1))).join(", ")
        );
    }
    let parts = validation(data)?;
    let mut tried = Vec::new();
    for trial in 0..trials {
        let (drawn, pairs) = draw(settings.algorithm, settings, trial, seed);
        let row = evaluate::personal_alone(&parts, &drawn, settings.algorithm, k)?;
        let value = row.measured.means().get(metric).copied().unwrap_or(0.0);
        eprintln!("trial {:>3}/{trials}  {metric} {value:.4}  {}", trial + 1, pairs.join(" "));
        tried.push(Trial { pairs, value, fit_seconds: row.fit_seconds });
    }
    tried.sort_by(|a, b| b.value.total_cmp(&a.value));
    Ok(tried)
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
