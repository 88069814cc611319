//! Rows that are set aside: because they are faulty, or because the config says so.

use crate::common::{config, folder, read, read_events, rows, texts, write};
use aisle_data::{DataError, Reason};
use arrow_array::{ArrayRef, Float64Array, StringArray, TimestampSecondArray};
use std::path::Path;
use std::sync::Arc;

/// Writes `rows` events, of which rows 0 to 6 are faulty, each in its own way.
fn write_faulty(path: &Path, rows: usize) -> String {
    let (future, past) = (4_000_000_000i64, 1_500_000_000i64);
    let ids = |null_row: usize, id: &'static str| -> ArrayRef {
        let ids = (0..rows).map(|row| (row != null_row).then_some(id));
        Arc::new(ids.collect::<StringArray>())
    };
    let times = (0..rows).map(|row| match row {
        2 => None,
        3 => Some(future),
        _ => Some(past),
    });
    let prices = (0..rows).map(|row| match row {
        4 => f64::NAN,
        5 => -1.0,
        _ => 2.0,
    });
    let quantities = (0..rows).map(|row| if row == 6 { -3.0 } else { 1.0 });
    write(
        path,
        vec![
            ("user_id", ids(1, "u")),
            ("item_id", ids(0, "x")),
            (
                "timestamp",
                Arc::new(TimestampSecondArray::from_iter(times)),
            ),
            ("price", Arc::new(Float64Array::from_iter_values(prices))),
            (
                "quantity",
                Arc::new(Float64Array::from_iter_values(quantities)),
            ),
        ],
    )
}

#[test]
fn faulty_rows_are_counted_by_reason() {
    let folder = folder();
    let path = write_faulty(&folder.path().join("e.parquet"), 20);
    let data = read_events(&path).unwrap();
    let counted: Vec<(Reason, u64, u64)> = data
        .report
        .set_aside
        .iter()
        .map(|(reason, count)| (reason, count.rows, count.first_row))
        .collect();
    let expected = [
        (Reason::NullItem, 1, 0),
        (Reason::NullOwner, 1, 1),
        (Reason::NullTimestamp, 1, 2),
        (Reason::Future, 1, 3),
        (Reason::NanPrice, 1, 4),
        (Reason::NegativePrice, 1, 5),
        (Reason::BadQuantity, 1, 6),
    ];
    assert_eq!(counted, expected);
    assert_eq!(data.log.len(), 13);
}

#[test]
fn too_many_faulty_rows_are_an_error_with_the_setting_and_the_reasons() {
    let folder = folder();
    let path = write_faulty(&folder.path().join("e.parquet"), 10);
    let error = read_events(&path).unwrap_err();
    assert!(
        matches!(
            error,
            DataError::TooManySetAside {
                bad: 7,
                total: 10,
                ..
            }
        ),
        "{error}"
    );
    assert!(
        error.to_string().contains("max_set_aside") && error.to_string().contains("negative price"),
        "{error}"
    );
}

#[test]
fn the_share_of_faulty_rows_that_is_tolerated_is_a_setting() {
    let folder = folder();
    let path = write_faulty(&folder.path().join("e.parquet"), 10);
    let tolerant = config(r#"{"clean": {"max_set_aside": 0.8}}"#);
    assert!(read(&path, None, &tolerant).is_ok());
}

#[test]
fn a_log_without_rows_is_an_error() {
    let folder = folder();
    let path = write_faulty(&folder.path().join("e.parquet"), 0);
    assert!(matches!(read_events(&path), Err(DataError::Empty { .. })));
}

/// Three events, of which one is of an item that the items file lacks, and one of fuel.
fn write_shop(folder: &Path) -> (String, String) {
    let events = write(
        &folder.join("e.parquet"),
        vec![
            ("user_id", texts(&["u", "u", "u"])),
            ("item_id", texts(&["a", "b", "c"])),
        ],
    );
    let items = write(
        &folder.join("i.parquet"),
        vec![
            ("item_id", texts(&["a", "b"])),
            ("department", texts(&["FUEL", "FOOD"])),
        ],
    );
    (events, items)
}

const CLEAN: &str = r#"{"clean": {
    "drop_unknown_items": true,
    "drop_items": [{"column": "department", "values": ["FUEL"]}]
}}"#;

#[test]
fn the_config_leaves_out_items_and_their_events() {
    let folder = folder();
    let (events, items) = write_shop(folder.path());
    let data = read(&events, Some(&items), &config(CLEAN)).unwrap();
    let items: Vec<String> = rows(&data).into_iter().map(|row| row.1).collect();
    assert_eq!(items, ["b"]);
}

#[test]
fn rows_that_the_config_leaves_out_are_no_faults() {
    let folder = folder();
    let (events, items) = write_shop(folder.path());
    let data = read(&events, Some(&items), &config(CLEAN)).unwrap();
    assert_eq!(data.report.set_aside.faults(), 0);
}

#[test]
fn cleaning_by_the_items_file_needs_one() {
    let folder = folder();
    let (events, _) = write_shop(folder.path());
    assert!(read(&events, None, &config(CLEAN)).is_err());
}
