//! The task `personal`: what a shopper chooses next.

use super::compare::{Comparison, Method, params, rows_of_items};
use super::slices::{self, Slice};
use super::{Check, Evaluation, MethodResult, TrainTestSplit, TrainingSize, test_choices};
use crate::progress::ProgressReporter;
use crate::report::count;
use crate::settings::{Algorithm, Settings};
use aisle_data::{Dataset, Interactions, Orders};
use aisle_models::metrics::Population;
use aisle_models::{
    Bitmap, Device, Eligible, Fit, History, Personal, Progress, Recommend, Scored, Training,
};
use anyhow::{Result, bail};
use std::sync::Mutex;
use std::time::Instant;

/// Shoppers ranked between two steps of the progress bar.
const BLOCK: usize = 4096;

/// How the task asks.
#[derive(Clone, Copy, Debug)]
pub struct PersonalOptions {
    /// Answers per question.
    pub k: usize,
    /// Whether what the shopper had before may be answered, and is asked for.
    pub repeats: bool,
}

/// Measures algorithms and, beside them, Popular and ItemKnn.
///
/// For each shopper with events in both parts, all items of the training part are ranked, without
/// those that the shopper had before. Relevant is what the shopper bought (in a log without
/// purchases: did) in the test part and not before. With `repeats` nothing is left out, neither of
/// the ranking nor of what is relevant.
///
/// # Errors
/// What the fits return; a training part without shoppers; a test part in which nobody can be
/// measured.
pub fn personal(
    parts: &TrainTestSplit,
    settings: &Settings,
    algorithms: &[Algorithm],
    options: PersonalOptions,
) -> Result<Evaluation> {
    let mut algorithms = algorithms.to_vec();
    for baseline in [Algorithm::Popular, Algorithm::ItemKnn] {
        if !algorithms.contains(&baseline) {
            algorithms.push(baseline);
        }
    }
    measure(parts, settings, &algorithms, options)
}

/// Measures one algorithm as [`personal`] does, without baselines and without repeats.
///
/// # Errors
/// As [`personal`].
pub fn personal_alone(
    parts: &TrainTestSplit,
    settings: &Settings,
    algorithm: Algorithm,
    k: usize,
) -> Result<MethodResult> {
    let options = PersonalOptions { k, repeats: false };
    let mut evaluation = measure(parts, settings, &[algorithm], options)?;
    Ok(evaluation.rows.remove(0))
}

/// The shoppers who are asked about, and how many are not.
struct Questions {
    /// Shopper and relevant items, ascending.
    asked: Vec<(u32, Vec<u32>)>,
    /// Shoppers of the test part without events in the training part.
    without_history: usize,
    /// Items of the test part that the shopper had before.
    repeats: usize,
}

impl Questions {
    fn of(parts: &TrainTestSplit, training: &Training, options: PersonalOptions) -> Result<Self> {
        let log = training.log;
        let choices = test_choices(&parts.test, &log.users, &log.items);
        let mut questions = Self {
            asked: Vec::new(),
            without_history: choices.unknown_users,
            repeats: 0,
        };
        for (user, items) in choices.by_user {
            let history = training.interactions.by_user.columns(user as usize);
            if history.is_empty() {
                questions.without_history += 1;
                continue;
            }
            let is_new = |item: &u32| history.binary_search(item).is_err();
            let new: Vec<u32> = items.iter().copied().filter(is_new).collect();
            questions.repeats += items.len() - new.len();
            let relevant = if options.repeats { items } else { new };
            if !relevant.is_empty() {
                questions.asked.push((user, relevant));
            }
        }
        if questions.asked.is_empty() {
            bail!(
                "no shopper of the test part has both events in the training part and something \
                 new after it: choose another split"
            );
        }
        Ok(questions)
    }

    /// Task, data and who is measured, in words.
    fn headline(
        &self,
        parts: &TrainTestSplit,
        candidates: usize,
        options: PersonalOptions,
    ) -> String {
        let mut text = format!(
            "personal, {}: {} shoppers measured, {} items ranked in full, \
             what the shopper had before {}",
            parts.description,
            count(self.asked.len() as u64),
            count(candidates as u64),
            if options.repeats {
                "included"
            } else {
                "left out"
            },
        );
        let about_repeats = match options.repeats {
            true => "test items are repeats",
            false => "test items were repeats and are not asked for (--repeats asks for them)",
        };
        for (number, what) in [
            (
                self.without_history,
                "shoppers of the test part have no events in the training part and are not \
                 measured",
            ),
            (self.repeats, about_repeats),
        ] {
            if number > 0 {
                text += &format!("\n  {} {what}", count(number as u64));
            }
        }
        text
    }
}

fn measure(
    parts: &TrainTestSplit,
    settings: &Settings,
    algorithms: &[Algorithm],
    options: PersonalOptions,
) -> Result<Evaluation> {
    let min_users = settings.clean.min_users_per_item;
    let log = parts.train.log.with_min_users(min_users);
    let interactions = Interactions::of(&log);
    if interactions.rows_are_orders {
        bail!(
            "the task 'personal' needs shoppers, and no event of the training part names one \
             (user_id)"
        );
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
    let questions = Questions::of(parts, &training, options)?;
    let item_users = rows_of_items(&interactions);
    let candidates = Bitmap::of(interactions.items(), |item| item_users[item as usize] > 0);
    let category = &parts.train.catalog.category;
    let categories: Vec<u32> = match category.has_no_text() {
        true => Vec::new(),
        false => (0..interactions.items() as u32)
            .map(|item| category.code(item))
            .collect(),
    };
    let population = Population {
        candidates: candidates.count(),
        item_users: &item_users,
        users: interactions.users(),
        categories: &categories,
    };
    let mut slices = slices::of(&questions.asked, &interactions, &catalog);
    if options.repeats {
        slices.extend(slices::repeats(&questions.asked, &interactions));
    }
    let comparison = Comparison::new(
        &questions.asked,
        |question| &question.1,
        |question| question.0,
        population,
        options.k,
    );
    let mut run = Run {
        training,
        settings,
        candidates: &candidates,
        repeats: options.repeats,
        comparison,
        slices,
        checks: Vec::new(),
    };
    for &algorithm in algorithms {
        run.measure(algorithm)?;
    }
    let headline = questions.headline(parts, population.candidates, options);
    Ok(Evaluation {
        headline,
        metric: "ndcg",
        training: TrainingSize {
            users: interactions.users(),
            items: population.candidates,
            interactions: interactions.nnz(),
        },
        rows: run.comparison.rows,
        checks: run.checks,
        figures: Vec::new(),
    })
}

/// What the algorithms are fitted to and asked, and the results so far.
struct Run<'a> {
    training: Training<'a>,
    settings: &'a Settings,
    /// Items that are ranked.
    candidates: &'a Bitmap,
    /// Whether what the shopper had before is ranked too.
    repeats: bool,
    comparison: Comparison<'a, (u32, Vec<u32>)>,
    slices: Vec<Slice>,
    checks: Vec<Check>,
}

impl Run<'_> {
    /// Fits one algorithm, asks it for every shopper, and measures its answers.
    fn measure(&mut self, algorithm: Algorithm) -> Result<()> {
        let progress = ProgressReporter::of(self.settings.device, None);
        let began = Instant::now();
        let personal = self.settings.personal(algorithm);
        let personal = personal.resolved(&self.training, &progress)?;
        let resolve_seconds = began.elapsed().as_secs_f64();
        let fitted = fit(&personal, &self.training, &progress)?;
        let mut model = fitted.model;
        // The segments are those of the first algorithm's vectors, so that they are the same for
        // all algorithms.
        if self.comparison.rows.is_empty() && self.settings.source.contains_key("segments") {
            let segments = &self.settings.segments;
            let segments = segments.fit(&self.training, model.as_ref(), &progress)?;
            let slices = slices::segments(self.comparison.questions, &segments);
            self.slices.extend(slices);
        }
        model.use_device(self.settings.device)?;
        let began = Instant::now();
        let answers = self.answers(model.as_ref(), algorithm, &progress);
        progress.clear();
        if self.repeats {
            self.check_repeats(algorithm, &answers);
        }
        let fit_seconds = resolve_seconds + fitted.seconds;
        let method = Method::new(algorithm.name(), params(&personal), fit_seconds);
        let k = self.comparison.k;
        let slices = self.slices.iter().map(|slice| slice.measure(&answers, k));
        let slices = slices.collect();
        let row = self.comparison.add(method, &answers, began);
        row.slices = slices;
        // What other algorithms report as steps are blocks of items.
        let iterates = matches!(algorithm, Algorithm::Als | Algorithm::LowPass);
        row.epoch_seconds = fitted.epoch_seconds.filter(|_| iterates);
        Ok(())
    }

    /// The answers of a model, in blocks of shoppers.
    fn answers(
        &self,
        model: &dyn Recommend,
        algorithm: Algorithm,
        progress: &ProgressReporter,
    ) -> Vec<Vec<Scored>> {
        let questions = self.comparison.questions;
        let mut answers: Vec<Vec<Scored>> = Vec::with_capacity(questions.len());
        for block in questions.chunks(BLOCK) {
            let history = |&(user, _): &(u32, Vec<u32>)| {
                let (items, values) = self.training.interactions.by_user.row(user as usize);
                History {
                    items,
                    values,
                    user: Some(user),
                }
            };
            let histories: Vec<History> = block.iter().map(history).collect();
            let eligible: Vec<Eligible> = histories
                .iter()
                .map(|history| {
                    let excluded = if self.repeats { &[] } else { history.items };
                    Eligible::without(self.candidates, excluded)
                })
                .collect();
            answers.extend(model.recommend_batch(&histories, self.comparison.k, &eligible));
            let stage = format!("ranking by {}", algorithm.name());
            progress.step(&stage, answers.len(), questions.len());
        }
        answers
    }

    /// Counts the answers that the shopper had before.
    fn check_repeats(&mut self, algorithm: Algorithm, answers: &[Vec<Scored>]) {
        let mut repeats = 0;
        for (answer, (user, _)) in answers.iter().zip(self.comparison.questions) {
            let history = self.training.interactions.by_user.columns(*user as usize);
            let had_before = |scored: &&Scored| history.binary_search(&scored.item).is_ok();
            repeats += answer.iter().filter(had_before).count();
        }
        let all = answers.iter().map(Vec::len).sum();
        let name = algorithm.name();
        let name = format!("answers of {name} that the shopper had before");
        self.checks.push(Check::new(name, repeats, all));
    }
}

/// A fitted model with what its fit took.
struct TimedFit {
    model: Box<dyn Recommend>,
    seconds: f64,
    /// Mean seconds between two reported steps; `None` of a fit with fewer than two.
    epoch_seconds: Option<f64>,
}

fn fit(personal: &Personal, training: &Training, progress: &ProgressReporter) -> Result<TimedFit> {
    let began = Instant::now();
    let timer = StepTimer {
        progress,
        steps: Mutex::default(),
    };
    let model = personal.fit(training, &timer)?;
    progress.clear();
    let steps = timer.steps.into_inner().unwrap_or_default();
    let epoch_seconds = match steps.as_slice() {
        [first, .., last] => Some((*last - *first).as_secs_f64() / (steps.len() - 1) as f64),
        _ => None,
    };
    Ok(TimedFit {
        model,
        seconds: began.elapsed().as_secs_f64(),
        epoch_seconds,
    })
}

/// Notes when each step of a fit ended, and shows it.
struct StepTimer<'a> {
    progress: &'a ProgressReporter,
    steps: Mutex<Vec<Instant>>,
}

impl Progress for StepTimer<'_> {
    fn step(&self, stage: &str, done: usize, total: usize) {
        self.progress.step(stage, done, total);
        if let Ok(mut steps) = self.steps.lock() {
            steps.push(Instant::now());
        }
    }

    fn message(&self, line: &str) {
        self.progress.message(line);
    }

    fn device(&self) -> Device {
        self.progress.device()
    }
}
