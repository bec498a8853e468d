//! Restoring a backup into a registry that holds nothing of its own yet.

use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::backup::{DECISION_SECTIONS, REGISTRY_SECTION};
use super::{Registry, RegistryError};
use crate::convert;
use crate::store::{Commit, Rewritten, StoreError, restore, take_over, while_unused};

/// Where a backup is taken in before it takes the place of the stores in the data directory.
const STAGING: &str = "restored.new";
/// The same when all of it was checked.
const RESTORED: &str = "restored";

/// Where the store of a section is in a data directory.
fn place_of(data_dir: &Path, label: &str) -> Option<PathBuf> {
    match label {
        REGISTRY_SECTION => Some(data_dir.to_path_buf()),
        label if DECISION_SECTIONS.contains(&label) => Some(data_dir.join(label)),
        _ => None,
    }
}

/// Restores a backup into a data directory that is empty or does not exist.
///
/// # Errors
/// The backup is damaged, the directory holds something, or the disk does not take it.
pub fn restore_into(data_dir: &Path, backup: impl Read) -> Result<Vec<(String, Rewritten)>, StoreError> {
    restore(backup, REGISTRY_SECTION, |label| place_of(data_dir, label))
}

/// Lets a backup that a running service took in take the place of its stores; to be called before they are opened.
///
/// # Errors
/// A store is in use, or the disk does not take it.
pub fn adopt_restored(data_dir: &Path) -> Result<(), StoreError> {
    // Of one that was interrupted; it holds up nothing, but may fill the disk. One that is under way has the store open.
    let staging = data_dir.join(STAGING);
    if staging.exists()
        && let Err(error) = while_unused(data_dir, || remove(&staging))?
    {
        tracing::warn!(%error, "what an interrupted restore left could not be removed");
    }
    let from = data_dir.join(RESTORED);
    if !from.exists() {
        return Ok(());
    }
    for label in DECISION_SECTIONS {
        take_over(&from.join(label), &data_dir.join(label))?;
    }
    take_over(&from.join(REGISTRY_SECTION), data_dir)?;
    remove(&from)
}

impl Registry {
    /// Takes a backup in beside the stores of a data directory, and checks all of it; [`adopt_restored`] at the next start
    /// completes it. From here on nothing is written any more, unless it fails.
    ///
    /// Not to be given up on half way: the caller lets it come to its end.
    ///
    /// # Errors
    /// The registry holds something of its own, or is about to be restored already; the backup is damaged; or the disk does
    /// not take it.
    pub async fn restore(
        &self,
        data_dir: &Path,
        backup: impl Read + Send + 'static,
    ) -> Result<Vec<(String, Rewritten)>, RegistryError> {
        let _alone = self.restoring.try_lock().map_err(|_| RegistryError::Superseded)?;
        if *self.superseded.read().await {
            return Err(RegistryError::Superseded);
        }
        // Asked first, so that one that cannot be done holds up nobody's writes.
        self.check_pristine().await?;
        // Waits for the writes that are under way.
        *self.superseded.write().await = true;
        let restored = match self.check_pristine().await {
            Ok(()) => self.take_in(data_dir.to_path_buf(), backup).await,
            Err(error) => Err(error),
        };
        if restored.is_err() {
            // INVARIANT: nothing is written while there is something that would take the place of what was written.
            match discard(data_dir) {
                Ok(()) => *self.superseded.write().await = false,
                Err(error) => {
                    tracing::error!(%error, "a restore has failed and cannot be cleared away: nothing is written");
                }
            }
        }
        restored
    }

    async fn take_in(
        &self,
        data_dir: PathBuf,
        backup: impl Read + Send + 'static,
    ) -> Result<Vec<(String, Rewritten)>, RegistryError> {
        let taken_in = tokio::task::spawn_blocking(move || {
            discard(&data_dir)?;
            let staging = data_dir.join(STAGING);
            let restored = restore(backup, REGISTRY_SECTION, |label| {
                let known = place_of(&data_dir, label).is_some();
                known.then(|| staging.join(label))
            })?;
            let failed = |error| StoreError::io("take the backup in to", &staging, error);
            std::fs::rename(&staging, data_dir.join(RESTORED)).map_err(failed)?;
            std::fs::File::open(&data_dir).and_then(|folder| folder.sync_all()).map_err(failed)?;
            Ok::<_, StoreError>(restored)
        });
        Ok(taken_in.await.map_err(|_| RegistryError::Closed)??)
    }

    /// Refuses where something would be lost: history as well.
    async fn check_pristine(&self) -> Result<(), RegistryError> {
        // The built-in catalog is one commit a release.
        const COMMITS_MAX: usize = 100;
        let status = self.store.status();
        if status.oldest_revision > 0 || self.decision_log_status().is_some_and(|log| log.decisions > 0) {
            return Err(RegistryError::NotPristine);
        }
        let commits = self.store.changes_since(0, COMMITS_MAX).await?;
        let built_in = |commit: &Arc<Commit>| convert::decode_note(&commit.about).actor.starts_with("builtin/");
        let last = commits.last().map_or(0, |commit| commit.revision);
        if last == status.revision && commits.iter().all(built_in) { Ok(()) } else { Err(RegistryError::NotPristine) }
    }
}

/// Removes what was taken in, whole or not.
fn discard(data_dir: &Path) -> Result<(), StoreError> {
    for name in [STAGING, RESTORED] {
        remove(&data_dir.join(name))?;
    }
    let synced = std::fs::File::open(data_dir).and_then(|folder| folder.sync_all());
    synced.map_err(|error| StoreError::io("sync the directory", data_dir, error))
}

fn remove(path: &Path) -> Result<(), StoreError> {
    match std::fs::remove_dir_all(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(StoreError::io("remove", path, error)),
        _ => Ok(()),
    }
}
