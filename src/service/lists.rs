//! The list RPCs. Fields whose feature is not built yet are refused, never ignored.

use tonic::Status;

use super::{Answer, answer};
use crate::convert::Violation;
use crate::convert::status::unimplemented;
use crate::pb::weighbridge::v1 as pb;
use crate::registry::{PageRequest, Registry};

pub(super) fn page(size: i32, token: String) -> PageRequest {
    PageRequest { size, token }
}

pub(super) fn models(registry: &Registry, request: pb::ListModelsRequest) -> Answer<pb::ListModelsResponse> {
    let pb::ListModelsRequest { parent, page_size, page_token, filter, order_by, read_mask } = request;
    not_built(&filter, &order_by, read_mask.is_some())?;
    answer(registry.list_models(&parent, &page(page_size, page_token)))
}

pub(super) fn licenses(registry: &Registry, request: pb::ListLicensesRequest) -> Answer<pb::ListLicensesResponse> {
    let pb::ListLicensesRequest { page_size, page_token, filter, order_by } = request;
    not_built(&filter, &order_by, false)?;
    answer(registry.list_licenses(&page(page_size, page_token)))
}

pub(super) fn offerings(registry: &Registry, request: pb::ListOfferingsRequest) -> Answer<pb::ListOfferingsResponse> {
    let pb::ListOfferingsRequest { parent, page_size, page_token, model, filter, order_by, read_mask } = request;
    not_built(&filter, &order_by, read_mask.is_some())?;
    answer(registry.list_offerings(&parent, &model, &page(page_size, page_token)))
}

fn not_built(filter: &str, order_by: &str, read_mask: bool) -> Result<(), Status> {
    let asked = [
        ("filter", !filter.is_empty(), "filters are not built yet: list all and choose"),
        ("order_by", !order_by.is_empty(), "other orders than by name are not built yet"),
        ("read_mask", read_mask, "partial answers are not built yet: leave it out for whole records"),
    ];
    let violations: Vec<Violation> = asked
        .into_iter()
        .filter(|(_, set, _)| *set)
        .map(|(field, _, description)| Violation { field: field.into(), description: description.into() })
        .collect();
    if violations.is_empty() { Ok(()) } else { Err(unimplemented(&violations)) }
}
