//! Who is let in to what: every method, every role, every kind of credentials; and TLS.

use std::sync::Arc;
use std::time::Duration;

use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use prost::Message as _;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, PublicKeyData as _, SanType};
use serde_json::{Value, json};
use tonic::client::Grpc;
use tonic::codegen::http::uri::PathAndQuery;
use tonic::metadata::MetadataMap;
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint, Identity};
use tonic::{Code, Request, Status};
use tonic_prost::ProstCodec;
use weighbridge::auth::methods::{Form, METHODS, Method};
use weighbridge::auth::{Credentials, JwtSettings, Keys, Role, digest_of};
use weighbridge::pb::weighbridge::v1 as pb;
use weighbridge::pb::weighbridge::v1::eligibility_service_client::EligibilityServiceClient;
use weighbridge::pb::weighbridge::v1::model_service_client::ModelServiceClient;
use weighbridge::server::{Access, Limits, Reach, ServerOptions, Tls, TlsFiles};

use crate::harness::{TestServer, reason, refused};

const ISSUER: &str = "https://issuer.example";
const AUDIENCE: &str = "weighbridge";

fn now() -> i64 {
    jiff::Timestamp::now().as_second()
}

/// An issuer of JSON Web Tokens.
struct Issuer {
    key: EncodingKey,
    jwks: String,
}

impl Issuer {
    fn new() -> Self {
        let pair = KeyPair::generate().unwrap();
        // 4, then the two halves of the point.
        let point = pair.der_bytes();
        assert_eq!((point.len(), point[0]), (65, 4));
        let half = |bytes: &[u8]| {
            use base64::Engine as _;
            base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(bytes)
        };
        let key = json!({
            "kty": "EC", "crv": "P-256", "kid": "one", "use": "sig", "alg": "ES256",
            "x": half(&point[1..33]), "y": half(&point[33..]),
        });
        Self { key: EncodingKey::from_ec_der(&pair.serialize_der()), jwks: json!({ "keys": [key] }).to_string() }
    }

    fn settings() -> JwtSettings {
        JwtSettings { issuer: ISSUER.into(), audience: AUDIENCE.into(), role_claim: "weighbridge_role".into() }
    }

    fn token(&self, role: Role, change: impl FnOnce(&mut Value)) -> String {
        let mut claims = json!({
            "iss": ISSUER, "aud": [AUDIENCE, "other"], "sub": "alice", "exp": now() + 600,
            "weighbridge_role": role.as_str(),
        });
        change(&mut claims);
        let header = Header { kid: Some("one".into()), ..Header::new(Algorithm::ES256) };
        encode(&header, &claims, &self.key).unwrap()
    }
}

fn token_of(role: Role) -> String {
    format!("wb_{role}")
}

fn credentials() -> Credentials {
    let entry = |name: &str, role: Role, token: &str, more: &str| {
        format!("[[tokens]]\nname = \"{name}\"\nrole = \"{role}\"\nsha256 = \"{}\"\n{more}\n", digest_of(token))
    };
    let mut text: String =
        Role::ALL.iter().map(|role| entry(role.as_str(), *role, &token_of(*role), "expires = 2999-01-01")).collect();
    text += &entry("old", Role::Admin, "wb_old", "expires = 2020-01-01T00:00:00Z");
    text += "[[certificates]]\nname = \"spiffe://example.org/ns/prod/*\"\nrole = \"editor\"\n";
    Credentials::parse(&text).unwrap()
}

fn access(issuer: &Issuer) -> Access {
    let access = Access { required: true, reflection: Reach::Authenticated, ..Access::default() };
    access.authenticator.set_credentials(credentials());
    access.authenticator.set_keys(Keys::parse(&issuer.jwks, Issuer::settings()).unwrap());
    access
}

fn served(access: Access) -> TestServer {
    TestServer::with_options(ServerOptions { access: Arc::new(access), ..ServerOptions::default() })
}

/// Calls any method with an empty message, and waits for the first thing that is said.
async fn call(channel: &Channel, path: &'static str, authorization: Option<&str>) -> Result<MetadataMap, Status> {
    let mut grpc = Grpc::new(channel.clone());
    grpc.ready().await.unwrap();
    let mut request = Request::new(tokio_stream::once(()));
    if let Some(authorization) = authorization {
        request.metadata_mut().insert("authorization", authorization.parse().unwrap());
    }
    let codec = ProstCodec::<(), ()>::default();
    let response = grpc.streaming(request, PathAndQuery::from_static(path), codec).await?;
    let metadata = response.metadata().clone();
    let mut stream = response.into_inner();
    tokio::time::timeout(Duration::from_secs(20), stream.message()).await.unwrap().map(|_| metadata)
}

fn said(result: &Result<MetadataMap, Status>) -> (Code, String) {
    match result {
        Ok(_) => (Code::Ok, String::new()),
        Err(status) if matches!(status.code(), Code::Unauthenticated | Code::PermissionDenied) => {
            (status.code(), reason(status))
        }
        // No answer at all.
        Err(status) if matches!(status.code(), Code::Cancelled | Code::Unavailable | Code::Unknown) => {
            (status.code(), status.message().to_owned())
        }
        // Let in, and refused for the empty message.
        Err(_) => (Code::Ok, String::new()),
    }
}

#[tokio::test]
async fn every_method_asks_for_its_role() {
    let issuer = Issuer::new();
    let server = served(access(&issuer));
    let channel = server.connect().await;
    let bearer = |token: &str| Some(format!("Bearer {token}"));
    let unauthenticated = |reason: &str| (Code::Unauthenticated, reason.to_owned());
    let wrong = |token: &str| bearer(token);
    let claims = |change: fn(&mut Value)| bearer(&issuer.token(Role::Admin, change));
    let mut strangers = vec![
        ("none", None, unauthenticated("CREDENTIALS_MISSING")),
        ("wrong token", wrong("wb_nobody"), unauthenticated("CREDENTIALS_INVALID")),
        ("empty token", wrong(""), unauthenticated("CREDENTIALS_INVALID")),
        ("other scheme", Some("Basic YTpi".to_owned()), unauthenticated("CREDENTIALS_INVALID")),
        ("expired token", wrong("wb_old"), unauthenticated("CREDENTIALS_EXPIRED")),
        ("no JWT", wrong("a.b.c"), unauthenticated("CREDENTIALS_INVALID")),
        ("expired JWT", claims(|c| c["exp"] = json!(1_600_000_000)), unauthenticated("CREDENTIALS_EXPIRED")),
        ("early JWT", claims(|c| c["nbf"] = json!(4_000_000_000_i64)), unauthenticated("CREDENTIALS_INVALID")),
        ("other audience", claims(|c| c["aud"] = json!("other")), unauthenticated("CREDENTIALS_INVALID")),
        (
            "no audience",
            claims(|c| drop(c.as_object_mut().unwrap().remove("aud"))),
            unauthenticated("CREDENTIALS_INVALID"),
        ),
        ("other issuer", claims(|c| c["iss"] = json!("https://evil.example")), unauthenticated("CREDENTIALS_INVALID")),
        (
            "no issuer",
            claims(|c| drop(c.as_object_mut().unwrap().remove("iss"))),
            unauthenticated("CREDENTIALS_INVALID"),
        ),
        ("no end", claims(|c| drop(c.as_object_mut().unwrap().remove("exp"))), unauthenticated("CREDENTIALS_INVALID")),
        (
            "no subject",
            claims(|c| drop(c.as_object_mut().unwrap().remove("sub"))),
            unauthenticated("CREDENTIALS_INVALID"),
        ),
        (
            "no role",
            claims(|c| c["weighbridge_role"] = json!("boss")),
            (Code::PermissionDenied, "ROLE_MISSING".to_owned()),
        ),
    ];
    let other = Issuer::new().token(Role::Admin, |_| ());
    strangers.push(("signed by another", bearer(&other), unauthenticated("CREDENTIALS_INVALID")));
    let good = issuer.token(Role::Admin, |_| ());
    let (rest, signature) = good.rsplit_once('.').unwrap();
    let unsigned = format!("{}.{}.", "eyJhbGciOiJub25lIn0", rest.split_once('.').unwrap().1);
    strangers.push(("algorithm none", bearer(&unsigned), unauthenticated("CREDENTIALS_INVALID")));
    let swapped = signature.chars().rev().collect::<String>();
    strangers.push(("signature changed", bearer(&format!("{rest}.{swapped}")), unauthenticated("CREDENTIALS_INVALID")));
    for Method { path, role: needed, .. } in METHODS {
        for (what, shown, expected) in &strangers {
            let answer = call(&channel, path, shown.as_deref()).await;
            assert_eq!(said(&answer), *expected, "{path} with {what}");
        }
        for role in Role::ALL {
            let listed = issuer.token(role, |c| c["weighbridge_role"] = json!(["other", role.as_str()]));
            for token in [token_of(role), issuer.token(role, |_| ()), listed] {
                let answer = call(&channel, path, bearer(&token).as_deref()).await;
                let expected = if role >= *needed {
                    (Code::Ok, String::new())
                } else {
                    (Code::PermissionDenied, "ROLE_TOO_LOW".to_owned())
                };
                assert_eq!(said(&answer), expected, "{path} as {role}: {answer:?}");
            }
        }
    }
}

#[test]
fn the_table_has_every_method_once_and_knows_how_it_is_called() {
    let descriptors = prost_types::FileDescriptorSet::decode(weighbridge::pb::DESCRIPTORS).unwrap();
    let mut served = Vec::new();
    let is_served = |package: &str| ["weighbridge.v1", "envoy.service.auth.v3"].contains(&package);
    for file in descriptors.file.iter().filter(|file| is_served(file.package())) {
        for service in &file.service {
            for method in &service.method {
                let form = match (method.client_streaming(), method.server_streaming()) {
                    (false, false) => Form::Unary,
                    (true, false) => Form::Upload,
                    (_, true) => Form::Stream,
                };
                served.push((format!("/{}.{}/{}", file.package(), service.name(), method.name()), form));
            }
        }
    }
    let mut known: Vec<_> = METHODS.iter().map(|method| (method.path.to_owned(), method.form)).collect();
    served.sort_by(|a, b| a.0.cmp(&b.0));
    known.sort_by(|a, b| a.0.cmp(&b.0));
    assert_eq!(served, known);
}

#[tokio::test]
async fn what_is_no_method_is_open_to_nobody() {
    let issuer = Issuer::new();
    let server = served(access(&issuer));
    let channel = server.connect().await;
    let admin = format!("Bearer {}", token_of(Role::Admin));
    let status = call(&channel, "/weighbridge.v1.ModelService/Forgotten", Some(&admin)).await.unwrap_err();
    assert_eq!(status.code(), Code::Unimplemented);
    // Health is open, reflection is not.
    assert!(call(&channel, "/grpc.health.v1.Health/Check", None).await.is_ok());
    for path in [
        "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
        "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo",
    ] {
        assert_eq!(said(&call(&channel, path, None).await).0, Code::Unauthenticated);
        let reader = format!("Bearer {}", token_of(Role::Reader));
        assert_eq!(said(&call(&channel, path, Some(&reader)).await).0, Code::Ok);
    }
    let closed = Access { health: Reach::Off, reflection: Reach::Off, ..Access::default() };
    let server = served(closed);
    let channel = server.connect().await;
    for path in ["/grpc.health.v1.Health/Check", "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo"] {
        assert_eq!(call(&channel, path, None).await.unwrap_err().code(), Code::Unimplemented);
    }
}

/// A certificate authority with a certificate for the server.
struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
    folder: tempfile::TempDir,
}

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, "authority");
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let authority = Self { issuer, folder: tempfile::tempdir().unwrap() };
        std::fs::write(authority.path("ca.pem"), authority.issuer.pem()).unwrap();
        authority.renew("server");
        authority
    }

    fn path(&self, name: &str) -> std::path::PathBuf {
        self.folder.path().join(name)
    }

    fn renew(&self, common_name: &str) {
        let (certificate, key) = self.certificate(common_name, vec![SanType::DnsName("localhost".try_into().unwrap())]);
        std::fs::write(self.path("server.pem"), certificate).unwrap();
        std::fs::write(self.path("server.key"), key).unwrap();
    }

    fn certificate(&self, common_name: &str, names: Vec<SanType>) -> (String, String) {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, common_name);
        params.subject_alt_names = names;
        (params.signed_by(&key, &self.issuer).unwrap().pem(), key.serialize_pem())
    }

    fn tls(&self, with_clients: bool) -> Arc<Tls> {
        let files = TlsFiles {
            certificate: self.path("server.pem"),
            key: self.path("server.key"),
            client_ca: with_clients.then(|| self.path("ca.pem")),
            client_required: false,
        };
        Arc::new(Tls::load(files).unwrap())
    }

    async fn connect(
        &self,
        server: &TestServer,
        shown: Option<(String, String)>,
    ) -> Result<Channel, tonic::transport::Error> {
        let roots = Certificate::from_pem(std::fs::read(self.path("ca.pem")).unwrap());
        let mut tls = ClientTlsConfig::new().ca_certificate(roots).domain_name("localhost");
        if let Some((certificate, key)) = shown {
            tls = tls.identity(Identity::from_pem(certificate, key));
        }
        let address = server.address.replace("http://", "https://");
        Endpoint::from_shared(address).unwrap().tls_config(tls).unwrap().connect().await
    }
}

fn spiffe(id: &str) -> Vec<SanType> {
    vec![SanType::URI(id.try_into().unwrap())]
}

#[tokio::test]
async fn a_client_is_known_by_its_certificate_and_history_names_it() {
    let (issuer, authority) = (Issuer::new(), Authority::new());
    let options =
        ServerOptions { access: Arc::new(access(&issuer)), tls: Some(authority.tls(true)), ..ServerOptions::default() };
    let server = TestServer::with_options(options);
    let id = "spiffe://example.org/ns/prod/sa/gateway";
    let channel = authority.connect(&server, Some(authority.certificate("gateway", spiffe(id)))).await.unwrap();
    let mut models = ModelServiceClient::new(channel.clone());
    let request = pb::CreateModelRequest {
        parent: "publishers/acme".into(),
        model_id: "one".into(),
        model: Some(pb::Model::default()),
        ..Default::default()
    };
    models.create_model(request).await.unwrap();
    let name = "publishers/acme/models/one".to_owned();
    let history =
        models.list_model_revisions(pb::ListModelRevisionsRequest { name, ..Default::default() }).await.unwrap();
    assert_eq!(history.into_inner().revisions[0].actor, id);
    let answer = call(&channel, "/weighbridge.v1.AdminService/Backup", None).await;
    assert_eq!(said(&answer), (Code::PermissionDenied, "ROLE_TOO_LOW".to_owned()));
    // A token that is shown counts, and not the certificate.
    let reader = format!("Bearer {}", token_of(Role::Reader));
    let answer = call(&channel, "/weighbridge.v1.ModelService/CreateModel", Some(&reader)).await;
    assert_eq!(said(&answer), (Code::PermissionDenied, "ROLE_TOO_LOW".to_owned()));

    let outside = authority.certificate("x", spiffe("spiffe://example.org/ns/test/sa/gateway"));
    let channel = authority.connect(&server, Some(outside)).await.unwrap();
    let answer = call(&channel, "/weighbridge.v1.ModelService/GetModel", None).await;
    assert_eq!(said(&answer), (Code::PermissionDenied, "ROLE_MISSING".to_owned()));
    // Without a certificate a token is asked for.
    let channel = authority.connect(&server, None).await.unwrap();
    let answer = call(&channel, "/weighbridge.v1.ModelService/GetModel", None).await;
    assert_eq!(said(&answer), (Code::Unauthenticated, "CREDENTIALS_MISSING".to_owned()));
    // One of another authority is none at all.
    let stranger = Authority::new().certificate("gateway", spiffe(id));
    let mut answered = false;
    if let Ok(channel) = authority.connect(&server, Some(stranger)).await {
        let mut models = ModelServiceClient::new(channel);
        answered =
            models.get_model(pb::GetModelRequest::default()).await.is_err_and(|s| s.code() == Code::InvalidArgument);
    }
    assert!(!answered);
    // And nothing is answered in the clear.
    let plain = Endpoint::from_shared(server.address.clone()).unwrap().connect().await;
    if let Ok(channel) = plain {
        assert!(call(&channel, "/grpc.health.v1.Health/Check", None).await.is_err());
    }
}

#[tokio::test]
async fn certificates_and_credentials_are_taken_over_while_it_runs() {
    let authority = Authority::new();
    let tls = authority.tls(false);
    let options = ServerOptions { tls: Some(tls.clone()), ..ServerOptions::default() };
    let server = TestServer::with_options(options);
    let before = authority.connect(&server, None).await.unwrap();
    assert!(call(&before, "/grpc.health.v1.Health/Check", None).await.is_ok());
    assert!(!tls.reload().unwrap(), "nothing has changed");
    // Of another authority: who trusts the first one does not get through any more.
    let other = Authority::new();
    for name in ["server.pem", "server.key"] {
        std::fs::copy(other.path(name), authority.path(name)).unwrap();
    }
    assert!(tls.reload().unwrap());
    assert!(authority.connect(&server, None).await.is_err());
    let after = other.connect(&server, None).await.unwrap();
    assert!(call(&after, "/grpc.health.v1.Health/Check", None).await.is_ok());
    // What is wrong counts for nothing.
    std::fs::write(authority.path("server.key"), "no key").unwrap();
    assert!(tls.reload().unwrap_err().to_string().contains("holds no private key"));
    assert!(other.connect(&server, None).await.is_ok());

    let issuer = Issuer::new();
    let access = Arc::new(access(&issuer));
    let options = ServerOptions { access: access.clone(), ..ServerOptions::default() };
    let server = TestServer::with_options(options);
    let channel = server.connect().await;
    let reader = format!("Bearer {}", token_of(Role::Reader));
    let path = "/weighbridge.v1.AdminService/GetStatus";
    assert_eq!(said(&call(&channel, path, Some(&reader)).await).0, Code::Ok);
    access.authenticator.set_credentials(Credentials::parse("").unwrap());
    assert_eq!(said(&call(&channel, path, Some(&reader)).await).0, Code::Unauthenticated);
}

#[tokio::test]
async fn every_answer_carries_its_call_id_and_the_decision_log_has_it() {
    let issuer = Issuer::new();
    let server = served(access(&issuer));
    let channel = server.connect().await;
    let mut checks = EligibilityServiceClient::new(channel.clone());
    let mut request = Request::new(pb::CheckEligibilityRequest {
        model: "meta-llama/Llama-3.3-70B-Instruct".into(),
        r#use: Some(pb::Use { purpose: pb::Purpose::Research as i32, ..pb::Use::default() }),
        record: true,
        ..Default::default()
    });
    request.metadata_mut().insert("authorization", format!("Bearer {}", token_of(Role::Reader)).parse().unwrap());
    request.metadata_mut().insert("x-request-id", "gateway-17".parse().unwrap());
    let answer = checks.check_eligibility(request).await.unwrap();
    assert_eq!(answer.metadata().get("weighbridge-call-id").unwrap(), "gateway-17");
    let decision = answer.into_inner().decision.unwrap();
    assert_eq!((decision.call_id.as_str(), decision.actor.as_str()), ("gateway-17", "token:reader"));
    // Those that are refused as well; and two have two.
    let ids: Vec<String> = futures_of(&channel).await;
    assert_eq!(ids.len(), 2);
    assert_ne!(ids[0], ids[1]);
}

async fn futures_of(channel: &Channel) -> Vec<String> {
    let mut ids = Vec::new();
    for _ in 0..2 {
        let status = call(channel, "/weighbridge.v1.ModelService/GetModel", None).await.unwrap_err();
        ids.push(status.metadata().get("weighbridge-call-id").unwrap().to_str().unwrap().to_owned());
    }
    ids
}

#[tokio::test]
async fn too_many_streams_of_a_client_are_refused_with_when_to_try_again() {
    let limits = Limits { streams_per_client: 2, ..Limits::default() };
    let server = TestServer::with_options(ServerOptions { limits, ..ServerOptions::default() });
    let channel = server.connect().await;
    let mut watches = Vec::new();
    for _ in 0..2 {
        let watch =
            ModelServiceClient::new(channel.clone()).watch_models(pb::WatchModelsRequest::default()).await.unwrap();
        watches.push(watch.into_inner());
    }
    let watch = ModelServiceClient::new(channel.clone()).watch_models(pb::WatchModelsRequest::default()).await;
    let status = refused(watch.map(|_| ()), Code::ResourceExhausted);
    assert_eq!(reason(&status), "TOO_MANY_CALLS");
    use tonic_types::StatusExt as _;
    assert!(status.get_error_details().retry_info().unwrap().retry_delay.is_some());
    // Calls with one answer are not held up by them, and one that ends makes room.
    assert!(call(&channel, "/weighbridge.v1.AdminService/GetStatus", None).await.is_ok());
    drop(watches.pop());
    let mut again = ModelServiceClient::new(channel.clone());
    for attempt in 0.. {
        match again.watch_models(pb::WatchModelsRequest::default()).await {
            Ok(_) => break,
            Err(status) => assert!(attempt < 100, "{status:?}"),
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
