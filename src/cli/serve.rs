//! `weighbridge serve`.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::available_parallelism;
use std::time::Duration;

use clap::{Args, ValueEnum};
use jiff::Timestamp;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

use super::Failure;
use super::etcd::EtcdArguments;
use super::gate::{AdmissionArguments, GateArguments};
use super::output::{Output, note};
use super::receipt::ReceiptKeyArguments;
use super::security::{Security, SecurityArguments};
use super::traces::TraceArguments;
use crate::gate::AdmissionRules;
use crate::registry::{DecisionLog, LogLevel, LogSettings, OpenGeneration, Registry, Retention, adopt_restored};
use crate::server::{self, Admission, Limits, Probes, ServerOptions, Traces};
use crate::service::{RestoreTarget, Signing};
use crate::store::{Beginning, MemoryStore, OnLoss, Revision, SledOptions, SledStore, Store, StoreError, Take};
use crate::telemetry::{self, LogFormat};

#[derive(Debug, Args)]
pub(super) struct ServeArguments {
    /// TOML file with settings, named as these options without dashes in front. An option counts before its environment variable,
    /// and that before the file.
    #[arg(long, value_name = "FILE", env = "WEIGHBRIDGE_CONFIG")]
    config: Option<PathBuf>,
    /// Address to listen on. Any other than loopback needs TLS and credentials, or --insecure.
    #[arg(long, default_value = "127.0.0.1:50051", env = "WEIGHBRIDGE_LISTEN")]
    listen: SocketAddr,
    /// Folder of the store; made when it is not there.
    #[arg(long, default_value = "./weighbridge-data", env = "WEIGHBRIDGE_DATA_DIR")]
    data_dir: PathBuf,
    /// Where records are kept: sled (in the data directory), etcd (in a cluster, for several replicas) or memory (gone at the
    /// end).
    #[arg(long, value_enum, default_value_t = StoreKind::Sled, env = "WEIGHBRIDGE_STORE")]
    store: StoreKind,
    /// What to do when records are missing from the store: refuse to start, or serve what is left without taking writes.
    #[arg(long, value_enum, default_value_t = LossPolicy::Refuse, env = "WEIGHBRIDGE_ON_LOSS")]
    on_loss: LossPolicy,
    /// Serving threads; the number of cores when not given.
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..=256), env = "WEIGHBRIDGE_WORKERS")]
    workers: Option<u16>,
    /// Memory for the store's cache, in MiB.
    #[arg(long, default_value_t = 16, value_parser = clap::value_parser!(u64).range(1..=65_536), env = "WEIGHBRIDGE_CACHE_MIB")]
    cache_mib: u64,
    /// Longest time to finish running calls at the end, in seconds.
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u64).range(0..=3_600), env = "WEIGHBRIDGE_DRAIN_S")]
    drain_s: u64,
    /// Which decisions the decision log keeps by itself: off, not-eligible or all. One that asks to be recorded is always kept.
    /// When not given: not-eligible; with --store etcd off, since it keeps all that was ever written until it is compacted.
    #[arg(long, value_parser = log_level, env = "WEIGHBRIDGE_DECISION_LOG")]
    decision_log: Option<LogLevel>,
    /// Most decisions that are kept; the oldest half is let go of when they are reached.
    #[arg(long, default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(2..=10_000_000), env = "WEIGHBRIDGE_DECISION_LOG_SIZE")]
    decision_log_size: u32,
    /// A check waits until its entry in the decision log is durable, and fails where that cannot be.
    #[arg(long, env = "WEIGHBRIDGE_DECISION_LOG_STRICT")]
    decision_log_strict: bool,
    /// History is kept for so many days: what was current within them can be read as of then. All of it when not given.
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..=36_500), env = "WEIGHBRIDGE_HISTORY_DAYS")]
    history_days: Option<u64>,
    /// Records with their history grow to so many MiB, as they are written; then the oldest history is let go of. Without end
    /// when not given.
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..=1_048_576), env = "WEIGHBRIDGE_HISTORY_MIB")]
    history_mib: Option<u64>,
    /// Address for figures and probes over HTTP: /metrics, /livez, /readyz. Nowhere when not given.
    #[arg(long, value_name = "ADDRESS", env = "WEIGHBRIDGE_METRICS_LISTEN")]
    metrics_listen: Option<SocketAddr>,
    #[command(flatten)]
    etcd: EtcdArguments,
    #[command(flatten)]
    gate: GateArguments,
    #[command(flatten)]
    admission: AdmissionArguments,
    #[command(flatten)]
    receipts: ReceiptKeyArguments,
    #[command(flatten)]
    limits: LimitArguments,
    #[command(flatten)]
    security: SecurityArguments,
    #[command(flatten)]
    traces: TraceArguments,
    /// Form of the logs.
    #[arg(long, value_enum, default_value_t = LogFormat::Text, env = "WEIGHBRIDGE_LOG_FORMAT")]
    log_format: LogFormat,
    /// What is logged, for example info or weighbridge=debug.
    #[arg(long, default_value = "info,sled=warn", env = "WEIGHBRIDGE_LOG")]
    log: String,
}

/// How much is taken at once.
#[derive(Debug, Args)]
#[command(next_help_heading = "Limits")]
struct LimitArguments {
    /// Longest time for one call, in seconds.
    #[arg(long, default_value_t = 30, value_parser = clap::value_parser!(u64).range(1..=3_600), env = "WEIGHBRIDGE_REQUEST_TIMEOUT_S")]
    request_timeout_s: u64,
    /// Connections.
    #[arg(long, default_value_t = 4_096, value_parser = clap::value_parser!(u32).range(1..=1_000_000), env = "WEIGHBRIDGE_MAX_CONNECTIONS")]
    max_connections: u32,
    /// Connections of one address.
    #[arg(long, default_value_t = 1_024, value_parser = clap::value_parser!(u32).range(1..=1_000_000), env = "WEIGHBRIDGE_MAX_CONNECTIONS_PER_CLIENT")]
    max_connections_per_client: u32,
    /// Calls with one answer that are under way.
    #[arg(long, default_value_t = 2_048, value_parser = clap::value_parser!(u32).range(1..=1_000_000), env = "WEIGHBRIDGE_MAX_REQUESTS")]
    max_requests: u32,
    /// The same of one address.
    #[arg(long, default_value_t = 1_024, value_parser = clap::value_parser!(u32).range(1..=1_000_000), env = "WEIGHBRIDGE_MAX_REQUESTS_PER_CLIENT")]
    max_requests_per_client: u32,
    /// Watches and backups that are under way.
    #[arg(long, default_value_t = 512, value_parser = clap::value_parser!(u32).range(1..=1_000_000), env = "WEIGHBRIDGE_MAX_STREAMS")]
    max_streams: u32,
    /// The same of one address.
    #[arg(long, default_value_t = 128, value_parser = clap::value_parser!(u32).range(1..=1_000_000), env = "WEIGHBRIDGE_MAX_STREAMS_PER_CLIENT")]
    max_streams_per_client: u32,
}

impl LimitArguments {
    fn limits(&self) -> Limits {
        let wide = |count: u32| usize::try_from(count).unwrap_or(usize::MAX);
        Limits {
            connections: wide(self.max_connections),
            connections_per_client: wide(self.max_connections_per_client),
            calls: wide(self.max_requests),
            calls_per_client: wide(self.max_requests_per_client),
            streams: wide(self.max_streams),
            streams_per_client: wide(self.max_streams_per_client),
            call_time: Duration::from_secs(self.request_timeout_s),
            ..Limits::default()
        }
    }
}

/// Where records are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum StoreKind {
    Sled,
    Etcd,
    Memory,
}

/// What to do when records are missing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum LossPolicy {
    Refuse,
    ReadOnly,
}

pub(super) async fn run(arguments: ServeArguments, out: &Output) -> Result<u8, Failure> {
    let address = arguments.listen;
    let Loaded { security, rules, signing } = arguments.load()?;
    telemetry::init(arguments.log_format, &arguments.log).map_err(Failure::usage)?;
    if security.insecure {
        tracing::warn!(
            server.address = %address,
            "it can be reached from elsewhere without TLS and credentials: whoever reaches it can read and write everything"
        );
    }
    let workers = arguments.workers.map_or_else(|| available_parallelism().map_or(1, usize::from), usize::from);
    let listeners =
        server::bind(address, workers).map_err(|e| Failure::new(format!("`{address}` cannot be listened on: {e}")))?;
    let probes = arguments.metrics_listen.map(|address| {
        let started = std::net::TcpListener::bind(address)
            .and_then(|listener| Probes::start(listener, security.access.clone(), security.tls.clone()));
        started.map_err(|e| Failure::new(format!("`{address}` cannot be listened on: {e}")))
    });
    let probes = probes.transpose()?;
    let admission = rules.map(|rules| arguments.admission.start(rules, &security)).transpose()?;
    tokio::spawn(security.clone().watch());
    let traces = arguments.traces.start()?;
    let stopped = stop_signals()?;
    let listening = Listening { address, listeners, security, probes, admission, signing, traces: traces.clone() };
    let served = serve(&arguments, &listening, stopped, out).await;
    if let Some(traces) = traces {
        // It waits for the collector, whose connection is driven by this thread.
        let _ = tokio::task::spawn_blocking(move || traces.stop()).await;
    }
    served
}

/// What was read of files.
struct Loaded {
    security: Security,
    rules: Option<AdmissionRules>,
    signing: Option<Arc<Signing>>,
}

/// What stays over a restart.
struct Listening {
    address: SocketAddr,
    listeners: Vec<std::net::TcpListener>,
    security: Security,
    probes: Option<Arc<Probes>>,
    admission: Option<Arc<Admission>>,
    signing: Option<Arc<Signing>>,
    traces: Option<Arc<Traces>>,
}

/// Serves until it is stopped.
async fn serve(
    arguments: &ServeArguments,
    listening: &Listening,
    stopped: watch::Receiver<bool>,
    out: &Output,
) -> Result<u8, Failure> {
    let address = listening.address;
    let mut greeted = out.is_json() || arguments.log_format != LogFormat::Text;
    loop {
        // The sockets stay open over a restart: who connects meanwhile waits a little.
        let again: std::io::Result<Vec<_>> = listening.listeners.iter().map(std::net::TcpListener::try_clone).collect();
        let again = again.map_err(|e| Failure::new(format!("`{address}` cannot be listened on: {e}")))?;
        if !serve_once(arguments, listening, again, stopped.clone(), &mut greeted).await? {
            tracing::info!("stopped");
            return Ok(0);
        }
        tracing::info!("restarting on the backup that was restored");
    }
}

/// Serves until it is stopped, or a restored backup asks for a restart: then `true`.
async fn serve_once(
    arguments: &ServeArguments,
    listening: &Listening,
    listeners: Vec<std::net::TcpListener>,
    stopped: watch::Receiver<bool>,
    greeted: &mut bool,
) -> Result<bool, Failure> {
    let Listening { security, probes, admission, signing, traces, .. } = listening;
    let mut store = None;
    if arguments.store == StoreKind::Sled {
        adopt_restored(&arguments.data_dir).map_err(|e| Failure::new(e.to_string()))?;
    }
    let (restart, restarting) = watch::channel(false);
    let target = RestoreTarget { data_dir: arguments.data_dir.clone(), restart };
    let options = ServerOptions {
        limits: arguments.limits.limits(),
        drain: Duration::from_secs(arguments.drain_s),
        restore: (arguments.store == StoreKind::Sled).then_some(target),
        access: security.access.clone(),
        tls: security.tls.clone(),
        probes: probes.clone(),
        insecure: security.insecure,
        traces: traces.clone(),
        gate: arguments.gate.settings(),
        admission: admission.clone(),
        signing: signing.clone(),
    };
    // Who comes before the catalog is loaded is told so.
    let loading = server::Loading::start(&listeners, &options)
        .map_err(|e| Failure::new(format!("the server could not be started: {e}")))?;
    let registry = Registry::open_with(Arc::new(Timestamp::now), |take| {
        let (opened, loaded) = open(arguments, take)?;
        store = Some(opened.clone());
        Ok((opened, loaded))
    });
    let registry = registry.await.map_err(|e| Failure::new(e.to_string()))?;
    let log = decision_log(arguments).await?;
    let registry = Arc::new(registry.with_decision_log(log));
    loading.end();
    let bound = listeners.first().and_then(|l| l.local_addr().ok()).unwrap_or(arguments.listen);
    let status = registry.status();
    tracing::info!(
        server.address = %bound,
        server.workers = listeners.len(),
        store.backend = status.store.backend,
        store.place = status.store.place.as_deref(),
        registry.revision = status.revision,
        registry.models = status.models,
        registry.licenses = status.licenses,
        registry.offerings = status.offerings,
        "serving"
    );
    if let Some(problem) = &status.store.problem {
        tracing::warn!(problem, "the store has a problem: no writes are taken");
    }
    if !std::mem::replace(greeted, true) {
        note(&banner(bound, status.models, status.licenses, security));
    }
    let tidying = tokio::spawn(tidy(registry.clone(), arguments.retention()));
    let announcing = tokio::spawn(registry.clone().announce());
    let restarting = Box::pin(async move {
        let mut restarting = restarting;
        restarting.wait_for(|restart| *restart).await.is_ok()
    });
    let stopping = Box::pin(async move {
        let mut stopped = stopped;
        let _ = stopped.wait_for(|stop| *stop).await;
    });
    let restarts = Arc::new(AtomicBool::new(false));
    let asked = restarts.clone();
    let end = async move {
        tokio::select! {
            () = stopping => tracing::info!("stopping: running calls are finished first"),
            // Without a target there is nobody who could ask for it.
            true = restarting => asked.store(true, Ordering::SeqCst),
        }
    };
    let served = server::run(listeners, registry, options, end).await;
    served.map_err(|e| Failure::new(format!("the server failed: {e}")))?;
    // What the tasks held is free only once they have ended.
    for task in [tidying, announcing] {
        task.abort();
        let _ = task.await;
    }
    // Dropping the last handle flushes and closes the store.
    drop(store);
    Ok(restarts.load(Ordering::SeqCst))
}

/// Does every minute what no call does: makes good what could not be merged, and lets go of old history.
async fn tidy(registry: Arc<Registry>, retention: Retention) {
    let mut ticks = tokio::time::interval(Duration::from_secs(60));
    let mut failing = false;
    loop {
        ticks.tick().await;
        if let Err(error) = registry.merge_left_over().await {
            // That it is to be done was said when it failed first.
            tracing::debug!(%error, "merged models and offerings could not be made anew");
        }
        if retention == Retention::default() {
            continue;
        }
        match registry.retain(&retention).await {
            Ok(_) => failing = false,
            // Said once: it is tried each minute.
            Err(error) if !std::mem::replace(&mut failing, true) => {
                tracing::warn!(%error, "old history could not be let go of");
            }
            Err(_) => {}
        }
    }
}

impl ServeArguments {
    /// Says what is wrong with the settings and the files that they name.
    pub(super) fn check(&self) -> Result<(), Failure> {
        self.load().map(|_| ())
    }

    /// Reads the files that are named, and says everything that is wrong.
    fn load(&self) -> Result<Loaded, Failure> {
        let mut problems = self.traces.problems();
        problems.extend(telemetry::check(&self.log).err());
        problems.extend(self.etcd.problems(self.store == StoreKind::Etcd));
        if self.store == StoreKind::Etcd && self.history_mib.is_some() {
            problems.push("--history-mib does not go with --store etcd: it has a quota of its own".to_owned());
        }
        let rules = self.admission.load(&mut problems);
        let signing = self.receipts.load(&mut problems);
        match self.security.load(&self.addresses()) {
            Ok(security) if problems.is_empty() => Ok(Loaded { security, rules, signing }),
            Ok(_) => Err(Failure::usage(problems.join("\n"))),
            Err(failure) => {
                let others = std::iter::once(failure.message.as_str()).chain(problems.iter().map(String::as_str));
                Err(Failure::usage(others.collect::<Vec<_>>().join("\n")))
            }
        }
    }

    /// Where it listens.
    fn addresses(&self) -> Vec<SocketAddr> {
        std::iter::once(self.listen).chain(self.metrics_listen).chain(self.admission.admission_listen).collect()
    }

    fn retention(&self) -> Retention {
        Retention {
            age: self.history_days.map(|days| Duration::from_secs(days * 86_400)),
            size_bytes: self.history_mib.map(|mib| mib << 20),
        }
    }
}

fn open(arguments: &ServeArguments, take: Take) -> Result<(Arc<dyn Store>, Option<Revision>), StoreError> {
    match arguments.store {
        StoreKind::Memory => return Ok((Arc::new(MemoryStore::new()), None)),
        StoreKind::Etcd => return arguments.etcd.open(take, true),
        StoreKind::Sled => {}
    }
    let options = SledOptions {
        cache_capacity_bytes: arguments.cache_mib << 20,
        on_loss: match arguments.on_loss {
            LossPolicy::Refuse => OnLoss::Refuse,
            LossPolicy::ReadOnly => OnLoss::ReadOnly,
        },
        ..SledOptions::new(arguments.data_dir.clone())
    };
    let (store, loaded) = SledStore::open_loading(options, take)?;
    Ok((Arc::new(store), loaded))
}

fn log_level(word: &str) -> Result<LogLevel, String> {
    LogLevel::parse(word).ok_or_else(|| "it is one of off, not-eligible, all".to_owned())
}

/// Two stores of half the size lie in a folder of the data directory; each is begun anew in its turn.
async fn decision_log(arguments: &ServeArguments) -> Result<DecisionLog, Failure> {
    let default = if arguments.store == StoreKind::Etcd { LogLevel::Off } else { LogLevel::NotEligible };
    let settings = LogSettings {
        level: arguments.decision_log.unwrap_or(default),
        strict: arguments.decision_log_strict,
        decisions_max: usize::try_from(arguments.decision_log_size).unwrap_or(usize::MAX),
    };
    let failed = |error: &dyn std::fmt::Display| Failure::new(format!("the decision log: {error}"));
    if arguments.store == StoreKind::Etcd {
        let shared = arguments.etcd.open_log().map_err(|e| failed(&e))?;
        return DecisionLog::open_shared(settings, shared).await.map_err(|e| failed(&e));
    }
    let open: OpenGeneration = if arguments.store == StoreKind::Memory {
        Arc::new(|_, beginning| Ok((beginning != Beginning::IfThere).then(|| Arc::new(MemoryStore::new()) as _)))
    } else {
        let folder = arguments.data_dir.join("decisions");
        Arc::new(move |generation, beginning| {
            let store = SledStore::open_generation(&folder, generation, beginning)?;
            Ok(store.map(|store| Arc::new(store) as _))
        })
    };
    DecisionLog::open(settings, open).await.map_err(|e| failed(&e))
}

/// Becomes `true` at the first SIGINT or SIGTERM.
fn stop_signals() -> Result<watch::Receiver<bool>, Failure> {
    let failed = |e: std::io::Error| Failure::new(format!("signals cannot be caught: {e}"));
    let mut interrupt = signal(SignalKind::interrupt()).map_err(failed)?;
    let mut terminate = signal(SignalKind::terminate()).map_err(failed)?;
    let (stop, stopped) = watch::channel(false);
    tokio::spawn(async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
        stop.send_replace(true);
        // As long as the receivers are: a closed channel would say the same.
        stop.closed().await;
    });
    Ok(stopped)
}

fn banner(address: SocketAddr, models: usize, licenses: usize, security: &Security) -> String {
    let version = env!("CARGO_PKG_VERSION");
    if security.tls.is_some() || security.access.required {
        let scheme = if security.tls.is_some() { "https" } else { "http" };
        return format!(
            "
  weighbridge {version} answers at {scheme}://{address}: {models} models, {licenses} licenses.
  It supports decisions and names its sources; it is not legal advice.

  From another terminal, with a token in a file:

    weighbridge status --server {scheme}://localhost:{port} --ca-cert ca.pem --token-file token
",
            port = address.port()
        );
    }
    format!(
        "
  weighbridge {version} answers at {address}: {models} models, {licenses} licenses.
  It supports decisions and names its sources; it is not legal advice.

  Three things to try from another terminal:

    weighbridge check meta-llama/Llama-3.3-70B-Instruct --purpose commercial --hosting self-hosted --mau 800M@2024-11:group
    grpcurl -plaintext -d '{{\"model\": \"deepseek-ai/DeepSeek-R1-Distill-Llama-70B\", \"use\": {{\"purpose\": \"PURPOSE_COMMERCIAL\"}}}}' \\
      {address} weighbridge.v1.EligibilityService/CheckEligibility
    weighbridge import models-dev https://models.dev/api.json
"
    )
}
