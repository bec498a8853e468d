//! Making the disk slow or faulty, for tests and benchmarks.

use std::fmt;
use std::io;
use std::sync::Arc;

/// What the writer is about to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Step {
    /// Give a row to the engine.
    Write,
    /// Have the engine write what it holds.
    Flush,
    /// Sync the engine's files.
    Sync,
    /// Write the witness.
    Witness,
    /// Remove a row from the engine.
    Remove,
}

type Before = dyn Fn(Step) -> io::Result<()> + Send + Sync;

/// Called before each step: it may wait, fail or panic in the disk's stead.
#[derive(Clone, Default)]
pub struct Hook(Option<Arc<Before>>);

impl Hook {
    /// Calls `before` ahead of each step.
    pub fn new(before: impl Fn(Step) -> io::Result<()> + Send + Sync + 'static) -> Hook {
        Hook(Some(Arc::new(before)))
    }

    pub(super) fn before(&self, step: Step) -> io::Result<()> {
        self.0.as_ref().map_or(Ok(()), |before| before(step))
    }
}

impl fmt::Debug for Hook {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(if self.0.is_some() { "Hook(set)" } else { "Hook(none)" })
    }
}
