//! Cerbos as a process of its own, and how it is asked.

#![allow(dead_code, reason = "each benchmark asks something else")]

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use prost_types::value::Kind as ValueKind;
use prost_types::{ListValue, Struct, Value as Attribute};
use tonic::client::Grpc;
use tonic::codegen::http::uri::PathAndQuery;
use tonic::transport::{Channel, Endpoint};
use tonic::{Request, Status};
use tonic_prost::ProstCodec;
use weighbridge::pb::weighbridge::v1 as pb;

/// Where the policies are written.
pub(crate) const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/benches/peers");
pub(crate) const CERBOS_CHECK: &str = "/cerbos.svc.v1.CerbosService/CheckResources";

/// What of the API of Cerbos is asked (`cerbos.request.v1`, `cerbos.response.v1`).
pub(crate) mod api {
    use std::collections::BTreeMap;

    use prost_types::Value;

    #[derive(Clone, PartialEq, prost::Message)]
    pub(crate) struct CheckResources {
        #[prost(string, tag = "1")]
        pub(crate) request_id: String,
        #[prost(message, optional, tag = "3")]
        pub(crate) principal: Option<Principal>,
        #[prost(message, repeated, tag = "4")]
        pub(crate) resources: Vec<Entry>,
    }

    #[derive(Clone, PartialEq, prost::Message)]
    pub(crate) struct Principal {
        #[prost(string, tag = "1")]
        pub(crate) id: String,
        #[prost(string, repeated, tag = "3")]
        pub(crate) roles: Vec<String>,
        #[prost(btree_map = "string, message", tag = "4")]
        pub(crate) attr: BTreeMap<String, Value>,
    }

    #[derive(Clone, PartialEq, prost::Message)]
    pub(crate) struct Entry {
        #[prost(string, repeated, tag = "1")]
        pub(crate) actions: Vec<String>,
        #[prost(message, optional, tag = "2")]
        pub(crate) resource: Option<Resource>,
    }

    #[derive(Clone, PartialEq, prost::Message)]
    pub(crate) struct Resource {
        #[prost(string, tag = "1")]
        pub(crate) kind: String,
        #[prost(string, tag = "3")]
        pub(crate) id: String,
        #[prost(btree_map = "string, message", tag = "4")]
        pub(crate) attr: BTreeMap<String, Value>,
    }

    #[derive(Clone, PartialEq, prost::Message)]
    pub(crate) struct Checked {
        #[prost(message, repeated, tag = "2")]
        pub(crate) results: Vec<Outcome>,
    }

    #[derive(Clone, PartialEq, prost::Message)]
    pub(crate) struct Outcome {
        /// 1: allowed, 2: denied.
        #[prost(btree_map = "string, int32", tag = "2")]
        pub(crate) actions: BTreeMap<String, i32>,
    }
}

/// A running Cerbos.
pub(crate) struct Cerbos {
    child: Child,
    pub(crate) address: SocketAddr,
    _folder: tempfile::TempDir,
}

impl Cerbos {
    /// With one file of policies.
    pub(crate) fn start(program: &str, policies_file: &str) -> Self {
        Self::start_with(Command::new(program), policies_file)
    }

    /// By a command that runs it.
    pub(crate) fn start_with(mut command: Command, policies_file: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let policies = folder.path().join("policies");
        std::fs::create_dir(&policies).unwrap();
        std::fs::copy(Path::new(FOLDER).join(policies_file), policies.join("model.yaml")).unwrap();
        let free = || std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let (address, http) = (free(), free());
        let set = |key: &str, value: &str| format!("--set={key}={value}");
        let child = command
            .args(["server", "--log-level=error"])
            .args([
                set("server.grpcListenAddr", &address.to_string()),
                set("server.httpListenAddr", &http.to_string()),
                set("storage.driver", "disk"),
                set("storage.disk.directory", policies.to_str().unwrap()),
                set("telemetry.disabled", "true"),
            ])
            .current_dir(folder.path())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap_or_else(|error| panic!("Cerbos does not start: {error}"));
        Self { child, address, _folder: folder }
    }

    /// Its process.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for Cerbos {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

pub(crate) async fn connect(address: SocketAddr) -> Channel {
    let endpoint = Endpoint::from_shared(format!("http://{address}")).unwrap().tcp_nodelay(true);
    for _ in 0..100 {
        if let Ok(channel) = endpoint.connect().await {
            return channel;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    panic!("nobody answers at {address}");
}

pub(crate) async fn ask<Q, A>(channel: &Channel, path: &'static str, request: Q) -> Result<A, Status>
where
    Q: prost::Message + Send + Sync + 'static,
    A: prost::Message + Default + Send + Sync + 'static,
{
    let mut client = Grpc::new(channel.clone());
    client.ready().await.unwrap();
    let codec = ProstCodec::<Q, A>::default();
    Ok(client.unary(Request::new(request), PathAndQuery::from_static(path), codec).await?.into_inner())
}

// ---- facts

pub(crate) fn of(kind: ValueKind) -> Attribute {
    Attribute { kind: Some(kind) }
}

pub(crate) fn text_of(text: impl Into<String>) -> Attribute {
    of(ValueKind::StringValue(text.into()))
}

pub(crate) fn list_of(values: Vec<Attribute>) -> Attribute {
    of(ValueKind::ListValue(ListValue { values }))
}

pub(crate) fn activity(word: &str) -> i32 {
    pb::Activity::from_str_name(&format!("ACTIVITY_{word}")).unwrap().into()
}

/// The same use, for Cerbos.
pub(crate) fn principal(use_: &pb::Use) -> api::Principal {
    let word = |name: &str, prefix: &str| text_of(name.trim_start_matches(prefix));
    let list = |list: &[String]| list_of(list.iter().map(text_of).collect());
    let organization = use_.organization.as_ref().unwrap();
    let labels = use_.labels.iter().map(|(key, value)| (key.clone(), text_of(value))).collect();
    let activities = use_.activities().map(|one| word(one.as_str_name(), "ACTIVITY_")).collect();
    let attr = [
        ("purpose", word(use_.purpose().as_str_name(), "PURPOSE_")),
        ("hosting", word(use_.hosting().as_str_name(), "HOSTING_")),
        ("organization_type", word(organization.r#type().as_str_name(), "TYPE_")),
        ("monthly_active_users", of(ValueKind::NumberValue(organization.monthly_active_users.unwrap() as f64))),
        ("deployment_countries", list(&use_.deployment_countries)),
        ("end_user_countries", list(&use_.end_user_countries)),
        ("activities", list_of(activities)),
        ("categories", list(&use_.categories)),
        ("labels", of(ValueKind::StructValue(Struct { fields: labels }))),
    ];
    let attr = attr.into_iter().map(|(key, value)| (key.to_owned(), value)).collect();
    api::Principal { id: "use".into(), roles: vec!["service".into()], attr }
}

pub(crate) fn question(
    principal: api::Principal,
    id: &str,
    attr: BTreeMap<String, Attribute>,
    actions: Vec<String>,
) -> api::CheckResources {
    let resource = api::Resource { kind: "model".into(), id: id.into(), attr };
    let entry = api::Entry { actions, resource: Some(resource) };
    api::CheckResources { request_id: "1".into(), principal: Some(principal), resources: vec![entry] }
}
