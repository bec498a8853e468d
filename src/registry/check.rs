//! The check: one use of one model.

use std::borrow::Cow;
use std::sync::Arc;

use super::resolve::{Resolved, resolve};
use super::{Registry, RegistryError};
use crate::catalog::Snapshot;
use crate::convert::UseRequest;
use crate::domain::eligibility::{Decision, Hosting, Use, evaluate, unresolved};
use crate::domain::name::OfferingName;

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
        // A lost overlay would let a milder record show through: what is left answers no check.
        if self.incomplete {
            return Err(RegistryError::Incomplete);
        }
        let revision = snapshot.revision();
        match resolve(snapshot, &request.model)? {
            Resolved::Model { entry, offering, .. } => {
                let use_ = by_offering(&request.use_, offering.as_deref());
                let decision = evaluate(&**snapshot, &entry.record, &use_, self.today());
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

/// An id that names a provider's offering says who serves it, where the use is silent on that.
fn by_offering<'a>(use_: &'a Use, offering: Option<&str>) -> Cow<'a, Use> {
    let silent = use_.hosting == Some(Hosting::VendorApi) && use_.provider.is_none();
    let named = offering.filter(|_| silent).and_then(|name| OfferingName::parse(name).ok());
    match named {
        Some(name) => Cow::Owned(Use { provider: Some(name.provider().clone()), ..use_.clone() }),
        None => Cow::Borrowed(use_),
    }
}
