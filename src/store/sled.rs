//! The storage engine: ordered keys and flush; only this file knows it.
//!
//! What it does not guarantee is added here and around it:
//!
//! - Its flush writes data without file size and disk cache, so each of its
//!   writes is synced by `range_sync.rs`, a second handle to its data file after
//!   a flush, and so are files for large pages.
//! - Its asynchronous flush can deadlock and is never used.
//! - It can lose the newest writes and still look healthy, so the witness
//!   outside of it is written after each group and compared at start.
//! - It panics on damaged files, so every call is fenced.
//! - Its batches are not needed: a part of a group that was not acknowledged is
//!   taken back at the next start. Row by row costs one sync less.

use std::fs::File;
use std::io;
use std::ops::RangeBounds;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::RecvTimeoutError;
use std::thread;
use std::time::{Duration, Instant};

use ::sled::{Batch, Config, Db, Error as EngineError, IVec};

use super::hook::{Hook, Step};
use super::layout::{self, BLOB_DIRECTORY, DATA_FILE};
use super::{Revision, StoreError, witness};

/// Rows that are removed without a sync.
const REMOVED_UNSYNCED_MAX: usize = 32;
/// How long an engine that has failed may take to close.
const CLOSE_WAIT: Duration = Duration::from_secs(3);
/// The engine frees its lock a little after it is dropped.
const LOCK_WAIT: Duration = Duration::from_secs(1);

/// A row key and its row, as the engine holds them.
pub(super) type EngineRow = (IVec, IVec);

/// The storage engine, reduced to what the store builds on.
#[derive(Debug)]
pub(super) struct Engine {
    /// `None` only while it is dropped.
    db: Option<Db>,
    /// A handle of our own to the engine's data file, to sync it.
    data_file: File,
    /// The folder of its files.
    folder: PathBuf,
    /// The files for large pages with numbers below this are synced.
    blobs_synced: AtomicU64,
    /// It has failed, and may never finish to close.
    failed: AtomicBool,
    hook: Hook,
}

impl Engine {
    /// Opens the files in a folder, or makes them; not on a disk without room.
    pub(super) fn open(folder: &Path, cache_capacity_bytes: u64, hook: Hook) -> Result<Engine, StoreError> {
        layout::check_room_to_open(folder)?;
        // What a process left unsynced that was killed must not be what the engine builds on: it writes while it opens.
        layout::sync_all(folder)?;
        let db = open_db(folder, cache_capacity_bytes)?;
        let data_path = folder.join(DATA_FILE);
        let data_file =
            File::open(&data_path).map_err(|error| StoreError::io("open the data file", &data_path, error))?;
        Ok(Engine {
            db: Some(db),
            data_file,
            folder: folder.to_path_buf(),
            blobs_synced: AtomicU64::new(0),
            failed: AtomicBool::new(false),
            hook,
        })
    }

    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    /// The rows in a range, in key order from either end.
    pub(super) fn rows(
        &self,
        range: impl RangeBounds<Vec<u8>>,
    ) -> Result<impl DoubleEndedIterator<Item = Result<EngineRow, StoreError>>, StoreError> {
        let rows = self.db()?.range(range);
        Ok(rows.map(|row| row.map_err(|error| self.error("read", error))))
    }

    pub(super) fn get(&self, row_key: &[u8]) -> Result<Option<IVec>, StoreError> {
        self.db()?.get(row_key).map_err(|error| self.error("read", error))
    }

    /// Adds a row.
    pub(super) fn insert(&self, row_key: &[u8], row: &[u8]) -> Result<(), StoreError> {
        self.step(Step::Write, "write to")?;
        self.db()?.insert(row_key, row).map_err(|error| self.error("write to", error)).map(|_| ())
    }

    /// Adds rows together: fewer pages are written twice than row by row.
    pub(super) fn insert_all<'a>(&self, rows: impl Iterator<Item = (&'a [u8], &'a [u8])>) -> Result<(), StoreError> {
        self.step(Step::Write, "write to")?;
        let mut batch = Batch::default();
        for (row_key, row) in rows {
            batch.insert(row_key, row);
        }
        self.db()?.apply_batch(batch).map_err(|error| self.error("write to", error))
    }

    pub(super) fn remove(&self, row_key: &[u8]) -> Result<(), StoreError> {
        self.step(Step::Remove, "write to")?;
        self.db()?.remove(row_key).map_err(|error| self.error("write to", error)).map(|_| ())
    }

    /// Removes rows, a few at a time: what counts must be on the disk before room is made, since the engine writes over what
    /// it thinks is safe elsewhere.
    pub(super) fn remove_durably(&self, row_keys: &[Vec<u8>]) -> Result<(), StoreError> {
        self.make_durable()?;
        for some in row_keys.chunks(REMOVED_UNSYNCED_MAX) {
            for row_key in some {
                self.remove(row_key)?;
            }
            self.make_durable()?;
        }
        Ok(())
    }

    /// Makes all rows durable.
    pub(super) fn make_durable(&self) -> Result<(), StoreError> {
        let synced = self.blobs_synced.load(Ordering::Relaxed);
        let synced = layout::sync_blobs(&self.folder, synced, &self.hook).map_err(|error| self.failed(error))?;
        self.blobs_synced.store(synced, Ordering::Relaxed);
        let flush = |db: &Db| db.flush().map_err(|error| self.error("flush", error));
        let flushed = self.step(Step::Flush, "flush").and_then(|()| flush(self.db()?));
        // The engine syncs as well, and what was written and not synced is not known to be on the disk. A disk that is full or
        // read-only refuses the write itself.
        let bytes = flushed.map_err(|error| match error {
            StoreError::Io { path, source, .. } if source.kind() != io::ErrorKind::ReadOnlyFilesystem => {
                StoreError::Unsynced { path, source }
            }
            other => other,
        })?;
        if bytes > 0 {
            warn_unless_synced();
        }
        let path = self.folder.join(DATA_FILE);
        let synced = self.hook.before(Step::Sync).and_then(|()| self.data_file.sync_data());
        synced.map_err(|error| self.failed(StoreError::Unsynced { path, source: error }))
    }

    /// Makes new files durable as a whole.
    pub(super) fn make_creation_durable(&self) -> Result<(), StoreError> {
        self.make_durable()?;
        // The engine writes its settings without syncing them.
        layout::sync_file(&self.folder.join("conf"))?;
        layout::sync_directory(&self.folder.join(BLOB_DIRECTORY))?;
        layout::sync_directory(&self.folder)
    }

    pub(super) fn size_on_disk_bytes(&self) -> Option<u64> {
        self.data_file.metadata().map(|found| found.len()).ok()
    }

    pub(super) fn damaged(&self, detail: String) -> StoreError {
        damaged(&self.folder, detail)
    }

    fn step(&self, step: Step, operation: &'static str) -> Result<(), StoreError> {
        self.hook.before(step).map_err(|error| self.failed(StoreError::io(operation, &self.folder, error)))
    }

    fn db(&self) -> Result<&Db, StoreError> {
        self.db.as_ref().ok_or(StoreError::Closed)
    }

    fn error(&self, operation: &'static str, error: EngineError) -> StoreError {
        let error = engine_error(operation, &self.folder, error);
        // The engine syncs on threads of its own as well, and tells at the next call, whatever that is.
        self.failed(match error {
            StoreError::Io { path, source, .. } if sync_has_failed() => StoreError::Unsynced { path, source },
            error if sync_has_failed() => {
                let (path, source) = (self.folder.clone(), io::Error::other(error.to_string()));
                StoreError::Unsynced { path, source }
            }
            error => error,
        })
    }

    fn failed(&self, error: StoreError) -> StoreError {
        self.give_up();
        error
    }
}

impl Engine {
    /// From here on it is not waited for when it is closed.
    pub(super) fn give_up(&self) {
        self.failed.store(true, Ordering::Relaxed);
    }
}

/// Closes an engine that has failed: it flushes when it is dropped, and can wait for ever for what it could not write. Then
/// it is left behind, with its lock.
fn close_failed(db: Option<Db>, folder: &Path) {
    let (closed, wait) = std::sync::mpsc::channel::<()>();
    let closing = thread::Builder::new().name("store-close".to_owned()).spawn(move || {
        let _ = super::guard::quietly(|| drop(db));
        drop(closed);
    });
    let left = closing.is_ok() && wait.recv_timeout(CLOSE_WAIT) == Err(RecvTimeoutError::Timeout);
    if left {
        tracing::error!(path = %folder.display(), "the storage engine that failed does not close, and is left behind");
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        if *self.failed.get_mut() {
            return close_failed(self.db.take(), &self.folder);
        }
        let db = self.db.take();
        // The engine flushes when it is dropped, and may panic in it.
        if let Err(panic) = super::guard::quietly(|| drop(db)) {
            tracing::error!(path = %self.folder.display(), panic, "the storage engine panicked while it was closed");
        }
    }
}

/// Whether a sync of the engine's own has failed in this process.
fn sync_has_failed() -> bool {
    #[cfg(target_os = "linux")]
    return super::range_sync::has_failed();
    #[cfg(not(target_os = "linux"))]
    false
}

/// To be called after a flush that has written something.
fn warn_unless_synced() {
    #[cfg(target_os = "linux")]
    static WARN: std::sync::Once = std::sync::Once::new();
    #[cfg(target_os = "linux")]
    if !super::range_sync::is_in_use() {
        WARN.call_once(|| {
            tracing::warn!("the storage engine does not sync as it should: a power cut can damage the store");
        });
    }
}

fn open_db(folder: &Path, cache_capacity_bytes: u64) -> Result<Db, StoreError> {
    let config = Config::new()
        .path(folder)
        .cache_capacity(cache_capacity_bytes)
        // Every commit flushes; a second rhythm would only add writes.
        .flush_every_ms(None);
    let deadline = Instant::now() + LOCK_WAIT;
    loop {
        match config.open() {
            Ok(db) => return Ok(db),
            Err(error) if !is_lock_error(&error) => {
                return Err(engine_error("open", folder, error));
            }
            Err(_) if Instant::now() < deadline => thread::sleep(Duration::from_millis(20)),
            Err(_) => {
                return Err(StoreError::Locked { path: folder.to_path_buf() });
            }
        }
    }
}

/// The engine has no error of its own for this, only the text.
fn is_lock_error(error: &EngineError) -> bool {
    matches!(error, EngineError::Io(cause)
        if cause.kind() == io::ErrorKind::Other && cause.to_string().starts_with("could not acquire lock"))
}

fn engine_error(operation: &'static str, folder: &Path, error: EngineError) -> StoreError {
    match error {
        // A file that ends early or lost a part is damage, not bad luck.
        EngineError::Io(source)
            if !matches!(
                source.kind(),
                io::ErrorKind::UnexpectedEof
                    | io::ErrorKind::InvalidData
                    | io::ErrorKind::InvalidInput
                    | io::ErrorKind::NotFound
            ) =>
        {
            StoreError::io(operation, folder, source)
        }
        error => damaged(folder, error_text(&error)),
    }
}

/// The engine's message without the parts that only its authors need.
fn error_text(error: &EngineError) -> String {
    match error {
        EngineError::Corruption { .. } => "a page of the data file is corrupt".to_owned(),
        // Its message blames an old version, whatever is wrong with the file.
        EngineError::Unsupported(_) => "the settings file `conf` does not fit the data".to_owned(),
        other => other.to_string().lines().next().unwrap_or_default().to_owned(),
    }
}

/// Damage of the store in a folder, with the acknowledged revision where it can be read.
pub(super) fn damaged(folder: &Path, detail: String) -> StoreError {
    let head_revision: Option<Revision> = witness::read(folder).ok().and_then(|seen| seen.revision());
    StoreError::Damaged {
        path: folder.parent().unwrap_or(folder).to_path_buf(),
        detail,
        head_revision,
        found_revision: None,
        missing_records: None,
    }
}
