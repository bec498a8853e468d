//! Words, strings and signs of a filter.

use super::parse::{Span, SyntaxError};
use super::pattern::Piece;

/// A piece of a filter.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Token {
    /// A run of characters without quotes. `*` in it stands for any characters.
    Text(String),
    /// A quoted text, with what is between its wildcards.
    Quoted(Vec<Piece>),
    /// A comparator.
    Sign(&'static str),
    /// `(`.
    Open,
    /// `)`.
    Close,
    /// `,`.
    Comma,
    /// `-` before a term.
    Minus,
}

/// A token and where it stands.
#[derive(Clone, Debug)]
pub(super) struct Placed {
    pub(super) token: Token,
    pub(super) span: Span,
    /// Whether nothing stands between it and the token before.
    pub(super) joined: bool,
}

/// Comparators, longer ones first.
const SIGNS: [&str; 7] = ["<=", ">=", "!=", "<", ">", "=", ":"];

/// Spellings of other languages, with what is written here.
const FOREIGN: [(&str, &str); 6] = [
    ("==", "`=`"),
    ("<>", "`!=`"),
    ("=~", "`=` with `*` for any characters"),
    ("&&", "`AND`"),
    ("||", "`OR`"),
    ("!", "`NOT`"),
];

struct Lexer<'a> {
    text: &'a str,
    at: usize,
    tokens: Vec<Placed>,
}

/// Splits a filter into tokens.
pub(super) fn tokens(text: &str) -> Result<Vec<Placed>, SyntaxError> {
    let mut lexer = Lexer { text, at: 0, tokens: Vec::new() };
    while lexer.step()? {}
    Ok(lexer.tokens)
}

impl Lexer<'_> {
    fn rest(&self) -> &str {
        self.text.get(self.at..).unwrap_or_default()
    }

    fn error<T>(&self, end: usize, message: String) -> Result<T, SyntaxError> {
        Err(SyntaxError::new(self.text, Span { start: self.at, end }, message))
    }

    fn push(&mut self, token: Token, len: usize) {
        let span = Span { start: self.at, end: self.at + len };
        let joined = self.tokens.last().is_some_and(|before| before.span.end == self.at);
        self.tokens.push(Placed { token, span, joined });
        self.at += len;
    }

    /// Takes one token; `false` at the end.
    fn step(&mut self) -> Result<bool, SyntaxError> {
        let blanks = self.rest().len() - self.rest().trim_start().len();
        self.at += blanks;
        let Some(first) = self.rest().chars().next() else { return Ok(false) };
        match first {
            '(' => self.push(Token::Open, 1),
            ')' => self.push(Token::Close, 1),
            ',' => self.push(Token::Comma, 1),
            '"' | '\'' => self.quoted(first)?,
            '-' if self.begins_a_term() => self.push(Token::Minus, 1),
            _ => return self.sign_or_text(),
        }
        Ok(true)
    }

    /// A `-` is a `NOT` where a term begins and something follows it at once.
    fn begins_a_term(&self) -> bool {
        let follows = self.rest().chars().nth(1).is_some_and(|c| !c.is_whitespace() && c != ')');
        let after = match self.tokens.last().map(|placed| &placed.token) {
            None | Some(Token::Open | Token::Minus) => true,
            Some(Token::Sign(_) | Token::Comma) => false,
            Some(Token::Text(_) | Token::Quoted(_) | Token::Close) => {
                self.tokens.last().is_some_and(|before| before.span.end < self.at)
            }
        };
        follows && after
    }

    fn sign_or_text(&mut self) -> Result<bool, SyntaxError> {
        let foreign = FOREIGN.iter().find(|(sign, _)| self.rest().starts_with(sign) && !self.rest().starts_with("!="));
        if let Some((sign, ours)) = foreign {
            return self.error(self.at + sign.len(), format!("`{sign}` is not of this language: write {ours}"));
        }
        if let Some(sign) = SIGNS.into_iter().find(|sign| self.rest().starts_with(sign)) {
            self.push(Token::Sign(sign), sign.len());
            return Ok(true);
        }
        let len = timestamp(self.rest()).unwrap_or_else(|| run(self.rest()));
        let text = self.rest().get(..len).unwrap_or_default().to_owned();
        self.push(Token::Text(text), len);
        Ok(true)
    }

    fn quoted(&mut self, quote: char) -> Result<(), SyntaxError> {
        let mut pieces = vec![Piece::default()];
        let mut escaped = false;
        for (offset, c) in self.rest().char_indices().skip(1) {
            let Some(piece) = pieces.last_mut() else { break };
            if escaped {
                escaped = false;
                match c {
                    'n' => piece.push('\n'),
                    't' => piece.push('\t'),
                    '\\' | '"' | '\'' | '*' => piece.push(c),
                    _ => {
                        self.at += offset - 1;
                        let message = format!(
                            "`\\{c}` is no escape: write `\\\\` for a backslash; `\\\"`, `\\'`, `\\*`, `\\n` and `\\t` are escapes"
                        );
                        return self.error(self.at + 1 + c.len_utf8(), message);
                    }
                }
            } else if c == '\\' {
                escaped = true;
            } else if c == '*' {
                pieces.push(Piece::default());
            } else if c == quote {
                self.push(Token::Quoted(pieces), offset + 1);
                return Ok(());
            } else {
                piece.push(c);
            }
        }
        self.error(self.text.len(), format!("this text has no end: close it with `{quote}`"))
    }
}

/// Length of a run of characters that are neither blanks, quotes nor signs.
fn run(text: &str) -> usize {
    let ends = |c: char| c.is_whitespace() || "():=<>!,\"'".contains(c);
    text.find(ends).unwrap_or(text.len())
}

/// Length of a timestamp (RFC 3339), whose colons are no signs.
fn timestamp(text: &str) -> Option<usize> {
    let len = text.find(|c: char| c.is_whitespace() || c == ')' || c == ',').unwrap_or(text.len());
    let stamp = text.get(..len)?;
    let shape: String = stamp.chars().take(19).map(|c| if c.is_ascii_digit() { '0' } else { c }).collect();
    let rest_fits = stamp.chars().skip(19).all(|c| c.is_ascii_digit() || "Z.:+-".contains(c));
    (shape == "0000-00-00T00:00:00" && rest_fits).then_some(len)
}
