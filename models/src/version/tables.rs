//! `items.parquet` and `users.parquet` of a version: ids in row order, with what is known of them.

use crate::error::{ModelError, Result};
use aisle_data::{Catalog, IdMap, Labels};
use arrow_array::{ArrayRef, BooleanArray, Float32Array, RecordBatch, StringArray};
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, ZstdLevel};
use parquet::file::properties::WriterProperties;
use std::fs::File;
use std::path::Path;
use std::sync::Arc;

fn texts(labels: &Labels, rows: usize) -> ArrayRef {
    Arc::new(StringArray::from_iter(
        (0..rows as u32).map(|row| labels.get(row)),
    ))
}

fn ids(map: &IdMap) -> ArrayRef {
    Arc::new(StringArray::from_iter_values(map.iter()))
}

/// Writes columns to one Parquet file. The same columns give the same bytes.
pub fn write_table(path: &Path, columns: Vec<(String, ArrayRef)>) -> Result<()> {
    let table = |error: &dyn std::fmt::Display| ModelError::Table {
        path: path.to_path_buf(),
        detail: error.to_string(),
    };
    let nullable = columns.into_iter().map(|(name, array)| (name, array, true));
    let batch =
        RecordBatch::try_from_iter_with_nullable(nullable).map_err(|error| table(&error))?;
    let level = ZstdLevel::try_new(3).map_err(|error| table(&error))?;
    let properties = WriterProperties::builder()
        .set_compression(Compression::ZSTD(level))
        .build();
    let file = File::create(path).map_err(ModelError::io("cannot create", path))?;
    let mut writer = ArrowWriter::try_new(file, batch.schema(), Some(properties))
        .map_err(|error| table(&error))?;
    writer.write(&batch).map_err(|error| table(&error))?;
    writer.close().map_err(|error| table(&error))?;
    Ok(())
}

/// Writes the items with their catalogue.
pub(crate) fn write_items(path: &Path, items: &IdMap, catalog: &Catalog) -> Result<()> {
    let rows = items.len();
    let prices = Float32Array::from_iter(
        catalog
            .price
            .iter()
            .map(|&price| (!price.is_nan()).then_some(price)),
    );
    let mut columns: Vec<(String, ArrayRef)> = vec![
        ("item_id".into(), ids(items)),
        ("title".into(), texts(&catalog.title, rows)),
        ("category".into(), texts(&catalog.category, rows)),
        ("price".into(), Arc::new(prices)),
        ("currency".into(), texts(&catalog.currency, rows)),
        ("brand".into(), texts(&catalog.brand, rows)),
        (
            "available".into(),
            Arc::new(BooleanArray::from(catalog.available.clone())),
        ),
    ];
    let taken =
        |name: &str, columns: &[(String, ArrayRef)]| columns.iter().any(|(other, _)| other == name);
    for (name, labels) in &catalog.attributes {
        let name = if taken(name, &columns) {
            format!("attribute_{name}")
        } else {
            name.clone()
        };
        columns.push((name, texts(labels, rows)));
    }
    write_table(path, columns)
}

/// Writes the users with their attributes.
pub(crate) fn write_users(
    path: &Path,
    users: &IdMap,
    attributes: &[(String, Labels)],
) -> Result<()> {
    let mut columns: Vec<(String, ArrayRef)> = vec![("user_id".into(), ids(users))];
    columns.extend(
        attributes
            .iter()
            .map(|(name, labels)| (name.clone(), texts(labels, users.len()))),
    );
    write_table(path, columns)
}
