//! The alias index: which models an id may stand for.

use std::collections::BTreeSet;

use smallvec::SmallVec;

use super::snapshot::Index;
use crate::domain::alias::fold;
use crate::domain::model::Model;
use crate::domain::name::ModelName;

type Names = SmallVec<[ModelName; 1]>;
/// Models with the alias that folds to the key.
type Hits = SmallVec<[(ModelName, Box<str>); 1]>;

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

/// Ids by spelling: letter for letter, and up to case and separators.
#[derive(Clone, Default)]
pub struct Aliases {
    exact: Index<Box<str>, Names>,
    folded: Index<Box<str>, Hits>,
}

impl Aliases {
    /// Adds every id of a model.
    pub(super) fn insert(&mut self, model: &Model) {
        for alias in stated(model) {
            let names = self.exact.entry(alias.clone()).or_default();
            if !names.contains(&model.name) {
                names.push(model.name.clone());
            }
        }
        for alias in stated(model).chain([model.name.model().into()]) {
            let key = fold(&alias);
            let hits = self.folded.entry(key).or_default();
            if !hits.iter().any(|(name, _)| *name == model.name) {
                hits.push((model.name.clone(), alias));
            }
        }
    }

    /// Removes every id of a model.
    pub(super) fn remove(&mut self, model: &Model) {
        for alias in stated(model) {
            if let Some(names) = self.exact.get_mut(&alias) {
                names.retain(|name| *name != model.name);
                if names.is_empty() {
                    self.exact.remove(&alias);
                }
            }
        }
        for alias in stated(model).chain([model.name.model().into()]) {
            let key = fold(&alias);
            if let Some(hits) = self.folded.get_mut(&key) {
                hits.retain(|(name, _)| *name != model.name);
                if hits.is_empty() {
                    self.folded.remove(&key);
                }
            }
        }
    }

    /// The models that an alias stands for, letter for letter.
    #[must_use]
    pub fn exact(&self, alias: &str) -> &[ModelName] {
        self.exact.get(alias).map_or(&[], |names| names)
    }

    /// The model that a folded alias stands for.
    #[must_use]
    pub fn folded(&self, folded: &str) -> Folded {
        match self.folded.get(folded).map(|hits| hits.as_slice()) {
            None | Some([]) => Folded::None,
            Some([(model, alias)]) => Folded::One(AliasHit { model: model.clone(), alias: alias.clone() }),
            Some(several) => {
                let names: BTreeSet<ModelName> = several.iter().map(|(name, _)| name.clone()).collect();
                Folded::Ambiguous(names.into_iter().collect())
            }
        }
    }

    /// Every model that a folded alias stands for, with the alias as it stands in its record.
    #[must_use]
    pub fn folded_hits(&self, folded: &str) -> &[(ModelName, Box<str>)] {
        self.folded.get(folded).map_or(&[], |hits| hits)
    }

    /// Number of aliases, letter for letter.
    #[must_use]
    pub fn len(&self) -> usize {
        self.exact.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.exact.is_empty()
    }

    /// Every alias as it stands, for near names.
    pub fn iter(&self) -> impl Iterator<Item = &str> {
        self.exact.keys().map(|alias| &**alias)
    }
}

/// The ids that stand for a model letter for letter: its aliases and `{publisher}/{model}`.
fn stated(model: &Model) -> impl Iterator<Item = Box<str>> + '_ {
    let short = format!("{}/{}", model.name.publisher(), model.name.model());
    model.aliases.iter().cloned().chain([short.into_boxed_str()])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn model(name: &str, aliases: &[&str]) -> Model {
        let (publisher, id) = name.split_once('/').unwrap();
        Model {
            name: ModelName::new(publisher, id).unwrap(),
            display_name: "".into(),
            aliases: aliases.iter().map(|a| (*a).into()).collect(),
            components: Vec::new(),
            base_models: Vec::new(),
            input_modalities: Vec::new(),
            output_modalities: Vec::new(),
            capabilities: Vec::new(),
            context_tokens: None,
            max_output_tokens: None,
            parameters: crate::domain::model::Parameters::default(),
            release_date: None,
            knowledge_cutoff: None,
            family: "".into(),
            conflicts: Vec::new(),
            sources: Vec::new(),
            tier: None,
        }
    }

    #[test]
    fn an_alias_of_two_models_is_ambiguous_and_never_picked() {
        let mut aliases = Aliases::default();
        let (a, b) = (model("meta/llama-x", &["X-Llama"]), model("other/llama-y", &["x_llama"]));
        aliases.insert(&a);
        aliases.insert(&b);
        assert_eq!(aliases.exact("X-Llama"), std::slice::from_ref(&a.name));
        assert_eq!(aliases.folded(&fold("x llama")), Folded::Ambiguous(vec![a.name.clone(), b.name.clone()]));
        aliases.remove(&b);
        assert!(matches!(aliases.folded(&fold("x llama")), Folded::One(hit) if hit.model == a.name));
        aliases.remove(&a);
        assert!(aliases.is_empty() && aliases.folded.is_empty());
    }
}
