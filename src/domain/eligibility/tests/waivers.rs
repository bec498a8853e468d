//! What a recorded exception silences, and what it does not.

use super::{NOW, World, a_use, duty, gate, license, model, restriction};
use crate::domain::eligibility::decision::{Effect, Verdict};
use crate::domain::eligibility::{Decision, Reason, Use, Waiver};
use crate::domain::license::{Coverage, DutyKind, License, Trigger};
use crate::domain::name::{LicenseId, ModelName};

fn waiver(reason: Reason) -> Waiver {
    Waiver {
        name: "waivers/w".into(),
        reason,
        license: Some(LicenseId::new("LicenseRef-A").unwrap()),
        model: None,
        use_profile: None,
        duty_kind: None,
        category: None,
        policy: None,
        expires: NOW + 1,
    }
}

fn world(change: impl FnOnce(&mut License), waivers: Vec<Waiver>) -> World {
    let mut terms = license("LicenseRef-A");
    change(&mut terms);
    World { models: vec![model("acme/one", "LicenseRef-A")], licenses: vec![terms], waivers, ..World::default() }
}

fn large() -> Use {
    let mut out = a_use();
    out.organization.monthly_active_users = Some(1_000_000_000);
    out
}

fn has(decision: &Decision<'_>, reason: Reason) -> bool {
    decision.findings.iter().any(|finding| finding.reason == reason)
}

#[test]
fn an_active_waiver_silences_its_finding_and_is_named() {
    let world = world(|terms| terms.scale_gates.push(gate()), vec![waiver(Reason::ScaleGateExceeded)]);
    let use_ = large();
    let decision = world.decide(&use_);
    assert_eq!(decision.verdict, Verdict::Eligible, "{:?}", decision.findings);
    let silenced = decision.findings.iter().find(|f| f.reason == Reason::ScaleGateExceeded).unwrap();
    assert_eq!((silenced.effect, silenced.acts()), (Effect::Blocks, None));
    assert_eq!(silenced.waived_by.map(|w| &*w.name), Some("waivers/w"));
    assert!(!decision.summary().contains("May not"), "{}", decision.summary());
}

#[test]
fn an_expired_one_is_reported_and_silences_nothing() {
    let expired = Waiver { expires: NOW, ..waiver(Reason::ScaleGateExceeded) };
    let world = world(|terms| terms.scale_gates.push(gate()), vec![expired.clone()]);
    let use_ = large();
    let decision = world.decide(&use_);
    assert_eq!(decision.verdict, Verdict::Ineligible);
    assert!(has(&decision, Reason::WaiverExpired));
    // Where it would silence nothing it is no news.
    let small = a_use();
    let world = super::super::tests::waivers::world(|_| {}, vec![expired]);
    assert!(!has(&world.decide(&small), Reason::WaiverExpired));
}

#[test]
fn the_scope_is_kept() {
    let use_ = large();
    let verdict = |waiver: Waiver| {
        let world = world(|terms| terms.scale_gates.push(gate()), vec![waiver]);
        world.decide(&use_).verdict
    };
    let of = |reason| waiver(reason);
    let yes = of(Reason::ScaleGateExceeded);
    let of_model = |name: &str| Some(ModelName::new("acme", name).unwrap());
    assert_eq!(verdict(Waiver { license: None, model: of_model("one"), ..yes.clone() }), Verdict::Eligible);
    let other = Some(LicenseId::new("LicenseRef-B").unwrap());
    assert_eq!(verdict(Waiver { license: other, model: of_model("one"), ..yes.clone() }), Verdict::Ineligible);
    assert_eq!(verdict(Waiver { license: None, ..yes.clone() }), Verdict::Ineligible, "a reason alone is no scope");
    assert_eq!(verdict(of(Reason::TerritoryExcluded)), Verdict::Ineligible);
    // Whoever gathers the waivers of a check asks this first.
    let model = ModelName::new("acme", "one").unwrap();
    assert!(yes.concerns(&model, "") && yes.concerns(&model, "useProfiles/p"));
    let of_profile = Waiver { use_profile: Some("useProfiles/p".into()), ..yes.clone() };
    assert!(of_profile.concerns(&model, "useProfiles/p") && !of_profile.concerns(&model, ""));
    assert!(!Waiver { model: of_model("two"), ..yes }.concerns(&model, ""));
}

#[test]
fn a_duty_or_category_is_waived_by_itself() {
    let duties = |terms: &mut License| {
        terms.duties =
            vec![duty(DutyKind::AttributionNotice, &[Trigger::Any]), duty(DutyKind::DisplayBranding, &[Trigger::Any])];
    };
    let one = Waiver { duty_kind: Some(DutyKind::DisplayBranding), ..waiver(Reason::DutyApplies) };
    let use_ = a_use();
    let world_ = world(duties, vec![one]);
    let decision = world_.decide(&use_);
    let owed: Vec<_> = decision.duties().filter_map(|f| f.duty()).map(|duty| duty.kind).collect();
    assert_eq!(owed, [DutyKind::AttributionNotice]);

    let bars = |terms: &mut License| {
        terms.use_restrictions = vec![restriction("law", false), restriction("weapons", false)];
    };
    let one = Waiver { category: Some("law".into()), ..waiver(Reason::UseRestrictedConditionally) };
    let asked = |categories: &[&str]| Use { categories: categories.iter().map(|c| (*c).into()).collect(), ..a_use() };
    let world_ = world(bars, vec![one.clone()]).with(|world| {
        for slug in ["law", "weapons"] {
            let known = crate::domain::vocabulary::UseCategory { sentence: "".into(), broader: Vec::new() };
            world.vocabulary.use_categories.insert(slug.into(), known);
        }
    });
    assert_eq!(world_.decide(&asked(&["law"])).verdict, Verdict::Eligible);
    assert_eq!(world_.decide(&asked(&["law", "weapons"])).verdict, Verdict::NeedsReview);
    let unread = Waiver { reason: Reason::UsePolicyNotRead, ..one };
    let world_ = world(|terms| terms.use_policy.coverage = Coverage::NotRead, vec![unread]);
    assert_eq!(world_.decide(&asked(&["law"])).verdict, Verdict::Eligible);
    assert_eq!(world_.decide(&asked(&["weapons"])).verdict, Verdict::NeedsReview);
    // One category that is waived says nothing of another beside it.
    assert_eq!(world_.decide(&asked(&["law", "weapons"])).verdict, Verdict::NeedsReview);
}

/// A no that a missing fact would hide must not become a yes by leaving the fact out.
#[test]
fn what_waits_for_a_fact_is_never_silenced() {
    let unknown = a_use();
    let terms = |terms: &mut License| terms.scale_gates.push(gate());
    let world_ = world(terms, vec![waiver(Reason::ScaleGateUnknown)]);
    let mut use_ = unknown;
    use_.organization.monthly_active_users = None;
    let decision = world_.decide(&use_);
    assert_eq!(decision.verdict, Verdict::NeedsReview, "{:?}", decision.findings);
    let bars = |terms: &mut License| terms.use_restrictions = vec![restriction("law", true)];
    let world_ = world(bars, vec![waiver(Reason::UseRestricted)]);
    assert_eq!(world_.decide(&Use { categories: vec!["law".into()], ..a_use() }).verdict, Verdict::Ineligible);
}
