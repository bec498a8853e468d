//! Use restrictions: each listed category, and the broader ones it is part of, against the barred uses.

use crate::domain::eligibility::decision::Effect;
use crate::domain::eligibility::evaluate::{Missing, Out, Terms};
use crate::domain::eligibility::fact::{Fact, Facts};
use crate::domain::eligibility::message::Detail;
use crate::domain::eligibility::reason::Reason;
use crate::domain::license::Coverage;

pub(super) fn check<'a>(terms: &Terms<'a, '_>, out: &mut Out<'a>) {
    let license = terms.license;
    let vocabulary = terms.context.records.vocabulary();
    let facts = Facts::one(Fact::Categories);
    for asked in &terms.context.use_.categories {
        let parts = license
            .use_restrictions
            .iter()
            .filter(|r| *r.category != **asked && vocabulary.is_within(&r.category, asked));
        let hits = || license.use_restrictions.iter().filter(|r| vocabulary.is_within(asked, &r.category));
        // The strictest one decides; where several are conditional each condition is named.
        if let Some(restriction) = hits().find(|r| r.absolute) {
            let detail = Detail::Restriction { asked, restriction, narrower: false };
            out.say(Reason::UseRestricted, Effect::Blocks, detail, terms.origin(&restriction.clause), facts);
            continue;
        }
        // A use in a broad category may be in the part of it that is barred.
        for restriction in hits().chain(parts) {
            let narrower = !vocabulary.is_within(asked, &restriction.category);
            let detail = Detail::Restriction { asked, restriction, narrower };
            let origin = terms.origin(&restriction.clause);
            out.review(Reason::UseRestrictedConditionally, detail, origin, facts, Missing::NONE);
        }
        if license.use_policy.coverage != Coverage::Complete {
            out.review(Reason::UsePolicyNotRead, Detail::Text(asked), terms.origin(""), facts, Missing::NONE);
        }
    }
}
