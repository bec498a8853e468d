//! What of `serve` is about who may call: certificates, credentials, and what is told to strangers.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use clap::{Args, ValueEnum};
use sha2::{Digest as _, Sha256};

use super::Failure;
use crate::auth::{Authenticator, Credentials, JwtSettings, Keys};
use crate::server::{Access, Reach, Tls, TlsFiles, read_bounded};

/// How often files are looked at for changes.
const LOOK_EVERY: Duration = Duration::from_secs(5);
/// Largest file of credentials or keys.
const FILE_BYTES_MAX: usize = 4 << 20;

#[derive(Debug, Args)]
#[command(next_help_heading = "Security")]
pub(super) struct SecurityArguments {
    /// Certificate of the server with those between it and the root, PEM. It is read again when it changes, as the files below.
    #[arg(long, value_name = "FILE", env = "WEIGHBRIDGE_TLS_CERT")]
    tls_cert: Option<PathBuf>,
    /// Private key of the certificate, PEM.
    #[arg(long, value_name = "FILE", env = "WEIGHBRIDGE_TLS_KEY")]
    tls_key: Option<PathBuf>,
    /// Roots of clients' certificates, PEM.
    #[arg(long, value_name = "FILE", env = "WEIGHBRIDGE_TLS_CLIENT_CA")]
    tls_client_ca: Option<PathBuf>,
    /// Let in no connection without a client's certificate, not even to show a token or to ask for the health.
    #[arg(long, env = "WEIGHBRIDGE_TLS_CLIENT_REQUIRED")]
    tls_client_required: bool,
    /// Tokens and names of certificates with their roles, TOML: see `weighbridge credentials new`.
    #[arg(long, value_name = "FILE", env = "WEIGHBRIDGE_CREDENTIALS")]
    credentials: Option<PathBuf>,
    /// Public keys of an issuer of JSON Web Tokens (JWKS).
    #[arg(long, value_name = "FILE", env = "WEIGHBRIDGE_JWT_KEYS")]
    jwt_keys: Option<PathBuf>,
    /// What `iss` of such a token has to be.
    #[arg(long, value_name = "ISSUER", env = "WEIGHBRIDGE_JWT_ISSUER")]
    jwt_issuer: Option<String>,
    /// What `aud` of such a token has to hold.
    #[arg(long, value_name = "AUDIENCE", env = "WEIGHBRIDGE_JWT_AUDIENCE")]
    jwt_audience: Option<String>,
    /// Claim with the role, or a list of them: reader, editor, policy-admin, admin.
    #[arg(long, value_name = "CLAIM", default_value = "weighbridge_role", env = "WEIGHBRIDGE_JWT_ROLE_CLAIM")]
    jwt_role_claim: String,
    /// Listen beyond loopback without TLS and credentials: anyone who reaches the port can read and write.
    #[arg(long, env = "WEIGHBRIDGE_INSECURE")]
    insecure: bool,
    /// Who reaches the health service.
    #[arg(long, value_enum, default_value_t = ReachArgument::Open, env = "WEIGHBRIDGE_HEALTH")]
    health: ReachArgument,
    /// Who reaches reflection. Without credentials everybody does, unless it is off.
    #[arg(long, value_enum, default_value_t = ReachArgument::Authenticated, env = "WEIGHBRIDGE_REFLECTION")]
    reflection: ReachArgument,
}

/// Who reaches a service.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum ReachArgument {
    /// Everybody.
    Open,
    /// Whoever has a role.
    Authenticated,
    /// Nobody.
    Off,
}

impl From<ReachArgument> for Reach {
    fn from(argument: ReachArgument) -> Self {
        match argument {
            ReachArgument::Open => Reach::Open,
            ReachArgument::Authenticated => Reach::Authenticated,
            ReachArgument::Off => Reach::Off,
        }
    }
}

/// What is asked of connections and callers.
#[derive(Clone, Debug)]
pub(super) struct Security {
    pub(super) access: Arc<Access>,
    pub(super) tls: Option<Arc<Tls>>,
    pub(super) insecure: bool,
    /// With the digest of what counts.
    credentials: Option<(PathBuf, [u8; 32])>,
    jwt: Option<(PathBuf, JwtSettings, [u8; 32])>,
}

impl SecurityArguments {
    /// What does not fit together, in words; the files are not read.
    pub(super) fn conflicts(&self, addresses: &[SocketAddr]) -> Vec<String> {
        let mut problems = Vec::new();
        if self.tls_cert.is_some() != self.tls_key.is_some() {
            problems.push("--tls-cert and --tls-key are given together".to_owned());
        }
        if self.tls_client_ca.is_some() && self.tls_cert.is_none() {
            problems.push("--tls-client-ca needs --tls-cert and --tls-key: certificates are shown over TLS".to_owned());
        }
        if self.tls_client_required && self.tls_client_ca.is_none() {
            problems.push("--tls-client-required needs --tls-client-ca".to_owned());
        }
        let issuer = self.jwt_issuer.as_deref().is_some_and(|issuer| !issuer.is_empty());
        let audience = self.jwt_audience.as_deref().is_some_and(|audience| !audience.is_empty());
        if self.jwt_keys.is_some() && !(issuer && audience) {
            let text =
                "--jwt-keys needs --jwt-issuer and --jwt-audience: else tokens that were made for others would count";
            problems.push(text.to_owned());
        }
        if self.jwt_keys.is_none() && (self.jwt_issuer.is_some() || self.jwt_audience.is_some()) {
            problems.push("--jwt-issuer and --jwt-audience need --jwt-keys".to_owned());
        }
        if self.tls_client_ca.is_some() && self.credentials.is_none() {
            problems
                .push("--tls-client-ca needs --credentials, which says whose certificate has which role".to_owned());
        }
        let asks = self.credentials.is_some() || self.jwt_keys.is_some() && issuer && audience;
        let is_safe = self.tls_cert.is_some() && self.tls_key.is_some() && asks;
        for address in addresses.iter().filter(|address| !address.ip().is_loopback()) {
            if !is_safe && !self.insecure {
                problems.push(format!(
                    "`{address}` can be reached from elsewhere: give TLS (--tls-cert, --tls-key) and credentials (--credentials \
                     or --jwt-keys), or listen on 127.0.0.1, or add --insecure to let everybody in"
                ));
            }
        }
        problems
    }

    fn asks(&self) -> bool {
        self.credentials.is_some() || self.jwt_keys.is_some()
    }

    /// Reads all files.
    pub(super) fn load(&self, addresses: &[SocketAddr]) -> Result<Security, Failure> {
        let mut problems = self.conflicts(addresses);
        let jwt = match (&self.jwt_keys, &self.jwt_issuer, &self.jwt_audience) {
            (Some(keys), Some(issuer), Some(audience)) => {
                let role_claim = self.jwt_role_claim.clone();
                Some((keys.clone(), JwtSettings { issuer: issuer.clone(), audience: audience.clone(), role_claim }))
            }
            _ => None,
        };
        let authenticator = Authenticator::default();
        let (mut credentials, mut keys) = (None, None);
        if let Some(path) = &self.credentials {
            match read(path).and_then(|(text, digest)| Ok((parse_credentials(path, &text)?, digest))) {
                Ok((found, digest)) => {
                    authenticator.set_credentials(found);
                    credentials = Some((path.clone(), digest));
                }
                Err(problem) => problems.push(problem),
            }
        }
        if let Some((path, settings)) = jwt {
            match read(&path).and_then(|(text, digest)| Ok((parse_keys(&path, &text, &settings)?, digest))) {
                Ok((found, digest)) => {
                    authenticator.set_keys(found);
                    keys = Some((path, settings, digest));
                }
                Err(problem) => problems.push(problem),
            }
        }
        let mut tls = None;
        if let (Some(certificate), Some(key)) = (&self.tls_cert, &self.tls_key) {
            let files = TlsFiles {
                certificate: certificate.clone(),
                key: key.clone(),
                client_ca: self.tls_client_ca.clone(),
                client_required: self.tls_client_required,
            };
            match Tls::load(files) {
                Ok(loaded) => tls = Some(Arc::new(loaded)),
                Err(error) => problems.extend(error.0),
            }
        }
        if !problems.is_empty() {
            return Err(Failure::usage(problems.join("\n")));
        }
        let access = Access {
            authenticator,
            required: self.asks(),
            health: self.health.into(),
            reflection: self.reflection.into(),
        };
        let is_exposed = addresses.iter().any(|address| !address.ip().is_loopback());
        let insecure = is_exposed && !(tls.is_some() && self.asks());
        Ok(Security { access: Arc::new(access), tls, insecure, credentials, jwt: keys })
    }
}

impl Security {
    /// Looks at the files again and again. What has changed and is right counts from then on; what is wrong is said, once, and
    /// what was right before goes on counting.
    pub(super) async fn watch(mut self) {
        let mut ticks = tokio::time::interval(LOOK_EVERY);
        let mut said = None;
        loop {
            ticks.tick().await;
            // A file system that hangs holds up no other task.
            let looking = tokio::task::spawn_blocking(move || {
                let problems = self.look();
                (self, problems)
            });
            let Ok((security, problems)) = looking.await else {
                tracing::error!("files of credentials and certificates are no longer looked at: restart the server");
                return;
            };
            self = security;
            let problems = (!problems.is_empty()).then(|| problems.join("; "));
            if problems != said {
                if let Some(problems) = &problems {
                    let text = "files of credentials or certificates are wrong, those from before still count";
                    tracing::error!(problems, "{text}");
                }
                said = problems;
            }
        }
    }

    fn look(&mut self) -> Vec<String> {
        let mut problems = Vec::new();
        let authenticator = &self.access.authenticator;
        if let Some((path, counts)) = &mut self.credentials {
            let parse = |text: &str| parse_credentials(path, text);
            if let Some(found) = changed(path, counts, parse, &mut problems) {
                authenticator.set_credentials(found);
                tracing::info!(path = %path.display(), "new credentials count from now on");
            }
        }
        if let Some((path, settings, counts)) = &mut self.jwt {
            let parse = |text: &str| parse_keys(path, text, settings);
            if let Some(found) = changed(path, counts, parse, &mut problems) {
                authenticator.set_keys(found);
                tracing::info!(path = %path.display(), "new keys for tokens count from now on");
            }
        }
        match self.tls.as_ref().map(|tls| tls.reload()) {
            Some(Ok(true)) => tracing::info!("new certificates count for new connections"),
            Some(Err(error)) => problems.extend(error.0),
            Some(Ok(false)) | None => {}
        }
        problems
    }
}

/// What a file holds, where that is right and not what counts already.
fn changed<T>(
    path: &Path,
    counts: &mut [u8; 32],
    parse: impl FnOnce(&str) -> Result<T, String>,
    problems: &mut Vec<String>,
) -> Option<T> {
    let found = read(path).and_then(|(text, digest)| {
        if digest == *counts {
            return Ok(None);
        }
        let found = parse(&text)?;
        *counts = digest;
        Ok(Some(found))
    });
    found.unwrap_or_else(|problem| {
        problems.push(problem);
        None
    })
}

fn parse_credentials(path: &Path, text: &str) -> Result<Credentials, String> {
    Credentials::parse(text).map_err(|error| on_lines(path, &error.0))
}

fn parse_keys(path: &Path, text: &str, settings: &JwtSettings) -> Result<Keys, String> {
    Keys::parse(text, settings.clone()).map_err(|error| on_lines(path, &error.0))
}

fn read(path: &Path) -> Result<(String, [u8; 32]), String> {
    let bytes = read_bounded(path, FILE_BYTES_MAX)?;
    let digest = Sha256::digest(&bytes).into();
    let text = String::from_utf8(bytes).map_err(|_| format!("`{}` is no text", path.display()))?;
    Ok((text, digest))
}

/// Each problem with the file that it is in.
pub(super) fn on_lines(path: &Path, problems: &[String]) -> String {
    let lines: Vec<String> = problems.iter().map(|problem| format!("{}: {problem}", path.display())).collect();
    lines.join("\n")
}
