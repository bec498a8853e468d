//! Indexes over the models of a snapshot.
//!
//! ```text
//! name ──> row (a number that stays with the model) ──> entry
//!             │
//!             ├── columns   value of a field  -> rows     (tier, publisher, context, dates, …)
//!             ├── words     word of its names -> rows
//!             └── terms     what a verdict depends on -> rows, and the license terms that hold for all of them
//! ```
//!
//! Models that share their terms are many, so that license fields are kept once a group and not once a model. Everything is
//! shared with older snapshots until it changes: a commit costs its own size.

mod column;
mod order;
mod select;
mod terms;

use std::sync::Arc;

use roaring::RoaringBitmap;

use super::fields::{ModelField, OwnField, TermsField, of_layer, of_mof_class, of_record};
use super::filter::{Value, Values, words_of};
use super::snapshot::{Entry, Index};
use crate::domain::eligibility::Records;
use crate::domain::model::Model;
use crate::domain::name::ModelName;
use crate::domain::openness::{MofClass, MofFramework};
use column::{Column, Rows};
pub use order::{Direction, Order, compare};
pub use select::{Budget, Costly};
pub use terms::Group;
use terms::Terms;

/// The rows for which something holds, and those for which it is not known.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Selection {
    /// It holds.
    pub yes: RoaringBitmap,
    /// It is not known.
    pub unknown: RoaringBitmap,
}

/// Fields with a column. Those with one value a model are looked up in the record, where they are asked for at all.
const COLUMNS: [OwnField; 18] = [
    OwnField::Publisher,
    OwnField::Family,
    OwnField::Tier,
    OwnField::MofClass,
    OwnField::LicenseExpression,
    OwnField::LicenseEvidence,
    OwnField::Components,
    OwnField::BaseModels,
    OwnField::Relations,
    OwnField::InputModalities,
    OwnField::OutputModalities,
    OwnField::Multimodal,
    OwnField::Capabilities,
    OwnField::ContextTokens,
    OwnField::Parameters,
    OwnField::ReleaseDate,
    OwnField::Conflicts,
    OwnField::Origin,
];

/// A model in the index.
#[derive(Clone)]
struct Slot {
    entry: Arc<Entry<Model>>,
    /// Its group.
    group: u32,
}

/// The index.
#[derive(Clone, Default)]
pub struct ModelIndex {
    rows: Index<ModelName, u32>,
    slots: imbl::Vector<Option<Slot>>,
    free: imbl::Vector<u32>,
    live: Rows,
    columns: [Column; COLUMNS.len()],
    words: imbl::OrdMap<Box<str>, Rows>,
    terms: Terms,
}

impl ModelIndex {
    /// Takes the model that shows under a name from one entry to another.
    pub(super) fn change(&mut self, name: &ModelName, new: Option<&Arc<Entry<Model>>>, framework: &MofFramework) {
        let row = match (self.rows.get(name), new) {
            (Some(row), _) => *row,
            (None, None) => return,
            (None, Some(_)) => self.new_row(name),
        };
        let old = self.slot(row).cloned();
        for (at, field) in COLUMNS.into_iter().enumerate() {
            let before = old.as_ref().map(|slot| indexed(&slot.entry, field, framework)).unwrap_or_default();
            let after = new.map(|entry| indexed(entry, field, framework)).unwrap_or_default();
            if let Some(column) = self.columns.get_mut(at).filter(|_| before != after) {
                column.change(row, &before, &after);
            }
        }
        self.change_words(row, old.as_ref().map(|slot| &slot.entry.record), new.map(|entry| &entry.record));
        let index = usize::try_from(row).unwrap_or(usize::MAX);
        match (old, new) {
            (Some(slot), None) => {
                self.terms.leave(slot.group, row);
                self.slots.set(index, None);
                Arc::make_mut(&mut self.live).remove(row);
                self.rows.remove(name);
                self.free.push_back(row);
            }
            (old, Some(entry)) => {
                // Its group is worked out once every change of the commit is in.
                let group = old.map_or(Terms::NONE, |slot| slot.group);
                self.slots.set(index, Some(Slot { entry: entry.clone(), group }));
                Arc::make_mut(&mut self.live).insert(row);
            }
            (None, None) => {}
        }
    }

    fn new_row(&mut self, name: &ModelName) -> u32 {
        let row = self.free.pop_back().unwrap_or_else(|| {
            self.slots.push_back(None);
            u32::try_from(self.slots.len() - 1).unwrap_or(u32::MAX)
        });
        self.rows.insert(name.clone(), row);
        row
    }

    fn change_words(&mut self, row: u32, old: Option<&Model>, new: Option<&Model>) {
        let (before, after) = (old.map(called).unwrap_or_default(), new.map(called).unwrap_or_default());
        for word in before.iter().filter(|word| !after.contains(word)) {
            let Some(rows) = self.words.get_mut(word) else { continue };
            Arc::make_mut(rows).remove(row);
            if rows.is_empty() {
                self.words.remove(word);
            }
        }
        for word in after.into_iter().filter(|word| !before.contains(word)) {
            Arc::make_mut(self.words.entry(word).or_default()).insert(row);
        }
    }

    /// Puts models into the groups of their terms after a commit: those that changed, and those that were made from them.
    pub(super) fn regroup(&mut self, records: &dyn Records, changed: &[ModelName]) {
        for row in self.with_descendants(changed) {
            let Some(slot) = self.slot(row) else { continue };
            let (group, entry) = (slot.group, slot.entry.clone());
            let found = self.terms.join(records, &entry.record, row);
            if found != group {
                self.terms.leave(group, row);
                self.slots.set(usize::try_from(row).unwrap_or(usize::MAX), Some(Slot { entry, group: found }));
            }
        }
    }

    /// Works out anew what holds for each group, once licenses have changed.
    pub(super) fn reread_terms(&mut self, records: &dyn Records) {
        let entry_of = |row: u32| {
            let slot = self.slots.get(usize::try_from(row).ok()?)?.as_ref()?;
            Some(slot.entry.clone())
        };
        self.terms.reread(records, &entry_of);
    }

    /// The rows of models and of everything that was made from them, at any distance.
    fn with_descendants(&self, names: &[ModelName]) -> RoaringBitmap {
        let mut found: RoaringBitmap = names.iter().filter_map(|name| self.rows.get(name)).collect();
        let mut open: Vec<ModelName> = names.to_vec();
        while let Some(name) = open.pop() {
            let children = self.made_from(name.as_str());
            for row in children.into_iter().flat_map(|rows| rows.iter()) {
                if found.insert(row) {
                    open.extend(self.slot(row).map(|slot| slot.entry.record.name.clone()));
                }
            }
        }
        found
    }

    /// The rows of models that name a base.
    fn made_from(&self, base: &str) -> Option<&Rows> {
        self.column(OwnField::BaseModels)?.rows(&Value::Text(base.to_owned().into()))
    }

    fn column(&self, field: OwnField) -> Option<&Column> {
        let at = COLUMNS.iter().position(|known| *known == field)?;
        self.columns.get(at)
    }

    fn slot(&self, row: u32) -> Option<&Slot> {
        self.slots.get(usize::try_from(row).ok()?)?.as_ref()
    }

    /// The model of a row.
    #[must_use]
    pub fn entry(&self, row: u32) -> Option<&Arc<Entry<Model>>> {
        self.slot(row).map(|slot| &slot.entry)
    }

    /// The row of a model.
    #[must_use]
    pub fn row(&self, name: &ModelName) -> Option<u32> {
        self.rows.get(name).copied()
    }

    /// Every row.
    #[must_use]
    pub fn all(&self) -> &RoaringBitmap {
        &self.live
    }

    /// What holds for the license terms of a model.
    #[must_use]
    pub fn terms_of(&self, name: &ModelName, field: TermsField) -> Values<'static> {
        let slot = self.row(name).and_then(|row| self.slot(row));
        let group = slot.and_then(|slot| self.terms.group(slot.group));
        group.map_or_else(|| Values { open: true, ..Values::default() }, |group| group.terms(field))
    }

    /// Groups of models for which the same terms hold.
    pub fn groups(&self) -> impl Iterator<Item = &Group> {
        self.terms.groups()
    }
}

/// How often each value of a field stands in some rows.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Counts {
    /// Values with the number of rows that hold each, in order of value.
    pub values: Vec<(Value<'static>, u64)>,
    /// Rows in which the value is not known, or the list may be longer.
    pub open: u64,
}

impl ModelIndex {
    /// Counts the values of a field in some rows; `None`: the field is not one that is counted.
    #[must_use]
    pub fn count(&self, field: ModelField, rows: &RoaringBitmap) -> Option<Counts> {
        match field {
            ModelField::Own(field) => {
                let column = self.column(field)?;
                let counted = column.iter().map(|(value, some)| (value.clone(), some.intersection_len(rows)));
                Some(Counts {
                    values: counted.filter(|(_, count)| *count > 0).collect(),
                    open: column.open().intersection_len(rows),
                })
            }
            ModelField::Terms(field) => {
                let mut counts: std::collections::BTreeMap<Value<'static>, u64> = std::collections::BTreeMap::new();
                let mut open = 0;
                for group in self.groups() {
                    let some = group.rows().intersection_len(rows);
                    if some == 0 {
                        continue;
                    }
                    let values = group.terms(field);
                    open += if values.open { some } else { 0 };
                    for value in values.list {
                        *counts.entry(value).or_default() += some;
                    }
                }
                Some(Counts { values: counts.into_iter().collect(), open })
            }
            ModelField::Availability(_) | ModelField::ComponentLicense(_) => None,
        }
    }
}

/// The values of a field with a column.
fn indexed<'a>(entry: &'a Entry<Model>, field: OwnField, framework: &MofFramework) -> Values<'a> {
    of_record(&entry.record, field).unwrap_or_else(|| match field {
        OwnField::Origin => of_layer(entry.layer),
        _ => of_mof_class(class(&entry.record, framework)),
    })
}

/// The class of a model in the framework.
pub(super) fn class(model: &Model, framework: &MofFramework) -> Option<MofClass> {
    framework.classify(&model.components).class
}

/// The words of all that a model is called.
pub(super) fn called(model: &Model) -> Vec<Box<str>> {
    let names = [&*model.display_name, model.name.publisher(), model.name.model()];
    let mut words: Vec<Box<str>> =
        names.into_iter().chain(model.aliases.iter().map(|alias| &**alias)).flat_map(words_of).collect();
    words.sort_unstable();
    words.dedup();
    words
}
