//! The tree of a parsed condition, and whether it holds.

use crate::condition::schema::{FieldType, Value};
use std::cmp::Ordering;
use std::collections::BTreeSet;

/// The operator of a test.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Comparator {
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
    /// `:`, whose meaning depends on the type of the field.
    Has,
}

impl Comparator {
    /// The operator as it is written.
    pub(super) fn symbol(self) -> &'static str {
        match self {
            Comparator::Equal => "=",
            Comparator::NotEqual => "!=",
            Comparator::Less => "<",
            Comparator::LessOrEqual => "<=",
            Comparator::Greater => ">",
            Comparator::GreaterOrEqual => ">=",
            Comparator::Has => ":",
        }
    }

    /// Whether the operator asks for an order and not for equality.
    pub(super) fn is_ordering(self) -> bool {
        matches!(
            self,
            Comparator::Less
                | Comparator::LessOrEqual
                | Comparator::Greater
                | Comparator::GreaterOrEqual
        )
    }

    /// Whether a value that stands in this order to the literal passes.
    fn accepts(self, order: Ordering) -> bool {
        match self {
            Comparator::Equal | Comparator::Has => order.is_eq(),
            Comparator::NotEqual => order.is_ne(),
            Comparator::Less => order.is_lt(),
            Comparator::LessOrEqual => order.is_le(),
            Comparator::Greater => order.is_gt(),
            Comparator::GreaterOrEqual => order.is_ge(),
        }
    }
}

/// What the value of a field is compared with.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Literal {
    Text(String),
    Number(f64),
    Flag(bool),
    /// `*`: any value at all.
    Any,
}

/// A node of a condition's tree.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Node {
    /// Tests joined by AND; without any test it holds.
    All(Vec<Node>),
    /// Tests joined by OR.
    Either(Vec<Node>),
    Not(Box<Node>),
    Test {
        field: String,
        field_type: FieldType,
        comparator: Comparator,
        literal: Literal,
    },
}

impl Node {
    /// Adds the fields that this part of the condition reads.
    pub(super) fn collect_fields<'a>(&'a self, fields: &mut BTreeSet<&'a str>) {
        match self {
            Node::All(nodes) | Node::Either(nodes) => {
                nodes.iter().for_each(|node| node.collect_fields(fields))
            }
            Node::Not(node) => node.collect_fields(fields),
            Node::Test { field, .. } => {
                fields.insert(field);
            }
        }
    }

    /// Whether this part of the condition holds.
    pub(super) fn holds<'a>(&self, value: &dyn Fn(&str) -> Option<Value<'a>>) -> bool {
        match self {
            Node::All(nodes) => nodes.iter().all(|node| node.holds(value)),
            Node::Either(nodes) => nodes.iter().any(|node| node.holds(value)),
            Node::Not(node) => !node.holds(value),
            Node::Test {
                field,
                field_type,
                comparator,
                literal,
            } => match value(field) {
                None => *comparator == Comparator::NotEqual,
                Some(_) if *literal == Literal::Any => *comparator != Comparator::NotEqual,
                Some(value) => passes(&value, *field_type, *comparator, literal),
            },
        }
    }
}

/// Whether a value passes a test. Values that cannot be compared pass `!=` alone.
fn passes(value: &Value, field_type: FieldType, comparator: Comparator, literal: &Literal) -> bool {
    match (value, literal) {
        (Value::Texts(texts), _) => {
            let any_equal = texts.iter().any(|&text| {
                let text = Value::Text(text);
                passes(&text, FieldType::Text, Comparator::Equal, literal)
            });
            any_equal != (comparator == Comparator::NotEqual)
        }
        (Value::Text(text), Literal::Text(pattern)) => match comparator {
            Comparator::Has if field_type == FieldType::Path => text
                .strip_prefix(pattern.as_str())
                .is_some_and(|rest| rest.is_empty() || rest.starts_with(" > ")),
            Comparator::Has => text.to_lowercase().contains(&pattern.to_lowercase()),
            Comparator::Equal => matches_pattern(text, pattern),
            Comparator::NotEqual => !matches_pattern(text, pattern),
            ordering => ordering.accepts(text.cmp(&pattern.as_str())),
        },
        (Value::Number(number), Literal::Number(expected)) => number
            .partial_cmp(expected)
            .map_or(comparator == Comparator::NotEqual, |order| {
                comparator.accepts(order)
            }),
        // A column of a users file holds texts: "18" is a number where it is compared with one.
        (Value::Text(text), Literal::Number(_)) => match text.trim().parse::<f64>() {
            Ok(number) => {
                let number = Value::Number(number);
                passes(&number, FieldType::Number, comparator, literal)
            }
            Err(_) => comparator == Comparator::NotEqual,
        },
        (Value::Flag(flag), Literal::Flag(expected)) => {
            (flag == expected) != (comparator == Comparator::NotEqual)
        }
        _ => comparator == Comparator::NotEqual,
    }
}

/// Whether a text equals a pattern, in which `*` at the beginning or the end stands for any text.
fn matches_pattern(text: &str, pattern: &str) -> bool {
    match (pattern.strip_prefix('*'), pattern.strip_suffix('*')) {
        (Some(_), Some(_)) if pattern.len() > 1 => text.contains(&pattern[1..pattern.len() - 1]),
        (Some(end), _) => text.ends_with(end),
        (_, Some(start)) => text.starts_with(start),
        _ => text == pattern,
    }
}
