//! A real etcd cluster on loopback, in a temporary directory.
//!
//! No etcd outlives the test process, however that ends. Each runs beside a shell that waits for the end of its input,
//! which is a pipe from the test process, and then kills it and removes the directory.

use std::collections::hash_map::RandomState;
use std::fs;
use std::hash::BuildHasher as _;
use std::io::{self, BufRead as _, BufReader, ErrorKind, Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::ops::Range;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use tempfile::TempDir;

/// Arguments: the directory of the cluster, the log, then the program and its arguments. Output: the program's id.
/// Input: `keep`, if the directory shall stay; then, or when the input ends, the program is killed.
///
/// The signals are ignored since the system hangs up a process group with a stopped process when its parent ends. The
/// shell does not wait for the program before the end, so that (but under bash, which takes note of it sooner) no other
/// process gets the id before.
const WRAPPER: &str = r#"
trap '' HUP INT QUIT TERM
directory=$1 log=$2
shift 2
"$@" >>"$log" 2>&1 </dev/null &
echo $!
read -r word
kill -9 $!
wait $!
[ "$word" = keep ] || rm -rf "$directory"
"#;

/// An argument that Debian's etcd takes though its `--help` does not tell.
const NO_FSYNC: &str = "--unsafe-no-fsync";
/// How long a new cluster may take until all its members are healthy.
const START: Duration = Duration::from_secs(30);
/// For each step of a request to a member: to connect, to write, to read.
const PATIENCE: Duration = Duration::from_millis(500);
/// Between two looks at something that is waited for.
const PAUSE: Duration = Duration::from_millis(50);
/// Where ports are taken from: below those that the system gives to connections, so that a member finds its own free
/// when it is started again.
const PORTS: Range<u16> = 20_000..32_000;
/// How often a cluster is started on other ports when something else took one of them first.
const ATTEMPTS: usize = 5;

/// A running cluster. Dropping it kills its members and removes their data.
pub struct Cluster {
    program: String,
    /// Whether the program can do without fsync.
    without_fsync: bool,
    scheme: String,
    arguments: Vec<String>,
    nodes: Vec<Node>,
    directory: TempDir,
}

/// A member, running or not.
struct Node {
    client: Port,
    peer: Port,
    /// Plain HTTP for health and metrics, when the clients' port is not plain.
    metrics: Option<Port>,
    process: Mutex<Option<Process>>,
}

/// An etcd and the shell that kills it.
struct Process {
    wrapper: Child,
    etcd: u32,
}

/// A TCP port of loopback that no other cluster on this machine takes: the UDP port of the same number stands for it.
struct Port {
    number: u16,
    _reservation: UdpSocket,
}

/// Why a cluster did not start.
enum Failure {
    PortTaken,
    Other(String),
}

impl Cluster {
    /// Starts members on free ports and waits until all are healthy. Panics with the end of their logs when that takes
    /// more than 30 s.
    pub fn start(nodes: usize) -> Self {
        Self::start_with(nodes, "http", &[])
    }

    /// The same with more arguments for each etcd, such as `--cert-file`. The scheme is that of the clients' URLs.
    pub fn start_with(nodes: usize, scheme: &str, arguments: &[String]) -> Self {
        let (program, without_fsync) = program();
        Self::start_as(&program, without_fsync, nodes, scheme, arguments)
    }

    /// The same with members that wait for their disks, as they do in earnest: for measuring.
    pub fn start_durable(nodes: usize) -> Self {
        Self::start_as(&program().0, false, nodes, "http", &[])
    }

    /// The size of each member's database file, in bytes.
    pub fn database_sizes(&self) -> Vec<u64> {
        let file = |node| self.directory.path().join(format!("n{node}/member/snap/db"));
        (0..self.nodes.len()).map(|node| fs::metadata(file(node)).map_or(0, |file| file.len())).collect()
    }

    fn start_as(program: &str, without_fsync: bool, nodes: usize, scheme: &str, arguments: &[String]) -> Self {
        for _ in 0..ATTEMPTS {
            let cluster = Self {
                program: program.to_owned(),
                without_fsync,
                scheme: scheme.into(),
                arguments: arguments.into(),
                nodes: (0..nodes).map(|_| Node::new(scheme != "http")).collect(),
                directory: tempfile::Builder::new().prefix("etcd-cluster-").tempdir().unwrap(),
            };
            for node in 0..nodes {
                cluster.restart(node);
            }
            match cluster.await_health(START) {
                Ok(()) => return cluster,
                Err(Failure::PortTaken) => (),
                Err(Failure::Other(account)) => panic!("etcd did not start: {account}"),
            }
        }
        panic!("etcd found its ports taken {ATTEMPTS} times");
    }

    /// The clients' URLs, in the order of the nodes: `http://127.0.0.1:PORT`.
    pub fn endpoints(&self) -> Vec<String> {
        (0..self.nodes.len()).map(|node| self.endpoint(node)).collect()
    }

    /// The clients' URL of a node.
    pub fn endpoint(&self, node: usize) -> String {
        self.nodes[node].client.url(&self.scheme)
    }

    /// Kills a node (SIGKILL). It is gone when this returns; its data stays.
    pub fn kill(&self, node: usize) {
        let mut process = self.nodes[node].process();
        if let Some(running) = process.take() {
            running.end();
        }
    }

    /// Starts a killed node again with its data, and does not wait until it is healthy. One that runs is killed first.
    pub fn restart(&self, node: usize) {
        self.kill(node);
        let started = Process::start(self.command(node)).unwrap();
        *self.nodes[node].process() = Some(started);
    }

    /// Stops a node without ending it (SIGSTOP): its connections stay open and nothing is answered.
    pub fn pause(&self, node: usize) {
        self.signal(node, "-STOP");
    }

    /// Lets a paused node go on (SIGCONT).
    pub fn resume(&self, node: usize) {
        self.signal(node, "-CONT");
    }

    /// Whether a node says that it has a leader and that a majority works. Slower answers than 500 ms count as no.
    pub fn is_healthy(&self, node: usize) -> bool {
        let answer = self.nodes[node].ask("GET", "/health", "");
        answer.is_ok_and(|answer| answer.contains(r#""health":"true""#))
    }

    /// The node that says of itself that it leads. None while none does, such as after the leader was killed or paused.
    /// Of two, that of the later term leads: one that was paused takes a moment to learn of its successor.
    pub fn leader(&self) -> Option<usize> {
        let terms = self.nodes.iter().map(Node::leads).enumerate();
        let leading: Vec<_> = terms.filter_map(|(node, term)| Some((term?, node))).collect();
        let (last, _) = leading.iter().max()?;
        let mut leaders = leading.iter().filter(|(term, _)| term == last).map(|(_, node)| *node);
        leaders.next().filter(|_| leaders.next().is_none())
    }

    /// Waits until all nodes are healthy but those that were killed. Panics with the end of their logs when that takes
    /// longer.
    pub fn wait_healthy(&self, within: Duration) {
        match self.await_health(within) {
            Ok(()) => (),
            Err(Failure::PortTaken) => panic!("the port of a node was taken while the node did not run"),
            Err(Failure::Other(account)) => panic!("{account}"),
        }
    }

    fn await_health(&self, within: Duration) -> Result<(), Failure> {
        let begun = Instant::now();
        let mut waiting: Vec<_> = (0..self.nodes.len()).collect();
        loop {
            waiting.retain(|node| self.nodes[*node].process().is_some() && !self.is_healthy(*node));
            if waiting.is_empty() {
                return Ok(());
            }
            let ended =
                waiting.iter().find(|node| self.nodes[**node].process().as_ref().is_some_and(Process::has_ended));
            if ended.is_some_and(|node| self.log(*node).contains("address already in use")) {
                return Err(Failure::PortTaken);
            }
            let account = match ended {
                Some(node) => format!("node {node} ended"),
                None if begun.elapsed() > within => format!("nodes {waiting:?} were not healthy in {within:?}"),
                None => {
                    thread::sleep(PAUSE);
                    continue;
                }
            };
            let logs = waiting.iter().map(|node| format!("\nnode {node}:\n{}", ends(&self.log(*node))));
            return Err(Failure::Other(account + &logs.collect::<String>()));
        }
    }

    /// The wrapper with an etcd, not started.
    fn command(&self, node: usize) -> Command {
        let Node { client, peer, metrics, .. } = &self.nodes[node];
        let (client, peer) = (client.url(&self.scheme), peer.url("http"));
        let names = (0..).zip(&self.nodes).map(|(name, node): (usize, _)| format!("n{name}={}", node.peer.url("http")));
        let mut command = Command::new("sh");
        // Its own process group: what a terminal or a test runner sends to that of the test does not reach it.
        command.process_group(0).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        command.args(["-c", WRAPPER, "etcd-wrapper"]).arg(self.directory.path()).arg(self.log_path(node));
        command.arg(&self.program).arg("--data-dir").arg(self.directory.path().join(format!("n{node}")));
        command.args(["--name", &format!("n{node}")]);
        command.args(["--listen-client-urls", &client, "--advertise-client-urls", &client]);
        command.args(["--listen-peer-urls", &peer, "--initial-advertise-peer-urls", &peer]);
        if let Some(metrics) = metrics {
            command.args(["--listen-metrics-urls", &metrics.url("http")]);
        }
        command.args(["--initial-cluster", &names.collect::<Vec<_>>().join(","), "--initial-cluster-state", "new"]);
        // Members of another cluster that once had these ports are not taken for its own.
        command.arg("--initial-cluster-token").arg(self.directory.path());
        command.args(["--logger", "zap", "--log-level", "warn", "--log-outputs", "stderr"]);
        command.args(["--heartbeat-interval", "100", "--election-timeout", "1000"]);
        command.args(["--quota-backend-bytes", "4294967296", "--snapshot-count", "10000"]);
        // A killed etcd loses nothing by it; a machine that loses power would.
        command.args(self.without_fsync.then_some(NO_FSYNC));
        command.args(&self.arguments);
        for (variable, _) in std::env::vars_os().filter(|(variable, _)| variable.to_string_lossy().starts_with("ETCD_"))
        {
            command.env_remove(variable);
        }
        command
    }

    fn signal(&self, node: usize, signal: &str) {
        let process = self.nodes[node].process();
        let Some(Process { etcd, .. }) = *process else { panic!("node {node} was killed") };
        send(etcd, signal).unwrap();
    }

    fn log_path(&self, node: usize) -> PathBuf {
        self.directory.path().join(format!("n{node}.log"))
    }

    fn log(&self, node: usize) -> String {
        let bytes = fs::read(self.log_path(node)).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        for node in 0..self.nodes.len() {
            self.kill(node);
        }
    }
}

impl Node {
    fn new(with_metrics: bool) -> Self {
        let metrics = with_metrics.then(Port::reserve);
        Self { client: Port::reserve(), peer: Port::reserve(), metrics, process: Mutex::new(None) }
    }

    fn process(&self) -> MutexGuard<'_, Option<Process>> {
        self.process.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The term in which it leads, if it does. Always 0 where only the metrics can be read, which do not tell it.
    fn leads(&self) -> Option<u64> {
        if self.metrics.is_some() {
            let metrics = self.ask("GET", "/metrics", "").ok()?;
            return metrics.lines().any(|line| line == "etcd_server_is_leader 1").then_some(0);
        }
        let status = self.ask("POST", "/v3/maintenance/status", "{}").ok()?;
        // The gateway writes 64-bit numbers as strings and leaves out zeros.
        let field = |name: &str| status.split_once(&format!("\"{name}\":\""))?.1.split('"').next()?.parse().ok();
        (field("leader")? == field("member_id")?).then(|| field("raft_term"))?
    }

    /// The whole answer to a request over plain HTTP. An error status is an answer too.
    fn ask(&self, method: &str, path: &str, body: &str) -> io::Result<String> {
        let port = self.metrics.as_ref().unwrap_or(&self.client).number;
        let mut stream = TcpStream::connect_timeout(&SocketAddr::from((Ipv4Addr::LOCALHOST, port)), PATIENCE)?;
        stream.set_write_timeout(Some(PATIENCE))?;
        stream.set_read_timeout(Some(PATIENCE))?;
        // Version 1.0: the answer is not chunked, and ends with the connection.
        let length = body.len();
        write!(stream, "{method} {path} HTTP/1.0\r\nHost: 127.0.0.1\r\nContent-Length: {length}\r\n\r\n{body}")?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer)?;
        Ok(String::from_utf8_lossy(&answer).into_owned())
    }
}

impl Process {
    fn start(mut command: Command) -> io::Result<Self> {
        let mut wrapper = command.spawn()?;
        let output = wrapper.stdout.take().ok_or(ErrorKind::BrokenPipe)?;
        let mut line = String::new();
        BufReader::new(output).read_line(&mut line)?;
        let etcd = line.trim().parse().map_err(|_| io::Error::other(format!("the wrapper said {line:?}")))?;
        Ok(Self { wrapper, etcd })
    }

    /// Kills it, and returns when it is gone.
    fn end(mut self) {
        // The wrapper does the killing; a stopped process dies of it as well.
        if let Some(mut input) = self.wrapper.stdin.take() {
            let _ = input.write_all(b"keep\n");
        }
        if !self.wrapper.wait().is_ok_and(|status| status.success()) {
            let _ = send(self.etcd, "-KILL");
        }
    }

    /// Whether it has ended by itself, or by someone else's signal. No where that cannot be seen.
    fn has_ended(&self) -> bool {
        if !Path::new("/proc/self/stat").exists() {
            return false;
        }
        // "ID (NAME) STATE ...": gone, or a zombie while the wrapper does not wait for it.
        let status = fs::read_to_string(format!("/proc/{}/stat", self.etcd)).unwrap_or_default();
        status.rsplit_once(") ").is_none_or(|(_, state)| state.starts_with('Z'))
    }
}

impl Port {
    /// Takes one that is free.
    fn reserve() -> Self {
        for attempt in 0..1000_u32 {
            let span = u64::from(PORTS.end - PORTS.start);
            let offset = u16::try_from(RandomState::new().hash_one(attempt) % span).unwrap();
            let number = PORTS.start + offset;
            if let Ok(reservation) = UdpSocket::bind((Ipv4Addr::LOCALHOST, number))
                && TcpListener::bind((Ipv4Addr::LOCALHOST, number)).is_ok()
            {
                return Self { number, _reservation: reservation };
            }
        }
        panic!("no free port in {PORTS:?}");
    }

    fn url(&self, scheme: &str) -> String {
        format!("{scheme}://127.0.0.1:{}", self.number)
    }
}

/// The etcd to run, and whether it can do without fsync. Panics when there is none.
fn program() -> (String, bool) {
    let program = std::env::var("WEIGHBRIDGE_ETCD").unwrap_or_else(|_| "etcd".into());
    let works = |arguments: &[&str]| match Command::new(&program).args(arguments).output() {
        Ok(output) => output.status.success(),
        Err(error) => {
            panic!("{program} cannot be run ({error}): install Debian's etcd-server, or set WEIGHBRIDGE_ETCD")
        }
    };
    assert!(works(&["--version"]), "{program} --version failed: is it etcd?");
    let without_fsync = works(&[NO_FSYNC, "--version"]);
    (program, without_fsync)
}

/// Sends a signal to a process.
fn send(process: u32, signal: &str) -> io::Result<()> {
    let status = Command::new("kill").args([signal, &process.to_string()]).status()?;
    if status.success() { Ok(()) } else { Err(io::Error::other(format!("kill {signal} {process}: {status}"))) }
}

/// The first and the last lines: etcd tells of a wrong argument before it tells of all arguments.
fn ends(log: &str) -> String {
    let mut lines: Vec<_> = log.lines().collect();
    if lines.len() > 25 {
        lines.splice(3..lines.len() - 20, ["..."]);
    }
    lines.join("\n")
}
