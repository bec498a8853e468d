//! Permissions: each act of the use against the grant.

use crate::domain::eligibility::decision::Effect;
use crate::domain::eligibility::evaluate::{Missing, Out, Terms};
use crate::domain::eligibility::fact::{Fact, Facts};
use crate::domain::eligibility::intended_use::Activity;
use crate::domain::eligibility::message::Detail;
use crate::domain::eligibility::reason::Reason;
use crate::domain::license::{License, Permission, PermissionStatus};

/// In words.
pub(super) const TRAINING: &str = "training other models on outputs";

pub(super) fn check<'a>(terms: &Terms<'a, '_>, out: &mut Out<'a>) {
    let license = terms.license;
    let permissions = &license.permissions;
    let acts = terms.context.activities;
    let edge = terms.context.is_edge();
    let derivative = permissions.redistribute_derivative.as_ref().unwrap_or(&permissions.redistribute);

    check_act(terms, &permissions.use_, Reason::UseProhibited, "use", Facts::NONE, out);
    check_act(terms, &permissions.use_outputs, Reason::OutputUseProhibited, "using outputs", Facts::NONE, out);

    // A copy of a descendant is a changed copy of its ancestor.
    let copies = acts.has(Activity::RedistributeWeights) || edge;
    let trained_model =
        acts.trains() && acts.has(Activity::DistributeTrainedModel) && license.outputs.trained_model_is_derivative;
    let changed_copies = acts.has(Activity::RedistributeDerivative)
        || edge && acts.changes()
        || copies && terms.derivative
        || trained_model;
    let activities = Facts::one(Fact::Activities);
    let copying = if edge { activities.with(Fact::Hosting) } else { activities };
    // Further training changes the model: where a text says nothing of it, what it says of changes holds.
    let silent = permissions.fine_tune.status == PermissionStatus::Unspecified;
    let fine_tune = if silent { &permissions.modify } else { &permissions.fine_tune };
    let needed = [
        (acts.has(Activity::Modify), &permissions.modify, Reason::ModificationProhibited, "changing it", activities),
        (acts.has(Activity::FineTune), fine_tune, Reason::FineTuningProhibited, "further training", activities),
        (
            copies && !terms.derivative,
            &permissions.redistribute,
            Reason::RedistributionProhibited,
            "passing on copies",
            copying,
        ),
        (
            changed_copies,
            derivative,
            Reason::DerivativeRedistributionProhibited,
            "passing on a changed version",
            copying,
        ),
        (
            acts.has(Activity::OfferAsService),
            &permissions.offer_as_service,
            Reason::ServiceProhibited,
            "offering it as a service",
            activities,
        ),
    ];
    for (wanted, permission, reason, act, facts) in needed {
        if wanted {
            check_act(terms, permission, reason, act, facts, out);
        }
    }
}

fn check_act<'a>(
    terms: &Terms<'a, '_>,
    permission: &'a Permission,
    prohibited: Reason,
    act: &'static str,
    facts: Facts,
    out: &mut Out<'a>,
) {
    let detail = Detail::Permission { act, permission };
    let origin = terms.origin(&permission.clause);
    if permission.status == PermissionStatus::Prohibited {
        out.say(prohibited, Effect::Blocks, detail, origin, facts);
    } else if is_unread(permission, terms.license) {
        out.review(Reason::PermissionNotRead, detail, origin, facts, Missing::NONE);
    }
}

/// Whether nobody knows if an act is granted: silent or bare conditional terms of a text that was not read.
pub(super) fn is_unread(permission: &Permission, license: &License) -> bool {
    if license.is_read() {
        return false;
    }
    match permission.status {
        PermissionStatus::Unspecified => true,
        PermissionStatus::Conditional => !has_conditions(license),
        PermissionStatus::Allowed | PermissionStatus::Prohibited => false,
    }
}

/// Whether the record holds any of what a conditional permission points at.
fn has_conditions(license: &License) -> bool {
    !license.scale_gates.is_empty()
        || license.purposes.is_listed()
        || !license.purpose_limits.is_empty()
        || !license.duties.is_empty()
        || !license.use_restrictions.is_empty()
        || license.territory.is_some()
}
