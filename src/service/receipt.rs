//! Decisions as receipts.

use tonic::{Response, Status};

use super::{Answer, failed};
use crate::attest::{Signer, sign, statement};
use crate::convert::refusal::no_receipt_key;
use crate::pb::weighbridge::v1 as pb;
use crate::registry::Registry;

/// What receipts are signed with.
#[derive(Clone, Debug)]
pub struct Signing {
    /// The key.
    pub signer: Signer,
    /// The URI of who vouches for them.
    pub verifier: String,
}

pub(super) fn receipt(
    registry: &Registry,
    signing: Option<&Signing>,
    request: &pb::GetDecisionReceiptRequest,
) -> Answer<pb::Envelope> {
    let signing = signing.ok_or_else(no_receipt_key)?;
    let decision = registry.decision(&request.name).map_err(|error| failed(&error))?;
    let statement = statement(&decision, &signing.verifier).map_err(|error| {
        tracing::error!(%error, decision = decision.name, "a receipt could not be written");
        Status::internal("the receipt could not be written: see the log of the server")
    })?;
    Ok(Response::new(sign(statement, &signing.signer)))
}
