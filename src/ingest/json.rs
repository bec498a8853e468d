//! JSON as it stands in a document: every key kept, also one that is given twice, and a bound on how much there is.

use std::cell::Cell;
use std::fmt;

use serde::de::{DeserializeSeed, Error, MapAccess, SeqAccess, Visitor};

use super::{ImportError, Limits};

/// A JSON object with all its keys, sorted by key.
pub(super) type Map = [(Box<str>, Node)];

/// A JSON value.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Node {
    Null,
    Bool(bool),
    Integer(i64),
    /// A number with a fraction, or too large for an integer.
    Float(f64),
    Text(Box<str>),
    List(Vec<Node>),
    Object(Vec<(Box<str>, Node)>),
}

impl Node {
    /// What it is, for a message.
    pub(super) fn kind(&self) -> &'static str {
        match self {
            Self::Null => "null",
            Self::Bool(_) => "a truth value",
            Self::Integer(_) | Self::Float(_) => "a number",
            Self::Text(_) => "a text",
            Self::List(_) => "a list",
            Self::Object(_) => "an object",
        }
    }
}

/// Parses a document.
pub(super) fn parse(bytes: &[u8], limits: &Limits) -> Result<Node, ImportError> {
    const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";
    if bytes.len() > limits.document_bytes_max {
        return Err(ImportError::TooLarge { limit_bytes: limits.document_bytes_max, found: bytes.len() });
    }
    let bytes = bytes.strip_prefix(BYTE_ORDER_MARK).unwrap_or(bytes);
    let left = Cell::new(Some(limits.values_max));
    let mut reader = serde_json::Deserializer::from_slice(bytes);
    let node = Seed { left: &left }.deserialize(&mut reader).and_then(|node| reader.end().map(|()| node));
    node.map_err(|error| match left.get() {
        None => ImportError::TooManyValues { limit: limits.values_max },
        Some(_) => syntax(&error),
    })
}

fn syntax(error: &serde_json::Error) -> ImportError {
    let (line, column) = (error.line(), error.column());
    let text = error.to_string();
    let place = format!(" at line {line} column {column}");
    let detail = text.strip_suffix(&place).unwrap_or(&text).to_owned();
    ImportError::Syntax { line, column, detail }
}

/// Reads one value, and counts it against how many are left; `None`: one too many was met.
#[derive(Clone, Copy)]
pub(super) struct Seed<'a> {
    pub(super) left: &'a Cell<Option<usize>>,
}

impl<'de> DeserializeSeed<'de> for Seed<'_> {
    type Value = Node;

    fn deserialize<D: serde::Deserializer<'de>>(self, deserializer: D) -> Result<Node, D::Error> {
        let left = self.left.get().and_then(|left| left.checked_sub(1));
        self.left.set(left);
        if left.is_none() {
            return Err(D::Error::custom("too many values"));
        }
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Seed<'_> {
    type Value = Node;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Node, E> {
        Ok(Node::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Node, E> {
        Ok(Node::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Node, E> {
        Ok(Node::Integer(value))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Node, E> {
        // Nothing that is read comes near the numbers that lose digits here.
        #[expect(clippy::cast_precision_loss, reason = "such a number is out of every range that is read")]
        Ok(i64::try_from(value).map_or(Node::Float(value as f64), Node::Integer))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Node, E> {
        Ok(Node::Float(value))
    }

    fn visit_str<E>(self, value: &str) -> Result<Node, E> {
        Ok(Node::Text(value.into()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Node, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element_seed(self)? {
            list.push(item);
        }
        Ok(Node::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Node, A::Error> {
        let mut object: Vec<(Box<str>, Node)> = Vec::new();
        while let Some(key) = entries.next_key::<Box<str>>()? {
            object.push((key, entries.next_value_seed(self)?));
        }
        // The order of keys means nothing, so nothing after this may see it.
        object.sort_by(|(a, _), (b, _)| a.cmp(b));
        Ok(Node::Object(object))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(bytes: &[u8]) -> ImportError {
        parse(bytes, &Limits::default()).unwrap_err()
    }

    #[test]
    fn keys_given_twice_are_both_there() {
        let node = parse(br#"{"b":1,"a":null,"b":2.5}"#, &Limits::default()).unwrap();
        let object = vec![("a".into(), Node::Null), ("b".into(), Node::Integer(1)), ("b".into(), Node::Float(2.5))];
        assert_eq!(node, Node::Object(object));
    }

    #[test]
    fn what_is_no_json_is_refused_with_its_place() {
        let check = |bytes: &[u8], text: &str| assert_eq!(error(bytes).to_string(), text);
        check(b"", "the document is no valid JSON at line 1, column 0: EOF while parsing a value");
        check(b"{\"a\":\n{", "the document is no valid JSON at line 2, column 1: EOF while parsing an object");
        check(b"{} x", "the document is no valid JSON at line 1, column 4: trailing characters");
        check(b"1e999", "the document is no valid JSON at line 1, column 5: number out of range");
        check(b"\"\xff\"", "the document is no valid JSON at line 1, column 2: invalid unicode code point");
        let deep = "[".repeat(100_000);
        check(deep.as_bytes(), "the document is no valid JSON at line 1, column 128: recursion limit exceeded");
        assert!(matches!(error(&[0; 1000]), ImportError::Syntax { .. }));
    }

    #[test]
    fn a_document_that_is_too_large_is_not_even_looked_at() {
        let zeros = vec![0; (64 << 20) + 1];
        assert_eq!(error(&zeros), ImportError::TooLarge { limit_bytes: 64 << 20, found: (64 << 20) + 1 });
        let many = format!("[{}0]", "0,".repeat(1_000_000));
        assert_eq!(error(many.as_bytes()), ImportError::TooManyValues { limit: 1_000_000 });
    }

    #[test]
    fn a_byte_order_mark_is_skipped() {
        assert_eq!(parse(b"\xef\xbb\xbf[]", &Limits::default()), Ok(Node::List(vec![])));
    }
}
