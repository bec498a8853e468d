//! Records that operators write under a name of one segment: use profiles and waivers. Get, list, create, update, delete,
//! once for all of them.

use prost::Message;
use prost_types::FieldMask;

use super::key::Key;
use super::models::timestamp;
use super::once::{Again, Begun, RequestId, Turn};
use super::page::{PageRequest, token};
use super::write::expect;
use super::{Registry, RegistryError, check_etag, records, violation};
use crate::catalog::{Layer, Payload, Snapshot};
use crate::convert::{self, text};
use crate::domain::name::{is_segment, shown};
use crate::pb::weighbridge::storage::v1::record::Record as Kind;
use crate::store;

/// A record of such a kind, as a message.
pub trait Named: Message + Default + Clone + PartialEq + Sized {
    /// What it is called in messages to people.
    const WHAT: &'static str;
    /// First segment of its resource names.
    const COLLECTION: &'static str;
    /// Its field in requests; `{FIELD}_id` is that of the id.
    const FIELD: &'static str;
    /// Full name of the message.
    const MESSAGE: &'static str;

    /// Its resource name, to read and to set.
    fn name(&mut self) -> &mut String;
    /// Sets what only the registry says, to nothing where `output` is none.
    fn set_output(&mut self, output: Option<Output>);
    /// Etag that a caller sent back.
    fn etag(&self) -> &str;
}

/// What only the registry says of a record.
#[derive(Debug)]
pub struct Output {
    /// Revision of the last change.
    pub revision: i64,
    /// Etag.
    pub etag: String,
    /// When it was first written.
    pub created: Option<prost_types::Timestamp>,
    /// When it was last written.
    pub updated: Option<prost_types::Timestamp>,
}

/// How such a record is kept: the store's side, which callers do not see.
pub(super) trait Kept: Named {
    fn key(id: &str) -> Key;
    fn kind(self) -> Kind;
    fn of(kind: Kind) -> Option<Self>;
    fn find<'a>(snapshot: &'a Snapshot, id: &str) -> Option<Stored<'a>>;
    /// Records by id, after `after`; whether more follow; how many there are.
    fn page(snapshot: &Snapshot, after: Option<&str>, size: usize) -> (Vec<(u64, Payload)>, bool, usize);
    fn ids(snapshot: &Snapshot) -> Vec<&str>;
    /// Every violation at once, with field paths below [`Named::FIELD`].
    fn validate(&self, registry: &Registry, snapshot: &Snapshot) -> Result<(), RegistryError>;
    /// Whether something still needs it.
    fn check_unused(_snapshot: &Snapshot, _name: &str) -> Result<(), RegistryError> {
        Ok(())
    }
}

/// A record as the snapshot holds it.
pub(super) struct Stored<'a> {
    pub(super) revision: u64,
    pub(super) payload: &'a [u8],
}

/// A change of one record.
#[derive(Debug)]
pub struct Update<T> {
    /// The record, with its name.
    pub record: Option<T>,
    /// Which fields change.
    pub mask: Option<FieldMask>,
    /// Create it where it is not there.
    pub allow_missing: bool,
    /// Write nothing.
    pub validate_only: bool,
}

/// One page of records.
#[derive(Debug)]
pub struct NamedPage<T> {
    /// The records.
    pub records: Vec<T>,
    /// Empty on the last page.
    pub next_page_token: String,
    /// Number of records in all.
    pub total_size: i32,
}

pub(super) fn read<T: Kept>(revision: u64, payload: &[u8]) -> Result<T, convert::RecordError> {
    let (kind, times) = records::stored(payload)?;
    let mut message = T::of(kind).ok_or(convert::RecordError::Empty)?;
    message.set_output(Some(Output {
        revision: records::wire_revision(revision),
        etag: records::etag(Layer::Operator, revision),
        created: times.created,
        updated: times.updated,
    }));
    Ok(message)
}

/// The answer to a write, read back from what it stored.
pub(super) fn again<T: Kept>(record: Option<store::Record>) -> Result<T, convert::RecordError> {
    let record = record.ok_or(convert::RecordError::Empty)?;
    read(record.revision, &record.value)
}

fn written<T: Named>(mut message: T) -> T {
    message.set_output(None);
    message
}

/// The id in a resource name.
fn id_of<T: Named>(field: &str, name: &str) -> Result<String, RegistryError> {
    let id = name.strip_prefix(T::COLLECTION).and_then(|rest| rest.strip_prefix('/')).filter(|id| is_segment(id));
    id.map(str::to_owned).ok_or_else(|| {
        let description = format!("`{}` is no {} name: write `{}/{{id}}`", shown(name), T::WHAT, T::COLLECTION);
        RegistryError::Invalid(vec![violation(field, description)])
    })
}

fn not_found<T: Kept>(snapshot: &Snapshot, id: &str) -> RegistryError {
    let full = |id: &str| format!("{}/{id}", T::COLLECTION);
    let near = text::nearest(id, T::ids(snapshot)).into_iter().map(full).collect();
    RegistryError::NotFound { kind: T::WHAT, name: full(&shown(id)), near }
}

fn required<T: Named>(record: Option<T>) -> Result<T, RegistryError> {
    record.ok_or_else(|| RegistryError::Invalid(vec![violation(T::FIELD, "it must be set")]))
}

#[expect(private_bounds, reason = "how a record is kept is nobody's business outside")]
impl Registry {
    /// Gets a record of a snapshot by its resource name.
    ///
    /// # Errors
    /// A bad name, or not known with near names.
    pub fn named<T: Kept>(&self, snapshot: &Snapshot, name: &str) -> Result<T, RegistryError> {
        Self::named_on(snapshot, "name", name)
    }

    /// Gets a record on a snapshot; `field` is where its name stands in the request.
    pub(super) fn named_on<T: Kept>(snapshot: &Snapshot, field: &str, name: &str) -> Result<T, RegistryError> {
        let id = id_of::<T>(field, name)?;
        let found = T::find(snapshot, &id).ok_or_else(|| not_found::<T>(snapshot, &id))?;
        Ok(read(found.revision, found.payload)?)
    }

    /// Lists records by id.
    ///
    /// # Errors
    /// A bad page size or page token.
    pub fn list_named<T: Kept>(&self, page: &PageRequest) -> Result<NamedPage<T>, RegistryError> {
        let size = page.size()?;
        let after = page.after(T::COLLECTION)?;
        let (found, more, total) = T::page(&self.snapshot(), after.as_deref(), size);
        let read: Result<Vec<T>, _> = found.iter().map(|(revision, payload)| read(*revision, payload)).collect();
        let mut records = read?;
        let last = records.last_mut().map(|record| record.name().clone());
        let last = last.and_then(|name| id_of::<T>("name", &name).ok());
        Ok(NamedPage {
            next_page_token: token(T::COLLECTION, last, more),
            total_size: i32::try_from(total).unwrap_or(i32::MAX),
            records,
        })
    }

    /// Adds a record.
    ///
    /// # Errors
    /// Every violation at once, or the name is taken.
    pub async fn create_named<T: Kept + Again>(
        &self,
        request: &RequestId,
        id: &str,
        record: Option<T>,
        validate_only: bool,
    ) -> Result<T, RegistryError> {
        match self.begin(request, validate_only).await? {
            Turn::Done(answer) => Ok(answer),
            Turn::Now(begun) => {
                let result = self.create_named_now(id, record, &begun).await;
                self.end(begun, result).await
            }
        }
    }

    async fn create_named_now<T: Kept>(&self, id: &str, record: Option<T>, begun: &Begun) -> Result<T, RegistryError> {
        let mut message = written(required(record)?);
        let name = format!("{}/{id}", T::COLLECTION);
        id_of::<T>(&format!("{}_id", T::FIELD), &name)?;
        if !message.name().is_empty() && *message.name() != name {
            let description = format!("`{}` does not agree with `{}_id`", shown(message.name()), T::FIELD);
            return Err(RegistryError::Invalid(vec![violation(&format!("{}.name", T::FIELD), description)]));
        }
        *message.name() = name.clone();
        let snapshot = self.snapshot();
        message.validate(self, &snapshot)?;
        if T::find(&snapshot, id).is_some() {
            return Err(RegistryError::AlreadyExists { name });
        }
        self.write_named(&snapshot, id, message, begun).await
    }

    /// Changes a record.
    ///
    /// # Errors
    /// As for creating, and an etag that does not match.
    pub async fn update_named<T: Kept + Again>(
        &self,
        request: &RequestId,
        update: Update<T>,
    ) -> Result<T, RegistryError> {
        match self.begin(request, update.validate_only).await? {
            Turn::Done(answer) => Ok(answer),
            Turn::Now(begun) => {
                let result = self.update_named_now(update, &begun).await;
                self.end(begun, result).await
            }
        }
    }

    async fn update_named_now<T: Kept>(&self, update: Update<T>, begun: &Begun) -> Result<T, RegistryError> {
        let Update { record, mask, allow_missing, validate_only: _ } = update;
        let mut change = required(record)?;
        let name = change.name().clone();
        let id = id_of::<T>(&format!("{}.name", T::FIELD), &name)?;
        let snapshot = self.snapshot();
        let base = match T::find(&snapshot, &id) {
            Some(found) => {
                check_etag(&name, change.etag(), Layer::Operator, found.revision)?;
                written(read(found.revision, found.payload)?)
            }
            None if allow_missing => {
                let mut base = T::default();
                *base.name() = name.clone();
                base
            }
            None => return Err(not_found::<T>(&snapshot, &id)),
        };
        let descriptor = convert::descriptor(T::MESSAGE).ok_or(RegistryError::Closed)?;
        let paths = mask.map(|mask| mask.paths).unwrap_or_default();
        let merged = convert::merge(&descriptor, &base, &written(change), &paths);
        let mut merged = merged.map_err(RegistryError::Invalid)?;
        *merged.name() = name;
        merged.validate(self, &snapshot)?;
        self.write_named(&snapshot, &id, merged, begun).await
    }

    async fn write_named<T: Kept>(
        &self,
        snapshot: &Snapshot,
        id: &str,
        mut message: T,
        begun: &Begun,
    ) -> Result<T, RegistryError> {
        let now = (self.clock)();
        let previous = T::find(snapshot, id);
        if let Some(found) = &previous
            && written(read::<T>(found.revision, found.payload)?) == message
        {
            return Ok(read(found.revision, found.payload)?);
        }
        if begun.validate_only {
            return Ok(message);
        }
        let created = previous.as_ref().map(|found| records::stored(found.payload)).transpose()?;
        let created = created.and_then(|(_, times)| times.created).map_or(now, |t| timestamp(&t, now));
        let key = T::key(id);
        let expect = vec![expect(&key, previous.map(|found| found.revision))];
        let revision = self.put(&key, message.clone().kind(), expect, (created, now), &begun.by).await?;
        // As it was written: somebody may have changed or deleted it since.
        message.set_output(Some(Output {
            revision: records::wire_revision(revision),
            etag: records::etag(Layer::Operator, revision),
            created: Some(records::time(created)),
            updated: Some(records::time(now)),
        }));
        Ok(message)
    }

    /// Deletes a record.
    ///
    /// # Errors
    /// Not known, still needed, or an etag that does not match.
    pub async fn delete_named<T: Kept>(
        &self,
        request: &RequestId,
        name: &str,
        etag: &str,
        validate_only: bool,
    ) -> Result<(), RegistryError> {
        match self.begin(request, validate_only).await? {
            Turn::Done(answer) => Ok(answer),
            Turn::Now(begun) => {
                let result = self.delete_named_now::<T>(name, etag, &begun).await;
                self.end(begun, result).await
            }
        }
    }

    async fn delete_named_now<T: Kept>(&self, name: &str, etag: &str, begun: &Begun) -> Result<(), RegistryError> {
        let snapshot = self.snapshot();
        let id = id_of::<T>("name", name)?;
        let found = T::find(&snapshot, &id).ok_or_else(|| not_found::<T>(&snapshot, &id))?;
        check_etag(name, etag, Layer::Operator, found.revision)?;
        T::check_unused(&snapshot, name)?;
        if !begun.validate_only {
            let key = T::key(&id);
            let expect = vec![expect(&key, Some(found.revision))];
            self.delete(&key, expect, &begun.by).await?;
        }
        Ok(())
    }
}
