//! Moving a registry from a data directory to etcd and back.

use std::process::{Command, Output};

use prost::Message as _;
use serde_json::Value;
use weighbridge::pb::weighbridge::v1 as pb;
use weighbridge::pb::weighbridge::v1::eligibility_service_client::EligibilityServiceClient;
use weighbridge::pb::weighbridge::v1::model_service_client::ModelServiceClient;
use weighbridge::store::{Batch, Beginning, SledOptions, SledStore, Store as _, Write};

use super::{Replica, all_models, assert_same, model};
use crate::harness::TestServer;
use crate::harness::etcd::{anew, cluster};

fn migrate(from: &str, to: &str, prefix: &str) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_weighbridge"));
    command.args(["--format", "json", "migrate", "--from", from, "--to", to, "--etcd-prefix", prefix]);
    command.output().unwrap()
}

/// The digests that it tells of both stores.
fn digests(output: &Output) -> Vec<(u64, String)> {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    let stores = report["stores"].as_array().unwrap();
    stores.iter().map(|s| (s["records"].as_u64().unwrap(), s["sha256"].as_str().unwrap().to_owned())).collect()
}

fn decision(number: u8) -> Write {
    let name = format!("decisions/{number:012x}-000000");
    let decision = pb::Decision { name: name.clone(), verdict: pb::Verdict::Ineligible.into(), ..Default::default() };
    let key = name.strip_prefix("decisions/").unwrap().to_owned();
    Write { key: key.into(), value: Some(decision.encode_to_vec().into()) }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_registry_is_moved_there_and_back_with_its_decisions() {
    let folder = tempfile::tempdir().unwrap();
    let (from, back) = (folder.path().join("from"), folder.path().join("back"));
    let server = TestServer::on_disk(&from);
    let channel = server.connect().await;
    let request = pb::UpdateModelRequest {
        model: Some(model("moved", "MIT")),
        update_mask: Some(prost_types::FieldMask { paths: vec!["*".into()] }),
        allow_missing: true,
        ..Default::default()
    };
    ModelServiceClient::new(channel.clone()).update_model(request).await.unwrap();
    let before = all_models(&channel).await;
    drop(channel);
    server.stop().unwrap();
    for (generation, numbers) in [(0, 1..4), (1, 4..6)] {
        let log = SledStore::open_generation(&from.join("decisions"), generation, Beginning::OrNew).unwrap().unwrap();
        log.commit(Batch::of(numbers.map(decision))).await.unwrap();
    }

    let options = anew();
    let (sled, etcd) = (format!("sled:{}", from.display()), format!("etcd:{}", cluster().endpoints().join(",")));
    let there = digests(&migrate(&sled, &etcd, &options.prefix));
    assert_eq!(there[1].0, 5);

    let replica = Replica::start(&options).await;
    let plain = |models: Vec<pb::Model>| -> Vec<pb::Model> {
        // Revisions and etags are new.
        models.into_iter().map(|model| pb::Model { revision: 0, etag: String::new(), ..model }).collect()
    };
    assert_same(&plain(replica.all().await), &plain(before));
    let mut client = EligibilityServiceClient::new(replica.channel.clone());
    let listed = client.list_decisions(pb::ListDecisionsRequest::default()).await.unwrap().into_inner();
    assert_eq!(listed.decisions.len(), 5);
    drop((client, replica));

    let target = format!("sled:{}", back.display());
    assert_eq!(digests(&migrate(&etcd, &target, &options.prefix)), there);
    let again = SledStore::open(SledOptions::new(back)).unwrap();
    assert_eq!((again.status().revision, again.status().record_count), (1, there[0].0));
    drop(again);

    let nothing = format!("sled:{}", folder.path().join("nothing").display());
    for (from, to, code, says) in [
        (&etcd, &target, 1, "holds something already"),
        (&sled, &etcd, 1, "holds something already"),
        (&nothing, &etcd, 1, "holds no store"),
        (&sled, &target, 2, "one of --from and --to"),
    ] {
        let refused = migrate(from, to, &options.prefix);
        let text = String::from_utf8_lossy(&refused.stderr);
        assert_eq!(refused.status.code(), Some(code), "{text}");
        assert!(text.contains(says), "{text}");
    }

    // A prefix that is mistyped is no store to copy from, and none is left there.
    let mistyped = anew().prefix;
    let refused = migrate(&etcd, &format!("sled:{}", folder.path().join("other").display()), &mistyped);
    let text = String::from_utf8_lossy(&refused.stderr);
    assert!(text.contains("there is no store") && text.contains(&mistyped), "{text}");
    let client = etcd_client::Client::connect(cluster().endpoints(), None).await.unwrap();
    let below = etcd_client::GetOptions::new().with_prefix();
    assert_eq!(client.kv_client().get(format!("{mistyped}/"), Some(below)).await.unwrap().count(), 0);
    assert!(!folder.path().join("other").exists());
    // The endpoints stand in the address; others beside it are a mistake.
    let command = ["migrate", "--from", &etcd, "--to", &nothing, "--etcd-endpoints", "http://127.0.0.1:1"];
    let refused = Command::new(env!("CARGO_BIN_EXE_weighbridge")).args(command).output().unwrap();
    assert_eq!(refused.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&refused.stderr).contains("--etcd-endpoints"), "{refused:?}");
}
