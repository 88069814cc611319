//! Cross-validation in time: several windows at the end of a log, each tested by what lies before
//! it.

use crate::error::{DataError, Result};
use crate::event_log::EventLog;
use crate::time::format_rfc3339;

/// The largest share of the events that one window may hold.
const LARGEST_WINDOW: f64 = 0.1;
/// The largest share of the events that all windows together may hold.
const ALL_WINDOWS: f64 = 0.5;

/// One fold of a cross-validation in time.
pub struct Fold {
    /// When the test part begins and the time just after its end, in milliseconds since 1970-01-01
    /// UTC.
    pub window: (i64, i64),
    /// The events before the window.
    pub train: EventLog,
    /// The events in the window.
    pub test: EventLog,
}

/// Cuts a log into `count` folds: consecutive windows of equal numbers of events at its end, each
/// with all events before it to learn from. A window holds a tenth of the events, or less where the
/// windows together would hold more than half of them. O(n log n) for all folds, and O(n) for each.
///
/// # Errors
/// [`DataError::NotServed`] without timestamps, [`DataError::Empty`] if a window holds nothing.
pub fn folds(log: &EventLog, count: usize) -> Result<impl Iterator<Item = Result<Fold>>> {
    if log.time.is_empty() {
        return Err(DataError::NotServed {
            task: "a cross-validation in time".into(),
            needs: "timestamps".into(),
        });
    }
    let mut times = log.time.clone();
    times.sort_unstable();
    let window = (ALL_WINDOWS / count.max(1) as f64).min(LARGEST_WINDOW);
    if (times.len() as f64) * window < 1.0 {
        let events = times.len();
        return Err(DataError::Empty {
            what: "a fold".into(),
            detail: format!("the log has {events} events: ask for fewer folds than {count}"),
        });
    }
    let window_start = move |number: usize| {
        let share = 1.0 - window * (count - number) as f64;
        let event = (times.len() as f64 * share) as usize;
        let after_last = times[times.len() - 1] + 1;
        times.get(event).copied().unwrap_or(after_last)
    };
    let fold = move |number: usize| {
        let (from, until) = (window_start(number), window_start(number + 1));
        let fold = Fold {
            window: (from, until),
            train: log.select(|event| log.time[event] < from),
            test: log.select(|event| (from..until).contains(&log.time[event])),
        };
        if fold.train.is_empty() || fold.test.is_empty() {
            let time = format_rfc3339(from);
            return Err(DataError::Empty {
                what: format!("fold {}", number + 1),
                detail: format!("too many events have the time {time}: ask for fewer folds"),
            });
        }
        Ok(fold)
    };
    Ok((0..count).map(fold))
}
