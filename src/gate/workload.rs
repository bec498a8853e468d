//! The models that an object of a cluster names: in annotations, and in arguments and variables of its containers.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::rules::{AdmissionRules, Runtime};

/// Lists of containers of a pod.
const CONTAINERS: &[&str] = &["containers", "initContainers", "ephemeralContainers"];
/// Shells, whose command line is one argument.
const SHELLS: &[&str] = &["sh", "bash", "ash", "dash", "zsh"];
/// Before the repository of a hub.
const HUB: &str = "hf://";

/// What an object names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Named {
    /// Each once. All of them have to pass.
    pub(super) models: Vec<String>,
    /// Where it cannot be told which model is meant, in words.
    pub(super) unclear: Vec<String>,
    /// What the annotation says with which the glass is broken.
    pub(super) break_glass: Option<String>,
}

/// Reads an object.
pub(super) fn read(rules: &AdmissionRules, object: &Value) -> Named {
    let mut found = Found { rules, annotated: Vec::new(), named: Named::default() };
    found.walk(object);
    for path in &rules.fields {
        let value = path.split('.').try_fold(object, |value, part| value.get(part));
        if let Some(Value::String(text)) = value {
            found.take(text, &format!("`{path}`"));
        }
    }
    let Found { annotated, mut named, .. } = found;
    // What stands where no id can be read is what the annotations say.
    if !annotated.is_empty() {
        named.unclear.clear();
    }
    for model in annotated {
        add(&mut named.models, model);
    }
    named
}

struct Found<'r> {
    rules: &'r AdmissionRules,
    annotated: Vec<String>,
    named: Named,
}

fn add(models: &mut Vec<String>, model: String) {
    if !models.contains(&model) {
        models.push(model);
    }
}

impl Found<'_> {
    /// Looks for pods, however deep they are inside of what makes them. The parser bounds the depth.
    fn walk(&mut self, value: &Value) {
        match value {
            Value::Array(items) => items.iter().for_each(|item| self.walk(item)),
            Value::Object(members) => {
                if let Some(Value::Object(annotations)) = members.get("metadata").and_then(|m| m.get("annotations")) {
                    self.annotations(annotations);
                }
                for (key, value) in members {
                    match (key.as_str(), value) {
                        ("metadata" | "status", _) => {}
                        (key, Value::Array(items)) if CONTAINERS.contains(&key) => {
                            items.iter().for_each(|container| self.container(container));
                        }
                        _ => self.walk(value),
                    }
                }
            }
            _ => {}
        }
    }

    fn annotations(&mut self, annotations: &Map<String, Value>) {
        let text = |name: &String| annotations.get(name).and_then(Value::as_str);
        for models in self.rules.model_annotations.iter().filter_map(text) {
            let models = models.split(',').map(str::trim).filter(|model| !model.is_empty());
            models.for_each(|model| add(&mut self.annotated, model.to_owned()));
        }
        if let Some(reason) = text(&self.rules.break_glass_annotation) {
            let said = self.named.break_glass.as_deref().is_some_and(|said| !said.trim().is_empty());
            if !said {
                self.named.break_glass = Some(reason.to_owned());
            }
        }
    }

    fn container(&mut self, container: &Value) {
        let text = |key: &str| container.get(key).and_then(Value::as_str).unwrap_or_default();
        let Some(runtime) = self.rules.runtime(text("image")) else { return };
        let shown = format!("the container `{}`", text("name"));
        let env = Env::of(container);
        let mut is_told = false;
        for value in env.of_runtime(runtime).chain(arguments(container, runtime, &env)) {
            is_told = true;
            match value {
                Some(value) => self.take(&value, &shown),
                None => self.unclear(format!("{shown} takes its model from where it cannot be seen here")),
            }
        }
        if !is_told && runtime.required {
            self.unclear(format!("{shown} serves a model (`{}`) and names none", text("image")));
        }
    }

    fn take(&mut self, value: &str, shown: &str) {
        let value = value.trim();
        if let Some(repository) = value.strip_prefix(HUB) {
            // Behind it a revision may stand.
            let end = repository.find([':', '@']).unwrap_or(repository.len());
            add(&mut self.named.models, repository.get(..end).unwrap_or(repository).to_owned());
        } else if value.is_empty() || value.starts_with(['/', '.', '~']) || value.contains("://") {
            self.unclear(format!("{shown} loads `{value}`, which says a place and no model"));
        } else {
            add(&mut self.named.models, value.to_owned());
        }
    }

    fn unclear(&mut self, text: String) {
        add(&mut self.named.unclear, text);
    }
}

/// The variables of a container. `None`: the value stands elsewhere.
struct Env<'c>(BTreeMap<&'c str, Option<&'c str>>);

impl<'c> Env<'c> {
    fn of(container: &'c Value) -> Self {
        let list = container.get("env").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
        let variable = |entry: &'c Value| {
            let name = entry.get("name")?.as_str()?;
            let value = entry.get("value").and_then(Value::as_str);
            // Neither is an empty value.
            Some((name, value.or_else(|| entry.get("valueFrom").is_none().then_some(""))))
        };
        // Of two the last counts.
        Self(list.iter().filter_map(variable).collect())
    }

    fn of_runtime<'s>(&'s self, runtime: &'s Runtime) -> impl Iterator<Item = Option<String>> + 's {
        let values = runtime.env.iter().filter_map(|name| self.0.get(name.as_str()));
        values.filter(|value| **value != Some("")).map(|value| value.and_then(|value| self.expanded(value)))
    }

    /// A text with its variables; `None`: one of them, or what a command says, cannot be seen here.
    fn expanded(&self, text: &str) -> Option<String> {
        let (mut out, mut rest) = (String::new(), text);
        while let Some(at) = rest.find(['$', '`']) {
            out.push_str(rest.get(..at)?);
            let after = rest.get(at..)?.strip_prefix('$')?;
            let (name, behind) = if let Some(inner) = after.strip_prefix('(') {
                inner.split_once(')')?
            } else if let Some(inner) = after.strip_prefix('{') {
                inner.split_once('}')?
            } else {
                let end = after.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(after.len());
                after.split_at_checked(end)?
            };
            out.push_str(self.0.get(name).copied().flatten().filter(|value| !value.contains(['$', '`']))?);
            rest = behind;
        }
        out.push_str(rest);
        Some(out)
    }
}

/// The models among the arguments of a container.
fn arguments(container: &Value, runtime: &Runtime, env: &Env<'_>) -> impl Iterator<Item = Option<String>> {
    let list = |key: &str| container.get(key).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default().iter();
    let written: Vec<&str> = list("command").chain(list("args")).filter_map(Value::as_str).collect();
    let is_shell = |word: &&str| SHELLS.contains(&word.rsplit('/').next().unwrap_or(word));
    let mut words: Vec<String> = Vec::new();
    let mut found = Vec::new();
    if written.iter().any(is_shell) {
        for word in written {
            match shlex::split(word) {
                // A command ends with `;`, which stands with its last word.
                Some(split) => words.extend(split.iter().map(|word| word.trim_end_matches(';').to_owned())),
                None => found.push(None),
            }
        }
        words.retain(|word| !word.trim().is_empty());
    } else {
        words.extend(written.into_iter().map(str::to_owned));
    }
    for (i, word) in words.iter().enumerate() {
        for name in &runtime.arguments {
            let value = match word.strip_prefix(name.as_str()) {
                // Another option follows: the model stands elsewhere.
                Some("") => words.get(i + 1).filter(|next| !next.starts_with('-')).map(String::as_str),
                Some(behind) => behind.strip_prefix('='),
                None => None,
            };
            found.extend(value.map(|value| env.expanded(value)));
        }
    }
    found.into_iter()
}
