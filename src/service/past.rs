//! Requests that may ask for an answer of the past.

use tonic::Status;

use super::failed;
use crate::convert::{self, AsOf, Violation};
use crate::registry::{Registry, RegistryError, View};

/// What a request is answered from, and what is wrong with its `as_of_revision` and `as_of_time`: then that is the present,
/// so that what else is wrong can be told as well.
pub(super) async fn view(
    registry: &Registry,
    revision: i64,
    time: Option<prost_types::Timestamp>,
) -> Result<(View, Vec<Violation>), Status> {
    seen(registry, convert::as_of(revision, time)).await
}

pub(super) async fn seen(
    registry: &Registry,
    as_of: Result<AsOf, Vec<Violation>>,
) -> Result<(View, Vec<Violation>), Status> {
    let refused = match as_of {
        Ok(as_of) => match registry.view(as_of).await {
            Ok(view) => return Ok((view, Vec::new())),
            Err(RegistryError::Invalid(refused)) => refused,
            Err(error) => return Err(failed(&error)),
        },
        Err(refused) => refused,
    };
    Ok((View { as_of: AsOf::Now, snapshot: registry.snapshot() }, refused))
}

/// An answer, unless something was refused before; then all that is.
pub(super) fn joined<T>(refused: Vec<Violation>, result: Result<T, RegistryError>) -> Result<T, RegistryError> {
    if refused.is_empty() {
        return result;
    }
    let more = match result {
        Err(RegistryError::Invalid(more)) => more,
        _ => Vec::new(),
    };
    let more: Vec<Violation> = more.into_iter().filter(|violation| !refused.contains(violation)).collect();
    Err(RegistryError::Invalid(refused.into_iter().chain(more).collect()))
}
