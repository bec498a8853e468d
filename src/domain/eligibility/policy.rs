//! An organisation's own policies, as the evaluator sees them: an effect, and a condition that it asks without knowing what it is.

use super::decision::{Effect, Finding, Verdict};
use super::fact::{Facts, MeasureKeys};
use super::intended_use::{Activities, Activity, Use};
use super::reason::Reason;
use crate::domain::license::DutyKind;
use crate::domain::model::Model;
use crate::domain::vocabulary::Vocabulary;
use crate::domain::words::words;

words! {
    /// What a policy does to a check that meets its condition.
    pub enum PolicyEffect {
        /// Makes it ineligible.
        Block = "BLOCK",
        /// Makes it need a review at least.
        Review = "REVIEW",
        /// Makes it eligible with conditions at least.
        Duty = "DUTY",
    }
}

impl PolicyEffect {
    /// The effect of its finding.
    #[must_use]
    pub fn effect(self) -> Effect {
        match self {
            Self::Block => Effect::Blocks,
            Self::Review => Effect::Review,
            Self::Duty => Effect::Duty,
        }
    }
}

/// A policy, without its condition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    /// `policies/{id}`.
    pub name: Box<str>,
    /// What it does.
    pub effect: PolicyEffect,
    /// What it tells whoever meets it.
    pub message: Box<str>,
    /// Whether it acts; else it only says what it would do.
    pub is_enforced: bool,
    /// Whether no waiver silences it.
    pub is_unwaivable: bool,
}

/// What the condition of a policy is asked of: a check, and the decision on it before policies.
pub struct PolicyCase<'c, 'a> {
    pub(super) model: &'a Model,
    pub(super) use_: &'a Use,
    pub(super) activities: Activities,
    pub(super) settled: Verdict,
    pub(super) findings: &'c [Finding<'a>],
    pub(super) waits_for: (Facts, MeasureKeys<'a>),
    pub(super) of_another_license: bool,
    pub(super) more_activities: bool,
    pub(super) vocabulary: &'a Vocabulary,
}

impl<'a> PolicyCase<'_, 'a> {
    /// The model.
    #[must_use]
    pub fn model(&self) -> &'a Model {
        self.model
    }

    /// The use, but for what it does.
    #[must_use]
    pub fn use_(&self) -> &'a Use {
        self.use_
    }

    /// What the use does beyond running the model.
    #[must_use]
    pub fn activities(&self) -> Activities {
        self.activities
    }

    /// Whether it may do more besides: then an activity that is not among them is not known, and not left undone.
    #[must_use]
    pub fn may_do_more(&self) -> bool {
        self.more_activities
    }

    /// Whether the license that is judged is not the record's current one, or could not be placed.
    #[must_use]
    pub fn is_of_another_license(&self) -> bool {
        self.of_another_license
    }

    /// The shared words.
    #[must_use]
    pub fn vocabulary(&self) -> &'a Vocabulary {
        self.vocabulary
    }

    /// Whether findings wait for facts of the use: once those are known, the decision may be graver, have more duties and other
    /// reasons than are told here. So a no that rests on it stays a no.
    #[must_use]
    pub fn is_open(&self) -> bool {
        !self.waits_for.0.is_empty() || !self.waits_for.1.is_empty()
    }

    /// The verdict before policies, as far as it waits for nothing.
    #[must_use]
    pub fn verdict(&self) -> Verdict {
        self.settled
    }

    /// The reasons of findings that act on the verdict and wait for nothing.
    pub fn reasons(&self) -> impl Iterator<Item = Reason> {
        let acts = |finding: &&Finding<'_>| {
            matches!(finding.acts(), Some(Effect::Blocks | Effect::Review | Effect::Duty)) && !finding.waits()
        };
        let others = self.findings.iter().filter(|finding| finding.policy().is_none());
        others.filter(acts).map(|finding| finding.reason)
    }

    /// The duties that the use starts.
    pub fn duties(&self) -> impl Iterator<Item = DutyKind> {
        self.findings.iter().filter_map(|finding| finding.duty()).map(|duty| duty.kind)
    }
}

/// Labels that a condition asks for and a use does not have.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MissingLabels<'a> {
    /// Every label that the condition asks for.
    labels: &'a [Box<str>],
    /// Which of them are missing, a bit each.
    missing: u32,
}

impl<'a> MissingLabels<'a> {
    /// None of some labels, of which those beyond 32 are asked for once the others are known.
    #[must_use]
    pub fn none_of(labels: &'a [Box<str>]) -> Self {
        Self { labels, missing: 0 }
    }

    /// Adds one by its key.
    pub fn add(&mut self, key: &str) {
        if let Some(at) = self.labels.iter().position(|label| **label == *key).filter(|at| *at < 32) {
            self.missing |= 1 << at;
        }
    }

    /// Whether none is missing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.missing == 0
    }

    /// Their keys.
    pub fn iter(&self) -> impl Iterator<Item = &'a str> + use<'a> {
        let missing = self.missing;
        let labels = self.labels.iter().enumerate().take(32);
        labels.filter(move |(at, _)| missing & (1 << at) != 0).map(|(_, label)| &**label)
    }
}

/// A policy whose condition holds of a check, or may hold.
#[derive(Clone, Copy, Debug)]
pub struct Met<'a> {
    /// The policy.
    pub policy: &'a Policy,
    /// Whether its condition holds; else that is not known.
    pub is_certain: bool,
    /// The facts of the use that it looks at.
    pub facts: Facts,
    /// Facts of the use whose value would help to tell.
    pub missing: Facts,
    /// Labels of the use that would.
    pub missing_labels: MissingLabels<'a>,
    /// Whether it hangs on the decision before policies, of which some waits for facts.
    pub waits_for_others: bool,
}

/// The policies of a registry, as the evaluator asks them.
pub trait Policies {
    /// Whether there is none.
    fn is_empty(&self) -> bool;

    /// Whether one that is enforced looks at the decision before policies, so that its findings are needed.
    fn look_at_decision(&self) -> bool;

    /// Activities that conditions of enforced policies ask for, where the rest of the case does not settle them. `case` may do more.
    fn asked_activities(&self, case: &PolicyCase<'_, '_>) -> Activities;

    /// Holds policies against a check, and tells those that are met or may be.
    fn meet<'a>(&'a self, case: &PolicyCase<'_, 'a>, which: Which, met: &mut dyn FnMut(Met<'a>));
}

/// Which policies are held against a check.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Which {
    /// All of them.
    All,
    /// Those that can change a verdict.
    Enforced,
    /// Of those, the ones that one more activity can change: they ask for it.
    AskingFor(Activity),
    /// The same, and those that look at the decision before policies, which it has changed.
    ChangedBy(Activity),
}

/// No policies.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoPolicies;

impl Policies for NoPolicies {
    fn is_empty(&self) -> bool {
        true
    }

    fn look_at_decision(&self) -> bool {
        false
    }

    fn asked_activities(&self, _: &PolicyCase<'_, '_>) -> Activities {
        Activities::default()
    }

    fn meet<'a>(&'a self, _: &PolicyCase<'_, 'a>, _: Which, _: &mut dyn FnMut(Met<'a>)) {}
}
