//! A real server on a port of its own, and a client's connection to it.
//!
//! Where a test does not ask for a certain store, its server has one in memory, or in a folder where it is started again. With
//! the feature `etcd` and `WEIGHBRIDGE_TEST_STORE=etcd` in the environment it has one in etcd instead, with the decision log that
//! replicas share: so what is said over the API is said of that store too. Tests take revisions as they come, with gaps.
//!
//! ```sh
//! WEIGHBRIDGE_TEST_STORE=etcd cargo test --features etcd --test it -- NAMES    # those of `.ci/run`
//! ```
//!
//! Those that let go of history have a cluster of their own then, since it is that of a whole cluster. These run on the store
//! that they ask for, whatever the environment says:
//!
//! | tests | why |
//! | --- | --- |
//! | `durability`, `crash`, `cli` | a folder, its commands, and a process that is killed |
//! | `once::a_request_that_was_given_up_on_is_done_once` | a disk that is slow |
//! | `catalog::guide` | the guide shows revisions, which are others in etcd |
//! | `grid`, `cases`, `encoded`, `allocations`, and those of `as_of`, `catalog`, `policies`, `query` without a server | answers of the registry, on whatever store, many times |

#[cfg(feature = "etcd")]
pub mod etcd;

use std::any::Any;
use std::net::TcpListener;
use std::path::Path;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::sync::oneshot;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Status};
use tonic_types::StatusExt as _;
use weighbridge::pb::weighbridge::v1 as pb;
use weighbridge::pb::weighbridge::v1::use_profile_service_client::UseProfileServiceClient;
use weighbridge::registry::{DecisionLog, LogSettings, OpenGeneration, Registry, WatchLimits};
use weighbridge::server::{self, ServerOptions};
use weighbridge::store::{MemoryStore, SledOptions, SledStore, Store};

/// Whether tests that do not ask for a certain store run on etcd.
pub fn in_etcd() -> bool {
    match std::env::var("WEIGHBRIDGE_TEST_STORE").as_deref() {
        Ok("etcd") if cfg!(feature = "etcd") => true,
        Ok("etcd") => panic!("WEIGHBRIDGE_TEST_STORE=etcd needs the feature `etcd`"),
        Ok("") | Err(_) => false,
        Ok(other) => panic!("WEIGHBRIDGE_TEST_STORE is `etcd` or not set, and not {other:?}"),
    }
}

/// A store that holds nothing yet and is not opened again.
pub fn new_store() -> Arc<dyn Store> {
    #[cfg(feature = "etcd")]
    if in_etcd() {
        return etcd::new_store();
    }
    Arc::new(MemoryStore::new())
}

/// The same of which history is let go, with what ends after it.
pub fn new_store_to_compact() -> (Arc<dyn Store>, Box<dyn Any>) {
    #[cfg(feature = "etcd")]
    if in_etcd() {
        let (store, cluster) = etcd::new_cluster();
        return (store, Box::new(cluster));
    }
    (Arc::new(MemoryStore::new()), Box::new(()))
}

/// A store that holds what was written to the one of this path before.
pub fn store_at(path: &Path) -> Arc<dyn Store> {
    #[cfg(feature = "etcd")]
    if in_etcd() {
        return etcd::store_at(path);
    }
    Arc::new(SledStore::open(SledOptions::new(path)).unwrap())
}

/// Where the decision log of a server is.
enum Log {
    Generations(OpenGeneration),
    /// In a store that others have as well.
    #[cfg(feature = "etcd")]
    Shared(Arc<dyn Store>),
}

impl Log {
    /// One that fits to a store.
    fn beside(store: &dyn Store) -> Self {
        #[cfg(feature = "etcd")]
        if in_etcd() && store.status().backend == "etcd" {
            return Self::Shared(etcd::new_log());
        }
        let _ = store;
        Self::Generations(Arc::new(|_, _| Ok(Some(Arc::new(MemoryStore::new())))))
    }

    async fn open(self, settings: LogSettings) -> DecisionLog {
        match self {
            Self::Generations(open) => DecisionLog::open(settings, open).await.unwrap(),
            #[cfg(feature = "etcd")]
            Self::Shared(store) => DecisionLog::open_shared(settings, store).await.unwrap(),
        }
    }
}

/// A running server.
pub struct TestServer {
    pub address: String,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<std::io::Result<()>>>,
}

impl TestServer {
    /// One that forgets everything.
    pub fn in_memory() -> Self {
        Self::on(new_store())
    }

    /// One that holds what was written to the one of this path before.
    pub fn at(path: &Path) -> Self {
        Self::on(store_at(path))
    }

    /// The same with its decision log, which is kept in this way.
    pub fn logging_at(path: &Path, settings: LogSettings) -> Self {
        let store = store_at(&path.join("registry"));
        let limits = WatchLimits::default();
        #[cfg(feature = "etcd")]
        if in_etcd() {
            return Self::run(store, settings, Log::Shared(etcd::log_at(path)), limits, ServerOptions::default());
        }
        let folder = path.join("decisions");
        let open: OpenGeneration = Arc::new(move |generation, beginning| {
            let store = SledStore::open_generation(&folder, generation, beginning)?;
            Ok(store.map(|store| Arc::new(store) as _))
        });
        Self::run(store, settings, Log::Generations(open), limits, ServerOptions::default())
    }

    /// One of several replicas: the store and the decision log are in etcd.
    #[cfg(feature = "etcd")]
    pub fn sharing(store: Arc<dyn Store>, log: Arc<dyn Store>, settings: LogSettings, limits: WatchLimits) -> Self {
        Self::run(store, settings, Log::Shared(log), limits, ServerOptions::default())
    }

    /// One on a folder, whatever the environment says.
    pub fn on_disk(path: &Path) -> Self {
        Self::on(Arc::new(SledStore::open(SledOptions::new(path.to_owned())).unwrap()))
    }

    /// One on any store.
    pub fn on(store: Arc<dyn Store>) -> Self {
        Self::with_watch_limits(store, WatchLimits::default())
    }

    /// One on any store with other limits of watches.
    pub fn with_watch_limits(store: Arc<dyn Store>, limits: WatchLimits) -> Self {
        let log = Log::beside(&*store);
        Self::run(store, LogSettings::default(), log, limits, ServerOptions::default())
    }

    /// One on any store, run otherwise.
    #[cfg(feature = "etcd")]
    pub fn on_with_options(store: Arc<dyn Store>, options: ServerOptions) -> Self {
        let log = Log::beside(&*store);
        Self::run(store, LogSettings::default(), log, WatchLimits::default(), options)
    }

    /// One that forgets everything, run otherwise.
    pub fn with_options(options: ServerOptions) -> Self {
        Self::with_options_and_watch_limits(options, WatchLimits::default())
    }

    /// The same with other limits of watches.
    pub fn with_options_and_watch_limits(options: ServerOptions, limits: WatchLimits) -> Self {
        let store = new_store();
        let log = Log::beside(&*store);
        Self::run(store, LogSettings::default(), log, limits, options)
    }

    fn run(
        store: Arc<dyn Store>,
        settings: LogSettings,
        log: Log,
        limits: WatchLimits,
        options: ServerOptions,
    ) -> Self {
        let listeners = server::bind("127.0.0.1:0".parse().unwrap(), 2).unwrap();
        Self::run_on(listeners, store, settings, log, limits, options)
    }

    /// One that forgets everything, on listeners that are there.
    pub fn with_listeners(listeners: Vec<TcpListener>, options: ServerOptions) -> Self {
        let store = new_store();
        let log = Log::beside(&*store);
        Self::run_on(listeners, store, LogSettings::default(), log, WatchLimits::default(), options)
    }

    fn run_on(
        listeners: Vec<TcpListener>,
        store: Arc<dyn Store>,
        settings: LogSettings,
        log: Log,
        limits: WatchLimits,
        options: ServerOptions,
    ) -> Self {
        let address = format!("http://{}", listeners[0].local_addr().unwrap());
        let (stop, stopped) = oneshot::channel::<()>();
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async move {
                let registry = Registry::open(store, Arc::new(jiff::Timestamp::now)).await.unwrap();
                let log = log.open(settings).await;
                let registry = Arc::new(registry.with_decision_log(log).with_watch_limits(limits));
                let shutdown = async { stopped.await.unwrap_or_default() };
                // A test that ends while its client is still connected does not wait for it.
                let options = ServerOptions { drain: Duration::from_millis(300), ..options };
                server::run(listeners, registry, options, shutdown).await
            })
        });
        Self { address, stop: Some(stop), thread: Some(thread) }
    }

    /// A connection to it.
    pub async fn connect(&self) -> Channel {
        let endpoint = Endpoint::from_shared(self.address.clone()).unwrap();
        // The listener is there before the server answers: the first call waits for it.
        endpoint.connect().await.unwrap()
    }

    /// Stops it as SIGTERM would, and says how that went.
    pub fn stop(mut self) -> std::io::Result<()> {
        self.end()
    }

    fn end(&mut self) -> std::io::Result<()> {
        if let Some(stop) = self.stop.take() {
            let _ = stop.send(());
        }
        match self.thread.take() {
            Some(thread) => thread.join().unwrap(),
            None => Ok(()),
        }
    }
}

impl Drop for TestServer {
    fn drop(&mut self) {
        let _ = self.end();
    }
}

/// Field paths of a status's violations.
pub fn fields(status: &Status) -> Vec<String> {
    let details = status.get_error_details();
    let violations = details.bad_request().map(|b| b.field_violations.clone()).unwrap_or_default();
    violations.into_iter().map(|v| v.field).collect()
}

/// The reason of a status; every status of ours carries one.
pub fn reason(status: &Status) -> String {
    let details = status.get_error_details();
    let info = details.error_info().unwrap_or_else(|| panic!("no ErrorInfo on {status:?}"));
    assert_eq!(info.domain, "weighbridge");
    info.reason.clone()
}

/// The error of a call that must fail with a code.
pub fn refused<T: std::fmt::Debug>(result: Result<T, Status>, code: Code) -> Status {
    let status = result.unwrap_err();
    assert_eq!(status.code(), code, "{status:?}");
    reason(&status);
    status
}

/// Writes the profile `lab` of the gates' tests: research on own machines.
pub async fn write_lab_profile(channel: Channel) {
    let profile = pb::UseProfile {
        name: "useProfiles/lab".into(),
        r#use: Some(pb::Use {
            purpose: pb::Purpose::Research.into(),
            hosting: pb::Hosting::SelfHosted.into(),
            ..Default::default()
        }),
        ..Default::default()
    };
    let request = pb::UpdateUseProfileRequest { use_profile: Some(profile), allow_missing: true, ..Default::default() };
    UseProfileServiceClient::new(channel).update_use_profile(request).await.unwrap();
}
