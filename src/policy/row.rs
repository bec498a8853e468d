//! A check as a row that conditions are asked of.

use super::fields::{DecisionField, LabelKey, PolicyField, UseField};
use crate::catalog::filter::{Row, Subject, Value, Wanted, Word};
use crate::domain::eligibility::{
    Activities, Activity, BusinessTypes, Fact, Facts, Hosting, Measure, PolicyCase, Role,
};
use crate::domain::license::{DutyKind, GateSubject};
use crate::domain::place::{Country, CountrySet};
use crate::domain::tri::Tri;

/// A check: the model as a row of its own, and the case.
pub(super) struct CheckRow<'r, 'c, 'a, R> {
    pub(super) model: &'r R,
    pub(super) case: &'r PolicyCase<'c, 'a>,
}

impl<M: Copy, R: Row<M>> Subject<PolicyField<M>> for CheckRow<'_, '_, '_, R> {
    fn meets(&self, field: &PolicyField<M>, wanted: &Wanted) -> Tri {
        let use_ = self.case.use_();
        let organization = &use_.organization;
        let word = |place: Option<u8>| one(wanted, place.map(Value::Word));
        let number = |number: Option<i64>| one(wanted, number.map(Value::Integer));
        match field {
            PolicyField::Model(field) => self.model.meets(*field, wanted),
            PolicyField::Label(key) => one(wanted, self.label(key).map(Value::text)),
            PolicyField::Decision(field) => self.of_decision(*field, wanted),
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
                UseField::MonthlyActiveUsers => {
                    self.figure("monthly_active_users", organization.monthly_active_users, wanted)
                }
                UseField::DailyActiveUsers => {
                    self.figure("daily_active_users", organization.daily_active_users, wanted)
                }
                UseField::AnnualRevenueUsd => {
                    self.figure("annual_revenue_usd", organization.annual_revenue_usd, wanted)
                }
                UseField::MonthlyRevenueUsd => {
                    self.figure("monthly_revenue_usd", organization.monthly_revenue_usd, wanted)
                }
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
                    let mut done = self.case.activities();
                    // Weights that leave for devices are passed on.
                    if use_.hosting == Some(Hosting::EdgeOffline) {
                        done = passed_on(done);
                    }
                    // Training competing models is training other models, and nobody passes on what was not trained.
                    if done.has(Activity::TrainCompetingModels) || done.has(Activity::DistributeTrainedModel) {
                        done.insert(Activity::TrainOtherModels);
                    }
                    let more = self.case.may_do_more();
                    let met = |done: Activities| {
                        if let Wanted::Equal(Value::Word(at)) = wanted {
                            let is_done = Activity::ALL.get(usize::from(*at)).is_some_and(|asked| done.has(*asked));
                            return if is_done || !more { is_done.into() } else { Tri::Unknown };
                        }
                        let listed = Activity::ALL.iter().filter(|activity| done.has(**activity));
                        many(wanted, listed.map(|activity| Value::Word(*activity as u8)), more)
                    };
                    let known = met(done);
                    // How it is hosted may be that.
                    let on_devices = met(passed_on(done));
                    if use_.hosting.is_none() && known != on_devices { Tri::Unknown } else { known }
                }
                UseField::Categories => self.categories(wanted),
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
    /// A figure of the organization: as it is stated, and the exact one of the whole group now. Where the two are told apart by
    /// what is wanted, which of them counts is not known.
    fn figure(&self, metric: &str, stated: Option<i64>, wanted: &Wanted) -> Tri {
        let is_exact = |measure: &&Measure| {
            *measure.metric == *metric && measure.subject == GateSubject::Group && measure.period.is_none()
        };
        let exact = self.case.use_().measures.iter().find(is_exact).map(|measure| measure.value);
        let of = |figure: Option<i64>| one(wanted, figure.map(Value::Integer));
        match (exact, stated) {
            (Some(_), Some(_)) if of(exact) != of(stated) => Tri::Unknown,
            // Users are counted by the highest month or day to date, of which the figure of now is the least.
            (Some(_), None) if metric.ends_with("_active_users") => match wanted {
                Wanted::Above { .. } if of(exact) == Tri::True => Tri::True,
                _ => Tri::Unknown,
            },
            (exact, stated) => of(stated.or(exact)),
        }
    }

    /// The facts that are missing where a field of the use cannot be told.
    pub(super) fn missing(&self, field: UseField) -> Facts {
        let organization = &self.case.use_().organization;
        let stated = match field {
            UseField::MonthlyActiveUsers => organization.monthly_active_users,
            UseField::DailyActiveUsers => organization.daily_active_users,
            UseField::AnnualRevenueUsd => organization.annual_revenue_usd,
            UseField::MonthlyRevenueUsd => organization.monthly_revenue_usd,
            _ => None,
        };
        match field {
            // What is done is a closed world, but for what the hosting makes of it.
            UseField::Activities => Facts::one(Fact::Hosting),
            // Two figures that do not agree: none is missing.
            _ if stated.is_some() => Facts::NONE,
            _ => Facts::one(field.fact()),
        }
    }

    /// A category counts as each broader one, too.
    fn categories(&self, wanted: &Wanted) -> Tri {
        let vocabulary = self.case.vocabulary();
        let within = |category: &str| {
            let is_met = |broader: &str| wanted.is_met(&Value::text(broader)) == Tri::True;
            Tri::from(vocabulary.any_broader(category, &is_met))
        };
        let categories = &self.case.use_().categories;
        match wanted {
            Wanted::Present | Wanted::Any => many(wanted, categories.iter().map(|slug| Value::text(slug)), false),
            _ => categories.iter().map(|slug| within(slug)).fold(Tri::False, Tri::or),
        }
    }

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
            if let Wanted::Equal(Value::Text(code)) = wanted {
                return Country::parse(code).is_some_and(|country| set.contains(country)).into();
            }
            let each = set.iter().map(|country| many(wanted, [Value::text(country.as_str())], false));
            each.fold(Tri::False, Tri::or)
        }
    }
}

/// What is done, where weights leave for devices.
fn passed_on(mut done: Activities) -> Activities {
    done.insert(Activity::RedistributeWeights);
    if done.has(Activity::FineTune) || done.has(Activity::Modify) {
        done.insert(Activity::RedistributeDerivative);
    }
    done
}

/// The place of a role in the list of its words.
fn role(role: Role) -> u8 {
    match role {
        Role::Licensee => 0,
        Role::EndUserOfProduct => 1,
    }
}
