//! TLS: certificates from files, which are read again when they change.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use arc_swap::ArcSwap;
use sha2::{Digest as _, Sha256};
use thiserror::Error;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::server::WebPkiClientVerifier;
use tokio_rustls::rustls::{RootCertStore, ServerConfig};

use super::files::read_bounded;

/// Largest file of certificates or of a key.
const PEM_BYTES_MAX: usize = 4 << 20;

/// Where the certificates are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsFiles {
    /// The server's certificate and those between it and the root, PEM.
    pub certificate: PathBuf,
    /// Its private key, PEM.
    pub key: PathBuf,
    /// Roots that clients' certificates are verified against, PEM.
    pub client_ca: Option<PathBuf>,
    /// Whether who has no certificate is not even let in to show a token.
    pub client_required: bool,
}

/// Everything that is wrong with the files, a line each.
#[derive(Debug, Error)]
#[error("{}", .0.join("\n"))]
pub struct TlsError(pub Vec<String>);

/// What connections are accepted with.
#[derive(Debug)]
pub struct Tls {
    files: TlsFiles,
    current: ArcSwap<Loaded>,
}

#[derive(Debug)]
struct Loaded {
    config: Arc<ServerConfig>,
    http: Arc<ServerConfig>,
    digest: [u8; 32],
}

impl Tls {
    /// Reads the files.
    ///
    /// # Errors
    /// All that is wrong with them.
    pub fn load(files: TlsFiles) -> Result<Tls, TlsError> {
        let current = ArcSwap::from_pointee(read(&files)?);
        Ok(Tls { files, current })
    }

    /// Reads the files again; `true`: they were others, and count for new connections.
    ///
    /// # Errors
    /// What is wrong with them; then those from before go on counting.
    pub fn reload(&self) -> Result<bool, TlsError> {
        let digest = digest(&self.files)?;
        if digest == self.current.load().digest {
            return Ok(false);
        }
        self.current.store(Arc::new(read(&self.files)?));
        Ok(true)
    }

    pub(super) fn config(&self) -> Arc<ServerConfig> {
        self.current.load().config.clone()
    }

    /// That of figures and probes: HTTP/1.1, and without a certificate for whoever has none, as probes do.
    pub(super) fn config_of_http(&self) -> Arc<ServerConfig> {
        self.current.load().http.clone()
    }
}

fn paths(files: &TlsFiles) -> impl Iterator<Item = &Path> {
    let TlsFiles { certificate, key, client_ca, client_required: _ } = files;
    [Some(certificate), Some(key), client_ca.as_ref()].into_iter().flatten().map(PathBuf::as_path)
}

fn digest(files: &TlsFiles) -> Result<[u8; 32], TlsError> {
    let mut hash = Sha256::new();
    for path in paths(files) {
        let bytes = read_bounded(path, PEM_BYTES_MAX).map_err(|problem| TlsError(vec![problem]))?;
        hash.update(u64::try_from(bytes.len()).unwrap_or(u64::MAX).to_be_bytes());
        hash.update(&bytes);
    }
    Ok(hash.finalize().into())
}

fn read(files: &TlsFiles) -> Result<Loaded, TlsError> {
    // Taken first: of files that change meanwhile it is that of the ones before, and they are read again.
    let digest = digest(files);
    let mut problems = Vec::new();
    let chain = certificates(&files.certificate).map_err(|problem| problems.push(problem)).unwrap_or_default();
    let key = key(&files.key).map_err(|problem| problems.push(problem)).ok();
    let mut roots = RootCertStore::empty();
    if let Some(path) = &files.client_ca {
        match certificates(path) {
            Ok(found) => {
                for certificate in found {
                    if let Err(error) = roots.add(certificate) {
                        problems.push(format!("`{}`: a certificate is no root: {error}", path.display()));
                    }
                }
            }
            Err(problem) => problems.push(problem),
        }
    }
    let Some(key) = key.filter(|_| problems.is_empty()) else { return Err(TlsError(problems)) };
    let digest = digest?;
    let made = |required, protocol: &[u8]| {
        let config = config(files, chain.clone(), key.clone_key(), roots.clone(), required).map(|mut config| {
            config.alpn_protocols = vec![protocol.to_vec()];
            Arc::new(config)
        });
        config.map_err(|problem| TlsError(vec![problem]))
    };
    Ok(Loaded { config: made(files.client_required, b"h2")?, http: made(false, b"http/1.1")?, digest })
}

fn config(
    files: &TlsFiles,
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
    roots: RootCertStore,
    required: bool,
) -> Result<ServerConfig, String> {
    // Named, since another crate of the program may have chosen another one for all.
    let provider = Arc::new(ring::default_provider());
    let builder = ServerConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?;
    let builder = if files.client_ca.is_some() {
        let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
        let verifier = if required { verifier } else { verifier.allow_unauthenticated() };
        builder.with_client_cert_verifier(verifier.build().map_err(|error| error.to_string())?)
    } else {
        builder.with_no_client_auth()
    };
    builder.with_single_cert(chain, key).map_err(|error| {
        format!("`{}` and `{}` do not fit together: {error}", files.certificate.display(), files.key.display())
    })
}

/// The certificates of a file.
///
/// # Errors
/// It cannot be read, or holds none.
pub fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let pem = read_bounded(path, PEM_BYTES_MAX)?;
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&pem).collect();
    match found {
        Ok(found) if found.is_empty() => Err(format!("`{}` holds no certificate in PEM form", path.display())),
        Ok(found) => Ok(found),
        Err(error) => Err(format!("`{}`: {error}", path.display())),
    }
}

/// The private key of a file.
///
/// # Errors
/// It cannot be read, or holds none.
pub fn key(path: &Path) -> Result<PrivateKeyDer<'static>, String> {
    let pem = read_bounded(path, PEM_BYTES_MAX)?;
    PrivateKeyDer::from_pem_slice(&pem).map_err(|error| format!("`{}` holds no private key: {error}", path.display()))
}
