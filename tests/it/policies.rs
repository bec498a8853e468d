//! Organisation policies: what they do to checks and lists, the laws that hold whatever they say, and how they are written.

use std::sync::Arc;

use proptest::prelude::*;
use proptest::strategy::ValueTree as _;
use proptest::test_runner::TestRunner;
use tonic::Code;
use tonic::transport::Channel;
use tonic_types::StatusExt as _;
use weighbridge::catalog::{Entry, PolicySet, Snapshot};
use weighbridge::convert;
use weighbridge::domain::eligibility::{
    Activities, Activity, Detail, Reason, Use, Verdict, Waivers, evaluate, verdict,
};
use weighbridge::domain::model::Model;
use weighbridge::pb::weighbridge::v1 as pb;
use weighbridge::pb::weighbridge::v1::eligibility_service_client::EligibilityServiceClient;
use weighbridge::pb::weighbridge::v1::model_service_client::ModelServiceClient;
use weighbridge::pb::weighbridge::v1::policy_service_client::PolicyServiceClient;
use weighbridge::pb::weighbridge::v1::simulate_policy_request::{DecisionsScope, ModelsScope, Scope};
use weighbridge::pb::weighbridge::v1::waiver_service_client::WaiverServiceClient;
use weighbridge::registry::Registry;
use weighbridge::store::MemoryStore;

use crate::harness::{TestServer, fields, reason, refused};

const LLAMA: &str = "publishers/meta/models/llama-3.3-70b-instruct";
const GPT: &str = "publishers/openai/models/gpt-4o";

fn policy(id: &str, condition: &str, effect: pb::PolicyEffect) -> pb::Policy {
    pb::Policy {
        name: format!("policies/{id}"),
        condition: condition.into(),
        effect: effect.into(),
        message: "ask the platform team".into(),
        mode: pb::PolicyMode::Enforced.into(),
        ..Default::default()
    }
}

fn dry(policy: pb::Policy) -> pb::Policy {
    pb::Policy { mode: pb::PolicyMode::DryRun.into(), ..policy }
}

fn labels(all: &[(&str, &str)]) -> pb::Use {
    pb::Use {
        purpose: pb::Purpose::Research.into(),
        hosting: pb::Hosting::SelfHosted.into(),
        organization: Some(pb::Organization {
            country: "US".into(),
            r#type: pb::organization::Type::Academic.into(),
            business_types: vec!["none".into()],
            monthly_active_users: Some(5),
            ..Default::default()
        }),
        deployment_countries: vec!["US".into()],
        end_user_countries: vec!["US".into()],
        labels: all.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect(),
        ..Default::default()
    }
}

struct Clients {
    _server: TestServer,
    policies: PolicyServiceClient<Channel>,
    eligibility: EligibilityServiceClient<Channel>,
    models: ModelServiceClient<Channel>,
    waivers: WaiverServiceClient<Channel>,
}

impl Clients {
    async fn new() -> Self {
        let server = TestServer::in_memory();
        let channel = server.connect().await;
        Self {
            _server: server,
            policies: PolicyServiceClient::new(channel.clone()),
            eligibility: EligibilityServiceClient::new(channel.clone()),
            models: ModelServiceClient::new(channel.clone()),
            waivers: WaiverServiceClient::new(channel),
        }
    }

    async fn put(&mut self, policy: pb::Policy) -> pb::Policy {
        let request = pb::UpdatePolicyRequest { policy: Some(policy), allow_missing: true, ..Default::default() };
        self.policies.update_policy(request).await.unwrap().into_inner()
    }

    async fn check(&mut self, model: &str, use_: &pb::Use) -> pb::Decision {
        let request =
            pb::CheckEligibilityRequest { model: model.into(), r#use: Some(use_.clone()), ..Default::default() };
        self.eligibility.check_eligibility(request).await.unwrap().into_inner().decision.unwrap()
    }
}

fn of_policies(decision: &pb::Decision) -> Vec<(&str, &str)> {
    let findings = decision.findings.iter().filter(|finding| finding.reason.starts_with("POLICY"));
    findings.map(|f| (f.reason.as_str(), f.origin.as_ref().unwrap().policy.as_str())).collect()
}

#[tokio::test]
async fn a_policy_does_what_it_says_and_no_more() {
    let mut clients = Clients::new().await;
    let production = labels(&[("environment", "production")]);
    let before = clients.check("allenai/OLMo-2-1124-7B", &production).await;
    assert_eq!(before.verdict(), pb::Verdict::Eligible);

    let condition = r#"use.labels.environment = "production" AND model.tier != PROPRIETARY"#;
    let written = clients.put(policy("no-open", condition, pb::PolicyEffect::Block)).await;
    let after = clients.check("allenai/OLMo-2-1124-7B", &production).await;
    assert_eq!(after.verdict(), pb::Verdict::Ineligible);
    assert_eq!(of_policies(&after), [("POLICY_BLOCKS", "policies/no-open")]);
    assert_eq!(after.revision, written.revision);
    assert_eq!(
        after.summary,
        "May not be used as described: the policy `policies/no-open` blocks this: ask the platform team."
    );
    assert!(after.sources.iter().any(|source| source.title == "policies/no-open"));

    // Another environment is not meant; where none is said it may be, and the label is what is missing.
    let staging = clients.check("allenai/OLMo-2-1124-7B", &labels(&[("environment", "staging")])).await;
    assert_eq!((staging.verdict(), of_policies(&staging).len()), (pb::Verdict::Eligible, 0));
    let unsaid = clients.check("allenai/OLMo-2-1124-7B", &labels(&[])).await;
    assert_eq!(unsaid.verdict(), pb::Verdict::NeedsReview);
    assert_eq!(of_policies(&unsaid), [("POLICY_UNDECIDED", "policies/no-open")]);
    assert_eq!(unsaid.missing_facts, ["labels.environment"]);

    // Not enforced it is worth knowing, and changes nothing.
    clients.put(dry(policy("no-open", condition, pb::PolicyEffect::Block))).await;
    let tried = clients.check("allenai/OLMo-2-1124-7B", &production).await;
    assert_eq!(tried.verdict(), pb::Verdict::Eligible);
    assert_eq!(of_policies(&tried), [("POLICY_DRY_RUN", "policies/no-open")]);

    // A duty is told among the duties.
    clients.put(policy("no-open", condition, pb::PolicyEffect::Duty)).await;
    let duty = clients.check("allenai/OLMo-2-1124-7B", &production).await;
    assert_eq!(duty.verdict(), pb::Verdict::EligibleWithConditions);
    let told: Vec<_> = duty.duties.iter().map(|duty| (duty.kind.as_str(), duty.text.as_str())).collect();
    assert_eq!(told, [("organization_policy", "ask the platform team")]);

    let deleted = pb::DeletePolicyRequest { name: "policies/no-open".into(), ..Default::default() };
    clients.policies.delete_policy(deleted).await.unwrap();
    let gone = clients.check("allenai/OLMo-2-1124-7B", &production).await;
    assert_eq!((gone.verdict(), &gone.findings), (before.verdict(), &before.findings));
    // As the registry stood it held.
    let request = pb::CheckEligibilityRequest {
        model: "allenai/OLMo-2-1124-7B".into(),
        r#use: Some(production),
        as_of_revision: written.revision,
        ..Default::default()
    };
    let past = clients.eligibility.check_eligibility(request).await.unwrap().into_inner().decision.unwrap();
    assert_eq!(past.verdict(), pb::Verdict::Ineligible);
}

#[tokio::test]
async fn mistakes_are_told_all_at_once_with_their_places() {
    let mut clients = Clients::new().await;
    let bad = pb::Policy {
        name: "policies/bad".into(),
        condition: "use.purpos = COMMERCIAL AND model.tier = OPEN".into(),
        ..Default::default()
    };
    let request = pb::CreatePolicyRequest { policy_id: "bad".into(), policy: Some(bad.clone()), ..Default::default() };
    let status = refused(clients.policies.create_policy(request).await, Code::InvalidArgument);
    assert_eq!(
        fields(&status),
        ["policy.message", "policy.effect", "policy.mode", "policy.condition", "policy.condition"]
    );
    let request = pb::ValidatePolicyRequest { policies: vec![bad, policy("ok", "llama", pb::PolicyEffect::Duty)] };
    let problems = clients.policies.validate_policy(request).await.unwrap().into_inner().problems;
    let of_condition: Vec<_> = problems
        .iter()
        .filter(|p| p.field == "policies[0].condition")
        .map(|p| (p.character, &*p.description))
        .collect();
    assert_eq!(of_condition.len(), 2);
    assert_eq!(of_condition[0].0, 1);
    assert!(of_condition[0].1.contains("use.purpose"), "{of_condition:?}");
    assert_eq!(of_condition[1].0, 42);
    assert!(problems.iter().all(|problem| problem.policy == "policies/bad"), "{problems:?}");
}

#[tokio::test]
async fn a_waiver_silences_a_policy_for_a_model_unless_nothing_may() {
    let mut clients = Clients::new().await;
    let use_ = labels(&[]);
    let everything = policy("all", "model.name:*", pb::PolicyEffect::Review);
    clients.put(everything.clone()).await;
    let waiver = pb::Waiver {
        name: "waivers/olmo".into(),
        reason: "POLICY_REVIEW".into(),
        model: "publishers/allenai/models/olmo-2-1124-7b".into(),
        policy: "policies/all".into(),
        approver: "security".into(),
        ticket: "SEC-7".into(),
        expire_time: Some(prost_types::Timestamp { seconds: 4_000_000_000, nanos: 0 }),
        ..Default::default()
    };
    let create = |waiver: pb::Waiver| pb::CreateWaiverRequest {
        waiver_id: "olmo".into(),
        waiver: Some(waiver),
        ..Default::default()
    };
    for (broken, field) in [
        (pb::Waiver { policy: String::new(), ..waiver.clone() }, "waiver.policy"),
        (pb::Waiver { policy: "policies/none".into(), ..waiver.clone() }, "waiver.policy"),
        (pb::Waiver { reason: "SCALE_GATE_EXCEEDED".into(), ..waiver.clone() }, "waiver.policy"),
        (pb::Waiver { license: "licenses/Apache-2.0".into(), ..waiver.clone() }, "waiver.license"),
    ] {
        let status = refused(clients.waivers.create_waiver(create(broken)).await, Code::InvalidArgument);
        assert_eq!(fields(&status), [field]);
    }
    clients.waivers.create_waiver(create(waiver.clone())).await.unwrap();
    let decision = clients.check("allenai/OLMo-2-1124-7B", &use_).await;
    assert_eq!(decision.verdict(), pb::Verdict::Eligible);
    let silenced = decision.findings.iter().find(|finding| finding.reason == "POLICY_REVIEW").unwrap();
    assert_eq!(silenced.waived_by, "waivers/olmo");
    assert_eq!(clients.check(LLAMA, &use_).await.verdict(), pb::Verdict::NeedsReview);

    // While the waiver names it, it stays.
    let delete = pb::DeletePolicyRequest { name: "policies/all".into(), ..Default::default() };
    let status = refused(clients.policies.delete_policy(delete).await, Code::FailedPrecondition);
    assert_eq!(reason(&status), "POLICY_IN_USE");
    // Once nothing may silence it, the waiver does not, and no other is taken.
    clients.put(pb::Policy { unwaivable: true, ..everything }).await;
    assert_eq!(clients.check("allenai/OLMo-2-1124-7B", &use_).await.verdict(), pb::Verdict::NeedsReview);
    let other = pb::Waiver { name: String::new(), ..waiver };
    let other = pb::CreateWaiverRequest { waiver_id: "other".into(), waiver: Some(other), ..Default::default() };
    let status = refused(clients.waivers.create_waiver(other).await, Code::InvalidArgument);
    assert_eq!(fields(&status), ["waiver.policy"]);
}

#[tokio::test]
async fn the_filter_that_lists_the_offenders_is_the_policy_that_stops_them() {
    for condition in [
        "model.tier = PROPRIETARY",
        "license.commercial_use != ALLOWED AND parameters > 1B",
        r#"NOT publisher = "meta" AND license.duties:share_alike"#,
        "unknown(license.commercial_use = ALLOWED)",
        "parameters > 60B OR release_date < 2024",
    ] {
        let mut clients = Clients::new().await;
        let mut listed = Vec::new();
        let mut page_token = String::new();
        loop {
            let request =
                pb::ListModelsRequest { filter: condition.into(), page_size: 1_000, page_token, ..Default::default() };
            let page = clients.models.list_models(request).await.unwrap().into_inner();
            listed.extend(page.models.into_iter().map(|model| model.name));
            page_token = page.next_page_token;
            if page_token.is_empty() {
                break;
            }
        }
        assert!(!listed.is_empty(), "{condition}");
        let request = pb::SimulatePolicyRequest {
            policies: vec![policy("offenders", condition, pb::PolicyEffect::Block)],
            scope: Some(Scope::Models(ModelsScope { r#use: Some(labels(&[])), ..Default::default() })),
            max_changes: 1,
            ..Default::default()
        };
        let tried = clients.policies.simulate_policy(request).await.unwrap().into_inner();
        let blocks = tried.reasons.iter().find(|reason| reason.reason == "POLICY_BLOCKS").unwrap();
        assert_eq!((usize::try_from(blocks.added).unwrap(), &*blocks.policy), (listed.len(), "policies/offenders"));
        assert!(tried.changes.len() <= 1);

        // What it said comes true, model by model: the list of eligible models is what checks say.
        clients.put(policy("offenders", condition, pb::PolicyEffect::Block)).await;
        let request = pb::ListEligibleModelsRequest {
            r#use: Some(labels(&[])),
            verdicts: vec![pb::Verdict::Ineligible.into()],
            filter: condition.into(),
            page_size: 1,
            ..Default::default()
        };
        let ineligible = clients.eligibility.list_eligible_models(request).await.unwrap().into_inner();
        assert_eq!(usize::try_from(ineligible.total_size).unwrap(), listed.len(), "{condition}");
    }
}

#[tokio::test]
async fn a_simulation_over_the_log_asks_the_same_questions_again() {
    let mut clients = Clients::new().await;
    let record = async |clients: &mut Clients, model: &str, use_: &pb::Use| {
        let request = pb::CheckEligibilityRequest {
            model: model.into(),
            r#use: Some(use_.clone()),
            record: true,
            ..Default::default()
        };
        clients.eligibility.check_eligibility(request).await.unwrap().into_inner().decision.unwrap()
    };
    let production = labels(&[("environment", "production")]);
    let first = record(&mut clients, "allenai/OLMo-2-1124-7B", &production).await;
    record(&mut clients, "allenai/OLMo-2-1124-7B", &labels(&[("environment", "staging")])).await;
    record(&mut clients, GPT, &production).await;
    let condition = r#"use.labels.environment = "production" AND model.publisher = "allenai""#;
    let request = pb::SimulatePolicyRequest {
        policies: vec![policy("x", condition, pb::PolicyEffect::Block)],
        scope: Some(Scope::Decisions(DecisionsScope::default())),
        ..Default::default()
    };
    let tried = clients.policies.simulate_policy(request.clone()).await.unwrap().into_inner();
    assert_eq!((tried.checked, tried.changed, tried.skipped), (3, 1, 0));
    let change = &tried.changes[0];
    assert_eq!(
        (&change.decision, change.before(), change.after()),
        (&first.name, first.verdict(), pb::Verdict::Ineligible)
    );
    assert_eq!(change.added.iter().map(|f| f.reason.as_str()).collect::<Vec<_>>(), ["POLICY_BLOCKS"]);
    assert!(tried.transitions.iter().map(|t| t.count).sum::<i32>() == 3);
    // Nothing was written.
    assert_eq!(
        clients.policies.list_policies(pb::ListPoliciesRequest::default()).await.unwrap().into_inner().total_size,
        0
    );

    let everything_wrong = pb::SimulatePolicyRequest {
        policies: vec![policy("x", "use.x = 1", pb::PolicyEffect::Block)],
        deleted_policies: vec!["policies/none".into()],
        max_changes: -1,
        scope: None,
        min_revision: 0,
    };
    let status = refused(clients.policies.simulate_policy(everything_wrong).await, Code::InvalidArgument);
    assert_eq!(fields(&status), ["max_changes", "deleted_policies[0]", "policies[0].condition", "scope"]);
    let details = status.get_error_details();
    assert_eq!(details.error_info().unwrap().domain, "weighbridge");
}

#[tokio::test]
async fn a_policy_is_not_passed_by_where_its_words_stand() {
    let mut clients = Clients::new().await;
    // A choice between licenses, of which each would meet one of two policies.
    let weights = pb::Component {
        kind: pb::component::Kind::ModelWeights.into(),
        availability: pb::component::Availability::Available.into(),
        license_expression: "LicenseRef-Llama-3.3-Community OR CC-BY-NC-4.0".into(),
        ..Default::default()
    };
    let request = pb::CreateModelRequest {
        parent: "publishers/acme".into(),
        model_id: "choice".into(),
        model: Some(pb::Model { components: vec![weights], ..Default::default() }),
        ..Default::default()
    };
    clients.models.create_model(request).await.unwrap();
    let large = pb::Use {
        organization: Some(pb::Organization {
            monthly_active_users: Some(200_000_000),
            ..labels(&[]).organization.unwrap()
        }),
        ..labels(&[])
    };
    let earlier = pb::Use { model_revision: "2023-12-15".into(), ..labels(&[]) };
    let competing = pb::Use { activities: vec![pb::Activity::TrainCompetingModels.into()], ..labels(&[]) };
    let weapons = pb::Use { categories: vec!["biological-chemical-weapons".into()], ..labels(&[]) };
    let exact = pb::Use {
        measures: vec![pb::Measure {
            metric: "monthly_active_users".into(),
            subject: pb::MeasureSubject::Group.into(),
            value: Some(800_000_000),
            ..Default::default()
        }],
        ..labels(&[])
    };
    let two_figures = pb::Use {
        organization: Some(pb::Organization { monthly_active_users: Some(5), ..labels(&[]).organization.unwrap() }),
        ..exact.clone()
    };
    let exact = pb::Use {
        organization: Some(pb::Organization { monthly_active_users: None, ..labels(&[]).organization.unwrap() }),
        ..exact
    };
    let unhosted = pb::Use { hosting: 0, ..labels(&[]) };
    let on_devices = pb::Use { hosting: pb::Hosting::EdgeOffline.into(), ..labels(&[]) };
    let served = pb::Use { hosting: pb::Hosting::VendorApi.into(), provider: "openai".into(), ..labels(&[]) };
    const OLMO: &str = "allenai/OLMo-2-1124-7B";
    // None of the licenses meets it, so that it does not matter which is chosen.
    for condition in [
        "license.commercial_use = PROHIBITED AND license.scale_gates:monthly_active_users",
        "license.commercial_use = PROHIBITED AND license.id:LicenseRef-Llama-3.3-Community",
        "license.osi_approved = true",
    ] {
        clients.put(policy("p", condition, pb::PolicyEffect::Block)).await;
        assert_eq!(of_policies(&clients.check("acme/choice", &large).await), [], "{condition}");
    }
    for (condition, model, use_, reason) in [
        ("license.commercial_use = PROHIBITED", "acme/choice", &large, "POLICY_UNDECIDED"),
        ("license.scale_gates:monthly_active_users", "acme/choice", &large, "POLICY_UNDECIDED"),
        // An earlier license of the weights; the record's current one is Apache-2.0.
        ("license.id:LicenseRef-Yi-Community-2.1", "01-ai/Yi-34B", &earlier, "POLICY_UNDECIDED"),
        ("NOT license.osi_approved = true", "01-ai/Yi-34B", &earlier, "POLICY_UNDECIDED"),
        // A license that another one brings in.
        ("license.id:LicenseRef-Llama-2-Community", "THUDM/CogVLM", &large, "POLICY_BLOCKS"),
        // An ancestor's license beside its own.
        (
            "license.id:LicenseRef-Llama-3.3-Community",
            "deepseek-ai/DeepSeek-R1-Distill-Llama-70B",
            &large,
            "POLICY_BLOCKS",
        ),
        ("NOT license.osi_approved = true", "deepseek-ai/DeepSeek-R1-Distill-Llama-70B", &large, "POLICY_BLOCKS"),
        // What is more than what it says.
        ("use.activities:TRAIN_OTHER_MODELS", OLMO, &competing, "POLICY_BLOCKS"),
        ("use.categories:weapons", OLMO, &weapons, "POLICY_BLOCKS"),
        ("use.categories:biological_chemical_weapons", OLMO, &weapons, "POLICY_BLOCKS"),
        ("use.organization.monthly_active_users > 100M", OLMO, &exact, "POLICY_BLOCKS"),
        ("use.provider = \"providers/openai\"", "openai/gpt-4o", &served, "POLICY_BLOCKS"),
        ("use.provider = \"providers/open*\"", "openai/gpt-4o", &served, "POLICY_BLOCKS"),
        ("use.categories:biological_*", OLMO, &weapons, "POLICY_BLOCKS"),
        ("use.activities:REDISTRIBUTE_WEIGHTS", OLMO, &on_devices, "POLICY_BLOCKS"),
        // Where it is hosted decides that, and the highest month to date is at least what it is now.
        ("NOT use.activities:REDISTRIBUTE_WEIGHTS", OLMO, &unhosted, "POLICY_UNDECIDED"),
        ("NOT use.organization.monthly_active_users > 900M", OLMO, &exact, "POLICY_UNDECIDED"),
        // Two figures that do not agree.
        ("use.organization.monthly_active_users > 400M", OLMO, &two_figures, "POLICY_UNDECIDED"),
        ("use.end_user_countries:us", OLMO, &large, "POLICY_BLOCKS"),
    ] {
        clients.put(policy("p", condition, pb::PolicyEffect::Block)).await;
        let decision = clients.check(model, use_).await;
        assert_eq!(of_policies(&decision), [(reason, "policies/p")], "{condition}");
        assert!(decision.verdict() >= pb::Verdict::NeedsReview, "{condition}");
    }
    // What is misspelled is refused, and does not lie in wait.
    for condition in ["use.organization.country = Germany", "use.end_user_countries:EU", "use.categories:wepons"] {
        let request = pb::CreatePolicyRequest {
            policy_id: "wrong".into(),
            policy: Some(pb::Policy { name: String::new(), ..policy("p", condition, pb::PolicyEffect::Block) }),
            ..Default::default()
        };
        let status = refused(clients.policies.create_policy(request).await, Code::InvalidArgument);
        assert_eq!(fields(&status), ["policy.condition"], "{condition}");
    }
    // All labels that are missing are named at once.
    clients.put(policy("p", "use.labels.a = x AND use.labels.b = y", pb::PolicyEffect::Block)).await;
    let decision = clients.check(OLMO, &labels(&[])).await;
    assert_eq!(decision.missing_facts, ["labels.a", "labels.b"]);
}

// ---- laws

const CONDITIONS: &[&str] = &[
    "use.purpose = COMMERCIAL",
    "NOT use.purpose = RESEARCH AND model.tier = OPEN_WEIGHT",
    r#"use.labels.environment = "production""#,
    r#"use.labels:environment AND NOT use.labels.environment = "production""#,
    "use.activities:FINE_TUNE",
    "NOT use.activities:OFFER_AS_SERVICE AND license.commercial_use != ALLOWED",
    "use.organization.monthly_active_users > 1M",
    "NOT use.organization.country = US",
    "use.end_user_countries:DE OR use.hosting = VENDOR_API",
    "decision.verdict >= NEEDS_REVIEW",
    "decision.duties:include_license_copy AND use.hosting = SELF_HOSTED",
    "decision.reasons:SCALE_GATE_EXCEEDED OR decision.reasons:TERMS_NOT_READ",
    "unknown(model.context_tokens > 1000)",
    "license_evidence < TEXT_READ AND use.purpose = COMMERCIAL",
    "use.provider = \"providers/openai\"",
    "license.scale_gates:* AND use.organization.monthly_active_users > 1M",
    "NOT license.use_restrictions:*",
    "use.activities:REDISTRIBUTE_DERIVATIVE OR NOT use.activities:REDISTRIBUTE_WEIGHTS",
    "use.organization.daily_active_users < 50k",
    "use.activities:TRAIN_OTHER_MODELS OR NOT license.id:MIT",
    "use.categories:medical_advice OR license.osi_approved = true",
    "use.categories:medical-advice AND NOT use.fulfilled_duties:registration",
];

fn policies() -> impl Strategy<Value = Vec<pb::Policy>> {
    let condition = prop::sample::subsequence(CONDITIONS, 1..3);
    let joined = (condition, any::<bool>()).prop_map(|(parts, all)| parts.join(if all { ") AND (" } else { ") OR (" }));
    let one = (joined, 1..4_i32).prop_map(|(condition, effect)| {
        let effect = pb::PolicyEffect::try_from(effect).unwrap();
        policy("p", &format!("({condition})"), effect)
    });
    prop::collection::vec(one, 1..4).prop_map(|list| {
        let named = |(i, policy): (usize, pb::Policy)| pb::Policy { name: format!("policies/p{i}"), ..policy };
        list.into_iter().enumerate().map(named).collect()
    })
}

/// Uses with facts left out, each of which can be put back.
fn uses() -> impl Strategy<Value = (pb::Use, pb::Use)> {
    let full = (
        1..7_i32,
        prop::sample::select(vec!["US", "DE", "CN"]),
        1..5_i32,
        prop::sample::select(vec![10_i64, 2_000_000, 800_000_000]),
        prop::sample::subsequence(vec![1_i32, 5, 7, 8], 0..3),
        prop::sample::select(vec!["production", "staging"]),
        prop::sample::subsequence(vec!["medical-advice"], 0..2),
    );
    let full = full.prop_map(|(purpose, country, hosting, users, activities, environment, categories)| pb::Use {
        purpose,
        hosting,
        organization: Some(pb::Organization {
            country: country.into(),
            r#type: pb::organization::Type::Company.into(),
            business_types: vec!["none".into()],
            monthly_active_users: Some(users),
            daily_active_users: Some(users / 10),
            annual_revenue_usd: Some(users),
            monthly_revenue_usd: Some(users / 12),
            employee_count: Some(3),
        }),
        deployment_countries: vec![country.into()],
        end_user_countries: vec![country.into()],
        activities,
        categories: categories.into_iter().map(str::to_owned).collect(),
        labels: [("environment".to_owned(), environment.to_owned())].into(),
        ..Default::default()
    });
    // Never the label: whether it is there is itself asked.
    (full, prop::collection::vec(any::<bool>(), 6)).prop_map(|(full, left_out)| {
        let mut less = full.clone();
        let organization = less.organization.as_mut().unwrap();
        for (i, out) in left_out.into_iter().enumerate() {
            match (out, i) {
                (false, _) => {}
                (_, 0) => less.purpose = 0,
                (_, 1) => organization.country.clear(),
                (_, 2) => organization.monthly_active_users = None,
                (_, 3) => less.hosting = 0,
                (_, 4) => less.end_user_countries.clear(),
                _ => less.deployment_countries.clear(),
            }
        }
        (full, less)
    })
}

fn facts(snapshot: &Snapshot, message: &pb::Use) -> Use {
    let request = pb::CheckEligibilityRequest { model: "x".into(), r#use: Some(message.clone()), ..Default::default() };
    convert::check_request(request, None, &snapshot.reference().vocabulary).unwrap().use_
}

fn with(snapshot: &Snapshot, policies: &[pb::Policy]) -> Snapshot {
    let set: PolicySet = policies.iter().map(|policy| Arc::new(convert::policy(policy, "").unwrap())).collect();
    snapshot.with_policy_set(set)
}

/// Models under choices of licenses, of their own and of ancestors, of which one is too wide to be told apart.
async fn with_choices(registry: &Registry) {
    let wide: Vec<String> = (0..17).map(|i| format!("LicenseRef-Choice-{i}")).collect();
    for (id, expression, base) in [
        ("either", "Apache-2.0 OR MIT", ""),
        ("apart", "LicenseRef-Llama-3.3-Community OR CC-BY-NC-4.0", ""),
        ("both", "(MIT OR CC-BY-NC-4.0) AND Apache-2.0", ""),
        ("child", "LicenseRef-Llama-3.3-Community OR CC-BY-NC-4.0", "publishers/choices/models/apart"),
        ("unknown", "MIT OR LicenseRef-Unknown", ""),
        ("wide", &wide.join(" OR "), ""),
    ] {
        let weights = pb::Component {
            kind: pb::component::Kind::ModelWeights.into(),
            availability: pb::component::Availability::Available.into(),
            license_expression: expression.into(),
            ..Default::default()
        };
        let base = pb::BaseModel {
            model: base.into(),
            relation: pb::base_model::Relation::FineTune.into(),
            ..Default::default()
        };
        let model = pb::Model {
            components: vec![weights],
            base_models: Some(base).filter(|base| !base.model.is_empty()).into_iter().collect(),
            ..Default::default()
        };
        let request = pb::CreateModelRequest {
            parent: "publishers/choices".into(),
            model_id: id.into(),
            model: Some(model),
            ..Default::default()
        };
        registry.create_model(request).await.unwrap();
    }
}

#[tokio::test]
async fn laws_hold_whatever_the_policies_say() {
    let registry = Registry::open(Arc::new(MemoryStore::new()), Arc::new(jiff::Timestamp::now)).await.unwrap();
    with_choices(&registry).await;
    let snapshot = registry.snapshot();
    let is_ours = |entry: &Arc<Entry<Model>>| entry.record.name.publisher() == "choices";
    let (ours, others): (Vec<_>, Vec<_>) = snapshot.models().cloned().partition(is_ours);
    let models: Vec<_> = others.into_iter().step_by(7).chain(ours).collect();
    let day = weighbridge::domain::date::Date::parse("2026-11-30").unwrap();
    let mut runner = TestRunner::deterministic();
    let (policies, uses) = (policies(), uses());
    let mut seen = [0_usize; 4];
    for round in 0..600 {
        let policies = policies.new_tree(&mut runner).unwrap().current();
        let (full, less) = uses.new_tree(&mut runner).unwrap().current();
        let (full, less) = (facts(&snapshot, &full), facts(&snapshot, &less));
        let ruled = with(&snapshot, &policies);
        let dry: Vec<_> = policies.iter().cloned().map(dry).collect();
        let tried = with(&snapshot, &dry);
        let fewer = with(&snapshot, &policies[1..]);
        for entry in models.iter().skip(round % 5).step_by(5) {
            let model = &entry.record;
            let judged = |on: &Snapshot, use_: &Use| verdict(on, model, use_, day, Waivers::default());
            let context = || format!("{}\n{policies:#?}\n{less:?}", model.name);
            for use_ in [&full, &less] {
                let (plain, under) = (judged(&snapshot, use_), judged(&ruled, use_));
                // A policy never improves a verdict, and one more never improves it further.
                assert!(under >= plain && under >= judged(&fewer, use_), "{}", context());
                // One that is not enforced changes none.
                assert_eq!(judged(&tried, use_), plain, "{}", context());
                // The verdict alone is that of the whole decision, whose findings lead to it.
                let decision = evaluate(&ruled, model, use_, day, Waivers::default());
                assert_eq!(decision.verdict, under, "{}", context());
                let gravest = decision.findings.iter().filter_map(|f| f.acts()).map(|e| e.verdict()).max();
                assert_eq!(gravest.unwrap_or(Verdict::Eligible), under, "{}", context());
                // A fact is missing where one is part of the cause of a review.
                let waits = decision
                    .findings
                    .iter()
                    .any(|f| f.acts().is_some_and(|e| e.verdict() == Verdict::NeedsReview) && f.waits());
                assert_eq!(!decision.missing_facts().is_empty(), waits, "{}", context());
                for finding in decision.findings.iter().filter(|f| f.reason == Reason::PolicyUndecided) {
                    assert!(finding.policy().is_some(), "{}", context());
                }
                // What is taken as not done is what would have worsened it.
                let assumed = decision.findings.iter().find_map(|f| match f.detail {
                    Detail::Assumed(activities) => Some(activities),
                    _ => None,
                });
                let worsens = |activity: &Activity| {
                    let more = Use { activities: use_.activities.with(*activity), ..use_.clone() };
                    judged(&ruled, &more) > under
                };
                let expected: Activities = Activity::ALL.iter().copied().filter(worsens).collect();
                assert_eq!(assumed.unwrap_or_default(), expected, "{}", context());
                seen[under as usize] += 1;
            }
            // What was told with facts missing stays so when they are known; no fact that is left out makes a yes.
            let (unsure, sure) = (judged(&ruled, &less), judged(&ruled, &full));
            let is_yes = |verdict: Verdict| verdict <= Verdict::EligibleWithConditions;
            assert!(unsure == Verdict::NeedsReview || unsure == sure, "{unsure} and {sure}: {}", context());
            assert!(!is_yes(unsure) || is_yes(sure), "{}", context());
            // The order of policies does not matter.
            let turned: Vec<_> = policies.iter().rev().cloned().collect();
            assert_eq!(
                evaluate(&with(&snapshot, &turned), model, &less, day, Waivers::default()),
                evaluate(&ruled, model, &less, day, Waivers::default()),
                "{}",
                context()
            );
        }
    }
    // Each verdict was met often enough for the laws to mean something.
    assert!(seen.iter().all(|count| *count > 500), "{seen:?}");
}
