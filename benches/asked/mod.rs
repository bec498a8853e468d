//! What is asked: a commercial use of a company in the US, hosted by itself.

#![allow(dead_code, reason = "each benchmark asks something else")]

use weighbridge::pb::weighbridge::v1 as pb;

/// With a million users, for these activities.
pub(crate) fn commercial(activities: &[pb::Activity]) -> pb::Use {
    pb::Use {
        purpose: pb::Purpose::Commercial as i32,
        hosting: pb::Hosting::SelfHosted as i32,
        organization: Some(pb::Organization {
            country: "US".into(),
            r#type: pb::organization::Type::Company as i32,
            monthly_active_users: Some(1_000_000),
            ..Default::default()
        }),
        deployment_countries: vec!["US".into()],
        end_user_countries: vec!["US".into()],
        activities: activities.iter().map(|a| *a as i32).collect(),
        ..Default::default()
    }
}

/// Whether a model may be used so.
pub(crate) fn check(model: &str, use_: &pb::Use) -> pb::CheckEligibilityRequest {
    pb::CheckEligibilityRequest { model: model.into(), r#use: Some(use_.clone()), ..Default::default() }
}
