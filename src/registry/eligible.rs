//! Which models may be used as described: the check, over all of them.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::check::{check_lists, waivers};
use super::models::parent_of;
use super::page::{PageRequest, token};
use super::{Registry, RegistryError};
use crate::catalog::Snapshot;
use crate::convert::{self, EligibleRequest};
use crate::domain::eligibility::{Verdict, Waivers, evaluate, verdict};
use crate::domain::name::ModelName;
use crate::pb::weighbridge::v1 as pb;

impl Registry {
    /// Lists by name the models for which the check gives one of the verdicts asked for. Every model is looked at.
    ///
    /// # Errors
    /// A bad parent, page size or page token.
    pub fn eligible_models(
        &self,
        snapshot: &Arc<Snapshot>,
        request: &EligibleRequest,
        parent: &str,
        page: &PageRequest,
    ) -> Result<pb::ListEligibleModelsResponse, RegistryError> {
        self.check_complete()?;
        let publisher = parent_of(parent)?;
        let size = page.size()?;
        let asked = &request.asked;
        check_lists(snapshot, &asked.use_)?;
        // A token holds for what was asked, and says of which revision the first page was.
        let list = format!(
            "eligible\n{parent}\n{:?}\n{}\n{:?}\n{:?}",
            request.verdicts, asked.use_profile, asked.at, asked.use_
        );
        let last = page.after(&list)?;
        let (first_revision, after) = match &last {
            None => (snapshot.revision(), None),
            Some(last) => {
                let (revision, name) = last.split_once(' ').ok_or(RegistryError::PageToken)?;
                let revision = revision.parse().map_err(|_| RegistryError::PageToken)?;
                (revision, Some(ModelName::parse(name).map_err(|_| RegistryError::PageToken)?))
            }
        };
        let (now, at) = (self.today(), self.at(asked));
        let mut counts: BTreeMap<Verdict, usize> = BTreeMap::new();
        let mut models = Vec::new();
        let mut more = false;
        for entry in snapshot.models() {
            let model = &entry.record;
            if publisher.as_deref().is_some_and(|publisher| model.name.publisher() != publisher) {
                continue;
            }
            let concerning = waivers(snapshot, &model.name, &asked.use_profile);
            let waivers = Waivers { list: &concerning, at };
            let found = verdict(&**snapshot, model, &asked.use_, now, waivers);
            *counts.entry(found).or_default() += 1;
            let on_page = after.as_ref().is_none_or(|after| model.name > *after);
            if !request.verdicts.contains(&found) || !on_page {
                continue;
            }
            if models.len() == size {
                more = true;
                continue;
            }
            let decision = evaluate(&**snapshot, model, &asked.use_, now, waivers);
            models.push(convert::eligible_model(&decision, model.name.as_str()));
        }
        let total: usize = request.verdicts.iter().filter_map(|verdict| counts.get(verdict)).sum();
        let last = models.last().map(|model| format!("{first_revision} {}", model.model));
        Ok(pb::ListEligibleModelsResponse {
            next_page_token: token(&list, last, more),
            total_size: i32::try_from(total).unwrap_or(i32::MAX),
            verdict_counts: counts.into_iter().map(|(verdict, n)| convert::verdict_count(verdict, n)).collect(),
            revision: i64::try_from(snapshot.revision()).unwrap_or(i64::MAX),
            complete: snapshot.revision() == first_revision,
            models,
        })
    }
}
