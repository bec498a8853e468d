//! `EstimateHosting`, `CompareCosts`, `RecommendRoute`, `ListAccelerators`.

use std::sync::Arc;

use tonic::Status;

use crate::catalog::Snapshot;
use crate::convert::advisor::{costs_request, hosting_request, route_request};
use crate::convert::status::{invalid, status};
use crate::pb::weighbridge::v1 as pb;
use crate::registry::{Registry, RegistryError, beside};

/// The snapshot of a revision or a newer one. A negative revision is refused where the request is read.
async fn snapshot_from(registry: &Registry, min_revision: i64) -> Result<Arc<Snapshot>, Status> {
    let least = u64::try_from(min_revision).unwrap_or(0);
    registry.snapshot_from(least).await.map_err(|error| status(&error))
}

/// Works beside the serving threads, which every model or offering would hold up, and two at a time, so that checks go on.
async fn in_turn<T: Send + 'static>(
    registry: &Arc<Registry>,
    work: impl FnOnce(&Registry) -> Result<T, RegistryError> + Send + 'static,
) -> Result<T, Status> {
    let turn = registry.advice_turn().await.map_err(|error| status(&error))?;
    let registry = registry.clone();
    let done = beside(move || {
        let _turn = turn;
        work(&registry)
    });
    done.await.and_then(|done| done).map_err(|error| status(&error))
}

/// Estimates what it takes to host a model. The command line's `advise … --offline` calls it too, and the others of this file.
///
/// # Errors
/// The status that a client gets.
pub async fn estimate_hosting(
    registry: &Arc<Registry>,
    request: pb::EstimateHostingRequest,
) -> Result<pb::EstimateHostingResponse, Status> {
    let snapshot = snapshot_from(registry, request.min_revision).await?;
    let request = hosting_request(request, &snapshot.reference().hardware).map_err(|found| invalid(&found))?;
    in_turn(registry, move |registry| registry.estimate_hosting(&snapshot, &request)).await
}

/// Compares what hosting a model costs with its offerings.
///
/// # Errors
/// The status that a client gets.
pub async fn compare_costs(
    registry: &Arc<Registry>,
    request: pb::CompareCostsRequest,
) -> Result<pb::CompareCostsResponse, Status> {
    let snapshot = snapshot_from(registry, request.min_revision).await?;
    let read = costs_request(request, &snapshot.reference().hardware).map_err(|found| invalid(&found))?;
    in_turn(registry, move |registry| registry.compare_costs(&snapshot, &read.0, &read.1)).await
}

/// Ranks the routes to a model.
///
/// # Errors
/// The status that a client gets.
pub async fn recommend_route(
    registry: &Arc<Registry>,
    request: pb::RecommendRouteRequest,
) -> Result<pb::RecommendRouteResponse, Status> {
    let snapshot = snapshot_from(registry, request.min_revision).await?;
    let profile = registry.profile_facts(&snapshot, &request.use_profile).map_err(|error| status(&error))?;
    let (filter, order_by) = (request.filter.clone(), request.order_by.clone());
    let reference = snapshot.reference();
    let read = route_request(request, profile, &reference.vocabulary, &reference.hardware);
    let read = read.map_err(|refused| status(&RegistryError::from(refused)))?;
    in_turn(registry, move |registry| registry.recommend_route(&snapshot, &read, &filter, &order_by)).await
}
