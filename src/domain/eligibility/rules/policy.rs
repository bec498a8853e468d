//! The organisation's own policies: held against the decision that all other rules have led to.

use crate::domain::eligibility::decision::{Effect, Finding, Origin};
use crate::domain::eligibility::evaluate::{Context, Out};
use crate::domain::eligibility::fact::MeasureKeys;
use crate::domain::eligibility::message::Detail;
use crate::domain::eligibility::policy::{Met, PolicyEffect};
use crate::domain::eligibility::reason::Reason;

pub(super) fn check<'a>(context: &Context<'a>, out: &mut Out<'a>) {
    let policies = context.records.policies();
    if policies.is_empty() {
        return;
    }
    for (activity, effect) in policies.activities() {
        context.does(*activity, effect.effect());
    }
    let mut met = Vec::new();
    let case = out.policy_case(context);
    policies.meet(&case, &mut |found| met.push(found));
    // Each on its own, so that their order does not matter.
    let waits_for = case.waits_for;
    for found in met {
        out.push(finding(context, found, waits_for));
    }
}

fn finding<'a>(
    context: &Context<'a>,
    met: Met<'a>,
    (others, measures): (crate::domain::eligibility::fact::Facts, MeasureKeys<'a>),
) -> Finding<'a> {
    let Met { policy, is_certain, facts, missing, missing_label, waits_for_others } = met;
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
        detail: Detail::Policy { policy, is_certain, missing_label },
        origin: Origin { model: Some(context.model), ..Origin::default() },
        facts,
        missing: if waits { missing.and(others) } else { missing },
        missing_measures: if waits { measures } else { MeasureKeys::NONE },
        waived_by: None,
    }
}
