//! Statements of data sets that are known to be wrong.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::source::DataSource;
use super::statement::Field;

/// Known errors, by source, record and field.
#[derive(Clone, Debug, Default)]
pub struct SourceErrors {
    reasons: BTreeMap<(DataSource, Box<str>, Field), Box<str>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ErrorsFile {
    #[serde(default)]
    errors: Vec<ErrorRow>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ErrorRow {
    source: String,
    records: Vec<String>,
    field: String,
    reason: String,
}

impl SourceErrors {
    /// Reads the table (TOML).
    ///
    /// # Errors
    /// Every problem of it.
    pub fn read(text: &str) -> Result<Self, Vec<String>> {
        let file: ErrorsFile = toml::from_str(text).map_err(|error| vec![error.message().to_owned()])?;
        let mut problems = Vec::new();
        let mut errors = Self::default();
        for ErrorRow { source, records, field, reason } in file.errors {
            let (Some(source), Some(field)) = (DataSource::parse(&source), Field::parse(&field)) else {
                problems.push(format!("`{source}` is no data set, or `{field}` no field that one states"));
                continue;
            };
            if reason.trim().is_empty() {
                problems.push(format!("an error of `{source}` without a reason: say what shows it"));
            }
            for record in records {
                if errors.reasons.insert((source, record.as_str().into(), field), reason.as_str().into()).is_some() {
                    problems.push(format!("`{source}` `{record}` `{field}` is there twice"));
                }
            }
        }
        if problems.is_empty() { Ok(errors) } else { Err(problems) }
    }

    /// Why a statement is wrong, if that is known.
    #[must_use]
    pub fn reason(&self, source: DataSource, record: &str, field: Field) -> Option<&str> {
        self.reasons.get(&(source, record.into(), field)).map(|reason| &**reason)
    }

    /// Every known error, for checking that the data sets still hold it.
    pub fn iter(&self) -> impl Iterator<Item = (DataSource, &str, Field)> {
        self.reasons.keys().map(|(source, record, field)| (*source, &**record, *field))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_known_error_is_found_and_a_wrong_row_is_refused() {
        let row = |source: &str, field: &str, reason: &str| {
            format!("[[errors]]\nsource = '{source}'\nrecords = ['a', 'b']\nfield = '{field}'\nreason = '{reason}'\n")
        };
        let good = row("mot", "display_name", "misspelt");
        let errors = SourceErrors::read(&good).unwrap();
        assert_eq!(errors.reason(DataSource::Mot, "b", Field::DisplayName), Some("misspelt"));
        assert_eq!(errors.reason(DataSource::Osai, "b", Field::DisplayName), None);
        assert_eq!(errors.iter().count(), 2);
        assert_eq!(SourceErrors::read(&format!("{good}{good}")).unwrap_err().len(), 2);
        for bad in [row("x", "display_name", "r"), row("mot", "x", "r"), row("mot", "notes", " "), "errors = 1".into()]
        {
            assert_eq!(SourceErrors::read(&bad).unwrap_err().len(), 1, "{bad}");
        }
    }
}
