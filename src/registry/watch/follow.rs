//! The task of a watch: from commit to commit, at the pace of its reader.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, mpsc, oneshot, watch};
use tokio::time::{Instant, sleep, sleep_until, timeout};

use super::scope::{Head, Scope};
use super::stream::{End, Message, Watching};
use crate::catalog::Snapshot;
use crate::convert::{AsOf, RecordError};
use crate::registry::feed::{self, Follower, Step};
use crate::registry::{Published, Registry, RegistryError, day_of_ms, records};
use crate::store::{Revision, StoreError};

/// Messages that wait for the reader.
const WAITING: usize = 4;
/// Most changes in a message.
const CHANGES_MAX: usize = 100;
/// About how many bytes of changes a message holds.
const CHANGES_BYTES: usize = 1 << 20;
/// How often the clock is looked at, at least.
const TIME_CHECKED: Duration = Duration::from_secs(30);
/// Records times terms of the filter up to which they are looked at in place.
const SMALL: usize = 32;

/// Where a watch starts, how often it says something, and what it holds as long as it lasts.
pub(super) struct Start {
    pub(super) revision: Revision,
    pub(super) heartbeat: Duration,
    pub(super) slot: Arc<OwnedSemaphorePermit>,
    pub(super) follower: Follower,
    /// Up to when everything that a time brings has been told, in seconds since 1970.
    pub(super) told_time: i64,
}

/// Starts the task of a watch.
pub(super) fn start<S: Scope>(registry: Arc<Registry>, scope: Arc<S>, start: Start) -> Watching<S::Response> {
    let (messages, read) = mpsc::channel(WAITING);
    let (end, ended) = oneshot::channel();
    let watching = Watching::new(read, ended, start.revision, start.slot.clone());
    let Start { revision, heartbeat, slot, follower, told_time } = start;
    let told = registry.watches.register(revision);
    tokio::spawn(async move {
        let reader = messages.clone();
        let life = registry.watches.limits.life;
        let mut stopping = registry.watches.stopping.subscribe();
        let published = registry.published.clone();
        let (caught_up, commits) = {
            let published = published.borrow();
            (published.revision, published.commits)
        };
        let watch = Watch {
            position: revision,
            told,
            told_time,
            caught_up,
            commits,
            published,
            beat_at: Instant::now(),
            registry,
            scope,
            heartbeat,
            messages,
        };
        let why = tokio::select! {
            biased;
            () = reader.closed() => End::Unread,
            // An error means that the registry is gone, which ends the watch as well.
            _ = stopping.wait_for(|stop| *stop) => End::Stopping,
            () = sleep(life) => End::Old,
            why = watch.run() => why,
        };
        // Nothing is held while the reader takes its time to see the end.
        drop((reader, follower, slot));
        let _ = end.send(why);
    });
    watching
}

struct Watch<S: Scope> {
    registry: Arc<Registry>,
    scope: Arc<S>,
    /// Everything up to it has been told.
    position: Revision,
    /// The same, for those who look from outside.
    told: Arc<AtomicU64>,
    /// Up to when everything that a time brings has been told.
    told_time: i64,
    /// Where the registry stood at the start: up to it, being behind is no fault of the reader.
    caught_up: Revision,
    /// The commits until then and those that were told since: revisions have gaps, where others write beside the registry.
    commits: u64,
    published: watch::Receiver<Published>,
    heartbeat: Duration,
    /// When it has been silent for long enough.
    beat_at: Instant,
    messages: mpsc::Sender<Message<S::Response>>,
}

/// There is always a reason to end.
enum Never {}

impl<S: Scope> Watch<S> {
    async fn run(mut self) -> End {
        let Err(why) = self.follow().await;
        why
    }

    async fn follow(&mut self) -> Result<Never, End> {
        self.beat().await?;
        let mut at = self.registry.snapshot_as_of(AsOf::Revision(self.position)).await?;
        loop {
            let next_time = self.until_next_time(&at);
            let published = tokio::select! {
                biased;
                reached = reached(&mut self.published, self.position) => Some(reached?),
                () = sleep_until(self.beat_at) => None,
                () = sleep(next_time) => None,
            };
            // What is published meanwhile comes in the next round.
            while published.is_some_and(|published| self.position < published) {
                let step = self.step(&at).await?;
                // What expired before it is told as the registry stood then.
                self.pass(&at, step.time_ms.div_euclid(1_000)).await?;
                self.tell(&at, &step).await?;
                at = step.after.clone();
                if Instant::now() >= self.beat_at {
                    self.beat().await?;
                }
            }
            // What was committed meanwhile stands before what time has brought.
            let (now, published) = (self.now(), self.published.borrow().revision);
            if published <= self.position {
                self.registry.check_fresh()?;
                self.pass(&at, now).await?;
            }
            if Instant::now() >= self.beat_at {
                self.beat().await?;
            }
        }
    }

    fn now(&self) -> i64 {
        (self.registry.clock)().as_second()
    }

    /// How long to wait for the next second that may change something, looked at again now and then: a clock can be set.
    fn until_next_time(&self, at: &Snapshot) -> Duration {
        let next = self.scope.next_time(at, self.told_time);
        let seconds = next.map_or(TIME_CHECKED.as_secs(), |next| u64::try_from(next - self.now()).unwrap_or(0));
        Duration::from_secs(seconds).min(TIME_CHECKED)
    }

    /// Tells what the time up to a second has brought, while the registry stood as it does.
    async fn pass(&mut self, at: &Arc<Snapshot>, until: i64) -> Result<(), End> {
        while let Some(time) = self.scope.next_time(at, self.told_time).filter(|time| *time <= until) {
            let (scope, snapshot) = (self.scope.clone(), at.clone());
            let changes = self.registry.aside(move || scope.passed(&snapshot, time)).await??;
            let mut changes = changes.into_iter().peekable();
            while changes.peek().is_some() {
                let some: Vec<_> = changes.by_ref().take(CHANGES_MAX).collect();
                let partial = changes.peek().is_some();
                let head = Head {
                    revision: records::wire_revision(self.position),
                    partial,
                    commit_time: records::log_time(time.saturating_mul(1_000)),
                    told_time: time,
                    ..Head::default()
                };
                self.send((!partial).then_some(self.position), S::response(head, some)).await?;
            }
            self.told_time = time;
        }
        self.told_time = self.told_time.max(until);
        Ok(())
    }

    /// The next commit, with the snapshot after it. There is one as long as more is published than was told.
    async fn step(&self, at: &Arc<Snapshot>) -> Result<Arc<Step>, End> {
        let commits = self.published.borrow().commits;
        if commits.saturating_sub(self.commits) > self.registry.watches.limits.behind_max {
            return Err(End::TooSlow);
        }
        if let Some(step) = self.registry.recent.after(self.position) {
            if step.gap {
                let (asked, oldest) = (Some(self.position), self.registry.store.status().oldest_revision);
                return Err(StoreError::Compacted { asked, oldest }.into());
            }
            return Ok(step);
        }
        // Before anything is read: a commit can be a whole import, and many watches may come to it at once.
        let turn = self.registry.turn().await?;
        let commits = self.registry.store.changes_since(self.position, 1).await?;
        let Some(commit) = commits.into_iter().next() else { return Err(End::Closed) };
        let (at, before, current) = (at.clone(), self.position, self.registry.snapshot());
        if commit.revision == current.revision() {
            return Ok(Arc::new(Step::new(before, &commit, current)));
        }
        let applied = beside(turn, move || {
            let changes = feed::changes(&at, &commit)?;
            let mut after = Snapshot::clone(&at);
            after.apply(commit.revision, changes);
            if let Some(day) = day_of_ms(commit.time_ms) {
                after.set_made_on(day);
            }
            Ok::<_, RecordError>(Arc::new(Step::new(before, &commit, Arc::new(after))))
        });
        Ok(applied.await??)
    }

    /// Tells what a step changed, in as many messages as it takes.
    async fn tell(&mut self, at: &Arc<Snapshot>, step: &Arc<Step>) -> Result<(), End> {
        let names = if step.keys.len() <= SMALL {
            S::names(step)
        } else {
            let step = step.clone();
            self.registry.aside(move || S::names(&step)).await?
        };
        let work = names.len().saturating_mul(1 + self.scope.terms());
        let mut left = Left { names, next: 0, carried: None };
        let mut silent = true;
        loop {
            let (changes, rest) = if work <= SMALL {
                left.take(&*self.scope, at, step, self.told_time)?
            } else {
                let (scope, at, step) = (self.scope.clone(), at.clone(), step.clone());
                let told_time = self.told_time;
                self.registry.aside(move || left.take(&*scope, &at, &step, told_time)).await??
            };
            left = rest;
            let partial = left.carried.is_some();
            if !partial {
                self.position = step.revision;
                self.commits += u64::from(step.revision > self.caught_up);
                self.told.store(step.revision, Ordering::Relaxed);
            }
            if changes.is_empty() && silent {
                return Ok(());
            }
            silent = false;
            let head = Head {
                revision: records::wire_revision(step.revision),
                partial,
                commit_time: records::log_time(step.time_ms),
                actor: records::actor(&step.about),
                told_time: self.told_time,
            };
            self.send((!partial).then_some(step.revision), S::response(head, changes)).await?;
            if !partial {
                return Ok(());
            }
        }
    }

    /// Says that it is alive, and how far everything has been told.
    async fn beat(&mut self) -> Result<(), End> {
        // Not of a replica that does not know what is told elsewhere.
        self.registry.check_fresh()?;
        let (revision, told_time) = (records::wire_revision(self.position), self.told_time);
        let head = Head { revision, told_time, ..Head::default() };
        self.send(Some(self.position), S::response(head, Vec::new())).await
    }

    async fn send(&mut self, complete: Option<Revision>, response: S::Response) -> Result<(), End> {
        let patience = self.registry.watches.limits.patience;
        let sent = timeout(patience, self.messages.send(Message { complete, response })).await;
        self.beat_at = Instant::now() + self.heartbeat;
        match sent {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) => Err(End::Unread),
            Err(_) => Err(End::TooSlow),
        }
    }
}

/// The records of a step that are still to be looked at, and a change that no longer fitted into the message before.
struct Left<S: Scope> {
    names: Arc<[S::Name]>,
    next: usize,
    carried: Option<S::Change>,
}

impl<S: Scope> Left<S> {
    /// The changes of one message. What is left begins with a change, if there is one.
    fn take(
        mut self,
        scope: &S,
        before: &Snapshot,
        step: &Step,
        told_time: i64,
    ) -> Result<(Vec<S::Change>, Self), RecordError> {
        use prost::Message as _;
        let mut changes: Vec<S::Change> = self.carried.take().into_iter().collect();
        let mut size: usize = changes.iter().map(S::Change::encoded_len).sum();
        while let Some(name) = self.names.get(self.next) {
            self.next += 1;
            let Some(change) = scope.told(before, step, name, told_time)? else { continue };
            size += change.encoded_len();
            if changes.len() >= CHANGES_MAX || !changes.is_empty() && size > CHANGES_BYTES {
                self.carried = Some(change);
                break;
            }
            changes.push(change);
        }
        Ok((changes, self))
    }
}

impl Registry {
    /// Does what takes longer beside the threads that serve, not much of it at once.
    pub(super) async fn aside<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, RegistryError> {
        let turn = self.turn().await?;
        beside(turn, work).await
    }

    /// Waits for one of the few turns of what takes longer.
    async fn turn(&self) -> Result<OwnedSemaphorePermit, RegistryError> {
        self.watches.heavy.clone().acquire_owned().await.map_err(|_| RegistryError::Closed)
    }
}

/// Does work that has its turn beside the threads that serve, and keeps the turn until it is done.
async fn beside<T: Send + 'static>(
    turn: OwnedSemaphorePermit,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, RegistryError> {
    let work = move || {
        let done = work();
        drop(turn);
        done
    };
    tokio::task::spawn_blocking(work).await.map_err(|_| RegistryError::Closed)
}

/// What is published, once it is more than a revision.
async fn reached(published: &mut watch::Receiver<Published>, position: Revision) -> Result<Revision, End> {
    let reached = published.wait_for(|p| p.revision > position || p.failed.is_some()).await;
    match reached {
        Ok(published) if published.revision > position => Ok(published.revision),
        _ => Err(End::Closed),
    }
}
