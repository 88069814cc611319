//! The task `buy-again`: what a shopper buys again.

use super::upsell::calibration;
use super::{Evaluation, Parts, Row, relevant};
use crate::progress::Progress;
use crate::report::count;
use crate::settings::Settings;
use aisle_models::metrics::{Measured, Population};
use aisle_models::{Bundle, Due, ForAgain, Scored, TopK, day};
use anyhow::{Result, bail};
use rayon::prelude::*;
use serde_json::Value;
use std::time::Instant;

/// Buy again: for each shopper of the test part who bought in it something they had before, those items are asked for among all they
/// had. The server's own answers are measured; calibration is measured over everything that the shoppers of the test part had.
pub fn buy_again(parts: &Parts, settings: &Settings, k: usize) -> Result<Evaluation> {
    let progress = Progress::of(settings.device, None);
    let began = Instant::now();
    let bundle = Bundle::fit(&parts.train, &settings.data(), settings.hyperparameters(), &progress)?;
    progress.clear();
    let fit_seconds = began.elapsed().as_secs_f64();
    let (wanted, _) = relevant(&parts.test, &bundle.users, &bundle.items);
    let span = parts.test.span();
    let now = span.map(|(first, _)| day(first));
    let days = span.map_or(f64::from(bundle.buy_again_model().horizon()), |(first, last)| (last - first) as f64 / 86_400_000.0);
    let asked: Vec<(u32, Vec<Due>, Vec<u32>)> = wanted
        .into_par_iter()
        .map(|(user, items)| {
            let due = bundle.due(user, now, days as f32);
            let again = due.iter().map(|due| due.item).filter(|item| items.binary_search(item).is_ok()).collect();
            (user, due, again)
        })
        .collect();
    let chances = asked.iter().flat_map(|(_, due, again)| {
        due.iter().map(move |due| (f64::from(due.probability), again.binary_search(&due.item).is_ok()))
    });
    let (error, told, happened) = calibration(chances.collect());
    let questions: Vec<_> = asked.into_iter().filter(|(_, _, again)| !again.is_empty()).collect();
    if questions.is_empty() {
        bail!("no shopper of the test part bought anything again: choose another split");
    }
    let relevant: Vec<&[u32]> = questions.iter().map(|question| question.2.as_slice()).collect();
    let groups: Vec<u32> = questions.iter().map(|question| question.0).collect();
    let item_users: Vec<u32> = (0..bundle.items.len() as u32).map(|item| bundle.popular().sales(item) as u32).collect();
    let candidates = questions.iter().map(|question| question.1.len()).sum::<usize>() / questions.len();
    let population =
        Population { candidates: bundle.trained().count(), item_users: &item_users, users: bundle.users.len(), categories: &[] };
    let mut rows = Vec::new();
    let mut run = |name: &str, params: Value, rank: &(dyn Fn(u32, &[Due]) -> Vec<Scored> + Sync)| {
        let began = Instant::now();
        let answers: Vec<Vec<Scored>> = questions.par_iter().map(|(user, due, _)| rank(*user, due)).collect();
        let evaluate_seconds = began.elapsed().as_secs_f64();
        let measured = Measured::of(&answers, &relevant, k, population).grouped(groups.clone());
        rows.push(Row {
            name: name.into(),
            params,
            measured,
            slices: Vec::new(),
            fit_seconds,
            epoch_seconds: None,
            evaluate_seconds,
        });
    };
    run("buy-again", serde_json::to_value(&settings.buy_again)?, &|user, _| {
        let answer = bundle.buy_again(&ForAgain { user: Some(user), k, now, ..ForAgain::default() });
        answer.items.iter().map(|ranked| Scored { item: ranked.item, score: ranked.score }).collect()
    });
    type Score = fn(&Due) -> f32;
    // Ties by recency, so that frequency is as good as it can be.
    let frequency: Score = |due| due.orders as f32 - due.since / 1e6;
    let baselines: [(&str, Score); 3] =
        [("frequency", frequency), ("latest", |due| -due.since), ("most overdue", |due| -due.due_in)];
    for (name, score) in baselines {
        run(name, Value::Null, &|_, due| {
            let mut top = TopK::new(k);
            due.iter().filter(|due| bundle.catalog.available[due.item as usize]).for_each(|due| top.offer(due.item, score(due)));
            top.into_sorted()
        });
    }
    let headline = format!(
        "buy-again, {}: {} shoppers who bought something again within {days:.0} days, {} items had before each (mean)",
        parts.split,
        count(questions.len() as u64),
        count(candidates as u64),
    );
    let figures = vec![
        ("calibration error of the probabilities".into(), error),
        ("mean probability told".into(), told),
        ("mean share that happened".into(), happened),
    ];
    let sizes = (bundle.users.len(), population.candidates, bundle.manifest.counts.interactions);
    Ok(Evaluation { headline, metric: "ndcg", rows, sizes, checks: Vec::new(), figures })
}
