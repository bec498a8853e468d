//! Fields of license terms: of one license, and those that hold for a model by its expression and its lineage.

use crate::catalog::filter::{Kind, Schema, Value, Values};
use crate::domain::license::{
    Category, DutyKind, Expression, License, Permission, PermissionStatus, PurposeStatus, Term,
};
use crate::domain::name::LicenseId;
use crate::domain::words::words;

words! {
    /// A field of license terms.
    pub enum TermsField {
        /// License ids.
        Id = "id",
        /// What kind of license.
        Category = "category",
        /// Whether the OSI approved it.
        OsiApproved = "osi_approved",
        /// Whether its text was read.
        Read = "read",
        /// Running the model.
        Use = "use",
        /// Use for gain.
        CommercialUse = "commercial_use",
        /// Changing the model.
        Modify = "modify",
        /// Training it further.
        FineTune = "fine_tune",
        /// Passing on copies.
        Redistribute = "redistribute",
        /// Passing on changed versions.
        RedistributeDerivative = "redistribute_derivative",
        /// Letting others use it over a network.
        OfferAsService = "offer_as_service",
        /// Using outputs.
        UseOutputs = "use_outputs",
        /// Training other models on outputs.
        TrainOtherModels = "train_other_models",
        /// Internal business, where commercial use is not granted.
        InternalBusiness = "purposes.internal_business",
        /// Research, where commercial use is not granted.
        Research = "purposes.research",
        /// Evaluation, where commercial use is not granted.
        Evaluation = "purposes.evaluation",
        /// Education, where commercial use is not granted.
        Education = "purposes.education",
        /// Private ends, where commercial use is not granted.
        Personal = "purposes.personal",
        /// Kinds of duties, bars and preconditions.
        Duties = "duties",
        /// Barred use categories, under a condition perhaps.
        UseRestrictions = "use_restrictions",
        /// Metrics of scale gates.
        ScaleGates = "scale_gates",
        /// Thresholds of monthly active users.
        MonthlyActiveUsers = "scale_gates.monthly_active_users",
        /// Thresholds of yearly revenue in US dollars.
        AnnualRevenueUsd = "scale_gates.annual_revenue_usd",
        /// Thresholds of monthly revenue in US dollars.
        MonthlyRevenueUsd = "scale_gates.monthly_revenue_usd",
        /// Countries outside the grant.
        ExcludedCountries = "excluded_countries",
        /// Models that may not be trained on outputs.
        TrainingBarred = "training_barred",
        /// Whether a model trained on outputs counts as a derivative.
        TrainedModelIsDerivative = "trained_model_is_derivative",
        /// Whether it can be taken back without a breach.
        Revocable = "revocable",
    }
}

/// Answers on an act, worst first.
const STATUS: Kind = Kind::Word { words: &["PROHIBITED", "UNCLEAR", "CONDITIONAL", "ALLOWED"], prefix: "STATUS" };
/// Answers on a purpose, worst first.
const PURPOSE: Kind = Kind::Word { words: &["PROHIBITED", "UNCLEAR", "ALLOWED"], prefix: "PURPOSE_STATUS" };
const BARRED: Kind = Kind::Word {
    words: &["ANY_MODEL", "OTHER_LANGUAGE_MODEL", "OTHER_IMAGE_MODEL", "FOUNDATION_MODEL", "COMPETING_MODEL"],
    prefix: "BARRED",
};

/// How the values of a single-valued field are joined where several licenses hold.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Worst {
    /// The least value is the worst.
    Least,
    /// The greatest value is the worst.
    Greatest,
    /// It is a list: of several licenses all values hold.
    List,
}

impl TermsField {
    fn worst(self) -> Worst {
        match self {
            Self::Id
            | Self::Category
            | Self::Duties
            | Self::UseRestrictions
            | Self::ScaleGates
            | Self::MonthlyActiveUsers
            | Self::AnnualRevenueUsd
            | Self::MonthlyRevenueUsd
            | Self::ExcludedCountries
            | Self::TrainingBarred => Worst::List,
            Self::TrainedModelIsDerivative | Self::Revocable => Worst::Greatest,
            Self::OsiApproved
            | Self::Read
            | Self::Use
            | Self::CommercialUse
            | Self::Modify
            | Self::FineTune
            | Self::Redistribute
            | Self::RedistributeDerivative
            | Self::OfferAsService
            | Self::UseOutputs
            | Self::TrainOtherModels
            | Self::InternalBusiness
            | Self::Research
            | Self::Evaluation
            | Self::Education
            | Self::Personal => Worst::Least,
        }
    }

    /// The least and the greatest value of a single-valued field.
    fn ends(self) -> (Value<'static>, Value<'static>) {
        match self.kind() {
            Kind::Word { words, .. } => {
                let last = u8::try_from(words.len().saturating_sub(1)).unwrap_or(u8::MAX);
                (Value::Word(0), Value::Word(last))
            }
            _ => (Value::Flag(false), Value::Flag(true)),
        }
    }

    /// What it holds.
    #[must_use]
    pub fn kind(self) -> Kind {
        match self {
            Self::Category => Kind::Word { words: Category::WORDS, prefix: "CATEGORY" },
            Self::OsiApproved | Self::Read | Self::TrainedModelIsDerivative | Self::Revocable => Kind::Flag,
            Self::Use
            | Self::CommercialUse
            | Self::Modify
            | Self::FineTune
            | Self::Redistribute
            | Self::RedistributeDerivative
            | Self::OfferAsService
            | Self::UseOutputs
            | Self::TrainOtherModels => STATUS,
            Self::InternalBusiness | Self::Research | Self::Evaluation | Self::Education | Self::Personal => PURPOSE,
            Self::Duties => Kind::Word { words: DutyKind::WORDS, prefix: "DUTY_KIND" },
            Self::TrainingBarred => BARRED,
            Self::MonthlyActiveUsers | Self::AnnualRevenueUsd | Self::MonthlyRevenueUsd => Kind::Integer,
            Self::Id | Self::UseRestrictions | Self::ScaleGates | Self::ExcludedCountries => Kind::Text,
        }
    }

    /// Whether it holds a list.
    #[must_use]
    pub fn repeated(self) -> bool {
        self.worst() == Worst::List
    }

    /// What one license says.
    #[must_use]
    pub fn of(self, license: &License) -> Values<'_> {
        let permissions = &license.permissions;
        let purposes = &license.purposes;
        match self {
            Self::Id => Values::all([Value::text(license.id.as_str())]),
            Self::Category => Values::all([word(Category::ALL, license.category)]),
            Self::OsiApproved => Values::all([Value::Flag(license.osi_approved)]),
            Self::Read => Values::all([Value::Flag(license.is_read())]),
            Self::Use => status(&permissions.use_),
            Self::CommercialUse => status(&permissions.commercial_use),
            Self::Modify => status(&permissions.modify),
            Self::FineTune => status(&permissions.fine_tune),
            Self::Redistribute => status(&permissions.redistribute),
            Self::RedistributeDerivative => {
                status(permissions.redistribute_derivative.as_ref().unwrap_or(&permissions.redistribute))
            }
            Self::OfferAsService => status(&permissions.offer_as_service),
            Self::UseOutputs => status(&permissions.use_outputs),
            Self::TrainOtherModels => status(&permissions.train_other_models),
            Self::InternalBusiness => purpose(license, purposes.internal_business),
            Self::Research => purpose(license, purposes.research),
            Self::Evaluation => purpose(license, purposes.evaluation),
            Self::Education => purpose(license, purposes.education),
            Self::Personal => purpose(license, purposes.personal),
            Self::Duties => list(license, license.duties.iter().map(|duty| word(DutyKind::ALL, duty.kind))),
            Self::UseRestrictions => {
                let barred = license.use_restrictions.iter().map(|r| Value::text(&r.category));
                let mut values = list(license, barred);
                // A policy that was not read in full may bar anything.
                values.open |= license.use_policy.coverage != crate::domain::license::Coverage::Complete;
                values
            }
            Self::ScaleGates => list(license, license.scale_gates.iter().map(|gate| Value::text(&gate.metric))),
            Self::MonthlyActiveUsers => thresholds(license, "monthly_active_users"),
            Self::AnnualRevenueUsd => thresholds(license, "annual_revenue_usd"),
            Self::MonthlyRevenueUsd => thresholds(license, "monthly_revenue_usd"),
            Self::ExcludedCountries => {
                let countries = license.territory.iter().flat_map(|t| t.excluded.countries.iter());
                list(license, countries.map(|country| Value::Text(country.to_string().into())))
            }
            Self::TrainingBarred => {
                use crate::domain::license::BarredTraining;
                let barred = license.outputs.training_barred.iter();
                list(license, barred.map(|barred| word(BarredTraining::ALL, *barred)))
            }
            Self::TrainedModelIsDerivative => {
                let is = license.outputs.trained_model_is_derivative;
                Values::one((is || license.is_read()).then_some(Value::Flag(is)))
            }
            Self::Revocable => {
                Values::one((license.revocable || license.is_read()).then_some(Value::Flag(license.revocable)))
            }
        }
    }

    /// What holds under an expression: of `AND` the worst, of `OR` the best.
    #[must_use]
    pub fn under<'a>(
        self,
        expression: &Expression,
        find: &dyn Fn(&LicenseId) -> Option<&'a License>,
    ) -> Values<'static> {
        self.under_term(expression.root(), find)
    }

    /// What holds under a license and those that its duties bring in.
    fn with_brought_in<'a>(
        self,
        license: &'a License,
        find: &dyn Fn(&LicenseId) -> Option<&'a License>,
    ) -> Values<'static> {
        if license.duties.iter().all(|duty| duty.incorporates.is_empty()) {
            return self.of(license).into_owned();
        }
        let mut met = vec![license];
        let (mut next, mut lost) = (0, false);
        while let Some(license) = met.get(next).copied() {
            next += 1;
            for id in license.duties.iter().flat_map(|duty| &duty.incorporates) {
                match find(id).filter(|_| !id.is_unknown()) {
                    Some(found) if met.iter().all(|known| known.id != found.id) => met.push(found),
                    Some(_) => {}
                    None => lost = true,
                }
            }
        }
        let of = |license: &License| self.of(license).into_owned();
        if self == Self::Id {
            return Values { open: lost, ..Values::all(met.into_iter().flat_map(|license| of(license).list)) };
        }
        // What is brought in and not known may be anything.
        let unknown = lost.then(|| Values { open: true, ..Values::default() });
        self.all_of(met.into_iter().map(of).chain(unknown))
    }

    /// What holds under a part of an expression.
    #[must_use]
    pub fn under_term<'a>(self, term: &Term, find: &dyn Fn(&LicenseId) -> Option<&'a License>) -> Values<'static> {
        match term {
            Term::License { id, base, exception } => {
                let known = |id: &LicenseId| if id.is_unknown() { None } else { find(id) };
                let license = known(id).or_else(|| known(base.as_ref()?));
                let mut values = match license {
                    Some(license) => self.with_brought_in(license, find),
                    None => Values { open: true, ..Values::default() },
                };
                if self == Self::Id && !id.is_unknown() {
                    // As the expression calls it; what it brings in stands behind.
                    let own = Value::Text(id.as_str().to_owned().into());
                    let others = values.list.into_iter().skip(1);
                    values = Values { list: std::iter::once(own).chain(others).collect(), open: values.open };
                } else if exception.is_some() && self != Self::Category {
                    // What an exception adds is not modelled.
                    values.open = true;
                }
                values
            }
            Term::And(terms) => self.all_of(terms.iter().map(|term| self.under_term(term, find))),
            Term::Or(terms) => self.best_of(terms.iter().map(|term| self.under_term(term, find)).collect()),
        }
    }

    /// What holds where several licenses hold.
    #[must_use]
    pub fn all_of(self, each: impl IntoIterator<Item = Values<'static>>) -> Values<'static> {
        let each: Vec<_> = each.into_iter().collect();
        let (least, greatest) = self.ends();
        match self.worst() {
            Worst::List => union(each),
            Worst::Least => pick(&each, &least, |a, b| a.min(b)),
            Worst::Greatest => pick(&each, &greatest, |a, b| a.max(b)),
        }
    }

    /// What holds where any one of several licenses may be chosen.
    fn best_of(self, each: Vec<Values<'static>>) -> Values<'static> {
        let (least, greatest) = self.ends();
        match self.worst() {
            // Which licenses there are to choose from is no limit that a choice could lift.
            Worst::List if matches!(self, Self::Id | Self::Category) => union(each),
            Worst::List => common(each),
            Worst::Least => pick(&each, &greatest, |a, b| a.max(b)),
            Worst::Greatest => pick(&each, &least, |a, b| a.min(b)),
        }
    }
}

/// One value out of several. Where one is not known, only the value that no other can outdo is.
fn pick(
    each: &[Values<'static>],
    last: &Value<'static>,
    better: impl Fn(Value<'static>, Value<'static>) -> Value<'static>,
) -> Values<'static> {
    let known = each.iter().flat_map(|values| values.list.iter().cloned()).reduce(better);
    let unknown = each.is_empty() || each.iter().any(|values| values.open);
    Values::one(known.filter(|value| !unknown || value == last))
}

fn union(each: Vec<Values<'static>>) -> Values<'static> {
    let open = each.iter().any(|values| values.open);
    let mut list: Vec<Value<'static>> = each.into_iter().flat_map(|values| values.list).collect();
    list.sort_unstable();
    list.dedup();
    Values { list: list.into_iter().collect(), open }
}

/// What is in each of several lists; where one may be longer than is known, so may this be.
fn common(each: Vec<Values<'static>>) -> Values<'static> {
    let open = each.iter().any(|values| values.open);
    let mut each = each.into_iter();
    let mut list: Vec<Value<'static>> = each.next().unwrap_or_default().list.into_iter().collect();
    for other in each {
        list.retain(|value| other.list.contains(value));
    }
    list.sort_unstable();
    list.dedup();
    Values { list: list.into_iter().collect(), open }
}

/// A list that is all there is only where the text was read.
fn list<'a>(license: &'a License, values: impl Iterator<Item = Value<'a>>) -> Values<'a> {
    if license.is_read() { Values::all(values) } else { Values::known(values) }
}

fn thresholds<'a>(license: &'a License, metric: &str) -> Values<'a> {
    let gates = license.scale_gates.iter().filter(|gate| *gate.metric == *metric);
    list(license, gates.filter_map(|gate| gate.threshold.map(Value::Integer)))
}

/// The place of a word in its list.
pub(super) fn word<T: Copy + PartialEq>(all: &[T], value: T) -> Value<'static> {
    let at = all.iter().position(|known| *known == value).unwrap_or_default();
    Value::Word(u8::try_from(at).unwrap_or(u8::MAX))
}

fn status(permission: &Permission) -> Values<'static> {
    Values::one(match permission.status {
        PermissionStatus::Unspecified => None,
        PermissionStatus::Prohibited => Some(Value::Word(0)),
        PermissionStatus::Unclear => Some(Value::Word(1)),
        PermissionStatus::Conditional => Some(Value::Word(2)),
        PermissionStatus::Allowed => Some(Value::Word(3)),
    })
}

/// Purposes are listed where commercial use is not granted; where it is, nothing bars them.
fn purpose(license: &License, listed: Option<PurposeStatus>) -> Values<'static> {
    let granted = license.permissions.commercial_use.status == PermissionStatus::Allowed;
    Values::one(match listed {
        Some(PurposeStatus::Prohibited) => Some(Value::Word(0)),
        Some(PurposeStatus::Unclear) => Some(Value::Word(1)),
        Some(PurposeStatus::Allowed) => Some(Value::Word(2)),
        None => granted.then_some(Value::Word(2)),
    })
}

/// The fields of a license's own terms, and what it is called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LicenseField {
    /// Its name for people.
    DisplayName,
    /// Providers on whose own service it applies.
    Providers,
    /// Its terms.
    Terms(TermsField),
}

impl Schema for LicenseField {
    type Field = Self;

    fn find(path: &str) -> Option<Self> {
        let path = path.strip_prefix("license.").unwrap_or(path);
        match path {
            "display_name" => Some(Self::DisplayName),
            "providers" => Some(Self::Providers),
            _ => TermsField::parse(path).map(Self::Terms),
        }
    }

    fn paths() -> Vec<String> {
        let own = ["display_name", "providers"].into_iter();
        own.chain(TermsField::WORDS.iter().copied()).map(str::to_owned).collect()
    }

    fn kind(field: Self) -> Kind {
        match field {
            Self::DisplayName | Self::Providers => Kind::Text,
            Self::Terms(field) => field.kind(),
        }
    }

    fn repeated(field: Self) -> bool {
        match field {
            Self::DisplayName => false,
            Self::Providers => true,
            // One license has one id and one category.
            Self::Terms(TermsField::Id | TermsField::Category) => false,
            Self::Terms(field) => field.repeated(),
        }
    }
}
