//! What data sets say of models: to and from its stored form.

use super::record::RecordError;
use crate::ingest::source::DataSource;
use crate::ingest::statement::{Field, Identity, SourceRecord, Statement, Value};
use crate::pb::weighbridge::storage::v1 as storage;
use crate::pb::weighbridge::storage::v1::source_record::Statement as Message;

/// A record of a data set, to store. Warnings are the report's and not kept.
#[must_use]
pub fn source_record_message(record: &SourceRecord) -> storage::SourceRecord {
    let SourceRecord { source, id, url, date, identity, statements, warnings: _ } = record;
    let Identity { repositories, keys, names, publishers } = identity;
    let texts = |list: &[Box<str>]| list.iter().map(ToString::to_string).collect();
    storage::SourceRecord {
        source: source.to_string(),
        id: id.to_string(),
        url: url.to_string(),
        date: date.to_string(),
        repositories: texts(repositories),
        keys: texts(keys),
        names: texts(names),
        publishers: texts(publishers),
        statements: statements
            .iter()
            .map(|Statement { field, value, part }| Message {
                field: field.to_string(),
                values: value.to_texts(),
                part: part.to_string(),
            })
            .collect(),
    }
}

/// A stored record of a data set. Statements of fields that this release does not know are left out: a newer one reads
/// them again.
///
/// # Errors
/// The data set is not known.
pub fn source_record(message: storage::SourceRecord) -> Result<SourceRecord, RecordError> {
    let storage::SourceRecord { source, id, url, date, repositories, keys, names, publishers, statements } = message;
    let source = DataSource::parse(&source).ok_or_else(|| RecordError::Invalid {
        name: format!("{source}/{id}"),
        detail: "its data set is not known to this release".into(),
    })?;
    let texts = |list: Vec<String>| list.into_iter().map(String::into_boxed_str).collect();
    let statement = |Message { field, values, part }: Message| {
        let field = Field::parse(&field)?;
        Some(Statement { field, value: Value::from_texts(field, &values)?, part: part.into() })
    };
    Ok(SourceRecord {
        source,
        id: id.into(),
        url: url.into(),
        date: date.into(),
        identity: Identity {
            repositories: texts(repositories),
            keys: texts(keys),
            names: texts(names),
            publishers: texts(publishers),
        },
        statements: statements.into_iter().filter_map(statement).collect(),
        warnings: Vec::new(),
    })
}
