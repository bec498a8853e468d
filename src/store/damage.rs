//! Crashes, loss and damage: what the embedded store must notice and survive.

use std::fs::{self, OpenOptions};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use super::suite::{block_on, open, put, writes};
use super::{Contents, Hook, OnLoss, Record, SledOptions, SledStore, Store, StoreError, verify};

/// A small generator, so that every run damages the same bytes.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % limit
    }
}

/// Fills a store with some hundred records and closes it.
fn filled(path: &Path, random: &mut Random) -> Contents {
    let store = open(path);
    for batch in 0..8 {
        let size = 20 + usize::try_from(random.below(300)).unwrap();
        let records = (0..40).map(|number| put(&format!("models/{batch}/{number}"), vec![b'a' + batch; size]));
        block_on(store.commit(writes(records))).unwrap();
    }
    // The newest acknowledged write is the one most easily lost.
    block_on(store.commit(writes([put("models/0/1", "newest"), put("models/last", "1")]))).unwrap();
    block_on(store.load()).unwrap()
}

fn files(directory: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files(&path));
        } else if path.file_name().is_some_and(|name| name != "LOCK") {
            found.push(path);
        }
    }
    found.sort();
    found
}

fn newest_file(directory: &Path) -> PathBuf {
    let changed = |path: &PathBuf| fs::metadata(path).unwrap().modified().unwrap();
    files(directory).into_iter().max_by_key(changed).unwrap()
}

pub(super) fn copy(from: &Path, to: &Path) {
    for file in files(from) {
        let target = to.join(file.strip_prefix(from).unwrap());
        fs::create_dir_all(target.parent().unwrap()).unwrap();
        fs::copy(&file, target).unwrap();
    }
    // Folders that are empty belong to it as well.
    for number in 1..9 {
        if from.join(number.to_string()).is_dir() {
            fs::create_dir_all(to.join(number.to_string()).join("blobs")).unwrap();
        }
    }
}

fn cut(file: &Path, bytes: u64) {
    let open = OpenOptions::new().write(true).open(file).unwrap();
    let length = open.metadata().unwrap().len();
    open.set_len(length.saturating_sub(bytes)).unwrap();
}

fn read_only(path: &Path) -> Result<SledStore, StoreError> {
    SledStore::open(SledOptions { on_loss: OnLoss::ReadOnly, ..SledOptions::new(path) })
}

/// Opens a store that gives out its records while it is checked.
fn loading(path: &Path, on_loss: OnLoss) -> Result<(SledStore, Option<Contents>), StoreError> {
    let records = Arc::new(Mutex::new(Vec::new()));
    let taken = Arc::clone(&records);
    let take = Box::new(move |part: Vec<Record>| {
        taken.lock().unwrap().extend(part);
        true
    });
    let (store, revision) = SledStore::open_loading(SledOptions { on_loss, ..SledOptions::new(path) }, take)?;
    let records = std::mem::take(&mut *records.lock().unwrap());
    Ok((store, revision.map(|revision| Contents { revision, records })))
}

fn open_error(path: &Path) -> StoreError {
    SledStore::open(SledOptions::new(path)).unwrap_err()
}

/// Opens a store that was tampered with: it is complete, or says that it is not.
fn complete_or_damaged(path: &Path, expected: &Contents, what: &str) -> bool {
    match loading(path, OnLoss::Refuse) {
        Ok((store, given)) => {
            assert!(store.status().writable && store.status().problem.is_none(), "{what}");
            assert_eq!(given.as_ref(), Some(expected), "{what}");
            assert_eq!(&block_on(store.load()).unwrap(), expected, "{what}");
            block_on(store.commit(writes([put("models/more", "1")]))).unwrap();
            true
        }
        Err(StoreError::Damaged { .. }) => false,
        Err(error) => panic!("{what}: {error}"),
    }
}

/// More rounds in the long form.
fn rounds(short: u64) -> u64 {
    if cfg!(feature = "slow") { short * 9 } else { short }
}

/// Cuts one file of a fresh store per round.
fn truncation_rounds(seed: u64, rounds: u64, choose: impl Fn(&Path) -> PathBuf) {
    let mut random = Random(seed);
    let mut damaged = 0;
    for round in 0..rounds {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path();
        let expected = filled(path, &mut random);
        let file = choose(path);
        // From 1 byte to 64 KiB, small cuts as often as large ones.
        let magnitude = 1 << random.below(16);
        let bytes = magnitude + random.below(magnitude);
        cut(&file, bytes);
        let what = format!("round {round}: {} cut by {bytes}", file.display());
        if !complete_or_damaged(path, &expected, &what) {
            damaged += 1;
            // Opening must not have healed it into a smaller store.
            if round % 10 == 0 {
                assert!(!complete_or_damaged(path, &expected, &what));
            }
        }
    }
    println!("{rounds} cuts, {damaged} found damaged");
}

#[test]
fn a_cut_newest_file_is_never_a_smaller_healthy_store() {
    truncation_rounds(1, rounds(60), newest_file);
}

#[test]
fn a_cut_data_file_is_never_a_smaller_healthy_store() {
    truncation_rounds(2, rounds(30), |path| path.join("1/db"));
}

#[test]
fn a_cut_witness_is_never_a_smaller_healthy_store() {
    truncation_rounds(3, rounds(10), |path| path.join("1/HEAD"));
}

#[test]
fn a_rolled_back_engine_is_noticed() {
    let directory = tempfile::tempdir().unwrap();
    let (older, path) = (directory.path().join("older"), directory.path().join("store"));
    let expected = filled(&path, &mut Random(4));
    copy(&path, &older);
    let store = open(&path);
    block_on(store.commit(writes([put("models/last", "2"), put("models/new", "1")]))).unwrap();
    drop(store);
    let head = fs::read(path.join("1/HEAD")).unwrap();
    fs::remove_dir_all(&path).unwrap();
    copy(&older, &path);
    fs::write(path.join("1/HEAD"), head).unwrap();
    match open_error(&path) {
        StoreError::Damaged { head_revision, found_revision, missing_records, detail, .. } => {
            assert_eq!(head_revision, Some(expected.revision + 1));
            assert_eq!(found_revision, Some(expected.revision));
            assert_eq!(missing_records, Some(1));
            assert!(detail.contains("but revision 10 was acknowledged"), "{detail}");
        }
        error => panic!("{error}"),
    }
    let (store, given) = loading(&path, OnLoss::ReadOnly).unwrap();
    assert_eq!(given, None, "what was given out is not all there was");
    assert_eq!(block_on(store.load()).unwrap(), expected, "serves what is left");
    let refused = block_on(store.commit(writes([put("a", "1")])));
    assert!(matches!(refused, Err(StoreError::ReadOnly { .. })), "{refused:?}");
    let status = store.status();
    assert!(!status.writable && status.problem.unwrap().contains("321 of 322 records are left"));
    drop(store);
    assert!(matches!(open_error(&path), StoreError::Damaged { .. }), "still damaged");
}

#[test]
fn flipped_bits_never_change_the_content_silently() {
    let directory = tempfile::tempdir().unwrap();
    let mut random = Random(5);
    let original = directory.path().join("original");
    let expected = filled(&original, &mut random);
    let (mut whole, mut damaged) = (0, 0);
    for round in 0..rounds(60) {
        let path = directory.path().join(format!("copy-{round}"));
        copy(&original, &path);
        let files = files(&path);
        let file = &files[usize::try_from(random.below(files.len() as u64)).unwrap()];
        let mut content = fs::read(file).unwrap();
        // In the data file most flips should hit data, which fills its start.
        let reach = if round % 2 == 0 { content.len() } else { content.len().min(150_000) };
        for _ in 0..=random.below(63) {
            let at = usize::try_from(random.below(reach as u64)).unwrap();
            content[at] ^= 1 << random.below(8);
        }
        fs::write(file, content).unwrap();
        match read_only(&path) {
            Ok(store) if store.status().writable => {
                assert_eq!(block_on(store.load()).unwrap(), expected, "{}", file.display());
                whole += 1;
            }
            // With a stated problem it may serve less, and must not panic.
            Ok(store) => {
                assert!(store.status().problem.is_some());
                damaged += 1;
                let _ = block_on(store.load());
                let _ = block_on(store.changes_since(0, usize::MAX));
                let _ = block_on(store.record_as_of(b"models/0/1", u64::MAX));
            }
            Err(StoreError::Damaged { .. } | StoreError::NewerFormat { .. }) => damaged += 1,
            Err(error) => panic!("{}: {error}", file.display()),
        }
        fs::remove_dir_all(&path).unwrap();
    }
    println!("{} flips: {damaged} found damaged, {whole} harmless", whole + damaged);
}

/// Rows changed or missing below the engine's own checks are named, by record and revision.
#[test]
fn an_audit_names_the_damaged_records() {
    use super::rows::{log_key, version_key};
    use super::sled::Engine;
    let directory = tempfile::tempdir().unwrap();
    let original = directory.path().join("original");
    let expected = filled(&original, &mut Random(11));
    let audited = |path: &Path| verify(&SledOptions::new(path)).unwrap();
    let found = audited(&original);
    assert_eq!((found.problem, found.damaged_count, found.revision), (None, 0, expected.revision));
    assert_eq!(found.records, expected.records.len() as u64);
    let tampered = |name: &str, tamper: &dyn Fn(&Engine)| {
        let path = directory.path().join(name);
        copy(&original, &path);
        let engine = Engine::open(&path.join("1"), 1 << 20, Hook::default()).unwrap();
        tamper(&engine);
        engine.make_durable().unwrap();
        drop(engine);
        let found = audited(&path);
        assert!(found.problem.is_some(), "{name}");
        assert!(matches!(open_error(&path), StoreError::Damaged { .. }));
        found
    };
    let changed = tampered("changed", &|engine| {
        for row_key in [version_key(b"models/3/7", 4), log_key(6)] {
            let mut row = engine.get(&row_key).unwrap().unwrap().to_vec();
            row[9] ^= 4;
            engine.insert(&row_key, &row).unwrap();
        }
    });
    assert_eq!(changed.damaged, ["the log entry of revision 6", "`models/3/7` of revision 4"]);
    let missing = tampered("missing", &|engine| engine.remove(&version_key(b"models/3/7", 4)).unwrap());
    assert_eq!(missing.damaged_count, 0);
    assert!(missing.problem.unwrap().contains("320 of 321 records are left"));
    let many = tampered("many", &|engine| {
        for number in 0..150 {
            engine.insert(&version_key(format!("models/x/{number:03}").as_bytes(), 3), b"").unwrap();
        }
    });
    assert_eq!((many.damaged.len(), many.damaged_count), (100, 150));
}

#[test]
fn a_kill_between_data_and_witness_loses_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path();
    filled(path, &mut Random(6));
    let store = open(path);
    let mut witnesses = Vec::new();
    for number in 0..3 {
        witnesses.push(fs::read(path.join("1/HEAD")).unwrap());
        block_on(store.commit(writes([put("models/last", number.to_string())]))).unwrap();
    }
    let expected = block_on(store.load()).unwrap();
    drop(store);
    // One group behind is a kill; more is not explained by any.
    fs::write(path.join("1/HEAD"), &witnesses[1]).unwrap();
    let error = open_error(path);
    assert!(matches!(&error, StoreError::Damaged { .. }), "{error}");
    fs::write(path.join("1/HEAD"), &witnesses[2]).unwrap();
    let store = open(path);
    assert_eq!(block_on(store.load()).unwrap(), expected);
    assert_eq!(store.status().problem, None);
    block_on(store.commit(writes([put("models/last", "more")]))).unwrap();
    drop(store);
    assert_eq!(open(path).status().revision, expected.revision + 1);
}

#[test]
fn a_copy_of_a_running_store_holds_every_answered_commit() {
    let directory = tempfile::tempdir().unwrap();
    let (path, killed) = (directory.path().join("store"), directory.path().join("killed"));
    let store = open(&path);
    for number in 0..50 {
        let large = vec![b'x'; if number % 10 == 0 { 300_000 } else { 300 }];
        block_on(store.commit(writes([put(&format!("models/{number}"), large)]))).unwrap();
    }
    let expected = block_on(store.load()).unwrap();
    copy(&path, &killed);
    drop(store);
    assert_eq!(block_on(open(&killed).load()).unwrap(), expected);
}

#[test]
fn a_store_in_use_is_locked() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path());
    let error = open_error(directory.path());
    assert!(matches!(error, StoreError::Locked { .. }), "{error}");
    drop(store);
    open(directory.path());
}

#[test]
fn a_newer_format_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    drop(open(directory.path()));
    fs::write(directory.path().join("FORMAT"), "weighbridge store 2\ncurrent 1\n").unwrap();
    let error = open_error(directory.path());
    assert!(matches!(error, StoreError::NewerFormat { found: 2, supported: 1 }), "{error}");
}

#[test]
fn missing_and_garbage_files_are_damage() {
    let directory = tempfile::tempdir().unwrap();
    let original = directory.path().join("original");
    filled(&original, &mut Random(7));
    for (name, garbage) in [
        ("FORMAT", None),
        ("FORMAT", Some(&b"something else\n"[..])),
        ("1/HEAD", None),
        ("1/HEAD", Some(&b""[..])),
        ("1/HEAD", Some(&[0x5a; 9000][..])),
        ("1/db", None),
        ("1/db", Some(&b""[..])),
        ("1/db", Some(&[0x5a; 700_000][..])),
        ("1/conf", Some(&[0x5a; 100][..])),
    ] {
        let path = directory.path().join("copy");
        copy(&original, &path);
        match garbage {
            Some(garbage) => fs::write(path.join(name), garbage).unwrap(),
            None => fs::remove_file(path.join(name)).unwrap(),
        }
        let error = open_error(&path);
        let what = format!("{name} {:?}: {error}", garbage.map(<[u8]>::len));
        assert!(matches!(error, StoreError::Damaged { .. }), "{what}");
        println!("{what}");
        if name == "1/db" && garbage.is_none() {
            assert!(!path.join("1/db").exists(), "a lost data file is not made anew");
        }
        fs::remove_dir_all(&path).unwrap();
    }
}

#[test]
fn the_witness_of_another_store_does_not_fit() {
    let directory = tempfile::tempdir().unwrap();
    let (one, other) = (directory.path().join("one"), directory.path().join("other"));
    filled(&one, &mut Random(8));
    filled(&other, &mut Random(9));
    fs::copy(other.join("1/HEAD"), one.join("1/HEAD")).unwrap();
    let error = open_error(&one);
    assert!(error.to_string().contains("does not match the witness"), "{error}");
}

#[test]
fn an_interrupted_creation_is_finished() {
    let directory = tempfile::tempdir().unwrap();
    fs::write(directory.path().join("FORMAT.new"), "weigh").unwrap();
    fs::create_dir(directory.path().join("lost+found")).unwrap();
    drop(open(directory.path()));
    let half = |name: &str| {
        fs::create_dir(directory.path().join(name)).unwrap();
        fs::write(directory.path().join(name).join("db"), "half").unwrap();
    };
    half("1.new");
    fs::remove_file(directory.path().join("FORMAT")).unwrap();
    let store = open(directory.path());
    block_on(store.commit(writes([put("a", "1")]))).unwrap();
    drop(store);
    half("2.new");
    half("2");
    assert_eq!(open(directory.path()).status().record_count, 1);
    assert!(["1.new", "2.new", "2"].iter().all(|name| !directory.path().join(name).exists()));
    fs::remove_file(directory.path().join("FORMAT")).unwrap();
    let error = open_error(directory.path());
    assert!(error.to_string().contains("its FORMAT file is missing"), "{error}");
}

#[test]
fn places_that_cannot_hold_a_store_are_refused_with_advice() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("file");
    fs::write(&file, "text").unwrap();
    for (path, advice) in [
        (file.clone(), "choose a path that is a directory"),
        (file.join("below"), "choose a path that is a directory"),
        (directory.path().to_path_buf(), "other files, such as `file`; choose an empty directory"),
    ] {
        let error = open_error(&path);
        assert!(matches!(error, StoreError::Io { .. }), "{error}");
        let text = error.to_string();
        assert!(text.contains(advice) && text.contains(path.to_str().unwrap()), "{text}");
    }
    assert_eq!(files(directory.path()), [file], "nothing was made");
}

#[test]
fn who_wants_no_more_records_still_gets_all_of_them_checked() {
    let directory = tempfile::tempdir().unwrap();
    let expected = filled(directory.path(), &mut Random(5));
    let many = (0..2_500).map(|number| put(&format!("models/many/{number}"), "1"));
    let store = open(directory.path());
    block_on(store.commit(writes(many))).unwrap();
    drop(store);
    let options = || SledOptions::new(directory.path());
    let (parts, counted) = std::sync::mpsc::channel();
    let take = Box::new(move |part: Vec<Record>| parts.send(part.len()).is_err());
    let (store, revision) = SledStore::open_loading(options(), take).unwrap();
    assert_eq!((counted.iter().count(), revision), (1, Some(expected.revision + 1)));
    drop(store);
    let rows = fs::metadata(directory.path().join("1/db")).unwrap().len();
    cut(&directory.path().join("1/db"), rows / 2);
    let refused = SledStore::open_loading(options(), Box::new(|_| false));
    assert!(matches!(refused, Err(StoreError::Damaged { .. })));
}

#[test]
fn a_failed_commit_makes_the_store_read_only_until_reopened() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path();
    let store = open(path);
    let mut commits = store.subscribe();
    block_on(store.commit(writes([put("a", "1")]))).unwrap();
    let acknowledged = block_on(store.load()).unwrap();
    // The writer lists this directory after it wrote and before it syncs.
    fs::rename(path.join("1/blobs"), path.join("away")).unwrap();
    let failed = block_on(store.commit(writes([put("a", "2")])));
    assert!(matches!(failed, Err(StoreError::Io { .. })), "{failed:?}");
    fs::rename(path.join("away"), path.join("1/blobs")).unwrap();
    let refused = block_on(store.commit(writes([put("a", "3")])));
    assert!(matches!(refused, Err(StoreError::ReadOnly { .. })), "{refused:?}");
    assert_eq!(block_on(store.load()).unwrap(), acknowledged, "unacknowledged writes stay hidden");
    assert_eq!(block_on(store.record_as_of(b"a", u64::MAX)).unwrap().unwrap().value, "1");
    assert_eq!(commits.try_recv().unwrap().revision, 1);
    assert!(commits.try_recv().is_err(), "and are not delivered");
    assert!(!store.status().writable && store.status().problem.is_some());
    drop(store);
    let store = open(path);
    assert_eq!(block_on(store.commit(writes([put("a", "4")]))).unwrap(), 3);
}

#[test]
fn a_cut_large_page_file_is_damage() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path();
    let store = open(path);
    block_on(store.commit(writes([put("large", vec![7; 2_000_000])]))).unwrap();
    let expected = block_on(store.load()).unwrap();
    drop(store);
    let large: Vec<_> = files(&path.join("1/blobs"));
    assert!(!large.is_empty());
    large.iter().for_each(|file| cut(file, 1000));
    assert!(!complete_or_damaged(path, &expected, "large page"));
}
