//! `weighbridge backup`.

use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use clap::Args;
use sha2::{Digest as _, Sha256};

use super::Failure;
use super::client::{ANSWER_BYTES_MAX, ServerArguments, failed};
use super::output::{Output, note};
use crate::pb::weighbridge::v1 as pb;
use crate::pb::weighbridge::v1::admin_service_client::AdminServiceClient;
use crate::pb::weighbridge::v1::backup_response::Payload;

/// Write a backup of a running server: every record with its history, and the decision log, as they stand at one moment.
#[derive(Debug, Args)]
pub(super) struct BackupArguments {
    /// The file; `-` is standard output.
    file: PathBuf,
    /// Replace the file if it is there.
    #[arg(long)]
    overwrite: bool,
    #[command(flatten)]
    server: ServerArguments,
}

pub(super) async fn run(arguments: BackupArguments, out: &Output) -> Result<u8, Failure> {
    let BackupArguments { file, overwrite, server } = arguments;
    let piped = file.as_os_str() == "-";
    if !piped && !overwrite && file.exists() {
        return Err(Failure::usage(format!(
            "`{}` is there already: choose another name, or add --overwrite",
            file.display()
        )));
    }
    let mut client = AdminServiceClient::new(server.connect().await?).max_decoding_message_size(ANSWER_BYTES_MAX);
    let mut stream = client.backup(pb::BackupRequest {}).await.map_err(|status| failed(&status))?.into_inner();
    let part = part_of(&file);
    let unwritten = |error: io::Error| Failure::new(format!("`{}` could not be written: {error}", file.display()));
    let mut target: Box<dyn Write> =
        if piped { Box::new(io::stdout()) } else { Box::new(File::create(&part).map_err(unwritten)?) };
    let mut hasher = Sha256::new();
    let mut summary = None;
    let written = loop {
        match stream.message().await {
            Ok(Some(pb::BackupResponse { payload: Some(Payload::Chunk(chunk)) })) => {
                hasher.update(&chunk);
                if let Err(error) = target.write_all(&chunk) {
                    break Err(unwritten(error));
                }
            }
            Ok(Some(pb::BackupResponse { payload: Some(Payload::Summary(found)) })) => summary = Some(found),
            Ok(Some(pb::BackupResponse { payload: None })) => {}
            Ok(None) => break Ok(()),
            Err(status) => break Err(failed(&status)),
        }
    };
    let sha256: String = hasher.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
    let whole = written.and_then(|()| match summary {
        None => Err(Failure::new("the server ended the backup early: begin again")),
        Some(summary) if summary.sha256 != sha256 => {
            Err(Failure::new("the backup was changed on its way: begin again"))
        }
        Some(summary) => Ok(summary),
    });
    let summary = match whole.and_then(|summary| target.flush().map_err(unwritten).map(|()| summary)) {
        Ok(summary) => summary,
        Err(failure) => {
            drop(target);
            if !piped {
                // What is left of it would look like a backup.
                let _ = std::fs::remove_file(&part);
            }
            return Err(failure);
        }
    };
    drop(target);
    let told = format!("revision {}, {} bytes, sha256 {}", summary.revision, summary.size_bytes, summary.sha256);
    if piped {
        note(&told);
        return Ok(0);
    }
    put_in_place(&part, &file).map_err(unwritten)?;
    if out.is_json() {
        return out.json("weighbridge.v1.BackupSummary", &summary).map(|()| 0);
    }
    out.line(&format!("{}: {told}", file.display()))?;
    Ok(0)
}

fn part_of(file: &Path) -> PathBuf {
    let mut name = file.file_name().unwrap_or_default().to_os_string();
    name.push(".part");
    file.with_file_name(name)
}

/// Gives a whole file its name, durably.
fn put_in_place(part: &Path, file: &Path) -> io::Result<()> {
    File::open(part)?.sync_all()?;
    std::fs::rename(part, file)?;
    let parent = file.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(parent)?.sync_all()
}
