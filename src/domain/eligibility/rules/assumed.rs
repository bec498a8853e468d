//! The closed world of activities, said aloud: which unlisted ones would worsen the verdict.

use crate::domain::eligibility::decision::{Effect, Origin, Verdict};
use crate::domain::eligibility::evaluate::{Context, Out};
use crate::domain::eligibility::fact::{Fact, Facts};
use crate::domain::eligibility::intended_use::{Activities, Activity};
use crate::domain::eligibility::message::Detail;
use crate::domain::eligibility::reason::Reason;

pub(in crate::domain::eligibility) fn note<'a>(context: &Context<'a>, out: &mut Out<'a>) {
    if out.verdict == Verdict::Ineligible {
        return;
    }
    let policies = context.records.policies();
    let by_rules = context.may_worsen(out.verdict);
    let by_policies = super::policy::asked_activities(context, out);
    let worse_with = |activity: &Activity| {
        if !by_rules.has(*activity) {
            // The other rules find what they have found.
            let more = context.with(*activity);
            return super::policy::with_activity(&more, out, *activity, false) > out.verdict;
        }
        let more = context.with(*activity);
        let mut probe = more.out_for_policies();
        super::judge_terms(&more, &mut probe);
        probe.verdict > out.verdict
            || (by_policies.has(*activity) || policies.look_at_decision())
                && super::policy::with_activity(&more, &probe, *activity, true) > out.verdict
    };
    let asked = |activity: &&Activity| {
        by_rules.has(**activity) || by_policies.has(**activity) && !context.use_.activities.has(**activity)
    };
    let worsening: Activities = Activity::ALL.iter().filter(asked).copied().filter(worse_with).collect();
    if worsening != Activities::default() {
        let origin = Origin { model: Some(context.model), ..Origin::default() };
        let detail = Detail::Assumed(worsening);
        out.say(Reason::AssumedNotDone, Effect::Info, detail, origin, Facts::one(Fact::Activities));
    }
}
