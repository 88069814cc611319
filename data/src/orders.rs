//! Orders: the distinct items that were bought together, who bought them and when.

use crate::config::EventRole;
use crate::event_log::EventLog;
use crate::id_map::NONE;
use crate::interactions::Interactions;
use crate::time::day_number;
use serde::Serialize;

/// How the events were grouped into orders.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum GroupedBy {
    /// By the `order_id` or `session_id` of purchases.
    Order,
    /// By user and UTC day, because the log has no order ids. The events are purchases, or all
    /// events but returns in a log without purchases.
    UserDay,
    /// By session, all events but returns, because the log has no purchases.
    Session,
}

/// Orders by ascending number, each with its distinct items in ascending order.
#[derive(Clone, Debug)]
pub struct Orders {
    /// `len + 1` positions in `items`: the items of an order lie between two of them.
    pub offsets: Vec<usize>,
    /// Item rows.
    pub items: Vec<u32>,
    /// User row of each order, [`NONE`] = anonymous.
    pub user: Vec<u32>,
    /// Time of each order's first event in milliseconds since 1970-01-01 UTC, 0 without times.
    pub time: Vec<i64>,
    /// How the events were grouped.
    pub grouped_by: GroupedBy,
}

/// One event of an order. The order of fields is the order of sorting.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct OrderLine {
    /// Number of the order, or row of the user where orders are days of users.
    group: u32,
    /// Day number where orders are days of users, else 0.
    day: i64,
    item: u32,
    time: i64,
    user: u32,
}

impl Orders {
    /// Groups the log's purchases; in a log without purchases all events but returns. O(n log n).
    pub fn of(log: &EventLog) -> Self {
        let has_orders = log.order.iter().any(|&order| order != NONE);
        let grouped_by = match (log.has_purchases(), has_orders) {
            (true, true) => GroupedBy::Order,
            (false, true) => GroupedBy::Session,
            (_, false) => GroupedBy::UserDay,
        };
        let mut orders = Orders {
            offsets: vec![0],
            items: Vec::new(),
            user: Vec::new(),
            time: Vec::new(),
            grouped_by,
        };
        let lines = order_lines(log, grouped_by);
        for order in lines.chunk_by(|a, b| (a.group, a.day) == (b.group, b.day)) {
            let first_of_order = orders.items.len();
            for line in order {
                if orders.items[first_of_order..].last() != Some(&line.item) {
                    orders.items.push(line.item);
                }
            }
            let (user, time) = order.iter().fold((NONE, i64::MAX), |(user, time), line| {
                (user.min(line.user), time.min(line.time))
            });
            orders.user.push(user);
            orders.time.push(time);
            orders.offsets.push(orders.items.len());
        }
        orders
    }

    /// The number of orders.
    pub fn len(&self) -> usize {
        self.user.len()
    }

    /// Whether there are no orders.
    pub fn is_empty(&self) -> bool {
        self.user.is_empty()
    }

    /// The items of an order.
    pub fn order(&self, order: usize) -> &[u32] {
        &self.items[self.offsets[order]..self.offsets[order + 1]]
    }

    /// A 0/1 matrix with a row for each order and `items` columns. The rows of orders with more
    /// than `longest` distinct items are empty.
    pub fn matrix(&self, items: usize, longest: usize) -> Interactions {
        let orders = (0..self.len()).filter(|&order| self.order(order).len() <= longest);
        let triples = orders.flat_map(|order| {
            self.order(order)
                .iter()
                .map(move |&item| (order as u32, item, 1.0))
        });
        Interactions {
            rows_are_orders: true,
            ..Interactions::from_triples(self.len(), items, triples.collect())
        }
    }

    /// The number of orders with two distinct items or more.
    pub fn with_several_items(&self) -> usize {
        self.offsets
            .windows(2)
            .filter(|pair| pair[1] - pair[0] >= 2)
            .count()
    }
}

/// The events that belong to orders, sorted by order and then by item.
fn order_lines(log: &EventLog, grouped_by: GroupedBy) -> Vec<OrderLine> {
    let by_day = grouped_by == GroupedBy::UserDay;
    if by_day && log.time.is_empty() {
        // Without times and order ids nothing separates one order of a user from the next.
        return Vec::new();
    }
    let has_purchases = log.has_purchases();
    let counts = |role: EventRole| match has_purchases {
        true => role == EventRole::Purchase,
        false => role != EventRole::Return,
    };
    let line = |event: usize| {
        let (user, time) = (log.user_of(event), log.time_of(event));
        let (group, day) = match by_day {
            true => (user, day_number(time)),
            false => (log.order_of(event), 0),
        };
        OrderLine {
            group,
            day,
            item: log.item[event],
            time,
            user,
        }
    };
    let mut lines: Vec<OrderLine> = (0..log.len())
        .filter(|&event| counts(log.type_of(event).role))
        .map(line)
        .filter(|line| line.group != NONE)
        .collect();
    lines.sort_unstable();
    lines
}
