//! `weighbridge compact`.

use std::path::PathBuf;
use std::time::{SystemTime, UNIX_EPOCH};

use clap::Args;
use serde_json::json;

use super::Failure;
use super::output::Output;
use crate::store::{History, Rewritten, SledOptions, compact};

/// Write a data directory that no server uses anew, in as little room as it needs: checked first, then put in place in one
/// step. History is kept unless one of the options says otherwise.
#[derive(Debug, Args)]
pub(super) struct CompactArguments {
    /// The data directory.
    #[arg(long, default_value = "./weighbridge-data", env = "WEIGHBRIDGE_DATA_DIR")]
    data_dir: PathBuf,
    /// Keep only the newest revisions: with 1 only what is current can be read.
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..), conflicts_with = "keep_days")]
    keep_revisions: Option<u64>,
    /// Keep what was current within so many days.
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..=36_500))]
    keep_days: Option<u64>,
}

pub(super) fn run(arguments: CompactArguments, out: &Output) -> Result<u8, Failure> {
    let CompactArguments { data_dir, keep_revisions, keep_days } = arguments;
    let mut lines = Vec::new();
    for (label, path) in super::stores_of(&data_dir) {
        // The decision log bounds itself; its room is given back as well.
        let of_registry = label == super::REGISTRY_STORE;
        let oldest = |history: &History<'_>| match (keep_revisions, keep_days) {
            (Some(count), _) if of_registry => Ok(history.newest().saturating_sub(count - 1)),
            (None, Some(days)) if of_registry => history.revision_at(days_ago(days)),
            _ => Ok(0),
        };
        let rewritten = compact(&SledOptions::new(&path), oldest).map_err(|error| Failure::new(error.to_string()))?;
        lines.push((label, rewritten));
    }
    if out.is_json() {
        let stores: Vec<_> = lines.iter().map(|(store, found)| value(store, found)).collect();
        return out.value(&json!({ "stores": stores })).map(|()| 0);
    }
    for (store, found) in lines {
        let Rewritten { revision, oldest_revision, records, size_before_bytes, size_after_bytes, .. } = found;
        let history =
            if oldest_revision == 0 { "all history".to_owned() } else { format!("history since {oldest_revision}") };
        out.line(&format!(
            "{store}: revision {revision}, {records} records, {history}: {size_before_bytes} bytes before, {size_after_bytes} after"
        ))?;
    }
    Ok(0)
}

fn days_ago(days: u64) -> i64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_millis());
    let ago = u128::from(days) * 86_400_000;
    i64::try_from(now.saturating_sub(ago)).unwrap_or(i64::MAX)
}

fn value(store: &str, found: &Rewritten) -> serde_json::Value {
    json!({
        "store": store,
        "revision": found.revision,
        "oldestRevision": found.oldest_revision,
        "records": found.records,
        "dataSizeBytes": found.data_size_bytes,
        "sizeBeforeBytes": found.size_before_bytes,
        "sizeAfterBytes": found.size_after_bytes,
    })
}
