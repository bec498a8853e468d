//! A replica that is cut off or stopped answers nothing that is older than allowed, and comes back by itself.

use std::time::{Duration, Instant};

use tonic::transport::Channel;
use tonic::{Code, Status};
use weighbridge::pb::weighbridge::v1 as pb;
use weighbridge::pb::weighbridge::v1::eligibility_service_client::EligibilityServiceClient;
use weighbridge::pb::weighbridge::v1::model_service_client::ModelServiceClient;

use super::proxy::{Cable, Proxy};
use super::{
    Acknowledged, PATIENCE, Process, Replica, check, cluster_of_three, is_served, model, reach, say, status, until,
    with_deadline, write,
};
use crate::harness::{reason, refused};

const ALLOWED: Duration = Duration::from_secs(3);

/// What an answer must be made of that was asked for at a time.
fn least(acknowledged: &Acknowledged, asked: Instant) -> u64 {
    acknowledged.until(asked.checked_sub(ALLOWED).unwrap())
}

/// Checks, and holds the answer against what was acknowledged elsewhere. `asked`: not before then it was let in.
async fn fresh_check(channel: &Channel, acknowledged: &Acknowledged, asked: Instant) -> Result<u64, Status> {
    let answer = check(channel, 0).await;
    if let Ok(revision) = answer {
        let least = least(acknowledged, asked);
        assert!(revision >= least, "answered from {revision}, {least} was acknowledged {ALLOWED:?} before");
    }
    answer
}

fn assert_stale<T: std::fmt::Debug>(answer: Result<T, Status>) {
    assert_eq!(reason(&refused(answer, Code::Unavailable)), "STALE");
}

async fn assert_all_stale(channel: &Channel) {
    assert_stale(check(channel, 0).await);
    assert_stale(model(channel, "publishers/meta/models/llama-3.3-70b-instruct").await);
    let list = pb::ListModelsRequest::default();
    assert_stale(ModelServiceClient::new(channel.clone()).list_models(with_deadline(list)).await);
    let batch = pb::BatchCheckEligibilityRequest { requests: vec![Default::default()], ..Default::default() };
    let mut checks = EligibilityServiceClient::new(channel.clone());
    assert_stale(checks.batch_check_eligibility(with_deadline(batch)).await);
    let eligible = pb::ListEligibleModelsRequest::default();
    assert_stale(checks.list_eligible_models(with_deadline(eligible)).await);
    assert_stale(write(channel, "cut", "lost").await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replica_that_is_cut_off_refuses_what_is_too_old_and_catches_up() {
    let (cluster, _turn) = cluster_of_three().await;
    let proxy = Proxy::start(&cluster.endpoints());
    let cut = Replica::start(proxy.endpoints.clone(), ALLOWED).await;
    let whole = Replica::start(cluster.endpoints(), ALLOWED).await;
    let (channel, other) = (cut.connect().await, whole.connect().await);
    let acknowledged = Acknowledged::default();
    let _writing = acknowledged.writing(other.clone(), "whole");
    for cable in [Cable::Mute, Cable::Refused] {
        until("writes", async || acknowledged.count() > 20).await;
        reach(&channel, acknowledged.newest()).await;
        until("ready", async || cut.is_ready().await && is_served(&channel, "").await).await;
        let before = write(&channel, "cut", "before").await.unwrap();
        assert!(reach(&other, before).await < PATIENCE);

        let (count, cut_at) = (acknowledged.count(), Instant::now());
        proxy.set(cable);
        let writer = channel.clone();
        let lost = tokio::spawn(async move { (write(&writer, "cut", "lost").await, cut_at.elapsed()) });
        let mut answered = 0;
        let mut problem = None;
        let stale = loop {
            match fresh_check(&channel, &acknowledged, Instant::now()).await {
                Ok(_) => answered += 1,
                stale => break stale,
            }
            let store = status(&channel).await.unwrap().store.unwrap();
            if problem.is_none() && !store.problem.is_empty() {
                problem = Some((cut_at.elapsed(), store.problem));
            }
            assert!(cut_at.elapsed() < ALLOWED * 2, "it answers still");
            tokio::time::sleep(Duration::from_millis(10)).await;
        };
        let refused_at = cut_at.elapsed();
        assert_stale(stale);
        assert_all_stale(&channel).await;
        let store = status(&channel).await.unwrap().store.unwrap();
        let age = Duration::try_from(store.staleness.unwrap()).unwrap();
        assert!(age > ALLOWED && age < PATIENCE, "{age:?}");
        assert_eq!(Duration::try_from(store.max_staleness.unwrap()).unwrap(), ALLOWED);
        until("health", async || !is_served(&channel, "weighbridge.v1.EligibilityService").await).await;
        assert!(!is_served(&channel, "").await);
        until("not ready", async || !cut.is_ready().await).await;
        let (lost, lost_took) = lost.await.unwrap();
        refused(lost, Code::Unavailable);
        assert!(!status(&channel).await.unwrap().store.unwrap().writable);
        assert_all_stale(&channel).await;
        assert!(whole.is_ready().await);
        let written = acknowledged.count() - count;
        assert!(written > 20, "{written} writes through the other one");

        let newest = write(&other, "other", "while it was cut off").await.unwrap();
        let healed = Instant::now();
        proxy.set(Cable::Whole);
        let first = loop {
            if fresh_check(&channel, &acknowledged, Instant::now()).await.is_ok() {
                break healed.elapsed();
            }
            assert!(healed.elapsed() < PATIENCE, "it does not catch up");
            tokio::time::sleep(Duration::from_millis(10)).await;
        };
        reach(&channel, newest).await;
        let reached = healed.elapsed();
        until("a write", async || write(&channel, "cut", "after").await.is_ok()).await;
        say(&format!(
            "cut off ({cable:?}): {answered} checks answered, refused after {refused_at:?}, a write after {lost_took:?}, \
             the problem {problem:?}, {written} writes elsewhere; answers {first:?} after it was healed, with all of it \
             {reached:?}, written {:?}",
            healed.elapsed()
        ));
    }
}

/// What waits for an answer while the process is stopped is answered afterwards, as it stands then or not at all.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replica_that_was_stopped_answers_nothing_that_is_too_old() {
    let (cluster, _turn) = cluster_of_three().await;
    let stopped = Process::start(&cluster.endpoints(), &["--max-staleness-s", "3"]).await;
    let whole = Replica::start(cluster.endpoints(), ALLOWED).await;
    let (channel, other) = (stopped.connect().await, whole.connect().await);
    let acknowledged = Acknowledged::default();
    let _writing = acknowledged.writing(other, "whole");
    for round in 0..4 {
        until("writes", async || acknowledged.count() > 20).await;
        reach(&channel, acknowledged.newest()).await;
        stopped.stop().await;
        let pause = if round % 2 == 0 { ALLOWED + Duration::from_millis(500) } else { Duration::from_secs(1) };
        let asked_at = Instant::now();
        let waiting: Vec<_> = (0..8)
            .map(|_| {
                let channel = channel.clone();
                tokio::spawn(async move { check(&channel, 0).await })
            })
            .collect();
        tokio::time::sleep(pause).await;
        assert!(waiting.iter().all(|answer| !answer.is_finished()), "it is not stopped");
        // What came in meanwhile is let in after this.
        let continued = Instant::now();
        stopped.signal("-CONT");
        let (mut current, mut refused) = (0, 0);
        for answer in waiting {
            match answer.await.unwrap() {
                Ok(revision) => {
                    let least = least(&acknowledged, continued);
                    assert!(revision >= least, "answered from {revision}, {least} was acknowledged {ALLOWED:?} before");
                    current += 1;
                }
                stale => {
                    assert_stale(stale);
                    refused += 1;
                }
            }
        }
        let first = loop {
            if fresh_check(&channel, &acknowledged, Instant::now()).await.is_ok() {
                break continued.elapsed();
            }
            assert!(continued.elapsed() < PATIENCE, "it does not catch up");
        };
        let newest = acknowledged.newest();
        reach(&channel, newest).await;
        say(&format!(
            "stopped for {:?}: of what waited {current} answered and {refused} refused; answers {first:?} after it went \
             on, and is up to date after {:?}",
            continued - asked_at,
            continued.elapsed()
        ));
    }
}
