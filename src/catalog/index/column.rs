//! A column: for each value of a field the rows that hold it, as compressed bitmaps.
//!
//! Values are in order, so that a column answers what equals, what lies below or above, what comes first, and how many rows
//! hold each value. Bitmaps are shared with older snapshots until they change.

use roaring::RoaringBitmap;

use super::Selection;
use super::rows::Rows;
use crate::catalog::filter::{Value, Values, Wanted};
use crate::domain::tri::Tri;

/// One field of every row.
#[derive(Clone, Default)]
pub(super) struct Column {
    values: imbl::OrdMap<Value<'static>, Rows>,
    /// Rows that may hold other values than those known.
    open: Rows,
}

impl Column {
    /// Takes a row from its old values to its new ones.
    pub(super) fn change(&mut self, row: u32, old: &Values<'_>, new: &Values<'_>) {
        self.change_all(&RoaringBitmap::from_iter([row]), old, new);
    }

    /// Takes rows from the same old values to the same new ones.
    pub(super) fn change_all(&mut self, some: &RoaringBitmap, old: &Values<'_>, new: &Values<'_>) {
        for value in old.list.iter().filter(|value| !new.list.contains(value)) {
            self.take(value, |rows| rows.remove_all(some));
        }
        for value in new.list.iter().filter(|value| !old.list.contains(value)) {
            self.values.entry(value.clone().into_owned()).or_default().insert_all(some);
        }
        match (old.open, new.open) {
            (true, false) => self.open.remove_all(some),
            (false, true) => self.open.insert_all(some),
            _ => {}
        }
    }

    fn take(&mut self, value: &Value<'_>, change: impl FnOnce(&mut Rows)) {
        let value = value.clone().into_owned();
        let Some(rows) = self.values.get_mut(&value) else { return };
        change(rows);
        if rows.is_empty() {
            self.values.remove(&value);
        }
    }

    /// The rows that hold what is wanted, and those of which it is not known.
    pub(super) fn select(&self, wanted: &Wanted) -> Selection {
        let mut yes = RoaringBitmap::new();
        let mut unknown = RoaringBitmap::new();
        match wanted {
            Wanted::Present => self.values.values().for_each(|rows| rows.add_to(&mut yes)),
            Wanted::Any => {
                unknown = self.open.to_bitmap();
                self.values.values().for_each(|rows| rows.add_to(&mut yes));
            }
            // Dates of less precision are not apart, and text is compared without regard to case.
            Wanted::Equal(value) if !matches!(value, Value::Date(_) | Value::Text(_)) => {
                yes = self.values.get(value).map_or_else(RoaringBitmap::new, Rows::to_bitmap);
                unknown = self.open.to_bitmap();
            }
            wanted => {
                unknown = self.open.to_bitmap();
                for (value, rows) in &self.values {
                    match wanted.is_met(value) {
                        Tri::True => rows.add_to(&mut yes),
                        Tri::Unknown => rows.add_to(&mut unknown),
                        Tri::False => {}
                    }
                }
            }
        }
        unknown -= &yes;
        Selection { yes, unknown }
    }

    /// Number of values.
    pub(super) fn len(&self) -> u64 {
        u64::try_from(self.values.len()).unwrap_or(u64::MAX)
    }

    /// Values with their rows, in order.
    pub(super) fn iter(&self) -> impl DoubleEndedIterator<Item = (&Value<'static>, &Rows)> {
        self.values.iter()
    }

    /// Rows of a value.
    pub(super) fn rows(&self, value: &Value<'static>) -> Option<&Rows> {
        self.values.get(value)
    }

    /// Rows that hold no value.
    pub(super) fn open(&self) -> &Rows {
        &self.open
    }
}
