//! The Model Openness Framework: which class a model reaches, and what is missing for the next one.
//!
//! The framework itself is data. This file knows only how such a framework is applied.

use std::collections::{BTreeMap, BTreeSet};

use super::ContentType;
use crate::domain::date::Date;
use crate::domain::model::{Availability, Component, ComponentKind, Evidence};
use crate::domain::name::LicenseId;
use crate::domain::words::words;

type Text = Box<str>;

words! {
    /// A class of the framework, best first.
    pub enum MofClass {
        /// Open Science.
        I = "CLASS_I",
        /// Open Tooling.
        II = "CLASS_II",
        /// Open Model.
        III = "CLASS_III",
    }
}

/// One version of the framework.
#[derive(Clone, Debug, PartialEq)]
pub struct MofFramework {
    /// Its version.
    pub version: Text,
    /// Date of that version.
    pub date: Date,
    /// Where it was taken from.
    pub source: Text,
    /// What each part consists of.
    pub content: BTreeMap<ComponentKind, ContentType>,
    /// What each class requires beyond the classes below it.
    pub classes: BTreeMap<MofClass, Vec<Requirement>>,
    /// The licenses that count as open.
    pub licenses: MofLicenses,
}

/// One thing that a class requires.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Requirement {
    /// The part that meets it.
    pub kind: ComponentKind,
    /// Parts that meet it in its place.
    pub alternatives: Vec<ComponentKind>,
}

/// The licenses that count as open, whatever they are put on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MofLicenses {
    /// Every license that the Open Source Initiative approved, by the SPDX list.
    pub osi_approved: bool,
    /// Every license that the Free Software Foundation calls free, by the SPDX list.
    pub fsf_libre: bool,
    /// Licenses accepted by name, each with the content it suits.
    pub named: BTreeMap<LicenseId, Vec<ContentType>>,
}

/// Where a model stands.
#[derive(Clone, Debug, PartialEq)]
pub struct Mof {
    /// Version of the framework.
    pub framework_version: Text,
    /// The class it reaches; `None`: none.
    pub class: Option<MofClass>,
    /// The next better class; `None`: there is none.
    pub next_class: Option<MofClass>,
    /// What is missing for it. Where one of several parts would do, the first of them.
    pub missing_for_next: Vec<ComponentKind>,
    /// Share of the required parts of each class that are met, in percent, best class first.
    pub progress: Vec<(MofClass, f64)>,
}

impl MofFramework {
    /// The class of a model by its components.
    #[must_use]
    pub fn classify(&self, components: &[Component]) -> Mof {
        let open: BTreeSet<_> = components.iter().filter(|c| self.is_open(c)).map(|c| c.kind).collect();
        let mut mof = Mof {
            framework_version: self.version.clone(),
            class: None,
            next_class: None,
            missing_for_next: Vec::new(),
            progress: Vec::new(),
        };
        for &class in MofClass::ALL.iter().rev() {
            // A class counts from nothing until the one below it is reached.
            if mof.next_class.is_some() {
                mof.progress.push((class, 0.0));
                continue;
            }
            let tally = Tally::of(&self.required(class), &open);
            mof.progress.push((class, tally.percent()));
            if tally.is_complete() {
                mof.class = Some(class);
            } else {
                mof.next_class = Some(class);
                mof.missing_for_next = tally.missing;
            }
        }
        mof.progress.reverse();
        mof
    }

    /// Whether a part counts: it can be had, and its license is one that the framework accepts.
    #[must_use]
    pub fn is_open(&self, component: &Component) -> bool {
        let can_be_had = matches!(component.availability, Some(Availability::Available | Availability::Gated));
        let contradicted = component.evidence == Evidence::Conflict;
        can_be_had
            && !contradicted
            && component.expression.as_ref().is_some_and(|e| e.satisfied_by(&|id| self.licenses.accept(id)))
    }

    // Everything a class requires: the classes build on each other, so that of the lower ones too.
    fn required(&self, class: MofClass) -> Vec<&Requirement> {
        let this_and_below = self.classes.iter().rev().filter(|(other, _)| **other >= class);
        this_and_below.flat_map(|(_, requirements)| requirements).collect()
    }
}

impl MofLicenses {
    /// Whether a license counts as open.
    #[must_use]
    pub fn accept(&self, id: &LicenseId) -> bool {
        if self.named.contains_key(id) {
            return true;
        }
        spdx::license_id(id.as_str())
            .is_some_and(|l| (self.osi_approved && l.is_osi_approved()) || (self.fsf_libre && l.is_fsf_free_libre()))
    }
}

/// How many of the requirements of a class are met.
#[derive(Default)]
struct Tally {
    met: u32,
    missing: Vec<ComponentKind>,
}

impl Tally {
    fn of(required: &[&Requirement], open: &BTreeSet<ComponentKind>) -> Self {
        let mut tally = Self::default();
        for requirement in required {
            if open.contains(&requirement.kind) {
                tally.met += 1;
                continue;
            }
            match requirement.alternatives.iter().find(|kind| open.contains(kind)) {
                // The stand-in is required itself and counts there: one part meets one requirement, and this one lapses.
                Some(stand_in) if required.iter().any(|other| other.kind == *stand_in) => {}
                Some(_) => tally.met += 1,
                None => tally.missing.push(requirement.kind),
            }
        }
        tally
    }

    // A class that requires nothing would be reached by every model; it is reached by none.
    fn is_complete(&self) -> bool {
        self.met > 0 && self.missing.is_empty()
    }

    fn percent(&self) -> f64 {
        let missing: u32 = self.missing.iter().map(|_| 1).sum();
        let total = self.met + missing;
        if total == 0 {
            return 0.0;
        }
        f64::from(self.met) / f64::from(total) * 100.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::license::Expression;
    use crate::domain::model::Evidence;

    fn only(kind: ComponentKind) -> Requirement {
        Requirement { kind, alternatives: Vec::new() }
    }

    /// Class III: weights, and a report or a paper. Class II: nothing more than code. Class I: the paper itself.
    fn framework() -> MofFramework {
        let report =
            Requirement { kind: ComponentKind::TechnicalReport, alternatives: vec![ComponentKind::ResearchPaper] };
        MofFramework {
            version: "test".into(),
            date: Date::parse("2024").unwrap(),
            source: "".into(),
            content: BTreeMap::new(),
            classes: BTreeMap::from([
                (MofClass::III, vec![only(ComponentKind::ModelWeights), report]),
                (MofClass::II, vec![only(ComponentKind::TrainingCode)]),
                (MofClass::I, vec![only(ComponentKind::ResearchPaper), only(ComponentKind::TrainingData)]),
            ]),
            licenses: MofLicenses {
                osi_approved: true,
                fsf_libre: false,
                named: BTreeMap::from([(LicenseId::new("CC-BY-4.0").unwrap(), vec![ContentType::Data])]),
            },
        }
    }

    fn part(kind: ComponentKind, availability: Option<Availability>, license: &str) -> Component {
        Component {
            kind,
            availability,
            expression: Expression::parse(license).ok(),
            declared_license: license.into(),
            evidence: Evidence::GeneralKnowledge,
            license_periods: Vec::new(),
            conclusion: None,
        }
    }

    fn classify(kinds: &[ComponentKind]) -> Mof {
        let parts: Vec<_> = kinds.iter().map(|k| part(*k, Some(Availability::Available), "MIT")).collect();
        framework().classify(&parts)
    }

    #[test]
    fn a_part_counts_when_it_can_be_had_under_an_accepted_license() {
        use Availability as A;
        let open =
            |availability, license| framework().is_open(&part(ComponentKind::ModelWeights, availability, license));
        assert!(open(Some(A::Available), "MIT"));
        assert!(open(Some(A::Gated), "CC-BY-4.0"));
        assert!(open(Some(A::Available), "LicenseRef-X OR MIT"));
        assert!(open(Some(A::Available), "GPL-2.0-or-later"));
        assert!(!open(Some(A::Available), "LicenseRef-X AND MIT"));
        assert!(!open(Some(A::Available), "Apache-1.0"), "free by the FSF only, which this framework does not ask");
        assert!(!open(Some(A::Available), ""));
        for availability in [None, Some(A::Partial), Some(A::Withdrawn), Some(A::Unavailable)] {
            assert!(!open(availability, "MIT"), "{availability:?}");
        }
    }

    #[test]
    fn a_class_starts_when_the_one_below_is_reached() {
        use ComponentKind as K;
        let none = classify(&[K::TechnicalReport, K::TrainingCode, K::ResearchPaper, K::TrainingData]);
        assert_eq!((none.class, none.next_class), (None, Some(MofClass::III)));
        assert_eq!(none.missing_for_next, [K::ModelWeights]);
        assert_eq!(none.progress, [(MofClass::I, 0.0), (MofClass::II, 0.0), (MofClass::III, 50.0)]);

        let third = classify(&[K::TechnicalReport, K::ModelWeights, K::TrainingData]);
        assert_eq!((third.class, third.next_class), (Some(MofClass::III), Some(MofClass::II)));
        assert_eq!(third.missing_for_next, [K::TrainingCode]);
        assert_eq!(third.progress, [(MofClass::I, 0.0), (MofClass::II, 2.0 / 3.0 * 100.0), (MofClass::III, 100.0)]);
    }

    #[test]
    fn a_stand_in_counts_once() {
        use ComponentKind as K;
        let paper = classify(&[K::ResearchPaper, K::ModelWeights, K::TrainingCode]);
        assert_eq!((paper.class, paper.next_class), (Some(MofClass::II), Some(MofClass::I)));
        assert_eq!(paper.progress, [(MofClass::I, 75.0), (MofClass::II, 100.0), (MofClass::III, 100.0)]);

        let both = classify(&[K::ResearchPaper, K::TechnicalReport, K::ModelWeights, K::TrainingCode]);
        assert_eq!(both.progress.first(), Some(&(MofClass::I, 80.0)));
    }

    #[test]
    fn the_best_class_has_no_next() {
        use ComponentKind as K;
        let best = classify(&[K::ResearchPaper, K::ModelWeights, K::TrainingCode, K::TrainingData]);
        assert_eq!((best.class, best.next_class), (Some(MofClass::I), None));
        assert!(best.missing_for_next.is_empty());
    }

    #[test]
    fn a_framework_without_requirements_gives_no_class() {
        let empty = MofFramework { classes: BTreeMap::new(), ..framework() };
        assert_eq!(empty.classify(&[]).class, None);
    }
}
