//! Which license holds, and what its statement rests on.

use super::*;

#[test]
fn what_a_license_statement_rests_on_is_named_or_reviewed() {
    let rests = |evidence| world(|_| {}).model_with(|m| m.components[0].evidence = evidence);
    for evidence in [Evidence::Tag, Evidence::Named, Evidence::Secondary, Evidence::TextRead, Evidence::Confirmed] {
        check(&rests(evidence), &a_use(), "yes");
        let world = rests(evidence);
        let use_ = a_use();
        assert!(world.decide(&use_).findings.iter().any(|f| f.message().contains(evidence.as_str())));
    }
    check(&rests(Evidence::GeneralKnowledge), &a_use(), "review: LICENSE_EVIDENCE_WEAK");
    check(&rests(Evidence::Conflict), &a_use(), "review: LICENSE_EVIDENCE_CONFLICT");
}

#[test]
fn a_license_that_is_not_known_is_never_a_yes() {
    check(&under("", vec![]), &a_use(), "review: LICENSE_UNKNOWN");
    check(&under("LicenseRef-Nobody", vec![]), &a_use(), "review: LICENSE_UNKNOWN");
    check(&under("Zed", vec![]), &a_use(), "review: LICENSE_NOT_MODELLED");
    // A record that calls itself unknown must not help, in any case, nor through another license.
    for id in ["LicenseRef-Unknown", "LicenseRef-UNKNOWN"] {
        check(&under(id, vec![license(id)]), &a_use(), "review: LICENSE_UNKNOWN");
    }
    let brings_in = license_with("LicenseRef-A", |l| {
        let incorporates = vec![LicenseId::new("LicenseRef-Unknown").unwrap()];
        l.duties.push(Duty { incorporates, ..duty(DutyKind::ThirdPartyLicenseStack, &[Trigger::Redistribute]) });
    });
    let stacked = under("LicenseRef-A", vec![brings_in, license("LicenseRef-Unknown")]);
    check(&stacked, &a_use(), "review: LICENSE_UNKNOWN");
    check(
        &under("MIT WITH Classpath-exception-2.0", vec![license("MIT")]),
        &a_use(),
        "review: LICENSE_EXCEPTION_NOT_MODELLED",
    );
    let exception = under("MIT WITH Classpath-exception-2.0", vec![license("MIT")]);
    let use_ = a_use();
    let decision = exception.decide(&use_);
    let found = decision.findings.iter().find(|f| f.reason == Reason::LicenseExceptionNotModelled).unwrap();
    assert_eq!(found.origin.license.map(|license| license.id.as_str()), Some("MIT"));
    check(&under("MIT AND LicenseRef-Nobody", vec![license("MIT")]), &a_use(), "review: LICENSE_UNKNOWN");
    let choice = under("LicenseRef-Nobody OR MIT", vec![license("MIT")]);
    check(&choice, &a_use(), "yes: LICENSE_BRANCH_CHOSEN");
}

#[test]
fn the_terms_that_a_license_brings_in_hold_too() {
    let brings_in = |id: &str| {
        let incorporates = vec![LicenseId::new("LicenseRef-B").unwrap()];
        license_with(id, |l| {
            l.duties.push(Duty { incorporates, ..duty(DutyKind::ThirdPartyLicenseStack, &[Trigger::Redistribute]) });
        })
    };
    let barred = license_with("LicenseRef-B", |l| l.permissions.use_ = status(PermissionStatus::Prohibited));
    check(&under("LicenseRef-A", vec![brings_in("LicenseRef-A"), barred.clone()]), &a_use(), "no: USE_PROHIBITED");
    check(&under("LicenseRef-A", vec![brings_in("LicenseRef-A")]), &a_use(), "review: LICENSE_UNKNOWN");
    // In the terms of a service as well; a circle ends in a review.
    let service = World {
        models: vec![closed("acme/one")],
        services: vec![("acme", brings_in("LicenseRef-S"))],
        licenses: vec![barred],
        ..World::default()
    };
    check(&service, &used(|u| u.hosting = Some(Hosting::VendorApi)), "no: USE_PROHIBITED");
    let circle = under("LicenseRef-B", vec![brings_in("LicenseRef-B")]);
    check(&circle, &a_use(), "review: LICENSE_UNKNOWN");
}

#[test]
fn and_is_the_worst_and_or_the_best_branch() {
    let licenses = || {
        let free = license("MIT");
        let owes = |id: &str, n: usize| {
            license_with(id, |l| {
                l.duties = vec![duty(DutyKind::AttributionNotice, &[Trigger::Any]); n];
            })
        };
        let barred = license_with("LicenseRef-No", |l| l.permissions.use_ = status(PermissionStatus::Prohibited));
        vec![free, owes("LicenseRef-One", 1), owes("LicenseRef-Uno", 1), owes("LicenseRef-Two", 2), barred]
    };
    let of = |expression: &str, expected: &str| check(&under(expression, licenses()), &a_use(), expected);
    of("MIT AND LicenseRef-One", "duties: DUTY_APPLIES");
    of("MIT AND LicenseRef-No", "no: USE_PROHIBITED");
    for both in ["MIT OR LicenseRef-No", "LicenseRef-No OR MIT", "LicenseRef-One OR MIT", "MIT OR LicenseRef-Nobody"] {
        of(both, "yes: LICENSE_BRANCH_CHOSEN");
    }
    for both in
        ["LicenseRef-Two OR LicenseRef-One", "LicenseRef-One OR LicenseRef-Two", "LicenseRef-No OR LicenseRef-One"]
    {
        of(both, "duties: DUTY_APPLIES LICENSE_BRANCH_CHOSEN");
    }
    of("MIT AND (LicenseRef-No OR LicenseRef-One)", "duties: DUTY_APPLIES LICENSE_BRANCH_CHOSEN");
    of("(MIT AND LicenseRef-No) OR LicenseRef-One", "duties: DUTY_APPLIES LICENSE_BRANCH_CHOSEN");
    // The decision says which branch was taken, the same one in either order.
    let taken = |expression: &str| {
        let (world, use_) = (under(expression, licenses()), a_use());
        let decision = world.decide(&use_);
        let found = decision.findings.iter().find(|f| f.reason == Reason::LicenseBranchChosen);
        found.map(Finding::message).unwrap()
    };
    assert!(taken("LicenseRef-Two OR LicenseRef-One").contains("`LicenseRef-One`"));
    // Equal outcomes: the same branch in either order, also where the first ids are the same.
    let (one, other) = ("(MIT AND LicenseRef-One)", "(MIT AND LicenseRef-Uno)");
    assert!(taken(&format!("{one} OR {other}")).contains("LicenseRef-One"));
    assert!(taken(&format!("{other} OR {one}")).contains("LicenseRef-One"));
}

#[test]
fn a_later_version_falls_back_to_the_named_one() {
    let only = vec![license("GPL-2.0-only")];
    check(&under("GPL-2.0-or-later", only.clone()), &a_use(), "yes");
    check(&under("EPL-2.0+", vec![license("EPL-2.0")]), &a_use(), "yes");
    check(&under("GPL-3.0-or-later", only.clone()), &a_use(), "review: LICENSE_NOT_MODELLED");
    check(&under("GPL-2.0-only", vec![license("GPL-2.0-or-later")]), &a_use(), "review: LICENSE_NOT_MODELLED");
    // Lists take either spelling.
    let listed =
        |list: fn(&mut Use) -> &mut Vec<LicenseId>, id: &str| used(|u| list(u).push(LicenseId::new(id).unwrap()));
    for id in ["GPL-2.0-only", "GPL-2.0-or-later"] {
        let world = under("GPL-2.0-or-later", only.clone());
        check(&world, &listed(|u| &mut u.requirements.license_allow, id), "yes");
        check(&world, &listed(|u| &mut u.requirements.license_deny, id), "no: LICENSE_NOT_ALLOWED");
    }
}

#[test]
fn a_pinned_revision_picks_the_license_of_its_period() {
    let period = |from: &str, until: &str, expression: &str, commit: &str| LicensePeriod {
        from: (!from.is_empty()).then(|| date(from)),
        until: (!until.is_empty()).then(|| date(until)),
        expression: Expression::parse(expression).unwrap(),
        commit: commit.into(),
    };
    let no = license_with("LicenseRef-Old", |l| l.permissions.use_ = status(PermissionStatus::Prohibited));
    let world = under("MIT", vec![license("MIT"), no]).model_with(|m| {
        m.components[0].license_periods = vec![
            period("", "2025-03-23", "LicenseRef-Old", "0123456789abcdef"),
            period("2025-03-24", "", "MIT", "fedcba9876543210"),
        ];
    });
    let at = |revision: &str| used(|u| u.model_revision = revision.into());
    check(&world, &at(""), "yes: LICENSE_CHANGED_OVER_TIME");
    for old in ["2025-03-23", "2024", "2025-02", "0123456", "0123456789abcdef"] {
        check(&world, &at(old), "no: USE_PROHIBITED");
    }
    for new in ["2025-03-24", "2026", "2025-04", "fedcba9", "fedcba9876543210"] {
        check(&world, &at(new), "yes");
    }
    // Not placed: a month with both, a commit nobody knows, one cut too short.
    for unplaced in ["2025-03", "2025", "abcdef0", "012345", "v1"] {
        check(&world, &at(unplaced), "review: MODEL_REVISION_UNPLACED");
    }
    check(&under("MIT", vec![license("MIT")]), &at("v1"), "yes");
}

#[test]
fn a_pinned_revision_has_the_tier_of_its_period() {
    let world = under("MIT", vec![license("MIT"), license("LicenseRef-Old")]).model_with(|m| {
        m.components[0].license_periods = vec![LicensePeriod {
            from: None,
            until: Some(date("2025-03-23")),
            expression: Expression::parse("LicenseRef-Old").unwrap(),
            commit: "".into(),
        }];
        // The weights alone do not make it open source.
        for kind in [ComponentKind::TrainingData, ComponentKind::TrainingCode] {
            m.components.push(Component { kind, ..weights("MIT") });
        }
    });
    let needs = |revision: &str| {
        used(|u| {
            u.model_revision = revision.into();
            u.requirements.min_tier = Some(Tier::OpenSource);
        })
    };
    check(&world, &needs("2025-03-23"), "no: REQUIREMENT_UNMET");
    let (old, now) = (needs("2025-03-23"), needs(""));
    let told = |use_| {
        let decision = world.decide(use_);
        (decision.tier, decision.expression.map(ToString::to_string))
    };
    assert_eq!(told(&old), (Some(Tier::OpenWeight), Some("LicenseRef-Old".to_owned())));
    assert_eq!(told(&now), (Some(Tier::OpenSource), Some("MIT".to_owned())));
}

#[test]
fn lists_of_licenses_hold_for_every_license_that_is_applied() {
    let id = |id: &str| LicenseId::new(id).unwrap();
    let allow = |ids: &[&str]| used(|u| u.requirements.license_allow = ids.iter().map(|i| id(i)).collect());
    let deny = |ids: &[&str]| used(|u| u.requirements.license_deny = ids.iter().map(|i| id(i)).collect());
    let licenses = || vec![license("MIT"), license("Apache-2.0")];
    let no = "no: LICENSE_NOT_ALLOWED";
    check(&under("MIT", licenses()), &allow(&["MIT"]), "yes");
    check(&under("MIT", licenses()), &allow(&["Apache-2.0"]), no);
    check(&under("MIT", licenses()), &deny(&["MIT"]), no);
    check(&under("MIT AND Apache-2.0", licenses()), &allow(&["MIT"]), no);
    // A branch that the lists refuse is not the best one.
    for choice in ["MIT OR Apache-2.0", "Apache-2.0 OR MIT"] {
        check(&under(choice, licenses()), &allow(&["MIT"]), "yes: LICENSE_BRANCH_CHOSEN");
        check(&under(choice, licenses()), &deny(&["Apache-2.0"]), "yes: LICENSE_BRANCH_CHOSEN");
        check(&under(choice, licenses()), &deny(&["Apache-2.0", "MIT"]), &format!("{no} LICENSE_BRANCH_CHOSEN"));
    }
    let ancestor = family("MIT", vec![base("b/b", Relation::Merge)], vec![model("b/b", "Apache-2.0")], licenses());
    check(&ancestor, &allow(&["MIT"]), no);
    check(&ancestor, &allow(&["MIT", "Apache-2.0"]), "yes");
    // Of a license without terms the id is known, and that is all that a list asks for.
    let nobody = || under("LicenseRef-Nobody", licenses());
    check(&nobody(), &allow(&["MIT"]), "no: LICENSE_NOT_ALLOWED LICENSE_UNKNOWN");
    check(&nobody(), &allow(&["LicenseRef-Nobody"]), "review: LICENSE_UNKNOWN");
    check(&nobody(), &deny(&["LicenseRef-Nobody"]), "no: LICENSE_NOT_ALLOWED LICENSE_UNKNOWN");
    check(&under(LicenseId::UNKNOWN, licenses()), &allow(&["MIT"]), "review: LICENSE_UNKNOWN");
    // Who refuses a license means it in any spelling.
    check(&under("MIT", licenses()), &deny(&["mit"]), no);
    check(&under("MIT", licenses()), &allow(&["mit"]), "yes");
}

#[test]
fn the_day_of_a_past_use_picks_the_license_of_that_day() {
    let period = |from: &str, until: &str, expression: &str, commit: &str| LicensePeriod {
        from: (!from.is_empty()).then(|| date(from)),
        until: (!until.is_empty()).then(|| date(until)),
        expression: Expression::parse(expression).unwrap(),
        commit: commit.into(),
    };
    let changed = under("LicenseRef-A", vec![license("LicenseRef-A"), owing("LicenseRef-B")]).model_with(|m| {
        let periods =
            [period("2023-05", "2024-05-12", "LicenseRef-B", "v2312"), period("2024-05-13", "", "LicenseRef-A", "")];
        m.components[0].license_periods = periods.to_vec();
    });
    let on = |day: &str| used(|u| u.at = Some(date(day)));
    check(&changed, &a_use(), "yes: LICENSE_CHANGED_OVER_TIME");
    check(&changed, &on("2024-05-13"), "yes");
    check(&changed, &on("2024-05-12"), "duties: DUTY_APPLIES LICENSE_CHANGED_OVER_TIME");
    check(&changed, &on("2023-05-01"), "duties: DUTY_APPLIES LICENSE_CHANGED_OVER_TIME");
    check(&changed, &on("2023-04-30"), "review: MODEL_REVISION_UNPLACED");
    // Today, said or not.
    check(&changed, &on("2026-06-01"), "yes: LICENSE_CHANGED_OVER_TIME");
    // A day to come is under the current license as far as anybody knows.
    check(&changed, &on("2030-01-01"), "yes: LICENSE_CHANGED_OVER_TIME");
    let pinned = |revision: &str| used(|u| u.model_revision = revision.into());
    // A tag that looks like a year to come is none, and a tag that is known is no date.
    check(&changed, &pinned("2312"), "review: MODEL_REVISION_UNPLACED");
    check(&changed, &pinned("v2312"), "duties: DUTY_APPLIES");
    check(&changed, &pinned("2025"), "yes");
    check(&changed, &pinned("2026-06-01"), "yes");
    // After the last period with an end the current license holds, whether it is listed or not.
    let ended = changed.model_with(|m| m.components[0].license_periods.truncate(1));
    check(&ended, &on("2025-01-01"), "yes: LICENSE_CHANGED_OVER_TIME");
    check(&ended, &on("2024-01-01"), "duties: DUTY_APPLIES LICENSE_CHANGED_OVER_TIME");
}

/// The records tell of a day. What comes after it is no past day, whatever the clock says; but what they announce for it holds.
#[test]
fn a_change_that_is_announced_holds_from_its_day() {
    let period = |from: &str, until: Option<&str>, expression: &str| LicensePeriod {
        from: Some(date(from)),
        until: until.map(date),
        expression: Expression::parse(expression).unwrap(),
        commit: "".into(),
    };
    let announced = under("LicenseRef-A", vec![license("LicenseRef-A"), owing("LicenseRef-B")]).model_with(|m| {
        m.components[0].license_periods =
            vec![period("2023-05", Some("2026-12-31"), "LicenseRef-A"), period("2027-01-01", None, "LicenseRef-B")];
    });
    let on = |day: &str| used(|u| u.at = Some(date(day)));
    check(&announced, &on("2026-12-31"), "yes: LICENSE_CHANGED_OVER_TIME");
    check(&announced, &on("2027-01-01"), "duties: DUTY_APPLIES LICENSE_CHANGED_OVER_TIME");
    for (use_, day, known, verdict) in [
        (a_use(), "2026-12-31", "2026-06-01", Verdict::Eligible),
        (a_use(), "2027-02-01", "2026-06-01", Verdict::EligibleWithConditions),
        (on("2027-01-15"), "2027-02-01", "2026-06-01", Verdict::EligibleWithConditions),
        (on("2026-07-15"), "2026-09-01", "2026-06-01", Verdict::Eligible),
        // Something was written since, of this record or another: what was announced may have come.
        (a_use(), "2027-02-01", "2027-02-01", Verdict::NeedsReview),
    ] {
        let present = Present { day: date(day), known: date(known) };
        let decision = evaluate(&announced, &announced.models[0], &use_, present, Waivers::default());
        assert_eq!(decision.verdict, verdict, "{day} as known on {known}");
    }
}

/// Another change of the registry is no reason to believe that an announced change was not made.
#[test]
fn a_current_license_that_the_periods_contradict_is_reviewed() {
    let period = |from: &str, until: &str, expression: &str| LicensePeriod {
        from: (!from.is_empty()).then(|| date(from)),
        until: (!until.is_empty()).then(|| date(until)),
        expression: Expression::parse(expression).unwrap(),
        commit: "".into(),
    };
    let (a, b) = ("LicenseRef-A", "LicenseRef-B");
    for (why, periods, verdict) in [
        ("the old one is open", vec![period("2023-05", "", a), period("2027-01-01", "", b)], Verdict::NeedsReview),
        ("both hold in the year", vec![period("2023", "2027", a), period("2027", "", b)], Verdict::NeedsReview),
        ("it has no beginning", vec![period("", "2027-12-31", b)], Verdict::NeedsReview),
        ("it has not begun", vec![period("2027-06-01", "", a)], Verdict::NeedsReview),
        ("it has ended", vec![period("2023", "2026-12-31", a)], Verdict::NeedsReview),
        ("another comes later", vec![period("2023", "", a), period("2027-06-01", "", b)], Verdict::Eligible),
        ("the other may have come later", vec![period("2026-06", "", a), period("2026", "", b)], Verdict::NeedsReview),
        ("it began last", vec![period("2023", "", b), period("2024", "", a)], Verdict::Eligible),
        ("both began that day", vec![period("2023", "", b), period("2023", "", a)], Verdict::Eligible),
        ("only the other is listed, and ended", vec![period("2023", "2024", b)], Verdict::Eligible),
        ("known by its commit", vec![period("", "", b)], Verdict::Eligible),
    ] {
        let world = under(a, vec![license(a), license(b)]).model_with(|m| m.components[0].license_periods = periods);
        let present = Present { day: date("2027-02-01"), known: date("2027-02-01") };
        let use_ = a_use();
        let decision = evaluate(&world, &world.models[0], &use_, present, Waivers::default());
        assert_eq!(decision.verdict, verdict, "{why}");
    }
    let ended = vec![period("2023", "2026-12-31", a), period("2027-01", "2027-03", b)];
    let world = under(a, vec![license(a), license(b)]).model_with(|m| m.components[0].license_periods = ended);
    let present = Present { day: date("2027-04-15"), known: date("2026-06-01") };
    let use_ = a_use();
    let decision = evaluate(&world, &world.models[0], &use_, present, Waivers::default());
    assert_eq!(decision.verdict, Verdict::NeedsReview, "all that was announced has ended");
}

#[test]
fn a_base_that_is_no_record_is_not_known_for_what_it_is() {
    let mut world = family(
        "MIT",
        vec![base("some-base", Relation::FineTune)],
        Vec::new(),
        vec![
            license("MIT"),
            license_with("LicenseRef-B", |l| {
                let eu = territory(TerritoryTest::PlaceOfUse, &["US"]);
                l.territory = Some(Territory { multimodal_only: true, ..eu });
            }),
        ],
    );
    world.models[0].base_models[0].expression = Some(Expression::parse("LicenseRef-B").unwrap());
    // The child takes in text alone; what its base does nobody says.
    check(&world, &a_use(), "review: TERRITORY_UNCLEAR LICENSE_DRIFT");
}
