//! JSON Schema (2020-12) of a message as a text document.
//!
//! It describes the form that our own files have: proto field names, enum values in their short or full form. The reader
//! takes more spellings than that; a document that the schema takes, the reader takes.

use std::collections::BTreeMap;

use prost_reflect::{EnumDescriptor, FieldDescriptor, FileDescriptor, Kind, MessageDescriptor};
use serde_json::{Map, Value, json};

use super::enums;

/// The full name of a message and those of its fields that must be there.
pub type Required = (&'static str, &'static [&'static str]);

/// What a field's comment starts with when only the service writes it.
const OUTPUT_ONLY: &str = "Output only.";
/// Part of a request rather than of a document: it ties a write to what was read.
const NOT_WRITTEN: &str = "etag";

/// The schema of a document that holds one message. Fields that only the service writes are left out. `None` for a message
/// that has another form in text than an object.
#[must_use]
pub fn schema(descriptor: &MessageDescriptor, required: &[Required]) -> Option<Value> {
    if is_well_known(descriptor) {
        return None;
    }
    let mut definitions = BTreeMap::new();
    define(descriptor, required, &mut definitions);
    Some(json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": descriptor.name(),
        "$ref": format!("#/$defs/{}", key(descriptor)),
        "$defs": definitions,
    }))
}

/// Adds a message, and every message below it, to the definitions.
fn define(descriptor: &MessageDescriptor, required: &[Required], definitions: &mut BTreeMap<String, Value>) {
    let name = key(descriptor);
    if definitions.contains_key(&name) {
        return;
    }
    // The place is taken before going deeper, so that a message inside itself ends here.
    definitions.insert(name.clone(), Value::Null);
    let needed = required.iter().find(|(message, _)| *message == descriptor.full_name()).map_or(&[][..], |(_, f)| f);
    let mut properties = Map::new();
    for field in descriptor.fields() {
        let about = comment(&field.parent_message().parent_file(), field.path());
        if about.starts_with(OUTPUT_ONLY) || field.name() == NOT_WRITTEN {
            continue;
        }
        let mut shape = shape(&field, needed.contains(&field.name()), required, definitions);
        if let (Value::Object(shape), false) = (&mut shape, about.is_empty()) {
            shape.insert("description".to_owned(), about.into());
        }
        properties.insert(field.name().to_owned(), shape);
    }
    let mut object = Map::new();
    let about = comment(&descriptor.parent_file(), descriptor.path());
    if !about.is_empty() {
        object.insert("description".to_owned(), about.into());
    }
    object.insert("type".to_owned(), "object".into());
    object.insert("properties".to_owned(), Value::Object(properties));
    if !needed.is_empty() {
        object.insert("required".to_owned(), needed.to_vec().into());
    }
    object.insert("additionalProperties".to_owned(), false.into());
    definitions.insert(name, Value::Object(object));
}

fn shape(
    field: &FieldDescriptor,
    needed: bool,
    required: &[Required],
    definitions: &mut BTreeMap<String, Value>,
) -> Value {
    if field.is_map() {
        let Kind::Message(entry) = field.kind() else { return json!({ "type": "object" }) };
        let values = single(&entry.map_entry_value_field().kind(), false, required, definitions);
        return json!({ "type": "object", "additionalProperties": values });
    }
    // Neither a list nor a field that must be set takes the zero value, which stands for absence.
    let value = single(&field.kind(), needed || field.is_list(), required, definitions);
    if field.is_list() {
        return json!({ "type": "array", "items": value });
    }
    value
}

fn single(kind: &Kind, set: bool, required: &[Required], definitions: &mut BTreeMap<String, Value>) -> Value {
    match kind {
        Kind::Bool => json!({ "type": "boolean" }),
        Kind::String | Kind::Bytes => json!({ "type": "string" }),
        Kind::Double | Kind::Float => json!({ "type": "number" }),
        Kind::Int32 | Kind::Sint32 | Kind::Sfixed32 => {
            json!({ "type": "integer", "minimum": i32::MIN, "maximum": i32::MAX })
        }
        Kind::Uint32 | Kind::Fixed32 => json!({ "type": "integer", "minimum": 0, "maximum": u32::MAX }),
        Kind::Int64 | Kind::Sint64 | Kind::Sfixed64 => json!({ "type": "integer" }),
        Kind::Uint64 | Kind::Fixed64 => json!({ "type": "integer", "minimum": 0 }),
        Kind::Enum(descriptor) => json!({ "enum": names(descriptor, set) }),
        // Times, durations, wrappers: their text forms are their own, and no file of ours has one.
        Kind::Message(descriptor) if is_well_known(descriptor) => json!({}),
        Kind::Message(descriptor) => {
            define(descriptor, required, definitions);
            json!({ "$ref": format!("#/$defs/{}", key(descriptor)) })
        }
    }
}

/// The short names, then the full ones; `set` leaves out the zero value.
fn names(descriptor: &EnumDescriptor, set: bool) -> Vec<String> {
    let values = || descriptor.values().filter(move |value| !(set && value.number() == 0));
    let short = values().filter_map(|value| enums::short_name_of(descriptor, value.number()));
    let mut names: Vec<String> = short.collect();
    names.extend(values().map(|value| value.name().to_owned()));
    names.dedup();
    names
}

/// Messages that the JSON mapping writes in a form of their own.
fn is_well_known(descriptor: &MessageDescriptor) -> bool {
    descriptor.package_name() == "google.protobuf"
}

/// The name without its package: `ScaleGate.Measured`.
fn key(descriptor: &MessageDescriptor) -> String {
    let full = descriptor.full_name();
    full.strip_prefix(descriptor.package_name()).map_or(full, |rest| rest.trim_start_matches('.')).to_owned()
}

/// The comment before a declaration, as one paragraph; empty when the descriptor holds none.
fn comment(file: &FileDescriptor, path: &[i32]) -> String {
    let source = file.file_descriptor_proto().source_code_info.as_ref();
    let location = source.and_then(|info| info.location.iter().find(|location| location.path == path));
    let text = location.and_then(|location| location.leading_comments.as_deref()).unwrap_or_default();
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}
