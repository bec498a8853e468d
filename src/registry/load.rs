//! Loading: the store's records into the first snapshot.
//!
//! ```text
//! store reads rows ──parts──▶ records are decoded ──changes──▶ the snapshot takes them in
//! ```
//!
//! Each step has a thread: a large registry is read with every core there is. The built-in catalog, which the snapshot begins with,
//! is read beside the opening of the store.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::sync::oneshot;

use super::key::Key;
use super::{RegistryError, records};
use crate::catalog::{Change, Pending, Pool, Reference, Snapshot};
use crate::store::{Record, Revision, Store, Take};

/// Parts that may wait between two steps.
const WAITING_MAX: usize = 4;
/// How often progress is told.
const TOLD_EVERY: Duration = Duration::from_secs(2);

/// What was loaded.
pub(super) struct Loaded {
    pub(super) snapshot: Snapshot,
    /// The stored records of the built-in catalog, by key.
    pub(super) built_in: HashMap<Bytes, Bytes>,
}

/// Changes with their revisions, and what a part holds of the built-in catalog.
struct Decoded {
    changes: Vec<(Revision, Change)>,
    built_in: Vec<(Bytes, Bytes)>,
}

/// What the snapshot holds of the store, and what is still to be worked out.
struct TakenIn {
    snapshot: Snapshot,
    built_in: HashMap<Bytes, Bytes>,
    pending: Pending,
}

/// Loading under way.
pub(super) struct Loading {
    decoding: oneshot::Receiver<Result<(), RegistryError>>,
    taking_in: oneshot::Receiver<Result<TakenIn, RegistryError>>,
}

impl Loading {
    /// Starts to wait for the records of a store; what they are held against is got meanwhile.
    ///
    /// # Errors
    /// There are no threads left.
    pub(super) fn start(
        reference: impl FnOnce() -> Result<Arc<Reference>, RegistryError> + Send + 'static,
    ) -> Result<(Take, Self), RegistryError> {
        let (parts, to_decode) = sync_channel::<Vec<Record>>(WAITING_MAX);
        let (decoded, to_take_in) = sync_channel(WAITING_MAX);
        let (begun, pool) = sync_channel::<Pool>(1);
        let decoding = on_a_thread("load-decode", move || match pool.recv() {
            Ok(pool) => decode(&to_decode, &decoded, &pool),
            // The other thread says why.
            Err(_) => Ok(()),
        })?;
        let taking_in = on_a_thread("load-index", move || {
            let snapshot = Snapshot::new(reference()?);
            let _ = begun.send(snapshot.pool().clone());
            Ok(take_in(snapshot, &to_take_in))
        })?;
        Ok((Box::new(move |part| parts.send(part).is_ok()), Self { decoding, taking_in }))
    }

    /// Loads everything that a store holds.
    ///
    /// # Errors
    /// The store's, or the first record that cannot be read.
    pub(super) async fn all(store: &dyn Store, reference: Arc<Reference>) -> Result<Loaded, RegistryError> {
        let (take, loading) = Self::start(|| Ok(reference))?;
        match store.load_each(take).await {
            Ok(revision) => loading.finish(revision).await,
            Err(error) => Err(error.into()),
        }
    }

    /// What was loaded, once all records were given, which stand at `revision`.
    ///
    /// # Errors
    /// The first record that cannot be read.
    pub(super) async fn finish(self, revision: Revision) -> Result<Loaded, RegistryError> {
        self.decoding.await.map_err(|_| ended("decoding records"))??;
        let TakenIn { mut snapshot, built_in, pending } =
            self.taking_in.await.map_err(|_| ended("filling the index"))??;
        let settled = on_a_thread("load-settle", move || {
            snapshot.settle(revision, pending);
            snapshot
        })?;
        let snapshot = settled.await.map_err(|_| ended("working out terms"))?;
        Ok(Loaded { snapshot, built_in })
    }
}

fn ended(step: &str) -> RegistryError {
    tracing::error!(step, "loading ended early");
    RegistryError::Closed
}

fn on_a_thread<T: Send + 'static>(
    name: &str,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<oneshot::Receiver<T>, RegistryError> {
    let (done, answer) = oneshot::channel();
    let spawned = std::thread::Builder::new().name(name.to_owned()).spawn(move || {
        // Nobody waits for it when opening was given up.
        let _ = done.send(work());
    });
    spawned.map(|_| answer).map_err(|error| {
        tracing::error!(%error, "a thread for loading could not be started");
        RegistryError::Closed
    })
}

fn decode(parts: &Receiver<Vec<Record>>, decoded: &SyncSender<Decoded>, pool: &Pool) -> Result<(), RegistryError> {
    for part in parts {
        let mut next = Decoded { changes: Vec::with_capacity(part.len()), built_in: Vec::new() };
        for Record { key, value, revision } in part {
            if key.starts_with(Key::BUILT_IN) {
                next.built_in.push((key.clone(), value.clone()));
            }
            next.changes.extend(records::change(&key, Some(value), pool)?.map(|change| (revision, change)));
        }
        if decoded.send(next).is_err() {
            break;
        }
    }
    Ok(())
}

fn take_in(mut snapshot: Snapshot, parts: &Receiver<Decoded>) -> TakenIn {
    let (mut built_in, mut pending) = (HashMap::new(), Pending::default());
    let (mut records, mut told) = (0, Instant::now());
    for part in parts {
        records += part.changes.len();
        for (revision, change) in part.changes {
            snapshot.put(revision, change, &mut pending);
        }
        built_in.extend(part.built_in);
        if told.elapsed() >= TOLD_EVERY {
            told = Instant::now();
            tracing::info!(records, "loading");
        }
    }
    TakenIn { snapshot, built_in, pending }
}
