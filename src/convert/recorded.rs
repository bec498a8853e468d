//! What a recorded decision holds besides the answer: the facts that were judged, and a digest.

use prost::Message as _;
use sha2::{Digest as _, Sha256};

use super::enums::{Wire as _, numbers};
use crate::domain::eligibility::{
    Activities, Activity, BusinessTypes, EVALUATOR_VERSION, Measure, Organization, Requirements, Role, Use,
};
use crate::domain::license::DutyKind;
use crate::domain::place::CountrySet;
use crate::pb::weighbridge::v1 as pb;

/// What a decision was asked with.
#[derive(Clone, Copy, Debug)]
pub struct Asked<'a> {
    /// The model as the caller spelled it.
    pub model: &'a str,
    /// The profile that was named; empty: none.
    pub use_profile: &'a str,
    /// The facts that were judged.
    pub use_: &'a Use,
    /// When the use happens, in seconds since 1970.
    pub at: i64,
}

/// Completes a decision for the log. `name` is its resource name, `now` when it was made.
pub fn complete(decision: &mut pb::Decision, name: String, asked: Asked<'_>, now: prost_types::Timestamp) {
    decision.r#use = Some(use_message(asked.use_, asked.at));
    decision.use_profile = asked.use_profile.to_owned();
    decision.requested_model = asked.model.to_owned();
    decision.create_time = Some(now);
    decision.evaluator_version = i32::try_from(EVALUATOR_VERSION).unwrap_or(i32::MAX);
    decision.digest = decision_digest(decision);
    decision.name = name;
}

/// Facts as a message, sets in an order of their own: equal facts give equal bytes.
#[must_use]
pub fn use_message(use_: &Use, at: i64) -> pb::Use {
    let Use {
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
        at: _,
    } = use_;
    let mut measures: Vec<pb::Measure> = measures.iter().map(measure).collect();
    measures.sort_by(|a, b| (&a.metric, a.subject, &a.period).cmp(&(&b.metric, b.subject, &b.period)));
    let kinds = DutyKind::ALL.iter().filter(|kind| fulfilled_duties.contains(**kind));
    pb::Use {
        purpose: purpose.map_or(0, |p| p.number()),
        role: match role {
            Role::Licensee => pb::Role::Licensee as i32,
            Role::EndUserOfProduct => pb::Role::EndUserOfProduct as i32,
        },
        organization: Some(organization_message(organization)),
        measures,
        deployment_countries: countries(deployment_countries.as_ref()),
        end_user_countries: countries(end_user_countries.as_ref()),
        hosting: hosting.map_or(0, |h| h.number()),
        provider: provider.as_ref().map_or_else(String::new, |p| format!("providers/{}", p.as_str())),
        activities: activity_numbers(*activities),
        categories: sorted(categories),
        fulfilled_duties: kinds.map(|kind| kind.as_str().to_owned()).collect(),
        labels: labels.iter().map(|(key, value)| (key.to_string(), value.to_string())).collect(),
        model_revision: model_revision.to_string(),
        requirements: (*requirements != Requirements::default()).then(|| requirements_message(requirements)),
        at: Some(prost_types::Timestamp { seconds: at, nanos: 0 }),
    }
}

fn sorted(texts: &[Box<str>]) -> Vec<String> {
    let mut out: Vec<String> = texts.iter().map(ToString::to_string).collect();
    out.sort_unstable();
    out.dedup();
    out
}

fn countries(set: Option<&CountrySet>) -> Vec<String> {
    set.map(|set| set.iter().map(|country| country.as_str().to_owned()).collect()).unwrap_or_default()
}

fn activity_numbers(activities: Activities) -> Vec<i32> {
    Activity::ALL.iter().filter(|activity| activities.has(**activity)).map(|activity| activity.number()).collect()
}

fn measure(measure: &Measure) -> pb::Measure {
    pb::Measure {
        metric: measure.metric.to_string(),
        subject: measure.subject.number(),
        period: measure.period.map_or_else(String::new, |period| period.to_string()),
        value: Some(measure.value),
    }
}

fn organization_message(organization: &Organization) -> pb::Organization {
    pb::Organization {
        country: organization.country.map_or_else(String::new, |country| country.as_str().to_owned()),
        r#type: organization.kind.map_or(0, |kind| kind.number()),
        business_types: match &organization.business_types {
            BusinessTypes::Unknown => Vec::new(),
            BusinessTypes::Known(types) if types.is_empty() => vec!["none".to_owned()],
            BusinessTypes::Known(types) => sorted(types),
        },
        monthly_active_users: organization.monthly_active_users,
        daily_active_users: organization.daily_active_users,
        annual_revenue_usd: organization.annual_revenue_usd,
        monthly_revenue_usd: organization.monthly_revenue_usd,
        employee_count: organization.employee_count,
    }
}

fn requirements_message(requirements: &Requirements) -> pb::Requirements {
    let in_order = |mut values: Vec<i32>| {
        values.sort_unstable();
        values.dedup();
        values
    };
    let ids = |ids: &[crate::domain::name::LicenseId]| {
        let mut out: Vec<String> = ids.iter().map(ToString::to_string).collect();
        out.sort_unstable();
        out.dedup();
        out
    };
    pb::Requirements {
        min_tier: requirements.min_tier.map_or(0, |tier| tier.number()),
        components: in_order(numbers(&requirements.components)),
        min_context_tokens: requirements.min_context_tokens.unwrap_or_default(),
        input_modalities: in_order(numbers(&requirements.input_modalities)),
        output_modalities: in_order(numbers(&requirements.output_modalities)),
        capabilities: in_order(numbers(&requirements.capabilities)),
        max_input_price: None,
        max_output_price: None,
        data_residency_countries: Vec::new(),
        private_fine_tuning: requirements.private_fine_tuning,
        offline: requirements.offline,
        license_allow: ids(&requirements.license_allow),
        license_deny: ids(&requirements.license_deny),
    }
}

/// The digest of a completed decision, as its proto comment describes it. Parts are told apart by their lengths.
#[must_use]
pub fn decision_digest(decision: &pb::Decision) -> String {
    let mut hash = Sha256::new();
    let mut part = |bytes: &[u8]| {
        hash.update(u64::try_from(bytes.len()).unwrap_or(u64::MAX).to_be_bytes());
        hash.update(bytes);
    };
    part(decision.model.as_bytes());
    part(&decision.r#use.as_ref().map(prost::Message::encode_to_vec).unwrap_or_default());
    part(&decision.revision.to_be_bytes());
    part(&decision.evaluator_version.to_be_bytes());
    part(&decision.verdict.to_be_bytes());
    let mut findings: Vec<Vec<u8>> = decision
        .findings
        .iter()
        .map(|finding| {
            let named = pb::Finding { message: String::new(), facts: Vec::new(), ..finding.clone() };
            named.encode_to_vec()
        })
        .collect();
    findings.sort_unstable();
    let mut duties: Vec<Vec<u8>> = decision.duties.iter().map(prost::Message::encode_to_vec).collect();
    duties.sort_unstable();
    for list in [findings, duties] {
        part(&u64::try_from(list.len()).unwrap_or(u64::MAX).to_be_bytes());
        list.iter().for_each(|item| part(item));
    }
    hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decision() -> pb::Decision {
        let finding = |reason: &str| pb::Finding { reason: reason.into(), ..Default::default() };
        pb::Decision {
            model: "publishers/a/models/b".into(),
            verdict: 3,
            findings: vec![finding("A"), finding("B")],
            revision: 7,
            ..Default::default()
        }
    }

    fn completed(decision: &pb::Decision, asked: &str, use_: &Use, at: i64) -> pb::Decision {
        let mut out = decision.clone();
        let asked = Asked { model: asked, use_profile: "", use_, at };
        complete(&mut out, "decisions/1".into(), asked, prost_types::Timestamp::default());
        out
    }

    #[test]
    fn the_digest_depends_on_the_answer_and_not_on_the_spelling() {
        let use_ = Use::default();
        let first = completed(&decision(), "b", &use_, 5).digest;
        assert_eq!(first.len(), 64);
        assert_eq!(first, completed(&decision(), "a/b", &use_, 5).digest);
        let mut turned = decision();
        turned.findings.reverse();
        assert_eq!(first, completed(&turned, "b", &use_, 5).digest);
        let mut other = decision();
        other.findings[0].origin = Some(pb::FindingOrigin { clause: "2".into(), ..Default::default() });
        let more = Use { activities: [Activity::FineTune].into_iter().collect(), ..Use::default() };
        for different in [
            completed(&other, "b", &use_, 5),
            completed(&pb::Decision { verdict: 2, ..decision() }, "b", &use_, 5),
            completed(&pb::Decision { revision: 8, ..decision() }, "b", &use_, 5),
            completed(&decision(), "b", &use_, 6),
            completed(&decision(), "b", &more, 5),
        ] {
            assert_ne!(first, different.digest);
        }
    }
}
