//! `GetStatus`.

use crate::pb::weighbridge::v1 as pb;
use crate::registry::{Registry, Status};

pub(super) fn get_status(
    registry: &Registry,
    security: pb::SecurityStatus,
    request: pb::GetStatusRequest,
) -> pb::GetStatusResponse {
    let Status {
        catalog_version,
        revision,
        models,
        licenses,
        providers,
        offerings,
        resolved_offerings,
        aliases,
        store,
        incomplete: _,
        feed_problem,
        started,
        attributions,
    } = registry.status();
    let count = |n: usize| i32::try_from(n).unwrap_or(i32::MAX);
    let wide = |n: u64| i64::try_from(n).unwrap_or(i64::MAX);
    pb::GetStatusResponse {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        catalog_version: catalog_version.to_owned(),
        revision: wide(revision),
        models: count(models),
        licenses: count(licenses),
        providers: count(providers),
        offerings: count(offerings),
        resolved_offerings: count(resolved_offerings),
        aliases: count(aliases),
        store: Some(pb::StoreStatus {
            backend: store.backend.to_owned(),
            path: store.place.unwrap_or_default(),
            revision: wide(store.revision),
            records: wide(store.record_count),
            writable: store.writable && feed_problem.is_none(),
            problem: feed_problem.or(store.problem).unwrap_or_default(),
            size_bytes: store.size_on_disk_bytes.map_or(0, wide),
            oldest_revision: wide(store.oldest_revision),
            data_size_bytes: wide(store.data_size_bytes),
            waiting_writes: i64::try_from(store.waiting).unwrap_or(i64::MAX),
            staleness: store.staleness.and_then(|staleness| duration(staleness.age)),
            max_staleness: store.staleness.and_then(|staleness| duration(staleness.allowed)),
        }),
        start_time: Some(prost_types::Timestamp { seconds: started.as_second(), nanos: started.subsec_nanosecond() }),
        attributions,
        security: Some(security),
        coverage: request.coverage.then(|| registry.coverage()),
        decision_log: registry.decision_log_status().map(|log| pb::DecisionLogStatus {
            level: log.settings.level.as_str().to_owned(),
            strict: log.settings.strict,
            decisions: wide(u64::try_from(log.decisions).unwrap_or(u64::MAX)),
            decisions_max: wide(u64::try_from(log.settings.decisions_max).unwrap_or(u64::MAX)),
            dropped: wide(log.dropped),
        }),
    }
}

fn duration(time: std::time::Duration) -> Option<prost_types::Duration> {
    prost_types::Duration::try_from(time).ok()
}
