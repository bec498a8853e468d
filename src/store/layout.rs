//! The store's directory and the `FORMAT` file that marks it.

use std::fs::{self, File};
use std::io::{self, Read, Write as _};
use std::path::{Path, PathBuf};

use super::StoreError;

/// The format this version writes, and the newest it reads.
const FORMAT: u64 = 1;
const FORMAT_FILE: &str = "FORMAT";
/// Where `FORMAT` is written before it gets its name.
const FORMAT_DRAFT: &str = "FORMAT.new";
/// The engine's data file.
pub(super) const DATA_FILE: &str = "db";
/// Where the engine puts pages that are too large for its data file.
pub(super) const BLOB_DIRECTORY: &str = "blobs";

/// Makes sure that `directory` is a store of a known format; a directory that
/// is empty or does not exist becomes a new one.
pub(super) fn prepare(directory: &Path) -> Result<(), StoreError> {
    match fs::metadata(directory) {
        Ok(found) if found.is_dir() => {}
        Ok(_) => {
            let source = io::Error::new(io::ErrorKind::NotADirectory, "it is a file");
            return Err(StoreError::io("open the store", directory, source));
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => create(directory)?,
        Err(error) => return Err(StoreError::io("open the store", directory, error)),
    }
    let path = directory.join(FORMAT_FILE);
    let mut content = Vec::new();
    // A longer file is not ours, and need not be read to its end.
    match File::open(&path).and_then(|file| file.take(100).read_to_end(&mut content)) {
        Ok(_) => check_format(directory, &content),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            check_empty(directory)?;
            write_format(directory)
        }
        Err(error) => Err(StoreError::io("read the format of the store", &path, error)),
    }
}

/// Makes the names in a directory durable.
pub(super) fn sync_directory(directory: &Path) -> Result<(), StoreError> {
    sync(directory, "sync the directory")
}

/// Makes one file durable.
pub(super) fn sync_file(path: &Path) -> Result<(), StoreError> {
    sync(path, "sync the file")
}

/// Syncs the files for large pages, which the engine writes without syncing;
/// their names are numbers that only grow, and those below `synced` are done.
/// Answers the number to go on from.
pub(super) fn sync_blobs(path: &Path, synced: u64) -> Result<u64, StoreError> {
    let directory = path.join(BLOB_DIRECTORY);
    let unreadable = |error| StoreError::io("list the directory", &directory, error);
    let mut next = synced;
    for entry in fs::read_dir(&directory).map_err(unreadable)? {
        let entry = entry.map_err(unreadable)?;
        let number = entry.file_name().to_str().and_then(|name| name.parse::<u64>().ok());
        let Some(number) = number.filter(|number| *number >= synced) else {
            continue;
        };
        next = next.max(number.saturating_add(1));
        match sync_file(&entry.path()) {
            // The engine removes a file when a newer page replaces it.
            Err(StoreError::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => {}
            outcome => outcome?,
        }
    }
    if next != synced {
        sync_directory(&directory)?;
    }
    Ok(next)
}

fn sync(path: &Path, operation: &'static str) -> Result<(), StoreError> {
    let synced = File::open(path).and_then(|file| file.sync_all());
    synced.map_err(|error| StoreError::io(operation, path, error))
}

fn create(directory: &Path) -> Result<(), StoreError> {
    fs::create_dir_all(directory).map_err(|error| StoreError::io("create the directory", directory, error))?;
    // A new name is durable only when its parent is synced.
    let parent = directory.parent().filter(|parent| !parent.as_os_str().is_empty());
    sync_directory(parent.unwrap_or(Path::new(".")))
}

fn check_format(directory: &Path, content: &[u8]) -> Result<(), StoreError> {
    let number = str::from_utf8(content)
        .ok()
        .and_then(|text| text.strip_prefix("weighbridge store ")?.strip_suffix('\n'))
        .filter(|digits| digits.bytes().all(|byte| byte.is_ascii_digit()))
        .and_then(|digits| digits.parse::<u64>().ok());
    match number {
        Some(FORMAT) => Ok(()),
        Some(found) if found > FORMAT => Err(StoreError::NewerFormat { found, supported: FORMAT }),
        _ => Err(damaged(directory, "its FORMAT file is unreadable")),
    }
}

/// Refuses to make a store among files of something else.
fn check_empty(directory: &Path) -> Result<(), StoreError> {
    if ["HEAD", DATA_FILE].iter().any(|name| directory.join(name).exists()) {
        return Err(damaged(directory, "its FORMAT file is missing"));
    }
    let unreadable = |error| StoreError::io("list the directory", directory, error);
    for entry in fs::read_dir(directory).map_err(unreadable)? {
        let name = entry.map_err(unreadable)?.file_name();
        match name.to_str() {
            // Every fresh ext4 volume has the first; an interrupted creation leaves the second.
            Some("lost+found" | FORMAT_DRAFT) => {}
            _ => {
                let text = format!("it holds other files, such as `{}`", name.display());
                let source = io::Error::new(io::ErrorKind::DirectoryNotEmpty, text);
                return Err(StoreError::io("create a store in", directory, source));
            }
        }
    }
    Ok(())
}

fn write_format(directory: &Path) -> Result<(), StoreError> {
    let draft = directory.join(FORMAT_DRAFT);
    let content = format!("weighbridge store {FORMAT}\n");
    let written =
        File::create(&draft).and_then(|mut file| file.write_all(content.as_bytes()).and_then(|()| file.sync_all()));
    written.map_err(|error| StoreError::io("create a store: write", &draft, error))?;
    let path = directory.join(FORMAT_FILE);
    fs::rename(&draft, &path).map_err(|error| StoreError::io("create a store: name", &path, error))?;
    sync_directory(directory)
}

fn damaged(directory: &Path, detail: &str) -> StoreError {
    StoreError::Damaged {
        path: PathBuf::from(directory),
        detail: detail.to_owned(),
        head_revision: None,
        found_revision: None,
        missing_records: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn format_files_are_told_apart() {
        let directory = Path::new("/store");
        let check = |content: &str| check_format(directory, content.as_bytes());
        assert!(check("weighbridge store 1\n").is_ok());
        let newer = StoreError::NewerFormat { found: 2, supported: 1 };
        assert_eq!(check("weighbridge store 2\n").unwrap_err().to_string(), newer.to_string());
        for damaged in ["", "weighbridge store 1", "weighbridge store 0\n", "weighbridge store +1\n"] {
            let error = check(damaged).unwrap_err();
            assert!(matches!(error, StoreError::Damaged { .. }), "{damaged:?}: {error}");
        }
    }
}
