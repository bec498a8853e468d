//! Calls to a cluster: which member is asked, how long it may take, and what its answers mean.

use std::future::Future;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use etcd_client::{
    Certificate, Client, ConnectOptions, Error, GetOptions, GetResponse, Identity, KvClient, LeaseClient, TlsOptions,
    Txn, TxnResponse, WatchClient,
};
use tokio::sync::Mutex;
use tokio::time::{Instant, sleep, timeout, timeout_at};

use super::EtcdOptions;
use crate::store::StoreError;

/// Longest wait for one member's answer to a question.
const READ_TIME: Duration = Duration::from_secs(1);
/// The same for an answer of megabytes.
const BULK_TIME: Duration = Duration::from_secs(5);
/// The same for a change, which takes a majority and its disks.
const WRITE_TIME: Duration = Duration::from_secs(2);
/// Between two rounds over the members.
const PAUSE: Duration = Duration::from_millis(50);
/// Largest answer: many rows, and after a while without a watch all changes at once.
const ANSWER_BYTES_MAX: usize = 1 << 30;
/// How often an idle connection is asked whether it is alive. Members refuse more than one in five seconds.
const KEEP_ALIVE: (Duration, Duration) = (Duration::from_secs(10), Duration::from_secs(3));

/// What is wrong with an answer.
#[derive(Debug)]
pub(super) enum Fault {
    /// No member answered in time. Of a change it is not known whether it was made.
    Silent(String),
    /// The revision lies before the history that etcd keeps.
    Compacted,
    /// The user may not, with what etcd says of it.
    Denied(String),
    /// Refused, and so would the next one be.
    Refused(String),
}

impl Fault {
    /// The same as an error of the store, where no history is read.
    pub(super) fn error(self) -> StoreError {
        let reason = match self {
            Self::Silent(reason) | Self::Refused(reason) => reason,
            Self::Denied(message) => format!("etcd refuses the user: {message}; give it a role for the prefix"),
            Self::Compacted => "etcd let go of history while it was read: try again".to_owned(),
        };
        StoreError::Unavailable { reason }
    }
}

/// The members of a cluster.
pub(super) struct Link {
    members: Vec<Member>,
    options: ConnectOptions,
    /// The one that answered last.
    at: AtomicUsize,
}

struct Member {
    endpoint: String,
    client: Mutex<Option<Client>>,
}

impl Link {
    pub(super) fn new(options: &EtcdOptions) -> Link {
        let mut connect = ConnectOptions::new()
            .with_connect_timeout(READ_TIME)
            .with_keep_alive(KEEP_ALIVE.0, KEEP_ALIVE.1)
            // A member that is cut off says so, instead of answering of the past.
            .with_require_leader(true)
            .with_auto_token_refresh(true);
        if let Some(tls) = &options.tls {
            let mut settings = TlsOptions::new();
            settings = match &tls.ca {
                Some(ca) => settings.ca_certificate(Certificate::from_pem(ca)),
                None => settings.with_enabled_roots(),
            };
            if let Some((certificate, key)) = &tls.identity {
                settings = settings.identity(Identity::from_pem(certificate, key));
            }
            connect = connect.with_tls(settings);
        }
        if let Some((name, password)) = &options.user {
            connect = connect.with_user(name, password);
        }
        let member = |endpoint: &String| Member { endpoint: endpoint.clone(), client: Mutex::new(None) };
        Link { members: options.endpoints.iter().map(member).collect(), options: connect, at: AtomicUsize::new(0) }
    }

    /// The members' URLs.
    pub(super) fn endpoints(&self) -> Vec<&str> {
        self.members.iter().map(|member| member.endpoint.as_str()).collect()
    }

    /// The client of a member.
    async fn client(&self, at: usize) -> Result<Client, Fault> {
        let Some(member) = self.members.get(at % self.members.len().max(1)) else {
            return Err(Fault::Refused("no endpoint of etcd is given".to_owned()));
        };
        let mut client = member.client.lock().await;
        if let Some(client) = &*client {
            return Ok(client.clone());
        }
        let connected = self.connect(at).await?;
        *client = Some(connected.clone());
        Ok(connected)
    }

    /// A client on a connection of its own. It connects when it is used; with a user it asks for a token at once.
    async fn connect(&self, at: usize) -> Result<Client, Fault> {
        let endpoint = self.endpoint(at);
        match timeout(READ_TIME, Client::connect([endpoint], Some(self.options.clone()))).await {
            Ok(connected) => connected.map_err(|error| fault(endpoint, &error)),
            Err(_) => Err(Fault::Silent(format!("`{endpoint}` does not answer"))),
        }
    }

    /// Asks another member from now on, if nobody has done so meanwhile.
    fn leave(&self, at: usize) {
        let _ = self.at.compare_exchange(at, at.wrapping_add(1), Ordering::Relaxed, Ordering::Relaxed);
    }

    /// The same, whichever it is.
    pub(super) fn leave_member(&self) {
        self.leave(self.at.load(Ordering::Relaxed));
    }

    /// Makes a call, at one member.
    async fn call<T, F: Future<Output = Result<T, Error>>>(
        &self,
        limit: Duration,
        call: impl FnOnce(Client) -> F,
    ) -> Result<T, Fault> {
        let at = self.at.load(Ordering::Relaxed);
        let calling = async {
            let client = self.client(at).await?;
            call(client).await.map_err(|error| fault(self.endpoint(at), &error))
        };
        let silent = |_| Fault::Silent(format!("`{}` does not answer", self.endpoint(at)));
        let answered = timeout(limit, calling).await.map_err(silent).flatten();
        if matches!(answered, Err(Fault::Silent(_))) {
            self.leave(at);
        }
        answered
    }

    fn endpoint(&self, at: usize) -> &str {
        self.members.get(at % self.members.len().max(1)).map_or("", |member| &member.endpoint)
    }

    /// Makes a call that changes nothing, at one member after the other until one answers or it is too late.
    async fn ask<T, F: Future<Output = Result<T, Error>>>(
        &self,
        limit: Duration,
        deadline: Instant,
        call: impl Fn(Client) -> F,
    ) -> Result<T, Fault> {
        let mut tries = 0;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let answered = self.call(left.min(limit), &call).await;
            tries += 1;
            match answered {
                Err(Fault::Silent(_)) if Instant::now() + PAUSE < deadline => {
                    if tries % self.members.len().max(1) == 0 {
                        sleep(PAUSE).await;
                    }
                }
                answered => return answered,
            }
        }
    }

    /// Reads a key or a range, as all members together know it now where no revision is given.
    pub(super) async fn get(&self, key: &[u8], options: &GetOptions, deadline: Instant) -> Result<GetResponse, Fault> {
        let get = async |client: Client| kv(&client).get(key, Some(options.clone())).await;
        self.ask(READ_TIME, deadline, get).await
    }

    /// Reads several at once.
    pub(super) async fn get_all(&self, txn: &Txn, deadline: Instant) -> Result<TxnResponse, Fault> {
        self.ask(READ_TIME, deadline, async |client: Client| kv(&client).txn(txn.clone()).await).await
    }

    /// Reads a range that may be megabytes.
    pub(super) async fn get_much(&self, key: &[u8], options: &GetOptions) -> Result<GetResponse, Fault> {
        let get = async |client: Client| kv(&client).get(key, Some(options.clone())).await;
        self.ask(BULK_TIME, Instant::now() + BULK_TIME * 3, get).await
    }

    /// Reads several values that may be megabytes.
    pub(super) async fn get_all_of_much(&self, txn: &Txn) -> Result<TxnResponse, Fault> {
        let get = async |client: Client| kv(&client).txn(txn.clone()).await;
        self.ask(BULK_TIME, Instant::now() + BULK_TIME * 3, get).await
    }

    /// Makes a change, once, at one member.
    pub(super) async fn change(&self, txn: &Txn) -> Result<TxnResponse, Fault> {
        self.call(WRITE_TIME, async |client: Client| kv(&client).txn(txn.clone()).await).await
    }

    /// Makes a change that may be made twice, until it is made or it is too late.
    pub(super) async fn change_surely(&self, txn: &Txn, deadline: Instant) -> Result<TxnResponse, Fault> {
        loop {
            match self.change(txn).await {
                Err(Fault::Silent(_)) if Instant::now() + PAUSE < deadline => sleep(PAUSE).await,
                changed => return changed,
            }
        }
    }

    /// Lets go of history before a revision.
    pub(super) async fn compact(&self, revision: i64, deadline: Instant) -> Result<(), Fault> {
        let compact = async |client: Client| kv(&client).compact(revision, None).await.map(|_| ());
        self.ask(READ_TIME, deadline, compact).await.map_err(|fault| match fault {
            Fault::Denied(message) => Fault::Refused(format!(
                "etcd refuses the user: {message}; of newer releases only `root` may compact: leave out --history-days, and set \
                 etcd's own --auto-compaction-mode and --auto-compaction-retention"
            )),
            fault => fault,
        })
    }

    /// A client for watching, of the member that is asked now.
    pub(super) async fn watcher(&self, deadline: Instant) -> Result<WatchClient, Fault> {
        let at = self.at.load(Ordering::Relaxed);
        self.watching(at, deadline, self.client(at)).await
    }

    /// The same on a connection of its own: what waits on it to be read holds up nothing else.
    pub(super) async fn watcher_alone(&self, deadline: Instant) -> Result<WatchClient, Fault> {
        let at = self.at.load(Ordering::Relaxed);
        self.watching(at, deadline, self.connect(at)).await
    }

    async fn watching(
        &self,
        at: usize,
        deadline: Instant,
        client: impl Future<Output = Result<Client, Fault>>,
    ) -> Result<WatchClient, Fault> {
        let silent = |_| Fault::Silent(format!("`{}` does not answer", self.endpoint(at)));
        let client = timeout_at(deadline, client).await.map_err(silent).flatten().inspect_err(|_| self.leave(at))?;
        Ok(client.watch_client().max_decoding_message_size(ANSWER_BYTES_MAX))
    }

    /// Makes a call about leases, at one member after the other.
    pub(super) async fn lease<T, F: Future<Output = Result<T, Error>>>(
        &self,
        deadline: Instant,
        call: impl Fn(LeaseClient) -> F,
    ) -> Result<T, Fault> {
        self.ask(READ_TIME, deadline, |client: Client| call(client.lease_client())).await
    }
}

fn kv(client: &Client) -> KvClient {
    client.kv_client().max_decoding_message_size(ANSWER_BYTES_MAX)
}

/// What an error of the client means.
pub(super) fn fault(endpoint: &str, error: &Error) -> Fault {
    /// Codes of gRPC.
    const DEADLINE_EXCEEDED: i32 = 4;
    const RESOURCE_EXHAUSTED: i32 = 8;
    const OUT_OF_RANGE: i32 = 11;
    const UNAVAILABLE: i32 = 14;
    const UNAUTHENTICATED: i32 = 16;
    const PERMISSION_DENIED: i32 = 7;
    const INVALID_ARGUMENT: i32 = 3;
    const FAILED_PRECONDITION: i32 = 9;
    const NOT_FOUND: i32 = 5;
    let status = match error {
        Error::GRpcStatus(status) => status,
        Error::LeaseKeepAliveError(reason) => {
            return Fault::Refused(format!("a lease has run out: {}", short(reason)));
        }
        Error::TransportError(error) => {
            return Fault::Silent(format!("`{endpoint}` cannot be reached: {}", short(&cause(error))));
        }
        error => return Fault::Silent(format!("`{endpoint}` cannot be reached: {error}")),
    };
    let message = status.message();
    match i32::from(status.code()) {
        OUT_OF_RANGE if message.contains("compacted") => Fault::Compacted,
        RESOURCE_EXHAUSTED if message.contains("space") => Fault::Refused(
            "etcd has used up its quota: let it go of history, defragment it, and disarm its alarm".to_owned(),
        ),
        UNAUTHENTICATED | PERMISSION_DENIED => Fault::Denied(message.to_owned()),
        // A user that is not known, or a password that is not right.
        INVALID_ARGUMENT | FAILED_PRECONDITION | NOT_FOUND => {
            Fault::Refused(format!("etcd refuses the call: {message}"))
        }
        DEADLINE_EXCEEDED => Fault::Silent(format!("`{endpoint}` does not answer")),
        _ => {
            let cause = std::error::Error::source(status).map_or_else(|| message.to_owned(), cause);
            // It is only after the handshake that a client's certificate is refused.
            let is_refused = endpoint.starts_with("https://") && i32::from(status.code()) != UNAVAILABLE;
            let perhaps = if is_refused { "; it may refuse this process's certificate" } else { "" };
            Fault::Silent(format!("`{endpoint}` does not answer: {}{perhaps}", short(&cause)))
        }
    }
}

/// What is at the bottom of an error: above it is said that a connection failed, which is known.
fn cause(error: &dyn std::error::Error) -> String {
    let mut bottom = error;
    while let Some(source) = bottom.source() {
        bottom = source;
    }
    bottom.to_string()
}

/// The first words of a message of another program.
fn short(message: &str) -> String {
    message.lines().next().unwrap_or_default().chars().take(200).collect()
}
