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
    let unlisted = Activity::ALL.iter().filter(|activity| !context.activities.has(**activity));
    let worsening: Activities = unlisted
        .copied()
        .filter(|activity| {
            let asked = Context { activities: context.activities.with(*activity), ..*context };
            let mut probe = Out::counting();
            super::judge(&asked, &mut probe);
            probe.verdict > out.verdict
        })
        .collect();
    if worsening != Activities::default() {
        let origin = Origin { model: Some(context.model), ..Origin::default() };
        let detail = Detail::Assumed(worsening);
        out.say(Reason::AssumedNotDone, Effect::Info, detail, origin, Facts::one(Fact::Activities));
    }
}
