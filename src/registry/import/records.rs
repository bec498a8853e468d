//! Records of a registry such as this, as files: they become the operator's, and what is built in stays built in.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;
use serde_json::Value;

use super::Planned;
use crate::catalog::{Layer, Snapshot};
use crate::convert::text::{self, Syntax};
use crate::convert::{self, Violation};
use crate::domain::model::Model;
use crate::domain::name::{LicenseId, ModelName, shown};
use crate::ingest::document::{File, Reading, check_size};
use crate::ingest::{Entry, Limits, Outcome};
use crate::pb::weighbridge::storage::v1::record::Record as Kind;
use crate::pb::weighbridge::v1 as pb;
use crate::registry::key::Key;
use crate::registry::models::timestamp;
use crate::registry::write::expect;
use crate::registry::{RegistryError, licenses, lineage, models, records};
use crate::store::{Expect, Revision, Write};

/// Who wrote what came from a file of records.
const ACTOR: &str = "import/records";
/// Lists that an answer of the list RPCs holds, and what stands beside them.
const LISTS: &[&str] = &["licenses", "models"];
const BESIDE_LISTS: &[&str] = &["next_page_token", "nextPageToken", "total_size", "totalSize"];

/// What would be written, and what is to be said of it.
///
/// # Errors
/// The document is too large, can not be read at all, or holds no record.
pub(super) fn plan(
    snapshot: &Arc<Snapshot>,
    files: &[File],
    limits: &Limits,
    now: Timestamp,
) -> Result<Planned, RegistryError> {
    check_size(files, limits)?;
    let report = pb::ImportReport::default();
    let mut plan = Plan { snapshot, now, report, writes: Vec::new(), expect: Vec::new(), entries: Vec::new() };
    let mut found = Vec::new();
    for file in files {
        plan.trees(file, limits, &mut found);
    }
    let (mut licenses, mut models) = (BTreeMap::new(), BTreeMap::new());
    for (at, tree) in &found {
        plan.read(at, tree, &mut licenses, &mut models);
    }
    if licenses.is_empty() && models.is_empty() {
        let first = plan.entries.first().map(|entry| format!(" ({}: {})", entry.record, entry.messages.join("; ")));
        return Err(RegistryError::NothingToImport { detail: first.unwrap_or_default() });
    }
    // Licenses first: models may name them.
    for (id, message) in licenses {
        plan.license(&id, message)?;
    }
    plan.models(&models)?;
    convert::add_entries(&mut plan.report, &Reading::default(), &plan.entries);
    Ok(Planned { report: plan.report, writes: plan.writes, expect: plan.expect, actor: ACTOR.to_owned() })
}

struct Plan<'a> {
    snapshot: &'a Snapshot,
    now: Timestamp,
    report: pb::ImportReport,
    writes: Vec<Write>,
    expect: Vec<Expect>,
    entries: Vec<Entry>,
}

impl Plan<'_> {
    fn reject(&mut self, record: &str, messages: Vec<String>) {
        self.entries.push(Entry { record: shown(record), outcome: Outcome::Rejected, messages });
    }

    /// The records of a file, each with where it stands.
    fn trees(&mut self, file: &File, limits: &Limits, found: &mut Vec<(String, Value)>) {
        let bounds = text::Limits { max_bytes: limits.document_bytes_max, ..text::Limits::default() };
        let name = file.name();
        let lines = name.ends_with(".ndjson") || name.ends_with(".jsonl");
        let syntax = Syntax::of_path(std::path::Path::new(name)).unwrap_or(Syntax::Json);
        if !lines {
            match text::parse(&file.bytes, syntax, &bounds) {
                Ok(tree) => return self.of_tree(name, tree, found),
                // Without a name that says so, a document of several lines may be one record a line.
                Err(_) if syntax == Syntax::Json && several_lines(&file.bytes) => {}
                Err(problems) => return self.reject(name, problems.iter().map(ToString::to_string).collect()),
            }
        }
        for (number, line) in file.bytes.split(|b| *b == b'\n').enumerate() {
            let line = line.trim_ascii();
            if line.is_empty() {
                continue;
            }
            let at = format!("{name}:{}", number + 1);
            match text::parse(line, Syntax::Json, &bounds) {
                Ok(tree) => self.of_tree(&at, tree, found),
                Err(problems) => self.reject(&at, problems.iter().map(ToString::to_string).collect()),
            }
        }
    }

    fn of_tree(&mut self, at: &str, tree: Value, found: &mut Vec<(String, Value)>) {
        let list = |list: Vec<Value>, path: &str| {
            let at = at.to_owned();
            let path = path.to_owned();
            list.into_iter().enumerate().map(move |(i, tree)| (format!("{at}: {path}[{i}]"), tree))
        };
        match tree {
            Value::Array(trees) => found.extend(list(trees, "")),
            Value::Object(map) if map.contains_key("name") => found.push((at.to_owned(), Value::Object(map))),
            Value::Object(map) => {
                for (key, value) in map {
                    match value {
                        Value::Array(trees) if LISTS.contains(&key.as_str()) => found.extend(list(trees, &key)),
                        _ if BESIDE_LISTS.contains(&key.as_str()) => {}
                        _ => {
                            let text = format!(
                                "`{}` is neither a record nor a list of them: give objects with a `name`, or `models` and `licenses`",
                                shown(&key)
                            );
                            self.reject(at, vec![text]);
                        }
                    }
                }
            }
            _ => self.reject(at, vec!["a record is an object with a `name`".to_owned()]),
        }
    }

    fn read(
        &mut self,
        at: &str,
        tree: &Value,
        licenses: &mut BTreeMap<LicenseId, pb::License>,
        models: &mut BTreeMap<ModelName, (pb::Model, Model)>,
    ) {
        let name = tree.get("name").and_then(Value::as_str).unwrap_or_default();
        let problem = if name.starts_with("licenses/") {
            read_license(tree).map(|(id, message)| licenses.insert(id, message).is_some())
        } else if name.starts_with("publishers/") {
            read_model(tree).map(|(message, model)| models.insert(model.name.clone(), (message, model)).is_some())
        } else {
            Err(vec!["`name` is neither `publishers/…/models/…` nor `licenses/…`".to_owned()])
        };
        match problem {
            Ok(false) => self.report.models = self.report.models.saturating_add(1),
            Ok(true) => self.reject(name, vec!["it is given more than once: the last one counts".to_owned()]),
            Err(messages) => self.reject(&format!("{at} {name}"), messages),
        }
    }

    fn license(&mut self, id: &LicenseId, message: pb::License) -> Result<(), RegistryError> {
        let shown = self.snapshot.license_entry(id).map(|entry| licenses::message(entry)).transpose()?;
        let origin = message.origin();
        let message = licenses::written(message);
        if shown.is_some_and(|shown| licenses::written(shown) == message) {
            self.report.unchanged = self.report.unchanged.saturating_add(1);
            return Ok(());
        }
        if origin == pb::Origin::BuiltIn {
            self.reject(&id.resource_name(), vec![OTHER_RELEASE.to_owned()]);
            return Ok(());
        }
        if let Err(error) = licenses::validate(self.snapshot, &message) {
            self.reject(&id.resource_name(), said(error));
            return Ok(());
        }
        let old = self.snapshot.license_in(Layer::Operator, id).map(|entry| (entry.revision, &entry.payload));
        self.put(&Key::License(Layer::Operator, id.clone()), Kind::License(message), old)
    }

    fn models(&mut self, found: &BTreeMap<ModelName, (pb::Model, Model)>) -> Result<(), RegistryError> {
        let mut aliases: BTreeMap<Box<str>, ModelName> = BTreeMap::new();
        for (name, (message, model)) in found {
            let shown = self.snapshot.model_entry(name).map(|entry| models::message(entry)).transpose()?;
            let origin = message.origin();
            let message = models::confirmed(message.clone());
            if shown.is_some_and(|shown| models::written(shown) == message) {
                self.report.unchanged = self.report.unchanged.saturating_add(1);
                continue;
            }
            if origin == pb::Origin::BuiltIn {
                self.reject(name.as_str(), vec![OTHER_RELEASE.to_owned()]);
                continue;
            }
            let mut problems: Vec<String> =
                models::check_aliases(self.snapshot, model).map_or_else(said, |()| Vec::new());
            for alias in &model.aliases {
                let other = aliases.entry(alias.clone()).or_insert_with(|| name.clone());
                if other != name {
                    problems.push(format!("alias `{alias}` also stands for `{other}` in this document"));
                }
            }
            let find = |other: &ModelName| {
                let here = found.get(other).map(|(_, model)| model);
                here.or_else(|| self.snapshot.model_entry(other).map(|entry| &entry.record))
            };
            if let Some(path) = lineage::cycle(model, find) {
                problems.push(format!("its lineage goes in a circle: {}", path.join(" → ")));
            }
            if problems.is_empty() {
                let old = self.snapshot.model_in(Layer::Operator, name).map(|entry| (entry.revision, &entry.payload));
                self.put(&Key::Model(Layer::Operator, name.clone()), Kind::Model(message), old)?;
            } else {
                self.reject(name.as_str(), problems);
            }
        }
        Ok(())
    }

    fn put(
        &mut self,
        key: &Key,
        kind: Kind,
        old: Option<(Revision, &crate::catalog::Payload)>,
    ) -> Result<(), RegistryError> {
        let mut created = self.now;
        let count = match old {
            None => &mut self.report.created,
            Some((_, old)) => {
                let (stored, times) = records::stored(old)?;
                if stored == kind {
                    self.report.unchanged = self.report.unchanged.saturating_add(1);
                    return Ok(());
                }
                created = times.created.map_or(self.now, |t| timestamp(&t, self.now));
                &mut self.report.updated
            }
        };
        *count = count.saturating_add(1);
        let value = records::record(kind, ACTOR, created, self.now);
        // What was looked at is what is replaced: else it is planned anew on what stands there.
        self.expect.push(expect(key, old.map(|(revision, _)| revision)));
        self.writes.push(Write { key: key.bytes(), value: Some(value) });
        Ok(())
    }
}

const OTHER_RELEASE: &str = "it is built into another release and differs here: leave `origin` out to make it your own";

fn several_lines(bytes: &[u8]) -> bool {
    bytes.split(|b| *b == b'\n').filter(|line| !line.trim_ascii().is_empty()).nth(1).is_some()
}

fn read_license(tree: &Value) -> Result<(LicenseId, pb::License), Vec<String>> {
    let message: pb::License = read_message(tree, "weighbridge.v1.License")?;
    let license = convert::license(message.clone(), "").map_err(listed)?;
    Ok((license.id, message))
}

fn read_model(tree: &Value) -> Result<(pb::Model, Model), Vec<String>> {
    let message: pb::Model = read_message(tree, "weighbridge.v1.Model")?;
    let model = convert::model(message.clone(), "").map_err(listed)?;
    Ok((message, model))
}

fn read_message<M: prost::Message + Default>(tree: &Value, name: &str) -> Result<M, Vec<String>> {
    let Some(descriptor) = convert::descriptor(name) else { return Err(vec![format!("no descriptor of {name}")]) };
    text::read_as::<M>(tree, &descriptor).map_err(|problems| problems.iter().map(ToString::to_string).collect())
}

fn listed(violations: Vec<Violation>) -> Vec<String> {
    violations.into_iter().map(|v| format!("{}: {}", v.field, v.description)).collect()
}

fn said(error: RegistryError) -> Vec<String> {
    match error {
        RegistryError::Invalid(violations) => listed(violations),
        other => vec![other.to_string()],
    }
}
