//! Duties: what the use starts, what only the publisher can give, and acts that are barred.

use super::predicate::{Known, holds};
use super::scale_gate;
use crate::domain::eligibility::decision::Effect;
use crate::domain::eligibility::evaluate::{Missing, Out, Terms};
use crate::domain::eligibility::fact::{Fact, Facts};
use crate::domain::eligibility::intended_use::{Activity, OrganizationType};
use crate::domain::eligibility::message::Detail;
use crate::domain::eligibility::reason::Reason;
use crate::domain::license::{Approval, Binding, Duty, DutyClass, DutyKind, TerritoryTest, Trigger};
use crate::domain::tri::Tri;

pub(super) fn check<'a>(terms: &Terms<'a, '_>, out: &mut Out<'a>) {
    // The territory rule asks for this duty where the places are judged by the publisher's list.
    let by_list = terms.license.territory.as_ref().is_some_and(|t| t.test == TerritoryTest::PublisherList);
    for duty in &terms.license.duties {
        if duty.kind != DutyKind::SupportedTerritory || !by_list {
            check_duty(terms, duty, out);
        }
    }
}

fn check_duty<'a>(terms: &Terms<'a, '_>, duty: &'a Duty, out: &mut Out<'a>) {
    let class = duty.class();
    let started = match class {
        // A bar holds for its act, whatever else starts it.
        DutyClass::Bar(act) => is_met(act, terms, Effect::Blocks).then_some(act),
        DutyClass::Step | DutyClass::Consent | DutyClass::General => start(duty, terms),
    };
    if let Some(started) = started {
        check_started(terms, duty, started, out);
    }
}

/// A duty whose trigger is met.
pub(super) fn check_started<'a>(terms: &Terms<'a, '_>, duty: &'a Duty, started: Trigger, out: &mut Out<'a>) {
    let class = duty.class();
    let mut applies = Known::all(duty.only_if.iter().map(|p| holds(*p, &[], terms)));
    if !duty.gate_group.is_empty() {
        applies = applies.and(scale_gate::group_passed(terms, &duty.gate_group));
    }
    if !duty.gate_group.is_empty() && duty.binding == Binding::Required {
        scale_gate::say_stood_in(terms, &duty.gate_group, out);
    }
    if applies.value == Tri::False {
        return;
    }
    let detail = Detail::Duty { duty, started };
    let origin = terms.origin(&duty.clause);
    let facts = applies.facts.with(Fact::Activities);
    if duty.binding != Binding::Required {
        out.say(Reason::DutyEncouraged, Effect::Info, detail, origin, facts);
    } else if class == DutyClass::General {
        out.say(Reason::DutyGeneral, Effect::Info, detail, origin, facts);
    } else if !matches!(class, DutyClass::Bar(_)) && terms.context.use_.fulfilled_duties.contains(duty.kind) {
        out.say(Reason::DutyFulfilled, Effect::Info, detail, origin, facts.with(Fact::FulfilledDuties));
    } else if applies.value == Tri::Unknown {
        out.review(Reason::DutyUncertain, detail, origin, facts, applies.missing);
    } else {
        demand(terms, duty, started, facts, out);
    }
}

/// The duty holds and is not done.
fn demand<'a>(terms: &Terms<'a, '_>, duty: &'a Duty, started: Trigger, facts: Facts, out: &mut Out<'a>) {
    let detail = Detail::Duty { duty, started };
    let origin = terms.origin(&duty.clause);
    match duty.class() {
        DutyClass::Consent => out.say(Reason::PublisherConsentNeeded, Effect::Blocks, detail, origin, facts),
        DutyClass::Bar(_) => out.say(Reason::ActivityBarred, Effect::Blocks, detail, origin, facts),
        DutyClass::Step if duty.approval == Approval::UnreadAgreement => {
            out.review(Reason::AgreementNotRead, detail, origin, facts, Missing::NONE);
        }
        DutyClass::Step => match open_to(terms, duty) {
            Tri::True => out.say(Reason::DutyApplies, Effect::Duty, detail, origin, facts),
            Tri::False => {
                let facts = facts.with(Fact::OrganizationType);
                out.say(Reason::StepNotOpen, Effect::Blocks, detail, origin, facts);
            }
            Tri::Unknown => {
                let missing = Missing::fact(Fact::OrganizationType);
                out.review(Reason::DutyUncertain, detail, origin, facts.with(Fact::OrganizationType), missing);
            }
        },
        // Said before.
        DutyClass::General => {}
    }
}

/// Whether the organization can take the step.
fn open_to(terms: &Terms<'_, '_>, duty: &Duty) -> Tri {
    if !duty.not_open_to.iter().any(|who| &**who == "natural_persons") {
        return Tri::True;
    }
    match terms.context.use_.organization.kind {
        Some(kind) => (kind != OrganizationType::Individual).into(),
        None => Tri::Unknown,
    }
}

/// The first trigger that is met and not lifted.
fn start(duty: &Duty, terms: &Terms<'_, '_>) -> Option<Trigger> {
    let worst = worst_of(duty);
    duty.when.iter().copied().find(|trigger| !duty.not_when.contains(trigger) && is_met(*trigger, terms, worst))
}

/// The gravest effect that starting a duty can have.
fn worst_of(duty: &Duty) -> Effect {
    let plain = duty.only_if.is_empty() && duty.gate_group.is_empty() && duty.not_open_to.is_empty();
    match duty.class() {
        _ if duty.binding != Binding::Required => Effect::Info,
        DutyClass::General => Effect::Info,
        DutyClass::Step if plain && duty.approval != Approval::UnreadAgreement => Effect::Duty,
        DutyClass::Step | DutyClass::Consent | DutyClass::Bar(_) => Effect::Blocks,
    }
}

/// Whether the use does what starts such duties; `worst` is the gravest effect of that.
pub(super) fn is_met(trigger: Trigger, terms: &Terms<'_, '_>, worst: Effect) -> bool {
    let context = terms.context;
    let does = |activity| context.does(activity, worst);
    let copies = || {
        let copying = [Activity::RedistributeWeights, Activity::RedistributeDerivative];
        context.is_edge() || context.does_any(&copying, worst)
    };
    match trigger {
        Trigger::Any => true,
        Trigger::Redistribute => copies(),
        // A copy of a descendant is a changed copy of its ancestor.
        Trigger::Derivative => {
            does(Activity::RedistributeDerivative)
                || context.is_edge() && context.changes(worst)
                || terms.derivative && copies()
                || terms.license.outputs.trained_model_is_derivative && does(Activity::DistributeTrainedModel)
        }
        Trigger::Service => does(Activity::OfferAsService),
        Trigger::DerivativeService => does(Activity::OfferAsService) && (terms.derivative || context.changes(worst)),
        Trigger::TrainedModel => does(Activity::DistributeTrainedModel),
        Trigger::Publish => context.does_any(&[Activity::PublishOutputs, Activity::BenchmarkPublicly], worst),
        Trigger::Benchmark => does(Activity::BenchmarkPublicly),
    }
}
