//! Reason codes. Stable: a code is never renamed and never used again for something else.

use crate::domain::words::words;

words! {
    /// Why a finding was made.
    pub enum Reason {
        // Resolving and access.
        /// The id is that of an offering whose model is not known.
        ModelUnresolved = "MODEL_UNRESOLVED",
        /// The weights cannot be had, so it cannot be hosted this way.
        WeightsUnavailable = "WEIGHTS_UNAVAILABLE",
        /// Nothing says whether the weights can be had.
        TierUnknown = "TIER_UNKNOWN",
        /// The weights are no longer offered for download.
        WeightsWithdrawn = "WEIGHTS_WITHDRAWN",
        /// How it is hosted is not known.
        HostingUnknown = "HOSTING_UNKNOWN",
        /// The provider's terms are not known.
        ProviderTermsUnknown = "PROVIDER_TERMS_UNKNOWN",
        /// Nothing says that the provider serves the model.
        OfferingUnknown = "OFFERING_UNKNOWN",
        /// The provider's terms are the product vendor's affair.
        ProductVendorTerms = "PRODUCT_VENDOR_TERMS",
        // The license itself.
        /// The license is not known.
        LicenseUnknown = "LICENSE_UNKNOWN",
        /// The license is known by name, its terms are not modelled.
        LicenseNotModelled = "LICENSE_NOT_MODELLED",
        /// An exception to the license is not modelled.
        LicenseExceptionNotModelled = "LICENSE_EXCEPTION_NOT_MODELLED",
        /// What the license statement rests on.
        LicenseEvidence = "LICENSE_EVIDENCE",
        /// The license statement was not looked up.
        LicenseEvidenceWeak = "LICENSE_EVIDENCE_WEAK",
        /// Sources contradict each other on the license.
        LicenseEvidenceConflict = "LICENSE_EVIDENCE_CONFLICT",
        /// The terms were not read in the text.
        TermsNotRead = "TERMS_NOT_READ",
        /// Which branch of an `OR` was taken.
        LicenseBranchChosen = "LICENSE_BRANCH_CHOSEN",
        /// Earlier revisions of the weights came under another license.
        LicenseChangedOverTime = "LICENSE_CHANGED_OVER_TIME",
        /// The pinned revision could not be placed among the license periods.
        ModelRevisionUnplaced = "MODEL_REVISION_UNPLACED",
        // Permissions and purposes.
        /// Use is not granted.
        UseProhibited = "USE_PROHIBITED",
        /// Commercial use is not granted.
        CommercialUseProhibited = "COMMERCIAL_USE_PROHIBITED",
        /// Commercial use is granted.
        CommercialUseGranted = "COMMERCIAL_USE_GRANTED",
        /// Changing it is not granted.
        ModificationProhibited = "MODIFICATION_PROHIBITED",
        /// Further training is not granted.
        FineTuningProhibited = "FINE_TUNING_PROHIBITED",
        /// Passing it on is not granted.
        RedistributionProhibited = "REDISTRIBUTION_PROHIBITED",
        /// Passing on a changed version is not granted.
        DerivativeRedistributionProhibited = "DERIVATIVE_REDISTRIBUTION_PROHIBITED",
        /// Offering it as a service is not granted.
        ServiceProhibited = "SERVICE_PROHIBITED",
        /// Using outputs is not granted.
        OutputUseProhibited = "OUTPUT_USE_PROHIBITED",
        /// Training other models on outputs is not granted.
        OutputTrainingProhibited = "OUTPUT_TRAINING_PROHIBITED",
        /// Whether an act is granted was not read.
        PermissionNotRead = "PERMISSION_NOT_READ",
        /// The text does not settle whether an act is granted.
        PermissionUnclear = "PERMISSION_UNCLEAR",
        /// The purpose is not known and decides.
        PurposeUnknown = "PURPOSE_UNKNOWN",
        /// The purpose is outside the grant.
        PurposeProhibited = "PURPOSE_PROHIBITED",
        /// The text does not settle whether the purpose is inside the grant.
        PurposeUnclear = "PURPOSE_UNCLEAR",
        /// The purpose is inside a grant that leaves out commercial use.
        PurposeGranted = "PURPOSE_GRANTED",
        // Duties.
        /// A duty that the use starts.
        DutyApplies = "DUTY_APPLIES",
        /// A duty that was done already.
        DutyFulfilled = "DUTY_FULFILLED",
        /// A duty that holds for everyone and asks for no step.
        DutyGeneral = "DUTY_GENERAL",
        /// Something that the publisher only asks for.
        DutyEncouraged = "DUTY_ENCOURAGED",
        /// Whether a duty starts depends on a fact that is not known.
        DutyUncertain = "DUTY_UNCERTAIN",
        /// Only the publisher can give what the use needs.
        PublisherConsentNeeded = "PUBLISHER_CONSENT_NEEDED",
        /// The organization cannot take a step that the use needs.
        StepNotOpen = "STEP_NOT_OPEN",
        /// The right rests on a further text that nobody read.
        AgreementNotRead = "AGREEMENT_NOT_READ",
        /// The license bars an act of the use.
        ActivityBarred = "ACTIVITY_BARRED",
        // Use restrictions.
        /// The use category is barred.
        UseRestricted = "USE_RESTRICTED",
        /// The use category is barred under a condition.
        UseRestrictedConditionally = "USE_RESTRICTED_CONDITIONALLY",
        /// The use policy was not read, or not all of it.
        UsePolicyNotRead = "USE_POLICY_NOT_READ",
        // Scale gates.
        /// A figure is beyond a gate.
        ScaleGateExceeded = "SCALE_GATE_EXCEEDED",
        /// A figure is within a gate.
        ScaleGateWithin = "SCALE_GATE_WITHIN",
        /// A figure that a gate asks for is not known.
        ScaleGateUnknown = "SCALE_GATE_UNKNOWN",
        /// The text leaves open whether a gate holds here.
        ScaleGateUnsettled = "SCALE_GATE_UNSETTLED",
        /// A gate is passed and what it asks for is at hand.
        ScaleGateSettled = "SCALE_GATE_SETTLED",
        /// The kind of business needs more than the license gives.
        BusinessTypeGated = "BUSINESS_TYPE_GATED",
        /// A royalty is due.
        RoyaltyDue = "ROYALTY_DUE",
        /// An organization's figure stood in for the exact one.
        FigureStoodIn = "FIGURE_STOOD_IN",
        // Territory.
        /// The place is outside the grant.
        TerritoryExcluded = "TERRITORY_EXCLUDED",
        /// A place that decides is not known.
        TerritoryUnknown = "TERRITORY_UNKNOWN",
        /// Whether the place is outside the grant is not settled.
        TerritoryUnclear = "TERRITORY_UNCLEAR",
        /// The place is inside the grant.
        TerritoryWithin = "TERRITORY_WITHIN",
        // Distillation.
        /// Training such models on outputs is barred.
        DistillationBarred = "DISTILLATION_BARRED",
        /// Whether training such models on outputs is barred is not settled.
        DistillationUnclear = "DISTILLATION_UNCLEAR",
        // Lineage.
        /// The terms of an ancestor are not known.
        LineageUnknown = "LINEAGE_UNKNOWN",
        /// The declared license drops terms of an ancestor.
        LicenseDrift = "LICENSE_DRIFT",
        /// The model was trained on outputs of one whose terms bar or condition that.
        OutputLineageRestricted = "OUTPUT_LINEAGE_RESTRICTED",
        // Waivers.
        /// A waiver that would silence a finding has expired.
        WaiverExpired = "WAIVER_EXPIRED",
        // Organisation policies.
        /// A policy blocks it.
        PolicyBlocks = "POLICY_BLOCKS",
        /// A policy wants somebody to look.
        PolicyReview = "POLICY_REVIEW",
        /// A policy asks for a step.
        PolicyDuty = "POLICY_DUTY",
        /// Whether a policy is met is not known.
        PolicyUndecided = "POLICY_UNDECIDED",
        /// What a policy would do that is not enforced.
        PolicyDryRun = "POLICY_DRY_RUN",
        // Requirements and assumptions.
        /// The model does not offer what is required.
        RequirementUnmet = "REQUIREMENT_UNMET",
        /// Whether the model offers what is required is not known.
        RequirementUnknown = "REQUIREMENT_UNKNOWN",
        /// A license is not on the allow-list, or on the deny-list.
        LicenseNotAllowed = "LICENSE_NOT_ALLOWED",
        /// Activities that were not listed and would worsen the verdict.
        AssumedNotDone = "ASSUMED_NOT_DONE",
    }
}

/// Whether findings with a reason can be waived, and how narrowly.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Waiving {
    /// Never: nobody can approve it away, or it does not worsen a verdict.
    No,
    /// All findings with the reason, on one license or model.
    Whole,
    /// Those on one kind of duty.
    ByDuty,
    /// Those on one use category.
    ByCategory,
    /// Those of one policy.
    ByPolicy,
}

impl Reason {
    /// How it can be waived. One table, no default arm.
    #[must_use]
    pub fn waiving(self) -> Waiving {
        match self {
            // These wait for a fact of the use: state it.
            Self::HostingUnknown
            | Self::PurposeUnknown
            | Self::ScaleGateUnknown
            | Self::TerritoryUnknown
            | Self::DutyUncertain => Waiving::No,
            // What is not known has to be found out and recorded; what is absolutely barred, or not there, stays so; a
            // requirement is the use's own.
            Self::ModelUnresolved
            | Self::WeightsUnavailable
            | Self::TierUnknown
            | Self::LicenseUnknown
            | Self::LicenseNotModelled
            | Self::UseProhibited
            | Self::UseRestricted
            | Self::RequirementUnmet
            | Self::RequirementUnknown
            | Self::LicenseNotAllowed => Waiving::No,
            // These never worsen a verdict.
            Self::WeightsWithdrawn
            | Self::LicenseEvidence
            | Self::TermsNotRead
            | Self::LicenseBranchChosen
            | Self::CommercialUseGranted
            | Self::PurposeGranted
            | Self::DutyFulfilled
            | Self::DutyGeneral
            | Self::DutyEncouraged
            | Self::ScaleGateWithin
            | Self::ScaleGateSettled
            | Self::FigureStoodIn
            | Self::TerritoryWithin
            | Self::LicenseDrift
            | Self::WaiverExpired
            | Self::PolicyDryRun
            | Self::AssumedNotDone => Waiving::No,
            Self::DutyApplies
            | Self::PublisherConsentNeeded
            | Self::StepNotOpen
            | Self::AgreementNotRead
            | Self::ActivityBarred => Waiving::ByDuty,
            Self::UseRestrictedConditionally | Self::UsePolicyNotRead => Waiving::ByCategory,
            Self::PolicyBlocks | Self::PolicyReview | Self::PolicyDuty | Self::PolicyUndecided => Waiving::ByPolicy,
            Self::ProviderTermsUnknown
            | Self::OfferingUnknown
            | Self::ProductVendorTerms
            | Self::LicenseExceptionNotModelled
            | Self::LicenseEvidenceWeak
            | Self::LicenseEvidenceConflict
            | Self::LicenseChangedOverTime
            | Self::ModelRevisionUnplaced
            | Self::CommercialUseProhibited
            | Self::ModificationProhibited
            | Self::FineTuningProhibited
            | Self::RedistributionProhibited
            | Self::DerivativeRedistributionProhibited
            | Self::ServiceProhibited
            | Self::OutputUseProhibited
            | Self::OutputTrainingProhibited
            | Self::PermissionNotRead
            | Self::PermissionUnclear
            | Self::PurposeProhibited
            | Self::PurposeUnclear
            | Self::ScaleGateExceeded
            | Self::ScaleGateUnsettled
            | Self::BusinessTypeGated
            | Self::RoyaltyDue
            | Self::TerritoryExcluded
            | Self::TerritoryUnclear
            | Self::DistillationBarred
            | Self::DistillationUnclear
            | Self::LineageUnknown
            | Self::OutputLineageRestricted => Waiving::Whole,
        }
    }
}
