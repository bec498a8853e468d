//! What of the command line is about a store in etcd.

#[cfg(feature = "etcd")]
use std::path::Path;
use std::path::PathBuf;
use std::sync::Arc;
#[cfg(feature = "etcd")]
use std::time::Duration;

use clap::Args;

#[cfg(feature = "etcd")]
use crate::server::{certificates, key, read_bounded};
#[cfg(feature = "etcd")]
use crate::store::{EtcdOptions, EtcdStore, EtcdTls};
use crate::store::{Revision, Store, StoreError, Take};

/// Largest file of a certificate, a key or a password.
#[cfg(feature = "etcd")]
const FILE_BYTES_MAX: usize = 1 << 20;
/// Where the decision log is below the prefix.
#[cfg(feature = "etcd")]
const DECISIONS: &str = "decisions";
/// What a build without the store says of it.
const NOT_BUILT: &str =
    "this build has no store in etcd: use the image, or build it with `--features etcd` (it needs protoc)";

#[derive(Debug, Args)]
#[command(next_help_heading = "etcd")]
pub(super) struct EtcdArguments {
    /// URLs of the cluster's client ports, with commas between them, for `--store etcd`.
    #[arg(long, value_name = "URL", value_delimiter = ',', env = "WEIGHBRIDGE_ETCD_ENDPOINTS")]
    etcd_endpoints: Vec<String>,
    /// What all keys begin with, in a cluster that others use as well.
    #[arg(long, default_value = "weighbridge", env = "WEIGHBRIDGE_ETCD_PREFIX")]
    etcd_prefix: String,
    /// Roots of the cluster's certificates, PEM; without it the usual authorities. With https:// endpoints.
    #[arg(long, value_name = "FILE", env = "WEIGHBRIDGE_ETCD_CA_CERT")]
    etcd_ca_cert: Option<PathBuf>,
    /// Certificate that is shown to the cluster, PEM.
    #[arg(long, value_name = "FILE", env = "WEIGHBRIDGE_ETCD_CLIENT_CERT")]
    etcd_client_cert: Option<PathBuf>,
    /// Private key of that certificate, PEM.
    #[arg(long, value_name = "FILE", env = "WEIGHBRIDGE_ETCD_CLIENT_KEY")]
    etcd_client_key: Option<PathBuf>,
    /// User of the cluster.
    #[arg(long, value_name = "NAME", env = "WEIGHBRIDGE_ETCD_USER")]
    etcd_user: Option<String>,
    /// File with the user's password; a line end behind it does not count.
    #[arg(long, value_name = "FILE", env = "WEIGHBRIDGE_ETCD_PASSWORD_FILE")]
    etcd_password_file: Option<PathBuf>,
    /// Nothing is answered from a catalog of which the cluster has not said for so many seconds that it is current.
    #[arg(long, value_name = "SECONDS", default_value_t = 10, value_parser = clap::value_parser!(u64).range(2..=86_400), env = "WEIGHBRIDGE_MAX_STALENESS_S")]
    max_staleness_s: u64,
}

impl EtcdArguments {
    /// The same with endpoints that stand elsewhere; `Err` where others are given here.
    pub(super) fn with_endpoints(self, etcd_endpoints: Vec<String>) -> Result<Self, String> {
        if !self.etcd_endpoints.is_empty() && self.etcd_endpoints != etcd_endpoints {
            return Err("--etcd-endpoints (WEIGHBRIDGE_ETCD_ENDPOINTS) names other members: leave it out".to_owned());
        }
        Ok(Self { etcd_endpoints, ..self })
    }

    /// Says what does not fit together; `wanted`: the store is in etcd.
    pub(super) fn problems(&self, wanted: bool) -> Vec<String> {
        let mut problems = Vec::new();
        let mut say = |problem: &str| problems.push(problem.to_owned());
        if !wanted {
            let given = [
                ("--etcd-endpoints", !self.etcd_endpoints.is_empty()),
                ("--etcd-ca-cert", self.etcd_ca_cert.is_some()),
                ("--etcd-client-cert", self.etcd_client_cert.is_some()),
                ("--etcd-client-key", self.etcd_client_key.is_some()),
                ("--etcd-user", self.etcd_user.is_some()),
                ("--etcd-password-file", self.etcd_password_file.is_some()),
            ];
            given.iter().filter(|(_, given)| *given).for_each(|(name, _)| say(&format!("{name} needs --store etcd")));
            return problems;
        }
        if !cfg!(feature = "etcd") {
            say(NOT_BUILT);
            return problems;
        }
        if self.etcd_endpoints.is_empty() {
            say("--store etcd needs --etcd-endpoints, for example http://127.0.0.1:2379");
        }
        let (mut open, mut tls) = (0, 0);
        for endpoint in &self.etcd_endpoints {
            let rest = if let Some(rest) = endpoint.strip_prefix("https://") {
                tls += 1;
                rest
            } else if let Some(rest) = endpoint.strip_prefix("http://") {
                open += 1;
                rest
            } else {
                say(&format!(
                    "`{endpoint}` is no URL of a member of etcd: write http://HOST:2379 or https://HOST:2379"
                ));
                continue;
            };
            if rest.contains('@') {
                say("URLs of members of etcd hold no user and no password: write --etcd-user and --etcd-password-file");
            } else if rest.is_empty() || rest.contains(|c: char| c.is_whitespace() || c == '/') {
                say(&format!("`{endpoint}` is not a host and a port: write http://HOST:2379"));
            }
        }
        if open > 0 && tls > 0 {
            say("URLs of members of etcd are all https:// or all http://");
        }
        if open > 0 && (self.etcd_ca_cert.is_some() || self.etcd_client_cert.is_some()) {
            say("--etcd-ca-cert and --etcd-client-cert need members of etcd with https://");
        }
        if self.etcd_client_cert.is_some() != self.etcd_client_key.is_some() {
            say("--etcd-client-cert and --etcd-client-key are given together");
        }
        if self.etcd_user.is_some() != self.etcd_password_file.is_some() {
            say("--etcd-user and --etcd-password-file are given together");
        }
        let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-' | '/');
        if self.etcd_prefix.trim_matches('/').is_empty() || !self.etcd_prefix.chars().all(fits) {
            say(&format!("--etcd-prefix `{}`: it has letters, digits, `.`, `_`, `-` and `/`", self.etcd_prefix));
        }
        #[cfg(feature = "etcd")]
        problems.extend(self.options().err().unwrap_or_default());
        problems
    }
}

/// A store, and the revision at which the records stand that it gave out while it was opened.
type Opened = (Arc<dyn Store>, Option<Revision>);

#[cfg(feature = "etcd")]
impl EtcdArguments {
    /// Opens the store of the registry; where there is none it is begun, or that is an error.
    pub(super) fn open(&self, take: Take, begins: bool) -> Result<Opened, StoreError> {
        let (store, revision) = EtcdStore::open_loading(&EtcdOptions { begins, ..self.read()? }, take)?;
        Ok((Arc::new(store), Some(revision)))
    }

    /// Opens that of the decision log.
    pub(super) fn open_log(&self) -> Result<Arc<dyn Store>, StoreError> {
        Ok(Arc::new(EtcdStore::open(&self.read()?.log(DECISIONS))?))
    }

    fn read(&self) -> Result<EtcdOptions, StoreError> {
        self.options().map_err(|problems| StoreError::Unavailable { reason: problems.join("; ") })
    }

    /// The options of the store, with the files that are named; every problem at once.
    fn options(&self) -> Result<EtcdOptions, Vec<String>> {
        let mut problems = Vec::new();
        let mut file = |path: &Option<PathBuf>, option: &str, check: fn(&Path) -> Result<(), String>| {
            let path = path.as_deref()?;
            let read = read_bounded(path, FILE_BYTES_MAX).and_then(|bytes| check(path).map(|()| bytes));
            read.map_err(|error| problems.push(format!("{option}: {error}"))).ok()
        };
        let certified: fn(&Path) -> Result<(), String> = |path| certificates(path).map(drop);
        let ca = file(&self.etcd_ca_cert, "--etcd-ca-cert", certified);
        let certificate = file(&self.etcd_client_cert, "--etcd-client-cert", certified);
        let key = file(&self.etcd_client_key, "--etcd-client-key", |path| key(path).map(drop));
        let password = file(&self.etcd_password_file, "--etcd-password-file", |_| Ok(()));
        if !problems.is_empty() {
            return Err(problems);
        }
        let endpoints = self.etcd_endpoints.clone();
        let is_tls = endpoints.iter().any(|endpoint| endpoint.starts_with("https://"));
        let password = password.map(|bytes| String::from_utf8_lossy(&bytes).trim_end_matches(['\r', '\n']).to_owned());
        Ok(EtcdOptions {
            tls: is_tls.then(|| EtcdTls { ca, identity: certificate.zip(key) }),
            user: self.etcd_user.clone().zip(password),
            max_staleness: Duration::from_secs(self.max_staleness_s),
            ..EtcdOptions::new(endpoints, self.etcd_prefix.trim_matches('/'))
        })
    }
}

#[cfg(not(feature = "etcd"))]
impl EtcdArguments {
    /// Not in this build, which [`EtcdArguments::problems`] has said.
    pub(super) fn open(&self, _take: Take, _begins: bool) -> Result<Opened, StoreError> {
        Err(StoreError::Unavailable { reason: NOT_BUILT.to_owned() })
    }

    /// The same.
    pub(super) fn open_log(&self) -> Result<Arc<dyn Store>, StoreError> {
        Err(StoreError::Unavailable { reason: NOT_BUILT.to_owned() })
    }
}
