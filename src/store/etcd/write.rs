//! Commits: as transactions where they fit into one, and staged where they do not.

use std::collections::HashSet;
use std::ops::Bound;
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use etcd_client::{Compare, CompareOp, DeleteOptions, GetOptions, Txn, TxnOp, TxnOpResponse, TxnResponse};
use tokio::sync::oneshot::error::TryRecvError;
use tokio::time::{Instant, sleep, timeout_at};

use super::layout::{Body, Head, Id, Keys, Row, encode_parts, seal};
use super::link::Fault;
use super::mirror::{EXPECT_MAX, Next, Unfolded, read, wire};
use super::{Inner, PATIENCE};
use crate::store::{Batch, Revision, StoreError};

/// Longest time for a commit.
const COMMIT_TIME: Duration = Duration::from_secs(10);
/// Bytes that a millisecond more is given for.
const BYTES_MS: u64 = 4_096;
/// Longest time for putting the rows of a commit in their places, by whoever committed it.
const FOLD_TIME: Duration = Duration::from_secs(3_600);
/// Most rows of one transaction: etcd takes 128 operations, and a commit has some of its own.
const ROWS_MAX: usize = 100;
/// Largest transaction, and largest part of what is staged: etcd takes requests of 1.5 MiB.
const BYTES_MAX: usize = 1 << 20;
/// A longer value lies in parts.
const VALUE_BYTES_MAX: usize = 900 << 10;
/// Parts that are written at the same time.
const STAGED_AT_ONCE: usize = 4;
/// How often it is looked for what was written and never committed. No commit takes as long.
const SWEEP_EVERY: Duration = Duration::from_secs(1_800);
/// Rows that are cleared away at once.
const CLEARED_MAX: usize = 2_000;

/// Commits a batch.
pub(super) async fn commit(inner: &Arc<Inner>, batch: Batch) -> Result<Revision, StoreError> {
    let batch = batch.validated()?;
    // A whole registry takes longer.
    let deadline = Instant::now() + COMMIT_TIME + Duration::from_millis(batch.size_bytes() as u64 / BYTES_MS);
    if let Some(reason) = inner.feed.problem() {
        return Err(StoreError::Unavailable { reason });
    }
    if batch.writes.is_empty() {
        inner.catch_up(deadline).await?;
        let mirror = inner.mirror();
        return match mirror.next(&batch, &inner.keys, false) {
            Next::Refuse(error) => Err(error),
            Next::Try { .. } | Next::Fold => Ok(mirror.revision),
        };
    }
    let began = Instant::now();
    let id = Id::new();
    let rows = bodies(inner, &batch, deadline).await?;
    let size: usize = rows.iter().map(|(key, body)| key.len() + body.inline_size() + 64).sum();
    let is_large = rows.len() > ROWS_MAX || size > BYTES_MAX;
    if is_large && !inner.keeps_deleted && rows.iter().any(|(_, body)| !body.is_live()) {
        // Where deleted rows leave nothing, nothing would tell which of them are in their places.
        let reason = format!("a log lets go of at most {ROWS_MAX} entries at once");
        return Err(StoreError::Unavailable { reason });
    }
    let parts = if is_large { stage(inner, id, &rows, deadline).await? } else { 0 };
    let committed = try_commit(inner, &batch, id, &rows, parts, deadline).await;
    if parts > 0 {
        let inner = inner.clone();
        let done = committed.is_ok();
        // Behind the answer: it can be read already.
        tokio::spawn(async move {
            let done = if done { fold(&inner, Instant::now() + FOLD_TIME).await } else { discard(&inner, id).await };
            if let Err(error) = done {
                tracing::debug!(%error, "what was staged could not be put in its place, or away, yet");
            }
        });
    }
    if committed.is_ok() {
        inner.timings.add(began.elapsed());
    }
    committed
}

/// What the rows of a batch hold; long values are written beside them.
async fn bodies(inner: &Arc<Inner>, batch: &Batch, deadline: Instant) -> Result<Vec<(Bytes, Body)>, StoreError> {
    let mut rows = Vec::with_capacity(batch.writes.len());
    for write in &batch.writes {
        let body = match &write.value {
            None => Body::Deleted,
            Some(value) if value.len() <= VALUE_BYTES_MAX => Body::Value(value.clone()),
            Some(value) => {
                let id = Id::new();
                let parts: Vec<Vec<u8>> = value.chunks(VALUE_BYTES_MAX).map(<[u8]>::to_vec).collect();
                let size = value.len() as u64;
                let keys = |number| inner.keys.blob_part(id, number);
                let parts = write_parts(inner, parts, keys, deadline).await?;
                Body::Split { id, parts, size }
            }
        };
        rows.push((write.key.clone(), body));
    }
    Ok(rows)
}

/// Writes the rows of a commit where nobody reads them yet. Answers how many parts they are.
async fn stage(inner: &Arc<Inner>, id: Id, rows: &[(Bytes, Body)], deadline: Instant) -> Result<u32, StoreError> {
    write_parts(inner, encode_parts(rows, BYTES_MAX), |number| inner.keys.stage_part(id, number), deadline).await
}

async fn write_parts(
    inner: &Arc<Inner>,
    parts: Vec<Vec<u8>>,
    key: impl Fn(u32) -> Vec<u8>,
    deadline: Instant,
) -> Result<u32, StoreError> {
    let count = u32::try_from(parts.len()).unwrap_or(u32::MAX);
    let mut writing = tokio::task::JoinSet::new();
    for (number, part) in (0_u32..).zip(parts) {
        if writing.len() >= STAGED_AT_ONCE {
            done(writing.join_next().await)?;
        }
        let (inner, key) = (inner.clone(), key(number));
        writing.spawn(async move {
            let value = seal(&key, part);
            let txn = Txn::new().and_then([TxnOp::put(key, value, None)]);
            inner.link.change_surely(&txn, deadline).await.map(|_| ())
        });
    }
    while !writing.is_empty() {
        done(writing.join_next().await)?;
    }
    Ok(count)
}

fn done(joined: Option<Result<Result<(), Fault>, tokio::task::JoinError>>) -> Result<(), StoreError> {
    match joined {
        Some(Ok(done)) => done.map_err(Fault::error),
        Some(Err(_)) => Err(StoreError::Closed),
        None => Ok(()),
    }
}

async fn try_commit(
    inner: &Arc<Inner>,
    batch: &Batch,
    id: Id,
    rows: &[(Bytes, Body)],
    parts: u32,
    deadline: Instant,
) -> Result<Revision, StoreError> {
    let keys = &inner.keys;
    let mut delivered = inner.expect(id);
    let _forget = Forget { inner, id };
    let mut is_current = false;
    // Of a change that was tried it is not known whether it was made, and why not.
    let mut tried: Option<String> = None;
    loop {
        match (delivered.try_recv(), &tried) {
            (Ok(revision), _) => return Ok(revision),
            (Err(TryRecvError::Closed), Some(reason)) => return Err(unknown(reason)),
            (Err(TryRecvError::Closed), None) => delivered = inner.expect(id),
            (Err(TryRecvError::Empty), _) => {}
        }
        if Instant::now() >= deadline || inner.broken.load(Ordering::SeqCst) {
            let reason = "others changed what it is about again and again".to_owned();
            return Err(tried.map_or(StoreError::Unavailable { reason }, |reason| unknown(&reason)));
        }
        let next = inner.mirror().next(batch, keys, parts > 0);
        let (conditions, time_ms) = match next {
            Next::Try { conditions, time_ms } => (conditions, time_ms),
            Next::Refuse(error) if is_current => {
                // It may be this commit itself that is in the way.
                return match (delivered.try_recv(), tried) {
                    (Ok(revision), _) => Ok(revision),
                    (Err(TryRecvError::Closed), Some(reason)) => Err(unknown(&reason)),
                    (Err(_), _) => Err(error),
                };
            }
            Next::Refuse(_) => {
                inner.catch_up(deadline).await.map_err(|error| tried.as_deref().map_or(error, unknown))?;
                is_current = true;
                continue;
            }
            Next::Fold => {
                fold(inner, deadline).await.map_err(|error| tried.as_deref().map_or(error, unknown))?;
                continue;
            }
        };
        let txn = transaction(inner, batch, id, rows, parts, conditions, time_ms);
        let blobs = replaced(inner, rows);
        match inner.link.change(&txn).await {
            Ok(answer) if answer.succeeded() => {
                let revision = read(answer.header().map_or(0, |header| header.revision()));
                let reached = inner.reach(revision, deadline).await;
                reached.map_err(|_| unknown("what was committed is not delivered"))?;
                discard_blobs(inner, blobs);
                return Ok(revision);
            }
            Ok(answer) => {
                let reason = "what others have committed is not delivered";
                let reached = inner.overtaken(newest(&answer), deadline).await;
                reached.map_err(|error| if tried.is_some() { unknown(reason) } else { error })?;
                is_current = true;
            }
            Err(Fault::Silent(reason)) => {
                if !is_once(batch) {
                    let delivered = timeout_at(deadline, &mut delivered).await;
                    return delivered.ok().and_then(Result::ok).ok_or_else(|| unknown(&reason));
                }
                // In a moment the watch may tell that it was made.
                let moment = Instant::now() + Duration::from_millis(100);
                if let Ok(Ok(revision)) = timeout_at(moment.min(deadline), &mut delivered).await {
                    return Ok(revision);
                }
                tried = Some(reason);
                is_current = false;
            }
            Err(fault) => return Err(tried.as_deref().map_or_else(|| fault.error(), unknown)),
        }
    }
}

/// Whether a batch would not hold a second time, so that it can be tried again when it is not known whether it was made.
fn is_once(batch: &Batch) -> bool {
    batch.serial.is_some()
        || batch.writes.iter().any(|write| {
            // What is expected not to be there and is deleted holds a second time.
            let changes = |revision: Option<Revision>| write.value.is_some() || revision.is_some();
            batch.expect.iter().any(|expect| expect.key == write.key && changes(expect.revision))
        })
}

fn unknown(reason: &str) -> StoreError {
    StoreError::Unavailable { reason: format!("{reason}; whether the change was made is not known") }
}

/// Nobody waits for a commit any more.
struct Forget<'a> {
    inner: &'a Inner,
    id: Id,
}

impl Drop for Forget<'_> {
    fn drop(&mut self) {
        self.inner.forget(self.id);
    }
}

fn transaction(
    inner: &Inner,
    batch: &Batch,
    id: Id,
    rows: &[(Bytes, Body)],
    parts: u32,
    mut conditions: Vec<Compare>,
    time_ms: i64,
) -> Txn {
    let keys = &inner.keys;
    let put = |key: Vec<u8>, value: Vec<u8>| TxnOp::put(key, value, None);
    let head = Head { time_ms, id, parts, about: batch.about.clone() };
    let mut ops = vec![put(keys.head(), head.encode(&keys.head()))];
    if let Some(serial) = batch.serial {
        let key = keys.serial(serial.name);
        let value = seal(&key, id.bytes().to_vec());
        ops.push(put(key, value));
    }
    if parts > 0 {
        let (staged, unfolded) = (keys.staged(), keys.unfolded(id));
        let value = seal(&staged, id.bytes().to_vec());
        ops.push(put(staged, value));
        let value = seal(&unfolded, parts.to_be_bytes().to_vec());
        ops.push(put(unfolded, value));
        // Not after it was given up on.
        for number in [0, parts - 1] {
            conditions.push(Compare::create_revision(keys.stage_part(id, number), CompareOp::Greater, 0));
        }
    } else {
        for (key, body) in rows {
            let row_key = keys.row(key);
            ops.push(if body.is_live() || inner.keeps_deleted {
                let value = Row { written: None, body: body.clone() }.encode(&row_key);
                put(row_key, value)
            } else {
                TxnOp::delete(row_key, None)
            });
        }
    }
    Txn::new().when(conditions).and_then(ops).or_else([inner.marks_op()])
}

/// The long values that a commit is about to replace.
fn replaced(inner: &Inner, rows: &[(Bytes, Body)]) -> Vec<Id> {
    let mirror = inner.mirror();
    rows.iter().filter_map(|(key, _)| mirror.slots.get(key).and_then(|slot| slot.blob)).collect()
}

/// Lets go of long values that are current no more; history keeps them.
fn discard_blobs(inner: &Arc<Inner>, blobs: Vec<Id>) {
    if blobs.is_empty() {
        return;
    }
    let inner = inner.clone();
    tokio::spawn(async move {
        for id in blobs {
            let txn = Txn::new().and_then([all_below(&inner.keys.blob(id))]);
            // Else it is found when what is left over is looked for.
            let _ = inner.link.change_surely(&txn, inner.soon()).await;
        }
    });
}

fn all_below(prefix: &[u8]) -> TxnOp {
    TxnOp::delete(prefix, Some(DeleteOptions::new().with_range(Keys::end(prefix))))
}

/// Lets go of what was staged for a commit that was not made, or of which that is not known: then it is not made any more.
async fn discard(inner: &Arc<Inner>, id: Id) -> Result<(), StoreError> {
    let keys = &inner.keys;
    let txn = Txn::new()
        .when([Compare::create_revision(keys.unfolded(id), CompareOp::Equal, 0)])
        .and_then([all_below(&keys.stage(id))]);
    inner.link.change_surely(&txn, inner.soon()).await.map(|_| ()).map_err(Fault::error)
}

fn not_in_place() -> StoreError {
    StoreError::Unavailable { reason: "a large commit is not in its place yet".to_owned() }
}

/// Puts the rows of the staged commit where the others are. Everybody may do that, and at the same time.
pub(super) async fn fold(inner: &Arc<Inner>, deadline: Instant) -> Result<(), StoreError> {
    let keys = &inner.keys;
    // One at a time here: others would only try the same.
    let _alone = timeout_at(deadline, inner.folding.lock()).await.map_err(|_| not_in_place())?;
    // The rows up to there are done, as far as is known.
    let mut done = None::<(Id, Bytes)>;
    loop {
        let Some(unfolded) = inner.mirror().unfolded.clone() else { return Ok(()) };
        if Instant::now() >= deadline || inner.broken.load(Ordering::SeqCst) {
            return Err(not_in_place());
        }
        let after = done.take().filter(|(id, _)| *id == unfolded.id).map(|(_, key)| key);
        let some = next_rows(inner, &unfolded, after.as_ref());
        if some.is_empty() && after.is_some() {
            // Once more from the start, to see that none is left.
            continue;
        }
        let mut conditions = vec![Compare::create_revision(keys.unfolded(unfolded.id), CompareOp::Greater, 0)];
        let mut ops = Vec::new();
        for (key, body, row) in &some {
            let row_key = keys.row(key);
            conditions.push(Compare::mod_revision(row_key.clone(), CompareOp::Equal, wire(*row)));
            let value = Row { written: Some(unfolded.revision), body: body.clone() }.encode(&row_key);
            ops.push(TxnOp::put(row_key, value, None));
        }
        let is_last = some.is_empty();
        let mark = if is_last { unfolded.id.bytes().to_vec() } else { Vec::new() };
        let value = seal(&keys.fold(), mark);
        ops.push(TxnOp::put(keys.fold(), value, None));
        if is_last {
            ops.push(TxnOp::delete(keys.unfolded(unfolded.id), None));
            ops.push(all_below(&keys.stage(unfolded.id)));
        }
        let txn = Txn::new().when(conditions).and_then(ops).or_else([inner.marks_op()]);
        match inner.link.change(&txn).await {
            Ok(answer) if answer.succeeded() => {
                let revision = read(answer.header().map_or(0, |header| header.revision()));
                inner.reach(revision, inner.soon()).await?;
                done = some.last().map(|(key, _, _)| (unfolded.id, key.clone()));
            }
            // Somebody else does the same.
            Ok(answer) => {
                inner.overtaken(newest(&answer), inner.soon()).await?;
                done = after.map(|key| (unfolded.id, key));
            }
            Err(Fault::Silent(_)) => {
                sleep(Duration::from_millis(50)).await;
                inner.catch_up(inner.soon()).await?;
            }
            Err(fault) => return Err(fault.error()),
        }
    }
}

/// Some rows that are not in their places yet, each with the revision of what is there.
fn next_rows(inner: &Inner, unfolded: &Unfolded, after: Option<&Bytes>) -> Vec<(Bytes, Body, Revision)> {
    let mirror = inner.mirror();
    let start = after.map_or(Bound::Unbounded, Bound::Excluded);
    let mut some = Vec::new();
    let mut size = 0;
    for (key, body) in unfolded.rows.range::<Bytes, _>((start, Bound::Unbounded)) {
        let row = mirror.slots.get(key).map_or(0, |slot| slot.row);
        // Those that are in their places are newer than the commit.
        if row >= unfolded.revision {
            continue;
        }
        size += key.len() + body.inline_size() + 64;
        if some.len() >= ROWS_MAX || size > BYTES_MAX && !some.is_empty() {
            break;
        }
        some.push((key.clone(), body.clone(), row));
    }
    some
}

/// The newest of the marks that a transaction that did not hold found.
fn newest(answer: &TxnResponse) -> Revision {
    let found = answer.op_responses().into_iter().filter_map(|answer| match answer {
        TxnOpResponse::Get(get) => get.kvs().iter().map(|kv| read(kv.mod_revision())).max(),
        _ => None,
    });
    found.max().unwrap_or_default()
}

/// Lets go of history.
pub(super) async fn compact(inner: &Arc<Inner>, oldest: Revision) -> Result<Revision, StoreError> {
    let deadline = inner.soon();
    let head = loop {
        let (target, floor, compacted) = {
            let mirror = inner.mirror();
            (oldest.min(mirror.revision), mirror.floor, mirror.compacted)
        };
        if target <= floor.max(compacted) {
            return Ok(floor);
        }
        match inner.head_at(target).await {
            Ok(head) => break head,
            // Somebody else let go of more.
            Err(trouble) => match inner.lost(target, target, trouble).await {
                Ok(()) | Err(StoreError::Compacted { .. }) => {}
                Err(error) => return Err(error),
            },
        }
    };
    let floor = inner.mirror().floor;
    let Some((revision, head)) = head.filter(|(revision, _)| *revision > floor) else { return Ok(floor) };
    match inner.link.compact(wire(revision), deadline).await {
        Ok(()) => inner.raise_floor(revision, Some((revision, head.time_ms))),
        Err(Fault::Compacted) => inner.look_for_floor().await,
        Err(fault) => return Err(fault.error()),
    }
    if let Err(error) = clear_away(inner).await {
        tracing::debug!(%error, "what is left over could not be cleared away yet");
    }
    Ok(inner.mirror().floor)
}

/// Clears away rows of deleted records to which history does not reach back, and what was staged and never committed.
pub(super) async fn clear_away(inner: &Arc<Inner>) -> Result<(), StoreError> {
    let keys = &inner.keys;
    let (spent, staged): (Vec<(Bytes, Revision)>, Revision) = {
        let mirror = inner.mirror();
        let unfolded = mirror.unfolded.as_ref();
        let spent = mirror.slots.iter().filter(|(key, slot)| {
            !slot.live
                && slot.row > 0
                && slot.row.max(slot.written) <= mirror.floor.max(mirror.compacted)
                && unfolded.is_none_or(|unfolded| !unfolded.rows.contains_key(*key))
        });
        (spent.take(CLEARED_MAX).map(|(key, slot)| (key.clone(), slot.row)).collect(), mirror.staged)
    };
    for some in spent.chunks(EXPECT_MAX) {
        let row = |(key, row): &(Bytes, Revision)| Compare::mod_revision(keys.row(key), CompareOp::Equal, wire(*row));
        let mut conditions: Vec<Compare> = some.iter().map(row).collect();
        // A commit that was staged meanwhile may write them without touching their rows yet.
        conditions.push(Compare::mod_revision(keys.staged(), CompareOp::Equal, wire(staged)));
        let mut ops: Vec<TxnOp> = some.iter().map(|(key, _)| TxnOp::delete(keys.row(key), None)).collect();
        ops.push(TxnOp::put(keys.fold(), seal(&keys.fold(), Vec::new()), None));
        let txn = Txn::new().when(conditions).and_then(ops);
        inner.link.change(&txn).await.map_err(Fault::error)?;
    }
    let due = {
        let mut next = inner.sweep_at.lock().unwrap_or_else(PoisonError::into_inner);
        let due = *next <= Instant::now();
        if due {
            *next = Instant::now() + SWEEP_EVERY;
        }
        due
    };
    if due { sweep(inner).await } else { Ok(()) }
}

/// Removes what was written for commits that were never made: what nobody used when it was looked for before, and does not now.
async fn sweep(inner: &Arc<Inner>) -> Result<(), StoreError> {
    if inner.age() > PATIENCE {
        // Of what was written lately it does not know whether it is used.
        return Ok(());
    }
    let keys = &inner.keys;
    let mut found = Vec::new();
    for prefix in [keys.all_stages(), keys.all_blobs()] {
        let options = GetOptions::new().with_keys_only().with_range(Keys::end(&prefix));
        let listed = inner.link.get_much(&prefix, &options).await.map_err(Fault::error)?;
        let is_stage = prefix == keys.all_stages();
        found.extend(listed.kvs().iter().filter_map(|kv| keys.id_of(kv.key()).map(|id| (id, is_stage))));
    }
    found.dedup();
    let used: HashSet<Id> = {
        let mirror = inner.mirror();
        let unfolded = mirror.unfolded.iter();
        let staged = unfolded.flat_map(|u| u.rows.values().filter_map(Body::blob).chain([u.id]));
        mirror.slots.values().filter_map(|slot| slot.blob).chain(staged).collect()
    };
    found.retain(|(id, _)| !used.contains(id));
    let before = {
        let unused = found.iter().map(|(id, _)| *id).collect();
        std::mem::replace(&mut *inner.left_over.lock().unwrap_or_else(PoisonError::into_inner), unused)
    };
    for (id, is_stage) in found.into_iter().filter(|(id, _)| before.contains(id)) {
        let all = if is_stage { keys.stage(id) } else { keys.blob(id) };
        let txn = Txn::new()
            .when([Compare::create_revision(keys.unfolded(id), CompareOp::Equal, 0)])
            .and_then([all_below(&all)]);
        inner.link.change(&txn).await.map_err(Fault::error)?;
    }
    Ok(())
}
