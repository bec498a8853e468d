//! What a replica knows of the rows: their revisions, not their values.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;

use bytes::Bytes;
use etcd_client::{Compare, CompareOp};

use super::layout::{Body, Head, Id, Keys};
use crate::store::feed::Head as Published;
use crate::store::plan::{Last, check_expectation};
use crate::store::{Batch, Commit, Revision, Serial, StoreError};

/// Most expectations that are conditions of a transaction one by one.
pub(super) const EXPECT_MAX: usize = 100;

/// The current version of a record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Slot {
    /// The commit that wrote it.
    pub(super) written: Revision,
    /// The revision of its row, which etcd compares; 0: it has none yet.
    pub(super) row: Revision,
    pub(super) live: bool,
    pub(super) size: u64,
    pub(super) blob: Option<Id>,
}

/// A staged commit whose rows are not yet where the others are.
#[derive(Clone, Debug)]
pub(super) struct Unfolded {
    pub(super) id: Id,
    pub(super) revision: Revision,
    pub(super) rows: Arc<BTreeMap<Bytes, Body>>,
}

/// The mirror of what is watched.
#[derive(Debug, Default)]
pub(super) struct Mirror {
    pub(super) slots: HashMap<Bytes, Slot>,
    /// How far the watch has come.
    pub(super) applied: Revision,
    /// The last commit.
    pub(super) revision: Revision,
    pub(super) time_ms: i64,
    /// The revisions of the marks.
    pub(super) staged: Revision,
    pub(super) fold: Revision,
    /// How often they were written: one more each time, unless a change was missed.
    pub(super) head_version: i64,
    pub(super) fold_version: i64,
    /// The revision of the layout's own key.
    pub(super) format: Revision,
    pub(super) serials: HashMap<Bytes, Revision>,
    pub(super) unfolded: Option<Unfolded>,
    /// etcd keeps no history before it.
    pub(super) compacted: Revision,
    /// The last commit that is not after it.
    pub(super) floor: Revision,
    pub(super) floor_time_ms: i64,
    pub(super) live: u64,
    pub(super) bytes: u64,
    /// The last commits: all after `recent_after`.
    pub(super) recent: VecDeque<Arc<Commit>>,
    pub(super) recent_after: Revision,
    pub(super) recent_bytes: usize,
}

/// What can be done with a batch.
pub(super) enum Next {
    /// It may be tried under these conditions, and this is its time.
    Try { conditions: Vec<Compare>, time_ms: i64 },
    /// First the rows of a staged commit are put in their places.
    Fold,
    /// It does not hold, as far as is known here.
    Refuse(StoreError),
}

impl Mirror {
    /// In a few numbers.
    pub(super) fn head(&self) -> Published {
        Published {
            revision: self.revision,
            time_ms: self.time_ms,
            floor: self.floor,
            floor_time_ms: self.floor_time_ms,
            live: self.live,
            bytes: self.bytes,
        }
    }

    /// Notes the version of a record that a commit wrote. A row that is 0 is where it was.
    pub(super) fn note(&mut self, key: &Bytes, body: &Body, written: Revision, row: Revision, keeps_deleted: bool) {
        let before = self.slots.get(key);
        if let Some(before) = before.filter(|before| before.live) {
            self.live = self.live.saturating_sub(1);
            self.bytes = self.bytes.saturating_sub(key.len() as u64 + before.size);
        }
        let row = if row > 0 { row } else { before.map_or(0, |before| before.row) };
        if !body.is_live() && !keeps_deleted {
            self.slots.remove(key);
            return;
        }
        if body.is_live() {
            self.live += 1;
            self.bytes += key.len() as u64 + body.size();
        }
        let slot = Slot { written, row, live: body.is_live(), size: body.size(), blob: body.blob() };
        match self.slots.get_mut(key) {
            Some(known) => *known = slot,
            // Not the bytes it came with: they are a part of something larger.
            None => drop(self.slots.insert(Bytes::copy_from_slice(key), slot)),
        }
    }

    /// Keeps a commit at hand.
    pub(super) fn remember(&mut self, commit: Arc<Commit>, commits_max: usize, bytes_max: usize) {
        self.recent_bytes += size(&commit);
        self.recent.push_back(commit);
        while self.recent.len() > commits_max || self.recent_bytes > bytes_max {
            let Some(oldest) = self.recent.pop_front() else { break };
            self.recent_bytes -= size(&oldest);
            self.recent_after = oldest.revision;
        }
    }

    /// Lets go of the commits at hand: what comes next comes after a revision that is not the last of them.
    pub(super) fn forget(&mut self, after: Revision) {
        self.recent.clear();
        self.recent_bytes = 0;
        self.recent_after = after;
    }

    fn last(&self, key: &[u8]) -> Option<Last> {
        self.slots.get(key).map(|slot| Last { revision: slot.written, live: slot.live })
    }

    /// Holds a batch against what is known.
    pub(super) fn next(&self, batch: &Batch, keys: &Keys, is_staged: bool) -> Next {
        if let Some(Serial { name, seen }) = batch.serial
            && let Some(last) = self.serials.get(name.as_bytes()).filter(|last| **last > seen)
        {
            let (expected, found) = (Some(seen), Some(*last));
            return Next::Refuse(StoreError::Conflict { key: name.into(), expected, found });
        }
        for expect in &batch.expect {
            if let Err(error) = check_expectation(expect, self.last(&expect.key)) {
                return Next::Refuse(error);
            }
        }
        if let Some(unfolded) = &self.unfolded {
            let mut concerned = batch.writes.iter().map(|w| &w.key).chain(batch.expect.iter().map(|e| &e.key));
            if is_staged || concerned.any(|key| unfolded.rows.contains_key(key)) {
                return Next::Fold;
            }
        }
        let same = |key: Vec<u8>, revision: Revision| Compare::mod_revision(key, CompareOp::Equal, wire(revision));
        // Nobody has emptied the store or begun it anew, or staged a commit that may change the same.
        let mut conditions = vec![same(keys.format(), self.format), same(keys.staged(), self.staged)];
        if batch.expect.len() <= EXPECT_MAX {
            let row = |key: &Bytes| same(keys.row(key), self.slots.get(key).map_or(0, |slot| slot.row));
            conditions.extend(batch.expect.iter().map(|expect| row(&expect.key)));
        } else {
            // Too many to be told: nothing at all has changed.
            conditions.push(same(keys.fold(), self.fold));
            conditions.push(same(keys.head(), self.revision));
        }
        if let Some(Serial { name, seen }) = batch.serial {
            conditions.push(Compare::mod_revision(keys.serial(name), CompareOp::Less, wire(seen.saturating_add(1))));
        }
        // No commit is older than one before it, whatever the clocks of replicas say.
        let time_ms = batch.time_ms.max(self.time_ms).max(0);
        if self.revision == 0 {
            conditions.push(same(keys.head(), 0));
        } else {
            conditions.push(Compare::value(keys.head(), CompareOp::Less, Head::time(time_ms.saturating_add(1))));
        }
        Next::Try { conditions, time_ms }
    }
}

fn size(commit: &Commit) -> usize {
    let values = commit.writes.iter().map(|write| write.key.len() + write.value.as_ref().map_or(0, Bytes::len) + 64);
    values.sum::<usize>() + commit.about.len()
}

/// A revision as etcd counts them.
pub(super) fn wire(revision: Revision) -> i64 {
    i64::try_from(revision).unwrap_or(i64::MAX)
}

/// A revision of etcd.
pub(super) fn read(revision: i64) -> Revision {
    Revision::try_from(revision).unwrap_or_default()
}
