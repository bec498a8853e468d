//! A load generator that looks at every answer: its status, and whether it is what it must be.
//!
//! Written on `h2`, without a gRPC client above it: what the generator takes is not left for the server to be told apart by.

#![allow(dead_code, reason = "each benchmark looks at something else")]

pub(crate) mod contest;

use std::cell::{Cell, RefCell};
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::{Duration, Instant};

use bytes::{BufMut as _, Bytes, BytesMut};
use h2::client::SendRequest;
use tonic::codegen::http::{HeaderValue, Request};

/// Windows as gRPC clients set them, so that none waits for room.
const STREAM_WINDOW: u32 = 2 << 20;
const CONNECTION_WINDOW: u32 = 5 << 20;
/// What stands before a message of gRPC.
const PREFIX_BYTES: usize = 5;

/// Says whether an answer is what it must be.
type Judge = Box<dyn Fn(&[u8]) -> bool>;

/// What is asked again and again.
pub(crate) struct Question {
    path: &'static str,
    body: Bytes,
    judge: Judge,
    /// Decisions in one answer.
    decisions: u64,
}

impl Question {
    pub(crate) fn new(path: &'static str, message: &impl prost::Message, judge: Judge) -> Self {
        Self { path, body: framed(&message.encode_to_vec()), judge, decisions: 1 }
    }

    pub(crate) fn of_many(self, decisions: u64) -> Self {
        Self { decisions, ..self }
    }
}

/// A message with what stands before it on the wire.
pub(crate) fn framed(message: &[u8]) -> Bytes {
    let mut framed = BytesMut::with_capacity(PREFIX_BYTES + message.len());
    framed.put_u8(0);
    framed.put_u32(message.len().try_into().unwrap());
    framed.put_slice(message);
    framed.freeze()
}

/// How much is under way at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Shape {
    pub(crate) connections: usize,
    /// Calls at once on each of them.
    pub(crate) streams: usize,
}

/// What came of it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Outcome {
    pub(crate) calls: u64,
    pub(crate) decisions: u64,
    /// Answers that are not what they must be.
    pub(crate) wrong: u64,
    pub(crate) seconds: f64,
    /// By how much what was read of the server rose, once all were connected.
    pub(crate) metered: f64,
    /// Microseconds that each call took, ascending.
    pub(crate) took_us: Vec<u32>,
}

impl Outcome {
    pub(crate) fn rate(&self) -> f64 {
        self.decisions as f64 / self.seconds
    }

    pub(crate) fn quantile_us(&self, share: f64) -> u32 {
        self.took_us[((self.took_us.len() - 1) as f64 * share) as usize]
    }
}

struct Seen {
    questions: Vec<Question>,
    next: Cell<usize>,
    stop: Cell<bool>,
    counted: RefCell<Outcome>,
}

/// Asks the questions in turn, as fast as the answers come.
///
/// `meter` is read when all are connected, and again after the last answer.
///
/// # Panics
/// An answer has another status than OK, or is not what it must be.
pub(crate) fn closed(
    address: SocketAddr,
    questions: Vec<Question>,
    shape: Shape,
    time: Duration,
    meter: impl Fn() -> f64 + 'static,
) -> Outcome {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let tasks = tokio::task::LocalSet::new();
    let seen = Rc::new(Seen {
        questions,
        next: Cell::new(0),
        stop: Cell::new(false),
        counted: RefCell::new(Outcome { took_us: Vec::with_capacity(1 << 20), ..Outcome::default() }),
    });
    let asked = seen.clone();
    let (seconds, metered) = tasks.block_on(&runtime, async move {
        let mut senders = Vec::new();
        for _ in 0..shape.connections {
            senders.push(connect(address).await);
        }
        let (started, before) = (Instant::now(), meter());
        let mut asking = Vec::new();
        for sender in senders {
            for _ in 0..shape.streams {
                asking.push(tokio::task::spawn_local(ask_on(sender.clone(), address, asked.clone())));
            }
        }
        tokio::time::sleep(time).await;
        asked.stop.set(true);
        for task in asking {
            task.await.unwrap();
        }
        (started.elapsed().as_secs_f64(), meter() - before)
    });
    drop((tasks, runtime));
    let mut counted = seen.counted.take();
    assert_eq!(counted.wrong, 0, "of {} answers so many are not what they must be", counted.calls);
    (counted.seconds, counted.metered) = (seconds, metered);
    counted.took_us.sort_unstable();
    counted
}

/// Asks once.
pub(crate) fn once(address: SocketAddr, path: &'static str, message: &impl prost::Message) -> Bytes {
    each(address, path, &[message]).remove(0)
}

/// Asks each question once, on one connection.
pub(crate) fn each(address: SocketAddr, path: &'static str, messages: &[&impl prost::Message]) -> Vec<Bytes> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let tasks = tokio::task::LocalSet::new();
    tasks.block_on(&runtime, async {
        let (mut sender, request) = (connect(address).await, request(address, path));
        let mut answers = Vec::with_capacity(messages.len());
        for message in messages {
            let answer = call(&mut sender, &request, framed(&message.encode_to_vec())).await;
            answers.push(answer.slice(PREFIX_BYTES..));
        }
        answers
    })
}

async fn connect(address: SocketAddr) -> SendRequest<Bytes> {
    let stream = tokio::net::TcpStream::connect(address).await.unwrap();
    stream.set_nodelay(true).unwrap();
    let (sender, connection) = h2::client::Builder::new()
        .initial_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .handshake(stream)
        .await
        .unwrap();
    // It ends with the senders, or with the run.
    tokio::task::spawn_local(connection);
    sender
}

fn request(address: SocketAddr, path: &str) -> Request<()> {
    let mut request = Request::post(format!("http://{address}{path}")).body(()).unwrap();
    request.headers_mut().insert("te", HeaderValue::from_static("trailers"));
    request.headers_mut().insert("content-type", HeaderValue::from_static("application/grpc"));
    request
}

async fn ask_on(mut sender: SendRequest<Bytes>, address: SocketAddr, seen: Rc<Seen>) {
    let requests: Vec<Request<()>> = seen.questions.iter().map(|q| request(address, q.path)).collect();
    while !seen.stop.get() {
        let at = seen.next.get();
        seen.next.set((at + 1) % seen.questions.len());
        let question = &seen.questions[at];
        let started = Instant::now();
        let answer = call(&mut sender, &requests[at], question.body.clone()).await;
        let took = started.elapsed();
        let mut counted = seen.counted.borrow_mut();
        if !(question.judge)(&answer[PREFIX_BYTES..]) {
            counted.wrong += 1;
        }
        counted.calls += 1;
        counted.decisions += question.decisions;
        counted.took_us.push(took.as_micros().try_into().unwrap());
    }
}

async fn call(sender: &mut SendRequest<Bytes>, request: &Request<()>, body: Bytes) -> Bytes {
    std::future::poll_fn(|context| sender.poll_ready(context)).await.unwrap();
    let (answer, mut sending) = sender.send_request(request.clone(), false).unwrap();
    sending.send_data(body, true).unwrap();
    let (head, mut body) = answer.await.unwrap().into_parts();
    assert_eq!(head.status, 200);
    let status = head.headers.get("grpc-status");
    assert!(status.is_none(), "grpc-status {status:?}: {:?}", head.headers.get("grpc-message"));
    let mut whole = Bytes::new();
    while let Some(part) = body.data().await {
        let part = part.unwrap();
        body.flow_control().release_capacity(part.len()).unwrap();
        whole = if whole.is_empty() { part } else { [whole, part].concat().into() };
    }
    let trailers = body.trailers().await.unwrap().expect("gRPC ends with trailers");
    assert_eq!(trailers.get("grpc-status").map(HeaderValue::as_bytes), Some(&b"0"[..]), "{trailers:?}");
    whole
}
