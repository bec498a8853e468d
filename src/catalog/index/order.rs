//! Rows in an order, and the page of them that follows a model.
//!
//! A page is found by walking along an index in order where many rows are left, and by sorting what is left where there are
//! few. The name comes last in every order, so that no two models are equal in it.

use std::cmp::Ordering;
use std::sync::Arc;

use roaring::RoaringBitmap;

use super::ModelIndex;
use crate::catalog::fields::ModelField;
use crate::catalog::filter::{Row as _, Value};
use crate::catalog::row::ModelRow;
use crate::catalog::snapshot::{Entry, Snapshot};
use crate::domain::model::Model;
use crate::domain::name::ModelName;

/// A way through the values of a field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// Least first.
    Ascending,
    /// Greatest first.
    Descending,
}

/// Fields by which rows are ordered. Where a value is not known the row comes last, in either direction.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Order<F> {
    /// The fields, the first one first.
    pub by: Vec<(F, Direction)>,
}

/// Rows up to this number are sorted rather than walked.
const SORTED_MAX: u64 = 2_000;

/// A row with what it is ordered by.
type Keyed<'a> = ((Vec<Key<'a>>, &'a ModelName), &'a Arc<Entry<Model>>);

/// What a row is ordered by.
type Key<'a> = Option<Value<'a>>;

/// Compares two keys in a direction.
#[must_use]
pub fn compare(a: Option<&Value<'_>>, b: Option<&Value<'_>>, direction: Direction) -> Ordering {
    match (a, b) {
        (None, None) => Ordering::Equal,
        (None, Some(_)) => Ordering::Greater,
        (Some(_), None) => Ordering::Less,
        (Some(a), Some(b)) => match direction {
            Direction::Ascending => a.cmp(b),
            Direction::Descending => b.cmp(a),
        },
    }
}

struct Walk<'a> {
    snapshot: &'a Snapshot,
    index: &'a ModelIndex,
    order: &'a [(ModelField, Direction)],
    size: usize,
    found: Vec<Arc<Entry<Model>>>,
}

impl Snapshot {
    /// At most `size` of some rows in an order, after a model.
    #[must_use]
    pub fn ordered_models(
        &self,
        rows: &RoaringBitmap,
        order: &Order<ModelField>,
        after: Option<&Arc<Entry<Model>>>,
        size: usize,
    ) -> Vec<Arc<Entry<Model>>> {
        let index = self.model_index();
        let mut walk = Walk { snapshot: self, index, order: &order.by, size, found: Vec::new() };
        walk.take(rows, 0, after);
        walk.found
    }
}

impl<'a> Walk<'a> {
    fn is_full(&self) -> bool {
        self.found.len() >= self.size
    }

    fn key(&self, entry: &'a Entry<Model>, field: ModelField) -> Key<'a> {
        first(self.snapshot, entry, field)
    }

    /// Takes rows that are equal in the fields before `at`.
    fn take(&mut self, rows: &RoaringBitmap, at: usize, after: Option<&Arc<Entry<Model>>>) {
        if self.is_full() || rows.is_empty() {
            return;
        }
        let column = self.order.get(at).and_then(|(field, _)| self.index.column_of(*field));
        match (self.order.get(at).copied(), column) {
            _ if rows.len() <= SORTED_MAX => self.sort(rows, at, after),
            (None, _) => self.by_name(rows, after),
            (Some((field, direction)), Some(column)) => {
                let last = after.map(|entry| first(self.snapshot, entry, field));
                // Those before the last page's are done.
                let follows = |value: Option<&Value<'static>>| {
                    last.as_ref().map_or(Ordering::Greater, |last| compare(value, last.as_ref(), direction))
                };
                // What has an order holds one value at most, so that no row is met twice.
                let each: Box<dyn Iterator<Item = _>> = match direction {
                    Direction::Ascending => Box::new(column.iter()),
                    Direction::Descending => Box::new(column.iter().rev()),
                };
                for (value, some) in each {
                    let follows = follows(Some(value));
                    if self.is_full() {
                        return;
                    }
                    if follows != Ordering::Less {
                        self.take(&some.among(rows), at + 1, after.filter(|_| follows == Ordering::Equal));
                    }
                }
                let follows = follows(None);
                if !self.is_full() && follows != Ordering::Less {
                    let mut with_value = RoaringBitmap::new();
                    column.iter().for_each(|(_, some)| some.add_to(&mut with_value));
                    self.take(&(rows - with_value), at + 1, after.filter(|_| follows == Ordering::Equal));
                }
            }
            (Some(_), None) => self.sort(rows, at, after),
        }
    }

    /// Along the names, where most of what is met is wanted; else by sorting.
    fn by_name(&mut self, rows: &RoaringBitmap, after: Option<&Arc<Entry<Model>>>) {
        let wanted = u64::try_from(self.size - self.found.len()).unwrap_or(u64::MAX);
        let all = self.index.all().len();
        let steps = wanted.saturating_mul(all) / rows.len().max(1);
        // Sorting looks at each row, and a step along the names costs about as much.
        if steps > rows.len() {
            return self.sort(rows, self.order.len(), after);
        }
        let (from, mut left) = (self.found.len(), rows.len());
        for entry in self.index.by_name(after.map(|entry| entry.record.name.as_str())) {
            if self.is_full() {
                return;
            }
            // Names of one publisher stand together: where what is wanted is far away, looking at all of it costs less.
            let Some(rest) = left.checked_sub(1) else {
                self.found.truncate(from);
                return self.sort(rows, self.order.len(), after);
            };
            left = rest;
            if self.index.row(entry.record.name.as_str()).is_some_and(|row| rows.contains(row)) {
                self.found.push(entry.clone());
            }
        }
    }

    /// The first of what is left, by the fields from `at` on and by name. No more is kept at a time than a few pages.
    fn sort(&mut self, rows: &RoaringBitmap, at: usize, after: Option<&Arc<Entry<Model>>>) {
        let wanted = self.size - self.found.len();
        if wanted == 0 {
            return;
        }
        let fields = self.order.get(at..).unwrap_or_default();
        let key = |entry: &'a Entry<Model>| -> (Vec<Key<'a>>, &'a ModelName) {
            (fields.iter().map(|(field, _)| self.key(entry, *field)).collect(), &entry.record.name)
        };
        let by = |(a, left): &(Vec<Key<'_>>, &ModelName), (b, right): &(Vec<Key<'_>>, &ModelName)| {
            let fields = fields.iter().zip(a.iter().zip(b));
            let found = fields.map(|((_, direction), (a, b))| compare(a.as_ref(), b.as_ref(), *direction));
            found.fold(Ordering::Equal, Ordering::then).then_with(|| left.cmp(right))
        };
        let last = after.map(|entry| {
            let keys: Vec<Key<'_>> = fields.iter().map(|(field, _)| first(self.snapshot, entry, *field)).collect();
            (keys, &entry.record.name)
        });
        let kept_max = (4 * wanted).max(1_024);
        let mut left: Vec<Keyed<'a>> = Vec::new();
        for entry in rows.iter().filter_map(|row| self.index.entry(row)) {
            let key = key(entry);
            if last.as_ref().is_none_or(|last| by(&key, last) == Ordering::Greater) {
                left.push((key, entry));
            }
            if left.len() >= kept_max {
                left.select_nth_unstable_by(wanted - 1, |(a, _), (b, _)| by(a, b));
                left.truncate(wanted);
            }
        }
        left.sort_unstable_by(|(a, _), (b, _)| by(a, b));
        left.truncate(wanted);
        self.found.extend(left.into_iter().map(|(_, entry)| entry.clone()));
    }
}

/// What a row is ordered by in a field.
fn first<'a>(snapshot: &'a Snapshot, entry: &'a Entry<Model>, field: ModelField) -> Key<'a> {
    let row = ModelRow::new(snapshot, entry);
    let values = row.values(field);
    values.list.first().cloned().map(Value::into_owned)
}
