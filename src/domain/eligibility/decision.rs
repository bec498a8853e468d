//! Decisions: a verdict with the findings it follows from.

use super::fact::{Facts, MeasureKeys};
use super::message::Detail;
use super::policy::{MissingLabels, Policy};
use super::reason::Reason;
use super::waiver::Waiver;
use crate::domain::license::{Duty, Expression, License};
use crate::domain::model::Model;
use crate::domain::openness::Tier;
use crate::domain::words::words;

words! {
    /// The answer, least to most grave.
    pub enum Verdict {
        /// May be used as described.
        Eligible = "ELIGIBLE",
        /// May be used once the duties are done.
        EligibleWithConditions = "ELIGIBLE_WITH_CONDITIONS",
        /// Somebody has to look.
        NeedsReview = "NEEDS_REVIEW",
        /// May not be used as described.
        Ineligible = "INELIGIBLE",
    }
}

words! {
    /// What a finding does to the verdict, gravest first: the order in which findings are shown.
    pub enum Effect {
        /// Makes it ineligible.
        Blocks = "BLOCKS",
        /// Makes it need a review at least.
        Review = "REVIEW",
        /// Makes it eligible with conditions at least.
        Duty = "DUTY",
        /// Speaks for the use.
        Permits = "PERMITS",
        /// Worth knowing.
        Info = "INFO",
    }
}

impl Effect {
    /// The verdict that a finding with this effect leads to by itself.
    #[must_use]
    pub fn verdict(self) -> Verdict {
        match self {
            Self::Blocks => Verdict::Ineligible,
            Self::Review => Verdict::NeedsReview,
            Self::Duty => Verdict::EligibleWithConditions,
            Self::Permits | Self::Info => Verdict::Eligible,
        }
    }
}

/// Where a finding comes from.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Origin<'a> {
    /// The model, itself or an ancestor.
    pub model: Option<&'a Model>,
    /// The license.
    pub license: Option<&'a License>,
    /// Clause of the license.
    pub clause: &'a str,
}

// A decision writes dozens of findings, and what is larger than this is moved by a call.
const _: () = assert!(size_of::<Finding<'_>>() <= 128);

/// One reason of a decision. It borrows from the records; its message is written only when it is asked for.
#[derive(Clone, Debug, PartialEq)]
pub struct Finding<'a> {
    /// Stable code.
    pub reason: Reason,
    /// What it does to the verdict.
    pub effect: Effect,
    /// What the message says.
    pub detail: Detail<'a>,
    /// Where it comes from.
    pub origin: Origin<'a>,
    /// The facts it looked at.
    pub facts: Facts,
    /// Facts whose value would settle it.
    pub missing: Facts,
    /// The exact figures that would settle it.
    pub missing_measures: MeasureKeys<'a>,
    /// The active waiver that silenced it.
    pub waived_by: Option<&'a Waiver>,
}

impl<'a> Finding<'a> {
    /// What it does to the verdict once waivers are looked at: a silenced one does nothing.
    #[must_use]
    pub fn acts(&self) -> Option<Effect> {
        if self.waived_by.is_some() { None } else { Some(self.effect) }
    }

    /// Whether it waits for facts of the use.
    #[must_use]
    pub fn waits(&self) -> bool {
        !self.missing.is_empty() || !self.missing_measures.is_empty() || !self.missing_labels().is_empty()
    }

    /// Labels of the use whose values would settle it.
    #[must_use]
    pub fn missing_labels(&self) -> MissingLabels<'a> {
        match self.detail {
            Detail::Policy { missing_labels, .. } => missing_labels,
            _ => MissingLabels::default(),
        }
    }

    /// The policy that it is of.
    #[must_use]
    pub fn policy(&self) -> Option<&'a Policy> {
        match self.detail {
            Detail::Policy { policy, .. } => Some(policy),
            _ => None,
        }
    }

    /// Field path under `Use` of the requirement that is not met, if it is about one.
    #[must_use]
    pub fn requirement(&self) -> Option<&'static str> {
        match self.detail {
            Detail::Need(need) => Some(need.path()),
            Detail::NotAllowed { denied: true, .. } => Some("requirements.license_deny"),
            Detail::NotAllowed { denied: false, .. } => Some("requirements.license_allow"),
            _ => None,
        }
    }

    /// The duty, for a finding that asks for one.
    #[must_use]
    pub fn duty(&self) -> Option<&'a Duty> {
        match self.detail {
            Detail::Duty { duty, .. } if self.acts() == Some(Effect::Duty) => Some(duty),
            _ => None,
        }
    }
}

/// Verdict and findings.
#[derive(Clone, Debug, PartialEq)]
pub struct Decision<'a> {
    /// The gravest finding's that is not waived.
    pub verdict: Verdict,
    /// The model; `None`: the id is that of an offering whose model is not known.
    pub model: Option<&'a Model>,
    /// Its tier.
    pub tier: Option<Tier>,
    /// The license of its weights that was judged: the pinned revision's, or the current one.
    pub expression: Option<&'a Expression>,
    /// Why.
    pub findings: Findings<'a>,
}

/// The findings of a decision. They come gravest first, else in the order of the rules.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Findings<'a>(Vec<Finding<'a>>);

impl<'a> Findings<'a> {
    /// Findings in the order of the rules. They stay where they are: sorting would move every one of them, and who reads
    /// them goes through them once.
    pub(super) fn new(in_order_of_rules: Vec<Finding<'a>>) -> Self {
        Self(in_order_of_rules)
    }

    /// Gravest first. A silenced finding decides nothing, and is still worth more than a note.
    pub fn iter(&self) -> impl Iterator<Item = &Finding<'a>> + Clone {
        let of =
            |effect: Effect| self.0.iter().filter(move |finding| finding.acts().unwrap_or(Effect::Permits) == effect);
        Effect::ALL.iter().copied().flat_map(of)
    }

    /// Those that do this to the verdict, in the same order.
    pub(super) fn that(&self, effect: Effect) -> impl Iterator<Item = &Finding<'a>> + Clone {
        self.0.iter().filter(move |finding| finding.acts() == Some(effect))
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl<'a> Decision<'a> {
    /// Field paths under `Use` whose value would settle a review, without repeats.
    #[must_use]
    pub fn missing_facts(&self) -> Vec<String> {
        let reviews = || self.findings.that(Effect::Review);
        if reviews().next().is_none() {
            return Vec::new();
        }
        let facts = reviews().fold(Facts::NONE, |all, finding| all.and(finding.missing));
        let mut paths: Vec<String> = facts.iter().map(|fact| fact.as_str().to_owned()).collect();
        let measures = reviews().flat_map(|f| f.missing_measures.iter()).map(|key| key.to_string());
        let labels = reviews().flat_map(|f| f.missing_labels().iter()).map(|label| format!("labels.{label}"));
        for path in measures.chain(labels) {
            if !paths.contains(&path) {
                paths.push(path);
            }
        }
        paths
    }

    /// The findings that ask for a duty.
    pub fn duties(&self) -> impl Iterator<Item = &Finding<'a>> {
        self.findings.that(Effect::Duty)
    }

    /// The licenses it rests on, without repeats.
    #[must_use]
    pub fn licenses(&self) -> Vec<&'a License> {
        let mut out: Vec<&License> = Vec::new();
        for license in self.findings.iter().filter_map(|f| f.origin.license) {
            if !out.iter().any(|known| known.id == license.id) {
                out.push(license);
            }
        }
        out
    }
}
