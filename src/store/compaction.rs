//! Letting go of history, a slice at a time, while the store is in use.
//!
//! The floor is raised in the witness first: from then on the rows that only history before it needed do not count, whether
//! they are still there or not. Then they are removed. So a crash at any moment leaves nothing that is wrong.

use super::plan::Totals;
use super::rows;
use super::sled::Engine;
use super::{Revision, StoreError};

/// Commits that are let go of at once, while others wait to be committed.
const COMMITS_MAX: u64 = 256;
/// Rows that are removed at once, as far as whole commits allow.
const ROWS_MAX: usize = 4_096;

/// What raising the floor means.
pub(super) struct Slice {
    pub(super) totals: Totals,
    /// Rows to remove, those of a key from old to new.
    pub(super) spent: Vec<Vec<u8>>,
}

/// The next slice on the way to a floor. With each commit go its entry in the log, the versions that it superseded, and its
/// deletions.
pub(super) fn slice(engine: &Engine, totals: Totals, target: Revision) -> Result<Slice, StoreError> {
    let mut next = Slice { totals, spent: Vec::new() };
    let end = target.min(totals.revision).min(totals.floor.saturating_add(COMMITS_MAX));
    for row in engine.rows(rows::log_key(totals.floor + 1)..=rows::log_key(end))? {
        let (row_key, row) = row?;
        let damaged = || engine.damaged(format!("{} is missing or changed", rows::shown(&row_key)));
        let entry = rows::decode_log(&row_key, &row).ok_or_else(damaged)?;
        next.let_go(&row_key, &row);
        for (key, is_put) in &entry.changes {
            let version = rows::version_key(key, entry.revision);
            if let Some(superseded) = engine.rows(rows::version_key(key, 0)..version.clone())?.next_back() {
                let (row_key, row) = superseded?;
                let superseded = rows::decode_version(&row_key, &row).ok_or_else(damaged)?;
                // A deletion went with its own commit.
                if superseded.value.is_some() {
                    next.let_go(&row_key, &row);
                }
            }
            if !is_put {
                let row = engine.get(&version)?.ok_or_else(damaged)?;
                next.let_go(&version, &row);
            }
        }
        (next.totals.floor, next.totals.floor_time_ms) = (entry.revision, entry.time_ms);
        if next.spent.len() >= ROWS_MAX {
            return Ok(next);
        }
    }
    // Behind the last commit of the slice there may be a gap.
    next.totals.floor = next.totals.floor.max(end);
    Ok(next)
}

impl Slice {
    fn let_go(&mut self, row_key: &[u8], row: &[u8]) {
        self.totals.remove(row_key, row);
        self.spent.push(row_key.to_vec());
    }
}
