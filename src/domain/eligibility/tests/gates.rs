//! Scale gates: both edges, whose figure, when, and what lies beyond.

use super::*;

#[test]
fn both_edges_of_a_gate_are_as_the_text_has_them() {
    let with = |change: fn(&mut ScaleGate)| {
        world(|l| {
            let mut gate = gate();
            change(&mut gate);
            l.scale_gates.push(gate);
        })
    };
    let within = "yes: SCALE_GATE_WITHIN FIGURE_STOOD_IN";
    let beyond = "no: SCALE_GATE_EXCEEDED FIGURE_STOOD_IN";
    let more_than = with(|_| {});
    check(&more_than, &users(99), within);
    check(&more_than, &users(100), within);
    check(&more_than, &users(101), beyond);
    let at_least = with(|g| g.comparison = Comparison::AtLeast);
    check(&at_least, &users(99), within);
    check(&at_least, &users(100), beyond);
    let inside = with(|g| (g.comparison, g.at_threshold) = (Comparison::AtLeast, AtThreshold::Inside));
    check(&inside, &users(100), within);
    check(&inside, &users(101), beyond);
    for comparison in [Comparison::GreaterThan, Comparison::AtLeast] {
        let mut world = with(|g| g.at_threshold = AtThreshold::Unsettled);
        world.licenses[0].scale_gates[0].comparison = comparison;
        check(&world, &users(99), within);
        check(&world, &users(100), "review: SCALE_GATE_UNSETTLED");
        check(&world, &users(101), beyond);
    }
    check(&more_than, &a_use(), "review: SCALE_GATE_UNKNOWN ? organization.monthly_active_users");
    check(&more_than, &measured("monthly_active_users", GateSubject::Group, "", 100), "yes: SCALE_GATE_WITHIN");
    check(&more_than, &measured("monthly_active_users", GateSubject::Group, "", 101), "no: SCALE_GATE_EXCEEDED");
    // Another subject, period or metric is another figure.
    let unknown = "review: SCALE_GATE_UNKNOWN ? organization.monthly_active_users";
    check(&more_than, &measured("monthly_active_users", GateSubject::Product, "", 1), unknown);
    check(&more_than, &measured("monthly_active_users", GateSubject::Group, "2024-11", 1), unknown);
    check(&more_than, &measured("daily_active_users", GateSubject::Group, "", 1), unknown);
    check(&more_than, &used(|u| u.organization.daily_active_users = Some(1)), unknown);
    // A figure that an organization does not state by itself.
    let visits = with(|g| g.metric = "monthly_service_visits".into());
    check(&visits, &users(1), "review: SCALE_GATE_UNKNOWN ? measures[monthly_service_visits:GROUP]");
    check(&visits, &measured("monthly_service_visits", GateSubject::Group, "", 101), "no: SCALE_GATE_EXCEEDED");
    // The exact figure decides, also beside the organization's.
    let exact = Use { measures: vec![measure("monthly_active_users", GateSubject::Product, "", 100)], ..users(500) };
    check(&with(|g| g.subject = GateSubject::Product), &exact, "yes: SCALE_GATE_WITHIN");
    let stood_in = "no: SCALE_GATE_EXCEEDED FIGURE_STOOD_IN";
    check(&with(|g| g.subject = GateSubject::Product), &users(101), stood_in);
}

#[test]
fn each_scalar_answers_for_its_own_metric() {
    type Scalar = fn(&mut Use) -> &mut Option<i64>;
    let scalars: [(&str, Scalar); 4] = [
        ("monthly_active_users", |u| &mut u.organization.monthly_active_users),
        ("daily_active_users", |u| &mut u.organization.daily_active_users),
        ("annual_revenue_usd", |u| &mut u.organization.annual_revenue_usd),
        ("monthly_revenue_usd", |u| &mut u.organization.monthly_revenue_usd),
    ];
    for (metric, scalar) in scalars {
        let world = world(|l| l.scale_gates.push(ScaleGate { metric: metric.into(), ..gate() }));
        check(&world, &used(|u| *scalar(u) = Some(100)), "yes: SCALE_GATE_WITHIN FIGURE_STOOD_IN");
        check(&world, &used(|u| *scalar(u) = Some(101)), "no: SCALE_GATE_EXCEEDED FIGURE_STOOD_IN");
        check(&world, &a_use(), &format!("review: SCALE_GATE_UNKNOWN ? organization.{metric}"));
    }
}

#[test]
fn a_frozen_gate_asks_for_that_months_figure() {
    let frozen = world(|l| l.scale_gates.push(ScaleGate { measured: Measured::Fixed(date("2024-11")), ..gate() }));
    let by_release = world(|l| l.scale_gates.push(ScaleGate { measured: Measured::MonthBeforeRelease, ..gate() }));
    for world in [&frozen, &by_release] {
        let group = GateSubject::Group;
        check(world, &measured("monthly_active_users", group, "2024-11", 100), "yes: SCALE_GATE_WITHIN");
        check(world, &measured("monthly_active_users", group, "2024-11", 101), "no: SCALE_GATE_EXCEEDED");
        check(world, &users(100), "yes: SCALE_GATE_WITHIN FIGURE_STOOD_IN");
        let month = "measures[monthly_active_users:GROUP:2024-11]";
        check(world, &users(101), &format!("review: SCALE_GATE_UNKNOWN ? {month}"));
        let none = format!("review: SCALE_GATE_UNKNOWN ? organization.monthly_active_users {month}");
        check(world, &a_use(), &none);
        check(world, &measured("monthly_active_users", group, "2024-12", 1), &none);
        check(world, &measured("monthly_active_users", group, "", 1), &none);
        let grown = Use { measures: vec![measure("monthly_active_users", group, "2024-11", 100)], ..users(900) };
        check(world, &grown, "yes: SCALE_GATE_WITHIN");
    }
    // A latest figure says nothing of a past one.
    let revenue = world(|l| {
        let metric = "annual_revenue_usd".into();
        l.scale_gates.push(ScaleGate { metric, measured: Measured::Fixed(date("2023")), ..gate() });
    });
    let latest = used(|u| u.organization.annual_revenue_usd = Some(1));
    check(&revenue, &latest, "review: SCALE_GATE_UNKNOWN ? measures[annual_revenue_usd:GROUP:2023]");
    // The month before an unknown release cannot be named.
    let undated = by_release.model_with(|m| m.release_date = None);
    check(&undated, &users(100), "yes: SCALE_GATE_WITHIN FIGURE_STOOD_IN");
    check(&undated, &users(101), "review: SCALE_GATE_UNKNOWN");
}

#[test]
fn what_lies_beyond_a_gate_depends_on_its_effect() {
    let effect = |effect| world(|l| l.scale_gates.push(ScaleGate { effect, ..gate() }));
    let settled = "yes: FIGURE_STOOD_IN SCALE_GATE_SETTLED";
    let exceeded = "no: SCALE_GATE_EXCEEDED FIGURE_STOOD_IN";
    let separate = effect(GateEffect::SeparateLicense);
    check(&separate, &users(101), exceeded);
    check(&separate, &done(users(101), DutyKind::SeparateAgreement), settled);
    check(&separate, &done(users(101), DutyKind::PublisherReview), exceeded);
    // With it in hand no figure matters.
    check(&separate, &done(a_use(), DutyKind::SeparateAgreement), "yes: SCALE_GATE_SETTLED");
    check(&separate, &done(users(100), DutyKind::SeparateAgreement), "yes: SCALE_GATE_WITHIN FIGURE_STOOD_IN");
    let reviewed = effect(GateEffect::PublisherReview);
    check(&reviewed, &users(101), exceeded);
    check(&reviewed, &done(users(101), DutyKind::PublisherReview), settled);
    let barred = effect(GateEffect::Prohibited);
    check(&barred, &done(users(101), DutyKind::SeparateAgreement), exceeded);
    let royalty = effect(GateEffect::Royalty);
    check(&royalty, &users(100), "yes: SCALE_GATE_WITHIN FIGURE_STOOD_IN");
    check(&royalty, &users(101), "duties: ROYALTY_DUE FIGURE_STOOD_IN");
    check(&royalty, &done(users(101), DutyKind::Royalty), settled);
}

#[test]
fn a_gate_counts_only_where_its_conditions_hold() {
    let with = |change: fn(&mut ScaleGate)| {
        world(|l| {
            let mut gate = gate();
            change(&mut gate);
            l.scale_gates.push(gate);
        })
    };
    let exceeded = "no: SCALE_GATE_EXCEEDED FIGURE_STOOD_IN";
    let commercial = with(|g| g.only_if = vec![Predicate::CommercialUse]);
    check(&commercial, &users(101), exceeded);
    check(&commercial, &Use { purpose: Some(Purpose::InternalBusiness), ..users(101) }, exceeded);
    check(&commercial, &Use { purpose: Some(Purpose::Personal), ..users(101) }, "yes");
    let unknown = "review: SCALE_GATE_UNKNOWN FIGURE_STOOD_IN ? purpose";
    check(&commercial, &Use { purpose: None, ..users(101) }, unknown);
    check(&commercial, &Use { purpose: None, ..users(100) }, "yes: SCALE_GATE_WITHIN FIGURE_STOOD_IN");
    let both = "review: SCALE_GATE_UNKNOWN ? purpose organization.monthly_active_users";
    check(&commercial, &used(|u| u.purpose = None), both);

    let research = with(|g| g.unless = vec![Predicate::ResearchOrEvaluation]);
    check(&research, &users(101), exceeded);
    for purpose in [Purpose::Research, Purpose::Evaluation] {
        check(&research, &Use { purpose: Some(purpose), ..users(101) }, "yes");
    }
    check(&research, &Use { purpose: None, ..users(101) }, unknown);
    let product = with(|g| g.unless = vec![Predicate::EndUserOfProduct]);
    check(&product, &Use { role: Role::EndUserOfProduct, ..users(101) }, "yes");
    let charity = with(|g| g.unless = vec![Predicate::NonProfitNonCommercial]);
    let by = |kind, purpose| {
        let mut use_ = Use { purpose, ..users(101) };
        use_.organization.kind = kind;
        use_
    };
    check(&charity, &by(Some(OrganizationType::NonProfit), Some(Purpose::Research)), "yes");
    check(&charity, &by(Some(OrganizationType::NonProfit), Some(Purpose::Commercial)), exceeded);
    check(&charity, &by(Some(OrganizationType::Company), None), exceeded);
    let type_unknown = "review: SCALE_GATE_UNKNOWN FIGURE_STOOD_IN ? organization.type";
    let company = with(|g| g.only_if = vec![Predicate::Company]);
    check(&company, &by(Some(OrganizationType::Company), Some(Purpose::Research)), exceeded);
    check(&company, &by(Some(OrganizationType::Academic), Some(Purpose::Research)), "yes");
    check(&company, &by(None, Some(Purpose::Research)), type_unknown);
    check(&charity, &by(None, Some(Purpose::Research)), type_unknown);

    let unsettled = with(|g| g.unsettled_if = vec![Predicate::NonCommercialUse]);
    check(&unsettled, &users(101), exceeded);
    let open = "review: SCALE_GATE_UNSETTLED FIGURE_STOOD_IN";
    check(&unsettled, &Use { purpose: Some(Purpose::Research), ..users(101) }, open);
    check(&unsettled, &Use { purpose: None, ..users(101) }, &format!("{open} ? purpose"));
    check(&unsettled, &Use { purpose: None, ..users(100) }, "yes: SCALE_GATE_WITHIN FIGURE_STOOD_IN");
}

#[test]
fn business_types_are_a_gate_without_a_number() {
    let typed = |types: BusinessTypes| used(|u| u.organization.business_types = types);
    let known = |types: &[&str]| typed(BusinessTypes::Known(types.iter().map(|t| (*t).into()).collect()));
    let gated = world(|l| l.scale_gates.push(is_one_of("model-as-a-service")));
    check(&gated, &typed(BusinessTypes::Unknown), "review: SCALE_GATE_UNKNOWN ? organization.business_types");
    check(&gated, &known(&[]), "yes");
    check(&gated, &known(&["image-generation"]), "yes");
    check(&gated, &known(&["image-generation", "model-as-a-service"]), "no: BUSINESS_TYPE_GATED");
    // The same as a condition of a number.
    let both = world(|l| {
        let business_types = vec!["model-as-a-service".into()];
        l.scale_gates.push(ScaleGate { only_if: vec![Predicate::BusinessType], business_types, ..gate() });
    });
    check(&both, &used(|u| u.organization.monthly_active_users = Some(101)), "yes");
    let member = |mut use_: Use| {
        use_.organization.business_types = BusinessTypes::Known(vec!["model-as-a-service".into()]);
        use_
    };
    check(&both, &member(users(101)), "no: SCALE_GATE_EXCEEDED FIGURE_STOOD_IN");
    check(&both, &member(users(100)), "yes: SCALE_GATE_WITHIN FIGURE_STOOD_IN");
}

#[test]
fn a_display_gate_asks_for_figures_only_where_the_duty_could_be_owed() {
    let display = world(|l| {
        let gate = ScaleGate { effect: GateEffect::DisplayBranding, group: "branding".into(), ..gate() };
        l.scale_gates.push(gate.clone());
        l.scale_gates.push(ScaleGate { metric: "monthly_revenue_usd".into(), ..gate });
        l.duties.push(Duty { gate_group: "branding".into(), ..duty(DutyKind::DisplayBranding, &[Trigger::Service]) });
    });
    check(&display, &a_use(), "yes");
    let service = |users: Option<i64>, revenue: Option<i64>| {
        let mut use_ = doing(&[Activity::OfferAsService]);
        use_.organization.monthly_active_users = users;
        use_.organization.monthly_revenue_usd = revenue;
        use_
    };
    let missing = "review: DUTY_UNCERTAIN ? organization.monthly_active_users organization.monthly_revenue_usd";
    check(&display, &service(None, None), missing);
    let one_missing = "review: DUTY_UNCERTAIN FIGURE_STOOD_IN ? organization.monthly_revenue_usd";
    check(&display, &service(Some(100), None), one_missing);
    check(&display, &service(Some(101), None), "duties: DUTY_APPLIES FIGURE_STOOD_IN");
    check(&display, &service(None, Some(101)), "duties: DUTY_APPLIES FIGURE_STOOD_IN");
    check(&display, &service(Some(100), Some(100)), "yes: FIGURE_STOOD_IN FIGURE_STOOD_IN");
    let shown = done(service(None, None), DutyKind::DisplayBranding);
    check(&display, &shown, "yes: DUTY_FULFILLED");
    // A group without a gate is a mistake: it must not lift the duty.
    let broken = display.with(|w| w.licenses[0].scale_gates.clear());
    check(&broken, &service(Some(1), Some(1)), "review: DUTY_UNCERTAIN");
    assert_eq!(broken.licenses[0].problems(&Vocabulary::default()).len(), 1);
}

#[test]
fn a_group_asks_for_the_figure_of_each_of_its_gates_once() {
    let grouped = |metrics: &[&str]| {
        world(|l| {
            l.duties.push(Duty { gate_group: "g".into(), ..duty(DutyKind::DisplayBranding, &[Trigger::Any]) });
            let of = |metric: &&str| ScaleGate {
                metric: (*metric).into(),
                subject: GateSubject::Product,
                effect: GateEffect::DisplayBranding,
                group: "g".into(),
                ..gate()
            };
            l.scale_gates = metrics.iter().map(of).collect();
        })
    };
    let asked = |metrics: &[&str]| grouped(metrics).decide(&a_use()).missing_facts();
    let visits = "measures[monthly_service_visits:PRODUCT]";
    let revenue = "measures[attributable_revenue_usd:PRODUCT]";
    assert_eq!(asked(&["monthly_service_visits"]), [visits]);
    assert_eq!(asked(&["monthly_service_visits", "attributable_revenue_usd"]), [visits, revenue]);
    assert_eq!(
        asked(&["monthly_service_visits", "monthly_service_visits", "attributable_revenue_usd"]),
        [visits, revenue]
    );
}
