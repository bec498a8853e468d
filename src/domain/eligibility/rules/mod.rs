//! The rules, one file each. A rule looks at the context, or at one license's terms, and writes findings.

mod access;
pub(super) mod assumed;
mod distillation;
mod duty;
mod evidence;
pub(super) mod lineage;
mod permission;
mod policy;
mod predicate;
mod purpose;
mod requirement;
mod restriction;
mod scale_gate;
pub(super) mod terms;
mod territory;

pub(super) use predicate::is_cosmos;

use super::evaluate::{Context, Out, Terms};

/// Rules on one license's terms, in the order in which their findings are shown.
const TERMS_RULES: &[for<'a, 'c> fn(&Terms<'a, 'c>, &mut Out<'a>)] = &[
    permission::check,
    purpose::check,
    scale_gate::check,
    territory::check,
    restriction::check,
    distillation::check,
    duty::check,
    evidence::check_terms,
];

/// Applies every rule.
pub(super) fn judge<'a>(context: &Context<'a>, out: &mut Out<'a>) {
    judge_terms(context, out);
    policy::check(context, out);
}

/// Applies every rule but the organisation's own.
fn judge_terms<'a>(context: &Context<'a>, out: &mut Out<'a>) {
    access::check(context, out);
    terms::check_provider(context, out);
    if context.weights_matter() {
        terms::check_weights(context, out);
        lineage::check(context, out);
    }
    requirement::check(context, out);
}

/// Applies the rules on one license's terms.
fn apply_terms<'a>(terms: &Terms<'a, '_>, out: &mut Out<'a>) {
    for rule in TERMS_RULES {
        rule(terms, out);
    }
}
