//! `weighbridge decisions`.

use clap::Subcommand;

use super::Failure;
use super::client::{ServerArguments, failed};
use super::output::Output;
use crate::pb::weighbridge::v1 as pb;
use crate::pb::weighbridge::v1::eligibility_service_client::EligibilityServiceClient;

/// Look at the decision log.
#[derive(Debug, Subcommand)]
pub(super) enum DecisionsCommand {
    /// List decisions, newest first.
    List {
        /// Only those on a model, by its resource name.
        #[arg(long, default_value = "", hide_default_value = true)]
        model: String,
        /// At most this many.
        #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(i32).range(1..=1_000))]
        limit: i32,
        #[command(flatten)]
        server: ServerArguments,
    },
    /// Show a decision, with the facts that were judged.
    Get {
        /// Its id or resource name.
        name: String,
        #[command(flatten)]
        server: ServerArguments,
    },
}

pub(super) async fn run(command: DecisionsCommand, out: &Output) -> Result<u8, Failure> {
    match command {
        DecisionsCommand::List { model, limit, server } => {
            let mut client = EligibilityServiceClient::new(server.connect().await?);
            let request = pb::ListDecisionsRequest { page_size: limit, model, ..Default::default() };
            let found = client.list_decisions(request).await.map_err(|s| failed(&s))?.into_inner();
            if out.is_json() {
                return out.json("weighbridge.v1.ListDecisionsResponse", &found).map(|()| 0);
            }
            for decision in &found.decisions {
                let made = decision.create_time.as_ref().and_then(|at| jiff::Timestamp::new(at.seconds, 0).ok());
                let made = made.map_or_else(String::new, |at| at.to_string());
                let verdict = decision.verdict().as_str_name().trim_start_matches("VERDICT_");
                out.line(&format!("{}  {made}  {verdict:<24} {}", decision.name, decision.model))?;
            }
            Ok(0)
        }
        DecisionsCommand::Get { name, server } => {
            let mut client = EligibilityServiceClient::new(server.connect().await?);
            let name = if name.starts_with("decisions/") { name } else { format!("decisions/{name}") };
            let found = client.get_decision(pb::GetDecisionRequest { name }).await.map_err(|s| failed(&s))?;
            out.json("weighbridge.v1.Decision", &found.into_inner()).map(|()| 0)
        }
    }
}
