//! The bytes of a row.
//!
//! Two kinds of rows, ordered by their first byte:
//!
//! | row key | row |
//! | --- | --- |
//! | `l`, revision | first revision of its group, time, totals, note, changed keys, checksum |
//! | `v`, key, 0, revision | operation, value, checksum |
//!
//! Numbers are big-endian, so rows sort by revision, and versions by key and
//! then by revision: keys hold no zero byte. Rows never change; the current
//! record is a key's newest version. Every row ends in a checksum over its row
//! key and itself, so a row that moved is as damaged as one that changed.
//!
//! Below the *floor*, the oldest revision that can still be read, a row counts
//! only if it is a key's newest version there and holds a value. The others are
//! *spent*: whether they are still there makes no difference, see [`Sieve`].

use bytes::Bytes;
use xxhash_rust::xxh3::Xxh3;

use super::Revision;

/// The first byte of a log row's key.
pub(super) const LOG: u8 = b'l';
/// The first byte of a version row's key.
pub(super) const VERSION: u8 = b'v';

/// A row with its key.
pub(super) type Row = (Vec<u8>, Vec<u8>);

const DELETE: u8 = 0;
const PUT: u8 = 1;

/// One version of a key.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Version<'a> {
    pub(super) key: &'a [u8],
    pub(super) revision: Revision,
    /// `None` when this version deleted the key.
    pub(super) value: Option<&'a [u8]>,
}

/// One commit in the log; the values are in the version rows.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct LogEntry {
    pub(super) revision: Revision,
    /// The first revision of the group this commit was made durable with.
    pub(super) group_first: Revision,
    /// When it was committed, in milliseconds since 1970; never before an earlier commit.
    pub(super) time_ms: i64,
    /// Live records after this commit.
    pub(super) live: u64,
    /// Size of all rows that count up to this commit, without this log row itself.
    pub(super) bytes: u64,
    /// The digest of the same rows.
    pub(super) digest: Digest,
    /// What the writer says of the commit; opaque.
    pub(super) about: Bytes,
    /// The changed keys, and whether each was put (or deleted).
    pub(super) changes: Vec<(Bytes, bool)>,
}

/// A sum over all rows that does not depend on their order: a missing,
/// additional or changed row changes it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Digest(pub(super) u128);

impl Digest {
    pub(super) fn add(&mut self, row_key: &[u8], row: &[u8]) {
        let mut hasher = Xxh3::new();
        // The length keeps the boundary between key and row in the hash.
        hasher.update(&(row_key.len() as u64).to_be_bytes());
        hasher.update(row_key);
        hasher.update(row);
        self.0 = self.0.wrapping_add(hasher.digest128());
    }

    pub(super) fn remove(&mut self, row_key: &[u8], row: &[u8]) {
        let mut removed = Digest::default();
        removed.add(row_key, row);
        self.0 = self.0.wrapping_sub(removed.0);
    }
}

/// The row key of one version.
pub(super) fn version_key(key: &[u8], revision: Revision) -> Vec<u8> {
    let mut row_key = Vec::with_capacity(key.len() + 10);
    row_key.push(VERSION);
    row_key.extend_from_slice(key);
    row_key.push(0);
    row_key.extend_from_slice(&revision.to_be_bytes());
    row_key
}

/// The key and revision that a version's row key names.
pub(super) fn split_version_key(row_key: &[u8]) -> Option<(&[u8], Revision)> {
    let (rest, revision) = row_key.split_last_chunk::<8>()?;
    let (separator, rest) = rest.split_last()?;
    let (kind, key) = rest.split_first()?;
    let well_formed = *kind == VERSION && *separator == 0 && !key.is_empty() && !key.contains(&0);
    well_formed.then_some((key, Revision::from_be_bytes(*revision)))
}

/// A row as people look for it: by key and revision.
pub(super) fn shown(row_key: &[u8]) -> String {
    match (split_log_key(row_key), split_version_key(row_key)) {
        (Some(revision), _) => format!("the log entry of revision {revision}"),
        (_, Some((key, revision))) => format!("`{}` of revision {revision}", key.escape_ascii()),
        _ => format!("`{}`", row_key.escape_ascii()),
    }
}

/// The row of one version.
pub(super) fn encode_version(row_key: &[u8], value: Option<&[u8]>) -> Vec<u8> {
    let mut row = Vec::with_capacity(value.map_or(0, <[u8]>::len) + 9);
    row.push(if value.is_some() { PUT } else { DELETE });
    row.extend_from_slice(value.unwrap_or_default());
    seal(row_key, row)
}

/// Reads a version; `None` if the row is damaged.
pub(super) fn decode_version<'a>(row_key: &'a [u8], row: &'a [u8]) -> Option<Version<'a>> {
    let (key, revision) = split_version_key(row_key)?;
    let (operation, value) = unseal(row_key, row)?.split_first()?;
    let value = match *operation {
        PUT => Some(value),
        DELETE if value.is_empty() => None,
        _ => return None,
    };
    Some(Version { key, revision, value })
}

/// The row key of one commit in the log.
pub(super) fn log_key(revision: Revision) -> Vec<u8> {
    let mut row_key = Vec::with_capacity(9);
    row_key.push(LOG);
    row_key.extend_from_slice(&revision.to_be_bytes());
    row_key
}

/// The row of one commit in the log.
pub(super) fn encode_log(row_key: &[u8], entry: &LogEntry) -> Vec<u8> {
    let mut row = Vec::with_capacity(80 + entry.about.len() + entry.changes.len() * 40);
    row.extend_from_slice(&entry.group_first.to_be_bytes());
    row.extend_from_slice(&entry.time_ms.to_be_bytes());
    row.extend_from_slice(&entry.live.to_be_bytes());
    row.extend_from_slice(&entry.bytes.to_be_bytes());
    row.extend_from_slice(&entry.digest.0.to_be_bytes());
    // INVARIANT: notes are no longer than `NOTE_SIZE_BYTES_MAX`, which fits.
    row.extend_from_slice(&u32::try_from(entry.about.len()).unwrap_or(u32::MAX).to_be_bytes());
    row.extend_from_slice(&entry.about);
    for (key, is_put) in &entry.changes {
        row.push(if *is_put { PUT } else { DELETE });
        row.extend_from_slice(key);
        // Keys hold no zero byte, so it ends them.
        row.push(0);
    }
    seal(row_key, row)
}

/// The revision that a log row's key names.
pub(super) fn split_log_key(row_key: &[u8]) -> Option<Revision> {
    let (kind, revision) = row_key.split_first()?;
    let revision = Revision::from_be_bytes(revision.try_into().ok()?);
    (*kind == LOG).then_some(revision)
}

/// Reads a commit of the log; `None` if the row is damaged.
pub(super) fn decode_log(row_key: &[u8], row: &[u8]) -> Option<LogEntry> {
    let revision = split_log_key(row_key)?;
    let body = unseal(row_key, row)?;
    let (group_first, body) = body.split_first_chunk::<8>()?;
    let (time_ms, body) = body.split_first_chunk::<8>()?;
    let (live, body) = body.split_first_chunk::<8>()?;
    let (bytes, body) = body.split_first_chunk::<8>()?;
    let (digest, body) = body.split_first_chunk::<16>()?;
    let (about_size, body) = body.split_first_chunk::<4>()?;
    let (about, mut body) = body.split_at_checked(usize::try_from(u32::from_be_bytes(*about_size)).ok()?)?;
    let mut changes = Vec::new();
    while let Some((operation, rest)) = body.split_first() {
        let end = rest.iter().position(|byte| *byte == 0)?;
        let (key, rest) = rest.split_at_checked(end)?;
        changes.push((Bytes::copy_from_slice(key), *operation == PUT));
        body = rest.get(1..)?;
    }
    Some(LogEntry {
        revision,
        group_first: Revision::from_be_bytes(*group_first),
        time_ms: i64::from_be_bytes(*time_ms),
        live: u64::from_be_bytes(*live),
        bytes: u64::from_be_bytes(*bytes),
        digest: Digest(u128::from_be_bytes(*digest)),
        about: Bytes::copy_from_slice(about),
        changes,
    })
}

/// Whether a version row deletes its key; known without reading all of it.
fn is_deletion(row: &[u8]) -> bool {
    row.first() == Some(&DELETE)
}

/// Tells the rows that count from those that are spent; feed it rows in key order.
#[derive(Debug)]
pub(super) struct Sieve<R> {
    floor: Revision,
    /// A version at or below the floor, until it is known whether a newer one is there as well.
    held: Option<(R, R)>,
}

/// Whether a row counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    /// It counts.
    Kept,
    /// Only history before the floor needed it.
    Spent,
}

impl<R: AsRef<[u8]>> Sieve<R> {
    pub(super) fn new(floor: Revision) -> Self {
        Self { floor, held: None }
    }

    /// Takes a row in; says the fate of it, or of one before it, or of both, in key order.
    pub(super) fn row(&mut self, row_key: R, row: R, mut tell: impl FnMut(Fate, R, R)) {
        let low = split_version_key(row_key.as_ref()).map(|(key, revision)| (key, revision <= self.floor));
        if let Some((held_key, held_row)) = self.held.take() {
            let superseded = match (split_version_key(held_key.as_ref()), low) {
                (Some((held, _)), Some((key, true))) => held == key,
                _ => false,
            };
            tell(fate(superseded, held_row.as_ref()), held_key, held_row);
        }
        match (low, split_log_key(row_key.as_ref())) {
            (Some((_, true)), _) => self.held = Some((row_key, row)),
            (None, Some(revision)) if revision <= self.floor => tell(Fate::Spent, row_key, row),
            // What is not even a row counts: it is damage that must be seen.
            _ => tell(Fate::Kept, row_key, row),
        }
    }

    /// Says the fate of the last row.
    pub(super) fn finish(self, mut tell: impl FnMut(Fate, R, R)) {
        if let Some((row_key, row)) = self.held {
            tell(fate(false, row.as_ref()), row_key, row);
        }
    }
}

fn fate(superseded: bool, row: &[u8]) -> Fate {
    if superseded || is_deletion(row) { Fate::Spent } else { Fate::Kept }
}

/// Whether a row is one, and as it was written.
pub(super) fn is_sound(row_key: &[u8], row: &[u8]) -> bool {
    match row_key.first() {
        Some(&LOG) => decode_log(row_key, row).is_some(),
        _ => decode_version(row_key, row).is_some(),
    }
}

fn seal(row_key: &[u8], mut row: Vec<u8>) -> Vec<u8> {
    let checksum = checksum(row_key, &row);
    row.extend_from_slice(&checksum.to_be_bytes());
    row
}

fn unseal<'a>(row_key: &[u8], row: &'a [u8]) -> Option<&'a [u8]> {
    let (body, sum) = row.split_last_chunk::<8>()?;
    (checksum(row_key, body) == u64::from_be_bytes(*sum)).then_some(body)
}

fn checksum(row_key: &[u8], body: &[u8]) -> u64 {
    let mut hasher = Xxh3::new();
    hasher.update(&(row_key.len() as u64).to_be_bytes());
    hasher.update(row_key);
    hasher.update(body);
    hasher.digest()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_sort_by_key_and_then_by_revision() {
        let ordered = [("a", 1), ("a", 256), ("a", u64::MAX), ("a\u{1}", 1), ("ab", 0), ("b", 7)];
        let row_keys: Vec<_> = ordered.iter().map(|(k, r)| version_key(k.as_bytes(), *r)).collect();
        assert!(row_keys.is_sorted());
    }

    #[test]
    fn a_version_with_any_changed_byte_is_refused() {
        let row_key = version_key(b"models/x", 7);
        let row = encode_version(&row_key, Some(b"value"));
        let decoded = decode_version(&row_key, &row).unwrap();
        assert_eq!((decoded.key, decoded.revision), (&b"models/x"[..], 7));
        assert_eq!(decoded.value, Some(&b"value"[..]));
        for at in 0..row.len() {
            let mut changed = row.clone();
            changed[at] ^= 1;
            assert_eq!(decode_version(&row_key, &changed), None, "byte {at}");
        }
        assert_eq!(decode_version(&version_key(b"models/y", 7), &row), None, "moved");
        assert_eq!(decode_version(&row_key, &row[..row.len() - 1]), None, "cut");
    }

    #[test]
    fn a_log_entry_round_trips_and_changed_bytes_are_refused() {
        let entry = LogEntry {
            revision: 9,
            group_first: 8,
            time_ms: -5,
            live: 3,
            bytes: 77,
            digest: Digest(1 << 100),
            about: "by me\0".into(),
            changes: vec![("a".into(), true), ("b/c".into(), false)],
        };
        let row_key = log_key(9);
        let row = encode_log(&row_key, &entry);
        assert_eq!(decode_log(&row_key, &row), Some(entry));
        for at in 0..row.len() {
            let mut changed = row.clone();
            changed[at] ^= 0x80;
            assert_eq!(decode_log(&row_key, &changed), None, "byte {at}");
        }
    }

    #[test]
    fn below_the_floor_only_the_newest_value_of_a_key_counts() {
        let version = |key: &str, revision, value: Option<&[u8]>| {
            let row_key = version_key(key.as_bytes(), revision);
            let row = encode_version(&row_key, value);
            (row_key, row)
        };
        let log = |revision: Revision| (log_key(revision), vec![0]);
        let value = Some(&b"v"[..]);
        let rows = [
            (log(4), Fate::Spent),
            (log(5), Fate::Spent),
            (log(6), Fate::Kept),
            (version("a", 1, value), Fate::Spent),
            (version("a", 5, value), Fate::Kept),
            (version("a", 6, value), Fate::Kept),
            (version("b", 2, value), Fate::Spent),
            (version("b", 3, None), Fate::Spent),
            (version("b", 7, value), Fate::Kept),
            (version("c", 4, None), Fate::Spent),
            (version("d", 6, None), Fate::Kept),
            (version("e", 5, value), Fate::Kept),
        ];
        let (mut sieve, mut told) = (Sieve::new(5), Vec::new());
        for ((row_key, row), _) in rows.clone() {
            sieve.row(row_key, row, |fate, row_key, row| told.push(((row_key, row), fate)));
        }
        sieve.finish(|fate, row_key, row| told.push(((row_key, row), fate)));
        assert_eq!(told, rows);
    }
}
