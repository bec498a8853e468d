//! A column: for each value of a field the rows that hold it, as compressed bitmaps.
//!
//! Values are in order, so that a column answers what equals, what lies below or above, what comes first, and how many rows
//! hold each value. Bitmaps are shared with older snapshots until they change.

use std::sync::Arc;

use roaring::RoaringBitmap;

use super::Selection;
use crate::catalog::filter::{Value, Values, Wanted};
use crate::domain::tri::Tri;

/// Rows, shared until they change.
pub(super) type Rows = Arc<RoaringBitmap>;

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
        for value in old.list.iter().filter(|value| !new.list.contains(value)) {
            self.remove(row, value);
        }
        for value in new.list.iter().filter(|value| !old.list.contains(value)) {
            let rows = self.values.entry(value.clone().into_owned()).or_default();
            Arc::make_mut(rows).insert(row);
        }
        if new.open != old.open {
            let open = Arc::make_mut(&mut self.open);
            if new.open {
                open.insert(row)
            } else {
                open.remove(row)
            };
        }
    }

    fn remove(&mut self, row: u32, value: &Value<'_>) {
        let value = value.clone().into_owned();
        let Some(rows) = self.values.get_mut(&value) else { return };
        Arc::make_mut(rows).remove(row);
        if rows.is_empty() {
            self.values.remove(&value);
        }
    }

    /// The rows that hold what is wanted, and those of which it is not known.
    pub(super) fn select(&self, wanted: &Wanted) -> Selection {
        let mut yes = RoaringBitmap::new();
        let mut unknown = RoaringBitmap::new();
        match wanted {
            Wanted::Present => self.values.values().for_each(|rows| yes |= &**rows),
            // Dates of less precision are not apart, and text is compared without regard to case.
            Wanted::Equal(value) if !matches!(value, Value::Date(_) | Value::Text(_)) => {
                yes = self.values.get(value).map_or_else(RoaringBitmap::new, |rows| (**rows).clone());
                unknown = (*self.open).clone();
            }
            wanted => {
                unknown = (*self.open).clone();
                for (value, rows) in &self.values {
                    match wanted.is_met(value) {
                        Tri::True => yes |= &**rows,
                        Tri::Unknown => unknown |= &**rows,
                        Tri::False => {}
                    }
                }
            }
        }
        unknown -= &yes;
        Selection { yes, unknown }
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
    pub(super) fn open(&self) -> &RoaringBitmap {
        &self.open
    }
}
