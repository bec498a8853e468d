//! Backups: the registry's store and the decision log, in one file.

use std::io::{self, Write};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use sha2::{Digest as _, Sha256};
use tokio::sync::mpsc;

use super::{Registry, RegistryError};
use crate::store::{ArchiveWriter, Revision, Store, StoreError};

/// The section of the registry's own store.
pub(super) const REGISTRY_SECTION: &str = "registry";
/// The sections of the decision log.
pub(super) const DECISION_SECTIONS: [&str; 2] = ["decisions/0", "decisions/1"];
/// How long a reader may take for a part.
const PATIENCE: Duration = Duration::from_secs(60);
/// How long it may take for all of them.
const PATIENCE_IN_ALL: Duration = Duration::from_secs(3_600);
/// Backups at once: each reads everything.
pub(super) const AT_ONCE: usize = 2;

/// What a backup came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BackupSummary {
    /// The registry's revision.
    pub revision: Revision,
    /// Its size, in bytes.
    pub size_bytes: u64,
    /// SHA-256 of it, in hexadecimal digits.
    pub sha256: String,
}

/// Hands what is written to a channel, and sums it up.
struct Outlet {
    parts: mpsc::Sender<Bytes>,
    hasher: Sha256,
    size_bytes: u64,
    waiting: Vec<u8>,
    until: Instant,
    dropped: bool,
}

impl Outlet {
    /// Largest part.
    const PART_BYTES: usize = 512 << 10;

    /// Waits for the reader, but not without end: what is read here holds up the compaction of the store.
    fn send(&mut self, part: Bytes) -> io::Result<()> {
        let deadline = (Instant::now() + PATIENCE).min(self.until);
        let mut part = part;
        loop {
            match self.parts.try_send(part) {
                Ok(()) => return Ok(()),
                Err(mpsc::error::TrySendError::Full(back)) if Instant::now() < deadline => {
                    part = back;
                    std::thread::sleep(Duration::from_millis(1));
                }
                Err(mpsc::error::TrySendError::Full(_)) => {
                    self.dropped = true;
                    return Err(io::ErrorKind::TimedOut.into());
                }
                Err(mpsc::error::TrySendError::Closed(_)) => return Err(io::ErrorKind::BrokenPipe.into()),
            }
        }
    }
}

impl Write for Outlet {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.hasher.update(bytes);
        self.size_bytes += bytes.len() as u64;
        self.waiting.extend_from_slice(bytes);
        while self.waiting.len() >= Self::PART_BYTES {
            let rest = self.waiting.split_off(Self::PART_BYTES);
            let part = std::mem::replace(&mut self.waiting, rest);
            self.send(part.into())?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        let rest = std::mem::take(&mut self.waiting);
        if rest.is_empty() { Ok(()) } else { self.send(rest.into()) }
    }
}

impl Registry {
    /// Writes a backup into a channel. Reads and writes go on meanwhile; no history is let go of, and the decision log begins no
    /// new generation.
    ///
    /// # Errors
    /// The store's; the reader is gone, takes nothing for a minute, or more than an hour in all; two others are under way.
    pub async fn backup(&self, parts: mpsc::Sender<Bytes>) -> Result<BackupSummary, RegistryError> {
        let _turn = self.backups.try_acquire().map_err(|_| RegistryError::TooManyBackups { most: AT_ONCE })?;
        let outlet = Outlet {
            parts,
            hasher: Sha256::new(),
            size_bytes: 0,
            waiting: Vec::new(),
            until: Instant::now() + PATIENCE_IN_ALL,
            dropped: false,
        };
        let archive = Arc::new(Mutex::new(ArchiveWriter::new(outlet).map_err(|_| RegistryError::Closed)?));
        let revision = section(&archive, REGISTRY_SECTION, &*self.store).await?;
        if let Some(log) = &self.decision_log {
            for (label, store) in DECISION_SECTIONS.iter().zip(log.stores().await) {
                if let Some(store) = store {
                    section(&archive, label, &*store).await?;
                }
            }
        }
        let archive = Arc::into_inner(archive).and_then(|archive| archive.into_inner().ok());
        let archive = archive.ok_or(RegistryError::Closed)?;
        // The last parts wait for the reader as well.
        let finished =
            tokio::task::spawn_blocking(move || archive.finish()).await.map_err(|_| RegistryError::Closed)?;
        let outlet = finished.map_err(|error| gone(error.kind() == io::ErrorKind::TimedOut))?;
        let sha256 = outlet.hasher.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
        Ok(BackupSummary { revision, size_bytes: outlet.size_bytes, sha256 })
    }
}

async fn section(
    archive: &Arc<Mutex<ArchiveWriter<Outlet>>>,
    label: &str,
    store: &dyn Store,
) -> Result<Revision, RegistryError> {
    let lock = |archive: &Mutex<ArchiveWriter<Outlet>>,
                work: &mut dyn FnMut(&mut ArchiveWriter<Outlet>) -> io::Result<()>| {
        work(&mut archive.lock().unwrap_or_else(PoisonError::into_inner))
    };
    let target = archive.clone();
    let mut label = Some(label.to_owned());
    // All of it where it may wait for the reader. Each section has a part, that of its totals.
    let sink = Box::new(move |part: Bytes| {
        let mut add = |archive: &mut ArchiveWriter<Outlet>| {
            label.take().map_or(Ok(()), |label| archive.section(&label))?;
            archive.part(&part)
        };
        lock(&target, &mut add).is_ok()
    });
    match store.backup(sink).await {
        Ok(revision) => Ok(revision),
        Err(StoreError::Closed) => {
            let dropped = archive.lock().unwrap_or_else(PoisonError::into_inner).output().dropped;
            Err(gone(dropped))
        }
        Err(error) => Err(error.into()),
    }
}

fn gone(dropped: bool) -> RegistryError {
    if dropped { RegistryError::SlowReader } else { RegistryError::Closed }
}
