//! Tasks that one of the processes does at a time: whoever has a task keeps a lease alive, and notes how far it has come.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use etcd_client::{Compare, CompareOp, LeaseClient, PutOptions, Txn, TxnOp, TxnOpResponse};
use tokio::task::AbortHandle;
use tokio::time::{Instant, interval, sleep};

use super::Inner;
use super::layout::{seal, unseal};
use super::link::Fault;
use super::mirror::{read, wire};
use crate::store::{BoxFuture, Lead, Revision, StoreError};

/// After so long another process takes the task of one that is gone, in seconds.
const LEASE_S: i64 = 5;
/// How often the lease is kept alive.
const BEAT_EVERY: Duration = Duration::from_millis(1_500);
/// How often it is looked whether the task is free.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// A task that this process has.
pub(super) struct Held {
    inner: Arc<Inner>,
    task: &'static str,
    noted: Bytes,
    /// The revision at which it was taken.
    since: Revision,
    lease: i64,
    beating: AbortHandle,
}

/// Waits until the task is free, and takes it.
pub(super) async fn take(inner: &Arc<Inner>, task: &'static str) -> Result<Held, StoreError> {
    let (holder, note) = (inner.keys.lead(task), inner.keys.note(task));
    loop {
        let grant = async |mut client: LeaseClient| client.grant(LEASE_S, None).await;
        let lease = inner.link.lease(inner.soon(), grant).await.map_err(Fault::error)?.id();
        let value = seal(&holder, Vec::new());
        let txn = Txn::new().when([Compare::create_revision(holder.clone(), CompareOp::Equal, 0)]).and_then([
            TxnOp::put(holder.clone(), value, Some(PutOptions::new().with_lease(lease))),
            TxnOp::get(note.clone(), None),
        ]);
        let answer = inner.link.change(&txn).await;
        if let Ok(answer) = &answer
            && answer.succeeded()
        {
            let noted = answer.op_responses().into_iter().find_map(|answer| match answer {
                TxnOpResponse::Get(get) => {
                    let kv = get.kvs().first()?;
                    unseal(&note, kv.value()).map(Bytes::copy_from_slice)
                }
                _ => None,
            });
            let since = read(answer.header().map_or(0, |header| header.revision()));
            let beating = tokio::spawn(beat(inner.clone(), lease)).abort_handle();
            let inner = inner.clone();
            return Ok(Held { inner, task, noted: noted.unwrap_or_default(), since, lease, beating });
        }
        // Where it is not known whether it was taken, the lease gives it back.
        let _ = inner.link.lease(inner.soon(), async |mut client: LeaseClient| client.revoke(lease).await).await;
        answer.map_err(Fault::error)?;
        wait(inner, &holder).await?;
    }
}

/// Waits until nobody has the task.
async fn wait(inner: &Inner, holder: &[u8]) -> Result<(), StoreError> {
    let options = etcd_client::GetOptions::new().with_keys_only();
    loop {
        sleep(LOOK_EVERY).await;
        match inner.link.get(holder, &options, inner.soon()).await {
            Ok(found) if found.kvs().is_empty() => return Ok(()),
            Ok(_) | Err(Fault::Silent(_)) => {}
            Err(fault) => return Err(fault.error()),
        }
    }
}

async fn beat(inner: Arc<Inner>, lease: i64) {
    let mut ticks = interval(BEAT_EVERY);
    loop {
        ticks.tick().await;
        // It is kept alive by opening a stream, at whichever member answers.
        let beat = async |mut client: LeaseClient| client.keep_alive(lease).await.map(|_| ());
        match inner.link.lease(Instant::now() + BEAT_EVERY, beat).await {
            Ok(()) | Err(Fault::Silent(_)) => {}
            // It has run out: the next note is refused.
            Err(fault) => {
                tracing::warn!(error = %fault.error(), "a task is lost");
                return;
            }
        }
    }
}

impl Lead for Held {
    fn noted(&self) -> Bytes {
        self.noted.clone()
    }

    fn note(&self, note: Bytes) -> BoxFuture<'_, Result<(), StoreError>> {
        let (inner, task, since) = (self.inner.clone(), self.task, self.since);
        let handle = inner.handle.clone();
        let noting = handle.spawn(async move {
            let (holder, key) = (inner.keys.lead(task), inner.keys.note(task));
            let value = seal(&key, note.to_vec());
            let txn = Txn::new()
                .when([Compare::create_revision(holder, CompareOp::Equal, wire(since))])
                .and_then([TxnOp::put(key, value, None)]);
            let answer = inner.link.change_surely(&txn, inner.soon()).await.map_err(Fault::error)?;
            if answer.succeeded() {
                return Ok(());
            }
            Err(StoreError::Unavailable { reason: format!("another process has the task `{task}` now") })
        });
        Box::pin(async move { noting.await.map_err(|_| StoreError::Closed)? })
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.beating.abort();
        let (inner, lease) = (self.inner.clone(), self.lease);
        // Else it runs out.
        let handle = inner.handle.clone();
        handle.spawn(async move {
            let _ = inner.link.lease(inner.soon(), async |mut client: LeaseClient| client.revoke(lease).await).await;
        });
    }
}
