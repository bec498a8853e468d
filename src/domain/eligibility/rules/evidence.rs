//! Evidence: what a license statement rests on, and whether the terms were read.

use crate::domain::eligibility::decision::{Effect, Origin};
use crate::domain::eligibility::evaluate::{Missing, Out, Terms};
use crate::domain::eligibility::fact::Facts;
use crate::domain::eligibility::message::Detail;
use crate::domain::eligibility::reason::Reason;
use crate::domain::license::Expression;
use crate::domain::model::{Component, Evidence, Model};

/// Conflict and general knowledge review; the rest passes and its level is named.
pub(super) fn check<'a>(
    model: &'a Model,
    weights: &'a Component,
    expression: Option<&'a Expression>,
    out: &mut Out<'a>,
) {
    // Where no license is known there is no statement to weigh: that is a review of its own.
    if expression.is_none() && weights.evidence != Evidence::Conflict {
        return;
    }
    let origin = Origin { model: Some(model), ..Origin::default() };
    let detail = Detail::Evidence { component: weights, expression };
    match weights.evidence {
        Evidence::Conflict => {
            out.review(Reason::LicenseEvidenceConflict, detail, origin, Facts::NONE, Missing::NONE);
        }
        Evidence::GeneralKnowledge => {
            out.review(Reason::LicenseEvidenceWeak, detail, origin, Facts::NONE, Missing::NONE);
        }
        Evidence::Tag | Evidence::Named | Evidence::Secondary | Evidence::TextRead | Evidence::Confirmed => {
            out.say(Reason::LicenseEvidence, Effect::Info, detail, origin, Facts::NONE);
        }
    }
}

/// Terms that were not read in the text say so.
pub(super) fn check_terms<'a>(terms: &Terms<'a, '_>, out: &mut Out<'a>) {
    if !terms.license.is_read() {
        out.say(Reason::TermsNotRead, Effect::Info, Detail::Plain, terms.origin(""), Facts::NONE);
    }
}
