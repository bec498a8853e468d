//! Documents to import: a file, a folder, an archive, or a URL of a file or an archive.

use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

use super::Failure;
use super::client::read_bounded;
use crate::registry::{DOCUMENT_BYTES_MAX, ImportFile};

/// Most files of a folder or an archive that are looked at, wanted ones or not.
const FILES_MAX: usize = 100_000;
/// How deep folders are followed.
const DEPTH_MAX: usize = 8;

/// What an importer takes of a folder.
#[derive(Clone, Copy, Debug)]
pub(super) struct Wanted {
    /// Extensions of the files that are read.
    pub(super) extensions: &'static [&'static str],
    /// Folder inside the source's repository where they are; files elsewhere in an archive are not read.
    pub(super) folder: &'static str,
}

/// A document of one file.
pub(super) const ONE_FILE: Wanted = Wanted { extensions: &[], folder: "" };

impl Wanted {
    fn is_folder(self) -> bool {
        !self.extensions.is_empty()
    }

    fn takes(self, path: &str) -> bool {
        let extension = path.rsplit_once('.').map(|(_, extension)| extension.to_ascii_lowercase());
        extension.is_some_and(|found| self.extensions.contains(&found.as_str()))
    }
}

/// Reads a document, within the limit of an import. The files of a folder come by path.
pub(super) fn read(source: &str, wanted: Wanted) -> Result<Vec<ImportFile>, Failure> {
    let is_url = source.starts_with("http://") || source.starts_with("https://");
    let path = Path::new(source);
    if !is_url && path.is_dir() {
        if !wanted.is_folder() {
            return Err(Failure::usage(format!("`{source}` is a folder: give the file")));
        }
        return folder(path, wanted);
    }
    let bytes = if is_url { fetch(&raw_address(source))? } else { read_bounded(path, DOCUMENT_BYTES_MAX)? };
    if wanted.is_folder() && is_archive(source, &bytes) {
        return archive(source, &bytes, wanted);
    }
    let name = source.rsplit('/').next().unwrap_or(source);
    Ok(vec![ImportFile { path: name.into(), bytes }])
}

/// The plain text behind a page of the hub or of a code host.
fn raw_address(url: &str) -> String {
    if let Some(repository) = crate::ingest::hub::repository_of_url(url)
        && !url.contains("/raw/")
        && !url.contains("/resolve/")
    {
        return format!("https://huggingface.co/{repository}/raw/main/README.md");
    }
    url.to_owned()
}

fn is_archive(source: &str, bytes: &[u8]) -> bool {
    let named = source.ends_with(".tar.gz") || source.ends_with(".tgz") || source.ends_with(".tar");
    named || bytes.starts_with(&[0x1f, 0x8b])
}

fn folder(root: &Path, wanted: Wanted) -> Result<Vec<ImportFile>, Failure> {
    let mut found = Vec::new();
    let mut seen = 0;
    walk(root, root, 0, wanted, &mut seen, &mut found)?;
    found.sort();
    if found.is_empty() {
        let extensions = wanted.extensions.join(", ");
        return Err(Failure::usage(format!("`{}` holds no file that ends in {extensions}", root.display())));
    }
    let mut files = Vec::new();
    let mut left = DOCUMENT_BYTES_MAX;
    for path in found {
        let bytes = read_bounded(&root.join(&path), left)?;
        left -= bytes.len();
        files.push(ImportFile { path: path.display().to_string().replace('\\', "/").into(), bytes });
    }
    Ok(files)
}

fn walk(
    root: &Path,
    at: &Path,
    depth: usize,
    wanted: Wanted,
    seen: &mut usize,
    found: &mut Vec<PathBuf>,
) -> Result<(), Failure> {
    let failed = |e: std::io::Error| Failure::new(format!("`{}` could not be read: {e}", at.display()));
    for entry in std::fs::read_dir(at).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        *seen += 1;
        if *seen > FILES_MAX {
            return Err(Failure::new(format!("`{}` holds more than {FILES_MAX} files", root.display())));
        }
        // A link is followed to no folder, so that none is walked twice.
        let kind = entry.file_type().map_err(failed)?;
        let path = entry.path();
        if kind.is_dir() && depth < DEPTH_MAX {
            walk(root, &path, depth + 1, wanted, seen, found)?;
        } else if !kind.is_dir() && wanted.takes(&path.to_string_lossy()) {
            found.push(path.strip_prefix(root).unwrap_or(&path).to_owned());
        }
    }
    Ok(())
}

/// The wanted files of a tar archive. What it claims about sizes is not believed: what comes out is counted.
fn archive(source: &str, bytes: &[u8], wanted: Wanted) -> Result<Vec<ImportFile>, Failure> {
    let failed = |e: std::io::Error| Failure::new(format!("`{source}` is no archive that can be read: {e}"));
    // Of everything that is unpacked, wanted or not.
    let limit = u64::try_from(DOCUMENT_BYTES_MAX).unwrap_or(u64::MAX).saturating_mul(16);
    let reader: Box<dyn Read + '_> = if bytes.starts_with(&[0x1f, 0x8b]) {
        Box::new(flate2::read::MultiGzDecoder::new(bytes).take(limit))
    } else {
        Box::new(bytes)
    };
    let mut archive = tar::Archive::new(reader);
    let mut files = Vec::new();
    let mut left = DOCUMENT_BYTES_MAX;
    for (number, entry) in archive.entries().map_err(failed)?.enumerate() {
        let mut entry = entry.map_err(failed)?;
        if number >= FILES_MAX {
            return Err(Failure::new(format!("`{source}` holds more than {FILES_MAX} files")));
        }
        let path = entry.path().map_err(failed)?.to_string_lossy().replace('\\', "/");
        let inside = wanted.folder.is_empty() || path.contains(&format!("{}/", wanted.folder));
        if !entry.header().entry_type().is_file() || !inside || !wanted.takes(&path) {
            continue;
        }
        let mut content = Vec::new();
        let most = u64::try_from(left).unwrap_or(u64::MAX).saturating_add(1);
        (&mut entry).take(most).read_to_end(&mut content).map_err(failed)?;
        left = left.checked_sub(content.len()).ok_or_else(|| {
            Failure::new(format!("`{source}` unpacks to more than {DOCUMENT_BYTES_MAX} bytes, the most that is read"))
        })?;
        files.push(ImportFile { path: path.into(), bytes: content });
    }
    files.sort_by(|a, b| a.path.cmp(&b.path));
    if files.is_empty() {
        let extensions = wanted.extensions.join(", ");
        return Err(Failure::usage(format!(
            "`{source}` holds no file under `{}` that ends in {extensions}",
            wanted.folder
        )));
    }
    Ok(files)
}

/// Fetches a URL, within the limit.
fn fetch(url: &str) -> Result<Vec<u8>, Failure> {
    let failed = |e: String| Failure::new(format!("`{url}` could not be fetched: {e}"));
    let agent: ureq::Agent =
        ureq::Agent::config_builder().timeout_global(Some(Duration::from_secs(120))).build().into();
    let response = agent.get(url).call().map_err(|e| failed(e.to_string()))?;
    let limit = u64::try_from(DOCUMENT_BYTES_MAX).unwrap_or(u64::MAX).saturating_add(1);
    let bar = progress(0, "fetching");
    let mut bytes = Vec::new();
    let read = response.into_body().into_reader().take(limit).read_to_end(&mut bytes);
    bar.finish_and_clear();
    read.map_err(|e| failed(e.to_string()))?;
    if bytes.len() > DOCUMENT_BYTES_MAX {
        return Err(failed(format!("it has more than {DOCUMENT_BYTES_MAX} bytes, the most that is read")));
    }
    Ok(bytes)
}

pub(super) fn progress(bytes: usize, message: &'static str) -> ProgressBar {
    let bar = ProgressBar::new(u64::try_from(bytes).unwrap_or_default());
    // The template is ours and valid; without it the bar keeps its default look.
    if let Ok(style) = ProgressStyle::with_template("{msg:<18} {bar:40} {bytes}/{total_bytes} {elapsed}") {
        bar.set_style(style);
    }
    bar.set_message(message);
    bar.enable_steady_tick(Duration::from_millis(100));
    bar
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    const YAML: Wanted = Wanted { extensions: &["yml", "yaml"], folder: "models" };

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut out = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        out.write_all(bytes).unwrap();
        out.finish().unwrap()
    }

    fn tar_of(files: &[(&str, &[u8])]) -> Vec<u8> {
        let mut builder = tar::Builder::new(Vec::new());
        for (path, content) in files {
            let mut header = tar::Header::new_gnu();
            header.set_size(content.len() as u64);
            header.set_cksum();
            builder.append_data(&mut header, path, *content).unwrap();
        }
        builder.into_inner().unwrap()
    }

    #[test]
    fn an_archive_gives_the_wanted_files_of_its_folder() {
        let tar = tar_of(&[
            ("r/models/b.yml", b"b"),
            ("r/other/c.yml", b"c"),
            ("r/models/a.yaml", b"a"),
            ("r/models/x.md", b"x"),
        ]);
        for bytes in [tar.clone(), gzip(&tar)] {
            let files = archive("x.tar.gz", &bytes, YAML).unwrap();
            let paths: Vec<_> = files.iter().map(|file| &*file.path).collect();
            assert_eq!(paths, ["r/models/a.yaml", "r/models/b.yml"]);
        }
        assert_eq!(archive("x.tar", &tar_of(&[("a", b"")]), YAML).unwrap_err().code, 2);
    }

    #[test]
    fn archives_that_lie_or_blow_up_are_refused() {
        let zeros = gzip(&vec![0; 256 << 20]);
        assert!(archive("x.tar.gz", &zeros, YAML).is_err());
        // A header that claims ten gigabytes that are not there.
        let mut header = tar::Header::new_gnu();
        header.set_path("models/a.yml").unwrap();
        header.set_size(10 << 30);
        header.set_cksum();
        let failure = archive("x.tar", header.as_bytes(), YAML);
        assert!(failure.is_err() || failure.unwrap().iter().all(|file| file.bytes.is_empty()));
        let mut bomb = header.as_bytes().to_vec();
        bomb.extend(vec![b'a'; DOCUMENT_BYTES_MAX + 4096]);
        assert!(archive("x.tar.gz", &gzip(&bomb), YAML).unwrap_err().message.contains("unpacks to more"));
        let whole = gzip(&tar_of(&[("models/a.yml", &[b'x'; 10_000])]));
        assert!(archive("x.tar.gz", &whole[..whole.len() / 2], YAML).is_err());
        assert!(archive("x.tar.gz", b"\x1f\x8bnonsense", YAML).is_err());
    }

    #[test]
    fn a_page_of_the_hub_stands_for_its_card() {
        assert_eq!(raw_address("https://huggingface.co/a/b"), "https://huggingface.co/a/b/raw/main/README.md");
        assert_eq!(
            raw_address("https://huggingface.co/a/b/raw/x/README.md"),
            "https://huggingface.co/a/b/raw/x/README.md"
        );
        assert_eq!(raw_address("https://models.dev/api.json"), "https://models.dev/api.json");
    }
}
