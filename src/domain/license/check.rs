//! What a license says against the shared words: slugs that nobody knows are mistakes.

use super::{Duty, GateEffect, License, Predicate, ScaleGate, UseRestriction};
use crate::domain::vocabulary::Vocabulary;

impl License {
    /// Every slug that the vocabulary does not hold, with its path.
    #[must_use]
    pub fn problems(&self, vocabulary: &Vocabulary) -> Vec<String> {
        let mut out = Vec::new();
        for (i, restriction) in self.use_restrictions.iter().enumerate() {
            let problem = restriction.problem(vocabulary);
            out.extend(problem.map(|p| format!("use_restrictions[{i}].category: {p}")));
        }
        for (i, gate) in self.scale_gates.iter().enumerate() {
            let known = vocabulary.metrics.contains_key(&gate.metric) || &*gate.metric == ScaleGate::BUSINESS_TYPE;
            if !known {
                out.push(format!("scale_gates[{i}].metric: `{}` is no metric of the vocabulary", gate.metric));
            }
            for kind in gate.business_types.iter().filter(|t| !vocabulary.business_types.contains_key(*t)) {
                out.push(format!("scale_gates[{i}].business_types: `{kind}` is no business type of the vocabulary"));
            }
            let named = gate.only_if.iter().chain(&gate.unless).chain(&gate.unsettled_if);
            let by_type = named.filter(|p| **p == Predicate::BusinessType).count() > 0;
            let starts = |duty: &Duty| !gate.group.is_empty() && duty.gate_group == gate.group;
            if gate.effect == GateEffect::DisplayBranding && !self.duties.iter().any(starts) {
                out.push(format!("scale_gates[{i}].group: no duty names this group, so the gate would start nothing"));
            }
            if by_type && gate.business_types.is_empty() {
                out.push(format!(
                    "scale_gates[{i}].business_types: a predicate names business types and there are none"
                ));
            }
        }
        for (i, duty) in self.duties.iter().enumerate() {
            if !duty.gate_group.is_empty() && !self.scale_gates.iter().any(|gate| gate.group == duty.gate_group) {
                out.push(format!("duties[{i}].gate_group: no gate is in the group `{}`", duty.gate_group));
            }
            if duty.only_if.contains(&Predicate::BusinessType) {
                out.push(format!("duties[{i}].only_if: a duty names no business types, so it cannot depend on them"));
            }
        }
        out
    }
}

impl UseRestriction {
    /// Why its category is not one of the vocabulary.
    #[must_use]
    pub fn problem(&self, vocabulary: &Vocabulary) -> Option<String> {
        let known = vocabulary.use_categories.contains_key(&self.category);
        (!known).then(|| format!("`{}` is no use category of the vocabulary", self.category))
    }
}
