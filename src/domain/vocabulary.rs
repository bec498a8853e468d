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

impl Vocabulary {
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
