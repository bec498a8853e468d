//! Enum values by their full and their short names.

use prost_reflect::EnumDescriptor;

use super::names::suggestion;
use super::problem::quoted;

/// The number a spelling means, or a message that says which names are near.
///
/// Accepts the full name and the name without the enum's prefix, in any case, with `-` for `_`.
pub(super) fn number_of(descriptor: &EnumDescriptor, text: &str) -> Result<i32, String> {
    if let Some(value) = descriptor.get_value_by_name(text) {
        return Ok(value.number());
    }
    let wanted = text.to_ascii_uppercase().replace('-', "_");
    let prefix = prefix(descriptor);
    // Full names first, so that no short name can hide one.
    let full = |name: &str| name.to_ascii_uppercase() == wanted;
    let short = |name: &str| {
        let name = name.to_ascii_uppercase();
        name.strip_prefix(&prefix) == Some(wanted.as_str())
    };
    let mut values = descriptor.values();
    let found =
        values.find(|value| full(value.name())).or_else(|| descriptor.values().find(|value| short(value.name())));
    if let Some(value) = found {
        return Ok(value.number());
    }

    let unprefixed = wanted.strip_prefix(&prefix).unwrap_or(&wanted);
    let known = short_names(descriptor, &prefix);
    let known: Vec<&str> = known.iter().map(String::as_str).collect();
    Err(format!("unknown value {}{}", quoted(text), suggestion(unprefixed, &known)))
}

/// The message for a number that is not one of the enum's.
pub(super) fn unknown_number(descriptor: &EnumDescriptor, number: i32) -> String {
    let known = short_names(descriptor, &prefix(descriptor));
    let known: Vec<&str> = known.iter().map(String::as_str).collect();
    format!("unknown value number `{number}`{}", suggestion("", &known))
}

/// The short name of a number (`self-hosted` for `HOSTING_SELF_HOSTED`), if the number is known.
pub(super) fn short_name_of(descriptor: &EnumDescriptor, number: i32) -> Option<String> {
    let value = descriptor.get_value(number)?;
    let short = short(value.name(), &prefix(descriptor));
    // Another value's full name may be spelled like this short name; the full name is then the only safe one.
    match number_of(descriptor, &short) {
        Ok(found) if found == number => Some(short),
        _ => Some(value.name().to_owned()),
    }
}

/// What every value's name starts with, in upper case: `X_` when the zero value is `X_UNSPECIFIED`, else nothing.
fn prefix(descriptor: &EnumDescriptor) -> String {
    let zero = descriptor.get_value(0);
    zero.and_then(|value| value.name().strip_suffix("UNSPECIFIED").map(str::to_ascii_uppercase)).unwrap_or_default()
}

fn short(name: &str, prefix: &str) -> String {
    let upper = name.to_ascii_uppercase();
    match upper.strip_prefix(prefix) {
        Some(rest) if !rest.is_empty() => rest.to_ascii_lowercase().replace('_', "-"),
        _ => name.to_owned(),
    }
}

/// The names worth suggesting: all but the zero value, which says nothing.
fn short_names(descriptor: &EnumDescriptor, prefix: &str) -> Vec<String> {
    let named = descriptor.values().filter(|value| value.number() != 0 || !value.name().ends_with("UNSPECIFIED"));
    named.map(|value| short(value.name(), prefix)).collect()
}
