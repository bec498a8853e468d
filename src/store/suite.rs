//! The store suite: the contract of [`Store`], run on every backend.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use proptest::prelude::*;
use tokio::task::JoinSet;

use super::damage::copy;
use super::faults::restart_machine;
use super::{
    ArchiveWriter, Batch, Contents, Expect, Hook, MemoryStore, NOTE_SIZE_BYTES_MAX, Record, Revision, SledOptions,
    SledStore, Store, StoreError, Version, Write, compact, restore,
};

#[cfg(feature = "etcd")]
mod in_cluster;

type AnyStore = Arc<dyn Store>;

pub(super) fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(future)
}

pub(super) fn open(path: &Path) -> SledStore {
    SledStore::open(SledOptions::new(path)).unwrap()
}

pub(super) fn put(key: &str, value: impl Into<Bytes>) -> Write {
    Write { key: key.to_owned().into(), value: Some(value.into()) }
}

fn delete(key: &str) -> Write {
    Write { key: key.to_owned().into(), value: None }
}

fn expect(key: &str, revision: Option<Revision>) -> Expect {
    Expect { key: key.to_owned().into(), revision }
}

pub(super) fn writes(writes: impl IntoIterator<Item = Write>) -> Batch {
    Batch::of(writes)
}

fn record(key: &str, value: &str, revision: Revision) -> Record {
    Record { key: key.to_owned().into(), value: value.to_owned().into(), revision }
}

/// Runs each function of the suite on each backend, as a test of its name.
macro_rules! on_every_backend {
    ($($name:ident)*) => {
        mod in_memory {
            $(#[test] fn $name() {
                super::block_on(super::$name(std::sync::Arc::new(super::MemoryStore::new())));
            })*
        }
        mod embedded {
            $(#[test] fn $name() {
                let directory = tempfile::tempdir().unwrap();
                super::block_on(super::$name(std::sync::Arc::new(super::open(directory.path()))));
            })*
        }
        #[cfg(feature = "etcd")]
        mod in_etcd {
            $(#[test] fn $name() {
                let cluster = super::in_cluster::start();
                super::block_on(super::$name(std::sync::Arc::new(super::in_cluster::open(&cluster, "suite"))));
            })*
        }
    };
}

on_every_backend! {
    a_new_store_is_empty
    writes_are_read_back
    an_expectation_that_fails_writes_nothing
    a_deleted_key_does_not_exist
    a_batch_without_writes_consumes_no_revision
    the_last_write_of_a_key_in_a_batch_counts
    keys_that_no_store_can_hold_are_refused
    a_record_is_read_as_of_any_revision
    changes_come_oldest_first_and_limited
    a_commit_is_delivered_before_it_is_answered
    concurrent_commits_are_delivered_in_order
    concurrent_counters_lose_no_step
    dropping_the_future_does_not_cancel_the_batch
    values_of_any_size_are_kept
    times_and_notes_are_kept_and_times_never_go_back
    a_time_leads_to_the_last_revision_before_it
    versions_of_a_key_come_newest_first
    several_records_are_read_as_of_a_revision
    compaction_lets_go_of_history_and_of_nothing_else
    a_restored_backup_is_the_same_store
    a_note_that_is_too_long_is_refused
    a_large_batch_is_one_commit
    serial_commits_follow_one_another
}

async fn a_large_batch_is_one_commit(store: AnyStore) {
    let first = store.commit(writes([put("k/000007", "old"), put("z", "old")])).await.unwrap();
    let mut commits = store.subscribe();
    let large = || {
        let many = (0..1_500).map(|number| put(&format!("k/{number:06}"), vec![b'v'; number % 3_000]));
        many.chain([put("long", vec![b'l'; 2_500_000]), delete("z"), delete("never")]).collect::<Vec<_>>()
    };
    let expect = vec![expect("k/000007", Some(first)), expect("long", None)];
    let batch = Batch { expect, ..at(7, "many", writes(large())) };
    let second = store.commit(batch.clone()).await.unwrap();
    let delivered = commits.try_recv().unwrap();
    assert_eq!((delivered.revision, delivered.time_ms, &delivered.about[..]), (second, 7, &b"many"[..]));
    assert_eq!(delivered.writes, large());
    assert_eq!(store.changes_since(first, 9).await.unwrap(), std::slice::from_ref(&delivered));
    assert_eq!(store.status().record_count, 1_501);
    // What it wrote is changed again at once, and read as it was.
    let refused = store.commit(batch).await;
    assert!(matches!(refused, Err(StoreError::Conflict { .. })), "{refused:?}");
    let newer = Batch { expect: vec![self::expect("k/000009", Some(second))], ..writes([put("k/000009", "new")]) };
    let third = store.commit(Batch { ..newer }).await.unwrap();
    let keys = ["k/000007", "k/000009", "long", "z"].map(Bytes::from).to_vec();
    let value = |record: &Option<Record>| record.as_ref().map(|record| (record.value.len(), record.revision));
    for (revision, expected) in [
        (first, [Some((3, first)), None, None, Some((3, first))]),
        (second, [Some((7, second)), Some((9, second)), Some((2_500_000, second)), None]),
        (third, [Some((7, second)), Some((3, third)), Some((2_500_000, second)), None]),
    ] {
        let found = store.records_as_of(keys.clone(), revision).await.unwrap();
        assert!(found.iter().map(value).eq(expected), "as of {revision}");
    }
    let versions = store.history(b"k/000009", u64::MAX, 9).await.unwrap();
    assert!(versions.iter().map(|version| version.revision).eq([third, second]));
    let versions = store.history(b"z", u64::MAX, 9).await.unwrap();
    assert!(versions.iter().map(|version| version.value.is_some()).eq([false, true]));
    let contents = store.load().await.unwrap();
    assert_eq!((contents.revision, contents.records.len()), (third, 1_501));
    assert!(contents.records.is_sorted_by_key(|record| record.key.clone()));
    store.commit(writes([delete("long")])).await.unwrap();
    let found = store.record_as_of(b"long", third).await.unwrap().unwrap();
    assert_eq!(found.value.len(), 2_500_000);
}

async fn serial_commits_follow_one_another(store: AnyStore) {
    let batch = |name, seen| Batch { serial: Some(super::Serial { name, seen }), ..writes([put("a", "1")]) };
    let first = store.commit(batch("one", 0)).await.unwrap();
    let refused = store.commit(batch("one", first - 1)).await;
    assert!(matches!(refused, Err(StoreError::Conflict { found: Some(found), .. }) if found == first), "{refused:?}");
    store.commit(batch("other", 0)).await.unwrap();
    let second = store.commit(batch("one", first)).await.unwrap();
    // Others do not matter.
    store.commit(writes([put("b", "1")])).await.unwrap();
    store.commit(batch("one", second)).await.unwrap();
    assert!(store.commit(batch("one", second)).await.is_err());
}

async fn a_new_store_is_empty(store: AnyStore) {
    assert_eq!(store.load().await.unwrap(), Contents::default());
    assert_eq!(store.changes_since(0, 10).await.unwrap(), vec![]);
    assert_eq!(store.record_as_of(b"a", 10).await.unwrap(), None);
    let status = store.status();
    assert_eq!((status.revision, status.record_count, status.writable), (0, 0, true));
    assert_eq!(status.problem, None);
}

async fn writes_are_read_back(store: AnyStore) {
    let first = store.commit(writes([put("b", "1"), put("a", "2")])).await.unwrap();
    let second = store.commit(writes([put("b", "3"), put("ab", "4")])).await.unwrap();
    assert!(0 < first && first < second);
    let records = vec![record("a", "2", first), record("ab", "4", second), record("b", "3", second)];
    assert_eq!(store.load().await.unwrap(), Contents { revision: second, records });
    let third = store.commit(writes([delete("a"), delete("never")])).await.unwrap();
    let records = vec![record("ab", "4", second), record("b", "3", second)];
    assert_eq!(store.load().await.unwrap(), Contents { revision: third, records });
    let status = store.status();
    assert_eq!((status.revision, status.record_count), (third, 2));
}

async fn an_expectation_that_fails_writes_nothing(store: AnyStore) {
    let first = store.commit(writes([put("a", "1"), put("b", "1")])).await.unwrap();
    let second = store.commit(writes([put("b", "2")])).await.unwrap();
    for (key, expected, found) in [
        ("a", None, Some(first)),
        ("a", Some(second), Some(first)),
        ("b", Some(first), Some(second)),
        ("c", Some(second), None),
    ] {
        let expect = vec![expect("a", Some(first)), expect(key, expected)];
        let batch = Batch { expect, ..Batch::of([put("a", "x"), put("d", "x")]) };
        match store.commit(batch).await {
            Err(StoreError::Conflict { key: conflict, expected: wanted, found: last }) => {
                assert_eq!((&conflict[..], wanted, last), (key.as_bytes(), expected, found));
            }
            other => panic!("{key} {expected:?}: {other:?}"),
        }
    }
    assert_eq!(store.load().await.unwrap().revision, second);
    assert_eq!(store.load().await.unwrap().records.len(), 2);
    let holds = vec![expect("a", Some(first)), expect("b", Some(second)), expect("c", None)];
    let third = store.commit(Batch { expect: holds, ..Batch::of([put("c", "3")]) }).await.unwrap();
    assert_eq!(store.load().await.unwrap().revision, third);
}

async fn a_deleted_key_does_not_exist(store: AnyStore) {
    store.commit(writes([put("a", "1")])).await.unwrap();
    let deleted = store.commit(writes([delete("a")])).await.unwrap();
    let batch = |revision| Batch { expect: vec![expect("a", revision)], ..Batch::of([put("a", "2")]) };
    let refused = store.commit(batch(Some(deleted))).await;
    assert!(matches!(refused, Err(StoreError::Conflict { found: None, .. })), "{refused:?}");
    store.commit(batch(None)).await.unwrap();
    assert_eq!(store.status().record_count, 1);
}

async fn a_batch_without_writes_consumes_no_revision(store: AnyStore) {
    assert_eq!(store.commit(Batch::default()).await.unwrap(), 0);
    let revision = store.commit(writes([put("a", "1")])).await.unwrap();
    assert_eq!(store.commit(Batch::default()).await.unwrap(), revision);
    let check = |expect| Batch { expect: vec![expect], ..Batch::default() };
    assert_eq!(store.commit(check(expect("a", Some(revision)))).await.unwrap(), revision);
    let refused = store.commit(check(expect("a", None))).await;
    assert!(matches!(refused, Err(StoreError::Conflict { .. })), "{refused:?}");
    assert_eq!(store.changes_since(0, 10).await.unwrap().len(), 1);
}

async fn the_last_write_of_a_key_in_a_batch_counts(store: AnyStore) {
    let batch = writes([put("a", "1"), put("b", "1"), delete("a"), put("b", "2"), put("c", "1")]);
    let revision = store.commit(batch).await.unwrap();
    let contents = store.load().await.unwrap();
    assert_eq!(contents.records, [record("b", "2", revision), record("c", "1", revision)]);
    assert_eq!(store.status().record_count, 2);
    let commits = store.changes_since(0, 10).await.unwrap();
    assert_eq!(commits[0].writes, [delete("a"), put("b", "2"), put("c", "1")]);
}

async fn keys_that_no_store_can_hold_are_refused(store: AnyStore) {
    for key in ["", "a\0b", "\0", &"k".repeat(1025)] {
        let refusals = [
            store.commit(writes([put("fine", "1"), put(key, "1")])).await.map(|_| ()),
            store.commit(Batch { expect: vec![expect(key, None)], ..Batch::default() }).await.map(|_| ()),
            store.record_as_of(key.as_bytes(), 1).await.map(|_| ()),
        ];
        for refused in refusals {
            assert!(matches!(refused, Err(StoreError::InvalidKey { .. })), "{refused:?}");
        }
    }
    let longest = "k".repeat(1024);
    let revision = store.commit(writes([put(&longest, "1")])).await.unwrap();
    assert_eq!(store.load().await.unwrap().records, [record(&longest, "1", revision)]);
}

async fn a_record_is_read_as_of_any_revision(store: AnyStore) {
    let first = store.commit(writes([put("a", "1"), put("aa", "x")])).await.unwrap();
    let second = store.commit(writes([put("b", "1")])).await.unwrap();
    let third = store.commit(writes([put("a", "2")])).await.unwrap();
    let fourth = store.commit(writes([delete("a")])).await.unwrap();
    for (revision, expected) in [
        (0, None),
        (first, Some(record("a", "1", first))),
        (second, Some(record("a", "1", first))),
        (third, Some(record("a", "2", third))),
        (fourth, None),
        (u64::MAX, None),
    ] {
        assert_eq!(store.record_as_of(b"a", revision).await.unwrap(), expected, "at {revision}");
    }
    assert_eq!(store.record_as_of(b"c", fourth).await.unwrap(), None);
}

async fn changes_come_oldest_first_and_limited(store: AnyStore) {
    let mut revisions = Vec::new();
    for number in 0..5 {
        let batch = writes([put("a", number.to_string()), delete("b")]);
        revisions.push(store.commit(batch).await.unwrap());
    }
    let all = store.changes_since(0, usize::MAX).await.unwrap();
    let found: Vec<_> = all.iter().map(|commit| commit.revision).collect();
    assert_eq!(found, revisions);
    assert_eq!(all[3].writes, [put("a", "3"), delete("b")]);
    assert_eq!(store.changes_since(revisions[1], 2).await.unwrap(), all[2..4]);
    assert_eq!(store.changes_since(revisions[4], 2).await.unwrap(), vec![]);
    assert_eq!(store.changes_since(u64::MAX, 2).await.unwrap(), vec![]);
    assert_eq!(store.changes_since(0, 0).await.unwrap(), vec![]);
}

async fn a_commit_is_delivered_before_it_is_answered(store: AnyStore) {
    store.commit(writes([put("before", "1")])).await.unwrap();
    let mut commits = store.subscribe();
    for number in 0..20 {
        let revision = store.commit(writes([put("a", number.to_string())])).await.unwrap();
        let delivered = commits.try_recv().expect("delivered by the time of the answer");
        assert_eq!((delivered.revision, store.status().revision), (revision, revision));
        assert_eq!(delivered.writes, [put("a", number.to_string())]);
    }
    drop(store);
    assert!(commits.recv().await.is_none(), "ends with the store");
}

async fn concurrent_commits_are_delivered_in_order(store: AnyStore) {
    let mut commits = store.subscribe();
    // Four runtimes share the store, as the threads of a server do.
    let threads: Vec<_> = (0..4)
        .map(|thread| {
            let store = Arc::clone(&store);
            std::thread::spawn(move || {
                block_on(async {
                    let mut tasks = JoinSet::new();
                    for task in 0..16 {
                        let store = Arc::clone(&store);
                        tasks.spawn(async move {
                            for number in 0..10 {
                                let key = format!("{thread}/{task}/{number}");
                                store.commit(writes([put(&key, "1")])).await.unwrap();
                            }
                        });
                    }
                    while let Some(done) = tasks.join_next().await {
                        done.unwrap();
                    }
                });
            })
        })
        .collect();
    threads.into_iter().for_each(|thread| thread.join().unwrap());
    let delivered: Vec<_> = std::iter::from_fn(|| commits.try_recv().ok()).collect();
    assert_eq!(delivered.len(), 640);
    assert!(delivered.windows(2).all(|pair| pair[0].revision < pair[1].revision));
    assert_eq!(store.changes_since(0, usize::MAX).await.unwrap(), delivered);
    assert_eq!(store.load().await.unwrap().records.len(), 640);
}

async fn concurrent_counters_lose_no_step(store: AnyStore) {
    let mut tasks = JoinSet::new();
    for _ in 0..8 {
        let store = Arc::clone(&store);
        tasks.spawn(async move {
            let mut steps = 0;
            while steps < 10 {
                let last = store.record_as_of(b"n", u64::MAX).await.unwrap();
                let count: u32 =
                    last.as_ref().map_or(0, |record| std::str::from_utf8(&record.value).unwrap().parse().unwrap());
                let expect = vec![expect("n", last.map(|record| record.revision))];
                let batch = Batch { expect, ..Batch::of([put("n", (count + 1).to_string())]) };
                match store.commit(batch).await {
                    Ok(_) => steps += 1,
                    Err(StoreError::Conflict { .. }) => tokio::task::yield_now().await,
                    Err(error) => panic!("{error}"),
                }
            }
        });
    }
    while let Some(done) = tasks.join_next().await {
        done.unwrap();
    }
    let record = store.record_as_of(b"n", u64::MAX).await.unwrap().unwrap();
    assert_eq!(record.value, "80");
}

async fn dropping_the_future_does_not_cancel_the_batch(store: AnyStore) {
    drop(store.commit(writes([put("a", "1")])));
    let second = store.commit(writes([put("b", "2")])).await.unwrap();
    // In a cluster the other one may still be under way.
    while store.load().await.unwrap().records.len() < 2 {
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    assert!(store.load().await.unwrap().revision >= second);
}

async fn values_of_any_size_are_kept(store: AnyStore) {
    let sizes = [0, 1, 22, 23, 4096, 100_000, 700_000, 3_000_000];
    for size in sizes {
        let value = vec![b'x'; size];
        store.commit(writes([put(&format!("{size:09}"), value)])).await.unwrap();
    }
    let contents = store.load().await.unwrap();
    assert!(contents.records.iter().map(|record| record.value.len()).eq(sizes));
}

fn at(time_ms: i64, about: &str, batch: Batch) -> Batch {
    Batch { time_ms, about: about.to_owned().into(), ..batch }
}

async fn times_and_notes_are_kept_and_times_never_go_back(store: AnyStore) {
    let mut delivered = store.subscribe();
    for (time_ms, about) in [(-5, "before 1970"), (700, "me"), (300, "a clock set back"), (900, "")] {
        store.commit(at(time_ms, about, writes([put("a", "1")]))).await.unwrap();
    }
    let commits = store.changes_since(0, 10).await.unwrap();
    let found: Vec<_> = commits.iter().map(|commit| (commit.time_ms, &commit.about[..])).collect();
    // A new store is as old as 1970.
    assert_eq!(found, [(0, &b"before 1970"[..]), (700, b"me"), (700, b"a clock set back"), (900, b"")]);
    assert_eq!(std::iter::from_fn(|| delivered.try_recv().ok()).collect::<Vec<_>>(), commits);
}

async fn a_time_leads_to_the_last_revision_before_it(store: AnyStore) {
    assert_eq!(store.revision_at(5).await.unwrap(), 0);
    let mut revisions = vec![0];
    for time_ms in [10, 20, 20, 30, 50, 80] {
        revisions.push(store.commit(at(time_ms, "", writes([put("a", "1")]))).await.unwrap());
    }
    let expected =
        [(9, 0), (10, 1), (19, 1), (20, 3), (29, 3), (30, 4), (79, 5), (80, 6), (i64::MAX, 6), (i64::MIN, 0)];
    for (time_ms, commit) in expected {
        assert_eq!(store.revision_at(time_ms).await.unwrap(), revisions[commit], "{time_ms}");
    }
    store.compact(revisions[3]).await.unwrap();
    for (time_ms, commit) in [(20, 3), (29, 3), (30, 4), (i64::MAX, 6)] {
        assert_eq!(store.revision_at(time_ms).await.unwrap(), revisions[commit], "{time_ms}");
    }
    let refused = store.revision_at(19).await;
    assert!(matches!(refused, Err(StoreError::Compacted { oldest, .. }) if oldest == revisions[3]), "{refused:?}");
}

async fn versions_of_a_key_come_newest_first(store: AnyStore) {
    let value = |text: &str| Some(Bytes::from(text.to_owned()));
    let mut revisions = Vec::new();
    for (time_ms, write) in [(1, put("a", "1")), (2, put("ab", "x")), (3, put("a", "2")), (4, delete("a"))] {
        revisions.push(store.commit(at(time_ms, "n", writes([write]))).await.unwrap());
    }
    let version =
        |at: usize, value| Version { revision: revisions[at], origin: Some((at as i64 + 1, "n".into())), value };
    let all = [version(3, None), version(2, value("2")), version(0, value("1"))];
    assert_eq!(store.history(b"a", u64::MAX, 10).await.unwrap(), all);
    assert_eq!(store.history(b"a", u64::MAX, 2).await.unwrap(), all[..2]);
    assert_eq!(store.history(b"a", revisions[3], 10).await.unwrap(), all[1..]);
    assert_eq!(store.history(b"a", revisions[2], 10).await.unwrap(), all[2..]);
    assert_eq!(store.history(b"a", 0, 10).await.unwrap(), []);
    assert_eq!(store.history(b"none", u64::MAX, 10).await.unwrap(), []);
    // Of what the oldest revision shows the commit is no longer there.
    store.compact(revisions[2]).await.unwrap();
    let oldest = Version { origin: None, ..version(2, value("2")) };
    assert_eq!(store.history(b"a", u64::MAX, 10).await.unwrap(), [version(3, None), oldest]);
    store.compact(revisions[3]).await.unwrap();
    assert_eq!(store.history(b"a", u64::MAX, 10).await.unwrap(), []);
}

async fn several_records_are_read_as_of_a_revision(store: AnyStore) {
    let first = store.commit(writes([put("a", "1"), put("b", "1")])).await.unwrap();
    let second = store.commit(writes([put("a", "2"), delete("b")])).await.unwrap();
    let keys = || ["b", "c", "a"].map(Bytes::from).to_vec();
    let found = store.records_as_of(keys(), first).await.unwrap();
    assert_eq!(found, [Some(record("b", "1", first)), None, Some(record("a", "1", first))]);
    let found = store.records_as_of(keys(), second).await.unwrap();
    assert_eq!(found, [None, None, Some(record("a", "2", second))]);
    store.compact(second).await.unwrap();
    let refused = store.records_as_of(keys(), first).await;
    assert!(matches!(refused, Err(StoreError::Compacted { .. })), "{refused:?}");
}

async fn compaction_lets_go_of_history_and_of_nothing_else(store: AnyStore) {
    let mut revisions = vec![0];
    for number in 0..600 {
        let batch = match number % 4 {
            0 => writes([put("a", number.to_string()), put(&format!("k/{number}"), "once")]),
            1 => writes([put("b", number.to_string()), delete("a")]),
            2 => writes([put("c", "1"), delete("b"), delete("never")]),
            _ => writes([put("b", "2")]),
        };
        revisions.push(store.commit(at(number, "n", batch)).await.unwrap());
    }
    let size = store.status().data_size_bytes;
    let contents = store.load().await.unwrap();
    for (floor, left) in [(0, 0), (1, 1), (2, 2), (300, 300), (7, 300), (599, 599), (usize::MAX, 600)] {
        let expected = revisions[left];
        let floor = revisions.get(floor).copied().unwrap_or(Revision::MAX);
        let keys: Vec<_> = ["a", "b", "c", "never", "k/0", "k/296"].map(Bytes::from).to_vec();
        let mut before = Vec::new();
        for revision in &revisions[left..] {
            before.push(store.records_as_of(keys.clone(), *revision).await.unwrap());
        }
        let changes = store.changes_since(expected, usize::MAX).await.unwrap();
        assert_eq!(store.compact(floor).await.unwrap(), expected);
        assert_eq!(store.status().oldest_revision, expected);
        assert_eq!(store.load().await.unwrap(), contents);
        assert_eq!(store.changes_since(expected, usize::MAX).await.unwrap(), changes);
        for (revision, records) in revisions[left..].iter().zip(before) {
            assert_eq!(store.records_as_of(keys.clone(), *revision).await.unwrap(), records);
        }
        if let Some(earlier) = expected.checked_sub(1) {
            let oldest = expected;
            let refusals = [
                store.record_as_of(b"a", earlier).await.map(|_| ()),
                store.changes_since(earlier, 1).await.map(|_| ()),
            ];
            for refused in refusals {
                assert!(matches!(refused, Err(StoreError::Compacted { oldest: found, .. }) if found == oldest));
            }
        }
    }
    if store.status().backend != "etcd" {
        // What its history takes etcd does not tell.
        assert!(store.status().data_size_bytes < size / 2, "of {size}: {}", store.status().data_size_bytes);
    }
    let next = store.commit(writes([put("a", "more")])).await.unwrap();
    assert_eq!(store.record_as_of(b"a", next - 1).await.unwrap(), None);
    assert_eq!(store.changes_since(next - 1, 9).await.unwrap().len(), 1);
}

/// A backup of a store, with all that belongs to a file.
pub(super) fn backup(store: &dyn Store) -> Vec<u8> {
    let (parts, taken) = std::sync::mpsc::channel();
    let revision = block_on(store.backup(Box::new(move |part| parts.send(part).is_ok()))).unwrap();
    assert_eq!(revision, store.status().revision);
    let mut archive = ArchiveWriter::new(Vec::new()).unwrap();
    archive.section("registry").unwrap();
    taken.iter().for_each(|part| archive.part(&part).unwrap());
    archive.finish().unwrap()
}

pub(super) fn restored(archive: &[u8], path: &Path) -> Result<SledStore, StoreError> {
    restore(archive, "registry", |label| (label == "registry").then(|| path.to_path_buf()))?;
    SledStore::open(SledOptions::new(path))
}

async fn a_restored_backup_is_the_same_store(store: AnyStore) {
    let mut revisions = vec![0];
    for number in 0..50 {
        let batch = writes([put("a", number.to_string()), put(&format!("k/{number}"), vec![7; 20_000]), delete("b")]);
        revisions.push(store.commit(at(number, "n", batch)).await.unwrap());
    }
    let keeps_history = store.status().backend != "etcd";
    for floor in [0, 20, 50] {
        store.compact(revisions[floor]).await.unwrap();
        // A backup of a cluster holds what is current.
        let floor = revisions[if keeps_history { floor } else { 50 }];
        // On a thread of its own, since this one drives the test.
        let other = Arc::clone(&store);
        let archive = std::thread::spawn(move || backup(&*other)).join().unwrap();
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().to_path_buf();
        let again = std::thread::spawn(move || restored(&archive, &path)).join().unwrap().unwrap();
        assert_eq!(again.load().await.unwrap(), store.load().await.unwrap());
        let changes = again.changes_since(floor, usize::MAX).await.unwrap();
        assert_eq!(changes, store.changes_since(floor, usize::MAX).await.unwrap());
        assert_eq!(again.status().oldest_revision, floor);
        if keeps_history {
            assert_eq!(again.revision_at(30).await.ok(), store.revision_at(30).await.ok());
            let version = again.history(b"a", u64::MAX, usize::MAX).await.unwrap();
            assert_eq!(version, store.history(b"a", u64::MAX, usize::MAX).await.unwrap());
        }
        let refused = again.record_as_of(b"a", floor.wrapping_sub(1)).await;
        assert_eq!(refused.is_err(), floor > 0);
        again.commit(writes([put("a", "more")])).await.unwrap();
    }
}

async fn a_note_that_is_too_long_is_refused(store: AnyStore) {
    let refused = store.commit(at(1, &"n".repeat(NOTE_SIZE_BYTES_MAX + 1), writes([put("a", "1")]))).await;
    assert!(matches!(refused, Err(StoreError::NoteTooLong { .. })), "{refused:?}");
    let longest = "n".repeat(NOTE_SIZE_BYTES_MAX);
    store.commit(at(1, &longest, writes([put("a", "1")]))).await.unwrap();
    assert_eq!(store.changes_since(0, 1).await.unwrap()[0].about, longest);
}

/// One step of a random history.
#[derive(Clone, Debug)]
enum Step {
    /// Keys with new values, and keys to expect something true or false of.
    Commit { writes: Vec<(u8, Option<u8>)>, expect: Vec<(u8, bool)> },
    /// Closed and opened again.
    Reopen,
    /// History before a share of all revisions is let go of.
    Compact(u8),
    /// A step of the disk fails, some steps from now, and the store is opened again.
    Fail(u8),
    /// The process ends, some steps of the disk from now.
    Kill(u8),
    /// Backed up and restored to somewhere else.
    Restore,
    /// Written anew without the history before a share of all revisions.
    Rewrite(u8),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let change = (0..6_u8, proptest::option::weighted(0.7, any::<u8>()));
    let writes = proptest::collection::vec(change, 0..4);
    let expect = proptest::collection::vec((0..6_u8, proptest::bool::weighted(0.8)), 0..3);
    let commit = (writes, expect).prop_map(|(writes, expect)| Step::Commit { writes, expect });
    let other = prop_oneof![
        Just(Step::Reopen),
        any::<u8>().prop_map(Step::Compact),
        (0..12_u8).prop_map(Step::Fail),
        (0..12_u8).prop_map(Step::Kill),
        Just(Step::Restore),
        any::<u8>().prop_map(Step::Rewrite),
    ];
    proptest::collection::vec(prop_oneof![5 => commit, 1 => other], 1..40)
}

/// Each key's versions: the simplest thing that could be right.
#[derive(Clone, Default)]
struct Model {
    versions: BTreeMap<String, Vec<(Revision, Option<String>)>>,
    /// Of all commits.
    revisions: Vec<Revision>,
    revision: Revision,
    floor: Revision,
}

impl Model {
    fn at(&self, key: &str, up_to: Revision) -> Option<Record> {
        let (revision, value) = self.versions.get(key)?.iter().rfind(|(written, _)| *written <= up_to)?;
        Some(record(key, value.as_ref()?, *revision))
    }

    fn commit(&mut self, writes: &[(u8, Option<u8>)], revision: Revision) {
        if writes.is_empty() {
            return;
        }
        self.revisions.push(revision);
        self.revision = revision;
        let last: BTreeMap<_, _> = writes.iter().copied().collect();
        for (key, value) in last {
            let versions = self.versions.entry(name(key)).or_default();
            versions.push((self.revision, value.map(|value| value.to_string())));
        }
    }

    fn batch(&self, writes: &[(u8, Option<u8>)], expected: &[(u8, bool)]) -> Batch {
        let found = |key: u8| self.at(&name(key), Revision::MAX).map(|record| record.revision);
        let expect_of = |&(key, truly): &(u8, bool)| match found(key) {
            found if truly => expect(&name(key), found),
            Some(_) => expect(&name(key), None),
            None => expect(&name(key), Some(self.revision + 1)),
        };
        let write = |(key, value): &(u8, Option<u8>)| match value {
            Some(value) => put(&name(*key), value.to_string()),
            None => delete(&name(*key)),
        };
        Batch { expect: expected.iter().map(expect_of).collect(), ..Batch::of(writes.iter().map(write)) }
    }

    fn share(&self, share: u8) -> Revision {
        let commits = self.revisions.len() * usize::from(share) / 255;
        commits.checked_sub(1).map_or(0, |last| self.revisions[last])
    }
}

fn name(key: u8) -> String {
    format!("key/{key}")
}

/// A backend, and what can happen to it.
trait Bench {
    fn store(&self) -> AnyStore;
    fn reopen(&mut self);
    /// The disk fails or the process ends before the step of that number from now; where no disk is, nothing happens.
    fn arm(&mut self, _step: u8, _kill: bool) {}
    /// Opens again what was left.
    fn recover(&mut self) {}
    fn restore(&mut self);
    /// `None`: the backend cannot do that.
    fn rewrite(&mut self, floor: Revision) -> Option<Revision>;
}

fn run_history(steps: &[Step], bench: &mut dyn Bench) {
    let mut model = Model::default();
    let mut armed = false;
    for step in steps {
        match step {
            Step::Commit { writes, expect } => {
                let outcome = block_on(bench.store().commit(model.batch(writes, expect)));
                match outcome {
                    Err(StoreError::Conflict { .. }) => assert!(expect.iter().any(|(_, truly)| !truly)),
                    Ok(answered) => {
                        assert!(expect.iter().all(|(_, truly)| *truly));
                        assert!(writes.is_empty() || answered > model.revision);
                        model.commit(writes, answered);
                        assert_eq!(answered, model.revision);
                    }
                    Err(error) => {
                        assert!(armed, "{error}");
                        armed = false;
                        bench.recover();
                        // Nobody was told, so it may be there or not; but all of it or nothing.
                        let found = bench.store().status().revision;
                        if found > model.revision {
                            model.commit(writes, found);
                        }
                        compare(&bench.store(), &model);
                    }
                }
            }
            Step::Reopen => bench.reopen(),
            Step::Compact(share) => {
                // Let go of the store before it is opened again.
                let outcome = block_on(bench.store().compact(model.share(*share)));
                match outcome {
                    Ok(floor) => {
                        model.floor = model.floor.max(model.share(*share));
                        assert_eq!(floor, model.floor);
                    }
                    Err(error) => {
                        assert!(armed, "{error}");
                        armed = false;
                        bench.recover();
                        let found = bench.store().status().oldest_revision;
                        assert!(model.floor <= found && found <= model.floor.max(model.share(*share)));
                        model.floor = found;
                    }
                }
            }
            Step::Fail(after) | Step::Kill(after) => {
                bench.arm(*after, matches!(step, Step::Kill(_)));
                armed = true;
                continue;
            }
            Step::Restore => bench.restore(),
            Step::Rewrite(share) => {
                if let Some(floor) = bench.rewrite(model.share(*share)) {
                    model.floor = model.floor.max(model.share(*share));
                    assert_eq!(floor, model.floor);
                }
            }
        }
    }
    bench.reopen();
    compare(&bench.store(), &model);
}

fn compare(store: &AnyStore, model: &Model) {
    let contents = block_on(store.load()).unwrap();
    assert_eq!(contents.revision, model.revision);
    assert!(contents.records.iter().cloned().eq(model.versions.keys().filter_map(|key| model.at(key, model.revision))));
    let status = store.status();
    assert_eq!((status.record_count, status.oldest_revision), (contents.records.len() as u64, model.floor));
    for up_to in std::iter::once(0).chain(model.revisions.iter().copied()) {
        for key in model.versions.keys() {
            match block_on(store.record_as_of(key.as_bytes(), up_to)) {
                Ok(found) if up_to >= model.floor => assert_eq!(found, model.at(key, up_to)),
                Err(StoreError::Compacted { .. }) if up_to < model.floor => {}
                other => panic!("{key} at {up_to} of {}: {other:?}", model.floor),
            }
        }
    }
    let mut changes = BTreeSet::new();
    for commit in block_on(store.changes_since(model.floor, usize::MAX)).unwrap() {
        for write in &commit.writes {
            changes.insert((write.key.clone(), commit.revision, write.value.clone()));
        }
    }
    let expected = model.versions.iter().flat_map(|(key, versions)| {
        let change = |(revision, value): &(Revision, Option<String>)| {
            (Bytes::from(key.clone()), *revision, value.clone().map(Bytes::from))
        };
        versions.iter().filter(|(revision, _)| *revision > model.floor).map(change)
    });
    assert!(changes.into_iter().eq(expected));
}

/// The store in memory; where it is restored it becomes another one.
struct InMemory(AnyStore);

impl Bench for InMemory {
    fn store(&self) -> AnyStore {
        Arc::clone(&self.0)
    }

    fn reopen(&mut self) {}

    fn restore(&mut self) {
        let directory = tempfile::tempdir().unwrap();
        let store = restored(&backup(&*self.0), directory.path()).unwrap();
        assert_eq!(block_on(store.load()).unwrap(), block_on(self.0.load()).unwrap());
        let floor = store.status().oldest_revision;
        let changes = block_on(store.changes_since(floor, usize::MAX)).unwrap();
        assert_eq!(changes, block_on(self.0.changes_since(floor, usize::MAX)).unwrap());
    }

    fn rewrite(&mut self, _: Revision) -> Option<Revision> {
        None
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 100, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_history_in_memory_matches_the_model(steps in steps()) {
        run_history(&steps, &mut InMemory(Arc::new(MemoryStore::new())));
    }
}

/// The store on a disk that can fail.
struct OnDisk {
    directory: tempfile::TempDir,
    /// The folder in it that is in use.
    number: u32,
    store: Option<Arc<SledStore>>,
    trap: Arc<Trap>,
}

/// What happens at a step of the disk.
#[derive(Default)]
struct Trap {
    /// Steps that still go well; none is set when this is `u32::MAX`.
    steps_left: Mutex<Option<u8>>,
    /// Where the files are copied to, as they are at that moment.
    image: Mutex<Option<(PathBuf, PathBuf)>>,
}

impl Trap {
    fn step(&self) -> std::io::Result<()> {
        let mut left = self.steps_left.lock().unwrap();
        match left.as_mut() {
            None => return Ok(()),
            Some(0) => {}
            Some(left) => {
                *left -= 1;
                return Ok(());
            }
        }
        *left = None;
        if let Some((from, to)) = self.image.lock().unwrap().take() {
            copy(&from, &to);
        }
        Err(std::io::Error::other("the disk fails"))
    }
}

impl OnDisk {
    fn new() -> OnDisk {
        let mut bench =
            OnDisk { directory: tempfile::tempdir().unwrap(), number: 0, store: None, trap: Arc::default() };
        bench.open();
        bench
    }

    fn path(&self, number: u32) -> PathBuf {
        self.directory.path().join(format!("store-{number}"))
    }

    fn options(&self) -> SledOptions {
        let trap = Arc::clone(&self.trap);
        SledOptions { hook: Hook::new(move |_| trap.step()), ..SledOptions::new(self.path(self.number)) }
    }

    fn disarm(&mut self) {
        *self.trap.steps_left.lock().unwrap() = None;
        *self.trap.image.lock().unwrap() = None;
    }

    fn close(&mut self) {
        self.disarm();
        self.store = None;
    }

    fn open(&mut self) {
        self.store = Some(Arc::new(SledStore::open(self.options()).unwrap()));
    }
}

impl Bench for OnDisk {
    fn store(&self) -> AnyStore {
        self.store.clone().unwrap()
    }

    fn reopen(&mut self) {
        self.close();
        restart_machine(&self.path(self.number));
        self.open();
    }

    fn arm(&mut self, step: u8, kill: bool) {
        let image = kill.then(|| (self.path(self.number), self.path(self.number + 1)));
        *self.trap.image.lock().unwrap() = image;
        *self.trap.steps_left.lock().unwrap() = Some(step);
    }

    fn recover(&mut self) {
        let image = self.path(self.number + 1);
        self.close();
        if image.exists() {
            self.number += 1;
        }
        restart_machine(&self.path(self.number));
        self.open();
    }

    fn restore(&mut self) {
        self.disarm();
        let archive = backup(&*self.store());
        self.close();
        self.number += 1;
        drop(restored(&archive, &self.path(self.number)).unwrap());
        self.open();
    }

    fn rewrite(&mut self, floor: Revision) -> Option<Revision> {
        self.close();
        let rewritten = compact(&self.options(), |_| Ok(floor)).unwrap();
        self.open();
        Some(rewritten.oldest_revision)
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_history_on_disk_matches_the_model(steps in steps()) {
        run_history(&steps, &mut OnDisk::new());
    }
}
