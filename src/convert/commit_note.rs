//! What the log keeps of a commit.

use bytes::Bytes;
use prost::Message as _;

use crate::pb::weighbridge::storage::v1 as storage;

/// The bytes of a note.
#[must_use]
pub fn encode_note(note: &storage::CommitNote) -> Bytes {
    note.encode_to_vec().into()
}

/// Reads a note. One that cannot be read says nothing: no record depends on it.
#[must_use]
pub fn decode_note(about: &[u8]) -> storage::CommitNote {
    storage::CommitNote::decode(about).unwrap_or_default()
}
