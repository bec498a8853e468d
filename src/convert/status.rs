//! Errors to gRPC statuses: one exhaustive mapping. Storage detail stays out of what a client sees.

use std::collections::HashMap;

use prost::Message as _;
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt as _};

use super::{Violation, did_you_mean};
use crate::pb::weighbridge::v1 as pb;
use crate::registry::RegistryError;
use crate::store::StoreError;

pub(super) const DOMAIN: &str = "weighbridge";

/// The status of an error.
#[must_use]
pub fn status(error: &RegistryError) -> Status {
    match error {
        RegistryError::Invalid(violations) => invalid(violations),
        RegistryError::Unimplemented(violations) => unimplemented(violations),
        RegistryError::NotFound { kind, name, near } => {
            let message = format!("{error}{}", did_you_mean(near));
            let metadata = [("kind", (*kind).to_owned()), ("name", name.clone()), ("near", near.join(","))];
            with_info(Code::NotFound, message, "NOT_FOUND", metadata)
        }
        RegistryError::NotFoundMany { kind, names } => {
            let metadata = [("kind", (*kind).to_owned()), ("names", names.join(","))];
            with_info(Code::NotFound, error.to_string(), "NOT_FOUND", metadata)
        }
        RegistryError::AmbiguousAlias { alias, candidates } => {
            let metadata = [("alias", alias.clone()), ("candidates", candidates.join(","))];
            with_info(Code::FailedPrecondition, error.to_string(), "AMBIGUOUS_ALIAS", metadata)
        }
        RegistryError::AlreadyExists { name } => {
            with_info(Code::AlreadyExists, error.to_string(), "ALREADY_EXISTS", [("name", name.clone())])
        }
        RegistryError::AliasTaken { alias, model } => {
            let metadata = [("alias", alias.clone()), ("model", model.clone())];
            with_info(Code::AlreadyExists, error.to_string(), "ALIAS_TAKEN", metadata)
        }
        RegistryError::EtagMismatch { name, current } => {
            let metadata = [("name", name.clone()), ("etag", current.clone())];
            with_info(Code::Aborted, error.to_string(), "ETAG_MISMATCH", metadata)
        }
        RegistryError::BuiltIn { name } => {
            with_info(Code::FailedPrecondition, error.to_string(), "BUILT_IN", [("name", name.clone())])
        }
        RegistryError::NotModelled { name } => {
            with_info(Code::FailedPrecondition, error.to_string(), "LICENSE_NOT_MODELLED", [("name", name.clone())])
        }
        RegistryError::LicenseInUse { name, .. } => {
            with_info(Code::FailedPrecondition, error.to_string(), "LICENSE_IN_USE", [("name", name.clone())])
        }
        RegistryError::ModelInUse { name, .. } => {
            with_info(Code::FailedPrecondition, error.to_string(), "MODEL_IN_USE", [("name", name.clone())])
        }
        RegistryError::UseProfileInUse { name, .. } => {
            with_info(Code::FailedPrecondition, error.to_string(), "USE_PROFILE_IN_USE", [("name", name.clone())])
        }
        RegistryError::PolicyInUse { name, .. } => {
            with_info(Code::FailedPrecondition, error.to_string(), "POLICY_IN_USE", [("name", name.clone())])
        }
        RegistryError::NothingToImport { .. } => {
            invalid(&[Violation { field: "chunk".into(), description: error.to_string() }])
        }
        RegistryError::NoDecisionLog => with_info(Code::FailedPrecondition, error.to_string(), "NO_DECISION_LOG", []),
        RegistryError::Incomplete => with_info(Code::Unavailable, error.to_string(), "RECORDS_MISSING", []),
        RegistryError::SlowReader => with_info(Code::ResourceExhausted, error.to_string(), "SLOW_READER", []),
        RegistryError::TooManyBackups { .. } => {
            with_info(Code::ResourceExhausted, error.to_string(), "TOO_MANY_BACKUPS", [])
        }
        RegistryError::NotPristine => with_info(Code::FailedPrecondition, error.to_string(), "STORE_NOT_EMPTY", []),
        RegistryError::Superseded => with_info(Code::Unavailable, error.to_string(), "RESTORING", []),
        RegistryError::LineageCycle { path } => {
            with_info(Code::FailedPrecondition, error.to_string(), "LINEAGE_CYCLE", [("path", path.join(","))])
        }
        RegistryError::RevisionNotReached { asked, current } => {
            let metadata = [("asked", asked.to_string()), ("current", current.to_string())];
            with_info(Code::FailedPrecondition, error.to_string(), "REVISION_NOT_REACHED", metadata)
        }
        RegistryError::PageToken => {
            invalid(&[Violation { field: "page_token".into(), description: error.to_string() }])
        }
        RegistryError::PageTokenExpired { revision } => {
            let metadata = [("revision", revision.to_string())];
            with_info(Code::Aborted, error.to_string(), "PAGE_TOKEN_EXPIRED", metadata)
        }
        RegistryError::FilterTooCostly => {
            invalid(&[Violation { field: "filter".into(), description: error.to_string() }])
        }
        RegistryError::Import(inner) => invalid(&[Violation { field: "chunk".into(), description: inner.to_string() }]),
        RegistryError::Store(inner) => store(inner),
        RegistryError::Record(_) | RegistryError::BuiltInCatalog(_) => {
            let message = "a stored record could not be read: see the server's log";
            with_info(Code::Internal, message.into(), "RECORD_UNREADABLE", [])
        }
        RegistryError::Closed => {
            let message = "the registry takes no writes any more: it is shutting down or its feed has failed";
            with_info(Code::Unavailable, message.into(), "CLOSED", [])
        }
        RegistryError::Stale { staleness } => {
            let metadata = [("staleness_ms", staleness.age.as_millis().to_string())];
            with_info(Code::Unavailable, error.to_string(), "STALE", metadata)
        }
        RegistryError::TooManyWatches { .. } => exhausted(error.to_string(), "TOO_MANY_WATCHES"),
        RegistryError::WatchTooSlow { resume_revision } => {
            let metadata = [("resume_revision", resume_revision.to_string())];
            with_info(Code::ResourceExhausted, error.to_string(), "WATCH_TOO_SLOW", metadata)
        }
        RegistryError::WatchClosed { resume_revision } => {
            let metadata = [("resume_revision", resume_revision.to_string())];
            with_info(Code::Unavailable, error.to_string(), "CLOSED", metadata)
        }
        RegistryError::WatchFailed { resume_revision, error } => resumable(&status(error), *resume_revision),
        RegistryError::WatchTooOld { resume_revision } => {
            let metadata = [("resume_revision", resume_revision.to_string())];
            with_info(Code::Unavailable, error.to_string(), "WATCH_TOO_OLD", metadata)
        }
        RegistryError::Stopping { resume_revision } => {
            let metadata = [("resume_revision", resume_revision.to_string())];
            with_info(Code::Unavailable, error.to_string(), "STOPPING", metadata)
        }
    }
}

/// Why a watch failed, and from where it is gone on with.
fn resumable(failed: &Status, resume_revision: u64) -> Status {
    let mut details = failed.get_error_details();
    if let Some(mut info) = details.error_info().cloned() {
        info.metadata.insert("resume_revision".into(), resume_revision.to_string());
        details.set_error_info(info.reason, info.domain, info.metadata);
    }
    Status::with_error_details(failed.code(), failed.message(), details)
}

/// A status as the answer to one item of a batch.
#[must_use]
pub fn item(status: &Status) -> pb::ItemStatus {
    let details = tonic_types::pb::Status::decode(status.details()).map(|status| status.details).unwrap_or_default();
    pb::ItemStatus { code: status.code() as i32, message: status.message().to_owned(), details }
}

/// Bad input: every violation, in the message and as `BadRequest`.
#[must_use]
pub fn invalid(violations: &[Violation]) -> Status {
    fields(Code::InvalidArgument, "INVALID_FIELDS", violations)
}

/// Fields whose feature is not built yet.
#[must_use]
pub fn unimplemented(violations: &[Violation]) -> Status {
    fields(Code::Unimplemented, "NOT_BUILT_YET", violations)
}

/// A limit of the service was met.
#[must_use]
pub fn exhausted(message: String, reason: &str) -> Status {
    with_info(Code::ResourceExhausted, message, reason, [])
}

/// The service is not in a state for it.
#[must_use]
pub fn failed_precondition(message: &str, reason: &str) -> Status {
    with_info(Code::FailedPrecondition, message.to_owned(), reason, [])
}

fn fields(code: Code, reason: &str, violations: &[Violation]) -> Status {
    /// Enough of them to read in one line; all are in the details.
    const SAID_MAX: usize = 10;
    let mut said: Vec<String> =
        violations.iter().take(SAID_MAX).map(|v| format!("{}: {}", v.field, v.description)).collect();
    if violations.len() > SAID_MAX {
        said.push(format!("and {} more", violations.len() - SAID_MAX));
    }
    let mut details = ErrorDetails::with_error_info(reason, DOMAIN, HashMap::new());
    for Violation { field, description } in violations {
        details.add_bad_request_violation(field, description);
    }
    Status::with_error_details(code, said.join("; "), details)
}

fn store(error: &StoreError) -> Status {
    if let StoreError::Compacted { oldest, .. } = error {
        let metadata = [("oldest_revision", oldest.to_string())];
        return with_info(Code::OutOfRange, error.to_string(), "REVISION_COMPACTED", metadata);
    }
    let (code, reason, message) = match error {
        StoreError::Conflict { .. } => {
            (Code::Aborted, "CONFLICT", "the record was changed in between: read it again and repeat the change")
        }
        StoreError::ReadOnly { .. } => {
            (Code::Unavailable, "STORE_READ_ONLY", "the store takes no writes: see GetStatus for the reason")
        }
        StoreError::Full { .. } => {
            let message = "the store's disk is full, and whether this was written is not known: try again with the same request id";
            (Code::Unavailable, "STORE_FULL", message)
        }
        StoreError::Busy { .. } => {
            let message = "too many writes wait to be committed: try again in a moment, nothing was written";
            (Code::ResourceExhausted, "STORE_BUSY", message)
        }
        StoreError::Unavailable { .. } => {
            let message = "the store does not answer for now: try again with the same request id";
            (Code::Unavailable, "STORE_UNAVAILABLE", message)
        }
        StoreError::NoteTooLong { .. } => (Code::InvalidArgument, "NOTE_TOO_LONG", "the request id is too long"),
        StoreError::InvalidKey { .. } => (Code::InvalidArgument, "NAME_TOO_LONG", "a name is too long to be stored"),
        StoreError::BadBackup { .. } => return with_info(Code::InvalidArgument, error.to_string(), "BAD_BACKUP", []),
        StoreError::NotEmpty { .. } => {
            (Code::FailedPrecondition, "STORE_NOT_EMPTY", "the store holds something already")
        }
        StoreError::Compacted { .. } => (Code::OutOfRange, "REVISION_COMPACTED", "the revision is no longer kept"),
        StoreError::Closed => (Code::Unavailable, "CLOSED", "the store is shutting down"),
        StoreError::NoStore { .. }
        | StoreError::Locked { .. }
        | StoreError::NewerFormat { .. }
        | StoreError::Damaged { .. }
        | StoreError::Unsynced { .. }
        | StoreError::Io { .. } => (Code::Unavailable, "STORE_FAILED", "the store failed: see the server's log"),
    };
    with_info(code, message.to_owned(), reason, [])
}

fn with_info<const N: usize>(code: Code, message: String, reason: &str, metadata: [(&str, String); N]) -> Status {
    let metadata: HashMap<String, String> = metadata.into_iter().map(|(k, v)| (k.to_owned(), v)).collect();
    let details = ErrorDetails::with_error_info(reason, DOMAIN, metadata);
    Status::with_error_details(code, message, details)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_watch_that_failed_says_why_and_from_where_to_go_on() {
        let error = Box::new(StoreError::Compacted { asked: Some(3), oldest: 7 }.into());
        let told = status(&RegistryError::WatchFailed { resume_revision: 3, error });
        assert_eq!(told.code(), Code::OutOfRange);
        let details = told.get_error_details();
        let info = details.error_info().unwrap();
        assert_eq!(info.reason, "REVISION_COMPACTED");
        assert_eq!((&*info.metadata["oldest_revision"], &*info.metadata["resume_revision"]), ("7", "3"));
    }
}
