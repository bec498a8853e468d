//! The attribution text of a set of models.

use super::resolve::{Resolved, resolve};
use super::{Registry, RegistryError, violation};
use crate::catalog::Snapshot;
use crate::domain::license::License;
use crate::domain::model::Model;
use crate::domain::name::{LicenseId, ModelName, shown};
use crate::domain::notice::{Notice, NoticeRecords, notice};

impl NoticeRecords for Snapshot {
    fn model(&self, name: &ModelName) -> Option<&Model> {
        self.model_entry(name).map(|entry| &entry.record)
    }

    fn license(&self, id: &LicenseId) -> Option<&License> {
        self.license_entry(id).map(|entry| &entry.record)
    }
}

impl Registry {
    /// What must be kept or shown for the models that some ids stand for, on one snapshot.
    ///
    /// # Errors
    /// The first id that is not known, is ambiguous, or is an offering whose model is not known.
    pub fn notice(&self, ids: &[String]) -> Result<Notice, RegistryError> {
        let snapshot = self.snapshot();
        let mut entries = Vec::with_capacity(ids.len());
        for (i, id) in ids.iter().enumerate() {
            match resolve(&snapshot, id)? {
                Resolved::Model { entry, .. } => entries.push(entry),
                Resolved::Unresolved(_) => {
                    let description = format!("`{}` is an offering whose model is not known", shown(id));
                    return Err(RegistryError::Invalid(vec![violation(&format!("models[{i}]"), description)]));
                }
            }
        }
        let models: Vec<&Model> = entries.iter().map(|entry| &entry.record).collect();
        Ok(notice(&*snapshot, &models))
    }
}
