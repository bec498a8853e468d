//! The decision log: which answers were given, on which facts. It is no part of the registry: it raises no revision.
//!
//! Two generations of bounded size lie side by side, each in a store of its own. When the newer one is full the older one is
//! dropped as a whole and begun anew, so the log never grows beyond its bound and nothing has to be compacted.
//!
//! Replicas share one store instead: each hears of the others' entries, and whoever adds the one that is too many lets go of the
//! oldest.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use bytes::Bytes;
use jiff::Timestamp;
use prost::Message as _;
use tokio::sync::watch;

use super::call::Call;
use super::page::{PageRequest, token};
use super::{Registry, RegistryError, records, violation};
use crate::convert::{self, Asked};
use crate::domain::eligibility::Verdict;
use crate::domain::name::{ModelName, is_segment, shown};
use crate::domain::words::words;
use crate::pb::weighbridge::v1 as pb;
use crate::store::{Batch, Beginning, Expect, Revision, Store, StoreError, Write};

words! {
    /// Which decisions the log keeps whether they ask for it or not.
    pub enum LogLevel {
        /// None.
        Off = "off",
        /// Those that need a review or are ineligible.
        NotEligible = "not-eligible",
        /// All.
        All = "all",
    }
}

/// How the decision log is kept.
#[derive(Clone, Copy, Debug)]
pub struct LogSettings {
    /// Which decisions it keeps by itself.
    pub level: LogLevel,
    /// A check waits until its entry is durable; without it only one that asks to be recorded does.
    pub strict: bool,
    /// Most decisions that are kept.
    pub decisions_max: usize,
}

impl Default for LogSettings {
    fn default() -> Self {
        Self { level: LogLevel::NotEligible, strict: false, decisions_max: 10_000 }
    }
}

/// Opens the store of a generation, 0 or 1; `None`: it is not there, and was not asked to begin.
pub type OpenGeneration = Arc<dyn Fn(usize, Beginning) -> Result<Option<Arc<dyn Store>>, StoreError> + Send + Sync>;

/// Entries that may wait to become durable; beyond it what only the level asks for is dropped.
const WAITING_MAX: usize = 1_024;

/// The decision log.
pub struct DecisionLog {
    settings: LogSettings,
    keeping: Keeping,
    /// The durable entries, by id.
    entries: Arc<RwLock<Entries>>,
    waiting: AtomicUsize,
    dropped: AtomicU64,
    evicted: AtomicU64,
    sequence: AtomicU64,
}

/// The durable entries, by id.
type Entries = BTreeMap<Box<str>, Entry>;

/// Where entries are kept.
enum Keeping {
    Generations {
        open: OpenGeneration,
        generations: tokio::sync::RwLock<Generations>,
    },
    /// What was added to and taken from it is noted in the order in which it was, by one thread, which tells how far it has come.
    Shared {
        store: Arc<dyn Store>,
        noted: watch::Receiver<Revision>,
        trimming: tokio::sync::Mutex<()>,
    },
}

/// Entries that a shared log lets go of at once.
const TRIMMED_AT_ONCE: usize = 100;

struct Generations {
    active: usize,
    /// Entries of the active one, those under way included.
    used: AtomicUsize,
    /// A store takes memory and threads: one that nothing was kept in is not there yet.
    stores: [Option<Arc<dyn Store>>; 2],
}

impl Generations {
    /// Whether a backup reads the one that would be begun anew: the log grows beyond its bound meanwhile.
    fn is_held(&self) -> bool {
        let next = self.stores.get(1 - self.active).and_then(Option::as_ref);
        next.is_some_and(|store| Arc::strong_count(store) > 1)
    }
}

struct Entry {
    generation: usize,
    verdict: i32,
    model: Box<str>,
    payload: Bytes,
}

/// The log's state.
#[derive(Clone, Copy, Debug)]
pub struct LogStatus {
    /// How it is kept.
    pub settings: LogSettings,
    /// Decisions at hand.
    pub decisions: usize,
    /// Decisions that the level asked for and that were not kept.
    pub dropped: u64,
    /// Decisions that were let go of since the start, since newer ones took their room.
    pub evicted: u64,
}

impl DecisionLog {
    /// Opens both generations and reads what they hold.
    ///
    /// # Errors
    /// The store's, or an unreadable entry.
    pub async fn open(settings: LogSettings, open: OpenGeneration) -> Result<Self, RegistryError> {
        let mut entries = BTreeMap::new();
        let mut stores = [None, None];
        let mut newest = [None, None];
        let mut counts = [0, 0];
        for generation in [0, 1] {
            // A caller that rests on every decision being kept learns at the start that none can be.
            let beginning = if settings.strict && generation == 0 { Beginning::OrNew } else { Beginning::IfThere };
            let Some(store) = open(generation, beginning)? else { continue };
            for record in store.load().await?.records {
                let decision = convert::decode_decision(&record.value)?;
                let id = String::from_utf8_lossy(&record.key).into_owned().into_boxed_str();
                set(&mut newest, generation, Some(id.clone()));
                let (verdict, model) = (decision.verdict, decision.model.into());
                entries.insert(id, Entry { generation, verdict, model, payload: record.value });
            }
            set(&mut counts, generation, entries.values().filter(|entry| entry.generation == generation).count());
            set(&mut stores, generation, Some(store));
        }
        let [first, second] = newest;
        let active = usize::from(second > first);
        let used = AtomicUsize::new(counts.get(active).copied().unwrap_or_default());
        let generations = tokio::sync::RwLock::new(Generations { active, used, stores });
        Ok(Self::on(settings, Keeping::Generations { open, generations }, Arc::new(RwLock::new(entries))))
    }

    /// Opens the log in a store that other replicas add to as well.
    ///
    /// # Errors
    /// The store's, or an unreadable entry.
    pub async fn open_shared(settings: LogSettings, store: Arc<dyn Store>) -> Result<Self, RegistryError> {
        let mut entries = BTreeMap::new();
        // Before it is loaded, so that none falls between the two.
        let mut commits = store.subscribe();
        let loaded = store.load().await?;
        for record in loaded.records {
            let (id, entry) = entry(&record.key, record.value)?;
            entries.insert(id, entry);
        }
        let entries = Arc::new(RwLock::new(entries));
        let told = entries.clone();
        let (tell, noted) = watch::channel(loaded.revision);
        let follow = move || {
            while let Some(commit) = commits.blocking_recv() {
                let mut entries = told.write().unwrap_or_else(PoisonError::into_inner);
                // Loaded already: it may have been taken away since.
                let writes = if commit.revision > *tell.borrow() { &*commit.writes } else { &[] };
                for write in writes {
                    match write.value.clone().map(|value| entry(&write.key, value)) {
                        None => drop(entries.remove(&*String::from_utf8_lossy(&write.key))),
                        Some(Ok((id, entry))) => drop(entries.insert(id, entry)),
                        Some(Err(error)) => tracing::error!(%error, "an entry of the decision log cannot be read"),
                    }
                }
                drop(entries);
                tell.send_if_modified(|noted| std::mem::replace(noted, commit.revision.max(*noted)) < commit.revision);
            }
        };
        let started = std::thread::Builder::new().name("weighbridge-log".into()).spawn(follow);
        started.map_err(|error| {
            tracing::error!(%error, "a thread for the decision log could not be started");
            RegistryError::Closed
        })?;
        Ok(Self::on(settings, Keeping::Shared { store, noted, trimming: tokio::sync::Mutex::new(()) }, entries))
    }

    fn on(settings: LogSettings, keeping: Keeping, entries: Arc<RwLock<Entries>>) -> Self {
        use std::hash::{BuildHasher as _, RandomState};
        Self {
            settings,
            keeping,
            entries,
            waiting: AtomicUsize::new(0),
            dropped: AtomicU64::new(0),
            evicted: AtomicU64::new(0),
            // Two that begin in the same moment do not count from the same number.
            sequence: AtomicU64::new(RandomState::new().hash_one(0)),
        }
    }

    /// The stores of both generations, of which none is begun anew while somebody has them; or the shared one.
    pub(super) async fn stores(&self) -> [Option<Arc<dyn Store>>; 2] {
        match &self.keeping {
            Keeping::Generations { generations, .. } => generations.read().await.stores.clone(),
            Keeping::Shared { store, .. } => [Some(store.clone()), None],
        }
    }

    /// Whether the level asks for a decision.
    fn asks_for(&self, verdict: Verdict) -> bool {
        match self.settings.level {
            LogLevel::Off => false,
            LogLevel::NotEligible => verdict >= Verdict::NeedsReview,
            LogLevel::All => true,
        }
    }

    /// An id that sorts by time.
    fn next_id(&self, now: Timestamp) -> String {
        let sequence = self.sequence.fetch_add(1, Ordering::Relaxed) & 0xff_ffff;
        format!("{:012x}-{sequence:06x}", now.as_millisecond().max(0))
    }

    /// Keeps a decision; it is durable when this returns.
    async fn append(&self, id: String, decision: &pb::Decision) -> Result<(), RegistryError> {
        let payload = Bytes::from(decision.encode_to_vec());
        let key = Bytes::from(id.clone().into_bytes());
        let (open, generations) = match &self.keeping {
            Keeping::Generations { open, generations } => (open, generations),
            Keeping::Shared { store, noted, trimming } => {
                let expect = vec![Expect { key: key.clone(), revision: None }];
                let write = Write { key, value: Some(payload.clone()) };
                let revision = store.commit(Batch { expect, ..Batch::of([write]) }).await?;
                reach(noted, revision).await?;
                self.trim(store, noted, trimming).await;
                return Ok(());
            }
        };
        let half = (self.settings.decisions_max / 2).max(1);
        loop {
            let generations = generations.read().await;
            let generation = generations.active;
            let Some(store) = generations.stores.get(generation).and_then(Option::as_ref) else {
                drop(generations);
                self.begin(open).await?;
                continue;
            };
            if generations.used.fetch_add(1, Ordering::Relaxed) >= half && !generations.is_held() {
                drop(generations);
                self.turn(half, open).await?;
                continue;
            }
            let expect = vec![Expect { key: key.clone(), revision: None }];
            store.commit(Batch { expect, ..Batch::of([Write { key, value: Some(payload.clone()) }]) }).await?;
            let (verdict, model) = (decision.verdict, decision.model.as_str().into());
            let entry = Entry { generation, verdict, model, payload };
            self.entries.write().unwrap_or_else(PoisonError::into_inner).insert(id.into(), entry);
            return Ok(());
        }
    }

    /// Begins the active generation, the first time that something is kept in it.
    async fn begin(&self, open: &OpenGeneration) -> Result<(), RegistryError> {
        let Keeping::Generations { generations, .. } = &self.keeping else { return Ok(()) };
        let mut generations = generations.write().await;
        let active = generations.active;
        if generations.stores.get(active).is_some_and(Option::is_none) {
            // Beside the serving threads: it waits for the disk.
            let open = open.clone();
            let opened = super::beside(move || open(active, Beginning::OrNew)).await?;
            let store = opened?.ok_or(RegistryError::Closed)?;
            set(&mut generations.stores, active, Some(store));
        }
        Ok(())
    }

    /// Drops the older generation and goes on in its place, once the newer one is full.
    async fn turn(&self, half: usize, open: &OpenGeneration) -> Result<(), RegistryError> {
        let Keeping::Generations { generations, .. } = &self.keeping else { return Ok(()) };
        let mut generations = generations.write().await;
        if generations.used.load(Ordering::Relaxed) < half || generations.is_held() {
            // Somebody else has done it, or a backup has begun to read.
            return Ok(());
        }
        let next = 1 - generations.active;
        // Closed first: its folder is begun anew.
        set(&mut generations.stores, next, None);
        let store = open(next, Beginning::Anew)?.ok_or(RegistryError::Closed)?;
        set(&mut generations.stores, next, Some(store));
        let mut entries = self.entries.write().unwrap_or_else(PoisonError::into_inner);
        let before = entries.len();
        entries.retain(|_, entry| entry.generation != next);
        self.evicted.fetch_add(before.saturating_sub(entries.len()) as u64, Ordering::Relaxed);
        drop(entries);
        generations.active = next;
        generations.used = AtomicUsize::new(0);
        Ok(())
    }

    /// Lets go of the oldest entries of a shared log, once there are too many. Whoever else does so lets go of the same.
    async fn trim(&self, store: &Arc<dyn Store>, noted: &watch::Receiver<Revision>, trimming: &tokio::sync::Mutex<()>) {
        let Ok(_alone) = trimming.try_lock() else { return };
        let oldest: Vec<Box<str>> = {
            let entries = self.entries.read().unwrap_or_else(PoisonError::into_inner);
            if entries.len() <= self.settings.decisions_max {
                return;
            }
            // Some more, so that not every entry lets go of one.
            let most = self.settings.decisions_max;
            let some = (entries.len() - most + most / 10).clamp(1, TRIMMED_AT_ONCE);
            entries.keys().take(some).cloned().collect()
        };
        let count = oldest.len() as u64;
        let writes = oldest.iter().map(|id| Write { key: Bytes::copy_from_slice(id.as_bytes()), value: None });
        match store.commit(Batch::of(writes)).await {
            Ok(revision) => {
                self.evicted.fetch_add(count, Ordering::Relaxed);
                // Fails with the store, of which the next entry hears.
                let _ = reach(noted, revision).await;
            }
            // The next entry comes soon.
            Err(error) => tracing::warn!(%error, "the oldest decisions could not be let go of"),
        }
    }

    /// Refuses where what other replicas have added lately may not be known.
    fn check_fresh(&self) -> Result<(), RegistryError> {
        match &self.keeping {
            Keeping::Generations { .. } => Ok(()),
            Keeping::Shared { store, .. } => match store.staleness() {
                Some(staleness) if staleness.is_too_old() => Err(RegistryError::Stale { staleness }),
                _ => Ok(()),
            },
        }
    }

    fn status(&self) -> LogStatus {
        LogStatus {
            settings: self.settings,
            decisions: self.entries.read().unwrap_or_else(PoisonError::into_inner).len(),
            dropped: self.dropped.load(Ordering::Relaxed),
            evicted: self.evicted.load(Ordering::Relaxed),
        }
    }
}

/// Waits until what was committed has been noted.
async fn reach(noted: &watch::Receiver<Revision>, revision: Revision) -> Result<(), RegistryError> {
    let mut noted = noted.clone();
    noted.wait_for(|noted| *noted >= revision).await.map(|_| ()).map_err(|_| RegistryError::Closed)
}

/// What is kept in memory of an entry.
fn entry(key: &[u8], payload: Bytes) -> Result<(Box<str>, Entry), RegistryError> {
    let decision = convert::decode_decision(&payload)?;
    let id = String::from_utf8_lossy(key).into_owned().into_boxed_str();
    let (verdict, model) = (decision.verdict, decision.model.into());
    Ok((id, Entry { generation: 0, verdict, model, payload }))
}

fn set<T>(pair: &mut [T; 2], at: usize, value: T) {
    if let Some(slot) = pair.get_mut(at) {
        *slot = value;
    }
}

impl Registry {
    /// The same registry with a decision log.
    #[must_use]
    pub fn with_decision_log(self, log: DecisionLog) -> Self {
        Self { decision_log: Some(Arc::new(log)), ..self }
    }

    /// How the decision log is; `None`: none is kept.
    #[must_use]
    pub fn decision_log_status(&self) -> Option<LogStatus> {
        self.decision_log.as_ref().map(|log| log.status())
    }

    /// Refuses to record where there is no log.
    ///
    /// # Errors
    /// [`RegistryError::NoDecisionLog`].
    pub fn check_can_record(&self, record: bool) -> Result<(), RegistryError> {
        if record && self.decision_log.is_none() { Err(RegistryError::NoDecisionLog) } else { Ok(()) }
    }

    /// Whether a decision is to be kept, by the caller's wish or the level.
    #[must_use]
    pub fn keeps(&self, record: bool, verdict: Verdict) -> bool {
        self.decision_log.as_ref().is_some_and(|log| record || log.asks_for(verdict))
    }

    /// Completes a decision that the caller or the level wants kept; without that it stays as it is.
    #[must_use]
    pub fn completed(&self, record: bool, verdict: Verdict, decision: pb::Decision, asked: Asked<'_>) -> pb::Decision {
        let mut decision = decision;
        if let Some(log) = &self.decision_log
            && (record || log.asks_for(verdict))
        {
            let now = (self.clock)();
            convert::complete(&mut decision, format!("decisions/{}", log.next_id(now)), asked, records::time(now));
            if let Some(call) = Call::current() {
                (decision.call_id, decision.actor) = (call.id.to_string(), call.actor.to_string());
            }
        }
        decision
    }

    /// Keeps a completed decision, and answers with it. Where the caller did not ask for it and the log is not strict, the
    /// entry is written behind the answer, or dropped and counted when too many wait, and the answer does not name it.
    ///
    /// # Errors
    /// The log's store failed.
    pub async fn keep(&self, record: bool, decision: pb::Decision) -> Result<pb::Decision, RegistryError> {
        let Some(id) = decision.name.strip_prefix("decisions/").map(str::to_owned) else { return Ok(decision) };
        let Some(log) = &self.decision_log else { return Ok(decision) };
        // Held until the entry is durable, so that a restore knows of it.
        let superseded = self.superseded.clone().read_owned().await;
        if *superseded {
            // What takes this one's place has a log of its own.
            return if record || log.settings.strict { Err(RegistryError::Superseded) } else { Ok(unnamed(decision)) };
        }
        if record || log.settings.strict {
            log.append(id, &decision).await?;
            return Ok(decision);
        }
        if log.waiting.fetch_add(1, Ordering::Relaxed) >= WAITING_MAX {
            log.waiting.fetch_sub(1, Ordering::Relaxed);
            log.dropped.fetch_add(1, Ordering::Relaxed);
        } else {
            let (log, entry) = (log.clone(), decision.clone());
            tokio::spawn(async move {
                if let Err(error) = log.append(id, &entry).await {
                    log.dropped.fetch_add(1, Ordering::Relaxed);
                    tracing::error!(%error, "a decision could not be logged");
                }
                log.waiting.fetch_sub(1, Ordering::Relaxed);
                drop(superseded);
            });
        }
        Ok(unnamed(decision))
    }

    /// A decision of the log.
    ///
    /// # Errors
    /// A bad name, not there, or no log is kept.
    pub fn decision(&self, name: &str) -> Result<pb::Decision, RegistryError> {
        let log = self.decision_log.as_ref().ok_or(RegistryError::NoDecisionLog)?;
        log.check_fresh()?;
        let Some(id) = name.strip_prefix("decisions/").filter(|id| is_segment(id)) else {
            let description = format!("`{}` is no decision name: write `decisions/{{id}}`", shown(name));
            return Err(RegistryError::Invalid(vec![violation("name", description)]));
        };
        let entries = log.entries.read().unwrap_or_else(PoisonError::into_inner);
        match entries.get(id) {
            Some(entry) => Ok(convert::decode_decision(&entry.payload)?),
            None => Err(RegistryError::NotFound { kind: "decision", name: shown(name), near: Vec::new() }),
        }
    }

    /// The newest decisions of the log.
    ///
    /// # Errors
    /// No log is kept.
    pub(super) fn newest_decisions(&self, most: usize) -> Result<Vec<pb::Decision>, RegistryError> {
        let log = self.decision_log.as_ref().ok_or(RegistryError::NoDecisionLog)?;
        log.check_fresh()?;
        let payloads: Vec<Bytes> = {
            let entries = log.entries.read().unwrap_or_else(PoisonError::into_inner);
            entries.values().rev().take(most).map(|entry| entry.payload.clone()).collect()
        };
        payloads.iter().map(|payload| Ok(convert::decode_decision(payload)?)).collect()
    }

    /// Decisions of the log, newest first: on a model, or all; with one of some verdicts, or any.
    ///
    /// # Errors
    /// A bad model name, page size or page token, or no log is kept.
    pub fn list_decisions(
        &self,
        model: &str,
        verdicts: &[i32],
        page: &PageRequest,
    ) -> Result<pb::ListDecisionsResponse, RegistryError> {
        let log = self.decision_log.as_ref().ok_or(RegistryError::NoDecisionLog)?;
        log.check_fresh()?;
        let size = page.size()?;
        let mut violations = Vec::new();
        if !model.is_empty()
            && let Err(error) = ModelName::parse(model)
        {
            violations.push(violation("model", error.to_string()));
        }
        for (i, verdict) in verdicts.iter().enumerate() {
            if !matches!(pb::Verdict::try_from(*verdict), Ok(known) if known != pb::Verdict::Unspecified) {
                violations.push(violation(&format!("verdicts[{i}]"), format!("{verdict} is no verdict")));
            }
        }
        if !violations.is_empty() {
            return Err(RegistryError::Invalid(violations));
        }
        let list = format!("decisions\n{model}\n{verdicts:?}");
        let before = page.after(&list)?;
        let wanted = |entry: &Entry| {
            (model.is_empty() || *entry.model == *model) && (verdicts.is_empty() || verdicts.contains(&entry.verdict))
        };
        let entries = log.entries.read().unwrap_or_else(PoisonError::into_inner);
        let older = entries.iter().rev().filter(|(id, _)| before.as_deref().is_none_or(|before| &***id < before));
        let mut found: Vec<_> = older.filter(|(_, entry)| wanted(entry)).take(size.saturating_add(1)).collect();
        let more = found.len() > size;
        found.truncate(size);
        let last = found.last().map(|(id, _)| id.to_string());
        let decisions: Result<Vec<_>, _> =
            found.iter().map(|(_, entry)| convert::decode_decision(&entry.payload)).collect();
        Ok(pb::ListDecisionsResponse { decisions: decisions?, next_page_token: token(&list, last, more) })
    }
}

/// As it is answered where nobody asked for it to be recorded.
fn unnamed(decision: pb::Decision) -> pb::Decision {
    pb::Decision {
        name: String::new(),
        digest: String::new(),
        r#use: None,
        use_profile: String::new(),
        requested_model: String::new(),
        create_time: None,
        evaluator_version: 0,
        call_id: String::new(),
        actor: String::new(),
        ..decision
    }
}
