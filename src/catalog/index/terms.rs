//! Groups of models that share what a verdict depends on, and the license terms that hold for all of a group.

use std::sync::Arc;

use roaring::RoaringBitmap;

use super::Selection;
use super::column::Rows;
use crate::catalog::fields::TermsField;
use crate::catalog::filter::{Values, Wanted};
use crate::catalog::snapshot::{Entry, Index};
use crate::domain::eligibility::{Records, basis, is_measured_at_release, lineage};
use crate::domain::model::Model;
use crate::domain::openness::Tier;
use crate::domain::tri::Tri;

/// Models that share what a verdict depends on ([`basis`]).
#[derive(Clone)]
pub struct Group {
    basis: Box<str>,
    rows: Rows,
    /// By [`TermsField`].
    terms: Arc<[Values<'static>]>,
    /// Whether the date of release counts as well.
    by_release: bool,
}

impl Group {
    /// Its rows; never none.
    #[must_use]
    pub fn rows(&self) -> &RoaringBitmap {
        &self.rows
    }

    /// Whether the date of release counts as well.
    #[must_use]
    pub fn by_release(&self) -> bool {
        self.by_release
    }

    /// What holds for all of them.
    #[must_use]
    pub fn terms(&self, field: TermsField) -> Values<'static> {
        self.terms.get(field as usize).cloned().unwrap_or_default()
    }
}

/// Every group.
#[derive(Clone, Default)]
pub(super) struct Terms {
    ids: Index<Box<str>, u32>,
    groups: imbl::Vector<Option<Group>>,
    free: imbl::Vector<u32>,
}

fn at(id: u32) -> usize {
    usize::try_from(id).unwrap_or(usize::MAX)
}

impl Terms {
    /// No group yet.
    pub(super) const NONE: u32 = u32::MAX;

    /// Puts a model into its group.
    pub(super) fn join(&mut self, records: &dyn Records, model: &Model, row: u32) -> u32 {
        let basis = basis(records, model);
        let id = match self.ids.get(basis.as_str()) {
            Some(id) => *id,
            None => self.found(records, model, basis.into()),
        };
        if let Some(Some(group)) = self.groups.get_mut(at(id)) {
            Arc::make_mut(&mut group.rows).insert(row);
        }
        id
    }

    fn found(&mut self, records: &dyn Records, model: &Model, basis: Box<str>) -> u32 {
        let (terms, by_release) = (effective(records, model), is_measured_at_release(records, model));
        let group = Group { basis: basis.clone(), rows: Rows::default(), terms, by_release };
        let id = self.free.pop_back().unwrap_or_else(|| {
            self.groups.push_back(None);
            u32::try_from(self.groups.len() - 1).unwrap_or(u32::MAX)
        });
        self.groups.set(at(id), Some(group));
        self.ids.insert(basis, id);
        id
    }

    /// Takes a row out of a group; an empty group is no more.
    pub(super) fn leave(&mut self, id: u32, row: u32) {
        let Some(Some(group)) = self.groups.get_mut(at(id)) else { return };
        Arc::make_mut(&mut group.rows).remove(row);
        if group.rows.is_empty() {
            let basis = std::mem::take(&mut group.basis);
            self.ids.remove(&basis);
            self.groups.set(at(id), None);
            self.free.push_back(id);
        }
    }

    /// Works out the terms of each group anew; any model of a group stands for all.
    pub(super) fn reread(&mut self, records: &dyn Records, entry_of: &dyn Fn(u32) -> Option<Arc<Entry<Model>>>) {
        for group in self.groups.iter_mut().flatten() {
            let Some(entry) = group.rows.min().and_then(entry_of) else { continue };
            group.terms = effective(records, &entry.record);
            group.by_release = is_measured_at_release(records, &entry.record);
        }
    }

    pub(super) fn groups(&self) -> impl Iterator<Item = &Group> {
        self.groups.iter().flatten()
    }

    pub(super) fn group(&self, id: u32) -> Option<&Group> {
        self.groups.get(at(id))?.as_ref()
    }

    /// The rows whose terms are what is wanted, and those of which it is not known.
    pub(super) fn select(&self, field: TermsField, wanted: &Wanted) -> Selection {
        let mut selection = Selection::default();
        for group in self.groups() {
            let Some(values) = group.terms.get(field as usize) else { continue };
            match wanted.is_met_by(values) {
                Tri::True => selection.yes |= &*group.rows,
                Tri::Unknown => selection.unknown |= &*group.rows,
                Tri::False => {}
            }
        }
        selection
    }
}

/// The terms that hold for the weights of a model: its own license's, and those of every ancestor that count.
fn effective(records: &dyn Records, model: &Model) -> Arc<[Values<'static>]> {
    let find = |id: &_| records.license(id);
    let own = model.weights().filter(|_| model.tier != Some(Tier::Proprietary)).and_then(|w| w.expression.as_ref());
    let steps = lineage(records, model);
    // Terms of outputs hold for who trains on them, and are no terms of the model.
    let counted: Vec<_> = steps.iter().filter(|step| step.counts && !step.by_outputs).collect();
    let of = |field: TermsField| {
        let under = |expression: Option<&crate::domain::license::Expression>| match expression {
            Some(expression) => field.under(expression, &find),
            None => Values { open: true, ..Values::default() },
        };
        field.all_of(std::iter::once(under(own)).chain(counted.iter().map(|step| under(step.expression))))
    };
    TermsField::ALL.iter().map(|field| of(*field)).collect()
}
