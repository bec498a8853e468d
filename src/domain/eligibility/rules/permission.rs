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
    let permissions = &terms.license.permissions;
    check_act(terms, &permissions.use_, Reason::UseProhibited, "use", Facts::NONE, out);
    check_act(terms, &permissions.use_outputs, Reason::OutputUseProhibited, "using outputs", Facts::NONE, out);
    // Further training changes the model: where a text says nothing of it, what it says of changes holds. Whether a text
    // that was not read says nothing is not known, so that it can only be barred by that.
    let silent = permissions.fine_tune.status == PermissionStatus::Unspecified;
    let barred = matches!(permissions.modify.status, PermissionStatus::Prohibited | PermissionStatus::Unclear);
    let by_changes = silent && (terms.license.is_read() || barred);
    let fine_tune = if by_changes { &permissions.modify } else { &permissions.fine_tune };
    let derivative = permissions.redistribute_derivative.as_ref().unwrap_or(&permissions.redistribute);
    let does = |activity| terms.context.does(activity, Effect::Blocks);
    let activities = Facts::one(Fact::Activities);
    let copying = if terms.context.is_edge() { activities.with(Fact::Hosting) } else { activities };
    // What is granted is not asked for: it decides nothing.
    // A changed version that is passed on was changed, by further training perhaps.
    let changes = || {
        let passed_on = || !terms.context.changes(Effect::Blocks) && does(Activity::RedistributeDerivative);
        does(Activity::Modify) || !terms.derivative && passed_on()
    };
    if is_limited(&permissions.modify, terms.license) && changes() {
        let reason = Reason::ModificationProhibited;
        check_act(terms, &permissions.modify, reason, "changing it", activities, out);
    }
    if is_limited(fine_tune, terms.license) && does(Activity::FineTune) {
        check_act(terms, fine_tune, Reason::FineTuningProhibited, "further training", activities, out);
    }
    if is_limited(&permissions.redistribute, terms.license) && !terms.derivative && passes_on_copies(terms) {
        let reason = Reason::RedistributionProhibited;
        check_act(terms, &permissions.redistribute, reason, "passing on copies", copying, out);
    }
    if is_limited(derivative, terms.license) && passes_on_changed_copies(terms) {
        let reason = Reason::DerivativeRedistributionProhibited;
        check_act(terms, derivative, reason, "passing on a changed version", copying, out);
    }
    if is_limited(&permissions.offer_as_service, terms.license) && does(Activity::OfferAsService) {
        let reason = Reason::ServiceProhibited;
        check_act(terms, &permissions.offer_as_service, reason, "offering it as a service", activities, out);
    }
    check_changed_service(terms, out);
}

/// A text that lets a changed version be made but not passed on leaves open whether serving it passes it on.
fn check_changed_service<'a>(terms: &Terms<'a, '_>, out: &mut Out<'a>) {
    let permissions = &terms.license.permissions;
    let Some(derivative) = &permissions.redistribute_derivative else { return };
    let worst = Effect::Review;
    let barred = matches!(derivative.status, PermissionStatus::Prohibited | PermissionStatus::Unclear);
    if barred
        && permissions.offer_as_service.status != PermissionStatus::Prohibited
        && terms.context.does(Activity::OfferAsService, worst)
        && (terms.derivative || terms.context.changes(worst))
    {
        let detail = Detail::Permission { act: "serving a changed version", permission: derivative };
        let facts = Facts::one(Fact::Activities);
        out.review(Reason::PermissionUnclear, detail, terms.origin(&derivative.clause), facts, Missing::NONE);
    }
}

/// Whether an act that a permission is about could be anything but granted.
fn is_limited(permission: &Permission, license: &License) -> bool {
    permission.status == PermissionStatus::Prohibited || left_open(permission, license).is_some()
}

fn passes_on_copies(terms: &Terms<'_, '_>) -> bool {
    terms.context.is_edge() || terms.context.does(Activity::RedistributeWeights, Effect::Blocks)
}

fn passes_on_changed_copies(terms: &Terms<'_, '_>) -> bool {
    let context = terms.context;
    context.does(Activity::RedistributeDerivative, Effect::Blocks)
        || context.is_edge() && context.changes(Effect::Blocks)
        // A copy of a descendant is a changed copy of its ancestor.
        || terms.derivative && passes_on_copies(terms)
        || terms.license.outputs.trained_model_is_derivative
            && context.does(Activity::DistributeTrainedModel, Effect::Blocks)
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
    } else if let Some(open) = left_open(permission, terms.license) {
        out.review(open, detail, origin, facts, Missing::NONE);
    }
}

/// Why nobody knows whether an act is granted: words that do not settle it, or silent or bare conditional terms of a text
/// that was not read.
pub(super) fn left_open(permission: &Permission, license: &License) -> Option<Reason> {
    let unread = !license.is_read();
    match permission.status {
        PermissionStatus::Unclear => Some(Reason::PermissionUnclear),
        PermissionStatus::Unspecified => unread.then_some(Reason::PermissionNotRead),
        PermissionStatus::Conditional => (unread && !has_conditions(license)).then_some(Reason::PermissionNotRead),
        PermissionStatus::Allowed | PermissionStatus::Prohibited => None,
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
