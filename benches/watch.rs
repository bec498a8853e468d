//! How long a change takes to reach those who watch, with 1, 10 and 100 watches: from the call of a write to its message at the
//! client, beside the time to its answer, and how much later than the answer the message comes.
//!
//! `cargo bench --bench watch [-- --writes 300]`
//!
//! Server and clients share this process and its cores, so that with many watches most of the time is the clients' own. A
//! message that comes before the answer of its write is no later.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    clippy::cast_possible_truncation,
    missing_docs,
    reason = "a benchmark stops at the first thing that is not as it expects"
)]

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tonic::transport::{Channel, Endpoint};
use weighbridge::pb::weighbridge::v1 as pb;
use weighbridge::pb::weighbridge::v1::model_service_client::ModelServiceClient;
use weighbridge::registry::Registry;
use weighbridge::server::{self, ServerOptions};
use weighbridge::store::{MemoryStore, SledOptions, SledStore, Store};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const WARM_UP: usize = 20;
/// Between two writes: a registry is not written to without a pause.
const PAUSE: Duration = Duration::from_millis(2);

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    // `cargo test --benches`, which only wants to know that it starts, does not say this.
    if !arguments.iter().any(|a| a == "--bench") {
        return;
    }
    let at = arguments.iter().position(|a| a == "--writes");
    let writes = at.and_then(|i| arguments.get(i + 1)).and_then(|v| v.parse().ok()).unwrap_or(300);
    println!("{:>6}  {:>7}  {:>21}  {:>21}  {:>21}", "", "", "answer", "message", "later than the answer");
    println!("{:>6}  {:>7}{}", "store", "watches", format!("  {:>10} {:>10}", "p50", "p99").repeat(3));
    for watches in [1, 10, 100] {
        let folder = tempfile::tempdir().unwrap();
        let disk: Arc<dyn Store> = Arc::new(SledStore::open(SledOptions::new(folder.path())).unwrap());
        for (name, store) in [("memory", Arc::new(MemoryStore::new()) as Arc<dyn Store>), ("sled", disk)] {
            let shown: String = measure(store, watches, writes)
                .into_iter()
                .map(|mut times| {
                    times.sort_unstable();
                    let at = |share: usize| times[(times.len() - 1) * share / 100];
                    format!("  {:>10.1?} {:>10.1?}", at(50), at(99))
                })
                .collect();
            println!("{name:>6}  {watches:>7}{shown}");
        }
    }
}

/// The times to the answers, to the messages of every watch, and between the two.
fn measure(store: Arc<dyn Store>, watches: usize, writes: usize) -> [Vec<Duration>; 3] {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async move {
        let registry = Arc::new(Registry::open(store, Arc::new(jiff::Timestamp::now)).await.unwrap());
        let listeners = server::bind("127.0.0.1:0".parse().unwrap(), 2).unwrap();
        let address = format!("http://{}", listeners[0].local_addr().unwrap());
        let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
        let shutdown = async { stopped.await.unwrap_or_default() };
        let serving = tokio::spawn(server::run(listeners, registry, ServerOptions::default(), shutdown));
        let connect = || async { Endpoint::from_shared(address.clone()).unwrap().connect().await.unwrap() };

        let total = WARM_UP + writes;
        let mut readers = Vec::new();
        for _ in 0..watches {
            readers.push(tokio::spawn(read(watch(connect().await).await, total)));
        }
        let mut client = ModelServiceClient::new(connect().await);
        let mut answered = HashMap::new();
        for context_tokens in 0..total {
            let model = pb::Model {
                name: "publishers/acme/models/one".into(),
                context_tokens: context_tokens as i64 + 1,
                ..Default::default()
            };
            let request = pb::UpdateModelRequest { model: Some(model), allow_missing: true, ..Default::default() };
            let called = Instant::now();
            let revision = client.update_model(request).await.unwrap().into_inner().revision;
            answered.insert(revision, (called, Instant::now()));
            tokio::time::sleep(PAUSE).await;
        }
        let [mut answers, mut messages, mut later] = [const { Vec::new() }; 3];
        for reader in readers {
            for (revision, at) in reader.await.unwrap().into_iter().skip(WARM_UP) {
                let (called, answer) = answered[&revision];
                answers.push(answer - called);
                messages.push(at - called);
                later.push(at.saturating_duration_since(answer));
            }
        }
        drop(client);
        let _ = stop.send(());
        serving.await.unwrap().unwrap();
        [answers, messages, later]
    })
}

async fn watch(channel: Channel) -> tonic::Streaming<pb::WatchModelsResponse> {
    let request = pb::WatchModelsRequest { filter: "publisher = acme".into(), ..Default::default() };
    let mut stream = ModelServiceClient::new(channel).watch_models(request).await.unwrap().into_inner();
    stream.message().await.unwrap().unwrap();
    stream
}

/// When each revision came.
async fn read(mut stream: tonic::Streaming<pb::WatchModelsResponse>, count: usize) -> Vec<(i64, Instant)> {
    let mut told = Vec::with_capacity(count);
    while told.len() < count {
        let message = stream.message().await.unwrap().unwrap();
        if !message.changes.is_empty() {
            told.push((message.revision, Instant::now()));
        }
    }
    told
}
