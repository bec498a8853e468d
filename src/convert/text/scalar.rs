//! Single values: numbers, text, bytes, enum values and map keys.

use base64::Engine;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use prost_reflect::{Kind, MapKey, Value};
use serde_json::{Number, Value as Tree};

use super::problem::quoted;
use super::{enums, well_known};

/// 2^53: floating point holds every whole number below; from here on, a literal may have been rounded.
const EXACT: f64 = 9_007_199_254_740_992.0;

/// Padding may be left out, as the proto3 JSON mapping allows.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &base64::alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// Reads a value of any kind but a message, or says what was expected.
pub(super) fn read(tree: &Tree, kind: &Kind) -> Result<Value, String> {
    match kind {
        Kind::Bool => match tree {
            Tree::Bool(value) => Ok(Value::Bool(*value)),
            _ => Err(mismatch("`true` or `false`", tree)),
        },
        Kind::String => text(tree).map(Value::String),
        Kind::Bytes => bytes(tree),
        Kind::Double => float(tree).map(Value::F64),
        Kind::Float => single_float(tree).map(Value::F32),
        Kind::Int32 | Kind::Sint32 | Kind::Sfixed32 => integer(tree).map(Value::I32),
        Kind::Int64 | Kind::Sint64 | Kind::Sfixed64 => integer(tree).map(Value::I64),
        Kind::Uint32 | Kind::Fixed32 => integer(tree).map(Value::U32),
        Kind::Uint64 | Kind::Fixed64 => integer(tree).map(Value::U64),
        Kind::Enum(descriptor) => enumerated(tree, descriptor).map(Value::EnumNumber),
        Kind::Message(_) => Err(mismatch("a single value", tree)),
    }
}

/// Reads a map key, which is always text in the document.
pub(super) fn read_key(name: &str, kind: &Kind) -> Result<MapKey, String> {
    let tree = || Tree::from(name);
    match kind {
        Kind::Bool => match name {
            "true" => Ok(MapKey::Bool(true)),
            "false" => Ok(MapKey::Bool(false)),
            _ => Err(mismatch("a key `true` or `false`", &tree())),
        },
        Kind::Int32 | Kind::Sint32 | Kind::Sfixed32 => integer(&tree()).map(MapKey::I32),
        Kind::Int64 | Kind::Sint64 | Kind::Sfixed64 => integer(&tree()).map(MapKey::I64),
        Kind::Uint32 | Kind::Fixed32 => integer(&tree()).map(MapKey::U32),
        Kind::Uint64 | Kind::Fixed64 => integer(&tree()).map(MapKey::U64),
        _ => Ok(MapKey::String(name.to_owned())),
    }
}

/// What a value is, for messages.
pub(super) fn described(tree: &Tree) -> String {
    match tree {
        Tree::Null => "nothing".to_owned(),
        Tree::Bool(value) => format!("`{value}`"),
        Tree::Number(number) => format!("number {}", quoted(&number.to_string())),
        Tree::String(text) => format!("text {}", quoted(text)),
        Tree::Array(_) => "a list".to_owned(),
        Tree::Object(_) => "an object".to_owned(),
    }
}

/// The message for a value of the wrong type.
pub(super) fn mismatch(expected: &str, tree: &Tree) -> String {
    format!("expected {expected}, found {}", described(tree))
}

fn text(tree: &Tree) -> Result<String, String> {
    match tree {
        Tree::String(text) => Ok(text.clone()),
        // YAML and TOML have unquoted values, so this is what people who meant text run into.
        Tree::Bool(_) | Tree::Number(_) => Err(format!("{}; put it in quotes", mismatch("text", tree))),
        _ => Err(mismatch("text", tree)),
    }
}

fn bytes(tree: &Tree) -> Result<Value, String> {
    let Tree::String(text) = tree else {
        return Err(mismatch("bytes as base64 text", tree));
    };
    let standard = text.replace('-', "+").replace('_', "/");
    match BASE64.decode(standard) {
        Ok(bytes) => Ok(Value::Bytes(bytes.into())),
        Err(_) => Err(mismatch("bytes as base64 text", tree)),
    }
}

/// A whole number of the target's range, from a number or from text.
fn integer<T: TryFrom<i128> + Bounded>(tree: &Tree) -> Result<T, String> {
    let number = whole(tree)?;
    T::try_from(number).map_err(|_| out_of_range::<T>(tree))
}

fn whole(tree: &Tree) -> Result<i128, String> {
    let expected = || mismatch("a whole number", tree);
    let number = match tree {
        Tree::Number(number) => number.clone(),
        Tree::String(text) => number_in(text).ok_or_else(expected)?,
        _ => return Err(expected()),
    };
    if let Some(number) = number.as_i64() {
        return Ok(i128::from(number));
    }
    if let Some(number) = number.as_u64() {
        return Ok(i128::from(number));
    }
    match number.as_f64() {
        Some(number) if number.fract() != 0.0 => Err(expected()),
        #[expect(clippy::cast_possible_truncation, reason = "whole and below 2^53")]
        Some(number) if number.abs() < EXACT => Ok(number as i128),
        // Beyond 64 bits in either direction; any number out of every target's range will do.
        Some(number) if number.abs() >= 18_446_744_073_709_551_616.0 => Ok(i128::MAX),
        _ => {
            Err(format!("{} may have been rounded; write out all digits, without a point or exponent", described(tree)))
        }
    }
}

/// A number in text, by JSON's grammar: no plus sign, no leading zeros, no spaces, no suffix.
fn number_in(text: &str) -> Option<Number> {
    let first_and_last =
        text.starts_with(|c: char| c == '-' || c.is_ascii_digit()) && text.ends_with(|c: char| c.is_ascii_digit());
    if !first_and_last {
        return None;
    }
    serde_json::from_str(text).ok()
}

fn float(tree: &Tree) -> Result<f64, String> {
    let number = match tree {
        Tree::Number(number) => number.as_f64(),
        Tree::String(text) => match text.as_str() {
            "NaN" => Some(f64::NAN),
            "Infinity" => Some(f64::INFINITY),
            "-Infinity" => Some(f64::NEG_INFINITY),
            text => number_in(text).and_then(|number| number.as_f64()),
        },
        _ => None,
    };
    number.ok_or_else(|| mismatch("a number", tree))
}

fn single_float(tree: &Tree) -> Result<f32, String> {
    let number = float(tree)?;
    #[expect(clippy::cast_possible_truncation, reason = "rounding to the field's precision is meant")]
    let single = number as f32;
    if number.is_finite() && single.is_infinite() {
        return Err(format!(
            "{} is out of range, expected a number from {:e} to {:e}",
            described(tree),
            f32::MIN,
            f32::MAX
        ));
    }
    Ok(single)
}

fn enumerated(tree: &Tree, descriptor: &prost_reflect::EnumDescriptor) -> Result<i32, String> {
    if descriptor.full_name() == well_known::NULL_VALUE && tree.is_null() {
        return Ok(0);
    }
    match tree {
        Tree::String(text) => enums::number_of(descriptor, text),
        Tree::Number(_) => {
            let number: i32 = integer(tree)?;
            match descriptor.get_value(number) {
                Some(_) => Ok(number),
                None => Err(enums::unknown_number(descriptor, number)),
            }
        }
        _ => Err(mismatch("the name of a value", tree)),
    }
}

/// The range of a type, for messages.
trait Bounded {
    const RANGE: (i128, i128);
}

impl Bounded for i32 {
    const RANGE: (i128, i128) = (i32::MIN as i128, i32::MAX as i128);
}

impl Bounded for u32 {
    const RANGE: (i128, i128) = (0, u32::MAX as i128);
}

impl Bounded for i64 {
    const RANGE: (i128, i128) = (i64::MIN as i128, i64::MAX as i128);
}

impl Bounded for u64 {
    const RANGE: (i128, i128) = (0, u64::MAX as i128);
}

fn out_of_range<T: Bounded>(tree: &Tree) -> String {
    let (least, most) = T::RANGE;
    format!("{} is out of range, expected {least} to {most}", described(tree))
}
