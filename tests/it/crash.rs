//! The process is killed at random moments, under load and while it starts, compacts, backs up and restores: what was
//! acknowledged is there, batches are whole, and it always starts again.
//!
//! A few rounds by default; `WEIGHBRIDGE_CRASH_ROUNDS=300 cargo test --release --test it crash` runs the long form.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::task::JoinSet;
use tonic::transport::Channel;
use weighbridge::pb::weighbridge::v1 as pb;
use weighbridge::pb::weighbridge::v1::admin_service_client::AdminServiceClient;
use weighbridge::pb::weighbridge::v1::import_models_request::Payload;
use weighbridge::pb::weighbridge::v1::model_service_client::ModelServiceClient;

use crate::cli::{Serving, weighbridge};

/// Writers of single models at once.
const WRITERS: usize = 6;
/// Models that are written together.
const TOGETHER: usize = 30;

/// Says what the long form came to; the runner shows it with `--nocapture`.
#[allow(clippy::print_stdout, reason = "the figures of the long form")]
fn say(text: &str) {
    println!("{text}");
}

fn rounds(short: u64) -> u64 {
    let asked = std::env::var("WEIGHBRIDGE_CRASH_ROUNDS").ok().and_then(|rounds| rounds.parse().ok());
    asked.unwrap_or(short)
}

/// Other moments in every run.
struct Random(u64);

impl Random {
    fn new() -> Self {
        Self(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs())
    }

    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % limit
    }

    fn moment(&mut self, at_most_ms: u64) -> Duration {
        Duration::from_millis(self.below(at_most_ms))
    }
}

/// What was asked and what was acknowledged, of each writer; the last one writes together.
#[derive(Default)]
struct Ledger {
    asked: [AtomicU64; WRITERS + 1],
    acknowledged: [AtomicU64; WRITERS + 1],
}

impl Ledger {
    fn total(&self) -> u64 {
        self.acknowledged.iter().map(|count| count.load(Ordering::SeqCst)).sum()
    }
}

async fn connect(serving: &Serving) -> Channel {
    Channel::from_shared(serving.address().to_owned()).unwrap().connect().await.unwrap()
}

/// Writes until the server is gone.
fn load(channel: &Channel, ledger: &Arc<Ledger>) -> JoinSet<()> {
    let mut writers = JoinSet::new();
    for writer in 0..=WRITERS {
        let (ledger, channel) = (ledger.clone(), channel.clone());
        writers.spawn(async move {
            loop {
                let next = ledger.asked[writer].fetch_add(1, Ordering::SeqCst) + 1;
                let written =
                    if writer < WRITERS { one(&channel, writer, next).await } else { many(&channel, next).await };
                if written.is_err() {
                    return;
                }
                ledger.acknowledged[writer].store(next, Ordering::SeqCst);
            }
        });
    }
    writers
}

async fn one(channel: &Channel, writer: usize, number: u64) -> Result<(), tonic::Status> {
    let name = format!("publishers/acme/models/one-{writer}");
    let model = pb::Model { name, display_name: number.to_string(), ..pb::Model::default() };
    let request = pb::UpdateModelRequest { model: Some(model), allow_missing: true, ..Default::default() };
    ModelServiceClient::new(channel.clone()).update_model(request).await.map(|_| ())
}

async fn many(channel: &Channel, number: u64) -> Result<(), tonic::Status> {
    let lines: Vec<String> = (0..TOGETHER)
        .map(|i| format!(r#"{{"name": "publishers/acme/models/many-{i}", "displayName": "{number}"}}"#))
        .collect();
    let config = pb::ImportConfig {
        source: pb::ImportSource::Records as i32,
        origin: "many.jsonl".into(),
        ..pb::ImportConfig::default()
    };
    let payloads = [Payload::Config(config), Payload::Chunk(lines.join("\n").into_bytes())];
    let messages = payloads.map(|payload| pb::ImportModelsRequest { payload: Some(payload) });
    let imported = ModelServiceClient::new(channel.clone()).import_models(tokio_stream::iter(messages)).await?;
    let report = imported.into_inner().report.unwrap();
    assert_eq!(report.rejected, 0, "{report:?}");
    Ok(())
}

/// Every writer's last acknowledged number is there, or one that was asked later; what is written together is the same.
async fn check(channel: &Channel, ledger: &Ledger, what: &str) {
    let request = pb::ListModelsRequest { parent: "publishers/acme".into(), page_size: 1_000, ..Default::default() };
    let models = ModelServiceClient::new(channel.clone()).list_models(request).await.unwrap().into_inner().models;
    let found: BTreeMap<&str, u64> = models
        .iter()
        .map(|model| (model.name.rsplit('/').next().unwrap(), model.display_name.parse().unwrap()))
        .collect();
    let stands = |writer: usize, number: u64| {
        let acknowledged = ledger.acknowledged[writer].load(Ordering::SeqCst);
        let asked = ledger.asked[writer].load(Ordering::SeqCst);
        assert!(
            acknowledged <= number && number <= asked,
            "{what}: writer {writer}: {number} is there, {acknowledged} was acknowledged, {asked} asked"
        );
    };
    for writer in 0..WRITERS {
        stands(writer, found.get(format!("one-{writer}").as_str()).copied().unwrap_or(0));
    }
    let together: Vec<u64> = (0..TOGETHER).filter_map(|i| found.get(format!("many-{i}").as_str()).copied()).collect();
    assert!(together.is_empty() || together.len() == TOGETHER, "{what}: {} of {TOGETHER}", together.len());
    assert!(together.windows(2).all(|pair| pair[0] == pair[1]), "{what}: half a batch: {together:?}");
    stands(WRITERS, together.first().copied().unwrap_or(0));
}

fn verified(data: &Path, what: &str) {
    let output = weighbridge().args(["verify", "--data-dir"]).arg(data).output().unwrap();
    assert!(output.status.success(), "{what}: {}", String::from_utf8_lossy(&output.stdout));
}

fn quiet(command: &mut Command) -> Child {
    command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
}

fn kill(child: &mut Child) {
    let _ = child.kill();
    child.wait().unwrap();
}

/// With history that is let go of at every start, and a backup under way in every third round.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_kill_under_load_loses_nothing_that_was_acknowledged() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let (ledger, mut random) = (Arc::new(Ledger::default()), Random::new());
    let rounds = rounds(6);
    for round in 0..rounds {
        let what = format!("round {round}");
        let more: &[&str] = if round % 2 == 0 { &["--history-mib", "1"] } else { &[] };
        let serving = Serving::start(&data, more);
        let channel = connect(&serving).await;
        check(&channel, &ledger, &what).await;
        let mut writers = load(&channel, &ledger);
        let backup = (round % 3 == 0).then(|| {
            let mut admin = AdminServiceClient::new(channel.clone());
            tokio::spawn(async move {
                let mut stream = admin.backup(pb::BackupRequest {}).await?.into_inner();
                while stream.message().await?.is_some() {}
                Ok::<(), tonic::Status>(())
            })
        });
        tokio::time::sleep(Duration::from_millis(20) + random.moment(700)).await;
        drop(serving);
        while let Some(ended) = writers.join_next().await {
            ended.unwrap();
        }
        if let Some(backup) = backup {
            let _ = backup.await.unwrap();
        }
    }
    verified(&data, "at the end");
    say(&format!("{rounds} kills, {} acknowledged writes", ledger.total()));
    assert!(ledger.total() > rounds);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_kill_during_the_start_loses_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let (ledger, mut random) = (Arc::new(Ledger::default()), Random::new());
    for round in 0..rounds(4) {
        // The first ones while the store is being made.
        for _ in 0..3 {
            let mut starting = quiet(weighbridge().args(["serve", "--listen", "127.0.0.1:0", "--data-dir"]).arg(&data));
            tokio::time::sleep(random.moment(400)).await;
            kill(&mut starting);
        }
        let serving = Serving::start(&data, &["--history-mib", "1"]);
        let channel = connect(&serving).await;
        check(&channel, &ledger, &format!("round {round}")).await;
        let mut writers = load(&channel, &ledger);
        tokio::time::sleep(random.moment(200)).await;
        drop(serving);
        while let Some(ended) = writers.join_next().await {
            ended.unwrap();
        }
    }
    verified(&data, "at the end");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_kill_during_a_compaction_loses_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let (ledger, mut random) = (Arc::new(Ledger::default()), Random::new());
    for round in 0..rounds(4) {
        let what = format!("round {round}");
        let serving = Serving::start(&data, &[]);
        let channel = connect(&serving).await;
        check(&channel, &ledger, &what).await;
        let mut writers = load(&channel, &ledger);
        tokio::time::sleep(random.moment(300)).await;
        drop(serving);
        while let Some(ended) = writers.join_next().await {
            ended.unwrap();
        }
        // What was not closed in order is opened once first.
        drop(Serving::start(&data, &[]));
        for _ in 0..3 {
            let keep = (1 + random.below(50)).to_string();
            let mut compacting =
                quiet(weighbridge().args(["compact", "--keep-revisions", &keep, "--data-dir"]).arg(&data));
            tokio::time::sleep(random.moment(600)).await;
            kill(&mut compacting);
            verified(&data, &what);
        }
    }
    let output = weighbridge().args(["compact", "--keep-revisions", "1", "--data-dir"]).arg(&data).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let serving = Serving::start(&data, &[]);
    check(&connect(&serving).await, &ledger, "at the end").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_kill_during_a_restore_leaves_all_or_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let (data, file) = (folder.path().join("data"), folder.path().join("file"));
    let (ledger, mut random) = (Arc::new(Ledger::default()), Random::new());
    let serving = Serving::start(&data, &[]);
    let channel = connect(&serving).await;
    let mut writers = load(&channel, &ledger);
    tokio::time::sleep(Duration::from_millis(500)).await;
    writers.abort_all();
    while writers.join_next().await.is_some() {}
    let backup = weighbridge().arg("backup").arg(&file).args(["--server", serving.address()]).output().unwrap();
    assert!(backup.status.success(), "{}", String::from_utf8_lossy(&backup.stderr));
    drop(serving);
    let refused = Mutex::new(0);
    for round in 0..rounds(4) {
        let target = folder.path().join(format!("restored-{round}"));
        let restore = || {
            let mut command = weighbridge();
            command.arg("restore").arg(&file).arg("--data-dir").arg(&target);
            command
        };
        let mut restoring = quiet(&mut restore());
        tokio::time::sleep(random.moment(500)).await;
        kill(&mut restoring);
        let again = restore().output().unwrap();
        let text = String::from_utf8_lossy(&again.stderr);
        // It had come to its end before, or comes to it now.
        assert!(again.status.success() || text.contains("holds a store already"), "{text}");
        *refused.lock().unwrap() += u64::from(!again.status.success());
        verified(&target, &format!("round {round}"));
        let serving = Serving::start(&target, &[]);
        check(&connect(&serving).await, &ledger, &format!("round {round}")).await;
        drop(serving);
        std::fs::remove_dir_all(&target).unwrap();
    }
    say(&format!("{} restores had come to their end before the kill", refused.lock().unwrap()));
}
