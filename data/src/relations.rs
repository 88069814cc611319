//! What is known of pairs of items from elsewhere: which complement each other, and which can stand in for each other.

use crate::column::Texts;
use crate::source::Source;
use crate::{DataError, Result};

/// How two items relate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Relation {
    /// One goes with the other.
    Complement,
    /// One is taken instead of the other.
    Substitute,
}

/// A pair of item ids and how the second relates to the first.
pub type Related = (String, String, Relation);

/// The pairs of a file with the columns `item_id`, `related_item_id` and `relation` (`complement` or `substitute`); rows without an id are
/// left out.
///
/// # Errors
/// As [`crate::Dataset::read`]; another relation is named.
pub fn read_relations(path: &str) -> Result<Vec<Related>> {
    const COLUMNS: [&str; 3] = ["item_id", "related_item_id", "relation"];
    let table = Source::find(path)?.open()?;
    let mut pairs = Vec::new();
    for file in table.files() {
        file.scan(&COLUMNS, |batch, first_row| {
            let [from, to, relation] = COLUMNS.map(|column| Texts::of(file, batch, column));
            let (from, to, relation) = (from?, to?, relation?);
            let mut buffers = [String::new(), String::new(), String::new()];
            let [a, b, c] = &mut buffers;
            for row in 0..batch.num_rows() {
                let (Some(from), Some(to)) = (from.at(row, a), to.at(row, b)) else { continue };
                let relation = match relation.at(row, c) {
                    Some("complement") => Relation::Complement,
                    Some("substitute") => Relation::Substitute,
                    other => {
                        let found = other.unwrap_or("nothing");
                        let detail = format!(
                            "row {} relates two items by '{found}': expected 'complement' or 'substitute'",
                            first_row + row as u64 + 1
                        );
                        return Err(DataError::Unreadable { path: file.path().to_path_buf(), detail });
                    }
                };
                pairs.push((from.to_string(), to.to_string(), relation));
            }
            Ok(())
        })?;
    }
    Ok(pairs)
}
