//! Reading the rows: contents, history and changes.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;

use super::feed::Feed;
use super::rows::{self, VERSION};
use super::sled::Engine;
use super::{Commit, Record, Revision, StoreError, Take, Write, guard};

/// The rows and what is published of them; shared by readers and the writer.
#[derive(Debug)]
pub(super) struct Reader {
    pub(super) engine: Engine,
    pub(super) feed: Feed,
    /// Whether damaged rows are skipped instead of failing a `load`.
    pub(super) lenient: bool,
    /// Set to end long reads when the store closes.
    pub(super) closing: AtomicBool,
}

impl Reader {
    /// Runs a read; a panic of the engine becomes an error.
    pub(super) fn fenced<T>(&self, read: impl FnOnce() -> Result<T, StoreError>) -> Result<T, StoreError> {
        guard::quietly(read)
            .unwrap_or_else(|panic| Err(self.damaged(format!("the storage engine cannot read its files ({panic})"))))
    }

    /// Versions are never changed or removed, so a scan that leaves out those
    /// above the head it started from is a consistent snapshot.
    pub(super) fn load_each(&self, take: &mut Take) -> Result<Revision, StoreError> {
        let head = self.feed.head();
        let mut parts = Parts::new(take);
        for row in self.engine.rows(vec![VERSION]..vec![VERSION + 1])? {
            if self.closing.load(Ordering::Relaxed) {
                return Err(StoreError::Closed);
            }
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
        let head = self.feed.head().revision;
        if after >= head {
            return Ok(Vec::new());
        }
        let mut commits = Vec::new();
        let range = rows::log_key(after + 1)..=rows::log_key(head);
        for row in self.engine.rows(range)?.take(limit) {
            if self.closing.load(Ordering::Relaxed) {
                return Err(StoreError::Closed);
            }
            let (row_key, row) = row?;
            let entry = rows::decode_log(&row_key, &row).ok_or_else(|| self.damaged_row(&row_key))?;
            let mut writes = Vec::with_capacity(entry.changes.len());
            for (key, is_put) in entry.changes {
                let value = if is_put { Some(self.value(&key, entry.revision)?) } else { None };
                writes.push(Write { key, value });
            }
            commits.push(Arc::new(Commit { revision: entry.revision, writes }));
        }
        Ok(commits)
    }

    fn value(&self, key: &[u8], revision: Revision) -> Result<Bytes, StoreError> {
        let row_key = rows::version_key(key, revision);
        let row = self.engine.get(&row_key)?;
        row.as_ref()
            .and_then(|row| rows::decode_version(&row_key, row)?.value)
            .map(Bytes::copy_from_slice)
            .ok_or_else(|| self.damaged_row(&row_key))
    }

    pub(super) fn record_as_of(&self, key: &[u8], revision: Revision) -> Result<Option<Record>, StoreError> {
        let revision = revision.min(self.feed.head().revision);
        self.newest(key, revision, |revision, value| value.map(|value| record(key, value, revision)))
            .map(Option::flatten)
    }

    /// Looks at the newest version of a key up to a revision.
    pub(super) fn newest<T>(
        &self,
        key: &[u8],
        up_to: Revision,
        look: impl FnOnce(Revision, Option<&[u8]>) -> T,
    ) -> Result<Option<T>, StoreError> {
        let range = rows::version_key(key, 0)..=rows::version_key(key, up_to);
        let Some(row) = self.engine.rows(range)?.next_back() else {
            return Ok(None);
        };
        let (row_key, row) = row?;
        match rows::decode_version(&row_key, &row) {
            Some(version) => Ok(Some(look(version.revision, version.value))),
            None => Err(self.damaged_row(&row_key)),
        }
    }

    fn skip_damaged(&self, row_key: &[u8]) -> Result<(), StoreError> {
        if self.lenient { Ok(()) } else { Err(self.damaged_row(row_key)) }
    }

    fn damaged_row(&self, row_key: &[u8]) -> StoreError {
        self.damaged(format!("the row `{}` is missing or changed", row_key.escape_ascii()))
    }

    fn damaged(&self, detail: String) -> StoreError {
        self.engine.damaged(detail)
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
