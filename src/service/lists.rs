//! The list RPCs. Fields whose feature is not built yet are refused, never ignored.

use tonic::Status;

use super::{Answer, answer};
use crate::convert::Violation;
use crate::convert::status::unimplemented;
use crate::pb::weighbridge::v1 as pb;
use crate::registry::{ConflictFilter, PageRequest, Registry};

pub(super) fn page(size: i32, token: String) -> PageRequest {
    PageRequest { size, token }
}

pub(super) fn models(registry: &Registry, request: pb::ListModelsRequest) -> Answer<pb::ListModelsResponse> {
    let pb::ListModelsRequest { parent, page_size, page_token, filter, order_by, read_mask } = request;
    let conflicts = conflict_filter(&filter);
    let not_known = if conflicts.is_some() { "" } else { filter.as_str() };
    not_built(not_known, &order_by, read_mask.is_some())?;
    answer(registry.list_models(&parent, conflicts.as_ref(), &page(page_size, page_token)))
}

/// The filters on conflicts, which are all that is built of the filter language: `conflicts:*`, `conflicts:"FIELD"`, and
/// `NOT` or `-` before either.
fn conflict_filter(filter: &str) -> Option<ConflictFilter> {
    let filter = filter.trim();
    let without = filter.strip_prefix("NOT ").or_else(|| filter.strip_prefix('-'));
    let (rest, negated) = without.map_or((filter, false), |rest| (rest.trim_start(), true));
    let value = rest.strip_prefix("conflicts:")?;
    let field = match value {
        "*" => None,
        quoted => {
            let field = quoted.strip_prefix('"')?.strip_suffix('"')?;
            (!field.is_empty() && !field.contains(['"', '\\'])).then(|| Some(field.to_owned()))?
        }
    };
    Some(ConflictFilter { field, negated })
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
        (
            "filter",
            !filter.is_empty(),
            "of filters only `conflicts:*` and `conflicts:\"FIELD\"` on models are built yet: list all and choose",
        ),
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
