//! Licenses: their terms as data.

mod check;
mod compare;
mod duty;
mod expression;
mod gate;
mod listed;

pub use compare::{Row, Side, compare};
pub use duty::{Approval, Binding, Duty, DutyClass, DutyKind, DutyKinds, Trigger};
pub use expression::{Expression, ExpressionError, Term};
pub use gate::{AtThreshold, Comparison, GateEffect, GateSubject, Measured, ScaleGate};
pub use listed::Listed;

use super::date::Date;
use super::name::LicenseId;
use super::place::Places;
use super::vocabulary::{UseSet, Vocabulary};
use super::words::words;

type Text = Box<str>;

/// A set of terms under an id. Facts only, each with its clause.
#[derive(Clone, Debug, PartialEq)]
pub struct License {
    /// Its id.
    pub id: LicenseId,
    /// `licenses/{id}`, kept so that answers need not build it.
    pub resource_name: Text,
    /// Title.
    pub display_name: Text,
    /// Where the text can be read.
    pub url: Text,
    /// What it is.
    pub category: Category,
    /// Whether the OSI approved it.
    pub osi_approved: bool,
    /// How its facts were obtained.
    pub confidence: Confidence,
    /// For service terms: provider ids on whose own service they apply.
    pub providers: Vec<Text>,
    /// The acts it speaks of.
    pub permissions: Permissions,
    /// What the grant covers where commercial use is not granted.
    pub purposes: Purposes,
    /// Purposes outside the grant.
    pub purpose_limits: Vec<PurposeLimit>,
    /// Duties, bars and preconditions.
    pub duties: Vec<Duty>,
    /// Barred uses, those of a shared policy included.
    pub use_restrictions: Vec<UseRestriction>,
    /// The acceptable-use policy.
    pub use_policy: UsePolicy,
    /// Thresholds.
    pub scale_gates: Vec<ScaleGate>,
    /// Places outside the grant.
    pub territory: Option<Territory>,
    /// What holds for outputs.
    pub outputs: OutputTerms,
    /// Whether the publisher can take it back without a breach.
    pub revocable: bool,
    /// What it limits, where a catalog has worked it out: lineage asks for it at every step.
    pub limits: Option<Limits>,
}

/// What a license limits, in a form that is quick to hold against another's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// In which ways.
    pub kinds: Restrictiveness,
    /// Barred uses.
    pub uses: UseSet,
}

impl License {
    /// Whether its text was read.
    #[must_use]
    pub fn is_read(&self) -> bool {
        self.confidence == Confidence::ReadFullText
    }

    /// Works out what it limits, once it holds all of its terms.
    pub fn work_out_limits(&mut self, vocabulary: &Vocabulary) {
        let barred = self.use_restrictions.iter().map(|restriction| &*restriction.category);
        self.limits = vocabulary.use_set(barred).map(|uses| Limits { kinds: Restrictiveness::of(self), uses });
    }

    /// Whether it bars a use category of that very name, under a condition perhaps.
    #[must_use]
    pub fn restricts(&self, category: &str) -> bool {
        self.use_restrictions.iter().any(|restriction| *restriction.category == *category)
    }
}

words! {
    /// What a license is, in one word.
    pub enum Category {
        /// OSI-approved, no duty to share changes.
        OsiPermissive = "osi-permissive",
        /// OSI-approved; changes that are passed on stay under it.
        OsiCopyleft = "osi-copyleft",
        /// Written for works of content.
        ContentLicense = "content-license",
        /// Written for data.
        DataLicense = "data-license",
        /// Used on models, notice duties only, not OSI-approved.
        OpenWeightPermissive = "open-weight-permissive",
        /// A publisher's own model license with limits.
        OpenWeightCommunity = "open-weight-community",
        /// Built around a list of barred uses.
        ResponsibleAi = "responsible-ai",
        /// No commercial use.
        NonCommercial = "non-commercial",
        /// Research and little beyond.
        ResearchOnly = "research-only",
        /// Terms of a provider's service.
        ServiceTerms = "service-terms",
        /// No grant, or terms that are not known.
        Proprietary = "proprietary",
    }
}

words! {
    /// How facts were obtained.
    pub enum Confidence {
        /// A copy of the text was at hand.
        ReadFullText = "read",
        /// No copy, part of one, or an outline.
        SecondarySource = "secondary",
    }
}

/// The answers on the nine acts.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Permissions {
    /// Running it.
    pub use_: Permission,
    /// Use for gain, also inside a business.
    pub commercial_use: Permission,
    /// Changing it.
    pub modify: Permission,
    /// Further training.
    pub fine_tune: Permission,
    /// Passing on unchanged copies.
    pub redistribute: Permission,
    /// Passing on changed versions; `None`: `redistribute` answers for it.
    pub redistribute_derivative: Option<Permission>,
    /// Letting others use it over a network.
    pub offer_as_service: Permission,
    /// Using outputs.
    pub use_outputs: Permission,
    /// Training other models on outputs.
    pub train_other_models: Permission,
}

/// The answer on one act.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Permission {
    /// The answer before duties, gates and restrictions.
    pub status: PermissionStatus,
    /// Clause.
    pub clause: Text,
    /// Explanation.
    pub note: Text,
}

/// The answer before duties, gates and restrictions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum PermissionStatus {
    /// The text is silent, or was not read.
    #[default]
    Unspecified,
    /// Granted.
    Allowed,
    /// Granted within the other terms.
    Conditional,
    /// Not granted.
    Prohibited,
    /// The words do not settle it.
    Unclear,
}

/// Whether purposes are inside a grant that leaves out commercial use. `None`: not listed.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Purposes {
    /// Internal business.
    pub internal_business: Option<PurposeStatus>,
    /// Research.
    pub research: Option<PurposeStatus>,
    /// Evaluation.
    pub evaluation: Option<PurposeStatus>,
    /// Education.
    pub education: Option<PurposeStatus>,
    /// Private ends.
    pub personal: Option<PurposeStatus>,
    /// Whether a for-profit company may pursue them.
    pub company: Option<PurposeStatus>,
    /// Whether a public body, a university or armed forces may.
    pub institution: Option<PurposeStatus>,
    /// Clause of the list.
    pub clause: Text,
}

impl Purposes {
    /// Whether the license lists any.
    #[must_use]
    pub fn is_listed(&self) -> bool {
        let Self { internal_business, research, evaluation, education, personal, company, institution, clause: _ } =
            self;
        let all = [internal_business, research, evaluation, education, personal, company, institution];
        all.iter().any(|p| p.is_some())
    }
}

/// Whether a purpose is inside a grant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PurposeStatus {
    /// Inside.
    Allowed,
    /// Outside.
    Prohibited,
    /// The words do not settle it.
    Unclear,
}

/// A purpose outside the grant.
#[derive(Clone, Debug, PartialEq)]
pub struct PurposeLimit {
    /// Which.
    pub purpose: ExcludedPurpose,
    /// Clause.
    pub clause: Text,
    /// What narrows or explains it.
    pub condition: Text,
}

words! {
    /// A purpose that a text names as outside the grant.
    pub enum ExcludedPurpose {
        /// Any commercial purpose.
        Commercial = "commercial",
        /// Use in production, also without pay.
        ProductionUse = "production-use",
        /// Developing a product.
        ProductDevelopment = "product-development",
        /// Staff of a company using it in their tasks.
        EmployeeDailyWork = "employee-daily-work",
        /// Trials meant to lead to revenue.
        PocForRevenue = "poc-for-revenue",
        /// Training other models.
        TrainOtherModels = "train-other-models",
        /// Building a competing model.
        CompetingModel = "competing-model",
    }
}

words! {
    /// A condition of a duty, gate or bar.
    pub enum Predicate {
        /// The purpose is commercial or internal business.
        CommercialUse = "commercial use",
        /// It is neither.
        NonCommercialUse = "non-commercial use",
        /// Research or evaluation.
        ResearchOrEvaluation = "research or evaluation",
        /// The organization is one of the named business types.
        BusinessType = "a named business type",
        /// Got the model inside somebody else's product.
        EndUserOfProduct = "end users of a finished product",
        /// A non-profit for a non-commercial purpose.
        NonProfitNonCommercial = "non-profits for non-commercial purposes",
        /// Runs on the user's side.
        SelfHosting = "self-hosting",
        /// Others reach it over a network.
        Service = "offering it as a service",
        /// End users in the EEA, Switzerland or the United Kingdom.
        EndUsersInEeaChGb = "end users in the EEA, Switzerland or the United Kingdom",
        /// The outputs used are images.
        ImageOutputs = "image outputs",
        /// One of NVIDIA's Cosmos models.
        CosmosModel = "Cosmos models",
        /// A for-profit company.
        Company = "for-profit companies",
    }
}

/// A barred use.
#[derive(Clone, Debug, PartialEq)]
pub struct UseRestriction {
    /// Use category.
    pub category: Text,
    /// Barred outright; otherwise only under `condition`.
    pub absolute: bool,
    /// Clause.
    pub clause: Text,
    /// What narrows it, or how it is worded.
    pub condition: Text,
}

/// An acceptable-use policy.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct UsePolicy {
    /// Id of the shared list whose restrictions were taken over; empty for none.
    pub policy: Text,
    /// Title.
    pub title: Text,
    /// Where it can be read.
    pub url: Text,
    /// How much of it is in the record.
    pub coverage: Coverage,
}

/// How much of a policy is in the record.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Coverage {
    /// All, or there is none.
    #[default]
    Complete,
    /// Part.
    Partial,
    /// None.
    NotRead,
}

/// Places outside a grant.
#[derive(Clone, Debug, PartialEq)]
pub struct Territory {
    /// Which.
    pub excluded: Places,
    /// Whose place counts.
    pub test: TerritoryTest,
    /// Only models that take in or give out more than text.
    pub multimodal_only: bool,
    /// Predicates of which any one lifts it.
    pub unless: Vec<Predicate>,
    /// Clause.
    pub clause: Text,
    /// What a reader should know besides.
    pub note: Text,
}

words! {
    /// Whose place counts.
    pub enum TerritoryTest {
        /// Not known.
        Unknown = "an unknown place",
        /// Where the licensee has its principal place of business.
        Domicile = "the licensee's domicile or principal place of business",
        /// Where it runs, is offered, and where outputs are seen.
        PlaceOfUse = "the place of use",
        /// Where the customer and its staff are.
        CustomerAndPersonnel = "the place of the customer and its staff",
        /// Whether the place is on the publisher's list.
        PublisherList = "the publisher's list of supported places",
    }
}

/// What holds for outputs.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct OutputTerms {
    /// Which models may not be trained on outputs.
    pub training_barred: Vec<BarredTraining>,
    /// Predicates that must all hold for the bar.
    pub training_barred_only_if: Vec<Predicate>,
    /// A model trained on outputs to act alike is a derivative.
    pub trained_model_is_derivative: bool,
    /// Clause.
    pub clause: Text,
    /// Exceptions and details.
    pub note: Text,
}

words! {
    /// A kind of model that may not be trained on outputs.
    pub enum BarredTraining {
        /// Any other AI model.
        AnyModel = "any other AI model",
        /// Any other language model.
        OtherLanguageModel = "any other language model",
        /// Any other image model.
        OtherImageModel = "any other image model",
        /// Other foundation models.
        FoundationModel = "other foundation models",
        /// Competing models.
        CompetingModel = "competing models",
    }
}

/// What a descendant's license can lose of an ancestor's, for `LICENSE_DRIFT`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Restrictiveness(u8);

impl Restrictiveness {
    const WORDS: [&'static str; 8] = [
        "the limits on purpose",
        "the scale gates",
        "the territory",
        "the use restrictions",
        "the limits on training other models",
        "the duty to share alike",
        "the duty to show a name or phrase",
        "the need for the publisher's consent",
    ];

    /// The use restrictions.
    pub const USES: Self = Self(1 << 3);

    /// What a license restricts.
    #[must_use]
    pub fn of(license: &License) -> Self {
        let has = |kinds: &[DutyKind]| license.duties.iter().any(|d| kinds.contains(&d.kind));
        let flags = [
            license.permissions.commercial_use.status == PermissionStatus::Prohibited
                || license.purposes.is_listed()
                || !license.purpose_limits.is_empty(),
            !license.scale_gates.is_empty(),
            license.territory.is_some(),
            !license.use_restrictions.is_empty() || license.use_policy.coverage != Coverage::Complete,
            !license.outputs.training_barred.is_empty() || license.outputs.trained_model_is_derivative,
            has(&[DutyKind::ShareAlike, DutyKind::NetworkUseDisclose, DutyKind::DiscloseSource]),
            has(&[DutyKind::DisplayBranding, DutyKind::NamePrefix]),
            license.duties.iter().any(|d| d.class() == DutyClass::Consent),
        ];
        Self(flags.iter().enumerate().fold(0, |bits, (i, set)| bits | (u8::from(*set) << i)))
    }

    /// Both together.
    #[must_use]
    pub fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// What is in both.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    /// What is here and not in `other`.
    #[must_use]
    pub fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    /// Whether all of `other` is here.
    #[must_use]
    pub fn has(self, other: Self) -> bool {
        other.without(self).is_empty()
    }

    /// Whether nothing is left.
    #[must_use]
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// In words.
    pub fn words(self) -> impl Iterator<Item = &'static str> {
        Self::WORDS.iter().enumerate().filter(move |(i, _)| self.0 & (1 << i) != 0).map(|(_, word)| *word)
    }
}

/// A license period of a component: which expression held when.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct LicensePeriod {
    /// First day; `None` when open.
    pub from: Option<Date>,
    /// Last day, inclusive; `None` when open.
    pub until: Option<Date>,
    /// What held.
    pub expression: Expression,
    /// Commit or tag that starts it.
    pub commit: Text,
}
