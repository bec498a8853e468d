//! Which model an id stands for.
//!
//! A staged search that stops at the first hit and **never guesses**: a wrong merge gives a wrong license. An id that
//! could be two models is ambiguous, and one that no alias explains stays unresolved; an alias settles either.

mod products;
mod rules;
#[cfg(test)]
pub(crate) mod table;
#[cfg(test)]
mod tests;

use crate::domain::alias::fold;
use crate::domain::name::{FOREIGN_ID_BYTES_MAX, ModelName};
use crate::domain::offering::MatchStage;
use rules::{Candidate, RULES};

/// The models that are known, by what they are called.
pub trait AliasIndex {
    /// The model with this `{publisher}/{model}` or this alias, letter for letter; `None` when there are several.
    fn exact(&self, alias: &str) -> Option<ModelName>;
    /// The models with an alias, a `{publisher}/{model}` or a bare name that [`fold`]s to this.
    fn folded(&self, folded: &str) -> Folded;
    /// The publisher whose organization this is, on a hub or in the ids of a provider; `None` when no table says so.
    fn publisher_of(&self, organization: &str) -> Option<Box<str>>;
}

/// What a folded alias stands for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Folded {
    /// No model.
    None,
    /// One model, by this alias as it stands in its record.
    One(ModelName, Box<str>),
    /// Several models.
    Ambiguous(Vec<ModelName>),
}

/// What an id stands for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Resolution {
    /// One model.
    Matched {
        /// The model.
        model: ModelName,
        /// The step that found it.
        stage: MatchStage,
        /// The alias as it stands in the record.
        alias: Box<str>,
    },
    /// One of several models, sorted by name; which one is not certain.
    Ambiguous(Vec<ModelName>),
    /// No known model for certain.
    Unresolved {
        /// Why, and what to do.
        reason: String,
    },
}

/// Steps of cleaning at most, and ids looked up at most: the forms seen need four steps.
const STEPS_MAX: usize = 5;
const CANDIDATES_MAX: usize = 128;

/// Resolves an id, as a provider or anyone else writes it.
///
/// `provider` is the provider that uses the id, which opens the rules that hold there. `name` is the provider's name
/// for people: it never makes a match, but one that is an alias of another model unmakes it.
pub fn resolve(index: &dyn AliasIndex, provider: Option<&str>, id: &str, name: Option<&str>) -> Resolution {
    let id = id.trim();
    if id.is_empty() || id.len() > FOREIGN_ID_BYTES_MAX {
        return unresolved(format!("an id has 1 to {FOREIGN_ID_BYTES_MAX} bytes, this one has {}", id.len()));
    }
    let found = whole(index, provider, id).or_else(|| {
        if products::is_product(provider, id) {
            return Some(unresolved(products::REASON.to_owned()));
        }
        cleaned(index, provider, id)
    });
    let found = found.unwrap_or_else(|| unresolved(no_alias(id)));
    match name {
        Some(name) => check_name(index, id, name, found),
        None => found,
    }
}

fn unresolved(reason: String) -> Resolution {
    Resolution::Unresolved { reason }
}

/// The provider before the id, which is how an alias says what a provider means by it; then the id as it stands.
fn whole(index: &dyn AliasIndex, provider: Option<&str>, id: &str) -> Option<Resolution> {
    let qualified = provider.map(|provider| format!("{provider}/{id}"));
    if let Some(found) = qualified.and_then(|alias| exact(index, &alias)) {
        return Some(found);
    }
    if products::is_moving(provider, id) {
        return Some(unresolved(products::MOVING_REASON.to_owned()));
    }
    let found = exact(index, id).or_else(|| match index.folded(&fold(id)) {
        Folded::None => None,
        Folded::One(model, alias) => Some(Resolution::Matched { model, stage: MatchStage::FoldedAlias, alias }),
        Folded::Ambiguous(models) => Some(ambiguous(models)),
    });
    found.map(|found| follow_latest(provider, id, found))
}

/// `…-latest` that leads to a dated model is what the maker's own API means by it today, and what an id without a provider
/// means. Others keep serving what it meant when they added it.
fn follow_latest(provider: Option<&str>, id: &str, found: Resolution) -> Resolution {
    let latest =
        |text: &str| text.split([':', '@']).next().is_some_and(|bare| bare.to_ascii_lowercase().ends_with("-latest"));
    match &found {
        Resolution::Matched { model, .. }
            if latest(id) && !latest(model.model()) && provider.is_some_and(|p| p != model.publisher()) =>
        {
            unresolved(products::MOVING_REASON.to_owned())
        }
        _ => found,
    }
}

fn exact(index: &dyn AliasIndex, alias: &str) -> Option<Resolution> {
    let model = index.exact(alias)?;
    let stage = if is_name(&model, alias) { MatchStage::Name } else { MatchStage::Alias };
    Some(Resolution::Matched { model, stage, alias: alias.into() })
}

fn is_name(model: &ModelName, text: &str) -> bool {
    text.split_once('/') == Some((model.publisher(), model.model()))
}

fn ambiguous(mut models: Vec<ModelName>) -> Resolution {
    models.sort();
    models.dedup();
    Resolution::Ambiguous(models)
}

/// The id cleaned by the rules, least cleaned first. The hits of as many steps must agree.
fn cleaned(index: &dyn AliasIndex, provider: Option<&str>, id: &str) -> Option<Resolution> {
    let mut seen = vec![Candidate { text: id.to_owned(), publisher: None }];
    let mut from = 0;
    for _ in 0..STEPS_MAX {
        let to = seen.len();
        one_step(index, &mut seen, from, provider)?;
        if seen.iter().skip(to).any(|candidate| products::is_moving(provider, &candidate.text)) {
            return Some(unresolved(products::MOVING_REASON.to_owned()));
        }
        let hits: Vec<_> = seen.iter().skip(to).filter_map(|candidate| look_up(index, candidate)).collect();
        if !hits.is_empty() {
            let found = agreed(hits);
            let ids = seen.iter().skip(to);
            return Some(ids.fold(found, |found, candidate| follow_latest(provider, &candidate.text, found)));
        }
        if seen.len() == to {
            return None;
        }
        from = to;
    }
    None
}

/// Adds what one more rule makes of the ids from `from` on. `None` when that is too much: half of it would not show
/// whether the hits agree.
fn one_step(index: &dyn AliasIndex, seen: &mut Vec<Candidate>, from: usize, provider: Option<&str>) -> Option<()> {
    for candidate in seen.iter().skip(from).cloned().collect::<Vec<_>>() {
        for rule in RULES.iter().filter(|rule| rule.holds_at(provider)) {
            for made in rule.apply(&candidate, index) {
                if !seen.contains(&made) {
                    seen.push(made);
                }
            }
        }
        if seen.len() > CANDIDATES_MAX {
            return None;
        }
    }
    Some(())
}

fn look_up(index: &dyn AliasIndex, candidate: &Candidate) -> Option<(Vec<ModelName>, Box<str>)> {
    let fits = |model: &ModelName| candidate.publisher.as_deref().is_none_or(|p| p == model.publisher());
    let (mut models, alias) = match index.exact(&candidate.text) {
        Some(model) => (vec![model], candidate.text.as_str().into()),
        None => match index.folded(&fold(&candidate.text)) {
            Folded::None => return None,
            Folded::One(model, alias) => (vec![model], alias),
            Folded::Ambiguous(models) => (models, candidate.text.as_str().into()),
        },
    };
    models.retain(fits);
    (!models.is_empty()).then_some((models, alias))
}

fn agreed(hits: Vec<(Vec<ModelName>, Box<str>)>) -> Resolution {
    let alias = hits.iter().map(|(_, alias)| alias).min().cloned().unwrap_or_default();
    let mut models: Vec<_> = hits.into_iter().flat_map(|(models, _)| models).collect();
    models.sort();
    models.dedup();
    match models.as_slice() {
        [model] => Resolution::Matched { model: model.clone(), stage: MatchStage::Cleaned, alias },
        _ => Resolution::Ambiguous(models),
    }
}

/// A name for people that is an alias of another model contradicts the id: then neither is believed. A name that only
/// says less than the id (`GPT-4o` for `gpt-4o-2024-11-20`) contradicts nothing.
fn check_name(index: &dyn AliasIndex, id: &str, name: &str, found: Resolution) -> Resolution {
    let Resolution::Matched { model, .. } = &found else { return found };
    // Some write the maker before the name, as in `DeepSeek: DeepSeek V3`.
    let short = name.split_once(": ").map(|(_, short)| short);
    let names = [Some(name), short].into_iter().flatten();
    let names = names.flat_map(|name| [name.to_owned(), format!("{}/{name}", model.publisher())]);
    for folded in names.map(|name| fold(&name)) {
        match index.folded(&folded) {
            Folded::One(other, _)
                if other != *model && !says_less(&folded, id) && undated(&other) != undated(model) =>
            {
                return ambiguous(vec![model.clone(), other]);
            }
            _ => {}
        }
    }
    found
}

/// The name without the date of a snapshot: a snapshot and its undated alias are one answer.
fn undated(model: &ModelName) -> &str {
    let text = model.as_str();
    match text.rsplit_once('-') {
        Some((rest, date)) if date.len() == 8 && date.starts_with("20") && date.bytes().all(|b| b.is_ascii_digit()) => {
            rest
        }
        _ => text.strip_suffix("-0").unwrap_or(text),
    }
}

fn says_less(folded_name: &str, id: &str) -> bool {
    let plain = |text: &str| text.replace(['.', '_', '@', ':', '/'], "-");
    let bare = folded_name.rsplit('/').next().unwrap_or(folded_name);
    format!("-{}-", plain(&fold(id))).contains(&format!("-{}-", plain(bare)))
}

fn no_alias(id: &str) -> String {
    let dated = id.rsplit(['-', '@']).next().is_some_and(|tail| tail.len() == 8 && tail.starts_with("20"));
    if dated && id.bytes().rev().take(8).all(|b| b.is_ascii_digit()) {
        return "a dated snapshot that no known model has as an alias: add the alias to the model it is".to_owned();
    }
    "no known model has it as an alias: add the alias to the model it is".to_owned()
}
