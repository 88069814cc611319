//! The task `upsell`: the dearer item that a shopper stepped up to.

use super::{Evaluation, Parts, Row, relevant};
use crate::progress::Progress;
use crate::report::count;
use crate::settings::Settings;
use aisle_data::{Catalog, NONE};
use aisle_models::metrics::{Measured, Population};
use aisle_models::{Bundle, ForItem, Scored, TopK};
use anyhow::{Result, bail};
use rayon::prelude::*;
use serde_json::Value;
use std::time::Instant;

/// Upsell: for each shopper who bought in the test part an item new to them that lies in the category and the price band of
/// something they had bought, that item is asked for among all available dearer items of the band. The server's own answers
/// are measured, and each is checked for category, band and availability.
pub fn upsell(parts: &Parts, settings: &Settings, k: usize) -> Result<Evaluation> {
    let progress = Progress::new();
    let began = Instant::now();
    let bundle = Bundle::fit(&parts.train, &settings.data(), settings.hyperparameters(), &progress)?;
    progress.clear();
    let fit_seconds = began.elapsed().as_secs_f64();
    let catalog: &Catalog = &bundle.catalog;
    let (min, max) = bundle.upsell_model().band();
    let category = catalog.category_codes(0);
    let price = |item: u32| catalog.price[item as usize];
    let within_band = |anchor: u32, item: u32| price(item) >= price(anchor) * min && price(item) <= price(anchor) * max;
    let comparable = |anchor: u32, item: u32| {
        category[item as usize] == category[anchor as usize]
            && category[anchor as usize] != NONE
            && within_band(anchor, item)
            && catalog.currency.code(item) == catalog.currency.code(anchor)
            && catalog.available[item as usize]
    };
    let (wanted, _) = relevant(&parts.test, &bundle.users, &bundle.items);
    let mut questions: Vec<(u32, [u32; 1], u32)> = Vec::new();
    for (user, items) in wanted {
        let past = bundle.bought(user);
        for target in items.into_iter().filter(|item| (*item as usize) < bundle.items.len() && past.binary_search(item).is_err()) {
            // The dearest of the comparable things bought before: the one that the step up starts from.
            let anchors = past.iter().copied().filter(|&anchor| comparable(anchor, target));
            if let Some(anchor) =
                anchors.max_by(|&a, &b| catalog.price[a as usize].total_cmp(&catalog.price[b as usize]).then(b.cmp(&a)))
            {
                questions.push((anchor, [target], user));
            }
        }
    }
    if questions.is_empty() {
        bail!("no shopper of the test part stepped up within a category: choose another split, or widen upsell.max_ratio");
    }
    let relevant: Vec<&[u32]> = questions.iter().map(|question| question.1.as_slice()).collect();
    let groups: Vec<u32> = questions.iter().map(|question| question.2).collect();
    let item_users: Vec<u32> = (0..bundle.items.len() as u32).map(|item| bundle.popular().sales(item) as u32).collect();
    let population =
        Population { candidates: bundle.trained().count(), item_users: &item_users, users: bundle.users.len(), categories: &[] };

    // The anchor's own category, or, where that has no candidate at all, one that shares its upper levels.
    let in_deepest = |anchor: u32, item: u32| {
        let path = catalog.category.get(anchor).unwrap_or_default();
        let own = bundle.in_category(path).iter().any(|&other| other != anchor && comparable(anchor, other));
        match own {
            true => bundle.in_category(path).binary_search(&item).is_ok(),
            false => catalog.category_at(item, 1) == catalog.category_at(anchor, 1),
        }
    };
    let began = Instant::now();
    let (mut right_category, mut in_band, mut available, mut total) = (0, 0, 0, 0);
    let answers: Vec<Vec<Scored>> = questions
        .par_iter()
        .map(|&(anchor, _, _)| bundle.upsell(&ForItem { item: anchor, k, ..ForItem::default() }))
        .collect::<Vec<_>>()
        .into_iter()
        .zip(&questions)
        .map(|(answer, &(anchor, _, _))| {
            for ranked in &answer.items {
                total += 1;
                right_category += usize::from(in_deepest(anchor, ranked.item));
                in_band += usize::from(within_band(anchor, ranked.item));
                available += usize::from(catalog.available[ranked.item as usize]);
            }
            answer.items.iter().map(|ranked| Scored { item: ranked.item, score: ranked.score }).collect()
        })
        .collect();
    let row = |name: &str, answers: &[Vec<Scored>], evaluate_seconds: f64| Row {
        name: name.into(),
        params: serde_json::to_value(&settings.upsell).unwrap_or(Value::Null),
        measured: Measured::of(answers, &relevant, k, population).grouped(groups.clone()),
        slices: Vec::new(),
        fit_seconds,
        epoch_seconds: None,
        evaluate_seconds,
    };
    let mut rows = vec![row("upsell", &answers, began.elapsed().as_secs_f64())];
    type Score = fn(&Bundle, u32, u32) -> f32;
    let baselines: [(&str, Score); 3] = [
        ("popular dearer", |bundle, _, item| bundle.popular().sales(item)),
        ("nearest dearer", |bundle, _, item| -bundle.catalog.price[item as usize]),
        ("similar in band", |bundle, anchor, item| bundle.personal().similarity(anchor, item)),
    ];
    for (name, score) in baselines {
        let began = Instant::now();
        let answers: Vec<Vec<Scored>> = questions
            .par_iter()
            .map(|&(anchor, _, _)| {
                let mut top = TopK::new(k);
                let path = catalog.category.get(anchor).unwrap_or_default();
                for &item in bundle.in_category(path).iter().filter(|&&item| item != anchor && comparable(anchor, item)) {
                    top.offer(item, score(&bundle, anchor, item));
                }
                top.into_sorted()
            })
            .collect();
        rows.push(row(name, &answers, began.elapsed().as_secs_f64()));
    }
    let headline = format!(
        "upsell, {}: {} steps up of {} shoppers, price band {min} to {max}",
        parts.split,
        count(questions.len() as u64),
        count({
            let mut shoppers = groups.clone();
            shoppers.dedup();
            shoppers.len() as u64
        }),
    );
    let sizes = (bundle.users.len(), population.candidates, bundle.manifest.counts.interactions);
    let checks = vec![
        ("answers in the anchor's category".into(), right_category, total),
        ("answers in the price band".into(), in_band, total),
        ("answers available".into(), available, total),
    ];
    Ok(Evaluation { headline, metric: "recall", rows, sizes, checks })
}
