//! Epoch AI's notable models: one row a model, a size of it or a family. It knows parameters and access, no license.

use std::collections::BTreeMap;

use super::document::{File, Reading, check_size, single};
use super::source::DataSource;
use super::statement::{Field, Identity, NamedBase, SourceRecord, Statements, Value};
use super::{ImportError, Limits};
use crate::domain::date::Date;
use crate::domain::model::{Availability, ComponentKind, Relation};
use crate::domain::name::shown;

const MODEL: &str = "Model";
/// Columns that are read, all of which must be there.
const COLUMNS: &[&str] = &[
    MODEL,
    "Organization",
    "Publication date",
    "Parameters",
    "Confidence",
    "Base model",
    "Model accessibility",
    "Training code accessibility",
    "Inference code accessibility",
    "Link",
];

/// What `Model accessibility` says, as far as it says whether weights can be had.
const WEIGHTS: &[(&str, Availability)] = &[
    ("Open weights (unrestricted)", Availability::Available),
    ("Open weights (non-commercial)", Availability::Available),
    ("Open weights (restricted use)", Availability::Available),
    ("API access", Availability::Unavailable),
    ("Hosted access (no API)", Availability::Unavailable),
    ("Unreleased", Availability::Unavailable),
];

const CODE: &[(&str, Availability)] = &[
    ("Open source", Availability::Available),
    ("Open (non-commercial)", Availability::Available),
    ("Open (restricted use)", Availability::Available),
    ("Open access (non-commercial)", Availability::Available),
    ("Open access (restricted use)", Availability::Available),
    ("Unreleased", Availability::Unavailable),
];

/// Reads the table.
///
/// # Errors
/// [`ImportError`] when it is too large or no such table. A row that can not be read is rejected by itself.
pub fn read(files: &[File], limits: &Limits) -> Result<Reading, ImportError> {
    check_size(files, limits)?;
    let file = single(files, "one CSV file")?;
    let bytes = file.bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&file.bytes);
    let mut table = csv::ReaderBuilder::new().from_reader(bytes);
    let header = table.headers().map_err(|e| csv_error(&e))?.clone();
    let mut columns = BTreeMap::new();
    for column in COLUMNS {
        let mut at = header.iter().enumerate().filter(|(_, name)| name.trim() == *column).map(|(at, _)| at);
        match (at.next(), at.next()) {
            (Some(at), None) => {
                columns.insert(*column, at);
            }
            _ => {
                let detail = format!("its head has no single column `{column}`: give Epoch AI's notable models");
                return Err(ImportError::Table { detail });
            }
        }
    }
    let mut reading = Reading::default();
    let mut rows = 0_usize;
    for (number, row) in table.records().enumerate() {
        rows += 1;
        if rows.saturating_mul(header.len()) > limits.values_max {
            return Err(ImportError::TooManyValues { limit: limits.values_max });
        }
        let here = format!("row {}", number + 1);
        match row {
            Ok(row) => {
                let get = |column: &str| columns.get(column).and_then(|at| row.get(*at)).map_or("", str::trim);
                match read_row(&get, limits) {
                    Ok(record) => reading.records.push(record),
                    Err(reason) if get(MODEL).is_empty() => reading.reject_unnamed(&here, reason),
                    Err(reason) => reading.reject(&one_line(get(MODEL)), reason),
                }
            }
            Err(error) => reading.reject_unnamed(&here, shown(&error.to_string())),
        }
    }
    Ok(reading.finish())
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn csv_error(error: &csv::Error) -> ImportError {
    ImportError::Table { detail: shown(&error.to_string()) }
}

fn read_row<'a>(get: &impl Fn(&str) -> &'a str, limits: &Limits) -> Result<SourceRecord, String> {
    let name = one_line(get(MODEL));
    if name.is_empty() {
        return Err(format!("its `{MODEL}` is empty"));
    }
    if COLUMNS.iter().any(|column| get(column).len() > limits.text_bytes_max.saturating_mul(4)) {
        return Err("a field is longer than is kept".to_owned());
    }
    let mut warnings = Vec::new();
    let mut out = Statements::default();
    let publication = get("Publication date");
    match Date::parse(publication) {
        Ok(date) => out.add(Field::ReleaseDate, Value::Date(date)),
        Err(_) if publication.is_empty() => {}
        Err(error) => warnings.push(format!("`Publication date` is wrong, {error}: left out")),
    }
    let parameters = get("Parameters");
    let number = parameters.parse::<f64>().ok().and_then(super::parameters);
    match (number, get("Confidence")) {
        (Some(_), "Speculative") => warnings.push("`Parameters` is speculative: left out".to_owned()),
        (Some(number), _) => out.add(Field::TotalParameters, Value::Number(number)),
        (None, _) if parameters.is_empty() => {}
        (None, _) => {
            warnings.push(format!("`Parameters` is `{}`, no number of parameters: left out", shown(parameters)));
        }
    }
    let mut access = |column: &str, words: &[(&str, Availability)], kind| {
        let word = get(column);
        match words.iter().find(|(known, _)| *known == word) {
            Some((_, availability)) => {
                out.add(Field::Availability(kind), Value::Availability(*availability));
            }
            None if word.is_empty() => {}
            None => warnings.push(format!("`{column}` is `{}`, no known access: left out", shown(word))),
        }
    };
    let class = match get("Model accessibility") {
        "Open weights (non-commercial)" => Some("non-commercial"),
        "Open weights (unrestricted)" => Some("commercial"),
        // Restrictions of any kind, on commercial use or not.
        _ => None,
    };
    access("Model accessibility", WEIGHTS, ComponentKind::ModelWeights);
    access("Training code accessibility", CODE, ComponentKind::TrainingCode);
    access("Inference code accessibility", CODE, ComponentKind::InferenceCode);
    out.maybe(Field::LicenseClass, class.map(Box::from), Value::Text);
    let bases: Vec<_> = get("Base model")
        .split(',')
        .map(one_line)
        .filter(|base| !base.is_empty() && *base != name)
        .map(|name| NamedBase { relation: Relation::FineTune, name: name.into() })
        .collect();
    if !bases.is_empty() {
        out.add(Field::BaseModels, Value::Bases(bases));
    }
    let link = get("Link");
    Ok(SourceRecord {
        source: DataSource::Epoch,
        url: if link.starts_with("https://") { link.into() } else { "".into() },
        date: "".into(),
        identity: Identity {
            names: vec![name.as_str().into()],
            publishers: super::publishers_of(get("Organization")),
            ..Identity::default()
        },
        id: name.into(),
        statements: out.finish(),
        warnings,
    })
}
