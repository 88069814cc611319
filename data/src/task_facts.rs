//! Which tasks a dataset can serve, and what is missing for the others.

use crate::dataset::Dataset;
use crate::orders::{GroupedBy, Orders};
use serde::Serialize;

/// Whether a task can be served.
#[derive(Clone, Debug, Serialize)]
pub struct TaskFacts {
    /// personal, similar, cross-sell, upsell or popular.
    pub task: &'static str,
    /// Whether the dataset has what the task needs.
    pub served: bool,
    /// What the task learns from, or what is missing.
    pub because: String,
}

impl TaskFacts {
    fn served(task: &'static str, learns_from: impl Into<String>) -> Self {
        let because = learns_from.into();
        Self {
            task,
            served: true,
            because,
        }
    }

    fn not_served(task: &'static str, missing: impl Into<String>) -> Self {
        let because = missing.into();
        Self {
            task,
            served: false,
            because,
        }
    }
}

/// Looks for what each task needs. `items` is the number of items with events.
pub(crate) fn task_facts(data: &Dataset, orders: &Orders, items: usize) -> Vec<TaskFacts> {
    vec![
        personal(data),
        TaskFacts::served("similar", format!("{items} items with events")),
        cross_sell(data, orders),
        upsell(data),
        popular(data),
    ]
}

fn personal(data: &Dataset) -> TaskFacts {
    match data.log.users.len() {
        0 => TaskFacts::not_served("personal", "no event names a user (user_id)"),
        users => TaskFacts::served("personal", format!("{users} shoppers with a history")),
    }
}

fn cross_sell(data: &Dataset, orders: &Orders) -> TaskFacts {
    let count = orders.with_several_items();
    if count == 0 {
        let missing = "no order holds two items (order_id, session_id, or user_id with timestamp)";
        return TaskFacts::not_served("cross-sell", missing);
    }
    let orders = match orders.grouped_by {
        GroupedBy::Order => "orders of two items or more",
        GroupedBy::UserDay => "shopping days of two items or more (the log has no order_id)",
        GroupedBy::Session => "sessions of two items or more (the log has no purchases)",
    };
    let note = match data.catalog.category.has_no_text() {
        true => "; no categories, so other-category answers cannot be asked for",
        false => "",
    };
    TaskFacts::served("cross-sell", format!("{count} {orders}{note}"))
}

fn upsell(data: &Dataset) -> TaskFacts {
    let has_price = data.catalog.price.iter().any(|price| !price.is_nan())
        || data.log.price.iter().any(|&price| price > 0.0);
    let mut missing = Vec::new();
    if data.catalog.category.has_no_text() {
        missing.push("category");
    }
    if !has_price {
        missing.push("price");
    }
    if missing.is_empty() {
        return TaskFacts::served("upsell", "categories and prices are known");
    }
    let missing = missing.join(" and no ");
    TaskFacts::not_served("upsell", format!("no {missing} of items (items file)"))
}

fn popular(data: &Dataset) -> TaskFacts {
    let learns_from = match (data.log.has_purchases(), !data.log.time.is_empty()) {
        (true, true) => "purchases with dates",
        (false, true) => "events with dates, no purchases",
        (_, false) => "counts without dates: nothing fades",
    };
    TaskFacts::served("popular", learns_from)
}
