//! A test of sessions as the field's benchmarks give it: what was clicked so far, and what was clicked next.

use crate::column::{Texts, lists};
use crate::source::Source;
use crate::{DataError, Result};

/// Column of the clicks so far: a list of item ids.
pub const PREFIX: &str = "prefix";
/// Column of the next click.
pub const TARGET: &str = "target_item_id";

/// One question.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Prefix {
    /// Item ids clicked, oldest first.
    pub clicks: Vec<String>,
    /// Item id clicked next.
    pub target: String,
}

/// The questions of a file with the columns [`PREFIX`] and [`TARGET`]; `None` if it has not both.
///
/// # Errors
/// As [`crate::Dataset::read`].
pub fn read_prefixes(path: &str) -> Result<Option<Vec<Prefix>>> {
    let table = Source::find(path)?.open()?;
    if !(table.has(PREFIX)? && table.has(TARGET)?) {
        return Ok(None);
    }
    let mut prefixes = Vec::new();
    for file in table.files() {
        file.scan(&[PREFIX, TARGET], |batch, first_row| {
            let clicks = lists(file, batch, PREFIX)?;
            let target = Texts::of(file, batch, TARGET)?;
            let mut buffer = String::new();
            for (row, clicks) in clicks.into_iter().enumerate() {
                let Some(target) = target.at(row, &mut buffer) else {
                    let detail = format!("row {} has no {TARGET}", first_row + row as u64 + 1);
                    return Err(DataError::Unreadable { path: file.path().to_path_buf(), detail });
                };
                prefixes.push(Prefix { clicks, target: target.to_string() });
            }
            Ok(())
        })?;
    }
    Ok(Some(prefixes))
}
