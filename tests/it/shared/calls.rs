//! Calls to several replicas: the decision log, requests that are done once, and reading what was written through another.

use std::collections::BTreeSet;

use tokio::task::JoinSet;
use tonic::Code;
use weighbridge::convert;
use weighbridge::pb::weighbridge::v1 as pb;
use weighbridge::pb::weighbridge::v1::eligibility_service_client::EligibilityServiceClient;
use weighbridge::registry::{LogLevel, LogSettings, WatchLimits};
use weighbridge::store::EtcdOptions;

use super::{PATIENCE, Replica, Ways, commercial, model, until};
use crate::harness::etcd::{anew, cluster};
use crate::harness::refused;

const LLAMA: &str = "meta-llama/Llama-3.3-70B-Instruct";

fn check(model: &str, record: bool) -> pb::CheckEligibilityRequest {
    pb::CheckEligibilityRequest { model: model.into(), r#use: Some(commercial()), record, ..Default::default() }
}

impl Replica {
    fn eligibility(&self) -> EligibilityServiceClient<tonic::transport::Channel> {
        EligibilityServiceClient::new(self.channel.clone())
    }

    async fn decide(&self, request: pb::CheckEligibilityRequest) -> pb::Decision {
        self.eligibility().check_eligibility(request).await.unwrap().into_inner().decision.unwrap()
    }

    /// All decisions of the log, the newest first.
    async fn decisions(&self) -> Vec<pb::Decision> {
        let request = pb::ListDecisionsRequest { page_size: 1_000, ..Default::default() };
        self.eligibility().list_decisions(request).await.unwrap().into_inner().decisions
    }
}

fn logging(level: LogLevel, strict: bool, decisions_max: usize) -> LogSettings {
    LogSettings { level, strict, decisions_max }
}

#[tokio::test]
async fn a_decision_is_found_whoever_recorded_it() {
    let options = anew();
    let (a, b) = (Replica::start(&options).await, Replica::start(&options).await);
    let (one, other) = (a.decide(check(LLAMA, true)).await, b.decide(check(LLAMA, true)).await);
    assert_ne!(one.name, other.name);
    for replica in [&a, &b] {
        until("a decision is missing", async || replica.decisions().await.len() == 2).await;
        for decision in [&one, &other] {
            let get = pb::GetDecisionRequest { name: decision.name.clone() };
            assert_eq!(replica.eligibility().get_decision(get).await.unwrap().into_inner(), *decision);
        }
    }
    drop(a);
    let late = Replica::start(&options).await;
    assert_eq!(late.decisions().await, b.decisions().await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_log_stays_within_its_bound_over_all_replicas() {
    for decisions_max in [1, 5, 40] {
        let options = anew();
        let settings = logging(LogLevel::Off, false, decisions_max);
        let start = || Replica::start_with(&options, settings, WatchLimits::default());
        let replicas = [start().await, start().await];
        let mut names = BTreeSet::new();
        for _ in 0..10 {
            let mut asked = JoinSet::new();
            for at in 0..20 {
                let mut client = replicas[at % 2].eligibility();
                asked.spawn(async move { client.check_eligibility(check(LLAMA, true)).await.unwrap().into_inner() });
            }
            names.extend(asked.join_all().await.into_iter().map(|answer| answer.decision.unwrap().name));
        }
        assert_eq!(names.len(), 200);
        // What came at the same time elsewhere is let go of with one of the next, once it is known.
        until("the log has grown beyond its bound", async || {
            replicas[0].decide(check(LLAMA, true)).await;
            replicas[0].log.load().await.unwrap().records.len() <= decisions_max
        })
        .await;
        let kept: Vec<_> = replicas[0].log.load().await.unwrap().records;
        assert!(kept.len() <= decisions_max && kept.len() * 2 >= decisions_max, "{} of {decisions_max}", kept.len());
        let newest = || kept.iter().rev().map(|record| format!("decisions/{}", String::from_utf8_lossy(&record.key)));
        for replica in &replicas {
            until("a replica has others", async || {
                replica.decisions().await.into_iter().map(|decision| decision.name).eq(newest())
            })
            .await;
        }
    }
}

#[tokio::test]
async fn a_strict_log_refuses_what_it_cannot_keep() {
    let options = anew();
    let ways = Ways::to(&cluster().endpoints());
    let max_staleness = PATIENCE * 4;
    let far = EtcdOptions { endpoints: ways.endpoints.clone(), max_staleness, ..options.clone() };
    let near = Replica::start_with(&options, logging(LogLevel::Off, false, 100), WatchLimits::default()).await;
    let start = |strict| Replica::start_with(&far, logging(LogLevel::All, strict, 100), WatchLimits::default());
    let (strict, lenient) = (start(true).await, start(false).await);
    let kept = strict.decide(check(LLAMA, false)).await;
    assert!(!kept.name.is_empty());
    until("it is not kept", async || near.decisions().await == [kept.clone()]).await;
    ways.cut();
    // What cannot be kept is not answered, whoever asks for it to be kept.
    refused(strict.eligibility().check_eligibility(check(LLAMA, false)).await, Code::Unavailable);
    refused(lenient.eligibility().check_eligibility(check(LLAMA, true)).await, Code::Unavailable);
    assert_eq!(lenient.decide(check(LLAMA, false)).await.name, "");
    ways.heal();
    until("it is not taken again", async || strict.eligibility().check_eligibility(check(LLAMA, false)).await.is_ok())
        .await;
    until("they do not have the same", async || {
        let all = near.decisions().await;
        all.len() >= 2 && all == strict.decisions().await && all == lenient.decisions().await
    })
    .await;
}

/// Commits that were made for requests with an id.
async fn done(replica: &Replica, after: u64) -> Vec<String> {
    let commits = replica.store.changes_since(after, 10_000).await.unwrap();
    let ids = commits.iter().map(|commit| convert::decode_note(&commit.about).request_id);
    ids.filter(|id| !id.is_empty()).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_with_an_id_is_done_once_whichever_replicas_are_asked() {
    let options = anew();
    let replicas = [Replica::start(&options).await, Replica::start(&options).await];
    let before = replicas[0].store.status().revision;
    let mut expected = Vec::new();
    for round in 0..30 {
        let id = |what: &str| format!("{what}-{round}");
        let create = pb::CreateModelRequest {
            parent: "publishers/acme".into(),
            model_id: id("m"),
            model: Some(pb::Model::default()),
            request_id: id("create"),
            ..Default::default()
        };
        let update = pb::UpdateModelRequest {
            model: Some(pb::Model {
                name: format!("publishers/acme/models/{}", id("m")),
                description: id("new"),
                ..Default::default()
            }),
            request_id: id("update"),
            ..Default::default()
        };
        let delete = pb::DeleteModelRequest {
            name: format!("publishers/acme/models/{}", id("m")),
            request_id: id("delete"),
            ..Default::default()
        };
        let both = || (0..6).map(|at| replicas[at % 2].models.clone());
        let mut asked = JoinSet::new();
        for mut models in both() {
            let create = create.clone();
            asked.spawn(async move { models.create_model(create).await.unwrap().into_inner() });
        }
        let created = asked.join_all().await;
        assert!(created.iter().all(|answer| *answer == created[0]), "{created:?}");
        let mut asked = JoinSet::new();
        for mut models in both() {
            let update = update.clone();
            asked.spawn(async move { models.update_model(update).await.unwrap().into_inner() });
        }
        let updated = asked.join_all().await;
        assert!(updated.iter().all(|answer| *answer == updated[0]), "{updated:?}");
        // One after the other it is the same.
        for mut models in both() {
            assert_eq!(models.create_model(create.clone()).await.unwrap().into_inner(), created[0]);
            assert_eq!(models.update_model(update.clone()).await.unwrap().into_inner(), updated[0]);
        }
        let mut asked = JoinSet::new();
        for mut models in both() {
            let delete = delete.clone();
            asked.spawn(async move { drop(models.delete_model(delete).await.unwrap()) });
        }
        asked.join_all().await;
        expected.extend([id("create"), id("update"), id("delete")]);
    }
    assert_eq!(done(&replicas[0], before).await, expected);
    // And of a replica that was not there.
    let late = Replica::start(&options).await;
    let again = pb::CreateModelRequest {
        parent: "publishers/acme".into(),
        model_id: "m-7".into(),
        model: Some(pb::Model::default()),
        request_id: "create-7".into(),
        ..Default::default()
    };
    assert_eq!(late.models.clone().create_model(again).await.unwrap().into_inner().name, "publishers/acme/models/m-7");
    assert_eq!(done(&late, before).await, expected);
}

#[tokio::test]
async fn what_was_written_through_one_is_read_through_another() {
    let options = anew();
    let replicas = [Replica::start(&options).await, Replica::start(&options).await, Replica::start(&options).await];
    for round in 0..200 {
        let (license, verdict) = match round % 2 {
            0 => ("MIT", pb::Verdict::EligibleWithConditions),
            _ => ("CC-BY-NC-4.0", pb::Verdict::Ineligible),
        };
        let written = replicas[round % 3].put(model("one", license)).await;
        let reader = &replicas[(round + 1 + round / 3 % 2) % 3];
        let request = pb::CheckEligibilityRequest { min_revision: written.revision, ..check(&written.name, false) };
        let decision = reader.decide(request.clone()).await;
        assert!(decision.revision >= written.revision);
        assert!(
            (decision.verdict() == pb::Verdict::Ineligible) == (verdict == pb::Verdict::Ineligible),
            "round {round}: {:?} under {license}",
            decision.verdict()
        );
        // It has come as far, for everything else.
        let get = pb::GetModelRequest { name: written.name.clone(), ..Default::default() };
        assert_eq!(reader.models.clone().get_model(get).await.unwrap().into_inner(), written);
        let batch = pb::BatchCheckEligibilityRequest {
            requests: vec![check(&written.name, false)],
            min_revision: written.revision,
            ..Default::default()
        };
        let answered = replicas[(round + 2) % 3].eligibility().batch_check_eligibility(batch).await.unwrap();
        assert!(answered.into_inner().revision >= written.revision);
    }
}
