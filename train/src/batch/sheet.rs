//! A table in the making, and its way into a file: written to a sibling, synced, counted, renamed.

use super::audience::Admission;
use aisle_models::write_table;
use anyhow::{Context, Result, bail};
use arrow_array::{ArrayRef, Float32Array, StringArray, TimestampMillisecondArray, UInt32Array};
use parquet::file::reader::{FileReader, SerializedFileReader};
use std::collections::BTreeSet;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// A named column.
pub(super) type Column = (String, ArrayRef);

/// What a job made.
pub(super) struct Sheet {
    /// Of equal length.
    pub(super) columns: Vec<Column>,
    /// Rows that are due, counted by other means than the columns were made by.
    pub(super) promised: usize,
    /// Shoppers (or items) that the rows are for.
    pub(super) asked: usize,
    /// Who was left out; `None` of a table without shoppers.
    pub(super) admission: Option<Admission>,
    /// What to say of a table without rows.
    pub(super) if_empty: String,
}

impl Sheet {
    pub(super) fn rows(&self) -> usize {
        self.columns.first().map_or(0, |(_, array)| array.len())
    }
}

/// Lines of the shoppers who get the campaign.
pub(super) struct Chosen<L> {
    pub(super) lines: Vec<L>,
    /// As many as should be among `lines`.
    promised: usize,
    /// Shoppers with a line.
    asked: usize,
    admission: Admission,
}

impl<L> Chosen<L> {
    /// Of lines that stand by shopper. `admit` decides for shoppers, each asked once.
    pub(super) fn of(lines: Vec<L>, user: impl Fn(&L) -> u32, admit: impl FnOnce(&[u32]) -> Admission) -> Self {
        let mut counts: Vec<(u32, usize)> = Vec::new();
        for line in &lines {
            match counts.last_mut().filter(|last| last.0 == user(line)) {
                Some(last) => last.1 += 1,
                None => counts.push((user(line), 1)),
            }
        }
        let users: Vec<u32> = counts.iter().map(|count| count.0).collect();
        let admission = admit(&users);
        let served = || counts.iter().zip(&admission.admitted).filter(|(_, admitted)| **admitted);
        let (promised, asked) = (served().map(|(count, _)| count.1).sum(), served().count());
        let kept: BTreeSet<u32> = served().map(|(count, _)| count.0).collect();
        let lines = lines.into_iter().filter(|line| kept.contains(&user(line))).collect();
        Self { lines, promised, asked, admission }
    }

    /// A table with a row for each line.
    pub(super) fn sheet(self, columns: Vec<Column>, if_empty: String) -> Sheet {
        let Self { promised, asked, admission, .. } = self;
        Sheet { columns, promised, asked, admission: Some(admission), if_empty }
    }

    /// A table with so many rows.
    pub(super) fn sheet_of(self, columns: Vec<Column>, promised: usize, if_empty: String) -> Sheet {
        Sheet { promised, ..self.sheet(columns, if_empty) }
    }
}

/// A column of texts; `None` = null.
pub(super) fn text<'t>(name: &str, values: impl Iterator<Item = Option<&'t str>>) -> Column {
    (name.into(), Arc::new(StringArray::from_iter(values)))
}

/// A column of whole numbers.
pub(super) fn whole(name: &str, values: impl Iterator<Item = u32>) -> Column {
    (name.into(), Arc::new(UInt32Array::from_iter_values(values)))
}

/// A column of numbers; `None` = null.
pub(super) fn number(name: &str, values: impl Iterator<Item = Option<f32>>) -> Column {
    (name.into(), Arc::new(Float32Array::from_iter(values)))
}

/// A column of moments, given in milliseconds since 1970-01-01 UTC.
pub(super) fn moments(name: &str, values: impl Iterator<Item = i64>) -> Column {
    (name.into(), Arc::new(TimestampMillisecondArray::from_iter_values(values).with_timezone("UTC")))
}

/// A whole file under a temporary name; dropped before it is published, it is removed.
pub(super) struct Staged {
    temporary: PathBuf,
    target: PathBuf,
    published: bool,
}

impl Staged {
    /// Writes columns beside `target`, syncs, and counts the rows that the file holds.
    ///
    /// # Errors
    /// If the file cannot be written, or holds other rows than `promised`.
    pub(super) fn write(target: &Path, columns: Vec<Column>, promised: usize) -> Result<Self> {
        let mut name = target.file_name().with_context(|| format!("--out {}: expected a file", target.display()))?.to_os_string();
        name.push(".writing");
        let staged = Self { temporary: target.with_file_name(name), target: target.to_path_buf(), published: false };
        let cannot = || format!("cannot write {}", target.display());
        write_table(&staged.temporary, columns).with_context(cannot)?;
        File::open(&staged.temporary).and_then(|file| file.sync_all()).with_context(cannot)?;
        let reader = SerializedFileReader::new(File::open(&staged.temporary).with_context(cannot)?).with_context(cannot)?;
        let found = reader.metadata().file_metadata().num_rows();
        if found != promised as i64 {
            bail!("{found} rows made where {promised} were due: a fault of this program; nothing was written");
        }
        Ok(staged)
    }

    /// Renames the file to its name, over what was there, and returns that.
    pub(super) fn publish(mut self) -> Result<PathBuf> {
        std::fs::rename(&self.temporary, &self.target).with_context(|| format!("cannot write {}", self.target.display()))?;
        self.published = true;
        // The name is there; that it is also on the disk is more than some file systems can be asked for.
        let folder = self.target.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let _ = File::open(folder).and_then(|folder| folder.sync_all());
        Ok(self.target.clone())
    }
}

impl Drop for Staged {
    fn drop(&mut self) {
        if !self.published {
            let _ = std::fs::remove_file(&self.temporary);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_broken_promise_leaves_what_was_there() {
        let folder = tempfile::tempdir().unwrap();
        let out = folder.path().join("list.parquet");
        std::fs::write(&out, b"yesterday's").unwrap();
        let column = || vec![whole("rank", [1, 2].into_iter())];
        let error = Staged::write(&out, column(), 3).err().unwrap().to_string();
        assert!(error.contains("2 rows made where 3 were due"), "{error}");
        assert_eq!(std::fs::read(&out).unwrap(), b"yesterday's");
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1, "nothing is left beside it");
        Staged::write(&out, column(), 2).unwrap().publish().unwrap();
        assert!(std::fs::read(&out).unwrap().starts_with(b"PAR1"));
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
    }
}
