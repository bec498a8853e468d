//! Commits: every change of the registry is made here, with its time and a note of who made it.

use jiff::Timestamp;

use super::call::Call;
use super::key::Key;
use super::{Registry, RegistryError, records};
use crate::convert;
use crate::pb::weighbridge::storage::v1::CommitNote;
use crate::pb::weighbridge::storage::v1::record::Record as Kind;
use crate::store::{Batch, Expect, Revision, Serial, StoreError, Write};

/// Who writes over the API and the command line without credentials.
pub const OPERATOR: &str = "operator";

/// The commits that are made of the whole catalog: the built-in records, imports, and what is merged of them.
const CATALOG: &str = "catalog";

/// By whom a change is made.
#[derive(Clone, Debug, Default)]
pub(super) struct By {
    note: CommitNote,
}

impl By {
    /// By an actor, as its records name it.
    pub(super) fn of(actor: impl Into<String>) -> Self {
        let actor = actor.into();
        let caller =
            Call::current().map(|call| call.actor.to_string()).filter(|caller| *caller != actor && *caller != OPERATOR);
        Self { note: CommitNote { actor, caller: caller.unwrap_or_default(), ..CommitNote::default() } }
    }

    /// By who calls.
    pub(super) fn caller() -> Self {
        Self::of(Call::current().map_or_else(|| OPERATOR.to_owned(), |call| call.actor.to_string()))
    }

    /// At a request that is done once.
    pub(super) fn at_request(self, id: &str, digest: &[u8]) -> Self {
        let note = CommitNote { request_id: id.to_owned(), request_digest: digest.to_vec(), ..self.note };
        Self { note }
    }
}

/// That a record stands as it was seen; `None`: it was not there.
pub(super) fn expect(key: &Key, seen: Option<Revision>) -> Expect {
    Expect { key: key.bytes(), revision: seen }
}

impl Registry {
    /// Commits and waits until the change can be read.
    pub(super) async fn commit(
        &self,
        writes: Vec<Write>,
        expect: Vec<Expect>,
        by: &By,
    ) -> Result<Revision, RegistryError> {
        self.commit_batch(Batch { writes, expect, ..Batch::default() }, by).await
    }

    /// Commits what was made of the whole catalog as it stood at a revision, unless another such change has been made since, or
    /// what is expected does not hold: then [`StoreError::Conflict`].
    pub(super) async fn commit_serial(
        &self,
        writes: Vec<Write>,
        expect: Vec<Expect>,
        seen: Revision,
        by: &By,
    ) -> Result<Revision, RegistryError> {
        let serial = Some(Serial { name: CATALOG, seen });
        self.commit_batch(Batch { writes, expect, serial, ..Batch::default() }, by).await
    }

    async fn commit_batch(&self, batch: Batch, by: &By) -> Result<Revision, RegistryError> {
        // Held until the commit is done, so that a restore knows of all of them.
        let superseded = self.superseded.read().await;
        if *superseded {
            return Err(RegistryError::Superseded);
        }
        // Another replica may have done the same request since it was begun here. What it wrote is either not seen yet by who
        // made this batch, which does not hold then, or is entered before it is seen.
        if let Some(done) = self.requests.done(&by.note.request_id) {
            let key = batch.writes.first().map(|write| write.key.clone()).unwrap_or_default();
            return Err(StoreError::Conflict { key, expected: None, found: Some(done) }.into());
        }
        let (time_ms, about) = ((self.clock)().as_millisecond(), convert::encode_note(&by.note));
        let revision = self.store.commit(Batch { time_ms, about, ..batch }).await?;
        self.wait_for(revision).await?;
        Ok(revision)
    }

    /// Writes one record of the operator's layer, if what is expected holds. The times are when it was first written and when it is
    /// now.
    pub(super) async fn put(
        &self,
        key: &Key,
        kind: Kind,
        expect: Vec<Expect>,
        (created, now): (Timestamp, Timestamp),
        by: &By,
    ) -> Result<Revision, RegistryError> {
        let value = records::record(kind, &by.note.actor, created, now);
        self.commit(vec![Write { key: key.bytes(), value: Some(value) }], expect, by).await
    }

    /// Deletes one record of the operator's layer, if what is expected holds.
    pub(super) async fn delete(&self, key: &Key, expect: Vec<Expect>, by: &By) -> Result<Revision, RegistryError> {
        self.commit(vec![Write { key: key.bytes(), value: None }], expect, by).await
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::pb::weighbridge::v1 as pb;
    use crate::store::{MemoryStore, Store};

    #[tokio::test]
    async fn every_commit_says_when_and_by_whom() {
        let store = Arc::new(MemoryStore::new());
        let now = Timestamp::from_millisecond(1_800_000_000_123).unwrap();
        let registry = Registry::open(store.clone(), Arc::new(move || now)).await.unwrap();
        let file = |text: &str| crate::registry::ImportFile { path: "a.json".into(), bytes: text.as_bytes().into() };
        let request = crate::registry::ImportRequest {
            config: pb::ImportConfig { source: pb::ImportSource::Records as i32, ..Default::default() },
            files: vec![file(r#"{"name": "publishers/acme/models/read", "aliases": ["Acme/Read"]}"#)],
        };
        registry.import(request).await.unwrap();
        let request = pb::CreateModelRequest {
            parent: "publishers/acme".into(),
            model_id: "one".into(),
            model: Some(pb::Model::default()),
            ..Default::default()
        };
        let created = registry.create_model(request).await.unwrap();
        registry.delete_model(pb::DeleteModelRequest { name: created.name, ..Default::default() }).await.unwrap();

        let mut actors = Vec::new();
        for commit in store.changes_since(0, 100).await.unwrap() {
            assert_eq!(commit.time_ms, 1_800_000_000_123);
            let actor = convert::decode_note(&commit.about).actor;
            for value in commit.writes.iter().filter_map(|write| write.value.as_ref()) {
                assert_eq!(convert::decode(value).unwrap().actor, actor);
            }
            actors.push(actor);
        }
        let release = format!("builtin/{}", crate::registry::builtin::CATALOG_VERSION);
        assert_eq!(actors, [&*release, "import/records", OPERATOR, OPERATOR]);
    }

    #[tokio::test]
    async fn a_request_that_another_replica_has_done_since_is_not_done_again() {
        let store = Arc::new(MemoryStore::new());
        let now = Timestamp::from_millisecond(1_800_000_000_123).unwrap();
        let one = Registry::open(store.clone(), Arc::new(move || now)).await.unwrap();
        let other = Registry::open(store.clone(), Arc::new(move || now)).await.unwrap();
        let key = Key::UseProfile("one".into());
        let put = async |registry: &Registry, seen, id: &str| {
            let by = By::caller().at_request(id, b"digest");
            let expect = vec![expect(&key, seen)];
            registry.put(&key, Kind::UseProfile(pb::UseProfile::default()), expect, (now, now), &by).await
        };
        let done = put(&one, None, "first").await.unwrap();
        other.wait_for(done).await.unwrap();
        // It was begun before, and what the first wrote has been seen by now.
        let again = put(&other, Some(done), "first").await;
        assert!(matches!(again, Err(RegistryError::Store(StoreError::Conflict { found, .. })) if found == Some(done)));
        assert!(put(&other, Some(done), "second").await.is_ok());
    }
}
