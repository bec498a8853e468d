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
    let worse_with = |activity: &Activity| context.with(*activity).judged().verdict > out.verdict;
    let worsening: Activities = context.may_worsen(out.verdict).filter(worse_with).collect();
    if worsening != Activities::default() {
        let origin = Origin { model: Some(context.model), ..Origin::default() };
        let detail = Detail::Assumed(worsening);
        out.say(Reason::AssumedNotDone, Effect::Info, detail, origin, Facts::one(Fact::Activities));
    }
}
