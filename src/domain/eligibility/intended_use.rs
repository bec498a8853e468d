//! The facts of an intended use. An absent fact is unknown, never a default.

use crate::domain::date::Date;
use crate::domain::license::{DutyKinds, GateSubject};
use crate::domain::model::{Capability, ComponentKind, Modality};
use crate::domain::name::{LicenseId, ProviderId};
use crate::domain::openness::Tier;
use crate::domain::place::{Country, CountrySet};
use crate::domain::words::words;

type Text = Box<str>;

/// The facts of an intended use.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Use {
    /// What it is for.
    pub purpose: Option<Purpose>,
    /// In which role.
    pub role: Role,
    /// Who uses it.
    pub organization: Organization,
    /// Figures in their exact form.
    pub measures: Vec<Measure>,
    /// Where it runs or is offered from.
    pub deployment_countries: Option<CountrySet>,
    /// Where its users are.
    pub end_user_countries: Option<CountrySet>,
    /// How it is hosted.
    pub hosting: Option<Hosting>,
    /// Who serves it, with [`Hosting::VendorApi`].
    pub provider: Option<ProviderId>,
    /// What is done beyond running it; closed world.
    pub activities: Activities,
    /// Use categories; closed world.
    pub categories: Vec<Text>,
    /// Duties already done; closed world.
    pub fulfilled_duties: DutyKinds,
    /// The caller's own context, for policies, in the order of its keys.
    pub labels: Vec<(Text, Text)>,
    /// A pinned commit, tag or date of the weights; empty: the current one.
    pub model_revision: Text,
    /// What the model must offer.
    pub requirements: Requirements,
    /// When it happens; `None`: now.
    pub at: Option<Date>,
}

words! {
    /// What a use is for.
    pub enum Purpose {
        /// For customers, sales or other gain.
        Commercial = "COMMERCIAL",
        /// An organization's own work.
        InternalBusiness = "INTERNAL_BUSINESS",
        /// Finding out something new.
        Research = "RESEARCH",
        /// Testing outside production.
        Evaluation = "EVALUATION",
        /// Teaching and learning.
        Education = "EDUCATION",
        /// Private ends.
        Personal = "PERSONAL",
    }
}

impl Purpose {
    /// Whether it is commercial use, internal business included.
    #[must_use]
    pub fn is_commercial(self) -> bool {
        matches!(self, Self::Commercial | Self::InternalBusiness)
    }
}

/// In which role a model is used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Role {
    /// Holds the license, or builds on a vendor's API.
    #[default]
    Licensee,
    /// Got the model inside somebody else's finished product.
    EndUserOfProduct,
}

/// Who uses a model.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Organization {
    /// Principal place of business.
    pub country: Option<Country>,
    /// What it is.
    pub kind: Option<OrganizationType>,
    /// Its kinds of business.
    pub business_types: BusinessTypes,
    /// Highest monthly active users to date, with affiliates.
    pub monthly_active_users: Option<i64>,
    /// Highest daily active users to date, with affiliates.
    pub daily_active_users: Option<i64>,
    /// Latest yearly revenue, US dollars, with affiliates.
    pub annual_revenue_usd: Option<i64>,
    /// Latest monthly revenue, US dollars, with affiliates.
    pub monthly_revenue_usd: Option<i64>,
    /// Employees.
    pub employee_count: Option<i64>,
}

words! {
    /// What an organization is.
    pub enum OrganizationType {
        /// A natural person.
        Individual = "INDIVIDUAL",
        /// A for-profit company.
        Company = "COMPANY",
        /// A non-profit organization.
        NonProfit = "NON_PROFIT",
        /// A university or research institution.
        Academic = "ACADEMIC",
        /// A public body.
        Government = "GOVERNMENT",
        /// Armed forces.
        Military = "MILITARY",
    }
}

/// Kinds of business.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum BusinessTypes {
    /// Not known.
    #[default]
    Unknown,
    /// Exactly these, possibly none.
    Known(Vec<Text>),
}

/// A figure in its exact form.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Measure {
    /// What is measured.
    pub metric: Text,
    /// Whose figure.
    pub subject: GateSubject,
    /// The month or year; `None`: now.
    pub period: Option<Date>,
    /// The figure.
    pub value: i64,
}

words! {
    /// How a model is hosted.
    pub enum Hosting {
        /// A vendor's service.
        VendorApi = "VENDOR_API",
        /// Machines that the organization controls.
        SelfHosted = "SELF_HOSTED",
        /// The organization's premises.
        OnPremises = "ON_PREMISES",
        /// On devices.
        EdgeOffline = "EDGE_OFFLINE",
    }
}

words! {
    /// Something done beyond running a model.
    pub enum Activity {
        /// Further training.
        FineTune = "FINE_TUNE",
        /// Another change.
        Modify = "MODIFY",
        /// Passing on unchanged weights.
        RedistributeWeights = "REDISTRIBUTE_WEIGHTS",
        /// Passing on a changed version.
        RedistributeDerivative = "REDISTRIBUTE_DERIVATIVE",
        /// Others reach it over a network.
        OfferAsService = "OFFER_AS_SERVICE",
        /// Training other models on outputs.
        TrainOtherModels = "TRAIN_OTHER_MODELS",
        /// Training competing models on outputs.
        TrainCompetingModels = "TRAIN_COMPETING_MODELS",
        /// Passing on a model trained on outputs.
        DistributeTrainedModel = "DISTRIBUTE_TRAINED_MODEL",
        /// Publishing outputs.
        PublishOutputs = "PUBLISH_OUTPUTS",
        /// Publishing test results.
        BenchmarkPublicly = "BENCHMARK_PUBLICLY",
    }
}

/// A set of activities.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Activities(u16);

impl Activities {
    /// Adds one.
    pub fn insert(&mut self, activity: Activity) {
        self.0 |= 1 << (activity as u16);
    }

    /// Whether it holds one.
    #[must_use]
    pub fn has(self, activity: Activity) -> bool {
        self.0 & (1 << (activity as u16)) != 0
    }

    /// With one more.
    #[must_use]
    pub fn with(mut self, activity: Activity) -> Self {
        self.insert(activity);
        self
    }
}

impl FromIterator<Activity> for Activities {
    fn from_iter<T: IntoIterator<Item = Activity>>(iter: T) -> Self {
        iter.into_iter().fold(Self::default(), Self::with)
    }
}

/// What the model must offer.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Requirements {
    /// At least this open.
    pub min_tier: Option<Tier>,
    /// Parts that must be available.
    pub components: Vec<ComponentKind>,
    /// At least this long a context.
    pub min_context_tokens: Option<i64>,
    /// What it must take in.
    pub input_modalities: Vec<Modality>,
    /// What it must give out.
    pub output_modalities: Vec<Modality>,
    /// What it must be able to do.
    pub capabilities: Vec<Capability>,
    /// Fine-tuning on private data without the vendor.
    pub private_fine_tuning: bool,
    /// Runs without a network.
    pub offline: bool,
    /// Only these licenses; empty: any.
    pub license_allow: Vec<LicenseId>,
    /// Not these licenses.
    pub license_deny: Vec<LicenseId>,
}
