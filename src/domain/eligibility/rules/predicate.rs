//! Predicates of duties, gates and bars: true, false or unknown for a use, with the facts they look at.

use crate::domain::eligibility::decision::Effect;
use crate::domain::eligibility::evaluate::{Missing, Terms};
use crate::domain::eligibility::fact::{Fact, Facts};
use crate::domain::eligibility::intended_use::{Activity, BusinessTypes, Hosting, OrganizationType, Purpose, Role};
use crate::domain::license::Predicate;
use crate::domain::model::{Modality, Model};
use crate::domain::place::CountrySet;
use crate::domain::tri::Tri;

/// A truth value with the facts it rests on and those it waits for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Known<'a> {
    pub(super) value: Tri,
    pub(super) facts: Facts,
    pub(super) missing: Missing<'a>,
}

impl<'a> Known<'a> {
    pub(super) const TRUE: Self = Self { value: Tri::True, facts: Facts::NONE, missing: Missing::NONE };
    pub(super) const FALSE: Self = Self { value: Tri::False, facts: Facts::NONE, missing: Missing::NONE };

    pub(super) fn of(value: bool, facts: Facts) -> Self {
        Self { value: value.into(), facts, missing: Missing::NONE }
    }

    pub(super) fn unknown(fact: Fact) -> Self {
        Self { value: Tri::Unknown, facts: Facts::one(fact), missing: Missing::fact(fact) }
    }

    /// Not known, and no fact of the use would tell.
    pub(super) const UNSETTLED: Self = Self { value: Tri::Unknown, facts: Facts::NONE, missing: Missing::NONE };

    /// Both hold. Only what still matters is missing: nothing, once the answer is false.
    pub(super) fn and(self, other: Self) -> Self {
        let value = self.value.and(other.value);
        let missing = if value == Tri::Unknown { self.missing.and(other.missing) } else { Missing::NONE };
        Self { value, facts: self.facts.and(other.facts), missing }
    }

    /// At least one holds.
    pub(super) fn or(self, other: Self) -> Self {
        self.negated().and(other.negated()).negated()
    }

    pub(super) fn negated(self) -> Self {
        Self { value: self.value.negated(), ..self }
    }

    /// Whether any of several holds.
    pub(super) fn any(parts: impl Iterator<Item = Known<'a>>) -> Self {
        parts.fold(Self::FALSE, Self::or)
    }

    /// Whether all of several hold.
    pub(super) fn all(parts: impl Iterator<Item = Known<'a>>) -> Self {
        parts.fold(Self::TRUE, Self::and)
    }
}

/// Whether the purpose meets a test.
pub(super) fn purpose<'a>(terms: &Terms<'_, '_>, test: impl Fn(Purpose) -> bool) -> Known<'a> {
    match terms.context.use_.purpose {
        Some(purpose) => Known::of(test(purpose), Facts::one(Fact::Purpose)),
        None => Known::unknown(Fact::Purpose),
    }
}

/// Whether the use is commercial.
pub(super) fn commercial<'a>(terms: &Terms<'_, '_>) -> Known<'a> {
    purpose(terms, Purpose::is_commercial)
}

/// Evaluates a predicate; `business_types` are those named beside it.
pub(super) fn holds<'a>(predicate: Predicate, business_types: &[Box<str>], terms: &Terms<'_, '_>) -> Known<'a> {
    let use_ = terms.context.use_;
    match predicate {
        Predicate::CommercialUse => commercial(terms),
        Predicate::NonCommercialUse => commercial(terms).negated(),
        Predicate::ResearchOrEvaluation => {
            purpose(terms, |purpose| matches!(purpose, Purpose::Research | Purpose::Evaluation))
        }
        Predicate::BusinessType => business_type(business_types, terms),
        Predicate::EndUserOfProduct => end_user(terms),
        Predicate::NonProfitNonCommercial => {
            organization(OrganizationType::NonProfit, terms).and(commercial(terms).negated())
        }
        Predicate::Company => organization(OrganizationType::Company, terms),
        Predicate::SelfHosting => match use_.hosting {
            Some(hosting) => Known::of(hosting != Hosting::VendorApi, Facts::one(Fact::Hosting)),
            None => Known::unknown(Fact::Hosting),
        },
        Predicate::Service => {
            Known::of(terms.context.does(Activity::OfferAsService, Effect::Blocks), Facts::one(Fact::Activities))
        }
        Predicate::EndUsersInEeaChGb => match &use_.end_user_countries {
            // Territories of member states with codes of their own: which rules hold there is not settled here.
            Some(countries)
                if !countries.intersects(&eea_ch_gb()) && countries.intersects(&CountrySet::outermost_regions()) =>
            {
                Known { facts: Facts::one(Fact::EndUserCountries), ..Known::UNSETTLED }
            }
            Some(countries) => Known::of(countries.intersects(&eea_ch_gb()), Facts::one(Fact::EndUserCountries)),
            None => Known::unknown(Fact::EndUserCountries),
        },
        Predicate::ImageOutputs => image_outputs(terms.licensed().map_or(&[], |model| &model.output_modalities)),
        Predicate::CosmosModel => terms.licensed().map_or(Known::UNSETTLED, |m| Known::of(is_cosmos(m), Facts::NONE)),
    }
}

/// Whether the organization is of a type.
fn organization<'a>(wanted: OrganizationType, terms: &Terms<'_, '_>) -> Known<'a> {
    match terms.context.use_.organization.kind {
        Some(kind) => Known::of(kind == wanted, Facts::one(Fact::OrganizationType)),
        None => Known::unknown(Fact::OrganizationType),
    }
}

/// One of NVIDIA's Cosmos models, by its family or its name.
pub(in crate::domain::eligibility) fn is_cosmos(model: &Model) -> bool {
    model.family.eq_ignore_ascii_case("cosmos")
        || model.name.model().split(['-', '_', '.']).any(|word| word == "cosmos")
}

/// Who changes, passes on or serves the model did not merely get it inside somebody else's product.
fn end_user<'a>(terms: &Terms<'_, '_>) -> Known<'a> {
    const MORE: [Activity; 5] = [
        Activity::FineTune,
        Activity::Modify,
        Activity::RedistributeWeights,
        Activity::RedistributeDerivative,
        Activity::OfferAsService,
    ];
    let more = || terms.context.is_edge() || terms.context.does_any(&MORE, Effect::Blocks);
    let facts = Facts::one(Fact::Role);
    match terms.context.use_.role {
        // On a device of one's own the weights are there to be passed on.
        Role::EndUserOfProduct if terms.context.use_.hosting.is_none() => {
            Known { facts: facts.with(Fact::Hosting), ..Known::unknown(Fact::Hosting) }
        }
        Role::EndUserOfProduct if more() => Known { facts: facts.with(Fact::Activities), ..Known::UNSETTLED },
        role => Known::of(role == Role::EndUserOfProduct, facts),
    }
}

fn business_type<'a>(named: &[Box<str>], terms: &Terms<'_, '_>) -> Known<'a> {
    match &terms.context.use_.organization.business_types {
        BusinessTypes::Unknown => Known::unknown(Fact::BusinessTypes),
        BusinessTypes::Known(types) => {
            Known::of(types.iter().any(|own| named.contains(own)), Facts::one(Fact::BusinessTypes))
        }
    }
}

// A model that gives out text and images leaves open which of the two the use takes.
fn image_outputs<'a>(outputs: &[Modality]) -> Known<'a> {
    let images = outputs.iter().any(|m| matches!(m, Modality::Image | Modality::Video));
    let others = outputs.iter().any(|m| !matches!(m, Modality::Image | Modality::Video));
    match (images, others) {
        (true, false) => Known::TRUE,
        (false, true) => Known::FALSE,
        (true, true) | (false, false) => Known::UNSETTLED,
    }
}

fn eea_ch_gb() -> CountrySet {
    let mut set = CountrySet::named("EEA").unwrap_or_default();
    for code in ["CH", "GB"] {
        if let Some(country) = crate::domain::place::Country::parse(code) {
            set.insert(country);
        }
    }
    set
}
