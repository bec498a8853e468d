//! What `explain` adds to a decision: remedies and the lineage view.

use super::enums::Wire as _;
use super::recorded::use_message;
use crate::domain::eligibility::{Change, Edit, LineageStep, Remedy, Use};
use crate::domain::license::DutyKinds;
use crate::pb::weighbridge::v1 as pb;
use crate::pb::weighbridge::v1::remedy::Change as Wired;

/// A remedy as a message. `use_` is the use that it changes.
#[must_use]
pub fn remedy(remedy: &Remedy<'_>, use_: &Use) -> pb::Remedy {
    let (change, use_fields) = match &remedy.change {
        Change::Model(model) => (Wired::Model(model.name.to_string()), Vec::new()),
        Change::Waivers(_) => (Wired::Waiver(remedy.sentence()), Vec::new()),
        Change::Use(edits) => match edits.as_slice() {
            // Where others are done already the whole list is told: a request's own list stands in for a profile's.
            [Edit::Fulfil(kind)] if use_.fulfilled_duties == DutyKinds::default() => {
                (Wired::DutyKind(kind.as_str().to_owned()), Vec::new())
            }
            edits => {
                let (patch, fields) = patch(edits, use_);
                (Wired::UsePatch(patch), fields)
            }
        },
    };
    pb::Remedy { text: remedy.sentence(), verdict: remedy.verdict.number(), change: Some(change), use_fields }
}

/// The fields that some edits change, as they are afterwards, and their names.
fn patch(edits: &[Edit], use_: &Use) -> (pb::Use, Vec<String>) {
    let mut changed = use_.clone();
    edits.iter().for_each(|edit| edit.apply(&mut changed));
    let whole = use_message(&changed, 0);
    let mut out = pb::Use::default();
    let mut fields: Vec<&str> = Vec::new();
    for edit in edits {
        match edit {
            Edit::Fulfil(_) => {
                out.fulfilled_duties.clone_from(&whole.fulfilled_duties);
                fields.push("fulfilled_duties");
            }
            Edit::LeaveActivity(_) => {
                out.activities.clone_from(&whole.activities);
                fields.push("activities");
            }
            Edit::LeaveCategory(_) => {
                out.categories.clone_from(&whole.categories);
                fields.push("categories");
            }
            Edit::LeaveCountries(_) => {
                out.deployment_countries.clone_from(&whole.deployment_countries);
                out.end_user_countries.clone_from(&whole.end_user_countries);
                fields.extend(["deployment_countries", "end_user_countries"]);
            }
            Edit::Host(..) => {
                out.hosting = whole.hosting;
                out.provider.clone_from(&whole.provider);
                fields.extend(["hosting", "provider"]);
            }
            Edit::Pursue(_) => {
                out.purpose = whole.purpose;
                fields.push("purpose");
            }
        }
    }
    fields.dedup();
    (out, fields.into_iter().map(str::to_owned).collect())
}

/// A step up the lineage as a message.
#[must_use]
pub fn lineage_step(step: &LineageStep<'_>) -> pb::LineageStep {
    let weights = step.ancestor.and_then(|ancestor| ancestor.weights());
    pb::LineageStep {
        depth: i32::try_from(step.depth).unwrap_or(i32::MAX),
        model: step.child.name.to_string(),
        base_model: step.base.model.as_str().to_owned(),
        relation: step.base.relation.number(),
        known: step.ancestor.is_some(),
        license_expression: step.expression.map_or_else(String::new, ToString::to_string),
        evidence: weights.filter(|_| step.expression.is_some()).map_or(0, |weights| weights.evidence.number()),
        tier: step.ancestor.and_then(|ancestor| ancestor.tier).map_or(0, |tier| tier.number()),
        by_outputs: step.by_outputs,
        terms_count: step.counts,
        dropped_terms: step.lost.words().map(str::to_owned).collect(),
    }
}
