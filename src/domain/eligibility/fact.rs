//! The facts of a use by their field path, so that a finding can say which it used and which it misses.

use std::fmt;

use crate::domain::date::Date;
use crate::domain::license::{GateSubject, ScaleGate};
use crate::domain::words::words;

words! {
    /// A fact of a use. The word is its field path under `Use`.
    pub enum Fact {
        /// Purpose.
        Purpose = "purpose",
        /// Role.
        Role = "role",
        /// Principal place of business.
        OrganizationCountry = "organization.country",
        /// What the organization is.
        OrganizationType = "organization.type",
        /// Kinds of business.
        BusinessTypes = "organization.business_types",
        /// Monthly active users.
        MonthlyActiveUsers = "organization.monthly_active_users",
        /// Daily active users.
        DailyActiveUsers = "organization.daily_active_users",
        /// Yearly revenue.
        AnnualRevenueUsd = "organization.annual_revenue_usd",
        /// Monthly revenue.
        MonthlyRevenueUsd = "organization.monthly_revenue_usd",
        /// Employees.
        EmployeeCount = "organization.employee_count",
        /// Exact figures.
        Measures = "measures",
        /// Where it runs.
        DeploymentCountries = "deployment_countries",
        /// Where its users are.
        EndUserCountries = "end_user_countries",
        /// Hosting.
        Hosting = "hosting",
        /// Who serves it.
        Provider = "provider",
        /// What is done.
        Activities = "activities",
        /// Use categories.
        Categories = "categories",
        /// Duties done.
        FulfilledDuties = "fulfilled_duties",
        /// The caller's own context.
        Labels = "labels",
        /// Pinned weights.
        ModelRevision = "model_revision",
        /// What the model must offer.
        Requirements = "requirements",
    }
}

/// A set of facts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Facts(u32);

impl Facts {
    /// None.
    pub const NONE: Self = Self(0);

    /// One.
    #[must_use]
    pub const fn one(fact: Fact) -> Self {
        Self(1 << (fact as u32))
    }

    /// Both sets.
    #[must_use]
    pub const fn and(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// With one more.
    #[must_use]
    pub const fn with(self, fact: Fact) -> Self {
        self.and(Self::one(fact))
    }

    /// Whether it holds a fact.
    #[must_use]
    pub const fn has(self, fact: Fact) -> bool {
        self.0 & (1 << (fact as u32)) != 0
    }

    /// Whether it is empty.
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Its facts, in order.
    pub fn iter(self) -> impl Iterator<Item = Fact> {
        Fact::ALL.iter().copied().filter(move |fact| self.has(*fact))
    }
}

/// The exact figure that a gate asks for; its path is `measures[metric:SUBJECT:period]`.
#[derive(Clone, Copy, Debug)]
pub struct MeasureKey<'a> {
    /// The gate.
    pub(super) gate: &'a ScaleGate,
    /// The period; `None`: now.
    pub period: Option<Date>,
}

impl<'a> MeasureKey<'a> {
    /// What is measured.
    #[must_use]
    pub fn metric(&self) -> &'a str {
        &self.gate.metric
    }

    /// Whose figure.
    #[must_use]
    pub fn subject(&self) -> GateSubject {
        self.gate.subject
    }
}

impl PartialEq for MeasureKey<'_> {
    fn eq(&self, other: &Self) -> bool {
        (self.metric(), self.subject(), self.period) == (other.metric(), other.subject(), other.period)
    }
}

impl fmt::Display for MeasureKey<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "measures[{}:{}", self.metric(), self.subject())?;
        if let Some(period) = self.period {
            write!(f, ":{period}")?;
        }
        f.write_str("]")
    }
}

/// The exact figures that a review waits for. A group of gates asks for one a gate, and no license we know has more than
/// two in one; those beyond are asked for once the others are known.
#[derive(Clone, Copy, Debug, Default)]
pub struct MeasureKeys<'a> {
    // Side by side rather than as keys, which takes less room: findings are many.
    gates: [Option<&'a ScaleGate>; 2],
    periods: [Option<Date>; 2],
}

impl PartialEq for MeasureKeys<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.iter().eq(other.iter())
    }
}

impl<'a> MeasureKeys<'a> {
    /// None.
    pub const NONE: Self = Self { gates: [None; 2], periods: [None; 2] };

    /// At most one.
    #[must_use]
    pub fn one(key: Option<MeasureKey<'a>>) -> Self {
        match key {
            Some(MeasureKey { gate, period }) => Self { gates: [Some(gate), None], periods: [period, None] },
            None => Self::NONE,
        }
    }

    /// Both lists, without repeats.
    #[must_use]
    pub fn and(mut self, other: Self) -> Self {
        if other.is_empty() {
            return self;
        }
        for key in other.iter() {
            let known = self.iter().any(|known| known == key);
            let mut slots = self.gates.iter_mut().zip(&mut self.periods);
            if let (false, Some((gate, period))) = (known, slots.find(|(gate, _)| gate.is_none())) {
                (*gate, *period) = (Some(key.gate), key.period);
            }
        }
        self
    }

    /// Whether it is empty.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.gates.iter().all(Option::is_none)
    }

    /// Its figures, in the order in which they were asked for.
    pub fn iter(&self) -> impl Iterator<Item = MeasureKey<'a>> {
        self.gates.into_iter().zip(self.periods).filter_map(|(gate, period)| Some(MeasureKey { gate: gate?, period }))
    }
}
