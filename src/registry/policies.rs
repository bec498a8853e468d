//! Policies of the organisation: kept, validated.

use super::key::Key;
use super::named::{Kept, Named, Output, Stored};
use super::{Registry, RegistryError, violation};
use crate::catalog::fields::ModelField;
use crate::catalog::{ModelPolicy, Payload, Snapshot};
use crate::convert::{self, Violation};
use crate::domain::name::{is_segment, shown};
use crate::domain::vocabulary::Vocabulary;
use crate::pb::weighbridge::storage::v1::record::Record as Kind;
use crate::pb::weighbridge::v1 as pb;
use crate::policy::Condition;

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
        let vocabulary = &snapshot.reference().vocabulary;
        let compiled = compiled(self, Self::FIELD, vocabulary).map_err(RegistryError::Invalid)?;
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

/// Compiles a policy whose words are all known.
///
/// # Errors
/// Every violation at once, under `path`.
pub(super) fn compiled(
    message: &pb::Policy,
    path: &str,
    vocabulary: &Vocabulary,
) -> Result<ModelPolicy, Vec<Violation>> {
    let compiled = convert::policy(message, path)?;
    let field = if path.is_empty() { "condition".to_owned() } else { format!("{path}.condition") };
    let unknown = unknown_categories(compiled.condition.as_ref(), vocabulary);
    let unknown: Vec<_> = unknown.into_iter().map(|text| violation(&field, text)).collect();
    if unknown.is_empty() { Ok(compiled) } else { Err(unknown) }
}

/// What is said of use categories that nobody knows: a misspelled one would never be met.
fn unknown_categories(condition: Option<&Condition<ModelField>>, vocabulary: &Vocabulary) -> Vec<String> {
    let known = &vocabulary.use_categories;
    let named = condition.into_iter().flat_map(Condition::categories);
    let told = |slug: &str| {
        let near = convert::nearest(slug, known.keys().map(|key| &**key));
        format!("`{}` is no use category{near}", shown(slug))
    };
    named.filter(|slug| !known.contains_key(*slug)).map(told).collect()
}

/// Says what is wrong with policies.
///
/// # Errors
/// There are too many.
pub fn validate_policies(
    policies: &[pb::Policy],
    vocabulary: &Vocabulary,
) -> Result<Vec<pb::PolicyProblem>, RegistryError> {
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
        match convert::compile(&message.condition) {
            Ok(condition) => {
                let unknown = unknown_categories(Some(&condition), vocabulary);
                problems.extend(unknown.into_iter().map(|text| problem("condition", 0, text)));
            }
            Err(mistakes) => problems.extend(mistakes.into_iter().map(|mistake| {
                problem("condition", i32::try_from(mistake.character).unwrap_or(i32::MAX), mistake.message)
            })),
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
