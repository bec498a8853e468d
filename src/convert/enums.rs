//! Enums of the wire and of the domain, value by value.

use super::violations::Violations;
use crate::domain::eligibility::{Activity, Effect, Hosting, OrganizationType, PolicyEffect, Purpose, Verdict};
use crate::domain::hosting::{Precision, Route, Standing};
use crate::domain::license::{
    AtThreshold, BarredTraining, Category, Comparison, ExcludedPurpose, GateEffect, GateSubject, PermissionStatus,
    Predicate, PurposeStatus, TerritoryTest, Trigger,
};
use crate::domain::model::{Availability, Capability, ComponentKind, Evidence, Modality, Relation};
use crate::domain::offering::MatchStage;
use crate::domain::openness::{MofClass, Tier};
use crate::pb::weighbridge::v1 as pb;

/// An enum of the wire and its twin in the domain. The zero value stands for absence.
pub(super) trait Wire: Sized + Copy {
    /// `Ok(None)` for the zero value, `Err` for a number that is not known.
    fn of(number: i32) -> Result<Option<Self>, i32>;
    /// The number on the wire.
    fn number(self) -> i32;
    /// Short names of all values, for messages.
    fn names() -> String;
}

macro_rules! wire {
    ($($domain:ident = $wire:path { $($value:ident = $twin:ident),+ $(,)? } $(zero $zero:ident)?;)+) => { $(
        impl Wire for $domain {
            fn of(number: i32) -> Result<Option<Self>, i32> {
                use $wire as Twin;
                match Twin::try_from(number) {
                    $( Ok(Twin::$zero) => Ok(None), )?
                    $( Ok(Twin::$twin) => Ok(Some(Self::$value)), )+
                    Err(_) => Err(number),
                }
            }

            fn number(self) -> i32 {
                use $wire as Twin;
                match self {
                    $( Self::$value => Twin::$twin as i32, )+
                }
            }

            fn names() -> String {
                use $wire as Twin;
                [ $( Twin::$twin.as_str_name(), )+ ].join(", ")
            }
        }
    )+ };
}

wire! {
    Precision = pb::Precision { Fp32 = Fp32, Bf16 = Bf16, Fp8 = Fp8, Int4 = Int4 } zero Unspecified;
    Route = pb::Route {
        VendorApi = VendorApi, HostedOpenWeights = HostedOpenWeights, SelfHosted = SelfHosted,
    } zero Unspecified;
    Standing = pb::Standing { Open = Open, Review = Review, Closed = Closed } zero Unspecified;
    PolicyEffect = pb::PolicyEffect { Block = Block, Review = Review, Duty = Duty } zero Unspecified;
    Tier = pb::Tier { Proprietary = Proprietary, OpenWeight = OpenWeight, OpenSource = OpenSource } zero Unspecified;
    Modality = pb::Modality {
        Text = Text, Image = Image, Audio = Audio, Video = Video, Pdf = Pdf, ThreeD = ThreeD,
    } zero Unspecified;
    Capability = pb::Capability {
        ToolCall = ToolCall, Reasoning = Reasoning, StructuredOutput = StructuredOutput, Attachment = Attachment,
        Temperature = Temperature,
    } zero Unspecified;
    ComponentKind = pb::component::Kind {
        ModelWeights = ModelWeights, TrainingData = TrainingData, TrainingCode = TrainingCode,
        InferenceCode = InferenceCode, ModelArchitecture = ModelArchitecture,
        DataPreprocessingCode = DataPreprocessingCode, EvaluationCode = EvaluationCode,
        SupportingLibraries = SupportingLibraries, IntermediateWeights = IntermediateWeights,
        EvaluationData = EvaluationData, ModelMetadata = ModelMetadata, SampleOutputs = SampleOutputs,
        ModelCard = ModelCard, DataCard = DataCard, TechnicalReport = TechnicalReport, ResearchPaper = ResearchPaper,
        EvaluationResults = EvaluationResults,
    } zero Unspecified;
    Availability = pb::component::Availability {
        Available = Available, Gated = Gated, Partial = Partial, Withdrawn = Withdrawn, Unavailable = Unavailable,
    } zero Unspecified;
    Evidence = pb::Evidence {
        GeneralKnowledge = GeneralKnowledge, Tag = Tag, Named = Named, Secondary = Secondary, TextRead = TextRead,
        Confirmed = Confirmed, Conflict = Conflict,
    } zero Unspecified;
    Relation = pb::base_model::Relation {
        FineTune = FineTune, Merge = Merge, Quantized = Quantized, Adapter = Adapter,
        DistilledWeights = DistilledWeights, TrainedOnOutputs = TrainedOnOutputs,
    } zero Unspecified;
    MatchStage = pb::alias_match::Stage {
        Name = Name, Alias = Alias, FoldedAlias = FoldedAlias, Offering = Offering, Cleaned = Cleaned,
    } zero Unspecified;
    MofClass = pb::mof_assessment::Class { I = I, II = Ii, III = Iii } zero Unspecified;
    Category = pb::license::Category {
        OsiPermissive = OsiPermissive, OsiCopyleft = OsiCopyleft, ContentLicense = ContentLicense,
        DataLicense = DataLicense, OpenWeightPermissive = OpenWeightPermissive,
        OpenWeightCommunity = OpenWeightCommunity, ResponsibleAi = ResponsibleAi, NonCommercial = NonCommercial,
        ResearchOnly = ResearchOnly, ServiceTerms = ServiceTerms, Proprietary = Proprietary,
    } zero Unspecified;
    PermissionStatus = pb::permission::Status {
        Allowed = Allowed, Conditional = Conditional, Prohibited = Prohibited, Unclear = Unclear,
        Unspecified = Unspecified,
    };
    PurposeStatus = pb::purpose_grant::Status {
        Allowed = Allowed, Prohibited = Prohibited, Unclear = Unclear,
    } zero Unspecified;
    ExcludedPurpose = pb::purpose_limit::Excluded {
        Commercial = Commercial, ProductionUse = ProductionUse, ProductDevelopment = ProductDevelopment,
        EmployeeDailyWork = EmployeeDailyWork, PocForRevenue = PocForRevenue, TrainOtherModels = TrainOtherModels,
        CompetingModel = CompetingModel,
    } zero Unspecified;
    Trigger = pb::license_duty::Trigger {
        Any = Any, Redistribute = Redistribute, Derivative = Derivative, DerivativeService = DerivativeService,
        Service = Service, TrainedModel = TrainedModel, Publish = Publish, Benchmark = Benchmark,
    } zero Unspecified;
    Predicate = pb::Predicate {
        CommercialUse = CommercialUse, NonCommercialUse = NonCommercialUse,
        ResearchOrEvaluation = ResearchOrEvaluation, BusinessType = BusinessType,
        EndUserOfProduct = EndUserOfProduct, NonProfitNonCommercial = NonProfitNonCommercial,
        SelfHosting = SelfHosting, Service = Service, EndUsersInEeaChGb = EndUsersInEeaChGb,
        ImageOutputs = ImageOutputs, CosmosModel = CosmosModel, Company = Company,
    } zero Unspecified;
    Comparison = pb::scale_gate::Comparison {
        GreaterThan = GreaterThan, AtLeast = AtLeast, IsOneOf = IsOneOf,
    } zero Unspecified;
    AtThreshold = pb::scale_gate::AtThreshold {
        Inside = Inside, Unsettled = Unsettled, AsCompared = Unspecified,
    };
    GateEffect = pb::scale_gate::Effect {
        SeparateLicense = SeparateLicense, DisplayBranding = DisplayBranding, PublisherReview = PublisherReview,
        Prohibited = Prohibited, Royalty = Royalty,
    } zero Unspecified;
    TerritoryTest = pb::territory::Test {
        Domicile = Domicile, PlaceOfUse = PlaceOfUse, CustomerAndPersonnel = CustomerAndPersonnel,
        PublisherList = PublisherList, Unknown = Unspecified,
    };
    BarredTraining = pb::output_terms::Barred {
        AnyModel = AnyModel, OtherLanguageModel = OtherLanguageModel, OtherImageModel = OtherImageModel,
        FoundationModel = FoundationModel, CompetingModel = CompetingModel,
    } zero Unspecified;
    Purpose = pb::Purpose {
        Commercial = Commercial, InternalBusiness = InternalBusiness, Research = Research, Evaluation = Evaluation,
        Education = Education, Personal = Personal,
    } zero Unspecified;
    OrganizationType = pb::organization::Type {
        Individual = Individual, Company = Company, NonProfit = NonProfit, Academic = Academic,
        Government = Government, Military = Military,
    } zero Unspecified;
    Hosting = pb::Hosting {
        VendorApi = VendorApi, SelfHosted = SelfHosted, OnPremises = OnPremises, EdgeOffline = EdgeOffline,
    } zero Unspecified;
    Activity = pb::Activity {
        FineTune = FineTune, Modify = Modify, RedistributeWeights = RedistributeWeights,
        RedistributeDerivative = RedistributeDerivative, OfferAsService = OfferAsService,
        TrainOtherModels = TrainOtherModels, TrainCompetingModels = TrainCompetingModels,
        DistributeTrainedModel = DistributeTrainedModel, PublishOutputs = PublishOutputs,
        BenchmarkPublicly = BenchmarkPublicly,
    } zero Unspecified;
    Verdict = pb::Verdict {
        Eligible = Eligible, EligibleWithConditions = EligibleWithConditions, NeedsReview = NeedsReview,
        Ineligible = Ineligible,
    } zero Unspecified;
    Effect = pb::Effect {
        Blocks = Blocks, Review = Review, Duty = Duty, Permits = Permits, Info = Info,
    } zero Unspecified;
    GateSubject = pb::MeasureSubject { Product = Product, Licensee = Licensee, Group = Group } zero Unspecified;
}

/// Reads an enum field: absent for the zero value, a violation for a number that is not known.
pub(super) fn optional<T: Wire>(v: &mut Violations, field: &str, number: i32) -> Option<T> {
    match T::of(number) {
        Ok(value) => value,
        Err(number) => {
            v.add(field, format_args!("{number} is no value of this enum: use one of {}", T::names()));
            None
        }
    }
}

/// Reads an enum field that must be set.
pub(super) fn required<T: Wire>(v: &mut Violations, field: &str, number: i32) -> Option<T> {
    match T::of(number) {
        Ok(Some(value)) => Some(value),
        Ok(None) => {
            v.add(field, format_args!("it must be set: use one of {}", T::names()));
            None
        }
        Err(_) => optional(v, field, number),
    }
}

/// Reads a list of enum values; the zero value is none.
pub(super) fn list<T: Wire>(v: &mut Violations, field: &str, numbers: &[i32]) -> Vec<T> {
    v.each(field, numbers.iter().copied(), |v, number| required(v, "", number))
}

/// The numbers of a list.
pub(super) fn numbers<T: Wire>(values: &[T]) -> Vec<i32> {
    values.iter().map(|value| value.number()).collect()
}
