//! The store in etcd, which several processes share.
//!
//! Every process holds a mirror of all rows' revisions, fed by a watch, and tells its subscribers of every commit, whoever made
//! it. Revisions are etcd's: other keys raise them too, so there are gaps. History is what etcd has not compacted.
//!
//! ```text
//! commit ──conditions of the mirror──▶ transaction ──▶ etcd ──watch──▶ mirror ──▶ subscribers, and the answer
//! ```
//!
//! **INVARIANTS**
//!
//! - A commit is one revision of etcd: what does not fit into a transaction is staged where nobody reads it, and one last
//!   transaction makes it current (`layout.rs` has the keys). Its rows are put in their places afterwards, by whoever comes to
//!   it; until then nothing that they are about is written.
//! - A transaction's conditions are the revisions of the rows that its batch expects something of, so that what was seen is what
//!   is changed, whoever else writes. What does not hold is held again against what is current, before it is refused.
//! - A commit is answered once it was delivered by the watch: so it is durable in a majority, and subscribers know of it.
//! - What is read is as old as the last answer of the whole cluster (a linearizable read) to which the watch has come up. A member
//!   that is cut off cannot make it younger.
//!
//! | file | what it knows |
//! | --- | --- |
//! | `layout.rs` | keys and the bytes of values |
//! | `lead.rs` | tasks that one process does at a time |
//! | `link.rs` | calls: which member, how long, what errors mean |
//! | `mirror.rs` | revisions of rows; whether a batch holds |
//! | `follow.rs` | the watch, its freshness, and beginning again when history has gone |
//! | `read.rs` | all rows at a revision, and what was before |
//! | `write.rs` | transactions, staging, folding, clearing away |

mod follow;
mod layout;
mod lead;
mod link;
mod mirror;
mod read;
mod replay;
mod write;

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use etcd_client::{Compare, CompareOp, Txn, TxnOp, TxnOpResponse};
use tokio::runtime::{Builder, Handle, Runtime};
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::sync::{Notify, Semaphore, oneshot, watch};
use tokio::time::{Instant, timeout_at};

use super::feed::Feed;
use super::timings::Timings;
use super::{
    Batch, BoxFuture, Commit, Lead, Record, Revision, Sink, Staleness, Store, StoreError, StoreStatus, Take, Version,
};
use layout::{FORMAT, Id, Keys, seal, unseal};
use link::{Fault, Link};
use mirror::{Mirror, read as revision_of};
use read::{Beside, Giving};

/// Longest wait for an answer of the cluster.
const PATIENCE: Duration = Duration::from_secs(5);
/// Commits that are under way at once.
const COMMITS_AT_ONCE: usize = 64;
/// Commits that may wait.
const WAITING_MAX: usize = 4_096;
/// Bytes of commits that may wait, beside one.
const WAITING_BYTES_MAX: usize = 128 << 20;
/// Commits that are at hand for who follows.
const RECENT_MAX: usize = 1_024;

/// How a store in etcd is reached.
#[derive(Clone)]
pub struct EtcdOptions {
    /// URLs of the members' client ports.
    pub endpoints: Vec<String>,
    /// What all keys begin with; a slash is put behind it.
    pub prefix: String,
    /// TLS; `None`: connections are in the clear.
    pub tls: Option<EtcdTls>,
    /// Name and password, where etcd asks for them.
    pub user: Option<(String, String)>,
    /// What was read longer ago is not to be served.
    pub max_staleness: Duration,
    /// Longest wait for the cluster when the store is opened.
    pub start_within: Duration,
    /// Deleted records are a part of history. Without it there is no history, as a log of entries needs none.
    pub keeps_deleted: bool,
    /// Commits that are at hand without asking etcd.
    pub recent_max: usize,
    /// A store that is not there is begun; without it that is an error, and nothing is written.
    pub begins: bool,
}

/// Certificates, in PEM.
#[derive(Clone, Default)]
pub struct EtcdTls {
    /// Who signs the members' certificates; `None`: the usual authorities.
    pub ca: Option<Vec<u8>>,
    /// This process's certificate and key, where members ask for them.
    pub identity: Option<(Vec<u8>, Vec<u8>)>,
}

impl fmt::Debug for EtcdOptions {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        // No password and no key.
        let Self { endpoints, prefix, .. } = self;
        formatter
            .debug_struct("EtcdOptions")
            .field("endpoints", endpoints)
            .field("prefix", prefix)
            .finish_non_exhaustive()
    }
}

impl EtcdOptions {
    /// With all defaults.
    #[must_use]
    pub fn new(endpoints: Vec<String>, prefix: impl Into<String>) -> EtcdOptions {
        EtcdOptions {
            endpoints,
            prefix: prefix.into(),
            tls: None,
            user: None,
            max_staleness: Duration::from_secs(10),
            start_within: Duration::from_secs(30),
            keeps_deleted: true,
            recent_max: RECENT_MAX,
            begins: true,
        }
    }

    /// The same for a log of entries beside the store, which any process may add to and take from, without history.
    #[must_use]
    pub fn log(&self, name: &str) -> EtcdOptions {
        let prefix = format!("{}/{name}", self.prefix.trim_end_matches('/'));
        EtcdOptions { prefix, keeps_deleted: false, recent_max: 0, ..self.clone() }
    }
}

/// A store in etcd.
pub struct EtcdStore {
    inner: Arc<Inner>,
    following: AtomicBool,
    turns: Arc<Semaphore>,
    /// Its tasks; none is left once the store is dropped.
    runtime: Option<Runtime>,
}

struct Inner {
    handle: Handle,
    link: Link,
    keys: Keys,
    feed: Feed,
    mirror: Mutex<Mirror>,
    applied: watch::Sender<Revision>,
    /// Commits that are waited for.
    expected: Mutex<HashMap<Id, oneshot::Sender<Revision>>>,
    /// The watch is to be opened again.
    lagging: Notify,
    /// Everything is to be read again.
    missed: Notify,
    /// The cluster does not answer: nobody need wait for it.
    hung: Notify,
    /// What is known is not what the cluster holds, and will not be again.
    broken: AtomicBool,
    /// Held by who puts a staged commit's rows in their places.
    folding: tokio::sync::Mutex<()>,
    /// What was found unused when it was looked for last.
    left_over: Mutex<HashSet<Id>>,
    /// What was committed until then is known: microseconds since `begun`.
    fresh_us: AtomicU64,
    /// It is what was committed up to this revision.
    fresh_revision: AtomicU64,
    begun: std::time::Instant,
    max_staleness: Duration,
    waiting: AtomicUsize,
    waiting_bytes: AtomicUsize,
    timings: Timings,
    keeps_deleted: bool,
    recent_max: usize,
    begins: bool,
    sweep_at: Mutex<Instant>,
    /// Watches of the past that may be read on.
    replays: Mutex<Vec<replay::Replay>>,
}

impl EtcdStore {
    /// Opens a store; one that is not there is begun, unless the options say otherwise.
    ///
    /// Blocks the thread until the cluster has answered.
    ///
    /// # Errors
    /// The cluster does not answer in time, refuses the user, holds no store that might be begun, or one of a newer format.
    pub fn open(options: &EtcdOptions) -> Result<EtcdStore, StoreError> {
        Self::open_loading(options, Box::new(|_| true)).map(|(store, _)| store)
    }

    /// Opens a store, gives out its live records meanwhile, and says at which revision they stand. What is committed after that
    /// is delivered to the first subscriber.
    ///
    /// # Errors
    /// As for [`EtcdStore::open`].
    pub fn open_loading(options: &EtcdOptions, take: Take) -> Result<(EtcdStore, Revision), StoreError> {
        let started = Builder::new_multi_thread().worker_threads(2).thread_name("store-etcd").enable_all().build();
        let runtime = started.map_err(|error| StoreError::Unavailable { reason: format!("no threads: {error}") })?;
        let handle = runtime.handle().clone();
        let start_within = options.start_within;
        let begun = std::time::Instant::now();
        let inner = Arc::new(Inner {
            handle: handle.clone(),
            link: Link::new(options),
            keys: Keys::new(&options.prefix),
            feed: Feed::default(),
            mirror: Mutex::default(),
            applied: watch::channel(0).0,
            expected: Mutex::default(),
            lagging: Notify::new(),
            missed: Notify::new(),
            hung: Notify::new(),
            broken: AtomicBool::new(false),
            folding: tokio::sync::Mutex::new(()),
            left_over: Mutex::default(),
            fresh_us: AtomicU64::new(0),
            fresh_revision: AtomicU64::new(0),
            begun,
            max_staleness: options.max_staleness,
            waiting: AtomicUsize::new(0),
            waiting_bytes: AtomicUsize::new(0),
            timings: Timings::default(),
            keeps_deleted: options.keeps_deleted,
            recent_max: options.recent_max,
            begins: options.begins,
            sweep_at: Mutex::new(Instant::now() + PATIENCE),
            replays: Mutex::default(),
        });
        let (answer, opened) = std::sync::mpsc::channel();
        let opening = inner.clone();
        handle.spawn(async move {
            let _ = answer.send(opening.begin(Instant::now() + start_within, take).await);
        });
        let revision = opened.recv().map_err(|_| StoreError::Closed);
        let turns = Arc::new(Semaphore::new(COMMITS_AT_ONCE));
        let store = EtcdStore { inner, following: AtomicBool::new(false), turns, runtime: Some(runtime) };
        let revision = revision??;
        Ok((store, revision))
    }

    /// Starts to follow the cluster, once there is somebody who wants to hear of it.
    fn start(&self) {
        if !self.following.swap(true, Ordering::SeqCst) {
            let handle = &self.inner.handle;
            handle.spawn(self.inner.clone().follow());
            handle.spawn(self.inner.clone().probe());
            handle.spawn(self.inner.clone().tidy());
        }
    }

    /// Runs work on the store's own threads; it goes on when nobody waits for it any more.
    fn run<T: Send + 'static>(
        &self,
        work: impl Future<Output = Result<T, StoreError>> + Send + 'static,
    ) -> BoxFuture<'static, Result<T, StoreError>> {
        let (reply, answer) = oneshot::channel();
        self.inner.handle.spawn(async move {
            let _ = reply.send(work.await);
        });
        Box::pin(async move { answer.await.map_err(|_| StoreError::Closed)? })
    }
}

impl Drop for EtcdStore {
    fn drop(&mut self) {
        self.inner.feed.end();
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

impl Store for EtcdStore {
    fn load_each(&self, take: Take) -> BoxFuture<'_, Result<Revision, StoreError>> {
        let inner = self.inner.clone();
        self.run(async move { inner.load_each(take).await })
    }

    fn commit(&self, batch: Batch) -> BoxFuture<'_, Result<Revision, StoreError>> {
        self.start();
        let (inner, turns) = (self.inner.clone(), self.turns.clone());
        let size = batch.size_bytes();
        let waiting = inner.waiting.fetch_add(1, Ordering::Relaxed);
        let bytes = inner.waiting_bytes.fetch_add(size, Ordering::Relaxed);
        let done = move |inner: &Inner| {
            inner.waiting.fetch_sub(1, Ordering::Relaxed);
            inner.waiting_bytes.fetch_sub(size, Ordering::Relaxed);
        };
        if waiting >= WAITING_MAX || bytes > 0 && bytes.saturating_add(size) > WAITING_BYTES_MAX {
            done(&inner);
            return Box::pin(std::future::ready(Err(StoreError::Busy { waiting })));
        }
        self.run(async move {
            let committed = match turns.acquire().await {
                Ok(_turn) => write::commit(&inner, batch).await,
                Err(_) => Err(StoreError::Closed),
            };
            done(&inner);
            committed
        })
    }

    fn changes_since(&self, after: Revision, limit: usize) -> BoxFuture<'_, Result<Vec<Arc<Commit>>, StoreError>> {
        let inner = self.inner.clone();
        self.run(async move { inner.changes_since(after, limit).await })
    }

    fn record_as_of(&self, key: &[u8], revision: Revision) -> BoxFuture<'_, Result<Option<Record>, StoreError>> {
        let keys = vec![Bytes::copy_from_slice(key)];
        let records = self.records_as_of(keys, revision);
        Box::pin(async move { Ok(records.await?.pop().flatten()) })
    }

    fn records_as_of(
        &self,
        keys: Vec<Bytes>,
        revision: Revision,
    ) -> BoxFuture<'_, Result<Vec<Option<Record>>, StoreError>> {
        let inner = self.inner.clone();
        self.run(async move { inner.records_as_of(keys, revision).await })
    }

    fn history(&self, key: &[u8], before: Revision, limit: usize) -> BoxFuture<'_, Result<Vec<Version>, StoreError>> {
        let (inner, key) = (self.inner.clone(), Bytes::copy_from_slice(key));
        self.run(async move { inner.history(key, before, limit).await })
    }

    fn revision_at(&self, time_ms: i64) -> BoxFuture<'_, Result<Revision, StoreError>> {
        let inner = self.inner.clone();
        self.run(async move { inner.revision_at(time_ms).await })
    }

    fn compact(&self, oldest: Revision) -> BoxFuture<'_, Result<Revision, StoreError>> {
        self.start();
        let inner = self.inner.clone();
        self.run(async move { write::compact(&inner, oldest).await })
    }

    fn backup(&self, sink: Sink) -> BoxFuture<'_, Result<Revision, StoreError>> {
        let inner = self.inner.clone();
        self.run(async move { inner.backup(sink).await })
    }

    fn subscribe(&self) -> UnboundedReceiver<Arc<Commit>> {
        let receiver = self.inner.feed.subscribe();
        self.start();
        receiver
    }

    fn status(&self) -> StoreStatus {
        let inner = &self.inner;
        let (head, problem) = (inner.feed.head(), inner.feed.problem());
        StoreStatus {
            backend: "etcd",
            place: Some(inner.place()),
            revision: head.revision,
            time_ms: head.time_ms,
            oldest_revision: head.floor,
            oldest_time_ms: head.floor_time_ms,
            record_count: head.live,
            data_size_bytes: head.bytes,
            waiting: inner.waiting.load(Ordering::Relaxed),
            writable: problem.is_none(),
            problem,
            size_on_disk_bytes: None,
            flushes: inner.timings.read(),
            staleness: self.staleness(),
        }
    }

    fn sync(&self) -> BoxFuture<'_, Result<Revision, StoreError>> {
        self.start();
        let inner = self.inner.clone();
        self.run(async move {
            let mut hung = std::pin::pin!(inner.hung.notified());
            // Before it is looked for a problem, so that none comes between the two.
            hung.as_mut().enable();
            if inner.feed.problem().is_none() {
                tokio::select! {
                    synced = inner.sync(inner.soon()) => return synced,
                    () = hung => {}
                }
            }
            let reason = inner.feed.problem().unwrap_or_else(|| "etcd does not answer".to_owned());
            Err(StoreError::Unavailable { reason })
        })
    }

    fn commit_at(&self, revision: Revision) -> BoxFuture<'_, Result<Revision, StoreError>> {
        let inner = self.inner.clone();
        self.run(async move { inner.commit_at(revision).await })
    }

    fn lead(&self, task: &'static str) -> BoxFuture<'_, Result<Option<Box<dyn Lead>>, StoreError>> {
        let (inner, handle) = (self.inner.clone(), self.inner.handle.clone());
        let (reply, answer) = oneshot::channel();
        handle.spawn(async move {
            let mut reply: oneshot::Sender<Result<lead::Held, StoreError>> = reply;
            let taken = tokio::select! {
                taken = lead::take(&inner, task) => taken,
                // Nobody wants it any more; a lease that was just granted runs out.
                () = reply.closed() => return,
            };
            let _ = reply.send(taken);
        });
        Box::pin(async move {
            let held: Box<dyn Lead> = Box::new(answer.await.map_err(|_| StoreError::Closed)??);
            Ok(Some(held))
        })
    }

    fn staleness(&self) -> Option<Staleness> {
        // In this order: a revision that is too new for the age is one that is waited for, and no harm.
        let (age, allowed) = (self.inner.age(), self.inner.max_staleness);
        Some(Staleness { age, allowed, revision: self.inner.fresh_revision.load(Ordering::Acquire) })
    }
}

impl Inner {
    /// Begins the store, or reads what it holds.
    async fn begin(&self, deadline: Instant, take: Take) -> Result<Revision, StoreError> {
        let asked = Instant::now();
        let format = self.keys.format();
        let own = seal(&format, FORMAT.to_be_bytes().to_vec());
        let put = self.begins.then(|| TxnOp::put(format.clone(), own, None));
        let begin = Txn::new()
            .when([Compare::create_revision(format.clone(), CompareOp::Equal, 0)])
            .and_then(put.into_iter().collect::<Vec<_>>())
            .or_else([TxnOp::get(format.clone(), None)]);
        let answer = match self.link.change(&begin).await {
            Err(Fault::Silent(reason)) => {
                tracing::warn!(reason, "etcd does not answer, and is waited for");
                self.link.change_surely(&begin, deadline).await
            }
            answered => answered,
        };
        let answer = answer.map_err(Fault::error)?;
        if answer.succeeded() {
            let place = self.place();
            if !self.begins {
                return Err(StoreError::NoStore { place });
            }
            // A prefix that is mistyped is a registry without anybody's policies.
            tracing::warn!(place, "nothing was there, and a new store was begun");
        }
        if let Some(TxnOpResponse::Get(get)) = answer.op_responses().first() {
            let kv = get.kvs().first();
            let found = kv.and_then(|kv| unseal(&format, kv.value())?.try_into().ok()).map(u64::from_be_bytes);
            let found = found.ok_or_else(|| self.damaged("its format; is the prefix somebody else's?"))?;
            if found > FORMAT {
                return Err(StoreError::NewerFormat { found, supported: FORMAT });
            }
        }
        let at = revision_of(answer.header().map_or(0, |header| header.revision()));
        let Beside { mut mirror, .. } = self.beside(at).await?;
        let unfolded = mirror.unfolded.clone();
        let mut giving = Giving::new(take);
        let mut each = |key: Bytes, slot: mirror::Slot, value: Bytes| {
            if slot.live {
                mirror.live += 1;
                mirror.bytes += key.len() as u64 + slot.size;
            }
            // Whether more is wanted is beside the point: the mirror is needed whole.
            giving.add(key.clone(), &slot, value);
            mirror.slots.insert(key, slot);
            true
        };
        self.rows_at(at, unfolded.as_ref(), &mut each).await?;
        giving.finish();
        let (revision, head) = (mirror.revision, mirror.head());
        *self.mirror() = mirror;
        self.feed.publish(head, &[]);
        self.reached(at);
        self.fresh_as_of(asked, revision);
        self.look_for_floor().await;
        Ok(revision)
    }

    /// Endpoints and prefix, for people.
    fn place(&self) -> String {
        format!("{}, below `{}`", self.link.endpoints().join(","), self.keys.root())
    }

    fn mirror(&self) -> MutexGuard<'_, Mirror> {
        // No code panics under this lock.
        self.mirror.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Until when a short call has its time.
    fn soon(&self) -> Instant {
        Instant::now() + PATIENCE
    }

    /// The watch has come so far.
    fn reached(&self, revision: Revision) {
        self.applied.send_if_modified(|applied| {
            let further = revision > *applied;
            *applied = revision.max(*applied);
            further
        });
    }

    /// Waits until the watch has come so far.
    async fn reach(&self, revision: Revision, deadline: Instant) -> Result<(), StoreError> {
        let mut applied = self.applied.subscribe();
        match timeout_at(deadline, applied.wait_for(|applied| *applied >= revision)).await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(_)) => Err(StoreError::Closed),
            Err(_) => Err(StoreError::Unavailable { reason: "what others have committed is not delivered".to_owned() }),
        }
    }

    /// Waits until what a transaction did not hold against is known.
    async fn overtaken(&self, newest: Revision, deadline: Instant) -> Result<(), StoreError> {
        if newest <= self.mirror().applied {
            // It is known already: then it is something else, and not to be tried again at once.
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        self.reach(newest, deadline).await
    }

    /// Waits until everything that was acknowledged anywhere before is known.
    async fn catch_up(&self, deadline: Instant) -> Result<(), StoreError> {
        let marks = self.marks(deadline).await.map_err(Fault::error)?;
        self.reach(marks.newest, deadline).await
    }

    /// The same, and the revision that is known then.
    async fn sync(&self, deadline: Instant) -> Result<Revision, StoreError> {
        self.catch_up(deadline).await?;
        Ok(self.mirror().revision)
    }

    /// What was committed anywhere so long ago is known.
    fn age(&self) -> Duration {
        let fresh = Duration::from_micros(self.fresh_us.load(Ordering::Acquire));
        self.begun.elapsed().saturating_sub(fresh)
    }

    /// What was committed until then is known, and it is up to that revision.
    fn fresh_as_of(&self, asked: Instant, revision: Revision) {
        self.fresh_revision.fetch_max(revision, Ordering::AcqRel);
        let at = asked.into_std().saturating_duration_since(self.begun);
        self.fresh_us.fetch_max(u64::try_from(at.as_micros()).unwrap_or(u64::MAX), Ordering::AcqRel);
    }

    /// Tells all who wait for a commit that they will not be told of it: it may be among those that were not delivered one by
    /// one.
    fn answer_none(&self) {
        self.expected.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    /// Waits for a commit.
    fn expect(&self, id: Id) -> oneshot::Receiver<Revision> {
        let (answer, delivered) = oneshot::channel();
        self.expected.lock().unwrap_or_else(PoisonError::into_inner).insert(id, answer);
        delivered
    }

    fn forget(&self, id: Id) {
        self.expected.lock().unwrap_or_else(PoisonError::into_inner).remove(&id);
    }

    /// Tells who waits for a commit that it was delivered.
    fn answer(&self, id: Id, revision: Revision) {
        let answer = self.expected.lock().unwrap_or_else(PoisonError::into_inner).remove(&id);
        if let Some(answer) = answer {
            // Whoever waited may have given up.
            let _ = answer.send(revision);
        }
    }
}
