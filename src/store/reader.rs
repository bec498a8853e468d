//! Reading the rows: contents, history and changes.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard};

use arc_swap::ArcSwapOption;
use bytes::Bytes;

use super::archive;
use super::feed::Feed;
use super::plan::Totals;
use super::rows::{self, Fate, Sieve, VERSION};
use super::sled::Engine;
use super::timings::Timings;
use super::{Commit, Record, Revision, Sink, StoreError, Take, Version, Write, guard};

/// The rows and what is published of them; shared by readers and the writer.
#[derive(Debug)]
pub(super) struct Reader {
    /// `None` while it is being opened anew.
    pub(super) engine: ArcSwapOption<Engine>,
    pub(super) feed: Feed,
    /// Whether damaged rows are skipped instead of failing a `load`.
    pub(super) lenient: bool,
    /// Set to end long reads when the store closes.
    pub(super) closing: AtomicBool,
    /// Held by reads that need all history that is there: none of it is let go of meanwhile.
    pub(super) history: RwLock<()>,
    /// How long it took to make groups of commits durable.
    pub(super) flushes: Timings,
}

impl Reader {
    pub(super) fn new(engine: Engine, feed: Feed, lenient: bool) -> Reader {
        Reader {
            engine: ArcSwapOption::from_pointee(engine),
            feed,
            lenient,
            closing: AtomicBool::new(false),
            history: RwLock::default(),
            flushes: Timings::default(),
        }
    }

    pub(super) fn engine(&self) -> Result<Arc<Engine>, StoreError> {
        self.engine.load_full().ok_or_else(|| StoreError::Unavailable { reason: "it is being opened anew".into() })
    }

    /// Runs a read; a panic of the engine becomes an error.
    pub(super) fn fenced<T>(&self, read: impl FnOnce() -> Result<T, StoreError>) -> Result<T, StoreError> {
        let outcome = guard::quietly(read)
            .unwrap_or_else(|panic| Err(self.damaged(format!("the storage engine cannot read its files ({panic})"))));
        if let Err(error @ StoreError::Damaged { .. }) = &outcome
            && !self.lenient
        {
            tracing::error!(%error, "a read found damage, so the store is read-only now");
            self.feed.fail(format!("no commit is accepted until a restart, since a read found damage: {error}"));
        }
        outcome
    }

    /// Versions never change, so a scan that leaves out those above the head it started from is a consistent snapshot, if
    /// none of what it shows was let go of meanwhile.
    pub(super) fn load_each(&self, take: &mut Take) -> Result<Revision, StoreError> {
        let _hold = self.hold();
        let engine = self.engine()?;
        let head = self.feed.head();
        let mut parts = Parts::new(take);
        for row in engine.rows(vec![VERSION]..vec![VERSION + 1])? {
            self.check_open()?;
            let (row_key, row) = match row {
                Ok(row) => row,
                Err(error) if self.lenient => {
                    tracing::warn!(%error, "a part of the damaged store is left out");
                    break;
                }
                Err(error) => return Err(error),
            };
            let Some((key, revision)) = rows::split_version_key(&row_key) else {
                self.skip_damaged(&row_key)?;
                continue;
            };
            if revision > head.revision {
                continue;
            }
            let record = match rows::decode_version(&row_key, &row) {
                Some(version) => version.value.map(|value| record(key, value, revision)),
                None => {
                    // Not the version before it either: old data is no substitute.
                    self.skip_damaged(&row_key)?;
                    None
                }
            };
            if !parts.add(key, record) {
                return Ok(head.revision);
            }
        }
        let found = parts.finish();
        if !self.lenient && found != head.live {
            let detail = format!("{found} of {} records were found", head.live);
            return Err(self.damaged(detail));
        }
        Ok(head.revision)
    }

    pub(super) fn changes_since(&self, after: Revision, limit: usize) -> Result<Vec<Arc<Commit>>, StoreError> {
        let read = self.commits(after, self.feed.head().revision, limit);
        self.check_kept(after)?;
        read
    }

    /// The commits after a revision, up to another one, which need not be published yet.
    pub(super) fn commits(
        &self,
        after: Revision,
        up_to: Revision,
        limit: usize,
    ) -> Result<Vec<Arc<Commit>>, StoreError> {
        let engine = self.engine()?;
        if after >= up_to {
            return Ok(Vec::new());
        }
        let mut commits = Vec::new();
        for row in engine.rows(rows::log_key(after + 1)..=rows::log_key(up_to))?.take(limit) {
            self.check_open()?;
            let (row_key, row) = row?;
            let entry = rows::decode_log(&row_key, &row).ok_or_else(|| self.damaged_row(&row_key))?;
            let rows::LogEntry { revision, time_ms, about, changes, .. } = entry;
            let mut writes = Vec::with_capacity(changes.len());
            for (key, is_put) in changes {
                let value = if is_put { Some(self.value(&engine, &key, revision)?) } else { None };
                writes.push(Write { key, value });
            }
            commits.push(Arc::new(Commit { revision, time_ms, about, writes, gap: None }));
        }
        Ok(commits)
    }

    fn value(&self, engine: &Engine, key: &[u8], revision: Revision) -> Result<Bytes, StoreError> {
        let row_key = rows::version_key(key, revision);
        let row = engine.get(&row_key)?;
        row.as_ref()
            .and_then(|row| rows::decode_version(&row_key, row)?.value)
            .map(Bytes::copy_from_slice)
            .ok_or_else(|| self.damaged_row(&row_key))
    }

    pub(super) fn record_as_of(&self, key: &[u8], revision: Revision) -> Result<Option<Record>, StoreError> {
        let engine = self.engine()?;
        let up_to = revision.min(self.feed.head().revision);
        let found = self.newest(&engine, key, up_to, |revision, value| value.map(|value| record(key, value, revision)));
        self.check_kept(revision)?;
        found.map(Option::flatten)
    }

    /// Looks at the newest version of a key up to a revision.
    pub(super) fn newest<T>(
        &self,
        engine: &Engine,
        key: &[u8],
        up_to: Revision,
        look: impl FnOnce(Revision, Option<&[u8]>) -> T,
    ) -> Result<Option<T>, StoreError> {
        let range = rows::version_key(key, 0)..=rows::version_key(key, up_to);
        let Some(row) = engine.rows(range)?.next_back() else {
            return Ok(None);
        };
        let (row_key, row) = row?;
        match rows::decode_version(&row_key, &row) {
            Some(version) => Ok(Some(look(version.revision, version.value))),
            None => Err(self.damaged_row(&row_key)),
        }
    }

    pub(super) fn history(&self, key: &[u8], before: Revision, limit: usize) -> Result<Vec<Version>, StoreError> {
        let _hold = self.hold();
        let engine = self.engine()?;
        let head = self.feed.head();
        let end = before.min(head.revision.saturating_add(1));
        let range = rows::version_key(key, 0)..rows::version_key(key, end);
        let mut versions = Vec::new();
        for row in engine.rows(range)?.rev() {
            self.check_open()?;
            if versions.len() >= limit {
                break;
            }
            let (row_key, row) = row?;
            let version = rows::decode_version(&row_key, &row).ok_or_else(|| self.damaged_row(&row_key))?;
            let below = version.revision <= head.floor;
            if below && version.value.is_none() {
                break;
            }
            let origin = match engine.get(&rows::log_key(version.revision))? {
                Some(row) if !below => {
                    let row_key = rows::log_key(version.revision);
                    let entry = rows::decode_log(&row_key, &row).ok_or_else(|| self.damaged_row(&row_key))?;
                    Some((entry.time_ms, entry.about))
                }
                _ => None,
            };
            let value = version.value.map(Bytes::copy_from_slice);
            versions.push(Version { revision: version.revision, origin, value });
            // Those before it are no longer kept, whether they are gone already or not.
            if below {
                break;
            }
        }
        Ok(versions)
    }

    /// Halves the log until the last commit up to a time is found.
    pub(super) fn revision_at(&self, time_ms: i64) -> Result<Revision, StoreError> {
        let _hold = self.hold();
        let engine = self.engine()?;
        let head = self.feed.head();
        let (mut low, mut high) = (head.floor, head.revision);
        if low > 0 && time_ms < head.floor_time_ms {
            return Err(StoreError::Compacted { asked: None, oldest: low });
        }
        // INVARIANT: `low` was committed by then, and nothing above `high` was.
        while low < high {
            let middle = low + (high - low).div_ceil(2);
            // Revisions may have gaps: the first one from the middle on.
            let Some(row) = engine.rows(rows::log_key(middle)..=rows::log_key(high))?.next() else {
                high = middle - 1;
                continue;
            };
            let (row_key, row) = row?;
            let entry = rows::decode_log(&row_key, &row).ok_or_else(|| self.damaged_row(&row_key))?;
            if entry.time_ms <= time_ms {
                low = entry.revision;
            } else {
                high = middle - 1;
            }
        }
        Ok(low)
    }

    /// Gives out all rows that count at this moment.
    pub(super) fn backup(&self, sink: Sink) -> Result<Revision, StoreError> {
        let _hold = self.hold();
        let engine = self.engine()?;
        let head = self.feed.head();
        let mut found = Totals {
            revision: head.revision,
            floor: head.floor,
            floor_time_ms: head.floor_time_ms,
            live: head.live,
            ..Totals::default()
        };
        found.time_ms = found.floor_time_ms;
        let (mut parts, mut sieve) = (archive::Parts::new(sink), Sieve::new(head.floor));
        let (mut wanted, mut damaged) = (true, None);
        let mut tell = |fate: Fate, row_key: &[u8], row: &[u8]| {
            if fate == Fate::Spent || !wanted {
                return;
            }
            if !rows::is_sound(row_key, row) {
                damaged.get_or_insert_with(|| row_key.to_vec());
            }
            if let Some(entry) = rows::decode_log(row_key, row) {
                found.time_ms = entry.time_ms;
            }
            found.add(row_key, row);
            wanted = parts.row(row_key, row);
        };
        for row in engine.rows(Vec::new()..)? {
            self.check_open()?;
            let (row_key, row) = row?;
            let revision = rows::split_log_key(&row_key).or_else(|| Some(rows::split_version_key(&row_key)?.1));
            if revision.is_none_or(|revision| revision <= head.revision) {
                sieve.row(row_key, row, |fate, row_key, row| tell(fate, &row_key, &row));
            }
        }
        sieve.finish(|fate, row_key, row| tell(fate, &row_key, &row));
        match damaged {
            Some(row_key) => Err(self.damaged_row(&row_key)),
            None if !wanted || !parts.finish(found) => Err(StoreError::Closed),
            None => Ok(head.revision),
        }
    }

    /// INVARIANT: the floor is published before anything below it is removed, so this is asked after reading.
    fn check_kept(&self, revision: Revision) -> Result<(), StoreError> {
        let oldest = self.feed.head().floor;
        if revision >= oldest { Ok(()) } else { Err(StoreError::Compacted { asked: Some(revision), oldest }) }
    }

    fn hold(&self) -> RwLockReadGuard<'_, ()> {
        self.history.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn check_open(&self) -> Result<(), StoreError> {
        if self.closing.load(Ordering::Relaxed) { Err(StoreError::Closed) } else { Ok(()) }
    }

    fn skip_damaged(&self, row_key: &[u8]) -> Result<(), StoreError> {
        if self.lenient { Ok(()) } else { Err(self.damaged_row(row_key)) }
    }

    fn damaged_row(&self, row_key: &[u8]) -> StoreError {
        self.damaged(format!("{} is missing or changed", rows::shown(row_key)))
    }

    fn damaged(&self, detail: String) -> StoreError {
        match self.engine.load_full() {
            Some(engine) => engine.damaged(detail),
            None => StoreError::Unavailable { reason: detail },
        }
    }
}

/// Versions, in order of key and revision, turned into live records and given out in parts.
pub(super) struct Parts<'a> {
    take: &'a mut Take,
    part: Vec<Record>,
    /// The key that is being read, and its newest version so far.
    key: Vec<u8>,
    newest: Option<Record>,
    count: u64,
}

impl<'a> Parts<'a> {
    /// Records in a part.
    const SIZE: usize = 1_000;

    pub(super) fn new(take: &'a mut Take) -> Self {
        Self { take, part: Vec::with_capacity(Self::SIZE), key: Vec::new(), newest: None, count: 0 }
    }

    /// Takes the next version of a key, `None` for a deletion; `false`: no more is wanted.
    pub(super) fn add(&mut self, key: &[u8], record: Option<Record>) -> bool {
        if self.key == key {
            self.newest = record;
            return true;
        }
        self.key.clear();
        self.key.extend_from_slice(key);
        self.part.extend(std::mem::replace(&mut self.newest, record));
        self.part.len() < Self::SIZE || self.give()
    }

    fn give(&mut self) -> bool {
        self.count += self.part.len() as u64;
        (self.take)(std::mem::replace(&mut self.part, Vec::with_capacity(Self::SIZE)))
    }

    /// Gives out the rest; the number of records in all.
    pub(super) fn finish(mut self) -> u64 {
        self.part.extend(self.newest.take());
        if !self.part.is_empty() {
            self.give();
        }
        self.count
    }
}

pub(super) fn record(key: &[u8], value: &[u8], revision: Revision) -> Record {
    Record { key: Bytes::copy_from_slice(key), value: Bytes::copy_from_slice(value), revision }
}
