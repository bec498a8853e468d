//! The catalog and the importers against the real documents beside the repository.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test stops at the first thing that is not as it expects"
)]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde_json::Value;

use super::known::KnownModels;
use crate::catalog::{Entry, Snapshot};
use crate::convert;
use crate::domain::model::{Availability, BaseRef, Evidence, Model};
use crate::domain::name::ModelName;
use crate::domain::openness::{MofClass, assess};
use crate::ingest::document::File;
use crate::ingest::identity::{Resolution, resolve};
use crate::ingest::merge::{self, Base, OfferingFlags, Tables};
use crate::ingest::statement::SourceRecord;
use crate::ingest::{Limits, mot};
use crate::pb::weighbridge::v1 as pb;
use crate::registry::resolve::Resolved;
use crate::registry::{ImportRequest, Registry, builtin};
use crate::store::MemoryStore;

fn path(file: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/data").join(file)
}

fn json(file: &str) -> BTreeMap<String, Value> {
    let bytes = std::fs::read(path(file)).unwrap_or_else(|error| panic!("{file}: {error}"));
    serde_json::from_slice(&bytes).unwrap()
}

async fn registry() -> Registry {
    Registry::open(Arc::new(MemoryStore::new()), Arc::new(jiff::Timestamp::now)).await.unwrap()
}

fn folder(folder: &str) -> Vec<File> {
    let mut paths: Vec<_> = std::fs::read_dir(path(folder)).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    let file = |path: &PathBuf| File {
        path: path.file_name().unwrap().to_string_lossy().into(),
        bytes: std::fs::read(path).unwrap(),
    };
    paths.iter().filter(|path| path.extension().is_some_and(|e| e == "yml" || e == "yaml")).map(file).collect()
}

fn file(name: &str) -> Vec<File> {
    let short = name.rsplit('/').next().unwrap();
    vec![File { path: short.into(), bytes: std::fs::read(path(name)).unwrap() }]
}

/// Every document, with how it is imported.
fn documents() -> Vec<(pb::ImportSource, Vec<File>)> {
    use pb::ImportSource as S;
    let comparia = ["comparia/models.json", "comparia/licenses.json", "comparia/archs.json"];
    vec![
        (S::ModelsDevCatalog, file("models.dev/models.json")),
        (S::Mot, folder("mot/models")),
        (S::Osai, folder("osai-index/models")),
        (S::Comparia, comparia.iter().flat_map(|name| file(name)).collect()),
        (S::Epoch, file("epoch/notable_ai_models.csv")),
        (S::ModelsDev, file("models.dev/api.json")),
    ]
}

async fn import(registry: &Registry, source: pb::ImportSource, files: Vec<File>) -> pb::ImportReport {
    let config = pb::ImportConfig { source: source as i32, origin: "test".into(), ..Default::default() };
    registry.import(ImportRequest { config, files }).await.unwrap()
}

/// Links of the source that are plainly wrong, as its description lists them.
const WRONG_LINKS: &[(&str, &str)] = &[
    ("cloudflare-workers-ai", "@cf/deepseek-ai/deepseek-r1-distill-qwen-32b"),
    ("databricks", "databricks-claude-sonnet-4"),
    ("friendli", "Qwen/Qwen3-235B-A22B-Instruct-2507"),
    ("neon", "claude-sonnet-4"),
    ("routing-run", "route/mimo-v2.5"),
    ("routing-run", "route/mistral-small-2503"),
    ("scaleway", "qwen3-235b-a22b-instruct-2507"),
];

/// A dated snapshot and its undated alias that are two records count as the same answer.
fn undated(model: &ModelName) -> String {
    let text = model.as_str();
    let day = text.len().checked_sub(11).and_then(|at| text.split_at_checked(at));
    if let Some((rest, date)) = day
        && date.starts_with("-20")
        && date.bytes().filter(|b| *b == b'-').count() == 3
        && date.bytes().all(|b| b.is_ascii_digit() || b == b'-')
    {
        return rest.to_owned();
    }
    match text.rsplit_once('-') {
        Some((rest, date)) if date.len() == 8 && date.bytes().all(|b| b.is_ascii_digit()) => rest.to_owned(),
        _ => text.strip_suffix("-0").unwrap_or(text).to_owned(),
    }
}

fn by_key(snapshot: &Snapshot, key: &str) -> Arc<Entry<Model>> {
    match crate::registry::resolve::resolve(snapshot, key) {
        Ok(Resolved::Model { entry, .. }) => entry,
        other => panic!("{key}: {other:?}"),
    }
}

/// The links between offerings and model records that the source keeps to itself are no source of any alias here.
#[tokio::test]
async fn the_catalog_resolves_the_links_that_the_source_does_not_publish() {
    let registry = registry().await;
    let snapshot = registry.snapshot();
    let api = json("models.dev/api.json");
    let index = KnownModels(&snapshot);
    let (mut right, mut scored, mut wrong, mut missed) = (0_u32, 0_u32, Vec::new(), Vec::new());
    for (provider, links) in json("models.dev/base_model.json") {
        for (id, key) in links.as_object().unwrap() {
            if WRONG_LINKS.contains(&(provider.as_str(), id.as_str())) {
                continue;
            }
            scored += 1;
            let expected = by_key(&snapshot, key.as_str().unwrap()).record.name.clone();
            let name = api[&provider]["models"][id]["name"].as_str();
            match resolve(&index, Some(&provider), id, name) {
                Resolution::Matched { model, .. } if undated(&model) == undated(&expected) => right += 1,
                Resolution::Matched { model, stage, alias } => {
                    wrong.push(format!("{provider} {id} is {model} by {stage:?} {alias}, linked to {expected}"));
                }
                other => missed.push(format!("{provider} {id} ({name:?}), linked to {expected}: {other:?}")),
            }
        }
    }
    let matched = right + u32::try_from(wrong.len()).unwrap();
    let share = |part: u32, of: u32| f64::from(part) * 100.0 / f64::from(of);
    println!(
        "{scored} links: {right} right, {} wrong, {} not found; precision {:.2} %, recall {:.2} %",
        wrong.len(),
        missed.len(),
        share(right, matched),
        share(right, scored)
    );
    let said = format!("{}\n--\n{}", wrong.join("\n"), missed.join("\n"));
    assert!(share(right, matched) >= 99.5, "{said}");
    assert!(share(right, scored) >= 97.0, "{said}");
}

/// Records that know better than the flag of models.json, and why.
const KNOWN_BETTER: &[(&str, &str)] = &[(
    "mistral/mistral-medium-latest",
    "the source says that it has no open weights and links to some: unknown, so that eligibility reviews it",
)];

#[tokio::test]
async fn every_model_of_the_source_has_a_record_with_the_right_weights() {
    let registry = registry().await;
    let snapshot = registry.snapshot();
    let mut wrong = Vec::new();
    let models = json("models.dev/models.json");
    assert_eq!(models.len(), 231);
    for (key, model) in &models {
        let entry = by_key(&snapshot, key);
        let found = entry.record.weights().and_then(|weights| weights.availability);
        let open = found.map(|availability| availability != Availability::Unavailable);
        let stated = model["open_weights"].as_bool();
        if open != stated && !KNOWN_BETTER.iter().any(|(known, _)| known == key) {
            wrong.push(format!("{key}: {} has {found:?}, the source says {stated:?}", entry.record.name));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[tokio::test]
async fn most_offerings_lead_to_a_model_and_the_others_say_why_not() {
    let registry = registry().await;
    let report = import(&registry, pb::ImportSource::ModelsDev, file("models.dev/api.json")).await;
    assert_eq!((report.offerings, report.providers, report.rejected), (5_276, 147, 0));
    let snapshot = registry.snapshot();
    let mut reasons: BTreeMap<&str, u32> = BTreeMap::new();
    for entry in snapshot.offerings().filter(|entry| entry.record.model.is_none()) {
        let reason = &*entry.record.unresolved_reason;
        assert!(reason.len() > 20, "{:?}", entry.record.name);
        let kind = if reason.starts_with("it may be any of") { "several models" } else { reason };
        *reasons.entry(kind).or_default() += 1;
    }
    let (all, resolved) = snapshot.offering_counts();
    println!("{resolved} of {all} offerings are of a known model; the others: {reasons:#?}");
    assert!(resolved * 100 >= all * 85, "{resolved} of {all}");
    println!("{} models", snapshot.model_count());
    // Again: nothing. A month later: the difference.
    let again = import(&registry, pb::ImportSource::ModelsDev, file("models.dev/api.json")).await;
    assert_eq!((again.created, again.updated, again.deleted, again.revision), (0, 0, 0, report.revision));
    let other = self::registry().await;
    import(&other, pb::ImportSource::ModelsDev, file("models.dev/api-2026-06-01.json")).await;
    let month = import(&other, pb::ImportSource::ModelsDev, file("models.dev/api.json")).await;
    println!(
        "a month: created {}, updated {}, deleted {}, unchanged {}",
        month.created, month.updated, month.deleted, month.unchanged
    );
    assert!(month.unchanged > 3_000 && month.created < 1_500 && month.deleted < 700);
    assert_eq!(contents(&other.snapshot()), contents(&snapshot));
}

/// Every record that shows, without when it was written.
fn contents(snapshot: &Snapshot) -> BTreeMap<String, String> {
    let models = snapshot.models().map(|entry| {
        let (kind, _) = crate::registry::records::stored(&entry.payload).unwrap();
        (entry.record.name.to_string(), format!("{kind:?}"))
    });
    let offerings = snapshot.offerings().map(|entry| {
        let (kind, _) = crate::registry::records::stored(&entry.payload).unwrap();
        (entry.record.name.resource_name(), format!("{kind:?}"))
    });
    models.chain(offerings).collect()
}

#[tokio::test]
async fn the_order_of_the_real_imports_does_not_show() {
    let mut first = None;
    for turn in 0..3 {
        let registry = registry().await;
        let mut documents = documents();
        match turn {
            1 => documents.reverse(),
            2 => documents.rotate_left(3),
            _ => {}
        }
        for (source, files) in documents {
            import(&registry, source, files).await;
        }
        let found = contents(&registry.snapshot());
        assert!(found.len() > 6_000);
        match &first {
            None => {
                let coverage = crate::catalog::coverage::coverage(&registry.snapshot());
                println!("models {:?}", coverage.models);
                println!("offerings {:?}", coverage.offerings);
                println!("evidence {:?}, conflicts {}", coverage.evidence, coverage.conflicting_models);
                first = Some(found);
            }
            Some(first) => assert!(*first == found, "order {turn} gives other records"),
        }
    }
}

/// What the Model Openness Tool says of each release of a folder, by itself, as a model.
fn mot_models(files: &str) -> Vec<(String, Model, Vec<String>)> {
    let builtin = builtin::builtin().unwrap();
    let publishers = &builtin.reference.publishers;
    let by_name = |name: &str| publishers.by_name(name).map(Box::from);
    let on_hub = |organization: &str| publishers.on_hub(organization);
    let tables = Tables {
        licenses: &builtin.license_names,
        errors: &builtin.source_errors,
        commercial_use: &|_| None,
        publisher_by_name: &by_name,
        publisher_on_hub: &on_hub,
    };
    let reading = mot::read(&folder(files), &Limits::default()).unwrap();
    assert_eq!(reading.rejected, []);
    let name = ModelName::new("mot", "model").unwrap();
    let model = |record: &SourceRecord| {
        let resolve = |name: &str| BaseRef::Written(name.into());
        let merged = merge::merge(&tables, &Base::new(), &[record], OfferingFlags::default(), &resolve);
        let message = convert::merged_model(&name, None, &merged);
        (record.id.to_string(), convert::model(message, "").unwrap(), merge::remarks(&tables, record))
    };
    reading.records.iter().map(model).collect()
}

#[test]
fn every_release_of_mot_yields_components_and_a_license_or_says_why_not() {
    let models = mot_models("mot/models");
    assert_eq!(models.len(), 273);
    for (id, model, remarks) in models {
        assert!(!model.components.is_empty(), "{id}");
        let license = model.weights().and_then(|weights| weights.expression.as_ref());
        assert!(license.is_some() || !remarks.is_empty(), "{id}");
        assert!(model.components.iter().all(|c| c.evidence != Evidence::Confirmed), "{id}");
    }
}

#[test]
fn the_releases_of_mot_have_the_classes_of_the_tool() {
    let builtin = builtin::builtin().unwrap();
    let mut classes: BTreeMap<Option<MofClass>, u32> = BTreeMap::new();
    for (_, model, _) in mot_models("mot/models") {
        *classes.entry(assess(&model, &builtin.reference.mof).mof.class).or_default() += 1;
    }
    let expected = [(None, 242), (Some(MofClass::I), 14), (Some(MofClass::II), 1), (Some(MofClass::III), 16)];
    assert_eq!(classes, BTreeMap::from(expected));
}

/// The tool's own test cases: class and progress of each.
#[test]
fn every_fixture_of_mot_has_the_class_and_progress_of_the_tool() {
    let builtin = builtin::builtin().unwrap();
    let expected = json("mot/fixtures/expected_results.json");
    let expected: BTreeMap<&str, &Value> = expected["models"]
        .as_array()
        .unwrap()
        .iter()
        .map(|model| (model["release"]["name"].as_str().unwrap(), &model["classification"]))
        .collect();
    let fixtures = mot_models("mot/fixtures");
    assert_eq!((expected.len(), fixtures.len()), (27, 27));
    for (id, model, _) in fixtures {
        let classification = expected[&*model.display_name];
        let class = match classification["class"].as_u64().unwrap() {
            0 => None,
            1 => Some(MofClass::I),
            2 => Some(MofClass::II),
            3 => Some(MofClass::III),
            other => panic!("{id}: class {other}"),
        };
        let mof = assess(&model, &builtin.reference.mof).mof;
        assert_eq!(mof.class, class, "{id}");
        let percent = |key: &str| classification["progress"][key].as_f64().unwrap();
        let progress = [(MofClass::I, percent("1")), (MofClass::II, percent("2")), (MofClass::III, percent("3"))];
        assert_eq!(mof.progress, progress, "{id}");
    }
}

/// A known error that the data sets no longer hold would hide what they say today.
#[test]
fn every_known_error_is_still_there() {
    use crate::ingest::source::DataSource;
    use crate::ingest::{comparia, osai};
    let limits = Limits::default();
    let comparia = documents().remove(3).1;
    let mut read = Vec::new();
    read.extend(mot::read(&folder("mot/models"), &limits).unwrap().records);
    read.extend(osai::read(&folder("osai-index/models"), &limits).unwrap().records);
    read.extend(comparia::read(&comparia, &limits).unwrap().records);
    for (source, id, field) in builtin::builtin().unwrap().source_errors.iter() {
        assert!(matches!(source, DataSource::Mot | DataSource::Osai | DataSource::Comparia), "{source}");
        let record = read.iter().find(|record| record.source == source && *record.id == *id);
        let record = record.unwrap_or_else(|| panic!("{source} has no `{id}`"));
        assert!(record.statements.iter().any(|statement| statement.field == field), "{source} {id} {field}");
    }
}
