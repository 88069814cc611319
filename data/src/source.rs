//! Finding Parquet files and reading them without trusting them.
//!
//! [`Source::find`] lists the files behind a path, [`Source::open`] checks their footers, and
//! [`TableFile::scan`] decodes the columns that are asked for, batch by batch. How a damaged or
//! hostile file is refused is in `decoder_guard.rs`.

use crate::decoder_guard::{catch_panic, check_footer};
use crate::error::{DataError, Result};
use arrow_array::RecordBatch;
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{
    ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReaderBuilder,
};
use std::fs::File;
use std::path::{Path, PathBuf};

/// The number of rows that are decoded at a time.
const BATCH_ROWS: usize = 65_536;

/// One table: a file, the files of a folder tree, or those of a glob, in path order.
#[derive(Clone, Debug)]
pub struct Source {
    given: String,
    files: Vec<PathBuf>,
}

impl Source {
    /// Finds the files behind a path: a file, a folder (searched to any depth), or a glob.
    ///
    /// # Errors
    /// [`DataError::NotFound`] if there is none.
    pub fn find(given: &str) -> Result<Self> {
        let path = Path::new(given);
        let mut files = Vec::new();
        if path.is_file() {
            files.push(path.to_path_buf());
        } else if path.is_dir() {
            collect_parquet_files(path, &mut files)?;
        } else if let Ok(matches) = glob::glob(given) {
            for found in matches.flatten() {
                if found.is_dir() {
                    collect_parquet_files(&found, &mut files)?;
                } else {
                    files.push(found);
                }
            }
        }
        files.sort();
        files.dedup();
        if files.is_empty() {
            return Err(DataError::NotFound { path: given.into() });
        }
        Ok(Self {
            given: given.into(),
            files,
        })
    }

    /// The path as the user gave it.
    pub fn given(&self) -> &str {
        &self.given
    }

    /// The files, in path order.
    pub fn files(&self) -> &[PathBuf] {
        &self.files
    }

    /// Opens every file and checks its footer.
    ///
    /// # Errors
    /// [`DataError::Io`] and [`DataError::Unreadable`] if a file or its footer cannot be read,
    /// [`DataError::Oversized`] if a footer declares more than its file can hold.
    pub fn open(&self) -> Result<Table> {
        let files = self
            .files
            .iter()
            .map(|path| TableFile::open(path))
            .collect::<Result<Vec<_>>>()?;
        Ok(Table {
            given: self.given.clone(),
            files,
        })
    }
}

/// Adds the Parquet files of a folder and its subfolders. Names that begin with `.` or `_` are
/// skipped, because writers give them to temporary files and markers such as `_SUCCESS`.
fn collect_parquet_files(folder: &Path, files: &mut Vec<PathBuf>) -> Result<()> {
    let io = |source| DataError::Io {
        path: folder.to_path_buf(),
        source,
    };
    for entry in std::fs::read_dir(folder).map_err(io)? {
        let path = entry.map_err(io)?.path();
        let hidden = path
            .file_name()
            .is_some_and(|name| name.to_string_lossy().starts_with(['.', '_']));
        if hidden {
            continue;
        }
        if path.is_dir() {
            collect_parquet_files(&path, files)?;
        } else if path
            .extension()
            .is_some_and(|ext| ext.eq_ignore_ascii_case("parquet") || ext == "pq")
        {
            files.push(path);
        }
    }
    Ok(())
}

/// An opened [`Source`].
pub struct Table {
    given: String,
    files: Vec<TableFile>,
}

impl Table {
    /// The path as the user gave it.
    pub fn given(&self) -> &str {
        &self.given
    }

    /// The files.
    pub fn files(&self) -> &[TableFile] {
        &self.files
    }

    /// The number of rows that the footers of all files declare.
    pub fn rows(&self) -> u64 {
        self.files.iter().map(TableFile::rows).sum()
    }

    /// Names of the columns of the first file, Hive partition keys included.
    pub fn column_names(&self) -> Vec<String> {
        let Some(first) = self.files.first() else {
            return Vec::new();
        };
        let schema = first.meta.schema();
        schema
            .fields()
            .iter()
            .map(|field| field.name().clone())
            .chain(first.partitions.iter().map(|(key, _)| key.clone()))
            .collect()
    }

    /// Whether the files have the column, as a column or as a Hive partition key.
    ///
    /// # Errors
    /// [`DataError::Unreadable`] if only some of the files have it.
    pub fn has(&self, column: &str) -> Result<bool> {
        let with = self.files.iter().filter(|file| file.has(column)).count();
        if with != 0 && with != self.files.len() {
            let without = self.files.iter().find(|file| !file.has(column));
            let path = without.map(|file| file.path.clone()).unwrap_or_default();
            let detail = format!(
                "it lacks the column '{column}' that other files of {} have",
                self.given
            );
            return Err(DataError::Unreadable { path, detail });
        }
        Ok(with != 0)
    }
}

/// One opened Parquet file.
pub struct TableFile {
    path: PathBuf,
    file: File,
    meta: ArrowReaderMetadata,
    partitions: Vec<(String, String)>,
}

impl TableFile {
    fn open(path: &Path) -> Result<Self> {
        let io = |source| DataError::Io {
            path: path.to_path_buf(),
            source,
        };
        let file = File::open(path).map_err(io)?;
        let bytes = file.metadata().map_err(io)?.len();
        let meta = catch_panic(path, || {
            ArrowReaderMetadata::load(
                &file,
                ArrowReaderOptions::new().with_skip_arrow_metadata(false),
            )
        })?
        .map_err(|error| DataError::Unreadable {
            path: path.to_path_buf(),
            detail: error.to_string(),
        })?;
        check_footer(path, bytes, meta.metadata())?;
        Ok(Self {
            path: path.to_path_buf(),
            file,
            meta,
            partitions: partitions(path),
        })
    }

    /// The path of the file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The number of rows that the footer declares.
    pub fn rows(&self) -> u64 {
        self.meta.metadata().file_metadata().num_rows().max(0) as u64
    }

    /// The value of a Hive partition (a `key=value` folder) that this file lies under.
    pub fn partition(&self, column: &str) -> Option<&str> {
        self.partitions
            .iter()
            .find(|(key, _)| key == column)
            .map(|(_, value)| value.as_str())
    }

    fn has(&self, column: &str) -> bool {
        self.meta.schema().field_with_name(column).is_ok() || self.partition(column).is_some()
    }

    /// Decodes the named columns, 65,536 rows at a time, and calls `read_batch` with each batch and
    /// the number of its first row in the file, from 0.
    ///
    /// # Errors
    /// [`DataError::Unreadable`] if a page cannot be decoded, and any error of `read_batch`.
    pub fn scan(
        &self,
        columns: &[&str],
        mut read_batch: impl FnMut(&RecordBatch, u64) -> Result<()>,
    ) -> Result<()> {
        let unreadable = |detail: String| DataError::Unreadable {
            path: self.path.clone(),
            detail,
        };
        let file = self.file.try_clone().map_err(|source| DataError::Io {
            path: self.path.clone(),
            source,
        })?;
        let roots: Vec<usize> = (self.meta.schema().fields().iter().enumerate())
            .filter(|(_, field)| columns.contains(&field.name().as_str()))
            .map(|(root, _)| root)
            .collect();
        let mut reader = catch_panic(&self.path, || {
            let builder =
                ParquetRecordBatchReaderBuilder::new_with_metadata(file, self.meta.clone());
            let mask = ProjectionMask::roots(builder.parquet_schema(), roots);
            builder
                .with_projection(mask)
                .with_batch_size(BATCH_ROWS)
                .build()
        })?
        .map_err(|error| unreadable(error.to_string()))?;
        let mut first_row = 0;
        while let Some(batch) = catch_panic(&self.path, || reader.next())? {
            let batch = batch.map_err(|error| unreadable(error.to_string()))?;
            read_batch(&batch, first_row)?;
            first_row += batch.num_rows() as u64;
        }
        Ok(())
    }
}

/// The `key=value` folders above a file, outermost first.
fn partitions(path: &Path) -> Vec<(String, String)> {
    let Some(folder) = path.parent() else {
        return Vec::new();
    };
    folder
        .iter()
        .filter_map(|part| part.to_str()?.split_once('='))
        .filter(|(key, _)| !key.is_empty())
        .map(|(key, value)| (key.to_string(), value.to_string()))
        .collect()
}
