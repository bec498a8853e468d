//! `ImportModels`: collects the document from the stream, within its limit.

use tonic::{Status, Streaming};

use super::{Answer, answer};
use crate::convert::Violation;
use crate::convert::status::{exhausted, invalid};
use crate::pb::weighbridge::v1 as pb;
use crate::pb::weighbridge::v1::import_models_request::Payload;
use crate::registry::{DOCUMENT_BYTES_MAX, ImportRequest, Registry};

/// Largest chunk, in bytes.
const CHUNK_BYTES_MAX: usize = 1 << 20;

pub(super) async fn import_models(
    registry: &Registry,
    mut stream: Streaming<pb::ImportModelsRequest>,
) -> Answer<pb::ImportModelsResponse> {
    let first = stream.message().await?.and_then(|message| message.payload);
    let Some(Payload::Config(config)) = first else {
        return Err(violation("config", "the first message of the stream holds the config"));
    };
    let source = pb::ImportSource::try_from(config.source)
        .map_err(|_| violation("config.source", "it is no value of this enum: use IMPORT_SOURCE_MODELS_DEV"))?;
    let document = collect(&mut stream).await?;
    if document.is_empty() {
        return Err(violation("chunk", "the document is empty: send its bytes after the config"));
    }
    let request = ImportRequest { source, origin: config.origin, validate_only: config.validate_only, document };
    answer(registry.import(request).await.map(|report| pb::ImportModelsResponse { report: Some(report) }))
}

async fn collect(stream: &mut Streaming<pb::ImportModelsRequest>) -> Result<Vec<u8>, Status> {
    let mut document = Vec::new();
    while let Some(message) = stream.message().await? {
        match message.payload {
            Some(Payload::Chunk(chunk)) if chunk.len() > CHUNK_BYTES_MAX => {
                let text = format!("it has {} bytes and {CHUNK_BYTES_MAX} are allowed", chunk.len());
                return Err(violation("chunk", &text));
            }
            Some(Payload::Chunk(chunk)) if document.len() + chunk.len() > DOCUMENT_BYTES_MAX => {
                let text = format!("the document has more than {DOCUMENT_BYTES_MAX} bytes: nothing was imported");
                return Err(exhausted(text, "DOCUMENT_TOO_LARGE"));
            }
            Some(Payload::Chunk(chunk)) => document.extend_from_slice(&chunk),
            Some(Payload::Config(_)) => {
                return Err(violation("config", "only the first message of the stream holds a config"));
            }
            None => return Err(violation("chunk", "a message of the stream holds a chunk")),
        }
    }
    Ok(document)
}

fn violation(field: &str, description: &str) -> Status {
    invalid(&[Violation { field: field.into(), description: description.into() }])
}
