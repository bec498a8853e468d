//! What is answered while etcd is away, or has no majority.

use std::time::{Duration, Instant};

use tonic::Code;
use tonic::transport::Channel;
use weighbridge::pb::weighbridge::v1 as pb;
use weighbridge::pb::weighbridge::v1::model_service_client::ModelServiceClient;

use super::{Replica, check, cluster_of_three, is_served, leader, model, say, status, until, with_deadline, write};
use crate::harness::refused;

/// It matters in none of these tests.
const LONG: Duration = Duration::from_secs(3_600);
/// As long after it is known that no write can be made may one take until it is refused that has begun before. By itself it would
/// wait three seconds more.
const LEARNED: Duration = Duration::from_secs(2);
/// The same where it was known before. By itself it would be tried for 10 s.
const KNOWN: Duration = Duration::from_secs(5);
const CHECKS: usize = 2_000;
const OTHERS: usize = 300;

/// Checks, gets and lists; answers how long each kind took.
async fn read(channel: &Channel) -> [Duration; 3] {
    let begun = Instant::now();
    for _ in 0..CHECKS {
        check(channel, 0).await.unwrap();
    }
    let checks = begun.elapsed();
    for _ in 0..OTHERS {
        model(channel, "publishers/meta/models/llama-3.3-70b-instruct").await.unwrap();
    }
    let gets = begun.elapsed() - checks;
    for _ in 0..OTHERS {
        let request =
            pb::ListModelsRequest { page_size: 10, filter: "tier = OPEN_WEIGHT".into(), ..Default::default() };
        let list = ModelServiceClient::new(channel.clone()).list_models(with_deadline(request)).await.unwrap();
        assert_eq!(list.into_inner().models.len(), 10);
    }
    [checks, gets, begun.elapsed() - checks - gets]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn checks_never_touch_etcd() {
    let (cluster, _turn) = cluster_of_three().await;
    let replica = Replica::start(cluster.endpoints(), LONG).await;
    let channel = replica.connect().await;
    read(&channel).await;
    let with = read(&channel).await;
    (0..3).for_each(|node| cluster.kill(node));
    let without = read(&channel).await;
    say(&format!("{CHECKS} checks, {OTHERS} gets, {OTHERS} lists with etcd {with:?}, without {without:?}"));
    assert!(replica.is_ready().await);
    // It is no member that answers: there is none.
    refused(write(&channel, "one", "lost").await, Code::Unavailable);
    (0..3).for_each(|node| cluster.restart(node));
    let took = until("a write", async || write(&channel, "one", "there").await.is_ok()).await;
    say(&format!("the first write {took:?} after three members were started again"));
}

/// With the leader among those that are stopped, and without.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_majority_only_reads_go_on() {
    let (cluster, _turn) = cluster_of_three().await;
    let replica = Replica::start(cluster.endpoints(), LONG).await;
    let channel = replica.connect().await;
    for with_leader in [true, false] {
        write(&channel, "one", "before").await.unwrap();
        until("health", async || is_served(&channel, "").await).await;
        let leader = leader(&cluster).await;
        let others: Vec<usize> = (0..3).filter(|node| *node != leader).collect();
        let stopped = if with_leader { [leader, others[0]] } else { [others[0], others[1]] };
        stopped.iter().for_each(|node| cluster.pause(*node));
        // What was on its way is there by then, or waits.
        tokio::time::sleep(Duration::from_millis(200)).await;
        let begun = Instant::now();
        let known = until("the problem is known", async || {
            let store = status(&channel).await.unwrap().store.unwrap();
            assert_eq!(store.writable, store.problem.is_empty());
            !store.writable
        });
        let first = async {
            let first = write(&channel, "one", "lost").await;
            (first, begun.elapsed())
        };
        let (known, (first, first_took)) = tokio::join!(known, first);
        refused(first, Code::Unavailable);
        assert!(first_took < known + LEARNED, "{first_took:?}, and known after {known:?}");
        for _ in 0..20 {
            let begun = Instant::now();
            refused(write(&channel, "one", "lost").await, Code::Unavailable);
            assert!(begun.elapsed() < KNOWN, "{:?}", begun.elapsed());
            check(&channel, 0).await.unwrap();
        }
        // Read only: who only reads is served, and probes are answered with yes.
        until("health", async || !is_served(&channel, "").await).await;
        assert!(!is_served(&channel, "weighbridge.v1.ModelService").await);
        assert!(is_served(&channel, "weighbridge.v1.EligibilityService").await);
        assert!(replica.is_ready().await);

        stopped.iter().for_each(|node| cluster.resume(*node));
        let took = until("a write", async || write(&channel, "one", "after").await.is_ok()).await;
        say(&format!(
            "no majority (leader stopped: {with_leader}): the first write refused after {first_took:?}, known after \
             {known:?}; written again {took:?} after the members went on"
        ));
        until("health", async || is_served(&channel, "").await).await;
        assert!(status(&channel).await.unwrap().store.unwrap().problem.is_empty());
    }
}
