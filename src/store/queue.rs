//! What waits for the writer, within bounds, and what becomes of it when the writer hangs.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use super::{Batch, GROUP_BATCHES_MAX, Revision, StoreError};

/// Most batches that wait; one more is refused.
const WAITING_BATCHES_MAX: usize = 4_096;
/// Most bytes that wait in several batches.
const WAITING_BYTES_MAX: usize = 128 << 20;
/// Most bytes of a group; a larger batch is one of its own.
const GROUP_BYTES_MAX: usize = 8 << 20;

pub(super) type Answer = Result<Revision, StoreError>;
pub(super) type Reply = oneshot::Sender<Answer>;

/// The queue of the one writer.
#[derive(Debug, Default)]
pub(super) struct Queue {
    state: Mutex<State>,
    filled: Condvar,
    closed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    jobs: VecDeque<Job>,
    bytes: usize,
    closing: bool,
    under_way: Option<UnderWay>,
}

#[derive(Debug)]
struct Job {
    task: Task,
    reply: Reply,
}

#[derive(Debug)]
enum Task {
    Commit(Batch),
    Compact(Revision),
}

/// What the writer is busy with.
#[derive(Debug)]
struct UnderWay {
    since: Instant,
    /// Those who wait for it, until it is given up on.
    replies: Vec<Reply>,
}

/// What there is to do.
#[derive(Debug)]
pub(super) enum Work {
    /// A group of batches; [`Queue::finish`] answers them.
    Group(Vec<Batch>),
    /// History before a revision is to be let go of.
    Compact(Revision, Reply),
    /// Nothing came in time.
    Nothing,
    /// Nothing will come any more.
    Closed,
}

impl Queue {
    pub(super) fn commit(&self, batch: Batch, reply: Reply) -> Result<(), StoreError> {
        let size = batch.size_bytes();
        let mut state = self.state();
        let waiting = state.jobs.len();
        if state.closing {
            return Err(StoreError::Closed);
        }
        if waiting >= WAITING_BATCHES_MAX || waiting > 0 && state.bytes.saturating_add(size) > WAITING_BYTES_MAX {
            return Err(StoreError::Busy { waiting });
        }
        state.bytes += size;
        state.jobs.push_back(Job { task: Task::Commit(batch), reply });
        self.filled.notify_one();
        Ok(())
    }

    pub(super) fn compact(&self, floor: Revision, reply: Reply) -> Result<(), StoreError> {
        let mut state = self.state();
        if state.closing {
            return Err(StoreError::Closed);
        }
        state.jobs.push_back(Job { task: Task::Compact(floor), reply });
        self.filled.notify_one();
        Ok(())
    }

    pub(super) fn waiting(&self) -> usize {
        self.state().jobs.len()
    }

    /// Waits for work, at most so long.
    pub(super) fn take(&self, at_most: Option<Duration>) -> Work {
        let mut state = self.state();
        let deadline = at_most.map(|at_most| Instant::now() + at_most);
        loop {
            if let Some(work) = state.take() {
                return work;
            }
            if state.closing {
                return Work::Closed;
            }
            let Some(deadline) = deadline else {
                state = self.filled.wait(state).unwrap_or_else(PoisonError::into_inner);
                continue;
            };
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Work::Nothing;
            }
            state = self.filled.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Answers the group under way, if it was not given up on.
    pub(super) fn finish(&self, outcome: Result<Vec<Answer>, StoreError>) {
        let Some(UnderWay { replies, .. }) = self.state().under_way.take() else { return };
        match outcome {
            Ok(answers) => {
                for (reply, answer) in replies.into_iter().zip(answers) {
                    // Nobody listens when the future was dropped.
                    let _ = reply.send(answer);
                }
            }
            Err(error) => {
                for reply in replies {
                    let _ = reply.send(Err(error.duplicate()));
                }
            }
        }
    }

    /// Does something of the writer's own, which can hang as well.
    pub(super) fn busy_with<T>(&self, work: impl FnOnce() -> T) -> T {
        self.state().under_way = Some(UnderWay { since: Instant::now(), replies: Vec::new() });
        let done = work();
        self.state().under_way = None;
        done
    }

    /// Answers everybody who waits with an error, where the writer has been busy with one thing for longer than `limit`.
    pub(super) fn give_up(&self, limit: Duration, error: &StoreError) {
        let mut state = self.state();
        let Some(under_way) = state.under_way.as_mut().filter(|under_way| under_way.since.elapsed() > limit) else {
            return;
        };
        let mut replies = std::mem::take(&mut under_way.replies);
        replies.extend(state.jobs.drain(..).map(|job| job.reply));
        state.bytes = 0;
        drop(state);
        for reply in replies {
            let _ = reply.send(Err(error.duplicate()));
        }
    }

    /// Whether the writer has been busy with one thing for longer than `limit`.
    pub(super) fn is_hung(&self, limit: Duration) -> bool {
        self.state().under_way.as_ref().is_some_and(|group| group.since.elapsed() > limit)
    }

    /// No more is taken in; what waits is still done.
    pub(super) fn close(&self) {
        self.state().closing = true;
        self.filled.notify_all();
        self.closed.notify_all();
    }

    /// Waits so long, or until it is closed: then `true`.
    pub(super) fn is_closed_within(&self, time: Duration) -> bool {
        let state = self.state();
        let (state, _) =
            self.closed.wait_timeout_while(state, time, |state| !state.closing).unwrap_or_else(PoisonError::into_inner);
        state.closing
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // No code panics under this lock, and each update leaves it consistent.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn take(&mut self) -> Option<Work> {
        let Job { task, reply } = self.jobs.pop_front()?;
        let first = match task {
            Task::Compact(floor) => return Some(Work::Compact(floor, reply)),
            Task::Commit(batch) => batch,
        };
        let mut size = first.size_bytes();
        let (mut batches, mut replies) = (vec![first], vec![reply]);
        while batches.len() < GROUP_BATCHES_MAX && size < GROUP_BYTES_MAX {
            match self.jobs.pop_front() {
                Some(Job { task: Task::Commit(batch), reply }) => {
                    size += batch.size_bytes();
                    batches.push(batch);
                    replies.push(reply);
                }
                Some(job) => {
                    self.jobs.push_front(job);
                    break;
                }
                None => break,
            }
        }
        self.bytes = self.bytes.saturating_sub(size);
        self.under_way = Some(UnderWay { since: Instant::now(), replies });
        Some(Work::Group(batches))
    }
}
