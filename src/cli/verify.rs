//! `weighbridge verify`.

use std::fs::File;
use std::io::BufReader;
use std::path::{Path, PathBuf};

use clap::Args;
use serde_json::{Value, json};

use super::Failure;
use super::output::{Output, Style};
use crate::store::{Audited, SledOptions, StoreError, verify, verify_backup};

/// Read every record of a data directory that no server uses, or of a backup, and say what is wrong with it. Exit codes: 0
/// nothing is, 4 something is, 1 it cannot be told.
#[derive(Debug, Args)]
pub(super) struct VerifyArguments {
    /// A backup; without it the data directory is read.
    file: Option<PathBuf>,
    /// The data directory.
    #[arg(long, default_value = "./weighbridge-data", env = "WEIGHBRIDGE_DATA_DIR")]
    data_dir: PathBuf,
}

const FOUND_DAMAGE: u8 = 4;

pub(super) fn run(arguments: VerifyArguments, out: &Output) -> Result<u8, Failure> {
    let VerifyArguments { file, data_dir } = arguments;
    let stores = match &file {
        Some(file) => match backup(file)? {
            Ok(stores) => stores,
            Err(problem) => {
                if out.is_json() {
                    out.value(&json!({ "problem": problem }))?;
                } else {
                    out.line(&out.styled(Style::Bad, &problem))?;
                }
                return Ok(FOUND_DAMAGE);
            }
        },
        None => directory(&data_dir)?,
    };
    let damaged = stores.iter().any(|(_, found)| found.problem.is_some());
    if out.is_json() {
        let stores: Vec<Value> = stores.iter().map(|(store, found)| value(store, found)).collect();
        out.value(&json!({ "stores": stores }))?;
        return Ok(if damaged { FOUND_DAMAGE } else { 0 });
    }
    for (store, found) in &stores {
        let Audited { revision, oldest_revision, records, data_size_bytes, problem, damaged, damaged_count, .. } =
            found;
        let state = match problem {
            None => out.styled(Style::Good, "whole"),
            Some(problem) => out.styled(Style::Bad, problem),
        };
        let history = if *oldest_revision == 0 { String::new() } else { format!(", history since {oldest_revision}") };
        out.line(&format!("{store}: {state}"))?;
        out.line(&format!("  revision {revision}, {records} records, {data_size_bytes} bytes{history}"))?;
        for name in damaged {
            out.line(&format!("  damaged: {name}"))?;
        }
        let more = damaged_count.saturating_sub(damaged.len() as u64);
        if more > 0 {
            out.line(&format!("  and {more} more"))?;
        }
    }
    Ok(if damaged { FOUND_DAMAGE } else { 0 })
}

fn backup(file: &Path) -> Result<Result<Vec<(String, Audited)>, String>, Failure> {
    let unread = |error: std::io::Error| Failure::new(format!("`{}` could not be read: {error}", file.display()));
    let input = BufReader::with_capacity(1 << 20, File::open(file).map_err(unread)?);
    match verify_backup(input, super::REGISTRY_STORE) {
        Ok(stores) => Ok(Ok(stores)),
        Err(error @ StoreError::BadBackup { .. }) => Ok(Err(error.to_string())),
        Err(error) => Err(Failure::new(error.to_string())),
    }
}

fn directory(data_dir: &Path) -> Result<Vec<(String, Audited)>, Failure> {
    let mut stores = Vec::new();
    for (label, path) in super::stores_of(data_dir) {
        match verify(&SledOptions::new(&path)) {
            Ok(found) => stores.push((label, found)),
            Err(StoreError::Damaged { detail, head_revision, .. }) => {
                let found = Audited { acknowledged: head_revision, problem: Some(detail), ..Audited::default() };
                stores.push((label, found));
            }
            Err(error) => return Err(Failure::new(error.to_string())),
        }
    }
    Ok(stores)
}

fn value(store: &str, found: &Audited) -> Value {
    json!({
        "store": store,
        "problem": found.problem,
        "acknowledgedRevision": found.acknowledged,
        "revision": found.revision,
        "oldestRevision": found.oldest_revision,
        "records": found.records,
        "dataSizeBytes": found.data_size_bytes,
        "damaged": found.damaged,
        "damagedCount": found.damaged_count,
    })
}
