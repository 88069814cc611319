//! Reads test sessions in the form of the field's session benchmarks: the clicks so far, and the
//! click that came next.

use crate::column::{StringColumn, id_lists};
use crate::error::{DataError, Result};
use crate::source::Source;

/// Column of the clicks so far: a list of item ids.
pub const PREFIX: &str = "prefix";
/// Column of the next click: an item id.
pub const TARGET: &str = "target_item_id";

/// The beginning of a session and the click that came next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Prefix {
    /// Item ids clicked, oldest first.
    pub clicks: Vec<String>,
    /// Item id clicked next.
    pub target: String,
}

/// The rows of a file with the columns [`PREFIX`] and [`TARGET`]; `None` if one of them is missing.
///
/// # Errors
/// Those of opening the file and its columns, and [`DataError::Unreadable`] for a row without a
/// target.
pub fn read_prefixes(path: &str) -> Result<Option<Vec<Prefix>>> {
    let table = Source::find(path)?.open()?;
    if !(table.has(PREFIX)? && table.has(TARGET)?) {
        return Ok(None);
    }
    let mut prefixes = Vec::new();
    for file in table.files() {
        file.scan(&[PREFIX, TARGET], |batch, first_row| {
            let clicks_of_rows = id_lists(file, batch, PREFIX)?;
            let targets = StringColumn::open(file, batch, TARGET)?;
            let mut buffer = String::new();
            for (row, clicks) in clicks_of_rows.into_iter().enumerate() {
                let Some(target) = targets.text(row, &mut buffer) else {
                    let row_number = first_row + row as u64 + 1;
                    return Err(DataError::Unreadable {
                        path: file.path().to_path_buf(),
                        detail: format!("row {row_number} has no {TARGET}"),
                    });
                };
                let target = target.to_string();
                prefixes.push(Prefix { clicks, target });
            }
            Ok(())
        })?;
    }
    Ok(Some(prefixes))
}
