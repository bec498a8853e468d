//! What a gate is told.

use std::collections::BTreeMap;

use crate::pb::weighbridge::v1 as pb;

/// What a gate is told where its caller's configuration does not say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GateSettings {
    /// The header that names the model, in lower case.
    pub model_header: String,
    /// The profile whose facts hold, `useProfiles/…`; empty: none.
    pub use_profile: String,
    /// Whether everything passes, and it is only said what would not.
    pub dry_run: bool,
    /// Whether what needs a review passes.
    pub pass_reviews: bool,
}

impl Default for GateSettings {
    fn default() -> Self {
        Self {
            model_header: "x-ai-eg-model".to_owned(),
            use_profile: String::new(),
            dry_run: false,
            pass_reviews: false,
        }
    }
}

/// What the settings of a gateway's configuration begin with where they stand among others.
const PREFIX: &str = "weighbridge.";
const LABEL: &str = "label.";

/// The resource name of a profile that is named by it or by its id; empty: none.
#[must_use]
pub fn profile_name(name: &str) -> String {
    const COLLECTION: &str = "useProfiles/";
    if name.is_empty() || name.starts_with(COLLECTION) { name.to_owned() } else { format!("{COLLECTION}{name}") }
}

/// The settings of one request.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Asked {
    pub(super) settings: GateSettings,
    /// The facts besides those of the profile.
    pub(super) use_: pb::Use,
}

impl Asked {
    /// The settings with those of a gateway's configuration.
    ///
    /// # Errors
    /// A setting that is not known, or a value that it does not take: nothing passes by a slip of the pen.
    pub(super) fn read(settings: &GateSettings, configured: &BTreeMap<String, String>) -> Result<Self, String> {
        let mut asked = Self { settings: settings.clone(), use_: pb::Use::default() };
        for (key, value) in configured {
            let Some(key) = key.strip_prefix(PREFIX) else { continue };
            let bad = |values: &str| format!("the gateway's setting `{PREFIX}{key}` is `{value}`, and not {values}");
            match key {
                "model_header" => asked.settings.model_header = value.to_ascii_lowercase(),
                "use_profile" => asked.settings.use_profile = profile_name(value),
                "mode" => {
                    asked.settings.dry_run = match value.as_str() {
                        "enforce" => false,
                        "dry-run" => true,
                        _ => return Err(bad("enforce or dry-run")),
                    }
                }
                "review" => {
                    asked.settings.pass_reviews = match value.as_str() {
                        "deny" => false,
                        "pass" => true,
                        _ => return Err(bad("deny or pass")),
                    }
                }
                _ => match key.strip_prefix(LABEL) {
                    Some(label) => drop(asked.use_.labels.insert(label.to_owned(), value.clone())),
                    None => {
                        let known = "model_header, use_profile, mode, review, label.KEY";
                        return Err(format!("the gateway's setting `{PREFIX}{key}` is not known: there are {known}"));
                    }
                },
            }
        }
        Ok(asked)
    }
}
