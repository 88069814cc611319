//! What is in a log, what is wrong with it, and what it can be used for.

use crate::catalog::NONE;
use crate::config::EventRole;
use crate::dataset::Dataset;
use crate::orders::{GroupedBy, Orders};
use crate::set_aside::SetAside;
use crate::split::day_of;
use serde::Serialize;

/// The facts of a dataset, for a reader or a program.
#[derive(Clone, Debug, Serialize)]
pub struct Inspection {
    /// Rows of the events files.
    pub rows: u64,
    /// Rows that count.
    pub events: u64,
    /// Distinct shoppers.
    pub users: usize,
    /// Distinct items with at least one event.
    pub items: usize,
    /// Share of the user × item cells that hold something.
    pub density: f64,
    /// First day.
    pub first_day: Option<String>,
    /// Last day.
    pub last_day: Option<String>,
    /// Events by type.
    pub event_types: Vec<TypeFacts>,
    /// Events without a user.
    pub anonymous: u64,
    /// Rows that repeat an earlier one in every field read.
    pub duplicates: u64,
    /// Rows with a price of zero.
    pub zero_prices: u64,
    /// Rows not used, by reason.
    pub set_aside: SetAside,
    /// Orders, and how many hold two items or more.
    pub orders: OrderFacts,
    /// The catalogue.
    pub catalog: Option<CatalogFacts>,
    /// Under what circumstances events happened.
    pub context: Vec<ContextFacts>,
    /// Columns that were not read.
    pub other_columns: Vec<String>,
    /// What the log can serve.
    pub tasks: Vec<TaskFacts>,
}

/// One event type.
#[derive(Clone, Debug, Serialize)]
pub struct TypeFacts {
    /// Its name.
    pub name: String,
    /// What it means.
    pub role: EventRole,
    /// Events.
    pub events: u64,
    /// Confidence of one event on the last day.
    pub weight: f32,
    /// After so many days it counts half.
    pub half_life_days: Option<f32>,
    /// Mean confidence over the log, fading included.
    pub effective_weight: f64,
}

/// One column of circumstances.
#[derive(Clone, Debug, Serialize)]
pub struct ContextFacts {
    /// The dimension.
    pub name: String,
    /// Distinct values.
    pub values: usize,
    /// Events whose value is known.
    pub events: u64,
}

/// The orders.
#[derive(Clone, Debug, Serialize)]
pub struct OrderFacts {
    /// How lines were grouped.
    pub grouped_by: GroupedBy,
    /// Orders.
    pub orders: usize,
    /// Orders with two distinct items or more.
    pub with_several_items: usize,
    /// Distinct items in the middle order.
    pub median_items: usize,
    /// Distinct items in the largest.
    pub largest: usize,
}

/// The catalogue.
#[derive(Clone, Debug, Serialize)]
pub struct CatalogFacts {
    /// Rows of the items file.
    pub rows: u64,
    /// Rows set aside, by reason.
    pub set_aside: SetAside,
    /// Items.
    pub items: usize,
    /// Items with a title.
    pub with_title: usize,
    /// Items with a category.
    pub with_category: usize,
    /// Distinct category paths.
    pub categories: usize,
    /// Items with a price.
    pub with_price: usize,
    /// Currencies.
    pub currencies: Vec<String>,
    /// Items that can be bought now.
    pub available: usize,
    /// Items with events of which the catalogue knows nothing.
    pub unknown_items: usize,
    /// Attribute columns.
    pub attributes: Vec<String>,
}

/// Whether a task can be served.
#[derive(Clone, Debug, Serialize)]
pub struct TaskFacts {
    /// personal, similar, cross-sell, upsell, popular.
    pub task: &'static str,
    /// Whether the log has what it needs.
    pub served: bool,
    /// Why not, or what it learns from.
    pub because: String,
}

impl Inspection {
    /// Looks at everything once. O(events · log events).
    pub fn of(data: &Dataset) -> Self {
        let log = &data.log;
        let orders = Orders::of(log);
        let mut seen = vec![false; log.items.len()];
        log.item.iter().for_each(|&item| seen[item as usize] = true);
        let items = seen.iter().filter(|&&seen| seen).count();
        let span = log.span();
        let mut sizes: Vec<usize> = orders.offsets.windows(2).map(|pair| pair[1] - pair[0]).collect();
        sizes.sort_unstable();

        let mut pairs: Vec<(u32, u32)> =
            (0..log.len()).filter(|&event| log.user_of(event) != NONE).map(|event| (log.user_of(event), log.item[event])).collect();
        pairs.sort_unstable();
        pairs.dedup();
        let cells = log.users.len() as f64 * items as f64;

        let catalog = data.items_report.as_ref().map(|(rows, set_aside)| {
            let catalog = &data.catalog;
            let all = 0..catalog.len() as u32;
            CatalogFacts {
                rows: *rows,
                set_aside: set_aside.clone(),
                items: catalog.len(),
                with_title: all.clone().filter(|&item| catalog.title.get(item).is_some()).count(),
                with_category: all.clone().filter(|&item| catalog.category.get(item).is_some()).count(),
                categories: catalog.category.values().len(),
                with_price: catalog.price.iter().filter(|price| !price.is_nan()).count(),
                currencies: catalog.currency.values().iter().map(str::to_string).collect(),
                available: catalog.available.iter().filter(|&&available| available).count(),
                unknown_items: all
                    .filter(|&item| {
                        seen[item as usize] && catalog.title.get(item).is_none() && catalog.category.get(item).is_none()
                    })
                    .count(),
                attributes: catalog.attributes.iter().map(|(name, _)| name.clone()).collect(),
            }
        });
        let mut facts = Self {
            rows: data.report.rows,
            events: log.len() as u64,
            users: log.users.len(),
            items,
            density: if cells > 0.0 { pairs.len() as f64 / cells } else { 0.0 },
            first_day: span.map(|(first, _)| day_of(first)),
            last_day: span.map(|(_, last)| day_of(last)),
            event_types: type_facts(data),
            anonymous: (0..log.len()).filter(|&event| log.user_of(event) == NONE).count() as u64,
            duplicates: duplicates(data),
            zero_prices: data.report.zero_prices,
            set_aside: data.report.set_aside.clone(),
            orders: OrderFacts {
                grouped_by: orders.grouped_by,
                orders: orders.len(),
                with_several_items: orders.with_several_items(),
                median_items: sizes.get(sizes.len() / 2).copied().unwrap_or(0),
                largest: sizes.last().copied().unwrap_or(0),
            },
            catalog,
            context: (log.context.iter())
                .map(|column| ContextFacts {
                    name: column.name.clone(),
                    values: column.values.len(),
                    events: column.value.iter().filter(|&&value| value != NONE).count() as u64,
                })
                .collect(),
            other_columns: data.report.other_columns.clone(),
            tasks: Vec::new(),
        };
        facts.tasks = tasks(&facts, data);
        facts
    }
}

fn type_facts(data: &Dataset) -> Vec<TypeFacts> {
    let log = &data.log;
    let latest = log.span().map_or(0, |(_, last)| last);
    let mut sums = vec![0f64; log.types.len()];
    for event in 0..log.len() {
        let kind = log.type_of(event);
        let fading = kind
            .half_life_days
            .filter(|_| !log.time.is_empty())
            .map_or(1.0, |days| (-((latest - log.time_of(event)) as f64 / 86_400_000.0) / f64::from(days)).exp2());
        sums[log.kind[event] as usize] += f64::from(kind.weight) * fading;
    }
    (log.types.iter().zip(sums))
        .filter(|(kind, _)| kind.rows > 0)
        .map(|(kind, sum)| TypeFacts {
            name: kind.name.clone(),
            role: kind.role,
            events: kind.rows,
            weight: kind.weight,
            half_life_days: kind.half_life_days,
            effective_weight: sum / kind.rows as f64,
        })
        .collect()
}

fn duplicates(data: &Dataset) -> u64 {
    let log = &data.log;
    let mut keys: Vec<_> = (0..log.len())
        .map(|event| {
            let number = |column: &[f32]| column.get(event).map_or(0, |value| value.to_bits());
            let whose = (log.user_of(event), log.order_of(event));
            (whose, log.item[event], log.time_of(event), log.kind[event], number(&log.quantity), number(&log.price))
        })
        .collect();
    keys.sort_unstable();
    keys.windows(2).filter(|pair| pair[0] == pair[1]).count() as u64
}

fn tasks(facts: &Inspection, data: &Dataset) -> Vec<TaskFacts> {
    let many = |count: usize, what: &str| format!("{count} {what}");
    let personal = match facts.users {
        0 => TaskFacts { task: "personal", served: false, because: "no event names a user (user_id)".into() },
        users => TaskFacts { task: "personal", served: true, because: many(users, "shoppers with a history") },
    };
    let several = facts.orders.with_several_items;
    let cross_sell = if several == 0 {
        let because = "no order holds two items (order_id, session_id, or user_id with timestamp)".to_string();
        TaskFacts { task: "cross-sell", served: false, because }
    } else {
        let what = match facts.orders.grouped_by {
            GroupedBy::Order => "orders of two items or more",
            GroupedBy::UserDay => "shopping days of two items or more (the log has no order_id)",
            GroupedBy::Session => "sessions of two items or more (the log has no purchases)",
        };
        let categories =
            if data.catalog.category.is_blank() { "; no categories, so other-category answers cannot be asked for" } else { "" };
        TaskFacts { task: "cross-sell", served: true, because: many(several, what) + categories }
    };
    let with_price = data.catalog.price.iter().any(|price| !price.is_nan()) || data.log.price.iter().any(|&price| price > 0.0);
    let missing: Vec<&str> = [(data.catalog.category.is_blank(), "category"), (!with_price, "price")]
        .into_iter()
        .filter_map(|(missing, name)| missing.then_some(name))
        .collect();
    let upsell = if missing.is_empty() {
        TaskFacts { task: "upsell", served: true, because: "categories and prices are known".into() }
    } else {
        TaskFacts { task: "upsell", served: false, because: format!("no {} of items (items file)", missing.join(" and no ")) }
    };
    let similar = TaskFacts { task: "similar", served: true, because: many(facts.items, "items with events") };
    let popular = match (data.log.has_purchases(), facts.first_day.is_some()) {
        (true, true) => "purchases with dates".to_string(),
        (_, false) => "counts without dates: nothing fades".to_string(),
        (false, true) => "events with dates, no purchases".to_string(),
    };
    vec![personal, similar, cross_sell, upsell, TaskFacts { task: "popular", served: true, because: popular }]
}
