//! The organisation's own policies: held against the decision that all other rules have led to.

use crate::domain::eligibility::decision::{Effect, Finding, Origin, Verdict};
use crate::domain::eligibility::evaluate::{Context, Missing, Out};
use crate::domain::eligibility::fact::MeasureKeys;
use crate::domain::eligibility::intended_use::{Activities, Activity};
use crate::domain::eligibility::message::Detail;
use crate::domain::eligibility::policy::{Met, PolicyCase, PolicyEffect, Which};
use crate::domain::eligibility::reason::Reason;

pub(super) fn check<'a>(context: &Context<'a>, out: &mut Out<'a>) {
    let policies = context.records.policies();
    if policies.is_empty() {
        return;
    }
    // What is not enforced is worth knowing only where findings are kept.
    let which = if out.collects() { Which::All } else { Which::Enforced };
    let mut met = smallvec::SmallVec::<[Met<'a>; 4]>::new();
    let (case, waits_for) = (out.policy_case(context), out.waits_for());
    policies.meet(&case, which, &mut |found| met.push(found));
    // All are held against what was found before them, so that their order does not matter.
    for found in met {
        out.push(finding(context, found, waits_for));
    }
}

/// Unlisted activities that policies ask for, where the rest does not settle them.
pub(super) fn asked_activities<'a>(context: &Context<'a>, out: &Out<'a>) -> Activities {
    let policies = context.records.policies();
    if policies.is_empty() {
        return Activities::default();
    }
    policies.asked_activities(&PolicyCase { more_activities: true, ..out.policy_case(context) })
}

/// The verdict with one more activity, as far as policies go: those that it cannot change are left out. `before` is what the
/// other rules have found without it, and with it where they look at it.
pub(super) fn with_activity<'a>(context: &Context<'a>, before: &Out<'a>, activity: Activity, changed: bool) -> Verdict {
    let policies = context.records.policies();
    let which = if changed { Which::ChangedBy(activity) } else { Which::AskingFor(activity) };
    let mut out = Out::counting(context.waivers);
    let waits_for = before.waits_for();
    policies.meet(&before.policy_case(context), which, &mut |found| out.push(finding(context, found, waits_for)));
    out.verdict
}

fn finding<'a>(context: &Context<'a>, met: Met<'a>, others: Missing<'a>) -> Finding<'a> {
    let Met { policy, is_certain, facts, missing, missing_labels, waits_for_others } = met;
    let (reason, effect) = match (policy.is_enforced, is_certain, policy.effect) {
        (false, ..) => (Reason::PolicyDryRun, Effect::Info),
        // What may be met is never skipped, whatever it would do.
        (true, false, _) => (Reason::PolicyUndecided, Effect::Review),
        (true, true, PolicyEffect::Block) => (Reason::PolicyBlocks, Effect::Blocks),
        (true, true, PolicyEffect::Review) => (Reason::PolicyReview, Effect::Review),
        (true, true, PolicyEffect::Duty) => (Reason::PolicyDuty, Effect::Duty),
    };
    let waits = !is_certain && waits_for_others;
    Finding {
        reason,
        effect,
        detail: Detail::Policy { policy, is_certain, missing_labels },
        origin: Origin { model: Some(context.model), ..Origin::default() },
        facts,
        missing: if waits { missing.and(others.facts) } else { missing },
        missing_measures: if waits { others.measures } else { MeasureKeys::NONE },
        waived_by: None,
    }
}
