//! Provider and offering messages: into the domain, and out of what importers read.

use std::collections::BTreeMap;

use super::enums::{Wire, numbers};
use super::violations::{Violation, Violations};
use crate::domain::date::Date;
use crate::domain::model::{Capability, Modality};
use crate::domain::name::{ModelName, OfferingName, ProviderId};
use crate::domain::offering::{MatchStage, Offering, Provider, Stage};
use crate::ingest;
use crate::ingest::document::Reading;
use crate::ingest::identity::Resolution;
use crate::pb::weighbridge::v1 as pb;

/// Reads a provider.
///
/// # Errors
/// Every violation at once.
pub fn provider(message: pb::Provider) -> Result<Provider, Vec<Violation>> {
    let mut v = Violations::at("");
    let id = v.take("name", ProviderId::parse(&message.name));
    v.finish(id.map(|id| Provider { id, display_name: message.display_name.into() }))
}

/// Reads an offering.
///
/// # Errors
/// Every violation at once.
pub fn offering(message: pb::Offering) -> Result<Offering, Vec<Violation>> {
    let mut v = Violations::at("");
    let name = v.take("name", OfferingName::parse(&message.name));
    let model = if message.model.is_empty() { None } else { v.take("model", ModelName::parse(&message.model)) };
    let price = message.price.unwrap_or_default();
    let tokens = |tokens: i64| (tokens > 0).then_some(tokens);
    let day = |text: &str| Date::parse(text).ok();
    v.finish(name.map(|name| Offering {
        name,
        model,
        unresolved_reason: message.unresolved_reason.into(),
        display_name: message.display_name.into(),
        family: message.family.into(),
        input_modalities: message.input_modalities.iter().filter_map(|n| Modality::of(*n).ok().flatten()).collect(),
        output_modalities: message.output_modalities.iter().filter_map(|n| Modality::of(*n).ok().flatten()).collect(),
        capabilities: message.capabilities.iter().filter_map(|n| Capability::of(*n).ok().flatten()).collect(),
        context_tokens: tokens(message.context_tokens),
        max_input_tokens: tokens(message.max_input_tokens),
        max_output_tokens: tokens(message.max_output_tokens),
        input_price: price.input.and_then(nano),
        output_price: price.output.and_then(nano),
        open_weights: message.open_weights,
        release_date: day(&message.release_date),
        last_updated: day(&message.last_updated),
        knowledge_cutoff: day(&message.knowledge_cutoff),
        stage: match pb::offering::Stage::try_from(message.stage) {
            Ok(pb::offering::Stage::Alpha) => Some(Stage::Alpha),
            Ok(pb::offering::Stage::Beta) => Some(Stage::Beta),
            Ok(pb::offering::Stage::Deprecated) => Some(Stage::Deprecated),
            Ok(pb::offering::Stage::Unspecified) | Err(_) => None,
        },
    }))
}

/// US dollars in billionths; `None` for what is no price.
fn nano(dollars: f64) -> Option<i64> {
    const BELOW: f64 = 1e9;
    let scaled = (dollars * BELOW).round();
    // Far below where a whole number would be cut.
    #[expect(clippy::cast_possible_truncation, reason = "it is within the range of whole numbers")]
    (scaled.is_finite() && scaled.abs() < 1e18).then_some(scaled as i64)
}

/// A provider as importers read it.
#[must_use]
pub fn provider_message(record: &ingest::ProviderRecord) -> pb::Provider {
    let ingest::ProviderRecord { id, display_name, api_url, documentation_url } = record;
    pb::Provider {
        name: id.resource_name(),
        display_name: display_name.to_string(),
        api_url: text(api_url.as_deref()),
        documentation_url: text(documentation_url.as_deref()),
        ..pb::Provider::default()
    }
}

/// An offering as importers read it.
#[must_use]
pub fn offering_message(record: &ingest::OfferingRecord, source: &pb::Source) -> pb::Offering {
    let ingest::OfferingRecord {
        name,
        display_name,
        model,
        unresolved_reason,
        family,
        input_modalities,
        output_modalities,
        capabilities,
        context_tokens,
        max_input_tokens,
        max_output_tokens,
        price,
        price_tiers,
        open_weights,
        release_date,
        last_updated,
        knowledge_cutoff,
        stage,
        warnings,
    } = record;
    pb::Offering {
        name: name.resource_name(),
        offering_id: name.offering().to_owned(),
        display_name: display_name.to_string(),
        model: model.as_ref().map_or_else(String::new, |m| m.model.to_string()),
        r#match: model.as_ref().map(|m| alias_match(Some(m.stage), &m.alias, "")),
        unresolved_reason: unresolved_reason.to_string(),
        family: text(family.as_deref()),
        input_modalities: numbers(input_modalities),
        output_modalities: numbers(output_modalities),
        capabilities: numbers(capabilities),
        context_tokens: context_tokens.unwrap_or_default(),
        max_input_tokens: max_input_tokens.unwrap_or_default(),
        max_output_tokens: max_output_tokens.unwrap_or_default(),
        price: (!price.is_unknown()).then(|| price_message(price)),
        price_tiers: price_tiers
            .iter()
            .map(|tier| pb::PriceTier { context_tokens: tier.context_tokens, price: Some(price_message(&tier.price)) })
            .collect(),
        open_weights: *open_weights,
        release_date: date(*release_date),
        last_updated: date(*last_updated),
        knowledge_cutoff: date(*knowledge_cutoff),
        stage: stage.map_or(0, |stage| match stage {
            ingest::Stage::Alpha => pb::offering::Stage::Alpha as i32,
            ingest::Stage::Beta => pb::offering::Stage::Beta as i32,
            ingest::Stage::Deprecated => pb::offering::Stage::Deprecated as i32,
        }),
        warnings: warnings.clone(),
        sources: vec![source.clone()],
        ..pb::Offering::default()
    }
}

fn price_message(price: &ingest::Price) -> pb::Price {
    let ingest::Price { input, output, reasoning, cache_read, cache_write, input_audio, output_audio } = *price;
    pb::Price { input, output, reasoning, cache_read, cache_write, input_audio, output_audio }
}

fn text(value: Option<&str>) -> String {
    value.unwrap_or_default().to_owned()
}

fn date(value: Option<Date>) -> String {
    value.map_or_else(String::new, |d| d.to_string())
}

/// How an id led to a model, as a message.
#[must_use]
pub fn alias_match(stage: Option<MatchStage>, alias: &str, offering: &str) -> pb::AliasMatch {
    pb::AliasMatch { stage: stage.map_or(0, Wire::number), alias: alias.to_owned(), offering: offering.to_owned() }
}

/// Writes into an offering which model it is of, or why that is not known.
pub fn link_offering(message: &mut pb::Offering, found: &Resolution) {
    let (model, reason) = ingest::link(found);
    message.model = model.as_ref().map_or_else(String::new, |m| m.model.to_string());
    message.r#match = model.as_ref().map(|m| alias_match(Some(m.stage), &m.alias, ""));
    message.unresolved_reason = reason.into();
}

/// What an importer read, as the start of a report; counts of writes are the caller's.
#[must_use]
pub fn import_report(import: &ingest::Import) -> pb::ImportReport {
    let mut report = pb::ImportReport {
        unresolved: count(import.offerings.iter().filter(|o| o.model.is_none()).count()),
        rejected: i32::try_from(import.rejected).unwrap_or(i32::MAX),
        warnings: i32::try_from(import.warnings).unwrap_or(i32::MAX),
        providers: count(import.providers.len()),
        offerings: count(import.offerings.len()),
        entries: import.entries.iter().filter(|entry| worth_saying(entry)).map(entry).collect(),
        ..pb::ImportReport::default()
    };
    add_unknown(&mut report, &import.unknown_fields);
    report
}

/// Adds what was read of models to a report, and what is to be said of single records.
pub fn add_entries(report: &mut pb::ImportReport, reading: &Reading, entries: &[ingest::Entry]) {
    let warnings: usize = reading.records.iter().map(|record| record.warnings.len()).sum();
    let rejected = entries.iter().filter(|entry| entry.outcome == ingest::Outcome::Rejected).count();
    let unresolved = entries.iter().filter(|entry| entry.outcome == ingest::Outcome::Unresolved).count();
    report.models = report.models.saturating_add(count(reading.records.len()));
    report.warnings = report.warnings.saturating_add(count(warnings));
    report.rejected = report.rejected.saturating_add(count(rejected + reading.rejected.len()));
    report.unresolved = report.unresolved.saturating_add(count(unresolved));
    let said = reading.rejected.iter().chain(entries).filter(|entry| worth_saying(entry)).map(entry);
    report.entries.extend(said);
    add_unknown(report, &reading.unknown_fields);
}

fn count(n: usize) -> i32 {
    i32::try_from(n).unwrap_or(i32::MAX)
}

fn worth_saying(entry: &ingest::Entry) -> bool {
    entry.outcome != ingest::Outcome::Kept || !entry.messages.is_empty()
}

fn entry(entry: &ingest::Entry) -> pb::ImportEntry {
    pb::ImportEntry {
        record: entry.record.clone(),
        outcome: match entry.outcome {
            ingest::Outcome::Kept => pb::import_entry::Outcome::Kept,
            ingest::Outcome::Unresolved => pb::import_entry::Outcome::Unresolved,
            ingest::Outcome::Rejected => pb::import_entry::Outcome::Rejected,
        } as i32,
        messages: entry.messages.clone(),
    }
}

fn add_unknown(report: &mut pb::ImportReport, fields: &BTreeMap<String, u32>) {
    for (path, n) in fields {
        report.unknown_fields.insert(path.clone(), i32::try_from(*n).unwrap_or(i32::MAX));
    }
}
