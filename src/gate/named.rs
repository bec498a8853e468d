//! The models that a request names: in a header, and in a body as the OpenAI API has it.

use serde::Deserialize;

/// What is read of a body. A name that is there twice is refused: who comes behind the gate might take the other one.
#[derive(Deserialize)]
struct Body {
    model: Option<String>,
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
    if !body.is_empty() {
        if is_partial {
            return Err("only a part of the body was sent, so that the model in it is not known".to_owned());
        }
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
        assert_eq!(named(None, r#"{"model": "a/b", "messages": []}"#), Ok(vec!["a/b".to_owned()]));
        assert_eq!(named(Some("a/b"), r#"{"model": "c/d"}"#), Ok(vec!["a/b".to_owned(), "c/d".to_owned()]));
        assert_eq!(named(Some("a/b"), r#"{"model": "a/b"}"#), Ok(vec!["a/b".to_owned()]));
        for (header, body) in [
            (None, ""),
            (Some(" "), ""),
            (None, "{}"),
            (Some("a/b"), "no json"),
            (Some("a/b"), r#"{"model": 5}"#),
            (None, r#"{"model": "a/b", "model": "c/d"}"#),
            (None, r#"{"model": "a/b""#),
        ] {
            assert!(named(header, body).is_err(), "{header:?} {body}");
        }
        assert!(models(Some("a/b"), b"{", true).is_err());
    }
}
