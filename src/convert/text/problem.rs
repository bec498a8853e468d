//! What is wrong with a document, and where.

use std::fmt;

/// One thing wrong with a document, for the person who wrote it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Where in the tree, such as `scale_gates[0].metric` or `labels["a.b"]`; empty for the whole document.
    pub path: String,
    /// What is wrong and what was expected.
    pub message: String,
    /// Line in the text, from 1, when the parser knows it.
    pub line: Option<u32>,
    /// Column in the line, from 1, when the parser knows it.
    pub column: Option<u32>,
}

impl Problem {
    /// A problem with the whole document.
    pub(super) fn whole(message: impl Into<String>) -> Problem {
        Problem { path: String::new(), message: message.into(), line: None, column: None }
    }

    /// The same problem, at a place in the text.
    pub(super) fn at(mut self, line: Option<u32>, column: Option<u32>) -> Problem {
        self.line = line;
        self.column = column;
        self
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.line, self.column) {
            (Some(line), Some(column)) => write!(f, "line {line}, column {column}: ")?,
            (Some(line), None) => write!(f, "line {line}: ")?,
            (None, _) => {}
        }
        if !self.path.is_empty() {
            write!(f, "{}: ", self.path)?;
        }
        f.write_str(&self.message)
    }
}

impl std::error::Error for Problem {}

/// A place in the tree. Borrowed links, so that a document without problems never renders one.
#[derive(Clone, Copy)]
pub(super) enum Place<'a> {
    /// The document.
    Root,
    /// A field of an object, by its proto name (or as written, when unknown).
    Field(&'a Place<'a>, &'a str),
    /// An element of a list.
    Index(&'a Place<'a>, usize),
    /// An entry of a map.
    Key(&'a Place<'a>, &'a str),
}

impl fmt::Display for Place<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Place::Root => Ok(()),
            Place::Index(parent, index) => write!(f, "{parent}[{index}]"),
            Place::Key(parent, key) => write!(f, "{parent}[\"{}\"]", clipped(key)),
            Place::Field(parent, name) if !is_plain(name) => {
                write!(f, "{parent}[\"{}\"]", clipped(name))
            }
            Place::Field(Place::Root, name) => f.write_str(name),
            Place::Field(parent, name) => write!(f, "{parent}.{name}"),
        }
    }
}

/// User input for a message: in backticks, on one line, not too long.
pub(super) fn quoted(input: &str) -> String {
    format!("`{}`", clipped(input))
}

/// Input on one line and not too long, so that a message stays readable whatever the document holds.
fn clipped(input: &str) -> String {
    const LONGEST: usize = 60;
    let mut out = String::new();
    for (count, c) in input.chars().enumerate() {
        if count == LONGEST {
            out.push('…');
            break;
        }
        if c.is_control() {
            out.extend(c.escape_default());
        } else {
            out.push(c);
        }
    }
    out
}

/// Whether a name can stand in a path without quotes.
fn is_plain(name: &str) -> bool {
    !name.is_empty() && name.len() <= 60 && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-')
}
