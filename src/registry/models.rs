//! Models: get, list, create, update, delete.

use std::sync::Arc;

use jiff::Timestamp;

use super::key::Key;
use super::page::{PageRequest, token};
use super::{Registry, RegistryError, check_etag, lineage, records, resolve, violation};
use crate::catalog::{Entry, Layer, Snapshot};
use crate::convert::{self, RecordError, Violation};
use crate::domain::model::{BaseRef, Model};
use crate::domain::name::{ModelName, is_segment, shown};
use crate::pb::weighbridge::storage::v1::record::Record as Kind;
use crate::pb::weighbridge::v1 as pb;

const BATCH_MAX: usize = 1_000;

/// Which models a list holds by whether sources disagree about them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConflictFilter {
    /// The field, or any.
    pub field: Option<String>,
    /// Those about which they do not.
    pub negated: bool,
}

impl ConflictFilter {
    fn holds(&self, model: &Model) -> bool {
        let there = match &self.field {
            None => !model.conflicts.is_empty(),
            Some(field) => model.conflicts.iter().any(|conflict| **conflict == **field),
        };
        there != self.negated
    }
}

/// A record as callers get it: what was written, and what is derived from it.
pub(super) fn message(entry: &Entry<Model>) -> Result<pb::Model, RecordError> {
    let (kind, times) = records::stored(&entry.payload)?;
    let Kind::Model(mut message) = kind else { return Err(RecordError::Empty) };
    convert::derive(&mut message, &entry.record);
    message.origin = records::origin(entry.layer);
    message.revision = records::wire_revision(entry.revision);
    message.etag = records::etag(entry.layer, entry.revision);
    message.create_time = times.created;
    message.update_time = times.updated;
    Ok(message)
}

/// Leaves out what only the registry says, so that a record sent back unchanged is unchanged.
pub(super) fn written(mut message: pb::Model) -> pb::Model {
    message.tier = 0;
    message.license_expression.clear();
    message.origin = 0;
    message.revision = 0;
    message.etag.clear();
    message.create_time = None;
    message.update_time = None;
    message
}

/// What an operator writes: the license of a part is confirmed by that, unless it says less.
pub(super) fn confirmed(message: pb::Model) -> pb::Model {
    let mut message = written(message);
    for component in &mut message.components {
        if component.evidence == 0 && !component.license_expression.is_empty() {
            component.evidence = pb::Evidence::Confirmed as i32;
        }
    }
    message
}

impl Registry {
    /// Gets a model by name.
    ///
    /// # Errors
    /// A bad name, or not known with near names.
    pub fn model(&self, name: &str) -> Result<pb::Model, RegistryError> {
        let snapshot = self.snapshot();
        Ok(message(find(&snapshot, "name", name)?)?)
    }

    /// Gets several models of one snapshot, in the order asked for.
    ///
    /// # Errors
    /// Every bad name at once; then every missing one at once.
    pub fn batch_models(&self, parent: &str, names: &[String]) -> Result<Vec<pb::Model>, RegistryError> {
        let publisher = parent_of(parent)?;
        if names.is_empty() || names.len() > BATCH_MAX {
            let description = format!("it holds {} names: ask for 1 to {BATCH_MAX}", names.len());
            return Err(RegistryError::Invalid(vec![violation("names", description)]));
        }
        let snapshot = self.snapshot();
        let mut violations = Vec::new();
        let mut missing = Vec::new();
        let mut found = Vec::new();
        for (i, text) in names.iter().enumerate() {
            let field = format!("names[{i}]");
            match ModelName::parse(text) {
                Err(error) => violations.push(violation(&field, error.to_string())),
                Ok(name) if publisher.as_deref().is_some_and(|p| p != name.publisher()) => {
                    violations.push(violation(&field, format!("`{name}` is not under `{parent}`")));
                }
                Ok(name) => match snapshot.model_entry(&name) {
                    Some(entry) => found.push(entry.clone()),
                    None => missing.push(name.to_string()),
                },
            }
        }
        if !violations.is_empty() {
            return Err(RegistryError::Invalid(violations));
        }
        if !missing.is_empty() {
            return Err(RegistryError::NotFoundMany { kind: "model", names: missing });
        }
        found.iter().map(|entry| message(entry).map_err(RegistryError::from)).collect()
    }

    /// Lists models by name: those of a publisher, those on which sources disagree or not, or all.
    ///
    /// # Errors
    /// A bad parent, page size or page token.
    pub fn list_models(
        &self,
        parent: &str,
        conflicts: Option<&ConflictFilter>,
        page: &PageRequest,
    ) -> Result<pb::ListModelsResponse, RegistryError> {
        let publisher = parent_of(parent)?;
        let list = format!("models\n{}\n{conflicts:?}", publisher.as_deref().unwrap_or("-"));
        let size = page.size()?;
        let after = page.after(&list)?.map(|name| ModelName::parse(&name)).transpose();
        let after = after.map_err(|_| RegistryError::PageToken)?;
        let snapshot = self.snapshot();
        let found = match conflicts {
            None => snapshot.page_models(publisher.as_deref(), after.as_ref(), size),
            Some(filter) => snapshot.page_models_where(after.as_ref(), size, |model| {
                publisher.as_deref().is_none_or(|p| p == model.name.publisher()) && filter.holds(model)
            }),
        };
        let last = found.entries.last().map(|entry| entry.record.name.to_string());
        let models: Result<Vec<_>, _> = found.entries.iter().map(|entry| message(entry)).collect();
        Ok(pb::ListModelsResponse {
            models: models?,
            next_page_token: token(&list, last, found.more),
            total_size: i32::try_from(found.total).unwrap_or(i32::MAX),
        })
    }

    /// Adds a model to the operator's layer.
    ///
    /// # Errors
    /// Every violation at once; the name or an alias is taken; the lineage goes in a circle.
    pub async fn create_model(&self, request: pb::CreateModelRequest) -> Result<pb::Model, RegistryError> {
        let pb::CreateModelRequest { parent, model_id, model, validate_only } = request;
        let (name, mut violations) = name_of(&parent, &model_id);
        let Some(mut message) = model else {
            violations.push(violation("model", "it must be set"));
            return Err(RegistryError::Invalid(violations));
        };
        let agrees = message.name.is_empty() || name.as_ref().is_some_and(|n| n.as_str() == message.name);
        if !agrees && name.is_some() {
            let description = format!("`{}` does not agree with `parent` and `model_id`", shown(&message.name));
            violations.push(violation("model.name", description));
        }
        if let Some(name) = &name {
            message.name = name.to_string();
        }
        let message = confirmed(message);
        let read = convert::model(message.clone(), "model");
        let (Some(name), Ok(record)) = (name, read.as_ref()) else {
            // Without a name of its own the record's is no second mistake.
            let found = read.err().unwrap_or_default();
            let named = violations.is_empty();
            violations.extend(found.into_iter().filter(|v| named || v.field != "model.name"));
            return Err(RegistryError::Invalid(violations));
        };
        if !violations.is_empty() {
            return Err(RegistryError::Invalid(violations));
        }
        let snapshot = self.snapshot();
        if snapshot.model_in(Layer::Operator, &name).is_some() {
            return Err(RegistryError::AlreadyExists { name: name.to_string() });
        }
        check_aliases(&snapshot, record)?;
        check_lineage(&snapshot, record)?;
        self.write_model(&snapshot, name, message, None, validate_only).await
    }

    /// Changes a model; a built-in one is overlaid.
    ///
    /// # Errors
    /// As for creating, and an etag that does not match.
    pub async fn update_model(&self, request: pb::UpdateModelRequest) -> Result<pb::Model, RegistryError> {
        let pb::UpdateModelRequest { model, update_mask, allow_missing, validate_only } = request;
        let Some(update) = model else {
            return Err(RegistryError::Invalid(vec![violation("model", "it must be set")]));
        };
        let name = ModelName::parse(&update.name)
            .map_err(|e| RegistryError::Invalid(vec![violation("model.name", e.to_string())]))?;
        let snapshot = self.snapshot();
        let current = snapshot.model_entry(&name);
        let paths = update_mask.map(|mask| mask.paths).unwrap_or_default();
        let base = match current {
            Some(entry) => {
                check_etag(name.as_str(), &update.etag, entry.layer, entry.revision)?;
                message(entry)?
            }
            None if allow_missing => pb::Model { name: name.to_string(), ..pb::Model::default() },
            None => return Err(resolve::not_found(&snapshot, name.as_str())),
        };
        let Some(descriptor) = convert::descriptor("weighbridge.v1.Model") else {
            return Err(RegistryError::Closed);
        };
        let merged =
            convert::merge(&descriptor, &written(base), &confirmed(update), &paths).map_err(RegistryError::Invalid)?;
        let merged = pb::Model { name: name.to_string(), ..merged };
        let record = convert::model(merged.clone(), "model").map_err(RegistryError::Invalid)?;
        check_aliases(&snapshot, &record)?;
        check_lineage(&snapshot, &record)?;
        let seen = snapshot.model_in(Layer::Operator, &name).map(|entry| entry.revision);
        self.write_model(&snapshot, name, merged, seen, validate_only).await
    }

    async fn write_model(
        &self,
        snapshot: &Snapshot,
        name: ModelName,
        message: pb::Model,
        seen: Option<u64>,
        validate_only: bool,
    ) -> Result<pb::Model, RegistryError> {
        let now = (self.clock)();
        let previous = snapshot.model_in(Layer::Operator, &name);
        if let Some(entry) = previous
            && records::stored(&entry.payload)?.0 == Kind::Model(message.clone())
        {
            // Nothing changes: no revision is consumed.
            return Ok(self::message(entry)?);
        }
        if validate_only {
            return preview(message, now);
        }
        let created = previous.map(|entry| records::stored(&entry.payload)).transpose()?;
        let created = created.and_then(|(_, times)| times.created).map_or(now, |t| timestamp(&t, now));
        let ids = |snapshot: &Snapshot| snapshot.model_entry(&name).map(|entry| entry.record.aliases.clone());
        let before = ids(snapshot);
        let key = Key::Model(Layer::Operator, name.clone());
        self.put(&key, Kind::Model(message), seen, created).await?;
        // New ids may be those of offerings and of what sources state.
        if ids(&self.snapshot()) != before {
            self.remerge().await?;
        }
        self.model(name.as_str())
    }

    /// Deletes an operator's record.
    ///
    /// # Errors
    /// Not known, built in, or an etag that does not match.
    pub async fn delete_model(&self, request: pb::DeleteModelRequest) -> Result<(), RegistryError> {
        let pb::DeleteModelRequest { name, etag, validate_only } = request;
        let snapshot = self.snapshot();
        let shown = find(&snapshot, "name", &name)?;
        let name = shown.record.name.clone();
        let Some(entry) = snapshot.model_in(Layer::Operator, &name) else {
            return Err(RegistryError::BuiltIn { name: name.to_string() });
        };
        check_etag(name.as_str(), &etag, entry.layer, entry.revision)?;
        // Without it its own ancestors would be lost to those made from it.
        let below = [Layer::BuiltIn, Layer::Imported].iter().any(|layer| snapshot.model_in(*layer, &name).is_some());
        if !below {
            let made_from_it = |other: &&Arc<Entry<Model>>| {
                other.record.base_models.iter().any(|base| base.model == BaseRef::Record(name.clone()))
            };
            if let Some(other) = snapshot.models().find(made_from_it) {
                let example = other.record.name.to_string();
                return Err(RegistryError::ModelInUse { name: name.to_string(), example });
            }
        }
        if !validate_only {
            self.delete(&Key::Model(Layer::Operator, name.clone()), entry.revision).await?;
            self.remerge().await?;
        }
        Ok(())
    }
}

/// What a write would answer.
fn preview(message: pb::Model, now: Timestamp) -> Result<pb::Model, RegistryError> {
    let mut message = message;
    let record = convert::model(message.clone(), "model").map_err(RegistryError::Invalid)?;
    convert::derive(&mut message, &record);
    message.origin = records::origin(Layer::Operator);
    message.update_time = Some(records::time(now));
    Ok(message)
}

/// A stored time; a broken one counts as now.
pub(super) fn timestamp(time: &prost_types::Timestamp, now: Timestamp) -> Timestamp {
    Timestamp::new(time.seconds, time.nanos).unwrap_or(now)
}

fn find<'a>(snapshot: &'a Snapshot, field: &str, name: &str) -> Result<&'a Arc<Entry<Model>>, RegistryError> {
    let parsed = ModelName::parse(name).map_err(|e| RegistryError::Invalid(vec![violation(field, e.to_string())]))?;
    snapshot.model_entry(&parsed).ok_or_else(|| resolve::not_found(snapshot, name))
}

/// The publisher of a parent; `None` for all.
pub(super) fn parent_of(parent: &str) -> Result<Option<String>, RegistryError> {
    match parent.strip_prefix("publishers/") {
        None if parent.is_empty() => Ok(None),
        Some("-") => Ok(None),
        Some(publisher) if is_segment(publisher) => Ok(Some(publisher.to_owned())),
        _ => {
            let description = format!("`{}` is no parent: write `publishers/{{publisher}}`", shown(parent));
            Err(RegistryError::Invalid(vec![violation("parent", description)]))
        }
    }
}

fn name_of(parent: &str, model_id: &str) -> (Option<ModelName>, Vec<Violation>) {
    let mut violations = Vec::new();
    let publisher = parent.strip_prefix("publishers/").filter(|p| is_segment(p));
    if publisher.is_none() {
        let description = format!("`{}` is no parent: write `publishers/{{publisher}}`", shown(parent));
        violations.push(violation("parent", description));
    }
    if !is_segment(model_id) {
        let description = format!(
            "`{}` is no model id: it starts with a-z or 0-9, goes on with a-z, 0-9, `.`, `_` or `-`, and has at most 128 characters",
            shown(model_id)
        );
        violations.push(violation("model_id", description));
    }
    let name = publisher.and_then(|publisher| ModelName::new(publisher, model_id).ok());
    (name, violations)
}

/// No alias of the record stands for another model already.
pub(super) fn check_aliases(snapshot: &Snapshot, record: &Model) -> Result<(), RegistryError> {
    for alias in &record.aliases {
        let other = snapshot.aliases().exact(alias).iter().find(|name| **name != record.name);
        if let Some(other) = other {
            return Err(RegistryError::AliasTaken { alias: alias.to_string(), model: other.to_string() });
        }
    }
    Ok(())
}

fn check_lineage(snapshot: &Snapshot, record: &Model) -> Result<(), RegistryError> {
    match lineage::cycle(record, |name| snapshot.model_entry(name).map(|entry| &entry.record)) {
        Some(path) => Err(RegistryError::LineageCycle { path }),
        None => Ok(()),
    }
}
