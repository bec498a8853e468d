//! The evaluator: access, terms, lineage, requirements, then the verdict.

use std::cell::Cell;

use super::decision::{Decision, Effect, Finding, Findings, Origin, Verdict};
use super::fact::{Fact, Facts, MeasureKey, MeasureKeys};
use super::intended_use::{Activities, Activity, Hosting, Use};
use super::message::Detail;
use super::policy::{NoPolicies, Policies, PolicyCase};
use super::reason::Reason;
use super::rules::{self, terms::Placed};
use super::waiver::{Waiver, Waivers};
use crate::domain::date::Date;
use crate::domain::license::{Expression, License};
use crate::domain::model::{ComponentKind, Model};
use crate::domain::name::{LicenseId, ModelName};
use crate::domain::openness::{Tier, tier};
use crate::domain::vocabulary::Vocabulary;

/// The records that a decision looks at, all of one registry revision.
pub trait Records {
    /// A model by name.
    fn model(&self, name: &ModelName) -> Option<&Model>;
    /// A license by id.
    fn license(&self, id: &LicenseId) -> Option<&License>;
    /// The service terms of a provider's own service.
    fn service_terms(&self, provider: &str) -> Option<&License>;
    /// Whether a provider is known to serve a model.
    fn is_served(&self, provider: &str, model: &ModelName) -> bool;
    /// The shared words.
    fn vocabulary(&self) -> &Vocabulary;
    /// The organisation's own policies.
    fn policies(&self) -> &dyn Policies {
        &NoPolicies
    }
}

/// What counts as the present.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Present {
    /// The day that stands in for an absent `at`.
    pub day: Date,
    /// The day of which the records tell: what they call current held then. A use before it is a past one; of what came after it
    /// nothing is known but what they announce.
    pub known: Date,
}

impl From<Date> for Present {
    fn from(day: Date) -> Self {
        Self { day, known: day }
    }
}

/// Decides whether `model` may be used as described. `waivers` are those that concern the check.
///
/// The answer depends on nothing but the arguments. It is never an error: what cannot be decided is a review.
#[must_use]
pub fn evaluate<'a>(
    records: &'a dyn Records,
    model: &'a Model,
    use_: &'a Use,
    present: impl Into<Present>,
    waivers: Waivers<'a>,
) -> Decision<'a> {
    let context = context(records, model, use_, present.into(), waivers);
    let mut out = Out::collecting(waivers);
    rules::judge(&context, &mut out);
    rules::assumed::note(&context, &mut out);
    out.say_expired(model);
    let verdict = out.verdict;
    let findings = Findings::new(out.findings);
    let expression = pinned(model, use_, context.day);
    Decision { verdict, model: Some(model), tier: context.tier, expression, findings }
}

fn context<'a>(
    records: &'a dyn Records,
    model: &'a Model,
    use_: &'a Use,
    present: Present,
    waivers: Waivers<'a>,
) -> Context<'a> {
    let activities = use_.activities;
    let day = Day { of_use: use_.at.unwrap_or(present.day), known: present.known };
    let (asked, found) = (Cell::default(), Cell::default());
    Context { records, model, use_, activities, asked, found, day, tier: tier_of(model, use_, day), waivers }
}

/// The license of the weights that the use is about: the pinned revision's, or that of its day, where it is known, else the
/// current one.
fn pinned<'a>(model: &'a Model, use_: &Use, day: Day) -> Option<&'a Expression> {
    let weights = model.weights()?;
    match rules::terms::place(weights, &use_.model_revision, day) {
        Placed::Period(expression) => Some(expression),
        Placed::Current | Placed::Nowhere { .. } => weights.expression.as_ref(),
    }
}

/// Whether the use is about another license than the current one, or its revision could not be placed.
fn is_of_another_license(model: &Model, use_: &Use, day: Day) -> bool {
    let Some(weights) = model.weights() else { return false };
    match rules::terms::place(weights, &use_.model_revision, day) {
        Placed::Current => false,
        Placed::Period(expression) => Some(expression) != weights.expression.as_ref(),
        Placed::Nowhere { .. } => true,
    }
}

/// The tier under the license of the weights that the use is about: an earlier one may have been less open.
fn tier_of(model: &Model, use_: &Use, day: Day) -> Option<Tier> {
    let expression = pinned(model, use_, day);
    if expression == model.weights().and_then(|weights| weights.expression.as_ref()) {
        return model.tier;
    }
    let mut components = model.components.clone();
    let weights = components.iter_mut().filter(|component| component.kind == ComponentKind::ModelWeights);
    weights.for_each(|weights| weights.expression = expression.cloned());
    tier(&components)
}

/// The verdict of [`evaluate`] alone: no finding is kept.
#[must_use]
pub fn verdict<'a>(
    records: &'a dyn Records,
    model: &'a Model,
    use_: &'a Use,
    present: impl Into<Present>,
    waivers: Waivers<'a>,
) -> Verdict {
    let context = context(records, model, use_, present.into(), waivers);
    let mut out = context.out_for_policies();
    rules::judge(&context, &mut out);
    out.verdict
}

/// The decision on a known offering whose model is not known: a review.
#[must_use]
pub fn unresolved<'a>(reason: &'a str) -> Decision<'a> {
    let finding = Finding {
        reason: Reason::ModelUnresolved,
        effect: Effect::Review,
        detail: Detail::Unresolved(reason),
        origin: Origin::default(),
        facts: Facts::NONE,
        missing: Facts::NONE,
        missing_measures: MeasureKeys::NONE,
        waived_by: None,
    };
    Decision {
        verdict: Verdict::NeedsReview,
        model: None,
        tier: None,
        expression: None,
        findings: Findings::new(vec![finding]),
    }
}

/// When a use happens.
#[derive(Clone, Copy, Debug)]
pub(super) struct Day {
    pub(super) of_use: Date,
    /// The day of which the records tell. On an earlier one other license versions may have held.
    pub(super) known: Date,
}

/// What every rule looks at.
pub(super) struct Context<'a> {
    pub(super) records: &'a dyn Records,
    /// The model that was asked for.
    pub(super) model: &'a Model,
    pub(super) use_: &'a Use,
    /// Those of the use, or one more while asking what an unlisted one would change.
    activities: Activities,
    /// Unlisted activities that a rule asked for: the first may lead to a review or a no, the second to a duty. What nobody
    /// asked for changes nothing.
    asked: Cell<(Activities, Activities)>,
    /// The license that was looked up last: who applied its terms asks for it once more to see what a descendant drops of it.
    found: Cell<Option<(&'a LicenseId, &'a License)>>,
    pub(super) day: Day,
    pub(super) tier: Option<Tier>,
    pub(super) waivers: Waivers<'a>,
}

impl<'a> Context<'a> {
    /// The same with one more activity.
    pub(super) fn with(&self, activity: Activity) -> Self {
        let Self { records, model, use_, day, tier, waivers, .. } = *self;
        let activities = self.activities.with(activity);
        let (asked, found) = (Cell::default(), Cell::default());
        Context { records, model, use_, activities, asked, found, day, tier, waivers }
    }

    /// Where the rules write to if only the verdict is wanted: policies may need their findings.
    pub(super) fn out_for_policies(&self) -> Out<'a> {
        if self.records.policies().look_at_decision() {
            Out::collecting(self.waivers)
        } else {
            Out::counting(self.waivers)
        }
    }

    /// The license of an id in a record.
    pub(super) fn license(&self, id: &'a LicenseId) -> Option<&'a License> {
        match self.found.get() {
            Some((known, license)) if std::ptr::eq(known, id) => Some(license),
            _ => {
                let license = self.records.license(id)?;
                self.found.set(Some((id, license)));
                Some(license)
            }
        }
    }

    /// Whether the use does something. `worst` is the gravest effect that it can lead to.
    pub(super) fn does(&self, activity: Activity, worst: Effect) -> bool {
        let listed = self.activities.has(activity);
        if !listed {
            let (grave, duty) = self.asked.get();
            match worst {
                Effect::Blocks | Effect::Review => self.asked.set((grave.with(activity), duty)),
                Effect::Duty => self.asked.set((grave, duty.with(activity))),
                Effect::Permits | Effect::Info => {}
            }
        }
        listed
    }

    /// Whether it does any of several things.
    pub(super) fn does_any(&self, activities: &[Activity], worst: Effect) -> bool {
        if activities.iter().any(|activity| self.activities.has(*activity)) {
            return true;
        }
        for activity in activities {
            self.does(*activity, worst);
        }
        false
    }

    /// Further training or another change.
    pub(super) fn changes(&self, worst: Effect) -> bool {
        self.does_any(&[Activity::FineTune, Activity::Modify], worst)
    }

    /// Either kind of training on outputs; training competing models is training other models, and nobody passes on a
    /// model that was trained on outputs without such training.
    pub(super) fn trains(&self, worst: Effect) -> bool {
        const TRAINING: [Activity; 3] =
            [Activity::TrainOtherModels, Activity::TrainCompetingModels, Activity::DistributeTrainedModel];
        self.does_any(&TRAINING, worst)
    }

    /// Whether the use does nothing beyond running the model.
    pub(super) fn only_runs(&self) -> bool {
        !self.does_any(Activity::ALL, Effect::Blocks)
    }

    /// Unlisted activities that may worsen a verdict.
    pub(super) fn may_worsen(&self, verdict: Verdict) -> Activities {
        let (grave, duty) = self.asked.get();
        // A policy may block what has a duty.
        let duties_count = verdict < Verdict::EligibleWithConditions || self.records.policies().look_at_decision();
        let counts = move |activity: &Activity| grave.has(*activity) || duties_count && duty.has(*activity);
        Activity::ALL.iter().copied().filter(counts).collect()
    }

    /// Whether weights leave for devices, which counts as redistribution.
    pub(super) fn is_edge(&self) -> bool {
        self.use_.hosting == Some(Hosting::EdgeOffline)
    }

    /// Whether the license of the weights matters: not for a model that is reached through a service only.
    pub(super) fn weights_matter(&self) -> bool {
        self.tier != Some(Tier::Proprietary)
    }
}

/// The terms of one license as they are applied to a use.
#[derive(Clone, Copy)]
pub(super) struct Terms<'a, 'c> {
    pub(super) context: &'c Context<'a>,
    /// The model whose license it is: the one asked for, or an ancestor.
    pub(super) model: &'a Model,
    pub(super) license: &'a License,
    /// What is used is a changed version of `model`, whose license it is: true for ancestors.
    pub(super) derivative: bool,
    /// Whether `model` is the one whose license it is; else that is no record, and `model` names who was made from it.
    pub(super) recorded: bool,
}

impl<'a> Terms<'a, '_> {
    /// The model whose license it is, as far as it is known what that is.
    pub(super) fn licensed(&self) -> Option<&'a Model> {
        self.recorded.then_some(self.model)
    }

    /// Where a finding on a clause comes from.
    pub(super) fn origin(&self, clause: &'a str) -> Origin<'a> {
        Origin { model: Some(self.model), license: Some(self.license), clause }
    }
}

/// What the rules write into: findings, or only the verdict they lead to.
pub(super) struct Out<'a> {
    pub(super) findings: Vec<Finding<'a>>,
    pub(super) verdict: Verdict,
    /// The same without findings that wait for facts.
    settled: Verdict,
    /// The facts that they wait for.
    waits_for: Missing<'a>,
    /// How both were before the first finding of a policy.
    before_policies: Option<(Verdict, Missing<'a>)>,
    /// Duties so far; part of the choice between the branches of an `OR`.
    pub(super) duties: usize,
    /// A review that no fact of the use would settle; part of that choice, too.
    pub(super) stuck: bool,
    collects: bool,
    waivers: Waivers<'a>,
    /// Expired waivers that would have silenced a finding.
    expired: Vec<&'a Waiver>,
}

/// Room for the findings of most decisions.
const FINDINGS: usize = 32;

impl<'a> Out<'a> {
    pub(super) fn collecting(waivers: Waivers<'a>) -> Self {
        Self { findings: Vec::with_capacity(FINDINGS), collects: true, ..Self::counting(waivers) }
    }

    /// Keeps the verdict only.
    pub(super) fn counting(waivers: Waivers<'a>) -> Self {
        let (findings, expired) = (Vec::new(), Vec::new());
        Self {
            findings,
            verdict: Verdict::Eligible,
            settled: Verdict::Eligible,
            waits_for: Missing::NONE,
            before_policies: None,
            duties: 0,
            stuck: false,
            collects: false,
            waivers,
            expired,
        }
    }

    /// One of the same kind, for a branch.
    pub(super) fn branch(&self) -> Self {
        if self.collects { Self::collecting(self.waivers) } else { Self::counting(self.waivers) }
    }

    /// Takes over what a branch found.
    pub(super) fn append(&mut self, branch: Self) {
        self.verdict = self.verdict.max(branch.verdict);
        self.settled = self.settled.max(branch.settled);
        self.waits_for = self.waits_for.and(branch.waits_for);
        self.duties += branch.duties;
        self.stuck |= branch.stuck;
        self.findings.extend(branch.findings);
        self.expired.extend(branch.expired);
    }

    fn before_policies(&self) -> (Verdict, Missing<'a>) {
        self.before_policies.unwrap_or((self.settled, self.waits_for))
    }

    /// The facts that findings wait for, those of policies left out.
    pub(super) fn waits_for(&self) -> Missing<'a> {
        self.before_policies().1
    }

    /// What was found before policies, for them to look at.
    pub(super) fn policy_case(&self, context: &Context<'a>) -> PolicyCase<'_, 'a> {
        let (settled, Missing { facts, measures }) = self.before_policies();
        PolicyCase {
            model: context.model,
            use_: context.use_,
            activities: context.activities,
            settled,
            findings: &self.findings,
            waits_for: (facts, measures),
            more_activities: false,
            of_another_license: is_of_another_license(context.model, context.use_, context.day),
            vocabulary: context.records.vocabulary(),
        }
    }

    #[inline]
    pub(super) fn push(&mut self, finding: Finding<'a>) {
        if self.before_policies.is_none() && finding.policy().is_some() {
            self.before_policies = Some((self.settled, self.waits_for));
        }
        if !self.waivers.list.is_empty() {
            self.push_unless_waived(finding);
            return;
        }
        self.count_finding(&finding);
        if self.collects {
            self.findings.push(finding);
        }
    }

    fn count_finding(&mut self, finding: &Finding<'a>) {
        let waits = finding.waits();
        self.count(finding.effect, waits);
        if waits && finding.effect == Effect::Review {
            let (facts, measures) = (finding.missing, finding.missing_measures);
            self.waits_for = self.waits_for.and(Missing { facts, measures });
        }
    }

    /// What a finding leads to; it waits for facts, or not.
    fn count(&mut self, effect: Effect, waits: bool) {
        let verdict = effect.verdict();
        self.verdict = self.verdict.max(verdict);
        if !waits {
            self.settled = self.settled.max(verdict);
        }
        self.duties += usize::from(effect == Effect::Duty);
        self.stuck |= effect == Effect::Review && !waits;
    }

    fn push_unless_waived(&mut self, mut finding: Finding<'a>) {
        let (waived_by, expired) = self.waivers.of(&finding);
        finding.waived_by = waived_by;
        if waived_by.is_none() {
            self.count_finding(&finding);
        }
        if self.collects {
            self.expired.extend(expired.filter(|_| waived_by.is_none()));
            self.findings.push(finding);
        }
    }

    /// Whether findings are kept, and not only what they lead to.
    pub(super) fn collects(&self) -> bool {
        self.collects
    }

    /// A finding for which no fact is missing.
    pub(super) fn say(&mut self, reason: Reason, effect: Effect, detail: Detail<'a>, origin: Origin<'a>, facts: Facts) {
        if !self.collects && self.waivers.list.is_empty() {
            self.count(effect, false);
            return;
        }
        self.push(Finding {
            reason,
            effect,
            detail,
            origin,
            facts,
            missing: Facts::NONE,
            missing_measures: MeasureKeys::NONE,
            waived_by: None,
        });
    }

    /// Names the expired waivers that would have silenced a finding, each once.
    fn say_expired(&mut self, model: &'a Model) {
        let mut expired = std::mem::take(&mut self.expired);
        expired.sort_by(|a, b| a.name.cmp(&b.name));
        expired.dedup_by(|a, b| a.name == b.name);
        for waiver in expired {
            let origin = Origin { model: Some(model), ..Origin::default() };
            self.say(Reason::WaiverExpired, Effect::Info, Detail::Waiver(waiver), origin, Facts::NONE);
        }
    }

    /// A review; filling in `missing` settles it.
    pub(super) fn review(
        &mut self,
        reason: Reason,
        detail: Detail<'a>,
        origin: Origin<'a>,
        facts: Facts,
        missing: Missing<'a>,
    ) {
        let Missing { facts: missing, measures: missing_measures } = missing;
        let waived_by = None;
        self.push(Finding {
            reason,
            effect: Effect::Review,
            detail,
            origin,
            facts,
            missing,
            missing_measures,
            waived_by,
        });
    }
}

/// The facts that a review waits for.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Missing<'a> {
    pub(super) facts: Facts,
    pub(super) measures: MeasureKeys<'a>,
}

impl<'a> Missing<'a> {
    pub(super) const NONE: Self = Self { facts: Facts::NONE, measures: MeasureKeys::NONE };

    pub(super) fn fact(fact: Fact) -> Self {
        Self::facts(Facts::one(fact))
    }

    pub(super) fn facts(facts: Facts) -> Self {
        Self { facts, measures: MeasureKeys::NONE }
    }

    /// Besides some facts.
    #[must_use]
    pub(super) fn with_facts(self, facts: Facts) -> Self {
        Self { facts: self.facts.and(facts), ..self }
    }

    /// Besides an exact figure, where it can be named.
    #[must_use]
    pub(super) fn with_measure(self, key: Option<MeasureKey<'a>>) -> Self {
        Self { measures: self.measures.and(MeasureKeys::one(key)), ..self }
    }

    #[must_use]
    pub(super) fn and(self, other: Self) -> Self {
        Self { facts: self.facts.and(other.facts), measures: self.measures.and(other.measures) }
    }
}
