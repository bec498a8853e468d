//! `weighbridge migrate`.

use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;

use clap::Args;
use jiff::Timestamp;
use serde_json::json;
use sha2::{Digest as _, Sha256};

use super::etcd::EtcdArguments;
use super::output::{Output, note};
use super::{Failure, REGISTRY_STORE};
use crate::convert;
use crate::pb::weighbridge::storage::v1::CommitNote;
use crate::store::{Batch, Beginning, Expect, Record, Revision, SledOptions, SledStore, Store, Write, holds_a_store};

/// What is said of the commit that brings everything in.
const ACTOR: &str = "migrate";
/// What the decision log is called.
const DECISION_LOG: &str = "decisions";
/// What to do with a target that is not whole.
const CLEAR: &str = "Remove what was written (the directory, or the keys of the prefix: `etcdctl del --prefix PREFIX/`) and begin again";
/// Decisions of a commit.
const DECISIONS_AT_ONCE: usize = 1_000;

/// Copy the current records and decisions of a data directory to etcd, or back, into an empty store, and compare both ends.
///
/// Stop the service on the first one before. History is not copied: revisions and etags are new afterwards, and page tokens,
/// `as_of_revision` and revisions to resume from are not those of before.
#[derive(Debug, Args)]
pub(super) struct MigrateArguments {
    /// Where from: sled:DIRECTORY or etcd:URL,URL,…
    #[arg(long, value_name = "STORE")]
    from: Place,
    /// Where to: sled:DIRECTORY or etcd:URL,URL,…
    #[arg(long, value_name = "STORE")]
    to: Place,
    #[command(flatten)]
    etcd: EtcdArguments,
}

/// A store as it is written on the command line.
#[derive(Clone, Debug)]
enum Place {
    Sled(PathBuf),
    Etcd(Vec<String>),
}

impl FromStr for Place {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.split_once(':') {
            Some(("sled", directory)) if !directory.is_empty() => Ok(Self::Sled(directory.into())),
            Some(("etcd", endpoints)) if !endpoints.is_empty() => {
                Ok(Self::Etcd(endpoints.split(',').map(str::to_owned).collect()))
            }
            _ => Err("it is `sled:DIRECTORY` or `etcd:URL,URL,…`".to_owned()),
        }
    }
}

/// The registry's store, and those that decisions are kept in.
struct Stores {
    registry: Arc<dyn Store>,
    decisions: Vec<Arc<dyn Store>>,
}

pub(super) async fn run(arguments: MigrateArguments, out: &Output) -> Result<u8, Failure> {
    let MigrateArguments { from, to, etcd } = arguments;
    let etcd = match (&from, &to) {
        (Place::Sled(_), Place::Etcd(endpoints)) | (Place::Etcd(endpoints), Place::Sled(_)) => {
            etcd.with_endpoints(endpoints.clone()).map_err(Failure::usage)?
        }
        _ => return Err(Failure::usage("one of --from and --to is sled:DIRECTORY, and the other one etcd:URL,URL,…")),
    };
    let problems = etcd.problems(true);
    if !problems.is_empty() {
        return Err(Failure::usage(problems.join("\n")));
    }
    let source = source(&from, &etcd)?;
    let before = source.revisions().await?;
    let registry = load(&*source.registry).await?;
    let mut decisions = Vec::new();
    for store in &source.decisions {
        decisions.extend(load(&**store).await?);
    }
    decisions.sort_by(|a, b| a.key.cmp(&b.key));
    if registry.is_empty() {
        return Err(Failure::new("the store to copy from holds nothing"));
    }
    let target = target(&to, &etcd)?;
    let used = target.decisions.iter().chain([&target.registry]).any(|store| store.status().revision > 0);
    if used {
        return Err(Failure::new(
            "the store to copy to holds something already: choose a directory that does not exist, or another --etcd-prefix",
        ));
    }
    note(&format!("copying {} records and {} decisions", registry.len(), decisions.len()));
    let [log] = target.decisions.as_slice() else { return Err(Failure::new("the decision log could not be begun")) };
    for some in decisions.chunks(DECISIONS_AT_ONCE) {
        commit(&**log, some).await?;
    }
    // The last, so that a store with records is a whole one.
    commit(&*target.registry, &registry).await?;
    if source.revisions().await? != before {
        return Err(Failure::new(format!("the source was written to meanwhile: stop what runs on it. {CLEAR}")));
    }
    let mut report = Vec::new();
    for (label, copied, store) in [(REGISTRY_STORE, &registry, &target.registry), (DECISION_LOG, &decisions, log)] {
        let (before, after) = (digest(copied), digest(&load(&**store).await?));
        if before != after {
            return Err(Failure::new(format!("{label}: what was written is not what was read. {CLEAR}")));
        }
        report.push((label, copied.len(), after));
    }
    if out.is_json() {
        let stores = report
            .iter()
            .map(|(label, records, sha256)| json!({ "store": label, "records": records, "sha256": sha256 }));
        out.value(&json!({ "revision": target.registry.status().revision, "stores": stores.collect::<Vec<_>>() }))?;
        return Ok(0);
    }
    for (label, records, sha256) in report {
        out.line(&format!("{label}: {records} records at both ends, sha256 {sha256}"))?;
    }
    out.line(&format!("history starts at revision {}", target.registry.status().revision))?;
    Ok(0)
}

impl Stores {
    /// How far each has come.
    async fn revisions(&self) -> Result<Vec<Revision>, Failure> {
        let mut revisions = Vec::new();
        for store in self.decisions.iter().chain([&self.registry]) {
            revisions.push(opened(store.sync().await)?);
        }
        Ok(revisions)
    }
}

fn source(place: &Place, etcd: &EtcdArguments) -> Result<Stores, Failure> {
    match place {
        Place::Etcd(_) => in_etcd(etcd, false),
        Place::Sled(directory) => {
            if !holds_a_store(directory) {
                return Err(Failure::new(format!("`{}` holds no store", directory.display())));
            }
            let registry = opened(SledStore::open(SledOptions::new(directory)))?;
            let mut decisions: Vec<Arc<dyn Store>> = Vec::new();
            for generation in [0, 1] {
                let folder = log_of(directory);
                let there = SledStore::open_generation(&folder, generation, Beginning::IfThere);
                decisions.extend(opened(there)?.map(|store| Arc::new(store) as Arc<dyn Store>));
            }
            Ok(Stores { registry: Arc::new(registry), decisions })
        }
    }
}

fn target(place: &Place, etcd: &EtcdArguments) -> Result<Stores, Failure> {
    match place {
        Place::Etcd(_) => in_etcd(etcd, true),
        Place::Sled(directory) => {
            let registry = opened(SledStore::open(SledOptions::new(directory)))?;
            let log = opened(SledStore::open_generation(&log_of(directory), 0, Beginning::OrNew))?;
            let log: Arc<dyn Store> = Arc::new(log.ok_or_else(|| Failure::new("the decision log could not be begun"))?);
            Ok(Stores { registry: Arc::new(registry), decisions: vec![log] })
        }
    }
}

fn in_etcd(etcd: &EtcdArguments, begins: bool) -> Result<Stores, Failure> {
    let (registry, _) = opened(etcd.open(Box::new(|_| true), begins))?;
    Ok(Stores { registry, decisions: vec![opened(etcd.open_log())?] })
}

fn log_of(directory: &Path) -> PathBuf {
    directory.join(DECISION_LOG)
}

fn opened<T>(store: Result<T, crate::store::StoreError>) -> Result<T, Failure> {
    store.map_err(|error| Failure::new(error.to_string()))
}

async fn load(store: &dyn Store) -> Result<Vec<Record>, Failure> {
    opened(store.load().await).map(|contents| contents.records)
}

async fn commit(store: &dyn Store, records: &[Record]) -> Result<(), Failure> {
    if records.is_empty() {
        return Ok(());
    }
    let write = |record: &Record| Write { key: record.key.clone(), value: Some(record.value.clone()) };
    let about = convert::encode_note(&CommitNote { actor: ACTOR.to_owned(), ..CommitNote::default() });
    let time_ms = Timestamp::now().as_millisecond();
    // So that it can be tried again when it is not known whether it was done.
    let expect = records.first().map(|record| Expect { key: record.key.clone(), revision: None });
    let expect = expect.into_iter().collect();
    opened(store.commit(Batch { time_ms, about, expect, ..Batch::of(records.iter().map(write)) }).await).map(|_| ())
}

/// SHA-256 of all keys and values in order, each after its length; in hexadecimal digits.
fn digest(records: &[Record]) -> String {
    let mut hasher = Sha256::new();
    for record in records {
        for bytes in [&record.key, &record.value] {
            hasher.update((bytes.len() as u64).to_be_bytes());
            hasher.update(bytes);
        }
    }
    hasher.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}
