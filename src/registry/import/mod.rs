//! Imports: a document of a known source, read, merged with everything else that is known, and committed as one change.
//!
//! What a source says of models is kept as it was read; the models, and which model an offering is of, are made anew
//! from all of it at each import and at start. So the order of imports does not show, a new alias or a better rule
//! reaches what was imported before it, and the same document again changes nothing.

mod known;
mod rebuild;
mod records;
#[cfg(all(test, feature = "shared-data"))]
mod shared_data;

use std::sync::Arc;
use std::sync::atomic::Ordering;

use jiff::Timestamp;
use tokio::sync::OwnedMutexGuard;

use super::builtin::Builtin;
use super::call::beside;
use super::write::By;
use super::{Registry, RegistryError, TRIES_MAX, records as stored};
use crate::catalog::Snapshot;
use crate::ingest::document::{File, Reading};
use crate::ingest::source::DataSource;
use crate::ingest::{Limits, comparia, epoch, hub, model_card, models_dev, mot, osai};
use crate::pb::weighbridge::v1 as pb;
use crate::store::{Expect, StoreError, Write};

pub(super) use known::KnownModels;
use rebuild::{Incoming, Rebuild};

/// A document to import.
#[derive(Clone, Debug)]
pub struct ImportRequest {
    /// What is imported and how.
    pub config: pb::ImportConfig,
    /// The document as written: one file, or the files of a folder.
    pub files: Vec<File>,
}

/// Largest document that is taken, in bytes.
pub(super) const DOCUMENT_BYTES_MAX: usize = 64 << 20;

impl Registry {
    /// Imports a document.
    ///
    /// # Errors
    /// The document cannot be read as a whole, or the store fails. What is wrong with single records is in the report.
    pub async fn import(&self, request: ImportRequest) -> Result<pb::ImportReport, RegistryError> {
        let ImportRequest { config, files } = request;
        let source = pb::ImportSource::try_from(config.source).unwrap_or_default();
        if source == pb::ImportSource::Unspecified {
            let description = "it must be set: for example IMPORT_SOURCE_MODELS_DEV";
            return Err(RegistryError::Invalid(vec![super::violation("config.source", description)]));
        }
        // Two imports at once would each be planned on what the other is about to change.
        let one_at_a_time = Arc::new(self.importing.clone().lock_owned().await);
        let (config, files) = (Arc::new(config), Arc::new(files));
        let mut tries = 0;
        loop {
            tries += 1;
            match self.import_once(source, &config, &files, &one_at_a_time).await {
                // Another replica has imported meanwhile, or an operator has changed one of the records.
                Err(RegistryError::Store(StoreError::Conflict { .. })) if tries < TRIES_MAX => {}
                imported => return imported,
            }
        }
    }

    async fn import_once(
        &self,
        source: pb::ImportSource,
        config: &Arc<pb::ImportConfig>,
        files: &Arc<Vec<File>>,
        one_at_a_time: &Arc<OwnedMutexGuard<()>>,
    ) -> Result<pb::ImportReport, RegistryError> {
        let validate_only = config.validate_only;
        if !validate_only {
            self.catch_up().await?;
        }
        let snapshot = self.snapshot();
        let seen = snapshot.revision();
        let builtin = self.builtin.clone();
        let now = (self.clock)();
        let (config, files, turn) = (config.clone(), files.clone(), one_at_a_time.clone());
        // Reading a large document takes longer than a serving thread should be held up.
        let planned = beside(move || {
            let planned = plan(&snapshot, &builtin, source, &config, &files, now);
            // Held by the work and not by the call, which may be given up on.
            drop(turn);
            planned
        });
        let Planned { mut report, writes, expect, actor } = planned.await??;
        report.revision = stored::wire_revision(self.snapshot().revision());
        if !validate_only && !writes.is_empty() {
            let revision = self.commit_serial(writes, expect, seen, &By::of(actor)).await?;
            report.revision = stored::wire_revision(revision);
            if source == pb::ImportSource::Records {
                self.merges_due.fetch_add(1, Ordering::Relaxed);
                not_yet(self.remerge_in_turn().await);
                report.revision = stored::wire_revision(self.snapshot().revision());
            }
        }
        if source == pb::ImportSource::Records {
            let snapshot = self.snapshot();
            let conflicting = snapshot.models().filter(|entry| !entry.record.conflicts.is_empty()).count();
            report.conflicting_models = i32::try_from(conflicting).unwrap_or(i32::MAX);
        }
        Ok(report)
    }

    /// Makes the merged models and the links of offerings anew: after an operator's change of a model's ids, and for a
    /// release that merges or resolves better.
    pub(super) async fn remerge(&self) -> Result<(), RegistryError> {
        let _one_at_a_time = self.importing.clone().lock_owned().await;
        self.remerge_in_turn().await
    }

    /// The same after a write that is made, which its caller is told whatever becomes of this.
    pub(super) async fn remerge_after_write(&self) {
        // Also when nobody waits any more before it is done.
        self.merges_due.fetch_add(1, Ordering::Relaxed);
        not_yet(self.remerge().await);
    }

    /// Makes good what could not be merged after a write.
    ///
    /// # Errors
    /// It could not be, again.
    pub async fn merge_left_over(&self) -> Result<(), RegistryError> {
        if self.merges_due.load(Ordering::Relaxed) > self.merges_done.load(Ordering::Relaxed) {
            self.remerge().await?;
        }
        Ok(())
    }

    /// The same for who holds up other imports already.
    async fn remerge_in_turn(&self) -> Result<(), RegistryError> {
        let due = self.merges_due.load(Ordering::Relaxed);
        let mut tries = 0;
        loop {
            tries += 1;
            match self.remerge_once().await {
                Err(RegistryError::Store(StoreError::Conflict { .. })) if tries < TRIES_MAX => self.catch_up().await?,
                Err(error) => return Err(error),
                Ok(is_done) => {
                    if is_done {
                        self.merges_done.fetch_max(due, Ordering::Relaxed);
                    }
                    return Ok(());
                }
            }
        }
    }

    /// `false`: not while the store takes no writes.
    async fn remerge_once(&self) -> Result<bool, RegistryError> {
        let snapshot = self.snapshot();
        let seen = snapshot.revision();
        let nothing = snapshot.source_records().next().is_none() && snapshot.offering_counts().0 == 0;
        let is_read_only = !self.is_shared && !self.store.status().writable;
        if nothing || is_read_only {
            return Ok(nothing);
        }
        let builtin = self.builtin.clone();
        let now = (self.clock)();
        let planned = tokio::task::spawn_blocking(move || {
            let actor = format!("merge/{}", super::builtin::CATALOG_VERSION);
            let made = Rebuild::new(&snapshot, &builtin, &actor, now).run(Incoming::Nothing);
            made.map(|(_, writes)| (writes, actor))
        });
        let (writes, actor) = planned.await.map_err(|_| RegistryError::Closed)??;
        if !writes.is_empty() {
            self.commit_serial(writes, Vec::new(), seen, &By::of(actor)).await?;
        }
        Ok(true)
    }
}

/// Says that something was written and could not be merged.
fn not_yet(merged: Result<(), RegistryError>) {
    if let Err(error) = merged {
        // What was merged stands as before the write until then.
        tracing::warn!(%error, "merged models and offerings could not be made anew after a write; it is tried again");
    }
}

/// What would be written and by which actor, on which conditions, and what is to be said of it.
struct Planned {
    report: pb::ImportReport,
    writes: Vec<Write>,
    expect: Vec<Expect>,
    actor: String,
}

fn plan(
    snapshot: &Arc<Snapshot>,
    builtin: &Builtin,
    source: pb::ImportSource,
    config: &pb::ImportConfig,
    files: &[File],
    now: Timestamp,
) -> Result<Planned, RegistryError> {
    let limits = Limits { document_bytes_max: DOCUMENT_BYTES_MAX, ..Limits::default() };
    let rebuild = |data_source: DataSource, incoming: Incoming| {
        let actor = format!("import/{data_source}");
        let (report, writes) = Rebuild::new(snapshot, builtin, &actor, now).run(incoming)?;
        // All of it is of imports, which follow one another.
        Ok(Planned { report, writes, expect: Vec::new(), actor })
    };
    let of_models = |data_source: DataSource, reading: Reading| {
        if reading.records.is_empty() {
            let first = reading.rejected.first();
            let first = first.map(|entry| format!(" (first: {}: {})", entry.record, entry.messages.join("; ")));
            return Err(RegistryError::NothingToImport { detail: first.unwrap_or_default() });
        }
        rebuild(data_source, Incoming::Models(data_source, reading))
    };
    match source {
        pb::ImportSource::Unspecified => Err(RegistryError::NothingToImport { detail: String::new() }),
        pb::ImportSource::ModelsDev => {
            let document = models_dev::read_files(files, &limits)?;
            rebuild(DataSource::ModelsDev, Incoming::Offerings(document, config.origin.clone()))
        }
        pb::ImportSource::ModelsDevCatalog => {
            of_models(DataSource::ModelsDevCatalog, models_dev::catalog::read(files, &limits)?)
        }
        pb::ImportSource::Mot => of_models(DataSource::Mot, mot::read(files, &limits)?),
        pb::ImportSource::Osai => of_models(DataSource::Osai, osai::read(files, &limits)?),
        pb::ImportSource::Comparia => of_models(DataSource::Comparia, comparia::read(files, &limits)?),
        pb::ImportSource::Epoch => of_models(DataSource::Epoch, epoch::read(files, &limits)?),
        pb::ImportSource::ModelCard => {
            let given = if config.repository.is_empty() { &config.origin } else { &config.repository };
            let repository = hub::repository_of(given).map_or_else(|| given.clone(), Into::into);
            of_models(DataSource::ModelCard, model_card::read(files, &repository, &limits)?)
        }
        pb::ImportSource::Records => records::plan(snapshot, files, &limits, now),
    }
}
