//! Sessions: the items of one visit in the order in which the shopper touched them.

use crate::config::EventRole;
use crate::event_log::EventLog;
use crate::id_map::NONE;

/// In a log without session ids, a pause of more than half an hour ends a session.
const LONGEST_PAUSE_MILLIS: i64 = 30 * 60 * 1000;

/// Sessions in ascending order of their end.
#[derive(Clone, Debug, Default)]
pub struct Sessions {
    /// `len + 1` positions in `items`: the items of a session lie between two of them.
    pub offsets: Vec<usize>,
    /// Item rows in the order of the events; an item occurs once for each of its events.
    pub items: Vec<u32>,
    /// Time of each session's last event in milliseconds since 1970-01-01 UTC; in a log without
    /// times the session's number.
    pub ended: Vec<i64>,
}

/// One event of a session. The order of fields is the order of sorting.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct SessionEvent {
    /// Number of the session, or row of the user in a log without session ids.
    group: u32,
    time: i64,
    position: u32,
    event: u32,
}

impl Sessions {
    /// Groups all events but returns by session (or order) id; in a log without such ids by user
    /// and pauses of more than half an hour. Within a session events are ordered by time, then by
    /// position. There are no sessions in a log without ids and times. O(n log n).
    pub fn of(log: &EventLog) -> Self {
        let mut sessions = Self {
            offsets: vec![0],
            ..Self::default()
        };
        let has_ids = log.order.iter().any(|&order| order != NONE);
        if !has_ids && log.time.is_empty() {
            return sessions;
        }
        let events = session_events(log, has_ids);
        let is_same_session = |a: &SessionEvent, b: &SessionEvent| {
            a.group == b.group && (has_ids || b.time - a.time <= LONGEST_PAUSE_MILLIS)
        };
        let end = |session: &[SessionEvent]| {
            let last = session[session.len() - 1];
            match log.time.is_empty() {
                true => i64::from(last.group),
                false => last.time,
            }
        };
        let mut by_end: Vec<(i64, &[SessionEvent])> = events
            .chunk_by(is_same_session)
            .map(|session| (end(session), session))
            .collect();
        by_end.sort_by_key(|&(ended, session)| (ended, session[0].group));
        for (ended, session) in by_end {
            let items = session.iter().map(|event| log.item[event.event as usize]);
            sessions.items.extend(items);
            sessions.offsets.push(sessions.items.len());
            sessions.ended.push(ended);
        }
        sessions
    }

    /// The number of sessions.
    pub fn len(&self) -> usize {
        self.ended.len()
    }

    /// Whether there are no sessions.
    pub fn is_empty(&self) -> bool {
        self.ended.is_empty()
    }

    /// The items of a session.
    pub fn session(&self, session: usize) -> &[u32] {
        &self.items[self.offsets[session]..self.offsets[session + 1]]
    }
}

/// The events that belong to sessions, sorted by session (or user), time and position.
fn session_events(log: &EventLog, has_ids: bool) -> Vec<SessionEvent> {
    let mut events: Vec<SessionEvent> = (0..log.len())
        .filter(|&event| log.type_of(event).role != EventRole::Return)
        .map(|event| SessionEvent {
            group: match has_ids {
                true => log.order_of(event),
                false => log.user_of(event),
            },
            time: log.time_of(event),
            position: log.position.get(event).copied().unwrap_or(0),
            event: event as u32,
        })
        .filter(|event| event.group != NONE)
        .collect();
    events.sort_unstable();
    events
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event_log::EventType;

    fn log(order: Vec<u32>, time: Vec<i64>, position: Vec<u32>) -> EventLog {
        let kind = EventType {
            name: "view".into(),
            role: EventRole::Other,
            weight: 1.0,
            half_life_days: None,
            rows: 6,
        };
        let (user, item) = (vec![0, 0, 0, 1, 1, 1], vec![5, 6, 6, 7, 8, 7]);
        EventLog {
            types: vec![kind],
            user,
            item,
            kind: vec![0; 6],
            time,
            order,
            position,
            ..EventLog::default()
        }
    }

    #[test]
    fn pauses_end_a_session_and_the_latest_comes_last() {
        let minute = 60_000;
        let sessions = Sessions::of(&log(
            Vec::new(),
            [0, 5, 100, 1, 2, 3]
                .iter()
                .map(|time| time * minute)
                .collect(),
            Vec::new(),
        ));
        let found: Vec<&[u32]> = (0..sessions.len())
            .map(|session| sessions.session(session))
            .collect();
        assert_eq!(found, [&[7, 8, 7][..], &[5, 6], &[6]]);
    }

    #[test]
    fn without_times_positions_and_numbers_decide() {
        let sessions = Sessions::of(&log(
            vec![1, 1, 1, 0, 0, 0],
            Vec::new(),
            vec![2, 0, 1, 1, 2, 0],
        ));
        let found: Vec<&[u32]> = (0..sessions.len())
            .map(|session| sessions.session(session))
            .collect();
        assert_eq!(found, [&[7, 7, 8][..], &[6, 6, 5]]);
        assert!(Sessions::of(&log(Vec::new(), Vec::new(), Vec::new())).is_empty());
    }
}
