//! Who calls, and under which id: for the log of commits and of decisions.
//!
//! No use case decides by it, so it is not among what they are asked: the service says it for the task that a call runs in, and
//! what writes a log reads it there.

use std::any::Any;
use std::sync::Arc;

use tokio::task::JoinHandle;

use super::RegistryError;

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
    let held = Call::current().and_then(|call| call.held);
    let working = tokio::task::spawn_blocking(move || {
        let done = work();
        drop(held);
        done
    });
    let mut working = Given(working);
    (&mut working.0).await.map_err(|_| RegistryError::Closed)
}

impl Call {
    /// Runs what belongs to the call.
    pub fn run<F: Future>(self, work: F) -> impl Future<Output = F::Output> {
        CALL.scope(self, work)
    }

    /// The call that this task belongs to; `None` for what the registry does by itself.
    pub(super) fn current() -> Option<Call> {
        CALL.try_with(Clone::clone).ok()
    }
}
