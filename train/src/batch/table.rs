//! A table in the making, and its way into a file: staged beside the target, counted, and renamed.

use super::audience::Admission;
use crate::atomic::stage_table;
use aisle_data::{IdMap, StagedFile};
use anyhow::{Context, Result, bail};
use arrow_array::{ArrayRef, Float32Array, StringArray, TimestampMillisecondArray, UInt32Array};
use parquet::file::reader::{FileReader, SerializedFileReader};
use std::collections::BTreeSet;
use std::fs::File;
use std::path::Path;
use std::sync::Arc;

/// A column and its name.
pub(super) type Column = (String, ArrayRef);

/// What a job makes.
pub(super) struct Table {
    /// Columns of equal length.
    pub(super) columns: Vec<Column>,
    /// How many rows there must be, counted by other means than the columns were made by.
    pub(super) expected_rows: usize,
    /// How many shoppers (or items) the rows are for.
    pub(super) served: usize,
    /// Who was left out; `None` for a table without shoppers.
    pub(super) admission: Option<Admission>,
    /// What to tell the user if the table has no row.
    pub(super) if_empty: String,
}

impl Table {
    pub(super) fn rows(&self) -> usize {
        self.columns.first().map_or(0, |(_, array)| array.len())
    }
}

/// The rows of the shoppers who get the campaign.
pub(super) struct AdmittedRows<R> {
    pub(super) rows: Vec<R>,
    /// How many rows there must be.
    expected_rows: usize,
    /// How many shoppers have a row.
    served: usize,
    admission: Admission,
}

impl<R> AdmittedRows<R> {
    /// Keeps the rows of admitted shoppers. The rows must be sorted by shopper; `admit` decides for
    /// the shoppers, each given once.
    pub(super) fn of(
        rows: Vec<R>,
        user: impl Fn(&R) -> u32,
        admit: impl FnOnce(&[u32]) -> Admission,
    ) -> Self {
        let mut counts: Vec<(u32, usize)> = Vec::new();
        for row in &rows {
            match counts.last_mut().filter(|last| last.0 == user(row)) {
                Some(last) => last.1 += 1,
                None => counts.push((user(row), 1)),
            }
        }
        let users: Vec<u32> = counts.iter().map(|count| count.0).collect();
        let admission = admit(&users);
        let admitted = counts.iter().zip(&admission.admitted);
        let admitted: Vec<(u32, usize)> = admitted
            .filter(|(_, is_admitted)| **is_admitted)
            .map(|(&count, _)| count)
            .collect();
        let kept: BTreeSet<u32> = admitted.iter().map(|count| count.0).collect();
        let mut rows = rows;
        rows.retain(|row| kept.contains(&user(row)));
        Self {
            rows,
            expected_rows: admitted.iter().map(|count| count.1).sum(),
            served: admitted.len(),
            admission,
        }
    }

    /// A table that has one row for each of these.
    pub(super) fn into_table(self, columns: Vec<Column>, if_empty: String) -> Table {
        let expected_rows = self.expected_rows;
        self.into_table_of(columns, expected_rows, if_empty)
    }

    /// A table that has so many rows.
    pub(super) fn into_table_of(
        self,
        columns: Vec<Column>,
        expected_rows: usize,
        if_empty: String,
    ) -> Table {
        Table {
            columns,
            expected_rows,
            served: self.served,
            admission: Some(self.admission),
            if_empty,
        }
    }
}

/// A column of texts; `None` is written as null.
pub(super) fn text<'t>(name: &str, values: impl Iterator<Item = Option<&'t str>>) -> Column {
    (name.into(), Arc::new(StringArray::from_iter(values)))
}

/// A column of the ids of rows of users or items.
pub(super) fn ids(name: &str, map: &IdMap, rows: impl Iterator<Item = u32>) -> Column {
    text(name, rows.map(|row| Some(map.id(row))))
}

/// A column of whole numbers.
pub(super) fn whole(name: &str, values: impl Iterator<Item = u32>) -> Column {
    (name.into(), Arc::new(UInt32Array::from_iter_values(values)))
}

/// A column of numbers; `None` is written as null.
pub(super) fn number(name: &str, values: impl Iterator<Item = Option<f32>>) -> Column {
    (name.into(), Arc::new(Float32Array::from_iter(values)))
}

/// A column of times, given in milliseconds since 1970-01-01 UTC.
pub(super) fn times(name: &str, values: impl Iterator<Item = i64>) -> Column {
    let array = TimestampMillisecondArray::from_iter_values(values);
    (name.into(), Arc::new(array.with_timezone("UTC")))
}

/// Writes columns beside `target`, and counts the rows that the file holds.
///
/// # Errors
/// If the file cannot be written, or holds other rows than expected.
pub(super) fn stage(
    target: &Path,
    columns: Vec<Column>,
    expected_rows: usize,
) -> Result<StagedFile> {
    let staged = stage_table(target, columns)?;
    let cannot = || format!("cannot write {}", target.display());
    let file = File::open(staged.path()).with_context(cannot)?;
    let reader = SerializedFileReader::new(file).with_context(cannot)?;
    let found = reader.metadata().file_metadata().num_rows();
    if found != expected_rows as i64 {
        bail!(
            "{found} rows made where {expected_rows} were due: a fault of this program; nothing \
             was written"
        );
    }
    Ok(staged)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wrong_number_of_rows_leaves_what_was_there() {
        let folder = tempfile::tempdir().unwrap();
        let out = folder.path().join("list.parquet");
        std::fs::write(&out, b"yesterday's").unwrap();
        let column = || vec![whole("rank", [1, 2].into_iter())];
        let error = stage(&out, column(), 3).err().unwrap().to_string();
        assert!(error.contains("2 rows made where 3 were due"), "{error}");
        assert_eq!(std::fs::read(&out).unwrap(), b"yesterday's");
        assert_eq!(
            std::fs::read_dir(folder.path()).unwrap().count(),
            1,
            "nothing is left beside it"
        );
        stage(&out, column(), 2).unwrap().publish().unwrap();
        assert!(std::fs::read(&out).unwrap().starts_with(b"PAR1"));
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
    }
}
