//! Under which names publishers are known: to people, on hubs and in the ids of providers.

use std::collections::HashMap;

use super::alias::fold;
use super::name::{is_segment, shown};

/// Publishers by the names that sources write for them.
#[derive(Clone, Debug, Default)]
pub struct Publishers {
    names: HashMap<Box<str>, Box<str>>,
    organizations: HashMap<Box<str>, Box<str>>,
    on_hub: HashMap<Box<str>, Box<str>>,
}

/// A publisher with its names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Publisher {
    /// Its id, the first segment of its models' names.
    pub id: String,
    /// Name for people.
    pub display_name: String,
    /// Other names that sources write for it.
    pub aliases: Vec<String>,
    /// Its organizations on the hub.
    pub hub_organizations: Vec<String>,
    /// What stands for it in the ids of providers, besides its id and its organizations on the hub.
    pub organizations: Vec<String>,
}

impl Publishers {
    /// A table of publishers.
    ///
    /// # Errors
    /// Every problem of it: an id that is no segment, or a spelling that would name two publishers.
    pub fn new(rows: impl IntoIterator<Item = Publisher>) -> Result<Self, Vec<String>> {
        let mut problems = Vec::new();
        let mut publishers = Self::default();
        for Publisher { id, display_name, aliases, hub_organizations, organizations } in rows {
            if !is_segment(&id) {
                problems.push(format!("`{}` is no id of a publisher", shown(&id)));
            }
            for name in aliases.iter().chain([&id, &display_name]) {
                insert(&mut publishers.names, "name", name, &id, &mut problems);
            }
            for organization in organizations.iter().chain(&hub_organizations).chain([&id]) {
                insert(&mut publishers.organizations, "organization", organization, &id, &mut problems);
            }
            for organization in &hub_organizations {
                insert(&mut publishers.on_hub, "organization on the hub", organization, &id, &mut problems);
            }
        }
        if problems.is_empty() { Ok(publishers) } else { Err(problems) }
    }

    /// The publisher of an organization of a hub or of a provider's ids; `None` when no row names it.
    #[must_use]
    pub fn by_organization(&self, organization: &str) -> Option<&str> {
        self.organizations.get(&fold(organization)).map(|id| &**id)
    }

    /// The publisher of an organization of the hub: the one whose row lists it, else one of that name. `None` when it
    /// only has the spelling of a publisher: there anybody may have taken it, and an owner's word counts for more.
    #[must_use]
    pub fn on_hub(&self, organization: &str) -> Option<Box<str>> {
        let folded = fold(organization);
        match self.on_hub.get(&folded) {
            Some(id) => Some(id.clone()),
            None if self.organizations.contains_key(&folded) => None,
            None => Some(organization.to_ascii_lowercase().into()),
        }
    }

    /// The publisher of a name for people; `None` when no row names it.
    #[must_use]
    pub fn by_name(&self, name: &str) -> Option<&str> {
        self.names.get(&fold(name)).map(|id| &**id)
    }
}

fn insert(rows: &mut HashMap<Box<str>, Box<str>>, what: &str, text: &str, id: &str, problems: &mut Vec<String>) {
    let other = rows.insert(fold(text), id.into());
    if let Some(other) = other.filter(|other| **other != *id) {
        problems.push(format!("the {what} `{text}` would be that of `{other}` and of `{id}`"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_publisher_is_known_by_any_of_its_names() {
        let row = |id: &str, name: &str, alias: &str, organization: &str| Publisher {
            id: id.into(),
            display_name: name.into(),
            aliases: vec![alias.into()],
            hub_organizations: vec![organization.into()],
            organizations: vec!["z.ai".into()],
        };
        let zhipu = row("zhipuai", "Zhipu AI", "Zhipu", "zai-org");
        let publishers = Publishers::new([zhipu.clone()]).unwrap();
        for name in ["zhipuai", "ZHIPU AI", "zhipu"] {
            assert_eq!(publishers.by_name(name), Some("zhipuai"), "{name}");
        }
        assert_eq!(publishers.by_organization("ZAI-org"), Some("zhipuai"));
        assert_eq!(publishers.by_organization("zhipuai"), Some("zhipuai"));
        assert_eq!(publishers.by_organization("Z.ai"), Some("zhipuai"));
        // On the hub anybody may be called like a publisher.
        let on_hub = |organization: &str| publishers.on_hub(organization);
        assert_eq!(on_hub("ZAI-org").as_deref(), Some("zhipuai"));
        assert_eq!(on_hub("Somebody").as_deref(), Some("somebody"));
        assert_eq!((on_hub("ZhipuAI"), on_hub("z.ai")), (None, None));
        assert_eq!((publishers.by_organization("Zhipu"), publishers.by_name("zai-org")), (None, None));
        assert_eq!(Publishers::new([zhipu, row("Other", "zhipu", "x", "y")]).unwrap_err().len(), 3);
    }
}
