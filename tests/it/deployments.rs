//! Deployments: judged when they are asked for, and watched: each change of a verdict once, with what led to it, and nothing else.

use std::time::{Duration, Instant};

use tonic::transport::Channel;
use tonic::{Code, Streaming};
use weighbridge::pb::weighbridge::v1 as pb;
use weighbridge::pb::weighbridge::v1::deployment_service_client::DeploymentServiceClient;
use weighbridge::pb::weighbridge::v1::license_service_client::LicenseServiceClient;
use weighbridge::pb::weighbridge::v1::model_service_client::ModelServiceClient;
use weighbridge::pb::weighbridge::v1::policy_service_client::PolicyServiceClient;
use weighbridge::pb::weighbridge::v1::simulate_policy_request::{DeploymentsScope, Scope};
use weighbridge::pb::weighbridge::v1::use_profile_service_client::UseProfileServiceClient;
use weighbridge::pb::weighbridge::v1::waiver_service_client::WaiverServiceClient;

use crate::harness::{TestServer, fields, reason, refused};

const OLMO: &str = "publishers/allenai/models/olmo-2-1124-7b";

struct Clients {
    _server: TestServer,
    deployments: DeploymentServiceClient<Channel>,
    licenses: LicenseServiceClient<Channel>,
    models: ModelServiceClient<Channel>,
    policies: PolicyServiceClient<Channel>,
    profiles: UseProfileServiceClient<Channel>,
    waivers: WaiverServiceClient<Channel>,
}

impl Clients {
    async fn new() -> Self {
        let server = TestServer::in_memory();
        let channel = server.connect().await;
        Self {
            _server: server,
            deployments: DeploymentServiceClient::new(channel.clone()),
            licenses: LicenseServiceClient::new(channel.clone()),
            models: ModelServiceClient::new(channel.clone()),
            policies: PolicyServiceClient::new(channel.clone()),
            profiles: UseProfileServiceClient::new(channel.clone()),
            waivers: WaiverServiceClient::new(channel),
        }
    }

    async fn deploy(&mut self, deployment: pb::Deployment) -> pb::Deployment {
        let request =
            pb::UpdateDeploymentRequest { deployment: Some(deployment), allow_missing: true, ..Default::default() };
        self.deployments.update_deployment(request).await.unwrap().into_inner()
    }

    async fn rule(&mut self, policy: pb::Policy) {
        let request = pb::UpdatePolicyRequest { policy: Some(policy), allow_missing: true, ..Default::default() };
        self.policies.update_policy(request).await.unwrap();
    }

    async fn watch(&mut self, request: pb::WatchDeploymentsRequest) -> Watch {
        let heartbeat_interval = Some(prost_types::Duration { seconds: 0, nanos: 100_000_000 });
        let request = pb::WatchDeploymentsRequest { heartbeat_interval, ..request };
        Watch(self.deployments.watch_deployments(request).await.unwrap().into_inner())
    }

    async fn model(&mut self, id: &str, license: &str, base: Option<&str>) {
        let weights = pb::Component {
            kind: pb::component::Kind::ModelWeights.into(),
            availability: pb::component::Availability::Available.into(),
            license_expression: license.into(),
            ..Default::default()
        };
        let base_models = base.map(|base| pb::BaseModel {
            model: base.into(),
            relation: pb::base_model::Relation::FineTune.into(),
            ..Default::default()
        });
        let model = pb::Model {
            // One publisher may relicense its own work, so each is another one's.
            name: format!("publishers/{id}-labs/models/{id}"),
            components: vec![weights],
            base_models: base_models.into_iter().collect(),
            ..Default::default()
        };
        let update_mask = Some(prost_types::FieldMask { paths: vec!["*".into()] });
        let request =
            pb::UpdateModelRequest { model: Some(model), update_mask, allow_missing: true, ..Default::default() };
        self.models.update_model(request).await.unwrap();
    }
}

struct Watch(Streaming<pb::WatchDeploymentsResponse>);

/// A change: kind, deployment, verdicts before and after, causes.
type Told = (pb::DeploymentChangeKind, String, pb::Verdict, pb::Verdict, Vec<String>);

impl Watch {
    /// The next message with changes.
    async fn next(&mut self) -> pb::WatchDeploymentsResponse {
        let until = Instant::now() + Duration::from_secs(20);
        while Instant::now() < until {
            let message = self.0.message().await.unwrap().unwrap();
            if !message.changes.is_empty() {
                return message;
            }
        }
        panic!("nothing has changed");
    }

    async fn told(&mut self) -> Vec<Told> {
        let changes = self.next().await.changes;
        let told = |change: pb::DeploymentChange| {
            let name = change.deployment.as_ref().unwrap().name.clone();
            (change.kind(), name, change.before(), change.after(), change.causes)
        };
        changes.into_iter().map(told).collect()
    }

    /// Nothing is told up to a revision.
    async fn is_silent_until(&mut self, revision: i64) {
        loop {
            let message = self.0.message().await.unwrap().unwrap();
            assert_eq!(message.changes, [], "{message:?}");
            if message.revision >= revision {
                return;
            }
        }
    }
}

fn facts() -> pb::Use {
    pb::Use {
        purpose: pb::Purpose::Research.into(),
        hosting: pb::Hosting::SelfHosted.into(),
        organization: Some(pb::Organization {
            country: "US".into(),
            r#type: pb::organization::Type::Academic.into(),
            business_types: vec!["none".into()],
            ..Default::default()
        }),
        deployment_countries: vec!["US".into()],
        end_user_countries: vec!["US".into()],
        ..Default::default()
    }
}

fn deployment(id: &str, model: &str) -> pb::Deployment {
    pb::Deployment {
        name: format!("deployments/{id}"),
        model: model.into(),
        r#use: Some(facts()),
        owner: "team-search".into(),
        environment: "production".into(),
        ..Default::default()
    }
}

fn policy(condition: &str) -> pb::Policy {
    pb::Policy {
        name: "policies/p".into(),
        condition: condition.into(),
        effect: pb::PolicyEffect::Block.into(),
        message: "ask the platform team".into(),
        mode: pb::PolicyMode::Enforced.into(),
        ..Default::default()
    }
}

#[tokio::test]
async fn a_deployment_is_judged_when_it_is_asked_for() {
    let mut clients = Clients::new().await;
    let created = clients.deploy(deployment("one", "allenai/OLMo-2-1124-7B")).await;
    assert_eq!((created.verdict(), created.resolved_model.as_str()), (pb::Verdict::Eligible, OLMO));
    assert_eq!(created.evaluated_revision, created.revision);
    // Its owner and environment are labels of its use.
    clients.rule(policy(r#"use.labels.owner = "team-search" AND use.labels.environment = "production""#)).await;
    let get = pb::GetDeploymentRequest { name: "deployments/one".into() };
    let found = clients.deployments.get_deployment(get.clone()).await.unwrap().into_inner();
    assert_eq!((found.verdict(), &found.reasons[..]), (pb::Verdict::Ineligible, &["POLICY_BLOCKS".to_owned()][..]));
    assert_eq!(found.etag, created.etag);
    let other = pb::Deployment { environment: "staging".into(), ..deployment("two", "allenai/OLMo-2-1124-7B") };
    clients.deploy(other).await;
    let list = async |clients: &mut Clients, request: pb::ListDeploymentsRequest| {
        let page = clients.deployments.list_deployments(request).await.unwrap().into_inner();
        let names: Vec<String> = page.deployments.into_iter().map(|deployment| deployment.name).collect();
        (names, page.total_size, page.next_page_token)
    };
    let all = list(&mut clients, pb::ListDeploymentsRequest { page_size: 1, ..Default::default() }).await;
    assert_eq!((&all.0[..], all.1), (&["deployments/one".to_owned()][..], 2));
    let next = pb::ListDeploymentsRequest { page_size: 1, page_token: all.2.clone(), ..Default::default() };
    let next = list(&mut clients, next).await;
    assert_eq!((&next.0[..], next.1, &*next.2), (&["deployments/two".to_owned()][..], 2, ""));
    let blocked = vec![pb::Verdict::Ineligible.into()];
    let blocked = pb::ListDeploymentsRequest { verdicts: blocked, ..Default::default() };
    assert_eq!(list(&mut clients, blocked.clone()).await.0, ["deployments/one"]);
    let staging = pb::ListDeploymentsRequest { environment: "staging".into(), ..Default::default() };
    assert_eq!(list(&mut clients, staging).await.0, ["deployments/two"]);
    let misused = pb::ListDeploymentsRequest { page_token: all.2, ..blocked };
    refused(clients.deployments.list_deployments(misused).await, Code::InvalidArgument);

    // Everything that is wrong with one is told at once.
    let wrong = pb::Deployment {
        model: "nobody/nothing".into(),
        use_profile: "useProfiles/none".into(),
        ..deployment("three", "")
    };
    let create = |deployment: pb::Deployment| pb::CreateDeploymentRequest {
        deployment_id: "three".into(),
        deployment: Some(deployment),
        ..Default::default()
    };
    let status = refused(clients.deployments.create_deployment(create(wrong)).await, Code::InvalidArgument);
    assert_eq!(fields(&status), ["deployment.model", "deployment.use_profile"]);
    let late = pb::Use { at: Some(prost_types::Timestamp { seconds: 5, nanos: 0 }), ..facts() };
    let wrong = pb::Deployment { r#use: Some(late), model: String::new(), ..deployment("three", "") };
    let status = refused(clients.deployments.create_deployment(create(wrong)).await, Code::InvalidArgument);
    assert_eq!(fields(&status), ["deployment.model", "deployment.use.at"]);

    // A model that is gone is a review, not an error.
    clients.model("gone", "MIT", None).await;
    clients.deploy(deployment("one", "publishers/gone-labs/models/gone")).await;
    let delete = pb::DeleteModelRequest { name: "publishers/gone-labs/models/gone".into(), ..Default::default() };
    clients.models.delete_model(delete).await.unwrap();
    let found = clients.deployments.get_deployment(get).await.unwrap().into_inner();
    assert_eq!((found.verdict(), &*found.resolved_model), (pb::Verdict::NeedsReview, ""));
    assert!(found.summary.contains("publishers/gone-labs/models/gone"), "{}", found.summary);
}

#[tokio::test]
async fn a_policy_that_turns_three_of_two_hundred_does_what_was_predicted() {
    let mut clients = Clients::new().await;
    let models = ["allenai/OLMo-2-1124-7B", "Qwen/Qwen3-32B", "mistralai/Mistral-7B-v0.1", "microsoft/phi-4"];
    for i in 0..200 {
        let turned = [17, 99, 160].contains(&i);
        let id = format!("d{i:03}");
        let one = deployment(&id, models[i % models.len()]);
        let one = if turned { pb::Deployment { model: "deepseek-ai/DeepSeek-R1".into(), ..one } } else { one };
        clients.deploy(one).await;
    }
    let policy = policy(r#"use.labels.environment = "production" AND model.publisher = "deepseek""#);
    let request = pb::SimulatePolicyRequest {
        policies: vec![policy.clone()],
        scope: Some(Scope::Deployments(DeploymentsScope::default())),
        ..Default::default()
    };
    let tried = clients.policies.simulate_policy(request).await.unwrap().into_inner();
    assert_eq!((tried.checked, tried.changed, tried.skipped), (200, 3, 0));
    let predicted: Vec<_> = tried.changes.iter().map(|c| (c.deployment.clone(), c.before(), c.after())).collect();
    let names: Vec<&str> = predicted.iter().map(|(name, ..)| name.as_str()).collect();
    assert_eq!(names, ["deployments/d017", "deployments/d099", "deployments/d160"]);

    let mut watch = clients.watch(pb::WatchDeploymentsRequest::default()).await;
    clients.rule(pb::Policy { mode: pb::PolicyMode::DryRun.into(), ..policy.clone() }).await;
    clients.rule(policy).await;
    // Not by the dry run, and all in one message.
    let message = watch.next().await;
    let told: Vec<_> =
        message.changes.iter().map(|c| (c.deployment.as_ref().unwrap().name.clone(), c.before(), c.after())).collect();
    assert_eq!(told, predicted);
    for change in &message.changes {
        assert_eq!(change.kind(), pb::DeploymentChangeKind::Changed);
        assert_eq!(change.causes, ["policies/p"]);
        let added: Vec<&str> = change.added.iter().map(|finding| finding.reason.as_str()).collect();
        assert_eq!(added, ["POLICY_BLOCKS"]);
    }
    let delete = pb::DeletePolicyRequest { name: "policies/p".into(), ..Default::default() };
    clients.policies.delete_policy(delete).await.unwrap();
    let back = watch.next().await;
    assert_eq!(back.changes.len(), 3);
    assert!(back.changes.iter().zip(&message.changes).all(|(b, m)| (b.before, b.after) == (m.after, m.before)));
}

#[tokio::test]
async fn each_change_is_told_once_with_its_cause_and_nothing_else_is() {
    use pb::DeploymentChangeKind::{Added, Changed, Removed};
    use pb::Verdict::{EligibleWithConditions, Ineligible, NeedsReview, Unspecified};
    let mut clients = Clients::new().await;
    clients.model("base", "Apache-2.0", None).await;
    clients.model("tuned", "MIT", Some("publishers/base-labs/models/base")).await;
    clients.model("other", "MIT", None).await;
    let profile = |purpose: pb::Purpose| pb::UpdateUseProfileRequest {
        use_profile: Some(pb::UseProfile {
            name: "useProfiles/lab".into(),
            r#use: Some(pb::Use { purpose: purpose.into(), ..facts() }),
            ..Default::default()
        }),
        allow_missing: true,
        ..Default::default()
    };
    clients.profiles.update_use_profile(profile(pb::Purpose::Research)).await.unwrap();
    let mut watch = clients.watch(pb::WatchDeploymentsRequest::default()).await;
    let tuned = pb::Deployment {
        r#use: None,
        use_profile: "useProfiles/lab".into(),
        ..deployment("tuned", "publishers/tuned-labs/models/tuned")
    };
    let first = clients.deploy(tuned.clone()).await;
    let name = || "deployments/tuned".to_owned();
    assert_eq!(watch.told().await, [(Added, name(), Unspecified, first.verdict(), vec![name()])]);
    let start = first.verdict();
    assert!(start <= EligibleWithConditions, "{start:?}");

    // What it does not rest on is told of nobody.
    clients.model("other", "LicenseRef-Unheard-Of", None).await;
    // The profile is still named.
    let delete = pb::DeleteUseProfileRequest { name: "useProfiles/lab".into(), ..Default::default() };
    let status = refused(clients.profiles.delete_use_profile(delete).await, Code::FailedPrecondition);
    assert_eq!(reason(&status), "USE_PROFILE_IN_USE");
    // An ancestor.
    clients.model("base", "LicenseRef-Unheard-Of", None).await;
    let base = "publishers/base-labs/models/base".to_owned();
    assert_eq!(watch.told().await, [(Changed, name(), start, NeedsReview, vec![base.clone()])]);
    clients.model("base", "LicenseRef-Acme", None).await;
    // Its license becomes known: the verdict is another one again.
    let license = |commercial: &str| {
        let granted = |status| Some(pb::Permission { status, ..Default::default() });
        let allowed = pb::permission::Status::Allowed as i32;
        let of_commerce = if commercial == "allowed" { allowed } else { pb::permission::Status::Prohibited as i32 };
        pb::UpdateLicenseRequest {
            license: Some(pb::License {
                name: "licenses/LicenseRef-Acme".into(),
                display_name: "Acme".into(),
                url: "https://example.com".into(),
                category: pb::license::Category::OpenWeightPermissive.into(),
                confidence: pb::license::Confidence::ReadFullText.into(),
                permissions: Some(pb::Permissions {
                    r#use: granted(allowed),
                    commercial_use: granted(of_commerce),
                    modify: granted(allowed),
                    fine_tune: granted(allowed),
                    redistribute: granted(allowed),
                    offer_as_service: granted(allowed),
                    use_outputs: granted(allowed),
                    train_other_models: granted(allowed),
                    ..Default::default()
                }),
                ..Default::default()
            }),
            update_mask: Some(prost_types::FieldMask { paths: vec!["*".into()] }),
            allow_missing: true,
            ..Default::default()
        }
    };
    clients.licenses.update_license(license("allowed")).await.unwrap();
    let told = watch.told().await;
    assert_eq!((told.len(), &told[0].1, told[0].2), (1, &name(), NeedsReview), "{told:?}");
    assert_eq!(told[0].4, ["licenses/LicenseRef-Acme"]);
    let now = told[0].3;
    assert!(now <= EligibleWithConditions, "{told:?}");
    // Its profile: not where that makes no difference.
    clients.profiles.update_use_profile(profile(pb::Purpose::Commercial)).await.unwrap();
    clients.licenses.update_license(license("prohibited")).await.unwrap();
    let told = watch.told().await;
    assert_eq!((told[0].2, told[0].3, &*told[0].4[0]), (now, Ineligible, "licenses/LicenseRef-Acme"));
    for (purpose, before, after) in
        [(pb::Purpose::Research, Ineligible, NeedsReview), (pb::Purpose::Commercial, NeedsReview, Ineligible)]
    {
        clients.profiles.update_use_profile(profile(purpose)).await.unwrap();
        let told = watch.told().await;
        assert_eq!((told[0].2, told[0].3, &told[0].4[..]), (before, after, &["useProfiles/lab".to_owned()][..]));
    }
    // A waiver, and its end, which nobody brings about.
    let second = jiff::Timestamp::now().as_second() + 4;
    let waiver = pb::Waiver {
        reason: "COMMERCIAL_USE_PROHIBITED".into(),
        license: "licenses/LicenseRef-Acme".into(),
        approver: "legal".into(),
        ticket: "L-1".into(),
        expire_time: Some(prost_types::Timestamp { seconds: second, nanos: 0 }),
        ..Default::default()
    };
    let request = pb::CreateWaiverRequest { waiver_id: "acme".into(), waiver: Some(waiver), ..Default::default() };
    let waived = clients.waivers.create_waiver(request).await.unwrap().into_inner();
    let told = watch.told().await;
    assert_eq!((told[0].2, &told[0].4[..]), (Ineligible, &["waivers/acme".to_owned()][..]));
    let under_waiver = told[0].3;
    assert!(under_waiver <= EligibleWithConditions, "{told:?}");
    let ended = watch.next().await;
    assert_eq!((ended.revision, ended.event_time.map(|at| at.seconds)), (waived.revision, Some(second)));
    let change = &ended.changes[0];
    assert_eq!((change.before(), change.after()), (under_waiver, Ineligible));
    assert_eq!(change.causes, ["waivers/acme"]);

    // Who goes on from before is told the same, what time brought included.
    let resumed = pb::WatchDeploymentsRequest {
        start_revision: first.revision - 1,
        start_time: Some(prost_types::Timestamp { seconds: second - 3, nanos: 0 }),
        ..Default::default()
    };
    let mut again = clients.watch(resumed).await;
    let mut verdicts = Vec::new();
    while verdicts.len() < 8 {
        verdicts.extend(again.told().await.into_iter().map(|(.., after, _)| after));
    }
    let expected = [start, NeedsReview, now, Ineligible, NeedsReview, Ineligible, under_waiver, Ineligible];
    assert_eq!(verdicts, expected);
    // And who has been told it is not told it again.
    let mut later = clients
        .watch(pb::WatchDeploymentsRequest {
            start_revision: ended.revision,
            start_time: ended.event_time,
            ..Default::default()
        })
        .await;
    clients.model("other", "Apache-2.0", None).await;
    let now = clients.deployments.list_deployments(pb::ListDeploymentsRequest::default()).await.unwrap().into_inner();
    assert!(now.revision > ended.revision);
    later.is_silent_until(now.revision).await;

    // The owner is another one: for who watches the first, it is gone.
    let mut of_search =
        clients.watch(pb::WatchDeploymentsRequest { owner: "team-search".into(), ..Default::default() }).await;
    clients.deploy(pb::Deployment { owner: "team-chat".into(), ..tuned }).await;
    assert_eq!(of_search.told().await, [(Removed, name(), Ineligible, Unspecified, vec![name()])]);
    let delete = pb::DeleteDeploymentRequest { name: name(), ..Default::default() };
    clients.deployments.delete_deployment(delete).await.unwrap();
    let told = watch.told().await;
    assert_eq!(told, [(Removed, name(), Ineligible, Unspecified, vec![name()])]);

    let wrong = pb::WatchDeploymentsRequest {
        start_time: Some(prost_types::Timestamp { seconds: 5, nanos: 0 }),
        ..Default::default()
    };
    let status = refused(clients.deployments.watch_deployments(wrong).await.map(drop), Code::InvalidArgument);
    assert_eq!(fields(&status), ["start_time", "start_time"]);
}
