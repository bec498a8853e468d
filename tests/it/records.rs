//! Models and licenses over gRPC: the standard methods, etags, masks, layers, restarts.

use tonic::Code;
use weighbridge::pb::weighbridge::v1 as pb;
use weighbridge::pb::weighbridge::v1::eligibility_service_client::EligibilityServiceClient;
use weighbridge::pb::weighbridge::v1::license_service_client::LicenseServiceClient;
use weighbridge::pb::weighbridge::v1::model_service_client::ModelServiceClient;

use crate::harness::{TestServer, fields, reason, refused};

fn weights(expression: &str) -> pb::Component {
    pb::Component {
        kind: pb::component::Kind::ModelWeights as i32,
        availability: pb::component::Availability::Available as i32,
        license_expression: expression.into(),
        ..Default::default()
    }
}

fn create(id: &str, alias: &str) -> pb::CreateModelRequest {
    pb::CreateModelRequest {
        parent: "publishers/acme".into(),
        model_id: id.into(),
        model: Some(pb::Model {
            display_name: "Acme".into(),
            aliases: vec![alias.into()],
            components: vec![weights("Apache-2.0")],
            ..Default::default()
        }),
        validate_only: false,
        ..Default::default()
    }
}

#[tokio::test]
async fn a_model_is_created_read_changed_and_deleted() {
    let server = TestServer::in_memory();
    let mut models = ModelServiceClient::new(server.connect().await);
    let name = "publishers/acme/models/one".to_owned();

    let preview = pb::CreateModelRequest { validate_only: true, ..create("one", "Acme/One") };
    models.create_model(preview).await.unwrap();
    refused(models.get_model(pb::GetModelRequest { name: name.clone(), ..Default::default() }).await, Code::NotFound);

    let created = models.create_model(create("one", "Acme/One")).await.unwrap().into_inner();
    assert_eq!(created.name, name);
    assert_eq!(created.tier(), pb::Tier::OpenWeight);
    assert_eq!(created.components[0].evidence(), pb::Evidence::Confirmed);
    assert_eq!(created.origin(), pb::Origin::Operator);
    refused(models.create_model(create("one", "Acme/One")).await, Code::AlreadyExists);
    let taken = refused(models.create_model(create("two", "Acme/One")).await, Code::AlreadyExists);
    assert_eq!(reason(&taken), "ALIAS_TAKEN");

    let update = pb::UpdateModelRequest {
        model: Some(pb::Model {
            name: name.clone(),
            context_tokens: 4_096,
            etag: created.etag.clone(),
            ..Default::default()
        }),
        ..Default::default()
    };
    let updated = models.update_model(update.clone()).await.unwrap().into_inner();
    assert_eq!((updated.context_tokens, updated.display_name.as_str()), (4_096, "Acme"));
    assert!(updated.revision > created.revision && updated.etag != created.etag);
    assert_eq!(updated.create_time, created.create_time);
    refused(models.update_model(update).await, Code::Aborted);

    let mask = |path: &str| Some(prost_types::FieldMask { paths: vec![path.into()] });
    let bad_mask = pb::UpdateModelRequest {
        model: Some(pb::Model { name: name.clone(), ..Default::default() }),
        update_mask: mask("contxt_tokens"),
        ..Default::default()
    };
    let status = refused(models.update_model(bad_mask).await, Code::InvalidArgument);
    assert!(status.message().contains("did you mean `context_tokens`"), "{}", status.message());
    let cleared = pb::UpdateModelRequest {
        model: Some(pb::Model { name: name.clone(), ..Default::default() }),
        update_mask: mask("context_tokens"),
        ..Default::default()
    };
    assert_eq!(models.update_model(cleared).await.unwrap().into_inner().context_tokens, 0);

    let stale = pb::DeleteModelRequest { name: name.clone(), etag: created.etag, ..Default::default() };
    refused(models.delete_model(stale).await, Code::Aborted);
    let gone = pb::DeleteModelRequest { name: name.clone(), ..Default::default() };
    models.delete_model(gone.clone()).await.unwrap();
    refused(models.delete_model(gone).await, Code::NotFound);
}

#[tokio::test]
async fn a_conclusion_says_whose_it_is_and_confirms_the_license() {
    let server = TestServer::in_memory();
    let channel = server.connect().await;
    let mut models = ModelServiceClient::new(channel.clone());
    let with = |component: pb::Component| pb::CreateModelRequest {
        model: Some(pb::Model { components: vec![component], ..Default::default() }),
        ..create("one", "")
    };
    let conclusion = pb::Conclusion {
        reviewer: "legal@acme.example".into(),
        url: "https://acme.example/opinions/17".into(),
        date: "2026-03-01".into(),
        justification: "The text in the repository was read.".into(),
    };
    let nobody = pb::Component { conclusion: Some(pb::Conclusion::default()), ..weights("MIT") };
    let status = refused(models.create_model(with(nobody)).await, Code::InvalidArgument);
    let of = |field: &str| format!("model.components[0].conclusion.{field}");
    assert_eq!(fields(&status), [of("reviewer"), of("url"), of("date")]);
    let doubted =
        pb::Component { conclusion: Some(conclusion.clone()), evidence: pb::Evidence::Secondary as i32, ..weights("") };
    let status = refused(models.create_model(with(doubted)).await, Code::InvalidArgument);
    assert_eq!(fields(&status), ["model.components[0].evidence", "model.components[0].license_expression"]);

    let good = pb::Component { conclusion: Some(conclusion.clone()), ..weights("MIT") };
    let created = models.create_model(with(good)).await.unwrap().into_inner();
    assert_eq!(created.components[0].evidence(), pb::Evidence::Confirmed);
    assert_eq!(created.components[0].conclusion, Some(conclusion));
    let request = pb::CheckEligibilityRequest { model: created.name, ..Default::default() };
    let decision = EligibilityServiceClient::new(channel).check_eligibility(request).await.unwrap().into_inner();
    let findings = decision.decision.unwrap().findings;
    let evidence = findings.iter().find(|finding| finding.reason == "LICENSE_EVIDENCE").unwrap();
    for part in ["CONFIRMED", "legal@acme.example", "2026-03-01", "https://acme.example/opinions/17"] {
        assert!(evidence.message.contains(part), "{}", evidence.message);
    }
}

#[tokio::test]
async fn a_change_of_something_else_confirms_no_license() {
    let server = TestServer::in_memory();
    let mut models = ModelServiceClient::new(server.connect().await);
    let all = models.list_models(pb::ListModelsRequest { page_size: 1000, ..Default::default() }).await.unwrap();
    let weak =
        |model: &pb::Model| model.components.iter().any(|part| part.evidence() == pb::Evidence::GeneralKnowledge);
    let model = all.into_inner().models.into_iter().find(weak).unwrap();
    let update = pb::UpdateModelRequest {
        model: Some(pb::Model { name: model.name.clone(), family: "x".into(), ..Default::default() }),
        ..Default::default()
    };
    let updated = models.update_model(update).await.unwrap().into_inner();
    assert_eq!((updated.origin(), updated.components), (pb::Origin::Operator, model.components));
}

#[tokio::test]
async fn writing_the_same_record_again_consumes_no_revision() {
    let server = TestServer::in_memory();
    let mut models = ModelServiceClient::new(server.connect().await);
    let created = models.create_model(create("one", "Acme/One")).await.unwrap().into_inner();
    let same = pb::UpdateModelRequest {
        model: Some(created.clone()),
        update_mask: Some(prost_types::FieldMask { paths: vec!["*".into()] }),
        ..Default::default()
    };
    assert_eq!(models.update_model(same).await.unwrap().into_inner(), created);
}

#[tokio::test]
async fn a_built_in_record_is_overlaid_and_shows_again() {
    let server = TestServer::in_memory();
    let mut models = ModelServiceClient::new(server.connect().await);
    let all = models.list_models(pb::ListModelsRequest { page_size: 1, ..Default::default() }).await.unwrap();
    let built_in = all.into_inner().models.remove(0);
    assert_eq!(built_in.origin(), pb::Origin::BuiltIn);
    let delete = pb::DeleteModelRequest { name: built_in.name.clone(), ..Default::default() };
    let status = refused(models.delete_model(delete.clone()).await, Code::FailedPrecondition);
    assert_eq!(reason(&status), "BUILT_IN");

    let update = pb::UpdateModelRequest {
        model: Some(pb::Model { name: built_in.name.clone(), description: "ours".into(), ..Default::default() }),
        ..Default::default()
    };
    let overlaid = models.update_model(update).await.unwrap().into_inner();
    assert_eq!((overlaid.origin(), overlaid.description.as_str()), (pb::Origin::Operator, "ours"));
    assert_eq!(overlaid.components.len(), built_in.components.len());
    models.delete_model(delete).await.unwrap();
    let shown = models
        .get_model(pb::GetModelRequest { name: built_in.name.clone(), ..Default::default() })
        .await
        .unwrap()
        .into_inner();
    assert_eq!(shown, built_in);
}

#[tokio::test]
async fn a_circle_in_the_lineage_is_refused() {
    let server = TestServer::in_memory();
    let mut models = ModelServiceClient::new(server.connect().await);
    let made_from = |id: &str, base: &str| {
        let mut request = create(id, &format!("Acme/{id}"));
        let base = pb::BaseModel { model: format!("publishers/acme/models/{base}"), ..Default::default() };
        request.model.as_mut().unwrap().base_models = vec![base];
        request
    };
    models.create_model(made_from("a", "b")).await.unwrap();
    let status = refused(models.create_model(made_from("b", "a")).await, Code::FailedPrecondition);
    assert_eq!(reason(&status), "LINEAGE_CYCLE");
    let itself = refused(models.create_model(made_from("c", "c")).await, Code::InvalidArgument);
    assert_eq!(fields(&itself), ["model.base_models[0].model"]);
}

#[tokio::test]
async fn pages_follow_one_another_and_their_tokens_are_bound() {
    let server = TestServer::in_memory();
    let mut models = ModelServiceClient::new(server.connect().await);
    let list = |size: i32, token: &str, parent: &str| pb::ListModelsRequest {
        page_size: size,
        page_token: token.into(),
        parent: parent.into(),
        ..Default::default()
    };
    let mut whole = models.list_models(list(1_000, "", "")).await.unwrap().into_inner();
    let rest = models.list_models(list(1_000, &whole.next_page_token, "")).await.unwrap().into_inner();
    assert_eq!((rest.total_size, rest.next_page_token.as_str()), (whole.total_size, ""));
    whole.models.extend(rest.models);
    let mut names = Vec::new();
    let mut token = String::new();
    loop {
        let page = models.list_models(list(97, &token, "publishers/-")).await.unwrap().into_inner();
        assert_eq!(page.total_size, whole.total_size);
        names.extend(page.models.into_iter().map(|m| m.name));
        if page.next_page_token.is_empty() {
            break;
        }
        token = page.next_page_token;
    }
    assert_eq!(names, whole.models.iter().map(|m| m.name.clone()).collect::<Vec<_>>());
    let first = models.list_models(list(1, "", "")).await.unwrap().into_inner().next_page_token;
    let other = refused(models.list_models(list(1, &first, "publishers/meta")).await, Code::InvalidArgument);
    assert_eq!(fields(&other), ["page_token"]);
    refused(models.list_models(list(1, "garbage", "")).await, Code::InvalidArgument);
    refused(models.list_models(list(-1, "", "")).await, Code::InvalidArgument);
    refused(models.list_models(list(1_001, "", "")).await, Code::InvalidArgument);
    refused(models.list_models(list(1, "", "meta")).await, Code::InvalidArgument);
}

#[tokio::test]
async fn a_batch_keeps_its_order_and_names_what_is_missing() {
    let server = TestServer::in_memory();
    let mut models = ModelServiceClient::new(server.connect().await);
    let all = models.list_models(pb::ListModelsRequest { page_size: 3, ..Default::default() }).await.unwrap();
    let mut names: Vec<String> = all.into_inner().models.into_iter().map(|m| m.name).collect();
    names.reverse();
    let request = pb::BatchGetModelsRequest { names: names.clone(), ..Default::default() };
    let got = models.batch_get_models(request).await.unwrap().into_inner().models;
    assert_eq!(got.into_iter().map(|m| m.name).collect::<Vec<_>>(), names);
    let missing = ["publishers/x/models/a", "publishers/x/models/b"].map(str::to_owned).to_vec();
    let request = pb::BatchGetModelsRequest { names: missing.clone(), ..Default::default() };
    let status = refused(models.batch_get_models(request).await, Code::NotFound);
    assert!(missing.iter().all(|name| status.message().contains(name.as_str())), "{}", status.message());
    let bad = ["x", "y"].map(str::to_owned).to_vec();
    let request = pb::BatchGetModelsRequest { names: bad, ..Default::default() };
    assert_eq!(
        fields(&refused(models.batch_get_models(request).await, Code::InvalidArgument)),
        ["names[0]", "names[1]"]
    );
}

fn license(id: &str) -> pb::License {
    pb::License {
        name: format!("licenses/{id}"),
        display_name: "Acme License".into(),
        category: pb::license::Category::OpenWeightPermissive as i32,
        confidence: pb::license::Confidence::ReadFullText as i32,
        permissions: Some(pb::Permissions {
            r#use: Some(pb::Permission { status: pb::permission::Status::Allowed as i32, ..Default::default() }),
            commercial_use: Some(pb::Permission {
                status: pb::permission::Status::Allowed as i32,
                ..Default::default()
            }),
            ..Default::default()
        }),
        ..Default::default()
    }
}

#[tokio::test]
async fn an_unknown_license_is_reviewed_until_somebody_adds_its_terms() {
    let server = TestServer::in_memory();
    let channel = server.connect().await;
    let mut models = ModelServiceClient::new(channel.clone());
    let mut licenses = LicenseServiceClient::new(channel.clone());
    let mut model = create("custom", "Acme/Custom");
    model.model.as_mut().unwrap().components = vec![weights("LicenseRef-Acme-1.0")];
    models.create_model(model).await.unwrap();
    let verdict = || async { crate::service::verdict(channel.clone(), "Acme/Custom").await };
    assert_eq!(verdict().await, (pb::Verdict::NeedsReview, vec!["LICENSE_UNKNOWN".to_owned()]));

    let request = pb::CreateLicenseRequest {
        license_id: "LicenseRef-Acme-1.0".into(),
        license: Some(license("LicenseRef-Acme-1.0")),
        validate_only: false,
        ..Default::default()
    };
    licenses.create_license(request).await.unwrap();
    assert_eq!(verdict().await, (pb::Verdict::Eligible, vec![]));
    let delete = pb::DeleteLicenseRequest { name: "licenses/LicenseRef-Acme-1.0".into(), ..Default::default() };
    let status = refused(licenses.delete_license(delete).await, Code::FailedPrecondition);
    assert_eq!(reason(&status), "LICENSE_IN_USE");
}

#[tokio::test]
async fn a_license_says_everything_that_is_wrong_with_it() {
    let server = TestServer::in_memory();
    let mut licenses = LicenseServiceClient::new(server.connect().await);
    let bad = pb::License {
        version_date: "2025-02-31".into(),
        duties: vec![pb::LicenseDuty { kind: "atribution_notice".into(), ..Default::default() }],
        use_restrictions: vec![pb::UseRestriction { category: "militry".into(), ..Default::default() }],
        scale_gates: vec![pb::ScaleGate { metric: "users".into(), ..Default::default() }],
        territory: Some(pb::Territory { excluded: vec!["Atlantis".into()], ..Default::default() }),
        ..license("LicenseRef-Bad")
    };
    let request = pb::CreateLicenseRequest {
        license_id: "LicenseRef-Bad".into(),
        license: Some(bad),
        validate_only: true,
        ..Default::default()
    };
    let status = refused(licenses.create_license(request).await, Code::InvalidArgument);
    let found = fields(&status);
    for field in [
        "license.version_date",
        "license.duties[0].kind",
        "license.duties[0].when",
        "license.use_restrictions[0].strength",
        "license.scale_gates[0].comparison",
        "license.scale_gates[0].effect",
        "license.scale_gates[0].threshold",
        "license.scale_gates[0].measured",
        "license.territory.excluded",
    ] {
        assert!(found.iter().any(|f| f == field), "{field} is not among {found:?}");
    }
    assert!(status.message().contains("attribution_notice"), "{}", status.message());
    let unknown = pb::CreateLicenseRequest {
        license_id: "LicenseRef-Unknown".into(),
        license: Some(license("LicenseRef-Unknown")),
        validate_only: true,
        ..Default::default()
    };
    refused(licenses.create_license(unknown).await, Code::InvalidArgument);
    let near = pb::GetLicenseRequest { name: "licenses/Apache-2".into(), ..Default::default() };
    let status = refused(licenses.get_license(near).await, Code::NotFound);
    assert!(status.message().contains("licenses/Apache-2.0"), "{}", status.message());
}

#[tokio::test]
async fn records_outlive_the_server() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("data");
    let created = {
        let server = TestServer::at(&path);
        let mut models = ModelServiceClient::new(server.connect().await);
        let created = models.create_model(create("one", "Acme/One")).await.unwrap().into_inner();
        drop(models);
        server.stop().unwrap();
        created
    };
    let server = TestServer::at(&path);
    let mut models = ModelServiceClient::new(server.connect().await);
    let read = models
        .get_model(pb::GetModelRequest { name: created.name.clone(), ..Default::default() })
        .await
        .unwrap()
        .into_inner();
    assert_eq!(read, created);
    // Nothing of the built-in catalog was written a second time.
    let status = crate::service::status(server.connect().await).await;
    assert_eq!(status.revision, created.revision);
}
