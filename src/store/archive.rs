//! The form of a backup: one file for several stores.
//!
//! ```text
//! archive = magic format frame*
//! frame   = length(u32) kind(u8) payload checksum(u64)
//! kind    = `L` a section begins: its label · `P` a part of it · `Z` the end: number of sections
//! part    = `r` rows: (key length(u16) key row length(u32) row)* · `e` the end of a section: totals
//! ```
//!
//! Numbers are big-endian. A checksum is over the one before it, the kind and the payload, so that no frame can be
//! missing, moved or repeated. The rows are those of the store, each with a checksum of its own.

use std::io::{self, Read, Write};

use bytes::Bytes;
use xxhash_rust::xxh3::Xxh3;

use super::plan::Totals;
use super::rows::Digest;
use super::{Sink, StoreError};

const MAGIC: &[u8; 8] = b"WBBACKUP";
const FORMAT: u32 = 1;
/// A part is given out when it has grown so large.
const PART_BYTES: usize = 256 << 10;
/// The largest frame that is read; a part holds at least one row, whatever its size.
const FRAME_BYTES_MAX: u32 = 256 << 20;
const LABEL_BYTES_MAX: usize = 200;

const SECTION: u8 = b'L';
const PART: u8 = b'P';
const END: u8 = b'Z';
const ROWS: u8 = b'r';
const TOTALS: u8 = b'e';

/// Writes a backup.
#[derive(Debug)]
pub struct ArchiveWriter<W> {
    output: W,
    chain: u64,
    sections: u32,
}

impl<W: Write> ArchiveWriter<W> {
    /// Begins a backup.
    ///
    /// # Errors
    /// The output's.
    pub fn new(mut output: W) -> io::Result<Self> {
        output.write_all(MAGIC)?;
        output.write_all(&FORMAT.to_be_bytes())?;
        Ok(Self { output, chain: 0, sections: 0 })
    }

    /// Begins the section of a store.
    ///
    /// # Errors
    /// The output's.
    pub fn section(&mut self, label: &str) -> io::Result<()> {
        self.sections += 1;
        self.frame(SECTION, label.as_bytes())
    }

    /// Adds a part of the section, as [`super::Store::backup`] gives it out.
    ///
    /// # Errors
    /// The output's.
    pub fn part(&mut self, part: &[u8]) -> io::Result<()> {
        self.frame(PART, part)
    }

    /// Ends the backup; without this it is not whole.
    ///
    /// # Errors
    /// The output's.
    pub fn finish(mut self) -> io::Result<W> {
        let sections = self.sections.to_be_bytes();
        self.frame(END, &sections)?;
        self.output.flush()?;
        Ok(self.output)
    }

    /// Where it is written to.
    pub fn output(&self) -> &W {
        &self.output
    }

    fn frame(&mut self, kind: u8, payload: &[u8]) -> io::Result<()> {
        let length = u32::try_from(payload.len()).ok().filter(|length| *length <= FRAME_BYTES_MAX);
        let length = length.ok_or_else(|| io::Error::other("a part is too large for a backup"))?;
        self.chain = chained(self.chain, kind, payload);
        self.output.write_all(&length.to_be_bytes())?;
        self.output.write_all(&[kind])?;
        self.output.write_all(payload)?;
        self.output.write_all(&self.chain.to_be_bytes())
    }
}

/// A piece of a backup.
#[derive(Debug)]
pub enum Frame {
    /// The section of a store begins.
    Section(String),
    /// A part of it.
    Part(Vec<u8>),
    /// Nothing more follows.
    End,
}

/// Reads a backup, and refuses what is not as it was written.
#[derive(Debug)]
pub struct ArchiveReader<R> {
    input: R,
    chain: u64,
    sections: u32,
    frames: u64,
}

impl<R: Read> ArchiveReader<R> {
    /// Begins to read.
    ///
    /// # Errors
    /// [`StoreError::BadBackup`] for what is no backup, or one of a newer form.
    pub fn new(mut input: R) -> Result<Self, StoreError> {
        let mut magic = [0; 8];
        let mut format = [0; 4];
        let read = input.read_exact(&mut magic).and_then(|()| input.read_exact(&mut format));
        if read.is_err() || magic != *MAGIC {
            return Err(bad("it does not begin as a backup does"));
        }
        let format = u32::from_be_bytes(format);
        if format != FORMAT {
            let (found, supported) = (u64::from(format), u64::from(FORMAT));
            return Err(StoreError::NewerFormat { found, supported });
        }
        Ok(Self { input, chain: 0, sections: 0, frames: 0 })
    }

    /// Reads the next frame.
    ///
    /// # Errors
    /// [`StoreError::BadBackup`] when it ends early or was changed.
    pub fn frame(&mut self) -> Result<Frame, StoreError> {
        self.frames += 1;
        let at = self.frames;
        let short = |error: io::Error| match error.kind() {
            io::ErrorKind::UnexpectedEof => bad(format!("it ends in frame {at}")),
            _ => bad(format!("frame {at} could not be read: {error}")),
        };
        let mut length = [0; 4];
        let mut kind = [0; 1];
        self.input.read_exact(&mut length).and_then(|()| self.input.read_exact(&mut kind)).map_err(short)?;
        let length = u32::from_be_bytes(length);
        if length > FRAME_BYTES_MAX {
            return Err(bad(format!("frame {at} was changed")));
        }
        let mut payload = Vec::new();
        // No memory is set aside for a length that may be wrong.
        let read = (&mut self.input).take(u64::from(length)).read_to_end(&mut payload).map_err(short)?;
        if read as u64 != u64::from(length) {
            return Err(bad(format!("it ends in frame {at}")));
        }
        let mut checksum = [0; 8];
        self.input.read_exact(&mut checksum).map_err(short)?;
        let [kind] = kind;
        self.chain = chained(self.chain, kind, &payload);
        if self.chain != u64::from_be_bytes(checksum) {
            return Err(bad(format!("frame {at} was changed")));
        }
        match kind {
            SECTION => {
                self.sections += 1;
                let label = String::from_utf8(payload).ok().filter(|label| label.len() <= LABEL_BYTES_MAX);
                label.map(Frame::Section).ok_or_else(|| bad(format!("frame {at} is no label")))
            }
            PART => Ok(Frame::Part(payload)),
            END if payload == self.sections.to_be_bytes() => {
                let mut more = [0; 1];
                match self.input.read(&mut more) {
                    Ok(0) => Ok(Frame::End),
                    _ => Err(bad("something follows its end")),
                }
            }
            _ => Err(bad(format!("frame {at} is of no known kind"))),
        }
    }
}

fn chained(before: u64, kind: u8, payload: &[u8]) -> u64 {
    let mut hasher = Xxh3::new();
    hasher.update(&before.to_be_bytes());
    hasher.update(&[kind]);
    hasher.update(payload);
    hasher.digest()
}

pub(super) fn bad(detail: impl Into<String>) -> StoreError {
    StoreError::BadBackup { detail: detail.into() }
}

/// Gathers rows into parts, and what they amount to.
pub(super) struct Parts {
    sink: Sink,
    part: Vec<u8>,
}

impl Parts {
    pub(super) fn new(sink: Sink) -> Parts {
        Parts { sink, part: Vec::new() }
    }

    /// Adds a row; `false`: no more is wanted.
    pub(super) fn row(&mut self, row_key: &[u8], row: &[u8]) -> bool {
        if self.part.is_empty() {
            self.part.push(ROWS);
        }
        // INVARIANT: keys of rows have at most `KEY_SIZE_BYTES_MAX` and ten bytes, and rows come from memory.
        self.part.extend_from_slice(&u16::try_from(row_key.len()).unwrap_or(u16::MAX).to_be_bytes());
        self.part.extend_from_slice(row_key);
        self.part.extend_from_slice(&u32::try_from(row.len()).unwrap_or(u32::MAX).to_be_bytes());
        self.part.extend_from_slice(row);
        self.part.len() < PART_BYTES || self.give()
    }

    /// Gives out the rest, and the totals; `false`: it was not wanted.
    pub(super) fn finish(mut self, totals: Totals) -> bool {
        if !self.part.is_empty() && !self.give() {
            return false;
        }
        let Totals { revision, floor, time_ms, floor_time_ms, live, bytes, digest } = totals;
        self.part.push(TOTALS);
        for number in [revision, floor, live, bytes] {
            self.part.extend_from_slice(&number.to_be_bytes());
        }
        for time in [time_ms, floor_time_ms] {
            self.part.extend_from_slice(&time.to_be_bytes());
        }
        self.part.extend_from_slice(&digest.0.to_be_bytes());
        self.give()
    }

    fn give(&mut self) -> bool {
        (self.sink)(Bytes::from(std::mem::take(&mut self.part)))
    }
}

/// A part, read.
pub(super) enum Part<'a> {
    Rows(Vec<(&'a [u8], &'a [u8])>),
    Totals(Totals),
}

/// Reads a part; `None`: it is none.
pub(super) fn read_part(part: &[u8]) -> Option<Part<'_>> {
    let (kind, mut rest) = part.split_first()?;
    match *kind {
        ROWS => {
            let mut rows = Vec::new();
            while !rest.is_empty() {
                let (size, after) = rest.split_first_chunk::<2>()?;
                let (row_key, after) = after.split_at_checked(usize::from(u16::from_be_bytes(*size)))?;
                let (size, after) = after.split_first_chunk::<4>()?;
                let (row, after) = after.split_at_checked(usize::try_from(u32::from_be_bytes(*size)).ok()?)?;
                rows.push((row_key, row));
                rest = after;
            }
            Some(Part::Rows(rows))
        }
        TOTALS => {
            let mut number = || {
                let (number, after) = rest.split_first_chunk::<8>()?;
                rest = after;
                Some(*number)
            };
            let [revision, floor, live, bytes] = [number()?, number()?, number()?, number()?].map(u64::from_be_bytes);
            let [time_ms, floor_time_ms] = [number()?, number()?].map(i64::from_be_bytes);
            let digest = Digest(u128::from_be_bytes(rest.try_into().ok()?));
            Some(Part::Totals(Totals { revision, floor, time_ms, floor_time_ms, live, bytes, digest }))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written() -> Vec<u8> {
        let mut writer = ArchiveWriter::new(Vec::new()).unwrap();
        writer.section("registry").unwrap();
        writer.part(b"one").unwrap();
        writer.part(b"two").unwrap();
        writer.section("other").unwrap();
        writer.finish().unwrap()
    }

    fn read(bytes: &[u8]) -> Result<Vec<String>, StoreError> {
        let mut reader = ArchiveReader::new(bytes)?;
        let mut read = Vec::new();
        loop {
            match reader.frame()? {
                Frame::Section(label) => read.push(label),
                Frame::Part(part) => read.push(String::from_utf8(part).unwrap()),
                Frame::End => return Ok(read),
            }
        }
    }

    #[test]
    fn what_was_written_is_read() {
        assert_eq!(read(&written()).unwrap(), ["registry", "one", "two", "other"]);
    }

    #[test]
    fn every_cut_and_every_changed_byte_is_noticed() {
        let whole = written();
        for at in 0..whole.len() {
            assert!(read(&whole[..at]).is_err(), "cut at {at}");
            for bit in 0..8 {
                let mut changed = whole.clone();
                changed[at] ^= 1 << bit;
                assert!(read(&changed).is_err(), "byte {at}, bit {bit}");
            }
        }
        assert!(read(&[&whole[..], b"x"].concat()).is_err());
    }

    #[test]
    fn a_frame_left_out_or_moved_is_noticed() {
        let whole = written();
        // `one` and `two` are frames of the same size.
        let size = 4 + 1 + 3 + 8;
        let one = 12 + 4 + 1 + 8 + 8;
        let (before, rest) = whole.split_at(one);
        let (first, rest) = rest.split_at(size);
        let (second, rest) = rest.split_at(size);
        assert!(read(&[before, first, second, rest].concat()).is_ok());
        for tampered in [[before, second, first, rest], [before, first, &[], rest], [before, second, &[], rest]] {
            assert!(read(&tampered.concat()).is_err());
        }
    }
}
