//! What sources state: one value of one field of one model, as each source has it.

use std::fmt;

use super::source::DataSource;
use crate::domain::date::Date;
use crate::domain::model::{Availability, Capability, ComponentKind, Modality, Relation};

type Text = Box<str>;

/// One record of a source about one model.
#[derive(Clone, Debug, PartialEq)]
pub struct SourceRecord {
    /// The source.
    pub source: DataSource,
    /// Its id there: a key, a file's name, a repository.
    pub id: Text,
    /// Where this very record can be read; empty: with its source.
    pub url: Text,
    /// When it was stated, `YYYY`, `YYYY-MM` or `YYYY-MM-DD`; empty: unknown.
    pub date: Text,
    /// Which model it is about.
    pub identity: Identity,
    /// What it states, sorted.
    pub statements: Vec<Statement>,
    /// Values that were left out or mended.
    pub warnings: Vec<String>,
}

/// Which model a record is about, as the source says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Identity {
    /// Hub repositories of its weights, `organization/name`: these are certain.
    pub repositories: Vec<Text>,
    /// Ids of the form `lab/model`: these are certain.
    pub keys: Vec<Text>,
    /// Names for people. Believed only with the publisher.
    pub names: Vec<Text>,
    /// Its publishers as the source spells them.
    pub publishers: Vec<Text>,
}

/// A value of a field, and the place in the record where it stands.
#[derive(Clone, Debug, PartialEq)]
pub struct Statement {
    /// The field.
    pub field: Field,
    /// The value.
    pub value: Value,
    /// The part of the record, where a source says it in several; else empty.
    pub part: Text,
}

/// A field of a model that sources state.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Field {
    /// Name for people.
    DisplayName,
    /// Family.
    Family,
    /// What it takes in.
    InputModalities,
    /// What it gives out.
    OutputModalities,
    /// What it can do besides.
    Capabilities,
    /// Longest context, in tokens.
    ContextTokens,
    /// Longest output, in tokens.
    MaxOutputTokens,
    /// All parameters.
    TotalParameters,
    /// Parameters active for one token.
    ActiveParameters,
    /// Release date.
    ReleaseDate,
    /// End of the training data.
    KnowledgeCutoff,
    /// From what it was made.
    BaseModels,
    /// What a reader should know besides.
    Notes,
    /// Whether a part can be had.
    Availability(ComponentKind),
    /// The license of a part.
    License(ComponentKind),
    /// Where a part is.
    Url(ComponentKind),
    /// Of which class the license of the weights is, where a source knows no more: `non-commercial` or `commercial`.
    LicenseClass,
}

const PLAIN: &[(Field, &str)] = &[
    (Field::DisplayName, "display_name"),
    (Field::Family, "family"),
    (Field::InputModalities, "input_modalities"),
    (Field::OutputModalities, "output_modalities"),
    (Field::Capabilities, "capabilities"),
    (Field::ContextTokens, "context_tokens"),
    (Field::MaxOutputTokens, "max_output_tokens"),
    (Field::TotalParameters, "parameters.total"),
    (Field::ActiveParameters, "parameters.active"),
    (Field::ReleaseDate, "release_date"),
    (Field::KnowledgeCutoff, "knowledge_cutoff"),
    (Field::BaseModels, "base_models"),
    (Field::Notes, "notes"),
    (Field::LicenseClass, "license_class"),
];

impl fmt::Display for Field {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Availability(kind) => write!(f, "components[{kind}].availability"),
            Self::License(kind) => write!(f, "components[{kind}].license_expression"),
            Self::Url(kind) => write!(f, "components[{kind}].url"),
            plain => {
                let path = PLAIN.iter().find(|(field, _)| field == plain).map_or("", |(_, path)| path);
                f.write_str(path)
            }
        }
    }
}

impl Field {
    /// The field of a path; `None` when it is none that sources state.
    #[must_use]
    pub fn parse(path: &str) -> Option<Self> {
        if let Some((field, _)) = PLAIN.iter().find(|(_, known)| *known == path) {
            return Some(*field);
        }
        let (kind, rest) = path.strip_prefix("components[")?.split_once("].")?;
        let kind = ComponentKind::parse(kind)?;
        match rest {
            "availability" => Some(Self::Availability(kind)),
            "license_expression" => Some(Self::License(kind)),
            "url" => Some(Self::Url(kind)),
            _ => None,
        }
    }
}

/// A value that a source states.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// A text.
    Text(Text),
    /// A whole number.
    Number(i64),
    /// A date.
    Date(Date),
    /// Kinds of content, in the order of the enum.
    Modalities(Vec<Modality>),
    /// Abilities, in the order of the enum.
    Capabilities(Vec<Capability>),
    /// Whether a part can be had.
    Availability(Availability),
    /// A license as declared: not yet a license expression.
    License(DeclaredLicense),
    /// Models it was made from, as named.
    Bases(Vec<NamedBase>),
    /// Several texts.
    Texts(Vec<Text>),
}

/// A license as a source writes it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DeclaredLicense {
    /// The hub's tag, or the spelling of another source.
    pub text: Text,
    /// Beside the hub's tag `other`: the name that the maker gives.
    pub name: Text,
    /// Beside the hub's tag `other`: where the maker links to.
    pub link: Text,
}

/// A base model by the name that a source writes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NamedBase {
    /// How it was made from it.
    pub relation: Relation,
    /// Its name: a hub repository or a name for people.
    pub name: Text,
}

impl Value {
    /// As a list of texts, for keeping; [`Value::from_texts`] reads it back.
    #[must_use]
    pub fn to_texts(&self) -> Vec<String> {
        match self {
            Self::Text(text) => vec![text.to_string()],
            Self::Number(number) => vec![number.to_string()],
            Self::Date(date) => vec![date.to_string()],
            Self::Modalities(list) => list.iter().map(ToString::to_string).collect(),
            Self::Capabilities(list) => list.iter().map(ToString::to_string).collect(),
            Self::Availability(availability) => vec![availability.to_string()],
            Self::License(DeclaredLicense { text, name, link }) => {
                vec![text.to_string(), name.to_string(), link.to_string()]
            }
            Self::Bases(bases) => {
                bases.iter().flat_map(|base| [base.relation.to_string(), base.name.to_string()]).collect()
            }
            Self::Texts(texts) => texts.iter().map(ToString::to_string).collect(),
        }
    }

    /// A value of a field from its texts; `None` when they are none.
    #[must_use]
    pub fn from_texts(field: Field, texts: &[String]) -> Option<Self> {
        let one = || match texts {
            [text] => Some(text.as_str()),
            _ => None,
        };
        match field {
            Field::DisplayName | Field::Family | Field::LicenseClass | Field::Url(_) => {
                one().map(|text| Self::Text(text.into()))
            }
            Field::ContextTokens | Field::MaxOutputTokens | Field::TotalParameters | Field::ActiveParameters => {
                one()?.parse().ok().map(Self::Number)
            }
            Field::ReleaseDate | Field::KnowledgeCutoff => Date::parse(one()?).ok().map(Self::Date),
            Field::InputModalities | Field::OutputModalities => {
                texts.iter().map(|word| Modality::parse(word)).collect::<Option<_>>().map(Self::Modalities)
            }
            Field::Capabilities => {
                texts.iter().map(|word| Capability::parse(word)).collect::<Option<_>>().map(Self::Capabilities)
            }
            Field::Availability(_) => Availability::parse(one()?).map(Self::Availability),
            Field::License(_) => match texts {
                [text, name, link] => Some(Self::License(DeclaredLicense {
                    text: text.as_str().into(),
                    name: name.as_str().into(),
                    link: link.as_str().into(),
                })),
                _ => None,
            },
            Field::BaseModels => {
                let base = |pair: &[String]| match pair {
                    [relation, name] => {
                        Some(NamedBase { relation: Relation::parse(relation)?, name: name.as_str().into() })
                    }
                    _ => None,
                };
                texts.chunks(2).map(base).collect::<Option<_>>().map(Self::Bases)
            }
            Field::Notes => Some(Self::Texts(texts.iter().map(|text| text.as_str().into()).collect())),
        }
    }
}

/// Collects the statements of one record.
#[derive(Debug, Default)]
pub(super) struct Statements(Vec<Statement>);

impl Statements {
    pub(super) fn add(&mut self, field: Field, value: Value) {
        self.add_part(field, value, "");
    }

    pub(super) fn add_part(&mut self, field: Field, value: Value, part: &str) {
        self.0.push(Statement { field, value, part: part.into() });
    }

    /// A value where there is one.
    pub(super) fn maybe<T>(&mut self, field: Field, value: Option<T>, wrap: impl FnOnce(T) -> Value) {
        if let Some(value) = value {
            self.add(field, wrap(value));
        }
    }

    /// Sorted, so that the order of reading does not show.
    pub(super) fn finish(self) -> Vec<Statement> {
        let mut statements = self.0;
        statements.sort_by(|a, b| (a.field, &a.part).cmp(&(b.field, &b.part)));
        statements
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_named_by_their_path_and_values_survive_being_kept() {
        let base = NamedBase { relation: Relation::Quantized, name: "a/b".into() };
        let license = DeclaredLicense { text: "other".into(), name: "x".into(), link: "".into() };
        let cases = [
            (Field::DisplayName, Value::Text("A".into())),
            (Field::ContextTokens, Value::Number(5)),
            (Field::ReleaseDate, Value::Date(Date::parse("2025-02").unwrap())),
            (Field::InputModalities, Value::Modalities(vec![Modality::Text, Modality::Pdf])),
            (Field::Capabilities, Value::Capabilities(Vec::new())),
            (Field::BaseModels, Value::Bases(vec![base])),
            (Field::Notes, Value::Texts(vec!["n".into(), "m".into()])),
            (Field::Availability(ComponentKind::DataCard), Value::Availability(Availability::Gated)),
            (Field::License(ComponentKind::ModelWeights), Value::License(license)),
            (Field::Url(ComponentKind::ModelWeights), Value::Text("https://x".into())),
        ];
        for (field, value) in cases {
            assert_eq!(Field::parse(&field.to_string()), Some(field));
            assert_eq!(Value::from_texts(field, &value.to_texts()), Some(value));
        }
        for bad in ["", "x", "components[X].url", "components[DATA_CARD].x"] {
            assert_eq!(Field::parse(bad), None, "{bad}");
        }
        assert_eq!(Value::from_texts(Field::ContextTokens, &["x".into()]), None);
        assert_eq!(Value::from_texts(Field::BaseModels, &["MERGE".into()]), None);
    }
}
