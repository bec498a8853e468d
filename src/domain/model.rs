//! Models: what is released, from what it was made, and under which licenses.

use std::borrow::Cow;
use std::sync::Arc;

use super::date::Date;
use super::license::{Expression, LicensePeriod};
use super::name::ModelName;
use super::openness::Tier;
use super::shared::Shared;
use super::words::words;

type Text = Box<str>;

/// A released set of weights or a service-only model, as far as decisions and queries look at it.
#[derive(Clone, Debug, PartialEq)]
pub struct Model {
    /// Its name.
    pub name: ModelName,
    /// Name for people.
    pub display_name: Text,
    /// Other ids it is known by, as written.
    pub aliases: Vec<Text>,
    /// What is released, part by part; no kind twice.
    pub components: Shared<Component>,
    /// The models it was made from.
    pub base_models: Shared<BaseModel>,
    /// What it takes in; empty: unknown.
    pub input_modalities: Shared<Modality>,
    /// What it gives out; empty: unknown.
    pub output_modalities: Shared<Modality>,
    /// What it can do besides; empty: unknown.
    pub capabilities: Shared<Capability>,
    /// Longest context in tokens.
    pub context_tokens: Option<i64>,
    /// Longest output in tokens.
    pub max_output_tokens: Option<i64>,
    /// Number of parameters.
    pub parameters: Parameters,
    /// Date of release.
    pub release_date: Option<Date>,
    /// End of the training data.
    pub knowledge_cutoff: Option<Date>,
    /// Family name.
    pub family: Arc<str>,
    /// Fields on which sources disagree, by path.
    pub conflicts: Shared<Text>,
    /// What its license statement rests on, for the sources of a decision.
    pub sources: Shared<Source>,
    /// Derived from the components when the record was read.
    pub tier: Option<Tier>,
}

impl Model {
    /// A part of it.
    #[must_use]
    pub fn component(&self, kind: ComponentKind) -> Option<&Component> {
        self.components.iter().find(|c| c.kind == kind)
    }

    /// Every id that stands for it letter for letter: its aliases, and `{publisher}/{model}`.
    pub fn ids(&self) -> impl Iterator<Item = Cow<'_, str>> {
        let short = [self.name.publisher(), "/", self.name.model()].concat();
        let stated = !self.aliases.iter().any(|alias| **alias == *short);
        let short = stated.then_some(Cow::Owned(short));
        self.aliases.iter().map(|alias| Cow::Borrowed(&**alias)).chain(short)
    }

    /// Its final weights.
    #[must_use]
    pub fn weights(&self) -> Option<&Component> {
        self.component(ComponentKind::ModelWeights)
    }

    /// Whether it takes in or gives out more than text; `None` when that is not known.
    #[must_use]
    pub fn is_multimodal(&self) -> Option<bool> {
        if self.input_modalities.is_empty() || self.output_modalities.is_empty() {
            // What is known can already settle it.
            let more = self.modalities().any(Modality::is_more_than_text);
            return more.then_some(true);
        }
        Some(self.modalities().any(Modality::is_more_than_text))
    }

    fn modalities(&self) -> impl Iterator<Item = Modality> + '_ {
        self.input_modalities.iter().chain(&self.output_modalities).copied()
    }
}

/// Number of parameters.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Parameters {
    /// All of them.
    pub total: Option<i64>,
    /// Those active for one token.
    pub active: Option<i64>,
}

/// One part of a release.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Component {
    /// Which part.
    pub kind: ComponentKind,
    /// Whether it can be had; `None`: unknown.
    pub availability: Option<Availability>,
    /// The license that is evaluated; `None`: nothing is known.
    pub expression: Option<Expression>,
    /// The license as declared, as written; empty: none.
    pub declared_license: Text,
    /// What the license rests on.
    pub evidence: Evidence,
    /// Licenses by revision, in order of time.
    pub license_periods: Vec<LicensePeriod>,
    /// Who concluded that this is the license, where somebody did.
    pub conclusion: Option<Box<Conclusion>>,
}

/// A reviewer's conclusion on a license.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Conclusion {
    /// A person or an office.
    pub reviewer: Text,
    /// Where it is written down.
    pub url: Text,
    /// When.
    pub date: Date,
}

words! {
    /// A part of a release: the 17 of the Model Openness Framework 1.0.
    pub enum ComponentKind {
        /// Final weights.
        ModelWeights = "MODEL_WEIGHTS",
        /// Data sets.
        TrainingData = "TRAINING_DATA",
        /// Training code.
        TrainingCode = "TRAINING_CODE",
        /// Inference code.
        InferenceCode = "INFERENCE_CODE",
        /// Model architecture.
        ModelArchitecture = "MODEL_ARCHITECTURE",
        /// Data preprocessing code.
        DataPreprocessingCode = "DATA_PREPROCESSING_CODE",
        /// Evaluation code.
        EvaluationCode = "EVALUATION_CODE",
        /// Supporting libraries and tools.
        SupportingLibraries = "SUPPORTING_LIBRARIES",
        /// Intermediate weights.
        IntermediateWeights = "INTERMEDIATE_WEIGHTS",
        /// Evaluation data.
        EvaluationData = "EVALUATION_DATA",
        /// Model metadata.
        ModelMetadata = "MODEL_METADATA",
        /// Sample model outputs.
        SampleOutputs = "SAMPLE_OUTPUTS",
        /// Model card.
        ModelCard = "MODEL_CARD",
        /// Data card.
        DataCard = "DATA_CARD",
        /// Technical report.
        TechnicalReport = "TECHNICAL_REPORT",
        /// Research paper.
        ResearchPaper = "RESEARCH_PAPER",
        /// Evaluation results.
        EvaluationResults = "EVALUATION_RESULTS",
    }
}

words! {
    /// Whether a part can be had.
    pub enum Availability {
        /// Anyone can download it.
        Available = "AVAILABLE",
        /// On request, or after accepting terms.
        Gated = "GATED",
        /// Only part of it.
        Partial = "PARTIAL",
        /// It was available and no longer is.
        Withdrawn = "WITHDRAWN",
        /// It was never released.
        Unavailable = "UNAVAILABLE",
    }
}

words! {
    /// What a license statement rests on.
    pub enum Evidence {
        /// Not looked up.
        GeneralKnowledge = "GENERAL_KNOWLEDGE",
        /// The maker's own tag on the hub.
        Tag = "TAG",
        /// The maker names and links it.
        Named = "NAMED",
        /// Reported by others.
        Secondary = "SECONDARY",
        /// The license or a statement of the publisher was read.
        TextRead = "TEXT_READ",
        /// An operator concluded it.
        Confirmed = "CONFIRMED",
        /// Sources contradict each other.
        Conflict = "CONFLICT",
    }
}

/// A model that another was made from.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct BaseModel {
    /// The base.
    pub model: BaseRef,
    /// How it was made from it.
    pub relation: Relation,
    /// License of a base that is no record.
    pub expression: Option<Expression>,
}

/// A base by name: of the form of a record's name, or as written elsewhere.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum BaseRef {
    /// A resource name; the record may still be missing.
    Record(ModelName),
    /// A base without a record.
    Written(Text),
}

impl BaseRef {
    /// As written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        match self {
            Self::Record(name) => name.as_str(),
            Self::Written(text) => text,
        }
    }
}

words! {
    /// How a model was made from another.
    pub enum Relation {
        /// Trained further from its weights.
        FineTune = "FINE_TUNE",
        /// Merged.
        Merge = "MERGE",
        /// At lower precision.
        Quantized = "QUANTIZED",
        /// An adapter on its weights.
        Adapter = "ADAPTER",
        /// Weights cut down and trained to match it.
        DistilledWeights = "DISTILLED_WEIGHTS",
        /// Trained on what it produced.
        TrainedOnOutputs = "TRAINED_ON_OUTPUTS",
    }
}

impl Relation {
    /// Whether the base's weights are inside. Otherwise only its outputs were used.
    #[must_use]
    pub fn carries_weights(self) -> bool {
        match self {
            Self::FineTune | Self::Merge | Self::Quantized | Self::Adapter | Self::DistilledWeights => true,
            Self::TrainedOnOutputs => false,
        }
    }
}

words! {
    /// A kind of content.
    pub enum Modality {
        /// Text.
        Text = "TEXT",
        /// Still images.
        Image = "IMAGE",
        /// Sound.
        Audio = "AUDIO",
        /// Moving images.
        Video = "VIDEO",
        /// PDF documents.
        Pdf = "PDF",
        /// Three-dimensional shapes.
        ThreeD = "THREE_D",
    }
}

impl Modality {
    /// Whether a model that takes it in or gives it out is multimodal. A PDF may be read as text, so it decides nothing
    /// towards "text only": it counts as more than text, which restricts rather than permits.
    fn is_more_than_text(self) -> bool {
        self != Self::Text
    }
}

words! {
    /// Something a model can do.
    pub enum Capability {
        /// Calls tools.
        ToolCall = "TOOL_CALL",
        /// Reasons before it answers.
        Reasoning = "REASONING",
        /// Keeps to an output schema.
        StructuredOutput = "STRUCTURED_OUTPUT",
        /// Takes attachments.
        Attachment = "ATTACHMENT",
        /// Lets the caller set the temperature.
        Temperature = "TEMPERATURE",
    }
}

/// A place that a statement rests on.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Source {
    /// What it is.
    pub title: Text,
    /// Where it can be read.
    pub url: Text,
    /// Date, as given.
    pub date: Text,
    /// License of the source where it asks for credit.
    pub license: Text,
}
