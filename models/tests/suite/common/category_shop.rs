//! A shop whose users and items are of some kinds by turns: a user of a kind buys items of it. The
//! last user and the last item of each kind take no part in the log.

use crate::common::logs::{TrainingData, numbered_ids, purchase_type};
use aisle_data::{Catalog, EventLog, Labels};
use aisle_models::TwoTower;

pub const USERS: u32 = 60;
pub const ITEMS: u32 = 40;

/// The kinds of rows, as category paths.
fn kinds_of(count: u32, kinds: u32) -> Labels {
    let mut labels = Labels::default();
    (0..count).for_each(|row| labels.push(Some(&format!("shop > {}", row % kinds))));
    labels
}

/// [`USERS`] users and [`ITEMS`] items of two kinds.
pub fn two_kinds() -> TrainingData {
    of_kinds(USERS, ITEMS, 2)
}

/// `users` and `items` must be multiples of `kinds`.
pub fn of_kinds(users: u32, items: u32, kinds: u32) -> TrainingData {
    let bought = move |user: u32, number: u32| {
        (user % kinds + kinds * (user / kinds * 5 + number * 3)) % (items - kinds)
    };
    let purchases_of = |user: u32| (0..7).map(move |number| (user, bought(user, number)));
    let mut events: Vec<(u32, u32)> = (0..users - kinds).flat_map(purchases_of).collect();
    events.sort_unstable();
    events.dedup();
    let log = EventLog {
        users: numbered_ids("u", users as usize),
        items: numbered_ids("i", items as usize),
        types: vec![purchase_type(events.len())],
        user: events.iter().map(|event| event.0).collect(),
        item: events.iter().map(|event| event.1).collect(),
        kind: vec![0; events.len()],
        ..EventLog::default()
    };
    let catalog = Catalog {
        category: kinds_of(items, kinds),
        ..Catalog::unknown(items as usize)
    };
    let user_attributes = vec![("kind".into(), kinds_of(users, kinds))];
    TrainingData::with_attributes(log, catalog, user_attributes)
}

/// Two towers that read the kinds.
pub fn two_tower() -> TwoTower {
    TwoTower {
        factors: 8,
        epochs: 40,
        batch: 64,
        negatives: 16,
        dropout: 0.3,
        item_features: vec!["category".into()],
        user_features: vec!["kind".into()],
        ..TwoTower::default()
    }
}
