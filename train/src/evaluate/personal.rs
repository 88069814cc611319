//! The task `personal`: what a shopper chooses next.

use super::{Evaluation, Parts, Row, params, relevant, slices};
use crate::progress::Progress;
use crate::report::count;
use crate::settings::{Algorithm, Settings};
use aisle_data::{Dataset, Interactions, Orders};
use aisle_models::metrics::{Measured, Population};
use aisle_models::{Bitmap, Device, Eligible, Fit, History, Personal, Recommend, Scored, Training, Watch};
use anyhow::{Result, bail};
use std::time::Instant;

/// How the task personal is asked.
#[derive(Clone, Copy, Debug)]
pub struct AskPersonal {
    /// Answers per question.
    pub k: usize,
    /// Whether what the shopper had before may be answered, and is asked for.
    pub repeats: bool,
}

/// Times the iterations of a fit while showing them.
struct Timed<'a> {
    progress: &'a Progress,
    steps: std::sync::Mutex<Vec<Instant>>,
}

impl Watch for Timed<'_> {
    fn step(&self, stage: &str, done: usize, total: usize) {
        self.progress.step(stage, done, total);
        if let Ok(mut steps) = self.steps.lock() {
            steps.push(Instant::now());
        }
    }

    fn say(&self, line: &str) {
        self.progress.say(line);
    }

    fn device(&self) -> Device {
        self.progress.device()
    }
}

fn fit(personal: &Personal, training: &Training, progress: &Progress) -> Result<(Box<dyn Recommend>, f64, Option<f64>)> {
    let began = Instant::now();
    let timed = Timed { progress, steps: std::sync::Mutex::default() };
    let model = personal.fit(training, &timed)?;
    progress.clear();
    let steps = timed.steps.into_inner().unwrap_or_default();
    let epoch = match (steps.first(), steps.last()) {
        (Some(&first), Some(&last)) if steps.len() > 1 => Some((last - first).as_secs_f64() / (steps.len() - 1) as f64),
        _ => None,
    };
    Ok((model, began.elapsed().as_secs_f64(), epoch))
}

/// Personal: for each shopper with a past and a future, all items the training part holds are ranked, those of the shopper's
/// past left out; relevant is what the shopper bought (in a log without purchases: did) in the test part and not before. With
/// `repeats` nothing is left out, neither of the ranking nor of what is relevant.
pub fn personal(parts: &Parts, settings: &Settings, asked: &[Algorithm], ask: AskPersonal) -> Result<Evaluation> {
    let mut algorithms = asked.to_vec();
    for baseline in [Algorithm::Popular, Algorithm::ItemKnn] {
        if !algorithms.contains(&baseline) {
            algorithms.push(baseline);
        }
    }
    measure_personal(parts, settings, &algorithms, ask)
}

/// As [`personal`], one algorithm without its baselines.
pub fn personal_alone(parts: &Parts, settings: &Settings, algorithm: Algorithm, k: usize) -> Result<Row> {
    let mut evaluation = measure_personal(parts, settings, &[algorithm], AskPersonal { k, repeats: false })?;
    Ok(evaluation.rows.remove(0))
}

fn measure_personal(parts: &Parts, settings: &Settings, algorithms: &[Algorithm], ask: AskPersonal) -> Result<Evaluation> {
    let AskPersonal { k, repeats: again } = ask;
    let log = parts.train.log.with_min_users(settings.clean.min_users_per_item);
    let interactions = Interactions::of(&log);
    if interactions.rows_are_orders {
        bail!("the task 'personal' needs shoppers, and no event of the training part names one (user_id)");
    }
    let orders = Orders::of(&log);
    // As a fit does, from the training part alone.
    let mut catalog = parts.train.catalog.clone();
    Dataset::fill_prices(&mut catalog, &log);
    let training = Training {
        log: &log,
        interactions: &interactions,
        orders: &orders,
        catalog: &catalog,
        users: &parts.train.user_attributes,
    };
    let (wanted, strangers) = relevant(&parts.test, &log.users, &log.items);
    let mut repeats = 0;
    let mut questions: Vec<(u32, Vec<u32>)> = Vec::new();
    let mut newcomers = 0;
    for (user, items) in wanted {
        let past = interactions.by_user.columns(user as usize);
        if past.is_empty() {
            newcomers += 1;
            continue;
        }
        let before = items.len();
        let new: Vec<u32> = items.iter().copied().filter(|item| past.binary_search(item).is_err()).collect();
        repeats += before - new.len();
        let new = if again { items } else { new };
        if !new.is_empty() {
            questions.push((user, new));
        }
    }
    if questions.is_empty() {
        bail!("no shopper of the test part has both a past in the training part and something new after it: choose another split");
    }
    let item_users: Vec<u32> = (0..interactions.items()).map(|item| interactions.by_item.columns(item).len() as u32).collect();
    let candidates = Bitmap::of(interactions.items(), |item| item_users[item as usize] > 0);
    let category = &parts.train.catalog.category;
    let categories: Vec<u32> = match category.is_blank() {
        true => Vec::new(),
        false => (0..interactions.items() as u32).map(|item| category.code(item)).collect(),
    };
    let population = Population {
        candidates: candidates.count(),
        item_users: &item_users,
        users: interactions.users(),
        categories: &categories,
    };
    let mut slices = slices::of(&questions, &interactions, &catalog);
    if again {
        slices.extend(slices::repeats(&questions, &interactions));
    }
    let relevant: Vec<&[u32]> = questions.iter().map(|(_, items)| items.as_slice()).collect();

    let progress = Progress::of(settings.device, None);
    let mut rows = Vec::new();
    let mut checks = Vec::new();
    for &algorithm in algorithms {
        let began = Instant::now();
        let chosen = settings.personal(algorithm).resolved(&training, &progress)?;
        let choosing = began.elapsed().as_secs_f64();
        let (mut model, fit_seconds, epoch_seconds) = fit(&chosen, &training, &progress)?;
        // The same for all algorithms: by the taste that the first one sees.
        if rows.is_empty() && settings.source.contains_key("segments") {
            let found = settings.segments.fit(&training, model.as_ref(), &progress)?;
            slices.extend(slices::segments(&questions, &found));
        }
        model.rank_on(settings.device)?;
        let began = Instant::now();
        let mut answers: Vec<Vec<Scored>> = Vec::with_capacity(questions.len());
        for block in questions.chunks(4096) {
            let histories: Vec<History> = block
                .iter()
                .map(|&(user, _)| {
                    let (items, values) = interactions.by_user.row(user as usize);
                    History { items, values, user: Some(user) }
                })
                .collect();
            let eligible: Vec<Eligible> =
                histories.iter().map(|history| Eligible::without(&candidates, if again { &[] } else { history.items })).collect();
            answers.extend(model.recommend_batch(&histories, k, &eligible));
            progress.step(algorithm.name(), answers.len(), questions.len());
        }
        progress.clear();
        // What other algorithms report as steps are blocks of items.
        let epoch_seconds = epoch_seconds.filter(|_| matches!(algorithm, Algorithm::Als | Algorithm::LowPass));
        let users: Vec<u32> = questions.iter().map(|(user, _)| *user).collect();
        let measured = Measured::of(&answers, &relevant, k, population).grouped(users);
        if again {
            let had = |(answer, (user, _)): (&Vec<Scored>, &(u32, Vec<u32>))| {
                let past = interactions.by_user.columns(*user as usize);
                answer.iter().filter(|scored| past.binary_search(&scored.item).is_ok()).count()
            };
            let had = answers.iter().zip(&questions).map(had).sum();
            checks.push((
                format!("answers of {} that the shopper had before", algorithm.name()),
                had,
                answers.iter().map(Vec::len).sum(),
            ));
        }
        let evaluate_seconds = began.elapsed().as_secs_f64();
        rows.push(Row {
            name: algorithm.name().into(),
            params: params(&chosen),
            measured,
            slices: slices.iter().map(|slice| slice.reached(&answers, k)).collect(),
            fit_seconds: choosing + fit_seconds,
            epoch_seconds,
            evaluate_seconds,
        });
    }
    let mut headline = format!(
        "personal, {}: {} shoppers measured, {} items ranked in full, what the shopper had before {}",
        parts.split,
        count(questions.len() as u64),
        count(population.candidates as u64),
        if again { "included" } else { "left out" },
    );
    for (number, what) in [
        (strangers + newcomers, "shoppers of the test part have no past and are not measured"),
        (
            repeats,
            if again {
                "test items are repeats"
            } else {
                "test items were repeats and are not asked for (--repeats asks for them)"
            },
        ),
    ] {
        if number > 0 {
            headline += &format!("\n  {} {what}", count(number as u64));
        }
    }
    let sizes = (interactions.users(), population.candidates, interactions.nnz());
    Ok(Evaluation { headline, metric: "ndcg", rows, sizes, checks, figures: Vec::new() })
}
