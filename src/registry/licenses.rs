//! Licenses: get, list, create, update, delete.

use std::sync::Arc;

use super::key::Key;
use super::list::{ListRequest, scan};
use super::models::timestamp;
use super::once::{Begun, RequestId, Turn};
use super::write::expect;
use super::{Registry, RegistryError, check_etag, records, violation};
use crate::catalog::fields::LicenseField;
use crate::catalog::{Entry, Layer, LicenseRow, Snapshot};
use crate::convert::{self, RecordError, Violation, text};
use crate::domain::eligibility::Records;
use crate::domain::license::{License, Listed, compare};
use crate::domain::name::{LicenseId, shown};
use crate::pb::weighbridge::storage::v1::record::Record as Kind;
use crate::pb::weighbridge::v1 as pb;
use crate::store::Expect;

/// A record as callers get it.
pub(super) fn message(entry: &Entry<License>) -> Result<pb::License, RecordError> {
    let (kind, times) = records::stored(&entry.payload)?;
    let Kind::License(mut message) = kind else { return Err(RecordError::Empty) };
    message.origin = records::origin(entry.layer);
    message.revision = records::wire_revision(entry.revision);
    message.etag = records::etag(entry.layer, entry.revision);
    message.create_time = times.created;
    message.update_time = times.updated;
    Ok(message)
}

/// Leaves out what only the registry says.
pub(super) fn written(mut message: pb::License) -> pb::License {
    message.origin = 0;
    message.revision = 0;
    message.etag.clear();
    message.create_time = None;
    message.update_time = None;
    message
}

/// How many licenses are put side by side.
const COMPARED_MIN: usize = 2;
const COMPARED_MAX: usize = 8;

impl Registry {
    /// Gets a license by name. An id of the SPDX list that is no record answers with what the list says of it.
    ///
    /// # Errors
    /// A bad name, or not known with near names.
    pub fn license(&self, name: &str) -> Result<pb::License, RegistryError> {
        self.license_on(&self.snapshot(), name)
    }

    /// Gets a license of a snapshot by name.
    ///
    /// # Errors
    /// As for [`Registry::license`].
    pub fn license_on(&self, snapshot: &Snapshot, name: &str) -> Result<pb::License, RegistryError> {
        let id = parse(name)?;
        match snapshot.license_entry(&id) {
            Some(entry) => Ok(message(entry)?),
            None => match Listed::find(id.as_str()) {
                Some(listed) => Ok(convert::listed_license(&listed)),
                None => Err(not_found(snapshot, id.as_str())),
            },
        }
    }

    /// Puts the terms of licenses side by side.
    ///
    /// # Errors
    /// Too few or too many names, each that is bad or not known, and those whose terms are not modelled.
    pub fn compare_licenses(&self, names: &[String]) -> Result<pb::CompareLicensesResponse, RegistryError> {
        if !(COMPARED_MIN..=COMPARED_MAX).contains(&names.len()) {
            let description =
                format!("{COMPARED_MIN} to {COMPARED_MAX} licenses are compared, here are {}", names.len());
            return Err(RegistryError::Invalid(vec![violation("names", description)]));
        }
        let mut bad = Vec::new();
        let mut ids = Vec::new();
        for (i, name) in names.iter().enumerate() {
            match LicenseId::parse(name) {
                Ok(id) => ids.push(id),
                Err(error) => bad.push(violation(&format!("names[{i}]"), error.to_string())),
            }
        }
        if !bad.is_empty() {
            return Err(RegistryError::Invalid(bad));
        }
        let snapshot = self.snapshot();
        let found = ids.iter().map(|id| match Records::license(&*snapshot, id) {
            Some(license) => Ok(license),
            None if Listed::find(id.as_str()).is_some() => Err(RegistryError::NotModelled { name: id.resource_name() }),
            None => Err(not_found(&snapshot, id.as_str())),
        });
        Ok(convert::compared_licenses(&compare(&found.collect::<Result<Vec<_>, _>>()?)))
    }

    /// Lists licenses: those for which a filter holds, in an order.
    ///
    /// # Errors
    /// Every violation at once, or a page token that is not of this list or came too late.
    pub fn list_licenses(&self, request: &ListRequest) -> Result<pb::ListLicensesResponse, RegistryError> {
        let asked = request.read::<LicenseField>()?;
        let mask = convert::read_mask("weighbridge.v1.License", &request.read_mask).map_err(RegistryError::Invalid)?;
        let start = self.start(request.bound("licenses"), request)?;
        let snapshot = &start.snapshot;
        // With the restrictions of its shared policy: a filter asks for what holds.
        let all =
            snapshot.licenses().filter_map(|entry| Some((entry, Records::license(&**snapshot, &entry.record.id)?)));
        let row = |(_, license): (_, _)| LicenseRow(license);
        let name = |(entry, _): (&Arc<Entry<License>>, _)| entry.record.id.to_string();
        let found = scan(all, &asked, start.after.as_deref(), row, name)?;
        let last = found.page.last().map(|(entry, _)| entry.record.id.to_string());
        let licenses: Result<Vec<_>, _> = found.page.iter().map(|(entry, _)| message(entry)).collect();
        Ok(pb::ListLicensesResponse {
            licenses: licenses?.into_iter().map(|license| mask.keep(license)).collect(),
            next_page_token: self.next_page(&start, last, found.more),
            total_size: i32::try_from(found.total).unwrap_or(i32::MAX),
            revision: records::wire_revision(snapshot.revision()),
        })
    }

    /// Adds a license to the operator's layer.
    ///
    /// # Errors
    /// Every violation at once, or the name is taken.
    pub async fn create_license(&self, request: pb::CreateLicenseRequest) -> Result<pb::License, RegistryError> {
        match self.begin(&RequestId::of(&request), request.validate_only).await? {
            Turn::Done(answer) => Ok(answer),
            Turn::Now(begun) => {
                let result = self.create_license_now(request, &begun).await;
                self.end(begun, result).await
            }
        }
    }

    async fn create_license_now(
        &self,
        request: pb::CreateLicenseRequest,
        begun: &Begun,
    ) -> Result<pb::License, RegistryError> {
        let pb::CreateLicenseRequest { license_id, license, validate_only: _, request_id: _ } = request;
        let Some(mut message) = license else {
            return Err(RegistryError::Invalid(vec![violation("license", "it must be set")]));
        };
        let id = LicenseId::new(&license_id)
            .map_err(|e| RegistryError::Invalid(vec![violation("license_id", e.to_string())]))?;
        let name = id.resource_name();
        if !message.name.is_empty() && message.name != name {
            let description = format!("`{}` does not agree with `license_id`", shown(&message.name));
            return Err(RegistryError::Invalid(vec![violation("license.name", description)]));
        }
        message.name = name;
        let message = written(message);
        let snapshot = self.snapshot();
        validate(&snapshot, &message)?;
        if snapshot.license_in(Layer::Operator, &id).is_some() {
            return Err(RegistryError::AlreadyExists { name: id.resource_name() });
        }
        self.write_license(&snapshot, id, message, begun).await
    }

    /// Changes a license; a built-in one is overlaid.
    ///
    /// # Errors
    /// As for creating, and an etag that does not match.
    pub async fn update_license(&self, request: pb::UpdateLicenseRequest) -> Result<pb::License, RegistryError> {
        match self.begin(&RequestId::of(&request), request.validate_only).await? {
            Turn::Done(answer) => Ok(answer),
            Turn::Now(begun) => {
                let result = self.update_license_now(request, &begun).await;
                self.end(begun, result).await
            }
        }
    }

    async fn update_license_now(
        &self,
        request: pb::UpdateLicenseRequest,
        begun: &Begun,
    ) -> Result<pb::License, RegistryError> {
        let pb::UpdateLicenseRequest { license, update_mask, allow_missing, validate_only: _, request_id: _ } = request;
        let Some(update) = license else {
            return Err(RegistryError::Invalid(vec![violation("license", "it must be set")]));
        };
        let id = LicenseId::parse(&update.name)
            .map_err(|e| RegistryError::Invalid(vec![violation("license.name", e.to_string())]))?;
        let snapshot = self.snapshot();
        let base = match snapshot.license_entry(&id) {
            Some(entry) => {
                check_etag(&update.name, &update.etag, entry.layer, entry.revision)?;
                message(entry)?
            }
            None if allow_missing => pb::License { name: id.resource_name(), ..pb::License::default() },
            None => return Err(not_found(&snapshot, id.as_str())),
        };
        let Some(descriptor) = convert::descriptor("weighbridge.v1.License") else {
            return Err(RegistryError::Closed);
        };
        let paths = update_mask.map(|mask| mask.paths).unwrap_or_default();
        let merged =
            convert::merge(&descriptor, &written(base), &written(update), &paths).map_err(RegistryError::Invalid)?;
        let merged = pb::License { name: id.resource_name(), ..merged };
        validate(&snapshot, &merged)?;
        self.write_license(&snapshot, id, merged, begun).await
    }

    async fn write_license(
        &self,
        snapshot: &Snapshot,
        id: LicenseId,
        message: pb::License,
        begun: &Begun,
    ) -> Result<pb::License, RegistryError> {
        let now = (self.clock)();
        let previous = snapshot.license_in(Layer::Operator, &id);
        if let Some(entry) = previous
            && records::stored(&entry.payload)?.0 == Kind::License(message.clone())
        {
            return Ok(self::message(entry)?);
        }
        if begun.validate_only {
            let mut message = message;
            message.origin = records::origin(Layer::Operator);
            message.update_time = Some(records::time(now));
            return Ok(message);
        }
        let created = previous.map(|entry| records::stored(&entry.payload)).transpose()?;
        let created = created.and_then(|(_, times)| times.created).map_or(now, |t| timestamp(&t, now));
        let key = Key::License(Layer::Operator, id.clone());
        let expect = unchanged(snapshot, &id);
        let revision = self.put(&key, Kind::License(message.clone()), expect, (created, now), &begun.by).await?;
        // As it was written: somebody may have changed or deleted it since.
        Ok(pb::License {
            origin: records::origin(Layer::Operator),
            revision: records::wire_revision(revision),
            etag: records::etag(Layer::Operator, revision),
            create_time: Some(records::time(created)),
            update_time: Some(records::time(now)),
            ..message
        })
    }

    /// Deletes an operator's record.
    ///
    /// # Errors
    /// Not known, built in, still used, or an etag that does not match.
    pub async fn delete_license(&self, request: pb::DeleteLicenseRequest) -> Result<(), RegistryError> {
        match self.begin(&RequestId::of(&request), request.validate_only).await? {
            Turn::Done(answer) => Ok(answer),
            Turn::Now(begun) => {
                let result = self.delete_license_now(request, &begun).await;
                self.end(begun, result).await
            }
        }
    }

    async fn delete_license_now(&self, request: pb::DeleteLicenseRequest, begun: &Begun) -> Result<(), RegistryError> {
        let pb::DeleteLicenseRequest { name, etag, validate_only: _, request_id: _ } = request;
        let snapshot = self.snapshot();
        let id = find(&snapshot, &name)?.record.id.clone();
        let Some(entry) = snapshot.license_in(Layer::Operator, &id) else {
            return Err(RegistryError::BuiltIn { name });
        };
        check_etag(&name, &etag, entry.layer, entry.revision)?;
        // Under an overlay the built-in record shows again, so nothing loses its terms.
        if snapshot.license_in(Layer::BuiltIn, &id).is_none() {
            check_unused(&snapshot, &id)?;
        }
        if !begun.validate_only {
            let expect = unchanged(&snapshot, &id);
            self.delete(&Key::License(Layer::Operator, id), expect, &begun.by).await?;
        }
        Ok(())
    }
}

/// That a license stands in each layer as a snapshot has it: an overlay is made of what is shown.
fn unchanged(snapshot: &Snapshot, id: &LicenseId) -> Vec<Expect> {
    let layers = [Layer::Operator, Layer::BuiltIn].into_iter();
    let seen = |layer| snapshot.license_in(layer, id).map(|entry| entry.revision);
    layers.map(|layer| expect(&Key::License(layer, id.clone()), seen(layer))).collect()
}

fn parse(name: &str) -> Result<LicenseId, RegistryError> {
    LicenseId::parse(name).map_err(|e| RegistryError::Invalid(vec![violation("name", e.to_string())]))
}

fn find<'a>(snapshot: &'a Snapshot, name: &str) -> Result<&'a Arc<Entry<License>>, RegistryError> {
    let id = parse(name)?;
    snapshot.license_entry(&id).ok_or_else(|| not_found(snapshot, id.as_str()))
}

/// Not known, with the nearest ids of the records and of the SPDX list.
pub(super) fn not_found(snapshot: &Snapshot, id: &str) -> RegistryError {
    let near = near_licenses(snapshot, id).into_iter().map(|id| format!("licenses/{id}")).collect();
    RegistryError::NotFound { kind: "license", name: format!("licenses/{}", shown(id)), near }
}

/// The nearest ids of the records and of the SPDX list.
pub(super) fn near_licenses<'a>(snapshot: &'a Snapshot, id: &str) -> Vec<&'a str> {
    let mut known: Vec<&str> = snapshot.licenses().map(|entry| entry.record.id.as_str()).collect();
    for listed in Listed::ids() {
        // A listed id that has no record is no help to somebody who wants to change that record.
        if listed != id {
            known.push(listed);
        }
    }
    // An id that was cut short is nearer than any misspelling.
    let begins = |known: &&&str| known.get(..id.len()).is_some_and(|start| start.eq_ignore_ascii_case(id));
    let longer: Vec<&str> = known.iter().filter(begins).copied().take(3).collect();
    if id.len() >= 3 && !longer.is_empty() { longer } else { text::nearest(id, known) }
}

pub(super) fn validate(snapshot: &Snapshot, message: &pb::License) -> Result<(), RegistryError> {
    let license = convert::license(message.clone(), "license").map_err(RegistryError::Invalid)?;
    let mut violations: Vec<Violation> = Vec::new();
    if license.id.is_unknown() {
        let description = format!("`{}` stands for a license that nobody knows: it has no terms", LicenseId::UNKNOWN);
        violations.push(violation("license.name", description));
    }
    for problem in license.problems(&snapshot.reference().vocabulary) {
        let (path, description) = problem.split_once(": ").unwrap_or(("", &problem));
        violations.push(violation(&format!("license.{path}"), description));
    }
    let policy = &license.use_policy.policy;
    if !policy.is_empty() && snapshot.use_policy(policy).is_none() {
        let near = convert::nearest(policy, snapshot.use_policies().map(|entry| &*entry.record.id));
        let description = format!("`{}` is no shared list{near}", shown(policy));
        violations.push(violation("license.use_policy.policy", description));
    }
    if violations.is_empty() { Ok(()) } else { Err(RegistryError::Invalid(violations)) }
}

fn check_unused(snapshot: &Snapshot, id: &LicenseId) -> Result<(), RegistryError> {
    let uses = |entry: &&Arc<Entry<crate::domain::model::Model>>| {
        let components = entry.record.components.iter().filter_map(|c| c.expression.as_ref());
        let bases = entry.record.base_models.iter().filter_map(|b| b.expression.as_ref());
        components.chain(bases).any(|e| e.licenses().contains(&id))
    };
    let mut users = snapshot.models().filter(uses);
    match users.next() {
        None => Ok(()),
        Some(first) => Err(RegistryError::LicenseInUse {
            name: id.resource_name(),
            models: 1 + users.count(),
            example: first.record.name.to_string(),
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::{Batch, MemoryStore, Store as _, StoreError, Write};

    #[tokio::test]
    async fn an_overlay_holds_only_on_what_it_was_made_of() {
        let store = Arc::new(MemoryStore::new());
        let registry = Registry::open(store.clone(), Arc::new(jiff::Timestamp::now)).await.unwrap();
        let id = LicenseId::parse("licenses/LicenseRef-Llama-3.3-Community").unwrap();
        let before = registry.snapshot();
        let entry = before.license_entry(&id).unwrap();
        assert_eq!(entry.layer, Layer::BuiltIn);
        // As a release does that comes with other terms.
        let key = Key::License(Layer::BuiltIn, id.clone()).bytes();
        let write = Write { key, value: Some(entry.payload.to_vec().into()) };
        let revision = store.commit(Batch::of([write])).await.unwrap();
        registry.wait_for(revision).await.unwrap();

        let overlay = pb::License { display_name: "ours".into(), ..written(message(entry).unwrap()) };
        let request = pb::UpdateLicenseRequest { license: Some(overlay.clone()), ..Default::default() };
        let Ok(Turn::Now(begun)) = registry.begin::<pb::License>(&RequestId::of(&request), false).await else {
            panic!()
        };
        let late = registry.write_license(&before, id.clone(), overlay.clone(), &begun).await;
        assert!(matches!(late, Err(RegistryError::Store(StoreError::Conflict { .. }))), "{late:?}");
        registry.write_license(&registry.snapshot(), id, overlay, &begun).await.unwrap();
    }
}
