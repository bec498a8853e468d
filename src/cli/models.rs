//! `weighbridge models`.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde_json::json;

use super::client::{Channel, ListArguments, ServerArguments, failed, read_message, read_tree};
use super::facts::FactArguments;
use super::moment::MomentArguments;
use super::output::{Output, Style};
use super::{Failure, fields, history};
use crate::attest::bill;
use crate::catalog::fields::ModelField;
use crate::convert;
use crate::pb::weighbridge::v1 as pb;
use crate::pb::weighbridge::v1::eligibility_service_client::EligibilityServiceClient;
use crate::pb::weighbridge::v1::model_service_client::ModelServiceClient;

const MODEL: &str = "weighbridge.v1.Model";
/// Models that are asked for at once.
const BATCH: usize = 100;

/// Look at and change models.
#[derive(Debug, Subcommand)]
pub(super) enum ModelsCommand {
    /// List models by name.
    List {
        /// Only those of a publisher, for example meta.
        #[arg(long)]
        publisher: Option<String>,
        #[command(flatten)]
        list: ListArguments,
        #[command(flatten)]
        moment: MomentArguments,
        #[command(flatten)]
        server: ServerArguments,
    },
    /// Count models by the values of fields, for example `tier license.commercial_use`.
    Count {
        /// The fields.
        #[arg(required = true)]
        fields: Vec<String>,
        /// Only models that meet a filter.
        #[arg(long, default_value = "", hide_default_value = true)]
        filter: String,
        /// Only those of a publisher, for example meta.
        #[arg(long)]
        publisher: Option<String>,
        #[command(flatten)]
        server: ServerArguments,
    },
    /// Put models side by side: openness, license terms, limits, prices; what differs is marked.
    Compare {
        /// Two to eight models: resource names, or any ids they are known by.
        #[arg(required = true)]
        models: Vec<String>,
        #[command(flatten)]
        server: ServerArguments,
    },
    /// List the fields of filters and orders, with what they hold.
    Fields,
    /// List the models that may be used as described, with their verdicts.
    Eligible(Box<EligibleArguments>),
    /// Show a model: its resource name, or any id it is known by.
    Get {
        /// The model.
        model: String,
        #[command(flatten)]
        moment: MomentArguments,
        #[command(flatten)]
        server: ServerArguments,
    },
    /// List the revisions that changed a model, newest first: when, by whom, and which fields.
    History {
        /// The model: its resource name, also of one that was deleted, or any id it is known by.
        model: String,
        #[command(flatten)]
        server: ServerArguments,
    },
    /// Show what a model was made from, each step with its license and what of it the next step drops.
    Lineage {
        /// The model: its resource name, or any id it is known by.
        model: String,
        #[command(flatten)]
        server: ServerArguments,
    },
    /// Write a model with its parts and what it was made from as a bill of materials (CycloneDX 1.6, JSON).
    Bom {
        /// The model: its resource name, or any id it is known by.
        model: String,
        #[command(flatten)]
        server: ServerArguments,
    },
    /// Add a model from a file (`Model` as JSON, YAML or TOML, with its `name`).
    Create {
        /// The file.
        file: PathBuf,
        /// Check everything, but write nothing.
        #[arg(long)]
        dry_run: bool,
        #[command(flatten)]
        server: ServerArguments,
    },
    /// Change a model: the fields that a file sets, or those of --mask.
    Update {
        /// The file.
        file: PathBuf,
        /// Fields to change, by comma; `*` for the whole record.
        #[arg(long, value_delimiter = ',')]
        mask: Vec<String>,
        /// Check everything, but write nothing.
        #[arg(long)]
        dry_run: bool,
        #[command(flatten)]
        server: ServerArguments,
    },
    /// Record what a reviewer concluded on the license of a part: its evidence is CONFIRMED from then on.
    Conclude(Box<ConcludeArguments>),
    /// Print the JSON Schema of model files, for editors and other tools.
    Schema,
    /// Delete an operator's record; a built-in one of the same name shows again.
    Delete {
        /// Resource name.
        name: String,
        /// Delete only if the record still has this etag.
        #[arg(long)]
        etag: Option<String>,
        #[command(flatten)]
        server: ServerArguments,
    },
}

/// A reviewer's conclusion.
#[derive(Debug, Args)]
pub(super) struct ConcludeArguments {
    /// The model: its resource name, or any id it is known by.
    model: String,
    /// The license that was concluded, an SPDX expression.
    #[arg(long, value_name = "EXPRESSION")]
    license: String,
    /// Who concluded it.
    #[arg(long)]
    reviewer: String,
    /// Where it is written down.
    #[arg(long)]
    url: String,
    /// When, for example 2026-01-31; today without it.
    #[arg(long)]
    date: Option<String>,
    /// Why, in a sentence.
    #[arg(long, default_value = "", hide_default_value = true)]
    justification: String,
    /// Which part.
    #[arg(long, default_value = "model-weights")]
    component: String,
    /// Check everything, but write nothing.
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    server: ServerArguments,
}

/// Which models, for which use.
#[derive(Debug, Args)]
pub(super) struct EligibleArguments {
    #[command(flatten)]
    facts: FactArguments,
    /// Only those of a publisher, for example meta.
    #[arg(long)]
    publisher: Option<String>,
    /// Only models that meet a filter and in this order.
    #[command(flatten)]
    list: ListArguments,
    /// Which verdicts to list; eligible and eligible-with-conditions without it.
    #[arg(long = "verdict", value_name = "VERDICT")]
    verdicts: Vec<String>,
    #[command(flatten)]
    moment: MomentArguments,
    #[command(flatten)]
    server: ServerArguments,
}

pub(super) async fn run(command: ModelsCommand, out: &Output) -> Result<u8, Failure> {
    match command {
        ModelsCommand::List { publisher, list: asked, moment, server } => {
            list(publisher, &asked, &moment, &server, out).await
        }
        ModelsCommand::History { model, server } => history(model, &server, out).await,
        ModelsCommand::Count { fields, filter, publisher, server } => {
            let parent = publisher.map_or_else(String::new, |p| format!("publishers/{p}"));
            let request = pb::AggregateModelsRequest { parent, filter, fields, ..Default::default() };
            count(request, &server, out).await
        }
        ModelsCommand::Compare { models, server } => compare(models, &server, out).await,
        ModelsCommand::Fields => fields::print::<ModelField>(out).map(|()| 0),
        ModelsCommand::Eligible(arguments) => eligible(&arguments, out).await,
        ModelsCommand::Get { model, moment, server } => {
            let mut client = ModelServiceClient::new(server.connect().await?);
            let request =
                pb::ResolveModelRequest { alias: model, as_of_revision: moment.revision(), as_of_time: moment.time() };
            out.json(MODEL, &found(&mut client, request).await?).map(|()| 0)
        }
        ModelsCommand::Conclude(arguments) => conclude(*arguments, out).await,
        ModelsCommand::Lineage { model, server } => {
            let mut client = ModelServiceClient::new(server.connect().await?);
            let request = pb::GetModelLineageRequest { model };
            let found = client.get_model_lineage(request).await.map_err(|s| failed(&s))?.into_inner();
            if out.is_json() {
                return out.json("weighbridge.v1.GetModelLineageResponse", &found).map(|()| 0);
            }
            let license =
                if found.license_expression.is_empty() { "no license known" } else { &found.license_expression };
            out.line(&format!("{}  {license}", out.styled(Style::Bold, &found.model)))?;
            for step in &found.steps {
                print_step(out, step)?;
            }
            Ok(0)
        }
        ModelsCommand::Bom { model, server } => bom(model, &server, out).await,
        ModelsCommand::Create { file, dry_run, server } => {
            let model = read(&file)?;
            let (parent, id) = split(&model.name).ok_or_else(|| {
                Failure::usage(format!("{}: name: write `publishers/{{publisher}}/models/{{model}}`", file.display()))
            })?;
            let mut client = ModelServiceClient::new(server.connect().await?);
            let request = pb::CreateModelRequest {
                parent,
                model_id: id,
                model: Some(model),
                validate_only: dry_run,
                ..Default::default()
            };
            let created = client.create_model(request).await.map_err(|s| failed(&s))?.into_inner();
            out.json(MODEL, &created).map(|()| 0)
        }
        ModelsCommand::Update { file, mask, dry_run, server } => {
            let mut client = ModelServiceClient::new(server.connect().await?);
            let request = pb::UpdateModelRequest {
                model: Some(read(&file)?),
                update_mask: Some(prost_types::FieldMask { paths: mask }),
                allow_missing: false,
                validate_only: dry_run,
                ..Default::default()
            };
            let updated = client.update_model(request).await.map_err(|s| failed(&s))?.into_inner();
            out.json(MODEL, &updated).map(|()| 0)
        }
        ModelsCommand::Schema => out.schema(convert::model_schema()).map(|()| 0),
        ModelsCommand::Delete { name, etag, server } => {
            let mut client = ModelServiceClient::new(server.connect().await?);
            let etag = etag.unwrap_or_default();
            let request = pb::DeleteModelRequest { name, etag, validate_only: false, ..Default::default() };
            client.delete_model(request).await.map_err(|s| failed(&s))?;
            Ok(0)
        }
    }
}

async fn resolved(client: &mut ModelServiceClient<Channel>, model: &str) -> Result<pb::Model, Failure> {
    found(client, pb::ResolveModelRequest { alias: model.to_owned(), ..Default::default() }).await
}

async fn found(
    client: &mut ModelServiceClient<Channel>,
    request: pb::ResolveModelRequest,
) -> Result<pb::Model, Failure> {
    let model = request.alias.clone();
    let found = client.resolve_model(request).await.map_err(|s| failed(&s))?.into_inner();
    let unresolved = |message: String| Failure { code: 6, message };
    match found.model {
        Some(model) => Ok(model),
        None if found.candidates.is_empty() => {
            Err(unresolved(format!("`{model}` is an offering whose model is not known")))
        }
        None => {
            let candidates = found.candidates.join("`, `");
            Err(unresolved(format!("`{model}` may be any of `{candidates}`: name one of them")))
        }
    }
}

async fn history(model: String, server: &ServerArguments, out: &Output) -> Result<u8, Failure> {
    let mut client = ModelServiceClient::new(server.connect().await?);
    let name = if model.starts_with("publishers/") { model } else { resolved(&mut client, &model).await?.name };
    let mut all = pb::ListModelRevisionsResponse::default();
    let mut page_token = String::new();
    loop {
        let request = pb::ListModelRevisionsRequest { name: name.clone(), page_size: 100, page_token };
        let page = client.list_model_revisions(request).await.map_err(|s| failed(&s))?.into_inner();
        all.revisions.extend(page.revisions);
        all.oldest_revision = page.oldest_revision;
        if page.next_page_token.is_empty() {
            break;
        }
        page_token = page.next_page_token;
    }
    if out.is_json() {
        return out.json("weighbridge.v1.ListModelRevisionsResponse", &all).map(|()| 0);
    }
    let entries = all.revisions.iter().map(|revision| history::Entry {
        revision: revision.revision,
        time: revision.create_time.as_ref(),
        actor: &revision.actor,
        origin: revision.origin(),
        change: revision.change(),
        record: revision.model.as_ref(),
    });
    history::print(out, MODEL, &entries.collect::<Vec<_>>(), all.oldest_revision).map(|()| 0)
}

async fn conclude(arguments: ConcludeArguments, out: &Output) -> Result<u8, Failure> {
    let ConcludeArguments { model, license, reviewer, url, date, justification, component, dry_run, server } =
        arguments;
    // Read as a message, so that a misspelled part gets the nearest ones.
    let read: pb::Component = read_message("--component", &json!({ "kind": component }), "weighbridge.v1.Component")?;
    let date = date.unwrap_or_else(|| Timestamp::now().to_zoned_datetime(TimeZone::UTC).date().to_string());
    let concluded = |part: pb::Component| pb::Component {
        license_expression: license,
        evidence: pb::Evidence::Confirmed as i32,
        conclusion: Some(pb::Conclusion { reviewer, url, date, justification }),
        ..part
    };
    let mut client = ModelServiceClient::new(server.connect().await?);
    let mut model = resolved(&mut client, &model).await?;
    match model.components.iter_mut().find(|part| part.kind == read.kind) {
        Some(part) => *part = concluded(std::mem::take(part)),
        None => model.components.push(concluded(read)),
    }
    let request = pb::UpdateModelRequest {
        model: Some(model),
        update_mask: Some(prost_types::FieldMask { paths: vec!["components".to_owned()] }),
        allow_missing: false,
        validate_only: dry_run,
        ..Default::default()
    };
    let updated = client.update_model(request).await.map_err(|s| failed(&s))?.into_inner();
    out.json(MODEL, &updated).map(|()| 0)
}

/// One step up a lineage, indented by its depth.
pub(super) fn print_step(out: &Output, step: &pb::LineageStep) -> Result<(), Failure> {
    let indent = "  ".repeat(usize::try_from(step.depth).unwrap_or(1).min(20));
    let relation = step.relation().as_str_name().trim_start_matches("RELATION_");
    let license = if step.license_expression.is_empty() { "no license known" } else { &step.license_expression };
    let known = if step.known { "" } else { ", no record here" };
    let counts = if step.terms_count { "" } else { ", the same owner: adds nothing" };
    out.line(&format!("{indent}{relation} of {}  {license}{known}{counts}", step.base_model))?;
    if !step.dropped_terms.is_empty() && step.terms_count {
        let dropped = format!("{indent}  dropped by {}: {}", step.model, step.dropped_terms.join(", "));
        out.line(&out.styled(Style::Dim, &dropped))?;
    }
    Ok(())
}

const ELIGIBLE: &str = "weighbridge.v1.ListEligibleModelsRequest";

async fn eligible(arguments: &EligibleArguments, out: &Output) -> Result<u8, Failure> {
    // Read as a message, so that a misspelled verdict gets the nearest ones.
    let verdicts = json!({ "verdicts": arguments.verdicts });
    let read: pb::ListEligibleModelsRequest = read_message("--verdict", &verdicts, ELIGIBLE)?;
    let mut request = pb::ListEligibleModelsRequest {
        r#use: Some(arguments.facts.read()?),
        use_profile: arguments.facts.profile(),
        parent: arguments.publisher.as_ref().map_or_else(String::new, |p| format!("publishers/{p}")),
        filter: arguments.list.filter.clone(),
        order_by: arguments.list.order_by.clone(),
        page_size: 1_000,
        as_of_revision: arguments.moment.revision(),
        as_of_time: arguments.moment.time(),
        ..read
    };
    let mut client = EligibilityServiceClient::new(arguments.server.connect().await?);
    let mut all = pb::ListEligibleModelsResponse { complete: true, ..Default::default() };
    loop {
        let page = client.list_eligible_models(request.clone()).await.map_err(|s| failed(&s))?.into_inner();
        all.models.extend(page.models);
        all.complete &= page.complete;
        (all.total_size, all.revision, all.verdict_counts) = (page.total_size, page.revision, page.verdict_counts);
        if page.next_page_token.is_empty() {
            break;
        }
        request.page_token = page.next_page_token;
    }
    if out.is_json() {
        return out.json("weighbridge.v1.ListEligibleModelsResponse", &all).map(|()| 0);
    }
    for model in &all.models {
        let verdict = model.verdict().as_str_name().trim_start_matches("VERDICT_");
        let license = if model.license_expression.is_empty() { "-" } else { &model.license_expression };
        out.line(&format!("{verdict:<24} {:<70} {license}", model.model))?;
    }
    let count = |c: &pb::list_eligible_models_response::VerdictCount| {
        format!("{} {}", c.models, c.verdict().as_str_name().trim_start_matches("VERDICT_"))
    };
    let counts: Vec<String> = all.verdict_counts.iter().map(count).collect();
    out.line(&out.styled(Style::Dim, &format!("of all models: {}", counts.join(", "))))?;
    if !all.complete {
        out.line("the registry changed in between: run it again for a list that is complete")?;
    }
    Ok(0)
}

fn read(file: &std::path::Path) -> Result<pb::Model, Failure> {
    read_message(&file.display().to_string(), &read_tree(file)?, MODEL)
}

fn split(name: &str) -> Option<(String, String)> {
    let (parent, id) = name.split_once("/models/")?;
    Some((parent.to_owned(), id.to_owned()))
}

async fn list(
    publisher: Option<String>,
    asked: &ListArguments,
    moment: &MomentArguments,
    server: &ServerArguments,
    out: &Output,
) -> Result<u8, Failure> {
    let mut client = ModelServiceClient::new(server.connect().await?);
    let parent = publisher.map_or_else(String::new, |p| format!("publishers/{p}"));
    let mut all = pb::ListModelsResponse::default();
    let mut page_token = String::new();
    loop {
        let request = pb::ListModelsRequest {
            parent: parent.clone(),
            page_size: 1_000,
            page_token,
            filter: asked.filter.clone(),
            order_by: asked.order_by.clone(),
            as_of_revision: moment.revision(),
            as_of_time: moment.time(),
            ..Default::default()
        };
        let page = client.list_models(request).await.map_err(|s| failed(&s))?.into_inner();
        all.total_size = page.total_size;
        all.models.extend(page.models);
        if page.next_page_token.is_empty() {
            break;
        }
        page_token = page.next_page_token;
    }
    if out.is_json() {
        return out.json("weighbridge.v1.ListModelsResponse", &all).map(|()| 0);
    }
    for model in &all.models {
        let tier = model.tier().as_str_name().trim_start_matches("TIER_");
        let license = if model.license_expression.is_empty() { "-" } else { &model.license_expression };
        out.line(&format!("{:<70} {tier:<12} {license}", model.name))?;
    }
    out.line(&out.styled(Style::Dim, &format!("{} models", all.total_size)))?;
    Ok(0)
}

async fn count(request: pb::AggregateModelsRequest, server: &ServerArguments, out: &Output) -> Result<u8, Failure> {
    let mut client = ModelServiceClient::new(server.connect().await?);
    let counted = client.aggregate_models(request).await.map_err(|s| failed(&s))?.into_inner();
    if out.is_json() {
        return out.json("weighbridge.v1.AggregateModelsResponse", &counted).map(|()| 0);
    }
    for facet in &counted.facets {
        out.line(&out.styled(Style::Bold, &facet.field))?;
        for count in &facet.values {
            out.line(&format!("{:>10}  {}", count.models, count.value))?;
        }
        let left = usize::try_from(facet.distinct_values).unwrap_or_default().saturating_sub(facet.values.len());
        if left > 0 {
            out.line(&out.styled(Style::Dim, &format!("{left:>10}  values more")))?;
        }
        if facet.unknown > 0 {
            out.line(&out.styled(Style::Dim, &format!("{:>10}  not known, or not all of it", facet.unknown)))?;
        }
    }
    out.line(&out.styled(Style::Dim, &format!("{} models", counted.total_size)))?;
    Ok(0)
}

async fn compare(models: Vec<String>, server: &ServerArguments, out: &Output) -> Result<u8, Failure> {
    let mut client = ModelServiceClient::new(server.connect().await?);
    let request = pb::CompareModelsRequest { models };
    let compared = client.compare_models(request).await.map_err(|s| failed(&s))?.into_inner();
    if out.is_json() {
        return out.json("weighbridge.v1.CompareModelsResponse", &compared).map(|()| 0);
    }
    for (i, name) in compared.names.iter().enumerate() {
        out.line(&out.styled(Style::Bold, &format!("{}  {name}", i + 1)))?;
    }
    for row in &compared.rows {
        let mark = if row.differs { "*" } else { " " };
        out.line(&format!("{mark} {}", row.topic))?;
        let mut cells = row.cells.iter().enumerate();
        match row.cells.first().filter(|_| !row.differs) {
            Some(cell) => out.line(&format!("    {}", shown(cell)))?,
            None => cells.try_for_each(|(i, cell)| out.line(&format!("    {}  {}", i + 1, shown(cell))))?,
        }
    }
    Ok(0)
}

fn shown(cell: &str) -> &str {
    if cell.is_empty() { "not known" } else { cell }
}

async fn bom(model: String, server: &ServerArguments, out: &Output) -> Result<u8, Failure> {
    let mut client = ModelServiceClient::new(server.connect().await?);
    let request = pb::ResolveModelRequest { alias: model, ..Default::default() };
    let model = found(&mut client, request).await?;
    let request = pb::GetModelLineageRequest { model: model.name.clone() };
    let lineage = client.get_model_lineage(request).await.map_err(|s| failed(&s))?.into_inner();
    // Those without a record are named by the others.
    let mut names: Vec<String> =
        lineage.steps.into_iter().filter(|step| step.known).map(|step| step.base_model).collect();
    names.sort_unstable();
    names.dedup();
    let mut ancestors = Vec::new();
    for names in names.chunks(BATCH) {
        let request = pb::BatchGetModelsRequest { names: names.to_vec(), ..Default::default() };
        let got = client.batch_get_models(request).await.map_err(|s| failed(&s))?.into_inner();
        ancestors.extend(got.models);
    }
    out.value(&bill(&model, &ancestors)).map(|()| 0)
}
