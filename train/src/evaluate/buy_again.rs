//! The task `buy-again`: what a shopper buys again.

use super::compare::{Comparison, Method, ServedModels, scored_items};
use super::{Evaluation, TrainTestSplit, calibration, test_choices};
use crate::report::count;
use crate::settings::Settings;
use aisle_data::millis_to_days;
use aisle_models::{ReorderCandidate, ReorderRequest, TopK, days_since_epoch};
use anyhow::{Result, bail};
use rayon::prelude::*;

/// A shopper who bought something again.
struct Question {
    user: u32,
    /// All items that they bought before, ascending.
    candidates: Vec<ReorderCandidate>,
    /// Those that they bought again, ascending.
    reordered: Vec<u32>,
}

/// Measures which items shoppers buy again.
///
/// For each shopper who bought in the test part something that they had bought before, those items
/// are asked for among all that they had. The served answers are measured; calibration is measured
/// over everything that any shopper of the test part had.
///
/// # Errors
/// What the fits return; nobody bought anything again.
pub fn buy_again(parts: &TrainTestSplit, settings: &Settings, k: usize) -> Result<Evaluation> {
    let served = ServedModels::fit(parts, settings)?;
    let (models, live) = (&served.models, &served.live);
    let span = parts.test.span();
    let now = span.map(|(first, _)| days_since_epoch(first));
    let horizon = f64::from(models.buy_again.horizon());
    let days = span.map_or(horizon, |(first, last)| millis_to_days(last - first));
    let choices = test_choices(&parts.test, &models.users, &models.items);
    let question = |(user, bought): (u32, Vec<u32>)| {
        let candidates = models
            .buy_again_parts()
            .reorder_candidates(user, now, days as f32);
        let items = candidates.iter().map(|candidate| candidate.item);
        let reordered = items.filter(|item| bought.binary_search(item).is_ok());
        Question {
            user,
            reordered: reordered.collect(),
            candidates,
        }
    };
    let mut questions: Vec<Question> = choices.by_user.into_par_iter().map(question).collect();
    let predictions = questions.iter().flat_map(|question| {
        question.candidates.iter().map(|candidate| {
            let happened = question.reordered.binary_search(&candidate.item).is_ok();
            (f64::from(candidate.probability), happened)
        })
    });
    let figures = calibration::figures(predictions.collect(), "the probabilities").to_vec();
    questions.retain(|question| !question.reordered.is_empty());
    if questions.is_empty() {
        bail!("no shopper of the test part bought anything again: choose another split");
    }
    let mut comparison = Comparison::new(
        &questions,
        |question| &question.reordered,
        |question| question.user,
        served.population(),
        k,
    );
    let params = serde_json::to_value(&settings.buy_again)?;
    let method = Method::new("buy-again", params, served.fit_seconds);
    comparison.run(method, |question, found| {
        let request = ReorderRequest {
            user: Some(question.user),
            k,
            now,
            ..ReorderRequest::default()
        };
        let answer = aisle_models::buy_again(models, live, &request);
        found.items.extend(scored_items(&answer));
    });
    type Score = fn(&ReorderCandidate) -> f32;
    // Recency breaks the ties of frequency, so that it is as good as it can be.
    let frequency: Score = |candidate| candidate.orders as f32 - candidate.days_since / 1e6;
    let baselines: [(&str, Score); 3] = [
        ("frequency", frequency),
        ("latest", |candidate| -candidate.days_since),
        ("most overdue", |candidate| -candidate.days_until_due),
    ];
    for (name, score) in baselines {
        let method = Method::baseline(name, served.fit_seconds);
        comparison.run(method, |question, found| {
            let mut top = TopK::new(k);
            for candidate in &question.candidates {
                if models.catalog.available[candidate.item as usize] {
                    top.offer(candidate.item, score(candidate));
                }
            }
            found.items.extend(top.into_sorted());
        });
    }
    let candidates: usize = questions.iter().map(|one| one.candidates.len()).sum();
    let headline = format!(
        "buy-again, {}: {} shoppers who bought something again within {days:.0} days, {} items \
         had before each (mean)",
        parts.description,
        count(questions.len() as u64),
        count((candidates / questions.len()) as u64),
    );
    Ok(Evaluation {
        headline,
        metric: "ndcg",
        rows: comparison.rows,
        training: served.training_size(),
        checks: Vec::new(),
        figures,
    })
}
