//! `weighbridge export`.

use std::io::Write;
use std::path::PathBuf;

use clap::{Args, ValueEnum};

use super::Failure;
use super::client::{ANSWER_BYTES_MAX, ServerArguments, failed};
use super::output::{Output, to_json};
use crate::pb::weighbridge::v1 as pb;
use crate::pb::weighbridge::v1::license_service_client::LicenseServiceClient;
use crate::pb::weighbridge::v1::model_service_client::ModelServiceClient;

/// Write licenses and models as one JSON object a line, as `weighbridge import records` reads them.
#[derive(Debug, Args)]
pub(super) struct ExportArguments {
    /// The file; standard output when left out.
    file: Option<PathBuf>,
    /// Which records.
    #[arg(long, value_enum, default_value_t = Origins::All)]
    origin: Origins,
    #[command(flatten)]
    server: ServerArguments,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Origins {
    /// Every record.
    All,
    /// Those that operators wrote.
    Operator,
    /// Those that imports made.
    Imported,
}

impl Origins {
    fn take(self, origin: pb::Origin) -> bool {
        match self {
            Self::All => true,
            Self::Operator => origin == pb::Origin::Operator,
            Self::Imported => origin == pb::Origin::Imported,
        }
    }
}

pub(super) async fn run(arguments: ExportArguments, out: &Output) -> Result<u8, Failure> {
    let channel = arguments.server.connect().await?;
    let mut lines = Vec::new();
    let mut licenses = LicenseServiceClient::new(channel.clone()).max_decoding_message_size(ANSWER_BYTES_MAX);
    let mut page_token = String::new();
    loop {
        let request = pb::ListLicensesRequest { page_size: 1_000, page_token, ..Default::default() };
        let page = licenses.list_licenses(request).await.map_err(|s| failed(&s))?.into_inner();
        let wanted = page.licenses.iter().filter(|license| arguments.origin.take(license.origin()));
        for license in wanted {
            lines.push(to_json("weighbridge.v1.License", license)?.to_string());
        }
        page_token = page.next_page_token;
        if page_token.is_empty() {
            break;
        }
    }
    let mut models = ModelServiceClient::new(channel).max_decoding_message_size(ANSWER_BYTES_MAX);
    loop {
        let request = pb::ListModelsRequest { page_size: 1_000, page_token, ..Default::default() };
        let page = models.list_models(request).await.map_err(|s| failed(&s))?.into_inner();
        for model in page.models.iter().filter(|model| arguments.origin.take(model.origin())) {
            lines.push(to_json("weighbridge.v1.Model", model)?.to_string());
        }
        page_token = page.next_page_token;
        if page_token.is_empty() {
            break;
        }
    }
    let Some(path) = arguments.file else {
        for line in &lines {
            out.line(line)?;
        }
        return Ok(0);
    };
    let failed = |e: std::io::Error| Failure::new(format!("`{}` could not be written: {e}", path.display()));
    let mut file = std::io::BufWriter::new(std::fs::File::create(&path).map_err(failed)?);
    for line in &lines {
        writeln!(file, "{line}").map_err(failed)?;
    }
    file.flush().map_err(failed)?;
    out.line(&format!("{} records written to {}", lines.len(), path.display()))?;
    Ok(0)
}
