//! The store: keys, bytes and revisions, kept safe.
//!
//! A [`Store`] is a durable log of atomic commits. Each commit gets a
//! [`Revision`]; the current records, the history of a record and the changes
//! since a revision are all read from that one log. The room knows nothing of
//! models or policies: values are opaque bytes.
//!
//! History before the *floor* may be let go of: then the floor is the oldest
//! revision at which anything can be read.
//!
//! [`SledStore`] keeps the log in one directory, [`MemoryStore`] keeps it in
//! memory with the same semantics, and `EtcdStore` (feature `etcd`) in a cluster that
//! several processes share. One suite of tests holds all to the same contract.
//!
//! | file | what it knows |
//! | --- | --- |
//! | `mod.rs`, `error.rs` | the contract |
//! | `plan.rs` | expectations, revisions and rows of one commit group |
//! | `rows.rs` | the bytes of a row, its checksum, which rows count, the digest of them |
//! | `witness.rs` | the `HEAD` file, which says what the data must amount to |
//! | `audit.rs` | comparing the data with the witness at start |
//! | `layout.rs` | the directory, its lock, and its `FORMAT` file |
//! | `feed.rs` | the published revision and its subscribers |
//! | `queue.rs` | what waits for the writer, and what becomes of it when the writer hangs |
//! | `reader.rs`, `writer.rs` | the rows turned into records, batches into rows |
//! | `compaction.rs` | letting go of history |
//! | `archive.rs` | the form of a backup |
//! | `rewrite.rs` | a whole store written anew: restored, or compacted offline |
//! | `embedded.rs` | opening and closing a store in a directory |
//! | `sled.rs` | the storage engine, which no other file names |
//! | `range_sync.rs` | a sync of the engine that is one |
//! | `etcd/` | the store that several processes share |
//! | `timings.rs` | how long commits took |
//! | `hook.rs` | making the disk slow or faulty, for tests and benchmarks |

mod archive;
mod audit;
mod compaction;
mod embedded;
mod error;
#[cfg(feature = "etcd")]
mod etcd;
mod feed;
mod guard;
mod hook;
mod layout;
mod memory;
mod plan;
mod queue;
mod range_sync;
mod reader;
mod rewrite;
mod rows;
mod sled;
mod timings;
mod witness;
mod writer;

#[cfg(all(test, feature = "etcd"))]
#[path = "../../tests/etcd/cluster.rs"]
#[allow(
    dead_code,
    unreachable_pub,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "it is for tests, of which others use the rest of it"
)]
mod cluster;
#[cfg(test)]
mod damage;
#[cfg(test)]
mod faults;
#[cfg(test)]
mod suite;

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::mpsc::UnboundedReceiver;

pub use self::archive::{ArchiveReader, ArchiveWriter, Frame};
pub use self::embedded::{Beginning, OnLoss, SledOptions, SledStore};
pub use self::error::StoreError;
#[cfg(feature = "etcd")]
pub use self::etcd::{EtcdOptions, EtcdStore, EtcdTls};
pub use self::hook::{Hook, Step};
pub use self::layout::{holds_a_store, while_unused};
pub use self::memory::MemoryStore;
pub use self::rewrite::{Audited, History, Rewritten, compact, restore, take_over, verify, verify_backup};
pub use self::timings::Timed;

/// The number of a commit: strictly increasing, with gaps allowed; 0 is the empty store.
pub type Revision = u64;

/// A boxed future, so that [`Store`] can be used as a trait object.
pub type BoxFuture<'a, T> = std::pin::Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// Takes a part of the records that are read; `false`: no more is wanted.
pub type Take = Box<dyn FnMut(Vec<Record>) -> bool + Send>;

/// Takes a part of a backup; `false`: no more is wanted.
pub type Sink = Box<dyn FnMut(Bytes) -> bool + Send>;

/// The longest key a store accepts.
pub const KEY_SIZE_BYTES_MAX: usize = 1024;
/// The longest note on a batch.
pub const NOTE_SIZE_BYTES_MAX: usize = 16 << 10;
/// Most batches that are made durable together.
const GROUP_BATCHES_MAX: usize = 1024;

/// One change to one key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Write {
    /// The key to change: not empty, no zero byte, at most [`KEY_SIZE_BYTES_MAX`] bytes.
    pub key: Bytes,
    /// The new value; `None` deletes the key.
    pub value: Option<Bytes>,
}

/// A condition on one key, checked atomically with the writes of its batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Expect {
    /// The key the condition is about.
    pub key: Bytes,
    /// The revision of the key's last change; `None` when the key must not
    /// exist. A deleted key does not exist, so no revision ever matches it.
    pub revision: Option<Revision>,
}

/// Writes that happen together or not at all, if every expectation holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Batch {
    /// Conditions on the state before the batch.
    pub expect: Vec<Expect>,
    /// The changes; of several writes to one key the last one counts.
    pub writes: Vec<Write>,
    /// When it is made, in milliseconds since 1970. A commit is never older than one before it, whatever this says.
    pub time_ms: i64,
    /// What the log keeps of it besides, for example who made it; opaque, at most [`NOTE_SIZE_BYTES_MAX`] bytes.
    pub about: Bytes,
    /// It is made of everything of its kind that came before it.
    pub serial: Option<Serial>,
}

/// A condition on the commits of a kind: none of them is newer than what the batch was made of. So work that reads much and
/// writes much, such as an import, follows one another without an expectation for each record that it read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Serial {
    /// The kind.
    pub name: &'static str,
    /// The revision that the batch was made of.
    pub seen: Revision,
}

/// A live key with its value and the revision of its last change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// The key.
    pub key: Bytes,
    /// The value.
    pub value: Bytes,
    /// The commit that wrote the value.
    pub revision: Revision,
}

/// One committed batch, as subscribers and readers of the log see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Commit {
    /// The commit's revision.
    pub revision: Revision,
    /// When it was made, in milliseconds since 1970.
    pub time_ms: i64,
    /// What its batch said of it.
    pub about: Bytes,
    /// What it changed, each key once.
    pub writes: Vec<Write>,
    /// It stands for all commits since the one that was delivered before it, since history went before they were read one by
    /// one: then these are the revisions of its writes.
    pub gap: Option<Vec<Revision>>,
}

/// One version of a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Version {
    /// The commit that wrote it.
    pub revision: Revision,
    /// When and about what, if that commit can still be read.
    pub origin: Option<(i64, Bytes)>,
    /// The value; `None`: it deleted the key.
    pub value: Option<Bytes>,
}

/// Everything alive at one revision.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Contents {
    /// The revision the records stand at.
    pub revision: Revision,
    /// The live records, ordered by key.
    pub records: Vec<Record>,
}

/// A store's own view of how it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoreStatus {
    /// The backend's name.
    pub backend: &'static str,
    /// Where the data is, for people: a directory, or a cluster and a prefix; `None` in memory.
    pub place: Option<String>,
    /// The last acknowledged revision.
    pub revision: Revision,
    /// When that was committed, in milliseconds since 1970.
    pub time_ms: i64,
    /// The oldest revision that can still be read.
    pub oldest_revision: Revision,
    /// When that was committed, in milliseconds since 1970; 0 where all history is kept.
    pub oldest_time_ms: i64,
    /// The number of live records at that revision.
    pub record_count: u64,
    /// Size of all records with their history, as they are written; the engine takes more.
    pub data_size_bytes: u64,
    /// Batches that wait to be committed.
    pub waiting: usize,
    /// Whether commits are accepted.
    pub writable: bool,
    /// What is wrong, when something is.
    pub problem: Option<String>,
    /// The size of the main data file, where there is one.
    pub size_on_disk_bytes: Option<u64>,
    /// How long it took to make groups of commits durable.
    pub flushes: Timed,
    /// How far behind what is read may be, for stores that others write as well.
    pub staleness: Option<Staleness>,
}

/// How far behind a store may be that others write as well.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Staleness {
    /// What was committed anywhere so long ago has been delivered.
    pub age: Duration,
    /// It is what was committed up to this revision.
    pub revision: Revision,
    /// What is older than this is not to be read.
    pub allowed: Duration,
}

impl Staleness {
    /// Whether what is read may be too old.
    #[must_use]
    pub fn is_too_old(&self) -> bool {
        self.age > self.allowed
    }
}

/// A durable, revisioned log of changes.
pub trait Store: Send + Sync + 'static {
    /// Reads all live records in order of their keys, a part at a time, and answers the revision they stand at.
    ///
    /// Parts are given to `take` from a thread that may wait in it; `false` ends the reading early. What it was given is of
    /// no worth when the reading fails.
    fn load_each(&self, take: Take) -> BoxFuture<'_, Result<Revision, StoreError>>;

    /// Reads all live records at once, and the revision they stand at.
    fn load(&self) -> BoxFuture<'_, Result<Contents, StoreError>> {
        let all: Arc<Mutex<Vec<Record>>> = Arc::default();
        let taken = all.clone();
        let reading = self.load_each(Box::new(move |part| {
            taken.lock().unwrap_or_else(PoisonError::into_inner).extend(part);
            true
        }));
        Box::pin(async move {
            let revision = reading.await?;
            let records = std::mem::take(&mut *all.lock().unwrap_or_else(PoisonError::into_inner));
            Ok(Contents { revision, records })
        })
    }

    /// Commits a batch atomically; it is durable when the future resolves.
    ///
    /// The batch is submitted by the call itself, so dropping the future does
    /// not cancel it. A batch without writes checks its expectations, answers
    /// the current revision and consumes none. After an error other than
    /// [`StoreError::Conflict`], [`StoreError::InvalidKey`], [`StoreError::NoteTooLong`] and
    /// [`StoreError::Busy`] the batch may or may not be there when the store is opened again.
    fn commit(&self, batch: Batch) -> BoxFuture<'_, Result<Revision, StoreError>>;

    /// Reads the commits after a revision, oldest first, at most `limit`.
    ///
    /// Fails with [`StoreError::Compacted`] when some of them are no longer there.
    fn changes_since(&self, after: Revision, limit: usize) -> BoxFuture<'_, Result<Vec<Arc<Commit>>, StoreError>>;

    /// Reads a record as it was at a revision; `None` if it did not exist then.
    ///
    /// Fails with [`StoreError::Compacted`] below the oldest revision.
    fn record_as_of(&self, key: &[u8], revision: Revision) -> BoxFuture<'_, Result<Option<Record>, StoreError>>;

    /// Reads several records as they were at a revision, in the order of `keys`; as [`Store::record_as_of`], in one go.
    fn records_as_of(
        &self,
        keys: Vec<Bytes>,
        revision: Revision,
    ) -> BoxFuture<'_, Result<Vec<Option<Record>>, StoreError>>;

    /// Reads the versions of a key before a revision, newest first, at most `limit`. Of what was compacted the one that the
    /// oldest revision shows is left.
    fn history(&self, key: &[u8], before: Revision, limit: usize) -> BoxFuture<'_, Result<Vec<Version>, StoreError>>;

    /// The last revision that was committed at or before a time, in milliseconds since 1970; 0: none was.
    ///
    /// Fails with [`StoreError::Compacted`] for a time before that of the oldest revision.
    fn revision_at(&self, time_ms: i64) -> BoxFuture<'_, Result<Revision, StoreError>>;

    /// Lets go of history: nothing can be read as of a revision before `oldest` from then on. Answers the oldest revision
    /// that can be read, which is not above the newest and never goes back.
    fn compact(&self, oldest: Revision) -> BoxFuture<'_, Result<Revision, StoreError>>;

    /// Writes all that the store holds at this moment, history included, to `sink`, as the parts of a section of an
    /// [`ArchiveWriter`], from a thread that may wait in it. Answers the revision. Commits go on.
    fn backup(&self, sink: Sink) -> BoxFuture<'_, Result<Revision, StoreError>>;

    /// Delivers every commit after this call, in revision order.
    ///
    /// A commit arrives after it is durable and before its `commit` resolves.
    fn subscribe(&self) -> UnboundedReceiver<Arc<Commit>>;

    /// Says how the store is; cheap enough for a health check.
    fn status(&self) -> StoreStatus;

    /// Answers a revision, and everything that was acknowledged anywhere before this call is in it and delivered.
    fn sync(&self) -> BoxFuture<'_, Result<Revision, StoreError>> {
        Box::pin(std::future::ready(Ok(self.status().revision)))
    }

    /// The last commit at or before a revision, which may be one of the gaps between commits.
    ///
    /// Fails with [`StoreError::Compacted`] below the oldest revision.
    fn commit_at(&self, revision: Revision) -> BoxFuture<'_, Result<Revision, StoreError>> {
        Box::pin(std::future::ready(Ok(revision)))
    }

    /// Waits until no other process does a task, and takes it; `None`: there are no others. Whoever drops the future takes
    /// nothing.
    fn lead(&self, _task: &'static str) -> BoxFuture<'_, Result<Option<Box<dyn Lead>>, StoreError>> {
        Box::pin(std::future::ready(Ok(None)))
    }

    /// How far behind it may be; `None`: nobody else writes it. Cheap enough for every call.
    fn staleness(&self) -> Option<Staleness> {
        None
    }
}

/// A task that this process does, and no other one as long as it is alive.
pub trait Lead: Send + Sync {
    /// What was noted last, by whoever did it; empty: nothing.
    fn noted(&self) -> Bytes;

    /// Notes how far the task has come. Fails once another process does it.
    fn note(&self, note: Bytes) -> BoxFuture<'_, Result<(), StoreError>>;
}

impl Batch {
    /// A batch of writes, without conditions, time or note.
    pub fn of(writes: impl IntoIterator<Item = Write>) -> Batch {
        Batch { writes: writes.into_iter().collect(), ..Batch::default() }
    }

    /// Refuses keys and notes that no store can hold, and keeps the last write of each key.
    fn validated(mut self) -> Result<Batch, StoreError> {
        if self.about.len() > NOTE_SIZE_BYTES_MAX {
            return Err(StoreError::NoteTooLong { size_bytes: self.about.len() });
        }
        for expect in &self.expect {
            check_key(&expect.key)?;
        }
        let mut seen = HashSet::with_capacity(self.writes.len());
        let mut writes = Vec::with_capacity(self.writes.len());
        for write in self.writes.drain(..).rev() {
            check_key(&write.key)?;
            if seen.insert(write.key.clone()) {
                writes.push(write);
            }
        }
        writes.reverse();
        self.writes = writes;
        Ok(self)
    }

    fn size_bytes(&self) -> usize {
        let write_size = |write: &Write| write.key.len() + write.value.as_ref().map_or(0, Bytes::len);
        self.writes.iter().map(write_size).sum()
    }
}

/// Checks the rules that keep rows unambiguous and ordered like their keys.
fn check_key(key: &[u8]) -> Result<(), StoreError> {
    let reason = if key.is_empty() {
        "it is empty"
    } else if key.len() > KEY_SIZE_BYTES_MAX {
        "it is longer than 1024 bytes"
    } else if key.contains(&0) {
        "it contains a zero byte"
    } else {
        return Ok(());
    };
    Err(StoreError::InvalidKey { key: Bytes::copy_from_slice(key), reason })
}
