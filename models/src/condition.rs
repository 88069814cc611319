//! The condition language of rules, segments and filters: `item.price < 20 AND (item.brand = "ALBA" OR item.category : "Home > Kitchen")`.
//!
//! The filter grammar of AIP-160 (google.aip.dev/160) less what surprises: AND and OR do not mix without parentheses, and every test names its
//! field. A condition is parsed once against a [`Schema`], so that a misspelt field or a number compared with a word is an error with its
//! column and not a rule that never holds.
//!
//! `=`, `!=`, `<`, `<=`, `>`, `>=` compare; a text may begin or end in `*`. `:` asks whether a list holds a text, a category path lies at or
//! below another, or a text contains another, whatever the case; `field : *` whether there is a value. What is absent passes no test but `!=`.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

/// What kind of value a field has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A text. Compared with a number it is read as one.
    Text,
    /// A number.
    Number,
    /// True or false.
    Flag,
    /// A path `A > B > C`.
    Path,
    /// Several texts.
    List,
}

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Kind::Text => "a text",
            Kind::Number => "a number",
            Kind::Flag => "true or false",
            Kind::Path => "a category path",
            Kind::List => "a list",
        }
    }
}

/// A value of a field.
#[derive(Clone, Debug, PartialEq)]
pub enum Value<'a> {
    /// A text or a path.
    Text(&'a str),
    /// A number.
    Number(f64),
    /// True or false.
    Flag(bool),
    /// Several texts.
    Texts(Vec<&'a str>),
}

/// The fields that conditions may name.
#[derive(Clone, Debug, Default)]
pub struct Schema {
    fields: BTreeMap<String, Kind>,
    open: Vec<&'static str>,
}

impl Schema {
    /// These fields by their full names, `item.price`.
    pub fn new<'a>(fields: impl IntoIterator<Item = (&'a str, Kind)>) -> Self {
        Self { fields: fields.into_iter().map(|(name, kind)| (name.to_string(), kind)).collect(), open: Vec::new() }
    }

    /// Adds a field.
    pub fn with(mut self, name: String, kind: Kind) -> Self {
        self.fields.entry(name).or_insert(kind);
        self
    }

    /// Any field that begins so is a text.
    pub fn with_any(mut self, start: &'static str) -> Self {
        self.open.push(start);
        self
    }

    fn kind(&self, field: &str) -> Option<Kind> {
        let open = || self.open.iter().any(|start| field.len() > start.len() && field.starts_with(start)).then_some(Kind::Text);
        self.fields.get(field).copied().or_else(open)
    }
}

/// What is wrong with a condition, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConditionError {
    /// The condition.
    pub text: String,
    /// Characters before the fault, plus one.
    pub column: usize,
    /// What was found and what was expected.
    pub detail: String,
}

impl fmt::Display for ConditionError {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "condition '{}', column {}: {}", self.text, self.column, self.detail)
    }
}

impl std::error::Error for ConditionError {}

/// Longest condition, in bytes.
const LONGEST: usize = 2000;
/// Parentheses and negations within each other.
const DEEPEST: usize = 32;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Comparator {
    Equal,
    Differs,
    Less,
    AtMost,
    More,
    AtLeast,
    Has,
}

#[derive(Clone, Debug, PartialEq)]
enum Literal {
    Text(String),
    Number(f64),
    Flag(bool),
    /// `*`: any value.
    Any,
}

#[derive(Clone, Debug, PartialEq)]
enum Node {
    All(Vec<Node>),
    Either(Vec<Node>),
    Not(Box<Node>),
    Test { field: String, kind: Kind, comparator: Comparator, literal: Literal },
}

/// A checked condition.
#[derive(Clone, Debug, PartialEq)]
pub struct Condition {
    text: String,
    node: Node,
}

impl Condition {
    /// Parses a condition on the fields of a schema; an empty one always holds.
    ///
    /// # Errors
    /// [`ConditionError`] names the column, what was found, and what was expected.
    pub fn parse(text: &str, schema: &Schema) -> Result<Self, ConditionError> {
        let fault = |at: usize, detail: String| ConditionError {
            text: text.chars().take(200).collect(),
            column: text.get(..at).map_or(0, |before| before.chars().count()) + 1,
            detail,
        };
        if text.len() > LONGEST {
            return Err(fault(0, format!("{} bytes long: expected at most {LONGEST}", text.len())));
        }
        let tokens = tokens(text).map_err(|(at, detail)| fault(at, detail))?;
        let mut parser = Parser { tokens: &tokens, at: 0, end: text.len(), schema };
        let node = match tokens.is_empty() {
            true => Node::All(Vec::new()),
            false => parser.expression(0).map_err(|(at, detail)| fault(at, detail))?,
        };
        match parser.next() {
            None => Ok(Self { text: text.to_string(), node }),
            Some(token) => Err(fault(token.at, format!("{} is not expected here: join tests by AND or OR", token.name()))),
        }
    }

    /// The condition as it was written.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Whether it holds where `value` says what a field is.
    pub fn holds<'a>(&self, value: &dyn Fn(&str) -> Option<Value<'a>>) -> bool {
        holds(&self.node, value)
    }

    /// The fields that it looks at.
    pub fn fields(&self) -> BTreeSet<&str> {
        let mut fields = BTreeSet::new();
        collect(&self.node, &mut fields);
        fields
    }
}

fn collect<'a>(node: &'a Node, fields: &mut BTreeSet<&'a str>) {
    match node {
        Node::All(nodes) | Node::Either(nodes) => nodes.iter().for_each(|node| collect(node, fields)),
        Node::Not(node) => collect(node, fields),
        Node::Test { field, .. } => {
            fields.insert(field);
        }
    }
}

fn holds<'a>(node: &Node, value: &dyn Fn(&str) -> Option<Value<'a>>) -> bool {
    match node {
        Node::All(nodes) => nodes.iter().all(|node| holds(node, value)),
        Node::Either(nodes) => nodes.iter().any(|node| holds(node, value)),
        Node::Not(node) => !holds(node, value),
        Node::Test { field, kind, comparator, literal } => match value(field) {
            None => *comparator == Comparator::Differs,
            Some(_) if *literal == Literal::Any => *comparator != Comparator::Differs,
            Some(value) => passes(&value, *kind, *comparator, literal),
        },
    }
}

fn passes(value: &Value, kind: Kind, comparator: Comparator, literal: &Literal) -> bool {
    match (value, literal) {
        (Value::Texts(texts), _) => {
            let any = texts.iter().any(|&text| passes(&Value::Text(text), Kind::Text, Comparator::Equal, literal));
            any != (comparator == Comparator::Differs)
        }
        (Value::Text(text), Literal::Text(wanted)) => match comparator {
            Comparator::Has if kind == Kind::Path => {
                text.strip_prefix(wanted.as_str()).is_some_and(|rest| rest.is_empty() || rest.starts_with(" > "))
            }
            Comparator::Has => text.to_lowercase().contains(&wanted.to_lowercase()),
            Comparator::Equal => like(text, wanted),
            Comparator::Differs => !like(text, wanted),
            ordered => compares(text.cmp(&wanted.as_str()), ordered),
        },
        (Value::Number(number), Literal::Number(wanted)) => {
            number.partial_cmp(wanted).map_or(comparator == Comparator::Differs, |order| compares(order, comparator))
        }
        // "18" of a file is a number where a number is asked for.
        (Value::Text(text), Literal::Number(_)) => match text.trim().parse::<f64>() {
            Ok(number) => passes(&Value::Number(number), Kind::Number, comparator, literal),
            Err(_) => comparator == Comparator::Differs,
        },
        (Value::Flag(flag), Literal::Flag(wanted)) => (flag == wanted) != (comparator == Comparator::Differs),
        _ => comparator == Comparator::Differs,
    }
}

fn compares(order: std::cmp::Ordering, comparator: Comparator) -> bool {
    match comparator {
        Comparator::Equal | Comparator::Has => order.is_eq(),
        Comparator::Differs => order.is_ne(),
        Comparator::Less => order.is_lt(),
        Comparator::AtMost => order.is_le(),
        Comparator::More => order.is_gt(),
        Comparator::AtLeast => order.is_ge(),
    }
}

/// Equality with `*` at the ends.
fn like(text: &str, wanted: &str) -> bool {
    match (wanted.strip_prefix('*'), wanted.strip_suffix('*')) {
        (Some(_), Some(_)) if wanted.len() > 1 => text.contains(&wanted[1..wanted.len() - 1]),
        (Some(end), _) => text.ends_with(end),
        (_, Some(start)) => text.starts_with(start),
        _ => text == wanted,
    }
}

#[derive(Clone, Debug, PartialEq)]
enum Sign {
    Word(String),
    Quoted(String),
    Comparator(Comparator),
    Open,
    Close,
    Minus,
}

#[derive(Clone, Debug)]
struct Token {
    at: usize,
    sign: Sign,
}

impl Token {
    fn name(&self) -> String {
        match &self.sign {
            Sign::Word(word) => format!("'{word}'"),
            Sign::Quoted(text) => format!("\"{text}\""),
            Sign::Comparator(comparator) => format!("'{}'", sign_of(*comparator)),
            Sign::Open => "'('".into(),
            Sign::Close => "')'".into(),
            Sign::Minus => "'-'".into(),
        }
    }

    fn is(&self, word: &str) -> bool {
        matches!(&self.sign, Sign::Word(found) if found == word)
    }
}

fn sign_of(comparator: Comparator) -> &'static str {
    match comparator {
        Comparator::Equal => "=",
        Comparator::Differs => "!=",
        Comparator::Less => "<",
        Comparator::AtMost => "<=",
        Comparator::More => ">",
        Comparator::AtLeast => ">=",
        Comparator::Has => ":",
    }
}

type Fault = (usize, String);

fn tokens(text: &str) -> Result<Vec<Token>, Fault> {
    let mut tokens = Vec::new();
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let at = text.len() - rest.len();
        let two = rest.get(..2).unwrap_or_default();
        let (sign, used) = match first {
            space if space.is_whitespace() => {
                rest = &rest[space.len_utf8()..];
                continue;
            }
            '(' => (Sign::Open, 1),
            ')' => (Sign::Close, 1),
            '!' if two == "!=" => (Sign::Comparator(Comparator::Differs), 2),
            '<' if two == "<=" => (Sign::Comparator(Comparator::AtMost), 2),
            '>' if two == ">=" => (Sign::Comparator(Comparator::AtLeast), 2),
            '<' => (Sign::Comparator(Comparator::Less), 1),
            '>' => (Sign::Comparator(Comparator::More), 1),
            '=' => (Sign::Comparator(Comparator::Equal), 1),
            ':' => (Sign::Comparator(Comparator::Has), 1),
            quote @ ('"' | '\'') => {
                let Some(length) = rest[1..].find(quote) else {
                    return Err((at, format!("the text that begins here has no closing {quote}")));
                };
                (Sign::Quoted(rest[1..=length].to_string()), length + 2)
            }
            '-' if !rest[1..].starts_with(|c: char| c.is_ascii_digit() || c == '.') => (Sign::Minus, 1),
            letter if is_of_word(letter) => {
                let length = rest.find(|c| !is_of_word(c)).unwrap_or(rest.len());
                (Sign::Word(rest[..length].to_string()), length)
            }
            other => return Err((at, format!("'{other}' is not a part of a condition; quote texts: \"{other}\""))),
        };
        tokens.push(Token { at, sign });
        rest = &rest[used..];
    }
    Ok(tokens)
}

fn is_of_word(letter: char) -> bool {
    letter.is_alphanumeric() || matches!(letter, '_' | '.' | '*' | '-' | '/' | '%')
}

struct Parser<'a> {
    tokens: &'a [Token],
    at: usize,
    end: usize,
    schema: &'a Schema,
}

impl Parser<'_> {
    fn peek(&self) -> Option<&Token> {
        self.tokens.get(self.at)
    }

    fn next(&mut self) -> Option<Token> {
        let token = self.tokens.get(self.at).cloned();
        self.at += 1;
        token
    }

    /// Tests joined by AND, or by OR.
    fn expression(&mut self, depth: usize) -> Result<Node, Fault> {
        let first = self.term(depth)?;
        let Some(join) = self.peek().filter(|token| token.is("AND") || token.is("OR")).cloned() else { return Ok(first) };
        let mut nodes = vec![first];
        while let Some(token) = self.peek().filter(|token| token.is("AND") || token.is("OR")).cloned() {
            if token.sign != join.sign {
                return Err((token.at, "AND and OR side by side: say with parentheses what belongs together".into()));
            }
            self.at += 1;
            nodes.push(self.term(depth)?);
        }
        Ok(if join.is("AND") { Node::All(nodes) } else { Node::Either(nodes) })
    }

    fn term(&mut self, depth: usize) -> Result<Node, Fault> {
        let Some(token) = self.next() else { return Err((self.end, "the condition ends where a test is expected".into())) };
        if depth > DEEPEST {
            return Err((token.at, format!("more than {DEEPEST} parentheses within each other")));
        }
        match &token.sign {
            Sign::Minus => Ok(Node::Not(Box::new(self.term(depth + 1)?))),
            _ if token.is("NOT") => Ok(Node::Not(Box::new(self.term(depth + 1)?))),
            Sign::Open => {
                let node = self.expression(depth + 1)?;
                match self.next() {
                    Some(Token { sign: Sign::Close, .. }) => Ok(node),
                    Some(found) => Err((found.at, format!("{} where ')' is expected", found.name()))),
                    None => Err((self.end, "a ')' is missing".into())),
                }
            }
            Sign::Word(field) => self.test(token.at, field),
            _ => Err((token.at, format!("{} where a field is expected, as in item.price < 20", token.name()))),
        }
    }

    fn test(&mut self, at: usize, field: &str) -> Result<Node, Fault> {
        let Some(kind) = self.schema.kind(field) else {
            let mut known: Vec<&str> = self.schema.fields.keys().map(String::as_str).collect();
            let open: Vec<String> = self.schema.open.iter().map(|start| format!("{start}…")).collect();
            known.extend(open.iter().map(String::as_str));
            return Err((at, format!("no field '{field}'; there are {}", known.join(", "))));
        };
        let comparator = match self.next() {
            Some(Token { sign: Sign::Comparator(comparator), .. }) => comparator,
            Some(found) => return Err((found.at, format!("{} where =, !=, <, <=, >, >= or : is expected", found.name()))),
            None => return Err((self.end, format!("'{field}' alone: expected =, !=, <, <=, >, >= or : and a value"))),
        };
        let Some(token) = self.next() else { return Err((self.end, "the condition ends where a value is expected".into())) };
        let literal = match &token.sign {
            Sign::Quoted(text) => Literal::Text(text.clone()),
            Sign::Word(word) if word == "*" => Literal::Any,
            Sign::Word(word) if word == "true" || word == "false" => Literal::Flag(word == "true"),
            Sign::Word(word) => match word.parse::<f64>() {
                Ok(number) if number.is_finite() => Literal::Number(number),
                _ => Literal::Text(word.clone()),
            },
            _ => return Err((token.at, format!("{} where a value is expected", token.name()))),
        };
        let ordered = matches!(comparator, Comparator::Less | Comparator::AtMost | Comparator::More | Comparator::AtLeast);
        let literal = match (kind, literal) {
            // Where texts are held, 18 is a text unless it is ordered: "018" is no other customer than "018".
            (Kind::List | Kind::Path, Literal::Number(_) | Literal::Flag(_)) => match &token.sign {
                Sign::Word(word) => Literal::Text(word.clone()),
                _ => Literal::Any,
            },
            (Kind::Text, Literal::Flag(flag)) => Literal::Text(flag.to_string()),
            (_, literal) => literal,
        };
        let fits = match (kind, &literal) {
            (_, Literal::Any) => !ordered,
            (Kind::Number, Literal::Number(_)) => comparator != Comparator::Has,
            (Kind::Flag, Literal::Flag(_)) => !ordered && comparator != Comparator::Has,
            (Kind::Text, Literal::Text(_) | Literal::Number(_)) => true,
            (Kind::Path | Kind::List, Literal::Text(_)) => !ordered,
            _ => false,
        };
        if !fits {
            let sign = sign_of(comparator);
            return Err((token.at, format!("'{field}' is {}: {sign} {} does not fit it", kind.name(), token.name())));
        }
        Ok(Node::Test { field: field.to_string(), kind, comparator, literal })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn schema() -> Schema {
        Schema::new([
            ("item.price", Kind::Number),
            ("item.brand", Kind::Text),
            ("item.category", Kind::Path),
            ("item.available", Kind::Flag),
            ("user.segments", Kind::List),
            ("user.age", Kind::Text),
        ])
        .with_any("context.")
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
    fn what_is_written_is_what_is_meant() {
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
            ("item.available = true AND (context.device = desktop OR context.device = mobile)", true),
            ("context.device = desktop OR item.price > 20", false),
            ("context.weather = rain", false),
            ("context.weather != rain", true),
            ("context.weather : *", false),
            ("context.device : *", true),
        ] {
            let condition = Condition::parse(text, &schema()).unwrap_or_else(|error| panic!("{error}"));
            assert_eq!(condition.holds(&value), expected, "{text}");
        }
    }

    #[test]
    fn a_mistake_is_shown_where_it_is() {
        for (text, column, hint) in [
            ("item.prise < 20", 1, "item.price"),
            ("item.price < cheap", 14, "a number"),
            ("item.price : 20", 14, "does not fit"),
            ("item.available > 3", 18, "true or false"),
            ("item.price < 20 AND item.brand = A OR item.brand = B", 36, "parentheses"),
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
        let deep = "(".repeat(500) + "item.price < 1";
        assert!(Condition::parse(&deep, &schema()).unwrap_err().detail.contains("within each other"));
    }

    proptest! {
        #[test]
        fn nothing_written_panics(text in "[a-z.()<>=!:*\"' A-Z0-9é-]{0,60}") {
            if let Ok(condition) = Condition::parse(&text, &schema()) {
                condition.holds(&value);
            }
        }

        #[test]
        fn de_morgan_holds(a in -5i32..30, b in -5i32..30) {
            let both = format!("NOT (item.price < {a} OR item.price > {b})");
            let each = format!("NOT item.price < {a} AND NOT item.price > {b}");
            let [both, each] = [both, each].map(|text| Condition::parse(&text, &schema()).unwrap().holds(&value));
            prop_assert_eq!(both, each);
        }
    }
}
