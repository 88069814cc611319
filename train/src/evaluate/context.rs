//! The task `context`: what is bought in a given context, by whomever.

use super::compare::{Comparison, Method, row_or_beyond, rows_of_items};
use super::{Evaluation, Figure, MethodResult, TrainTestSplit, TrainingSize, mean};
use crate::progress::ProgressReporter;
use crate::report::count;
use crate::settings::Settings;
use aisle_data::{EventLog, EventRole, Interactions, NONE, Orders, day_number};
use aisle_models::metrics::{Population, interval};
use aisle_models::{
    Bitmap, ContextModel, ContextValues, Eligible, Fit, Scored, Training, VisitorEvent,
    visitor_events, visitor_states,
};
use anyhow::{Result, bail};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

/// Shoppers without an id are numbered from here on.
const ANONYMOUS: u32 = 1 << 31;

/// An order of the test part.
struct Question {
    /// What the request tells: values by dimension.
    context: ContextValues,
    /// The items of the order, ascending.
    items: Vec<u32>,
    shopper: u32,
}

/// Measures what is bought in a given context.
///
/// Each order of the test part is asked for by its context alone, without shopper and cart, among
/// all available items. Items that training never saw count as missed; those that the catalogue
/// says are not for sale are not asked for. The visitor state follows from the training part and
/// the shopper's earlier events in the test part. Each dimension is measured alone too. Intervals
/// are drawn by shopper.
///
/// # Errors
/// What the fits return; a log without any context; a test part without a purchase of an available
/// item.
pub fn context(parts: &TrainTestSplit, settings: &Settings, k: usize) -> Result<Evaluation> {
    let progress = ProgressReporter::of(settings.device, None);
    let min_users = settings.clean.min_users_per_item;
    let log = parts.train.log.with_min_users(min_users);
    let catalog = &parts.train.catalog;
    let (interactions, orders) = (Interactions::of(&log), Orders::of(&log));
    let training = Training {
        log: &log,
        interactions: &interactions,
        orders: &orders,
        catalog,
        users: &[],
    };
    let began = Instant::now();
    let popular = settings.popular.fit(&training, &progress)?;
    let popular_seconds = began.elapsed().as_secs_f64();
    let model = settings
        .context
        .fit(&settings.popular, &training, &progress)?;
    let fit_seconds = began.elapsed().as_secs_f64();
    progress.clear();
    if model.dimensions().is_empty() {
        bail!(
            "the log has no context with {} purchases by {} shoppers: the task 'context' needs \
             timestamps, or a column device, location, traffic_source, or one named in [columns] \
             context",
            settings.context.min_events,
            settings.context.min_shoppers
        );
    }
    let available = Bitmap::of(log.items.len(), |item| catalog.available[item as usize]);
    let questions = questions(parts, &available, settings.context.lapsed_days);
    if questions.is_empty() {
        bail!("the test part holds no purchase of an item that is for sale: choose another split");
    }
    let item_users = rows_of_items(&interactions);
    let population = Population {
        candidates: available.count(),
        item_users: &item_users,
        users: interactions.users(),
        categories: &[],
    };
    let mut comparison = Comparison::new(
        &questions,
        |question| &question.items,
        |question| question.shopper,
        population,
        k,
    );
    let mut run = |method: Method, is_given: &(dyn Fn(&str) -> bool + Sync)| {
        comparison.run(method, |question, found| {
            let mut context = question.context.clone();
            context.retain(|name, _| is_given(name));
            let ranked = model.ranked(&context, &popular, k, Eligible::new(&available));
            found.items.extend(ranked.into_iter().map(|ranked| Scored {
                item: ranked.item,
                score: ranked.score,
            }));
        });
    };
    let params = serde_json::to_value(&settings.context)?;
    run(Method::new("context", params, fit_seconds), &|_| true);
    for dimension in model.dimensions() {
        let method = Method::baseline(&dimension.name, fit_seconds);
        run(method, &|name| name == dimension.name);
    }
    let params = serde_json::to_value(&settings.popular)?;
    run(Method::new("popular", params, popular_seconds), &|_| false);
    let cells = model.dimensions().iter();
    let cells = cells.map(|one| format!("{} {}", one.name, one.values.len()));
    let shoppers: BTreeSet<u32> = comparison.groups.iter().copied().collect();
    let headline = format!(
        "context, {}: {} orders of {} shoppers asked for by their context, {} items ranked; \
         values: {}",
        parts.description,
        count(questions.len() as u64),
        count(shoppers.len() as u64),
        count(population.candidates as u64),
        cells.collect::<Vec<_>>().join(", "),
    );
    Ok(Evaluation {
        headline,
        metric: "ndcg",
        figures: gains(&comparison.rows, k),
        rows: comparison.rows,
        training: TrainingSize {
            users: interactions.users(),
            items: population.candidates,
            interactions: interactions.nnz(),
        },
        checks: Vec::new(),
    })
}

/// By how much each method is better than the best sellers, the last row, with the ends of the
/// interval in its name.
fn gains(rows: &[MethodResult], k: usize) -> Vec<Figure> {
    let ndcg = |row: &MethodResult| row.measured.values("ndcg").unwrap_or_default();
    let Some((popular, others)) = rows.split_last() else {
        return Vec::new();
    };
    let of_popular = ndcg(popular);
    let gain = |row: &MethodResult| {
        let pairs = ndcg(row).into_iter().zip(&of_popular);
        let differences: Vec<f64> = pairs.map(|(a, b)| a - b).collect();
        let (low, high) = interval(&differences, &row.measured.groups);
        let name = format!(
            "ndcg@{k} of {} above popular, 95 % within [{low:.4}, {high:.4}]",
            row.name
        );
        Figure::new(name, mean(&differences))
    };
    others.iter().map(gain).collect()
}

/// The orders of the test part by ascending number. Lines without an order number are one order by
/// shopper and day.
fn questions(parts: &TrainTestSplit, available: &Bitmap, lapsed_days: f32) -> Vec<Question> {
    let (train, test) = (&parts.train.log, &parts.test);
    let states = visitor_states_of_test(train, test, lapsed_days);
    let shopper = |event: usize| match test.user_of(event) {
        NONE => None,
        user => Some(row_or_beyond(&train.users, &test.users, user)),
    };
    let mut questions = Vec::new();
    for (number, events) in (0u32..).zip(orders_of_test(test)) {
        let mut items: Vec<u32> = events
            .iter()
            .map(|&event| row_or_beyond(&train.items, &test.items, test.item[event]))
            .filter(|&item| item as usize >= train.items.len() || available.contains(item))
            .collect();
        items.sort_unstable();
        items.dedup();
        let first = events
            .iter()
            .copied()
            .min_by_key(|&event| (test.time_of(event), event));
        let Some(first) = first.filter(|_| !items.is_empty()) else {
            continue;
        };
        let state = states.get(first).copied().flatten();
        questions.push(Question {
            context: context_of_order(test, &events, first, state),
            items,
            shopper: shopper(first).unwrap_or(ANONYMOUS | number),
        });
    }
    questions
}

/// The events of each order of the test part.
fn orders_of_test(test: &EventLog) -> Vec<Vec<usize>> {
    let has_purchases = test.has_purchases();
    let is_bought = |event: &usize| match test.type_of(*event).role {
        EventRole::Purchase => true,
        EventRole::Return => false,
        _ => !has_purchases,
    };
    let mut orders: BTreeMap<(u32, u32, i64), Vec<usize>> = BTreeMap::new();
    for event in (0..test.len()).filter(is_bought) {
        let key = match (test.order_of(event), test.user_of(event)) {
            (NONE, NONE) => continue,
            (NONE, user) => (NONE, user, day_number(test.time_of(event))),
            (order, _) => (order, 0, 0),
        };
        orders.entry(key).or_default().push(event);
    }
    orders.into_values().collect()
}

/// The state of the visitor at each event of the test part, from what they did before it in both
/// parts; empty without times.
fn visitor_states_of_test(
    train: &EventLog,
    test: &EventLog,
    lapsed_days: f32,
) -> Vec<Option<&'static str>> {
    if train.time.is_empty() || test.time.is_empty() {
        return Vec::new();
    }
    let mut events = visitor_events(train);
    let trained = events.len();
    let of_test = visitor_events(test).into_iter().zip(0..);
    events.extend(of_test.map(|(event, at)| VisitorEvent {
        user: match test.user_of(at) {
            NONE => NONE,
            user => row_or_beyond(&train.users, &test.users, user),
        },
        order: event.order.map(order_of_test),
        ..event
    }));
    visitor_states(&events, lapsed_days).split_off(trained)
}

/// The number of an order of the test part, apart from those of the training part.
fn order_of_test(order: u64) -> u64 {
    (1 << 32) | order
}

/// The context of an order: of each column the first known value, and what follows from its time
/// and the shopper's past.
fn context_of_order(
    test: &EventLog,
    events: &[usize],
    first: usize,
    state: Option<&str>,
) -> ContextValues {
    let mut context = ContextValues::new();
    if !test.time.is_empty() {
        let daypart = ContextModel::daypart(test.time[first]);
        context.insert("daypart".into(), daypart.into());
    }
    context.extend(state.map(|state| ("visitor_state".into(), state.into())));
    for column in &test.context {
        let value = events.iter().find_map(|&event| column.value_of(event));
        // A column of the log replaces what would follow from the time, also where it has no value.
        context.remove(&column.name);
        context.extend(value.map(|value| (column.name.clone(), value.to_string())));
    }
    context
}
