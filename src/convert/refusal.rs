//! What a caller is told who is not let in, or asks for too much at once.

use std::collections::HashMap;
use std::time::Duration;

use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt as _};

use crate::auth::{Caller, Refusal, Role};

/// Of callers that are not let in.
#[must_use]
pub fn refusal(refusal: &Refusal) -> Status {
    let (code, reason) = match refusal {
        Refusal::Missing => (Code::Unauthenticated, "CREDENTIALS_MISSING"),
        Refusal::Invalid { .. } => (Code::Unauthenticated, "CREDENTIALS_INVALID"),
        Refusal::Expired => (Code::Unauthenticated, "CREDENTIALS_EXPIRED"),
        Refusal::NoRole { .. } => (Code::PermissionDenied, "ROLE_MISSING"),
    };
    Status::with_error_details(
        code,
        refusal.to_string(),
        ErrorDetails::with_error_info(reason, super::status::DOMAIN, HashMap::new()),
    )
}

/// Of receipts where there is no key.
#[must_use]
pub fn no_receipt_key() -> Status {
    let text = "this server signs no receipts: start it with --receipt-key (`weighbridge receipt keygen` makes one)";
    let details = ErrorDetails::with_error_info("NO_RECEIPT_KEY", super::status::DOMAIN, HashMap::new());
    Status::with_error_details(Code::FailedPrecondition, text, details)
}

/// Of callers whose role is not enough.
#[must_use]
pub fn role_too_low(caller: &Caller, needed: Role) -> Status {
    let text = format!("`{}` has the role {} and this method asks for {needed}", caller.actor, caller.role);
    let metadata =
        HashMap::from([("role".to_owned(), caller.role.to_string()), ("needed".to_owned(), needed.to_string())]);
    let details = ErrorDetails::with_error_info("ROLE_TOO_LOW", super::status::DOMAIN, metadata);
    Status::with_error_details(Code::PermissionDenied, text, details)
}

/// Of requests that have more bytes than their method takes.
#[must_use]
pub fn too_large(most: usize) -> Status {
    let text = format!("the request has more than {} KiB, the largest that this method takes", most >> 10);
    let details = ErrorDetails::with_error_info("REQUEST_TOO_LARGE", super::status::DOMAIN, HashMap::new());
    Status::with_error_details(Code::ResourceExhausted, text, details)
}

/// Of calls that come before the catalog is loaded.
#[must_use]
pub fn loading(retry: Duration) -> Status {
    let text = format!("the catalog is being loaded: try again in {} ms", retry.as_millis());
    let mut details = ErrorDetails::with_error_info("CATALOG_LOADING", super::status::DOMAIN, HashMap::new());
    details.set_retry_info(Some(retry));
    Status::with_error_details(Code::Unavailable, text, details)
}

/// Of calls that come while too many others are under way.
#[must_use]
pub fn too_many(what: &str, most: usize, retry: Duration) -> Status {
    let text = format!("{most} {what} are under way already: try again in {} ms", retry.as_millis());
    let mut details = ErrorDetails::with_error_info("TOO_MANY_CALLS", super::status::DOMAIN, HashMap::new());
    details.set_retry_info(Some(retry));
    Status::with_error_details(Code::ResourceExhausted, text, details)
}
