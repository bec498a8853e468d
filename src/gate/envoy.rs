//! Envoy's external authorization: the model of a request is checked before it goes on. What cannot be decided does not pass.

use std::collections::BTreeMap;
use std::sync::Arc;

use prost_types::value::Kind;
use serde_json::json;
use tonic::{Code, Request, Response, Status, async_trait};

use super::named::{Named, models};
use super::outcome::{Outcome, With};
use super::settings::{Asked, GateSettings};
use crate::pb::envoy::service::auth::v3 as envoy;
use crate::pb::envoy::service::auth::v3::authorization_server::Authorization;
use crate::pb::envoy::service::auth::v3::check_response::HttpResponse;
use crate::registry::Registry;

/// The namespace of a route's metadata that holds settings.
const NAMESPACE: &str = "weighbridge";
/// Envoy says so where it sent only a part of a body.
const PARTIAL_BODY: &str = "x-envoy-auth-partial-body";
/// Longest header value that is written.
const HEADER_CHARS_MAX: usize = 512;

/// The gate before an LLM gateway.
#[derive(Clone)]
pub struct EnvoyGate {
    registry: Arc<Registry>,
    settings: GateSettings,
}

impl EnvoyGate {
    /// A gate on a registry.
    #[must_use]
    pub fn new(registry: Arc<Registry>, settings: GateSettings) -> Self {
        Self { registry, settings }
    }

    async fn decide(&self, attributes: envoy::AttributeContext) -> (Outcome, bool) {
        let http = attributes.request.and_then(|request| request.http).unwrap_or_default();
        let configured = configured(attributes.context_extensions, attributes.route_metadata_context);
        let asked = match configured.and_then(|configured| Asked::read(&self.settings, &configured)) {
            Ok(asked) => asked,
            // Also in a dry run: whoever wrote the setting meant something else.
            Err(wrong) => return (Outcome::refused("GATE_MISCONFIGURED", wrong), false),
        };
        if http.header_map.is_some() {
            let wrong = "headers are sent raw: leave out `encode_raw_headers`".to_owned();
            return (Outcome::refused("GATE_MISCONFIGURED", wrong), false);
        }
        let header = http.headers.get(&asked.settings.model_header).map(String::as_str);
        let body = if http.raw_body.is_empty() { http.body.as_bytes() } else { &http.raw_body };
        let is_partial = http.headers.get(PARTIAL_BODY).is_some_and(|value| value == "true");
        let dry_run = asked.settings.dry_run;
        let outcome = match models(header, body, is_partial) {
            Ok(named) => self.check(&named, &asked).await,
            Err(wrong) => Outcome::refused("MODEL_NOT_NAMED", wrong),
        };
        (outcome, dry_run)
    }

    /// Checks every model that a request names; the gravest answer counts.
    async fn check(&self, named: &Named, asked: &Asked) -> Outcome {
        let with = With {
            use_: &asked.use_,
            use_profile: &asked.settings.use_profile,
            pass_reviews: asked.settings.pass_reviews,
        };
        let mut gravest: Option<Outcome> = None;
        for model in &named.models {
            let outcome = Outcome::ask(&self.registry, model, with).await;
            if gravest.as_ref().is_none_or(|known| outcome.is_graver_than(known)) {
                gravest = Some(outcome);
            }
        }
        gravest.unwrap_or_else(|| Outcome::refused("MODEL_NOT_NAMED", "no model is named".to_owned()))
    }
}

/// The settings of the filter and of the route; the route's own count before those of the filter.
///
/// # Errors
/// A value is no text.
fn configured(
    extensions: BTreeMap<String, String>,
    metadata: Option<envoy::Metadata>,
) -> Result<BTreeMap<String, String>, String> {
    let mut all = extensions;
    let of_route = metadata.and_then(|mut metadata| metadata.filter_metadata.remove(NAMESPACE)).unwrap_or_default();
    for (key, value) in of_route.fields {
        let Some(Kind::StringValue(text)) = value.kind else {
            return Err(format!("the gateway's setting `{NAMESPACE}.{key}` is no text: put it in quotes"));
        };
        all.insert(format!("{NAMESPACE}.{key}"), text);
    }
    Ok(all)
}

impl Outcome {
    fn headers(&self, dry_run: bool) -> Vec<envoy::HeaderValueOption> {
        let values = [
            ("verdict", self.verdict_name().to_owned()),
            ("model", self.models.join(",")),
            ("reasons", self.reasons.join(",")),
            ("policies", self.policies.join(",")),
            ("revision", self.revision.to_string()),
            ("mode", if dry_run { "dry-run" } else { "enforce" }.to_owned()),
        ];
        // Each replaces what a client sent under its name, also where there is nothing to say.
        values.into_iter().map(|(name, value)| header(&format!("x-weighbridge-{name}"), &value)).collect()
    }

    fn response(&self, dry_run: bool) -> envoy::CheckResponse {
        let headers = self.headers(dry_run);
        if self.passes || dry_run {
            let ok = envoy::OkHttpResponse { headers: headers.clone(), response_headers_to_add: headers };
            let status = Some(envoy::RpcStatus { code: Code::Ok as i32, message: String::new() });
            return envoy::CheckResponse { status, http_response: Some(HttpResponse::OkResponse(ok)) };
        }
        // As clients of such gateways read errors.
        let error = json!({
            "message": self.message,
            "type": "model_not_allowed",
            "code": self.reasons.first(),
            "param": "model",
        });
        let denied = envoy::DeniedHttpResponse {
            status: Some(envoy::HttpStatus { code: 403 }),
            headers: [headers, vec![header("content-type", "application/json")]].concat(),
            body: json!({ "error": error }).to_string(),
        };
        let status = Some(envoy::RpcStatus { code: Code::PermissionDenied as i32, message: self.message.clone() });
        envoy::CheckResponse { status, http_response: Some(HttpResponse::DeniedResponse(denied)) }
    }
}

/// A header in place of whatever is there under its name.
fn header(key: &str, value: &str) -> envoy::HeaderValueOption {
    let shown: String = value.chars().filter(|c| c.is_ascii_graphic() || *c == ' ').take(HEADER_CHARS_MAX).collect();
    envoy::HeaderValueOption {
        header: Some(envoy::HeaderValue { key: key.to_owned(), value: shown }),
        append: Some(false),
    }
}

#[async_trait]
impl Authorization for EnvoyGate {
    async fn check(&self, request: Request<envoy::CheckRequest>) -> Result<Response<envoy::CheckResponse>, Status> {
        let attributes = request.into_inner().attributes.unwrap_or_default();
        let (outcome, dry_run) = self.decide(attributes).await;
        if !outcome.passes {
            let (verdict, reasons, models) = (outcome.verdict.as_str_name(), &outcome.reasons, &outcome.models);
            tracing::info!(
                dry_run,
                verdict,
                ?reasons,
                ?models,
                why = outcome.message,
                "the gate would not let this pass"
            );
        }
        Ok(Response::new(outcome.response(dry_run)))
    }
}
