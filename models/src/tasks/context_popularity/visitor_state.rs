//! What a shopper is to the shop when a visit begins: new, returning, a customer, or lapsed.

use aisle_data::{DAY_MILLIS, EventLog, EventRole, NONE};
use rayon::prelude::*;

/// The name of the dimension of the context.
pub(super) const DIMENSION: &str = "visitor_state";

/// The values of the dimension by their code.
pub(super) const STATES: [&str; 4] = ["first-visit", "returning", "customer", "lapsed"];
const FIRST_VISIT: usize = 0;
const RETURNING: usize = 1;
const CUSTOMER: usize = 2;
const LAPSED: usize = 3;

/// Where no order or session says what a visit is, it ends after a pause of this many milliseconds.
const VISIT_PAUSE_MILLIS: i64 = 30 * 60 * 1000;

/// One event of a shopper, as [`visitor_states`] reads it.
#[derive(Clone, Copy, Debug)]
pub struct VisitorEvent {
    /// The row of the shopper; [`NONE`] = an anonymous event.
    pub user: u32,
    /// Milliseconds since 1970.
    pub time: i64,
    /// The order or session that the event belongs to; `None` = not known.
    pub order: Option<u64>,
    /// Whether the event is a purchase.
    pub is_purchase: bool,
}

/// The events of a log, as [`visitor_states`] reads them.
pub fn visitor_events(log: &EventLog) -> Vec<VisitorEvent> {
    let visitor_event = |event| VisitorEvent {
        user: log.user_of(event),
        time: log.time_of(event),
        order: (log.order_of(event) != NONE).then(|| u64::from(log.order_of(event))),
        is_purchase: log.type_of(event).role == EventRole::Purchase,
    };
    (0..log.len()).map(visitor_event).collect()
}

/// The state of a shopper at the start of a visit at `now`: `first-visit`, `returning` (seen
/// before, never bought), `customer` (bought before), or `lapsed` (not seen for `lapsed_days`).
/// Times are in milliseconds since 1970; `last_event` is `None` for a shopper who was never seen.
pub fn visitor_state(
    last_event: Option<i64>,
    ever_bought: bool,
    now: i64,
    lapsed_days: f32,
) -> &'static str {
    STATES[state_code(last_event, ever_bought, now, lapsed_days)]
}

/// The place of [`visitor_state`] in [`STATES`].
fn state_code(last_event: Option<i64>, ever_bought: bool, now: i64, lapsed_days: f32) -> usize {
    match last_event {
        None => FIRST_VISIT,
        Some(last) if (now - last) as f64 > f64::from(lapsed_days) * DAY_MILLIS as f64 => LAPSED,
        Some(_) if ever_bought => CUSTOMER,
        Some(_) => RETURNING,
    }
}

/// The visitor state of each event, by what its shopper did before the visit that it belongs to. A
/// visit is an order or session, or events less than half an hour apart. Nothing is known of the
/// time before the log: a shopper who is first seen in the first quarter of the log, or in its
/// first `lapsed_days` if these are fewer, has no state until the next visit. Anonymous events have
/// none. O(n log n).
pub fn visitor_states(
    visitor_events: &[VisitorEvent],
    lapsed_days: f32,
) -> Vec<Option<&'static str>> {
    visitor_state_codes(visitor_events, lapsed_days)
        .into_iter()
        .map(|code| STATES.get(code as usize).copied())
        .collect()
}

/// The visit that a shopper's last event belongs to.
#[derive(Clone, Copy)]
struct CurrentVisit {
    last_event: VisitorEvent,
    /// The state at the start of the visit, as a place in [`STATES`]; [`NONE`] = not known.
    state: u32,
}

impl CurrentVisit {
    /// Whether the shopper's next event belongs to this visit.
    fn contains(&self, next: &VisitorEvent) -> bool {
        let same_order = self.last_event.order.is_some() && self.last_event.order == next.order;
        same_order || next.time - self.last_event.time < VISIT_PAUSE_MILLIS
    }
}

/// The places of [`visitor_states`] in [`STATES`]; [`NONE`] = not known.
pub(super) fn visitor_state_codes(visitor_events: &[VisitorEvent], lapsed_days: f32) -> Vec<u32> {
    let times = visitor_events.iter().map(|event| event.time);
    let (Some(first), Some(last)) = (times.clone().min(), times.max()) else {
        return Vec::new();
    };
    let unknown_until =
        first + ((f64::from(lapsed_days) * DAY_MILLIS as f64) as i64).min((last - first) / 4);
    let mut by_shopper: Vec<u32> = (0..visitor_events.len() as u32)
        .filter(|&at| visitor_events[at as usize].user != NONE)
        .collect();
    by_shopper.par_sort_unstable_by_key(|&at| {
        let VisitorEvent {
            user, time, order, ..
        } = visitor_events[at as usize];
        (user, time, order, at)
    });
    let user_at = |at: u32| visitor_events[at as usize].user;
    let mut states = vec![NONE; visitor_events.len()];
    for events_of_shopper in by_shopper.chunk_by(|&a, &b| user_at(a) == user_at(b)) {
        let mut has_bought = false;
        let mut visit: Option<CurrentVisit> = None;
        for &at in events_of_shopper {
            let event = visitor_events[at as usize];
            let state = match visit {
                Some(visit) if visit.contains(&event) => visit.state,
                None if event.time < unknown_until => NONE,
                _ => {
                    let last_event = visit.map(|visit| visit.last_event.time);
                    state_code(last_event, has_bought, event.time, lapsed_days) as u32
                }
            };
            has_bought |= event.is_purchase;
            visit = Some(CurrentVisit {
                last_event: event,
                state,
            });
            states[at as usize] = state;
        }
    }
    states
}
