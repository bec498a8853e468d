//! Several replicas on a real cluster of etcd, of which members and replicas are killed, stopped and cut off: what was
//! acknowledged is there, what is answered is not too old, and all goes on by itself.
//!
//! `WEIGHBRIDGE_SEED=7` repeats the choices of a run, though not its moments.

#[path = "../../etcd/linear.rs"]
#[allow(dead_code, unreachable_pub, reason = "it says more than is asked of it here")]
mod linear;

mod alone;
mod cut;
mod killed;
mod proxy;
mod writes;

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader};
use std::net::{SocketAddr, TcpListener};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use tokio::sync::MutexGuard;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Status};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;
use weighbridge::pb::weighbridge::v1 as pb;
use weighbridge::pb::weighbridge::v1::admin_service_client::AdminServiceClient;
use weighbridge::pb::weighbridge::v1::eligibility_service_client::EligibilityServiceClient;
use weighbridge::pb::weighbridge::v1::model_service_client::ModelServiceClient;
use weighbridge::pb::weighbridge::v1::use_profile_service_client::UseProfileServiceClient;
use weighbridge::server::{Probes, ServerOptions};
use weighbridge::store::{EtcdOptions, EtcdStore};

use crate::cli::weighbridge;
use crate::cluster::Cluster;
use crate::harness::TestServer;
use crate::settings::get;

/// What has to come, and comes much sooner.
const PATIENCE: Duration = Duration::from_secs(60);
/// How long a client waits for an answer.
const DEADLINE: Duration = Duration::from_secs(12);
/// A model of the built-in catalog.
const LLAMA: &str = "meta-llama/Llama-3.3-70B-Instruct";

/// A cluster loads the machine: one at a time.
static TURN: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

async fn cluster_of_three() -> (Arc<Cluster>, MutexGuard<'static, ()>) {
    let turn = TURN.lock().await;
    (blocking(|| Arc::new(Cluster::start(3))).await, turn)
}

/// Says what was measured; the runner shows it with `--nocapture`.
#[allow(clippy::print_stderr, reason = "the figures of a run")]
fn say(text: &str) {
    eprintln!("{text}");
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    tokio::task::spawn_blocking(work).await.unwrap()
}

/// Waits until something is so.
async fn until(what: &str, mut is_so: impl AsyncFnMut() -> bool) -> Duration {
    let begun = Instant::now();
    while !is_so().await {
        assert!(begun.elapsed() < PATIENCE, "{what}: not in {PATIENCE:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    begun.elapsed()
}

/// The member that leads, once one does: for a while after harm none says so.
async fn leader(cluster: &Cluster) -> usize {
    let mut found = None;
    until("a leader", async || {
        found = cluster.leader();
        found.is_some()
    })
    .await;
    found.unwrap()
}

/// Numbers that look random (splitmix64).
struct Dice(u64);

impl Dice {
    /// Other ones in every run, unless they are asked for.
    fn seed() -> u64 {
        let asked = std::env::var("WEIGHBRIDGE_SEED").ok().and_then(|seed| seed.parse().ok());
        asked.unwrap_or_else(|| SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs() % 1_000_000)
    }

    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % limit
    }

    fn pick<T: Copy>(&mut self, of: &[T]) -> T {
        of[usize::try_from(self.below(of.len() as u64)).unwrap()]
    }

    fn moment(&mut self, least_ms: u64, most_ms: u64) -> Duration {
        Duration::from_millis(least_ms + self.below(most_ms - least_ms + 1))
    }
}

/// A replica in this process.
struct Replica {
    server: TestServer,
    store: Arc<EtcdStore>,
    probes: SocketAddr,
}

impl Replica {
    async fn start(endpoints: Vec<String>, max_staleness: Duration) -> Self {
        let options = EtcdOptions { max_staleness, ..EtcdOptions::new(endpoints, "weighbridge") };
        let store = blocking(move || Arc::new(EtcdStore::open(&options).unwrap())).await;
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let probes = listener.local_addr().unwrap();
        let answering = Probes::start(listener, Arc::default(), None).unwrap();
        let options = ServerOptions { probes: Some(answering), ..ServerOptions::default() };
        Self { server: TestServer::on_with_options(store.clone(), options), store, probes }
    }

    /// A connection, once it answers.
    async fn connect(&self) -> Channel {
        let channel = self.server.connect().await;
        until("the replica answers", async || status(&channel).await.is_ok()).await;
        channel
    }

    async fn is_ready(&self) -> bool {
        let probes = self.probes;
        blocking(move || get(probes, "/readyz", "")).await.starts_with("HTTP/1.1 200")
    }
}

/// A replica in a process of its own. It is killed when it is dropped.
pub struct Process {
    child: Child,
    address: String,
}

impl Process {
    pub async fn start(endpoints: &[String], more: &[&str]) -> Self {
        let mut command = weighbridge();
        command.args(["serve", "--listen", "127.0.0.1:0", "--log-format", "json", "--drain-s", "1", "--store", "etcd"]);
        command.args(["--etcd-endpoints", &endpoints.join(",")]).args(more);
        blocking(move || {
            let mut child = command.stderr(Stdio::piped()).spawn().unwrap();
            let mut lines = BufReader::new(child.stderr.take().unwrap()).lines().map_while(Result::ok);
            let mut said = Vec::new();
            let address = lines.find_map(|line| {
                let event: serde_json::Value = serde_json::from_str(&line).unwrap_or_default();
                said.push(line);
                event["server.address"].as_str().map(|address| format!("http://{address}"))
            });
            let address = address.unwrap_or_else(|| panic!("it did not start: {said:#?}"));
            std::thread::spawn(move || lines.for_each(drop));
            Self { child, address }
        })
        .await
    }

    pub async fn connect(&self) -> Channel {
        connect(&self.address).await
    }

    fn signal(&self, signal: &str) {
        assert!(Command::new("kill").args([signal, &self.child.id().to_string()]).status().unwrap().success());
    }

    /// Stops it (SIGSTOP), and returns when none of its threads goes on with what it was about.
    async fn stop(&self) {
        self.signal("-STOP");
        let tasks = format!("/proc/{}/task", self.child.id());
        until("the process is stopped", async || {
            std::fs::read_dir(&tasks).unwrap().all(|task| {
                let status = std::fs::read_to_string(task.unwrap().path().join("stat")).unwrap_or_default();
                // "ID (NAME) STATE ..."
                status.rsplit_once(") ").is_some_and(|(_, state)| state.starts_with('T'))
            })
        })
        .await;
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

async fn connect(address: &str) -> Channel {
    Endpoint::from_shared(address.to_owned()).unwrap().connect().await.unwrap()
}

/// A request whose caller waits so long, and says so.
fn with_deadline<T>(message: T) -> tonic::Request<T> {
    let mut request = tonic::Request::new(message);
    request.set_timeout(DEADLINE);
    request
}

async fn status(channel: &Channel) -> Result<pb::GetStatusResponse, Status> {
    let request = with_deadline(pb::GetStatusRequest::default());
    AdminServiceClient::new(channel.clone()).get_status(request).await.map(tonic::Response::into_inner)
}

/// Whether a service is served, as health has it.
async fn is_served(channel: &Channel, service: &str) -> bool {
    let request = with_deadline(HealthCheckRequest { service: service.into() });
    let answer = HealthClient::new(channel.clone()).check(request).await.unwrap().into_inner();
    answer.status() == ServingStatus::Serving
}

/// The revision that a check is made on.
async fn check(channel: &Channel, min_revision: u64) -> Result<u64, Status> {
    let request = pb::CheckEligibilityRequest {
        model: LLAMA.into(),
        min_revision: i64::try_from(min_revision).unwrap(),
        ..Default::default()
    };
    let answer = EligibilityServiceClient::new(channel.clone()).check_eligibility(with_deadline(request)).await?;
    Ok(u64::try_from(answer.into_inner().decision.unwrap().revision).unwrap())
}

/// Waits until a replica answers from a revision.
async fn reach(channel: &Channel, revision: u64) -> Duration {
    until("a revision is reached", async || check(channel, revision).await.is_ok_and(|found| found >= revision)).await
}

async fn model(channel: &Channel, name: &str) -> Result<pb::Model, Status> {
    let request = with_deadline(pb::GetModelRequest { name: name.into(), ..Default::default() });
    ModelServiceClient::new(channel.clone()).get_model(request).await.map(tonic::Response::into_inner)
}

/// Writes a profile, and answers the revision.
async fn write(channel: &Channel, id: &str, text: &str) -> Result<u64, Status> {
    let profile = pb::UseProfile { name: format!("useProfiles/{id}"), display_name: text.into(), ..Default::default() };
    let request = pb::UpdateUseProfileRequest { use_profile: Some(profile), allow_missing: true, ..Default::default() };
    let answer = UseProfileServiceClient::new(channel.clone()).update_use_profile(with_deadline(request)).await?;
    Ok(u64::try_from(answer.into_inner().revision).unwrap())
}

/// All profiles: name, text and revision.
async fn profiles(channel: &Channel) -> Vec<(String, String, i64)> {
    let request = with_deadline(pb::ListUseProfilesRequest { page_size: 1_000, ..Default::default() });
    let listed = UseProfileServiceClient::new(channel.clone()).list_use_profiles(request).await.unwrap().into_inner();
    listed.use_profiles.into_iter().map(|profile| (profile.name, profile.display_name, profile.revision)).collect()
}

/// Whether an error says that a replica or its store is away, so that what was asked may have been done or not.
fn is_away(status: &Status) -> bool {
    matches!(status.code(), Code::Unavailable | Code::DeadlineExceeded | Code::Cancelled)
}

/// What was acknowledged when: how old an answer is can be told by it.
#[derive(Clone, Default)]
struct Acknowledged(Arc<Mutex<BTreeMap<Instant, u64>>>);

impl Acknowledged {
    fn add(&self, revision: u64) {
        self.0.lock().unwrap().insert(Instant::now(), revision);
    }

    /// The highest revision that was acknowledged until a time; 0: none was.
    fn until(&self, time: Instant) -> u64 {
        self.0.lock().unwrap().range(..=time).map(|(_, revision)| *revision).max().unwrap_or(0)
    }

    fn count(&self) -> usize {
        self.0.lock().unwrap().len()
    }

    fn newest(&self) -> u64 {
        self.until(Instant::now())
    }

    /// The longest time without an acknowledgement that has a part in a span.
    fn longest_gap(&self, from: Instant, to: Instant) -> Duration {
        let all = self.0.lock().unwrap();
        let before = all.range(..from).next_back().map_or(from, |(time, _)| *time);
        let mut last = before;
        let mut longest = Duration::ZERO;
        for (time, _) in all.range(from..) {
            longest = longest.max(*time - last);
            last = *time;
            if last > to {
                return longest;
            }
        }
        longest.max(to.saturating_duration_since(last))
    }

    /// Writes one profile again and again until it is dropped.
    fn writing(&self, channel: Channel, id: &str) -> Writing {
        let (acknowledged, id) = (self.clone(), id.to_owned());
        Writing(tokio::spawn(async move {
            for number in 0_u64.. {
                // Of one that failed it is not known whether it was done.
                if let Ok(revision) = write(&channel, &id, &number.to_string()).await {
                    acknowledged.add(revision);
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        }))
    }
}

struct Writing(tokio::task::JoinHandle<()>);

impl Drop for Writing {
    fn drop(&mut self) {
        self.0.abort();
    }
}
