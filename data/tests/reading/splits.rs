//! Orders, the matrix of interactions, and splits of a log.

use crate::common::{folder, read_events, texts, write};
use aisle_data::{Dataset, EventLog, Interactions, Orders, Split};
use arrow_array::{ArrayRef, Int32Array, StringArray, TimestampSecondArray};
use std::sync::Arc;

fn read_orders() -> Dataset {
    let folder = folder();
    let types = ["purchase", "purchase", "purchase", "purchase", "return"];
    let columns = vec![
        ("user_id", texts(&["u", "u", "u", "v", "u"])),
        ("item_id", texts(&["a", "b", "a", "a", "a"])),
        ("order_id", texts(&["1", "1", "1", "2", "3"])),
        ("event_type", texts(&types)),
    ];
    read_events(&write(&folder.path().join("e.parquet"), columns)).unwrap()
}

#[test]
fn orders_hold_distinct_items() {
    let orders = Orders::of(&read_orders().log);
    let sizes: Vec<usize> = (0..orders.len())
        .map(|order| orders.order(order).len())
        .collect();
    assert_eq!(sizes, [2, 1]);
}

#[test]
fn a_return_takes_away_from_the_matrix() {
    let data = read_orders();
    let matrix = Interactions::of(&data.log);
    let user = data.log.users.get("u").unwrap() as usize;
    assert_eq!(
        matrix.by_user.row(user).1,
        [1.0, 1.0],
        "two of a, one returned; one of b"
    );
}

const EVENTS: i32 = 100;

/// 100 events of 7 shoppers on 50 days.
fn read_log() -> Dataset {
    let folder = folder();
    let users = (0..EVENTS).map(|event| format!("u{}", event % 7));
    let orders = (0..EVENTS).map(|event| event / 2 * 7 + event % 7);
    let seconds = (0..EVENTS).map(|event| 1_500_000_000 + 86_400 * i64::from(event / 2));
    let items = (0..EVENTS).map(|event| event % 13);
    let columns: Vec<(&str, ArrayRef)> = vec![
        ("user_id", Arc::new(StringArray::from_iter_values(users))),
        ("item_id", Arc::new(Int32Array::from_iter_values(items))),
        ("order_id", Arc::new(Int32Array::from_iter_values(orders))),
        (
            "timestamp",
            Arc::new(TimestampSecondArray::from_iter_values(seconds)),
        ),
    ];
    read_events(&write(&folder.path().join("e.parquet"), columns)).unwrap()
}

const SPLITS: [&str; 3] = ["time:0.8", "time:2017-08-20", "last-order"];

fn apply(split: &str, log: &EventLog) -> (EventLog, EventLog) {
    split.parse::<Split>().unwrap().apply(log).unwrap()
}

#[test]
fn the_parts_of_a_split_share_no_event() {
    let data = read_log();
    for split in SPLITS {
        let (train, test) = apply(split, &data.log);
        assert!(
            train.len() + test.len() <= EVENTS as usize && !test.is_empty(),
            "{split}"
        );
    }
}

#[test]
fn a_split_does_not_look_ahead() {
    let data = read_log();
    for split in SPLITS {
        let (train, test) = apply(split, &data.log);
        for user in 0..data.log.users.len() as u32 {
            let times = |log: &EventLog| {
                (0..log.len())
                    .filter(|&event| log.user_of(event) == user)
                    .map(|event| log.time[event])
                    .collect::<Vec<_>>()
            };
            let last = times(&train).into_iter().max();
            let first = times(&test).into_iter().min();
            if let (Some(last), Some(first)) = (last, first) {
                assert!(
                    last < first,
                    "{split}: a shopper's training events come before the test events"
                );
            }
        }
    }
}

#[test]
fn a_split_outside_the_log_is_an_error() {
    let split: Split = "time:2030-01-01".parse().unwrap();
    assert!(split.apply(&read_log().log).is_err());
}
