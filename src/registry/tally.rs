//! How many decisions came out how, since the start.

use std::sync::atomic::{AtomicU64, Ordering};

use super::Registry;
use crate::domain::eligibility::{Decision, Reason, Verdict};

/// Counts decisions.
#[derive(Debug)]
pub(super) struct Counts {
    verdicts: [AtomicU64; Verdict::ALL.len()],
    reasons: [AtomicU64; Reason::ALL.len()],
}

/// Decisions by what came out, with the names of verdicts and reasons.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Decisions by verdict.
    pub verdicts: Vec<(&'static str, u64)>,
    /// Findings by reason.
    pub reasons: Vec<(&'static str, u64)>,
}

impl Default for Counts {
    fn default() -> Self {
        Self { verdicts: [const { AtomicU64::new(0) }; _], reasons: [const { AtomicU64::new(0) }; _] }
    }
}

impl Counts {
    pub(super) fn add(&self, decision: &Decision<'_>) {
        let one = |counts: &[AtomicU64], index: usize| {
            if let Some(count) = counts.get(index) {
                count.fetch_add(1, Ordering::Relaxed);
            }
        };
        one(&self.verdicts, decision.verdict as usize);
        decision.findings.iter().for_each(|finding| one(&self.reasons, finding.reason as usize));
    }
}

impl Registry {
    /// How many decisions came out how since the start; those of lists are not counted.
    #[must_use]
    pub fn tally(&self) -> Tally {
        let read = |count: &AtomicU64| count.load(Ordering::Relaxed);
        let Counts { verdicts, reasons } = &self.counts;
        Tally {
            verdicts: Verdict::ALL.iter().map(|verdict| verdict.as_str()).zip(verdicts.iter().map(read)).collect(),
            reasons: Reason::ALL.iter().map(|reason| reason.as_str()).zip(reasons.iter().map(read)).collect(),
        }
    }
}
