//! Kubernetes' validating admission over HTTPS: `POST /validate`.

use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwapOption;
use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, LengthLimitError, Limited};
use hyper::body::Incoming;
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::{Method, Request, Response, StatusCode};
use tokio::sync::Semaphore;
use tokio::time::timeout;

use super::access::{Access, Reach};
use super::metrics::Metrics;
use super::tls::Tls;
use super::web::{Pages, listen, refused, shown, text};
use crate::auth::Shown;
use crate::gate::AdmissionGate;
use crate::registry::Registry;

/// Where documents are sent.
const PATH: &str = "/validate";
/// Largest document: it holds an object twice where it is changed, and an API server takes objects of up to 3 MiB.
const BODY_BYTES_MAX: usize = 8 << 20;
/// Connections of one address at once: an API server has one for each object that is written.
const CONNECTIONS_PER_CLIENT_MAX: usize = 128;
/// Longest time for a document to come.
const BODY_TIME: Duration = Duration::from_secs(3);
/// Longest time until there is room for one.
const TURN_TIME: Duration = Duration::from_secs(1);
/// Documents in memory at once.
const BODIES_MAX: usize = 16;

/// The gate before a cluster, over HTTPS. Until a server is there it answers that it cannot answer.
pub struct Admission {
    gate: AdmissionGate,
    access: Arc<Access>,
    reach: Reach,
    bodies: Semaphore,
    told: ArcSwapOption<Told>,
}

struct Told {
    registry: Arc<Registry>,
    metrics: Arc<Metrics>,
}

impl fmt::Debug for Admission {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Admission")
    }
}

impl Admission {
    /// Answers from now on, on a thread of its own.
    ///
    /// # Errors
    /// The listener cannot be used, or no thread can be started.
    pub fn start(
        listener: std::net::TcpListener,
        gate: AdmissionGate,
        access: Arc<Access>,
        reach: Reach,
        tls: Option<Arc<Tls>>,
    ) -> io::Result<Arc<Self>> {
        let bodies = Semaphore::new(BODIES_MAX);
        let admission = Arc::new(Self { gate, access, reach, bodies, told: ArcSwapOption::empty() });
        listen("weighbridge-adm", listener, tls, CONNECTIONS_PER_CLIENT_MAX, admission.clone())?;
        Ok(admission)
    }

    /// Asks a registry from now on.
    pub(super) fn ask(admission: Option<Arc<Self>>, registry: Arc<Registry>, metrics: Arc<Metrics>) -> Asking {
        if let Some(admission) = &admission {
            admission.told.store(Some(Arc::new(Told { registry, metrics })));
        }
        Asking(admission)
    }

    async fn answer(&self, request: Request<Incoming>, certificate: Option<&Shown>) -> Response<Full<Bytes>> {
        if request.uri().path() != PATH {
            return text(StatusCode::NOT_FOUND, "there is /validate\n");
        }
        if *request.method() != Method::POST {
            return text(StatusCode::METHOD_NOT_ALLOWED, "an AdmissionReview is sent with POST\n");
        }
        let actor = match self.reach {
            Reach::Open => Ok(Access::anybody()),
            Reach::Authenticated => self.access.admit_reader(shown(&request), certificate),
            Reach::Off => return text(StatusCode::NOT_FOUND, "nothing is answered here\n"),
        };
        let actor = match actor {
            Ok(actor) => actor,
            Err(status) => return refused(&status),
        };
        let Some(told) = self.told.load_full() else {
            return text(StatusCode::SERVICE_UNAVAILABLE, "the catalog is being loaded\n");
        };
        let Ok(Ok(_turn)) = timeout(TURN_TIME, self.bodies.acquire()).await else {
            return text(StatusCode::SERVICE_UNAVAILABLE, "too many documents are on their way\n");
        };
        let coming = Limited::new(request.into_body(), BODY_BYTES_MAX).collect();
        let document = match timeout(BODY_TIME, coming).await {
            Ok(Ok(document)) => document.to_bytes(),
            Err(_) => return text(StatusCode::REQUEST_TIMEOUT, "the document did not come in time\n"),
            Ok(Err(error)) if error.is::<LengthLimitError>() => {
                return text(StatusCode::PAYLOAD_TOO_LARGE, "a document has 8 MiB at most\n");
            }
            Ok(Err(_)) => return text(StatusCode::BAD_REQUEST, "the document did not come whole\n"),
        };
        match self.gate.review(&told.registry, actor, &document).await {
            Ok(reviewed) => {
                told.metrics.admitted(reviewed.admitted);
                let mut response = Response::new(Full::new(Bytes::from(reviewed.body)));
                response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
                response
            }
            Err(wrong) => text(StatusCode::BAD_REQUEST, &wrong),
        }
    }
}

impl Pages for Admission {
    async fn respond(
        self: Arc<Self>,
        request: Request<Incoming>,
        certificate: Option<Arc<Shown>>,
    ) -> Response<Full<Bytes>> {
        self.answer(request, certificate.as_deref()).await
    }
}

/// Asks a registry as long as it is held.
pub(super) struct Asking(Option<Arc<Admission>>);

impl Drop for Asking {
    fn drop(&mut self) {
        if let Some(admission) = &self.0 {
            admission.told.store(None);
        }
    }
}
