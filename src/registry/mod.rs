//! Use cases, one file each. The only room that joins store, catalog, policy, ingest and domain.
//!
//! A write validates against the current snapshot, commits (durable when it returns), waits until the feeder has published
//! a snapshot of that revision, and answers. The snapshot is fed by the store's log of changes alone, whoever wrote them.
//! Reads never touch the disk.

mod advisor;
mod announce;
mod as_of;
mod backup;
pub mod builtin;
mod call;
mod check;
mod compare;
mod decisions;
mod deployments;
mod eligible;
mod error;
mod explain;
mod feed;
mod import;
mod key;
mod licenses;
mod lineage;
mod list;
mod load;
mod models;
mod named;
mod notice;
mod offerings;
mod once;
mod openness;
mod page;
mod policies;
mod records;
mod resolve;
mod restore;
mod retention;
mod revisions;
mod simulate;
mod status;
mod tally;
mod use_profiles;
mod waivers;
mod watch;
mod write;

pub use crate::ingest::document::File as ImportFile;
pub use as_of::View;
pub use backup::BackupSummary;
pub use call::{Call, Outcome, beside};
pub use check::Checked;
pub use decisions::{DecisionLog, LogLevel, LogSettings, LogStatus, OpenGeneration};
pub use deployments::DeploymentFilter;
pub use error::RegistryError;
pub use import::ImportRequest;

/// Largest document that an import takes, in bytes.
pub const DOCUMENT_BYTES_MAX: usize = import::DOCUMENT_BYTES_MAX;
pub use list::ListRequest;
pub use named::{Named, NamedPage, Output, Update};
pub use once::{Identified, RequestId};
pub use page::PageRequest;
pub use policies::validate_policies;
pub use resolve::Resolved;
pub use restore::{adopt_restored, restore_into};
pub use retention::Retention;
pub use status::Status;
pub use tally::Tally;
pub use watch::{WatchFigures, WatchLimits, Watching};
pub use write::OPERATOR;

use std::cell::Cell;
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use bytes::Bytes;
use jiff::Timestamp;
use tokio::sync::watch::Receiver;

use crate::catalog::{Layer, Snapshot};
use crate::convert::{self, Violation};
use crate::domain::date::Date;
use crate::domain::eligibility::Present;
use crate::pb::weighbridge::storage::v1::record::Record as Kind;
use crate::store::{Revision, Store, StoreError, Take, Write};
use builtin::Builtin;
use key::Key;
use load::{Loaded, Loading};
use write::By;

/// Longest wait for a revision that a caller asks to read from.
const REVISION_WAIT: Duration = Duration::from_secs(2);

/// How often a change that is made of the whole catalog is made anew, where other replicas make one at the same time.
const TRIES_MAX: u32 = 10;

/// Tells the time; passed in, so that tests own it.
pub type Clock = Arc<dyn Fn() -> Timestamp + Send + Sync>;

/// The registry: its use cases are methods, one file each.
pub struct Registry {
    store: Arc<dyn Store>,
    snapshot: Arc<ArcSwap<Snapshot>>,
    published: Receiver<Published>,
    builtin: Arc<Builtin>,
    clock: Clock,
    started: Timestamp,
    /// Other processes write the store as well.
    is_shared: bool,
    /// Records were missing when the store was opened.
    incomplete: bool,
    /// Held by the import that is under way.
    importing: Arc<tokio::sync::Mutex<()>>,
    decision_log: Option<Arc<DecisionLog>>,
    /// Another store is about to take the place of this one: nothing is written any more.
    superseded: Arc<tokio::sync::RwLock<bool>>,
    /// Held by the restore that is under way.
    restoring: tokio::sync::Mutex<()>,
    backups: tokio::sync::Semaphore,
    /// Turns of the advisor, whose work is heavy.
    advice: Arc<tokio::sync::Semaphore>,
    pinned: list::Pinned,
    past: as_of::Past,
    requests: Arc<once::Requests>,
    /// The last commits with their snapshots, while somebody watches.
    recent: Arc<feed::Recent>,
    watches: watch::Watches,
    counts: tally::Counts,
    /// Changes of verdicts that were announced.
    announced: AtomicU64,
    /// How many writes ask for what was merged to be made anew, and how many of them it was since.
    merges_due: AtomicU64,
    merges_done: AtomicU64,
    /// When it was opened, by a clock that only goes forward.
    opened: Instant,
    /// What was committed anywhere until then is in the snapshot: microseconds since `opened`.
    fresh_us: AtomicU64,
}

/// How far the feeder has come.
#[derive(Clone, Debug, Default)]
struct Published {
    revision: Revision,
    /// How many commits it has applied since the start.
    commits: u64,
    /// Why it stopped, if it did.
    failed: Option<String>,
}

impl Registry {
    /// Opens a registry on a store: loads it, brings the built-in catalog up to this release's, and starts the feeder.
    ///
    /// # Errors
    /// The store's, an unreadable record, or a broken built-in catalog.
    pub async fn open(store: Arc<dyn Store>, clock: Clock) -> Result<Self, RegistryError> {
        Self::open_with(clock, |_| Ok((store, None))).await
    }

    /// Opens a registry on a store that may give out its records while it is being opened, with the revision that they stand
    /// at; a store that gives out none is loaded afterwards.
    ///
    /// # Errors
    /// The store's, an unreadable record, or a broken built-in catalog.
    pub async fn open_with(
        clock: Clock,
        open: impl FnOnce(Take) -> Result<(Arc<dyn Store>, Option<Revision>), StoreError>,
    ) -> Result<Self, RegistryError> {
        let opened = Instant::now();
        let (take, loading) = Loading::start(|| {
            builtin::builtin().map(|builtin| builtin.reference.clone()).map_err(RegistryError::BuiltInCatalog)
        })?;
        let (store, revision) = open(take)?;
        // One of the two threads reads it, and the other one waits for it.
        let builtin = builtin::builtin().map_err(RegistryError::BuiltInCatalog)?;
        // Subscribed before loading, so that no change falls between the two.
        let changes = store.subscribe();
        let Loaded { snapshot, built_in } = match revision {
            Some(revision) => loading.finish(revision).await?,
            None => {
                // What was given out while a loss was found is of no worth, and not kept beside what is loaded now.
                drop(loading);
                Loading::all(&*store, builtin.reference.clone()).await?
            }
        };
        let requests = Arc::<once::Requests>::default();
        let recent = Arc::<feed::Recent>::default();
        let mut snapshot = snapshot;
        let status = store.status();
        if let Some(day) = day_of_ms(status.time_ms).filter(|_| status.revision > 0) {
            snapshot.set_made_on(day);
        }
        let loaded_at = snapshot.revision();
        let (snapshot, published) = feed::start(snapshot, changes, requests.clone(), recent.clone());
        let started = clock();
        // Where a store is shared a problem is one of the moment: what was loaded is whole.
        let is_shared = status.staleness.is_some();
        let incomplete = status.problem.is_some() && !is_shared;
        let importing = Arc::default();
        let decision_log = None;
        let pinned = list::Pinned::default();
        let superseded = Arc::default();
        let restoring = tokio::sync::Mutex::new(());
        let backups = tokio::sync::Semaphore::new(backup::AT_ONCE);
        let watches = watch::Watches::new(WatchLimits::default());
        let registry = Self {
            store,
            snapshot,
            published,
            builtin,
            clock,
            started,
            is_shared,
            incomplete,
            importing,
            decision_log,
            superseded,
            restoring,
            backups,
            advice: Arc::new(tokio::sync::Semaphore::new(advisor::AT_ONCE)),
            pinned,
            past: as_of::Past::default(),
            requests,
            recent,
            watches,
            counts: tally::Counts::default(),
            announced: AtomicU64::new(0),
            merges_due: AtomicU64::new(0),
            merges_done: AtomicU64::new(0),
            opened,
            fresh_us: AtomicU64::new(0),
        };
        let (mut built_in, mut seen) = (built_in, loaded_at);
        if is_shared {
            // Not without the others: another one may be about to write the same.
            registry.catch_up().await?;
        }
        let mut tries = 1;
        let is_newest = loop {
            match registry.sync_builtin(&built_in, seen).await {
                Ok(is_newest) => break is_newest,
                // Another replica was first, with the same or with an import: what is stored now is looked at.
                Err(RegistryError::Store(StoreError::Conflict { .. })) if tries < TRIES_MAX => {
                    tries += 1;
                    registry.catch_up().await?;
                    let contents = registry.store.load().await?;
                    seen = contents.revision;
                    let stored = contents.records.into_iter().filter(|record| record.key.starts_with(Key::BUILT_IN));
                    built_in = stored.map(|record| (record.key, record.value)).collect();
                }
                Err(error) => return Err(error),
            }
        };
        if is_newest {
            registry.remerge().await?;
        }
        Ok(registry)
    }

    /// Commits the difference between the built-in records as they were stored at a revision and this release's as one change; `false`: they are of a newer
    /// release.
    async fn sync_builtin(&self, stored: &HashMap<Bytes, Bytes>, seen: Revision) -> Result<bool, RegistryError> {
        if !self.is_shared && !self.store.status().writable {
            return Ok(true);
        }
        let now = (self.clock)();
        let actor = format!("builtin/{}", builtin::CATALOG_VERSION);
        let mut kept: HashMap<Bytes, Kind> = HashMap::new();
        let mut writes = Vec::new();
        for (key, value) in stored {
            let known = Key::read(key).is_some_and(|key| self.builtin.records.contains_key(&key));
            if known {
                kept.insert(key.clone(), records::stored(value)?.0);
            } else {
                writes.push(Write { key: key.clone(), value: None });
            }
            // One by one replicas are brought to a newer release: those that still run the older one, and are started again
            // meanwhile, must not take it back.
            if self.is_shared
                && let Some(newer) = builtin::newer_release(&convert::decode(value)?.actor)
            {
                tracing::warn!(
                    stored = newer,
                    own = builtin::CATALOG_VERSION,
                    "the built-in catalog is of a newer release"
                );
                return Ok(false);
            }
        }
        for (key, kind) in &self.builtin.records {
            let key = key.bytes();
            if kept.get(&key) != Some(kind) {
                let value = records::record(kind.clone(), &actor, now, now);
                writes.push(Write { key, value: Some(value) });
            }
        }
        if writes.is_empty() {
            return Ok(true);
        }
        self.commit_serial(writes, Vec::new(), seen, &By::of(actor)).await?;
        Ok(true)
    }

    /// Waits until everything can be read that was acknowledged anywhere before this call.
    async fn catch_up(&self) -> Result<(), RegistryError> {
        let revision = self.store.sync().await?;
        self.wait_for(revision).await
    }

    /// The current snapshot.
    #[must_use]
    pub fn snapshot(&self) -> Arc<Snapshot> {
        self.snapshot.load_full()
    }

    /// A snapshot of at least a revision.
    ///
    /// # Errors
    /// [`RegistryError::RevisionNotReached`] when it does not come within two seconds.
    pub async fn snapshot_from(&self, revision: Revision) -> Result<Arc<Snapshot>, RegistryError> {
        let current = self.snapshot();
        if current.revision() >= revision {
            return Ok(current);
        }
        match tokio::time::timeout(REVISION_WAIT, self.wait_for(revision)).await {
            Ok(done) => done.map(|()| self.snapshot()),
            Err(_) => Err(RegistryError::RevisionNotReached { asked: revision, current: self.snapshot().revision() }),
        }
    }

    async fn wait_for(&self, revision: Revision) -> Result<(), RegistryError> {
        let mut published = self.published.clone();
        let reached = published.wait_for(|p| p.revision >= revision || p.failed.is_some()).await;
        match reached {
            Ok(published) if published.revision >= revision => Ok(()),
            _ => Err(RegistryError::Closed),
        }
    }
}

/// What counts as the present in a check at a time, in seconds since 1970, on a snapshot. It depends on the two alone, so that a
/// check on the snapshot of a revision has the same answer whenever it is made.
fn present(snapshot: &Snapshot, at: i64) -> Present {
    // INVARIANT: a time of a request or a clock, which was read already; the fallback is never taken.
    let day = day_of(Timestamp::from_second(at).unwrap_or(Timestamp::UNIX_EPOCH));
    Present { day, known: snapshot.made_on().unwrap_or(day) }
}

/// The day of a time in milliseconds since 1970, in UTC.
fn day_of_ms(time_ms: i64) -> Option<Date> {
    Timestamp::from_millisecond(time_ms).ok().map(day_of)
}

/// The day of a time, in UTC.
fn day_of(at: Timestamp) -> Date {
    thread_local! {
        /// The last day that was asked for: a check asks for that of now, and working it out takes a tenth of the check.
        static LAST: Cell<Option<(i64, Date)>> = const { Cell::new(None) };
    }
    let number = at.as_second().div_euclid(SECONDS_A_DAY);
    // What is cut off a second before 1970 belongs to the day before, perhaps: that is worked out.
    let number = (at.subsec_nanosecond() >= 0).then_some(number);
    if let Some((_, day)) = LAST.get().filter(|(last, _)| Some(*last) == number) {
        return day;
    }
    let day = at.to_zoned_datetime(jiff::tz::TimeZone::UTC).date();
    let part = |n: i8| u8::try_from(n).unwrap_or(1);
    let year = u16::try_from(day.year()).unwrap_or(1);
    // INVARIANT: a calendar day of a clock; the fallback is never taken.
    let day = Date::from_day(year, part(day.month()), part(day.day())).unwrap_or_else(|| Date::first_of(year));
    LAST.set(number.map(|number| (number, day)));
    day
}

const SECONDS_A_DAY: i64 = 86_400;

/// Refuses an etag that is not the record's.
fn check_etag(name: &str, given: &str, layer: Layer, revision: Revision) -> Result<(), RegistryError> {
    let current = records::etag(layer, revision);
    if given.is_empty() || given == current {
        return Ok(());
    }
    Err(RegistryError::EtagMismatch { name: name.to_owned(), current })
}

fn violation(field: &str, description: impl Into<String>) -> Violation {
    Violation { field: field.to_owned(), description: description.into() }
}
