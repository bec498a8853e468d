//! Territory: whose place counts.

use super::*;

#[test]
fn a_domicile_test_looks_at_the_organization_alone() {
    let world = world(|l| l.territory = Some(territory(TerritoryTest::Domicile, &["EU"])));
    let from = |country: &str, runs: &str| {
        used(|u| {
            u.organization.country = Country::parse(country);
            u.deployment_countries = Some(countries(runs));
        })
    };
    check(&world, &from("US", "DE"), "yes: TERRITORY_WITHIN");
    check(&world, &from("DE", "US"), "no: TERRITORY_EXCLUDED");
    check(&world, &from("NO", "US"), "yes: TERRITORY_WITHIN");
    check(&world, &from("", "US"), "review: TERRITORY_UNKNOWN ? organization.country");
    let staff = world
        .with(|w| w.licenses[0].territory = Some(territory(TerritoryTest::CustomerAndPersonnel, &["CU", "UA-43"])));
    check(&staff, &from("CU", "US"), "no: TERRITORY_EXCLUDED");
    check(&staff, &from("US", "US"), "yes: TERRITORY_WITHIN");
    check(&staff, &from("", "US"), "review: TERRITORY_UNKNOWN ? organization.country");
    // Part of a country: the use is somewhere in it.
    check(&staff, &from("UA", "US"), "review: TERRITORY_UNCLEAR");
}

#[test]
fn a_place_of_use_test_looks_at_every_place() {
    let world = world(|l| l.territory = Some(territory(TerritoryTest::PlaceOfUse, &["EU", "KR"])));
    let at = |home: &str, runs: &str, users: &str| {
        let set = |codes: &str| (!codes.is_empty()).then(|| countries(codes));
        used(|u| {
            u.organization.country = Country::parse(home);
            u.deployment_countries = set(runs);
            u.end_user_countries = set(users);
        })
    };
    check(&world, &at("US", "US", "US GB"), "yes: TERRITORY_WITHIN");
    check(&world, &at("US", "DE", "US"), "no: TERRITORY_EXCLUDED");
    check(&world, &at("US", "US", "US KR"), "no: TERRITORY_EXCLUDED");
    check(&world, &at("US", "DE", ""), "no: TERRITORY_EXCLUDED");
    check(&world, &at("US", "", "US"), "review: TERRITORY_UNKNOWN ? deployment_countries");
    check(&world, &at("US", "US", ""), "review: TERRITORY_UNKNOWN ? end_user_countries");
    check(&world, &at("", "US", "US"), "review: TERRITORY_UNKNOWN ? organization.country");
    // Its people at home would use it there.
    check(&world, &at("DE", "US", "US"), "review: TERRITORY_UNCLEAR");
    let both = "review: TERRITORY_UNCLEAR TERRITORY_UNKNOWN ? end_user_countries";
    check(&world, &at("DE", "US", ""), both);
    check(&world, &at("DE", "FR", "US"), "no: TERRITORY_EXCLUDED");
    let unknown_test = world.with(|w| w.licenses[0].territory = Some(territory(TerritoryTest::Unknown, &["EU"])));
    check(&unknown_test, &at("US", "US", "US"), "yes: TERRITORY_WITHIN");
    for (home, runs, users) in [("DE", "US", "US"), ("US", "DE", "US"), ("US", "US", "DE")] {
        check(&unknown_test, &at(home, runs, users), "review: TERRITORY_UNCLEAR");
    }
    check(&unknown_test, &at("US", "US", ""), "review: TERRITORY_UNKNOWN ? end_user_countries");
}

#[test]
fn a_list_that_was_not_read_is_a_duty_in_well_known_markets_only() {
    let listed = world(|l| l.territory = Some(territory(TerritoryTest::PublisherList, &[])));
    let at = |home: &str, runs: &str| {
        used(|u| {
            u.organization.country = Country::parse(home);
            u.deployment_countries = (!runs.is_empty()).then(|| countries(runs));
        })
    };
    check(&listed, &at("US", "DE"), "duties: DUTY_APPLIES");
    check(&listed, &at("US", "DE BR"), "review: TERRITORY_UNCLEAR");
    check(&listed, &at("BR", "US"), "review: TERRITORY_UNCLEAR");
    check(&listed, &at("US", ""), "review: TERRITORY_UNKNOWN ? deployment_countries");
    check(&listed, &done(at("US", "DE"), DutyKind::SupportedTerritory), "yes: DUTY_FULFILLED");
    let off = listed.clone().with(|w| w.licenses[0].territory = Some(territory(TerritoryTest::PublisherList, &["RU"])));
    check(&off, &at("US", "RU"), "no: TERRITORY_EXCLUDED");
    // The duty of the record and that of the rule are one.
    let own = listed.with(|w| w.licenses[0].duties.push(duty(DutyKind::SupportedTerritory, &[Trigger::Any])));
    check(&own, &at("US", "DE"), "duties: DUTY_APPLIES");
    check(&own, &at("US", "BR"), "review: TERRITORY_UNCLEAR");
    // Beside another test it is a duty like any other.
    let beside = own.with(|w| w.licenses[0].territory = Some(territory(TerritoryTest::Domicile, &["CN"])));
    check(&beside, &at("US", "DE"), "duties: DUTY_APPLIES TERRITORY_WITHIN");
}

#[test]
fn what_the_model_is_and_who_got_it_can_lift_a_territory() {
    let mut eu = territory(TerritoryTest::Domicile, &["EU"]);
    (eu.multimodal_only, eu.unless) = (true, vec![Predicate::EndUserOfProduct]);
    let text = world(|l| l.territory = Some(eu));
    let german = used(|u| u.organization.country = Country::parse("DE"));
    check(&text, &german, "yes");
    let vision = text.clone().model_with(|m| m.input_modalities.push(Modality::Image));
    check(&vision, &german, "no: TERRITORY_EXCLUDED");
    check(&vision, &Use { role: Role::EndUserOfProduct, ..german.clone() }, "yes");
    let unsure = text.clone().model_with(|m| m.input_modalities.clear());
    check(&unsure, &german, "review: TERRITORY_UNCLEAR");
    check(&unsure, &a_use(), "yes: TERRITORY_WITHIN");
    // What would lift it is not known: neither a yes nor a no.
    let lifted = text.with(|w| {
        let mut eu = territory(TerritoryTest::Domicile, &["EU"]);
        eu.unless = vec![Predicate::NonCommercialUse];
        w.licenses[0].territory = Some(eu);
    });
    let purpose = |purpose| Use { purpose, ..german.clone() };
    check(&lifted, &purpose(Some(Purpose::Commercial)), "no: TERRITORY_EXCLUDED");
    check(&lifted, &purpose(Some(Purpose::Research)), "yes");
    check(&lifted, &purpose(None), "review: TERRITORY_UNCLEAR ? purpose");
    let listed = lifted.with(|w| {
        let mut list = territory(TerritoryTest::PublisherList, &[]);
        list.unless = vec![Predicate::NonCommercialUse];
        w.licenses[0].territory = Some(list);
    });
    check(&listed, &a_use(), "duties: DUTY_APPLIES");
    check(&listed, &for_(Purpose::Research), "yes");
    check(&listed, &used(|u| u.purpose = None), "review: TERRITORY_UNCLEAR ? purpose");
    let brazilian = |purpose| used(|u| (u.purpose, u.organization.country) = (purpose, Country::parse("BR")));
    check(&listed, &brazilian(None), "review: TERRITORY_UNCLEAR ? purpose");
    check(&listed, &brazilian(Some(Purpose::Commercial)), "review: TERRITORY_UNCLEAR");
}
