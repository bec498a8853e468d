//! Lineage: the terms of ancestors hold for what was made from them.

use std::collections::VecDeque;

use smallvec::SmallVec;

use super::terms::{self, Inherited, Whose};
use super::{duty, permission};
use crate::domain::eligibility::decision::{Effect, Origin};
use crate::domain::eligibility::evaluate::{Context, Missing, Out, Records, Terms};
use crate::domain::eligibility::fact::Facts;
use crate::domain::eligibility::message::{Detail, LostUses};
use crate::domain::eligibility::reason::Reason;
use crate::domain::license::{
    Duty, DutyClass, Expression, License, PermissionStatus, Restrictiveness, Term, Trigger, UseRestriction,
};
use crate::domain::model::{BaseModel, BaseRef, Model};
use crate::domain::name::{LicenseId, ModelName};
use crate::domain::openness::Tier;
use crate::domain::vocabulary::UseSet;

/// More ancestors than any model has; beyond it the rest is reviewed as unknown.
const ANCESTORS_MAX: usize = 256;

/// An ancestor as it was come upon: whose weights are inside, or whose outputs were trained on.
type Met<'a> = (&'a ModelName, bool);

pub(super) fn check<'a>(context: &Context<'a>, out: &mut Out<'a>) {
    if context.model.base_models.is_empty() {
        return;
    }
    // Drift is a note: it leads to no verdict.
    let own = if out.collects() { licenses(&|id| context.license(id), stated(context.model)) } else { Licenses::new() };
    // One ancestor can be met on several ways up: each way counts, and each kind of terms counts once.
    let mut seen: SmallVec<[Met<'_>; 8]> = SmallVec::from_iter([(&context.model.name, false)]);
    let mut counted: SmallVec<[Met<'_>; 8]> = SmallVec::new();
    let mut open: SmallVec<[(Path<'a>, bool); 4]> = SmallVec::from_iter([(Path::from_slice(&[context.model]), false)]);
    let mut next = 0;
    while let Some((path, by_outputs)) = open.get(next).map(|(path, by_outputs)| (path.clone(), *by_outputs)) {
        next += 1;
        let Some(child) = path.last().copied() else { continue };
        for base in in_order(&child.base_models) {
            let carries_weights = base.relation.carries_weights();
            // What an ancestor by outputs was itself taught is not in what it gives out; what it is made of is.
            let itself = matches!(&base.model, BaseRef::Record(name) if *name == context.model.name);
            if itself || by_outputs && !carries_weights {
                continue;
            }
            let ancestor = match &base.model {
                BaseRef::Record(name) => context.records.model(name),
                BaseRef::Written(_) => None,
            };
            let step = Step { context, child, base, ancestor, by_outputs: by_outputs || !carries_weights };
            if counts(child, base) {
                match step.found() {
                    None => {
                        let origin = Origin { model: Some(child), ..Origin::default() };
                        out.review(Reason::LineageUnknown, Detail::Base(base), origin, Facts::NONE, Missing::NONE);
                    }
                    Some(_) if ancestor.is_some_and(|a| counted.contains(&(&a.name, step.by_outputs))) => {}
                    Some(found) => {
                        counted.extend(ancestor.map(|a| (&a.name, step.by_outputs)));
                        step.apply(found, &own, &path, out);
                    }
                }
            }
            let Some(ancestor) = ancestor else { continue };
            let met = (&ancestor.name, step.by_outputs);
            if seen.contains(&met) {
                continue;
            }
            if seen.len() >= ANCESTORS_MAX {
                let origin = Origin { model: Some(child), ..Origin::default() };
                out.review(Reason::LineageUnknown, Detail::Base(base), origin, Facts::NONE, Missing::NONE);
                return;
            }
            seen.push(met);
            // What has no base of its own leads nowhere.
            if !ancestor.base_models.is_empty() {
                let mut further = path.clone();
                further.push(ancestor);
                open.push((further, step.by_outputs));
            }
        }
    }
}

/// Bases by name: by which of several ways an ancestor is come upon first does not depend on how they are listed.
fn in_order(bases: &[BaseModel]) -> SmallVec<[&BaseModel; 4]> {
    let mut bases: SmallVec<[&BaseModel; 4]> = bases.iter().collect();
    bases.sort_unstable_by_key(|base| (base.model.as_str(), base.relation));
    bases
}

/// From the model that was asked for up to an ancestor, both included.
type Path<'a> = SmallVec<[&'a Model; 4]>;

/// One step of the lineage view.
#[derive(Clone, Debug)]
pub struct LineageStep<'a> {
    /// Steps from the model that was asked for; 1: its own bases.
    pub depth: usize,
    /// The model that was made.
    pub child: &'a Model,
    /// What it was made from, and how.
    pub base: &'a BaseModel,
    /// The record of that; `None`: there is none.
    pub ancestor: Option<&'a Model>,
    /// The license that is known of it.
    pub expression: Option<&'a Expression>,
    /// Outputs lie between the model asked for and this one, so that only what holds for outputs counts.
    pub by_outputs: bool,
    /// Whether its terms count: not where an owner relicensed its own work.
    pub counts: bool,
    /// What the license of `child` drops of it.
    pub lost: Restrictiveness,
}

/// Every step up the lineage of a model, nearest first, each once; circles end where they close.
#[must_use]
pub fn lineage<'a>(records: &'a dyn Records, model: &'a Model) -> Vec<LineageStep<'a>> {
    let mut steps = steps(records, model);
    let find = |id: &'a LicenseId| records.license(id);
    for step in &mut steps {
        let Some(theirs) = step.expression.filter(|_| !step.by_outputs && step.expression != stated(step.child)) else {
            continue;
        };
        step.lost = dropped(records, &licenses(&find, Some(theirs)), &licenses(&find, stated(step.child)));
    }
    steps
}

/// Licenses of ancestors whose terms hold for the weights of a model; `None`: one of which none is known.
#[must_use]
pub fn inherited<'a>(records: &'a dyn Records, model: &'a Model) -> Vec<Option<&'a Expression>> {
    // Terms of outputs hold for who trains on them, and are no terms of the model.
    let counted = steps(records, model).into_iter().filter(|step| step.counts && !step.by_outputs);
    counted.map(|step| step.expression).collect()
}

/// The steps, with nothing said of what was lost at them.
fn steps<'a>(records: &'a dyn Records, model: &'a Model) -> Vec<LineageStep<'a>> {
    let mut steps = Vec::new();
    let mut seen: Vec<Met<'a>> = vec![(&model.name, false)];
    let mut open: VecDeque<(&'a Model, bool, usize)> = VecDeque::from([(model, false, 1)]);
    while let Some((child, by_outputs, depth)) = open.pop_front() {
        for base in &child.base_models {
            let ancestor = match &base.model {
                BaseRef::Record(name) => records.model(name),
                BaseRef::Written(_) => None,
            };
            let expression = match ancestor {
                Some(ancestor) => ancestor.weights().and_then(|w| w.expression.as_ref()),
                None => base.expression.as_ref(),
            };
            let by_outputs = by_outputs || !base.relation.carries_weights();
            let (counts, lost) = (counts(child, base), Restrictiveness::default());
            steps.push(LineageStep { depth, child, base, ancestor, expression, by_outputs, counts, lost });
            let Some(ancestor) = ancestor else { continue };
            let met = (&ancestor.name, by_outputs);
            if steps.len() >= ANCESTORS_MAX {
                return steps;
            }
            if !seen.contains(&met) {
                seen.push(met);
                open.push_back((ancestor, by_outputs, depth + 1));
            }
        }
    }
    steps
}

/// Whether an ancestor adds anything: an owner may relicense its own work.
fn counts(child: &Model, base: &BaseModel) -> bool {
    let same_owner = match &base.model {
        BaseRef::Record(name) => name.publisher() == child.name.publisher(),
        BaseRef::Written(_) => false,
    };
    let stated = child.weights().is_some_and(|w| w.expression.is_some());
    !(same_owner && stated)
}

/// The terms of an ancestor.
#[derive(Clone, Copy)]
enum Found<'a> {
    /// Those of its publisher's service, for the outputs of a closed model.
    Service(&'a License),
    Expression(&'a Expression),
}

/// One step up: from `child` to `ancestor`.
struct Step<'a, 'c> {
    context: &'c Context<'a>,
    child: &'a Model,
    base: &'a BaseModel,
    /// `None`: it is no record.
    ancestor: Option<&'a Model>,
    /// Outputs lie between the model asked for and this ancestor, so that only what holds for outputs counts.
    by_outputs: bool,
}

impl<'a> Step<'a, '_> {
    fn found(&self) -> Option<Found<'a>> {
        let Self { context, base, ancestor, by_outputs, .. } = *self;
        // What the descendant's record says of a base stands in only where the base is no record.
        let Some(ancestor) = ancestor else { return base.expression.as_ref().map(Found::Expression) };
        let service = by_outputs && ancestor.tier == Some(Tier::Proprietary);
        let service = if service { context.records.service_terms(ancestor.name.publisher()) } else { None };
        let expression = || ancestor.weights().and_then(|w| w.expression.as_ref());
        service.map(Found::Service).or_else(|| expression().map(Found::Expression))
    }

    fn apply(&self, found: Found<'a>, own: &Licenses<'a>, path: &Path<'a>, out: &mut Out<'a>) {
        let Self { context, child, base, ancestor, by_outputs } = *self;
        let whose = ancestor.unwrap_or(child);
        let expression = match found {
            Found::Service(license) => {
                let recorded = ancestor.is_some();
                let terms = Terms { context, model: whose, license, derivative: true, recorded };
                terms::outputs_nested(&terms, &license.id, base, None, out);
                return;
            }
            Found::Expression(expression) => expression,
        };
        let inherited = if by_outputs { Inherited::Outputs(base) } else { Inherited::Weights };
        match ancestor.and_then(Model::weights) {
            Some(weights)
                if weights.license_periods.iter().any(|p| p.expression != *expression)
                    || terms::is_contradicted(weights, context.day.of_use) =>
            {
                // Which revision the descendant was made from, and so which license came with it, is not recorded.
                let origin = Origin { model: Some(whose), ..Origin::default() };
                let detail = Detail::Periods(&weights.license_periods);
                out.review(Reason::LicenseChangedOverTime, detail, origin, Facts::NONE, Missing::NONE);
                terms::check_expression(context, whose, weights, Some(expression), inherited, out);
            }
            Some(weights) => terms::check_expression(context, whose, weights, Some(expression), inherited, out),
            None => {
                let whose = Whose { model: whose, recorded: false };
                terms::apply_expression(context, whose, expression, inherited, out);
            }
        }
        if !by_outputs && out.collects() && Some(expression) != stated(context.model) {
            let theirs = licenses(&|id| context.license(id), Some(expression));
            let lost = dropped(context.records, &theirs, own);
            if !lost.is_empty() {
                Drift { whose, base, theirs, own, lost }.say(context, path, out);
            }
        }
    }
}

/// Terms of an ancestor that the license of the model asked for drops.
struct Drift<'a, 'c> {
    whose: &'a Model,
    base: &'a BaseModel,
    /// The licenses of the ancestor.
    theirs: Licenses<'a>,
    /// Those of the model asked for.
    own: &'c Licenses<'a>,
    lost: Restrictiveness,
}

impl<'a> Drift<'a, '_> {
    /// Names the step at which each lost term was lost: the first on the way down whose license does not have it.
    fn say(&self, context: &Context<'a>, path: &Path<'a>, out: &mut Out<'a>) {
        let origin = Origin { model: Some(self.whose), ..Origin::default() };
        let mut left = self.lost;
        for descendant in path.iter().rev().copied() {
            let asked_for = descendant.name == context.model.name;
            let ours = match stated(descendant) {
                _ if asked_for => self.own.clone(),
                // Who states no license drops nothing by it.
                None => continue,
                stated => licenses(&|id| context.license(id), stated),
            };
            // What the model asked for drops is known: that is what it is all about.
            let here = if asked_for { left } else { left.and(dropped(context.records, &self.theirs, &ours)) };
            if here.is_empty() {
                continue;
            }
            let at = (!asked_for).then_some(descendant);
            let uses = match (self.theirs.as_slice(), ours.as_slice()) {
                ([theirs], [ours]) => Some(LostUses { theirs, ours, vocabulary: context.records.vocabulary() }),
                _ => None,
            };
            let detail = Detail::Drift { lost: here, base: self.base, at, uses };
            out.say(Reason::LicenseDrift, Effect::Info, detail, origin, Facts::NONE);
            left = left.without(here);
        }
    }
}

/// A model that was trained on an ancestor's outputs: the ancestor's distillation clause counts.
pub(super) fn outputs<'a>(terms: &Terms<'a, '_>, written: &'a LicenseId, base: &'a BaseModel, out: &mut Out<'a>) {
    let license = terms.license;
    let permission = &license.permissions.train_other_models;
    let origin = terms.origin(&permission.clause);
    let barred = permission.status == PermissionStatus::Prohibited || !license.outputs.training_barred.is_empty();
    if barred {
        let reason = Reason::OutputLineageRestricted;
        out.review(reason, Detail::Base(base), origin, Facts::NONE, Missing::NONE);
    } else if let Some(open) = permission::left_open(permission, license) {
        let detail = Detail::Permission { act: permission::TRAINING, permission };
        out.review(open, detail, origin, Facts::NONE, Missing::NONE);
    }
    if license.outputs.trained_model_is_derivative {
        terms::apply_license(terms, written, out);
    } else {
        trained_duties(terms, out);
    }
}

/// Duties on models trained on outputs hold for the model itself when it reaches others.
fn trained_duties<'a>(terms: &Terms<'a, '_>, out: &mut Out<'a>) {
    let starts = |duty: &&Duty| {
        // A bar is on an act with the ancestor itself, which is not inside.
        let bar = matches!(duty.class(), DutyClass::Bar(_));
        !bar && duty.when.contains(&Trigger::TrainedModel) && !duty.not_when.contains(&Trigger::TrainedModel)
    };
    let mut started = terms.license.duties.iter().filter(starts).peekable();
    let reaches_others =
        || [Trigger::Redistribute, Trigger::Service].iter().any(|t| duty::is_met(*t, terms, Effect::Blocks));
    if started.peek().is_some() && reaches_others() {
        started.for_each(|duty| duty::check_started(terms, duty, Trigger::TrainedModel, out));
    }
}

/// The license that a model states for its weights.
fn stated(model: &Model) -> Option<&Expression> {
    model.weights().and_then(|weights| weights.expression.as_ref())
}

/// What the licenses of a descendant drop of an ancestor's. Uses that both bar are held against each other one by one.
fn dropped(records: &dyn Records, theirs: &Licenses<'_>, ours: &Licenses<'_>) -> Restrictiveness {
    let of = |licenses: &Licenses<'_>| {
        let kinds = licenses.iter().map(|l| l.limits.map_or_else(|| Restrictiveness::of(l), |limits| limits.kinds));
        kinds.fold(Restrictiveness::default(), Restrictiveness::union)
    };
    let (all, own) = (of(theirs), of(ours));
    let lost = all.without(own);
    let both_bar = all.has(Restrictiveness::USES) && own.has(Restrictiveness::USES);
    let all_uses = |licenses: &Licenses<'_>| {
        licenses.iter().try_fold(UseSet::default(), |all, license| {
            let uses = license.limits?.uses;
            Some(UseSet { named: all.named | uses.named, covered: all.covered | uses.covered })
        })
    };
    let loses_uses = || match (all_uses(theirs), all_uses(ours)) {
        (Some(theirs), Some(ours)) => theirs.named & !ours.covered != 0,
        _ => loses_a_use(records, theirs, ours),
    };
    if both_bar && loses_uses() { lost.union(Restrictiveness::USES) } else { lost }
}

/// Whether a barred use of some licenses is barred by none of others, also not as part of a broader one.
fn loses_a_use(records: &dyn Records, theirs: &Licenses<'_>, ours: &Licenses<'_>) -> bool {
    let bars = |category: &str| ours.iter().any(|license| license.restricts(category));
    let drops = |r: &UseRestriction| !records.vocabulary().any_broader(&r.category, &bars);
    theirs.iter().any(|license| license.use_restrictions.iter().any(drops))
}

type Licenses<'a> = SmallVec<[&'a License; 2]>;

/// The licenses of an expression that are known.
fn licenses<'a>(
    find: &impl Fn(&'a LicenseId) -> Option<&'a License>,
    expression: Option<&'a Expression>,
) -> Licenses<'a> {
    fn add<'a>(find: &impl Fn(&'a LicenseId) -> Option<&'a License>, term: &'a Term, out: &mut Licenses<'a>) {
        match term {
            Term::License { id, .. } => out.extend(find(id)),
            Term::And(terms) | Term::Or(terms) => terms.iter().for_each(|term| add(find, term, out)),
        }
    }
    let mut out = Licenses::new();
    if let Some(expression) = expression {
        add(find, expression.root(), &mut out);
    }
    out
}
