//! The real documents beside the repository.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::Value;

use super::super::{normalise, read};
use crate::domain::name::ModelName;
use crate::ingest::identity::table::Table;
use crate::ingest::{Import, Limits, Outcome};

fn bytes(file: &str) -> Vec<u8> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/data/models.dev").join(file);
    std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn json(file: &str) -> BTreeMap<String, Value> {
    serde_json::from_slice(&bytes(file)).unwrap()
}

/// The source's own model records as known models: named after the hub repository where there is one.
fn known_models() -> Table {
    let mut table = Table::default();
    for (key, record) in json("models.json") {
        let model = record_name(&key, &record);
        let (_, id) = key.split_once('/').unwrap();
        let mut aliases = vec![key.clone(), id.to_owned()];
        aliases.extend(repositories(&record).flat_map(|r| [r.clone(), r.rsplit('/').next().unwrap().to_owned()]));
        let aliases: Vec<_> = aliases.iter().map(String::as_str).collect();
        table.add(&model, &aliases);
    }
    table
}

fn repositories(record: &Value) -> impl Iterator<Item = String> {
    let urls = record["weights"].as_array().into_iter().flatten().filter_map(|w| w["url"].as_str());
    urls.filter_map(|url| url.strip_prefix("https://huggingface.co/")).map(str::to_owned)
}

fn record_name(key: &str, record: &Value) -> ModelName {
    let (lab, id) = key.split_once('/').unwrap();
    let repository = repositories(record).next();
    let last = repository.as_deref().and_then(|r| r.rsplit('/').next()).unwrap_or(id);
    ModelName::new(lab, &last.to_ascii_lowercase()).unwrap()
}

fn import(file: &str) -> Import {
    normalise(&read(&bytes(file), &Limits::default()).unwrap(), &known_models(), "test")
}

#[test]
fn every_record_of_the_document_is_read() {
    for (file, providers, offerings) in [("api.json", 147, 5_276), ("api-2026-06-01.json", 137, 4_972)] {
        let import = import(file);
        assert_eq!((import.providers.len(), import.offerings.len()), (providers, offerings), "{file}");
        assert_eq!(import.entries.len(), providers + offerings, "{file}");
        assert_eq!(import.rejected, 0, "{file}");
        assert_eq!(import.unknown_fields, BTreeMap::new(), "{file}");
        assert_eq!(import, self::import(file), "{file}");
    }
}

#[test]
fn the_known_oddities_are_all_met() {
    let import = import("api.json");
    let count = |start: &str| {
        let warnings = import.offerings.iter().flat_map(|offering| &offering.warnings);
        warnings.filter(|warning| warning.starts_with(start)).count()
    };
    assert_eq!(count("`limit.context` is 0"), 94);
    assert_eq!(count("`limit.output` is 0"), 156);
    assert_eq!(count("`limit.input` is 0"), 5);
    assert_eq!(count("`limit.context` is 99999999,") + count("`limit.context` is 20000000,"), 2);
    assert_eq!(count("`limit.output` is 99999999,"), 1);
    assert_eq!(count("`knowledge` is wrong"), 2);
    assert_eq!(count("`release_date` is wrong"), 1);
    assert_eq!(count("`release_date` is a placeholder"), 4);
    assert_eq!(count("`name` has stray blanks"), 13);
    let templates = import.entries.iter().flat_map(|e| &e.messages).filter(|m| m.starts_with("`api` is a template"));
    assert_eq!(templates.count(), 4);
    let unresolved = import.entries.iter().filter(|entry| entry.outcome == Outcome::Unresolved).count();
    assert_eq!(unresolved, import.offerings.iter().filter(|offering| offering.model.is_none()).count());
}
