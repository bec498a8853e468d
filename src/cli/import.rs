//! `weighbridge import`.

use std::collections::BTreeMap;
use std::io::Read as _;
use std::path::Path;
use std::time::Duration;

use clap::{Args, Subcommand};
use indicatif::{ProgressBar, ProgressStyle};
use tokio_stream::iter;

use super::Failure;
use super::client::{ANSWER_BYTES_MAX, ServerArguments, failed, read_bounded};
use super::output::{Output, Style};
use crate::pb::weighbridge::v1 as pb;
use crate::pb::weighbridge::v1::import_models_request::Payload;
use crate::pb::weighbridge::v1::model_service_client::ModelServiceClient;
use crate::registry::DOCUMENT_BYTES_MAX;

const CHUNK_BYTES: usize = 256 << 10;

/// Import a document of a known source.
#[derive(Debug, Subcommand)]
pub(super) enum ImportCommand {
    /// models.dev `api.json`: providers and what they serve.
    ModelsDev(DocumentArguments),
}

#[derive(Debug, Args)]
pub(super) struct DocumentArguments {
    /// A file, or an http or https URL such as https://models.dev/api.json.
    source: String,
    /// Report what would change, but write nothing.
    #[arg(long)]
    dry_run: bool,
    /// Show every unresolved and rejected record and every warning, not the first of each kind.
    #[arg(long)]
    all: bool,
    #[command(flatten)]
    server: ServerArguments,
}

pub(super) async fn run(command: ImportCommand, out: &Output) -> Result<u8, Failure> {
    match command {
        ImportCommand::ModelsDev(arguments) => import(pb::ImportSource::ModelsDev, arguments, out).await,
    }
}

async fn import(source: pb::ImportSource, arguments: DocumentArguments, out: &Output) -> Result<u8, Failure> {
    let document = read(&arguments.source)?;
    let channel = arguments.server.connect().await?;
    let mut client = ModelServiceClient::new(channel).max_decoding_message_size(ANSWER_BYTES_MAX);
    let config =
        pb::ImportConfig { source: source as i32, origin: arguments.source.clone(), validate_only: arguments.dry_run };
    let bar = progress(document.len(), "sending");
    let chunks: Vec<pb::ImportModelsRequest> = document
        .chunks(CHUNK_BYTES)
        .map(|chunk| pb::ImportModelsRequest { payload: Some(Payload::Chunk(chunk.to_vec())) })
        .collect();
    let sending = bar.clone();
    let last = chunks.len();
    let chunks = chunks.into_iter().enumerate().map(move |(i, chunk)| {
        if let Some(Payload::Chunk(bytes)) = &chunk.payload {
            sending.inc(u64::try_from(bytes.len()).unwrap_or_default());
        }
        if i + 1 == last {
            sending.set_message("the server works");
        }
        chunk
    });
    let first = pb::ImportModelsRequest { payload: Some(Payload::Config(config)) };
    let response = client.import_models(iter(std::iter::once(first).chain(chunks))).await;
    bar.finish_and_clear();
    let response = response.map_err(|s| failed(&s))?.into_inner();
    if out.is_json() {
        return out.json("weighbridge.v1.ImportModelsResponse", &response).map(|()| 0);
    }
    print(out, &response.report.unwrap_or_default(), arguments.dry_run, arguments.all)?;
    Ok(0)
}

fn progress(bytes: usize, message: &'static str) -> ProgressBar {
    let bar = ProgressBar::new(u64::try_from(bytes).unwrap_or_default());
    // The template is ours and valid; without it the bar keeps its default look.
    if let Ok(style) = ProgressStyle::with_template("{msg:<18} {bar:40} {bytes}/{total_bytes} {elapsed}") {
        bar.set_style(style);
    }
    bar.set_message(message);
    bar.enable_steady_tick(Duration::from_millis(100));
    bar
}

/// Reads a file or fetches a URL, within the limit of an import.
fn read(source: &str) -> Result<Vec<u8>, Failure> {
    if !source.starts_with("http://") && !source.starts_with("https://") {
        return read_bounded(Path::new(source), DOCUMENT_BYTES_MAX);
    }
    let failed = |e: String| Failure::new(format!("`{source}` could not be fetched: {e}"));
    let agent: ureq::Agent =
        ureq::Agent::config_builder().timeout_global(Some(Duration::from_secs(120))).build().into();
    let response = agent.get(source).call().map_err(|e| failed(e.to_string()))?;
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

fn print(out: &Output, report: &pb::ImportReport, dry_run: bool, all: bool) -> Result<(), Failure> {
    let lead = if dry_run { "would be " } else { "" };
    out.line(&format!("{} providers, {} offerings", report.providers, report.offerings))?;
    out.line(&format!(
        "{lead}created {}, updated {}, unchanged {}, deleted {}",
        report.created, report.updated, report.unchanged, report.deleted
    ))?;
    out.line(&format!(
        "unresolved {}, rejected {}, warnings {}; registry revision {}",
        report.unresolved, report.rejected, report.warnings, report.revision
    ))?;
    for (field, count) in &report.unknown_fields {
        out.line(&format!("unknown field {field}: {count} times"))?;
    }
    if all {
        for entry in &report.entries {
            let outcome = entry.outcome().as_str_name().trim_start_matches("OUTCOME_");
            out.line(&format!("{outcome:<10} {}: {}", entry.record, entry.messages.join("; ")))?;
        }
        return Ok(());
    }
    // One line a kind: the first message with its count and an example.
    let mut kinds: BTreeMap<(i32, String), (usize, &str)> = BTreeMap::new();
    for entry in &report.entries {
        for message in &entry.messages {
            let kind = kinds.entry((entry.outcome, kind_of(message))).or_insert((0, &entry.record));
            kind.0 += 1;
        }
    }
    for ((outcome, kind), (count, example)) in kinds {
        let outcome = pb::import_entry::Outcome::try_from(outcome).unwrap_or_default();
        let outcome = outcome.as_str_name().trim_start_matches("OUTCOME_");
        out.line(&out.styled(Style::Dim, &format!("{outcome:<10} {count:>5} x {kind} (first: {example})")))?;
    }
    Ok(())
}

/// A message with what differs from record to record left out: names in backticks become `…`, numbers `#`.
fn kind_of(message: &str) -> String {
    let mut out = String::new();
    for (i, part) in message.split('`').enumerate() {
        if i % 2 == 1 {
            out.push('…');
            continue;
        }
        for c in part.chars() {
            match c {
                '0'..='9' if out.ends_with('#') => {}
                '0'..='9' => out.push('#'),
                c => out.push(c),
            }
        }
    }
    out
}
