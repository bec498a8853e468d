//! Waivers: recorded exceptions.

use super::key::Key;
use super::named::{Kept, Named, Output, Stored};
use super::{Registry, RegistryError, violation};
use crate::catalog::{Payload, Snapshot};
use crate::convert;
use crate::domain::name::shown;
use crate::pb::weighbridge::storage::v1::record::Record as Kind;
use crate::pb::weighbridge::v1 as pb;

impl Named for pb::Waiver {
    const WHAT: &'static str = "waiver";
    const COLLECTION: &'static str = "waivers";
    const FIELD: &'static str = "waiver";
    const MESSAGE: &'static str = "weighbridge.v1.Waiver";

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

impl Kept for pb::Waiver {
    fn key(id: &str) -> Key {
        Key::Waiver(id.into())
    }

    fn kind(self) -> Kind {
        Kind::Waiver(self)
    }

    fn of(kind: Kind) -> Option<Self> {
        if let Kind::Waiver(message) = kind { Some(message) } else { None }
    }

    fn find<'a>(snapshot: &'a Snapshot, id: &str) -> Option<Stored<'a>> {
        snapshot.waiver(id).map(|entry| Stored { revision: entry.revision, payload: &entry.payload })
    }

    fn page(snapshot: &Snapshot, after: Option<&str>, size: usize) -> (Vec<(u64, Payload)>, bool, usize) {
        let page = snapshot.page_waivers(after, size);
        (page.entries.iter().map(|entry| (entry.revision, entry.payload.clone())).collect(), page.more, page.total)
    }

    fn ids(snapshot: &Snapshot) -> Vec<&str> {
        snapshot.waivers().filter_map(|entry| entry.record.name.strip_prefix("waivers/")).collect()
    }

    fn validate(&self, registry: &Registry, snapshot: &Snapshot) -> Result<(), RegistryError> {
        let waiver = convert::waiver(self.clone(), Self::FIELD).map_err(RegistryError::Invalid)?;
        let mut violations = Vec::new();
        if let Some(license) = &waiver.license
            && snapshot.license_entry(license).is_none()
        {
            let near = convert::nearest(license.as_str(), snapshot.licenses().map(|entry| entry.record.id.as_str()));
            violations.push(violation("waiver.license", format!("`{license}` is no license with terms here{near}")));
        }
        if let Some(model) = &waiver.model
            && snapshot.model_entry(model).is_none()
        {
            violations.push(violation("waiver.model", format!("`{model}` is not known")));
        }
        if let Some(profile) = waiver.use_profile.as_deref().and_then(|name| name.strip_prefix("useProfiles/"))
            && snapshot.use_profile(profile).is_none()
        {
            let near = convert::nearest(profile, snapshot.use_profile_ids());
            violations.push(violation("waiver.use_profile", format!("`{profile}` is no use profile{near}")));
        }
        if let Some(policy) = waiver.policy.as_deref() {
            let known = policy.strip_prefix("policies/").and_then(|id| snapshot.policy(id));
            match known {
                None => {
                    let near = convert::nearest(policy, snapshot.policy_set().iter().map(|known| &*known.policy.name));
                    violations.push(violation("waiver.policy", format!("`{}` is no policy{near}", shown(policy))));
                }
                Some(entry) if entry.record.policy.is_unwaivable => {
                    violations.push(violation("waiver.policy", format!("`{policy}` says that nothing waives it")));
                }
                Some(_) => {}
            }
        }
        let categories = &snapshot.reference().vocabulary.use_categories;
        if let Some(category) = &waiver.category
            && !categories.contains_key(category)
        {
            let near = convert::nearest(category, categories.keys().map(|key| &**key));
            violations.push(violation("waiver.category", format!("`{}` is no use category{near}", shown(category))));
        }
        if waiver.expires <= (registry.clock)().as_second() {
            violations
                .push(violation("waiver.expire_time", "it is past: an exception that has ended silences nothing"));
        }
        if violations.is_empty() { Ok(()) } else { Err(RegistryError::Invalid(violations)) }
    }
}
