//! The models that a request names: in a header, and in a body as the OpenAI API has it.

use std::fmt;

use serde::Deserialize;
use serde::de::{Error as _, IgnoredAny, MapAccess, Visitor};

/// Members of a body that name further models, or let what is behind the gate choose among some.
const FURTHER: &[&str] = &["models", "fallbacks", "fallback_models", "mock_testing_fallbacks"];

/// What is read of a body: the one member `model`. What could be read as another model behind the gate is refused.
struct Body {
    model: Option<String>,
}

impl<'de> Deserialize<'de> for Body {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        // An object and nothing else.
        deserializer.deserialize_map(Members)
    }
}

struct Members;

impl<'de> Visitor<'de> for Members {
    type Value = Body;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Body, A::Error> {
        let mut model = None;
        while let Some(key) = members.next_key::<String>()? {
            // Some take a member in any case, and the last of several.
            if key == "model" {
                if model.is_some() {
                    return Err(A::Error::custom("`model` is there twice"));
                }
                model = members.next_value::<Option<String>>()?;
            } else if key.eq_ignore_ascii_case("model") {
                return Err(A::Error::custom(format_args!("`{key}` could be read as `model`")));
            } else if FURTHER.iter().any(|further| key.eq_ignore_ascii_case(further)) {
                return Err(A::Error::custom(format_args!("`{key}` names further models: name one")));
            } else {
                members.next_value::<IgnoredAny>()?;
            }
        }
        Ok(Body { model })
    }
}

/// What a request names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Named {
    /// Each once. All of them have to pass: which one is taken behind the gate is not known here.
    pub(super) models: Vec<String>,
}

/// The models that a header and a body name.
///
/// # Errors
/// None is named, or the body cannot be read.
pub(super) fn models(header: Option<&str>, body: &[u8], is_partial: bool) -> Result<Named, String> {
    let mut models: Vec<String> = Vec::new();
    let mut add = |model: &str| {
        let model = model.trim();
        if !model.is_empty() && !models.iter().any(|known| known == model) {
            models.push(model.to_owned());
        }
    };
    header.into_iter().for_each(&mut add);
    if is_partial {
        return Err("only a part of the body was sent, so that the model in it is not known".to_owned());
    }
    if !body.is_empty() {
        let read: Body = serde_json::from_slice(body).map_err(|error| format!("the body cannot be read: {error}"))?;
        read.model.as_deref().into_iter().for_each(&mut add);
    }
    if models.is_empty() {
        return Err("no model is named: neither by the header nor by the body".to_owned());
    }
    Ok(Named { models })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_model_that_is_named_counts() {
        let named = |header, body: &str| models(header, body.as_bytes(), false).map(|named| named.models);
        assert_eq!(named(Some("a/b"), ""), Ok(vec!["a/b".to_owned()]));
        assert_eq!(named(None, r#"{"messages": [{"model": "x"}], "model": "a/b"}"#), Ok(vec!["a/b".to_owned()]));
        assert_eq!(named(Some("a/b"), r#"{"model": "c/d"}"#), Ok(vec!["a/b".to_owned(), "c/d".to_owned()]));
        assert_eq!(named(Some("a/b"), r#"{"model": "a/b"}"#), Ok(vec!["a/b".to_owned()]));
        assert_eq!(named(Some("a/b"), r#"{"model": null}"#), Ok(vec!["a/b".to_owned()]));
        for (header, body) in [
            (None, ""),
            (Some(" "), ""),
            (None, "{}"),
            (Some("a/b"), "no json"),
            (Some("a/b"), r#"["a/b"]"#),
            (Some("a/b"), r#"{"model": 5}"#),
            (None, r#"{"model": "a/b", "model": "c/d"}"#),
            (None, r#"{"model": "a/b", "Model": "c/d"}"#),
            (None, r#"{"model": "a/b", "fallbacks": ["c/d"]}"#),
            (None, r#"{"model": "a/b", "models": ["c/d"]}"#),
            (None, r#"{"model": "a/b""#),
        ] {
            assert!(named(header, body).is_err(), "{header:?} {body}");
        }
        assert!(models(Some("a/b"), b"{", true).is_err());
        assert!(models(Some("a/b"), b"", true).is_err());
    }
}
