//! Models side by side.

use std::sync::Arc;

use super::resolve::{Resolved, resolve};
use super::{Registry, RegistryError, records, violation};
use crate::catalog::fields::{ModelField, OfferingField, OwnField, TermsField};
use crate::catalog::filter::{Row as _, Schema as _, Value, Values};
use crate::catalog::{Entry, ModelRow, OfferingRow, Snapshot};
use crate::domain::model::Model;
use crate::domain::name::{ModelName, shown};
use crate::pb::weighbridge::v1 as pb;

const MODELS_MAX: usize = 8;

/// What models are compared by, besides their license terms and prices.
const OWN: [OwnField; 20] = [
    OwnField::DisplayName,
    OwnField::Publisher,
    OwnField::Family,
    OwnField::ReleaseDate,
    OwnField::Tier,
    OwnField::MofClass,
    OwnField::Components,
    OwnField::LicenseExpression,
    OwnField::DeclaredLicense,
    OwnField::LicenseEvidence,
    OwnField::BaseModels,
    OwnField::Parameters,
    OwnField::ActiveParameters,
    OwnField::ContextTokens,
    OwnField::MaxOutputTokens,
    OwnField::InputModalities,
    OwnField::OutputModalities,
    OwnField::Capabilities,
    OwnField::KnowledgeCutoff,
    OwnField::Providers,
];

impl Registry {
    /// Puts models side by side: openness, the license terms that hold for their weights, limits, prices.
    ///
    /// # Errors
    /// Too few or too many, or one that is not known or ambiguous.
    pub fn compare_models(&self, ids: &[String]) -> Result<pb::CompareModelsResponse, RegistryError> {
        if !(2..=MODELS_MAX).contains(&ids.len()) {
            let description = format!("it has {} entries: name 2 to {MODELS_MAX}", ids.len());
            return Err(RegistryError::Invalid(vec![violation("models", description)]));
        }
        let snapshot = self.snapshot();
        let entries = ids.iter().enumerate().map(|(i, id)| find(&snapshot, i, id)).collect::<Result<Vec<_>, _>>()?;
        let rows: Vec<ModelRow<'_>> = entries.iter().map(|entry| ModelRow::new(&snapshot, entry)).collect();
        let fields = OWN.into_iter().map(ModelField::Own);
        let terms = TermsField::ALL.iter().copied().map(ModelField::Terms);
        let topics = fields.chain(terms).map(|field| {
            let cells = rows.iter().map(|row| cell(&row.values(field), field)).collect();
            row(path(field), cells)
        });
        let prices = [("price.input", OfferingField::InputPrice), ("price.output", OfferingField::OutputPrice)];
        let prices = prices.into_iter().map(|(topic, field)| {
            let cells = entries.iter().map(|entry| span(&snapshot, &entry.record.name, field)).collect();
            row(topic.to_owned(), cells)
        });
        let known = |row: &pb::compare_models_response::Row| row.cells.iter().any(|cell| !cell.is_empty());
        Ok(pb::CompareModelsResponse {
            names: entries.iter().map(|entry| entry.record.name.to_string()).collect(),
            rows: topics.chain(prices).filter(known).collect(),
            revision: records::wire_revision(snapshot.revision()),
        })
    }
}

fn find(snapshot: &Snapshot, i: usize, id: &str) -> Result<Arc<Entry<Model>>, RegistryError> {
    match resolve(snapshot, id)? {
        Resolved::Model { entry, .. } => Ok(entry),
        Resolved::Unresolved(_) => {
            let description = format!("`{}` is an offering whose model is not known", shown(id));
            Err(RegistryError::Invalid(vec![violation(&format!("models[{i}]"), description)]))
        }
    }
}

fn path(field: ModelField) -> String {
    match field {
        ModelField::Own(field) => field.as_str().to_owned(),
        ModelField::Terms(field) => format!("license.{field}"),
        // Not among what is compared.
        ModelField::Availability(kind) | ModelField::ComponentLicense(kind) => kind.as_str().to_owned(),
    }
}

fn row(topic: String, cells: Vec<String>) -> pb::compare_models_response::Row {
    let differs = cells.windows(2).any(|pair| matches!(pair, [a, b] if a != b));
    pb::compare_models_response::Row { topic, cells, differs }
}

/// Values in a sentence; what may be longer says so.
fn cell(values: &Values<'_>, field: ModelField) -> String {
    let kind = ModelField::kind(field);
    let shown: Vec<String> = values.list.iter().map(|value| value.shown(kind)).collect();
    match (shown.is_empty(), values.open && ModelField::repeated(field)) {
        // A list that is known to be empty.
        (true, false) if !values.open => "none".to_owned(),
        (true, _) => String::new(),
        (false, false) => shown.join(", "),
        (false, true) => format!("{}, perhaps more", shown.join(", ")),
    }
}

/// The least and the greatest price of a model, in US dollars for a million tokens, over all who serve it.
fn span(snapshot: &Snapshot, model: &ModelName, field: OfferingField) -> String {
    let offerings = snapshot.offerings().filter(|entry| entry.record.model.as_ref() == Some(model));
    let prices: Vec<Value<'static>> =
        offerings.flat_map(|entry| OfferingRow(&entry.record).values(field).into_owned().list).collect();
    let shown = |value: &Value<'_>| value.shown(OfferingField::kind(field));
    match (prices.iter().min(), prices.iter().max()) {
        (Some(least), Some(greatest)) if least == greatest => format!("{} USD", shown(least)),
        (Some(least), Some(greatest)) => format!("{} to {} USD", shown(least), shown(greatest)),
        _ => String::new(),
    }
}
