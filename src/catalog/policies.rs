//! The policies of a snapshot, held against a check of one of its models.

use super::fields::ModelField;
use super::row::ModelRow;
use super::snapshot::Snapshot;
use crate::domain::eligibility::{Activities, Met, Policies, PolicyCase, Which};
use crate::policy::{Alternatives, Compiled};

/// A policy whose condition can name the fields of models.
pub type ModelPolicy = Compiled<ModelField>;

/// All policies.
pub type PolicySet = crate::policy::PolicySet<ModelField>;

impl Policies for Snapshot {
    fn is_empty(&self) -> bool {
        self.policy_set().is_empty()
    }

    fn look_at_decision(&self) -> bool {
        self.policy_set().look_at_decision()
    }

    fn asked_activities(&self, case: &PolicyCase<'_, '_>) -> Activities {
        if self.policy_set().activities() == Activities::default() {
            return Activities::default();
        }
        let Some(row) = self.row_of(case) else { return self.policy_set().activities() };
        self.policy_set().asked_activities(&row, &|| row.alternatives(), case)
    }

    fn meet<'a>(&'a self, case: &PolicyCase<'_, 'a>, which: Which, met: &mut dyn FnMut(Met<'a>)) {
        if !self.policy_set().any(which) {
            return;
        }
        let row = self.row_of(case);
        let alternatives = || row.as_ref().map_or(Alternatives::Unknown, ModelRow::alternatives);
        self.policy_set().meet(row.as_ref(), &alternatives, case, which, met);
    }
}

impl Snapshot {
    fn row_of(&self, case: &PolicyCase<'_, '_>) -> Option<ModelRow<'_>> {
        ModelRow::of_check(self, &case.model().name, case.is_of_another_license())
    }
}
