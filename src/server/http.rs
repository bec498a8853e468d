//! Figures and probes over HTTP: `/metrics`, `/livez`, `/readyz`.

use std::convert::Infallible;
use std::io;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use arc_swap::ArcSwapOption;
use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::header::{AUTHORIZATION, CONTENT_TYPE};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, watch};
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsAcceptor;

use super::access::Access;
use super::clients::Clients;
use super::limits::{Limits, OPENING_TIME};
use super::metrics::Metrics;
use super::tls::Tls;
use crate::auth::{Shown, shown_by};

/// Connections at once, and those of one address: scrapers and probes are few.
const CONNECTIONS_MAX: usize = 256;
const CONNECTIONS_PER_CLIENT_MAX: usize = 32;
/// Longest time of a connection, which has one request.
const CONNECTION_TIME: Duration = Duration::from_secs(15);
/// How long to wait after none could be accepted.
const ACCEPT_AGAIN: Duration = Duration::from_millis(50);
/// Largest header list.
const HEADER_BYTES_MAX: usize = 16 << 10;
/// The form of the figures.
const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Figures and probes over HTTP. They are answered from before the catalog is loaded until the process ends.
pub struct Probes {
    access: Arc<Access>,
    tls: Option<Arc<Tls>>,
    told: ArcSwapOption<Told>,
}

/// What a server that runs tells.
struct Told {
    metrics: Arc<Metrics>,
    ready: watch::Receiver<bool>,
}

impl std::fmt::Debug for Probes {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("Probes")
    }
}

impl Probes {
    /// Answers from now on, on a thread of its own: live, and not ready until a server is there.
    ///
    /// # Errors
    /// The listener cannot be used, or no thread can be started.
    pub fn start(listener: std::net::TcpListener, access: Arc<Access>, tls: Option<Arc<Tls>>) -> io::Result<Arc<Self>> {
        listener.set_nonblocking(true)?;
        let probes = Arc::new(Self { access, tls, told: ArcSwapOption::empty() });
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let answering = probes.clone();
        // Loading the catalog keeps the thread busy that starts the server.
        thread::Builder::new().name("weighbridge-http".to_owned()).spawn(move || {
            runtime.block_on(async {
                match TcpListener::from_std(listener) {
                    Ok(listener) => serve(listener, answering).await,
                    Err(error) => tracing::error!(%error, "figures and probes cannot be answered"),
                }
            });
        })?;
        Ok(probes)
    }

    /// Tells of a server from now on.
    pub(super) fn tell(probes: Option<Arc<Self>>, metrics: Arc<Metrics>, ready: watch::Receiver<bool>) -> Telling {
        if let Some(probes) = &probes {
            probes.told.store(Some(Arc::new(Told { metrics, ready })));
        }
        Telling(probes)
    }
}

/// Tells of a server as long as it is held: what is told holds its registry.
pub(super) struct Telling(Option<Arc<Probes>>);

impl Drop for Telling {
    fn drop(&mut self) {
        if let Some(probes) = &self.0 {
            probes.told.store(None);
        }
    }
}

async fn serve(listener: TcpListener, probes: Arc<Probes>) {
    let turns = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let limits = Limits {
        connections: CONNECTIONS_MAX,
        connections_per_client: CONNECTIONS_PER_CLIENT_MAX,
        ..Limits::default()
    };
    let clients = Clients::new(limits);
    loop {
        let Ok(turn) = turns.clone().acquire_owned().await else { return };
        let Ok((stream, address)) = listener.accept().await else {
            sleep(ACCEPT_AGAIN).await;
            continue;
        };
        // One address must not take the places of the others: who asks whether it lives is one of them.
        let Some(connected) = clients.connect(address.ip()) else { continue };
        let probes = probes.clone();
        tokio::spawn(async move {
            let _held = (turn, connected);
            let answering = async {
                match &probes.tls {
                    None => answer(TokioIo::new(stream), probes.clone(), None).await,
                    Some(tls) => {
                        let accepting = TlsAcceptor::from(tls.config_of_http()).accept(stream);
                        let Ok(Ok(stream)) = timeout(OPENING_TIME, accepting).await else { return };
                        let chain = stream.get_ref().1.peer_certificates();
                        let shown = chain.and_then(|chain| chain.first()).map(|certificate| shown_by(certificate));
                        answer(TokioIo::new(stream), probes.clone(), shown).await;
                    }
                }
            };
            let _ = timeout(CONNECTION_TIME, answering).await;
        });
    }
}

async fn answer<I>(stream: I, probes: Arc<Probes>, shown: Option<Shown>)
where
    I: hyper::rt::Read + hyper::rt::Write + Unpin,
{
    let service = service_fn(move |request| {
        let response = probes.respond(&request, shown.as_ref());
        async move { Ok::<_, Infallible>(response) }
    });
    // One that breaks off is no concern of ours.
    let _ = http1::Builder::new()
        .keep_alive(false)
        .timer(TokioTimer::new())
        .header_read_timeout(OPENING_TIME)
        .max_buf_size(HEADER_BYTES_MAX)
        .serve_connection(stream, service)
        .await;
}

impl Probes {
    fn respond(&self, request: &Request<Incoming>, certificate: Option<&Shown>) -> Response<Full<Bytes>> {
        if !matches!(*request.method(), Method::GET | Method::HEAD) {
            return text(StatusCode::METHOD_NOT_ALLOWED, "only GET is answered\n");
        }
        let told = self.told.load_full();
        let is_ready = told.as_ref().is_some_and(|told| *told.ready.borrow());
        match request.uri().path() {
            "/livez" => text(StatusCode::OK, "live\n"),
            "/readyz" if is_ready => text(StatusCode::OK, "ready\n"),
            "/readyz" => text(StatusCode::SERVICE_UNAVAILABLE, "not ready: see `weighbridge status` and the log\n"),
            "/metrics" => {
                let shown = request.headers().get(AUTHORIZATION).map(|value| value.to_str().unwrap_or_default());
                if let Err(status) = self.access.admit_reader(shown, certificate) {
                    let code = match status.code() {
                        tonic::Code::PermissionDenied => StatusCode::FORBIDDEN,
                        _ => StatusCode::UNAUTHORIZED,
                    };
                    return text(code, status.message());
                }
                let Some(told) = told else {
                    return text(StatusCode::SERVICE_UNAVAILABLE, "the catalog is being loaded\n");
                };
                let Ok(figures) = told.metrics.text() else {
                    return text(StatusCode::INTERNAL_SERVER_ERROR, "the figures could not be written\n");
                };
                let mut response = text(StatusCode::OK, &figures);
                let form = hyper::header::HeaderValue::from_static(OPEN_METRICS);
                response.headers_mut().insert(CONTENT_TYPE, form);
                response
            }
            _ => text(StatusCode::NOT_FOUND, "there are /metrics, /livez and /readyz\n"),
        }
    }
}

fn text(status: StatusCode, body: &str) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::copy_from_slice(body.as_bytes())));
    *response.status_mut() = status;
    response
}
