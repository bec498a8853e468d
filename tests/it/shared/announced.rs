//! Changes of verdicts are announced by one replica, and by the next one once that is gone.

use std::sync::Arc;

use etcd_client::Client;
use weighbridge::pb::weighbridge::v1 as pb;
use weighbridge::pb::weighbridge::v1::deployment_service_client::DeploymentServiceClient;
use weighbridge::pb::weighbridge::v1::policy_service_client::PolicyServiceClient;
use weighbridge::registry::Registry;
use weighbridge::store::EtcdOptions;

use super::{Replica, commercial, model, until};
use crate::harness::etcd::{anew, cluster, open};

async fn registry(options: &EtcdOptions) -> Arc<Registry> {
    Arc::new(Registry::open(open(options), Arc::new(jiff::Timestamp::now)).await.unwrap())
}

/// Forbids everything, or no longer.
async fn forbid(replica: &Replica, forbidden: bool) {
    let mut client = PolicyServiceClient::new(replica.channel.clone());
    if forbidden {
        let policy = pb::Policy {
            condition: "model.publisher = \"acme\"".into(),
            effect: pb::PolicyEffect::Block.into(),
            message: "no".into(),
            mode: pb::PolicyMode::Enforced.into(),
            ..Default::default()
        };
        let request =
            pb::CreatePolicyRequest { policy_id: "no-acme".into(), policy: Some(policy), ..Default::default() };
        client.create_policy(request).await.unwrap();
    } else {
        let request = pb::DeletePolicyRequest { name: "policies/no-acme".into(), ..Default::default() };
        client.delete_policy(request).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_change_is_announced_once_also_where_the_one_who_announces_goes() {
    let options = anew();
    let replica = Replica::start(&options).await;
    replica.put(model("one", "MIT")).await;
    let deployment = pb::Deployment {
        model: "publishers/acme/models/one".into(),
        r#use: Some(commercial()),
        owner: "team".into(),
        ..Default::default()
    };
    let request =
        pb::CreateDeploymentRequest { deployment_id: "one".into(), deployment: Some(deployment), ..Default::default() };
    DeploymentServiceClient::new(replica.channel.clone()).create_deployment(request).await.unwrap();

    let mut all = vec![registry(&options).await, registry(&options).await];
    let mut tasks: Vec<_> = all.iter().map(|registry| tokio::spawn(registry.clone().announce())).collect();
    // Once it is noted where it begins, nothing is left out.
    let noted = format!("{}/n/verdicts", options.prefix);
    let client = Client::connect(cluster().endpoints(), None).await.unwrap();
    until("nobody takes the lead", async || !client.kv_client().get(&*noted, None).await.unwrap().kvs().is_empty())
        .await;
    let counts = |all: &[Arc<Registry>]| all.iter().map(|registry| registry.announced()).collect::<Vec<_>>();

    forbid(&replica, true).await;
    until("it is not announced", async || counts(&all).iter().sum::<u64>() == 1).await;
    // Until it is noted that it was announced, the next one may do so again.
    let told = crate::service::status(replica.channel.clone()).await.revision;
    until("it is not noted", async || {
        let value = client.kv_client().get(&*noted, None).await.unwrap();
        let (revision, _) = value.kvs()[0].value().split_first_chunk::<8>().unwrap();
        i64::from_be_bytes(*revision) >= told
    })
    .await;
    let leader = counts(&all).iter().position(|count| *count == 1).unwrap();
    tasks.remove(leader).abort();
    drop(all.remove(leader));
    // While nobody announces, or the next one already does.
    forbid(&replica, false).await;
    until("the next one does not go on", async || counts(&all) == [1]).await;
    forbid(&replica, true).await;
    until("the next one announces nothing new", async || counts(&all) == [2]).await;
    tasks.remove(0).abort();
}
