//! A whole store written anew: restored from a backup, or compacted while nobody uses it.

use std::io::Read;
use std::path::{Path, PathBuf};

use super::archive::{self, ArchiveReader, Frame, Part};
use super::audit::{Audit, Verdict};
use super::embedded::{SledOptions, audit};
use super::hook::Hook;
use super::layout::{self, Place};
use super::plan::Totals;
use super::rows::{self, Fate, Sieve};
use super::sled::{Engine, damaged};
use super::witness::{self, HeadFile, Seen};
use super::{Revision, StoreError, guard};

/// Rows that are written together, and about how many bytes of them at most: the more, the fewer pages are written twice
/// (1.62 times the data on disk with 400, 1.80 with 100, measured with rows of 1 KiB).
const TOGETHER: usize = 400;
const TOGETHER_BYTES: usize = 4 << 20;

/// What became of a store that was written anew.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rewritten {
    /// Its newest revision.
    pub revision: Revision,
    /// The oldest revision that can be read.
    pub oldest_revision: Revision,
    /// Live records.
    pub records: u64,
    /// Size of all records with their history, as they are written.
    pub data_size_bytes: u64,
    /// Size of the directory before; 0 for one that was empty.
    pub size_before_bytes: u64,
    /// Size of the directory after.
    pub size_after_bytes: u64,
}

/// What an audit of a store found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Audited {
    /// The revision that was acknowledged last, if the witness can be read.
    pub acknowledged: Option<Revision>,
    /// The newest revision of any row.
    pub revision: Revision,
    /// The oldest revision that can be read.
    pub oldest_revision: Revision,
    /// Live records.
    pub records: u64,
    /// Size of all records with their history.
    pub data_size_bytes: u64,
    /// What is wrong; `None`: nothing is.
    pub problem: Option<String>,
    /// Records and log entries whose checksum is wrong, by key and revision: the first of them.
    pub damaged: Vec<String>,
    /// How many there are.
    pub damaged_count: u64,
}

/// Writes a folder of a store, row by row, in key order.
struct Rewrite {
    folder: PathBuf,
    engine: Engine,
    waiting: Vec<rows::Row>,
    waiting_bytes: usize,
    cache_bytes: u64,
}

impl Rewrite {
    fn begin(place: &Place, cache_bytes: u64) -> Result<Rewrite, StoreError> {
        let folder = place.draft()?;
        let engine = Engine::open(&folder, cache_bytes, Hook::default())?;
        Ok(Rewrite { folder, engine, waiting: Vec::with_capacity(TOGETHER), waiting_bytes: 0, cache_bytes })
    }

    fn row(&mut self, row_key: &[u8], row: &[u8]) -> Result<(), StoreError> {
        self.waiting.push((row_key.to_vec(), row.to_vec()));
        self.waiting_bytes += row.len();
        let is_full = self.waiting.len() >= TOGETHER || self.waiting_bytes >= TOGETHER_BYTES;
        if is_full { self.write() } else { Ok(()) }
    }

    fn write(&mut self) -> Result<(), StoreError> {
        let rows = std::mem::take(&mut self.waiting);
        self.waiting_bytes = 0;
        self.engine.insert_all(rows.iter().map(|(row_key, row)| (row_key.as_slice(), row.as_slice())))
    }

    /// Makes it durable, reads it again from the start, and compares it with what it must amount to; only then is it given a
    /// witness.
    fn finish(mut self, expected: Totals) -> Result<PathBuf, StoreError> {
        self.write()?;
        self.engine.make_creation_durable()?;
        let Rewrite { folder, engine, cache_bytes, .. } = self;
        drop(engine);
        let engine = Engine::open(&folder, cache_bytes, Hook::default())?;
        match audit(&engine, Some(expected), None)?.judge(expected, false) {
            Verdict::Sound => {}
            Verdict::Loss { detail, .. } => {
                return Err(damaged(&folder, format!("what was written anew is not what was read: {detail}")));
            }
            Verdict::Ahead(_) | Verdict::Begun => {
                return Err(damaged(&folder, "what was written anew is more than what was read".to_owned()));
            }
        }
        engine.make_creation_durable()?;
        drop(engine);
        HeadFile::create(&folder, expected)?;
        Ok(folder)
    }
}

/// Writes a store anew without the history before a revision, checks it, and lets it take the place of the old one in one
/// step. `oldest` chooses that revision, of the newest one and the times of revisions; `None` keeps all.
///
/// # Errors
/// The store is in use or damaged, or the disk does not take it; then the old one is as it was.
pub fn compact(
    options: &SledOptions,
    oldest: impl FnOnce(&History<'_>) -> Result<Revision, StoreError>,
) -> Result<Rewritten, StoreError> {
    let path = options.path.as_path();
    fenced(path, || {
        let mut place = existing(path)?;
        let folder = place.folder();
        let size_before_bytes = size_of(&folder);
        let (engine, totals) = sound(&folder, options)?;
        let floor = oldest(&History { engine: &engine, totals })?.clamp(totals.floor, totals.revision);
        let mut rewrite = Rewrite::begin(&place, options.cache_capacity_bytes)?;
        let mut expected = Totals { floor, bytes: 0, digest: rows::Digest::default(), ..totals };
        expected.floor_time_ms = History { engine: &engine, totals }.time_of(floor)?;
        let (mut sieve, mut failed) = (Sieve::new(floor), None);
        let mut tell = |fate: Fate, row_key: &[u8], row: &[u8]| {
            if fate == Fate::Kept && failed.is_none() {
                expected.add(row_key, row);
                failed = rewrite.row(row_key, row).err();
            }
        };
        for row in engine.rows(Vec::new()..)? {
            let (row_key, row) = row?;
            sieve.row(row_key, row, |fate, row_key, row| tell(fate, &row_key, &row));
        }
        sieve.finish(|fate, row_key, row| tell(fate, &row_key, &row));
        if let Some(error) = failed {
            return Err(error);
        }
        drop(engine);
        let draft = rewrite.finish(expected)?;
        place.adopt(&draft)?;
        Ok(rewritten(expected, size_before_bytes, size_of(&place.folder())))
    })
}

/// The log of a store that is about to be compacted.
#[derive(Debug)]
pub struct History<'a> {
    engine: &'a Engine,
    totals: Totals,
}

impl History<'_> {
    /// The newest revision.
    #[must_use]
    pub fn newest(&self) -> Revision {
        self.totals.revision
    }

    /// The last revision that was committed at or before a time, in milliseconds since 1970; the oldest there is, if none was.
    ///
    /// # Errors
    /// The store cannot be read.
    pub fn revision_at(&self, time_ms: i64) -> Result<Revision, StoreError> {
        let mut found = self.totals.floor;
        for row in self.engine.rows(rows::log_key(found + 1)..=rows::log_key(self.totals.revision))? {
            let entry = self.entry(row?)?;
            if entry.time_ms > time_ms {
                break;
            }
            found = entry.revision;
        }
        Ok(found)
    }

    fn time_of(&self, revision: Revision) -> Result<i64, StoreError> {
        if revision <= self.totals.floor {
            return Ok(self.totals.floor_time_ms);
        }
        match self.engine.rows(rows::log_key(self.totals.floor + 1)..=rows::log_key(revision))?.next_back() {
            Some(row) => Ok(self.entry(row?)?.time_ms),
            None => Ok(self.totals.floor_time_ms),
        }
    }

    fn entry(&self, (row_key, row): super::sled::EngineRow) -> Result<rows::LogEntry, StoreError> {
        let damaged = || self.engine.damaged(format!("{} is missing or changed", rows::shown(&row_key)));
        rows::decode_log(&row_key, &row).ok_or_else(damaged)
    }
}

/// Reads a whole backup, which begins with the section `first`, into empty directories, one a section, which `place_of` chooses by the section's label; all of them
/// become stores once all of it was checked. Those of later sections lie in that of the first, or apart from it.
///
/// # Errors
/// The backup is damaged, a directory holds something, or the disk does not take it.
pub fn restore(
    input: impl Read,
    first: &str,
    place_of: impl Fn(&str) -> Option<PathBuf>,
) -> Result<Vec<(String, Rewritten)>, StoreError> {
    let mut reader = ArchiveReader::new(input)?;
    let mut staged: Vec<(String, Place, PathBuf, Totals)> = Vec::new();
    let mut section: Option<(String, Place, Rewrite)> = None;
    loop {
        match reader.frame()? {
            Frame::Section(label) => {
                if section.is_some() {
                    return Err(archive::bad("a section does not come to its end"));
                }
                if staged.is_empty() && label != first {
                    return Err(archive::bad(format!("it does not begin with the section `{first}`")));
                }
                let Some(path) = place_of(&label) else {
                    return Err(archive::bad(format!(
                        "it has a section `{}`, which nobody knows",
                        label.escape_default()
                    )));
                };
                section = Some(fenced(&path, || {
                    let place = Place::claim_to_restore(&path)?;
                    if place.current != 0 {
                        return Err(StoreError::NotEmpty { path: path.clone() });
                    }
                    place.restoring()?;
                    let rewrite = Rewrite::begin(&place, SledOptions::new(&path).cache_capacity_bytes)?;
                    Ok((label, place, rewrite))
                })?);
            }
            Frame::Part(part) => {
                let Some((label, place, mut rewrite)) = section.take() else {
                    return Err(archive::bad("it has a part of no section"));
                };
                let path = place.directory.clone();
                match archive::read_part(&part) {
                    None => return Err(archive::bad("a part of it is none")),
                    Some(Part::Rows(rows)) => {
                        fenced(&path, || rows.iter().try_for_each(|(row_key, row)| rewrite.row(row_key, row)))?;
                        section = Some((label, place, rewrite));
                    }
                    Some(Part::Totals(totals)) => {
                        let draft = fenced(&path, || rewrite.finish(totals)).map_err(|error| match error {
                            StoreError::Damaged { detail, .. } => archive::bad(detail),
                            other => other,
                        })?;
                        staged.push((label, place, draft, totals));
                    }
                }
            }
            Frame::End if section.is_some() => return Err(archive::bad("a section does not come to its end")),
            Frame::End if staged.is_empty() => return Err(archive::bad("it holds nothing")),
            Frame::End => break,
        }
    }
    let mut done = Vec::with_capacity(staged.len());
    let mut places = Vec::with_capacity(staged.len());
    // The first one last, and its note with it: while that is there, everything is restored from the start the next time.
    for (label, mut place, draft, totals) in staged.into_iter().rev() {
        place.adopt(&draft)?;
        done.push((label, rewritten(totals, 0, size_of(&place.folder()))));
        places.push(place);
    }
    for place in &places {
        place.restored()?;
    }
    done.reverse();
    Ok(done)
}

/// Reads every row of a store that nobody uses, and says what is wrong with it. Nothing is changed.
///
/// # Errors
/// The store is in use, or is none.
pub fn verify(options: &SledOptions) -> Result<Audited, StoreError> {
    let path = options.path.as_path();
    let place = existing(path)?;
    let folder = place.folder();
    let seen = witness::read(&folder)?;
    let (acknowledged, torn) = match seen {
        Seen::Intact(witness, torn) => (Some(witness.totals), torn),
        Seen::Missing | Seen::Unreadable => (None, false),
    };
    let found = fenced(path, || {
        let engine = Engine::open(&folder, options.cache_capacity_bytes, options.hook.clone())?;
        audit(&engine, acknowledged, None)
    });
    let floor = acknowledged.map_or(0, |totals| totals.floor);
    let revision = acknowledged.map(|totals| totals.revision);
    let mut audited = Audited { acknowledged: revision, oldest_revision: floor, ..Audited::default() };
    let findings = match found {
        Ok(findings) => findings,
        // What the engine cannot read at all is what was asked for.
        Err(StoreError::Damaged { detail, .. }) => {
            audited.problem = Some(format!("{detail}; no record can be read"));
            return Ok(audited);
        }
        Err(error) => return Err(error),
    };
    audited.problem = match acknowledged {
        None => Some("the witness HEAD is missing or unreadable, so nothing shows that the data is whole".to_owned()),
        Some(totals) => match findings.judge(totals, torn) {
            Verdict::Sound | Verdict::Ahead(_) | Verdict::Begun => None,
            Verdict::Loss { detail, .. } => Some(detail),
        },
    };
    audited.revision = findings.newest();
    audited.records = findings.totals.live;
    audited.data_size_bytes = findings.totals.bytes;
    let (damaged, count) = findings.damaged();
    (audited.damaged, audited.damaged_count) = (damaged.to_vec(), count);
    Ok(audited)
}

/// Reads a whole backup and says what each section holds. Nothing is written.
///
/// # Errors
/// The backup is damaged.
pub fn verify_backup(input: impl Read, first: &str) -> Result<Vec<(String, Audited)>, StoreError> {
    let mut reader = ArchiveReader::new(input)?;
    let mut section: Option<(String, Audit<Vec<u8>>)> = None;
    let mut sections = Vec::new();
    loop {
        match (reader.frame()?, section.take()) {
            (Frame::Section(label), None) if sections.is_empty() && label != first => {
                return Err(archive::bad(format!("it does not begin with the section `{first}`")));
            }
            (Frame::Section(label), None) => section = Some((label, Audit::new(None))),
            (Frame::Part(part), Some((label, mut audit))) => match archive::read_part(&part) {
                None => return Err(archive::bad("a part of it is none")),
                Some(Part::Rows(rows)) => {
                    rows.iter().for_each(|(row_key, row)| audit.row(row_key.to_vec(), row.to_vec(), |_| ()));
                    section = Some((label, audit));
                }
                Some(Part::Totals(totals)) => {
                    let findings = audit.finish(|_| ());
                    let found = findings.totals;
                    let rows = |totals: &Totals| (totals.live, totals.bytes, totals.digest);
                    let (damaged, damaged_count) = findings.damaged();
                    if damaged_count > 0 || rows(&found) != rows(&totals) {
                        let detail = findings.describe_rows().unwrap_or_else(|| "rows are missing".to_owned());
                        return Err(archive::bad(format!("in its section `{label}` {detail}")));
                    }
                    let audited = Audited {
                        acknowledged: Some(totals.revision),
                        revision: totals.revision,
                        oldest_revision: totals.floor,
                        records: totals.live,
                        data_size_bytes: totals.bytes,
                        problem: None,
                        damaged: damaged.to_vec(),
                        damaged_count,
                    };
                    sections.push((label, audited));
                }
            },
            (Frame::Part(_), None) => return Err(archive::bad("it has a part of no section")),
            (Frame::End, None) if sections.is_empty() => return Err(archive::bad("it holds nothing")),
            (Frame::End, None) => return Ok(sections),
            (_, Some(_)) => return Err(archive::bad("a section does not come to its end")),
        }
    }
}

/// Lets a restored store take the place of the one in `path`, in one step, and removes what was restored from where it was.
/// Does nothing where nothing was restored. An end of the process at any moment of it is made good by the next call.
///
/// # Errors
/// A store is in use, or the disk does not take it.
pub fn take_over(restored: &Path, path: &Path) -> Result<(), StoreError> {
    let format = restored.join("FORMAT");
    if !format.exists() {
        return layout::remove(restored);
    }
    let from = Place::claim(restored)?;
    let mut place = Place::claim(path)?;
    let draft = place.draft()?;
    // Linked and not moved: what was restored stays whole until the store names it.
    layout::link_all(&from.folder(), &draft)?;
    place.adopt(&draft)?;
    drop(from);
    std::fs::remove_file(&format).map_err(|error| StoreError::io("remove", &format, error))?;
    layout::sync_directory(restored)?;
    layout::remove(restored)
}

/// The directory of a store that is there.
fn existing(path: &Path) -> Result<Place, StoreError> {
    if !path.join("FORMAT").exists() {
        let source = std::io::Error::new(std::io::ErrorKind::NotFound, "there is no store");
        return Err(StoreError::io("open the store", path, source));
    }
    Place::claim(path)
}

fn sound(folder: &Path, options: &SledOptions) -> Result<(Engine, Totals), StoreError> {
    let Seen::Intact(witness, torn) = witness::read(folder)? else {
        return Err(damaged(folder, "the witness HEAD is missing or unreadable".to_owned()));
    };
    let engine = Engine::open(folder, options.cache_capacity_bytes, options.hook.clone())?;
    match audit(&engine, Some(witness.totals), None)?.judge(witness.totals, torn) {
        Verdict::Sound => Ok((engine, witness.totals)),
        Verdict::Loss { detail, .. } => Err(damaged(folder, detail)),
        // Bringing both in line is what opening does.
        Verdict::Ahead(_) | Verdict::Begun => {
            drop(engine);
            Err(StoreError::Unavailable { reason: "it was not closed in order: start and stop it once".to_owned() })
        }
    }
}

fn rewritten(totals: Totals, size_before_bytes: u64, size_after_bytes: u64) -> Rewritten {
    let Totals { revision, floor, live, bytes, .. } = totals;
    Rewritten {
        revision,
        oldest_revision: floor,
        records: live,
        data_size_bytes: bytes,
        size_before_bytes,
        size_after_bytes,
    }
}

fn fenced<T>(path: &Path, work: impl FnOnce() -> Result<T, StoreError>) -> Result<T, StoreError> {
    guard::quietly(work).unwrap_or_else(|panic| {
        Err(damaged(&path.join("1"), format!("the storage engine cannot read its files ({panic})")))
    })
}

/// Size of all files in a folder.
fn size_of(folder: &Path) -> u64 {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    entries
        .map(|entry| match entry.metadata() {
            Ok(found) if found.is_dir() => size_of(&entry.path()),
            Ok(found) => found.len(),
            Err(_) => 0,
        })
        .sum()
}
