//! Who calls, and under which id: for the log of commits and of decisions.
//!
//! No use case decides by it, so it is not among what they are asked: the service says it for the task that a call runs in, and
//! what writes a log reads it there.

use std::any::Any;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::task::JoinHandle;

use super::RegistryError;
use crate::domain::eligibility::Verdict;

tokio::task_local! {
    static CALL: Call;
}

/// A call of the API.
#[derive(Clone)]
pub struct Call {
    /// Its id, which the answer carries as well.
    pub id: Arc<str>,
    /// Who calls.
    pub actor: Arc<str>,
    /// What is held as long as the call or work of it goes on.
    pub held: Option<Arc<dyn Any + Send + Sync>>,
    /// What its decisions come to, where somebody wants to know.
    pub outcome: Option<Arc<Outcome>>,
}

/// What the decisions of a call come to: for its trace.
#[derive(Debug, Default)]
pub struct Outcome {
    revision: AtomicU64,
    verdicts: [AtomicU64; Verdict::ALL.len()],
}

impl Outcome {
    /// The revision that its last decision was made on; `None` where it made none.
    #[must_use]
    pub fn revision(&self) -> Option<u64> {
        (!self.verdicts().is_empty()).then(|| self.revision.load(Ordering::Relaxed))
    }

    /// The verdicts of its decisions, with how many there are of each.
    #[must_use]
    pub fn verdicts(&self) -> Vec<(Verdict, u64)> {
        let counts = self.verdicts.iter().map(|count| count.load(Ordering::Relaxed));
        Verdict::ALL.iter().copied().zip(counts).filter(|(_, count)| *count > 0).collect()
    }

    fn add(&self, revision: u64, verdict: Verdict) {
        self.revision.store(revision, Ordering::Relaxed);
        if let Some(count) = self.verdicts.get(verdict as usize) {
            count.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// Ends a task that was given up on, if it has not begun.
struct Given<T>(JoinHandle<T>);

impl<T> Drop for Given<T> {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Does what takes longer than a serving thread should be held up beside those. It counts as work of the call until it is done,
/// also where the call is given up on meanwhile; what has not begun by then never does.
///
/// # Errors
/// It came to no end.
pub async fn beside<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, RegistryError> {
    let call = Call::current();
    let working = tokio::task::spawn_blocking(move || match call {
        Some(call) => CALL.sync_scope(call, work),
        None => work(),
    });
    let mut working = Given(working);
    (&mut working.0).await.map_err(|_| RegistryError::Closed)
}

impl Call {
    /// Runs what belongs to the call.
    pub fn run<F: Future>(self, work: F) -> impl Future<Output = F::Output> {
        CALL.scope(self, work)
    }

    /// Notes a decision for the trace of the call that this task belongs to.
    pub(super) fn decided(revision: u64, verdict: Verdict) {
        // What belongs to no call has no trace.
        let _ = CALL.try_with(|call| call.outcome.as_ref().map(|outcome| outcome.add(revision, verdict)));
    }

    /// The call that this task belongs to; `None` for what the registry does by itself.
    pub(super) fn current() -> Option<Call> {
        CALL.try_with(Clone::clone).ok()
    }
}
