//! The catalog that ships with the release: `data/`, embedded at build, read and checked as a whole.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, LazyLock};

use include_dir::{Dir, DirEntry, include_dir};
use serde::Deserialize;

use super::key::Key;
use super::records;
use crate::catalog::hardware::HardwareFiles;
use crate::catalog::{Layer, Reference};
use crate::convert::{self, text};
use crate::domain::hosting::Hardware;
use crate::domain::license::License;
use crate::domain::model::{BaseRef, Model};
use crate::domain::name::{LicenseId, ModelName};
use crate::domain::publisher::{Publisher, Publishers};
use crate::domain::vocabulary::{UseCategory, Vocabulary};
use crate::ingest::license_names::LicenseNames;
use crate::ingest::source_errors::SourceErrors;
use crate::pb::weighbridge::storage::v1 as storage;
use crate::pb::weighbridge::storage::v1::record::Record as Kind;
use crate::pb::weighbridge::v1 as pb;

static DATA: Dir<'_> = include_dir!("$CARGO_MANIFEST_DIR/data");

/// Version of the built-in catalog: that of the release.
pub const CATALOG_VERSION: &str = env!("CARGO_PKG_VERSION");

/// The release that an actor brought in, if it is newer than this one.
pub(super) fn newer_release(actor: &str) -> Option<&str> {
    let release = actor.strip_prefix("builtin/")?;
    let read = |text: &str| -> Vec<u64> {
        // What comes after a hyphen is a draft of the release.
        let numbers = text.split(['-', '+']).next().unwrap_or_default().split('.');
        numbers.map(|number| number.parse().unwrap_or_default()).collect()
    };
    (read(release) > read(CATALOG_VERSION)).then_some(release)
}

/// The built-in catalog.
#[derive(Debug)]
pub struct Builtin {
    /// Words and tables that are not records.
    pub reference: Arc<Reference>,
    /// Records by key.
    pub(super) records: BTreeMap<Key, Kind>,
    /// Sources that ask for credit.
    pub attributions: Vec<String>,
    /// What a declared license stands for.
    pub license_names: LicenseNames,
    /// Statements of data sets that are known to be wrong.
    pub source_errors: SourceErrors,
}

impl Builtin {
    /// Ids of the shared lists of barred uses.
    pub fn use_policies(&self) -> impl Iterator<Item = &str> {
        self.records.keys().filter_map(|key| match key {
            Key::UsePolicy(id) => Some(&**id),
            _ => None,
        })
    }
}

/// The embedded catalog, read once.
///
/// # Errors
/// Every problem of every file, each with file and key.
pub fn builtin() -> Result<Arc<Builtin>, Vec<String>> {
    static BUILTIN: LazyLock<Result<Arc<Builtin>, Vec<String>>> = LazyLock::new(|| {
        let read = text::on_deep_stack(|| read(&files(&DATA)));
        read.unwrap_or_else(|why| Err(vec![why.to_owned()])).map(Arc::new)
    });
    BUILTIN.clone()
}

/// Files of a catalog: path and content.
pub type Files<'a> = Vec<(&'a Path, &'a [u8])>;

fn files(dir: &'static Dir<'static>) -> Files<'static> {
    let mut out = Vec::new();
    for entry in dir.entries() {
        match entry {
            DirEntry::Dir(dir) => out.extend(files(dir)),
            DirEntry::File(file) => out.push((file.path(), file.contents())),
        }
    }
    out.sort_by_key(|(path, _)| *path);
    out
}

/// Reads the files of a catalog.
///
/// # Errors
/// Every problem of every file, each with file and key.
pub fn read(files: &Files<'_>) -> Result<Builtin, Vec<String>> {
    let mut problems = Vec::new();
    let mut loaded = Loaded::default();
    for (path, content) in files {
        loaded.file(path, content, &mut problems);
    }
    let publishers = loaded.publishers(&mut problems);
    let hardware = std::mem::take(&mut loaded.hardware).finish().unwrap_or_else(|found| {
        problems.extend(found);
        Hardware::default()
    });
    let reference = Reference::new(loaded.vocabulary.clone().unwrap_or_default(), &loaded.mof, publishers);
    let reference = match reference {
        Ok(reference) => Some(reference.with_hardware(hardware)),
        Err(found) => {
            problems.extend(found.into_iter().map(|p| format!("openness/: {p}")));
            None
        }
    };
    if loaded.vocabulary.is_none() {
        problems.push("vocabulary.toml: the file is missing".into());
    }
    let license_names = match LicenseNames::read(&loaded.hub_tags, &loaded.license_names) {
        Ok(names) => {
            loaded.check_license_names(&names, &mut problems);
            Some(names)
        }
        Err(found) => {
            problems.extend(found);
            None
        }
    };
    loaded.add_further_ids(&mut problems);
    loaded.add_architectures(&mut problems);
    loaded.cross_check(&mut problems);
    match reference {
        Some(reference) if problems.is_empty() => {
            let license_names = license_names.unwrap_or_default();
            Ok(Builtin {
                reference: Arc::new(reference),
                records: loaded.records,
                attributions: loaded.attributions,
                license_names,
                source_errors: loaded.source_errors,
            })
        }
        _ => Err(problems),
    }
}

/// What was read so far.
#[derive(Default)]
struct Loaded {
    records: BTreeMap<Key, Kind>,
    licenses: BTreeMap<LicenseId, (String, License)>,
    models: BTreeMap<ModelName, (String, Model)>,
    policies: BTreeMap<Box<str>, String>,
    restrictions: Vec<(String, crate::domain::license::UseRestriction)>,
    vocabulary: Option<Vocabulary>,
    mof: String,
    publishers: PublishersFile,
    further_ids: Vec<(String, AliasesRow)>,
    hub_tags: String,
    license_names: String,
    source_errors: SourceErrors,
    attributions: Vec<String>,
    hardware: HardwareFiles,
    architectures: Vec<(String, ArchitectureRow)>,
}

impl Loaded {
    fn file(&mut self, path: &Path, content: &[u8], problems: &mut Vec<String>) {
        let shown = path.display().to_string();
        let folder = path.parent().and_then(Path::to_str).unwrap_or_default();
        match folder {
            "hardware" => self.hardware.read(&shown, &String::from_utf8_lossy(content)),
            "" if shown == "compliance.toml" => self.hardware.read(&shown, &String::from_utf8_lossy(content)),
            "architectures" => self.architecture_file(&shown, content, problems),
            "openness" => self.mof = String::from_utf8_lossy(content).into_owned(),
            "licenses" => self.license(&shown, path, content, problems),
            "use-policies" => self.use_policy(&shown, path, content, problems),
            "" | "generated" if path.file_name().is_some_and(|name| name == "aliases.toml") => {
                match toml::from_str::<AliasesFile>(&String::from_utf8_lossy(content)) {
                    Ok(file) => self.further_ids.extend(file.aliases.into_iter().map(|row| (shown.clone(), row))),
                    Err(error) => problems.push(format!("{shown}: {}", error.message())),
                }
            }
            "models" | "generated" => self.model_file(&shown, content, problems),
            "" if shown == "vocabulary.toml" => self.words(&shown, content, problems),
            "" if shown == "ATTRIBUTION.md" => self.credits(content),
            "" if shown == "publishers.toml" => match toml::from_str(&String::from_utf8_lossy(content)) {
                Ok(file) => self.publishers = file,
                Err(error) => problems.push(format!("{shown}: {}", error.message())),
            },
            "" if shown == "source-errors.toml" => match SourceErrors::read(&String::from_utf8_lossy(content)) {
                Ok(errors) => self.source_errors = errors,
                Err(found) => problems.extend(found.into_iter().map(|problem| format!("{shown}: {problem}"))),
            },
            "" if shown == "hub-tags.toml" => self.hub_tags = String::from_utf8_lossy(content).into_owned(),
            "" if shown == "license-names.toml" => self.license_names = String::from_utf8_lossy(content).into_owned(),
            // Policies to begin with: an organisation takes them over, none holds by itself.
            "policies" => {}
            // Tables that importers use, and notes for people.
            "" if shown.ends_with(".md") || shown.ends_with(".toml") => {}
            _ => problems.push(format!("{shown}: no file of the catalog belongs here")),
        }
    }

    fn license(&mut self, shown: &str, path: &Path, content: &[u8], problems: &mut Vec<String>) {
        let Some(message) = read_file::<pb::License>(shown, content, "weighbridge.v1.License", problems) else {
            return;
        };
        match convert::license(message.clone(), "") {
            Err(violations) => problems.extend(said(shown, violations)),
            Ok(license) => {
                let stem = path.file_stem().and_then(|s| s.to_str()).unwrap_or_default();
                if stem != license.id.as_str() {
                    problems.push(format!("{shown}: name: the file is not called after `{}`", license.id));
                }
                let id = license.id.clone();
                if self.licenses.insert(id.clone(), (shown.to_owned(), license)).is_some() {
                    problems.push(format!("{shown}: name: `{id}` is there twice"));
                }
                self.records.insert(Key::License(Layer::BuiltIn, id), Kind::License(message));
            }
        }
    }

    fn use_policy(&mut self, shown: &str, path: &Path, content: &[u8], problems: &mut Vec<String>) {
        const MESSAGE: &str = "weighbridge.storage.v1.UsePolicyRecord";
        let Some(message) = read_file::<storage::UsePolicyRecord>(shown, content, MESSAGE, problems) else { return };
        match records::use_policy(message.clone()) {
            Err(violations) => problems.extend(said(shown, violations)),
            Ok(list) => {
                if list.id.is_empty() {
                    problems.push(format!("{shown}: id: it must be set: licenses name the list by it"));
                } else if path.file_stem().and_then(|s| s.to_str()) != Some(&*list.id) {
                    problems.push(format!("{shown}: id: the file is not called after `{}`", list.id));
                }
                let named = list.restrictions.into_iter().enumerate();
                self.restrictions.extend(named.map(|(i, r)| (format!("{shown}: use_restrictions[{i}]"), r)));
                if self.policies.insert(list.id.clone(), shown.to_owned()).is_some() {
                    problems.push(format!("{shown}: id: `{}` is there twice", list.id));
                }
                self.records.insert(Key::UsePolicy(list.id), Kind::UsePolicy(message));
            }
        }
    }

    fn model_file(&mut self, shown: &str, content: &[u8], problems: &mut Vec<String>) {
        let Some(tree) = parse(shown, content, problems) else { return };
        let Some(models) =
            tree.get("models").and_then(|m| m.as_array()).filter(|_| tree.as_object().is_some_and(|o| o.len() == 1))
        else {
            problems.push(format!("{shown}: it holds one list, `models`"));
            return;
        };
        let Some(descriptor) = convert::descriptor("weighbridge.v1.Model") else { return };
        for (i, tree) in models.iter().enumerate() {
            let at = format!("{shown}: models[{i}]");
            let message = match text::read_as::<pb::Model>(tree, &descriptor) {
                Ok(message) => message,
                Err(found) => {
                    problems.extend(found.into_iter().map(|p| format!("{at}.{p}")));
                    continue;
                }
            };
            match convert::model(message.clone(), "") {
                Err(violations) => {
                    problems.extend(violations.into_iter().map(|v| format!("{at}.{}: {}", v.field, v.description)));
                }
                Ok(model) => self.model(&at, model, message, problems),
            }
        }
    }

    fn model(&mut self, at: &str, model: Model, message: pb::Model, problems: &mut Vec<String>) {
        let name = model.name.clone();
        if self.models.insert(name.clone(), (at.to_owned(), model)).is_some() {
            problems.push(format!("{at}.name: `{name}` is there twice"));
        }
        self.records.insert(Key::Model(Layer::BuiltIn, name), Kind::Model(message));
    }

    fn words(&mut self, shown: &str, content: &[u8], problems: &mut Vec<String>) {
        match toml::from_str::<VocabularyFile>(&String::from_utf8_lossy(content)) {
            Ok(file) => self.vocabulary = Some(file.into()),
            Err(error) => problems.push(format!("{shown}: {}", error.message())),
        }
    }

    // Every list item of the file is a credit that the service shows.
    fn credits(&mut self, content: &[u8]) {
        let text = String::from_utf8_lossy(content);
        let items = text.lines().filter_map(|line| line.strip_prefix("- "));
        self.attributions = items.map(|item| item.trim().to_owned()).collect();
    }

    /// Ids of the alias table into the records of their models.
    fn add_further_ids(&mut self, problems: &mut Vec<String>) {
        for (shown, AliasesRow { model, ids }) in std::mem::take(&mut self.further_ids) {
            let name = ModelName::parse(&model).ok();
            let record = name.as_ref().and_then(|name| self.models.get_mut(name));
            let message = name.and_then(|name| self.records.get_mut(&Key::Model(Layer::BuiltIn, name)));
            let (Some((_, record)), Some(Kind::Model(message))) = (record, message) else {
                problems.push(format!("{shown}: `{model}` is no model of the catalog"));
                continue;
            };
            for id in ids {
                if !message.aliases.contains(&id) {
                    record.aliases.push(id.as_str().into());
                    message.aliases.push(id);
                }
            }
        }
    }

    fn architecture_file(&mut self, shown: &str, content: &[u8], problems: &mut Vec<String>) {
        let Some(tree) = parse(shown, content, problems) else { return };
        match serde_json::from_value::<ArchitecturesFile>(tree) {
            Ok(file) => self.architectures.extend(file.architectures.into_iter().map(|row| (shown.to_owned(), row))),
            Err(error) => problems.push(format!("{shown}: {error}")),
        }
    }

    /// Layers and attention into the records of their models, with the number of parameters that follows from them.
    fn add_architectures(&mut self, problems: &mut Vec<String>) {
        let Some(descriptor) = convert::descriptor("weighbridge.v1.Architecture") else { return };
        for (shown, ArchitectureRow { models, parameters, architecture }) in std::mem::take(&mut self.architectures) {
            let at = models.first().map_or_else(|| shown.clone(), |first| format!("{shown}: `{first}`"));
            let architecture = match text::read_as::<pb::Architecture>(&architecture, &descriptor) {
                Ok(architecture) => architecture,
                Err(found) => {
                    problems.extend(found.into_iter().map(|problem| format!("{at}: {problem}")));
                    continue;
                }
            };
            if architecture.url.is_empty() {
                problems.push(format!("{at}: architecture.url: it must be set: where the figures were read"));
            }
            if convert::recorded_architecture(&architecture).is_none() {
                problems
                    .push(format!("{at}: architecture: too little of it is stated to say what it keeps of a token"));
            }
            if parameters.is_some_and(|ParametersRow { total, active }| total <= 0 || active <= 0) {
                problems.push(format!("{at}: parameters: both numbers are more than 0"));
            }
            for model in models {
                let name = ModelName::parse(&model).ok();
                let key = name.clone().map(|name| Key::Model(Layer::BuiltIn, name));
                let record = name.as_ref().and_then(|name| self.models.get_mut(name));
                let message = key.and_then(|key| self.records.get_mut(&key));
                let (Some((_, record)), Some(Kind::Model(message))) = (record, message) else {
                    problems.push(format!("{at}: `{model}` is no model of the catalog"));
                    continue;
                };
                if message.architecture.replace(architecture.clone()).is_some() {
                    problems.push(format!("{at}: `{model}` has an architecture already"));
                }
                if let Some(ParametersRow { total, active }) = parameters {
                    // What follows from the shape is exact; what a data set says is rounded, or of the name.
                    message.parameters = Some(pb::Parameters { total, active });
                    for entry in &mut message.provenance {
                        entry.fields.retain(|field| !field.starts_with("parameters."));
                    }
                    message.provenance.retain(|entry| !entry.fields.is_empty());
                    message.conflicts.retain(|conflict| !conflict.field.starts_with("parameters."));
                }
                match convert::model(message.clone(), "") {
                    Ok(read) => *record = read,
                    Err(violations) => problems.extend(said(&at, violations)),
                }
            }
        }
    }

    fn publishers(&self, problems: &mut Vec<String>) -> Publishers {
        let rows = self.publishers.publishers.iter().map(|row| Publisher {
            id: row.id.clone(),
            display_name: row.display_name.clone(),
            aliases: row.aliases.clone(),
            hub_organizations: row.hub_organizations.clone(),
            organizations: row.organizations.clone(),
        });
        Publishers::new(rows).unwrap_or_else(|found| {
            problems.extend(found.into_iter().map(|problem| format!("publishers.toml: {problem}")));
            Publishers::default()
        })
    }

    /// A reference that stands for a text we do not have would never be decided on.
    fn check_license_names(&self, names: &LicenseNames, problems: &mut Vec<String>) {
        for id in names.expressions().flat_map(|expression| expression.licenses()) {
            if id.as_str().starts_with("LicenseRef-") && !self.licenses.contains_key(id) {
                problems.push(format!("license-names.toml or hub-tags.toml: `{id}` is no license of the catalog"));
            }
        }
    }

    /// What one file says of another.
    fn cross_check(&self, problems: &mut Vec<String>) {
        let empty = Vocabulary::default();
        let vocabulary = self.vocabulary.as_ref().unwrap_or(&empty);
        for (shown, license) in self.licenses.values() {
            problems.extend(license.problems(vocabulary).into_iter().map(|p| format!("{shown}: {p}")));
            let policy = &license.use_policy.policy;
            if !policy.is_empty() && !self.policies.contains_key(policy) {
                problems.push(format!("{shown}: use_policy.policy: no file of `use-policies/` has the id `{policy}`"));
            }
        }
        for (at, restriction) in &self.restrictions {
            problems.extend(restriction.problem(vocabulary).map(|p| format!("{at}.category: {p}")));
        }
        let mut aliases: BTreeMap<&str, &ModelName> = BTreeMap::new();
        for (at, model) in self.models.values() {
            for alias in &model.aliases {
                if let Some(other) = aliases.insert(alias, &model.name).filter(|other| **other != model.name) {
                    problems.push(format!("{at}.aliases: `{alias}` also stands for `{other}`"));
                }
            }
        }
        for (at, model) in self.models.values() {
            if let Some(path) = super::lineage::cycle(model, |name| self.models.get(name).map(|(_, m)| m)) {
                problems.push(format!("{at}.base_models: the lineage goes in a circle: {}", path.join(" → ")));
            }
            let stated = model.base_models.iter().filter(|base| base.expression.is_none());
            for base in stated {
                if let BaseRef::Record(name) = &base.model
                    && !self.models.contains_key(name)
                    && name.publisher() != model.name.publisher()
                {
                    problems.push(format!(
                        "{at}.base_models: `{name}` is no record of the catalog and no license is stated for it"
                    ));
                }
            }
        }
    }
}

fn said(shown: &str, violations: Vec<convert::Violation>) -> impl Iterator<Item = String> {
    violations.into_iter().map(move |v| format!("{shown}: {}: {}", v.field, v.description))
}

fn parse(shown: &str, content: &[u8], problems: &mut Vec<String>) -> Option<serde_json::Value> {
    let Some(syntax) = text::Syntax::of_path(Path::new(shown)) else {
        problems.push(format!("{shown}: a file of the catalog ends in .toml, .yaml or .json"));
        return None;
    };
    match text::parse(content, syntax, &text::Limits::default()) {
        Ok(tree) => Some(tree),
        Err(found) => {
            problems.extend(found.into_iter().map(|p| format!("{shown}: {p}")));
            None
        }
    }
}

fn read_file<M: prost::Message + Default>(
    shown: &str,
    content: &[u8],
    message: &str,
    problems: &mut Vec<String>,
) -> Option<M> {
    let tree = parse(shown, content, problems)?;
    let descriptor = convert::descriptor(message)?;
    match text::read_as::<M>(&tree, &descriptor) {
        Ok(message) => Some(message),
        Err(found) => {
            problems.extend(found.into_iter().map(|p| format!("{shown}: {p}")));
            None
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct AliasesFile {
    aliases: Vec<AliasesRow>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct AliasesRow {
    model: String,
    ids: Vec<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ArchitecturesFile {
    architectures: Vec<ArchitectureRow>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ArchitectureRow {
    /// Models of that shape.
    models: Vec<String>,
    /// How many parameters follow from it.
    parameters: Option<ParametersRow>,
    /// An `Architecture`.
    architecture: serde_json::Value,
}

#[derive(Clone, Copy, Deserialize)]
#[serde(deny_unknown_fields)]
struct ParametersRow {
    total: i64,
    active: i64,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct PublishersFile {
    publishers: Vec<PublisherRow>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PublisherRow {
    id: String,
    display_name: String,
    #[serde(default)]
    aliases: Vec<String>,
    #[serde(default)]
    hub_organizations: Vec<String>,
    #[serde(default)]
    organizations: Vec<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct VocabularyFile {
    use_categories: BTreeMap<Box<str>, CategoryFile>,
    business_types: BTreeMap<Box<str>, Box<str>>,
    metrics: BTreeMap<Box<str>, Box<str>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct CategoryFile {
    sentence: Box<str>,
    #[serde(default)]
    broader: Vec<Box<str>>,
}

impl From<VocabularyFile> for Vocabulary {
    fn from(file: VocabularyFile) -> Self {
        let VocabularyFile { use_categories, business_types, metrics } = file;
        let use_categories = use_categories
            .into_iter()
            .map(|(slug, CategoryFile { sentence, broader })| (slug, UseCategory { sentence, broader }))
            .collect();
        Self { use_categories, business_types, metrics }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_built_in_catalog_is_valid() {
        if let Err(problems) = builtin() {
            panic!("{}", problems.join("\n"));
        }
    }
}
