//! Requests that carry an id are done once (AIP-155): the second time they are answered as the first.
//!
//! The ids are kept in the notes of commits. The feeder enters those of new commits into a table before it publishes them; what
//! was committed before the start is entered when an id is met for the first time.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use sha2::{Digest as _, Sha256};
use tokio::sync::{OnceCell, OwnedMutexGuard};

use super::key::Key;
use super::revisions::ShownRecord;
use super::write::By;
use super::{Registry, RegistryError, licenses, models, named, violation};
use crate::catalog::Change;
use crate::convert::{self, RecordError, Violation};
use crate::pb::weighbridge::v1 as pb;
use crate::store::{Commit, Record, Revision, Store, StoreError};

/// Longest id, in characters.
const ID_CHARS_MAX: usize = 128;
/// Most ids that are known.
const KNOWN_MAX: usize = 10_000;
/// Most revisions that are looked at for ids of before the start.
const LOOKED_AT_MAX: u64 = 10_000;
/// Most writes in them: a commit can be a whole import.
const WRITES_MAX: usize = 200_000;

/// Revisions of a part that is looked at: few where there is much in them.
const PART_REVISIONS_MIN: u64 = 16;
const PART_REVISIONS_MAX: u64 = 512;
const PART_WRITES: usize = 4_096;
/// Commits that are read at once.
const COMMITS_READ: usize = 16;

/// A request that can carry an id.
pub trait Identified: prost::Message + Clone {
    /// The message, which says the method as well.
    const NAME: &'static str;

    /// Its id.
    fn request_id(&mut self) -> &mut String;
}

macro_rules! identified {
    ($($message:ident)*) => {
        $(impl Identified for pb::$message {
            const NAME: &'static str = stringify!($message);

            fn request_id(&mut self) -> &mut String {
                &mut self.request_id
            }
        })*
    };
}

identified! {
    CreateModelRequest UpdateModelRequest DeleteModelRequest
    CreateLicenseRequest UpdateLicenseRequest DeleteLicenseRequest
    CreateUseProfileRequest UpdateUseProfileRequest DeleteUseProfileRequest
    CreateWaiverRequest UpdateWaiverRequest DeleteWaiverRequest
    CreatePolicyRequest UpdatePolicyRequest DeletePolicyRequest
    CreateDeploymentRequest UpdateDeploymentRequest DeleteDeploymentRequest
}

/// The id of a request, and what tells the request from others.
#[derive(Clone, Debug, Default)]
pub struct RequestId {
    id: String,
    digest: Bytes,
}

impl RequestId {
    /// The id of a request.
    #[must_use]
    pub fn of<M: Identified>(request: &M) -> Self {
        let mut plain = request.clone();
        let id = std::mem::take(plain.request_id());
        if id.is_empty() {
            return Self::default();
        }
        // The bytes of a message are always the same: maps are kept in order.
        let digest = Sha256::new_with_prefix(M::NAME).chain_update(plain.encode_to_vec()).finalize();
        Self { id, digest: Bytes::copy_from_slice(&digest) }
    }

    fn violation(&self) -> Option<Violation> {
        let fits = self.id.len() <= ID_CHARS_MAX && self.id.bytes().all(|byte| byte.is_ascii_graphic());
        let description = format!("it has 1 to {ID_CHARS_MAX} visible ASCII characters, for example those of a UUID");
        (!fits).then(|| violation("request_id", description))
    }
}

/// Requests with an id: those that were done, and those that are under way.
#[derive(Default)]
pub(super) struct Requests {
    known: Mutex<Known>,
    under_way: Mutex<HashMap<Box<str>, Arc<tokio::sync::Mutex<()>>>>,
    /// Set once those of before the start are known.
    filled: OnceCell<()>,
}

#[derive(Default)]
struct Known {
    by_id: HashMap<Box<str>, Done>,
    by_revision: BTreeMap<Revision, Box<str>>,
}

/// What a request did.
#[derive(Clone)]
struct Done {
    digest: Bytes,
    revision: Revision,
    key: Bytes,
}

impl Requests {
    /// Enters the requests up to a revision, from the newest ones backwards. A part that is looked at is read from its start on,
    /// and its commits a few at a time: each may be a whole import.
    async fn read(&self, store: &dyn Store, end: Revision) -> Result<(), StoreError> {
        let (mut end, mut oldest) = (end, store.status().oldest_revision);
        let (mut looked_at, mut writes, mut revisions) = (0, 0, PART_REVISIONS_MIN);
        while end > oldest && looked_at < LOOKED_AT_MAX && writes < WRITES_MAX {
            let start = end.saturating_sub(revisions).max(oldest);
            let (mut after, mut found) = (start, 0);
            while after < end {
                let commits = match store.changes_since(after, COMMITS_READ).await {
                    // What is let go of while it is looked for was old; what comes after is still there.
                    Err(StoreError::Compacted { oldest: floor, .. }) if floor > after => {
                        (oldest, after) = (floor, floor);
                        continue;
                    }
                    commits => commits?,
                };
                let Some(last) = commits.last() else { break };
                after = last.revision;
                // Where there are gaps, those after it were looked at already.
                for commit in commits.iter().filter(|commit| commit.revision <= end) {
                    self.enter(commit);
                    found += commit.writes.len();
                }
            }
            (looked_at, writes, end) = (looked_at + (end - start), writes + found, start);
            revisions = if found > PART_WRITES { PART_REVISIONS_MIN } else { (2 * revisions).min(PART_REVISIONS_MAX) };
        }
        Ok(())
    }

    /// Enters the request that a commit was made for.
    pub(super) fn enter(&self, commit: &Commit) {
        let note = convert::decode_note(&commit.about);
        if note.request_id.is_empty() {
            return;
        }
        let write = match &commit.gap {
            None => commit.writes.first(),
            // The note is that of the last of the commits: which write is its own only the revision tells.
            Some(written) => {
                let mut own = commit.writes.iter().zip(written).filter(|(_, written)| **written == commit.revision);
                own.next().filter(|_| own.next().is_none()).map(|(write, _)| write)
            }
        };
        let Some(write) = write else { return };
        let digest = Bytes::from(note.request_digest);
        let done = Done { digest, revision: commit.revision, key: write.key.clone() };
        // A panic elsewhere leaves two tables that are short of one id at most.
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let Known { by_id, by_revision } = &mut *known;
        let id: Box<str> = note.request_id.into();
        if let Some(other) = by_id.get(&id) {
            if other.revision >= done.revision {
                return;
            }
            by_revision.remove(&other.revision);
        }
        by_revision.insert(done.revision, id.clone());
        by_id.insert(id, done);
        while by_revision.len() > KNOWN_MAX {
            let Some((_, oldest)) = by_revision.pop_first() else { break };
            by_id.remove(&oldest);
        }
    }

    /// The revision of a request that was done.
    pub(super) fn done(&self, id: &str) -> Option<Revision> {
        self.find(id).map(|done| done.revision)
    }

    fn find(&self, id: &str) -> Option<Done> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner).by_id.get(id).cloned()
    }

    /// Waits until nobody else is about the same id.
    async fn wait(self: &Arc<Self>, id: &str) -> Alone {
        let mine = {
            let mut under_way = self.under_way.lock().unwrap_or_else(PoisonError::into_inner);
            under_way.entry(id.into()).or_default().clone()
        };
        // Before it waits, so that whoever gives up meanwhile leaves nothing behind.
        let mut alone = Alone { guard: None, id: id.into(), requests: self.clone() };
        alone.guard = Some(mine.lock_owned().await);
        alone
    }
}

/// Being the only one who is about an id.
struct Alone {
    guard: Option<OwnedMutexGuard<()>>,
    id: Box<str>,
    requests: Arc<Requests>,
}

impl Drop for Alone {
    fn drop(&mut self) {
        self.guard = None;
        let mut under_way = self.requests.under_way.lock().unwrap_or_else(PoisonError::into_inner);
        // Those who wait hold it as well.
        if under_way.get(&self.id).is_some_and(|waiting| Arc::strong_count(waiting) == 1) {
            under_way.remove(&self.id);
        }
    }
}

/// What is to be done with a request.
pub(super) enum Turn<T> {
    /// Nothing: it was done.
    Done(T),
    /// It is to be carried out.
    Now(Box<Begun>),
}

/// A request that is carried out.
pub(super) struct Begun {
    /// By whom the change is made.
    pub(super) by: By,
    /// It is to be checked, and nothing is to be written.
    pub(super) validate_only: bool,
    refused: Option<Violation>,
    alone: Option<(Alone, RequestId)>,
}

/// An answer that is read back from what was stored.
pub(super) trait Again: Sized {
    /// Whether it holds anything of the record: else nothing is read.
    const READS: bool = true;

    fn again(key: &Key, record: Option<Record>) -> Result<Self, RecordError>;
}

impl Again for () {
    const READS: bool = false;

    fn again(_key: &Key, _record: Option<Record>) -> Result<Self, RecordError> {
        Ok(())
    }
}

impl Again for pb::Model {
    fn again(key: &Key, record: Option<Record>) -> Result<Self, RecordError> {
        let shown = ShownRecord::of(key, record).ok_or(RecordError::Empty)?;
        match shown.read(key)? {
            Change::Model(_, _, Some(put)) => models::message(&shown.entry(put)),
            _ => Err(RecordError::Empty),
        }
    }
}

impl Again for pb::License {
    fn again(key: &Key, record: Option<Record>) -> Result<Self, RecordError> {
        let shown = ShownRecord::of(key, record).ok_or(RecordError::Empty)?;
        match shown.read(key)? {
            Change::License(_, _, Some(put)) => licenses::message(&shown.entry(*put)),
            _ => Err(RecordError::Empty),
        }
    }
}

impl Again for pb::UseProfile {
    fn again(_key: &Key, record: Option<Record>) -> Result<Self, RecordError> {
        named::again(record)
    }
}

impl Again for pb::Policy {
    fn again(_key: &Key, record: Option<Record>) -> Result<Self, RecordError> {
        named::again(record)
    }
}

impl Again for pb::Deployment {
    fn again(_key: &Key, record: Option<Record>) -> Result<Self, RecordError> {
        named::again(record)
    }
}

impl Again for pb::Waiver {
    fn again(_key: &Key, record: Option<Record>) -> Result<Self, RecordError> {
        named::again(record)
    }
}

impl Registry {
    /// Begins a request. One that was done is not done again; while the same one is under way this waits for it.
    pub(super) async fn begin<T: Again>(
        &self,
        request: &RequestId,
        validate_only: bool,
    ) -> Result<Turn<T>, RegistryError> {
        let refused = request.violation();
        let by = By::caller();
        if !validate_only {
            // What it is held against is no older than what was acknowledged before it came.
            self.catch_up().await?;
        }
        if request.id.is_empty() || validate_only || refused.is_some() {
            // With a bad id it is checked all the same, so that what else is wrong is told as well.
            let validate_only = validate_only || refused.is_some();
            return Ok(Turn::Now(Box::new(Begun { by, validate_only, refused, alone: None })));
        }
        self.know_requests().await?;
        let alone = self.requests.wait(&request.id).await;
        if let Some(done) = self.requests.find(&request.id) {
            return self.again(request, done).await.map(Turn::Done);
        }
        let by = by.at_request(&request.id, &request.digest);
        Ok(Turn::Now(Box::new(Begun { by, validate_only, refused, alone: Some((alone, request.clone())) })))
    }

    /// Ends a request with its answer.
    pub(super) async fn end<T: Again>(
        &self,
        begun: Box<Begun>,
        result: Result<T, RegistryError>,
    ) -> Result<T, RegistryError> {
        let Begun { by: _, validate_only: _, refused, alone } = *begun;
        if let Some(refused) = refused {
            let more = match result {
                Err(RegistryError::Invalid(more)) => more,
                _ => Vec::new(),
            };
            return Err(RegistryError::Invalid([refused].into_iter().chain(more).collect()));
        }
        let (Some((_alone, request)), Err(error)) = (alone, &result) else { return result };
        // Somebody may have given up on the same request after it was handed to the store: then it is what is in the way.
        tracing::debug!(%error, "a request with an id failed");
        let caught_up = self.wait_for(self.store.status().revision).await.is_ok();
        match self.requests.find(&request.id).filter(|_| caught_up) {
            Some(done) => self.again(&request, done).await,
            None => result,
        }
    }

    /// The answer to a request that was done.
    async fn again<T: Again>(&self, request: &RequestId, done: Done) -> Result<T, RegistryError> {
        if request.digest != done.digest {
            let description = "another request came with this id: every request has an id of its own";
            return Err(RegistryError::Invalid(vec![violation("request_id", description)]));
        }
        let key = Key::read(&done.key).ok_or(RecordError::Empty)?;
        let record = if T::READS { self.written(&done).await? } else { None };
        Ok(T::again(&key, record)?)
    }

    /// The record as a request wrote it.
    async fn written(&self, done: &Done) -> Result<Option<Record>, RegistryError> {
        match self.store.record_as_of(&done.key, done.revision).await {
            // What was not changed since is still there.
            Err(StoreError::Compacted { asked, oldest }) => {
                let record = self.store.record_as_of(&done.key, oldest).await?;
                let same = record.filter(|record| record.revision == done.revision);
                Ok(Some(same.ok_or(StoreError::Compacted { asked, oldest })?))
            }
            record => Ok(record?),
        }
    }

    /// Knows the requests of before the start.
    async fn know_requests(&self) -> Result<(), RegistryError> {
        if self.requests.filled.initialized() {
            return Ok(());
        }
        let (requests, store, end) = (self.requests.clone(), self.store.clone(), self.snapshot().revision());
        // It goes on when nobody waits for it any more, so that who comes again need not begin again.
        let reading = tokio::spawn(async move {
            let read = requests.filled.get_or_try_init(|| requests.read(&*store, end)).await;
            read.map(|_| ())
        });
        reading.await.map_err(|_| RegistryError::Closed)?.map_err(RegistryError::from)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn who_gives_up_waiting_leaves_nothing_behind() {
        let requests = Arc::new(Requests::default());
        let alone = requests.wait("one").await;
        let other = requests.clone();
        let waiting = tokio::spawn(async move { drop(other.wait("one").await) });
        tokio::task::yield_now().await;
        drop(alone);
        // It has been handed the lock by now, and is gone before it is polled.
        waiting.abort();
        assert!(waiting.await.unwrap_err().is_cancelled());
        assert!(requests.under_way.lock().unwrap().is_empty());
    }
}
