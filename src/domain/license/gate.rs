//! Scale gates: thresholds of size, and kinds of business, from which other terms hold.

use super::{Predicate, Text};
use crate::domain::date::Date;
use crate::domain::words::words;

/// A threshold.
#[derive(Clone, Debug, PartialEq)]
pub struct ScaleGate {
    /// What is measured; [`ScaleGate::BUSINESS_TYPE`] for membership.
    pub metric: Text,
    /// In the metric's unit; `None` for membership.
    pub threshold: Option<i64>,
    /// On which side the exact value falls.
    pub comparison: Comparison,
    /// What the text says of the exact value.
    pub at_threshold: AtThreshold,
    /// Whose figure counts.
    pub subject: GateSubject,
    /// When it is measured.
    pub measured: Measured,
    /// What happens beyond it.
    pub effect: GateEffect,
    /// Predicates that must all hold.
    pub only_if: Vec<Predicate>,
    /// Predicates of which any one lifts it.
    pub unless: Vec<Predicate>,
    /// Predicates under which the text leaves open whether it reaches the use.
    pub unsettled_if: Vec<Predicate>,
    /// Business types for membership and for the predicate.
    pub business_types: Vec<Text>,
    /// Group; empty for none.
    pub group: Text,
    /// Clause.
    pub clause: Text,
    /// Whom to ask, and whether they may refuse.
    pub discretion: Text,
    /// The clause was not read in the text.
    pub unverified: bool,
}

impl ScaleGate {
    /// The metric of a gate by membership.
    pub const BUSINESS_TYPE: &'static str = "business_type";
}

words! {
    /// On which side the exact value falls.
    pub enum Comparison {
        /// The threshold itself is inside.
        GreaterThan = "more than",
        /// The threshold itself is outside.
        AtLeast = "at least",
        /// Membership.
        IsOneOf = "one of",
    }
}

/// What a text says of the exact value.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum AtThreshold {
    /// As the comparison says.
    #[default]
    AsCompared,
    /// Worded two ways, inside by the operative words.
    Inside,
    /// Not settled.
    Unsettled,
}

words! {
    /// Whose figure counts.
    pub enum GateSubject {
        /// The product.
        Product = "PRODUCT",
        /// The licensee alone.
        Licensee = "LICENSEE",
        /// The licensee with its affiliates; also where the text does not say.
        Group = "GROUP",
    }
}

/// When a figure is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Measured {
    /// Once, for a past period.
    Fixed(Date),
    /// Once, for the month before the model's release.
    MonthBeforeRelease,
    /// At any time.
    AnyTime,
    /// When the license is applied for.
    AtApplication,
}

words! {
    /// What happens beyond a threshold.
    pub enum GateEffect {
        /// A separate license is needed.
        SeparateLicense = "a separate license is needed",
        /// Display duties start.
        DisplayBranding = "the display duty starts",
        /// The publisher must review first.
        PublisherReview = "the publisher must review the use first",
        /// No right.
        Prohibited = "there is no right to use it",
        /// A royalty is due.
        Royalty = "a royalty is due",
    }
}
