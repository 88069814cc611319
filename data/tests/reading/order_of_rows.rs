//! The order of files and rows does not change what is read.

use crate::common::{folder, read_events, texts, write};
use arrow_array::{ArrayRef, StringArray, TimestampSecondArray};
use proptest::prelude::*;
use std::path::Path;
use std::sync::Arc;

/// Writes rows of (user, item, seconds); each user has one order a second.
fn write_rows(path: &Path, rows: &[(u8, u8, i64)]) -> String {
    let column = |text: &dyn Fn(&(u8, u8, i64)) -> String| -> ArrayRef {
        Arc::new(StringArray::from_iter_values(rows.iter().map(text)))
    };
    let times = rows.iter().map(|row| 1_500_000_000 + row.2);
    let columns: Vec<(&str, ArrayRef)> = vec![
        ("user_id", column(&|row| row.0.to_string())),
        ("item_id", column(&|row| row.1.to_string())),
        ("order_id", column(&|row| format!("{}-{}", row.0, row.2))),
        (
            "timestamp",
            Arc::new(TimestampSecondArray::from_iter_values(times)),
        ),
    ];
    write(path, columns)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    /// The same rows in whatever order and number of files give the same log.
    #[test]
    fn files_and_their_order_do_not_matter(
        rows in prop::collection::vec((0u8..6, 0u8..6, 0i64..4), 2..40),
        turn in 0usize..40,
        cut in 1usize..39,
    ) {
        let folder = folder();
        let path = |name: &str| folder.path().join(name);
        let one = read_events(&write_rows(&path("one.parquet"), &rows)).unwrap();
        let mut turned = rows.clone();
        turned.rotate_left(turn % rows.len());
        let cut = cut % rows.len();
        write_rows(&path("many/1.parquet"), &turned[cut..]);
        write_rows(&path("many/2.parquet"), &turned[..cut]);
        let two = read_events(path("many").to_str().unwrap()).unwrap();
        prop_assert_eq!(&one.log.user, &two.log.user);
        prop_assert_eq!(&one.log.item, &two.log.item);
        prop_assert_eq!(&one.log.order, &two.log.order);
        prop_assert_eq!(&one.log.time, &two.log.time);
    }
}

#[test]
fn rows_that_differ_in_their_context_alone_read_the_same_in_any_order() {
    let folder = folder();
    let read_rows = |name: &str, devices: &[&str]| {
        let same = vec!["a"; devices.len()];
        let columns = vec![
            ("user_id", texts(&same)),
            ("item_id", texts(&same)),
            ("device", texts(devices)),
        ];
        let data = read_events(&write(&folder.path().join(name), columns)).unwrap();
        let column = data.log.context.into_iter().next().unwrap();
        let values: Vec<String> = column.values.iter().map(str::to_string).collect();
        (values, column.value)
    };
    assert_eq!(
        read_rows("1.parquet", &["x", "y", "z", "y"]),
        read_rows("2.parquet", &["y", "z", "y", "x"])
    );
}
