//! Files that appear whole or not at all.

use aisle_data::StagedFile;
use aisle_models::write_table;
use anyhow::{Context, Result};
use arrow_array::ArrayRef;
use std::path::Path;

/// Writes a text file: whole or not at all. A device or a pipe, such as `/dev/stdout`, is written
/// to and not replaced.
///
/// # Errors
/// Names the file that cannot be written.
pub(crate) fn write_file(target: &Path, text: &str) -> Result<()> {
    let cannot_write = || format!("cannot write {}", target.display());
    if std::fs::metadata(target).is_ok_and(|found| !found.is_file()) {
        return std::fs::write(target, text).with_context(cannot_write);
    }
    let write = |temporary: &Path| Ok::<_, anyhow::Error>(std::fs::write(temporary, text)?);
    aisle_data::write_atomically(target, write).with_context(cannot_write)
}

/// Stages a Parquet file of columns.
///
/// # Errors
/// Names the file that cannot be written.
pub(crate) fn stage_table(target: &Path, columns: Vec<(String, ArrayRef)>) -> Result<StagedFile> {
    let write = |temporary: &Path| Ok::<_, anyhow::Error>(write_table(temporary, columns)?);
    StagedFile::write(target, write).with_context(|| format!("cannot write {}", target.display()))
}
