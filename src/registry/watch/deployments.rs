//! Deployments as they are watched: judged again when something that they rest on has changed, and only then.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::scope::{Head, Scope};
use crate::catalog::{Entry, Snapshot};
use crate::convert::RecordError;
use crate::domain::eligibility::{Records as _, Waiver};
use crate::domain::model::{BaseRef, Model};
use crate::domain::name::{LicenseId, ModelName};
use crate::pb::weighbridge::v1 as pb;
use crate::registry::deployments::{Assessed, DeploymentFilter, assess, read};
use crate::registry::feed::Step;
use crate::registry::key::Key;
use crate::registry::resolve::{Resolved, resolve};

const DAY_SECONDS: i64 = 86_400;
/// Causes that are named where they are no records that the deployment is known to rest on.
const CAUSES_MAX: usize = 20;

/// Deployments: those of an owner or environment, or all.
pub(super) struct DeploymentScope {
    pub(super) filter: DeploymentFilter,
}

impl Scope for DeploymentScope {
    type Name = Box<str>;
    type Change = pb::DeploymentChange;
    type Response = pb::WatchDeploymentsResponse;

    fn names(step: &Step) -> Arc<[Box<str>]> {
        step.deployments()
    }

    fn told(
        &self,
        before: &Snapshot,
        step: &Step,
        name: &Box<str>,
        told_time: i64,
    ) -> Result<Option<pb::DeploymentChange>, RecordError> {
        let shown = |snapshot: &Snapshot| -> Result<Option<pb::Deployment>, RecordError> {
            Ok(read(snapshot, name)?.filter(|deployment| self.filter.takes(deployment)))
        };
        let at = step.time_ms.div_euclid(1_000).max(told_time);
        let itself = || vec![format!("deployments/{name}")];
        match (shown(before)?, shown(&step.after)?) {
            (None, None) => Ok(None),
            (None, Some(is)) => {
                let assessed = assess(&step.after, &is, at);
                Ok(Some(told(Kind::Added, is, &step.after, (&Assessed::default(), &assessed), itself())))
            }
            (Some(was), None) => {
                let assessed = assess(before, &was, at);
                Ok(Some(told(Kind::Removed, was, before, (&assessed, &Assessed::default()), itself())))
            }
            (Some(was), Some(is)) => {
                let causes = causes(before, step, &was, &is);
                if causes.is_empty() {
                    return Ok(None);
                }
                let (had, has) = (assess(before, &was, at), assess(&step.after, &is, at));
                Ok(changed(is, &step.after, (&had, &has), causes))
            }
        }
    }

    fn terms(&self) -> usize {
        // Judging takes longer than a look at a record.
        8
    }

    fn response(head: Head, changes: Vec<pb::DeploymentChange>) -> pb::WatchDeploymentsResponse {
        let Head { revision, partial, commit_time, actor, told_time } = head;
        let told = prost_types::Timestamp { seconds: told_time, nanos: 0 };
        // Of a commit of before what was told, going on from its own time would tell that again.
        let event_time = Some(commit_time.filter(|time| time.seconds >= told.seconds).unwrap_or(told));
        pb::WatchDeploymentsResponse { revision, partial, event_time, actor, changes }
    }

    /// Waivers end, and licenses have days from which they hold.
    fn next_time(&self, snapshot: &Snapshot, after: i64) -> Option<i64> {
        snapshot.deployments().next()?;
        let ends = snapshot.waivers().map(|entry| entry.record.expires).filter(|end| *end > after);
        let midnight = (after.div_euclid(DAY_SECONDS) + 1) * DAY_SECONDS;
        Some(ends.min().map_or(midnight, |end| end.min(midnight)))
    }

    fn passed(&self, snapshot: &Snapshot, at: i64) -> Result<Vec<pb::DeploymentChange>, RecordError> {
        let ended: Vec<&Waiver> =
            snapshot.waivers().map(|entry| &entry.record).filter(|waiver| waiver.expires == at).collect();
        let is_midnight = at.rem_euclid(DAY_SECONDS) == 0;
        let mut changes = Vec::new();
        for (id, _) in snapshot.deployments() {
            let Some(deployment) = read(snapshot, id)?.filter(|deployment| self.filter.takes(deployment)) else {
                continue;
            };
            let Some(model) = model_of(snapshot, &deployment) else { continue };
            let concerns = |waiver: &&&Waiver| waiver.concerns(&model.record.name, &deployment.use_profile);
            let mut causes: Vec<String> = ended.iter().filter(concerns).map(|waiver| waiver.name.to_string()).collect();
            if is_midnight {
                let dated = lineage(snapshot, model).into_iter().filter(|entry| is_dated(&entry.record));
                causes.extend(dated.map(|entry| entry.record.name.to_string()));
            }
            if causes.is_empty() {
                continue;
            }
            let (had, has) = (assess(snapshot, &deployment, at - 1), assess(snapshot, &deployment, at));
            changes.extend(changed(deployment, snapshot, (&had, &has), causes));
        }
        Ok(changes)
    }
}

use pb::DeploymentChangeKind as Kind;

/// A change of the verdict, if it is one.
fn changed(
    deployment: pb::Deployment,
    snapshot: &Snapshot,
    (had, has): (&Assessed, &Assessed),
    causes: Vec<String>,
) -> Option<pb::DeploymentChange> {
    (had.decision.verdict != has.decision.verdict)
        .then(|| told(Kind::Changed, deployment, snapshot, (had, has), causes))
}

fn told(
    kind: Kind,
    mut deployment: pb::Deployment,
    snapshot: &Snapshot,
    (had, has): (&Assessed, &Assessed),
    causes: Vec<String>,
) -> pb::DeploymentChange {
    let shown = if kind == Kind::Removed { had } else { has };
    shown.write(&mut deployment, snapshot);
    let without = |list: &Assessed, other: &Assessed| -> Vec<pb::Finding> {
        let other = &other.decision.findings;
        list.decision.findings.iter().filter(|finding| !other.contains(finding)).cloned().collect()
    };
    let (added, removed) = match kind {
        Kind::Changed => (without(has, had), without(had, has)),
        Kind::Unspecified | Kind::Added | Kind::Removed => (Vec::new(), Vec::new()),
    };
    pb::DeploymentChange {
        kind: kind.into(),
        deployment: Some(deployment),
        before: had.decision.verdict,
        after: has.decision.verdict,
        causes,
        added,
        removed,
    }
}

/// What a commit changed, by kind.
#[derive(Debug, Default)]
pub(in crate::registry) struct Changed {
    pub(in crate::registry) deployments: BTreeSet<Box<str>>,
    /// Whether anything else changed on which deployments may rest.
    pub(in crate::registry) others: bool,
    models: BTreeSet<ModelName>,
    licenses: BTreeSet<LicenseId>,
    use_policies: BTreeSet<Box<str>>,
    profiles: BTreeSet<Box<str>>,
    waivers: BTreeSet<Box<str>>,
    policies: BTreeSet<Box<str>>,
    /// Names of offerings and providers.
    served: BTreeSet<String>,
}

impl Changed {
    pub(in crate::registry) fn of(keys: impl Iterator<Item = Key>) -> Self {
        let mut changed = Self::default();
        for key in keys {
            changed.others |= !matches!(key, Key::Deployment(_) | Key::SourceRecord(_));
            match key {
                Key::Deployment(id) => drop(changed.deployments.insert(id)),
                Key::Model(_, name) => drop(changed.models.insert(name)),
                Key::License(_, id) => drop(changed.licenses.insert(id)),
                Key::UsePolicy(id) => drop(changed.use_policies.insert(id)),
                Key::UseProfile(id) => drop(changed.profiles.insert(id)),
                Key::Waiver(id) => drop(changed.waivers.insert(id)),
                Key::Policy(id) => drop(changed.policies.insert(id)),
                Key::Offering(name) => drop(changed.served.insert(name.resource_name())),
                Key::Provider(id) => drop(changed.served.insert(id.resource_name())),
                Key::SourceRecord(_) => {}
            }
        }
        changed
    }
}

/// What of a step a deployment rests on, by name; empty: nothing.
fn causes(before: &Snapshot, step: &Step, was: &pb::Deployment, is: &pb::Deployment) -> Vec<String> {
    let changed = step.changed();
    let id = |name: &str| Box::<str>::from(name.split_once('/').map_or(name, |(_, id)| id));
    let mut causes = Vec::new();
    if changed.deployments.contains(&id(&is.name)) {
        causes.push(is.name.clone());
    }
    // Every policy is asked of every check.
    causes.extend(changed.policies.iter().map(|id| format!("policies/{id}")));
    let profile = id(&is.use_profile);
    if !is.use_profile.is_empty() && changed.profiles.contains(&profile) {
        causes.push(is.use_profile.clone());
    }
    let sides = [(before, was), (&*step.after, is)];
    for id in &changed.waivers {
        let concerns = sides.iter().any(|(snapshot, deployment)| {
            let waiver = snapshot.waiver(id).map(|entry| &entry.record);
            let model = model_of(snapshot, deployment);
            waiver.zip(model).is_some_and(|(w, m)| w.concerns(&m.record.name, &deployment.use_profile))
        });
        if concerns {
            causes.push(format!("waivers/{id}"));
        }
    }
    let mut rests_on = BTreeSet::new();
    for (snapshot, deployment) in sides {
        let Some(model) = model_of(snapshot, deployment) else { continue };
        for entry in lineage(snapshot, model) {
            let record = &entry.record;
            if changed.models.contains(&record.name) {
                rests_on.insert(record.name.to_string());
            }
            // A license that was announced is one that is known from the day on of which the records tell.
            if before.made_on() != step.after.made_on() && is_dated(record) {
                rests_on.insert(record.name.to_string());
            }
            if !changed.licenses.is_empty() || !changed.use_policies.is_empty() {
                for id in licenses(snapshot, record) {
                    let list = snapshot.license_entry(&id).map(|entry| entry.record.use_policy.policy.clone());
                    let by_list = list.is_some_and(|list| changed.use_policies.contains(&list));
                    if changed.licenses.contains(&id) || by_list {
                        rests_on.insert(id.resource_name());
                    }
                }
            }
        }
    }
    causes.extend(rests_on);
    // The id may lead elsewhere now: to a new record, or through an offering.
    let leads = |snapshot, deployment| model_of(snapshot, deployment).map(|entry| entry.record.name.clone());
    let (from, to) = (leads(before, was), leads(&step.after, is));
    if from != to && causes.is_empty() {
        causes.extend(from.into_iter().chain(to).map(|name| name.to_string()));
    }
    if causes.is_empty() {
        // Terms of services, lists of licenses that a use allows, who serves what: few commits change these, and what they
        // reach is long to follow. So everything is judged again, and told of what has changed.
        let licenses = changed.licenses.iter().map(LicenseId::resource_name);
        let lists = changed.use_policies.iter().map(|id| format!("use policy {id}"));
        causes.extend(licenses.chain(lists).chain(changed.served.iter().cloned()).take(CAUSES_MAX));
    }
    causes
}

fn model_of<'a>(snapshot: &'a Snapshot, deployment: &pb::Deployment) -> Option<&'a Arc<Entry<Model>>> {
    match resolve(snapshot, &deployment.model) {
        Ok(Resolved::Model { entry, .. }) => snapshot.model_entry(&entry.record.name),
        _ => None,
    }
}

/// A model and its ancestors.
fn lineage<'a>(snapshot: &'a Snapshot, model: &'a Arc<Entry<Model>>) -> Vec<&'a Arc<Entry<Model>>> {
    let mut found = vec![model];
    let mut next = 0;
    while let Some(entry) = found.get(next).copied() {
        next += 1;
        for base in &entry.record.base_models {
            let BaseRef::Record(name) = &base.model else { continue };
            if let Some(base) = snapshot.model_entry(name)
                && found.iter().all(|known| known.record.name != *name)
            {
                found.push(base);
            }
        }
    }
    found
}

/// The licenses that a record names, with those that they bring in.
fn licenses(snapshot: &Snapshot, model: &Model) -> Vec<LicenseId> {
    let parts = model
        .components
        .iter()
        .flat_map(|part| part.expression.iter().chain(part.license_periods.iter().map(|period| &period.expression)));
    let bases = model.base_models.iter().filter_map(|base| base.expression.as_ref());
    let mut found: Vec<LicenseId> = parts.chain(bases).flat_map(|expression| expression.named()).collect();
    let mut next = 0;
    while let Some(id) = found.get(next).cloned() {
        next += 1;
        let Some(license) = snapshot.license(&id) else { continue };
        for brought in license.duties.iter().flat_map(|duty| &duty.incorporates) {
            if !found.contains(brought) {
                found.push(brought.clone());
            }
        }
    }
    found
}

/// Whether a license of it holds from a day or until one.
fn is_dated(model: &Model) -> bool {
    model.components.iter().any(|part| !part.license_periods.is_empty())
}
