//! Lists, counts and reads on a registry of a million models, beside the same on a hundred thousand.
//!
//! `cargo bench --bench million [-- --models 1000000 --against 100000 --seconds 5 | --models 1000000 --keep FOLDER]`
//!
//! The models are drawn from the built-in catalog: licenses, parts, modalities and dates as often as they stand there,
//! sizes and contexts spread around them, a third of them made from another model, publishers from large to small. They are
//! loaded as records in chunks, as `weighbridge import records` does, into a durable store, and asked for by clients of a
//! server on the same machine: the figures hold for both on two cores. What is asked for is the same for both sizes.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::cast_precision_loss,
    missing_docs,
    reason = "a benchmark stops at the first thing that is not as it expects"
)]

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use prost::Message as _;
use tonic::transport::{Channel, Endpoint};
use weighbridge::convert;
use weighbridge::pb::weighbridge::v1 as pb;
use weighbridge::pb::weighbridge::v1::eligibility_service_client::EligibilityServiceClient;
use weighbridge::pb::weighbridge::v1::model_service_client::ModelServiceClient;
use weighbridge::registry::{ImportFile, ImportRequest, Registry};
use weighbridge::server::{self, ServerOptions};
use weighbridge::store::{SledOptions, SledStore};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Records in one import.
const CHUNK: u64 = 25_000;
const CLIENTS: usize = 8;

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    // `cargo test --benches` only wants to know that it starts.
    if arguments.iter().any(|a| a == "--test") {
        return;
    }
    let number = |name: &str, default: u64| {
        let at = arguments.iter().position(|a| a == name);
        at.and_then(|at| arguments.get(at + 1)).and_then(|text| text.parse().ok()).unwrap_or(default)
    };
    let seconds = Duration::from_secs(number("--seconds", 5));
    // For looking at one thing again and again: a folder that is filled once and kept.
    if let Some(at) = arguments.iter().position(|a| a == "--keep") {
        run(number("--models", 1_000_000), Path::new(&arguments[at + 1]), seconds);
        return;
    }
    for models in [number("--against", 100_000), number("--models", 1_000_000)] {
        let folder = tempfile::tempdir().unwrap();
        run(models, folder.path(), seconds);
    }
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap()
}

async fn open(folder: &Path) -> Registry {
    let store = Arc::new(SledStore::open(SledOptions::new(folder.to_owned())).unwrap());
    Registry::open(store, Arc::new(jiff::Timestamp::now)).await.unwrap()
}

fn run(models: u64, folder: &Path, seconds: Duration) {
    println!("\n== {models} models");
    let runtime = runtime();
    let started = Instant::now();
    let (bytes, built_in) = runtime.block_on(async {
        let registry = open(folder).await;
        let there = registry.snapshot().model_count() as u64;
        if there > models {
            return (0, there - models);
        }
        let templates = templates(&registry);
        let mut bytes = 0;
        let mut first = 0;
        while first < models {
            let last = (first + CHUNK).min(models);
            let mut lines = Vec::new();
            for i in first..last {
                let model = draw(&templates, i);
                bytes += model.encoded_len();
                lines.extend_from_slice(json(&model).as_bytes());
                lines.push(b'\n');
            }
            let config = pb::ImportConfig { source: pb::ImportSource::Records as i32, ..Default::default() };
            let files = vec![ImportFile { path: "drawn.ndjson".into(), bytes: lines }];
            let report = registry.import(ImportRequest { config, files }).await.unwrap();
            assert_eq!(report.rejected, 0, "{:?}", report.entries.first());
            first = last;
        }
        (bytes, registry.snapshot().model_count() as u64 - models)
    });
    println!("import {:.1} s, {} bytes a model as protobuf", started.elapsed().as_secs_f64(), bytes as u64 / models);
    drop(runtime);

    let runtime = self::runtime();
    let started = Instant::now();
    let registry = Arc::new(runtime.block_on(open(folder)));
    println!("start {:.2} s, resident {} MB", started.elapsed().as_secs_f64(), resident_mb());
    assert_eq!(registry.snapshot().model_count() as u64, models + built_in);
    println!("groups of equal terms {}", registry.snapshot().model_index().groups().count());
    serve_and_ask(&runtime, &registry, seconds);
    println!("resident after {} MB", resident_mb());
}

fn resident_mb() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() / 1024
}

fn json(model: &pb::Model) -> String {
    let descriptor = convert::descriptor("weighbridge.v1.Model").unwrap();
    let message = prost_reflect::DynamicMessage::decode(descriptor, model.encode_to_vec().as_slice()).unwrap();
    serde_json::to_string(&message).unwrap()
}

/// The models of the catalog.
fn templates(registry: &Registry) -> Vec<pb::Model> {
    let names: Vec<String> = registry.snapshot().models().map(|entry| entry.record.name.to_string()).collect();
    names.iter().map(|name| registry.model(name).unwrap()).collect()
}

/// A number that depends on another one alone (splitmix64).
fn mix(mut n: u64) -> u64 {
    n = n.wrapping_add(0x9e37_79b9_7f4a_7c15);
    n = (n ^ (n >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    n = (n ^ (n >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    n ^ (n >> 31)
}

struct Dice(u64);

impl Dice {
    fn below(&mut self, n: u64) -> u64 {
        self.0 = mix(self.0);
        self.0 % n
    }

    fn pick<'a, T>(&mut self, list: &'a [T]) -> &'a T {
        let at = self.below(list.len() as u64) as usize;
        &list[at]
    }
}

fn draw(templates: &[pb::Model], i: u64) -> pb::Model {
    let mut dice = Dice(i);
    let template = dice.pick(templates);
    // Few publishers have much, and many have little.
    let publisher = format!("maker-{}", (dice.below(1 << 24) * dice.below(1 << 24)) >> 34);
    let base = template.name.rsplit('/').next().unwrap();
    let id: String = format!("{}-{i}", base.chars().take(80).collect::<String>());
    let day = format!("{}-{:02}-{:02}", 2022 + dice.below(5), 1 + dice.below(12), 1 + dice.below(28));
    let size = i64::try_from(dice.below(1_000) + 1).unwrap() * 100_000_000;
    let mut model = pb::Model {
        name: format!("publishers/{publisher}/models/{id}"),
        display_name: format!("{} {i}", template.display_name),
        description: "A model drawn for a benchmark. ".repeat(12 + dice.below(8) as usize),
        aliases: vec![format!("{publisher}/{}-{i}", template.display_name.replace(' ', "-"))],
        components: template.components.clone(),
        input_modalities: template.input_modalities.clone(),
        output_modalities: template.output_modalities.clone(),
        capabilities: template.capabilities.clone(),
        context_tokens: *dice.pick(&[0, 4_096, 8_192, 32_768, 128_000, 131_072, 200_000, 1_000_000]),
        parameters: Some(pb::Parameters { total: size, active: size }),
        release_date: day,
        family: template.family.clone(),
        sources: vec![pb::Source { title: "benchmark".into(), ..Default::default() }],
        ..Default::default()
    };
    for component in &mut model.components {
        component.note.clear();
        component.conclusion = None;
    }
    if dice.below(3) == 0 {
        let of = dice.pick(templates).name.clone();
        let relations = [pb::base_model::Relation::FineTune, pb::base_model::Relation::Quantized];
        let relation = *dice.pick(&relations) as i32;
        model.base_models = vec![pb::BaseModel { model: of, relation, ..Default::default() }];
    }
    model
}

/// Three terms, of which few and of which many models are.
const SELECTIVE: &str = "publisher = maker-7 AND license.commercial_use = ALLOWED AND context_tokens >= 128k";
const MEDIUM: &str = "tier = OPEN_WEIGHT AND license.commercial_use = ALLOWED AND context_tokens >= 128k";
const WIDE: &str = "tier = OPEN_WEIGHT";

fn list(filter: &str, order_by: &str) -> pb::ListModelsRequest {
    pb::ListModelsRequest { filter: filter.into(), order_by: order_by.into(), page_size: 50, ..Default::default() }
}

fn serve_and_ask(runtime: &tokio::runtime::Runtime, registry: &Arc<Registry>, seconds: Duration) {
    let listeners = server::bind("127.0.0.1:0".parse().unwrap(), 2).unwrap();
    let address = format!("http://{}", listeners[0].local_addr().unwrap());
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let served = registry.clone();
    let server = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let shutdown = async { stopped.await.unwrap_or_default() };
        runtime.block_on(server::run(listeners, served, ServerOptions::default(), shutdown)).unwrap();
    });
    runtime.block_on(async {
        let endpoint = Endpoint::from_shared(address).unwrap();
        let mut channels = Vec::new();
        for _ in 0..CLIENTS {
            channels.push(endpoint.connect().await.unwrap());
        }
        for (what, request) in [
            ("three terms, selective, by date", list(SELECTIVE, "release_date desc")),
            ("three terms, a tenth, by date", list(MEDIUM, "release_date desc")),
            ("three terms, a tenth, by name", list(MEDIUM, "")),
            ("one term, most, by name", list(WIDE, "")),
            ("one term, most, by context", list(WIDE, "context_tokens desc")),
            ("no filter", list("", "")),
            ("a bare word", list("llama instruct", "")),
        ] {
            let ask = |channel: Channel| {
                let request = request.clone();
                async move { ModelServiceClient::new(channel).list_models(request).await.unwrap().into_inner() }
            };
            let found = ask(channels[0].clone()).await.total_size;
            measured(&format!("{what} ({found})"), &channels, seconds, ask).await;
        }
        let fields =
            ["tier", "publisher", "license.commercial_use", "license.duties", "context_tokens", "release_date"];
        let request = pb::AggregateModelsRequest { fields: fields.map(str::to_owned).to_vec(), ..Default::default() };
        let count = |channel: Channel| {
            let request = request.clone();
            async move { ModelServiceClient::new(channel).aggregate_models(request).await.unwrap().into_inner() }
        };
        measured("six facets of everything", &channels[..1], seconds, count).await;
        let request = pb::ListEligibleModelsRequest {
            r#use: Some(pb::Use {
                purpose: pb::Purpose::Commercial as i32,
                hosting: pb::Hosting::SelfHosted as i32,
                deployment_countries: vec!["US".into()],
                end_user_countries: vec!["US".into()],
                ..Default::default()
            }),
            ..Default::default()
        };
        let eligible = |channel: Channel| {
            let request = request.clone();
            async move { EligibilityServiceClient::new(channel).list_eligible_models(request).await.unwrap() }
        };
        measured("eligible models, counts by verdict", &channels[..1], seconds, eligible).await;
        let names: Arc<Vec<String>> =
            Arc::new(registry.snapshot().models().step_by(97).map(|e| e.record.name.to_string()).collect());
        let turn = Arc::new(AtomicU64::new(0));
        let get = |channel: Channel| {
            let name = names[turn.fetch_add(1, Ordering::Relaxed) as usize % names.len()].clone();
            async move { ModelServiceClient::new(channel).get_model(pb::GetModelRequest { name }).await.unwrap() }
        };
        measured("GetModel", &channels, seconds, get).await;
        update(registry, &channels[0], seconds).await;
    });
    let _ = stop.send(());
    server.join().unwrap();
}

/// Median and 99th percentile of calls one after the other, on one connection and on all.
async fn measured<T, F: Future<Output = T> + Send>(
    what: &str,
    channels: &[Channel],
    seconds: Duration,
    ask: impl Fn(Channel) -> F,
) {
    let one = rounds(&channels[..1], seconds, &ask).await;
    let all = rounds(channels, seconds, &ask).await;
    println!(
        "{what:<48} p50 {:>9.3} ms   {} clients: p50 {:>9.3} ms  p99 {:>9.3} ms",
        one.0,
        channels.len(),
        all.0,
        all.1
    );
}

async fn rounds<T, F: Future<Output = T>>(
    channels: &[Channel],
    seconds: Duration,
    ask: &impl Fn(Channel) -> F,
) -> (f64, f64) {
    let end = Instant::now() + seconds / 2;
    let each = channels.iter().map(|channel| async move {
        let mut took = Vec::new();
        while Instant::now() < end {
            let started = Instant::now();
            ask(channel.clone()).await;
            took.push(started.elapsed().as_secs_f64() * 1e3);
        }
        took
    });
    let mut took: Vec<f64> = futures_all(each).await.into_iter().flatten().collect();
    took.sort_by(f64::total_cmp);
    assert!(!took.is_empty(), "give it more `--seconds`");
    (took[took.len() / 2], took[(took.len() * 99 / 100).min(took.len() - 1)])
}

/// Waits for all at once, on this task.
async fn futures_all<T>(each: impl Iterator<Item = impl Future<Output = T>>) -> Vec<T> {
    let mut left: Vec<_> = each.map(|f| (Box::pin(f), None)).collect();
    std::future::poll_fn(|context| {
        let mut pending = false;
        for (future, done) in &mut left {
            if done.is_none() {
                match future.as_mut().poll(context) {
                    std::task::Poll::Ready(value) => *done = Some(value),
                    std::task::Poll::Pending => pending = true,
                }
            }
        }
        if pending { std::task::Poll::Pending } else { std::task::Poll::Ready(()) }
    })
    .await;
    left.into_iter().filter_map(|(_, done)| done).collect()
}

/// One durable update after the other, while a reader asks for the same page again and again.
async fn update(registry: &Arc<Registry>, channel: &Channel, seconds: Duration) {
    let name = registry.snapshot().models().nth(1_000).unwrap().record.name.to_string();
    let mut model = registry.model(&name).unwrap();
    let stop = Arc::new(AtomicBool::new(false));
    let (reads, over) = (Arc::new(AtomicU64::new(0)), stop.clone());
    let (reader, counted) = (channel.clone(), reads.clone());
    let reading = tokio::spawn(async move {
        let mut client = ModelServiceClient::new(reader);
        while !over.load(Ordering::Relaxed) {
            client.list_models(list(MEDIUM, "")).await.unwrap();
            counted.fetch_add(1, Ordering::Relaxed);
        }
    });
    let mut took = Vec::new();
    let end = Instant::now() + seconds;
    let mut tokens = 1_000;
    while Instant::now() < end {
        tokens += 1;
        model.context_tokens = tokens;
        model.etag.clear();
        let request = pb::UpdateModelRequest { model: Some(model.clone()), ..Default::default() };
        let started = Instant::now();
        registry.update_model(request).await.unwrap();
        took.push(started.elapsed().as_secs_f64() * 1e3);
    }
    stop.store(true, Ordering::Relaxed);
    reading.await.unwrap();
    took.sort_by(f64::total_cmp);
    let per_second = reads.load(Ordering::Relaxed) as f64 / seconds.as_secs_f64();
    println!("durable update p50 {:.3} ms, {per_second:.0} pages a second beside it", took[took.len() / 2]);
}
