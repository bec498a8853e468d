//! Kubernetes' validating admission (`admission.k8s.io/v1`): the models of an object are checked before it is kept.

use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Map, Value};

use super::outcome::{Outcome, With};
use super::rules::{AdmissionRules, BreakGlass, Mode, Review, Zone};
use super::workload::{MODELS_MAX, Workload, cut as shown};
use crate::pb::weighbridge::v1::Verdict;
use crate::registry::{Call, Registry};

const API_VERSION: &str = "admission.k8s.io/v1";
const KIND: &str = "AdmissionReview";
/// Longest id of a request; the API server sends a UUID.
const UID_BYTES_MAX: usize = 128;
/// The API server cuts warnings that are longer, and drops those beyond 4096 bytes together.
const WARNING_BYTES_MAX: usize = 250;
const WARNINGS_MAX: usize = 16;
/// Longest value of an audit annotation and longest message.
const TEXT_BYTES_MAX: usize = 2_000;

/// The gate before a cluster.
#[derive(Clone, Debug)]
pub struct AdmissionGate {
    rules: Arc<AdmissionRules>,
}

/// What came of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Admitted {
    /// It names no model, or all of them pass.
    Passed,
    /// Something would not pass, and it passes with a warning.
    Warned,
    /// It passes because somebody broke the glass.
    BrokenGlass,
    /// It does not pass.
    Denied,
}

impl Admitted {
    /// Each of them.
    pub const ALL: &'static [Self] = &[Self::Passed, Self::Warned, Self::BrokenGlass, Self::Denied];

    /// Its name in figures and logs.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Passed => "passed",
            Self::Warned => "warned",
            Self::BrokenGlass => "break_glass",
            Self::Denied => "denied",
        }
    }
}

/// An answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reviewed {
    /// An `AdmissionReview`, JSON.
    pub body: Vec<u8>,
    /// What came of it.
    pub admitted: Admitted,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ReviewDocument {
    api_version: String,
    kind: String,
    request: Option<AdmissionRequest>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct AdmissionRequest {
    uid: String,
    #[serde(default, deserialize_with = "or_default")]
    kind: Gvk,
    #[serde(default, deserialize_with = "or_default")]
    name: String,
    #[serde(default, deserialize_with = "or_default")]
    namespace: String,
    operation: String,
    #[serde(default, deserialize_with = "or_default")]
    user_info: UserInfo,
    #[serde(default)]
    object: Value,
    #[serde(default)]
    old_object: Value,
}

#[derive(Default, Deserialize)]
struct Gvk {
    #[serde(default)]
    kind: String,
}

#[derive(Default, Deserialize)]
struct UserInfo {
    #[serde(default)]
    username: String,
    #[serde(default, deserialize_with = "or_default")]
    groups: Vec<String>,
}

/// `null` is nothing, as where it is left out.
fn or_default<'de, D: Deserializer<'de>, T: Default + Deserialize<'de>>(deserializer: D) -> Result<T, D::Error> {
    Option::<T>::deserialize(deserializer).map(Option::unwrap_or_default)
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Answer {
    api_version: &'static str,
    kind: &'static str,
    response: Response,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Response {
    uid: String,
    allowed: bool,
    /// Also where it is allowed: some readers ask for it.
    status: Status,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    warnings: Vec<String>,
    #[serde(skip_serializing_if = "Map::is_empty")]
    audit_annotations: Map<String, Value>,
}

#[derive(Serialize)]
struct Status {
    status: &'static str,
    code: u16,
    #[serde(skip_serializing_if = "str::is_empty")]
    reason: &'static str,
    #[serde(skip_serializing_if = "String::is_empty")]
    message: String,
}

impl AdmissionGate {
    /// A gate with its rules.
    #[must_use]
    pub fn new(rules: AdmissionRules) -> Self {
        Self { rules: Arc::new(rules) }
    }

    /// Answers an `AdmissionReview`, JSON. `actor` is who sends it; checks are logged under its `uid`.
    ///
    /// # Errors
    /// It is no `AdmissionReview` of the version that is spoken here.
    pub async fn review(&self, registry: &Registry, actor: Arc<str>, document: &[u8]) -> Result<Reviewed, String> {
        let asked: ReviewDocument =
            serde_json::from_slice(document).map_err(|error| format!("the document cannot be read: {error}"))?;
        if asked.api_version != API_VERSION || asked.kind != KIND {
            let (version, kind) = (asked.api_version, asked.kind);
            return Err(format!(
                "the document is `{kind}` of `{version}`, and {KIND} of {API_VERSION} is taken: set \
                 `admissionReviewVersions: [v1]`"
            ));
        }
        let request = asked.request.ok_or("the document has no `request`")?;
        if request.uid.is_empty() || request.uid.len() > UID_BYTES_MAX {
            return Err(format!("`request.uid` has 1 to {UID_BYTES_MAX} bytes"));
        }
        let mut response = Response {
            uid: request.uid.clone(),
            allowed: true,
            status: Status { status: "Success", code: 200, reason: "", message: String::new() },
            warnings: Vec::new(),
            audit_annotations: Map::new(),
        };
        let call = Call { id: request.uid.as_str().into(), actor, held: None, outcome: None };
        let admitted = call.run(self.decide(registry, &request, &mut response)).await;
        response.allowed = admitted != Admitted::Denied;
        let answer = Answer { api_version: API_VERSION, kind: KIND, response };
        let body = serde_json::to_vec(&answer).map_err(|error| format!("the answer cannot be written: {error}"))?;
        Ok(Reviewed { body, admitted })
    }

    async fn decide(&self, registry: &Registry, request: &AdmissionRequest, response: &mut Response) -> Admitted {
        // Nobody is kept from taking something away.
        if matches!(request.operation.as_str(), "DELETE" | "CONNECT") {
            return Admitted::Passed;
        }
        let named = Workload::read(&self.rules, &request.object);
        let zone = self.rules.zone(&request.namespace);
        let names_nothing = named.models.is_empty() && named.unclear.is_empty();
        let is_off = zone.is_some_and(|zone| zone.mode == Mode::Off);
        let outcomes = if names_nothing || is_off { Vec::new() } else { ask(registry, zone, request, &named).await };
        let denied: Vec<&Outcome> = outcomes.iter().filter(|outcome| !outcome.passes).collect();
        let unlet = self.breaks_unlet(zone, request, &named);
        let admitted = self.admit(zone, request, &named, !denied.is_empty(), unlet);
        for outcome in &outcomes {
            // What passes has nothing to say but what must then be done.
            if !outcome.passes || outcome.verdict > Verdict::Eligible {
                warn(response, outcome);
            }
        }
        if let Some(gravest) = outcomes.iter().reduce(|a, b| if b.is_graver_than(a) { b } else { a }) {
            annotate(response, gravest, &outcomes, admitted);
        }
        if let Some(reason) = &named.break_glass {
            note(response, "break-glass", reason);
            // Always, whether it was needed, and whether it was let.
            tracing::warn!(
                user = request.user_info.username,
                namespace = request.namespace,
                kind = request.kind.kind,
                name = request.name,
                operation = request.operation,
                why = shown(reason),
                models = ?named.models.iter().map(|model| shown(model)).collect::<Vec<_>>(),
                would_pass = denied.is_empty(),
                outcome = admitted.as_str(),
                "the glass is broken"
            );
        }
        if admitted == Admitted::Denied {
            let message = cut(&self.message(zone, request, &named, &denied), TEXT_BYTES_MAX);
            let (user, namespace, name) = (&request.user_info.username, &request.namespace, &request.name);
            tracing::info!(user, namespace, kind = request.kind.kind, name, why = message, "the gate denies this");
            // Why it is denied is in the message already.
            response.warnings.clear();
            response.status = Status { status: "Failure", code: 403, reason: "Forbidden", message };
        }
        admitted
    }

    fn admit(
        &self,
        zone: Option<&Zone>,
        request: &AdmissionRequest,
        named: &Workload,
        is_denied: bool,
        unlet: bool,
    ) -> Admitted {
        if unlet && !self.starts_nothing(request, named) {
            return Admitted::Denied;
        }
        if !is_denied {
            return Admitted::Passed;
        }
        let breaks = named.break_glass.as_deref().is_some_and(|reason| !reason.trim().is_empty());
        match zone {
            Some(zone) if zone.mode == Mode::Warn => Admitted::Warned,
            Some(zone) if breaks && self.lets_break(zone, &request.user_info) => Admitted::BrokenGlass,
            _ if self.starts_nothing(request, named) => Admitted::Warned,
            _ => Admitted::Denied,
        }
    }

    /// Whether it says that the glass is broken, and its writer may not: also where nothing has to be broken yet, since what
    /// controllers make of it later would pass.
    fn breaks_unlet(&self, zone: Option<&Zone>, request: &AdmissionRequest, named: &Workload) -> bool {
        let breaks = named.break_glass.as_deref().is_some_and(|reason| !reason.trim().is_empty());
        zone.is_some_and(|zone| breaks && zone.mode == Mode::Enforce && !self.lets_break(zone, &request.user_info))
    }

    /// Whether a user may break the glass: also who only carries out what somebody wrote who might.
    fn lets_break(&self, zone: &Zone, user: &UserInfo) -> bool {
        zone.break_glass.lets(&user.groups)
            || matches!(&zone.break_glass, BreakGlass::Groups(groups) if !groups.is_empty())
                && self.rules.controllers.contains(&user.username)
    }

    /// Whether an update leaves everything but the object's own metadata as it is: what runs goes on, and can be labelled,
    /// released and taken away.
    fn starts_nothing(&self, request: &AdmissionRequest, named: &Workload) -> bool {
        let (Value::Object(new), Value::Object(old)) = (&request.object, &request.old_object) else { return false };
        let rest = |object: &Map<String, Value>| {
            let mut rest = object.clone();
            rest.remove("metadata");
            rest.remove("status");
            rest
        };
        request.operation == "UPDATE" && rest(new) == rest(old) && {
            let before = Workload::read(&self.rules, &request.old_object);
            (before.models, before.unclear) == (named.models.clone(), named.unclear.clone())
        }
    }

    fn message(
        &self,
        zone: Option<&Zone>,
        request: &AdmissionRequest,
        named: &Workload,
        denied: &[&Outcome],
    ) -> String {
        let mut message = denied.iter().map(|outcome| told(outcome)).collect::<Vec<_>>().join("; ");
        if message.is_empty() {
            message.push_str("All of its models pass");
        }
        let annotation = &self.rules.break_glass_annotation;
        let lets = zone.is_some_and(|zone| self.lets_break(zone, &request.user_info));
        match (&named.break_glass, lets) {
            (None, true) => {
                message
                    .push_str(&format!(". In an emergency the annotation `{annotation}` with a reason lets it pass"));
            }
            (Some(_), true) => message.push_str(&format!(". The annotation `{annotation}` gives no reason")),
            (Some(_), false) => message.push_str(". You may not break the glass here"),
            (None, false) => {}
        }
        message
    }
}

async fn ask(registry: &Registry, zone: Option<&Zone>, request: &AdmissionRequest, named: &Workload) -> Vec<Outcome> {
    let Some(zone) = zone else {
        let wrong = format!("no zone of the gate's rules fits the namespace `{}`", request.namespace);
        return vec![Outcome::refused("GATE_MISCONFIGURED", wrong)];
    };
    if named.models.len().max(named.unclear.len()) > MODELS_MAX {
        let wrong = format!("it names more than {MODELS_MAX} models");
        return vec![Outcome::refused("MODEL_NOT_NAMED", wrong)];
    }
    let facts = zone.facts();
    let pass_reviews = zone.review == Review::Warn;
    let with = With { use_: &facts, use_profile: &zone.use_profile, pass_reviews };
    let mut outcomes: Vec<Outcome> =
        named.unclear.iter().map(|text| Outcome::refused("MODEL_NOT_NAMED", unclear(text))).collect();
    for model in &named.models {
        outcomes.push(Outcome::ask(registry, model, with).await);
    }
    outcomes
}

fn unclear(text: &str) -> String {
    format!("{text}: name it in an annotation of the pod (template)")
}

/// An outcome in words.
fn told(outcome: &Outcome) -> String {
    let reasons = outcome.reasons.join(", ");
    let policies =
        if outcome.policies.is_empty() { String::new() } else { format!(" ({})", outcome.policies.join(", ")) };
    let message = outcome.message.trim_end_matches('.');
    let model = outcome.models.join(", ");
    if model.is_empty() {
        format!("{message} [{reasons}]")
    } else {
        format!("{model}: {message} [{reasons}]{policies}")
    }
}

fn warn(response: &mut Response, outcome: &Outcome) {
    let mut say = |text: &str| {
        if response.warnings.len() < WARNINGS_MAX {
            response.warnings.push(cut(&format!("weighbridge: {text}"), WARNING_BYTES_MAX));
        }
    };
    say(&told(outcome));
    outcome.duties.iter().for_each(|duty| say(duty));
}

/// For the audit log of the cluster, where the webhook's name is put before each key.
fn annotate(response: &mut Response, gravest: &Outcome, outcomes: &[Outcome], admitted: Admitted) {
    let models: Vec<&str> = outcomes.iter().flat_map(|outcome| &outcome.models).map(String::as_str).collect();
    note(response, "outcome", admitted.as_str());
    note(response, "verdict", gravest.verdict_name());
    note(response, "models", &models.join(","));
    note(response, "reasons", &gravest.reasons.join(","));
    note(response, "policies", &gravest.policies.join(","));
    note(response, "revision", &gravest.revision.to_string());
}

fn note(response: &mut Response, key: &str, text: &str) {
    response.audit_annotations.insert(key.to_owned(), Value::String(cut(text, TEXT_BYTES_MAX)));
}

/// A text on one line, of so many bytes at most.
fn cut(text: &str, bytes_max: usize) -> String {
    let line: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    if line.len() <= bytes_max {
        return line;
    }
    let mut end = bytes_max.saturating_sub('…'.len_utf8());
    while !line.is_char_boundary(end) {
        end -= 1;
    }
    format!("{}…", line.get(..end).unwrap_or_default())
}
