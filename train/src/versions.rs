//! Version administration: list, alias, rollback, verify, diff.

use crate::report::{bytes, count, table};
use aisle_models::{Bundle, ForItem, ForUser, Registry};
use anyhow::{Result, bail};
use std::collections::BTreeMap;
use std::fmt::Write;

/// A table of a model's versions.
pub fn list(registry: &Registry, model: &str) -> Result<String> {
    let versions = registry.versions(model)?;
    if versions.is_empty() {
        let models = registry.models()?.join(", ");
        bail!(
            "model '{model}' has no version in {}; models there: {}",
            registry.root().display(),
            if models.is_empty() { "none" } else { &models }
        );
    }
    let aliases = registry.aliases(model)?;
    let rows: Vec<Vec<String>> = versions
        .iter()
        .map(|listed| {
            let names: Vec<&str> = aliases
                .aliases
                .iter()
                .filter(|(_, alias)| alias.version == listed.version)
                .map(|(name, _)| name.as_str())
                .collect();
            match &listed.manifest {
                Err(error) => vec![listed.version.clone(), names.join(" "), "damaged".into(), error.to_string()],
                Ok(manifest) => {
                    let ndcg = manifest.metrics.get("ndcg@20").map_or("-".into(), |value| format!("{value:.4}"));
                    let size: u64 = manifest.files.iter().map(|file| file.bytes).sum();
                    vec![
                        listed.version.clone(),
                        names.join(" "),
                        manifest.algorithm.clone(),
                        count(manifest.counts.users as u64),
                        count(manifest.counts.items as u64),
                        count(manifest.counts.interactions as u64),
                        ndcg,
                        bytes(size),
                        manifest.lineage.last_day.clone().unwrap_or_else(|| "-".into()),
                    ]
                }
            }
        })
        .collect();
    Ok(table(&["version", "alias", "algorithm", "shoppers", "items", "interactions", "ndcg@20", "size", "data until"], &rows))
}

/// Verifies one version, or all: digests, shapes, numbers, golden requests.
pub fn verify(registry: &Registry, model: &str, version: Option<&str>) -> Result<String> {
    let versions = match version {
        Some(version) => vec![version.to_string()],
        None => registry.version_names(model)?,
    };
    let mut text = String::new();
    let mut damaged = 0;
    for version in &versions {
        match registry.verify(model, version) {
            Ok(bundle) => {
                let files = bundle.manifest.files.len() + 1;
                let _ = writeln!(text, "ok       {version}: {files} files, {} golden requests", bundle.manifest.golden.len());
            }
            Err(error) => {
                damaged += 1;
                let _ = writeln!(text, "refused  {version}: {error}");
            }
        }
    }
    if damaged > 0 {
        print!("{text}");
        bail!("{damaged} of {} versions would not be served", versions.len());
    }
    Ok(text)
}

/// How differently two versions answer, on shoppers and items that both know.
pub fn diff(registry: &Registry, model: &str, a: &str, b: &str) -> Result<String> {
    const K: usize = 10;
    const SAMPLE: usize = 500;
    let (old, new) = (registry.verify(model, a)?, registry.verify(model, b)?);
    let mut text = String::new();
    let (from, to) = (&old.manifest.counts, &new.manifest.counts);
    for (what, from, to) in [
        ("shoppers", from.users, to.users),
        ("items", from.items, to.items),
        ("interactions", from.interactions, to.interactions),
        ("pairs that go together", from.complement_pairs / 2, to.complement_pairs / 2),
    ] {
        let _ = writeln!(text, "{what:<24}{:>12} → {:>12}  ({:+})", count(from as u64), count(to as u64), to as i64 - from as i64);
    }
    let names = |bundle: &Bundle, items: &[aisle_models::Ranked]| -> Vec<String> {
        items.iter().map(|ranked| bundle.items.id(ranked.item).to_string()).collect()
    };
    let mut shown: BTreeMap<String, (i64, i64)> = BTreeMap::new();
    let (mut overlap, mut asked, mut changed) = (0.0, 0usize, 0usize);
    let step = (old.users.len() / SAMPLE).max(1);
    for user in (0..old.users.len() as u32).step_by(step) {
        let Some(twin) = new.users.get(old.users.id(user)) else { continue };
        let ask = |user| ForUser { user: Some(user), k: K, exclude_bought: true, ..ForUser::default() };
        let before = names(&old, &old.for_user(&ask(user)).items);
        let after = names(&new, &new.for_user(&ask(twin)).items);
        let same = after.iter().filter(|id| before.contains(id)).count();
        overlap += same as f64 / K as f64;
        asked += 1;
        changed += usize::from(same * 2 < K);
        before.iter().for_each(|id| shown.entry(id.clone()).or_default().0 += 1);
        after.iter().for_each(|id| shown.entry(id.clone()).or_default().1 += 1);
    }
    if asked > 0 {
        let _ = writeln!(
            text,
            "personal top {K}: {:.0} % of the items stay, {:.0} % of {asked} shoppers see fewer than half again",
            100.0 * overlap / asked as f64,
            100.0 * changed as f64 / asked as f64
        );
    }
    let (mut kept, mut compared) = (0.0, 0usize);
    let step = (old.items.len() / SAMPLE).max(1);
    for item in (0..old.items.len() as u32).step_by(step).filter(|&item| old.is_trained(item)) {
        let Some(twin) = new.items.get(old.items.id(item)) else { continue };
        let before = names(&old, &old.similar(&ForItem { item, k: K, ..ForItem::default() }).items);
        let after = names(&new, &new.similar(&ForItem { item: twin, k: K, ..ForItem::default() }).items);
        kept += after.iter().filter(|id| before.contains(id)).count() as f64 / K as f64;
        compared += 1;
    }
    if compared > 0 {
        let _ = writeln!(text, "similar top {K}: {:.0} % of the items stay over {compared} items", 100.0 * kept / compared as f64);
    }
    let mut moves: Vec<(i64, String)> = shown.into_iter().map(|(id, (before, after))| (after - before, id)).collect();
    moves.sort();
    let title = |id: &str| new.items.get(id).and_then(|item| new.catalog.title.get(item)).unwrap_or("").to_string();
    let mut tell = |heading: &str, moves: Vec<&(i64, String)>| {
        let _ = writeln!(text, "{heading}");
        for (shift, id) in moves.into_iter().filter(|(shift, _)| *shift != 0) {
            let _ = writeln!(text, "  {shift:+5}  {id}  {}", title(id));
        }
    };
    tell("shown to more shoppers:", moves.iter().rev().take(5).collect());
    tell("shown to fewer shoppers:", moves.iter().take(5).collect());
    Ok(text)
}
