//! Documents as importers take them: one file or the files of a folder, and what was read of them.

use std::collections::{BTreeMap, BTreeSet};

use super::statement::SourceRecord;
use super::{Entry, ImportError, Limits, Outcome};
use crate::domain::name::shown;

/// A file of a document.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct File {
    /// Its path inside the folder, with `/`; for a document of one file, its name or empty.
    pub path: Box<str>,
    /// Its content.
    pub bytes: Vec<u8>,
}

impl File {
    /// The path without folders and without its extension.
    #[must_use]
    pub fn stem(&self) -> &str {
        let name = self.path.rsplit('/').next().unwrap_or(&self.path);
        name.rsplit_once('.').map_or(name, |(stem, _)| stem)
    }

    /// The last part of the path.
    #[must_use]
    pub fn name(&self) -> &str {
        self.path.rsplit('/').next().unwrap_or(&self.path)
    }
}

/// What was read of a document of model records.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Reading {
    /// The records, by id.
    pub records: Vec<SourceRecord>,
    /// What was not read, each with its reason.
    pub rejected: Vec<Entry>,
    /// Rejected records whose id is not known: any record may be one of them.
    pub unnamed: usize,
    /// How often each field that the importer does not know occurs, by path.
    pub unknown_fields: BTreeMap<String, u32>,
}

impl Reading {
    pub(super) fn reject(&mut self, record: &str, reason: String) {
        let record = shown(record);
        self.rejected.push(Entry { record, outcome: Outcome::Rejected, messages: vec![reason] });
    }

    /// Rejects what has no id of its own; `place` says where it stands.
    pub(super) fn reject_unnamed(&mut self, place: &str, reason: String) {
        self.unnamed += 1;
        self.reject(place, reason);
    }

    /// Sorted. Of records with one id none is taken: which of them counts would depend on their order.
    pub(super) fn finish(mut self) -> Self {
        self.records.sort_by(|a, b| a.id.cmp(&b.id));
        let pairs = self.records.iter().zip(self.records.iter().skip(1));
        let doubled: BTreeSet<_> = pairs.filter(|(a, b)| a.id == b.id).map(|(a, _)| a.id.clone()).collect();
        for record in self.records.iter().filter(|record| doubled.contains(&record.id)) {
            let messages = vec!["its id is given more than once in the document".to_owned()];
            self.rejected.push(Entry { record: shown(&record.id), outcome: Outcome::Rejected, messages });
        }
        self.records.retain(|record| !doubled.contains(&record.id));
        self.rejected.sort();
        self
    }
}

/// The one file of a document that is no folder.
pub(super) fn single<'a>(files: &'a [File], what: &'static str) -> Result<&'a File, ImportError> {
    match files {
        [file] => Ok(file),
        _ => Err(ImportError::Files { expected: what, found: files.len() }),
    }
}

/// Refuses more than is read.
///
/// # Errors
/// [`ImportError`] with the limit.
pub fn check_size(files: &[File], limits: &Limits) -> Result<(), ImportError> {
    let found = files.iter().map(|file| file.bytes.len()).fold(0_usize, usize::saturating_add);
    if found > limits.document_bytes_max {
        return Err(ImportError::TooLarge { limit_bytes: limits.document_bytes_max, found });
    }
    if files.len() > limits.files_max {
        return Err(ImportError::TooManyFiles { limit: limits.files_max, found: files.len() });
    }
    Ok(())
}
