//! `CheckEligibility`.

use tonic::Status;

use crate::convert;
use crate::convert::status::{refused, status};
use crate::pb::weighbridge::v1 as pb;
use crate::registry::Registry;

/// Checks one use of one model. The command line's `check --offline` calls it too, so that both give one answer.
///
/// # Errors
/// The status that a client would get.
pub async fn check_eligibility(
    registry: &Registry,
    request: pb::CheckEligibilityRequest,
) -> Result<pb::CheckEligibilityResponse, Status> {
    let snapshot = registry.snapshot();
    let request = convert::check_request(request, &snapshot.reference().vocabulary).map_err(|error| refused(&error))?;
    drop(snapshot);
    let decision = registry
        .check(&request, |checked| convert::decision(&checked.decision, checked.name, checked.revision))
        .await
        .map_err(|error| status(&error))?;
    Ok(pb::CheckEligibilityResponse { decision: Some(decision) })
}
