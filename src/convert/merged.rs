//! Models between messages and the merge of what sources state about them.

use std::collections::BTreeMap;

use super::enums::Wire;
use crate::domain::date::Date;
use crate::domain::license::Expression;
use crate::domain::model::{Availability, BaseRef, ComponentKind, Evidence, Relation};
use crate::domain::name::ModelName;
use crate::ingest::merge::{Base, BaseValue, Concluded, Conflict, ConflictClaim, Merged, Provenance, Settled};
use crate::ingest::source::DataSource;
use crate::ingest::statement::{Field, Value};
use crate::pb::weighbridge::v1 as pb;

/// What a built-in record states, field by field, and from where.
#[must_use]
pub fn merge_base(message: &pb::Model) -> Base {
    let mut from = BTreeMap::new();
    for entry in &message.provenance {
        let Some(source) = DataSource::parse(&entry.source) else { continue };
        for field in entry.fields.iter().filter_map(|path| Field::parse(path)) {
            from.insert(field, (source, entry));
        }
    }
    let mut base = Base::new();
    for (field, value) in stated(message) {
        let value = match from.get(&field) {
            Some((source, entry)) => BaseValue {
                value,
                source: *source,
                record: entry.record.as_str().into(),
                date: entry.date.as_str().into(),
            },
            None => BaseValue { value, source: DataSource::Curated, record: "".into(), date: "".into() },
        };
        base.insert(field, value);
    }
    base
}

fn stated(message: &pb::Model) -> Vec<(Field, Settled)> {
    let mut out = Vec::new();
    let mut plain = |field, value: Option<Value>| out.extend(value.map(|value| (field, Settled::Plain(value))));
    let text = |text: &str| (!text.is_empty()).then(|| Value::Text(text.into()));
    let number = |number: i64| (number > 0).then_some(Value::Number(number));
    let date = |text: &str| Date::parse(text).ok().map(Value::Date);
    plain(Field::DisplayName, text(&message.display_name));
    plain(Field::Family, text(&message.family));
    plain(Field::ContextTokens, number(message.context_tokens));
    plain(Field::MaxOutputTokens, number(message.max_output_tokens));
    let parameters = message.parameters.unwrap_or_default();
    plain(Field::TotalParameters, number(parameters.total));
    plain(Field::ActiveParameters, number(parameters.active));
    plain(Field::ReleaseDate, date(&message.release_date));
    plain(Field::KnowledgeCutoff, date(&message.knowledge_cutoff));
    let input = known(&message.input_modalities);
    plain(Field::InputModalities, (!input.is_empty()).then_some(Value::Modalities(input)));
    let output = known(&message.output_modalities);
    plain(Field::OutputModalities, (!output.is_empty()).then_some(Value::Modalities(output)));
    let capabilities = known(&message.capabilities);
    plain(Field::Capabilities, (!capabilities.is_empty()).then_some(Value::Capabilities(capabilities)));
    let notes: Vec<Box<str>> = message.notes.iter().map(|note| note.as_str().into()).collect();
    plain(Field::Notes, (!notes.is_empty()).then_some(Value::Texts(notes)));
    for component in &message.components {
        let Ok(Some(kind)) = ComponentKind::of(component.kind) else { continue };
        let availability = Availability::of(component.availability).ok().flatten();
        plain(Field::Availability(kind), availability.map(Value::Availability));
        plain(Field::Url(kind), text(&component.url));
    }
    for component in &message.components {
        let Ok(Some(kind)) = ComponentKind::of(component.kind) else { continue };
        let Ok(expression) = Expression::parse(&component.license_expression) else { continue };
        let evidence = Evidence::of(component.evidence).ok().flatten().unwrap_or(Evidence::GeneralKnowledge);
        let concluded = Concluded {
            expression,
            declared: component.declared_license.as_str().into(),
            declared_in: component.declared_in.as_str().into(),
            evidence,
        };
        out.push((Field::License(kind), Settled::License(concluded)));
    }
    let bases: Vec<_> = message.base_models.iter().map(base_of).collect();
    if !bases.is_empty() {
        out.push((Field::BaseModels, Settled::Bases(bases)));
    }
    out
}

fn known<T: Wire>(numbers: &[i32]) -> Vec<T> {
    numbers.iter().filter_map(|number| T::of(*number).ok().flatten()).collect()
}

fn base_of(base: &pb::BaseModel) -> (BaseRef, Relation) {
    let model =
        ModelName::parse(&base.model).map_or_else(|_| BaseRef::Written(base.model.as_str().into()), BaseRef::Record);
    (model, Relation::of(base.relation).ok().flatten().unwrap_or(Relation::FineTune))
}

/// The merged record: what was known before, with what the merge sets over it.
#[must_use]
pub fn merged_model(name: &ModelName, before: Option<&pb::Model>, merged: &Merged) -> pb::Model {
    let mut message = before.cloned().unwrap_or_default();
    message.name = name.to_string();
    for (field, settled) in &merged.set {
        set(&mut message, *field, settled);
    }
    for alias in &merged.aliases {
        if !message.aliases.iter().any(|known| **known == **alias) {
            message.aliases.push(alias.to_string());
        }
    }
    message.provenance = merged.provenance.iter().map(provenance).collect();
    let fields: Vec<_> = merged.conflicts.iter().map(|conflict| conflict.field.to_string()).collect();
    message.conflicts.retain(|conflict| !fields.contains(&conflict.field));
    message.conflicts.extend(merged.conflicts.iter().map(conflict));
    let sources = merged.provenance.iter().map(|entry| (entry.source, &entry.date));
    let claims = merged.conflicts.iter().flat_map(|conflict| &conflict.claims).map(|claim| (claim.source, &claim.date));
    for (source, date) in sources.chain(claims).filter(|(source, _)| *source != DataSource::Curated) {
        let source = credit(source, date);
        if !message.sources.iter().any(|known| known.title == source.title && known.url == source.url) {
            message.sources.push(source);
        }
    }
    message
}

/// The record as it stood, with the license of its weights in doubt, and not called closed.
#[must_use]
pub fn doubted_model(name: &ModelName, before: Option<&pb::Model>) -> pb::Model {
    let mut message = before.cloned().unwrap_or_default();
    message.name = name.to_string();
    let weights = component(&mut message, ComponentKind::ModelWeights);
    weights.evidence = Evidence::Conflict.number();
    if weights.availability == Availability::Unavailable.number() {
        weights.availability = 0;
    }
    message
}

fn credit(source: DataSource, date: &str) -> pb::Source {
    let credit = source.credit();
    pb::Source {
        title: credit.title.to_owned(),
        url: credit.url.to_owned(),
        date: date.to_owned(),
        license: credit.license.to_owned(),
    }
}

fn provenance(entry: &Provenance) -> pb::Provenance {
    let Provenance { source, record, date, url, fields } = entry;
    pb::Provenance {
        fields: fields.iter().map(ToString::to_string).collect(),
        source: source.to_string(),
        record: record.to_string(),
        date: date.to_string(),
        url: url.to_string(),
    }
}

fn conflict(conflict: &Conflict) -> pb::Conflict {
    let Conflict { field, claims, chosen, rule } = conflict;
    let claim = |claim: &ConflictClaim| {
        let ConflictClaim { source, record, date, url, value } = claim;
        let mut credit = credit(*source, date);
        if !url.is_empty() {
            credit.url = url.to_string();
        }
        pb::conflict::Claim { value: value.clone(), source: Some(credit), record: record.to_string() }
    };
    pb::Conflict {
        field: field.to_string(),
        claims: claims.iter().map(claim).collect(),
        chosen: chosen.clone(),
        rule: (*rule).to_owned(),
    }
}

fn set(message: &mut pb::Model, field: Field, settled: &Settled) {
    match settled {
        Settled::License(concluded) => {
            if let Field::License(kind) = field {
                let component = component(message, kind);
                component.license_expression = concluded.expression.to_string();
                component.declared_license = concluded.declared.to_string();
                component.declared_in = concluded.declared_in.to_string();
                component.evidence = concluded.evidence.number();
            }
        }
        Settled::Bases(bases) => {
            let known: Vec<pb::BaseModel> = std::mem::take(&mut message.base_models);
            message.base_models = bases
                .iter()
                .map(|(model, relation)| {
                    // What the record says besides of a base stays with it.
                    let before = known.iter().find(|base| base.model == model.as_str()).cloned();
                    before.unwrap_or_else(|| pb::BaseModel {
                        model: model.as_str().to_owned(),
                        relation: relation.number(),
                        ..pb::BaseModel::default()
                    })
                })
                .collect();
        }
        Settled::Plain(value) => set_plain(message, field, value),
        Settled::Nothing => clear(message, field),
    }
}

/// Takes a value out that is no longer believed.
fn clear(message: &mut pb::Model, field: Field) {
    match field {
        Field::DisplayName => message.display_name.clear(),
        Field::Family => message.family.clear(),
        Field::ContextTokens => message.context_tokens = 0,
        Field::MaxOutputTokens => message.max_output_tokens = 0,
        Field::TotalParameters => message.parameters.get_or_insert_default().total = 0,
        Field::ActiveParameters => message.parameters.get_or_insert_default().active = 0,
        Field::ReleaseDate => message.release_date.clear(),
        Field::KnowledgeCutoff => message.knowledge_cutoff.clear(),
        Field::InputModalities => message.input_modalities.clear(),
        Field::OutputModalities => message.output_modalities.clear(),
        Field::Capabilities => message.capabilities.clear(),
        Field::Notes => message.notes.clear(),
        // Ancestors are never taken out, and a class is kept nowhere.
        Field::BaseModels | Field::LicenseClass => {}
        Field::Availability(kind) => component(message, kind).availability = 0,
        Field::Url(kind) => component(message, kind).url.clear(),
        Field::License(kind) => {
            let component = component(message, kind);
            component.license_expression.clear();
            component.declared_license.clear();
            component.declared_in.clear();
            component.evidence = 0;
        }
    }
}

fn set_plain(message: &mut pb::Model, field: Field, value: &Value) {
    match (field, value) {
        (Field::DisplayName, Value::Text(text)) => message.display_name = text.to_string(),
        (Field::Family, Value::Text(text)) => message.family = text.to_string(),
        (Field::ContextTokens, Value::Number(number)) => message.context_tokens = *number,
        (Field::MaxOutputTokens, Value::Number(number)) => message.max_output_tokens = *number,
        (Field::TotalParameters, Value::Number(number)) => {
            message.parameters.get_or_insert_default().total = *number;
        }
        (Field::ActiveParameters, Value::Number(number)) => {
            message.parameters.get_or_insert_default().active = *number;
        }
        (Field::ReleaseDate, Value::Date(date)) => message.release_date = date.to_string(),
        (Field::KnowledgeCutoff, Value::Date(date)) => message.knowledge_cutoff = date.to_string(),
        (Field::InputModalities, Value::Modalities(list)) => message.input_modalities = super::enums::numbers(list),
        (Field::OutputModalities, Value::Modalities(list)) => message.output_modalities = super::enums::numbers(list),
        (Field::Capabilities, Value::Capabilities(list)) => message.capabilities = super::enums::numbers(list),
        (Field::Notes, Value::Texts(texts)) => message.notes = texts.iter().map(ToString::to_string).collect(),
        (Field::Availability(kind), Value::Availability(availability)) => {
            component(message, kind).availability = availability.number();
        }
        (Field::Url(kind), Value::Text(text)) => component(message, kind).url = text.to_string(),
        // INVARIANT: a statement's value is of its field's kind, since `Value::from_texts` and the importers make it so.
        _ => {}
    }
}

fn component(message: &mut pb::Model, kind: ComponentKind) -> &mut pb::Component {
    let number = kind.number();
    let at = match message.components.iter().position(|component| component.kind == number) {
        Some(at) => at,
        None => {
            message.components.push(pb::Component { kind: number, ..pb::Component::default() });
            message.components.len() - 1
        }
    };
    // INVARIANT: `at` was found or just pushed.
    #[expect(clippy::indexing_slicing, reason = "found or pushed above")]
    &mut message.components[at]
}
