//! Past and future: which events a model may learn from, and which it is measured on.

use crate::catalog::NONE;
use crate::config::EventRole;
use crate::log::EventLog;
use crate::{DataError, Result};
use chrono::NaiveDate;

/// How to cut a log in two.
#[derive(Clone, Debug, PartialEq)]
pub enum Split {
    /// `time:0.9`: the first share of the events, ordered by time, is the past.
    Share(f64),
    /// `time:2017-11-12` or `time:2017-11-12..2017-11-26`: days, the second excluded; later events are left out.
    Days {
        /// First moment of the test part, in milliseconds.
        from: i64,
        /// First moment after it.
        until: i64,
    },
    /// `last-order`: the last order of every user who has two or more.
    LastOrder,
}

/// Midnight UTC of a day written `2017-11-12`, in milliseconds.
pub(crate) fn parse_day(text: &str) -> Option<i64> {
    let day = NaiveDate::parse_from_str(text, "%Y-%m-%d").ok()?;
    Some(day.and_hms_opt(0, 0, 0)?.and_utc().timestamp_millis())
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
        let wrong = || DataError::Setting {
            name: "split".into(),
            found: format!("'{text}'"),
            expected:
                "time:0.9 (share of events), time:2017-11-12 or time:2017-11-12..2017-11-26 (days, end excluded), or last-order"
                    .into(),
        };
        if text == "last-order" {
            return Ok(Split::LastOrder);
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
        if log.time.is_empty() {
            return Err(DataError::NotServed { task: "a split by time".into(), needs: "timestamps".into() });
        }
        let (train, test) = match *self {
            Split::Share(share) => {
                let mut times = log.time.clone();
                let at = ((times.len() as f64 * share) as usize).min(times.len() - 1);
                let (_, &mut cut, _) = times.select_nth_unstable(at);
                (log.select(|event| log.time[event] < cut), log.select(|event| log.time[event] >= cut))
            }
            Split::Days { from, until } => {
                (log.select(|event| log.time[event] < from), log.select(|event| (from..until).contains(&log.time[event])))
            }
            Split::LastOrder => {
                if log.order.iter().all(|&order| order == NONE) {
                    return Err(DataError::NotServed { task: "a last-order split".into(), needs: "order_id or session_id".into() });
                }
                let last = last_orders(log);
                if last.iter().all(Option::is_none) {
                    let needs = "a shopper with two orders or more".into();
                    return Err(DataError::NotServed { task: "a last-order split".into(), needs });
                }
                let held = |event: usize| {
                    let user = log.user_of(event);
                    user != NONE && last[user as usize].is_some_and(|(order, _)| order == log.order_of(event))
                };
                // What a user did at or after the held-out order's start would leak it.
                let after = |event: usize| {
                    let user = log.user_of(event);
                    user != NONE && last[user as usize].is_some_and(|(_, start)| log.time[event] >= start)
                };
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

/// For each user with two orders or more: the last order and when it began.
fn last_orders(log: &EventLog) -> Vec<Option<(u32, i64)>> {
    let mut starts: Vec<(u32, u32, i64)> = (0..log.len())
        .filter(|&event| log.type_of(event).role == EventRole::Purchase)
        .map(|event| (log.user_of(event), log.order_of(event), log.time[event]))
        .filter(|&(user, order, _)| user != NONE && order != NONE)
        .collect();
    starts.sort_unstable();
    starts.dedup_by_key(|&mut (user, order, _)| (user, order));
    starts.sort_unstable_by_key(|&(user, order, time)| (user, time, order));
    let mut last = vec![None; log.users.len()];
    for pair in starts.windows(2) {
        if pair[0].0 == pair[1].0 {
            last[pair[1].0 as usize] = Some((pair[1].1, pair[1].2));
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
        let days = "time:1970-01-02..1970-01-03".parse::<Split>().unwrap();
        assert_eq!(days, Split::Days { from: 86_400_000, until: 172_800_000 });
        for wrong in ["", "time:1.5", "time:0", "random", "time:2017-13-01", "time:2017-02-02..2017-02-01"] {
            assert!(wrong.parse::<Split>().is_err(), "{wrong}");
        }
    }
}
