//! Territory: whose place counts, and whether it is outside the grant.

use super::predicate::{Known, holds};
use crate::domain::eligibility::decision::Effect;
use crate::domain::eligibility::evaluate::{Out, Terms};
use crate::domain::eligibility::fact::{Fact, Facts};
use crate::domain::eligibility::message::Detail;
use crate::domain::eligibility::reason::Reason;
use crate::domain::license::{Duty, DutyKind, Territory, TerritoryTest, Trigger};
use crate::domain::place::{Country, CountrySet, Places};
use crate::domain::tri::Tri;

pub(super) fn check<'a>(terms: &Terms<'a, '_>, out: &mut Out<'a>) {
    let Some(territory) = &terms.license.territory else { return };
    let lifted = Known::any(territory.unless.iter().map(|p| holds(*p, &[], terms)));
    // What the model is decides, not how it is used. Not known: it may be caught.
    let reached = match terms.model.is_multimodal() {
        _ if !territory.multimodal_only => Known::TRUE,
        Some(multimodal) => Known::of(multimodal, Facts::NONE),
        None => Known::UNSETTLED,
    };
    let caught = reached.and(lifted.negated());
    if caught.value == Tri::False {
        return;
    }
    let places = Uses::of(terms);
    match territory.test {
        TerritoryTest::Domicile => judge(terms, territory, caught, &places.domicile(), out),
        TerritoryTest::CustomerAndPersonnel => {
            let domicile = places.domicile();
            if domicile.known.intersects(&territory.excluded.countries) {
                judge(terms, territory, caught, &domicile, out);
            } else {
                // Where the staff are is no fact of its own; where it is run and used says where they may be.
                judge(terms, territory, caught.and(Known::UNSETTLED), &places.all(), out);
            }
        }
        TerritoryTest::PlaceOfUse => check_place_of_use(terms, territory, caught, &places, out),
        TerritoryTest::PublisherList => check_publisher_list(terms, territory, caught, &places, out),
        // Which place counts is not known: an excluded one is a review, whichever it is.
        TerritoryTest::Unknown => judge(terms, territory, caught.and(Known::UNSETTLED), &places.all(), out),
    }
}

/// The places of a use.
struct Uses<'a> {
    organization: Option<Country>,
    deployment: Option<&'a CountrySet>,
    end_users: Option<&'a CountrySet>,
}

/// Places that a test looks at: those known, and the facts that are not.
struct Looked {
    known: CountrySet,
    facts: Facts,
    missing: Facts,
}

impl<'a> Uses<'a> {
    fn of(terms: &Terms<'a, '_>) -> Self {
        let use_ = terms.context.use_;
        Self {
            organization: use_.organization.country,
            deployment: use_.deployment_countries.as_ref(),
            end_users: use_.end_user_countries.as_ref(),
        }
    }

    fn domicile(&self) -> Looked {
        let mut known = CountrySet::default();
        let facts = Facts::one(Fact::OrganizationCountry);
        match self.organization {
            Some(country) => known.insert(country),
            None => return Looked { known, facts, missing: facts },
        }
        Looked { known, facts, missing: Facts::NONE }
    }

    fn use_places(&self) -> Looked {
        let mut looked = Looked { known: CountrySet::default(), facts: Facts::NONE, missing: Facts::NONE };
        let parts = [(self.deployment, Fact::DeploymentCountries), (self.end_users, Fact::EndUserCountries)];
        for (set, fact) in parts {
            looked.facts = looked.facts.with(fact);
            match set {
                Some(set) => looked.known.extend(set),
                None => looked.missing = looked.missing.with(fact),
            }
        }
        looked
    }

    fn all(&self) -> Looked {
        let (mut all, domicile) = (self.use_places(), self.domicile());
        all.known.extend(&domicile.known);
        all.facts = all.facts.and(domicile.facts);
        all.missing = all.missing.and(domicile.missing);
        all
    }
}

/// Excluded → blocks, or a review where it is not certain that the exclusion counts; unknown → review.
fn judge<'a>(terms: &Terms<'a, '_>, territory: &'a Territory, caught: Known<'a>, looked: &Looked, out: &mut Out<'a>) {
    let Places { countries, parts, written: _ } = &territory.excluded;
    let origin = terms.origin(&territory.clause);
    let excluded = looked.known.common(countries);
    let partly = looked.known.common(parts);
    let facts = looked.facts.and(caught.facts);
    if !excluded.is_empty() && caught.value == Tri::True {
        let detail = Detail::Territory { territory, countries: excluded };
        out.say(Reason::TerritoryExcluded, Effect::Blocks, detail, origin, facts);
    } else if !excluded.is_empty() || !partly.is_empty() {
        let countries = if excluded.is_empty() { partly } else { excluded };
        let detail = Detail::Territory { territory, countries };
        out.review(Reason::TerritoryUnclear, detail, origin, facts, caught.missing);
    }
    if !looked.missing.is_empty() && (excluded.is_empty() || caught.value != Tri::True) {
        let detail = Detail::Territory { territory, countries: CountrySet::default() };
        out.review(Reason::TerritoryUnknown, detail, origin, looked.facts, caught.missing.with_facts(looked.missing));
    }
    if looked.missing.is_empty() && excluded.is_empty() && partly.is_empty() {
        let detail = Detail::Territory { territory, countries: looked.known };
        out.say(Reason::TerritoryWithin, Effect::Permits, detail, origin, looked.facts);
    }
}

fn check_place_of_use<'a>(
    terms: &Terms<'a, '_>,
    territory: &'a Territory,
    caught: Known<'a>,
    places: &Uses<'a>,
    out: &mut Out<'a>,
) {
    let used = places.use_places();
    if used.known.intersects(&territory.excluded.countries) {
        judge(terms, territory, caught, &used, out);
        return;
    }
    // An organization in an excluded place has people there who would use it: that alone is a review.
    let all = places.all();
    let at_home = all.known.common(&territory.excluded.countries);
    if at_home.is_empty() {
        judge(terms, territory, caught, &all, out);
    } else {
        let origin = terms.origin(&territory.clause);
        let detail = Detail::Territory { territory, countries: at_home };
        out.review(Reason::TerritoryUnclear, detail, origin, all.facts, caught.missing);
        // Knowing the places of use can make it worse; it does not settle what the place at home means.
        if !used.missing.is_empty() {
            let detail = Detail::Territory { territory, countries: CountrySet::default() };
            out.review(Reason::TerritoryUnknown, detail, origin, used.facts, caught.missing.with_facts(used.missing));
        }
    }
}

/// The list was not read: keep to it where every place is a well-known market, review elsewhere.
fn check_publisher_list<'a>(
    terms: &Terms<'a, '_>,
    territory: &'a Territory,
    caught: Known<'a>,
    places: &Uses<'a>,
    out: &mut Out<'a>,
) {
    let looked = places.all();
    let origin = terms.origin(&territory.clause);
    let Places { countries, parts, written: _ } = &territory.excluded;
    if looked.known.intersects(countries) || looked.known.intersects(parts) {
        judge(terms, territory, caught, &looked, out);
        return;
    }
    let markets = CountrySet::named("WELL_KNOWN_MARKETS").unwrap_or_default();
    if !looked.known.is_subset(&markets) {
        let mut countries = CountrySet::default();
        looked.known.iter().filter(|country| !markets.contains(*country)).for_each(|country| countries.insert(country));
        let detail = Detail::Territory { territory, countries };
        out.review(Reason::TerritoryUnclear, detail, origin, looked.facts, caught.missing);
    } else if !looked.missing.is_empty() {
        let detail = Detail::Territory { territory, countries: CountrySet::default() };
        out.review(Reason::TerritoryUnknown, detail, origin, looked.facts, caught.missing.with_facts(looked.missing));
    } else {
        match keep_to_list(terms) {
            _ if terms.context.use_.fulfilled_duties.contains(DutyKind::SupportedTerritory) => {
                let detail = Detail::Territory { territory, countries: looked.known };
                out.say(Reason::DutyFulfilled, Effect::Info, detail, origin, looked.facts);
            }
            _ if caught.value == Tri::Unknown => {
                let detail = Detail::Territory { territory, countries: looked.known };
                out.review(Reason::TerritoryUnclear, detail, origin, looked.facts, caught.missing);
            }
            Some(duty) => {
                let detail = Detail::Duty { duty, started: Trigger::Any };
                out.say(Reason::DutyApplies, Effect::Duty, detail, terms.origin(&duty.clause), looked.facts);
            }
            None => {
                let detail = Detail::Territory { territory, countries: looked.known };
                out.say(Reason::DutyApplies, Effect::Duty, detail, origin, looked.facts);
            }
        }
    }
}

fn keep_to_list<'a>(terms: &Terms<'a, '_>) -> Option<&'a Duty> {
    terms.license.duties.iter().find(|duty| duty.kind == DutyKind::SupportedTerritory)
}
