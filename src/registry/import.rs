//! Imports: a document of a known source, normalised and committed as one change. The same document again changes nothing.

use std::collections::BTreeSet;
use std::sync::Arc;

use bytes::Bytes;
use jiff::Timestamp;

use super::key::Key;
use super::models::timestamp;
use super::resolve::KnownModels;
use super::{Registry, RegistryError, records};
use crate::catalog::Snapshot;
use crate::convert;
use crate::ingest::{Import, Limits, models_dev};
use crate::pb::weighbridge::storage::v1::record::Record as Kind;
use crate::pb::weighbridge::v1 as pb;
use crate::store::{Batch, Write};

/// A document to import.
#[derive(Clone, Debug)]
pub struct ImportRequest {
    /// Format.
    pub source: pb::ImportSource,
    /// Where the caller has it from.
    pub origin: String,
    /// Report only.
    pub validate_only: bool,
    /// The document as written.
    pub document: Vec<u8>,
}

/// Largest document that is taken, in bytes.
pub(super) const DOCUMENT_BYTES_MAX: usize = 64 << 20;

impl Registry {
    /// Imports a document.
    ///
    /// # Errors
    /// The document cannot be read as a whole, or the store fails. What is wrong with single records is in the report.
    pub async fn import(&self, request: ImportRequest) -> Result<pb::ImportReport, RegistryError> {
        let ImportRequest { source, origin, validate_only, document } = request;
        if source != pb::ImportSource::ModelsDev {
            let description = "it must be set: use IMPORT_SOURCE_MODELS_DEV";
            return Err(RegistryError::Invalid(vec![super::violation("config.source", description)]));
        }
        let snapshot = self.snapshot();
        let now = (self.clock)();
        // Reading a large document takes longer than a serving thread should be held up.
        let planned = tokio::task::spawn_blocking(move || plan(&snapshot, &document, &origin, now)).await;
        let (mut report, writes) = planned.map_err(|_| RegistryError::Closed)??;
        report.revision = records::wire_revision(self.snapshot().revision());
        if !validate_only && !writes.is_empty() {
            let revision = self.commit(Batch { expect: Vec::new(), writes }).await?;
            report.revision = records::wire_revision(revision);
        }
        Ok(report)
    }
}

fn plan(
    snapshot: &Arc<Snapshot>,
    document: &[u8],
    origin: &str,
    now: Timestamp,
) -> Result<(pb::ImportReport, Vec<Write>), RegistryError> {
    let limits = Limits { document_bytes_max: DOCUMENT_BYTES_MAX, ..Limits::default() };
    let document = models_dev::read(document, &limits)?;
    let import = models_dev::normalise(&document, &KnownModels(snapshot), origin);
    if import.offerings.is_empty() {
        return Err(RegistryError::NothingToImport);
    }
    let mut plan = Plan { report: convert::import_report(&import), writes: Vec::new(), now };
    plan.providers(snapshot, &import)?;
    plan.offerings(snapshot, &import)?;
    Ok((plan.report, plan.writes))
}

/// The difference between a document and what the registry holds of its source.
struct Plan {
    report: pb::ImportReport,
    writes: Vec<Write>,
    now: Timestamp,
}

impl Plan {
    fn providers(&mut self, snapshot: &Snapshot, import: &Import) -> Result<(), RegistryError> {
        let mut named = BTreeSet::new();
        for record in &import.providers {
            named.insert(record.id.clone());
            let old = snapshot.provider(&record.id).map(|entry| &entry.payload);
            let kind = Kind::Provider(convert::provider_message(record));
            self.put(&Key::Provider(record.id.clone()), kind, old)?;
        }
        for gone in snapshot.providers().map(|entry| &entry.record.id).filter(|id| !named.contains(*id)) {
            self.delete(&Key::Provider(gone.clone()));
        }
        Ok(())
    }

    fn offerings(&mut self, snapshot: &Snapshot, import: &Import) -> Result<(), RegistryError> {
        let source = pb::Source {
            title: "models.dev".into(),
            url: "https://models.dev/api.json".into(),
            date: String::new(),
            license: "MIT".into(),
        };
        let mut named = BTreeSet::new();
        for record in &import.offerings {
            named.insert(record.name.clone());
            let old = snapshot.offering(&record.name).map(|entry| &entry.payload);
            let kind = Kind::Offering(convert::offering_message(record, &source));
            self.put(&Key::Offering(record.name.clone()), kind, old)?;
        }
        for gone in snapshot.offerings().map(|entry| &entry.record.name).filter(|name| !named.contains(*name)) {
            self.delete(&Key::Offering(gone.clone()));
        }
        Ok(())
    }

    fn put(&mut self, key: &Key, kind: Kind, old: Option<&Bytes>) -> Result<(), RegistryError> {
        const ACTOR: &str = "import/models-dev";
        let mut created = self.now;
        match old {
            None => self.report.created += 1,
            Some(old) => {
                let (stored, times) = records::stored(old)?;
                if stored == kind {
                    self.report.unchanged += 1;
                    return Ok(());
                }
                created = times.created.map_or(self.now, |t| timestamp(&t, self.now));
                self.report.updated += 1;
            }
        }
        let value = records::record(kind, ACTOR, created, self.now);
        self.writes.push(Write { key: key.bytes(), value: Some(value) });
        Ok(())
    }

    fn delete(&mut self, key: &Key) {
        self.report.deleted += 1;
        self.writes.push(Write { key: key.bytes(), value: None });
    }
}
