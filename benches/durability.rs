//! What durability costs: a single write, many writers on a slow disk, the room on disk, and a backup beside readers.
//!
//! `cargo bench --bench durability [-- --records 100000]`
//! `cargo bench --bench durability -- --backup FOLDER` (a folder that `cargo bench --bench million -- --fill FOLDER` made)
//!
//! Figures that belong together are taken in turns, in one run.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    clippy::cast_precision_loss,
    missing_docs,
    reason = "a benchmark stops at the first thing that is not as it expects"
)]

use std::fs::File;
use std::io::{Seek as _, SeekFrom, Write as _};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use tonic::transport::{Channel, Endpoint};
use weighbridge::pb::weighbridge::v1 as pb;
use weighbridge::pb::weighbridge::v1::admin_service_client::AdminServiceClient;
use weighbridge::pb::weighbridge::v1::backup_response::Payload;
use weighbridge::pb::weighbridge::v1::model_service_client::ModelServiceClient;
use weighbridge::registry::Registry;
use weighbridge::server::{self, ServerOptions};
use weighbridge::store::{Batch, Hook, SledOptions, SledStore, Step, Store, Write, compact};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

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
    if let Some(folder) = after("--backup") {
        return backup_beside_readers(Path::new(folder));
    }
    single_write();
    many_writers(Duration::from_millis(2));
    many_writers(Duration::ZERO);
    room(after("--records").and_then(|text| text.parse().ok()).unwrap_or(100_000));
}

fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(future)
}

/// Bytes that do not pack.
fn noise(seed: u64, size: usize) -> Vec<u8> {
    let (mut state, mut bytes) = (seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1, Vec::with_capacity(size + 8));
    while bytes.len() < size {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes.truncate(size);
    bytes
}

fn put(key: String, value: Vec<u8>) -> Batch {
    Batch::of([Write { key: key.into(), value: Some(value.into()) }])
}

fn percentiles(mut times: Vec<Duration>) -> (f64, f64) {
    times.sort_unstable();
    let at = |share: usize| times[(times.len() - 1) * share / 100].as_secs_f64() * 1e3;
    (at(50), at(99))
}

fn single_write() {
    let folder = tempfile::tempdir().unwrap();
    let store = SledStore::open(SledOptions::new(folder.path().join("store"))).unwrap();
    let bare = ::sled::Config::new().path(folder.path().join("bare")).flush_every_ms(None).open().unwrap();
    let bare_file = File::open(folder.path().join("bare/db")).unwrap();
    let mut file = File::create(folder.path().join("file")).unwrap();
    file.write_all(&[0; 8192]).unwrap();
    file.sync_all().unwrap();
    let (mut synced, mut inserted, mut committed) = (Vec::new(), Vec::new(), Vec::new());
    for number in 0..2_000_u64 {
        let started = Instant::now();
        file.seek(SeekFrom::Start(number % 2 * 4096)).unwrap();
        file.write_all(&noise(number, 1_024)).unwrap();
        file.sync_data().unwrap();
        synced.push(started.elapsed());
        let started = Instant::now();
        bare.insert(format!("models/{number}"), noise(number, 1_024)).unwrap();
        bare.flush().unwrap();
        bare_file.sync_data().unwrap();
        inserted.push(started.elapsed());
        let started = Instant::now();
        block_on(store.commit(put(format!("models/{number}"), noise(number, 1_024)))).unwrap();
        committed.push(started.elapsed());
    }
    let [(synced, synced_99), (inserted, inserted_99), (committed, committed_99)] =
        [synced, inserted, committed].map(percentiles);
    println!("\n== a single durable write of 1 KiB, p50 and p99 in ms, in turns");
    println!("write and fsync of this disk     {synced:.3}  {synced_99:.3}");
    println!("bare sled: insert, flush, sync   {inserted:.3}  {inserted_99:.3}");
    println!("the store                        {committed:.3}  {committed_99:.3}");
    println!("the store / fsync {:.2}, / bare sled {:.2}", committed / synced, committed / inserted);
}

/// Commits in a second, and their times.
fn rate(flush: Duration, writers: u64) -> (f64, f64, f64) {
    let folder = tempfile::tempdir().unwrap();
    let hook = Hook::new(move |step| {
        if step == Step::Flush && !flush.is_zero() {
            std::thread::sleep(flush);
        }
        Ok(())
    });
    let store = Arc::new(SledStore::open(SledOptions { hook, ..SledOptions::new(folder.path()) }).unwrap());
    let stop = Arc::new(AtomicBool::new(false));
    let started = Instant::now();
    let threads: Vec<_> = (0..writers)
        .map(|writer| {
            let (store, stop) = (store.clone(), stop.clone());
            std::thread::spawn(move || {
                let mut times = Vec::new();
                while !stop.load(Ordering::Relaxed) {
                    let started = Instant::now();
                    let value = noise(writer, 1_024);
                    block_on(store.commit(put(format!("models/{writer}/{}", times.len() % 50), value))).unwrap();
                    times.push(started.elapsed());
                }
                times
            })
        })
        .collect();
    std::thread::sleep(Duration::from_secs(4));
    stop.store(true, Ordering::Relaxed);
    let times: Vec<Duration> = threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect();
    let rate = times.len() as f64 / started.elapsed().as_secs_f64();
    let (p50, p99) = percentiles(times);
    (rate, p50, p99)
}

fn many_writers(flush: Duration) {
    println!("\n== writers at once, a flush takes {flush:?} more");
    let alone = rate(flush, 1);
    let many = rate(flush, 64);
    for (name, (rate, p50, p99)) in [("1 writer", alone), ("64 writers", many)] {
        println!("{name:<12} {rate:>8.0} writes/s  p50 {p50:.2} ms  p99 {p99:.2} ms");
    }
    println!("{:.1}x", many.0 / alone.0);
}

fn size_of(folder: &Path) -> u64 {
    let entries = std::fs::read_dir(folder).unwrap().map(Result::unwrap);
    entries
        .map(|entry| if entry.path().is_dir() { size_of(&entry.path()) } else { entry.metadata().unwrap().len() })
        .sum()
}

fn room(records: u64) {
    println!("\n== room on disk, {records} records of 1 KiB that do not pack");
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store");
    let store = SledStore::open(SledOptions::new(&path)).unwrap();
    let (mut live, mib) = (0, 1 << 20);
    for round in 0..=10_u64 {
        let started = Instant::now();
        live = 0;
        for first in (0..records).step_by(1_000) {
            let writes = (first..(first + 1_000).min(records)).map(|number| {
                let key = format!("o/models/acme/model-{number:07}");
                let value = noise(number ^ round << 32, 1_024);
                live += (key.len() + value.len()) as u64;
                Write { key: key.into(), value: Some(value.into()) }
            });
            block_on(store.commit(Batch::of(writes))).unwrap();
        }
        if [0, 10].contains(&round) {
            let (data, disk) = (store.status().data_size_bytes, size_of(&path));
            println!(
                "after {round} rewrites: live {} MiB, with history {} MiB, on disk {} MiB = {:.2}x of that ({:.1} s a round)",
                live / mib,
                data / mib,
                disk / mib,
                disk as f64 / data as f64,
                started.elapsed().as_secs_f64()
            );
        }
    }
    drop(store);
    for keep in [None, Some(1)] {
        let started = Instant::now();
        let found =
            compact(&SledOptions::new(&path), |history| Ok(keep.map_or(0, |keep| history.newest() - (keep - 1))))
                .unwrap();
        let kept = if keep.is_some() { "what is current" } else { "all history" };
        let disk = size_of(&path);
        println!(
            "compacted to {kept}: {} MiB = {:.2}x live, {:.2}x of what is kept ({:.1} s)",
            disk / mib,
            disk as f64 / live as f64,
            disk as f64 / found.data_size_bytes as f64,
            started.elapsed().as_secs_f64()
        );
    }
}

const READERS: usize = 4;

/// Reads for a while; the times of them.
async fn read(channel: &Channel, names: &[String], stop: Arc<AtomicBool>) -> Vec<Duration> {
    let mut tasks = tokio::task::JoinSet::new();
    let turn = Arc::new(AtomicU64::new(0));
    for _ in 0..READERS {
        let (mut client, stop, turn) = (ModelServiceClient::new(channel.clone()), stop.clone(), turn.clone());
        let names = names.to_vec();
        tasks.spawn(async move {
            let mut times = Vec::new();
            while !stop.load(Ordering::Relaxed) {
                let at = usize::try_from(turn.fetch_add(1, Ordering::Relaxed)).unwrap() % names.len();
                let started = Instant::now();
                let request = pb::GetModelRequest { name: names[at].clone(), ..Default::default() };
                client.get_model(request).await.unwrap();
                times.push(started.elapsed());
            }
            times
        });
    }
    tasks.join_all().await.into_iter().flatten().collect()
}

fn backup_beside_readers(folder: &Path) {
    let (address, serving) = std::sync::mpsc::channel();
    let path = folder.to_owned();
    std::thread::spawn(move || {
        tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
            let registry = Registry::open_with(Arc::new(jiff::Timestamp::now), |take| {
                let (store, revision) = SledStore::open_loading(SledOptions::new(path), take)?;
                Ok((Arc::new(store), revision))
            });
            let registry = Arc::new(registry.await.unwrap());
            let listeners = server::bind("127.0.0.1:0".parse().unwrap(), 2).unwrap();
            address.send(format!("http://{}", listeners[0].local_addr().unwrap())).unwrap();
            server::run(listeners, registry, ServerOptions::default(), std::future::pending()).await.unwrap();
        });
    });
    let address = serving.recv().unwrap();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async {
        let channel = Endpoint::from_shared(address).unwrap().connect().await.unwrap();
        let request = pb::ListModelsRequest { page_size: 1_000, ..Default::default() };
        let page = ModelServiceClient::new(channel.clone()).list_models(request).await.unwrap().into_inner();
        let names: Vec<String> = page.models.into_iter().map(|model| model.name).collect();
        println!("\n== a backup of {} models, {READERS} readers beside it", page.total_size);
        let stop = Arc::new(AtomicBool::new(false));
        let ended = stop.clone();
        tokio::spawn(async move {
            tokio::time::sleep(Duration::from_secs(5)).await;
            ended.store(true, Ordering::Relaxed);
        });
        let (p50, p99) = percentiles(read(&channel, &names, stop).await);
        println!("GetModel without a backup: p50 {p50:.2} ms, p99 {p99:.2} ms");
        let stop = Arc::new(AtomicBool::new(false));
        let ended = stop.clone();
        let mut admin = AdminServiceClient::new(channel.clone()).max_decoding_message_size(64 << 20);
        let backing_up = tokio::spawn(async move {
            let started = Instant::now();
            let mut stream = admin.backup(pb::BackupRequest {}).await.unwrap().into_inner();
            let mut summary = None;
            while let Some(message) = stream.message().await.unwrap() {
                if let Some(Payload::Summary(found)) = message.payload {
                    summary = Some(found);
                }
            }
            ended.store(true, Ordering::Relaxed);
            (started.elapsed(), summary.unwrap())
        });
        let (p50, p99) = percentiles(read(&channel, &names, stop).await);
        let (took, summary) = backing_up.await.unwrap();
        println!("GetModel beside a backup:  p50 {p50:.2} ms, p99 {p99:.2} ms");
        println!("backup: {:.1} s, {} MiB", took.as_secs_f64(), summary.size_bytes >> 20);
    });
}
