//! Models: get, list, create, update, delete.

use std::sync::Arc;

use jiff::Timestamp;
use roaring::RoaringBitmap;

use super::key::Key;
use super::list::{ListRequest, read_filter};
use super::once::{Begun, RequestId, Turn};
use super::write::expect;
use super::{Registry, RegistryError, check_etag, lineage, records, resolve, violation};
use crate::catalog::fields::{ModelField, OwnField};
use crate::catalog::filter::{Query, Schema as _, Test, Value, Wanted};
use crate::catalog::index::{Budget, Costly};
use crate::catalog::{Entry, Layer, Snapshot};
use crate::convert::{self, RecordError, Violation};
use crate::domain::model::{BaseRef, Model};
use crate::domain::name::{ModelName, is_segment, shown};
use crate::pb::weighbridge::storage::v1::record::Record as Kind;
use crate::pb::weighbridge::v1 as pb;
use crate::store::Expect;

const BATCH_MAX: usize = 1_000;
/// Most fields that are counted at once.
const FACETS_MAX: usize = 32;
/// Most values of a field in an answer.
const FACET_VALUES_MAX: usize = 1_000;
const FACET_VALUES_DEFAULT: usize = 50;

/// The rows of a publisher, or of all, for which a filter holds.
pub(super) fn selected(
    snapshot: &Snapshot,
    publisher: Option<&str>,
    query: Option<&Query<ModelField>>,
) -> Result<RoaringBitmap, RegistryError> {
    let mut rows = snapshot.model_index().all().clone();
    if let Some(publisher) = publisher {
        let wanted = Wanted::Equal(Value::Text(publisher.to_owned().into()));
        let of = Query::Test(Test { field: ModelField::Own(OwnField::Publisher), wanted });
        rows = select(snapshot, &of, &rows)?;
    }
    match query {
        Some(query) => select(snapshot, query, &rows),
        None => Ok(rows),
    }
}

fn select(
    snapshot: &Snapshot,
    query: &Query<ModelField>,
    among: &RoaringBitmap,
) -> Result<RoaringBitmap, RegistryError> {
    let found = snapshot.select_models(query, among, Budget::default());
    found.map(|selection| selection.yes).map_err(|Costly| RegistryError::FilterTooCostly)
}

/// The values of a field by how often they stand in some rows, most often first.
fn facet(
    snapshot: &Snapshot,
    path: &str,
    field: ModelField,
    rows: &RoaringBitmap,
    size: usize,
) -> pb::aggregate_models_response::Facet {
    let mut counts = snapshot.model_index().count(field, rows).unwrap_or_default();
    let distinct = counts.values.len();
    // Stable: of values that are as many the order of the values stays.
    counts.values.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
    counts.values.truncate(size);
    let kind = ModelField::kind(field);
    let count = |number: u64| i32::try_from(number).unwrap_or(i32::MAX);
    let values = counts.values.iter().map(|(value, models)| pb::aggregate_models_response::ValueCount {
        value: value.shown(kind),
        models: count(*models),
    });
    pb::aggregate_models_response::Facet {
        field: path.to_owned(),
        values: values.collect(),
        distinct_values: i32::try_from(distinct).unwrap_or(i32::MAX),
        unknown: count(counts.open),
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
        self.model_on(&self.snapshot(), name)
    }

    /// Gets a model of a snapshot by name.
    ///
    /// # Errors
    /// As for [`Registry::model`].
    pub fn model_on(&self, snapshot: &Snapshot, name: &str) -> Result<pb::Model, RegistryError> {
        Ok(message(find(snapshot, "name", name)?)?)
    }

    /// Gets several models of one snapshot, in the order asked for.
    ///
    /// # Errors
    /// Every bad name at once; then every missing one at once.
    pub fn batch_models(
        &self,
        snapshot: &Snapshot,
        parent: &str,
        names: &[String],
    ) -> Result<Vec<pb::Model>, RegistryError> {
        let publisher = parent_of(parent)?;
        if names.is_empty() || names.len() > BATCH_MAX {
            let description = format!("it holds {} names: ask for 1 to {BATCH_MAX}", names.len());
            return Err(RegistryError::Invalid(vec![violation("names", description)]));
        }
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

    /// Lists models: those of a publisher or all, for which a filter holds, in an order.
    ///
    /// # Errors
    /// Every violation at once, a page token that is not of this list or came too late, or a filter that costs too much.
    pub fn list_models(&self, parent: &str, request: &ListRequest) -> Result<pb::ListModelsResponse, RegistryError> {
        let publisher = parent_of(parent)?;
        let asked = request.read::<ModelField>()?;
        let mask = convert::read_mask("weighbridge.v1.Model", &request.read_mask).map_err(RegistryError::Invalid)?;
        let list = request.bound(&format!("models\n{}", publisher.as_deref().unwrap_or("-")));
        let start = self.start(list, request)?;
        let snapshot = &start.snapshot;
        let rows = selected(snapshot, publisher.as_deref(), asked.query.as_ref())?;
        let after = start.after.as_ref().map(|name| ModelName::parse(name)).transpose();
        let after = after.map_err(|_| RegistryError::PageToken)?;
        let after = after.map(|name| snapshot.model_entry(&name).ok_or(RegistryError::PageToken)).transpose()?;
        let mut found = snapshot.ordered_models(&rows, &asked.order, after, asked.size.saturating_add(1));
        let more = found.len() > asked.size;
        found.truncate(asked.size);
        let last = found.last().map(|entry| entry.record.name.to_string());
        let models: Result<Vec<_>, _> = found.iter().map(|entry| message(entry)).collect();
        Ok(pb::ListModelsResponse {
            models: models?.into_iter().map(|model| mask.keep(model)).collect(),
            next_page_token: self.next_page(&start, last, more),
            total_size: i32::try_from(rows.len()).unwrap_or(i32::MAX),
            revision: records::wire_revision(snapshot.revision()),
        })
    }

    /// Counts the models for which a filter holds by the values of fields.
    ///
    /// # Errors
    /// Every violation at once, or a filter that costs too much.
    pub fn aggregate_models(
        &self,
        snapshot: &Snapshot,
        request: &pb::AggregateModelsRequest,
    ) -> Result<pb::AggregateModelsResponse, RegistryError> {
        let pb::AggregateModelsRequest { parent, filter, fields, max_values, as_of_revision: _, as_of_time: _ } =
            request;
        let publisher = parent_of(parent)?;
        let mut violations = Vec::new();
        let query = read_filter::<ModelField>(filter).unwrap_or_else(|found| {
            violations.extend(found);
            None
        });
        if fields.is_empty() || fields.len() > FACETS_MAX {
            violations.push(violation("fields", format!("it has {} entries: name 1 to {FACETS_MAX}", fields.len())));
        }
        let size = match max_values {
            0 => FACET_VALUES_DEFAULT,
            size => usize::try_from(*size).ok().filter(|size| *size <= FACET_VALUES_MAX).unwrap_or_else(|| {
                violations.push(violation("max_values", format!("{size} is not from 1 to {FACET_VALUES_MAX}")));
                0
            }),
        };
        let mut named = Vec::new();
        for (i, path) in fields.iter().enumerate().take(FACETS_MAX) {
            let is_counted = |field: &ModelField| snapshot.model_index().is_counted(*field);
            let field = ModelField::find(path).filter(is_counted);
            match field {
                Some(field) => named.push((path, field)),
                None => {
                    let counted = ModelField::paths().into_iter();
                    let counted: Vec<String> =
                        counted.filter(|path| ModelField::find(path).is_some_and(|f| is_counted(&f))).collect();
                    let near = convert::nearest(path, counted.iter().map(String::as_str));
                    let description = format!("`{}` is no field that is counted{near}", shown(path));
                    violations.push(violation(&format!("fields[{i}]"), description));
                }
            }
        }
        if !violations.is_empty() {
            return Err(RegistryError::Invalid(violations));
        }
        let rows = selected(snapshot, publisher.as_deref(), query.as_ref())?;
        let facets = named.into_iter().map(|(path, field)| facet(snapshot, path, field, &rows, size)).collect();
        Ok(pb::AggregateModelsResponse {
            facets,
            total_size: i32::try_from(rows.len()).unwrap_or(i32::MAX),
            revision: records::wire_revision(snapshot.revision()),
        })
    }

    /// Adds a model to the operator's layer.
    ///
    /// # Errors
    /// Every violation at once; the name or an alias is taken; the lineage goes in a circle.
    pub async fn create_model(&self, request: pb::CreateModelRequest) -> Result<pb::Model, RegistryError> {
        match self.begin(&RequestId::of(&request), request.validate_only).await? {
            Turn::Done(answer) => Ok(answer),
            Turn::Now(begun) => {
                let result = self.create_model_now(request, &begun).await;
                self.end(begun, result).await
            }
        }
    }

    async fn create_model_now(
        &self,
        request: pb::CreateModelRequest,
        begun: &Begun,
    ) -> Result<pb::Model, RegistryError> {
        let pb::CreateModelRequest { parent, model_id, model, validate_only: _, request_id: _ } = request;
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
        self.write_model(&snapshot, name, message, begun).await
    }

    /// Changes a model; a built-in one is overlaid.
    ///
    /// # Errors
    /// As for creating, and an etag that does not match.
    pub async fn update_model(&self, request: pb::UpdateModelRequest) -> Result<pb::Model, RegistryError> {
        match self.begin(&RequestId::of(&request), request.validate_only).await? {
            Turn::Done(answer) => Ok(answer),
            Turn::Now(begun) => {
                let result = self.update_model_now(request, &begun).await;
                self.end(begun, result).await
            }
        }
    }

    async fn update_model_now(
        &self,
        request: pb::UpdateModelRequest,
        begun: &Begun,
    ) -> Result<pb::Model, RegistryError> {
        let pb::UpdateModelRequest { model, update_mask, allow_missing, validate_only: _, request_id: _ } = request;
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
        self.write_model(&snapshot, name, merged, begun).await
    }

    async fn write_model(
        &self,
        snapshot: &Snapshot,
        name: ModelName,
        message: pb::Model,
        begun: &Begun,
    ) -> Result<pb::Model, RegistryError> {
        let now = (self.clock)();
        let previous = snapshot.model_in(Layer::Operator, &name);
        if let Some(entry) = previous
            && records::stored(&entry.payload)?.0 == Kind::Model(message.clone())
        {
            // Nothing changes: no revision is consumed.
            return Ok(self::message(entry)?);
        }
        if begun.validate_only {
            return preview(message, now);
        }
        let created = previous.map(|entry| records::stored(&entry.payload)).transpose()?;
        let created = created.and_then(|(_, times)| times.created).map_or(now, |t| timestamp(&t, now));
        let ids = |snapshot: &Snapshot| snapshot.model_entry(&name).map(|entry| entry.record.aliases.clone());
        let before = ids(snapshot);
        let key = Key::Model(Layer::Operator, name.clone());
        let revision =
            self.put(&key, Kind::Model(message.clone()), unchanged(snapshot, &name), (created, now), &begun.by).await?;
        // New ids may be those of offerings and of what sources state.
        if ids(&self.snapshot()) != before {
            self.remerge_after_write().await;
        }
        // As it was written: somebody may have changed or deleted it since.
        Ok(pb::Model {
            revision: records::wire_revision(revision),
            etag: records::etag(Layer::Operator, revision),
            create_time: Some(records::time(created)),
            ..preview(message, now)?
        })
    }

    /// Deletes an operator's record.
    ///
    /// # Errors
    /// Not known, built in, or an etag that does not match.
    pub async fn delete_model(&self, request: pb::DeleteModelRequest) -> Result<(), RegistryError> {
        match self.begin(&RequestId::of(&request), request.validate_only).await? {
            Turn::Done(answer) => Ok(answer),
            Turn::Now(begun) => {
                let result = self.delete_model_now(&self.snapshot(), request, &begun).await;
                self.end(begun, result).await
            }
        }
    }

    async fn delete_model_now(
        &self,
        snapshot: &Snapshot,
        request: pb::DeleteModelRequest,
        begun: &Begun,
    ) -> Result<(), RegistryError> {
        let pb::DeleteModelRequest { name, etag, validate_only: _, request_id: _ } = request;
        let shown = find(snapshot, "name", &name)?;
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
        if !begun.validate_only {
            self.delete(&Key::Model(Layer::Operator, name.clone()), unchanged(snapshot, &name), &begun.by).await?;
            self.remerge_after_write().await;
        }
        Ok(())
    }
}

/// That a model stands in each layer as a snapshot has it. An overlay is made of what is shown, and an etag is that of what is
/// shown, which may come from any of them.
fn unchanged(snapshot: &Snapshot, name: &ModelName) -> Vec<Expect> {
    let layers = [Layer::Operator, Layer::Imported, Layer::BuiltIn].into_iter();
    let seen = |layer| snapshot.model_in(layer, name).map(|entry| entry.revision);
    layers.map(|layer| expect(&Key::Model(layer, name.clone()), seen(layer))).collect()
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
        let other = snapshot.aliases().exact(alias).into_iter().find(|name| **name != record.name);
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

#[cfg(test)]
mod tests {
    use std::sync::atomic::Ordering;

    use super::*;
    use crate::pb::weighbridge::storage::v1::SourceRecord;
    use crate::store::{Batch, MemoryStore, Store as _, StoreError, Write};

    #[tokio::test]
    async fn an_overlay_holds_only_on_what_it_was_made_of() {
        let store = Arc::new(MemoryStore::new());
        let now = Timestamp::from_millisecond(1_800_000_000_123).unwrap();
        let registry = Registry::open(store.clone(), Arc::new(move || now)).await.unwrap();
        let name = ModelName::parse("publishers/acme/models/one").unwrap();
        let component = |license: &str| pb::Component {
            kind: pb::component::Kind::ModelWeights.into(),
            license_expression: license.to_owned(),
            ..Default::default()
        };
        let model = |license: &str| pb::Model {
            name: name.to_string(),
            components: vec![component(license)],
            ..Default::default()
        };
        for layer in [Layer::BuiltIn, Layer::Imported] {
            let key = Key::Model(layer, name.clone());
            let source = async |license: &str| {
                let value = records::record(Kind::Model(model(license)), "import/test", now, now);
                let revision = store.commit(Batch::of([Write { key: key.bytes(), value: Some(value) }])).await.unwrap();
                registry.wait_for(revision).await.unwrap();
            };
            source("Apache-2.0").await;
            let before = registry.snapshot();
            let etag = |snapshot: &Snapshot| {
                let entry = snapshot.model_entry(&name).unwrap();
                records::etag(entry.layer, entry.revision)
            };
            let seen = etag(&before);
            source("CC-BY-NC-4.0").await;
            assert_ne!(etag(&registry.snapshot()), seen);
            let shown = |snapshot: &Snapshot| message(snapshot.model_entry(&name).unwrap()).unwrap().license_expression;
            assert_eq!([shown(&before), shown(&registry.snapshot())], ["Apache-2.0", "CC-BY-NC-4.0"]);

            let overlay = pb::Model { description: "ours".into(), ..model("Apache-2.0") };
            let request = pb::UpdateModelRequest { model: Some(overlay.clone()), ..Default::default() };
            let Ok(Turn::Now(begun)) = registry.begin::<pb::Model>(&RequestId::of(&request), false).await else {
                panic!()
            };
            let late = registry.write_model(&before, name.clone(), overlay.clone(), &begun).await;
            assert!(matches!(late, Err(RegistryError::Store(StoreError::Conflict { .. }))), "{layer:?}: {late:?}");
            assert_eq!(etag(&before), seen);

            // Made of what stands there now, it holds.
            let written = registry.write_model(&registry.snapshot(), name.clone(), overlay, &begun).await.unwrap();
            // It may be deleted though others are made from it, as long as something stands below it.
            let with_both = registry.snapshot();
            source("Apache-2.0").await;
            let delete = pb::DeleteModelRequest { name: name.to_string(), etag: written.etag, ..Default::default() };
            let late = registry.delete_model_now(&with_both, delete.clone(), &begun).await;
            assert!(matches!(late, Err(RegistryError::Store(StoreError::Conflict { .. }))), "{layer:?}: {late:?}");
            registry.delete_model(delete).await.unwrap();
        }
    }

    #[tokio::test]
    async fn a_change_that_is_made_is_answered_as_made_when_merging_fails_after_it() {
        let store = Arc::new(MemoryStore::new());
        let registry = Registry::open(store.clone(), Arc::new(Timestamp::now)).await.unwrap();
        // Of a release that reads another source.
        let key = Key::SourceRecord(("unheard-of".into(), "one".into()));
        let message = SourceRecord { source: "unheard-of".into(), id: "one".into(), ..Default::default() };
        let value = records::record(Kind::SourceRecord(message), "import/test", Timestamp::now(), Timestamp::now());
        let write = |value| Batch::of([Write { key: key.bytes(), value }]);
        let revision = store.commit(write(Some(value))).await.unwrap();
        registry.wait_for(revision).await.unwrap();

        let request = pb::CreateModelRequest {
            parent: "publishers/acme".into(),
            model_id: "one".into(),
            model: Some(pb::Model { aliases: vec!["Acme/One".into()], ..Default::default() }),
            ..Default::default()
        };
        let created = registry.create_model(request).await.unwrap();
        assert!(registry.snapshot().model_entry(&ModelName::parse(&created.name).unwrap()).is_some());
        // It is not forgotten until it is done.
        for _ in 0..2 {
            registry.merge_left_over().await.unwrap_err();
        }
        let revision = store.commit(write(None)).await.unwrap();
        registry.wait_for(revision).await.unwrap();
        registry.merge_left_over().await.unwrap();
        let merges = [&registry.merges_due, &registry.merges_done].map(|merges| merges.load(Ordering::Relaxed));
        assert_eq!(merges, [1, 1]);
    }
}
