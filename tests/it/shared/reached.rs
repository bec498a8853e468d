//! How a cluster is reached: TLS, users, and settings that do not fit together.

use std::path::Path;
use std::process::Output;
use std::time::{Duration, Instant};

use bytes::Bytes;
use etcd_client::{Certificate, Client, ConnectOptions, Identity, Permission, TlsOptions, UserAddOptions};
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair, SanType,
};
use weighbridge::pb::weighbridge::v1 as pb;
use weighbridge::pb::weighbridge::v1::model_service_client::ModelServiceClient;
use weighbridge::store::{Batch, EtcdOptions, EtcdStore, EtcdTls, Store as _, Write};

use crate::cli::weighbridge;
use crate::cluster::Cluster;
use crate::replicas::Process;

/// Who signs certificates.
struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, "authority");
        Self(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    fn pem(&self) -> Vec<u8> {
        self.0.pem().into_bytes()
    }

    /// A certificate and its key, for both ends: a member is also a client of itself.
    fn certificate(&self, name: &str) -> (Vec<u8>, Vec<u8>) {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, name);
        params.subject_alt_names = vec![SanType::IpAddress("127.0.0.1".parse().unwrap())];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        let key = KeyPair::generate().unwrap();
        (params.signed_by(&key, &self.0).unwrap().pem().into_bytes(), key.serialize_pem().into_bytes())
    }
}

fn written(folder: &Path, name: &str, bytes: &[u8]) -> String {
    let path = folder.join(name);
    std::fs::write(&path, bytes).unwrap();
    path.to_str().unwrap().to_owned()
}

/// What is said where it cannot be opened in a short time.
fn problem(options: &EtcdOptions) -> String {
    let options = EtcdOptions { start_within: Duration::from_secs(3), ..options.clone() };
    EtcdStore::open(&options).map(drop).unwrap_err().to_string()
}

/// What is said at once, though there is time to try again.
fn problem_at_once(options: &EtcdOptions) -> String {
    let options = EtcdOptions { start_within: Duration::from_secs(120), ..options.clone() };
    let begun = Instant::now();
    let said = EtcdStore::open(&options).map(drop).unwrap_err().to_string();
    assert!(begun.elapsed() < super::PATIENCE, "{:?}", begun.elapsed());
    said
}

async fn writes(store: &EtcdStore) {
    let write = Write { key: Bytes::from_static(b"a"), value: Some(Bytes::from_static(b"1")) };
    let revision = store.commit(Batch::of([write])).await.unwrap();
    assert_eq!(store.record_as_of(b"a", revision).await.unwrap().unwrap().value, "1");
}

#[tokio::test]
async fn members_and_replicas_know_each_other_by_certificates() {
    let folder = tempfile::tempdir().unwrap();
    let (authority, other) = (Authority::new(), Authority::new());
    let ca = written(folder.path(), "ca.pem", &authority.pem());
    let (certificate, key) = authority.certificate("member");
    let (certificate, key) =
        (written(folder.path(), "member.pem", &certificate), written(folder.path(), "member.key", &key));
    let arguments = [
        format!("--cert-file={certificate}"),
        format!("--key-file={key}"),
        "--client-cert-auth".into(),
        format!("--trusted-ca-file={ca}"),
    ];
    let cluster = Cluster::start_with(3, "https", &arguments);
    let with = |tls: EtcdTls| EtcdOptions { tls: Some(tls), ..EtcdOptions::new(cluster.endpoints(), "weighbridge") };
    let own = || Some(authority.certificate("replica"));
    let right = EtcdTls { ca: Some(authority.pem()), identity: own() };
    let store = EtcdStore::open(&with(right.clone())).unwrap();
    writes(&store).await;

    let unknown = problem(&with(EtcdTls { ca: Some(other.pem()), identity: own() }));
    let usual = problem(&with(EtcdTls { ca: None, identity: own() }));
    let nobody = problem(&with(EtcdTls { ca: Some(authority.pem()), identity: None }));
    let stranger = problem(&with(EtcdTls { ca: Some(authority.pem()), identity: Some(other.certificate("replica")) }));
    let no_pem = problem(&with(EtcdTls { ca: Some(b"no certificate".to_vec()), identity: own() }));
    let (certificate, _) = authority.certificate("replica");
    let torn = problem(&with(EtcdTls { ca: Some(authority.pem()), identity: Some((certificate, b"none".to_vec())) }));
    let plain = cluster.endpoints().iter().map(|endpoint| endpoint.replace("https", "http")).collect();
    let in_the_clear = problem(&EtcdOptions::new(plain, "weighbridge"));
    for said in [&unknown, &usual, &nobody, &stranger, &no_pem, &torn, &in_the_clear] {
        assert!(said.contains("127.0.0.1:"), "{said}");
    }
    for said in [&unknown, &usual, &nobody, &stranger, &torn] {
        assert!(said.to_lowercase().contains("certificate") || said.contains("key"), "{said}");
    }

    // By the command, too: it serves what it has written there.
    let ca = written(folder.path(), "trusted.pem", &authority.pem());
    let (certificate, key) = right.identity.unwrap();
    let (certificate, key) =
        (written(folder.path(), "replica.pem", &certificate), written(folder.path(), "replica.key", &key));
    drop(store);
    let files = ["--etcd-ca-cert", &ca, "--etcd-client-cert", &certificate, "--etcd-client-key", &key];
    serves(&cluster, &files).await;

    // With users of etcd the name in the certificate says who it is.
    let client = async |name: &str| {
        let (certificate, key) = authority.certificate(name);
        let tls = TlsOptions::new().ca_certificate(Certificate::from_pem(authority.pem()));
        let tls = tls.identity(Identity::from_pem(certificate, key));
        Client::connect(cluster.endpoints(), Some(ConnectOptions::new().with_tls(tls))).await.unwrap()
    };
    let mut auth = client("root").await.auth_client();
    auth.role_add("replica").await.unwrap();
    auth.role_grant_permission("replica", Permission::read_write("weighbridge/").with_prefix()).await.unwrap();
    for (user, role) in [("root", "root"), ("replica", "replica")] {
        auth.user_add(user, "", Some(UserAddOptions::new().with_no_pwd())).await.unwrap();
        auth.user_grant_role(user, role).await.unwrap();
    }
    auth.auth_enable().await.unwrap();
    serves(&cluster, &files).await;
    let unheard_of = EtcdTls { ca: Some(authority.pem()), identity: Some(authority.certificate("unheard-of")) };
    let said = problem_at_once(&with(unheard_of));
    assert!(said.contains("permission denied"), "{said}");
}

/// The command serves what is in a cluster, and writes there.
async fn serves(cluster: &Cluster, arguments: &[&str]) {
    let process = Process::start(&cluster.endpoints(), arguments).await;
    let channel = process.connect().await;
    let store = crate::service::status(channel.clone()).await.store.unwrap();
    assert_eq!(store.backend, "etcd");
    assert_eq!(store.path, format!("{}, below `weighbridge/`", cluster.endpoints().join(",")));
    let model = pb::CreateModelRequest {
        parent: "publishers/acme".into(),
        model_id: format!("at-{}", store.revision),
        model: Some(pb::Model::default()),
        ..Default::default()
    };
    let created = ModelServiceClient::new(channel).create_model(model).await.unwrap().into_inner();
    assert!(created.revision > store.revision, "{created:?}");
}

#[tokio::test]
async fn a_user_needs_a_password_and_a_role_for_the_prefix() {
    let cluster = Cluster::start(3);
    let admin = Client::connect(cluster.endpoints(), None).await.unwrap();
    let mut auth = admin.auth_client();
    for (user, password) in [("root", "r"), ("replica", "right"), ("reader", "right"), ("nobody", "right")] {
        auth.user_add(user, password, None).await.unwrap();
    }
    auth.role_add("root").await.unwrap();
    auth.user_grant_role("root", "root").await.unwrap();
    for (role, below) in
        [("replica", Permission::read_write("weighbridge/")), ("reader", Permission::read("weighbridge/"))]
    {
        auth.role_add(role).await.unwrap();
        auth.role_grant_permission(role, below.with_prefix()).await.unwrap();
        auth.user_grant_role(role, role).await.unwrap();
    }
    auth.auth_enable().await.unwrap();

    // By the command: the password is in a file.
    let folder = tempfile::tempdir().unwrap();
    let password = written(folder.path(), "password", b"right\n");
    serves(&cluster, &["--etcd-user", "replica", "--etcd-password-file", &password]).await;

    let with = |user: Option<(&str, &str)>, prefix: &str| EtcdOptions {
        user: user.map(|(name, password)| (name.to_owned(), password.to_owned())),
        ..EtcdOptions::new(cluster.endpoints(), prefix)
    };
    let store = EtcdStore::open(&with(Some(("replica", "right")), "weighbridge")).unwrap();
    writes(&store).await;
    let log = EtcdStore::open(&with(Some(("replica", "right")), "weighbridge").log("decisions")).unwrap();
    writes(&log).await;

    for (user, prefix, wanted) in [
        (Some(("replica", "wrong")), "weighbridge", "authentication failed"),
        (Some(("unheard-of", "right")), "weighbridge", "authentication failed"),
        (Some(("nobody", "right")), "weighbridge", "permission denied"),
        (Some(("reader", "right")), "weighbridge", "permission denied"),
        (Some(("replica", "right")), "another", "permission denied"),
        (None, "weighbridge", "user name is empty"),
    ] {
        let said = problem_at_once(&with(user, prefix));
        assert!(said.contains(wanted), "{user:?} below {prefix}: {said}");
    }
    // The right is taken away while it runs: what it writes is refused, and what it knows is answered.
    let root = ConnectOptions::new().with_user("root", "r");
    let root = Client::connect(cluster.endpoints(), Some(root)).await.unwrap();
    root.auth_client().user_revoke_role("replica", "replica").await.unwrap();
    let write = Write { key: Bytes::from_static(b"b"), value: Some(Bytes::new()) };
    let said = store.commit(Batch::of([write.clone()])).await.unwrap_err().to_string();
    assert!(said.contains("permission denied"), "{said}");
    root.auth_client().user_grant_role("replica", "replica").await.unwrap();
    let deadline = Instant::now() + super::PATIENCE;
    while let Err(error) = store.commit(Batch::of([write.clone()])).await {
        assert!(Instant::now() < deadline, "{error}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

fn serve(arguments: &[&str]) -> (Output, String) {
    let output = weighbridge().args(["serve", "--listen", "127.0.0.1:0"]).args(arguments).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success(), "{said}");
    (output, said)
}

/// One line of what is said has all the words.
fn says(said: &str, words: &[&str]) -> bool {
    said.lines().any(|line| words.iter().all(|word| line.contains(word)))
}

#[test]
fn settings_that_do_not_fit_together_are_told_all_at_once() {
    let (output, said) = serve(&["--store", "etcd"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(says(&said, &["--etcd-endpoints", "http://127.0.0.1:2379"]), "{said}");

    let (_, said) = serve(&["--etcd-endpoints", "http://127.0.0.1:1", "--etcd-user", "x"]);
    assert!(says(&said, &["--etcd-endpoints", "needs --store etcd"]), "{said}");
    assert!(says(&said, &["--etcd-user", "needs --store etcd"]), "{said}");

    let (output, said) = serve(&[
        "--store",
        "etcd",
        "--etcd-endpoints",
        "http://127.0.0.1:1,https://127.0.0.1:2,127.0.0.1:3,http://",
        "--etcd-client-cert",
        "none.pem",
        "--etcd-user",
        "me",
        "--etcd-prefix",
        "//",
        "--history-mib",
        "5",
        "--log",
        "a=b=c",
    ]);
    assert_eq!(output.status.code(), Some(2));
    for words in [
        &["all https:// or all http://"][..],
        &["`127.0.0.1:3`", "no URL"],
        &["`http://`", "not a host and a port"],
        &["--etcd-client-cert and --etcd-client-key"],
        &["--etcd-user and --etcd-password-file"],
        &["--etcd-prefix `//`"],
        &["--history-mib"],
        &["a=b=c"],
    ] {
        assert!(says(&said, words), "{words:?} is not in {said}");
    }
    // Files that are not there.
    let (output, said) = serve(&[
        "--store",
        "etcd",
        "--etcd-endpoints",
        "https://127.0.0.1:2",
        "--etcd-ca-cert",
        "/nowhere/ca.pem",
        "--etcd-client-cert",
        "/nowhere/own.pem",
        "--etcd-client-key",
        "/nowhere/own.key",
    ]);
    for file in ["/nowhere/ca.pem", "/nowhere/own.pem", "/nowhere/own.key"] {
        assert!(said.contains(file), "{file} is not in {said}");
    }
    assert_eq!(output.status.code(), Some(2), "{said}");
    // And files that hold something else.
    let folder = tempfile::tempdir().unwrap();
    let (certificate, key) = Authority::new().certificate("replica");
    let (certificate, key) = (written(folder.path(), "cert", &certificate), written(folder.path(), "key", &key));
    let (output, said) = serve(&[
        "--store",
        "etcd",
        "--etcd-endpoints",
        "https://127.0.0.1:2",
        "--etcd-ca-cert",
        &key,
        "--etcd-client-cert",
        &key,
        "--etcd-client-key",
        &certificate,
    ]);
    for words in [
        ["--etcd-ca-cert", "no certificate"],
        ["--etcd-client-cert", "no certificate"],
        ["--etcd-client-key", "no private key"],
    ] {
        assert!(says(&said, &words), "{words:?} is not in {said}");
    }
    assert_eq!(output.status.code(), Some(2), "{said}");
}

#[test]
fn a_cluster_that_does_not_answer_is_named() {
    let begun = Instant::now();
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}", nobody.local_addr().unwrap());
    drop(nobody);
    let (output, said) = serve(&["--store", "etcd", "--etcd-endpoints", &address]);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(says(&said, &["is waited for", &address]), "said before it gives up: {said}");
    assert!(says(&said, &["error", &address]), "{said}");
    assert!(begun.elapsed() < Duration::from_secs(45), "{:?}", begun.elapsed());
}
