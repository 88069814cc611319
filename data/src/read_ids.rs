//! Reading a column of ids whose rows are already in their final order, as a version stores them.

use crate::column::StringColumn;
use crate::error::{DataError, Result};
use crate::id_map::IdMap;
use crate::source::Source;

impl IdMap {
    /// Reads the ids of a table's column, in row order.
    ///
    /// # Errors
    /// [`DataError::NotFound`], [`DataError::Io`], [`DataError::Oversized`] and
    /// [`DataError::WrongType`] from opening the table and its column, and
    /// [`DataError::Unreadable`] for a null or repeated id, which would shift every row after it.
    pub fn read(path: &str, column: &str) -> Result<IdMap> {
        let table = Source::find(path)?.open()?;
        let mut ids = IdMap::new();
        let mut buffer = String::new();
        for file in table.files() {
            file.scan(&[column], |batch, first_row| {
                let texts = StringColumn::open(file, batch, column)?;
                for row in 0..batch.num_rows() {
                    let next_row = ids.len();
                    let is_new = texts
                        .text(row, &mut buffer)
                        .map(|id| ids.intern(id))
                        .is_some_and(|interned| interned as usize == next_row);
                    if !is_new {
                        let row = first_row + row as u64;
                        return Err(DataError::Unreadable {
                            path: path.into(),
                            detail: format!("row {row}: a null or repeated {column}"),
                        });
                    }
                }
                Ok(())
            })?;
        }
        Ok(ids)
    }
}
