//! What clients that break the rules cost the others: a healthy client's checks alone, beside each attack, and beside
//! threads that only burn as much CPU as that attack took, on both sides; and the server's memory at each.
//!
//! `cargo bench --bench hostile [-- --seconds 10] [--only NAME]`
//!
//! The server is the binary, on the same machine: beside an attack it shares the cores with the attacker. Its peak memory is
//! set back before each run. Linux only.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    clippy::cast_precision_loss,
    missing_docs,
    clippy::needless_pass_by_value,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a benchmark stops at the first thing that is not as it expects"
)]

mod binary;

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use bytes::Bytes;
use prost::Message as _;
use socket2::{Domain, Socket, Type};
use tonic::codegen::http::Request;
use tonic::transport::Endpoint;
use weighbridge::pb::weighbridge::v1 as pb;
use weighbridge::pb::weighbridge::v1::eligibility_service_client::EligibilityServiceClient;

use binary::{Server, cpu_of};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const CHECK: &str = "/weighbridge.v1.EligibilityService/CheckEligibility";
const CREATE: &str = "/weighbridge.v1.ModelService/CreateModel";
const LIST: &str = "/weighbridge.v1.ModelService/ListModels";
/// Checks of the healthy client that are under way at once.
const ASKING: usize = 4;
/// Threads of an attack.
const ATTACKERS: usize = 2;
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

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
    let time = Duration::from_secs_f64(after("--seconds").map_or(10.0, |text| text.parse().unwrap()));
    let attacks: [(&str, Attack); 13] = [
        ("rapid reset", |to, stop| again(to, stop, &rapid_reset())),
        ("resets by the server", |to, stop| again(to, stop, &faults())),
        ("headers without an end", |to, stop| again(to, stop, &continuations())),
        ("pings", |to, stop| again(to, stop, &[opening(), frame(6, 0, 0, &[0; 8]).repeat(10_000)].concat())),
        ("connections come and go", come_and_go),
        ("2000 idle connections", idle),
        ("messages too large", |to, stop| calls(to, stop, Form::Whole(CHECK, framed(&vec![0xff; 4 << 20])))),
        ("messages of 4 MiB", |to, stop| calls(to, stop, Form::Whole(CREATE, framed(&vec![0xff; 4 << 20])))),
        ("messages nested deep", |to, stop| {
            calls(to, stop, Form::Whole(CREATE, framed(&[0xc3, 0x3e].repeat(1 << 20))));
        }),
        // All that one who may only read can send, and what an editor can.
        ("131,000 unknown fields", |to, stop| calls(to, stop, Form::Whole(CHECK, framed(&unknown(256 << 10))))),
        ("2 million of an editor", |to, stop| calls(to, stop, Form::Whole(CREATE, framed(&unknown(4 << 20))))),
        ("256 messages left open", |to, stop| calls(to, stop, Form::Open)),
        ("256 answers not taken", |to, stop| calls(to, stop, Form::Untaken)),
    ];
    let server = Server::start(&["--store", "memory"]);
    // Warm, and the memory of the start let go of.
    healthy(&server, time / 4);
    println!("\n== {ASKING} checks at once of a healthy client; {ATTACKERS} threads attack; each run {time:?}");
    println!("{:<27} {:>9} {:>9} {:>9}  {:>6}  {:>9}", "beside", "checks/s", "p50 ms", "p99 ms", "CPU", "peak MiB");
    let alone = Run::of(&server, time, |_, _| ());
    alone.print("nothing");
    for (name, attack) in attacks {
        if after("--only").is_some_and(|only| only != name) {
            continue;
        }
        let attacked = Run::of(&server, time, |address, stop| {
            let threads: Vec<_> = (0..ATTACKERS)
                .map(|_| {
                    let (address, stop) = (*address, stop.clone());
                    thread::spawn(move || attack(address, stop))
                })
                .collect();
            threads.into_iter().for_each(|thread| thread.join().unwrap());
        });
        attacked.print(name);
        // What the checks took of it they take again beside the burning.
        let check_s = alone.cpu / alone.rate;
        let burnt = (attacked.cpu - attacked.rate * check_s).max(0.0);
        let beside = Run::of(&server, time, |_, stop| burn(burnt, stop));
        beside.print(&format!("  as much CPU ({burnt:.2})"));
        println!(
            "{:<27} {:>8.2}x {:>9} {:>8.2}x",
            "  attack / CPU",
            attacked.rate / beside.rate,
            "",
            attacked.p99 / beside.p99
        );
    }
}

type Attack = fn(SocketAddr, Arc<AtomicBool>);

/// What a run of the healthy client gave.
struct Run {
    rate: f64,
    p50: f64,
    p99: f64,
    /// Cores that were busy, with the server, the healthy client and what was beside it.
    cpu: f64,
    peak_mib: f64,
}

impl Run {
    fn of(server: &Server, time: Duration, beside: impl FnOnce(&SocketAddr, Arc<AtomicBool>) + Send) -> Self {
        server.forget_peak();
        let stop = Arc::new(AtomicBool::new(false));
        thread::scope(|scope| {
            let (address, stopped) = (&server.address, stop.clone());
            let beside = scope.spawn(move || beside(address, stopped));
            // Until it is under way.
            thread::sleep(time / 10);
            let (started, before) = (Instant::now(), server.cpu() + cpu_of("self"));
            let mut times = healthy(server, time);
            let took = started.elapsed().as_secs_f64();
            let cpu = (server.cpu() + cpu_of("self") - before) / took;
            let peak_mib = server.peak_mib();
            stop.store(true, Ordering::Relaxed);
            beside.join().unwrap();
            times.sort_unstable();
            let at = |share: usize| times[(times.len() - 1) * share / 100].as_secs_f64() * 1e3;
            Self { rate: times.len() as f64 / took, p50: at(50), p99: at(99), cpu, peak_mib }
        })
    }

    fn print(&self, name: &str) {
        let Self { rate, p50, p99, cpu, peak_mib } = self;
        println!("{name:<27} {rate:>9.0} {p50:>9.2} {p99:>9.2}  {cpu:>6.2}  {peak_mib:>9.1}");
    }
}

/// Checks for a while, every one of which must be answered; their times.
fn healthy(server: &Server, time: Duration) -> Vec<Duration> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let channel = Endpoint::from_shared(format!("http://{}", server.address)).unwrap().connect().await.unwrap();
        let until = Instant::now() + time;
        let mut tasks = tokio::task::JoinSet::new();
        for _ in 0..ASKING {
            let mut client = EligibilityServiceClient::new(channel.clone());
            tasks.spawn(async move {
                let mut times = Vec::new();
                while Instant::now() < until || times.is_empty() {
                    let started = Instant::now();
                    client.check_eligibility(check_request()).await.unwrap();
                    times.push(started.elapsed());
                }
                times
            });
        }
        tasks.join_all().await.into_iter().flatten().collect()
    })
}

fn check_request() -> pb::CheckEligibilityRequest {
    pb::CheckEligibilityRequest {
        model: "meta-llama/Llama-3.3-70B-Instruct".into(),
        r#use: Some(pb::Use { purpose: pb::Purpose::Research as i32, ..pb::Use::default() }),
        ..Default::default()
    }
}

/// Keeps so many cores busy, in turns of ten milliseconds.
fn burn(cores: f64, stop: Arc<AtomicBool>) {
    let threads = (cores.ceil().clamp(1.0, 64.0)) as u32;
    let (turn, share) = (Duration::from_millis(10), cores / f64::from(threads));
    thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                // By the CPU's own count: on a busy machine a thread does not get all the time that it asks for.
                let (started, first) = (Instant::now(), thread_cpu());
                while !stop.load(Ordering::Relaxed) {
                    let due = started.elapsed().as_secs_f64() * share;
                    if thread_cpu() - first < due {
                        let until = Instant::now() + turn.mul_f64(0.2);
                        while Instant::now() < until {
                            std::hint::spin_loop();
                        }
                    } else {
                        thread::sleep(turn.mul_f64(0.2));
                    }
                }
            });
        }
    });
}

/// CPU seconds of this thread.
fn thread_cpu() -> f64 {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap();
    text.split_whitespace().next().unwrap().parse::<f64>().unwrap() / 1e9
}

// ---- attacks

/// A connection from an address of its own: limits of a client are not what is looked at here.
fn connect(to: SocketAddr) -> std::io::Result<TcpStream> {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
    socket.bind(&SocketAddr::from((Ipv4Addr::new(127, 0, 0, 2), 0)).into())?;
    socket.connect(&to.into())?;
    Ok(socket.into())
}

/// Sends bytes on one connection after the other, each until it is cut off.
fn again(to: SocketAddr, stop: Arc<AtomicBool>, bytes: &[u8]) {
    while !stop.load(Ordering::Relaxed) {
        let Ok(mut stream) = connect(to) else { continue };
        let mut answers = stream.try_clone().unwrap();
        let reading = thread::spawn(move || {
            let mut buffer = vec![0; 1 << 16];
            while answers.read(&mut buffer).is_ok_and(|count| count > 0) {}
        });
        for part in bytes.chunks(1 << 16) {
            if stop.load(Ordering::Relaxed) || stream.write_all(part).is_err() {
                break;
            }
        }
        // Until all was read: how many connections are opened a second is another attack.
        let _ = stream.shutdown(std::net::Shutdown::Write);
        while !reading.is_finished() && !stop.load(Ordering::Relaxed) {
            thread::sleep(Duration::from_millis(1));
        }
        let _ = stream.shutdown(std::net::Shutdown::Both);
        reading.join().unwrap();
    }
}

/// Opens connections as fast as it can, and leaves each at once.
fn come_and_go(to: SocketAddr, stop: Arc<AtomicBool>) {
    let bytes = [opening(), frame(6, 0, 0, &[0; 8]).repeat(1_000)].concat();
    while !stop.load(Ordering::Relaxed) {
        if let Ok(mut stream) = connect(to) {
            let _ = stream.write_all(&bytes);
        }
    }
}

fn idle(to: SocketAddr, stop: Arc<AtomicBool>) {
    let mut held = Vec::new();
    while !stop.load(Ordering::Relaxed) {
        if held.len() < 1_000
            && let Ok(mut stream) = connect(to)
        {
            let _ = stream.write_all(&PREFACE[..held.len() % PREFACE.len()]);
            held.push(stream);
            continue;
        }
        thread::sleep(Duration::from_millis(20));
    }
}

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

fn opening() -> Vec<u8> {
    [PREFACE, &frame(4, 0, 0, &[])].concat()
}

/// Headers of a check as literals that are kept in no table.
fn headers() -> Vec<u8> {
    let headers = [
        (":method", "POST"),
        (":scheme", "http"),
        (":path", CHECK),
        (":authority", "localhost"),
        ("content-type", "application/grpc"),
        ("te", "trailers"),
    ];
    let mut bytes = Vec::new();
    for (name, value) in headers {
        bytes.push(0);
        for text in [name, value] {
            bytes.push(u8::try_from(text.len()).unwrap());
            bytes.extend(text.as_bytes());
        }
    }
    bytes
}

/// Calls that are begun, each followed by one frame on it.
fn begun(then: impl Fn(u32) -> Vec<u8>) -> Vec<u8> {
    let mut bytes = opening();
    for number in 0..10_000 {
        bytes.extend(frame(1, 4, 2 * number + 1, &headers()));
        bytes.extend(then(2 * number + 1));
    }
    bytes
}

fn rapid_reset() -> Vec<u8> {
    begun(|stream| frame(3, 0, stream, &8_u32.to_be_bytes()))
}

fn faults() -> Vec<u8> {
    begun(|stream| frame(8, 0, stream, &0x7fff_ffff_u32.to_be_bytes()))
}

fn continuations() -> Vec<u8> {
    let more = [&[0, 1, b'x', 100][..], &[b'a'; 100]].concat();
    [opening(), frame(1, 0, 1, &headers()), frame(9, 0, 1, &more.repeat(100)).repeat(1_000)].concat()
}

/// As many fields as fit into so many bytes, of a number that no request has.
fn unknown(bytes: usize) -> Vec<u8> {
    [0x78, 0].repeat(bytes / 2)
}

/// A message as gRPC frames it.
fn framed(message: &[u8]) -> Bytes {
    let length = u32::try_from(message.len()).unwrap().to_be_bytes();
    [&[0], &length[..], message].concat().into()
}

/// How calls do harm that keep HTTP/2.
#[derive(Clone)]
enum Form {
    /// By a message to a method.
    Whole(&'static str, Bytes),
    /// By one of 4 MiB whose last byte never comes.
    Open,
    /// By an answer that is not taken.
    Untaken,
}

fn calls(to: SocketAddr, stop: Arc<AtomicBool>, form: Form) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        while !stop.load(Ordering::Relaxed) {
            let attacking = attack(to, form.clone());
            tokio::select! {
                // It was cut off, and comes again.
                _ = attacking => tokio::time::sleep(Duration::from_millis(5)).await,
                () = stopped(&stop) => {}
            }
        }
    });
}

async fn stopped(stop: &AtomicBool) {
    while !stop.load(Ordering::Relaxed) {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// One connection, until it is ended.
async fn attack(to: SocketAddr, form: Form) -> Result<(), h2::Error> {
    let stream = connect(to).unwrap();
    stream.set_nonblocking(true).unwrap();
    let stream = tokio::net::TcpStream::from_std(stream).unwrap();
    let window = if matches!(form, Form::Untaken) { 1 } else { 65_535 };
    let (send, connection) = h2::client::Builder::new().initial_window_size(window).handshake(stream).await?;
    let (path, body, at_once) = match &form {
        Form::Whole(path, body) => (*path, body.clone(), 4),
        Form::Open => (CREATE, framed(&vec![0xff; 4 << 20]).slice(..4 << 20), 128),
        Form::Untaken => {
            let request = pb::ListModelsRequest { page_size: 1_000, ..Default::default() };
            (LIST, framed(&request.encode_to_vec()), 128)
        }
    };
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..at_once {
        let (send, body, form) = (send.clone(), body.clone(), form.clone());
        tasks.spawn(async move {
            loop {
                let request = Request::post(format!("http://localhost{path}"));
                let request = request.header("content-type", "application/grpc").header("te", "trailers");
                let (response, mut stream) =
                    send.clone().ready().await?.send_request(request.body(()).unwrap(), false)?;
                stream.send_data(body.clone(), !matches!(form, Form::Open))?;
                let response = response.await?;
                let mut answer = response.into_body();
                if matches!(form, Form::Untaken) {
                    // Held until the connection is ended.
                    while let Some(piece) = answer.data().await {
                        piece?;
                    }
                }
            }
            #[expect(unreachable_code, reason = "it says what the task ends with")]
            Ok::<_, h2::Error>(())
        });
    }
    drop(send);
    tokio::select! {
        ended = connection => ended,
        _ = tasks.join_all() => Ok(()),
    }
}
