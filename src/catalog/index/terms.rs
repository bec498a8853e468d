//! Groups of models that share what a verdict depends on, and the license terms that hold for all of a group.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use roaring::RoaringBitmap;

use super::column::Column;
use super::rows::Rows;
use crate::catalog::fields::TermsField;
use crate::catalog::filter::Values;
use crate::catalog::snapshot::{Entry, Index};
use crate::domain::eligibility::{Basis, Outline, Records, basis, inherited, is_measured_at_release, outline};
use crate::domain::license::{Expression, Term};
use crate::domain::model::{Component, Model};
use crate::domain::name::LicenseId;
use crate::domain::openness::Tier;

/// What holds in each [`TermsField`].
pub(in crate::catalog) type Held = Arc<[Values<'static>]>;

/// Models that share what a verdict depends on ([`basis`]).
#[derive(Clone)]
pub struct Group {
    basis: Arc<str>,
    rows: Rows,
    terms: Held,
    /// The licenses that its terms come from.
    licenses: Arc<[LicenseId]>,
    /// Whether the date of release counts as well.
    by_release: bool,
    choice: Choice,
}

/// The licenses that one of can be chosen.
#[derive(Clone)]
pub(in crate::catalog) enum Choice {
    /// There is none.
    None,
    /// What holds under each choice: the fields of all of them together may each be of another.
    Among(Arc<[Held]>),
    /// There are more than [`CHOICES_MAX`].
    TooMany,
}

/// Choices that are told apart.
const CHOICES_MAX: usize = 16;

impl Group {
    /// Those of its rows that are among others.
    #[must_use]
    pub fn among(&self, rows: &RoaringBitmap) -> RoaringBitmap {
        self.rows.among(rows)
    }

    /// Whether the date of release counts as well.
    #[must_use]
    pub fn by_release(&self) -> bool {
        self.by_release
    }

    /// Which licenses can be chosen.
    pub(super) fn choice(&self) -> &Choice {
        &self.choice
    }

    /// What holds for all of them, by [`TermsField`].
    pub(super) fn held(&self) -> &[Values<'static>] {
        &self.terms
    }

    /// What holds for all of them.
    #[must_use]
    pub fn terms(&self, field: TermsField) -> Values<'static> {
        self.terms.get(field as usize).cloned().unwrap_or_default()
    }
}

/// Every group.
#[derive(Clone)]
pub(in crate::catalog) struct Terms {
    ids: Index<Arc<str>, u32>,
    groups: imbl::Vector<Option<Group>>,
    free: imbl::Vector<u32>,
    /// By [`TermsField`].
    columns: Vec<Column>,
}

impl Default for Terms {
    fn default() -> Self {
        let columns = TermsField::ALL.iter().map(|_| Column::default()).collect();
        Self { ids: Index::default(), groups: imbl::Vector::new(), free: imbl::Vector::new(), columns }
    }
}

fn at(id: u32) -> usize {
    usize::try_from(id).unwrap_or(usize::MAX)
}

/// Rows that go from one group to another, gathered so that groups and columns are changed once for many.
#[derive(Default)]
pub(super) struct Moves {
    /// By the groups that they leave and join.
    rows: BTreeMap<(u32, u32), Vec<u32>>,
    meanings: Meanings,
    /// Groups that were found, by outline.
    groups: HashMap<Outline, u32, foldhash::fast::RandomState>,
}

/// What expressions mean, alone and together.
#[derive(Default)]
struct Meanings {
    of: HashMap<Box<str>, Held>,
    /// One of each that is equal.
    held: HashSet<Held>,
}

impl Terms {
    /// No group.
    pub(super) const NONE: u32 = u32::MAX;

    /// The group of a model, which is joined once all is gathered. `is_base`: others were made from it.
    pub(super) fn find(&mut self, records: &dyn Records, model: &Model, is_base: bool, moves: &mut Moves) -> u32 {
        let outline = outline(model).filter(|_| !is_base);
        if let Some(id) = outline.and_then(|outline| moves.groups.get(&outline)) {
            return *id;
        }
        let Basis { text, is_shared } = basis(records, model);
        let id = match self.ids.get(text.as_str()) {
            Some(id) => *id,
            None => self.found(records, model, text.into(), &mut moves.meanings),
        };
        moves.groups.extend(outline.filter(|_| is_shared).map(|outline| (outline, id)));
        id
    }

    fn found(&mut self, records: &dyn Records, model: &Model, basis: Arc<str>, meanings: &mut Meanings) -> u32 {
        let group = Group {
            basis: basis.clone(),
            rows: Rows::None,
            terms: effective(records, model, meanings),
            licenses: licenses(records, model),
            by_release: is_measured_at_release(records, model),
            choice: choice(records, model),
        };
        let id = self.free.pop_back().unwrap_or_else(|| {
            self.groups.push_back(None);
            u32::try_from(self.groups.len() - 1).unwrap_or(u32::MAX)
        });
        self.groups.set(at(id), Some(group));
        self.ids.insert(basis, id);
        id
    }

    /// A row leaves a group for another; either may be [`Self::NONE`].
    pub(super) fn move_row(&mut self, row: u32, from: u32, to: u32, moves: &mut Moves) {
        if from != to {
            moves.rows.entry((from, to)).or_default().push(row);
        }
    }

    /// Carries out what was gathered; groups that are left empty are no more.
    pub(super) fn carry_out(&mut self, moves: Moves) {
        let nothing: Held = TermsField::ALL.iter().map(|_| Values::default()).collect();
        let mut left = BTreeSet::new();
        // Many groups hold the same terms, which are changed once for all of them.
        let mut changes: HashMap<(*const Values<'_>, *const Values<'_>), (Held, Held, Vec<u32>)> = HashMap::new();
        for ((from, to), mut rows) in moves.rows {
            rows.sort_unstable();
            let bitmap: RoaringBitmap = rows.iter().copied().collect();
            let mut before = nothing.clone();
            if let Some(Some(group)) = self.groups.get_mut(at(from)) {
                group.rows.remove_all(&bitmap);
                before = group.terms.clone();
                left.insert(from);
            }
            let mut after = nothing.clone();
            if let Some(Some(group)) = self.groups.get_mut(at(to)) {
                group.rows.insert_all(&bitmap);
                after = group.terms.clone();
            }
            let same = (before.as_ptr(), after.as_ptr());
            changes.entry(same).or_insert_with(|| (before, after, Vec::new())).2.extend(rows);
        }
        for (before, after, mut rows) in changes.into_values() {
            rows.sort_unstable();
            let rows: RoaringBitmap = rows.into_iter().collect();
            self.change_columns(&rows, &before, &after);
        }
        for id in left {
            let Some(Some(group)) = self.groups.get(at(id)) else { continue };
            if group.rows.is_empty() {
                let basis = group.basis.clone();
                self.ids.remove(&basis);
                self.groups.set(at(id), None);
                self.free.push_back(id);
            }
        }
    }

    fn change_columns(&mut self, rows: &RoaringBitmap, before: &Held, after: &Held) {
        if Arc::ptr_eq(before, after) {
            return;
        }
        for (column, (old, new)) in self.columns.iter_mut().zip(before.iter().zip(after.iter())) {
            if old != new {
                column.change_all(rows, old, new);
            }
        }
    }

    /// Works out anew what holds for the groups whose terms come from some licenses, or for all; any model of a group stands
    /// for all of it.
    pub(super) fn reread(
        &mut self,
        records: &dyn Records,
        changed: Option<&BTreeSet<LicenseId>>,
        entry_of: &dyn Fn(u32) -> Option<Arc<Entry<Model>>>,
    ) {
        let mut meanings = Meanings::default();
        let concerned = |group: &Group| changed.is_none_or(|ids| group.licenses.iter().any(|id| ids.contains(id)));
        let concerned: Vec<usize> = (self.groups.iter().enumerate())
            .filter(|(_, group)| group.as_ref().is_some_and(concerned))
            .map(|(at, _)| at)
            .collect();
        for at in concerned {
            let Some(Some(group)) = self.groups.get_mut(at) else { continue };
            let Some(entry) = group.rows.min().and_then(entry_of) else { continue };
            let before = std::mem::replace(&mut group.terms, effective(records, &entry.record, &mut meanings));
            group.licenses = licenses(records, &entry.record);
            group.choice = choice(records, &entry.record);
            group.by_release = is_measured_at_release(records, &entry.record);
            let (rows, after) = (group.rows.to_bitmap(), group.terms.clone());
            self.change_columns(&rows, &before, &after);
        }
    }

    pub(super) fn groups(&self) -> impl Iterator<Item = &Group> {
        self.groups.iter().flatten()
    }

    pub(super) fn group(&self, id: u32) -> Option<&Group> {
        self.groups.get(at(id))?.as_ref()
    }

    /// What holds in a field, by value.
    pub(super) fn column(&self, field: TermsField) -> Option<&Column> {
        self.columns.get(field as usize)
    }
}

/// The expression of a model's weights; a proprietary model's terms are those of whoever serves it.
fn own(model: &Model) -> Option<&Expression> {
    let weights = model.weights().filter(|_| model.tier != Some(Tier::Proprietary));
    weights.and_then(|weights| weights.expression.as_ref())
}

/// What holds under each choice of licenses of a model and its ancestors.
fn choice(records: &dyn Records, model: &Model) -> Choice {
    let mut expressions: Vec<Option<&Expression>> =
        std::iter::once(own(model)).chain(inherited(records, model)).collect();
    expressions.sort_unstable_by_key(|expression| expression.map(Expression::as_str));
    // The same choice may be made otherwise for each.
    expressions.dedup_by(|a, b| a.map(Expression::as_str) == b.map(Expression::as_str) && !a.is_some_and(is_choice));
    let is_unknown = expressions.contains(&None);
    let each = expressions.iter().flatten().map(|expression| choices(expression.root()));
    let Some(choices) = product(each) else { return Choice::TooMany };
    if choices.len() < 2 {
        return Choice::None;
    }
    let find = |id: &LicenseId| records.license(id);
    let held = |licenses: Vec<&Term>| -> Held {
        let of = |field: &TermsField| {
            let unknown = is_unknown.then(|| Values { open: true, ..Values::default() });
            field.all_of(licenses.iter().map(|license| field.under_term(license, &find)).chain(unknown))
        };
        TermsField::ALL.iter().map(of).collect()
    };
    Choice::Among(choices.into_iter().map(held).collect())
}

/// Whether there is something to choose.
fn is_choice(expression: &Expression) -> bool {
    fn any(term: &Term) -> bool {
        match term {
            Term::License { .. } => false,
            Term::And(terms) => terms.iter().any(any),
            Term::Or(_) => true,
        }
    }
    any(expression.root())
}

/// The licenses of each choice; `None`: there are too many.
fn choices(term: &Term) -> Option<Vec<Vec<&Term>>> {
    match term {
        Term::License { .. } => Some(vec![vec![term]]),
        Term::And(terms) => product(terms.iter().map(choices)),
        Term::Or(terms) => {
            let each = terms.iter().map(choices).collect::<Option<Vec<_>>>()?;
            let all: Vec<_> = each.into_iter().flatten().collect();
            (all.len() <= CHOICES_MAX).then_some(all)
        }
    }
}

/// Each choice of one with each of the others.
fn product<'t>(each: impl IntoIterator<Item = Option<Vec<Vec<&'t Term>>>>) -> Option<Vec<Vec<&'t Term>>> {
    let mut all = vec![Vec::new()];
    for next in each {
        let next = next?;
        if all.len() * next.len() > CHOICES_MAX {
            return None;
        }
        all = all.iter().flat_map(|chosen| next.iter().map(|more| [&**chosen, &**more].concat())).collect();
    }
    Some(all)
}

/// The terms that hold for the weights of a model: its own license's, and those of every ancestor that count.
fn effective(records: &dyn Records, model: &Model, meanings: &mut Meanings) -> Held {
    let inherited = inherited(records, model);
    let mut each: Vec<Held> = Vec::with_capacity(1 + inherited.len());
    for expression in std::iter::once(own(model)).chain(inherited) {
        let text = expression.map_or("", Expression::as_str);
        let meaning = match meanings.of.get(text) {
            Some(known) => known.clone(),
            None => {
                let read = meanings.one_of(meaning(records, expression));
                meanings.of.insert(text.into(), read.clone());
                read
            }
        };
        // The same terms twice are the same terms.
        if !each.iter().any(|known| Arc::ptr_eq(known, &meaning)) {
            each.push(meaning);
        }
    }
    match each.as_slice() {
        [one] => one.clone(),
        several => {
            let of = |field: TermsField| several.iter().filter_map(move |held| held.get(field as usize).cloned());
            meanings.one_of(TermsField::ALL.iter().map(|field| field.all_of(of(*field))).collect())
        }
    }
}

impl Meanings {
    fn one_of(&mut self, held: Held) -> Held {
        match self.held.get(&held) {
            Some(known) => known.clone(),
            None => {
                self.held.insert(held.clone());
                held
            }
        }
    }
}

/// What holds under one expression; nothing is known where there is none.
fn meaning(records: &dyn Records, expression: Option<&Expression>) -> Held {
    let find = |id: &LicenseId| records.license(id);
    let of = |field: &TermsField| match expression {
        Some(expression) => field.under(expression, &find),
        None => Values { open: true, ..Values::default() },
    };
    // As they are joined with others, so that one alone reads the same.
    TermsField::ALL.iter().map(|field| field.all_of([of(field)])).collect()
}

/// The licenses that the terms of a model come from.
fn licenses(records: &dyn Records, model: &Model) -> Arc<[LicenseId]> {
    let periods = model.weights().map(|Component { license_periods, .. }| license_periods);
    let periods = periods.into_iter().flatten().map(|period| &period.expression);
    let expressions = own(model).into_iter().chain(inherited(records, model).into_iter().flatten()).chain(periods);
    let mut ids: Vec<LicenseId> = expressions.flat_map(Expression::named).collect();
    // And what they bring in.
    let mut next = 0;
    while let Some(license) = ids.get(next).map(|id| records.license(id)) {
        next += 1;
        for id in license.into_iter().flat_map(|license| license.duties.iter().flat_map(|duty| &duty.incorporates)) {
            if !ids.contains(id) {
                ids.push(id.clone());
            }
        }
    }
    let ids: BTreeSet<LicenseId> = ids.into_iter().collect();
    ids.into_iter().collect()
}
