//! Resource names, parsed at the edge into types that cannot be wrong.

use std::fmt;
use std::sync::Arc;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};

/// Longest id that is kept of a foreign source, in bytes.
pub const FOREIGN_ID_BYTES_MAX: usize = 512;
/// Longest license id, in bytes.
pub const LICENSE_ID_BYTES_MAX: usize = 128;
const SEGMENT_BYTES_MAX: usize = 128;

/// Unreserved characters of RFC 3986 stay as they are.
const ESCAPED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// Why a text is no name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// The fixed parts are not where they should be.
    #[error("`{given}` is no {what}: write `{pattern}`")]
    Pattern {
        /// What was expected, for example "model name".
        what: &'static str,
        /// The text as given, cut to a readable length.
        given: String,
        /// The pattern to follow.
        pattern: &'static str,
    },
    /// A segment holds characters that are not allowed, is empty or too long.
    #[error(
        "`{segment}` in `{given}`: a segment starts with a-z or 0-9, goes on with a-z, 0-9, `.`, `_` or `-`, and has at most 128 characters"
    )]
    Segment {
        /// The segment, cut to a readable length.
        segment: String,
        /// The text as given, cut to a readable length.
        given: String,
    },
    /// A license id is not one.
    #[error(
        "`{given}` is no license id: an SPDX id or `LicenseRef-…` of letters, digits, `.`, `-` and `+`, at most 128 characters"
    )]
    LicenseId {
        /// The text as given, cut to a readable length.
        given: String,
    },
}

/// Cuts a text of a caller to a length that fits into a message.
#[must_use]
pub fn shown(text: &str) -> String {
    const CHARS_MAX: usize = 80;
    let clean = |c: char| if c.is_control() { '\u{fffd}' } else { c };
    let mut out: String = text.chars().take(CHARS_MAX).map(clean).collect();
    if text.chars().nth(CHARS_MAX).is_some() {
        out.push('…');
    }
    out
}

/// Whether a text is a segment of a resource name: `[a-z0-9][a-z0-9._-]{0,127}`.
#[must_use]
pub fn is_segment(text: &str) -> bool {
    let first = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    text.len() <= SEGMENT_BYTES_MAX
        && text.bytes().next().is_some_and(first)
        && text.bytes().all(|b| first(b) || matches!(b, b'.' | b'_' | b'-'))
}

fn check_segment(segment: &str, given: &str) -> Result<(), NameError> {
    if is_segment(segment) {
        return Ok(());
    }
    Err(NameError::Segment { segment: shown(segment), given: shown(given) })
}

/// `publishers/{publisher}/models/{model}`.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ModelName(Arc<str>);

impl ModelName {
    const PATTERN: &'static str = "publishers/{publisher}/models/{model}";

    /// Builds a name from its two segments.
    ///
    /// # Errors
    /// [`NameError::Segment`] when one of them is not a segment.
    pub fn new(publisher: &str, model: &str) -> Result<Self, NameError> {
        let full = Self::full(publisher, model);
        check_segment(publisher, &full)?;
        check_segment(model, &full)?;
        Ok(Self(full.into()))
    }

    /// The full name of two segments, whatever they are.
    #[must_use]
    pub fn full(publisher: &str, model: &str) -> String {
        ["publishers/", publisher, "/models/", model].concat()
    }

    /// Parses a full resource name.
    ///
    /// # Errors
    /// [`NameError`] that says what to write instead.
    pub fn parse(text: &str) -> Result<Self, NameError> {
        let pattern = || NameError::Pattern { what: "model name", given: shown(text), pattern: Self::PATTERN };
        let rest = text.strip_prefix("publishers/").ok_or_else(pattern)?;
        let (publisher, rest) = rest.split_once('/').ok_or_else(pattern)?;
        let model = rest.strip_prefix("models/").ok_or_else(pattern)?;
        check_segment(publisher, text)?;
        check_segment(model, text)?;
        Ok(Self(text.into()))
    }

    /// The full resource name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// First segment.
    #[must_use]
    pub fn publisher(&self) -> &str {
        self.parts().0
    }

    /// Last segment.
    #[must_use]
    pub fn model(&self) -> &str {
        self.parts().1
    }

    // INVARIANT: the text was built by `new`, so both prefixes are there; the fallbacks are never taken.
    fn parts(&self) -> (&str, &str) {
        let rest = self.0.strip_prefix("publishers/").unwrap_or_default();
        // No segment holds a `/`, and looking for one byte is quicker than looking for a word.
        let (publisher, rest) = rest.split_once('/').unwrap_or_default();
        (publisher, rest.strip_prefix("models/").unwrap_or_default())
    }
}

impl fmt::Display for ModelName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for ModelName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::borrow::Borrow<str> for ModelName {
    fn borrow(&self) -> &str {
        &self.0
    }
}

/// A license id: an SPDX id or `LicenseRef-…`. Case-sensitive.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct LicenseId(Arc<str>);

impl LicenseId {
    /// What an importer writes for a declared license that it cannot map.
    pub const UNKNOWN: &'static str = "LicenseRef-Unknown";

    /// Takes a bare id.
    ///
    /// # Errors
    /// [`NameError::LicenseId`] when it has other characters or is too long.
    pub fn new(id: &str) -> Result<Self, NameError> {
        let allowed = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'+');
        let fits = !id.is_empty() && id.len() <= LICENSE_ID_BYTES_MAX;
        if fits && id.bytes().all(allowed) {
            return Ok(Self(id.into()));
        }
        Err(NameError::LicenseId { given: shown(id) })
    }

    /// Parses `licenses/{id}`.
    ///
    /// # Errors
    /// [`NameError`] that says what to write instead.
    pub fn parse(name: &str) -> Result<Self, NameError> {
        match name.strip_prefix("licenses/") {
            Some(id) => Self::new(id),
            None => Err(NameError::Pattern { what: "license name", given: shown(name), pattern: "licenses/{id}" }),
        }
    }

    /// The bare id.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether it stands for a license that is not known.
    #[must_use]
    pub fn is_unknown(&self) -> bool {
        self.0.eq_ignore_ascii_case(Self::UNKNOWN)
    }

    /// `licenses/{id}`.
    #[must_use]
    pub fn resource_name(&self) -> String {
        format!("licenses/{}", self.0)
    }
}

impl fmt::Display for LicenseId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for LicenseId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::borrow::Borrow<str> for LicenseId {
    fn borrow(&self) -> &str {
        &self.0
    }
}

/// The id of a provider, the last segment of `providers/{provider}`.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ProviderId(Arc<str>);

impl ProviderId {
    /// Takes a bare id.
    ///
    /// # Errors
    /// [`NameError::Segment`] when it is not a segment.
    pub fn new(id: &str) -> Result<Self, NameError> {
        check_segment(id, id)?;
        Ok(Self(id.into()))
    }

    /// Parses `providers/{provider}`.
    ///
    /// # Errors
    /// [`NameError`] that says what to write instead.
    pub fn parse(name: &str) -> Result<Self, NameError> {
        match name.strip_prefix("providers/") {
            Some(id) => Self::new(id),
            None => {
                Err(NameError::Pattern { what: "provider name", given: shown(name), pattern: "providers/{provider}" })
            }
        }
    }

    /// The bare id.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// `providers/{provider}`.
    #[must_use]
    pub fn resource_name(&self) -> String {
        format!("providers/{}", self.0)
    }
}

impl fmt::Display for ProviderId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for ProviderId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::borrow::Borrow<str> for ProviderId {
    fn borrow(&self) -> &str {
        &self.0
    }
}

/// `providers/{provider}/offerings/{offering}`; the offering id is kept raw and escaped in the resource name.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct OfferingName {
    provider: ProviderId,
    offering: Arc<str>,
}

impl OfferingName {
    const PATTERN: &'static str =
        "providers/{provider}/offerings/{offering}` with the offering id URL-escaped, as in `openai%2Fgpt-oss-120b";

    /// Builds a name from a provider and the provider's own id of the offering, as written.
    ///
    /// # Errors
    /// [`NameError::Pattern`] when the id is empty, too long or holds control characters.
    pub fn new(provider: ProviderId, offering: &str) -> Result<Self, NameError> {
        let bad =
            offering.is_empty() || offering.len() > FOREIGN_ID_BYTES_MAX || offering.chars().any(char::is_control);
        if bad {
            return Err(NameError::Pattern { what: "offering id", given: shown(offering), pattern: Self::PATTERN });
        }
        Ok(Self { provider, offering: offering.into() })
    }

    /// Parses a full resource name.
    ///
    /// # Errors
    /// [`NameError`] that says what to write instead.
    pub fn parse(name: &str) -> Result<Self, NameError> {
        let pattern = || NameError::Pattern { what: "offering name", given: shown(name), pattern: Self::PATTERN };
        let rest = name.strip_prefix("providers/").ok_or_else(pattern)?;
        let (provider, escaped) = rest.split_once("/offerings/").ok_or_else(pattern)?;
        if escaped.contains('/') {
            return Err(pattern());
        }
        let raw = percent_decode_str(escaped).decode_utf8().map_err(|_| pattern())?;
        Self::new(ProviderId::new(provider)?, &raw)
    }

    /// The provider.
    #[must_use]
    pub fn provider(&self) -> &ProviderId {
        &self.provider
    }

    /// The provider's own id, as written.
    #[must_use]
    pub fn offering(&self) -> &str {
        &self.offering
    }

    /// The full resource name, escaped.
    #[must_use]
    pub fn resource_name(&self) -> String {
        let escaped = utf8_percent_encode(&self.offering, ESCAPED);
        format!("providers/{}/offerings/{escaped}", self.provider)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn model_names_round_trip_and_bad_ones_are_refused() {
        let name = ModelName::parse("publishers/meta/models/llama-3.3-70b-instruct").unwrap();
        assert_eq!((name.publisher(), name.model()), ("meta", "llama-3.3-70b-instruct"));
        for bad in [
            "",
            "publishers/meta",
            "publishers/Meta/models/x",
            "publishers/meta/models/",
            "publishers/meta/models/a/b",
            "publishers//models/x",
            "publishers/meta/models/-x",
            "meta/llama",
        ] {
            assert!(ModelName::parse(bad).is_err(), "{bad}");
        }
        assert!(ModelName::new("meta", &"x".repeat(129)).is_err());
        assert!(ModelName::new("meta", &"x".repeat(128)).is_ok());
    }

    #[test]
    fn offering_names_escape_and_unescape() {
        let provider = ProviderId::new("wafer.ai").unwrap();
        for raw in ["openai/gpt-oss-120b", "@cf/x", "a:b", "~anthropic/latest", "mit%2F"] {
            let name = OfferingName::new(provider.clone(), raw).unwrap();
            assert_eq!(OfferingName::parse(&name.resource_name()).unwrap(), name, "{raw}");
        }
        assert!(OfferingName::parse("providers/groq/offerings/a/b").is_err());
        assert!(OfferingName::parse("providers/groq/offerings/%ff").is_err());
    }

    #[test]
    fn long_input_is_cut_in_messages() {
        let error = ModelName::parse(&"é".repeat(10_000)).unwrap_err();
        assert!(error.to_string().len() < 300);
    }
}
