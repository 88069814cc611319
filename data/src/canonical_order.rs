//! One order of events and ids for the same set of rows, however the rows were split into files.

use crate::event_log::{EventLog, EventType, gather};
use crate::id_map::{IdMap, NONE};
use aisle_math::random::mix;
use rayon::prelude::*;
use std::sync::Arc;

/// Users, items and orders in their final numbering, and the new number of each old one.
pub(crate) struct FinalIds {
    pub users: Arc<IdMap>,
    pub items: Arc<IdMap>,
    /// For each old row of a user its row in `users`.
    pub new_user: Vec<u32>,
    /// For each old row of an item its row in `items`.
    pub new_item: Vec<u32>,
    /// For each old number of an order its new number.
    pub new_order: Vec<u32>,
}

/// Renumbers the log's users, items, orders, event types and context values, and sorts its events
/// by user, time, order, position, item, type, quantity, price and context. O(n log n).
pub(crate) fn put_in_canonical_order(mut log: EventLog, ids: FinalIds) -> EventLog {
    replace_all(&mut log.item, &ids.new_item);
    replace_all(&mut log.user, &ids.new_user);
    replace_all(&mut log.order, &ids.new_order);
    log.users = ids.users;
    log.items = ids.items;
    sort_event_types(&mut log);
    for column in &mut log.context {
        let (values, new_value) = column.values.sorted();
        replace_all(&mut column.value, &new_value);
        column.values = Arc::new(values);
    }
    sort_events(log)
}

/// Replaces each number by its new one; [`NONE`] stays.
fn replace_all(column: &mut [u32], new_number: &[u32]) {
    column
        .par_iter_mut()
        .filter(|number| **number != NONE)
        .for_each(|number| *number = new_number[*number as usize]);
}

/// Numbers the event types by name.
fn sort_event_types(log: &mut EventLog) {
    let mut types: Vec<(EventType, usize)> = std::mem::take(&mut log.types)
        .into_iter()
        .zip(0..)
        .collect();
    types.sort_by(|(a, _), (b, _)| a.name.cmp(&b.name));
    let mut new_number = vec![0u8; types.len()];
    for (new, (_, old)) in types.iter().enumerate() {
        new_number[*old] = new as u8;
    }
    log.kind
        .par_iter_mut()
        .for_each(|kind| *kind = new_number[*kind as usize]);
    log.types = types.into_iter().map(|(kind, _)| kind).collect();
}

fn sort_events(mut log: EventLog) -> EventLog {
    let mut order: Vec<u32> = (0..log.len() as u32).collect();
    let bits = |column: &[f32], event: usize| column.get(event).map_or(0, |value| value.to_bits());
    // Events that differ in their context alone need an order too; which one does not matter.
    let context_hash = |event: usize| {
        let columns = log.context.iter();
        columns.fold(0, |hash, column| mix(hash ^ u64::from(column.value[event])))
    };
    order.par_sort_by_cached_key(|&event| {
        let event = event as usize;
        (
            log.user_of(event),
            log.time_of(event),
            log.order_of(event),
            log.position.get(event).copied(),
            log.item[event],
            log.kind[event],
            bits(&log.quantity, event),
            bits(&log.price, event),
            context_hash(event),
        )
    });
    log.user = gather(&log.user, &order);
    log.item = gather(&log.item, &order);
    log.kind = gather(&log.kind, &order);
    log.time = gather(&log.time, &order);
    log.quantity = gather(&log.quantity, &order);
    log.price = gather(&log.price, &order);
    log.order = gather(&log.order, &order);
    log.position = gather(&log.position, &order);
    for column in &mut log.context {
        column.value = gather(&column.value, &order);
    }
    log
}
