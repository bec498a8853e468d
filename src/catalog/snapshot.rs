//! The snapshot: records and indexes at one revision.

use std::collections::BTreeSet;
use std::sync::Arc;

use roaring::RoaringBitmap;

use super::aliases::Aliases;
use super::index::{Changed, ModelIndex};
use super::mof as mof_table;
use super::policies::{ModelPolicy, PolicySet};
use super::pool::Pool;
use crate::domain::date::Date;
use crate::domain::eligibility::{Policies, Records, Waiver, measures_at_release};
use crate::domain::hosting::Hardware;
use crate::domain::license::{Coverage, License, UseRestriction};
use crate::domain::model::Model;
use crate::domain::name::{LicenseId, ModelName, OfferingName, ProviderId};
use crate::domain::offering::{Offering, Provider};
use crate::domain::openness::MofFramework;
use crate::domain::publisher::Publishers;
use crate::domain::vocabulary::Vocabulary;

type Map<K, V> = imbl::OrdMap<K, V>;
/// A persistent map with a fast hash: names come from our own records.
pub(super) type Index<K, V> =
    imbl::GenericHashMap<K, V, foldhash::fast::RandomState, imbl::shared_ptr::DefaultSharedPtr>;

/// What every snapshot of a release shares: words and tables that are not records.
#[derive(Debug)]
pub struct Reference {
    /// Use categories, business types and metrics.
    pub vocabulary: Vocabulary,
    /// The Model Openness Framework.
    pub mof: MofFramework,
    /// Under which names publishers are known.
    pub publishers: Publishers,
    /// Accelerators, what is assumed of them, and rules for data.
    pub hardware: Hardware,
}

impl Reference {
    /// Reads the framework's table.
    ///
    /// # Errors
    /// Every problem of the table.
    pub fn new(vocabulary: Vocabulary, mof: &str, publishers: Publishers) -> Result<Self, Vec<String>> {
        Ok(Self { vocabulary, mof: mof_table::read_mof(mof)?, publishers, hardware: Hardware::default() })
    }

    /// The same with what is known of hardware.
    #[must_use]
    pub fn with_hardware(self, hardware: Hardware) -> Self {
        Self { hardware, ..self }
    }
}

/// Who put a record where it is; a later one hides an earlier one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Layer {
    /// Ships with the release.
    BuiltIn,
    /// Brought in by an import.
    Imported,
    /// Written by an operator.
    Operator,
}

/// Stored bytes, as they were read.
pub type Payload = Box<[u8]>;

/// A record with its payload.
#[derive(Clone, Debug)]
pub struct Entry<T> {
    /// The record as decisions look at it.
    pub record: T,
    /// Revision of its last change.
    pub revision: u64,
    /// Whose it is.
    pub layer: Layer,
    /// The stored bytes, unread.
    pub payload: Payload,
}

/// A shared list of barred uses.
#[derive(Clone, Debug, PartialEq)]
pub struct UsePolicyList {
    /// Its id.
    pub id: Box<str>,
    /// The barred uses.
    pub restrictions: Vec<UseRestriction>,
}

/// A record to put.
#[derive(Clone, Debug)]
pub struct Put<T> {
    /// The record.
    pub record: T,
    /// The stored bytes.
    pub payload: Payload,
}

/// A change of one record in one layer; `None` deletes it.
#[derive(Clone, Debug)]
pub enum Change {
    /// A model.
    Model(Layer, ModelName, Option<Put<Model>>),
    /// A license.
    License(Layer, LicenseId, Option<Box<Put<License>>>),
    /// A shared list of barred uses.
    UsePolicy(Box<str>, Option<Put<UsePolicyList>>),
    /// A provider.
    Provider(ProviderId, Option<Put<Provider>>),
    /// An offering.
    Offering(OfferingName, Option<Put<Offering>>),
    /// What a data set says of a model, by data set and id; unread.
    SourceRecord(SourceId, Option<Payload>),
    /// A named set of facts, unread.
    UseProfile(Box<str>, Option<Put<()>>),
    /// An exception.
    Waiver(Box<str>, Option<Put<Waiver>>),
    /// A policy of the organisation.
    Policy(Box<str>, Option<Put<ModelPolicy>>),
    /// What runs where, unread.
    Deployment(Box<str>, Option<Put<()>>),
}

/// A record of a data set: the data set and its id there.
pub type SourceId = (Box<str>, Box<str>);

/// One page of a list.
#[derive(Clone, Debug)]
pub struct Page<T> {
    /// Its entries.
    pub entries: Vec<Arc<Entry<T>>>,
    /// Whether more follow.
    pub more: bool,
    /// Entries in all.
    pub total: usize,
}

/// New rows that are filled into the index together: enough to be worth it, and few enough for a processor's caches.
const FILLED_MAX: u64 = 1 << 16;

/// A record's layers, lowest first; the last one shows.
type Layers<T> = smallvec::SmallVec<[Arc<Entry<T>>; 1]>;

/// What changed and is not settled.
#[derive(Clone, Debug, Default)]
pub struct Pending {
    models: Vec<ModelName>,
    licenses: BTreeSet<LicenseId>,
    /// Rows of new models that are not in the index's columns.
    unfilled: RoaringBitmap,
}

/// Records and indexes at one revision.
#[derive(Clone)]
pub struct Snapshot {
    revision: u64,
    /// The day on which its revision was made, where that is known.
    made_on: Option<Date>,
    reference: Arc<Reference>,
    /// The models that show.
    model_index: ModelIndex,
    /// Models of which one layer hides another, with all layers.
    layered_models: Map<ModelName, Layers<Model>>,
    pool: Pool,
    licenses: Map<LicenseId, Layers<License>>,
    /// The licenses that show, with the restrictions of their shared policy.
    merged: Index<LicenseId, Arc<License>>,
    /// Licenses with a gate that is measured at a model's release.
    measured: Arc<BTreeSet<LicenseId>>,
    use_policies: Map<Box<str>, Arc<Entry<UsePolicyList>>>,
    providers: Map<ProviderId, Arc<Entry<Provider>>>,
    offerings: Map<OfferingName, Arc<Entry<Offering>>>,
    resolved_offerings: usize,
    source_records: Map<SourceId, Payload>,
    use_profiles: Map<Box<str>, Arc<Entry<()>>>,
    waivers: Map<Box<str>, Arc<Entry<Waiver>>>,
    policies: Map<Box<str>, Arc<Entry<Arc<ModelPolicy>>>>,
    policy_set: Arc<PolicySet>,
    deployments: Map<Box<str>, Arc<Entry<()>>>,
    service_terms: Index<Box<str>, smallvec::SmallVec<[LicenseId; 1]>>,
    /// Who serves a model, by id, with the number of offerings.
    servers: Index<ModelName, smallvec::SmallVec<[(ProviderId, usize); 1]>>,
}

impl Snapshot {
    /// An empty one.
    #[must_use]
    pub fn new(reference: Arc<Reference>) -> Self {
        Self {
            revision: 0,
            made_on: None,
            reference,
            model_index: ModelIndex::default(),
            layered_models: Map::new(),
            pool: Pool::default(),
            licenses: Map::new(),
            merged: Index::default(),
            measured: Arc::default(),
            use_policies: Map::new(),
            providers: Map::new(),
            offerings: Map::new(),
            resolved_offerings: 0,
            source_records: Map::new(),
            use_profiles: Map::new(),
            waivers: Map::new(),
            policies: Map::new(),
            policy_set: Arc::default(),
            deployments: Map::new(),
            service_terms: Index::default(),
            servers: Index::default(),
        }
    }

    /// Applies a commit.
    pub fn apply(&mut self, revision: u64, changes: Vec<Change>) {
        let mut pending = Pending::default();
        for change in changes {
            self.put(revision, change, &mut pending);
        }
        self.settle(revision, pending);
    }

    /// Says on which day its revision was made.
    pub fn set_made_on(&mut self, day: Date) {
        self.made_on = Some(day);
    }

    /// Takes it back to an earlier revision. `changes` hold every record that was changed since, as it was then; one that was
    /// not there then is deleted. Older snapshots and this one share what is the same in both.
    pub fn rewind(&mut self, revision: u64, made_on: Option<Date>, changes: impl IntoIterator<Item = (u64, Change)>) {
        let mut pending = Pending::default();
        for (written, change) in changes {
            self.put(written, change, &mut pending);
        }
        self.settle(revision, pending);
        self.revision = revision;
        self.made_on = made_on;
    }

    /// Puts a record where it belongs. What follows from it for other records waits until all changes are [settled](Self::settle).
    pub fn put(&mut self, revision: u64, change: Change, pending: &mut Pending) {
        match &change {
            Change::Model(_, name, _) => pending.models.push(name.clone()),
            Change::License(_, id, _) => {
                pending.licenses.insert(id.clone());
            }
            Change::UsePolicy(id, _) => pending.licenses.extend(self.users_of(id)),
            _ => {}
        }
        self.apply_one(revision, change, &mut pending.unfilled);
        // Many together are cheaper, up to some number of them.
        if pending.unfilled.len() >= FILLED_MAX {
            self.fill(pending);
        }
    }

    fn fill(&mut self, pending: &mut Pending) {
        let rows = std::mem::take(&mut pending.unfilled);
        self.model_index.fill(&rows, &self.reference.mof);
    }

    /// Works out what follows from all changes together: what holds for a model depends on its ancestors and their licenses.
    pub fn settle(&mut self, revision: u64, mut pending: Pending) {
        self.revision = self.revision.max(revision);
        self.fill(&mut pending);
        let Pending { models, licenses, unfilled: _ } = pending;
        let concerned = !licenses.is_empty();
        let mut changed = Changed::Licenses(licenses);
        if concerned {
            let measures = |id: &&LicenseId| self.license(id).is_some_and(|license| measures_at_release(self, license));
            let measured: BTreeSet<LicenseId> = self.merged.keys().filter(measures).cloned().collect();
            // Where a record is gone, `X-or-later` may come to mean the terms of `X`.
            let gone = matches!(&changed, Changed::Licenses(ids) if ids.iter().any(|id| !self.merged.contains_key(id)));
            if measured != *self.measured || gone && !measured.is_empty() {
                self.measured = Arc::new(measured);
                changed = Changed::All;
            }
        }
        let mut terms = self.model_index.take_terms();
        let regrouped = self.model_index.regroup(&mut terms, self, &models, &changed);
        self.model_index.put_terms(terms, regrouped);
    }

    fn apply_one(&mut self, revision: u64, change: Change, unfilled: &mut RoaringBitmap) {
        match change {
            Change::Model(layer, name, put) => self.apply_model(revision, layer, &name, put, unfilled),
            Change::License(layer, id, put) => self.apply_license(revision, layer, &id, put.map(|put| *put)),
            Change::UsePolicy(id, put) => self.apply_use_policy(revision, &id, put),
            Change::Provider(id, put) => {
                match put {
                    Some(put) => self.providers.insert(id, Arc::new(entry(revision, Layer::Imported, put))),
                    None => self.providers.remove(&id),
                };
            }
            Change::Offering(name, put) => self.apply_offering(revision, name, put),
            Change::UseProfile(id, put) => {
                match put {
                    Some(put) => self.use_profiles.insert(id, Arc::new(entry(revision, Layer::Operator, put))),
                    None => self.use_profiles.remove(&id),
                };
            }
            Change::Waiver(id, put) => {
                match put {
                    Some(put) => self.waivers.insert(id, Arc::new(entry(revision, Layer::Operator, put))),
                    None => self.waivers.remove(&id),
                };
            }
            Change::Policy(id, put) => {
                match put {
                    Some(Put { record, payload }) => {
                        let put = Put { record: Arc::new(record), payload };
                        self.policies.insert(id, Arc::new(entry(revision, Layer::Operator, put)))
                    }
                    None => self.policies.remove(&id),
                };
                self.policy_set = Arc::new(self.policies.values().map(|entry| entry.record.clone()).collect());
            }
            Change::Deployment(id, put) => {
                match put {
                    Some(put) => self.deployments.insert(id, Arc::new(entry(revision, Layer::Operator, put))),
                    None => self.deployments.remove(&id),
                };
            }
            Change::SourceRecord(id, payload) => {
                match payload {
                    Some(payload) => self.source_records.insert(id, payload),
                    None => self.source_records.remove(&id),
                };
            }
        }
    }

    fn apply_model(
        &mut self,
        revision: u64,
        layer: Layer,
        name: &ModelName,
        put: Option<Put<Model>>,
        unfilled: &mut RoaringBitmap,
    ) {
        let shown = self.model_entry(name).cloned();
        let new = put.map(|put| Arc::new(entry(revision, layer, put)));
        let mut layers = match self.layered_models.get(name) {
            Some(layers) => layers.clone(),
            None => shown.iter().cloned().collect(),
        };
        layers.retain(|entry| entry.layer != layer);
        layers.extend(new);
        layers.sort_by_key(|entry| entry.layer);
        let now = layers.last().cloned();
        if layers.len() > 1 {
            self.layered_models.insert(name.clone(), layers);
        } else {
            self.layered_models.remove(name);
        }
        let unchanged = matches!((&shown, &now), (Some(before), Some(now)) if Arc::ptr_eq(before, now));
        if unchanged {
            return;
        }
        self.model_index.change(name, now.as_ref(), &self.reference.mof, unfilled);
    }

    fn apply_license(&mut self, revision: u64, layer: Layer, id: &LicenseId, put: Option<Put<License>>) {
        let new = put.map(|put| Arc::new(entry(revision, layer, put)));
        set_layer(&mut self.licenses, id, layer, new);
        self.merge(id);
    }

    /// Takes the restrictions of the shared policy into the license that shows.
    fn merge(&mut self, id: &LicenseId) {
        if let Some(old) = self.merged.remove(id) {
            for provider in &old.providers {
                if let Some(ids) = self.service_terms.get_mut(provider) {
                    ids.retain(|known| known != id);
                    if ids.is_empty() {
                        self.service_terms.remove(provider);
                    }
                }
            }
        }
        let Some(shown) = self.license_entry(id) else { return };
        let mut license = shown.record.clone();
        if !license.use_policy.policy.is_empty() {
            match self.use_policies.get(&license.use_policy.policy) {
                Some(list) => license.use_restrictions.extend_from_slice(&list.record.restrictions),
                // A list that is not there was not read: it may bar anything.
                None => license.use_policy.coverage = Coverage::NotRead,
            }
        }
        license.work_out_limits(&self.reference.vocabulary);
        for provider in &license.providers {
            self.service_terms.entry(provider.clone()).or_default().push(id.clone());
        }
        self.merged.insert(id.clone(), Arc::new(license));
    }

    fn apply_use_policy(&mut self, revision: u64, id: &str, put: Option<Put<UsePolicyList>>) {
        match put {
            Some(put) => {
                self.use_policies.insert(id.into(), Arc::new(entry(revision, Layer::BuiltIn, put)));
            }
            None => {
                self.use_policies.remove(id);
            }
        }
        for user in self.users_of(id) {
            self.merge(&user);
        }
    }

    /// Licenses that take in a shared list of barred uses.
    fn users_of(&self, policy: &str) -> Vec<LicenseId> {
        let users = self.licenses().filter(|license| &*license.record.use_policy.policy == policy);
        users.map(|license| license.record.id.clone()).collect()
    }

    fn apply_offering(&mut self, revision: u64, name: OfferingName, put: Option<Put<Offering>>) {
        let provider = name.provider().clone();
        let old = match put {
            Some(put) => {
                let new = Arc::new(entry(revision, Layer::Imported, put));
                if let Some(model) = &new.record.model {
                    self.resolved_offerings += 1;
                    let servers = self.servers.entry(model.clone()).or_default();
                    match servers.binary_search_by(|(known, _)| known.cmp(&provider)) {
                        Ok(at) => servers.iter_mut().skip(at).take(1).for_each(|(_, count)| *count += 1),
                        Err(at) => servers.insert(at, (provider.clone(), 1)),
                    }
                }
                self.offerings.insert(name, new)
            }
            None => self.offerings.remove(&name),
        };
        let Some(model) = old.and_then(|old| old.record.model.clone()) else { return };
        self.resolved_offerings -= 1;
        let Some(servers) = self.servers.get_mut(&model) else { return };
        servers.iter_mut().filter(|(known, _)| *known == provider).for_each(|(_, count)| *count -= 1);
        servers.retain(|(_, count)| *count > 0);
        if servers.is_empty() {
            self.servers.remove(&model);
        }
    }

    /// The revision it stands at.
    #[must_use]
    pub fn revision(&self) -> u64 {
        self.revision
    }

    /// The day on which its revision was made, where that is known.
    #[must_use]
    pub fn made_on(&self) -> Option<Date> {
        self.made_on
    }

    /// Lets models that are to be put use lists of those that are there.
    #[must_use]
    pub fn pool(&self) -> &Pool {
        &self.pool
    }

    /// What it shares with every snapshot of this release.
    #[must_use]
    pub fn reference(&self) -> &Reference {
        &self.reference
    }

    /// The models by their ids.
    #[must_use]
    pub fn aliases(&self) -> Aliases<'_> {
        Aliases::new(&self.model_index)
    }

    /// The model that shows under a name.
    #[must_use]
    pub fn model_entry(&self, name: &ModelName) -> Option<&Arc<Entry<Model>>> {
        self.model_index.find(name.as_str())
    }

    /// The model that shows under a full resource name.
    #[must_use]
    pub fn model_by_name(&self, name: &str) -> Option<&Arc<Entry<Model>>> {
        self.model_index.find(name)
    }

    /// A model in one layer.
    #[must_use]
    pub fn model_in(&self, layer: Layer, name: &ModelName) -> Option<&Arc<Entry<Model>>> {
        self.layers(name).iter().find(|entry| entry.layer == layer)
    }

    /// Every model of one layer, by name, whether it shows or not.
    pub fn models_of(&self, layer: Layer) -> impl Iterator<Item = &Arc<Entry<Model>>> {
        self.models().filter_map(move |shown| match shown.layer == layer {
            true => Some(shown),
            false => self.model_in(layer, &shown.record.name),
        })
    }

    /// The model that a merge starts from: an operator's, or the built-in one.
    #[must_use]
    pub fn model_before_merge(&self, name: &ModelName) -> Option<&Arc<Entry<Model>>> {
        self.layers(name).iter().rev().find(|entry| entry.layer != Layer::Imported)
    }

    /// Every layer of a model, lowest first.
    fn layers(&self, name: &ModelName) -> &[Arc<Entry<Model>>] {
        match self.layered_models.get(name) {
            Some(layers) => layers,
            None => self.model_entry(name).map_or(&[], std::slice::from_ref),
        }
    }

    /// Every record of the data sets, unread, by data set and id.
    pub fn source_records(&self) -> impl Iterator<Item = (&SourceId, &Payload)> {
        self.source_records.iter()
    }

    /// Every model that shows, by name.
    pub fn models(&self) -> impl Iterator<Item = &Arc<Entry<Model>>> {
        self.model_index.by_name(None)
    }

    /// The index over the models.
    #[must_use]
    pub fn model_index(&self) -> &ModelIndex {
        &self.model_index
    }

    /// Who serves a model, by id.
    pub fn providers_of(&self, model: &ModelName) -> impl Iterator<Item = &ProviderId> {
        self.servers.get(model).into_iter().flat_map(|servers| servers.iter().map(|(provider, _)| provider))
    }

    /// Models and offerings in all, for telling what takes long.
    #[must_use]
    pub fn record_count(&self) -> usize {
        self.model_index.len() + self.offerings.len()
    }

    /// Number of models.
    #[must_use]
    pub fn model_count(&self) -> usize {
        self.model_index.len()
    }

    /// The license that shows under an id, as stored: without the restrictions of its shared policy.
    #[must_use]
    pub fn license_entry(&self, id: &LicenseId) -> Option<&Arc<Entry<License>>> {
        self.licenses.get(id).and_then(|layers| layers.last())
    }

    /// A license in one layer.
    #[must_use]
    pub fn license_in(&self, layer: Layer, id: &LicenseId) -> Option<&Arc<Entry<License>>> {
        self.licenses.get(id).and_then(|layers| layers.iter().find(|entry| entry.layer == layer))
    }

    /// Every license that shows, by id.
    pub fn licenses(&self) -> impl Iterator<Item = &Arc<Entry<License>>> {
        self.licenses.values().filter_map(|layers| layers.last())
    }

    /// Number of licenses.
    #[must_use]
    pub fn license_count(&self) -> usize {
        self.licenses.len()
    }

    /// A shared list of barred uses.
    #[must_use]
    pub fn use_policy(&self, id: &str) -> Option<&Arc<Entry<UsePolicyList>>> {
        self.use_policies.get(id)
    }

    /// Every shared list of barred uses.
    pub fn use_policies(&self) -> impl Iterator<Item = &Arc<Entry<UsePolicyList>>> {
        self.use_policies.values()
    }

    /// A named set of facts, unread.
    #[must_use]
    pub fn use_profile(&self, id: &str) -> Option<&Arc<Entry<()>>> {
        self.use_profiles.get(id)
    }

    /// Ids of the named sets of facts, in order.
    pub fn use_profile_ids(&self) -> impl Iterator<Item = &str> {
        self.use_profiles.keys().map(|id| &**id)
    }

    /// A page of named sets of facts by id, after `after`.
    #[must_use]
    pub fn page_use_profiles(&self, after: Option<&str>, size: usize) -> Page<()> {
        let after = after.map(Box::from);
        let rest = range_after(&self.use_profiles, after.as_ref()).map(|(_, entry)| entry);
        page(rest, size, self.use_profiles.len())
    }

    /// An exception.
    #[must_use]
    pub fn waiver(&self, id: &str) -> Option<&Arc<Entry<Waiver>>> {
        self.waivers.get(id)
    }

    /// Every exception by id, expired ones included.
    pub fn waivers(&self) -> impl Iterator<Item = &Arc<Entry<Waiver>>> {
        self.waivers.values()
    }

    /// A page of exceptions by id, after `after`.
    #[must_use]
    pub fn page_waivers(&self, after: Option<&str>, size: usize) -> Page<Waiver> {
        let after = after.map(Box::from);
        page(range_after(&self.waivers, after.as_ref()).map(|(_, entry)| entry), size, self.waivers.len())
    }

    /// A policy of the organisation.
    #[must_use]
    pub fn policy(&self, id: &str) -> Option<&Arc<Entry<Arc<ModelPolicy>>>> {
        self.policies.get(id)
    }

    /// The policies of the organisation, as checks are held against them.
    #[must_use]
    pub fn policy_set(&self) -> &PolicySet {
        &self.policy_set
    }

    /// The same with other policies, for trying them out.
    #[must_use]
    pub fn with_policy_set(&self, policies: PolicySet) -> Self {
        Self { policy_set: Arc::new(policies), ..self.clone() }
    }

    /// Ids of the policies, in order.
    pub fn policy_ids(&self) -> impl Iterator<Item = &str> {
        self.policies.keys().map(|id| &**id)
    }

    /// A page of policies by id, after `after`.
    #[must_use]
    pub fn page_policies(&self, after: Option<&str>, size: usize) -> Page<Arc<ModelPolicy>> {
        let after = after.map(Box::from);
        page(range_after(&self.policies, after.as_ref()).map(|(_, entry)| entry), size, self.policies.len())
    }

    /// A deployment, unread.
    #[must_use]
    pub fn deployment(&self, id: &str) -> Option<&Arc<Entry<()>>> {
        self.deployments.get(id)
    }

    /// Every deployment by id, unread.
    pub fn deployments(&self) -> impl Iterator<Item = (&str, &Arc<Entry<()>>)> {
        self.deployments.iter().map(|(id, entry)| (&**id, entry))
    }

    /// A page of deployments by id, after `after`.
    #[must_use]
    pub fn page_deployments(&self, after: Option<&str>, size: usize) -> Page<()> {
        let after = after.map(Box::from);
        let rest = range_after(&self.deployments, after.as_ref()).map(|(_, entry)| entry);
        page(rest, size, self.deployments.len())
    }

    /// A provider.
    #[must_use]
    pub fn provider(&self, id: &ProviderId) -> Option<&Arc<Entry<Provider>>> {
        self.providers.get(id)
    }

    /// Every provider, by id.
    pub fn providers(&self) -> impl Iterator<Item = &Arc<Entry<Provider>>> {
        self.providers.values()
    }

    /// Whether a license expression of a model or of a base names a license, in any spelling.
    #[must_use]
    pub fn is_named(&self, license: &str) -> bool {
        self.pool.names(license)
    }

    /// Number of providers.
    #[must_use]
    pub fn provider_count(&self) -> usize {
        self.providers.len()
    }

    /// A page of providers by id, after `after`.
    #[must_use]
    pub fn page_providers(&self, after: Option<&ProviderId>, size: usize) -> Page<Provider> {
        page(range_after(&self.providers, after).map(|(_, entry)| entry), size, self.providers.len())
    }

    /// An offering.
    #[must_use]
    pub fn offering(&self, name: &OfferingName) -> Option<&Arc<Entry<Offering>>> {
        self.offerings.get(name)
    }

    /// Every offering, by name.
    pub fn offerings(&self) -> impl Iterator<Item = &Arc<Entry<Offering>>> {
        self.offerings.values()
    }

    /// Number of offerings, and of those whose model is known.
    #[must_use]
    pub fn offering_counts(&self) -> (usize, usize) {
        (self.offerings.len(), self.resolved_offerings)
    }

    /// Number of offerings of a provider.
    #[must_use]
    pub fn offerings_of(&self, provider: &ProviderId) -> usize {
        self.offerings.keys().filter(|name| name.provider() == provider).count()
    }

    /// Ids of the service terms that hold for a provider.
    #[must_use]
    pub fn service_terms_of(&self, provider: &str) -> &[LicenseId] {
        self.service_terms.get(provider).map_or(&[], |ids| ids)
    }
}

impl Records for Snapshot {
    fn model(&self, name: &ModelName) -> Option<&Model> {
        self.model_entry(name).map(|entry| &entry.record)
    }

    fn license(&self, id: &LicenseId) -> Option<&License> {
        self.merged.get(id).map(|license| &**license)
    }

    fn service_terms(&self, provider: &str) -> Option<&License> {
        // Which of several records holds is not known, so none does.
        match self.service_terms_of(provider) {
            [id] => self.license(id),
            _ => None,
        }
    }

    fn is_served(&self, provider: &str, model: &ModelName) -> bool {
        self.providers_of(model).any(|known| known.as_str() == provider)
    }

    fn vocabulary(&self) -> &Vocabulary {
        &self.reference.vocabulary
    }

    fn policies(&self) -> &dyn Policies {
        self
    }
}

fn entry<T>(revision: u64, layer: Layer, put: Put<T>) -> Entry<T> {
    let Put { record, payload } = put;
    Entry { record, revision, layer, payload }
}

fn set_layer<K: Ord + Clone, T>(map: &mut Map<K, Layers<T>>, key: &K, layer: Layer, new: Option<Arc<Entry<T>>>) {
    let mut layers = map.get(key).cloned().unwrap_or_default();
    layers.retain(|entry| entry.layer != layer);
    layers.extend(new);
    layers.sort_by_key(|entry| entry.layer);
    if layers.is_empty() {
        map.remove(key);
    } else {
        map.insert(key.clone(), layers);
    }
}

fn range_after<'a, K: Ord + Clone, V: Clone>(
    map: &'a Map<K, V>,
    after: Option<&K>,
) -> impl Iterator<Item = (&'a K, &'a V)> {
    use std::ops::Bound::{Excluded, Unbounded};
    let start = after.map_or(Unbounded, |key| Excluded(key.clone()));
    map.range((start, Unbounded))
}

fn page<'a, T: 'a>(rest: impl Iterator<Item = &'a Arc<Entry<T>>>, size: usize, total: usize) -> Page<T> {
    let mut entries: Vec<_> = rest.take(size.saturating_add(1)).cloned().collect();
    let more = entries.len() > size;
    entries.truncate(size);
    Page { entries, more, total }
}
