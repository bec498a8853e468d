//! The embedded store: one directory, one writer thread, group commit.
//!
//! The engine is used for ordered keys, batches and flush, and for nothing
//! else; only this file knows it. What it does not guarantee is added:
//!
//! - Its flush writes data without file size and disk cache, so a second handle
//!   to its data file is synced after it, and so are files for large pages.
//! - Its asynchronous flush can deadlock and is never used.
//! - It can lose the newest writes and still look healthy, so the witness
//!   outside of it is written after each group and compared at start.
//! - It panics on damaged files, so every call is fenced.

use std::fs::{self, File};
use std::io;
use std::ops::RangeBounds;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::Sender;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use ::sled::{Config, Db, Error as EngineError, IVec};
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::sync::oneshot;

use super::audit::{Audit, Findings, Verdict};
use super::feed::{Feed, Head};
use super::layout::{self, BLOB_DIRECTORY, DATA_FILE};
use super::plan::Totals;
use super::reader::{Parts, Reader, record};
use super::rows::Version;
use super::witness::{self, HeadFile, Seen};
use super::writer::{Job, Writer};
use super::{Batch, BoxFuture, Commit, Record, Revision, Store, StoreError, StoreStatus, Take, check_key, guard};

/// The engine frees its lock a little after it is dropped.
const LOCK_WAIT: Duration = Duration::from_secs(1);

/// What to do when data is missing or changed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnLoss {
    /// Refuse to open.
    #[default]
    Refuse,
    /// Serve what can be read, and refuse commits. A store of which nothing can
    /// be read is refused all the same.
    ReadOnly,
}

/// How to open a [`SledStore`].
#[derive(Clone, Debug)]
pub struct SledOptions {
    /// The store's directory; made if it does not exist.
    pub path: PathBuf,
    /// How much memory the engine may use for its cache.
    pub cache_capacity_bytes: u64,
    /// What to do when data is missing or changed.
    pub on_loss: OnLoss,
}

impl SledOptions {
    /// The defaults: 16 MiB of cache, since records are read from memory, and no opening after a loss.
    pub fn new(path: impl Into<PathBuf>) -> SledOptions {
        SledOptions { path: path.into(), cache_capacity_bytes: 16 << 20, on_loss: OnLoss::default() }
    }
}

/// A durable store in one directory.
///
/// Dropping it stops the writer after the batches already submitted, and frees
/// the directory.
#[derive(Debug)]
pub struct SledStore {
    reader: Arc<Reader>,
    /// `None` after a loss, when no commit is accepted.
    queue: Option<Sender<Job>>,
    writer: Option<JoinHandle<()>>,
}

impl SledStore {
    /// Opens a store and checks all of it; blocks while it reads every row.
    pub fn open(options: SledOptions) -> Result<SledStore, StoreError> {
        Self::open_with(options, None).map(|(store, _)| store)
    }

    /// Opens a store and gives out its live records while it checks them, as [`Store::load_each`] does. They stand at the
    /// revision that is answered; `None`: the check found a loss, and what was given out is to be thrown away.
    pub fn open_loading(options: SledOptions, take: Take) -> Result<(SledStore, Option<Revision>), StoreError> {
        Self::open_with(options, Some(take))
    }

    fn open_with(options: SledOptions, mut take: Option<Take>) -> Result<(SledStore, Option<Revision>), StoreError> {
        layout::prepare(&options.path)?;
        let path = options.path.clone();
        let loads = take.is_some();
        // A thread of its own, so that nothing of a panicking engine stays behind in the caller's.
        let opening = thread::Builder::new()
            .name("store-open".to_owned())
            .spawn(move || guard::quietly(|| open_and_check(&options, take.as_mut())))
            .map_err(|error| StoreError::io("start a thread to open", &path, error))?;
        let opened = opening.join().unwrap_or_else(|_| Err("no message".to_owned()));
        let (reader, writing) = opened.unwrap_or_else(|panic| {
            let detail = format!("the storage engine cannot read its files ({panic})");
            Err(damaged(&path, detail, head_revision(&path)))
        })?;
        let reader = Arc::new(reader);
        let mut store = SledStore { reader: Arc::clone(&reader), queue: None, writer: None };
        if let Some((head_file, totals)) = writing {
            let (queue, writer) = Writer { reader, head_file, totals }
                .start()
                .map_err(|error| StoreError::io("start the writer of", &path, error))?;
            store.queue = Some(queue);
            store.writer = Some(writer);
        }
        let loaded = store.queue.as_ref().filter(|_| loads).map(|_| store.reader.feed.head().revision);
        Ok((store, loaded))
    }

    /// Opens one of several small stores in a folder; `fresh` removes what it held.
    pub fn open_generation(folder: &Path, generation: usize, fresh: bool) -> Result<SledStore, StoreError> {
        let path = folder.join(generation.to_string());
        if fresh {
            match fs::remove_dir_all(&path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    return Err(StoreError::io("begin anew the store", &path, error));
                }
                _ => {}
            }
        }
        const CACHE_BYTES: u64 = 4 << 20;
        SledStore::open(SledOptions { cache_capacity_bytes: CACHE_BYTES, ..SledOptions::new(path) })
    }

    fn submit(&self, batch: Batch) -> Result<oneshot::Receiver<Result<Revision, StoreError>>, StoreError> {
        let batch = batch.validated()?;
        if let Some(reason) = self.reader.feed.problem() {
            return Err(StoreError::ReadOnly { reason });
        }
        let (reply, answer) = oneshot::channel();
        let queue = self.queue.as_ref().ok_or(StoreError::Closed)?;
        queue.send(Job { batch, reply }).map_err(|_| StoreError::Closed)?;
        Ok(answer)
    }

    /// Runs a long read on a thread of its own, whatever runtime the caller is on.
    fn read<T: Send + 'static>(
        &self,
        read: impl FnOnce(&Reader) -> Result<T, StoreError> + Send + 'static,
    ) -> BoxFuture<'_, Result<T, StoreError>> {
        let reader = Arc::clone(&self.reader);
        let path = self.reader.engine.path.clone();
        Box::pin(async move {
            let (reply, answer) = oneshot::channel();
            thread::Builder::new()
                .name("store-read".to_owned())
                .spawn(move || {
                    let outcome = reader.fenced(|| read(&reader));
                    // The store must be free to close once the answer is out.
                    drop(reader);
                    // Nobody listens when the future was dropped.
                    let _ = reply.send(outcome);
                })
                .map_err(|error| StoreError::io("start a thread to read", &path, error))?;
            answer.await.map_err(|_| StoreError::Closed)?
        })
    }
}

impl Store for SledStore {
    fn load_each(&self, mut take: Take) -> BoxFuture<'_, Result<Revision, StoreError>> {
        self.read(move |reader| reader.load_each(&mut take))
    }

    fn commit(&self, batch: Batch) -> BoxFuture<'_, Result<Revision, StoreError>> {
        let submitted = self.submit(batch);
        Box::pin(async move { submitted?.await.map_err(|_| StoreError::Closed)? })
    }

    fn changes_since(&self, after: Revision, limit: usize) -> BoxFuture<'_, Result<Vec<Arc<Commit>>, StoreError>> {
        self.read(move |reader| reader.changes_since(after, limit))
    }

    fn record_as_of(&self, key: &[u8], revision: Revision) -> BoxFuture<'_, Result<Option<Record>, StoreError>> {
        // One look-up, short enough to be done in place.
        let record = check_key(key).and_then(|()| self.reader.fenced(|| self.reader.record_as_of(key, revision)));
        Box::pin(std::future::ready(record))
    }

    fn subscribe(&self) -> UnboundedReceiver<Arc<Commit>> {
        self.reader.feed.subscribe()
    }

    fn status(&self) -> StoreStatus {
        let (head, problem) = (self.reader.feed.head(), self.reader.feed.problem());
        StoreStatus {
            backend: "sled",
            path: Some(self.reader.engine.path.clone()),
            revision: head.revision,
            record_count: head.live,
            writable: problem.is_none(),
            problem,
            size_on_disk_bytes: self.reader.engine.data_file.metadata().map(|found| found.len()).ok(),
        }
    }
}

impl Drop for SledStore {
    fn drop(&mut self) {
        self.reader.closing.store(true, Ordering::Relaxed);
        // The writer ends when the queue is empty and has no sender.
        self.queue = None;
        if let Some(writer) = self.writer.take()
            && writer.join().is_err()
        {
            tracing::error!(path = %self.reader.engine.path.display(), "the store's writer panicked");
        }
    }
}

/// A row key and its row.
type Row = (IVec, IVec);

/// The storage engine, reduced to what the store builds on.
#[derive(Debug)]
pub(super) struct Engine {
    /// `None` only while it is dropped.
    db: Option<Db>,
    /// A handle of our own to the engine's data file, to sync it.
    data_file: File,
    path: PathBuf,
    /// The files for large pages with numbers below this are synced.
    blobs_synced: AtomicU64,
}

impl Engine {
    fn open(options: &SledOptions) -> Result<Engine, StoreError> {
        let path = options.path.clone();
        let db = open_engine(options)?;
        let data_path = path.join(DATA_FILE);
        let data_file =
            File::open(&data_path).map_err(|error| StoreError::io("open the data file", &data_path, error))?;
        Ok(Engine { db: Some(db), data_file, path, blobs_synced: AtomicU64::new(0) })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// The rows in a range, in key order from either end.
    pub(super) fn rows(
        &self,
        range: impl RangeBounds<Vec<u8>>,
    ) -> Result<impl DoubleEndedIterator<Item = Result<Row, StoreError>>, StoreError> {
        let rows = self.db()?.range(range);
        Ok(rows.map(|row| row.map_err(|error| self.error("read", error))))
    }

    pub(super) fn get(&self, row_key: &[u8]) -> Result<Option<IVec>, StoreError> {
        self.db()?.get(row_key).map_err(|error| self.error("read", error))
    }

    /// Adds rows, all or none.
    pub(super) fn apply(&self, rows: Vec<(Vec<u8>, Vec<u8>)>) -> Result<(), StoreError> {
        let mut batch = ::sled::Batch::default();
        for (row_key, row) in rows {
            batch.insert(row_key, row);
        }
        self.db()?.apply_batch(batch).map_err(|error| self.error("write to", error))
    }

    /// Makes all applied rows durable.
    pub(super) fn make_durable(&self) -> Result<(), StoreError> {
        let synced = self.blobs_synced.load(Ordering::Relaxed);
        let synced = layout::sync_blobs(&self.path, synced)?;
        self.blobs_synced.store(synced, Ordering::Relaxed);
        self.db()?.flush().map_err(|error| self.error("flush", error))?;
        let path = self.path.join(DATA_FILE);
        self.data_file.sync_data().map_err(|error| StoreError::io("sync", &path, error))
    }

    /// Makes a new store durable before its first commit is.
    fn make_creation_durable(&self) -> Result<(), StoreError> {
        self.make_durable()?;
        // The engine writes its settings without syncing them.
        layout::sync_file(&self.path.join("conf"))?;
        layout::sync_directory(&self.path.join(BLOB_DIRECTORY))?;
        layout::sync_directory(&self.path)
    }

    /// Reads every row, as far as that is possible.
    /// Live records are given to `take`.
    fn audit(&self, take: Option<&mut Take>) -> Result<Findings, StoreError> {
        let mut audit = Audit::default();
        let (mut parts, mut wanted) = (take.map(Parts::new), true);
        let mut unreadable = None;
        let db = self.db()?;
        let read = guard::quietly(|| {
            for row in db.iter() {
                match row {
                    Ok((row_key, row)) => {
                        let version = audit.row(&row_key, &row);
                        if let (Some(parts), Some(Version { key, revision, value })) = (&mut parts, version) {
                            wanted = parts.add(key, value.map(|value| record(key, value, revision)));
                        }
                        // All rows are read, whoever wants them.
                        if !wanted {
                            parts = None;
                        }
                    }
                    Err(error) => {
                        unreadable = Some(error_text(&error));
                        break;
                    }
                }
            }
        });
        if let Some(parts) = parts {
            parts.finish();
        }
        let mut findings = audit.finish();
        findings.unreadable = read.err().or(unreadable);
        Ok(findings)
    }

    pub(super) fn damaged(&self, detail: String) -> StoreError {
        damaged(&self.path, detail, head_revision(&self.path))
    }

    fn db(&self) -> Result<&Db, StoreError> {
        self.db.as_ref().ok_or(StoreError::Closed)
    }

    fn error(&self, operation: &'static str, error: EngineError) -> StoreError {
        engine_error(operation, &self.path, error)
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        // The engine flushes when it is dropped, and panics if it cannot.
        let db = self.db.take();
        if let Err(panic) = guard::quietly(|| drop(db)) {
            tracing::error!(path = %self.path.display(), panic, "the storage engine did not close");
        }
    }
}

/// The parts of an opened store: the writer gets a witness file only if all is well.
type Opened = (Reader, Option<(HeadFile, Totals)>);

fn open_and_check(options: &SledOptions, take: Option<&mut Take>) -> Result<Opened, StoreError> {
    let path = options.path.as_path();
    // The engine would make a new data file in place of a lost one. When the
    // witness exists the data file was made before it, so this is no race.
    let before = witness::read(path)?;
    if before != Seen::Missing && fs::metadata(path.join(DATA_FILE)).is_err() {
        let detail = format!("the data file `{DATA_FILE}` is missing");
        return Err(damaged(path, detail, before.revision()));
    }
    let engine = Engine::open(options)?;
    let findings = engine.audit(take)?;
    // Only now that the lock is held is the witness sure to stand still.
    let seen = witness::read(path)?;
    let (loss, writing) = match weigh(&engine, &findings, seen)? {
        Ok(writing) => (None, Some(writing)),
        Err(loss) => (Some(loss), None),
    };
    let head = Head { revision: findings.newest, live: findings.all.live };
    if let Some((detail, missing_records)) = &loss
        && options.on_loss == OnLoss::Refuse
    {
        return Err(StoreError::Damaged {
            path: path.to_path_buf(),
            detail: detail.clone(),
            head_revision: seen.revision(),
            found_revision: Some(head.revision),
            missing_records: *missing_records,
        });
    }
    let problem = loss.map(|(detail, _)| format!("data is lost: {detail}; restore a backup"));
    let reader =
        Reader { engine, lenient: problem.is_some(), feed: Feed::new(head, problem), closing: AtomicBool::new(false) };
    Ok((reader, writing))
}

/// What was lost, in words and in live records.
type Loss = (String, Option<u64>);

/// Compares data and witness; brings the witness up to date if nothing is lost.
fn weigh(engine: &Engine, findings: &Findings, seen: Seen) -> Result<Result<(HeadFile, Totals), Loss>, StoreError> {
    let path = engine.path();
    let witness = match seen {
        // A creation that was not finished: nothing was ever acknowledged.
        Seen::Missing if findings.is_empty() => {
            engine.make_creation_durable()?;
            let totals = Totals::default();
            return Ok(Ok((HeadFile::create(path, totals)?, totals)));
        }
        Seen::Missing => return Ok(Err(without_witness("missing", findings))),
        Seen::Unreadable => return Ok(Err(without_witness("unreadable", findings))),
        Seen::Intact(witness) => witness,
    };
    match findings.judge(witness.totals) {
        Verdict::Sound => Ok(Ok((HeadFile::open(path, witness)?, findings.all))),
        Verdict::Ahead => {
            // The process ended between data and witness: nobody was told, and nothing is lost.
            let revision = findings.all.revision;
            tracing::info!(revision, "keeping commits that were never acknowledged");
            engine.make_durable()?;
            let mut head_file = HeadFile::open(path, witness)?;
            head_file.advance(findings.all)?;
            Ok(Ok((head_file, findings.all)))
        }
        Verdict::Loss { detail, missing_records } => Ok(Err((detail, missing_records))),
    }
}

fn open_engine(options: &SledOptions) -> Result<Db, StoreError> {
    let path = options.path.as_path();
    let config = Config::new()
        .path(path)
        .cache_capacity(options.cache_capacity_bytes)
        // Every commit flushes; a second rhythm would only add writes.
        .flush_every_ms(None);
    let deadline = Instant::now() + LOCK_WAIT;
    loop {
        match config.open() {
            Ok(db) => return Ok(db),
            Err(error) if !is_lock_error(&error) => {
                return Err(engine_error("open", path, error));
            }
            Err(_) if Instant::now() < deadline => thread::sleep(Duration::from_millis(20)),
            Err(_) => {
                return Err(StoreError::Locked { path: path.to_path_buf() });
            }
        }
    }
}

/// The engine has no error of its own for this, only the text.
fn is_lock_error(error: &EngineError) -> bool {
    matches!(error, EngineError::Io(cause)
        if cause.kind() == io::ErrorKind::Other && cause.to_string().starts_with("could not acquire lock"))
}

fn without_witness(state: &str, findings: &Findings) -> Loss {
    let rows = findings
        .describe_rows()
        .unwrap_or_else(|| format!("{} records up to revision {} can be read", findings.all.live, findings.newest));
    (format!("the witness HEAD is {state}, so nothing shows that the data is whole; {rows}"), None)
}

/// The acknowledged revision for a report; what it cannot read it leaves out.
fn head_revision(path: &Path) -> Option<Revision> {
    witness::read(path).ok()?.revision()
}

fn engine_error(operation: &'static str, path: &Path, error: EngineError) -> StoreError {
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
            StoreError::io(operation, path, source)
        }
        error => damaged(path, error_text(&error), head_revision(path)),
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

fn damaged(path: &Path, detail: String, head_revision: Option<Revision>) -> StoreError {
    StoreError::Damaged { path: path.to_path_buf(), detail, head_revision, found_revision: None, missing_records: None }
}
