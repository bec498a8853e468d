//! Duties, bars and preconditions: one list, told apart by kind.

use super::{Predicate, Text};
use crate::domain::name::LicenseId;
use crate::domain::words::words;

/// Something that a license asks for or bars.
#[derive(Clone, Debug, PartialEq)]
pub struct Duty {
    /// Which.
    pub kind: DutyKind,
    /// What must be done.
    pub text: Text,
    /// What starts it; any one is enough.
    pub when: Vec<Trigger>,
    /// Acts for which it does not hold although a trigger is met.
    pub not_when: Vec<Trigger>,
    /// Predicates that must all hold besides.
    pub only_if: Vec<Predicate>,
    /// Clause.
    pub clause: Text,
    /// Wording that is demanded; any one is enough.
    pub exact_strings: Vec<Text>,
    /// How strongly it binds.
    pub binding: Binding,
    /// Whether the publisher has a say.
    pub approval: Approval,
    /// Group of the gates that start it; empty for none.
    pub gate_group: Text,
    /// Who cannot take the step.
    pub not_open_to: Vec<Text>,
    /// Licenses whose terms it brings in.
    pub incorporates: Vec<LicenseId>,
}

impl Duty {
    /// Which of the classes it belongs to; consent depends on who decides.
    #[must_use]
    pub fn class(&self) -> DutyClass {
        match (self.kind.class(), self.approval) {
            (DutyClass::Step, Approval::PublisherDecides) => DutyClass::Consent,
            (class, _) => class,
        }
    }
}

words! {
    /// What starts a duty.
    pub enum Trigger {
        /// Every use.
        Any = "ANY",
        /// Copies reach others.
        Redistribute = "REDISTRIBUTE",
        /// A changed version reaches others as copies.
        Derivative = "DERIVATIVE",
        /// A changed version reaches others as a service.
        DerivativeService = "DERIVATIVE_SERVICE",
        /// Others use it over a network.
        Service = "SERVICE",
        /// A model trained on outputs reaches others.
        TrainedModel = "TRAINED_MODEL",
        /// Outputs or results are published.
        Publish = "PUBLISH",
        /// Test results are published.
        Benchmark = "BENCHMARK",
    }
}

impl Trigger {
    /// When it is met, as a part of a sentence.
    #[must_use]
    pub fn in_words(self) -> &'static str {
        match self {
            Self::Any => "with every use",
            Self::Redistribute => "when copies reach others",
            Self::Derivative => "when copies of a changed version reach others",
            Self::DerivativeService => "when a changed version is offered over a network",
            Self::Service => "when it, or a product on it, is offered over a network",
            Self::TrainedModel => "when a model trained on its outputs reaches others",
            Self::Publish => "when outputs or results are published",
            Self::Benchmark => "when test results are published",
        }
    }
}

/// How strongly a duty binds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Binding {
    /// The text demands it.
    #[default]
    Required,
    /// The text only asks for it.
    Encouraged,
    /// The publisher asks for it outside the text.
    OutsideText,
}

/// Whether the publisher has a say.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Approval {
    /// The user can complete it alone.
    #[default]
    SelfService,
    /// The publisher may refuse.
    PublisherDecides,
    /// The right comes from a further text that was not read.
    UnreadAgreement,
}

/// What a kind of duty amounts to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DutyClass {
    /// A step the user can take alone.
    Step,
    /// Only the publisher can give it: bars the use until it is given.
    Consent,
    /// The act itself is what is barred.
    Bar(Trigger),
    /// Holds for everyone and asks for no step.
    General,
}

words! {
    /// A kind of duty. The words are the slugs of the license data.
    pub enum DutyKind {
        /// Accept the terms at the publisher's download gate.
        AcceptGatedTerms = "accept_gated_terms",
        /// Stay inside the publisher's list of barred uses.
        AcceptableUsePolicy = "acceptable_use_policy",
        /// Users must have reached an age.
        AgeMinimum = "age_minimum",
        /// Users can swap in a changed library.
        AllowRelinking = "allow_relinking",
        /// Keep or give the notice.
        AttributionNotice = "attribution_notice",
        /// Oblige one's own users to follow the use restrictions.
        BindUsers = "bind_users",
        /// Follow the publisher's rules when its mark is used.
        BrandGuidelines = "brand_guidelines",
        /// Delete copies when the license ends, and prove it.
        CertifyDeletion = "certify_deletion",
        /// Follow the law that applies.
        ComplyWithLaw = "comply_with_law",
        /// Use the data for computation only.
        ComputationalUseOnly = "computational_use_only",
        /// Publish a report on what a derivative changes.
        DerivativeImpactReport = "derivative_impact_report",
        /// Say of published output that a machine made it.
        DiscloseAiOutput = "disclose_ai_output",
        /// Give the source with what is passed on.
        DiscloseSource = "disclose_source",
        /// Show the demanded phrase or name.
        DisplayBranding = "display_branding",
        /// Follow sanctions and trade-control rules.
        ExportControl = "export_control",
        /// Give recipients the license text.
        IncludeLicenseCopy = "include_license_copy",
        /// Hold the publisher harmless.
        IndemnifyPublisher = "indemnify_publisher",
        /// Leave safety measures in place.
        KeepGuardrails = "keep_guardrails",
        /// Leave watermarks in place.
        KeepProvenanceMarks = "keep_provenance_marks",
        /// Pass on documentation of the model.
        ModelCard = "model_card",
        /// The resulting model's name starts with the demanded word.
        NamePrefix = "name_prefix",
        /// The resulting name avoids the reserved word.
        NameRestriction = "name_restriction",
        /// Offer the source to users over a network.
        NetworkUseDisclose = "network_use_disclose",
        /// Add no terms or locks.
        NoAddedRestrictions = "no_added_restrictions",
        /// Do not publish test results.
        NoBenchmarkDisclosure = "no_benchmark_disclosure",
        /// Do not claim endorsement.
        NoEndorsement = "no_endorsement",
        /// Do not scrape or extract.
        NoExtraction = "no_extraction",
        /// Do not pass on access keys.
        NoKeyTransfer = "no_key_transfer",
        /// Make no false claim of origin.
        NoMisrepresentation = "no_misrepresentation",
        /// Do not bring it under open-source terms.
        NoOpenSourceContamination = "no_open_source_contamination",
        /// Do not pass it on.
        NoRedistribution = "no_redistribution",
        /// Do not reverse engineer.
        NoReverseEngineering = "no_reverse_engineering",
        /// Do not sell it by itself.
        NoStandaloneSale = "no_standalone_sale",
        /// Recipients get their rights from the publisher.
        NoSublicensing = "no_sublicensing",
        /// Tell the publisher.
        NotifyPublisher = "notify_publisher",
        /// Fetch and apply the publisher's output filter.
        OutputFilterUpdates = "output_filter_updates",
        /// Filter or review outputs.
        OutputSafeguards = "output_safeguards",
        /// A paid plan covers the use.
        PaidPlan = "paid_plan",
        /// Put the use restrictions into the agreement with recipients.
        PassThroughUseRestrictions = "pass_through_use_restrictions",
        /// Handle personal data lawfully.
        PersonalDataCompliance = "personal_data_compliance",
        /// Name the model in publications.
        PublicationAttribution = "publication_attribution",
        /// The publisher reviews the use first.
        PublisherReview = "publisher_review",
        /// Register or apply with the publisher.
        Registration = "registration",
        /// Pay a share of what is earned.
        Royalty = "royalty",
        /// A separate agreement from the publisher covers the use.
        SeparateAgreement = "separate_agreement",
        /// What is passed on stays under the same license.
        ShareAlike = "share_alike",
        /// Say what was changed.
        StateChanges = "state_changes",
        /// Use it only from places the publisher supports.
        SupportedTerritory = "supported_territory",
        /// Parts under other licenses keep those terms.
        ThirdPartyLicenseStack = "third_party_license_stack",
        /// Tell receivers of a derivative the terms.
        TransferNotice = "transfer_notice",
        /// Move to the newest version.
        UseLatestVersion = "use_latest_version",
    }
}

impl DutyKind {
    /// What the kind amounts to. One table, no default arm.
    #[must_use]
    pub fn class(self) -> DutyClass {
        use DutyClass::{Bar, Consent, General, Step};
        match self {
            Self::PaidPlan | Self::PublisherReview | Self::SeparateAgreement => Consent,
            Self::NoBenchmarkDisclosure => Bar(Trigger::Benchmark),
            Self::NoRedistribution => Bar(Trigger::Redistribute),
            Self::CertifyDeletion | Self::ComplyWithLaw | Self::ExportControl | Self::IndemnifyPublisher => General,
            Self::AcceptGatedTerms
            | Self::AcceptableUsePolicy
            | Self::AgeMinimum
            | Self::AllowRelinking
            | Self::AttributionNotice
            | Self::BindUsers
            | Self::BrandGuidelines
            | Self::ComputationalUseOnly
            | Self::DerivativeImpactReport
            | Self::DiscloseAiOutput
            | Self::DiscloseSource
            | Self::DisplayBranding
            | Self::IncludeLicenseCopy
            | Self::KeepGuardrails
            | Self::KeepProvenanceMarks
            | Self::ModelCard
            | Self::NamePrefix
            | Self::NameRestriction
            | Self::NetworkUseDisclose
            | Self::NoAddedRestrictions
            | Self::NoEndorsement
            | Self::NoExtraction
            | Self::NoKeyTransfer
            | Self::NoMisrepresentation
            | Self::NoOpenSourceContamination
            | Self::NoReverseEngineering
            | Self::NoStandaloneSale
            | Self::NoSublicensing
            | Self::NotifyPublisher
            | Self::OutputFilterUpdates
            | Self::OutputSafeguards
            | Self::PassThroughUseRestrictions
            | Self::PersonalDataCompliance
            | Self::PublicationAttribution
            | Self::Registration
            | Self::Royalty
            | Self::ShareAlike
            | Self::StateChanges
            | Self::SupportedTerritory
            | Self::ThirdPartyLicenseStack
            | Self::TransferNotice
            | Self::UseLatestVersion => Step,
        }
    }

    /// Its bit in a [`DutyKinds`] set.
    fn bit(self) -> u64 {
        1 << (self as u32)
    }
}

/// A set of duty kinds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DutyKinds(u64);

// The set is one word wide.
const _: () = assert!(DutyKind::ALL.len() <= 64);

impl DutyKinds {
    /// Adds a kind.
    pub fn insert(&mut self, kind: DutyKind) {
        self.0 |= kind.bit();
    }

    /// Whether it holds a kind.
    #[must_use]
    pub fn contains(self, kind: DutyKind) -> bool {
        self.0 & kind.bit() != 0
    }
}
