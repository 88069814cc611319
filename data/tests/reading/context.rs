//! Columns that describe the context of events.

use crate::common::{config, folder, read, texts, write};
use aisle_data::{ContextColumn, DataError, Dataset, EventLog, Inspection, Split};
use arrow_array::builder::{ListBuilder, StringBuilder};
use arrow_array::{ArrayRef, Int32Array, StringArray, TimestampSecondArray};
use std::sync::Arc;
use tempfile::TempDir;

/// Four events with a device, a location, a store, and a traffic source that is no text.
fn write_log(folder: &TempDir) -> String {
    let devices = vec![Some("mobile"), None, Some("desktop"), Some("mobile")];
    let mut nested = ListBuilder::new(StringBuilder::new());
    (0..4).for_each(|_| nested.append(true));
    let times = [1_500_000_030, 1_500_000_020, 1_500_000_010, 1_500_000_000];
    let columns: Vec<(&str, ArrayRef)> = vec![
        ("user_id", texts(&["b", "a", "b", "c"])),
        ("item_id", texts(&["x", "y", "z", "x"])),
        (
            "timestamp",
            Arc::new(TimestampSecondArray::from(times.to_vec())),
        ),
        ("ua", Arc::new(devices.into_iter().collect::<StringArray>())),
        ("location", texts(&["UK>London", "UK > Leeds", "", "UK"])),
        ("traffic_source", Arc::new(nested.finish())),
        ("store_id", Arc::new(Int32Array::from(vec![7, 8, 7, 9]))),
        ("week", Arc::new(Int32Array::from(vec![1, 1, 1, 1]))),
    ];
    write(&folder.path().join("e.parquet"), columns)
}

fn read_log() -> Dataset {
    let folder = folder();
    let mapped = config(r#"{"columns": {"device": "ua", "context": ["store_id", "location"]}}"#);
    read(&write_log(&folder), None, &mapped).unwrap()
}

/// For each context column the value of each event, `-` where it is not known.
fn values(log: &EventLog) -> Vec<Vec<String>> {
    let of_column = |column: &ContextColumn| {
        (0..log.len())
            .map(|event| column.value_of(event).unwrap_or("-").to_string())
            .collect()
    };
    log.context.iter().map(of_column).collect()
}

#[test]
fn values_are_read_and_paths_are_normalized() {
    let data = read_log();
    let names: Vec<&str> = (data.log.context.iter())
        .map(|column| column.name.as_str())
        .collect();
    assert_eq!(names, ["device", "location", "store_id"]);
    // By user and time: a, then b's two, then c.
    let expected = [
        ["-", "desktop", "mobile", "mobile"],
        ["UK > Leeds", "-", "UK > London", "UK"],
        ["8", "7", "7", "9"],
    ];
    assert_eq!(values(&data.log), expected);
}

#[test]
fn distinct_values_and_known_events_are_counted() {
    let facts = Inspection::of(&read_log());
    let counts: Vec<(usize, u64)> = (facts.context.iter())
        .map(|column| (column.values, column.events))
        .collect();
    assert_eq!(counts, [(2, 3), (3, 3), (3, 4)]);
}

#[test]
fn a_column_of_lists_that_nobody_named_is_left_out() {
    let facts = Inspection::of(&read_log());
    assert_eq!(facts.other_columns, ["week", "traffic_source"]);
}

#[test]
fn a_split_keeps_the_values_of_its_events() {
    let (earlier, later) = Split::Share(0.5).apply(&read_log().log).unwrap();
    assert_eq!(
        values(&earlier),
        [["desktop", "mobile"], ["-", "UK"], ["7", "9"]]
    );
    assert_eq!(
        values(&later),
        [["-", "mobile"], ["UK > Leeds", "UK > London"], ["8", "7"]]
    );
}

#[test]
fn leaving_out_rare_items_keeps_the_values_of_the_other_events() {
    assert_eq!(
        values(&read_log().log.with_min_users(2)),
        [["mobile", "mobile"], ["UK > London", "UK"], ["7", "9"]]
    );
}

#[test]
fn a_named_column_must_exist() {
    let folder = folder();
    let named = config(r#"{"columns": {"context": ["shop"]}}"#);
    let missing = read(&write_log(&folder), None, &named).unwrap_err();
    assert!(missing.to_string().contains("shop"), "{missing}");
}

#[test]
fn a_named_column_must_hold_texts() {
    let folder = folder();
    let named = config(r#"{"columns": {"traffic_source": "traffic_source"}}"#);
    let nested = read(&write_log(&folder), None, &named).unwrap_err();
    assert!(matches!(nested, DataError::WrongType { .. }), "{nested}");
}
