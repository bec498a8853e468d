//! How open a model is, and why.

use super::resolve::{Resolved, resolve};
use super::{Registry, RegistryError, violation};
use crate::convert;
use crate::domain::name::shown;
use crate::domain::openness::assess;
use crate::pb::weighbridge::v1 as pb;

impl Registry {
    /// Assesses the model that an id stands for.
    ///
    /// # Errors
    /// The model is not known or ambiguous.
    pub fn assess_openness(&self, id: &str) -> Result<pb::AssessOpennessResponse, RegistryError> {
        if id.trim().is_empty() {
            return Err(RegistryError::Invalid(vec![violation("model", "it must be set")]));
        }
        let snapshot = self.snapshot();
        match resolve(&snapshot, id)? {
            Resolved::Model { entry, .. } => {
                let openness = assess(&entry.record, &snapshot.reference().mof);
                Ok(pb::AssessOpennessResponse {
                    model: entry.record.name.to_string(),
                    assessment: Some(convert::assessment(&openness)),
                })
            }
            Resolved::Unresolved(_) => {
                let description = format!("`{}` is an offering whose model is not known", shown(id));
                Err(RegistryError::Invalid(vec![violation("model", description)]))
            }
        }
    }
}
