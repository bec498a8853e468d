//! Several replicas on one store in etcd: what each of them does is what one process would have done.

mod announced;
mod calls;
mod catalog;
mod compacted;
mod moved;
mod reached;
mod watches;

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Runtime;
use tokio::sync::watch;
use tonic::transport::Channel;
use weighbridge::pb::weighbridge::v1 as pb;
use weighbridge::pb::weighbridge::v1::model_service_client::ModelServiceClient;
use weighbridge::registry::{LogSettings, WatchLimits};
use weighbridge::store::{EtcdOptions, Store};

use crate::harness::TestServer;
use crate::harness::etcd::open;

/// How long a test waits for what must come.
const PATIENCE: Duration = Duration::from_secs(30);

/// A replica with a client of it.
struct Replica {
    server: TestServer,
    channel: Channel,
    models: ModelServiceClient<Channel>,
    store: Arc<dyn Store>,
    /// The store of its decision log.
    log: Arc<dyn Store>,
}

impl Replica {
    async fn start(options: &EtcdOptions) -> Self {
        Self::start_with(options, LogSettings::default(), WatchLimits::default()).await
    }

    async fn start_with(options: &EtcdOptions, settings: LogSettings, limits: WatchLimits) -> Self {
        let (store, log) = (open(options), open(&options.log("decisions")));
        let server = TestServer::sharing(store.clone(), log.clone(), settings, limits);
        let channel = server.connect().await;
        // It answers once the catalog is there.
        crate::service::status(channel.clone()).await;
        Self { server, models: ModelServiceClient::new(channel.clone()), channel, store, log }
    }

    /// Waits until it has come to a revision.
    async fn reaches(&self, revision: i64) {
        until("it does not come to the revision", async || {
            crate::service::status(self.channel.clone()).await.revision >= revision
        })
        .await;
    }

    async fn put(&self, model: pb::Model) -> pb::Model {
        let request = pb::UpdateModelRequest {
            model: Some(model),
            update_mask: Some(prost_types::FieldMask { paths: vec!["*".into()] }),
            allow_missing: true,
            ..Default::default()
        };
        self.models.clone().update_model(request).await.unwrap().into_inner()
    }

    async fn delete(&self, name: &str) {
        let request = pb::DeleteModelRequest { name: name.into(), ..Default::default() };
        self.models.clone().delete_model(request).await.unwrap();
    }

    /// All models.
    async fn all(&self) -> Vec<pb::Model> {
        all_models(&self.channel).await
    }
}

async fn all_models(channel: &Channel) -> Vec<pb::Model> {
    let mut client = ModelServiceClient::new(channel.clone()).max_decoding_message_size(64 << 20);
    let (mut all, mut page_token) = (Vec::new(), String::new());
    loop {
        let request = pb::ListModelsRequest { page_size: 1_000, page_token, ..Default::default() };
        let page = client.list_models(request).await.unwrap().into_inner();
        all.extend(page.models);
        page_token = page.next_page_token;
        if page_token.is_empty() {
            return all;
        }
    }
}

/// Says of two lists of models which are not in both.
fn assert_same(found: &[pb::Model], expected: &[pb::Model]) {
    let only = |these: &[pb::Model], those: &[pb::Model]| {
        these.iter().filter(|model| !those.contains(model)).cloned().collect::<Vec<_>>()
    };
    assert_eq!(only(found, expected), only(expected, found));
    assert!(found == expected, "another order");
}

async fn until(what: &str, holds: impl AsyncFn() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !holds().await {
        assert!(Instant::now() < deadline, "{what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// A model with weights under a license.
fn model(id: &str, license: &str) -> pb::Model {
    let weights = pb::Component {
        kind: pb::component::Kind::ModelWeights.into(),
        availability: pb::component::Availability::Available.into(),
        license_expression: license.into(),
        ..Default::default()
    };
    pb::Model { name: format!("publishers/acme/models/{id}"), components: vec![weights], ..Default::default() }
}

/// A use that MIT allows and CC-BY-NC-4.0 does not.
fn commercial() -> pb::Use {
    pb::Use {
        purpose: pb::Purpose::Commercial.into(),
        hosting: pb::Hosting::SelfHosted.into(),
        organization: Some(pb::Organization {
            country: "US".into(),
            r#type: pb::organization::Type::Company.into(),
            business_types: vec!["none".into()],
            ..Default::default()
        }),
        deployment_countries: vec!["US".into()],
        end_user_countries: vec!["US".into()],
        ..Default::default()
    }
}

/// Ways to the members of a cluster that can be cut.
struct Ways {
    endpoints: Vec<String>,
    open: watch::Sender<bool>,
    runtime: Option<Runtime>,
}

impl Ways {
    fn to(endpoints: &[String]) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let (open, opened) = watch::channel(true);
        let mut ways = Vec::new();
        for endpoint in endpoints {
            let member = endpoint.strip_prefix("http://").unwrap().to_owned();
            let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
            listener.set_nonblocking(true).unwrap();
            ways.push(format!("http://{}", listener.local_addr().unwrap()));
            runtime.spawn(carry(listener, member, opened.clone()));
        }
        Self { endpoints: ways, open, runtime: Some(runtime) }
    }

    /// Ends all connections, and takes no new ones.
    fn cut(&self) {
        self.open.send_replace(false);
    }

    fn heal(&self) {
        self.open.send_replace(true);
    }
}

impl Drop for Ways {
    fn drop(&mut self) {
        self.runtime.take().unwrap().shutdown_background();
    }
}

async fn carry(listener: std::net::TcpListener, member: String, open: watch::Receiver<bool>) {
    let listener = TcpListener::from_std(listener).unwrap();
    loop {
        let (mut from, _) = listener.accept().await.unwrap();
        let (member, mut open) = (member.clone(), open.clone());
        tokio::spawn(async move {
            if !*open.borrow() {
                return;
            }
            let Ok(mut to) = TcpStream::connect(member).await else { return };
            tokio::select! {
                _ = tokio::io::copy_bidirectional(&mut from, &mut to) => {}
                _ = open.wait_for(|open| !open) => {}
            }
        });
    }
}
