//! A recorded decision as an in-toto statement (v1) with SLSA's verification summary (v1).
//!
//! The summary says whether the use may go on; the decision itself, with its facts, findings and duties, stands beside it, so that
//! the receipt can be read without the registry.

use jiff::Timestamp;
use serde_json::{Value, json};
use thiserror::Error;

use crate::convert::{decision_digest, descriptor, text};
use crate::pb::weighbridge::v1 as pb;

const STATEMENT: &str = "https://in-toto.io/Statement/v1";
const SUMMARY: &str = "https://slsa.dev/verification_summary/v1";
const DECISION: &str = "weighbridge.v1.Decision";
/// Where the decision stands, as extensions of the predicate are named.
const EXTENSION: &str = "weighbridge_decision";
/// Before the name of a resource: what is named is a URI.
const SERVICE: &str = "weighbridge:";
/// Bytes of a statement.
const STATEMENT_BYTES_MAX: usize = 8 << 20;

/// Why there is no receipt, or why it does not hold.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum ReceiptError {
    /// The decision cannot be written.
    #[error("the decision cannot be written: {0}")]
    NotWritten(String),
    /// The statement is another one.
    #[error("the statement is no receipt of a decision: {0}")]
    NotAReceipt(String),
    /// It contradicts itself.
    #[error("the receipt contradicts itself: {0}")]
    Contradiction(&'static str),
}

/// What a receipt says.
#[derive(Clone, Debug, PartialEq)]
pub struct Receipt {
    /// The decision.
    pub decision: pb::Decision,
    /// Who made it.
    pub verifier: String,
    /// When it was made.
    pub time: Timestamp,
}

/// Whether a verdict lets the use go on.
fn passes(verdict: pb::Verdict) -> bool {
    matches!(verdict, pb::Verdict::Eligible | pb::Verdict::EligibleWithConditions)
}

fn result(decision: &pb::Decision) -> (&'static str, String) {
    let verdict = decision.verdict();
    if passes(verdict) {
        ("PASSED", format!("WEIGHBRIDGE_{}", verdict.as_str_name().trim_start_matches("VERDICT_")))
    } else {
        ("FAILED", "FAILED".to_owned())
    }
}

/// What the receipt is of: the decision. Whether the weights at hand are those of the model nobody here has seen, so that no
/// digest of theirs is signed.
fn subjects(decision: &pb::Decision) -> Vec<Value> {
    vec![json!({ "name": decision.name, "digest": { "sha256": decision.digest } })]
}

/// Writes the statement of a recorded decision, JSON. `verifier` is the URI of who vouches for it.
///
/// # Errors
/// The decision was not recorded, or cannot be written.
pub fn statement(decision: &pb::Decision, verifier: &str) -> Result<Vec<u8>, ReceiptError> {
    let wrong = |why: &str| ReceiptError::NotWritten(why.to_owned());
    let created = decision.create_time.filter(|_| !decision.name.is_empty() && !decision.digest.is_empty());
    let created = created.ok_or_else(|| wrong("it was not recorded"))?;
    let time = Timestamp::new(created.seconds, created.nanos).map_err(|error| wrong(&error.to_string()))?;
    let descriptor = descriptor(DECISION).ok_or_else(|| wrong("its descriptor is missing"))?;
    let written = text::write_of(decision, &descriptor, &text::WriteStyle::default());
    let written = written.map_err(|error| wrong(&error.to_string()))?;
    let (result, level) = result(decision);
    let predicate = json!({
        "verifier": { "id": verifier, "version": { "weighbridge": env!("CARGO_PKG_VERSION") } },
        "timeVerified": time.to_string(),
        "resourceUri": format!("{SERVICE}{}", decision.model),
        // What it was held against: licenses, policies and waivers of a revision, and the profile.
        "policy": { "uri": policy(decision) },
        "verificationResult": result,
        "verifiedLevels": [level],
        EXTENSION: written,
    });
    let statement = json!({
        "_type": STATEMENT,
        "subject": subjects(decision),
        "predicateType": SUMMARY,
        "predicate": predicate,
    });
    serde_json::to_vec(&statement).map_err(|error| wrong(&error.to_string()))
}

fn policy(decision: &pb::Decision) -> String {
    let revision = format!("{SERVICE}revisions/{}", decision.revision);
    if decision.use_profile.is_empty() { revision } else { format!("{revision}?use_profile={}", decision.use_profile) }
}

/// Reads the statement of an envelope that was verified.
///
/// # Errors
/// It is no receipt, or what it says of the decision is not what the decision says.
pub fn read(statement: &[u8]) -> Result<Receipt, ReceiptError> {
    let wrong = ReceiptError::NotAReceipt;
    let limits = text::Limits { max_bytes: STATEMENT_BYTES_MAX, ..text::Limits::default() };
    let tree = text::parse(statement, text::Syntax::Json, &limits).map_err(|problems| wrong(joined(&problems)))?;
    let member = |value: &'_ Value, name: &str| value.get(name).cloned().unwrap_or_default();
    let said = |value: &Value, name: &str| member(value, name).as_str().unwrap_or_default().to_owned();
    let (form, kind) = (said(&tree, "_type"), said(&tree, "predicateType"));
    if form != STATEMENT || kind != SUMMARY {
        return Err(wrong(format!("it is `{form}` with `{kind}`, and not {STATEMENT} with {SUMMARY}")));
    }
    let predicate = &member(&tree, "predicate");
    let descriptor = descriptor(DECISION).ok_or_else(|| wrong("the descriptor of decisions is missing".to_owned()))?;
    let decision: pb::Decision =
        text::read_as(&member(predicate, EXTENSION), &descriptor).map_err(|problems| wrong(joined(&problems)))?;
    let (result, level) = result(&decision);
    if member(predicate, "verificationResult") != result || member(predicate, "verifiedLevels") != json!([level]) {
        return Err(ReceiptError::Contradiction("its result is not that of the decision's verdict"));
    }
    if decision_digest(&decision) != decision.digest {
        return Err(ReceiptError::Contradiction("the digest of the decision is that of another"));
    }
    if member(&tree, "subject") != Value::Array(subjects(&decision)) {
        return Err(ReceiptError::Contradiction("its subject is another decision"));
    }
    let time = said(predicate, "timeVerified").parse::<Timestamp>();
    let time = time.map_err(|error| wrong(format!("`timeVerified`: {error}")))?;
    let created = decision.create_time.and_then(|at| Timestamp::new(at.seconds, at.nanos).ok());
    if created != Some(time) || said(predicate, "resourceUri") != format!("{SERVICE}{}", decision.model) {
        return Err(ReceiptError::Contradiction("its time or its model are not those of the decision"));
    }
    Ok(Receipt { decision, verifier: said(&member(predicate, "verifier"), "id"), time })
}

fn joined(problems: &[text::Problem]) -> String {
    problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
}
