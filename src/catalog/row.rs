//! Records as rows: what filters, orders and counts read of them.

use std::cell::OnceCell;

use super::aliases::Called;
use super::fields::{
    LicenseField, ModelField, OfferingField, OwnField, TermsField, license_of_part, of_layer, of_mof_class, of_part,
    of_record,
};
use super::filter::{Row, Value, Values, Wanted, Word, words_of};
use super::index::{Choice, class};
use super::snapshot::{Entry, Snapshot};
use crate::domain::license::License;
use crate::domain::model::{BaseRef, ComponentKind, Model};
use crate::domain::name::ModelName;
use crate::domain::offering::Offering;
use crate::domain::tri::Tri;
use crate::policy::Alternatives;

/// A model with the snapshot that it is in.
pub struct ModelRow<'a> {
    snapshot: &'a Snapshot,
    entry: &'a Entry<Model>,
    /// What holds for its license terms, once that was asked for.
    terms: OnceCell<Option<&'a [Values<'static>]>>,
    /// Its row, where that is at hand.
    row: Option<u32>,
    /// The check is of another license than the record's current one: nothing is known of what rests on that.
    of_another_license: bool,
}

impl<'a> ModelRow<'a> {
    /// A model of a snapshot.
    #[must_use]
    pub fn new(snapshot: &'a Snapshot, entry: &'a Entry<Model>) -> Self {
        Self { snapshot, entry, terms: OnceCell::new(), row: None, of_another_license: false }
    }

    /// The model of a check by its name.
    pub(super) fn of_check(snapshot: &'a Snapshot, name: &ModelName, of_another_license: bool) -> Option<Self> {
        let (entry, row) = snapshot.model_index().find_row(name.as_str())?;
        Some(Self { row: Some(row), of_another_license, ..Self::new(snapshot, entry) })
    }

    /// The model under each choice of its licenses.
    pub(super) fn alternatives(&self) -> Alternatives<Self> {
        match self.row.and_then(|row| self.snapshot.model_index().choice(row)) {
            Some(Choice::None) => Alternatives::None,
            Some(Choice::Among(each)) => {
                let under = |held| Self { terms: OnceCell::from(Some(held)), ..*self };
                Alternatives::Among(each.iter().map(|held| under(&**held)).collect())
            }
            Some(Choice::TooMany) | None => Alternatives::Unknown,
        }
    }

    /// What holds for its license terms, by field.
    fn held_terms(&self) -> Option<&'a [Values<'static>]> {
        let index = self.snapshot.model_index();
        let row = || self.row.or_else(|| index.row(self.entry.record.name.as_str()));
        *self.terms.get_or_init(|| index.held_terms(row()?))
    }

    fn own(&self, field: OwnField) -> Values<'a> {
        if let Some(values) = of_record(&self.entry.record, field) {
            return values;
        }
        match field {
            OwnField::MofClass => of_mof_class(class(&self.entry.record, &self.snapshot.reference().mof)),
            OwnField::Origin => of_layer(self.entry.layer),
            OwnField::Revision => Values::all([Value::Integer(i64::try_from(self.entry.revision).unwrap_or(i64::MAX))]),
            OwnField::Providers => {
                let providers = self.snapshot.providers_of(&self.entry.record.name);
                Values::all(providers.map(|provider| Value::text(provider.as_str())))
            }
            // What no record says, and `Ancestors`.
            _ => self.ancestors(),
        }
    }

    /// Every ancestor by name; where one is no record, it may have others.
    fn ancestors(&self) -> Values<'a> {
        let (mut list, mut lost) = (Vec::new(), false);
        let mut open = vec![&self.entry.record];
        let mut seen = Vec::new();
        while let Some(model) = open.pop() {
            for base in &model.base_models {
                let name = base.model.as_str();
                if seen.contains(&name) {
                    continue;
                }
                seen.push(name);
                list.push(Value::text(name));
                let record = match &base.model {
                    BaseRef::Record(name) => self.snapshot.model_entry(name),
                    BaseRef::Written(_) => None,
                };
                match record {
                    Some(entry) => open.push(&entry.record),
                    None => lost = true,
                }
            }
        }
        Values { list: list.into_iter().collect(), open: lost }
    }
}

impl Row<ModelField> for ModelRow<'_> {
    fn values(&self, field: ModelField) -> Values<'_> {
        let model = &self.entry.record;
        match field {
            ModelField::Own(field) => self.own(field),
            ModelField::Availability(kind) => of_part(model, kind),
            ModelField::ComponentLicense(kind) => license_of_part(model, kind),
            ModelField::Terms(field) => match self.held_terms().and_then(|held| held.get(field as usize)) {
                Some(values) => values.clone(),
                None => Values { open: true, ..Values::default() },
            },
        }
    }

    fn meets(&self, field: ModelField, wanted: &Wanted) -> Tri {
        if self.of_another_license && rests_on_license(field) {
            return Tri::Unknown;
        }
        let ModelField::Terms(field) = field else { return wanted.is_met_by(&self.values(field)) };
        match self.held_terms().and_then(|held| held.get(field as usize)) {
            Some(values) => wanted.is_met_by(values),
            None => wanted.is_met_by(&Values { open: true, ..Values::default() }),
        }
    }

    fn is_called(&self, word: &Word) -> bool {
        let called = Called::new(&self.entry.record);
        word.0.iter().all(|start| called.words().any(|word| word.starts_with(&**start)))
    }
}

/// Whether a field depends on which license the weights come under.
fn rests_on_license(field: ModelField) -> bool {
    match field {
        ModelField::Terms(_) | ModelField::ComponentLicense(ComponentKind::ModelWeights) => true,
        ModelField::Own(field) => matches!(
            field,
            OwnField::Tier
                | OwnField::MofClass
                | OwnField::LicenseExpression
                | OwnField::DeclaredLicense
                | OwnField::LicenseEvidence
        ),
        ModelField::ComponentLicense(_) | ModelField::Availability(_) => false,
    }
}

/// A license.
pub struct LicenseRow<'a>(pub &'a License);

impl Row<LicenseField> for LicenseRow<'_> {
    fn values(&self, field: LicenseField) -> Values<'_> {
        let license = self.0;
        match field {
            LicenseField::DisplayName => Values::all([Value::text(&license.display_name)]),
            LicenseField::Providers => Values::all(license.providers.iter().map(|provider| Value::text(provider))),
            LicenseField::Terms(TermsField::Id) => Values::all([Value::text(license.id.as_str())]),
            LicenseField::Terms(field) => field.of(license),
        }
    }

    fn is_called(&self, word: &Word) -> bool {
        let license = self.0;
        let words: Vec<Box<str>> =
            [license.id.as_str(), &license.display_name].into_iter().flat_map(words_of).collect();
        word.0.iter().all(|start| words.iter().any(|word| word.starts_with(&**start)))
    }
}

/// An offering.
pub struct OfferingRow<'a>(pub &'a Offering);

impl Row<OfferingField> for OfferingRow<'_> {
    fn values(&self, field: OfferingField) -> Values<'_> {
        field.of(self.0)
    }

    fn is_called(&self, word: &Word) -> bool {
        let offering = self.0;
        let names = [offering.name.provider().as_str(), offering.name.offering(), &offering.display_name];
        let words: Vec<Box<str>> = names.into_iter().flat_map(words_of).collect();
        word.0.iter().all(|start| words.iter().any(|word| word.starts_with(&**start)))
    }
}
