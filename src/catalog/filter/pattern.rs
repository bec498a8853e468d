//! Text with wildcards.

/// What stands between two wildcards.
pub(super) type Piece = String;

/// Text in which `*` stands for any characters, none included.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pattern(
    /// INVARIANT: at least two, and those around a wildcard.
    Vec<Piece>,
);

impl Pattern {
    /// From what stands between wildcards; `None` where there is none.
    pub(super) fn new(pieces: Vec<Piece>) -> Option<Self> {
        (pieces.len() > 1).then_some(Self(pieces))
    }

    /// Whether it is met by every text.
    #[must_use]
    pub fn is_any(&self) -> bool {
        self.0.iter().all(String::is_empty)
    }

    /// With each piece changed.
    #[must_use]
    pub fn map(&self, change: impl Fn(&str) -> String) -> Self {
        Self(self.0.iter().map(|piece| change(piece)).collect())
    }

    /// Whether a text is of this form. Takes at most as many steps as the text has characters times the pattern's.
    #[must_use]
    pub fn matches(&self, text: &str) -> bool {
        let [first, middle @ .., last] = self.0.as_slice() else { return false };
        let Some(mut rest) = text.strip_prefix(first.as_str()) else { return false };
        for piece in middle {
            // The earliest place leaves most for the rest.
            let Some((_, after)) = rest.split_once(piece.as_str()) else { return false };
            rest = after;
        }
        rest.ends_with(last.as_str())
    }

    /// As a filter writes it in quotes.
    pub(super) fn quoted(&self) -> String {
        let pieces: Vec<String> = self.0.iter().map(|piece| escaped(piece)).collect();
        pieces.join("*")
    }
}

/// Text as it stands between quotes.
pub(super) fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\n' => out.push_str("\\n"),
            '\t' => out.push_str("\\t"),
            '\\' | '"' | '*' => out.extend(['\\', c]),
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The definition, letter by letter.
    fn naive(pattern: &[char], text: &[char]) -> bool {
        match (pattern, text) {
            ([], []) => true,
            (['*', rest @ ..], _) => naive(rest, text) || !text.is_empty() && naive(pattern, &text[1..]),
            ([p, rest @ ..], [t, after @ ..]) => p == t && naive(rest, after),
            _ => false,
        }
    }

    proptest! {
        #[test]
        fn a_pattern_matches_what_its_definition_says(pattern in "[ab*]{0,6}", text in "[ab]{0,8}") {
            let chars = |text: &str| text.chars().collect::<Vec<_>>();
            let expected = naive(&chars(&pattern), &chars(&text));
            let found = match Pattern::new(pattern.split('*').map(str::to_owned).collect()) {
                Some(pattern) => pattern.matches(&text),
                None => pattern == text,
            };
            prop_assert_eq!(found, expected);
        }
    }
}
