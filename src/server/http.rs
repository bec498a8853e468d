//! Figures and probes over HTTP: `/metrics`, `/livez`, `/readyz`.

use std::convert::Infallible;
use std::sync::Arc;

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
use tokio_rustls::TlsAcceptor;

use super::access::Access;
use super::limits::OPENING_TIME;
use super::metrics::Metrics;
use super::tls::Tls;
use crate::auth::certificate_names;

/// Connections at once: scrapers and probes are few.
const CONNECTIONS_MAX: usize = 64;
/// Largest header list.
const HEADER_BYTES_MAX: usize = 16 << 10;
/// The form of the figures.
const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// What is told over HTTP.
pub(super) struct Told {
    pub(super) metrics: Arc<Metrics>,
    pub(super) access: Arc<Access>,
    pub(super) tls: Option<Arc<Tls>>,
    pub(super) ready: watch::Receiver<bool>,
}

/// Answers until the end.
pub(super) async fn serve(listener: TcpListener, told: Arc<Told>, stopped: watch::Receiver<bool>) {
    let turns = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let mut ending = stopped.clone();
    loop {
        let Ok(turn) = turns.clone().acquire_owned().await else { return };
        let come = tokio::select! {
            come = listener.accept() => come,
            _ = ending.wait_for(|stop| *stop) => return,
        };
        let Ok((stream, _)) = come else {
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
            continue;
        };
        let (told, mut ended) = (told.clone(), stopped.clone());
        tokio::spawn(async move {
            let _turn = turn;
            let answering = async {
                match &told.tls {
                    None => answer(TokioIo::new(stream), told.clone(), Vec::new()).await,
                    Some(tls) => {
                        let accepting = TlsAcceptor::from(tls.config_of_http()).accept(stream);
                        let Ok(Ok(stream)) = tokio::time::timeout(OPENING_TIME, accepting).await else { return };
                        let chain = stream.get_ref().1.peer_certificates();
                        let names = chain.and_then(|chain| chain.first()).map(|der| certificate_names(der));
                        answer(TokioIo::new(stream), told.clone(), names.unwrap_or_default()).await;
                    }
                }
            };
            tokio::select! {
                () = answering => {}
                _ = ended.wait_for(|stop| *stop) => {}
            }
        });
    }
}

async fn answer<I>(stream: I, told: Arc<Told>, names: Vec<String>)
where
    I: hyper::rt::Read + hyper::rt::Write + Unpin,
{
    let service = service_fn(move |request| {
        let response = told.respond(&request, &names);
        async move { Ok::<_, Infallible>(response) }
    });
    // One that breaks off is no concern of ours.
    let _ = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(OPENING_TIME)
        .max_buf_size(HEADER_BYTES_MAX)
        .serve_connection(stream, service)
        .await;
}

impl Told {
    fn respond(&self, request: &Request<Incoming>, names: &[String]) -> Response<Full<Bytes>> {
        if !matches!(*request.method(), Method::GET | Method::HEAD) {
            return text(StatusCode::METHOD_NOT_ALLOWED, "only GET is answered\n");
        }
        match request.uri().path() {
            "/livez" => text(StatusCode::OK, "live\n"),
            "/readyz" if *self.ready.borrow() => text(StatusCode::OK, "ready\n"),
            "/readyz" => text(StatusCode::SERVICE_UNAVAILABLE, "not ready: see `weighbridge status` and the log\n"),
            "/metrics" => {
                let shown = request.headers().get(AUTHORIZATION).map(|value| value.to_str().unwrap_or_default());
                if let Err(status) = self.access.admit_reader(shown, names) {
                    let code = match status.code() {
                        tonic::Code::PermissionDenied => StatusCode::FORBIDDEN,
                        _ => StatusCode::UNAUTHORIZED,
                    };
                    return text(code, status.message());
                }
                let Ok(figures) = self.metrics.text() else {
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
