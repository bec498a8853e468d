//! Reading the rows: contents, history and changes.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;

use super::feed::Feed;
use super::rows::{self, VERSION};
use super::sled::Engine;
use super::{Commit, Contents, Record, Revision, StoreError, Write, guard};

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
    pub(super) fn load(&self) -> Result<Contents, StoreError> {
        let head = self.feed.head();
        let mut newest: Option<(Bytes, Option<Record>)> = None;
        let mut records = Vec::new();
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
            match &mut newest {
                Some((last, newest)) if last == key => *newest = record,
                _ => {
                    let next = (Bytes::copy_from_slice(key), record);
                    records.extend(newest.replace(next).and_then(|(_, record)| record));
                }
            }
        }
        records.extend(newest.and_then(|(_, record)| record));
        if !self.lenient && records.len() as u64 != head.live {
            let detail = format!("{} of {} records were found", records.len(), head.live);
            return Err(self.damaged(detail));
        }
        Ok(Contents { revision: head.revision, records })
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

fn record(key: &[u8], value: &[u8], revision: Revision) -> Record {
    Record { key: Bytes::copy_from_slice(key), value: Bytes::copy_from_slice(value), revision }
}
