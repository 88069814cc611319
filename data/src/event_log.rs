//! The interaction log in memory.
//!
//! Events are stored column by column, and only the columns that the files have: 8 to 37 bytes an
//! event, and 4 more for each context column. How the files are read is in `read_events.rs`.

use crate::config::EventRole;
use crate::id_map::{IdMap, NONE};
use rayon::prelude::*;
use std::sync::Arc;

/// One event type, as the log names it and the config describes it.
#[derive(Clone, Debug)]
pub struct EventType {
    /// Its name in the log.
    pub name: String,
    /// What an event of this type does to an order.
    pub role: EventRole,
    /// Confidence added by one event.
    pub weight: f32,
    /// Days after which an event counts half; `None` = its weight does not decay.
    pub half_life_days: Option<f32>,
    /// The number of events of this type in the log.
    pub rows: u64,
}

/// One dimension of the context in which events happened, such as the device.
#[derive(Clone, Debug, Default)]
pub struct ContextColumn {
    /// The dimension: `device`, `location`, `traffic_source`, or a column named in
    /// `[columns] context`.
    pub name: String,
    /// The distinct values, in ascending order once the log is read.
    pub values: Arc<IdMap>,
    /// For each event the row of its value in `values`, [`NONE`] = not known.
    pub value: Vec<u32>,
}

impl ContextColumn {
    /// The value of an event; `None` if it is not known.
    pub fn value_of(&self, event: usize) -> Option<&str> {
        self.value
            .get(event)
            .filter(|&&value| value != NONE)
            .map(|&value| self.values.id(value))
    }
}

/// Events with ids as rows of [`IdMap`]s, column by column. A column that the files lack is empty;
/// every other one has an entry for each event.
#[derive(Clone, Debug, Default)]
pub struct EventLog {
    /// External ids of shoppers.
    pub users: Arc<IdMap>,
    /// External ids of items: those of the log and those of the catalogue.
    pub items: Arc<IdMap>,
    /// The event types; `kind` holds positions in this list.
    pub types: Vec<EventType>,
    /// Row in `users`, [`NONE`] = anonymous. May be empty.
    pub user: Vec<u32>,
    /// Row in `items`.
    pub item: Vec<u32>,
    /// Position in `types`.
    pub kind: Vec<u8>,
    /// Milliseconds since 1970-01-01 UTC. May be empty.
    pub time: Vec<i64>,
    /// Number of the order, or of the session for an event without an order; [`NONE`] = neither.
    /// May be empty.
    pub order: Vec<u32>,
    /// Place of the event within its session. May be empty.
    pub position: Vec<u32>,
    /// Units, above 0. May be empty.
    pub quantity: Vec<f32>,
    /// Price paid per unit; 0 = unknown. May be empty.
    pub price: Vec<f32>,
    /// Context columns with at least one known value.
    pub context: Vec<ContextColumn>,
}

/// A key that is equal for two events if and only if the same shopper stands behind them, as far as
/// the log tells: the user's row, or 2^32 + the order's number where no user is known, so that
/// anonymous orders count as shoppers of their own.
pub fn shopper_key(user: u32, order: u32) -> u64 {
    match user {
        NONE => (1 << 32) | u64::from(order),
        user => u64::from(user),
    }
}

impl EventLog {
    /// The number of events.
    pub fn len(&self) -> usize {
        self.item.len()
    }

    /// Whether there are no events.
    pub fn is_empty(&self) -> bool {
        self.item.is_empty()
    }

    /// The user of an event, [`NONE`] if anonymous.
    pub fn user_of(&self, event: usize) -> u32 {
        self.user.get(event).copied().unwrap_or(NONE)
    }

    /// The order (or session) of an event, [`NONE`] if it has none.
    pub fn order_of(&self, event: usize) -> u32 {
        self.order.get(event).copied().unwrap_or(NONE)
    }

    /// The shopper behind an event, see [`shopper_key`].
    pub fn shopper_key(&self, event: usize) -> u64 {
        shopper_key(self.user_of(event), self.order_of(event))
    }

    /// The time of an event in milliseconds since 1970-01-01 UTC, 0 in a log without times.
    pub fn time_of(&self, event: usize) -> i64 {
        self.time.get(event).copied().unwrap_or(0)
    }

    /// The type of an event.
    pub fn type_of(&self, event: usize) -> &EventType {
        &self.types[self.kind[event] as usize]
    }

    /// Whether the log holds a purchase.
    pub fn has_purchases(&self) -> bool {
        self.types
            .iter()
            .any(|kind| kind.role == EventRole::Purchase && kind.rows > 0)
    }

    /// The times of the first and of the last event; `None` in a log without times.
    pub fn span(&self) -> Option<(i64, i64)> {
        Some((*self.time.iter().min()?, *self.time.iter().max()?))
    }

    /// The events for which `keep` returns true, with the same ids and in the same order.
    pub fn select(&self, keep: impl Fn(usize) -> bool) -> EventLog {
        let kept: Vec<u32> = (0..self.len() as u32)
            .filter(|&event| keep(event as usize))
            .collect();
        let mut log = EventLog {
            users: self.users.clone(),
            items: self.items.clone(),
            types: self.types.clone(),
            user: gather(&self.user, &kept),
            item: gather(&self.item, &kept),
            kind: gather(&self.kind, &kept),
            time: gather(&self.time, &kept),
            order: gather(&self.order, &kept),
            position: gather(&self.position, &kept),
            quantity: gather(&self.quantity, &kept),
            price: gather(&self.price, &kept),
            context: (self.context.iter())
                .map(|column| ContextColumn {
                    name: column.name.clone(),
                    values: column.values.clone(),
                    value: gather(&column.value, &kept),
                })
                .collect(),
        };
        log.types.iter_mut().for_each(|kind| kind.rows = 0);
        for &kind in &log.kind {
            log.types[kind as usize].rows += 1;
        }
        log
    }

    /// The log without the events of items that have fewer than `min_users` distinct shoppers (see
    /// [`shopper_key`]). O(n log n).
    pub fn with_min_users(&self, min_users: u32) -> EventLog {
        if min_users <= 1 {
            return self.clone();
        }
        let mut pairs: Vec<(u32, u64)> = (0..self.len())
            .map(|event| (self.item[event], self.shopper_key(event)))
            .collect();
        pairs.sort_unstable();
        pairs.dedup();
        let mut shoppers_of_item = vec![0u32; self.items.len()];
        for (item, _) in pairs {
            shoppers_of_item[item as usize] += 1;
        }
        self.select(|event| shoppers_of_item[self.item[event] as usize] >= min_users)
    }
}

/// The entries of a column for the given events; empty if the column is empty.
pub(crate) fn gather<T: Copy + Send + Sync>(column: &[T], events: &[u32]) -> Vec<T> {
    if column.is_empty() {
        return Vec::new();
    }
    events
        .par_iter()
        .map(|&event| column[event as usize])
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_anonymous_order_is_a_shopper_of_its_own() {
        assert_eq!(shopper_key(7, 3), shopper_key(7, 4));
        assert_ne!(shopper_key(NONE, 3), shopper_key(NONE, 4));
        assert_ne!(shopper_key(NONE, 7), shopper_key(7, NONE));
    }
}
