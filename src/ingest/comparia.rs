//! compar:IA: `models.json` by organisation, and the `licenses.json` it refers to.

use std::collections::BTreeMap;

use super::document::{File, Reading, check_size};
use super::hub;
use super::json::{self, Map, Node};
use super::reader::{Reader, count_unknown};
use super::source::DataSource;
use super::statement::{DeclaredLicense, Field, Identity, SourceRecord, Statements, Value};
use super::{ImportError, Limits};
use crate::domain::date::Date;
use crate::domain::model::{Availability, ComponentKind, Modality};

const ORGANIZATION_FIELDS: &[&str] =
    &["icon_path", "models", "name", "proprietary_license_desc", "proprietary_reuse_specificities"];
/// Those about the arena, and texts for its visitors, are known and not kept.
const MODEL_FIELDS: &[&str] = &[
    "active_params",
    "arch",
    "desc",
    "endpoint",
    "fully_open_source",
    "fyi",
    "id",
    "license",
    "new",
    "params",
    "pricey",
    "quantization",
    "reasoning",
    "release_date",
    "simple_name",
    "size_desc",
    "specific_portals",
    "status",
    "url",
];

/// Reads the models, and their licenses where that file is there.
///
/// # Errors
/// [`ImportError`] when it is too large, `models.json` is not there or no list, or a file is no JSON.
pub fn read(files: &[File], limits: &Limits) -> Result<Reading, ImportError> {
    check_size(files, limits)?;
    let mut reading = Reading::default();
    let mut models = None;
    let mut licenses = BTreeMap::new();
    for file in files {
        match (file.name(), files.len()) {
            ("licenses.json", 2..) => licenses = distributions(&json::parse(&file.bytes, limits)?),
            // Architectures say nothing that a record holds.
            ("archs.json", 2..) => {}
            ("models.json", _) | (_, 1) => models = Some(json::parse(&file.bytes, limits)?),
            _ => reading.reject(&file.path, "it is none of models.json, licenses.json and archs.json".to_owned()),
        }
    }
    let organizations = match models {
        Some(Node::List(organizations)) => organizations,
        Some(other) => {
            return Err(ImportError::Shape {
                expected: "a list of organisations, as in compar:IA's models.json",
                found: other.kind(),
            });
        }
        None => return Err(ImportError::Files { expected: "models.json, with licenses.json beside it", found: 0 }),
    };
    for (at, node) in organizations.iter().enumerate() {
        match node {
            Node::Object(map) => organization(map, &licenses, limits, &mut reading),
            other => {
                reading.reject_unnamed(
                    &format!("[{at}]"),
                    format!("an organisation is an object, this is {}", other.kind()),
                );
            }
        }
    }
    Ok(reading.finish())
}

/// Whether the weights come with a license, by its key.
fn distributions(node: &Node) -> BTreeMap<Box<str>, Availability> {
    let Node::List(list) = node else { return BTreeMap::new() };
    let text = |map: &Map, key: &str| {
        map.iter().find_map(|(name, node)| match node {
            Node::Text(text) if **name == *key => Some(text.clone()),
            _ => None,
        })
    };
    let row = |node: &Node| {
        let Node::Object(map) = node else { return None };
        let availability = match &*text(map, "distribution")? {
            "open-weights" | "fully-open-source" => Availability::Available,
            "api-only" => Availability::Unavailable,
            _ => return None,
        };
        Some((text(map, "license")?, availability))
    };
    list.iter().filter_map(row).collect()
}

fn organization(map: &Map, licenses: &BTreeMap<Box<str>, Availability>, limits: &Limits, reading: &mut Reading) {
    count_unknown(&mut reading.unknown_fields, map, "*.", ORGANIZATION_FIELDS);
    let mut reader = Reader::new(limits);
    let name = reader.word(map, "name");
    let shown = name.as_deref().unwrap_or("an organisation without a name").to_owned();
    let models = reader.list(map, "models");
    if models.is_empty() {
        reading.reject_unnamed(&shown, "it holds no models".to_owned());
    }
    for node in models {
        let Node::Object(model_map) = node else {
            reading.reject_unnamed(&shown, format!("a model is an object, this is {}", node.kind()));
            continue;
        };
        count_unknown(&mut reading.unknown_fields, model_map, "*.models.*.", MODEL_FIELDS);
        match model(name.as_deref(), model_map, licenses, limits) {
            Ok(record) => reading.records.push(record),
            Err(reason) => reading.reject_unnamed(&shown, reason),
        }
    }
}

fn model(
    organization: Option<&str>,
    map: &Map,
    licenses: &BTreeMap<Box<str>, Availability>,
    limits: &Limits,
) -> Result<SourceRecord, String> {
    let mut reader = Reader::new(limits);
    let Some(id) = reader.word(map, "id") else {
        return Err("a model without an id can not be kept".to_owned());
    };
    let mut out = Statements::default();
    let name = reader.word(map, "simple_name");
    out.maybe(Field::DisplayName, name.clone(), Value::Text);
    let license = reader.word(map, "license");
    let availability = license.as_ref().and_then(|key| licenses.get(key)).copied();
    out.maybe(Field::Availability(ComponentKind::ModelWeights), availability, Value::Availability);
    let closed = availability == Some(Availability::Unavailable);
    if let Some(text) = license.filter(|_| !closed) {
        let declared = DeclaredLicense { text, ..DeclaredLicense::default() };
        out.add(Field::License(ComponentKind::ModelWeights), Value::License(declared));
    }
    out.maybe(Field::ReleaseDate, release_date(&mut reader, map), Value::Date);
    // Its figures for closed models are estimates of others, whether they are marked `maybe-` or not.
    let guessed = closed || reader.word(map, "arch").is_some_and(|arch| arch.starts_with("maybe-"));
    let mut billions = |path: &str| {
        let number = reader.decimal(map, path)?;
        super::parameters(number * 1e9).filter(|_| !guessed)
    };
    let (total, active) = (billions("params"), billions("active_params"));
    out.maybe(Field::TotalParameters, total, Value::Number);
    out.maybe(
        Field::ActiveParameters,
        active.filter(|active| total.is_none_or(|total| *active <= total)),
        Value::Number,
    );
    // It lists chat models only.
    out.add(Field::OutputModalities, Value::Modalities(vec![Modality::Text]));
    let repository = reader.word(map, "url").and_then(|url| hub::repository_of_url(&url));
    // The same weights at another precision are another entry, whose repository is that of the plain ones or of a copy.
    let quantized = reader.word(map, "quantization").is_some();
    let identity = Identity {
        repositories: repository.filter(|_| !quantized).into_iter().collect(),
        names: if quantized { Vec::new() } else { [Some(id.clone()), name].into_iter().flatten().collect() },
        publishers: organization.map(super::publishers_of).unwrap_or_default(),
        ..Identity::default()
    };
    Ok(SourceRecord {
        source: DataSource::Comparia,
        id,
        url: "".into(),
        date: "".into(),
        identity,
        statements: out.finish(),
        warnings: reader.finish(),
    })
}

/// `MM/YYYY`.
fn release_date(reader: &mut Reader<'_>, map: &Map) -> Option<Date> {
    let text = reader.word(map, "release_date")?;
    let date = text.split_once('/').and_then(|(month, year)| Date::parse(&format!("{year}-{month}")).ok());
    if date.is_none() {
        reader.warn("release_date", &format!("is `{}`, not MM/YYYY: left out", crate::domain::name::shown(&text)));
    }
    date
}
