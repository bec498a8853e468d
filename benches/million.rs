//! Lists, counts and reads on a registry of a million models, beside the same on a hundred thousand.
//!
//! `cargo bench --bench million [-- --models 1000000 --against 100000 --seconds 5 | --models 1000000 --keep FOLDER]`
//!
//! The models are drawn (`drawn/`) and loaded as records in chunks, as `weighbridge import records` does, into a durable store,
//! and asked for by clients of a server on the same machine: the figures hold for both on two cores. What is asked for is the
//! same for both sizes.

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

mod drawn;
mod echo;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use prost::Message as _;
use tonic::transport::{Channel, Endpoint};
use weighbridge::pb::weighbridge::v1 as pb;
use weighbridge::pb::weighbridge::v1::eligibility_service_client::EligibilityServiceClient;
use weighbridge::pb::weighbridge::v1::model_service_client::ModelServiceClient;
use weighbridge::pb::weighbridge::v1::model_service_server::ModelServiceServer;
use weighbridge::registry::Registry;
use weighbridge::server::{self, ServerOptions};

use drawn::{fill, import, open, runtime, templates};
use echo::Echo;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const CLIENTS: usize = 8;

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    // `cargo test --benches`, which only wants to know that it starts, does not say this.
    if !arguments.iter().any(|a| a == "--bench") {
        return;
    }
    let after = |name: &str| {
        let at = arguments.iter().position(|a| a == name)?;
        arguments.get(at + 1)
    };
    let number = |name: &str, default: u64| after(name).and_then(|text| text.parse().ok()).unwrap_or(default);
    let seconds = Duration::from_secs(number("--seconds", 5));
    let models = number("--models", 1_000_000);
    // The parts of a run are processes of their own, so that the memory of one is not counted with another.
    if let Some(folder) = after("--fill") {
        return fill(models, Path::new(folder));
    }
    if let Some(folder) = after("--ask") {
        return ask(models, Path::new(folder), seconds);
    }
    // For looking at one thing again and again: a folder that is filled once and kept.
    if let Some(folder) = after("--keep") {
        let folder = Path::new(folder);
        return both(models, folder, seconds);
    }
    for models in [number("--against", 100_000), models] {
        let folder = tempfile::tempdir().unwrap();
        both(models, &folder.path().join("store"), seconds);
    }
}

fn both(models: u64, folder: &Path, seconds: Duration) {
    println!("\n== {models} models");
    let again = |part: &str| {
        let mut command = std::process::Command::new(std::env::current_exe().unwrap());
        command.args(["--bench", "--models", &models.to_string(), "--seconds", &seconds.as_secs().to_string(), part]);
        assert!(command.arg(folder).status().unwrap().success());
    };
    if !folder.exists() {
        again("--fill");
    }
    again("--ask");
}

fn ask(models: u64, folder: &Path, seconds: Duration) {
    let runtime = runtime();
    let started = Instant::now();
    let registry = Arc::new(runtime.block_on(open(folder)));
    println!("start {:.2} s, resident {} MB", started.elapsed().as_secs_f64(), resident_mb());
    assert!(registry.snapshot().model_count() as u64 >= models);
    println!("groups of equal terms {}", registry.snapshot().model_index().groups().count());
    serve_and_ask(&runtime, &registry, seconds);
    println!("resident after {} MB", resident_mb());
}

/// What the engine alone takes for a durable write of 1 KiB: to insert, to flush, and to sync its file.
fn bare(seconds: Duration) {
    let folder = tempfile::tempdir().unwrap();
    let db = sled::Config::new().path(folder.path()).flush_every_ms(None).open().unwrap();
    let file = std::fs::File::open(folder.path().join("db")).unwrap();
    let (mut took, mut i) = (Vec::new(), 0_u64);
    let end = Instant::now() + seconds;
    while Instant::now() < end {
        i += 1;
        let started = Instant::now();
        db.insert(i.to_be_bytes(), [i as u8; 1_024].as_slice()).unwrap();
        db.flush().unwrap();
        file.sync_data().unwrap();
        took.push(started.elapsed().as_secs_f64() * 1e3);
    }
    took.sort_by(f64::total_cmp);
    println!("bare insert, flush and sync of 1 KiB p50 {:.3} ms", took[took.len() / 2]);
}

fn resident_mb() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() / 1024
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
        let aliases = registry
            .snapshot()
            .models()
            .step_by(89)
            .filter_map(|e| Some(e.record.aliases.first()?.to_string()))
            .collect();
        let aliases: Arc<Vec<String>> = Arc::new(aliases);
        let turn = Arc::new(AtomicU64::new(0));
        let get = |channel: Channel| {
            let name = names[turn.fetch_add(1, Ordering::Relaxed) as usize % names.len()].clone();
            async move {
                ModelServiceClient::new(channel)
                    .get_model(pb::GetModelRequest { name, ..Default::default() })
                    .await
                    .unwrap()
            }
        };
        measured("GetModel", &channels, seconds, get).await;
        let resolve = |channel: Channel| {
            let alias = aliases[turn.fetch_add(1, Ordering::Relaxed) as usize % aliases.len()].clone();
            async move {
                ModelServiceClient::new(channel)
                    .resolve_model(pb::ResolveModelRequest { alias, ..Default::default() })
                    .await
                    .unwrap()
            }
        };
        measured("ResolveModel, by alias", &channels, seconds, resolve).await;
        let echoes = echo(registry.model(&names[0]).unwrap().encode_to_vec().into(), CLIENTS).await;
        let get = |channel: Channel| {
            let name = names[turn.fetch_add(1, Ordering::Relaxed) as usize % names.len()].clone();
            async move {
                ModelServiceClient::new(channel)
                    .get_model(pb::GetModelRequest { name, ..Default::default() })
                    .await
                    .unwrap()
            }
        };
        measured("a bare echo with a model of that size", &echoes, seconds, get).await;
        println!("resident {} MB", resident_mb());
        let alone = update(registry, None, seconds).await;
        println!("durable update alone p50 {:.3} ms", alone.0);
        bare(seconds);
        let beside = update(registry, Some(&channels[0]), seconds).await;
        println!(
            "durable update p50 {:.3} ms beside {:.0} pages a second; resident {} MB",
            beside.0,
            beside.1,
            resident_mb()
        );
        import_beside(registry, &channels[0]).await;
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

/// One durable update after the other, and where there is a channel, a reader that asks for the same page again and again
/// beside it: the median of the updates, and pages a second.
async fn update(registry: &Arc<Registry>, channel: Option<&Channel>, seconds: Duration) -> (f64, f64) {
    let name = registry.snapshot().models().nth(1_000).unwrap().record.name.to_string();
    let mut model = registry.model(&name).unwrap();
    let stop = Arc::new(AtomicBool::new(false));
    let (reads, over) = (Arc::new(AtomicU64::new(0)), stop.clone());
    let counted = reads.clone();
    let reading = channel.cloned().map(|channel| {
        tokio::spawn(async move {
            let mut client = ModelServiceClient::new(channel);
            while !over.load(Ordering::Relaxed) {
                client.list_models(list(MEDIUM, "")).await.unwrap();
                counted.fetch_add(1, Ordering::Relaxed);
            }
        })
    });
    let mut took = Vec::new();
    let end = Instant::now() + seconds;
    let mut tokens = model.context_tokens.max(1_000);
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
    if let Some(reading) = reading {
        reading.await.unwrap();
    }
    took.sort_by(f64::total_cmp);
    (took[took.len() / 2], reads.load(Ordering::Relaxed) as f64 / seconds.as_secs_f64())
}

/// Pages a second while models are imported, and while nothing is.
async fn import_beside(registry: &Arc<Registry>, channel: &Channel) {
    let pages = |while_: Arc<AtomicBool>| {
        let channel = channel.clone();
        tokio::spawn(async move {
            let mut client = ModelServiceClient::new(channel);
            let (started, mut longest, mut pages) = (Instant::now(), Duration::ZERO, 0_u32);
            while while_.load(Ordering::Relaxed) {
                let asked = Instant::now();
                client.list_models(list(MEDIUM, "")).await.unwrap();
                longest = longest.max(asked.elapsed());
                pages += 1;
            }
            (f64::from(pages) / started.elapsed().as_secs_f64(), longest.as_secs_f64() * 1e3)
        })
    };
    let going = Arc::new(AtomicBool::new(true));
    let alone = pages(going.clone());
    tokio::time::sleep(Duration::from_secs(2)).await;
    going.store(false, Ordering::Relaxed);
    let alone = alone.await.unwrap();
    let templates = templates(registry);
    let going = Arc::new(AtomicBool::new(true));
    let beside = pages(going.clone());
    let (started, registry) = (Instant::now(), registry.clone());
    // On a thread of its own, as the service does it.
    let imported = tokio::spawn(async move { import(&registry, &templates, 2_000_000_000..2_000_025_000).await });
    imported.await.unwrap();
    let took = started.elapsed().as_secs_f64();
    going.store(false, Ordering::Relaxed);
    let beside = beside.await.unwrap();
    println!(
        "import of 25,000 more in {took:.1} s; pages a second beside it {:.0} (longest {:.1} ms), without {:.0} (longest {:.1} ms)",
        beside.0, beside.1, alone.0, alone.1
    );
}

/// Connections to a server that answers every call with the same bytes, set up as ours is.
async fn echo(answer: Bytes, clients: usize) -> Vec<Channel> {
    let listeners = server::bind("127.0.0.1:0".parse().unwrap(), 2).unwrap();
    let address = format!("http://{}", listeners[0].local_addr().unwrap());
    for listener in listeners {
        let answer = answer.clone();
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let listener = tokio::net::TcpListener::from_std(listener).unwrap();
                let incoming = tonic::transport::server::TcpIncoming::from(listener).with_nodelay(Some(true));
                let server =
                    tonic::transport::Server::builder().add_service(Echo::<ModelServiceServer<()>>::new(answer));
                server.serve_with_incoming(incoming).await.unwrap();
            });
        });
    }
    let endpoint = Endpoint::from_shared(address).unwrap();
    let mut channels = Vec::new();
    for _ in 0..clients {
        channels.push(endpoint.connect().await.unwrap());
    }
    channels
}
