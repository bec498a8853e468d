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
        if self.has_room() {
            self.found.push(Violation { field: field.to_owned(), description: description.to_string() });
        }
    }

    /// Whether a further violation would be told: where not, what to say of it need not be found.
    pub(super) fn has_room(&self) -> bool {
        self.found.len() < VIOLATIONS_MAX
    }

    /// Takes the value, or notes why there is none.
    pub(super) fn take<T, E: Display>(&mut self, field: &str, result: Result<T, E>) -> Option<T> {
        result.map_err(|error| self.add(field, error)).ok()
    }

    /// Runs `read` with the path one step deeper.
    pub(super) fn within<T>(&mut self, field: &str, read: impl FnOnce(&mut Self) -> T) -> T {
        self.below(read, || field.to_owned())
    }

    /// Runs `read`, and puts a step of the path before what it found. Most often it finds nothing, and then no path is made.
    fn below<T>(&mut self, read: impl FnOnce(&mut Self) -> T, step: impl FnOnce() -> String) -> T {
        let before = self.found.len();
        let out = read(self);
        if self.found.len() > before {
            let step = step();
            for violation in self.found.iter_mut().skip(before) {
                violation.field = join(&step, &violation.field);
            }
        }
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
        let read = items.filter_map(|(i, item)| self.below(|v| read(v, item), || format!("{field}[{i}]")));
        let mut list: Vec<T> = read.collect();
        // It is kept as long as the record is, and may have been collected in the place of a longer one.
        list.shrink_to_fit();
        list
    }

    /// Notes a text that is longer than allowed.
    pub(super) fn text(&mut self, field: &str, text: String, chars_max: usize) -> Box<str> {
        self.length(field, &text, chars_max);
        text.into_boxed_str()
    }

    /// Holds a text that is not kept to a length.
    pub(super) fn length(&mut self, field: &str, text: &str, chars_max: usize) {
        // Bytes bound characters from above, so the common case counts nothing.
        if text.len() > chars_max && text.chars().count() > chars_max {
            self.add(field, format_args!("it has more than {chars_max} characters"));
        }
    }

    /// The value, if nothing was wrong.
    pub(super) fn finish<T>(self, value: Option<T>) -> Result<T, Vec<Violation>> {
        match value {
            Some(value) if self.found.is_empty() => Ok(value),
            _ => {
                let Self { path, mut found } = self;
                found.iter_mut().for_each(|violation| violation.field = join(&path, &violation.field));
                Err(found)
            }
        }
    }
}

fn join(path: &str, field: &str) -> String {
    match (path.is_empty(), field.is_empty()) {
        (true, _) => field.to_owned(),
        (false, true) => path.to_owned(),
        (false, false) => format!("{path}.{field}"),
    }
}
