//! One offering.

use std::collections::BTreeMap;

use super::count_unknown_at;
use crate::domain::model::Capability;
use crate::domain::name::{OfferingName, ProviderId};
use crate::ingest::identity::{AliasIndex, resolve};
use crate::ingest::json::{Map, Node};
use crate::ingest::reader::Reader;
use crate::ingest::{Limits, OfferingRecord, Price, PriceTier, link};

/// Fields of an offering. Of no use to a decision and not kept: how much it reasons, how reasoning is interleaved,
/// experimental modes and overrides of the client program.
const FIELDS: &[&str] = &[
    "attachment",
    "cost",
    "experimental",
    "family",
    "id",
    "interleaved",
    "knowledge",
    "last_updated",
    "limit",
    "modalities",
    "name",
    "open_weights",
    "provider",
    "reasoning",
    "reasoning_options",
    "release_date",
    "status",
    "structured_output",
    "temperature",
    "tool_call",
];
const LIMIT_FIELDS: &[&str] = &["context", "input", "output"];
const MODALITY_FIELDS: &[&str] = &["input", "output"];
/// `context_over_200k` is a copy of the single tier, whatever that tier's size is; `tiers` is exact.
const COST_FIELDS: &[&str] = &[
    "cache_read",
    "cache_write",
    "context_over_200k",
    "input",
    "input_audio",
    "output",
    "output_audio",
    "reasoning",
    "tiers",
];
const TIER_FIELDS: &[&str] =
    &["cache_read", "cache_write", "input", "input_audio", "output", "output_audio", "reasoning", "tier"];
const TIER_HEAD_FIELDS: &[&str] = &["size", "type"];

const CAPABILITIES: &[(&str, Capability)] = &[
    ("tool_call", Capability::ToolCall),
    ("reasoning", Capability::Reasoning),
    ("structured_output", Capability::StructuredOutput),
    ("attachment", Capability::Attachment),
    ("temperature", Capability::Temperature),
];

/// Providers whose prices are seven times the makers' own: they are not in US dollars, as the source says all are.
const OTHER_CURRENCY: &[(&str, &str)] = &[("moark", "CNY")];

/// Reads an offering, or says why it is none.
pub(super) fn read(
    limits: &Limits,
    index: &dyn AliasIndex,
    provider: &ProviderId,
    key: &str,
    node: &Node,
    unknown: &mut BTreeMap<String, u32>,
) -> Result<OfferingRecord, String> {
    let name = OfferingName::new(provider.clone(), key).map_err(|error| error.to_string())?;
    let Node::Object(map) = node else {
        return Err(format!("an offering is an object, this is {}", node.kind()));
    };
    count_unknown_at(unknown, map, "", FIELDS);
    let mut reader = Reader::new(limits);
    reader.id(map, key);
    let display_name = reader.text(map, "name").unwrap_or_else(|| key.into());
    let (model, unresolved_reason) = link(&resolve(index, Some(provider.as_str()), key, Some(&display_name)));
    let limit = part(&mut reader, map, "limit", LIMIT_FIELDS, unknown);
    let modalities = part(&mut reader, map, "modalities", MODALITY_FIELDS, unknown);
    let cost = part(&mut reader, map, "cost", COST_FIELDS, unknown);
    let (price, price_tiers) = prices(&mut reader, provider, cost, unknown);
    Ok(OfferingRecord {
        display_name,
        model,
        unresolved_reason,
        family: reader.text(map, "family"),
        input_modalities: reader.modalities(modalities, "modalities.input"),
        output_modalities: reader.modalities(modalities, "modalities.output"),
        capabilities: capabilities(&mut reader, map),
        context_tokens: reader.tokens(limit, "limit.context"),
        max_input_tokens: reader.tokens(limit, "limit.input"),
        max_output_tokens: reader.tokens(limit, "limit.output"),
        price,
        price_tiers,
        open_weights: reader.flag(map, "open_weights"),
        release_date: reader.date(map, "release_date"),
        last_updated: reader.date(map, "last_updated"),
        knowledge_cutoff: reader.date(map, "knowledge"),
        stage: reader.stage(map, "status"),
        warnings: reader.finish(),
        name,
    })
}

/// An object inside the record; empty where there is none.
fn part<'n>(
    reader: &mut Reader<'_>,
    map: &'n Map,
    path: &str,
    known: &[&str],
    unknown: &mut BTreeMap<String, u32>,
) -> &'n Map {
    let object = reader.object(map, path).unwrap_or_default();
    count_unknown_at(unknown, object, &format!("{path}."), known);
    object
}

pub(super) fn capabilities(reader: &mut Reader<'_>, map: &Map) -> Vec<Capability> {
    let has = |(key, capability): &(&str, Capability)| (reader.flag(map, key) == Some(true)).then_some(*capability);
    let mut found: Vec<_> = CAPABILITIES.iter().filter_map(has).collect();
    found.sort();
    found
}

fn prices(
    reader: &mut Reader<'_>,
    provider: &ProviderId,
    cost: &Map,
    unknown: &mut BTreeMap<String, u32>,
) -> (Price, Vec<PriceTier>) {
    let currency = OTHER_CURRENCY.iter().find(|(id, _)| *id == provider.as_str());
    if let (Some((_, currency)), false) = (currency, cost.is_empty()) {
        reader.warn("cost", &format!("is in {currency}, not in US dollars: left out"));
        return (Price::default(), Vec::new());
    }
    let price = price(reader, cost, "cost");
    (price, tiers(reader, cost, unknown))
}

fn price(reader: &mut Reader<'_>, map: &Map, path: &str) -> Price {
    let mut read = |key: &str| reader.price(map, &format!("{path}.{key}"));
    Price {
        input: read("input"),
        output: read("output"),
        reasoning: read("reasoning"),
        cache_read: read("cache_read"),
        cache_write: read("cache_write"),
        input_audio: read("input_audio"),
        output_audio: read("output_audio"),
    }
}

fn tiers(reader: &mut Reader<'_>, cost: &Map, unknown: &mut BTreeMap<String, u32>) -> Vec<PriceTier> {
    const PATH: &str = "cost.tiers";
    let mut tiers = Vec::new();
    for node in reader.list(cost, PATH) {
        let Node::Object(map) = node else {
            reader.warn(PATH, &format!("holds {}, not an object: left out", node.kind()));
            continue;
        };
        count_unknown_at(unknown, map, "cost.tiers.*.", TIER_FIELDS);
        let head = part(reader, map, "cost.tiers.*.tier", TIER_HEAD_FIELDS, unknown);
        let kind = reader.text(head, "cost.tiers.*.tier.type");
        let size = reader.tokens(head, "cost.tiers.*.tier.size");
        let price = price(reader, map, "cost.tiers.*");
        match (kind.as_deref(), size) {
            (Some("context"), Some(context_tokens)) => tiers.push(PriceTier { context_tokens, price }),
            (Some("context"), None) => reader.warn(PATH, "holds a tier without a size: left out"),
            _ => reader.warn(PATH, "holds a tier that is not by context size: left out"),
        }
    }
    tiers.sort_by_key(|tier| tier.context_tokens);
    let doubled: Vec<i64> = tiers
        .windows(2)
        .filter_map(|pair| match pair {
            [a, b] => (a.context_tokens == b.context_tokens).then_some(a.context_tokens),
            _ => None,
        })
        .collect();
    if !doubled.is_empty() {
        reader.warn(PATH, "holds several tiers of one size: left out");
        tiers.retain(|tier| !doubled.contains(&tier.context_tokens));
    }
    tiers
}
