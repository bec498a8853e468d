//! How many decisions came out how, since the start.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use super::Registry;
use crate::domain::eligibility::{Decision, Reason, Verdict};

/// Counts decisions.
#[derive(Debug)]
pub(super) struct Counts {
    verdicts: [AtomicU64; Verdict::ALL.len()],
    reasons: [AtomicU64; Reason::ALL.len()],
    policies: Mutex<ByPolicy>,
}

/// Findings of policies, by the policy's name and the reason.
type ByPolicy = BTreeMap<Box<str>, BTreeMap<Reason, u64>>;

/// Decisions by what came out, with the names of verdicts and reasons.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Decisions by verdict.
    pub verdicts: Vec<(&'static str, u64)>,
    /// Findings by reason.
    pub reasons: Vec<(&'static str, u64)>,
    /// Findings of policies that are there, by the policy's name and the reason.
    pub policies: Vec<(String, &'static str, u64)>,
}

impl Default for Counts {
    fn default() -> Self {
        Self {
            verdicts: [const { AtomicU64::new(0) }; _],
            reasons: [const { AtomicU64::new(0) }; _],
            policies: Mutex::default(),
        }
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
        decision.findings.iter().for_each(|finding| {
            one(&self.reasons, finding.reason as usize);
            if let Some(policy) = finding.policy() {
                self.add_policy(&policy.name, finding.reason);
            }
        });
    }
}

impl Counts {
    fn add_policy(&self, policy: &str, reason: Reason) {
        let mut policies = self.policies.lock().unwrap_or_else(PoisonError::into_inner);
        match policies.get_mut(policy) {
            Some(reasons) => *reasons.entry(reason).or_default() += 1,
            None => drop(policies.insert(policy.into(), BTreeMap::from([(reason, 1)]))),
        }
    }

    /// Findings of the policies that are there; what was counted of others is let go of.
    fn by_policy(&self, is_there: &dyn Fn(&str) -> bool) -> Vec<(String, &'static str, u64)> {
        let mut policies = self.policies.lock().unwrap_or_else(PoisonError::into_inner);
        policies.retain(|policy, _| is_there(policy));
        let mut all = Vec::new();
        for (policy, reasons) in &*policies {
            all.extend(reasons.iter().map(|(reason, count)| (policy.to_string(), reason.as_str(), *count)));
        }
        all
    }
}

impl Registry {
    /// How many decisions came out how since the start; those of lists are not counted.
    #[must_use]
    pub fn tally(&self) -> Tally {
        let read = |count: &AtomicU64| count.load(Ordering::Relaxed);
        let Counts { verdicts, reasons, policies: _ } = &self.counts;
        let snapshot = self.snapshot();
        let is_there = |name: &str| name.strip_prefix("policies/").is_some_and(|id| snapshot.policy(id).is_some());
        Tally {
            verdicts: Verdict::ALL.iter().map(|verdict| verdict.as_str()).zip(verdicts.iter().map(read)).collect(),
            policies: self.counts.by_policy(&is_there),
            reasons: Reason::ALL.iter().map(|reason| reason.as_str()).zip(reasons.iter().map(read)).collect(),
        }
    }
}
