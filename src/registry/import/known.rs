//! The registry's models as importers see them.

use std::collections::{BTreeMap, HashMap};

use crate::catalog::{Folded, Snapshot};
use crate::domain::alias::fold;
use crate::domain::name::ModelName;
use crate::ingest::identity::{self, AliasIndex};

/// Every model that shows: what a caller's id is looked up in.
pub(in crate::registry) struct KnownModels<'a>(pub(in crate::registry) &'a Snapshot);

impl AliasIndex for KnownModels<'_> {
    fn exact(&self, alias: &str) -> Option<ModelName> {
        match self.0.aliases().exact(alias).as_slice() {
            [one] => Some((*one).clone()),
            _ => None,
        }
    }

    fn folded(&self, folded: &str) -> identity::Folded {
        match self.0.aliases().folded(folded) {
            Folded::None => identity::Folded::None,
            Folded::One(hit) => identity::Folded::One(hit.model, hit.alias),
            Folded::Ambiguous(names) => identity::Folded::Ambiguous(names),
        }
    }

    fn publisher_of(&self, organization: &str) -> Option<Box<str>> {
        self.0.reference().publishers.by_organization(organization).map(Box::from)
    }
}

/// The models without those that imports made, so that what an import makes does not depend on the one before it.
#[derive(Clone, Copy)]
pub(super) struct ModelsBeforeMerge<'a>(pub(super) &'a Snapshot);

impl ModelsBeforeMerge<'_> {
    fn states(&self, name: &ModelName, test: impl Fn(&str) -> bool) -> Option<Box<str>> {
        let model = &self.0.model_before_merge(name)?.record;
        model.ids().find(|id| test(id)).map(|id| id.as_ref().into())
    }
}

impl AliasIndex for ModelsBeforeMerge<'_> {
    fn exact(&self, alias: &str) -> Option<ModelName> {
        let hits = self.0.aliases().exact(alias);
        let mut hits = hits.into_iter().filter(|name| self.states(name, |a| a == alias).is_some());
        let first = hits.next()?;
        hits.next().is_none().then(|| first.clone())
    }

    fn folded(&self, folded: &str) -> identity::Folded {
        let mut found: Vec<(ModelName, Box<str>)> = Vec::new();
        for (name, _) in self.0.aliases().folded_hits(folded) {
            let alias = self.states(name, |alias| *fold(alias) == *folded);
            let bare = || {
                let known = self.0.model_before_merge(name).is_some();
                (known && *fold(name.model()) == *folded).then(|| name.model().into())
            };
            if let Some(alias) = alias.or_else(bare) {
                found.push((name.clone(), alias));
            }
        }
        one_or_several(found)
    }

    fn publisher_of(&self, organization: &str) -> Option<Box<str>> {
        self.0.reference().publishers.by_organization(organization).map(Box::from)
    }
}

fn one_or_several(mut found: Vec<(ModelName, Box<str>)>) -> identity::Folded {
    found.sort();
    found.dedup_by(|a, b| a.0 == b.0);
    match found.as_slice() {
        [] => identity::Folded::None,
        [(model, alias)] => identity::Folded::One(model.clone(), alias.clone()),
        several => identity::Folded::Ambiguous(several.iter().map(|(model, _)| model.clone()).collect()),
    }
}

/// Those models together with the ones that the sources' records make, and further ids of them.
pub(super) struct ModelsAfterMerge<'a> {
    before: ModelsBeforeMerge<'a>,
    exact: HashMap<Box<str>, Vec<ModelName>>,
    folded: HashMap<Box<str>, Vec<(ModelName, Box<str>)>>,
}

impl<'a> ModelsAfterMerge<'a> {
    /// `more` are ids by model: of new models all there are, of known ones those that were added.
    pub(super) fn new(before: ModelsBeforeMerge<'a>, more: &BTreeMap<ModelName, Vec<Box<str>>>) -> Self {
        let mut index = Self { before, exact: HashMap::new(), folded: HashMap::new() };
        for (model, aliases) in more {
            let short: Box<str> = format!("{}/{}", model.publisher(), model.model()).into();
            for alias in aliases.iter().chain([&short]) {
                let names = index.exact.entry(alias.clone()).or_default();
                if !names.contains(model) {
                    names.push(model.clone());
                }
            }
            for alias in aliases.iter().cloned().chain([short, model.model().into()]) {
                let hits = index.folded.entry(fold(&alias)).or_default();
                if !hits.iter().any(|(known, _)| known == model) {
                    hits.push((model.clone(), alias));
                }
            }
        }
        index
    }
}

impl AliasIndex for ModelsAfterMerge<'_> {
    fn exact(&self, alias: &str) -> Option<ModelName> {
        let before = self.before.0.aliases().exact(alias);
        let before = before.into_iter().filter(|name| self.before.states(name, |a| a == alias).is_some());
        let mut names: Vec<_> = before.chain(self.exact.get(alias).into_iter().flatten()).collect();
        names.sort();
        names.dedup();
        match names.as_slice() {
            [one] => Some((*one).clone()),
            _ => None,
        }
    }

    fn folded(&self, folded: &str) -> identity::Folded {
        let Some(more) = self.folded.get(folded) else { return self.before.folded(folded) };
        let mut found = more.clone();
        match self.before.folded(folded) {
            identity::Folded::None => {}
            identity::Folded::One(model, alias) => found.push((model, alias)),
            identity::Folded::Ambiguous(models) => {
                found.extend(models.into_iter().map(|model| (model, Box::from(""))));
            }
        }
        one_or_several(found)
    }

    fn publisher_of(&self, organization: &str) -> Option<Box<str>> {
        self.before.publisher_of(organization)
    }
}
