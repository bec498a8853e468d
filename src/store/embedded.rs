//! The embedded store: one directory, one writer thread, group commit.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::sync::{Semaphore, oneshot};

use super::audit::{Audit, Findings, Verdict};
use super::feed::{Feed, Head};
use super::hook::Hook;
use super::layout::{self, Place};
use super::plan::{Serials, Totals};
use super::queue::{Answer, Queue};
use super::reader::{Parts, Reader, record};
use super::sled::{Engine, damaged};
use super::witness::{self, HeadFile, Seen};
use super::writer::Writer;
use super::{
    Batch, BoxFuture, Commit, Record, Revision, Sink, Store, StoreError, StoreStatus, Take, Version, check_key, guard,
    rows,
};

/// Long reads at once; more wait.
const READS_MAX: usize = 16;

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
    /// A commit that takes longer than this is given up on: who waits gets an error, and the store is read-only until the
    /// engine answers after all.
    pub hang_after: Duration,
    /// Makes the disk slow or faulty.
    pub hook: Hook,
}

/// How one of several small stores is opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Beginning {
    /// As it is, where there is one.
    IfThere,
    /// As it is, or empty where there is none.
    OrNew,
    /// Empty, whatever was there.
    Anew,
}

impl SledOptions {
    /// The defaults: 16 MiB of cache, since records are read from memory, no opening after a loss, and ten seconds for a
    /// commit.
    pub fn new(path: impl Into<PathBuf>) -> SledOptions {
        SledOptions {
            path: path.into(),
            cache_capacity_bytes: 16 << 20,
            on_loss: OnLoss::default(),
            hang_after: Duration::from_secs(10),
            hook: Hook::default(),
        }
    }
}

/// A durable store in one directory.
///
/// Dropping it stops the writer after the batches already submitted, and frees
/// the directory. A writer that hangs is left behind.
#[derive(Debug)]
pub struct SledStore {
    path: PathBuf,
    reader: Arc<Reader>,
    /// `None` after a loss, when no commit is accepted.
    queue: Option<Arc<Queue>>,
    writer: Option<JoinHandle<()>>,
    hang_after: Duration,
    reads: Arc<Semaphore>,
    /// Without a writer, which has it otherwise, the directory's lock.
    _place: Option<Arc<Place>>,
}

impl SledStore {
    /// Opens a store and checks all of it; blocks while it reads every row.
    pub fn open(options: SledOptions) -> Result<SledStore, StoreError> {
        Self::open_with(options, None).map(|(store, _)| store)
    }

    /// Opens a store and gives out its live records while it checks them, as [`Store::load_each`] does. They stand at the
    /// revision that is answered; `None`: they are not all there is, and what was given out is to be thrown away.
    pub fn open_loading(options: SledOptions, take: Take) -> Result<(SledStore, Option<Revision>), StoreError> {
        Self::open_with(options, Some(take))
    }

    fn open_with(options: SledOptions, mut take: Option<Take>) -> Result<(SledStore, Option<Revision>), StoreError> {
        let path = options.path.clone();
        let hang_after = options.hang_after;
        let loads = take.is_some();
        let place = claim(&options)?;
        let opening = Opening { options, place: Arc::new(place) };
        let opened = opening.open(take.as_mut())?;
        let reader =
            Reader::new(opened.engine, Feed::new(opened.head, opened.problem.clone()), opened.problem.is_some());
        let reader = Arc::new(reader);
        let reads = Arc::new(Semaphore::new(READS_MAX));
        let mut store =
            SledStore { path, reader: Arc::clone(&reader), queue: None, writer: None, hang_after, reads, _place: None };
        let Some(Writing { head_file, totals, spent, complete }) = opened.writing else {
            store._place = Some(opening.place);
            return Ok((store, None));
        };
        let queue = Arc::new(Queue::default());
        let writer = Writer {
            reader,
            queue: Arc::clone(&queue),
            opening,
            head_file,
            totals,
            serials: Serials::default(),
            spent,
            compacting: None,
            retry_at: None,
        };
        let failed = |error| StoreError::io("start the writer of", &store.path, error);
        store.writer = Some(writer.start().map_err(failed)?);
        watch(&store.reader, &queue, hang_after).map_err(failed)?;
        store.queue = Some(queue);
        Ok((store, (loads && complete).then_some(totals.revision)))
    }

    /// Opens one of several small stores in a folder; `None`: it is not there, and was not asked to begin.
    pub fn open_generation(folder: &Path, generation: usize, beginning: Beginning) -> Result<Option<Self>, StoreError> {
        let path = folder.join(generation.to_string());
        match beginning {
            Beginning::IfThere if !path.try_exists().map_err(|error| StoreError::io("look for", &path, error))? => {
                return Ok(None);
            }
            Beginning::IfThere | Beginning::OrNew => {}
            Beginning::Anew => layout::discard(&path)?,
        }
        const CACHE_BYTES: u64 = 4 << 20;
        SledStore::open(SledOptions { cache_capacity_bytes: CACHE_BYTES, ..SledOptions::new(path) }).map(Some)
    }

    fn queue(&self) -> Result<&Queue, StoreError> {
        if let Some(reason) = self.reader.feed.problem() {
            return Err(StoreError::ReadOnly { reason });
        }
        self.queue.as_deref().ok_or(StoreError::Closed)
    }

    fn submit(&self, batch: Batch) -> Result<oneshot::Receiver<Answer>, StoreError> {
        let batch = batch.validated()?;
        let (reply, answer) = oneshot::channel();
        self.queue()?.commit(batch, reply)?;
        Ok(answer)
    }

    fn submit_compaction(&self, oldest: Revision) -> Result<oneshot::Receiver<Answer>, StoreError> {
        let (reply, answer) = oneshot::channel();
        self.queue()?.compact(oldest, reply)?;
        Ok(answer)
    }

    /// Runs a long read on a thread of its own, whatever runtime the caller is on.
    fn read<T: Send + 'static>(
        &self,
        read: impl FnOnce(&Reader) -> Result<T, StoreError> + Send + 'static,
    ) -> BoxFuture<'_, Result<T, StoreError>> {
        let reader = Arc::clone(&self.reader);
        Box::pin(async move {
            // Each has a thread: not more of them than do a disk good.
            let turn = self.reads.clone().acquire_owned().await.map_err(|_| StoreError::Closed)?;
            let (reply, answer) = oneshot::channel();
            thread::Builder::new()
                .name("store-read".to_owned())
                .spawn(move || {
                    let outcome = reader.fenced(|| read(&reader));
                    // The store must be free to close once the answer is out.
                    drop((reader, turn));
                    // Nobody listens when the future was dropped.
                    let _ = reply.send(outcome);
                })
                .map_err(|error| StoreError::io("start a thread to read", &self.path, error))?;
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

    fn records_as_of(
        &self,
        keys: Vec<Bytes>,
        revision: Revision,
    ) -> BoxFuture<'_, Result<Vec<Option<Record>>, StoreError>> {
        self.read(move |reader| {
            let record = |key: &Bytes| check_key(key).and_then(|()| reader.record_as_of(key, revision));
            keys.iter().map(record).collect()
        })
    }

    fn history(&self, key: &[u8], before: Revision, limit: usize) -> BoxFuture<'_, Result<Vec<Version>, StoreError>> {
        if let Err(error) = check_key(key) {
            return Box::pin(std::future::ready(Err(error)));
        }
        let key = key.to_vec();
        self.read(move |reader| reader.history(&key, before, limit))
    }

    fn revision_at(&self, time_ms: i64) -> BoxFuture<'_, Result<Revision, StoreError>> {
        self.read(move |reader| reader.revision_at(time_ms))
    }

    fn compact(&self, oldest: Revision) -> BoxFuture<'_, Result<Revision, StoreError>> {
        let submitted = self.submit_compaction(oldest);
        Box::pin(async move { submitted?.await.map_err(|_| StoreError::Closed)? })
    }

    fn backup(&self, sink: Sink) -> BoxFuture<'_, Result<Revision, StoreError>> {
        self.read(move |reader| reader.backup(sink))
    }

    fn subscribe(&self) -> UnboundedReceiver<Arc<Commit>> {
        self.reader.feed.subscribe()
    }

    fn status(&self) -> StoreStatus {
        let (head, problem) = (self.reader.feed.head(), self.reader.feed.problem());
        let engine = self.reader.engine.load_full();
        StoreStatus {
            backend: "sled",
            place: Some(self.path.display().to_string()),
            revision: head.revision,
            time_ms: head.time_ms,
            oldest_revision: head.floor,
            oldest_time_ms: head.floor_time_ms,
            record_count: head.live,
            data_size_bytes: head.bytes,
            waiting: self.queue.as_ref().map_or(0, |queue| queue.waiting()),
            writable: problem.is_none(),
            problem,
            size_on_disk_bytes: engine.and_then(|engine| engine.size_on_disk_bytes()),
            flushes: self.reader.flushes.read(),
            staleness: None,
        }
    }
}

impl Drop for SledStore {
    fn drop(&mut self) {
        self.reader.closing.store(true, Ordering::Relaxed);
        let Some(queue) = &self.queue else { return };
        queue.close();
        let Some(writer) = self.writer.take() else { return };
        // Waiting for a disk that does not answer would hold up the end of the process.
        while !writer.is_finished() {
            if queue.is_hung(self.hang_after) {
                tracing::error!(path = %self.path.display(), "the storage engine does not answer and is left behind");
                return;
            }
            thread::sleep(Duration::from_millis(1));
        }
        if writer.join().is_err() {
            tracing::error!(path = %self.path.display(), "the store's writer panicked");
        }
    }
}

/// Starts the thread that answers in the writer's stead when it hangs.
fn watch(reader: &Arc<Reader>, queue: &Arc<Queue>, hang_after: Duration) -> std::io::Result<()> {
    let (reader, queue) = (Arc::downgrade(reader), Arc::clone(queue));
    let looks = (hang_after / 4).min(Duration::from_secs(1));
    thread::Builder::new().name("store-watch".to_owned()).spawn(move || {
        while !queue.is_closed_within(looks) {
            let Some(reader) = reader.upgrade() else { return };
            if !queue.is_hung(hang_after) {
                if reader.feed.recover_from_hang() {
                    tracing::warn!("the storage engine answers again");
                }
                continue;
            }
            let reason = format!("a commit has not come to an end within {hang_after:?}");
            // First, so that nothing is submitted that nobody answers.
            if reader.feed.hang(format!("no commit is accepted for now: {reason}")) {
                tracing::error!("the storage engine does not answer, so the store is read-only for now");
            }
            queue.give_up(hang_after, &StoreError::Unavailable { reason });
        }
    })?;
    Ok(())
}

/// How a store is opened; also anew, while it is in use.
#[derive(Debug)]
pub(super) struct Opening {
    pub(super) options: SledOptions,
    pub(super) place: Arc<Place>,
}

/// A store that was opened and checked.
pub(super) struct Opened {
    pub(super) engine: Engine,
    pub(super) head: Head,
    /// What is lost, if anything is: then it can only be read.
    pub(super) problem: Option<String>,
    pub(super) writing: Option<Writing>,
}

/// What the writer needs.
pub(super) struct Writing {
    pub(super) head_file: HeadFile,
    pub(super) totals: Totals,
    /// Rows that do not count any more, to be removed.
    pub(super) spent: Vec<Vec<u8>>,
    /// Whether the records that were given out are all there is.
    complete: bool,
}

impl Opening {
    /// Opens the current folder and compares it with its witness. Live records are given to `take`.
    pub(super) fn open(&self, take: Option<&mut Take>) -> Result<Opened, StoreError> {
        let folder = self.place.folder();
        // A thread of its own, so that nothing of a panicking engine stays behind in the caller's.
        let opened = thread::scope(|scope| {
            let opening = thread::Builder::new()
                .name("store-open".to_owned())
                .spawn_scoped(scope, || guard::quietly(|| open_and_check(&self.place, &self.options, take)));
            let opening = opening.map_err(|error| StoreError::io("start a thread to open", &folder, error))?;
            Ok::<_, StoreError>(opening.join().unwrap_or_else(|_| Err("no message".to_owned())))
        })?;
        let opened = opened.unwrap_or_else(|panic| {
            Err(damaged(&folder, format!("the storage engine cannot read its files ({panic})")))
        });
        // The operating system tells of it once: the next attempt would seem to succeed.
        if let Err(StoreError::Unsynced { .. }) = &opened {
            self.place.note_unsynced();
        }
        opened
    }
}

/// Claims the directory, and makes a new store where there is none.
fn claim(options: &SledOptions) -> Result<Place, StoreError> {
    let mut place = Place::claim(&options.path)?;
    if place.current == 0 {
        let draft = place.draft()?;
        let made = guard::quietly(|| {
            let engine = Engine::open(&draft, options.cache_capacity_bytes, options.hook.clone())?;
            engine.make_creation_durable()
        });
        made.unwrap_or_else(|panic| Err(damaged(&draft, format!("the storage engine failed ({panic})"))))?;
        HeadFile::create(&draft, Totals::default())?;
        place.adopt(&draft)?;
    }
    Ok(place)
}

fn open_and_check(place: &Place, options: &SledOptions, take: Option<&mut Take>) -> Result<Opened, StoreError> {
    let folder = &place.folder();
    for file in [layout::DATA_FILE, "conf"] {
        if !folder.join(file).is_file() {
            return Err(damaged(folder, format!("its file `{file}` is missing")));
        }
    }
    let seen = witness::read(folder)?;
    let engine = Engine::open(folder, options.cache_capacity_bytes, options.hook.clone())?;
    let witnessed = match seen {
        Seen::Intact(witness, _) => Some(witness.totals),
        Seen::Missing | Seen::Unreadable => None,
    };
    let findings = audit(&engine, witnessed, take)?;
    let newest = findings.newest();
    let Totals { live, bytes, time_ms, .. } = findings.totals;
    let weighed = if place.is_unsynced() {
        let detail = "a sync has failed since the machine was started, so what is read may not be on the disk: \
                      restart the machine, or back up what is served read-only and restore it to another disk";
        Err(Loss { detail: detail.to_owned(), missing_records: None })
    } else {
        weigh(&engine, findings, seen, &options.hook)?
    };
    let Loss { detail, missing_records } = match weighed {
        Ok(writing) => {
            place.forget_unsynced();
            let head = writing.totals.head();
            return Ok(Opened { engine, head, problem: None, writing: Some(writing) });
        }
        Err(loss) => loss,
    };
    if options.on_loss == OnLoss::Refuse {
        return Err(StoreError::Damaged {
            path: options.path.clone(),
            detail,
            head_revision: seen.revision(),
            found_revision: Some(newest),
            missing_records,
        });
    }
    let (floor, floor_time_ms) = witnessed.map_or((0, 0), |totals| (totals.floor, totals.floor_time_ms));
    let head = Head { revision: newest, time_ms, floor, floor_time_ms, live, bytes };
    Ok(Opened { engine, head, problem: Some(format!("data is lost: {detail}; restore a backup")), writing: None })
}

/// Reads every row, as far as that is possible. Live records that were acknowledged are given to `take`.
pub(super) fn audit(engine: &Engine, witness: Option<Totals>, take: Option<&mut Take>) -> Result<Findings, StoreError> {
    let mut audit = Audit::new(witness);
    let (mut parts, mut wanted) = (take.map(Parts::new), true);
    let mut unreadable = None;
    let rows = engine.rows(Vec::new()..)?;
    let mut count = |version: rows::Version<'_>| {
        if let Some(parts) = &mut parts {
            let rows::Version { key, revision, value } = version;
            wanted &= parts.add(key, value.map(|value| record(key, value, revision)));
        }
        // All rows are read, whoever wants them.
        if !wanted {
            parts = None;
        }
    };
    let read = guard::quietly(|| {
        for row in rows {
            match row {
                Ok((row_key, row)) => audit.row(row_key, row, &mut count),
                Err(error) => {
                    unreadable = Some(error.to_string());
                    break;
                }
            }
        }
    });
    let mut findings = audit.finish(&mut count);
    if let Some(parts) = parts {
        parts.finish();
    }
    findings.unreadable = read.err().or(unreadable);
    Ok(findings)
}

/// What was lost, in words and in live records.
struct Loss {
    detail: String,
    missing_records: Option<u64>,
}

/// Compares data and witness; brings both in line if nothing is lost.
fn weigh(engine: &Engine, findings: Findings, seen: Seen, hook: &Hook) -> Result<Result<Writing, Loss>, StoreError> {
    let (witness, torn) = match seen {
        Seen::Missing => return Ok(Err(without_witness("missing", &findings))),
        Seen::Unreadable => return Ok(Err(without_witness("unreadable", &findings))),
        Seen::Intact(witness, torn) => (witness, torn),
    };
    let mut totals = witness.totals;
    let mut complete = true;
    let verdict = findings.judge(totals, torn);
    match verdict {
        Verdict::Sound => {}
        Verdict::Ahead(all) => {
            // The process ended between data and witness: nobody was told, and nothing is lost.
            tracing::info!(revision = all.revision, "keeping commits that were never acknowledged");
            engine.make_durable()?;
            (totals, complete) = (all, false);
        }
        Verdict::Begun => {
            tracing::info!(
                rows = findings.beyond.rows.len(),
                "taking back a part of commits that were never acknowledged"
            );
            engine.remove_durably(&findings.beyond.rows)?;
        }
        Verdict::Loss { detail, missing_records } => return Ok(Err(Loss { detail, missing_records })),
    }
    let mut head_file = HeadFile::open(engine.folder(), witness, hook.clone())?;
    if torn || verdict != Verdict::Sound {
        head_file.advance(totals)?;
    }
    Ok(Ok(Writing { head_file, totals, spent: findings.spent, complete }))
}

fn without_witness(state: &str, findings: &Findings) -> Loss {
    let rows = findings.describe_rows().unwrap_or_else(|| {
        format!("{} records up to revision {} can be read", findings.totals.live, findings.newest())
    });
    let detail = format!("the witness HEAD is {state}, so nothing shows that the data is whole; {rows}");
    Loss { detail, missing_records: None }
}
