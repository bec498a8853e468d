//! What the condition of a policy can name: fields of the model and its terms, facts of the use, and the decision before
//! policies.

use crate::catalog::filter::{Kind, Schema};
use crate::domain::eligibility::{Activity, Fact, Hosting, OrganizationType, Purpose, Reason, Verdict};
use crate::domain::license::DutyKind;
use crate::domain::words::words;

words! {
    /// A fact of the use. Activities, categories, fulfilled duties and the keys of labels are a closed world: what is not listed
    /// is not so.
    pub enum UseField {
        /// What it is for.
        Purpose = "purpose",
        /// In which role.
        Role = "role",
        /// Principal place of business.
        OrganizationCountry = "organization.country",
        /// What the organization is.
        OrganizationType = "organization.type",
        /// Kinds of business.
        BusinessTypes = "organization.business_types",
        /// Highest month to date, with affiliates.
        MonthlyActiveUsers = "organization.monthly_active_users",
        /// Highest day to date, with affiliates.
        DailyActiveUsers = "organization.daily_active_users",
        /// Latest year, US dollars.
        AnnualRevenueUsd = "organization.annual_revenue_usd",
        /// Latest month, US dollars.
        MonthlyRevenueUsd = "organization.monthly_revenue_usd",
        /// Employees.
        EmployeeCount = "organization.employee_count",
        /// Where it runs or is offered from.
        DeploymentCountries = "deployment_countries",
        /// Where its users are.
        EndUserCountries = "end_user_countries",
        /// How it is hosted.
        Hosting = "hosting",
        /// Who serves it.
        Provider = "provider",
        /// What is done beyond running it.
        Activities = "activities",
        /// Use categories.
        Categories = "categories",
        /// Duties that are done.
        FulfilledDuties = "fulfilled_duties",
        /// The keys of its labels.
        Labels = "labels",
    }
}

impl UseField {
    /// The fact that it is.
    #[must_use]
    pub fn fact(self) -> Fact {
        match self {
            Self::Purpose => Fact::Purpose,
            Self::Role => Fact::Role,
            Self::OrganizationCountry => Fact::OrganizationCountry,
            Self::OrganizationType => Fact::OrganizationType,
            Self::BusinessTypes => Fact::BusinessTypes,
            Self::MonthlyActiveUsers => Fact::MonthlyActiveUsers,
            Self::DailyActiveUsers => Fact::DailyActiveUsers,
            Self::AnnualRevenueUsd => Fact::AnnualRevenueUsd,
            Self::MonthlyRevenueUsd => Fact::MonthlyRevenueUsd,
            Self::EmployeeCount => Fact::EmployeeCount,
            Self::DeploymentCountries => Fact::DeploymentCountries,
            Self::EndUserCountries => Fact::EndUserCountries,
            Self::Hosting => Fact::Hosting,
            Self::Provider => Fact::Provider,
            Self::Activities => Fact::Activities,
            Self::Categories => Fact::Categories,
            Self::FulfilledDuties => Fact::FulfilledDuties,
            Self::Labels => Fact::Labels,
        }
    }

    /// Whether it holds codes of countries.
    pub(super) fn names_countries(self) -> bool {
        matches!(self, Self::OrganizationCountry | Self::DeploymentCountries | Self::EndUserCountries)
    }

    /// Whether what is not stated is not so, rather than not known.
    pub(super) fn is_closed(self) -> bool {
        matches!(self, Self::Role | Self::Activities | Self::Categories | Self::FulfilledDuties | Self::Labels)
    }

    fn kind(self) -> Kind {
        match self {
            Self::Purpose => Kind::Word { words: Purpose::WORDS, prefix: "PURPOSE" },
            Self::Role => Kind::Word { words: ROLE_WORDS, prefix: "ROLE" },
            Self::OrganizationType => Kind::Word { words: OrganizationType::WORDS, prefix: "TYPE" },
            Self::Hosting => Kind::Word { words: Hosting::WORDS, prefix: "HOSTING" },
            Self::Activities => Kind::Word { words: Activity::WORDS, prefix: "ACTIVITY" },
            Self::FulfilledDuties => Kind::Word { words: DutyKind::WORDS, prefix: "DUTY" },
            Self::MonthlyActiveUsers
            | Self::DailyActiveUsers
            | Self::AnnualRevenueUsd
            | Self::MonthlyRevenueUsd
            | Self::EmployeeCount => Kind::Integer,
            Self::OrganizationCountry
            | Self::BusinessTypes
            | Self::DeploymentCountries
            | Self::EndUserCountries
            | Self::Provider
            | Self::Categories
            | Self::Labels => Kind::Text,
        }
    }

    fn repeated(self) -> bool {
        match self {
            Self::BusinessTypes
            | Self::DeploymentCountries
            | Self::EndUserCountries
            | Self::Activities
            | Self::Categories
            | Self::FulfilledDuties
            | Self::Labels => true,
            Self::Purpose
            | Self::Role
            | Self::OrganizationCountry
            | Self::OrganizationType
            | Self::MonthlyActiveUsers
            | Self::DailyActiveUsers
            | Self::AnnualRevenueUsd
            | Self::MonthlyRevenueUsd
            | Self::EmployeeCount
            | Self::Hosting
            | Self::Provider => false,
        }
    }
}

/// Roles, in the order of [`crate::domain::eligibility::Role`].
const ROLE_WORDS: &[&str] = &["LICENSEE", "END_USER_OF_PRODUCT"];

words! {
    /// What the decision before policies holds. A condition may only ask whether the verdict is grave enough, and whether
    /// something is there: then a further restriction never makes a policy let go.
    pub enum DecisionField {
        /// The verdict.
        Verdict = "verdict",
        /// Kinds of the duties that the use starts.
        Duties = "duties",
        /// Reasons of the findings that act on the verdict.
        Reasons = "reasons",
    }
}

impl DecisionField {
    fn kind(self) -> Kind {
        match self {
            Self::Verdict => Kind::Word { words: Verdict::WORDS, prefix: "VERDICT" },
            Self::Duties => Kind::Word { words: DutyKind::WORDS, prefix: "DUTY" },
            Self::Reasons => Kind::Word { words: Reason::WORDS, prefix: "REASON" },
        }
    }
}

/// Longest key of a label, in bytes.
pub const LABEL_KEY_MAX: usize = 63;

/// The key of a label.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct LabelKey {
    bytes: [u8; LABEL_KEY_MAX],
    len: u8,
}

impl LabelKey {
    /// A key of at most [`LABEL_KEY_MAX`] bytes.
    #[must_use]
    pub fn new(key: &str) -> Option<Self> {
        let mut bytes = [0; LABEL_KEY_MAX];
        bytes.get_mut(..key.len())?.copy_from_slice(key.as_bytes());
        let len = u8::try_from(key.len()).ok().filter(|len| *len > 0)?;
        Some(Self { bytes, len })
    }

    /// Whether it is this key.
    pub(super) fn is(&self, key: &str) -> bool {
        self.bytes.get(..usize::from(self.len)) == Some(key.as_bytes())
    }

    /// As text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        let bytes = self.bytes.get(..usize::from(self.len)).unwrap_or_default();
        std::str::from_utf8(bytes).unwrap_or_default()
    }
}

impl std::fmt::Debug for LabelKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A field that a condition can name. `M` are the fields of models.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PolicyField<M> {
    /// Of the model, or of the terms that hold for it.
    Model(M),
    /// Of the use.
    Use(UseField),
    /// A label of the use by its key.
    Label(LabelKey),
    /// Of the decision before policies.
    Decision(DecisionField),
}

/// What paths of the decision begin with.
pub(super) const DECISION: &str = "decision.";
/// What paths of the use begin with.
pub(super) const USE: &str = "use.";
/// And those of its labels.
pub(super) const LABELS: &str = "labels.";

impl<M: Schema<Field = M> + Copy + Eq + std::fmt::Debug> Schema for PolicyField<M> {
    type Field = Self;

    fn find(path: &str) -> Option<Self> {
        if let Some(path) = path.strip_prefix(DECISION) {
            return DecisionField::parse(path).map(Self::Decision);
        }
        let Some(path) = path.strip_prefix(USE) else { return M::find(path).map(Self::Model) };
        match path.strip_prefix(LABELS) {
            Some(key) => LabelKey::new(key).map(Self::Label),
            None => UseField::parse(path).map(Self::Use),
        }
    }

    fn paths() -> Vec<String> {
        let of_use = UseField::WORDS.iter().map(|path| format!("{USE}{path}"));
        let of_decision = DecisionField::WORDS.iter().map(|path| format!("{DECISION}{path}"));
        let of_model = M::paths().into_iter().flat_map(|path| match path.strip_prefix("license.") {
            Some(_) => [Some(path), None],
            None => [Some(format!("model.{path}")), Some(path)],
        });
        of_use.chain(of_decision).chain(of_model.flatten()).collect()
    }

    fn kind(field: Self) -> Kind {
        match field {
            Self::Model(field) => M::kind(field),
            Self::Use(field) => field.kind(),
            Self::Label(_) => Kind::Text,
            Self::Decision(field) => field.kind(),
        }
    }

    fn is_of_terms(field: Self) -> bool {
        matches!(field, Self::Model(field) if M::is_of_terms(field))
    }

    fn repeated(field: Self) -> bool {
        match field {
            Self::Model(field) => M::repeated(field),
            Self::Use(field) => field.repeated(),
            Self::Label(_) | Self::Decision(DecisionField::Verdict) => false,
            Self::Decision(DecisionField::Duties | DecisionField::Reasons) => true,
        }
    }
}
