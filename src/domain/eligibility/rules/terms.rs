//! Which terms hold: the provider's for a vendor's service, and the expression of the weights, `AND` and `OR` included.

use super::{apply_terms, evidence};
use crate::domain::date::Date;
use crate::domain::eligibility::decision::{Effect, Origin};
use crate::domain::eligibility::evaluate::{Context, Missing, Out, Terms};
use crate::domain::eligibility::fact::{Fact, Facts};
use crate::domain::eligibility::intended_use::{Hosting, Role};
use crate::domain::eligibility::message::Detail;
use crate::domain::eligibility::reason::Reason;
use crate::domain::license::{Expression, License, Term};
use crate::domain::model::{Component, Model};
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
        out.say(Reason::ProductVendorTerms, Effect::Info, Detail::Plain, origin, facts.with(Fact::Role));
        return;
    }
    let named = use_.provider.as_ref();
    let provider = named.map_or(context.model.name.publisher(), |p| p.as_str());
    match context.records.service_terms(provider) {
        Some(license) => apply_terms(&Terms { context, model: context.model, license, derivative: false }, out),
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
    check_expression(context, model, weights, expression, false, out);
}

/// Terms of one model's weights under an expression.
pub(super) fn check_expression<'a>(
    context: &Context<'a>,
    model: &'a Model,
    weights: &'a Component,
    expression: Option<&'a Expression>,
    derivative: bool,
    out: &mut Out<'a>,
) {
    evidence::check(model, weights, out);
    let Some(expression) = expression else {
        let origin = Origin { model: Some(model), ..Origin::default() };
        let detail = Detail::Declared(&weights.declared_license);
        out.review(Reason::LicenseUnknown, detail, origin, Facts::NONE, Missing::NONE);
        return;
    };
    apply_expression(context, model, expression, derivative, out);
}

/// Applies an expression: `AND` is the worst, `OR` the best branch.
pub(super) fn apply_expression<'a>(
    context: &Context<'a>,
    model: &'a Model,
    expression: &'a Expression,
    derivative: bool,
    out: &mut Out<'a>,
) {
    let scope = Scope { context, model, derivative };
    apply(&scope, expression.root(), out);
}

struct Scope<'a, 'c> {
    context: &'c Context<'a>,
    model: &'a Model,
    derivative: bool,
}

fn apply<'a>(scope: &Scope<'a, '_>, term: &'a Term, out: &mut Out<'a>) {
    match term {
        Term::License { id, base, exception } => {
            let records = scope.context.records;
            // "Unknown" is not a license, whatever a record of that id may say.
            let known = (!id.is_unknown()).then(|| records.license(id)).flatten();
            let found = known.or_else(|| base.as_ref().and_then(|base| records.license(base)));
            match found {
                Some(license) => apply_license(scope, license, INCORPORATION_DEPTH_MAX, out),
                None => not_modelled(scope, id, out),
            }
            if let Some(exception) = exception {
                let origin = Origin { model: Some(scope.model), license: found, ..Origin::default() };
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
            // The best verdict, then the fewest duties, then by id: the order of the branches does not matter.
            let best = branches.min_by_key(|(branch, term)| (branch.verdict, branch.duties, first_id(term)));
            if let Some((branch, term)) = best {
                let origin = Origin { model: Some(scope.model), ..Origin::default() };
                let detail = Detail::Branch(term);
                out.append(branch);
                out.say(Reason::LicenseBranchChosen, Effect::Info, detail, origin, Facts::NONE);
            }
        }
    }
}

fn first_id(term: &Term) -> Option<&LicenseId> {
    match term {
        Term::License { id, .. } => Some(id),
        Term::And(terms) | Term::Or(terms) => terms.iter().filter_map(first_id).min(),
    }
}

fn apply_license<'a>(scope: &Scope<'a, '_>, license: &'a License, depth: u8, out: &mut Out<'a>) {
    let Scope { context, model, derivative } = *scope;
    apply_terms(&Terms { context, model, license, derivative }, out);
    for id in license.duties.iter().flat_map(|duty| &duty.incorporates) {
        match (context.records.license(id), depth.checked_sub(1)) {
            (Some(incorporated), Some(depth)) => apply_license(scope, incorporated, depth, out),
            _ => not_modelled(scope, id, out),
        }
    }
}

fn not_modelled<'a>(scope: &Scope<'a, '_>, id: &'a LicenseId, out: &mut Out<'a>) {
    let origin = Origin { model: Some(scope.model), ..Origin::default() };
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
    if periods.is_empty() {
        return current;
    }
    let revision: &'a str = &context.use_.model_revision;
    let facts = Facts::one(Fact::ModelRevision);
    if revision.is_empty() {
        if periods.iter().any(|p| Some(&p.expression) != current) {
            let detail = Detail::Periods(periods);
            out.say(Reason::LicenseChangedOverTime, Effect::Info, detail, origin, facts);
        }
        return current;
    }
    let day = Date::parse(revision).ok();
    let mut covering = periods.iter().filter(|period| match day {
        // A month or year is placed only where one period holds all of it.
        Some(date) => {
            period.from.is_none_or(|from| from.first_day() <= date.first_day())
                && period.until.is_none_or(|until| date.last_day() <= until.last_day())
        }
        None => same_commit(&period.commit, revision),
    });
    match (covering.next(), covering.next()) {
        (Some(period), None) => Some(&period.expression),
        _ => {
            let detail = Detail::Text(revision);
            out.review(Reason::ModelRevisionUnplaced, detail, origin, facts, Missing::NONE);
            current
        }
    }
}

/// Whether two commits are the same, one of them possibly cut to seven characters or more.
fn same_commit(known: &str, given: &str) -> bool {
    const LEN_MIN: usize = 7;
    let long_enough = known.len() >= LEN_MIN && given.len() >= LEN_MIN;
    known == given && !known.is_empty() || long_enough && (known.starts_with(given) || given.starts_with(known))
}
