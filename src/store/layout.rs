//! The store's directory.
//!
//! ```text
//! FORMAT     the format, and the number of the current folder
//! LOCK       locked while a process has the store open
//! 1/         the engine's files, and the witness HEAD
//! 2.new/     a folder that is not finished: thrown away
//! ```
//!
//! A folder is made whole and durable under another name before `FORMAT` names it, and `FORMAT` is replaced by a rename. So a
//! store is created, and a rewritten one takes its place, as a whole or not at all.

use std::fs::{self, File, TryLockError};
use std::io::{self, Read, Write as _};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use super::hook::{Hook, Step};
use super::{StoreError, witness};

/// The format this version writes, and the newest it reads.
const FORMAT: u64 = 1;
const FORMAT_FILE: &str = "FORMAT";
/// Where `FORMAT` is written before it gets its name.
const FORMAT_DRAFT: &str = "FORMAT.new";
const LOCK_FILE: &str = "LOCK";
/// What is written and removed to see whether anything can be.
const ROOM_DRAFT: &str = "ROOM.new";
/// There while a backup is restored into the directory.
const RESTORING_FILE: &str = "RESTORING";
/// There after a sync has failed: with the [`BOOT_ID`] behind it. It is a name without content, so that it is noted whole or not
/// at all.
const UNSYNCED_FILE: &str = "UNSYNCED-";
/// Changes with every start of the machine, which is what empties its memory of files.
const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";
/// Where further stores of the same owner are, beside the store's own files.
const NEIGHBOURS: &str = "decisions";
/// The engine's data file.
pub(super) const DATA_FILE: &str = "db";
/// Where the engine puts pages that are too large for its data file.
pub(super) const BLOB_DIRECTORY: &str = "blobs";
/// A process that ends frees its lock a little later than it seems.
const LOCK_WAIT: Duration = Duration::from_secs(1);

/// The directory of a store, locked for this process.
#[derive(Debug)]
pub(super) struct Place {
    pub(super) directory: PathBuf,
    /// The number of the current folder; 0: there is none yet.
    pub(super) current: u64,
    _lock: File,
}

impl Place {
    /// Locks the directory of a store of a known format; one that is empty or does not exist is made ready for a new store,
    /// which [`Place::adopt`] completes.
    pub(super) fn claim(directory: &Path) -> Result<Place, StoreError> {
        Self::claim_for(directory, false)
    }

    /// The same for a store that is about to be restored: what an interrupted restore left is in nobody's way.
    pub(super) fn claim_to_restore(directory: &Path) -> Result<Place, StoreError> {
        Self::claim_for(directory, true)
    }

    fn claim_for(directory: &Path, restoring: bool) -> Result<Place, StoreError> {
        match fs::metadata(directory) {
            Ok(found) if found.is_dir() => {}
            Ok(_) => {
                let source = io::Error::new(io::ErrorKind::NotADirectory, "it is a file");
                return Err(StoreError::io("open the store", directory, source));
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => create(directory)?,
            Err(error) => return Err(StoreError::io("open the store", directory, error)),
        }
        // Looked at before the lock is taken, so that nothing is made in a directory of something else.
        if read_format(directory)?.is_none() {
            check_empty(directory)?;
        }
        let lock = lock(directory)?;
        match (directory.join(RESTORING_FILE).exists(), restoring) {
            (true, true) => clear(directory)?,
            (true, false) => {
                let detail = "a backup was being restored into it and that was not finished: restore it again";
                return Err(damaged(directory, detail));
            }
            (false, _) => {}
        }
        let _ = fs::remove_file(directory.join(ROOM_DRAFT));
        // And again, since another process may have been at work before.
        match read_format(directory)? {
            Some(current) => {
                let place = Place { directory: directory.to_path_buf(), current, _lock: lock };
                if !place.folder().is_dir() {
                    return Err(damaged(directory, &format!("its folder `{current}` is missing")));
                }
                place.sweep()?;
                Ok(place)
            }
            None => {
                let mut place = Place { directory: directory.to_path_buf(), current: 0, _lock: lock };
                place.take_up_creation()?;
                place.sweep()?;
                Ok(place)
            }
        }
    }

    /// The current folder.
    pub(super) fn folder(&self) -> PathBuf {
        self.directory.join(self.current.to_string())
    }

    /// Begins a folder that is to become the current one.
    pub(super) fn draft(&self) -> Result<PathBuf, StoreError> {
        let path = self.directory.join(format!("{}.new", self.current + 1));
        remove(&path)?;
        fs::create_dir(&path).map_err(|error| StoreError::io("create the directory", &path, error))?;
        Ok(path)
    }

    /// Makes a finished, durable draft the current folder, in one step, and removes the one before.
    pub(super) fn adopt(&mut self, draft: &Path) -> Result<(), StoreError> {
        let next = self.current + 1;
        let path = self.directory.join(next.to_string());
        fs::rename(draft, &path).map_err(|error| StoreError::io("name the folder", &path, error))?;
        sync_directory(&self.directory)?;
        write_format(&self.directory, next)?;
        self.current = next;
        self.sweep()
    }

    /// A folder that was finished by an interrupted creation and holds nothing is taken; nothing was acknowledged.
    fn take_up_creation(&mut self) -> Result<(), StoreError> {
        let path = self.directory.join("1");
        if !path.exists() {
            return Ok(());
        }
        if witness::read(&path)?.revision() != Some(0) {
            return Err(damaged(&self.directory, "its FORMAT file is missing"));
        }
        remove(&path)
    }

    /// Removes what an interrupted creation or rewrite left behind.
    fn sweep(&self) -> Result<(), StoreError> {
        for entry in list(&self.directory)? {
            let name = entry.file_name();
            let name = name.to_str().unwrap_or_default();
            let (number, is_draft) = name.strip_suffix(".new").map_or((name, false), |number| (number, true));
            let other = number.parse::<u64>().is_ok_and(|number| is_draft || number != self.current);
            if other {
                remove(&entry.path())?;
            }
        }
        Ok(())
    }

    /// Notes that a sync has failed: what is read from now on may be in memory and not on the disk, until the machine is
    /// restarted.
    pub(super) fn note_unsynced(&self) {
        let path = self.directory.join(format!("{UNSYNCED_FILE}{}", boot_id()));
        let noted = File::create(&path).and_then(|file| file.sync_all());
        // The disk may not take this either.
        if let Err(error) = noted.and_then(|()| File::open(&self.directory)?.sync_all()) {
            tracing::error!(path = %path.display(), %error, "that a sync has failed could not be noted");
        }
    }

    /// Whether a sync has failed since the machine was started.
    pub(super) fn is_unsynced(&self) -> bool {
        let boot = boot_id();
        // Where the machine does not say when it was started, it may have been before or after.
        self.unsynced_notes().iter().any(|noted| boot.is_empty() || noted.is_empty() || *noted == boot)
    }

    /// What the disk holds was read from it, and is whole.
    pub(super) fn forget_unsynced(&self) {
        for noted in self.unsynced_notes() {
            let _ = fs::remove_file(self.directory.join(format!("{UNSYNCED_FILE}{noted}")));
        }
    }

    /// The starts of the machine since which a sync has failed.
    fn unsynced_notes(&self) -> Vec<String> {
        let boot = |entry: &fs::DirEntry| entry.file_name().to_str()?.strip_prefix(UNSYNCED_FILE).map(str::to_owned);
        list(&self.directory).unwrap_or_default().iter().filter_map(boot).collect()
    }

    /// Notes that a backup is being restored: until [`Place::restored`], nobody takes the directory for a store.
    pub(super) fn restoring(&self) -> Result<(), StoreError> {
        let path = self.directory.join(RESTORING_FILE);
        File::create(&path).map_err(|error| StoreError::io("write", &path, error))?;
        sync_directory(&self.directory)
    }

    pub(super) fn restored(&self) -> Result<(), StoreError> {
        let path = self.directory.join(RESTORING_FILE);
        fs::remove_file(&path).map_err(|error| StoreError::io("remove", &path, error))?;
        sync_directory(&self.directory)
    }
}

/// Which start of the machine this is; empty where that is not told.
fn boot_id() -> String {
    fs::read_to_string(BOOT_ID).unwrap_or_default().trim().to_owned()
}

/// Makes the names in a directory durable.
pub(super) fn sync_directory(directory: &Path) -> Result<(), StoreError> {
    sync(directory, "sync the directory")
}

/// Makes all files of an engine's folder durable.
pub(super) fn sync_all(folder: &Path) -> Result<(), StoreError> {
    for directory in [folder.join(BLOB_DIRECTORY), folder.to_path_buf()] {
        if !directory.is_dir() {
            continue;
        }
        for entry in list(&directory)? {
            if entry.path().is_file() {
                sync_file(&entry.path())?;
            }
        }
        sync_directory(&directory)?;
    }
    Ok(())
}

/// Makes one file durable.
pub(super) fn sync_file(path: &Path) -> Result<(), StoreError> {
    sync(path, "sync the file")
}

/// Syncs the files for large pages, which the engine writes without syncing;
/// their names are numbers that only grow, and those below `synced` are done.
/// Answers the number to go on from.
pub(super) fn sync_blobs(path: &Path, synced: u64, hook: &Hook) -> Result<u64, StoreError> {
    let directory = path.join(BLOB_DIRECTORY);
    let mut next = synced;
    for entry in list(&directory)? {
        let number = entry.file_name().to_str().and_then(|name| name.parse::<u64>().ok());
        let Some(number) = number.filter(|number| *number >= synced) else {
            continue;
        };
        next = next.max(number.saturating_add(1));
        let path = entry.path();
        hook.before(Step::Sync).map_err(|source| StoreError::Unsynced { path: path.clone(), source })?;
        match sync_file(&path) {
            // The engine removes a file when a newer page replaces it.
            Err(StoreError::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => {}
            outcome => outcome?,
        }
    }
    if next != synced {
        sync_directory(&directory)?;
    }
    Ok(next)
}

/// Links every file of a folder into another one, durably.
pub(super) fn link_all(from: &Path, to: &Path) -> Result<(), StoreError> {
    for entry in list(from)? {
        let (source, target) = (entry.path(), to.join(entry.file_name()));
        let linked = if source.is_dir() {
            fs::create_dir_all(&target).map_err(|error| StoreError::io("create the directory", &target, error))?;
            link_all(&source, &target)
        } else {
            fs::hard_link(&source, &target).map_err(|error| StoreError::io("link", &target, error))
        };
        linked?;
    }
    sync_directory(to)
}

/// Removes a folder with all that is in it, if it is there.
pub(super) fn remove(path: &Path) -> Result<(), StoreError> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(StoreError::io("remove", path, error)),
        _ => Ok(()),
    }
}

/// Removes a store's directory: in one step, so that no end of the process leaves a part of it.
pub(super) fn discard(directory: &Path) -> Result<(), StoreError> {
    let mut name = directory.file_name().unwrap_or_default().to_os_string();
    name.push(".old");
    let old = directory.with_file_name(name);
    remove(&old)?;
    match fs::rename(directory, &old) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        outcome => outcome.map_err(|error| StoreError::io("remove", directory, error))?,
    }
    if let Some(parent) = directory.parent() {
        sync_directory(parent)?;
    }
    remove(&old)
}

/// Room that a disk must have for an engine to be opened on it, beside a part of its data.
const ROOM_TO_OPEN_BYTES: u64 = 8 << 20;

/// Refuses to open an engine on a disk without room: it writes while it opens, and where that fails it damages its files.
pub(super) fn check_room_to_open(folder: &Path) -> Result<(), StoreError> {
    let data = fs::metadata(folder.join(DATA_FILE)).map_or(0, |found| found.len());
    // A file system that cannot tell is not held to be full.
    let Ok(found) = rustix::fs::statvfs(folder) else { return Ok(()) };
    let free = found.f_bavail.saturating_mul(found.f_frsize);
    if free < ROOM_TO_OPEN_BYTES + data / 32 { Err(StoreError::Full { path: folder.to_path_buf() }) } else { Ok(()) }
}

/// Whether so much can be written to the file system of a directory.
pub(super) fn has_room(directory: &Path, bytes: usize) -> bool {
    let path = directory.join(ROOM_DRAFT);
    let written = File::create(&path).and_then(|mut file| {
        file.write_all(&vec![0x5a; bytes])?;
        file.sync_all()
    });
    // A file that cannot be removed is found and removed the next time.
    let removed = fs::remove_file(&path);
    written.is_ok() && removed.is_ok()
}

fn sync(path: &Path, operation: &'static str) -> Result<(), StoreError> {
    let file = File::open(path).map_err(|error| StoreError::io(operation, path, error))?;
    file.sync_all().map_err(|source| StoreError::Unsynced { path: path.to_path_buf(), source })
}

/// Whether a directory holds a store.
#[must_use]
pub fn holds_a_store(directory: &Path) -> bool {
    directory.join(FORMAT_FILE).is_file()
}

/// Does something in the directory of a store that nobody has open.
///
/// # Errors
/// Somebody has.
pub fn while_unused<T>(directory: &Path, work: impl FnOnce() -> T) -> Result<T, StoreError> {
    let _lock = lock(directory)?;
    Ok(work())
}

fn create(directory: &Path) -> Result<(), StoreError> {
    let missing: Vec<&Path> = directory.ancestors().take_while(|path| !path.exists()).collect();
    fs::create_dir_all(directory).map_err(|error| StoreError::io("create the directory", directory, error))?;
    // A new name is durable only when its parent is synced.
    for made in missing {
        let parent = made.parent().filter(|parent| !parent.as_os_str().is_empty());
        sync_directory(parent.unwrap_or(Path::new(".")))?;
    }
    Ok(())
}

fn lock(directory: &Path) -> Result<File, StoreError> {
    let path = directory.join(LOCK_FILE);
    let failed = |error| StoreError::io("lock the store", &path, error);
    let file = File::options().create(true).write(true).truncate(false).open(&path).map_err(failed)?;
    let deadline = Instant::now() + LOCK_WAIT;
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(file),
            Err(TryLockError::WouldBlock) if Instant::now() < deadline => thread::sleep(Duration::from_millis(20)),
            Err(TryLockError::WouldBlock) => return Err(StoreError::Locked { path: directory.to_path_buf() }),
            Err(TryLockError::Error(error)) => return Err(failed(error)),
        }
    }
}

/// The number of the current folder; `None` where there is no `FORMAT`.
fn read_format(directory: &Path) -> Result<Option<u64>, StoreError> {
    let path = directory.join(FORMAT_FILE);
    let mut content = Vec::new();
    // A longer file is not ours, and need not be read to its end.
    match File::open(&path).and_then(|file| file.take(100).read_to_end(&mut content)) {
        Ok(_) => check_format(directory, &content).map(Some),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(StoreError::io("read the format of the store", &path, error)),
    }
}

fn check_format(directory: &Path, content: &[u8]) -> Result<u64, StoreError> {
    let number = |line: Option<&str>, name: &str| {
        let digits = line?.strip_prefix(name)?;
        digits.bytes().all(|byte| byte.is_ascii_digit()).then(|| digits.parse::<u64>().ok())?
    };
    let text = str::from_utf8(content).ok().and_then(|text| text.strip_suffix('\n')).unwrap_or_default();
    let mut lines = text.split('\n');
    let format = number(lines.next(), "weighbridge store ");
    match (format, number(lines.next(), "current "), lines.next()) {
        (Some(found), ..) if found > FORMAT => Err(StoreError::NewerFormat { found, supported: FORMAT }),
        (Some(FORMAT), Some(current), None) if current > 0 => Ok(current),
        _ => Err(damaged(directory, "its FORMAT file is unreadable")),
    }
}

/// Removes what an interrupted restore left: none of it was ever in use.
fn clear(directory: &Path) -> Result<(), StoreError> {
    let format = directory.join(FORMAT_FILE);
    match fs::remove_file(&format) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(StoreError::io("remove", &format, error)),
        _ => sync_directory(directory)?,
    }
    for entry in list(directory)? {
        let name = entry.file_name();
        let name = name.to_str().unwrap_or_default();
        if name == NEIGHBOURS || name.strip_suffix(".new").unwrap_or(name).parse::<u64>().is_ok() {
            remove(&entry.path())?;
        }
    }
    Ok(())
}

/// Refuses to make a store among files of something else.
fn check_empty(directory: &Path) -> Result<(), StoreError> {
    for entry in list(directory)? {
        let name = entry.file_name();
        match name.to_str() {
            // Every fresh ext4 volume has the first.
            Some("lost+found" | LOCK_FILE | RESTORING_FILE | NEIGHBOURS | FORMAT_DRAFT | "1" | "1.new") => {}
            Some(name) if name.parse::<u64>().is_ok() => {
                return Err(damaged(directory, "its FORMAT file is missing"));
            }
            _ => {
                let text = format!("it holds other files, such as `{}`", name.display());
                let source = io::Error::new(io::ErrorKind::DirectoryNotEmpty, text);
                return Err(StoreError::io("create a store in", directory, source));
            }
        }
    }
    Ok(())
}

fn list(directory: &Path) -> Result<Vec<fs::DirEntry>, StoreError> {
    let unreadable = |error| StoreError::io("list the directory", directory, error);
    fs::read_dir(directory).map_err(unreadable)?.map(|entry| entry.map_err(unreadable)).collect()
}

fn write_format(directory: &Path, current: u64) -> Result<(), StoreError> {
    let draft = directory.join(FORMAT_DRAFT);
    let content = format!("weighbridge store {FORMAT}\ncurrent {current}\n");
    let written =
        File::create(&draft).and_then(|mut file| file.write_all(content.as_bytes()).and_then(|()| file.sync_all()));
    written.map_err(|error| StoreError::io("write", &draft, error))?;
    let path = directory.join(FORMAT_FILE);
    fs::rename(&draft, &path).map_err(|error| StoreError::io("name", &path, error))?;
    sync_directory(directory)
}

fn damaged(directory: &Path, detail: &str) -> StoreError {
    StoreError::Damaged {
        path: PathBuf::from(directory),
        detail: detail.to_owned(),
        head_revision: None,
        found_revision: None,
        missing_records: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn format_files_are_told_apart() {
        let directory = Path::new("/store");
        let check = |content: &str| check_format(directory, content.as_bytes());
        assert_eq!(check("weighbridge store 1\ncurrent 3\n").ok(), Some(3));
        let newer = StoreError::NewerFormat { found: 2, supported: 1 };
        for content in ["weighbridge store 2\n", "weighbridge store 2\ncurrent 1\n"] {
            assert_eq!(check(content).unwrap_err().to_string(), newer.to_string());
        }
        for damaged in [
            "",
            "weighbridge store 1\n",
            "weighbridge store 1\ncurrent 1",
            "weighbridge store 1\ncurrent 0\n",
            "weighbridge store 1\ncurrent +1\n",
            "weighbridge store 1\ncurrent 1\nmore\n",
            "weighbridge store 0\ncurrent 1\n",
        ] {
            let error = check(damaged).unwrap_err();
            assert!(matches!(error, StoreError::Damaged { .. }), "{damaged:?}: {error}");
        }
    }
}
