//! models.dev's own model records, `models.json`: the only source of the lab behind an id.

use crate::domain::model::{Availability, ComponentKind};
use crate::domain::name::shown;
use crate::ingest::document::{File, Reading, check_size, single};
use crate::ingest::hub;
use crate::ingest::json::{self, Map, Node};
use crate::ingest::reader::{Reader, count_unknown};
use crate::ingest::source::DataSource;
use crate::ingest::statement::{DeclaredLicense, Field, Identity, SourceRecord, Statements, Value};
use crate::ingest::{ImportError, Limits};

/// Links, benchmarks and how much it reasons are known and not kept.
const FIELDS: &[&str] = &[
    "attachment",
    "benchmarks",
    "family",
    "id",
    "knowledge",
    "last_updated",
    "license",
    "limit",
    "links",
    "modalities",
    "name",
    "open_weights",
    "reasoning",
    "reasoning_options",
    "release_date",
    "structured_output",
    "temperature",
    "tool_call",
    "weights",
];

/// Repositories of one model at most; the most that a record has is two.
const REPOSITORIES_MAX: usize = 16;

/// Reads `models.json`.
///
/// # Errors
/// [`ImportError`] when it is too large, no JSON, or no object of models.
pub fn read(files: &[File], limits: &Limits) -> Result<Reading, ImportError> {
    check_size(files, limits)?;
    let file = single(files, "one JSON file")?;
    let models = match json::parse(&file.bytes, limits)? {
        Node::Object(models) => models,
        other => {
            return Err(ImportError::Shape {
                expected: "an object of models by `lab/model`, as in models.dev's models.json",
                found: other.kind(),
            });
        }
    };
    let mut reading = Reading::default();
    for (key, node) in &models {
        match node {
            Node::Object(map) if key.split('/').count() == 2 => {
                count_unknown(&mut reading.unknown_fields, map, "*.", FIELDS);
                reading.records.push(record(key, map, limits));
            }
            Node::Object(_) => reading.reject(key, "its key is not `lab/model`".to_owned()),
            other => reading.reject(key, format!("a model is an object, this is {}", other.kind())),
        }
    }
    Ok(reading.finish())
}

fn record(key: &str, map: &Map, limits: &Limits) -> SourceRecord {
    let mut reader = Reader::new(limits);
    reader.id(map, key);
    let mut out = Statements::default();
    out.maybe(Field::DisplayName, reader.text(map, "name"), Value::Text);
    out.maybe(Field::Family, reader.text(map, "family"), Value::Text);
    let modalities = reader.object(map, "modalities").unwrap_or_default();
    for (field, path) in [(Field::InputModalities, "modalities.input"), (Field::OutputModalities, "modalities.output")]
    {
        let found = reader.modalities(modalities, path);
        if !found.is_empty() {
            out.add(field, Value::Modalities(found));
        }
    }
    let capabilities = super::offering::capabilities(&mut reader, map);
    if !capabilities.is_empty() {
        out.add(Field::Capabilities, Value::Capabilities(capabilities));
    }
    let limit = reader.object(map, "limit").unwrap_or_default();
    out.maybe(Field::ContextTokens, reader.tokens(limit, "limit.context"), Value::Number);
    out.maybe(Field::MaxOutputTokens, reader.tokens(limit, "limit.output"), Value::Number);
    out.maybe(Field::ReleaseDate, reader.date(map, "release_date"), Value::Date);
    out.maybe(Field::KnowledgeCutoff, reader.date(map, "knowledge"), Value::Date);
    weights(&mut reader, map, &mut out);
    let (_, model) = key.split_once('/').unwrap_or_default();
    let publisher = key.split_once('/').map(|(lab, _)| lab.into());
    let date = reader.date(map, "last_updated").map_or_else(String::new, |date| date.to_string());
    SourceRecord {
        source: DataSource::ModelsDevCatalog,
        id: key.into(),
        url: "".into(),
        date: date.into(),
        identity: Identity {
            repositories: repositories(&mut reader, map),
            keys: vec![key.into()],
            names: vec![model.into()],
            publishers: publisher.into_iter().collect(),
        },
        statements: out.finish(),
        warnings: reader.finish(),
    }
}

fn weights(reader: &mut Reader<'_>, map: &Map, out: &mut Statements) {
    let kind = ComponentKind::ModelWeights;
    let repositories = repositories(reader, map);
    let availability = match (reader.flag(map, "open_weights"), repositories.as_slice()) {
        (Some(true), _) => Some(Availability::Available),
        (Some(false), []) => Some(Availability::Unavailable),
        (Some(false), _) => {
            reader.warn("open_weights", "is false beside an address of weights: left out");
            None
        }
        (None, _) => None,
    };
    out.maybe(Field::Availability(kind), availability, Value::Availability);
    if let Some(repository) = repositories.first() {
        out.add(Field::Url(kind), Value::Text(format!("https://huggingface.co/{repository}").into()));
    }
    if let Some(text) = reader.text(map, "license") {
        out.add(Field::License(kind), Value::License(DeclaredLicense { text, ..DeclaredLicense::default() }));
    }
}

fn repositories(reader: &mut Reader<'_>, map: &Map) -> Vec<Box<str>> {
    let mut found = Vec::new();
    for node in reader.list(map, "weights").iter().take(REPOSITORIES_MAX) {
        let Node::Object(item) = node else {
            reader.warn("weights", &format!("holds {}, not an object: left out", node.kind()));
            continue;
        };
        // The same weights at another precision are no second model.
        if reader.text(item, "weights.*.quantization").is_some() {
            continue;
        }
        let Some(url) = reader.url(item, "weights.*.url") else { continue };
        match hub::repository_of_url(&url) {
            Some(repository) if !found.contains(&repository) => found.push(repository),
            Some(_) => {}
            None => reader.warn("weights", &format!("holds `{}`, no repository: left out", shown(&url))),
        }
    }
    found
}
