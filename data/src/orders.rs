//! Orders: the distinct items that were bought together, who bought them and when.

use crate::catalog::NONE;
use crate::config::EventRole;
use crate::interactions::Interactions;
use crate::log::EventLog;

const DAY_MS: i64 = 86_400_000;

/// What the lines of the orders were grouped by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum GroupedBy {
    /// `order_id` or `session_id` of purchases.
    Order,
    /// What one user bought (in a log without purchases: did) on one day: the log has no order id.
    UserDay,
    /// Sessions of whatever events: the log has no purchases.
    Session,
}

/// Orders by ascending number, each with its distinct items in ascending order.
#[derive(Clone, Debug)]
pub struct Orders {
    /// `len + 1` positions into `items`.
    pub offsets: Vec<usize>,
    /// Item rows.
    pub items: Vec<u32>,
    /// User row of each order, [`NONE`] = anonymous.
    pub user: Vec<u32>,
    /// Milliseconds since 1970 of each order's first line, 0 without times.
    pub time: Vec<i64>,
    /// How the lines came together.
    pub grouped_by: GroupedBy,
}

impl Orders {
    /// Groups the log's purchases; in a log without purchases, all events but returns.
    pub fn of(log: &EventLog) -> Self {
        let has_purchases = log.has_purchases();
        let has_orders = log.order.iter().any(|&order| order != NONE);
        let grouped_by = match (has_purchases, has_orders) {
            (true, true) => GroupedBy::Order,
            (false, true) => GroupedBy::Session,
            (_, false) => GroupedBy::UserDay,
        };
        // (group, part of the group, item, time): a user-day is the pair (user, day).
        let mut lines: Vec<(u32, i64, u32, i64, u32)> = (0..log.len())
            .filter(|&event| match has_purchases {
                true => log.type_of(event).role == EventRole::Purchase,
                false => log.type_of(event).role != EventRole::Return,
            })
            .filter_map(|event| {
                let (group, day) = match grouped_by {
                    GroupedBy::UserDay => (log.user_of(event), log.time_of(event).div_euclid(DAY_MS)),
                    _ => (log.order_of(event), 0),
                };
                // Without dates and order ids nothing tells one order from a lifetime.
                let tells = grouped_by != GroupedBy::UserDay || !log.time.is_empty();
                (group != NONE && tells).then(|| (group, day, log.item[event], log.time_of(event), log.user_of(event)))
            })
            .collect();
        lines.sort_unstable();
        let mut orders = Orders { offsets: vec![0], items: Vec::new(), user: Vec::new(), time: Vec::new(), grouped_by };
        let mut current = None;
        for (group, day, item, time, user) in lines {
            let last = orders.user.len();
            if current != Some((group, day)) {
                if current.is_some() {
                    orders.offsets.push(orders.items.len());
                }
                current = Some((group, day));
                orders.items.push(item);
                orders.user.push(user);
                orders.time.push(time);
                continue;
            }
            if orders.items.last() != Some(&item) {
                orders.items.push(item);
            }
            orders.time[last - 1] = orders.time[last - 1].min(time);
            orders.user[last - 1] = orders.user[last - 1].min(user);
        }
        if current.is_some() {
            orders.offsets.push(orders.items.len());
        }
        orders
    }

    /// The number of orders.
    pub fn len(&self) -> usize {
        self.user.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.user.is_empty()
    }

    /// The items of an order.
    pub fn order(&self, order: usize) -> &[u32] {
        &self.items[self.offsets[order]..self.offsets[order + 1]]
    }

    /// A 0/1 matrix with a row for each order of at most `longest` items; larger orders are empty rows.
    pub fn matrix(&self, items: usize, longest: usize) -> Interactions {
        let orders = (0..self.len()).filter(|&order| self.order(order).len() <= longest);
        let triples = orders.flat_map(|order| self.order(order).iter().map(move |&item| (order as u32, item, 1.0)));
        Interactions { rows_are_orders: true, ..Interactions::from_triples(self.len(), items, triples.collect()) }
    }

    /// Orders with two items or more.
    pub fn with_several_items(&self) -> usize {
        self.offsets.windows(2).filter(|pair| pair[1] - pair[0] >= 2).count()
    }
}
