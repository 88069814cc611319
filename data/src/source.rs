//! Finding Parquet files and reading them without trusting them.
//!
//! The `parquet` crate panics on some malformed files and allocates what a page header asks for.
//! So the footer is judged before anything is decoded, and every call into the decoder is contained:
//! a panic becomes a [`DataError::Unreadable`].

use crate::{DataError, Result};
use arrow_array::RecordBatch;
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReaderBuilder};
use parquet::file::metadata::ParquetMetaData;
use std::cell::Cell;
use std::fs::File;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Once;

/// Rows decoded at a time.
const BATCH_ROWS: usize = 65_536;
/// A column chunk that unpacks to more than this many times its size must stay below [`SMALL_CHUNK`].
const MAX_RATIO: i64 = 2_000;
/// Column chunks up to this many unpacked bytes are decoded whatever their ratio.
const SMALL_CHUNK: i64 = 64 << 20;
/// No honest writer makes a column chunk larger than this.
const MAX_CHUNK: i64 = 4 << 30;
/// Rows per byte of file that a run-length encoded column can honestly reach.
const MAX_ROWS_PER_BYTE: i64 = 4_096;

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
            walk(path, &mut files)?;
        } else if let Ok(matches) = glob::glob(given) {
            for found in matches.flatten() {
                if found.is_dir() {
                    walk(&found, &mut files)?;
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
        Ok(Self { given: given.into(), files })
    }

    /// The path as the user gave it.
    pub fn given(&self) -> &str {
        &self.given
    }

    /// The files, in path order.
    pub fn files(&self) -> &[PathBuf] {
        &self.files
    }

    /// Opens every file and judges its footer.
    ///
    /// # Errors
    /// [`DataError::Io`], [`DataError::Unreadable`], [`DataError::Oversized`].
    pub fn open(&self) -> Result<Table> {
        let files = self.files.iter().map(|path| TableFile::open(path)).collect::<Result<Vec<_>>>()?;
        Ok(Table { given: self.given.clone(), files })
    }
}

fn walk(folder: &Path, files: &mut Vec<PathBuf>) -> Result<()> {
    let io = |source| DataError::Io { path: folder.to_path_buf(), source };
    for entry in std::fs::read_dir(folder).map_err(io)? {
        let path = entry.map_err(io)?.path();
        let hidden = path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(['.', '_']));
        if hidden {
            continue;
        }
        if path.is_dir() {
            walk(&path, files)?;
        } else if path.extension().is_some_and(|ext| ext.eq_ignore_ascii_case("parquet") || ext == "pq") {
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

    /// Rows that the footers declare.
    pub fn rows(&self) -> u64 {
        self.files.iter().map(TableFile::rows).sum()
    }

    /// Names of the columns of the first file, Hive partition keys included.
    pub fn column_names(&self) -> Vec<String> {
        let Some(first) = self.files.first() else { return Vec::new() };
        let schema = first.meta.schema();
        schema
            .fields()
            .iter()
            .map(|field| field.name().clone())
            .chain(first.partitions.iter().map(|(key, _)| key.clone()))
            .collect()
    }

    /// Whether every file has the column, or none: a mixture is an error that names the file.
    ///
    /// # Errors
    /// [`DataError::Unreadable`] if only some of the files have it.
    pub fn has(&self, column: &str) -> Result<bool> {
        let with = self.files.iter().filter(|file| file.has(column)).count();
        if with != 0 && with != self.files.len() {
            let without = self.files.iter().find(|file| !file.has(column));
            let path = without.map(|file| file.path.clone()).unwrap_or_default();
            let detail = format!("it lacks the column '{column}' that other files of {} have", self.given);
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
        let io = |source| DataError::Io { path: path.to_path_buf(), source };
        let file = File::open(path).map_err(io)?;
        let bytes = file.metadata().map_err(io)?.len();
        let meta = contain(path, || ArrowReaderMetadata::load(&file, ArrowReaderOptions::new().with_skip_arrow_metadata(false)))?
            .map_err(|error| DataError::Unreadable { path: path.to_path_buf(), detail: error.to_string() })?;
        judge(path, bytes, meta.metadata())?;
        Ok(Self { path: path.to_path_buf(), file, meta, partitions: partitions(path) })
    }

    /// Where it lies.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Rows that the footer declares.
    pub fn rows(&self) -> u64 {
        self.meta.metadata().file_metadata().num_rows().max(0) as u64
    }

    /// The Hive partition values (`key=value` folders) that this file lies under.
    pub fn partition(&self, column: &str) -> Option<&str> {
        self.partitions.iter().find(|(key, _)| key == column).map(|(_, value)| value.as_str())
    }

    fn has(&self, column: &str) -> bool {
        self.meta.schema().field_with_name(column).is_ok() || self.partition(column).is_some()
    }

    /// Decodes the named columns, 65,536 rows at a time, and hands each batch over with its first row's number.
    ///
    /// # Errors
    /// [`DataError::Unreadable`] if a page cannot be decoded, and whatever `each` returns.
    pub fn scan(&self, columns: &[&str], mut each: impl FnMut(&RecordBatch, u64) -> Result<()>) -> Result<()> {
        let unreadable = |detail: String| DataError::Unreadable { path: self.path.clone(), detail };
        let file = self.file.try_clone().map_err(|source| DataError::Io { path: self.path.clone(), source })?;
        let roots: Vec<usize> = (self.meta.schema().fields().iter().enumerate())
            .filter(|(_, field)| columns.contains(&field.name().as_str()))
            .map(|(root, _)| root)
            .collect();
        let mut reader = contain(&self.path, || {
            let builder = ParquetRecordBatchReaderBuilder::new_with_metadata(file, self.meta.clone());
            let mask = ProjectionMask::roots(builder.parquet_schema(), roots);
            builder.with_projection(mask).with_batch_size(BATCH_ROWS).build()
        })?
        .map_err(|error| unreadable(error.to_string()))?;
        let mut first_row = 0;
        while let Some(batch) = contain(&self.path, || reader.next())? {
            let batch = batch.map_err(|error| unreadable(error.to_string()))?;
            each(&batch, first_row)?;
            first_row += batch.num_rows() as u64;
        }
        Ok(())
    }
}

/// `key=value` folders above a file, outermost first.
fn partitions(path: &Path) -> Vec<(String, String)> {
    let Some(folder) = path.parent() else { return Vec::new() };
    folder
        .iter()
        .filter_map(|part| part.to_str()?.split_once('='))
        .filter(|(key, _)| !key.is_empty())
        .map(|(key, value)| (key.to_string(), value.to_string()))
        .collect()
}

/// Refuses footers that claim more than the file's bytes can honestly hold.
fn judge(path: &Path, file_bytes: u64, meta: &ParquetMetaData) -> Result<()> {
    let oversized = |declared: String, limit: String, detail: String| {
        Err(DataError::Oversized { path: path.to_path_buf(), declared, limit, detail })
    };
    let bytes = i64::try_from(file_bytes).unwrap_or(i64::MAX);
    let rows = meta.file_metadata().num_rows();
    if rows < 0 || rows > bytes.saturating_mul(MAX_ROWS_PER_BYTE) {
        let limit = format!("{MAX_ROWS_PER_BYTE} rows per byte of file");
        return oversized(format!("{rows} rows"), limit, format!("in {file_bytes} bytes"));
    }
    for (number, group) in meta.row_groups().iter().enumerate() {
        for chunk in group.columns() {
            let (packed, unpacked) = (chunk.compressed_size(), chunk.uncompressed_size());
            let where_ = || format!("column '{}' of row group {number}", chunk.column_path().string());
            if packed < 0 || unpacked < 0 || packed > bytes {
                return oversized(
                    format!("{packed} bytes packed, {unpacked} unpacked"),
                    format!("the file's {file_bytes} bytes"),
                    where_(),
                );
            }
            if unpacked > MAX_CHUNK {
                return oversized(format!("{unpacked} bytes"), format!("{MAX_CHUNK} bytes a column chunk"), where_());
            }
            if unpacked > SMALL_CHUNK && unpacked / packed.max(1) > MAX_RATIO {
                return oversized(format!("{unpacked} bytes from {packed}"), format!("{MAX_RATIO} times"), where_());
            }
        }
    }
    Ok(())
}

thread_local! {
    static CONTAINED: Cell<bool> = const { Cell::new(false) };
}

/// Runs a call into the decoder; a panic inside becomes an error and prints nothing.
fn contain<T>(path: &Path, call: impl FnOnce() -> T) -> Result<T> {
    static QUIET: Once = Once::new();
    QUIET.call_once(|| {
        let loud = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            if !CONTAINED.get() {
                loud(info);
            }
        }));
    });
    let before = CONTAINED.replace(true);
    let outcome = catch_unwind(AssertUnwindSafe(call));
    CONTAINED.set(before);
    outcome.map_err(|cause| {
        let detail = (cause.downcast_ref::<String>().cloned())
            .or_else(|| cause.downcast_ref::<&str>().map(|text| text.to_string()))
            .unwrap_or_else(|| "the decoder gave up".into());
        DataError::Unreadable { path: path.to_path_buf(), detail: format!("damaged page ({detail})") }
    })
}
