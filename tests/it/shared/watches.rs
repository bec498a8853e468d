//! Watches that go on at another replica.

use std::time::{Duration, Instant};

use tonic::{Code, Status, Streaming};
use weighbridge::pb::weighbridge::v1 as pb;
use weighbridge::pb::weighbridge::v1::deployment_service_client::DeploymentServiceClient;
use weighbridge::pb::weighbridge::v1::policy_service_client::PolicyServiceClient;
use weighbridge::pb::weighbridge::v1::waiver_service_client::WaiverServiceClient;
use weighbridge::registry::{LogLevel, LogSettings, WatchLimits};

use super::{PATIENCE, Replica, commercial, model};
use crate::harness::etcd::anew;
use crate::harness::reason;

const HEARTBEAT: Option<prost_types::Duration> = Some(prost_types::Duration { seconds: 0, nanos: 100_000_000 });

/// What is told by a watch, and the state to go on from.
pub(super) trait Stream: Sized {
    type Change: PartialEq + std::fmt::Debug;

    async fn open(replica: &Replica, from: Position) -> Result<Streaming<Self>, Status>;
    fn position(&self) -> (i64, bool, Option<prost_types::Timestamp>);
    fn changes(self) -> Vec<Self::Change>;
}

/// From where a watch goes on.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Position {
    pub(super) revision: i64,
    time: Option<prost_types::Timestamp>,
}

impl Stream for pb::WatchModelsResponse {
    type Change = pb::ModelChange;

    async fn open(replica: &Replica, from: Position) -> Result<Streaming<Self>, Status> {
        let request = pb::WatchModelsRequest {
            start_revision: from.revision,
            heartbeat_interval: HEARTBEAT,
            ..Default::default()
        };
        Ok(replica.models.clone().watch_models(request).await?.into_inner())
    }

    fn position(&self) -> (i64, bool, Option<prost_types::Timestamp>) {
        (self.revision, self.partial, None)
    }

    fn changes(self) -> Vec<pb::ModelChange> {
        self.changes
    }
}

impl Stream for pb::WatchDeploymentsResponse {
    type Change = pb::DeploymentChange;

    async fn open(replica: &Replica, from: Position) -> Result<Streaming<Self>, Status> {
        let request = pb::WatchDeploymentsRequest {
            start_revision: from.revision,
            start_time: from.time,
            heartbeat_interval: HEARTBEAT,
            ..Default::default()
        };
        let mut client = DeploymentServiceClient::new(replica.channel.clone());
        Ok(client.watch_deployments(request).await?.into_inner())
    }

    fn position(&self) -> (i64, bool, Option<prost_types::Timestamp>) {
        (self.revision, self.partial, self.event_time)
    }

    fn changes(self) -> Vec<pb::DeploymentChange> {
        self.changes
    }
}

/// A reader of watches, one after the other, of which nothing is to be missed and nothing told twice.
pub(super) struct Reader<S: Stream> {
    stream: Streaming<S>,
    pub(super) at: Position,
    /// Changes with the revision that they were told with; those of a message that is not whole are not among them.
    pub(super) told: Vec<(i64, S::Change)>,
    parts: Vec<(i64, S::Change)>,
}

impl<S: Stream> Reader<S> {
    pub(super) async fn new(replica: &Replica, at: Position) -> Self {
        let stream = S::open(replica, at).await.unwrap();
        let mut reader = Self { stream, at, told: Vec::new(), parts: Vec::new() };
        // The first message says where it stands.
        reader.next().await.unwrap();
        reader
    }

    pub(super) async fn next(&mut self) -> Result<(), Status> {
        let message = tokio::time::timeout(PATIENCE, self.stream.message()).await.expect("a watch says something");
        let message = message?.expect("a watch does not end without a reason");
        let (revision, partial, time) = message.position();
        assert!(revision >= self.at.revision, "{revision} after {}", self.at.revision);
        self.parts.extend(message.changes().into_iter().map(|change| (revision, change)));
        if !partial {
            self.at = Position { revision, time: time.or(self.at.time) };
            self.told.append(&mut self.parts);
        }
        Ok(())
    }

    /// Reads until everything up to a revision has been told.
    pub(super) async fn until(&mut self, revision: i64) {
        while self.at.revision < revision {
            self.next().await.unwrap();
        }
    }

    /// Reads to the end of the watch.
    pub(super) async fn end(&mut self) -> Status {
        let deadline = Instant::now() + PATIENCE;
        while Instant::now() < deadline {
            if let Err(status) = self.next().await {
                self.parts.clear();
                return status;
            }
        }
        panic!("the watch has not ended");
    }

    /// Goes on at another replica.
    async fn resume(&mut self, replica: &Replica) {
        self.stream = S::open(replica, self.at).await.unwrap();
        self.next().await.unwrap();
    }
}

/// Changes of models and of what decides about them.
async fn change(replica: &Replica, round: usize) -> i64 {
    let mut policies = PolicyServiceClient::new(replica.channel.clone());
    let license = ["MIT", "CC-BY-NC-4.0"][round / 4 % 2];
    match round % 4 {
        0 => replica.put(model("deployed", license)).await.revision,
        1 => replica.put(model(&format!("m{round}"), license)).await.revision,
        2 => {
            let policy = pb::Policy {
                name: "policies/p".into(),
                condition: "model.publisher = \"acme\"".into(),
                effect: pb::PolicyEffect::Block.into(),
                message: format!("round {round}"),
                mode: [pb::PolicyMode::Enforced, pb::PolicyMode::DryRun][round / 4 % 2].into(),
                ..Default::default()
            };
            let request = pb::UpdatePolicyRequest { policy: Some(policy), allow_missing: true, ..Default::default() };
            policies.update_policy(request).await.unwrap().into_inner().revision
        }
        _ => {
            replica.delete(&format!("publishers/acme/models/m{}", round - 2)).await;
            i64::try_from(replica.store.status().revision).unwrap()
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_watch_goes_on_at_another_replica_and_misses_nothing() {
    let options = anew();
    let [a, b, c] = [Replica::start(&options).await, Replica::start(&options).await, Replica::start(&options).await];
    b.put(model("deployed", "MIT")).await;
    let deployment = pb::Deployment {
        name: "deployments/one".into(),
        model: "publishers/acme/models/deployed".into(),
        r#use: Some(commercial()),
        owner: "team".into(),
        environment: "production".into(),
        ..Default::default()
    };
    let request =
        pb::UpdateDeploymentRequest { deployment: Some(deployment), allow_missing: true, ..Default::default() };
    let deployed =
        DeploymentServiceClient::new(b.channel.clone()).update_deployment(request).await.unwrap().into_inner();
    let now = Some(prost_types::Timestamp { seconds: jiff::Timestamp::now().as_second(), nanos: 0 });
    let start = Position { revision: deployed.revision, time: now };
    a.reaches(start.revision).await;
    c.reaches(start.revision).await;
    let mut models_at_b: Reader<pb::WatchModelsResponse> = Reader::new(&b, start).await;
    let mut verdicts_at_b: Reader<pb::WatchDeploymentsResponse> = Reader::new(&b, start).await;
    let mut models: Reader<pb::WatchModelsResponse> = Reader::new(&a, start).await;
    let mut verdicts: Reader<pb::WatchDeploymentsResponse> = Reader::new(&a, start).await;

    for round in 0..24 {
        let revision = change(&b, round).await;
        if round == 10 {
            models.until(revision).await;
            verdicts.until(revision).await;
        }
    }
    // It does not end before its model is one that it waives for, and it waives once A is gone.
    b.put(model("deployed", "CC-BY-NC-4.0")).await;
    let expires = jiff::Timestamp::now().as_second() + 4;
    let waiver = pb::Waiver {
        reason: "COMMERCIAL_USE_PROHIBITED".into(),
        license: "licenses/CC-BY-NC-4.0".into(),
        approver: "legal".into(),
        ticket: "L-1".into(),
        expire_time: Some(prost_types::Timestamp { seconds: expires, nanos: 0 }),
        ..Default::default()
    };
    let delete = pb::DeletePolicyRequest { name: "policies/p".into(), ..Default::default() };
    PolicyServiceClient::new(b.channel.clone()).delete_policy(delete).await.unwrap();
    let request = pb::CreateWaiverRequest { waiver_id: "w".into(), waiver: Some(waiver), ..Default::default() };
    let waived = WaiverServiceClient::new(b.channel.clone()).create_waiver(request).await.unwrap().into_inner();

    // The replica stops in the middle of it: its watches have told some, and end.
    let Replica { server, store, log, models: a_models, channel } = a;
    let stopping = tokio::task::spawn_blocking(move || server.stop());
    for status in [models.end().await, verdicts.end().await] {
        assert_eq!((status.code(), reason(&status).as_str()), (Code::Unavailable, "STOPPING"));
    }
    drop((a_models, channel));
    stopping.await.unwrap().unwrap();
    drop((store, log));
    models.resume(&c).await;
    verdicts.resume(&c).await;

    // What time brings is told by whoever goes on with it.
    while !verdicts_at_b
        .told
        .iter()
        .any(|(_, change)| change.causes == ["waivers/w"] && change.after() == pb::Verdict::Ineligible)
    {
        verdicts_at_b.next().await.unwrap();
    }
    while jiff::Timestamp::now().as_second() < expires + 1 {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let mut last = waived.revision;
    for round in 24..44 {
        last = change(&b, round).await;
        // Another one that is lost without a word.
        if round == 34 {
            models.until(last).await;
            verdicts.resume(&c).await;
            models.resume(&b).await;
        }
    }
    models_at_b.until(last).await;
    verdicts_at_b.until(last).await;
    models.until(last).await;
    verdicts.until(last).await;
    assert_eq!(models.told, models_at_b.told);
    assert_eq!(verdicts.told, verdicts_at_b.told);
    assert!(models.told.len() > 30 && verdicts.told.len() > 10, "{} {}", models.told.len(), verdicts.told.len());
}

#[tokio::test]
async fn a_watch_is_behind_by_commits_and_not_by_what_else_is_in_etcd() {
    let options = anew();
    let settings = LogSettings { level: LogLevel::Off, ..LogSettings::default() };
    let limits = WatchLimits { behind_max: 3, ..WatchLimits::default() };
    let replica = Replica::start_with(&options, settings, limits).await;
    let start = Position { revision: replica.put(model("one", "MIT")).await.revision, time: None };
    let mut reader: Reader<pb::WatchModelsResponse> = Reader::new(&replica, start).await;
    for round in 0..3 {
        let before = replica.log.status().revision;
        for number in 0..20 {
            let write = weighbridge::store::Write { key: format!("{round}-{number}").into(), value: None };
            replica.log.commit(weighbridge::store::Batch::of([write])).await.unwrap();
        }
        assert!(replica.log.status().revision >= before + 20);
        let written = replica.put(model("one", ["Apache-2.0", "MIT"][round % 2])).await;
        reader.until(written.revision).await;
    }
    assert_eq!(reader.told.len(), 3);
}
