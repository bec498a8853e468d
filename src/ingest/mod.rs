//! Importers: what other data sets say, read tolerantly and normalised into records.
//!
//! A reader never fails on a value it can not use: the value becomes absent and a warning says so. Nothing is dropped
//! silently: every record of the input is in the report, with what became of it and why. No clock, disk or network; the
//! known models come in through [`identity::AliasIndex`].

pub mod comparia;
pub mod document;
pub mod epoch;
pub mod hub;
pub mod identity;
mod json;
pub mod license_names;
pub mod merge;
pub mod model_card;
pub mod models_dev;
pub mod mot;
pub mod osai;
mod reader;
pub mod source;
pub mod source_errors;
pub mod statement;
#[cfg(test)]
mod tests;
mod yaml;

use std::collections::BTreeMap;

use crate::domain::date::Date;
use crate::domain::model::{Capability, Modality};
use crate::domain::name::{ModelName, OfferingName, ProviderId};
use crate::domain::offering::MatchStage;
use identity::Resolution;

/// What an importer takes at most.
#[derive(Clone, Debug, PartialEq)]
pub struct Limits {
    /// Size of the document.
    pub document_bytes_max: usize,
    /// Files of a folder.
    pub files_max: usize,
    /// Values in the document: bounds the memory, which a document of many small values would multiply.
    pub values_max: usize,
    /// Length of a text that is kept.
    pub text_bytes_max: usize,
    /// Tokens that a context, an input or an output can have. A larger number is a slip of the source.
    pub tokens_max: i64,
    /// US dollars per million tokens that a price can be.
    pub price_usd_max: f64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            document_bytes_max: 64 << 20,
            files_max: 20_000,
            values_max: 1_000_000,
            text_bytes_max: 1024,
            // The longest context that a maker has announced.
            tokens_max: 10_000_000,
            price_usd_max: 1_000_000.0,
        }
    }
}

/// Why a document can not be read at all.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ImportError {
    /// It is larger than allowed.
    #[error("the document has {found} bytes, at most {limit_bytes} are read: split it or raise the limit")]
    TooLarge {
        /// Bytes at most.
        limit_bytes: usize,
        /// Bytes found.
        found: usize,
    },
    /// It holds more values than allowed.
    #[error("the document holds more than {limit} values: split it or raise the limit")]
    TooManyValues {
        /// Values at most.
        limit: usize,
    },
    /// It is no JSON.
    #[error("the document is no valid JSON at line {line}, column {column}: {detail}")]
    Syntax {
        /// Line, from 1.
        line: usize,
        /// Column, from 1; 0 before the first character of a line.
        column: usize,
        /// What is wrong.
        detail: String,
    },
    /// It has another number of files.
    #[error("the document has {found} files of that kind: give {expected}")]
    Files {
        /// What it should be.
        expected: &'static str,
        /// Files found.
        found: usize,
    },
    /// It has more files than are read.
    #[error("the document has {found} files, at most {limit} are read")]
    TooManyFiles {
        /// Files at most.
        limit: usize,
        /// Files found.
        found: usize,
    },
    /// It is no such table or text.
    #[error("the document can not be read: {detail}")]
    Table {
        /// What is wrong.
        detail: String,
    },
    /// Which repository a card is of is not said.
    #[error("`{given}` is no hub repository: write `organization/name` or its address")]
    Repository {
        /// As given.
        given: String,
    },
    /// It is JSON of another kind.
    #[error("the document is {found}: give {expected}")]
    Shape {
        /// What it should be.
        expected: &'static str,
        /// What it is.
        found: &'static str,
    },
}

/// What a document holds, normalised: equal for equal content in whatever order.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Import {
    /// Where it comes from, as the caller says.
    pub origin: Box<str>,
    /// Providers, by id.
    pub providers: Vec<ProviderRecord>,
    /// Offerings, by name.
    pub offerings: Vec<OfferingRecord>,
    /// What became of each record of the document, by name.
    pub entries: Vec<Entry>,
    /// How often each field that no importer knows occurs, by path.
    pub unknown_fields: BTreeMap<String, u32>,
    /// Warnings in all.
    pub warnings: u32,
    /// Rejected records in all.
    pub rejected: u32,
}

/// One line of the report.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Entry {
    /// The resource name, or what comes nearest to one where the id is unusable.
    pub record: String,
    /// What became of it.
    pub outcome: Outcome,
    /// Warnings, and why it is unresolved or rejected.
    pub messages: Vec<String>,
}

/// What became of a record of the document.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Outcome {
    /// Read.
    Kept,
    /// Read, and the model it is of is not known.
    Unresolved,
    /// Not read.
    Rejected,
}

/// A provider as a source describes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProviderRecord {
    /// Its id.
    pub id: ProviderId,
    /// Name for people; the id where the source has none.
    pub display_name: Box<str>,
    /// Base URL of the API.
    pub api_url: Option<Box<str>>,
    /// Where it is documented.
    pub documentation_url: Option<Box<str>>,
}

/// An offering as a source describes it. Absent means unknown.
#[derive(Clone, Debug, PartialEq)]
pub struct OfferingRecord {
    /// Its name.
    pub name: OfferingName,
    /// Name for people; the id where the source has none.
    pub display_name: Box<str>,
    /// The model, and how it was found.
    pub model: Option<ModelMatch>,
    /// Why the model is not known; empty when it is.
    pub unresolved_reason: Box<str>,
    /// Family as the source states it.
    pub family: Option<Box<str>>,
    /// What it takes in, in the order of the enum.
    pub input_modalities: Vec<Modality>,
    /// What it gives out, in the order of the enum.
    pub output_modalities: Vec<Modality>,
    /// What it can do besides, in the order of the enum.
    pub capabilities: Vec<Capability>,
    /// Longest context, in tokens.
    pub context_tokens: Option<i64>,
    /// Longest input, in tokens.
    pub max_input_tokens: Option<i64>,
    /// Longest output, in tokens.
    pub max_output_tokens: Option<i64>,
    /// Prices.
    pub price: Price,
    /// Prices for longer contexts, by the context size from which they hold.
    pub price_tiers: Vec<PriceTier>,
    /// The source's flag that the weights are public; weak evidence when false.
    pub open_weights: Option<bool>,
    /// Release date as the source states it.
    pub release_date: Option<Date>,
    /// Date of the last change as the source states it.
    pub last_updated: Option<Date>,
    /// End of the training data as the source states it.
    pub knowledge_cutoff: Option<Date>,
    /// Stage of life; absent: generally available, or not stated.
    pub stage: Option<Stage>,
    /// Values of the source that were left out or mended.
    pub warnings: Vec<String>,
}

/// The model of an offering.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ModelMatch {
    /// The model.
    pub model: ModelName,
    /// The step that found it.
    pub stage: MatchStage,
    /// The alias that was met.
    pub alias: Box<str>,
}

/// Prices in US dollars per million tokens.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Price {
    /// Input.
    pub input: Option<f64>,
    /// Output.
    pub output: Option<f64>,
    /// Reasoning tokens.
    pub reasoning: Option<f64>,
    /// Input read from a cache.
    pub cache_read: Option<f64>,
    /// Input written to a cache.
    pub cache_write: Option<f64>,
    /// Audio input.
    pub input_audio: Option<f64>,
    /// Audio output.
    pub output_audio: Option<f64>,
}

impl Price {
    /// Whether none is known.
    #[must_use]
    pub fn is_unknown(&self) -> bool {
        *self == Self::default()
    }
}

/// Prices from a context size up.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct PriceTier {
    /// Context size in tokens from which they hold.
    pub context_tokens: i64,
    /// The prices.
    pub price: Price,
}

/// Stage of life of an offering.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// Alpha.
    Alpha,
    /// Beta.
    Beta,
    /// Deprecated.
    Deprecated,
}

/// Publishers of a list as sources write them: the whole text first, which may itself be a name, then its parts.
fn publishers_of(text: &str) -> Vec<Box<str>> {
    let parts = text.split([',', ';', '\u{3001}']).flat_map(|part| part.split(" and "));
    let mut found = vec![text.trim()];
    found.extend(parts.map(str::trim));
    let mut seen = Vec::new();
    for name in found {
        if !name.is_empty() && !seen.contains(&Box::from(name)) {
            seen.push(name.into());
        }
    }
    seen
}

/// A number of parameters, without the noise of fractions; `None` when no model has as many.
fn parameters(number: f64) -> Option<i64> {
    const MOST: f64 = 1e14;
    #[expect(clippy::cast_possible_truncation, reason = "the range is checked")]
    (number.is_finite() && (1.0..=MOST).contains(&number)).then(|| number.round() as i64)
}

/// The model of an offering by what its id stands for, or why it is not known.
#[must_use]
pub fn link(found: &Resolution) -> (Option<ModelMatch>, Box<str>) {
    match found {
        Resolution::Matched { model, stage, alias } => {
            (Some(ModelMatch { model: model.clone(), stage: *stage, alias: alias.clone() }), "".into())
        }
        Resolution::Ambiguous(models) => {
            let names: Vec<_> = models.iter().map(|model| model.as_str()).collect();
            (None, format!("it may be any of {}: add an alias to the one it is", names.join(", ")).into())
        }
        Resolution::Unresolved { reason } => (None, reason.as_str().into()),
    }
}
