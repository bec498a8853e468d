//! An alias index for tests: a plain table.

use std::collections::{BTreeMap, BTreeSet};

use std::sync::LazyLock;

use super::{AliasIndex, Folded};
use crate::domain::alias::fold;
use crate::domain::name::ModelName;
use crate::domain::publisher::{Publisher, Publishers};

/// Models and their aliases.
#[derive(Debug, Default)]
pub(crate) struct Table {
    exact: BTreeMap<Box<str>, BTreeSet<ModelName>>,
    folded: BTreeMap<Box<str>, BTreeMap<ModelName, Box<str>>>,
}

impl Table {
    /// A table of `publisher/model` and further aliases.
    pub(crate) fn of(models: &[(&str, &[&str])]) -> Self {
        let mut table = Self::default();
        for (name, aliases) in models {
            let (publisher, model) = name.split_once('/').unwrap();
            let model = ModelName::new(publisher, model).unwrap();
            table.add(&model, aliases);
        }
        table
    }

    pub(crate) fn add(&mut self, model: &ModelName, aliases: &[&str]) {
        let short = format!("{}/{}", model.publisher(), model.model());
        for alias in aliases.iter().copied().chain([short.as_str()]) {
            self.exact.entry(alias.into()).or_default().insert(model.clone());
        }
        for alias in aliases.iter().copied().chain([short.as_str(), model.model()]) {
            let folded = self.folded.entry(fold(alias)).or_default();
            folded.entry(model.clone()).or_insert_with(|| alias.into());
        }
    }
}

impl AliasIndex for Table {
    fn exact(&self, alias: &str) -> Option<ModelName> {
        let models = self.exact.get(alias)?;
        (models.len() == 1).then(|| models.first().cloned())?
    }

    fn folded(&self, folded: &str) -> Folded {
        let Some(models) = self.folded.get(folded) else { return Folded::None };
        match models.first_key_value() {
            Some((model, alias)) if models.len() == 1 => Folded::One(model.clone(), alias.clone()),
            _ => Folded::Ambiguous(models.keys().cloned().collect()),
        }
    }

    fn publisher_of(&self, organization: &str) -> Option<Box<str>> {
        publishers().by_organization(organization).map(Box::from)
    }
}

/// The table that ships with the release.
fn publishers() -> &'static Publishers {
    static TABLE: LazyLock<Publishers> = LazyLock::new(|| {
        let table: toml::Table = toml::from_str(include_str!("../../../data/publishers.toml")).unwrap();
        let list = |row: &toml::Value, key: &str| -> Vec<String> {
            let items = row.get(key).and_then(toml::Value::as_array).into_iter().flatten();
            items.map(|item| item.as_str().unwrap().to_owned()).collect()
        };
        let rows = table["publishers"].as_array().unwrap().iter().map(|row| Publisher {
            id: row["id"].as_str().unwrap().to_owned(),
            display_name: row["display_name"].as_str().unwrap().to_owned(),
            aliases: list(row, "aliases"),
            hub_organizations: list(row, "hub_organizations"),
            organizations: list(row, "organizations"),
        });
        Publishers::new(rows).unwrap()
    });
    &TABLE
}
