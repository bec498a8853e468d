//! Builds the tree from what a parser reports, and refuses what exceeds the limits.
//!
//! Any syntax with a serde deserializer can use it; the checks are then the same for all of them.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};

use super::Limits;
use super::problem::{Place, Problem, quoted};

/// Builds one tree, counting as it goes.
pub(super) struct Builder {
    limits: Limits,
    depth: usize,
    nodes: usize,
    text_bytes: usize,
    /// Why the builder stopped.
    failure: Option<String>,
    /// Where it or the parser stopped, from the inside out; empty while all is well.
    steps: Vec<Step>,
}

enum Step {
    Key(String),
    Index(usize),
}

impl Builder {
    pub(super) fn new(limits: &Limits) -> Builder {
        Builder { limits: *limits, depth: 0, nodes: 0, text_bytes: 0, failure: None, steps: Vec::new() }
    }

    /// Takes one value from the parser.
    pub(super) fn build<'de, D: Deserializer<'de>>(&mut self, from: D) -> Result<Value, D::Error> {
        Node(self).deserialize(from)
    }

    /// What the builder itself objected to; `None` when the parser did.
    pub(super) fn failure(&self) -> Option<Problem> {
        let message = self.failure.as_deref()?;
        Some(self.problem_here(message))
    }

    /// A problem with a key of the object that was being built when the parser stopped.
    pub(super) fn problem_at_key(&mut self, key: &str, message: &str) -> Problem {
        self.steps.insert(0, Step::Key(key.to_owned()));
        self.problem_here(message)
    }

    fn problem_here(&self, message: &str) -> Problem {
        let mut problem = Problem::whole(message);
        problem.path = rendered(&self.steps, Place::Root);
        problem
    }

    /// Counts one value.
    pub(super) fn node(&mut self) -> Result<(), ()> {
        self.nodes += 1;
        if self.nodes > self.limits.max_nodes {
            let message = format!("document has more than {} values", self.limits.max_nodes);
            return self.fail(message);
        }
        Ok(())
    }

    /// Counts text. Only aliases can make the text of a tree much larger than its document.
    fn text(&mut self, text: &str) -> Result<(), ()> {
        self.text_bytes = self.text_bytes.saturating_add(text.len());
        if self.text_bytes > self.limits.max_bytes.saturating_mul(2) {
            return self.fail("aliases repeat too much text".to_owned());
        }
        Ok(())
    }

    /// Goes one level down; the caller comes up again with [`Builder::leave`].
    pub(super) fn enter(&mut self) -> Result<(), ()> {
        self.depth += 1;
        if self.depth > self.limits.max_depth {
            let message = format!("nested deeper than {} levels", self.limits.max_depth);
            return self.fail(message);
        }
        Ok(())
    }

    pub(super) fn leave(&mut self) {
        self.depth -= 1;
    }

    /// Refuses the document for `message`.
    pub(super) fn fail(&mut self, message: String) -> Result<(), ()> {
        self.failure.get_or_insert(message);
        Err(())
    }

    /// Notes, on the way out of a failure, where it was.
    pub(super) fn failed_in_key(&mut self, key: &str) {
        self.steps.push(Step::Key(key.to_owned()));
    }

    /// As [`Builder::failed_in_key`], for an element of a list.
    pub(super) fn failed_in_element(&mut self, index: usize) {
        self.steps.push(Step::Index(index));
    }
}

/// The number as JSON holds it, or the name the proto3 JSON mapping gives it.
pub(super) fn float(number: f64) -> Value {
    match Number::from_f64(number) {
        Some(number) => Value::Number(number),
        None if number.is_nan() => Value::from("NaN"),
        None if number > 0.0 => Value::from("Infinity"),
        None => Value::from("-Infinity"),
    }
}

/// Renders steps kept inside out; recursion is bounded by the depth limit.
fn rendered(steps: &[Step], at: Place<'_>) -> String {
    match steps.split_last() {
        None => at.to_string(),
        Some((Step::Key(key), inner)) => rendered(inner, Place::Field(&at, key)),
        Some((Step::Index(index), inner)) => rendered(inner, Place::Index(&at, *index)),
    }
}

/// The parser's error for a failure the builder keeps; the builder's own text is what people see.
fn stopped<E: Error>((): ()) -> E {
    E::custom("refused")
}

/// One value to come.
struct Node<'b>(&'b mut Builder);

impl<'de> DeserializeSeed<'de> for Node<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<Value, D::Error> {
        self.0.node().map_err(stopped)?;
        from.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Node<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<Value, E> {
        Ok(Value::from(value))
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<Value, E> {
        Ok(Value::from(value))
    }

    // Beyond 64 bits only floating point fields can take a number, and they round anyway.
    fn visit_i128<E: Error>(self, value: i128) -> Result<Value, E> {
        Ok(float(value as f64))
    }

    fn visit_u128<E: Error>(self, value: u128) -> Result<Value, E> {
        Ok(float(value as f64))
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Value, E> {
        Ok(float(value))
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<Value, E> {
        self.0.text(value).map_err(stopped)?;
        Ok(Value::from(value))
    }

    fn visit_string<E: Error>(self, value: String) -> Result<Value, E> {
        self.0.text(&value).map_err(stopped)?;
        Ok(Value::String(value))
    }

    fn visit_unit<E: Error>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_none<E: Error>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_some<D: Deserializer<'de>>(self, from: D) -> Result<Value, D::Error> {
        from.deserialize_any(self)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut from: A) -> Result<Value, A::Error> {
        let builder = self.0;
        builder.enter().map_err(stopped)?;
        let mut list = Vec::new();
        loop {
            match from.next_element_seed(Node(builder)) {
                Ok(Some(value)) => list.push(value),
                Ok(None) => break,
                Err(error) => {
                    builder.failed_in_element(list.len());
                    return Err(error);
                }
            }
        }
        builder.leave();
        Ok(Value::Array(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut from: A) -> Result<Value, A::Error> {
        let builder = self.0;
        builder.enter().map_err(stopped)?;
        let mut map = Map::new();
        while let Some(key) = from.next_key_seed(Key)? {
            builder.text(&key).map_err(stopped)?;
            if map.contains_key(&key) {
                let twice = builder.fail(format!("key {} is given twice", quoted(&key)));
                builder.failed_in_key(&key);
                twice.map_err(stopped)?;
            }
            let value = from.next_value_seed(Node(builder)).inspect_err(|_| builder.failed_in_key(&key))?;
            map.insert(key, value);
        }
        builder.leave();
        Ok(Value::Object(map))
    }
}

/// A key, as it is written: `1.10` and `yes` are text here whatever they would be as values.
struct Key;

impl<'de> DeserializeSeed<'de> for Key {
    type Value = String;

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<String, D::Error> {
        from.deserialize_str(self)
    }
}

impl Visitor<'_> for Key {
    type Value = String;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key")
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<String, E> {
        Ok(value.to_owned())
    }

    fn visit_string<E: Error>(self, value: String) -> Result<String, E> {
        Ok(value)
    }
}
