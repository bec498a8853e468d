//! What can go wrong in a store, with what a caller needs to act on it.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use bytes::Bytes;

use super::Revision;

/// An error of a store.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// An expectation of the batch did not hold; nothing was written.
    #[error(
        "`{}` is at {}, expected {}; read it again and retry",
        KeyText(key),
        RevisionText(*found),
        RevisionText(*expected)
    )]
    Conflict {
        /// The key whose expectation failed.
        key: Bytes,
        /// The revision the batch expected; `None` for "must not exist".
        expected: Option<Revision>,
        /// The revision of the key's last change; `None` if it does not exist.
        found: Option<Revision>,
    },

    /// Another process, or another handle of this one, has the store open.
    #[error("store `{}` is in use by another process; stop it, or choose another path", path.display())]
    Locked {
        /// The store's directory.
        path: PathBuf,
    },

    /// A newer version of the program wrote the store.
    #[error(
        "the store has format {found}, and this version reads formats up to {supported}; \
         upgrade the program"
    )]
    NewerFormat {
        /// The format of the store.
        found: u64,
        /// The newest format this version reads.
        supported: u64,
    },

    /// Data is missing or changed.
    #[error(
        "store `{}` is damaged: {detail}; restore it from a backup, \
         or open it read-only to save what is left",
        path.display()
    )]
    Damaged {
        /// The store's directory.
        path: PathBuf,
        /// What is missing or does not match.
        detail: String,
        /// The revision the store must have, if the witness could be read.
        head_revision: Option<Revision>,
        /// The revision the data has, if it could be read.
        found_revision: Option<Revision>,
        /// How many live records are missing, if both could be counted.
        missing_records: Option<u64>,
    },

    /// The store serves reads only.
    #[error("the store is read-only: {reason}")]
    ReadOnly {
        /// Why commits are refused, and what to do.
        reason: String,
    },

    /// The disk is full.
    #[error("the disk that holds `{}` is full; free some space", path.display())]
    Full {
        /// The file or directory that could not grow.
        path: PathBuf,
    },

    /// The operating system refused an operation.
    #[error("could not {operation} `{}`: {source}{}", path.display(), advice(source))]
    Io {
        /// What was attempted, as a verb phrase.
        operation: &'static str,
        /// The file or directory.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },

    /// The revision lies before the history that is kept.
    #[error("{} is no longer kept: the oldest that can be read is revision {oldest}", asked.map_or_else(|| "that time".to_owned(), |asked| format!("revision {asked}")))]
    Compacted {
        /// The revision that was asked for; that of a time that was asked for is not known.
        asked: Option<Revision>,
        /// The oldest revision that can be read.
        oldest: Revision,
    },

    /// Too much waits to be committed. Nothing was written.
    #[error("too many writes wait to be committed ({waiting}): try again in a moment")]
    Busy {
        /// Batches that wait.
        waiting: usize,
    },

    /// The store does not answer for now.
    #[error("the store does not answer: {reason}")]
    Unavailable {
        /// Why.
        reason: String,
    },

    /// There is no store where one is to be read.
    #[error("there is no store at {place}")]
    NoStore {
        /// Where it was looked for.
        place: String,
    },

    /// A backup is to be restored where something is.
    #[error("`{}` holds a store already; restore into a directory that is empty or does not exist", path.display())]
    NotEmpty {
        /// The directory.
        path: PathBuf,
    },

    /// A backup is not whole.
    #[error("the backup is damaged: {detail}; use another one")]
    BadBackup {
        /// What is wrong with it.
        detail: String,
    },

    /// The note on a batch is longer than a store can hold.
    #[error("the note on a batch has {size_bytes} bytes, and {} are allowed", super::NOTE_SIZE_BYTES_MAX)]
    NoteTooLong {
        /// Its size.
        size_bytes: usize,
    },

    /// What was written could not be made to reach the disk, and the operating system does not tell how much of it did.
    #[error("could not sync `{}`: {source}; what the disk holds is not known: restore a backup to another disk", path.display())]
    Unsynced {
        /// The file.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },

    /// The store stopped before it answered.
    #[error("the store is closed; open it again")]
    Closed,

    /// A key that no store can hold.
    #[error("the key `{}` is not valid: {reason}", KeyText(key))]
    InvalidKey {
        /// The key.
        key: Bytes,
        /// The rule it breaks.
        reason: &'static str,
    },
}

impl StoreError {
    /// An [`StoreError::Io`], or [`StoreError::Full`] when that is the cause.
    pub fn io(operation: &'static str, path: &Path, source: io::Error) -> StoreError {
        match source.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => StoreError::Full { path: path.to_path_buf() },
            _ => StoreError::Io { operation, path: path.to_path_buf(), source },
        }
    }

    /// The same error once more, for every batch of a group that failed together.
    pub(super) fn duplicate(&self) -> StoreError {
        match self {
            Self::Conflict { key, expected, found } => {
                Self::Conflict { key: key.clone(), expected: *expected, found: *found }
            }
            Self::Locked { path } => Self::Locked { path: path.clone() },
            Self::NewerFormat { found, supported } => Self::NewerFormat { found: *found, supported: *supported },
            Self::Damaged { path, detail, head_revision, found_revision, missing_records } => Self::Damaged {
                path: path.clone(),
                detail: detail.clone(),
                head_revision: *head_revision,
                found_revision: *found_revision,
                missing_records: *missing_records,
            },
            Self::ReadOnly { reason } => Self::ReadOnly { reason: reason.clone() },
            Self::Full { path } => Self::Full { path: path.clone() },
            Self::Io { operation, path, source } => Self::Io { operation, path: path.clone(), source: copied(source) },
            Self::Unsynced { path, source } => Self::Unsynced { path: path.clone(), source: copied(source) },
            Self::Compacted { asked, oldest } => Self::Compacted { asked: *asked, oldest: *oldest },
            Self::Busy { waiting } => Self::Busy { waiting: *waiting },
            Self::Unavailable { reason } => Self::Unavailable { reason: reason.clone() },
            Self::NoStore { place } => Self::NoStore { place: place.clone() },
            Self::NotEmpty { path } => Self::NotEmpty { path: path.clone() },
            Self::BadBackup { detail } => Self::BadBackup { detail: detail.clone() },
            Self::NoteTooLong { size_bytes } => Self::NoteTooLong { size_bytes: *size_bytes },
            Self::Closed => Self::Closed,
            Self::InvalidKey { key, reason } => Self::InvalidKey { key: key.clone(), reason },
        }
    }
}

fn copied(error: &io::Error) -> io::Error {
    match error.raw_os_error() {
        Some(code) => io::Error::from_raw_os_error(code),
        None => io::Error::new(error.kind(), error.to_string()),
    }
}

fn advice(source: &io::Error) -> &'static str {
    match source.kind() {
        io::ErrorKind::PermissionDenied => "; give the user that runs the program write access to the directory",
        io::ErrorKind::ReadOnlyFilesystem => "; mount the file system writable",
        io::ErrorKind::NotADirectory | io::ErrorKind::AlreadyExists => {
            "; choose a path that is a directory or does not exist yet"
        }
        io::ErrorKind::DirectoryNotEmpty => "; choose an empty directory",
        _ => "",
    }
}

/// A key as readable text; keys are mostly resource names.
struct KeyText<'a>(&'a [u8]);

impl fmt::Display for KeyText<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        // A key over the limit would flood the log, and its start tells enough.
        let shown = self.0.get(..200).unwrap_or(self.0);
        write!(formatter, "{}", shown.escape_ascii())
    }
}

struct RevisionText(Option<Revision>);

impl fmt::Display for RevisionText {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(revision) => write!(formatter, "revision {revision}"),
            None => formatter.write_str("no revision (it does not exist)"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_one_lowercase_line_and_name_the_values() {
        let path = || PathBuf::from("/var/lib/store");
        let io = |kind| StoreError::io("open", &path(), io::Error::from(kind));
        let conflict = |expected, found| StoreError::Conflict { key: "models/x".into(), expected, found };
        for (error, expected) in [
            (conflict(None, Some(7)), "`models/x` is at revision 7, expected no revision"),
            (conflict(Some(7), None), "`models/x` is at no revision (it does not exist), expected revision 7"),
            (StoreError::Locked { path: path() }, "store `/var/lib/store` is in use"),
            (io(io::ErrorKind::StorageFull), "the disk that holds `/var/lib/store` is full"),
            (io(io::ErrorKind::PermissionDenied), "write access to the directory"),
            (StoreError::InvalidKey { key: "a\0\n".into(), reason: "it contains a zero byte" }, "`a\\x00\\n`"),
        ] {
            let text = error.to_string();
            assert!(text.contains(expected), "{text}");
            assert_eq!(text, error.duplicate().to_string());
            assert!(!text.contains('\n') && !text.ends_with('.'), "{text}");
            assert!(!text.starts_with(char::is_uppercase), "{text}");
        }
    }
}
