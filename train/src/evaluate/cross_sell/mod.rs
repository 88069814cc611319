//! The task `cross-sell`: the missing line of an order.
//!
//! `questions.rs` cuts held-out orders into questions, `baselines.rs` holds the methods beside the
//! served answers.

mod baselines;
mod questions;

use super::compare::{
    Comparison, Method, ServedModels, answer_each, fit_to_baskets, params, rows_of_items,
    scored_items,
};
use super::{Evaluation, SliceResult, TrainTestSplit, TrainingSize, mean};
use crate::progress::ProgressReporter;
use crate::report::count;
use crate::settings::{Algorithm, Settings};
use aisle_data::Orders;
use aisle_models::metrics::{Population, QueryMetrics};
use aisle_models::{
    Bitmap, CartRequest, Eligible, History, Scored, SearchBuffer, Training, cross_sell as complete,
};
use anyhow::{Result, bail};
use baselines::Baselines;
use clap::ValueEnum;
use questions::{Candidates, PurchaseCounts, Question};
use std::time::Instant;

/// Which lines of a held-out order are asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum HeldOutLines {
    /// One line of each order, drawn with a fixed seed.
    #[default]
    One,
    /// Every line in turn.
    All,
}

/// Which of these lines count.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum TargetKind {
    /// Whatever is missing.
    #[default]
    All,
    /// What the shopper ordered before.
    Repeats,
    /// What a known shopper never ordered; their own items are left out of the answers.
    New,
}

/// How the task asks.
#[derive(Clone, Copy, Debug)]
pub struct CrossSellOptions {
    /// Answers per question.
    pub k: usize,
    /// Which lines are asked for.
    pub lines: HeldOutLines,
    /// Which of them count.
    pub targets: TargetKind,
}

/// Measures which item is missing from an order.
///
/// Of each test order with three distinct known items or more, one line (or each in turn) is left
/// out, and asked for if no other line has its category. All available trained items of categories
/// that the other lines do not have are ranked. The served answers are measured, for the shopper of
/// the order at its time. Baselines see the same cart and the same candidates; `algorithms` are
/// baselines beside Popular, ItemKnn and ALS, fitted to orders.
///
/// # Errors
/// What the fits return; a test part without an order to ask about.
pub fn cross_sell(
    parts: &TrainTestSplit,
    settings: &Settings,
    algorithms: &[Algorithm],
    options: CrossSellOptions,
) -> Result<Evaluation> {
    let served = ServedModels::fit(parts, settings)?;
    let models = &served.models;
    let min_users = settings.clean.min_users_per_item;
    let log = parts.train.log.with_min_users(min_users);
    let orders = Orders::of(&log);
    let matrix = orders.matrix(log.items.len(), usize::MAX);
    let item_orders = rows_of_items(&matrix);
    let levels = settings.cross_sell.category_levels;
    let candidates = Candidates::of(&item_orders, &models.catalog, levels);
    let purchases = PurchaseCounts::of(&orders);
    let questions = questions::of(parts, &log, &candidates, &purchases, options);
    if questions.is_empty() {
        bail!(
            "no order of the test part holds three known items and a line to ask for: choose \
             another split, or other --targets"
        );
    }
    let population = Population {
        candidates: candidates.all.count(),
        item_users: &item_orders,
        users: orders.len(),
        categories: &[],
    };
    let comparison = Comparison::new(
        &questions,
        |question| &question.target,
        |question| question.shopper,
        population,
        options.k,
    );
    let mut run = Run {
        candidates: &candidates,
        purchases: &purchases,
        targets: options.targets,
        comparison,
    };
    let own_params = serde_json::to_value(&settings.cross_sell)?;
    let method = Method::new("cross-sell", own_params, served.fit_seconds);
    run.measure(method, &|ask: &Ask, found| {
        let request = CartRequest {
            cart: ask.question.cart.clone(),
            k: options.k,
            user: ask.question.user,
            now: ask.question.now,
            exclude_purchased: ask.only_new,
            ..CartRequest::default()
        };
        let answer = complete(models, &served.live, &request);
        let is_allowed = |scored: &Scored| ask.allowed.contains(scored.item);
        found.items.extend(scored_items(&answer).filter(is_allowed));
    });
    let baselines = Baselines {
        models,
        purchases: &purchases,
        k: options.k,
    };
    baselines.measure(&mut run, &matrix);
    let training = Training {
        log: &log,
        interactions: &matrix,
        orders: &orders,
        catalog: &models.catalog,
        users: &[],
    };
    measure_algorithms(&mut run, &training, settings, algorithms)?;
    let headline = headline(parts, &run, options, models.cross_sell.learned_from);
    Ok(Evaluation {
        headline,
        metric: "recall",
        rows: run.comparison.rows,
        training: TrainingSize {
            users: orders.len(),
            items: population.candidates,
            interactions: matrix.nnz(),
        },
        checks: Vec::new(),
        figures: Vec::new(),
    })
}

/// Fits personal algorithms to orders and measures them.
fn measure_algorithms(
    run: &mut Run,
    training: &Training,
    settings: &Settings,
    algorithms: &[Algorithm],
) -> Result<()> {
    let progress = ProgressReporter::of(settings.device, None);
    let k = run.comparison.k;
    let baselines = [Algorithm::Popular, Algorithm::ItemKnn, Algorithm::Als];
    for algorithm in Algorithm::with_baselines(&baselines, algorithms) {
        let personal = settings.personal(algorithm);
        let began = Instant::now();
        let model = fit_to_baskets(&personal, training, &progress)?;
        let fit_seconds = began.elapsed().as_secs_f64();
        let method = Method::new(algorithm.name(), params(&personal), fit_seconds);
        run.measure(method, &|ask: &Ask, found| {
            let cart = &ask.question.cart;
            let history = History {
                items: cart,
                values: &vec![1.0; cart.len()],
                user: None,
            };
            model.recommend(history, k, Eligible::new(&ask.allowed), found);
        });
    }
    progress.clear();
    Ok(())
}

fn headline(
    parts: &TrainTestSplit,
    run: &Run,
    options: CrossSellOptions,
    learned_from: usize,
) -> String {
    let kind = match options.targets {
        TargetKind::All => "",
        TargetKind::Repeats => " for what the shopper ordered before",
        TargetKind::New => " for what is new to the shopper",
    };
    format!(
        "cross-sell, {}: {} questions{kind} (the other lines of a held-out order are given, its \
         missing line of another category is asked for), {} items of categories outside the cart \
         ranked; weights learned from {} questions of the training part",
        parts.description,
        count(run.comparison.questions.len() as u64),
        count(run.comparison.population.candidates as u64),
        count(learned_from as u64),
    )
}

/// A question as a method gets it.
struct Ask<'a> {
    question: &'a Question,
    /// Whether items that the shopper ordered before are left out.
    only_new: bool,
    /// Items that may be answered.
    allowed: Bitmap,
}

/// Writes the answer to a question into the buffer, best first: only items that may be answered.
type Answer<'a> = dyn Fn(&Ask, &mut SearchBuffer) + Sync + 'a;

/// What all methods are asked, and the results so far.
struct Run<'a> {
    candidates: &'a Candidates,
    purchases: &'a PurchaseCounts,
    targets: TargetKind,
    comparison: Comparison<'a, Question>,
}

impl Run<'_> {
    /// Measures a method on all questions and, where all targets count, on repeats and new items
    /// apart.
    fn measure(&mut self, method: Method, answer: &Answer) {
        let began = Instant::now();
        let (candidates, purchases) = (self.candidates, self.purchases);
        let ask = |question: &Question, only_new: bool, found: &mut SearchBuffer| {
            let own = purchases.of_user(question.user);
            let excluded = if only_new { own } else { &[] };
            let allowed = candidates.outside(&question.cart, excluded);
            let ask = Ask {
                question,
                only_new,
                allowed,
            };
            answer(&ask, found);
        };
        let only_new = self.targets == TargetKind::New;
        let answers = answer_each(self.comparison.questions, |question, found| {
            ask(question, only_new, found);
        });
        // Targets that were ordered before are asked of everything, new ones of what is new.
        let is_new = |question: &&Question| {
            !question.is_repeat(purchases) && !purchases.of_user(question.user).is_empty()
        };
        let new: Vec<&Question> = match self.targets {
            TargetKind::All => self.comparison.questions.iter().filter(is_new).collect(),
            _ => Vec::new(),
        };
        let of_new = answer_each(&new, |question, found| ask(question, true, found));
        let of_new = self.new_items(&new, &of_new);
        let questions = self.comparison.questions;
        let row = self.comparison.add(method, &answers, began);
        if self.targets == TargetKind::All {
            row.slices = vec![repeats(questions, purchases, &row.measured), of_new];
        }
    }
    /// The means over the questions whose target is new to a known shopper, answered without the
    /// shopper's own items.
    fn new_items(&self, new: &[&Question], answers: &[Vec<Scored>]) -> SliceResult {
        let relevant: Vec<&[u32]> = new.iter().map(|one| one.target.as_slice()).collect();
        let (k, population) = (self.comparison.k, self.comparison.population);
        let measured = QueryMetrics::of(answers, &relevant, k, population);
        let mean_of = |metric: &str| mean(&measured.values(metric).unwrap_or_default());
        SliceResult {
            slice: "new to the shopper, own items left out".into(),
            questions: new.len(),
            recall: mean_of("recall"),
            ndcg: mean_of("ndcg"),
        }
    }
}

/// The means over the questions whose target the shopper ordered before.
fn repeats(
    questions: &[Question],
    purchases: &PurchaseCounts,
    measured: &QueryMetrics,
) -> SliceResult {
    let repeats: Vec<usize> = (0..questions.len())
        .filter(|&at| questions[at].is_repeat(purchases))
        .collect();
    let mean_of = |metric: &str| {
        let values = measured.values(metric).unwrap_or_default();
        mean(&repeats.iter().map(|&at| values[at]).collect::<Vec<_>>())
    };
    SliceResult {
        slice: "repeats".into(),
        questions: repeats.len(),
        recall: mean_of("recall"),
        ndcg: mean_of("ndcg"),
    }
}
