//! A store in memory, with the semantics of a durable one.

use std::collections::BTreeMap;
use std::future::ready;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;

use bytes::Bytes;
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::sync::oneshot;

use super::archive::Parts;
use super::feed::{Feed, Head};
use super::plan::{Last, Plan, Serials, Totals, check_expectation};
use super::rows::encode_version;
use super::{
    Batch, BoxFuture, Commit, Record, Revision, Sink, Store, StoreError, StoreStatus, Take, Version, check_key, rows,
};

/// A store that forgets everything when it is dropped.
#[derive(Debug, Default)]
pub struct MemoryStore {
    data: Mutex<Data>,
    feed: Feed,
}

#[derive(Debug, Default)]
struct Data {
    floor: Revision,
    floor_time_ms: i64,
    serials: Serials,
    live: u64,
    /// Size of all versions with their keys.
    bytes: usize,
    /// The commits after the floor.
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
        data.serials.check(batch.serial)?;
        for expect in &batch.expect {
            check_expectation(expect, data.last(&expect.key))?;
        }
        if batch.writes.is_empty() {
            return Ok(data.revision());
        }
        let time_ms = batch.time_ms.max(data.time_ms());
        let Batch { writes, about, serial, .. } = batch;
        let commit = Arc::new(Commit { revision: data.revision() + 1, time_ms, about, writes, gap: None });
        data.serials.note(serial, commit.revision);
        data.append(&commit);
        // Still under the lock, so that subscribers see revisions in order.
        self.feed.publish(data.head(), std::slice::from_ref(&commit));
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
        let commits = data.check_kept(after).map(|()| {
            let start = data.log.partition_point(|commit| commit.revision <= after);
            data.log.iter().skip(start).take(limit).cloned().collect()
        });
        Box::pin(ready(commits))
    }

    fn record_as_of(&self, key: &[u8], revision: Revision) -> BoxFuture<'_, Result<Option<Record>, StoreError>> {
        let record = check_key(key).and_then(|()| {
            let data = self.data();
            data.check_kept(revision)?;
            Ok(data.record_as_of(key, revision))
        });
        Box::pin(ready(record))
    }

    fn records_as_of(
        &self,
        keys: Vec<Bytes>,
        revision: Revision,
    ) -> BoxFuture<'_, Result<Vec<Option<Record>>, StoreError>> {
        let data = self.data();
        let records = data.check_kept(revision).and_then(|()| {
            let record = |key: &Bytes| check_key(key).map(|()| data.record_as_of(key, revision));
            keys.iter().map(record).collect()
        });
        Box::pin(ready(records))
    }

    fn history(&self, key: &[u8], before: Revision, limit: usize) -> BoxFuture<'_, Result<Vec<Version>, StoreError>> {
        let versions = check_key(key).map(|()| self.data().history(key, before, limit));
        Box::pin(ready(versions))
    }

    fn revision_at(&self, time_ms: i64) -> BoxFuture<'_, Result<Revision, StoreError>> {
        let data = self.data();
        let revision = if data.floor > 0 && time_ms < data.floor_time_ms {
            Err(StoreError::Compacted { asked: None, oldest: data.floor })
        } else {
            let after = data.log.partition_point(|commit| commit.time_ms <= time_ms);
            Ok(after.checked_sub(1).and_then(|at| data.log.get(at)).map_or(data.floor, |commit| commit.revision))
        };
        Box::pin(ready(revision))
    }

    fn compact(&self, oldest: Revision) -> BoxFuture<'_, Result<Revision, StoreError>> {
        let mut data = self.data();
        let newest = data.revision();
        data.compact(oldest.min(newest));
        self.feed.publish(data.head(), &[]);
        Box::pin(ready(Ok(data.floor)))
    }

    fn backup(&self, sink: Sink) -> BoxFuture<'_, Result<Revision, StoreError>> {
        let archived = self.data().rows();
        Box::pin(async move {
            let (reply, answer) = oneshot::channel();
            // On a thread of its own, as on disk: the reader may take its time.
            let writing = move || {
                let written = archived.and_then(|(rows, totals)| {
                    let mut parts = Parts::new(sink);
                    let wanted = rows.iter().all(|(row_key, row)| parts.row(row_key, row)) && parts.finish(totals);
                    if wanted { Ok(totals.revision) } else { Err(StoreError::Closed) }
                });
                // Nobody listens when the future was dropped.
                let _ = reply.send(written);
            };
            let started = thread::Builder::new().name("store-read".to_owned()).spawn(writing);
            started.map_err(|error| StoreError::io("start a thread to read", Path::new("memory"), error))?;
            answer.await.map_err(|_| StoreError::Closed)?
        })
    }

    fn subscribe(&self) -> UnboundedReceiver<Arc<Commit>> {
        self.feed.subscribe()
    }

    fn status(&self) -> StoreStatus {
        let head = self.feed.head();
        StoreStatus {
            backend: "memory",
            place: None,
            revision: head.revision,
            time_ms: head.time_ms,
            oldest_revision: head.floor,
            oldest_time_ms: head.floor_time_ms,
            record_count: head.live,
            data_size_bytes: head.bytes,
            waiting: 0,
            writable: true,
            problem: None,
            size_on_disk_bytes: None,
            flushes: super::Timed::default(),
            staleness: None,
        }
    }
}

impl Data {
    fn revision(&self) -> Revision {
        self.log.last().map_or(self.floor, |commit| commit.revision)
    }

    fn time_ms(&self) -> i64 {
        self.log.last().map_or(self.floor_time_ms, |commit| commit.time_ms)
    }

    fn head(&self) -> Head {
        let Data { floor, floor_time_ms, live, .. } = *self;
        Head {
            revision: self.revision(),
            time_ms: self.time_ms(),
            floor,
            floor_time_ms,
            live,
            bytes: self.bytes as u64,
        }
    }

    fn check_kept(&self, revision: Revision) -> Result<(), StoreError> {
        if revision >= self.floor {
            return Ok(());
        }
        Err(StoreError::Compacted { asked: Some(revision), oldest: self.floor })
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

    fn history(&self, key: &[u8], before: Revision, limit: usize) -> Vec<Version> {
        let versions = self.versions.get(key).map(Vec::as_slice).unwrap_or_default();
        let wanted = versions.iter().rev().filter(|(revision, _)| *revision < before).take(limit);
        let origin = |revision: Revision| {
            let at = self.log.binary_search_by_key(&revision, |commit| commit.revision).ok()?;
            self.log.get(at).map(|commit| (commit.time_ms, commit.about.clone()))
        };
        wanted
            .map(|(revision, value)| Version { revision: *revision, origin: origin(*revision), value: value.clone() })
            .collect()
    }

    fn append(&mut self, commit: &Arc<Commit>) {
        for write in &commit.writes {
            let was_live = self.last(&write.key).is_some_and(|last| last.live);
            self.live += u64::from(write.value.is_some());
            self.live -= u64::from(was_live);
            self.bytes += size(&write.key, &write.value);
            let versions = self.versions.entry(write.key.clone()).or_default();
            versions.push((commit.revision, write.value.clone()));
        }
        self.log.push(Arc::clone(commit));
    }

    fn compact(&mut self, floor: Revision) {
        if floor <= self.floor {
            return;
        }
        let spent = self.log.partition_point(|commit| commit.revision <= floor);
        if let Some(last) = self.log.drain(..spent).next_back() {
            self.floor_time_ms = last.time_ms;
        }
        self.floor = floor;
        let Self { versions, bytes, .. } = self;
        versions.retain(|key, versions| {
            let below = versions.partition_point(|(revision, _)| *revision <= floor);
            let deleted = versions.get(below.wrapping_sub(1)).is_some_and(|(_, value)| value.is_none());
            for (_, value) in versions.drain(..if deleted { below } else { below.saturating_sub(1) }) {
                *bytes -= size(key, &value);
            }
            !versions.is_empty()
        });
    }

    /// The rows that a durable store of the same content has, in key order, and what they amount to.
    fn rows(&self) -> Result<(Vec<rows::Row>, Totals), StoreError> {
        let Data { floor, floor_time_ms, .. } = *self;
        let mut base = Totals { revision: floor, floor, time_ms: floor_time_ms, floor_time_ms, ..Totals::default() };
        let mut all = Vec::new();
        for (key, versions) in &self.versions {
            if let Some((revision, value)) = versions.first().filter(|(revision, _)| *revision <= floor) {
                let row_key = rows::version_key(key, *revision);
                let row = encode_version(&row_key, value.as_deref());
                base.add(&row_key, &row);
                base.live += 1;
                all.push((row_key, row));
            }
        }
        let mut plan = Plan::new(base);
        for commit in &self.log {
            let Commit { time_ms, about, writes, .. } = &**commit;
            let batch = Batch { writes: writes.clone(), time_ms: *time_ms, about: about.clone(), ..Batch::default() };
            let mut before = |key: &[u8]| {
                let record = self.record_as_of(key, floor);
                Ok(record.map(|record| Last { revision: record.revision, live: true }))
            };
            plan.add(batch, &mut before)?;
        }
        all.extend(plan.rows);
        all.sort_unstable();
        Ok((all, plan.totals))
    }
}

fn size(key: &Bytes, value: &Option<Bytes>) -> usize {
    key.len() + value.as_ref().map_or(0, Bytes::len)
}
