//! Filters asked of the index: bitmaps where there is a column, the records of what is left where there is none.

use roaring::RoaringBitmap;

use super::{ModelIndex, Selection};
use crate::catalog::fields::{ModelField, OwnField};
use crate::catalog::filter::{Query, Row as _, Test, Value, Wanted, Word};
use crate::catalog::row::ModelRow;
use crate::catalog::snapshot::Snapshot;
use crate::domain::name::ModelName;
use crate::domain::tri::Tri;

/// How many records a filter may look into one by one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Budget(pub u64);

impl Default for Budget {
    /// Some seconds.
    fn default() -> Self {
        Self(10_000_000)
    }
}

/// A filter would look into more records than it may.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Costly;

struct Search<'a> {
    snapshot: &'a Snapshot,
    index: &'a ModelIndex,
    left: u64,
}

impl Snapshot {
    /// The models for which a filter holds, and those for which it is not known, among some rows.
    ///
    /// # Errors
    /// [`Costly`] where it would look into more records than it may.
    pub fn select_models(
        &self,
        query: &Query<ModelField>,
        among: &RoaringBitmap,
        budget: Budget,
    ) -> Result<Selection, Costly> {
        Search { snapshot: self, index: self.model_index(), left: budget.0 }.select(query, among)
    }
}

impl Search<'_> {
    fn select(&mut self, query: &Query<ModelField>, among: &RoaringBitmap) -> Result<Selection, Costly> {
        let mut found = match query {
            Query::And(parts) => self.all(parts, among)?,
            Query::Or(parts) => self.any(parts, among)?,
            Query::Not(part) => {
                let part = self.select(part, among)?;
                Selection { yes: among - (&part.yes | &part.unknown), unknown: part.unknown }
            }
            Query::Unknown(part) => {
                let part = self.select(part, among)?;
                Selection { yes: part.unknown, unknown: RoaringBitmap::new() }
            }
            Query::Word(word) => Selection { yes: self.index.called(word), unknown: RoaringBitmap::new() },
            Query::Test(test) => self.test(test, among)?,
        };
        found.yes &= among;
        found.unknown &= among;
        Ok(found)
    }

    /// What has a column comes first, so that fewer records are left to look into.
    fn all(&mut self, parts: &[Query<ModelField>], among: &RoaringBitmap) -> Result<Selection, Costly> {
        let mut parts: Vec<&Query<ModelField>> = parts.iter().collect();
        parts.sort_by_key(|part| self.looks_into_records(part));
        let mut found = Selection { yes: among.clone(), unknown: RoaringBitmap::new() };
        for part in parts {
            let left = &found.yes | &found.unknown;
            if left.is_empty() {
                break;
            }
            let part = self.select(part, &left)?;
            let maybe = &part.yes | &part.unknown;
            found.yes &= &part.yes;
            found.unknown = (left & maybe) - &found.yes;
        }
        Ok(found)
    }

    fn any(&mut self, parts: &[Query<ModelField>], among: &RoaringBitmap) -> Result<Selection, Costly> {
        let mut found = Selection::default();
        for part in parts {
            let left = among - &found.yes;
            let part = self.select(part, &left)?;
            found.yes |= part.yes;
            found.unknown |= part.unknown;
        }
        found.unknown -= &found.yes;
        Ok(found)
    }

    fn looks_into_records(&self, query: &Query<ModelField>) -> bool {
        match query {
            Query::And(parts) | Query::Or(parts) => parts.iter().any(|part| self.looks_into_records(part)),
            Query::Not(part) | Query::Unknown(part) => self.looks_into_records(part),
            Query::Word(_) => false,
            Query::Test(Test { field, .. }) => match field {
                ModelField::Own(OwnField::Ancestors) | ModelField::Terms(_) => false,
                ModelField::Own(field) => self.index.column(*field).is_none(),
                ModelField::Availability(_) | ModelField::ComponentLicense(_) => true,
            },
        }
    }

    fn test(&mut self, test: &Test<ModelField>, among: &RoaringBitmap) -> Result<Selection, Costly> {
        let Test { field, wanted } = test;
        match (field, wanted) {
            (ModelField::Terms(field), _) => Ok(self.index.terms.select(*field, wanted)),
            (ModelField::Own(OwnField::Ancestors), _) => Ok(self.index.descends(wanted)),
            (ModelField::Own(OwnField::Name), Wanted::Equal(Value::Text(name))) => {
                let name = ModelName::parse(&name.to_ascii_lowercase()).ok();
                let yes = name.and_then(|name| self.index.row(&name)).into_iter().collect();
                Ok(Selection { yes, unknown: RoaringBitmap::new() })
            }
            (ModelField::Own(own), _) => match self.index.column(*own) {
                Some(column) => Ok(column.select(wanted)),
                None => self.look_into(*field, wanted, among),
            },
            (ModelField::Availability(_) | ModelField::ComponentLicense(_), _) => self.look_into(*field, wanted, among),
        }
    }

    fn look_into(&mut self, field: ModelField, wanted: &Wanted, among: &RoaringBitmap) -> Result<Selection, Costly> {
        self.left = self.left.checked_sub(among.len()).ok_or(Costly)?;
        let (mut yes, mut unknown) = (Vec::new(), Vec::new());
        for row in among {
            let Some(entry) = self.index.entry(row) else { continue };
            match wanted.is_met_by(&ModelRow::new(self.snapshot, entry).values(field)) {
                Tri::True => yes.push(row),
                Tri::Unknown => unknown.push(row),
                Tri::False => {}
            }
        }
        // In order, as they were found.
        let rows = |rows: Vec<u32>| RoaringBitmap::from_sorted_iter(rows).unwrap_or_default();
        Ok(Selection { yes: rows(yes), unknown: rows(unknown) })
    }
}

impl ModelIndex {
    /// The models of which every word is a beginning of a word of their names.
    fn called(&self, word: &Word) -> RoaringBitmap {
        let mut found: Option<RoaringBitmap> = None;
        for start in &word.0 {
            let mut rows = RoaringBitmap::new();
            for (_, some) in self.words.range(start.clone()..).take_while(|(known, _)| known.starts_with(&**start)) {
                rows |= &**some;
            }
            found = Some(match found {
                Some(found) => found & rows,
                None => rows,
            });
        }
        found.unwrap_or_default()
    }

    /// The models with an ancestor that is wanted. Where an ancestor is no record, it may have others.
    fn descends(&self, wanted: &Wanted) -> Selection {
        let Some(bases) = self.column(OwnField::BaseModels) else { return Selection::default() };
        let (mut met, mut lost) = (RoaringBitmap::new(), RoaringBitmap::new());
        for (base, rows) in bases.iter() {
            if wanted.is_met(base) == Tri::True {
                met |= &**rows;
            }
            let Value::Text(name) = base else { continue };
            if !self.rows.contains_key(&**name) {
                lost |= &**rows;
            }
        }
        let all = |rows: RoaringBitmap| {
            let names: Vec<ModelName> =
                rows.iter().filter_map(|row| self.entry(row)).map(|entry| entry.record.name.clone()).collect();
            self.with_descendants(&names)
        };
        let yes = all(met);
        let unknown = if *wanted == Wanted::Present { RoaringBitmap::new() } else { all(lost) - &yes };
        Selection { yes, unknown }
    }
}
