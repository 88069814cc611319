//! What can be wrong with the data, told so that the reader knows what to change.

use std::path::PathBuf;

/// A failure to read or accept a log, a catalogue or a split.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DataError {
    /// Nothing lies at the path.
    #[error("no Parquet file at {path}: give a .parquet file, a folder that holds some, or a glob such as 'logs/*.parquet'")]
    NotFound {
        /// The path as given.
        path: String,
    },
    /// The operating system refused.
    #[error("cannot read {}: {source}", path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// A file could not be written.
    #[error("cannot write {}: {detail}; free some space or choose another folder", path.display())]
    Unwritable {
        /// The file or folder.
        path: PathBuf,
        /// What the system or the encoder said.
        detail: String,
    },
    /// The file is not readable Parquet: truncated, damaged, or something else.
    #[error("{} is not a readable Parquet file: {detail}; write it again or leave it out", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the reader said.
        detail: String,
    },
    /// The file declares more than it can honestly hold or than fits in memory.
    #[error("{} declares {declared} ({detail}), above the limit of {limit}: refused before decoding; if the file is sound, write it with smaller row groups", path.display())]
    Oversized {
        /// The file.
        path: PathBuf,
        /// What the footer claims.
        declared: String,
        /// What it is measured against.
        limit: String,
        /// Which part of the file.
        detail: String,
    },
    /// A column that is needed is not there.
    #[error(
        "{table} has no column '{column}'; it has: {}. If one of these is meant, map it in the config:\n\n    {}\n    {} = \"{}\"\n",
        found.join(", "),
        section,
        field,
        guess
    )]
    MissingColumn {
        /// `events`, `items` or `users`, with its path.
        table: String,
        /// The column looked for.
        column: String,
        /// The columns that exist.
        found: Vec<String>,
        /// The config section of the mapping.
        section: &'static str,
        /// The field to map.
        field: String,
        /// The most likely column.
        guess: String,
    },
    /// None of user_id, order_id, session_id exists.
    #[error(
        "{table} says of no event whose it is: it needs one of user_id, order_id, session_id and has: {}. Map one in the config:\n\n    [columns]\n    user_id = \"…\"\n",
        found.join(", ")
    )]
    NoOwner {
        /// The table with its path.
        table: String,
        /// The columns that exist.
        found: Vec<String>,
    },
    /// A column has a type that cannot mean what it should.
    #[error("column '{column}' of {} has type {found}, expected {expected}", path.display())]
    WrongType {
        /// The file.
        path: PathBuf,
        /// The column.
        column: String,
        /// Its Arrow type.
        found: String,
        /// What would do.
        expected: String,
    },
    /// Nothing is left to learn from.
    #[error("{what} holds no usable row: {detail}")]
    Empty {
        /// The table.
        what: String,
        /// How it came to that.
        detail: String,
    },
    /// Too large a share of the rows is unusable.
    #[error(
        "{bad} of {total} event rows ({:.1} %) cannot be used, above the limit of {:.0} % ([clean] max_set_aside): {reasons}",
        100.0 * *bad as f64 / (*total).max(1) as f64,
        100.0 * limit
    )]
    TooManySetAside {
        /// Rows set aside for faults.
        bad: u64,
        /// Rows read.
        total: u64,
        /// The limit, a share from 0 to 1.
        limit: f64,
        /// Count by reason.
        reasons: String,
    },
    /// A setting has a value outside its range.
    #[error("setting {name} = {found}: expected {expected}")]
    Setting {
        /// The setting's name.
        name: String,
        /// The value found.
        found: String,
        /// The values that do.
        expected: String,
    },
    /// The log lacks what the task needs.
    #[error("{task} needs {needs}, and this log has none; `aisle-train inspect` shows what it can serve")]
    NotServed {
        /// The task or split.
        task: String,
        /// What is missing.
        needs: String,
    },
}

/// The crate's result.
pub type Result<T, E = DataError> = std::result::Result<T, E>;
