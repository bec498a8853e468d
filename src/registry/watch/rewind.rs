//! The snapshot of an older revision: the current one, with every record that changed since put back to what it was.

use std::collections::BTreeSet;
use std::sync::Arc;

use bytes::Bytes;

use crate::catalog::{Pending, Snapshot};
use crate::convert::RecordError;
use crate::registry::{Registry, RegistryError, records};
use crate::store::{Record, Revision};

/// Commits that are read at once.
const COMMITS: usize = 16;
/// Records that are read at once.
const RECORDS: usize = 1_000;

impl Registry {
    /// The records and indexes as they were at a revision. The revision that it says of itself is a later one.
    pub(super) async fn rewound(&self, revision: Revision) -> Result<Arc<Snapshot>, RegistryError> {
        let current = self.snapshot();
        let mut keys = BTreeSet::new();
        let mut read = revision;
        while read < current.revision() {
            let commits = self.store.changes_since(read, COMMITS).await?;
            let Some(last) = commits.last() else { break };
            read = last.revision;
            let until_now = commits.iter().filter(|commit| commit.revision <= current.revision());
            keys.extend(until_now.flat_map(|commit| commit.writes.iter().map(|write| write.key.clone())));
        }
        if keys.is_empty() {
            return Ok(current);
        }
        let keys: Vec<Bytes> = keys.into_iter().collect();
        let mut rewinding = (Snapshot::clone(&current), Pending::default());
        for some in keys.chunks(RECORDS) {
            let some = some.to_vec();
            let were = self.store.records_as_of(some.clone(), revision).await?;
            rewinding = self.aside(move || put_back(rewinding, some, were)).await??;
        }
        self.aside(move || {
            let (mut snapshot, pending) = rewinding;
            snapshot.settle(revision, pending);
            Ok(Arc::new(snapshot))
        })
        .await?
    }
}

fn put_back(
    (mut snapshot, mut pending): (Snapshot, Pending),
    keys: Vec<Bytes>,
    were: Vec<Option<Record>>,
) -> Result<(Snapshot, Pending), RecordError> {
    for (key, was) in keys.into_iter().zip(were) {
        let (revision, value) = was.map_or((0, None), |was| (was.revision, Some(was.value)));
        if let Some(change) = records::change(&key, value, snapshot.pool())? {
            snapshot.put(revision, change, &mut pending);
        }
    }
    Ok((snapshot, pending))
}
