//! Requirements: what the model must offer.

use crate::domain::eligibility::decision::{Effect, Origin};
use crate::domain::eligibility::evaluate::{Context, Missing, Out, Terms};
use crate::domain::eligibility::fact::{Fact, Facts};
use crate::domain::eligibility::intended_use::{Hosting, Requirements};
use crate::domain::eligibility::message::{Detail, Need};
use crate::domain::eligibility::reason::Reason;
use crate::domain::license::License;
use crate::domain::model::{Availability, Modality};
use crate::domain::name::LicenseId;
use crate::domain::openness::Tier;
use crate::domain::tri::Tri;

pub(super) fn check<'a>(context: &Context<'a>, out: &mut Out<'a>) {
    let Requirements {
        min_tier,
        components,
        min_context_tokens,
        input_modalities,
        output_modalities,
        capabilities,
        private_fine_tuning,
        offline,
        // Asked license by license.
        license_allow: _,
        license_deny: _,
    } = &context.use_.requirements;
    let model = context.model;
    if let Some(min) = min_tier {
        let met = context.tier.map_or(Tri::Unknown, |tier| (tier >= *min).into());
        judge(context, met, Need::Tier(*min), out);
    }
    for kind in components {
        let met = match model.component(*kind).and_then(|c| c.availability) {
            Some(Availability::Available | Availability::Gated) => Tri::True,
            Some(Availability::Partial | Availability::Withdrawn | Availability::Unavailable) => Tri::False,
            None => Tri::Unknown,
        };
        judge(context, met, Need::Component(*kind), out);
    }
    if let Some(min) = min_context_tokens {
        let met = model.context_tokens.map_or(Tri::Unknown, |tokens| (tokens >= *min).into());
        judge(context, met, Need::ContextTokens(*min), out);
    }
    let listed = |list: &[Modality], wanted: Modality| {
        if list.is_empty() { Tri::Unknown } else { list.contains(&wanted).into() }
    };
    for modality in input_modalities {
        let met = listed(&model.input_modalities, *modality);
        judge(context, met, Need::Input(*modality), out);
    }
    for modality in output_modalities {
        let met = listed(&model.output_modalities, *modality);
        judge(context, met, Need::Output(*modality), out);
    }
    for capability in capabilities {
        // A record lists what it knows a model can do; what it does not list is not known.
        let met = if model.capabilities.contains(capability) { Tri::True } else { Tri::Unknown };
        judge(context, met, Need::Capability(*capability), out);
    }
    if *private_fine_tuning {
        let met = context.tier.map_or(Tri::Unknown, |tier| (tier > Tier::Proprietary).into());
        judge(context, met, Need::PrivateFineTuning, out);
    }
    if *offline {
        check_offline(context, out);
    }
}

fn check_offline<'a>(context: &Context<'a>, out: &mut Out<'a>) {
    let weights = context.tier.map_or(Tri::Unknown, |tier| (tier > Tier::Proprietary).into());
    match context.use_.hosting {
        Some(hosting) => {
            let met = weights.and((hosting != Hosting::VendorApi).into());
            judge(context, met, Need::Offline, out);
        }
        None => judge(context, weights.and(Tri::Unknown), Need::Offline, out),
    }
}

/// A license whose terms were applied is on the allow-list and not on the deny-list, by its own id or by the one that the
/// expression names (`GPL-3.0-or-later`). It is asked license by license, so that a refused branch of an `OR` is not taken.
pub(super) fn check_license<'a>(terms: &Terms<'a, '_>, written: &'a LicenseId, out: &mut Out<'a>) {
    check_lists(terms.context, written, Some(terms.license), out);
}

/// The same for a license without terms: what is refused is refused, also where nothing else is known of it.
pub(super) fn check_id<'a>(context: &Context<'a>, written: &'a LicenseId, out: &mut Out<'a>) {
    if !written.is_unknown() {
        check_lists(context, written, None, out);
    }
}

fn check_lists<'a>(context: &Context<'a>, written: &'a LicenseId, license: Option<&'a License>, out: &mut Out<'a>) {
    let Requirements { license_allow, license_deny, .. } = &context.use_.requirements;
    // Who refuses a license means it in any spelling.
    let is = |id: &LicenseId, other: &LicenseId| id.as_str().eq_ignore_ascii_case(other.as_str());
    let named = |id: &LicenseId| is(id, written) || license.is_some_and(|license| is(id, &license.id));
    let among = |list: &[LicenseId]| list.iter().any(named);
    let denied = among(license_deny);
    if !denied && (license_allow.is_empty() || among(license_allow)) {
        return;
    }
    let origin = Origin { model: Some(context.model), license, clause: "" };
    let facts = Facts::one(Fact::Requirements);
    out.say(Reason::LicenseNotAllowed, Effect::Blocks, Detail::NotAllowed { id: written, denied }, origin, facts);
}

fn judge<'a>(context: &Context<'a>, met: Tri, need: Need, out: &mut Out<'a>) {
    let origin = Origin { model: Some(context.model), ..Origin::default() };
    let facts = Facts::one(Fact::Requirements);
    let facts = if need == Need::Offline { facts.with(Fact::Hosting) } else { facts };
    match met {
        Tri::True => {}
        Tri::False => out.say(Reason::RequirementUnmet, Effect::Blocks, Detail::Need(need), origin, facts),
        Tri::Unknown => {
            let waits_for_hosting = need == Need::Offline && context.use_.hosting.is_none() && context.tier.is_some();
            let missing = if waits_for_hosting { Missing::fact(Fact::Hosting) } else { Missing::NONE };
            out.review(Reason::RequirementUnknown, Detail::Need(need), origin, facts, missing);
        }
    }
}
