//! Sessions: what was touched in one visit, in the order of touching.

use crate::catalog::NONE;
use crate::config::EventRole;
use crate::log::EventLog;

/// A pause of so long ends a visit where the log names no sessions.
const PAUSE_MS: i64 = 30 * 60 * 1000;

/// Visits from the oldest to the latest.
#[derive(Clone, Debug, Default)]
pub struct Sessions {
    /// `len + 1` positions into `items`.
    pub offsets: Vec<usize>,
    /// Item rows in the order of touching.
    pub items: Vec<u32>,
    /// Milliseconds since 1970 of each session's last event; in a log without times the session's number.
    pub ended: Vec<i64>,
}

impl Sessions {
    /// Groups all events but returns by session (or order) id; in a log without such ids by user and pauses of half an hour. Within a session
    /// time decides, then the position. Empty where the log has neither ids nor times.
    pub fn of(log: &EventLog) -> Self {
        let named = log.order.iter().any(|&order| order != NONE);
        if !named && log.time.is_empty() {
            return Self { offsets: vec![0], ..Self::default() };
        }
        let position = |event: usize| log.position.get(event).copied().unwrap_or(0);
        // (session or user, time, position, event).
        type Touch = (u32, i64, u32, u32);
        let mut events: Vec<Touch> = (0..log.len())
            .filter(|&event| log.type_of(event).role != EventRole::Return)
            .map(|event| {
                let group = if named { log.order_of(event) } else { log.user_of(event) };
                (group, log.time_of(event), position(event), event as u32)
            })
            .filter(|&(group, ..)| group != NONE)
            .collect();
        events.sort_unstable();
        let together = |a: &Touch, b: &Touch| a.0 == b.0 && (named || b.1 - a.1 <= PAUSE_MS);
        let mut visits: Vec<(i64, &[Touch])> = events
            .chunk_by(together)
            .map(|visit| {
                let last = visit[visit.len() - 1];
                (if log.time.is_empty() { i64::from(last.0) } else { last.1 }, visit)
            })
            .collect();
        visits.sort_by_key(|&(ended, visit)| (ended, visit[0].0));
        let mut sessions = Self { offsets: vec![0], ..Self::default() };
        for (ended, visit) in visits {
            sessions.items.extend(visit.iter().map(|&(.., event)| log.item[event as usize]));
            sessions.offsets.push(sessions.items.len());
            sessions.ended.push(ended);
        }
        sessions
    }

    /// How many.
    pub fn len(&self) -> usize {
        self.ended.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.ended.is_empty()
    }

    /// The items of a session.
    pub fn session(&self, session: usize) -> &[u32] {
        &self.items[self.offsets[session]..self.offsets[session + 1]]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log::EventType;

    fn log(order: Vec<u32>, time: Vec<i64>, position: Vec<u32>) -> EventLog {
        let kind = EventType { name: "view".into(), role: EventRole::Other, weight: 1.0, half_life_days: None, rows: 6 };
        let (user, item) = (vec![0, 0, 0, 1, 1, 1], vec![5, 6, 6, 7, 8, 7]);
        EventLog { types: vec![kind], user, item, kind: vec![0; 6], time, order, position, ..EventLog::default() }
    }

    #[test]
    fn pauses_end_a_visit_and_the_latest_comes_last() {
        let minute = 60_000;
        let sessions = Sessions::of(&log(Vec::new(), [0, 5, 100, 1, 2, 3].iter().map(|at| at * minute).collect(), Vec::new()));
        let found: Vec<&[u32]> = (0..sessions.len()).map(|at| sessions.session(at)).collect();
        assert_eq!(found, [&[7, 8, 7][..], &[5, 6], &[6]]);
    }

    #[test]
    fn without_times_positions_and_numbers_decide() {
        let sessions = Sessions::of(&log(vec![1, 1, 1, 0, 0, 0], Vec::new(), vec![2, 0, 1, 1, 2, 0]));
        let found: Vec<&[u32]> = (0..sessions.len()).map(|at| sessions.session(at)).collect();
        assert_eq!(found, [&[7, 7, 8][..], &[6, 6, 5]]);
        assert!(Sessions::of(&log(Vec::new(), Vec::new(), Vec::new())).is_empty());
    }
}
