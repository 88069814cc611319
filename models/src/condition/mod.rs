//! The condition language of rules, segments and filters:
//! `item.price < 20 AND (item.brand = "ALBA" OR item.category : "Home > Kitchen")`.
//!
//! In: the text of a condition and a [`Schema`] of the fields that it may name (`schema.rs`). Out:
//! a [`Condition`], parsed once (`parse.rs`) and evaluated as often as needed (`evaluate.rs`). A
//! new operator is a variant of [`Comparator`](evaluate::Comparator), a token of `parse.rs` and a
//! case of `evaluate.rs`; a new type of field is a variant of [`FieldType`].
//!
//! The grammar is the filter grammar of AIP-160 (google.aip.dev/160) less what surprises: AND and
//! OR do not mix without parentheses, and every test names its field. A misspelt field, or a number
//! compared with a word, is an error with its column and not a rule that never holds.
//!
//! `=`, `!=`, `<`, `<=`, `>` and `>=` compare; a text may begin or end in `*`. `:` asks whether a
//! list holds a text, whether a category path lies at or below another, or whether a text contains
//! another regardless of case; `field : *` asks whether the field has a value. A field without a
//! value passes no test but `!=`.

mod evaluate;
mod parse;
mod schema;

use evaluate::Node;
pub use schema::{FieldType, Schema, Value};
use std::collections::BTreeSet;
use std::fmt;

/// What is wrong with a condition, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConditionError {
    /// The first 200 characters of the condition.
    pub text: String,
    /// The column of the mistake in characters, from 1.
    pub column: usize,
    /// What was found and what was expected.
    pub detail: String,
}

impl fmt::Display for ConditionError {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(
            f,
            "condition '{}', column {}: {}",
            self.text, self.column, self.detail
        )
    }
}

impl std::error::Error for ConditionError {}

/// A condition whose fields and value types were checked against a schema.
#[derive(Clone, Debug, PartialEq)]
pub struct Condition {
    text: String,
    root: Node,
}

impl Condition {
    /// Parses a condition on the fields of a schema; an empty condition always holds.
    ///
    /// # Errors
    /// [`ConditionError`] names the column, what was found, and what was expected.
    pub fn parse(text: &str, schema: &Schema) -> Result<Self, ConditionError> {
        let root = parse::parse(text, schema).map_err(|error| ConditionError {
            text: text.chars().take(200).collect(),
            column: text
                .get(..error.position)
                .map_or(0, |before| before.chars().count())
                + 1,
            detail: error.detail,
        })?;
        Ok(Self {
            text: text.to_string(),
            root,
        })
    }

    /// The condition as it was written.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Whether the condition holds, where `value` returns the value of a field, or `None` if the
    /// field has none. O(tests of the condition).
    pub fn holds<'a>(&self, value: &dyn Fn(&str) -> Option<Value<'a>>) -> bool {
        self.root.holds(value)
    }

    /// The names of the fields that the condition reads.
    pub fn fields(&self) -> BTreeSet<&str> {
        let mut fields = BTreeSet::new();
        self.root.collect_fields(&mut fields);
        fields
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn schema() -> Schema {
        Schema::new([
            ("item.price", FieldType::Number),
            ("item.brand", FieldType::Text),
            ("item.category", FieldType::Path),
            ("item.available", FieldType::Flag),
            ("user.segments", FieldType::List),
            ("user.age", FieldType::Text),
        ])
        .with_prefix("context.")
    }

    fn value(field: &str) -> Option<Value<'static>> {
        Some(match field {
            "item.price" => Value::Number(12.5),
            "item.brand" => Value::Text("ALBA & CO"),
            "item.category" => Value::Text("Home > Kitchen > Cakes"),
            "item.available" => Value::Flag(true),
            "user.segments" => Value::Texts(vec!["new", "mobile"]),
            "user.age" => Value::Text("42"),
            "context.device" => Value::Text("mobile"),
            _ => return None,
        })
    }

    #[test]
    fn every_operator_compares_as_documented() {
        for (text, expected) in [
            ("", true),
            ("item.price < 20", true),
            ("item.price >= 12.5 AND item.price <= 12.5", true),
            ("item.price > -3", true),
            ("NOT item.price < 20", false),
            ("-(item.price < 20)", false),
            ("item.brand = \"ALBA*\"", true),
            ("item.brand = '*CO'", true),
            ("item.brand = \"*BA & C*\"", true),
            ("item.brand : alba", true),
            ("item.brand != \"ALBA\"", true),
            ("item.category : Home", true),
            ("item.category : \"Home > Kitchen\"", true),
            ("item.category : \"Home > Kit\"", false),
            ("item.category = Home", false),
            ("user.segments : mobile", true),
            ("user.segments : lapsed", false),
            ("user.segments != lapsed", true),
            ("user.age >= 18", true),
            ("user.age = 42", true),
            (
                "item.available = true AND (context.device = desktop OR context.device = mobile)",
                true,
            ),
            ("context.device = desktop OR item.price > 20", false),
            ("context.weather = rain", false),
            ("context.weather != rain", true),
            ("context.weather : *", false),
            ("context.device : *", true),
        ] {
            let condition =
                Condition::parse(text, &schema()).unwrap_or_else(|error| panic!("{error}"));
            assert_eq!(condition.holds(&value), expected, "{text}");
        }
    }

    #[test]
    fn an_error_names_its_column_and_a_remedy() {
        for (text, column, hint) in [
            ("item.prise < 20", 1, "item.price"),
            ("item.price < cheap", 14, "a number"),
            ("item.price : 20", 14, "does not fit"),
            ("item.available > 3", 18, "true or false"),
            (
                "item.price < 20 AND item.brand = A OR item.brand = B",
                36,
                "parentheses",
            ),
            ("item.price < 20 item.brand = A", 17, "AND or OR"),
            ("(item.price < 20", 17, "')'"),
            ("item.price", 11, "alone"),
            ("item.brand = \"A", 14, "closing"),
            ("item.price <", 13, "value"),
            ("item.brand = é & b", 16, "quote"),
        ] {
            let error = Condition::parse(text, &schema()).unwrap_err();
            assert_eq!(error.column, column, "{error}");
            assert!(error.to_string().contains(hint), "{error}");
        }
    }

    #[test]
    fn deep_nesting_is_an_error_and_not_a_stack_overflow() {
        let deep = "(".repeat(500) + "item.price < 1";
        assert!(
            Condition::parse(&deep, &schema())
                .unwrap_err()
                .detail
                .contains("within each other")
        );
    }

    proptest! {
        #[test]
        fn no_text_makes_the_parser_panic(text in "[a-z.()<>=!:*\"' A-Z0-9é-]{0,60}") {
            if let Ok(condition) = Condition::parse(&text, &schema()) {
                condition.holds(&value);
            }
        }

        #[test]
        fn de_morgan_holds(a in -5i32..30, b in -5i32..30) {
            let both = format!("NOT (item.price < {a} OR item.price > {b})");
            let each = format!("NOT item.price < {a} AND NOT item.price > {b}");
            let [both, each] = [both, each]
                .map(|text| Condition::parse(&text, &schema()).unwrap().holds(&value));
            prop_assert_eq!(both, each);
        }
    }
}
