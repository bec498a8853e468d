//! From a message to a tree, by the proto3 JSON mapping.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use prost::{DecodeError, Message};
use prost_reflect::{
    DynamicMessage, EnumDescriptor, FieldDescriptor, Kind, MapKey, MessageDescriptor, ReflectMessage, Value,
};
use prost_types::{Duration, Timestamp};
use serde_json::{Map, Value as Tree};

use super::tree::float;
use super::well_known::{DURATION_SECONDS, NULL_VALUE, TIMESTAMP_SECONDS};
use super::{enums, names};

/// Messages nested deeper than this are written as null; no protobuf decoder produces them.
const DEEPEST: usize = 256;

/// How a message is written. The default is the canonical mapping.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WriteStyle {
    /// Field names as in the proto file (`license_expression`) instead of lower camel case.
    pub proto_field_names: bool,
    /// Enum values without their prefix, in lower kebab case (`self-hosted`) instead of the full name.
    pub short_enum_names: bool,
    /// Leave out fields that hold their default. Otherwise fields without presence are always written.
    pub omit_defaults: bool,
}

impl WriteStyle {
    /// The style of data files and of output for people; [`read`](super::read()) takes it back.
    pub const READABLE: WriteStyle =
        WriteStyle { proto_field_names: true, short_enum_names: true, omit_defaults: true };
}

impl Default for WriteStyle {
    fn default() -> Self {
        WriteStyle { proto_field_names: false, short_enum_names: false, omit_defaults: true }
    }
}

/// Why a typed message could not be written.
#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    /// The message is of another type than the descriptor.
    #[error("message does not fit its descriptor `{descriptor}`")]
    Mismatch {
        /// Full name of the descriptor.
        descriptor: String,
        /// What the decoder found.
        source: DecodeError,
    },
}

/// Writes a message as a tree by the proto3 JSON mapping.
///
/// It never fails: values the mapping has no form for (a timestamp out of range, an `Any`) are written as
/// ordinary objects, and unknown fields are left out. Infinity and NaN become text, also inside a
/// `google.protobuf.Value`, where they are then read as text.
pub fn write(message: &DynamicMessage, style: &WriteStyle) -> Tree {
    Writer { style, depth: 0 }.message(message)
}

/// Writes a typed message, which `descriptor` must describe.
pub fn write_of<M: Message>(
    message: &M,
    descriptor: &MessageDescriptor,
    style: &WriteStyle,
) -> Result<Tree, WriteError> {
    let bytes = message.encode_to_vec();
    let message = DynamicMessage::decode(descriptor.clone(), bytes.as_slice());
    message
        .map(|message| write(&message, style))
        .map_err(|source| WriteError::Mismatch { descriptor: descriptor.full_name().to_owned(), source })
}

#[derive(Clone, Copy)]
struct Writer<'s> {
    style: &'s WriteStyle,
    depth: usize,
}

impl Writer<'_> {
    fn message(self, message: &DynamicMessage) -> Tree {
        if self.depth >= DEEPEST {
            return Tree::Null;
        }
        let inner = Writer { depth: self.depth + 1, ..self };
        inner.well_known(message).unwrap_or_else(|| inner.object(message))
    }

    fn object(self, message: &DynamicMessage) -> Tree {
        let mut map = Map::new();
        for field in message.descriptor().fields() {
            let always = !self.style.omit_defaults && !field.supports_presence();
            if !always && !message.has_field(&field) {
                continue;
            }
            let name = if self.style.proto_field_names { field.name() } else { field.json_name() };
            let value = self.field(&message.get_field(&field), &field);
            map.insert(name.to_owned(), value);
        }
        Tree::Object(map)
    }

    fn field(self, value: &Value, field: &FieldDescriptor) -> Tree {
        let kind = field.kind();
        match (value, &kind) {
            (Value::Map(entries), Kind::Message(entry)) if field.is_map() => {
                let kind = entry.map_entry_value_field().kind();
                let entries = entries.iter();
                let entries = entries.map(|(key, value)| (key_text(key), self.value(value, &kind)));
                Tree::Object(entries.collect())
            }
            (value, kind) => self.value(value, kind),
        }
    }

    fn value(self, value: &Value, kind: &Kind) -> Tree {
        match value {
            Value::Bool(value) => Tree::Bool(*value),
            Value::I32(value) => Tree::from(*value),
            Value::U32(value) => Tree::from(*value),
            // Text, because many JSON readers hold numbers as doubles.
            Value::I64(value) => Tree::String(value.to_string()),
            Value::U64(value) => Tree::String(value.to_string()),
            Value::F32(value) => float(short_double(*value)),
            Value::F64(value) => float(*value),
            Value::String(text) => Tree::from(text.as_str()),
            Value::Bytes(bytes) => Tree::String(BASE64_STANDARD.encode(bytes)),
            Value::EnumNumber(number) => match kind {
                Kind::Enum(descriptor) => self.enum_value(descriptor, *number),
                _ => Tree::from(*number),
            },
            Value::Message(message) => self.message(message),
            Value::List(values) => Tree::Array(values.iter().map(|value| self.value(value, kind)).collect()),
            // Maps are fields and never values of something else.
            Value::Map(_) => Tree::Null,
        }
    }

    fn enum_value(self, descriptor: &EnumDescriptor, number: i32) -> Tree {
        if descriptor.full_name() == NULL_VALUE {
            return Tree::Null;
        }
        let name = if self.style.short_enum_names {
            enums::short_name_of(descriptor, number)
        } else {
            let value = descriptor.get_value(number);
            value.map(|value| value.name().to_owned())
        };
        name.map_or_else(|| Tree::from(number), Tree::String)
    }

    /// The special form of a well-known message, if it is one and its value has that form.
    fn well_known(self, message: &DynamicMessage) -> Option<Tree> {
        let descriptor = message.descriptor();
        match descriptor.full_name().strip_prefix("google.protobuf.")? {
            "Timestamp" => {
                let (seconds, nanos) = seconds_and_nanos(message)?;
                let valid = TIMESTAMP_SECONDS.contains(&seconds) && (0..1_000_000_000).contains(&nanos);
                valid.then(|| Tree::String(Timestamp { seconds, nanos }.to_string()))
            }
            "Duration" => {
                let (seconds, nanos) = seconds_and_nanos(message)?;
                let one_sign = seconds.signum() * i64::from(nanos.signum()) >= 0;
                let valid = DURATION_SECONDS.contains(&seconds) && nanos.unsigned_abs() < 1_000_000_000 && one_sign;
                valid.then(|| Tree::String(Duration { seconds, nanos }.to_string()))
            }
            "FieldMask" => {
                let paths = message.get_field_by_number(1)?;
                let paths = paths.as_list()?.iter();
                let paths: Vec<String> = paths.filter_map(|path| path.as_str().map(names::camel_path)).collect();
                Some(Tree::String(paths.join(",")))
            }
            "Struct" | "ListValue" | "DoubleValue" | "FloatValue" | "Int64Value" | "UInt64Value" | "Int32Value"
            | "UInt32Value" | "BoolValue" | "StringValue" | "BytesValue" => {
                let field = descriptor.get_field(1)?;
                Some(self.field(&message.get_field(&field), &field))
            }
            "Value" => {
                let mut fields = descriptor.fields();
                let given = fields.find(|field| message.has_field(field));
                Some(given.map_or(Tree::Null, |field| self.field(&message.get_field(&field), &field)))
            }
            _ => None,
        }
    }
}

fn key_text(key: &MapKey) -> String {
    match key {
        MapKey::Bool(key) => key.to_string(),
        MapKey::I32(key) => key.to_string(),
        MapKey::I64(key) => key.to_string(),
        MapKey::U32(key) => key.to_string(),
        MapKey::U64(key) => key.to_string(),
        MapKey::String(key) => key.clone(),
    }
}

fn seconds_and_nanos(message: &DynamicMessage) -> Option<(i64, i32)> {
    let seconds = message.get_field_by_number(1)?.as_i64()?;
    let nanos = message.get_field_by_number(2)?.as_i32()?;
    Some((seconds, nanos))
}

/// The double with the fewest digits that is this float: 0.1 stays 0.1 instead of 0.10000000149011612.
fn short_double(single: f32) -> f64 {
    let exact = f64::from(single);
    #[expect(clippy::cast_possible_truncation, reason = "that it rounds back is what is checked")]
    let rounds_back = |short: &f64| (*short as f32).to_bits() == single.to_bits();
    let short = single.to_string().parse().ok();
    short.filter(rounds_back).unwrap_or(exact)
}
