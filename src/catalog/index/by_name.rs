//! Models by name: a hash table that shares what did not change with older ones.
//!
//! Its segments are small tables. A change copies one of them, and reading costs two steps whatever the number of models.

use std::hash::BuildHasher as _;
use std::sync::Arc;

use hashbrown::HashTable;

use crate::catalog::snapshot::Entry;
use crate::domain::model::Model;

/// Segments: at a million models each holds some hundreds.
const SEGMENTS: usize = 3_000;

/// A model and its row.
pub(super) type Placed = (Arc<Entry<Model>>, u32);

/// Models by name.
#[derive(Clone)]
pub(super) struct ByName {
    hasher: foldhash::fast::RandomState,
    segments: imbl::Vector<Arc<HashTable<Placed>>>,
}

impl Default for ByName {
    fn default() -> Self {
        let empty = Arc::new(HashTable::new());
        Self {
            hasher: foldhash::fast::RandomState::default(),
            segments: std::iter::repeat_n(empty, SEGMENTS).collect(),
        }
    }
}

impl ByName {
    /// A model by its full name.
    pub(super) fn get(&self, name: &str) -> Option<&Placed> {
        let hash = self.hasher.hash_one(name);
        self.segments.get(segment(hash))?.find(hash, |(entry, _)| entry.record.name.as_str() == name)
    }

    /// Puts a model in the place of the one of its name.
    pub(super) fn put(&mut self, entry: Arc<Entry<Model>>, row: u32) {
        let hash = self.hasher.hash_one(entry.record.name.as_str());
        let Some(segment) = self.segments.get_mut(segment(hash)) else { return };
        let segment = Arc::make_mut(segment);
        let same = segment.find_mut(hash, |(other, _)| other.record.name == entry.record.name);
        if let Some(known) = same {
            *known = (entry, row);
            return;
        }
        let hasher = &self.hasher;
        segment.insert_unique(hash, (entry, row), |(other, _)| hasher.hash_one(other.record.name.as_str()));
    }

    /// Takes a model out.
    pub(super) fn remove(&mut self, name: &str) {
        let hash = self.hasher.hash_one(name);
        let Some(segment) = self.segments.get_mut(segment(hash)) else { return };
        if let Ok(found) = Arc::make_mut(segment).find_entry(hash, |(entry, _)| entry.record.name.as_str() == name) {
            found.remove();
        }
    }
}

/// A table goes by the lowest and the topmost bits of a hash; those between them say which table.
fn segment(hash: u64) -> usize {
    let middle = (hash >> 20) & u64::from(u32::MAX);
    usize::try_from((middle * SEGMENTS as u64) >> 32).unwrap_or_default()
}
