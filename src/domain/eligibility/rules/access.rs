//! Access: can it be hosted this way at all? Weights that nobody can have cannot be self-hosted or taken offline.

use crate::domain::eligibility::decision::{Effect, Origin};
use crate::domain::eligibility::evaluate::{Context, Missing, Out};
use crate::domain::eligibility::fact::{Fact, Facts};
use crate::domain::eligibility::intended_use::{Activity, Hosting};
use crate::domain::eligibility::message::Detail;
use crate::domain::eligibility::reason::Reason;
use crate::domain::model::Availability;
use crate::domain::openness::Tier;

pub(super) fn check<'a>(context: &Context<'a>, out: &mut Out<'a>) {
    let origin = Origin { model: Some(context.model), ..Origin::default() };
    let facts = Facts::one(Fact::Hosting);
    if context.tier.is_none() {
        out.review(Reason::TierUnknown, Detail::Plain, origin, Facts::NONE, Missing::NONE);
    }
    match context.use_.hosting {
        None => {
            out.review(Reason::HostingUnknown, Detail::Plain, origin, facts, Missing::fact(Fact::Hosting));
        }
        Some(hosting @ (Hosting::SelfHosted | Hosting::OnPremises | Hosting::EdgeOffline)) => {
            if context.tier == Some(Tier::Proprietary) {
                out.say(Reason::WeightsUnavailable, Effect::Blocks, Detail::Hosting(hosting), origin, facts);
            }
        }
        Some(Hosting::VendorApi) => {}
    }
    let passing_on = [Activity::RedistributeWeights, Activity::RedistributeDerivative];
    if context.tier == Some(Tier::Proprietary) && context.does_any(&passing_on, Effect::Blocks) {
        let facts = Facts::one(Fact::Activities);
        out.say(Reason::WeightsUnavailable, Effect::Blocks, Detail::Plain, origin, facts);
    }
    let availability = context.model.weights().and_then(|w| w.availability);
    if availability == Some(Availability::Withdrawn) && context.use_.hosting != Some(Hosting::VendorApi) {
        out.say(Reason::WeightsWithdrawn, Effect::Info, Detail::Plain, origin, Facts::NONE);
    }
}
