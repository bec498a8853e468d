//! Traces: a span for each call, sent to a collector by OTLP.
//!
//! Names of attributes are those of OpenTelemetry's conventions for gRPC, and `weighbridge.*` for what only this service knows.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use opentelemetry::propagation::{Extractor, TextMapPropagator as _};
use opentelemetry::trace::{Span as _, SpanBuilder, SpanKind, Status as SpanStatus, Tracer as _, TracerProvider as _};
use opentelemetry::{Context, KeyValue, Value};
use opentelemetry_otlp::{SpanExporter, WithExportConfig as _, WithTonicConfig as _};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::propagation::TraceContextPropagator;
use opentelemetry_sdk::trace::{Sampler, SdkTracer, SdkTracerProvider, Span};
use tonic::Code;
use tonic::codegen::http::HeaderMap;
use tonic::metadata::{AsciiMetadataKey, AsciiMetadataValue, MetadataMap};
use tonic::transport::{Certificate, ClientTlsConfig, Endpoint};

use super::files::read_bounded;
use super::metrics::code_name;
use crate::auth::methods::Method;
use crate::client::is_loopback;
use crate::domain::eligibility::Verdict;
use crate::registry::Outcome;

/// How long the collector may take for a batch, and for the last ones at the end.
const EXPORT_TIME: Duration = Duration::from_secs(5);
/// Largest file of certificates.
const CA_BYTES_MAX: usize = 1 << 20;

/// Where spans go, and how many.
#[derive(Clone)]
pub struct TraceSettings {
    /// `http://` or `https://` address of a collector that takes OTLP over gRPC.
    pub endpoint: String,
    /// What is sent along, often a key: `name=value`, separated by commas.
    pub headers: Option<String>,
    /// PEM file of the authorities that the collector's certificate comes from; those of Mozilla when not given.
    pub ca: Option<PathBuf>,
    /// Share of the calls that are traced where their callers do not say; 0 to 1.
    pub ratio: f64,
}

/// Sends spans, in the background.
#[derive(Debug)]
pub struct Traces {
    provider: SdkTracerProvider,
    tracer: SdkTracer,
    propagator: TraceContextPropagator,
}

/// A call that is traced.
pub(super) struct Traced {
    span: Span,
    pub(super) outcome: Arc<Outcome>,
}

impl Traces {
    /// Starts sending. It does not wait for the collector: one that is not there loses spans and nothing else.
    ///
    /// # Errors
    /// What is wrong with the settings, all of it.
    pub fn start(settings: &TraceSettings) -> Result<Traces, Vec<String>> {
        let mut problems = Vec::new();
        let metadata = metadata(settings.headers.as_deref().unwrap_or_default(), &mut problems);
        let endpoint = endpoint(settings, &mut problems);
        let Some(endpoint) = endpoint.filter(|_| problems.is_empty()) else { return Err(problems) };
        let exporter = SpanExporter::builder()
            .with_tonic()
            .with_channel(endpoint.connect_lazy())
            .with_metadata(metadata)
            .with_timeout(EXPORT_TIME)
            .build()
            .map_err(|error| vec![format!("traces: {error}")])?;
        let sampler = Sampler::ParentBased(Box::new(Sampler::TraceIdRatioBased(settings.ratio)));
        // What the environment says of the resource (`OTEL_RESOURCE_ATTRIBUTES`, `OTEL_SERVICE_NAME`) comes with it.
        let mut resource = Resource::builder();
        if std::env::var_os("OTEL_SERVICE_NAME").is_none() {
            resource = resource.with_service_name("weighbridge");
        }
        let resource = resource.with_attribute(KeyValue::new("service.version", env!("CARGO_PKG_VERSION"))).build();
        let provider = SdkTracerProvider::builder()
            .with_batch_exporter(exporter)
            .with_sampler(sampler)
            .with_resource(resource)
            .build();
        let tracer = provider.tracer("weighbridge");
        Ok(Traces { provider, tracer, propagator: TraceContextPropagator::new() })
    }

    /// Says what is wrong with the settings.
    ///
    /// # Errors
    /// All of it.
    pub fn check(settings: &TraceSettings) -> Result<(), Vec<String>> {
        let mut problems = Vec::new();
        metadata(settings.headers.as_deref().unwrap_or_default(), &mut problems);
        endpoint(settings, &mut problems);
        if problems.is_empty() { Ok(()) } else { Err(problems) }
    }

    /// Sends what is left, and ends. It waits for the collector.
    pub fn stop(&self) {
        if let Err(error) = self.provider.shutdown_with_timeout(EXPORT_TIME) {
            tracing::warn!(%error, "the last traces could not be sent");
        }
    }

    /// Begins the span of a call; `None` where it is not among those that are traced.
    pub(super) fn begin(&self, method: &'static Method, headers: &HeaderMap) -> Option<Box<Traced>> {
        let parent = self.propagator.extract_with_context(&Context::new(), &Headers(headers));
        let name = method.path.trim_start_matches('/');
        let builder = SpanBuilder::from_name(name)
            .with_kind(SpanKind::Server)
            .with_attributes([KeyValue::new("rpc.system.name", "grpc"), KeyValue::new("rpc.method", name)]);
        let span = self.tracer.build_with_context(builder.with_start_time(SystemTime::now()), &parent);
        span.is_recording().then(|| Box::new(Traced { span, outcome: Arc::default() }))
    }
}

impl Traced {
    /// Ends the span, with what came of the call.
    pub(super) fn end(mut self, code: Code, call_id: &str, actor: &str) {
        let span = &mut self.span;
        span.set_attribute(KeyValue::new("rpc.response.status_code", code_name(code)));
        span.set_attribute(KeyValue::new("weighbridge.call_id", call_id.to_owned()));
        span.set_attribute(KeyValue::new("weighbridge.actor", actor.to_owned()));
        if let Some(revision) = self.outcome.revision() {
            span.set_attribute(KeyValue::new("weighbridge.revision", whole(revision)));
        }
        // One decision has a verdict; of several, each verdict has a number.
        match self.outcome.verdicts().as_slice() {
            [(verdict, 1)] => span.set_attribute(KeyValue::new("weighbridge.verdict", verdict.as_str())),
            verdicts => {
                for (verdict, count) in verdicts {
                    span.set_attribute(KeyValue::new(count_attribute(*verdict), whole(*count)));
                }
            }
        }
        if is_fault(code) {
            span.set_status(SpanStatus::error(code.description()));
        }
        span.end();
    }
}

/// An attribute is signed; no revision or count comes near its end.
fn whole(count: u64) -> Value {
    Value::I64(i64::try_from(count).unwrap_or(i64::MAX))
}

fn count_attribute(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Eligible => "weighbridge.verdicts.eligible",
        Verdict::EligibleWithConditions => "weighbridge.verdicts.eligible_with_conditions",
        Verdict::NeedsReview => "weighbridge.verdicts.needs_review",
        Verdict::Ineligible => "weighbridge.verdicts.ineligible",
    }
}

/// The codes that are the server's fault, by OpenTelemetry's conventions for gRPC.
fn is_fault(code: Code) -> bool {
    matches!(
        code,
        Code::Unknown
            | Code::DeadlineExceeded
            | Code::Unimplemented
            | Code::Internal
            | Code::Unavailable
            | Code::DataLoss
    )
}

/// Headers of a call, as the W3C's trace context is read from them.
struct Headers<'a>(&'a HeaderMap);

impl Extractor for Headers<'_> {
    fn get(&self, key: &str) -> Option<&str> {
        self.0.get(key)?.to_str().ok()
    }

    fn keys(&self) -> Vec<&str> {
        self.0.keys().map(|key| key.as_str()).collect()
    }
}

/// Reads headers. No message holds a value: they are keys, as a rule.
fn metadata(text: &str, problems: &mut Vec<String>) -> MetadataMap {
    let mut metadata = MetadataMap::new();
    let mut before = HashMap::new();
    for (i, entry) in text.split(',').map(str::trim).enumerate().filter(|(_, entry)| !entry.is_empty()) {
        let number = i + 1;
        let Some((name, value)) = entry.split_once('=') else {
            problems.push(format!("headers for traces: entry {number} is not name=value"));
            continue;
        };
        let name = name.trim().to_ascii_lowercase();
        let Ok(key) = AsciiMetadataKey::from_bytes(name.as_bytes()) else {
            problems.push(format!("headers for traces: the name of entry {number} is none that gRPC takes"));
            continue;
        };
        let Some(value) = AsciiMetadataValue::try_from(value.trim()).ok().filter(|_| value.is_ascii()) else {
            problems.push(format!("headers for traces: the value of entry {number}, `{name}`, is not printable ASCII"));
            continue;
        };
        if before.insert(name.clone(), number).is_some() {
            problems.push(format!("headers for traces: `{name}` is there twice"));
        }
        let mut value = value;
        value.set_sensitive(true);
        metadata.insert(key, value);
    }
    metadata
}

fn endpoint(settings: &TraceSettings, problems: &mut Vec<String>) -> Option<Endpoint> {
    let TraceSettings { endpoint: url, ca, ratio, .. } = settings;
    if !(0.0..=1.0).contains(ratio) {
        problems.push(format!("the share of traces is {ratio}: it is a number from 0 to 1"));
    }
    let is_secure = url.starts_with("https://");
    // The exporter would add them to ours: what was meant for another collector would be sent to this one.
    for variable in ["OTEL_EXPORTER_OTLP_HEADERS", "OTEL_EXPORTER_OTLP_TRACES_HEADERS"] {
        if std::env::var_os(variable).is_some() {
            problems.push(format!(
                "{variable} is set, and would be sent as well: say it with --otlp-headers, and unset it"
            ));
        }
    }
    let parsed = Endpoint::from_shared(url.clone()).ok().filter(|endpoint| {
        let (uri, is_plain) = (endpoint.uri(), url.starts_with("http://"));
        (is_secure || is_plain) && uri.host().is_some_and(|host| !host.is_empty())
    });
    let Some(parsed) = parsed else {
        problems.push(format!("`{url}` is no address of a collector: it is written like http://localhost:4317"));
        return None;
    };
    if !is_secure && settings.headers.is_some() && !is_loopback(parsed.uri().host()) {
        problems.push(format!("headers for traces are not sent in the clear: write `{url}` with https"));
    }
    let mut tls = ClientTlsConfig::new().with_webpki_roots();
    if let Some(path) = ca {
        if !is_secure {
            problems.push(format!("`{url}` is without TLS: it needs no authorities"));
        }
        match read_bounded(path, CA_BYTES_MAX) {
            Ok(pem) => tls = ClientTlsConfig::new().ca_certificate(Certificate::from_pem(pem)),
            Err(problem) => problems.push(problem),
        }
    }
    let parsed = parsed.connect_timeout(EXPORT_TIME).timeout(EXPORT_TIME);
    if !is_secure {
        return Some(parsed);
    }
    parsed.tls_config(tls).map_err(|error| problems.push(format!("the TLS of `{url}`: {error}"))).ok()
}
