//! Everything that imports determine, made anew: from the catalog, the operator's records and all that sources state, to
//! the writes that differ from what is stored.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use jiff::Timestamp;

use super::known::{ModelsAfterMerge, ModelsBeforeMerge};
use crate::catalog::{self, Layer, Payload, Snapshot};
use crate::convert;
use crate::domain::alias::fold;
use crate::domain::eligibility::Records;
use crate::domain::license::{Expression, PermissionStatus, Term};
use crate::domain::model::BaseRef;
use crate::domain::name::{LicenseId, ModelName, OfferingName, shown};
use crate::domain::offering::Offering;
use crate::ingest::document::Reading;
use crate::ingest::identity::{AliasIndex, Folded, Resolution, resolve};
use crate::ingest::merge::{self, Merged, OfferingFlags, Place, Places, Settled, Tables};
use crate::ingest::source::DataSource;
use crate::ingest::statement::{Field, SourceRecord};
use crate::ingest::{Entry, Outcome, hub, models_dev};
use crate::pb::weighbridge::storage::v1::record::Record as Kind;
use crate::pb::weighbridge::v1 as pb;
use crate::registry::builtin::Builtin;
use crate::registry::key::Key;
use crate::registry::models::timestamp;
use crate::registry::{RegistryError, lineage, records};
use crate::store::Write;

/// What an import brings.
pub(super) enum Incoming {
    /// Nothing: what is there is made anew.
    Nothing,
    /// What a source states of models.
    Models(DataSource, Reading),
    /// Providers and offerings, and where the document is from.
    Offerings(models_dev::Document, String),
}

/// One rebuild under way.
pub(super) struct Rebuild<'a> {
    snapshot: &'a Arc<Snapshot>,
    builtin: &'a Builtin,
    actor: &'a str,
    now: Timestamp,
    report: pb::ImportReport,
    writes: Vec<Write>,
}

impl<'a> Rebuild<'a> {
    pub(super) fn new(snapshot: &'a Arc<Snapshot>, builtin: &'a Builtin, actor: &'a str, now: Timestamp) -> Self {
        Self { snapshot, builtin, actor, now, report: pb::ImportReport::default(), writes: Vec::new() }
    }

    pub(super) fn run(mut self, incoming: Incoming) -> Result<(pb::ImportReport, Vec<Write>), RegistryError> {
        let builtin = self.builtin;
        let publishers = &builtin.reference.publishers;
        let by_name = |name: &str| publishers.by_name(name).map(Box::from);
        let on_hub = |organization: &str| publishers.on_hub(organization);
        let snapshot = self.snapshot;
        let commercial_use = |expression: &Expression| grants_commercial_use(snapshot, expression);
        let tables = Tables {
            licenses: &builtin.license_names,
            errors: &builtin.source_errors,
            commercial_use: &commercial_use,
            publisher_by_name: &by_name,
            publisher_on_hub: &on_hub,
        };
        let (source, reading, document) = match incoming {
            Incoming::Nothing => (None, Reading::default(), None),
            Incoming::Models(source, reading) => (Some(source), reading, None),
            Incoming::Offerings(document, origin) => (None, Reading::default(), Some((document, origin))),
        };
        let statements = self.source_records(source, &reading)?;
        let before = ModelsBeforeMerge(self.snapshot);
        let places = merge::place(&before, &tables, &statements);
        let more = further_ids(&before, &statements, &places);
        let index = ModelsAfterMerge::new(before, &more);
        let flags = match document {
            Some((document, origin)) => self.offerings(&document, &index, &origin)?,
            None => self.links(&index)?,
        };
        let mut entries = self.models(&tables, &index, &statements, &places, &more, &flags)?;
        if let Some(source) = source {
            entries.extend(of_records(&tables, source, &statements, &places, &reading));
        }
        convert::add_entries(&mut self.report, &reading, &entries);
        Ok((self.report, self.writes))
    }

    /// Every record of every source after the import, and the writes for those that differ.
    fn source_records(
        &mut self,
        source: Option<DataSource>,
        reading: &Reading,
    ) -> Result<Vec<SourceRecord>, RegistryError> {
        let mut all = Vec::new();
        let mut stored: HashMap<&str, &Payload> = HashMap::new();
        let rejected: BTreeSet<&str> = reading.rejected.iter().flat_map(|entry| ids_of(&entry.record)).collect();
        let read: BTreeSet<&str> = reading.records.iter().map(|record| &*record.id).collect();
        let mut gone = Vec::new();
        for ((of, id), payload) in self.snapshot.source_records() {
            let replaced = source.is_some_and(|source| source.as_str() == &**of);
            if replaced {
                stored.insert(id, payload);
                if read.contains(&**id) {
                    continue;
                }
                // What could not be read this time is not gone.
                let unreadable = reading.unnamed > 0 || rejected.contains(shown(id).as_str());
                if source.is_some_and(DataSource::is_complete) && !unreadable {
                    gone.push(Key::SourceRecord((of.clone(), id.clone())));
                    continue;
                }
            }
            let (Kind::SourceRecord(message), _) = records::stored(payload)? else { continue };
            all.push(convert::source_record(message)?);
        }
        for record in &reading.records {
            let key = Key::SourceRecord((record.source.as_str().into(), record.id.clone()));
            let kind = Kind::SourceRecord(convert::source_record_message(record));
            self.put(&key, kind, stored.get(&*record.id).copied())?;
            all.push(record.clone());
        }
        for key in gone {
            self.delete(&key);
        }
        all.sort_by(|a, b| (a.source, &a.id).cmp(&(b.source, &b.id)));
        Ok(all)
    }

    fn offerings(
        &mut self,
        document: &models_dev::Document,
        index: &dyn AliasIndex,
        origin: &str,
    ) -> Result<Flags, RegistryError> {
        let import = models_dev::normalise(document, index, origin);
        if import.offerings.is_empty() {
            return Err(RegistryError::NothingToImport { detail: String::new() });
        }
        let credit = DataSource::ModelsDev.credit();
        let source = pb::Source {
            title: credit.title.into(),
            url: credit.url.into(),
            date: String::new(),
            license: credit.license.into(),
        };
        self.report = convert::import_report(&import);
        let mut named = BTreeSet::new();
        for record in &import.providers {
            named.insert(record.id.clone());
            let old = self.snapshot.provider(&record.id).map(|entry| entry.payload.clone());
            let kind = Kind::Provider(convert::provider_message(record));
            self.put(&Key::Provider(record.id.clone()), kind, old.as_ref())?;
        }
        // What could not be read this time is not gone.
        let rejected = import.entries.iter().filter(|entry| entry.outcome == Outcome::Rejected);
        let rejected: BTreeSet<&str> = rejected.map(|entry| entry.record.as_str()).collect();
        let gone = self.snapshot.providers().map(|entry| entry.record.id.clone());
        let gone = gone.filter(|id| !named.contains(id) && !rejected.contains(id.resource_name().as_str()));
        for id in gone.collect::<Vec<_>>() {
            self.delete(&Key::Provider(id));
        }
        let mut flags = Flags::new();
        let mut named = BTreeSet::new();
        for record in &import.offerings {
            named.insert(record.name.clone());
            if let (Some(found), Some(open)) = (&record.model, record.open_weights) {
                count(&mut flags, &found.model, open);
            }
            let old = self.snapshot.offering(&record.name).map(|entry| entry.payload.clone());
            let kind = Kind::Offering(convert::offering_message(record, &source));
            self.put(&Key::Offering(record.name.clone()), kind, old.as_ref())?;
        }
        let snapshot = self.snapshot.clone();
        for entry in snapshot.offerings().filter(|entry| !named.contains(&entry.record.name)) {
            let name = &entry.record.name;
            if rejected.contains(as_rejected(name).as_str()) {
                self.link(entry, index, &mut flags)?;
            } else {
                self.delete(&Key::Offering(name.clone()));
            }
        }
        Ok(flags)
    }

    /// Which models the stored offerings are of, now that others may be known.
    fn links(&mut self, index: &dyn AliasIndex) -> Result<Flags, RegistryError> {
        let mut flags = Flags::new();
        let snapshot = self.snapshot.clone();
        for entry in snapshot.offerings() {
            self.link(entry, index, &mut flags)?;
        }
        Ok(flags)
    }

    fn link(
        &mut self,
        entry: &catalog::Entry<Offering>,
        index: &dyn AliasIndex,
        flags: &mut Flags,
    ) -> Result<(), RegistryError> {
        let (Kind::Offering(mut message), _) = records::stored(&entry.payload)? else { return Ok(()) };
        let name = &entry.record.name;
        let before = message.clone();
        let found = resolve(index, Some(name.provider().as_str()), name.offering(), Some(&message.display_name));
        convert::link_offering(&mut message, &found);
        if let Resolution::Matched { model, .. } = &found
            && let Some(open) = message.open_weights
        {
            count(flags, model, open);
        }
        if message != before {
            self.put(&Key::Offering(name.clone()), Kind::Offering(message), Some(&entry.payload))?;
        }
        Ok(())
    }

    /// The merged models, and the writes for those that differ. Returns what is to be said of single ones.
    fn models(
        &mut self,
        tables: &Tables<'_>,
        index: &ModelsAfterMerge<'_>,
        statements: &[SourceRecord],
        places: &Places,
        more: &FurtherIds,
        flags: &Flags,
    ) -> Result<Vec<Entry>, RegistryError> {
        let mut stated: BTreeMap<&ModelName, Vec<&SourceRecord>> = BTreeMap::new();
        for (record, place) in statements.iter().zip(&places.places) {
            if let Some(model) = place.model() {
                stated.entry(model).or_default().push(record);
            }
        }
        let names: BTreeSet<&ModelName> = stated.keys().copied().chain(flags.keys()).collect();
        let mut made: BTreeMap<ModelName, pb::Model> = BTreeMap::new();
        let mut entries = Vec::new();
        for name in names {
            let before = self.snapshot.model_in(Layer::BuiltIn, name);
            let is_new = more.get(name).is_some() && self.snapshot.model_before_merge(name).is_none();
            // An operator's record of its own stands alone.
            if before.is_none() && !is_new {
                continue;
            }
            let before = before.map(|entry| records::stored(&entry.payload)).transpose()?;
            let before = match before {
                Some((Kind::Model(message), _)) => Some(message),
                _ => None,
            };
            let base = before.as_ref().map(convert::merge_base).unwrap_or_default();
            let records = stated.get(name).map_or(&[][..], |records| records);
            let flags = flags.get(name).copied().unwrap_or_default();
            let resolve = |text: &str| match merge::resolve_base(index, tables, places, text) {
                // Only its own repository is certain to mean itself; else it may be another model that is called so.
                BaseRef::Record(found) if found == *name && !is_own(records, text) => BaseRef::Written(text.into()),
                found => found,
            };
            let mut merged = merge::merge(tables, &base, records, flags, &resolve);
            without_itself(name, &mut merged);
            merged.aliases = more.get(name).cloned().unwrap_or_default();
            if before.is_some() && merged.is_empty() {
                continue;
            }
            let message = convert::merged_model(name, before.as_ref(), &merged);
            let message = match convert::model(message.clone(), "") {
                Ok(_) => message,
                Err(violations) => {
                    entries.push(Entry {
                        record: name.to_string(),
                        outcome: Outcome::Kept,
                        messages: violations.into_iter().map(|v| format!("{}: {}", v.field, v.description)).collect(),
                    });
                    match mended(name, before.as_ref(), &merged) {
                        Some(message) => message,
                        None => continue,
                    }
                }
            };
            made.insert(name.clone(), message);
        }
        entries.extend(without_circles(self.snapshot, &mut made));
        self.report.conflicting_models = self.conflicting(&made);
        for (name, message) in &made {
            let old = self.snapshot.model_in(Layer::Imported, name).map(|entry| entry.payload.clone());
            self.put(&Key::Model(Layer::Imported, name.clone()), Kind::Model(message.clone()), old.as_ref())?;
        }
        let gone = self.snapshot.models_of(Layer::Imported).map(|entry| entry.record.name.clone());
        for name in gone.filter(|name| !made.contains_key(name)).collect::<Vec<_>>() {
            self.delete(&Key::Model(Layer::Imported, name));
        }
        Ok(entries)
    }

    /// Models of the whole registry on which sources disagree.
    fn conflicting(&self, made: &BTreeMap<ModelName, pb::Model>) -> i32 {
        let operators = |name: &ModelName| self.snapshot.model_in(Layer::Operator, name).is_some();
        let merged = made.iter().filter(|(name, model)| !model.conflicts.is_empty() && !operators(name));
        let others = self.snapshot.models().filter(|entry| match entry.layer {
            Layer::Operator => !entry.record.conflicts.is_empty(),
            // A merged record shows above the built-in one, and the one before this import is about to go.
            Layer::BuiltIn | Layer::Imported => {
                let name = &entry.record.name;
                let built_in = self.snapshot.model_in(Layer::BuiltIn, name);
                !made.contains_key(name) && built_in.is_some_and(|entry| !entry.record.conflicts.is_empty())
            }
        });
        i32::try_from(merged.count() + others.count()).unwrap_or(i32::MAX)
    }

    fn put(&mut self, key: &Key, kind: Kind, old: Option<&Payload>) -> Result<(), RegistryError> {
        let mut created = self.now;
        match old {
            None => self.report.created += 1,
            Some(old) => {
                let (stored, times) = records::stored(old)?;
                if stored == kind {
                    self.report.unchanged += 1;
                    return Ok(());
                }
                created = times.created.map_or(self.now, |t| timestamp(&t, self.now));
                self.report.updated += 1;
            }
        }
        let value = records::record(kind, self.actor, created, self.now);
        self.writes.push(Write { key: key.bytes(), value: Some(value) });
        Ok(())
    }

    fn delete(&mut self, key: &Key) {
        self.report.deleted += 1;
        self.writes.push(Write { key: key.bytes(), value: None });
    }
}

type Flags = BTreeMap<ModelName, OfferingFlags>;
type FurtherIds = BTreeMap<ModelName, Vec<Box<str>>>;

/// Whether a choice of an expression's licenses grants commercial use, whatever it asks for that; `None` where the terms
/// of one that decides are not known or leave it open.
fn grants_commercial_use(snapshot: &Snapshot, expression: &Expression) -> Option<bool> {
    let granted = |id: &LicenseId| match Records::license(snapshot, id)?.permissions.commercial_use.status {
        PermissionStatus::Allowed | PermissionStatus::Conditional => Some(true),
        PermissionStatus::Prohibited => Some(false),
        PermissionStatus::Unspecified | PermissionStatus::Unclear => None,
    };
    granted_by(expression.root(), &granted)
}

fn granted_by(term: &Term, granted: &dyn Fn(&LicenseId) -> Option<bool>) -> Option<bool> {
    let settled_by = |terms: &[Term], decisive: bool| {
        let found: Vec<_> = terms.iter().map(|term| granted_by(term, granted)).collect();
        if found.contains(&Some(decisive)) {
            return Some(decisive);
        }
        (!found.contains(&None)).then_some(!decisive)
    };
    match term {
        Term::License { id, .. } => granted(id),
        Term::And(terms) => settled_by(terms, false),
        Term::Or(terms) => settled_by(terms, true),
    }
}

fn count(flags: &mut Flags, model: &ModelName, open: bool) {
    let of_model = flags.entry(model.clone()).or_default();
    let side = if open { &mut of_model.open } else { &mut of_model.closed };
    *side = side.saturating_add(1);
}

/// An offering as the report of an import names one that it rejects.
fn as_rejected(name: &OfferingName) -> String {
    format!("providers/{}/offerings/{}", name.provider(), shown(name.offering()))
}

/// A rejected entry names a record, or the file whose stem is its id.
fn ids_of(rejected: &str) -> impl Iterator<Item = &str> {
    let last = rejected.rsplit('/').next().unwrap_or(rejected);
    [Some(rejected), last.rsplit_once('.').map(|(stem, _)| stem)].into_iter().flatten()
}

/// Ids of the models that sources make, and those of known ones that their source is certain of and nobody has.
fn further_ids(before: &ModelsBeforeMerge<'_>, statements: &[SourceRecord], places: &Places) -> FurtherIds {
    let mut more: FurtherIds =
        places.aliases.iter().map(|(model, ids)| (model.clone(), ids.iter().cloned().collect())).collect();
    for (record, place) in statements.iter().zip(&places.places) {
        let (Place::Known(model), DataSource::ModelsDevCatalog) = (place, record.source) else { continue };
        for id in merge::certain_ids(record).filter(|id| before.exact(id).is_none()) {
            let ids = more.entry(model.clone()).or_default();
            if !ids.contains(&id) {
                ids.push(id);
            }
        }
    }
    for (model, ids) in &mut more {
        // A bare id would be met before the name of a known model that it only resembles, and take its place.
        ids.retain(|id| id.contains('/') || !is_anothers(before, model, id));
    }
    more.retain(|model, ids| !ids.is_empty() || places.aliases.contains_key(model));
    more
}

fn is_anothers(before: &ModelsBeforeMerge<'_>, model: &ModelName, id: &str) -> bool {
    match before.folded(&fold(id)) {
        Folded::None => false,
        Folded::One(other, _) => other != *model,
        Folded::Ambiguous(_) => true,
    }
}

/// Whether a name is that of a repository of one of the records.
fn is_own(records: &[&SourceRecord], text: &str) -> bool {
    let repository = hub::repository_of(text).map(|repository| fold(&repository));
    let own = records.iter().flat_map(|record| &record.identity.repositories);
    repository.is_some_and(|repository| own.into_iter().any(|own| fold(own) == repository))
}

/// A merged record that broke a limit, without the fields that say nothing of its terms; else what stood before, with
/// its license in doubt: it does not know what a source has said since.
fn mended(name: &ModelName, before: Option<&pb::Model>, merged: &Merged) -> Option<pb::Model> {
    let valid = |message: &pb::Model| convert::model(message.clone(), "").is_ok();
    let mut terms = merged.clone();
    terms.set.retain(|field, _| matches!(field, Field::License(_) | Field::Availability(_) | Field::BaseModels));
    let of_terms = convert::merged_model(name, before, &terms);
    if valid(&of_terms) {
        return Some(of_terms);
    }
    Some(convert::doubted_model(name, before)).filter(valid)
}

fn without_itself(name: &ModelName, merged: &mut Merged) {
    if let Some(Settled::Bases(bases)) = merged.set.get_mut(&Field::BaseModels) {
        bases.retain(|(base, _)| *base != BaseRef::Record(name.clone()));
        if bases.is_empty() {
            merged.set.remove(&Field::BaseModels);
        }
    }
}

/// Takes the lineage out of models that would be made from themselves. What sources state must not make a circle.
fn without_circles(snapshot: &Snapshot, made: &mut BTreeMap<ModelName, pb::Model>) -> Vec<Entry> {
    let mut entries = Vec::new();
    let mut read: BTreeMap<ModelName, crate::domain::model::Model> = BTreeMap::new();
    for (name, message) in &*made {
        if let Ok(model) = convert::model(message.clone(), "") {
            read.insert(name.clone(), model);
        }
    }
    let names: Vec<_> = read.keys().cloned().collect();
    for name in names {
        let Some(model) = read.get(&name).cloned() else { continue };
        // What an earlier import made is about to go.
        let stored = |layer, other: &ModelName| snapshot.model_in(layer, other).map(|entry| &entry.record);
        let find = |other: &ModelName| {
            stored(Layer::Operator, other).or_else(|| read.get(other)).or_else(|| stored(Layer::BuiltIn, other))
        };
        let Some(path) = lineage::cycle(&model, find) else { continue };
        let Some(message) = made.get_mut(&name) else { continue };
        // A base without a record: the step stays, its terms are unknown, and eligibility reviews it.
        for base in message.base_models.iter_mut().filter(|base| path.contains(&base.model)) {
            base.model = base.model.trim_start_matches("publishers/").to_owned();
        }
        if let Ok(model) = convert::model(message.clone(), "") {
            read.insert(name.clone(), model);
        }
        entries.push(Entry {
            record: name.to_string(),
            outcome: Outcome::Kept,
            messages: vec![format!("its lineage would go in a circle, which is cut here: {}", path.join(" → "))],
        });
    }
    entries
}

/// What is to be said of each record that was read: which model it is about, or why none; what was left out.
fn of_records(
    tables: &Tables<'_>,
    source: DataSource,
    statements: &[SourceRecord],
    places: &Places,
    reading: &Reading,
) -> Vec<Entry> {
    let warnings: HashMap<&str, &[String]> =
        reading.records.iter().map(|record| (&*record.id, record.warnings.as_slice())).collect();
    let mut entries = Vec::new();
    for (record, place) in statements.iter().zip(&places.places).filter(|(record, _)| record.source == source) {
        let Some(warnings) = warnings.get(&*record.id) else { continue };
        let mut messages = warnings.to_vec();
        messages.extend(merge::remarks(tables, record));
        let outcome = match place {
            Place::None { reason } => {
                messages.insert(0, reason.clone());
                Outcome::Unresolved
            }
            Place::Known(_) | Place::New(_) => Outcome::Kept,
        };
        entries.push(Entry { record: format!("{source}/{}", record.id), outcome, messages });
    }
    entries
}
