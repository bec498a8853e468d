//! The connection to a server.

use std::path::Path;
use std::time::Duration;

use clap::Args;
use prost::Message;
use prost_reflect::MessageDescriptor;
use serde_json::Value;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Status};

use super::Failure;
use crate::convert::descriptor;
use crate::convert::text::{self, Limits, Syntax};

/// Which server.
#[derive(Clone, Debug, Args)]
pub(super) struct ServerArguments {
    /// Address of the server.
    #[arg(long, default_value = "http://127.0.0.1:50051", env = "WEIGHBRIDGE_SERVER")]
    pub(super) server: String,
}

/// Largest answer that is taken: the report of a large import.
pub(super) const ANSWER_BYTES_MAX: usize = 64 << 20;

impl ServerArguments {
    /// Connects.
    pub(super) async fn connect(&self) -> Result<Channel, Failure> {
        let address = if self.server.contains("://") { self.server.clone() } else { format!("http://{}", self.server) };
        let endpoint = Endpoint::from_shared(address)
            .map_err(|e| Failure::usage(format!("`{}` is no address: {e}; write http://HOST:PORT", self.server)))?;
        let endpoint = endpoint.connect_timeout(Duration::from_secs(5)).tcp_nodelay(true);
        endpoint.connect().await.map_err(|e| {
            Failure::new(format!(
                "no server answers at `{}` ({}): start one with `weighbridge serve`, or name another with --server",
                self.server,
                root_cause(&e)
            ))
        })
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
    Failure { code, message: status.message().to_owned() }
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
    use std::io::Read as _;
    let shown = path.display();
    let failed = |e: std::io::Error| Failure::new(format!("`{shown}` could not be read: {e}"));
    let file = std::fs::File::open(path).map_err(failed)?;
    let mut bytes = Vec::new();
    let limit = u64::try_from(bytes_max).unwrap_or(u64::MAX).saturating_add(1);
    file.take(limit).read_to_end(&mut bytes).map_err(failed)?;
    if bytes.len() > bytes_max {
        return Err(Failure::new(format!("`{shown}` has more than {bytes_max} bytes, the most that is read")));
    }
    Ok(bytes)
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
