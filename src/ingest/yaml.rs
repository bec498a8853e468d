//! YAML as a tree. Anchors are expanded while the values are counted, so a document of nothing but aliases stops early.

use std::cell::Cell;

use serde::de::DeserializeSeed as _;

use super::json::{Node, Seed};

/// Deepest nesting that is read.
const DEPTH_MAX: usize = 32;

/// Parses one document, and takes its values from what is left for the whole import.
///
/// # Errors
/// What is wrong with it, in a sentence.
pub(super) fn parse(bytes: &[u8], left: &mut usize) -> Result<Node, String> {
    let text = std::str::from_utf8(bytes).map_err(|e| format!("it is no UTF-8 from byte {}", e.valid_up_to() + 1))?;
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let budget = serde_saphyr::budget! {
        max_depth: DEPTH_MAX,
        max_nodes: *left,
        max_events: left.saturating_mul(3),
        max_documents: 1,
        max_total_scalar_bytes: bytes.len().saturating_mul(2),
        max_recorded_anchor_bytes: bytes.len().saturating_mul(2),
    };
    let options = serde_saphyr::options! {
        budget: budget,
        // `no` is a country: only `true` and `false` are truth values.
        strict_booleans: true,
        // `007` and `1_000` are as likely identifiers.
        leading_zero_numbers_as_strings: true,
        underscored_numbers_as_strings: true,
        reject_unsupported_tags: true,
    };
    let counter = Cell::new(Some(*left));
    let parsed = serde_saphyr::with_deserializer_from_str_with_options(text, options, |from| {
        Seed { left: &counter }.deserialize(from)
    });
    match counter.get() {
        Some(rest) => *left = rest,
        None => return Err("it holds more values than an import takes".to_owned()),
    }
    parsed.map_err(|error| {
        let place = error.location().map(|at| format!("line {}, column {}: ", at.line(), at.column()));
        let message = error.without_snippet().to_string();
        let message = message.split(" at line ").next().unwrap_or(&message);
        let message =
            message.split_once(": ").filter(|(head, _)| head.starts_with("line ")).map_or(message, |(_, m)| m);
        format!("it is no YAML that is read here: {}{}", place.unwrap_or_default(), crate::domain::name::shown(message))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse_text(text: &str) -> Result<Node, String> {
        parse(text.as_bytes(), &mut 10_000)
    }

    #[test]
    fn a_document_becomes_a_tree() {
        let node = parse_text("\u{feff}a: 1\nb: [x, null, true]\nc: 'no'\r\nd: no\n").unwrap();
        let Node::Object(map) = node else { panic!() };
        assert_eq!(map.len(), 4);
        assert_eq!(map[3], ("d".into(), Node::Text("no".into())));
    }

    #[test]
    fn hostile_documents_are_refused_in_a_sentence() {
        let mut bomb = String::from("a0: &a0 [x,x,x,x,x,x,x,x,x,x]\n");
        for i in 1..12 {
            let of = format!("*a{}", i - 1);
            bomb.push_str(&format!("a{i}: &a{i} [{}]\n", vec![of; 10].join(",")));
        }
        let deep = format!("{}x", "- ".repeat(200));
        let deep_flow = "[".repeat(100_000);
        for text in [
            bomb.as_str(),
            &deep,
            &deep_flow,
            "a: 1\na: 2\n",
            "a: [",
            "a: 1\n---\nb: 2\n",
            "a: !!js/function x",
            "a: b: c",
        ] {
            let problem = parse_text(text).unwrap_err();
            assert!(problem.len() < 300, "{problem}");
        }
        assert_eq!(parse(b"a: \xff", &mut 10).unwrap_err(), "it is no UTF-8 from byte 4");
        let many = format!("[{}0]", "0,".repeat(100));
        let mut left = 50;
        assert!(parse(many.as_bytes(), &mut left).is_err());
    }

    #[test]
    fn what_one_document_uses_the_next_does_not_have() {
        let mut left = 10;
        assert!(parse(b"[1, 2, 3, 4, 5]", &mut left).is_ok());
        assert_eq!(left, 4);
        assert!(parse(b"[1, 2, 3, 4, 5]", &mut left).is_err());
    }
}
