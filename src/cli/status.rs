//! `weighbridge status`.

use clap::Args;

use super::Failure;
use super::client::{ServerArguments, failed};
use super::output::{Output, Style};
use crate::pb::weighbridge::v1 as pb;
use crate::pb::weighbridge::v1::admin_service_client::AdminServiceClient;

#[derive(Debug, Args)]
pub(super) struct StatusArguments {
    /// Also show the share of models and offerings with a known license, by evidence and by provider.
    #[arg(long)]
    coverage: bool,
    #[command(flatten)]
    server: ServerArguments,
}

/// Whether a replica knows less of the cluster than it may, so that it refuses to answer. One process alone never does.
fn is_stale(store: &pb::StoreStatus) -> bool {
    let time = |time: &prost_types::Duration| (time.seconds, time.nanos);
    let ages = store.staleness.as_ref().map(time).zip(store.max_staleness.as_ref().map(time));
    ages.is_some_and(|(age, allowed)| age > allowed)
}

/// Prints the status; exits with 1 when the store has a problem or is older than allowed, so that it serves as a health check.
pub(super) async fn run(arguments: StatusArguments, out: &Output) -> Result<u8, Failure> {
    let mut client = AdminServiceClient::new(arguments.server.connect().await?);
    let status = client
        .get_status(pb::GetStatusRequest { coverage: arguments.coverage })
        .await
        .map_err(|s| failed(&s))?
        .into_inner();
    let store = status.store.clone().unwrap_or_default();
    let is_stale = is_stale(&store);
    let code = u8::from(!store.problem.is_empty() || is_stale);
    if out.is_json() {
        return out.json("weighbridge.v1.GetStatusResponse", &status).map(|()| code);
    }
    out.line(&format!("weighbridge {}, catalog {}", status.version, status.catalog_version))?;
    out.line(&format!(
        "revision {}: {} models ({} aliases), {} licenses, {} providers, {} offerings ({} with a known model)",
        status.revision,
        status.models,
        status.aliases,
        status.licenses,
        status.providers,
        status.offerings,
        status.resolved_offerings
    ))?;
    let place = if store.path.is_empty() { String::new() } else { format!(" at {}", store.path) };
    let writes = if store.writable { "takes writes" } else { "takes no writes" };
    let size = if store.size_bytes > 0 { format!("{} bytes on disk, ", store.size_bytes) } else { String::new() };
    out.line(&format!(
        "store: {}{place}, revision {}, {} records, {size}{writes}",
        store.backend, store.revision, store.records
    ))?;
    let history = match store.oldest_revision {
        0 => "all of it".to_owned(),
        oldest => format!("since revision {oldest}"),
    };
    out.line(&format!("history: {history}, {} bytes with the records", store.data_size_bytes))?;
    if let (Some(age), Some(most)) = (&store.staleness, &store.max_staleness) {
        let seconds = |time: &prost_types::Duration| time.seconds as f64 + f64::from(time.nanos) / 1e9;
        let text = format!("replica: current as of {:.1} s ago, {:.0} s are allowed", seconds(age), seconds(most));
        out.line(&if is_stale { out.styled(Style::Bad, &text) } else { text })?;
    }
    let security = status.security.unwrap_or_default();
    let encrypted = if security.tls { "TLS" } else { "no TLS" };
    let asked = if security.authentication_required { "callers have to be known" } else { "everybody is let in" };
    out.line(&format!("security: {encrypted}, {asked}"))?;
    if security.insecure {
        out.line(&out.styled(Style::Bad, "problem: it can be reached from elsewhere without TLS and credentials"))?;
    }
    if !store.problem.is_empty() {
        out.line(&out.styled(Style::Bad, &format!("problem: {}", store.problem)))?;
    }
    if let Some(coverage) = &status.coverage {
        print_coverage(coverage, out)?;
    }
    for credit in &status.attributions {
        out.line(&out.styled(Style::Dim, &format!("source: {credit}")))?;
    }
    Ok(code)
}

fn print_coverage(coverage: &pb::Coverage, out: &Output) -> Result<(), Failure> {
    let models = coverage.models.unwrap_or_default();
    let offerings = coverage.offerings.unwrap_or_default();
    out.line("")?;
    out.line(&format!("models      {}", shares(&models)))?;
    out.line(&format!("offerings   {}", shares(&offerings)))?;
    out.line(&format!("conflicts   {} models on which sources disagree", coverage.conflicting_models))?;
    out.line("")?;
    out.line(&format!("{:<20} {:>8} {:>10}", "license rests on", "models", "offerings"))?;
    for row in &coverage.evidence {
        let word = match row.evidence() {
            pb::Evidence::Unspecified => "not known",
            other => other.as_str_name().trim_start_matches("EVIDENCE_"),
        };
        out.line(&format!("{word:<20} {:>8} {:>10}", row.models, row.offerings))?;
    }
    out.line("")?;
    out.line(&format!("{:<32} {:>9} {:>9} {:>6} {:>9}", "provider", "offerings", "resolved", "open", "licensed"))?;
    for row in &coverage.providers {
        let of = row.offerings.unwrap_or_default();
        let name = row.provider.trim_start_matches("providers/");
        out.line(&format!("{name:<32} {:>9} {:>9} {:>6} {:>9}", of.total, of.resolved, of.open, of.open_licensed))?;
    }
    out.line("")
}

fn shares(counts: &pb::CoverageCounts) -> String {
    format!(
        "{} in all, {} of a known model; open weights {}, with a known license {} ({}); no public weights {}; not known {}",
        counts.total,
        counts.resolved,
        counts.open,
        counts.open_licensed,
        percent(counts.open_licensed, counts.open),
        counts.proprietary,
        counts.unknown
    )
}

fn percent(part: i32, of: i32) -> String {
    if of == 0 {
        return "-".to_owned();
    }
    format!("{:.1} %", f64::from(part) * 100.0 / f64::from(of))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn older_than_allowed_is_stale() {
        let time = |seconds, nanos| Some(prost_types::Duration { seconds, nanos });
        let of =
            |staleness, max_staleness| is_stale(&pb::StoreStatus { staleness, max_staleness, ..Default::default() });
        assert!(of(time(10, 1), time(10, 0)));
        assert!(of(time(11, 0), time(10, 999_999_999)));
        assert!(!of(time(10, 0), time(10, 0)));
        assert!(!of(time(0, 999_999_999), time(1, 0)));
        assert!(!of(None, None));
    }
}
