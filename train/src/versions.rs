//! Version administration: list, alias, rollback, verify, diff.

use crate::report::{bytes, count, table};
use aisle_models::{
    Answer, FittedModels, ItemRequest, ListedVersion, LiveState, Registry, UserRequest, Version,
    recommend_for_user, similar_items,
};
use anyhow::{Result, bail};
use std::collections::BTreeMap;
use std::fmt::Write;

/// Lists a model's versions as a table.
///
/// # Errors
/// A model without a version, with the models that there are.
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
    let row = |listed: &ListedVersion| {
        let named = aliases.aliases.iter();
        let named = named.filter(|(_, alias)| alias.version == listed.version);
        let names: Vec<&str> = named.map(|(name, _)| name.as_str()).collect();
        let mut cells = vec![listed.version.clone(), names.join(" ")];
        match &listed.manifest {
            Err(error) => cells.extend(["damaged".into(), error.to_string()]),
            Ok(manifest) => {
                let counts = &manifest.counts;
                let ndcg = manifest.metrics.get("ndcg@20");
                let last_day = manifest.lineage.last_day.as_deref();
                cells.extend([
                    manifest.algorithm.clone(),
                    count(counts.users as u64),
                    count(counts.items as u64),
                    count(counts.interactions as u64),
                    ndcg.map_or("-".into(), |value| format!("{value:.4}")),
                    bytes(manifest.files.iter().map(|file| file.bytes).sum()),
                    last_day.unwrap_or("-").into(),
                ]);
            }
        }
        cells
    };
    let rows: Vec<Vec<String>> = versions.iter().map(row).collect();
    let header = [
        "version",
        "alias",
        "algorithm",
        "shoppers",
        "items",
        "interactions",
        "ndcg@20",
        "size",
        "data until",
    ];
    Ok(table(&header, &rows))
}

/// Verifies one version, or all: digests, shapes, numbers, golden requests.
///
/// # Errors
/// If a version would not be served; the table with the reasons is then on standard output.
pub fn verify(registry: &Registry, model: &str, version: Option<&str>) -> Result<String> {
    let versions = match version {
        Some(version) => vec![version.to_string()],
        None => registry.version_names(model)?,
    };
    let mut text = String::new();
    let mut damaged = 0;
    for version in &versions {
        match registry.verify(model, version) {
            Ok(version) => {
                let (name, files) = (&version.name, version.manifest.files.len() + 1);
                let golden = version.manifest.golden.len();
                let _ = writeln!(
                    text,
                    "ok       {name}: {files} files, {golden} golden requests"
                );
            }
            Err(error) => {
                damaged += 1;
                let _ = writeln!(text, "refused  {version}: {error}");
            }
        }
    }
    if damaged > 0 {
        print!("{text}");
        bail!(
            "{damaged} of {} versions would not be served",
            versions.len()
        );
    }
    Ok(text)
}

/// Items of an answer that two versions are compared by.
const COMPARED: usize = 10;
/// Shoppers and items that are asked about, about so many of each.
const SAMPLE: usize = 500;
/// Items listed that are shown to more, or to fewer, shoppers.
const MOVED: usize = 5;

/// Compares how two versions answer, on shoppers and items that both know.
///
/// # Errors
/// What opening and verifying the versions returns.
pub fn diff(registry: &Registry, model: &str, a: &str, b: &str) -> Result<String> {
    let (old, new) = (registry.verify(model, a)?, registry.verify(model, b)?);
    let (old, new) = (Served::of(&old), Served::of(&new));
    let mut text = String::new();
    render_counts(&mut text, old.models, new.models);
    let personal = compare_personal(&old, &new);
    if personal.shoppers > 0 {
        let shoppers = personal.shoppers as f64;
        let _ = writeln!(
            text,
            "personal top {COMPARED}: {:.0} % of the items stay, {:.0} % of {} shoppers see fewer \
             than half again",
            100.0 * personal.kept_items as f64 / (COMPARED as f64 * shoppers),
            100.0 * personal.changed_shoppers as f64 / shoppers,
            personal.shoppers
        );
    }
    let (kept, items) = compare_similar(&old, &new);
    if items > 0 {
        let _ = writeln!(
            text,
            "similar top {COMPARED}: {:.0} % of the items stay over {items} items",
            100.0 * kept as f64 / (COMPARED * items) as f64
        );
    }
    render_moves(&mut text, personal.shown_to, new.models);
    Ok(text)
}

/// Models with the live state in which they answer.
struct Served<'a> {
    models: &'a FittedModels,
    live: LiveState,
}

impl<'a> Served<'a> {
    fn of(version: &'a Version) -> Self {
        Self {
            models: &version.models,
            live: LiveState::unchanged(&version.models),
        }
    }

    /// Ids of what is recommended to a shopper.
    fn personal(&self, user: u32) -> Vec<&'a str> {
        let request = UserRequest {
            user: Some(user),
            k: COMPARED,
            exclude_purchased: true,
            ..UserRequest::default()
        };
        self.ids(&recommend_for_user(self.models, &self.live, &request))
    }

    /// Ids of what is similar to an item.
    fn similar(&self, item: u32) -> Vec<&'a str> {
        let request = ItemRequest {
            item,
            k: COMPARED,
            ..ItemRequest::default()
        };
        self.ids(&similar_items(self.models, &self.live, &request))
    }

    fn ids(&self, answer: &Answer) -> Vec<&'a str> {
        let items = answer.items.iter();
        items
            .map(|ranked| self.models.items.id(ranked.item))
            .collect()
    }
}

/// How many items two answers share.
fn shared(before: &[&str], after: &[&str]) -> usize {
    after.iter().filter(|id| before.contains(id)).count()
}

/// Writes how many there are of what in both versions.
fn render_counts(text: &mut String, old: &FittedModels, new: &FittedModels) {
    let (from, to) = (&old.counts, &new.counts);
    for (what, from, to) in [
        ("shoppers", from.users, to.users),
        ("items", from.items, to.items),
        ("interactions", from.interactions, to.interactions),
        (
            "pairs that go together",
            from.complement_pairs / 2,
            to.complement_pairs / 2,
        ),
    ] {
        let _ = writeln!(
            text,
            "{what:<24}{:>12} → {:>12}  ({:+})",
            count(from as u64),
            count(to as u64),
            to as i64 - from as i64
        );
    }
}

/// How the personal answers of two versions differ.
#[derive(Default)]
struct PersonalDifference {
    /// Shoppers asked about.
    shoppers: usize,
    /// Items that stay, over all shoppers.
    kept_items: usize,
    /// Shoppers of whose items fewer than half stay.
    changed_shoppers: usize,
    /// To how many shoppers each item is shown, before and after.
    shown_to: BTreeMap<String, (i64, i64)>,
}

fn compare_personal(old: &Served, new: &Served) -> PersonalDifference {
    let mut difference = PersonalDifference::default();
    let users = &old.models.users;
    for user in (0..users.len() as u32).step_by((users.len() / SAMPLE).max(1)) {
        let Some(user_of_new) = new.models.users.get(users.id(user)) else {
            continue;
        };
        let (before, after) = (old.personal(user), new.personal(user_of_new));
        let kept = shared(&before, &after);
        difference.shoppers += 1;
        difference.kept_items += kept;
        difference.changed_shoppers += usize::from(kept * 2 < COMPARED);
        for id in before {
            difference.shown_to.entry(id.into()).or_default().0 += 1;
        }
        for id in after {
            difference.shown_to.entry(id.into()).or_default().1 += 1;
        }
    }
    difference
}

/// How many similar items stay, and over how many items that was counted.
fn compare_similar(old: &Served, new: &Served) -> (usize, usize) {
    let (mut kept, mut compared) = (0, 0);
    let items = &old.models.items;
    for item in (0..items.len() as u32).step_by((items.len() / SAMPLE).max(1)) {
        let item_of_new = new.models.items.get(items.id(item));
        let is_recommendable = old.models.recommendable().contains(item);
        let Some(item_of_new) = item_of_new.filter(|_| is_recommendable) else {
            continue;
        };
        kept += shared(&old.similar(item), &new.similar(item_of_new));
        compared += 1;
    }
    (kept, compared)
}

/// Writes which items are shown to more, and to fewer, shoppers.
fn render_moves(text: &mut String, shown_to: BTreeMap<String, (i64, i64)>, new: &FittedModels) {
    let moves = shown_to.into_iter();
    let mut moves: Vec<(i64, String)> = moves
        .map(|(id, (before, after))| (after - before, id))
        .collect();
    moves.sort();
    let title = |id: &str| {
        let item = new.items.get(id)?;
        new.catalog.title.get(item)
    };
    let mut list = |heading: &str, moves: Vec<&(i64, String)>| {
        let _ = writeln!(text, "{heading}");
        for (shift, id) in moves.into_iter().filter(|(shift, _)| *shift != 0) {
            let _ = writeln!(text, "  {shift:+5}  {id}  {}", title(id).unwrap_or(""));
        }
    };
    list(
        "shown to more shoppers:",
        moves.iter().rev().take(MOVED).collect(),
    );
    list(
        "shown to fewer shoppers:",
        moves.iter().take(MOVED).collect(),
    );
}
