//! Providers and what they serve.

use super::date::Date;
use super::model::{Capability, Modality};
use super::name::{ModelName, OfferingName, ProviderId};
use super::words::words;

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
    /// Name for people.
    pub display_name: Box<str>,
    /// Family as the source states it.
    pub family: Box<str>,
    /// What it takes in; empty: unknown.
    pub input_modalities: Vec<Modality>,
    /// What it gives out; empty: unknown.
    pub output_modalities: Vec<Modality>,
    /// What it can do besides.
    pub capabilities: Vec<Capability>,
    /// Longest context in tokens.
    pub context_tokens: Option<i64>,
    /// Longest input in tokens.
    pub max_input_tokens: Option<i64>,
    /// Longest output in tokens.
    pub max_output_tokens: Option<i64>,
    /// Price of a million input tokens, in billionths of a US dollar.
    pub input_price: Option<i64>,
    /// Price of a million output tokens, in billionths of a US dollar.
    pub output_price: Option<i64>,
    /// The source's flag that the weights are public.
    pub open_weights: Option<bool>,
    /// Date of release.
    pub release_date: Option<Date>,
    /// Date of the last change.
    pub last_updated: Option<Date>,
    /// End of the training data.
    pub knowledge_cutoff: Option<Date>,
    /// Stage of life; `None`: generally available, or not stated.
    pub stage: Option<Stage>,
}

words! {
    /// Stage of life of an offering.
    pub enum Stage {
        /// Alpha.
        Alpha = "ALPHA",
        /// Beta.
        Beta = "BETA",
        /// Deprecated.
        Deprecated = "DEPRECATED",
    }
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
