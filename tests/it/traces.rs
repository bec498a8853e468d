//! Spans of calls, as a collector receives them.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use opentelemetry_proto::tonic::collector::trace::v1::trace_service_server::{TraceService, TraceServiceServer};
use opentelemetry_proto::tonic::collector::trace::v1::{ExportTraceServiceRequest, ExportTraceServiceResponse};
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::trace::v1::Span;
use tokio::net::TcpListener;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::{Request, Response, Status};
use weighbridge::pb::weighbridge::v1 as pb;
use weighbridge::pb::weighbridge::v1::eligibility_service_client::EligibilityServiceClient;
use weighbridge::pb::weighbridge::v1::model_service_client::ModelServiceClient;
use weighbridge::server::{ServerOptions, TraceSettings, Traces};

use crate::harness::TestServer;

/// A span, with the header that is asked for.
type Came = (Option<String>, Span);

/// What came.
#[derive(Clone, Default)]
struct Collector(Arc<Mutex<Vec<Came>>>);

#[tonic::async_trait]
impl TraceService for Collector {
    async fn export(
        &self,
        request: Request<ExportTraceServiceRequest>,
    ) -> Result<Response<ExportTraceServiceResponse>, Status> {
        let key = request.metadata().get("api-key").map(|key| key.to_str().unwrap().to_owned());
        let spans = request.into_inner().resource_spans.into_iter().flat_map(|resource| resource.scope_spans);
        let spans = spans.flat_map(|scope| scope.spans).map(|span| (key.clone(), span));
        self.0.lock().unwrap().extend(spans);
        Ok(Response::new(ExportTraceServiceResponse::default()))
    }
}

fn settings(endpoint: &str) -> TraceSettings {
    TraceSettings { endpoint: endpoint.to_owned(), headers: None, ca: None, ratio: 1.0 }
}

fn attributes(span: &Span) -> HashMap<String, String> {
    let text = |value: &Value| match value {
        Value::StringValue(text) => text.clone(),
        Value::IntValue(number) => number.to_string(),
        other => panic!("{other:?}"),
    };
    let entry = |entry: &opentelemetry_proto::tonic::common::v1::KeyValue| {
        (entry.key.clone(), text(entry.value.as_ref().unwrap().value.as_ref().unwrap()))
    };
    span.attributes.iter().map(entry).collect()
}

fn check(model: &str, purpose: pb::Purpose) -> pb::CheckEligibilityRequest {
    let r#use = Some(pb::Use { purpose: purpose as i32, ..pb::Use::default() });
    pb::CheckEligibilityRequest { model: model.to_owned(), r#use, ..Default::default() }
}

const APACHE: &str = "Qwen/Qwen3-8B";
const LLAMA: &str = "meta-llama/Llama-3.3-70B-Instruct";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_span_tells_of_the_decision_and_is_part_of_its_callers_trace() {
    let collector = Collector::default();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    let service = TraceServiceServer::new(collector.clone());
    let collecting = tonic::transport::Server::builder().add_service(service);
    tokio::spawn(collecting.serve_with_incoming(TcpListenerStream::new(listener)));
    let headers = Some("api-key=wb-secret, other=1".to_owned());
    let traces = Arc::new(Traces::start(&TraceSettings { headers, ..settings(&endpoint) }).unwrap());
    let server = TestServer::with_options(ServerOptions { traces: Some(traces.clone()), ..ServerOptions::default() });
    let channel = server.connect().await;
    let mut client = EligibilityServiceClient::new(channel.clone());

    let traced = |message: pb::CheckEligibilityRequest, flags: &str| {
        let mut request = Request::new(message);
        let parent = format!("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-{flags}");
        request.metadata_mut().insert("traceparent", parent.parse().unwrap());
        request
    };
    let answer = client.check_eligibility(traced(check(LLAMA, pb::Purpose::Commercial), "01")).await.unwrap();
    let call_id = answer.metadata().get("weighbridge-call-id").unwrap().to_str().unwrap().to_owned();
    let decision = answer.into_inner().decision.unwrap();
    // Its caller wants no trace.
    client.check_eligibility(traced(check(LLAMA, pb::Purpose::Commercial), "00")).await.unwrap();
    let checks = vec![
        check(APACHE, pb::Purpose::Research),
        check(LLAMA, pb::Purpose::Commercial),
        check("none", pb::Purpose::Research),
    ];
    let batch = pb::BatchCheckEligibilityRequest { requests: checks, ..Default::default() };
    let answers = client.batch_check_eligibility(batch).await.unwrap().into_inner().results;
    let verdicts: Vec<_> = answers
        .iter()
        .filter_map(|answer| match answer.outcome.as_ref() {
            Some(pb::batch_check_eligibility_response::result::Outcome::Decision(decision)) => Some(decision.verdict()),
            _ => None,
        })
        .collect();
    let name = "no name".to_owned();
    let mut models = ModelServiceClient::new(channel);
    models.get_model(pb::GetModelRequest { name, ..Default::default() }).await.unwrap_err();

    let stopping = traces.clone();
    tokio::task::spawn_blocking(move || stopping.stop()).await.unwrap();
    let came = collector.0.lock().unwrap().clone();
    assert!(came.iter().all(|(key, _)| key.as_deref() == Some("wb-secret")));
    let [(_, one), (_, several), (_, failed)] = came.as_slice() else { panic!("{came:#?}") };

    assert_eq!(one.name, "weighbridge.v1.EligibilityService/CheckEligibility");
    assert_eq!(one.trace_id, 0x0af7_6519_16cd_43dd_8448_eb21_1c80_319c_u128.to_be_bytes());
    assert_eq!(one.parent_span_id, 0xb7ad_6b71_6920_3331_u64.to_be_bytes());
    assert!(one.start_time_unix_nano > 0 && one.end_time_unix_nano >= one.start_time_unix_nano);
    let verdict = decision.verdict().as_str_name().strip_prefix("VERDICT_").unwrap().to_owned();
    let told = attributes(one);
    for (name, value) in [
        ("rpc.system.name", "grpc"),
        ("rpc.method", "weighbridge.v1.EligibilityService/CheckEligibility"),
        ("rpc.response.status_code", "OK"),
        ("weighbridge.call_id", call_id.as_str()),
        ("weighbridge.verdict", verdict.as_str()),
        ("weighbridge.revision", &decision.revision.to_string()),
    ] {
        assert_eq!(told.get(name).map(String::as_str), Some(value), "{name} in {told:?}");
    }
    assert!(told.contains_key("weighbridge.actor"));

    let told = attributes(several);
    assert_eq!(verdicts.len(), 2);
    let counts = told.iter().filter(|(name, _)| name.starts_with("weighbridge.verdicts."));
    assert_eq!(counts.map(|(_, count)| count.parse::<usize>().unwrap()).sum::<usize>(), 2, "{told:?}");
    for verdict in &verdicts {
        let name = verdict.as_str_name().strip_prefix("VERDICT_").unwrap().to_lowercase();
        let count = verdicts.iter().filter(|other| *other == verdict).count();
        assert_eq!(told[&format!("weighbridge.verdicts.{name}")], count.to_string(), "{told:?}");
    }

    let told = attributes(failed);
    assert_eq!(told["rpc.response.status_code"], "INVALID_ARGUMENT");
    assert!(!told.contains_key("weighbridge.verdict") && !told.contains_key("weighbridge.revision"), "{told:?}");
    // What a caller does wrong is no fault of the server.
    assert_eq!(failed.status.as_ref().map_or(0, |status| status.code), 0);
}

#[tokio::test]
async fn a_collector_that_is_not_there_costs_only_spans() {
    // Held, and not listened on.
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let nobody = format!("http://{}", socket.local_addr().unwrap());
    let traces = Arc::new(Traces::start(&settings(&nobody)).unwrap());
    let server = TestServer::with_options(ServerOptions { traces: Some(traces.clone()), ..ServerOptions::default() });
    let mut client = EligibilityServiceClient::new(server.connect().await);
    for _ in 0..100 {
        client.check_eligibility(check(APACHE, pb::Purpose::Research)).await.unwrap();
    }
    tokio::task::spawn_blocking(move || traces.stop()).await.unwrap();
}

#[test]
fn everything_that_is_wrong_is_said_and_no_value_of_a_header() {
    let headers = Some("api-key=wb-s\u{e9}cret,wb-secret, b\u{e9}d=wb-secret,one=wb-secret,ONE=wb-secret".to_owned());
    let ca = Some("/nowhere/ca.pem".into());
    let wrong = TraceSettings { endpoint: "localhost:4317".into(), headers, ca, ratio: 1.5 };
    let problems = Traces::check(&wrong).unwrap_err();
    let told = problems.join("\n");
    for part in
        ["`localhost:4317`", "http://localhost:4317", "1.5", "entry 2", "entry 3", "`api-key`", "`one` is there twice"]
    {
        assert!(told.contains(part), "{part} is not in {told}");
    }
    assert!(!told.contains("secret") && !told.contains("cret"), "{told}");
    let without = TraceSettings { headers: None, ratio: f64::NAN, ..wrong };
    assert!(Traces::check(&without).unwrap_err().join("\n").contains("NaN"));
}
