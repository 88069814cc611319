//! Damaged and hostile files: each is an error, and none ends the process.

use crate::common::{config, folder, read, read_events, texts, write};
use aisle_data::DataError;
use arrow_array::{ArrayRef, Float64Array, Int64Array, StringArray};
use std::path::PathBuf;
use std::sync::Arc;
use tempfile::TempDir;

#[test]
fn hostile_files_are_refused_and_nothing_panics() {
    let hostile = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/hostile");
    let is_readme = |path: &PathBuf| path.extension().is_some_and(|ext| ext == "md");
    let mut tried = 0;
    for entry in std::fs::read_dir(hostile).unwrap().flatten() {
        let path = entry.path();
        if is_readme(&path) {
            continue;
        }
        let path = path.to_str().unwrap();
        // Each column is mapped in turn, so that its pages are really decoded.
        for column in columns_of(&read_events(path).unwrap_err()) {
            let name = serde_json::to_string(&column).unwrap();
            let columns = format!(r#"{{"item_id": {name}, "order_id": {name}}}"#);
            let mapped = config(&format!(r#"{{"columns": {columns}}}"#));
            let _ = read(path, None, &mapped);
        }
        tried += 1;
    }
    assert!(tried >= 5);
}

/// The columns of a file that lacks the needed ones; none of a file that cannot be opened.
fn columns_of(error: &DataError) -> Vec<String> {
    match error {
        DataError::MissingColumn { found, .. } => found.clone(),
        DataError::Oversized { .. } | DataError::Unreadable { .. } => Vec::new(),
        other => {
            assert!(
                other.to_string().is_empty(),
                "an unexpected refusal: {other}"
            );
            Vec::new()
        }
    }
}

#[test]
fn a_small_file_that_unpacks_to_much_is_refused_before_decoding() {
    let folder = folder();
    let zeros = "0".repeat(80 << 20);
    let path = write(
        &folder.path().join("bomb.parquet"),
        vec![("user_id", texts(&["u"])), ("item_id", texts(&[&zeros]))],
    );
    assert!(std::fs::metadata(&path).unwrap().len() < 100_000);
    let error = read_events(&path).unwrap_err();
    assert!(matches!(error, DataError::Oversized { .. }), "{error}");
}

/// The bytes of a sound file of 500 rows.
fn sound_file(folder: &TempDir) -> Vec<u8> {
    let users = (0..500).map(|row| format!("user-{}", row % 40));
    let items = (0..500).map(|row| row * 31 % 97);
    let prices = (0..500).map(f64::from);
    let columns: Vec<(&str, ArrayRef)> = vec![
        ("user_id", Arc::new(StringArray::from_iter_values(users))),
        ("item_id", Arc::new(Int64Array::from_iter_values(items))),
        ("price", Arc::new(Float64Array::from_iter_values(prices))),
    ];
    let path = write(&folder.path().join("whole.parquet"), columns);
    std::fs::read(path).unwrap()
}

#[test]
fn a_truncated_file_is_unreadable() {
    let folder = folder();
    let whole = sound_file(&folder);
    let broken = folder.path().join("broken.parquet");
    for cut in (0..whole.len()).step_by(37) {
        std::fs::write(&broken, &whole[..cut]).unwrap();
        let error = read_events(broken.to_str().unwrap()).unwrap_err();
        assert!(
            matches!(error, DataError::Unreadable { .. }),
            "cut at {cut}: {error}"
        );
    }
}

#[test]
fn a_flipped_bit_does_not_panic() {
    let folder = folder();
    let whole = sound_file(&folder);
    let broken = folder.path().join("broken.parquet");
    for flip in 0..600 {
        let mut bytes = whole.clone();
        let byte = flip * 7919 % bytes.len();
        bytes[byte] ^= 1 << (flip % 8);
        std::fs::write(&broken, &bytes).unwrap();
        let _ = read_events(broken.to_str().unwrap());
    }
}

#[test]
fn a_file_of_another_format_is_no_readable_parquet() {
    let folder = folder();
    let csv = folder.path().join("broken.parquet");
    std::fs::write(&csv, "user_id,item_id\n1,2\n").unwrap();
    let error = read_events(csv.to_str().unwrap()).unwrap_err();
    assert!(
        error.to_string().contains("not a readable Parquet file"),
        "{error}"
    );
}
