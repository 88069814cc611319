//! The task `relations`: complements told from substitutes, against what is known of pairs from elsewhere.

use super::{Evaluation, Parts, Row};
use crate::progress::Progress;
use crate::report::count;
use crate::settings::Settings;
use aisle_data::{Related, mix};
use aisle_models::metrics::{Measured, Population};
use aisle_models::{Bundle, Scored};
use anyhow::{Result, bail};
use rayon::prelude::*;
use serde_json::Value;
use std::collections::BTreeMap;
use std::time::Instant;

/// Pairs of one item.
struct Question {
    item: u32,
    /// Complements, ascending: those that are not substitutes too.
    complements: Vec<u32>,
    substitutes: Vec<u32>,
}

/// Relations: for each item with both, its known complements (less what is also a known substitute) and substitutes are ranked together, the
/// complements to come first: precision@k, and as a figure the AUC, the share of pairs of one of each that stand right (ties count half).
/// Pairs whose items training never saw are left out. Baselines rank by one kind of evidence alone.
pub fn relations(parts: &Parts, settings: &Settings, known: &[Related], k: usize) -> Result<Evaluation> {
    let progress = Progress::of(settings.device, None);
    let began = Instant::now();
    let bundle = Bundle::fit(&parts.train, &settings.data(), settings.hyperparameters(), &progress)?;
    progress.clear();
    let fit_seconds = began.elapsed().as_secs_f64();
    let mut pairs: BTreeMap<u32, [Vec<u32>; 2]> = BTreeMap::new();
    for (from, to, relation) in known {
        if let (Some(from), Some(to)) = (bundle.items.get(from), bundle.items.get(to))
            && bundle.is_trained(from)
            && bundle.is_trained(to)
        {
            pairs.entry(from).or_default()[*relation as usize].push(to);
        }
    }
    let questions: Vec<Question> = pairs
        .into_iter()
        .map(|(item, [mut complements, mut substitutes])| {
            substitutes.sort_unstable();
            substitutes.dedup();
            complements.sort_unstable();
            complements.dedup();
            complements.retain(|other| substitutes.binary_search(other).is_err());
            Question { item, complements, substitutes }
        })
        .filter(|question| !question.complements.is_empty() && !question.substitutes.is_empty())
        .collect();
    if questions.is_empty() {
        bail!("no item of the log has a known complement and a known substitute: are the ids of --relations those of the log?");
    }
    let relevant: Vec<&[u32]> = questions.iter().map(|question| question.complements.as_slice()).collect();
    let item_users: Vec<u32> = (0..bundle.items.len() as u32).map(|item| bundle.popular().sales(item) as u32).collect();
    let population =
        Population { candidates: bundle.trained().count(), item_users: &item_users, users: bundle.users.len(), categories: &[] };
    let mut rows = Vec::new();
    let mut figures = Vec::new();
    let mut run = |name: &str, score: &(dyn Fn(u32, &[u32]) -> Vec<f32> + Sync)| {
        let began = Instant::now();
        let ranked: Vec<(Vec<Scored>, f64)> = questions
            .par_iter()
            .map(|question| {
                let items = [question.complements.as_slice(), &question.substitutes].concat();
                let scores = score(question.item, &items);
                let (ours, theirs) = scores.split_at(question.complements.len());
                let right = |a: f32, b: f32| if a > b { 1.0 } else { f64::from(u8::from(a == b)) / 2.0 };
                let pairs = ours.iter().flat_map(|&a| theirs.iter().map(move |&b| right(a, b)));
                let auc = pairs.sum::<f64>() / (ours.len() * theirs.len()) as f64;
                let mut list: Vec<Scored> = items.iter().zip(scores).map(|(&item, score)| Scored { item, score }).collect();
                // Ties must not fall to the one kind or the other.
                let lot = |scored: &Scored| mix(u64::from(question.item) << 32 | u64::from(scored.item));
                list.sort_by(|a, b| b.score.total_cmp(&a.score).then(lot(a).cmp(&lot(b))));
                list.truncate(k);
                (list, auc)
            })
            .collect();
        let (lists, aucs): (Vec<Vec<Scored>>, Vec<f64>) = ranked.into_iter().unzip();
        figures.push((format!("AUC, {name}"), aucs.iter().sum::<f64>() / aucs.len() as f64));
        let measured = Measured::of(&lists, &relevant, k, population);
        let evaluate_seconds = began.elapsed().as_secs_f64();
        let (slices, name) = (Vec::new(), name.to_string());
        rows.push(Row { name, params: Value::Null, measured, slices, fit_seconds, epoch_seconds: None, evaluate_seconds });
    };
    let pair = |from: u32, to: &u32| bundle.complements().pair(from, *to);
    run("complement score", &|from, items| bundle.complement_scores(from, items));
    run("less substitute score", &|from, items| bundle.substitute_scores(&[from], items).into_iter().map(|score| -score).collect());
    run("√LLR", &|from, items| items.iter().map(|to| pair(from, to).map_or(0.0, |pair| pair.score)).collect());
    run("lift", &|from, items| items.iter().map(|to| pair(from, to).map_or(0.0, |pair| pair.lift)).collect());
    run("likeness", &|from, items| bundle.personal().similarities(from, items));
    run("popular", &|_, items| items.iter().map(|&item| bundle.popular().sales(item)).collect());
    let headline = format!(
        "relations, {}: {} items with known complements and substitutes, {} and {} pairs; complements are to stand above substitutes",
        parts.split,
        count(questions.len() as u64),
        count(questions.iter().map(|question| question.complements.len() as u64).sum::<u64>()),
        count(questions.iter().map(|question| question.substitutes.len() as u64).sum::<u64>()),
    );
    let sizes = (bundle.users.len(), population.candidates, bundle.manifest.counts.interactions);
    Ok(Evaluation { headline, metric: "precision", rows, sizes, checks: Vec::new(), figures })
}
