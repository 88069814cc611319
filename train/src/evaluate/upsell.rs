//! The task `upsell`: the higher-priced item that a shopper stepped up to.

use super::calibration::{self, Prediction};
use super::compare::{Comparison, Method, ServedModels, scored_items};
use super::{Check, Evaluation, Figure, TrainTestSplit, test_choices};
use crate::report::count;
use crate::settings::Settings;
use aisle_data::millis_to_days;
use aisle_models::{Answer, FittedModels, ItemFilter, ItemRequest, Scored, TopK, days_since_epoch};
use anyhow::{Result, bail};
use rayon::prelude::*;
use std::time::Instant;

/// Largest price ratio of the baseline that is similar within a band.
const SIMILAR_BAND: f32 = 2.0;

/// A shopper, and the item that they bought last in a category.
struct Question {
    user: u32,
    anchor: u32,
    /// Higher-priced items of the category, new to the shopper, that they bought in the test part;
    /// ascending.
    stepped_up_to: Vec<u32>,
}

/// Measures which higher-priced item shoppers step up to.
///
/// For each shopper of the test part and each category that they knew, the item that they bought
/// there last is the anchor. Where they then bought an item that is new to them and higher-priced
/// than the anchor, within the band, that item is asked for among all available higher-priced items
/// of the category that they never had. The served answers are measured, and each is checked for
/// category, band and availability. Calibration is measured over all anchors of these shoppers,
/// also those that they stayed with.
///
/// # Errors
/// What the fits return; a catalogue without categories; nobody stepped up.
pub fn upsell(parts: &TrainTestSplit, settings: &Settings, k: usize) -> Result<Evaluation> {
    if parts.train.catalog.category.has_no_text() {
        bail!(
            "the task 'upsell' needs categories: give --items with a category column, or map one \
             in [columns.items]"
        );
    }
    let served = ServedModels::fit(parts, settings)?;
    let models = &served.models;
    let span = parts.test.span();
    let now = span.map(|(first, _)| days_since_epoch(first));
    let questions = questions(parts, models, now);
    let began = Instant::now();
    let answers: Vec<Answer> = questions
        .par_iter()
        .map(|question| answer(&served, question, now, k))
        .collect();
    // Probabilities hold for the days of the model's horizon, and the test part may be of other
    // length.
    let days = span.map_or(1.0, |(first, last)| millis_to_days(last - first));
    let stretch = days / f64::from(models.upsell.horizon().max(1.0));
    let predictions = predictions(&questions, &answers, stretch);
    let (questions, answers): (Vec<_>, Vec<_>) = questions
        .into_iter()
        .zip(answers)
        .filter(|(question, _)| !question.stepped_up_to.is_empty())
        .unzip();
    if questions.is_empty() {
        bail!(
            "no shopper of the test part stepped up within a category: choose another split, or \
             widen upsell.max_ratio"
        );
    }
    let mut comparison = Comparison::new(
        &questions,
        |question| &question.stepped_up_to,
        |question| question.user,
        served.population(),
        k,
    );
    let lists: Vec<Vec<Scored>> = answers
        .iter()
        .map(|answer| scored_items(answer).collect())
        .collect();
    let weighted = |name: &str, lists: &[Vec<Scored>]| {
        let name = format!("price-weighted recall@{k}, {name}");
        Figure::new(name, price_weighted_recall(models, &questions, lists))
    };
    let mut figures = vec![weighted("upsell", &lists)];
    let params = serde_json::to_value(&settings.upsell)?;
    comparison.add(
        Method::new("upsell", params, served.fit_seconds),
        &lists,
        began,
    );
    for (name, score) in BASELINES {
        let method = Method::baseline(name, served.fit_seconds);
        let lists = comparison.run(method, |question, found| {
            let mut top = TopK::new(k);
            for item in higher_priced(models, question.user, question.anchor, now) {
                top.offer(item, score(models, question.anchor, item));
            }
            found.items.extend(top.into_sorted());
        });
        figures.push(weighted(name, &lists));
    }
    figures.extend(calibration::figures(
        predictions,
        "the answers' probabilities",
    ));
    let (min, max) = models.upsell.band();
    let mut shoppers = comparison.groups.clone();
    shoppers.dedup();
    let headline = format!(
        "upsell, {}: {} steps up of {} shoppers, price band {min} to {max}",
        parts.description,
        count(questions.len() as u64),
        count(shoppers.len() as u64),
    );
    Ok(Evaluation {
        headline,
        metric: "recall",
        rows: comparison.rows,
        training: served.training_size(),
        checks: checks(models, &questions, &lists).to_vec(),
        figures,
    })
}

/// The score of a higher-priced item beside an anchor.
type Score = fn(&FittedModels, u32, u32) -> f32;

const BASELINES: [(&str, Score); 3] = [
    ("popular higher-priced", |models, _, item| {
        models.popular.sales(item)
    }),
    ("next higher price", |models, _, item| {
        -models.catalog.price[item as usize]
    }),
    ("similar in band", |models, anchor, item| {
        let price = |item: u32| models.catalog.price[item as usize];
        let is_outside = price(item) / price(anchor) > SIMILAR_BAND;
        models.personal().similarity(anchor, item) - if is_outside { 10.0 } else { 0.0 }
    }),
];

/// The higher-priced items of an item's category that a shopper never had, ascending.
fn higher_priced(models: &FittedModels, user: u32, anchor: u32, now: Option<f32>) -> Vec<u32> {
    let history = models.order_history.purchase_history(user, &[], now);
    models.upsell_parts().higher_priced_items(anchor, &history)
}

/// Every anchor of the shoppers of the test part that has a higher-priced item.
fn questions(parts: &TrainTestSplit, models: &FittedModels, now: Option<f32>) -> Vec<Question> {
    let choices = test_choices(&parts.test, &models.users, &models.items);
    let of_shopper = |(user, bought): (u32, Vec<u32>)| {
        let history = models.order_history.purchase_history(user, &[], now);
        let anchors = models.upsell_parts().anchor_items(&history);
        anchors.into_iter().filter_map(move |anchor| {
            let mut items = models.upsell_parts().higher_priced_items(anchor, &history);
            if items.is_empty() {
                return None;
            }
            items.retain(|item| bought.binary_search(item).is_ok());
            Some(Question {
                user,
                anchor,
                stepped_up_to: items,
            })
        })
    };
    let shoppers = choices.by_user.into_par_iter();
    shoppers.flat_map_iter(of_shopper).collect()
}

/// The answer that a server would give.
fn answer(served: &ServedModels, question: &Question, now: Option<f32>, k: usize) -> Answer {
    let filter = ItemFilter {
        exclude: served.models.purchased(question.user).to_vec(),
        ..ItemFilter::default()
    };
    let request = ItemRequest {
        item: question.anchor,
        k,
        user: Some(question.user),
        now,
        filter,
        ..ItemRequest::default()
    };
    aisle_models::upsell(&served.models, &served.live, &request)
}

/// The probabilities of all answers, over `stretch` times the model's horizon, and what happened.
fn predictions(questions: &[Question], answers: &[Answer], stretch: f64) -> Vec<Prediction> {
    let of_answer = |(question, answer): (&'_ Question, &'_ Answer)| -> Vec<Prediction> {
        let ranked = answer.items.iter();
        ranked
            .map(|ranked| {
                let probability = 1.0 - (1.0 - f64::from(ranked.score)).powf(stretch);
                let happened = question.stepped_up_to.binary_search(&ranked.item).is_ok();
                (probability, happened)
            })
            .collect()
    };
    questions.iter().zip(answers).flat_map(of_answer).collect()
}

/// Of all that shoppers paid more, the share that was for items of the answers.
fn price_weighted_recall(
    models: &FittedModels,
    questions: &[Question],
    answers: &[Vec<Scored>],
) -> f64 {
    let price = |item: u32| models.catalog.price[item as usize];
    let (mut found, mut all) = (0f64, 0f64);
    for (answer, question) in answers.iter().zip(questions) {
        for &item in &question.stepped_up_to {
            let delta = f64::from(price(item) - price(question.anchor));
            all += delta;
            if answer.iter().any(|scored| scored.item == item) {
                found += delta;
            }
        }
    }
    found / all.max(f64::MIN_POSITIVE)
}

/// Counts the answers that are what an upsell promises.
fn checks(models: &FittedModels, questions: &[Question], answers: &[Vec<Scored>]) -> [Check; 3] {
    let (min, max) = models.upsell.band();
    let catalog = &models.catalog;
    let (mut in_category, mut in_band, mut available, mut all) = (0, 0, 0, 0);
    for (answer, question) in answers.iter().zip(questions) {
        let path = catalog.category.get(question.anchor).unwrap_or_default();
        let anchor_price = catalog.price[question.anchor as usize];
        for scored in answer {
            let ratio = catalog.price[scored.item as usize] / anchor_price;
            let of_category = models.indexes.in_category(path);
            all += 1;
            in_category += usize::from(of_category.binary_search(&scored.item).is_ok());
            // Prices have 24 bits, so a ratio at the edge may be rounded across it.
            in_band += usize::from(ratio >= min * 0.999_99 && ratio <= max * 1.000_01);
            available += usize::from(catalog.available[scored.item as usize]);
        }
    }
    [
        Check::new("answers in the anchor's category", in_category, all),
        Check::new("answers in the price band", in_band, all),
        Check::new("answers available", available, all),
    ]
}
