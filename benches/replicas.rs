//! Three replicas on a cluster of three etcd members, all on one machine: start, memory, how long a write takes and how long until
//! another replica tells of it, and checks with and without etcd.
//!
//! `cargo bench --features etcd --bench replicas [-- --models 100000 --writes 2000 --seconds 5]`
//!
//! The members sync each write to disk. Everything shares the machine's cores, the members too: with a core for each it is faster.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    clippy::print_stderr,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::cast_precision_loss,
    missing_docs,
    reason = "a benchmark stops at the first thing that is not as it expects"
)]

mod asked;
mod binary;
#[path = "../tests/etcd/cluster.rs"]
#[allow(dead_code, unreachable_pub, reason = "tests use the rest of it")]
mod cluster;
mod drawn;

use std::sync::Arc;
use std::time::{Duration, Instant};

use tonic::transport::{Channel, Endpoint};
use weighbridge::pb::weighbridge::v1 as pb;
use weighbridge::pb::weighbridge::v1::eligibility_service_client::EligibilityServiceClient;
use weighbridge::pb::weighbridge::v1::model_service_client::ModelServiceClient;
use weighbridge::registry::Registry;
use weighbridge::store::{EtcdOptions, EtcdStore, Store as _};

use binary::Server;
use cluster::Cluster;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Models of an import.
const CHUNK: u64 = 25_000;

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    // `cargo test --benches`, which only wants to know that it starts, does not say this.
    if !arguments.iter().any(|a| a == "--bench") {
        return;
    }
    let number = |name: &str, default: u64| {
        let at = arguments.iter().position(|a| a == name);
        at.and_then(|at| arguments.get(at + 1)).and_then(|text| text.parse().ok()).unwrap_or(default)
    };
    let (models, writes) = (number("--models", 100_000), number("--writes", 2_000));
    let seconds = Duration::from_secs(number("--seconds", 5));

    let cluster = Cluster::start_durable(3);
    fill(models, &cluster);

    let endpoints = cluster.endpoints().join(",");
    let options = ["--store", "etcd", "--etcd-endpoints", &endpoints, "--max-staleness-s", "3600"];
    let mut started = Vec::new();
    let replicas: Vec<Server> = (0..3)
        .map(|_| {
            let begun = Instant::now();
            let server = Server::start(&options);
            started.push(begun.elapsed().as_secs_f64());
            server
        })
        .collect();
    println!("start of a replica {:.2} s, {:.2} s, {:.2} s", started[0], started[1], started[2]);
    let resident: Vec<u64> = replicas.iter().map(|replica| replica.resident_mib() as u64).collect();
    println!("resident after it {resident:?} MiB");

    let runtime = drawn::runtime();
    let channels: Vec<Channel> = runtime.block_on(async {
        let mut channels = Vec::new();
        for replica in &replicas {
            channels
                .push(Endpoint::from_shared(format!("http://{}", replica.address)).unwrap().connect().await.unwrap());
        }
        channels
    });
    runtime.block_on(lag(&channels, writes));
    let before = runtime.block_on(checks(&channels[0], seconds));
    (0..3).for_each(|member| cluster.kill(member));
    std::thread::sleep(Duration::from_secs(1));
    let without = runtime.block_on(checks(&channels[0], seconds));
    println!("checks a second {before:.0} with etcd, {without:.0} without it: {:.2} times", without / before);
}

/// Imports drawn models, as `weighbridge import records` does.
fn fill(models: u64, cluster: &Cluster) {
    drawn::runtime().block_on(async {
        let store = EtcdStore::open(&EtcdOptions::new(cluster.endpoints(), "weighbridge")).unwrap();
        let store = Arc::new(store);
        let registry = Registry::open(store.clone(), Arc::new(jiff::Timestamp::now)).await.unwrap();
        let templates = drawn::templates(&registry);
        let (mut bytes, mut took) = (0, Duration::ZERO);
        for first in (0..models).step_by(CHUNK as usize) {
            let imported = drawn::import(&registry, &templates, first..(first + CHUNK).min(models)).await;
            (bytes, took) = (bytes + imported.0, took + imported.1);
        }
        let stored = store.status().data_size_bytes;
        println!(
            "{models} models: import {:.1} s, {} bytes a model as protobuf, {} stored",
            took.as_secs_f64(),
            bytes / models,
            stored / models
        );
        // What was staged is put in its place behind the answer.
        tokio::time::sleep(Duration::from_secs(10)).await;
        println!("etcd with the history of the import: {}", sizes(cluster));
        store.compact(u64::MAX).await.unwrap();
        // It is removed behind the answer.
        tokio::time::sleep(Duration::from_secs(5)).await;
        for endpoint in cluster.endpoints() {
            let client = etcd_client::Client::connect([endpoint], None).await.unwrap();
            client.maintenance_client().defragment().await.unwrap();
        }
        println!("etcd without it, defragmented: {}", sizes(cluster));
    });
}

/// How long an update takes, and how long after its answer another replica's watch tells of it.
async fn lag(channels: &[Channel], writes: u64) {
    let mut writer = ModelServiceClient::new(channels[0].clone());
    let mut watcher = ModelServiceClient::new(channels[1].clone());
    let model = pb::Model { display_name: "0".into(), ..Default::default() };
    let request = pb::CreateModelRequest {
        parent: "publishers/lag".into(),
        model_id: "one".into(),
        model: Some(model),
        ..Default::default()
    };
    let created = writer.create_model(request).await.unwrap().into_inner();
    let request = pb::WatchModelsRequest {
        parent: "publishers/lag".into(),
        start_revision: created.revision,
        ..Default::default()
    };
    let mut told = watcher.watch_models(request).await.unwrap().into_inner();
    let (tell, mut seen) = tokio::sync::mpsc::unbounded_channel();
    tokio::spawn(async move {
        while let Ok(Some(message)) = told.message().await {
            if !message.changes.is_empty() {
                let _ = tell.send((message.revision, Instant::now()));
            }
        }
    });
    let (mut written, mut lags) = (Vec::new(), Vec::new());
    for number in 1..=writes {
        let model = pb::Model { name: created.name.clone(), display_name: number.to_string(), ..Default::default() };
        let update_mask = Some(prost_types::FieldMask { paths: vec!["display_name".into()] });
        let request = pb::UpdateModelRequest { model: Some(model), update_mask, ..Default::default() };
        let begun = Instant::now();
        let updated = writer.update_model(request).await.unwrap().into_inner();
        let acknowledged = Instant::now();
        written.push((acknowledged - begun).as_secs_f64() * 1e3);
        let (revision, at) = seen.recv().await.unwrap();
        assert_eq!(revision, updated.revision);
        lags.push(at.saturating_duration_since(acknowledged).as_secs_f64() * 1e3);
    }
    for (what, times) in [("update", &mut written), ("watch of another replica, after the answer", &mut lags)] {
        times.sort_by(f64::total_cmp);
        let at = |share: f64| times[((times.len() - 1) as f64 * share) as usize];
        println!("{what}: p50 {:.2}, p99 {:.2}, longest {:.2} ms", at(0.5), at(0.99), at(1.0));
    }
}

/// Checks a second on one connection, 16 at a time.
async fn checks(channel: &Channel, seconds: Duration) -> f64 {
    let use_ = asked::commercial(&[pb::Activity::FineTune]);
    let end = Instant::now() + seconds;
    let tasks: Vec<_> = (0..16)
        .map(|_| {
            let (mut client, use_) = (EligibilityServiceClient::new(channel.clone()), use_.clone());
            tokio::spawn(async move {
                let mut count = 0_u64;
                while Instant::now() < end {
                    let request = asked::check("publishers/meta/models/llama-3.3-70b-instruct", &use_);
                    client.check_eligibility(request).await.unwrap();
                    count += 1;
                }
                count
            })
        })
        .collect();
    let mut count = 0;
    for task in tasks {
        count += task.await.unwrap();
    }
    count as f64 / seconds.as_secs_f64()
}

/// What each member keeps.
fn sizes(cluster: &Cluster) -> String {
    let all = cluster.database_sizes().into_iter().map(|size| format!("{} MB", size >> 20));
    all.collect::<Vec<_>>().join(", ")
}
