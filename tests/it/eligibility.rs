//! Batches, lists, profiles and waivers, over gRPC.

use std::collections::{BTreeMap, BTreeSet};

use tonic::Code;
use tonic::transport::Channel;
use tonic_types::StatusExt as _;
use weighbridge::pb::weighbridge::v1 as pb;
use weighbridge::pb::weighbridge::v1::batch_check_eligibility_response::result::Outcome;
use weighbridge::pb::weighbridge::v1::eligibility_service_client::EligibilityServiceClient;
use weighbridge::pb::weighbridge::v1::model_service_client::ModelServiceClient;
use weighbridge::pb::weighbridge::v1::remedy::Change;
use weighbridge::pb::weighbridge::v1::use_profile_service_client::UseProfileServiceClient;
use weighbridge::pb::weighbridge::v1::waiver_service_client::WaiverServiceClient;
use weighbridge::registry::{LogLevel, LogSettings};

use crate::harness::{TestServer, fields, reason, refused};

const LLAMA: &str = "publishers/meta/models/llama-3.3-70b-instruct";
const LLAMA_LICENSE: &str = "licenses/LicenseRef-Llama-3.3-Community";

/// A company in the US that serves its own users.
fn facts(users: i64) -> pb::Use {
    pb::Use {
        purpose: pb::Purpose::Commercial as i32,
        hosting: pb::Hosting::SelfHosted as i32,
        organization: Some(pb::Organization {
            country: "US".into(),
            r#type: pb::organization::Type::Company as i32,
            business_types: vec!["none".into()],
            monthly_active_users: Some(users),
            annual_revenue_usd: Some(1_000),
            monthly_revenue_usd: Some(100),
            daily_active_users: Some(1),
            ..Default::default()
        }),
        measures: vec![pb::Measure {
            metric: "monthly_active_users".into(),
            subject: pb::MeasureSubject::Group as i32,
            period: "2024-11".into(),
            value: Some(users),
        }],
        deployment_countries: vec!["US".into()],
        end_user_countries: vec!["US".into()],
        ..Default::default()
    }
}

fn check(model: &str, use_: pb::Use) -> pb::CheckEligibilityRequest {
    pb::CheckEligibilityRequest { model: model.into(), r#use: Some(use_), ..Default::default() }
}

async fn decide(channel: &Channel, request: pb::CheckEligibilityRequest) -> pb::Decision {
    let mut client = EligibilityServiceClient::new(channel.clone());
    client.check_eligibility(request).await.unwrap().into_inner().decision.unwrap()
}

#[tokio::test]
async fn a_batch_answers_each_item_as_a_check_would() {
    let server = TestServer::in_memory();
    let channel = server.connect().await;
    let mut client = EligibilityServiceClient::new(channel.clone());
    let bad = pb::Use { end_user_countries: vec!["UK".into()], ..facts(1) };
    let later = pb::CheckEligibilityRequest { min_revision: i64::MAX, ..check(LLAMA, facts(1)) };
    let requests = vec![
        check(LLAMA, facts(1)),
        check(LLAMA, bad),
        check("nobody/nothing", facts(1)),
        check(LLAMA, facts(800_000_000)),
        later,
        check(LLAMA, pb::Use::default()),
    ];
    let request =
        pb::BatchCheckEligibilityRequest { requests: requests.clone(), min_revision: 0, ..Default::default() };
    let answer = client.batch_check_eligibility(request).await.unwrap().into_inner();
    assert_eq!(answer.results.len(), requests.len());
    let mut codes = Vec::new();
    for (request, result) in requests.into_iter().zip(answer.results) {
        match result.outcome.unwrap() {
            Outcome::Decision(decision) => {
                assert_eq!(decision.revision, answer.revision);
                assert_eq!(decision, decide(&channel, request).await);
                codes.push(Code::Ok);
            }
            Outcome::Status(status) => {
                let code = Code::from_i32(status.code);
                codes.push(code);
                assert!(!status.message.is_empty() && !status.details.is_empty());
                if request.min_revision == 0 {
                    let alone = refused(client.check_eligibility(request).await, code);
                    assert_eq!(alone.message(), status.message);
                }
            }
        }
    }
    let expected = [Code::Ok, Code::InvalidArgument, Code::NotFound, Code::Ok, Code::FailedPrecondition, Code::Ok];
    assert_eq!(codes, expected);
    for requests in [vec![], vec![check(LLAMA, facts(1)); 1_001]] {
        let request = pb::BatchCheckEligibilityRequest { requests, min_revision: -1, ..Default::default() };
        let status = refused(client.batch_check_eligibility(request).await, Code::InvalidArgument);
        assert_eq!(fields(&status), ["requests", "min_revision"]);
    }
}

async fn listed(channel: &Channel, request: pb::ListEligibleModelsRequest) -> pb::ListEligibleModelsResponse {
    let mut client = EligibilityServiceClient::new(channel.clone());
    let mut all = pb::ListEligibleModelsResponse::default();
    let mut page_token = String::new();
    loop {
        let request = pb::ListEligibleModelsRequest { page_token, ..request.clone() };
        let page = client.list_eligible_models(request).await.unwrap().into_inner();
        assert!(page.complete);
        all.models.extend(page.models);
        (all.total_size, all.verdict_counts, all.revision) = (page.total_size, page.verdict_counts, page.revision);
        if page.next_page_token.is_empty() {
            return all;
        }
        page_token = page.next_page_token;
    }
}

/// Every model, at three page sizes.
/// The name of every model.
async fn all_names(channel: &Channel) -> Vec<String> {
    let mut models = ModelServiceClient::new(channel.clone()).max_decoding_message_size(64 << 20);
    let (mut names, mut page_token) = (Vec::new(), String::new());
    loop {
        let request = pb::ListModelsRequest { page_size: 1_000, page_token, ..Default::default() };
        let page = models.list_models(request).await.unwrap().into_inner();
        names.extend(page.models.into_iter().map(|model| model.name));
        page_token = page.next_page_token;
        if page_token.is_empty() {
            return names;
        }
    }
}

/// However it is hosted, a list holds what the check says of each.
#[tokio::test]
async fn lists_and_checks_agree_for_every_hosting() {
    let server = TestServer::in_memory();
    let channel = server.connect().await;
    let names = all_names(&channel).await;
    let mut client = EligibilityServiceClient::new(channel).max_decoding_message_size(64 << 20);
    let vendor = pb::Use { hosting: pb::Hosting::VendorApi as i32, ..facts(1_000) };
    let silent = pb::Use { hosting: 0, deployment_countries: Vec::new(), organization: None, ..facts(1_000) };
    for use_ in [vendor, silent] {
        let mut counts: BTreeMap<i32, i32> = BTreeMap::new();
        for names in names.chunks(500) {
            let requests = names.iter().map(|name| check(name, use_.clone())).collect();
            let request = pb::BatchCheckEligibilityRequest { requests, min_revision: 0, ..Default::default() };
            for result in client.batch_check_eligibility(request).await.unwrap().into_inner().results {
                let Some(Outcome::Decision(decision)) = result.outcome else { panic!("{result:?}") };
                *counts.entry(decision.verdict).or_default() += 1;
            }
        }
        let request = pb::ListEligibleModelsRequest { r#use: Some(use_), page_size: 1, ..Default::default() };
        let listed = client.list_eligible_models(request).await.unwrap().into_inner();
        let listed: BTreeMap<i32, i32> =
            listed.verdict_counts.iter().filter(|c| c.models > 0).map(|c| (c.verdict, c.models)).collect();
        assert_eq!(listed, counts);
    }
}

#[tokio::test]
async fn the_list_and_the_check_agree_on_every_model() {
    let server = TestServer::in_memory();
    let channel = server.connect().await;
    let names = all_names(&channel).await;
    let mut expected: BTreeMap<String, pb::Decision> = BTreeMap::new();
    let mut client = EligibilityServiceClient::new(channel.clone()).max_decoding_message_size(64 << 20);
    for names in names.chunks(500) {
        let requests = names.iter().map(|name| check(name, facts(1_000))).collect();
        let request = pb::BatchCheckEligibilityRequest { requests, min_revision: 0, ..Default::default() };
        for (name, result) in
            names.iter().zip(client.batch_check_eligibility(request).await.unwrap().into_inner().results)
        {
            let Some(Outcome::Decision(decision)) = result.outcome else { panic!("{name}: {result:?}") };
            expected.insert(name.clone(), decision);
        }
    }
    let all =
        [pb::Verdict::Eligible, pb::Verdict::EligibleWithConditions, pb::Verdict::NeedsReview, pb::Verdict::Ineligible];
    let request = |verdicts: &[pb::Verdict], page_size| pb::ListEligibleModelsRequest {
        r#use: Some(facts(1_000)),
        verdicts: verdicts.iter().map(|verdict| *verdict as i32).collect(),
        page_size,
        ..Default::default()
    };
    for page_size in [0, 7, 1_000] {
        let found = listed(&channel, request(&[], page_size)).await;
        let yes = |decision: &pb::Decision| decision.verdict <= pb::Verdict::EligibleWithConditions as i32;
        let names: Vec<&String> = expected.iter().filter(|(_, decision)| yes(decision)).map(|(name, _)| name).collect();
        assert!(names.len() > 50, "{}", names.len());
        assert_eq!(found.models.iter().map(|model| &model.model).collect::<Vec<_>>(), names, "{page_size}");
        assert_eq!(usize::try_from(found.total_size).unwrap(), names.len());
    }
    let found = listed(&channel, request(&all, 1_000)).await;
    assert_eq!(found.models.len(), expected.len());
    for model in &found.models {
        let decision = &expected[&model.model];
        let duties: BTreeSet<String> = decision.duties.iter().map(|duty| duty.kind.clone()).collect();
        assert_eq!((model.verdict, &model.summary), (decision.verdict, &decision.summary), "{}", model.model);
        assert_eq!(model.duty_kinds, duties.into_iter().collect::<Vec<_>>());
    }
    for count in &found.verdict_counts {
        let of = expected.values().filter(|decision| decision.verdict == count.verdict).count();
        assert_eq!(usize::try_from(count.models).unwrap(), of);
    }
    let of_meta = pb::ListEligibleModelsRequest { parent: "publishers/meta".into(), ..request(&all, 1_000) };
    let found = listed(&channel, of_meta).await;
    assert!(found.models.len() > 5 && found.models.iter().all(|m| m.model.starts_with("publishers/meta/")));

    // A token holds for what was asked, and pages stay with the revision of the first.
    let first = client.list_eligible_models(request(&[], 5)).await.unwrap().into_inner();
    let next = |use_| pb::ListEligibleModelsRequest {
        r#use: Some(use_),
        page_token: first.next_page_token.clone(),
        ..request(&[], 5)
    };
    let status = refused(client.list_eligible_models(next(facts(2))).await, Code::InvalidArgument);
    assert_eq!(fields(&status), ["page_token"]);
    write_profile(&channel, "p", facts(1)).await;
    let second = client.list_eligible_models(next(facts(1_000))).await.unwrap().into_inner();
    assert!(second.complete && second.revision == first.revision && second.models[0].model > first.models[4].model);
}

async fn write_profile(channel: &Channel, id: &str, use_: pb::Use) -> pb::UseProfile {
    let request = pb::CreateUseProfileRequest {
        use_profile_id: id.into(),
        use_profile: Some(pb::UseProfile { r#use: Some(use_), ..Default::default() }),
        validate_only: false,
        ..Default::default()
    };
    UseProfileServiceClient::new(channel.clone()).create_use_profile(request).await.unwrap().into_inner()
}

#[tokio::test]
async fn the_facts_of_a_profile_apply_where_the_request_is_silent() {
    let server = TestServer::in_memory();
    let channel = server.connect().await;
    let profile = write_profile(&channel, "us-company", facts(1)).await;
    assert_eq!(profile.name, "useProfiles/us-company");
    let by_profile = |use_| pb::CheckEligibilityRequest { use_profile: profile.name.clone(), ..check(LLAMA, use_) };
    let asked = decide(&channel, check(LLAMA, facts(1))).await;
    assert_eq!(asked.verdict(), pb::Verdict::EligibleWithConditions);
    let same = decide(&channel, by_profile(pb::Use::default())).await;
    assert_eq!((same.verdict, same.findings), (asked.verdict, asked.findings));
    let figure = pb::Use { measures: facts(700_000_001).measures, ..Default::default() };
    assert_eq!(decide(&channel, by_profile(figure)).await.verdict(), pb::Verdict::Ineligible);

    // Standard methods: etags, masks, near names, all violations at once.
    let mut client = UseProfileServiceClient::new(channel.clone());
    let update = pb::UpdateUseProfileRequest {
        use_profile: Some(pb::UseProfile { display_name: "US".into(), r#use: None, ..profile.clone() }),
        ..Default::default()
    };
    let updated = client.update_use_profile(update.clone()).await.unwrap().into_inner();
    assert_eq!((updated.display_name.as_str(), &updated.r#use), ("US", &profile.r#use));
    assert!(updated.revision > profile.revision && updated.create_time == profile.create_time);
    refused(client.update_use_profile(update).await, Code::Aborted);
    let status = refused(
        client
            .get_use_profile(pb::GetUseProfileRequest { name: "useProfiles/us-compny".into(), ..Default::default() })
            .await,
        Code::NotFound,
    );
    assert!(status.message().contains("useProfiles/us-company"), "{}", status.message());
    let unknown = pb::CheckEligibilityRequest { use_profile: "useProfiles/x".into(), ..check(LLAMA, facts(1)) };
    let mut checks = EligibilityServiceClient::new(channel.clone());
    refused(checks.check_eligibility(unknown).await, Code::NotFound);
    let bad = pb::Use { categories: vec!["nonsense".into()], at: Some(prost_types::Timestamp::default()), ..facts(-1) };
    let request = pb::CreateUseProfileRequest {
        use_profile_id: "bad".into(),
        use_profile: Some(pb::UseProfile { r#use: Some(bad), ..Default::default() }),
        validate_only: true,
        ..Default::default()
    };
    let status = refused(client.create_use_profile(request).await, Code::InvalidArgument);
    let expected = [
        "use_profile.use.at",
        "use_profile.use.categories[0]",
        "use_profile.use.organization.monthly_active_users",
        "use_profile.use.measures[0].value",
    ];
    assert_eq!(fields(&status), expected);
    let id = pb::CreateUseProfileRequest {
        use_profile_id: "Not An Id".into(),
        use_profile: Some(pb::UseProfile::default()),
        validate_only: false,
        ..Default::default()
    };
    assert_eq!(fields(&refused(client.create_use_profile(id).await, Code::InvalidArgument)), ["use_profile_id"]);
    let page = client.list_use_profiles(pb::ListUseProfilesRequest::default()).await.unwrap().into_inner();
    assert_eq!((page.total_size, &page.use_profiles), (1, &vec![updated]));
}

fn waiver() -> pb::Waiver {
    pb::Waiver {
        reason: "SCALE_GATE_EXCEEDED".into(),
        license: LLAMA_LICENSE.into(),
        approver: "counsel@example.com".into(),
        ticket: "LEGAL-7".into(),
        // The year 2100.
        expire_time: Some(prost_types::Timestamp { seconds: 4_102_444_800, nanos: 0 }),
        ..Default::default()
    }
}

fn create(id: &str, waiver: pb::Waiver) -> pb::CreateWaiverRequest {
    pb::CreateWaiverRequest { waiver_id: id.into(), waiver: Some(waiver), validate_only: false, ..Default::default() }
}

#[tokio::test]
async fn a_waiver_silences_what_it_names_until_it_ends() {
    let server = TestServer::in_memory();
    let channel = server.connect().await;
    let mut client = WaiverServiceClient::new(channel.clone());
    let large = || facts(800_000_000);
    assert_eq!(decide(&channel, check(LLAMA, large())).await.verdict(), pb::Verdict::Ineligible);
    let profile = write_profile(&channel, "chat", pb::Use::default()).await.name;
    let written = client
        .create_waiver(create("meta-2026", pb::Waiver { use_profile: profile.clone(), ..waiver() }))
        .await
        .unwrap()
        .into_inner();
    let in_profile = |use_| pb::CheckEligibilityRequest { use_profile: profile.clone(), ..check(LLAMA, use_) };
    assert_eq!(decide(&channel, check(LLAMA, large())).await.verdict(), pb::Verdict::Ineligible);
    let decision = decide(&channel, in_profile(large())).await;
    assert_eq!(decision.verdict(), pb::Verdict::EligibleWithConditions, "{}", decision.summary);
    let gate = decision.findings.iter().find(|f| f.reason == "SCALE_GATE_EXCEEDED").unwrap();
    assert_eq!((gate.effect(), gate.waived_by.as_str()), (pb::Effect::Blocks, written.name.as_str()));
    // After its end it is reported, and silences nothing.
    let after = pb::Use { at: Some(prost_types::Timestamp { seconds: 4_102_444_800, nanos: 0 }), ..large() };
    let decision = decide(&channel, in_profile(after)).await;
    assert_eq!(decision.verdict(), pb::Verdict::Ineligible);
    assert!(decision.findings.iter().any(|f| f.reason == "WAIVER_EXPIRED" && f.message.contains("meta-2026")));

    let in_use = pb::DeleteUseProfileRequest { name: profile, ..Default::default() };
    let mut profiles = UseProfileServiceClient::new(channel.clone());
    let status = refused(profiles.delete_use_profile(in_use.clone()).await, Code::FailedPrecondition);
    assert_eq!(reason(&status), "USE_PROFILE_IN_USE");
    client.delete_waiver(pb::DeleteWaiverRequest { name: written.name, ..Default::default() }).await.unwrap();
    profiles.delete_use_profile(in_use).await.unwrap();
    assert_eq!(decide(&channel, check(LLAMA, large())).await.verdict(), pb::Verdict::Ineligible);
}

#[tokio::test]
async fn a_waiver_without_a_scope_or_an_approval_is_refused() {
    let server = TestServer::in_memory();
    let mut client = WaiverServiceClient::new(server.connect().await);
    let bare = pb::Waiver { reason: "SCALE_GATE_EXCEDED".into(), ..Default::default() };
    let status = refused(client.create_waiver(create("w", bare)).await, Code::InvalidArgument);
    let expected = ["waiver.reason", "waiver.license", "waiver.approver", "waiver.ticket", "waiver.expire_time"];
    assert_eq!(fields(&status), expected);
    assert!(status.message().contains("SCALE_GATE_EXCEEDED"), "{}", status.message());
    for (change, field) in [
        (pb::Waiver { reason: "USE_RESTRICTED".into(), ..waiver() }, "waiver.reason"),
        (pb::Waiver { reason: "LICENSE_UNKNOWN".into(), ..waiver() }, "waiver.reason"),
        (pb::Waiver { reason: "SCALE_GATE_UNKNOWN".into(), ..waiver() }, "waiver.reason"),
        (pb::Waiver { reason: "DUTY_APPLIES".into(), ..waiver() }, "waiver.duty_kind"),
        (pb::Waiver { duty_kind: "registration".into(), ..waiver() }, "waiver.duty_kind"),
        (pb::Waiver { reason: "USE_RESTRICTED_CONDITIONALLY".into(), ..waiver() }, "waiver.category"),
        (pb::Waiver { license: "licenses/LicenseRef-Nobody".into(), ..waiver() }, "waiver.license"),
        (pb::Waiver { license: String::new(), model: "publishers/a/models/b".into(), ..waiver() }, "waiver.model"),
        (pb::Waiver { use_profile: "useProfiles/none".into(), ..waiver() }, "waiver.use_profile"),
        (pb::Waiver { expire_time: Some(prost_types::Timestamp::default()), ..waiver() }, "waiver.expire_time"),
    ] {
        let status = refused(client.create_waiver(create("w", change)).await, Code::InvalidArgument);
        assert_eq!(fields(&status), [field], "{}", status.message());
    }
}

async fn recorded(channel: &Channel, model: &str, use_: pb::Use) -> pb::Decision {
    decide(channel, pb::CheckEligibilityRequest { record: true, ..check(model, use_) }).await
}

async fn log(channel: &Channel, request: pb::ListDecisionsRequest) -> Vec<pb::Decision> {
    let mut client = EligibilityServiceClient::new(channel.clone());
    let (mut all, mut page_token) = (Vec::new(), String::new());
    loop {
        let request = pb::ListDecisionsRequest { page_token, ..request.clone() };
        let page = client.list_decisions(request).await.unwrap().into_inner();
        all.extend(page.decisions);
        page_token = page.next_page_token;
        if page_token.is_empty() {
            return all;
        }
    }
}

#[tokio::test]
async fn a_recorded_decision_is_there_and_can_be_repeated() {
    let server = TestServer::in_memory();
    let channel = server.connect().await;
    let before = decide(&channel, check(LLAMA, facts(1))).await.revision;
    let first = recorded(&channel, "meta-llama/Llama-3.3-70B-Instruct", facts(1)).await;
    let mut client = EligibilityServiceClient::new(channel.clone());
    let get = pb::GetDecisionRequest { name: first.name.clone() };
    assert_eq!(client.get_decision(get).await.unwrap().into_inner(), first);
    // Its facts, sent again, give the same answer, whatever the model is called: at the same time, even the same digest.
    let again = recorded(&channel, LLAMA, first.r#use.clone().unwrap()).await;
    assert_eq!((&again.digest, again.digest.len(), &again.findings), (&first.digest, 64, &first.findings));
    assert_ne!(recorded(&channel, LLAMA, facts(2)).await.digest, first.digest);
    assert_eq!(again.revision, before, "the log raises no revision");
    assert_eq!((first.requested_model.as_str(), first.model.as_str()), ("meta-llama/Llama-3.3-70B-Instruct", LLAMA));

    // The level keeps what is not eligible, behind the answer and without a name in it.
    let refused_ = decide(&channel, check(LLAMA, facts(800_000_000))).await;
    assert_eq!((refused_.name.as_str(), refused_.digest.as_str(), &refused_.r#use), ("", "", &None));
    let blocked = pb::ListDecisionsRequest { verdicts: vec![pb::Verdict::Ineligible as i32], ..Default::default() };
    for _ in 0..200 {
        if !log(&channel, blocked.clone()).await.is_empty() {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    let kept = log(&channel, blocked).await;
    assert_eq!((kept.len(), &kept[0].findings), (1, &refused_.findings));

    // Newest first, in pages.
    for page_size in [0, 1, 2] {
        let all = log(&channel, pb::ListDecisionsRequest { page_size, ..Default::default() }).await;
        let names: Vec<&String> = all.iter().map(|decision| &decision.name).collect();
        assert!(names.len() == 4 && names.is_sorted_by(|a, b| a > b), "{names:?}");
    }
    let of = |model: &str| pb::ListDecisionsRequest { model: model.into(), ..Default::default() };
    assert_eq!(log(&channel, of(LLAMA)).await.len(), 4);
    assert_eq!(log(&channel, of("publishers/meta/models/none")).await.len(), 0);
    let bad = pb::ListDecisionsRequest { model: "llama".into(), verdicts: vec![9], ..Default::default() };
    assert_eq!(fields(&refused(client.list_decisions(bad).await, Code::InvalidArgument)), ["model", "verdicts[0]"]);
    let gone = pb::GetDecisionRequest { name: "decisions/000000000000-000000".into() };
    refused(client.get_decision(gone).await, Code::NotFound);
    refused(client.get_decision(pb::GetDecisionRequest { name: "x".into() }).await, Code::InvalidArgument);

    // Of a batch those that ask for it.
    let requests = [true, false, true].map(|record| pb::CheckEligibilityRequest { record, ..check(LLAMA, facts(1)) });
    let request = pb::BatchCheckEligibilityRequest { requests: requests.into(), min_revision: 0, ..Default::default() };
    let results = client.batch_check_eligibility(request).await.unwrap().into_inner().results;
    let named = results.iter().map(|result| match &result.outcome {
        Some(Outcome::Decision(decision)) => !decision.name.is_empty(),
        other => panic!("{other:?}"),
    });
    assert_eq!(named.collect::<Vec<_>>(), [true, false, true]);
}

/// On disk: what was acknowledged is there after a restart, and the log stays within its bound.
#[tokio::test]
async fn the_log_survives_a_restart_and_never_grows_beyond_its_bound() {
    let folder = tempfile::tempdir().unwrap();
    let settings = LogSettings { level: LogLevel::Off, decisions_max: 10, ..LogSettings::default() };
    let serve = || TestServer::logging_at(folder.path(), settings);
    let server = serve();
    let channel = server.connect().await;
    let mut names = Vec::new();
    assert!(!folder.path().join("decisions").exists(), "a log of nothing takes neither room nor threads");
    for users in 0..23 {
        names.push(recorded(&channel, LLAMA, facts(users)).await.name);
        let kept = log(&channel, pb::ListDecisionsRequest::default()).await;
        assert!(kept.len() <= 10, "{}", kept.len());
        assert!(kept.len() >= names.len().min(5), "the newest are at hand");
    }
    let before = log(&channel, pb::ListDecisionsRequest::default()).await;
    assert_eq!(before[0].name, names[22]);
    drop(channel);
    server.stop().unwrap();
    let server = serve();
    let channel = server.connect().await;
    assert_eq!(log(&channel, pb::ListDecisionsRequest::default()).await, before);
    let next = recorded(&channel, LLAMA, facts(99)).await;
    assert_eq!(log(&channel, pb::ListDecisionsRequest::default()).await[0], next);
    // At the level `off` nothing is kept that does not ask for it.
    decide(&channel, check(LLAMA, facts(800_000_000))).await;
    let after = log(&channel, pb::ListDecisionsRequest::default()).await;
    assert_eq!(after[0], next);
}

/// A remedy is machine-applicable: what it says to send is sent, and the verdict is the one it promised.
#[tokio::test]
async fn remedies_can_be_applied_as_they_stand() {
    let server = TestServer::in_memory();
    let channel = server.connect().await;
    let explained = async |model: &str, use_: pb::Use| {
        decide(&channel, pb::CheckEligibilityRequest { explain: true, ..check(model, use_) }).await
    };
    let in_germany = pb::Use { deployment_countries: vec!["DE".into(), "US".into()], ..facts(1) };
    let distilled = pb::Use {
        hosting: pb::Hosting::VendorApi as i32,
        activities: vec![pb::Activity::TrainCompetingModels as i32, pb::Activity::OfferAsService as i32],
        ..facts(1)
    };
    let weapons = pb::Use { categories: vec!["weapons".into()], ..facts(1) };
    let mut kinds = BTreeSet::new();
    for (model, use_) in [
        (LLAMA, facts(800_000_000)),
        ("gpt-4o", distilled),
        (LLAMA, weapons),
        ("Qwen/Qwen2.5-3B", facts(1)),
        ("tencent/Hunyuan-A13B-Instruct", in_germany),
        ("gpt-4o", facts(1)),
    ] {
        let decision = explained(model, use_.clone()).await;
        assert!(decision.verdict > pb::Verdict::EligibleWithConditions as i32, "{model}: {}", decision.summary);
        assert!(!decision.remedies.is_empty(), "{model}: {}", decision.summary);
        for remedy in &decision.remedies {
            assert!(remedy.text.ends_with('.') && remedy.verdict < decision.verdict, "{remedy:?}");
            let mut request = check(model, use_.clone());
            let changed = request.r#use.as_mut().unwrap();
            match remedy.change.as_ref().unwrap() {
                Change::UsePatch(patch) => {
                    kinds.insert("patch");
                    apply(changed, patch, &remedy.use_fields);
                }
                Change::DutyKind(kind) => {
                    kinds.insert("duty");
                    changed.fulfilled_duties.push(kind.clone());
                }
                Change::Model(name) => {
                    kinds.insert("model");
                    request.model.clone_from(name);
                }
                Change::Waiver(_) => {
                    kinds.insert("waiver");
                    continue;
                }
            }
            let after = decide(&channel, request).await;
            assert_eq!(after.verdict, remedy.verdict, "{model}: {}", remedy.text);
        }
    }
    assert_eq!(kinds.len(), 4, "{kinds:?}");

    // With a profile: what it lists comes back where a request leaves its own list empty.
    let listed = pb::Use {
        categories: vec!["weapons".into()],
        fulfilled_duties: vec!["accept_gated_terms".into()],
        ..facts(800_000_000)
    };
    write_profile(&channel, "armed", listed).await;
    let by_profile =
        |use_: pb::Use| pb::CheckEligibilityRequest { use_profile: "useProfiles/armed".into(), ..check(LLAMA, use_) };
    for own in [pb::Use::default(), pb::Use { categories: vec!["spam".into(), "weapons".into()], ..Default::default() }]
    {
        let asked = pb::CheckEligibilityRequest { explain: true, ..by_profile(own.clone()) };
        let decision = decide(&channel, asked).await;
        for remedy in &decision.remedies {
            let mut request = by_profile(own.clone());
            let changed = request.r#use.as_mut().unwrap();
            match remedy.change.as_ref().unwrap() {
                Change::UsePatch(patch) => apply(changed, patch, &remedy.use_fields),
                Change::DutyKind(kind) => changed.fulfilled_duties.push(kind.clone()),
                Change::Model(name) => request.model.clone_from(name),
                Change::Waiver(_) => continue,
            }
            let after = decide(&channel, request).await;
            assert_eq!(after.verdict, remedy.verdict, "{}", remedy.text);
        }
    }
    // Where nothing stands in the way there is nothing to mend.
    let fine = explained(LLAMA, facts(1)).await;
    assert!(fine.remedies.is_empty() && decide(&channel, check(LLAMA, facts(1))).await.lineage.is_empty());
}

fn apply(use_: &mut pb::Use, patch: &pb::Use, fields: &[String]) {
    let patch = patch.clone();
    for field in fields {
        match field.as_str() {
            "activities" => use_.activities.clone_from(&patch.activities),
            "categories" => use_.categories.clone_from(&patch.categories),
            "deployment_countries" => use_.deployment_countries.clone_from(&patch.deployment_countries),
            "end_user_countries" => use_.end_user_countries.clone_from(&patch.end_user_countries),
            "fulfilled_duties" => use_.fulfilled_duties.clone_from(&patch.fulfilled_duties),
            "hosting" => use_.hosting = patch.hosting,
            "provider" => use_.provider.clone_from(&patch.provider),
            "purpose" => use_.purpose = patch.purpose,
            other => panic!("{other}"),
        }
    }
}

#[tokio::test]
async fn the_lineage_shows_each_step_with_its_license() {
    let server = TestServer::in_memory();
    let channel = server.connect().await;
    let mut models = ModelServiceClient::new(channel.clone());
    // Llama → kept its license → MIT: the terms are lost at the second step.
    for (id, license, base) in [
        ("kept", "LicenseRef-Llama-3.3-Community", LLAMA),
        ("dropped", "MIT", "publishers/lab/models/kept"),
        ("last", "Apache-2.0", "publishers/lab/models/dropped"),
    ] {
        let weights = pb::Component {
            kind: pb::component::Kind::ModelWeights as i32,
            availability: pb::component::Availability::Available as i32,
            license_expression: license.into(),
            ..Default::default()
        };
        let base = pb::BaseModel {
            model: base.into(),
            relation: pb::base_model::Relation::FineTune as i32,
            ..Default::default()
        };
        let request = pb::CreateModelRequest {
            parent: "publishers/lab".into(),
            model_id: id.into(),
            model: Some(pb::Model { components: vec![weights], base_models: vec![base], ..Default::default() }),
            validate_only: false,
            ..Default::default()
        };
        models.create_model(request).await.unwrap();
    }
    let request = pb::GetModelLineageRequest { model: "lab/last".into() };
    let view = models.get_model_lineage(request).await.unwrap().into_inner();
    let shown: Vec<_> = view
        .steps
        .iter()
        .map(|step| {
            (step.depth, step.base_model.as_str(), step.license_expression.as_str(), step.dropped_terms.is_empty())
        })
        .collect();
    let expected = [
        (1, "publishers/lab/models/dropped", "MIT", true),
        (2, "publishers/lab/models/kept", "LicenseRef-Llama-3.3-Community", false),
        (3, LLAMA, "LicenseRef-Llama-3.3-Community", true),
    ];
    assert_eq!(shown[..3], expected);
    let decision = decide(&channel, pb::CheckEligibilityRequest { explain: true, ..check("lab/last", facts(1)) }).await;
    assert_eq!(decision.lineage, view.steps);
    let drift: Vec<_> = decision.findings.iter().filter(|f| f.reason == "LICENSE_DRIFT").collect();
    let named = drift.iter().all(|f| f.message.contains("the license of `publishers/lab/models/dropped` drops"));
    assert!(!drift.is_empty() && named, "{drift:?}");
    refused(models.get_model_lineage(pb::GetModelLineageRequest { model: "nobody".into() }).await, Code::NotFound);
}

#[tokio::test]
async fn a_refused_license_that_nobody_knows_is_a_mistake() {
    let server = TestServer::in_memory();
    let channel = server.connect().await;
    let check = |deny: &str| pb::CheckEligibilityRequest {
        model: "microsoft/phi-2".into(),
        r#use: Some(pb::Use {
            requirements: Some(pb::Requirements { license_deny: vec![deny.into()], ..Default::default() }),
            ..facts(1)
        }),
        ..Default::default()
    };
    for spelling in ["MIT", "mit", "licenses/MIT"] {
        let decision = decide(&channel, check(spelling)).await;
        assert!(decision.findings.iter().any(|finding| finding.reason == "LICENSE_NOT_ALLOWED"), "{decision:#?}");
    }
    let mut client = EligibilityServiceClient::new(channel.clone());
    for (unknown, near) in [("Expat", ""), ("LicenseRef-Llama-3.3", "LicenseRef-Llama-3.3-Community")] {
        let status = client.check_eligibility(check(unknown)).await.unwrap_err();
        assert_eq!(status.code(), Code::InvalidArgument, "{status:?}");
        let told = status.get_details_bad_request().unwrap().field_violations.remove(0);
        assert_eq!(fields(&status), ["use.requirements.license_deny[0]"]);
        assert!(told.description.contains(near), "{}", told.description);
    }
}
