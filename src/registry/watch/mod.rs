//! Watches: what changes, told as it happens, each change once and in order.
//!
//! Each watch is a task with a position of its own: a revision, and the snapshot as it stood there. It is woken when the feeder
//! has published, goes from commit to commit up to what is published, and holds what each changed against the snapshots
//! right before and right after it. The last commits are at hand with their snapshots; further back it reads the log. So a slow
//! watch costs nobody else anything, and nothing is kept for it but its position and a few messages.
//!
//! | file | what it knows |
//! | --- | --- |
//! | `mod.rs` | requests and limits |
//! | `follow.rs` | the task: position, pace, heartbeats, the end |
//! | `stream.rs` | what the caller reads, and from where a watch that ended is gone on with |
//! | `deployments.rs` | deployments: what their verdicts rest on, and what time brings |
//! | `scope.rs` | models and licenses: what is watched of them, and what a change is to one who watches |

mod deployments;
mod follow;
mod scope;
mod stream;

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use tokio::sync::{Semaphore, watch};

pub use stream::Watching;

use super::deployments::DeploymentFilter;
use super::list::read_filter;
use super::models::parent_of;
use super::{Registry, RegistryError, violation};
use crate::catalog::fields::{LicenseField, ModelField};
use crate::convert::{self, Violation};
use crate::pb::weighbridge::v1 as pb;
use crate::store::Revision;
pub(super) use deployments::Changed;
use deployments::DeploymentScope;
use follow::Start;
use scope::{LicenseScope, ModelScope, Scope};

/// Longest time without a message, where the request does not say one.
const HEARTBEAT_DEFAULT: Duration = Duration::from_secs(10);
const HEARTBEAT_MIN: Duration = Duration::from_millis(100);
const HEARTBEAT_MAX: Duration = Duration::from_secs(300);
/// How far back a watch may ask for what has expired.
const PAST_SECONDS_MAX: i64 = 366 * 86_400;
/// How many watches apply or look through much at once, beside the threads that serve.
const HEAVY_MAX: usize = 2;

/// Limits of watches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WatchLimits {
    /// Most watches at once.
    pub watches_max: usize,
    /// How long a reader may take for a message.
    pub patience: Duration,
    /// How long a watch lasts: whoever goes on with it is asked again who it is.
    pub life: Duration,
    /// How far a watch may fall behind, in commits. One that is resumed may start further back.
    pub behind_max: u64,
}

impl Default for WatchLimits {
    fn default() -> Self {
        Self {
            watches_max: 1_000,
            patience: Duration::from_secs(30),
            life: Duration::from_secs(3_600),
            behind_max: 10_000,
        }
    }
}

/// What all watches of a registry share.
pub(super) struct Watches {
    limits: WatchLimits,
    /// One for each further watch.
    free: Arc<Semaphore>,
    heavy: Arc<Semaphore>,
    stopping: watch::Sender<bool>,
    /// How far each watch has come.
    told: Mutex<Vec<Weak<AtomicU64>>>,
}

/// How many watches there are, and how they come along.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct WatchFigures {
    /// Watches.
    pub count: usize,
    /// How many revisions the one is behind that is furthest behind.
    pub lag: Revision,
}

impl Watches {
    pub(super) fn new(limits: WatchLimits) -> Self {
        Self {
            limits,
            free: Arc::new(Semaphore::new(limits.watches_max)),
            heavy: Arc::new(Semaphore::new(HEAVY_MAX)),
            stopping: watch::Sender::new(false),
            told: Mutex::default(),
        }
    }

    /// Has a watch seen from outside as long as it lives.
    fn register(&self, start: Revision) -> Arc<AtomicU64> {
        let told = Arc::new(AtomicU64::new(start));
        let mut all = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        all.retain(|told| told.strong_count() > 0);
        all.push(Arc::downgrade(&told));
        told
    }
}

/// From where, how often and with which fields.
struct Asked {
    start: Option<Revision>,
    heartbeat: Duration,
    mask: convert::ReadMask,
}

impl Registry {
    /// With other limits of watches.
    #[must_use]
    pub fn with_watch_limits(self, limits: WatchLimits) -> Self {
        Self { watches: Watches::new(limits), ..self }
    }

    /// How many watches there are, and how they come along.
    #[must_use]
    pub fn watch_figures(&self) -> WatchFigures {
        let all = self.watches.told.lock().unwrap_or_else(PoisonError::into_inner);
        let told: Vec<Revision> =
            all.iter().filter_map(Weak::upgrade).map(|told| told.load(Ordering::Relaxed)).collect();
        let newest = self.snapshot().revision();
        WatchFigures { count: told.len(), lag: told.iter().min().map_or(0, |least| newest.saturating_sub(*least)) }
    }

    /// Ends all watches: the server stops.
    pub fn end_watches(&self) {
        self.watches.stopping.send_replace(true);
    }

    /// Watches models: those of a publisher or all, for which a filter holds.
    ///
    /// # Errors
    /// Every violation at once, a revision that does not come or is no longer kept, too many watches.
    pub async fn watch_models(
        self: &Arc<Self>,
        request: pb::WatchModelsRequest,
    ) -> Result<Watching<pb::WatchModelsResponse>, RegistryError> {
        let pb::WatchModelsRequest { parent, filter, start_revision, read_mask, heartbeat_interval } = request;
        let mut violations = Vec::new();
        let publisher = match parent_of(&parent) {
            Ok(publisher) => publisher,
            Err(RegistryError::Invalid(found)) => {
                violations.extend(found);
                None
            }
            Err(other) => return Err(other),
        };
        let query = noted(read_filter::<ModelField>(&filter), &mut violations).flatten();
        let asked = read("weighbridge.v1.Model", start_revision, read_mask, heartbeat_interval, violations)?;
        let scope = ModelScope { publisher, query, mask: asked.mask };
        self.watch(scope, (asked.start, asked.heartbeat), None).await
    }

    /// Watches licenses: those for which a filter holds.
    ///
    /// # Errors
    /// Every violation at once, a revision that does not come or is no longer kept, too many watches.
    pub async fn watch_licenses(
        self: &Arc<Self>,
        request: pb::WatchLicensesRequest,
    ) -> Result<Watching<pb::WatchLicensesResponse>, RegistryError> {
        let pb::WatchLicensesRequest { filter, start_revision, read_mask, heartbeat_interval } = request;
        let mut violations = Vec::new();
        let query = noted(read_filter::<LicenseField>(&filter), &mut violations).flatten();
        let asked = read("weighbridge.v1.License", start_revision, read_mask, heartbeat_interval, violations)?;
        let scope = LicenseScope { query, mask: asked.mask };
        self.watch(scope, (asked.start, asked.heartbeat), None).await
    }

    /// Watches deployments: those of an owner or environment, or all.
    ///
    /// # Errors
    /// Every violation at once, a revision that does not come or is no longer kept, too many watches.
    pub async fn watch_deployments(
        self: &Arc<Self>,
        request: pb::WatchDeploymentsRequest,
    ) -> Result<Watching<pb::WatchDeploymentsResponse>, RegistryError> {
        let pb::WatchDeploymentsRequest { owner, environment, start_revision, start_time, heartbeat_interval } =
            request;
        let mut violations = Vec::new();
        let now = (self.clock)().as_second();
        let told_time = start_time.map(|time| time.seconds);
        if start_time.is_some() && start_revision == 0 {
            violations.push(violation("start_time", "it goes with `start_revision`"));
        }
        if told_time.is_some_and(|time| !(now - PAST_SECONDS_MAX..=now).contains(&time)) {
            violations.push(violation("start_time", "it is in the future, or more than a year ago"));
        }
        let asked = read("weighbridge.v1.Deployment", start_revision, None, heartbeat_interval, violations)?;
        let scope = DeploymentScope { filter: DeploymentFilter { owner, environment } };
        self.watch(scope, (asked.start, asked.heartbeat), told_time).await
    }

    /// When a revision was made, in seconds since 1970; of one whose commit is no longer kept, the oldest time that is.
    async fn time_of(&self, revision: Revision) -> Result<i64, RegistryError> {
        let revision = self.store.commit_at(revision).await?;
        let commits = match self.store.changes_since(revision.saturating_sub(1), 1).await {
            Ok(commits) => commits,
            Err(crate::store::StoreError::Compacted { .. }) => Vec::new(),
            Err(error) => return Err(error.into()),
        };
        let found = commits.first().filter(|commit| commit.revision == revision).map(|commit| commit.time_ms);
        Ok(found.unwrap_or_else(|| self.store.status().oldest_time_ms).div_euclid(1_000))
    }

    async fn watch<S: Scope>(
        self: &Arc<Self>,
        scope: S,
        (start, heartbeat): (Option<Revision>, Duration),
        told_time: Option<i64>,
    ) -> Result<Watching<S::Response>, RegistryError> {
        self.check_complete()?;
        let most = self.watches.limits.watches_max;
        let slot = self.watches.free.clone().try_acquire_owned();
        let slot = Arc::new(slot.map_err(|_| RegistryError::TooManyWatches { most })?);
        // Before the snapshot is taken, so that what comes after it is kept at hand.
        let follower = self.recent.follow();
        let current = self.snapshot_from(start.unwrap_or(0)).await?;
        let start = start.unwrap_or_else(|| current.revision());
        if start < current.revision() {
            // What is no longer kept is refused before the first message.
            self.store.changes_since(start, 1).await?;
        }
        if *self.watches.stopping.borrow() {
            return Err(RegistryError::Stopping { resume_revision: start });
        }
        let told_time = match told_time {
            Some(time) => time,
            // What expired since then is told, again perhaps, and never left out.
            None if start < current.revision() => self.time_of(start).await?,
            None => (self.clock)().as_second(),
        };
        Ok(follow::start(
            self.clone(),
            Arc::new(scope),
            Start { revision: start, heartbeat, slot, follower, told_time },
        ))
    }
}

fn noted<T>(read: Result<T, Vec<Violation>>, violations: &mut Vec<Violation>) -> Option<T> {
    read.map_err(|found| violations.extend(found)).ok()
}

/// Reads what both requests have, and tells every violation, those `found` before included.
fn read(
    message: &str,
    start_revision: i64,
    read_mask: Option<prost_types::FieldMask>,
    heartbeat_interval: Option<prost_types::Duration>,
    found: Vec<Violation>,
) -> Result<Asked, RegistryError> {
    let mut violations = found;
    let start = u64::try_from(start_revision).unwrap_or_else(|_| {
        violations.push(violation("start_revision", format!("{start_revision} is negative")));
        0
    });
    let mask = noted(convert::read_mask(message, &read_mask.unwrap_or_default().paths), &mut violations);
    let heartbeat = heartbeat(heartbeat_interval.unwrap_or_default()).unwrap_or_else(|| {
        violations.push(violation("heartbeat_interval", "it is not from 0.1 s to 300 s; 0 means 10 s"));
        HEARTBEAT_DEFAULT
    });
    match mask {
        Some(mask) if violations.is_empty() => Ok(Asked { start: (start > 0).then_some(start), heartbeat, mask }),
        _ => Err(RegistryError::Invalid(violations)),
    }
}

fn heartbeat(asked: prost_types::Duration) -> Option<Duration> {
    // Not by `Duration::try_from`, which does not take every number.
    let prost_types::Duration { seconds, nanos } = asked;
    let nanos = u32::try_from(nanos).ok().filter(|nanos| *nanos < 1_000_000_000)?;
    let asked = Duration::new(u64::try_from(seconds).ok()?.min(HEARTBEAT_MAX.as_secs() + 1), nanos);
    if asked.is_zero() {
        return Some(HEARTBEAT_DEFAULT);
    }
    Some(asked).filter(|asked| (HEARTBEAT_MIN..=HEARTBEAT_MAX).contains(asked))
}
