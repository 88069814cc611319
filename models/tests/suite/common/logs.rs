//! Logs of purchases, and what models are trained on.

use crate::common::dataset;
use aisle_data::{
    Catalog, DAY_MILLIS, Dataset, EventLog, EventRole, EventType, IdMap, Interactions, Labels,
    Orders,
};
use aisle_models::{History, Training};
use std::sync::Arc;

/// The ids `prefix0000`, `prefix0001` and so on.
pub fn numbered_ids(prefix: &str, count: usize) -> Arc<IdMap> {
    let ids: Vec<String> = (0..count)
        .map(|number| format!("{prefix}{number:04}"))
        .collect();
    Arc::new(ids.iter().map(String::as_str).collect())
}

/// The event type of purchases, of which a log has `rows`.
pub fn purchase_type(rows: usize) -> EventType {
    EventType {
        name: "purchase".into(),
        role: EventRole::Purchase,
        weight: 1.0,
        half_life_days: None,
        rows: rows as u64,
    }
}

/// A log of purchases, each as (user row, item row, order, day since 1970).
pub fn purchases(users: usize, items: usize, events: &[(u32, u32, u32, i64)]) -> EventLog {
    EventLog {
        users: numbered_ids("u", users),
        items: numbered_ids("i", items),
        types: vec![purchase_type(events.len())],
        user: events.iter().map(|event| event.0).collect(),
        item: events.iter().map(|event| event.1).collect(),
        kind: vec![0; events.len()],
        time: events.iter().map(|event| event.3 * DAY_MILLIS).collect(),
        order: events.iter().map(|event| event.2).collect(),
        ..EventLog::default()
    }
}

/// Users buy the items of their own parity, but nobody buys the item of their own number: a
/// checkerboard without its diagonal.
pub fn checkerboard(size: u32) -> TrainingData {
    let cells = (0..size).flat_map(|user| (0..size).map(move |item| (user, item)));
    let events: Vec<_> = cells
        .filter(|(user, item)| user % 2 == item % 2 && user != item)
        .map(|(user, item)| (user, item, user, 0))
        .collect();
    TrainingData::of(purchases(size as usize, size as usize, &events))
}

/// What algorithms are trained on, owned.
pub struct TrainingData {
    pub log: EventLog,
    pub interactions: Interactions,
    pub orders: Orders,
    pub catalog: Catalog,
    /// Columns of a users file.
    pub user_attributes: Vec<(String, Labels)>,
}

impl TrainingData {
    /// Of a log alone: nothing is known of its items and users.
    pub fn of(log: EventLog) -> Self {
        let catalog = Catalog::unknown(log.items.len());
        Self::with_attributes(log, catalog, Vec::new())
    }

    pub fn with_attributes(
        log: EventLog,
        catalog: Catalog,
        user_attributes: Vec<(String, Labels)>,
    ) -> Self {
        Self {
            interactions: Interactions::of(&log),
            orders: Orders::of(&log),
            log,
            catalog,
            user_attributes,
        }
    }

    pub fn training(&self) -> Training<'_> {
        Training {
            log: &self.log,
            interactions: &self.interactions,
            orders: &self.orders,
            catalog: &self.catalog,
            users: &self.user_attributes,
        }
    }

    pub fn dataset(&self) -> Dataset {
        let users = self.user_attributes.clone();
        dataset(self.log.clone(), self.catalog.clone(), users)
    }

    /// A user's history as that of a stranger: models must not use what they stored for the user.
    pub fn history(&self, user: u32) -> History<'_> {
        let (items, values) = self.interactions.by_user.row(user as usize);
        History {
            items,
            values,
            user: None,
        }
    }

    /// A user's history as the one that the models were trained on.
    pub fn known_history(&self, user: u32) -> History<'_> {
        History {
            user: Some(user),
            ..self.history(user)
        }
    }
}
