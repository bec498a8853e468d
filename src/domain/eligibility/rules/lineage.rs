//! Lineage: the terms of ancestors hold for what was made from them.

use std::collections::VecDeque;

use smallvec::SmallVec;

use super::terms;
use crate::domain::eligibility::decision::{Effect, Origin};
use crate::domain::eligibility::evaluate::{Context, Missing, Out, Terms};
use crate::domain::eligibility::fact::{Fact, Facts};
use crate::domain::eligibility::message::Detail;
use crate::domain::eligibility::reason::Reason;
use crate::domain::license::{Expression, License, PermissionStatus, Restrictiveness, Trigger};
use crate::domain::model::{BaseModel, BaseRef, Model};
use crate::domain::name::ModelName;
use crate::domain::openness::Tier;

/// More ancestors than any model has; beyond it the rest is reviewed as unknown.
const ANCESTORS_MAX: usize = 256;

pub(super) fn check<'a>(context: &Context<'a>, out: &mut Out<'a>) {
    if context.model.base_models.is_empty() {
        return;
    }
    let own = restrictiveness(context, context.model);
    let mut seen: SmallVec<[&ModelName; 8]> = SmallVec::new();
    seen.push(&context.model.name);
    let mut open: VecDeque<&'a Model> = VecDeque::from([context.model]);
    while let Some(child) = open.pop_front() {
        for base in &child.base_models {
            let origin = Origin { model: Some(child), ..Origin::default() };
            let ancestor = match &base.model {
                BaseRef::Record(name) if seen.contains(&name) => continue,
                BaseRef::Record(name) => {
                    seen.push(name);
                    context.records.model(name)
                }
                BaseRef::Written(_) => None,
            };
            if seen.len() > ANCESTORS_MAX {
                out.review(Reason::LineageUnknown, Detail::Base(base), origin, Facts::NONE, Missing::NONE);
                return;
            }
            step(context, child, base, ancestor, own, out);
            // Only weights carry further: what an ancestor by outputs was made from is not inside.
            if let (Some(ancestor), true) = (ancestor, base.relation.carries_weights()) {
                open.push_back(ancestor);
            }
        }
    }
}

/// One step up: from `child` to `ancestor`.
fn step<'a>(
    context: &Context<'a>,
    child: &'a Model,
    base: &'a BaseModel,
    ancestor: Option<&'a Model>,
    own: Restrictiveness,
    out: &mut Out<'a>,
) {
    // The owner may relicense its own work.
    let same_owner = match &base.model {
        BaseRef::Record(name) => name.publisher() == child.name.publisher(),
        BaseRef::Written(_) => false,
    };
    let stated = child.weights().is_some_and(|w| w.expression.is_some());
    if same_owner && stated {
        return;
    }
    let weights = ancestor.and_then(Model::weights);
    let expression = weights.and_then(|w| w.expression.as_ref()).or(base.expression.as_ref());
    let whose = ancestor.unwrap_or(child);
    if !base.relation.carries_weights() {
        outputs(context, child, base, ancestor, expression, out);
        return;
    }
    let Some(expression) = expression else {
        let origin = Origin { model: Some(child), ..Origin::default() };
        out.review(Reason::LineageUnknown, Detail::Base(base), origin, Facts::NONE, Missing::NONE);
        return;
    };
    match weights {
        Some(weights) => terms::check_expression(context, whose, weights, Some(expression), true, out),
        None => terms::apply_expression(context, whose, expression, true, out),
    }
    let lost = of_expression(context, expression).without(own);
    if !lost.is_empty() {
        let origin = Origin { model: Some(whose), ..Origin::default() };
        out.say(Reason::LicenseDrift, Effect::Info, Detail::Drift { lost, base }, origin, Facts::NONE);
    }
}

/// A model that was trained on an ancestor's outputs: the ancestor's distillation clause counts.
fn outputs<'a>(
    context: &Context<'a>,
    child: &'a Model,
    base: &'a BaseModel,
    ancestor: Option<&'a Model>,
    expression: Option<&'a Expression>,
    out: &mut Out<'a>,
) {
    let origin = Origin { model: Some(child), ..Origin::default() };
    let whose = ancestor.unwrap_or(child);
    let service = ancestor
        .filter(|a| a.tier == Some(Tier::Proprietary))
        .and_then(|a| context.records.service_terms(a.name.publisher()));
    let licenses: SmallVec<[Option<&License>; 2]> = match (service, expression) {
        (Some(license), _) => SmallVec::from_iter([Some(license)]),
        (None, Some(e)) => e.licenses().into_iter().map(|id| context.records.license(id)).collect(),
        (None, None) => SmallVec::from_iter([None]),
    };
    for license in licenses {
        let Some(license) = license else {
            out.review(Reason::LineageUnknown, Detail::Base(base), origin, Facts::NONE, Missing::NONE);
            continue;
        };
        let terms = Terms { context, model: whose, license, derivative: true };
        let clause = &license.permissions.train_other_models.clause;
        let barred = license.permissions.train_other_models.status == PermissionStatus::Prohibited
            || !license.outputs.training_barred.is_empty();
        if barred {
            let reason = Reason::OutputLineageRestricted;
            out.review(reason, Detail::Base(base), terms.origin(clause), Facts::NONE, Missing::NONE);
        }
        if license.outputs.trained_model_is_derivative {
            super::apply_terms(&terms, out);
        } else {
            trained_duties(&terms, out);
        }
    }
}

/// Duties on models trained on outputs hold for the model itself when it reaches others.
fn trained_duties<'a>(terms: &Terms<'a, '_>, out: &mut Out<'a>) {
    let reaches_others =
        super::duty::is_met(Trigger::Redistribute, terms) || super::duty::is_met(Trigger::Service, terms);
    if !reaches_others {
        return;
    }
    for duty in terms.license.duties.iter().filter(|d| d.when.contains(&Trigger::TrainedModel)) {
        let detail = Detail::Duty { duty, started: Trigger::TrainedModel };
        let facts = Facts::one(Fact::Activities);
        if terms.context.use_.fulfilled_duties.contains(duty.kind) {
            out.say(Reason::DutyFulfilled, Effect::Info, detail, terms.origin(&duty.clause), facts);
        } else {
            out.say(Reason::DutyApplies, Effect::Duty, detail, terms.origin(&duty.clause), facts);
        }
    }
}

fn restrictiveness(context: &Context<'_>, model: &Model) -> Restrictiveness {
    match model.weights().and_then(|w| w.expression.as_ref()) {
        Some(expression) => of_expression(context, expression),
        None => Restrictiveness::default(),
    }
}

fn of_expression(context: &Context<'_>, expression: &Expression) -> Restrictiveness {
    let known = expression.licenses().into_iter().filter_map(|id| context.records.license(id));
    known.map(Restrictiveness::of).fold(Restrictiveness::default(), Restrictiveness::union)
}
