//! `weighbridge offerings`.

use clap::Subcommand;

use super::client::{ANSWER_BYTES_MAX, ListArguments, ServerArguments, failed};
use super::output::{Output, Style};
use super::{Failure, fields};
use crate::catalog::fields::OfferingField;
use crate::pb::weighbridge::v1 as pb;
use crate::pb::weighbridge::v1::offering_service_client::OfferingServiceClient;

/// Look at who serves which model, and at what price.
#[derive(Debug, Subcommand)]
pub(super) enum OfferingsCommand {
    /// List offerings by name.
    List {
        /// Only those of a provider, for example groq.
        #[arg(long)]
        provider: Option<String>,
        /// Only those of a model: its resource name, or any id it is known by.
        #[arg(long, default_value = "", hide_default_value = true)]
        model: String,
        #[command(flatten)]
        list: ListArguments,
        #[command(flatten)]
        server: ServerArguments,
    },
    /// List the fields of filters and orders, with what they hold.
    Fields,
    /// Show an offering: its resource name, with its id URL-escaped.
    Get {
        /// The offering.
        name: String,
        #[command(flatten)]
        server: ServerArguments,
    },
}

pub(super) async fn run(command: OfferingsCommand, out: &Output) -> Result<u8, Failure> {
    match command {
        OfferingsCommand::List { provider, model, list: asked, server } => {
            let parent = provider.map_or_else(String::new, |p| format!("providers/{p}"));
            let ListArguments { filter, order_by } = asked;
            let request = pb::ListOfferingsRequest { parent, model, filter, order_by, ..Default::default() };
            list(request, &server, out).await
        }
        OfferingsCommand::Fields => fields::print::<OfferingField>(out).map(|()| 0),
        OfferingsCommand::Get { name, server } => {
            let mut client = OfferingServiceClient::new(server.connect().await?);
            let request = pb::GetOfferingRequest { name };
            let offering = client.get_offering(request).await.map_err(|s| failed(&s))?.into_inner();
            out.json("weighbridge.v1.Offering", &offering).map(|()| 0)
        }
    }
}

async fn list(asked: pb::ListOfferingsRequest, server: &ServerArguments, out: &Output) -> Result<u8, Failure> {
    let channel = server.connect().await?;
    let mut client = OfferingServiceClient::new(channel).max_decoding_message_size(ANSWER_BYTES_MAX);
    let mut all = pb::ListOfferingsResponse::default();
    let mut page_token = String::new();
    loop {
        let request = pb::ListOfferingsRequest { page_size: 1_000, page_token, ..asked.clone() };
        let page = client.list_offerings(request).await.map_err(|s| failed(&s))?.into_inner();
        all.total_size = page.total_size;
        all.offerings.extend(page.offerings);
        page_token = page.next_page_token;
        if page_token.is_empty() {
            break;
        }
    }
    if out.is_json() {
        return out.json("weighbridge.v1.ListOfferingsResponse", &all).map(|()| 0);
    }
    for offering in &all.offerings {
        let provider = offering.name.split('/').nth(1).unwrap_or_default();
        let model = match offering.model.strip_prefix("publishers/") {
            Some(model) => model.replacen("/models/", "/", 1),
            None => format!("? {}", offering.unresolved_reason),
        };
        let price = offering.price.unwrap_or_default();
        let price = match (price.input, price.output) {
            (None, None) => String::new(),
            (input, output) => format!("{} / {} USD", dollars(input), dollars(output)),
        };
        out.line(&format!("{provider:<24} {:<48} {price:<20} {model}", offering.offering_id))?;
    }
    out.line(&out.styled(Style::Dim, &format!("{} offerings; prices per million tokens in / out", all.total_size)))?;
    Ok(0)
}

fn dollars(price: Option<f64>) -> String {
    price.map_or_else(|| "-".to_owned(), |price| format!("{price}"))
}
