//! Tolerant reading of single values: what can not be used becomes absent, and a warning says why.

use std::collections::BTreeMap;

use super::json::{Map, Node};
use super::{Limits, Stage};
use crate::domain::date::Date;
use crate::domain::model::Modality;
use crate::domain::name::shown;

/// Warnings of one record, and different unknown fields of a document, at most: a document of nothing else must not
/// grow in memory.
const WARNINGS_MAX: usize = 64;
const LIST_MAX: usize = 64;
const UNKNOWN_FIELDS_MAX: usize = 1000;

/// Reads the fields of one record. A field is named by its path in the record, whose last part is its key.
pub(super) struct Reader<'a> {
    limits: &'a Limits,
    warnings: Vec<String>,
}

impl<'a> Reader<'a> {
    pub(super) fn new(limits: &'a Limits) -> Self {
        Self { limits, warnings: Vec::new() }
    }

    /// The warnings so far, sorted, so that the order of reading does not show.
    pub(super) fn finish(self) -> Vec<String> {
        let mut warnings = self.warnings;
        warnings.sort();
        warnings
    }

    pub(super) fn warn(&mut self, path: &str, problem: &str) {
        match self.warnings.len() {
            ..WARNINGS_MAX => self.warnings.push(format!("`{path}` {problem}")),
            WARNINGS_MAX => self.warnings.push("further warnings are not listed".to_owned()),
            _ => {}
        }
    }

    fn left_out(&mut self, path: &str, problem: &str) {
        self.warn(path, &format!("{problem}: left out"));
    }

    /// A field that is there once. `null` says nothing, so it counts as absent.
    pub(super) fn field<'n>(&mut self, map: &'n Map, path: &str) -> Option<&'n Node> {
        let key = path.rsplit('.').next().unwrap_or(path);
        let mut found = map.iter().filter(|(name, _)| **name == *key).map(|(_, node)| node);
        let first = found.next()?;
        if found.next().is_some() {
            self.left_out(path, "is given more than once");
            return None;
        }
        (*first != Node::Null).then_some(first)
    }

    fn wrong(&mut self, path: &str, node: &Node, expected: &str) {
        self.left_out(path, &format!("is {}, not {expected}", node.kind()));
    }

    pub(super) fn object<'n>(&mut self, map: &'n Map, path: &str) -> Option<&'n Map> {
        match self.field(map, path)? {
            Node::Object(object) => Some(object),
            other => {
                self.wrong(path, other, "an object");
                None
            }
        }
    }

    pub(super) fn list<'n>(&mut self, map: &'n Map, path: &str) -> &'n [Node] {
        match self.field(map, path) {
            None => &[],
            Some(Node::List(list)) => list,
            Some(other) => {
                self.wrong(path, other, "a list");
                &[]
            }
        }
    }

    pub(super) fn flag(&mut self, map: &Map, path: &str) -> Option<bool> {
        match self.field(map, path)? {
            Node::Bool(flag) => Some(*flag),
            other => {
                self.wrong(path, other, "a truth value");
                None
            }
        }
    }

    fn raw_text<'n>(&mut self, map: &'n Map, path: &str) -> Option<&'n str> {
        match self.field(map, path)? {
            Node::Text(text) if text.len() <= self.limits.text_bytes_max => Some(text),
            Node::Text(text) => {
                let limit = self.limits.text_bytes_max;
                self.left_out(path, &format!("has {} bytes, at most {limit} are kept", text.len()));
                None
            }
            other => {
                self.wrong(path, other, "a text");
                None
            }
        }
    }

    /// A text of one line, without blanks at its ends or doubled ones inside.
    pub(super) fn text(&mut self, map: &Map, path: &str) -> Option<Box<str>> {
        let raw = self.raw_text(map, path)?;
        let line: String = raw.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
        let line = line.split_whitespace().collect::<Vec<_>>().join(" ");
        if line.is_empty() {
            self.left_out(path, "is blank");
            return None;
        }
        if line != raw {
            self.warn(path, "has stray blanks: mended");
        }
        Some(line.into())
    }

    /// A text of one line where one stands; numbers are taken as they would be written. Nothing and blanks are absent,
    /// which these sources write for "not known".
    pub(super) fn word(&mut self, map: &Map, path: &str) -> Option<Box<str>> {
        match self.field(map, path)? {
            Node::Text(text) if text.trim().is_empty() => None,
            Node::Integer(number) => Some(number.to_string().into()),
            Node::Float(number) => Some(number.to_string().into()),
            _ => self.text(map, path),
        }
    }

    /// One text, or several as a list; what is no text is left out.
    pub(super) fn words(&mut self, map: &Map, path: &str) -> Vec<Box<str>> {
        let Some(Node::List(list)) = self.field(map, path) else {
            return self.word(map, path).into_iter().collect();
        };
        let mut found = Vec::new();
        if list.len() > LIST_MAX {
            self.warn(path, &format!("has {} entries: the first {LIST_MAX} are read", list.len()));
        }
        for node in list.iter().take(LIST_MAX) {
            let one = [(path.into(), node.clone())];
            found.extend(self.word(&one, path));
        }
        found
    }

    /// A text of any number of lines, as one line.
    pub(super) fn prose(&mut self, map: &Map, path: &str) -> Option<Box<str>> {
        match self.field(map, path)? {
            Node::Text(text) if text.len() <= self.limits.text_bytes_max.saturating_mul(16) => {
                Some(text.split_whitespace().collect::<Vec<_>>().join(" ").into())
            }
            Node::Text(text) => {
                self.left_out(path, &format!("has {} bytes", text.len()));
                None
            }
            _ => self.word(map, path),
        }
    }

    /// A number with or without a fraction, above zero.
    pub(super) fn decimal(&mut self, map: &Map, path: &str) -> Option<f64> {
        let node = self.field(map, path)?;
        match number(node) {
            Some(number) if number.is_finite() && number > 0.0 => Some(number),
            Some(number) => {
                self.left_out(path, &format!("is {number}, not above zero"));
                None
            }
            None => {
                self.wrong(path, node, "a number");
                None
            }
        }
    }

    pub(super) fn url(&mut self, map: &Map, path: &str) -> Option<Box<str>> {
        let url = self.text(map, path)?;
        if url.contains("${") {
            self.left_out(path, &format!("is a template to fill in, `{}`", shown(&url)));
            return None;
        }
        let web = url.starts_with("https://") || url.starts_with("http://");
        if !web || url.contains(char::is_whitespace) {
            self.left_out(path, &format!("is no URL, `{}`", shown(&url)));
            return None;
        }
        Some(url)
    }

    /// A date of the calendar. The start of the Unix epoch is what programs write for "no date".
    pub(super) fn date(&mut self, map: &Map, path: &str) -> Option<Date> {
        let text = self.text(map, path)?;
        match Date::parse(&text) {
            Ok(date) if Some(date.first_day()) == Date::from_day(1970, 1, 1) => {
                self.left_out(path, &format!("is a placeholder, `{date}`"));
                None
            }
            Ok(date) => Some(date),
            Err(error) => {
                self.left_out(path, &format!("is wrong, {error}"));
                None
            }
        }
    }

    /// A number of tokens. Sources write 0 for "unknown" and for "does not apply".
    pub(super) fn tokens(&mut self, map: &Map, path: &str) -> Option<i64> {
        let node = self.field(map, path)?;
        let Some(number) = number(node) else {
            self.wrong(path, node, "a number");
            return None;
        };
        let Some(tokens) = whole(node) else {
            self.left_out(path, &format!("is {number}, no whole number of tokens"));
            return None;
        };
        match tokens {
            0 => self.left_out(path, "is 0"),
            ..0 => self.left_out(path, &format!("is {tokens}, below zero")),
            _ if tokens > self.limits.tokens_max => {
                let limit = self.limits.tokens_max;
                self.left_out(path, &format!("is {tokens}, more than the {limit} that any model has"));
            }
            _ => return Some(tokens),
        }
        None
    }

    /// A price, without the noise of binary fractions.
    pub(super) fn price(&mut self, map: &Map, path: &str) -> Option<f64> {
        let node = self.field(map, path)?;
        let Some(price) = number(node) else {
            self.wrong(path, node, "a number");
            return None;
        };
        let limit = self.limits.price_usd_max;
        if !(0.0..=limit).contains(&price) {
            self.left_out(path, &format!("is {price}, not between 0 and {limit}"));
            return None;
        }
        let rounded = without_noise(price);
        if (rounded - price).abs() > price * 1e-9 {
            self.warn(path, &format!("is {price}: rounded to {rounded}"));
        }
        Some(rounded)
    }

    pub(super) fn modalities(&mut self, map: &Map, path: &str) -> Vec<Modality> {
        let mut found = Vec::new();
        for node in self.list(map, path) {
            match node {
                Node::Text(word) => match Modality::parse(&word.to_ascii_uppercase()) {
                    Some(modality) => found.push(modality),
                    None => self.left_out(path, &format!("holds `{}`, no known modality", shown(word))),
                },
                other => self.wrong(path, other, "a text"),
            }
        }
        found.sort();
        found.dedup();
        found
    }

    pub(super) fn stage(&mut self, map: &Map, path: &str) -> Option<Stage> {
        let word = self.text(map, path)?;
        match &*word {
            "alpha" => Some(Stage::Alpha),
            "beta" => Some(Stage::Beta),
            "deprecated" => Some(Stage::Deprecated),
            _ => {
                self.left_out(path, &format!("is `{}`, no known stage", shown(&word)));
                None
            }
        }
    }

    /// Says so where a record gives another id than the key it stands under. The key counts.
    pub(super) fn id(&mut self, map: &Map, key: &str) {
        if let Some(id) = self.raw_text(map, "id")
            && id != key
        {
            self.warn("id", &format!("is `{}`, another than its key: the key counts", shown(id)));
        }
    }
}

fn number(node: &Node) -> Option<f64> {
    match node {
        #[expect(clippy::cast_precision_loss, reason = "whole numbers are read by `whole`; prices are far smaller")]
        Node::Integer(number) => Some(*number as f64),
        Node::Float(number) => Some(*number),
        _ => None,
    }
}

/// `2` and `2.0` are the same number.
fn whole(node: &Node) -> Option<i64> {
    match node {
        Node::Integer(number) => Some(*number),
        #[expect(clippy::cast_possible_truncation, reason = "the cast saturates, and the limit is far below that")]
        Node::Float(number) => (number.fract() == 0.0).then_some(*number as i64),
        _ => None,
    }
}

/// Six digits are more than any price list has, and fewer than where binary noise begins.
fn without_noise(price: f64) -> f64 {
    // Also makes `-0` a plain zero.
    format!("{price:.5e}").parse().unwrap_or(price) + 0.0
}

/// Counts the fields of an object that are not known; under `…` when there are too many different ones.
pub(super) fn count_unknown(unknown: &mut BTreeMap<String, u32>, map: &Map, prefix: &str, known: &[&str]) {
    for (key, _) in map.iter().filter(|(key, _)| !known.contains(&&**key)) {
        let path = format!("{prefix}{}", shown(key));
        let full = unknown.len() >= UNKNOWN_FIELDS_MAX && !unknown.contains_key(&path);
        let count = unknown.entry(if full { "…".to_owned() } else { path }).or_default();
        *count = count.saturating_add(1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn binary_noise_goes_and_small_prices_stay() {
        let check = |from: f64, to: f64| assert_eq!(without_noise(from).to_bits(), to.to_bits(), "{from}");
        check(0.049_999_999_999_999_996, 0.05);
        check(0.829_999_999_999_999_8, 0.83);
        check(0.000_001_25, 0.000_001_25);
        check(600.0, 600.0);
        check(0.0, 0.0);
        check(-0.0, 0.0);
        check(1.788, 1.788);
    }
}
