//! Filters asked of the index: bitmaps where there is a column, the records of what is left where there is none.

use std::sync::Arc;

use roaring::RoaringBitmap;

use super::{ModelIndex, Selection};
use crate::catalog::fields::{ModelField, OwnField};
use crate::catalog::filter::{Query, Row as _, Test, Value, Wanted, Word, words_of};
use crate::catalog::row::ModelRow;
use crate::catalog::snapshot::{Entry, Snapshot};
use crate::domain::model::Model;
use crate::domain::name::ModelName;
use crate::domain::tri::Tri;

/// How many records a filter may look into one by one; other work counts as so many looks.
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

/// Values of a column that take as long as a look into a record.
const VALUES_AS_ONE: u64 = 4;
/// Rows of a bitmap that take as long.
const ROWS_AS_ONE: u64 = 4_096;
/// Words of an id that near names are looked for by.
const AKIN_WORDS_MAX: usize = 16;
/// Characters at the beginning of a word that a slip is not looked for in.
const ALIKE_CHARS: usize = 3;
/// Words that begin alike.
const ALIKE_WORDS_MAX: usize = 1_000;

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
        let mut search = Search { snapshot: self, index: self.model_index(), left: budget.0 };
        let mut found = search.select(query, among)?;
        found.yes &= among;
        found.unknown &= among;
        Ok(found)
    }
}

impl Search<'_> {
    /// Of rows that are not `among` those asked for, what is answered says nothing.
    fn select(&mut self, query: &Query<ModelField>, among: &RoaringBitmap) -> Result<Selection, Costly> {
        match query {
            Query::And(parts) => self.all(parts, among),
            Query::Or(parts) => self.any(parts, among),
            Query::Not(part) => {
                let part = self.select(part, among)?;
                let mut yes = among - &part.yes;
                yes -= &part.unknown;
                Ok(Selection { yes, unknown: part.unknown })
            }
            Query::Unknown(part) => {
                let part = self.select(part, among)?;
                Ok(Selection { yes: part.unknown, unknown: RoaringBitmap::new() })
            }
            Query::Word(word) => {
                let (yes, looked_at) = self.index.called(word);
                self.charge(looked_at)?;
                Ok(Selection { yes, unknown: RoaringBitmap::new() })
            }
            Query::Test(test) => self.test(test, among),
        }
    }

    /// What has a column comes first, so that fewer records are left to look into.
    fn all(&mut self, parts: &[Query<ModelField>], among: &RoaringBitmap) -> Result<Selection, Costly> {
        let mut parts: Vec<&Query<ModelField>> = parts.iter().collect();
        parts.sort_by_key(|part| self.looks_into_records(part));
        let mut found: Option<Selection> = None;
        for part in parts {
            let Some(Selection { yes, unknown }) = found else {
                let first = self.select(part, among)?;
                found = Some(Selection { yes: first.yes & among, unknown: first.unknown & among });
                continue;
            };
            if unknown.is_empty() {
                if yes.is_empty() {
                    return Ok(Selection { yes, unknown });
                }
                let part = self.select(part, &yes)?;
                found = Some(Selection { unknown: part.unknown & &yes, yes: part.yes & yes });
            } else {
                let left = &yes | &unknown;
                let part = self.select(part, &left)?;
                let yes = yes & &part.yes;
                let unknown = (left & (part.yes | part.unknown)) - &yes;
                found = Some(Selection { yes, unknown });
            }
        }
        Ok(found.unwrap_or_else(|| Selection { yes: among.clone(), unknown: RoaringBitmap::new() }))
    }

    fn any(&mut self, parts: &[Query<ModelField>], among: &RoaringBitmap) -> Result<Selection, Costly> {
        let mut found = Selection::default();
        for part in parts {
            let part = match self.looks_into_records(part) {
                true => self.select(part, &(among - &found.yes))?,
                false => self.select(part, among)?,
            };
            self.charge(found.yes.len() / ROWS_AS_ONE)?;
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
                ModelField::Own(OwnField::Ancestors) => false,
                field => self.index.column_of(*field).is_none(),
            },
        }
    }

    fn test(&mut self, test: &Test<ModelField>, among: &RoaringBitmap) -> Result<Selection, Costly> {
        let Test { field, wanted } = test;
        match (field, wanted) {
            (ModelField::Own(OwnField::Ancestors), _) => {
                let (found, looked_at) = self.index.descends(wanted);
                self.charge(looked_at)?;
                Ok(found)
            }
            (ModelField::Own(OwnField::Name), Wanted::Equal(Value::Text(name))) => {
                let name = ModelName::parse(&name.to_ascii_lowercase()).ok();
                let yes = name.and_then(|name| self.index.row(name.as_str())).into_iter().collect();
                Ok(Selection { yes, unknown: RoaringBitmap::new() })
            }
            (field, _) => match self.index.column_of(*field) {
                Some(column) => {
                    self.charge(column.len() / VALUES_AS_ONE + among.len() / ROWS_AS_ONE)?;
                    Ok(column.select(wanted))
                }
                None => self.look_into(*field, wanted, among),
            },
        }
    }

    /// Takes work out of the budget.
    fn charge(&mut self, work: u64) -> Result<(), Costly> {
        self.left = self.left.checked_sub(work).ok_or(Costly)?;
        Ok(())
    }

    fn look_into(&mut self, field: ModelField, wanted: &Wanted, among: &RoaringBitmap) -> Result<Selection, Costly> {
        self.charge(among.len())?;
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
    /// Tells also how many words were looked at.
    fn called(&self, word: &Word) -> (RoaringBitmap, u64) {
        let mut found: Option<RoaringBitmap> = None;
        let mut looked_at = 0;
        for start in &word.0 {
            let mut rows = RoaringBitmap::new();
            for (_, some) in self.words.range(start.clone()..).take_while(|(known, _)| known.starts_with(&**start)) {
                some.add_to(&mut rows);
                looked_at += 1;
            }
            found = Some(match found {
                Some(found) => found & rows,
                None => rows,
            });
        }
        (found.unwrap_or_default(), looked_at)
    }

    /// At most `max` models that an id with a slip in it may mean: those that share the most words with it.
    #[must_use]
    pub fn akin(&self, id: &str, max: usize) -> Vec<&Arc<Entry<Model>>> {
        // By how many of the words they have: at least one, at least two, …
        let mut by_words: Vec<RoaringBitmap> = Vec::new();
        for word in words_of(id).into_iter().take(AKIN_WORDS_MAX) {
            let rows = match self.words.get(&word) {
                Some(rows) => rows.to_bitmap(),
                None => self.begin_alike(&word),
            };
            let mut these = rows.clone();
            for at_least in &mut by_words {
                let more = &*at_least & &rows;
                *at_least |= these;
                these = more;
            }
            if !these.is_empty() {
                by_words.push(these);
            }
        }
        let mut taken = RoaringBitmap::new();
        let mut found = Vec::new();
        for row in by_words.iter().rev().flatten() {
            if found.len() >= max {
                break;
            }
            if taken.insert(row) {
                found.extend(self.entry(row));
            }
        }
        found
    }

    /// The models with a word of which the beginning is that of another.
    fn begin_alike(&self, word: &str) -> RoaringBitmap {
        let mut rows = RoaringBitmap::new();
        let start: String = word.chars().take(ALIKE_CHARS).collect();
        let range = self.words.range(Box::from(&*start)..).take_while(|(known, _)| known.starts_with(&start));
        range.take(ALIKE_WORDS_MAX).for_each(|(_, some)| some.add_to(&mut rows));
        rows
    }

    /// The models with an ancestor that is wanted. Where an ancestor is no record, it may have others.
    /// Tells also how many were looked at.
    fn descends(&self, wanted: &Wanted) -> (Selection, u64) {
        let Some(bases) = self.column(OwnField::BaseModels) else { return (Selection::default(), 0) };
        let (mut met, mut lost) = (RoaringBitmap::new(), RoaringBitmap::new());
        for (base, rows) in bases.iter() {
            if wanted.is_met(base) == Tri::True {
                rows.add_to(&mut met);
            }
            let Value::Text(name) = base else { continue };
            if self.row(name).is_none() {
                rows.add_to(&mut lost);
            }
        }
        let all = |rows: RoaringBitmap| {
            let names: Vec<ModelName> =
                rows.iter().filter_map(|row| self.entry(row)).map(|entry| entry.record.name.clone()).collect();
            self.with_descendants(&names)
        };
        let yes = all(met);
        let lost = if *wanted == Wanted::Present { RoaringBitmap::new() } else { all(lost) };
        let looked_at = bases.len() + yes.len() + lost.len();
        (Selection { unknown: lost - &yes, yes }, looked_at)
    }
}
