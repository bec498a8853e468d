//! Providers and offerings: get and list.

use std::sync::Arc;

use super::list::{ListRequest, scan};
use super::page::{PageRequest, token};
use super::resolve::{Resolved, resolve};
use super::{Registry, RegistryError, records, violation};
use crate::catalog::fields::OfferingField;
use crate::catalog::{Entry, OfferingRow, Snapshot};
use crate::convert::{self, RecordError, text};
use crate::domain::name::{OfferingName, ProviderId, shown};
use crate::domain::offering::{Offering, Provider};
use crate::pb::weighbridge::storage::v1::record::Record as Kind;
use crate::pb::weighbridge::v1 as pb;

fn provider_message(snapshot: &Snapshot, entry: &Entry<Provider>) -> Result<pb::Provider, RecordError> {
    let (kind, times) = records::stored(&entry.payload)?;
    let Kind::Provider(mut message) = kind else { return Err(RecordError::Empty) };
    let terms = snapshot.service_terms_of(entry.record.id.as_str());
    message.service_terms = terms.iter().map(ToString::to_string).collect();
    message.offering_count = i32::try_from(snapshot.offerings_of(&entry.record.id)).unwrap_or(i32::MAX);
    message.origin = records::origin(entry.layer);
    message.revision = records::wire_revision(entry.revision);
    message.etag = records::etag(entry.layer, entry.revision);
    message.update_time = times.updated;
    Ok(message)
}

fn offering_row(entry: &Arc<Entry<Offering>>) -> OfferingRow<'_> {
    OfferingRow(&entry.record)
}

pub(super) fn offering_message(entry: &Entry<Offering>) -> Result<pb::Offering, RecordError> {
    let (kind, times) = records::stored(&entry.payload)?;
    let Kind::Offering(mut message) = kind else { return Err(RecordError::Empty) };
    message.origin = records::origin(entry.layer);
    message.revision = records::wire_revision(entry.revision);
    message.etag = records::etag(entry.layer, entry.revision);
    message.update_time = times.updated;
    Ok(message)
}

impl Registry {
    /// Gets a provider by name.
    ///
    /// # Errors
    /// A bad name, or not known with near names.
    pub fn provider(&self, name: &str) -> Result<pb::Provider, RegistryError> {
        let id = ProviderId::parse(name).map_err(|e| RegistryError::Invalid(vec![violation("name", e.to_string())]))?;
        let snapshot = self.snapshot();
        let entry = snapshot.provider(&id).ok_or_else(|| provider_not_found(&snapshot, id.as_str()))?;
        Ok(provider_message(&snapshot, entry)?)
    }

    /// Lists providers by name.
    ///
    /// # Errors
    /// A bad page size or page token.
    pub fn list_providers(&self, page: &PageRequest) -> Result<pb::ListProvidersResponse, RegistryError> {
        const LIST: &str = "providers";
        let size = page.size()?;
        let after = page.after(LIST)?.map(|id| ProviderId::new(&id)).transpose();
        let after = after.map_err(|_| RegistryError::PageToken)?;
        let snapshot = self.snapshot();
        let found = snapshot.page_providers(after.as_ref(), size);
        let last = found.entries.last().map(|entry| entry.record.id.to_string());
        let providers: Result<Vec<_>, _> =
            found.entries.iter().map(|entry| provider_message(&snapshot, entry)).collect();
        Ok(pb::ListProvidersResponse {
            providers: providers?,
            next_page_token: token(LIST, last, found.more),
            total_size: i32::try_from(found.total).unwrap_or(i32::MAX),
        })
    }

    /// Gets an offering by name.
    ///
    /// # Errors
    /// A bad name, or not known with near names.
    pub fn offering(&self, name: &str) -> Result<pb::Offering, RegistryError> {
        let parsed =
            OfferingName::parse(name).map_err(|e| RegistryError::Invalid(vec![violation("name", e.to_string())]))?;
        let snapshot = self.snapshot();
        match snapshot.offering(&parsed) {
            Some(entry) => Ok(offering_message(entry)?),
            None if snapshot.provider(parsed.provider()).is_none() => {
                Err(provider_not_found(&snapshot, parsed.provider().as_str()))
            }
            None => {
                let siblings = snapshot.offerings().map(|entry| &entry.record.name);
                let ids = siblings.filter(|n| n.provider() == parsed.provider()).map(OfferingName::offering);
                let near = text::nearest(parsed.offering(), ids);
                let resource =
                    |id: &str| OfferingName::new(parsed.provider().clone(), id).map(|name| name.resource_name()).ok();
                let near = near.into_iter().filter_map(resource).collect();
                Err(RegistryError::NotFound { kind: "offering", name: shown(name), near })
            }
        }
    }

    /// Lists offerings: those of a provider, of a model, or all, for which a filter holds, in an order.
    ///
    /// # Errors
    /// Every violation at once, a page token that is not of this list or came too late, or a model that is not known.
    pub fn list_offerings(
        &self,
        parent: &str,
        model: &str,
        request: &ListRequest,
    ) -> Result<pb::ListOfferingsResponse, RegistryError> {
        let provider = match parent {
            "" | "providers/-" => None,
            name => Some(
                ProviderId::parse(name)
                    .map_err(|e| RegistryError::Invalid(vec![violation("parent", e.to_string())]))?,
            ),
        };
        let snapshot = self.snapshot();
        let wanted_model = match model {
            "" => None,
            id => match resolve(&snapshot, id)? {
                Resolved::Model { entry, .. } => Some(entry.record.name.clone()),
                Resolved::Unresolved(_) => {
                    let description = format!("`{}` is an offering whose model is not known", shown(id));
                    return Err(RegistryError::Invalid(vec![violation("model", description)]));
                }
            },
        };
        let asked = wanted_model.as_ref().map_or("", |m| m.as_str());
        let read = request.read::<OfferingField>()?;
        let mask = convert::read_mask("weighbridge.v1.Offering", &request.read_mask).map_err(RegistryError::Invalid)?;
        let list = format!("offerings\n{}\n{asked}", provider.as_ref().map_or("-", |p| p.as_str()));
        let start = self.start(request.bound(&list), request)?;
        let all = start.snapshot.offerings().filter(|entry| {
            let record = &entry.record;
            provider.as_ref().is_none_or(|p| record.name.provider() == p)
                && wanted_model.as_ref().is_none_or(|m| record.model.as_ref() == Some(m))
        });
        let row = offering_row;
        let name = |entry: &Arc<Entry<Offering>>| entry.record.name.resource_name();
        let found = scan(all, &read, start.after.as_deref(), row, name)?;
        let last = found.page.last().map(|entry| entry.record.name.resource_name());
        let offerings: Result<Vec<_>, _> = found.page.iter().map(|entry| offering_message(entry)).collect();
        Ok(pb::ListOfferingsResponse {
            offerings: offerings?.into_iter().map(|offering| mask.keep(offering)).collect(),
            next_page_token: self.next_page(&start, last, found.more),
            total_size: i32::try_from(found.total).unwrap_or(i32::MAX),
            revision: records::wire_revision(start.snapshot.revision()),
        })
    }
}

fn provider_not_found(snapshot: &Snapshot, id: &str) -> RegistryError {
    let near = text::nearest(id, snapshot.providers().map(|entry| entry.record.id.as_str()));
    let near: Vec<String> = near.into_iter().map(|id| format!("providers/{id}")).collect();
    RegistryError::NotFound { kind: "provider", name: convert::provider_name(id), near }
}
