//! The revisions that changed a model or a license: its history, over all layers.

use bytes::Bytes;

use super::call::beside;
use super::key::Key;
use super::page::{PageRequest, token};
use super::{Registry, RegistryError, licenses, models, records, resolve, violation};
use crate::catalog::{Change, Entry, Layer, Pool, Put};
use crate::convert::{self, RecordError, Violation};
use crate::domain::name::{LicenseId, ModelName};
use crate::pb::weighbridge::v1 as pb;
use crate::store::{Record, Revision, Version};

/// Lowest first.
const LAYERS: [Layer; 3] = [Layer::BuiltIn, Layer::Imported, Layer::Operator];

/// The versions of one layer, newest first.
struct Versions {
    layer: Layer,
    all: Vec<Version>,
}

/// A revision that changed a record.
struct Revised {
    revision: Revision,
    time: Option<prost_types::Timestamp>,
    actor: String,
    layer: Layer,
    change: pb::RevisionChange,
    /// What showed after it.
    shown: Option<ShownRecord>,
}

/// A stored record that shows.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct ShownRecord {
    layer: Layer,
    revision: Revision,
    value: Bytes,
}

/// A page of a history, unread.
struct History {
    layers: Vec<Versions>,
    /// Newest first.
    revisions: Vec<Revision>,
    more: bool,
    oldest: Revision,
}

impl Versions {
    /// The version that stood at a revision.
    fn at(&self, revision: Revision) -> Option<&Version> {
        self.all.iter().find(|version| version.revision <= revision)
    }
}

/// What showed at a revision.
fn shown_at(layers: &[Versions], revision: Revision) -> Option<ShownRecord> {
    layers.iter().rev().find_map(|versions| {
        let version = versions.at(revision)?;
        let value = version.value.clone()?;
        Some(ShownRecord { layer: versions.layer, revision: version.revision, value })
    })
}

fn revised(layers: &[Versions], revision: Revision, oldest: Revision) -> Result<Revised, RecordError> {
    let changed = |versions: &Versions| versions.at(revision).cloned().filter(|version| version.revision == revision);
    let found = layers.iter().rev().find_map(|versions| Some((versions.layer, changed(versions)?)));
    // INVARIANT: revisions are those of the versions themselves.
    let (layer, version) = found.ok_or(RecordError::Empty)?;
    let record = version.value.as_ref().map(|value| convert::decode(value)).transpose()?;
    let first = record.as_ref().is_none_or(|record| record.create_time == record.update_time);
    let (before, shown) = (shown_at(layers, revision.saturating_sub(1)), shown_at(layers, revision));
    let change = match (&before, &shown) {
        // What stood before is not kept; the record itself knows whether it was the first.
        (None, Some(_)) if revision <= oldest && !first => pb::RevisionChange::Updated,
        (None, Some(_)) => pb::RevisionChange::Created,
        (Some(_), None) => pb::RevisionChange::Deleted,
        (before, shown) if before == shown => pb::RevisionChange::Hidden,
        _ => pb::RevisionChange::Updated,
    };
    let (written, by) = record.map(|record| (record.update_time, record.actor)).unwrap_or_default();
    let (time, noted) = version
        .origin
        .map_or((written, String::new()), |(time_ms, about)| (records::log_time(time_ms), records::actor(&about)));
    let actor = if noted.is_empty() { by } else { noted };
    Ok(Revised { revision, time, actor, layer, change, shown })
}

impl Registry {
    /// Lists the revisions that changed a model, newest first.
    ///
    /// # Errors
    /// A bad name, page size or page token; no such model ever was, with near names; records were lost.
    pub async fn model_revisions(
        &self,
        name: &str,
        page: &PageRequest,
    ) -> Result<pb::ListModelRevisionsResponse, RegistryError> {
        let parsed = ModelName::parse(name).map_err(|error| violation("name", error.to_string()));
        let (parsed, size, before) = self.asked(parsed, "models", name, page)?;
        let history = self.history(|layer| Key::Model(layer, parsed.clone()), size, before).await?;
        if history.revisions.is_empty() && before.is_none() {
            return Err(resolve::not_found(&self.snapshot(), parsed.as_str()));
        }
        let next_page_token = history.next("models", name);
        let oldest_revision = records::wire_revision(history.oldest);
        let revisions = history.told(move |revised| model_revision(&parsed, revised)).await?;
        Ok(pb::ListModelRevisionsResponse { revisions, next_page_token, oldest_revision })
    }

    /// Lists the revisions that changed a license, newest first.
    ///
    /// # Errors
    /// As for [`Registry::model_revisions`].
    pub async fn license_revisions(
        &self,
        name: &str,
        page: &PageRequest,
    ) -> Result<pb::ListLicenseRevisionsResponse, RegistryError> {
        let parsed = LicenseId::parse(name).map_err(|error| violation("name", error.to_string()));
        let (parsed, size, before) = self.asked(parsed, "licenses", name, page)?;
        let history = self.history(|layer| Key::License(layer, parsed.clone()), size, before).await?;
        if history.revisions.is_empty() && before.is_none() {
            return Err(licenses::not_found(&self.snapshot(), parsed.as_str()));
        }
        let next_page_token = history.next("licenses", name);
        let oldest_revision = records::wire_revision(history.oldest);
        let revisions = history.told(move |revised| license_revision(&parsed, revised)).await?;
        Ok(pb::ListLicenseRevisionsResponse { revisions, next_page_token, oldest_revision })
    }

    /// The name, the page size, and the revision before which the page starts, where it is not the first.
    fn asked<T>(
        &self,
        name: Result<T, Violation>,
        kind: &str,
        given: &str,
        page: &PageRequest,
    ) -> Result<(T, usize, Option<Revision>), RegistryError> {
        self.check_complete()?;
        let (name, size) = match (name, page.size()) {
            (Ok(name), size) => (name, size?),
            (Err(refused), Err(RegistryError::Invalid(more))) => {
                return Err(RegistryError::Invalid([refused].into_iter().chain(more).collect()));
            }
            (Err(refused), _) => return Err(RegistryError::Invalid(vec![refused])),
        };
        let last = page.after(&list(kind, given))?;
        let before = last.map(|last| last.parse().map_err(|_| RegistryError::PageToken)).transpose()?;
        Ok((name, size, before))
    }

    async fn history(
        &self,
        key: impl Fn(Layer) -> Key,
        size: usize,
        before: Option<Revision>,
    ) -> Result<History, RegistryError> {
        // Layers are read one after the other: what is committed meanwhile belongs to no page.
        let before = before.unwrap_or_else(|| self.snapshot().revision().saturating_add(1));
        let mut layers = Vec::with_capacity(LAYERS.len());
        for layer in LAYERS {
            // One more than the page tells whether there is more, and another one what stood before that.
            let all = self.store.history(&key(layer).bytes(), before, size.saturating_add(2)).await?;
            layers.push(Versions { layer, all });
        }
        let oldest = self.store.status().oldest_revision;
        let mut revisions: Vec<Revision> =
            layers.iter().flat_map(|versions| versions.all.iter().map(|version| version.revision)).collect();
        revisions.sort_unstable_by_key(|revision| std::cmp::Reverse(*revision));
        revisions.dedup();
        let more = revisions.len() > size;
        revisions.truncate(size);
        Ok(History { layers, revisions, more, oldest })
    }
}

fn list(kind: &str, name: &str) -> String {
    format!("revisions of {kind}\n{name}")
}

impl History {
    fn next(&self, kind: &str, name: &str) -> String {
        token(&list(kind, name), self.revisions.last().map(ToString::to_string), self.more)
    }

    /// Reads each revision, which for many takes longer than a serving thread should be held up.
    async fn told<T: Send + 'static>(
        self,
        tell: impl Fn(Revised) -> Result<T, RecordError> + Send + 'static,
    ) -> Result<Vec<T>, RegistryError> {
        let read = beside(move || {
            let Self { layers, revisions, more: _, oldest } = self;
            revisions.into_iter().map(|revision| tell(revised(&layers, revision, oldest)?)).collect::<Result<_, _>>()
        });
        Ok(read.await??)
    }
}

fn model_revision(name: &ModelName, revised: Revised) -> Result<pb::ModelRevision, RecordError> {
    let Revised { revision, time, actor, layer, change, shown } = revised;
    let model = shown.map(|shown| match shown.read(&Key::Model(shown.layer, name.clone()))? {
        Change::Model(_, _, Some(put)) => models::message(&shown.entry(put)),
        _ => Err(RecordError::Empty),
    });
    Ok(pb::ModelRevision {
        revision: records::wire_revision(revision),
        create_time: time,
        actor,
        origin: records::origin(layer),
        change: change as i32,
        model: model.transpose()?,
    })
}

fn license_revision(id: &LicenseId, revised: Revised) -> Result<pb::LicenseRevision, RecordError> {
    let Revised { revision, time, actor, layer, change, shown } = revised;
    let license = shown.map(|shown| match shown.read(&Key::License(shown.layer, id.clone()))? {
        Change::License(_, _, Some(put)) => licenses::message(&shown.entry(*put)),
        _ => Err(RecordError::Empty),
    });
    Ok(pb::LicenseRevision {
        revision: records::wire_revision(revision),
        create_time: time,
        actor,
        origin: records::origin(layer),
        change: change as i32,
        license: license.transpose()?,
    })
}

impl ShownRecord {
    /// The record of a layer.
    pub(super) fn of(key: &Key, record: Option<Record>) -> Option<Self> {
        let Record { key: _, value, revision } = record?;
        match key {
            Key::Model(layer, _) | Key::License(layer, _) => Some(Self { layer: *layer, revision, value }),
            _ => None,
        }
    }

    pub(super) fn read(&self, key: &Key) -> Result<Change, RecordError> {
        // Not with the lists of the snapshot's models: it is gone once it is told.
        let read = records::change(&key.bytes(), Some(self.value.clone()), &Pool::default())?;
        read.ok_or(RecordError::Empty)
    }

    pub(super) fn entry<T>(&self, put: Put<T>) -> Entry<T> {
        let Put { record, payload } = put;
        Entry { record, revision: self.revision, layer: self.layer, payload }
    }
}
