//! A disk that fails, fills up, hangs or stops at every single step of the writer.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use super::damage::copy;
use super::suite::{block_on, put, writes};
use super::{Batch, Contents, Hook, OnLoss, Revision, SledOptions, SledStore, Step, Store, StoreError, Write};

fn with_hook(path: &Path, before: impl Fn(Step) -> io::Result<()> + Send + Sync + 'static) -> SledOptions {
    SledOptions { hook: Hook::new(before), ..SledOptions::new(path) }
}

/// Batches that put, replace and delete several keys each.
fn batches() -> Vec<Batch> {
    let delete = |key: &str| Write { key: key.to_owned().into(), value: None };
    vec![
        writes([put("a", "1"), put("b", "1"), put("c", "1")]),
        writes([put("a", "2"), delete("b")]),
        writes([put("large", vec![7; 300_000]), put("b", "3")]),
        writes([delete("a"), delete("c"), put("d", "4")]),
        writes([put("a", "5"), delete("b")]),
    ]
}

/// What each number of batches amounts to.
fn expected() -> Vec<Contents> {
    let directory = tempfile::tempdir().unwrap();
    let store = SledStore::open(SledOptions::new(directory.path())).unwrap();
    let mut contents = vec![block_on(store.load()).unwrap()];
    for batch in batches() {
        block_on(store.commit(batch)).unwrap();
        contents.push(block_on(store.load()).unwrap());
    }
    contents
}

/// What a run came to before the disk failed.
#[derive(Debug)]
struct Run {
    /// The revision that was answered last.
    acknowledged: Revision,
    /// The oldest revision that was answered.
    floor: Revision,
    failed: bool,
}

/// Commits all batches one by one, with two compactions between them, as far as the disk goes along.
fn run(store: &SledStore) -> Run {
    let mut run = Run { acknowledged: 0, floor: 0, failed: false };
    for batch in batches() {
        match block_on(store.commit(batch)) {
            Ok(revision) => run.acknowledged = revision,
            Err(_) => run.failed = true,
        }
        if run.acknowledged == 2 || run.acknowledged == 4 {
            match block_on(store.compact(run.acknowledged)) {
                Ok(floor) => run.floor = floor,
                Err(_) => run.failed = true,
            }
        }
    }
    run
}

/// As if the machine was started anew: what can be read is on the disk.
pub(super) fn restart_machine(path: &Path) {
    for note in unsynced_notes(path) {
        std::fs::remove_file(note).unwrap();
    }
}

fn unsynced_notes(path: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(path).into_iter().flatten().map(|entry| entry.unwrap().path());
    entries.filter(|path| path.file_name().unwrap().to_str().unwrap().starts_with("UNSYNCED-")).collect()
}

/// What is found afterwards holds all that was acknowledged, and of the rest whole batches.
fn check(path: &Path, run: &Run, expected: &[Contents], what: &str) {
    restart_machine(path);
    let store = SledStore::open(SledOptions::new(path)).unwrap_or_else(|error| panic!("{what}: {error}"));
    let found = block_on(store.load()).unwrap();
    assert!(found.revision >= run.acknowledged && found.revision <= run.acknowledged + 1, "{what}: {run:?}");
    let at = usize::try_from(found.revision).unwrap();
    assert_eq!(found, expected[at], "{what}");
    assert!(store.status().oldest_revision >= run.floor, "{what}");
    for revision in store.status().oldest_revision..=found.revision {
        for record in &expected[usize::try_from(revision).unwrap()].records {
            let then = block_on(store.record_as_of(&record.key, revision)).unwrap();
            assert_eq!(then.as_ref(), Some(record), "{what}: as of {revision}");
        }
    }
    block_on(store.commit(writes([put("more", "1")]))).unwrap();
}

/// Runs once for each step there is; `at_step` does what happens at it.
fn at_every_step(what: &str, at_step: impl Fn(Step, &Path, &Path) -> io::Result<()> + Send + Sync + Clone + 'static) {
    let expected = expected();
    for chosen in 0.. {
        let directory = tempfile::tempdir().unwrap();
        let (path, image) = (directory.path().join("store"), directory.path().join("image"));
        let reached = Arc::new(Mutex::new(None));
        let (steps, found) = (AtomicUsize::new(0), Arc::clone(&reached));
        // From here on: making the store is no part of it.
        drop(SledStore::open(SledOptions::new(&path)).unwrap());
        let (from, to, at_step) = (path.clone(), image.clone(), at_step.clone());
        let store = SledStore::open(with_hook(&path, move |step| {
            if steps.fetch_add(1, Ordering::SeqCst) != chosen {
                return Ok(());
            }
            *found.lock().unwrap() = Some(step);
            at_step(step, &from, &to)
        }))
        .unwrap();
        let run = run(&store);
        drop(store);
        let Some(step) = *reached.lock().unwrap() else {
            assert!(chosen > 40, "only {chosen} steps");
            assert!(!run.failed && run.acknowledged == 5, "{run:?}");
            return;
        };
        let what = format!("{what} at step {chosen}, {step:?}");
        if image.exists() {
            // Whoever was answered after the image was taken is not in it; those before are.
            let run = Run { acknowledged: 0, floor: 0, failed: true };
            let store = SledStore::open(SledOptions::new(&image)).unwrap_or_else(|error| panic!("{what}: {error}"));
            let revision = store.status().revision;
            drop(store);
            check(&image, &Run { acknowledged: revision, ..run }, &expected, &what);
        } else {
            assert!(run.failed, "{what}");
            check(&path, &run, &expected, &what);
        }
    }
}

#[test]
fn a_failure_at_any_step_loses_nothing_that_was_acknowledged() {
    at_every_step("an error", |_, _, _| Err(io::Error::other("the disk fails")));
}

#[test]
fn a_panic_at_any_step_loses_nothing_that_was_acknowledged() {
    at_every_step("a panic", |_, _, _| panic!("the engine panics"));
}

#[test]
fn a_kill_at_any_step_leaves_whole_batches() {
    at_every_step("a kill", |_, from, to| {
        copy(from, to);
        Ok(())
    });
}

/// What was answered by the moment of each image is in it.
#[test]
fn a_kill_at_any_step_loses_nothing_that_was_acknowledged() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("store");
    let images: Arc<Mutex<Vec<(PathBuf, Revision)>>> = Arc::default();
    let answered = Arc::new(AtomicUsize::new(0));
    let (taken, seen, from, to) =
        (Arc::clone(&images), Arc::clone(&answered), path.clone(), directory.path().to_path_buf());
    let store = SledStore::open(with_hook(&path, move |_| {
        let mut taken = taken.lock().unwrap();
        let image = to.join(taken.len().to_string());
        let revision = seen.load(Ordering::SeqCst) as Revision;
        if from.join("FORMAT").exists() {
            copy(&from, &image);
            taken.push((image, revision));
        }
        Ok(())
    }))
    .unwrap();
    for batch in batches() {
        let revision = block_on(store.commit(batch)).unwrap();
        answered.store(usize::try_from(revision).unwrap(), Ordering::SeqCst);
    }
    drop(store);
    let expected = expected();
    let images = images.lock().unwrap();
    assert!(images.len() > 25, "{}", images.len());
    for (image, acknowledged) in images.iter() {
        let run = Run { acknowledged: *acknowledged, floor: 0, failed: false };
        check(image, &run, &expected, &format!("the image after revision {acknowledged}"));
    }
}

fn wait_until(what: &str, holds: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while !holds() {
        assert!(Instant::now() < deadline, "{what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn a_full_disk_stops_writes_until_there_is_room() {
    let directory = tempfile::tempdir().unwrap();
    let full = Arc::new(AtomicBool::new(false));
    let is_full = Arc::clone(&full);
    let store = SledStore::open(with_hook(directory.path(), move |step| {
        let fails = is_full.load(Ordering::SeqCst) && step == Step::Flush;
        if fails { Err(io::ErrorKind::StorageFull.into()) } else { Ok(()) }
    }))
    .unwrap();
    let mut commits = store.subscribe();
    block_on(store.commit(writes([put("a", "1")]))).unwrap();
    full.store(true, Ordering::SeqCst);
    let refused = block_on(store.commit(writes([put("a", "2")])));
    assert!(matches!(refused, Err(StoreError::Full { .. })), "{refused:?}");
    let refused = block_on(store.commit(writes([put("a", "3")])));
    assert!(matches!(refused, Err(StoreError::ReadOnly { .. })), "{refused:?}");
    let problem = store.status().problem.unwrap();
    assert!(problem.contains("until the disk takes writes again"), "{problem}");
    assert_eq!(block_on(store.record_as_of(b"a", u64::MAX)).unwrap().unwrap().value, "1");
    full.store(false, Ordering::SeqCst);
    wait_until("the store recovers", || store.status().writable);
    let revision = block_on(store.commit(writes([put("a", "4")]))).unwrap();
    // Of the batch that failed all is there or nothing, and who listens is told of it.
    let told: Vec<_> = std::iter::from_fn(|| commits.try_recv().ok()).map(|commit| commit.revision).collect();
    assert_eq!(told, (1..=revision).collect::<Vec<_>>());
    assert_eq!(block_on(store.changes_since(0, 10)).unwrap().len() as u64, revision);
}

#[test]
fn a_failed_sync_is_not_forgotten_while_the_process_runs() {
    let directory = tempfile::tempdir().unwrap();
    let fails = Arc::new(AtomicBool::new(true));
    let failing = Arc::clone(&fails);
    let store = SledStore::open(SledOptions::new(directory.path())).unwrap();
    drop(store);
    let store = SledStore::open(with_hook(directory.path(), move |step| {
        let fails = step == Step::Sync && failing.swap(false, Ordering::SeqCst);
        // Also one that looks as if it would pass.
        if fails { Err(io::ErrorKind::StorageFull.into()) } else { Ok(()) }
    }))
    .unwrap();
    let refused = block_on(store.commit(writes([put("a", "1")])));
    assert!(matches!(refused, Err(StoreError::Unsynced { .. })), "{refused:?}");
    std::thread::sleep(Duration::from_millis(1_500));
    assert!(store.status().problem.unwrap().contains("until a restart"));
    assert!(block_on(store.commit(writes([put("a", "2")]))).is_err());
    drop(store);
    // A restart of the process empties no memory of files: what is read may still not be on the disk.
    let error = SledStore::open(SledOptions::new(directory.path())).unwrap_err();
    assert!(error.to_string().contains("a sync has failed"), "{error}");
    let options = SledOptions { on_loss: OnLoss::ReadOnly, ..SledOptions::new(directory.path()) };
    let store = SledStore::open(options).unwrap();
    assert!(!store.status().writable);
    drop(store);
    // After a restart of the machine what is read is on the disk.
    restart_machine(directory.path());
    std::fs::write(directory.path().join("UNSYNCED-of-another-start"), "").unwrap();
    let store = SledStore::open(SledOptions::new(directory.path())).unwrap();
    block_on(store.commit(writes([put("a", "3")]))).unwrap();
    assert!(unsynced_notes(directory.path()).is_empty());
}

#[test]
fn a_hang_that_ends_in_a_failure_is_no_hang_that_is_over() {
    for step in [Step::Sync, Step::Flush, Step::Witness] {
        for panics in [false, true] {
            let directory = tempfile::tempdir().unwrap();
            let hangs = Arc::new(AtomicBool::new(false));
            let hanging = Arc::clone(&hangs);
            let options = with_hook(directory.path(), move |at| {
                if at != step || !hanging.swap(false, Ordering::SeqCst) {
                    return Ok(());
                }
                std::thread::sleep(Duration::from_millis(400));
                assert!(!panics, "the engine panics");
                Err(io::Error::other("the disk fails"))
            });
            let store = SledStore::open(SledOptions { hang_after: Duration::from_millis(100), ..options }).unwrap();
            block_on(store.commit(writes([put("a", "1")]))).unwrap();
            hangs.store(true, Ordering::SeqCst);
            let answer = block_on(store.commit(writes([put("a", "2")])));
            assert!(matches!(answer, Err(StoreError::Unavailable { .. })), "{answer:?}");
            wait_until("the failure is known", || {
                store.status().problem.is_some_and(|problem| problem.contains("until a restart"))
            });
            std::thread::sleep(Duration::from_millis(200));
            let refused = block_on(store.commit(writes([put("a", "3")])));
            assert!(matches!(refused, Err(StoreError::ReadOnly { .. })), "{refused:?}");
        }
    }
}

#[test]
fn a_hang_outside_of_a_commit_is_noticed_as_well() {
    let directory = tempfile::tempdir().unwrap();
    let hangs = Arc::new(AtomicBool::new(true));
    let hanging = Arc::clone(&hangs);
    let options = with_hook(directory.path(), move |step| {
        while step == Step::Remove && hanging.load(Ordering::SeqCst) {
            std::thread::sleep(Duration::from_millis(5));
        }
        Ok(())
    });
    let store = SledStore::open(SledOptions { hang_after: Duration::from_millis(100), ..options }).unwrap();
    for number in 0..3 {
        block_on(store.commit(writes([put("a", number.to_string())]))).unwrap();
    }
    let compacting = store.compact(3);
    wait_until("the floor is raised", || store.status().oldest_revision == 3);
    let waiting = store.commit(writes([put("a", "4")]));
    assert!(matches!(block_on(waiting), Err(StoreError::Unavailable { .. } | StoreError::ReadOnly { .. })));
    hangs.store(false, Ordering::SeqCst);
    assert_eq!(block_on(compacting).ok(), None, "it was answered for");
    wait_until("the store recovers", || store.status().writable);
    block_on(store.commit(writes([put("a", "5")]))).unwrap();
}

#[test]
fn a_hang_is_answered_and_over_when_it_is_over() {
    let directory = tempfile::tempdir().unwrap();
    let hangs = Arc::new(AtomicBool::new(false));
    let hanging = Arc::clone(&hangs);
    let options = with_hook(directory.path(), move |step| {
        while step == Step::Flush && hanging.load(Ordering::SeqCst) {
            std::thread::sleep(Duration::from_millis(5));
        }
        Ok(())
    });
    let store = SledStore::open(SledOptions { hang_after: Duration::from_millis(100), ..options }).unwrap();
    let mut commits = store.subscribe();
    block_on(store.commit(writes([put("a", "1")]))).unwrap();
    hangs.store(true, Ordering::SeqCst);
    let (first, second) = (store.commit(writes([put("a", "2")])), store.commit(writes([put("a", "3")])));
    for waiting in [first, second] {
        let answer = block_on(waiting);
        assert!(matches!(answer, Err(StoreError::Unavailable { .. })), "{answer:?}");
    }
    assert!(!store.status().writable);
    let refused = block_on(store.commit(writes([put("a", "4")])));
    assert!(matches!(refused, Err(StoreError::ReadOnly { .. })), "{refused:?}");
    assert_eq!(block_on(store.record_as_of(b"a", u64::MAX)).unwrap().unwrap().value, "1");
    hangs.store(false, Ordering::SeqCst);
    wait_until("the store recovers", || store.status().writable);
    let revision = block_on(store.commit(writes([put("a", "5")]))).unwrap();
    let told: Vec<_> = std::iter::from_fn(|| commits.try_recv().ok()).map(|commit| commit.revision).collect();
    assert_eq!(told, (1..=revision).collect::<Vec<_>>());
}

#[test]
fn a_store_whose_engine_hangs_can_be_closed() {
    let directory = tempfile::tempdir().unwrap();
    let options = with_hook(directory.path(), |step| {
        if step == Step::Write {
            std::thread::sleep(Duration::from_secs(3_600));
        }
        Ok(())
    });
    let store = SledStore::open(SledOptions { hang_after: Duration::from_millis(50), ..options }).unwrap();
    assert!(block_on(store.commit(writes([put("a", "1")]))).is_err());
    let started = Instant::now();
    drop(store);
    assert!(started.elapsed() < Duration::from_secs(10));
}

#[test]
fn more_than_can_wait_is_refused_and_the_rest_is_committed() {
    let directory = tempfile::tempdir().unwrap();
    drop(SledStore::open(SledOptions::new(directory.path())).unwrap());
    let (open, opened) = std::sync::mpsc::channel::<()>();
    let opened = Mutex::new(opened);
    let store = SledStore::open(with_hook(directory.path(), move |step| {
        if step == Step::Flush {
            // Until the sender is gone.
            let _ = opened.lock().unwrap().recv();
        }
        Ok(())
    }))
    .unwrap();
    let first = store.commit(writes([put("first", "1")]));
    wait_until("the first is under way", || store.status().waiting == 0);
    let mut waiting = Vec::new();
    let busy = loop {
        let mut answer = store.commit(writes([put(&format!("k/{}", waiting.len()), "1")]));
        let context = &mut std::task::Context::from_waker(std::task::Waker::noop());
        match answer.as_mut().poll(context) {
            std::task::Poll::Pending => waiting.push(answer),
            std::task::Poll::Ready(answer) => break answer,
        }
    };
    assert!(matches!(busy, Err(StoreError::Busy { waiting: 4_096 })), "{busy:?}");
    drop(open);
    block_on(first).unwrap();
    let count = waiting.len();
    let last = waiting.into_iter().map(|answer| block_on(answer).unwrap()).max().unwrap();
    assert_eq!(last, count as u64 + 1);
    // Bytes count as well, and one that is large by itself is taken.
    let directory = tempfile::tempdir().unwrap();
    let store = SledStore::open(SledOptions::new(directory.path())).unwrap();
    block_on(store.commit(writes([put("large", vec![0; 1 << 20])]))).unwrap();
}

/// The stores of two sections, one in the other, as an interruption between any two steps of a restore leaves them.
#[test]
fn an_interrupted_restore_begins_anew() {
    use super::suite::backup;
    use super::{ArchiveWriter, restore};
    let source = tempfile::tempdir().unwrap();
    let store = SledStore::open(SledOptions::new(source.path())).unwrap();
    block_on(store.commit(writes([put("a", "1")]))).unwrap();
    let one = backup(&store);
    let mut archive = ArchiveWriter::new(Vec::new()).unwrap();
    for label in ["registry", "decisions/0"] {
        archive.section(label).unwrap();
        let (parts, taken) = std::sync::mpsc::channel();
        block_on(store.backup(Box::new(move |part| parts.send(part).is_ok()))).unwrap();
        taken.iter().for_each(|part| archive.part(&part).unwrap());
    }
    let two = archive.finish().unwrap();
    let place_of =
        |path: PathBuf| move |label: &str| Some(if label == "registry" { path.clone() } else { path.join(label) });
    let parts =
        |path: &Path| [path.join("FORMAT"), path.join("decisions/0/FORMAT"), path.join("decisions/0/RESTORING")];
    for state in 0..8_u8 {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("store");
        restore(&two[..], "registry", place_of(path.clone())).unwrap();
        for (at, part) in parts(&path).iter().enumerate() {
            match (state >> at & 1 == 1, part.exists()) {
                (true, false) => drop(std::fs::File::create(part).unwrap()),
                (false, true) => std::fs::remove_file(part).unwrap(),
                _ => {}
            }
        }
        std::fs::write(path.join("RESTORING"), "").unwrap();
        let refused = SledStore::open(SledOptions::new(&path)).unwrap_err().to_string();
        assert!(refused.contains("restore it again"), "{state}: {refused}");
        restore(&two[..], "registry", place_of(path.clone())).unwrap_or_else(|error| panic!("{state}: {error}"));
        for path in [path.clone(), path.join("decisions/0")] {
            let store = SledStore::open(SledOptions::new(path)).unwrap();
            assert_eq!(store.status().record_count, 1, "{state}");
        }
        let again = restore(&one[..], "registry", place_of(path));
        assert!(matches!(again, Err(StoreError::NotEmpty { .. })), "{again:?}");
    }
}

#[test]
fn a_flush_that_fails_is_a_failed_sync() {
    let directory = tempfile::tempdir().unwrap();
    let fails = Arc::new(AtomicBool::new(false));
    let failing = Arc::clone(&fails);
    let store = SledStore::open(with_hook(directory.path(), move |step| {
        let fails = step == Step::Flush && failing.load(Ordering::SeqCst);
        if fails { Err(io::Error::other("the disk fails")) } else { Ok(()) }
    }))
    .unwrap();
    fails.store(true, Ordering::SeqCst);
    let refused = block_on(store.commit(writes([put("a", "1")])));
    assert!(matches!(refused, Err(StoreError::Unsynced { .. })), "{refused:?}");
    drop(store);
    let error = SledStore::open(SledOptions::new(directory.path())).unwrap_err();
    assert!(error.to_string().contains("a sync has failed"), "{error}");
}

#[test]
fn a_large_commit_that_was_begun_is_taken_back_a_few_rows_at_a_time() {
    const ROWS: usize = 500;
    let directory = tempfile::tempdir().unwrap();
    let written = AtomicUsize::new(0);
    let store = SledStore::open(with_hook(directory.path(), move |step| {
        let fails = step == Step::Write && written.fetch_add(1, Ordering::SeqCst) == ROWS;
        if fails { Err(io::Error::other("the disk fails")) } else { Ok(()) }
    }))
    .unwrap();
    let many = (0..ROWS + 10).map(|number| put(&format!("key/{number}"), "1"));
    block_on(store.commit(writes(many))).unwrap_err();
    drop(store);
    let steps = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&steps);
    let store = SledStore::open(with_hook(directory.path(), move |step| {
        seen.lock().unwrap().push(step);
        Ok(())
    }))
    .unwrap();
    assert_eq!(block_on(store.load()).unwrap().records.len(), 0);
    let steps = steps.lock().unwrap();
    assert_eq!(steps.iter().filter(|step| **step == Step::Remove).count(), ROWS);
    let mut between =
        steps.split(|step| *step == Step::Sync).map(|steps| steps.iter().filter(|step| **step == Step::Remove));
    assert_eq!(between.next().unwrap().count(), 0, "what counts is on the disk first");
    assert!(between.all(|removed| removed.count() <= 32));
}

#[test]
fn commits_come_in_between_while_much_history_is_let_go_of() {
    const ROWS: usize = 1_500;
    let directory = tempfile::tempdir().unwrap();
    let slow = Arc::new(AtomicBool::new(false));
    let slowing = Arc::clone(&slow);
    let options = with_hook(directory.path(), move |step| {
        if step == Step::Flush && slowing.load(Ordering::SeqCst) {
            std::thread::sleep(Duration::from_millis(60));
        }
        Ok(())
    });
    let store = SledStore::open(SledOptions { hang_after: Duration::from_secs(2), ..options }).unwrap();
    for value in ["1", "2"] {
        block_on(store.commit(writes((0..ROWS).map(|number| put(&format!("key/{number}"), value))))).unwrap();
    }
    slow.store(true, Ordering::SeqCst);
    let compacting = store.compact(2);
    let mut committed = 0;
    while store.status().oldest_revision < 2 || committed < 3 {
        block_on(store.commit(writes([put("other", "1")]))).unwrap();
        committed += 1;
    }
    assert_eq!(block_on(compacting).unwrap(), 2);
    assert_eq!(store.status().problem, None);
}

/// Otherwise a power cut under load can damage its files.
#[cfg(target_os = "linux")]
#[test]
fn the_engine_syncs_what_it_takes_for_safe() {
    let directory = tempfile::tempdir().unwrap();
    let store = SledStore::open(SledOptions::new(directory.path())).unwrap();
    let before = super::range_sync::calls();
    block_on(store.commit(writes([put("a", "1")]))).unwrap();
    assert!(super::range_sync::calls() > before);
}
