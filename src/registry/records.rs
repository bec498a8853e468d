//! Stored bytes into catalog changes, and messages into stored bytes.

use bytes::Bytes;
use jiff::Timestamp;

use super::key::Key;
use crate::catalog::{Change, Layer, Payload, Pool, Put, UsePolicyList};
use crate::convert::{self, RecordError, Violation};
use crate::pb::weighbridge::storage::v1 as storage;
use crate::pb::weighbridge::storage::v1::record::Record as Kind;
use crate::pb::weighbridge::v1 as pb;

/// Reads one stored record as a change of the catalog, which shares what it can with the models of a pool. A key of an
/// unknown kind is left alone: a newer release wrote it.
pub(super) fn change(key: &[u8], value: Option<Bytes>, pool: &Pool) -> Result<Option<Change>, RecordError> {
    let Some(key) = Key::read(key) else { return Ok(None) };
    let Some(value) = value else { return Ok(Some(deletion(key))) };
    let record = convert::decode_first(&value)?;
    let invalid = |violations: Vec<Violation>| RecordError::Invalid {
        name: String::from_utf8_lossy(&key.bytes()).into_owned(),
        detail: violations.first().map_or_else(String::new, |v| format!("{}: {}", v.field, v.description)),
    };
    // Nobody else holds them, most often, so that nothing is copied.
    let payload: Payload = Vec::from(value).into();
    let change = match (key.clone(), record.record) {
        (Key::Model(layer, name), Some(Kind::Model(message))) => {
            let mut record = convert::model(message, "").map_err(invalid)?;
            pool.share(&mut record);
            // The name is kept once, too.
            if record.name == name {
                record.name = name.clone();
            }
            Change::Model(layer, name, Some(Put { record, payload }))
        }
        (Key::License(layer, id), Some(Kind::License(message))) => {
            let record = convert::license(message, "").map_err(invalid)?;
            Change::License(layer, id, Some(Box::new(Put { record, payload })))
        }
        (Key::UsePolicy(id), Some(Kind::UsePolicy(message))) => {
            let record = use_policy(message).map_err(invalid)?;
            Change::UsePolicy(id, Some(Put { record, payload }))
        }
        (Key::Provider(id), Some(Kind::Provider(message))) => {
            let record = convert::provider(message).map_err(invalid)?;
            Change::Provider(id, Some(Put { record, payload }))
        }
        (Key::Offering(name), Some(Kind::Offering(message))) => {
            let record = convert::offering(message).map_err(invalid)?;
            Change::Offering(name, Some(Put { record, payload }))
        }
        (Key::UseProfile(id), Some(Kind::UseProfile(_))) => Change::UseProfile(id, Some(Put { record: (), payload })),
        (Key::Waiver(id), Some(Kind::Waiver(message))) => {
            let record = convert::waiver(message, "").map_err(invalid)?;
            Change::Waiver(id, Some(Put { record, payload }))
        }
        (Key::Policy(id), Some(Kind::Policy(message))) => {
            let record = convert::stored_policy(&message).map_err(invalid)?;
            Change::Policy(id, Some(Put { record, payload }))
        }
        (Key::Deployment(id), Some(Kind::Deployment(_))) => Change::Deployment(id, Some(Put { record: (), payload })),
        (Key::SourceRecord(id), Some(Kind::SourceRecord(_))) => Change::SourceRecord(id, Some(payload)),
        (key, _) => {
            let name = String::from_utf8_lossy(&key.bytes()).into_owned();
            return Err(RecordError::Invalid { name, detail: "its key says another kind of record".into() });
        }
    };
    Ok(Some(change))
}

fn deletion(key: Key) -> Change {
    match key {
        Key::Model(layer, name) => Change::Model(layer, name, None),
        Key::License(layer, id) => Change::License(layer, id, None),
        Key::UsePolicy(id) => Change::UsePolicy(id, None),
        Key::Provider(id) => Change::Provider(id, None),
        Key::Offering(name) => Change::Offering(name, None),
        Key::SourceRecord(id) => Change::SourceRecord(id, None),
        Key::UseProfile(id) => Change::UseProfile(id, None),
        Key::Waiver(id) => Change::Waiver(id, None),
        Key::Policy(id) => Change::Policy(id, None),
        Key::Deployment(id) => Change::Deployment(id, None),
    }
}

/// Reads a shared list of barred uses.
pub(super) fn use_policy(message: storage::UsePolicyRecord) -> Result<UsePolicyList, Vec<Violation>> {
    let storage::UsePolicyRecord { id, title: _, url: _, version: _, use_restrictions, notes: _ } = message;
    let restrictions = convert::restrictions(use_restrictions)?;
    Ok(UsePolicyList { id: id.into(), restrictions })
}

/// A record to store.
pub(super) fn record(kind: Kind, actor: &str, created: Timestamp, now: Timestamp) -> Bytes {
    let record = storage::Record {
        actor: actor.to_owned(),
        create_time: Some(time(created)),
        update_time: Some(time(now)),
        record: Some(kind),
        further: Vec::new(),
    };
    convert::encode(record)
}

/// A time as a message.
pub(super) fn time(at: Timestamp) -> prost_types::Timestamp {
    prost_types::Timestamp { seconds: at.as_second(), nanos: at.subsec_nanosecond() }
}

/// A time of the log as a message, if it is one that a timestamp can have.
pub(super) fn log_time(time_ms: i64) -> Option<prost_types::Timestamp> {
    Timestamp::from_millisecond(time_ms).ok().map(time)
}

/// Who made a commit, by what the log keeps of it; empty: not known.
pub(super) fn actor(about: &[u8]) -> String {
    let storage::CommitNote { actor, caller, .. } = convert::decode_note(about);
    if caller.is_empty() { actor } else { format!("{actor} by {caller}") }
}

/// Times of a stored record.
pub(super) struct Times {
    pub(super) created: Option<prost_types::Timestamp>,
    pub(super) updated: Option<prost_types::Timestamp>,
}

/// Reads a payload back as the stored record.
pub(super) fn stored(payload: &[u8]) -> Result<(Kind, Times), RecordError> {
    let storage::Record { actor: _, create_time: created, update_time: updated, record, further: _ } =
        convert::decode(payload)?;
    let kind = record.ok_or(RecordError::Empty)?;
    Ok((kind, Times { created, updated }))
}

/// The etag of a record: it changes with its layer and its revision.
pub(super) fn etag(layer: Layer, revision: u64) -> String {
    let layer = match layer {
        Layer::BuiltIn => 'b',
        Layer::Imported => 'i',
        Layer::Operator => 'o',
    };
    format!("{layer}{revision:x}")
}

/// Who put a record where it is, as a message.
pub(super) fn origin(layer: Layer) -> i32 {
    let origin = match layer {
        Layer::BuiltIn => pb::Origin::BuiltIn,
        Layer::Imported => pb::Origin::Imported,
        Layer::Operator => pb::Origin::Operator,
    };
    origin as i32
}

/// A revision as the wire has it.
pub(super) fn wire_revision(revision: u64) -> i64 {
    i64::try_from(revision).unwrap_or(i64::MAX)
}
