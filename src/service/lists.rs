//! The list RPCs.

use std::sync::Arc;

use super::{Answer, answer, past};
use crate::convert::AsOf;
use crate::pb::weighbridge::v1 as pb;
use crate::registry::{ListRequest, PageRequest, Registry, RegistryError, View, beside};

/// Records times terms up to which a list takes less time than a change of threads is worth.
const SMALL: usize = 40_000;
/// A term of a filter has about as many characters, or more.
const TERM_CHARS: usize = 16;

pub(super) fn page(size: i32, token: String) -> PageRequest {
    PageRequest { size, token }
}

/// A view, unless it is of the present.
pub(super) fn of_past(view: View) -> Option<View> {
    (view.as_of != AsOf::Now).then_some(view)
}

pub(super) async fn models(registry: &Arc<Registry>, request: pb::ListModelsRequest) -> Answer<pb::ListModelsResponse> {
    let pb::ListModelsRequest {
        parent,
        page_size,
        page_token,
        filter,
        order_by,
        read_mask,
        as_of_revision,
        as_of_time,
    } = request;
    let (view, refused) = past::view(registry, as_of_revision, as_of_time).await?;
    let read_mask = read_mask.map(|mask| mask.paths).unwrap_or_default();
    let list = ListRequest { filter, order_by, read_mask, page: page(page_size, page_token), view: of_past(view) };
    let terms = list.filter.len() / TERM_CHARS;
    aside(registry, terms, move |registry| past::joined(refused, registry.list_models(&parent, &list))).await
}

pub(super) async fn aggregate_models(
    registry: &Arc<Registry>,
    request: pb::AggregateModelsRequest,
) -> Answer<pb::AggregateModelsResponse> {
    let (view, refused) = past::view(registry, request.as_of_revision, request.as_of_time).await?;
    let terms = request.filter.len() / TERM_CHARS;
    let work = move |registry: &Registry| registry.aggregate_models(&view.snapshot, &request);
    aside(registry, terms, move |registry| past::joined(refused, work(registry))).await
}

/// Runs what takes milliseconds where there are many models beside the connections of this thread.
async fn aside<T: Send + 'static>(
    registry: &Arc<Registry>,
    terms: usize,
    work: impl FnOnce(&Registry) -> Result<T, RegistryError> + Send + 'static,
) -> Answer<T> {
    if registry.snapshot().record_count().saturating_mul(1 + terms) <= SMALL {
        return answer(work(registry));
    }
    let registry = registry.clone();
    answer(beside(move || work(&registry)).await.and_then(|done| done))
}

pub(super) async fn licenses(
    registry: &Arc<Registry>,
    request: pb::ListLicensesRequest,
) -> Answer<pb::ListLicensesResponse> {
    let pb::ListLicensesRequest { page_size, page_token, filter, order_by, read_mask, as_of_revision, as_of_time } =
        request;
    let (view, refused) = past::view(registry, as_of_revision, as_of_time).await?;
    let read_mask = read_mask.map(|mask| mask.paths).unwrap_or_default();
    let list = ListRequest { filter, order_by, read_mask, page: page(page_size, page_token), view: of_past(view) };
    let terms = list.filter.len() / TERM_CHARS;
    aside(registry, terms, move |registry| past::joined(refused, registry.list_licenses(&list))).await
}

pub(super) async fn offerings(
    registry: &Arc<Registry>,
    request: pb::ListOfferingsRequest,
) -> Answer<pb::ListOfferingsResponse> {
    let pb::ListOfferingsRequest { parent, page_size, page_token, model, filter, order_by, read_mask } = request;
    let read_mask = read_mask.map(|mask| mask.paths).unwrap_or_default();
    let list = ListRequest { filter, order_by, read_mask, page: page(page_size, page_token), view: None };
    let terms = list.filter.len() / TERM_CHARS;
    aside(registry, terms, move |registry| registry.list_offerings(&parent, &model, &list)).await
}
