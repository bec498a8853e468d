//! Replicas and members are killed one after the other: what was acknowledged stays, and who reads elsewhere sees nothing of it.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tokio::task::JoinSet;
use tonic::Status;
use tonic::transport::Channel;
use weighbridge::pb::weighbridge::v1 as pb;
use weighbridge::pb::weighbridge::v1::import_models_request::Payload;
use weighbridge::pb::weighbridge::v1::model_service_client::ModelServiceClient;

use super::{
    Acknowledged, LLAMA, Process, blocking, check, cluster_of_three, is_away, leader, model, reach, say, status, until,
    with_deadline,
};

/// Writers at each replica; besides, one writes many models together.
const WRITERS: usize = 3;
/// Models that are written together: more than etcd takes at once.
const TOGETHER: usize = 130;
/// Between two kills, and after the last one.
const CALM: Duration = Duration::from_millis(1_500);

/// What a writer asked for and what was acknowledged of it.
#[derive(Default)]
struct Ledger {
    asked: AtomicU64,
    acknowledged: AtomicU64,
}

/// A replica, in whatever process it runs.
struct Place {
    number: usize,
    channel: Mutex<Channel>,
    /// No error is excused while it is.
    is_alive: AtomicBool,
    reads: AtomicU64,
    acknowledged: Acknowledged,
    writers: [Ledger; WRITERS + 1],
}

impl Place {
    fn channel(&self) -> Channel {
        self.channel.lock().unwrap().clone()
    }

    fn name(&self, writer: usize) -> String {
        format!("publishers/acme/models/one-{}-{writer}", self.number)
    }

    /// Writes one number after the other, each until it is acknowledged.
    async fn write(self: Arc<Self>, writer: usize, stop: Arc<AtomicBool>) {
        let ledger = &self.writers[writer];
        while !stop.load(Ordering::Relaxed) {
            let next = ledger.asked.fetch_add(1, Ordering::SeqCst) + 1;
            loop {
                let written = if writer < WRITERS { self.one(writer, next).await } else { self.many(next).await };
                match written {
                    Ok(revision) => {
                        ledger.acknowledged.store(next, Ordering::SeqCst);
                        self.acknowledged.add(revision);
                        break;
                    }
                    Err(status) => {
                        assert!(is_away(&status) || !self.is_alive.load(Ordering::SeqCst), "{status:?}");
                        if stop.load(Ordering::Relaxed) {
                            return;
                        }
                        tokio::time::sleep(Duration::from_millis(20)).await;
                    }
                }
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    async fn one(&self, writer: usize, number: u64) -> Result<u64, Status> {
        let model = pb::Model { name: self.name(writer), display_name: number.to_string(), ..pb::Model::default() };
        let request = pb::UpdateModelRequest {
            model: Some(model),
            allow_missing: true,
            request_id: format!("{}-{writer}-{number}", self.number),
            ..Default::default()
        };
        let answer = ModelServiceClient::new(self.channel()).update_model(with_deadline(request)).await?;
        Ok(u64::try_from(answer.into_inner().revision).unwrap())
    }

    async fn many(&self, number: u64) -> Result<u64, Status> {
        let line = |i| format!(r#"{{"name": "publishers/acme/models/many-{i}", "displayName": "{number}"}}"#);
        let lines: Vec<String> = (0..TOGETHER).map(line).collect();
        let config = pb::ImportConfig {
            source: pb::ImportSource::Records as i32,
            origin: "many.jsonl".into(),
            ..pb::ImportConfig::default()
        };
        let payloads = [Payload::Config(config), Payload::Chunk(lines.join("\n").into_bytes())];
        let messages = payloads.map(|payload| pb::ImportModelsRequest { payload: Some(payload) });
        let request = with_deadline(tokio_stream::iter(messages));
        let report = ModelServiceClient::new(self.channel()).import_models(request).await?.into_inner().report.unwrap();
        assert_eq!(report.rejected, 0, "{report:?}");
        Ok(u64::try_from(report.revision).unwrap())
    }

    /// Checks and gets. None may fail while the replica lives, and none goes back.
    async fn read(self: Arc<Self>, stop: Arc<AtomicBool>) {
        let mut last = 0;
        while !stop.load(Ordering::Relaxed) {
            let was_alive = self.is_alive.load(Ordering::SeqCst);
            let channel = self.channel();
            let read = async {
                let revision = check(&channel, 0).await?;
                model(&channel, "publishers/meta/models/llama-3.3-70b-instruct").await?;
                Ok::<u64, Status>(revision)
            };
            match read.await {
                Ok(revision) => {
                    assert!(revision >= last, "replica {}: {revision} after {last}", self.number);
                    last = revision;
                    self.reads.fetch_add(1, Ordering::Relaxed);
                }
                Err(status) => {
                    let excused = !was_alive || !self.is_alive.load(Ordering::SeqCst);
                    assert!(excused, "a read of {LLAMA} through replica {}: {status:?}", self.number);
                    // Another process is another connection.
                    last = 0;
                }
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

/// Every writer's last acknowledged number is there, or one that was asked later; what is written together is the same.
async fn verify(channel: &Channel, places: &[Arc<Place>], through: usize) {
    let request = pb::ListModelsRequest { parent: "publishers/acme".into(), page_size: 1_000, ..Default::default() };
    let listed = ModelServiceClient::new(channel.clone()).list_models(with_deadline(request)).await.unwrap();
    let models = listed.into_inner().models;
    let found: BTreeMap<&str, u64> =
        models.iter().map(|model| (model.name.as_str(), model.display_name.parse().unwrap())).collect();
    let stands = |ledger: &Ledger, number: u64, what: &str| {
        let acknowledged = ledger.acknowledged.load(Ordering::SeqCst);
        let asked = ledger.asked.load(Ordering::SeqCst);
        assert!(
            acknowledged <= number && number <= asked,
            "through replica {through}: {what}: {number} is there, {acknowledged} was acknowledged, {asked} asked"
        );
    };
    for place in places {
        for writer in 0..WRITERS {
            let name = place.name(writer);
            stands(&place.writers[writer], found.get(name.as_str()).copied().unwrap_or(0), &name);
        }
    }
    let many = |i| found.get(format!("publishers/acme/models/many-{i}").as_str()).copied();
    let together: Vec<u64> = (0..TOGETHER).filter_map(many).collect();
    assert!(together.is_empty() || together.len() == TOGETHER, "{} of {TOGETHER}", together.len());
    assert!(together.windows(2).all(|pair| pair[0] == pair[1]), "half a batch: {together:?}");
    stands(&places[0].writers[WRITERS], together.first().copied().unwrap_or(0), "what is written together");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killing_a_replica_or_a_member_loses_nothing_and_reads_go_on() {
    let (cluster, _turn) = cluster_of_three().await;
    let endpoints = cluster.endpoints();
    // All at once: each wants to begin the store.
    let (one, two, three) =
        tokio::join!(Process::start(&endpoints, &[]), Process::start(&endpoints, &[]), Process::start(&endpoints, &[]));
    let mut processes = [Some(one), Some(two), Some(three)];
    let mut places = Vec::new();
    for (number, process) in processes.iter().enumerate() {
        places.push(Arc::new(Place {
            number,
            channel: Mutex::new(process.as_ref().unwrap().connect().await),
            is_alive: AtomicBool::new(true),
            reads: AtomicU64::new(0),
            acknowledged: Acknowledged::default(),
            writers: Default::default(),
        }));
    }
    let stop = Arc::new(AtomicBool::new(false));
    let mut tasks = JoinSet::new();
    for place in &places {
        for writer in 0..WRITERS + usize::from(place.number == 0) {
            tasks.spawn(place.clone().write(writer, stop.clone()));
        }
        for _ in 0..2 {
            tasks.spawn(place.clone().read(stop.clone()));
        }
    }
    let calm = async |tasks: &mut JoinSet<()>| {
        if let Ok(ended) = tokio::time::timeout(CALM, tasks.join_next()).await {
            ended.unwrap().unwrap();
        }
    };
    let gaps = |what: &str, from: Instant, among: &[usize]| {
        let gap = |at: &usize| format!("{at}: {:?}", places[*at].acknowledged.longest_gap(from, Instant::now()));
        say(&format!(
            "longest without an acknowledged write, {what}: {}",
            among.iter().map(gap).collect::<Vec<_>>().join(", ")
        ));
    };
    for round in 0..2 {
        let from = Instant::now();
        calm(&mut tasks).await;
        gaps("nothing killed", from, &[0, 1, 2]);

        let killed = Instant::now();
        places[0].is_alive.store(false, Ordering::SeqCst);
        // Dropped it is killed.
        drop(processes[0].take());
        calm(&mut tasks).await;
        gaps("replica 0 killed", killed, &[1, 2]);

        let restarted = Instant::now();
        let process = Process::start(&endpoints, &[]).await;
        *places[0].channel.lock().unwrap() = process.connect().await;
        processes[0] = Some(process);
        reach(&places[0].channel(), places[1].acknowledged.newest()).await;
        say(&format!("replica 0 up to date {:?} after it was started again", restarted.elapsed()));
        tokio::time::sleep(Duration::from_millis(100)).await;
        places[0].is_alive.store(true, Ordering::SeqCst);
        calm(&mut tasks).await;

        for is_leader in [true, false] {
            let leading = leader(&cluster).await;
            let node = (0..3).find(|node| (*node == leading) == is_leader).unwrap();
            let killed = Instant::now();
            let killing = cluster.clone();
            blocking(move || killing.kill(node)).await;
            calm(&mut tasks).await;
            let counts: Vec<usize> = places.iter().map(|place| place.acknowledged.count()).collect();
            until("writes", async || {
                places.iter().zip(&counts).all(|(place, count)| place.acknowledged.count() > *count)
            })
            .await;
            gaps(if is_leader { "the leader killed" } else { "a follower killed" }, killed, &[0, 1, 2]);
            cluster.restart(node);
            let waiting = cluster.clone();
            blocking(move || waiting.wait_healthy(Duration::from_secs(30))).await;
        }
        let writes: usize = places.iter().map(|place| place.acknowledged.count()).sum();
        let reads: u64 = places.iter().map(|place| place.reads.load(Ordering::Relaxed)).sum();
        say(&format!("round {round}: {writes} writes, {reads} reads"));
    }
    until("enough is written and read", async || {
        places.iter().all(|place| place.acknowledged.count() > 50 && place.reads.load(Ordering::Relaxed) > 100)
    })
    .await;
    stop.store(true, Ordering::Relaxed);
    while let Some(ended) = tasks.join_next().await {
        ended.unwrap();
    }

    // What was not acknowledged may still come; what comes after it does not.
    let newest = super::write(&places[1].channel(), "last", "last").await.unwrap();
    for (through, place) in places.iter().enumerate() {
        let channel = place.channel();
        reach(&channel, newest).await;
        assert_eq!(u64::try_from(status(&channel).await.unwrap().revision).unwrap(), newest);
        verify(&channel, &places, through).await;
    }
}
