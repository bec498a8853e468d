//! One copy of each list that many models have in common.

use std::collections::HashSet;
use std::hash::Hash;
use std::sync::{Arc, Mutex, PoisonError};

use crate::domain::license::Expression;
use crate::domain::model::{BaseModel, Capability, Component, Modality, Model, Source};
use crate::domain::shared::Shared;

/// The lists and words that models share. It is a matter of memory alone: what a model says does not change.
#[derive(Clone, Debug, Default)]
pub struct Pool(Arc<Mutex<Kept>>);

#[derive(Debug, Default)]
struct Kept {
    components: Known<Shared<Component>>,
    base_models: Known<Shared<BaseModel>>,
    modalities: Known<Shared<Modality>>,
    capabilities: Known<Shared<Capability>>,
    texts: Known<Shared<Box<str>>>,
    sources: Known<Shared<Source>>,
    words: Known<Arc<str>>,
}

impl Pool {
    /// Whether an expression of a part or of a base names a license, in any spelling. A name that no model has any more may
    /// still be known.
    pub(super) fn names(&self, license: &str) -> bool {
        let kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let names = |expression: Option<&Expression>| {
            expression.is_some_and(|e| e.named().iter().any(|id| id.as_str().eq_ignore_ascii_case(license)))
        };
        kept.components.all.iter().flat_map(|list| list.iter()).any(|part| names(part.expression.as_ref()))
            || kept.base_models.all.iter().flat_map(|list| list.iter()).any(|base| names(base.expression.as_ref()))
    }

    /// Lets a model use what others have that is equal to its own.
    pub fn share(&self, model: &mut Model) {
        // A panic elsewhere leaves sets of lists, each of them whole.
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        kept.components.share(&mut model.components, Shared::is_alone);
        kept.base_models.share(&mut model.base_models, Shared::is_alone);
        kept.modalities.share(&mut model.input_modalities, Shared::is_alone);
        kept.modalities.share(&mut model.output_modalities, Shared::is_alone);
        kept.capabilities.share(&mut model.capabilities, Shared::is_alone);
        kept.texts.share(&mut model.conflicts, Shared::is_alone);
        kept.sources.share(&mut model.sources, Shared::is_alone);
        kept.words.share(&mut model.family, |word| Arc::strong_count(word) == 1);
    }
}

/// What is known of one kind. What nobody uses any more is dropped when there is much of it.
#[derive(Debug)]
struct Known<K> {
    all: HashSet<K, foldhash::fast::RandomState>,
    /// How many there may be before it is looked for unused ones.
    swept_at: usize,
}

/// Fewer than this are not worth a look.
const SWEPT_MIN: usize = 1_024;

impl<K> Default for Known<K> {
    fn default() -> Self {
        Self { all: HashSet::default(), swept_at: SWEPT_MIN }
    }
}

impl<K: Eq + Hash + Clone> Known<K> {
    fn share(&mut self, one: &mut K, is_alone: impl Fn(&K) -> bool) {
        if let Some(known) = self.all.get(one) {
            *one = known.clone();
            return;
        }
        if self.all.len() >= self.swept_at {
            self.all.retain(|known| !is_alone(known));
            self.swept_at = SWEPT_MIN.max(2 * self.all.len());
        }
        self.all.insert(one.clone());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_lists_are_one_and_unused_ones_go() {
        let mut known = Known::<Shared<u32>>::default();
        let mut first: Shared<u32> = vec![1, 2].into();
        let mut second: Shared<u32> = vec![1, 2].into();
        known.share(&mut first, Shared::is_alone);
        known.share(&mut second, Shared::is_alone);
        assert!(std::ptr::eq(&*first, &*second));
        for n in 0..10 * u32::try_from(SWEPT_MIN).unwrap() {
            known.share(&mut vec![n].into(), Shared::is_alone);
            assert!(known.all.len() <= 2 * SWEPT_MIN);
        }
        assert!(known.all.contains(&first));
    }
}
