//! The connection to a server.

use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;
use prost::Message;
use prost_reflect::MessageDescriptor;
use serde_json::Value;
use tonic::metadata::{Ascii, MetadataValue};
use tonic::service::Interceptor;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::{Certificate, ClientTlsConfig, Endpoint, Identity};
use tonic::{Code, Request, Status};

use super::Failure;
use crate::client::{bearer, is_loopback};
use crate::convert::descriptor;
use crate::convert::text::{self, Limits, Syntax};
use crate::server;

/// Which server.
#[derive(Clone, Debug, Args)]
pub(super) struct ServerArguments {
    /// Address of the server.
    #[arg(long, default_value = "http://127.0.0.1:50051", env = "WEIGHBRIDGE_SERVER")]
    pub(super) server: String,
    #[command(flatten)]
    pub(super) shown: ShownArguments,
}

/// What is shown to a server, and what it has to show.
#[derive(Clone, Debug, Args)]
pub(super) struct ShownArguments {
    /// Roots that the server's certificate is verified against, PEM. Those of Mozilla when not given.
    #[arg(long, value_name = "FILE", env = "WEIGHBRIDGE_CA_CERT", hide_short_help = true)]
    ca_cert: Option<PathBuf>,
    /// Certificate to show, PEM.
    #[arg(long, value_name = "FILE", requires = "client_key", env = "WEIGHBRIDGE_CLIENT_CERT", hide_short_help = true)]
    client_cert: Option<PathBuf>,
    /// Its private key, PEM.
    #[arg(long, value_name = "FILE", requires = "client_cert", env = "WEIGHBRIDGE_CLIENT_KEY", hide_short_help = true)]
    client_key: Option<PathBuf>,
    /// File with the token to show; WEIGHBRIDGE_TOKEN holds the token itself.
    #[arg(long, value_name = "FILE", env = "WEIGHBRIDGE_TOKEN_FILE", hide_short_help = true)]
    token_file: Option<PathBuf>,
}

/// A connection that shows a token, where there is one.
pub(super) type Channel = InterceptedService<tonic::transport::Channel, Token>;

/// What is shown with each call.
#[derive(Clone, Debug)]
pub(super) struct Token(Option<MetadataValue<Ascii>>);

impl Interceptor for Token {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        if let Some(token) = &self.0 {
            request.metadata_mut().insert("authorization", token.clone());
        }
        Ok(request)
    }
}

/// Largest file of a certificate, a key or a token.
const PEM_BYTES_MAX: usize = 1 << 20;

/// Largest answer that is taken: the report of a large import.
pub(super) const ANSWER_BYTES_MAX: usize = 64 << 20;

impl ServerArguments {
    /// Connects.
    pub(super) async fn connect(&self) -> Result<Channel, Failure> {
        let address = if self.server.contains("://") { self.server.clone() } else { format!("http://{}", self.server) };
        let endpoint = Endpoint::from_shared(address)
            .map_err(|e| Failure::usage(format!("`{}` is no address: {e}; write http://HOST:PORT", self.server)))?;
        let mut endpoint = endpoint.connect_timeout(Duration::from_secs(5)).tcp_nodelay(true);
        let token = self.shown.token()?;
        if endpoint.uri().scheme_str() == Some("https") {
            endpoint = endpoint.tls_config(self.shown.tls()?).map_err(|e| Failure::usage(root_cause(&e)))?;
        } else if self.shown.ca_cert.is_some() || self.shown.client_cert.is_some() {
            // Else whoever is on the way answers, and looks like a server that was verified.
            return Err(Failure::usage(format!("certificates need https: write `{}` with it", self.server)));
        } else if token.is_some() && !is_loopback(endpoint.uri().host()) {
            return Err(Failure::usage(format!(
                "a token is not sent in the clear: write `{}` with https",
                self.server
            )));
        }
        let channel = endpoint.connect().await.map_err(|e| {
            Failure::new(format!(
                "no server answers at `{}` ({}): start one with `weighbridge serve`, or name another with --server",
                self.server,
                root_cause(&e)
            ))
        })?;
        Ok(InterceptedService::new(channel, Token(token)))
    }
}

impl ShownArguments {
    fn tls(&self) -> Result<ClientTlsConfig, Failure> {
        let mut tls = match &self.ca_cert {
            Some(path) => {
                ClientTlsConfig::new().ca_certificate(Certificate::from_pem(read_bounded(path, PEM_BYTES_MAX)?))
            }
            None => ClientTlsConfig::new().with_webpki_roots(),
        };
        if let (Some(certificate), Some(key)) = (&self.client_cert, &self.client_key) {
            let (certificate, key) = (read_bounded(certificate, PEM_BYTES_MAX)?, read_bounded(key, PEM_BYTES_MAX)?);
            tls = tls.identity(Identity::from_pem(certificate, key));
        }
        Ok(tls)
    }

    fn token(&self) -> Result<Option<MetadataValue<Ascii>>, Failure> {
        let token = match &self.token_file {
            Some(path) => {
                let bytes = read_bounded(path, PEM_BYTES_MAX)?;
                Some(String::from_utf8(bytes).map_err(|_| Failure::usage(format!("`{}` is no text", path.display())))?)
            }
            None => std::env::var("WEIGHBRIDGE_TOKEN").ok().filter(|token| !token.is_empty()),
        };
        let Some(token) = token else { return Ok(None) };
        bearer(&token).map(Some).map_err(|e| Failure::usage(e.to_string()))
    }
}

fn root_cause(error: &dyn std::error::Error) -> String {
    let mut cause = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    cause.to_string()
}

/// What a status means for the command.
pub(super) fn failed(status: &Status) -> Failure {
    let code = match status.code() {
        Code::NotFound => 6,
        Code::InvalidArgument | Code::Unimplemented => 2,
        _ => 1,
    };
    let hint =
        if status.code() == Code::Unauthenticated { " (--token-file, WEIGHBRIDGE_TOKEN, --client-cert)" } else { "" };
    Failure { code, message: format!("{}{hint}", status.message()) }
}

/// Reads a file as a tree; its name says in which syntax.
pub(super) fn read_tree(path: &Path) -> Result<Value, Failure> {
    let shown = path.display();
    let Some(syntax) = Syntax::of_path(path) else {
        return Err(Failure::usage(format!("`{shown}`: the file name must end in .json, .yaml, .yml or .toml")));
    };
    let limits = Limits::default();
    let bytes = read_bounded(path, limits.max_bytes)?;
    text::parse(&bytes, syntax, &limits).map_err(|problems| {
        let lines: Vec<String> = problems.iter().map(|p| format!("{shown}: {p}")).collect();
        Failure::usage(lines.join("\n"))
    })
}

/// Reads a file of at most a size.
pub(super) fn read_bounded(path: &Path, bytes_max: usize) -> Result<Vec<u8>, Failure> {
    server::read_bounded(path, bytes_max).map_err(Failure::new)
}

/// Reads a tree as a message, with every problem at once.
pub(super) fn read_message<M: Message + Default>(shown: &str, tree: &Value, name: &str) -> Result<M, Failure> {
    text::read_as::<M>(tree, &message(name)?).map_err(|problems| {
        let lines: Vec<String> = problems.iter().map(|p| format!("{shown}: {p}")).collect();
        Failure::usage(lines.join("\n"))
    })
}

fn message(name: &str) -> Result<MessageDescriptor, Failure> {
    descriptor(name).ok_or_else(|| Failure::new(format!("no descriptor of {name}")))
}

/// Which records a list holds, and in which order.
#[derive(Clone, Debug, clap::Args)]
pub(super) struct ListArguments {
    /// Only those that meet a filter, for example `tier = OPEN_WEIGHT AND context_tokens >= 128k`; `weighbridge models
    /// fields` (`licenses`, `offerings`) lists the fields.
    #[arg(long, default_value = "", hide_default_value = true)]
    pub(super) filter: String,
    /// Fields to order by, for example `release_date desc, name`.
    #[arg(long, default_value = "", hide_default_value = true)]
    pub(super) order_by: String,
}
