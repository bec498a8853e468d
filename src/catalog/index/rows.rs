//! Rows for which something holds, shared with older snapshots until they change.

use std::sync::Arc;

use roaring::RoaringBitmap;

/// A set of rows. Most words and many publishers have one row, which needs no bitmap.
#[derive(Clone, Debug, Default)]
pub(super) enum Rows {
    /// None.
    #[default]
    None,
    /// One.
    One(u32),
    /// More than one, or once more than one.
    Many(Arc<RoaringBitmap>),
}

impl Rows {
    pub(super) fn insert(&mut self, row: u32) {
        match self {
            Self::None => *self = Self::One(row),
            Self::One(one) if *one == row => {}
            Self::One(one) => *self = Self::Many(Arc::new([*one, row].into_iter().collect())),
            // Where it is there already, nothing is copied.
            Self::Many(rows) if rows.contains(row) => {}
            Self::Many(rows) => {
                Arc::make_mut(rows).insert(row);
            }
        }
    }

    pub(super) fn remove(&mut self, row: u32) {
        match self {
            Self::One(one) if *one == row => *self = Self::None,
            Self::Many(rows) if rows.contains(row) => {
                Arc::make_mut(rows).remove(row);
            }
            _ => {}
        }
    }

    pub(super) fn insert_all(&mut self, more: &RoaringBitmap) {
        if let (Some(row), 1) = (more.min(), more.len()) {
            return self.insert(row);
        }
        match self {
            Self::None => *self = Self::Many(Arc::new(more.clone())),
            Self::One(one) => {
                let mut rows = more.clone();
                rows.insert(*one);
                *self = Self::Many(Arc::new(rows));
            }
            Self::Many(rows) => *Arc::make_mut(rows) |= more,
        }
    }

    pub(super) fn remove_all(&mut self, fewer: &RoaringBitmap) {
        if let (Some(row), 1) = (fewer.min(), fewer.len()) {
            return self.remove(row);
        }
        match self {
            Self::One(one) if fewer.contains(*one) => *self = Self::None,
            Self::None | Self::One(_) => {}
            Self::Many(rows) => *Arc::make_mut(rows) -= fewer,
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        match self {
            Self::None => true,
            Self::One(_) => false,
            Self::Many(rows) => rows.is_empty(),
        }
    }

    pub(super) fn len(&self) -> u64 {
        match self {
            Self::None => 0,
            Self::One(_) => 1,
            Self::Many(rows) => rows.len(),
        }
    }

    pub(super) fn min(&self) -> Option<u32> {
        match self {
            Self::None => None,
            Self::One(row) => Some(*row),
            Self::Many(rows) => rows.min(),
        }
    }

    /// Those among others.
    pub(super) fn among(&self, others: &RoaringBitmap) -> RoaringBitmap {
        match self {
            Self::None => RoaringBitmap::new(),
            Self::One(row) => Some(*row).filter(|row| others.contains(*row)).into_iter().collect(),
            Self::Many(rows) => &**rows & others,
        }
    }

    /// How many are among others.
    pub(super) fn count_among(&self, others: &RoaringBitmap) -> u64 {
        match self {
            Self::None => 0,
            Self::One(row) => u64::from(others.contains(*row)),
            Self::Many(rows) => rows.intersection_len(others),
        }
    }

    pub(super) fn add_to(&self, all: &mut RoaringBitmap) {
        match self {
            Self::None => {}
            Self::One(row) => {
                all.insert(*row);
            }
            Self::Many(rows) => *all |= &**rows,
        }
    }

    pub(super) fn to_bitmap(&self) -> RoaringBitmap {
        match self {
            Self::None => RoaringBitmap::new(),
            Self::One(row) => RoaringBitmap::from_iter([*row]),
            Self::Many(rows) => (**rows).clone(),
        }
    }
}
