//! Protection against damaged and hostile Parquet files.
//!
//! The `parquet` crate panics on some malformed files and allocates as much memory as a page header
//! asks for. So the footer is checked before anything is decoded, and every call into the decoder
//! runs where a panic becomes a [`DataError::Unreadable`].

use crate::error::{DataError, Result};
use parquet::file::metadata::ParquetMetaData;
use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::Once;

/// A column chunk larger than [`SMALL_CHUNK`] may unpack to at most this many times its packed
/// size.
const MAX_RATIO: i64 = 2_000;
/// Column chunks of up to this many unpacked bytes are decoded whatever their ratio.
const SMALL_CHUNK: i64 = 64 << 20;
/// The largest number of unpacked bytes of a column chunk; no sound writer makes larger ones.
const MAX_CHUNK: i64 = 4 << 30;
/// The largest number of rows per byte of file; run-length encoding does not reach more.
const MAX_ROWS_PER_BYTE: i64 = 4_096;

/// Refuses a footer that declares more than the file's bytes can hold.
///
/// # Errors
/// [`DataError::Oversized`] names the part of the footer and the limit.
pub(crate) fn check_footer(path: &Path, file_bytes: u64, meta: &ParquetMetaData) -> Result<()> {
    let oversized = |declared: String, limit: String, detail: String| {
        Err(DataError::Oversized {
            path: path.to_path_buf(),
            declared,
            limit,
            detail,
        })
    };
    let bytes = i64::try_from(file_bytes).unwrap_or(i64::MAX);
    let rows = meta.file_metadata().num_rows();
    if rows < 0 || rows > bytes.saturating_mul(MAX_ROWS_PER_BYTE) {
        let limit = format!("{MAX_ROWS_PER_BYTE} rows per byte of file");
        return oversized(
            format!("{rows} rows"),
            limit,
            format!("in {file_bytes} bytes"),
        );
    }
    for (number, group) in meta.row_groups().iter().enumerate() {
        for chunk in group.columns() {
            let (packed, unpacked) = (chunk.compressed_size(), chunk.uncompressed_size());
            let chunk_name = || {
                format!(
                    "column '{}' of row group {number}",
                    chunk.column_path().string()
                )
            };
            if packed < 0 || unpacked < 0 || packed > bytes {
                return oversized(
                    format!("{packed} bytes packed, {unpacked} unpacked"),
                    format!("the file's {file_bytes} bytes"),
                    chunk_name(),
                );
            }
            if unpacked > MAX_CHUNK {
                return oversized(
                    format!("{unpacked} bytes"),
                    format!("{MAX_CHUNK} bytes a column chunk"),
                    chunk_name(),
                );
            }
            if unpacked > SMALL_CHUNK && unpacked / packed.max(1) > MAX_RATIO {
                return oversized(
                    format!("{unpacked} bytes from {packed}"),
                    format!("{MAX_RATIO} times"),
                    chunk_name(),
                );
            }
        }
    }
    Ok(())
}

thread_local! {
    /// Whether this thread is inside [`catch_panic`], where a panic prints nothing.
    static SILENT: Cell<bool> = const { Cell::new(false) };
}

/// Runs a call into the decoder; a panic inside becomes an error and prints nothing.
///
/// # Errors
/// [`DataError::Unreadable`] with the message of the panic.
pub(crate) fn catch_panic<T>(path: &Path, call: impl FnOnce() -> T) -> Result<T> {
    static HOOK_SET: Once = Once::new();
    HOOK_SET.call_once(|| {
        let default_hook = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            if !SILENT.get() {
                default_hook(info);
            }
        }));
    });
    let was_silent = SILENT.replace(true);
    let result = catch_unwind(AssertUnwindSafe(call));
    SILENT.set(was_silent);
    result.map_err(|payload| {
        let detail = (payload.downcast_ref::<String>().cloned())
            .or_else(|| payload.downcast_ref::<&str>().map(|text| text.to_string()))
            .unwrap_or_else(|| "the decoder gave up".into());
        DataError::Unreadable {
            path: path.to_path_buf(),
            detail: format!("damaged page ({detail})"),
        }
    })
}
