//! Lineage as a graph: no model is its own ancestor.

use std::collections::HashSet;

use crate::domain::model::{BaseRef, Model};
use crate::domain::name::ModelName;

/// A path from the model back to itself through its bases, when there is one.
pub(super) fn cycle<'a>(model: &'a Model, find: impl Fn(&ModelName) -> Option<&'a Model>) -> Option<Vec<String>> {
    // Depth first; `path` is the way to the model that is looked at, `seen` what was looked at from anywhere.
    let mut seen: HashSet<&ModelName> = HashSet::new();
    let mut stack: Vec<(&Model, usize)> = vec![(model, 0)];
    while let Some((current, next)) = stack.pop() {
        let Some(base) = current.base_models.get(next) else { continue };
        stack.push((current, next + 1));
        let BaseRef::Record(name) = &base.model else { continue };
        if *name == model.name {
            let path = stack.iter().map(|(m, _)| m.name.to_string());
            return Some(path.chain([name.to_string()]).collect());
        }
        if !seen.insert(name) {
            continue;
        }
        if let Some(ancestor) = find(name) {
            stack.push((ancestor, 0));
        }
    }
    None
}
