//! Use profiles: named sets of facts.

use super::key::Key;
use super::named::{Kept, Named, Output, Stored};
use super::{Registry, RegistryError};
use crate::catalog::{Payload, Snapshot};
use crate::convert;
use crate::pb::weighbridge::storage::v1::record::Record as Kind;
use crate::pb::weighbridge::v1 as pb;

impl Named for pb::UseProfile {
    const WHAT: &'static str = "use profile";
    const COLLECTION: &'static str = "useProfiles";
    const FIELD: &'static str = "use_profile";
    const MESSAGE: &'static str = "weighbridge.v1.UseProfile";

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

impl Kept for pb::UseProfile {
    fn key(id: &str) -> Key {
        Key::UseProfile(id.into())
    }

    fn kind(self) -> Kind {
        Kind::UseProfile(self)
    }

    fn of(kind: Kind) -> Option<Self> {
        if let Kind::UseProfile(message) = kind { Some(message) } else { None }
    }

    fn find<'a>(snapshot: &'a Snapshot, id: &str) -> Option<Stored<'a>> {
        snapshot.use_profile(id).map(|entry| Stored { revision: entry.revision, payload: &entry.payload })
    }

    fn page(snapshot: &Snapshot, after: Option<&str>, size: usize) -> (Vec<(u64, Payload)>, bool, usize) {
        let page = snapshot.page_use_profiles(after, size);
        (page.entries.iter().map(|entry| (entry.revision, entry.payload.clone())).collect(), page.more, page.total)
    }

    fn ids(snapshot: &Snapshot) -> Vec<&str> {
        snapshot.use_profile_ids().collect()
    }

    fn validate(&self, _registry: &Registry, snapshot: &Snapshot) -> Result<(), RegistryError> {
        Ok(convert::check_use_profile(self, &snapshot.reference().vocabulary, Self::FIELD)?)
    }

    fn check_unused(snapshot: &Snapshot, name: &str) -> Result<(), RegistryError> {
        let uses = |entry: &&std::sync::Arc<crate::catalog::Entry<crate::domain::eligibility::Waiver>>| {
            entry.record.use_profile.as_deref() == Some(name)
        };
        let by_waiver = snapshot.waivers().find(uses).map(|entry| entry.record.name.to_string());
        let by_deployment = || {
            let read = snapshot.deployments().filter_map(|(id, _)| super::deployments::read(snapshot, id).ok()?);
            read.into_iter().find(|deployment| deployment.use_profile == name).map(|deployment| deployment.name)
        };
        match by_waiver.or_else(by_deployment) {
            None => Ok(()),
            Some(by) => Err(RegistryError::UseProfileInUse { name: name.to_owned(), by }),
        }
    }
}

impl Registry {
    /// The facts of a profile, by its resource name; none for an empty one.
    ///
    /// # Errors
    /// A bad name, or not known with near names.
    pub fn profile_facts(&self, snapshot: &Snapshot, name: &str) -> Result<Option<pb::Use>, RegistryError> {
        if name.is_empty() {
            return Ok(None);
        }
        let profile: pb::UseProfile = Self::named_on(snapshot, "use_profile", name)?;
        Ok(Some(profile.r#use.unwrap_or_default()))
    }
}
