//! The gate before an LLM gateway, asked as Envoy asks; `scripts/envoy-gate.py` puts a real one before it.

use std::collections::BTreeMap;

use tonic::transport::Channel;
use weighbridge::pb::envoy::service::auth::v3 as envoy;
use weighbridge::pb::envoy::service::auth::v3::authorization_client::AuthorizationClient;
use weighbridge::pb::envoy::service::auth::v3::check_response::HttpResponse;
use weighbridge::pb::weighbridge::v1 as pb;
use weighbridge::pb::weighbridge::v1::policy_service_client::PolicyServiceClient;

use crate::harness::{TestServer, write_lab_profile};

const OLMO: &str = "allenai/OLMo-2-1124-7B";
const LLAMA: &str = "meta-llama/Llama-3.3-70B-Instruct";

struct Gate {
    client: AuthorizationClient<Channel>,
    policies: PolicyServiceClient<Channel>,
    _server: TestServer,
}

/// What came of a request: whether it passes, its status, its headers and its body.
#[derive(Debug)]
struct Answer {
    passes: bool,
    code: i32,
    headers: BTreeMap<String, String>,
    body: String,
}

impl Answer {
    fn header(&self, name: &str) -> &str {
        self.headers.get(&format!("x-weighbridge-{name}")).map_or("-", String::as_str)
    }
}

impl Gate {
    async fn new() -> Self {
        let server = TestServer::in_memory();
        let channel = server.connect().await;
        write_lab_profile(channel.clone()).await;
        let policies = PolicyServiceClient::new(channel.clone());
        Self { client: AuthorizationClient::new(channel), policies, _server: server }
    }

    async fn ask(&mut self, headers: &[(&str, &str)], body: &str, settings: &[(&str, &str)]) -> Answer {
        let pairs = |list: &[(&str, &str)]| list.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        let http =
            envoy::attribute_context::HttpRequest { headers: pairs(headers), body: body.into(), ..Default::default() };
        let attributes = envoy::AttributeContext {
            request: Some(envoy::attribute_context::Request { http: Some(http) }),
            context_extensions: pairs(settings),
            ..Default::default()
        };
        self.check(attributes).await
    }

    async fn check(&mut self, attributes: envoy::AttributeContext) -> Answer {
        let request = envoy::CheckRequest { attributes: Some(attributes) };
        let response = self.client.check(request).await.unwrap().into_inner();
        let status = response.status.unwrap().code;
        let (passes, code, options, body) = match response.http_response.unwrap() {
            HttpResponse::OkResponse(ok) => {
                assert_eq!(ok.headers, ok.response_headers_to_add);
                (true, 200, ok.headers, String::new())
            }
            HttpResponse::DeniedResponse(denied) => (false, denied.status.unwrap().code, denied.headers, denied.body),
        };
        assert_eq!(status == 0, passes);
        // A header replaces what a client sent under its name.
        assert!(options.iter().all(|option| option.append == Some(false)));
        let headers = options.into_iter().map(|option| option.header.unwrap()).map(|h| (h.key, h.value)).collect();
        Answer { passes, code, headers, body }
    }
}

const LAB: (&str, &str) = ("weighbridge.use_profile", "lab");

#[tokio::test]
async fn what_may_be_used_passes_and_nothing_else_does() {
    let mut gate = Gate::new().await;
    let passed = gate.ask(&[("x-ai-eg-model", OLMO)], "", &[LAB]).await;
    assert!(passed.passes, "{passed:?}");
    assert_eq!((passed.header("verdict"), passed.header("mode")), ("ELIGIBLE", "enforce"));
    assert_eq!(passed.header("model"), "publishers/allenai/models/olmo-2-1124-7b");
    // From a body as the OpenAI API has it.
    assert!(gate.ask(&[], &format!(r#"{{"model": "{OLMO}", "messages": []}}"#), &[LAB]).await.passes);

    // A review does not pass, unless that is said; facts that nobody states are a review.
    let review = gate.ask(&[("x-ai-eg-model", LLAMA)], "", &[]).await;
    assert_eq!((review.passes, review.code, review.header("verdict")), (false, 403, "NEEDS_REVIEW"));
    assert!(review.header("reasons").contains("HOSTING_UNKNOWN"), "{review:?}");
    let error: serde_json::Value = serde_json::from_str(&review.body).unwrap();
    assert_eq!((&error["error"]["type"], &error["error"]["param"]), (&"model_not_allowed".into(), &"model".into()));
    assert!(gate.ask(&[("x-ai-eg-model", LLAMA)], "", &[("weighbridge.review", "pass")]).await.passes);

    // Not known, not named, not readable, only a part: none of them passes.
    for (headers, body, reason) in [
        (&[("x-ai-eg-model", "nobody/nothing")][..], "", "MODEL_NOT_FOUND"),
        (&[], "", "MODEL_NOT_NAMED"),
        (&[], "{\"model\": 5}", "MODEL_NOT_NAMED"),
        (&[("x-ai-eg-model", OLMO), ("x-envoy-auth-partial-body", "true")], "{\"mod", "MODEL_NOT_NAMED"),
        (&[("x-ai-eg-model", OLMO)], "{\"model\": \"a/b\", \"fallbacks\": [\"c/d\"]}", "MODEL_NOT_NAMED"),
        // Of two that differ, both have to pass.
        (&[("x-ai-eg-model", OLMO)], "{\"model\": \"nobody/nothing\"}", "MODEL_NOT_FOUND"),
    ] {
        let denied = gate.ask(headers, body, &[LAB]).await;
        assert_eq!((denied.passes, denied.header("reasons")), (false, reason), "{headers:?} {body}");
    }
    // Nor does anything under a setting that nobody knows, dry run or not.
    for wrong in [("weighbridge.mode", "off"), ("weighbridge.modus", "dry-run"), ("weighbridge.use_profile", "none")] {
        let denied = gate.ask(&[("x-ai-eg-model", OLMO)], "", &[wrong]).await;
        assert!(!denied.passes, "{wrong:?}: {denied:?}");
    }
    // Others' settings are none of ours.
    assert!(gate.ask(&[("x-ai-eg-model", OLMO)], "", &[LAB, ("other", "x")]).await.passes);
    // An own header, in any case as the configuration writes it.
    let own = [LAB, ("weighbridge.model_header", "X-Model")];
    assert!(gate.ask(&[("x-model", OLMO)], "", &own).await.passes);
    assert!(!gate.ask(&[("x-ai-eg-model", OLMO)], "", &own).await.passes);
}

#[tokio::test]
async fn policies_hold_at_the_gate_and_a_dry_run_only_says_so() {
    let mut gate = Gate::new().await;
    let policy = pb::Policy {
        name: "policies/no-olmo".into(),
        condition: r#"use.labels.environment = "production" AND model.publisher = "allenai""#.into(),
        effect: pb::PolicyEffect::Block.into(),
        message: "ask the platform team".into(),
        mode: pb::PolicyMode::Enforced.into(),
        ..Default::default()
    };
    let request = pb::UpdatePolicyRequest { policy: Some(policy), allow_missing: true, ..Default::default() };
    gate.policies.update_policy(request).await.unwrap();
    let production = ("weighbridge.label.environment", "production");
    let denied = gate.ask(&[("x-ai-eg-model", OLMO)], "", &[LAB, production]).await;
    assert_eq!((denied.passes, denied.header("policies")), (false, "policies/no-olmo"));
    assert!(
        gate.ask(&[("x-ai-eg-model", OLMO)], "", &[LAB, ("weighbridge.label.environment", "staging")]).await.passes
    );
    // Without the label it may be meant.
    assert!(!gate.ask(&[("x-ai-eg-model", OLMO)], "", &[LAB]).await.passes);
    let tried = gate.ask(&[("x-ai-eg-model", OLMO)], "", &[LAB, production, ("weighbridge.mode", "dry-run")]).await;
    assert_eq!((tried.passes, tried.header("verdict"), tried.header("mode")), (true, "INELIGIBLE", "dry-run"));

    // A route's metadata counts before what the filter adds.
    let text = |value: &str| prost_types::Value { kind: Some(prost_types::value::Kind::StringValue(value.into())) };
    let flag = prost_types::Value { kind: Some(prost_types::value::Kind::BoolValue(true)) };
    let fields = [("mode".to_owned(), text("enforce")), ("label.environment".to_owned(), text("staging"))].into();
    let metadata =
        envoy::Metadata { filter_metadata: [("weighbridge".to_owned(), prost_types::Struct { fields })].into() };
    let http = envoy::attribute_context::HttpRequest {
        headers: [("x-ai-eg-model".to_owned(), OLMO.to_owned())].into(),
        ..Default::default()
    };
    let extensions = [LAB, production, ("weighbridge.mode", "dry-run")];
    let attributes = envoy::AttributeContext {
        request: Some(envoy::attribute_context::Request { http: Some(http) }),
        context_extensions: extensions.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect(),
        route_metadata_context: Some(metadata),
    };
    let routed = gate.check(attributes.clone()).await;
    assert_eq!((routed.passes, routed.header("verdict"), routed.header("mode")), (true, "ELIGIBLE", "enforce"));
    // A value that is no text is a slip of the pen, and headers that are sent raw are not read.
    let mut odd = attributes.clone();
    let settings = odd.route_metadata_context.as_mut().unwrap().filter_metadata.get_mut("weighbridge").unwrap();
    settings.fields.insert("label.pii".to_owned(), flag);
    let mut raw = attributes;
    raw.request.as_mut().unwrap().http.as_mut().unwrap().header_map = Some(Default::default());
    for wrong in [odd, raw] {
        let denied = gate.check(wrong).await;
        assert_eq!((denied.passes, denied.header("reasons")), (false, "GATE_MISCONFIGURED"));
    }
}
