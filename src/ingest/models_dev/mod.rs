//! models.dev: providers and what they serve, written by hand and by scripts, published as one JSON document.

pub mod catalog;
mod offering;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use super::document::{File, single};
use super::identity::AliasIndex;
use super::json::{self, Map, Node};
use super::reader::{Reader, count_unknown};
use super::{Entry, Import, ImportError, Limits, OfferingRecord, Outcome, ProviderRecord};
use crate::domain::name::{ProviderId, shown};

/// A document that was read and not yet normalised.
#[derive(Clone, Debug)]
pub struct Document {
    providers: Vec<(Box<str>, Node)>,
    limits: Limits,
}

/// Fields of a provider. `env` and `npm` are about client programs and not kept.
const PROVIDER_FIELDS: &[&str] = &["api", "doc", "env", "id", "models", "name", "npm"];
const PROVIDER_PREFIX: &str = "*.";

/// Reads `api.json`.
///
/// # Errors
/// [`ImportError`] when it is too large, no JSON, or no object of providers. Anything below that is tolerated.
pub fn read(bytes: &[u8], limits: &Limits) -> Result<Document, ImportError> {
    match json::parse(bytes, limits)? {
        Node::Object(providers) => Ok(Document { providers, limits: limits.clone() }),
        other => Err(ImportError::Shape {
            expected: "an object of providers by id, as in models.dev's api.json",
            found: other.kind(),
        }),
    }
}

/// Reads `api.json` as the one file of a document.
///
/// # Errors
/// As [`read`], and another number of files.
pub fn read_files(files: &[File], limits: &Limits) -> Result<Document, ImportError> {
    read(&single(files, "one JSON file")?.bytes, limits)
}

/// Normalises a document. `origin` is where it comes from, for the records' sources.
#[must_use]
pub fn normalise(document: &Document, index: &dyn AliasIndex, origin: &str) -> Import {
    let mut run =
        Run { limits: &document.limits, index, import: Import { origin: origin.into(), ..Import::default() } };
    for group in same_key(&document.providers) {
        match group {
            [(id, node)] => run.provider(id, node),
            // Which of them counts would depend on their order, so none does.
            several => several.iter().for_each(|(id, node)| {
                run.reject_provider(id, node, "its id is given more than once in the document");
            }),
        }
    }
    run.finish()
}

/// The entries of a sorted object, those of one key together.
fn same_key(map: &Map) -> impl Iterator<Item = &[(Box<str>, Node)]> {
    map.chunk_by(|(a, _), (b, _)| a == b)
}

/// One normalisation under way.
struct Run<'a> {
    limits: &'a Limits,
    index: &'a dyn AliasIndex,
    import: Import,
}

impl Run<'_> {
    fn finish(mut self) -> Import {
        self.import.providers.sort_by(|a, b| a.id.cmp(&b.id));
        self.import.offerings.sort_by(|a, b| a.name.cmp(&b.name));
        self.import.entries.sort();
        self.import
    }

    fn provider(&mut self, key: &str, node: &Node) {
        let Node::Object(map) = node else {
            let reason = format!("a provider is an object, this is {}", node.kind());
            return self.reject_provider(key, node, &reason);
        };
        let id = match ProviderId::new(key) {
            Ok(id) => id,
            Err(error) => return self.reject_provider(key, node, &error.to_string()),
        };
        count_unknown(&mut self.import.unknown_fields, map, PROVIDER_PREFIX, PROVIDER_FIELDS);
        let mut reader = Reader::new(self.limits);
        reader.id(map, key);
        let record = ProviderRecord {
            display_name: reader.text(map, "name").unwrap_or_else(|| key.into()),
            api_url: reader.url(map, "api"),
            documentation_url: reader.url(map, "doc"),
            id: id.clone(),
        };
        let models = models_of(map);
        warn_of_models(&mut reader, map, models.is_empty());
        self.entry(record.id.resource_name(), Outcome::Kept, reader.finish());
        self.import.providers.push(record);
        for group in models.chunk_by(|(a, _), (b, _)| a == b) {
            match group {
                [(key, node)] => self.offering(&id, key, node),
                several => several.iter().for_each(|(offering, _)| {
                    self.reject_offering(key, offering, "its id is given more than once at this provider");
                }),
            }
        }
    }

    fn offering(&mut self, provider: &ProviderId, key: &str, node: &Node) {
        match offering::read(self.limits, self.index, provider, key, node, &mut self.import.unknown_fields) {
            Ok(record) => self.keep_offering(record),
            Err(reason) => self.reject_offering(provider.as_str(), key, &reason),
        }
    }

    fn keep_offering(&mut self, record: OfferingRecord) {
        let (outcome, reason) = match &record.model {
            Some(_) => (Outcome::Kept, None),
            None => (Outcome::Unresolved, Some(record.unresolved_reason.to_string())),
        };
        self.entry(record.name.resource_name(), outcome, record.warnings.clone());
        if let (Some(reason), Some(entry)) = (reason, self.import.entries.last_mut()) {
            // Says nothing about the source, so it is not counted as a warning.
            entry.messages.push(reason);
        }
        self.import.offerings.push(record);
    }

    fn reject_provider(&mut self, key: &str, node: &Node, reason: &str) {
        self.reject(format!("providers/{}", shown(key)), reason);
        if let Node::Object(map) = node {
            for (offering, _) in models_of(map) {
                self.reject_offering(key, offering, &format!("its provider was rejected: {reason}"));
            }
        }
    }

    fn reject_offering(&mut self, provider: &str, key: &str, reason: &str) {
        self.reject(format!("providers/{}/offerings/{}", shown(provider), shown(key)), reason);
    }

    fn reject(&mut self, record: String, reason: &str) {
        self.import.rejected = self.import.rejected.saturating_add(1);
        let messages = vec![reason.to_owned()];
        self.import.entries.push(Entry { record, outcome: Outcome::Rejected, messages });
    }

    fn entry(&mut self, record: String, outcome: Outcome, warnings: Vec<String>) {
        let count = u32::try_from(warnings.len()).unwrap_or(u32::MAX);
        self.import.warnings = self.import.warnings.saturating_add(count);
        self.import.entries.push(Entry { record, outcome, messages: warnings });
    }
}

fn warn_of_models(reader: &mut Reader<'_>, provider: &Map, none: bool) {
    let given: Vec<_> = provider.iter().filter(|(key, _)| **key == *"models").map(|(_, node)| node).collect();
    if given.len() > 1 {
        reader.warn("models", "is given more than once: read together");
    }
    for node in given.iter().filter(|node| !matches!(node, Node::Object(_))) {
        reader.warn("models", &format!("is {}, not an object: left out", node.kind()));
    }
    if none {
        reader.warn("models", "holds no offerings");
    }
}

/// All offerings below a provider, sorted by id: also of a second `models`, so that none is lost.
fn models_of(provider: &Map) -> Vec<&(Box<str>, Node)> {
    let lists = provider.iter().filter(|(key, _)| **key == *"models");
    let mut models: Vec<_> = lists
        .filter_map(|(_, node)| if let Node::Object(models) = node { Some(models) } else { None })
        .flatten()
        .collect();
    models.sort_by(|(a, _), (b, _)| a.cmp(b));
    models
}

/// Counts unknown fields below an offering under the path that leads there.
fn count_unknown_at(unknown: &mut BTreeMap<String, u32>, map: &Map, path: &str, known: &[&str]) {
    count_unknown(unknown, map, &format!("{PROVIDER_PREFIX}models.*.{path}"), known);
}
