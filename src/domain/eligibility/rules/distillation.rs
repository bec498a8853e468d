//! Distillation: training other models on outputs.

use super::permission::{TRAINING, left_open};
use super::predicate::{Known, holds};
use crate::domain::eligibility::decision::Effect;
use crate::domain::eligibility::evaluate::{Missing, Out, Terms};
use crate::domain::eligibility::fact::{Fact, Facts};
use crate::domain::eligibility::intended_use::Activity;
use crate::domain::eligibility::message::Detail;
use crate::domain::eligibility::reason::Reason;
use crate::domain::license::{BarredTraining, PermissionStatus};
use crate::domain::tri::Tri;

pub(super) fn check<'a>(terms: &Terms<'a, '_>, out: &mut Out<'a>) {
    let permission = &terms.license.permissions.train_other_models;
    let outputs = &terms.license.outputs;
    let open = left_open(permission, terms.license);
    let limited =
        !outputs.training_barred.is_empty() || permission.status == PermissionStatus::Prohibited || open.is_some();
    if !limited || !terms.context.trains(Effect::Blocks) {
        return;
    }
    let facts = Facts::one(Fact::Activities);
    let detail = Detail::Permission { act: TRAINING, permission };
    if outputs.training_barred.is_empty() {
        let origin = terms.origin(&permission.clause);
        if let Some(open) = open {
            out.review(open, detail, origin, facts, Missing::NONE);
        } else {
            out.say(Reason::OutputTrainingProhibited, Effect::Blocks, detail, origin, facts);
        }
        return;
    }
    let clause = if permission.clause.is_empty() { &outputs.clause } else { &permission.clause };
    let origin = terms.origin(clause);
    let only_if = Known::all(outputs.training_barred_only_if.iter().map(|p| holds(*p, &[], terms)));
    for barred in &outputs.training_barred {
        let hit = Known { value: reaches(*barred, terms), facts, missing: Missing::NONE }.and(only_if);
        let detail = Detail::Barred { barred: *barred, outputs };
        match hit.value {
            Tri::True => out.say(Reason::DistillationBarred, Effect::Blocks, detail, origin, hit.facts),
            Tri::Unknown => out.review(Reason::DistillationUnclear, detail, origin, hit.facts, hit.missing),
            Tri::False => {}
        }
    }
    // What the text bars by name does not settle the rest, which it leaves open.
    if let Some(open) = open.filter(|_| permission.status != PermissionStatus::Conditional) {
        out.review(open, detail, origin, facts, Missing::NONE);
    }
}

/// Whether the training of the use is of a barred kind. Which kind of model is trained is not among the facts, so any bar
/// on other models reaches it; a foundation model may or may not be what "other models" are.
fn reaches(barred: BarredTraining, terms: &Terms<'_, '_>) -> Tri {
    let competing = terms.context.does(Activity::TrainCompetingModels, Effect::Blocks);
    match barred {
        BarredTraining::AnyModel | BarredTraining::OtherLanguageModel | BarredTraining::OtherImageModel => Tri::True,
        BarredTraining::CompetingModel => competing.into(),
        BarredTraining::FoundationModel if competing => Tri::True,
        BarredTraining::FoundationModel => Tri::Unknown,
    }
}
