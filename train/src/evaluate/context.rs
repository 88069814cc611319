//! The task `context`: what is bought under given circumstances, by whomever.

use super::{Evaluation, Parts, Row};
use crate::progress::Progress;
use crate::report::count;
use crate::settings::Settings;
use aisle_data::{EventLog, EventRole, Interactions, NONE, Orders};
use aisle_models::metrics::{Measured, Population, interval};
use aisle_models::{
    Bitmap, Circumstances, ContextModel, Eligible, Fit, Mark, PopularModel, Scored, Training, marks, visitor_states,
};
use anyhow::{Result, bail};
use rayon::prelude::*;
use serde_json::Value;
use std::collections::BTreeMap;
use std::time::Instant;

/// An order: what is told of it, and what it holds.
struct Question {
    asked: Circumstances,
    items: Vec<u32>,
    shopper: u32,
}

/// Context: for each order of the test part, given its circumstances only, neither shopper nor cart, its items are asked for among all
/// available ones. Items that training never saw count as missed, those that the catalogue says are not for sale are not asked for. The
/// visitor's state follows from the training part and the shopper's earlier events in the test part. Each dimension is
/// measured alone too; intervals are drawn by shopper.
pub fn context(parts: &Parts, settings: &Settings, k: usize) -> Result<Evaluation> {
    let progress = Progress::of(settings.device, None);
    let log = parts.train.log.with_min_users(settings.clean.min_users_per_item);
    let catalog = &parts.train.catalog;
    let (interactions, orders) = (Interactions::of(&log), Orders::of(&log));
    let training = Training { log: &log, interactions: &interactions, orders: &orders, catalog, users: &[] };
    let began = Instant::now();
    let popular = settings.popular.fit(&training, &progress)?;
    let popular_seconds = began.elapsed().as_secs_f64();
    let model = settings.context.fit(&settings.popular, &training, &progress)?;
    let fit_seconds = began.elapsed().as_secs_f64();
    progress.clear();
    if model.dimensions().is_empty() {
        bail!(
            "the log tells no circumstances with {} purchases by {} shoppers: the task 'context' needs timestamps, or a column device, location, traffic_source, or one named in [columns] context",
            settings.context.min_events,
            settings.context.min_shoppers
        );
    }
    let available = Bitmap::of(log.items.len(), |item| catalog.available[item as usize]);
    let questions = questions(parts, &available, settings.context.lapsed_days);
    if questions.is_empty() {
        bail!("the test part holds no purchase of an item that is for sale: choose another split");
    }
    let relevant: Vec<&[u32]> = questions.iter().map(|question| question.items.as_slice()).collect();
    let groups: Vec<u32> = questions.iter().map(|question| question.shopper).collect();
    let item_users: Vec<u32> = (0..log.items.len()).map(|item| interactions.by_item.columns(item).len() as u32).collect();
    let population =
        Population { candidates: available.count(), item_users: &item_users, users: interactions.users(), categories: &[] };
    let asking = Asking { model: &model, popular: &popular, available: &available, k };
    let row = |name: String, params: Value, fit_seconds: f64, told: &dyn Fn(&str) -> bool| {
        let began = Instant::now();
        let asked: Vec<Circumstances> = questions.iter().map(|question| only(&question.asked, told)).collect();
        let answers = asking.answers(&asked);
        let evaluate_seconds = began.elapsed().as_secs_f64();
        let measured = Measured::of(&answers, &relevant, k, population).grouped(groups.clone());
        Row { name, params, measured, slices: Vec::new(), fit_seconds, epoch_seconds: None, evaluate_seconds }
    };
    let mut rows = vec![row("context".into(), serde_json::to_value(&settings.context)?, fit_seconds, &|_| true)];
    for dimension in model.dimensions() {
        rows.push(row(dimension.name.clone(), Value::Null, fit_seconds, &|name| name == dimension.name));
    }
    rows.push(row("popular".into(), serde_json::to_value(&settings.popular)?, popular_seconds, &|_| false));
    let headline = format!(
        "context, {}: {} orders of {} shoppers asked for by their circumstances, {} items ranked; cells: {}",
        parts.split,
        count(questions.len() as u64),
        count(distinct(&groups)),
        count(population.candidates as u64),
        model
            .dimensions()
            .iter()
            .map(|dimension| format!("{} {}", dimension.name, dimension.values.len()))
            .collect::<Vec<_>>()
            .join(", "),
    );
    let figures = gains(&rows, k);
    let sizes = (interactions.users(), population.candidates, interactions.nnz());
    Ok(Evaluation { headline, metric: "ndcg", rows, sizes, checks: Vec::new(), figures })
}

/// By how much each dimension alone is better than the best sellers, with the ends of the interval.
fn gains(rows: &[Row], k: usize) -> Vec<(String, f64)> {
    let ndcg = |row: &Row| row.measured.values("ndcg").unwrap_or_default();
    let Some((popular, others)) = rows.split_last() else { return Vec::new() };
    let theirs = ndcg(popular);
    let gain = |row: &Row| {
        let paired: Vec<f64> = ndcg(row).iter().zip(&theirs).map(|(a, b)| a - b).collect();
        let mean = paired.iter().sum::<f64>() / paired.len().max(1) as f64;
        let (low, high) = interval(&paired, &row.measured.groups);
        (format!("ndcg@{k} of {} above popular, 95 % within [{low:.4}, {high:.4}]", row.name), mean)
    };
    others.iter().map(gain).collect()
}

fn distinct(groups: &[u32]) -> u64 {
    groups.iter().collect::<std::collections::BTreeSet<_>>().len() as u64
}

fn only(asked: &Circumstances, told: &dyn Fn(&str) -> bool) -> Circumstances {
    asked.iter().filter(|(name, _)| told(name)).map(|(name, value)| (name.clone(), value.clone())).collect()
}

/// Whom to ask, and for what.
struct Asking<'a> {
    model: &'a ContextModel,
    popular: &'a PopularModel,
    available: &'a Bitmap,
    k: usize,
}

impl Asking<'_> {
    fn answers(&self, asked: &[Circumstances]) -> Vec<Vec<Scored>> {
        let answer = |asked: &Circumstances| {
            let ranked = self.model.ranked(asked, self.popular, self.k, Eligible::new(self.available));
            ranked.into_iter().map(|found| Scored { item: found.item, score: found.score }).collect()
        };
        asked.par_iter().map(answer).collect()
    }
}

/// The orders of the test part by their first events. Lines without an order are one by shopper and day.
fn questions(parts: &Parts, available: &Bitmap, lapsed_days: f32) -> Vec<Question> {
    let (train, test) = (&parts.train.log, &parts.test);
    let shopper = |event: usize| match test.user_of(event) {
        NONE => NONE,
        user => train.users.get(test.users.id(user)).unwrap_or(train.users.len() as u32 + user),
    };
    let mut past = marks(train);
    let known = past.len();
    past.extend(marks(test).into_iter().zip(0..).map(|(mark, event)| Mark {
        user: shopper(event),
        order: mark.order.map(|order| (1 << 32) | order),
        ..mark
    }));
    let states = if train.time.is_empty() || test.time.is_empty() { Vec::new() } else { visitor_states(&past, lapsed_days) };
    let mut orders: BTreeMap<(u32, u32, i64), Vec<usize>> = BTreeMap::new();
    let bought = test.has_purchases();
    for event in (0..test.len()).filter(|&event| asks(test, event, bought)) {
        let key = match (test.order_of(event), test.user_of(event)) {
            (NONE, NONE) => continue,
            (NONE, user) => (NONE, user, test.time_of(event).div_euclid(86_400_000)),
            (order, _) => (order, 0, 0),
        };
        orders.entry(key).or_default().push(event);
    }
    let mut questions = Vec::new();
    for (number, events) in (0u32..).zip(orders.into_values()) {
        let row = |&event: &usize| {
            let item = test.item[event];
            train.items.get(test.items.id(item)).unwrap_or(train.items.len() as u32 + item)
        };
        let mut items: Vec<u32> =
            events.iter().map(row).filter(|&item| item as usize >= train.items.len() || available.contains(item)).collect();
        items.sort_unstable();
        items.dedup();
        let Some(&first) = events.iter().min_by_key(|&&event| (test.time_of(event), event)).filter(|_| !items.is_empty()) else {
            continue;
        };
        let state = states.get(known + first).copied().flatten();
        let shopper = if shopper(first) == NONE { 1 << 31 | number } else { shopper(first) };
        questions.push(Question { asked: circumstances(test, &events, first, state), items, shopper });
    }
    questions
}

/// Whether an event is asked for.
fn asks(test: &EventLog, event: usize, bought: bool) -> bool {
    match test.type_of(event).role {
        EventRole::Purchase => true,
        EventRole::Return => false,
        _ => !bought,
    }
}

/// What is told of an order: of each column the first value that is known, and what follows from its moment and the shopper's past.
fn circumstances(test: &EventLog, events: &[usize], first: usize, state: Option<&str>) -> Circumstances {
    let mut told = Circumstances::new();
    if !test.time.is_empty() {
        told.insert("daypart".into(), ContextModel::daypart(test.time[first]).into());
    }
    told.extend(state.map(|state| ("visitor_state".into(), state.into())));
    for column in &test.context {
        let value = events.iter().find_map(|&event| column.value_of(event));
        // A column of the log stands for what would follow from the moment.
        told.remove(&column.name);
        told.extend(value.map(|value| (column.name.clone(), value.to_string())));
    }
    told
}
