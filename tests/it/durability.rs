//! What is written stays: backups, restores, audits, rewriting, and a disk that fails under a running server.

use std::io;
use std::path::Path;
use std::process::Output;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use tonic::Code;
use tonic::transport::Channel;
use tonic_health::pb::health_client::HealthClient;
use tonic_health::pb::{HealthCheckRequest, health_check_response::ServingStatus};
use weighbridge::pb::weighbridge::v1 as pb;
use weighbridge::pb::weighbridge::v1::admin_service_client::AdminServiceClient;
use weighbridge::pb::weighbridge::v1::backup_response::Payload;
use weighbridge::pb::weighbridge::v1::eligibility_service_client::EligibilityServiceClient;
use weighbridge::pb::weighbridge::v1::model_service_client::ModelServiceClient;
use weighbridge::store::{Hook, SledOptions, SledStore, Step};

use crate::cli::{Serving, weighbridge};
use crate::harness::{TestServer, reason};

const LLAMA: &str = "publishers/meta/models/llama-3.3-70b-instruct";

fn run(arguments: &[&str]) -> Output {
    weighbridge().args(arguments).output().unwrap()
}

/// Runs a command that is to leave with a code; what it printed.
fn told(code: i32, arguments: &[&str]) -> String {
    let output = run(arguments);
    let text = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert_eq!(output.status.code(), Some(code), "{arguments:?}: {text}");
    text
}

fn own_model(id: &str, name: &str) -> pb::CreateModelRequest {
    pb::CreateModelRequest {
        parent: "publishers/acme".into(),
        model_id: id.into(),
        model: Some(pb::Model { display_name: name.into(), ..pb::Model::default() }),
        ..pb::CreateModelRequest::default()
    }
}

async fn all_models(channel: &Channel) -> Vec<pb::Model> {
    let mut client = ModelServiceClient::new(channel.clone());
    let (mut models, mut page_token) = (Vec::new(), String::new());
    loop {
        let request = pb::ListModelsRequest { page_size: 1_000, page_token, ..pb::ListModelsRequest::default() };
        let page = client.list_models(request).await.unwrap().into_inner();
        models.extend(page.models);
        page_token = page.next_page_token;
        if page_token.is_empty() {
            return models;
        }
    }
}

async fn recorded(channel: &Channel) -> pb::Decision {
    let request = pb::CheckEligibilityRequest {
        model: LLAMA.into(),
        r#use: Some(pb::Use { purpose: pb::Purpose::Commercial as i32, ..pb::Use::default() }),
        record: true,
        ..pb::CheckEligibilityRequest::default()
    };
    let mut client = EligibilityServiceClient::new(channel.clone());
    client.check_eligibility(request).await.unwrap().into_inner().decision.unwrap()
}

async fn backup_of(channel: &Channel) -> (Vec<u8>, pb::BackupSummary) {
    let mut stream = AdminServiceClient::new(channel.clone()).backup(pb::BackupRequest {}).await.unwrap().into_inner();
    let (mut bytes, mut summary) = (Vec::new(), None);
    while let Some(message) = stream.message().await.unwrap() {
        match message.payload.unwrap() {
            Payload::Chunk(chunk) => bytes.extend(chunk),
            Payload::Summary(found) => summary = Some(found),
        }
    }
    (bytes, summary.unwrap())
}

/// From the command line, with a server that goes on working meanwhile.
#[tokio::test]
async fn a_backup_restored_elsewhere_answers_as_the_registry_did() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let (file, data, other) = (path("registry.backup"), path("data"), path("other"));
    let serving = Serving::start(Path::new(&data), &[]);
    let channel = Channel::from_shared(serving.address().to_owned()).unwrap().connect().await.unwrap();
    let mut models = ModelServiceClient::new(channel.clone());
    for number in 0..5 {
        models.create_model(own_model(&format!("own-{number}"), "Own")).await.unwrap();
    }
    let decision = recorded(&channel).await;
    let expected = all_models(&channel).await;
    let text = told(0, &["backup", &file, "--server", serving.address()]);
    assert!(text.contains("sha256"), "{text}");
    // What comes later is not in it.
    models.create_model(own_model("later", "Later")).await.unwrap();
    assert!(told(2, &["backup", &file, "--server", serving.address()]).contains("--overwrite"));
    assert!(told(0, &["verify", &file]).contains("registry: "));
    told(1, &["restore", &file, "--data-dir", &data]);
    told(0, &["restore", &file, "--data-dir", &other]);
    assert!(told(1, &["restore", &file, "--data-dir", &other]).contains("holds a store already"));
    drop(channel);
    drop(serving);
    assert!(told(0, &["verify", "--data-dir", &other]).contains("decisions/0: "));

    let serving = Serving::start(Path::new(&other), &[]);
    let channel = Channel::from_shared(serving.address().to_owned()).unwrap().connect().await.unwrap();
    assert_eq!(all_models(&channel).await, expected);
    let kept = pb::GetDecisionRequest { name: decision.name.clone() };
    let kept = EligibilityServiceClient::new(channel.clone()).get_decision(kept).await.unwrap().into_inner();
    assert_eq!(kept, decision);
    assert_eq!(recorded(&channel).await.revision, decision.revision);
}

/// Into a server that runs and holds nothing of its own: it comes back with what was restored.
#[tokio::test]
async fn a_running_server_takes_a_backup_in_and_restarts_on_it() {
    let source = tempfile::tempdir().unwrap();
    let server = TestServer::on_disk(source.path());
    let channel = server.connect().await;
    ModelServiceClient::new(channel.clone()).create_model(own_model("own", "Own")).await.unwrap();
    let expected = all_models(&channel).await;
    let (bytes, summary) = backup_of(&channel).await;
    assert_eq!(summary.size_bytes, i64::try_from(bytes.len()).unwrap());
    let folder = tempfile::tempdir().unwrap();
    let (file, data) = (folder.path().join("file"), folder.path().join("data"));
    std::fs::write(&file, &bytes).unwrap();
    let file = file.to_str().unwrap();

    let serving = Serving::start(&data, &[]);
    let channel = Channel::from_shared(serving.address().to_owned()).unwrap().connect_lazy();
    let before = all_models(&channel).await;
    // Cut short: nothing changes, and writes go on.
    let cut = folder.path().join("cut");
    std::fs::write(&cut, &bytes[..bytes.len() - 1]).unwrap();
    assert!(told(2, &["restore", cut.to_str().unwrap(), "--server", serving.address()]).contains("backup is damaged"));
    assert_eq!(all_models(&channel).await, before);
    told(0, &["restore", file, "--server", serving.address()]);
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        let request = pb::GetModelRequest { name: "publishers/acme/models/own".into(), ..Default::default() };
        match ModelServiceClient::new(channel.clone()).get_model(request).await {
            Ok(_) => break,
            Err(status) => assert!(Instant::now() < deadline, "{status}"),
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(all_models(&channel).await, expected);
    // Now it holds something of its own.
    assert!(told(1, &["restore", file, "--server", serving.address()]).contains("not built in"));
    ModelServiceClient::new(channel.clone()).create_model(own_model("more", "More")).await.unwrap();
    drop(serving);
    let serving = Serving::start(&data, &[]);
    let channel = Channel::from_shared(serving.address().to_owned()).unwrap().connect().await.unwrap();
    assert_eq!(all_models(&channel).await.len(), expected.len() + 1);
}

#[tokio::test]
async fn a_registry_in_memory_is_backed_up_and_not_restored_into() {
    let server = TestServer::in_memory();
    let channel = server.connect().await;
    let (bytes, _) = backup_of(&channel).await;
    assert!(bytes.starts_with(b"WBBACKUP"));
    let chunks = tokio_stream::iter([pb::RestoreRequest { chunk: bytes }]);
    let refused = AdminServiceClient::new(channel).restore(chunks).await.unwrap_err();
    assert_eq!((refused.code(), reason(&refused)), (Code::FailedPrecondition, "NO_DATA_DIRECTORY".into()));
}

/// Cut anywhere or changed anywhere, a backup is refused, and the directory stays as it was.
#[tokio::test]
async fn a_damaged_backup_is_never_restored() {
    let server = TestServer::in_memory();
    let channel = server.connect().await;
    let (bytes, _) = backup_of(&channel).await;
    let folder = tempfile::tempdir().unwrap();
    let (file, data) = (folder.path().join("file"), folder.path().join("data"));
    let (file, data) = (file.to_str().unwrap(), data.to_str().unwrap());
    for part in 0..5 {
        let at = bytes.len() * part / 5 + part;
        let mut changed = bytes.clone();
        changed[at] ^= 0x20;
        for tampered in [&bytes[..at], &changed] {
            std::fs::write(file, tampered).unwrap();
            let text = told(1, &["restore", file, "--data-dir", data]);
            assert!(text.contains("the backup is damaged") || text.contains("upgrade the program"), "{text}");
            assert_eq!(run(&["verify", file]).status.code(), Some(if text.contains("upgrade") { 1 } else { 4 }));
            // No server takes what is half there for a store.
            if Path::new(data).exists() {
                let text = told(1, &["serve", "--listen", "127.0.0.1:0", "--data-dir", data]);
                assert!(text.contains("restore it again"), "{text}");
            }
        }
    }
    std::fs::write(file, &bytes).unwrap();
    told(0, &["restore", file, "--data-dir", data]);
    told(0, &["verify", "--data-dir", data]);
}

#[tokio::test]
async fn compacting_keeps_what_is_current_and_says_what_is_gone() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().to_str().unwrap();
    let server = TestServer::on_disk(folder.path());
    let channel = server.connect().await;
    let mut models = ModelServiceClient::new(channel.clone());
    models.create_model(own_model("own", "Own")).await.unwrap();
    for number in 0..20 {
        let model = pb::Model {
            name: "publishers/acme/models/own".into(),
            description: "x".repeat(1_000 + number),
            ..pb::Model::default()
        };
        models.update_model(pb::UpdateModelRequest { model: Some(model), ..Default::default() }).await.unwrap();
    }
    let expected = all_models(&channel).await;
    assert!(told(1, &["compact", "--data-dir", data]).contains("in use by another process"));
    assert!(told(1, &["verify", "--data-dir", data]).contains("in use by another process"));
    drop((channel, models));
    server.stop().unwrap();
    assert!(told(0, &["compact", "--data-dir", data]).contains("all history"));
    assert!(told(0, &["compact", "--data-dir", data, "--keep-days", "3"]).contains("all history"));
    told(2, &["compact", "--data-dir", data, "--keep-days", "3", "--keep-revisions", "1"]);
    let text = told(0, &["compact", "--data-dir", data, "--keep-revisions", "1", "--format", "json"]);
    let value: serde_json::Value = serde_json::from_str(&text).unwrap();
    let store = &value["stores"][0];
    assert_eq!(store["revision"], store["oldestRevision"]);
    told(0, &["verify", "--data-dir", data]);
    told(1, &["compact", "--data-dir", folder.path().join("none").to_str().unwrap()]);

    let server = TestServer::on_disk(folder.path());
    let channel = server.connect().await;
    assert_eq!(all_models(&channel).await, expected);
    let status = AdminServiceClient::new(channel).get_status(pb::GetStatusRequest::default()).await.unwrap();
    let store = status.into_inner().store.unwrap();
    assert_eq!(store.oldest_revision, store.revision);
}

async fn health(channel: &Channel, service: &str) -> ServingStatus {
    let request = HealthCheckRequest { service: service.into() };
    HealthClient::new(channel.clone()).check(request).await.unwrap().into_inner().status()
}

async fn until(what: &str, holds: impl AsyncFn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(30);
    while !holds().await {
        assert!(Instant::now() < deadline, "{what}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// Writes fail with a clear status, reads go on, health tells, and nothing has to be restarted.
#[tokio::test]
async fn a_full_disk_stops_writes_and_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    let full = Arc::new(AtomicBool::new(false));
    let is_full = full.clone();
    let hook = Hook::new(move |step| {
        let fails = is_full.load(Ordering::SeqCst) && step == Step::Write;
        if fails { Err(io::ErrorKind::StorageFull.into()) } else { Ok(()) }
    });
    let store = SledStore::open(SledOptions { hook, ..SledOptions::new(folder.path()) }).unwrap();
    let server = TestServer::on(Arc::new(store));
    let channel = server.connect().await;
    let mut models = ModelServiceClient::new(channel.clone());
    models.create_model(own_model("before", "Own")).await.unwrap();
    assert_eq!(health(&channel, "").await, ServingStatus::Serving);
    full.store(true, Ordering::SeqCst);
    let refused = models.create_model(own_model("full", "Own")).await.unwrap_err();
    assert_eq!((refused.code(), reason(&refused)), (Code::Unavailable, "STORE_FULL".into()));
    let refused = models.create_model(own_model("full", "Own")).await.unwrap_err();
    assert_eq!((refused.code(), reason(&refused)), (Code::Unavailable, "STORE_READ_ONLY".into()));
    until("health tells", async || health(&channel, "").await == ServingStatus::NotServing).await;
    assert_eq!(health(&channel, "weighbridge.v1.EligibilityService").await, ServingStatus::Serving);
    assert!(all_models(&channel).await.iter().any(|model| model.name.ends_with("/before")));
    recorded(&channel).await;
    full.store(false, Ordering::SeqCst);
    until("health tells", async || health(&channel, "").await == ServingStatus::Serving).await;
    models.create_model(own_model("after", "Own")).await.unwrap();
    drop((channel, models));
    server.stop().unwrap();
    let server = TestServer::on_disk(folder.path());
    let names: Vec<_> = all_models(&server.connect().await).await.into_iter().map(|model| model.name).collect();
    for (id, there) in [("before", true), ("after", true)] {
        assert_eq!(names.contains(&format!("publishers/acme/models/{id}")), there, "{id}");
    }
}

/// An engine that panics or hangs is answered for, and the process goes on.
#[tokio::test]
async fn an_engine_that_hangs_or_panics_is_unavailable() {
    for hangs in [true, false] {
        let folder = tempfile::tempdir().unwrap();
        let bad = Arc::new(AtomicBool::new(false));
        let is_bad = bad.clone();
        let hook = Hook::new(move |step| {
            if step == Step::Flush && is_bad.load(Ordering::SeqCst) {
                assert!(hangs, "the engine panics");
                while is_bad.load(Ordering::SeqCst) {
                    std::thread::sleep(Duration::from_millis(10));
                }
            }
            Ok(())
        });
        let hang_after = Duration::from_millis(300);
        let store = SledStore::open(SledOptions { hook, hang_after, ..SledOptions::new(folder.path()) }).unwrap();
        let server = TestServer::on(Arc::new(store));
        let channel = server.connect().await;
        let mut models = ModelServiceClient::new(channel.clone());
        models.create_model(own_model("before", "Own")).await.unwrap();
        bad.store(true, Ordering::SeqCst);
        let refused = models.create_model(own_model("bad", "Own")).await.unwrap_err();
        assert_eq!(refused.code(), Code::Unavailable, "{refused}");
        until("health tells", async || health(&channel, "").await == ServingStatus::NotServing).await;
        recorded(&channel).await;
        bad.store(false, Ordering::SeqCst);
        if hangs {
            until("it is over", async || health(&channel, "").await == ServingStatus::Serving).await;
            models.create_model(own_model("after", "Own")).await.unwrap();
        }
    }
}
