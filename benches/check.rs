//! `CheckEligibility` over gRPC beside a bare tonic echo with prebuilt answers of the same sizes: CPU time a request and
//! throughput, alternating rounds, medians and their ratio.
//!
//! `cargo bench --bench check [-- --rounds 5 --seconds 2]`
//!
//! Each server is a process of its own (this program, started again), so that its CPU time can be told apart from the
//! client's. Both run one worker of the same set-up as `weighbridge serve`. Absolute rates mean little on a shared machine;
//! the ratios of one run do.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    missing_docs,
    reason = "a benchmark stops at the first thing that is not as it expects"
)]

mod echo;

use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use prost::Message as _;
use tonic::Request;
use weighbridge::pb::weighbridge::v1 as pb;
use weighbridge::pb::weighbridge::v1::eligibility_service_server::EligibilityServiceServer;
use weighbridge::registry::Registry;
use weighbridge::server::{self, ServerOptions};
use weighbridge::store::MemoryStore;

use echo::{Echo, Raw};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const PATH: &str = "/weighbridge.v1.EligibilityService/CheckEligibility";
const CONNECTIONS: usize = 4;
const STREAMS: usize = 32;

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    match std::env::var("WEIGHBRIDGE_BENCH_ROLE").as_deref() {
        Ok("check") => serve_check(),
        Ok("echo") => serve_echo(),
        _ => {
            // `cargo test --benches` only wants to know that it starts.
            if arguments.iter().any(|a| a == "--test") {
                return;
            }
            drive(&arguments);
        }
    }
}

struct Case {
    name: &'static str,
    request: pb::CheckEligibilityRequest,
    target: f64,
}

fn cases() -> Vec<Case> {
    let use_ = |activities: &[pb::Activity]| pb::Use {
        purpose: pb::Purpose::Commercial as i32,
        hosting: pb::Hosting::SelfHosted as i32,
        organization: Some(pb::Organization {
            country: "US".into(),
            r#type: pb::organization::Type::Company as i32,
            monthly_active_users: Some(1_000_000),
            ..Default::default()
        }),
        deployment_countries: vec!["US".into()],
        end_user_countries: vec!["US".into()],
        activities: activities.iter().map(|a| *a as i32).collect(),
        ..Default::default()
    };
    let request = |model: &str, use_: pb::Use| pb::CheckEligibilityRequest {
        model: model.into(),
        r#use: Some(use_),
        ..Default::default()
    };
    vec![
        Case { name: "permissive license", request: request("allenai/OLMo-2-1124-7B", use_(&[])), target: 0.85 },
        Case {
            name: "bespoke license, served to others",
            request: request("meta-llama/Llama-3.3-70B-Instruct", use_(&[pb::Activity::OfferAsService])),
            target: 0.70,
        },
        Case {
            name: "bespoke, two sets of terms by lineage",
            request: request("deepseek-ai/DeepSeek-R1-Distill-Llama-70B", use_(&[])),
            target: 0.70,
        },
    ]
}

fn drive(arguments: &[String]) {
    let option = |name: &str, default: u64| {
        let at = arguments.iter().position(|a| a == name);
        at.and_then(|i| arguments.get(i + 1)).and_then(|v| v.parse().ok()).unwrap_or(default)
    };
    let (rounds, seconds) = (option("--rounds", 5) as usize, option("--seconds", 2));
    let mut worst: f64 = f64::MAX;
    for case in cases() {
        let check = Server::start("check", &[]);
        let body: Bytes = case.request.encode_to_vec().into();
        let answer = ask(check.port, body.clone());
        let decision = pb::CheckEligibilityResponse::decode(answer.clone()).unwrap().decision.unwrap();
        let echo = Server::start("echo", &answer);
        println!("\n{}: {} ({} findings)", case.name, decision.model, decision.findings.len());
        println!("  request {} B, answer {} B, {}", body.len(), answer.len(), decision.verdict().as_str_name());
        let load = |server: &Server| server.load(&body, Duration::from_secs(seconds));
        load(&check);
        load(&echo);
        let measured: Vec<(Load, Load)> = (0..rounds).map(|_| (load(&check), load(&echo))).collect();
        let of = |pick: fn(&Load) -> f64| {
            let check = median(measured.iter().map(|(c, _)| pick(c)).collect());
            let echo = median(measured.iter().map(|(_, e)| pick(e)).collect());
            (check, echo)
        };
        let (check_cpu, echo_cpu) = of(|l| l.cpu_us);
        let (check_rate, echo_rate) = of(|l| l.rate);
        println!(
            "  CPU a request   check {check_cpu:6.2} us   echo {echo_cpu:6.2} us   ratio {:.2}",
            echo_cpu / check_cpu
        );
        println!(
            "  requests/s      check {check_rate:8.0}    echo {echo_rate:8.0}    ratio {:.2}",
            check_rate / echo_rate
        );
        println!("  target {:.2}", case.target);
        worst = worst.min(echo_cpu / check_cpu);
    }
    println!("\nlowest CPU ratio {worst:.2}");
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

struct Load {
    rate: f64,
    cpu_us: f64,
}

/// A server process.
struct Server {
    child: Child,
    port: u16,
}

impl Server {
    fn start(role: &str, answer: &[u8]) -> Self {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .env("WEIGHBRIDGE_BENCH_ROLE", role)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut stdin = child.stdin.take().unwrap();
        stdin.write_all(answer).unwrap();
        drop(stdin);
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        Self { child, port: line.trim().parse().unwrap() }
    }

    /// User and system time so far, in microseconds.
    fn cpu_us(&self) -> f64 {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.child.id())).unwrap();
        let after_name = stat.rsplit(')').next().unwrap();
        let ticks: Vec<u64> = after_name.split_whitespace().skip(11).take(2).map(|t| t.parse().unwrap()).collect();
        // The kernel counts in hundredths of a second.
        (ticks[0] + ticks[1]) as f64 * 10_000.0
    }

    fn load(&self, body: &Bytes, time: Duration) -> Load {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let (done, stop) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)));
        let before = self.cpu_us();
        let started = Instant::now();
        runtime.block_on(async {
            let mut tasks = Vec::new();
            for _ in 0..CONNECTIONS {
                let channel = connect(self.port).await;
                for _ in 0..STREAMS {
                    let (channel, body, done, stop) = (channel.clone(), body.clone(), done.clone(), stop.clone());
                    tasks.push(tokio::spawn(async move {
                        while !stop.load(Ordering::Relaxed) {
                            call(&channel, body.clone()).await;
                            done.fetch_add(1, Ordering::Relaxed);
                        }
                    }));
                }
            }
            tokio::time::sleep(time).await;
            stop.store(true, Ordering::Relaxed);
            for task in tasks {
                task.await.unwrap();
            }
        });
        let calls = done.load(Ordering::Relaxed) as f64;
        Load { rate: calls / started.elapsed().as_secs_f64(), cpu_us: (self.cpu_us() - before) / calls }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

async fn connect(port: u16) -> tonic::transport::Channel {
    let endpoint = tonic::transport::Endpoint::from_shared(format!("http://127.0.0.1:{port}")).unwrap();
    endpoint.tcp_nodelay(true).connect().await.unwrap()
}

async fn call(channel: &tonic::transport::Channel, body: Bytes) -> Bytes {
    let mut client = tonic::client::Grpc::new(channel.clone());
    client.ready().await.unwrap();
    let path = tonic::codegen::http::uri::PathAndQuery::from_static(PATH);
    client.unary(Request::new(body), path, Raw).await.unwrap().into_inner()
}

fn ask(port: u16, body: Bytes) -> Bytes {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async { call(&connect(port).await, body).await })
}

fn serve_check() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let clock = Arc::new(jiff::Timestamp::now);
        let registry = Registry::open(Arc::new(MemoryStore::new()), clock).await.unwrap();
        let listeners = server::bind("127.0.0.1:0".parse().unwrap(), 1).unwrap();
        println!("{}", listeners[0].local_addr().unwrap().port());
        let forever = std::future::pending();
        server::run(listeners, Arc::new(registry), ServerOptions::default(), forever).await.unwrap();
    });
}

fn serve_echo() {
    let mut answer = Vec::new();
    std::io::Read::read_to_end(&mut std::io::stdin(), &mut answer).unwrap();
    let listener = server::bind("127.0.0.1:0".parse().unwrap(), 1).unwrap().remove(0);
    println!("{}", listener.local_addr().unwrap().port());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let listener = tokio::net::TcpListener::from_std(listener).unwrap();
        let incoming = tonic::transport::server::TcpIncoming::from(listener).with_nodelay(Some(true));
        let server = tonic::transport::Server::builder()
            .timeout(Duration::from_secs(30))
            .max_concurrent_streams(Some(1_000))
            .add_service(Echo::<EligibilityServiceServer<()>>::new(answer.into()));
        server.serve_with_incoming(incoming).await.unwrap();
    });
}
