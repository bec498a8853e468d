//! The catalog as it stood at an earlier revision.
//!
//! ```text
//! current snapshot ──clone──▶ put what changed since, as it was then ──▶ settle
//! ```
//!
//! It costs what changed since, not the registry: the clone shares everything with the current one.

use std::collections::{BTreeSet, VecDeque};
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::sync::{OnceCell, Semaphore};

use super::{Registry, RegistryError, day_of_ms, records, violation};
use crate::catalog::Snapshot;
use crate::convert::AsOf;
use crate::domain::date::Date;
use crate::store::{Revision, StoreError};

/// Most revisions that are kept at hand; those that nobody asked for longest go first.
const KEPT_MAX: usize = 4;
/// How long one is kept after it was last asked for.
const KEPT_FOR: Duration = Duration::from_secs(300);
/// How many are made at once; others wait, since each takes a processor and memory.
const MADE_AT_ONCE: usize = 2;
/// Commits that are read at once. One can be a whole import.
const COMMITS_READ: usize = 32;
/// Records that are read at once.
const RECORDS_READ: usize = 4_096;

/// A snapshot, and as the answer to which question.
#[derive(Clone)]
pub struct View {
    /// What was asked for.
    pub as_of: AsOf,
    /// The catalog of then.
    pub snapshot: Arc<Snapshot>,
}

impl fmt::Debug for View {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "View({:?} is {})", self.as_of, self.snapshot.revision())
    }
}

/// Snapshots of the past that are at hand or being made.
pub(super) struct Past {
    kept: Mutex<VecDeque<Kept>>,
    making: Arc<Semaphore>,
}

struct Kept {
    revision: Revision,
    used: Instant,
    /// Filled once, by the first of those who wait for it.
    snapshot: Arc<OnceCell<Arc<Snapshot>>>,
}

impl Default for Past {
    fn default() -> Self {
        Self { kept: Mutex::default(), making: Arc::new(Semaphore::new(MADE_AT_ONCE)) }
    }
}

impl Past {
    fn find(&self, revision: Revision) -> Arc<OnceCell<Arc<Snapshot>>> {
        // A panic elsewhere leaves a list of snapshots, each of them whole.
        let mut all = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let known = all.iter().position(|kept| kept.revision == revision).and_then(|at| all.remove(at));
        let snapshot = known.map_or_else(Arc::default, |kept| kept.snapshot);
        all.push_back(Kept { revision, used: Instant::now(), snapshot: snapshot.clone() });
        while all.len() > KEPT_MAX {
            all.pop_front();
        }
        snapshot
    }

    /// Lets go of what nobody has asked for in a while.
    pub(super) fn sweep(&self) {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner).retain(|kept| kept.used.elapsed() < KEPT_FOR);
    }
}

impl Registry {
    /// The view of a moment.
    ///
    /// # Errors
    /// As for [`Registry::snapshot_as_of`].
    pub async fn view(&self, as_of: AsOf) -> Result<View, RegistryError> {
        Ok(View { as_of, snapshot: self.snapshot_as_of(as_of).await? })
    }

    /// The catalog exactly as it stood at a moment; the current one for [`AsOf::Now`].
    ///
    /// # Errors
    /// The revision has not come, is no longer kept, or its records cannot be read; records were lost when the store was
    /// opened; a time in the future.
    pub async fn snapshot_as_of(&self, as_of: AsOf) -> Result<Arc<Snapshot>, RegistryError> {
        let revision = match as_of {
            AsOf::Now => return Ok(self.snapshot()),
            AsOf::Revision(revision) => revision,
            AsOf::Time(time_ms) => {
                if time_ms > (self.clock)().as_millisecond() {
                    let description = "it is in the future: what will stand then is not known";
                    return Err(RegistryError::Invalid(vec![violation("as_of_time", description)]));
                }
                self.store.revision_at(time_ms).await?
            }
        };
        // What was lost may be of any time.
        self.check_complete()?;
        let current = self.snapshot_from(revision).await?;
        if current.revision() == revision {
            return Ok(current);
        }
        // It may be one of the gaps.
        let revision = self.store.commit_at(revision).await?;
        if current.revision() == revision {
            return Ok(current);
        }
        let oldest = self.store.status().oldest_revision;
        if revision < oldest {
            return Err(StoreError::Compacted { asked: Some(revision), oldest }.into());
        }
        self.past.sweep();
        let found = self.past.find(revision);
        let snapshot = found.get_or_try_init(|| self.rewound(current, revision)).await?;
        Ok(snapshot.clone())
    }

    async fn rewound(&self, current: Arc<Snapshot>, revision: Revision) -> Result<Arc<Snapshot>, RegistryError> {
        let turn = self.past.making.clone().acquire_owned().await.map_err(|_| RegistryError::Closed)?;
        if revision == 0 {
            return Ok(Arc::new(Snapshot::new(self.builtin.reference.clone())));
        }
        let made_on = self.made_on(revision).await?;
        let keys: Vec<Bytes> = self.changed_since(revision, current.revision()).await?.into_iter().collect();
        let mut was = Vec::with_capacity(keys.len());
        for some in keys.chunks(RECORDS_READ) {
            let read = self.store.records_as_of(some.to_vec(), revision).await?;
            was.extend(some.iter().cloned().zip(read));
        }
        // Reading and indexing many records takes longer than a serving thread should be held up. It goes on when nobody waits
        // for it any more, and so has the turn with it.
        let made = tokio::task::spawn_blocking(move || {
            let _turn = turn;
            let mut snapshot = Snapshot::clone(&current);
            let mut changes = Vec::with_capacity(was.len());
            for (key, record) in was {
                let (written, value) = record.map_or((revision, None), |record| (record.revision, Some(record.value)));
                let change = records::change(&key, value, snapshot.pool())?;
                changes.extend(change.map(|change| (written, change)));
            }
            snapshot.rewind(revision, made_on, changes);
            Ok(Arc::new(snapshot))
        });
        made.await.map_err(|_| RegistryError::Closed)?
    }

    /// Keys that were changed after a revision, up to another.
    async fn changed_since(&self, revision: Revision, up_to: Revision) -> Result<BTreeSet<Bytes>, RegistryError> {
        let mut keys = BTreeSet::new();
        let mut after = revision;
        while after < up_to {
            let commits = self.store.changes_since(after, COMMITS_READ).await?;
            // Without all of them it would be another catalog than that of then.
            let Some(last) = commits.last() else { return Err(RegistryError::Closed) };
            after = last.revision;
            let concerned = commits.iter().take_while(|commit| commit.revision <= up_to);
            keys.extend(concerned.flat_map(|commit| commit.writes.iter().map(|write| write.key.clone())));
        }
        Ok(keys)
    }

    /// The day on which a revision was made.
    async fn made_on(&self, revision: Revision) -> Result<Option<Date>, RegistryError> {
        let time_ms = match self.store.changes_since(revision.saturating_sub(1), 1).await {
            Ok(found) => found.first().map(|commit| commit.time_ms),
            // Its commit went with what came before it, but when it was made is known.
            Err(StoreError::Compacted { .. }) => {
                let status = self.store.status();
                (status.oldest_revision == revision).then_some(status.oldest_time_ms)
            }
            Err(error) => return Err(error.into()),
        };
        Ok(time_ms.and_then(day_of_ms))
    }
}
