//! Everything that clients were told of writes through any replica has an order, whatever becomes of members meanwhile.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use prost_types::FieldMask;
use tokio::runtime::Handle;
use tonic::transport::Channel;
use tonic::{Code, Status};
use weighbridge::pb::weighbridge::v1 as pb;
use weighbridge::pb::weighbridge::v1::use_profile_service_client::UseProfileServiceClient;
use weighbridge::store::Store as _;

use super::linear::{self, Asked, Operation, Told};
use super::proxy::{Cable, Proxy};
use super::{
    DEADLINE, Dice, PATIENCE, Replica, check, cluster_of_three, profiles, reach, say, status, until, with_deadline,
};
use crate::cluster::Cluster;
use crate::harness::reason;

const CLIENTS: usize = 12;
const KEYS: u64 = 8;
/// At least so long, and until there is enough to judge: how long members take to elect a leader is theirs to say, and the
/// machine's.
const TIME: Duration = Duration::from_secs(20);
const WRITTEN: usize = 80;
const HARMED: usize = 4;

/// What all clients have in common.
struct Shared {
    begun: Instant,
    stop: AtomicBool,
    /// Writes that were acknowledged, and what became of members.
    written: AtomicUsize,
    harmed: AtomicUsize,
    /// Etags that were told, latest last.
    learned: Mutex<BTreeMap<u32, Vec<u64>>>,
    history: Mutex<Vec<Operation>>,
    errors: Mutex<BTreeMap<String, usize>>,
}

impl Shared {
    fn now(&self) -> u64 {
        u64::try_from(self.begun.elapsed().as_nanos()).unwrap()
    }

    fn learn(&self, key: u32, etag: u64) {
        self.learned.lock().unwrap().entry(key).or_default().push(etag);
    }

    /// One of the last etags that were told.
    fn recent(&self, key: u32, dice: &mut Dice) -> Option<u64> {
        let learned = self.learned.lock().unwrap();
        let known = learned.get(&key).map_or(&[][..], Vec::as_slice);
        // Mostly the last: else next to nothing is written.
        let recent = &known[known.len().saturating_sub(if dice.below(4) == 0 { 3 } else { 1 })..];
        (!recent.is_empty()).then(|| dice.pick(recent))
    }
}

struct Client {
    number: usize,
    replicas: Vec<Channel>,
    dice: Dice,
    shared: Arc<Shared>,
    /// The highest revision that it was told.
    seen: u64,
}

impl Client {
    async fn run(mut self) {
        for turn in 0_u64.. {
            if self.shared.stop.load(Ordering::Relaxed) {
                return;
            }
            let at = self.dice.below(3);
            let channel = self.replicas[usize::try_from(at).unwrap()].clone();
            if self.dice.below(8) == 0 {
                self.follow(&channel).await;
                continue;
            }
            let key = u32::try_from(self.dice.below(KEYS)).unwrap();
            let etag = self.shared.recent(key, &mut self.dice);
            let asked = match (self.dice.below(20), etag) {
                (0..6, Some(etag)) => Asked::Update { etag },
                (6..10, Some(etag)) => Asked::Delete { etag },
                (10..14, _) => Asked::Read,
                _ => Asked::Create,
            };
            let mark = format!("{}-{turn}", self.number);
            let began = self.shared.now();
            let told = self.ask(&channel, key, asked, &mark).await;
            let operation = Operation { client: self.number, key, asked, told, began, ended: self.shared.now() };
            self.shared.written.fetch_add(usize::from(matches!(told, Told::Written(_))), Ordering::Relaxed);
            if let Told::Written(etag @ 1..) | Told::Saw(Some(etag)) = told {
                self.shared.learn(key, etag);
                self.seen = self.seen.max(etag);
            }
            self.shared.history.lock().unwrap().push(operation);
            if told == Told::Unknown {
                // What is refused at once would be most of the history.
                tokio::time::sleep(Duration::from_millis(250)).await;
            }
        }
    }

    /// Asks another replica for what it was told by one.
    async fn follow(&mut self, channel: &Channel) {
        match check(channel, self.seen).await {
            Ok(revision) => assert!(revision >= self.seen, "{revision} is before {}", self.seen),
            Err(status) if status.code() == Code::FailedPrecondition => {
                assert_eq!(reason(&status), "REVISION_NOT_REACHED");
            }
            Err(status) => self.note(&status),
        }
    }

    fn note(&self, status: &Status) {
        let away = matches!(status.code(), Code::Unavailable | Code::DeadlineExceeded | Code::Cancelled);
        assert!(away, "{status:?}");
        let words = format!("{:?}: {}", status.code(), status.message());
        *self.shared.errors.lock().unwrap().entry(words).or_default() += 1;
    }

    async fn ask(&self, channel: &Channel, key: u32, asked: Asked, mark: &str) -> Told {
        let mut client = UseProfileServiceClient::new(channel.clone());
        let etag = |etag: u64| format!("o{etag:x}");
        let name = format!("useProfiles/k{key}");
        let profile = pb::UseProfile { display_name: mark.into(), ..Default::default() };
        let answer = async {
            match asked {
                Asked::Create => {
                    let request = pb::CreateUseProfileRequest {
                        use_profile_id: format!("k{key}"),
                        use_profile: Some(profile),
                        ..Default::default()
                    };
                    client.create_use_profile(with_deadline(request)).await.map(|answer| Some(answer.into_inner()))
                }
                Asked::Update { etag: known } => {
                    let profile = pb::UseProfile { name, etag: etag(known), ..profile };
                    let request = pb::UpdateUseProfileRequest { use_profile: Some(profile), ..Default::default() };
                    client.update_use_profile(with_deadline(request)).await.map(|answer| Some(answer.into_inner()))
                }
                Asked::Delete { etag: known } => {
                    let request = pb::DeleteUseProfileRequest { name, etag: etag(known), ..Default::default() };
                    client.delete_use_profile(with_deadline(request)).await.map(|_| None)
                }
                // Nobody sets a description: a change that changes nothing is answered with what there is, and what any
                // write is held against is current.
                Asked::Read => {
                    let request = pb::UpdateUseProfileRequest {
                        use_profile: Some(pb::UseProfile { name, ..Default::default() }),
                        update_mask: Some(FieldMask { paths: vec!["description".into()] }),
                        ..Default::default()
                    };
                    client.update_use_profile(with_deadline(request)).await.map(|answer| Some(answer.into_inner()))
                }
            }
        };
        let late = |_| Err(Status::deadline_exceeded("no answer at all"));
        let answer = tokio::time::timeout(DEADLINE + Duration::from_secs(1), answer).await.unwrap_or_else(late);
        match (asked, answer) {
            (Asked::Read, Ok(Some(profile))) => Told::Saw(Some(u64::try_from(profile.revision).unwrap())),
            (_, Ok(Some(profile))) => {
                assert_eq!(profile.display_name, mark, "a write is answered with another one: {profile:?}");
                Told::Written(u64::try_from(profile.revision).unwrap())
            }
            (_, Ok(None)) => Told::Written(0),
            (Asked::Read, Err(status)) if status.code() == Code::NotFound => Told::Saw(None),
            (_, Err(status)) => match status.code() {
                Code::AlreadyExists => Told::Exists,
                Code::NotFound => Told::Missing,
                // Somebody was quicker, between the look at it and the commit.
                Code::Aborted if reason(&status) == "CONFLICT" => Told::Changed,
                Code::Aborted => Told::Mismatch,
                _ => {
                    self.note(&status);
                    Told::Unknown
                }
            },
        }
    }
}

/// What became of members.
#[derive(Debug, Default)]
struct Harm {
    kills: usize,
    pauses: usize,
    quorum_lost: usize,
}

/// Kills and pauses members one by one; now and then two at once.
fn harm(cluster: &Cluster, mut dice: Dice, shared: &Shared) -> Harm {
    let mut harm = Harm::default();
    while !shared.stop.load(Ordering::Relaxed) {
        thread::sleep(dice.moment(200, 1_000));
        let any = usize::try_from(dice.below(3)).unwrap();
        let node = if dice.below(2) == 0 { cluster.leader().unwrap_or(any) } else { any };
        match dice.below(7) {
            0..3 => {
                harm.kills += 1;
                cluster.kill(node);
                thread::sleep(dice.moment(200, 2_500));
                cluster.restart(node);
            }
            3..6 => {
                harm.pauses += 1;
                cluster.pause(node);
                thread::sleep(dice.moment(200, 3_000));
                cluster.resume(node);
            }
            _ => {
                harm.quorum_lost += 1;
                let other = (node + 1) % 3;
                cluster.pause(node);
                cluster.kill(other);
                thread::sleep(dice.moment(1_000, 4_500));
                cluster.restart(other);
                cluster.resume(node);
            }
        }
        shared.harmed.fetch_add(1, Ordering::Relaxed);
        // Not the next one before this one is back.
        let patience = Instant::now() + Duration::from_secs(5);
        while (0..3).any(|node| !cluster.is_healthy(node)) && Instant::now() < patience {
            thread::sleep(Duration::from_millis(20));
        }
    }
    cluster.wait_healthy(Duration::from_secs(30));
    harm
}

/// What became of connections and of history.
#[derive(Debug, Default)]
struct Interference {
    broken: usize,
    held_up: usize,
    compacted: usize,
}

/// Breaks and holds up what is between replicas and members, so that it is not known what became of changes that were made,
/// and lets go of history that replicas have not read.
fn interfere(proxies: &[Proxy], compact: impl Fn(usize) -> bool, mut dice: Dice, shared: &Shared) -> Interference {
    let mut done = Interference::default();
    while !shared.stop.load(Ordering::Relaxed) {
        thread::sleep(dice.moment(20, 250));
        let at = usize::try_from(dice.below(3)).unwrap();
        let proxy = &proxies[at];
        let member = usize::try_from(dice.below(3)).unwrap();
        if dice.below(16) > 0 {
            done.broken += 1;
            proxy.set_one(member, Cable::Refused);
            thread::sleep(dice.moment(1, 10));
        } else {
            done.held_up += 1;
            proxy.set_one(member, Cable::Deaf);
            thread::sleep(dice.moment(100, 2_500));
            // Nobody told this replica of what is let go of here.
            done.compacted += usize::from(compact((at + 1) % 3));
        }
        proxy.set_one(member, Cable::Whole);
    }
    done
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn writes_are_linearizable_while_members_are_killed_and_paused() {
    let (cluster, _turn) = cluster_of_three().await;
    let seed = Dice::seed();
    let proxies: Arc<Vec<Proxy>> = Arc::new((0..3).map(|_| Proxy::start(&cluster.endpoints())).collect());
    let mut replicas = Vec::new();
    for proxy in &*proxies {
        replicas.push(Replica::start(proxy.endpoints.clone(), Duration::from_secs(10)).await);
    }
    let mut channels = Vec::new();
    for replica in &replicas {
        channels.push(replica.connect().await);
    }
    let shared = Arc::new(Shared {
        begun: Instant::now(),
        stop: AtomicBool::new(false),
        written: AtomicUsize::new(0),
        harmed: AtomicUsize::new(0),
        learned: Mutex::default(),
        history: Mutex::default(),
        errors: Mutex::default(),
    });
    let mut clients = tokio::task::JoinSet::new();
    for number in 0..CLIENTS {
        let dice = Dice(seed.wrapping_mul(1_000).wrapping_add(number as u64));
        let (replicas, shared) = (channels.clone(), shared.clone());
        clients.spawn(Client { number, replicas, dice, shared, seen: 0 }.run());
    }
    let harming = {
        let (cluster, shared) = (cluster.clone(), shared.clone());
        thread::spawn(move || harm(&cluster, Dice(seed), &shared))
    };
    let interfering = {
        let (proxies, shared) = (proxies.clone(), shared.clone());
        let (runtime, stores) = (Handle::current(), replicas.iter().map(|replica| replica.store.clone()));
        let stores: Vec<_> = stores.collect();
        let compact = move |at: usize| runtime.block_on(stores[at].compact(u64::MAX)).is_ok();
        thread::spawn(move || interfere(&proxies, compact, Dice(seed + 1), &shared))
    };
    let is_enough = || {
        let (written, harmed) = (shared.written.load(Ordering::Relaxed), shared.harmed.load(Ordering::Relaxed));
        shared.begun.elapsed() >= TIME && written >= WRITTEN && harmed >= HARMED
    };
    while !is_enough() {
        let (written, harmed) = (&shared.written, &shared.harmed);
        if shared.begun.elapsed() > TIME + PATIENCE {
            shared.stop.store(true, Ordering::Relaxed);
            panic!("{written:?} writes only, members harmed {harmed:?} times: {:?}", shared.errors.lock().unwrap());
        }
        // A client that fails ends the test at once.
        if let Ok(ended) = tokio::time::timeout(Duration::from_millis(100), clients.join_next()).await {
            shared.stop.store(true, Ordering::Relaxed);
            ended.unwrap().unwrap();
        }
    }
    shared.stop.store(true, Ordering::Relaxed);
    let harm = super::blocking(move || harming.join().unwrap()).await;
    let interference = super::blocking(move || interfering.join().unwrap()).await;
    while let Some(ended) = clients.join_next().await {
        ended.unwrap();
    }

    let history = std::mem::take(&mut *shared.history.lock().unwrap());
    let summary = linear::check(&history).unwrap_or_else(|account| panic!("seed {seed}: {account}"));
    let told = |is: fn(&Told) -> bool| history.iter().filter(|operation| is(&operation.told)).count();
    let written = told(|told| matches!(told, Told::Written(_)));
    let changed = told(|told| *told == Told::Changed);
    say(&format!(
        "writes, seed {seed}: {summary:?}, {written} written, {changed} overtaken, {harm:?}, {interference:?}"
    ));
    for (error, count) in &*shared.errors.lock().unwrap() {
        say(&format!("  {count} times {error}"));
    }

    // Undisturbed, nothing is refused.
    until("all is taken again", async || {
        for turn in 0..60 {
            if super::write(&channels[turn % channels.len()], "calm", &turn.to_string()).await.is_err() {
                return false;
            }
        }
        true
    })
    .await;
    let last = super::write(&channels[0], "last", "last").await.unwrap();
    for channel in &channels {
        reach(channel, last).await;
        assert_eq!(u64::try_from(status(channel).await.unwrap().revision).unwrap(), last);
        assert_eq!(profiles(channel).await, profiles(&channels[0]).await);
    }
}
