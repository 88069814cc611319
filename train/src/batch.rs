//! `aisle-train batch`: the answers of a version for every shopper or item, as Parquet.

use crate::progress::Progress;
use crate::report::{count, seconds};
use aisle_models::{Answer, Bundle, ForCart, ForItem, ForUser, Watch, write_table};
use anyhow::{Context, Result, bail};
use arrow_array::{ArrayRef, Float32Array, StringArray, UInt32Array};
use clap::ValueEnum;
use rayon::prelude::*;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

/// Which answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Job {
    /// A personal list for each shopper.
    Personal,
    /// Similar items for each item.
    Similar,
    /// Complements for each item as a cart of one.
    CrossSell,
    /// Better versions of each item.
    Upsell,
}

/// Writes `key` (user_id or item_id of the question), `rank` from 1, `item_id`, `score`, `source`, `reason`; rows ordered by
/// key and rank. Returns the rows written.
pub fn run(bundle: &Bundle, job: Job, k: usize, out: &Path) -> Result<usize> {
    let began = Instant::now();
    let (keys, column): (Vec<u32>, &str) = match job {
        Job::Personal => ((0..bundle.users.len() as u32).collect(), "user_id"),
        _ => (bundle.trained().iter().collect(), "for_item_id"),
    };
    if keys.is_empty() {
        bail!(
            "version {} has no {} to answer for",
            bundle.version,
            if job == Job::Personal { "shoppers" } else { "items with events" }
        );
    }
    let progress = Progress::new();
    let mut answers: Vec<Answer> = Vec::with_capacity(keys.len());
    for block in keys.chunks(2048) {
        answers.extend(block.par_iter().map(|&key| ask(bundle, job, key, k)).collect::<Vec<_>>());
        progress.step("batch", answers.len(), keys.len());
    }
    progress.clear();

    let promised: usize = answers.iter().map(|answer| k.min(answer.eligible)).sum();
    let lines: Vec<(u32, u32, &aisle_models::Ranked)> = keys
        .iter()
        .zip(&answers)
        .flat_map(|(&key, answer)| answer.items.iter().enumerate().map(move |(rank, ranked)| (key, rank as u32 + 1, ranked)))
        .collect();
    if lines.len() != promised {
        bail!("{} rows made where {promised} were due: a fault of this program; nothing was written", lines.len());
    }
    let key = |row: u32| if job == Job::Personal { bundle.users.id(row) } else { bundle.items.id(row) };
    let columns: Vec<(String, ArrayRef)> = vec![
        (column.into(), Arc::new(StringArray::from_iter_values(lines.iter().map(|line| key(line.0))))),
        ("rank".into(), Arc::new(UInt32Array::from_iter_values(lines.iter().map(|line| line.1)))),
        ("item_id".into(), Arc::new(StringArray::from_iter_values(lines.iter().map(|line| bundle.items.id(line.2.item))))),
        ("score".into(), Arc::new(Float32Array::from_iter_values(lines.iter().map(|line| line.2.score)))),
        ("source".into(), Arc::new(StringArray::from_iter_values(lines.iter().map(|line| line.2.source.name())))),
        (
            "reason".into(),
            Arc::new(StringArray::from_iter(lines.iter().map(|line| line.2.reasons.first().map(|why| why.words(bundle))))),
        ),
    ];
    let temporary = out.with_extension("parquet.writing");
    write_table(&temporary, columns)?;
    std::fs::rename(&temporary, out).with_context(|| format!("cannot write {}", out.display()))?;
    let took = began.elapsed().as_secs_f64();
    eprintln!(
        "{} rows for {} {} in {} ({} rows a second) → {}",
        count(lines.len() as u64),
        count(keys.len() as u64),
        if job == Job::Personal { "shoppers" } else { "items" },
        seconds(took),
        count((lines.len() as f64 / took) as u64),
        out.display(),
    );
    Ok(lines.len())
}

fn ask(bundle: &Bundle, job: Job, key: u32, k: usize) -> Answer {
    match job {
        Job::Personal => bundle.for_user(&ForUser { user: Some(key), k, exclude_bought: true, ..ForUser::default() }),
        Job::Similar => bundle.similar(&ForItem { item: key, k, ..ForItem::default() }),
        Job::CrossSell => bundle.cross_sell(&ForCart { cart: vec![key], k, ..ForCart::default() }),
        Job::Upsell => bundle.upsell(&ForItem { item: key, k, ..ForItem::default() }),
    }
}
