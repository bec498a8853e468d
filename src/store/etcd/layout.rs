//! The keys of a store in etcd, and the bytes of their values.
//!
//! | key below the prefix | value |
//! | --- | --- |
//! | `format` | the version of this layout |
//! | `w/mark/head` | the last commit: its time, id, note, and how many parts are staged of it |
//! | `w/mark/staged` | the id of the last commit that was staged |
//! | `w/mark/fold` | changed with rows that are rewritten without being changed; the id of the commit that is folded now |
//! | `w/serial/`, name | the id of the last commit of a kind of which each is made of all before it |
//! | `w/r/`, key | a row: the current version of a record |
//! | `s/`, id, `/`, number | a part of a commit that is staged: its rows |
//! | `b/`, id, `/`, number | a part of a value that is too long for one |
//! | `l/`, task | held by the process that does a task, with a lease |
//! | `n/`, task | how far the task has come |
//! | `u/`, id | there while the rows of a staged commit are not yet where the others are |
//!
//! Replicas watch all below `w/`. A deleted record leaves a row that says so, until history no longer reaches back to it: so
//! every change of a record is a version of its row. Every value ends in a checksum over its key and itself.

use std::fmt;

use bytes::Bytes;
use xxhash_rust::xxh3::Xxh3;

use crate::store::Revision;

/// The version of the layout.
pub(super) const FORMAT: u64 = 1;

const DELETED: u8 = 0;
const VALUE: u8 = 1;
const SPLIT: u8 = 2;

/// What tells commits and long values apart, in all processes. Begins with its time, in milliseconds since 1970.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Id([u8; 16]);

impl Id {
    pub(super) fn new() -> Id {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
        let mut bytes = [0; 16];
        // A source of chance that fails leaves the time, and a conflict that is seen.
        let _ = getrandom::fill(&mut bytes);
        let time = u64::try_from(now.as_millis()).unwrap_or_default().to_be_bytes();
        for (at, byte) in bytes.iter_mut().zip(time.iter().skip(2)) {
            *at = *byte;
        }
        Id(bytes)
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.0
    }

    pub(super) fn read(bytes: &[u8]) -> Option<Id> {
        bytes.try_into().ok().map(Id)
    }

    fn parse(text: &[u8]) -> Option<Id> {
        let text = std::str::from_utf8(text).ok().filter(|text| text.len() == 32)?;
        u128::from_str_radix(text, 16).ok().map(|number| Id(number.to_be_bytes()))
    }
}

impl fmt::Display for Id {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{:032x}", u128::from_be_bytes(self.0))
    }
}

impl fmt::Debug for Id {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, formatter)
    }
}

/// Names of keys.
#[derive(Clone, Debug)]
pub(super) struct Keys {
    root: String,
}

impl Keys {
    pub(super) fn new(prefix: &str) -> Keys {
        Keys { root: format!("{}/", prefix.trim_end_matches('/')) }
    }

    /// What all keys begin with.
    pub(super) fn root(&self) -> &str {
        &self.root
    }

    fn below(&self, rest: &[u8]) -> Vec<u8> {
        [self.root.as_bytes(), rest].concat()
    }

    /// All that replicas watch.
    pub(super) fn watched(&self) -> Vec<u8> {
        self.below(b"w/")
    }

    pub(super) fn format(&self) -> Vec<u8> {
        self.below(b"format")
    }

    /// The few keys of which each change of a row changes one.
    pub(super) fn marks(&self) -> Vec<u8> {
        self.below(b"w/mark/")
    }

    pub(super) fn head(&self) -> Vec<u8> {
        self.below(b"w/mark/head")
    }

    pub(super) fn staged(&self) -> Vec<u8> {
        self.below(b"w/mark/staged")
    }

    pub(super) fn fold(&self) -> Vec<u8> {
        self.below(b"w/mark/fold")
    }

    pub(super) fn serials(&self) -> Vec<u8> {
        self.below(b"w/serial/")
    }

    pub(super) fn serial(&self, name: &str) -> Vec<u8> {
        [&*self.serials(), name.as_bytes()].concat()
    }

    pub(super) fn rows(&self) -> Vec<u8> {
        self.below(b"w/r/")
    }

    pub(super) fn row(&self, key: &[u8]) -> Vec<u8> {
        [&*self.rows(), key].concat()
    }

    /// The record that a row is of.
    pub(super) fn record(&self, row_key: &[u8]) -> Option<Bytes> {
        let key = row_key.strip_prefix(self.root.as_bytes())?.strip_prefix(b"w/r/")?;
        (!key.is_empty()).then(|| Bytes::copy_from_slice(key))
    }

    pub(super) fn all_stages(&self) -> Vec<u8> {
        self.below(b"s/")
    }

    pub(super) fn stage(&self, id: Id) -> Vec<u8> {
        self.below(format!("s/{id}/").as_bytes())
    }

    pub(super) fn stage_part(&self, id: Id, number: u32) -> Vec<u8> {
        self.below(format!("s/{id}/{number:08}").as_bytes())
    }

    pub(super) fn all_blobs(&self) -> Vec<u8> {
        self.below(b"b/")
    }

    pub(super) fn blob(&self, id: Id) -> Vec<u8> {
        self.below(format!("b/{id}/").as_bytes())
    }

    pub(super) fn blob_part(&self, id: Id, number: u32) -> Vec<u8> {
        self.below(format!("b/{id}/{number:08}").as_bytes())
    }

    /// The id in the key of a part.
    pub(super) fn id_of(&self, key: &[u8]) -> Option<Id> {
        let rest = key.strip_prefix(self.root.as_bytes())?.split(|byte| *byte == b'/').nth(1)?;
        Id::parse(rest)
    }

    pub(super) fn all_unfolded(&self) -> Vec<u8> {
        self.below(b"u/")
    }

    pub(super) fn unfolded(&self, id: Id) -> Vec<u8> {
        self.below(format!("u/{id}").as_bytes())
    }

    pub(super) fn lead(&self, task: &str) -> Vec<u8> {
        self.below(format!("l/{task}").as_bytes())
    }

    pub(super) fn note(&self, task: &str) -> Vec<u8> {
        self.below(format!("n/{task}").as_bytes())
    }

    /// Where all keys end that begin with `prefix`.
    pub(super) fn end(prefix: &[u8]) -> Vec<u8> {
        let mut end = prefix.to_vec();
        // INVARIANT: prefixes end in a slash, which is not the last byte there is.
        if let Some(last) = end.last_mut() {
            *last += 1;
        }
        end
    }
}

/// What a row holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Body {
    Deleted,
    Value(Bytes),
    /// A value in parts of its own.
    Split {
        id: Id,
        parts: u32,
        size: u64,
    },
}

impl Body {
    pub(super) fn is_live(&self) -> bool {
        *self != Self::Deleted
    }

    /// About how many bytes of a row it takes.
    pub(super) fn inline_size(&self) -> usize {
        if let Self::Value(value) = self { value.len() } else { 32 }
    }

    /// The size of the value.
    pub(super) fn size(&self) -> u64 {
        match self {
            Self::Deleted => 0,
            Self::Value(value) => value.len() as u64,
            Self::Split { size, .. } => *size,
        }
    }

    pub(super) fn blob(&self) -> Option<Id> {
        if let Self::Split { id, .. } = self { Some(*id) } else { None }
    }

    fn encode(&self, into: &mut Vec<u8>) {
        match self {
            Self::Deleted => into.push(DELETED),
            Self::Value(value) => {
                into.push(VALUE);
                into.extend_from_slice(value);
            }
            Self::Split { id, parts, size } => {
                into.push(SPLIT);
                into.extend_from_slice(&id.0);
                into.extend_from_slice(&parts.to_be_bytes());
                into.extend_from_slice(&size.to_be_bytes());
            }
        }
    }

    fn decode(bytes: &[u8]) -> Option<Body> {
        let (kind, rest) = bytes.split_first()?;
        match *kind {
            DELETED if rest.is_empty() => Some(Self::Deleted),
            VALUE => Some(Self::Value(Bytes::copy_from_slice(rest))),
            SPLIT => {
                let mut reader = Reader(rest);
                let (id, parts, size) = (Id::read(reader.take(16)?)?, reader.number()?, reader.long()?);
                reader.0.is_empty().then_some(Self::Split { id, parts, size })
            }
            _ => None,
        }
    }
}

/// A row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Row {
    /// The commit that wrote it, where the row was put in its place later; else that is the row's own revision.
    pub(super) written: Option<Revision>,
    pub(super) body: Body,
}

impl Row {
    pub(super) fn encode(&self, row_key: &[u8]) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(usize::try_from(self.body.size()).unwrap_or_default().saturating_add(48));
        bytes.extend_from_slice(&self.written.unwrap_or_default().to_be_bytes());
        self.body.encode(&mut bytes);
        seal(row_key, bytes)
    }

    pub(super) fn decode(row_key: &[u8], bytes: &[u8]) -> Option<Row> {
        let mut reader = Reader(unseal(row_key, bytes)?);
        let written = reader.long()?;
        Some(Row { written: (written > 0).then_some(written), body: Body::decode(reader.0)? })
    }
}

/// What a commit leaves of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Head {
    /// In milliseconds since 1970, never before that.
    pub(super) time_ms: i64,
    pub(super) id: Id,
    /// How many parts were staged; 0: its rows were written with it.
    pub(super) parts: u32,
    pub(super) about: Bytes,
}

impl Head {
    pub(super) fn encode(&self, key: &[u8]) -> Vec<u8> {
        let mut bytes = Head::time(self.time_ms);
        bytes.extend_from_slice(&self.id.0);
        bytes.extend_from_slice(&self.parts.to_be_bytes());
        bytes.extend_from_slice(&self.about);
        seal(key, bytes)
    }

    /// What it begins with: bytes are in the order of times, so that etcd can compare them.
    pub(super) fn time(time_ms: i64) -> Vec<u8> {
        u64::try_from(time_ms).unwrap_or_default().to_be_bytes().to_vec()
    }

    pub(super) fn decode(key: &[u8], bytes: &[u8]) -> Option<Head> {
        let mut reader = Reader(unseal(key, bytes)?);
        let time_ms = i64::try_from(reader.long()?).ok()?;
        let (id, parts) = (Id::read(reader.take(16)?)?, reader.number()?);
        Some(Head { time_ms, id, parts, about: Bytes::copy_from_slice(reader.0) })
    }
}

/// The rows of a commit that is staged, in parts of at most about `size_max` bytes.
pub(super) fn encode_parts(rows: &[(Bytes, Body)], size_max: usize) -> Vec<Vec<u8>> {
    let mut parts = Vec::new();
    let mut part = Vec::new();
    for (key, body) in rows {
        let mut row = Vec::new();
        body.encode(&mut row);
        if !part.is_empty() && part.len() + row.len() + key.len() > size_max {
            parts.push(std::mem::take(&mut part));
        }
        // INVARIANT: keys have at most 1,024 bytes, and rows at most some hundred thousand.
        part.extend_from_slice(&u16::try_from(key.len()).unwrap_or(u16::MAX).to_be_bytes());
        part.extend_from_slice(key);
        part.extend_from_slice(&u32::try_from(row.len()).unwrap_or(u32::MAX).to_be_bytes());
        part.extend_from_slice(&row);
    }
    parts.push(part);
    parts
}

/// Reads a part; its rows are added to `rows`.
pub(super) fn decode_part(part: &[u8], rows: &mut Vec<(Bytes, Body)>) -> Option<()> {
    let mut reader = Reader(part);
    while !reader.0.is_empty() {
        let size = usize::from(u16::from_be_bytes(reader.array()?));
        let key = Bytes::copy_from_slice(reader.take(size)?);
        let size = usize::try_from(reader.number()?).ok()?;
        rows.push((key, Body::decode(reader.take(size)?)?));
    }
    Some(())
}

struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, size: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(size)?;
        self.0 = rest;
        Some(taken)
    }

    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        self.take(N)?.try_into().ok()
    }

    fn number(&mut self) -> Option<u32> {
        self.array().map(u32::from_be_bytes)
    }

    fn long(&mut self) -> Option<u64> {
        self.array().map(u64::from_be_bytes)
    }
}

/// Adds a checksum over the key and the bytes.
pub(super) fn seal(key: &[u8], mut bytes: Vec<u8>) -> Vec<u8> {
    let sum = checksum(key, &bytes);
    bytes.extend_from_slice(&sum.to_be_bytes());
    bytes
}

/// What was sealed; `None`: it was changed, or is of another key.
pub(super) fn unseal<'a>(key: &[u8], bytes: &'a [u8]) -> Option<&'a [u8]> {
    let (body, sum) = bytes.split_last_chunk::<8>()?;
    (checksum(key, body) == u64::from_be_bytes(*sum)).then_some(body)
}

fn checksum(key: &[u8], body: &[u8]) -> u64 {
    let mut hasher = Xxh3::new();
    hasher.update(&(key.len() as u64).to_be_bytes());
    hasher.update(key);
    hasher.update(body);
    hasher.digest()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_read_back_and_only_under_their_key() {
        let id = Id::new();
        let bodies =
            [Body::Deleted, Body::Value(Bytes::new()), Body::Value("v".into()), Body::Split { id, parts: 3, size: 9 }];
        for body in bodies.clone() {
            for written in [None, Some(7)] {
                let row = Row { written, body: body.clone() };
                let bytes = row.encode(b"k");
                assert_eq!(Row::decode(b"k", &bytes), Some(row));
                assert_eq!(Row::decode(b"l", &bytes), None);
                for at in 0..bytes.len() {
                    let mut damaged = bytes.clone();
                    damaged[at] ^= 1;
                    assert_eq!(Row::decode(b"k", &damaged), None);
                }
            }
        }
        let head = Head { time_ms: 5, id, parts: 2, about: "me".into() };
        assert_eq!(Head::decode(b"h", &head.encode(b"h")), Some(head.clone()));
        // In the order of times, as etcd compares them.
        assert!(head.encode(b"h") < Head::time(6) && head.encode(b"h") > Head::time(5));
        let rows: Vec<_> =
            bodies.into_iter().enumerate().map(|(i, body)| (Bytes::from(format!("key/{i}")), body)).collect();
        for size_max in [1, 20, 10_000] {
            let parts = encode_parts(&rows, size_max);
            let mut again = Vec::new();
            parts.iter().for_each(|part| decode_part(part, &mut again).unwrap());
            assert_eq!(again, rows);
            assert_eq!(parts.len(), if size_max == 1 { 4 } else { parts.len() });
        }
        assert_eq!(decode_part(b"\0\x09x", &mut Vec::new()), None);
    }

    #[test]
    fn keys_are_read_back() {
        let keys = Keys::new("weighbridge/");
        let id = Id::new();
        assert_eq!(keys.record(&keys.row(b"models/a/b")), Some("models/a/b".into()));
        assert_eq!(keys.record(&keys.head()), None);
        assert_eq!(keys.id_of(&keys.stage_part(id, 3)), Some(id));
        assert_eq!(keys.id_of(&keys.unfolded(id)), Some(id));
        assert_eq!(keys.id_of(&keys.head()), None);
        let (start, end) = (keys.rows(), Keys::end(&keys.rows()));
        assert!(start < keys.row(b"\xff\xff") && keys.row(b"\xff\xff") < end);
    }
}
