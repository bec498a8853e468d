//! Waivers: recorded exceptions that silence findings until they expire.

use super::decision::{Effect, Finding};
use super::message::Detail;
use super::reason::{Reason, Waiving};
use crate::domain::license::DutyKind;
use crate::domain::name::{LicenseId, ModelName};

/// A recorded exception. Its scope is a reason and a license or model.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Waiver {
    /// `waivers/{id}`.
    pub name: Box<str>,
    /// The reason of the findings that it silences.
    pub reason: Reason,
    /// Findings on this license only.
    pub license: Option<LicenseId>,
    /// Checks of this model only.
    pub model: Option<ModelName>,
    /// Checks that name this profile only.
    pub use_profile: Option<Box<str>>,
    /// The kind of duty, for a reason that is about one.
    pub duty_kind: Option<DutyKind>,
    /// The use category, for a reason that is about one.
    pub category: Option<Box<str>>,
    /// The policy, `policies/{id}`, for a reason that is about one.
    pub policy: Option<Box<str>>,
    /// When it ends, in seconds since 1970.
    pub expires: i64,
}

impl Waiver {
    /// Whether checks of a model under a profile are in its scope at all.
    #[must_use]
    pub fn concerns(&self, model: &ModelName, use_profile: &str) -> bool {
        self.model.as_ref().is_none_or(|of| of == model)
            && self.use_profile.as_deref().is_none_or(|of| of == use_profile)
    }

    /// Whether a finding is in its scope.
    fn covers(&self, finding: &Finding<'_>) -> bool {
        let license = match (&self.license, finding.origin.license) {
            (None, _) => self.model.is_some(),
            (Some(of), Some(license)) => *of == license.id,
            (Some(_), None) => false,
        };
        license
            && self.reason == finding.reason
            && match self.reason.waiving() {
                Waiving::No => false,
                Waiving::Whole => true,
                Waiving::ByDuty => {
                    matches!(finding.detail, Detail::Duty { duty, .. } if Some(duty.kind) == self.duty_kind)
                }
                Waiving::ByPolicy => matches!(
                    finding.detail,
                    Detail::Policy { policy, .. } if !policy.is_unwaivable && Some(&*policy.name) == self.policy.as_deref()
                ),
                Waiving::ByCategory => matches!(
                    finding.detail,
                    // A policy that was not read names the category that it may bar.
                    Detail::Restriction { asked, .. } | Detail::Text(asked) if Some(asked) == self.category.as_deref()
                ),
            }
    }
}

/// The waivers that concern a check, and the time of the use, in seconds since 1970.
#[derive(Clone, Copy, Debug, Default)]
pub struct Waivers<'a> {
    /// Those whose scope the check is in.
    pub list: &'a [&'a Waiver],
    /// When the use happens.
    pub at: i64,
}

impl<'a> Waivers<'a> {
    /// The waiver that silences a finding, and else an expired one that would have.
    pub(super) fn of(self, finding: &Finding<'_>) -> (Option<&'a Waiver>, Option<&'a Waiver>) {
        let acts = matches!(finding.effect, Effect::Blocks | Effect::Review | Effect::Duty);
        // Were a missing fact to be waived, leaving one out could turn a no into a yes.
        if self.list.is_empty() || !acts || finding.waits() {
            return (None, None);
        }
        let covering = || self.list.iter().copied().filter(|waiver| waiver.covers(finding));
        // Of several the one that holds longest, then by name: their order does not matter.
        let last = |a: &&Waiver, b: &&Waiver| a.expires.cmp(&b.expires).then_with(|| b.name.cmp(&a.name));
        let longest = covering().max_by(last);
        match longest {
            Some(waiver) if waiver.expires > self.at => (Some(waiver), None),
            expired => (None, expired),
        }
    }
}
