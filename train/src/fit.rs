//! `aisle-train fit`: from a log to a published version.

use crate::evaluate::{self, AskPersonal, Parts};
use crate::progress::Progress;
use crate::report::{bytes, count, peak_rss, seconds};
use crate::settings::Settings;
use aisle_data::{Dataset, Split, memory_available};
use aisle_models::{Bundle, Hyperparameters, Personal, Registry};
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

/// Multiply-adds a second that one core does in the dense kernels, measured on a 2020s server core.
const MADS_PER_SECOND: f64 = 15e9;
/// Additions a second that one core does at scattered places of memory.
const ADDS_PER_SECOND: f64 = 2e8;

impl Estimate {
    /// From the sizes of the data and the hyperparameters alone.
    pub fn of(personal: &Personal, data: &Dataset) -> Self {
        let log = &data.log;
        let (users, items, events) = (log.users.len(), log.items.len(), log.len());
        // Both directions of the matrix, and the triples they are made from.
        let matrix = 28 * events as u64;
        let threads = rayon::current_num_threads();
        let mut lengths = (vec![0u32; users], vec![0u32; items]);
        for event in 0..events {
            lengths.1[log.item[event] as usize] += 1;
            if let Some(length) = lengths.0.get_mut(log.user_of(event) as usize) {
                *length += 1;
            }
        }
        let squares = |lengths: &[u32]| lengths.iter().map(|&n| f64::from(n).powi(2)).sum::<f64>();
        let (dense, scattered, memory) = match personal {
            Personal::Als(als) => {
                let rows = lengths.0.iter().chain(&lengths.1);
                let turns = 2.0 * (users + items) as f64 * (als.factors as f64).powi(2);
                let work = als.iterations as f64 * (turns + rows.map(|&n| als.work(n as usize)).sum::<f64>());
                (work, 0.0, als.memory(users, items, threads))
            }
            Personal::LowPass(low_pass) => {
                let d = low_pass.factors as f64;
                let products = (2 * low_pass.iterations + 1) as f64 * events as f64 * d;
                (
                    low_pass.iterations as f64 * (users + items) as f64 * d * d + 10.0 * d.powi(3),
                    products / 8.0,
                    low_pass.memory(users, items),
                )
            }
            Personal::LinearFilter(filter) => (0.0, squares(&lengths.0), (16 * items * filter.neighbours.min(items)) as u64),
            Personal::ItemKnn(knn) => (0.0, squares(&lengths.0), (16 * items * knn.neighbours.min(items)) as u64),
            Personal::LocalRidge(ridge) => {
                let k = ridge.neighbours.min(items) as f64;
                let mean = squares(&lengths.1) / (events as f64).max(1.0);
                let memory = 32 * items * ridge.neighbours.min(items);
                (items as f64 * k.powi(3) / 6.0, squares(&lengths.0) + 4.0 * items as f64 * k * mean, memory as u64)
            }
            Personal::Ease(ease) => ((items as f64).powi(3) * 7.0 / 6.0, squares(&lengths.0), ease.memory(items)),
            Personal::TwoTower(tower) => {
                // Where the number of epochs is to be found, a guess: ten, twice.
                let epochs = if tower.epochs == 0 { 20.0 } else { tower.epochs as f64 };
                (epochs * tower.work(events), 0.0, tower.memory(users, items, events))
            }
            Personal::Blend(blend) => {
                // Each member is fitted twice: on the data less the validation part, and on all.
                let times = if blend.weights.is_empty() { 2.0 } else { 1.0 };
                let members: Vec<Estimate> = blend.members.iter().map(|member| Self::of(member, data)).collect();
                let seconds = members.iter().map(|member| times * member.seconds).sum();
                return Self { memory: members.iter().map(|member| member.memory).sum(), seconds };
            }
            Personal::Popular(_) => (0.0, events as f64, 0),
        };
        let seconds = (dense / MADS_PER_SECOND + scattered / ADDS_PER_SECOND) / threads as f64;
        Self { memory: matrix + memory, seconds }
    }
}

/// A name for fitting these hyperparameters to these files: 16 hexadecimal digits.
fn undertaking(data: &Dataset, parameters: &Hyperparameters) -> Result<String> {
    let text = serde_json::to_string(&(parameters, &data.inputs))?;
    Ok(blake3::hash(text.as_bytes()).to_hex()[..16].to_string())
}

/// Fits, publishes, points the alias, and returns the version's name.
///
/// # Errors
/// Whatever reading, fitting, or publishing returns; nothing is then published.
pub fn fit(data: &Dataset, settings: &Settings, target: &Target, measure: Option<&str>) -> Result<String> {
    let parameters = settings.hyperparameters();
    let estimate = Estimate::of(&parameters.personal, data);
    eprintln!(
        "{}: {} events of {} shoppers on {} items; the personal model takes about {} and {} on {} threads, twice where tasks learn from it",
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
            "the fit needs about {}, and {} are free: lower factors or neighbours (of two-tower: batch or negatives), or fit on a larger machine",
            bytes(estimate.memory),
            bytes(free)
        );
    }

    let mut metrics = std::collections::BTreeMap::new();
    if let Some(split) = measure {
        let (train, test) = split.parse::<Split>()?.apply(&data.log)?;
        let parts = Parts { train: Dataset { log: train, ..data.clone() }, test, split: split.into() };
        let evaluation = evaluate::personal(&parts, settings, &[settings.algorithm], AskPersonal { k: 20, repeats: false })?;
        eprintln!("{}", evaluation.render());
        if let Some(row) = evaluation.rows.first() {
            metrics.extend(row.measured.means());
        }
    }

    // Of this fit alone: another of the same model neither takes up its checkpoints nor clears them away.
    let checkpoints = target.registry.checkpoints(&target.model)?.join(undertaking(data, &parameters)?);
    let progress = Progress::of(settings.device, Some(checkpoints.clone()));
    let began = Instant::now();
    let mut bundle = Bundle::fit(data, &settings.data(), parameters, &progress)?;
    progress.clear();
    let fitted = began.elapsed().as_secs_f64();
    bundle.manifest.metrics = metrics;
    let began = Instant::now();
    let version = target.registry.publish(&target.model, &mut bundle).context("the version was not published")?;
    // Of no more use, and no reason to fail a fit that is published.
    let _ = std::fs::remove_dir_all(&checkpoints);
    let _ = checkpoints.parent().map(std::fs::remove_dir);
    let folder = target.registry.version_folder(&target.model, &version)?;
    let counts = &bundle.manifest.counts;
    if counts.cold_items > 0 {
        eprintln!("{} items without events have a place by their content", count(counts.cold_items as u64));
    }
    if let Some(retrieval) = &bundle.manifest.retrieval {
        eprintln!(
            "personal answers look at {} of {} lists of items: {:.1} % of the 100 best are found (measured on {} shoppers), {:.1} % of the items with a vector are read",
            retrieval.probes,
            count(retrieval.lists as u64),
            100.0 * retrieval.recall,
            count(retrieval.shoppers as u64),
            100.0 * retrieval.share,
        );
    }
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
