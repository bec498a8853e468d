//! Clients that break the rules, or keep them to do harm: each is refused or cut off, and the others go on being answered.
//!
//! What they send is made by hand: with `h2` where HTTP/2 is kept, else frame by frame.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, Once};
use std::time::{Duration, Instant};

use bytes::{BufMut as _, Bytes, BytesMut};
use prost::Message as _;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};
use tonic::codegen::http::{HeaderMap, Request};
use tonic::{Code, Status};
use weighbridge::pb::weighbridge::v1 as pb;
use weighbridge::pb::weighbridge::v1::eligibility_service_client::EligibilityServiceClient;
use weighbridge::pb::weighbridge::v1::import_models_request::Payload;
use weighbridge::registry::WatchLimits;
use weighbridge::server::{Limits, Probes, ServerOptions};

use crate::harness::TestServer;
use crate::settings::get;

const CHECK: &str = "/weighbridge.v1.EligibilityService/CheckEligibility";
const LIST: &str = "/weighbridge.v1.ModelService/ListModels";
const BATCH: &str = "/weighbridge.v1.EligibilityService/BatchCheckEligibility";
const IMPORT: &str = "/weighbridge.v1.ModelService/ImportModels";
const CREATE: &str = "/weighbridge.v1.ModelService/CreateModel";
const WATCH: &str = "/weighbridge.v1.ModelService/WatchModels";
const BACKUP: &str = "/weighbridge.v1.AdminService/Backup";

/// A bound for what must not hang; a busy machine stays far below it.
const GENEROUS: Duration = Duration::from_secs(20);
/// Limits that make a test short.
const CALL_TIME: Duration = Duration::from_millis(1_500);
const OPENING_TIME: Duration = Duration::from_secs(2);
const READING_TIME: Duration = Duration::from_millis(600);

fn limits() -> Limits {
    Limits { call_time: CALL_TIME, opening_time: OPENING_TIME, reading_time: READING_TIME, ..Limits::default() }
}

fn served(limits: Limits) -> TestServer {
    TestServer::with_options(ServerOptions { limits, ..ServerOptions::default() })
}

// ---- those who keep to the rules

fn check_request() -> pb::CheckEligibilityRequest {
    pb::CheckEligibilityRequest {
        model: "meta-llama/Llama-3.3-70B-Instruct".into(),
        r#use: Some(pb::Use { purpose: pb::Purpose::Research as i32, ..pb::Use::default() }),
        ..Default::default()
    }
}

/// Panics of the server's threads, in the whole binary.
static PANICS: Mutex<Vec<String>> = Mutex::new(Vec::new());

fn watch_for_panics() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let usual = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            if std::thread::current().name().is_some_and(|name| name.starts_with("weighbridge")) {
                PANICS.lock().unwrap().push(panic.to_string());
            }
            usual(panic);
        }));
    });
}

/// Runs an attack beside a client that asks all the time, and holds the server to what it owes that client.
async fn beside_a_healthy_client<T>(server: &TestServer, attack: impl Future<Output = T>) -> T {
    watch_for_panics();
    let stop = Arc::new(AtomicBool::new(false));
    let answered = Arc::new(AtomicUsize::new(0));
    let mut client = EligibilityServiceClient::new(server.connect().await);
    client.check_eligibility(check_request()).await.unwrap();
    let (stopped, counted) = (stop.clone(), answered.clone());
    let asking: JoinHandle<Result<Duration, Status>> = tokio::spawn(async move {
        let mut slowest = Duration::ZERO;
        while !stopped.load(Ordering::Relaxed) {
            let started = Instant::now();
            client.check_eligibility(check_request()).await?;
            slowest = slowest.max(started.elapsed());
            counted.fetch_add(1, Ordering::Relaxed);
            sleep(Duration::from_millis(5)).await;
        }
        Ok(slowest)
    });
    let attacked = timeout(3 * GENEROUS, attack).await.expect("the attack came to an end");
    let during = answered.load(Ordering::Relaxed);
    let after = async {
        while !asking.is_finished() && answered.load(Ordering::Relaxed) < during + 5 {
            sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(GENEROUS, after).await.expect("it is answered after the attack");
    stop.store(true, Ordering::Relaxed);
    let slowest = timeout(GENEROUS, asking).await.unwrap().unwrap().expect("every check is answered");
    assert!(slowest < GENEROUS / 4, "a check took {slowest:?}");
    assert_eq!(*PANICS.lock().unwrap(), Vec::<String>::new());
    // A client that comes now is answered as well.
    let mut client = EligibilityServiceClient::new(server.connect().await);
    timeout(GENEROUS, client.check_eligibility(check_request())).await.unwrap().unwrap();
    attacked
}

// ---- those who do not

/// A connection from an address of its own, so that limits of a client do not meet the healthy one.
async fn connect(server: &TestServer, from: u8) -> TcpStream {
    let to: SocketAddr = server.address.strip_prefix("http://").unwrap().parse().unwrap();
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind(SocketAddr::from((Ipv4Addr::new(127, 0, 0, from), 0))).unwrap();
    timeout(GENEROUS, socket.connect(to)).await.unwrap().unwrap()
}

/// What came of a call.
#[derive(Debug, PartialEq, Eq)]
enum Answer {
    Grpc(Code),
    Http(u16),
    /// The stream or its connection was ended.
    Cut,
}

/// A client that keeps HTTP/2 and sends what it likes in it.
#[derive(Clone)]
struct Attacker {
    send: h2::client::SendRequest<Bytes>,
    ended: Arc<AtomicBool>,
}

/// A call that the attacker has begun.
struct Begun {
    response: h2::client::ResponseFuture,
    body: h2::SendStream<Bytes>,
}

impl Attacker {
    async fn open(server: &TestServer, from: u8) -> Self {
        Self::with_window(server, from, 1 << 20).await
    }

    /// One that lets each stream send it so many bytes, and never more.
    async fn with_window(server: &TestServer, from: u8, window: u32) -> Self {
        let stream = connect(server, from).await;
        let (send, connection) =
            h2::client::Builder::new().initial_window_size(window).handshake::<_, Bytes>(stream).await.unwrap();
        let ended = Arc::new(AtomicBool::new(false));
        let told = ended.clone();
        tokio::spawn(async move {
            let _ = connection.await;
            told.store(true, Ordering::Relaxed);
        });
        Self { send, ended }
    }

    async fn begin(&self, path: &str, headers: &[(&str, &str)]) -> Result<Begun, h2::Error> {
        let mut request = Request::post(format!("http://localhost{path}"));
        for (name, value) in [("content-type", "application/grpc"), ("te", "trailers")] {
            if !headers.iter().any(|(other, _)| *other == name) {
                request = request.header(name, value);
            }
        }
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let mut send = timeout(GENEROUS, self.send.clone().ready()).await.unwrap()?;
        let (response, body) = send.send_request(request.body(()).unwrap(), false)?;
        Ok(Begun { response, body })
    }

    /// A call with one piece of body, after which nothing comes.
    async fn call(&self, path: &str, headers: &[(&str, &str)], body: impl Into<Bytes>) -> Answer {
        let Ok(mut begun) = self.begin(path, headers).await else { return Answer::Cut };
        let _ = begun.body.send_data(body.into(), true);
        begun.answer().await
    }

    async fn is_cut_off(&self) -> bool {
        let ending = async {
            while !self.ended.load(Ordering::Relaxed) {
                sleep(Duration::from_millis(10)).await;
            }
        };
        timeout(GENEROUS, ending).await.is_ok()
    }
}

impl Begun {
    async fn answer(self) -> Answer {
        // The body stays open as long as the answer is waited for.
        let _body = self.body;
        let answering = async {
            let response = self.response.await?;
            if let Some(code) = code_of(response.headers()) {
                return Ok(Answer::Grpc(code));
            }
            let status = response.status().as_u16();
            let mut body = response.into_body();
            while let Some(data) = body.data().await {
                let data = data?;
                body.flow_control().release_capacity(data.len())?;
            }
            let trailers = body.trailers().await?;
            Ok::<_, h2::Error>(trailers.as_ref().and_then(code_of).map_or(Answer::Http(status), Answer::Grpc))
        };
        timeout(GENEROUS, answering).await.expect("the call came to an end").unwrap_or(Answer::Cut)
    }
}

fn code_of(headers: &HeaderMap) -> Option<Code> {
    headers.get("grpc-status").map(|value| Code::from_bytes(value.as_bytes()))
}

/// A message as gRPC frames it, with any flag and any length.
fn framed(flag: u8, length: usize, message: &[u8]) -> Bytes {
    let mut bytes = BytesMut::new();
    bytes.put_u8(flag);
    bytes.put_u32(u32::try_from(length).unwrap());
    bytes.put_slice(message);
    bytes.freeze()
}

fn message(message: &[u8]) -> Bytes {
    framed(0, message.len(), message)
}

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const GOAWAY: u8 = 7;
const WINDOW_UPDATE: u8 = 8;
const CONTINUATION: u8 = 9;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    let mut bytes = length[1..].to_vec();
    bytes.extend([kind, flags]);
    bytes.extend(stream.to_be_bytes());
    bytes.extend(payload);
    bytes
}

fn opening() -> Vec<u8> {
    [PREFACE, &frame(SETTINGS, 0, 0, &[])].concat()
}

/// Headers as literals that are kept in no table.
fn packed(headers: &[(&str, &str)]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (name, value) in headers {
        bytes.push(0);
        for text in [name, value] {
            // A length below 127 is one byte; else the rest follows, seven bits each.
            if text.len() < 127 {
                bytes.push(u8::try_from(text.len()).unwrap());
            } else {
                bytes.push(127);
                let mut rest = text.len() - 127;
                while rest >= 128 {
                    bytes.push(u8::try_from(rest % 128).unwrap() | 128);
                    rest /= 128;
                }
                bytes.push(u8::try_from(rest).unwrap());
            }
            bytes.extend(text.as_bytes());
        }
    }
    bytes
}

fn call_headers(path: &str) -> Vec<u8> {
    packed(&[
        (":method", "POST"),
        (":scheme", "http"),
        (":path", path),
        (":authority", "localhost"),
        ("content-type", "application/grpc"),
        ("te", "trailers"),
    ])
}

/// How a connection ended on which frames were sent by hand.
#[derive(Debug, Default)]
struct Ended {
    /// The server closed it, in any way, within the time.
    closed: bool,
    /// The error code it gave for that.
    goaway: Option<u32>,
    /// Frames that came, by kind.
    kinds: Vec<u8>,
    bytes: Vec<u8>,
}

/// Sends bytes and reads until the end, or until nothing is to be waited for any more.
async fn sent(server: &TestServer, from: u8, bytes: Vec<u8>, wait: Duration) -> Ended {
    sent_by_and_by(server, from, vec![bytes], Duration::ZERO, wait).await
}

/// What a ping holds whose answer is the last that is waited for.
const SETTLED: [u8; 8] = *b"settled?";

/// The same in pieces with a pause after each.
async fn sent_by_and_by(server: &TestServer, from: u8, pieces: Vec<Vec<u8>>, pause: Duration, wait: Duration) -> Ended {
    let (mut read, mut write) = connect(server, from).await.into_split();
    let writing = tokio::spawn(async move {
        for piece in pieces {
            // One that is cut off while it writes is what is wanted.
            let _ = write.write_all(&piece).await;
            sleep(pause).await;
        }
        write
    });
    let mut ended = Ended::default();
    let reading = async {
        let mut buffer = vec![0; 1 << 16];
        loop {
            match read.read(&mut buffer).await {
                Ok(0) | Err(_) => return true,
                Ok(count) => ended.bytes.extend_from_slice(&buffer[..count]),
            }
            if ended.bytes.ends_with(&frame(PING, 1, 0, &SETTLED)) {
                return false;
            }
        }
    };
    ended.closed = timeout(wait, reading).await.unwrap_or(false);
    writing.abort();
    let mut rest = ended.bytes.as_slice();
    while let [a, b, c, kind, _, _, _, _, _, after @ ..] = rest {
        let length = usize::try_from(u32::from_be_bytes([0, *a, *b, *c])).unwrap();
        let Some(payload) = after.get(..length) else { break };
        ended.kinds.push(*kind);
        if *kind == GOAWAY {
            let code: [u8; 4] = payload[4..8].try_into().unwrap();
            // The first of several says why.
            ended.goaway = ended.goaway.filter(|code| *code != 0).or(Some(u32::from_be_bytes(code)));
        }
        rest = &after[length..];
    }
    ended
}

const PROTOCOL_ERROR: u32 = 1;
const FRAME_SIZE_ERROR: u32 = 6;
const ENHANCE_YOUR_CALM: u32 = 11;

// ---- messages

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_that_says_it_is_too_large_is_refused_before_it_comes() {
    let server = served(limits());
    beside_a_healthy_client(&server, async {
        let attacker = Attacker::open(&server, 2).await;
        for length in [(4 << 20) + 1, 1 << 30, u32::MAX as usize] {
            // The body goes on: the answer must not wait for it.
            let mut begun = attacker.begin(CHECK, &[]).await.unwrap();
            begun.body.send_data(framed(0, length, b"a"), false).unwrap();
            assert_eq!(begun.answer().await, Answer::Grpc(Code::OutOfRange), "{length}");
        }
        // The largest that is allowed is read, and refused for what it says.
        for (path, largest) in [(CREATE, 4 << 20), (BATCH, 1 << 20), (CHECK, 256 << 10)] {
            let read = attacker.call(path, &[], message(&vec![0xff; largest])).await;
            assert_eq!(read, Answer::Grpc(Code::Internal), "{path}");
            let refused = attacker.call(path, &[], message(&vec![0xff; largest + 1])).await;
            // Beyond what any method takes it is refused before it comes.
            let code = if largest == 4 << 20 { Code::OutOfRange } else { Code::ResourceExhausted };
            assert_eq!(refused, Answer::Grpc(code), "{path}");
        }
        let honest = message(&check_request().encode_to_vec());
        assert_eq!(attacker.call(CHECK, &[], honest).await, Answer::Grpc(Code::Ok));
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_that_ends_early_is_refused() {
    let server = served(limits());
    beside_a_healthy_client(&server, async {
        let attacker = Attacker::open(&server, 2).await;
        let whole = message(&check_request().encode_to_vec());
        for end in 0..whole.len() {
            let answer = attacker.call(CHECK, &[], whole.slice(..end)).await;
            assert!(matches!(answer, Answer::Grpc(code) if code != Code::Ok), "{end} bytes: {answer:?}");
        }
        // Whole as gRPC frames it, and a message that ends early.
        let encoded = check_request().encode_to_vec();
        let answer = attacker.call(CHECK, &[], message(&encoded[..encoded.len() - 1])).await;
        assert_eq!(answer, Answer::Grpc(Code::Internal));
        // Two where one is due.
        let answer = attacker.call(CHECK, &[], [&whole[..], &whole[..]].concat()).await;
        assert!(matches!(answer, Answer::Grpc(_)), "{answer:?}");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_compressed_is_unpacked() {
    let server = served(limits());
    beside_a_healthy_client(&server, async {
        let attacker = Attacker::open(&server, 2).await;
        let mut packer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
        for _ in 0..256 {
            std::io::Write::write_all(&mut packer, &[0; 1 << 20]).unwrap();
        }
        let bomb = packer.finish().unwrap();
        assert!(bomb.len() < 512 << 10, "256 MiB are packed in {} bytes", bomb.len());
        let started = Instant::now();
        for encoding in ["gzip", "zstd", "deflate", "nonsense"] {
            let answer = attacker.call(CHECK, &[("grpc-encoding", encoding)], framed(1, bomb.len(), &bomb)).await;
            assert_eq!(answer, Answer::Grpc(Code::Unimplemented), "{encoding}");
        }
        assert!(started.elapsed() < GENEROUS / 4);
        // The flag without an encoding, and flags that do not exist.
        for flag in [1, 2, 0x80, 0xff] {
            assert_eq!(
                attacker.call(CHECK, &[], framed(flag, 3, b"abc")).await,
                Answer::Grpc(Code::Internal),
                "{flag}"
            );
        }
        // Who would take a compressed answer gets a plain one.
        let honest = message(&check_request().encode_to_vec());
        let answer = attacker.call(CHECK, &[("grpc-accept-encoding", "gzip,\u{e9}zstd")], honest.clone()).await;
        assert!(matches!(answer, Answer::Grpc(_) | Answer::Cut), "{answer:?}");
        let attacker = Attacker::open(&server, 2).await;
        let answer = attacker.call(CHECK, &[("grpc-accept-encoding", "gzip")], honest).await;
        assert_eq!(answer, Answer::Grpc(Code::Ok));
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_is_never_more_than_what_it_says() {
    let server = served(limits());
    beside_a_healthy_client(&server, async {
        let attacker = Attacker::open(&server, 2).await;
        let call = |body: Vec<u8>| attacker.call(CHECK, &[], message(&body));
        // Field 1, `model`, is no UTF-8.
        assert_eq!(call(vec![0x0a, 2, 0xff, 0xfe]).await, Answer::Grpc(Code::Internal));
        // UTF-8 that says nothing good: NUL, a mark that turns text round, half of a surrogate pair as some write it.
        for odd in ["\u{a}\u{3}\0a\0", "\u{a}\u{3}\u{202e}"] {
            let answer = call(odd.into()).await;
            assert!(matches!(answer, Answer::Grpc(Code::InvalidArgument | Code::NotFound)), "{odd:?}: {answer:?}");
        }
        assert_eq!(call(vec![0x0a, 3, 0xed, 0xa0, 0x80]).await, Answer::Grpc(Code::Internal));
        // Field 0, wrong wire types, a number without an end, a length beyond the message.
        for broken in
            [vec![0], vec![0x08, 1], vec![0x0e], vec![0x0f], vec![0xff; 11], vec![0x0a, 0xff, 0xff, 0xff, 0x7f]]
        {
            assert_eq!(call(broken.clone()).await, Answer::Grpc(Code::Internal), "{broken:?}");
        }
        // Groups of fields that nobody knows, deeper than any stack: 1000 is the number of a field.
        let group = |bits: u64| {
            let mut bytes = Vec::new();
            prost::encoding::encode_varint(1_000 << 3 | bits, &mut bytes);
            bytes
        };
        for (path, depth) in [(CHECK, 60_000), (CREATE, 1_000_000)] {
            let deep = [group(3).repeat(depth), group(4).repeat(depth)].concat();
            assert_eq!(attacker.call(path, &[], message(&deep)).await, Answer::Grpc(Code::Internal));
            let open = message(&group(3).repeat(depth));
            assert_eq!(attacker.call(path, &[], open).await, Answer::Grpc(Code::Internal));
        }
        // Unknown fields of every wire type are passed over, however many.
        let mut known = check_request().encode_to_vec();
        for _ in 0..8_000 {
            for (bits, value) in [(0, &[5][..]), (1, &[0; 8]), (2, &[2, 0xff, 0xff]), (5, &[0; 4])] {
                known.extend(group(bits));
                known.extend(value);
            }
            known.extend([group(3), group(4)].concat());
        }
        assert!((200 << 10..256 << 10).contains(&known.len()), "{}", known.len());
        assert_eq!(call(known).await, Answer::Grpc(Code::Ok));
        // An enum value that does not exist, and numbers at their ends.
        let request = pb::CheckEligibilityRequest {
            r#use: Some(pb::Use { purpose: i32::MIN, activities: vec![i32::MAX; 50_000], ..pb::Use::default() }),
            min_revision: i64::MIN,
            as_of_revision: i64::MAX,
            as_of_time: Some(prost_types::Timestamp { seconds: i64::MIN, nanos: i32::MIN }),
            ..check_request()
        };
        assert_eq!(call(request.encode_to_vec()).await, Answer::Grpc(Code::InvalidArgument));
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn text_that_is_nested_thousands_deep_is_refused() {
    let server = served(Limits { call_time: GENEROUS, ..limits() });
    beside_a_healthy_client(&server, async {
        let attacker = Attacker::open(&server, 2).await;
        let deep = 60_000;
        let around = |inner: &str| [&"(".repeat(deep), inner, &")".repeat(deep)].concat();
        for filter in
            [around("tier = OPEN_WEIGHTS"), "(".repeat(deep), "NOT ".repeat(deep), "-".repeat(deep), "a.".repeat(deep)]
        {
            let request = pb::ListModelsRequest { filter, ..Default::default() };
            let answer = attacker.call(LIST, &[], message(&request.encode_to_vec())).await;
            assert_eq!(answer, Answer::Grpc(Code::InvalidArgument));
        }
        for license in
            [around("MIT"), "(".repeat(deep), "MIT AND ".repeat(deep) + "MIT", "MIT OR ".repeat(deep) + "MIT"]
        {
            let component = pb::Component { license_expression: license, ..Default::default() };
            let request = pb::CreateModelRequest {
                parent: "publishers/acme".into(),
                model_id: "deep".into(),
                model: Some(pb::Model { components: vec![component], ..Default::default() }),
                ..Default::default()
            };
            let answer = attacker.call(CREATE, &[], message(&request.encode_to_vec())).await;
            assert_eq!(answer, Answer::Grpc(Code::InvalidArgument));
        }
        for model in ["/".repeat(deep), "a".repeat(4 * deep), "publishers/".repeat(deep / 3), "\u{301}".repeat(deep)] {
            let request = pb::CheckEligibilityRequest { model, ..check_request() };
            let answer = attacker.call(CHECK, &[], message(&request.encode_to_vec())).await;
            assert!(matches!(answer, Answer::Grpc(Code::InvalidArgument | Code::NotFound)), "{answer:?}");
        }
    })
    .await;
}

// ---- headers

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn headers_that_are_too_large_or_say_nonsense_are_refused() {
    let server = served(limits());
    beside_a_healthy_client(&server, async {
        let honest = message(&check_request().encode_to_vec());
        let attacker = Attacker::open(&server, 2).await;
        let large = "a".repeat(17 << 10);
        let answer = attacker.call(CHECK, &[("x-large", &large)], honest.clone()).await;
        assert!(matches!(answer, Answer::Http(431) | Answer::Cut), "{answer:?}");
        let names: Vec<String> = (0..2_000).map(|number| format!("x-{number}")).collect();
        let many: Vec<(&str, &str)> = names.iter().map(|name| (name.as_str(), "")).collect();
        let attacker = Attacker::open(&server, 2).await;
        let answer = attacker.call(CHECK, &many, honest.clone()).await;
        assert!(matches!(answer, Answer::Http(431) | Answer::Cut), "{answer:?}");

        let attacker = Attacker::open(&server, 2).await;
        // A time limit that is none counts as none; the server's own holds.
        for garbage in ["", "abc", "1", "S", "-1S", "99999999999S", "1.5S", "9999999999999999999999999S", "1S1S", "١S"]
        {
            let answer = attacker.call(CHECK, &[("grpc-timeout", garbage)], honest.clone()).await;
            assert_eq!(answer, Answer::Grpc(Code::Ok), "{garbage}");
        }
        for odd in ["99999999H", "99999999S"] {
            assert_eq!(
                attacker.call(CHECK, &[("grpc-timeout", odd)], honest.clone()).await,
                Answer::Grpc(Code::Ok),
                "{odd}"
            );
        }
        for form in ["text/plain", "application/json", "", "application/grpcx", "application/grpc-web"] {
            let answer = attacker.call(CHECK, &[("content-type", form)], honest.clone()).await;
            // What it calls itself decides nothing: the body is read as gRPC, and what is none is refused.
            assert!(matches!(answer, Answer::Http(415) | Answer::Grpc(_)), "{form}: {answer:?}");
        }
        for path in
            ["/", "//", "/a", "/weighbridge.v1.EligibilityService/", "/weighbridge.v1.EligibilityService", "/%00/%ff"]
        {
            assert_eq!(attacker.call(path, &[], honest.clone()).await, Answer::Grpc(Code::Unimplemented), "{path}");
        }
        let long = format!("/{}", "a".repeat(12 << 10));
        assert_eq!(attacker.call(&long, &[], honest.clone()).await, Answer::Grpc(Code::Unimplemented));
        let id = "x".repeat(8 << 10);
        assert_eq!(attacker.call(CHECK, &[("x-request-id", &id)], honest.clone()).await, Answer::Grpc(Code::Ok));
        for metadata in ["!!!", "AAA", "\u{e9}"] {
            let answer =
                attacker.call(CHECK, &[("trace-bin", metadata), ("authorization", metadata)], honest.clone()).await;
            assert_eq!(answer, Answer::Grpc(Code::Ok), "{metadata}");
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn headers_without_an_end_end_the_connection() {
    let server = served(limits());
    beside_a_healthy_client(&server, async {
        let mut flood = opening();
        flood.extend(frame(HEADERS, 0, 1, &call_headers(CHECK)));
        for _ in 0..4_000 {
            flood.extend(frame(CONTINUATION, 0, 1, &packed(&[("x-more", &"a".repeat(4_000))])));
        }
        let ended = sent(&server, 2, flood, GENEROUS).await;
        assert!(ended.closed, "{:?}", ended.kinds);
        // Empty ones are no better.
        let mut flood = opening();
        flood.extend(frame(HEADERS, 0, 1, &call_headers(CHECK)));
        flood.extend(frame(CONTINUATION, 0, 1, &[]).repeat(1_000_000));
        let ended = sent(&server, 2, flood, GENEROUS).await;
        assert!(ended.closed, "{:?}", ended.kinds);
        assert_eq!(ended.goaway, Some(ENHANCE_YOUR_CALM));
        // A small block that unpacks to much: one entry of the table, named again and again.
        let mut block = call_headers(CHECK);
        block.extend([0x40, 1, b'x', 127, 0x81, 0x1e]);
        block.extend([b'a'; 4_000]);
        block.extend([0x80 | 62].repeat(12_000));
        let mut bomb = opening();
        bomb.extend(frame(HEADERS, END_HEADERS | END_STREAM, 1, &block[..16_384.min(block.len())]));
        let ended = sent(&server, 2, bomb, Duration::from_secs(2)).await;
        assert!(
            ended.closed || ended.kinds.contains(&HEADERS) || ended.kinds.contains(&RST_STREAM),
            "{:?}",
            ended.kinds
        );
    })
    .await;
}

// ---- frames

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn calls_that_are_reset_as_fast_as_they_come_end_the_connection() {
    let server = served(limits());
    beside_a_healthy_client(&server, async {
        let mut flood = opening();
        for number in 0..20_000 {
            let stream = 2 * number + 1;
            flood.extend(frame(HEADERS, END_HEADERS, stream, &call_headers(CHECK)));
            flood.extend(frame(RST_STREAM, 0, stream, &8_u32.to_be_bytes()));
        }
        let ended = sent(&server, 2, flood, GENEROUS).await;
        assert!(ended.closed, "{:?}", ended.kinds);
        assert_eq!(ended.goaway, Some(ENHANCE_YOUR_CALM));
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_makes_the_server_reset_its_calls_is_cut_off() {
    let server = served(limits());
    beside_a_healthy_client(&server, async {
        let mut flood = opening();
        for number in 0..20_000 {
            let stream = 2 * number + 1;
            flood.extend(frame(HEADERS, END_HEADERS, stream, &call_headers(CHECK)));
            // A window that grows beyond all bounds is an error of the stream, which the server has to reset.
            flood.extend(frame(WINDOW_UPDATE, 0, stream, &0x7fff_ffff_u32.to_be_bytes()));
        }
        let ended = sent(&server, 2, flood, GENEROUS).await;
        assert!(ended.closed, "{} frames came", ended.kinds.len());
        let resets = ended.kinds.iter().filter(|kind| **kind == RST_STREAM).count();
        assert!(resets < 2_000, "{resets} calls were reset");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_whose_calls_are_refused_before_they_are_sent_keeps_its_connection() {
    let server = served(limits());
    beside_a_healthy_client(&server, async {
        let headers = call_headers("/weighbridge.v1.ModelService/Forgotten");
        let mut pieces = vec![opening()];
        for batch in 0..20 {
            let streams = (0..50).map(|number| 2 * (50 * batch + number) + 1);
            pieces.push(streams.clone().flat_map(|stream| frame(HEADERS, END_HEADERS, stream, &headers)).collect());
            pieces.push(streams.flat_map(|stream| frame(DATA, END_STREAM, stream, &message(b""))).collect());
        }
        pieces.push(frame(PING, 0, 0, &SETTLED));
        // Each refusal is there before the message is sent.
        let ended = sent_by_and_by(&server, 2, pieces, Duration::from_millis(20), GENEROUS).await;
        assert!(!ended.closed && ended.goaway.is_none(), "{:?} {:?}", ended.goaway, ended.kinds.len());
        assert_eq!(ended.kinds.iter().filter(|kind| **kind == HEADERS).count(), 1_000);
        assert!(!ended.kinds.contains(&RST_STREAM));
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn floods_of_small_frames_hold_nobody_up() {
    let server = served(limits());
    beside_a_healthy_client(&server, async {
        let begun = [opening(), frame(HEADERS, END_HEADERS, 1, &call_headers(CHECK))].concat();
        let floods = [
            ("pings", frame(PING, 0, 0, &[0; 8])),
            ("settings", frame(SETTINGS, 0, 0, &[0, 4, 0, 0, 0xff, 0xff])),
            ("empty data", frame(DATA, 0, 1, &[])),
            ("windows", frame(WINDOW_UPDATE, 0, 0, &1_u32.to_be_bytes())),
            ("unknown frames", frame(0xee, 0xff, 1, &[1; 100])),
        ];
        for (_what, piece) in floods {
            // Bounded in what it holds, whether it is cut off or not.
            let flood = [begun.clone(), piece.repeat(100_000)].concat();
            sent(&server, 2, flood, Duration::from_secs(2)).await;
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_no_http_2_is_cut_off() {
    let server = served(limits());
    beside_a_healthy_client(&server, async {
        let hello =
            b"\x16\x03\x01\x00\xc8\x01\x00\x00\xc4\x03\x03".iter().copied().chain([7; 500]).collect::<Vec<u8>>();
        let cases: [(&str, Vec<u8>); 6] = [
            (
                "HTTP/1.1",
                b"POST /weighbridge.v1.EligibilityService/CheckEligibility HTTP/1.1\r\nhost: a\r\n\r\n".to_vec(),
            ),
            (
                "an upgrade",
                b"GET / HTTP/1.1\r\nhost: a\r\nupgrade: h2c\r\nconnection: upgrade, http2-settings\r\n\r\n".to_vec(),
            ),
            ("TLS", hello),
            ("noise", (0..=255).cycle().take(10_000).collect()),
            ("noise after the preface", [PREFACE, &[0xaa; 10_000]].concat()),
            ("no settings", [PREFACE, &frame(HEADERS, END_HEADERS | END_STREAM, 0, &call_headers(CHECK))].concat()),
        ];
        for (what, bytes) in cases {
            let ended = sent(&server, 2, bytes, GENEROUS).await;
            assert!(ended.closed, "{what}: {ended:?}");
        }
        let large = [opening(), vec![0xff, 0xff, 0xff, DATA, 0, 0, 0, 0, 1]].concat();
        let ended = sent(&server, 2, large, GENEROUS).await;
        assert!(ended.closed && ended.goaway == Some(FRAME_SIZE_ERROR), "{ended:?}");
        let unasked = [opening(), frame(DATA, 0, 1, b"abc")].concat();
        let ended = sent(&server, 2, unasked, GENEROUS).await;
        assert!(ended.closed && ended.goaway == Some(PROTOCOL_ERROR), "{ended:?}");
    })
    .await;
}

// ---- connections and time

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn thousands_of_idle_connections_are_turned_away_or_cut_off() {
    let limits = Limits { connections: 400, connections_per_client: 150, ..limits() };
    let server = served(limits);
    beside_a_healthy_client(&server, async {
        let started = Instant::now();
        let mut idle = Vec::new();
        for number in 0..2_000 {
            let mut stream = connect(&server, if number % 2 == 0 { 2 } else { 3 }).await;
            // Some say nothing, some say a part of what opens a connection.
            let said = [0, 1, 10, PREFACE.len() - 1][number / 2 % 4];
            let _ = stream.write_all(&PREFACE[..said]).await;
            idle.push(stream);
        }
        // Those who never open are all cut off.
        for (number, mut stream) in idle.into_iter().enumerate() {
            let mut buffer = [0; 1_024];
            let reading = async { while !matches!(stream.read(&mut buffer).await, Ok(0) | Err(_)) {} };
            assert!(timeout(GENEROUS, reading).await.is_ok(), "{number} is still open after {:?}", started.elapsed());
        }
        // Those who open are kept, up to the limit of a client.
        let mut held = Vec::new();
        for _ in 0..300 {
            let mut stream = connect(&server, 2).await;
            let _ = stream.write_all(&opening()).await;
            held.push(stream);
        }
        sleep(2 * OPENING_TIME).await;
        let mut open = 0;
        for stream in &mut held {
            let mut buffer = [0; 1_024];
            let ended = async { while !matches!(stream.read(&mut buffer).await, Ok(0) | Err(_)) {} };
            open += usize::from(timeout(Duration::from_millis(5), ended).await.is_err());
        }
        assert!((100..=150).contains(&open), "{open} are open");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_body_that_comes_a_byte_at_a_time_ends_at_the_deadline() {
    // Watches are none of these calls.
    let server = served(Limits { calls_per_client: 64 - 64 / 3, ..limits() });
    beside_a_healthy_client(&server, async {
        let honest = message(&check_request().encode_to_vec());
        let mut calls = tokio::task::JoinSet::new();
        let attacker = Attacker::open(&server, 2).await;
        for number in 0..64 {
            let path = [CHECK, "/weighbridge.v1.ModelService/ImportModels", WATCH][number % 3];
            // Before the server can take it.
            let started = Instant::now();
            let Begun { response, mut body } = attacker.begin(path, &[]).await.unwrap();
            calls.spawn(async move {
                let whole = framed(0, 1_000, &[0x0a; 1_000]);
                let dripping = tokio::spawn(async move {
                    for at in 0..whole.len() {
                        if body.send_data(whole.slice(at..=at), false).is_err() {
                            return;
                        }
                        sleep(Duration::from_millis(50)).await;
                    }
                });
                let response = timeout(GENEROUS, response).await.expect("it ends");
                dripping.abort();
                let code = response.ok().and_then(|response| code_of(response.headers()));
                (code, started.elapsed())
            });
        }
        // As many as may: one more is refused at once.
        let refused = attacker.call(CHECK, &[], honest.clone()).await;
        assert_eq!(refused, Answer::Grpc(Code::ResourceExhausted));
        for (code, took) in calls.join_all().await {
            assert_eq!(code, Some(Code::DeadlineExceeded));
            assert!(took >= CALL_TIME && took < CALL_TIME + GENEROUS / 2, "{took:?}");
        }
        // And there is room again.
        assert_eq!(attacker.call(CHECK, &[], honest).await, Answer::Grpc(Code::Ok));
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_that_its_client_gave_too_little_time_is_counted_as_late() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let figures = listener.local_addr().unwrap();
    let probes = Probes::start(listener, Arc::default(), None).unwrap();
    let options = ServerOptions { limits: limits(), probes: Some(probes), ..ServerOptions::default() };
    let server = TestServer::with_options(options);
    let attacker = Attacker::open(&server, 2).await;
    // Its message never comes.
    let begun = attacker.begin(CHECK, &[("grpc-timeout", "200m")]).await.unwrap();
    assert!(matches!(begun.answer().await, Answer::Grpc(Code::DeadlineExceeded | Code::Cancelled)));
    let counted = format!("weighbridge_calls_total{{method=\"{CHECK}\",code=\"DEADLINE_EXCEEDED\"}} 1");
    let told = async {
        while !get(figures, "/metrics", "").contains(&counted) {
            sleep(Duration::from_millis(10)).await;
        }
    };
    timeout(GENEROUS, told).await.expect("it is counted");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn strangers_hold_no_memory_and_no_places_of_others_by_health_and_reflection() {
    let server = served(limits());
    beside_a_healthy_client(&server, async {
        let attacker = Attacker::open(&server, 2).await;
        let check = "/grpc.health.v1.Health/Check";
        let large = attacker.call(check, &[], message(&[0x0a; 1 << 20])).await;
        assert_eq!(large, Answer::Grpc(Code::ResourceExhausted));
        let watch = "/grpc.health.v1.Health/Watch";
        let mut held = Vec::new();
        for _ in 0..128 {
            let mut begun = attacker.begin(watch, &[]).await.unwrap();
            begun.body.send_data(message(&[]), true).unwrap();
            held.push(begun);
        }
        assert_eq!(attacker.call(watch, &[], message(&[])).await, Answer::Grpc(Code::ResourceExhausted));
        // The places of watches and the health check are others.
        let mut begun = attacker.begin(WATCH, &[]).await.unwrap();
        begun.body.send_data(message(&[]), true).unwrap();
        let response = timeout(GENEROUS, begun.response).await.unwrap().unwrap();
        assert_eq!(code_of(response.headers()), None);
        assert_eq!(attacker.call(check, &[], message(&[])).await, Answer::Grpc(Code::Ok));
        // Checks whose message never comes are few.
        for _ in 0..64 {
            held.push(attacker.begin(check, &[]).await.unwrap());
        }
        assert_eq!(attacker.call(check, &[], message(&[])).await, Answer::Grpc(Code::ResourceExhausted));
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn messages_that_never_end_hold_a_bounded_number_of_bytes() {
    let server = served(Limits { call_time: GENEROUS, ..limits() });
    beside_a_healthy_client(&server, async {
        let attacker = Attacker::open(&server, 2).await;
        // All of a message of 4 MiB but its end; 80 MiB are 20 of them, each without what counts for nothing.
        let open = framed(0, 4 << 20, &vec![0x0a; (4 << 20) - 1]);
        let mut calls = tokio::task::JoinSet::new();
        for _ in 0..32 {
            let mut begun = attacker.begin(CREATE, &[]).await.unwrap();
            begun.body.send_data(open.clone(), false).unwrap();
            calls.spawn(begun.answer());
        }
        // Those that came too late are refused; the others wait until they may no longer.
        for _ in 0..11 {
            let refused = timeout(GENEROUS / 2, calls.join_next()).await.expect("it is refused at once");
            assert!(matches!(refused, Some(Ok(Answer::Grpc(Code::ResourceExhausted)))), "{refused:?}");
        }
        // Small ones are none of them, and once they are gone there is room again.
        let honest = message(&check_request().encode_to_vec());
        assert_eq!(attacker.call(CHECK, &[], honest).await, Answer::Grpc(Code::Ok));
        calls.shutdown().await;
        let large = message(&vec![0xff; (4 << 20) - 64]);
        let again = async {
            while attacker.call(CREATE, &[], large.clone()).await == Answer::Grpc(Code::ResourceExhausted) {
                sleep(Duration::from_millis(20)).await;
            }
        };
        timeout(GENEROUS, again).await.expect("there is room again");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn documents_of_imports_hold_a_bounded_number_of_bytes() {
    let server = served(Limits { call_time: GENEROUS, ..limits() });
    beside_a_healthy_client(&server, async {
        let attacker = Attacker::open(&server, 2).await;
        let sent = |payload| message(&pb::ImportModelsRequest { payload: Some(payload) }.encode_to_vec());
        let config = pb::ImportConfig { source: pb::ImportSource::ModelsDev.into(), ..Default::default() };
        let chunk = sent(Payload::Chunk(vec![b' '; (1 << 20) - 64]));
        // There is room for one document of nearly the largest size, and not for two.
        let mut imports = tokio::task::JoinSet::new();
        for _ in 0..2 {
            let mut begun = attacker.begin(IMPORT, &[]).await.unwrap();
            begun.body.send_data(sent(Payload::Config(config.clone())), false).unwrap();
            for _ in 0..62 {
                begun.body.send_data(chunk.clone(), false).unwrap();
            }
            imports.spawn(begun.answer());
        }
        let refused = timeout(GENEROUS / 2, imports.join_next()).await.expect("it is refused at once");
        assert!(matches!(refused, Some(Ok(Answer::Grpc(Code::ResourceExhausted)))), "{refused:?}");
        assert!(timeout(Duration::from_secs(1), imports.join_next()).await.is_err(), "the other goes on");
    })
    .await;
}

// ---- readers

fn large_list() -> Bytes {
    message(&pb::ListModelsRequest { page_size: 1_000, ..Default::default() }.encode_to_vec())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn answers_that_nobody_takes_count_as_calls_and_are_let_go() {
    let server = served(Limits { calls_per_client: 8, reading_time: 4 * READING_TIME, ..limits() });
    beside_a_healthy_client(&server, async {
        let honest = message(&check_request().encode_to_vec());
        // No byte may be sent; one may, after which HTTP/2 takes a whole piece.
        let list = message(&pb::ListModelsRequest { page_size: 20, ..Default::default() }.encode_to_vec());
        for (window, path, body) in [(0, CHECK, honest.clone()), (0, LIST, list.clone()), (1, LIST, list.clone())] {
            let attacker = Attacker::with_window(&server, 2, window).await;
            let (mut calls, mut begun) = (Vec::new(), Vec::new());
            for _ in 0..8 {
                let mut call = attacker.begin(path, &[]).await.unwrap();
                call.body.send_data(body.clone(), true).unwrap();
                calls.push(call);
            }
            for call in calls {
                let response = timeout(GENEROUS, call.response).await.unwrap().unwrap();
                assert_eq!(code_of(response.headers()), None);
                begun.push(response);
            }
            // Their answers wait, and so one more is refused, on this connection or another.
            assert_eq!(attacker.call(path, &[], body).await, Answer::Grpc(Code::ResourceExhausted));
            let other = Attacker::open(&server, 2).await;
            assert_eq!(other.call(CHECK, &[], honest.clone()).await, Answer::Grpc(Code::ResourceExhausted));
            // But not for ever.
            assert!(attacker.is_cut_off().await, "{path} with a window of {window}");
            assert_eq!(other.call(CHECK, &[], honest.clone()).await, Answer::Grpc(Code::Ok));
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_reads_nothing_of_the_connection_is_cut_off() {
    let server = served(Limits { calls_per_client: 64, call_time: GENEROUS, ..limits() });
    beside_a_healthy_client(&server, async {
        let mut bytes = [PREFACE, &frame(SETTINGS, 0, 0, &[0, 4, 0x7f, 0xff, 0xff, 0xff])].concat();
        let list = message(&pb::ListModelsRequest { page_size: 100, ..Default::default() }.encode_to_vec());
        // Each call may be answered in full, the connection takes 64 KiB: more than that waits.
        for number in 0..10 {
            bytes.extend(frame(HEADERS, END_HEADERS, 2 * number + 1, &call_headers(LIST)));
            bytes.extend(frame(DATA, END_STREAM, 2 * number + 1, &list));
        }
        let mut stream = connect(&server, 2).await;
        stream.write_all(&bytes).await.unwrap();
        let ending = async {
            while stream.write_all(&frame(PING, 0, 0, &[0; 8])).await.is_ok() {
                sleep(Duration::from_millis(50)).await;
            }
        };
        timeout(2 * GENEROUS, ending).await.expect("the connection is ended");
        let honest = message(&check_request().encode_to_vec());
        assert_eq!(Attacker::open(&server, 2).await.call(CHECK, &[], honest).await, Answer::Grpc(Code::Ok));
    })
    .await;
}

/// Nothing of it is an answer to a call, which would be waited for.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_takes_no_answers_to_pings_is_cut_off() {
    let server = served(limits());
    beside_a_healthy_client(&server, async {
        let mut stream = connect(&server, 2).await;
        stream.write_all(&[PREFACE, &frame(SETTINGS, 0, 0, &[])].concat()).await.unwrap();
        let pings = frame(PING, 0, 0, &[0; 8]).repeat(1_000);
        let ending = async { while stream.write_all(&pings).await.is_ok() {} };
        timeout(2 * GENEROUS, ending).await.expect("the connection is ended");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn streams_that_nobody_reads_are_ended() {
    // Long enough for a busy machine to begin all streams before the first is ended.
    let limits = Limits { streams_per_client: 4, reading_time: 5 * READING_TIME, call_time: GENEROUS, ..limits() };
    let watches = WatchLimits { patience: Duration::from_millis(200), ..WatchLimits::default() };
    let server =
        TestServer::with_options_and_watch_limits(ServerOptions { limits, ..ServerOptions::default() }, watches);
    beside_a_healthy_client(&server, async {
        for (from, window) in [(2, 0), (3, 1)] {
            let attacker = Attacker::with_window(&server, from, window).await;
            let mut begun = Vec::new();
            for path in [WATCH, WATCH, BACKUP, WATCH] {
                let mut call = attacker.begin(path, &[]).await.unwrap();
                call.body.send_data(message(&[]), true).unwrap();
                let response = timeout(GENEROUS, call.response).await.unwrap().unwrap();
                assert_eq!(code_of(response.headers()), None, "{path}");
                begun.push(response);
            }
            let other = Attacker::open(&server, from).await;
            assert_eq!(other.call(WATCH, &[], message(&[])).await, Answer::Grpc(Code::ResourceExhausted));
            assert!(attacker.is_cut_off().await, "with a window of {window}");
            // All places are free again: a backup that is read comes to its end.
            assert_eq!(other.call(BACKUP, &[], message(&[])).await, Answer::Grpc(Code::Ok));
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_reads_slowly_or_waits_for_news_is_not_cut_off() {
    // Long enough that a busy machine does not make it late by itself.
    let reading_time = 3 * READING_TIME;
    let server = served(Limits { reading_time, ..limits() });
    beside_a_healthy_client(&server, async {
        let watcher = Attacker::open(&server, 2).await;
        let mut watch = watcher.begin(WATCH, &[]).await.unwrap();
        watch.body.send_data(message(&[]), true).unwrap();
        let mut watched = watch.response.await.unwrap().into_body();
        // All that is there is read, then nothing comes for a while.
        let reading = async {
            while let Some(data) = watched.data().await {
                watched.flow_control().release_capacity(data.unwrap().len()).unwrap();
            }
        };
        let idle = timeout(4 * reading_time, reading);

        let reader = Attacker::with_window(&server, 2, 8 << 10).await;
        let mut call = reader.begin(LIST, &[]).await.unwrap();
        call.body.send_data(large_list(), true).unwrap();
        let mut list = call.response.await.unwrap().into_body();
        let slowly = async {
            let mut read = 0;
            let started = Instant::now();
            while let Some(data) = list.data().await {
                let data = data.unwrap();
                read += data.len();
                if started.elapsed() < 4 * reading_time {
                    sleep(reading_time / 16).await;
                }
                list.flow_control().release_capacity(data.len()).unwrap();
            }
            (read, started.elapsed(), list.trailers().await.unwrap().as_ref().and_then(code_of))
        };
        let (idle, (read, took, code)) = tokio::join!(idle, slowly);
        assert!(idle.is_err(), "the watch has ended");
        assert_eq!(code, Some(Code::Ok));
        assert!(read > 64 << 10 && took > 2 * reading_time, "{read} bytes in {took:?}");
    })
    .await;
}
