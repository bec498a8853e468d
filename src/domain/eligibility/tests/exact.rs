//! What no verdict shows: where a finding comes from, the words it chooses, and close calls between branches.

use super::*;
use crate::domain::eligibility::decision::Findings;
use crate::domain::eligibility::{Change, Edit, remedies};

#[track_caller]
fn says(world: &World, use_: &Use, reason: Reason, expected: &str) {
    let decision = world.decide(use_);
    let found = decision.findings.iter().find(|finding| finding.reason == reason);
    let message = found.unwrap_or_else(|| panic!("no {reason} in {:#?}", messages(&decision))).message();
    assert!(message.contains(expected), "{message}");
}

#[test]
fn an_unmet_requirement_names_its_field() {
    let path = |requirements: Requirements| {
        let use_ = used(|u| u.requirements = requirements);
        let world = world(|_| {});
        let decision = world.decide(&use_);
        decision.findings.iter().find_map(Finding::requirement)
    };
    let with = |change: fn(&mut Requirements)| {
        let mut requirements = Requirements::default();
        change(&mut requirements);
        path(requirements)
    };
    let list = |id: &str| vec![LicenseId::new(id).unwrap()];
    assert_eq!(path(Requirements::default()), None);
    assert_eq!(with(|r| r.min_tier = Some(Tier::OpenSource)), Some("requirements.min_tier"));
    assert_eq!(with(|r| r.components = vec![ComponentKind::ModelCard]), Some("requirements.components"));
    assert_eq!(with(|r| r.min_context_tokens = Some(1)), Some("requirements.min_context_tokens"));
    assert_eq!(with(|r| r.input_modalities = vec![Modality::Audio]), Some("requirements.input_modalities"));
    assert_eq!(with(|r| r.output_modalities = vec![Modality::Audio]), Some("requirements.output_modalities"));
    assert_eq!(with(|r| r.capabilities = vec![Capability::ToolCall]), Some("requirements.capabilities"));
    let deny = Requirements { license_deny: list("LicenseRef-A"), ..Requirements::default() };
    assert_eq!(path(deny), Some("requirements.license_deny"));
    let allow = Requirements { license_allow: list("MIT"), ..Requirements::default() };
    assert_eq!(path(allow), Some("requirements.license_allow"));
}

#[test]
fn a_decision_names_each_of_its_licenses_once() {
    let world =
        under("LicenseRef-A AND LicenseRef-B AND LicenseRef-A", vec![owing("LicenseRef-A"), owing("LicenseRef-B")]);
    let use_ = a_use();
    let decision = world.decide(&use_);
    let ids: Vec<&str> = decision.licenses().into_iter().map(|license| license.id.as_str()).collect();
    assert_eq!(ids, ["LicenseRef-A", "LicenseRef-B"]);
    assert!(!decision.findings.is_empty());
    assert!(Findings::default().is_empty());
}

#[test]
fn a_duty_that_is_done_is_none_to_do() {
    let world = under("LicenseRef-A", vec![owing("LicenseRef-A")]);
    let kind = |use_: &Use| {
        let decision = world.decide(use_);
        let kinds: Vec<DutyKind> = decision.findings.iter().filter_map(Finding::duty).map(|duty| duty.kind).collect();
        kinds
    };
    assert_eq!(kind(&a_use()), [DutyKind::AttributionNotice]);
    assert_eq!(kind(&done(a_use(), DutyKind::AttributionNotice)), []);
}

/// A license that owes several duties and bars one use under a condition.
fn owing_several(id: &str, duties: usize, barred: &str) -> License {
    license_with(id, |l| {
        l.duties.extend((0..duties).map(|_| duty(DutyKind::AttributionNotice, &[Trigger::Any])));
        if !barred.is_empty() {
            l.use_restrictions.push(restriction(barred, false));
        }
    })
}

#[track_caller]
fn chooses(expression: &str, licenses: Vec<License>, use_: &Use, expected: &str) {
    let world = under(expression, licenses);
    let decision = world.decide(use_);
    // The inner choice is noted before the outer one.
    let chosen = decision.findings.iter().filter_map(|finding| match finding.detail {
        Detail::Branch(Term::License { id, .. }) => Some(id.as_str()),
        _ => None,
    });
    assert_eq!(chosen.last(), Some(expected), "{:#?}", messages(&decision));
}

#[test]
fn a_choice_within_a_branch_counts_for_that_branch() {
    let nested = "(LicenseRef-Z AND (LicenseRef-A OR LicenseRef-B)) OR LicenseRef-C";
    // One duty and two more are three: the branch with two is taken.
    let duties = vec![
        owing_several("LicenseRef-A", 2, ""),
        owing_several("LicenseRef-B", 2, ""),
        owing_several("LicenseRef-C", 2, ""),
        owing_several("LicenseRef-Z", 1, ""),
    ];
    chooses(nested, duties, &a_use(), "LicenseRef-C");
    // A review that no fact would settle is still there a level up: the other one can be settled.
    let use_ = used(|u| {
        u.categories = vec!["weapons".into()];
        u.purpose = None;
    });
    let settled_by_purpose = license_with("LicenseRef-C", |l| {
        l.permissions.commercial_use = status(PermissionStatus::Prohibited);
        l.purposes.personal = Some(PurposeStatus::Allowed);
    });
    let reviews = vec![
        owing_several("LicenseRef-A", 0, "weapons"),
        owing_several("LicenseRef-B", 0, "weapons"),
        settled_by_purpose,
        license("LicenseRef-Z"),
    ];
    chooses(nested, reviews, &use_, "LicenseRef-C");
}

#[test]
fn an_agreement_that_nobody_read_worsens_more_than_a_duty() {
    let world = world(|l| {
        l.duties.push(duty(DutyKind::AttributionNotice, &[Trigger::Any]));
        let unread = Approval::UnreadAgreement;
        l.duties.push(Duty { approval: unread, ..duty(DutyKind::SeparateAgreement, &[Trigger::Redistribute]) });
        l.duties.push(Duty { approval: unread, ..duty(DutyKind::AcceptGatedTerms, &[Trigger::Publish]) });
    });
    let expected = [
        Activity::RedistributeWeights,
        Activity::RedistributeDerivative,
        Activity::PublishOutputs,
        Activity::BenchmarkPublicly,
    ];
    assert_eq!(assumed(&world, &a_use()), expected);
}

#[test]
fn a_note_is_not_waived() {
    let period = |expression: &str| LicensePeriod {
        from: None,
        until: Some(date("2024")),
        expression: Expression::parse(expression).unwrap(),
        commit: "v1".into(),
    };
    let mut world = under("LicenseRef-A", vec![license("LicenseRef-A"), owing("LicenseRef-B")])
        .model_with(|m| m.components[0].license_periods = vec![period("LicenseRef-B")]);
    says(&world, &a_use(), Reason::LicenseChangedOverTime, "LicenseRef-B");
    world.waivers.push(Waiver {
        name: "waivers/w".into(),
        reason: Reason::LicenseChangedOverTime,
        license: None,
        model: Some(ModelName::new("acme", "one").unwrap()),
        use_profile: None,
        duty_kind: None,
        category: None,
        policy: None,
        expires: NOW + 1,
    });
    let use_ = a_use();
    let decision = world.decide(&use_);
    assert!(decision.findings.iter().all(|finding| finding.waived_by.is_none()));
    // A tag of a few letters is a revision where it is the same.
    check(&world, &used(|u| u.model_revision = "v1".into()), "duties: DUTY_APPLIES");
    // Where every earlier license was the same, nothing changed.
    let open = LicensePeriod { until: None, ..period("LicenseRef-A") };
    let same = world.model_with(|m| m.components[0].license_periods = vec![open.clone()]);
    check(&same, &a_use(), "yes");
}

#[test]
fn each_expired_waiver_is_reported_once() {
    let mut world = under("LicenseRef-A AND LicenseRef-B", vec![owing("LicenseRef-A"), owing("LicenseRef-B")]);
    let waiver = |name: &str, license: &str| Waiver {
        name: name.into(),
        reason: Reason::DutyApplies,
        license: Some(LicenseId::new(license).unwrap()),
        model: None,
        use_profile: None,
        duty_kind: Some(DutyKind::AttributionNotice),
        category: None,
        policy: None,
        expires: NOW,
    };
    world.waivers = vec![waiver("waivers/b", "LicenseRef-B"), waiver("waivers/a", "LicenseRef-A")];
    world.licenses[0].duties.push(duty(DutyKind::AttributionNotice, &[Trigger::Any]));
    let use_ = a_use();
    let decision = world.decide(&use_);
    let expired = decision.findings.iter().filter_map(|finding| match finding.detail {
        Detail::Waiver(waiver) => Some(&*waiver.name),
        _ => None,
    });
    assert_eq!(expired.collect::<Vec<_>>(), ["waivers/a", "waivers/b"]);
    assert!(decision.findings.iter().all(|finding| finding.origin.model.is_some()));
}

#[test]
fn a_part_that_is_larger_than_the_whole_is_believed_of_neither() {
    let gated = world(|l| l.scale_gates.push(gate()));
    let with = |subject, period: &str, value| {
        used(|u| {
            u.organization.monthly_active_users = Some(50);
            u.measures = vec![measure("monthly_active_users", subject, period, value)];
        })
    };
    let unknown = "review: SCALE_GATE_UNKNOWN ? measures[monthly_active_users:GROUP]";
    // The most to date is no less than a past month's.
    check(&gated, &with(GateSubject::Product, "2024-06", 500), unknown);
    check(&gated, &with(GateSubject::Product, "", 500), unknown);
    check(&gated, &with(GateSubject::Product, "2024-06", 50), "yes: SCALE_GATE_WITHIN FIGURE_STOOD_IN");
    let told = "is stated as less than a part of it";
    says(&gated, &with(GateSubject::Product, "", 500), Reason::ScaleGateUnknown, told);
    // A yearly revenue that is no highest says nothing of other years.
    let revenue = world(|l| {
        l.scale_gates.push(ScaleGate { metric: "annual_revenue_usd".into(), ..gate() });
    });
    let earned = |period: &str| {
        used(|u| {
            u.organization.annual_revenue_usd = Some(50);
            u.measures = vec![measure("annual_revenue_usd", GateSubject::Product, period, 500)];
        })
    };
    check(&revenue, &earned("2023"), "yes: SCALE_GATE_WITHIN FIGURE_STOOD_IN");
    check(&revenue, &earned(""), "review: SCALE_GATE_UNKNOWN ? measures[annual_revenue_usd:GROUP]");
}

#[test]
fn a_gate_says_whom_to_ask_and_whether_it_reaches_the_use() {
    let asked = world(|l| l.scale_gates.push(ScaleGate { discretion: "acme may refuse".into(), ..gate() }));
    says(&asked, &users(101), Reason::ScaleGateExceeded, "(acme may refuse)");
    let open = world(|l| {
        l.scale_gates.push(ScaleGate {
            only_if: vec![Predicate::BusinessType],
            business_types: vec!["bank".into()],
            ..gate()
        });
    });
    let mut use_ = users(101);
    use_.organization.business_types = BusinessTypes::Unknown;
    says(&open, &use_, Reason::ScaleGateUnknown, "if that reaches this use");
    let frozen = world(|l| l.scale_gates.push(ScaleGate { measured: Measured::Fixed(date("2024-06")), ..gate() }));
    says(&frozen, &users(101), Reason::ScaleGateUnknown, "affiliates are the most to date");
    let then = measured("monthly_active_users", GateSubject::Group, "2024-06", 101);
    says(&frozen, &then, Reason::ScaleGateExceeded, "affiliates in 2024-06 is more than");
}

#[test]
fn the_publishers_list_is_kept_to_by_the_duty_that_says_so() {
    let listed = |duties: Vec<Duty>| {
        world(|l| {
            l.territory = Some(territory(TerritoryTest::PublisherList, &[]));
            l.duties = duties;
        })
    };
    let clause = |world: &World| {
        let use_ = a_use();
        let decision = world.decide(&use_);
        let found = decision.findings.iter().find(|finding| finding.reason == Reason::DutyApplies);
        found.map(|finding| finding.origin.clause.to_owned())
    };
    let kept = Duty { clause: "list".into(), ..duty(DutyKind::SupportedTerritory, &[Trigger::Any]) };
    let other = Duty { binding: Binding::Encouraged, ..duty(DutyKind::AttributionNotice, &[Trigger::Any]) };
    assert_eq!(clause(&listed(vec![other, kept])).as_deref(), Some("list"));
    let bare = listed(Vec::new());
    assert_eq!(clause(&bare).as_deref(), Some("territory"));
    says(&bare, &a_use(), Reason::DutyApplies, "use it only from places on the publisher's list");
    let elsewhere = used(|u| u.end_user_countries = Some(countries("KP")));
    says(&bare, &elsewhere, Reason::TerritoryUnclear, "the publisher's list of supported places holds KP was not read");
    let partly = used(|u| {
        u.end_user_countries = Some(countries("KP"));
        u.deployment_countries = None;
    });
    check(&bare, &partly, "review: TERRITORY_UNCLEAR TERRITORY_UNKNOWN ? deployment_countries");
    let unstated = used(|u| u.end_user_countries = None);
    says(&bare, &unstated, Reason::TerritoryUnknown, "only for places on the publisher's list");
}

#[test]
fn what_an_exception_adds_is_not_modelled() {
    let world = under("GPL-2.0-only WITH Classpath-exception-2.0", vec![license("GPL-2.0-only")]);
    check(&world, &a_use(), "review: LICENSE_EXCEPTION_NOT_MODELLED");
    says(
        &world,
        &a_use(),
        Reason::LicenseExceptionNotModelled,
        "the exception `Classpath-exception-2.0` to GPL-2.0-only",
    );
}

#[test]
fn outermost_regions_leave_open_which_rules_hold() {
    let world = world(|l| {
        let mut owed = duty(DutyKind::AttributionNotice, &[Trigger::Any]);
        owed.only_if = vec![Predicate::EndUsersInEeaChGb];
        l.duties.push(owed);
    });
    let to = |codes: &str| used(|u| u.end_user_countries = Some(countries(codes)));
    check(&world, &to("US"), "yes");
    check(&world, &to("FR"), "duties: DUTY_APPLIES");
    check(&world, &to("FR GP"), "duties: DUTY_APPLIES");
    check(&world, &to("US GP"), "review: DUTY_UNCERTAIN");
    let use_ = to("GP");
    let decision = world.decide(&use_);
    let uncertain = decision.findings.iter().find(|finding| finding.reason == Reason::DutyUncertain).unwrap();
    let facts: Vec<&str> = uncertain.facts.iter().map(|fact| fact.as_str()).collect();
    assert_eq!(facts, ["end_user_countries", "activities"]);
}

#[test]
fn sources_that_contradict_each_other_are_said_where_no_license_is_known() {
    let unknown = under("", Vec::new());
    check(&unknown, &a_use(), "review: LICENSE_UNKNOWN");
    let use_ = a_use();
    let decision = unknown.decide(&use_);
    // No statement, so nothing for it to rest on.
    assert!(decision.findings.iter().all(|finding| finding.reason != Reason::LicenseEvidence));
    let contradicted = unknown.clone().model_with(|m| m.components[0].evidence = Evidence::Conflict);
    check(&contradicted, &a_use(), "review: LICENSE_EVIDENCE_CONFLICT LICENSE_UNKNOWN");
}

#[test]
fn drift_holds_the_barred_uses_of_all_licenses_against_each_other() {
    let vocabulary = Vocabulary {
        use_categories: ["spam", "weapons"].into_iter().map(|slug| (slug.into(), UseCategory::default())).collect(),
        ..Vocabulary::default()
    };
    let barring = |id: &str, uses: &[&str]| {
        let mut license = license_with(id, |l| {
            l.use_restrictions = uses.iter().map(|category| restriction(category, true)).collect();
        });
        license.work_out_limits(&vocabulary);
        license
    };
    let drifts = |own: &str| {
        let world = World {
            vocabulary: vocabulary.clone(),
            ..family(
                own,
                vec![base("meta/two", Relation::FineTune)],
                vec![model("meta/two", "LicenseRef-B")],
                vec![
                    barring("LicenseRef-A", &["spam"]),
                    barring("LicenseRef-B", &["spam", "weapons"]),
                    barring("LicenseRef-C", &["spam", "weapons"]),
                    license("LicenseRef-N"),
                ],
            )
        };
        let use_ = a_use();
        let decision = world.decide(&use_);
        decision.findings.iter().any(|finding| finding.reason == Reason::LicenseDrift)
    };
    assert!(drifts("LicenseRef-A"));
    assert!(!drifts("LicenseRef-C"));
    // What two licenses bar, each of them bars: nothing is lost by naming it twice.
    assert!(!drifts("LicenseRef-A AND LicenseRef-C"));
    assert!(!drifts("LicenseRef-C AND LicenseRef-C"));
    assert!(drifts("LicenseRef-N"));
}

#[test]
fn only_a_few_other_models_are_offered() {
    let world = world(|l| l.permissions.commercial_use = status(PermissionStatus::Prohibited));
    let others: Vec<Model> = (0..9).map(|i| model(&format!("acme/other-{i}"), "LicenseRef-B")).collect();
    let world = world.with(|w| {
        w.licenses.push(license("LicenseRef-B"));
        w.models.extend(others.clone());
    });
    let use_ = a_use();
    let decision = world.decide(&use_);
    let at = Waivers::default();
    let tried = others.iter().map(|model| (model, Vec::new()));
    let found = remedies(&world, &decision, case(&use_, at), tried);
    let models = found.iter().filter(|remedy| matches!(remedy.change, Change::Model(_))).count();
    assert_eq!(models, 3);
}

#[test]
fn as_many_waivers_as_a_person_would_ask_for_are_offered() {
    let offers = |licenses: usize| {
        let ids: Vec<String> = (0..licenses).map(|i| format!("LicenseRef-{i}")).collect();
        let barred = ids.iter().map(|id| license_with(id, |l| l.scale_gates.push(gate()))).collect();
        let world = under(&ids.join(" AND "), barred);
        let use_ = users(101);
        let decision = world.decide(&use_);
        let found = remedies(&world, &decision, case(&use_, Waivers::default()), std::iter::empty());
        found.iter().any(|remedy| matches!(&remedy.change, Change::Waivers(needed) if needed.len() == licenses))
    };
    assert!(offers(1));
    assert!(offers(5));
    assert!(!offers(6));
}

#[test]
fn a_vendor_is_the_one_that_serves_the_id_that_was_asked_for() {
    let world = World {
        services: vec![("acme", license("LicenseRef-S")), ("cloud", owing("LicenseRef-C"))],
        models: vec![closed("acme/one")],
        ..World::default()
    };
    let use_ = a_use();
    let decision = world.decide(&use_);
    let cloud = ProviderId::new("cloud").unwrap();
    let offered = |served_by| {
        let case = Case { served_by, ..case(&use_, Waivers::default()) };
        let found = remedies(&world, &decision, case, std::iter::empty());
        let hosted = found.into_iter().find_map(|remedy| match remedy.change {
            Change::Use(edits) => edits.into_iter().find_map(|edit| match edit {
                Edit::Host(Hosting::VendorApi, provider) => Some((provider, remedy.verdict)),
                _ => None,
            }),
            _ => None,
        });
        hosted.unwrap()
    };
    assert_eq!(offered(None), (None, Verdict::Eligible));
    assert_eq!(offered(Some(&cloud)), (Some(cloud.clone()), Verdict::EligibleWithConditions));
    // On one's own machines nobody serves it.
    let open = under("LicenseRef-A", vec![license_with("LicenseRef-A", |l| l.scale_gates.push(gate()))]);
    let api = Use { hosting: Some(Hosting::VendorApi), ..users(101) };
    let decision = open.decide(&api);
    let case = Case { served_by: Some(&cloud), ..case(&api, Waivers::default()) };
    for remedy in remedies(&open, &decision, case, std::iter::empty()) {
        let Change::Use(edits) = &remedy.change else { continue };
        let hosts = |edit: &Edit| matches!(edit, Edit::Host(_, Some(_)));
        assert!(!edits.iter().any(hosts), "{edits:?}");
    }
}

#[test]
fn who_is_an_end_user_depends_on_the_hosting() {
    let world = world(|l| l.scale_gates.push(ScaleGate { unless: vec![Predicate::EndUserOfProduct], ..gate() }));
    let hosted = |hosting| Use { role: Role::EndUserOfProduct, hosting, ..users(101) };
    check(&world, &hosted(Some(Hosting::SelfHosted)), "yes");
    // On devices the weights leave the house, so that it is not settled.
    check(&world, &hosted(Some(Hosting::EdgeOffline)), "review: SCALE_GATE_UNKNOWN FIGURE_STOOD_IN");
    check(&world, &hosted(None), "review: HOSTING_UNKNOWN SCALE_GATE_UNKNOWN FIGURE_STOOD_IN ? hosting");
}
