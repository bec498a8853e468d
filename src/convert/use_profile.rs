//! Use profiles: named sets of facts, and how their facts join those of a request.

use super::eligibility::use_facts;
use super::violations::Violations;
use super::{NOTE_CHARS_MAX, RequestRefused, SHORT_CHARS_MAX};
use crate::domain::name::{is_segment, shown};
use crate::domain::vocabulary::Vocabulary;
use crate::pb::weighbridge::v1 as pb;

/// Checks a profile.
///
/// # Errors
/// Every violation at once, under `path`; facts whose feature is not built yet are refused, never ignored.
pub fn check_use_profile(message: &pb::UseProfile, vocabulary: &Vocabulary, path: &str) -> Result<(), RequestRefused> {
    let mut v = Violations::at(path);
    if !message.name.strip_prefix("useProfiles/").is_some_and(is_segment) {
        let given = shown(&message.name);
        v.add("name", format_args!("`{given}` is no profile name: write `useProfiles/{{id}}`"));
    }
    v.text("display_name", message.display_name.clone(), SHORT_CHARS_MAX);
    v.text("description", message.description.clone(), NOTE_CHARS_MAX);
    let facts = message.r#use.clone().unwrap_or_default();
    if facts.at.is_some() {
        v.add("use.at", "when a use happens belongs to a request, not to a profile");
    }
    let mut missing = Violations::at(path);
    v.within("use", |v| use_facts(v, &mut missing, facts, vocabulary));
    v.finish(Some(())).map_err(RequestRefused::Invalid)?;
    missing.finish(Some(())).map_err(RequestRefused::Unimplemented)
}

/// The facts of a request, with those of a profile where the request is silent.
#[must_use]
pub fn join_use(asked: pb::Use, profile: pb::Use) -> pb::Use {
    let pb::Use {
        purpose,
        role,
        organization,
        measures,
        deployment_countries,
        end_user_countries,
        hosting,
        provider,
        activities,
        categories,
        fulfilled_duties,
        labels,
        model_revision,
        requirements,
        at,
    } = asked;
    // A provider goes with the hosting it was stated for.
    let own_hosting = hosting != 0;
    let provider = match (provider.is_empty(), own_hosting && hosting != profile.hosting) {
        (true, false) => profile.provider,
        (true, true) | (false, _) => provider,
    };
    pb::Use {
        purpose: number(purpose, profile.purpose),
        role: number(role, profile.role),
        organization: join(organization, profile.organization, join_organization),
        measures: join_measures(measures, profile.measures),
        deployment_countries: list(deployment_countries, profile.deployment_countries),
        end_user_countries: list(end_user_countries, profile.end_user_countries),
        hosting: number(hosting, profile.hosting),
        provider,
        activities: list(activities, profile.activities),
        categories: list(categories, profile.categories),
        fulfilled_duties: list(fulfilled_duties, profile.fulfilled_duties),
        labels: profile.labels.into_iter().chain(labels).collect(),
        model_revision: text(model_revision, profile.model_revision),
        requirements: join(requirements, profile.requirements, join_requirements),
        at,
    }
}

fn number(asked: i32, profile: i32) -> i32 {
    if asked == 0 { profile } else { asked }
}

fn text(asked: String, profile: String) -> String {
    if asked.is_empty() { profile } else { asked }
}

fn list<T>(asked: Vec<T>, profile: Vec<T>) -> Vec<T> {
    if asked.is_empty() { profile } else { asked }
}

fn join<T>(asked: Option<T>, profile: Option<T>, both: fn(T, T) -> T) -> Option<T> {
    match (asked, profile) {
        (Some(asked), Some(profile)) => Some(both(asked, profile)),
        (asked, profile) => asked.or(profile),
    }
}

fn join_organization(asked: pb::Organization, profile: pb::Organization) -> pb::Organization {
    let pb::Organization {
        country,
        r#type,
        business_types,
        monthly_active_users,
        daily_active_users,
        annual_revenue_usd,
        monthly_revenue_usd,
        employee_count,
    } = asked;
    pb::Organization {
        country: text(country, profile.country),
        r#type: number(r#type, profile.r#type),
        business_types: list(business_types, profile.business_types),
        monthly_active_users: monthly_active_users.or(profile.monthly_active_users),
        daily_active_users: daily_active_users.or(profile.daily_active_users),
        annual_revenue_usd: annual_revenue_usd.or(profile.annual_revenue_usd),
        monthly_revenue_usd: monthly_revenue_usd.or(profile.monthly_revenue_usd),
        employee_count: employee_count.or(profile.employee_count),
    }
}

/// Every figure of the request, and those of the profile that it does not state.
fn join_measures(mut asked: Vec<pb::Measure>, profile: Vec<pb::Measure>) -> Vec<pb::Measure> {
    let same = |a: &pb::Measure, b: &pb::Measure| {
        (a.metric.replace('-', "_"), a.subject, &a.period) == (b.metric.replace('-', "_"), b.subject, &b.period)
    };
    for measure in profile {
        if !asked.iter().any(|known| same(known, &measure)) {
            asked.push(measure);
        }
    }
    asked
}

fn join_requirements(asked: pb::Requirements, profile: pb::Requirements) -> pb::Requirements {
    let pb::Requirements {
        min_tier,
        components,
        min_context_tokens,
        input_modalities,
        output_modalities,
        capabilities,
        max_input_price,
        max_output_price,
        data_residency_countries,
        private_fine_tuning,
        offline,
        license_allow,
        license_deny,
    } = asked;
    pb::Requirements {
        min_tier: number(min_tier, profile.min_tier),
        components: list(components, profile.components),
        min_context_tokens: if min_context_tokens == 0 { profile.min_context_tokens } else { min_context_tokens },
        input_modalities: list(input_modalities, profile.input_modalities),
        output_modalities: list(output_modalities, profile.output_modalities),
        capabilities: list(capabilities, profile.capabilities),
        max_input_price: max_input_price.or(profile.max_input_price),
        max_output_price: max_output_price.or(profile.max_output_price),
        data_residency_countries: list(data_residency_countries, profile.data_residency_countries),
        private_fine_tuning: private_fine_tuning || profile.private_fine_tuning,
        offline: offline || profile.offline,
        license_allow: list(license_allow, profile.license_allow),
        license_deny: list(license_deny, profile.license_deny),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn measure(metric: &str, value: i64) -> pb::Measure {
        pb::Measure { metric: metric.into(), subject: 3, value: Some(value), ..pb::Measure::default() }
    }

    #[test]
    fn the_facts_of_a_profile_apply_where_the_request_is_silent() {
        let organization = |country: &str, users| {
            Some(pb::Organization { country: country.into(), monthly_active_users: users, ..Default::default() })
        };
        let profile = pb::Use {
            purpose: pb::Purpose::Commercial as i32,
            organization: organization("DE", Some(5)),
            measures: vec![measure("monthly_active_users", 1), measure("annual_revenue_usd", 2)],
            categories: vec!["law".into()],
            hosting: pb::Hosting::VendorApi as i32,
            provider: "groq".into(),
            ..pb::Use::default()
        };
        assert_eq!(join_use(pb::Use::default(), profile.clone()), profile);
        let asked = pb::Use {
            purpose: pb::Purpose::Research as i32,
            organization: organization("FR", None),
            measures: vec![measure("monthly-active-users", 7)],
            hosting: pb::Hosting::SelfHosted as i32,
            ..pb::Use::default()
        };
        let joined = join_use(asked.clone(), profile);
        assert_eq!(joined.organization, organization("FR", Some(5)));
        assert_eq!((joined.purpose, joined.hosting, joined.provider.as_str()), (asked.purpose, asked.hosting, ""));
        assert_eq!(joined.measures, [measure("monthly-active-users", 7), measure("annual_revenue_usd", 2)]);
        assert_eq!(joined.categories, ["law"]);
        assert_eq!(join_use(asked.clone(), pb::Use::default()), asked);
    }
}
