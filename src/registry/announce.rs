//! Announcing: where several replicas serve one registry, one of them follows the deployments, says in its log when a verdict
//! changes, and counts it. Whoever takes its place goes on where it was.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio_stream::StreamExt as _;

use super::{Registry, RegistryError};
use crate::pb::weighbridge::v1 as pb;
use crate::store::{Lead, StoreError};

/// The task, of which one replica has the lead.
const TASK: &str = "verdicts";
/// Before it is tried again.
const PAUSE: Duration = Duration::from_secs(1);
/// How often it is noted that there was nothing to tell.
const NOTED_EVERY: Duration = Duration::from_secs(60);

/// How far back it goes.
const PAST_SECONDS_MAX: i64 = 365 * 86_400;

/// How far has been told: a revision, and a time in seconds since 1970.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Position {
    revision: i64,
    time: i64,
}

impl Position {
    fn bytes(self) -> Bytes {
        [self.revision.to_be_bytes(), self.time.to_be_bytes()].concat().into()
    }

    fn read(bytes: &[u8]) -> Option<Self> {
        let (revision, time) = bytes.split_first_chunk::<8>()?;
        let time = i64::from_be_bytes(time.try_into().ok()?);
        Some(Self { revision: i64::from_be_bytes(*revision), time })
    }
}

impl Registry {
    /// Announces changes of verdicts, whenever this replica has the lead; until it is aborted. Alone, it does nothing.
    pub async fn announce(self: Arc<Self>) {
        loop {
            match self.store.lead(TASK).await {
                Ok(Some(lead)) => {
                    tracing::info!("this replica announces changes of verdicts");
                    let Err(error) = self.announce_while(&*lead).await;
                    if matches!(error, RegistryError::Stopping { .. }) {
                        return;
                    }
                    tracing::warn!(%error, "this replica announces nothing any more");
                }
                Ok(None) => return,
                Err(error) => tracing::debug!(%error, "the lead could not be taken yet"),
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// Announces until something goes wrong, which losing the lead is: notes are refused then.
    async fn announce_while(self: &Arc<Self>, lead: &dyn Lead) -> Result<Infallible, RegistryError> {
        let mut position = Position::read(&lead.noted());
        let mut noted = Instant::now();
        loop {
            let now = (self.clock)().as_second();
            let from = match position {
                Some(position) => position,
                None => {
                    let revision = super::records::wire_revision(self.snapshot().revision());
                    let position = Position { revision, time: now };
                    lead.note(position.bytes()).await?;
                    position
                }
            };
            position = Some(from);
            let request = pb::WatchDeploymentsRequest {
                start_revision: from.revision,
                // Clocks of replicas differ, and nobody may ask for more than a year.
                start_time: (from.revision > 0).then(|| prost_types::Timestamp {
                    seconds: from.time.clamp(now - PAST_SECONDS_MAX, now),
                    nanos: 0,
                }),
                ..Default::default()
            };
            let mut told = match self.watch_deployments(request).await {
                Ok(watching) => watching,
                Err(error) if is_compacted(&error) => {
                    position = skipped(from);
                    continue;
                }
                Err(error) => return Err(error),
            };
            while let Some(response) = told.next().await {
                let response = match response {
                    Ok(response) => response,
                    Err(error) if is_compacted(&error) => {
                        position = skipped(from);
                        break;
                    }
                    // One that lasted long enough is gone on with.
                    Err(RegistryError::WatchTooOld { .. } | RegistryError::WatchTooSlow { .. }) => break,
                    Err(error) => return Err(error),
                };
                if !response.changes.is_empty() {
                    // Refused where another replica has the lead by now, and tells it.
                    lead.note(position.unwrap_or(from).bytes()).await?;
                }
                for change in &response.changes {
                    self.tell(response.revision, change);
                }
                if response.partial {
                    continue;
                }
                let time = response.event_time.map_or(from.time, |time| time.seconds);
                let reached = Position { revision: response.revision, time };
                position = Some(reached);
                if !response.changes.is_empty() || noted.elapsed() > NOTED_EVERY {
                    lead.note(reached.bytes()).await?;
                    noted = Instant::now();
                }
            }
        }
    }

    fn tell(&self, revision: i64, change: &pb::DeploymentChange) {
        if change.kind() != pb::DeploymentChangeKind::Changed {
            return;
        }
        self.announced.fetch_add(1, Ordering::Relaxed);
        let deployment = change.deployment.clone().unwrap_or_default();
        tracing::warn!(
            deployment = deployment.name,
            owner = deployment.owner,
            environment = deployment.environment,
            before = change.before().as_str_name(),
            after = change.after().as_str_name(),
            causes = ?change.causes,
            registry.revision = revision,
            "the verdict of a deployment has changed"
        );
    }

    /// How many changes of verdicts this replica has announced.
    #[must_use]
    pub fn announced(&self) -> u64 {
        self.announced.load(Ordering::Relaxed)
    }
}

/// Says that changes were not announced; from where it goes on is not known.
fn skipped(from: Position) -> Option<Position> {
    tracing::error!(since = from.revision, "history is gone before changes of verdicts were announced");
    None
}

fn is_compacted(error: &RegistryError) -> bool {
    match error {
        RegistryError::Store(StoreError::Compacted { .. }) => true,
        RegistryError::WatchFailed { error, .. } => is_compacted(error),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_position_is_read_back() {
        let position = Position { revision: 7, time: -5 };
        assert_eq!(Position::read(&position.bytes()), Some(position));
        assert_eq!(Position::read(b"short"), None);
    }
}
