//! The policies of a registry, held against a check.

use std::fmt::Debug;
use std::sync::Arc;

use super::condition::Condition;
use super::fields::{PolicyField, UseField};
use super::row::CheckRow;
use crate::catalog::filter::{Query, Row, Schema, Subject, Wanted, Word};
use crate::domain::eligibility::{Activities, Activity, Facts, Met, MissingLabels, Policy, PolicyCase, Which};
use crate::domain::tri::Tri;

/// A policy with its condition.
#[derive(Clone, Debug, PartialEq)]
pub struct Compiled<M> {
    /// Its effect.
    pub policy: Policy,
    /// Its condition; `None`: this release cannot read it, so that nobody knows what it is met by.
    pub condition: Option<Condition<M>>,
}

impl<M> Compiled<M> {
    /// Whether it is plain that its condition does not hold.
    fn misses(&self, case: &PolicyCase<'_, '_>) -> bool {
        let guard = self.condition.as_ref().and_then(|condition| condition.guard.as_ref());
        guard.is_some_and(|guard| guard.misses(case))
    }

    /// Whether its condition holds, or may.
    fn may_hold(&self, row: &impl Subject<PolicyField<M>>) -> bool
    where
        M: Copy,
    {
        self.condition.as_ref().is_none_or(|condition| condition.query.holds(row) != Tri::False)
    }

    fn is_among(&self, which: Which) -> bool {
        let asks = |activity: Activity| self.condition.as_ref().is_some_and(|c| c.activities.contains(&activity));
        let looks = || self.condition.as_ref().is_some_and(|condition| condition.looks_at_decision);
        match which {
            Which::All => true,
            Which::Enforced => self.policy.is_enforced,
            Which::AskingFor(activity) => self.policy.is_enforced && asks(activity),
            Which::ChangedBy(activity) => self.policy.is_enforced && (asks(activity) || looks()),
        }
    }
}

/// All policies, in the order of their names.
#[derive(Clone, Debug)]
pub struct PolicySet<M> {
    list: Vec<Arc<Compiled<M>>>,
    look_at_decision: bool,
    activities: Activities,
}

impl<M> Default for PolicySet<M> {
    fn default() -> Self {
        Self { list: Vec::new(), look_at_decision: false, activities: Activities::default() }
    }
}

impl<M> FromIterator<Arc<Compiled<M>>> for PolicySet<M> {
    fn from_iter<I: IntoIterator<Item = Arc<Compiled<M>>>>(policies: I) -> Self {
        let mut set = Self { list: policies.into_iter().collect(), ..Self::default() };
        set.list.sort_by(|a, b| a.policy.name.cmp(&b.policy.name));
        // What is not enforced changes no verdict, so that nothing that is not done would worsen it.
        for compiled in set.list.iter().filter(|compiled| compiled.policy.is_enforced) {
            if let Some(condition) = &compiled.condition {
                condition.activities.iter().for_each(|activity| set.activities.insert(*activity));
                set.look_at_decision |= condition.looks_at_decision;
            }
        }
        set
    }
}

impl<M> PolicySet<M> {
    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// Whether one that is enforced looks at the decision before policies.
    #[must_use]
    pub fn look_at_decision(&self) -> bool {
        self.look_at_decision
    }

    /// Activities that conditions of enforced policies ask for.
    #[must_use]
    pub fn activities(&self) -> Activities {
        self.activities
    }

    /// Whether there is one of them.
    #[must_use]
    pub fn any(&self, which: Which) -> bool {
        match which {
            Which::All | Which::Enforced => !self.list.is_empty(),
            Which::AskingFor(activity) => self.activities.has(activity),
            Which::ChangedBy(activity) => self.look_at_decision || self.activities.has(activity),
        }
    }

    /// The policies.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Compiled<M>>> {
        self.list.iter()
    }
}

impl<M: Schema<Field = M> + Copy + Eq + Debug> PolicySet<M> {
    /// Activities that conditions of enforced policies ask for, where the rest of the case, which may do more, does not settle them.
    pub fn asked_activities<R: Row<M>>(
        &self,
        model: &R,
        alternatives: &dyn Fn() -> Alternatives<R>,
        case: &PolicyCase<'_, '_>,
    ) -> Activities {
        let mut asked = Activities::default();
        let row = CheckRow { model, case };
        for compiled in self.list.iter().filter(|compiled| compiled.policy.is_enforced) {
            let asks = |condition: &&Condition<M>| !condition.activities.is_empty();
            let Some(condition) = compiled.condition.as_ref().filter(asks).filter(|_| !compiled.misses(case)) else {
                continue;
            };
            let is_open = match condition.query.holds(&row) {
                Tri::Unknown => true,
                Tri::True => false,
                Tri::False => {
                    let mut found = unmet(&compiled.policy);
                    condition.names_terms && condition.may_hold_under(alternatives(), &row, &mut found)
                }
            };
            if is_open {
                condition.activities.iter().for_each(|activity| asked.insert(*activity));
            }
        }
        asked
    }

    /// Holds policies against a check of a model, and tells those that are met or may be. `None`: the model is no row.
    pub fn meet<'a, R: Row<M>>(
        &'a self,
        model: Option<&R>,
        alternatives: &dyn Fn() -> Alternatives<R>,
        case: &PolicyCase<'_, 'a>,
        which: Which,
        met: &mut dyn FnMut(Met<'a>),
    ) {
        for compiled in self.list.iter().filter(|compiled| compiled.is_among(which)) {
            let policy = &compiled.policy;
            let unknown = |facts| Met { facts, ..unmet(policy) };
            if compiled.misses(case) {
                debug_assert!(
                    model.is_none_or(|model| !compiled.may_hold(&CheckRow { model, case })),
                    "{}",
                    policy.name
                );
                continue;
            }
            let (Some(condition), Some(model)) = (&compiled.condition, model) else {
                met(unknown(Facts::NONE));
                continue;
            };
            let row = CheckRow { model, case };
            match condition.query.holds(&row) {
                // What holds in each field may be of another license of a choice.
                Tri::False if condition.names_terms => {
                    let missing_labels = MissingLabels::none_of(&condition.labels);
                    let mut found = Met { missing_labels, ..unknown(condition.facts) };
                    if condition.may_hold_under(alternatives(), &row, &mut found) {
                        met(found);
                    }
                }
                Tri::False => {}
                Tri::True => met(Met { is_certain: true, ..unknown(condition.facts) }),
                Tri::Unknown => {
                    let missing_labels = MissingLabels::none_of(&condition.labels);
                    let mut found = Met { missing_labels, ..unknown(condition.facts) };
                    note_missing(&condition.query, &row, &mut found);
                    met(found);
                }
            }
        }
    }
}

/// A policy of which it is not known whether it is met.
fn unmet(policy: &Policy) -> Met<'_> {
    Met {
        policy,
        is_certain: false,
        facts: Facts::NONE,
        missing: Facts::NONE,
        missing_labels: MissingLabels::default(),
        waits_for_others: false,
    }
}

/// A model under each choice of its licenses.
pub enum Alternatives<R> {
    /// There is nothing to choose.
    None,
    /// The model under each.
    Among(Vec<R>),
    /// It is not known what holds under each.
    Unknown,
}

impl<M: Schema<Field = M> + Copy + Eq + Debug> Condition<M> {
    /// Whether a condition that misses the licenses of a choice together may hold under one of them, and what it hangs on then.
    fn may_hold_under<R: Row<M>>(
        &self,
        alternatives: Alternatives<R>,
        row: &CheckRow<'_, '_, '_, R>,
        found: &mut Met<'_>,
    ) -> bool {
        match alternatives {
            Alternatives::None => false,
            Alternatives::Among(each) => {
                let case = row.case;
                let rows = || each.iter().map(|model| CheckRow { model, case });
                let held = rows().map(|row| self.query.holds(&row)).fold(Tri::False, Tri::or);
                if held == Tri::Unknown {
                    rows().for_each(|row| note_missing(&self.query, &row, found));
                }
                held != Tri::False
            }
            Alternatives::Unknown => self.query.holds(&WithoutTerms(row)) != Tri::False,
        }
    }
}

/// A check of which no license term is known.
struct WithoutTerms<'r, S>(&'r S);

impl<M: Schema<Field = M> + Copy + Eq + Debug, S: Subject<PolicyField<M>>> Subject<PolicyField<M>>
    for WithoutTerms<'_, S>
{
    fn meets(&self, field: &PolicyField<M>, wanted: &Wanted) -> Tri {
        if PolicyField::<M>::is_of_terms(*field) { Tri::Unknown } else { self.0.meets(field, wanted) }
    }

    fn is_called(&self, word: &Word) -> bool {
        self.0.is_called(word)
    }
}

/// Finds what a condition that cannot be told hangs on. What can be told does not matter, whatever becomes known.
fn note_missing<M: Copy + Eq + Debug, R: Row<M>>(
    query: &Query<PolicyField<M>>,
    row: &CheckRow<'_, '_, '_, R>,
    met: &mut Met<'_>,
) {
    if query.holds(row) != Tri::Unknown {
        // Of `unknown(…)` it is told whether what is inside is known.
        return;
    }
    match query {
        Query::And(parts) | Query::Or(parts) => parts.iter().for_each(|part| note_missing(part, row, met)),
        Query::Not(part) | Query::Unknown(part) => note_missing(part, row, met),
        Query::Word(_) => {}
        Query::Test(test) => match &test.field {
            PolicyField::Model(_) => {}
            PolicyField::Use(UseField::Labels) => {}
            PolicyField::Use(field) => met.missing = met.missing.and(row.missing(*field)),
            PolicyField::Label(key) => met.missing_labels.add(key.as_str()),
            PolicyField::Decision(_) => met.waits_for_others = true,
        },
    }
}
