//! The alias index: which models an id may stand for.
//!
//! It holds hashes and rows alone: what was found is compared with the records, which hold the ids.

use std::hash::BuildHasher as _;

use smallvec::SmallVec;

use super::filter::folded_words;
use super::index::ModelIndex;
use crate::domain::alias::fold;
use crate::domain::model::Model;
use crate::domain::name::ModelName;

/// An alias and the model it stands for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AliasHit {
    /// The model.
    pub model: ModelName,
    /// The alias as it stands in the registry.
    pub alias: Box<str>,
}

/// What a folded alias stands for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Folded {
    /// Nothing.
    None,
    /// One model.
    One(AliasHit),
    /// Several: refused, never picked.
    Ambiguous(Vec<ModelName>),
}

/// A hash of an id, and the row of a model.
type Hit = (u32, u32);

/// Where ids by spelling are to be looked for: letter for letter, and up to case and separators.
#[derive(Clone, Default)]
pub(super) struct AliasIndex {
    hasher: foldhash::fast::RandomState,
    /// Aliases; `{publisher}/{model}` is found by name.
    exact: imbl::OrdSet<Hit>,
    /// Aliases and bare names; `{publisher}/{model}` is found by its second part.
    folded: imbl::OrdSet<Hit>,
}

impl AliasIndex {
    /// Adds every id of some models, each of a row of its own.
    pub(super) fn insert<'a>(&mut self, models: impl Iterator<Item = (u32, &'a Model, &'a Called)>) {
        let (mut exact, mut folded) = (Vec::new(), Vec::new());
        for (row, model, called) in models {
            exact.extend(further(model).map(|alias| (self.hash(alias), row)));
            folded.extend(called.ids().map(|id| (self.hash(id), row)));
        }
        // In order, one goes where the one before it went, most often.
        exact.sort_unstable();
        folded.sort_unstable();
        self.exact.extend(exact);
        self.folded.extend(folded);
    }

    /// Removes every id of a model.
    pub(super) fn remove(&mut self, row: u32, model: &Model, called: &Called) {
        for alias in further(model) {
            self.exact.remove(&(self.hash(alias), row));
        }
        for id in called.ids() {
            self.folded.remove(&(self.hash(id), row));
        }
    }

    fn hash(&self, id: &str) -> u32 {
        let [a, b, c, d, ..] = self.hasher.hash_one(id).to_le_bytes();
        u32::from_le_bytes([a, b, c, d])
    }

    /// Number of aliases.
    pub(super) fn len(&self) -> usize {
        self.exact.len()
    }
}

/// What a model is called, folded: its ids, and the words that it is searched by.
pub(super) struct Called {
    display_name: Box<str>,
    publisher: Box<str>,
    model: Box<str>,
    aliases: SmallVec<[Box<str>; 2]>,
}

impl Called {
    pub(super) fn new(model: &Model) -> Self {
        Self {
            display_name: fold(&model.display_name),
            publisher: fold(model.name.publisher()),
            model: fold(model.name.model()),
            aliases: model.aliases.iter().map(|alias| fold(alias)).collect(),
        }
    }

    /// Every id that stands for the model up to case and separators, but for `{publisher}/{model}`.
    fn ids(&self) -> impl Iterator<Item = &str> {
        self.aliases.iter().map(|alias| &**alias).chain([&*self.model])
    }

    /// The words of all that it is called; some more than once.
    pub(super) fn words(&self) -> impl Iterator<Item = &str> {
        let names = [&self.display_name, &self.publisher, &self.model].into_iter().chain(&self.aliases);
        names.flat_map(|name| folded_words(name))
    }
}

/// Ids by spelling.
#[derive(Clone, Copy)]
pub struct Aliases<'a> {
    index: &'a AliasIndex,
    models: &'a ModelIndex,
}

impl<'a> Aliases<'a> {
    pub(super) fn new(models: &'a ModelIndex) -> Self {
        Self { index: models.aliases(), models }
    }

    /// The models that an id stands for, letter for letter, by name.
    #[must_use]
    pub fn exact(&self, id: &str) -> SmallVec<[&'a ModelName; 1]> {
        let hits = self.hits(&self.index.exact, self.index.hash(id));
        let mut found: SmallVec<[&ModelName; 1]> =
            hits.filter(|model| model.aliases.iter().any(|alias| **alias == *id)).map(|model| &model.name).collect();
        found.extend(id.split_once('/').and_then(|(publisher, model)| {
            let entry = self.models.find(&ModelName::full(publisher, model))?;
            Some(&entry.record.name)
        }));
        found.sort_unstable();
        found.dedup();
        found
    }

    /// The model that a folded alias stands for.
    #[must_use]
    pub fn folded(&self, folded: &str) -> Folded {
        match self.folded_hits(folded).as_slice() {
            [] => Folded::None,
            [(model, alias)] => Folded::One(AliasHit { model: (*model).clone(), alias: alias.clone() }),
            several => Folded::Ambiguous(several.iter().map(|(name, _)| (*name).clone()).collect()),
        }
    }

    /// Every model that a folded alias stands for, by name, with the alias as it stands in its record.
    #[must_use]
    pub fn folded_hits(&self, folded: &str) -> Vec<(&'a ModelName, Box<str>)> {
        // A slash divides an id, so that what stands before and after it folds by itself.
        let parts = folded.split_once('/');
        let by_name = parts.into_iter().flat_map(|(publisher, model)| {
            let alike = self.hits(&self.index.folded, self.index.hash(model));
            // One bare name may be that of very many models, of which few are of one publisher.
            alike.filter(move |model| *fold(model.name.publisher()) == *publisher)
        });
        let hits = self.hits(&self.index.folded, self.index.hash(folded)).chain(by_name);
        let mut found: Vec<(&ModelName, Box<str>)> = hits
            .filter_map(|model| {
                let stated = model.ids().find(|id| *fold(id) == *folded).map(|id| id.as_ref().into());
                let bare = || (*fold(model.name.model()) == *folded).then(|| model.name.model().into());
                Some((&model.name, stated.or_else(bare)?))
            })
            .collect();
        found.sort_unstable();
        found.dedup_by(|a, b| a.0 == b.0);
        found
    }

    fn hits(&self, among: &'a imbl::OrdSet<Hit>, hash: u32) -> impl Iterator<Item = &'a Model> + use<'a> {
        let models = self.models;
        among.range((hash, 0)..=(hash, u32::MAX)).filter_map(move |(_, row)| Some(&models.entry(*row)?.record))
    }

    /// Number of ids, counted for each model that they stand for.
    #[must_use]
    pub fn len(&self) -> usize {
        self.index.len() + self.models.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// Aliases other than `{publisher}/{model}`.
fn further(model: &Model) -> impl Iterator<Item = &str> {
    let short = (model.name.publisher(), model.name.model());
    model.aliases.iter().map(|alias| &**alias).filter(move |alias| alias.split_once('/') != Some(short))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::catalog::{Change, Layer, Put, Reference, Snapshot};
    use crate::domain::model::Parameters;
    use crate::domain::publisher::Publishers;
    use crate::domain::shared::Shared;
    use crate::domain::vocabulary::Vocabulary;

    fn model(name: &str, aliases: &[&str]) -> Model {
        let (publisher, id) = name.split_once('/').unwrap();
        Model {
            name: ModelName::new(publisher, id).unwrap(),
            display_name: "".into(),
            aliases: aliases.iter().map(|a| (*a).into()).collect(),
            components: Shared::default(),
            base_models: Shared::default(),
            input_modalities: Shared::default(),
            output_modalities: Shared::default(),
            capabilities: Shared::default(),
            context_tokens: None,
            max_output_tokens: None,
            parameters: Parameters::default(),
            release_date: None,
            knowledge_cutoff: None,
            family: "".into(),
            conflicts: Shared::default(),
            sources: Shared::default(),
            tier: None,
        }
    }

    fn put(model: &Model) -> Change {
        let put = Put { record: model.clone(), payload: Box::default() };
        Change::Model(Layer::Operator, model.name.clone(), Some(put))
    }

    #[test]
    fn what_stands_after_a_slash_folds_by_itself() {
        for (publisher, model) in [("meta", "llama-3.3"), ("a-", "b"), ("1", "2"), ("a.1", "1_a-"), ("x._", "0-.-9.")] {
            let folded = fold(&format!("{publisher}/{model}"));
            assert_eq!(folded.split_once('/'), Some((&*fold(publisher), &*fold(model))));
        }
    }

    #[test]
    fn an_alias_of_two_models_is_ambiguous_and_never_picked() {
        const FRAMEWORK: &str = include_str!("../../data/openness/mof-1.0.toml");
        let reference = Reference::new(Vocabulary::default(), FRAMEWORK, Publishers::default()).unwrap();
        let mut snapshot = Snapshot::new(Arc::new(reference));
        let (a, b) = (model("meta/llama-x", &["X-Llama"]), model("other/llama-y", &["x_llama"]));
        snapshot.apply(1, vec![put(&a), put(&b)]);
        assert_eq!(snapshot.aliases().exact("X-Llama").as_slice(), [&a.name]);
        assert_eq!(snapshot.aliases().exact("other/llama-y").as_slice(), [&b.name]);
        assert!(snapshot.aliases().exact("x-llama").is_empty());
        assert!(matches!(snapshot.aliases().folded("other/llama-y"), Folded::One(hit) if hit.model == b.name));
        assert!(matches!(snapshot.aliases().folded("llama-y"), Folded::One(hit) if hit.model == b.name));
        assert_eq!(snapshot.aliases().folded("meta/llama-y"), Folded::None);
        assert_eq!(
            snapshot.aliases().folded(&fold("x llama")),
            Folded::Ambiguous(vec![a.name.clone(), b.name.clone()])
        );
        assert_eq!(snapshot.aliases().len(), 4);
        let before = snapshot.clone();
        // Under another alias it is found no more under the first.
        snapshot.apply(2, vec![put(&model("other/llama-y", &["y"]))]);
        assert!(matches!(snapshot.aliases().folded(&fold("x llama")), Folded::One(hit) if hit.model == a.name));
        assert_eq!(snapshot.aliases().exact("y").as_slice(), [&b.name]);
        snapshot.apply(3, vec![Change::Model(Layer::Operator, a.name, None)]);
        snapshot.apply(4, vec![Change::Model(Layer::Operator, b.name, None)]);
        assert!(snapshot.aliases().is_empty() && snapshot.aliases().index.folded.is_empty());
        assert!(matches!(before.aliases().folded(&fold("x llama")), Folded::Ambiguous(_)), "older snapshots stay");
    }
}
