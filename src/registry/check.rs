//! The check: one use of one model.

use std::borrow::Cow;
use std::sync::Arc;

use smallvec::SmallVec;

use super::resolve::{Resolved, resolve};
use super::{Registry, RegistryError};
use crate::catalog::Snapshot;
use crate::convert::{Asked, UseRequest};
use crate::domain::eligibility::{Decision, Hosting, Use, Waiver, Waivers, evaluate, unresolved};
use crate::domain::name::{ModelName, OfferingName};

/// A decision with what it was made on.
#[derive(Debug)]
pub struct Checked<'a> {
    /// Verdict and findings.
    pub decision: Decision<'a>,
    /// Resource name of the model, or of the offering whose model is not known.
    pub name: &'a str,
    /// Registry revision.
    pub revision: u64,
    /// What it was asked with.
    pub asked: Asked<'a>,
}

impl Registry {
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
        self.check_complete()?;
        let revision = snapshot.revision();
        let at = self.at(request);
        let asked = Asked { model: &request.model, use_profile: &request.use_profile, use_: &request.use_, at };
        match resolve(snapshot, &request.model)? {
            Resolved::Model { entry, offering, .. } => {
                let use_ = by_offering(&request.use_, offering.as_deref());
                let list = waivers(snapshot, &entry.record.name, &request.use_profile);
                let waivers = Waivers { list: &list, at };
                let decision = evaluate(&**snapshot, &entry.record, &use_, self.today(), waivers);
                let asked = Asked { use_: &use_, ..asked };
                Ok(then(&Checked { decision, name: entry.record.name.as_str(), revision, asked }))
            }
            Resolved::Unresolved(offering) => {
                let decision = unresolved(&offering.record.unresolved_reason);
                let name = offering.record.name.resource_name();
                Ok(then(&Checked { decision, name: &name, revision, asked }))
            }
        }
    }

    /// A lost overlay would let a milder record show through: what is left answers no check.
    pub(super) fn check_complete(&self) -> Result<(), RegistryError> {
        if self.incomplete { Err(RegistryError::Incomplete) } else { Ok(()) }
    }

    /// When the use happens, in seconds since 1970.
    pub(super) fn at(&self, request: &UseRequest) -> i64 {
        request.at.unwrap_or_else(|| (self.clock)().as_second())
    }
}

/// The waivers whose scope a check is in.
pub(super) fn waivers<'a>(snapshot: &'a Snapshot, model: &ModelName, use_profile: &str) -> SmallVec<[&'a Waiver; 4]> {
    let all = snapshot.waivers().map(|entry| &entry.record);
    all.filter(|waiver| waiver.concerns(model, use_profile)).collect()
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
