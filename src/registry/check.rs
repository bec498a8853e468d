//! The check: one use of one model.

use std::borrow::Cow;
use std::sync::Arc;

use smallvec::SmallVec;

use super::call::Call;
use super::licenses::near_licenses;
use super::resolve::{Resolved, resolve};
use super::{Registry, RegistryError, present, violation};
use crate::catalog::Snapshot;
use crate::convert::{self, Asked, UseRequest};
use crate::domain::eligibility::{
    Decision, Hosting, Present, Requirements, Use, Waiver, Waivers, evaluate, unresolved,
};
use crate::domain::license::Listed;
use crate::domain::name::{LicenseId, ModelName, OfferingName, ProviderId, shown};

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
    /// Who serves the model by the id that was asked for.
    pub served_by: Option<&'a ProviderId>,
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
        let at = self.at(request);
        judge(snapshot, request, at, present(snapshot, at), |checked| {
            self.count(checked.revision, &checked.decision);
            then(checked)
        })
    }

    fn count(&self, revision: u64, decision: &Decision<'_>) {
        self.counts.add(decision);
        Call::decided(revision, decision.verdict);
    }

    /// A lost overlay would let a milder record show through: what is left answers no check, nor does what is too old.
    pub(super) fn check_complete(&self) -> Result<(), RegistryError> {
        if self.incomplete { Err(RegistryError::Incomplete) } else { self.check_fresh() }
    }

    /// When the use happens, in seconds since 1970.
    pub(super) fn at(&self, request: &UseRequest) -> i64 {
        request.at.unwrap_or_else(|| (self.clock)().as_second())
    }
}

/// Judges a use on a snapshot: the one way in which anything is judged.
///
/// # Errors
/// The model is not known or ambiguous, or a license of a list is not known.
pub(super) fn judge<R>(
    snapshot: &Snapshot,
    request: &UseRequest,
    at: i64,
    present: Present,
    then: impl FnOnce(&Checked<'_>) -> R,
) -> Result<R, RegistryError> {
    let revision = snapshot.revision();
    check_lists(snapshot, &request.use_)?;
    let asked = Asked { model: &request.model, use_profile: &request.use_profile, use_: &request.use_, at };
    match resolve(snapshot, &request.model)? {
        Resolved::Model { entry, offering, .. } => {
            let offering = offering.as_deref().and_then(|name| OfferingName::parse(name).ok());
            let served_by = offering.as_ref().map(OfferingName::provider);
            let use_ = by_offering(&request.use_, served_by);
            let list = waivers(snapshot, &entry.record.name, &request.use_profile);
            let waivers = Waivers { list: &list, at };
            let decision = evaluate(snapshot, &entry.record, &use_, present, waivers);
            let asked = Asked { use_: &use_, ..asked };
            Ok(then(&Checked { decision, name: entry.record.name.as_str(), revision, asked, served_by }))
        }
        Resolved::Unresolved(offering) => {
            let decision = unresolved(&offering.record.unresolved_reason);
            let name = offering.record.name.resource_name();
            Ok(then(&Checked { decision, name: &name, revision, asked, served_by: None }))
        }
    }
}

/// Every license that a use allows or refuses is one that somebody knows: a misspelled refusal would refuse nothing.
pub(super) fn check_lists(snapshot: &Snapshot, use_: &Use) -> Result<(), RegistryError> {
    let Requirements { license_allow, license_deny, .. } = &use_.requirements;
    let mut violations = Vec::new();
    for (field, ids) in [("license_allow", license_allow), ("license_deny", license_deny)] {
        for (i, id) in ids.iter().enumerate().filter(|(_, id)| !is_known(snapshot, id)) {
            let near = convert::did_you_mean(&near_licenses(snapshot, id.as_str()));
            let description = format!("`{}` is no license of the SPDX list or of a record{near}", shown(id.as_str()));
            violations.push(violation(&format!("use.requirements.{field}[{i}]"), description));
        }
    }
    if violations.is_empty() { Ok(()) } else { Err(RegistryError::Invalid(violations)) }
}

/// Whether a record, the SPDX list or a license expression names a license, in any spelling.
fn is_known(snapshot: &Snapshot, id: &LicenseId) -> bool {
    let is = |other: &str| id.as_str().eq_ignore_ascii_case(other);
    snapshot.license_entry(id).is_some()
        || Listed::find(id.as_str()).is_some()
        || snapshot.licenses().any(|entry| is(entry.record.id.as_str()))
        || Listed::ids().any(is)
        || snapshot.is_named(id.as_str())
}

/// The waivers whose scope a check is in.
pub(super) fn waivers<'a>(snapshot: &'a Snapshot, model: &ModelName, use_profile: &str) -> SmallVec<[&'a Waiver; 4]> {
    let all = snapshot.waivers().map(|entry| &entry.record);
    all.filter(|waiver| waiver.concerns(model, use_profile)).collect()
}

/// An id that names a provider's offering says who serves it, where the use is silent on that.
fn by_offering<'a>(use_: &'a Use, served_by: Option<&ProviderId>) -> Cow<'a, Use> {
    let silent = use_.hosting == Some(Hosting::VendorApi) && use_.provider.is_none();
    match served_by.filter(|_| silent) {
        Some(provider) => Cow::Owned(Use { provider: Some(provider.clone()), ..use_.clone() }),
        None => Cow::Borrowed(use_),
    }
}
