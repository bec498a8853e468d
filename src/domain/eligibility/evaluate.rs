//! The evaluator: access, terms, lineage, requirements, then the verdict.

use super::decision::{Decision, Effect, Finding, Origin, Verdict};
use super::fact::{Fact, Facts, MeasureKey, MeasureKeys};
use super::intended_use::{Activities, Hosting, Use};
use super::message::Detail;
use super::reason::Reason;
use super::rules;
use crate::domain::date::Date;
use crate::domain::license::License;
use crate::domain::model::Model;
use crate::domain::name::{LicenseId, ModelName};
use crate::domain::openness::Tier;
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
}

/// Decides whether `model` may be used as described. `now` stands in for an absent `at`.
///
/// The answer depends on nothing but the arguments. It is never an error: what cannot be decided is a review.
#[must_use]
pub fn evaluate<'a>(records: &'a dyn Records, model: &'a Model, use_: &'a Use, now: Date) -> Decision<'a> {
    let context =
        Context { records, model, use_, activities: use_.activities, at: use_.at.unwrap_or(now), tier: model.tier };
    let mut out = Out::collecting();
    rules::judge(&context, &mut out);
    rules::assumed::note(&context, &mut out);
    let verdict = out.verdict;
    let mut findings = out.findings;
    findings.sort_by_key(|finding| finding.effect);
    Decision { verdict, model: Some(model), tier: model.tier, findings }
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
    };
    Decision { verdict: Verdict::NeedsReview, model: None, tier: None, findings: vec![finding] }
}

/// What every rule looks at.
#[derive(Clone, Copy)]
pub(super) struct Context<'a> {
    pub(super) records: &'a dyn Records,
    /// The model that was asked for.
    pub(super) model: &'a Model,
    pub(super) use_: &'a Use,
    /// Those of the use, or one more while asking what an unlisted one would change.
    pub(super) activities: Activities,
    /// The day of the use. Waivers will look at it.
    #[expect(dead_code, reason = "license versions and waivers by date join with their own issue")]
    pub(super) at: Date,
    pub(super) tier: Option<Tier>,
}

impl Context<'_> {
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
}

impl<'a> Terms<'a, '_> {
    /// Where a finding on a clause comes from.
    pub(super) fn origin(&self, clause: &'a str) -> Origin<'a> {
        Origin { model: Some(self.model), license: Some(self.license), clause, requirement: "" }
    }
}

/// What the rules write into: findings, or only the verdict they lead to.
pub(super) struct Out<'a> {
    pub(super) findings: Vec<Finding<'a>>,
    pub(super) verdict: Verdict,
    /// Duties so far; part of the choice between the branches of an `OR`.
    pub(super) duties: usize,
    /// A review that no fact of the use would settle; part of that choice, too.
    pub(super) stuck: bool,
    collects: bool,
}

impl<'a> Out<'a> {
    pub(super) fn collecting() -> Self {
        Self { findings: Vec::with_capacity(16), collects: true, ..Self::counting() }
    }

    /// Keeps the verdict only.
    pub(super) fn counting() -> Self {
        Self { findings: Vec::new(), verdict: Verdict::Eligible, duties: 0, stuck: false, collects: false }
    }

    /// One of the same kind, for a branch.
    pub(super) fn branch(&self) -> Self {
        if self.collects { Self::collecting() } else { Self::counting() }
    }

    /// Takes over what a branch found.
    pub(super) fn append(&mut self, branch: Self) {
        self.verdict = self.verdict.max(branch.verdict);
        self.duties += branch.duties;
        self.stuck |= branch.stuck;
        self.findings.extend(branch.findings);
    }

    pub(super) fn push(&mut self, finding: Finding<'a>) {
        self.verdict = self.verdict.max(finding.effect.verdict());
        if finding.effect == Effect::Duty {
            self.duties += 1;
        }
        let waits = !finding.missing.is_empty() || !finding.missing_measures.is_empty();
        self.stuck |= finding.effect == Effect::Review && !waits;
        if self.collects {
            self.findings.push(finding);
        }
    }

    /// A finding for which no fact is missing.
    pub(super) fn say(&mut self, reason: Reason, effect: Effect, detail: Detail<'a>, origin: Origin<'a>, facts: Facts) {
        self.push(Finding {
            reason,
            effect,
            detail,
            origin,
            facts,
            missing: Facts::NONE,
            missing_measures: MeasureKeys::NONE,
        });
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
        self.push(Finding { reason, effect: Effect::Review, detail, origin, facts, missing, missing_measures });
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
