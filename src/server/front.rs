//! What every call passes: its id, who calls, the limits, the longest time, and what is counted.

use std::convert::Infallible;
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body::Body as _;
use tokio::time::error::Elapsed;
use tokio::time::timeout;
use tonic::body::Body;
use tonic::codegen::http::header::{AUTHORIZATION, HeaderName, HeaderValue};
use tonic::codegen::http::{HeaderMap, Request, Response};
use tonic::{Code, Status};
use tower::{Layer, Service};

use super::ServerOptions;
use super::access::{Access, Admitted, short};
use super::answer::{Answer, Held, code_of};
use super::clients::{Permit, Pool};
use super::connection::Peer;
use super::limits::{LONG_CALLS, LONG_TIME, REFUSALS_LOGGED_MAX, REST_BYTES_MAX, REST_TIME, request_bytes_max};
use super::metrics::Metrics;
use super::request::Incoming;
use super::traces::{Traced, Traces};
use crate::auth::Role;
use crate::auth::methods::{Form, Method};
use crate::convert::status::status;
use crate::registry::{Call, Registry};
use crate::service::Checks;

/// The id of a call, in its answer.
const CALL_ID: HeaderName = HeaderName::from_static("weighbridge-call-id");
/// An id that the client gives.
const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// How long before the end a client may give up by its own deadline: its clock began before the call arrived.
const CLIENT_AHEAD: Duration = Duration::from_millis(5);
/// What is told at all times.
const GET_STATUS: &str = "/weighbridge.v1.AdminService/GetStatus";
/// Longest id that is taken from a client.
const ID_BYTES_MAX: usize = 64;

/// What the calls of all workers pass.
pub(super) struct Front {
    access: Arc<Access>,
    pub(super) metrics: Arc<Metrics>,
    registry: Arc<Registry>,
    call_time: Duration,
    traces: Option<Arc<Traces>>,
    ids: Ids,
    /// The second, since 1970, of the last refusals that were logged, and how many they were.
    refusals: Mutex<(i64, u32)>,
}

impl Front {
    pub(super) fn new(options: &ServerOptions, metrics: Arc<Metrics>, registry: Arc<Registry>) -> Front {
        let (access, traces) = (options.access.clone(), options.traces.clone());
        let call_time = options.limits.call_time;
        Front { access, metrics, registry, call_time, traces, ids: Ids::new(), refusals: Mutex::default() }
    }

    /// Lets a call in, within the limits and while what is known is not too old, or says why not.
    fn admit(&self, request: &Request<Body>) -> Result<(Admitted, Option<Arc<Permit>>), Status> {
        let (admitted, permit) = admit(&self.access, request)?;
        if admitted.method.is_some_and(|method| method.path != GET_STATUS) {
            self.registry.check_fresh().map_err(|stale| status(&stale))?;
        }
        Ok((admitted, permit))
    }

    /// Whether one more refusal may be logged: strangers must not fill a disk. All are counted.
    fn may_log_refusal(&self) -> bool {
        let now = jiff::Timestamp::now().as_second();
        let mut refusals = self.refusals.lock().unwrap_or_else(PoisonError::into_inner);
        if refusals.0 != now {
            *refusals = (now, 0);
        }
        refusals.1 += 1;
        refusals.1 <= REFUSALS_LOGGED_MAX
    }
}

/// Makes ids that no other process makes.
pub(super) struct Ids {
    first: u64,
    next: AtomicU64,
}

impl Ids {
    pub(super) fn new() -> Self {
        use std::hash::{BuildHasher as _, RandomState};
        // Random enough to tell processes apart; nothing rests on it that could be guessed.
        Self { first: RandomState::new().hash_one(0), next: AtomicU64::new(0) }
    }

    pub(super) fn next(&self) -> Arc<str> {
        let number = self.first.wrapping_add(self.next.fetch_add(1, Ordering::Relaxed));
        let mut text = [0; 16];
        for (at, digit) in text.iter_mut().zip((0..16).rev()) {
            // INVARIANT: four bits are a digit.
            *at = char::from_digit((number >> (4 * digit) & 0xf) as u32, 16).unwrap_or('0') as u8;
        }
        std::str::from_utf8(&text).unwrap_or_default().into()
    }
}

/// Puts the front before the services.
#[derive(Clone)]
pub(super) struct FrontLayer {
    pub(super) front: Arc<Front>,
    /// The service of the check, which is asked without a router in between: measured, that saves more than the decision costs.
    pub(super) checks: Checks,
}

impl<S> Layer<S> for FrontLayer {
    type Service = Fronted<S>;

    fn layer(&self, inner: S) -> Fronted<S> {
        let Self { front, checks } = self.clone();
        Fronted { inner, front, checks }
    }
}

#[derive(Clone)]
pub(super) struct Fronted<S> {
    inner: S,
    front: Arc<Front>,
    checks: Checks,
}

type Answering = Pin<Box<dyn Future<Output = Result<Response<Body>, Infallible>> + Send>>;

impl<S> Service<Request<Body>> for Fronted<S>
where
    S: Service<Request<Body>, Response = Response<Body>, Error = Infallible>,
    S::Future: Send + 'static,
{
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Answering;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let started = Instant::now();
        let front = self.front.clone();
        let id = call_id(request.headers()).map_or_else(|| front.ids.next(), Arc::from);
        let (admitted, permit) = match front.admit(&request) {
            Ok(admitted) => admitted,
            Err(status) => {
                front.metrics.refused(status.code());
                if front.may_log_refusal() {
                    let peer = request.extensions().get::<Arc<Peer>>().map(|peer| peer.address.to_string());
                    let (method, code, why) = (short(request.uri().path()), status.code(), status.message());
                    tracing::info!(call.id = %id, method, peer, ?code, why, "refused");
                }
                return Box::pin(std::future::ready(Ok(refuse(request, status, &id))));
            }
        };
        let Admitted { method, form, actor } = admitted;
        let is_long = LONG_CALLS.contains(&request.uri().path());
        let limit = if is_long { front.call_time.max(LONG_TIME) } else { front.call_time };
        let held = permit.clone().map(|permit| -> Arc<dyn std::any::Any + Send + Sync> { permit });
        let has_ended = false;
        let deadline = client_time(request.headers()).and_then(|time| started.checked_add(time));
        let traced = match (&front.traces, method) {
            (Some(traces), Some(method)) => traces.begin(method, request.headers()),
            _ => None,
        };
        let outcome = traced.as_ref().map(|traced| traced.outcome.clone());
        let call = Call { id: id.clone(), actor: actor.clone(), held, outcome };
        let counted = Counted { front, method, started, deadline, permit, id, actor, traced, has_ended };
        let peer = request.extensions().get::<Arc<Peer>>().cloned();
        let request = match &peer {
            // A restore is stored as it comes.
            Some(peer) if !is_long => {
                let (client, bytes_max) = (peer.connected.0.clone(), request_bytes_max(method, form));
                request.map(|body| Body::new(Incoming::new(body, client, bytes_max)))
            }
            _ => request,
        };
        let answering: Answering = match Checks::serves(request.uri().path()) {
            true => self.checks.call(request),
            false => Box::pin(self.inner.call(request)),
        };
        let answering = call.run(answering);
        Box::pin(async move {
            let mut counted = counted;
            let response = match within(limit, answering).await {
                Ok(Ok(response)) => response,
                Err(_) => late().into_http(),
            };
            let code = code_of(response.headers());
            let response = with_id(response, &counted.id);
            let held = match code {
                // The code of a stream comes at its end.
                None if form == Form::Stream => Held::Stream(counted),
                code => {
                    let permit = counted.permit.take();
                    counted.done(code.unwrap_or(Code::Ok));
                    Held::Call { _permit: permit }
                }
            };
            if response.body().is_end_stream() {
                return Ok(response);
            }
            Ok(response.map(|body| Body::new(Answer::new(body, peer, held))))
        })
    }
}

/// Waits for an answer, at most so long. Most are there at once, and then no clock is set.
async fn within<F: Future>(limit: Duration, answering: F) -> Result<F::Output, Elapsed> {
    let mut answering = pin!(answering);
    let at_once = std::future::poll_fn(|context| Poll::Ready(answering.as_mut().poll(context))).await;
    match at_once {
        Poll::Ready(answer) => Ok(answer),
        Poll::Pending => timeout(limit, answering).await,
    }
}

/// What a call is answered that took too long.
pub(super) fn late() -> Status {
    Status::deadline_exceeded("the call took longer than the server allows")
}

/// Answers a call that is not let in.
pub(super) fn refuse(request: Request<Body>, status: Status, id: &str) -> Response<Body> {
    tokio::spawn(take_rest(request.into_body()));
    with_id(status.into_http(), id)
}

/// Takes what still comes of a request that was refused.
///
/// Thrown away at once, the stream would be reset under the client, and each piece that was on its way would count as a
/// mistake of its connection, which is ended for too many: with all calls that others have on it, behind a proxy.
async fn take_rest(body: Body) {
    let mut body = pin!(body);
    let mut bytes = 0;
    let taking = async {
        while bytes <= REST_BYTES_MAX
            && let Some(Ok(frame)) = std::future::poll_fn(|context| body.as_mut().poll_frame(context)).await
        {
            bytes += frame.data_ref().map_or(0, Bytes::len);
        }
    };
    // After that it is reset.
    let _ = timeout(REST_TIME, taking).await;
}

/// Lets a call in, within the limits, or says why not.
pub(super) fn admit(access: &Access, request: &Request<Body>) -> Result<(Admitted, Option<Arc<Permit>>), Status> {
    let peer = request.extensions().get::<Arc<Peer>>();
    // What is no text is no token that anybody has.
    let authorization = request.headers().get(AUTHORIZATION).map(|value| value.to_str().unwrap_or_default());
    let admitted = access.admit(request.uri().path(), authorization, peer.map(|peer| &**peer))?;
    let pool = match (admitted.method, admitted.form) {
        // Let in while everything is full: an orchestrator must not take a busy server for a dead one.
        (None, Form::Unary) => Pool::Probes,
        (None, _) => Pool::Beside,
        (Some(_), Form::Stream) => Pool::Streams,
        (Some(_), Form::Unary | Form::Upload) => Pool::Calls,
    };
    let permit = match peer {
        Some(peer) => Some(Arc::new(peer.connected.0.call(pool)?)),
        None => None,
    };
    Ok((admitted, permit))
}

/// The id that a client gave, if it is one that a log takes.
pub(super) fn call_id(headers: &HeaderMap) -> Option<String> {
    let id = headers.get(REQUEST_ID)?.to_str().ok()?;
    let fits = |c: u8| c.is_ascii_alphanumeric() || matches!(c, b'-' | b'_' | b'.' | b':');
    ((1..=ID_BYTES_MAX).contains(&id.len()) && id.bytes().all(fits)).then(|| id.to_owned())
}

/// How long a client waits, by its `grpc-timeout`: at most eight digits and a unit.
fn client_time(headers: &HeaderMap) -> Option<Duration> {
    let text = headers.get("grpc-timeout")?.to_str().ok()?;
    let (digits, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    if !(1..=8).contains(&digits.len()) || !digits.bytes().all(|digit| digit.is_ascii_digit()) {
        return None;
    }
    let count: u64 = digits.parse().ok()?;
    match unit {
        "H" => Some(Duration::from_secs(count * 3_600)),
        "M" => Some(Duration::from_secs(count * 60)),
        "S" => Some(Duration::from_secs(count)),
        "m" => Some(Duration::from_millis(count)),
        "u" => Some(Duration::from_micros(count)),
        "n" => Some(Duration::from_nanos(count)),
        _ => None,
    }
}

pub(super) fn with_id(mut response: Response<Body>, id: &str) -> Response<Body> {
    if let Ok(mut value) = HeaderValue::from_str(id) {
        // No two are alike: in the table of the connection's headers each would only take the place of what is.
        value.set_sensitive(true);
        response.headers_mut().insert(CALL_ID, value);
    }
    response
}

/// A call that was let in.
pub(super) struct Counted {
    front: Arc<Front>,
    method: Option<&'static Method>,
    started: Instant,
    /// When its client gives up.
    deadline: Option<Instant>,
    permit: Option<Arc<Permit>>,
    id: Arc<str>,
    actor: Arc<str>,
    traced: Option<Box<Traced>>,
    has_ended: bool,
}

impl Counted {
    pub(super) fn done(mut self, code: Code) {
        self.end(code);
    }

    fn end(&mut self, code: Code) {
        self.has_ended = true;
        self.permit = None;
        if let Some(traced) = self.traced.take() {
            traced.end(code, &self.id, &self.actor);
        }
        let Some(method) = self.method else { return };
        let took = self.started.elapsed();
        self.front.metrics.handled(method, code, took);
        let (id, actor, took_us) = (&self.id, &self.actor, u64::try_from(took.as_micros()).unwrap_or(u64::MAX));
        // What changes something is said; what only asks is said where somebody wants to see it.
        if method.role > Role::Reader || matches!(code, Code::Internal | Code::Unknown | Code::DataLoss) {
            tracing::info!(call.id = %id, method = method.path, %actor, ?code, duration_us = took_us, "call");
        } else {
            tracing::debug!(call.id = %id, method = method.path, %actor, ?code, duration_us = took_us, "call");
        }
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        // The client's own deadline is over, or it has gone away.
        if !self.has_ended {
            let now = Instant::now();
            let is_late = self.deadline.is_some_and(|end| end.saturating_duration_since(now) < CLIENT_AHEAD);
            self.end(if is_late { Code::DeadlineExceeded } else { Code::Cancelled });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_of_a_client_is_read_as_grpc_writes_it() {
        let read = |text: &str| {
            let mut headers = HeaderMap::new();
            headers.insert("grpc-timeout", HeaderValue::from_str(text).unwrap());
            client_time(&headers)
        };
        for (text, time) in [
            ("2H", Duration::from_secs(7_200)),
            ("3M", Duration::from_secs(180)),
            ("99999999S", Duration::from_secs(99_999_999)),
            ("100m", Duration::from_millis(100)),
            ("7u", Duration::from_micros(7)),
            ("0n", Duration::ZERO),
        ] {
            assert_eq!(read(text), Some(time), "{text}");
        }
        for text in ["", "S", "1", "100000000S", "-1S", "+1S", "1.5S", "1s", "1 S"] {
            assert_eq!(read(text), None, "{text}");
        }
        assert_eq!(client_time(&HeaderMap::new()), None);
    }
}
