//! What every test needs: writing small Parquet files, and reading them.

use aisle_data::{DataConfig, DataError, Dataset, NONE, Tables};
use arrow_array::{ArrayRef, RecordBatch, StringArray};
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, ZstdLevel};
use parquet::file::properties::WriterProperties;
use std::fs::File;
use std::path::Path;
use std::sync::Arc;
use tempfile::TempDir;

/// A temporary folder, which is removed at the end of the test.
pub fn folder() -> TempDir {
    tempfile::tempdir().unwrap()
}

/// Writes a Parquet file and returns its path.
pub fn write(path: &Path, columns: Vec<(&str, ArrayRef)>) -> String {
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    let columns = columns.into_iter().map(|(name, array)| (name, array, true));
    let batch = RecordBatch::try_from_iter_with_nullable(columns).unwrap();
    let properties = WriterProperties::builder()
        .set_compression(Compression::ZSTD(ZstdLevel::default()))
        .build();
    let file = File::create(path).unwrap();
    let mut writer = ArrowWriter::try_new(file, batch.schema(), Some(properties)).unwrap();
    writer.write(&batch).unwrap();
    writer.close().unwrap();
    path.to_str().unwrap().to_string()
}

/// A column of texts.
pub fn texts(values: &[&str]) -> ArrayRef {
    Arc::new(StringArray::from_iter_values(values))
}

/// Reads events and perhaps items.
pub fn read(events: &str, items: Option<&str>, config: &DataConfig) -> Result<Dataset, DataError> {
    let tables = Tables {
        events,
        items,
        users: None,
    };
    Dataset::read(&tables, config)
}

/// Reads events alone with the default config.
pub fn read_events(events: &str) -> Result<Dataset, DataError> {
    read(events, None, &DataConfig::default())
}

/// A config from JSON.
pub fn config(json: &str) -> DataConfig {
    serde_json::from_str(json).unwrap()
}

/// User (`-` = anonymous), item, type and milliseconds of every event.
pub fn rows(data: &Dataset) -> Vec<(String, String, String, i64)> {
    let log = &data.log;
    let user_id = |event: usize| match log.user_of(event) {
        NONE => "-",
        user => log.users.id(user),
    };
    (0..log.len())
        .map(|event| {
            (
                user_id(event).to_string(),
                log.items.id(log.item[event]).to_string(),
                log.type_of(event).name.clone(),
                log.time_of(event),
            )
        })
        .collect()
}
