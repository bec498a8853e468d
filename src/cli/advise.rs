//! `weighbridge advise`.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use clap::{Args, Subcommand};
use serde_json::{Map, Value, json};
use tonic::{Response, Status};

use super::chart;
use super::client::{ANSWER_BYTES_MAX, Channel, ServerArguments, failed, read_message};
use super::facts::{FactArguments, number_of};
use super::output::{Output, Style, note};
use super::{Failure, records};
use crate::domain::name::OfferingName;
use crate::pb::weighbridge::v1 as pb;
use crate::pb::weighbridge::v1::advisor_service_client::AdvisorServiceClient;
use crate::registry::Registry;
use crate::service;

/// Where to run a model, on what, and at which cost.
#[derive(Debug, Subcommand)]
pub(super) enum AdviseCommand {
    /// Estimate the memory of a model, which accelerators hold it, what they cost and how fast they answer.
    Hosting(Box<HostingArguments>),
    /// Hold the cost of hosting a model against every priced offering of it, with the tokens a day from which it pays.
    Costs(Box<CostsArguments>),
    /// Rank a vendor's API, open weights hosted by others, and open weights hosted by oneself, by what is needed.
    Route(Box<RouteArguments>),
    /// List the kinds of accelerators that are known, what is assumed, and the rules of compliance that are known.
    Accelerators {
        /// Show those of this release in this process, without a server.
        #[arg(long)]
        offline: bool,
        #[command(flatten)]
        server: ServerArguments,
    },
}

/// What a model is asked to do, and with what.
#[derive(Debug, Args)]
struct MeansArguments {
    /// Tokens of one request, in and out, for example 8192 or 128k.
    #[arg(long, value_name = "TOKENS", value_parser = number)]
    context: Option<i64>,
    /// Requests answered at the same time.
    #[arg(long, value_name = "REQUESTS", value_parser = number)]
    concurrent: Option<i64>,
    /// Precision of the weights: fp32, bf16, fp8 or int4.
    #[arg(long, value_name = "PRECISION")]
    precision: Option<String>,
    /// Precision of the key-value cache.
    #[arg(long, value_name = "PRECISION")]
    key_value_precision: Option<String>,
    /// Only these kinds of accelerators, for example h100-sxm-80gb.
    #[arg(long = "accelerator", value_name = "ID")]
    accelerators: Vec<String>,
    /// Only these numbers of them.
    #[arg(long = "count", value_name = "COUNT")]
    counts: Vec<u32>,
    /// Another price of an hour of one accelerator: ID=USD, for example h100-sxm-80gb=2.20.
    #[arg(long = "accelerator-price", value_name = "ID=USD", value_parser = pair)]
    prices: Vec<(String, f64)>,
    /// Another assumption: NAME=VALUE, for example usable_memory_fraction=0.95; `weighbridge advise accelerators` lists them.
    #[arg(long = "assume", value_name = "NAME=VALUE", value_parser = pair)]
    assumptions: Vec<(String, f64)>,
    /// Show every assumption.
    #[arg(long)]
    assumptions_shown: bool,
}

/// How large the model is, where its record does not say.
#[derive(Debug, Args)]
struct SizeArguments {
    /// Number of parameters, for example 70B, instead of the record's.
    #[arg(long, value_name = "NUMBER", value_parser = number)]
    parameters: Option<i64>,
    /// Number of those that a token is computed with.
    #[arg(long, value_name = "NUMBER", value_parser = number, requires = "parameters")]
    active_parameters: Option<i64>,
}

/// Arguments of `advise hosting`.
#[derive(Debug, Args)]
pub(super) struct HostingArguments {
    /// The model: its resource name, or any id it is known by. It may be left out with --parameters.
    #[arg(required_unless_present = "parameters")]
    model: Option<String>,
    #[command(flatten)]
    size: SizeArguments,
    #[command(flatten)]
    means: MeansArguments,
    /// Show those that do not hold it, too.
    #[arg(long)]
    all: bool,
    /// Answer from the built-in catalog in this process, without a server.
    #[arg(long)]
    offline: bool,
    #[command(flatten)]
    server: ServerArguments,
}

/// Arguments of `advise costs`.
#[derive(Debug, Args)]
pub(super) struct CostsArguments {
    /// The model: its resource name, or any id it is known by.
    model: String,
    #[command(flatten)]
    size: SizeArguments,
    #[command(flatten)]
    means: MeansArguments,
    #[command(flatten)]
    load: LoadArguments,
    /// Draw the curve into a file that ends in .svg.
    #[arg(long, value_name = "FILE")]
    chart: Option<PathBuf>,
    /// Answer from the built-in catalog in this process, without a server; it knows no offerings.
    #[arg(long)]
    offline: bool,
    #[command(flatten)]
    server: ServerArguments,
}

/// How much machines have to do.
#[derive(Debug, Args)]
struct LoadArguments {
    /// Tokens a day, of prompts and answers, for example 10M.
    #[arg(long, value_name = "TOKENS", value_parser = number)]
    tokens_per_day: Option<i64>,
    /// Tokens of prompts for each token of an answer.
    #[arg(long, value_name = "RATIO")]
    input_output_ratio: Option<f64>,
    /// Share of what machines can do that they are kept busy with, above 0 and at most 1.
    #[arg(long, value_name = "SHARE")]
    utilization: Option<f64>,
}

/// Arguments of `advise route`.
#[derive(Debug, Args)]
pub(super) struct RouteArguments {
    #[command(flatten)]
    facts: FactArguments,
    /// Data must not leave the premises.
    #[arg(long)]
    on_premises: bool,
    /// A rule that holds for the data, for example hipaa; `weighbridge advise accelerators` lists them.
    #[arg(long, value_name = "RULE")]
    compliance: Vec<String>,
    /// Weights are trained further on data that nobody else may see.
    #[arg(long)]
    private_fine_tuning: bool,
    /// It runs without a network, on devices.
    #[arg(long = "without-network")]
    without_network: bool,
    /// Memory of such a device in gigabytes.
    #[arg(long, value_name = "GB")]
    device_memory: Option<f64>,
    /// Most US dollars a day.
    #[arg(long, value_name = "USD")]
    budget: Option<f64>,
    /// Most seconds until the first token of an answer.
    #[arg(long, value_name = "SECONDS")]
    first_token: Option<f64>,
    /// Least tokens a second of one request.
    #[arg(long, value_name = "TOKENS")]
    request_speed: Option<f64>,
    /// Only this model: its resource name, or any id it is known by.
    #[arg(long = "model", value_name = "MODEL")]
    models: Vec<String>,
    /// Only models that meet a filter, for example `parameters.total >= 30B AND input_modalities:IMAGE`.
    #[arg(long, default_value = "", hide_default_value = true)]
    filter: String,
    /// Which models come first, for example `parameters.total desc`; the newest without it.
    #[arg(long, default_value = "", hide_default_value = true)]
    order_by: String,
    /// At most this many models a route.
    #[arg(long, value_name = "COUNT")]
    candidates: Option<i32>,
    #[command(flatten)]
    load: LoadArguments,
    #[command(flatten)]
    means: MeansArguments,
    /// Answer from the built-in catalog in this process, without a server; it knows no offerings.
    #[arg(long)]
    offline: bool,
    #[command(flatten)]
    server: ServerArguments,
}

fn number(text: &str) -> Result<i64, String> {
    number_of(text).ok_or_else(|| "it is no number: write digits, with K, M or B perhaps, for example 10M".to_owned())
}

fn pair(text: &str) -> Result<(String, f64), String> {
    let read = text.split_once('=').and_then(|(name, value)| Some((name.to_owned(), value.parse::<f64>().ok()?)));
    read.ok_or_else(|| "write NAME=NUMBER".to_owned())
}

/// Who answers.
enum Adviser {
    Offline(Arc<Registry>),
    Online(Box<AdvisorServiceClient<Channel>>),
}

impl Adviser {
    async fn open(offline: bool, server: &ServerArguments) -> Result<Self, Failure> {
        if offline {
            return Ok(Self::Offline(Arc::new(records::built_in().await?)));
        }
        let client = AdvisorServiceClient::new(server.connect().await?);
        Ok(Self::Online(Box::new(client.max_decoding_message_size(ANSWER_BYTES_MAX))))
    }

    async fn hosting(self, asked: pb::EstimateHostingRequest) -> Result<pb::EstimateHostingResponse, Status> {
        match self {
            Self::Offline(registry) => service::estimate_hosting(&registry, asked).await,
            Self::Online(mut client) => client.estimate_hosting(asked).await.map(Response::into_inner),
        }
    }

    async fn costs(self, asked: pb::CompareCostsRequest) -> Result<pb::CompareCostsResponse, Status> {
        match self {
            Self::Offline(registry) => service::compare_costs(&registry, asked).await,
            Self::Online(mut client) => client.compare_costs(asked).await.map(Response::into_inner),
        }
    }

    async fn route(self, asked: pb::RecommendRouteRequest) -> Result<pb::RecommendRouteResponse, Status> {
        match self {
            Self::Offline(registry) => service::recommend_route(&registry, asked).await,
            Self::Online(mut client) => client.recommend_route(asked).await.map(Response::into_inner),
        }
    }

    async fn accelerators(self) -> Result<pb::ListAcceleratorsResponse, Status> {
        match self {
            Self::Offline(registry) => Ok(registry.accelerators()),
            Self::Online(mut client) => {
                client.list_accelerators(pb::ListAcceleratorsRequest {}).await.map(Response::into_inner)
            }
        }
    }
}

pub(super) async fn run(command: AdviseCommand, out: &Output) -> Result<u8, Failure> {
    match command {
        AdviseCommand::Hosting(arguments) => hosting(*arguments, out).await,
        AdviseCommand::Costs(arguments) => costs(*arguments, out).await,
        AdviseCommand::Route(arguments) => route(*arguments, out).await,
        AdviseCommand::Accelerators { offline, server } => {
            let found = Adviser::open(offline, &server).await?.accelerators().await.map_err(|s| failed(&s))?;
            if out.is_json() {
                return out.json("weighbridge.v1.ListAcceleratorsResponse", &found).map(|()| 0);
            }
            print_accelerators(out, &found).map(|()| 0)
        }
    }
}

impl MeansArguments {
    /// Fields that every request has.
    fn tree(&self) -> Map<String, Value> {
        let workload = json!({
            "context_tokens": self.context.unwrap_or_default(),
            "concurrent_requests": self.concurrent.unwrap_or_default(),
            "precision": self.precision.as_deref().unwrap_or("PRECISION_UNSPECIFIED"),
            "key_value_precision": self.key_value_precision.as_deref().unwrap_or("PRECISION_UNSPECIFIED"),
        });
        let map = |pairs: &[(String, f64)]| pairs.iter().cloned().collect::<BTreeMap<String, f64>>();
        let mut tree = Map::new();
        tree.insert("workload".into(), workload);
        tree.insert("accelerator_usd_per_hour".into(), json!(map(&self.prices)));
        tree.insert("assumptions".into(), json!(map(&self.assumptions)));
        tree.insert("accelerators".into(), json!(self.accelerators));
        tree.insert("counts".into(), json!(self.counts));
        tree
    }
}

impl SizeArguments {
    fn add(&self, tree: &mut Map<String, Value>) {
        if let Some(total) = self.parameters {
            let active = self.active_parameters.unwrap_or_default();
            tree.insert("parameters".into(), json!({ "total": total, "active": active }));
        }
    }
}

impl LoadArguments {
    fn add(&self, tree: &mut Map<String, Value>) {
        for (field, value) in [("input_output_ratio", self.input_output_ratio), ("utilization", self.utilization)] {
            if let Some(value) = value {
                tree.insert(field.into(), json!(value));
            }
        }
    }
}

async fn hosting(arguments: HostingArguments, out: &Output) -> Result<u8, Failure> {
    let HostingArguments { model, size, means, all, offline, server } = arguments;
    let mut tree = means.tree();
    tree.insert("model".into(), json!(model.unwrap_or_default()));
    size.add(&mut tree);
    let asked = read_message("arguments", &Value::Object(tree), "weighbridge.v1.EstimateHostingRequest")?;
    let found = Adviser::open(offline, &server).await?.hosting(asked).await.map_err(|s| failed(&s))?;
    if out.is_json() {
        return out.json("weighbridge.v1.EstimateHostingResponse", &found).map(|()| 0);
    }
    print_hosting(out, &found, all)?;
    print_assumptions(out, &found.assumptions, &found.unknown, means.assumptions_shown).map(|()| 0)
}

async fn costs(arguments: CostsArguments, out: &Output) -> Result<u8, Failure> {
    let CostsArguments { model, size, means, load, chart: file, offline, server } = arguments;
    if let Some(file) = file.as_ref().filter(|file| file.extension().is_none_or(|end| end != "svg")) {
        return Err(Failure::usage(format!("`{}`: the file name must end in .svg", file.display())));
    }
    let mut tree = means.tree();
    tree.insert("model".into(), json!(model));
    tree.insert("tokens_per_day".into(), json!(load.tokens_per_day.unwrap_or_default()));
    size.add(&mut tree);
    load.add(&mut tree);
    let asked = read_message("arguments", &Value::Object(tree), "weighbridge.v1.CompareCostsRequest")?;
    let found = Adviser::open(offline, &server).await?.costs(asked).await.map_err(|s| failed(&s))?;
    if out.is_json() {
        out.json("weighbridge.v1.CompareCostsResponse", &found)?;
    } else {
        print_costs(out, &found)?;
        print_assumptions(out, &found.assumptions, &found.unknown, means.assumptions_shown)?;
    }
    if let Some(file) = &file {
        let picture = chart::costs(&found)?;
        std::fs::write(file, picture)
            .map_err(|error| Failure::new(format!("`{}` could not be written: {error}", file.display())))?;
        note(&format!("the curve is in {}", file.display()));
    }
    Ok(0)
}

async fn route(arguments: RouteArguments, out: &Output) -> Result<u8, Failure> {
    let RouteArguments {
        facts,
        on_premises,
        compliance,
        private_fine_tuning,
        without_network,
        device_memory,
        budget,
        first_token,
        request_speed,
        models,
        filter,
        order_by,
        candidates,
        load,
        means,
        offline,
        server,
    } = arguments;
    let mut tree = means.tree();
    load.add(&mut tree);
    let asked: pb::RecommendRouteRequest =
        read_message("arguments", &Value::Object(tree), "weighbridge.v1.RecommendRouteRequest")?;
    let needs = pb::Needs {
        on_premises,
        compliance,
        private_fine_tuning,
        offline: without_network,
        device_memory_gb: device_memory.unwrap_or_default(),
        tokens_per_day: load.tokens_per_day.unwrap_or_default(),
        budget_usd_per_day: budget.unwrap_or_default(),
        first_token_seconds: first_token.unwrap_or_default(),
        request_tokens_per_second: request_speed.unwrap_or_default(),
    };
    let asked = pb::RecommendRouteRequest {
        r#use: Some(facts.read()?),
        use_profile: facts.profile(),
        needs: Some(needs),
        models,
        filter,
        order_by,
        max_candidates: candidates.unwrap_or_default(),
        ..asked
    };
    let found = Adviser::open(offline, &server).await?.route(asked).await.map_err(|s| failed(&s))?;
    if out.is_json() {
        return out.json("weighbridge.v1.RecommendRouteResponse", &found).map(|()| 0);
    }
    for (i, route) in found.routes.iter().enumerate() {
        print_route(out, i, route)?;
    }
    print_assumptions(out, &found.assumptions, &[], means.assumptions_shown).map(|()| 0)
}

fn print_hosting(out: &Output, found: &pb::EstimateHostingResponse, all: bool) -> Result<(), Failure> {
    let workload = found.workload.unwrap_or_default();
    let model = if found.model.is_empty() { "a model of that size" } else { &found.model };
    out.line(&format!(
        "{}  {}, {} tokens of context, {} requests at the same time",
        out.styled(Style::Bold, model),
        word(workload.precision().as_str_name()),
        workload.context_tokens,
        workload.concurrent_requests
    ))?;
    let Some(memory) = &found.memory else { return Ok(()) };
    let gb = |bytes: i64| format!("{:.1}", gigabytes(bytes));
    let parts = [
        ("weights", memory.weights_bytes),
        ("scales", memory.quantization_bytes),
        ("key-value cache", memory.key_value_cache_bytes),
        ("state", memory.recurrent_state_bytes),
        ("activations", memory.activation_bytes),
        ("program", memory.framework_bytes),
    ];
    let parts: Vec<String> =
        parts.iter().filter(|(_, bytes)| *bytes > 0).map(|(name, bytes)| format!("{} {name}", gb(*bytes))).collect();
    out.line(&format!("  {} GB on one device: {}", gb(memory.total_bytes), parts.join(" + ")))?;
    out.line(&format!("  {:.1} kB of key-value cache a token", found.key_value_bytes_per_token / 1e3))?;
    out.line(&out.styled(
        Style::Dim,
        &format!(
            "  {:<32} {:>16} {:>9} {:>22} {:>11} {:>14} {:>12}",
            "accelerators", "GB each / usable", "requests", "USD an hour", "USD a day", "tokens/s", "first token"
        ),
    ))?;
    let mut left_out = 0;
    for option in &found.options {
        if !option.holds && !all {
            left_out += 1;
            continue;
        }
        let memory = option.memory.unwrap_or_default();
        let span = |range: Option<pb::Range>, unit: &str| {
            range.map_or_else(String::new, |range| format!("{} to {}{unit}", short(range.low), short(range.high)))
        };
        let hour = option.usd_per_hour.map_or_else(
            || "not known".to_owned(),
            |usd| format!("{:.2} ({:.2} to {:.2})", usd.typical, usd.low, usd.high),
        );
        let day = option.usd_per_day.map_or_else(String::new, |usd| format!("{:.0}", usd.typical));
        let line = format!(
            "  {:<32} {:>16} {:>9} {hour:>22} {day:>11} {:>14} {:>12}",
            format!("{} x {}", option.count, option.accelerator),
            format!("{} / {}", gb(memory.total_bytes), gb(option.usable_bytes)),
            option.max_concurrent_requests,
            span(option.decode_tokens_per_second, ""),
            span(option.first_token_seconds, " s"),
        );
        let style = if option.holds { Style::Good } else { Style::Dim };
        out.line(&out.styled(style, line.trim_end()))?;
        if !option.note.is_empty() {
            out.line(&out.styled(Style::Dim, &format!("      {}", option.note)))?;
        }
    }
    if left_out > 0 {
        out.line(&out.styled(Style::Dim, &format!("  {left_out} that do not hold it are left out; --all shows them")))?;
    }
    Ok(())
}

fn print_costs(out: &Output, found: &pb::CompareCostsResponse) -> Result<(), Failure> {
    out.line(&format!(
        "{}  {} tokens a day, {} of prompts for each of an answer, machines {:.0} % busy",
        out.styled(Style::Bold, &found.model),
        short_i64(found.tokens_per_day),
        found.input_output_ratio,
        found.utilization * 100.0
    ))?;
    if let Some(way) = &found.hosting {
        print_way(out, way)?;
    }
    if found.offerings.is_empty() {
        out.line("  no offering with a price is known: `weighbridge import models-dev` brings them")?;
    } else {
        out.line(&out.styled(
            Style::Dim,
            &format!(
                "  {:<56} {:>15} {:>9} {:>10}  {}",
                "offering", "USD/M in / out", "both", "USD a day", "hosting costs no more from (best case, worst case)"
            ),
        ))?;
    }
    for offering in &found.offerings {
        let name = offering_id(&offering.offering);
        let prices = format!("{} / {}", offering.input_usd_per_million_tokens, offering.output_usd_per_million_tokens);
        let at = offering.break_even.as_ref().map_or_else(String::new, |usual| {
            let shown = |at: Option<&pb::BreakEven>| at.map_or_else(String::new, from);
            let (low, high) = (offering.break_even_low.as_ref(), offering.break_even_high.as_ref());
            let on = if usual.never { String::new() } else { format!(" on {} x {}", usual.count, usual.accelerator) };
            format!("{} ({}, {}){on}", from(usual), shown(low), shown(high))
        });
        let line = format!(
            "  {name:<56} {prices:>15} {:>9.3} {:>10.2}  {at}",
            offering.usd_per_million_tokens, offering.usd_per_day
        );
        let style = if offering.cheaper_than_hosting == Some(true) { Style::Good } else { Style::Dim };
        out.line(&out.styled(style, line.trim_end()))?;
        for note in &offering.notes {
            out.line(&out.styled(Style::Dim, &format!("      {note}")))?;
        }
    }
    for offering in &found.unpriced {
        out.line(&out.styled(Style::Dim, &format!("  {}: {}", offering_id(&offering.offering), offering.reason)))?;
    }
    Ok(())
}

/// Provider and id of an offering, as they are written.
pub(super) fn offering_id(name: &str) -> String {
    match OfferingName::parse(name) {
        Ok(parsed) => format!("{}  {}", parsed.provider().as_str(), parsed.offering()),
        Err(_) => name.to_owned(),
    }
}

/// From how many tokens a day on.
fn from(at: &pb::BreakEven) -> String {
    if at.never { "never".to_owned() } else { format!("{} a day", short(at.tokens_per_day)) }
}

fn print_way(out: &Output, way: &pb::HostingCost) -> Result<(), Failure> {
    let (day, million) = (way.usd_per_day, way.usd_per_million_tokens);
    let range = |usd: Option<pb::PriceRange>| {
        usd.map_or_else(
            || "not known".to_owned(),
            |usd| format!("{:.2} ({:.2} to {:.2})", usd.typical, usd.low, usd.high),
        )
    };
    let tokens = way.machine_tokens_per_day.unwrap_or_default();
    out.line(&format!(
        "  hosted on {} x {}, {} requests at the same time: {} to {} tokens a day for {} US dollars",
        way.count,
        way.accelerator,
        way.concurrent_requests,
        short(tokens.low),
        short(tokens.high),
        range(way.machine_usd_per_day)
    ))?;
    if !way.note.is_empty() {
        out.line(&out.styled(Style::Dim, &format!("      {}", way.note)))?;
    }
    if day.is_some() {
        out.line(&format!(
            "  {} such machine(s): {} US dollars a day, {} for a million tokens, {} with all the work they are given",
            way.machines,
            range(day),
            range(million),
            range(way.least_usd_per_million_tokens)
        ))?;
    }
    Ok(())
}

fn print_route(out: &Output, i: usize, route: &pb::RankedRoute) -> Result<(), Failure> {
    let standing = word(route.standing().as_str_name());
    let style = style_of(route.standing());
    let cost = route.usd_per_day.map_or_else(String::new, |usd| format!(", from {:.2} US dollars a day", usd.typical));
    let name = word(route.route().as_str_name());
    out.line(&format!("{}. {}  {}{cost}", i + 1, out.styled(Style::Bold, &name), out.styled(style, &standing)))?;
    for reason in &route.reasons {
        let standing = format!("{:<7}", word(reason.standing().as_str_name()));
        out.line(&format!(
            "   {} {}: {}",
            out.styled(style_of(reason.standing()), &standing),
            reason.topic,
            reason.text
        ))?;
        if !reason.source.is_empty() {
            out.line(&out.styled(Style::Dim, &format!("           {}", reason.source)))?;
        }
    }
    for candidate in &route.candidates {
        let by = match (&candidate.hosting, candidate.offering.as_str()) {
            (Some(way), _) => {
                let precision = word(candidate.precision().as_str_name());
                format!(" on {} x {} at {precision}", way.count, way.accelerator)
            }
            (None, "") if candidate.precision() != pb::Precision::Unspecified => {
                format!(" at {}", word(candidate.precision().as_str_name()))
            }
            (None, "") => String::new(),
            (None, offering) => format!(" by {}", offering_id(offering)),
        };
        let cost = candidate.usd_per_day.map_or_else(String::new, |usd| {
            if usd.low < usd.high {
                format!(", {:.2} ({:.2} to {:.2}) US dollars a day", usd.typical, usd.low, usd.high)
            } else {
                format!(", {:.2} US dollars a day", usd.typical)
            }
        });
        let over = if candidate.over_budget { ", over the budget" } else { "" };
        let verdict = word(candidate.verdict().as_str_name());
        let standing = format!("{:<7}", word(candidate.standing().as_str_name()));
        let standing = out.styled(style_of(candidate.standing()), &standing);
        out.line(&format!("   - {standing} {}{by}: {verdict}{cost}{over}", candidate.model))?;
        let apart = candidate.hosting.iter().map(|way| way.note.as_str()).filter(|note| !note.is_empty());
        for note in apart {
            out.line(&out.styled(Style::Dim, &format!("       {note}")))?;
        }
        if !candidate.missing_facts.is_empty() {
            let facts = candidate.missing_facts.join(", ");
            out.line(&out.styled(Style::Dim, &format!("       missing facts: {facts}")))?;
        }
        if !candidate.duties.is_empty() {
            out.line(&out.styled(Style::Dim, &format!("       duties: {}", candidate.duties.join(", "))))?;
        }
        for note in &candidate.notes {
            out.line(&out.styled(Style::Dim, &format!("       {note}")))?;
        }
    }
    Ok(())
}

fn style_of(standing: pb::Standing) -> Style {
    match standing {
        pb::Standing::Open => Style::Good,
        pb::Standing::Review => Style::Warn,
        pb::Standing::Closed => Style::Bad,
        pb::Standing::Unspecified => Style::Dim,
    }
}

fn print_assumptions(out: &Output, all: &[pb::Assumption], unknown: &[String], shown: bool) -> Result<(), Failure> {
    for what in unknown {
        out.line(&out.styled(Style::Warn, &format!("  not known: {what}")))?;
    }
    for row in all.iter().filter(|row| shown || row.overridden || row.name.is_empty()) {
        print_assumption(out, row)?;
    }
    let rest = all.iter().filter(|row| !row.overridden && !row.name.is_empty()).count();
    if !shown && rest > 0 {
        let line =
            format!("  and {rest} assumptions with names: --assumptions-shown lists them, --assume overrides them");
        out.line(&out.styled(Style::Dim, &line))?;
    }
    Ok(())
}

fn print_assumption(out: &Output, row: &pb::Assumption) -> Result<(), Failure> {
    let source = if row.source.is_empty() { String::new() } else { format!(" [{}]", row.source) };
    let text = if row.name.is_empty() {
        format!("  assumed: {}{source}", row.text)
    } else {
        let unit = if row.unit.is_empty() { String::new() } else { format!(" {}", row.unit) };
        let said = if row.overridden { ", as the request says" } else { "" };
        format!("  {} = {}{unit}{said}: {}{source}", row.name, row.value, row.text)
    };
    out.line(&out.styled(Style::Dim, &text))
}

fn print_accelerators(out: &Output, found: &pb::ListAcceleratorsResponse) -> Result<(), Failure> {
    for kind in &found.accelerators {
        let price = match kind.usd_per_hour {
            Some(usd) => {
                format!("{:.2} ({:.2} to {:.2}) USD an hour, {}", usd.typical, usd.low, usd.high, kind.price_date)
            }
            None => "price not known".to_owned(),
        };
        out.line(&format!(
            "{:<28} {:>4} GB  {:>5} GB/s  {:>6} TFLOPS at 16 bits  up to {} in a machine  {price}",
            kind.id, kind.memory_gb, kind.bandwidth_gb_per_s, kind.bf16_tflops, kind.per_machine
        ))?;
    }
    for row in &found.assumptions {
        print_assumption(out, row)?;
    }
    for rule in &found.compliance {
        out.line(&format!("{:<28} {}  {}", rule.id, rule.display_name, rule.url))?;
    }
    Ok(())
}

/// The word of an enum value without the enum's name.
fn word(value: &str) -> String {
    value.split_once('_').map_or(value, |(_, word)| word).to_owned()
}

fn gigabytes(bytes: i64) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "shown with one decimal")]
    let bytes = bytes as f64;
    bytes / 1e9
}

#[expect(clippy::cast_precision_loss, reason = "shown with three digits")]
fn short_i64(value: i64) -> String {
    short(value as f64)
}

/// A number in three digits, with k, M, B or T.
pub(super) fn short(value: f64) -> String {
    let units = [(1e12, "T"), (1e9, "B"), (1e6, "M"), (1e3, "k")];
    let (scaled, unit) =
        units.iter().find(|(size, _)| value >= *size).map_or((value, ""), |(size, u)| (value / size, *u));
    match scaled {
        100.0.. => format!("{scaled:.0}{unit}"),
        10.0..100.0 => format!("{scaled:.1}{unit}"),
        _ => format!("{scaled:.2}{unit}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_short() {
        let all =
            [(0.5, "0.50"), (12.34, "12.3"), (999.4, "999"), (1_500.0, "1.50k"), (1e7, "10.0M"), (2.5e9, "2.50B")];
        for (value, text) in all {
            assert_eq!(short(value), text);
        }
        assert_eq!(word("PRECISION_BF16"), "BF16");
    }
}
