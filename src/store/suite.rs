//! The store suite: the contract of [`Store`], run on every backend.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use proptest::prelude::*;
use tokio::task::JoinSet;

use super::{Batch, Contents, Expect, MemoryStore, Record, Revision, SledOptions, SledStore, Store, StoreError, Write};

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
    let contents = store.load().await.unwrap();
    assert_eq!(contents.revision, second);
    assert_eq!(contents.records.len(), 2);
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

/// One step of a random history.
#[derive(Clone, Debug)]
enum Step {
    /// Keys with new values, and keys to expect something true or false of.
    Commit {
        writes: Vec<(u8, Option<u8>)>,
        expect: Vec<(u8, bool)>,
    },
    Reopen,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let change = (0..6_u8, proptest::option::weighted(0.7, any::<u8>()));
    let writes = proptest::collection::vec(change, 0..4);
    let expect = proptest::collection::vec((0..6_u8, proptest::bool::weighted(0.8)), 0..3);
    let commit = (writes, expect).prop_map(|(writes, expect)| Step::Commit { writes, expect });
    proptest::collection::vec(prop_oneof![15 => commit, 1 => Just(Step::Reopen)], 1..40)
}

/// Each key's versions: the simplest thing that could be right.
type Model = BTreeMap<String, Vec<(Revision, Option<String>)>>;

fn run_history(steps: &[Step], mut reopen: impl FnMut(Option<AnyStore>) -> AnyStore) {
    let mut store = reopen(None);
    let (mut model, mut revision) = (Model::new(), 0);
    for step in steps {
        let Step::Commit { writes, expect: expected } = step else {
            store = reopen(Some(store));
            continue;
        };
        let last = |key: &str| match model.get(key).and_then(|versions| versions.last()) {
            Some((revision, Some(_))) => Some(*revision),
            _ => None,
        };
        let name = |key: u8| format!("key/{key}");
        let expect_of = |&(key, truly): &(u8, bool)| match last(&name(key)) {
            found if truly => expect(&name(key), found),
            Some(_) => expect(&name(key), None),
            None => expect(&name(key), Some(revision + 1)),
        };
        let batch = Batch {
            expect: expected.iter().map(expect_of).collect(),
            writes: writes
                .iter()
                .map(|(key, value)| match value {
                    Some(value) => put(&name(*key), value.to_string()),
                    None => delete(&name(*key)),
                })
                .collect(),
            ..Batch::default()
        };
        match block_on(store.commit(batch)) {
            Err(StoreError::Conflict { .. }) => assert!(expected.iter().any(|(_, truly)| !truly)),
            Err(error) => panic!("{error}"),
            Ok(answered) => {
                assert!(expected.iter().all(|(_, truly)| *truly));
                assert_eq!(answered > revision, !writes.is_empty());
                revision = answered;
                let last: BTreeMap<_, _> = writes.iter().copied().collect();
                for (key, value) in last {
                    let versions = model.entry(name(key)).or_default();
                    versions.push((revision, value.map(|value| value.to_string())));
                }
            }
        }
    }
    compare(&reopen(Some(store)), &model, revision);
}

fn compare(store: &AnyStore, model: &Model, revision: Revision) {
    let at = |key: &str, up_to: Revision| {
        let versions = model.get(key)?;
        let (revision, value) = versions.iter().rfind(|(written, _)| *written <= up_to)?;
        Some(record(key, value.as_ref()?, *revision))
    };
    let contents = block_on(store.load()).unwrap();
    assert_eq!(contents.revision, revision);
    assert!(contents.records.iter().cloned().eq(model.keys().filter_map(|key| at(key, revision))));
    assert_eq!(store.status().record_count, contents.records.len() as u64);
    for up_to in 0..=revision {
        for key in model.keys() {
            let found = block_on(store.record_as_of(key.as_bytes(), up_to)).unwrap();
            assert_eq!(found, at(key, up_to));
        }
    }
    let mut changes = BTreeSet::new();
    for commit in block_on(store.changes_since(0, usize::MAX)).unwrap() {
        for write in &commit.writes {
            changes.insert((write.key.clone(), commit.revision, write.value.clone()));
        }
    }
    let expected = model.iter().flat_map(|(key, versions)| {
        let change = |(revision, value): &(Revision, Option<String>)| {
            (Bytes::from(key.clone()), *revision, value.clone().map(Bytes::from))
        };
        versions.iter().map(change)
    });
    assert!(changes.into_iter().eq(expected));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 100, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_history_in_memory_matches_the_model(steps in steps()) {
        run_history(&steps, |store| store.unwrap_or_else(|| Arc::new(MemoryStore::new())));
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 12, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_history_on_disk_matches_the_model(steps in steps()) {
        let directory = tempfile::tempdir().unwrap();
        run_history(&steps, |store| {
            drop(store);
            Arc::new(open(directory.path()))
        });
    }
}
