//! The history of models and licenses over gRPC.

use tonic::Code;
use weighbridge::pb::weighbridge::v1 as pb;
use weighbridge::pb::weighbridge::v1::RevisionChange::{Created, Deleted, Hidden, Updated};
use weighbridge::pb::weighbridge::v1::import_models_request::Payload;
use weighbridge::pb::weighbridge::v1::license_service_client::LicenseServiceClient;
use weighbridge::pb::weighbridge::v1::model_service_client::ModelServiceClient;

use crate::harness::{TestServer, fields, new_store_to_compact, reason, refused};

type Models = ModelServiceClient<tonic::transport::Channel>;

async fn describe(models: &mut Models, name: &str, description: &str) -> pb::Model {
    let model = pb::Model { name: name.into(), description: description.into(), ..Default::default() };
    let request = pb::UpdateModelRequest { model: Some(model), allow_missing: true, ..Default::default() };
    models.update_model(request).await.unwrap().into_inner()
}

async fn delete(models: &mut Models, name: &str) {
    let request = pb::DeleteModelRequest { name: name.into(), ..Default::default() };
    models.delete_model(request).await.unwrap();
}

/// Every page of a history.
async fn history(models: &mut Models, name: &str, page_size: i32) -> Vec<pb::ModelRevision> {
    let (mut all, mut page_token) = (Vec::new(), String::new());
    loop {
        let request = pb::ListModelRevisionsRequest { name: name.into(), page_size, page_token };
        let page = models.list_model_revisions(request).await.unwrap().into_inner();
        assert!(page.revisions.len() <= usize::try_from(page_size).unwrap());
        all.extend(page.revisions);
        page_token = page.next_page_token;
        if page_token.is_empty() {
            return all;
        }
    }
}

#[tokio::test]
async fn a_history_tells_what_showed_over_all_layers() {
    let (store, _alone) = new_store_to_compact();
    let server = TestServer::on(store.clone());
    let channel = server.connect().await;
    let mut models = ModelServiceClient::new(channel.clone());
    let llama = "publishers/meta/models/llama-3.3-70b-instruct";
    let get = pb::GetModelRequest { name: llama.into(), ..Default::default() };
    let built_in = models.get_model(get).await.unwrap().into_inner();
    let first = describe(&mut models, llama, "ours").await;
    let second = describe(&mut models, llama, "still ours").await;
    // An import changes what is merged below the operator's record.
    let config = pb::ImportConfig {
        source: pb::ImportSource::ModelCard as i32,
        repository: "meta-llama/Llama-3.3-70B-Instruct".into(),
        ..Default::default()
    };
    let card = b"---\nlicense: mit\n---\n".to_vec();
    let payloads = [Payload::Config(config), Payload::Chunk(card)];
    let parts = payloads.map(|payload| pb::ImportModelsRequest { payload: Some(payload) });
    models.import_models(tokio_stream::iter(parts)).await.unwrap();
    delete(&mut models, llama).await;

    let all = history(&mut models, llama, 50).await;
    let changes: Vec<_> = all.iter().map(|entry| (entry.change(), entry.origin())).collect();
    let (operator, imported, of_release) = (pb::Origin::Operator, pb::Origin::Imported, pb::Origin::BuiltIn);
    let expected =
        [(Updated, operator), (Hidden, imported), (Updated, operator), (Updated, operator), (Created, of_release)];
    assert_eq!(changes, expected);
    let shown: Vec<_> = all.iter().rev().take(3).map(|entry| entry.model.clone().unwrap()).collect();
    assert_eq!(shown, [built_in.clone(), first.clone(), second]);
    assert!(all[0].model.as_ref().unwrap().origin() != operator);
    assert!(all.iter().all(|entry| entry.create_time.is_some()));
    assert!(all.last().unwrap().actor.starts_with("builtin/") && all[0].actor == "operator");
    assert!(all.is_sorted_by(|a, b| a.revision > b.revision));
    for entry in &all {
        // It is what the registry says of that revision.
        let get = pb::GetModelRequest { name: llama.into(), as_of_revision: entry.revision, ..Default::default() };
        assert_eq!(models.get_model(get).await.unwrap().into_inner(), *entry.model.as_ref().unwrap());
    }
    for size in 1..6 {
        assert_eq!(history(&mut models, llama, size).await, all, "pages of {size}");
    }

    // One that is gone, and came again.
    let gone = "publishers/acme/models/gone";
    describe(&mut models, gone, "one").await;
    delete(&mut models, gone).await;
    describe(&mut models, gone, "two").await;
    delete(&mut models, gone).await;
    let all = history(&mut models, gone, 1).await;
    let told: Vec<_> = all
        .iter()
        .map(|entry| (entry.change(), entry.model.as_ref().map(|model| model.description.as_str())))
        .collect();
    assert_eq!(told, [(Deleted, None), (Created, Some("two")), (Deleted, None), (Created, Some("one"))]);

    // What was let go of is told no more, and what is left says whose it is by itself.
    let newest = store.status().revision;
    store.compact(newest).await.unwrap();
    let request = pb::ListModelRevisionsRequest { name: llama.into(), ..Default::default() };
    let left = models.list_model_revisions(request).await.unwrap().into_inner();
    assert_eq!(left.oldest_revision, i64::try_from(newest).unwrap());
    let entry = left.revisions.last().unwrap();
    assert_eq!((entry.change(), entry.origin(), entry.model.as_ref()), (Created, of_release, Some(&built_in)));
    assert!(entry.actor.starts_with("builtin/") && entry.create_time == built_in.update_time);
    let request = pb::ListModelRevisionsRequest { name: gone.into(), ..Default::default() };
    refused(models.list_model_revisions(request).await, Code::NotFound);
    // It was written twice before the floor: it is no new one.
    describe(&mut models, gone, "three").await;
    describe(&mut models, gone, "four").await;
    store.compact(store.status().revision).await.unwrap();
    let entry = history(&mut models, gone, 50).await.remove(0);
    assert_eq!((entry.change(), entry.actor.as_str()), (Updated, "operator"));
}

#[tokio::test]
async fn a_history_of_nothing_is_not_found() {
    let server = TestServer::in_memory();
    let channel = server.connect().await;
    let mut models = ModelServiceClient::new(channel.clone());
    let mut licenses = LicenseServiceClient::new(channel);
    let request = pb::ListModelRevisionsRequest {
        name: "publishers/meta/models/llama-3.3-70b-instrct".into(),
        ..Default::default()
    };
    let status = refused(models.list_model_revisions(request).await, Code::NotFound);
    assert!(status.message().contains("publishers/meta/models/llama-3.3-70b-instruct"), "{}", status.message());
    let request = pb::ListModelRevisionsRequest { name: "llama".into(), page_size: -1, ..Default::default() };
    let status = refused(models.list_model_revisions(request).await, Code::InvalidArgument);
    assert_eq!(fields(&status), ["name", "page_size"]);
    let request = pb::ListLicenseRevisionsRequest { name: "licenses/Apache-2".into(), ..Default::default() };
    let status = refused(licenses.list_license_revisions(request).await, Code::NotFound);
    assert_eq!(reason(&status), "NOT_FOUND");
    assert!(status.message().contains("licenses/Apache-2.0"), "{}", status.message());
    let request = pb::ListLicenseRevisionsRequest {
        name: "licenses/MIT".into(),
        page_token: "bm9uZQ".into(),
        ..Default::default()
    };
    let status = refused(licenses.list_license_revisions(request).await, Code::InvalidArgument);
    assert_eq!(fields(&status), ["page_token"]);

    let license = pb::License { name: "licenses/MIT".into(), notes: vec!["Ours.".into()], ..Default::default() };
    let request = pb::UpdateLicenseRequest { license: Some(license), ..Default::default() };
    let ours = licenses.update_license(request).await.unwrap().into_inner();
    let request = pb::ListLicenseRevisionsRequest { name: "licenses/MIT".into(), ..Default::default() };
    let told = licenses.list_license_revisions(request).await.unwrap().into_inner().revisions;
    assert_eq!(told.iter().map(pb::LicenseRevision::change).collect::<Vec<_>>(), [Updated, Created]);
    assert_eq!((told[0].license.as_ref(), told[0].actor.as_str()), (Some(&ours), "operator"));
}
