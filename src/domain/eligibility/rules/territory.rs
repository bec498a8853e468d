//! Territory: whose place counts, and whether it is outside the grant.

use super::predicate::{Known, holds};
use crate::domain::eligibility::decision::Effect;
use crate::domain::eligibility::evaluate::{Out, Terms};
use crate::domain::eligibility::fact::{Fact, Facts};
use crate::domain::eligibility::message::{Detail, UsePlaces, Which, well_known_markets};
use crate::domain::eligibility::reason::Reason;
use crate::domain::license::{Duty, DutyKind, Territory, TerritoryTest, Trigger};
use crate::domain::model::Model;
use crate::domain::place::{CountrySet, Places};
use crate::domain::tri::Tri;

pub(super) fn check<'a>(terms: &Terms<'a, '_>, out: &mut Out<'a>) {
    let Some(territory) = &terms.license.territory else { return };
    let lifted = Known::any(territory.unless.iter().map(|p| holds(*p, &[], terms)));
    // What the model is decides, not how it is used. Not known: it may be caught.
    let reached = match terms.licensed().and_then(Model::is_multimodal) {
        _ if !territory.multimodal_only => Known::TRUE,
        Some(multimodal) => Known::of(multimodal, Facts::NONE),
        None => Known::UNSETTLED,
    };
    let caught = reached.and(lifted.negated());
    if caught.value == Tri::False {
        return;
    }
    match territory.test {
        TerritoryTest::Domicile => judge(terms, territory, caught, &Looked::domicile(terms), out),
        TerritoryTest::CustomerAndPersonnel => {
            let domicile = Looked::domicile(terms);
            if domicile.known.intersects(&territory.excluded.countries) {
                judge(terms, territory, caught, &domicile, out);
            } else {
                // Where the staff are is no fact of its own; where it is run and used says where they may be.
                judge(terms, territory, caught.and(Known::UNSETTLED), &Looked::all(terms), out);
            }
        }
        TerritoryTest::PlaceOfUse => check_place_of_use(terms, territory, caught, out),
        TerritoryTest::PublisherList => check_publisher_list(terms, territory, caught, out),
        // Which place counts is not known: an excluded one is a review, whichever it is.
        TerritoryTest::Unknown => judge(terms, territory, caught.and(Known::UNSETTLED), &Looked::all(terms), out),
    }
}

/// Places that a test looks at: those known, and the facts that are not.
struct Looked<'a> {
    known: CountrySet,
    places: UsePlaces<'a>,
    facts: Facts,
    missing: Facts,
}

impl<'a> Looked<'a> {
    fn domicile(terms: &Terms<'a, '_>) -> Self {
        Self::at(UsePlaces { organization: terms.context.use_.organization.country, ..UsePlaces::default() })
            .waiting_for(&[Fact::OrganizationCountry])
    }

    fn use_places(terms: &Terms<'a, '_>) -> Self {
        let use_ = terms.context.use_;
        let (deployment, end_users) = (use_.deployment_countries.as_ref(), use_.end_user_countries.as_ref());
        Self::at(UsePlaces { deployment, end_users, organization: None })
            .waiting_for(&[Fact::DeploymentCountries, Fact::EndUserCountries])
    }

    fn all(terms: &Terms<'a, '_>) -> Self {
        let used = Self::use_places(terms);
        let organization = terms.context.use_.organization.country;
        Self::at(UsePlaces { organization, ..used.places }).waiting_for(&[
            Fact::OrganizationCountry,
            Fact::DeploymentCountries,
            Fact::EndUserCountries,
        ])
    }

    fn at(places: UsePlaces<'a>) -> Self {
        Self { known: places.all(), places, facts: Facts::NONE, missing: Facts::NONE }
    }

    /// Looks at some facts.
    fn waiting_for(mut self, facts: &[Fact]) -> Self {
        let UsePlaces { organization, deployment, end_users } = self.places;
        for fact in facts {
            let known = match fact {
                Fact::OrganizationCountry => organization.is_some(),
                Fact::DeploymentCountries => deployment.is_some(),
                _ => end_users.is_some(),
            };
            self.facts = self.facts.with(*fact);
            self.missing = if known { self.missing } else { self.missing.with(*fact) };
        }
        self
    }

    /// Some of the places, as a finding shows them.
    fn shown(&self, territory: &'a Territory, which: Which) -> Detail<'a> {
        Detail::Territory { territory, places: self.places, which }
    }
}

/// Excluded → blocks, or a review where it is not certain that the exclusion counts; unknown → review.
fn judge<'a>(
    terms: &Terms<'a, '_>,
    territory: &'a Territory,
    caught: Known<'a>,
    looked: &Looked<'a>,
    out: &mut Out<'a>,
) {
    let Places { countries, parts, written: _ } = &territory.excluded;
    let origin = terms.origin(&territory.clause);
    let excluded = looked.known.intersects(countries);
    let partly = looked.known.intersects(parts);
    let facts = looked.facts.and(caught.facts);
    let settled = excluded && caught.value == Tri::True;
    if settled {
        let detail = looked.shown(territory, Which::Excluded);
        out.say(Reason::TerritoryExcluded, Effect::Blocks, detail, origin, facts);
    } else if excluded || partly {
        let which = if excluded { Which::Excluded } else { Which::PartlyExcluded };
        let detail = looked.shown(territory, which);
        out.review(Reason::TerritoryUnclear, detail, origin, facts, caught.missing);
    }
    if !settled {
        say_not_stated(terms, territory, caught, looked, out);
    }
    if looked.missing.is_empty() && !excluded && !partly {
        let detail = looked.shown(territory, Which::All);
        out.say(Reason::TerritoryWithin, Effect::Permits, detail, origin, looked.facts);
    }
}

fn check_place_of_use<'a>(terms: &Terms<'a, '_>, territory: &'a Territory, caught: Known<'a>, out: &mut Out<'a>) {
    let used = Looked::use_places(terms);
    if used.known.intersects(&territory.excluded.countries) {
        judge(terms, territory, caught, &used, out);
        return;
    }
    // An organization in an excluded place has people there who would use it: that alone is a review.
    let all = Looked::all(terms);
    if all.known.intersects(&territory.excluded.countries) {
        let origin = terms.origin(&territory.clause);
        let detail = all.shown(territory, Which::Excluded);
        out.review(Reason::TerritoryUnclear, detail, origin, all.facts, caught.missing);
        // Knowing the places of use can make it worse; it does not settle what the place at home means.
        say_not_stated(terms, territory, caught, &used, out);
    } else {
        judge(terms, territory, caught, &all, out);
    }
}

/// The list was not read: keep to it where every place is a well-known market, review elsewhere.
fn check_publisher_list<'a>(terms: &Terms<'a, '_>, territory: &'a Territory, caught: Known<'a>, out: &mut Out<'a>) {
    let looked = Looked::all(terms);
    let origin = terms.origin(&territory.clause);
    let Places { countries, parts, written: _ } = &territory.excluded;
    if looked.known.intersects(countries) || looked.known.intersects(parts) {
        judge(terms, territory, caught, &looked, out);
        return;
    }
    if !looked.known.is_subset(&well_known_markets()) {
        let detail = looked.shown(territory, Which::OffMarket);
        out.review(Reason::TerritoryUnclear, detail, origin, looked.facts, caught.missing);
        // A place that is not stated may be excluded, whatever becomes of the others.
        say_not_stated(terms, territory, caught, &looked, out);
    } else if !looked.missing.is_empty() {
        say_not_stated(terms, territory, caught, &looked, out);
    } else {
        match keep_to_list(terms) {
            _ if terms.context.use_.fulfilled_duties.contains(DutyKind::SupportedTerritory) => {
                let detail = looked.shown(territory, Which::All);
                out.say(Reason::DutyFulfilled, Effect::Info, detail, origin, looked.facts);
            }
            _ if caught.value == Tri::Unknown => {
                let detail = looked.shown(territory, Which::All);
                out.review(Reason::TerritoryUnclear, detail, origin, looked.facts, caught.missing);
            }
            Some(duty) => {
                let detail = Detail::Duty { duty, started: Trigger::Any };
                out.say(Reason::DutyApplies, Effect::Duty, detail, terms.origin(&duty.clause), looked.facts);
            }
            None => {
                let detail = looked.shown(territory, Which::All);
                out.say(Reason::DutyApplies, Effect::Duty, detail, origin, looked.facts);
            }
        }
    }
}

/// A review for places that are not stated, where there are such.
fn say_not_stated<'a>(
    terms: &Terms<'a, '_>,
    territory: &'a Territory,
    caught: Known<'a>,
    looked: &Looked<'a>,
    out: &mut Out<'a>,
) {
    if looked.missing.is_empty() {
        return;
    }
    let (detail, origin) = (looked.shown(territory, Which::NotStated), terms.origin(&territory.clause));
    out.review(Reason::TerritoryUnknown, detail, origin, looked.facts, caught.missing.with_facts(looked.missing));
}

fn keep_to_list<'a>(terms: &Terms<'a, '_>) -> Option<&'a Duty> {
    terms.license.duties.iter().find(|duty| duty.kind == DutyKind::SupportedTerritory)
}
