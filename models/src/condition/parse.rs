//! The parser of conditions: text to tokens to a tree, by recursive descent.

use crate::condition::evaluate::{Comparator, Literal, Node};
use crate::condition::schema::{FieldType, Schema};

/// Longest condition, in bytes.
const MAX_BYTES: usize = 2000;
/// Most parentheses and negations within each other: the parser recurses once for each.
const MAX_DEPTH: usize = 32;

/// A mistake in a condition.
pub(super) struct ParseError {
    /// Bytes of the condition before the mistake.
    pub position: usize,
    /// What was found and what was expected.
    pub detail: String,
}

/// A mistake at a position.
fn error_at<T>(position: usize, detail: impl Into<String>) -> Result<T, ParseError> {
    let detail = detail.into();
    Err(ParseError { position, detail })
}

/// Parses a condition and checks its fields and values against a schema; an empty text is a
/// condition that always holds.
pub(super) fn parse(text: &str, schema: &Schema) -> Result<Node, ParseError> {
    if text.len() > MAX_BYTES {
        let bytes = text.len();
        return error_at(
            0,
            format!("{bytes} bytes long: expected at most {MAX_BYTES}"),
        );
    }
    let tokens = tokenize(text)?;
    if tokens.is_empty() {
        return Ok(Node::All(Vec::new()));
    }
    let mut parser = Parser {
        tokens: &tokens,
        next: 0,
        end: text.len(),
        schema,
    };
    let node = parser.expression(0)?;
    match parser.next() {
        None => Ok(node),
        Some(token) => {
            let found = token.describe();
            error_at(
                token.position,
                format!("{found} is not expected here: join tests by AND or OR"),
            )
        }
    }
}

#[derive(Clone, Debug, PartialEq)]
enum TokenKind {
    Word(String),
    Quoted(String),
    Comparator(Comparator),
    OpenParenthesis,
    CloseParenthesis,
    Minus,
}

#[derive(Clone, Debug)]
struct Token {
    /// Bytes of the condition before the token.
    position: usize,
    kind: TokenKind,
}

impl Token {
    /// The token as an error message names it.
    fn describe(&self) -> String {
        match &self.kind {
            TokenKind::Word(word) => format!("'{word}'"),
            TokenKind::Quoted(text) => format!("\"{text}\""),
            TokenKind::Comparator(comparator) => format!("'{}'", comparator.symbol()),
            TokenKind::OpenParenthesis => "'('".into(),
            TokenKind::CloseParenthesis => "')'".into(),
            TokenKind::Minus => "'-'".into(),
        }
    }

    fn is_word(&self, word: &str) -> bool {
        matches!(&self.kind, TokenKind::Word(found) if found == word)
    }

    /// Whether the token joins tests.
    fn is_junction(&self) -> bool {
        self.is_word("AND") || self.is_word("OR")
    }
}

fn tokenize(text: &str) -> Result<Vec<Token>, ParseError> {
    let mut tokens = Vec::new();
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let position = text.len() - rest.len();
        if first.is_whitespace() {
            rest = &rest[first.len_utf8()..];
            continue;
        }
        let (kind, length) = read_token(rest, first, position)?;
        tokens.push(Token { position, kind });
        rest = &rest[length..];
    }
    Ok(tokens)
}

/// The token that `rest` begins with, and its length in bytes.
fn read_token(rest: &str, first: char, position: usize) -> Result<(TokenKind, usize), ParseError> {
    let two = rest.get(..2).unwrap_or_default();
    let token = match first {
        '(' => (TokenKind::OpenParenthesis, 1),
        ')' => (TokenKind::CloseParenthesis, 1),
        '!' if two == "!=" => (TokenKind::Comparator(Comparator::NotEqual), 2),
        '<' if two == "<=" => (TokenKind::Comparator(Comparator::LessOrEqual), 2),
        '>' if two == ">=" => (TokenKind::Comparator(Comparator::GreaterOrEqual), 2),
        '<' => (TokenKind::Comparator(Comparator::Less), 1),
        '>' => (TokenKind::Comparator(Comparator::Greater), 1),
        '=' => (TokenKind::Comparator(Comparator::Equal), 1),
        ':' => (TokenKind::Comparator(Comparator::Has), 1),
        quote @ ('"' | '\'') => {
            let Some(length) = rest[1..].find(quote) else {
                return error_at(
                    position,
                    format!("the text that begins here has no closing {quote}"),
                );
            };
            (TokenKind::Quoted(rest[1..=length].to_string()), length + 2)
        }
        '-' if !rest[1..].starts_with(|c: char| c.is_ascii_digit() || c == '.') => {
            (TokenKind::Minus, 1)
        }
        letter if is_word_character(letter) => {
            let length = rest.find(|c| !is_word_character(c)).unwrap_or(rest.len());
            (TokenKind::Word(rest[..length].to_string()), length)
        }
        other => {
            return error_at(
                position,
                format!("'{other}' is not a part of a condition; quote texts: \"{other}\""),
            );
        }
    };
    Ok(token)
}

fn is_word_character(letter: char) -> bool {
    letter.is_alphanumeric() || matches!(letter, '_' | '.' | '*' | '-' | '/' | '%')
}

struct Parser<'a> {
    tokens: &'a [Token],
    /// The place of the next token.
    next: usize,
    /// Bytes of the condition: the position of a mistake at its end.
    end: usize,
    schema: &'a Schema,
}

impl Parser<'_> {
    fn next(&mut self) -> Option<Token> {
        let token = self.tokens.get(self.next).cloned();
        self.next += 1;
        token
    }

    /// The next token if it is AND or OR; it is not consumed.
    fn peek_junction(&self) -> Option<Token> {
        let token = self.tokens.get(self.next)?;
        token.is_junction().then(|| token.clone())
    }

    /// Tests joined all by AND, or all by OR.
    fn expression(&mut self, depth: usize) -> Result<Node, ParseError> {
        let first = self.term(depth)?;
        let Some(junction) = self.peek_junction() else {
            return Ok(first);
        };
        let mut nodes = vec![first];
        while let Some(token) = self.peek_junction() {
            if token.kind != junction.kind {
                return error_at(
                    token.position,
                    "AND and OR side by side: say with parentheses what belongs together",
                );
            }
            self.next += 1;
            nodes.push(self.term(depth)?);
        }
        Ok(if junction.is_word("AND") {
            Node::All(nodes)
        } else {
            Node::Either(nodes)
        })
    }

    /// A test, a negation, or an expression in parentheses.
    fn term(&mut self, depth: usize) -> Result<Node, ParseError> {
        let Some(token) = self.next() else {
            return error_at(self.end, "the condition ends where a test is expected");
        };
        if depth > MAX_DEPTH {
            return error_at(
                token.position,
                format!("more than {MAX_DEPTH} parentheses within each other"),
            );
        }
        match &token.kind {
            TokenKind::Minus => Ok(Node::Not(Box::new(self.term(depth + 1)?))),
            _ if token.is_word("NOT") => Ok(Node::Not(Box::new(self.term(depth + 1)?))),
            TokenKind::OpenParenthesis => self.parenthesized(depth + 1),
            TokenKind::Word(field) => self.test(token.position, field),
            _ => error_at(
                token.position,
                format!(
                    "{} where a field is expected, as in item.price < 20",
                    token.describe()
                ),
            ),
        }
    }

    /// What follows an open parenthesis, up to the closing one.
    fn parenthesized(&mut self, depth: usize) -> Result<Node, ParseError> {
        let node = self.expression(depth)?;
        match self.next() {
            Some(Token {
                kind: TokenKind::CloseParenthesis,
                ..
            }) => Ok(node),
            Some(found) => error_at(
                found.position,
                format!("{} where ')' is expected", found.describe()),
            ),
            None => error_at(self.end, "a ')' is missing"),
        }
    }

    /// The comparator and the value of a test, whose field was read at `position`.
    fn test(&mut self, position: usize, field: &str) -> Result<Node, ParseError> {
        let Some(field_type) = self.schema.field_type(field) else {
            let known = self.schema.field_list();
            return error_at(position, format!("no field '{field}'; there are {known}"));
        };
        let comparator = self.comparator(field)?;
        let Some(token) = self.next() else {
            return error_at(self.end, "the condition ends where a value is expected");
        };
        let literal = literal(&token, field_type)?;
        if !fits(field_type, comparator, &literal) {
            return error_at(
                token.position,
                format!(
                    "'{field}' is {}: {} {} does not fit it",
                    field_type.name(),
                    comparator.symbol(),
                    token.describe()
                ),
            );
        }
        Ok(Node::Test {
            field: field.to_string(),
            field_type,
            comparator,
            literal,
        })
    }

    fn comparator(&mut self, field: &str) -> Result<Comparator, ParseError> {
        match self.next() {
            Some(Token {
                kind: TokenKind::Comparator(comparator),
                ..
            }) => Ok(comparator),
            Some(found) => error_at(
                found.position,
                format!(
                    "{} where =, !=, <, <=, >, >= or : is expected",
                    found.describe()
                ),
            ),
            None => error_at(
                self.end,
                format!("'{field}' alone: expected =, !=, <, <=, >, >= or : and a value"),
            ),
        }
    }
}

/// The value of a token, as a test of a field of this type compares it.
fn literal(token: &Token, field_type: FieldType) -> Result<Literal, ParseError> {
    let word = match &token.kind {
        TokenKind::Quoted(text) => return Ok(Literal::Text(text.clone())),
        TokenKind::Word(word) => word,
        _ => {
            return error_at(
                token.position,
                format!("{} where a value is expected", token.describe()),
            );
        }
    };
    if word == "*" {
        return Ok(Literal::Any);
    }
    // Lists and paths hold texts: there, 18 or true is a text too.
    if matches!(field_type, FieldType::List | FieldType::Path) {
        return Ok(Literal::Text(word.clone()));
    }
    if word == "true" || word == "false" {
        return Ok(match field_type {
            FieldType::Text => Literal::Text(word.clone()),
            _ => Literal::Flag(word == "true"),
        });
    }
    Ok(match word.parse::<f64>() {
        Ok(number) if number.is_finite() => Literal::Number(number),
        _ => Literal::Text(word.clone()),
    })
}

/// Whether a field of this type can be compared with the literal by the comparator.
fn fits(field_type: FieldType, comparator: Comparator, literal: &Literal) -> bool {
    let is_ordering = comparator.is_ordering();
    match (field_type, literal) {
        (_, Literal::Any) => !is_ordering,
        (FieldType::Number, Literal::Number(_)) => comparator != Comparator::Has,
        (FieldType::Flag, Literal::Flag(_)) => !is_ordering && comparator != Comparator::Has,
        (FieldType::Text, Literal::Text(_) | Literal::Number(_)) => true,
        (FieldType::Path | FieldType::List, Literal::Text(_)) => !is_ordering,
        _ => false,
    }
}
