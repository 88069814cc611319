//! How every task measures its methods: each method answers the same questions, and the same
//! metrics are taken of all answers.
//!
//! In: the questions of a task, what is relevant to each, and each method as a function from a
//! question to its answer. Out: one [`MethodResult`] for each method, in the order in which they
//! were asked.

use super::{MethodResult, TrainTestSplit, TrainingSize};
use crate::progress::ProgressReporter;
use crate::settings::Settings;
use aisle_data::{IdMap, Interactions};
use aisle_models::metrics::{Population, QueryMetrics};
use aisle_models::{
    Answer, Fit, FittedModels, ItemItemModel, LiveState, Personal, Recommend, Scaling, Scored,
    SearchBuffer, Training,
};
use anyhow::Result;
use rayon::prelude::*;
use serde_json::Value;
use std::time::Instant;

/// A method before it answers.
pub(super) struct Method {
    /// Its name in tables and JSON.
    pub name: String,
    /// Its hyperparameters; null if it has none.
    pub params: Value,
    /// Seconds that its fit took.
    pub fit_seconds: f64,
}

impl Method {
    pub(super) fn new(name: impl Into<String>, params: Value, fit_seconds: f64) -> Self {
        Self {
            name: name.into(),
            params,
            fit_seconds,
        }
    }

    /// A method without hyperparameters, which reads what a fit of `fit_seconds` made.
    pub(super) fn baseline(name: impl Into<String>, fit_seconds: f64) -> Self {
        Self::new(name, Value::Null, fit_seconds)
    }
}

/// What all methods of a task have in common, and the results so far.
pub(super) struct Comparison<'a, Q> {
    /// What every method is asked.
    pub questions: &'a [Q],
    /// Relevant items of each question, ascending.
    pub relevant: Vec<&'a [u32]>,
    /// Who asks each question. Intervals are drawn over these groups, since questions of one
    /// shopper resemble each other.
    pub groups: Vec<u32>,
    /// What coverage, novelty and diversity are measured against.
    pub population: Population<'a>,
    /// The cut-off: answers per question.
    pub k: usize,
    /// The results so far.
    pub rows: Vec<MethodResult>,
}

impl<'a, Q: Sync> Comparison<'a, Q> {
    /// A comparison in which nobody answered yet.
    pub(super) fn new(
        questions: &'a [Q],
        relevant: impl Fn(&'a Q) -> &'a [u32],
        group: impl Fn(&Q) -> u32,
        population: Population<'a>,
        k: usize,
    ) -> Self {
        Self {
            questions,
            relevant: questions.iter().map(relevant).collect(),
            groups: questions.iter().map(group).collect(),
            population,
            k,
            rows: Vec::new(),
        }
    }

    /// Asks one method every question, on all threads, and measures its answers, which are returned
    /// too.
    pub(super) fn run(
        &mut self,
        method: Method,
        answer: impl Fn(&Q, &mut SearchBuffer) + Sync,
    ) -> Vec<Vec<Scored>> {
        let began = Instant::now();
        let answers = answer_each(self.questions, answer);
        self.add(method, &answers, began);
        answers
    }

    /// Measures answers that a method began to make at `began`.
    pub(super) fn add(
        &mut self,
        method: Method,
        answers: &[Vec<Scored>],
        began: Instant,
    ) -> &mut MethodResult {
        let measured = QueryMetrics::of(answers, &self.relevant, self.k, self.population)
            .grouped(self.groups.clone());
        let row = MethodResult {
            name: method.name,
            params: method.params,
            measured,
            slices: Vec::new(),
            fit_seconds: method.fit_seconds,
            epoch_seconds: None,
            evaluate_seconds: began.elapsed().as_secs_f64(),
        };
        let at = self.rows.len();
        self.rows.push(row);
        &mut self.rows[at]
    }
}

/// The answer to each question, made on all threads.
pub(super) fn answer_each<Q: Sync>(
    questions: &[Q],
    answer: impl Fn(&Q, &mut SearchBuffer) + Sync,
) -> Vec<Vec<Scored>> {
    questions
        .par_iter()
        .map_init(SearchBuffer::default, |found, question| {
            found.items.clear();
            answer(question, found);
            found.items.clone()
        })
        .collect()
}

/// The items of a served answer with their scores.
pub(super) fn scored_items(answer: &Answer) -> impl Iterator<Item = Scored> + '_ {
    answer.items.iter().map(|ranked| Scored {
        item: ranked.item,
        score: ranked.score,
    })
}

/// All models of a version, fitted to the training part: tasks that have a call of their own
/// measure what a server would answer.
pub(super) struct ServedModels {
    /// The models.
    pub models: FittedModels,
    /// Prices, stock and rules as the models know them.
    pub live: LiveState,
    /// Seconds that the fit took.
    pub fit_seconds: f64,
    /// Shoppers of each item.
    item_users: Vec<u32>,
}

impl ServedModels {
    /// Fits every model to the training part.
    ///
    /// # Errors
    /// What the fits return.
    pub(super) fn fit(parts: &TrainTestSplit, settings: &Settings) -> Result<Self> {
        let progress = ProgressReporter::of(settings.device, None);
        let began = Instant::now();
        let models = FittedModels::fit(
            &parts.train,
            &settings.data(),
            settings.hyperparameters(),
            &progress,
        )?;
        progress.clear();
        let fit_seconds = began.elapsed().as_secs_f64();
        let item_users = (0..models.items.len() as u32)
            .map(|item| models.popular.sales(item) as u32)
            .collect();
        Ok(Self {
            live: LiveState::unchanged(&models),
            models,
            fit_seconds,
            item_users,
        })
    }

    /// What answers are measured against: every item that can be recommended.
    pub(super) fn population(&self) -> Population<'_> {
        Population {
            candidates: self.models.recommendable().count(),
            item_users: &self.item_users,
            users: self.models.users.len(),
            categories: &[],
        }
    }

    /// How much the models learned from.
    pub(super) fn training_size(&self) -> TrainingSize {
        TrainingSize {
            users: self.models.users.len(),
            items: self.models.recommendable().count(),
            interactions: self.models.counts.interactions,
        }
    }
}

/// The number of rows that hold each item of a matrix.
pub(super) fn rows_of_items(matrix: &Interactions) -> Vec<u32> {
    (0..matrix.items())
        .map(|item| matrix.by_item.columns(item).len() as u32)
        .collect()
}

/// The hyperparameters of an algorithm, without the enum's name around them.
pub(super) fn params(personal: &Personal) -> Value {
    match serde_json::to_value(personal) {
        Ok(Value::Object(map)) => map
            .into_iter()
            .next()
            .map_or(Value::Null, |(_, value)| value),
        _ => Value::Null,
    }
}

/// Fits a personal algorithm to rows that are orders or visits instead of shoppers: a baseline for
/// tasks about these.
///
/// # Errors
/// What the fit returns.
pub(super) fn fit_to_baskets(
    personal: &Personal,
    training: &Training,
    progress: &ProgressReporter,
) -> Result<Box<dyn Recommend>> {
    let Personal::ItemKnn(knn) = personal else {
        return Ok(personal.fit(training, progress)?);
    };
    let matrix = training.interactions;
    let neighbours = knn.neighbours(&matrix.by_user, &matrix.by_item)?;
    Ok(Box::new(ItemItemModel::knn(neighbours, Scaling::Binary)))
}

/// The row of an item in the training part; for an item that training never saw, a row beyond its
/// last one.
pub(super) fn row_or_beyond(train: &IdMap, test: &IdMap, item: u32) -> u32 {
    let known = train.get(test.id(item));
    known.unwrap_or(train.len() as u32 + item)
}
