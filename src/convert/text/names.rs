//! Spelling: which names mean the same, and which are close.

use prost_reflect::{FieldDescriptor, MessageDescriptor};

use super::problem::quoted;

/// Added to the distance of names that share a word, so that they rank after every misspelling.
const SHARED_WORD: usize = 1000;

/// Lists of at most this many names are shown whole.
const SHOWN_WHOLE: usize = 12;

/// The nearest known names to an unknown one, best first, at most three, only when reasonably near.
///
/// Case, `-` for `_` and camel case do not count as differences.
pub fn nearest<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> Vec<&'a str> {
    // Distance is quadratic in the length, and nobody mistypes a name this long.
    const LONGEST: usize = 64;
    if name.is_empty() || name.len() > LONGEST {
        return Vec::new();
    }
    let wanted = fold(name);
    let mut found: Vec<(usize, &'a str)> = known
        .into_iter()
        .filter(|candidate| candidate.len() <= LONGEST)
        .filter_map(|candidate| Some((nearness(&wanted, &fold(candidate))?, candidate)))
        .collect();
    found.sort_unstable();
    found.dedup();
    // Names that only share a word would be noise next to a misspelling.
    if found.first().is_some_and(|(distance, _)| *distance < SHARED_WORD) {
        found.retain(|(distance, _)| *distance < SHARED_WORD);
    }
    found.truncate(3);
    found.into_iter().map(|(_, candidate)| candidate).collect()
}

/// The end of a message about an unknown name: near names, and all of them when they are few.
pub(super) fn suggestion(name: &str, known: &[&str]) -> String {
    let near = nearest(name, known.iter().copied());
    let mut out = String::new();
    if !near.is_empty() {
        out.push_str(", did you mean ");
        out.push_str(&alternatives(&near));
        out.push('?');
    }
    if !known.is_empty() && known.len() <= SHOWN_WHOLE {
        out.push_str(if near.is_empty() { "," } else { "" });
        out.push_str(" expected one of ");
        out.push_str(&joined(known, ", "));
    }
    out
}

/// The field a key means: proto name, JSON name, or the proto name in kebab case.
pub(super) fn field(descriptor: &MessageDescriptor, key: &str) -> Option<FieldDescriptor> {
    descriptor.get_field_by_name(key).or_else(|| descriptor.get_field_by_json_name(key)).or_else(|| {
        let kebab = key.contains('-') && !key.contains('_');
        kebab.then(|| descriptor.get_field_by_name(&key.replace('-', "_"))).flatten()
    })
}

/// A field mask path in snake case; parts that already hold `_` are taken as written.
pub(super) fn snake_path(path: &str) -> String {
    let parts: Vec<String> = path.split('.').map(snake).collect();
    parts.join(".")
}

/// A field mask path in camel case, part by part, where that can be undone.
pub(super) fn camel_path(path: &str) -> String {
    let part = |part: &str| {
        let there = camel(part);
        if snake(&there) == part { there } else { part.to_owned() }
    };
    let parts: Vec<String> = path.split('.').map(part).collect();
    parts.join(".")
}

fn snake(part: &str) -> String {
    if part.contains('_') {
        return part.to_owned();
    }
    let mut out = String::with_capacity(part.len());
    for c in part.chars() {
        if c.is_ascii_uppercase() {
            out.push('_');
        }
        out.push(c.to_ascii_lowercase());
    }
    out
}

fn camel(part: &str) -> String {
    let mut out = String::with_capacity(part.len());
    let mut raise = false;
    for c in part.chars() {
        if c == '_' {
            raise = true;
        } else if raise {
            out.push(c.to_ascii_uppercase());
            raise = false;
        } else {
            out.push(c);
        }
    }
    out
}

/// One spelling for snake, kebab, camel and upper case.
fn fold(name: &str) -> String {
    let mut out = String::with_capacity(name.len());
    let mut after_lower = false;
    for c in name.chars() {
        if c.is_uppercase() && after_lower {
            out.push('_');
        }
        after_lower = c.is_lowercase() || c.is_numeric();
        if c == '-' || c == ' ' {
            out.push('_');
        } else {
            out.extend(c.to_lowercase());
        }
    }
    out
}

/// How far apart two folded names are, or `None` when they have little in common.
fn nearness(wanted: &str, candidate: &str) -> Option<usize> {
    let longest = wanted.chars().count().max(candidate.chars().count());
    let near = (longest / 3).max(1);
    // Most names have little in common with any other, and a glance tells so.
    if distance_at_least(wanted, candidate) <= near {
        let distance = strsim::osa_distance(wanted, candidate);
        if distance <= near && distance < longest {
            return Some(distance);
        }
    }
    // A missing or an extra word: `metric` for `metric_name`.
    let (short, long) = if wanted.len() < candidate.len() { (wanted, candidate) } else { (candidate, wanted) };
    let whole_words = long.strip_prefix(short).is_some_and(|rest| rest.starts_with('_'))
        || long.strip_suffix(short).is_some_and(|rest| rest.ends_with('_'));
    (short.len() >= 3 && whole_words).then(|| SHARED_WORD + strsim::osa_distance(wanted, candidate))
}

/// No more than the distance of two names: how many characters of one the other lacks, wherever they stand.
fn distance_at_least(a: &str, b: &str) -> usize {
    const KINDS: u32 = 64;
    let mut more = [0_isize; KINDS as usize];
    for (text, one) in [(a, 1), (b, -1)] {
        // Characters that share a place hide a difference, and never make one.
        for c in text.chars() {
            if let Some(count) = more.get_mut((u32::from(c) % KINDS) as usize) {
                *count += one;
            }
        }
    }
    let sum = |sign: isize| more.iter().map(|count| (count * sign).max(0).unsigned_abs()).sum::<usize>();
    sum(1).max(sum(-1))
}

fn alternatives(names: &[&str]) -> String {
    match names.split_last() {
        Some((last, rest)) if !rest.is_empty() => {
            format!("{} or {}", joined(rest, ", "), quoted(last))
        }
        _ => joined(names, ""),
    }
}

fn joined(names: &[&str], separator: &str) -> String {
    let names: Vec<String> = names.iter().map(|name| quoted(name)).collect();
    names.join(separator)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        /// Otherwise a near name would be passed over.
        #[test]
        fn a_glance_never_says_more_than_the_distance(a in "[a-e_é]{0,12}|\\PC{0,12}", b in "[a-e_é]{0,12}|\\PC{0,12}") {
            prop_assert!(distance_at_least(&a, &b) <= strsim::osa_distance(&a, &b));
        }
    }
}
