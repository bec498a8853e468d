//! Commits of the past, by watches that begin there.
//!
//! etcd takes up watches of the past every 100 ms, and reads for them all that is newer. So a watch is kept for a while with what it
//! has brought: who reads on where it stands, one commit after another, has the next one at once. Each has a connection of its
//! own, since what a kept one does not read yet would use up the window that all on a connection share.

use std::collections::VecDeque;
use std::sync::{Arc, MutexGuard, PoisonError};
use std::time::Duration;

use etcd_client::{WatchOptions, WatchStream};
use tokio::time::{Instant, timeout};

use super::Inner;
use super::follow::{self, Change};
use super::layout::Keys;
use super::link::{Fault, fault};
use super::mirror::wire;
use super::read::Trouble;
use crate::store::{Commit, Revision, StoreError};

/// Watches that are kept.
const KEPT_MAX: usize = 16;
/// For how long.
const KEPT_FOR: Duration = Duration::from_secs(5);
/// For how long at least: with more readers than places, those that have one come further.
const KEPT_FOR_MIN: Duration = Duration::from_secs(1);
/// With what they all have brought, in bytes.
const KEPT_BYTES_MAX: usize = 64 << 20;

/// A watch that began in the past.
pub(super) struct Replay {
    /// The revision of the last commit that was taken.
    after: Revision,
    stream: WatchStream,
    /// Commits that it has brought since.
    pending: VecDeque<Change>,
    pending_bytes: usize,
    /// Of the last commit that it has brought.
    head_version: Option<i64>,
    used: Instant,
}

impl Inner {
    /// Reads the commits after a revision, oldest first.
    pub(super) async fn changes_since(&self, after: Revision, limit: usize) -> Result<Vec<Arc<Commit>>, StoreError> {
        loop {
            let (start, target) = {
                let mirror = self.mirror();
                if after < mirror.floor {
                    return Err(StoreError::Compacted { asked: Some(after), oldest: mirror.floor });
                }
                if after >= mirror.revision || limit == 0 {
                    return Ok(Vec::new());
                }
                if after >= mirror.recent_after {
                    let recent = mirror.recent.iter().filter(|commit| commit.revision > after);
                    return Ok(recent.take(limit).cloned().collect());
                }
                (after.saturating_add(1).max(mirror.compacted).max(mirror.format), mirror.revision)
            };
            let kept = self.kept_at(after);
            let was_kept = kept.is_some();
            match self.replay(kept, start, after, target, limit).await {
                Ok(commits) => return Ok(commits),
                // It may have broken since it was used last.
                Err(_) if was_kept => {}
                Err(trouble) => self.lost(after, start, trouble).await?,
            }
        }
    }

    async fn replay(
        &self,
        kept: Option<Replay>,
        start: Revision,
        after: Revision,
        target: Revision,
        limit: usize,
    ) -> Result<Vec<Arc<Commit>>, Trouble> {
        let mut replay = match kept {
            Some(replay) => replay,
            None => self.begin_replay(start, after).await?,
        };
        let mut commits = Vec::new();
        while replay.after < target && commits.len() < limit {
            let Some(change) = replay.pending.pop_front() else {
                self.read_on(&mut replay).await?;
                continue;
            };
            replay.pending_bytes = replay.pending_bytes.saturating_sub(change.size());
            let revision = change.revision;
            let (commit, _) = self.commit_of(change).await?;
            replay.after = revision;
            commits.push(Arc::new(commit));
        }
        self.keep(replay);
        Ok(commits)
    }

    async fn begin_replay(&self, start: Revision, after: Revision) -> Result<Replay, Trouble> {
        let prefix = self.keys.watched();
        let options = WatchOptions::new().with_range(Keys::end(&prefix)).with_start_revision(wire(start.max(1)));
        let mut client = self.link.watcher_alone(self.soon()).await?;
        let watching = timeout(follow::PATIENCE_MAX, client.watch(prefix, Some(options))).await;
        let stream = watching.map_err(|_| silent())?.map_err(|error| fault("etcd", &error))?;
        let (pending, used) = (VecDeque::new(), Instant::now());
        Ok(Replay { after, stream, pending, pending_bytes: 0, head_version: None, used })
    }

    /// Waits for what the watch brings next.
    async fn read_on(&self, replay: &mut Replay) -> Result<(), Trouble> {
        let message = timeout(follow::PATIENCE_MAX, replay.stream.message()).await.map_err(|_| silent())?;
        let Some(message) = message.map_err(|error| fault("etcd", &error))? else { return Err(silent().into()) };
        if message.compact_revision() > 0 {
            return Err(Fault::Compacted.into());
        }
        if message.canceled() {
            return Err(Fault::Silent(format!("a watch was ended: {}", message.cancel_reason())).into());
        }
        // Rows that are put in their places, and marks, are no commits.
        for change in follow::changes(self, message.events())?.into_iter().filter(|change| change.head.is_some()) {
            if replay.head_version.is_some_and(|last| change.head_version != last + 1) {
                return Err(Fault::Silent("etcd left out a commit of the past".to_owned()).into());
            }
            replay.head_version = Some(change.head_version);
            if change.revision > replay.after {
                replay.pending_bytes += change.size();
                replay.pending.push_back(change);
            }
        }
        Ok(())
    }

    fn replays(&self) -> MutexGuard<'_, Vec<Replay>> {
        // No code panics under this lock.
        self.replays.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes the watch that stands after a revision.
    fn kept_at(&self, after: Revision) -> Option<Replay> {
        let mut replays = self.replays();
        let at = replays.iter().position(|replay| replay.after == after)?;
        Some(replays.remove(at))
    }

    fn keep(&self, replay: Replay) {
        let is_past = replay.after < self.mirror().recent_after;
        let mut replays = self.replays();
        if replays.len() >= KEPT_MAX && replays.first().is_some_and(|oldest| oldest.used.elapsed() > KEPT_FOR_MIN) {
            replays.remove(0);
        }
        let has_room = replays.len() < KEPT_MAX
            && replays.iter().map(|kept| kept.pending_bytes).sum::<usize>() + replay.pending_bytes <= KEPT_BYTES_MAX;
        if is_past && has_room && !replays.iter().any(|kept| kept.after == replay.after) {
            // The one that was used least lately stands first.
            replays.push(Replay { used: Instant::now(), ..replay });
        }
    }

    /// Ends watches that nobody reads on from.
    pub(super) fn end_replays(&self) {
        self.replays().retain(|replay| replay.used.elapsed() < KEPT_FOR);
    }
}

fn silent() -> Fault {
    Fault::Silent("etcd does not answer".to_owned())
}
