//! The coverage report as a message.

use super::enums::Wire;
use crate::catalog::coverage::{Counts, Coverage};
use crate::pb::weighbridge::v1 as pb;

/// The report.
#[must_use]
pub fn coverage(coverage: &Coverage) -> pb::Coverage {
    let Coverage { models, offerings, evidence, providers, conflicting_models, tiers } = coverage;
    pb::Coverage {
        models: Some(counts(models)),
        offerings: Some(counts(offerings)),
        evidence: evidence
            .iter()
            .map(|(evidence, (models, offerings))| pb::EvidenceCount {
                evidence: evidence.map_or(0, Wire::number),
                models: count(*models),
                offerings: count(*offerings),
            })
            .collect(),
        providers: providers
            .iter()
            .map(|(provider, of)| pb::ProviderCoverage {
                provider: provider.resource_name(),
                offerings: Some(counts(of)),
            })
            .collect(),
        conflicting_models: count(*conflicting_models),
        tiers: tiers
            .iter()
            .map(|(tier, models)| pb::TierCount { tier: tier.map_or(0, Wire::number), models: count(*models) })
            .collect(),
    }
}

fn counts(counts: &Counts) -> pb::CoverageCounts {
    let Counts { total, resolved, open, open_licensed, proprietary, unknown } = *counts;
    pb::CoverageCounts {
        total: count(total),
        resolved: count(resolved),
        open: count(open),
        open_licensed: count(open_licensed),
        proprietary: count(proprietary),
        unknown: count(unknown),
    }
}

fn count(n: usize) -> i32 {
    i32::try_from(n).unwrap_or(i32::MAX)
}
