//! The one writer: group commit on a thread of its own.

use std::io;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::{self, JoinHandle};

use tokio::sync::oneshot;

use super::plan::{Last, Plan, Totals};
use super::reader::Reader;
use super::witness::HeadFile;
use super::{Batch, Revision, StoreError, guard};

const GROUP_BATCHES_MAX: usize = 1024;
const GROUP_SIZE_BYTES_MAX: usize = 8 << 20;

/// A batch and where its answer goes.
pub(super) struct Job {
    pub(super) batch: Batch,
    pub(super) reply: oneshot::Sender<Result<Revision, StoreError>>,
}

/// Turns queued batches into durable commits, group by group.
pub(super) struct Writer {
    pub(super) reader: Arc<Reader>,
    pub(super) head_file: HeadFile,
    pub(super) totals: Totals,
}

impl Writer {
    /// Starts the thread; it ends when the queue is empty and has no sender.
    pub(super) fn start(self) -> io::Result<(Sender<Job>, JoinHandle<()>)> {
        let (sender, receiver) = channel();
        let thread = thread::Builder::new().name("store-writer".to_owned()).spawn(move || self.run(&receiver))?;
        Ok((sender, thread))
    }

    fn run(mut self, queue: &Receiver<Job>) {
        while let Ok(first) = queue.recv() {
            let mut size_bytes = first.batch.size_bytes();
            let mut jobs = vec![first];
            while jobs.len() < GROUP_BATCHES_MAX
                && size_bytes < GROUP_SIZE_BYTES_MAX
                && let Ok(job) = queue.try_recv()
            {
                size_bytes += job.batch.size_bytes();
                jobs.push(job);
            }
            self.commit_group(jobs);
        }
    }

    /// Commits one group and answers each of its batches.
    fn commit_group(&mut self, jobs: Vec<Job>) {
        let (batches, replies): (Vec<_>, Vec<_>) = jobs.into_iter().map(|job| (job.batch, job.reply)).unzip();
        let written = guard::quietly(|| self.write_group(batches)).unwrap_or_else(|panic| {
            let source = io::Error::other(format!("the storage engine failed ({panic})"));
            Err(StoreError::io("write to", self.reader.engine.path(), source))
        });
        let error = match written {
            Ok(answers) => {
                for (reply, answer) in replies.into_iter().zip(answers) {
                    // Nobody listens when the future was dropped.
                    let _ = reply.send(answer);
                }
                return;
            }
            Err(error) => error,
        };
        if !matches!(error, StoreError::ReadOnly { .. }) {
            tracing::error!(%error, "a commit failed, so the store is read-only now");
            // The engine repeats its first error for ever, and what it holds now is unknown.
            let problem = format!("no commit is accepted until a restart, since one failed: {error}");
            self.reader.feed.fail(problem);
        }
        for reply in replies {
            let _ = reply.send(Err(error.duplicate()));
        }
    }

    /// Makes a group durable, then publishes it. An error means that the whole
    /// group failed; answers, conflicts too, rest on commits before them in the
    /// group and so wait for its end.
    fn write_group(&mut self, batches: Vec<Batch>) -> Result<Vec<Result<Revision, StoreError>>, StoreError> {
        if let Some(reason) = self.reader.feed.problem() {
            return Err(StoreError::ReadOnly { reason });
        }
        let mut plan = Plan::new(self.totals);
        let mut answers = Vec::with_capacity(batches.len());
        for batch in batches {
            let reader = &self.reader;
            let mut stored = |key: &[u8]| {
                reader.newest(key, Revision::MAX, |revision, value| Last { revision, live: value.is_some() })
            };
            match plan.add(batch, &mut stored) {
                answer @ (Ok(_) | Err(StoreError::Conflict { .. })) => answers.push(answer),
                Err(error) => return Err(error),
            }
        }
        if !plan.commits.is_empty() {
            self.persist(plan.rows, plan.totals)?;
            self.totals = plan.totals;
            self.reader.feed.publish(plan.totals.head(), &plan.commits);
        }
        Ok(answers)
    }

    /// INVARIANT: the witness is written only after everything it vouches for
    /// is durable, so the data is never behind it by a crash.
    fn persist(&mut self, rows: Vec<(Vec<u8>, Vec<u8>)>, totals: Totals) -> Result<(), StoreError> {
        self.reader.engine.apply(rows)?;
        self.reader.engine.make_durable()?;
        self.head_file.advance(totals)
    }
}
