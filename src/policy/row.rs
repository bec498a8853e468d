//! A check as a row that conditions are asked of.

use super::fields::{DecisionField, LabelKey, PolicyField, UseField};
use crate::catalog::filter::{Row, Value, Values, Word};
use crate::domain::eligibility::{
    Activity, BusinessTypes, Hosting, OrganizationType, PolicyCase, Purpose, Reason, Role, Verdict,
};
use crate::domain::license::DutyKind;
use crate::domain::place::CountrySet;

/// A check: the model as a row of its own, and the case.
pub(super) struct CheckRow<'r, 'c, 'a, R> {
    pub(super) model: &'r R,
    pub(super) case: &'r PolicyCase<'c, 'a>,
}

impl<M, R: Row<M>> Row<PolicyField<M>> for CheckRow<'_, '_, '_, R> {
    fn values(&self, field: PolicyField<M>) -> Values<'_> {
        match field {
            PolicyField::Model(field) => self.model.values(field),
            PolicyField::Use(field) => self.of_use(field),
            PolicyField::Label(key) => self.label(&key),
            PolicyField::Decision(field) => self.of_decision(field),
        }
    }

    fn is_called(&self, word: &Word) -> bool {
        self.model.is_called(word)
    }
}

impl<R> CheckRow<'_, '_, '_, R> {
    fn of_use(&self, field: UseField) -> Values<'_> {
        let use_ = self.case.use_();
        let organization = &use_.organization;
        match field {
            UseField::Purpose => Values::one(use_.purpose.map(|purpose| word(Purpose::ALL, purpose))),
            UseField::Role => Values::all([word(&[Role::Licensee, Role::EndUserOfProduct], use_.role)]),
            UseField::OrganizationCountry => {
                Values::one(organization.country.map(|country| Value::Text(country.to_string().into())))
            }
            UseField::OrganizationType => Values::one(organization.kind.map(|kind| word(OrganizationType::ALL, kind))),
            UseField::BusinessTypes => match &organization.business_types {
                BusinessTypes::Unknown => Values::known([]),
                BusinessTypes::Known(types) => Values::all(types.iter().map(|slug| Value::text(slug))),
            },
            UseField::MonthlyActiveUsers => Values::one(organization.monthly_active_users.map(Value::Integer)),
            UseField::DailyActiveUsers => Values::one(organization.daily_active_users.map(Value::Integer)),
            UseField::AnnualRevenueUsd => Values::one(organization.annual_revenue_usd.map(Value::Integer)),
            UseField::MonthlyRevenueUsd => Values::one(organization.monthly_revenue_usd.map(Value::Integer)),
            UseField::EmployeeCount => Values::one(organization.employee_count.map(Value::Integer)),
            UseField::DeploymentCountries => countries(use_.deployment_countries.as_ref()),
            UseField::EndUserCountries => countries(use_.end_user_countries.as_ref()),
            UseField::Hosting => Values::one(use_.hosting.map(|hosting| word(Hosting::ALL, hosting))),
            UseField::Provider => match (&use_.provider, use_.hosting) {
                (Some(provider), _) => Values::all([Value::text(provider.as_str())]),
                // Nobody serves what is not reached through a vendor.
                (None, Some(Hosting::SelfHosted | Hosting::OnPremises | Hosting::EdgeOffline)) => Values::all([]),
                (None, Some(Hosting::VendorApi) | None) => Values::known([]),
            },
            UseField::Activities => {
                let done = self.case.activities();
                let listed = Activity::ALL.iter().filter(|activity| done.has(**activity));
                Values::all(listed.map(|activity| word(Activity::ALL, *activity)))
            }
            UseField::Categories => Values::all(use_.categories.iter().map(|slug| Value::text(slug))),
            UseField::FulfilledDuties => {
                let done = DutyKind::ALL.iter().filter(|kind| use_.fulfilled_duties.contains(**kind));
                Values::all(done.map(|kind| word(DutyKind::ALL, *kind)))
            }
            UseField::Labels => Values::all(use_.labels.iter().map(|(key, _)| Value::text(key))),
        }
    }

    /// The value of a label. One that is not there is not known: who leaves it out must not slip through.
    fn label(&self, key: &LabelKey) -> Values<'_> {
        let labels = &self.case.use_().labels;
        let found = labels.iter().find(|(known, _)| **known == *key.as_str());
        Values::one(found.map(|(_, value)| Value::text(value)))
    }

    fn of_decision(&self, field: DecisionField) -> Values<'_> {
        let case = self.case;
        let known: Vec<Value<'_>> = match field {
            DecisionField::Verdict => vec![word(Verdict::ALL, case.verdict())],
            DecisionField::Duties => case.duties().map(|kind| word(DutyKind::ALL, kind)).collect(),
            DecisionField::Reasons => case.reasons().map(|reason| word(Reason::ALL, reason)).collect(),
        };
        Values { open: case.is_open(), ..Values::all(known) }
    }
}

fn countries(set: Option<&CountrySet>) -> Values<'static> {
    match set {
        None => Values::known([]),
        Some(set) => Values::all(set.iter().map(|country| Value::Text(country.to_string().into()))),
    }
}

/// The place of a word in its list.
fn word<T: Copy + PartialEq>(all: &[T], value: T) -> Value<'static> {
    let at = all.iter().position(|known| *known == value).unwrap_or_default();
    Value::Word(u8::try_from(at).unwrap_or(u8::MAX))
}
