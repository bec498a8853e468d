//! What the gate before a cluster is told: what names a model in an object, and what holds in which namespace.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;

use super::settings::profile_name;
use crate::pb::weighbridge::v1 as pb;

/// Rules of the gate before a cluster.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AdmissionRules {
    /// Annotations that name models, several with commas between them.
    #[serde(default = "model_annotations")]
    pub(super) model_annotations: Vec<String>,
    /// The annotation with which somebody lets an object pass on their own account, saying why.
    #[serde(default = "break_glass_annotation")]
    pub(super) break_glass_annotation: String,
    /// Paths of fields that name a model, outside of containers.
    #[serde(default)]
    pub(super) fields: Vec<String>,
    /// Containers that serve models. The first that fits an image counts.
    #[serde(default)]
    pub(super) runtimes: Vec<Runtime>,
    /// Users that make pods of what others wrote, who were asked about when they wrote it: the cluster's own controllers. Where such
    /// a pod breaks the glass, it was let.
    #[serde(default)]
    pub(super) controllers: BTreeSet<String>,
    /// What holds where. The first that fits a namespace counts.
    pub(super) zones: Vec<Zone>,
}

fn model_annotations() -> Vec<String> {
    vec!["weighbridge/model".to_owned()]
}

fn break_glass_annotation() -> String {
    "weighbridge/break-glass".to_owned()
}

/// Containers that serve a model, and where they name it.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Runtime {
    /// Patterns of images, `*` for anything.
    pub(super) images: Vec<String>,
    /// Arguments after which the model stands, or after their `=`.
    #[serde(default)]
    pub(super) arguments: Vec<String>,
    /// Variables whose value is the model.
    #[serde(default)]
    pub(super) env: Vec<String>,
    /// Options that name models in a form that is not read here, such as adapters: an annotation has to say them.
    #[serde(default)]
    pub(super) opaque: Vec<String>,
    /// Variables of that kind.
    #[serde(default)]
    pub(super) opaque_env: Vec<String>,
    /// Whether the first argument is the model where the image's own command is run.
    #[serde(default)]
    pub(super) first_argument: bool,
    /// Whether models are repositories of the hub, behind which a tag or a revision may stand.
    #[serde(default)]
    pub(super) hub: bool,
    /// Whether a container that names no model does not pass.
    #[serde(default = "yes")]
    pub(super) required: bool,
}

fn yes() -> bool {
    true
}

/// What holds in some namespaces.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Zone {
    /// Patterns of namespaces, `*` for anything.
    pub(super) namespaces: Vec<String>,
    /// What becomes of what would not pass.
    pub(super) mode: Mode,
    /// The use profile whose facts hold.
    #[serde(default)]
    pub(super) use_profile: String,
    /// Labels of the use, for policies.
    #[serde(default)]
    pub(super) labels: BTreeMap<String, String>,
    /// What becomes of what needs a review.
    #[serde(default)]
    pub(super) review: Review,
    /// Who may break the glass.
    #[serde(default)]
    pub(super) break_glass: BreakGlass,
}

/// What becomes of what would not pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Mode {
    /// It is denied.
    Enforce,
    /// It passes with a warning.
    Warn,
    /// It is not asked about.
    Off,
}

/// What becomes of what needs a review.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Review {
    /// It is denied.
    #[default]
    Deny,
    /// It passes with a warning.
    Warn,
}

/// Who may break the glass.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(untagged)]
pub(super) enum BreakGlass {
    /// Everybody who may write the object, or nobody.
    Everybody(bool),
    /// Who is in one of these groups.
    Groups(BTreeSet<String>),
}

impl Default for BreakGlass {
    fn default() -> Self {
        Self::Everybody(false)
    }
}

impl BreakGlass {
    pub(super) fn lets(&self, groups: &[String]) -> bool {
        match self {
            Self::Everybody(all) => *all,
            Self::Groups(wanted) => groups.iter().any(|group| wanted.contains(group)),
        }
    }
}

impl Zone {
    /// The facts besides those of the profile.
    pub(super) fn facts(&self) -> pb::Use {
        pb::Use { labels: self.labels.clone(), ..Default::default() }
    }
}

impl AdmissionRules {
    /// Reads rules, YAML.
    ///
    /// # Errors
    /// What is wrong with them: the first of what cannot be read, else all of it.
    pub fn parse(text: &str) -> Result<Self, Vec<String>> {
        let mut rules: Self = serde_saphyr::from_str(text).map_err(|error| vec![error.to_string()])?;
        let problems = rules.problems();
        if !problems.is_empty() {
            return Err(problems);
        }
        for zone in &mut rules.zones {
            zone.use_profile = profile_name(&zone.use_profile);
        }
        Ok(rules)
    }

    fn problems(&self) -> Vec<String> {
        let mut problems = Vec::new();
        if self.zones.is_empty() {
            problems.push("zones: there is none, so that nothing with a model would pass anywhere".to_owned());
        }
        let mut filled = |at: String, list: &[String], what: &str| {
            if list.is_empty() {
                problems.push(format!("{at}: name {what}, `*` for all"));
            }
            if list.iter().any(|text| text.trim().is_empty()) {
                problems.push(format!("{at}: one of them is empty"));
            }
        };
        for (i, zone) in self.zones.iter().enumerate() {
            filled(format!("zones[{i}].namespaces"), &zone.namespaces, "the namespaces that it holds for");
        }
        for (i, runtime) in self.runtimes.iter().enumerate() {
            filled(format!("runtimes[{i}].images"), &runtime.images, "the images that it holds for");
        }
        for (i, runtime) in self.runtimes.iter().enumerate() {
            if runtime.arguments.is_empty() && runtime.env.is_empty() && !runtime.first_argument && !runtime.required {
                problems.push(format!("runtimes[{i}]: say where the model stands (`arguments`, `env`, `first_argument`), or that one has to be named (`required`)"));
            }
            if runtime
                .arguments
                .iter()
                .chain(&runtime.env)
                .chain(&runtime.opaque)
                .chain(&runtime.opaque_env)
                .any(|text| text.trim().is_empty())
            {
                problems.push(format!("runtimes[{i}]: an argument or a variable without a name"));
            }
        }
        let empty = |text: &&String| text.split('.').any(|part| part.trim().is_empty());
        for field in self.fields.iter().filter(empty) {
            problems.push(format!("fields: `{field}` is no path as `spec.predictor.model.storageUri`"));
        }
        if self.model_annotations.iter().chain([&self.break_glass_annotation]).any(|name| name.trim().is_empty()) {
            problems.push("model_annotations, break_glass_annotation: one of them is empty".to_owned());
        }
        if self.model_annotations.contains(&self.break_glass_annotation) {
            problems.push("break_glass_annotation: it is an annotation that names models".to_owned());
        }
        problems
    }

    /// What holds in a namespace; an object of the cluster is in the one without a name.
    pub(super) fn zone(&self, namespace: &str) -> Option<&Zone> {
        self.zones.iter().find(|zone| zone.namespaces.iter().any(|pattern| fits(pattern, namespace)))
    }

    /// What a container of an image is.
    pub(super) fn runtime(&self, image: &str) -> Option<&Runtime> {
        self.runtimes.iter().find(|runtime| runtime.images.iter().any(|pattern| fits(pattern, image)))
    }
}

/// Whether a text fits a pattern in which `*` is anything.
fn fits(pattern: &str, text: &str) -> bool {
    let mut parts = pattern.split('*');
    let Some(mut rest) = parts.next().and_then(|first| text.strip_prefix(first)) else { return false };
    let parts: Vec<&str> = parts.collect();
    let Some((last, between)) = parts.split_last() else { return rest.is_empty() };
    for part in between {
        match rest.find(part) {
            Some(at) => rest = rest.get(at + part.len()..).unwrap_or_default(),
            None => return false,
        }
    }
    rest.ends_with(last)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_is_anything() {
        for (pattern, text, expected) in [
            ("*", "", true),
            ("*", "prod", true),
            ("prod", "prod", true),
            ("prod", "prod-1", false),
            ("prod-*", "prod-1", true),
            ("*-prod", "eu-prod", true),
            ("*vllm*", "docker.io/vllm/vllm-openai:v0.12", true),
            ("a*a", "a", false),
            ("a*b*c", "abc", true),
            ("a*b*c", "acb", false),
            ("", "", true),
            ("", "x", false),
        ] {
            assert_eq!(fits(pattern, text), expected, "{pattern} {text}");
        }
    }

    #[test]
    fn what_is_wrong_with_rules_is_said_at_once() {
        let told = |text: &str| AdmissionRules::parse(text).unwrap_err();
        assert_eq!(told("zones: []").len(), 1);
        assert!(told("zones: [{namespaces: [a], mode: on}]")[0].contains("mode"));
        assert!(told("zones: [{namespaces: [a], mode: warn, reviews: deny}]")[0].contains("reviews"));
        let text = "{zones: [{namespaces: [], mode: warn}, {namespaces: [''], mode: off}], fields: [a..b], \
                    runtimes: [{images: []}, {images: [x], env: [''], required: false}, {images: [x], required: false}], model_annotations: [weighbridge/break-glass]}";
        assert_eq!(told(text).len(), 7, "{:?}", told(text));
        let rules = AdmissionRules::parse("zones: [{namespaces: [a], mode: warn, use_profile: lab}]").unwrap();
        assert_eq!(rules.zone("a").unwrap().use_profile, "useProfiles/lab");
        assert_eq!(rules.zone("b"), None);
    }
}
