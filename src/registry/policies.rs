//! Policies of the organisation: kept, validated.

use super::key::Key;
use super::named::{Kept, Named, Output, Stored};
use super::{Registry, RegistryError, violation};
use crate::catalog::{Payload, Snapshot};
use crate::convert;
use crate::domain::name::{is_segment, shown};
use crate::pb::weighbridge::storage::v1::record::Record as Kind;
use crate::pb::weighbridge::v1 as pb;

/// Most policies: each is asked at every check.
pub(super) const POLICIES_MAX: usize = 1_000;

impl Named for pb::Policy {
    const WHAT: &'static str = "policy";
    const COLLECTION: &'static str = "policies";
    const FIELD: &'static str = "policy";
    const MESSAGE: &'static str = "weighbridge.v1.Policy";

    fn name(&mut self) -> &mut String {
        &mut self.name
    }

    fn set_output(&mut self, output: Option<Output>) {
        let none = Output { revision: 0, etag: String::new(), created: None, updated: None };
        let Output { revision, etag, created, updated } = output.unwrap_or(none);
        (self.revision, self.etag) = (revision, etag);
        (self.create_time, self.update_time) = (created, updated);
    }

    fn etag(&self) -> &str {
        &self.etag
    }
}

impl Kept for pb::Policy {
    fn key(id: &str) -> Key {
        Key::Policy(id.into())
    }

    fn kind(self) -> Kind {
        Kind::Policy(self)
    }

    fn of(kind: Kind) -> Option<Self> {
        if let Kind::Policy(message) = kind { Some(message) } else { None }
    }

    fn find<'a>(snapshot: &'a Snapshot, id: &str) -> Option<Stored<'a>> {
        snapshot.policy(id).map(|entry| Stored { revision: entry.revision, payload: &entry.payload })
    }

    fn page(snapshot: &Snapshot, after: Option<&str>, size: usize) -> (Vec<(u64, Payload)>, bool, usize) {
        let page = snapshot.page_policies(after, size);
        (page.entries.iter().map(|entry| (entry.revision, entry.payload.clone())).collect(), page.more, page.total)
    }

    fn ids(snapshot: &Snapshot) -> Vec<&str> {
        snapshot.policy_ids().collect()
    }

    fn validate(&self, _registry: &Registry, snapshot: &Snapshot) -> Result<(), RegistryError> {
        let compiled = convert::policy(self, Self::FIELD).map_err(RegistryError::Invalid)?;
        let known = &snapshot.reference().vocabulary.use_categories;
        let named = compiled.condition.iter().flat_map(|condition| condition.categories());
        let unknown = named.filter(|slug| !known.contains_key(*slug)).map(|slug| {
            let near = convert::nearest(slug, known.keys().map(|key| &**key));
            violation("policy.condition", format!("`{}` is no use category{near}", shown(slug)))
        });
        let unknown: Vec<_> = unknown.collect();
        if !unknown.is_empty() {
            return Err(RegistryError::Invalid(unknown));
        }
        let id = compiled.policy.name.strip_prefix("policies/").unwrap_or_default();
        if snapshot.policy(id).is_none() && snapshot.policy_set().iter().count() >= POLICIES_MAX {
            let description = format!("there are {POLICIES_MAX} policies, as many as are allowed: delete one first");
            return Err(RegistryError::Invalid(vec![violation(Self::FIELD, description)]));
        }
        Ok(())
    }

    fn check_unused(snapshot: &Snapshot, name: &str) -> Result<(), RegistryError> {
        match snapshot.waivers().find(|entry| entry.record.policy.as_deref() == Some(name)) {
            None => Ok(()),
            Some(entry) => {
                Err(RegistryError::PolicyInUse { name: name.to_owned(), waiver: entry.record.name.to_string() })
            }
        }
    }
}

/// Says what is wrong with policies.
///
/// # Errors
/// There are too many.
pub fn validate_policies(policies: &[pb::Policy]) -> Result<Vec<pb::PolicyProblem>, RegistryError> {
    check_count("policies", policies.len())?;
    let mut problems = Vec::new();
    let mut names = std::collections::BTreeSet::new();
    for (i, message) in policies.iter().enumerate() {
        let problem = |field: &str, character, description| pb::PolicyProblem {
            policy: message.name.clone(),
            field: format!("policies[{i}].{field}"),
            character,
            description,
        };
        if let Err(found) = convert::policy(message, "") {
            // Those of the condition are told with their places below.
            let found = found.into_iter().filter(|violation| violation.field != "condition");
            problems.extend(found.map(|violation| problem(&violation.field, 0, violation.description)));
        }
        for mistake in convert::compile(&message.condition).err().unwrap_or_default() {
            let character = i32::try_from(mistake.character).unwrap_or(i32::MAX);
            problems.push(problem("condition", character, mistake.message));
        }
        let is_name = message.name.strip_prefix("policies/").is_some_and(is_segment);
        if is_name && !names.insert(&message.name) {
            problems.push(problem("name", 0, format!("`{}` is there twice", message.name)));
        }
    }
    Ok(problems)
}

/// Refuses more policies than there can be.
pub(super) fn check_count(field: &str, count: usize) -> Result<(), RegistryError> {
    if count <= POLICIES_MAX {
        return Ok(());
    }
    let description = format!("it has {count} entries and {POLICIES_MAX} are allowed");
    Err(RegistryError::Invalid(vec![violation(field, description)]))
}
