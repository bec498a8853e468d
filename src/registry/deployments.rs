//! Deployments: what runs where. Their verdicts are never kept: they are judged when they are asked for.

use super::check::judge;
use super::key::Key;
use super::named::{Kept, Named, NamedPage, Output, Stored};
use super::page::{PageRequest, token};
use super::resolve::resolve;
use super::{Registry, RegistryError, present, records, violation};
use crate::catalog::{Payload, Snapshot};
use crate::convert::{self, RecordError, UseRequest};
use crate::domain::name::is_segment;
use crate::pb::weighbridge::storage::v1::record::Record as Kind;
use crate::pb::weighbridge::v1 as pb;

/// Labels that a deployment gives its use.
const OWNER: &str = "owner";
const ENVIRONMENT: &str = "environment";

impl Named for pb::Deployment {
    const WHAT: &'static str = "deployment";
    const COLLECTION: &'static str = "deployments";
    const FIELD: &'static str = "deployment";
    const MESSAGE: &'static str = "weighbridge.v1.Deployment";

    fn name(&mut self) -> &mut String {
        &mut self.name
    }

    fn set_output(&mut self, output: Option<Output>) {
        let none = Output { revision: 0, etag: String::new(), created: None, updated: None };
        let Output { revision, etag, created, updated } = output.unwrap_or(none);
        (self.revision, self.etag) = (revision, etag);
        (self.create_time, self.update_time) = (created, updated);
        // What it is judged to be is never kept.
        (self.verdict, self.evaluated_revision) = (0, 0);
        self.resolved_model.clear();
        self.summary.clear();
        self.reasons.clear();
        self.missing_facts.clear();
    }

    fn etag(&self) -> &str {
        &self.etag
    }
}

impl Kept for pb::Deployment {
    fn key(id: &str) -> Key {
        Key::Deployment(id.into())
    }

    fn kind(self) -> Kind {
        Kind::Deployment(self)
    }

    fn of(kind: Kind) -> Option<Self> {
        if let Kind::Deployment(message) = kind { Some(message) } else { None }
    }

    fn find<'a>(snapshot: &'a Snapshot, id: &str) -> Option<Stored<'a>> {
        snapshot.deployment(id).map(|entry| Stored { revision: entry.revision, payload: &entry.payload })
    }

    fn page(snapshot: &Snapshot, after: Option<&str>, size: usize) -> (Vec<(u64, Payload)>, bool, usize) {
        let page = snapshot.page_deployments(after, size);
        (page.entries.iter().map(|entry| (entry.revision, entry.payload.clone())).collect(), page.more, page.total)
    }

    fn ids(snapshot: &Snapshot) -> Vec<&str> {
        snapshot.deployments().map(|(id, _)| id).collect()
    }

    fn validate(&self, registry: &Registry, snapshot: &Snapshot) -> Result<(), RegistryError> {
        convert::check_deployment(self, &snapshot.reference().vocabulary, Self::FIELD)?;
        let mut violations = Vec::new();
        let mut below = |error: RegistryError, field: &str| match error {
            RegistryError::Invalid(found) => violations.extend(
                found
                    .into_iter()
                    .map(|found| convert::Violation { field: format!("{}.{}", Self::FIELD, found.field), ..found }),
            ),
            error => violations.push(violation(&format!("{}.{field}", Self::FIELD), error.to_string())),
        };
        if let Err(error) = resolve(snapshot, &self.model) {
            below(error, "model");
        }
        match registry.profile_facts(snapshot, &self.use_profile) {
            Err(error) => below(error, "use_profile"),
            Ok(_) => {
                if let Err(error) = asked(snapshot, self) {
                    below(error, "use");
                }
            }
        }
        if violations.is_empty() { Ok(()) } else { Err(RegistryError::Invalid(violations)) }
    }
}

/// What a deployment is judged to be.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Assessed {
    /// The decision; where there can be none, only its verdict and summary.
    pub(super) decision: pb::Decision,
}

/// The check that a deployment stands for.
fn asked(snapshot: &Snapshot, deployment: &pb::Deployment) -> Result<UseRequest, RegistryError> {
    let pb::Deployment { model, use_profile, r#use, owner, environment, .. } = deployment;
    let mut use_ = r#use.clone().unwrap_or_default();
    for (key, value) in [(OWNER, owner), (ENVIRONMENT, environment)] {
        if !value.is_empty() {
            use_.labels.entry(key.to_owned()).or_insert_with(|| value.clone());
        }
    }
    let profile: Option<pb::UseProfile> = match use_profile.is_empty() {
        true => None,
        false => Some(Registry::named_on(snapshot, "use_profile", use_profile)?),
    };
    let facts = profile.map(|profile| profile.r#use.unwrap_or_default());
    let request = pb::CheckEligibilityRequest {
        model: model.clone(),
        r#use: Some(use_),
        use_profile: use_profile.clone(),
        ..Default::default()
    };
    Ok(convert::check_request(request, facts, &snapshot.reference().vocabulary)?)
}

/// Judges a deployment at a time. What cannot be judged needs a review.
pub(super) fn assess(snapshot: &Snapshot, deployment: &pb::Deployment, at: i64) -> Assessed {
    let judged = asked(snapshot, deployment).and_then(|request| {
        judge(snapshot, &request, at, present(snapshot, at), |checked| {
            convert::decision(&checked.decision, checked.name, checked.revision)
        })
    });
    let decision = judged.unwrap_or_else(|error| pb::Decision {
        verdict: pb::Verdict::NeedsReview.into(),
        summary: format!("Needs a review: {error}."),
        ..Default::default()
    });
    Assessed { decision }
}

impl Assessed {
    /// Writes it into the message.
    pub(super) fn write(&self, deployment: &mut pb::Deployment, snapshot: &Snapshot) {
        let decision = &self.decision;
        deployment.verdict = decision.verdict;
        deployment.summary.clone_from(&decision.summary);
        deployment.resolved_model.clone_from(&decision.model);
        deployment.missing_facts.clone_from(&decision.missing_facts);
        deployment.evaluated_revision = records::wire_revision(snapshot.revision());
        for finding in decision.findings.iter().filter(|finding| finding.acts()) {
            if !deployment.reasons.contains(&finding.reason) {
                deployment.reasons.push(finding.reason.clone());
            }
        }
    }
}

/// A deployment of a snapshot, without its verdict.
pub(super) fn read(snapshot: &Snapshot, id: &str) -> Result<Option<pb::Deployment>, RecordError> {
    let Some(entry) = snapshot.deployment(id) else { return Ok(None) };
    super::named::read(entry.revision, &entry.payload).map(Some)
}

/// Which deployments are asked for.
#[derive(Clone, Debug, Default)]
pub struct DeploymentFilter {
    /// Only those of this owner; empty: all.
    pub owner: String,
    /// Only those of this environment; empty: all.
    pub environment: String,
}

impl DeploymentFilter {
    /// Whether it is one of them.
    pub(super) fn takes(&self, deployment: &pb::Deployment) -> bool {
        (self.owner.is_empty() || self.owner == deployment.owner)
            && (self.environment.is_empty() || self.environment == deployment.environment)
    }
}

impl Registry {
    /// A deployment with its verdict as it is now.
    ///
    /// # Errors
    /// A bad name, or not known with near names.
    pub fn deployment(&self, name: &str) -> Result<pb::Deployment, RegistryError> {
        self.check_complete()?;
        let snapshot = self.snapshot();
        let deployment = self.named(&snapshot, name)?;
        Ok(self.judged(&snapshot, deployment))
    }

    /// The same with its verdict as it is now.
    pub fn judged(&self, snapshot: &Snapshot, mut deployment: pb::Deployment) -> pb::Deployment {
        assess(snapshot, &deployment, (self.clock)().as_second()).write(&mut deployment, snapshot);
        deployment
    }

    /// Deployments by name with their verdicts as they are now.
    ///
    /// # Errors
    /// Every violation at once, or a page token that is not of this list.
    pub fn list_deployments(
        &self,
        filter: &DeploymentFilter,
        verdicts: &[i32],
        page: &PageRequest,
    ) -> Result<(NamedPage<pb::Deployment>, u64), RegistryError> {
        self.check_complete()?;
        let size = page.size()?;
        let mut violations = Vec::new();
        for (i, verdict) in verdicts.iter().enumerate() {
            if !matches!(pb::Verdict::try_from(*verdict), Ok(known) if known != pb::Verdict::Unspecified) {
                violations.push(violation(&format!("verdicts[{i}]"), format!("{verdict} is no verdict")));
            }
        }
        if !violations.is_empty() {
            return Err(RegistryError::Invalid(violations));
        }
        let list = format!("deployments\n{}\n{}\n{verdicts:?}", filter.owner, filter.environment);
        let after = page.after(&list)?;
        let snapshot = self.snapshot();
        let (mut found, mut total) = (Vec::new(), 0_usize);
        for (id, entry) in snapshot.deployments() {
            let deployment: pb::Deployment = super::named::read(entry.revision, &entry.payload)?;
            if !filter.takes(&deployment) {
                continue;
            }
            let is_after = after.as_deref().is_none_or(|after| id > after);
            if verdicts.is_empty() && (!is_after || found.len() > size) {
                total += 1;
                continue;
            }
            let judged = self.judged(&snapshot, deployment);
            if !verdicts.is_empty() && !verdicts.contains(&judged.verdict) {
                continue;
            }
            total += 1;
            if is_after && found.len() <= size {
                found.push(judged);
            }
        }
        let more = found.len() > size;
        found.truncate(size);
        let last = found.last().and_then(|last| last.name.strip_prefix("deployments/")).filter(|id| is_segment(id));
        let next_page_token = token(&list, last.map(str::to_owned), more);
        let total_size = i32::try_from(total).unwrap_or(i32::MAX);
        Ok((NamedPage { records: found, next_page_token, total_size }, snapshot.revision()))
    }

    /// The check of each deployment, with its name, for trying policies out.
    pub(super) fn deployment_checks(
        snapshot: &Snapshot,
        filter: &DeploymentFilter,
    ) -> Result<Vec<(String, Option<UseRequest>)>, RegistryError> {
        let mut checks = Vec::new();
        for (_, entry) in snapshot.deployments() {
            let deployment: pb::Deployment = super::named::read(entry.revision, &entry.payload)?;
            if !filter.takes(&deployment) {
                continue;
            }
            let asked = asked(snapshot, &deployment).ok();
            checks.push((deployment.name, asked));
        }
        Ok(checks)
    }
}
