//! What a use does: permissions, purposes, duties, barred uses, training on outputs.

use super::*;

#[test]
fn each_act_is_held_against_its_permission() {
    use Activity::{FineTune, Modify, OfferAsService, RedistributeDerivative, RedistributeWeights, TrainOtherModels};
    let no = |pick: fn(&mut Permissions) -> &mut Permission| {
        world(|l| pick(&mut l.permissions).status = PermissionStatus::Prohibited)
    };
    check(&no(|p| &mut p.use_), &a_use(), "no: USE_PROHIBITED");
    check(&no(|p| &mut p.use_outputs), &a_use(), "no: OUTPUT_USE_PROHIBITED");
    check(&no(|p| &mut p.modify), &doing(&[Modify]), "no: MODIFICATION_PROHIBITED");
    // Further training changes the model: where the license does not tell them apart, one answers for the other.
    check(&no(|p| &mut p.modify), &doing(&[FineTune]), "no: FINE_TUNING_PROHIBITED");
    let unlike = world(|l| {
        l.permissions.modify.status = PermissionStatus::Prohibited;
        l.permissions.fine_tune.status = PermissionStatus::Allowed;
    });
    check(&unlike, &doing(&[FineTune]), "yes");
    check(&no(|p| &mut p.fine_tune), &doing(&[FineTune]), "no: FINE_TUNING_PROHIBITED");
    check(&no(|p| &mut p.redistribute), &doing(&[RedistributeWeights]), "no: REDISTRIBUTION_PROHIBITED");
    check(&no(|p| &mut p.offer_as_service), &doing(&[OfferAsService]), "no: SERVICE_PROHIBITED");
    check(&no(|p| &mut p.train_other_models), &doing(&[TrainOtherModels]), "no: OUTPUT_TRAINING_PROHIBITED");
    check(&no(|p| &mut p.redistribute), &a_use(), "yes");
    // A changed version: as redistribution where the license does not tell them apart.
    let no_copies = no(|p| &mut p.redistribute);
    check(&no_copies, &doing(&[RedistributeDerivative]), "no: DERIVATIVE_REDISTRIBUTION_PROHIBITED");
    let changed_only = world(|l| {
        l.permissions.redistribute_derivative = Some(status(PermissionStatus::Prohibited));
    });
    check(&changed_only, &doing(&[RedistributeDerivative]), "no: DERIVATIVE_REDISTRIBUTION_PROHIBITED");
    check(&changed_only, &doing(&[RedistributeWeights]), "yes");
    // Weights on devices leave the house.
    let edge = |acts: &[Activity]| Use { hosting: Some(Hosting::EdgeOffline), ..doing(acts) };
    check(&no_copies, &edge(&[]), "no: REDISTRIBUTION_PROHIBITED");
    check(&changed_only, &edge(&[]), "yes");
    check(&changed_only, &edge(&[FineTune]), "no: DERIVATIVE_REDISTRIBUTION_PROHIBITED");
}

#[test]
fn what_the_words_leave_open_is_reviewed() {
    use Activity::{FineTune, Modify, OfferAsService, RedistributeWeights, TrainOtherModels};
    let open = |pick: fn(&mut Permissions) -> &mut Permission| {
        world(|l| pick(&mut l.permissions).status = PermissionStatus::Unclear)
    };
    let review = "review: PERMISSION_UNCLEAR";
    check(&open(|p| &mut p.use_), &a_use(), review);
    check(&open(|p| &mut p.use_outputs), &a_use(), review);
    check(&open(|p| &mut p.commercial_use), &a_use(), review);
    check(&open(|p| &mut p.commercial_use), &used(|u| u.purpose = None), "review: PERMISSION_UNCLEAR ? purpose");
    check(&open(|p| &mut p.commercial_use), &for_(Purpose::Research), "yes");
    check(&open(|p| &mut p.modify), &doing(&[FineTune]), review);
    check(&open(|p| &mut p.redistribute), &doing(&[RedistributeWeights]), review);
    check(&open(|p| &mut p.redistribute), &a_use(), "yes");
    check(&open(|p| &mut p.train_other_models), &doing(&[TrainOtherModels]), review);
    // A changed version that may be made and not passed on: whether serving it passes it on is left open.
    for kept in [PermissionStatus::Prohibited, PermissionStatus::Unclear] {
        let kept = world(|l| l.permissions.redistribute_derivative = Some(status(kept)));
        check(&kept, &doing(&[Modify, OfferAsService]), review);
        check(&kept, &doing(&[OfferAsService]), "yes");
        check(&kept, &doing(&[Modify]), "yes");
        let neither = kept.with(|w| w.licenses[0].permissions.offer_as_service.status = PermissionStatus::Prohibited);
        check(&neither, &doing(&[Modify, OfferAsService]), "no: SERVICE_PROHIBITED");
    }
}

#[test]
fn a_changed_version_that_is_passed_on_was_changed() {
    let world = world(|l| l.permissions.modify.status = PermissionStatus::Prohibited);
    check(&world, &doing(&[Activity::RedistributeDerivative]), "no: MODIFICATION_PROHIBITED");
    check(&world, &doing(&[Activity::RedistributeWeights]), "yes");
}

#[test]
fn a_bar_by_name_does_not_settle_what_the_text_leaves_open() {
    let barring = |change: fn(&mut License)| {
        world(|l| {
            l.outputs.training_barred = vec![BarredTraining::CompetingModel];
            change(l);
        })
    };
    let training = doing(&[Activity::TrainOtherModels]);
    check(&barring(|_| {}), &training, "yes");
    check(
        &barring(|l| l.permissions.train_other_models.status = PermissionStatus::Unclear),
        &training,
        "review: PERMISSION_UNCLEAR",
    );
    let unread = barring(|l| {
        l.confidence = Confidence::SecondarySource;
        let p = &mut l.permissions;
        for granted in [&mut p.use_, &mut p.use_outputs, &mut p.commercial_use] {
            granted.status = PermissionStatus::Allowed;
        }
    });
    check(&unread, &training, "review: PERMISSION_NOT_READ COMMERCIAL_USE_GRANTED TERMS_NOT_READ");
}

#[test]
fn private_ends_are_a_persons() {
    let world = world(|l| {
        l.permissions.commercial_use.status = PermissionStatus::Prohibited;
        l.purposes.personal = Some(PurposeStatus::Allowed);
    });
    check(&world, &by(Purpose::Personal, Some(OrganizationType::Individual)), "yes: PURPOSE_GRANTED");
    check(&world, &by(Purpose::Personal, Some(OrganizationType::Company)), "review: PURPOSE_UNCLEAR");
    check(&world, &by(Purpose::Personal, None), "review: PURPOSE_UNCLEAR ? organization.type");
}

#[test]
fn terms_that_were_not_read_review_what_the_use_needs() {
    let unread = |change: fn(&mut License)| {
        world(|l| {
            l.confidence = Confidence::SecondarySource;
            let p = &mut l.permissions;
            for granted in [&mut p.use_, &mut p.use_outputs, &mut p.commercial_use] {
                granted.status = PermissionStatus::Allowed;
            }
            change(l);
        })
    };
    let granted = "yes: COMMERCIAL_USE_GRANTED TERMS_NOT_READ";
    let review = "review: PERMISSION_NOT_READ COMMERCIAL_USE_GRANTED TERMS_NOT_READ";
    check(&unread(|_| {}), &a_use(), granted);
    check(&unread(|_| {}), &doing(&[Activity::FineTune]), review);
    check(&unread(|l| l.permissions.use_ = Permission::default()), &a_use(), review);
    // What it says of changes does not fill in what it may say of further training.
    check(&unread(|l| l.permissions.modify.status = PermissionStatus::Allowed), &doing(&[Activity::FineTune]), review);
    check(&unread(|_| {}), &doing(&[Activity::TrainOtherModels]), review);
    // A bare "conditional" decides nothing; with what it points at in the record, that decides.
    let conditional = unread(|l| l.permissions.fine_tune = status(PermissionStatus::Conditional));
    check(&conditional, &doing(&[Activity::FineTune]), review);
    let pointed = unread(|l| {
        l.permissions.fine_tune = status(PermissionStatus::Conditional);
        l.use_restrictions.push(restriction("weapons", true));
    });
    check(&pointed, &doing(&[Activity::FineTune]), granted);
    let silent = unread(|l| l.permissions.commercial_use = Permission::default());
    check(&silent, &a_use(), "review: PERMISSION_NOT_READ TERMS_NOT_READ");
    check(&silent, &used(|u| u.purpose = None), "review: PERMISSION_NOT_READ TERMS_NOT_READ ? purpose");
    check(&silent, &for_(Purpose::Research), "yes: TERMS_NOT_READ");
}

#[test]
fn without_commercial_use_each_purpose_is_looked_up() {
    let listed = |purposes: Purposes| {
        world(|l| {
            l.permissions.commercial_use = status(PermissionStatus::Prohibited);
            l.purposes = purposes;
        })
    };
    let bare = listed(Purposes::default());
    let barred = "no: COMMERCIAL_USE_PROHIBITED";
    check(&bare, &for_(Purpose::Commercial), barred);
    check(&bare, &for_(Purpose::InternalBusiness), barred);
    for purpose in [Purpose::Research, Purpose::Evaluation, Purpose::Education, Purpose::Personal] {
        check(&bare, &for_(purpose), "review: PURPOSE_UNCLEAR");
    }
    let both = "review: PURPOSE_UNKNOWN ? purpose organization.type";
    check(&bare, &used(|u| (u.purpose, u.organization.kind) = (None, None)), both);
    check(&bare, &used(|u| u.purpose = None), "review: PURPOSE_UNKNOWN ? purpose");

    let research = listed(Purposes {
        internal_business: Some(PurposeStatus::Unclear),
        research: Some(PurposeStatus::Allowed),
        evaluation: Some(PurposeStatus::Prohibited),
        personal: Some(PurposeStatus::Allowed),
        ..Purposes::default()
    });
    let academic = Some(OrganizationType::Academic);
    check(&research, &by(Purpose::Research, academic), "yes: PURPOSE_GRANTED");
    check(&research, &by(Purpose::Evaluation, academic), "no: PURPOSE_PROHIBITED");
    check(&research, &by(Purpose::Education, academic), "review: PURPOSE_UNCLEAR");
    check(&research, &by(Purpose::InternalBusiness, academic), "review: PURPOSE_UNCLEAR");
    check(&research, &by(Purpose::Personal, Some(OrganizationType::Individual)), "yes: PURPOSE_GRANTED");
    // A company's own research is not settled by a grant for research.
    check(&research, &for_(Purpose::Research), "review: PURPOSE_UNCLEAR");
    check(&research, &by(Purpose::Research, None), "review: PURPOSE_UNCLEAR ? organization.type");
    let company = |status| research.clone().with(|w| w.licenses[0].purposes.company = Some(status));
    check(&company(PurposeStatus::Allowed), &for_(Purpose::Research), "yes: PURPOSE_GRANTED");
    check(&company(PurposeStatus::Allowed), &by(Purpose::Research, None), "yes: PURPOSE_GRANTED");
    let asks = used(|u| (u.purpose, u.organization.kind) = (None, None));
    check(&company(PurposeStatus::Allowed), &asks, "review: PURPOSE_UNKNOWN ? purpose");
    check(&company(PurposeStatus::Unclear), &for_(Purpose::Research), "review: PURPOSE_UNCLEAR");
    check(&company(PurposeStatus::Prohibited), &for_(Purpose::Research), "no: PURPOSE_PROHIBITED");
    let unknown_type = "review: PURPOSE_UNCLEAR ? organization.type";
    check(&company(PurposeStatus::Prohibited), &by(Purpose::Research, None), unknown_type);
    // Nor is that of a public body or a university, where the license says so.
    let institution = |status| {
        let all = company(PurposeStatus::Allowed);
        all.with(|w| w.licenses[0].purposes.institution = Some(status))
    };
    for kind in [OrganizationType::Academic, OrganizationType::Government, OrganizationType::Military] {
        let it = by(Purpose::Research, Some(kind));
        check(&institution(PurposeStatus::Allowed), &it, "yes: PURPOSE_GRANTED");
        check(&institution(PurposeStatus::Unclear), &it, "review: PURPOSE_UNCLEAR");
        check(&institution(PurposeStatus::Prohibited), &it, "no: PURPOSE_PROHIBITED");
    }
    check(&institution(PurposeStatus::Unclear), &for_(Purpose::Research), "yes: PURPOSE_GRANTED");
    check(&institution(PurposeStatus::Unclear), &by(Purpose::Research, None), unknown_type);
    let both = "review: PURPOSE_UNKNOWN ? purpose organization.type";
    check(&institution(PurposeStatus::Unclear), &asks, both);
    let own = listed(Purposes { internal_business: Some(PurposeStatus::Allowed), ..Purposes::default() });
    check(&own, &for_(Purpose::InternalBusiness), "yes: PURPOSE_GRANTED");
    // Listed purposes beside a silent answer on commercial use leave that open.
    let silent = research.with(|w| w.licenses[0].permissions.commercial_use = Permission::default());
    check(&silent, &for_(Purpose::Commercial), "review: PURPOSE_UNCLEAR");
}

#[test]
fn a_purpose_outside_the_grant_is_reached_or_not() {
    let limited =
        |purpose| world(|l| l.purpose_limits.push(PurposeLimit { purpose, clause: "".into(), condition: "".into() }));
    let (no, open, yes) = ("no: PURPOSE_PROHIBITED", "review: PURPOSE_UNCLEAR", "yes");
    let all = [
        Purpose::Commercial,
        Purpose::InternalBusiness,
        Purpose::Research,
        Purpose::Evaluation,
        Purpose::Education,
        Purpose::Personal,
    ];
    let table = [
        (ExcludedPurpose::Commercial, [no, no, yes, yes, yes, yes]),
        (ExcludedPurpose::ProductionUse, [no, no, open, yes, open, open]),
        (ExcludedPurpose::ProductDevelopment, [no, open, yes, yes, yes, yes]),
        (ExcludedPurpose::EmployeeDailyWork, [yes, no, yes, yes, yes, yes]),
        (ExcludedPurpose::PocForRevenue, [no, yes, yes, open, yes, yes]),
    ];
    for (excluded, expected) in table {
        for (purpose, expected) in all.into_iter().zip(expected) {
            check(&limited(excluded), &for_(purpose), expected);
        }
        check(&limited(excluded), &used(|u| u.purpose = None), "review: PURPOSE_UNCLEAR ? purpose");
    }
    let training = limited(ExcludedPurpose::TrainOtherModels);
    check(&training, &doing(&[Activity::TrainOtherModels]), no);
    check(&training, &doing(&[Activity::TrainCompetingModels]), no);
    check(&training, &used(|u| u.purpose = None), yes);
    let competing = limited(ExcludedPurpose::CompetingModel);
    check(&competing, &doing(&[Activity::TrainOtherModels]), yes);
    check(&competing, &doing(&[Activity::TrainCompetingModels]), no);
    // A stated condition narrows it in a way that no fact tells.
    let narrowed =
        limited(ExcludedPurpose::Commercial).with(|w| w.licenses[0].purpose_limits[0].condition = "only so far".into());
    check(&narrowed, &a_use(), open);
}

#[test]
fn a_duty_starts_with_what_the_use_does() {
    use Activity::{
        BenchmarkPublicly, DistributeTrainedModel, FineTune, OfferAsService, PublishOutputs, RedistributeDerivative,
        RedistributeWeights, TrainCompetingModels, TrainOtherModels,
    };
    let on = |trigger: Trigger| world(|l| l.duties.push(duty(DutyKind::AttributionNotice, &[trigger])));
    let edge = |acts: &[Activity]| Use { hosting: Some(Hosting::EdgeOffline), ..doing(acts) };
    let starts = |trigger: Trigger, use_: Use| check(&on(trigger), &use_, "duties: DUTY_APPLIES");
    let not = |trigger: Trigger, use_: Use| check(&on(trigger), &use_, "yes");
    starts(Trigger::Any, a_use());
    not(Trigger::Redistribute, a_use());
    starts(Trigger::Redistribute, doing(&[RedistributeWeights]));
    starts(Trigger::Redistribute, doing(&[RedistributeDerivative]));
    starts(Trigger::Redistribute, edge(&[]));
    not(Trigger::Redistribute, doing(&[OfferAsService, FineTune]));
    not(Trigger::Derivative, doing(&[FineTune]));
    not(Trigger::Derivative, doing(&[RedistributeWeights]));
    not(Trigger::Derivative, edge(&[]));
    starts(Trigger::Derivative, doing(&[RedistributeDerivative]));
    starts(Trigger::Derivative, edge(&[FineTune]));
    starts(Trigger::Service, doing(&[OfferAsService]));
    not(Trigger::DerivativeService, doing(&[OfferAsService]));
    not(Trigger::DerivativeService, doing(&[FineTune]));
    starts(Trigger::DerivativeService, doing(&[OfferAsService, FineTune]));
    not(Trigger::TrainedModel, doing(&[TrainOtherModels]));
    // Nobody passes on a model trained on outputs without the training.
    starts(Trigger::TrainedModel, doing(&[DistributeTrainedModel]));
    starts(Trigger::TrainedModel, doing(&[TrainOtherModels, DistributeTrainedModel]));
    starts(Trigger::TrainedModel, doing(&[TrainCompetingModels, DistributeTrainedModel]));
    starts(Trigger::Publish, doing(&[PublishOutputs]));
    starts(Trigger::Publish, doing(&[BenchmarkPublicly]));
    not(Trigger::Benchmark, doing(&[PublishOutputs]));
    starts(Trigger::Benchmark, doing(&[BenchmarkPublicly]));
    // A model trained on outputs is a derivative where the license says so.
    let trained = doing(&[TrainOtherModels, DistributeTrainedModel]);
    not(Trigger::Derivative, trained.clone());
    let derived = on(Trigger::Derivative).with(|w| w.licenses[0].outputs.trained_model_is_derivative = true);
    check(&derived, &trained, "duties: DUTY_APPLIES");
    // An exempt act does not start it; another one still does.
    let exempt = world(|l| {
        let not_when = vec![Trigger::Service];
        l.duties
            .push(Duty { not_when, ..duty(DutyKind::AttributionNotice, &[Trigger::Redistribute, Trigger::Service]) });
    });
    check(&exempt, &doing(&[OfferAsService]), "yes");
    check(&exempt, &doing(&[OfferAsService, RedistributeWeights]), "duties: DUTY_APPLIES");
}

#[test]
fn what_a_duty_amounts_to_depends_on_its_kind() {
    let of = |kind, change: fn(&mut Duty)| {
        world(|l| {
            let mut duty = duty(kind, &[Trigger::Any]);
            change(&mut duty);
            l.duties.push(duty);
        })
    };
    let applies = "duties: DUTY_APPLIES";
    check(&of(DutyKind::AcceptableUsePolicy, |_| {}), &a_use(), applies);
    check(&of(DutyKind::Registration, |_| {}), &a_use(), applies);
    check(&of(DutyKind::Registration, |_| {}), &done(a_use(), DutyKind::Registration), "yes: DUTY_FULFILLED");
    check(&of(DutyKind::Registration, |_| {}), &done(a_use(), DutyKind::PaidPlan), applies);
    check(&of(DutyKind::Registration, |d| d.binding = Binding::Encouraged), &a_use(), "yes: DUTY_ENCOURAGED");
    check(&of(DutyKind::Registration, |d| d.binding = Binding::OutsideText), &a_use(), "yes: DUTY_ENCOURAGED");
    let consent = "no: PUBLISHER_CONSENT_NEEDED";
    for kind in [DutyKind::SeparateAgreement, DutyKind::PaidPlan, DutyKind::PublisherReview] {
        check(&of(kind, |_| {}), &a_use(), consent);
        check(&of(kind, |_| {}), &done(a_use(), kind), "yes: DUTY_FULFILLED");
    }
    let may_refuse = of(DutyKind::Registration, |d| d.approval = Approval::PublisherDecides);
    check(&may_refuse, &a_use(), consent);
    check(&may_refuse, &done(a_use(), DutyKind::Registration), "yes: DUTY_FULFILLED");
    let unread = of(DutyKind::Registration, |d| d.approval = Approval::UnreadAgreement);
    check(&unread, &a_use(), "review: AGREEMENT_NOT_READ");
    check(&unread, &done(a_use(), DutyKind::Registration), "yes: DUTY_FULFILLED");
    for kind in
        [DutyKind::ComplyWithLaw, DutyKind::ExportControl, DutyKind::IndemnifyPublisher, DutyKind::CertifyDeletion]
    {
        check(&of(kind, |_| {}), &a_use(), "yes: DUTY_GENERAL");
    }
    // A bar holds for its act and is not something that can be done.
    let no_tests = of(DutyKind::NoBenchmarkDisclosure, |_| {});
    let tests = doing(&[Activity::BenchmarkPublicly]);
    check(&no_tests, &a_use(), "yes");
    check(&no_tests, &tests, "no: ACTIVITY_BARRED");
    check(&no_tests, &done(tests, DutyKind::NoBenchmarkDisclosure), "no: ACTIVITY_BARRED");
    let no_copies = of(DutyKind::NoRedistribution, |_| {});
    check(&no_copies, &doing(&[Activity::OfferAsService]), "yes");
    check(&no_copies, &Use { hosting: Some(Hosting::EdgeOffline), ..a_use() }, "no: ACTIVITY_BARRED");
    // A step that natural persons cannot take.
    let firms_only = of(DutyKind::Registration, |d| d.not_open_to = vec!["natural_persons".into()]);
    check(&firms_only, &a_use(), applies);
    check(&firms_only, &by(Purpose::Commercial, Some(OrganizationType::Individual)), "no: STEP_NOT_OPEN");
    check(&firms_only, &by(Purpose::Commercial, None), "review: DUTY_UNCERTAIN ? organization.type");
}

#[test]
fn a_duty_with_a_condition_waits_for_the_fact() {
    let only_if = |predicate| {
        world(|l| l.duties.push(Duty { only_if: vec![predicate], ..duty(DutyKind::PaidPlan, &[Trigger::Any]) }))
    };
    let needed = "no: PUBLISHER_CONSENT_NEEDED";
    let commercial = only_if(Predicate::CommercialUse);
    check(&commercial, &a_use(), needed);
    check(&commercial, &for_(Purpose::Research), "yes");
    check(&commercial, &used(|u| u.purpose = None), "review: DUTY_UNCERTAIN ? purpose");
    let fulfilled = done(used(|u| u.purpose = None), DutyKind::PaidPlan);
    check(&commercial, &fulfilled, "yes: DUTY_FULFILLED");
    let europe = only_if(Predicate::EndUsersInEeaChGb);
    let users_in = |codes: &str| used(|u| u.end_user_countries = (!codes.is_empty()).then(|| countries(codes)));
    for codes in ["US CH", "GB", "NO", "DE"] {
        check(&europe, &users_in(codes), needed);
    }
    check(&europe, &users_in("US CA"), "yes");
    check(&europe, &users_in(""), "review: DUTY_UNCERTAIN ? end_user_countries");
    let hosting = only_if(Predicate::SelfHosting);
    check(&hosting, &a_use(), needed);
    check(&hosting, &used(|u| u.hosting = None), "review: HOSTING_UNKNOWN DUTY_UNCERTAIN ? hosting");
    let service = only_if(Predicate::Service);
    check(&service, &a_use(), "yes");
    check(&service, &doing(&[Activity::OfferAsService]), needed);
    let cosmos = only_if(Predicate::CosmosModel);
    check(&cosmos, &a_use(), "yes");
    check(&cosmos.model_with(|m| m.family = "Cosmos".into()), &a_use(), needed);
}

#[test]
fn listed_categories_meet_barred_uses() {
    let words = |w: &mut World| {
        for (slug, broader) in [("biological-weapons", "weapons"), ("weapons", "harm"), ("harm", ""), ("law", "")] {
            let broader = if broader.is_empty() { Vec::new() } else { vec![broader.into()] };
            w.vocabulary.use_categories.insert(slug.into(), UseCategory { sentence: "".into(), broader });
        }
    };
    let barring = |category: &str, absolute: bool| {
        world(|l| l.use_restrictions.push(restriction(category, absolute))).with(words)
    };
    check(&barring("weapons", true), &a_use(), "yes");
    check(&barring("weapons", true), &listing(&["law"]), "yes");
    check(&barring("weapons", true), &listing(&["law", "weapons"]), "no: USE_RESTRICTED");
    // A broader category takes the narrower ones with it, at any distance. The other way the use may be in the barred part.
    check(&barring("harm", true), &listing(&["biological-weapons"]), "no: USE_RESTRICTED");
    check(&barring("biological-weapons", true), &listing(&["weapons"]), "review: USE_RESTRICTED_CONDITIONALLY");
    check(&barring("weapons", false), &listing(&["weapons"]), "review: USE_RESTRICTED_CONDITIONALLY");
    let both = barring("weapons", false).with(|w| w.licenses[0].use_restrictions.push(restriction("harm", true)));
    check(&both, &listing(&["weapons"]), "no: USE_RESTRICTED");
    for coverage in [Coverage::Partial, Coverage::NotRead] {
        let unread = barring("weapons", true).with(|w| w.licenses[0].use_policy.coverage = coverage);
        check(&unread, &a_use(), "yes");
        check(&unread, &listing(&["law"]), "review: USE_POLICY_NOT_READ");
        check(&unread, &listing(&["weapons"]), "no: USE_RESTRICTED");
    }
}

#[test]
fn training_on_outputs_meets_each_kind_of_bar() {
    let barring = |barred: BarredTraining| world(|l| l.outputs.training_barred = vec![barred]);
    let other = doing(&[Activity::TrainOtherModels]);
    let competing = doing(&[Activity::TrainCompetingModels]);
    let (no, open) = ("no: DISTILLATION_BARRED", "review: DISTILLATION_UNCLEAR");
    let table = [
        (BarredTraining::AnyModel, no, no),
        (BarredTraining::OtherLanguageModel, no, no),
        (BarredTraining::OtherImageModel, no, no),
        (BarredTraining::FoundationModel, open, no),
        (BarredTraining::CompetingModel, "yes", no),
    ];
    for (barred, for_other, for_competing) in table {
        check(&barring(barred), &a_use(), "yes");
        check(&barring(barred), &other, for_other);
        check(&barring(barred), &competing, for_competing);
    }
    // A named kind narrows a plain no.
    let narrowed = barring(BarredTraining::CompetingModel)
        .with(|w| w.licenses[0].permissions.train_other_models = status(PermissionStatus::Prohibited));
    check(&narrowed, &other, "yes");
    let gainful = barring(BarredTraining::AnyModel)
        .with(|w| w.licenses[0].outputs.training_barred_only_if = vec![Predicate::CommercialUse]);
    check(&gainful, &other, no);
    check(&gainful, &Use { purpose: Some(Purpose::Research), ..other.clone() }, "yes");
    check(&gainful, &Use { purpose: None, ..other.clone() }, "review: DISTILLATION_UNCLEAR ? purpose");
    let images = barring(BarredTraining::AnyModel)
        .with(|w| w.licenses[0].outputs.training_barred_only_if = vec![Predicate::ImageOutputs]);
    check(&images, &other, "yes");
    let draws = |outputs: &[Modality]| images.clone().model_with(|m| m.output_modalities = outputs.to_vec().into());
    check(&draws(&[Modality::Image]), &other, no);
    check(&draws(&[Modality::Text, Modality::Image]), &other, open);
    check(&draws(&[]), &other, open);
}

#[test]
fn activities_that_would_worsen_the_verdict_are_said() {
    let copies = world(|l| l.duties.push(duty(DutyKind::IncludeLicenseCopy, &[Trigger::Redistribute])));
    let (weights, derivative) = (Activity::RedistributeWeights, Activity::RedistributeDerivative);
    assert_eq!(assumed(&copies, &a_use()), [weights, derivative]);
    assert_eq!(assumed(&copies, &doing(&[weights])), []);
    assert_eq!(assumed(&world(|_| {}), &a_use()), []);
    let no_service = copies.with(|w| w.licenses[0].permissions.offer_as_service.status = PermissionStatus::Prohibited);
    assert_eq!(assumed(&no_service, &doing(&[weights])), [Activity::OfferAsService]);
    assert_eq!(assumed(&no_service, &doing(&[Activity::OfferAsService])), []);
}
