//! The feeder: applies the store's log of changes, in order, and publishes a snapshot after each.

use std::collections::{BTreeSet, VecDeque};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use arc_swap::ArcSwap;
use bytes::Bytes;
use tokio::sync::{mpsc, watch};

use super::key::Key;
use super::once::Requests;
use super::watch::Changed;
use super::{Published, day_of_ms, records};
use crate::catalog::{Change, Pending, Snapshot};
use crate::convert::RecordError;
use crate::domain::name::{LicenseId, ModelName};
use crate::store::{Commit, Revision};

/// Most commits that are kept at hand for those who follow; whoever is further behind reads the store.
const RECENT_MAX: usize = 64;

/// A commit, the keys that it changed, and the snapshot that it led to.
pub(super) struct Step {
    /// Where the snapshot stood before it.
    pub(super) before: Revision,
    pub(super) revision: Revision,
    pub(super) time_ms: i64,
    /// What the log keeps of the commit besides.
    pub(super) about: Bytes,
    pub(super) keys: Vec<Bytes>,
    /// It stands for several commits.
    pub(super) gap: bool,
    pub(super) after: Arc<Snapshot>,
    models: OnceLock<Arc<[ModelName]>>,
    licenses: OnceLock<Arc<[LicenseId]>>,
    changed: OnceLock<Changed>,
    deployments: OnceLock<Arc<[Box<str>]>>,
}

impl Step {
    pub(super) fn new(before: Revision, commit: &Commit, after: Arc<Snapshot>) -> Self {
        let Commit { revision, time_ms, about, writes, gap } = commit;
        let keys = writes.iter().map(|write| write.key.clone()).collect();
        Self {
            before,
            revision: *revision,
            time_ms: *time_ms,
            about: about.clone(),
            keys,
            gap: gap.is_some(),
            after,
            models: OnceLock::new(),
            licenses: OnceLock::new(),
            changed: OnceLock::new(),
            deployments: OnceLock::new(),
        }
    }

    /// The models among what it changed, each once, in order. They are found by the first who asks, and shared.
    pub(super) fn models(&self) -> Arc<[ModelName]> {
        let name = |key| match key {
            Key::Model(_, name) => Some(name),
            _ => None,
        };
        self.models.get_or_init(|| self.names(name)).clone()
    }

    /// The licenses among what it changed, as the models.
    pub(super) fn licenses(&self) -> Arc<[LicenseId]> {
        let id = |key| match key {
            Key::License(_, id) => Some(id),
            _ => None,
        };
        self.licenses.get_or_init(|| self.names(id)).clone()
    }

    /// What it changed, by kind.
    pub(super) fn changed(&self) -> &Changed {
        self.changed.get_or_init(|| Changed::of(self.keys.iter().filter_map(|key| Key::read(key))))
    }

    /// The deployments whose verdict it may have changed, each once, in order.
    pub(super) fn deployments(&self) -> Arc<[Box<str>]> {
        let find = || {
            let changed = self.changed();
            let mut names: BTreeSet<Box<str>> = changed.deployments.iter().cloned().collect();
            // Any commit moves the day of which the records tell.
            if changed.others || !changed.deployments.is_empty() {
                names.extend(self.after.deployments().map(|(id, _)| Box::from(id)));
            }
            names.into_iter().collect()
        };
        self.deployments.get_or_init(find).clone()
    }

    fn names<T: Ord>(&self, name: impl Fn(Key) -> Option<T>) -> Arc<[T]> {
        let names: BTreeSet<T> = self.keys.iter().filter_map(|key| name(Key::read(key)?)).collect();
        names.into_iter().collect()
    }
}

/// The last steps of the feeder, kept while somebody follows, so that a change is applied once and not by each of them.
#[derive(Default)]
pub(super) struct Recent {
    steps: Mutex<VecDeque<Arc<Step>>>,
    followers: AtomicUsize,
}

/// Somebody follows until it is dropped.
pub(super) struct Follower(Arc<Recent>);

impl Recent {
    pub(super) fn follow(self: &Arc<Self>) -> Follower {
        self.followers.fetch_add(1, Ordering::SeqCst);
        Follower(self.clone())
    }

    /// Keeps a step, unless nobody follows.
    fn keep(&self, step: impl FnOnce() -> Step) {
        let mut steps = self.steps.lock().unwrap_or_else(PoisonError::into_inner);
        // Asked under the lock: whoever leaves last clears the steps after this one, or this one is not kept.
        if self.followers.load(Ordering::SeqCst) == 0 {
            return;
        }
        let step = step();
        // A gap, from a time when nobody followed: what lies before it is of no use.
        if steps.back().is_some_and(|last| last.revision != step.before) {
            steps.clear();
        }
        steps.push_back(Arc::new(step));
        if steps.len() > RECENT_MAX {
            steps.pop_front();
        }
    }

    /// The first step after a revision, if it is at hand.
    pub(super) fn after(&self, revision: Revision) -> Option<Arc<Step>> {
        let steps = self.steps.lock().unwrap_or_else(PoisonError::into_inner);
        let at = steps.partition_point(|step| step.revision <= revision);
        steps.get(at).filter(|step| step.before <= revision).cloned()
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        if self.0.followers.fetch_sub(1, Ordering::SeqCst) == 1 {
            self.0.steps.lock().unwrap_or_else(PoisonError::into_inner).clear();
        }
    }
}

/// Starts the feeder on a thread of its own: applying a large commit must not hold up a runtime that serves.
pub(super) fn start(
    snapshot: Snapshot,
    changes: mpsc::UnboundedReceiver<Arc<Commit>>,
    requests: Arc<Requests>,
    recent: Arc<Recent>,
) -> (Arc<ArcSwap<Snapshot>>, watch::Receiver<Published>) {
    let (tell, published) = watch::channel(Published { revision: snapshot.revision(), ..Published::default() });
    let shared = Arc::new(ArcSwap::from_pointee(snapshot));
    let target = shared.clone();
    let spawned = std::thread::Builder::new()
        .name("weighbridge-feed".into())
        .spawn(move || run(&target, changes, &tell, &requests, &recent));
    if let Err(error) = spawned {
        // Without the thread the channel is closed: writes answer that the registry is shutting down, reads go on.
        tracing::error!(%error, "the feeder could not be started");
    }
    (shared, published)
}

fn run(
    target: &ArcSwap<Snapshot>,
    mut changes: mpsc::UnboundedReceiver<Arc<Commit>>,
    tell: &watch::Sender<Published>,
    requests: &Requests,
    recent: &Recent,
) {
    let mut commits = 0;
    while let Some(first) = changes.blocking_recv() {
        let mut next = target.load_full();
        let mut pending = Some(first);
        let mut failed = None;
        // What has queued up is applied together and published once.
        while let Some(commit) = pending {
            let before = next.revision();
            // Copied where somebody else holds it: what is published, and what those who follow are given.
            if let Err(error) = apply(Arc::make_mut(&mut next), &commit) {
                tracing::error!(revision = commit.revision, %error, "a change could not be read: the catalog stops here");
                failed = Some(error.to_string());
                break;
            }
            requests.enter(&commit);
            if next.revision() > before {
                commits += 1;
                recent.keep(|| Step::new(before, &commit, next.clone()));
            }
            pending = changes.try_recv().ok();
        }
        let revision = next.revision();
        target.store(next);
        let stop = failed.is_some();
        tell.send_replace(Published { revision, commits, failed });
        if stop {
            return;
        }
    }
}

fn apply(snapshot: &mut Snapshot, commit: &Commit) -> Result<(), RecordError> {
    // Loaded already, together with everything before it.
    if commit.revision <= snapshot.revision() {
        return Ok(());
    }
    let Some(written) = &commit.gap else {
        let read = changes(snapshot, commit)?;
        snapshot.apply(commit.revision, read);
        note_day(snapshot, commit);
        return Ok(());
    };
    // Each record is of the revision that wrote it, as everywhere else: by that it is changed.
    let mut read = Vec::with_capacity(written.len());
    for (write, written) in commit.writes.iter().zip(written) {
        let change = records::change(&write.key, write.value.clone(), snapshot.pool())?;
        read.extend(change.map(|change| (*written, change)));
    }
    let mut pending = Pending::default();
    for (written, change) in read {
        snapshot.put(written, change, &mut pending);
    }
    snapshot.settle(commit.revision, pending);
    note_day(snapshot, commit);
    Ok(())
}

fn note_day(snapshot: &mut Snapshot, commit: &Commit) {
    if let Some(day) = day_of_ms(commit.time_ms) {
        snapshot.set_made_on(day);
    }
}

/// Reads what a commit changes.
pub(super) fn changes(snapshot: &Snapshot, commit: &Commit) -> Result<Vec<Change>, RecordError> {
    let mut read = Vec::with_capacity(commit.writes.len());
    for write in &commit.writes {
        read.extend(records::change(&write.key, write.value.clone(), snapshot.pool())?);
    }
    Ok(read)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalog::Reference;
    use crate::domain::publisher::Publishers;
    use crate::domain::vocabulary::Vocabulary;

    #[test]
    fn a_step_is_kept_only_while_somebody_follows() {
        let recent = Arc::new(Recent::default());
        const FRAMEWORK: &str = include_str!("../../data/openness/mof-1.0.toml");
        let reference = Reference::new(Vocabulary::default(), FRAMEWORK, Publishers::default()).unwrap();
        let after = Arc::new(Snapshot::new(Arc::new(reference)));
        let commit = Commit { revision: 1, time_ms: 0, about: Bytes::new(), writes: Vec::new(), gap: None };
        let step = || Step::new(0, &commit, after.clone());
        recent.keep(step);
        assert!(recent.after(0).is_none());
        let follower = recent.follow();
        recent.keep(step);
        assert!(recent.after(0).is_some());
        drop(follower);
        recent.keep(step);
        assert!(recent.after(0).is_none());
    }
}
