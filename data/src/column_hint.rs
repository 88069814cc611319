//! The error for a column that does not exist, with the line of config that would most likely help.

use crate::error::DataError;
use crate::source::Table;

/// Where in the config a field is mapped to a column.
#[derive(Clone, Copy)]
pub(crate) struct Mapping<'a> {
    /// Which file it is: "events file", "items file" or "users file".
    pub table: &'static str,
    /// The section of the config, with its brackets.
    pub section: &'static str,
    /// The key in that section.
    pub field: &'a str,
}

/// Says that `table` has no column `column`, which columns it has, and which of them is likely
/// meant.
pub(crate) fn missing_column(table: &Table, column: &str, mapping: Mapping) -> DataError {
    let names = table.column_names();
    DataError::MissingColumn {
        table: format!("{} {}", mapping.table, table.given()),
        column: column.into(),
        guess: likely_column(mapping.field, &names),
        found: names,
        section: mapping.section,
        field: mapping.field.into(),
    }
}

/// The column that most likely holds a field, judged by words that such names often contain; the
/// first column if none contains one.
fn likely_column(field: &str, names: &[String]) -> String {
    let common_words: &[&str] = match field {
        "item_id" => &["item", "product", "sku", "article", "stock", "asin"],
        "user_id" => &["user", "visitor", "customer", "household", "member"],
        "order_id" => &["order", "invoice", "basket", "transaction"],
        "session_id" => &["session", "visit", "basket"],
        "timestamp" => &["time", "date", "ts"],
        "event_type" => &["event", "action", "behavior", "type"],
        "price" => &["price", "amount", "value"],
        "quantity" => &["quant", "qty", "count"],
        "title" => &["title", "name", "desc"],
        "category" => &["categ", "department", "class"],
        _ => &[],
    };
    common_words
        .iter()
        .find_map(|word| names.iter().find(|name| name.to_lowercase().contains(word)))
        .or_else(|| names.first())
        .cloned()
        .unwrap_or_else(|| "…".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hint_finds_the_likely_column() {
        let names: Vec<String> = ["week", "product_nr", "household_key"]
            .map(String::from)
            .to_vec();
        assert_eq!(likely_column("item_id", &names), "product_nr");
        assert_eq!(likely_column("user_id", &names), "household_key");
    }
}
