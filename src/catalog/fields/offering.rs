//! Fields of offerings.

use super::terms::word;
use crate::catalog::filter::{Kind, Schema, Value, Values};
use crate::domain::model::{Capability, Modality};
use crate::domain::offering::{Offering, Stage};
use crate::domain::words::words;

words! {
    /// A field of an offering.
    pub enum OfferingField {
        /// Resource name.
        Name = "name",
        /// Provider id.
        Provider = "provider",
        /// The provider's own id.
        OfferingId = "offering_id",
        /// Name for people.
        DisplayName = "display_name",
        /// Resource name of the model.
        Model = "model",
        /// Why the model is not known.
        UnresolvedReason = "unresolved_reason",
        /// Family as the source states it.
        Family = "family",
        /// What it takes in.
        InputModalities = "input_modalities",
        /// What it gives out.
        OutputModalities = "output_modalities",
        /// What it can do besides.
        Capabilities = "capabilities",
        /// Longest context in tokens.
        ContextTokens = "context_tokens",
        /// Longest input in tokens.
        MaxInputTokens = "max_input_tokens",
        /// Longest output in tokens.
        MaxOutputTokens = "max_output_tokens",
        /// US dollars for a million input tokens.
        InputPrice = "price.input",
        /// US dollars for a million output tokens.
        OutputPrice = "price.output",
        /// The source's flag that the weights are public.
        OpenWeights = "open_weights",
        /// Date of release.
        ReleaseDate = "release_date",
        /// Date of the last change.
        LastUpdated = "last_updated",
        /// End of the training data.
        KnowledgeCutoff = "knowledge_cutoff",
        /// Stage of life.
        Stage = "stage",
    }
}

impl OfferingField {
    /// What an offering says.
    #[must_use]
    pub fn of(self, offering: &Offering) -> Values<'_> {
        let text = |text: &'_ str| (!text.is_empty()).then(|| text.to_owned().into()).map(Value::Text);
        match self {
            Self::Name => Values::all([Value::Text(offering.name.resource_name().into())]),
            Self::Provider => Values::all([Value::text(offering.name.provider().as_str())]),
            Self::OfferingId => Values::all([Value::text(offering.name.offering())]),
            Self::DisplayName => Values::one(text(&offering.display_name)),
            Self::Model => Values::one(offering.model.as_ref().map(|model| Value::text(model.as_str()))),
            // Empty where the model is known: that is no text that is not known.
            Self::UnresolvedReason => Values::all(text(&offering.unresolved_reason)),
            Self::Family => Values::one(text(&offering.family)),
            Self::InputModalities => modalities(&offering.input_modalities),
            Self::OutputModalities => modalities(&offering.output_modalities),
            Self::Capabilities => Values::known(offering.capabilities.iter().map(|c| word(Capability::ALL, *c))),
            Self::ContextTokens => Values::one(offering.context_tokens.map(Value::Integer)),
            Self::MaxInputTokens => Values::one(offering.max_input_tokens.map(Value::Integer)),
            Self::MaxOutputTokens => Values::one(offering.max_output_tokens.map(Value::Integer)),
            Self::InputPrice => Values::one(offering.input_price.map(Value::Amount)),
            Self::OutputPrice => Values::one(offering.output_price.map(Value::Amount)),
            Self::OpenWeights => Values::one(offering.open_weights.map(Value::Flag)),
            Self::ReleaseDate => Values::one(offering.release_date.map(Value::Date)),
            Self::LastUpdated => Values::one(offering.last_updated.map(Value::Date)),
            Self::KnowledgeCutoff => Values::one(offering.knowledge_cutoff.map(Value::Date)),
            Self::Stage => Values::one(offering.stage.map(|stage| word(Stage::ALL, stage))),
        }
    }
}

fn modalities(list: &[Modality]) -> Values<'static> {
    Values { open: list.is_empty(), list: list.iter().map(|modality| word(Modality::ALL, *modality)).collect() }
}

impl Schema for OfferingField {
    type Field = Self;

    fn find(path: &str) -> Option<Self> {
        Self::parse(path.strip_prefix("offering.").unwrap_or(path))
    }

    fn paths() -> Vec<String> {
        Self::WORDS.iter().map(|path| (*path).to_owned()).collect()
    }

    fn kind(field: Self) -> Kind {
        match field {
            Self::Name
            | Self::Provider
            | Self::OfferingId
            | Self::DisplayName
            | Self::Model
            | Self::UnresolvedReason
            | Self::Family => Kind::Text,
            Self::InputModalities | Self::OutputModalities => Kind::Word { words: Modality::WORDS, prefix: "MODALITY" },
            Self::Capabilities => Kind::Word { words: Capability::WORDS, prefix: "CAPABILITY" },
            Self::ContextTokens | Self::MaxInputTokens | Self::MaxOutputTokens => Kind::Integer,
            Self::InputPrice | Self::OutputPrice => Kind::Amount,
            Self::OpenWeights => Kind::Flag,
            Self::ReleaseDate | Self::LastUpdated | Self::KnowledgeCutoff => Kind::Date,
            Self::Stage => Kind::Word { words: Stage::WORDS, prefix: "STAGE" },
        }
    }

    fn repeated(field: Self) -> bool {
        matches!(field, Self::InputModalities | Self::OutputModalities | Self::Capabilities)
    }
}
