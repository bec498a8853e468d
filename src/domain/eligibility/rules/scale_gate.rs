//! Scale gates: a figure of the use against a threshold, both edges as the text has them.

use super::predicate::{Known, holds};
use crate::domain::date::Date;
use crate::domain::eligibility::decision::Effect;
use crate::domain::eligibility::evaluate::{Missing, Out, Terms};
use crate::domain::eligibility::fact::{Fact, Facts, MeasureKey};
use crate::domain::eligibility::intended_use::Measure;
use crate::domain::eligibility::message::{Detail, Figure};
use crate::domain::eligibility::reason::Reason;
use crate::domain::license::{AtThreshold, Comparison, DutyKind, GateEffect, Measured, Predicate, ScaleGate};
use crate::domain::tri::Tri;

pub(super) fn check<'a>(terms: &Terms<'a, '_>, out: &mut Out<'a>) {
    for gate in &terms.license.scale_gates {
        // A gate that only starts a display duty matters where that duty could be owed; the duty asks for it.
        if gate.effect != GateEffect::DisplayBranding {
            check_gate(terms, gate, out);
        }
    }
}

/// Whether any gate of a group is passed, for the duties that it starts.
pub(super) fn group_passed<'a>(terms: &Terms<'a, '_>, group: &str) -> Known<'a> {
    let mut gates = in_group(terms, group).peekable();
    if gates.peek().is_none() {
        // A group without a gate is a mistake of the record; it must not lift the duty.
        return Known::UNSETTLED;
    }
    Known::any(gates.map(|gate| {
        let (beyond, _) = compare(terms, gate);
        reaches(terms, gate).and(beyond.known)
    }))
}

/// Names the gates of a group that an organization's figure answered in place of the exact one.
pub(super) fn say_stood_in<'a>(terms: &Terms<'a, '_>, group: &str, out: &mut Out<'a>) {
    for gate in in_group(terms, group) {
        let (beyond, figure) = compare(terms, gate);
        if figure.stood_in && beyond.known.value != Tri::Unknown && reaches(terms, gate).value != Tri::False {
            let detail = Detail::Gate { gate, figure };
            out.say(Reason::FigureStoodIn, Effect::Info, detail, terms.origin(&gate.clause), beyond.known.facts);
        }
    }
}

fn in_group<'a>(terms: &Terms<'a, '_>, group: &str) -> impl Iterator<Item = &'a ScaleGate> {
    terms.license.scale_gates.iter().filter(move |gate| &*gate.group == group)
}

/// Whether the gate counts for such a use at all.
fn reaches<'a>(terms: &Terms<'a, '_>, gate: &'a ScaleGate) -> Known<'a> {
    let holds = |predicate: &_| holds(*predicate, &gate.business_types, terms);
    let counted = Known::all(gate.only_if.iter().map(holds));
    // A gate on commercial use is not lifted by its opposite: asking for the facts of that would ask for too much.
    let commercial_only = gate.only_if.contains(&Predicate::CommercialUse);
    let opposite = [Predicate::NonCommercialUse, Predicate::NonProfitNonCommercial];
    let lifting = gate.unless.iter().filter(|predicate| !(commercial_only && opposite.contains(predicate)));
    let lifted = Known::any(lifting.map(holds));
    counted.and(lifted.negated())
}

fn check_gate<'a>(terms: &Terms<'a, '_>, gate: &'a ScaleGate, out: &mut Out<'a>) {
    let reaches = reaches(terms, gate);
    if reaches.value == Tri::False {
        return;
    }
    let (beyond, figure) = compare(terms, gate);
    let passed = reaches.and(beyond.known);
    let detail = Detail::Gate { gate, figure };
    let origin = terms.origin(&gate.clause);
    if figure.stood_in && beyond.known.value != Tri::Unknown {
        out.say(Reason::FigureStoodIn, Effect::Info, detail, origin, passed.facts);
    }
    // What lifts the gate is at hand: whichever side the figure is on, the use may go on.
    if passed.value != Tri::False && is_lifted(terms, gate) {
        let facts = passed.facts.with(Fact::FulfilledDuties);
        out.say(Reason::ScaleGateSettled, Effect::Info, detail, origin, facts);
        return;
    }
    match passed.value {
        Tri::False => {
            if gate.threshold.is_some() {
                out.say(Reason::ScaleGateWithin, Effect::Permits, detail, origin, passed.facts);
            }
        }
        Tri::Unknown if beyond.unsettled => {
            out.review(Reason::ScaleGateUnsettled, detail, origin, passed.facts, passed.missing);
        }
        Tri::Unknown => out.review(Reason::ScaleGateUnknown, detail, origin, passed.facts, passed.missing),
        Tri::True => {
            let holds = |predicate: &_| holds(*predicate, &gate.business_types, terms);
            let unsettled = Known::any(gate.unsettled_if.iter().map(holds));
            if unsettled.value == Tri::False {
                apply_effect(terms, gate, figure, passed.facts, out);
            } else {
                let facts = passed.facts.and(unsettled.facts);
                out.review(Reason::ScaleGateUnsettled, detail, origin, facts, unsettled.missing);
            }
        }
    }
}

/// Whether the use holds what the gate asks for, where something can lift it.
fn is_lifted(terms: &Terms<'_, '_>, gate: &ScaleGate) -> bool {
    let lifted_by = match gate.effect {
        GateEffect::SeparateLicense => DutyKind::SeparateAgreement,
        GateEffect::PublisherReview => DutyKind::PublisherReview,
        GateEffect::Royalty => DutyKind::Royalty,
        GateEffect::DisplayBranding | GateEffect::Prohibited => return false,
    };
    terms.context.use_.fulfilled_duties.contains(lifted_by)
}

fn apply_effect<'a>(terms: &Terms<'a, '_>, gate: &'a ScaleGate, figure: Figure, facts: Facts, out: &mut Out<'a>) {
    let detail = Detail::Gate { gate, figure };
    let origin = terms.origin(&gate.clause);
    match gate.effect {
        GateEffect::Royalty => out.say(Reason::RoyaltyDue, Effect::Duty, detail, origin, facts),
        GateEffect::SeparateLicense | GateEffect::PublisherReview | GateEffect::Prohibited => {
            let exceeded = if gate.threshold.is_some() { Reason::ScaleGateExceeded } else { Reason::BusinessTypeGated };
            out.say(exceeded, Effect::Blocks, detail, origin, facts);
        }
        // The duty rule asks for these by group.
        GateEffect::DisplayBranding => {}
    }
}

/// Whether a figure is beyond a gate.
struct Beyond<'a> {
    known: Known<'a>,
    /// The figure is exactly on a threshold whose side the text leaves open.
    unsettled: bool,
}

fn compare<'a>(terms: &Terms<'a, '_>, gate: &'a ScaleGate) -> (Beyond<'a>, Figure) {
    let Some(threshold) = gate.threshold else {
        let known = holds(Predicate::BusinessType, &gate.business_types, terms);
        return (Beyond { known, unsettled: false }, Figure::default());
    };
    let found = look_up(terms, gate);
    let Some(value) = found.figure.value else {
        let known = Known { value: Tri::Unknown, facts: found.facts, missing: found.missing() };
        return (Beyond { known, unsettled: false }, found.figure);
    };
    if value == threshold && gate.at_threshold == AtThreshold::Unsettled {
        let known = Known { facts: found.facts, ..Known::UNSETTLED };
        return (Beyond { known, unsettled: true }, found.figure);
    }
    let beyond = is_beyond(gate, value);
    // The highest month to date says that a past month was within, never that it was beyond.
    if beyond && found.figure.stood_in && found.frozen {
        let known = Known { value: Tri::Unknown, facts: found.facts, missing: found.missing() };
        return (Beyond { known, unsettled: false }, found.figure);
    }
    (Beyond { known: Known::of(beyond, found.facts), unsettled: false }, found.figure)
}

/// Whether a figure is beyond the threshold, on the side where the text puts the exact value.
fn is_beyond(gate: &ScaleGate, value: i64) -> bool {
    gate.threshold.is_some_and(|threshold| match (gate.comparison, gate.at_threshold) {
        (_, AtThreshold::Inside) | (Comparison::GreaterThan, _) => value > threshold,
        (Comparison::AtLeast | Comparison::IsOneOf, _) => value >= threshold,
    })
}

struct Found<'a> {
    figure: Figure,
    facts: Facts,
    /// The organization's figure would settle it where the exact one is not known.
    fact: Option<Fact>,
    /// The exact figure would.
    key: Option<MeasureKey<'a>>,
    /// Measured once, for a past period.
    frozen: bool,
}

impl<'a> Found<'a> {
    /// What would settle it where the figure does not.
    fn missing(&self) -> Missing<'a> {
        let missing = self.fact.map_or(Missing::NONE, Missing::fact);
        missing.with_measure(self.key)
    }
}

/// The figure for a gate: the measure that matches exactly, else the organization's figure of the same metric.
fn look_up<'a>(terms: &Terms<'a, '_>, gate: &'a ScaleGate) -> Found<'a> {
    let use_ = terms.context.use_;
    let (period, frozen) = match gate.measured {
        Measured::AnyTime | Measured::AtApplication => (Some(None), false),
        Measured::Fixed(period) => (Some(Some(period)), true),
        Measured::MonthBeforeRelease => {
            let released = terms.licensed().and_then(|model| model.release_date);
            (released.and_then(Date::month_before).map(Some), true)
        }
    };
    let exact = Facts::one(Fact::Measures);
    let measured = period.and_then(|period| {
        use_.measures.iter().find(|m| m.metric == gate.metric && m.subject == gate.subject && m.period == period)
    });
    if let Some(measure) = measured {
        let figure = Figure { value: Some(measure.value), period: measure.period, ..Figure::default() };
        return Found { figure, facts: exact, fact: None, key: None, frozen };
    }
    let key = period.map(|period| MeasureKey { gate, period });
    let shown = period.flatten();
    let organization = &use_.organization;
    let (fact, scalar, highest) = match &*gate.metric {
        "monthly_active_users" => (Fact::MonthlyActiveUsers, organization.monthly_active_users, true),
        "daily_active_users" => (Fact::DailyActiveUsers, organization.daily_active_users, true),
        "annual_revenue_usd" => (Fact::AnnualRevenueUsd, organization.annual_revenue_usd, false),
        "monthly_revenue_usd" => (Fact::MonthlyRevenueUsd, organization.monthly_revenue_usd, false),
        _ => {
            let figure = Figure { period: shown, ..Figure::default() };
            return Found { figure, facts: exact, fact: None, key, frozen };
        }
    };
    let facts = Facts::one(fact);
    // For a frozen gate only a figure that is the highest to date says anything of the past.
    // A product or licensee with more than the group's figure contradicts it: it does not say "within" then.
    let contradicted = |figure: i64| {
        let same = |m: &Measure| m.metric == gate.metric && (highest || m.period.is_none()) && m.value > figure;
        !is_beyond(gate, figure) && use_.measures.iter().any(same)
    };
    let denied = scalar.is_some_and(contradicted);
    let usable = scalar.filter(|_| (!frozen || highest) && !denied);
    let (fact, key) = match (scalar, frozen) {
        (None, false) => (Some(fact), None),
        (None, true) if highest => (Some(fact), key),
        (Some(_), _) | (None, true) => (None, key),
    };
    let figure = Figure { value: usable, stood_in: usable.is_some(), contradicted: denied, period: shown };
    Found { figure, facts, fact, key, frozen }
}
