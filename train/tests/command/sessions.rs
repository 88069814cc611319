//! Visits as benchmarks give them.
use crate::common::*;
use arrow_array::builder::{Int32Builder, ListBuilder};
use arrow_array::{ArrayRef, Int16Array, Int32Array};
use std::sync::Arc;

/// Sessions as benchmarks give them: no times, no users, positions, and questions cut beforehand.
#[test]
fn visits_are_learned_and_asked_about() {
    let folder = tempfile::tempdir().unwrap();
    // Visits walk along a ring of 40 items, so the next click is known.
    let (mut session, mut position, mut item) = (Vec::new(), Vec::new(), Vec::new());
    for visit in 0..400i32 {
        for step in 0..5i16 {
            session.push(visit);
            position.push(step);
            item.push(visit % 40 + i32::from(step));
        }
    }
    let columns: Vec<(String, ArrayRef)> = vec![
        ("session_id".into(), Arc::new(Int32Array::from(session))),
        ("position".into(), Arc::new(Int16Array::from(position))),
        ("item_id".into(), Arc::new(Int32Array::from(item))),
    ];
    aisle_models::write_table(&folder.path().join("train.parquet"), columns).unwrap();
    let mut prefix = ListBuilder::new(Int32Builder::new());
    for first in 0..30 {
        prefix.append_value([Some(first), Some(first + 1), Some(first + 2)]);
    }
    let target = Int32Array::from_iter_values((0..30).map(|first| first + 3));
    let columns: Vec<(String, ArrayRef)> = vec![
        ("prefix".into(), Arc::new(prefix.finish())),
        ("target_item_id".into(), Arc::new(target)),
    ];
    aisle_models::write_table(&folder.path().join("test.parquet"), columns).unwrap();
    let of = |arguments: &[&str]| -> serde_json::Value {
        let fixed = [
            "evaluate", "--task", "session", "--k", "3", "--json", "out.json",
        ];
        succeed(folder.path(), &[&fixed, arguments].concat());
        read_json(folder.path(), "out.json")
    };
    let cut = of(&["--train", "train.parquet", "--test", "test.parquet"]);
    assert_eq!(
        (cut["queries"].as_u64(), cut["algorithm"].as_str()),
        (Some(30), Some("session-knn"))
    );
    assert_eq!(cut["metrics"]["hit_rate@3"], 1.0);
    let split = of(&["--events", "train.parquet", "--split", "time:0.9"]);
    // A visit's last click may lead out of what was learned of so few.
    assert!(
        split["queries"] == 160 && split["metrics"]["hit_rate@3"].as_f64() > Some(0.98),
        "{split}"
    );
}
