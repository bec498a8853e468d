//! Purpose: commercial use, and where it is not granted the purposes that are.

use super::permission::left_open;
use super::predicate::{Known, commercial};
use crate::domain::eligibility::decision::Effect;
use crate::domain::eligibility::evaluate::{Missing, Out, Terms};
use crate::domain::eligibility::fact::{Fact, Facts};
use crate::domain::eligibility::intended_use::{Activity, OrganizationType, Purpose};
use crate::domain::eligibility::message::Detail;
use crate::domain::eligibility::reason::Reason;
use crate::domain::license::{ExcludedPurpose, PermissionStatus, PurposeLimit, PurposeStatus, Purposes};
use crate::domain::tri::Tri;

const ACT: &str = "commercial use";

pub(super) fn check<'a>(terms: &Terms<'a, '_>, out: &mut Out<'a>) {
    let license = terms.license;
    let prohibited = license.permissions.commercial_use.status == PermissionStatus::Prohibited;
    if prohibited || license.purposes.is_listed() {
        check_listed(terms, prohibited, out);
    } else {
        check_granted(terms, out);
    }
    for limit in &license.purpose_limits {
        // The bar on commercial use as such is the permission's affair.
        if !(prohibited && limit.purpose == ExcludedPurpose::Commercial) {
            check_limit(terms, limit, out);
        }
    }
}

/// Commercial use is granted, within the other terms, or the text is silent.
fn check_granted<'a>(terms: &Terms<'a, '_>, out: &mut Out<'a>) {
    let permission = &terms.license.permissions.commercial_use;
    let detail = Detail::Permission { act: ACT, permission };
    let origin = terms.origin(&permission.clause);
    let known = commercial(terms);
    if let Some(open) = left_open(permission, terms.license) {
        if known.value != Tri::False {
            out.review(open, detail, origin, known.facts, known.missing);
        }
    } else if known.value == Tri::True && permission.status != PermissionStatus::Unspecified {
        out.say(Reason::CommercialUseGranted, Effect::Permits, detail, origin, known.facts);
    }
}

/// Commercial use is not granted: each purpose is allowed, prohibited or unclear.
fn check_listed<'a>(terms: &Terms<'a, '_>, prohibited: bool, out: &mut Out<'a>) {
    let permission = &terms.license.permissions.commercial_use;
    let purposes = &terms.license.purposes;
    let clause: &str = if purposes.clause.is_empty() { &permission.clause } else { &purposes.clause };
    let origin = terms.origin(clause);
    let facts = Facts::one(Fact::Purpose);
    let Some(purpose) = terms.context.use_.purpose else {
        // Whether a granted purpose may be pursued can turn on the organization as well.
        let open_to_all = purposes.company == Some(PurposeStatus::Allowed) && open_to_institutions(purposes);
        let type_matters = !open_to_all && terms.context.use_.organization.kind.is_none();
        let missing = if type_matters { facts.with(Fact::OrganizationType) } else { facts };
        out.review(Reason::PurposeUnknown, Detail::Plain, origin, facts, Missing::facts(missing));
        return;
    };
    let status = match purpose {
        Purpose::Commercial => None,
        Purpose::InternalBusiness => purposes.internal_business,
        Purpose::Research => purposes.research.or(Some(PurposeStatus::Unclear)),
        Purpose::Evaluation => purposes.evaluation.or(Some(PurposeStatus::Unclear)),
        Purpose::Education => purposes.education.or(Some(PurposeStatus::Unclear)),
        Purpose::Personal => purposes.personal.or(Some(PurposeStatus::Unclear)),
    };
    let detail = Detail::Purpose(purpose);
    match status {
        // Commercial use itself, or internal business that the license does not tell apart from it.
        None if prohibited => {
            let detail = Detail::Permission { act: ACT, permission };
            out.say(Reason::CommercialUseProhibited, Effect::Blocks, detail, terms.origin(&permission.clause), facts);
        }
        None | Some(PurposeStatus::Unclear) => {
            out.review(Reason::PurposeUnclear, detail, origin, facts, Missing::NONE);
        }
        Some(PurposeStatus::Prohibited) => out.say(Reason::PurposeProhibited, Effect::Blocks, detail, origin, facts),
        Some(PurposeStatus::Allowed) => check_who(terms, purpose, clause, out),
    }
}

/// Whether public bodies, universities and armed forces may pursue what is granted.
fn open_to_institutions(purposes: &Purposes) -> bool {
    matches!(purposes.institution, None | Some(PurposeStatus::Allowed))
}

/// A granted purpose, pursued by an organization to which it may not be granted, or by nobody knows whom.
fn check_who<'a>(terms: &Terms<'a, '_>, purpose: Purpose, clause: &'a str, out: &mut Out<'a>) {
    const COMPANY: &str = " by a for-profit company";
    const ORGANIZATION: &str = " by an organization";
    const INSTITUTION: &str = " by a public body or university";
    let origin = terms.origin(clause);
    let own_work = matches!(purpose, Purpose::Research | Purpose::Evaluation | Purpose::Education);
    let purposes = &terms.license.purposes;
    let facts = Facts::one(Fact::Purpose).with(Fact::OrganizationType);
    let (status, who) = match terms.context.use_.organization.kind {
        // Private ends are a person's: an organization that states them states something else.
        None if purpose == Purpose::Personal => {
            let missing = Missing::fact(Fact::OrganizationType);
            out.review(Reason::PurposeUnclear, Detail::PurposeBy(purpose, ORGANIZATION), origin, facts, missing);
            return;
        }
        Some(kind) if purpose == Purpose::Personal && kind != OrganizationType::Individual => {
            (Some(PurposeStatus::Unclear), ORGANIZATION)
        }
        _ if !own_work => (Some(PurposeStatus::Allowed), ""),
        Some(OrganizationType::Company) => (purposes.company, COMPANY),
        Some(OrganizationType::Academic | OrganizationType::Government | OrganizationType::Military) => {
            (purposes.institution.or(Some(PurposeStatus::Allowed)), INSTITUTION)
        }
        Some(OrganizationType::Individual | OrganizationType::NonProfit) => (Some(PurposeStatus::Allowed), ""),
        None => {
            let company = purposes.company == Some(PurposeStatus::Allowed);
            if company && open_to_institutions(purposes) {
                (Some(PurposeStatus::Allowed), "")
            } else {
                let detail = Detail::PurposeBy(purpose, if company { INSTITUTION } else { COMPANY });
                let missing = Missing::fact(Fact::OrganizationType);
                out.review(Reason::PurposeUnclear, detail, origin, facts, missing);
                return;
            }
        }
    };
    let detail = Detail::PurposeBy(purpose, who);
    match status {
        Some(PurposeStatus::Allowed) => {
            out.say(
                Reason::PurposeGranted,
                Effect::Permits,
                Detail::Purpose(purpose),
                origin,
                Facts::one(Fact::Purpose),
            );
        }
        Some(PurposeStatus::Prohibited) => out.say(Reason::PurposeProhibited, Effect::Blocks, detail, origin, facts),
        None | Some(PurposeStatus::Unclear) => {
            out.review(Reason::PurposeUnclear, detail, origin, facts, Missing::NONE);
        }
    }
}

fn check_limit<'a>(terms: &Terms<'a, '_>, limit: &'a PurposeLimit, out: &mut Out<'a>) {
    let reached = reach(terms, limit.purpose);
    let detail = Detail::PurposeLimit(limit);
    let origin = terms.origin(&limit.clause);
    match reached.value {
        Tri::False => {}
        // A stated condition narrows the bar in a way that no fact tells.
        Tri::True if limit.condition.is_empty() => {
            out.say(Reason::PurposeProhibited, Effect::Blocks, detail, origin, reached.facts);
        }
        Tri::True => out.review(Reason::PurposeUnclear, detail, origin, reached.facts, Missing::NONE),
        Tri::Unknown => out.review(Reason::PurposeUnclear, detail, origin, reached.facts, reached.missing),
    }
}

/// Whether the use pursues an excluded purpose.
fn reach<'a>(terms: &Terms<'_, '_>, excluded: ExcludedPurpose) -> Known<'a> {
    let context = terms.context;
    let competes = || context.does(Activity::TrainCompetingModels, Effect::Blocks);
    let activities = Facts::one(Fact::Activities);
    let facts = Facts::one(Fact::Purpose);
    let Some(purpose) = terms.context.use_.purpose else {
        return match excluded {
            ExcludedPurpose::TrainOtherModels => Known::of(context.trains(Effect::Blocks), activities),
            ExcludedPurpose::CompetingModel => Known::of(competes(), activities),
            ExcludedPurpose::Commercial
            | ExcludedPurpose::ProductionUse
            | ExcludedPurpose::ProductDevelopment
            | ExcludedPurpose::EmployeeDailyWork
            | ExcludedPurpose::PocForRevenue => Known::unknown(Fact::Purpose),
        };
    };
    let value = match excluded {
        ExcludedPurpose::TrainOtherModels => return Known::of(context.trains(Effect::Blocks), activities),
        ExcludedPurpose::CompetingModel => {
            return Known::of(competes(), activities);
        }
        ExcludedPurpose::Commercial => purpose.is_commercial().into(),
        ExcludedPurpose::ProductionUse => match purpose {
            Purpose::Commercial | Purpose::InternalBusiness => Tri::True,
            Purpose::Evaluation => Tri::False,
            Purpose::Research | Purpose::Education | Purpose::Personal => Tri::Unknown,
        },
        ExcludedPurpose::ProductDevelopment => match purpose {
            Purpose::Commercial => Tri::True,
            Purpose::InternalBusiness => Tri::Unknown,
            Purpose::Research | Purpose::Evaluation | Purpose::Education | Purpose::Personal => Tri::False,
        },
        ExcludedPurpose::EmployeeDailyWork => (purpose == Purpose::InternalBusiness).into(),
        ExcludedPurpose::PocForRevenue => match purpose {
            Purpose::Commercial => Tri::True,
            Purpose::Evaluation => Tri::Unknown,
            Purpose::InternalBusiness | Purpose::Research | Purpose::Education | Purpose::Personal => Tri::False,
        },
    };
    Known { value, facts, missing: Missing::NONE }
}
