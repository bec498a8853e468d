//! `ImportModels`: collects the document from the stream, within its limit.

use tonic::{Status, Streaming};

use super::{Answer, answer};
use crate::convert::Violation;
use crate::convert::status::{exhausted, invalid};
use crate::pb::weighbridge::v1 as pb;
use crate::pb::weighbridge::v1::import_models_request::Payload;
use crate::registry::{DOCUMENT_BYTES_MAX, ImportFile as File, ImportRequest, Registry};

/// Largest chunk, in bytes.
const CHUNK_BYTES_MAX: usize = 1 << 20;
/// Longest path of a file.
const PATH_BYTES_MAX: usize = 1_024;
/// What a file counts for beside its content.
const FILE_BYTES: usize = 256;

pub(super) async fn import_models(
    registry: &Registry,
    mut stream: Streaming<pb::ImportModelsRequest>,
) -> Answer<pb::ImportModelsResponse> {
    let first = stream.message().await?.and_then(|message| message.payload);
    let Some(Payload::Config(config)) = first else {
        return Err(violation("config", "the first message of the stream holds the config"));
    };
    pb::ImportSource::try_from(config.source)
        .map_err(|_| violation("config.source", "it is no value of this enum: for example IMPORT_SOURCE_MODELS_DEV"))?;
    let files = collect(&mut stream, &config.origin).await?;
    if files.iter().all(|file| file.bytes.is_empty()) {
        return Err(violation("chunk", "the document is empty: send its bytes after the config"));
    }
    let request = ImportRequest { config, files };
    answer(registry.import(request).await.map(|report| pb::ImportModelsResponse { report: Some(report) }))
}

/// The files of the document. Bytes before the first `file` are a document of one file, which is called as its origin.
async fn collect(stream: &mut Streaming<pb::ImportModelsRequest>, origin: &str) -> Result<Vec<File>, Status> {
    let mut files: Vec<File> = Vec::new();
    // A file costs memory beside its content, so many empty ones are bounded as well.
    let mut size = 0_usize;
    let too_large = || {
        let text = format!("the document has more than {DOCUMENT_BYTES_MAX} bytes: nothing was imported");
        exhausted(text, "DOCUMENT_TOO_LARGE")
    };
    while let Some(message) = stream.message().await? {
        match message.payload {
            Some(Payload::File(pb::ImportFile { path })) => {
                if path.is_empty() || path.len() > PATH_BYTES_MAX || path.chars().any(char::is_control) {
                    let text = format!("a path has 1 to {PATH_BYTES_MAX} bytes and no control characters");
                    return Err(violation("file.path", &text));
                }
                size = size.saturating_add(FILE_BYTES).saturating_add(path.len());
                files.push(File { path: path.into(), bytes: Vec::new() });
            }
            Some(Payload::Chunk(chunk)) if chunk.len() > CHUNK_BYTES_MAX => {
                let text = format!("it has {} bytes and {CHUNK_BYTES_MAX} are allowed", chunk.len());
                return Err(violation("chunk", &text));
            }
            Some(Payload::Chunk(chunk)) => {
                size = size.saturating_add(chunk.len());
                match files.last_mut() {
                    Some(file) => file.bytes.extend_from_slice(&chunk),
                    None => files.push(File { path: origin.into(), bytes: chunk }),
                }
            }
            Some(Payload::Config(_)) => {
                return Err(violation("config", "only the first message of the stream holds a config"));
            }
            None => return Err(violation("chunk", "a message of the stream holds a chunk or begins a file")),
        }
        if size > DOCUMENT_BYTES_MAX {
            return Err(too_large());
        }
    }
    Ok(files)
}

fn violation(field: &str, description: &str) -> Status {
    invalid(&[Violation { field: field.into(), description: description.into() }])
}
