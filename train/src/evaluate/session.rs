//! The task `session`: the next click of a visit.

use super::compare::scored_items;
use super::compare::{Comparison, Method, ServedModels, fit_to_baskets, params, rows_of_items};
use super::{Evaluation, Figure, TrainTestSplit, TrainingSize};
use crate::progress::ProgressReporter;
use crate::report::count;
use crate::settings::{Algorithm, Settings};
use aisle_data::{EventLog, IdMap, NONE, Orders, Prefix, Sessions};
use aisle_models::metrics::Population;
use aisle_models::{
    Bitmap, Eligible, History, RepeatPolicy, SessionRequest, Training, recommend_for_session,
};
use anyhow::{Result, bail};
use std::time::Instant;

/// Most answers that are timed.
const MAX_TIMED: usize = 5000;

/// The clicks of a visit so far, and the next one.
struct Question {
    /// Item rows, oldest first.
    clicks: Vec<u32>,
    /// The next click; [`NONE`] if training never saw its item.
    next: [u32; 1],
    /// Number of the visit.
    visit: u32,
}

/// Measures the next click of a visit.
///
/// For each click of a held-out visit but the first, given the clicks before it, the item is asked
/// for among all trained items. Clicks on items that training never saw are passed over; where such
/// an item is the next one, the question counts as missed. The last click may come again, as in
/// published figures. `prefixes` are questions that were cut beforehand; without them, they are cut
/// from the test part. The served answers are measured; HR@k of publications is hit_rate.
/// `algorithms` are baselines beside ItemKnn, ALS and Popular, fitted to visits.
///
/// # Errors
/// What the fits return; a test part without a visit of two clicks.
pub fn session(
    parts: &TrainTestSplit,
    prefixes: Option<&[Prefix]>,
    settings: &Settings,
    algorithms: &[Algorithm],
    k: usize,
) -> Result<Evaluation> {
    let served = ServedModels::fit(parts, settings)?;
    let (models, live) = (&served.models, &served.live);
    let questions = match prefixes {
        Some(prefixes) => questions_of_prefixes(prefixes, &models.items),
        None => questions_of_visits(&parts.test, &models.items),
    };
    if questions.is_empty() {
        bail!(
            "no visit of the test part holds two clicks: it needs session_id, or user_id and \
             timestamps, or the columns prefix and target_item_id"
        );
    }
    let min_users = settings.clean.min_users_per_item;
    let log = parts.train.log.with_min_users(min_users);
    let visits = Orders::of(&log);
    let matrix = visits.matrix(log.items.len(), usize::MAX);
    let item_visits = rows_of_items(&matrix);
    let candidates = Bitmap::of(log.items.len(), |item| item_visits[item as usize] > 0);
    let population = Population {
        candidates: candidates.count(),
        item_users: &item_visits,
        users: visits.len(),
        categories: &[],
    };
    let mut comparison = Comparison::new(
        &questions,
        |question| &question.next,
        |question| question.visit,
        population,
        k,
    );
    let own_params = serde_json::to_value(&settings.session)?;
    let method = Method::new("session-knn", own_params, served.fit_seconds);
    comparison.run(method, |question, found| {
        let request = SessionRequest {
            clicks: question.clicks.clone(),
            k,
            repeats: RepeatPolicy::All,
            ..SessionRequest::default()
        };
        let answer = recommend_for_session(models, live, &request);
        found.items.extend(scored_items(&answer));
    });
    let training = Training {
        log: &log,
        interactions: &matrix,
        orders: &visits,
        catalog: &models.catalog,
        users: &[],
    };
    let progress = ProgressReporter::of(settings.device, None);
    let baselines = [Algorithm::ItemKnn, Algorithm::Als, Algorithm::Popular];
    for algorithm in Algorithm::with_baselines(&baselines, algorithms) {
        let personal = settings.personal(algorithm);
        let began = Instant::now();
        let model = fit_to_baskets(&personal, &training, &progress)?;
        let fit_seconds = began.elapsed().as_secs_f64();
        let method = Method::new(algorithm.name(), params(&personal), fit_seconds);
        comparison.run(method, |question, found| {
            let mut distinct = question.clicks.clone();
            distinct.sort_unstable();
            distinct.dedup();
            let history = History {
                items: &distinct,
                values: &vec![1.0; distinct.len()],
                user: None,
            };
            model.recommend(history, k, Eligible::new(&candidates), found);
        });
    }
    progress.clear();
    let headline = format!(
        "session, {}: {} next clicks given those before, {} items ranked; {} visits learned from",
        parts.description,
        count(questions.len() as u64),
        count(population.candidates as u64),
        count(models.session.sessions() as u64),
    );
    Ok(Evaluation {
        headline,
        metric: "mrr",
        rows: comparison.rows,
        training: TrainingSize {
            users: visits.len(),
            items: population.candidates,
            interactions: matrix.nnz(),
        },
        checks: Vec::new(),
        figures: answer_times(&served, &questions, k),
    })
}

/// Questions that were cut beforehand.
fn questions_of_prefixes(prefixes: &[Prefix], items: &IdMap) -> Vec<Question> {
    let question = |(prefix, visit): (&Prefix, u32)| Question {
        clicks: prefix
            .clicks
            .iter()
            .filter_map(|id| items.get(id))
            .collect(),
        next: [items.get(&prefix.target).unwrap_or(NONE)],
        visit,
    };
    prefixes.iter().zip(0..).map(question).collect()
}

/// A question for each click of the test part's visits but the first.
fn questions_of_visits(test: &EventLog, items: &IdMap) -> Vec<Question> {
    let visits = Sessions::of(test);
    let mut questions = Vec::new();
    for visit in 0..visits.len() {
        let train_row = |&item: &u32| items.get(test.items.id(item)).unwrap_or(NONE);
        let rows: Vec<u32> = visits.session(visit).iter().map(train_row).collect();
        for at in 1..rows.len() {
            let before = rows[..at].iter().copied();
            questions.push(Question {
                clicks: before.filter(|&item| item != NONE).collect(),
                next: [rows[at]],
                visit: visit as u32,
            });
        }
    }
    questions
}

/// Quantiles of the time of an answer. The answers are made one after the other, as a server's
/// thread makes them.
fn answer_times(served: &ServedModels, questions: &[Question], k: usize) -> Vec<Figure> {
    let milliseconds = |question: &Question| {
        let request = SessionRequest {
            clicks: question.clicks.clone(),
            k,
            ..SessionRequest::default()
        };
        let began = Instant::now();
        std::hint::black_box(recommend_for_session(
            &served.models,
            &served.live,
            &request,
        ));
        began.elapsed().as_secs_f64() * 1e3
    };
    let timed = questions.iter().take(MAX_TIMED);
    let mut times: Vec<f64> = timed.map(milliseconds).collect();
    times.sort_by(f64::total_cmp);
    let quantile = |share: f64| times[((times.len() - 1) as f64 * share) as usize];
    [("median", 0.5), ("99th of 100", 0.99), ("slowest", 1.0)]
        .map(|(name, share)| {
            let name = format!("milliseconds of an answer, {name}");
            Figure::new(name, quantile(share))
        })
        .to_vec()
}
