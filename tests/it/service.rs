//! The check, resolving, openness, status, reflection and health over gRPC.

use tonic::Code;
use tonic::transport::Channel;
use weighbridge::pb::weighbridge::v1 as pb;
use weighbridge::pb::weighbridge::v1::admin_service_client::AdminServiceClient;
use weighbridge::pb::weighbridge::v1::eligibility_service_client::EligibilityServiceClient;
use weighbridge::pb::weighbridge::v1::license_service_client::LicenseServiceClient;
use weighbridge::pb::weighbridge::v1::model_service_client::ModelServiceClient;

use crate::harness::{TestServer, fields, reason, refused};

/// Verdict on a plain commercial use, and the reasons that decided it.
pub async fn verdict(channel: Channel, model: &str) -> (pb::Verdict, Vec<String>) {
    let use_ = pb::Use {
        purpose: pb::Purpose::Commercial as i32,
        hosting: pb::Hosting::SelfHosted as i32,
        ..Default::default()
    };
    let request = pb::CheckEligibilityRequest { model: model.into(), r#use: Some(use_), ..Default::default() };
    let response = EligibilityServiceClient::new(channel).check_eligibility(request).await.unwrap();
    let decision = response.into_inner().decision.unwrap();
    let grave = |f: &&pb::Finding| matches!(f.effect(), pb::Effect::Blocks | pb::Effect::Review);
    (decision.verdict(), decision.findings.iter().filter(grave).map(|f| f.reason.clone()).collect())
}

pub async fn status(channel: Channel) -> pb::GetStatusResponse {
    AdminServiceClient::new(channel).get_status(pb::GetStatusRequest::default()).await.unwrap().into_inner()
}

fn check(model: &str, use_: pb::Use) -> pb::CheckEligibilityRequest {
    pb::CheckEligibilityRequest { model: model.into(), r#use: Some(use_), ..Default::default() }
}

const LLAMA: &str = "meta-llama/Llama-3.3-70B-Instruct";

#[tokio::test]
async fn a_decision_names_clause_figures_and_sources() {
    let server = TestServer::in_memory();
    let mut client = EligibilityServiceClient::new(server.connect().await);
    let use_ = pb::Use {
        purpose: pb::Purpose::Commercial as i32,
        hosting: pb::Hosting::SelfHosted as i32,
        measures: vec![pb::Measure {
            metric: "monthly_active_users".into(),
            subject: pb::MeasureSubject::Group as i32,
            period: "2024-11".into(),
            value: Some(800_000_000),
        }],
        ..Default::default()
    };
    let decision = client.check_eligibility(check(LLAMA, use_)).await.unwrap().into_inner().decision.unwrap();
    assert_eq!(decision.verdict(), pb::Verdict::Ineligible);
    assert_eq!(decision.model, "publishers/meta/models/llama-3.3-70b-instruct");
    let first = &decision.findings[0];
    assert_eq!(first.reason, "SCALE_GATE_EXCEEDED");
    assert!(first.message.contains("800,000,000") && first.message.contains("700,000,000"), "{}", first.message);
    let origin = first.origin.as_ref().unwrap();
    assert_eq!((origin.license.as_str(), origin.clause.as_str()), ("licenses/LicenseRef-Llama-3.3-Community", "2"));
    assert!(origin.url.starts_with("https://"));
    assert_eq!(first.facts, ["role", "measures"]);
    assert!(decision.sources.iter().any(|s| s.title.contains("Llama 3.3")));
    assert!(decision.revision > 0);
}

#[tokio::test]
async fn a_request_says_everything_that_is_wrong_with_it() {
    let server = TestServer::in_memory();
    let mut client = EligibilityServiceClient::new(server.connect().await);
    let use_ = pb::Use {
        purpose: 99,
        hosting: -1,
        activities: vec![0, 77],
        categories: vec!["medical-advise".into(), "x".repeat(10_000)],
        fulfilled_duties: vec!["registraton".into()],
        deployment_countries: vec!["UK".into()],
        end_user_countries: vec!["Germany".into()],
        provider: "providers/Not A Provider".into(),
        organization: Some(pb::Organization {
            country: "XX".into(),
            business_types: vec!["none".into(), "model-as-a-servce".into()],
            monthly_active_users: Some(-1),
            ..Default::default()
        }),
        measures: vec![pb::Measure {
            metric: "users".into(),
            period: "2024-13".into(),
            value: Some(-5),
            ..Default::default()
        }],
        requirements: Some(pb::Requirements {
            min_tier: 42,
            license_allow: vec!["not a license".into()],
            ..Default::default()
        }),
        ..Default::default()
    };
    let status = refused(client.check_eligibility(check("", use_)).await, Code::InvalidArgument);
    let found = fields(&status);
    for field in [
        "model",
        "use.purpose",
        "use.hosting",
        "use.activities[0]",
        "use.activities[1]",
        "use.categories[0]",
        "use.categories[1]",
        "use.fulfilled_duties[0]",
        "use.deployment_countries[0]",
        "use.end_user_countries[0]",
        "use.provider",
        "use.organization.country",
        "use.organization.business_types",
        "use.organization.business_types[1]",
        "use.organization.monthly_active_users",
        "use.measures[0].metric",
        "use.measures[0].subject",
        "use.measures[0].period",
        "use.measures[0].value",
        "use.requirements.min_tier",
        "use.requirements.license_allow[0]",
    ] {
        assert!(found.iter().any(|f| f == field), "{field} is not among {found:?}");
    }
    let details = tonic_types::StatusExt::get_error_details(&status);
    let said = |field: &str| {
        let violations = &details.bad_request().unwrap().field_violations;
        violations.iter().find(|v| v.field == field).unwrap().description.clone()
    };
    assert!(said("use.categories[0]").contains("did you mean `medical-advice`"), "{}", said("use.categories[0]"));
    assert!(said("use.fulfilled_duties[0]").contains("`registration`"));
    assert!(said("use.deployment_countries[0]").contains("`GB`"));
    assert!(said("use.categories[1]").len() < 500);
}

#[tokio::test]
async fn features_that_are_not_built_yet_are_refused_and_never_ignored() {
    let server = TestServer::in_memory();
    let mut client = EligibilityServiceClient::new(server.connect().await);
    let mut refuse = async |request: pb::CheckEligibilityRequest, field: &str| {
        let status = refused(client.check_eligibility(request).await, Code::Unimplemented);
        assert_eq!(fields(&status), [field]);
    };
    let needs = |r: pb::Requirements| pb::Use { requirements: Some(r), ..Default::default() };
    let price = pb::Requirements { max_input_price: Some(0.0), ..Default::default() };
    refuse(check(LLAMA, needs(price)), "use.requirements.max_input_price").await;
    let residency = pb::Requirements { data_residency_countries: vec!["DE".into()], ..Default::default() };
    refuse(check(LLAMA, needs(residency)), "use.requirements.data_residency_countries").await;
}

#[tokio::test]
async fn labels_are_bounded() {
    let server = TestServer::in_memory();
    let mut client = EligibilityServiceClient::new(server.connect().await);
    let labels = |labels: Vec<(String, String)>| {
        check(LLAMA, pb::Use { labels: labels.into_iter().collect(), ..Default::default() })
    };
    let many: Vec<_> = (0..65).map(|i| (format!("k{i}"), String::new())).collect();
    for (given, field) in [
        (many.clone(), "use.labels"),
        (vec![(String::new(), "x".into())], "use.labels"),
        (vec![("a b".into(), "x".into())], "use.labels"),
        (vec![("k".repeat(64), "x".into())], "use.labels"),
        (vec![("k".into(), "x".repeat(257))], "use.labels[k]"),
    ] {
        let status = refused(client.check_eligibility(labels(given)).await, Code::InvalidArgument);
        assert_eq!(fields(&status), [field]);
    }
    client.check_eligibility(labels(many[..64].to_vec())).await.unwrap();
    client.check_eligibility(labels(vec![("team/k".into(), "ü".repeat(256))])).await.unwrap();
}

#[tokio::test]
async fn ids_of_any_spelling_lead_to_the_model() {
    let server = TestServer::in_memory();
    let mut models = ModelServiceClient::new(server.connect().await);
    let name = "publishers/meta/models/llama-3.3-70b-instruct";
    for (alias, stage) in [
        (name, pb::alias_match::Stage::Name),
        ("meta/llama-3.3-70b-instruct", pb::alias_match::Stage::Name),
        (LLAMA, pb::alias_match::Stage::Alias),
        ("META-LLAMA/llama 3.3-70B_instruct", pb::alias_match::Stage::FoldedAlias),
    ] {
        let request = pb::ResolveModelRequest { alias: alias.into(), ..Default::default() };
        let response = models.resolve_model(request).await.unwrap().into_inner();
        assert_eq!(response.model.unwrap().name, name, "{alias}");
        assert_eq!(response.r#match.unwrap().stage(), stage, "{alias}");
    }
    let typo = pb::ResolveModelRequest { alias: "meta-llama/Llama-3.3-70B-Instrct".into(), ..Default::default() };
    let status = refused(models.resolve_model(typo).await, Code::NotFound);
    assert!(status.message().contains(LLAMA), "{}", status.message());
    for alias in ["", "   ", "publishers/Meta/models/x", "publishers/meta"] {
        refused(
            models.resolve_model(pb::ResolveModelRequest { alias: alias.into(), ..Default::default() }).await,
            Code::InvalidArgument,
        );
    }
    let long = pb::ResolveModelRequest { alias: "é".repeat(100_000), ..Default::default() };
    let status = refused(models.resolve_model(long).await, Code::NotFound);
    assert!(status.message().len() < 1_000);
}

#[tokio::test]
async fn openness_says_why() {
    let server = TestServer::in_memory();
    let mut models = ModelServiceClient::new(server.connect().await);
    let mut assess = async |model: &str| {
        let request = pb::AssessOpennessRequest { model: model.into() };
        models.assess_openness(request).await.unwrap().into_inner().assessment.unwrap()
    };
    let olmo = assess("allenai/OLMo-2-1124-7B").await;
    assert_eq!(olmo.tier(), pb::Tier::OpenSource, "{:?}", olmo.reasons);
    let llama = assess(LLAMA).await;
    assert_eq!(llama.tier(), pb::Tier::OpenWeight);
    assert!(!llama.strict_open_source);
    assert!(llama.reasons.iter().any(|r| r.contains("training data")), "{:?}", llama.reasons);
    assert_eq!(llama.mof.unwrap().framework_version, "1.0");
}

#[tokio::test]
async fn licenses_stand_side_by_side() {
    let server = TestServer::in_memory();
    let mut client = LicenseServiceClient::new(server.connect().await);
    let mut compare = async |ids: &[&str]| {
        let names = ids.iter().map(|id| format!("licenses/{id}")).collect();
        client.compare_licenses(pb::CompareLicensesRequest { names }).await.map(tonic::Response::into_inner)
    };
    let three = ["MIT", "LicenseRef-Llama-3.1-Community", "LicenseRef-Llama-3.3-Community"];
    let topics = compare(&three).await.unwrap().topics;
    let words = |topic: &str| {
        let topic = topics.iter().find(|t| t.topic == topic).unwrap_or_else(|| panic!("no {topic}"));
        (topic.sides.iter().map(|side| &*side.words).collect::<Vec<_>>(), topic.differs)
    };
    let (gate, differs) = words("scale gate monthly active users");
    assert!(
        differs && gate[0] == "no limit" && gate[1].contains("700,000,000") && gate[2].contains("2024-11"),
        "{gate:?}"
    );
    assert_eq!(words("permission use"), (vec!["granted"; 3], false));
    // What a policy that the license brings in bars counts, too.
    let barred: Vec<_> = topics.iter().filter(|t| t.topic.starts_with("barred use")).collect();
    assert!(barred.len() > 10 && barred.iter().all(|t| t.sides[0].words == "not barred"), "{barred:?}");

    let too_few = compare(&["MIT"]).await;
    assert_eq!(fields(&refused(too_few, Code::InvalidArgument)), ["names"]);
    let bad = compare(&["MIT", "", "not an id"]).await;
    assert_eq!(fields(&refused(bad, Code::InvalidArgument)), ["names[1]", "names[2]"]);
    let unknown = refused(compare(&["MIT", "Apache-2"]).await, Code::NotFound);
    assert!(unknown.message().contains("Apache-2.0"), "{unknown:?}");
    refused(compare(&["MIT", "Zed"]).await, Code::FailedPrecondition);
    refused(compare(&["MIT"; 9]).await, Code::InvalidArgument);
}

#[tokio::test]
async fn a_revision_that_does_not_come_is_said() {
    let server = TestServer::in_memory();
    let mut client = EligibilityServiceClient::new(server.connect().await);
    let request = pb::CheckEligibilityRequest { min_revision: i64::MAX, ..check(LLAMA, pb::Use::default()) };
    let status = refused(client.check_eligibility(request).await, Code::FailedPrecondition);
    assert_eq!(reason(&status), "REVISION_NOT_REACHED");
}

#[tokio::test]
async fn health_and_reflection_answer_and_the_server_stops_in_order() {
    use tonic_health::pb::health_client::HealthClient;
    use tonic_health::pb::{HealthCheckRequest, health_check_response::ServingStatus};
    use tonic_reflection::pb::v1::server_reflection_client::ServerReflectionClient;
    use tonic_reflection::pb::v1::server_reflection_request::MessageRequest;
    use tonic_reflection::pb::v1::server_reflection_response::MessageResponse;

    let server = TestServer::in_memory();
    let channel = server.connect().await;
    let mut health = HealthClient::new(channel.clone());
    let mut watched = health
        .watch(HealthCheckRequest { service: "weighbridge.v1.EligibilityService".into() })
        .await
        .unwrap()
        .into_inner();
    // The first answer may come before the workers are up.
    while watched.message().await.unwrap().unwrap().status() != ServingStatus::Serving {}

    let mut reflection = ServerReflectionClient::new(channel.clone());
    let ask = tonic_reflection::pb::v1::ServerReflectionRequest {
        host: String::new(),
        message_request: Some(MessageRequest::ListServices(String::new())),
    };
    let mut answers = reflection.server_reflection_info(tokio_stream::iter([ask])).await.unwrap().into_inner();
    let Some(MessageResponse::ListServicesResponse(list)) = answers.message().await.unwrap().unwrap().message_response
    else {
        panic!("no list of services")
    };
    let names: Vec<String> = list.service.into_iter().map(|s| s.name).collect();
    for name in ["weighbridge.v1.EligibilityService", "weighbridge.v1.AdminService", "grpc.health.v1.Health"] {
        assert!(names.iter().any(|n| n == name), "{name} is not among {names:?}");
    }
    drop(answers);

    let stopping = std::thread::spawn(move || server.stop());
    // A watcher hears that the server stops before its stream ends.
    let mut heard = false;
    while let Ok(Some(update)) = watched.message().await {
        heard |= update.status() == ServingStatus::NotServing;
    }
    assert!(heard);
    drop((watched, health, reflection, channel));
    stopping.join().unwrap().unwrap();
}
