//! Planning one commit group: which batches hold, which rows they become.

use std::collections::HashMap;
use std::sync::Arc;

use bytes::Bytes;

use super::feed::Head;
use super::rows::{self, Digest, LogEntry};
use super::{Batch, Commit, Expect, Revision, Serial, StoreError};

/// The last change of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Last {
    pub(super) revision: Revision,
    /// Whether that change left a value.
    pub(super) live: bool,
}

/// What all rows that count amount to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Totals {
    pub(super) revision: Revision,
    /// The oldest revision that can still be read.
    pub(super) floor: Revision,
    /// When `revision` was committed, in milliseconds since 1970.
    pub(super) time_ms: i64,
    /// When `floor` was committed.
    pub(super) floor_time_ms: i64,
    pub(super) live: u64,
    /// Size of the rows with their keys.
    pub(super) bytes: u64,
    pub(super) digest: Digest,
}

impl Totals {
    pub(super) fn head(self) -> Head {
        let Totals { revision, time_ms, floor, floor_time_ms, live, bytes, .. } = self;
        Head { revision, time_ms, floor, floor_time_ms, live, bytes }
    }

    /// Counts a row in.
    pub(super) fn add(&mut self, row_key: &[u8], row: &[u8]) {
        self.bytes = self.bytes.wrapping_add(size(row_key, row));
        self.digest.add(row_key, row);
    }

    /// Counts a row out.
    pub(super) fn remove(&mut self, row_key: &[u8], row: &[u8]) {
        self.bytes = self.bytes.wrapping_sub(size(row_key, row));
        self.digest.remove(row_key, row);
    }

    /// Whether the rows are the same; times are beside the point.
    pub(super) fn agrees(&self, other: &Totals) -> bool {
        let rows = |totals: &Totals| (totals.revision, totals.floor, totals.live, totals.bytes, totals.digest);
        rows(self) == rows(other)
    }
}

fn size(row_key: &[u8], row: &[u8]) -> u64 {
    (row_key.len() + row.len()) as u64
}

/// The last commit of each kind of which one is made of all before it. Kept since the store was opened: what was seen before
/// that was seen by nobody who still writes.
#[derive(Clone, Debug, Default)]
pub(super) struct Serials(HashMap<&'static str, Revision>);

impl Serials {
    /// Refuses a batch that others of its kind have overtaken.
    pub(super) fn check(&self, serial: Option<Serial>) -> Result<(), StoreError> {
        let Some(Serial { name, seen }) = serial else { return Ok(()) };
        match self.0.get(name) {
            Some(last) if *last > seen => {
                Err(StoreError::Conflict { key: name.into(), expected: Some(seen), found: Some(*last) })
            }
            _ => Ok(()),
        }
    }

    /// Whatever was committed up to a revision may have been of any kind.
    pub(super) fn raise(&mut self, revision: Revision) {
        self.0.values_mut().for_each(|last| *last = revision);
    }

    pub(super) fn note(&mut self, serial: Option<Serial>, revision: Revision) {
        if let Some(serial) = serial {
            self.0.insert(serial.name, revision);
        }
    }
}

/// The rows and commits of one group, before any of it is written.
#[derive(Debug)]
pub(super) struct Plan {
    /// What the rows will amount to.
    pub(super) totals: Totals,
    /// Rows to add: key and row.
    pub(super) rows: Vec<(Vec<u8>, Vec<u8>)>,
    /// The commits, in revision order.
    pub(super) commits: Vec<Arc<Commit>>,
    group_first: Revision,
    changed: HashMap<Bytes, Last>,
}

impl Plan {
    /// A plan on top of what is stored.
    pub(super) fn new(totals: Totals) -> Plan {
        Plan {
            totals,
            rows: Vec::new(),
            commits: Vec::new(),
            group_first: totals.revision + 1,
            changed: HashMap::new(),
        }
    }

    /// Adds a batch, which sees the batches added before it; `stored` looks up
    /// the last change of a key in the store. On an error the plan is as before.
    pub(super) fn add(
        &mut self,
        batch: Batch,
        stored: &mut impl FnMut(&[u8]) -> Result<Option<Last>, StoreError>,
    ) -> Result<Revision, StoreError> {
        let mut last = |key: &[u8]| match self.changed.get(key) {
            Some(last) => Ok(Some(*last)),
            None => stored(key),
        };
        for expect in &batch.expect {
            check_expectation(expect, last(&expect.key)?)?;
        }
        if batch.writes.is_empty() {
            return Ok(self.totals.revision);
        }
        let mut live = self.totals.live;
        for write in &batch.writes {
            let was_live = last(&write.key)?.is_some_and(|last| last.live);
            // A live key was counted, so this never wraps in a sound store.
            live = live.saturating_sub(u64::from(was_live)) + u64::from(write.value.is_some());
        }
        self.append(batch, live);
        Ok(self.totals.revision)
    }

    fn append(&mut self, batch: Batch, live: u64) {
        let revision = self.totals.revision + 1;
        // A clock that was set back must not make a later commit older.
        let time_ms = batch.time_ms.max(self.totals.time_ms);
        let mut totals = Totals { revision, time_ms, live, ..self.totals };
        let mut changes = Vec::with_capacity(batch.writes.len());
        for write in &batch.writes {
            let row_key = rows::version_key(&write.key, revision);
            let row = rows::encode_version(&row_key, write.value.as_deref());
            totals.add(&row_key, &row);
            self.rows.push((row_key, row));
            let is_put = write.value.is_some();
            changes.push((write.key.clone(), is_put));
            self.changed.insert(write.key.clone(), Last { revision, live: is_put });
        }
        let Totals { bytes, digest, .. } = totals;
        let about = batch.about.clone();
        let entry = LogEntry { revision, group_first: self.group_first, time_ms, live, bytes, digest, about, changes };
        // INVARIANT: the log row comes last, and vouches for what came before it.
        let row_key = rows::log_key(revision);
        let row = rows::encode_log(&row_key, &entry);
        totals.add(&row_key, &row);
        self.rows.push((row_key, row));
        let Batch { about, writes, .. } = batch;
        self.commits.push(Arc::new(Commit { revision, time_ms, about, writes, gap: None }));
        self.totals = totals;
    }
}

/// Checks one expectation against the last change of its key.
pub(super) fn check_expectation(expect: &Expect, last: Option<Last>) -> Result<(), StoreError> {
    let found = last.filter(|last| last.live).map(|last| last.revision);
    if found == expect.revision {
        return Ok(());
    }
    Err(StoreError::Conflict { key: expect.key.clone(), expected: expect.revision, found })
}

#[cfg(test)]
mod tests {
    use super::super::Write;
    use super::*;

    #[test]
    fn a_batch_sees_the_batches_before_it_in_its_group() {
        let put = |key: &'static str| Write { key: key.into(), value: Some("v".into()) };
        let delete = |key: &'static str| Write { key: key.into(), value: None };
        let batch = |key: &'static str, revision, write| Batch {
            expect: vec![Expect { key: key.into(), revision }],
            ..Batch::of([write])
        };
        let mut stored = |key: &[u8]| Ok((key == b"old").then_some(Last { revision: 5, live: true }));
        let mut plan = Plan::new(Totals { revision: 7, live: 1, ..Totals::default() });
        for (batch, expected) in [
            (batch("new", None, put("new")), Some(8)),
            (batch("new", None, put("new")), None),
            (batch("new", Some(8), delete("old")), Some(9)),
            (batch("old", Some(5), put("old")), None),
            (batch("old", None, delete("new")), Some(10)),
        ] {
            assert_eq!(plan.add(batch, &mut stored).ok(), expected);
        }
        assert_eq!((plan.totals.revision, plan.totals.live), (10, 0));
        // Each commit is two rows here; all of them name the group's first revision.
        assert_eq!((plan.commits.len(), plan.rows.len()), (3, 6));
        for (row_key, row) in plan.rows.iter().filter(|(key, _)| key[0] == rows::LOG) {
            assert_eq!(rows::decode_log(row_key, row).unwrap().group_first, 8);
        }
    }
}
