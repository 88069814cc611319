//! Reads known relations between items: which complement each other, and which can replace each
//! other.

use crate::column::StringColumn;
use crate::error::{DataError, Result};
use crate::source::Source;

/// How the second item of a pair relates to the first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Relation {
    /// The second item is bought together with the first.
    Complement,
    /// The second item is bought instead of the first.
    Substitute,
}

/// Two item ids, and how the second relates to the first.
pub type Related = (String, String, Relation);

/// The columns of a relations file: two item ids and their relation.
const COLUMNS: [&str; 3] = ["item_id", "related_item_id", "relation"];

/// The pairs of a file with the columns `item_id`, `related_item_id` and `relation` (`complement`
/// or `substitute`). Rows without an id are left out.
///
/// # Errors
/// Those of opening the file and its columns, and [`DataError::Unreadable`] for a row with another
/// relation.
pub fn read_relations(path: &str) -> Result<Vec<Related>> {
    let table = Source::find(path)?.open()?;
    let mut pairs = Vec::new();
    for file in table.files() {
        file.scan(&COLUMNS, |batch, first_row| {
            let [ids, related_ids, relations] =
                COLUMNS.map(|column| StringColumn::open(file, batch, column));
            let (ids, related_ids, relations) = (ids?, related_ids?, relations?);
            let mut buffers = [String::new(), String::new(), String::new()];
            let [id_buffer, related_buffer, relation_buffer] = &mut buffers;
            for row in 0..batch.num_rows() {
                let id = ids.text(row, id_buffer);
                let related_id = related_ids.text(row, related_buffer);
                let (Some(id), Some(related_id)) = (id, related_id) else {
                    continue;
                };
                let relation = match relations.text(row, relation_buffer) {
                    Some("complement") => Relation::Complement,
                    Some("substitute") => Relation::Substitute,
                    other => {
                        let row_number = first_row + row as u64 + 1;
                        let found = other.unwrap_or("nothing");
                        return Err(DataError::Unreadable {
                            path: file.path().to_path_buf(),
                            detail: format!(
                                "row {row_number} relates two items by '{found}': \
                                 expected 'complement' or 'substitute'"
                            ),
                        });
                    }
                };
                pairs.push((id.to_string(), related_id.to_string(), relation));
            }
            Ok(())
        })?;
    }
    Ok(pairs)
}
