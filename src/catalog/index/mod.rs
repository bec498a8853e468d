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

mod by_name;
mod column;
mod order;
mod rows;
mod select;
mod terms;

use std::borrow::Borrow;
use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use roaring::RoaringBitmap;

use super::aliases::{AliasIndex, Called};
use super::fields::{ModelField, OwnField, TermsField, of_layer, of_mof_class, of_record};
use super::filter::{Value, Values};
use super::snapshot::{Entry, Layer};
use crate::domain::date::Date;
use crate::domain::eligibility::Records;
use crate::domain::model::Model;
use crate::domain::name::{LicenseId, ModelName};
use crate::domain::openness::{MofClass, MofFramework};
use crate::domain::shared::Shared;
use by_name::ByName;
use column::Column;
pub use order::{Direction, Order, compare};
use rows::Rows;
pub use select::{Budget, Costly};
pub(super) use terms::Choice;
pub use terms::Group;
use terms::Moves;
pub(super) use terms::Terms;

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

/// A model that comes in order by its name, which is kept once.
#[derive(Clone)]
struct Named(Arc<Entry<Model>>);

impl Borrow<str> for Named {
    fn borrow(&self) -> &str {
        self.0.record.name.as_str()
    }
}

impl PartialEq for Named {
    fn eq(&self, other: &Self) -> bool {
        self.0.record.name == other.0.record.name
    }
}

impl Eq for Named {}

impl PartialOrd for Named {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Named {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.0.record.name.as_str().cmp(other.0.record.name.as_str())
    }
}

/// The index.
#[derive(Clone, Default)]
pub struct ModelIndex {
    by_name: ByName,
    ordered: imbl::OrdSet<Named>,
    slots: imbl::Vector<Option<Slot>>,
    free: imbl::Vector<u32>,
    live: Arc<RoaringBitmap>,
    columns: [Column; COLUMNS.len()],
    words: imbl::OrdMap<Box<str>, Rows>,
    aliases: AliasIndex,
    terms: Terms,
}

/// Rows with the groups that they are in now.
pub(super) struct Regrouped(Vec<(u32, u32)>);

/// Whose terms are to be worked out anew.
#[derive(Clone, Debug)]
pub(super) enum Changed {
    /// Those that come from these licenses.
    Licenses(BTreeSet<LicenseId>),
    /// All: which licenses are measured at a model's release has changed, and with it what tells models apart.
    All,
}

impl ModelIndex {
    /// Takes the model that shows under a name from one entry to another. A new row is added to those that are
    /// to be [filled in](Self::fill).
    pub(super) fn change(
        &mut self,
        name: &ModelName,
        new: Option<&Arc<Entry<Model>>>,
        framework: &MofFramework,
        unfilled: &mut RoaringBitmap,
    ) {
        let known = self.row(name.as_str());
        let row = match (known, new) {
            (Some(row), _) => row,
            (None, None) => return,
            (None, Some(_)) => self.new_row(),
        };
        let old = self.slot(row).cloned();
        match (&old, new) {
            (None, _) => {
                unfilled.insert(row);
            }
            (Some(_), None) if unfilled.remove(row) => {}
            (Some(_), Some(_)) if unfilled.contains(row) => {}
            (Some(old), new) => self.change_columns(row, &old.entry, new, framework),
        }
        // An equal key would stay in place of the new one, and keep the old entry.
        if old.is_some() {
            self.ordered.remove(name.as_str());
        }
        let index = usize::try_from(row).unwrap_or(usize::MAX);
        match (old, new) {
            (Some(slot), None) => {
                let mut moves = Moves::default();
                self.terms.move_row(row, slot.group, Terms::NONE, &mut moves);
                self.terms.carry_out(moves);
                self.slots.set(index, None);
                self.by_name.remove(name.as_str());
                Arc::make_mut(&mut self.live).remove(row);
                self.free.push_back(row);
            }
            (old, Some(entry)) => {
                self.by_name.put(entry.clone(), row);
                self.ordered.insert(Named(entry.clone()));
                // Its group is worked out once every change of the commit is in.
                let group = old.map_or(Terms::NONE, |slot| slot.group);
                self.slots.set(index, Some(Slot { entry: entry.clone(), group }));
                if !self.live.contains(row) {
                    Arc::make_mut(&mut self.live).insert(row);
                }
            }
            (None, None) => {}
        }
    }

    fn change_columns(
        &mut self,
        row: u32,
        old: &Entry<Model>,
        new: Option<&Arc<Entry<Model>>>,
        framework: &MofFramework,
    ) {
        for (at, field) in COLUMNS.into_iter().enumerate() {
            let before = indexed(old, field, framework);
            let after = new.map(|entry| indexed(entry, field, framework)).unwrap_or_default();
            if let Some(column) = self.columns.get_mut(at).filter(|_| before != after) {
                column.change(row, &before, &after);
            }
        }
        let was = Called::new(&old.record);
        let is = new.map(|entry| (entry, Called::new(&entry.record)));
        self.aliases.remove(row, &old.record, &was);
        self.aliases.insert(is.iter().map(|(entry, called)| (row, &entry.record, called)));
        let before: BTreeSet<&str> = was.words().collect();
        let after: BTreeSet<&str> = is.iter().flat_map(|(_, called)| called.words()).collect();
        for word in before.difference(&after) {
            let Some(rows) = self.words.get_mut(*word) else { continue };
            rows.remove(row);
            if rows.is_empty() {
                self.words.remove(*word);
            }
        }
        for word in after.difference(&before) {
            self.words.entry((*word).into()).or_default().insert(row);
        }
    }

    /// Fills new rows into the columns. Of many rows most are alike, and go in together.
    pub(super) fn fill(&mut self, rows: &RoaringBitmap, framework: &MofFramework) {
        let new: Vec<(u32, Arc<Entry<Model>>)> =
            rows.iter().filter_map(|row| Some((row, self.entry(row)?.clone()))).collect();
        for fields in ALIKE {
            let Some(first) = fields.first() else { continue };
            let mut alike: Alike<'_> = HashMap::default();
            for (row, entry) in &new {
                alike.entry(given(entry, *first)).or_default().push((*row, entry));
            }
            for some in alike.into_values() {
                let Some((_, entry)) = some.first() else { continue };
                let some: RoaringBitmap = some.iter().map(|(row, _)| *row).collect();
                for field in fields {
                    let at = COLUMNS.iter().position(|known| known == field);
                    let Some(column) = at.and_then(|at| self.columns.get_mut(at)) else { continue };
                    column.change_all(&some, &Values::default(), &indexed(entry, *field, framework));
                }
            }
        }
        let called: Vec<Called> = new.iter().map(|(_, entry)| Called::new(&entry.record)).collect();
        self.aliases.insert(new.iter().zip(&called).map(|((row, entry), called)| (*row, &entry.record, called)));
        let mut words: HashMap<&str, Vec<u32>, foldhash::fast::RandomState> = HashMap::default();
        for ((row, _), called) in new.iter().zip(&called) {
            for word in called.words() {
                let rows = words.entry(word).or_default();
                if rows.last() != Some(row) {
                    rows.push(*row);
                }
            }
        }
        // In order, one goes where the one before it went, most often.
        let mut words: Vec<(&str, Vec<u32>)> = words.into_iter().collect();
        words.sort_unstable_by_key(|(word, _)| *word);
        for (word, rows) in words {
            let rows: RoaringBitmap = rows.into_iter().collect();
            match self.words.get_mut(word) {
                Some(known) => known.insert_all(&rows),
                None => {
                    let mut new = Rows::None;
                    new.insert_all(&rows);
                    self.words.insert(word.into(), new);
                }
            }
        }
    }

    fn new_row(&mut self) -> u32 {
        self.free.pop_back().unwrap_or_else(|| {
            self.slots.push_back(None);
            u32::try_from(self.slots.len() - 1).unwrap_or(u32::MAX)
        })
    }

    /// Works out what holds for models after a commit: for those that changed, for those that were made from them, and for
    /// those under licenses that changed. `terms` are the index's own, taken out while records are looked up in it.
    pub(super) fn regroup(
        &self,
        terms: &mut Terms,
        records: &dyn Records,
        models: &[ModelName],
        licenses: &Changed,
    ) -> Regrouped {
        let rows = match licenses {
            Changed::All => (*self.live).clone(),
            Changed::Licenses(_) => self.with_descendants(models),
        };
        let bases = self.bases_among(&rows);
        let mut moves = Moves::default();
        let mut regrouped = Vec::new();
        for row in rows {
            let Some(slot) = self.slot(row) else { continue };
            let model = &slot.entry.record;
            let found = terms.find(records, model, bases.contains(row), &mut moves);
            if found != slot.group {
                terms.move_row(row, slot.group, found, &mut moves);
                regrouped.push((row, found));
            }
        }
        terms.carry_out(moves);
        let entry_of = |row: u32| self.entry(row).cloned();
        match licenses {
            Changed::All => terms.reread(records, None, &entry_of),
            Changed::Licenses(ids) if ids.is_empty() => {}
            Changed::Licenses(ids) => terms.reread(records, Some(ids), &entry_of),
        }
        Regrouped(regrouped)
    }

    /// Takes the terms out.
    pub(super) fn take_terms(&mut self) -> Terms {
        std::mem::take(&mut self.terms)
    }

    /// Puts the terms back, with what has come of them.
    pub(super) fn put_terms(&mut self, terms: Terms, regrouped: Regrouped) {
        self.terms = terms;
        for (row, group) in regrouped.0 {
            if let Some(Some(slot)) = self.slots.get_mut(usize::try_from(row).unwrap_or(usize::MAX)) {
                slot.group = group;
            }
        }
    }

    /// The rows of models and of everything that was made from them, at any distance.
    fn with_descendants(&self, names: &[ModelName]) -> RoaringBitmap {
        let mut found: RoaringBitmap = names.iter().filter_map(|name| self.row(name.as_str())).collect();
        let mut open: Vec<ModelName> = names.to_vec();
        while let Some(name) = open.pop() {
            let children = self.made_from(name.as_str()).map(Rows::to_bitmap);
            for row in children.into_iter().flatten() {
                if found.insert(row) {
                    open.extend(self.slot(row).map(|slot| slot.entry.record.name.clone()));
                }
            }
        }
        found
    }

    /// Those of some rows that others were made from.
    fn bases_among(&self, rows: &RoaringBitmap) -> RoaringBitmap {
        let Some(column) = self.column(OwnField::BaseModels) else { return RoaringBitmap::new() };
        let few = rows.len() < 64;
        let is_base = |row: &u32| self.entry(*row).is_some_and(|e| self.made_from(e.record.name.as_str()).is_some());
        if few {
            return rows.iter().filter(is_base).collect();
        }
        let named = column.iter().filter_map(|(base, _)| match base {
            Value::Text(name) => self.row(name),
            _ => None,
        });
        named.collect()
    }

    /// The rows of models that name a base.
    fn made_from(&self, base: &str) -> Option<&Rows> {
        self.column(OwnField::BaseModels)?.rows(&Value::Text(base.to_owned().into()))
    }

    fn column(&self, field: OwnField) -> Option<&Column> {
        let at = COLUMNS.iter().position(|known| *known == field)?;
        self.columns.get(at)
    }

    /// The column of a field, where it has one.
    fn column_of(&self, field: ModelField) -> Option<&Column> {
        match field {
            ModelField::Own(field) => self.column(field),
            ModelField::Terms(field) => self.terms.column(field),
            ModelField::Availability(_) | ModelField::ComponentLicense(_) => None,
        }
    }

    fn slot(&self, row: u32) -> Option<&Slot> {
        self.slots.get(usize::try_from(row).ok()?)?.as_ref()
    }

    /// The model of a row.
    #[must_use]
    pub fn entry(&self, row: u32) -> Option<&Arc<Entry<Model>>> {
        self.slot(row).map(|slot| &slot.entry)
    }

    /// The row of a model, by its full name.
    #[must_use]
    pub fn row(&self, name: &str) -> Option<u32> {
        self.by_name.get(name).map(|(_, row)| *row)
    }

    /// A model by its full name.
    #[must_use]
    pub fn find(&self, name: &str) -> Option<&Arc<Entry<Model>>> {
        self.by_name.get(name).map(|(entry, _)| entry)
    }

    /// The same with its row.
    pub(in crate::catalog) fn find_row(&self, name: &str) -> Option<(&Arc<Entry<Model>>, u32)> {
        self.by_name.get(name).map(|(entry, row)| (entry, *row))
    }

    /// Number of models.
    #[must_use]
    pub fn len(&self) -> usize {
        self.ordered.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.ordered.is_empty()
    }

    /// Every model that comes after a name, by name.
    pub fn by_name(&self, after: Option<&str>) -> impl Iterator<Item = &Arc<Entry<Model>>> {
        use std::ops::Bound::{Excluded, Unbounded};
        let start = after.map_or(Unbounded, Excluded);
        self.ordered.range::<_, str>((start, Unbounded)).map(|named| &named.0)
    }

    pub(super) fn aliases(&self) -> &AliasIndex {
        &self.aliases
    }

    /// Every row.
    #[must_use]
    pub fn all(&self) -> &RoaringBitmap {
        &self.live
    }

    /// What holds for the license terms of a model, by [`TermsField`].
    pub(in crate::catalog) fn held_terms(&self, row: u32) -> Option<&[Values<'static>]> {
        Some(self.terms.group(self.slot(row)?.group)?.held())
    }

    /// The choice of licenses that a model, or an ancestor of it, comes under.
    pub(in crate::catalog) fn choice(&self, row: u32) -> Option<&Choice> {
        Some(self.terms.group(self.slot(row)?.group)?.choice())
    }

    /// What holds for the license terms of a model.
    #[must_use]
    pub fn terms_of(&self, name: &ModelName, field: TermsField) -> Values<'static> {
        let slot = self.row(name.as_str()).and_then(|row| self.slot(row));
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
pub struct Counts<'a> {
    /// Values with the number of rows that hold each, in order of value.
    pub values: Vec<(&'a Value<'static>, u64)>,
    /// Rows in which the value is not known, or the list may be longer.
    pub open: u64,
}

impl ModelIndex {
    /// Whether a field's values are counted.
    #[must_use]
    pub fn is_counted(&self, field: ModelField) -> bool {
        self.column_of(field).is_some()
    }

    /// Counts the values of a field in some rows; `None`: the field is not one that is counted.
    #[must_use]
    pub fn count(&self, field: ModelField, rows: &RoaringBitmap) -> Option<Counts<'_>> {
        let column = self.column_of(field)?;
        let all = rows.len() == self.live.len();
        let count = |some: &Rows| if all { some.len() } else { some.count_among(rows) };
        let counted = column.iter().map(|(value, some)| (value, count(some)));
        let values = counted.filter(|(_, count)| *count > 0).collect();
        Some(Counts { values, open: count(column.open()) })
    }
}

/// Columns by what their fields are read from in a record: where that is the same, so are the values of all of them.
const ALIKE: [&[OwnField]; 12] = [
    &[OwnField::Publisher],
    &[OwnField::Family],
    &[OwnField::Tier],
    &[OwnField::Components, OwnField::MofClass, OwnField::LicenseExpression, OwnField::LicenseEvidence],
    &[OwnField::BaseModels, OwnField::Relations],
    &[OwnField::Multimodal, OwnField::InputModalities, OwnField::OutputModalities],
    &[OwnField::Capabilities],
    &[OwnField::ContextTokens],
    &[OwnField::Parameters],
    &[OwnField::ReleaseDate],
    &[OwnField::Conflicts],
    &[OwnField::Origin],
];

/// What the first of such fields is read from.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
enum Given<'a> {
    Text(&'a str),
    /// Where lists are kept; equal ones are kept once, most often.
    Lists(usize, usize),
    Number(Option<i64>),
    Date(Option<Date>),
    Layer(Layer),
}

/// Rows by what a field is read from.
type Alike<'a> = HashMap<Given<'a>, Vec<(u32, &'a Entry<Model>)>, foldhash::fast::RandomState>;

fn given(entry: &Entry<Model>, field: OwnField) -> Given<'_> {
    fn at<T>(list: &Shared<T>) -> usize {
        list.as_ptr().addr()
    }
    let model = &entry.record;
    match field {
        OwnField::Components => Given::Lists(at(&model.components), model.components.len()),
        OwnField::BaseModels => Given::Lists(at(&model.base_models), model.base_models.len()),
        OwnField::Multimodal => Given::Lists(at(&model.input_modalities), at(&model.output_modalities)),
        OwnField::Capabilities => Given::Lists(at(&model.capabilities), model.capabilities.len()),
        OwnField::Conflicts => Given::Lists(at(&model.conflicts), model.conflicts.len()),
        OwnField::Family => Given::Text(&model.family),
        OwnField::ContextTokens => Given::Number(model.context_tokens),
        OwnField::Parameters => Given::Number(model.parameters.total),
        OwnField::ReleaseDate => Given::Date(model.release_date),
        OwnField::Origin => Given::Layer(entry.layer),
        OwnField::Tier => Given::Number(model.tier.map(|tier| tier as i64)),
        OwnField::Publisher => Given::Text(model.name.publisher()),
        // Each by itself.
        _ => Given::Text(model.name.as_str()),
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_column_is_filled_once() {
        let mut filled: Vec<OwnField> = ALIKE.into_iter().flatten().copied().collect();
        let mut columns = COLUMNS.to_vec();
        filled.sort_unstable();
        columns.sort_unstable();
        assert_eq!(filled, columns);
    }
}
