//! The models that an object of a cluster names: in annotations, and in arguments and variables of its containers.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::rules::{AdmissionRules, Runtime};

/// Models of one object that are looked at, and places where one cannot be told.
pub(super) const MODELS_MAX: usize = 64;
/// Lists of containers of a pod.
const CONTAINERS: &[&str] = &["containers", "initContainers", "ephemeralContainers"];
/// Shells, whose command line is one argument.
const SHELLS: &[&str] = &["sh", "bash", "ash", "dash", "zsh"];
/// Words of a shell after which a variable may be anything.
const SETTERS: &[&str] = &["read", "source", ".", "eval", "mapfile", "readarray"];
/// What ends a word of a shell, spaces or not.
const SHELL_MARKS: &[char] = &[';', '|', '&', '(', ')', '{', '}', ' ', '\t', '\n'];
/// Before the repository of a hub.
const HUB: &str = "hf://";
/// Ends of files of weights.
const FILES: &[&str] = &[".gguf", ".safetensors"];
/// Shortest abbreviation of an option that is taken for it, dashes included.
const ABBREVIATION_MIN: usize = 5;
/// Longest text with its variables put in: one variable may hold others many times over.
const EXPANDED_BYTES_MAX: usize = 64 << 10;
/// Longest value that is shown.
const SHOWN_CHARS_MAX: usize = 200;

/// What an object names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Workload {
    /// Each once; at most one more than [`MODELS_MAX`]. All of them have to pass.
    pub(super) models: Vec<String>,
    /// Where it cannot be told which model is meant, in words.
    pub(super) unclear: Vec<String>,
    /// What the annotation says with which the glass is broken.
    pub(super) break_glass: Option<String>,
}

impl Workload {
    /// Reads an object.
    pub(super) fn read(rules: &AdmissionRules, object: &Value) -> Self {
        let mut found = Found { rules, annotated: Vec::new(), workload: Self::default() };
        found.walk(object);
        for path in &rules.fields {
            let value = path.split('.').try_fold(object, |value, part| value.get(part));
            if let Some(Value::String(text)) = value {
                found.take(text, false, &format!("`{path}`"));
            }
        }
        let Found { annotated, mut workload, .. } = found;
        // What stands where no id can be read is what the annotations say.
        if !annotated.is_empty() {
            workload.unclear.clear();
        }
        annotated.into_iter().for_each(|model| add(&mut workload.models, model));
        workload
    }
}

struct Found<'r> {
    rules: &'r AdmissionRules,
    annotated: Vec<String>,
    workload: Workload,
}

/// Adds one that is not there. Beyond the most nothing is gathered: such an object does not pass.
fn add(list: &mut Vec<String>, text: String) {
    if list.len() <= MODELS_MAX && !list.contains(&text) {
        list.push(text);
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
            let said = self.workload.break_glass.as_deref().is_some_and(|said| !said.trim().is_empty());
            if !said {
                self.workload.break_glass = Some(reason.to_owned());
            }
        }
    }

    fn container(&mut self, container: &Value) {
        let text = |key: &str| container.get(key).and_then(Value::as_str).unwrap_or_default();
        let Some(runtime) = self.rules.runtime(text("image")) else { return };
        let shown = format!("the container `{}`", cut(text("name")));
        let words = Words::of(container);
        let mut is_told = false;
        for value in words.of_env(container, runtime).into_iter().chain(words.of_arguments(container, runtime)) {
            is_told = true;
            match value {
                Some(value) => self.take(&value, runtime.hub, &shown),
                None => self.unclear(format!("{shown} takes its model from where it cannot be seen here")),
            }
        }
        if !is_told && runtime.required {
            self.unclear(format!("{shown} serves a model (`{}`) and names none", cut(text("image"))));
        }
    }

    /// Takes what stands where a model is named. `hub`: a repository of the hub, behind which a tag or a revision may stand.
    fn take(&mut self, value: &str, hub: bool, shown: &str) {
        let value = value.trim();
        let repository = value.strip_prefix(HUB).or_else(|| hub.then_some(value));
        let is_file = FILES.iter().any(|end| value.to_ascii_lowercase().ends_with(end));
        let is_place = |text: &str| text.is_empty() || text.starts_with(['/', '.', '~']) || text.contains("://");
        match repository {
            Some(repository) if !is_place(repository) && !is_file => {
                let end = repository.find([':', '@']).unwrap_or(repository.len());
                add(&mut self.workload.models, repository.get(..end).unwrap_or(repository).to_owned());
            }
            None if !is_place(value) && !is_file => add(&mut self.workload.models, value.to_owned()),
            _ => self.unclear(format!("{shown} loads `{}`, which says a place and no model", place(value))),
        }
    }

    fn unclear(&mut self, text: String) {
        add(&mut self.workload.unclear, text);
    }
}

/// A text that is shown, of some length.
pub(super) fn cut(text: &str) -> String {
    match text.char_indices().nth(SHOWN_CHARS_MAX) {
        Some((end, _)) => format!("{}…", text.get(..end).unwrap_or_default()),
        None => text.to_owned(),
    }
}

/// An address without what may be a secret in it.
fn place(value: &str) -> String {
    let value = value.split(['?', '#']).next().unwrap_or_default();
    match value.split_once("://") {
        Some((scheme, rest)) => {
            let (host, path) = rest.split_once('/').unwrap_or((rest, ""));
            let host = host.rsplit('@').next().unwrap_or(host);
            cut(&format!("{scheme}://{host}/{path}"))
        }
        None => cut(value),
    }
}

/// The command line of a container and its variables.
struct Words {
    /// `None`: one that cannot be told.
    words: Vec<Option<String>>,
    /// `None`: the value stands elsewhere, or may be another.
    env: BTreeMap<String, Option<String>>,
    is_shell: bool,
}

impl Words {
    fn of(container: &Value) -> Self {
        let list =
            |key: &str| container.get(key).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default().iter();
        let mut env = BTreeMap::new();
        for entry in list("env") {
            let Some(name) = entry.get("name").and_then(Value::as_str) else { continue };
            let value = match (entry.get("value").and_then(Value::as_str), entry.get("valueFrom")) {
                (Some(value), _) => expanded(value, &env),
                (None, None | Some(Value::Null)) => Some(String::new()),
                (None, Some(_)) => None,
            };
            // Of a name that is there twice nobody should have to know which one counts.
            let value = if env.contains_key(name) { None } else { value };
            env.insert(name.to_owned(), value);
        }
        let written: Vec<&str> = list("command").chain(list("args")).filter_map(Value::as_str).collect();
        let is_shell = written.iter().any(|word| SHELLS.contains(&word.rsplit('/').next().unwrap_or(word)));
        let mut split: Vec<Option<String>> = Vec::new();
        for word in written {
            if !is_shell {
                split.push(Some(word.to_owned()));
                continue;
            }
            match shlex::split(word) {
                // A command ends with `;`, which stands with its last word.
                Some(words) => split.extend(words.iter().map(|word| Some(word.trim_end_matches(';').to_owned()))),
                None => split.push(None),
            }
        }
        // What sets a variable on the way: `NAME=…` behind another command, and in a shell any mention of its name.
        for word in split.iter().flatten() {
            let assigned = word.split_once('=').map(|(name, _)| name);
            for name in assigned.into_iter().chain(is_shell.then(|| mentioned(word)).into_iter().flatten()) {
                if let Some(value) = env.get_mut(name) {
                    *value = None;
                }
            }
        }
        let sets = |word: &String| word.split(SHELL_MARKS).any(|part| SETTERS.contains(&part));
        if is_shell && split.iter().flatten().any(sets) {
            env.values_mut().for_each(|value| *value = None);
        }
        let mut words: Vec<Option<String>> = Vec::new();
        let mut before_is_option = false;
        for word in split {
            let Some(word) = word else {
                words.push(None);
                continue;
            };
            let is_option = word.starts_with('-') && !word.contains('=');
            match expanded(&word, &env) {
                // A variable of a shell may hold several words.
                Some(expanded) if is_shell && expanded != word => {
                    words.extend(expanded.split_whitespace().map(|word| Some(word.to_owned())));
                }
                Some(expanded) => words.push(Some(expanded)),
                // Outside of a shell it is one word, and behind an option that option's value; or a part of a word that is told.
                None if !is_shell && before_is_option || !word.starts_with(['$', '`']) => words.push(Some(word)),
                None => words.push(None),
            }
            before_is_option = is_option;
        }
        words.retain(|word| word.as_ref().is_none_or(|word| !word.trim().is_empty()));
        Self { words, env, is_shell }
    }

    /// What the variables of a runtime say.
    fn of_env(&self, container: &Value, runtime: &Runtime) -> Vec<Option<String>> {
        let has_more = container.get("envFrom").and_then(Value::as_array).is_some_and(|list| !list.is_empty());
        let of = |name: &String| match self.env.get(name) {
            Some(Some(value)) if value.is_empty() => None,
            Some(value) => Some(value.clone()),
            // It may come from elsewhere.
            None => has_more.then_some(None),
        };
        // Those that are not read here only have to be empty.
        let is_opaque = |name: &&String| of(name).is_some();
        let opaque = runtime.opaque_env.iter().filter(is_opaque).map(|_| None);
        runtime.env.iter().filter_map(of).chain(opaque).collect()
    }

    /// What the command line says.
    fn of_arguments(&self, container: &Value, runtime: &Runtime) -> Vec<Option<String>> {
        let mut found = Vec::new();
        let whole = |value: &str| expanded(value, &self.env);
        for (i, word) in self.words.iter().enumerate() {
            let Some(word) = word else {
                found.push(None);
                continue;
            };
            if runtime.opaque.iter().any(|name| is_option(word, name)) {
                found.push(None);
            }
            for name in runtime.arguments.iter().filter(|name| is_option(word, name)) {
                let value = match word.split_once('=').filter(|_| name.starts_with('-')) {
                    Some((_, value)) => whole(value),
                    // Where another option follows, the model stands elsewhere.
                    None => self
                        .words
                        .get(i + 1)
                        .cloned()
                        .flatten()
                        .filter(|next| !next.starts_with('-'))
                        .and_then(|v| whole(&v)),
                };
                found.push(value);
            }
        }
        // The image itself begins the command.
        let has_command = container.get("command").and_then(Value::as_array).is_some_and(|list| !list.is_empty());
        if runtime.first_argument && !has_command && !self.is_shell {
            let first = self.words.first().cloned().flatten();
            let is_model = |word: &String| !word.starts_with('-') && !runtime.arguments.contains(word);
            found.extend(first.filter(is_model).map(|word| whole(&word)));
        }
        found
    }
}

/// The names in a word of a shell that stand there not to be read (`$NAME`), but perhaps to be set.
fn mentioned(word: &str) -> impl Iterator<Item = &str> {
    let is_part = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let mut at = 0;
    word.split(move |c: char| !is_part(c)).filter(move |name| {
        let from = at;
        // What stands between two names is one character, of one byte or more.
        at = from + name.len();
        at += word.get(at..).and_then(|rest| rest.chars().next()).map_or(0, char::len_utf8);
        let before = word.get(..from).unwrap_or_default();
        let is_read = ["$", "${", "$("].iter().any(|mark| before.ends_with(mark));
        !is_read && !name.is_empty()
    })
}

/// Whether a word is an option of some name, with its value or not: parsers take abbreviations and `_` for `-`.
fn is_option(word: &str, name: &str) -> bool {
    if !name.starts_with("--") {
        return word == name || name.starts_with('-') && word.split_once('=').is_some_and(|(option, _)| option == name);
    }
    // Behind a dot stands a part of a value.
    let option = word.split(['=', '.', '+']).next().unwrap_or(word).replace('_', "-");
    let name = name.replace('_', "-");
    option == name || option.len() >= ABBREVIATION_MIN && name.starts_with(&option)
}

/// A text with its variables; `None`: one of them, or what a command says, cannot be seen here.
fn expanded(text: &str, env: &BTreeMap<String, Option<String>>) -> Option<String> {
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
        out.push_str(env.get(name)?.as_deref().filter(|value| !value.contains(['$', '`']))?);
        rest = behind;
        if out.len() + rest.len() > EXPANDED_BYTES_MAX {
            return None;
        }
    }
    out.push_str(rest);
    Some(out)
}
