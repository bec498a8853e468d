//! `weighbridge status`.

use clap::Args;

use super::Failure;
use super::client::{ServerArguments, failed};
use super::output::{Output, Style};
use crate::pb::weighbridge::v1 as pb;
use crate::pb::weighbridge::v1::admin_service_client::AdminServiceClient;

#[derive(Debug, Args)]
pub(super) struct StatusArguments {
    #[command(flatten)]
    server: ServerArguments,
}

/// Prints the status; exits with 1 when the store has a problem, so that it serves as a health check.
pub(super) async fn run(arguments: StatusArguments, out: &Output) -> Result<u8, Failure> {
    let mut client = AdminServiceClient::new(arguments.server.connect().await?);
    let status = client.get_status(pb::GetStatusRequest {}).await.map_err(|s| failed(&s))?.into_inner();
    let store = status.store.clone().unwrap_or_default();
    let code = u8::from(!store.problem.is_empty());
    if out.is_json() {
        return out.json("weighbridge.v1.GetStatusResponse", &status).map(|()| code);
    }
    out.line(&format!("weighbridge {}, catalog {}", status.version, status.catalog_version))?;
    out.line(&format!(
        "revision {}: {} models ({} aliases), {} licenses, {} providers, {} offerings ({} with a known model)",
        status.revision,
        status.models,
        status.aliases,
        status.licenses,
        status.providers,
        status.offerings,
        status.resolved_offerings
    ))?;
    let place = if store.path.is_empty() { String::new() } else { format!(" at {}", store.path) };
    let writes = if store.writable { "takes writes" } else { "takes no writes" };
    out.line(&format!(
        "store: {}{place}, revision {}, {} records, {} bytes on disk, {writes}",
        store.backend, store.revision, store.records, store.size_bytes
    ))?;
    if !store.problem.is_empty() {
        out.line(&out.styled(Style::Bad, &format!("problem: {}", store.problem)))?;
    }
    for credit in &status.attributions {
        out.line(&out.styled(Style::Dim, &format!("source: {credit}")))?;
    }
    Ok(code)
}
