//! Past and future: which events a model may learn from, and which it is measured on.

use crate::catalog::NONE;
use crate::config::EventRole;
use crate::log::EventLog;
use crate::split_mix::mix;
use crate::{DataError, Result};
use chrono::NaiveDate;

/// How to cut a log in two.
#[derive(Clone, Debug, PartialEq)]
pub enum Split {
    /// `time:0.9`: the first share of the events, ordered by time, is the past; without times, by the numbers of their orders or sessions.
    Share(f64),
    /// `time:2017-11-12` or `time:2017-11-12..2017-11-26`: days, the second excluded; later events are left out.
    Days {
        /// First moment of the test part, in milliseconds.
        from: i64,
        /// First moment after it.
        until: i64,
    },
    /// `last-order`: the last order of every user who has two or more; without orders, what they bought at their last moment of buying;
    /// without times, the order of the largest number.
    LastOrder,
    /// `validation`: a part cut off a training log, as much like the future as the log allows: its last tenth by time; without times a
    /// fifth of the items of each fifth user, so that what remains is nearly as dense as the whole.
    Validation,
}

/// Midnight UTC of a day written `2017-11-12`, in milliseconds.
pub(crate) fn parse_day(text: &str) -> Option<i64> {
    let day = NaiveDate::parse_from_str(text, "%Y-%m-%d").ok()?;
    Some(day.and_hms_opt(0, 0, 0)?.and_utc().timestamp_millis())
}

/// Milliseconds since 1970 of `2026-12-01` (midnight UTC) or `2026-12-01T18:00:00Z` (RFC 3339).
pub fn parse_moment(text: &str) -> Option<i64> {
    parse_day(text).or_else(|| Some(chrono::DateTime::parse_from_rfc3339(text).ok()?.timestamp_millis()))
}

/// A moment as a day, `2017-11-12`.
pub fn day_of(millis: i64) -> String {
    chrono::DateTime::from_timestamp_millis(millis).map_or_else(|| "?".into(), |moment| moment.format("%Y-%m-%d").to_string())
}

/// A moment as `20171112T093000Z`.
pub fn stamp_of(millis: i64) -> String {
    chrono::DateTime::from_timestamp_millis(millis).map_or_else(|| "?".into(), |moment| moment.format("%Y%m%dT%H%M%SZ").to_string())
}

/// A moment as RFC 3339.
pub fn moment_of(millis: i64) -> String {
    chrono::DateTime::from_timestamp_millis(millis)
        .map_or_else(|| "?".into(), |moment| moment.to_rfc3339_opts(chrono::SecondsFormat::Secs, true))
}

impl std::str::FromStr for Split {
    type Err = DataError;

    fn from_str(text: &str) -> Result<Self> {
        let wrong = || {
            DataError::Setting {
            name: "split".into(),
            found: format!("'{text}'"),
            expected:
                "time:0.9 (share of events), time:2017-11-12 or time:2017-11-12..2017-11-26 (days, end excluded), last-order, or validation"
                    .into(),
        }
        };
        match text {
            "last-order" => return Ok(Split::LastOrder),
            "validation" => return Ok(Split::Validation),
            _ => {}
        }
        let cut = text.strip_prefix("time:").ok_or_else(wrong)?;
        if let Ok(share) = cut.parse::<f64>() {
            return if share > 0.0 && share < 1.0 { Ok(Split::Share(share)) } else { Err(wrong()) };
        }
        let (from, until) = match cut.split_once("..") {
            Some((from, until)) => (from, parse_day(until).ok_or_else(wrong)?),
            None => (cut, i64::MAX),
        };
        let from = parse_day(from).ok_or_else(wrong)?;
        if from < until { Ok(Split::Days { from, until }) } else { Err(wrong()) }
    }
}

impl Split {
    /// Cuts the log into (train, test). No event is in both.
    ///
    /// # Errors
    /// [`DataError::NotServed`] without timestamps, [`DataError::Empty`] if a part holds nothing.
    pub fn apply(&self, log: &EventLog) -> Result<(EventLog, EventLog)> {
        if *self == Split::Validation {
            return validation(log);
        }
        let by_order = !log.order.is_empty() && !matches!(self, Split::Days { .. });
        if log.time.is_empty() && !by_order {
            return Err(DataError::NotServed { task: "a split by time".into(), needs: "timestamps".into() });
        }
        let (train, test) = match *self {
            Split::Share(share) => {
                let mut times: Vec<i64> = (0..log.len()).map(|event| moment(log, event)).collect();
                let at = ((times.len() as f64 * share) as usize).min(times.len().saturating_sub(1));
                if times.is_empty() {
                    return Err(DataError::Empty { what: "the log".into(), detail: "there is nothing to split".into() });
                }
                let (_, &mut cut, _) = times.select_nth_unstable(at);
                (log.select(|event| moment(log, event) < cut), log.select(|event| moment(log, event) >= cut))
            }
            Split::Days { from, until } => {
                (log.select(|event| log.time[event] < from), log.select(|event| (from..until).contains(&log.time[event])))
            }
            // Validation was answered above.
            Split::LastOrder | Split::Validation => {
                let last = last_orders(log);
                if last.iter().all(Option::is_none) {
                    let needs = "a shopper with two orders or more".into();
                    return Err(DataError::NotServed { task: "a last-order split".into(), needs });
                }
                let of = |event: usize| last.get(log.user_of(event) as usize).copied().flatten();
                let held = |event: usize| of(event).is_some_and(|last| last.holds(log, event));
                // What a user did at or after the held-out order's start would leak it.
                let after = |event: usize| of(event).is_some_and(|last| moment(log, event) >= last.began);
                (log.select(|event| !held(event) && !after(event)), log.select(held))
            }
        };
        for (part, name) in [(&train, "the training part"), (&test, "the test part")] {
            if part.is_empty() {
                let span = log.span().map_or_else(String::new, |(first, last)| format!("{} to {}", day_of(first), day_of(last)));
                let detail = format!("the log runs from {span}; choose a split inside it");
                return Err(DataError::Empty { what: name.into(), detail });
            }
        }
        Ok((train, test))
    }
}

/// One fold of a cross-validation in time.
pub struct Fold {
    /// First moment of the test part, in milliseconds, and the first after it.
    pub window: (i64, i64),
    /// Everything before the window.
    pub train: EventLog,
    /// The window.
    pub test: EventLog,
}

/// Cuts a log into `count` folds: consecutive windows of equal numbers of events at its end, each tested by what was learned before it. A
/// window is a tenth of the log, or less where the windows together would be more than half of it.
///
/// # Errors
/// [`DataError::NotServed`] without timestamps, [`DataError::Empty`] if a window holds nothing.
pub fn folds(log: &EventLog, count: usize) -> Result<impl Iterator<Item = Result<Fold>>> {
    if log.time.is_empty() {
        return Err(DataError::NotServed { task: "a cross-validation in time".into(), needs: "timestamps".into() });
    }
    let mut times = log.time.clone();
    times.sort_unstable();
    let window = (0.5 / count.max(1) as f64).min(0.1);
    if (times.len() as f64) * window < 1.0 {
        let detail = format!("the log has {} events: ask for fewer folds than {count}", times.len());
        return Err(DataError::Empty { what: "a fold".into(), detail });
    }
    let border = move |number: usize| {
        let at = (times.len() as f64 * (1.0 - window * (count - number) as f64)) as usize;
        times.get(at).copied().unwrap_or(times[times.len() - 1] + 1)
    };
    let fold = move |number: usize| {
        let (from, until) = (border(number), border(number + 1));
        let fold = Fold {
            window: (from, until),
            train: log.select(|event| log.time[event] < from),
            test: log.select(|event| (from..until).contains(&log.time[event])),
        };
        if fold.train.is_empty() || fold.test.is_empty() {
            let detail = format!("too many events share the moment {}: ask for fewer folds", moment_of(from));
            return Err(DataError::Empty { what: format!("fold {}", number + 1), detail });
        }
        Ok(fold)
    };
    Ok((0..count).map(fold))
}

/// Cuts [`Split::Validation`].
fn validation(log: &EventLog) -> Result<(EventLog, EventLog)> {
    let unnamed = log.user.iter().all(|&user| user == NONE);
    if !log.time.is_empty() || unnamed && !log.order.is_empty() {
        return Split::Share(0.9).apply(log);
    }
    // Salted, so that a validation part can be cut off a training part that was cut off in the same way.
    let salt = mix(log.len() as u64);
    let held = |event: usize| {
        let user = log.user_of(event);
        let draw = mix(salt ^ (u64::from(user) << 32 | u64::from(log.item[event])));
        user != NONE && mix(salt ^ u64::from(user)).is_multiple_of(5) && draw.is_multiple_of(5)
    };
    let (train, test) = (log.select(|event| !held(event)), log.select(held));
    if train.is_empty() || test.is_empty() {
        let detail = "the log has no times, and too few users to hold a part of their items out".into();
        return Err(DataError::Empty { what: "the validation part".into(), detail });
    }
    Ok((train, test))
}

/// A user's last order.
#[derive(Clone, Copy)]
struct Last {
    /// [`NONE`] in a log without orders.
    order: u32,
    /// When it began.
    began: i64,
}

impl Last {
    fn holds(self, log: &EventLog, event: usize) -> bool {
        match self.order {
            NONE => moment(log, event) == self.began && log.type_of(event).role == EventRole::Purchase,
            order => log.order_of(event) == order,
        }
    }
}

/// When an event was; in a log without times the number of its order.
fn moment(log: &EventLog, event: usize) -> i64 {
    if log.time.is_empty() { i64::from(log.order_of(event)) } else { log.time[event] }
}

/// For each user with two orders or more (in a log without orders: two moments of buying): the last one.
fn last_orders(log: &EventLog) -> Vec<Option<Last>> {
    let without = log.order.iter().all(|&order| order == NONE);
    let mut starts: Vec<(u32, u32, i64)> = (0..log.len())
        .filter(|&event| log.type_of(event).role == EventRole::Purchase)
        .map(|event| (log.user_of(event), log.order_of(event), moment(log, event)))
        .filter(|&(user, order, _)| user != NONE && (order != NONE || without))
        .collect();
    starts.sort_unstable();
    starts.dedup_by_key(|&mut (user, order, time)| (user, order, if without { time } else { 0 }));
    starts.sort_unstable_by_key(|&(user, order, time)| (user, time, order));
    let mut last: Vec<Option<Last>> = vec![None; log.users.len()];
    for pair in starts.windows(2) {
        if pair[0].0 == pair[1].0 {
            last[pair[1].0 as usize] = Some(Last { order: pair[1].1, began: pair[1].2 });
        }
    }
    // An order, or session, begins with its first event of any kind.
    for event in (0..log.len()).filter(|_| !without) {
        if let Some(last) = last.get_mut(log.user_of(event) as usize).and_then(Option::as_mut)
            && last.order == log.order_of(event)
        {
            last.began = last.began.min(moment(log, event));
        }
    }
    last
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn splits_are_read_as_written() {
        assert_eq!("time:0.9".parse::<Split>().unwrap(), Split::Share(0.9));
        assert_eq!("last-order".parse::<Split>().unwrap(), Split::LastOrder);
        assert_eq!("validation".parse::<Split>().unwrap(), Split::Validation);
        let days = "time:1970-01-02..1970-01-03".parse::<Split>().unwrap();
        assert_eq!(days, Split::Days { from: 86_400_000, until: 172_800_000 });
        for wrong in ["", "time:1.5", "time:0", "random", "time:2017-13-01", "time:2017-02-02..2017-02-01"] {
            assert!(wrong.parse::<Split>().is_err(), "{wrong}");
        }
    }
}
