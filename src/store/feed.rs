//! What is acknowledged, and who wants to hear of it.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use super::{Commit, Revision};

/// The acknowledged state in a few numbers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Head {
    /// The last acknowledged revision.
    pub(super) revision: Revision,
    /// When that was committed, in milliseconds since 1970.
    pub(super) time_ms: i64,
    /// The oldest revision that can still be read.
    pub(super) floor: Revision,
    /// When that was committed, in milliseconds since 1970.
    pub(super) floor_time_ms: i64,
    /// The number of live records at the last revision.
    pub(super) live: u64,
    /// Size of all rows that count.
    pub(super) bytes: u64,
}

/// The published head and the subscribers, behind one lock, so that a
/// subscriber sees exactly the commits published after it subscribed.
#[derive(Debug, Default)]
pub(super) struct Feed {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    head: Head,
    problem: Option<String>,
    /// The problem is that the writer hangs.
    hung: bool,
    subscribers: Vec<UnboundedSender<Arc<Commit>>>,
}

impl Feed {
    pub(super) fn new(head: Head, problem: Option<String>) -> Feed {
        Feed { state: Mutex::new(State { head, problem, ..State::default() }) }
    }

    pub(super) fn head(&self) -> Head {
        self.state().head
    }

    pub(super) fn problem(&self) -> Option<String> {
        self.state().problem.clone()
    }

    pub(super) fn subscribe(&self) -> UnboundedReceiver<Arc<Commit>> {
        let (sender, receiver) = unbounded_channel();
        let mut state = self.state();
        // Subscribers that left are otherwise noticed only by the next commit.
        state.subscribers.retain(|subscriber| !subscriber.is_closed());
        state.subscribers.push(sender);
        receiver
    }

    /// Moves the head and tells the subscribers.
    pub(super) fn publish(&self, head: Head, commits: &[Arc<Commit>]) {
        let mut state = self.state();
        state.head = head;
        state.subscribers.retain(|subscriber| commits.iter().all(|commit| subscriber.send(Arc::clone(commit)).is_ok()));
    }

    /// Makes the store read-only; the first problem is the one that matters, but for a hang, which may pass.
    pub(super) fn fail(&self, problem: String) {
        let mut state = self.state();
        if state.hung || state.problem.is_none() {
            state.problem = Some(problem);
            state.hung = false;
        }
    }

    /// Another problem turned out to be behind the one that is known.
    pub(super) fn worsen(&self, problem: String) {
        let mut state = self.state();
        state.problem = Some(problem);
        state.hung = false;
    }

    /// Makes the store read-only while its writer hangs; `false`: it was already.
    pub(super) fn hang(&self, problem: String) -> bool {
        let mut state = self.state();
        let first = state.problem.is_none();
        if first {
            state.problem = Some(problem);
            state.hung = true;
        }
        first
    }

    /// The problem is over.
    pub(super) fn recover(&self) {
        let mut state = self.state();
        state.problem = None;
        state.hung = false;
    }

    /// The problem is over, if it was that the writer hung.
    pub(super) fn recover_from_hang(&self) -> bool {
        let mut state = self.state();
        let hung = std::mem::take(&mut state.hung);
        if hung {
            state.problem = None;
        }
        hung
    }

    /// Nothing more is told.
    #[cfg(feature = "etcd")]
    pub(super) fn end(&self) {
        self.state().subscribers.clear();
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // No code panics under this lock, and each update leaves it consistent.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
