//! All problems of a message at once, each with its field path.

use std::fmt::Display;

/// A field that is not as it must be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// Field path, for example `use.measures[0].metric`.
    pub field: String,
    /// What is wrong and what to write instead.
    pub description: String,
}

/// Collects violations under a path.
#[derive(Debug)]
pub(super) struct Violations {
    path: String,
    found: Vec<Violation>,
}

/// More than anybody reads; keeps an answer to garbage small.
const VIOLATIONS_MAX: usize = 100;

impl Violations {
    pub(super) fn at(path: &str) -> Self {
        Self { path: path.to_owned(), found: Vec::new() }
    }

    /// Notes a violation of a field below the path.
    pub(super) fn add(&mut self, field: &str, description: impl Display) {
        if self.found.len() < VIOLATIONS_MAX {
            let field = self.join(field);
            self.found.push(Violation { field, description: description.to_string() });
        }
    }

    /// Takes the value, or notes why there is none.
    pub(super) fn take<T, E: Display>(&mut self, field: &str, result: Result<T, E>) -> Option<T> {
        result.map_err(|error| self.add(field, error)).ok()
    }

    /// Runs `read` with the path one step deeper.
    pub(super) fn within<T>(&mut self, field: &str, read: impl FnOnce(&mut Self) -> T) -> T {
        let length = self.path.len();
        self.path = self.join(field);
        let out = read(self);
        self.path.truncate(length);
        out
    }

    /// Reads each item of a list, with its index in the path.
    pub(super) fn each<I, T>(
        &mut self,
        field: &str,
        items: impl IntoIterator<Item = I>,
        mut read: impl FnMut(&mut Self, I) -> Option<T>,
    ) -> Vec<T> {
        let items = items.into_iter().enumerate();
        items.filter_map(|(i, item)| self.within(&format!("{field}[{i}]"), |v| read(v, item))).collect()
    }

    /// Notes a text that is longer than allowed.
    pub(super) fn text(&mut self, field: &str, text: String, chars_max: usize) -> Box<str> {
        // Bytes bound characters from above, so the common case counts nothing.
        if text.len() > chars_max && text.chars().count() > chars_max {
            self.add(field, format_args!("it has more than {chars_max} characters"));
        }
        text.into_boxed_str()
    }

    /// The value, if nothing was wrong.
    pub(super) fn finish<T>(self, value: Option<T>) -> Result<T, Vec<Violation>> {
        match value {
            Some(value) if self.found.is_empty() => Ok(value),
            _ => Err(self.found),
        }
    }

    fn join(&self, field: &str) -> String {
        match (self.path.is_empty(), field.is_empty()) {
            (true, _) => field.to_owned(),
            (false, true) => self.path.clone(),
            (false, false) => format!("{}.{field}", self.path),
        }
    }
}
