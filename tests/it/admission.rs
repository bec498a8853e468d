//! The gate before a cluster, asked over HTTPS as an API server asks. What is sent and read are the types of a client library of
//! Kubernetes.

use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::admissionregistration::v1::ValidatingWebhookConfiguration;
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::batch::v1::CronJob;
use k8s_openapi::api::core::v1::{Pod, Service};
use kube_core::DynamicObject;
use kube_core::admission::{AdmissionResponse, AdmissionReview};
use rcgen::{CertificateParams, KeyPair};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use weighbridge::auth::{Credentials, digest_of};
use weighbridge::gate::{AdmissionGate, AdmissionRules};
use weighbridge::pb::weighbridge::v1 as pb;
use weighbridge::pb::weighbridge::v1::eligibility_service_client::EligibilityServiceClient;
use weighbridge::pb::weighbridge::v1::model_service_client::ModelServiceClient;
use weighbridge::server::{Access, Admission, Probes, Reach, ServerOptions, Tls, TlsFiles};

use crate::harness::{TestServer, write_lab_profile};
use crate::settings::get;

fn case_file(name: &str) -> String {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/cases/admission").join(name);
    std::fs::read_to_string(path).unwrap()
}

/// A server with the gate over HTTPS.
struct Cluster {
    address: SocketAddr,
    probes: SocketAddr,
    tls: Arc<ClientConfig>,
    server: Option<TestServer>,
    _folder: tempfile::TempDir,
}

fn listener() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    (listener, address)
}

impl Cluster {
    async fn new(access: Access, reach: Reach) -> Self {
        let key = KeyPair::generate().unwrap();
        let certificate = CertificateParams::new(vec!["localhost".into()]).unwrap().self_signed(&key).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let file = |name: &str, text: String| {
            let path = folder.path().join(name);
            std::fs::write(&path, text).unwrap();
            path
        };
        let files = TlsFiles {
            certificate: file("cert.pem", certificate.pem()),
            key: file("key.pem", key.serialize_pem()),
            client_ca: None,
            client_required: false,
        };
        let tls = Arc::new(Tls::load(files).unwrap());
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from(certificate.der().to_vec())).unwrap();
        let provider = Arc::new(tokio_rustls::rustls::crypto::ring::default_provider());
        let client = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
        let client = client.with_root_certificates(roots).with_no_client_auth();

        let access = Arc::new(access);
        let rules = AdmissionRules::parse(&case_file("rules.yaml")).unwrap();
        let (gate, (listener, address)) = (AdmissionGate::new(rules), listener());
        let admission = Admission::start(listener, gate, access.clone(), reach, Some(tls)).unwrap();
        let (listener, probes) = self::listener();
        let started = Probes::start(listener, Arc::default(), None).unwrap();
        let cluster = Self { address, probes, tls: Arc::new(client), server: None, _folder: folder };
        // It is there before the server is, and lets nothing pass.
        assert!(!cluster.post(&[], b"{}").starts_with("HTTP/1.1 200"));
        let options =
            ServerOptions { access, admission: Some(admission), probes: Some(started), ..ServerOptions::default() };
        let server = TestServer::with_options(options);
        while !get(probes, "/readyz", "").starts_with("HTTP/1.1 200") {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        Self { server: Some(server), ..cluster }
    }

    /// With the records that the cases name.
    async fn with_records() -> Self {
        let cluster = Self::new(Access::default(), Reach::Authenticated).await;
        let channel = cluster.server.as_ref().unwrap().connect().await;
        write_lab_profile(channel.clone()).await;
        for (id, availability, license) in [
            ("closed", pb::component::Availability::Unavailable, ""),
            ("unread", pb::component::Availability::Available, "LicenseRef-Unknown"),
        ] {
            let weights = pb::Component {
                kind: pb::component::Kind::ModelWeights.into(),
                availability: availability.into(),
                license_expression: license.into(),
                ..Default::default()
            };
            let model =
                pb::Model { aliases: vec![format!("acme/{id}")], components: vec![weights], ..Default::default() };
            let request = pb::CreateModelRequest {
                parent: "publishers/acme".into(),
                model_id: id.into(),
                model: Some(model),
                ..Default::default()
            };
            ModelServiceClient::new(channel.clone()).create_model(request).await.unwrap();
        }
        cluster
    }

    /// The whole answer to a document.
    fn post(&self, headers: &[&str], body: &[u8]) -> String {
        self.send("POST /validate", headers, body)
    }

    fn send(&self, line: &str, headers: &[&str], body: &[u8]) -> String {
        let connection = ClientConnection::new(self.tls.clone(), ServerName::try_from("localhost").unwrap()).unwrap();
        let mut stream = StreamOwned::new(connection, TcpStream::connect(self.address).unwrap());
        let length = format!("Content-Length: {}", body.len());
        let headers = [&["Host: localhost", "Content-Type: application/json", &length], headers].concat().join("\r\n");
        write!(stream, "{line}?timeout=5s HTTP/1.1\r\n{headers}\r\n\r\n").unwrap();
        // One that is refused for its size is answered before it is whole.
        let _ = stream.write_all(body);
        let mut answer = String::new();
        let _ = stream.read_to_string(&mut answer);
        answer
    }

    fn review(&self, document: &Value) -> AdmissionResponse {
        let answer = self.post(&[], document.to_string().as_bytes());
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        assert!(head.to_lowercase().contains("content-type: application/json"), "{head}");
        let read: AdmissionReview<DynamicObject> = serde_json::from_str(body).unwrap();
        // Nothing that was written is lost on the way.
        let (ours, theirs): (Value, Value) =
            (serde_json::from_str(body).unwrap(), serde_json::to_value(&read).unwrap());
        includes(&theirs, &ours);
        read.response.unwrap()
    }
}

fn includes(theirs: &Value, ours: &Value) {
    match ours {
        Value::Object(members) => members.iter().for_each(|(key, value)| includes(&theirs[key], value)),
        _ => assert_eq!(theirs, ours),
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    name: String,
    namespace: String,
    #[serde(default)]
    operation: Option<String>,
    #[serde(default)]
    groups: Option<Vec<String>>,
    #[serde(default)]
    user: Option<String>,
    #[serde(default)]
    object: Option<Value>,
    #[serde(default)]
    old_object: Option<Value>,
    admitted: String,
    #[serde(default)]
    message: Vec<String>,
    #[serde(default)]
    warnings: Vec<String>,
    #[serde(default)]
    audit: BTreeMap<String, String>,
}

/// An object as a cluster has it: it is read as the type that it is of.
fn object(mut object: Value) -> Value {
    let kind = object["kind"].as_str().unwrap().to_owned();
    let group = match kind.as_str() {
        "Pod" => "v1",
        "Deployment" => "apps/v1",
        "CronJob" => "batch/v1",
        _ => object["apiVersion"].as_str().unwrap(),
    };
    object["apiVersion"] = group.into();
    object["metadata"]["name"] = "llm".into();
    fn of<T: serde::de::DeserializeOwned + serde::Serialize>(object: Value) -> Value {
        serde_json::to_value(serde_json::from_value::<T>(object).unwrap()).unwrap()
    }
    match kind.as_str() {
        "Pod" => of::<Pod>(object),
        "Deployment" => of::<Deployment>(object),
        "CronJob" => of::<CronJob>(object),
        _ => of::<DynamicObject>(object),
    }
}

/// A document as an API server sends it.
fn document(case: &Case, uid: &str) -> Value {
    let (new, old) = (case.object.clone().map(object), case.old_object.clone().map(object));
    let any = new.as_ref().or(old.as_ref()).unwrap();
    let version = any["apiVersion"].as_str().unwrap();
    let (group, version) = version.split_once('/').unwrap_or(("", version));
    let kind = json!({ "group": group, "version": version, "kind": any["kind"] });
    let resource = json!({ "group": group, "version": version, "resource": "things" });
    let groups = case.groups.clone().unwrap_or_else(|| vec!["developers".to_owned()]);
    let document = json!({
        "apiVersion": "admission.k8s.io/v1",
        "kind": "AdmissionReview",
        "request": {
            "uid": uid,
            "kind": kind,
            "resource": resource,
            "subResource": null,
            "requestKind": kind,
            "requestResource": resource,
            "name": "llm",
            "namespace": case.namespace,
            "operation": case.operation.as_deref().unwrap_or("CREATE"),
            "userInfo": { "username": case.user.as_deref().unwrap_or("alice"), "uid": "1", "groups": groups, "extra": { "scopes": ["a"] } },
            "object": new,
            "oldObject": old,
            "options": { "apiVersion": "meta.k8s.io/v1", "kind": "CreateOptions" },
            "dryRun": false,
        },
    });
    if case.operation.as_deref() == Some("PATCH") {
        // Which the library does not know either.
        return document;
    }
    // It is what the library takes for one.
    let read: AdmissionReview<DynamicObject> = serde_json::from_value(document).unwrap();
    serde_json::to_value(read).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn objects_are_admitted_as_the_table_says() {
    let cluster = Cluster::with_records().await;
    let cases: Vec<Case> = serde_saphyr::from_str(&case_file("cases.yaml")).unwrap();
    assert!(cases.len() > 60);
    let mut counts = BTreeMap::<String, u64>::new();
    for (i, case) in cases.iter().enumerate() {
        let uid = format!("705ab4f5-6393-11e8-b7cc-{i:012}");
        let response = cluster.review(&document(case, &uid));
        let name = &case.name;
        assert_eq!(response.uid, uid);
        assert_eq!(response.allowed, case.admitted != "denied", "{name}: {response:?}");
        let warnings = response.warnings.unwrap_or_default();
        let joined = warnings.join("\n");
        // As the documentation of such answers asks.
        assert!(warnings.iter().all(|warning| warning.len() <= 256 && !warning.contains('\n')), "{name}: {warnings:?}");
        assert!(case.warnings.iter().all(|text| joined.contains(text)), "{name}: {warnings:?}");
        assert!(case.admitted != "warned" || !warnings.is_empty(), "{name}");
        let message = &response.result.message;
        assert!(case.message.iter().all(|text| message.contains(text)), "{name}: {message}");
        assert_eq!(response.result.code, if response.allowed { 200 } else { 403 }, "{name}");
        for (key, text) in &case.audit {
            let found = response.audit_annotations.get(key);
            assert!(found.is_some_and(|found| found.contains(text)), "{name}: {:?}", response.audit_annotations);
        }
        *counts.entry(case.admitted.clone()).or_default() += 1;
    }
    // Each is counted by what came of it.
    let figures = get(cluster.probes, "/metrics", "");
    for (admitted, count) in counts {
        let line = format!("weighbridge_admission_reviews_total{{outcome=\"{admitted}\"}} {count}\n");
        assert!(figures.contains(&line), "{line}{figures}");
    }
    // The decision log names the request of the cluster.
    let mut log = EligibilityServiceClient::new(cluster.server.as_ref().unwrap().connect().await);
    let kept = log.list_decisions(pb::ListDecisionsRequest::default()).await.unwrap().into_inner().decisions;
    assert!(kept.iter().any(|decision| decision.call_id.starts_with("705ab4f5-")), "{kept:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_review_is_no_answer() {
    let cluster = Cluster::with_records().await;
    let wrong = |body: &[u8], said: &str| {
        let answer = cluster.post(&[], body);
        assert!(answer.starts_with("HTTP/1.1 400") && answer.contains(said), "{answer}");
    };
    wrong(b"", "cannot be read");
    wrong(b"[]", "cannot be read");
    wrong(br#"{"apiVersion": "admission.k8s.io/v1beta1", "kind": "AdmissionReview"}"#, "admissionReviewVersions");
    wrong(br#"{"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview"}"#, "no `request`");
    let of =
        |request: Value| json!({ "apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": request });
    wrong(of(json!({ "uid": "", "operation": "CREATE" })).to_string().as_bytes(), "uid");
    wrong(of(json!({ "uid": "x".repeat(200), "operation": "CREATE" })).to_string().as_bytes(), "uid");
    let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
    wrong(deep.as_bytes(), "cannot be read");
    let deep = of(json!({ "uid": "a", "operation": "CREATE" })).to_string();
    let deep =
        deep.replace(r#""uid""#, &format!(r#""object": {}1{}, "uid""#, r#"{"a":"#.repeat(5_000), "}".repeat(5_000)));
    wrong(deep.as_bytes(), "recursion");
    // Of an object without end only so much is looked at.
    let models = (0..100_000).map(|i| format!("a/m{i}")).collect::<Vec<_>>().join(",");
    let annotations = json!({ "weighbridge/model": models, "weighbridge/break-glass": "x".repeat(100_000) });
    let object = json!({ "metadata": { "annotations": annotations }, "spec": {} });
    let large = of(json!({ "uid": "a", "operation": "CREATE", "namespace": "prod", "object": object }));
    let answer = cluster.post(&[], large.to_string().as_bytes());
    assert!(answer.starts_with("HTTP/1.1 200") && answer.contains("more than 64 models"), "{answer}");
    assert!(answer.len() < 6_000, "{}", answer.len());
    // Variables that hold others many times over.
    let laughs: Vec<Value> = (0..40)
        .map(|i| json!({ "name": format!("A{i}"), "value": if i == 0 { "x".repeat(10) } else { format!("$(A{})", i - 1).repeat(10) } }))
        .collect();
    let container = json!({ "name": "llm", "image": "vllm/vllm-openai", "args": ["--model", "$(A39)"], "env": laughs });
    let object = json!({ "spec": { "containers": [container] } });
    let large = of(json!({ "uid": "a", "operation": "CREATE", "namespace": "prod", "object": object }));
    let answer = cluster.post(&[], large.to_string().as_bytes());
    assert!(answer.starts_with("HTTP/1.1 200") && answer.contains("cannot be seen"), "{answer}");
    assert!(cluster.post(&[], &vec![b' '; (8 << 20) + 1]).starts_with("HTTP/1.1 413"));
    assert!(cluster.send("GET /validate", &[], b"").starts_with("HTTP/1.1 405"));
    assert!(cluster.send("POST /else", &[], b"").starts_with("HTTP/1.1 404"));
    // What is left out is nothing, and the gate goes on.
    let least = of(json!({ "uid": "a", "operation": "CREATE", "userInfo": null, "namespace": null }));
    let answer = cluster.post(&[], least.to_string().as_bytes());
    assert!(answer.starts_with("HTTP/1.1 200") && answer.contains(r#""allowed":true"#), "{answer}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_gate_asks_who_calls_unless_it_is_open() {
    let access = || {
        let access = Access { required: true, ..Access::default() };
        let entry = format!("[[tokens]]\nname = \"api\"\nrole = \"reader\"\nsha256 = \"{}\"\n", digest_of("wb_api"));
        access.authenticator.set_credentials(Credentials::parse(&entry).unwrap());
        access
    };
    let review = json!({
        "apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": { "uid": "a", "operation": "DELETE" }
    });
    let body = review.to_string().into_bytes();
    let asks = Cluster::new(access(), Reach::Authenticated).await;
    assert!(asks.post(&[], &body).starts_with("HTTP/1.1 401"));
    assert!(asks.post(&["Authorization: Bearer wb_nobody"], &body).starts_with("HTTP/1.1 401"));
    assert!(asks.post(&["Authorization: Bearer wb_api"], &body).starts_with("HTTP/1.1 200"));
    let open = Cluster::new(access(), Reach::Open).await;
    assert!(open.post(&[], &body).starts_with("HTTP/1.1 200"));
}

#[test]
fn what_is_put_into_a_cluster_to_begin_with_is_right() {
    let read = |name: &str| {
        let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("deploy").join(name);
        std::fs::read_to_string(path).unwrap()
    };
    AdmissionRules::parse(&read("admission-rules.yaml")).unwrap();
    let documents: Vec<Value> = serde_saphyr::from_multiple(&read("kubernetes-admission.yaml")).unwrap();
    let [service, webhook] = documents.try_into().unwrap();
    serde_json::from_value::<Service>(service).unwrap();
    let webhook: ValidatingWebhookConfiguration = serde_json::from_value(webhook).unwrap();
    let webhook = &webhook.webhooks.unwrap()[0];
    assert_eq!(webhook.client_config.service.as_ref().unwrap().path.as_deref(), Some("/validate"));
    assert_eq!(webhook.admission_review_versions, ["v1"]);
}
