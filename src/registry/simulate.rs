//! Trying policies out: the same checks, as the registry stands and with other policies.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::check::{Checked, check_lists, judge};
use super::deployments::DeploymentFilter;
use super::list::read_filter;
use super::models::selected;
use super::policies::{check_count, compiled};
use super::{Registry, RegistryError, present, violation};
use crate::catalog::fields::ModelField;
use crate::catalog::{ModelPolicy, PolicySet, Snapshot};
use crate::convert::{self, UseRequest};
use crate::domain::eligibility::{Decision, Reason, Verdict};
use crate::domain::name::shown;
use crate::pb::weighbridge::v1 as pb;
use crate::pb::weighbridge::v1::simulate_policy_request::{DecisionsScope, DeploymentsScope, ModelsScope, Scope};

/// Changes that are told where the request does not say how many, and most of them.
const CHANGES_DEFAULT: usize = 100;
const CHANGES_MAX: usize = 1_000;
/// Looks at a model by one policy, all together, and how many the rest of a check is worth: a few seconds.
const LOOKS_MAX: u64 = 30_000_000;
const LOOKS_OF_A_CHECK: usize = 20;
/// Decisions that are tried where the request does not say how many, and most of them.
const DECISIONS_DEFAULT: usize = 1_000;
const DECISIONS_MAX: usize = 10_000;

impl Registry {
    /// Says which verdicts policies would change. Nothing is written.
    ///
    /// # Errors
    /// Every violation at once; a filter that costs too much; no decision log.
    pub fn simulate_policy(
        &self,
        snapshot: &Arc<Snapshot>,
        request: pb::SimulatePolicyRequest,
    ) -> Result<pb::SimulatePolicyResponse, RegistryError> {
        self.check_complete()?;
        let pb::SimulatePolicyRequest { policies, deleted_policies, scope, max_changes, min_revision: _ } = request;
        let mut violations = Vec::new();
        let max_changes = within(&mut violations, "max_changes", max_changes, CHANGES_DEFAULT, CHANGES_MAX);
        let set = changed_set(snapshot, &policies, &deleted_policies, &mut violations)?;
        let after = snapshot.with_policy_set(set);
        let mut trial = Trial { registry: self, before: snapshot, after: &after, max_changes, told: Told::default() };
        match scope {
            None => {
                violations.push(violation("scope", "it must be set: `deployments`, `models` or `decisions`"));
                return Err(RegistryError::Invalid(violations));
            }
            Some(Scope::Models(scope)) => trial.models(scope, violations)?,
            Some(Scope::Deployments(DeploymentsScope { owner, environment })) => {
                if !violations.is_empty() {
                    return Err(RegistryError::Invalid(violations));
                }
                trial.deployments(&DeploymentFilter { owner, environment })?;
            }
            Some(Scope::Decisions(DecisionsScope { last })) => {
                let last = within(&mut violations, "decisions.last", last, DECISIONS_DEFAULT, DECISIONS_MAX);
                if !violations.is_empty() {
                    return Err(RegistryError::Invalid(violations));
                }
                trial.decisions(last)?;
            }
        }
        Ok(trial.told.response(snapshot.revision()))
    }
}

/// A number of a request, 0 for what is usual.
fn within(violations: &mut Vec<convert::Violation>, field: &str, asked: i32, usual: usize, most: usize) -> usize {
    match usize::try_from(asked) {
        Ok(0) => usual,
        Ok(asked) if asked <= most => asked,
        _ => {
            violations.push(violation(field, format!("{asked} is not from 1 to {most}; 0 means {usual}")));
            usual
        }
    }
}

/// The policies as they would be.
fn changed_set(
    snapshot: &Snapshot,
    policies: &[pb::Policy],
    deleted: &[String],
    violations: &mut Vec<convert::Violation>,
) -> Result<PolicySet, RegistryError> {
    check_count("policies", policies.len())?;
    check_count("deleted_policies", deleted.len())?;
    let mut set: BTreeMap<Box<str>, Arc<ModelPolicy>> =
        snapshot.policy_set().iter().map(|known| (known.policy.name.clone(), known.clone())).collect();
    for (i, name) in deleted.iter().enumerate() {
        if set.remove(name.as_str()).is_none() {
            let near = convert::nearest(name, snapshot.policy_set().iter().map(|known| &*known.policy.name));
            violations
                .push(violation(&format!("deleted_policies[{i}]"), format!("`{}` is no policy{near}", shown(name))));
        }
    }
    for (i, message) in policies.iter().enumerate() {
        match compiled(message, &format!("policies[{i}]"), &snapshot.reference().vocabulary) {
            Ok(compiled) => {
                set.insert(compiled.policy.name.clone(), Arc::new(compiled));
            }
            Err(found) => violations.extend(found),
        }
    }
    Ok(set.into_values().collect())
}

/// The same checks, twice.
struct Trial<'a> {
    registry: &'a Registry,
    before: &'a Snapshot,
    after: &'a Snapshot,
    max_changes: usize,
    told: Told,
}

/// What comes of them.
#[derive(Default)]
struct Told {
    changes: Vec<pb::VerdictChange>,
    changed: usize,
    checked: usize,
    skipped: usize,
    transitions: BTreeMap<(Verdict, Verdict), usize>,
    reasons: BTreeMap<(Reason, Box<str>), (usize, usize)>,
}

impl Trial<'_> {
    fn models(&mut self, scope: ModelsScope, mut violations: Vec<convert::Violation>) -> Result<(), RegistryError> {
        let ModelsScope { filter, r#use, use_profile } = scope;
        let under = |found: Vec<convert::Violation>| {
            found.into_iter().map(|found| convert::Violation { field: format!("models.{}", found.field), ..found })
        };
        let query = match read_filter::<ModelField>(&filter) {
            Ok(query) => query,
            Err(found) => {
                violations.extend(under(found));
                None
            }
        };
        let facts = self.registry.profile_facts(self.before, &use_profile);
        let facts = match facts {
            Err(RegistryError::Invalid(found)) => {
                violations.extend(under(found));
                None
            }
            other => other?,
        };
        let asked = pb::ListEligibleModelsRequest { r#use, use_profile, ..Default::default() };
        let asked = match convert::eligible_request(asked, facts, &self.before.reference().vocabulary) {
            Ok(read) => Some(read.asked),
            Err(convert::RequestRefused::Invalid(found)) => {
                violations.extend(under(found));
                None
            }
            Err(refused) => return Err(refused.into()),
        };
        let Some(asked) = asked.filter(|_| violations.is_empty()) else {
            return Err(RegistryError::Invalid(violations));
        };
        check_lists(self.before, &asked.use_)?;
        let rows = selected(self.before, None, query.as_ref())?;
        // Each model is judged twice, and each policy asked of it.
        let policies = self.before.policy_set().iter().count().max(self.after.policy_set().iter().count());
        let looks = rows.len().saturating_mul(u64::try_from(policies + LOOKS_OF_A_CHECK).unwrap_or(u64::MAX));
        if looks > LOOKS_MAX {
            let description = format!(
                "{} models and {policies} policies are more than one simulation looks at: narrow it with `filter`",
                rows.len()
            );
            return Err(RegistryError::Invalid(vec![violation("models.filter", description)]));
        }
        let at = self.registry.at(&asked);
        let index = self.before.model_index();
        // By name, so that the changes that are told are the same every time.
        let rows = rows.iter().filter_map(|row| index.entry(row));
        let mut entries: Vec<_> = rows.collect();
        entries.sort_by(|a, b| a.record.name.cmp(&b.record.name));
        for entry in entries {
            let asked = UseRequest { model: entry.record.name.to_string(), ..asked.clone() };
            self.check(&asked, at, Tried::default());
        }
        Ok(())
    }

    fn decisions(&mut self, last: usize) -> Result<(), RegistryError> {
        for logged in self.registry.newest_decisions(last)? {
            let at = logged.r#use.as_ref().and_then(|use_| use_.at.as_ref()).map(|at| at.seconds);
            let asked =
                pb::CheckEligibilityRequest { model: logged.model.clone(), r#use: logged.r#use, ..Default::default() };
            match convert::check_request(asked, None, &self.before.reference().vocabulary) {
                Ok(read) => {
                    let asked = UseRequest { use_profile: logged.use_profile, ..read };
                    let at = at.unwrap_or_else(|| self.registry.at(&asked));
                    self.check(&asked, at, Tried { decision: &logged.name, ..Tried::default() });
                }
                Err(_) => self.told.skipped += 1,
            }
        }
        Ok(())
    }

    fn deployments(&mut self, filter: &DeploymentFilter) -> Result<(), RegistryError> {
        for (name, asked) in Registry::deployment_checks(self.before, filter)? {
            match asked {
                Some(asked) => {
                    let at = self.registry.at(&asked);
                    self.check(&asked, at, Tried { deployment: &name, ..Tried::default() });
                }
                None => self.told.skipped += 1,
            }
        }
        Ok(())
    }

    fn check(&mut self, asked: &UseRequest, at: i64, of: Tried<'_>) {
        let Self { before, after, max_changes, told, .. } = self;
        let present = present(before, at);
        let compared = judge(before, asked, at, present, |had| {
            judge(after, asked, at, present, |has| told.add(had, &has.decision, of, *max_changes))
        });
        // A model that is gone, or an id that has come to be ambiguous.
        if !matches!(compared, Ok(Ok(()))) {
            self.told.skipped += 1;
        }
    }
}

/// What is tried again, besides a model.
#[derive(Clone, Copy, Default)]
struct Tried<'a> {
    decision: &'a str,
    deployment: &'a str,
}

impl Told {
    fn add(&mut self, had: &Checked<'_>, after: &Decision<'_>, of: Tried<'_>, max_changes: usize) {
        let (before, model) = (&had.decision, had.name);
        self.checked += 1;
        *self.transitions.entry((before.verdict, after.verdict)).or_default() += 1;
        let (had, has) = (reasons(before), reasons(after));
        for reason in &has {
            if !had.contains(reason) {
                self.reasons.entry((reason.0, reason.1.into())).or_default().0 += 1;
            }
        }
        for reason in &had {
            if !has.contains(reason) {
                self.reasons.entry((reason.0, reason.1.into())).or_default().1 += 1;
            }
        }
        if before.verdict == after.verdict {
            return;
        }
        self.changed += 1;
        if self.changes.len() >= max_changes {
            return;
        }
        let findings = |decision: &Decision<'_>| convert::decision(decision, model, 0).findings;
        let (had, has) = (findings(before), findings(after));
        let without = |list: &[pb::Finding], other: &[pb::Finding]| -> Vec<pb::Finding> {
            list.iter().filter(|finding| !other.contains(finding)).cloned().collect()
        };
        self.changes.push(pb::VerdictChange {
            model: model.to_owned(),
            decision: of.decision.to_owned(),
            deployment: of.deployment.to_owned(),
            before: convert::verdict_number(before.verdict),
            after: convert::verdict_number(after.verdict),
            added: without(&has, &had),
            removed: without(&had, &has),
        });
    }

    fn response(self, revision: u64) -> pb::SimulatePolicyResponse {
        let count = |count: usize| i32::try_from(count).unwrap_or(i32::MAX);
        let transition = |((before, after), times): ((Verdict, Verdict), usize)| pb::VerdictTransition {
            before: convert::verdict_number(before),
            after: convert::verdict_number(after),
            count: count(times),
        };
        let reason = |((reason, policy), (added, removed)): ((Reason, Box<str>), (usize, usize))| pb::ReasonChange {
            reason: reason.as_str().to_owned(),
            policy: policy.into(),
            added: count(added),
            removed: count(removed),
        };
        pb::SimulatePolicyResponse {
            changes: self.changes,
            changed: count(self.changed),
            checked: count(self.checked),
            skipped: count(self.skipped),
            transitions: self.transitions.into_iter().map(transition).collect(),
            reasons: self.reasons.into_iter().map(reason).collect(),
            revision: i64::try_from(revision).unwrap_or(i64::MAX),
        }
    }
}

/// The reasons of a decision with their policies, each once.
fn reasons<'a>(decision: &Decision<'a>) -> Vec<(Reason, &'a str)> {
    let mut all: Vec<(Reason, &str)> =
        decision.findings.iter().map(|f| (f.reason, f.policy().map_or("", |policy| &*policy.name))).collect();
    all.sort_unstable();
    all.dedup();
    all
}
