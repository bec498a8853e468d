//! The advisor over gRPC: memory held against published figures, costs against offerings, routes against the check.

use std::collections::BTreeMap;
use std::path::Path;

use tonic::Code;
use tonic::transport::Channel;
use weighbridge::pb::weighbridge::v1 as pb;
use weighbridge::pb::weighbridge::v1::advisor_service_client::AdvisorServiceClient;
use weighbridge::pb::weighbridge::v1::eligibility_service_client::EligibilityServiceClient;
use weighbridge::pb::weighbridge::v1::model_service_client::ModelServiceClient;
use weighbridge::pb::weighbridge::v1::policy_service_client::PolicyServiceClient;
use weighbridge::pb::weighbridge::v1::use_profile_service_client::UseProfileServiceClient;

use crate::harness::{TestServer, fields, refused};
use crate::import::import;

const LLAMA: &str = "publishers/meta/models/llama-3.3-70b-instruct";

struct Clients {
    _server: TestServer,
    advisor: AdvisorServiceClient<Channel>,
    channel: Channel,
}

impl Clients {
    async fn new() -> Self {
        let server = TestServer::in_memory();
        let channel = server.connect().await;
        Self { _server: server, advisor: AdvisorServiceClient::new(channel.clone()), channel }
    }

    async fn hosting(&mut self, request: pb::EstimateHostingRequest) -> pb::EstimateHostingResponse {
        self.advisor.estimate_hosting(request).await.unwrap().into_inner()
    }

    async fn costs(&mut self, request: pb::CompareCostsRequest) -> pb::CompareCostsResponse {
        self.advisor.compare_costs(request).await.unwrap().into_inner()
    }

    async fn routes(&mut self, request: pb::RecommendRouteRequest) -> Vec<pb::RankedRoute> {
        self.advisor.recommend_route(request).await.unwrap().into_inner().routes
    }

    async fn model(&self, model: pb::Model) {
        let (parent, id) = model.name.split_once("/models/").unwrap();
        let (parent, model_id) = (parent.to_owned(), id.to_owned());
        let request = pb::CreateModelRequest { parent, model_id, model: Some(model), ..Default::default() };
        ModelServiceClient::new(self.channel.clone()).create_model(request).await.unwrap();
    }
}

fn workload(context_tokens: i32, concurrent_requests: i32, precision: pb::Precision) -> Option<pb::Workload> {
    let precision = precision.into();
    Some(pb::Workload { context_tokens, concurrent_requests, precision, key_value_precision: 0 })
}

fn weights(license: &str) -> pb::Component {
    pb::Component {
        kind: pb::component::Kind::ModelWeights.into(),
        availability: pb::component::Availability::Available.into(),
        license_expression: license.into(),
        ..Default::default()
    }
}

/// One row of `tests/cases/memory.tsv`.
struct Published {
    model: String,
    what: String,
    precision: pb::Precision,
    context: i32,
    requests: i32,
    devices: i32,
    bytes: f64,
}

fn published() -> Vec<Published> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cases/memory.tsv");
    let text = std::fs::read_to_string(path).unwrap();
    let rows = text.lines().filter(|line| !line.starts_with('#')).skip(1);
    rows.map(|line| {
        let cells: Vec<&str> = line.split('\t').collect();
        let [model, what, precision, context, requests, devices, value, unit, source, _note] = cells[..] else {
            panic!("ten cells: {line}");
        };
        assert!(source.starts_with("https://"), "{line}");
        let unit = match unit {
            "B" => 1.0,
            "kB" => 1e3,
            "GB" => 1e9,
            "TB" => 1e12,
            "MiB" => 1_048_576.0,
            "GiB" => 1_073_741_824.0,
            other => panic!("{other} is no unit"),
        };
        let number = |text: &str| if text.is_empty() { 1 } else { text.parse().unwrap() };
        Published {
            model: model.into(),
            what: what.into(),
            precision: pb::Precision::from_str_name(&format!("PRECISION_{precision}")).unwrap(),
            context: number(context),
            requests: number(requests),
            devices: number(devices),
            bytes: value.parse::<f64>().unwrap() * unit,
        }
    })
    .collect()
}

#[tokio::test]
async fn memory_is_within_a_tenth_of_what_is_published() {
    let mut clients = Clients::new().await;
    let rows = published();
    let mut models: Vec<&str> = rows.iter().map(|row| row.model.as_str()).collect();
    models.dedup();
    assert!(models.len() >= 8, "{models:?}");
    let mut wrong = Vec::new();
    for row in &rows {
        let request = pb::EstimateHostingRequest {
            model: row.model.clone(),
            workload: workload(row.context, row.requests, row.precision),
            accelerators: vec!["h100-sxm-80gb".into()],
            counts: vec![row.devices],
            ..Default::default()
        };
        let found = clients.hosting(request).await;
        let memory = found.options[0].memory.unwrap();
        let bytes = match row.what.as_str() {
            "weights" => memory.weights_bytes,
            "all weights" => memory.weights_bytes + memory.quantization_bytes,
            "cache" => memory.key_value_cache_bytes,
            "weights and cache" => memory.weights_bytes + memory.quantization_bytes + memory.key_value_cache_bytes,
            other => panic!("{other} is nothing that is estimated"),
        };
        #[expect(clippy::cast_precision_loss, reason = "held against a figure of a few digits")]
        let error = bytes as f64 / row.bytes - 1.0;
        let told = format!("{:<40} {:<18} {:>6.1} %", row.model, row.what, error * 100.0);
        println!("{told}");
        if error.abs() > 0.1 {
            wrong.push(told);
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Which of a few machines hold a 70B model, with 8k of context and 8 requests at the same time.
#[tokio::test]
async fn a_70b_model_fits_where_it_does() {
    let mut clients = Clients::new().await;
    let mut held = BTreeMap::new();
    for precision in [pb::Precision::Bf16, pb::Precision::Int4] {
        let accelerators = ["h100-sxm-80gb", "a100-sxm-80gb", "h200-sxm-141gb", "mi300x-192gb"];
        let request = pb::EstimateHostingRequest {
            model: "meta-llama/Llama-3.3-70B-Instruct".into(),
            workload: workload(8192, 8, precision),
            accelerators: accelerators.map(String::from).to_vec(),
            counts: vec![2, 1, 2],
            ..Default::default()
        };
        let found = clients.hosting(request).await;
        assert_eq!(found.options.len(), 8);
        for option in found.options {
            let range = option.decode_tokens_per_second;
            assert_eq!(range.is_some(), option.holds);
            assert_eq!(option.note.is_empty(), option.holds, "{option:?}");
            held.insert((precision.as_str_name(), option.accelerator, option.count), option.holds);
        }
        if precision == pb::Precision::Bf16 {
            let memory = found.memory.unwrap();
            assert!((140_000_000_000..142_000_000_000).contains(&memory.weights_bytes), "{memory:?}");
            assert!((found.key_value_bytes_per_token - 327_680.0).abs() < 1.0);
            let parts = memory.weights_bytes + memory.quantization_bytes + memory.key_value_cache_bytes;
            let rest = memory.recurrent_state_bytes + memory.activation_bytes + memory.framework_bytes;
            assert!((memory.total_bytes - parts - rest).abs() < 10);
        }
    }
    let wide = |id: &str, count: i32| held[&("PRECISION_BF16", id.to_owned(), count)];
    let narrow = |id: &str, count: i32| held[&("PRECISION_INT4", id.to_owned(), count)];
    assert!(!wide("h100-sxm-80gb", 1) && narrow("h100-sxm-80gb", 1));
    // 141 GB of weights and 21 GB of cache: more than 2 x 80 GB, or 141 GB, leave.
    assert!(!wide("h100-sxm-80gb", 2) && !wide("a100-sxm-80gb", 2) && !wide("h200-sxm-141gb", 1));
    assert!(wide("mi300x-192gb", 1) && wide("h200-sxm-141gb", 2));
}

#[tokio::test]
async fn what_is_not_known_gives_no_figure() {
    let mut clients = Clients::new().await;
    let unsized_ = pb::Model {
        name: "publishers/lab/models/unsized".into(),
        components: vec![weights("MIT")],
        ..Default::default()
    };
    clients.model(unsized_).await;
    let ask = |model: &str| pb::EstimateHostingRequest { model: model.into(), ..Default::default() };
    let found = clients.hosting(ask("lab/unsized")).await;
    assert_eq!((found.memory, found.options.len()), (None, 0));
    assert_eq!(found.unknown, ["parameters.total"]);
    let costs = pb::CompareCostsRequest { model: "lab/unsized".into(), ..Default::default() };
    let costs = clients.costs(costs).await;
    assert!(costs.hosting.is_none() && costs.points.is_empty() && costs.unknown == ["parameters.total"]);

    // The request can say it; what the cache rests on is said.
    let parameters = Some(pb::Parameters { total: 8_000_000_000, active: 8_000_000_000 });
    let found = clients.hosting(pb::EstimateHostingRequest { parameters, ..ask("lab/unsized") }).await;
    assert_eq!(found.memory.unwrap().weights_bytes, 16_000_000_000);
    assert_eq!(found.unknown, ["architecture"]);
    assert!(found.assumptions.iter().any(|row| row.text.contains("fallback_key_values")));
    // Also of no model at all.
    let found = clients.hosting(pb::EstimateHostingRequest { parameters, ..ask("") }).await;
    assert!(found.model.is_empty() && !found.options.is_empty());

    // A fine-tune has the shape of its base, which is said.
    let tuned = pb::Model {
        name: "publishers/lab/models/tuned".into(),
        components: vec![weights("LicenseRef-Llama-3.3-Community")],
        base_models: vec![pb::BaseModel {
            model: LLAMA.into(),
            relation: pb::base_model::Relation::FineTune.into(),
            ..Default::default()
        }],
        ..Default::default()
    };
    clients.model(tuned).await;
    let found = clients.hosting(ask("lab/tuned")).await;
    assert!((found.key_value_bytes_per_token - 327_680.0).abs() < 1.0);
    assert!(found.assumptions.iter().any(|row| row.text.contains(LLAMA)), "{:?}", found.assumptions);

    // What nobody else has cannot be hosted, however large it may be.
    let found = clients.hosting(ask("publishers/anthropic/models/claude-sonnet-4-0")).await;
    assert!(found.memory.is_none() && found.unknown[0].starts_with("components[MODEL_WEIGHTS]"), "{:?}", found.unknown);
}

#[tokio::test]
async fn every_assumption_is_told_and_can_be_overridden() {
    let mut clients = Clients::new().await;
    let ask = |assumptions: BTreeMap<String, f64>| pb::EstimateHostingRequest {
        model: LLAMA.into(),
        accelerators: vec!["h100-sxm-80gb".into()],
        counts: vec![4],
        assumptions,
        workload: workload(8192, 8, pb::Precision::Int4),
        ..Default::default()
    };
    let usual = clients.hosting(ask(BTreeMap::new())).await;
    let named: Vec<pb::Assumption> = usual.assumptions.iter().filter(|row| !row.name.is_empty()).cloned().collect();
    assert_eq!(named.len(), 13);
    for row in &named {
        assert!(!row.text.is_empty() && !row.source.is_empty() && row.least <= row.value && row.value <= row.most);
        let said = if row.name.ends_with("_low") { row.least } else { row.value * 1.05 + 0.001 };
        let said = said.min(row.most);
        let found = clients.hosting(ask(BTreeMap::from([(row.name.clone(), said)]))).await;
        let told = found.assumptions.iter().find(|other| other.name == row.name).unwrap();
        assert!(told.overridden && (told.value - said).abs() < 1e-12, "{told:?}");
        // These do nothing here: the shape is known, and nothing is said of costs beside machines.
        let idle =
            ["activation_fraction", "fallback_key_values", "operations_usd_per_day"].contains(&row.name.as_str());
        assert_eq!(found.options == usual.options, idle, "{}", row.name);
    }
    let prices = BTreeMap::from([("h100-sxm-80gb".to_owned(), 2.0)]);
    let found =
        clients.hosting(pb::EstimateHostingRequest { accelerator_usd_per_hour: prices, ..ask(BTreeMap::new()) }).await;
    assert_eq!(found.options[0].usd_per_hour, Some(pb::PriceRange { low: 8.0, typical: 8.0, high: 8.0 }));
    assert_eq!(found.options[0].usd_per_day, Some(pb::PriceRange { low: 192.0, typical: 192.0, high: 192.0 }));
}

#[tokio::test]
async fn bad_requests_are_refused_with_every_mistake() {
    let mut clients = Clients::new().await;
    let request = pb::EstimateHostingRequest {
        workload: Some(pb::Workload {
            context_tokens: -1,
            concurrent_requests: 70_000,
            precision: 99,
            key_value_precision: 1,
        }),
        accelerators: vec!["h100".into()],
        counts: vec![0, 65],
        accelerator_usd_per_hour: BTreeMap::from([("h100-sxm-80gb".to_owned(), 0.0), ("h1000".to_owned(), 1.0)]),
        assumptions: BTreeMap::from([
            ("usable_memory".to_owned(), 1.0),
            ("usable_memory_fraction".to_owned(), f64::NAN),
        ]),
        architecture: Some(pb::Architecture { layers: 2, window_layers: 3, window_tokens: 1, ..Default::default() }),
        min_revision: -1,
        ..Default::default()
    };
    let status = refused(clients.advisor.estimate_hosting(request).await, Code::InvalidArgument);
    assert_eq!(
        fields(&status),
        [
            "model",
            "workload.context_tokens",
            "workload.concurrent_requests",
            "workload.precision",
            "accelerators[0]",
            "counts[0]",
            "counts[1]",
            "accelerator_usd_per_hour[h100-sxm-80gb]",
            "accelerator_usd_per_hour[h1000]",
            "assumptions[usable_memory]",
            "assumptions[usable_memory_fraction]",
            "architecture.layers",
            "architecture",
            "min_revision",
        ]
    );
    let request = pb::CompareCostsRequest {
        tokens_per_day: -5,
        input_output_ratio: Some(-1.0),
        utilization: Some(0.0),
        parameters: Some(pb::Parameters { total: 0, active: 1 }),
        assumptions: BTreeMap::from([("bandwidth_efficiency_low".to_owned(), 0.95)]),
        ..Default::default()
    };
    let status = refused(clients.advisor.compare_costs(request).await, Code::InvalidArgument);
    let expected = [
        "model",
        "tokens_per_day",
        "input_output_ratio",
        "utilization",
        "assumptions",
        "parameters.total",
        "parameters.active",
    ];
    assert_eq!(fields(&status), expected);
    let request = pb::RecommendRouteRequest {
        needs: Some(pb::Needs {
            compliance: vec!["hippa".into()],
            device_memory_gb: f64::INFINITY,
            budget_usd_per_day: 5.0,
            ..Default::default()
        }),
        max_candidates: 51,
        models: vec![String::new(); 101],
        r#use: Some(pb::Use { categories: vec!["nonsense".into()], ..Default::default() }),
        ..Default::default()
    };
    let status = refused(clients.advisor.recommend_route(request).await, Code::InvalidArgument);
    assert_eq!(
        fields(&status),
        [
            "use.categories[0]",
            "needs.device_memory_gb",
            "needs.tokens_per_day",
            "needs.compliance[0]",
            "models",
            "max_candidates",
        ]
    );
    for (filter, order_by) in [("nonsense = 1", ""), ("", "nonsense desc")] {
        let request =
            pb::RecommendRouteRequest { filter: filter.into(), order_by: order_by.into(), ..Default::default() };
        refused(clients.advisor.recommend_route(request).await, Code::InvalidArgument);
    }
    let ask = |model: &str| pb::CompareCostsRequest { model: model.into(), ..Default::default() };
    let status = refused(clients.advisor.compare_costs(ask("llama-3.3-70b-instrukt")).await, Code::NotFound);
    assert!(status.message().contains("not known"), "{}", status.message());
}

/// Offerings of Llama 3.3 70B: two with a price, one of them deprecated with little context and a price for long ones; one for
/// free, one without a price, one with half of one.
const OFFERINGS: &str = r#"{
  "cheap": {"id": "cheap", "name": "Cheap", "npm": "x", "env": ["K"], "doc": "https://cheap.example", "models": {
    "meta-llama/Llama-3.3-70B-Instruct": {"id": "meta-llama/Llama-3.3-70B-Instruct", "name": "L", "attachment": false,
      "reasoning": false, "tool_call": true, "release_date": "2024-12-06", "last_updated": "2025-02-03",
      "modalities": {"input": ["text"], "output": ["text"]}, "open_weights": true,
      "limit": {"context": 131072, "output": 4096}, "cost": {"input": 0.1, "output": 0.3}}}},
  "dear": {"id": "dear", "name": "Dear", "npm": "x", "env": ["K"], "doc": "https://dear.example", "models": {
    "meta-llama/Llama-3.3-70B-Instruct": {"id": "meta-llama/Llama-3.3-70B-Instruct", "name": "L", "attachment": false,
      "reasoning": false, "tool_call": true, "release_date": "2024-12-06", "last_updated": "2025-02-03", "status": "deprecated",
      "modalities": {"input": ["text"], "output": ["text"]}, "open_weights": true,
      "limit": {"context": 4096, "output": 4096}, "cost": {"input": 20, "output": 60,
        "tiers": [{"input": 40, "output": 120, "tier": {"type": "context", "size": 8000}}]}}}},
  "free": {"id": "free", "name": "Free", "npm": "x", "env": ["K"], "doc": "https://free.example", "models": {
    "meta-llama/Llama-3.3-70B-Instruct": {"id": "meta-llama/Llama-3.3-70B-Instruct", "name": "L", "attachment": false,
      "reasoning": false, "tool_call": true, "release_date": "2024-12-06", "last_updated": "2025-02-03",
      "modalities": {"input": ["text"], "output": ["text"]}, "open_weights": true,
      "limit": {"context": 131072, "output": 4096}, "cost": {"input": 0, "output": 0}}}},
  "mute": {"id": "mute", "name": "Mute", "npm": "x", "env": ["K"], "doc": "https://mute.example", "models": {
    "meta-llama/Llama-3.3-70B-Instruct": {"id": "meta-llama/Llama-3.3-70B-Instruct", "name": "L", "attachment": false,
      "reasoning": false, "tool_call": true, "release_date": "2024-12-06", "last_updated": "2025-02-03",
      "modalities": {"input": ["text"], "output": ["text"]}, "open_weights": true,
      "limit": {"context": 131072, "output": 4096}}}}
}"#;

#[tokio::test]
async fn hosting_is_held_against_every_priced_offering() {
    let mut clients = Clients::new().await;
    import(clients.channel.clone(), OFFERINGS.as_bytes(), false).await.unwrap();
    let ask = pb::CompareCostsRequest {
        model: LLAMA.into(),
        tokens_per_day: 50_000_000,
        input_output_ratio: Some(1.0),
        accelerators: vec!["mi300x-192gb".into()],
        counts: vec![1],
        accelerator_usd_per_hour: BTreeMap::from([("mi300x-192gb".to_owned(), 2.0)]),
        workload: workload(8192, 8, pb::Precision::Bf16),
        ..Default::default()
    };
    let found = clients.costs(ask.clone()).await;
    let hosting = found.hosting.clone().unwrap();
    // One machine costs 48 US dollars a day, and has its fill at some tokens a day.
    assert_eq!(hosting.machine_usd_per_day, Some(pb::PriceRange { low: 48.0, typical: 48.0, high: 48.0 }));
    let names: Vec<&str> = found.offerings.iter().map(|o| o.offering.split('/').nth(1).unwrap()).collect();
    assert_eq!(names, ["cheap", "dear"]);
    let [cheap, dear] = &found.offerings[..] else { panic!("two") };
    assert!((cheap.usd_per_million_tokens - 0.2).abs() < 1e-9 && (cheap.usd_per_day - 10.0).abs() < 1e-9);
    assert!(cheap.break_even.clone().unwrap().never && cheap.cheaper_than_hosting == Some(true));
    // Long contexts have a price of their own.
    assert!((dear.usd_per_million_tokens - 80.0).abs() < 1e-9, "{dear:?}");
    assert_eq!(dear.notes.len(), 3, "{:?}", dear.notes);
    let at = dear.break_even.clone().unwrap();
    assert!(!at.never && (at.tokens_per_day - 48.0 / 80.0 * 1e6).abs() < 1.0, "{at:?}");
    assert_eq!((at.accelerator.as_str(), at.count), ("mi300x-192gb", 1));
    assert_eq!(dear.cheaper_than_hosting, Some(false));
    let unpriced: Vec<(&str, &str)> =
        found.unpriced.iter().map(|o| (o.offering.split('/').nth(1).unwrap(), o.reason.as_str())).collect();
    assert_eq!(
        unpriced,
        [
            ("free", "its price is 0, which stands for a free tier, a plan, or nothing known"),
            ("mute", "its price is not known"),
        ]
    );
    // The curve falls until machines have all they are given, and never below that.
    let usd: Vec<f64> = found.points.iter().map(|p| p.hosting_usd_per_million_tokens.unwrap().typical).collect();
    let least = hosting.least_usd_per_million_tokens.unwrap().typical;
    assert!(usd.len() > 100 && usd[0] > 100.0 && usd.iter().all(|usd| *usd >= least * 0.999_999));
    assert!((usd.last().unwrap() / least - 1.0).abs() < 0.05, "{least} {:?}", usd.last());

    // Busier machines never cost more, and break even no later.
    let busier = clients.costs(pb::CompareCostsRequest { utilization: Some(1.0), ..ask.clone() }).await;
    let million = |found: &pb::CompareCostsResponse| {
        found.hosting.as_ref().unwrap().least_usd_per_million_tokens.unwrap().typical
    };
    assert!((million(&busier) * 2.0 - million(&found)).abs() < 1e-9);
    // Nothing that holds it: said, and offerings stand without a comparison.
    let none =
        clients.costs(pb::CompareCostsRequest { accelerators: vec!["t4-16gb".into()], counts: vec![1], ..ask }).await;
    assert!(none.hosting.is_none() && none.unknown[0].starts_with("accelerators"), "{:?}", none.unknown);
    assert!(none.offerings.iter().all(|o| o.break_even.is_none() && o.cheaper_than_hosting.is_none()));
}

fn known_use() -> pb::Use {
    pb::Use {
        purpose: pb::Purpose::Commercial.into(),
        organization: Some(pb::Organization {
            country: "US".into(),
            r#type: pb::organization::Type::Company.into(),
            business_types: vec!["none".into()],
            monthly_active_users: Some(1_000_000),
            daily_active_users: Some(100_000),
            annual_revenue_usd: Some(5_000_000),
            monthly_revenue_usd: Some(400_000),
            employee_count: Some(50),
        }),
        deployment_countries: vec!["US".into()],
        end_user_countries: vec!["US".into()],
        ..Default::default()
    }
}

fn of(routes: &[pb::RankedRoute], route: pb::Route) -> &pb::RankedRoute {
    routes.iter().find(|ranked| ranked.route() == route).unwrap()
}

fn topic<'a>(route: &'a pb::RankedRoute, topic: &str) -> &'a pb::RouteReason {
    route.reasons.iter().find(|reason| reason.topic == topic).unwrap_or_else(|| panic!("{topic}: {:?}", route.reasons))
}

#[tokio::test]
async fn routes_agree_with_the_check() {
    let mut clients = Clients::new().await;
    import(clients.channel.clone(), OFFERINGS.as_bytes(), false).await.unwrap();
    let needs = pb::Needs { tokens_per_day: 1_000_000, ..Default::default() };
    let ask = pb::RecommendRouteRequest {
        r#use: Some(known_use()),
        needs: Some(needs),
        max_candidates: 50,
        ..Default::default()
    };
    let routes = clients.routes(ask).await;
    assert_eq!(routes.len(), 3);
    let mut eligibility = EligibilityServiceClient::new(clients.channel.clone());
    let mut checked = 0;
    for route in &routes {
        for candidate in &route.candidates {
            let mut use_ = known_use();
            use_.hosting = match route.route() {
                pb::Route::SelfHosted => pb::Hosting::SelfHosted.into(),
                _ => pb::Hosting::VendorApi.into(),
            };
            if [pb::Precision::Fp8, pb::Precision::Int4].contains(&candidate.precision()) {
                use_.activities.push(pb::Activity::Modify.into());
            }
            if let Some((provider, _)) = candidate.offering.split_once("/offerings/") {
                use_.provider = provider.into();
            }
            let request =
                pb::CheckEligibilityRequest { model: candidate.model.clone(), r#use: Some(use_), ..Default::default() };
            let decision = eligibility.check_eligibility(request).await.unwrap().into_inner().decision.unwrap();
            assert_eq!(decision.verdict, candidate.verdict, "{candidate:?}");
            assert_eq!(decision.summary, candidate.summary);
            assert_eq!(decision.missing_facts, candidate.missing_facts);
            assert_ne!(candidate.verdict(), pb::Verdict::Ineligible);
            let usable = matches!(candidate.verdict(), pb::Verdict::Eligible | pb::Verdict::EligibleWithConditions);
            assert!(usable || candidate.standing() != pb::Standing::Open, "{candidate:?}");
            checked += 1;
        }
    }
    assert!(checked > 80, "{checked}");
    // As many as the list of eligible models has.
    let self_hosted = of(&routes, pb::Route::SelfHosted);
    let mut use_ = known_use();
    use_.hosting = pb::Hosting::SelfHosted.into();
    let request = pb::ListEligibleModelsRequest {
        r#use: Some(use_),
        filter: "output_modalities:TEXT OR unknown(output_modalities:TEXT)".into(),
        ..Default::default()
    };
    let listed = eligibility.list_eligible_models(request).await.unwrap().into_inner();
    assert_eq!(listed.total_size, self_hosted.eligible_models);
    assert_eq!(self_hosted.standing(), pb::Standing::Open);
    // What a provider's terms are is not known: somebody has to look.
    let hosted = of(&routes, pb::Route::HostedOpenWeights);
    assert_eq!((hosted.standing(), hosted.candidates.len()), (pb::Standing::Review, 1));
    let candidate = &hosted.candidates[0];
    assert!(candidate.offering.contains("cheap"), "{candidate:?}");
    assert!((candidate.usd_per_day.unwrap().typical - 0.15).abs() < 1e-9);
}

/// A policy, a waiver and a profile hold on a route as they do in the check, on the premises and on devices too.
#[tokio::test]
async fn what_holds_for_a_check_holds_for_a_route() {
    let mut clients = Clients::new().await;
    let policy = pb::Policy {
        name: "policies/no-llama".into(),
        condition: "model.family = \"llama\" OR license_expression = \"LicenseRef-Llama-3.3-Community\"".into(),
        effect: pb::PolicyEffect::Block.into(),
        message: "Not here.".into(),
        mode: pb::PolicyMode::Enforced.into(),
        ..Default::default()
    };
    let write = pb::CreatePolicyRequest { policy_id: "no-llama".into(), policy: Some(policy), ..Default::default() };
    let profile = pb::UseProfile { name: "useProfiles/shop".into(), r#use: Some(known_use()), ..Default::default() };
    let keep =
        pb::CreateUseProfileRequest { use_profile_id: "shop".into(), use_profile: Some(profile), ..Default::default() };
    UseProfileServiceClient::new(clients.channel.clone()).create_use_profile(keep).await.unwrap();
    let ask = |needs: pb::Needs| pb::RecommendRouteRequest {
        use_profile: "useProfiles/shop".into(),
        needs: Some(needs),
        models: vec![LLAMA.into()],
        ..Default::default()
    };
    let all = [
        (pb::Needs::default(), pb::Hosting::SelfHosted),
        (pb::Needs { on_premises: true, ..Default::default() }, pb::Hosting::OnPremises),
        (pb::Needs { device_memory_gb: 400.0, ..Default::default() }, pb::Hosting::EdgeOffline),
    ];
    let mut eligibility = EligibilityServiceClient::new(clients.channel.clone());
    for (needs, hosting) in all.clone() {
        let routes = clients.routes(ask(needs)).await;
        let own = of(&routes, pb::Route::SelfHosted);
        let request = pb::CheckEligibilityRequest {
            model: LLAMA.into(),
            use_profile: "useProfiles/shop".into(),
            r#use: Some(pb::Use { hosting: hosting.into(), ..Default::default() }),
            ..Default::default()
        };
        let decision = eligibility.check_eligibility(request).await.unwrap().into_inner().decision.unwrap();
        assert_eq!(own.candidates[0].verdict, decision.verdict, "{hosting:?}");
        assert_eq!((own.eligible_models, own.ineligible_models), (1, 0));
    }
    PolicyServiceClient::new(clients.channel.clone()).create_policy(write).await.unwrap();
    for (needs, _) in all {
        let routes = clients.routes(ask(needs)).await;
        let own = of(&routes, pb::Route::SelfHosted);
        assert_eq!((own.standing(), own.ineligible_models), (pb::Standing::Closed, 1), "{own:?}");
        assert!(own.candidates.is_empty());
    }
}

/// What rests on nothing known opens no route.
#[tokio::test]
async fn a_size_or_a_shape_that_is_not_known_opens_no_route() {
    let mut clients = Clients::new().await;
    let of_size = |name: &str, total: i64| pb::Model {
        name: format!("publishers/lab/models/{name}"),
        components: vec![weights("MIT")],
        parameters: (total > 0).then_some(pb::Parameters { total, active: total }),
        output_modalities: vec![pb::Modality::Text.into()],
        ..Default::default()
    };
    clients.model(of_size("unsized", 0)).await;
    clients.model(of_size("shapeless", 1_000_000_000)).await;
    clients.model(of_size("huge", 100_000_000_000_000)).await;
    let ask = |model: &str, device: f64| pb::RecommendRouteRequest {
        r#use: Some(known_use()),
        needs: Some(pb::Needs { device_memory_gb: device, ..Default::default() }),
        models: vec![format!("lab/{model}")],
        ..Default::default()
    };
    for (model, device, standing) in [
        ("unsized", 0.0, pb::Standing::Review),
        ("unsized", 8.0, pb::Standing::Review),
        ("shapeless", 0.0, pb::Standing::Review),
        ("shapeless", 8.0, pb::Standing::Review),
        ("huge", 0.0, pb::Standing::Closed),
        ("huge", 8.0, pb::Standing::Closed),
    ] {
        let routes = clients.routes(ask(model, device)).await;
        let own = of(&routes, pb::Route::SelfHosted);
        assert_eq!(own.standing(), standing, "{model} {device} {:?}", own.reasons);
        assert_eq!(own.eligible_models, 1);
        assert!(own.candidates.iter().all(|candidate| candidate.standing() == standing), "{:?}", own.candidates);
    }
    // How long its context may be is not known; nor is what these accelerators cost, which alone closes nothing.
    let known = pb::Model {
        architecture: Some(pb::Architecture {
            layers: 16,
            attention_heads: 32,
            key_value_heads: 8,
            head_dimension: 64,
            hidden_size: 2048,
            ..Default::default()
        }),
        ..of_size("shaped", 1_000_000_000)
    };
    // Without the heads that ask it is not known whether they can be shared out.
    let headless = pb::Model {
        name: "publishers/lab/models/headless".into(),
        architecture: known.architecture.clone().map(|shape| pb::Architecture { attention_heads: 0, ..shape }),
        ..known.clone()
    };
    clients.model(headless).await;
    clients.model(known).await;
    let long = workload(1_000_000, 1, pb::Precision::Unspecified);
    for (model, workload, accelerators, standing) in [
        ("shaped", None, "", pb::Standing::Open),
        ("headless", None, "", pb::Standing::Review),
        ("shaped", long, "", pb::Standing::Review),
        ("shaped", None, "gaudi3-128gb", pb::Standing::Open),
        ("shapeless", None, "gaudi3-128gb", pb::Standing::Review),
        ("huge", None, "gaudi3-128gb", pb::Standing::Closed),
    ] {
        let accelerators = if accelerators.is_empty() { Vec::new() } else { vec![accelerators.to_owned()] };
        let routes = clients.routes(pb::RecommendRouteRequest { workload, accelerators, ..ask(model, 0.0) }).await;
        let own = of(&routes, pb::Route::SelfHosted);
        assert_eq!(own.standing(), standing, "{model} {:?}", own.reasons);
    }
    // Among many the ones that meet what is needed come first, however few are asked for.
    let few = pb::RecommendRouteRequest {
        models: vec!["lab/unsized".into(), "lab/shapeless".into(), "lab/huge".into(), "lab/shaped".into()],
        max_candidates: 1,
        ..ask("shaped", 0.0)
    };
    let routes = clients.routes(few).await;
    let own = of(&routes, pb::Route::SelfHosted);
    assert_eq!(
        (own.standing(), own.candidates[0].model.as_str()),
        (pb::Standing::Open, "publishers/lab/models/shaped")
    );
}

/// One row of `tests/cases/speed.tsv`.
#[tokio::test]
async fn speed_is_near_what_is_published() {
    let mut clients = Clients::new().await;
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cases/speed.tsv");
    let text = std::fs::read_to_string(path).unwrap();
    let mut rows = 0;
    for line in text.lines().filter(|line| !line.starts_with('#')).skip(1) {
        let cells: Vec<&str> = line.split('\t').collect();
        let [model, accelerator, count, precision, input, output, requests, published, ..] = cells[..] else {
            panic!("ten cells: {line}");
        };
        let number = |text: &str| text.parse::<i32>().unwrap();
        let precision = pb::Precision::from_str_name(&format!("PRECISION_{precision}")).unwrap();
        let request = pb::EstimateHostingRequest {
            model: model.into(),
            workload: Some(pb::Workload {
                context_tokens: number(input) + number(output),
                concurrent_requests: number(requests),
                precision: precision.into(),
                key_value_precision: precision.into(),
            }),
            accelerators: vec![accelerator.into()],
            counts: vec![number(count)],
            ..Default::default()
        };
        let option = clients.hosting(request).await.options.remove(0);
        assert!(option.holds, "{line}: {}", option.note);
        let ratio = f64::from(number(input)) / f64::from(number(output));
        let (decode, prefill) = (option.decode_tokens_per_second.unwrap(), option.prefill_tokens_per_second.unwrap());
        let written = |decode: f64, prefill: f64| 1.0 / (1.0 / decode + ratio / prefill);
        let (low, high) = (written(decode.low, prefill.low), written(decode.high, prefill.high));
        let published: f64 = published.parse().unwrap();
        println!(
            "{model} {count} x {accelerator} {input}/{output}: {published} published, {low:.0} to {high:.0} estimated"
        );
        assert!(low <= published * 1.1 && published <= high * 1.3, "{line}: {low:.0} to {high:.0}");
        rows += 1;
    }
    assert!(rows >= 6);
}

#[tokio::test]
async fn needs_close_routes_and_unknown_facts_never_open_one() {
    let mut clients = Clients::new().await;
    import(clients.channel.clone(), OFFERINGS.as_bytes(), false).await.unwrap();
    let ask = |needs: pb::Needs| pb::RecommendRouteRequest {
        r#use: Some(known_use()),
        needs: Some(needs),
        models: vec![LLAMA.into(), "publishers/anthropic/models/claude-sonnet-4-0".into()],
        ..Default::default()
    };
    let standing = |routes: &[pb::RankedRoute]| {
        let all = [pb::Route::VendorApi, pb::Route::HostedOpenWeights, pb::Route::SelfHosted];
        all.map(|route| of(routes, route).standing())
    };
    use pb::Standing::{Closed, Open, Review};

    let routes = clients.routes(ask(pb::Needs::default())).await;
    // Of the vendor no offering is known, of the provider no terms.
    assert_eq!(standing(&routes), [Review, Review, Open]);
    assert_eq!(topic(of(&routes, pb::Route::VendorApi), "PROVIDER").standing(), Review);
    // On the premises only oneself is left; HIPAA is open there, and wants a look anywhere else.
    let hipaa = vec!["hipaa".to_owned()];
    let routes = clients.routes(ask(pb::Needs { compliance: hipaa.clone(), ..Default::default() })).await;
    assert_eq!(standing(&routes), [Review; 3]);
    assert!(topic(&routes[0], "COMPLIANCE").source.contains("45 CFR"));
    let own = pb::Needs { compliance: hipaa, on_premises: true, ..Default::default() };
    let routes = clients.routes(ask(own)).await;
    assert_eq!(standing(&routes), [Closed, Closed, Open]);
    // A budget is held against what one's own machines cost, once that is said.
    let own = pb::Needs {
        compliance: vec!["hipaa".to_owned()],
        on_premises: true,
        tokens_per_day: 1_000_000,
        budget_usd_per_day: 500.0,
        ..Default::default()
    };
    let paid = clients.routes(ask(own.clone())).await;
    assert_eq!(standing(&paid), [Closed, Closed, Review]);
    let prices = BTreeMap::from([("mi300x-192gb".to_owned(), 1.0)]);
    let paid = clients.routes(pb::RecommendRouteRequest { accelerator_usd_per_hour: prices, ..ask(own) }).await;
    assert_eq!(standing(&paid), [Closed, Closed, Open]);
    assert_eq!(paid[0].candidates[0].hosting.as_ref().unwrap().accelerator, "mi300x-192gb");
    assert_eq!(routes[0].route(), pb::Route::SelfHosted);
    assert!(routes[1].candidates.is_empty());
    // A device of 24 GB does not hold 70 billion parameters, one of 80 GB does at 4 bits.
    let device = |gb: f64| pb::Needs { offline: true, device_memory_gb: gb, ..Default::default() };
    let routes = clients.routes(ask(device(24.0))).await;
    assert_eq!(standing(&routes), [Closed; 3]);
    let routes = clients.routes(ask(device(80.0))).await;
    let device = of(&routes, pb::Route::SelfHosted);
    assert_ne!(device.standing(), Closed);
    assert_eq!(device.candidates[0].precision(), pb::Precision::Int4);
    // Training further in private is no matter of an API.
    let routes = clients.routes(ask(pb::Needs { private_fine_tuning: true, ..Default::default() })).await;
    let [vendor, hosted, own] = standing(&routes);
    assert_eq!((vendor, hosted, own), (Closed, Review, Open));
    // It is the same said as a requirement of the use.
    let mut required = ask(pb::Needs::default());
    let requirements = pb::Requirements { private_fine_tuning: true, ..Default::default() };
    required.r#use = Some(pb::Use { requirements: Some(requirements), ..known_use() });
    assert_eq!(standing(&clients.routes(required).await), [vendor, hosted, own]);
    // A budget: hosting costs more, the API less; how fast an API is is not known.
    let budget = pb::Needs { tokens_per_day: 1_000_000, budget_usd_per_day: 1.0, ..Default::default() };
    let routes = clients.routes(ask(budget)).await;
    let own = of(&routes, pb::Route::SelfHosted);
    assert!(own.candidates[0].over_budget && topic(own, "BUDGET").standing() == Closed, "{own:?}");
    let hosted = of(&routes, pb::Route::HostedOpenWeights);
    assert!(!hosted.candidates[0].over_budget && topic(hosted, "BUDGET").standing() == Open);
    // No offering of it is known, so neither is what it costs.
    assert_eq!(topic(of(&routes, pb::Route::VendorApi), "BUDGET").standing(), Review);
    let fast = |tokens: f64| pb::Needs { request_tokens_per_second: tokens, ..Default::default() };
    let routes = clients.routes(ask(fast(1.0))).await;
    assert_eq!(standing(&routes), [Review, Review, Open]);
    let routes = clients.routes(ask(fast(1e6))).await;
    assert_eq!(of(&routes, pb::Route::SelfHosted).standing(), Closed);
    // Fewer requests at the same time, or fewer bits, where that makes it fast enough.
    let routes = clients.routes(ask(fast(60.0))).await;
    let own = of(&routes, pb::Route::SelfHosted);
    assert_eq!(own.standing(), Open, "{own:?}");
    assert!(own.candidates[0].hosting.as_ref().unwrap().concurrent_requests < 256);
    // No machine holds such a context, and no model takes it.
    let long = pb::RecommendRouteRequest {
        workload: workload(100_000_000, 0, pb::Precision::Unspecified),
        ..ask(pb::Needs::default())
    };
    let routes = clients.routes(long).await;
    assert_eq!(standing(&routes), [Closed; 3]);
    // Nothing is known of the use: no route is open.
    let unknown = pb::RecommendRouteRequest { r#use: None, ..ask(pb::Needs::default()) };
    let routes = clients.routes(unknown).await;
    assert!(standing(&routes).iter().all(|standing| *standing != Open), "{:?}", standing(&routes));
    assert!(!of(&routes, pb::Route::SelfHosted).candidates[0].missing_facts.is_empty());
    // A use that keeps to a provider is not hosted by oneself.
    let mut kept = ask(pb::Needs::default());
    kept.r#use =
        Some(pb::Use { hosting: pb::Hosting::VendorApi.into(), provider: "providers/dear".into(), ..known_use() });
    let routes = clients.routes(kept).await;
    assert_eq!(of(&routes, pb::Route::SelfHosted).standing(), Closed);
    assert!(of(&routes, pb::Route::HostedOpenWeights).candidates[0].offering.contains("dear"));
}

#[tokio::test]
async fn the_accelerators_are_listed_with_what_is_assumed() {
    let mut clients = Clients::new().await;
    let found = clients.advisor.list_accelerators(pb::ListAcceleratorsRequest {}).await.unwrap().into_inner();
    assert!(found.accelerators.len() > 20 && found.assumptions.len() == 13 && found.compliance.len() >= 8);
    for kind in &found.accelerators {
        assert!(kind.url.starts_with("https://"), "{kind:?}");
        assert_eq!(kind.usd_per_hour.is_some(), !kind.price_date.is_empty() && !kind.price_source.is_empty());
    }
    assert!(found.compliance.iter().all(|rule| rule.stances.len() == 4 && rule.url.starts_with("https://")));
}

/// Every offering of every model of the real snapshot: priced or not, never by a price of 0; a cheaper one never breaks even earlier.
#[cfg(feature = "shared-data")]
#[tokio::test]
async fn real_offerings_are_compared_or_told_why_not() {
    use weighbridge::pb::weighbridge::v1::offering_service_client::OfferingServiceClient;
    let mut clients = Clients::new().await;
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/data/models.dev/api.json");
    import(clients.channel.clone(), &std::fs::read(path).unwrap(), false).await.unwrap();
    let mut offerings = OfferingServiceClient::new(clients.channel.clone()).max_decoding_message_size(64 << 20);
    let mut by_model: BTreeMap<String, usize> = BTreeMap::new();
    let mut page_token = String::new();
    loop {
        let request = pb::ListOfferingsRequest { page_size: 1_000, page_token, ..Default::default() };
        let page = offerings.list_offerings(request).await.unwrap().into_inner();
        for offering in page.offerings.into_iter().filter(|offering| !offering.model.is_empty()) {
            *by_model.entry(offering.model).or_default() += 1;
        }
        page_token = page.next_page_token;
        if page_token.is_empty() {
            break;
        }
    }
    assert!(by_model.len() > 500, "{}", by_model.len());
    let first = |at: &pb::BreakEven| if at.never { f64::INFINITY } else { at.tokens_per_day };
    let parts: [fn(&pb::OfferingCost) -> Option<&pb::BreakEven>; 3] =
        [|o| o.break_even.as_ref(), |o| o.break_even_low.as_ref(), |o| o.break_even_high.as_ref()];
    let mut compared = 0;
    for (model, count) in by_model {
        let workload = workload(4096, 0, pb::Precision::Int4);
        let request = pb::CompareCostsRequest { model: model.clone(), workload, ..Default::default() };
        let found = clients.costs(request).await;
        assert_eq!(found.offerings.len() + found.unpriced.len(), count, "{model}");
        for offering in &found.offerings {
            assert!(offering.input_usd_per_million_tokens > 0.0 && offering.output_usd_per_million_tokens > 0.0);
            assert_eq!(offering.break_even.is_some(), found.hosting.is_some());
        }
        // Cheapest first, so that break-evens fall.
        for of in parts {
            let all: Vec<f64> = found.offerings.iter().filter_map(of).map(first).collect();
            assert!(all.windows(2).all(|pair| pair[0] >= pair[1] * (1.0 - 1e-9)), "{model} {all:?}");
            compared += all.len();
        }
    }
    assert!(compared > 2_000, "{compared}");
}
