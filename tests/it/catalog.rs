//! The built-in catalog as a whole: what its records say of each other, how open its models are, and its published schema.

mod commands;
mod guide;
#[cfg(feature = "shared-data")]
mod sources;

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde_json::Value;
use weighbridge::catalog::Snapshot;
use weighbridge::convert::text::{Limits, Syntax, parse, read_as};
use weighbridge::convert::{descriptor, license, license_schema, model, model_schema};
use weighbridge::domain::license::{
    Category, DutyClass, DutyKind, ExcludedPurpose, Expression, License, Listed, PermissionStatus, compare,
};
use weighbridge::domain::model::{BaseRef, Model};
use weighbridge::domain::openness::{Tier, assess};
use weighbridge::registry::Registry;
use weighbridge::store::MemoryStore;

/// Licenses that models name and that are no records: nobody has read their texts, so a use of such a model is reviewed.
const NOT_RECORDED: &[(&str, &str)] = &[
    ("LicenseRef-Google-HAI-DEF", "terms of MedGemma and its kin; the text was not at hand"),
    (
        "LicenseRef-NVIDIA-AI-Foundation-Models-Community",
        "first license of one Nemotron; the text is gone from its page",
    ),
    ("LicenseRef-Yi-Series-2.0", "license of Yi for its first three weeks; the text was not at hand"),
];

/// Bases that are no records and for which no license is stated: which model it was is not known.
const UNKNOWN_BASES: &[&str] = &["DeepSeek-V3 family", "Llama 3 or Vicuna"];

/// A registry that holds the built-in catalog and nothing else.
pub async fn registry() -> Registry {
    Registry::open(Arc::new(MemoryStore::new()), Arc::new(jiff::Timestamp::now)).await.unwrap()
}

/// A message in the proto3 JSON mapping, on one line.
pub fn json_of<M: prost::Message>(message: &M, name: &str) -> String {
    let style = weighbridge::convert::text::WriteStyle::default();
    weighbridge::convert::text::write_of(message, &descriptor(name).unwrap(), &style).unwrap().to_string()
}

async fn snapshot() -> Arc<Snapshot> {
    registry().await.snapshot()
}

fn root(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

fn files(folder: &str) -> Vec<PathBuf> {
    let mut files: Vec<PathBuf> = std::fs::read_dir(root(folder)).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files
}

fn tree(path: &Path) -> Value {
    let bytes = std::fs::read(path).unwrap();
    parse(&bytes, Syntax::of_path(path).unwrap(), &Limits::default()).unwrap_or_else(|p| panic!("{path:?}: {p:?}"))
}

#[tokio::test]
async fn every_file_of_the_catalog_is_a_record() {
    let snapshot = snapshot().await;
    let count = |folder: &str| -> usize {
        let lists = files(folder).into_iter().filter(|file| !file.ends_with("aliases.toml"));
        lists.map(|file| tree(&file)["models"].as_array().unwrap().len()).sum()
    };
    let (curated, generated) = (count("data/models"), count("data/generated"));
    // Were a name there twice, one record would hide the other and the counts would differ.
    let all = (snapshot.license_count(), snapshot.model_count());
    assert_eq!(all, (files("data/licenses").len(), curated + generated));
    assert_eq!((snapshot.license_count(), curated), (172, 414));
    assert!(generated > 600, "{generated}");
    assert_eq!(snapshot.use_policies().count(), 12);
}

/// Whether nobody but the importers wrote a record: it says which data set each field is from.
fn is_generated(entry: &weighbridge::catalog::Entry<Model>) -> bool {
    let record = weighbridge::convert::decode(&entry.payload).unwrap().record;
    match record {
        Some(weighbridge::pb::weighbridge::storage::v1::record::Record::Model(model)) => !model.provenance.is_empty(),
        other => panic!("{other:?}"),
    }
}

fn expressions(model: &Model) -> Vec<&Expression> {
    let components = model.components.iter();
    let periods = components.clone().flat_map(|c| c.license_periods.iter().map(|p| &p.expression));
    let bases = model.base_models.iter().filter_map(|b| b.expression.as_ref());
    components.filter_map(|c| c.expression.as_ref()).chain(periods).chain(bases).collect()
}

#[tokio::test]
async fn every_license_that_is_named_is_recorded_listed_or_explained() {
    let snapshot = snapshot().await;
    let mut unexplained = BTreeSet::new();
    let mut needed = BTreeSet::new();
    let mut check = |id: &str, by: &str| {
        let recorded = snapshot.licenses().any(|license| license.record.id.as_str() == id);
        if recorded || Listed::find(id).is_some() {
            return;
        }
        if NOT_RECORDED.iter().any(|(known, _)| *known == id) {
            needed.insert(id.to_owned());
        } else {
            unexplained.insert(format!("{id}, named by {by}"));
        }
    };
    for model in snapshot.models() {
        // What an importer could not map stays unknown; a person who curates a record says what it is.
        let unknown_too = is_generated(model);
        let named = expressions(&model.record).into_iter().flat_map(Expression::licenses);
        for id in named.filter(|id| !(unknown_too && id.is_unknown())) {
            check(id.as_str(), model.record.name.as_str());
        }
    }
    for license in snapshot.licenses() {
        for id in license.record.duties.iter().flat_map(|d| &d.incorporates) {
            check(id.as_str(), license.record.id.as_str());
        }
    }
    assert!(unexplained.is_empty(), "{unexplained:#?}");
    let listed: BTreeSet<String> = NOT_RECORDED.iter().map(|(id, _)| (*id).to_owned()).collect();
    assert_eq!(needed, listed, "an entry of NOT_RECORDED that nothing names is out of date");
}

#[tokio::test]
async fn every_base_is_a_record_states_a_license_or_is_the_publishers_own() {
    let snapshot = snapshot().await;
    let mut unknown = BTreeSet::new();
    for model in snapshot.models().filter(|entry| !is_generated(entry)) {
        for base in model.record.base_models.iter().filter(|base| base.expression.is_none()) {
            let settled = match &base.model {
                BaseRef::Record(name) => {
                    snapshot.model_entry(name).is_some() || name.publisher() == model.record.name.publisher()
                }
                BaseRef::Written(_) => false,
            };
            if !settled {
                unknown.insert(base.model.as_str().to_owned());
            }
        }
    }
    assert_eq!(unknown.iter().map(String::as_str).collect::<Vec<_>>(), UNKNOWN_BASES);
}

/// What a license says against itself.
fn contradictions(license: &License) -> Vec<&'static str> {
    use PermissionStatus::{Allowed, Conditional, Prohibited};
    let p = &license.permissions;
    let closed = matches!(license.category, Category::NonCommercial | Category::ResearchOnly);
    let granted = |status| matches!(status, Allowed | Conditional);
    let has = |kind| license.duties.iter().any(|duty| duty.kind == kind);
    let leaves_out = |purpose| license.purpose_limits.iter().any(|limit| limit.purpose == purpose);
    // Granted to those who have the publisher's consent is not granted by the license.
    let consent = license.duties.iter().any(|duty| duty.class() == DutyClass::Consent);
    let sold = p.commercial_use.status == Conditional && consent;
    let found = [
        (closed && granted(p.commercial_use.status) && !sold, "commercial use is granted, but not by its category"),
        (p.use_.status == Prohibited, "its use is not granted at all"),
        (
            license.purposes.is_listed() && p.commercial_use.status == Allowed,
            "purposes are listed although commercial use is granted",
        ),
        (
            leaves_out(ExcludedPurpose::Commercial) && granted(p.commercial_use.status),
            "commercial use is granted and left out",
        ),
        (
            !license.outputs.training_barred.is_empty() && p.train_other_models.status == Allowed,
            "training on outputs is granted and barred",
        ),
        (has(DutyKind::NoRedistribution) && p.redistribute.status == Allowed, "redistribution is granted and barred"),
        (
            license.osi_approved && !(granted(p.commercial_use.status) && license.use_restrictions.is_empty()),
            "it is OSI-approved and limits its use",
        ),
        (
            p.modify.status == Prohibited && p.fine_tune.status == Allowed,
            "fine-tuning is granted although changes are not",
        ),
    ];
    found.into_iter().filter(|(holds, _)| *holds).map(|(_, what)| what).collect()
}

#[tokio::test]
async fn no_license_contradicts_itself() {
    let snapshot = snapshot().await;
    let mut found = String::new();
    for license in snapshot.licenses() {
        for what in contradictions(&license.record) {
            writeln!(found, "{}: {what}", license.record.id).unwrap();
        }
    }
    assert_eq!(found, "");
}

#[tokio::test]
async fn a_license_equals_itself_and_differs_the_same_from_both_sides() {
    let snapshot = snapshot().await;
    let licenses: Vec<&License> = snapshot.licenses().map(|entry| &entry.record).collect();
    for (one, other) in licenses.iter().zip(licenses.iter().skip(1)) {
        assert!(compare(&[one, one]).iter().all(|row| !row.differs), "{}", one.id);
        let there = compare(&[one, other]);
        let back = compare(&[other, one]);
        assert_eq!(there.len(), back.len());
        for (a, b) in there.iter().zip(&back) {
            let turned: Vec<_> = b.sides.iter().rev().collect();
            assert_eq!((&a.topic, a.sides.iter().collect(), a.differs), (&b.topic, turned, b.differs));
            assert!(a.sides.iter().all(|side| !side.words.is_empty()), "{}", a.topic);
        }
        // A third that is one of the two changes nothing.
        let three = compare(&[one, other, one]);
        assert!(three.iter().zip(&there).all(|(three, two)| three.topic == two.topic && three.differs == two.differs));
    }
}

#[tokio::test]
async fn tiers_and_classes_are_those_of_the_table() {
    let snapshot = snapshot().await;
    let mut table = "# name\ttier\tMOF class\tstrict open source\n".to_owned();
    for model in snapshot.models().filter(|entry| !is_generated(entry)) {
        let openness = assess(&model.record, &snapshot.reference().mof);
        let tier = openness.tier.map_or("UNKNOWN", Tier::as_str);
        let class = openness.mof.class.map_or("-", |class| class.as_str());
        let strict = if openness.strict { "strict" } else { "-" };
        writeln!(table, "{}\t{tier}\t{class}\t{strict}", model.record.name).unwrap();
    }
    let known = std::fs::read_to_string(root("tests/cases/tiers.tsv")).unwrap_or_default();
    let found = Path::new(env!("CARGO_TARGET_TMPDIR")).join("tiers.tsv");
    std::fs::write(&found, &table).unwrap();
    let differing: Vec<&str> = table.lines().filter(|line| !known.lines().any(|k| k == *line)).collect();
    assert!(
        known == table,
        "tests/cases/tiers.tsv differs; if that is right, copy {} over it. New lines:\n{}",
        found.display(),
        differing.join("\n")
    );
}

#[tokio::test]
async fn well_known_families_have_their_tier() {
    let snapshot = snapshot().await;
    let expected = [
        ("publishers/allenai/models/olmo", Tier::OpenSource),
        ("publishers/eleutherai/models/pythia", Tier::OpenSource),
        ("publishers/llm360/models/amber", Tier::OpenSource),
        ("publishers/meta/models/llama-", Tier::OpenWeight),
        ("publishers/deepseek/models/deepseek", Tier::OpenWeight),
        ("publishers/moonshotai/models/kimi-k2", Tier::OpenWeight),
        ("publishers/openai/models/gpt-5", Tier::Proprietary),
        ("publishers/anthropic/models/claude-", Tier::Proprietary),
        ("publishers/google/models/gemini-", Tier::Proprietary),
    ];
    for (start, tier) in expected {
        let models = snapshot.models().filter(|entry| !is_generated(entry)).map(|entry| &entry.record);
        let family: Vec<&Model> = models.filter(|model| model.name.as_str().starts_with(start)).collect();
        assert!(!family.is_empty(), "no model starts with {start}");
        let others: Vec<_> = family.iter().filter(|m| m.tier != Some(tier)).map(|m| &m.name).collect();
        assert!(others.is_empty(), "not {tier}: {others:?}");
    }
    // Alibaba's newest closed models have the same first letters: those with weights are meant.
    let qwen = |m: &&Arc<weighbridge::catalog::Entry<Model>>| m.record.name.as_str().contains("/models/qwen");
    let curated = snapshot.models().filter(|entry| !is_generated(entry));
    let qwen: Vec<_> = curated.filter(qwen).filter(|m| m.record.tier != Some(Tier::Proprietary)).collect();
    assert!(qwen.len() > 10 && qwen.iter().all(|m| m.record.tier == Some(Tier::OpenWeight)));
}

#[test]
fn the_published_schemas_are_up_to_date() {
    let published = [
        ("docs/schema/license.schema.json", license_schema(), "weighbridge licenses schema"),
        ("docs/schema/model.schema.json", model_schema(), "weighbridge models schema"),
    ];
    for (path, schema, command) in published {
        let text = serde_json::to_string_pretty(&schema.unwrap()).unwrap() + "\n";
        let known = std::fs::read_to_string(root(path)).unwrap_or_default();
        assert!(
            known == text,
            "{path} is out of date: run `cargo run -- {} > {path}`",
            &command["weighbridge ".len()..]
        );
    }
}

#[test]
fn every_file_of_the_catalog_fits_the_published_schema() {
    for (folder, schema) in [("data/licenses", license_schema()), ("data/models", model_schema())] {
        let schema = schema.unwrap();
        let mut found = Vec::new();
        for file in files(folder) {
            fits(&schema, &schema, &tree(&file), &file.display().to_string(), &mut found);
        }
        assert!(found.is_empty(), "{}", found.join("\n"));
    }
}

#[test]
fn the_schema_refuses_what_the_reader_refuses() {
    let schema = license_schema().unwrap();
    let file = tree(&root("data/licenses/LicenseRef-Llama-3.3-Community.toml"));
    let problems = |change: &dyn Fn(&mut Value)| {
        let mut changed = file.clone();
        change(&mut changed);
        let mut found = Vec::new();
        fits(&schema, &schema, &changed, "", &mut found);
        found
    };
    assert!(problems(&|_| {}).is_empty());
    assert!(problems(&|f| f["category"] = "CATEGORY_OPEN_WEIGHT_COMMUNITY".into()).is_empty());
    type Change<'a> = &'a dyn Fn(&mut Value);
    let refused: [(&str, Change<'_>); 7] = [
        ("an unknown field", &|f| f["categry"] = "x".into()),
        ("an unknown value", &|f| f["category"] = "free".into()),
        ("a zero value where one must be set", &|f| f["scale_gates"][0]["effect"] = "unspecified".into()),
        ("text for a number", &|f| f["scale_gates"][0]["threshold"] = "many".into()),
        ("one for a list", &|f| f["scopes"] = "model".into()),
        ("what only the service writes", &|f| f["revision"] = 5.into()),
        ("a missing field", &|f| drop(f.as_object_mut().unwrap().remove("permissions"))),
    ];
    for (what, change) in refused {
        assert!(!problems(change).is_empty(), "{what} fits the schema");
    }
}

/// Fields that the schema requires are those without which no record is read: each kind is taken out once.
#[tokio::test]
async fn what_the_schema_requires_the_reader_requires() {
    let snapshot = snapshot().await;
    let vocabulary = &snapshot.reference().vocabulary;
    let is_license = |tree: &Value| {
        let message = read_as(tree, &descriptor("weighbridge.v1.License").unwrap()).unwrap();
        license(message, "").is_ok_and(|license| license.problems(vocabulary).is_empty())
    };
    let is_model = |tree: &Value| {
        let message = read_as(&tree["models"][0], &descriptor("weighbridge.v1.Model").unwrap()).unwrap();
        model(message, "").is_ok()
    };
    type IsRead<'a> = &'a dyn Fn(&Value) -> bool;
    let checks: [(&str, Value, IsRead<'_>); 2] = [
        ("data/licenses", license_schema().unwrap(), &is_license),
        ("data/models", model_schema().unwrap(), &is_model),
    ];
    let mut tried = BTreeSet::new();
    for (folder, schema, is_read) in checks {
        for file in files(folder) {
            let mut file = tree(&file);
            if let Some(models) = file.get_mut("models").and_then(Value::as_array_mut) {
                models.truncate(1);
            }
            let mut places = Vec::new();
            required(&schema, &schema, &file, "", &mut places);
            for place in places.into_iter().filter(|place| place != "/models") {
                let kind: String = place.chars().filter(|c| !c.is_ascii_digit()).collect();
                if !tried.insert(format!("{folder}{kind}")) {
                    continue;
                }
                let mut without = file.clone();
                let (parent, field) = place.rsplit_once('/').unwrap();
                without.pointer_mut(parent).unwrap().as_object_mut().unwrap().remove(field);
                assert!(!is_read(&without), "a record without {kind} is read");
            }
        }
    }
    assert!(tried.len() >= 19, "{tried:?}");
}

/// The schema behind a `$ref`.
fn resolved<'a>(root: &'a Value, schema: &'a Value) -> &'a Value {
    match schema["$ref"].as_str() {
        Some(reference) => root.pointer(reference.trim_start_matches('#')).unwrap(),
        None => schema,
    }
}

/// JSON pointers of all required fields that a value has.
fn required(root: &Value, schema: &Value, value: &Value, at: &str, places: &mut Vec<String>) {
    let schema = resolved(root, schema);
    match value {
        Value::Object(object) => {
            let needed = schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str);
            places.extend(needed.filter(|f| object.contains_key(*f)).map(|field| format!("{at}/{field}")));
            for (key, value) in object {
                required(root, &schema["properties"][key], value, &format!("{at}/{key}"), places);
            }
        }
        Value::Array(values) => {
            for (i, value) in values.iter().enumerate() {
                required(root, &schema["items"], value, &format!("{at}/{i}"), places);
            }
        }
        _ => {}
    }
}

/// Holds a value against the keywords that our schemas use, and refuses to pass over any other.
fn fits(root: &Value, schema: &Value, value: &Value, at: &str, found: &mut Vec<String>) {
    const KNOWN: &[&str] = &[
        "$schema",
        "$ref",
        "$defs",
        "title",
        "description",
        "type",
        "properties",
        "required",
        "additionalProperties",
        "items",
        "enum",
        "minimum",
        "maximum",
    ];
    for keyword in schema.as_object().unwrap().keys() {
        assert!(KNOWN.contains(&keyword.as_str()), "this check does not know `{keyword}`");
    }
    let schema = resolved(root, schema);
    let right_type = match schema["type"].as_str() {
        None => true,
        Some("object") => value.is_object(),
        Some("array") => value.is_array(),
        Some("string") => value.is_string(),
        Some("integer") => value.is_i64() || value.is_u64(),
        Some("number") => value.is_number(),
        Some("boolean") => value.is_boolean(),
        Some(other) => panic!("this check does not know the type `{other}`"),
    };
    if !right_type {
        found.push(format!("{at}: expected {}, found {value}", schema["type"]));
        return;
    }
    if let Some(values) = schema["enum"].as_array()
        && !values.contains(value)
    {
        found.push(format!("{at}: {value} is none of {values:?}"));
    }
    for field in schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str) {
        if value.get(field).is_none() {
            found.push(format!("{at}: `{field}` is missing"));
        }
    }
    for (key, value) in value.as_object().into_iter().flatten() {
        match schema["properties"].get(key) {
            Some(schema) => fits(root, schema, value, &format!("{at}: {key}"), found),
            None => found.push(format!("{at}: `{key}` is not a field")),
        }
    }
    for (i, value) in value.as_array().into_iter().flatten().enumerate() {
        fits(root, &schema["items"], value, &format!("{at}[{i}]"), found);
    }
}
