//! Fields of models.

use super::terms::{TermsField, word};
use crate::catalog::filter::{Kind, Schema, Value, Values};
use crate::catalog::snapshot::Layer;
use crate::domain::model::{Availability, Capability, Component, ComponentKind, Evidence, Modality, Model, Relation};
use crate::domain::openness::{MofClass, Tier};
use crate::domain::words::words;

words! {
    /// A field of a model's own record.
    pub enum OwnField {
        /// Resource name.
        Name = "name",
        /// Name for people.
        DisplayName = "display_name",
        /// Publisher id.
        Publisher = "publisher",
        /// Other ids it is known by.
        Aliases = "aliases",
        /// Family name.
        Family = "family",
        /// Openness tier.
        Tier = "tier",
        /// Class of the Model Openness Framework.
        MofClass = "mof_class",
        /// License expression of the weights.
        LicenseExpression = "license_expression",
        /// The license of the weights as declared.
        DeclaredLicense = "declared_license",
        /// What the license of the weights rests on.
        LicenseEvidence = "license_evidence",
        /// Parts that are available, gated ones included.
        Components = "components",
        /// The models it was made from.
        BaseModels = "base_models",
        /// How it was made from them.
        Relations = "base_models.relation",
        /// The models it was made from, at any distance.
        Ancestors = "ancestors",
        /// What it takes in.
        InputModalities = "input_modalities",
        /// What it gives out.
        OutputModalities = "output_modalities",
        /// Whether it takes in or gives out more than text.
        Multimodal = "multimodal",
        /// What it can do besides.
        Capabilities = "capabilities",
        /// Longest context in tokens.
        ContextTokens = "context_tokens",
        /// Longest output in tokens.
        MaxOutputTokens = "max_output_tokens",
        /// Number of parameters.
        Parameters = "parameters.total",
        /// Parameters that are active for one token.
        ActiveParameters = "parameters.active",
        /// Date of release.
        ReleaseDate = "release_date",
        /// End of the training data.
        KnowledgeCutoff = "knowledge_cutoff",
        /// Fields on which sources disagree.
        Conflicts = "conflicts",
        /// Who put the record here.
        Origin = "origin",
        /// Registry revision of the last change.
        Revision = "revision",
        /// Providers who serve it.
        Providers = "providers",
    }
}

/// A field that a filter on models can ask for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ModelField {
    /// Of the record.
    Own(OwnField),
    /// Availability of a part.
    Availability(ComponentKind),
    /// License expression of a part.
    ComponentLicense(ComponentKind),
    /// Terms that hold for the weights, by their expression and their lineage.
    Terms(TermsField),
}

/// Evidence, weakest first. Where sources contradict each other nothing is shown, so that stands before all others.
const EVIDENCE: [Evidence; 7] = [
    Evidence::Conflict,
    Evidence::GeneralKnowledge,
    Evidence::Tag,
    Evidence::Named,
    Evidence::Secondary,
    Evidence::TextRead,
    Evidence::Confirmed,
];
const EVIDENCE_WORDS: &[&str] =
    &["CONFLICT", "GENERAL_KNOWLEDGE", "TAG", "NAMED", "SECONDARY", "TEXT_READ", "CONFIRMED"];
/// Classes, least open first.
const MOF_WORDS: &[&str] = &["NONE", "CLASS_III", "CLASS_II", "CLASS_I"];
const ORIGIN_WORDS: &[&str] = &["BUILT_IN", "IMPORTED", "OPERATOR"];

impl OwnField {
    /// What it holds.
    #[must_use]
    pub fn kind(self) -> Kind {
        match self {
            Self::Tier => Kind::Word { words: Tier::WORDS, prefix: "TIER" },
            Self::MofClass => Kind::Word { words: MOF_WORDS, prefix: "CLASS" },
            Self::LicenseEvidence => Kind::Word { words: EVIDENCE_WORDS, prefix: "EVIDENCE" },
            Self::Components => Kind::Word { words: ComponentKind::WORDS, prefix: "KIND" },
            Self::Relations => Kind::Word { words: Relation::WORDS, prefix: "RELATION" },
            Self::InputModalities | Self::OutputModalities => Kind::Word { words: Modality::WORDS, prefix: "MODALITY" },
            Self::Capabilities => Kind::Word { words: Capability::WORDS, prefix: "CAPABILITY" },
            Self::Origin => Kind::Word { words: ORIGIN_WORDS, prefix: "ORIGIN" },
            Self::Multimodal => Kind::Flag,
            Self::ContextTokens
            | Self::MaxOutputTokens
            | Self::Parameters
            | Self::ActiveParameters
            | Self::Revision => Kind::Integer,
            Self::ReleaseDate | Self::KnowledgeCutoff => Kind::Date,
            Self::Name
            | Self::DisplayName
            | Self::Publisher
            | Self::Aliases
            | Self::Family
            | Self::LicenseExpression
            | Self::DeclaredLicense
            | Self::BaseModels
            | Self::Ancestors
            | Self::Conflicts
            | Self::Providers => Kind::Text,
        }
    }

    /// Whether it holds a list.
    #[must_use]
    pub fn repeated(self) -> bool {
        match self {
            Self::Aliases
            | Self::Components
            | Self::BaseModels
            | Self::Relations
            | Self::Ancestors
            | Self::InputModalities
            | Self::OutputModalities
            | Self::Capabilities
            | Self::Conflicts
            | Self::Providers => true,
            Self::Name
            | Self::DisplayName
            | Self::Publisher
            | Self::Family
            | Self::Tier
            | Self::MofClass
            | Self::LicenseExpression
            | Self::DeclaredLicense
            | Self::LicenseEvidence
            | Self::Multimodal
            | Self::ContextTokens
            | Self::MaxOutputTokens
            | Self::Parameters
            | Self::ActiveParameters
            | Self::ReleaseDate
            | Self::KnowledgeCutoff
            | Self::Origin
            | Self::Revision => false,
        }
    }
}

/// What a record says by itself; `None` for fields that depend on other records.
pub(in crate::catalog) fn of_record(model: &Model, field: OwnField) -> Option<Values<'_>> {
    let weights = model.weights();
    Some(match field {
        OwnField::Name => Values::all([Value::text(model.name.as_str())]),
        OwnField::DisplayName => Values::one(some_text(&model.display_name)),
        OwnField::Publisher => Values::all([Value::text(model.name.publisher())]),
        OwnField::Aliases => Values::all(model.aliases.iter().map(|alias| Value::text(alias))),
        OwnField::Family => Values::one(some_text(&model.family)),
        OwnField::Tier => Values::one(model.tier.map(|tier| word(Tier::ALL, tier))),
        OwnField::LicenseExpression => {
            let expression = weights.and_then(|w| w.expression.as_ref());
            Values::one(expression.map(|expression| Value::text(expression.as_str())))
        }
        OwnField::DeclaredLicense => Values::one(weights.and_then(|w| some_text(&w.declared_license))),
        OwnField::LicenseEvidence => {
            let stated = weights.filter(|w| w.expression.is_some());
            Values::one(stated.map(|w| word(&EVIDENCE, w.evidence)))
        }
        OwnField::Components => {
            let available = |c: &&Component| c.availability.is_some_and(is_available);
            let list = model.components.iter().filter(available).map(|c| word(ComponentKind::ALL, c.kind));
            // A part that the record does not name is not known to be withheld.
            Values::known(list)
        }
        OwnField::BaseModels => Values::all(model.base_models.iter().map(|base| Value::text(base.model.as_str()))),
        OwnField::Relations => {
            let mut relations: Vec<Relation> = model.base_models.iter().map(|base| base.relation).collect();
            relations.sort_unstable();
            relations.dedup();
            Values::all(relations.into_iter().map(|relation| word(Relation::ALL, relation)))
        }
        OwnField::InputModalities => modalities(&model.input_modalities),
        OwnField::OutputModalities => modalities(&model.output_modalities),
        OwnField::Multimodal => Values::one(model.is_multimodal().map(Value::Flag)),
        OwnField::Capabilities => Values::known(model.capabilities.iter().map(|c| word(Capability::ALL, *c))),
        OwnField::ContextTokens => Values::one(model.context_tokens.map(Value::Integer)),
        OwnField::MaxOutputTokens => Values::one(model.max_output_tokens.map(Value::Integer)),
        OwnField::Parameters => Values::one(model.parameters.total.map(Value::Integer)),
        OwnField::ActiveParameters => Values::one(model.parameters.active.map(Value::Integer)),
        OwnField::ReleaseDate => Values::one(model.release_date.map(Value::Date)),
        OwnField::KnowledgeCutoff => Values::one(model.knowledge_cutoff.map(Value::Date)),
        OwnField::Conflicts => Values::all(model.conflicts.iter().map(|field| Value::text(field))),
        OwnField::MofClass | OwnField::Ancestors | OwnField::Origin | OwnField::Revision | OwnField::Providers => {
            return None;
        }
    })
}

/// What a part is known to be.
pub(in crate::catalog) fn of_part(model: &Model, kind: ComponentKind) -> Values<'static> {
    let availability = model.component(kind).and_then(|c| c.availability);
    Values::one(availability.map(|availability| word(Availability::ALL, availability)))
}

/// The license of a part.
pub(in crate::catalog) fn license_of_part(model: &Model, kind: ComponentKind) -> Values<'_> {
    let expression = model.component(kind).and_then(|c| c.expression.as_ref());
    Values::one(expression.map(|expression| Value::text(expression.as_str())))
}

/// A class of the Model Openness Framework.
pub(in crate::catalog) fn of_mof_class(class: Option<MofClass>) -> Values<'static> {
    let at = match class {
        None => 0,
        Some(MofClass::III) => 1,
        Some(MofClass::II) => 2,
        Some(MofClass::I) => 3,
    };
    Values::all([Value::Word(at)])
}

/// Who put a record here.
pub(in crate::catalog) fn of_layer(layer: Layer) -> Values<'static> {
    Values::all([word(&[Layer::BuiltIn, Layer::Imported, Layer::Operator], layer)])
}

fn is_available(availability: Availability) -> bool {
    match availability {
        Availability::Available | Availability::Gated => true,
        Availability::Partial | Availability::Withdrawn | Availability::Unavailable => false,
    }
}

fn some_text(text: &str) -> Option<Value<'_>> {
    (!text.is_empty()).then(|| Value::text(text))
}

/// A model's list is known where it is stated at all.
fn modalities(list: &[Modality]) -> Values<'static> {
    Values { open: list.is_empty(), list: list.iter().map(|modality| word(Modality::ALL, *modality)).collect() }
}

impl Schema for ModelField {
    type Field = Self;

    fn find(path: &str) -> Option<Self> {
        let path = path.strip_prefix("model.").unwrap_or(path);
        if let Some(terms) = path.strip_prefix("license.") {
            return TermsField::parse(terms).map(Self::Terms);
        }
        if let Some((kind, of)) = path.strip_prefix("components.").and_then(|rest| rest.split_once('.')) {
            let kind = ComponentKind::parse(&kind.to_ascii_uppercase().replace('-', "_"))?;
            return match of {
                "availability" => Some(Self::Availability(kind)),
                "license_expression" => Some(Self::ComponentLicense(kind)),
                _ => None,
            };
        }
        match path {
            "parameters" => Some(Self::Own(OwnField::Parameters)),
            "tier" | "model_tier" => Some(Self::Own(OwnField::Tier)),
            _ => OwnField::parse(path).map(Self::Own),
        }
    }

    fn paths() -> Vec<String> {
        let own = OwnField::WORDS.iter().map(|path| (*path).to_owned());
        let terms = TermsField::WORDS.iter().map(|path| format!("license.{path}"));
        let parts = ComponentKind::ALL.iter().flat_map(|kind| {
            let kind = kind.as_str().to_ascii_lowercase();
            [format!("components.{kind}.availability"), format!("components.{kind}.license_expression")]
        });
        own.chain(terms).chain(parts).collect()
    }

    fn kind(field: Self) -> Kind {
        match field {
            Self::Own(field) => field.kind(),
            Self::Availability(_) => Kind::Word { words: Availability::WORDS, prefix: "AVAILABILITY" },
            Self::ComponentLicense(_) => Kind::Text,
            Self::Terms(field) => field.kind(),
        }
    }

    fn is_of_terms(field: Self) -> bool {
        matches!(field, Self::Terms(_))
    }

    fn repeated(field: Self) -> bool {
        match field {
            Self::Own(field) => field.repeated(),
            Self::Availability(_) | Self::ComponentLicense(_) => false,
            Self::Terms(field) => field.repeated(),
        }
    }
}
