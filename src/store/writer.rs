//! The one writer: group commit on a thread of its own.

use std::io;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use super::compaction;
use super::embedded::{Opened, Opening};
use super::layout;
use super::plan::{Last, Plan, Serials, Totals};
use super::queue::{Answer, Queue, Reply, Work};
use super::reader::Reader;
use super::witness::HeadFile;
use super::{Batch, Revision, StoreError, guard};

/// How long after a failure it is seen whether the disk takes writes again.
const RETRY_EVERY: Duration = Duration::from_secs(1);
/// Room on the disk that must be there for that.
const ROOM_BYTES: usize = 4 << 20;
/// Bytes that are written without a sync. The engine takes what it flushed for safe, and writes over the places where the same
/// pages were before; but a page that has a file of its own is not on the disk until that is synced, which only happens here.
const UNSYNCED_BYTES_MAX: usize = 128 << 10;
/// Rows that are removed at once, while others wait to be committed.
const REMOVED_AT_ONCE: usize = 256;

/// Turns queued batches into durable commits, group by group.
pub(super) struct Writer {
    pub(super) reader: Arc<Reader>,
    pub(super) queue: Arc<Queue>,
    /// How the store was opened, to open it again.
    pub(super) opening: Opening,
    pub(super) head_file: HeadFile,
    pub(super) totals: Totals,
    pub(super) serials: Serials,
    /// Rows that do not count and are to be removed.
    pub(super) spent: Vec<Vec<u8>>,
    /// History that is to be let go of, and who waits for it.
    pub(super) compacting: Option<(Revision, Vec<Reply>)>,
    /// When to try again, after a failure that may pass.
    pub(super) retry_at: Option<Instant>,
}

impl Writer {
    /// Starts the thread; it ends when the queue is closed and empty.
    pub(super) fn start(self) -> io::Result<JoinHandle<()>> {
        thread::Builder::new().name("store-writer".to_owned()).spawn(move || self.run())
    }

    fn run(mut self) {
        loop {
            match self.queue.take(self.patience()) {
                Work::Group(batches) => {
                    let outcome = self.commit_group(batches);
                    self.queue.finish(outcome);
                }
                Work::Compact(floor, reply) => {
                    let (target, replies) = self.compacting.get_or_insert_with(|| (floor, Vec::new()));
                    *target = floor.max(*target);
                    replies.push(reply);
                }
                Work::Nothing => {}
                Work::Closed => return,
            }
            let queue = Arc::clone(&self.queue);
            if self.retry_at.is_some_and(|at| at <= Instant::now()) {
                queue.busy_with(|| self.try_again());
            }
            if self.reader.feed.problem().is_none() {
                queue.busy_with(|| self.compact());
            }
            // It can have failed just now.
            if self.reader.feed.problem().is_some() {
                self.answer_compaction();
            }
        }
    }

    /// How long to wait for work while there is something else to do.
    fn patience(&self) -> Option<Duration> {
        let removing = self.compacting.is_some() || !self.spent.is_empty();
        if removing && self.reader.feed.problem().is_none() {
            // A read that needs the history may hold it up: then a moment.
            let held = self.reader.history.try_write().is_err();
            return Some(if held { Duration::from_millis(20) } else { Duration::ZERO });
        }
        self.retry_at.map(|at| at.saturating_duration_since(Instant::now()))
    }

    /// Commits one group; what is answered is for each of its batches.
    fn commit_group(&mut self, batches: Vec<Batch>) -> Result<Vec<Answer>, StoreError> {
        if let Some(reason) = self.reader.feed.problem() {
            return Err(StoreError::ReadOnly { reason });
        }
        self.fenced(|writer| writer.write_group(batches)).inspect_err(|error| self.fail(error))
    }

    fn fenced<T>(&mut self, work: impl FnOnce(&mut Self) -> Result<T, StoreError>) -> Result<T, StoreError> {
        guard::quietly(|| work(self)).unwrap_or_else(|panic| {
            let source = io::Error::other(format!("the storage engine failed ({panic})"));
            Err(StoreError::io("write to", &self.opening.place.directory, source))
        })
    }

    /// After a failure the engine repeats its first error for ever, and what it holds is unknown.
    fn fail(&mut self, error: &StoreError) {
        tracing::error!(%error, "a commit failed, so the store is read-only now");
        if let Some(engine) = self.reader.engine.load_full() {
            engine.give_up();
        }
        // Of these the disk can recover: then the engine is opened anew. After a failed sync it would show what is in memory
        // only.
        let passing = match error {
            StoreError::Full { .. } => true,
            StoreError::Io { source, .. } => source.kind() == io::ErrorKind::ReadOnlyFilesystem,
            _ => false,
        };
        if matches!(error, StoreError::Unsynced { .. }) {
            self.opening.place.note_unsynced();
        }
        let when = if passing { "until the disk takes writes again" } else { "until a restart" };
        self.reader.feed.fail(format!("no commit is accepted {when}, since one failed: {error}"));
        self.retry_at = passing.then(|| Instant::now() + RETRY_EVERY);
    }

    /// Makes a group durable, then publishes it. An error means that the whole
    /// group failed; answers, conflicts too, rest on commits before them in the
    /// group and so wait for its end.
    fn write_group(&mut self, batches: Vec<Batch>) -> Result<Vec<Answer>, StoreError> {
        let engine = self.reader.engine()?;
        let mut plan = Plan::new(self.totals);
        let mut serials = self.serials.clone();
        let mut answers = Vec::with_capacity(batches.len());
        for batch in batches {
            let reader = &self.reader;
            let mut stored = |key: &[u8]| {
                reader.newest(&engine, key, Revision::MAX, |revision, value| Last { revision, live: value.is_some() })
            };
            let (serial, writes) = (batch.serial, !batch.writes.is_empty());
            let added = serials.check(serial).and_then(|()| plan.add(batch, &mut stored));
            match added {
                Ok(revision) if writes => {
                    serials.note(serial, revision);
                    answers.push(Ok(revision));
                }
                answer @ (Ok(_) | Err(StoreError::Conflict { .. })) => answers.push(answer),
                Err(error) => return Err(error),
            }
        }
        if !plan.commits.is_empty() {
            let began = Instant::now();
            let mut unsynced = 0;
            for (row_key, row) in &plan.rows {
                engine.insert(row_key, row)?;
                unsynced += row_key.len() + row.len();
                if unsynced >= UNSYNCED_BYTES_MAX {
                    engine.make_durable()?;
                    unsynced = 0;
                }
            }
            // INVARIANT: the witness is written only after everything it vouches for
            // is durable, so the data is never behind it by a crash.
            engine.make_durable()?;
            self.head_file.advance(plan.totals)?;
            self.reader.flushes.add(began.elapsed());
            self.totals = plan.totals;
            self.serials = serials;
            self.reader.feed.publish(plan.totals.head(), &plan.commits);
        }
        Ok(answers)
    }

    /// Lets go of a slice of the history that is not wanted any more.
    fn compact(&mut self) {
        let done = |writer: &Self| {
            let target = writer.compacting.as_ref().map_or(0, |(target, _)| (*target).min(writer.totals.revision));
            target <= writer.totals.floor && writer.spent.is_empty()
        };
        if !done(self) {
            let reader = Arc::clone(&self.reader);
            let Ok(_alone) = reader.history.try_write() else { return };
            if let Err(error) = self.fenced(Self::compact_slice) {
                self.fail(&error);
            }
        }
        if done(self) {
            self.answer_compaction();
        }
    }

    fn compact_slice(&mut self) -> Result<(), StoreError> {
        let engine = self.reader.engine()?;
        if let Some((target, _)) = &self.compacting
            && *target > self.totals.floor
            && self.spent.is_empty()
        {
            let slice = compaction::slice(&engine, self.totals, *target)?;
            self.head_file.advance(slice.totals)?;
            self.totals = slice.totals;
            // INVARIANT: published before anything below it is removed; readers look at it after they read.
            self.reader.feed.publish(slice.totals.head(), &[]);
            self.spent = slice.spent;
        }
        // From the front: of a key the old rows go first.
        let some = self.spent.len().min(REMOVED_AT_ONCE);
        let some: Vec<_> = self.spent.drain(..some).collect();
        engine.remove_durably(&some)
    }

    fn answer_compaction(&mut self) {
        for reply in self.compacting.take().into_iter().flat_map(|(_, replies)| replies) {
            let answer = match self.reader.feed.problem() {
                None => Ok(self.totals.floor),
                Some(reason) => Err(StoreError::ReadOnly { reason }),
            };
            let _ = reply.send(answer);
        }
    }

    /// Opens the engine anew, if the disk takes writes again: nothing but that clears its first error.
    fn try_again(&mut self) {
        self.retry_at = Some(Instant::now() + RETRY_EVERY);
        let place = &self.opening.place;
        if layout::check_room_to_open(&place.folder()).is_err() || !layout::has_room(&place.directory, ROOM_BYTES) {
            return;
        }
        let Some(engine) = self.idle_engine() else { return };
        drop(engine);
        let problem = match self.opening.open(None) {
            Ok(Opened { engine, writing: Some(writing), .. }) => {
                self.reader.engine.store(Some(Arc::new(engine)));
                (self.head_file, self.totals, self.spent) = (writing.head_file, writing.totals, writing.spent);
                match self.catch_up() {
                    Ok(()) => {
                        self.retry_at = None;
                        self.reader.feed.recover();
                        tracing::info!(revision = self.totals.revision, "the disk takes writes again");
                        return;
                    }
                    Err(error) => error.to_string(),
                }
            }
            Ok(Opened { engine, problem, .. }) => {
                self.reader.engine.store(Some(Arc::new(engine)));
                problem.unwrap_or_default()
            }
            Err(error @ (StoreError::Damaged { .. } | StoreError::Unsynced { .. })) => error.to_string(),
            Err(StoreError::Locked { .. }) => {
                "no commit is accepted until a restart: the storage engine that failed does not close".to_owned()
            }
            // It may still be full.
            Err(error) => {
                tracing::warn!(%error, "the store could not be opened anew yet");
                return;
            }
        };
        self.retry_at = None;
        tracing::error!(problem, "the store could not be opened anew");
        self.reader.feed.worsen(problem);
    }

    /// Takes the engine out of use, if nobody reads from it at this moment.
    fn idle_engine(&self) -> Option<Option<Arc<super::sled::Engine>>> {
        let used = self.reader.engine.load_full();
        // One is that of the place it stands in, the other this one.
        if used.as_ref().is_some_and(|engine| Arc::strong_count(engine) > 2) {
            return None;
        }
        drop(used);
        let taken = self.reader.engine.swap(None);
        if taken.as_ref().is_some_and(|engine| Arc::strong_count(engine) > 1) {
            // Somebody came in between.
            self.reader.engine.store(taken);
            return None;
        }
        Some(taken)
    }

    /// Publishes what turned out to be durable of the group that failed.
    fn catch_up(&mut self) -> Result<(), StoreError> {
        // Of which kind they were is not known any more.
        self.serials.raise(self.totals.revision);
        let known = self.reader.feed.head().revision;
        let commits = self.reader.commits(known, self.totals.revision, usize::MAX)?;
        self.reader.feed.publish(self.totals.head(), &commits);
        Ok(())
    }
}
