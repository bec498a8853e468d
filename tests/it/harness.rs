//! A real server on a port of its own, and a client's connection to it.

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

/// A running server.
pub struct TestServer {
    pub address: String,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<std::io::Result<()>>>,
}

impl TestServer {
    /// One that forgets everything.
    pub fn in_memory() -> Self {
        Self::on(Arc::new(MemoryStore::new()))
    }

    /// One on a folder.
    pub fn on_disk(path: &Path) -> Self {
        Self::on(Arc::new(SledStore::open(SledOptions::new(path.to_owned())).unwrap()))
    }

    /// One on any store, with a decision log in memory.
    pub fn on(store: Arc<dyn Store>) -> Self {
        Self::with_log(store, LogSettings::default(), Arc::new(|_, _| Ok(Some(Arc::new(MemoryStore::new())))))
    }

    /// One on any store with any decision log.
    pub fn with_log(store: Arc<dyn Store>, log: LogSettings, open: OpenGeneration) -> Self {
        Self::with_limits(store, log, open, WatchLimits::default())
    }

    /// One on any store with other limits of watches.
    pub fn with_watch_limits(store: Arc<dyn Store>, limits: WatchLimits) -> Self {
        Self::with_limits(
            store,
            LogSettings::default(),
            Arc::new(|_, _| Ok(Some(Arc::new(MemoryStore::new())))),
            limits,
        )
    }

    /// One that forgets everything, run otherwise.
    pub fn with_options(options: ServerOptions) -> Self {
        Self::with_options_and_watch_limits(options, WatchLimits::default())
    }

    /// The same with other limits of watches.
    pub fn with_options_and_watch_limits(options: ServerOptions, limits: WatchLimits) -> Self {
        let open: OpenGeneration = Arc::new(|_, _| Ok(Some(Arc::new(MemoryStore::new()))));
        Self::run(Arc::new(MemoryStore::new()), LogSettings::default(), open, limits, options)
    }

    fn with_limits(store: Arc<dyn Store>, log: LogSettings, open: OpenGeneration, limits: WatchLimits) -> Self {
        Self::run(store, log, open, limits, ServerOptions::default())
    }

    fn run(
        store: Arc<dyn Store>,
        log: LogSettings,
        open: OpenGeneration,
        limits: WatchLimits,
        options: ServerOptions,
    ) -> Self {
        let listeners = server::bind("127.0.0.1:0".parse().unwrap(), 2).unwrap();
        Self::run_on(listeners, store, log, open, limits, options)
    }

    /// One that forgets everything, on listeners that are there.
    pub fn with_listeners(listeners: Vec<TcpListener>, options: ServerOptions) -> Self {
        let open: OpenGeneration = Arc::new(|_, _| Ok(Some(Arc::new(MemoryStore::new()))));
        let (store, log) = (Arc::new(MemoryStore::new()), LogSettings::default());
        Self::run_on(listeners, store, log, open, WatchLimits::default(), options)
    }

    fn run_on(
        listeners: Vec<TcpListener>,
        store: Arc<dyn Store>,
        log: LogSettings,
        open: OpenGeneration,
        limits: WatchLimits,
        options: ServerOptions,
    ) -> Self {
        let address = format!("http://{}", listeners[0].local_addr().unwrap());
        let (stop, stopped) = oneshot::channel::<()>();
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async move {
                let registry = Registry::open(store, Arc::new(jiff::Timestamp::now)).await.unwrap();
                let log = DecisionLog::open(log, open).await.unwrap();
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
