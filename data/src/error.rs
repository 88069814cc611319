//! Failures to read or to accept data. Each message says what was found, what was expected and what
//! the reader can change.

use std::path::PathBuf;

/// A failure to read or accept a log, a catalogue or a split.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DataError {
    /// There is no Parquet file at the path.
    #[error(
        "no Parquet file at {path}: give a .parquet file, a folder that holds some, \
         or a glob such as 'logs/*.parquet'"
    )]
    NotFound {
        /// The path as given.
        path: String,
    },
    /// The operating system refused to open or read a file or folder.
    #[error("cannot read {}: {source}", path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// The error that the operating system gave.
        source: std::io::Error,
    },
    /// A file could not be written.
    #[error(
        "cannot write {}: {detail}; free some space or choose another folder",
        path.display()
    )]
    Unwritable {
        /// The file or folder.
        path: PathBuf,
        /// The error that the operating system or the encoder gave.
        detail: String,
    },
    /// The file is not readable Parquet: truncated, damaged, or something else.
    #[error(
        "{} is not a readable Parquet file: {detail}; write it again or leave it out",
        path.display()
    )]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// The error that the decoder gave.
        detail: String,
    },
    /// The file's footer declares more than its bytes can hold, or more than fits in memory.
    #[error(
        "{} declares {declared} ({detail}), above the limit of {limit}: refused before decoding; \
         if the file is sound, write it with smaller row groups",
        path.display()
    )]
    Oversized {
        /// The file.
        path: PathBuf,
        /// What the footer declares.
        declared: String,
        /// The limit that it exceeds.
        limit: String,
        /// The part of the file that declares it.
        detail: String,
    },
    /// A column that is needed does not exist.
    #[error(
        "{table} has no column '{column}'; it has: {}. If one of these is meant, \
         map it in the config:\n\n    {}\n    {} = \"{}\"\n",
        found.join(", "),
        section,
        field,
        guess
    )]
    MissingColumn {
        /// Which file it is (events, items or users), with its path.
        table: String,
        /// The column looked for.
        column: String,
        /// The columns that exist.
        found: Vec<String>,
        /// The config section of the mapping.
        section: &'static str,
        /// The field to map.
        field: String,
        /// The existing column that most likely holds the field.
        guess: String,
    },
    /// None of user_id, order_id, session_id exists.
    #[error(
        "{table} does not say who acted: it needs one of user_id, order_id, session_id and has: \
         {}. Map one in the config:\n\n    [columns]\n    user_id = \"…\"\n",
        found.join(", ")
    )]
    NoOwner {
        /// Which file it is, with its path.
        table: String,
        /// The columns that exist.
        found: Vec<String>,
    },
    /// A column has a type from which the field cannot be read.
    #[error("column '{column}' of {} has type {found}, expected {expected}", path.display())]
    WrongType {
        /// The file.
        path: PathBuf,
        /// The column.
        column: String,
        /// Its Arrow type.
        found: String,
        /// The types that are accepted.
        expected: String,
    },
    /// No usable row is left.
    #[error("{what} holds no usable row: {detail}")]
    Empty {
        /// The table or the part of a log.
        what: String,
        /// Why it is empty.
        detail: String,
    },
    /// The share of unusable rows is above the limit of the config.
    #[error(
        "{bad} of {total} event rows ({:.1} %) cannot be used, above the limit of {:.0} % \
         ([clean] max_set_aside): {reasons}",
        100.0 * *bad as f64 / (*total).max(1) as f64,
        100.0 * limit
    )]
    TooManySetAside {
        /// Rows set aside because they are faulty.
        bad: u64,
        /// Rows read.
        total: u64,
        /// The limit, a share from 0 to 1.
        limit: f64,
        /// How many rows were set aside for which reason.
        reasons: String,
    },
    /// A setting has a value outside its range.
    #[error("setting {name} = {found}: expected {expected}")]
    Setting {
        /// The setting's name.
        name: String,
        /// The value found.
        found: String,
        /// The values that are accepted.
        expected: String,
    },
    /// The log lacks what a task or a split needs.
    #[error(
        "{task} needs {needs}, and this log has none; \
         `aisle-train inspect` shows what it can serve"
    )]
    NotServed {
        /// The task or split.
        task: String,
        /// What is missing.
        needs: String,
    },
}

/// A result whose error is a [`DataError`] unless another is named.
pub type Result<T, E = DataError> = std::result::Result<T, E>;
