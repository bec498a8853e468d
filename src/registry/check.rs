//! The check: one use of one model.

use std::sync::Arc;

use super::resolve::{Resolved, resolve};
use super::{Registry, RegistryError};
use crate::catalog::Snapshot;
use crate::convert::UseRequest;
use crate::domain::eligibility::{Decision, evaluate, unresolved};

/// A decision with what it was made on.
#[derive(Debug)]
pub struct Checked<'a> {
    /// Verdict and findings.
    pub decision: Decision<'a>,
    /// Resource name of the model, or of the offering whose model is not known.
    pub name: &'a str,
    /// Registry revision.
    pub revision: u64,
}

impl Registry {
    /// Checks on a snapshot of at least the revision asked for, and hands the decision to `then`.
    ///
    /// # Errors
    /// The model is not known or ambiguous, or the revision does not come.
    pub async fn check<R>(
        &self,
        request: &UseRequest,
        then: impl FnOnce(&Checked<'_>) -> R,
    ) -> Result<R, RegistryError> {
        let snapshot = self.snapshot_from(request.min_revision).await?;
        self.check_on(&snapshot, request, then)
    }

    /// Checks on a snapshot. A decision borrows from it, so it is handed on rather than returned.
    ///
    /// # Errors
    /// The model is not known or ambiguous.
    pub fn check_on<R>(
        &self,
        snapshot: &Arc<Snapshot>,
        request: &UseRequest,
        then: impl FnOnce(&Checked<'_>) -> R,
    ) -> Result<R, RegistryError> {
        let revision = snapshot.revision();
        match resolve(snapshot, &request.model)? {
            Resolved::Model { entry, .. } => {
                let decision = evaluate(&**snapshot, &entry.record, &request.use_, self.today());
                Ok(then(&Checked { decision, name: entry.record.name.as_str(), revision }))
            }
            Resolved::Unresolved(offering) => {
                let decision = unresolved(&offering.record.unresolved_reason);
                let name = offering.record.name.resource_name();
                Ok(then(&Checked { decision, name: &name, revision }))
            }
        }
    }
}
