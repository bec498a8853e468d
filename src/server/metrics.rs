//! What is counted of calls, and how all figures are given out: in the text form of OpenMetrics, which Prometheus reads.
//!
//! Labels come from fixed sets: methods, codes, verdicts, reasons. Nothing a caller writes becomes one.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::text::encode;
use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet, EncodeMetric as _, MetricEncoder};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::{ConstCounter, Counter};
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry as Exporter, Unit};
use tonic::Code;

use super::access::Access;
use super::clients::Clients;
use crate::auth::methods::{METHODS, Method};
use crate::gate::Admitted;
use crate::registry::Registry;

/// Bounds of the latencies, in seconds: a check takes some ten microseconds, an import seconds.
const BOUNDS_S: [f64; 14] =
    [0.000_05, 0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5, 2.0, 10.0];

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct MethodLabels {
    method: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct CodeLabels {
    method: &'static str,
    code: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RefusedLabels {
    code: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct AdmittedLabels {
    outcome: &'static str,
}

/// Figures of one run of the server.
pub(super) struct Metrics {
    handled: Family<CodeLabels, Counter>,
    seconds: Family<MethodLabels, Histogram, fn() -> Histogram>,
    refused: Family<RefusedLabels, Counter>,
    admitted: Family<AdmittedLabels, Counter>,
    exporter: Exporter,
    /// Of each method, from its first call on: calls that were answered, and how long they took. Looked up by labels they cost more.
    by_method: HashMap<&'static str, OnceLock<(Counter, Histogram)>, foldhash::fast::FixedState>,
}

impl Metrics {
    pub(super) fn new(registry: Arc<Registry>, clients: Arc<Clients>, access: Arc<Access>, insecure: bool) -> Metrics {
        let handled = Family::default();
        let latency: fn() -> Histogram = || Histogram::new(BOUNDS_S);
        let seconds = Family::new_with_constructor(latency);
        let refused = Family::default();
        let admitted = Family::<AdmittedLabels, Counter>::default();
        // They are there before the first: what rises from nothing is not seen to rise.
        for outcome in Admitted::ALL {
            let _ = admitted.get_or_create(&AdmittedLabels { outcome: outcome.as_str() });
        }
        let mut exporter = Exporter::with_prefix("weighbridge");
        exporter.register("calls", "Calls that were let in, by method and code", Family::clone(&handled));
        let text = "Time from the request to the answer; of streams, to their end";
        exporter.register_with_unit("call_duration", text, Unit::Seconds, Family::clone(&seconds));
        let text = "Calls that were not let in: credentials, roles, limits, methods that do not exist";
        exporter.register("calls_refused", text, Family::clone(&refused));
        let text = "Objects that a cluster asked about, by what came of it: passed, warned, break_glass, denied";
        exporter.register("admission_reviews", text, Family::clone(&admitted));
        exporter.register_collector(Box::new(Figures { registry, clients, access, insecure }));
        let by_method = METHODS.iter().map(|method| (method.path, OnceLock::new())).collect();
        Metrics { handled, seconds, refused, admitted, exporter, by_method }
    }

    pub(super) fn handled(&self, method: &'static Method, code: Code, took: Duration) {
        let figures = self.by_method.get(method.path).map(|kept| {
            kept.get_or_init(|| {
                let answered = CodeLabels { method: method.path, code: code_name(Code::Ok) };
                let labels = MethodLabels { method: method.path };
                (self.handled.get_or_create(&answered).clone(), self.seconds.get_or_create(&labels).clone())
            })
        });
        let Some((answered, seconds)) = figures else { return };
        seconds.observe(took.as_secs_f64());
        match code {
            Code::Ok => answered.inc(),
            code => self.handled.get_or_create(&CodeLabels { method: method.path, code: code_name(code) }).inc(),
        };
    }

    pub(super) fn refused(&self, code: Code) {
        self.refused.get_or_create(&RefusedLabels { code: code_name(code) }).inc();
    }

    pub(super) fn admitted(&self, admitted: Admitted) {
        self.admitted.get_or_create(&AdmittedLabels { outcome: admitted.as_str() }).inc();
    }

    /// All figures.
    pub(super) fn text(&self) -> Result<String, fmt::Error> {
        let mut text = String::new();
        encode(&mut text, &self.exporter).map(|()| text)
    }
}

/// The name of a code, as the gRPC specification writes it.
pub(super) fn code_name(code: Code) -> &'static str {
    match code {
        Code::Ok => "OK",
        Code::Cancelled => "CANCELLED",
        Code::Unknown => "UNKNOWN",
        Code::InvalidArgument => "INVALID_ARGUMENT",
        Code::DeadlineExceeded => "DEADLINE_EXCEEDED",
        Code::NotFound => "NOT_FOUND",
        Code::AlreadyExists => "ALREADY_EXISTS",
        Code::PermissionDenied => "PERMISSION_DENIED",
        Code::ResourceExhausted => "RESOURCE_EXHAUSTED",
        Code::FailedPrecondition => "FAILED_PRECONDITION",
        Code::Aborted => "ABORTED",
        Code::OutOfRange => "OUT_OF_RANGE",
        Code::Unimplemented => "UNIMPLEMENTED",
        Code::Internal => "INTERNAL",
        Code::Unavailable => "UNAVAILABLE",
        Code::DataLoss => "DATA_LOSS",
        Code::Unauthenticated => "UNAUTHENTICATED",
    }
}

/// What others know, asked for when it is wanted.
struct Figures {
    registry: Arc<Registry>,
    clients: Arc<Clients>,
    access: Arc<Access>,
    insecure: bool,
}

impl fmt::Debug for Figures {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Figures")
    }
}

impl Collector for Figures {
    fn encode(&self, mut encoder: DescriptorEncoder) -> Result<(), fmt::Error> {
        let status = self.registry.status();
        let wide = |count: usize| i64::try_from(count).unwrap_or(i64::MAX);
        let long = |count: u64| i64::try_from(count).unwrap_or(i64::MAX);
        let [connections, calls, streams] = self.clients.counts();
        let watches = self.registry.watch_figures();
        for (name, help, value) in [
            ("revision", "Registry revision that answers are given from", long(status.revision)),
            ("store_revision", "Revision that the store acknowledged last", long(status.store.revision)),
            ("store_oldest_revision", "Oldest revision that is kept", long(status.store.oldest_revision)),
            ("store_records", "Records in the store", long(status.store.record_count)),
            ("store_data_bytes", "Size of all records with their history", long(status.store.data_size_bytes)),
            ("store_disk_bytes", "Size of the store's data file", status.store.size_on_disk_bytes.map_or(0, long)),
            ("store_waiting_writes", "Writes that wait to be committed", wide(status.store.waiting)),
            ("store_writable", "1: writes are taken", i64::from(status.store.problem.is_none())),
            ("models", "Models", wide(status.models)),
            ("licenses", "Licenses with modelled terms", wide(status.licenses)),
            ("providers", "Providers", wide(status.providers)),
            ("offerings", "Offerings", wide(status.offerings)),
            ("offerings_resolved", "Offerings that are linked to a model", wide(status.resolved_offerings)),
            ("connections", "Connections", wide(connections)),
            ("calls_running", "Calls with one answer that are under way", wide(calls)),
            ("streams_running", "Streams that are under way", wide(streams)),
            ("watches", "Watches", wide(watches.count)),
            ("watch_lag_revisions", "How far the watch is behind that is furthest behind", long(watches.lag)),
            ("insecure", "1: it listens beyond loopback without TLS and credentials", i64::from(self.insecure)),
            ("authentication_required", "1: callers have to be known", i64::from(self.access.required)),
        ] {
            gauge(&mut encoder, name, help, value)?;
        }
        // 0 where nobody else writes the store.
        let age = status.store.staleness.map_or(0.0, |staleness| staleness.age.as_secs_f64());
        let (stale, text) = (ConstGauge::new(age), "How old what is answered from may be");
        let metric = encoder.encode_descriptor("store_staleness", text, Some(&Unit::Seconds), stale.metric_type())?;
        stale.encode(metric)?;
        if let Some(log) = self.registry.decision_log_status() {
            gauge(&mut encoder, "decision_log_decisions", "Decisions in the decision log", wide(log.decisions))?;
            let text = "Decisions that were to be kept and were not";
            counter(&mut encoder, "decision_log_dropped", text, log.dropped)?;
            let text = "Decisions that were let go of, since newer ones took their room";
            counter(&mut encoder, "decision_log_evicted", text, log.evicted)?;
        }
        let text = "Changes of deployments' verdicts that this replica was the one to announce";
        counter(&mut encoder, "deployment_verdict_changes", text, self.registry.announced())?;
        let tally = self.registry.tally();
        let text = "Decisions by verdict, those of lists left out";
        counters(&mut encoder, "decisions", text, "verdict", &tally.verdicts)?;
        let text = "Findings of decisions by reason, those of lists left out";
        counters(&mut encoder, "decision_findings", text, "reason", &tally.reasons)?;
        let text = "Findings of decisions by policy and reason, those of lists left out";
        let mut metric = encoder.encode_descriptor("policy_findings", text, None, MetricType::Counter)?;
        for (policy, reason, count) in &tally.policies {
            let labels = [("policy", policy.as_str()), ("reason", *reason)];
            ConstCounter::new(*count).encode(metric.encode_family(&labels)?)?;
        }
        let flushes = status.store.flushes;
        let text = "Time to make a group of commits durable";
        let bounds = flushes.buckets.iter().map(|(bound, count)| (bound.as_secs_f64(), *count)).collect::<Vec<_>>();
        let metric = encoder.encode_descriptor("store_flush", text, Some(&Unit::Seconds), MetricType::Histogram)?;
        histogram(metric, flushes.total.as_secs_f64(), flushes.count, &bounds)
    }
}

fn gauge(encoder: &mut DescriptorEncoder<'_>, name: &str, help: &str, value: i64) -> fmt::Result {
    let gauge = ConstGauge::new(value);
    let metric = encoder.encode_descriptor(name, help, None, gauge.metric_type())?;
    gauge.encode(metric)
}

fn counter(encoder: &mut DescriptorEncoder<'_>, name: &str, help: &str, value: u64) -> fmt::Result {
    let counter = ConstCounter::new(value);
    let metric = encoder.encode_descriptor(name, help, None, counter.metric_type())?;
    counter.encode(metric)
}

fn counters(
    encoder: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    label: &'static str,
    values: &[(&'static str, u64)],
) -> fmt::Result {
    let mut metric = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
    for (value, count) in values {
        let counter = ConstCounter::new(*count);
        counter.encode(metric.encode_family(&[(label, *value)])?)?;
    }
    Ok(())
}

fn histogram(mut metric: MetricEncoder<'_>, sum: f64, count: u64, buckets: &[(f64, u64)]) -> fmt::Result {
    metric.encode_histogram::<prometheus_client::encoding::NoLabelSet>(sum, count, buckets, None)
}
