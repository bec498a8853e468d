//! The front matter of a model card on the hub: what the maker itself states, by tag.

use super::document::{File, Reading, check_size, single};
use super::hub;
use super::json::{Map, Node};
use super::reader::Reader;
use super::source::DataSource;
use super::statement::{DeclaredLicense, Field, Identity, NamedBase, SourceRecord, Statements, Value};
use super::{ImportError, Limits, yaml};
use crate::domain::model::{Availability, ComponentKind, Relation};
use crate::domain::name::shown;

/// Relations to a base model, as the hub spells them.
const RELATIONS: &[(&str, Relation)] = &[
    ("adapter", Relation::Adapter),
    ("finetune", Relation::FineTune),
    ("merge", Relation::Merge),
    ("quantized", Relation::Quantized),
];

/// What stands for a license or a base model that could not be read.
const UNREADABLE: &str = "(unreadable)";

/// Parts of a card that are read.
const GATE_FIELDS: &[&str] = &["extra_gated_prompt", "extra_gated_fields", "extra_gated_heading"];

/// Reads the card of a repository, `organization/name` or its address.
///
/// # Errors
/// [`ImportError`] when it is too large, or no card with front matter, or the repository is none.
pub fn read(files: &[File], repository: &str, limits: &Limits) -> Result<Reading, ImportError> {
    check_size(files, limits)?;
    let file = single(files, "the README.md of one repository")?;
    let Some(repository) = hub::repository_of(repository) else {
        return Err(ImportError::Repository { given: shown(repository) });
    };
    let front = front_matter(&file.bytes).ok_or(ImportError::Shape {
        expected: "a model card that begins with front matter between two lines of `---`",
        found: "a text without it",
    })?;
    let mut left = limits.values_max;
    let node = yaml::parse(front, &mut left).map_err(|detail| ImportError::Table { detail })?;
    let Node::Object(map) = node else {
        return Err(ImportError::Shape { expected: "front matter of fields", found: node.kind() });
    };
    // Cards hold fields of all kinds, so those that are not read are not counted.
    Ok(Reading { records: vec![card(&repository, &map, limits)], ..Reading::default() }.finish())
}

/// What stands between the first line `---` and the next.
fn front_matter(bytes: &[u8]) -> Option<&[u8]> {
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    let mut start = None;
    let mut at = 0;
    for line in bytes.split_inclusive(|b| *b == b'\n') {
        let next = at + line.len();
        if line.trim_ascii() == b"---" {
            match start {
                None if at == 0 => start = Some(next),
                None => return None,
                Some(start) => return bytes.get(start..at),
            }
        }
        start?;
        at = next;
    }
    None
}

fn card(repository: &str, map: &Map, limits: &Limits) -> SourceRecord {
    let mut reader = Reader::new(limits);
    let mut out = Statements::default();
    let url = format!("https://huggingface.co/{repository}");
    let weights = ComponentKind::ModelWeights;
    out.add(Field::Availability(weights), Value::Availability(availability(&mut reader, map)));
    out.add(Field::Url(weights), Value::Text(url.as_str().into()));
    if let Some(license) = license(&mut reader, map) {
        out.add(Field::License(weights), Value::License(license));
    }
    let relation = relation(&mut reader, map);
    let bases: Vec<_> = stated(&mut reader, map, "base_model")
        .into_iter()
        .filter(|name| !name.eq_ignore_ascii_case(repository))
        .map(|name| NamedBase { relation, name })
        .collect();
    if !bases.is_empty() {
        out.add(Field::BaseModels, Value::Bases(bases));
    }
    let data = reader.words(map, "datasets");
    if !data.is_empty() {
        let note = format!("Data sets named on the model card: {}", data.join(", "));
        out.add(Field::Notes, Value::Texts(vec![note.into()]));
    }
    SourceRecord {
        source: DataSource::ModelCard,
        id: repository.into(),
        url: url.into(),
        date: "".into(),
        identity: Identity { repositories: vec![repository.into()], ..Identity::default() },
        statements: out.finish(),
        warnings: reader.finish(),
    }
}

/// A repository of the hub hands out weights; some ask for terms or data first.
fn availability(reader: &mut Reader<'_>, map: &Map) -> Availability {
    let asks = GATE_FIELDS.iter().any(|field| reader.field(map, field).is_some());
    let gated = match reader.field(map, "gated") {
        Some(Node::Bool(gated)) => *gated,
        // The hub writes how it is approved.
        Some(Node::Text(word)) => matches!(&**word, "auto" | "manual" | "true"),
        _ => false,
    };
    if asks || gated { Availability::Gated } else { Availability::Available }
}

/// The texts of a field for which "not there" would be the more permissive reading: what can not be read of it is stated,
/// and nothing is known by its name.
fn stated(reader: &mut Reader<'_>, map: &Map, path: &str) -> Vec<Box<str>> {
    let entries: Vec<&Node> = match map.iter().find(|(key, _)| **key == *path).map(|(_, node)| node) {
        None | Some(Node::Null) => return Vec::new(),
        Some(Node::List(list)) => list.iter().collect(),
        Some(one) => vec![one],
    };
    let mut read = |node: &Node| {
        let one = [(path.into(), node.clone())];
        match node {
            Node::Text(text) if text.trim().is_empty() => None,
            _ => Some(reader.word(&one, path).unwrap_or_else(|| UNREADABLE.into())),
        }
    };
    entries.into_iter().filter_map(&mut read).collect()
}

/// Several licenses are not one of them, so they are declared as they stand.
fn license(reader: &mut Reader<'_>, map: &Map) -> Option<DeclaredLicense> {
    let tags = stated(reader, map, "license");
    if tags.is_empty() {
        return None;
    }
    let text = tags.join(", ").into();
    let name = stated(reader, map, "license_name").join(", ").into();
    let link = reader.word(map, "license_link").unwrap_or_default();
    Some(DeclaredLicense { text, name, link })
}

fn relation(reader: &mut Reader<'_>, map: &Map) -> Relation {
    let Some(word) = reader.word(map, "base_model_relation") else { return Relation::FineTune };
    match RELATIONS.iter().find(|(known, _)| word.eq_ignore_ascii_case(known)) {
        Some((_, relation)) => *relation,
        None => {
            reader.warn("base_model_relation", &format!("is `{}`, no known relation: taken as finetune", shown(&word)));
            Relation::FineTune
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn front_matter_stands_between_the_first_two_lines_of_dashes() {
        let check = |text: &str, expected: Option<&str>| {
            assert_eq!(front_matter(text.as_bytes()), expected.map(str::as_bytes), "{text}");
        };
        check("---\nlicense: mit\n---\n# Title\n---\n", Some("license: mit\n"));
        check("\u{feff}---\r\nlicense: mit\r\n---\r\n", Some("license: mit\r\n"));
        check("---\n---\n", Some(""));
        check("# Title\n---\na: 1\n---\n", None);
        check("---\na: 1\n", None);
        check("", None);
    }
}
