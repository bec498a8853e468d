//! Reading what etcd holds: all rows at one revision, and what was before.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use etcd_client::{GetOptions, KeyValue, Txn, TxnOp, TxnOpResponse};

use super::Inner;
use super::layout::{Body, Head, Id, Keys, Row, decode_part, unseal};
use super::link::Fault;
use super::mirror::{Mirror, Slot, Unfolded, read, wire};
use crate::store::archive::Parts;
use crate::store::plan::Totals;
use crate::store::{Record, Revision, Sink, StoreError, Take, Version, check_key, rows};

/// Rows of a page.
const PAGE_ROWS: i64 = 1_000;
/// Records that are read as of a revision at once: each may be as long as a row can be.
const AT_ONCE: usize = 32;
/// Parts of a commit or a value that are read at once.
const PARTS_AT_ONCE: usize = 4;

/// Takes a row's record with its value, in the order of their keys; `false`: no more is wanted.
type Each<'a> = &'a mut (dyn FnMut(Bytes, Slot, Bytes) -> bool + Send);

/// What stands beside the rows.
pub(super) struct Beside {
    pub(super) mirror: Mirror,
    pub(super) about: Bytes,
}

impl Inner {
    pub(super) fn damaged(&self, detail: impl Into<String>) -> StoreError {
        StoreError::Unavailable { reason: format!("what etcd holds cannot be read: {}", detail.into()) }
    }

    /// Reads all that stands beside the rows at a revision of etcd.
    pub(super) async fn beside(&self, at: Revision) -> Result<Beside, Trouble> {
        let keys = &self.keys;
        let mut mirror = Mirror { applied: at, ..Mirror::default() };
        let mut about = Bytes::new();
        let options = GetOptions::new().with_revision(wire(at));
        let format = self.link.get(&keys.format(), &options, self.soon()).await?;
        mirror.format = format.kvs().first().map_or(0, |kv| read(kv.mod_revision()));
        let prefix = keys.marks();
        let marks = self.link.get(&prefix, &options.clone().with_range(Keys::end(&prefix)), self.soon()).await?;
        for kv in marks.kvs() {
            let revision = read(kv.mod_revision());
            if kv.key() == keys.head() {
                let head = Head::decode(kv.key(), kv.value()).ok_or_else(|| self.damaged("its last commit"))?;
                (mirror.revision, mirror.time_ms, about) = (revision, head.time_ms, head.about);
                mirror.head_version = kv.version();
            } else if kv.key() == keys.staged() {
                mirror.staged = revision;
            } else if kv.key() == keys.fold() {
                mirror.fold = revision;
                mirror.fold_version = kv.version();
            }
        }
        let prefix = keys.serials();
        let serials = self.link.get(&prefix, &options.clone().with_range(Keys::end(&prefix)), self.soon()).await?;
        for kv in serials.kvs() {
            if let Some(name) = kv.key().strip_prefix(prefix.as_slice()) {
                mirror.serials.insert(Bytes::copy_from_slice(name), read(kv.mod_revision()));
            }
        }
        mirror.unfolded = self.unfolded_at(at).await?;
        mirror.recent_after = mirror.revision;
        Ok(Beside { mirror, about })
    }

    /// The staged commit whose rows were not yet where the others are at a revision. There is one at most.
    async fn unfolded_at(&self, at: Revision) -> Result<Option<Unfolded>, Trouble> {
        let prefix = self.keys.all_unfolded();
        let options = GetOptions::new().with_revision(wire(at)).with_range(Keys::end(&prefix));
        let found = self.link.get(&prefix, &options, self.soon()).await?;
        let Some(kv) = found.kvs().first() else { return Ok(None) };
        let parts = unseal(kv.key(), kv.value()).and_then(|bytes| bytes.try_into().ok()).map(u32::from_be_bytes);
        let (Some(parts), Some(id)) = (parts, self.keys.id_of(kv.key())) else {
            return Err(self.damaged("a commit that is staged").into());
        };
        let rows = Arc::new(self.stage_at(id, parts, at).await?.into_iter().collect());
        Ok(Some(Unfolded { id, revision: read(kv.mod_revision()), rows }))
    }

    /// The rows of a staged commit, in the order in which they were written.
    pub(super) async fn stage_at(&self, id: Id, parts: u32, at: Revision) -> Result<Vec<(Bytes, Body)>, Trouble> {
        let mut rows = Vec::new();
        let names = (0..parts).map(|number| self.keys.stage_part(id, number)).collect();
        self.parts_at(names, at, |part| decode_part(part, &mut rows)).await?;
        Ok(rows)
    }

    /// The value of a row.
    pub(super) async fn value_at(&self, body: &Body, at: Revision) -> Result<Option<Bytes>, Trouble> {
        match body {
            Body::Deleted => Ok(None),
            Body::Value(value) => Ok(Some(value.clone())),
            Body::Split { id, parts, size } => {
                let mut value = Vec::with_capacity(usize::try_from(*size).unwrap_or_default());
                let names = (0..*parts).map(|number| self.keys.blob_part(*id, number)).collect();
                self.parts_at(names, at, |part| {
                    value.extend_from_slice(part);
                    Some(())
                })
                .await?;
                if value.len() as u64 == *size {
                    return Ok(Some(value.into()));
                }
                Err(self.damaged("a long value").into())
            }
        }
    }

    async fn parts_at(
        &self,
        names: Vec<Vec<u8>>,
        at: Revision,
        mut take: impl FnMut(&[u8]) -> Option<()>,
    ) -> Result<(), Trouble> {
        let options = GetOptions::new().with_revision(wire(at));
        for some in names.chunks(PARTS_AT_ONCE) {
            let gets: Vec<TxnOp> = some.iter().map(|key| TxnOp::get(key.clone(), Some(options.clone()))).collect();
            let found = self.link.get_all_of_much(&Txn::new().and_then(gets)).await?;
            for (key, answer) in some.iter().zip(found.op_responses()) {
                let TxnOpResponse::Get(get) = answer else { continue };
                let value = get.kvs().first().and_then(|kv| unseal(key, kv.value()));
                value.and_then(&mut take).ok_or_else(|| self.damaged("a part of a commit or of a value"))?;
            }
        }
        Ok(())
    }

    pub(super) fn row(&self, kv: &KeyValue) -> Result<(Bytes, Row), StoreError> {
        let key = self.keys.record(kv.key());
        let row = Row::decode(kv.key(), kv.value());
        key.zip(row).ok_or_else(|| self.damaged(format!("`{}`", kv.key().escape_ascii())))
    }

    /// Reads all rows at a revision in the order of their keys, deleted ones too, whose values are empty.
    pub(super) async fn rows_at(
        &self,
        at: Revision,
        unfolded: Option<&Unfolded>,
        each: Each<'_>,
    ) -> Result<(), Trouble> {
        let prefix = self.keys.rows();
        let end = Keys::end(&prefix);
        let mut from = prefix;
        let empty = BTreeMap::new();
        let mut staged = unfolded.map_or(&empty, |unfolded| &*unfolded.rows).iter().peekable();
        let revision = unfolded.map_or(0, |unfolded| unfolded.revision);
        loop {
            let options = GetOptions::new().with_revision(wire(at)).with_range(end.clone()).with_limit(PAGE_ROWS);
            let page = self.link.get_much(&from, &options).await?;
            for kv in page.kvs() {
                let (key, row) = self.row(kv)?;
                let kept = read(kv.mod_revision());
                // Those that are staged come where they will be.
                while let Some((name, body)) = staged.next_if(|(name, _)| **name < key) {
                    if !self.give(name, body, (revision, 0), at, each).await? {
                        return Ok(());
                    }
                }
                let wanted = match staged.next_if(|(name, _)| **name == key) {
                    Some((_, body)) => self.give(&key, body, (revision, kept), at, each).await?,
                    None => self.give(&key, &row.body, (row.written.unwrap_or(kept), kept), at, each).await?,
                };
                if !wanted {
                    return Ok(());
                }
            }
            match page.kvs().last() {
                Some(last) if page.more() => from = [last.key(), b"\0"].concat(),
                _ => break,
            }
        }
        for (name, body) in staged {
            if !self.give(name, body, (revision, 0), at, each).await? {
                break;
            }
        }
        Ok(())
    }

    async fn give(
        &self,
        key: &Bytes,
        body: &Body,
        (written, row): (Revision, Revision),
        at: Revision,
        each: Each<'_>,
    ) -> Result<bool, Trouble> {
        let slot = Slot { written, row, live: body.is_live(), size: body.size(), blob: body.blob() };
        let value = self.value_at(body, at).await?;
        Ok(each(key.clone(), slot, value.unwrap_or_default()))
    }

    /// Reads all live records as they are now, a part at a time.
    pub(super) async fn load_each(&self, take: Take) -> Result<Revision, StoreError> {
        let at = self.newest().await?;
        let Beside { mirror, .. } = self.beside(at).await?;
        let mut giving = Giving::new(take);
        self.rows_at(at, mirror.unfolded.as_ref(), &mut |key, slot, value| giving.add(key, &slot, value)).await?;
        giving.finish();
        Ok(mirror.revision)
    }

    /// The revision of etcd now, as all members together know it.
    pub(super) async fn newest(&self) -> Result<Revision, StoreError> {
        let options = GetOptions::new().with_keys_only();
        let got = self.link.get(&self.keys.format(), &options, self.soon()).await.map_err(Fault::error)?;
        Ok(read(got.header().map_or(0, |header| header.revision())))
    }

    /// The revision of etcd at which what stood at a revision of the store can be read.
    fn readable(&self, revision: Revision) -> Result<Revision, StoreError> {
        let mirror = self.mirror();
        if revision < mirror.floor {
            return Err(StoreError::Compacted { asked: Some(revision), oldest: mirror.floor });
        }
        Ok(revision.min(mirror.applied).max(mirror.compacted).max(mirror.format))
    }

    /// Looks at what a read of history failed with: `Ok` where it is to be tried again, since etcd has let go of what lies before
    /// the floor.
    pub(super) async fn lost(&self, asked: Revision, at: Revision, trouble: Trouble) -> Result<(), StoreError> {
        if !matches!(trouble, Trouble::Fault(Fault::Compacted)) {
            return Err(trouble.error());
        }
        self.look_for_floor().await;
        let again = self.readable(asked)?;
        if again > at { Ok(()) } else { Err(StoreError::Compacted { asked: Some(asked), oldest: self.mirror().floor }) }
    }

    /// Reads records as they were at a revision, in the order of `keys`.
    pub(super) async fn records_as_of(
        &self,
        keys: Vec<Bytes>,
        revision: Revision,
    ) -> Result<Vec<Option<Record>>, StoreError> {
        keys.iter().try_for_each(|key| check_key(key))?;
        loop {
            let at = self.readable(revision)?;
            match self.records_at(&keys, at).await {
                Ok(records) => return Ok(records),
                Err(trouble) => self.lost(revision, at, trouble).await?,
            }
        }
    }

    async fn records_at(&self, keys: &[Bytes], at: Revision) -> Result<Vec<Option<Record>>, Trouble> {
        let unfolded = self.unfolded_at(at).await?;
        let options = GetOptions::new().with_revision(wire(at));
        let mut records = Vec::with_capacity(keys.len());
        for some in keys.chunks(AT_ONCE) {
            let get = |key: &Bytes| TxnOp::get(self.keys.row(key), Some(options.clone()));
            let txn = Txn::new().and_then(some.iter().map(get).collect::<Vec<_>>());
            let found = self.link.get_all_of_much(&txn).await?;
            for (key, answer) in some.iter().zip(found.op_responses()) {
                let staged = unfolded.as_ref().and_then(|u| u.rows.get(key).map(|body| (u.revision, body.clone())));
                let (revision, body) = match (staged, answer) {
                    (Some(staged), _) => staged,
                    (None, TxnOpResponse::Get(get)) => match get.kvs().first() {
                        Some(kv) => {
                            let (_, row) = self.row(kv)?;
                            (row.written.unwrap_or_else(|| read(kv.mod_revision())), row.body)
                        }
                        None => (0, Body::Deleted),
                    },
                    _ => return Err(self.damaged("an answer").into()),
                };
                let value = self.value_at(&body, at).await?;
                records.push(value.map(|value| Record { key: key.clone(), value, revision }));
            }
        }
        Ok(records)
    }

    /// Reads the versions of a record before a revision, newest first.
    pub(super) async fn history(&self, key: Bytes, before: Revision, limit: usize) -> Result<Vec<Version>, StoreError> {
        check_key(&key)?;
        let mut versions = Vec::new();
        let mut next = before.saturating_sub(1);
        while versions.len() < limit {
            let (floor, oldest) = {
                let mirror = self.mirror();
                (mirror.floor, mirror.compacted.max(mirror.format))
            };
            let at = next.min(self.mirror().applied);
            // What the floor shows may be read a little after it.
            if at < floor || at == 0 || (floor == 0 && at < oldest) {
                break;
            }
            let found = match self.version_at(&key, at.max(oldest), floor).await {
                Err(Trouble::Fault(Fault::Compacted)) => {
                    self.look_for_floor().await;
                    continue;
                }
                found => found.map_err(Trouble::error)?,
            };
            let Some(version) = found else { break };
            let revision = version.revision;
            // Of what was compacted only what is left shows.
            if revision > floor || version.value.is_some() {
                versions.push(version);
            }
            if revision <= floor {
                break;
            }
            next = revision.saturating_sub(1);
        }
        Ok(versions)
    }

    async fn version_at(&self, key: &Bytes, at: Revision, floor: Revision) -> Result<Option<Version>, Trouble> {
        let unfolded = self.unfolded_at(at).await?;
        let staged = unfolded.and_then(|unfolded| unfolded.rows.get(key).map(|body| (unfolded.revision, body.clone())));
        let (revision, body) = match staged {
            Some(staged) => staged,
            None => {
                let options = GetOptions::new().with_revision(wire(at));
                let got = self.link.get(&self.keys.row(key), &options, self.soon()).await?;
                let Some(kv) = got.kvs().first() else { return Ok(None) };
                let (_, row) = self.row(kv)?;
                (row.written.unwrap_or_else(|| read(kv.mod_revision())), row.body)
            }
        };
        let value = self.value_at(&body, at).await?;
        let origin = if revision > floor {
            self.head_at(revision).await?.map(|(_, head)| (head.time_ms, head.about))
        } else {
            None
        };
        Ok(Some(Version { revision, origin, value }))
    }

    /// The last commit at a revision of etcd, with its own.
    pub(super) async fn head_at(&self, at: Revision) -> Result<Option<(Revision, Head)>, Trouble> {
        let options = GetOptions::new().with_revision(wire(at));
        let got = self.link.get(&self.keys.head(), &options, self.soon()).await?;
        let Some(kv) = got.kvs().first() else { return Ok(None) };
        let head = Head::decode(kv.key(), kv.value()).ok_or_else(|| self.damaged("a commit"))?;
        Ok(Some((read(kv.mod_revision()), head)))
    }

    /// The last commit at or before a revision.
    pub(super) async fn commit_at(&self, revision: Revision) -> Result<Revision, StoreError> {
        loop {
            let at = self.readable(revision)?;
            match self.head_at(at).await {
                Ok(found) => return Ok(found.map_or(0, |(found, _)| found)),
                Err(trouble) => self.lost(revision, at, trouble).await?,
            }
        }
    }

    /// The last revision at or before a time.
    pub(super) async fn revision_at(&self, time_ms: i64) -> Result<Revision, StoreError> {
        loop {
            match self.revision_of(time_ms).await {
                Err(Trouble::Fault(Fault::Compacted)) => self.look_for_floor().await,
                found => return found.map_err(Trouble::error),
            }
        }
    }

    async fn revision_of(&self, time_ms: i64) -> Result<Revision, Trouble> {
        let (floor, floor_time_ms, newest, newest_time_ms, oldest) = {
            let mirror = self.mirror();
            let oldest = mirror.compacted.max(mirror.format);
            (mirror.floor, mirror.floor_time_ms, mirror.revision, mirror.time_ms, oldest)
        };
        if floor > 0 && time_ms < floor_time_ms {
            return Err(StoreError::Compacted { asked: None, oldest: floor }.into());
        }
        if newest == 0 || newest_time_ms <= time_ms {
            return Ok(newest);
        }
        // What stands at `low` is not newer than the time, what stands at `high` is.
        let (mut found, mut low, mut high) = (floor, oldest, newest);
        while high.saturating_sub(low) > 1 {
            let middle = low + (high - low) / 2;
            match self.head_at(middle).await? {
                Some((revision, head)) if head.time_ms > time_ms => high = revision.min(middle),
                Some((revision, _)) => (found, low) = (revision, middle),
                None => low = middle,
            }
        }
        Ok(found)
    }

    /// Writes what is current now as the section of a backup: a store without history.
    pub(super) async fn backup(&self, sink: Sink) -> Result<Revision, StoreError> {
        let at = self.newest().await?;
        let Beside { mirror, .. } = self.beside(at).await?;
        let (revision, time_ms) = (mirror.revision, mirror.time_ms);
        let mut totals = Totals { revision, floor: revision, time_ms, floor_time_ms: time_ms, ..Totals::default() };
        let mut parts = Parts::new(sink);
        let mut wanted = true;
        let mut each = |key: Bytes, slot: Slot, value: Bytes| {
            if slot.live {
                let row_key = rows::version_key(&key, slot.written);
                let row = rows::encode_version(&row_key, Some(&value));
                totals.add(&row_key, &row);
                totals.live += 1;
                wanted = tokio::task::block_in_place(|| parts.row(&row_key, &row));
            }
            wanted
        };
        self.rows_at(at, mirror.unfolded.as_ref(), &mut each).await?;
        let finished = wanted && tokio::task::block_in_place(|| parts.finish(totals));
        if finished { Ok(revision) } else { Err(StoreError::Closed) }
    }
}

/// Gives live records to who takes them, a part at a time.
pub(super) struct Giving {
    take: Take,
    part: Vec<Record>,
    bytes: usize,
    wanted: bool,
}

impl Giving {
    const PART_BYTES: usize = 1 << 20;

    pub(super) fn new(take: Take) -> Giving {
        Giving { take, part: Vec::new(), bytes: 0, wanted: true }
    }

    /// `false`: no more is wanted.
    pub(super) fn add(&mut self, key: Bytes, slot: &Slot, value: Bytes) -> bool {
        if slot.live {
            self.bytes += key.len() + value.len();
            self.part.push(Record { key, value, revision: slot.written });
            if self.bytes >= Self::PART_BYTES {
                self.finish();
            }
        }
        self.wanted
    }

    /// Gives what is left.
    pub(super) fn finish(&mut self) {
        let part = std::mem::take(&mut self.part);
        self.bytes = 0;
        if self.wanted && !part.is_empty() {
            // It may wait.
            self.wanted = tokio::task::block_in_place(|| (self.take)(part));
        }
    }
}

/// What a read can fail with.
#[derive(Debug)]
pub(super) enum Trouble {
    Fault(Fault),
    Store(StoreError),
}

impl Trouble {
    pub(super) fn error(self) -> StoreError {
        match self {
            Self::Fault(fault) => fault.error(),
            Self::Store(error) => error,
        }
    }
}

impl From<Fault> for Trouble {
    fn from(fault: Fault) -> Self {
        Self::Fault(fault)
    }
}

impl From<StoreError> for Trouble {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

impl From<Trouble> for StoreError {
    fn from(trouble: Trouble) -> Self {
        trouble.error()
    }
}
