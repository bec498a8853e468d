//! `weighbridge restore`.

use std::ffi::OsString;
use std::fs::File;
use std::io::{BufReader, Read};
use std::path::{Path, PathBuf};

use clap::Args;
use tokio_stream::wrappers::ReceiverStream;

use super::Failure;
use super::client::{ServerArguments, ShownArguments, failed};
use super::output::Output;
use crate::pb::weighbridge::v1 as pb;
use crate::pb::weighbridge::v1::admin_service_client::AdminServiceClient;
use crate::registry::restore_into;

const CHUNK_BYTES: usize = 512 << 10;

/// Restore a backup into an empty data directory, or into a running server that holds built-in records only. All of it is
/// checked before anything of it is used.
#[derive(Debug, Args)]
pub(super) struct RestoreArguments {
    /// The backup; `-` is standard input.
    file: PathBuf,
    /// The data directory; made when it is not there. WEIGHBRIDGE_DATA_DIR, or else `./weighbridge-data`, when not given.
    #[arg(long)]
    data_dir: Option<PathBuf>,
    /// Address of a running server to restore into, in place of a data directory; it restarts by itself.
    #[arg(long)]
    server: Option<String>,
    #[command(flatten)]
    shown: ShownArguments,
}

pub(super) async fn run(arguments: RestoreArguments, out: &Output) -> Result<u8, Failure> {
    let RestoreArguments { file, data_dir, server, shown } = arguments;
    let input = open(&file)?;
    let response = match server {
        Some(server) => send(&file, input, ServerArguments { server, shown }).await?,
        // Which of the two is meant is not for the environment to say.
        None if data_dir.is_none() && variable("WEIGHBRIDGE_SERVER").is_some() => {
            let text =
                "WEIGHBRIDGE_SERVER names a server: say --server ADDRESS to restore into it, or --data-dir FOLDER";
            return Err(Failure::usage(text));
        }
        None => {
            let data_dir = data_dir.or_else(|| variable("WEIGHBRIDGE_DATA_DIR").map(PathBuf::from));
            let data_dir = data_dir.unwrap_or_else(|| PathBuf::from("./weighbridge-data"));
            let restored = restore_into(&data_dir, input).map_err(|error| Failure::new(error.to_string()))?;
            let wide = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
            let stores = restored.into_iter().map(|(store, found)| pb::restore_response::RestoredStore {
                store,
                revision: wide(found.revision),
                oldest_revision: wide(found.oldest_revision),
                records: wide(found.records),
            });
            pb::RestoreResponse { stores: stores.collect() }
        }
    };
    if out.is_json() {
        return out.json("weighbridge.v1.RestoreResponse", &response).map(|()| 0);
    }
    for store in &response.stores {
        let history = match store.oldest_revision {
            0 => String::new(),
            oldest => format!(", history since {oldest}"),
        };
        out.line(&format!("{}: revision {}, {} records{history}", store.store, store.revision, store.records))?;
    }
    Ok(0)
}

fn variable(name: &str) -> Option<OsString> {
    std::env::var_os(name).filter(|value| !value.is_empty())
}

fn open(file: &Path) -> Result<Box<dyn Read + Send>, Failure> {
    if file.as_os_str() == "-" {
        return Ok(Box::new(BufReader::new(std::io::stdin())));
    }
    let opened = File::open(file);
    let opened = opened.map_err(|error| Failure::new(format!("`{}` could not be read: {error}", file.display())))?;
    Ok(Box::new(BufReader::with_capacity(CHUNK_BYTES, opened)))
}

async fn send(
    file: &Path,
    input: Box<dyn Read + Send>,
    server: ServerArguments,
) -> Result<pb::RestoreResponse, Failure> {
    let mut client = AdminServiceClient::new(server.connect().await?);
    let (chunks, stream) = tokio::sync::mpsc::channel(4);
    let reading = tokio::task::spawn_blocking(move || {
        let mut input = input;
        loop {
            let mut chunk = Vec::with_capacity(CHUNK_BYTES);
            (&mut input).take(CHUNK_BYTES as u64).read_to_end(&mut chunk)?;
            // An error of the server ends the stream, and is what is told.
            if chunk.is_empty() || chunks.blocking_send(pb::RestoreRequest { chunk }).is_err() {
                return Ok::<(), std::io::Error>(());
            }
        }
    });
    let answered = client.restore(ReceiverStream::new(stream)).await;
    if let Ok(Err(error)) = reading.await {
        return Err(Failure::new(format!("`{}` could not be read: {error}", file.display())));
    }
    answered.map(tonic::Response::into_inner).map_err(|status| failed(&status))
}
