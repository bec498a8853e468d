//! The messages of `google.protobuf` that the JSON mapping writes in a form of their own.

use prost_reflect::{DynamicMessage, FieldDescriptor, MessageDescriptor, Value};
use prost_types::{Duration, Timestamp};
use serde_json::Value as Tree;

use super::names;
use super::problem::Place;
use super::read::Reader;
use super::scalar::mismatch;

/// The message that holds any JSON value; null is one of them.
pub(super) const VALUE: &str = "google.protobuf.Value";

/// The enum whose only value is null.
pub(super) const NULL_VALUE: &str = "google.protobuf.NullValue";

/// 0001-01-01T00:00:00Z to 9999-12-31T23:59:59Z, the range protobuf gives timestamps.
pub(super) const TIMESTAMP_SECONDS: std::ops::RangeInclusive<i64> = -62_135_596_800..=253_402_300_799;

/// About ten thousand years, the range protobuf gives durations.
pub(super) const DURATION_SECONDS: std::ops::RangeInclusive<i64> = -315_576_000_000..=315_576_000_000;

/// Reads a well-known message; the outer `None` means that the message is an ordinary one.
pub(super) fn read(
    reader: &mut Reader,
    tree: &Tree,
    descriptor: &MessageDescriptor,
    at: &Place<'_>,
) -> Option<Option<DynamicMessage>> {
    let name = descriptor.full_name().strip_prefix("google.protobuf.")?;
    let read = match name {
        "Timestamp" => {
            let read = timestamp(tree).map(|time| (time.seconds, time.nanos));
            seconds_and_nanos(reader, descriptor, at, read)
        }
        "Duration" => {
            let read = duration(tree).map(|span| (span.seconds, span.nanos));
            seconds_and_nanos(reader, descriptor, at, read)
        }
        "FieldMask" => field_mask(reader, tree, descriptor, at),
        "Struct" | "ListValue" | "DoubleValue" | "FloatValue" | "Int64Value" | "UInt64Value" | "Int32Value"
        | "UInt32Value" | "BoolValue" | "StringValue" | "BytesValue" => {
            // Written as the value of the only field.
            field_of(reader, tree, descriptor, 1, at)
        }
        "Value" => value(reader, tree, descriptor, at),
        "Any" => {
            reader.report(at, || "messages of any type are not supported".to_owned());
            None
        }
        _ => return None,
    };
    Some(read)
}

/// The message with the field `number` read from `tree`.
fn field_of(
    reader: &mut Reader,
    tree: &Tree,
    descriptor: &MessageDescriptor,
    number: u32,
    at: &Place<'_>,
) -> Option<DynamicMessage> {
    let mut message = DynamicMessage::new(descriptor.clone());
    let field = field_numbered(reader, descriptor, number, at)?;
    reader.field(tree, &field, at, &mut message)?;
    Some(message)
}

/// A field a well-known message must have, unless somebody made up the descriptor.
fn field_numbered(
    reader: &mut Reader,
    descriptor: &MessageDescriptor,
    number: u32,
    at: &Place<'_>,
) -> Option<FieldDescriptor> {
    let field = descriptor.get_field(number);
    reader.take(at, field.ok_or_else(|| "message lacks its field".to_owned()))
}

/// `google.protobuf.Value` has one field for every type JSON has.
fn value(reader: &mut Reader, tree: &Tree, descriptor: &MessageDescriptor, at: &Place<'_>) -> Option<DynamicMessage> {
    let number = match tree {
        Tree::Null => 1,
        Tree::Number(_) => 2,
        Tree::String(_) => 3,
        Tree::Bool(_) => 4,
        Tree::Object(_) => 5,
        Tree::Array(_) => 6,
    };
    field_of(reader, tree, descriptor, number, at)
}

fn seconds_and_nanos(
    reader: &mut Reader,
    descriptor: &MessageDescriptor,
    at: &Place<'_>,
    read: Result<(i64, i32), String>,
) -> Option<DynamicMessage> {
    let (seconds, nanos) = reader.take(at, read)?;
    let mut message = DynamicMessage::new(descriptor.clone());
    for (number, value) in [(1, Value::I64(seconds)), (2, Value::I32(nanos))] {
        let field = field_numbered(reader, descriptor, number, at)?;
        reader.set(&mut message, &field, value, at)?;
    }
    Some(message)
}

fn field_mask(
    reader: &mut Reader,
    tree: &Tree,
    descriptor: &MessageDescriptor,
    at: &Place<'_>,
) -> Option<DynamicMessage> {
    let Tree::String(text) = tree else {
        reader.report(at, || mismatch("field paths as text, with commas between", tree));
        return None;
    };
    let paths = text.split(',').map(str::trim).filter(|path| !path.is_empty());
    let paths = paths.map(|path| Value::String(names::snake_path(path)));
    let mut message = DynamicMessage::new(descriptor.clone());
    let field = field_numbered(reader, descriptor, 1, at)?;
    reader.set(&mut message, &field, Value::List(paths.collect()), at)?;
    Some(message)
}

fn timestamp(tree: &Tree) -> Result<Timestamp, String> {
    let expected = || mismatch("a time such as `2026-11-25T10:00:00Z` or a date", tree);
    let Tree::String(text) = tree else {
        return Err(expected());
    };
    if !is_time(text) && !is_date(text) {
        return Err(expected());
    }
    // The library checks the calendar; it is lax about the form, which is checked above.
    let time: Timestamp = text.parse().map_err(|_| expected())?;
    if !TIMESTAMP_SECONDS.contains(&time.seconds) {
        return Err(mismatch("a time in the years 1 to 9999", tree));
    }
    Ok(time)
}

fn duration(tree: &Tree) -> Result<Duration, String> {
    let expected = || mismatch("a duration in seconds such as `90s` or `1.5s`", tree);
    let Tree::String(text) = tree else {
        return Err(expected());
    };
    let mut form = Form(text.strip_prefix('-').unwrap_or(text));
    let formed = form.some_digits(12) && form.fraction() && form.one_of("s") && form.0.is_empty();
    if !formed {
        return Err(expected());
    }
    let span: Duration = text.parse().map_err(|_| expected())?;
    let whole = span.seconds.saturating_add(i64::from(span.nanos.signum()));
    if !DURATION_SECONDS.contains(&whole) {
        return Err(mismatch("a duration of at most 10000 years", tree));
    }
    Ok(span)
}

/// `2026-11-25`
fn is_date(text: &str) -> bool {
    let mut form = Form(text);
    form.date() && form.0.is_empty()
}

/// RFC 3339, where a space or a lowercase letter may stand for the `T`.
fn is_time(text: &str) -> bool {
    let mut form = Form(text);
    form.date()
        && form.one_of("Tt ")
        && form.digits(2)
        && form.one_of(":")
        && form.digits(2)
        && form.one_of(":")
        && form.digits(2)
        && form.fraction()
        && form.offset()
        && form.0.is_empty()
}

/// The rest of a text whose form is being checked from the left.
struct Form<'a>(&'a str);

impl Form<'_> {
    fn one_of(&mut self, allowed: &str) -> bool {
        let rest = self.0.strip_prefix(|c| allowed.contains(c));
        rest.map(|rest| self.0 = rest).is_some()
    }

    fn digits(&mut self, count: usize) -> bool {
        (0..count).all(|_| self.one_of("0123456789"))
    }

    fn some_digits(&mut self, most: usize) -> bool {
        self.digits(1) && {
            let rest = self.0.trim_start_matches(|c: char| c.is_ascii_digit());
            let count = self.0.len() - rest.len();
            self.0 = rest;
            count < most
        }
    }

    fn date(&mut self) -> bool {
        self.digits(4) && self.one_of("-") && self.digits(2) && self.one_of("-") && self.digits(2)
    }

    /// Nothing, or a point and as many digits as nanoseconds have.
    fn fraction(&mut self) -> bool {
        !self.one_of(".") || self.some_digits(9)
    }

    fn offset(&mut self) -> bool {
        if self.one_of("Zz") {
            return true;
        }
        if !self.one_of("+-") {
            return false;
        }
        let hours = self.0.get(..2).is_some_and(|hours| hours <= "23");
        let hours = hours && self.digits(2) && self.one_of(":");
        let minutes = self.0.get(..2).is_some_and(|minutes| minutes <= "59");
        hours && minutes && self.digits(2)
    }
}
