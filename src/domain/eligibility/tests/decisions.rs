//! Access, services, requirements, and the decision as a whole.

use super::*;
use crate::domain::eligibility::remedies;

#[test]
fn a_license_that_was_read_and_limits_nothing_is_a_plain_yes() {
    check(&world(|_| {}), &a_use(), "yes");
    check(
        &world(|l| l.permissions.commercial_use = status(PermissionStatus::Allowed)),
        &a_use(),
        "yes: COMMERCIAL_USE_GRANTED",
    );
    let everything: Vec<Activity> = Activity::ALL.to_vec();
    check(&world(|_| {}), &doing(&everything), "yes");
}

#[test]
fn access_looks_at_the_weights_and_the_hosting() {
    let hosted = |hosting| used(|u| u.hosting = hosting);
    let open = world(|_| {});
    check(&open, &hosted(None), "review: HOSTING_UNKNOWN ? hosting");
    for hosting in [Hosting::OnPremises, Hosting::EdgeOffline] {
        check(&open, &hosted(Some(hosting)), "yes");
    }
    let closed = World { models: vec![closed("acme/one")], ..World::default() };
    for hosting in [Hosting::SelfHosted, Hosting::OnPremises, Hosting::EdgeOffline] {
        check(&closed, &hosted(Some(hosting)), "no: WEIGHTS_UNAVAILABLE");
    }
    check(&closed, &hosted(None), "review: HOSTING_UNKNOWN ? hosting");
    let unsure = world(|_| {}).model_with(|m| m.components[0].availability = None);
    check(&unsure, &a_use(), "review: TIER_UNKNOWN");
    let nothing = world(|_| {}).model_with(|m| m.components.clear());
    check(&nothing, &a_use(), "review: TIER_UNKNOWN LICENSE_UNKNOWN");
    let withdrawn = world(|_| {}).model_with(|m| m.components[0].availability = Some(Availability::Withdrawn));
    check(&withdrawn, &a_use(), "yes: WEIGHTS_WITHDRAWN");
    for availability in [Availability::Gated, Availability::Partial] {
        let world = world(|_| {}).model_with(|m| m.components[0].availability = Some(availability));
        check(&world, &a_use(), "yes");
    }
}

#[test]
fn service_terms_hold_for_a_vendors_api() {
    let api = |change: fn(&mut Use)| {
        used(|u| {
            u.hosting = Some(Hosting::VendorApi);
            change(u);
        })
    };
    let vendor =
        World { models: vec![closed("acme/one")], services: vec![("acme", owing("LicenseRef-S"))], ..World::default() };
    let owed = "duties: DUTY_APPLIES";
    check(&vendor, &api(|_| {}), owed);
    check(&vendor, &api(|u| u.provider = Some(ProviderId::new("acme").unwrap())), owed);
    let cloud = |u: &mut Use| u.provider = Some(ProviderId::new("cloud").unwrap());
    check(&vendor, &api(cloud), "review: PROVIDER_TERMS_UNKNOWN");
    let another = |u: &mut Use| u.provider = Some(ProviderId::new("not-its-server").unwrap());
    check(&vendor, &api(another), "review: OFFERING_UNKNOWN PROVIDER_TERMS_UNKNOWN");
    // A publisher serves its own models, whether or not an offering says so.
    let own = World {
        models: vec![closed("not-its-server/one")],
        services: vec![("not-its-server", license("LicenseRef-S"))],
        ..World::default()
    };
    check(&own, &api(another), "yes");
    check(&vendor, &api(|u| u.role = Role::EndUserOfProduct), "yes: PRODUCT_VENDOR_TERMS");
    let silent = World { services: Vec::new(), ..vendor };
    check(&silent, &api(|_| {}), "review: PROVIDER_TERMS_UNKNOWN ? provider");
    // Open weights on somebody's service: both sets of terms.
    let hosted = world(|l| l.duties.push(duty(DutyKind::NamePrefix, &[Trigger::Any])))
        .with(|w| w.services.push(("cloud", owing("LicenseRef-S"))));
    check(&hosted, &api(cloud), "duties: DUTY_APPLIES DUTY_APPLIES");
    check(&hosted, &api(|_| {}), "review: PROVIDER_TERMS_UNKNOWN DUTY_APPLIES ? provider");
    check(&hosted, &api(|u| u.role = Role::EndUserOfProduct), "duties: DUTY_APPLIES PRODUCT_VENDOR_TERMS");
}

#[test]
fn requirements_are_met_or_not_or_not_known() {
    let needing = |change: fn(&mut Requirements)| used(|u| change(&mut u.requirements));
    let open = world(|_| {}).model_with(|m| {
        m.context_tokens = Some(8_192);
        m.capabilities = vec![Capability::ToolCall].into();
        m.components.push(Component { kind: ComponentKind::TrainingCode, availability: None, ..weights("") });
        let availability = Some(Availability::Partial);
        m.components.push(Component { kind: ComponentKind::TrainingData, availability, ..weights("") });
    });
    let (no, unknown) = ("no: REQUIREMENT_UNMET", "review: REQUIREMENT_UNKNOWN");
    check(&open, &needing(|r| r.min_tier = Some(Tier::OpenWeight)), "yes");
    check(&open, &needing(|r| r.min_tier = Some(Tier::OpenSource)), no);
    check(&open, &needing(|r| r.components = vec![ComponentKind::ModelWeights]), "yes");
    check(&open, &needing(|r| r.components = vec![ComponentKind::TrainingData]), no);
    check(&open, &needing(|r| r.components = vec![ComponentKind::TrainingCode]), unknown);
    check(&open, &needing(|r| r.components = vec![ComponentKind::DataCard]), unknown);
    check(&open, &needing(|r| r.min_context_tokens = Some(8_192)), "yes");
    check(&open, &needing(|r| r.min_context_tokens = Some(8_193)), no);
    let short = open.clone().model_with(|m| m.context_tokens = None);
    check(&short, &needing(|r| r.min_context_tokens = Some(1)), unknown);
    check(&open, &needing(|r| r.input_modalities = vec![Modality::Text]), "yes");
    check(&open, &needing(|r| r.output_modalities = vec![Modality::Image]), no);
    let blank = open.clone().model_with(|m| m.output_modalities.clear());
    check(&blank, &needing(|r| r.output_modalities = vec![Modality::Image]), unknown);
    check(&open, &needing(|r| r.capabilities = vec![Capability::ToolCall]), "yes");
    check(&open, &needing(|r| r.capabilities = vec![Capability::Reasoning]), unknown);
    check(&open, &needing(|r| r.private_fine_tuning = true), "yes");
    check(&open, &needing(|r| r.offline = true), "yes");
    let api = |change: fn(&mut Requirements)| Use { hosting: Some(Hosting::VendorApi), ..needing(change) };
    let shut = World {
        models: vec![closed("acme/one")],
        services: vec![("acme", license("LicenseRef-S"))],
        ..World::default()
    };
    check(&shut, &api(|r| r.private_fine_tuning = true), no);
    check(&shut, &api(|r| r.offline = true), no);
    let undecided = Use { hosting: None, ..needing(|r| r.offline = true) };
    check(&open, &undecided, "review: HOSTING_UNKNOWN REQUIREMENT_UNKNOWN ? hosting");
    check(&shut, &undecided, "no: REQUIREMENT_UNMET HOSTING_UNKNOWN ? hosting");
}

#[test]
fn an_offering_without_a_model_is_a_review() {
    let decision = unresolved("two models share this id");
    assert_eq!(shown(&decision), "review: MODEL_UNRESOLVED");
    assert!(decision.summary().contains("two models share this id"));
}

#[test]
fn the_gravest_finding_comes_first() {
    let world = world(|l| {
        l.duties.push(duty(DutyKind::ComplyWithLaw, &[Trigger::Any]));
        l.duties.push(duty(DutyKind::Registration, &[Trigger::Any]));
        l.duties.push(duty(DutyKind::PaidPlan, &[Trigger::Any]));
        l.scale_gates.push(gate());
    });
    let use_ = a_use();
    let decision = world.decide(&use_);
    let effects: Vec<Effect> = decision.findings.iter().map(|f| f.effect).collect();
    assert!(effects.is_sorted(), "{effects:?}");
    assert_eq!(effects[0], Effect::Blocks);
}

#[test]
fn a_place_outside_the_grant_can_be_left() {
    let world = world(|l| {
        l.territory = Some(territory(TerritoryTest::PlaceOfUse, &["EU"]));
    });
    let use_ = used(|u| {
        u.deployment_countries = Some(countries("US"));
        u.end_user_countries = Some(countries("US DE FR"));
    });
    let decision = world.decide(&use_);
    assert_eq!(decision.verdict, Verdict::Ineligible);
    let found = remedies(&world, &decision, case(&use_, Waivers::default()), std::iter::empty());
    let sentences: Vec<String> =
        found.iter().map(|remedy| format!("{} {}", remedy.sentence(), remedy.verdict)).collect();
    assert!(
        sentences.iter().any(|s| s.contains("DE") && s.contains("FR") && s.ends_with(" ELIGIBLE")),
        "{sentences:?}"
    );
    assert!(!decision.findings.is_empty() && world.decide(&a_use()).findings.len() > 1);
}
