//! `Backup` and `Restore`: bytes between the registry and a stream.

use std::io::{self, Read};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::{mpsc, watch};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Response, Status, Streaming};

use super::{Answer, answer, failed};
use crate::convert::Violation;
use crate::convert::status::{failed_precondition, invalid};
use crate::pb::weighbridge::v1 as pb;
use crate::pb::weighbridge::v1::backup_response::Payload;
use crate::registry::{BackupSummary, Registry};

/// Chunks that wait for the reader of a backup.
const WAITING_MAX: usize = 4;
/// How long a chunk of a restore may take to come.
const PATIENCE: Duration = Duration::from_secs(60);
/// Largest chunk, in bytes.
const CHUNK_BYTES_MAX: usize = 1 << 20;

/// Where a backup is restored to, and how the service is restarted on it.
#[derive(Clone, Debug)]
pub struct RestoreTarget {
    /// The data directory.
    pub data_dir: PathBuf,
    /// Set to `true` to restart.
    pub restart: watch::Sender<bool>,
}

pub(super) type BackupStream = ReceiverStream<Result<pb::BackupResponse, Status>>;

pub(super) fn backup(registry: &Arc<Registry>) -> Response<BackupStream> {
    let (parts, mut taken) = mpsc::channel::<Bytes>(WAITING_MAX);
    let (messages, stream) = mpsc::channel(WAITING_MAX);
    let registry = registry.clone();
    tokio::spawn(async move {
        let forwarding = messages.clone();
        let forward = async move {
            while let Some(part) = taken.recv().await {
                let message = pb::BackupResponse { payload: Some(Payload::Chunk(part.into())) };
                // The client is gone: dropping the receiver ends the backup.
                if forwarding.send(Ok(message)).await.is_err() {
                    return;
                }
            }
        };
        let (written, ()) = tokio::join!(registry.backup(parts), forward);
        let last = match written {
            Ok(BackupSummary { revision, size_bytes, sha256 }) => {
                let wide = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
                let summary = pb::BackupSummary { revision: wide(revision), size_bytes: wide(size_bytes), sha256 };
                Ok(pb::BackupResponse { payload: Some(Payload::Summary(summary)) })
            }
            Err(error) => Err(failed(&error)),
        };
        let _ = messages.send(last).await;
    });
    Response::new(ReceiverStream::new(stream))
}

pub(super) async fn restore(
    registry: Arc<Registry>,
    target: Option<RestoreTarget>,
    stream: Streaming<pb::RestoreRequest>,
) -> Answer<pb::RestoreResponse> {
    let Some(target) = target else {
        let text = "the registry keeps its records in no directory: there is nothing to restore into (into etcd: `weighbridge migrate`)";
        return Err(failed_precondition(text, "NO_DATA_DIRECTORY"));
    };
    // A task of its own: a client that goes away must not leave it half done.
    let restoring = tokio::spawn(async move { take_in(&registry, &target, stream).await });
    restoring.await.map_err(|_| Status::internal("the restore ended early: see the server's log"))?
}

async fn take_in(
    registry: &Registry,
    target: &RestoreTarget,
    stream: Streaming<pb::RestoreRequest>,
) -> Answer<pb::RestoreResponse> {
    let (chunks, taken) = mpsc::channel::<Result<Vec<u8>, ()>>(WAITING_MAX);
    let feeding = feed(stream, chunks);
    let restoring = registry.restore(&target.data_dir, Chunks { taken, current: io::Cursor::new(Vec::new()) });
    tokio::pin!(feeding, restoring);
    // What ends early is answered at once, and not with the next chunk.
    let restored = tokio::select! {
        restored = &mut restoring => restored,
        fed = &mut feeding => {
            let restored = restoring.await;
            fed?;
            restored
        }
    };
    let restored = restored.map(|stores| {
        let wide = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
        let stores = stores.into_iter().map(|(store, found)| pb::restore_response::RestoredStore {
            store,
            revision: wide(found.revision),
            oldest_revision: wide(found.oldest_revision),
            records: wide(found.records),
        });
        // Told first: the answer still goes out, since running calls are finished.
        target.restart.send_replace(true);
        pb::RestoreResponse { stores: stores.collect() }
    });
    answer(restored)
}

/// Hands the chunks on until the stream ends, or nobody takes them any more.
async fn feed(
    mut stream: Streaming<pb::RestoreRequest>,
    chunks: mpsc::Sender<Result<Vec<u8>, ()>>,
) -> Result<(), Status> {
    loop {
        // Nothing is written to the registry while it waits.
        let Ok(message) = tokio::time::timeout(PATIENCE, stream.message()).await else {
            let _ = chunks.send(Err(())).await;
            return Err(Status::deadline_exceeded(format!("no chunk came for {} s", PATIENCE.as_secs())));
        };
        match message {
            Ok(Some(pb::RestoreRequest { chunk })) if chunk.len() > CHUNK_BYTES_MAX => {
                let description = format!("it has {} bytes and {CHUNK_BYTES_MAX} are allowed", chunk.len());
                let _ = chunks.send(Err(())).await;
                return Err(invalid(&[Violation { field: "chunk".into(), description }]));
            }
            Ok(Some(pb::RestoreRequest { chunk })) => {
                if chunks.send(Ok(chunk)).await.is_err() {
                    return Ok(());
                }
            }
            Ok(None) => return Ok(()),
            Err(status) => {
                let _ = chunks.send(Err(())).await;
                return Err(status);
            }
        }
    }
}

/// The chunks of a stream, as a reader on a thread that may block.
struct Chunks {
    taken: mpsc::Receiver<Result<Vec<u8>, ()>>,
    current: io::Cursor<Vec<u8>>,
}

impl Read for Chunks {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            let read = self.current.read(buffer)?;
            if read > 0 || buffer.is_empty() {
                return Ok(read);
            }
            match self.taken.blocking_recv() {
                Some(Ok(chunk)) => self.current = io::Cursor::new(chunk),
                Some(Err(())) => return Err(io::ErrorKind::ConnectionAborted.into()),
                None => return Ok(0),
            }
        }
    }
}
