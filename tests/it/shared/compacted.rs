//! A replica that is cut off while others write and let go of history.

use std::time::{Duration, Instant};

use tonic::Code;
use weighbridge::pb::weighbridge::v1 as pb;
use weighbridge::registry::{LogSettings, WatchLimits};
use weighbridge::store::EtcdOptions;

use super::watches::{Position, Reader};
use super::{PATIENCE, Replica, Ways, assert_same, commercial, model, until};
use crate::cluster::Cluster;
use crate::harness::etcd::open;
use crate::harness::{reason, refused};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replica_that_compaction_overtook_holds_everything_and_follows_again() {
    // History that is let go of is that of a whole cluster.
    let cluster = Cluster::start(3);
    let ways = Ways::to(&cluster.endpoints());
    let options = EtcdOptions::new(cluster.endpoints(), "weighbridge");
    let far =
        EtcdOptions { endpoints: ways.endpoints.clone(), max_staleness: Duration::from_secs(120), ..options.clone() };
    let near = Replica::start(&options).await;
    let overtaken = Replica::start_with(&far, LogSettings::default(), WatchLimits::default()).await;
    for id in ["kept", "changed", "gone"] {
        near.put(model(id, "MIT")).await;
    }
    let known = near.put(model("last", "MIT")).await.revision;
    overtaken.reaches(known).await;
    let mut models: Reader<pb::WatchModelsResponse> = Reader::new(&overtaken, Position::default()).await;
    let mut verdicts: Reader<pb::WatchDeploymentsResponse> = Reader::new(&overtaken, Position::default()).await;

    ways.cut();
    near.put(model("changed", "CC-BY-NC-4.0")).await;
    near.delete("publishers/acme/models/gone").await;
    near.put(model("came-and-went", "MIT")).await;
    near.delete("publishers/acme/models/came-and-went").await;
    for number in 0..120 {
        near.put(model(&format!("new-{}", number % 60), ["MIT", "Apache-2.0"][number / 60])).await;
    }
    // It answers from what it has, tries what is only to be tried, and takes no writes.
    let get = |id: &str| pb::GetModelRequest { name: format!("publishers/acme/models/{id}"), ..Default::default() };
    assert!(overtaken.models.clone().get_model(get("gone")).await.is_ok());
    let tried = pb::CreateModelRequest {
        parent: "publishers/acme".into(),
        model_id: "tried".into(),
        model: Some(pb::Model::default()),
        validate_only: true,
        ..Default::default()
    };
    overtaken.models.clone().create_model(tried.clone()).await.unwrap();
    // A commit would be tried for 10 s.
    let begun = Instant::now();
    let dry = crate::import::import(overtaken.channel.clone(), crate::import::DOCUMENT.as_bytes(), true).await.unwrap();
    assert_eq!((dry.created, dry.revision), (3, known));
    assert!(begun.elapsed() < Duration::from_secs(8), "{:?}", begun.elapsed());
    let written = pb::CreateModelRequest { validate_only: false, ..tried };
    refused(overtaken.models.clone().create_model(written).await, Code::Unavailable);

    let other = open(&options);
    let newest = other.status().revision;
    assert_eq!(other.compact(newest).await.unwrap(), newest);
    drop(other);
    assert_eq!(models.at.revision, known);
    ways.heal();
    for status in [models.end().await, verdicts.end().await] {
        assert_eq!((status.code(), reason(&status).as_str()), (Code::OutOfRange, "REVISION_COMPACTED"));
    }
    overtaken.reaches(i64::try_from(newest).unwrap()).await;
    let all = near.all().await;
    assert_same(&overtaken.all().await, &all);
    assert!(all.iter().any(|model| model.name.ends_with("/new-59")) && !all.iter().any(|m| m.name.ends_with("/gone")));
    assert_eq!(overtaken.store.load().await.unwrap(), near.store.load().await.unwrap());
    let figures = |replica: &Replica| {
        let status = replica.store.status();
        (status.revision, status.record_count, status.data_size_bytes, status.writable, status.problem)
    };
    until("it does not take writes again", async || figures(&overtaken) == figures(&near)).await;

    // What stands before is refused, and from there on it is told as everywhere.
    let from = |revision| pb::WatchModelsRequest { start_revision: revision, ..Default::default() };
    let status = refused(overtaken.models.clone().watch_models(from(known)).await.map(drop), Code::OutOfRange);
    assert_eq!(reason(&status), "REVISION_COMPACTED");
    let start = Position::default();
    let mut again: Reader<pb::WatchModelsResponse> = Reader::new(&overtaken, start).await;
    let mut beside: Reader<pb::WatchModelsResponse> = Reader::new(&near, start).await;
    // What was changed meanwhile is of the revision that changed it, so that it can be changed here.
    overtaken.put(model("changed", "MIT")).await;
    overtaken.put(model("kept", "CC-BY-NC-4.0")).await;
    let last = near.put(model("new-1", "CC-BY-NC-4.0")).await.revision;
    again.until(last).await;
    beside.until(last).await;
    assert_eq!(again.told.len(), 3);
    assert_eq!(again.told, beside.told);
    let request = pb::CheckEligibilityRequest {
        model: "publishers/acme/models/kept".into(),
        r#use: Some(commercial()),
        min_revision: last,
        ..Default::default()
    };
    let mut client = weighbridge::pb::weighbridge::v1::eligibility_service_client::EligibilityServiceClient::new(
        overtaken.channel.clone(),
    );
    let decision = client.check_eligibility(request).await.unwrap().into_inner().decision.unwrap();
    assert_eq!(decision.verdict(), pb::Verdict::Ineligible);
    assert!(begun.elapsed() < PATIENCE * 4);
}
