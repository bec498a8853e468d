//! Models and licenses as they are watched.

use std::sync::Arc;

use prost::Message;

use crate::catalog::fields::{LicenseField, ModelField};
use crate::catalog::filter::Query;
use crate::catalog::{Layer, LicenseRow, ModelRow, Snapshot};
use crate::convert::{ReadMask, RecordError};
use crate::domain::eligibility::Records;
use crate::domain::name::{LicenseId, ModelName};
use crate::domain::tri::Tri;
use crate::pb::weighbridge::v1 as pb;
use crate::registry::feed::Step;
use crate::registry::{licenses, models};

/// Layer and revision of the record that shows, for telling whether another one does after a commit.
pub(super) type Stamp = (Layer, u64);

/// What a message says besides the changes.
#[derive(Clone, Debug, Default)]
pub(super) struct Head {
    pub(super) revision: i64,
    pub(super) partial: bool,
    pub(super) commit_time: Option<prost_types::Timestamp>,
    pub(super) actor: String,
    /// Up to when everything that a time brings has been told, in seconds since 1970.
    pub(super) told_time: i64,
}

/// What is watched of one kind of records.
pub(super) trait Scope: Send + Sync + 'static {
    /// What records are called.
    type Name: Ord + Send + Sync + 'static;
    /// A change as it is told.
    type Change: Message + Send + 'static;
    /// A message.
    type Response: Send + 'static;

    /// The records of this kind that a step may have changed, each once, in order; found once for all who watch.
    fn names(step: &Step) -> Arc<[Self::Name]>;
    /// What a step did to a record, as one who watches sees it.
    /// `told_time`: up to when everything that time brings has been told, in seconds since 1970.
    fn told(
        &self,
        before: &Snapshot,
        step: &Step,
        name: &Self::Name,
        told_time: i64,
    ) -> Result<Option<Self::Change>, RecordError>;
    /// How many terms its filter has.
    fn terms(&self) -> usize;
    /// A message.
    fn response(head: Head, changes: Vec<Self::Change>) -> Self::Response;

    /// The next second after one that may change something without a commit.
    fn next_time(&self, _snapshot: &Snapshot, _after: i64) -> Option<i64> {
        None
    }

    /// What such a second has changed.
    ///
    /// # Errors
    /// A record could not be read.
    fn passed(&self, _snapshot: &Snapshot, _at: i64) -> Result<Vec<Self::Change>, RecordError> {
        Ok(Vec::new())
    }
}

/// Records of which each change is told.
trait Shown: Scope {
    /// The record that shows under a name, if it is one of those that are watched.
    fn shown(&self, snapshot: &Snapshot, name: &Self::Name) -> Option<Stamp>;
    /// A change, with the record as a snapshot has it.
    fn change(&self, kind: pb::ChangeKind, snapshot: &Snapshot, name: &Self::Name)
    -> Result<Self::Change, RecordError>;

    fn told_shown(
        &self,
        before: &Snapshot,
        step: &Step,
        name: &Self::Name,
    ) -> Result<Option<Self::Change>, RecordError> {
        let (kind, snapshot) = match (self.shown(before, name), self.shown(&step.after, name)) {
            (None, None) => return Ok(None),
            // Something below it changed, which does not show.
            (Some(was), Some(is)) if was == is => return Ok(None),
            (None, Some(_)) => (pb::ChangeKind::Added, &*step.after),
            (Some(_), Some(_)) => (pb::ChangeKind::Changed, &*step.after),
            (Some(_), None) => (pb::ChangeKind::Removed, before),
        };
        self.change(kind, snapshot, name).map(Some)
    }
}

/// Models: those of a publisher or all, for which a filter holds.
pub(super) struct ModelScope {
    pub(super) publisher: Option<String>,
    pub(super) query: Option<Query<ModelField>>,
    pub(super) mask: ReadMask,
}

impl Scope for ModelScope {
    type Name = ModelName;
    type Change = pb::ModelChange;
    type Response = pb::WatchModelsResponse;

    fn names(step: &Step) -> Arc<[ModelName]> {
        step.models()
    }

    fn told(
        &self,
        before: &Snapshot,
        step: &Step,
        name: &ModelName,
        _told_time: i64,
    ) -> Result<Option<pb::ModelChange>, RecordError> {
        self.told_shown(before, step, name)
    }

    fn terms(&self) -> usize {
        self.query.as_ref().map_or(0, Query::tests)
    }

    fn response(head: Head, changes: Vec<pb::ModelChange>) -> pb::WatchModelsResponse {
        let Head { revision, partial, commit_time, actor, told_time: _ } = head;
        pb::WatchModelsResponse { revision, partial, commit_time, actor, changes }
    }
}

impl Shown for ModelScope {
    fn shown(&self, snapshot: &Snapshot, name: &ModelName) -> Option<Stamp> {
        if self.publisher.as_ref().is_some_and(|publisher| publisher != name.publisher()) {
            return None;
        }
        let entry = snapshot.model_entry(name)?;
        let holds = |query: &Query<ModelField>| query.holds(&ModelRow::new(snapshot, entry)) == Tri::True;
        self.query.as_ref().is_none_or(holds).then_some((entry.layer, entry.revision))
    }

    fn change(
        &self,
        kind: pb::ChangeKind,
        snapshot: &Snapshot,
        name: &ModelName,
    ) -> Result<pb::ModelChange, RecordError> {
        let model = snapshot.model_entry(name).map(|entry| models::message(entry)).transpose()?;
        let model = model.map(|model| self.mask.keep(model));
        Ok(pb::ModelChange { kind: kind as i32, name: name.to_string(), model })
    }
}

/// Licenses: those for which a filter holds.
pub(super) struct LicenseScope {
    pub(super) query: Option<Query<LicenseField>>,
    pub(super) mask: ReadMask,
}

impl Scope for LicenseScope {
    type Name = LicenseId;
    type Change = pb::LicenseChange;
    type Response = pb::WatchLicensesResponse;

    fn names(step: &Step) -> Arc<[LicenseId]> {
        step.licenses()
    }

    fn told(
        &self,
        before: &Snapshot,
        step: &Step,
        id: &LicenseId,
        _told_time: i64,
    ) -> Result<Option<pb::LicenseChange>, RecordError> {
        self.told_shown(before, step, id)
    }

    fn terms(&self) -> usize {
        self.query.as_ref().map_or(0, Query::tests)
    }

    fn response(head: Head, changes: Vec<pb::LicenseChange>) -> pb::WatchLicensesResponse {
        let Head { revision, partial, commit_time, actor, told_time: _ } = head;
        pb::WatchLicensesResponse { revision, partial, commit_time, actor, changes }
    }
}

impl Shown for LicenseScope {
    fn shown(&self, snapshot: &Snapshot, id: &LicenseId) -> Option<Stamp> {
        let entry = snapshot.license_entry(id)?;
        // With the restrictions of its shared policy: a filter asks for what holds.
        let license = Records::license(snapshot, id)?;
        let holds = |query: &Query<LicenseField>| query.holds(&LicenseRow(license)) == Tri::True;
        self.query.as_ref().is_none_or(holds).then_some((entry.layer, entry.revision))
    }

    fn change(
        &self,
        kind: pb::ChangeKind,
        snapshot: &Snapshot,
        id: &LicenseId,
    ) -> Result<pb::LicenseChange, RecordError> {
        let license = snapshot.license_entry(id).map(|entry| licenses::message(entry)).transpose()?;
        let license = license.map(|license| self.mask.keep(license));
        Ok(pb::LicenseChange { kind: kind as i32, name: id.resource_name(), license })
    }
}
