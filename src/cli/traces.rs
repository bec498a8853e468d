//! What of `serve` is about traces.

use std::path::PathBuf;
use std::sync::Arc;

use clap::Args;

use super::Failure;
use crate::server::{TraceSettings, Traces};

/// Where spans of calls go.
#[derive(Debug, Args)]
#[command(next_help_heading = "Traces")]
pub(super) struct TraceArguments {
    /// Address of a collector that takes OTLP over gRPC, as http://localhost:4317. Nothing is traced when not given.
    #[arg(long, value_name = "URL", env = "WEIGHBRIDGE_OTLP_ENDPOINT")]
    otlp_endpoint: Option<String>,
    /// Headers for the collector: name=value, separated by commas. Often a key, so better given in the environment.
    #[arg(long, value_name = "HEADERS", env = "WEIGHBRIDGE_OTLP_HEADERS", hide_env_values = true)]
    otlp_headers: Option<String>,
    /// PEM file of the authorities that the collector's certificate comes from; those of Mozilla when not given.
    #[arg(long, value_name = "FILE", env = "WEIGHBRIDGE_OTLP_CA_CERT")]
    otlp_ca_cert: Option<PathBuf>,
    /// Share of the calls that are traced, from 0 to 1, where their callers do not say so themselves (traceparent).
    #[arg(long, value_name = "SHARE", default_value_t = 1.0, env = "WEIGHBRIDGE_OTLP_SHARE")]
    otlp_share: f64,
}

/// Settings that nobody is shown.
pub(super) const SECRETS: &[&str] = &["otlp-headers"];

impl TraceArguments {
    fn settings(&self) -> Option<TraceSettings> {
        let endpoint = self.otlp_endpoint.clone()?;
        let (headers, ca) = (self.otlp_headers.clone(), self.otlp_ca_cert.clone());
        Some(TraceSettings { endpoint, headers, ca, ratio: self.otlp_share })
    }

    /// What is wrong with them.
    pub(super) fn problems(&self) -> Vec<String> {
        match self.settings() {
            Some(settings) => Traces::check(&settings).err().unwrap_or_default(),
            None if self.otlp_headers.is_some() || self.otlp_ca_cert.is_some() => {
                vec!["--otlp-headers and --otlp-ca-cert need --otlp-endpoint".to_owned()]
            }
            None => Vec::new(),
        }
    }

    pub(super) fn start(&self) -> Result<Option<Arc<Traces>>, Failure> {
        let Some(settings) = self.settings() else { return Ok(None) };
        let traces = Traces::start(&settings).map_err(|problems| Failure::usage(problems.join("\n")))?;
        Ok(Some(Arc::new(traces)))
    }
}
