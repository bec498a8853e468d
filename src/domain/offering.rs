//! Providers and what they serve.

use super::name::{ModelName, OfferingName, ProviderId};

/// Somebody who serves models, as far as decisions and queries look at it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Provider {
    /// Its id.
    pub id: ProviderId,
    /// Name for people.
    pub display_name: Box<str>,
}

/// A model as a provider serves it, as far as decisions and queries look at it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Offering {
    /// Its name.
    pub name: OfferingName,
    /// The model; `None`: not known.
    pub model: Option<ModelName>,
    /// Why it is not known.
    pub unresolved_reason: Box<str>,
}

/// How an id led to a model, strictest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum MatchStage {
    /// Resource name, or `{publisher}/{model}`.
    Name,
    /// An alias, letter for letter.
    Alias,
    /// An alias up to case and separators.
    FoldedAlias,
    /// An offering that is linked to it.
    Offering,
    /// A cleaned id.
    Cleaned,
}
