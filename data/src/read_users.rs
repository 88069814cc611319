//! Reads the users file: which users there are, and what is known of them.

use crate::column::StringColumn;
use crate::column_hint::{Mapping, missing_column};
use crate::config::DataConfig;
use crate::error::Result;
use crate::id_map::IdMap;
use crate::labels::Labels;
use crate::source::{Source, Table};

/// Adds the ids of the users file to `users`.
///
/// # Errors
/// Those of opening the file and its column of ids.
pub(crate) fn add_user_ids(source: &Source, config: &DataConfig, users: &mut IdMap) -> Result<()> {
    let (table, id_column) = open_users(source, config)?;
    for file in table.files() {
        file.scan(&[&id_column], |batch, _| {
            let ids = StringColumn::open(file, batch, &id_column)?;
            let mut buffer = String::new();
            for row in 0..batch.num_rows() {
                if let Some(id) = ids.text(row, &mut buffer) {
                    users.intern(id);
                }
            }
            Ok(())
        })?;
    }
    Ok(())
}

/// The columns of the users file beside the ids, by name, each with one row for each of `users`.
/// Rows of other users are left out; of several rows of a user the first is used.
///
/// # Errors
/// Those of opening the file and its columns.
pub(crate) fn read_user_attributes(
    source: &Source,
    config: &DataConfig,
    users: &IdMap,
) -> Result<Vec<(String, Labels)>> {
    let (table, id_column) = open_users(source, config)?;
    let columns = table.column_names();
    let columns: Vec<&str> = columns.iter().map(String::as_str).collect();
    let attributes: Vec<&str> = (columns.iter().copied())
        .filter(|column| *column != id_column)
        .collect();
    let mut values_of_user: Vec<Option<Vec<Option<String>>>> = vec![None; users.len()];
    for file in table.files() {
        file.scan(&columns, |batch, _| {
            let ids = StringColumn::open(file, batch, &id_column)?;
            let texts = (attributes.iter())
                .map(|column| StringColumn::open(file, batch, column))
                .collect::<Result<Vec<_>>>()?;
            let mut buffer = String::new();
            for row in 0..batch.num_rows() {
                let user = ids.text(row, &mut buffer).and_then(|id| users.get(id));
                let Some(user) = user else { continue };
                let values = &mut values_of_user[user as usize];
                if values.is_none() {
                    let texts = texts.iter();
                    let owned = texts.map(|text| text.text(row, &mut buffer).map(str::to_string));
                    *values = Some(owned.collect());
                }
            }
            Ok(())
        })?;
    }
    let labels_of = |attribute: usize| {
        let mut labels = Labels::default();
        for values in &values_of_user {
            let value = values
                .as_ref()
                .and_then(|values| values[attribute].as_deref());
            labels.push(value);
        }
        labels
    };
    Ok((attributes.iter().enumerate())
        .map(|(number, name)| (name.to_string(), labels_of(number)))
        .collect())
}

/// The users file, and the name of its column of ids.
fn open_users(source: &Source, config: &DataConfig) -> Result<(Table, String)> {
    let table = source.open()?;
    let mapped = config.columns.users.user_id.as_deref();
    let id_column = mapped.unwrap_or("user_id");
    if table.has(id_column)? {
        return Ok((table, id_column.into()));
    }
    let mapping = Mapping {
        table: "users file",
        section: "[columns.users]",
        field: "user_id",
    };
    Err(missing_column(&table, id_column, mapping))
}
