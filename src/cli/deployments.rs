//! `weighbridge deployments`: what runs where, and what is judged of it.

use std::path::PathBuf;

use clap::Subcommand;
use serde_json::Value;
use tonic::Status;

use super::Failure;
use super::client::{Channel, ServerArguments, failed};
use super::named::{self, Collection, NamedCommand};
use super::output::{Output, Style, to_json};
use crate::pb::weighbridge::v1 as pb;
use crate::pb::weighbridge::v1::deployment_service_client::DeploymentServiceClient;

const DEPLOYMENT: &str = "weighbridge.v1.Deployment";

type Client = DeploymentServiceClient<Channel>;

/// What can be done with deployments.
#[derive(Debug, Subcommand)]
pub(super) enum DeploymentsCommand {
    /// List them by name, with their verdicts as they are now.
    List {
        /// Only those with this verdict: eligible, eligible-with-conditions, needs-review or ineligible; several are possible.
        #[arg(long = "verdict", value_name = "VERDICT")]
        verdicts: Vec<String>,
        /// Only those of an owner.
        #[arg(long, default_value = "", hide_default_value = true)]
        owner: String,
        /// Only those of an environment, for example production.
        #[arg(long, default_value = "", hide_default_value = true)]
        environment: String,
        #[command(flatten)]
        server: ServerArguments,
    },
    /// Show one, with its verdict as it is now.
    Get {
        /// Its id or resource name.
        name: String,
        #[command(flatten)]
        server: ServerArguments,
    },
    /// Register those of files (JSON, YAML or TOML, one a file, with its `name`): new ones are added, others replaced. Nothing
    /// is written if one of them is not valid.
    Apply {
        /// Files.
        #[arg(required = true)]
        files: Vec<PathBuf>,
        /// Check everything, but write nothing.
        #[arg(long)]
        dry_run: bool,
        #[command(flatten)]
        server: ServerArguments,
    },
    /// Delete one: it runs no more.
    Delete {
        /// Its id or resource name.
        name: String,
        /// Delete only if it still has this etag.
        #[arg(long)]
        etag: Option<String>,
        #[command(flatten)]
        server: ServerArguments,
    },
}

pub(super) async fn run(command: DeploymentsCommand, out: &Output) -> Result<u8, Failure> {
    let command = match command {
        DeploymentsCommand::List { verdicts, owner, environment, server } => {
            let verdicts = verdicts.iter().map(|word| verdict(word)).collect::<Result<Vec<_>, _>>()?;
            let request = pb::ListDeploymentsRequest {
                verdicts: verdicts.into_iter().map(Into::into).collect(),
                owner,
                environment,
                page_size: 1_000,
                page_token: String::new(),
            };
            return list(request, &server, out).await;
        }
        DeploymentsCommand::Get { name, server } => NamedCommand::Get { name, server },
        DeploymentsCommand::Apply { files, dry_run, server } => NamedCommand::Apply { files, dry_run, server },
        DeploymentsCommand::Delete { name, etag, server } => NamedCommand::Delete { name, etag, server },
    };
    named::run::<Client>(command, out).await
}

/// A verdict as people write it.
pub(super) fn verdict(word: &str) -> Result<pb::Verdict, Failure> {
    let long = format!("VERDICT_{}", word.to_ascii_uppercase().replace('-', "_").trim_start_matches("VERDICT_"));
    let known = pb::Verdict::from_str_name(&long).filter(|verdict| *verdict != pb::Verdict::Unspecified);
    let names = "eligible, eligible-with-conditions, needs-review or ineligible";
    known.ok_or_else(|| Failure::usage(format!("`{word}` is no verdict: write {names}")))
}

async fn list(mut request: pb::ListDeploymentsRequest, server: &ServerArguments, out: &Output) -> Result<u8, Failure> {
    let mut client = DeploymentServiceClient::new(server.connect().await?);
    let mut all = Vec::new();
    loop {
        let page = client.list_deployments(request.clone()).await.map_err(|s| failed(&s))?.into_inner();
        all.extend(page.deployments);
        if page.next_page_token.is_empty() {
            break;
        }
        request.page_token = page.next_page_token;
    }
    if out.is_json() {
        let all: Result<Vec<Value>, _> = all.iter().map(|deployment| to_json(DEPLOYMENT, deployment)).collect();
        return out.value(&Value::Array(all?)).map(|()| 0);
    }
    for deployment in &all {
        out.line(&Client::line(deployment))?;
    }
    out.line(&out.styled(Style::Dim, &format!("deployments: {}", all.len())))?;
    Ok(0)
}

impl Collection for Client {
    type Record = pb::Deployment;
    const COLLECTION: &'static str = "deployments";
    const MESSAGE: &'static str = DEPLOYMENT;

    fn open(channel: Channel) -> Self {
        Self::new(channel)
    }

    async fn get(&mut self, name: String) -> Result<pb::Deployment, Status> {
        Ok(self.get_deployment(pb::GetDeploymentRequest { name }).await?.into_inner())
    }

    async fn page(&mut self, page_token: String) -> Result<(Vec<pb::Deployment>, String), Status> {
        let request = pb::ListDeploymentsRequest { page_size: 1_000, page_token, ..Default::default() };
        let page = self.list_deployments(request).await?.into_inner();
        Ok((page.deployments, page.next_page_token))
    }

    async fn put(&mut self, record: pb::Deployment, validate_only: bool) -> Result<(), Status> {
        let deployment = Some(pb::Deployment { etag: String::new(), ..record });
        let request = pb::UpdateDeploymentRequest {
            deployment,
            update_mask: named::whole(),
            allow_missing: true,
            validate_only,
            ..Default::default()
        };
        self.update_deployment(request).await.map(drop)
    }

    async fn delete(&mut self, name: String, etag: String) -> Result<(), Status> {
        let request = pb::DeleteDeploymentRequest { name, etag, validate_only: false, ..Default::default() };
        self.delete_deployment(request).await.map(drop)
    }

    fn line(record: &pb::Deployment) -> String {
        let verdict = record.verdict().as_str_name().trim_start_matches("VERDICT_");
        let of = [&record.environment, &record.owner];
        let of: Vec<&str> = of.into_iter().filter(|text| !text.is_empty()).map(String::as_str).collect();
        format!("{:<40} {verdict:<24} {}  {}", record.name, record.model, of.join(", "))
    }
}
