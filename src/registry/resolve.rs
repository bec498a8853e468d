//! Resolving: any id a caller holds → the model, or why not.

use std::sync::Arc;

use super::import::KnownModels;
use super::{Registry, RegistryError, models};
use crate::catalog::{Entry, Folded, Snapshot};
use crate::convert::{self, text};
use crate::domain::alias::fold;
use crate::domain::model::Model;
use crate::domain::name::{ModelName, OfferingName, ProviderId, shown};
use crate::domain::offering::{MatchStage, Offering};
use crate::ingest::identity;
use crate::pb::weighbridge::v1 as pb;

/// What an id stands for.
#[derive(Clone, Debug)]
pub enum Resolved {
    /// A model, and how it was found.
    Model {
        /// The model.
        entry: Arc<Entry<Model>>,
        /// The step that found it.
        stage: MatchStage,
        /// The alias as it stands in the registry.
        alias: Box<str>,
        /// The offering, when the id named one.
        offering: Option<String>,
    },
    /// An offering whose model is not known.
    Unresolved(Arc<Entry<Offering>>),
}

/// Finds what an id stands for, strictest step first.
pub(super) fn resolve(snapshot: &Snapshot, id: &str) -> Result<Resolved, RegistryError> {
    let found = |name: &ModelName, stage, alias: &str, offering| {
        let entry = snapshot.model_entry(name).cloned()?;
        Some(Resolved::Model { entry, stage, alias: alias.into(), offering })
    };
    if id.starts_with("publishers/") {
        if let Some(entry) = snapshot.model_by_name(id) {
            let entry = entry.clone();
            return Ok(Resolved::Model { entry, stage: MatchStage::Name, alias: id.into(), offering: None });
        }
        // A name of the right form that is not there gets near names; one of a wrong form says so.
        let name =
            ModelName::parse(id).map_err(|e| RegistryError::Invalid(vec![super::violation("model", e.to_string())]))?;
        return Err(not_found(snapshot, name.as_str()));
    }
    match snapshot.aliases().exact(id).as_slice() {
        [] => {}
        [name] => {
            // `{publisher}/{model}` stands in the index too.
            let by_name = id.split_once('/') == Some((name.publisher(), name.model()));
            let stage = if by_name { MatchStage::Name } else { MatchStage::Alias };
            return found(name, stage, id, None).ok_or_else(|| not_found(snapshot, id));
        }
        several => return Err(ambiguous(id, several)),
    }
    if let Some(offering) = offering(snapshot, id) {
        let name = offering.record.name.resource_name();
        let linked = offering.record.model.as_ref();
        let model = linked.and_then(|model| found(model, MatchStage::Offering, id, Some(name)));
        return Ok(model.unwrap_or(Resolved::Unresolved(offering)));
    }
    match snapshot.aliases().folded(&fold(id)) {
        Folded::None => {}
        Folded::One(hit) => {
            return found(&hit.model, MatchStage::FoldedAlias, &hit.alias, None).ok_or_else(|| not_found(snapshot, id));
        }
        Folded::Ambiguous(names) => return Err(ambiguous(id, &names.iter().collect::<Vec<_>>())),
    }
    match identity_of(snapshot, id) {
        identity::Resolution::Matched { model, stage, alias } => {
            found(&model, stage, &alias, None).ok_or_else(|| not_found(snapshot, id))
        }
        identity::Resolution::Ambiguous(names) => Err(ambiguous(id, &names.iter().collect::<Vec<_>>())),
        identity::Resolution::Unresolved { .. } => Err(not_found(snapshot, id)),
    }
}

/// What an id stands for that no alias and no offering explains. `{provider}/{id}` opens the rules of that provider, unless
/// the first part can as well be the organization that published the rest.
fn identity_of(snapshot: &Snapshot, id: &str) -> identity::Resolution {
    let index = KnownModels(snapshot);
    if let Some((provider, rest)) = id.split_once('/')
        && let Ok(known) = ProviderId::new(provider)
        && snapshot.provider(&known).is_some()
        && snapshot.reference().publishers.by_organization(provider).is_none()
    {
        let found = identity::resolve(&index, Some(provider), rest, None);
        if !matches!(found, identity::Resolution::Unresolved { .. }) {
            return found;
        }
    }
    identity::resolve(&index, None, id, None)
}

/// An offering by resource name or as `{provider}/{offering id}`.
fn offering(snapshot: &Snapshot, id: &str) -> Option<Arc<Entry<Offering>>> {
    if id.starts_with("providers/") {
        return snapshot.offering(&OfferingName::parse(id).ok()?).cloned();
    }
    let (provider, offering) = id.split_once('/')?;
    let name = OfferingName::new(ProviderId::new(provider).ok()?, offering).ok()?;
    snapshot.offering(&name).cloned()
}

fn ambiguous(id: &str, names: &[&ModelName]) -> RegistryError {
    let candidates = names.iter().map(ToString::to_string).collect();
    RegistryError::AmbiguousAlias { alias: shown(id), candidates }
}

/// Not known, with the nearest names: model names where a name was given, aliases otherwise.
pub(super) fn not_found(snapshot: &Snapshot, id: &str) -> RegistryError {
    /// Comparing with every name of a large registry would make a typo expensive for everybody.
    const ALL_MAX: usize = 20_000;
    /// Of a large one, those are compared that share the most words.
    const AKIN_MAX: usize = 2_000;
    let given = shown(id);
    let index = snapshot.model_index();
    let known: Vec<_> = match index.len() <= ALL_MAX {
        true => snapshot.models().collect(),
        // The fixed parts of a name are words of no model.
        false => index.akin(&given.replacen("publishers/", "", 1).replacen("/models/", "/", 1), AKIN_MAX),
    };
    let near: Vec<String> = if id.starts_with("publishers/") {
        owned(text::nearest(&given, known.iter().map(|entry| entry.record.name.as_str())))
    } else {
        let ids: Vec<_> = known.iter().flat_map(|entry| entry.record.ids()).collect();
        let mut near = owned(text::nearest(&given, ids.iter().map(|id| &**id)));
        // The organization before the slash is often another one: compare what comes after it as well.
        let last = given.rsplit('/').next().unwrap_or(&given);
        if near.is_empty() {
            let by_model = known.iter().map(|entry| entry.record.name.model());
            near = owned(text::nearest(&last.to_ascii_lowercase(), by_model));
        }
        near
    };
    RegistryError::NotFound { kind: "model", name: given, near }
}

fn owned(names: Vec<&str>) -> Vec<String> {
    names.into_iter().map(str::to_owned).collect()
}

impl Registry {
    /// Finds the model for any id, or the models it may stand for.
    ///
    /// # Errors
    /// Not known, with near names.
    pub fn resolve(&self, alias: &str) -> Result<pb::ResolveModelResponse, RegistryError> {
        self.resolve_on(&self.snapshot(), alias)
    }

    /// Finds the model of a snapshot for any id, or the models it may stand for.
    ///
    /// # Errors
    /// As for [`Registry::resolve`].
    pub fn resolve_on(&self, snapshot: &Snapshot, alias: &str) -> Result<pb::ResolveModelResponse, RegistryError> {
        if alias.trim().is_empty() {
            return Err(RegistryError::Invalid(vec![super::violation("alias", "it must be set")]));
        }
        match resolve(snapshot, alias) {
            Ok(Resolved::Model { entry, stage, alias, offering }) => {
                let offering = offering.unwrap_or_default();
                Ok(pb::ResolveModelResponse {
                    model: Some(models::message(&entry)?),
                    r#match: Some(convert::alias_match(Some(stage), &alias, &offering)),
                    candidates: Vec::new(),
                })
            }
            Ok(Resolved::Unresolved(entry)) => {
                let name = &entry.record.name;
                let found =
                    identity::resolve(&KnownModels(snapshot), Some(name.provider().as_str()), name.offering(), None);
                let candidates = match found {
                    identity::Resolution::Ambiguous(models) => models.iter().map(ToString::to_string).collect(),
                    // The provider's name for it unmade the match, so this is one of the models it may be.
                    identity::Resolution::Matched { model, .. } => vec![model.to_string()],
                    identity::Resolution::Unresolved { .. } => Vec::new(),
                };
                Ok(pb::ResolveModelResponse {
                    model: None,
                    r#match: Some(convert::alias_match(None, alias, &name.resource_name())),
                    candidates,
                })
            }
            Err(RegistryError::AmbiguousAlias { candidates, .. }) => Ok(pb::ResolveModelResponse {
                model: None,
                r#match: Some(convert::alias_match(None, alias, "")),
                candidates,
            }),
            Err(error) => Err(error),
        }
    }
}
