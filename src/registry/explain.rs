//! What `explain` adds: remedies, which are tried before they are offered, and the lineage view.

use std::cmp::Reverse;

use super::check::{Checked, waivers};
use super::resolve::{Resolved, resolve};
use super::{Registry, RegistryError, present, violation};
use crate::catalog::Snapshot;
use crate::convert;
use crate::domain::eligibility::{
    Activities, Case, Change, LineageStep, Remedy, Use, Waiver, Waivers, lineage, remedies,
};
use crate::domain::model::Model;
use crate::pb::weighbridge::v1 as pb;

/// Models that are compared for likeness at most: an explanation must not take seconds on a very large registry.
const COMPARED_MAX: usize = 20_000;

impl Registry {
    /// Adds remedies and the lineage view to the message of a decision.
    pub fn explain(&self, snapshot: &Snapshot, checked: &Checked<'_>, message: &mut pb::Decision) {
        let Some(model) = checked.decision.model else { return };
        message.lineage = lineage(snapshot, model).iter().map(convert::lineage_step).collect();
        let asked = checked.asked;
        let concerning = waivers(snapshot, &model.name, asked.use_profile);
        let list = Waivers { list: &concerning, at: asked.at };
        let others = alike(snapshot, model).into_iter();
        let others = others.map(|other| {
            let concerning: Vec<&Waiver> = waivers(snapshot, &other.name, asked.use_profile).into_vec();
            (other, concerning)
        });
        let found = {
            let served_by = checked.served_by;
            let case = Case { use_: asked.use_, present: present(snapshot, asked.at), waivers: list, served_by };
            remedies(snapshot, &checked.decision, case, others)
        };
        // A profile's list comes back where a request leaves its own empty.
        let holds = |remedy: &&Remedy<'_>| asked.use_profile.is_empty() || !empties_a_list(remedy, asked.use_);
        message.remedies = found.iter().filter(holds).map(|found| convert::remedy(found, asked.use_)).collect();
    }

    /// Shows what a model was made from.
    ///
    /// # Errors
    /// The model is not known or ambiguous, or the model behind an offering is not known.
    pub fn model_lineage(&self, id: &str) -> Result<pb::GetModelLineageResponse, RegistryError> {
        if id.trim().is_empty() {
            return Err(RegistryError::Invalid(vec![violation("model", "it must be set")]));
        }
        let snapshot = self.snapshot();
        let entry = match resolve(&snapshot, id)? {
            Resolved::Model { entry, .. } => entry,
            Resolved::Unresolved(offering) => {
                let name = offering.record.name.resource_name();
                return Err(RegistryError::NotFound { kind: "model of the offering", name, near: Vec::new() });
            }
        };
        let steps: Vec<LineageStep<'_>> = lineage(&*snapshot, &entry.record);
        let expression = entry.record.weights().and_then(|weights| weights.expression.as_ref());
        Ok(pb::GetModelLineageResponse {
            model: entry.record.name.to_string(),
            license_expression: expression.map_or_else(String::new, ToString::to_string),
            steps: steps.iter().map(convert::lineage_step).collect(),
        })
    }
}

/// Whether a remedy leaves out the last of a list.
fn empties_a_list(remedy: &Remedy<'_>, use_: &Use) -> bool {
    let Change::Use(edits) = &remedy.change else { return false };
    let mut changed = use_.clone();
    edits.iter().for_each(|edit| edit.apply(&mut changed));
    let no_activity = changed.activities == Activities::default() && use_.activities != Activities::default();
    no_activity || changed.categories.is_empty() && !use_.categories.is_empty()
}

/// Models that take in and give out at least the same, the most similar first.
fn alike<'a>(snapshot: &'a Snapshot, model: &Model) -> Vec<&'a Model> {
    let does_the_same = |other: &&Model| {
        model.input_modalities.iter().all(|modality| other.input_modalities.contains(modality))
            && model.output_modalities.iter().all(|modality| other.output_modalities.contains(modality))
            && !other.output_modalities.is_empty()
    };
    let likeness = |other: &&Model| {
        let lacks = model.capabilities.iter().filter(|capability| !other.capabilities.contains(capability)).count();
        let shorter = other.context_tokens < model.context_tokens;
        let same_family = !model.family.is_empty() && other.family == model.family;
        let same_publisher = other.name.publisher() == model.name.publisher();
        (lacks, shorter, !same_family, !same_publisher, Reverse(other.release_date), other.name.clone())
    };
    let all = snapshot.models().take(COMPARED_MAX).map(|entry| &entry.record);
    let mut out: Vec<&Model> = all.filter(does_the_same).collect();
    out.sort_by_cached_key(likeness);
    out
}
