//! A store in memory, with the semantics of a durable one.

use std::collections::BTreeMap;
use std::future::ready;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use tokio::sync::mpsc::UnboundedReceiver;

use super::feed::{Feed, Head};
use super::plan::{Last, check_expectation};
use super::{Batch, BoxFuture, Commit, Record, Revision, Store, StoreError, StoreStatus, Take, check_key};

/// A store that forgets everything when it is dropped.
#[derive(Debug, Default)]
pub struct MemoryStore {
    data: Mutex<Data>,
    feed: Feed,
}

#[derive(Debug, Default)]
struct Data {
    live: u64,
    log: Vec<Arc<Commit>>,
    /// Each key's versions, oldest first; `None` is a deletion.
    versions: BTreeMap<Bytes, Vec<(Revision, Option<Bytes>)>>,
}

impl MemoryStore {
    /// An empty store.
    pub fn new() -> MemoryStore {
        MemoryStore::default()
    }

    fn commit_now(&self, batch: Batch) -> Result<Revision, StoreError> {
        let batch = batch.validated()?;
        let mut data = self.data();
        for expect in &batch.expect {
            check_expectation(expect, data.last(&expect.key))?;
        }
        if batch.writes.is_empty() {
            return Ok(data.revision());
        }
        let commit = Arc::new(Commit { revision: data.revision() + 1, writes: batch.writes });
        data.append(&commit);
        // Still under the lock, so that subscribers see revisions in order.
        let head = Head { revision: commit.revision, live: data.live };
        self.feed.publish(head, std::slice::from_ref(&commit));
        Ok(commit.revision)
    }

    fn data(&self) -> MutexGuard<'_, Data> {
        // No code panics under this lock.
        self.data.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Store for MemoryStore {
    fn load_each(&self, mut take: Take) -> BoxFuture<'_, Result<Revision, StoreError>> {
        let (revision, records) = {
            let data = self.data();
            let newest = data.versions.iter().filter_map(|(key, versions)| {
                let (revision, value) = versions.last()?;
                Some(Record { key: key.clone(), value: value.clone()?, revision: *revision })
            });
            (data.revision(), newest.collect::<Vec<_>>())
        };
        // All of it is there already: whether more is wanted is not asked.
        if !records.is_empty() {
            take(records);
        }
        Box::pin(ready(Ok(revision)))
    }

    fn commit(&self, batch: Batch) -> BoxFuture<'_, Result<Revision, StoreError>> {
        Box::pin(ready(self.commit_now(batch)))
    }

    fn changes_since(&self, after: Revision, limit: usize) -> BoxFuture<'_, Result<Vec<Arc<Commit>>, StoreError>> {
        let data = self.data();
        let start = data.log.partition_point(|commit| commit.revision <= after);
        let commits = data.log.iter().skip(start).take(limit).cloned().collect();
        Box::pin(ready(Ok(commits)))
    }

    fn record_as_of(&self, key: &[u8], revision: Revision) -> BoxFuture<'_, Result<Option<Record>, StoreError>> {
        let record = check_key(key).map(|()| self.data().record_as_of(key, revision));
        Box::pin(ready(record))
    }

    fn subscribe(&self) -> UnboundedReceiver<Arc<Commit>> {
        self.feed.subscribe()
    }

    fn status(&self) -> StoreStatus {
        let head = self.feed.head();
        StoreStatus {
            backend: "memory",
            path: None,
            revision: head.revision,
            record_count: head.live,
            writable: true,
            problem: None,
            size_on_disk_bytes: None,
        }
    }
}

impl Data {
    fn revision(&self) -> Revision {
        self.log.last().map_or(0, |commit| commit.revision)
    }

    fn last(&self, key: &[u8]) -> Option<Last> {
        let (revision, value) = self.versions.get(key)?.last()?;
        Some(Last { revision: *revision, live: value.is_some() })
    }

    fn record_as_of(&self, key: &[u8], revision: Revision) -> Option<Record> {
        let (key, versions) = self.versions.get_key_value(key)?;
        let (revision, value) = versions.iter().rfind(|(written, _)| *written <= revision)?;
        Some(Record { key: key.clone(), value: value.clone()?, revision: *revision })
    }

    fn append(&mut self, commit: &Arc<Commit>) {
        for write in &commit.writes {
            let was_live = self.last(&write.key).is_some_and(|last| last.live);
            self.live += u64::from(write.value.is_some());
            self.live -= u64::from(was_live);
            let versions = self.versions.entry(write.key.clone()).or_default();
            versions.push((commit.revision, write.value.clone()));
        }
        self.log.push(Arc::clone(commit));
    }
}
