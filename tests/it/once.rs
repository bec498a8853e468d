//! Requests with an id are done once.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tonic::Code;
use tonic::transport::Channel;
use weighbridge::pb::weighbridge::v1 as pb;
use weighbridge::pb::weighbridge::v1::license_service_client::LicenseServiceClient;
use weighbridge::pb::weighbridge::v1::model_service_client::ModelServiceClient;
use weighbridge::pb::weighbridge::v1::use_profile_service_client::UseProfileServiceClient;
use weighbridge::pb::weighbridge::v1::waiver_service_client::WaiverServiceClient;
use weighbridge::store::{Hook, SledOptions, SledStore, Step, Store};

use crate::harness::{TestServer, fields, new_store_to_compact, refused, store_at};
use crate::service::status;

fn create(model_id: &str, request_id: &str) -> pb::CreateModelRequest {
    pb::CreateModelRequest {
        parent: "publishers/acme".into(),
        model_id: model_id.into(),
        model: Some(pb::Model { display_name: "Acme".into(), ..Default::default() }),
        request_id: request_id.into(),
        ..Default::default()
    }
}

fn describe(name: &str, description: &str, request_id: &str) -> pb::UpdateModelRequest {
    pb::UpdateModelRequest {
        model: Some(pb::Model { name: name.into(), description: description.into(), ..Default::default() }),
        request_id: request_id.into(),
        ..Default::default()
    }
}

fn delete(name: &str, request_id: &str) -> pb::DeleteModelRequest {
    pb::DeleteModelRequest { name: name.into(), request_id: request_id.into(), ..Default::default() }
}

const NAME: &str = "publishers/acme/models/one";

#[tokio::test]
async fn a_request_with_an_id_is_done_once() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store");
    let store = store_at(&path);
    let server = TestServer::on(store.clone());
    let channel = server.connect().await;
    let mut models = ModelServiceClient::new(channel.clone());
    let created = models.create_model(create("one", "create-1")).await.unwrap().into_inner();
    assert_eq!(models.create_model(create("one", "create-1")).await.unwrap().into_inner(), created);
    refused(models.create_model(create("one", "create-2")).await, Code::AlreadyExists);
    let other = refused(models.create_model(create("two", "create-1")).await, Code::InvalidArgument);
    assert_eq!(fields(&other), ["request_id"]);
    // An id is one for all methods.
    let other = refused(models.delete_model(delete(NAME, "create-1")).await, Code::InvalidArgument);
    assert_eq!(fields(&other), ["request_id"]);

    let updated = models.update_model(describe(NAME, "first", "update-1")).await.unwrap().into_inner();
    let later = models.update_model(describe(NAME, "second", "update-2")).await.unwrap().into_inner();
    let before = status(channel.clone()).await.revision;
    // The record has changed since.
    assert_eq!(models.update_model(describe(NAME, "first", "update-1")).await.unwrap().into_inner(), updated);
    assert_eq!(models.create_model(create("one", "create-1")).await.unwrap().into_inner(), created);
    models.delete_model(delete(NAME, "delete-1")).await.unwrap();
    // It is gone since.
    models.delete_model(delete(NAME, "delete-1")).await.unwrap();
    refused(models.delete_model(delete(NAME, "delete-2")).await, Code::NotFound);
    assert_eq!(models.update_model(describe(NAME, "second", "update-2")).await.unwrap().into_inner(), later);
    let only_commit = store.changes_since(before.try_into().unwrap(), 9).await.unwrap();
    assert_eq!((only_commit.len(), only_commit[0].writes.len()), (1, 1));
    assert_eq!(status(channel).await.revision, i64::try_from(only_commit[0].revision).unwrap());
    drop((models, store));
    server.stop().unwrap();

    let server = TestServer::at(&path);
    let channel = server.connect().await;
    let mut models = ModelServiceClient::new(channel.clone());
    let before = status(channel.clone()).await.revision;
    assert_eq!(models.create_model(create("one", "create-1")).await.unwrap().into_inner(), created);
    assert_eq!(models.update_model(describe(NAME, "first", "update-1")).await.unwrap().into_inner(), updated);
    models.delete_model(delete(NAME, "delete-1")).await.unwrap();
    refused(models.create_model(create("two", "update-1")).await, Code::InvalidArgument);
    assert_eq!(status(channel).await.revision, before);
}

#[tokio::test]
async fn what_did_nothing_is_not_remembered() {
    let server = TestServer::in_memory();
    let mut models = ModelServiceClient::new(server.connect().await);
    let only_checked = pb::CreateModelRequest { validate_only: true, ..create("one", "id") };
    models.create_model(only_checked.clone()).await.unwrap();
    refused(
        models.create_model(pb::CreateModelRequest { model: None, ..create("one", "id") }).await,
        Code::InvalidArgument,
    );
    models.create_model(create("one", "id")).await.unwrap();
    // Asked to check it is checked, whatever its id did.
    refused(models.create_model(only_checked).await, Code::AlreadyExists);
    let same = models.update_model(describe(NAME, "", "same")).await.unwrap().into_inner();
    assert_eq!(models.update_model(describe(NAME, "", "same")).await.unwrap().into_inner(), same);
    models.create_model(create("two", "same")).await.unwrap();
}

#[tokio::test]
async fn a_bad_id_is_told_with_everything_else() {
    let server = TestServer::in_memory();
    let mut models = ModelServiceClient::new(server.connect().await);
    for id in ["two words", "ümlaut", "line\n", &"x".repeat(129)] {
        let status = refused(models.create_model(create("Not A Model", id)).await, Code::InvalidArgument);
        assert_eq!(fields(&status), ["request_id", "model_id"]);
        let status = refused(models.create_model(create("one", id)).await, Code::InvalidArgument);
        assert_eq!(fields(&status), ["request_id"]);
    }
    let get = pb::GetModelRequest { name: NAME.into(), ..Default::default() };
    refused(models.get_model(get).await, Code::NotFound);
    models.create_model(create("one", &"x".repeat(128))).await.unwrap();
}

#[tokio::test]
async fn every_kind_of_record_is_written_once() {
    let (store, _alone) = new_store_to_compact();
    let server = TestServer::on(store.clone());
    let channel = server.connect().await;
    let mut licenses = LicenseServiceClient::new(channel.clone());
    let mut profiles = UseProfileServiceClient::new(channel.clone());
    let mut waivers = WaiverServiceClient::new(channel);
    let id = |id: &str| id.to_owned();

    let note = |note: &str| pb::License { name: "licenses/MIT".into(), notes: vec![note.into()], ..Default::default() };
    let update =
        pb::UpdateLicenseRequest { license: Some(note("ours")), request_id: id("license-1"), ..Default::default() };
    let first = licenses.update_license(update.clone()).await.unwrap().into_inner();
    let next = pb::UpdateLicenseRequest { license: Some(note("again")), ..Default::default() };
    licenses.update_license(next).await.unwrap();
    assert_eq!(licenses.update_license(update).await.unwrap().into_inner(), first);
    let gone =
        pb::DeleteLicenseRequest { name: "licenses/MIT".into(), request_id: id("license-2"), ..Default::default() };
    licenses.delete_license(gone.clone()).await.unwrap();
    licenses.delete_license(gone).await.unwrap();

    let profile = pb::UseProfile { display_name: "Ours".into(), ..Default::default() };
    let create = pb::CreateUseProfileRequest {
        use_profile_id: "ours".into(),
        use_profile: Some(profile),
        request_id: id("profile-1"),
        ..Default::default()
    };
    let first = profiles.create_use_profile(create.clone()).await.unwrap().into_inner();
    let gone =
        pb::DeleteUseProfileRequest { name: first.name.clone(), request_id: id("profile-2"), ..Default::default() };
    profiles.delete_use_profile(gone.clone()).await.unwrap();
    assert_eq!(profiles.create_use_profile(create).await.unwrap().into_inner(), first);
    profiles.delete_use_profile(gone).await.unwrap();

    let waiver = pb::Waiver {
        name: "waivers/one".into(),
        reason: "COMMERCIAL_USE_PROHIBITED".into(),
        license: "licenses/MIT".into(),
        approver: "legal@acme.example".into(),
        justification: "A separate agreement.".into(),
        ticket: "https://acme.example/1".into(),
        expire_time: Some(prost_types::Timestamp { seconds: 4_000_000_000, nanos: 0 }),
        ..Default::default()
    };
    let update = pb::UpdateWaiverRequest {
        waiver: Some(waiver),
        allow_missing: true,
        request_id: id("waiver-1"),
        ..Default::default()
    };
    let first = waivers.update_waiver(update.clone()).await.unwrap().into_inner();
    assert_eq!(waivers.update_waiver(update.clone()).await.unwrap().into_inner(), first);
    let gone = pb::DeleteWaiverRequest { name: first.name.clone(), request_id: id("waiver-2"), ..Default::default() };
    waivers.delete_waiver(gone.clone()).await.unwrap();
    waivers.delete_waiver(gone.clone()).await.unwrap();
    let before = store.status().revision;
    assert_eq!(waivers.update_waiver(update.clone()).await.unwrap().into_inner(), first);
    assert_eq!(store.status().revision, before);
    // What it wrote is no longer kept, so it can not be told, and it is not done again.
    store.compact(before).await.unwrap();
    refused(waivers.update_waiver(update).await, Code::OutOfRange);
    assert_eq!(store.status().revision, before);
    // The answer to a deletion holds nothing that would have to be kept.
    waivers.delete_waiver(gone).await.unwrap();
    assert_eq!(store.status().revision, before);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_same_request_many_times_at_once_is_done_once() {
    let folder = tempfile::tempdir().unwrap();
    let server = TestServer::at(&folder.path().join("store"));
    let channels: Vec<Channel> = vec![server.connect().await, server.connect().await, server.connect().await];
    for round in 0..20 {
        let mut asked = tokio::task::JoinSet::new();
        for at in 0..12 {
            let mut models = ModelServiceClient::new(channels[at % channels.len()].clone());
            let request = create(&format!("one-{round}"), &format!("id-{round}"));
            asked.spawn(async move { models.create_model(request).await.unwrap().into_inner() });
        }
        let answers = asked.join_all().await;
        assert!(answers.iter().all(|answer| *answer == answers[0]), "{answers:?}");
    }
}

/// A client gives up on a slow write and asks again: what it asked for is done once all the same.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_that_was_given_up_on_is_done_once() {
    let folder = tempfile::tempdir().unwrap();
    let slow = Arc::new(AtomicBool::new(false));
    let is_slow = slow.clone();
    let hook = Hook::new(move |step| {
        if step == Step::Sync && is_slow.load(Ordering::Relaxed) {
            std::thread::sleep(Duration::from_millis(300));
        }
        Ok(())
    });
    let options = SledOptions { hook, ..SledOptions::new(folder.path().join("store")) };
    let store = Arc::new(SledStore::open(options).unwrap());
    let server = TestServer::on(store.clone());
    let channel = server.connect().await;
    let mut models = ModelServiceClient::new(channel.clone());
    models.create_model(create("one", "")).await.unwrap();
    slow.store(true, Ordering::Relaxed);
    let before = store.status().revision;
    for (round, wait) in [20_u64, 100, 250, 290].into_iter().enumerate() {
        let request = describe(NAME, &format!("round {round}"), &format!("id-{round}"));
        let mut impatient = ModelServiceClient::new(channel.clone());
        let given_up = tokio::time::timeout(Duration::from_millis(wait), impatient.update_model(request.clone())).await;
        let answer = models.update_model(request.clone()).await.unwrap().into_inner();
        assert_eq!(answer.description, format!("round {round}"));
        assert_eq!(models.update_model(request).await.unwrap().into_inner(), answer);
        assert_eq!(store.status().revision, before + 1 + u64::try_from(round).unwrap(), "{:?}", given_up.is_err());
    }
}
