//! The language of filters (AIP-160): parsed, checked against a table of fields, and asked of rows.
//!
//! Three-valued: a test of what is not known is neither met nor not met, and so is its opposite; `unknown(…)` asks for that.

mod lex;
mod parse;
mod pattern;
mod query;
#[cfg(test)]
mod tests;
mod value;

pub use parse::{Comparison, DEPTH_MAX, LEN_MAX, Node, Operator, Span, SyntaxError, TERMS_MAX, character, parse};
pub(in crate::catalog) use query::folded_words;
pub use query::{Near, Problem, Query, Row, Schema, Subject, Test, Wanted, Word, check, words_of};
pub use value::{Kind, List, Value, Values};
