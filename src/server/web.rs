//! What is answered over HTTP/1.1 beside the API: connections with limits of their own, on a thread of their own, each with one
//! request, so that none is closed while the next one is on its way.

use std::convert::Infallible;
use std::future::Future;
use std::io;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::header::AUTHORIZATION;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsAcceptor;
use tonic::Status;

use super::clients::Clients;
use super::limits::{Limits, OPENING_TIME};
use super::tls::Tls;
use crate::auth::{Shown, shown_by};

/// Connections at once: scrapers, probes and API servers are few.
const CONNECTIONS_MAX: usize = 256;
/// Longest time of a connection.
const CONNECTION_TIME: Duration = Duration::from_secs(15);
/// How long to wait after none could be accepted.
const ACCEPT_AGAIN: Duration = Duration::from_millis(50);
/// Largest header list.
const HEADER_BYTES_MAX: usize = 16 << 10;

/// What answers requests.
pub(super) trait Pages: Send + Sync + 'static {
    /// Answers a request; `certificate` is that of the connection.
    fn respond(
        self: Arc<Self>,
        request: Request<Incoming>,
        certificate: Option<Arc<Shown>>,
    ) -> impl Future<Output = Response<Full<Bytes>>> + Send;
}

/// Answers from now on, on a thread of its own; one address has so many connections at once.
pub(super) fn listen(
    name: &str,
    listener: std::net::TcpListener,
    tls: Option<Arc<Tls>>,
    connections_per_client: usize,
    pages: Arc<impl Pages>,
) -> io::Result<()> {
    listener.set_nonblocking(true)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    thread::Builder::new().name(name.to_owned()).spawn(move || {
        runtime.block_on(async {
            match TcpListener::from_std(listener) {
                Ok(listener) => serve(listener, tls, connections_per_client, pages).await,
                Err(error) => tracing::error!(%error, "requests over HTTP cannot be answered"),
            }
        });
    })?;
    Ok(())
}

async fn serve(listener: TcpListener, tls: Option<Arc<Tls>>, connections_per_client: usize, pages: Arc<impl Pages>) {
    let turns = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let limits = Limits { connections: CONNECTIONS_MAX, connections_per_client, ..Limits::default() };
    let clients = Clients::new(limits);
    loop {
        let Ok(turn) = turns.clone().acquire_owned().await else { return };
        let Ok((stream, address)) = listener.accept().await else {
            sleep(ACCEPT_AGAIN).await;
            continue;
        };
        // One address must not take the places of the others: who asks whether it lives is one of them.
        let Some(connected) = clients.connect(address.ip()) else { continue };
        let (tls, pages) = (tls.clone(), pages.clone());
        tokio::spawn(async move {
            let _held = (turn, connected);
            let answering = async {
                match &tls {
                    None => answer(TokioIo::new(stream), pages, None).await,
                    Some(tls) => {
                        let accepting = TlsAcceptor::from(tls.config_of_http()).accept(stream);
                        let Ok(Ok(stream)) = timeout(OPENING_TIME, accepting).await else { return };
                        let chain = stream.get_ref().1.peer_certificates();
                        let shown = chain.and_then(|chain| chain.first()).map(|certificate| shown_by(certificate));
                        answer(TokioIo::new(stream), pages, shown.map(Arc::new)).await;
                    }
                }
            };
            let _ = timeout(CONNECTION_TIME, answering).await;
        });
    }
}

async fn answer<I>(stream: I, pages: Arc<impl Pages>, certificate: Option<Arc<Shown>>)
where
    I: hyper::rt::Read + hyper::rt::Write + Unpin,
{
    let service = service_fn(move |request| {
        let responding = pages.clone().respond(request, certificate.clone());
        async move { Ok::<_, Infallible>(responding.await) }
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

/// The credentials that a request shows.
pub(super) fn shown(request: &Request<Incoming>) -> Option<&str> {
    request.headers().get(AUTHORIZATION).map(|value| value.to_str().unwrap_or_default())
}

/// What a caller is told who is not let in.
pub(super) fn refused(status: &Status) -> Response<Full<Bytes>> {
    let code = match status.code() {
        tonic::Code::PermissionDenied => StatusCode::FORBIDDEN,
        _ => StatusCode::UNAUTHORIZED,
    };
    text(code, status.message())
}

pub(super) fn text(status: StatusCode, body: &str) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::copy_from_slice(body.as_bytes())));
    *response.status_mut() = status;
    response
}
