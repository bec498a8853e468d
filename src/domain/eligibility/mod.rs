//! Eligibility: may this model be used, this way, here, at this size, and what must then be done?
//!
//! [`evaluate`] is one pure function over [`Records`], a model and a [`Use`]. It is three-valued and fails closed: what is
//! not known never becomes a yes. The same evaluator serves every caller.

mod basis;
mod decision;
mod evaluate;
mod fact;
mod intended_use;
mod message;
mod policy;
mod reason;
mod remedy;
mod rules;
#[cfg(test)]
mod tests;
mod waiver;

pub use basis::{Basis, Outline, basis, is_measured_at_release, measures_at_release, outline};
pub use decision::{Decision, Effect, Finding, Findings, Origin, Verdict};
pub use evaluate::{Present, Records, evaluate, unresolved, verdict};
pub use fact::{Fact, Facts, MeasureKey, MeasureKeys};
pub use intended_use::{
    Activities, Activity, BusinessTypes, Hosting, Measure, Organization, OrganizationType, Purpose, Requirements, Role,
    Use,
};
pub use message::Detail;
pub use policy::{Met, MissingLabels, NoPolicies, Policies, Policy, PolicyCase, PolicyEffect, Which};
pub use reason::{Reason, Waiving};
pub use remedy::{Case, Change, Edit, Remedy, remedies};
pub use rules::lineage::{LineageStep, inherited, lineage};
pub use waiver::{Waiver, Waivers};

/// Version of the evaluator's rules. It goes up when the same facts can lead to another answer.
pub const EVALUATOR_VERSION: u32 = 1;
