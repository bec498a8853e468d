//! Who calls, and under which id: for the log of commits and of decisions.
//!
//! No use case decides by it, so it is not among what they are asked: the service says it for the task that a call runs in, and
//! what writes a log reads it there.

use std::sync::Arc;

tokio::task_local! {
    static CALL: Call;
}

/// A call of the API.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Call {
    /// Its id, which the answer carries as well.
    pub id: Arc<str>,
    /// Who calls.
    pub actor: Arc<str>,
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
