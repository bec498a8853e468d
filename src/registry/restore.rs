//! Restoring a backup into a registry that holds nothing of its own yet.

use std::io::Read;
use std::path::{Path, PathBuf};

use super::backup::{DECISION_SECTIONS, REGISTRY_SECTION};
use super::{Registry, RegistryError};
use crate::catalog::Layer;
use crate::store::{Rewritten, StoreError, restore, take_over};

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
    restore(backup, |label| place_of(data_dir, label))
}

/// Lets a backup that a running service took in take the place of its stores; to be called before they are opened.
///
/// # Errors
/// A store is in use, or the disk does not take it.
pub fn adopt_restored(data_dir: &Path) -> Result<(), StoreError> {
    let from = data_dir.join(RESTORED);
    let remove = |path: &Path| match std::fs::remove_dir_all(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(StoreError::io("remove", path, error)),
        _ => Ok(()),
    };
    remove(&data_dir.join(STAGING))?;
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
    /// # Errors
    /// The registry holds something of its own; the backup is damaged; or the disk does not take it.
    pub async fn restore(
        &self,
        data_dir: &Path,
        backup: impl Read + Send + 'static,
    ) -> Result<Vec<(String, Rewritten)>, RegistryError> {
        // Waits for the commits that are under way.
        *self.superseded.write().await = true;
        let restored = self.take_in(data_dir.to_path_buf(), backup).await;
        if restored.is_err() {
            *self.superseded.write().await = false;
        }
        restored
    }

    async fn take_in(
        &self,
        data_dir: PathBuf,
        backup: impl Read + Send + 'static,
    ) -> Result<Vec<(String, Rewritten)>, RegistryError> {
        self.check_pristine()?;
        let taken_in = tokio::task::spawn_blocking(move || {
            let staging = data_dir.join(STAGING);
            let failed = |error| StoreError::io("take the backup in to", &staging, error);
            let _ = std::fs::remove_dir_all(&staging);
            let restored = restore(backup, |label| {
                let known = place_of(&data_dir, label).is_some();
                known.then(|| staging.join(label))
            });
            let restored = match restored {
                Ok(restored) if restored.iter().any(|(label, _)| label == REGISTRY_SECTION) => restored,
                Ok(_) => {
                    let _ = std::fs::remove_dir_all(&staging);
                    return Err(StoreError::BadBackup { detail: "it holds no registry".to_owned() });
                }
                Err(error) => {
                    let _ = std::fs::remove_dir_all(&staging);
                    return Err(error);
                }
            };
            std::fs::rename(&staging, data_dir.join(RESTORED)).map_err(failed)?;
            std::fs::File::open(&data_dir).and_then(|folder| folder.sync_all()).map_err(failed)?;
            Ok(restored)
        });
        Ok(taken_in.await.map_err(|_| RegistryError::Closed)??)
    }

    /// Refuses where something would be lost.
    fn check_pristine(&self) -> Result<(), RegistryError> {
        let snapshot = self.snapshot();
        let models = [Layer::Imported, Layer::Operator].iter().any(|layer| snapshot.models_of(*layer).next().is_some());
        let licenses = snapshot.licenses().any(|entry| entry.layer != Layer::BuiltIn);
        let other = snapshot.source_records().next().is_some()
            || snapshot.providers().next().is_some()
            || snapshot.waivers().next().is_some()
            || snapshot.use_profile_ids().next().is_some();
        let decisions = self.decision_log_status().is_some_and(|log| log.decisions > 0);
        if models || licenses || other || decisions {
            return Err(RegistryError::NotPristine);
        }
        Ok(())
    }
}
