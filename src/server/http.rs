//! Figures and probes over HTTP: `/metrics`, `/livez`, `/readyz`.

use std::io;
use std::sync::Arc;

use arc_swap::ArcSwapOption;
use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::header::CONTENT_TYPE;
use hyper::{Method, Request, Response, StatusCode};
use tokio::sync::watch;

use super::access::Access;
use super::metrics::Metrics;
use super::tls::Tls;
use super::web::{Pages, listen, refused, shown, text};
use crate::auth::Shown;

/// Connections of one address at once.
const CONNECTIONS_PER_CLIENT_MAX: usize = 32;
/// The form of the figures.
const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Figures and probes over HTTP. They are answered from before the catalog is loaded until the process ends.
pub struct Probes {
    access: Arc<Access>,
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
        let probes = Arc::new(Self { access, told: ArcSwapOption::empty() });
        // Loading the catalog keeps the thread busy that starts the server.
        listen("weighbridge-http", listener, tls, CONNECTIONS_PER_CLIENT_MAX, probes.clone())?;
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

impl Pages for Probes {
    async fn respond(
        self: Arc<Self>,
        request: Request<Incoming>,
        certificate: Option<Arc<Shown>>,
    ) -> Response<Full<Bytes>> {
        self.page(&request, certificate.as_deref())
    }
}

impl Probes {
    fn page(&self, request: &Request<Incoming>, certificate: Option<&Shown>) -> Response<Full<Bytes>> {
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
                if let Err(status) = self.access.admit_reader(shown(request), certificate) {
                    return refused(&status);
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
