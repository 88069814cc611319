//! Types of columns, places of files, and columns that are missing or of the wrong type.

use crate::common::{config, folder, read, read_events, rows, texts, write};
use aisle_data::{DataConfig, DataError, EventRole};
use arrow_array::types::Int32Type;
use arrow_array::{
    ArrayRef, BooleanArray, Date32Array, DictionaryArray, Float64Array, Int32Array, Int64Array,
    LargeStringArray, TimestampMicrosecondArray, TimestampNanosecondArray, TimestampSecondArray,
    UInt64Array,
};
use std::sync::Arc;

/// The ids 7 and 8 in every type that an id may have.
fn id_columns() -> Vec<(&'static str, ArrayRef)> {
    let dictionary: DictionaryArray<Int32Type> = vec!["7", "8"].into_iter().collect();
    vec![
        ("int32", Arc::new(Int32Array::from(vec![7, 8]))),
        ("int64", Arc::new(Int64Array::from(vec![7, 8]))),
        ("uint64", Arc::new(UInt64Array::from(vec![7, 8]))),
        ("float", Arc::new(Float64Array::from(vec![7.0, 8.0]))),
        ("string", texts(&["7", "8"])),
        ("large", Arc::new(LargeStringArray::from(vec!["7", "8"]))),
        ("dictionary", Arc::new(dictionary)),
    ]
}

const SECONDS: [i64; 2] = [1_500_000_000, 1_500_086_400];

/// The same two times in every type that a timestamp may have, with the config that reads it.
fn time_columns() -> Vec<(&'static str, ArrayRef, &'static str)> {
    let in_seconds = SECONDS.to_vec();
    let in_millis = SECONDS.map(|s| s * 1000).to_vec();
    let in_micros = SECONDS.map(|s| s * 1_000_000).to_vec();
    let in_nanos = SECONDS.map(|s| s * 1_000_000_000).to_vec();
    vec![
        (
            "s",
            Arc::new(TimestampSecondArray::from(in_seconds.clone())),
            "{}",
        ),
        (
            "us",
            Arc::new(TimestampMicrosecondArray::from(in_micros).with_timezone("UTC")),
            "{}",
        ),
        (
            "ns",
            Arc::new(TimestampNanosecondArray::from(in_nanos)),
            "{}",
        ),
        (
            "epoch s",
            Arc::new(Int64Array::from(in_seconds)),
            r#"{"columns": {"timestamp_unit": "s"}}"#,
        ),
        (
            "epoch ms",
            Arc::new(Int64Array::from(in_millis)),
            r#"{"columns": {"timestamp_unit": "ms"}}"#,
        ),
    ]
}

#[test]
fn every_type_of_id_and_time_reads_the_same() {
    let folder = folder();
    let event = |id: &str, kind: &str, seconds: i64| {
        let id = id.to_string();
        (id.clone(), id, kind.to_string(), seconds * 1000)
    };
    let expected = [
        event("7", "view", SECONDS[0]),
        event("8", "buy", SECONDS[1]),
    ];
    for (id_type, ids) in id_columns() {
        for (time_type, times, settings) in time_columns() {
            let path = write(
                &folder.path().join("e.parquet"),
                vec![
                    ("user_id", ids.clone()),
                    ("item_id", ids.clone()),
                    ("event_type", texts(&["view", "buy"])),
                    ("timestamp", times),
                ],
            );
            let data = read(&path, None, &config(settings)).unwrap();
            assert_eq!(rows(&data), expected, "{id_type} {time_type}");
            let roles: Vec<EventRole> = data.log.types.iter().map(|kind| kind.role).collect();
            assert_eq!(roles, [EventRole::Purchase, EventRole::View]);
        }
    }
}

#[test]
fn a_date_is_its_midnight() {
    let folder = folder();
    let ids = texts(&["7", "8"]);
    let columns: Vec<(&str, ArrayRef)> = vec![
        ("user_id", ids.clone()),
        ("item_id", ids),
        (
            "timestamp",
            Arc::new(Date32Array::from(vec![17_000, 17_001])),
        ),
    ];
    let path = write(&folder.path().join("d.parquet"), columns);
    let data = read_events(&path).unwrap();
    assert_eq!(data.log.time[0], 17_000 * aisle_data::DAY_MILLIS);
}

#[test]
fn a_file_a_folder_a_glob_and_partitions_read_the_same() {
    let folder = folder();
    let path = write(
        &folder.path().join("one.parquet"),
        vec![
            ("user_id", texts(&["a", "b", "c"])),
            ("item_id", texts(&["x", "y", "x"])),
            ("event_type", texts(&["buy", "view", "view"])),
        ],
    );
    let whole = read_events(&path).unwrap();

    let tree = folder.path().join("tree");
    write(
        &tree.join("event_type=view/2.parquet"),
        vec![
            ("user_id", texts(&["c", "b"])),
            ("item_id", texts(&["x", "y"])),
        ],
    );
    write(
        &tree.join("event_type=buy/1.parquet"),
        vec![("user_id", texts(&["a"])), ("item_id", texts(&["x"]))],
    );
    let glob = format!("{}/*/*.parquet", tree.display());
    for given in [tree.to_str().unwrap(), glob.as_str()] {
        let data = read_events(given).unwrap();
        assert_eq!(rows(&data), rows(&whole), "{given}");
    }
}

#[test]
fn a_path_without_files_is_not_found() {
    assert!(matches!(
        read_events("no/such/*.parquet"),
        Err(DataError::NotFound { .. })
    ));
}

/// One event in columns with names of their own.
fn unnamed_columns(folder: &tempfile::TempDir) -> String {
    write(
        &folder.path().join("e.parquet"),
        vec![("visitorid", texts(&["a"])), ("product", texts(&["x"]))],
    )
}

#[test]
fn a_missing_column_shows_those_there_are_and_the_line_to_add() {
    let folder = folder();
    let error = read_events(&unnamed_columns(&folder)).unwrap_err();
    let error = error.to_string();
    assert!(
        error.contains("visitorid, product")
            && error.contains("[columns]\n    item_id = \"product\""),
        "{error}"
    );
}

#[test]
fn a_log_must_say_who_acted() {
    let folder = folder();
    let mapped = config(r#"{"columns": {"item_id": "product"}}"#);
    let error = read(&unnamed_columns(&folder), None, &mapped).unwrap_err();
    let error = error.to_string();
    assert!(error.contains("user_id, order_id, session_id"), "{error}");
}

#[test]
fn columns_are_mapped_by_the_config() {
    let folder = folder();
    let mapped = config(r#"{"columns": {"item_id": "product", "user_id": "visitorid"}}"#);
    let data = read(&unnamed_columns(&folder), None, &mapped).unwrap();
    assert_eq!(data.log.len(), 1);
}

#[test]
fn a_mapped_column_must_exist() {
    let folder = folder();
    let typo = config(r#"{"columns": {"item_id": "product", "user_id": "visitor"}}"#);
    assert!(matches!(
        read(&unnamed_columns(&folder), None, &typo),
        Err(DataError::MissingColumn { .. })
    ));
}

#[test]
fn the_column_of_a_drop_rule_must_exist() {
    let folder = folder();
    let rule = r#"{"columns": {"item_id": "product", "user_id": "visitorid"},
                   "clean": {"drop_events": [{"column": "shop", "values": ["1"]}]}}"#;
    let error = read(&unnamed_columns(&folder), None, &config(rule)).unwrap_err();
    let error = error.to_string();
    assert!(
        error.contains("no column 'shop'")
            && error.contains("[[clean.drop_events]]\n    column = "),
        "{error}"
    );
}

#[test]
fn a_wrong_type_is_refused_with_the_types_that_are_accepted() {
    let folder = folder();
    let seconds: ArrayRef = Arc::new(Int64Array::from(vec![1_500_000_000]));
    let boolean: ArrayRef = Arc::new(BooleanArray::from(vec![true]));
    for (column, values, expected) in [
        ("timestamp", seconds, "timestamp_unit"),
        ("timestamp", texts(&["2017-01-01"]), "a timestamp, a date"),
        ("price", texts(&["cheap"]), "expected numbers"),
        ("quantity", boolean, "expected numbers"),
    ] {
        let path = write(
            &folder.path().join("e.parquet"),
            vec![
                ("user_id", texts(&["a"])),
                ("item_id", texts(&["x"])),
                (column, values),
            ],
        );
        let error = read(&path, None, &DataConfig::default()).unwrap_err();
        assert!(
            matches!(error, DataError::WrongType { .. }) && error.to_string().contains(expected),
            "{error}"
        );
    }
}
