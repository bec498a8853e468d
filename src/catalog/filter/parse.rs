//! The grammar of filters (AIP-160).
//!
//! ```text
//! filter      expression of sequences joined by AND; what stands side by side is joined by AND as well
//! factor      terms joined by OR, which binds tighter than AND
//! term        NOT term, -term, ( expression ), unknown( expression ), field comparator value, or a bare word
//! ```

use std::fmt;

use super::lex::{Placed, Token, tokens};
use super::pattern::{Pattern, escaped};
use crate::domain::name::shown;

/// Longest filter, in bytes.
pub const LEN_MAX: usize = 16 * 1024;
/// Most tests and words in a filter.
pub const TERMS_MAX: usize = 1_000;
/// Deepest nesting.
pub const DEPTH_MAX: usize = 32;

/// A part of a filter, as byte offsets; the end is not part of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Span {
    /// Where it begins.
    pub start: usize,
    /// Where it ends.
    pub end: usize,
}

/// A filter as a tree.
#[derive(Clone, Debug, PartialEq)]
pub enum Node {
    /// All of them.
    And(Vec<Node>),
    /// Any of them.
    Or(Vec<Node>),
    /// Not this.
    Not(Box<Node>),
    /// This cannot be told.
    Unknown(Box<Node>),
    /// A bare word.
    Word(Literal),
    /// A field held against a value.
    Compare(Comparison),
}

/// A field held against a value.
#[derive(Clone, Debug, PartialEq)]
pub struct Comparison {
    /// The field.
    pub field: Field,
    /// How.
    pub operator: Operator,
    /// The value.
    pub value: Literal,
}

/// A field as written.
#[derive(Clone, Debug, PartialEq)]
pub struct Field {
    /// Its path.
    pub path: Box<str>,
    /// Where it stands.
    pub span: Span,
}

/// A comparator.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operator {
    /// `=`.
    Equal,
    /// `!=`.
    NotEqual,
    /// `<`.
    Less,
    /// `<=`.
    LessOrEqual,
    /// `>`.
    Greater,
    /// `>=`.
    GreaterOrEqual,
    /// `:`.
    Has,
}

impl Operator {
    const ALL: [(&'static str, Self); 7] = [
        ("=", Self::Equal),
        ("!=", Self::NotEqual),
        ("<", Self::Less),
        ("<=", Self::LessOrEqual),
        (">", Self::Greater),
        (">=", Self::GreaterOrEqual),
        (":", Self::Has),
    ];
}

impl fmt::Display for Operator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = Self::ALL.iter().find(|(_, operator)| operator == self).map_or("", |(sign, _)| sign);
        f.write_str(sign)
    }
}

/// A value as written.
#[derive(Clone, Debug, PartialEq)]
pub struct Literal {
    /// Its text, wildcards as `*`.
    pub text: Box<str>,
    /// Its form, where it has wildcards.
    pub pattern: Option<Pattern>,
    /// Where it stands.
    pub span: Span,
}

/// A text is no filter.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("at character {character}: {message}")]
pub struct SyntaxError {
    /// Where, counted in characters from 1.
    pub character: usize,
    /// What is wrong, and what is expected.
    pub message: String,
}

impl SyntaxError {
    pub(super) fn new(text: &str, span: Span, message: String) -> Self {
        Self { character: character(text, span.start), message }
    }
}

/// The place of a byte in a text, counted in characters from 1.
#[must_use]
pub fn character(text: &str, at: usize) -> usize {
    text.char_indices().take_while(|(offset, _)| *offset < at).count() + 1
}

/// Parses a filter; `None` for an empty one.
///
/// # Errors
/// [`SyntaxError`] with the position, what is wrong there and what is expected.
pub fn parse(text: &str) -> Result<Option<Node>, SyntaxError> {
    if text.len() > LEN_MAX {
        let message = format!("the filter has {} bytes and {LEN_MAX} are allowed", text.len());
        return Err(SyntaxError { character: 1, message });
    }
    let tokens = tokens(text)?;
    if tokens.is_empty() {
        return Ok(None);
    }
    let mut parser = Parser { text, tokens, at: 0, depth: 0, terms: 0 };
    let node = parser.expression()?;
    match parser.next() {
        None => Ok(Some(node)),
        Some(Placed { token: Token::Close, .. }) => parser.error("this `)` closes nothing: leave it out".into()),
        Some(_) => parser.error("`AND`, `OR` or the end is expected here".into()),
    }
}

struct Parser<'a> {
    text: &'a str,
    tokens: Vec<Placed>,
    at: usize,
    depth: usize,
    terms: usize,
}

type Parsed = Result<Node, SyntaxError>;

impl Parser<'_> {
    fn next(&self) -> Option<&Placed> {
        self.tokens.get(self.at)
    }

    fn error<T>(&self, message: String) -> Result<T, SyntaxError> {
        let end = Span { start: self.text.len(), end: self.text.len() };
        let span = self.next().map_or(end, |placed| placed.span);
        Err(SyntaxError::new(self.text, span, message))
    }

    fn is_word(&self, word: &str) -> bool {
        matches!(self.next().map(|placed| &placed.token), Some(Token::Text(text)) if text == word)
    }

    fn take(&mut self, token: &Token) -> bool {
        let found = self.next().is_some_and(|placed| placed.token == *token);
        self.at += usize::from(found);
        found
    }

    /// Sequences joined by `AND`, and what stands side by side.
    fn expression(&mut self) -> Parsed {
        let mut parts = vec![self.factor()?];
        loop {
            if self.is_word("AND") {
                self.at += 1;
            } else if self.is_word("OR") {
                return self.error("a term is expected before `OR`".into());
            } else if !self.begins_a_term() {
                return Ok(join(parts, Node::And));
            }
            parts.push(self.factor()?);
        }
    }

    fn begins_a_term(&self) -> bool {
        match self.next().map(|placed| &placed.token) {
            Some(Token::Text(_) | Token::Quoted(_) | Token::Open | Token::Minus) => true,
            Some(Token::Close | Token::Comma | Token::Sign(_)) | None => false,
        }
    }

    /// Terms joined by `OR`.
    fn factor(&mut self) -> Parsed {
        let mut parts = vec![self.term()?];
        while self.is_word("OR") {
            self.at += 1;
            parts.push(self.term()?);
        }
        Ok(join(parts, Node::Or))
    }

    fn term(&mut self) -> Parsed {
        // Counted rather than nested: `NOT NOT NOT …` is one negation or none.
        let mut negated = false;
        while self.is_word("NOT") || self.next().is_some_and(|placed| placed.token == Token::Minus) {
            self.at += 1;
            negated = !negated;
        }
        let node = self.simple()?;
        Ok(if negated { Node::Not(Box::new(node)) } else { node })
    }

    fn simple(&mut self) -> Parsed {
        let Some(placed) = self.next() else { return self.error("a term is expected here".into()) };
        match &placed.token {
            Token::Open => self.nested(Self::expression),
            Token::Text(text) if matches!(text.as_str(), "AND" | "OR") => {
                self.error(format!("a term is expected before `{text}`"))
            }
            Token::Text(_) | Token::Quoted(_) => self.restriction(),
            Token::Sign(sign) => self.error(format!("a field is expected before `{sign}`")),
            Token::Close => self.error("a term is expected before `)`".into()),
            Token::Comma => self.error("`,` joins nothing here: write `AND` or `OR`".into()),
            Token::Minus => self.error("a term is expected after `-`".into()),
        }
    }

    /// What stands in parentheses.
    fn nested<T>(&mut self, inner: impl FnOnce(&mut Self) -> Result<T, SyntaxError>) -> Result<T, SyntaxError> {
        if self.depth >= DEPTH_MAX {
            return self.error(format!("it is nested deeper than {DEPTH_MAX}"));
        }
        let opened = self.at;
        self.at += 1;
        self.depth += 1;
        let found = inner(self)?;
        self.depth -= 1;
        if self.take(&Token::Close) {
            return Ok(found);
        }
        if self.next().is_none() {
            self.at = opened;
            return self.error("this `(` is never closed: a `)` is missing".into());
        }
        self.error("`)`, `AND` or `OR` is expected here".into())
    }

    /// A bare word that is most likely meant as something else is a mistake: it would find nothing, and say nothing.
    fn not_a_slip(&self) -> Result<(), SyntaxError> {
        let Some(Token::Text(text)) = self.next().map(|placed| &placed.token) else { return Ok(()) };
        if let Some(keyword) = ["AND", "OR", "NOT"].into_iter().find(|keyword| text.eq_ignore_ascii_case(keyword)) {
            return self.error(format!("write `{keyword}` in capitals, or `\"{text}\"` for the word"));
        }
        let opens = self.tokens.get(self.at + 1).is_some_and(|after| after.token == Token::Open);
        if text == "unknown" && opens {
            return self.error("write `unknown(…)` without a blank, or `\"unknown\"` for the word".into());
        }
        Ok(())
    }

    /// A field held against a value, a function, or a bare word.
    fn restriction(&mut self) -> Parsed {
        self.terms += 1;
        if self.terms > TERMS_MAX {
            return self.error(format!("the filter has more than {TERMS_MAX} terms"));
        }
        let start = self.at;
        let calls = self.tokens.get(start + 1).is_some_and(|after| after.joined && after.token == Token::Open);
        match self.next().map(|placed| &placed.token) {
            Some(Token::Text(name)) if calls && name == "unknown" => {
                self.at += 1;
                return self.nested(Self::expression).map(|node| Node::Unknown(Box::new(node)));
            }
            Some(Token::Text(name)) if calls => {
                let name = shown(name);
                return self.error(format!("there is no function `{name}`: `unknown(…)` is the only one"));
            }
            _ => {}
        }
        let field = self.path();
        match self.next().map(|placed| placed.token.clone()) {
            Some(Token::Sign(sign)) => {
                let operator = Operator::ALL.iter().find(|(known, _)| *known == sign).map(|(_, operator)| *operator);
                let Some(operator) = operator else { return self.error("a comparator is expected here".into()) };
                self.at += 1;
                self.argument(&field, operator)
            }
            _ => {
                self.at = start;
                self.not_a_slip()?;
                self.literal().map(Node::Word)
            }
        }
    }

    /// A path before a comparator: words and quoted parts, joined.
    fn path(&mut self) -> Field {
        let mut path = String::new();
        let mut span = self.next().map(|placed| placed.span).unwrap_or_default();
        let start = self.at;
        while let Some(placed) = self.tokens.get(self.at) {
            match &placed.token {
                Token::Text(text) if self.at == start || placed.joined => path.push_str(text),
                Token::Quoted(pieces) if self.at == start || placed.joined => path.push_str(&pieces.join("*")),
                _ => break,
            }
            span.end = placed.span.end;
            self.at += 1;
        }
        Field { path: path.into(), span }
    }

    /// What a field is held against: a value, or values joined in parentheses.
    fn argument(&mut self, field: &Field, operator: Operator) -> Parsed {
        match self.next().map(|placed| &placed.token) {
            Some(Token::Open) => {
                let node = self.nested(Self::expression)?;
                spread(node, field, operator).map_err(|span| {
                    let message = "only values stand in parentheses after a comparator".to_owned();
                    SyntaxError::new(self.text, span, message)
                })
            }
            Some(Token::Text(_) | Token::Quoted(_)) => {
                let value = self.literal()?;
                Ok(Node::Compare(Comparison { field: field.clone(), operator, value }))
            }
            _ => self.error(format!("a value is expected after `{operator}`")),
        }
    }

    fn literal(&mut self) -> Result<Literal, SyntaxError> {
        let Some(Placed { token, span, .. }) = self.next().cloned() else {
            return self.error("a value is expected here".into());
        };
        let pieces = match token {
            Token::Text(text) => text.split('*').map(str::to_owned).collect(),
            Token::Quoted(pieces) => pieces,
            _ => return self.error("a value is expected here".into()),
        };
        self.at += 1;
        Ok(Literal { text: pieces.join("*").into(), pattern: Pattern::new(pieces), span })
    }
}

/// Several as one; those of the same kind inside are taken out of their parentheses.
fn join(mut parts: Vec<Node>, of: fn(Vec<Node>) -> Node) -> Node {
    if parts.len() == 1 {
        return parts.pop().unwrap_or(Node::And(Vec::new()));
    }
    let is_and = matches!(of(Vec::new()), Node::And(_));
    let flat = parts.into_iter().flat_map(|part| match part {
        Node::And(inner) if is_and => inner,
        Node::Or(inner) if !is_and => inner,
        other => vec![other],
    });
    of(flat.collect())
}

/// `field = (a OR b)` is `field = a OR field = b`.
fn spread(node: Node, field: &Field, operator: Operator) -> Result<Node, Span> {
    let each = |parts: Vec<Node>| -> Result<Vec<Node>, Span> {
        parts.into_iter().map(|part| spread(part, field, operator)).collect()
    };
    Ok(match node {
        Node::Word(value) => Node::Compare(Comparison { field: field.clone(), operator, value }),
        Node::And(parts) => Node::And(each(parts)?),
        Node::Or(parts) => Node::Or(each(parts)?),
        Node::Not(part) => Node::Not(Box::new(spread(*part, field, operator)?)),
        Node::Compare(comparison) => return Err(comparison.field.span),
        Node::Unknown(_) => return Err(field.span),
    })
}

impl fmt::Display for Literal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = self.pattern.as_ref().map_or_else(|| escaped(&self.text), Pattern::quoted);
        write!(f, "\"{text}\"")
    }
}

/// As a filter writes it: in quotes where it would be read as something else without.
impl fmt::Display for Field {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = &*self.path;
        let plain = |c: char| c.is_alphanumeric() || matches!(c, '_' | '.' | '-');
        let is_read = path.starts_with(|c: char| c != '-') && path.chars().all(plain);
        if is_read && !matches!(path, "AND" | "OR" | "NOT") {
            return f.write_str(path);
        }
        write!(f, "\"{}\"", escaped(path))
    }
}

/// A filter that means the same.
impl fmt::Display for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let joined = |f: &mut fmt::Formatter<'_>, parts: &[Node], word: &str| {
            for (i, part) in parts.iter().enumerate() {
                if i > 0 {
                    write!(f, " {word} ")?;
                }
                match part {
                    Node::And(_) | Node::Or(_) => write!(f, "({part})")?,
                    _ => write!(f, "{part}")?,
                }
            }
            Ok(())
        };
        match self {
            Self::And(parts) => joined(f, parts, "AND"),
            Self::Or(parts) => joined(f, parts, "OR"),
            Self::Not(part) => match &**part {
                Self::And(_) | Self::Or(_) => write!(f, "NOT ({part})"),
                _ => write!(f, "NOT {part}"),
            },
            Self::Unknown(part) => write!(f, "unknown({part})"),
            Self::Word(literal) => write!(f, "{literal}"),
            Self::Compare(Comparison { field, operator, value }) => write!(f, "{field} {operator} {value}"),
        }
    }
}
