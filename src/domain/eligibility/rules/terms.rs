//! Which terms hold: the provider's for a vendor's service, and the expression of the weights, `AND` and `OR` included.

use super::{apply_terms, evidence, lineage, requirement};
use crate::domain::date::Date;
use crate::domain::eligibility::decision::{Effect, Origin};
use crate::domain::eligibility::evaluate::{Context, Day, Missing, Out, Terms};
use crate::domain::eligibility::fact::{Fact, Facts};
use crate::domain::eligibility::intended_use::{Hosting, Role};
use crate::domain::eligibility::message::Detail;
use crate::domain::eligibility::reason::Reason;
use crate::domain::license::{Expression, License, LicensePeriod, Term};
use crate::domain::model::{BaseModel, Component, Model};
use crate::domain::name::LicenseId;

/// Licenses that bring in others do so one step deep in all data we know; deeper nesting is reviewed.
const INCORPORATION_DEPTH_MAX: u8 = 4;

/// Terms of the provider's service.
pub(super) fn check_provider<'a>(context: &Context<'a>, out: &mut Out<'a>) {
    let use_ = context.use_;
    if use_.hosting != Some(Hosting::VendorApi) {
        return;
    }
    let origin = Origin { model: Some(context.model), ..Origin::default() };
    let facts = Facts::one(Fact::Provider);
    if use_.role == Role::EndUserOfProduct {
        let facts = facts.with(Fact::Role);
        // Running the product is the vendor's affair; what the vendor lets its users do beyond that is not known here.
        if context.only_runs() && use_.categories.is_empty() {
            out.say(Reason::ProductVendorTerms, Effect::Info, Detail::Plain, origin, facts);
        } else {
            let facts = facts.with(Fact::Activities).with(Fact::Categories);
            out.review(Reason::ProductVendorTerms, Detail::Plain, origin, facts, Missing::NONE);
        }
        return;
    }
    let named = use_.provider.as_ref();
    let provider = named.map_or(context.model.name.publisher(), |p| p.as_str());
    let own = provider == context.model.name.publisher();
    if !own && !context.records.is_served(provider, &context.model.name) {
        out.review(Reason::OfferingUnknown, Detail::Plain, origin, facts, Missing::NONE);
    }
    match context.records.service_terms(provider) {
        Some(license) => {
            let model = context.model;
            apply_license(&Terms { context, model, license, derivative: false, recorded: true }, &license.id, out);
        }
        None => {
            // Naming another provider can settle it only where none was named.
            let missing = if named.is_none() { Missing::fact(Fact::Provider) } else { Missing::NONE };
            out.review(Reason::ProviderTermsUnknown, Detail::Provider(provider), origin, facts, missing);
        }
    }
}

/// Terms of the weights of the model that was asked for.
pub(super) fn check_weights<'a>(context: &Context<'a>, out: &mut Out<'a>) {
    let model = context.model;
    let origin = Origin { model: Some(model), ..Origin::default() };
    let Some(weights) = model.weights() else {
        // Access has said that the tier is not known; the license is not known either.
        out.review(Reason::LicenseUnknown, Detail::Plain, origin, Facts::NONE, Missing::NONE);
        return;
    };
    let expression = choose_period(context, weights, origin, out);
    check_expression(context, model, weights, expression, Inherited::Not, out);
}

/// How the license of a model comes to hold for the one asked for.
#[derive(Clone, Copy)]
pub(super) enum Inherited<'a> {
    /// It is the model asked for.
    Not,
    /// Its weights are inside.
    Weights,
    /// Its outputs were trained on, at this step or one below.
    Outputs(&'a BaseModel),
}

/// Whose license an expression is.
#[derive(Clone, Copy)]
pub(super) struct Whose<'a> {
    /// The model; where it is no record, the one that was made from it.
    pub(super) model: &'a Model,
    pub(super) recorded: bool,
}

/// Terms of one model's weights under an expression.
pub(super) fn check_expression<'a>(
    context: &Context<'a>,
    model: &'a Model,
    weights: &'a Component,
    expression: Option<&'a Expression>,
    inherited: Inherited<'a>,
    out: &mut Out<'a>,
) {
    evidence::check(model, weights, expression, out);
    let Some(expression) = expression else {
        let origin = Origin { model: Some(model), ..Origin::default() };
        let detail = Detail::Declared(&weights.declared_license);
        out.review(Reason::LicenseUnknown, detail, origin, Facts::NONE, Missing::NONE);
        return;
    };
    apply_expression(context, Whose { model, recorded: true }, expression, inherited, out);
}

/// Applies an expression: `AND` is the worst, `OR` the best branch.
pub(super) fn apply_expression<'a>(
    context: &Context<'a>,
    whose: Whose<'a>,
    expression: &'a Expression,
    inherited: Inherited<'a>,
    out: &mut Out<'a>,
) {
    let scope = Scope { context, whose, inherited };
    apply(&scope, expression.root(), out);
}

struct Scope<'a, 'c> {
    context: &'c Context<'a>,
    whose: Whose<'a>,
    inherited: Inherited<'a>,
}

fn apply<'a>(scope: &Scope<'a, '_>, term: &'a Term, out: &mut Out<'a>) {
    match term {
        Term::License { id, base, exception } => {
            let found = find(scope.context, id).or_else(|| find(scope.context, base.as_ref()?));
            match found {
                Some(license) => scope.apply_license(license, id, out),
                None => not_modelled(scope.context, scope.whose.model, id, out),
            }
            if let Some(exception) = exception {
                let origin = Origin { model: Some(scope.whose.model), license: found, ..Origin::default() };
                let reason = Reason::LicenseExceptionNotModelled;
                out.review(reason, Detail::Text(exception), origin, Facts::NONE, Missing::NONE);
            }
        }
        Term::And(terms) => terms.iter().for_each(|term| apply(scope, term, out)),
        Term::Or(terms) => {
            let branches = terms.iter().map(|term| {
                let mut branch = out.branch();
                apply(scope, term, &mut branch);
                (branch, term)
            });
            // The best verdict, then the fewest duties, then by id: the order of the branches does not matter. Of two
            // reviews the better one is that which facts can settle.
            let best = branches.min_by(|(a, left), (b, right)| {
                let by_outcome = (a.verdict, a.stuck, a.duties).cmp(&(b.verdict, b.stuck, b.duties));
                by_outcome.then_with(|| sorted_ids(left).cmp(&sorted_ids(right)))
            });
            if let Some((branch, term)) = best {
                let origin = Origin { model: Some(scope.whose.model), ..Origin::default() };
                let detail = Detail::Branch(term);
                out.append(branch);
                out.say(Reason::LicenseBranchChosen, Effect::Info, detail, origin, Facts::NONE);
            }
        }
    }
}

/// The licenses of a branch with their exceptions, in an order that does not depend on how it was written.
fn sorted_ids(term: &Term) -> Vec<(&LicenseId, Option<&str>)> {
    let mut ids = match term {
        Term::License { id, exception, .. } => vec![(id, exception.as_deref())],
        Term::And(terms) | Term::Or(terms) => terms.iter().flat_map(sorted_ids).collect(),
    };
    ids.sort_unstable();
    ids
}

/// "Unknown" is not a license, whatever a record of that id may say.
fn find<'a>(context: &Context<'a>, id: &'a LicenseId) -> Option<&'a License> {
    if id.is_unknown() { None } else { context.license(id) }
}

impl<'a> Scope<'a, '_> {
    fn apply_license(&self, license: &'a License, written: &'a LicenseId, out: &mut Out<'a>) {
        let Self { context, whose: Whose { model, recorded }, inherited } = *self;
        let derivative = !matches!(inherited, Inherited::Not);
        let terms = Terms { context, model, license, derivative, recorded };
        match inherited {
            Inherited::Not | Inherited::Weights => apply_license(&terms, written, out),
            Inherited::Outputs(base) => outputs_nested(&terms, written, base, None, out),
        }
    }
}

/// Applies the terms of a license that an expression names as `written`, and of those that it brings in.
pub(super) fn apply_license<'a>(terms: &Terms<'a, '_>, written: &'a LicenseId, out: &mut Out<'a>) {
    apply_nested(terms, written, INCORPORATION_DEPTH_MAX, out);
}

fn apply_nested<'a>(terms: &Terms<'a, '_>, written: &'a LicenseId, depth: u8, out: &mut Out<'a>) {
    apply_terms(terms, out);
    requirement::check_license(terms, written, out);
    for_incorporated(terms, depth, out, &mut |terms, id, depth, out| apply_nested(terms, id, depth, out));
}

/// What to do with the terms of a license that another brings in, the depth that is left included.
type Incorporated<'f, 'a> = &'f mut dyn FnMut(&Terms<'a, '_>, &'a LicenseId, u8, &mut Out<'a>);

/// Goes through the licenses that one brings in.
fn for_incorporated<'a>(terms: &Terms<'a, '_>, depth: u8, out: &mut Out<'a>, each: Incorporated<'_, 'a>) {
    for id in terms.license.duties.iter().flat_map(|duty| &duty.incorporates) {
        match (find(terms.context, id), depth.checked_sub(1)) {
            (Some(license), Some(depth)) => each(&Terms { license, ..*terms }, id, depth, out),
            _ => not_modelled(terms.context, terms.model, id, out),
        }
    }
}

/// Applies what a license says of outputs, and what those say that it brings in.
pub(super) fn outputs_nested<'a>(
    terms: &Terms<'a, '_>,
    written: &'a LicenseId,
    base: &'a BaseModel,
    depth: Option<u8>,
    out: &mut Out<'a>,
) {
    lineage::outputs(terms, written, base, out);
    // A derivative is under all of it, and that has gone through them.
    if !terms.license.outputs.trained_model_is_derivative {
        let depth = depth.unwrap_or(INCORPORATION_DEPTH_MAX);
        for_incorporated(terms, depth, out, &mut |terms, id, depth, out| {
            outputs_nested(terms, id, base, Some(depth), out);
        });
    }
}

fn not_modelled<'a>(context: &Context<'a>, model: &'a Model, id: &'a LicenseId, out: &mut Out<'a>) {
    requirement::check_id(context, id, out);
    let origin = Origin { model: Some(model), ..Origin::default() };
    let listed = spdx::license_id(id.as_str()).map(|known| known.full_name);
    let (reason, detail) = match listed {
        Some(name) => (Reason::LicenseNotModelled, Detail::Listed { id, name }),
        None => (Reason::LicenseUnknown, Detail::License(id)),
    };
    out.review(reason, detail, origin, Facts::NONE, Missing::NONE);
}

/// The license of the pinned revision; without one the current license, with a note if earlier ones differed.
fn choose_period<'a>(
    context: &Context<'a>,
    weights: &'a Component,
    origin: Origin<'a>,
    out: &mut Out<'a>,
) -> Option<&'a Expression> {
    let current = weights.expression.as_ref();
    let periods = &weights.license_periods;
    let facts = Facts::one(Fact::ModelRevision);
    let revision: &'a str = &context.use_.model_revision;
    match place(weights, revision, context.day) {
        Placed::Current if revision.is_empty() && periods.iter().any(|p| Some(&p.expression) != current) => {
            let detail = Detail::Periods(periods);
            out.say(Reason::LicenseChangedOverTime, Effect::Info, detail, origin, facts);
            current
        }
        Placed::Current => current,
        Placed::Period(expression) => {
            if revision.is_empty() && Some(expression) != current {
                let detail = Detail::Periods(periods);
                out.say(Reason::LicenseChangedOverTime, Effect::Info, detail, origin, facts);
            }
            Some(expression)
        }
        Placed::Nowhere { several } => {
            let detail = Detail::Unplaced { revision, several };
            out.review(Reason::ModelRevisionUnplaced, detail, origin, facts, Missing::NONE);
            current
        }
    }
}

/// Where a revision of the weights lies among their license periods; without one, where the day of a past use does.
pub(in crate::domain::eligibility) enum Placed<'a> {
    /// None is pinned, or the license never changed.
    Current,
    /// In one.
    Period(&'a Expression),
    /// In none, or in several.
    Nowhere { several: bool },
}

pub(in crate::domain::eligibility) fn place<'a>(weights: &'a Component, revision: &str, day: Day) -> Placed<'a> {
    let periods = &weights.license_periods;
    // A change that was announced is made by the day of the use.
    let announced = |period: &LicensePeriod| {
        let from = period.from.map(|from| from.first_day());
        from.is_some_and(|from| day.known < from && from <= day.of_use)
    };
    let is_other = day.of_use < day.known || periods.iter().any(announced);
    if periods.is_empty() || revision.is_empty() && !is_other {
        return current(weights, day.of_use);
    }
    if revision.is_empty() {
        return place_day(weights, day.of_use);
    }
    // Commits and tags can look like years: what is one of them is no date.
    let by_commit = || periods.iter().filter(|period| same_commit(&period.commit, revision));
    if by_commit().next().is_some() {
        return only(by_commit());
    }
    match Date::parse(revision) {
        // Nobody uses weights that are not there yet: it is the tag of something else.
        Ok(date) if date.first_day() > day.of_use => Placed::Nowhere { several: false },
        // A month or year is placed only where one period holds all of it.
        Ok(date) => only(periods.iter().filter(|period| {
            period.from.is_none_or(|from| from.first_day() <= date.first_day())
                && period.until.is_none_or(|until| date.last_day() <= until.last_day())
        })),
        Err(_) => Placed::Nowhere { several: false },
    }
}

fn only<'a>(mut periods: impl Iterator<Item = &'a LicensePeriod>) -> Placed<'a> {
    match (periods.next(), periods.next()) {
        (Some(period), None) => Placed::Period(&period.expression),
        (first, _) => Placed::Nowhere { several: first.is_some() },
    }
}

/// The license that held on a past day. After the last period that has an end the current one holds, listed or not.
fn place_day(weights: &Component, day: Date) -> Placed<'_> {
    let periods = &weights.license_periods;
    let covering = || {
        periods.iter().filter(|period| {
            period.from.is_none_or(|from| from.first_day() <= day)
                && period.until.is_none_or(|until| day <= until.last_day())
        })
    };
    let begins_later = |period: &LicensePeriod| period.from.is_some_and(|from| from.first_day() > day);
    if covering().next().is_none() && !periods.iter().any(begins_later) {
        return current(weights, day);
    }
    only(covering())
}

/// The current license, unless the periods of the record say otherwise of that day.
fn current(weights: &Component, day: Date) -> Placed<'_> {
    if is_contradicted(weights, day) { Placed::Nowhere { several: false } } else { Placed::Current }
}

/// Whether the periods of a record say that what it calls current does not hold on a day: another one has begun since, or the
/// current one has come to its end or has yet to begin. What was announced may have come since the record was written, and another change of the
/// registry does not make it less so.
pub(super) fn is_contradicted(weights: &Component, day: Date) -> bool {
    let periods = &weights.license_periods;
    let is_current = |period: &LicensePeriod| Some(&period.expression) == weights.expression.as_ref();
    let has_ended = |period: &LicensePeriod| period.until.is_some_and(|until| until.last_day() < day);
    // One without any date is known by its commit, and says nothing of a day.
    let has_begun = |period: &LicensePeriod| period.from.is_none_or(|from| from.first_day() <= day);
    let holds = |period: &&LicensePeriod| {
        has_begun(period) && !has_ended(period) && (period.from.is_some() || period.until.is_some())
    };
    // Several can hold, as those with open ends and coarse dates do: then the current one must be known to have begun last.
    let latest = |period: &LicensePeriod| period.from.map(|from| from.last_day().min(day));
    let is_last = |current: &LicensePeriod, other: &LicensePeriod| {
        current.from == other.from || current.from.map(|from| from.first_day()) >= latest(other)
    };
    let current = || periods.iter().filter(holds).filter(|period| is_current(period));
    let mut others = periods.iter().filter(holds).filter(|period| !is_current(period));
    let another = others.any(|other| !current().any(|current| is_last(current, other)));
    let mut listed = periods.iter().filter(|period| is_current(period)).peekable();
    let absent = listed.peek().is_some() && listed.all(|period| has_ended(period) || !has_begun(period));
    another || absent
}

/// Whether two commits are the same, one of them possibly cut to seven characters or more.
fn same_commit(known: &str, given: &str) -> bool {
    const LEN_MIN: usize = 7;
    let long_enough = known.len() >= LEN_MIN && given.len() >= LEN_MIN;
    known == given && !known.is_empty() || long_enough && (known.starts_with(given) || given.starts_with(known))
}
