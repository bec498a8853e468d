//! The server: one thread a core, each with its own single-threaded runtime and its own listener on the shared port.
//!
//! A multi-threaded runtime costs 1.6 times the CPU a request: waking workers is dearer than answering. The kernel spreads
//! connections over the listeners (`SO_REUSEPORT`). Registry, store and feeder are shared; their futures belong to no
//! runtime.

mod access;
mod admission;
mod answer;
mod clients;
mod connection;
mod files;
mod front;
mod gather;
mod http;
mod limits;
mod loading;
mod metrics;
mod request;
mod tls;
mod traces;
mod web;

use std::future::Future;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use socket2::{Domain, Protocol, Socket, Type};
use tokio::sync::watch;
use tonic::transport::Server;
use tonic::transport::server::Router;
use tonic_health::pb::health_server::{Health, HealthServer};
use tower::layer::util::{Identity, Stack};

use crate::gate::{EnvoyGate, GateSettings};
use crate::pb::envoy::service::auth::v3::authorization_server::AuthorizationServer;
use crate::pb::weighbridge::v1 as pb;
use crate::pb::weighbridge::v1::{
    admin_service_server::AdminServiceServer, advisor_service_server::AdvisorServiceServer,
    deployment_service_server::DeploymentServiceServer, license_service_server::LicenseServiceServer,
    model_service_server::ModelServiceServer, offering_service_server::OfferingServiceServer,
    policy_service_server::PolicyServiceServer, use_profile_service_server::UseProfileServiceServer,
    waiver_service_server::WaiverServiceServer,
};
use crate::registry::Registry;
use crate::service::{Checks, RestoreTarget, Services, Signing};
pub use access::{Access, Reach};
pub use admission::Admission;
use clients::Clients;
use connection::Times;
pub use files::read_bounded;
use front::{Front, FrontLayer};
pub use http::Probes;
pub use limits::Limits;
use limits::{
    BESIDE_BYTES_MAX, CALLS_PER_CONNECTION_MAX, FAULTS_MAX, HEADER_BYTES_MAX, KEEPALIVE_EVERY, KEEPALIVE_TIME,
    MESSAGE_BYTES_MAX, RESETS_PENDING_MAX,
};
pub use loading::Loading;
use metrics::Metrics;
pub use tls::{Tls, TlsError, TlsFiles, certificates, key};
pub use traces::{TraceSettings, Traces};

/// Connections that wait to be accepted.
const BACKLOG: i32 = 1_024;
/// What health is told of: the server as a whole, and each service.
const HEALTH_SERVICES: &[&str] = &[
    "",
    "weighbridge.v1.ModelService",
    "weighbridge.v1.OfferingService",
    "weighbridge.v1.LicenseService",
    "weighbridge.v1.EligibilityService",
    "weighbridge.v1.AdvisorService",
    "weighbridge.v1.UseProfileService",
    "envoy.service.auth.v3.Authorization",
    "weighbridge.v1.DeploymentService",
    "weighbridge.v1.PolicyService",
    "weighbridge.v1.WaiverService",
    "weighbridge.v1.AdminService",
];
/// Those of them that only read: they go on while the store takes no writes.
const READING_SERVICES: &[&str] = &[
    "weighbridge.v1.OfferingService",
    "weighbridge.v1.EligibilityService",
    "weighbridge.v1.AdvisorService",
    "weighbridge.v1.AdminService",
];
/// How often it is seen whether the health has changed.
const HEALTH_EVERY: Duration = Duration::from_millis(500);
/// How the server is run.
#[derive(Clone, Debug)]
pub struct ServerOptions {
    /// How much is taken.
    pub limits: Limits,
    /// Longest time to finish calls after the end was asked for.
    pub drain: Duration,
    /// Where backups are restored to; `None`: nowhere.
    pub restore: Option<RestoreTarget>,
    /// Who is let in to what.
    pub access: Arc<Access>,
    /// Certificates; `None`: connections are in the clear.
    pub tls: Option<Arc<Tls>>,
    /// Figures and probes over HTTP, which tell of the server while it runs.
    pub probes: Option<Arc<Probes>>,
    /// It listens beyond loopback without TLS and credentials, as it was told to.
    pub insecure: bool,
    /// Where spans of calls go.
    pub traces: Option<Arc<Traces>>,
    /// What the gate before a gateway is told.
    pub gate: GateSettings,
    /// What receipts are signed with; `None`: there are none.
    pub signing: Option<Arc<Signing>>,
    /// The gate before a cluster, which asks the server while it runs.
    pub admission: Option<Arc<Admission>>,
}

impl Default for ServerOptions {
    fn default() -> Self {
        Self {
            limits: Limits::default(),
            drain: Duration::from_secs(10),
            restore: None,
            access: Arc::default(),
            tls: None,
            probes: None,
            insecure: false,
            traces: None,
            gate: GateSettings::default(),
            signing: None,
            admission: None,
        }
    }
}

/// What all workers share.
#[derive(Clone)]
struct Shared {
    registry: Arc<Registry>,
    options: ServerOptions,
    clients: Arc<Clients>,
    front: Arc<Front>,
}

impl Shared {
    fn new(registry: Arc<Registry>, options: ServerOptions) -> Shared {
        let (clients, access) = (Clients::new(options.limits.clone()), options.access.clone());
        let metrics = Metrics::new(registry.clone(), clients.clone(), access, options.insecure);
        let front = Arc::new(Front::new(&options, Arc::new(metrics), registry.clone()));
        Shared { registry, options, clients, front }
    }
}

/// Binds one listener a worker to the same address; port 0 chooses one port for all.
///
/// # Errors
/// The address cannot be bound.
pub fn bind(address: SocketAddr, workers: usize) -> io::Result<Vec<TcpListener>> {
    let mut address = address;
    let mut listeners = Vec::new();
    for _ in 0..workers.max(1) {
        let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
        socket.set_reuse_address(true)?;
        // Sharing the port is for our own workers: a second server must not take half of the connections. One that binds
        // without sharing fails, so the first socket of all claims the port alone for a moment.
        if listeners.is_empty() {
            claim(address)?;
        }
        socket.set_reuse_port(true)?;
        socket.set_nonblocking(true)?;
        socket.bind(&address.into())?;
        socket.listen(BACKLOG)?;
        let listener: TcpListener = socket.into();
        address = listener.local_addr()?;
        listeners.push(listener);
    }
    Ok(listeners)
}

/// Fails when somebody else listens on the port.
fn claim(address: SocketAddr) -> io::Result<()> {
    if address.port() == 0 {
        return Ok(());
    }
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    socket.bind(&address.into())?;
    socket.listen(1)
}

/// Serves until `shutdown` is done: health to NOT_SERVING, no new calls, running ones finish within the drain time.
///
/// # Errors
/// A runtime or thread could not be started, or a worker failed.
pub async fn run(
    listeners: Vec<TcpListener>,
    registry: Arc<Registry>,
    options: ServerOptions,
    shutdown: impl Future<Output = ()>,
) -> io::Result<()> {
    let (mut health, health_server) = tonic_health::server::health_reporter();
    let mut condition = condition(&registry);
    set_health(&health, condition).await;
    let seen = registry.clone();
    let (stop, stopped) = watch::channel(false);
    let (ready, readiness) = watch::channel(condition.is_ready());
    let shared = Shared::new(registry.clone(), options);
    let drain = shared.options.drain;
    let _telling = Probes::tell(shared.options.probes.clone(), shared.front.metrics.clone(), readiness);
    let _asking = Admission::ask(shared.options.admission.clone(), registry.clone(), shared.front.metrics.clone());
    let (done, mut all_done) = tokio::sync::mpsc::channel::<io::Result<()>>(listeners.len().max(1));
    let workers = listeners.len();
    for (i, listener) in listeners.into_iter().enumerate() {
        let (shared, health_server) = (shared.clone(), health_server.clone());
        let (stopped, done) = (stopped.clone(), done.clone());
        thread::Builder::new().name(format!("weighbridge-{i}")).spawn(move || {
            let served = serve(listener, shared, health_server, stopped);
            // The receiver is gone once the drain time is over.
            let _ = done.blocking_send(served);
        })?;
    }
    drop(done);
    let (reporter, readying) = (health.clone(), ready.clone());
    let watching = async move {
        let mut ticks = tokio::time::interval(HEALTH_EVERY);
        loop {
            ticks.tick().await;
            let now = self::condition(&seen);
            if now != condition {
                tracing::warn!(?now, "the health has changed");
                set_health(&reporter, now).await;
                readying.send_replace(now.is_ready());
                condition = now;
            }
        }
    };
    let early = tokio::select! {
        () = shutdown => None,
        first = all_done.recv() => first,
        () = watching => None,
    };
    ready.send_replace(false);
    set_health(&health, Condition::Down).await;
    registry.end_watches();
    stop.send_replace(true);
    if let Some(Err(error)) = early {
        return Err(error);
    }
    // Who watches the health has been told; without this its stream would hold up the end.
    for service in HEALTH_SERVICES {
        health.clear_service_status(service).await;
    }
    for _ in usize::from(early.is_some())..workers {
        match all_done.recv().await {
            Some(Err(error)) if error.kind() == io::ErrorKind::TimedOut => {
                tracing::warn!(drain_ms = drain.as_millis(), "calls were still running at the end of the drain time");
            }
            Some(served) => served?,
            None => break,
        }
    }
    Ok(())
}

/// What health is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Condition {
    /// All is well.
    Up,
    /// Nothing can be written, and what is read is right and whole.
    ReadOnly,
    /// Records are missing or not up to date, or it is stopping.
    Down,
}

impl Condition {
    /// Whether checks are answered.
    fn is_ready(self) -> bool {
        self != Self::Down
    }
}

fn condition(registry: &Registry) -> Condition {
    let status = registry.status();
    if status.store.staleness.is_some_and(|staleness| staleness.is_too_old()) {
        return Condition::Down;
    }
    match (status.store.problem, status.feed_problem, status.incomplete) {
        (None, None, false) => Condition::Up,
        (Some(_), None, false) => Condition::ReadOnly,
        (_, Some(_), _) | (_, _, true) => Condition::Down,
    }
}

async fn set_health(health: &tonic_health::server::HealthReporter, condition: Condition) {
    for service in HEALTH_SERVICES {
        let serving = match condition {
            Condition::Up => true,
            Condition::ReadOnly => READING_SERVICES.contains(service),
            Condition::Down => false,
        };
        let status =
            if serving { tonic_health::ServingStatus::Serving } else { tonic_health::ServingStatus::NotServing };
        health.set_service_status(*service, status).await;
    }
}

fn serve(
    listener: TcpListener,
    shared: Shared,
    health: HealthServer<impl Health>,
    stopped: watch::Receiver<bool>,
) -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let drain = shared.options.drain;
    runtime.block_on(async move {
        let listener = tokio::net::TcpListener::from_std(listener)?;
        let (tls, clients) = (shared.options.tls.clone(), shared.clients.clone());
        let times = Times::of(&shared.options.limits);
        let incoming = connection::incoming(listener, tls, clients, times, stopped.clone());
        let router = router(shared, health)?;
        let mut asked = stopped.clone();
        let stop = async move {
            // An error means that the sender is gone, which ends the server as well.
            let _ = asked.wait_for(|stop| *stop).await;
        };
        let mut ended = stopped.clone();
        let limit = async move {
            let _ = ended.wait_for(|stop| *stop).await;
            tokio::time::sleep(drain).await;
        };
        tokio::select! {
            served = router.serve_with_incoming_shutdown(incoming, stop) => served.map_err(io::Error::other),
            // Leaving drops the runtime, and with it the calls that are still open.
            () = limit => Err(io::ErrorKind::TimedOut.into()),
        }
    })
}

/// What HTTP/2 is let do.
fn with_limits(server: Server) -> Server {
    server
        .max_concurrent_streams(Some(CALLS_PER_CONNECTION_MAX))
        .http2_max_header_list_size(Some(HEADER_BYTES_MAX))
        .http2_max_pending_accept_reset_streams(Some(RESETS_PENDING_MAX))
        // Not said, tonic lifts the limit that the layers below have of themselves.
        .http2_max_local_error_reset_streams(Some(FAULTS_MAX))
        .http2_keepalive_interval(Some(KEEPALIVE_EVERY))
        .http2_keepalive_timeout(Some(KEEPALIVE_TIME))
}

fn router(shared: Shared, health: HealthServer<impl Health>) -> io::Result<Router<Stack<FrontLayer, Identity>>> {
    let Shared { registry, options, front, clients: _ } = shared;
    let security = pb::SecurityStatus {
        tls: options.tls.is_some(),
        authentication_required: options.access.required,
        insecure: options.insecure,
    };
    let gate = AuthorizationServer::new(EnvoyGate::new(registry.clone(), options.gate.clone()));
    let services = Services::new(registry)
        .with_restore(options.restore.clone())
        .with_security(security)
        .with_signing(options.signing.clone());
    let checks = Checks::new(services.clone(), MESSAGE_BYTES_MAX);
    let server = with_limits(Server::builder()).layer(FrontLayer { front, checks: checks.clone() });
    Ok(with_common(server, &options.access, health)?
        .add_service(checks.service())
        .add_service(ModelServiceServer::new(services.clone()).max_decoding_message_size(MESSAGE_BYTES_MAX))
        .add_service(OfferingServiceServer::new(services.clone()).max_decoding_message_size(MESSAGE_BYTES_MAX))
        .add_service(LicenseServiceServer::new(services.clone()).max_decoding_message_size(MESSAGE_BYTES_MAX))
        .add_service(UseProfileServiceServer::new(services.clone()).max_decoding_message_size(MESSAGE_BYTES_MAX))
        .add_service(DeploymentServiceServer::new(services.clone()).max_decoding_message_size(MESSAGE_BYTES_MAX))
        .add_service(gate.max_decoding_message_size(MESSAGE_BYTES_MAX))
        .add_service(AdvisorServiceServer::new(services.clone()).max_decoding_message_size(MESSAGE_BYTES_MAX))
        .add_service(PolicyServiceServer::new(services.clone()).max_decoding_message_size(MESSAGE_BYTES_MAX))
        .add_service(WaiverServiceServer::new(services.clone()).max_decoding_message_size(MESSAGE_BYTES_MAX))
        .add_service(AdminServiceServer::new(services).max_decoding_message_size(MESSAGE_BYTES_MAX)))
}

/// Serves health and reflection, as far as they are to be reached.
fn with_common<L: Clone>(
    server: Server<L>,
    access: &Access,
    health: HealthServer<impl Health>,
) -> io::Result<Router<L>> {
    let reflection = || {
        tonic_reflection::server::Builder::configure()
            .register_encoded_file_descriptor_set(crate::pb::DESCRIPTORS)
            .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
    };
    let is_served = |reach| reach != Reach::Off;
    let is_reflected = is_served(access.reflection);
    let v1 = is_reflected.then(|| reflection().build_v1()).transpose().map_err(io::Error::other)?;
    let v1alpha = is_reflected.then(|| reflection().build_v1alpha()).transpose().map_err(io::Error::other)?;
    // Strangers may send them, as many at once as they like.
    let (health, v1, v1alpha) = (
        health.max_decoding_message_size(BESIDE_BYTES_MAX),
        v1.map(|v1| v1.max_decoding_message_size(BESIDE_BYTES_MAX)),
        v1alpha.map(|v1alpha| v1alpha.max_decoding_message_size(BESIDE_BYTES_MAX)),
    );
    let mut server = server;
    let router = server.add_optional_service(is_served(access.health).then_some(health));
    Ok(router.add_optional_service(v1).add_optional_service(v1alpha))
}
