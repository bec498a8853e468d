//! How much is known of licenses, over all models and offerings.

use std::collections::BTreeMap;

use super::Snapshot;
use crate::domain::model::{Evidence, Model};
use crate::domain::name::ProviderId;
use crate::domain::openness::Tier;

/// How much is known of some models or offerings.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// All of them.
    pub total: usize,
    /// Those whose model is known.
    pub resolved: usize,
    /// Those whose weights can be had.
    pub open: usize,
    /// Those of `open` whose license is known.
    pub open_licensed: usize,
    /// Those without public weights.
    pub proprietary: usize,
    /// Those of which that is not known.
    pub unknown: usize,
}

/// The report.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Coverage {
    /// Models.
    pub models: Counts,
    /// Offerings.
    pub offerings: Counts,
    /// Models and offerings by what their license rests on; `None`: no license is known.
    pub evidence: BTreeMap<Option<Evidence>, (usize, usize)>,
    /// Offerings by provider.
    pub providers: BTreeMap<ProviderId, Counts>,
    /// Models on which sources disagree.
    pub conflicting_models: usize,
    /// Models by tier.
    pub tiers: BTreeMap<Option<Tier>, usize>,
}

impl Counts {
    fn add(&mut self, model: Option<&Model>) {
        self.total += 1;
        let Some(model) = model else { return };
        self.resolved += 1;
        match model.tier {
            None => self.unknown += 1,
            Some(Tier::Proprietary) => self.proprietary += 1,
            Some(Tier::OpenWeight | Tier::OpenSource) => {
                self.open += 1;
                self.open_licensed += usize::from(evidence(model).is_some());
            }
        }
    }
}

/// What the license of the weights rests on; `None` when there is none that could be decided on.
fn evidence(model: &Model) -> Option<Evidence> {
    let weights = model.weights()?;
    let expression = weights.expression.as_ref()?;
    // What nobody looked up, and what sources contradict each other on, is not known.
    let counts = !matches!(weights.evidence, Evidence::GeneralKnowledge | Evidence::Conflict);
    (counts && !expression.licenses().iter().any(|id| id.is_unknown())).then_some(weights.evidence)
}

/// Looks at every model and every offering.
#[must_use]
pub fn coverage(snapshot: &Snapshot) -> Coverage {
    let mut out = Coverage::default();
    for entry in snapshot.models() {
        let model = &entry.record;
        out.models.add(Some(model));
        out.evidence.entry(evidence(model)).or_default().0 += 1;
        *out.tiers.entry(model.tier).or_default() += 1;
        out.conflicting_models += usize::from(!model.conflicts.is_empty());
    }
    for entry in snapshot.offerings() {
        let model = entry.record.model.as_ref().and_then(|name| snapshot.model_entry(name)).map(|entry| &entry.record);
        out.offerings.add(model);
        out.evidence.entry(model.and_then(evidence)).or_default().1 += 1;
        out.providers.entry(entry.record.name.provider().clone()).or_default().add(model);
    }
    out
}
