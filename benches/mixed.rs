//! Mixed traffic for a long time: checks, lists, writes and watches at a share of what the server can take, with its memory,
//! errors and latencies.
//!
//! `cargo bench --bench mixed [-- --minutes 20 --share 0.6]`; near the ceiling: `-- --minutes 2 --share 0.85`
//!
//! First the ceiling: as many calls as two dozen callers get answered, one after the other. Then calls at the given share of it,
//! each at a time set beforehand: a latency counts from that time, so that what waits behind a slow call is seen. Every watch has
//! to see every write. The server is the binary on a durable store with one core, its callers have another one. Linux only.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    missing_docs,
    reason = "a benchmark stops at the first thing that is not as it expects"
)]

mod binary;
mod load;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use tonic::Status;
use tonic::transport::{Channel, Endpoint};
use weighbridge::pb::weighbridge::v1 as pb;
use weighbridge::pb::weighbridge::v1::batch_check_eligibility_response::Result as Answered;
use weighbridge::pb::weighbridge::v1::batch_check_eligibility_response::result::Outcome;
use weighbridge::pb::weighbridge::v1::eligibility_service_client::EligibilityServiceClient;
use weighbridge::pb::weighbridge::v1::model_service_client::ModelServiceClient;

use binary::Server;
use load::contest::Turns;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Callers of the ceiling, and those that take turns afterwards: more, so that a slow call holds up no other.
const CALLERS: u64 = 24;
const TURNS: u64 = 256;
const CONNECTIONS: usize = 8;
const WATCHES: usize = 10;
/// Models that are written to, again and again.
const WRITTEN: u64 = 200;
/// What is looked at for stalls, and when an answer is late.
const WINDOW: Duration = Duration::from_millis(100);
const LATE: Duration = Duration::from_millis(50);
/// How long the ceiling is looked for.
const CEILING_TIME: Duration = Duration::from_secs(20);

/// What is called.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Check,
    Batch,
    Get,
    List,
    Eligible,
    Write,
}

const KINDS: [(Kind, &str); 6] = [
    (Kind::Check, "check"),
    (Kind::Batch, "batch of 20 checks"),
    (Kind::Get, "get"),
    (Kind::List, "list of 50, filtered"),
    (Kind::Eligible, "eligible models, 50"),
    (Kind::Write, "update"),
];

impl Kind {
    /// In a thousand calls 880 checks, 40 reads, 40 lists, 20 batches, 10 lists of eligible models, and 10 writes.
    fn of(number: u64) -> Kind {
        // The same order in every run, and none that repeats.
        match mixed(number) % 1_000 {
            0..880 => Kind::Check,
            880..920 => Kind::Get,
            920..960 => Kind::List,
            960..980 => Kind::Batch,
            980..990 => Kind::Eligible,
            _ => Kind::Write,
        }
    }
}

/// The finaliser of splitmix64: numbers that look drawn.
fn mixed(number: u64) -> u64 {
    let z = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    // `cargo test --benches`, which only wants to know that it starts, does not say this.
    if !arguments.iter().any(|a| a == "--bench") {
        return;
    }
    let after = |name: &str, default: f64| {
        let at = arguments.iter().position(|a| a == name);
        at.and_then(|at| arguments.get(at + 1)).map_or(default, |text| text.parse().unwrap())
    };
    let (minutes, share) = (after("--minutes", 2.0), after("--share", 0.6));
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let turns = Turns::of(&arguments);
    let program = turns.on_core(env!("CARGO_BIN_EXE_weighbridge"));
    let server = Server::start_with(program, &["--data-dir", data.to_str().unwrap(), "--workers", "1"]);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let load = Arc::new(Load::prepare(&server).await);
        let watched: Vec<_> = load.watch().await;
        let before = (Instant::now(), server.cpu());
        let ceiling = load.closed(CEILING_TIME).await;
        let rate = ceiling * share;
        let busy = (server.cpu() - before.1) / before.0.elapsed().as_secs_f64();
        println!("\nthe server takes {:.0} % of its core there", busy * 100.0);
        println!("the ceiling is {ceiling:.0} calls a second of {CALLERS} callers; from now on {rate:.0} a second");
        println!(
            "{:>6} {:>8} {:>7} {:>9} {:>9} {:>9} {:>9}",
            "minute", "calls/s", "errors", "p50 ms", "p99 ms", "max ms", "RSS MiB"
        );
        let mut memory = Vec::new();
        let mut all: Vec<Taken> = Vec::new();
        let (mut stalls, mut sustained) = (Stalls::default(), true);
        let mut left = Duration::from_secs_f64(minutes * 60.0);
        for minute in 1.. {
            let time = left.min(Duration::from_secs(60));
            left -= time;
            let (cpu, before) = (server.cpu(), Instant::now());
            let taken = load.open(rate, time).await;
            let late = before.elapsed().saturating_sub(time);
            sustained &= late < Duration::from_millis(500);
            let mut times: Vec<u32> = taken.iter().map(|one| one.us).collect();
            times.sort_unstable();
            stalls.add(&taken);
            memory.push(server.resident_mib());
            println!(
                "{minute:>6} {:>8.0} {:>7} {} {:>9.1}  (server {:.2} cores)",
                taken.len() as f64 / before.elapsed().as_secs_f64(),
                load.errors.load(Ordering::Relaxed),
                shown(&times),
                memory[memory.len() - 1],
                (server.cpu() - cpu) / before.elapsed().as_secs_f64(),
            );
            all.extend(taken);
            if left.is_zero() {
                break;
            }
        }
        println!("\n{:<22} {:>9} {:>9} {:>9} {:>9}", "", "calls", "p50 ms", "p99 ms", "max ms");
        for (kind, name) in KINDS {
            let mut times: Vec<u32> = all.iter().filter(|one| one.kind == kind).map(|one| one.us).collect();
            times.sort_unstable();
            if !times.is_empty() {
                println!("{name:<22} {:>9} {}", times.len(), shown(&times));
            }
        }
        println!("\n{stalls}");
        // A machine that others share is not as fast at all times: what was 85 % may have been more.
        let after = load.closed(CEILING_TIME).await;
        let share = rate / ceiling.min(after) * 100.0;
        println!("the ceiling afterwards: {after:.0} calls a second; the rate was {share:.0} % of the lower one");
        println!(
            "{}",
            if sustained { "sustained" } else { "NOT sustained: calls were still open when the next minute was due" }
        );
        let half = memory.len().div_ceil(2);
        let mean = |part: &[f64]| part.iter().sum::<f64>() / part.len().max(1) as f64;
        println!(
            "\nmemory: first half {:.1} MiB, second half {:.1} MiB, at the end {:.1} MiB",
            mean(&memory[..half]),
            mean(&memory[half..]),
            memory[memory.len() - 1]
        );
        let (writes, revision) = (load.writes.load(Ordering::Relaxed), load.revision.load(Ordering::Relaxed));
        load.ended.store(true, Ordering::Relaxed);
        for watch in watched {
            let seen = tokio::time::timeout(Duration::from_secs(60), watch).await.unwrap().unwrap();
            assert_eq!(seen, (writes, revision), "a watch has not seen every write");
        }
        println!("watches: {WATCHES} saw each of {writes} writes; errors: {}", load.errors.load(Ordering::Relaxed));
        assert_eq!(load.errors.load(Ordering::Relaxed), 0, "calls failed");
    });
}

fn shown(sorted: &[u32]) -> String {
    let at = |share: f64| f64::from(sorted[((sorted.len() - 1) as f64 * share) as usize]) / 1e3;
    format!("{:>9.2} {:>9.2} {:>9.2}", at(0.5), at(0.99), at(1.0))
}

/// A call that was answered.
struct Taken {
    kind: Kind,
    /// From the time that it was due.
    us: u32,
    /// When the answer was there, from the beginning of the minute.
    at: Duration,
}

/// Windows in which the server stood still.
#[derive(Default)]
struct Stalls {
    windows: usize,
    /// Without any answer.
    silent: usize,
    /// In which an answer came later than [`LATE`].
    late: usize,
    longest: Duration,
}

impl Stalls {
    fn add(&mut self, taken: &[Taken]) {
        let mut at: Vec<Duration> = taken.iter().map(|one| one.at).collect();
        at.sort_unstable();
        let gaps = at.windows(2).map(|two| two[1] - two[0]);
        self.longest = gaps.chain([self.longest]).max().unwrap_or_default();
        // Up to the last answer, which may come after the last call was due.
        let last = at.last().copied().unwrap_or_default();
        let count = (last.as_millis() / WINDOW.as_millis()) as usize + 1;
        let (mut answered, mut slowest) = (vec![0_u32; count], vec![0_u32; count]);
        for one in taken {
            let window = (one.at.as_millis() / WINDOW.as_millis()) as usize;
            answered[window] += 1;
            slowest[window] = slowest[window].max(one.us);
        }
        self.windows += count;
        self.silent += answered.iter().filter(|answers| **answers == 0).count();
        self.late += slowest.iter().filter(|us| Duration::from_micros(u64::from(**us)) > LATE).count();
    }
}

impl std::fmt::Display for Stalls {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { windows, silent, late, longest } = self;
        write!(
            formatter,
            "stalls: of {windows} windows of {} ms {silent} without an answer, {late} with one later than {} ms; longest time \
             without any answer {:.1} ms",
            WINDOW.as_millis(),
            LATE.as_millis(),
            longest.as_secs_f64() * 1e3
        )
    }
}

/// The callers, and what they have done.
struct Load {
    checks: Vec<EligibilityServiceClient<Channel>>,
    models: Vec<ModelServiceClient<Channel>>,
    names: Vec<String>,
    next: AtomicU64,
    errors: AtomicU64,
    /// Writes that were begun, and those that were answered.
    begun: AtomicU64,
    writes: AtomicU64,
    /// The highest of a write that was answered.
    revision: AtomicU64,
    ended: AtomicBool,
}

impl Load {
    async fn prepare(server: &Server) -> Self {
        let mut channels = Vec::new();
        for _ in 0..CONNECTIONS {
            let endpoint = Endpoint::from_shared(format!("http://{}", server.address)).unwrap();
            channels.push(endpoint.connect().await.unwrap());
        }
        let mut models: Vec<_> = channels.iter().cloned().map(ModelServiceClient::new).collect();
        let request = pb::ListModelsRequest { page_size: 1_000, ..Default::default() };
        let known = models[0].list_models(request).await.unwrap().into_inner().models;
        Self {
            checks: channels.into_iter().map(EligibilityServiceClient::new).collect(),
            models,
            names: known.into_iter().map(|model| model.name).collect(),
            next: AtomicU64::new(0),
            errors: AtomicU64::new(0),
            begun: AtomicU64::new(0),
            writes: AtomicU64::new(0),
            revision: AtomicU64::new(0),
            ended: AtomicBool::new(false),
        }
    }

    /// Watches that count the writes that they are told of, until they have been told of the last one.
    async fn watch(self: &Arc<Self>) -> Vec<tokio::task::JoinHandle<(u64, u64)>> {
        let mut watches = Vec::new();
        for number in 0..WATCHES {
            let mut client = self.models[number % CONNECTIONS].clone();
            let request = pb::WatchModelsRequest { filter: "publisher = acme".into(), ..Default::default() };
            let mut stream = client.watch_models(request).await.unwrap().into_inner();
            stream.message().await.unwrap().unwrap();
            let load = self.clone();
            watches.push(tokio::spawn(async move {
                let (mut count, mut revision) = (0, 0);
                loop {
                    let is_last = || {
                        let (writes, last) = (&load.writes, &load.revision);
                        load.ended.load(Ordering::Relaxed)
                            && (count, revision) == (writes.load(Ordering::Relaxed), last.load(Ordering::Relaxed))
                    };
                    if is_last() {
                        return (count, revision);
                    }
                    let Ok(message) = tokio::time::timeout(Duration::from_millis(200), stream.message()).await else {
                        continue;
                    };
                    let message = message.unwrap().expect("the watch goes on");
                    if !message.changes.is_empty() {
                        count += message.changes.len() as u64;
                        revision = message.revision as u64;
                    }
                }
            }));
        }
        watches
    }

    /// As fast as the answers come; calls a second.
    async fn closed(self: &Arc<Self>, time: Duration) -> f64 {
        let (started, before) = (Instant::now(), self.next.load(Ordering::Relaxed));
        let mut callers = tokio::task::JoinSet::new();
        for _ in 0..CALLERS {
            let load = self.clone();
            callers.spawn(async move {
                while started.elapsed() < time {
                    load.call(load.next.fetch_add(1, Ordering::Relaxed)).await;
                }
            });
        }
        callers.join_all().await;
        (self.next.load(Ordering::Relaxed) - before) as f64 / started.elapsed().as_secs_f64()
    }

    /// At a rate; what each call took from the time it was due, in microseconds.
    async fn open(self: &Arc<Self>, rate: f64, time: Duration) -> Vec<Taken> {
        let (started, first) = (Instant::now(), self.next.load(Ordering::Relaxed));
        let last = first + (rate * time.as_secs_f64()) as u64;
        let mut callers = tokio::task::JoinSet::new();
        for _ in 0..TURNS {
            let load = self.clone();
            callers.spawn(async move {
                let mut taken = Vec::new();
                loop {
                    let number = load.next.fetch_add(1, Ordering::Relaxed);
                    if number >= last {
                        return taken;
                    }
                    let due = started + Duration::from_secs_f64((number - first) as f64 / rate);
                    tokio::time::sleep_until(due.into()).await;
                    let kind = load.call(number).await;
                    let us = u32::try_from(due.elapsed().as_micros()).unwrap_or(u32::MAX);
                    taken.push(Taken { kind, us, at: started.elapsed() });
                }
            });
        }
        let taken = callers.join_all().await.into_iter().flatten().collect();
        self.next.store(last, Ordering::Relaxed);
        taken
    }

    async fn call(&self, number: u64) -> Kind {
        let kind = Kind::of(number);
        let connection = number as usize % CONNECTIONS;
        let (mut checks, mut models) = (self.checks[connection].clone(), self.models[connection].clone());
        let name = || self.names[number as usize % self.names.len()].clone();
        let answer = match kind {
            Kind::Check => checks.check_eligibility(check(name())).await.map(drop),
            Kind::Batch => {
                let names = self.names.iter().cycle().skip(number as usize % self.names.len()).take(20);
                let requests = names.cloned().map(check).collect();
                checks
                    .batch_check_eligibility(pb::BatchCheckEligibilityRequest { requests, ..Default::default() })
                    .await
                    .and_then(|answer| all_decided(answer.get_ref()))
            }
            Kind::Get => models.get_model(pb::GetModelRequest { name: name(), ..Default::default() }).await.map(drop),
            Kind::List => {
                let filter = format!("tier = OPEN_WEIGHT AND context_tokens >= {}", 8_192 + number % 5_000);
                let request = pb::ListModelsRequest {
                    filter,
                    order_by: "release_date desc".into(),
                    page_size: 50,
                    ..Default::default()
                };
                models.list_models(request).await.map(drop)
            }
            Kind::Eligible => {
                let r#use = check(String::new()).r#use;
                let request = pb::ListEligibleModelsRequest { r#use, page_size: 50, ..Default::default() };
                checks.list_eligible_models(request).await.map(drop)
            }
            Kind::Write => self.write(models, number).await,
        };
        if let Err(status) = answer {
            // The first few say what it is.
            if self.errors.fetch_add(1, Ordering::Relaxed) < 5 {
                println!("{number}: {status:?}");
            }
        }
        kind
    }

    async fn write(&self, mut models: ModelServiceClient<Channel>, number: u64) -> Result<(), Status> {
        let model = pb::Model {
            // One after the other: two writes to the same record at once are a conflict, as they should be.
            name: format!("publishers/acme/models/m{}", self.begun.fetch_add(1, Ordering::Relaxed) % WRITTEN),
            context_tokens: number as i64 + 1,
            ..Default::default()
        };
        let request = pb::UpdateModelRequest { model: Some(model), allow_missing: true, ..Default::default() };
        let revision = models.update_model(request).await?.into_inner().revision;
        self.writes.fetch_add(1, Ordering::Relaxed);
        self.revision.fetch_max(revision as u64, Ordering::Relaxed);
        Ok(())
    }
}

/// An entry without a decision is an error as well.
fn all_decided(answer: &pb::BatchCheckEligibilityResponse) -> Result<(), Status> {
    let decided = |result: &Answered| matches!(result.outcome, Some(Outcome::Decision(_)));
    match answer.results.iter().find(|result| !decided(result)) {
        Some(other) => Err(Status::internal(format!("{other:?}"))),
        None => Ok(()),
    }
}

/// The uses differ, so that verdicts and the decision log are of every kind.
fn check(model: String) -> pb::CheckEligibilityRequest {
    let purpose = if model.len().is_multiple_of(2) { pb::Purpose::Commercial } else { pb::Purpose::Research };
    let r#use = pb::Use { purpose: purpose.into(), hosting: pb::Hosting::SelfHosted.into(), ..Default::default() };
    pb::CheckEligibilityRequest { model, r#use: Some(r#use), ..Default::default() }
}
