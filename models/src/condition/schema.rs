//! The fields that a condition may name, their types, and their values.

use std::collections::BTreeMap;

/// The type of a field's values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FieldType {
    /// A text. Where it is compared with a number, it is read as a number.
    Text,
    /// A number.
    Number,
    /// True or false.
    Flag,
    /// A category path such as `A > B > C`.
    Path,
    /// A list of texts.
    List,
}

impl FieldType {
    /// The type as an error message names it.
    pub(super) fn name(self) -> &'static str {
        match self {
            FieldType::Text => "a text",
            FieldType::Number => "a number",
            FieldType::Flag => "true or false",
            FieldType::Path => "a category path",
            FieldType::List => "a list",
        }
    }
}

/// The value of a field.
#[derive(Clone, Debug, PartialEq)]
pub enum Value<'a> {
    /// A text or a category path.
    Text(&'a str),
    /// A number.
    Number(f64),
    /// True or false.
    Flag(bool),
    /// A list of texts.
    Texts(Vec<&'a str>),
}

/// The fields that conditions may name.
#[derive(Clone, Debug, Default)]
pub struct Schema {
    fields: BTreeMap<String, FieldType>,
    /// Any field that begins with one of these is a text.
    prefixes: Vec<&'static str>,
}

impl Schema {
    /// A schema of fields given by their full names, such as `item.price`.
    pub fn new<'a>(fields: impl IntoIterator<Item = (&'a str, FieldType)>) -> Self {
        Self {
            fields: fields
                .into_iter()
                .map(|(name, field_type)| (name.to_string(), field_type))
                .collect(),
            prefixes: Vec::new(),
        }
    }

    /// Adds a field; one of the same name that is already there keeps its type.
    pub fn with(mut self, name: String, field_type: FieldType) -> Self {
        self.fields.entry(name).or_insert(field_type);
        self
    }

    /// Accepts every field that begins with `prefix`, as a text.
    pub fn with_prefix(mut self, prefix: &'static str) -> Self {
        self.prefixes.push(prefix);
        self
    }

    /// The type of a field; `None` if the schema does not have it.
    pub(super) fn field_type(&self, field: &str) -> Option<FieldType> {
        let by_prefix = || {
            self.prefixes
                .iter()
                .any(|prefix| field.len() > prefix.len() && field.starts_with(prefix))
                .then_some(FieldType::Text)
        };
        self.fields.get(field).copied().or_else(by_prefix)
    }

    /// All fields as an error message lists them; `context.…` stands for a prefix.
    pub(super) fn field_list(&self) -> String {
        let by_prefix = self.prefixes.iter().map(|prefix| format!("{prefix}…"));
        let fields: Vec<String> = self.fields.keys().cloned().chain(by_prefix).collect();
        fields.join(", ")
    }
}
