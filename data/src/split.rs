//! Past and future: which events a model may learn from, and which it is measured on.

use crate::config::EventRole;
use crate::error::{DataError, Result};
use crate::event_log::EventLog;
use crate::id_map::NONE;
use crate::time::{format_day, parse_day};
use aisle_math::random::mix;
use std::str::FromStr;

/// The share of the events, ordered by time, that stays in the training part of a validation split.
const VALIDATION_SHARE: f64 = 0.9;

/// How to cut a log into a training and a test part.
#[derive(Clone, Debug, PartialEq)]
pub enum Split {
    /// `time:0.9`: the first share of the events, ordered by time, is for training; in a log
    /// without times they are ordered by the numbers of their orders or sessions.
    Share(f64),
    /// `time:2017-11-12` or `time:2017-11-12..2017-11-26`: the days of the test part, the second
    /// one excluded. Events before it are for training, and later ones are left out.
    Days {
        /// Begin of the test part, in milliseconds since 1970-01-01 UTC.
        from: i64,
        /// The time just after its end.
        until: i64,
    },
    /// `last-order`: the last order of every user who has two or more. In a log without orders it
    /// is what the user bought at the time of their last purchase, and in a log without times the
    /// order with the largest number.
    LastOrder,
    /// `validation`: a part cut off a training log, as much like the future as the log allows. It
    /// is the last tenth of the events by time; without times a fifth of the items of a fifth of
    /// the users, so that what remains is nearly as dense as the whole.
    Validation,
}

impl FromStr for Split {
    type Err = DataError;

    fn from_str(text: &str) -> Result<Self> {
        let wrong = || DataError::Setting {
            name: "split".into(),
            found: format!("'{text}'"),
            expected: "time:0.9 (share of events), \
                       time:2017-11-12 or time:2017-11-12..2017-11-26 (days, end excluded), \
                       last-order, or validation"
                .into(),
        };
        match text {
            "last-order" => return Ok(Split::LastOrder),
            "validation" => return Ok(Split::Validation),
            _ => {}
        }
        let time = text.strip_prefix("time:").ok_or_else(wrong)?;
        if let Ok(share) = time.parse::<f64>() {
            return if share > 0.0 && share < 1.0 {
                Ok(Split::Share(share))
            } else {
                Err(wrong())
            };
        }
        let (from, until) = match time.split_once("..") {
            Some((from, until)) => (from, parse_day(until).ok_or_else(wrong)?),
            None => (time, i64::MAX),
        };
        let from = parse_day(from).ok_or_else(wrong)?;
        if from < until {
            Ok(Split::Days { from, until })
        } else {
            Err(wrong())
        }
    }
}

impl Split {
    /// Cuts the log into (train, test). No event is in both. O(n log n).
    ///
    /// # Errors
    /// [`DataError::NotServed`] if the log lacks the times or orders that the split needs,
    /// [`DataError::Empty`] if a part holds nothing.
    pub fn apply(&self, log: &EventLog) -> Result<(EventLog, EventLog)> {
        if *self == Split::Validation {
            return validation_split(log);
        }
        let by_order = !log.order.is_empty() && !matches!(self, Split::Days { .. });
        if log.time.is_empty() && !by_order {
            return Err(DataError::NotServed {
                task: "a split by time".into(),
                needs: "timestamps".into(),
            });
        }
        let (train, test) = match *self {
            Split::Share(share) => share_split(log, share)?,
            Split::Days { from, until } => (
                log.select(|event| log.time[event] < from),
                log.select(|event| (from..until).contains(&log.time[event])),
            ),
            // Validation returned above.
            Split::LastOrder | Split::Validation => last_order_split(log)?,
        };
        for (part, name) in [(&train, "the training part"), (&test, "the test part")] {
            if part.is_empty() {
                let span = log.span().map_or_else(String::new, |(first, last)| {
                    format!("{} to {}", format_day(first), format_day(last))
                });
                return Err(DataError::Empty {
                    what: name.into(),
                    detail: format!("the log runs from {span}; choose a split inside it"),
                });
            }
        }
        Ok((train, test))
    }
}

/// Cuts [`Split::Share`].
fn share_split(log: &EventLog, share: f64) -> Result<(EventLog, EventLog)> {
    if log.is_empty() {
        return Err(DataError::Empty {
            what: "the log".into(),
            detail: "there is nothing to split".into(),
        });
    }
    let mut times: Vec<i64> = (0..log.len()).map(|event| sort_time(log, event)).collect();
    let first_of_test = ((times.len() as f64 * share) as usize).min(times.len() - 1);
    let (_, &mut from, _) = times.select_nth_unstable(first_of_test);
    Ok((
        log.select(|event| sort_time(log, event) < from),
        log.select(|event| sort_time(log, event) >= from),
    ))
}

/// Cuts [`Split::LastOrder`].
fn last_order_split(log: &EventLog) -> Result<(EventLog, EventLog)> {
    let last_orders = last_orders(log);
    if last_orders.iter().all(Option::is_none) {
        return Err(DataError::NotServed {
            task: "a last-order split".into(),
            needs: "a shopper with two orders or more".into(),
        });
    }
    let last_order = |event: usize| {
        let user = log.user_of(event) as usize;
        last_orders.get(user).copied().flatten()
    };
    let is_test = |event: usize| last_order(event).is_some_and(|last| last.contains(log, event));
    // What a user did at or after the begin of the last order would reveal it.
    let is_later =
        |event: usize| last_order(event).is_some_and(|last| sort_time(log, event) >= last.began);
    Ok((
        log.select(|event| !is_test(event) && !is_later(event)),
        log.select(is_test),
    ))
}

/// Cuts [`Split::Validation`].
fn validation_split(log: &EventLog) -> Result<(EventLog, EventLog)> {
    let has_no_users = log.user.iter().all(|&user| user == NONE);
    if !log.time.is_empty() || (has_no_users && !log.order.is_empty()) {
        return Split::Share(VALIDATION_SHARE).apply(log);
    }
    // The salt depends on the log, because a validation part may be cut off a training part that
    // was itself cut off in this way: the same draws would find nothing left.
    let salt = mix(log.len() as u64);
    let is_test = |event: usize| {
        let user = log.user_of(event);
        let of_user = mix(salt ^ u64::from(user));
        let of_item = mix(salt ^ (u64::from(user) << 32 | u64::from(log.item[event])));
        user != NONE && of_user.is_multiple_of(5) && of_item.is_multiple_of(5)
    };
    let (train, test) = (log.select(|event| !is_test(event)), log.select(is_test));
    if train.is_empty() || test.is_empty() {
        return Err(DataError::Empty {
            what: "the validation part".into(),
            detail: "the log has no times, and too few users to hold a part of their items out"
                .into(),
        });
    }
    Ok((train, test))
}

/// A user's last order.
#[derive(Clone, Copy)]
struct LastOrder {
    /// Number of the order, [`NONE`] in a log without orders.
    order: u32,
    /// Time of its first event, see [`sort_time`].
    began: i64,
}

impl LastOrder {
    fn contains(self, log: &EventLog, event: usize) -> bool {
        if self.order != NONE {
            return log.order_of(event) == self.order;
        }
        let is_purchase = log.type_of(event).role == EventRole::Purchase;
        is_purchase && sort_time(log, event) == self.began
    }
}

/// The time of an event; in a log without times the number of its order.
fn sort_time(log: &EventLog, event: usize) -> i64 {
    if log.time.is_empty() {
        i64::from(log.order_of(event))
    } else {
        log.time[event]
    }
}

/// For each user with two orders or more (in a log without orders: two times of purchase) the last
/// one.
fn last_orders(log: &EventLog) -> Vec<Option<LastOrder>> {
    let has_no_orders = log.order.iter().all(|&order| order == NONE);
    let mut orders: Vec<(u32, u32, i64)> = (0..log.len())
        .filter(|&event| log.type_of(event).role == EventRole::Purchase)
        .map(|event| {
            let (user, order) = (log.user_of(event), log.order_of(event));
            (user, order, sort_time(log, event))
        })
        .filter(|&(user, order, _)| user != NONE && (order != NONE || has_no_orders))
        .collect();
    orders.sort_unstable();
    orders.dedup_by_key(|&mut (user, order, time)| {
        let time_without_orders = if has_no_orders { time } else { 0 };
        (user, order, time_without_orders)
    });
    orders.sort_unstable_by_key(|&(user, order, time)| (user, time, order));
    let mut last_orders: Vec<Option<LastOrder>> = vec![None; log.users.len()];
    for pair in orders.windows(2) {
        let (user, order, began) = pair[1];
        if pair[0].0 == user {
            last_orders[user as usize] = Some(LastOrder { order, began });
        }
    }
    if has_no_orders {
        return last_orders;
    }
    // An order, or session, begins with its first event of any type.
    for event in 0..log.len() {
        if let Some(Some(last)) = last_orders.get_mut(log.user_of(event) as usize)
            && last.order == log.order_of(event)
        {
            last.began = last.began.min(sort_time(log, event));
        }
    }
    last_orders
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::DAY_MILLIS;

    #[test]
    fn splits_are_read_as_written() {
        assert_eq!("time:0.9".parse::<Split>().unwrap(), Split::Share(0.9));
        assert_eq!("last-order".parse::<Split>().unwrap(), Split::LastOrder);
        assert_eq!("validation".parse::<Split>().unwrap(), Split::Validation);
        let days = "time:1970-01-02..1970-01-03".parse::<Split>().unwrap();
        assert_eq!(
            days,
            Split::Days {
                from: DAY_MILLIS,
                until: 2 * DAY_MILLIS
            }
        );
        for wrong in [
            "",
            "time:1.5",
            "time:0",
            "random",
            "time:2017-13-01",
            "time:2017-02-02..2017-02-01",
        ] {
            assert!(wrong.parse::<Split>().is_err(), "{wrong}");
        }
    }
}
