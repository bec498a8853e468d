//! The feeder: applies the store's log of changes, in order, and publishes a snapshot after each.

use std::sync::Arc;

use arc_swap::ArcSwap;
use tokio::sync::{mpsc, watch};

use super::once::Requests;
use super::{Published, records};
use crate::catalog::Snapshot;
use crate::convert::RecordError;
use crate::store::Commit;

/// Starts the feeder on a thread of its own: applying a large commit must not hold up a runtime that serves.
pub(super) fn start(
    snapshot: Snapshot,
    changes: mpsc::UnboundedReceiver<Arc<Commit>>,
    requests: Arc<Requests>,
) -> (Arc<ArcSwap<Snapshot>>, watch::Receiver<Published>) {
    let (tell, published) = watch::channel(Published { revision: snapshot.revision(), failed: None });
    let shared = Arc::new(ArcSwap::from_pointee(snapshot));
    let target = shared.clone();
    let spawned = std::thread::Builder::new()
        .name("weighbridge-feed".into())
        .spawn(move || run(&target, changes, &tell, &requests));
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
) {
    while let Some(first) = changes.blocking_recv() {
        let mut next = Snapshot::clone(&target.load());
        let mut pending = Some(first);
        let mut failed = None;
        // What has queued up is applied together and published once.
        while let Some(commit) = pending {
            if let Err(error) = apply(&mut next, &commit) {
                tracing::error!(revision = commit.revision, %error, "a change could not be read: the catalog stops here");
                failed = Some(error.to_string());
                break;
            }
            requests.enter(&commit);
            pending = changes.try_recv().ok();
        }
        let revision = next.revision();
        target.store(Arc::new(next));
        let stop = failed.is_some();
        tell.send_replace(Published { revision, failed });
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
    let mut read = Vec::with_capacity(commit.writes.len());
    for write in &commit.writes {
        read.extend(records::change(&write.key, write.value.clone(), snapshot.pool())?);
    }
    snapshot.apply(commit.revision, read);
    Ok(())
}
