//! What is in a dataset and what is wrong with it. What it can be used for is in `task_facts.rs`.

use crate::config::EventRole;
use crate::dataset::Dataset;
use crate::event_log::EventLog;
use crate::id_map::NONE;
use crate::labels::Labels;
use crate::orders::{GroupedBy, Orders};
use crate::set_aside::SetAside;
use crate::task_facts::{TaskFacts, task_facts};
use crate::time::{format_day, millis_to_days};
use serde::Serialize;

/// The facts of a dataset, as `aisle-train inspect` shows them.
#[derive(Clone, Debug, Serialize)]
pub struct Inspection {
    /// The number of rows of the events files.
    pub rows: u64,
    /// The number of rows that are used.
    pub events: u64,
    /// The number of distinct shoppers.
    pub users: usize,
    /// The number of distinct items with at least one event.
    pub items: usize,
    /// Distinct pairs of user and item with an event, as a share of all pairs, 0 to 1.
    pub density: f64,
    /// Day of the first event, `2017-11-12`; `None` in a log without times.
    pub first_day: Option<String>,
    /// Day of the last event.
    pub last_day: Option<String>,
    /// Events by type.
    pub event_types: Vec<TypeFacts>,
    /// The number of events without a user.
    pub anonymous: u64,
    /// The number of events that repeat another one in user, order, item, time, type, quantity and
    /// price.
    pub duplicates: u64,
    /// The number of events with a price of zero.
    pub zero_prices: u64,
    /// Rows of the events files that are not used, by reason.
    pub set_aside: SetAside,
    /// Number and size of orders.
    pub orders: OrderFacts,
    /// The catalogue; `None` without an items file.
    pub catalog: Option<CatalogFacts>,
    /// Dimensions of the context of events.
    pub context: Vec<ContextFacts>,
    /// Columns of the events files that were not read.
    pub other_columns: Vec<String>,
    /// For each task whether the log has what it needs.
    pub tasks: Vec<TaskFacts>,
}

/// One event type.
#[derive(Clone, Debug, Serialize)]
pub struct TypeFacts {
    /// Its name.
    pub name: String,
    /// What an event of this type does to an order.
    pub role: EventRole,
    /// The number of events.
    pub events: u64,
    /// Confidence of one event on the last day.
    pub weight: f32,
    /// Days after which an event counts half; `None` = its weight does not decay.
    pub half_life_days: Option<f32>,
    /// Mean confidence of the type's events, decay included.
    pub effective_weight: f64,
}

/// One dimension of the context of events.
#[derive(Clone, Debug, Serialize)]
pub struct ContextFacts {
    /// The dimension's name, such as `device`.
    pub name: String,
    /// The number of distinct values.
    pub values: usize,
    /// The number of events whose value is known.
    pub events: u64,
}

/// Number and size of orders.
#[derive(Clone, Debug, Serialize)]
pub struct OrderFacts {
    /// How events were grouped into orders.
    pub grouped_by: GroupedBy,
    /// The number of orders.
    pub orders: usize,
    /// The number of orders with two distinct items or more.
    pub with_several_items: usize,
    /// The median number of distinct items of an order.
    pub median_items: usize,
    /// The number of distinct items of the largest order.
    pub largest: usize,
}

/// What the catalogue holds.
#[derive(Clone, Debug, Serialize)]
pub struct CatalogFacts {
    /// The number of rows of the items file.
    pub rows: u64,
    /// Rows of the items file that are not used, by reason.
    pub set_aside: SetAside,
    /// The number of items, those included that only the log knows.
    pub items: usize,
    /// The number of items with a title.
    pub with_title: usize,
    /// The number of items with a category.
    pub with_category: usize,
    /// The number of distinct category paths.
    pub categories: usize,
    /// The number of items with a price.
    pub with_price: usize,
    /// The distinct currencies.
    pub currencies: Vec<String>,
    /// The number of items that can be bought now.
    pub available: usize,
    /// The number of items that have events but neither a title nor a category.
    pub unknown_items: usize,
    /// Names of the attribute columns.
    pub attributes: Vec<String>,
}

impl Inspection {
    /// Collects the facts of a dataset. O(n log n).
    pub fn of(data: &Dataset) -> Self {
        let log = &data.log;
        let has_events = items_with_events(log);
        let items = has_events.iter().filter(|&&has_events| has_events).count();
        let orders = Orders::of(log);
        let span = log.span();
        let is_anonymous = |&event: &usize| log.user_of(event) == NONE;
        Self {
            rows: data.report.rows,
            events: log.len() as u64,
            users: log.users.len(),
            items,
            density: density(log, items),
            first_day: span.map(|(first, _)| format_day(first)),
            last_day: span.map(|(_, last)| format_day(last)),
            event_types: type_facts(log),
            anonymous: (0..log.len()).filter(is_anonymous).count() as u64,
            duplicates: duplicates(log),
            zero_prices: data.report.zero_prices,
            set_aside: data.report.set_aside.clone(),
            orders: order_facts(&orders),
            catalog: (data.items_report.as_ref())
                .map(|(rows, set_aside)| catalog_facts(data, &has_events, *rows, set_aside)),
            context: context_facts(log),
            other_columns: data.report.other_columns.clone(),
            tasks: task_facts(data, &orders, items),
        }
    }
}

/// For each item whether the log has an event of it.
fn items_with_events(log: &EventLog) -> Vec<bool> {
    let mut has_events = vec![false; log.items.len()];
    for &item in &log.item {
        has_events[item as usize] = true;
    }
    has_events
}

/// Distinct pairs of user and item with an event, as a share of all pairs.
fn density(log: &EventLog, items: usize) -> f64 {
    let mut pairs: Vec<(u32, u32)> = (0..log.len())
        .map(|event| (log.user_of(event), log.item[event]))
        .filter(|&(user, _)| user != NONE)
        .collect();
    pairs.sort_unstable();
    pairs.dedup();
    let all_pairs = log.users.len() as f64 * items as f64;
    if all_pairs > 0.0 {
        pairs.len() as f64 / all_pairs
    } else {
        0.0
    }
}

fn type_facts(log: &EventLog) -> Vec<TypeFacts> {
    let latest = log.span().map_or(0, |(_, last)| last);
    let mut sums = vec![0f64; log.types.len()];
    for event in 0..log.len() {
        let event_type = log.type_of(event);
        let decay = match event_type.half_life_days {
            Some(half_life) if !log.time.is_empty() => {
                let age = millis_to_days(latest - log.time_of(event));
                (-age / f64::from(half_life)).exp2()
            }
            _ => 1.0,
        };
        sums[log.kind[event] as usize] += f64::from(event_type.weight) * decay;
    }
    (log.types.iter().zip(sums))
        .filter(|(event_type, _)| event_type.rows > 0)
        .map(|(event_type, sum)| TypeFacts {
            name: event_type.name.clone(),
            role: event_type.role,
            events: event_type.rows,
            weight: event_type.weight,
            half_life_days: event_type.half_life_days,
            effective_weight: sum / event_type.rows as f64,
        })
        .collect()
}

/// The number of events that repeat another one.
fn duplicates(log: &EventLog) -> u64 {
    let bits = |column: &[f32], event: usize| column.get(event).map_or(0, |value| value.to_bits());
    let mut keys: Vec<_> = (0..log.len())
        .map(|event| {
            (
                log.user_of(event),
                log.order_of(event),
                log.item[event],
                log.time_of(event),
                log.kind[event],
                bits(&log.quantity, event),
                bits(&log.price, event),
            )
        })
        .collect();
    keys.sort_unstable();
    keys.windows(2).filter(|pair| pair[0] == pair[1]).count() as u64
}

fn order_facts(orders: &Orders) -> OrderFacts {
    let mut sizes: Vec<usize> = (0..orders.len())
        .map(|order| orders.order(order).len())
        .collect();
    sizes.sort_unstable();
    OrderFacts {
        grouped_by: orders.grouped_by,
        orders: orders.len(),
        with_several_items: orders.with_several_items(),
        median_items: sizes.get(sizes.len() / 2).copied().unwrap_or(0),
        largest: sizes.last().copied().unwrap_or(0),
    }
}

fn catalog_facts(
    data: &Dataset,
    has_events: &[bool],
    rows: u64,
    set_aside: &SetAside,
) -> CatalogFacts {
    let catalog = &data.catalog;
    let has = |labels: &Labels, item: u32| labels.get(item).is_some();
    let count = |of_interest: &dyn Fn(u32) -> bool| {
        let items = 0..catalog.len() as u32;
        items.filter(|&item| of_interest(item)).count()
    };
    let currencies = catalog.currency.values();
    CatalogFacts {
        rows,
        set_aside: set_aside.clone(),
        items: catalog.len(),
        with_title: count(&|item| has(&catalog.title, item)),
        with_category: count(&|item| has(&catalog.category, item)),
        categories: catalog.category.values().len(),
        with_price: count(&|item| !catalog.price[item as usize].is_nan()),
        currencies: currencies.iter().map(str::to_string).collect(),
        available: count(&|item| catalog.available[item as usize]),
        unknown_items: count(&|item| {
            has_events[item as usize] && !has(&catalog.title, item) && !has(&catalog.category, item)
        }),
        attributes: (catalog.attributes.iter())
            .map(|(name, _)| name.clone())
            .collect(),
    }
}

fn context_facts(log: &EventLog) -> Vec<ContextFacts> {
    (log.context.iter())
        .map(|column| ContextFacts {
            name: column.name.clone(),
            values: column.values.len(),
            events: column.value.iter().filter(|&&value| value != NONE).count() as u64,
        })
        .collect()
}
