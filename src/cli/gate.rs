//! What of `serve` is about gates.

use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::sync::Arc;

use clap::Args;

use super::Failure;
use super::security::{ReachArgument, Security, on_lines};
use crate::gate::{AdmissionGate, AdmissionRules, GateSettings, profile_name};
use crate::server::{Admission, read_bounded};

/// Largest file of rules.
const RULES_BYTES_MAX: usize = 1 << 20;

/// What the gate before a gateway is told (Envoy's external authorization).
#[derive(Debug, Args)]
#[command(next_help_heading = "Gate")]
pub(super) struct GateArguments {
    /// The header that names the model.
    #[arg(long, default_value = "x-ai-eg-model", env = "WEIGHBRIDGE_GATE_MODEL_HEADER")]
    gate_model_header: String,
    /// The use profile whose facts hold where a route names none.
    #[arg(long, value_name = "NAME", env = "WEIGHBRIDGE_GATE_PROFILE")]
    gate_profile: Option<String>,
    /// Let everything pass, and only say what would not.
    #[arg(long, env = "WEIGHBRIDGE_GATE_DRY_RUN")]
    gate_dry_run: bool,
    /// Let pass what needs a review.
    #[arg(long, env = "WEIGHBRIDGE_GATE_PASS_REVIEWS")]
    gate_pass_reviews: bool,
}

impl GateArguments {
    pub(super) fn settings(&self) -> GateSettings {
        GateSettings {
            model_header: self.gate_model_header.to_ascii_lowercase(),
            use_profile: profile_name(self.gate_profile.as_deref().unwrap_or_default()),
            dry_run: self.gate_dry_run,
            pass_reviews: self.gate_pass_reviews,
        }
    }
}

/// What the gate before a cluster is told (Kubernetes' validating admission).
#[derive(Debug, Args)]
#[command(next_help_heading = "Admission")]
pub(super) struct AdmissionArguments {
    /// Address to answer a cluster's AdmissionReviews on, over HTTPS: POST /validate. Nowhere when not given.
    #[arg(long, value_name = "ADDRESS", env = "WEIGHBRIDGE_ADMISSION_LISTEN")]
    pub(super) admission_listen: Option<SocketAddr>,
    /// What names a model in an object, and what holds in which namespace, YAML. It is read at the start.
    #[arg(long, value_name = "FILE", env = "WEIGHBRIDGE_ADMISSION_RULES")]
    admission_rules: Option<PathBuf>,
    /// Who is answered. An API server shows no credentials unless it is told to: then open it, and let only it reach the address.
    #[arg(long, value_enum, default_value_t = ReachArgument::Authenticated, env = "WEIGHBRIDGE_ADMISSION")]
    admission: ReachArgument,
}

impl AdmissionArguments {
    /// Reads the rules; `None`: nothing is answered, or there are problems.
    pub(super) fn load(&self, problems: &mut Vec<String>) -> Option<AdmissionRules> {
        match (&self.admission_listen, &self.admission_rules) {
            (None, None) => None,
            (Some(_), None) | (None, Some(_)) => {
                problems.push("--admission-listen and --admission-rules are given together".to_owned());
                None
            }
            (Some(_), Some(path)) => {
                let text = read_bounded(path, RULES_BYTES_MAX)
                    .and_then(|bytes| String::from_utf8(bytes).map_err(|_| format!("`{}` is no text", path.display())));
                let read = |text: String| AdmissionRules::parse(&text).map_err(|found| on_lines(path, &found));
                text.and_then(read).map_err(|problem| problems.push(problem)).ok()
            }
        }
    }

    /// Begins to answer.
    pub(super) fn start(&self, rules: AdmissionRules, security: &Security) -> Result<Arc<Admission>, Failure> {
        let address =
            self.admission_listen.ok_or_else(|| Failure::usage("--admission-listen is missing".to_owned()))?;
        let (gate, access, tls) = (AdmissionGate::new(rules), security.access.clone(), security.tls.clone());
        let started = TcpListener::bind(address)
            .and_then(|listener| Admission::start(listener, gate, access, self.admission.into(), tls));
        if security.tls.is_none() {
            tracing::warn!(%address, "without TLS no cluster sends anything to the admission's address");
        }
        started.map_err(|e| Failure::new(format!("`{address}` cannot be listened on: {e}")))
    }
}
