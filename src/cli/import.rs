//! `weighbridge import`.

use std::collections::BTreeMap;

use clap::{Args, Subcommand};
use tokio_stream::iter;

use super::Failure;
use super::client::{ANSWER_BYTES_MAX, ServerArguments, failed};
use super::document::{self, ONE_FILE, Wanted};
use super::output::{Output, Style};
use crate::pb::weighbridge::v1 as pb;
use crate::pb::weighbridge::v1::import_models_request::Payload;
use crate::pb::weighbridge::v1::model_service_client::ModelServiceClient;

const CHUNK_BYTES: usize = 256 << 10;
const YAML_MODELS: Wanted = Wanted { extensions: &["yml", "yaml"], folder: "models" };
const COMPARIA: Wanted = Wanted { extensions: &["json"], folder: "utils/models" };

/// Import a document of a known source.
#[derive(Debug, Subcommand)]
pub(super) enum ImportCommand {
    /// models.dev `api.json`: providers and what they serve.
    ModelsDev(DocumentArguments),
    /// models.dev `models.json`: its own model records.
    ModelsDevCatalog(DocumentArguments),
    /// Model Openness Tool: the folder `models`, or an archive (.tar.gz) of its repository.
    Mot(DocumentArguments),
    /// European Open Source AI Index: the folder of its YAML files, or an archive (.tar.gz) of them.
    Osai(DocumentArguments),
    /// compar:IA: the folder of `models.json` and `licenses.json`, `models.json` alone, or an archive of its repository.
    Comparia(DocumentArguments),
    /// Epoch AI: the CSV file of notable models.
    Epoch(DocumentArguments),
    /// A model card of the hub: its README.md, or the address of its repository.
    ModelCard {
        #[command(flatten)]
        document: DocumentArguments,
        /// The repository, `organization/name`; taken from an address of the hub.
        #[arg(long)]
        repository: Option<String>,
    },
    /// Models and licenses of a registry such as this: JSON, YAML, or one JSON object a line. They become your own
    /// records.
    Records(DocumentArguments),
}

#[derive(Debug, Args)]
pub(super) struct DocumentArguments {
    /// A file or a folder, or an http or https URL such as https://models.dev/api.json.
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
    use pb::ImportSource as S;
    let (source, wanted, arguments, repository) = match command {
        ImportCommand::ModelsDev(arguments) => (S::ModelsDev, ONE_FILE, arguments, None),
        ImportCommand::ModelsDevCatalog(arguments) => (S::ModelsDevCatalog, ONE_FILE, arguments, None),
        ImportCommand::Mot(arguments) => (S::Mot, YAML_MODELS, arguments, None),
        ImportCommand::Osai(arguments) => (S::Osai, Wanted { folder: "", ..YAML_MODELS }, arguments, None),
        ImportCommand::Comparia(arguments) => (S::Comparia, COMPARIA, arguments, None),
        ImportCommand::Epoch(arguments) => (S::Epoch, ONE_FILE, arguments, None),
        ImportCommand::ModelCard { document, repository } => (S::ModelCard, ONE_FILE, document, repository),
        ImportCommand::Records(arguments) => (S::Records, ONE_FILE, arguments, None),
    };
    import(source, wanted, arguments, repository, out).await
}

async fn import(
    source: pb::ImportSource,
    wanted: Wanted,
    arguments: DocumentArguments,
    repository: Option<String>,
    out: &Output,
) -> Result<u8, Failure> {
    let files = document::read(&arguments.source, wanted)?;
    let channel = arguments.server.connect().await?;
    let mut client = ModelServiceClient::new(channel).max_decoding_message_size(ANSWER_BYTES_MAX);
    let config = pb::ImportConfig {
        source: source as i32,
        origin: arguments.source.clone(),
        validate_only: arguments.dry_run,
        repository: repository.unwrap_or_default(),
    };
    let bar = document::progress(files.iter().map(|file| file.bytes.len()).sum(), "sending");
    let sending = bar.clone();
    let payloads = std::iter::once(Payload::Config(config)).chain(files.into_iter().flat_map(|file| {
        let path = file.path.to_string();
        let chunks: Vec<_> = file.bytes.chunks(CHUNK_BYTES).map(|chunk| Payload::Chunk(chunk.to_vec())).collect();
        std::iter::once(Payload::File(pb::ImportFile { path })).chain(chunks)
    }));
    let messages = payloads.map(move |payload| {
        if let Payload::Chunk(bytes) = &payload {
            sending.inc(u64::try_from(bytes.len()).unwrap_or_default());
            if sending.length() == Some(sending.position()) {
                sending.set_message("the server works");
            }
        }
        pb::ImportModelsRequest { payload: Some(payload) }
    });
    let response = client.import_models(iter(messages.collect::<Vec<_>>())).await;
    bar.finish_and_clear();
    let response = response.map_err(|s| failed(&s))?.into_inner();
    if out.is_json() {
        return out.json("weighbridge.v1.ImportModelsResponse", &response).map(|()| 0);
    }
    print(out, &response.report.unwrap_or_default(), arguments.dry_run, arguments.all)?;
    Ok(0)
}

fn print(out: &Output, report: &pb::ImportReport, dry_run: bool, all: bool) -> Result<(), Failure> {
    let lead = if dry_run { "would be " } else { "" };
    match (report.providers, report.models) {
        (0, models) => out.line(&format!("{models} records of models"))?,
        (providers, _) => out.line(&format!("{providers} providers, {} offerings", report.offerings))?,
    }
    out.line(&format!(
        "{lead}created {}, updated {}, unchanged {}, deleted {}",
        report.created, report.updated, report.unchanged, report.deleted
    ))?;
    out.line(&format!(
        "unresolved {}, rejected {}, warnings {}, models on which sources disagree {}; registry revision {}",
        report.unresolved, report.rejected, report.warnings, report.conflicting_models, report.revision
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
