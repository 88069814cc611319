//! `aisle-train fit`: from a log to a published version.

use crate::evaluate::{self, Parts};
use crate::progress::Progress;
use crate::report::{bytes, count, peak_rss, seconds};
use crate::settings::Settings;
use aisle_data::{Dataset, Split, memory_available};
use aisle_models::{Bundle, Personal, Registry};
use anyhow::{Context, Result, bail};
use std::time::Instant;

/// Where a version goes.
pub struct Target {
    /// The registry.
    pub registry: Registry,
    /// The model's name.
    pub model: String,
    /// An alias to point at the new version.
    pub alias: Option<String>,
}

/// What a fit will take, told before it starts.
pub struct Estimate {
    /// Bytes beside the data.
    pub memory: u64,
    /// Seconds of the personal model.
    pub seconds: f64,
}

/// Multiply-adds a second that one core does in the solve, measured on a 2020s server core with AVX2.
const MADS_PER_SECOND: f64 = 15e9;

impl Estimate {
    /// From the sizes of the data and the hyperparameters alone.
    pub fn of(personal: &Personal, data: &Dataset) -> Self {
        let threads = rayon::current_num_threads();
        let (users, items, events) = (data.log.users.len(), data.log.items.len(), data.log.len());
        // Both directions of the matrix, and the triples they are made from.
        let matrix = 28 * events as u64;
        match personal {
            Personal::Als(als) => {
                let d = als.factors as f64;
                let work = events as f64 * d * d + (users + items) as f64 * d * d * d / 3.0;
                let seconds = als.iterations as f64 * work / (MADS_PER_SECOND * threads as f64);
                Self { memory: matrix + als.memory(users, items, threads), seconds }
            }
            Personal::ItemKnn(knn) => {
                let memory = matrix + (8 * items * knn.neighbours + 16 * items * threads) as u64;
                let per_user = events as f64 / users.max(1) as f64;
                Self { memory, seconds: events as f64 * per_user * 4.0 / (2e8 * threads as f64) }
            }
            Personal::Popular(_) => Self { memory: matrix, seconds: events as f64 / 5e6 },
        }
    }
}

/// Fits, publishes, points the alias, and returns the version's name.
///
/// # Errors
/// Whatever reading, fitting, or publishing returns; nothing is then published.
pub fn fit(data: &Dataset, settings: &Settings, target: &Target, measure: Option<&str>) -> Result<String> {
    let parameters = settings.hyperparameters();
    let estimate = Estimate::of(&parameters.personal, data);
    eprintln!(
        "{}: {} events of {} shoppers on {} items; about {} and {} on {} threads",
        parameters.personal.algorithm(),
        count(data.log.len() as u64),
        count(data.log.users.len() as u64),
        count(data.log.items.len() as u64),
        seconds(estimate.seconds),
        bytes(estimate.memory),
        rayon::current_num_threads(),
    );
    if let Some(free) = memory_available().filter(|&free| estimate.memory > free) {
        bail!(
            "the fit needs about {}, and {} are free: lower the factors or neighbours, or fit on a larger machine",
            bytes(estimate.memory),
            bytes(free)
        );
    }

    let mut metrics = std::collections::BTreeMap::new();
    if let Some(split) = measure {
        let (train, test) = split.parse::<Split>()?.apply(&data.log)?;
        let parts = Parts { train: Dataset { log: train, ..data.clone() }, test, split: split.into() };
        let evaluation = evaluate::personal(&parts, settings, &[settings.algorithm], 20)?;
        eprintln!("{}", evaluation.render());
        if let Some(row) = evaluation.rows.first() {
            metrics.extend(row.measured.means());
        }
    }

    let progress = Progress::new();
    let began = Instant::now();
    let mut bundle = Bundle::fit(data, &settings.data(), parameters, &progress)?;
    progress.clear();
    let fitted = began.elapsed().as_secs_f64();
    bundle.manifest.metrics = metrics;
    let began = Instant::now();
    let version = target.registry.publish(&target.model, &mut bundle).context("the version was not published")?;
    let folder = target.registry.version_folder(&target.model, &version)?;
    let counts = &bundle.manifest.counts;
    eprintln!(
        "fitted in {}, written and synced in {}: {} shoppers, {} items, {} pairs that go together ({} left out: fewer than {} shoppers), peak memory {}",
        seconds(fitted),
        seconds(began.elapsed().as_secs_f64()),
        count(counts.users as u64),
        count(counts.items as u64),
        count(counts.complement_pairs as u64 / 2),
        count(counts.suppressed_pairs),
        settings.cross_sell.min_shoppers,
        bytes(peak_rss()),
    );
    if let Some(alias) = &target.alias {
        target
            .registry
            .set_alias(&target.model, alias, &version)
            .with_context(|| format!("version {version} is published, but the alias '{alias}' was not moved"))?;
        eprintln!("{} → {alias}", folder.display());
    } else {
        eprintln!("{}  (no alias points at it: aisle-train alias --alias stable --version {version} …)", folder.display());
    }
    Ok(version)
}
