//! What ancestors bring along.

use super::*;

#[test]
fn weights_carry_the_terms_of_an_ancestor() {
    let licenses = || vec![license("MIT"), owing("LicenseRef-B")];
    let inherited = "duties: DUTY_APPLIES";
    for relation in
        [Relation::FineTune, Relation::Merge, Relation::Quantized, Relation::Adapter, Relation::DistilledWeights]
    {
        let world = family("MIT", vec![base("meta/b", relation)], vec![model("meta/b", "LicenseRef-B")], licenses());
        check(&world, &a_use(), inherited);
        let use_ = a_use();
        let decision = world.decide(&use_);
        assert_eq!(
            decision.findings.iter().next().unwrap().origin.model.unwrap().name.as_str(),
            "publishers/meta/models/b"
        );
    }
    // The owner may relicense its own work, where it states a license for it.
    let own = |own: &str| {
        family(own, vec![base("acme/b", Relation::FineTune)], vec![model("acme/b", "LicenseRef-B")], licenses())
    };
    check(&own("MIT"), &a_use(), "yes");
    check(&own(""), &a_use(), "review: LICENSE_UNKNOWN DUTY_APPLIES");
    // No record: unknown, unless the descendant's record states its license.
    let gone = |change: fn(&mut BaseModel)| {
        let mut missing = base("meta/b", Relation::FineTune);
        change(&mut missing);
        family("MIT", vec![missing], vec![], licenses())
    };
    check(&gone(|_| {}), &a_use(), "review: LINEAGE_UNKNOWN");
    check(&gone(|b| b.model = BaseRef::Written("Some Model".into())), &a_use(), "review: LINEAGE_UNKNOWN");
    let stated = gone(|b| b.expression = Some(Expression::parse("LicenseRef-B").unwrap()));
    check(&stated, &a_use(), inherited);
    let silent = family("MIT", vec![base("meta/b", Relation::Merge)], vec![model("meta/b", "")], licenses());
    check(&silent, &a_use(), "review: LINEAGE_UNKNOWN");
    // What a record does not know, a descendant's word does not replace.
    let word = silent.with(|w| w.models[0].base_models[0].expression = Some(Expression::parse("MIT").unwrap()));
    check(&word, &a_use(), "review: LINEAGE_UNKNOWN");
    // What its statement rests on counts for an ancestor, too.
    let weak = family("MIT", vec![base("meta/b", Relation::Merge)], vec![model("meta/b", "MIT")], licenses())
        .with(|w| w.models[1].components[0].evidence = Evidence::Conflict);
    check(&weak, &a_use(), "review: LICENSE_EVIDENCE_CONFLICT");
}

#[test]
fn a_copy_of_a_descendant_is_a_changed_copy_of_its_ancestor() {
    let on = |trigger| license_with("LicenseRef-B", |l| l.duties.push(duty(DutyKind::NamePrefix, &[trigger])));
    let made = |theirs: License| {
        family(
            "MIT",
            vec![base("meta/b", Relation::FineTune)],
            vec![model("meta/b", "LicenseRef-B")],
            vec![license("MIT"), theirs],
        )
    };
    check(&made(on(Trigger::Derivative)), &a_use(), "yes: LICENSE_DRIFT");
    check(
        &made(on(Trigger::Derivative)),
        &doing(&[Activity::RedistributeWeights]),
        "duties: DUTY_APPLIES LICENSE_DRIFT",
    );
    let service = doing(&[Activity::OfferAsService]);
    check(&made(on(Trigger::DerivativeService)), &service, "duties: DUTY_APPLIES LICENSE_DRIFT");
    let no_changed_copies = license_with("LicenseRef-B", |l| {
        l.permissions.redistribute_derivative = Some(status(PermissionStatus::Prohibited));
    });
    let copies = doing(&[Activity::RedistributeWeights]);
    check(&made(no_changed_copies), &copies, "no: DERIVATIVE_REDISTRIBUTION_PROHIBITED");
}

#[test]
fn a_teachers_license_brings_in_what_it_says_of_outputs() {
    let brings_in = license_with("LicenseRef-A", |l| {
        let incorporates = vec![LicenseId::new("LicenseRef-B").unwrap()];
        l.duties.push(Duty { incorporates, ..duty(DutyKind::ThirdPartyLicenseStack, &[Trigger::Redistribute]) });
    });
    let barring = license_with("LicenseRef-B", |l| l.outputs.training_barred = vec![BarredTraining::AnyModel]);
    let taught = |licenses: Vec<License>| {
        family(
            "MIT",
            vec![base("meta/b", Relation::TrainedOnOutputs)],
            vec![model("meta/b", "LicenseRef-A")],
            licenses.into_iter().chain([license("MIT")]).collect(),
        )
    };
    check(&taught(vec![brings_in.clone(), barring]), &a_use(), "review: OUTPUT_LINEAGE_RESTRICTED");
    check(&taught(vec![brings_in.clone(), license("LicenseRef-B")]), &a_use(), "yes");
    check(&taught(vec![brings_in]), &a_use(), "review: LICENSE_UNKNOWN");
}

#[test]
fn a_dropped_term_is_named() {
    let gated = license_with("LicenseRef-B", |l| {
        l.scale_gates.push(gate());
        l.territory = Some(territory(TerritoryTest::Domicile, &["EU"]));
    });
    let made = |own: License| {
        let ancestors = vec![model("meta/b", "LicenseRef-B")];
        family("LicenseRef-A", vec![base("meta/b", Relation::FineTune)], ancestors, vec![own, gated.clone()])
    };
    let within = "yes: SCALE_GATE_WITHIN TERRITORY_WITHIN FIGURE_STOOD_IN LICENSE_DRIFT";
    let dropped = made(license("LicenseRef-A"));
    check(&dropped, &users(1), within);
    let use_ = users(1);
    let decision = dropped.decide(&use_);
    let drift = decision.findings.iter().find(|f| f.reason == Reason::LicenseDrift).unwrap();
    let message = drift.message();
    assert!(message.contains("the scale gates") && message.contains("the territory"), "{message}");
    assert_eq!(drift.origin.model.unwrap().name.as_str(), "publishers/meta/models/b");
    let kept = made(License { id: LicenseId::new("LicenseRef-A").unwrap(), ..gated.clone() });
    let decision = kept.decide(&use_);
    assert!(!decision.findings.iter().any(|f| f.reason == Reason::LicenseDrift));
}

#[test]
fn outputs_carry_the_distillation_clause() {
    let trained = base("meta/b", Relation::TrainedOnOutputs);
    let of = |theirs: License| {
        family("MIT", vec![trained.clone()], vec![model("meta/b", "LicenseRef-B")], vec![license("MIT"), theirs])
    };
    let barring = |l: &mut License| l.outputs.training_barred = vec![BarredTraining::CompetingModel];
    let restricted = "review: OUTPUT_LINEAGE_RESTRICTED";
    check(&of(license_with("LicenseRef-B", barring)), &a_use(), restricted);
    let plain_no = |l: &mut License| l.permissions.train_other_models = status(PermissionStatus::Prohibited);
    check(&of(license_with("LicenseRef-B", plain_no)), &a_use(), restricted);
    // Of its other terms none is inside.
    check(&of(owing("LicenseRef-B")), &a_use(), "yes");
    let unread = license_with("LicenseRef-B", |l| l.confidence = Confidence::SecondarySource);
    check(&of(unread), &a_use(), "review: PERMISSION_NOT_READ");
    let named = license_with("LicenseRef-B", |l| l.duties.push(duty(DutyKind::NamePrefix, &[Trigger::TrainedModel])));
    check(&of(named.clone()), &a_use(), "yes");
    for acts in [[Activity::RedistributeWeights], [Activity::OfferAsService]] {
        check(&of(named.clone()), &doing(&acts), "duties: DUTY_APPLIES");
        let soft = license_with("LicenseRef-B", |l| {
            let binding = Binding::Encouraged;
            l.duties.push(Duty { binding, ..duty(DutyKind::NamePrefix, &[Trigger::TrainedModel]) });
            l.duties.push(duty(DutyKind::PaidPlan, &[Trigger::TrainedModel]));
        });
        check(&of(soft), &doing(&acts), "no: PUBLISHER_CONSENT_NEEDED DUTY_ENCOURAGED");
    }
    let derived = license_with("LicenseRef-B", |l| {
        l.outputs.trained_model_is_derivative = true;
        l.duties.push(duty(DutyKind::AttributionNotice, &[Trigger::Any]));
    });
    check(&of(derived), &a_use(), "duties: DUTY_APPLIES");
    // A choice of licenses is one for outputs, too.
    let choice =
        of(license_with("LicenseRef-B", barring)).with(|w| w.models[1] = model("meta/b", "LicenseRef-B OR MIT"));
    check(&choice, &a_use(), "yes: LICENSE_BRANCH_CHOSEN");
    let gone = family("MIT", vec![trained.clone()], vec![model("meta/b", "LicenseRef-C")], vec![license("MIT")]);
    check(&gone, &a_use(), "review: LICENSE_UNKNOWN");
    check(&family("MIT", vec![trained.clone()], vec![], vec![license("MIT")]), &a_use(), "review: LINEAGE_UNKNOWN");
    let own = family(
        "MIT",
        vec![base("acme/b", Relation::TrainedOnOutputs)],
        vec![model("acme/b", "LicenseRef-B")],
        vec![license("MIT"), license_with("LicenseRef-B", barring)],
    );
    check(&own, &a_use(), "yes");
    // A closed model gives out outputs under its publisher's service terms.
    let service = family("MIT", vec![trained], vec![closed("meta/b")], vec![license("MIT")]);
    check(&service, &a_use(), "review: LINEAGE_UNKNOWN");
    let service = service.with(|w| w.services.push(("meta", license_with("LicenseRef-S", barring))));
    check(&service, &a_use(), restricted);
}

#[test]
fn what_a_teacher_is_made_of_counts_for_its_outputs() {
    let barring =
        license_with("LicenseRef-B", |l| l.outputs.training_barred = vec![BarredTraining::OtherLanguageModel]);
    let mut teacher = model("lab/teacher", "MIT");
    teacher.base_models = vec![base("meta/b", Relation::FineTune)].into();
    let taught = |teacher: Model| {
        let bases = vec![base("lab/teacher", Relation::TrainedOnOutputs)];
        family("MIT", bases, vec![teacher, model("meta/b", "LicenseRef-B")], vec![license("MIT"), barring.clone()])
    };
    check(&taught(teacher.clone()), &a_use(), "review: OUTPUT_LINEAGE_RESTRICTED");
    // What a teacher was itself taught is not in what it gives out.
    teacher.base_models = vec![base("meta/b", Relation::TrainedOnOutputs)].into();
    check(&taught(teacher), &a_use(), "yes");
}

#[test]
fn every_way_up_counts_and_each_ancestor_once() {
    let licenses = || vec![license("MIT"), owing("LicenseRef-B")];
    let link = |name: &str, bases: &[BaseModel]| {
        let mut model = model(name, "MIT");
        model.base_models = bases.to_vec().into();
        model
    };
    let fine = |name: &str| base(name, Relation::FineTune);
    // Two steps up.
    let chain =
        family("MIT", vec![fine("b/b")], vec![link("b/b", &[fine("c/c")]), model("c/c", "LicenseRef-B")], licenses());
    check(&chain, &a_use(), "duties: DUTY_APPLIES");
    // Past an owner's own step.
    let past = family(
        "MIT",
        vec![fine("acme/b")],
        vec![link("acme/b", &[fine("c/c")]), model("c/c", "LicenseRef-B")],
        licenses(),
    );
    check(&past, &a_use(), "duties: DUTY_APPLIES");
    let diamond = |bases: Vec<BaseModel>| {
        let middle = [link("b/b", &[fine("d/d")]), link("c/c", &[fine("d/d")]), model("d/d", "LicenseRef-B")];
        family("MIT", bases, middle.to_vec(), licenses())
    };
    check(&diamond(vec![fine("b/b"), fine("c/c")]), &a_use(), "duties: DUTY_APPLIES");
    // Skipped on the owner's way, counted on the other's, in either order.
    let two_ways = [link("d/own", &[fine("d/d")]), link("c/c", &[fine("d/d")]), model("d/d", "LicenseRef-B")];
    for bases in [["d/own", "c/c"], ["c/c", "d/own"]] {
        let world = family("MIT", bases.map(fine).to_vec(), two_ways.to_vec(), licenses());
        check(&world, &a_use(), "duties: DUTY_APPLIES");
    }
    // Taught by it and made from it: both count, in either order.
    let mut both = [base("b/b", Relation::TrainedOnOutputs), fine("b/b")];
    for _ in 0..2 {
        let world = family("MIT", both.to_vec(), vec![model("b/b", "LicenseRef-B")], licenses());
        check(&world, &a_use(), "duties: DUTY_APPLIES");
        both.reverse();
    }
    // Circles end.
    let circle = family(
        "MIT",
        vec![fine("b/b"), fine("acme/one")],
        vec![link("b/b", &[fine("acme/one"), fine("b/b")])],
        licenses(),
    );
    check(&circle, &a_use(), "yes");
    let long: Vec<Model> = (0..300).map(|i| link(&format!("p{i}/m"), &[fine(&format!("p{}/m", i + 1))])).collect();
    check(&family("MIT", vec![fine("p0/m")], long, licenses()), &a_use(), "review: LINEAGE_UNKNOWN");
}

#[test]
fn an_ancestor_whose_license_changed_leaves_open_which_one_came_along() {
    let period = |expression: &str, until: Option<&str>| LicensePeriod {
        from: None,
        until: until.map(date),
        expression: Expression::parse(expression).unwrap(),
        commit: "".into(),
    };
    let made = |before: &str, until| {
        let licenses = vec![license("MIT"), license("LicenseRef-B"), license("LicenseRef-C")];
        family("MIT", vec![base("meta/b", Relation::FineTune)], vec![model("meta/b", "LicenseRef-B")], licenses)
            .with(|w| w.models[1].components[0].license_periods = vec![period(before, until)])
    };
    check(&made("LicenseRef-C", Some("2025-03-23")), &a_use(), "review: LICENSE_CHANGED_OVER_TIME");
    check(&made("LicenseRef-B", None), &a_use(), "yes");
    // It has ended, and what came after it is not recorded.
    check(&made("LicenseRef-B", Some("2025-03-23")), &a_use(), "review: LICENSE_CHANGED_OVER_TIME");
}

#[test]
fn uses_that_both_bar_are_held_against_each_other_one_by_one() {
    let barring = |id: &str, categories: &[&str]| {
        license_with(id, |l| l.use_restrictions = categories.iter().map(|c| restriction(c, true)).collect())
    };
    let said = |ours: &[&str], theirs: &[&str], worked_out: bool| {
        let licenses = vec![barring("LicenseRef-A", ours), barring("LicenseRef-B", theirs)];
        let mut world = family(
            "LicenseRef-A",
            vec![base("meta/b", Relation::FineTune)],
            vec![model("meta/b", "LicenseRef-B")],
            licenses,
        );
        let categories = [("weapons", vec![]), ("nuclear", vec!["weapons".into()]), ("law", vec![])];
        for (slug, broader) in categories {
            world.vocabulary.use_categories.insert(slug.into(), UseCategory { sentence: "".into(), broader });
        }
        if worked_out {
            let vocabulary = world.vocabulary.clone();
            world.licenses.iter_mut().for_each(|license| license.work_out_limits(&vocabulary));
            assert!(world.licenses.iter().all(|license| license.limits.is_some()));
        }
        let use_ = a_use();
        let decision = world.decide(&use_);
        let drift = decision.findings.iter().find(|finding| finding.reason == Reason::LicenseDrift);
        drift.map(|finding| finding.message().rsplit(": ").next().unwrap().to_owned())
    };
    for worked_out in [false, true] {
        let check = |ours: &[&str], theirs: &[&str], expected: Option<&str>| {
            assert_eq!(said(ours, theirs, worked_out).as_deref(), expected, "{ours:?} and {theirs:?}");
        };
        check(&["law"], &["law"], None);
        // A narrower one is barred with the broader; not the other way round.
        check(&["weapons"], &["nuclear"], None);
        check(&["nuclear"], &["weapons"], Some("the use restrictions (weapons)"));
        check(&["law"], &["weapons", "law", "nuclear"], Some("the use restrictions (nuclear, weapons)"));
        check(&[], &["law"], Some("the use restrictions"));
        check(&["law"], &[], None);
    }
    // A category that nobody knows is compared by its name.
    assert_eq!(said(&["law"], &["strange"], false).as_deref(), Some("the use restrictions (strange)"));
}

#[test]
fn the_view_of_a_lineage_names_every_step_and_what_it_loses() {
    let limited = license_with("LicenseRef-B", |l| l.scale_gates.push(gate()));
    let mut middle = model("meta/b", "LicenseRef-B");
    middle.base_models = vec![base("meta/c", Relation::FineTune)].into();
    let world = family(
        "MIT",
        vec![
            base("meta/b", Relation::Quantized),
            base("lab/d", Relation::TrainedOnOutputs),
            base("Gone", Relation::Merge),
        ],
        vec![middle, model("meta/c", "LicenseRef-B"), model("lab/d", "LicenseRef-B")],
        vec![license("MIT"), limited],
    );
    let steps: Vec<String> = crate::domain::eligibility::lineage(&world, &world.models[0])
        .iter()
        .map(|step| {
            let license = step.expression.map_or("-", |expression| expression.as_str());
            let lost: Vec<_> = step.lost.words().collect();
            let (outputs, counts) = (step.by_outputs, step.counts);
            let base = step.base.model.as_str().trim_start_matches("publishers/");
            format!("{} {base} {license} outputs:{outputs} counts:{counts} {}", step.depth, lost.join(", "))
        })
        .collect();
    assert_eq!(
        steps,
        [
            "1 meta/models/b LicenseRef-B outputs:false counts:true the scale gates",
            "1 lab/models/d LicenseRef-B outputs:true counts:true ",
            "1 Gone - outputs:false counts:true ",
            "2 meta/models/c LicenseRef-B outputs:false counts:false ",
        ]
    );
}
