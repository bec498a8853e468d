//! Trying policies out: the same checks, as the registry stands and with other policies.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::check::{check_lists, waivers};
use super::list::read_filter;
use super::models::selected;
use super::policies::check_count;
use super::{Registry, RegistryError, present, violation};
use crate::catalog::fields::ModelField;
use crate::catalog::{ModelPolicy, PolicySet, Snapshot};
use crate::convert::{self, UseRequest};
use crate::domain::eligibility::{Decision, Reason, Verdict, Waivers, evaluate};
use crate::domain::name::{ModelName, shown};
use crate::pb::weighbridge::v1 as pb;
use crate::pb::weighbridge::v1::simulate_policy_request::{DecisionsScope, ModelsScope, Scope};

/// Changes that are told where the request does not say how many, and most of them.
const CHANGES_DEFAULT: usize = 100;
const CHANGES_MAX: usize = 1_000;
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
                violations.push(violation("scope", "it must be set: `models` or `decisions`"));
                return Err(RegistryError::Invalid(violations));
            }
            Some(Scope::Models(scope)) => trial.models(scope, violations)?,
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
        match convert::policy(message, &format!("policies[{i}]")) {
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
        let at = self.registry.at(&asked);
        let index = self.before.model_index();
        // By name, so that the changes that are told are the same every time.
        let rows = rows.iter().filter_map(|row| index.entry(row));
        let mut entries: Vec<_> = rows.collect();
        entries.sort_by(|a, b| a.record.name.cmp(&b.record.name));
        for entry in entries {
            self.check(&entry.record.name, &asked, at, "");
        }
        Ok(())
    }

    fn decisions(&mut self, last: usize) -> Result<(), RegistryError> {
        for logged in self.registry.newest_decisions(last)? {
            let at = logged.r#use.as_ref().and_then(|use_| use_.at.as_ref()).map(|at| at.seconds);
            let asked =
                pb::CheckEligibilityRequest { model: logged.model.clone(), r#use: logged.r#use, ..Default::default() };
            let name = ModelName::parse(&logged.model).ok().filter(|name| self.before.model_entry(name).is_some());
            let read = convert::check_request(asked, None, &self.before.reference().vocabulary).ok();
            match name.zip(read) {
                Some((name, read)) => {
                    let asked = UseRequest { use_profile: logged.use_profile, ..read };
                    let at = at.unwrap_or_else(|| self.registry.at(&asked));
                    self.check(&name, &asked, at, &logged.name);
                }
                None => self.told.skipped += 1,
            }
        }
        Ok(())
    }

    fn check(&mut self, name: &ModelName, asked: &UseRequest, at: i64, decision: &str) {
        let Some(entry) = self.before.model_entry(name) else { return };
        let list = waivers(self.before, name, &asked.use_profile);
        let decided = |snapshot| {
            let waivers = Waivers { list: &list, at };
            evaluate(snapshot, &entry.record, &asked.use_, present(self.before, at), waivers)
        };
        let (before, after) = (decided(self.before), decided(self.after));
        self.told.add(&before, &after, Named { model: name.as_str(), decision }, self.max_changes);
    }
}

/// What a check was about.
#[derive(Clone, Copy)]
struct Named<'a> {
    model: &'a str,
    decision: &'a str,
}

impl Told {
    fn add(&mut self, before: &Decision<'_>, after: &Decision<'_>, of: Named<'_>, max_changes: usize) {
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
        let findings = |decision: &Decision<'_>| convert::decision(decision, of.model, 0).findings;
        let (had, has) = (findings(before), findings(after));
        let without = |list: &[pb::Finding], other: &[pb::Finding]| -> Vec<pb::Finding> {
            list.iter().filter(|finding| !other.contains(finding)).cloned().collect()
        };
        self.changes.push(pb::VerdictChange {
            model: of.model.to_owned(),
            decision: of.decision.to_owned(),
            deployment: String::new(),
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
