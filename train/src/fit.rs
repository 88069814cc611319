//! `aisle-train fit`: from a log to a published version.

use crate::estimate::Estimate;
use crate::evaluate::{self, PersonalOptions, TrainTestSplit};
use crate::progress::ProgressReporter;
use crate::report::{bytes, count, peak_rss, seconds};
use crate::settings::Settings;
use aisle_data::{Dataset, Split, memory_available};
use aisle_models::{Hyperparameters, Registry, Version};
use anyhow::{Context, Result, bail};
use std::collections::BTreeMap;
use std::path::Path;
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

/// A name for the checkpoints of these hyperparameters fitted to these files: 16 hexadecimal
/// digits.
fn checkpoint_name(data: &Dataset, parameters: &Hyperparameters) -> Result<String> {
    let text = serde_json::to_string(&(parameters, &data.inputs))?;
    Ok(blake3::hash(text.as_bytes()).to_hex()[..16].to_string())
}

/// Fits, publishes, points the alias, and returns the version's name. `measure` is a split, as
/// [`Split`] is written: the personal model is first measured on it, and the metrics go into the
/// manifest.
///
/// # Errors
/// Whatever reading, fitting, or publishing returns; nothing is then published.
pub fn fit(
    data: &Dataset,
    settings: &Settings,
    target: &Target,
    measure: Option<&str>,
) -> Result<String> {
    announce(data, settings)?;
    let metrics = match measure {
        Some(split) => measure_first(data, settings, split)?,
        None => BTreeMap::new(),
    };
    let parameters = settings.hyperparameters();
    // A folder of this fit alone: another fit of the same model neither takes up its checkpoints
    // nor removes them.
    let checkpoints = target.registry.checkpoints(&target.model)?;
    let checkpoints = checkpoints.join(checkpoint_name(data, &parameters)?);
    let progress = ProgressReporter::of(settings.device, Some(checkpoints.clone()));
    let began = Instant::now();
    let mut version = Version::fit(data, &settings.data(), parameters, &progress)?;
    progress.clear();
    let fit_seconds = began.elapsed().as_secs_f64();
    version.manifest.metrics = metrics;
    let began = Instant::now();
    let name = target
        .registry
        .publish(&target.model, &mut version)
        .context("the version was not published")?;
    let write_seconds = began.elapsed().as_secs_f64();
    remove_checkpoints(&checkpoints);
    summarize(&version, settings, (fit_seconds, write_seconds));
    point_alias(target, &name)?;
    Ok(name)
}

/// Tells what the fit will take, and refuses one that the memory does not hold.
fn announce(data: &Dataset, settings: &Settings) -> Result<()> {
    let estimate = Estimate::of(settings, data);
    eprintln!(
        "{}: {} events of {} shoppers on {} items; the fit takes {}, on {} threads, and the \
         personal model {}",
        settings.algorithm.name(),
        count(data.log.len() as u64),
        count(data.log.users.len() as u64),
        count(data.log.items.len() as u64),
        estimate.render(),
        rayon::current_num_threads(),
        bytes(estimate.memory),
    );
    if let Some(free) = memory_available().filter(|&free| estimate.memory > free) {
        bail!(
            "the fit needs about {}, and {} are free: lower factors or neighbours (of two-tower: \
             batch or negatives), or fit on a larger machine",
            bytes(estimate.memory),
            bytes(free)
        );
    }
    Ok(())
}

/// Measures the personal model on a held-out part, and returns its metrics by name.
fn measure_first(
    data: &Dataset,
    settings: &Settings,
    split: &str,
) -> Result<BTreeMap<String, f64>> {
    let (train, test) = split.parse::<Split>()?.apply(&data.log)?;
    let parts = TrainTestSplit {
        train: Dataset {
            log: train,
            ..data.clone()
        },
        test,
        description: split.into(),
    };
    let options = PersonalOptions {
        k: 20,
        repeats: false,
    };
    let evaluation = evaluate::personal(&parts, settings, &[settings.algorithm], options)?;
    eprintln!("{}", evaluation.render());
    let first = evaluation.rows.first();
    Ok(first.map(|row| row.measured.means()).unwrap_or_default())
}

/// Removes the checkpoints of a published fit. They are of no more use, and no reason to fail it.
fn remove_checkpoints(folder: &Path) {
    let _ = std::fs::remove_dir_all(folder);
    let _ = folder.parent().map(std::fs::remove_dir);
}

/// Tells what was fitted and how long that took.
fn summarize(version: &Version, settings: &Settings, (fit_seconds, write_seconds): (f64, f64)) {
    let counts = &version.manifest.counts;
    if counts.cold_items > 0 {
        eprintln!(
            "{} items without events have a place by their content",
            count(counts.cold_items as u64)
        );
    }
    if let Some(retrieval) = &version.manifest.retrieval {
        eprintln!(
            "personal answers look at {} of {} lists of items: {:.1} % of the 100 best are found \
             (measured on {} shoppers), {:.1} % of the items with a vector are read",
            retrieval.probes,
            count(retrieval.lists as u64),
            100.0 * retrieval.recall,
            count(retrieval.shoppers as u64),
            100.0 * retrieval.share,
        );
    }
    eprintln!(
        "fitted in {}, written and synced in {}: {} shoppers, {} items, {} pairs that go together \
         ({} left out: fewer than {} shoppers), peak memory {}",
        seconds(fit_seconds),
        seconds(write_seconds),
        count(counts.users as u64),
        count(counts.items as u64),
        count(counts.complement_pairs as u64 / 2),
        count(counts.suppressed_pairs),
        settings.cross_sell.min_shoppers,
        bytes(peak_rss()),
    );
}

/// Points the alias at the new version, if one was asked for, and tells where the version is.
fn point_alias(target: &Target, version: &str) -> Result<()> {
    let folder = target.registry.version_folder(&target.model, version)?;
    let Some(alias) = &target.alias else {
        eprintln!(
            "{}  (no alias points at it: aisle-train alias --alias stable --version {version} …)",
            folder.display()
        );
        return Ok(());
    };
    let moved = target.registry.set_alias(&target.model, alias, version);
    moved.with_context(|| {
        format!("version {version} is published, but the alias '{alias}' was not moved")
    })?;
    eprintln!("{} → {alias}", folder.display());
    Ok(())
}
