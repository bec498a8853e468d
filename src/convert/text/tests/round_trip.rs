//! What is written is read back as the same message, in every style, and through every syntax that can hold it.

use std::collections::HashMap;
use std::sync::LazyLock;

use proptest::prelude::*;
use prost::Message;
use prost_reflect::{DynamicMessage, FieldDescriptor, Kind, MapKey, MessageDescriptor, Value};

use super::super::{Limits, Syntax, WriteStyle, parse, read, write};
use super::{descriptor, lines};

static ALL: LazyLock<MessageDescriptor> = LazyLock::new(|| descriptor("All"));

/// Any message of the type, nested at most `depth` messages deep.
fn message(descriptor: &MessageDescriptor, depth: u32) -> BoxedStrategy<DynamicMessage> {
    let name = descriptor.full_name();
    match name.strip_prefix("google.protobuf.").unwrap_or_default() {
        "Timestamp" => return timed(descriptor, -62_135_596_800..=253_402_300_799, false),
        "Duration" => return timed(descriptor, -315_576_000_000..=315_576_000_000, true),
        "Value" => return open_value(descriptor, depth),
        "FieldMask" => {
            let path = "[a-z]{1,4}(_[a-z]{1,3}){0,2}(\\.[a-z]{1,4}){0,2}";
            let of = descriptor.clone();
            let paths = prop::collection::vec(path.prop_map(Value::String), 0..4);
            return paths.prop_map(move |paths| with(&of, 1, Value::List(paths))).boxed();
        }
        _ => {}
    }
    let fields: Vec<BoxedStrategy<Option<(FieldDescriptor, Value)>>> = descriptor
        .fields()
        .filter(|field| depth > 0 || !matches!(field.kind(), Kind::Message(_)))
        .map(|field| {
            let set = prop::option::weighted(0.4, field_value(&field, depth));
            set.prop_map(move |value| value.map(|value| (field.clone(), value))).boxed()
        })
        .collect();
    let descriptor = descriptor.clone();
    fields
        .prop_map(move |fields| {
            let mut message = DynamicMessage::new(descriptor.clone());
            for (field, value) in fields.into_iter().flatten() {
                message.set_field(&field, value);
            }
            message
        })
        .boxed()
}

fn with(descriptor: &MessageDescriptor, number: u32, value: Value) -> DynamicMessage {
    let mut message = DynamicMessage::new(descriptor.clone());
    message.set_field_by_number(number, value);
    message
}

fn timed(
    descriptor: &MessageDescriptor,
    range: std::ops::RangeInclusive<i64>,
    signed: bool,
) -> BoxedStrategy<DynamicMessage> {
    let descriptor = descriptor.clone();
    let nanos = prop_oneof![Just(0), 0..1_000_000_000_i32];
    let exact = (range.start() + 1)..=(range.end() - 1);
    (exact, nanos)
        .prop_map(move |(seconds, nanos)| {
            let nanos = if signed && seconds < 0 { -nanos } else { nanos };
            let mut message = with(&descriptor, 1, Value::I64(seconds));
            message.set_field_by_number(2, Value::I32(nanos));
            message
        })
        .boxed()
}

/// A `google.protobuf.Value` with one of its kinds; none of them would be written as null, which is a kind.
fn open_value(descriptor: &MessageDescriptor, depth: u32) -> BoxedStrategy<DynamicMessage> {
    let kinds: Vec<BoxedStrategy<DynamicMessage>> = descriptor
        .fields()
        .filter(|field| depth > 0 || !matches!(field.kind(), Kind::Message(_)))
        .map(|field| {
            let descriptor = descriptor.clone();
            // Infinity is a name in JSON, and names are text here.
            let value = match field.kind() {
                Kind::Double => prop::num::f64::NORMAL.prop_map(Value::F64).boxed(),
                _ => field_value(&field, depth),
            };
            value.prop_map(move |value| with(&descriptor, field.number(), value)).boxed()
        })
        .collect();
    prop::strategy::Union::new(kinds).boxed()
}

fn field_value(field: &FieldDescriptor, depth: u32) -> BoxedStrategy<Value> {
    let kind = field.kind();
    match &kind {
        Kind::Message(entry) if field.is_map() => {
            let key = map_key(&entry.map_entry_key_field().kind());
            let value = single(&entry.map_entry_value_field().kind(), depth);
            let entries = prop::collection::hash_map(key, value, 0..3);
            entries.prop_map(|entries: HashMap<MapKey, Value>| Value::Map(entries)).boxed()
        }
        kind if field.is_list() => prop::collection::vec(single(kind, depth), 0..3).prop_map(Value::List).boxed(),
        kind => single(kind, depth),
    }
}

fn single(kind: &Kind, depth: u32) -> BoxedStrategy<Value> {
    // Zero has a sign that fields without presence do not keep, and NaN does not equal itself.
    let double = (prop::num::f64::NORMAL | prop::num::f64::SUBNORMAL | prop::num::f64::INFINITE).boxed();
    let float = (prop::num::f32::NORMAL | prop::num::f32::SUBNORMAL | prop::num::f32::INFINITE).boxed();
    match kind {
        Kind::Bool => any::<bool>().prop_map(Value::Bool).boxed(),
        Kind::String => any::<String>().prop_map(Value::String).boxed(),
        Kind::Bytes => any::<Vec<u8>>().prop_map(|bytes| Value::Bytes(bytes.into())).boxed(),
        Kind::Double => double.prop_map(Value::F64).boxed(),
        Kind::Float => float.prop_map(Value::F32).boxed(),
        Kind::Int32 | Kind::Sint32 | Kind::Sfixed32 => any::<i32>().prop_map(Value::I32).boxed(),
        Kind::Int64 | Kind::Sint64 | Kind::Sfixed64 => any::<i64>().prop_map(Value::I64).boxed(),
        Kind::Uint32 | Kind::Fixed32 => any::<u32>().prop_map(Value::U32).boxed(),
        Kind::Uint64 | Kind::Fixed64 => any::<u64>().prop_map(Value::U64).boxed(),
        Kind::Enum(descriptor) => {
            let numbers: Vec<i32> = descriptor.values().map(|value| value.number()).collect();
            prop::sample::select(numbers).prop_map(Value::EnumNumber).boxed()
        }
        Kind::Message(descriptor) => message(descriptor, depth.saturating_sub(1)).prop_map(Value::Message).boxed(),
    }
}

fn map_key(kind: &Kind) -> BoxedStrategy<MapKey> {
    match kind {
        Kind::Bool => any::<bool>().prop_map(MapKey::Bool).boxed(),
        Kind::Int32 => any::<i32>().prop_map(MapKey::I32).boxed(),
        Kind::Int64 => any::<i64>().prop_map(MapKey::I64).boxed(),
        Kind::Uint32 => any::<u32>().prop_map(MapKey::U32).boxed(),
        Kind::Uint64 => any::<u64>().prop_map(MapKey::U64).boxed(),
        _ => any::<String>().prop_map(MapKey::String).boxed(),
    }
}

/// Every combination of the style's options.
fn styles() -> impl Iterator<Item = WriteStyle> {
    (0..8).map(|bits| WriteStyle {
        proto_field_names: bits & 1 != 0,
        short_enum_names: bits & 2 != 0,
        omit_defaults: bits & 4 != 0,
    })
}

/// A message that shows itself as JSON; its own form shows the descriptors too.
struct Shown(DynamicMessage);

impl std::fmt::Debug for Shown {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", write(&self.0, &WriteStyle::default()))
    }
}

/// Any message, in the form decoders give it: without defaults set where they mean absence.
fn everything() -> BoxedStrategy<Shown> {
    let decoded =
        |message: DynamicMessage| DynamicMessage::decode(ALL.clone(), message.encode_to_vec().as_slice()).unwrap();
    message(&ALL, 3).prop_map(move |message| Shown(decoded(message))).boxed()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn written_messages_are_read_back(Shown(message) in everything()) {
        for style in styles() {
            let tree = write(&message, &style);
            let text = serde_json::to_string(&tree).unwrap();
            for syntax in [Syntax::Json, Syntax::Yaml] {
                // JSON is YAML, so the second parser gets the same text.
                let parsed = parse(text.as_bytes(), syntax, &Limits::default());
                let parsed = parsed.map_err(|p| lines(&p));
                prop_assert!(parsed.is_ok(), "{:?} {:?} {}", syntax, parsed, text);
                let again = read(&parsed.unwrap(), &ALL).map_err(|p| lines(&p));
                let refused = again.as_ref().err();
                prop_assert!(again.as_ref() == Ok(&message), "{:?} {:?} {}", syntax, refused, text);
            }
        }
    }

    #[test]
    fn any_tree_is_read_or_refused(text in r#"[\[\]{}:,a-f01"]{0,60}"#) {
        if let Ok(tree) = parse(text.as_bytes(), Syntax::Yaml, &Limits::default()) {
            let _ = read(&tree, &ALL);
        }
    }
}
