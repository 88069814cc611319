//! The task `upsell`: the dearer item that a shopper stepped up to.

use super::{Evaluation, Parts, Row, relevant};
use crate::progress::Progress;
use crate::report::count;
use crate::settings::Settings;
use aisle_data::Catalog;
use aisle_models::metrics::{Measured, Population};
use aisle_models::{Answer, Bundle, ForItem, ItemFilter, Scored, TopK, day};
use anyhow::{Result, bail};
use rayon::prelude::*;
use serde_json::Value;
use std::time::Instant;

/// Upsell: of each shopper of the test part and each category they knew, the item they bought there last is the anchor; where they then
/// bought an item new to them that is dearer than it, within the band, that is asked for among all available dearer items of the category that
/// they never had. The server's own answers are measured, and each is checked for category, band and availability. Calibration is
/// measured over all anchors of these shoppers, also those that they stayed with.
pub fn upsell(parts: &Parts, settings: &Settings, k: usize) -> Result<Evaluation> {
    if parts.train.catalog.category.is_blank() {
        bail!("the task 'upsell' needs categories: give --items with a category column, or map one in [columns.items]");
    }
    let progress = Progress::of(settings.device, None);
    let began = Instant::now();
    let bundle = Bundle::fit(&parts.train, &settings.data(), settings.hyperparameters(), &progress)?;
    progress.clear();
    let fit_seconds = began.elapsed().as_secs_f64();
    let catalog: &Catalog = &bundle.catalog;
    let (min, max) = bundle.upsell_model().band();
    let price = |item: u32| catalog.price[item as usize];
    let (wanted, _) = relevant(&parts.test, &bundle.users, &bundle.items);
    let span = parts.test.span();
    let now = span.map(|(first, _)| day(first));
    // (shopper, anchor, what they stepped up to).
    let asked: Vec<(u32, u32, Vec<u32>)> = wanted
        .par_iter()
        .flat_map_iter(|(&user, items)| {
            let past = bundle.habits().past(user, &[], now);
            let anchors = bundle.step_anchors(&past);
            let bundle = &bundle;
            anchors.into_iter().filter_map(move |anchor| {
                let dearer = bundle.dearer(anchor, &past);
                let steps = dearer.iter().copied().filter(|item| items.binary_search(item).is_ok()).collect();
                (!dearer.is_empty()).then_some((user, anchor, steps))
            })
        })
        .collect();
    let ask = |user: u32, item: u32| {
        let filter = ItemFilter { exclude: bundle.bought(user).to_vec(), ..ItemFilter::default() };
        bundle.upsell(&ForItem { item, k, user: Some(user), now, filter, ..ForItem::default() })
    };
    let began = Instant::now();
    let all_answers: Vec<Answer> = asked.par_iter().map(|&(user, anchor, _)| ask(user, anchor)).collect();
    let evaluate_seconds = began.elapsed().as_secs_f64();
    // Probabilities are over the days of the model's horizon, the test part may be of other length.
    let days = span.map_or(1.0, |(first, last)| (last - first) as f64 / 86_400_000.0);
    let stretch = days / f64::from(bundle.upsell_model().horizon().max(1.0));
    let chances: Vec<(f64, bool)> = asked
        .iter()
        .zip(&all_answers)
        .flat_map(|((_, _, steps), answer)| {
            let chance = move |p: f32| 1.0 - (1.0 - f64::from(p)).powf(stretch);
            answer.items.iter().map(move |ranked| (chance(ranked.score), steps.binary_search(&ranked.item).is_ok()))
        })
        .collect();
    let (questions, of_questions): (Vec<_>, Vec<_>) =
        asked.into_iter().zip(all_answers).filter(|((_, _, steps), _)| !steps.is_empty()).unzip();
    if questions.is_empty() {
        bail!("no shopper of the test part stepped up within a category: choose another split, or widen upsell.max_ratio");
    }
    let relevant: Vec<&[u32]> = questions.iter().map(|question| question.2.as_slice()).collect();
    let groups: Vec<u32> = questions.iter().map(|question| question.0).collect();
    let item_users: Vec<u32> = (0..bundle.items.len() as u32).map(|item| bundle.popular().sales(item) as u32).collect();
    let population =
        Population { candidates: bundle.trained().count(), item_users: &item_users, users: bundle.users.len(), categories: &[] };

    let (mut right_category, mut in_band, mut available, mut total) = (0, 0, 0, 0);
    let mut answers: Vec<Vec<Scored>> = Vec::new();
    for (answer, &(_, anchor, _)) in of_questions.iter().zip(&questions) {
        let path = catalog.category.get(anchor).unwrap_or_default();
        for ranked in &answer.items {
            let ratio = price(ranked.item) / price(anchor);
            total += 1;
            right_category += usize::from(bundle.in_category(path).binary_search(&ranked.item).is_ok());
            in_band += usize::from(ratio >= min * 0.999_99 && ratio <= max * 1.000_01);
            available += usize::from(catalog.available[ranked.item as usize]);
        }
        answers.push(answer.items.iter().map(|ranked| Scored { item: ranked.item, score: ranked.score }).collect());
    }
    // Of all that shoppers paid more, how much was for items that an answer held.
    let gained = |answers: &[Vec<Scored>]| {
        let (mut found, mut all) = (0f64, 0f64);
        for (answer, (_, anchor, steps)) in answers.iter().zip(&questions) {
            for &item in steps {
                let delta = f64::from(price(item) - price(*anchor));
                all += delta;
                found += if answer.iter().any(|scored| scored.item == item) { delta } else { 0.0 };
            }
        }
        found / all.max(f64::MIN_POSITIVE)
    };
    let row = |name: &str, answers: &[Vec<Scored>], params: Value, evaluate_seconds: f64| Row {
        name: name.into(),
        params,
        measured: Measured::of(answers, &relevant, k, population).grouped(groups.clone()),
        slices: Vec::new(),
        fit_seconds,
        epoch_seconds: None,
        evaluate_seconds,
    };
    let mut figures = vec![("upsell".to_string(), gained(&answers))];
    let mut rows = vec![row("upsell", &answers, serde_json::to_value(&settings.upsell)?, evaluate_seconds)];
    type Score = fn(&Bundle, u32, u32) -> f32;
    let baselines: [(&str, Score); 3] = [
        ("popular dearer", |bundle, _, item| bundle.popular().sales(item)),
        ("nearest dearer", |bundle, _, item| -bundle.catalog.price[item as usize]),
        ("similar in band", |bundle, anchor, item| {
            let ratio = bundle.catalog.price[item as usize] / bundle.catalog.price[anchor as usize];
            bundle.personal().similarity(anchor, item) - if ratio > SIMILAR_BAND { 10.0 } else { 0.0 }
        }),
    ];
    for (name, score) in baselines {
        let began = Instant::now();
        let answers: Vec<Vec<Scored>> = questions
            .par_iter()
            .map(|&(user, anchor, _)| {
                let mut top = TopK::new(k);
                let past = bundle.habits().past(user, &[], now);
                bundle.dearer(anchor, &past).into_iter().for_each(|item| top.offer(item, score(&bundle, anchor, item)));
                top.into_sorted()
            })
            .collect();
        figures.push((name.to_string(), gained(&answers)));
        rows.push(row(name, &answers, Value::Null, began.elapsed().as_secs_f64()));
    }
    let mut figures: Vec<(String, f64)> =
        figures.into_iter().map(|(name, gain)| (format!("price-weighted recall@{k}, {name}"), gain)).collect();
    let (error, told, happened) = calibration(chances);
    figures.push(("calibration error of the answers' probabilities".into(), error));
    figures.push(("mean probability told".into(), told));
    figures.push(("mean share that happened".into(), happened));
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
    Ok(Evaluation { headline, metric: "recall", rows, sizes, checks, figures })
}

/// Largest price ratio of the baseline that is similar within a band.
const SIMILAR_BAND: f32 = 2.0;

/// Expected calibration error over ten bins of equal size, the mean probability, and the share that came true.
pub(super) fn calibration(mut chances: Vec<(f64, bool)>) -> (f64, f64, f64) {
    chances.sort_by(|a, b| a.0.total_cmp(&b.0));
    let mean = |part: &[(f64, bool)]| {
        let count = part.len().max(1) as f64;
        let told = part.iter().map(|chance| chance.0).sum::<f64>() / count;
        (told, part.iter().filter(|chance| chance.1).count() as f64 / count)
    };
    let (told, happened) = mean(&chances);
    let bin = chances.len().div_ceil(10).max(1);
    let off = |part: &[(f64, bool)]| {
        let (told, happened) = mean(part);
        (told - happened).abs() * part.len() as f64
    };
    (chances.chunks(bin).map(off).sum::<f64>() / chances.len().max(1) as f64, told, happened)
}
