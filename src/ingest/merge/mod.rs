//! One record per real model, out of what the catalog and every source state.
//!
//! The result is a function of the *set* of statements: neither the order of imports nor how often one was repeated
//! shows. [`place`] says which model each record is about; `choose` picks, field by field, whose word counts, keeps
//! where it is from, and keeps every disagreement. Nothing is voted on: on several models all data sets but the maker's
//! own are wrong together.

mod choose;
mod place;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use super::identity::AliasIndex;
use super::license_names::LicenseNames;
use super::source::DataSource;
use super::source_errors::SourceErrors;
use super::statement::{Field, SourceRecord, Value};
use crate::domain::license::Expression;
use crate::domain::model::{BaseRef, Evidence, Relation};

pub use place::{Place, Places, place};

/// The tables that a merge looks things up in.
#[derive(Clone, Copy)]
pub struct Tables<'a> {
    /// What a declared license stands for.
    pub licenses: &'a LicenseNames,
    /// Statements that are known to be wrong.
    pub errors: &'a SourceErrors,
    /// Whether a license grants commercial use; `None` where its terms are not known.
    pub commercial_use: &'a dyn Fn(&Expression) -> Option<bool>,
    /// The publisher of a name for people, as sources spell it.
    pub publisher_by_name: &'a dyn Fn(&str) -> Option<Box<str>>,
    /// The publisher of an organization of the hub; `None` where it only has the spelling of a publisher.
    pub publisher_on_hub: &'a dyn Fn(&str) -> Option<Box<str>>,
}

/// A value that a field can have in the end.
#[derive(Clone, Debug, PartialEq)]
pub enum Settled {
    /// As stated.
    Plain(Value),
    /// A license that was looked up.
    License(Concluded),
    /// Bases that were looked up.
    Bases(Vec<(BaseRef, Relation)>),
    /// Not known, where it was believed to be.
    Nothing,
}

/// A license with what was declared and what it rests on.
#[derive(Clone, Debug, PartialEq)]
pub struct Concluded {
    /// The expression; `LicenseRef-Unknown` where the declared one could not be mapped.
    pub expression: Expression,
    /// As declared.
    pub declared: Box<str>,
    /// Where it was declared.
    pub declared_in: Box<str>,
    /// What it rests on.
    pub evidence: Evidence,
}

/// A value of a model before the merge, and whose it is.
#[derive(Clone, Debug, PartialEq)]
pub struct BaseValue {
    /// The value.
    pub value: Settled,
    /// The source it was taken from; [`DataSource::Curated`] where the catalog states none.
    pub source: DataSource,
    /// The record of that source.
    pub record: Box<str>,
    /// When it was stated.
    pub date: Box<str>,
}

/// What is known of a model before the merge.
pub type Base = BTreeMap<Field, BaseValue>;

/// How many offerings of a model carry the flag that its weights are public.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OfferingFlags {
    /// With it.
    pub open: u32,
    /// Without it, which often means that nobody filled it in.
    pub closed: u32,
}

/// What a merge makes of a model.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Merged {
    /// Fields to set over what was known before.
    pub set: BTreeMap<Field, Settled>,
    /// Which source each field is from that is not the catalog's own, by record.
    pub provenance: Vec<Provenance>,
    /// Fields on which sources disagree.
    pub conflicts: Vec<Conflict>,
    /// Further ids that are certain.
    pub aliases: Vec<Box<str>>,
}

impl Merged {
    /// Whether nothing differs from what was known before.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.set.is_empty() && self.conflicts.is_empty() && self.aliases.is_empty()
    }
}

/// Fields that one record of a source gave.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Provenance {
    /// The source.
    pub source: DataSource,
    /// Its record.
    pub record: Box<str>,
    /// When it was stated.
    pub date: Box<str>,
    /// Where the record is.
    pub url: Box<str>,
    /// The fields.
    pub fields: Vec<Field>,
}

/// A field on which sources disagree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Conflict {
    /// The field.
    pub field: Field,
    /// Every statement: the value as text, the source, its record, when, and where.
    pub claims: Vec<ConflictClaim>,
    /// The chosen value as text.
    pub chosen: String,
    /// The rule that chose it.
    pub rule: &'static str,
}

/// One side of a conflict.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ConflictClaim {
    /// The source.
    pub source: DataSource,
    /// Its record.
    pub record: Box<str>,
    /// When.
    pub date: Box<str>,
    /// Where.
    pub url: Box<str>,
    /// The value as text.
    pub value: String,
}

/// Merges what is stated about one model.
///
/// `records` are those placed on it, and `resolve` looks a base model's name up.
#[must_use]
pub fn merge(
    tables: &Tables<'_>,
    base: &Base,
    records: &[&SourceRecord],
    flags: OfferingFlags,
    resolve: &dyn Fn(&str) -> BaseRef,
) -> Merged {
    choose::merge(tables, base, records, flags, resolve)
}

/// What is to be said of a record when it was read: why its license is not one that is evaluated.
#[must_use]
pub fn remarks(tables: &Tables<'_>, record: &SourceRecord) -> Vec<String> {
    choose::remarks(tables, record)
}

/// Ids that are certain for the model that a record is about.
pub fn certain_ids(record: &SourceRecord) -> impl Iterator<Item = Box<str>> + '_ {
    let identity = &record.identity;
    identity.repositories.iter().chain(&identity.keys).cloned().chain(place::bare_keys(identity))
}

/// The model that a base model's name stands for, in the index or among the new models.
#[must_use]
pub fn resolve_base(index: &dyn AliasIndex, tables: &Tables<'_>, places: &Places, name: &str) -> BaseRef {
    place::resolve_base(index, tables, places, name)
}
