//! A client that fails closed: [`Gate`]. With the feature `client` alone it comes without the server, its store and its command.
//!
//! ```no_run
//! # use weighbridge::client::{Gate, Settings};
//! # use weighbridge::pb::weighbridge::v1::{CheckEligibilityRequest, Hosting, Purpose, Use};
//! # async fn ask() -> Result<(), Box<dyn std::error::Error>> {
//! let gate = Gate::new(&Settings::new("http://127.0.0.1:50051"))?;
//! let (purpose, hosting) = (Purpose::Commercial.into(), Hosting::SelfHosted.into());
//! let r#use = Some(Use { purpose, hosting, ..Default::default() });
//! let model = "Qwen/Qwen3-32B".to_owned();
//! // Only a clear yes goes on from here.
//! let permission = gate.check(CheckEligibilityRequest { model, r#use, ..Default::default() }).await?;
//! for duty in &permission.decision().duties {
//!     println!("and then: {}", duty.text);
//! }
//! # Ok(())
//! # }
//! ```

use std::fmt;
use std::hash::{BuildHasher as _, RandomState};
use std::time::Duration;

use tokio::time::{Instant, sleep, timeout_at};
use tonic::metadata::{Ascii, MetadataMap, MetadataValue};
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint, Identity};
use tonic::{Code, Request, Response, Status};
use tonic_types::StatusExt as _;

use crate::pb::weighbridge::v1::eligibility_service_client::EligibilityServiceClient;
use crate::pb::weighbridge::v1::{CheckEligibilityRequest, CheckEligibilityResponse, Decision, Verdict};

/// Domain of the reasons that the registry gives.
const DOMAIN: &str = "weighbridge";
/// Metadata with the id of a call, which the registry's log and decision log know.
const CALL_ID: &str = "weighbridge-call-id";
/// How long a connection may take.
const CONNECT_TIME: Duration = Duration::from_secs(5);
/// How often a connection is asked whether it is still there, and how long it may take to say so.
const KEEPALIVE_EVERY: Duration = Duration::from_secs(20);
const KEEPALIVE_TIME: Duration = Duration::from_secs(5);
/// The longest deadline; gRPC can tell no longer one.
const DEADLINE_MAX: Duration = Duration::from_secs(24 * 3_600);
const BACKOFF_FIRST: Duration = Duration::from_millis(100);
const BACKOFF_MAX: Duration = Duration::from_secs(2);

/// How to reach a registry, and how long to try.
#[derive(Clone)]
pub struct Settings {
    /// `https://HOST:PORT`; `http://` for plain text.
    pub server: String,
    /// Roots of the server's certificate, PEM; those of Mozilla when not given.
    pub ca_cert: Option<Vec<u8>>,
    /// Certificate to show and its private key, PEM.
    pub identity: Option<(Vec<u8>, Vec<u8>)>,
    /// Token to show.
    pub token: Option<String>,
    /// Longest time for a check, all attempts together; a day at most.
    pub deadline: Duration,
    /// Most attempts for a check.
    pub attempts: u32,
    /// Whether duties that remain block.
    pub strict_conditions: bool,
}

/// Asks one registry. Keep one for the life of the program, and clone it: clones share the connection.
#[derive(Clone)]
pub struct Gate {
    client: EligibilityServiceClient<Channel>,
    authorization: Option<MetadataValue<Ascii>>,
    deadline: Duration,
    attempts: u32,
    strict_conditions: bool,
}

/// A clear yes. Nothing but [`Gate::check`] makes one.
#[derive(Clone, Debug)]
#[must_use]
pub struct Permission {
    decision: Decision,
    call_id: String,
}

/// Why a model is not let through.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Blocked {
    /// It needs a review, is ineligible, or has a verdict that this client does not know.
    #[error("{}{}", .decision.summary, in_brackets(.call_id))]
    Decided {
        /// The decision, with what was found.
        decision: Box<Decision>,
        /// Id of the call.
        call_id: String,
    },
    /// It may be used once its duties are done, and they block here.
    #[error("duties remain: {}{}", .decision.summary, in_brackets(.call_id))]
    Conditions {
        /// The decision, with the duties.
        decision: Box<Decision>,
        /// Id of the call.
        call_id: String,
    },
    /// The registry does not know the model, or the profile.
    #[error("{message}")]
    NotFound {
        /// What the registry says, with near names.
        message: String,
    },
    /// The registry refuses the request as it is.
    #[error("{message}")]
    Refused {
        /// What is wrong with it.
        message: String,
    },
    /// Nothing was decided.
    #[error("no answer: {message} ({:?}){}", .code, in_brackets(.call_id))]
    NoAnswer {
        /// How the last attempt ended.
        code: Code,
        /// What was said of it.
        message: String,
        /// Id of the call; empty where none came.
        call_id: String,
    },
}

/// What is wrong with settings.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct SettingsError(String);

impl Settings {
    /// Ten seconds and five attempts, without credentials.
    pub fn new(server: impl Into<String>) -> Self {
        Self {
            server: server.into(),
            ca_cert: None,
            identity: None,
            token: None,
            deadline: Duration::from_secs(10),
            attempts: 5,
            strict_conditions: false,
        }
    }

    fn endpoint(&self) -> Result<Endpoint, SettingsError> {
        let Settings { server, ca_cert, identity, token, .. } = self;
        let wrong = |what: String| Err(SettingsError(what));
        let endpoint = Endpoint::from_shared(server.clone()).ok().filter(|endpoint| {
            let uri = endpoint.uri();
            let is_known = matches!(uri.scheme_str(), Some("http" | "https"));
            is_known && uri.host().is_some_and(|host| !host.is_empty()) && matches!(uri.path(), "" | "/")
        });
        let Some(endpoint) = endpoint else {
            return wrong(format!("`{server}` is no address: write https://HOST:PORT"));
        };
        let endpoint = endpoint
            .connect_timeout(CONNECT_TIME)
            .tcp_nodelay(true)
            // A connection that was dropped on the way says nothing of it: else each check would wait for its deadline.
            .http2_keep_alive_interval(KEEPALIVE_EVERY)
            .keep_alive_timeout(KEEPALIVE_TIME)
            .keep_alive_while_idle(true);
        if endpoint.uri().scheme_str() == Some("https") {
            let mut tls = match ca_cert {
                Some(roots) => ClientTlsConfig::new().ca_certificate(Certificate::from_pem(roots)),
                None => ClientTlsConfig::new().with_webpki_roots(),
            };
            if let Some((certificate, key)) = identity {
                tls = tls.identity(Identity::from_pem(certificate, key));
            }
            return endpoint.tls_config(tls).map_err(|error| SettingsError(format!("the certificates: {error}")));
        }
        if ca_cert.is_some() || identity.is_some() {
            return wrong("certificates need https://".to_owned());
        }
        // Who reads a token on its way can use it.
        if token.is_some() && !is_loopback(endpoint.uri().host()) {
            return wrong("a token is only sent over https://, or to this machine".to_owned());
        }
        Ok(endpoint)
    }
}

impl Gate {
    /// Connects in the background: a registry that is not there shows in the first check.
    ///
    /// # Errors
    /// The settings cannot be right, whatever the registry says.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub fn new(settings: &Settings) -> Result<Gate, SettingsError> {
        let endpoint = settings.endpoint()?;
        let authorization = settings.token.as_deref().map(bearer).transpose()?;
        let Settings { deadline, attempts, strict_conditions, .. } = *settings;
        let client = EligibilityServiceClient::new(endpoint.connect_lazy());
        Ok(Gate { client, authorization, deadline, attempts, strict_conditions })
    }

    /// Whether the model may be used as the request says. Where the connection is lost it is asked again, so that a decision may be
    /// recorded twice.
    ///
    /// # Errors
    /// It may not, or nobody knows: both block.
    pub async fn check(&self, request: CheckEligibilityRequest) -> Result<Permission, Blocked> {
        let deadline = Instant::now() + self.deadline.min(DEADLINE_MAX);
        let mut attempt = 1;
        loop {
            let failed = match self.ask(request.clone(), deadline).await {
                Ok(response) => return judge(response, self.strict_conditions),
                Err(status) => status,
            };
            // Nothing was decided, and asking again may help. All else is final: a second try would get the same answer.
            // What came of the connection has a source, or is UNKNOWN without a word of the registry.
            let is_lost =
                std::error::Error::source(&failed).is_some() || failed.code() == Code::Unknown && !is_its_own(&failed);
            let is_retried = is_lost || matches!(failed.code(), Code::Unavailable | Code::ResourceExhausted);
            let wait = wait_after(attempt, &failed);
            // A wait that ends after the deadline could only turn this error into a less telling one.
            let left = deadline.saturating_duration_since(Instant::now());
            if !is_retried || attempt >= self.attempts || wait >= left {
                return Err(blocked(&failed));
            }
            sleep(wait).await;
            attempt += 1;
        }
    }

    async fn ask(
        &self,
        message: CheckEligibilityRequest,
        deadline: Instant,
    ) -> Result<Response<CheckEligibilityResponse>, Status> {
        let mut request = Request::new(message);
        // The deadline travels with the call, so the server gives up when the client does.
        request.set_timeout(deadline.saturating_duration_since(Instant::now()));
        if let Some(authorization) = &self.authorization {
            request.metadata_mut().insert("authorization", authorization.clone());
        }
        let mut client = self.client.clone();
        let late = |_| Status::deadline_exceeded("the registry did not answer in time");
        timeout_at(deadline, client.check_eligibility(request)).await.map_err(late)?
    }
}

impl Permission {
    /// The decision, with the duties that come with it.
    #[must_use]
    pub fn decision(&self) -> &Decision {
        &self.decision
    }

    /// Id of the call, which the registry's log and decision log know.
    #[must_use]
    pub fn call_id(&self) -> &str {
        &self.call_id
    }
}

impl fmt::Debug for Settings {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The rest are secrets, or as good as that.
        formatter.debug_struct("Settings").field("server", &self.server).finish_non_exhaustive()
    }
}

impl fmt::Debug for Gate {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Gate").field("deadline", &self.deadline).finish_non_exhaustive()
    }
}

/// INVARIANT: the one place where a model is let through.
fn judge(response: Response<CheckEligibilityResponse>, strict_conditions: bool) -> Result<Permission, Blocked> {
    let call_id = call_id(response.metadata());
    let Some(decision) = response.into_inner().decision else {
        let message = "the answer holds no decision".to_owned();
        return Err(Blocked::NoAnswer { code: Code::Unknown, message, call_id });
    };
    // Enums of proto3 are open: a verdict of a newer registry is a number without a name, and blocks like any other.
    match Verdict::try_from(decision.verdict) {
        Ok(Verdict::Eligible) => Ok(Permission { decision, call_id }),
        Ok(Verdict::EligibleWithConditions) if strict_conditions => {
            Err(Blocked::Conditions { decision: Box::new(decision), call_id })
        }
        Ok(Verdict::EligibleWithConditions) => Ok(Permission { decision, call_id }),
        Ok(Verdict::NeedsReview | Verdict::Ineligible | Verdict::Unspecified) | Err(_) => {
            Err(Blocked::Decided { decision: Box::new(decision), call_id })
        }
    }
}

/// Whether the registry said it, and not what is between.
fn is_its_own(status: &Status) -> bool {
    status.get_details_error_info().is_some_and(|info| info.domain == DOMAIN)
}

fn blocked(status: &Status) -> Blocked {
    let message = status.message().to_owned();
    // Only the registry's own word says that a model is not known: a proxy that finds no route says NOT_FOUND, too.
    match status.code() {
        Code::NotFound if is_its_own(status) => Blocked::NotFound { message },
        Code::InvalidArgument => Blocked::Refused { message },
        code => Blocked::NoAnswer { code, message, call_id: call_id(status.metadata()) },
    }
}

/// How long to wait after an attempt that failed.
fn wait_after(attempt: u32, status: &Status) -> Duration {
    let backoff = BACKOFF_FIRST.saturating_mul(1 << attempt.saturating_sub(1).min(16)).min(BACKOFF_MAX);
    // Clients that were turned away together must not come back together.
    let share = RandomState::new().hash_one(attempt) % 1_024;
    let jittered = backoff / 2 + backoff / 2 * u32::try_from(share).unwrap_or_default() / 1_024;
    // The server knows when there is room; the jitter still comes on top.
    let told = status.get_details_retry_info().and_then(|info| info.retry_delay);
    told.map_or(jittered, |told| told.saturating_add(jittered))
}

fn call_id(metadata: &MetadataMap) -> String {
    metadata.get(CALL_ID).and_then(|id| id.to_str().ok()).unwrap_or_default().to_owned()
}

fn in_brackets(call_id: &str) -> String {
    if call_id.is_empty() { String::new() } else { format!(" (call {call_id})") }
}

/// A token as a call shows it.
pub(crate) fn bearer(token: &str) -> Result<MetadataValue<Ascii>, SettingsError> {
    let token = token.trim();
    let value = MetadataValue::try_from(format!("Bearer {token}")).ok().filter(|_| !token.is_empty());
    let mut value =
        value.ok_or_else(|| SettingsError("the token is empty or holds characters that no token has".to_owned()))?;
    value.set_sensitive(true);
    Ok(value)
}

/// Whether a host is this machine.
pub(crate) fn is_loopback(host: Option<&str>) -> bool {
    let host = host.unwrap_or_default().trim_start_matches('[').trim_end_matches(']');
    host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
}
