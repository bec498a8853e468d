//! European Open Source AI Index: one YAML file a model family, of which the newest and largest model was judged.

use super::document::{File, Reading, check_size};
use super::hub;
use super::json::{Map, Node};
use super::reader::{Reader, count_unknown};
use super::source::DataSource;
use super::statement::{DeclaredLicense, Field, Identity, NamedBase, SourceRecord, Statements, Value};
use super::{ImportError, Limits, yaml};
use crate::domain::alias::fold;
use crate::domain::model::{Availability, ComponentKind, Modality, Relation};

/// What stands in the notes on licenses counts for more than the one word of the head.
pub(super) const PART_NOTES: &str = "licenses.notes";
/// The license in the head of a file.
pub(super) const PART_HEAD: &str = "system.endmodellicense";

const CRITERIA: &[&str] = &[
    "code",
    "datasheet",
    "datasources_basemodel",
    "datasources_endmodel",
    "hardware_architecture",
    "licenses",
    "modelcard",
    "paper",
    "preprint",
    "trainingcode",
    "weights_basemodel",
    "weights_endmodel",
];
const SYSTEM_FIELDS: &[&str] = &[
    "basemodelname",
    "endmodel license",
    "endmodellicense",
    "endmodelname",
    "link",
    "name",
    "notes",
    "performanceclass",
    "releasedate",
    "type",
];
const CRITERION_FIELDS: &[&str] = &["class", "link", "notes"];
const ORG_FIELDS: &[&str] = &["link", "name", "notes"];

/// Parts that one criterion judges.
const PARTS: &[(&str, ComponentKind)] = &[
    ("weights_endmodel", ComponentKind::ModelWeights),
    ("trainingcode", ComponentKind::TrainingCode),
    ("modelcard", ComponentKind::ModelCard),
    ("datasheet", ComponentKind::DataCard),
];

/// What stands where there is no base model. `unknown` says that there is one, and which is not known.
const NO_BASE: &[&str] = &["", "-", "n/a", "na", "none"];

/// Reads a folder of judgements.
///
/// # Errors
/// [`ImportError`] when it is too large. A file that can not be read is rejected by itself.
pub fn read(files: &[File], limits: &Limits) -> Result<Reading, ImportError> {
    check_size(files, limits)?;
    let mut reading = Reading::default();
    let mut left = limits.values_max;
    for file in files {
        match yaml::parse(&file.bytes, &mut left).and_then(|node| judgement(file, &node, limits, &mut reading)) {
            Ok(record) => reading.records.push(record),
            Err(reason) => reading.reject(&file.path, reason),
        }
    }
    Ok(reading.finish())
}

fn judgement(file: &File, node: &Node, limits: &Limits, reading: &mut Reading) -> Result<SourceRecord, String> {
    let Node::Object(top) = node else {
        return Err(format!("a judgement is an object, this is {}", node.kind()));
    };
    let mut reader = Reader::new(limits);
    let Some(system) = reader.object(top, "system") else {
        return Err("it has no `system`, so it judges no model".to_owned());
    };
    let known: Vec<&str> = CRITERIA.iter().copied().chain(["org", "system"]).collect();
    count_unknown(&mut reading.unknown_fields, top, "", &known);
    count_unknown(&mut reading.unknown_fields, system, "system.", SYSTEM_FIELDS);
    let org = reader.object(top, "org").unwrap_or_default();
    count_unknown(&mut reading.unknown_fields, org, "org.", ORG_FIELDS);
    for criterion in CRITERIA {
        let map = reader.object(top, criterion).unwrap_or_default();
        count_unknown(&mut reading.unknown_fields, map, &format!("{criterion}."), CRITERION_FIELDS);
    }

    let Some(name) = reader.word(system, "system.endmodelname") else {
        return Err("it has no `system.endmodelname`: which model was judged is not said".to_owned());
    };
    let mut out = Statements::default();
    out.add(Field::DisplayName, Value::Text(name.clone()));
    out.maybe(Field::ReleaseDate, reader.date(system, "system.releasedate"), Value::Date);
    outputs(&mut reader, system, &mut out);
    let weights = reader.object(top, "weights_endmodel").unwrap_or_default();
    let repository = repository(&mut reader, weights);
    availability(&mut reader, top, repository.is_some(), &mut out);
    licenses(&mut reader, system, top, &mut out);
    base(&mut reader, system, &name, &mut out);
    let organization = reader.word(org, "org.name");
    let identity = Identity {
        repositories: repository.into_iter().collect(),
        names: vec![name],
        publishers: organization.map(|text| super::publishers_of(&text)).unwrap_or_default(),
        ..Identity::default()
    };
    if let Some(repository) = identity.repositories.first() {
        let url = format!("https://huggingface.co/{repository}");
        out.add(Field::Url(ComponentKind::ModelWeights), Value::Text(url.into()));
    }
    Ok(SourceRecord {
        source: DataSource::Osai,
        id: file.stem().into(),
        url: "".into(),
        date: "".into(),
        identity,
        statements: out.finish(),
        warnings: reader.finish(),
    })
}

/// The repository of the weights. A list of links names several models of the family: then none of them is certain.
fn repository(reader: &mut Reader<'_>, weights: &Map) -> Option<Box<str>> {
    match reader.field(weights, "weights_endmodel.link")? {
        Node::Text(url) => hub::repository_of_url(url),
        Node::List(links) => {
            let found = links.iter().filter_map(|link| match link {
                Node::Text(url) => hub::repository_of_url(url),
                _ => None,
            });
            let mut found: Vec<_> = found.collect();
            found.sort();
            found.dedup();
            match found.as_slice() {
                [one] => Some(one.clone()),
                [] => None,
                _ => {
                    reader.warn("weights_endmodel.link", "names several repositories: left out");
                    None
                }
            }
        }
        _ => None,
    }
}

/// The type says what a model gives out; what it takes in is not said.
fn outputs(reader: &mut Reader<'_>, system: &Map, out: &mut Statements) {
    let Some(kinds) = reader.word(system, "system.type") else { return };
    let mut found = Vec::new();
    for word in kinds.split(',').map(str::trim) {
        match word {
            "text" | "code" => found.push(Modality::Text),
            "image" => found.push(Modality::Image),
            "audio" => found.push(Modality::Audio),
            "video" => found.push(Modality::Video),
            other => {
                reader.warn("system.type", &format!("holds `{}`, no known kind", crate::domain::name::shown(other)));
            }
        }
    }
    found.sort();
    found.dedup();
    if !found.is_empty() {
        out.add(Field::OutputModalities, Value::Modalities(found));
    }
}

fn class(reader: &mut Reader<'_>, top: &Map, criterion: &str) -> Option<Availability> {
    let map = reader.object(top, criterion)?;
    let path = format!("{criterion}.class");
    match &*reader.word(map, &path)? {
        "open" => Some(Availability::Available),
        "partial" => Some(Availability::Partial),
        "closed" => Some(Availability::Unavailable),
        other => {
            reader.warn(&path, &format!("is `{}`, no class: left out", crate::domain::name::shown(other)));
            None
        }
    }
}

fn availability(reader: &mut Reader<'_>, top: &Map, has_repository: bool, out: &mut Statements) {
    for (criterion, kind) in PARTS {
        let mut found = class(reader, top, criterion);
        let closed = *kind == ComponentKind::ModelWeights && found == Some(Availability::Unavailable);
        if closed && has_repository {
            reader.warn("weights_endmodel.class", "is closed beside an address of weights: left out");
            found = None;
        }
        out.maybe(Field::Availability(*kind), found, Value::Availability);
    }
    let base = class(reader, top, "datasources_basemodel");
    let end = class(reader, top, "datasources_endmodel");
    // Data of the base and of its tuning: the less open of the two. Values are in the order of openness.
    if let (Some(base), Some(end)) = (base, end) {
        out.add(Field::Availability(ComponentKind::TrainingData), Value::Availability(base.max(end)));
    }
    let paper = [class(reader, top, "paper"), class(reader, top, "preprint")].into_iter().flatten().min();
    out.maybe(Field::Availability(ComponentKind::ResearchPaper), paper, Value::Availability);
}

fn licenses(reader: &mut Reader<'_>, system: &Map, top: &Map, out: &mut Statements) {
    let weights = ComponentKind::ModelWeights;
    // Four files spell the key with a blank.
    let head = reader.word(system, "system.endmodellicense");
    let head = head.or_else(|| reader.word(system, "system.endmodel license"));
    if let Some(text) = head {
        declare(out, weights, text, PART_HEAD);
    }
    let notes = reader.object(top, "licenses").and_then(|map| reader.prose(map, PART_NOTES));
    let notes = notes.unwrap_or_default();
    for (labels, kind) in LABELS {
        if let Some(text) = labelled(&notes, labels) {
            declare(out, *kind, text.into(), PART_NOTES);
        }
    }
    // Notes that are not by part may speak of any, and are held against the license of the weights all the same.
    let labels = LABELS.iter().find(|(_, kind)| *kind == weights).map_or(&[][..], |(labels, _)| labels);
    let said = labelled(&notes, labels).unwrap_or(&notes).to_ascii_lowercase();
    if NON_COMMERCIAL.iter().any(|words| said.contains(words)) {
        out.add(Field::LicenseClass, Value::Text("non-commercial".into()));
    }
}

fn declare(out: &mut Statements, kind: ComponentKind, text: Box<str>, part: &str) {
    let declared = DeclaredLicense { text, ..DeclaredLicense::default() };
    out.add_part(Field::License(kind), Value::License(declared), part);
}

/// Words of notes that say more than the license in the head: held against one that grants commercial use.
const NON_COMMERCIAL: &[&str] =
    &["non-commercial", "noncommercial", "non-profit", "research purposes", "research-only", "research only", "-nc"];

/// What the notes write before the license of a part. Data comes under several licenses at once, in prose.
const LABELS: &[(&[&str], ComponentKind)] =
    &[(&["weights", "model weights", "model"], ComponentKind::ModelWeights), (&["code"], ComponentKind::TrainingCode)];

/// What stands behind one of the labels in `Weights: X. Code: Y. Data: Z.`, up to the next label.
fn labelled<'a>(notes: &'a str, labels: &[&str]) -> Option<&'a str> {
    let ours = |label: &str| labels.iter().any(|known| known.eq_ignore_ascii_case(label));
    let (_, start) = places(notes).into_iter().find(|(label, _)| ours(label))?;
    let rest = notes.get(start..)?;
    let end = places(rest).first().and_then(|(label, at)| at.checked_sub(label.len() + 1)).unwrap_or(rest.len());
    let text = rest.get(..end)?.trim().trim_end_matches('.').trim();
    (!text.is_empty()).then_some(text)
}

/// Every `Label:` at the start of the notes or behind the end of a sentence, and where what follows begins.
fn places(notes: &str) -> Vec<(&str, usize)> {
    let mut found = Vec::new();
    for (at, _) in notes.match_indices(':') {
        let Some(before) = notes.get(..at) else { continue };
        let start = before.rfind(['.', ';', '\n']).map_or(0, |dot| dot + 1);
        let label = before.get(start..).unwrap_or_default().trim();
        let short =
            !label.is_empty() && label.len() <= 16 && label.chars().all(|c| c.is_ascii_alphabetic() || c == ' ');
        if short && !notes[at..].starts_with("://") {
            found.push((label, at + 1));
        }
    }
    found
}

fn base(reader: &mut Reader<'_>, system: &Map, end: &str, out: &mut Statements) {
    let Some(name) = reader.word(system, "system.basemodelname") else { return };
    let none = NO_BASE.contains(&name.trim().to_ascii_lowercase().as_str());
    if !none && fold(&name) != fold(end) {
        out.add(Field::BaseModels, Value::Bases(vec![NamedBase { relation: Relation::FineTune, name }]));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_notes_say_the_license_of_each_part() {
        let notes = "Weights: Apache-2.0. Code: MIT License. Data: OpenRAIL, ODC-By 1.0.";
        assert_eq!(labelled(notes, &["weights"]), Some("Apache-2.0"));
        assert_eq!(labelled(notes, &["code"]), Some("MIT License"));
        assert_eq!(labelled(notes, &["data"]), Some("OpenRAIL, ODC-By 1.0"));
        assert_eq!(labelled("No license: see https://x.org/a: b.", &["weights"]), None);
        assert_eq!(labelled("Weights:", &["weights"]), None);
        assert_eq!(labelled("weights: Llama 3.1 Community License", &["weights"]), Some("Llama 3.1 Community License"));
        assert_eq!(labelled("Apache-2.0 for all.", &["weights"]), None);
    }
}
