//! A check as a row that conditions are asked of.

use super::fields::{DecisionField, LabelKey, PolicyField, UseField};
use crate::catalog::filter::{Row, Subject, Value, Wanted, Word};
use crate::domain::eligibility::{Activity, BusinessTypes, Hosting, PolicyCase, Role};
use crate::domain::license::DutyKind;
use crate::domain::place::CountrySet;
use crate::domain::tri::Tri;

/// A check: the model as a row of its own, and the case.
pub(super) struct CheckRow<'r, 'c, 'a, R> {
    pub(super) model: &'r R,
    pub(super) case: &'r PolicyCase<'c, 'a>,
}

impl<M, R: Row<M>> Subject<PolicyField<M>> for CheckRow<'_, '_, '_, R> {
    fn meets(&self, field: PolicyField<M>, wanted: &Wanted) -> Tri {
        let use_ = self.case.use_();
        let organization = &use_.organization;
        let word = |place: Option<u8>| one(wanted, place.map(Value::Word));
        let number = |number: Option<i64>| one(wanted, number.map(Value::Integer));
        match field {
            PolicyField::Model(field) => self.model.meets(field, wanted),
            PolicyField::Label(key) => one(wanted, self.label(&key).map(Value::text)),
            PolicyField::Decision(field) => self.of_decision(field, wanted),
            PolicyField::Use(field) => match field {
                UseField::Purpose => word(use_.purpose.map(|purpose| purpose as u8)),
                UseField::Role => word(Some(role(use_.role))),
                UseField::OrganizationCountry => {
                    one(wanted, organization.country.as_ref().map(|c| Value::text(c.as_str())))
                }
                UseField::OrganizationType => word(organization.kind.map(|kind| kind as u8)),
                UseField::BusinessTypes => match &organization.business_types {
                    BusinessTypes::Unknown => many(wanted, [], true),
                    BusinessTypes::Known(types) => many(wanted, types.iter().map(|slug| Value::text(slug)), false),
                },
                UseField::MonthlyActiveUsers => number(organization.monthly_active_users),
                UseField::DailyActiveUsers => number(organization.daily_active_users),
                UseField::AnnualRevenueUsd => number(organization.annual_revenue_usd),
                UseField::MonthlyRevenueUsd => number(organization.monthly_revenue_usd),
                UseField::EmployeeCount => number(organization.employee_count),
                UseField::DeploymentCountries => countries(wanted, use_.deployment_countries.as_ref()),
                UseField::EndUserCountries => countries(wanted, use_.end_user_countries.as_ref()),
                UseField::Hosting => word(use_.hosting.map(|hosting| hosting as u8)),
                UseField::Provider => match (&use_.provider, use_.hosting) {
                    (Some(provider), _) => one(wanted, Some(Value::text(provider.as_str()))),
                    // Nobody serves what is not reached through a vendor.
                    (None, Some(Hosting::SelfHosted | Hosting::OnPremises | Hosting::EdgeOffline)) => {
                        many(wanted, [], false)
                    }
                    (None, Some(Hosting::VendorApi) | None) => many(wanted, [], true),
                },
                UseField::Activities => {
                    let done = self.case.activities();
                    let listed = Activity::ALL.iter().filter(|activity| done.has(**activity));
                    many(wanted, listed.map(|activity| Value::Word(*activity as u8)), false)
                }
                UseField::Categories => many(wanted, use_.categories.iter().map(|slug| Value::text(slug)), false),
                UseField::FulfilledDuties => {
                    let done = DutyKind::ALL.iter().filter(|kind| use_.fulfilled_duties.contains(**kind));
                    many(wanted, done.map(|kind| Value::Word(*kind as u8)), false)
                }
                UseField::Labels => many(wanted, use_.labels.iter().map(|(key, _)| Value::text(key)), false),
            },
        }
    }

    fn is_called(&self, word: &Word) -> bool {
        self.model.is_called(word)
    }
}

impl<R> CheckRow<'_, '_, '_, R> {
    /// The value of a label. One that is not there is not known: who leaves it out must not slip through.
    fn label(&self, key: &LabelKey) -> Option<&str> {
        let found = self.case.use_().labels.iter().find(|(known, _)| key.is(known));
        found.map(|(_, value)| &**value)
    }

    fn of_decision(&self, field: DecisionField, wanted: &Wanted) -> Tri {
        let case = self.case;
        let open = case.is_open();
        match field {
            DecisionField::Verdict => many(wanted, [Value::Word(case.verdict() as u8)], open),
            DecisionField::Duties => many(wanted, case.duties().map(|kind| Value::Word(kind as u8)), open),
            DecisionField::Reasons => many(wanted, case.reasons().map(|reason| Value::Word(reason as u8)), open),
        }
    }
}

fn one(wanted: &Wanted, value: Option<Value<'_>>) -> Tri {
    let open = value.is_none();
    many(wanted, value, open)
}

fn many<'v>(wanted: &Wanted, values: impl IntoIterator<Item = Value<'v>>, open: bool) -> Tri {
    wanted.is_met_among(values, open)
}

fn countries(wanted: &Wanted, set: Option<&CountrySet>) -> Tri {
    match set {
        None => many(wanted, [], true),
        Some(set) => {
            let each = set.iter().map(|country| many(wanted, [Value::text(country.as_str())], false));
            each.fold(Tri::False, Tri::or)
        }
    }
}

/// The place of a role in the list of its words.
fn role(role: Role) -> u8 {
    match role {
        Role::Licensee => 0,
        Role::EndUserOfProduct => 1,
    }
}
