//! The words that license data and uses share: use categories, business types, metrics. Kept as data.

use std::collections::BTreeMap;

/// A use category: what it stands for and which broader ones it is part of.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UseCategory {
    /// One sentence.
    pub sentence: Box<str>,
    /// Slugs of the categories that every use in this one is also part of.
    pub broader: Vec<Box<str>>,
}

/// The vocabulary of a catalog.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Vocabulary {
    /// Use categories by slug.
    pub use_categories: BTreeMap<Box<str>, UseCategory>,
    /// Business types by slug, with a sentence.
    pub business_types: BTreeMap<Box<str>, Box<str>>,
    /// Metrics by slug, with a sentence.
    pub metrics: BTreeMap<Box<str>, Box<str>>,
}

/// Use categories as bits, in the order of a vocabulary.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct UseSet {
    /// The categories themselves.
    pub named: u64,
    /// Those and every category that is part of one of them.
    pub covered: u64,
}

impl Vocabulary {
    /// Categories as bits; `None` where one is not known, or there are more categories than bits.
    pub fn use_set<'a>(&self, categories: impl Iterator<Item = &'a str>) -> Option<UseSet> {
        if self.use_categories.len() > 64 {
            return None;
        }
        let mut set = UseSet::default();
        for category in categories {
            let at = self.use_categories.keys().position(|known| **known == *category)?;
            set.named |= 1 << at;
            for (at, part) in self.use_categories.keys().enumerate() {
                set.covered |= u64::from(self.is_within(part, category)) << at;
            }
        }
        Some(set)
    }

    /// Whether a use in `category` is also a use in `other`: the same, or a broader one at any distance.
    #[must_use]
    pub fn is_within(&self, category: &str, other: &str) -> bool {
        self.any_broader(category, &|broader| broader == other)
    }

    /// Whether a test holds for a category, or for a broader one at any distance.
    #[must_use]
    pub fn any_broader(&self, category: &str, test: &dyn Fn(&str) -> bool) -> bool {
        self.any(category, test, 8)
    }

    // The depth bounds a vocabulary with a cycle; ours is two levels deep.
    fn any(&self, category: &str, test: &dyn Fn(&str) -> bool, depth: u8) -> bool {
        if test(category) {
            return true;
        }
        let Some(depth) = depth.checked_sub(1) else { return false };
        self.use_categories.get(category).is_some_and(|c| c.broader.iter().any(|b| self.any(b, test, depth)))
    }
}
