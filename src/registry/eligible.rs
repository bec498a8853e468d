//! Which models may be used as described: the check, over all of them.

use std::collections::BTreeMap;
use std::collections::HashMap;
use std::sync::Arc;

use roaring::RoaringBitmap;

use super::check::{check_lists, waivers};
use super::list::{ListRequest, Start};
use super::models::{parent_of, selected};
use super::{Registry, RegistryError, present};
use crate::catalog::fields::ModelField;
use crate::catalog::index::Group;
use crate::catalog::{Entry, Snapshot};
use crate::convert::{self, EligibleRequest};
use crate::domain::date::Date;
use crate::domain::eligibility::{
    Decision, Hosting, Present, Records as _, Requirements, Use, Verdict, Waivers, evaluate, verdict,
};
use crate::domain::model::Model;
use crate::domain::name::ModelName;
use crate::pb::weighbridge::v1 as pb;

impl Registry {
    /// Lists the models for which the check gives one of the verdicts asked for, in an order. Every model is judged.
    ///
    /// # Errors
    /// Every violation at once, or a page token that is not of this list or came too late.
    pub fn eligible_models(
        &self,
        snapshot: &Arc<Snapshot>,
        request: &EligibleRequest,
        parent: &str,
        list: &ListRequest,
    ) -> Result<pb::ListEligibleModelsResponse, RegistryError> {
        self.check_complete()?;
        let publisher = parent_of(parent)?;
        let read = list.read::<ModelField>()?;
        let asked = &request.asked;
        check_lists(snapshot, &asked.use_)?;
        let bound = list.bound(&format!(
            "eligible\n{parent}\n{:?}\n{}\n{:?}\n{:?}",
            request.verdicts, asked.use_profile, asked.at, asked.use_
        ));
        let start = self.start(bound, list)?;
        // A first page is answered from the revision that was waited for.
        let start = if start.after.is_none() { Start { snapshot: snapshot.clone(), ..start } } else { start };
        let snapshot = &start.snapshot;
        let rows = selected(snapshot, publisher.as_deref(), read.query.as_ref())?;
        // Every page is judged at the time of the first.
        let (second, after) = match start.after.as_deref().map(|after| after.split_once(' ')) {
            None => ((self.clock)().as_second(), None),
            Some(Some((second, name))) => (time_of(second)?, Some(name)),
            Some(None) => return Err(RegistryError::PageToken),
        };
        let at = asked.at.unwrap_or(second);
        let present = present(snapshot, at);
        let judge = Judge { snapshot, use_: &asked.use_, profile: &asked.use_profile, present, at };
        let judged = judge.all(&rows);
        let wanted = request.verdicts.iter().filter_map(|verdict| judged.get(verdict));
        let wanted = wanted.fold(RoaringBitmap::new(), |all, rows| all | rows);
        let after = after.map(ModelName::parse).transpose();
        let after = after.map_err(|_| RegistryError::PageToken)?;
        let after = after.map(|name| snapshot.model_entry(&name).ok_or(RegistryError::PageToken)).transpose()?;
        let mut found = snapshot.ordered_models(&wanted, &read.order, after, read.size.saturating_add(1));
        let more = found.len() > read.size;
        found.truncate(read.size);
        let last = found.last().map(|entry| format!("{second} {}", entry.record.name));
        let models = found.iter().map(|entry| judge.decided(entry)).collect();
        Ok(pb::ListEligibleModelsResponse {
            models,
            next_page_token: self.next_page(&start, last, more),
            total_size: i32::try_from(wanted.len()).unwrap_or(i32::MAX),
            verdict_counts: judged
                .iter()
                .map(|(verdict, rows)| {
                    convert::verdict_count(*verdict, usize::try_from(rows.len()).unwrap_or(usize::MAX))
                })
                .collect(),
            revision: i64::try_from(snapshot.revision()).unwrap_or(i64::MAX),
            complete: true,
        })
    }
}

/// One use, held against many models.
pub(super) struct Judge<'a> {
    pub(super) snapshot: &'a Snapshot,
    pub(super) use_: &'a Use,
    pub(super) profile: &'a str,
    pub(super) present: Present,
    pub(super) at: i64,
}

impl Judge<'_> {
    /// Rows by verdict. Models that share all that a verdict depends on are judged once.
    pub(super) fn all(&self, rows: &RoaringBitmap) -> BTreeMap<Verdict, RoaringBitmap> {
        let index = self.snapshot.model_index();
        let mut judged: BTreeMap<Verdict, RoaringBitmap> = BTreeMap::new();
        // A policy may ask for anything that a model is.
        let has_policies = !self.snapshot.policy_set().is_empty();
        let alone = if has_policies || self.asks_of_the_model() { rows.clone() } else { self.waived_by_name() & rows };
        for group in index.groups() {
            let shared = group.among(rows) - &alone;
            for (verdict, rows) in self.group(group, shared) {
                *judged.entry(verdict).or_default() |= rows;
            }
        }
        for row in alone {
            let Some(entry) = index.entry(row) else { continue };
            judged.entry(self.verdict(entry)).or_default().insert(row);
        }
        judged
    }

    /// Whether the use asks for what models with the same terms may differ in.
    fn asks_of_the_model(&self) -> bool {
        let Requirements { license_allow, license_deny, .. } = &self.use_.requirements;
        let lists = Requirements {
            license_allow: license_allow.clone(),
            license_deny: license_deny.clone(),
            ..Requirements::default()
        };
        self.use_.requirements != lists
    }

    /// Models that a waiver names.
    fn waived_by_name(&self) -> RoaringBitmap {
        let named = self.snapshot.waivers().filter_map(|entry| entry.record.model.as_ref());
        named.filter_map(|name| self.snapshot.model_index().row(name.as_str())).collect()
    }

    /// Judges a group; what its models may still differ in parts it.
    fn group(&self, group: &Group, rows: RoaringBitmap) -> Vec<(Verdict, RoaringBitmap)> {
        let index = self.snapshot.model_index();
        let by_vendor = self.use_.hosting == Some(Hosting::VendorApi);
        if !by_vendor && !group.by_release() {
            let first = rows.min().and_then(|row| index.entry(row));
            return first.map(|entry| (self.verdict(entry), rows)).into_iter().collect();
        }
        let mut parts: HashMap<(Option<&str>, bool, Option<Date>), RoaringBitmap> = HashMap::new();
        for row in &rows {
            let Some(entry) = index.entry(row) else { continue };
            let model = &entry.record;
            let provider = self.use_.provider.as_ref().map(|provider| provider.as_str());
            let served = provider.is_some_and(|provider| self.snapshot.is_served(provider, &model.name));
            let publisher = by_vendor.then(|| model.name.publisher());
            // Terms of a vendor's service can be measured at a model's release as well.
            let released = model.release_date.filter(|_| by_vendor || group.by_release());
            parts.entry((publisher, served, released)).or_default().insert(row);
        }
        let judged = parts.into_values().filter_map(|rows| {
            let first = rows.min().and_then(|row| index.entry(row))?;
            Some((self.verdict(first), rows))
        });
        judged.collect()
    }

    pub(super) fn verdict(&self, entry: &Entry<Model>) -> Verdict {
        let concerning = waivers(self.snapshot, &entry.record.name, self.profile);
        let waivers = Waivers { list: &concerning, at: self.at };
        verdict(self.snapshot, &entry.record, self.use_, self.present, waivers)
    }

    fn decided(&self, entry: &Entry<Model>) -> pb::EligibleModel {
        self.evaluated(entry, |decision| convert::eligible_model(decision, entry.record.name.as_str()))
    }

    /// Hands on the decision on a model.
    pub(super) fn evaluated<R>(&self, entry: &Entry<Model>, then: impl FnOnce(&Decision<'_>) -> R) -> R {
        let concerning = waivers(self.snapshot, &entry.record.name, self.profile);
        let waivers = Waivers { list: &concerning, at: self.at };
        then(&evaluate(self.snapshot, &entry.record, self.use_, self.present, waivers))
    }
}

/// A time of a page token, in seconds since 1970.
fn time_of(second: &str) -> Result<i64, RegistryError> {
    let at = second.parse().ok().and_then(|second| jiff::Timestamp::from_second(second).ok());
    at.map(jiff::Timestamp::as_second).ok_or(RegistryError::PageToken)
}
