//! Settings of `serve` from options, environment and a file; and figures and probes over HTTP.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::Output;
use std::sync::Arc;
use std::time::Duration;

use tonic::Code;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;
use tonic_types::StatusExt as _;
use weighbridge::auth::{Credentials, digest_of};
use weighbridge::pb::weighbridge::v1 as pb;
use weighbridge::pb::weighbridge::v1::admin_service_client::AdminServiceClient;
use weighbridge::server::{self, Access, Loading, Probes, ServerOptions};

use crate::cli::weighbridge;
use crate::harness::{TestServer, reason};

fn written(folder: &Path, text: &str) -> String {
    let path = folder.join("settings.toml");
    std::fs::write(&path, text).unwrap();
    path.to_str().unwrap().to_owned()
}

fn run(arguments: &[&str], environment: &[(&str, &str)]) -> Output {
    weighbridge().args(arguments).envs(environment.iter().copied()).output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn an_option_counts_before_the_environment_and_that_before_the_file() {
    let folder = tempfile::tempdir().unwrap();
    let file = written(
        folder.path(),
        "workers = 2\ndrain-s = 7\nmax_requests = 9\ndecision_log_strict = true\n[history]\ndays = 30\n",
    );
    let printed = |arguments: &[&str], environment: &[(&str, &str)]| {
        let output = run(&[&["config", "print", "--config", &file], arguments].concat(), environment);
        assert!(output.status.success(), "{output:?}");
        text(&output.stdout)
    };
    let by_file = printed(&[], &[]);
    for line in [
        "workers = \"2\"",
        "drain-s = \"7\"",
        "max-requests = \"9\"",
        "decision-log-strict = \"true\"",
        "history-days = \"30\"",
        "store = \"sled\"  # default",
        "tls-cert = (not set)",
    ] {
        assert!(by_file.contains(line), "{line} is not in {by_file}");
    }
    let environment =
        [("WEIGHBRIDGE_WORKERS", "3"), ("WEIGHBRIDGE_DRAIN_S", "8"), ("WEIGHBRIDGE_DECISION_LOG_STRICT", "false")];
    let all = printed(&["--drain-s", "9"], &environment);
    for line in
        ["workers = \"3\"  # WEIGHBRIDGE_WORKERS", "drain-s = \"9\"  # --drain-s", "decision-log-strict = \"false\""]
    {
        assert!(all.contains(line), "{line} is not in {all}");
    }
    let headers =
        [("WEIGHBRIDGE_OTLP_HEADERS", "api-key=wb-secret"), ("WEIGHBRIDGE_OTLP_ENDPOINT", "http://localhost:1")];
    let secret = printed(&[], &headers);
    assert!(secret.contains("otlp-headers = \"***\"  # WEIGHBRIDGE_OTLP_HEADERS"), "{secret}");
    assert!(!secret.contains("wb-secret"));
    let named = run(&["config", "print"], &[("WEIGHBRIDGE_CONFIG", &file)]);
    assert!(text(&named.stdout).contains("workers = \"2\""), "{named:?}");
}

#[test]
fn everything_that_is_wrong_with_settings_is_said_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let file = written(folder.path(), "max-request = 5\nworkers = \"many\"\n[history]\ndays = 0\n");
    let output = run(&["config", "check", "--config", &file], &[("WEIGHBRIDGE_DRAIN_S", "soon")]);
    assert_eq!(output.status.code(), Some(2));
    let told = text(&output.stderr);
    for part in
        ["did you mean `max-requests`", "workers", "history-days", "WEIGHBRIDGE_DRAIN_S", "0 is not in 1..=36500"]
    {
        assert!(told.contains(part), "{part} is not in {told}");
    }
    let file = written(folder.path(), "listen = \"0.0.0.0:1\"\ntls-cert = \"x.pem\"\njwt-keys = \"keys.json\"\n");
    let output = run(&["config", "check", "--config", &file], &[]);
    assert_eq!(output.status.code(), Some(2));
    let told = text(&output.stderr);
    for part in ["--tls-cert and --tls-key", "--jwt-issuer and --jwt-audience", "can be reached from elsewhere"] {
        assert!(told.contains(part), "{part} is not in {told}");
    }
    let output = run(&["config", "check", "--config", "nowhere.toml"], &[]);
    assert_eq!(output.status.code(), Some(2), "{output:?}");
    let fine = run(&["config", "check", "--workers", "2"], &[]);
    assert!(fine.status.success(), "{fine:?}");
}

#[test]
fn beyond_loopback_it_starts_only_with_tls_and_credentials() {
    let folder = tempfile::tempdir().unwrap();
    let credentials = folder.path().join("credentials.toml");
    let entry = format!("[[tokens]]\nname = \"a\"\nrole = \"reader\"\nsha256 = \"{}\"\n", digest_of("wb_a"));
    std::fs::write(&credentials, entry).unwrap();
    let serve = |more: &[&str]| {
        let data = folder.path().join("data");
        let base = ["serve", "--store", "memory", "--data-dir", data.to_str().unwrap()];
        run(&[&base[..], more].concat(), &[])
    };
    let known = ["--credentials", credentials.to_str().unwrap()];
    for more in [
        vec!["--listen", "0.0.0.0:0"],
        vec!["--listen", "[::]:0"],
        [&["--listen", "0.0.0.0:0"][..], &known].concat(),
        vec!["--metrics-listen", "0.0.0.0:0"],
    ] {
        let output = serve(&more);
        assert_eq!(output.status.code(), Some(2), "{more:?}: {output:?}");
        assert!(text(&output.stderr).contains("can be reached from elsewhere"), "{output:?}");
        assert!(!folder.path().join("data").exists(), "nothing is made before");
    }
}

pub fn get(address: SocketAddr, path: &str, more: &str) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    write!(stream, "GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{more}\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

#[tokio::test(flavor = "multi_thread")]
async fn figures_and_probes_are_answered_over_http() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let access = Access { required: true, ..Access::default() };
    let entry = format!("[[tokens]]\nname = \"a\"\nrole = \"reader\"\nsha256 = \"{}\"\n", digest_of("wb_a"));
    access.authenticator.set_credentials(Credentials::parse(&entry).unwrap());
    let access = Arc::new(access);
    let probes = Probes::start(listener, access.clone(), None).unwrap();
    // It is there before the server is.
    assert!(get(address, "/livez", "").starts_with("HTTP/1.1 200"));
    assert!(get(address, "/readyz", "").starts_with("HTTP/1.1 503"));
    let options = ServerOptions { probes: Some(probes), access, ..ServerOptions::default() };
    let server = TestServer::with_options(options);
    // Refused, and counted as such.
    let mut status = AdminServiceClient::new(server.connect().await);
    status.get_status(pb::GetStatusRequest::default()).await.unwrap_err();
    let mut known = tonic::Request::new(pb::GetStatusRequest::default());
    known.metadata_mut().insert("authorization", "Bearer wb_a".parse().unwrap());
    status.get_status(known).await.unwrap();
    assert!(get(address, "/livez", "").starts_with("HTTP/1.1 200"));
    assert!(get(address, "/readyz", "").starts_with("HTTP/1.1 200"));
    assert!(get(address, "/else", "").starts_with("HTTP/1.1 404"));
    assert!(get(address, "/metrics", "").starts_with("HTTP/1.1 401"));
    let figures = get(address, "/metrics", "Authorization: Bearer wb_a\r\n");
    for line in [
        "HTTP/1.1 200",
        "application/openmetrics-text",
        "weighbridge_calls_refused_total{code=\"UNAUTHENTICATED\"} 1",
        "weighbridge_authentication_required 1",
        "weighbridge_insecure 0",
        "weighbridge_models ",
        "weighbridge_decisions_total{verdict=\"NEEDS_REVIEW\"} 0",
        "weighbridge_decision_findings_total{reason=\"SCALE_GATE_EXCEEDED\"} 0",
        "weighbridge_store_flush_seconds_count ",
        "weighbridge_watch_lag_revisions 0",
        "# EOF",
    ] {
        assert!(figures.contains(line), "{line} is not in {figures}");
    }
    // The dashboard shows nothing that is not there.
    let dashboard = include_str!("../../deploy/grafana-dashboard.json");
    let names: std::collections::BTreeSet<&str> = dashboard
        .match_indices("weighbridge_")
        .filter_map(|(at, _)| dashboard[at..].split(|c: char| !c.is_ascii_alphanumeric() && c != '_').next())
        .collect();
    assert!(names.len() > 15, "{names:?}");
    for name in names {
        // Families without an entry yet have no lines but these.
        let family = name.trim_end_matches("_bucket").trim_end_matches("_total");
        assert!(figures.contains(&format!("# TYPE {family} ")), "the dashboard asks for {name}");
    }
    server.stop().unwrap();
    assert!(get(address, "/readyz", "").starts_with("HTTP/1.1 503"));
}

#[tokio::test(flavor = "multi_thread")]
async fn who_comes_while_the_catalog_is_loaded_is_told_so() {
    let access = Access { required: true, ..Access::default() };
    let entry = format!("[[tokens]]\nname = \"a\"\nrole = \"reader\"\nsha256 = \"{}\"\n", digest_of("wb_a"));
    access.authenticator.set_credentials(Credentials::parse(&entry).unwrap());
    let options = ServerOptions { access: Arc::new(access), ..ServerOptions::default() };
    let listeners = server::bind("127.0.0.1:0".parse().unwrap(), 2).unwrap();
    let address = format!("http://{}", listeners[0].local_addr().unwrap());
    let loading = Loading::start(&listeners, &options).unwrap();
    let connect =
        || async { tonic::transport::Endpoint::from_shared(address.clone()).unwrap().connect().await.unwrap() };
    let channel = connect().await;
    let health = |channel| async {
        let mut client = HealthClient::new(channel);
        let service = "weighbridge.v1.EligibilityService".to_owned();
        client.check(HealthCheckRequest { service }).await.unwrap().into_inner().status()
    };
    assert_eq!(health(channel.clone()).await, ServingStatus::NotServing);
    let mut status = AdminServiceClient::new(channel.clone());
    let stranger = status.get_status(pb::GetStatusRequest::default()).await.unwrap_err();
    assert_eq!(stranger.code(), Code::Unauthenticated);
    let known = || {
        let mut known = tonic::Request::new(pb::GetStatusRequest::default());
        known.metadata_mut().insert("authorization", "Bearer wb_a".parse().unwrap());
        known
    };
    let early = status.get_status(known()).await.unwrap_err();
    assert_eq!((early.code(), reason(&early).as_str()), (Code::Unavailable, "CATALOG_LOADING"));
    assert!(early.get_details_retry_info().is_some());
    assert!(early.metadata().contains_key("weighbridge-call-id"));

    let ending = tokio::task::spawn_blocking(move || loading.end());
    tokio::time::timeout(Duration::from_secs(20), ending).await.unwrap().unwrap();
    let server = TestServer::with_listeners(listeners, options);
    assert_eq!(health(server.connect().await).await, ServingStatus::Serving);
    // The one from before comes again by itself.
    let again = async {
        while status.get_status(known()).await.is_err() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), again).await.unwrap();
    drop(channel);
    server.stop().unwrap();
}

#[test]
fn headers_for_traces_go_nowhere_else_and_never_in_the_clear() {
    let environment = [
        ("WEIGHBRIDGE_OTLP_ENDPOINT", "http://collector.example:4317"),
        ("WEIGHBRIDGE_OTLP_HEADERS", "api-key=wb-secret"),
        ("OTEL_EXPORTER_OTLP_HEADERS", "other=wb-secret"),
    ];
    let output = run(&["config", "check", "--log", "nonsense=nonsense"], &environment);
    assert_eq!(output.status.code(), Some(2), "{output:?}");
    let told = text(&output.stderr);
    for part in ["are not sent in the clear", "OTEL_EXPORTER_OTLP_HEADERS is set", "is no log filter"] {
        assert!(told.contains(part), "{part} is not in {told}");
    }
    assert!(!told.contains("wb-secret"), "{told}");
    let output = run(&["config", "check"], &[("WEIGHBRIDGE_OTLP_HEADERS", "api-key=wb-secret")]);
    assert!(text(&output.stderr).contains("need --otlp-endpoint"), "{output:?}");
}

#[test]
fn certificates_are_not_taken_in_vain() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("ca.pem");
    std::fs::write(&file, "").unwrap();
    let file = file.to_str().unwrap();
    let output = run(&["check", "acme/one", "--server", "127.0.0.1:1", "--ca-cert", file], &[]);
    assert_eq!(output.status.code(), Some(2), "{output:?}");
    assert!(text(&output.stderr).contains("certificates need https"), "{output:?}");
}

#[test]
fn where_to_restore_to_is_not_for_the_environment_to_say() {
    let folder = tempfile::tempdir().unwrap();
    let backup = folder.path().join("backup");
    std::fs::write(&backup, "no backup").unwrap();
    let data = folder.path().join("data");
    let environment = [("WEIGHBRIDGE_SERVER", "http://127.0.0.1:1"), ("WEIGHBRIDGE_DATA_DIR", data.to_str().unwrap())];
    let output = run(&["restore", backup.to_str().unwrap()], &environment);
    assert_eq!(output.status.code(), Some(2), "{output:?}");
    assert!(text(&output.stderr).contains("say --server ADDRESS"), "{output:?}");
    assert!(!data.exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn one_address_does_not_take_all_places_of_the_probes() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let _probes = Probes::start(listener, Arc::default(), None).unwrap();
    let silent = || {
        let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
        socket.bind(&SocketAddr::from(([127, 0, 0, 2], 0)).into()).unwrap();
        socket.connect(&address.into()).unwrap();
        TcpStream::from(socket)
    };
    let held: Vec<TcpStream> = (0..32).map(|_| silent()).collect();
    // Closed at once.
    let mut beyond = silent();
    beyond.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    match beyond.read(&mut [0; 1]) {
        Ok(0) => {}
        Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => {}
        other => panic!("{other:?}"),
    }
    assert!(get(address, "/livez", "").starts_with("HTTP/1.1 200"));
    drop(held);
}
