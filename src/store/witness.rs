//! The witness: a small file beside the data that says what it must amount to.
//!
//! An engine that loses its newest writes rolls back to an older state that
//! looks healthy, together with anything stored inside it. So the acknowledged
//! revision is also kept outside, in `HEAD`: two slots written in turn, so that
//! a write torn by a crash leaves the other slot as it was.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write as _};
use std::path::{Path, PathBuf};

use xxhash_rust::xxh3::xxh3_64;

use super::hook::{Hook, Step};
use super::layout::sync_directory;
use super::plan::Totals;
use super::rows::Digest;
use super::{Revision, StoreError};

const FILE_NAME: &str = "HEAD";
const MAGIC: &[u8; 8] = b"WBHEAD\r\n";
const SLOT_FORMAT: u32 = 1;
/// A slot fills a page of its own: the unit a disk and a file system write.
const SLOT_SIZE_BYTES: usize = 4096;
const ENTRY_SIZE_BYTES: usize = 92;

/// What was found at the place of the witness.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Seen {
    /// There is no such file.
    Missing,
    /// There is one, and neither slot is intact.
    Unreadable,
    /// The newest intact slot, and whether the other one is not.
    Intact(Witness, Torn),
}

/// Whether a slot cannot be read, so that the witness may be older than what was acknowledged last.
pub(super) type Torn = bool;

/// The content of one slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Witness {
    sequence: u64,
    pub(super) totals: Totals,
}

/// The open witness file.
#[derive(Debug)]
pub(super) struct HeadFile {
    file: File,
    path: PathBuf,
    sequence: u64,
    hook: Hook,
}

impl Seen {
    pub(super) fn revision(&self) -> Option<Revision> {
        match self {
            Seen::Intact(witness, _) => Some(witness.totals.revision),
            Seen::Missing | Seen::Unreadable => None,
        }
    }
}

/// Reads the witness of the store in `directory`.
pub(super) fn read(directory: &Path) -> Result<Seen, StoreError> {
    let path = directory.join(FILE_NAME);
    let mut content = Vec::with_capacity(2 * SLOT_SIZE_BYTES);
    let opened = File::open(&path);
    match opened.and_then(|file| file.take(2 * SLOT_SIZE_BYTES as u64).read_to_end(&mut content)) {
        Ok(_) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Seen::Missing),
        Err(error) => return Err(StoreError::io("read the witness", &path, error)),
    }
    let slots: Vec<_> = content.chunks(SLOT_SIZE_BYTES).filter_map(decode).collect();
    let torn = slots.len() == 1;
    if torn {
        tracing::warn!(path = %path.display(), "one slot of the witness is torn or damaged");
    }
    let newest = slots.into_iter().max_by_key(|witness| witness.sequence);
    Ok(newest.map_or(Seen::Unreadable, |witness| Seen::Intact(witness, torn)))
}

impl HeadFile {
    /// Makes the witness of a new folder, complete or not at all.
    pub(super) fn create(directory: &Path, totals: Totals) -> Result<(), StoreError> {
        let draft = directory.join("HEAD.new");
        let mut content = Vec::with_capacity(2 * SLOT_SIZE_BYTES);
        for sequence in 0..2 {
            content.extend_from_slice(&slot(Witness { sequence, totals }));
        }
        let written = File::create(&draft).and_then(|mut file| file.write_all(&content).and_then(|()| file.sync_all()));
        written.map_err(|error| StoreError::io("write the witness", &draft, error))?;
        let path = directory.join(FILE_NAME);
        fs::rename(&draft, &path).map_err(|error| StoreError::io("name the witness", &path, error))?;
        sync_directory(directory)
    }

    /// Opens the witness that `newest` was read from.
    pub(super) fn open(directory: &Path, newest: Witness, hook: Hook) -> Result<HeadFile, StoreError> {
        let path = directory.join(FILE_NAME);
        let file = OpenOptions::new()
            .write(true)
            .open(&path)
            .map_err(|error| StoreError::io("open the witness", &path, error))?;
        Ok(HeadFile { file, path, sequence: newest.sequence, hook })
    }

    /// Writes the next slot; durable when it returns.
    pub(super) fn advance(&mut self, totals: Totals) -> Result<(), StoreError> {
        let sequence = self.sequence + 1;
        // INVARIANT: slot = sequence modulo 2, so the newest slot is never overwritten.
        let offset = (sequence % 2) * SLOT_SIZE_BYTES as u64;
        let written = self
            .hook
            .before(Step::Witness)
            .and_then(|()| self.file.seek(SeekFrom::Start(offset)))
            .and_then(|_| self.file.write_all(&slot(Witness { sequence, totals })))
            .and_then(|()| self.file.sync_data());
        written.map_err(|source| StoreError::Unsynced { path: self.path.clone(), source })?;
        self.sequence = sequence;
        Ok(())
    }
}

fn slot(witness: Witness) -> Vec<u8> {
    let mut slot = Vec::with_capacity(SLOT_SIZE_BYTES);
    slot.extend_from_slice(MAGIC);
    slot.extend_from_slice(&SLOT_FORMAT.to_be_bytes());
    slot.extend_from_slice(&witness.sequence.to_be_bytes());
    let Totals { revision, floor, time_ms, floor_time_ms, live, bytes, digest } = witness.totals;
    for number in [revision, floor, live, bytes] {
        slot.extend_from_slice(&number.to_be_bytes());
    }
    for time in [time_ms, floor_time_ms] {
        slot.extend_from_slice(&time.to_be_bytes());
    }
    slot.extend_from_slice(&digest.0.to_be_bytes());
    slot.extend_from_slice(&xxh3_64(&slot).to_be_bytes());
    debug_assert_eq!(slot.len(), ENTRY_SIZE_BYTES);
    slot.resize(SLOT_SIZE_BYTES, 0);
    slot
}

fn decode(slot: &[u8]) -> Option<Witness> {
    let entry = slot.get(..ENTRY_SIZE_BYTES)?;
    let (body, checksum) = entry.split_last_chunk::<8>()?;
    if xxh3_64(body) != u64::from_be_bytes(*checksum) {
        return None;
    }
    let (magic, body) = body.split_first_chunk::<8>()?;
    let (format, body) = body.split_first_chunk::<4>()?;
    if magic != MAGIC || u32::from_be_bytes(*format) != SLOT_FORMAT {
        return None;
    }
    let mut body = body;
    let mut number = || {
        let (number, rest) = body.split_first_chunk::<8>()?;
        body = rest;
        Some(*number)
    };
    let sequence = u64::from_be_bytes(number()?);
    let [revision, floor, live, bytes] = [number()?, number()?, number()?, number()?].map(u64::from_be_bytes);
    let [time_ms, floor_time_ms] = [number()?, number()?].map(i64::from_be_bytes);
    let digest = Digest(u128::from_be_bytes(body.try_into().ok()?));
    Some(Witness { sequence, totals: Totals { revision, floor, time_ms, floor_time_ms, live, bytes, digest } })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn totals(revision: Revision) -> Totals {
        let digest = Digest(u128::from(revision) << 70);
        Totals { revision, floor: 3, time_ms: -9, floor_time_ms: 8, live: revision / 2, bytes: 7, digest }
    }

    fn intact(directory: &Path) -> Option<Totals> {
        match read(directory).unwrap() {
            Seen::Intact(witness, _) => Some(witness.totals),
            Seen::Missing | Seen::Unreadable => None,
        }
    }

    fn created(directory: &Path) -> HeadFile {
        HeadFile::create(directory, totals(0)).unwrap();
        let Seen::Intact(witness, false) = read(directory).unwrap() else { panic!("it was just made") };
        HeadFile::open(directory, witness, Hook::default()).unwrap()
    }

    #[test]
    fn the_newest_slot_wins() {
        let directory = tempfile::tempdir().unwrap();
        assert_eq!(read(directory.path()).unwrap(), Seen::Missing);
        let mut head = created(directory.path());
        assert_eq!(intact(directory.path()), Some(totals(0)));
        for revision in 1..6 {
            head.advance(totals(revision)).unwrap();
            assert_eq!(intact(directory.path()), Some(totals(revision)));
        }
    }

    #[test]
    fn a_torn_slot_leaves_the_one_before() {
        for last in [4, 5] {
            let directory = tempfile::tempdir().unwrap();
            let mut head = created(directory.path());
            for revision in 1..=last {
                head.advance(totals(revision)).unwrap();
            }
            let path = directory.path().join(FILE_NAME);
            let sound = fs::read(&path).unwrap();
            let newest = usize::try_from(head.sequence % 2).unwrap() * SLOT_SIZE_BYTES;
            for at in 0..ENTRY_SIZE_BYTES {
                let mut torn = sound.clone();
                torn[newest + at] ^= 0x10;
                fs::write(&path, &torn).unwrap();
                assert_eq!(intact(directory.path()), Some(totals(last - 1)), "byte {at}");
            }
        }
    }

    #[test]
    fn two_damaged_slots_are_unreadable() {
        let directory = tempfile::tempdir().unwrap();
        for garbage in [vec![], vec![7; 10], vec![0; 8192], vec![0xff; 20_000]] {
            fs::write(directory.path().join(FILE_NAME), garbage).unwrap();
            assert_eq!(read(directory.path()).unwrap(), Seen::Unreadable);
        }
    }
}
