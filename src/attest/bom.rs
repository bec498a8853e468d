//! A model as a bill of materials: CycloneDX 1.6, with the model, its parts and what it was made from.

use serde_json::{Map, Value, json};
use sha2::{Digest as _, Sha256};

use crate::pb::weighbridge::v1 as pb;
use pb::component::{Availability, Kind};

const SCHEMA: &str = "http://cyclonedx.org/schema/bom-1.6.schema.json";
/// Before the names of our properties.
const OURS: &str = "weighbridge:";
/// What stands for a license that is not known.
const UNKNOWN: &str = "LicenseRef-Unknown";

/// The bill of materials of a model. `ancestors` are the records of what it was made from, as far as there are records.
///
/// The same records give the same document: its number is made from what it says.
#[must_use]
pub fn bill(model: &pb::Model, ancestors: &[pb::Model]) -> Value {
    let known = |name: &str| ancestors.iter().find(|ancestor| ancestor.name == name);
    let mut components: Vec<Value> = ancestors.iter().map(|ancestor| component(ancestor, &known)).collect();
    let mut dependencies: Vec<Value> = std::iter::once(model).chain(ancestors).map(depends).collect();
    // A base without a record is named, and nothing is known of it.
    let written = std::iter::once(model).chain(ancestors).flat_map(|model| &model.base_models);
    let mut lost: Vec<&pb::BaseModel> = written.filter(|base| known(&base.model).is_none()).collect();
    lost.sort_by(|a, b| a.model.cmp(&b.model));
    lost.dedup_by(|a, b| a.model == b.model);
    for base in lost {
        let mut found = without_record(base);
        found.insert("bom-ref".to_owned(), base.model.as_str().into());
        components.push(Value::Object(found));
        dependencies.push(json!({ "ref": base.model }));
    }
    let tool = json!({ "type": "application", "name": "weighbridge", "version": env!("CARGO_PKG_VERSION") });
    let mut metadata = Map::new();
    metadata.insert("tools".to_owned(), json!({ "components": [tool] }));
    metadata.insert("component".to_owned(), component(model, &known));
    if let Some(written) = model.update_time.and_then(|at| jiff::Timestamp::new(at.seconds, 0).ok()) {
        metadata.insert("timestamp".to_owned(), written.to_string().into());
    }
    let said = json!([metadata, components, dependencies]).to_string();
    json!({
        "$schema": SCHEMA,
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "serialNumber": format!("urn:uuid:{}", number(&said)),
        "version": 1,
        "metadata": metadata,
        "components": components,
        "dependencies": dependencies,
    })
}

/// A UUID (version 8 of RFC 9562) from what a document says.
fn number(text: &str) -> String {
    let mut bytes: Vec<u8> = Sha256::digest(text).iter().copied().take(16).collect();
    for (byte, keep, set) in [(6, 0x0f, 0x80), (8, 0x3f, 0x80)] {
        if let Some(byte) = bytes.get_mut(byte) {
            *byte = *byte & keep | set;
        }
    }
    let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    let part = |from: usize, to: usize| hex.get(from..to).unwrap_or_default();
    [part(0, 8), part(8, 12), part(12, 16), part(16, 20), part(20, 32)].join("-")
}

fn depends(model: &pb::Model) -> Value {
    let mut on: Vec<&str> = model.base_models.iter().map(|base| base.model.as_str()).collect();
    on.sort_unstable();
    on.dedup();
    if on.is_empty() { json!({ "ref": model.name }) } else { json!({ "ref": model.name, "dependsOn": on }) }
}

fn component<'m>(model: &'m pb::Model, known: &dyn Fn(&str) -> Option<&'m pb::Model>) -> Value {
    let weights = model.components.iter().find(|part| part.kind() == Kind::ModelWeights);
    let mut out = named(&model.name, &model.display_name);
    out.insert("bom-ref".to_owned(), model.name.as_str().into());
    if !model.description.is_empty() {
        out.insert("description".to_owned(), model.description.as_str().into());
    }
    licenses(&mut out, &model.license_expression);
    if let Some(weights) = weights.filter(|weights| weights.url.contains("://")) {
        out.insert("externalReferences".to_owned(), json!([{ "type": "distribution", "url": weights.url }]));
    }
    let ancestors: Vec<Value> = model.base_models.iter().map(|base| ancestor(base, known(&base.model))).collect();
    if !ancestors.is_empty() {
        out.insert("pedigree".to_owned(), json!({ "ancestors": ancestors }));
    }
    let parts: Vec<Value> = model.components.iter().filter_map(|component| part(&model.name, component)).collect();
    if !parts.is_empty() {
        out.insert("components".to_owned(), parts.into());
    }
    out.insert("modelCard".to_owned(), card(model));
    let word = |name: &str, prefix: &str| name.trim_start_matches(prefix).to_owned();
    let mut properties = vec![("tier", word(model.tier().as_str_name(), "TIER_"))];
    if let Some(weights) = weights {
        properties.push(("availability", word(weights.availability().as_str_name(), "AVAILABILITY_")));
        properties.push(("license_evidence", word(weights.evidence().as_str_name(), "EVIDENCE_")));
        properties.push(("declared_license", weights.declared_license.clone()));
    }
    properties.push(("license_expression", model.license_expression.clone()));
    properties.push(("release_date", model.release_date.clone()));
    properties.push(("knowledge_cutoff", model.knowledge_cutoff.clone()));
    for (name, count) in [("context_tokens", model.context_tokens), ("max_output_tokens", model.max_output_tokens)] {
        properties.push((name, if count > 0 { count.to_string() } else { String::new() }));
    }
    let parameters = model.parameters.unwrap_or_default();
    for (name, count) in [("parameters.total", parameters.total), ("parameters.active", parameters.active)] {
        properties.push((name, if count > 0 { count.to_string() } else { String::new() }));
    }
    properties.push(("revision", model.revision.to_string()));
    let aliases = model.aliases.iter().map(|alias| ("alias", alias.clone()));
    put_properties(&mut out, properties.into_iter().chain(aliases));
    Value::Object(out)
}

/// The type and the name of a model, and who published it.
fn named(name: &str, display_name: &str) -> Map<String, Value> {
    let last = name.rsplit('/').next().unwrap_or(name);
    let shown = if display_name.is_empty() { last } else { display_name };
    let mut out = Map::new();
    out.insert("type".to_owned(), "machine-learning-model".into());
    out.insert("name".to_owned(), shown.into());
    if let Some(publisher) = name.strip_prefix("publishers/").and_then(|rest| rest.split('/').next()) {
        out.insert("publisher".to_owned(), publisher.into());
    }
    out
}

fn without_record(base: &pb::BaseModel) -> Map<String, Value> {
    let mut out = named(&base.model, &base.model);
    licenses(&mut out, &base.license_expression);
    out
}

fn ancestor(base: &pb::BaseModel, record: Option<&pb::Model>) -> Value {
    let mut out = match record {
        Some(model) => {
            let mut out = named(&model.name, &model.display_name);
            licenses(&mut out, &model.license_expression);
            out
        }
        None => without_record(base),
    };
    let relation = base.relation().as_str_name().trim_start_matches("RELATION_").to_owned();
    put_properties(&mut out, [("name", base.model.clone()), ("relation", relation)]);
    Value::Object(out)
}

fn can_be_had(part: &pb::Component) -> bool {
    matches!(part.availability(), Availability::Available | Availability::Gated | Availability::Partial)
}

/// A part beside the weights, as far as it can be had.
fn part(model: &str, part: &pb::Component) -> Option<Value> {
    let form = match part.kind() {
        Kind::Unspecified | Kind::ModelWeights => return None,
        Kind::TrainingData | Kind::EvaluationData => "data",
        Kind::TrainingCode
        | Kind::InferenceCode
        | Kind::ModelArchitecture
        | Kind::DataPreprocessingCode
        | Kind::EvaluationCode
        | Kind::SupportingLibraries => "library",
        Kind::IntermediateWeights => "machine-learning-model",
        Kind::ModelMetadata
        | Kind::SampleOutputs
        | Kind::ModelCard
        | Kind::DataCard
        | Kind::TechnicalReport
        | Kind::ResearchPaper
        | Kind::EvaluationResults => "file",
    };
    if !can_be_had(part) {
        return None;
    }
    let kind = part.kind().as_str_name().trim_start_matches("KIND_");
    let mut out = Map::new();
    out.insert("type".to_owned(), form.into());
    out.insert("bom-ref".to_owned(), format!("{model}#{kind}").into());
    out.insert("name".to_owned(), kind.to_ascii_lowercase().replace('_', "-").into());
    licenses(&mut out, &part.license_expression);
    if part.url.contains("://") {
        out.insert("externalReferences".to_owned(), json!([{ "type": "distribution", "url": part.url }]));
    }
    let availability = part.availability().as_str_name().trim_start_matches("AVAILABILITY_").to_owned();
    put_properties(&mut out, [("availability", availability), ("declared_license", part.declared_license.clone())]);
    Some(Value::Object(out))
}

/// An SPDX expression; what is not known is left out, which is what its absence says.
fn licenses(out: &mut Map<String, Value>, expression: &str) {
    if !expression.is_empty() && expression != UNKNOWN {
        let stated = json!([{ "expression": expression, "acknowledgement": "concluded" }]);
        out.insert("licenses".to_owned(), stated);
    }
}

fn card(model: &pb::Model) -> Value {
    let mut parameters = Map::new();
    if !model.family.is_empty() {
        parameters.insert("architectureFamily".to_owned(), model.family.as_str().into());
    }
    let architecture = model.architecture.as_ref().map(|shape| shape.architecture_name.as_str()).unwrap_or_default();
    if !architecture.is_empty() {
        parameters.insert("modelArchitecture".to_owned(), architecture.into());
    }
    let formats = |modalities: &mut dyn Iterator<Item = pb::Modality>| -> Vec<Value> {
        let word = |modality: pb::Modality| modality.as_str_name().trim_start_matches("MODALITY_").to_ascii_lowercase();
        modalities.map(|modality| json!({ "format": word(modality) })).collect()
    };
    for (key, list) in
        [("inputs", formats(&mut model.input_modalities())), ("outputs", formats(&mut model.output_modalities()))]
    {
        if !list.is_empty() {
            parameters.insert(key.to_owned(), list.into());
        }
    }
    let data = model.components.iter().find(|part| part.kind() == Kind::TrainingData);
    if data.is_some_and(can_be_had) {
        parameters.insert("datasets".to_owned(), json!([{ "ref": format!("{}#TRAINING_DATA", model.name) }]));
    }
    json!({ "modelParameters": parameters })
}

fn put_properties<'p>(out: &mut Map<String, Value>, properties: impl IntoIterator<Item = (&'p str, String)>) {
    let listed: Vec<Value> = properties
        .into_iter()
        .filter(|(_, value)| !value.is_empty() && value != "UNSPECIFIED")
        .map(|(name, value)| json!({ "name": format!("{OURS}{name}"), "value": value }))
        .collect();
    if !listed.is_empty() {
        out.insert("properties".to_owned(), listed.into());
    }
}
