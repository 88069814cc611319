//! The task `session`: the next click of a visit.

use super::{Evaluation, Parts, Row, params};
use crate::progress::Progress;
use crate::report::count;
use crate::settings::{Algorithm, Settings};
use aisle_data::{NONE, Prefix, Sessions};
use aisle_models::metrics::{Measured, Population};
use aisle_models::{
    Again, Bitmap, Bundle, Eligible, Fit, ForSession, Found, History, ItemItemModel, Personal, Recommend, Scaling, Scored, Training,
};
use anyhow::{Result, bail};
use rayon::prelude::*;
use serde_json::Value;
use std::time::Instant;

/// Answers that are timed, at most.
const TIMED: usize = 5000;

/// A question: clicks so far, and the next.
struct Next {
    clicks: Vec<u32>,
    target: [u32; 1],
    visit: u32,
}

/// Session: for each click of a held-out visit but the first, given those before it, the item is asked for among all trained items. Clicks
/// on items that training never saw are passed over; such targets count as missed. The last click may come again, as in published figures. `prefixes` are questions that were cut beforehand, else
/// they are cut from the test part. The server's own answers are measured; HR@k is hit_rate.
pub fn session(
    parts: &Parts,
    prefixes: Option<&[Prefix]>,
    settings: &Settings,
    asked: &[Algorithm],
    k: usize,
) -> Result<Evaluation> {
    let progress = Progress::of(settings.device, None);
    let began = Instant::now();
    let bundle = Bundle::fit(&parts.train, &settings.data(), settings.hyperparameters(), &progress)?;
    let fit_seconds = began.elapsed().as_secs_f64();
    let items = &bundle.items;
    let mut questions: Vec<Next> = Vec::new();
    let unknown = |id: &str| items.get(id).unwrap_or(NONE);
    match prefixes {
        Some(prefixes) => {
            for (prefix, number) in prefixes.iter().zip(0..) {
                let clicks = prefix.clicks.iter().filter_map(|id| items.get(id)).collect();
                questions.push(Next { clicks, target: [unknown(&prefix.target)], visit: number });
            }
        }
        None => {
            let visits = Sessions::of(&parts.test);
            for visit in 0..visits.len() {
                let rows: Vec<u32> = visits.session(visit).iter().map(|&item| unknown(parts.test.items.id(item))).collect();
                for at in 1..rows.len() {
                    let clicks: Vec<u32> = rows[..at].iter().copied().filter(|&item| item != NONE).collect();
                    questions.push(Next { clicks, target: [rows[at]], visit: visit as u32 });
                }
            }
        }
    }
    if questions.is_empty() {
        bail!(
            "no visit of the test part holds two clicks: it needs session_id, or user_id and timestamps, or the columns prefix and target_item_id"
        );
    }
    let log = parts.train.log.with_min_users(settings.clean.min_users_per_item);
    let sessions = aisle_data::Orders::of(&log);
    let by_session = sessions.matrix(log.items.len(), usize::MAX);
    let holders: Vec<u32> = (0..log.items.len()).map(|item| by_session.by_item.columns(item).len() as u32).collect();
    let candidates = Bitmap::of(log.items.len(), |item| holders[item as usize] > 0);
    let population = Population { candidates: candidates.count(), item_users: &holders, users: sessions.len(), categories: &[] };
    let relevant: Vec<&[u32]> = questions.iter().map(|question| question.target.as_slice()).collect();
    let groups: Vec<u32> = questions.iter().map(|question| question.visit).collect();
    let mut rows = Vec::new();
    let mut run = |name: &str, params: Value, fit_seconds: f64, answer: &(dyn Fn(&Next, &mut Found) + Sync)| {
        let began = Instant::now();
        let answers: Vec<Vec<Scored>> = questions
            .par_iter()
            .map_init(Found::default, |found, question| {
                found.items.clear();
                answer(question, found);
                found.items.clone()
            })
            .collect();
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
    run("session-knn", serde_json::to_value(&settings.session)?, fit_seconds, &|question, found| {
        let answer =
            bundle.for_session(&ForSession { clicks: question.clicks.clone(), k, again: Again::Anything, ..ForSession::default() });
        found.items.extend(answer.items.iter().map(|ranked| Scored { item: ranked.item, score: ranked.score }));
    });
    let training = Training { log: &log, interactions: &by_session, orders: &sessions, catalog: &bundle.catalog, users: &[] };
    let mut algorithms: Vec<Algorithm> = vec![Algorithm::ItemKnn, Algorithm::Als, Algorithm::Popular];
    algorithms.extend(asked.iter().filter(|algorithm| !algorithms.contains(algorithm)).collect::<Vec<_>>());
    for algorithm in algorithms {
        let chosen = settings.personal(algorithm);
        let began = Instant::now();
        let model: Box<dyn Recommend> = match &chosen {
            Personal::ItemKnn(knn) => {
                Box::new(ItemItemModel::knn(knn.neighbours(&by_session.by_user, &by_session.by_item)?, Scaling::Binary))
            }
            other => other.fit(&training, &progress)?,
        };
        run(algorithm.name(), params(&chosen), began.elapsed().as_secs_f64(), &|question, found| {
            let mut distinct = question.clicks.clone();
            distinct.sort_unstable();
            distinct.dedup();
            let ones = vec![1.0; distinct.len()];
            let history = History { items: &distinct, values: &ones, user: None };
            model.recommend(history, k, Eligible::new(&candidates), found);
        });
    }
    progress.clear();
    // One after the other, as a server's thread answers them.
    let timed = |question: &Next| {
        let ask = ForSession { clicks: question.clicks.clone(), k, ..ForSession::default() };
        let began = Instant::now();
        std::hint::black_box(bundle.for_session(&ask));
        began.elapsed().as_secs_f64() * 1e3
    };
    let mut millis: Vec<f64> = questions.iter().take(TIMED).map(timed).collect();
    millis.sort_by(f64::total_cmp);
    let quantile = |share: f64| millis[((millis.len() - 1) as f64 * share) as usize];
    let figures = [("median", 0.5), ("99th of 100", 0.99), ("slowest", 1.0)]
        .map(|(name, share)| (format!("milliseconds of an answer, {name}"), quantile(share)))
        .to_vec();
    let headline = format!(
        "session, {}: {} next clicks given those before, {} items ranked; {} visits learned from",
        parts.split,
        count(questions.len() as u64),
        count(population.candidates as u64),
        count(bundle.session_model().sessions() as u64),
    );
    let sizes = (sessions.len(), population.candidates, by_session.nnz());
    Ok(Evaluation { headline, metric: "mrr", rows, sizes, checks: Vec::new(), figures })
}
