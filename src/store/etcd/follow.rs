//! Following the cluster: its watch into the mirror and the feed, and how fresh they are.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use etcd_client::{Event, EventType, GetOptions, Txn, TxnOp, TxnOpResponse, WatchOptions};
use tokio::time::{Instant, MissedTickBehavior, interval, sleep, timeout};

use super::layout::{Body, Head, Id, Keys, Row};
use super::link::{Fault, fault};
use super::mirror::{Slot, Unfolded, read, wire};
use super::read::{Beside, Trouble};
use super::{Inner, write};
use crate::store::{Commit, Revision, StoreError, Write};

/// How often it is asked how far the cluster has come.
const PROBE_EVERY: Duration = Duration::from_millis(250);
/// How long a watch may say nothing when it was asked to.
const SILENCE: Duration = Duration::from_secs(2);
/// How often a watch is asked to say how far it is.
const PROGRESS_EVERY: Duration = Duration::from_millis(500);
/// How long a watch may lag behind what is known of the cluster without coming further.
const LAG: Duration = Duration::from_secs(1);
/// The longest that such patience grows, where a watch comes no further again and again: etcd reads all that has changed first.
pub(super) const PATIENCE_MAX: Duration = Duration::from_secs(60);
/// Before a watch is opened again.
const PAUSE: Duration = Duration::from_millis(50);
/// How often it is looked how far back history goes, and what is left over is cleared away.
const TIDY_EVERY: Duration = Duration::from_secs(5);
/// Probes that go wrong before writes are refused at once.
const FAILED_PROBES_MAX: u32 = 2;

/// What a revision of etcd changed of what is watched.
#[derive(Debug, Default)]
pub(super) struct Change {
    pub(super) revision: Revision,
    pub(super) head: Option<Head>,
    rows: Vec<(Bytes, Option<Row>)>,
    /// How often the marks were written.
    pub(super) head_version: i64,
    fold_version: i64,
    /// Rows were put elsewhere; of this commit those are all.
    fold: Option<Option<Id>>,
    serials: Vec<Bytes>,
}

impl Change {
    /// About as many bytes.
    pub(super) fn size(&self) -> usize {
        let value = |row: &Option<Row>| row.as_ref().map_or(0, |row| row.body.inline_size());
        self.rows.iter().map(|(key, row)| key.len() + value(row) + 64).sum()
    }
}

/// The changes that events tell of, a revision each.
pub(super) fn changes(inner: &Inner, events: &[Event]) -> Result<Vec<Change>, StoreError> {
    let keys = &inner.keys;
    let mut changes: Vec<Change> = Vec::new();
    for event in events {
        let Some(kv) = event.kv() else { continue };
        let revision = read(kv.mod_revision());
        if changes.last().is_none_or(|last| last.revision != revision) {
            changes.push(Change { revision, ..Change::default() });
        }
        let Some(change) = changes.last_mut() else { continue };
        if event.event_type() == EventType::Delete {
            if let Some(key) = keys.record(kv.key()) {
                change.rows.push((key, None));
            }
        } else if kv.key() == keys.head() {
            let head = Head::decode(kv.key(), kv.value()).ok_or_else(|| inner.damaged("a commit"))?;
            (change.head, change.head_version) = (Some(head), kv.version());
        } else if kv.key() == keys.staged() {
            // With each commit that is staged.
        } else if kv.key() == keys.fold() {
            let bytes = super::layout::unseal(kv.key(), kv.value()).ok_or_else(|| inner.damaged("a mark"))?;
            (change.fold, change.fold_version) = (Some(Id::read(bytes)), kv.version());
        } else if let Some(name) = kv.key().strip_prefix(keys.serials().as_slice()) {
            change.serials.push(Bytes::copy_from_slice(name));
        } else {
            let (key, row) = inner.row(kv)?;
            change.rows.push((key, Some(row)));
        }
    }
    Ok(changes)
}

/// How a watch ended.
enum End {
    /// It is to be opened again.
    Again(String),
    /// History went before it was read.
    Compacted(Revision),
    /// A change was left out: etcd before 3.4.36 and 3.5.18 may do that to a watch that history overtakes while it waits.
    Missed,
}

/// How far the cluster has come.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Marks {
    /// The last revision that changed what is watched.
    pub(super) newest: Revision,
    /// That of the layout's own key.
    pub(super) format: Revision,
    pub(super) head_version: i64,
    pub(super) fold_version: i64,
}

impl Inner {
    /// The commit that a change is, and what it wrote.
    pub(super) async fn commit_of(&self, change: Change) -> Result<(Commit, Vec<(Bytes, Body)>), Trouble> {
        let Change { revision, head, rows, .. } = change;
        let Some(Head { time_ms, id, parts, about }) = head else {
            return Err(self.damaged("a change that is no commit").into());
        };
        let bodies: Vec<(Bytes, Body)> = if parts > 0 {
            self.stage_at(id, parts, revision).await?
        } else {
            rows.into_iter().map(|(key, row)| (key, row.map_or(Body::Deleted, |row| row.body))).collect()
        };
        let mut writes = Vec::with_capacity(bodies.len());
        for (key, body) in &bodies {
            let value = self.value_at(body, revision).await?;
            writes.push(Write { key: key.clone(), value });
        }
        Ok((Commit { revision, time_ms, about, writes, gap: None }, bodies))
    }

    /// Takes a change in, and tells of it where it is a commit; `false`: it is not the next one.
    async fn take_in(&self, change: Change) -> Result<bool, Trouble> {
        let revision = change.revision;
        {
            let mirror = self.mirror();
            if revision <= mirror.applied {
                return Ok(true);
            }
            let head_follows = change.head.is_none() || change.head_version == mirror.head_version + 1;
            if !head_follows || change.fold.is_some() && change.fold_version != mirror.fold_version + 1 {
                return Ok(false);
            }
        }
        let Some(head) = &change.head else {
            self.take_in_rows(change);
            return Ok(true);
        };
        let (id, parts, serials, head_version) = (head.id, head.parts, change.serials.clone(), change.head_version);
        let (commit, bodies) = self.commit_of(change).await?;
        let commit = Arc::new(commit);
        {
            let mut mirror = self.mirror();
            for (key, body) in &bodies {
                let row = if parts > 0 { 0 } else { revision };
                mirror.note(key, body, revision, row, self.keeps_deleted);
            }
            (mirror.applied, mirror.revision, mirror.time_ms) = (revision, revision, commit.time_ms);
            mirror.head_version = head_version;
            for name in serials {
                mirror.serials.insert(name, revision);
            }
            if parts > 0 {
                mirror.staged = revision;
                let rows = Arc::new(bodies.into_iter().collect());
                mirror.unfolded = Some(Unfolded { id, revision, rows });
            }
            mirror.remember(commit.clone(), self.recent_max, RECENT_BYTES_MAX);
            self.feed.publish(mirror.head(), std::slice::from_ref(&commit));
            // Under the lock: whoever sees what it changed finds its answer.
            self.answer(id, revision);
        }
        self.reached(revision);
        Ok(true)
    }

    /// Rows that are elsewhere now, or are cleared away.
    fn take_in_rows(&self, change: Change) {
        let Change { revision, rows, fold, fold_version, .. } = change;
        {
            let mut mirror = self.mirror();
            for (key, row) in rows {
                match row {
                    Some(row) => {
                        if let Some(slot) = mirror.slots.get_mut(&key)
                            && row.written == Some(slot.written)
                        {
                            slot.row = revision;
                        }
                    }
                    None => {
                        if mirror.slots.get(&key).is_some_and(|slot| !slot.live) {
                            mirror.slots.remove(&key);
                        } else if let Some(slot) = mirror.slots.get_mut(&key) {
                            slot.row = 0;
                        }
                    }
                }
            }
            mirror.applied = revision;
            if let Some(done) = fold {
                (mirror.fold, mirror.fold_version) = (revision, fold_version);
                if mirror.unfolded.as_ref().is_some_and(|unfolded| Some(unfolded.id) == done) {
                    mirror.unfolded = None;
                }
            }
        }
        self.reached(revision);
    }

    /// Follows the cluster until the store is closed.
    pub(super) async fn follow(self: Arc<Self>) {
        let (mut patience, mut before) = (SILENCE, 0);
        loop {
            let end = self.watch(patience).await.unwrap_or_else(|trouble| {
                if let Trouble::Store(error) = &trouble {
                    tracing::error!(%error, "what etcd tells cannot be taken in: it is tried again");
                }
                End::Again(trouble.error().to_string())
            });
            let applied = self.mirror().applied;
            patience = if applied > before { SILENCE } else { (patience * 2).min(PATIENCE_MAX) };
            before = applied;
            match end {
                End::Again(why) => {
                    tracing::debug!(why, "the watch of etcd is opened again");
                    self.link.leave_member();
                    sleep(PAUSE).await;
                }
                End::Compacted(at) => {
                    tracing::warn!(
                        revision = at,
                        "etcd let go of history before it was read: everything is read again"
                    );
                    self.begin_again(Some(at)).await;
                }
                End::Missed => {
                    tracing::error!(
                        "etcd left out a change: everything is read again; it is to be 3.4.36, 3.5.18 or later"
                    );
                    self.begin_again(None).await;
                }
            }
        }
    }

    /// Reads everything again, at a revision or the newest, until it is read or the watch is to be tried again.
    async fn begin_again(&self, at: Option<Revision>) {
        loop {
            let read = match at {
                Some(at) => self.read_again(at, true).await,
                None => match self.newest().await {
                    Ok(newest) => self.read_again(newest, false).await,
                    Err(error) => Err(error.into()),
                },
            };
            let Err(trouble) = read else { return };
            let is_gone = matches!(&trouble, Trouble::Fault(Fault::Compacted));
            tracing::warn!(error = %trouble.error(), "etcd could not be read again yet");
            if is_gone || self.broken.load(Ordering::SeqCst) {
                return;
            }
            sleep(LAG).await;
        }
    }

    async fn watch(&self, patience: Duration) -> Result<End, Trouble> {
        let start = self.mirror().applied + 1;
        let prefix = self.keys.watched();
        let options = WatchOptions::new().with_range(Keys::end(&prefix)).with_start_revision(wire(start));
        let mut client = self.link.watcher(Instant::now() + LAG).await?;
        let silent = |_| Fault::Silent("etcd does not answer a watch".to_owned());
        let opened = timeout(SILENCE, client.watch(prefix, Some(options))).await.map_err(silent)?;
        let mut stream = opened.map_err(|error| fault("etcd", &error))?;
        let mut ask = interval(PROGRESS_EVERY);
        ask.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut heard = Instant::now();
        loop {
            let message = tokio::select! {
                message = stream.message() => message.map_err(|error| fault("etcd", &error))?,
                _ = ask.tick() => {
                    if heard.elapsed() > patience {
                        return Ok(End::Again("it says nothing".to_owned()));
                    }
                    stream.request_progress().await.map_err(|error| fault("etcd", &error))?;
                    continue;
                }
                () = self.lagging.notified() => return Ok(End::Again("it lags behind".to_owned())),
                () = self.missed.notified() => return Ok(End::Missed),
            };
            let Some(message) = message else { return Ok(End::Again("it ended".to_owned())) };
            if message.compact_revision() > 0 {
                return Ok(End::Compacted(read(message.compact_revision())));
            }
            if message.canceled() {
                return Ok(End::Again(format!("it was ended: {}", message.cancel_reason())));
            }
            for change in changes(self, message.events())? {
                if !self.take_in(change).await? {
                    return Ok(End::Missed);
                }
            }
            // Reading what is staged takes its time.
            heard = Instant::now();
        }
    }

    /// Reads everything at a revision, and tells what differs from what was known as one commit. Where history has gone it is the
    /// oldest that there is.
    async fn read_again(&self, at: Revision, history_is_gone: bool) -> Result<(), Trouble> {
        let Beside { mirror: beside, about } = self.beside(at).await?;
        if beside.format != self.mirror().format {
            return Err(self.damaged("the store was begun anew: restart the replica").into());
        }
        if beside.revision < self.mirror().revision {
            self.break_off("etcd has lost what it acknowledged, which is served still: restart the replica");
            return Err(self.damaged("it is behind what was known").into());
        }
        let mut known: HashMap<Bytes, Revision> =
            self.mirror().slots.iter().filter(|(_, s)| s.live).map(|(key, slot)| (key.clone(), slot.written)).collect();
        let mut writes = Vec::new();
        let mut written = Vec::new();
        let mut slots: Vec<(Bytes, Slot)> = Vec::new();
        let mut each = |key: Bytes, slot: Slot, value: Bytes| {
            if slot.live && known.remove(&key) != Some(slot.written) {
                writes.push(Write { key: key.clone(), value: Some(value) });
                written.push(slot.written);
            }
            if slot.live || self.keeps_deleted {
                slots.push((key, slot));
            }
            true
        };
        self.rows_at(at, beside.unfolded.as_ref(), &mut each).await?;
        // What is left was deleted; unless its deletion left a row, that was seen above.
        writes.extend(known.into_keys().map(|key| Write { key, value: None }));
        let revision = beside.revision;
        written.resize(writes.len(), revision);
        {
            let mut mirror = self.mirror();
            let before = mirror.revision;
            let mut next = beside;
            for (key, slot) in slots {
                next.live += u64::from(slot.live);
                next.bytes += if slot.live { key.len() as u64 + slot.size } else { 0 };
                next.slots.insert(key, slot);
            }
            (next.compacted, next.floor, next.floor_time_ms) = if history_is_gone {
                (at, next.revision, next.time_ms)
            } else {
                (mirror.compacted, mirror.floor, mirror.floor_time_ms)
            };
            next.forget(revision);
            *mirror = next;
            let time_ms = mirror.time_ms;
            let commit = Arc::new(Commit { revision, time_ms, about, writes, gap: Some(written) });
            let commits = std::slice::from_ref(&commit);
            self.feed.publish(mirror.head(), if revision > before { commits } else { &[] });
            self.answer_none();
        }
        self.reached(at);
        Ok(())
    }

    /// Asks the cluster again and again how far it has come.
    pub(super) async fn probe(self: Arc<Self>) {
        let mut ticks = interval(PROBE_EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut failed = 0;
        // Since when the watch has come no further, how far that is, and how long that may last.
        let (mut behind, mut last, mut patience) = (None::<Instant>, 0, LAG);
        loop {
            ticks.tick().await;
            let asked = Instant::now();
            // What the watch has told of is committed.
            let known = {
                let mirror = self.mirror();
                mirror.revision.max(mirror.fold)
            };
            match self.marks(asked + LAG).await {
                Ok(marks) => {
                    failed = 0;
                    if marks.format != self.mirror().format {
                        self.break_off("the store was begun anew: restart the replica");
                    } else if marks.newest < known {
                        self.break_off(
                            "etcd has lost what it acknowledged, which is served still: restart the replica",
                        );
                    }
                    if self.broken.load(Ordering::SeqCst) {
                        continue;
                    }
                    self.feed.recover_from_hang();
                    let (applied, revision, missed) = {
                        let mirror = self.mirror();
                        let missed =
                            mirror.head_version < marks.head_version || mirror.fold_version < marks.fold_version;
                        (mirror.applied, mirror.revision, missed)
                    };
                    if applied >= marks.newest && missed {
                        self.missed.notify_one();
                    } else if applied >= marks.newest {
                        (behind, patience) = (None, LAG);
                        self.fresh_as_of(asked, revision);
                    } else if applied > last {
                        (behind, patience) = (Some(asked), LAG);
                    } else if behind.get_or_insert(asked).elapsed() > patience {
                        // A watch may be dead without knowing it.
                        self.lagging.notify_one();
                        (behind, patience) = (None, (patience * 2).min(PATIENCE_MAX));
                    }
                    last = applied;
                }
                Err(fault) => {
                    failed += 1;
                    let reason = fault.error().to_string();
                    if failed >= FAILED_PROBES_MAX && self.feed.hang(format!("no commit is accepted: {reason}")) {
                        tracing::error!(reason, "etcd does not answer: reads go on with what is known");
                        self.hung.notify_waiters();
                    }
                }
            }
        }
    }

    /// Never again is what is known fresh.
    fn break_off(&self, problem: &str) {
        if !self.broken.swap(true, Ordering::SeqCst) {
            tracing::error!(problem, "this replica no longer follows etcd");
            self.feed.worsen(problem.to_owned());
        }
    }

    /// How far all members together know the cluster to have come.
    pub(super) async fn marks(&self, deadline: Instant) -> Result<Marks, Fault> {
        let options = GetOptions::new().with_keys_only();
        let gets = [self.marks_op(), TxnOp::get(self.keys.format(), Some(options))];
        let found = self.link.get_all(&Txn::new().and_then(gets), deadline).await?;
        let mut marks = Marks::default();
        for answer in found.op_responses() {
            let TxnOpResponse::Get(get) = answer else { continue };
            for kv in get.kvs() {
                let revision = read(kv.mod_revision());
                if kv.key() == self.keys.format() {
                    marks.format = revision;
                    continue;
                }
                marks.newest = marks.newest.max(revision);
                if kv.key() == self.keys.head() {
                    marks.head_version = kv.version();
                } else if kv.key() == self.keys.fold() {
                    marks.fold_version = kv.version();
                }
            }
        }
        Ok(marks)
    }

    /// Reads the marks, without their values.
    pub(super) fn marks_op(&self) -> TxnOp {
        let prefix = self.keys.marks();
        let options = GetOptions::new().with_keys_only().with_range(Keys::end(&prefix));
        TxnOp::get(prefix, Some(options))
    }

    /// Looks now and then how far back history goes, and clears away what is left over.
    pub(super) async fn tidy(self: Arc<Self>) {
        let mut ticks = interval(TIDY_EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        // Not at once: whoever staged a commit is about to do it.
        ticks.tick().await;
        let mut staged = None;
        loop {
            ticks.tick().await;
            self.end_replays();
            self.look_for_floor().await;
            let unfolded = self.mirror().unfolded.as_ref().map(|unfolded| unfolded.id);
            let known = std::mem::replace(&mut staged, unfolded);
            if unfolded.is_some() && unfolded == known {
                // Whoever staged it is gone.
                let deadline = self.soon();
                if let Err(error) = write::fold(&self, deadline).await {
                    tracing::debug!(%error, "a staged commit could not be put in its place yet");
                }
            }
            if let Err(error) = write::clear_away(&self).await {
                tracing::debug!(%error, "what is left over could not be cleared away yet");
            }
        }
    }

    /// Learns how far back history goes.
    pub(super) async fn look_for_floor(&self) {
        let known = {
            let mirror = self.mirror();
            mirror.compacted.max(mirror.format)
        };
        let options = GetOptions::new().with_keys_only().with_revision(wire(known));
        match self.link.get(&self.keys.format(), &options, self.soon()).await {
            Err(Fault::Compacted) => {}
            _ => return,
        }
        let found = self.compacted().await;
        let Ok(Some(compacted)) = found else { return };
        let Ok(head) = self.head_at(compacted).await else { return };
        self.raise_floor(compacted, head.map(|(revision, head)| (revision, head.time_ms)));
    }

    /// Notes that history before a revision of etcd is gone.
    pub(super) fn raise_floor(&self, compacted: Revision, head: Option<(Revision, i64)>) {
        let mut mirror = self.mirror();
        if compacted > mirror.compacted {
            mirror.compacted = compacted;
            (mirror.floor, mirror.floor_time_ms) = head.unwrap_or_default();
            self.feed.publish(mirror.head(), &[]);
        }
    }

    /// The revision before which etcd keeps no history, which it says to those who ask for older.
    async fn compacted(&self) -> Result<Option<Revision>, Trouble> {
        let options = WatchOptions::new().with_start_revision(1);
        let mut client = self.link.watcher(self.soon()).await?;
        let silent = |_| Fault::Silent("etcd does not answer a watch".to_owned());
        let opened = timeout(SILENCE, client.watch(self.keys.format(), Some(options))).await.map_err(silent)?;
        let mut stream = opened.map_err(|error| fault("etcd", &error))?;
        loop {
            let message = timeout(SILENCE, stream.message()).await.map_err(silent)?;
            let Some(message) = message.map_err(|error| fault("etcd", &error))? else { return Ok(None) };
            if message.compact_revision() > 0 {
                return Ok(Some(read(message.compact_revision())));
            }
            // It is said after that it was opened.
            if !message.created() {
                return Ok(None);
            }
        }
    }
}

/// Bytes of the commits that are at hand.
const RECENT_BYTES_MAX: usize = 16 << 20;
