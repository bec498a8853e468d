//! Model Openness Tool: one YAML file a release, with its components and their licenses.

use super::document::{File, Reading, check_size};
use super::hub;
use super::json::{Map, Node};
use super::reader::{Reader, count_unknown};
use super::source::DataSource;
use super::statement::{DeclaredLicense, Field, Identity, SourceRecord, Statement, Statements, Value};
use super::{ImportError, Limits, yaml};
use crate::domain::model::{Availability, ComponentKind};
use crate::domain::openness::{ContentType, content_type};

/// The components of the Model Openness Framework 1.0, as the tool spells them.
const COMPONENTS: &[(&str, ComponentKind)] = &[
    ("Model parameters (Final)", ComponentKind::ModelWeights),
    ("Model parameters (Intermediate)", ComponentKind::IntermediateWeights),
    ("Model architecture", ComponentKind::ModelArchitecture),
    ("Datasets", ComponentKind::TrainingData),
    ("Training code", ComponentKind::TrainingCode),
    ("Inference code", ComponentKind::InferenceCode),
    ("Data preprocessing code", ComponentKind::DataPreprocessingCode),
    ("Evaluation code", ComponentKind::EvaluationCode),
    ("Supporting libraries and tools", ComponentKind::SupportingLibraries),
    ("Evaluation data", ComponentKind::EvaluationData),
    ("Model metadata", ComponentKind::ModelMetadata),
    ("Sample model outputs", ComponentKind::SampleOutputs),
    ("Model card", ComponentKind::ModelCard),
    ("Data card", ComponentKind::DataCard),
    ("Technical report", ComponentKind::TechnicalReport),
    ("Research paper", ComponentKind::ResearchPaper),
    ("Evaluation results", ComponentKind::EvaluationResults),
];

const TOP_FIELDS: &[&str] = &["framework", "release"];
const RELEASE_FIELDS: &[&str] = &[
    "architecture",
    "components",
    "contact",
    "date",
    "huggingface",
    "license",
    "name",
    "origin",
    "producer",
    "repository",
    "treatment",
    "type",
    "version",
];
const COMPONENT_FIELDS: &[&str] = &["component_path", "description", "license", "license_path", "name"];

/// Reads a folder of model descriptions.
///
/// # Errors
/// [`ImportError`] when it is too large. A file that can not be read is rejected by itself.
pub fn read(files: &[File], limits: &Limits) -> Result<Reading, ImportError> {
    check_size(files, limits)?;
    let mut reading = Reading::default();
    let mut left = limits.values_max;
    for file in files {
        match yaml::parse(&file.bytes, &mut left).and_then(|node| release(file, &node, limits, &mut reading)) {
            Ok(record) => reading.records.push(record),
            Err(reason) => reading.reject(&file.path, reason),
        }
    }
    Ok(reading.finish())
}

fn release(file: &File, node: &Node, limits: &Limits, reading: &mut Reading) -> Result<SourceRecord, String> {
    let Node::Object(top) = node else {
        return Err(format!("a model description is an object, this is {}", node.kind()));
    };
    let mut reader = Reader::new(limits);
    let Some(map) = reader.object(top, "release") else {
        return Err("it has no `release`, so it is no model description".to_owned());
    };
    count_unknown(&mut reading.unknown_fields, top, "", TOP_FIELDS);
    count_unknown(&mut reading.unknown_fields, map, "release.", RELEASE_FIELDS);
    let mut out = Statements::default();
    let name = reader.word(map, "release.name");
    out.maybe(Field::DisplayName, name.clone(), Value::Text);
    out.maybe(Field::TotalParameters, parameters(reader.word(map, "release.version").as_deref()), Value::Number);
    // The base, or the architecture it follows: which of them is not told apart, so it is no lineage.
    if let Some(origin) = reader.word(map, "release.origin") {
        let note = format!("Origin, as the Model Openness Tool states it: {origin}");
        out.add(Field::Notes, Value::Texts(vec![note.into()]));
    }
    let globals = reader.object(map, "release.license").unwrap_or_default();
    for node in reader.list(map, "release.components") {
        let Node::Object(component) = node else {
            reader.warn("release.components", &format!("holds {}, not an object: left out", node.kind()));
            continue;
        };
        count_unknown(&mut reading.unknown_fields, component, "release.components.*.", COMPONENT_FIELDS);
        read_component(&mut reader, component, globals, &mut out);
    }
    let identity = identity(&mut reader, map, name);
    let mut statements = out.finish();
    if identity.repositories.is_empty() && !weights_have_a_place(map) {
        // It lists weights of Claude, under MIT: of weights that are nowhere nothing is believed.
        let of_weights = |s: &Statement| {
            [Field::Availability(ComponentKind::ModelWeights), Field::License(ComponentKind::ModelWeights)]
                .contains(&s.field)
        };
        let before = statements.len();
        statements.retain(|statement| !of_weights(statement));
        if statements.len() < before {
            reader.warn("release.components", "lists final weights and no place of them: left out");
        }
    }
    for (pair, next) in statements.iter().zip(statements.iter().skip(1)) {
        if pair.field == next.field {
            return Err(format!("it lists a component twice: `{}` is stated more than once", pair.field));
        }
    }
    if !statements.iter().any(|s| matches!(s.field, Field::Availability(_))) {
        return Err("it lists no component of the framework".to_owned());
    }
    if !statements.iter().any(|s| s.field == Field::Availability(ComponentKind::ModelWeights)) {
        // Several such releases are open in truth, so a gap in the list says nothing.
        reader.warn("release.components", "lists no final weights: whether they can be had stays unknown");
    }
    let date = reader.date(map, "release.date").map_or_else(String::new, |date| date.to_string());
    Ok(SourceRecord {
        source: DataSource::Mot,
        id: file.stem().into(),
        url: "".into(),
        date: date.into(),
        identity,
        statements,
        warnings: reader.finish(),
    })
}

/// Whether the release names a place of its weights, or of its sources.
fn weights_have_a_place(map: &Map) -> bool {
    let text = |map: &Map, key: &str| {
        let found = map.iter().find(|(name, _)| **name == *key).map(|(_, node)| node);
        matches!(found, Some(Node::Text(text)) if text.trim().starts_with("http"))
    };
    let components = map.iter().find(|(name, _)| **name == *"components").map(|(_, node)| node);
    let listed = match components {
        Some(Node::List(list)) => list.as_slice(),
        _ => &[],
    };
    text(map, "repository")
        || text(map, "huggingface")
        || listed.iter().any(|node| matches!(node, Node::Object(component) if text(component, "component_path")))
}

fn identity(reader: &mut Reader<'_>, map: &Map, name: Option<Box<str>>) -> Identity {
    let hub = reader.word(map, "release.huggingface");
    let repository = hub.as_deref().and_then(hub::repository_of);
    if let (Some(text), None) = (&hub, &repository) {
        let shown = crate::domain::name::shown(text);
        reader.warn("release.huggingface", &format!("is no repository, `{shown}`: left out"));
    }
    let producer = reader.word(map, "release.producer");
    Identity {
        repositories: repository.into_iter().collect(),
        names: name.into_iter().collect(),
        publishers: producer.map(|text| super::publishers_of(&text)).unwrap_or_default(),
        ..Identity::default()
    }
}

fn read_component(reader: &mut Reader<'_>, map: &Map, globals: &Map, out: &mut Statements) {
    let Some(name) = reader.word(map, "name") else {
        return reader.warn("release.components", "holds one without a name: left out");
    };
    let Some((_, kind)) = COMPONENTS.iter().find(|(known, _)| *known == &*name) else {
        let shown = crate::domain::name::shown(&name);
        return reader.warn("release.components", &format!("holds `{shown}`, no component of the framework: left out"));
    };
    out.add(Field::Availability(*kind), Value::Availability(Availability::Available));
    let own = reader.word(map, "license");
    let part = match content_type(*kind) {
        ContentType::Code => "code",
        ContentType::Data => "data",
        ContentType::Document => "document",
    };
    let license = own.or_else(|| global(reader, globals, part)).or_else(|| global(reader, globals, "distribution"));
    if let Some(text) = license {
        out.add(Field::License(*kind), Value::License(DeclaredLicense { text, ..DeclaredLicense::default() }));
    }
    let path = reader.word(map, "component_path").filter(|path| path.starts_with("https://"));
    out.maybe(Field::Url(*kind), path, Value::Text);
}

fn global(reader: &mut Reader<'_>, globals: &Map, part: &str) -> Option<Box<str>> {
    let license = reader.object(globals, part)?;
    reader.word(license, "name")
}

/// `7B`, `450M`, `1.2T`: the number of parameters. `8x7B` shares weights between its experts, so it is none.
fn parameters(version: Option<&str>) -> Option<i64> {
    let version = version?.trim();
    let (number, unit) = version.split_at_checked(version.len().checked_sub(1)?)?;
    let unit = match unit {
        "M" | "m" => 1e6,
        "B" | "b" => 1e9,
        "T" => 1e12,
        _ => return None,
    };
    let plain = number.bytes().all(|b| b.is_ascii_digit() || b == b'.');
    super::parameters(number.parse::<f64>().ok().filter(|_| plain)? * unit)
}
