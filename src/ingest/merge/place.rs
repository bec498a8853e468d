//! Which model each record of a source is about: a known one, a new one, or none for certain.

use std::collections::{BTreeMap, BTreeSet};

use super::Tables;
use crate::domain::alias::fold;
use crate::domain::model::BaseRef;
use crate::domain::name::{ModelName, shown};
use crate::ingest::identity::{AliasIndex, Folded};
use crate::ingest::source::DataSource;
use crate::ingest::statement::{Identity, SourceRecord};

/// Where a record belongs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// A model that was known before.
    Known(ModelName),
    /// A model that the sources' records make.
    New(ModelName),
    /// No model for certain.
    None {
        /// Why, and what to do.
        reason: String,
    },
}

impl Place {
    /// The model.
    #[must_use]
    pub fn model(&self) -> Option<&ModelName> {
        match self {
            Self::Known(model) | Self::New(model) => Some(model),
            Self::None { .. } => None,
        }
    }
}

/// Where each record belongs, and the models they make.
#[derive(Debug, Default)]
pub struct Places {
    /// One a record, in the order given.
    pub places: Vec<Place>,
    /// Ids of the new models as written, for the alias index.
    pub aliases: BTreeMap<ModelName, BTreeSet<Box<str>>>,
    /// New models by publisher and folded name.
    by_name: BTreeMap<(Box<str>, Box<str>), BTreeSet<ModelName>>,
    /// New models by folded repository or key.
    by_id: BTreeMap<Box<str>, BTreeSet<ModelName>>,
}

/// Places records. Those whose ids are certain go first, so that a record that only has a name finds the models they
/// make; within that, the order of sources and ids decides, not that of the slice.
#[must_use]
pub fn place(index: &dyn AliasIndex, tables: &Tables<'_>, records: &[SourceRecord]) -> Places {
    let mut order: Vec<usize> = (0..records.len()).collect();
    let key = |at: &usize| records.get(*at).map(|record| (record.source, &record.id));
    order.sort_by(|a, b| key(a).cmp(&key(b)));
    let certain = |at: &usize| records.get(*at).is_some_and(|record| has_ids(&believed(tables, record)));
    let mut places = Places { places: vec![Place::None { reason: String::new() }; records.len()], ..Places::default() };
    for at in order.iter().filter(|at| certain(at)).chain(order.iter().filter(|at| !certain(at))) {
        let Some(record) = records.get(*at) else { continue };
        let found = places.one(index, tables, record);
        if let Some(place) = places.places.get_mut(*at) {
            *place = found;
        }
    }
    places
}

/// The identity of a record without a repository whose owner is not known, or that is another model's than the name
/// says: data sets that are kept by hand link to the wrong size, to the base, or to another maker's model.
fn believed(tables: &Tables<'_>, record: &SourceRecord) -> Identity {
    let mut identity = record.identity.clone();
    identity.repositories.retain(|repository| taken(tables, repository).is_none());
    match record.source {
        DataSource::Mot | DataSource::Osai | DataSource::Comparia => {
            // The name of the file too: one is called after the model it links to, and holds another's name.
            let names = [std::slice::from_ref(&record.id), &*record.identity.names].concat();
            identity.repositories.retain(|repository| names.iter().any(|name| says_the_same(name, repository)));
        }
        // The repository is the record's own id, or the key says which model it is.
        DataSource::Curated
        | DataSource::ModelCard
        | DataSource::ModelsDevCatalog
        | DataSource::Epoch
        | DataSource::ModelsDev => {}
    }
    identity
}

/// The organization of a repository that only has the spelling of a publisher, so that whose it is is not known.
fn taken<'a>(tables: &Tables<'_>, repository: &'a str) -> Option<&'a str> {
    let (organization, _) = repository.split_once('/')?;
    (tables.publisher_on_hub)(organization).is_none().then_some(organization)
}

/// Words that one of two names of a model has and the other leaves out.
const SAYS_NOTHING: &[&str] = &["hf", "llm", "model", "weights"];

/// Last words of a repository, before a month's number, which a name for people leaves out: the tuned version is the one
/// that people meet.
const TUNED: &[&str] = &["chat", "instruct", "it"];

/// Whether a name and the last part of a repository are one, but for the owner before it and words that say nothing.
fn says_the_same(name: &str, repository: &str) -> bool {
    let (owner, last) = repository.rsplit_once('/').unwrap_or(("", repository));
    let owner = words(owner);
    let (ours, theirs) = (without_owner(words(name), &owner), without_owner(words(last), &owner));
    let month = theirs.last().is_some_and(|word| word.len() == 4 && word.bytes().all(|b| b.is_ascii_digit()));
    let undated = theirs.get(..theirs.len() - usize::from(month)).unwrap_or_default();
    let untuned = undated.split_last().filter(|(last, _)| TUNED.contains(&&***last)).map(|(_, rest)| rest);
    let said = ours.concat();
    !said.is_empty() && (said == theirs.concat() || untuned.is_some_and(|rest| said == rest.concat()))
}

fn without_owner(mut words: Vec<String>, owner: &[String]) -> Vec<String> {
    words.retain(|word| !SAYS_NOTHING.contains(&&**word));
    let joined = owner.concat();
    while words.len() > 1 && words.first().is_some_and(|word| owner.contains(word) || joined.starts_with(&**word)) {
        words.remove(0);
    }
    words
}

/// Its words in lower case: letters, numbers and the dots between two digits.
fn words(text: &str) -> Vec<String> {
    let text = dotted(text);
    let text = text.split(|c: char| !c.is_alphanumeric() && c != '.').map(|word| word.trim_matches('.').to_lowercase());
    text.filter(|word| !word.is_empty()).collect()
}

fn has_ids(identity: &Identity) -> bool {
    !identity.repositories.is_empty() || !identity.keys.is_empty()
}

impl Places {
    fn one(&mut self, index: &dyn AliasIndex, tables: &Tables<'_>, record: &SourceRecord) -> Place {
        let identity = &believed(tables, record);
        // A key says which model a record is about; the weights it links to can be another's.
        let of_ids =
            |ids: &[Box<str>]| -> BTreeSet<ModelName> { ids.iter().flat_map(|id| by_id(index, tables, id)).collect() };
        let mut known = if has_ids(identity) { of_ids(&identity.keys) } else { by_names(index, tables, identity) };
        if known.is_empty() {
            known = of_ids(&identity.repositories);
        }
        match known.iter().collect::<Vec<_>>().as_slice() {
            [] => {}
            [model] => return Place::Known((*model).clone()),
            several => return ambiguous(several),
        }
        let made =
            if has_ids(identity) { self.made_by_id(tables, identity) } else { self.made_by_name(tables, identity) };
        match made.iter().collect::<Vec<_>>().as_slice() {
            [] => {}
            [model] => {
                let model = (*model).clone();
                self.remember(tables, &model, identity);
                return Place::New(model);
            }
            several => return ambiguous(several),
        }
        if !record.source.makes_models() {
            return none("no known model is called so: its source tells too little to make one");
        }
        match name_of(tables, identity, |model| self.is_free(index, model)) {
            Ok(model) => {
                self.remember(tables, &model, identity);
                Place::New(model)
            }
            Err(reason) => {
                let taken = record.identity.repositories.iter().find_map(|repository| taken(tables, repository));
                let reason = taken.map_or(reason, |organization| {
                    let organization = shown(organization);
                    format!(
                        "whose organization `{organization}` is on the hub is not known, though a publisher is called so: \
                         list it under `hub_organizations` in `publishers.toml`"
                    )
                });
                Place::None { reason }
            }
        }
    }

    /// Whether no model has a name: one with other ids would be merged with it.
    fn is_free(&self, index: &dyn AliasIndex, model: &ModelName) -> bool {
        let own = format!("{}/{}", model.publisher(), model.model());
        !self.aliases.contains_key(model) && index.exact(&own).is_none() && index.folded(&fold(&own)) == Folded::None
    }

    fn made_by_id(&self, tables: &Tables<'_>, identity: &Identity) -> BTreeSet<ModelName> {
        let of_ids = |ids: &[Box<str>]| -> BTreeSet<ModelName> {
            let spellings = ids.iter().flat_map(|id| spellings(tables, id)).map(|id| fold(&id));
            spellings.filter_map(|id| self.by_id.get(&id)).flatten().cloned().collect()
        };
        let by_key = of_ids(&identity.keys);
        if by_key.is_empty() { of_ids(&identity.repositories) } else { by_key }
    }

    fn made_by_name(&self, tables: &Tables<'_>, identity: &Identity) -> BTreeSet<ModelName> {
        let mut found = BTreeSet::new();
        for publisher in publishers(tables, identity) {
            for name in &identity.names {
                found.extend(self.by_name.get(&(publisher.clone(), fold(name))).into_iter().flatten().cloned());
            }
        }
        found
    }

    fn remember(&mut self, tables: &Tables<'_>, model: &ModelName, identity: &Identity) {
        let aliases = self.aliases.entry(model.clone()).or_default();
        aliases.extend(identity.repositories.iter().chain(&identity.keys).cloned());
        aliases.extend(bare_keys(identity));
        let own = format!("{}/{}", model.publisher(), model.model());
        for id in identity.repositories.iter().chain(&identity.keys).map(|id| fold(id)).chain([fold(&own)]) {
            self.by_id.entry(id).or_default().insert(model.clone());
        }
        for id in identity.repositories.iter().flat_map(|repository| spellings(tables, repository)) {
            self.by_id.entry(fold(&id)).or_default().insert(model.clone());
        }
        let names = identity.names.iter().map(|name| fold(name)).chain([fold(model.model())]);
        for name in names.collect::<BTreeSet<_>>() {
            self.by_name.entry((model.publisher().into(), name)).or_default().insert(model.clone());
        }
    }
}

/// The known models with a repository or key, as it stands or under the publisher whose organization it is.
fn by_id(index: &dyn AliasIndex, tables: &Tables<'_>, id: &str) -> Vec<ModelName> {
    for id in spellings(tables, id) {
        if let Some(model) = index.exact(&id) {
            return vec![model];
        }
        match index.folded(&fold(&id)) {
            Folded::None => {}
            Folded::One(model, _) => return vec![model],
            Folded::Ambiguous(models) => return models,
        }
    }
    Vec::new()
}

/// The last part of each key: the maker's own id, by which many providers sell the model.
pub(super) fn bare_keys(identity: &Identity) -> impl Iterator<Item = Box<str>> + '_ {
    identity.keys.iter().filter_map(|key| key.split_once('/')).map(|(_, model)| model.into())
}

/// An id as it stands, under its publisher, and with a dot for the `_` that the hub wants between digits.
fn spellings(tables: &Tables<'_>, id: &str) -> Vec<String> {
    let of_publisher = of_publisher(tables, id);
    let dotted = dotted(&of_publisher);
    vec![id.to_owned(), of_publisher, dotted]
}

/// `3_3` → `3.3`.
fn dotted(text: &str) -> String {
    let bytes = text.as_bytes();
    let digit = |at: Option<usize>| at.and_then(|at| bytes.get(at)).is_some_and(u8::is_ascii_digit);
    let mark =
        |(at, c): (usize, char)| if c == '_' && digit(at.checked_sub(1)) && digit(Some(at + 1)) { '.' } else { c };
    text.char_indices().map(mark).collect()
}

/// A repository under the id of the publisher whose organization it is in; a key as it stands.
fn of_publisher(tables: &Tables<'_>, id: &str) -> String {
    let under = id.split_once('/').and_then(|(organization, name)| {
        (tables.publisher_on_hub)(organization).map(|publisher| format!("{publisher}/{name}"))
    });
    under.unwrap_or_else(|| id.to_owned())
}

/// The known models with a name, of one of the publishers that the record states.
fn by_names(index: &dyn AliasIndex, tables: &Tables<'_>, identity: &Identity) -> BTreeSet<ModelName> {
    let publishers = publishers(tables, identity);
    let mut found = BTreeSet::new();
    for name in &identity.names {
        // A name may be known by itself, or as the id that it is of its publisher.
        let ids = publishers.iter().map(|publisher| format!("{publisher}/{name}")).chain([name.to_string()]);
        let hits = ids.flat_map(|id| match index.folded(&fold(&id)) {
            Folded::None => Vec::new(),
            Folded::One(model, _) => vec![model],
            Folded::Ambiguous(models) => models,
        });
        found.extend(hits.filter(|model| publishers.iter().any(|publisher| **publisher == *model.publisher())));
    }
    found
}

fn publishers(tables: &Tables<'_>, identity: &Identity) -> Vec<Box<str>> {
    identity.publishers.iter().filter_map(|name| (tables.publisher_by_name)(name)).collect()
}

/// The name of a new model: its repository's, its key, or the publisher's id and the name for people. It is not that of
/// another model.
fn name_of(
    tables: &Tables<'_>,
    identity: &Identity,
    is_free: impl Fn(&ModelName) -> bool,
) -> Result<ModelName, String> {
    let named = |publisher: &str, name: &str| {
        ModelName::new(publisher, &name.to_ascii_lowercase()).map_err(|error| error.to_string())
    };
    let key = identity.keys.first().and_then(|key| key.split_once('/'));
    let repository = identity.repositories.first().and_then(|id| id.split_once('/'));
    let by_repository = repository.and_then(|(organization, name)| {
        let publisher = key.map_or_else(|| (tables.publisher_on_hub)(organization), |(lab, _)| Some(lab.into()))?;
        Some(named(&publisher, name))
    });
    let by_key = key.map(|(lab, name)| named(lab, name));
    if let Some(first) = by_repository.iter().chain(&by_key).next() {
        let free = [by_repository.as_ref(), by_key.as_ref()].into_iter().flatten().flatten().find(|name| is_free(name));
        return match (free, first) {
            (Some(free), _) => Ok(free.clone()),
            (None, Ok(first)) => {
                Err(format!("its name would be that of {first}, which has other ids: add an alias to that"))
            }
            (None, Err(error)) => Err(error.clone()),
        };
    }
    let Some(name) = identity.names.first() else {
        return Err("it names no repository and no model".to_owned());
    };
    let Some(publisher) = publishers(tables, identity).into_iter().next() else {
        let given = identity.publishers.first().map_or("nobody", |publisher| publisher);
        return Err(format!("its publisher `{}` is none that is known: add it to `publishers.toml`", shown(given)));
    };
    let segment: String = name.to_lowercase().split_whitespace().collect::<Vec<_>>().join("-");
    let model = ModelName::new(&publisher, &segment)
        .map_err(|_| format!("its name `{}` can not be an id, and it names no repository", shown(name)))?;
    if is_free(&model) {
        return Ok(model);
    }
    Err(format!("its name would be that of {model}, which is called otherwise: add an alias to that"))
}

/// Only an id that says whose the model is, or an alias that a record states, stands for one: a bare name may be
/// anybody's.
pub(super) fn resolve_base(index: &dyn AliasIndex, tables: &Tables<'_>, places: &Places, name: &str) -> BaseRef {
    let id = crate::ingest::hub::repository_of(name).unwrap_or_else(|| name.into());
    if taken(tables, &id).is_some() {
        return BaseRef::Written(id);
    }
    let is_bare = !id.contains('/');
    let exact = if is_bare { None } else { index.exact(&id) };
    let known = exact.or_else(|| match index.folded(&fold(&id)) {
        Folded::One(model, alias) => (!is_bare || *alias != *model.model()).then_some(model),
        Folded::None | Folded::Ambiguous(_) => None,
    });
    let made = || match places.by_id.get(&fold(&id)).map(|models| models.iter().collect::<Vec<_>>()) {
        Some(models) => match models.as_slice() {
            [model] => Some((*model).clone()),
            _ => None,
        },
        None => None,
    };
    known.or_else(made).map_or_else(|| BaseRef::Written(id), BaseRef::Record)
}

fn ambiguous(models: &[&ModelName]) -> Place {
    let names: Vec<_> = models.iter().map(|model| model.as_str()).collect();
    none(&format!("it may be any of {}: add an alias to the one it is", names.join(", ")))
}

fn none(reason: &str) -> Place {
    Place::None { reason: reason.to_owned() }
}
