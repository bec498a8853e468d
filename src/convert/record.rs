//! The persisted form: a storage record around a message.

use bytes::Bytes;
use prost::Message as _;

use super::packed;
use crate::pb::weighbridge::storage::v1 as storage;
use crate::pb::weighbridge::v1 as pb;

/// A stored value is no record.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RecordError {
    /// Not protobuf, or not of this message.
    #[error("a stored value is no record: {detail}")]
    Decode {
        /// What the decoder says.
        detail: String,
    },
    /// It holds no record, or one of a kind that this release does not know.
    #[error("a stored value holds no record of a known kind: it may be of a newer release")]
    Empty,
    /// It holds a record that does not meet today's rules.
    #[error("the stored record `{name}` is not valid: {detail}")]
    Invalid {
        /// Name of the record.
        name: String,
        /// The first violation.
        detail: String,
    },
}

/// The bytes to store.
#[must_use]
pub fn encode(mut record: storage::Record) -> Bytes {
    if let Some(storage::record::Record::Model(model)) = &mut record.record {
        let further = pb::Model {
            description: std::mem::take(&mut model.description),
            notes: std::mem::take(&mut model.notes),
            provenance: std::mem::take(&mut model.provenance),
            ..pb::Model::default()
        };
        record.further = packed::pack(further.encode_to_vec());
    }
    packed::pack(record.encode_to_vec()).into()
}

/// Reads a decision of the log.
///
/// # Errors
/// [`RecordError`] when the bytes are none.
pub fn decode_decision(value: &[u8]) -> Result<pb::Decision, RecordError> {
    pb::Decision::decode(value).map_err(|error| RecordError::Decode { detail: error.to_string() })
}

/// Reads stored bytes.
///
/// # Errors
/// [`RecordError`] when they are none.
pub fn decode(value: &[u8]) -> Result<storage::Record, RecordError> {
    let mut record = decode_first(value)?;
    let further = std::mem::take(&mut record.further);
    if let Some(storage::record::Record::Model(model)) = &mut record.record {
        let plain = packed::unpack(&further).map_err(|detail| RecordError::Decode { detail })?;
        model.merge(&*plain).map_err(|e| RecordError::Decode { detail: e.to_string() })?;
    }
    Ok(record)
}

/// Reads stored bytes without what is read for an answer alone.
///
/// # Errors
/// [`RecordError`] when they are none.
pub fn decode_first(value: &[u8]) -> Result<storage::Record, RecordError> {
    let plain = packed::unpack(value).map_err(|detail| RecordError::Decode { detail })?;
    let record = storage::Record::decode(&*plain).map_err(|e| RecordError::Decode { detail: e.to_string() })?;
    if record.record.is_none() {
        return Err(RecordError::Empty);
    }
    Ok(record)
}
