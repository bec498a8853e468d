//! Deployments: what is checked when one is written.

use super::eligibility::use_facts;
use super::violations::Violations;
use super::{RequestRefused, SHORT_CHARS_MAX};
use crate::domain::name::{is_segment, shown};
use crate::domain::vocabulary::Vocabulary;
use crate::pb::weighbridge::v1 as pb;

/// Longest id of a model, and longest owner or environment, which are labels, in characters.
const ID_CHARS_MAX: usize = 512;
const LABEL_CHARS_MAX: usize = 256;

/// Checks a deployment.
///
/// # Errors
/// Every violation at once, under `path`; facts whose feature is not built yet are refused, never ignored.
pub fn check_deployment(message: &pb::Deployment, vocabulary: &Vocabulary, path: &str) -> Result<(), RequestRefused> {
    let pb::Deployment { name, display_name, model, use_profile, r#use, owner, environment, .. } = message;
    let mut v = Violations::at(path);
    if !name.strip_prefix("deployments/").is_some_and(is_segment) {
        v.add("name", format_args!("`{}` is no deployment name: write `deployments/{{id}}`", shown(name)));
    }
    v.length("display_name", display_name, SHORT_CHARS_MAX);
    if model.trim().is_empty() {
        v.add("model", "it must be set: a resource name, or any id the model is known by");
    }
    v.length("model", model, ID_CHARS_MAX);
    if !use_profile.is_empty() && !use_profile.strip_prefix("useProfiles/").is_some_and(is_segment) {
        let given = shown(use_profile);
        v.add("use_profile", format_args!("`{given}` is no profile name: write `useProfiles/{{id}}`"));
    }
    v.length("owner", owner, LABEL_CHARS_MAX);
    v.length("environment", environment, LABEL_CHARS_MAX);
    let facts = r#use.clone().unwrap_or_default();
    if facts.at.is_some() {
        v.add("use.at", "what is deployed is used now: leave it out");
    }
    for (key, value) in [("owner", owner), ("environment", environment)] {
        if let Some(label) = facts.labels.get(key).filter(|label| !value.is_empty() && *label != value) {
            let given = shown(label);
            v.add(
                "use.labels",
                format_args!("the label `{key}` says `{given}`, and `{key}` something else: leave it out"),
            );
        }
    }
    let mut missing = Violations::at(path);
    v.within("use", |v| use_facts(v, &mut missing, facts, vocabulary));
    v.finish(Some(())).map_err(RequestRefused::Invalid)?;
    missing.finish(Some(())).map_err(RequestRefused::Unimplemented)
}
