//! Check requests into the domain, decisions out of it.

use std::collections::BTreeMap;

use super::as_of::{AsOf, read_as_of, revision_from};
use super::enums::{self, Wire, optional, required};
use super::license::duty_kind;
use super::nearest;
use super::violations::{Violation, Violations};
use crate::domain::date::Date;
use crate::domain::eligibility::{
    Activities, BusinessTypes, Decision, Finding, Hosting, Measure, Organization, Requirements, Role, Use, Verdict,
};
use crate::domain::license::{DutyKinds, GateSubject, ScaleGate};
use crate::domain::name::{LicenseId, ProviderId, shown};
use crate::domain::place::{Country, CountrySet};
use crate::domain::vocabulary::Vocabulary;
use crate::pb::weighbridge::v1 as pb;
use crate::policy::LABEL_KEY_MAX;

/// Most entries of any list of a request.
const LIST_MAX: usize = 300;
/// Kind of the duties that policies ask for; no license has it.
pub(super) const POLICY_DUTY: &str = "organization_policy";
/// Longest id in a request, in characters.
const ID_CHARS_MAX: usize = 512;

/// A check request as it was asked, read.
#[derive(Clone, Debug, PartialEq)]
pub struct UseRequest {
    /// Resource name or alias.
    pub model: String,
    /// The facts.
    pub use_: Use,
    /// The profile whose facts it holds; empty: none.
    pub use_profile: String,
    /// When the use happens, in seconds since 1970; `None`: now.
    pub at: Option<i64>,
    /// Answer from this revision or a newer one.
    pub min_revision: u64,
    /// Answer as the registry stood then.
    pub as_of: AsOf,
    /// Keep the decision in the log.
    pub record: bool,
    /// Add remedies and the lineage view.
    pub explain: bool,
}

/// Why a check request is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RequestRefused {
    /// Fields that are not as they must be.
    Invalid(Vec<Violation>),
    /// Fields whose feature is not built yet; each says what it would need.
    Unimplemented(Vec<Violation>),
}

/// Reads a check request. `profile` holds the facts of the profile that it names.
///
/// # Errors
/// Every violation at once; fields whose feature does not exist yet are refused, never ignored.
pub fn check_request(
    message: pb::CheckEligibilityRequest,
    profile: Option<pb::Use>,
    vocabulary: &Vocabulary,
) -> Result<UseRequest, RequestRefused> {
    let pb::CheckEligibilityRequest {
        model,
        r#use,
        use_profile,
        min_revision,
        as_of_revision,
        record,
        explain,
        as_of_time,
    } = message;
    let mut missing = Violations::at("");
    let mut v = Violations::at("");
    if model.trim().is_empty() {
        v.add("model", "it must be set: a resource name, or any id the model is known by");
    }
    v.text("model", model.clone(), ID_CHARS_MAX);
    let (min_revision, as_of) = read_moment(&mut v, min_revision, as_of_revision, as_of_time);
    let (use_, at) = read_facts(&mut v, &mut missing, r#use, profile, vocabulary);
    let use_ = v.finish(Some(use_)).map_err(RequestRefused::Invalid)?;
    missing.finish(Some(())).map_err(RequestRefused::Unimplemented)?;
    Ok(UseRequest { model, use_, use_profile, at, min_revision, as_of, record, explain })
}

/// A request for the models that may be used as described, read.
#[derive(Clone, Debug, PartialEq)]
pub struct EligibleRequest {
    /// The facts; its model is empty.
    pub asked: UseRequest,
    /// Which verdicts to list, in order, without repeats.
    pub verdicts: Vec<Verdict>,
}

/// Reads a request for the models that may be used as described. `profile` holds the facts of the profile that it names.
///
/// # Errors
/// As for [`check_request`].
pub fn eligible_request(
    message: pb::ListEligibleModelsRequest,
    profile: Option<pb::Use>,
    vocabulary: &Vocabulary,
) -> Result<EligibleRequest, RequestRefused> {
    let pb::ListEligibleModelsRequest {
        r#use,
        use_profile,
        parent: _,
        verdicts,
        filter: _,
        order_by: _,
        page_size: _,
        page_token: _,
        min_revision,
        as_of_revision,
        as_of_time,
    } = message;
    let mut missing = Violations::at("");
    let mut v = Violations::at("");
    let (min_revision, as_of) = read_moment(&mut v, min_revision, as_of_revision, as_of_time);
    let (use_, at) = read_facts(&mut v, &mut missing, r#use, profile, vocabulary);
    let mut verdicts: Vec<Verdict> = enums::list(&mut v, "verdicts", &verdicts);
    if verdicts.is_empty() {
        verdicts = vec![Verdict::Eligible, Verdict::EligibleWithConditions];
    }
    verdicts.sort_unstable();
    verdicts.dedup();
    let use_ = v.finish(Some(use_)).map_err(RequestRefused::Invalid)?;
    missing.finish(Some(())).map_err(RequestRefused::Unimplemented)?;
    let (record, explain) = (false, false);
    let asked = UseRequest { model: String::new(), use_, use_profile, at, min_revision, as_of, record, explain };
    Ok(EligibleRequest { asked, verdicts })
}

/// Reads from which revision a check is to be answered: the least one, and the one of the past.
///
/// # Errors
/// Every violation at once.
pub fn moment(
    min_revision: i64,
    as_of_revision: i64,
    as_of_time: Option<prost_types::Timestamp>,
) -> Result<(u64, AsOf), Vec<Violation>> {
    let mut v = Violations::at("");
    let read = read_moment(&mut v, min_revision, as_of_revision, as_of_time);
    v.finish(Some(read))
}

fn read_moment(
    v: &mut Violations,
    min_revision: i64,
    as_of_revision: i64,
    as_of_time: Option<prost_types::Timestamp>,
) -> (u64, AsOf) {
    let least = revision_from(v, min_revision);
    let excludes = "it excludes `as_of_revision` and `as_of_time`: an answer of the past is of no newer revision";
    if min_revision != 0 && (as_of_revision != 0 || as_of_time.is_some()) {
        v.add("min_revision", excludes);
    }
    (least, read_as_of(v, as_of_revision, as_of_time))
}

/// The facts of a request with those of its profile, and when the use happens.
fn read_facts(
    v: &mut Violations,
    missing: &mut Violations,
    asked: Option<pb::Use>,
    profile: Option<pb::Use>,
    vocabulary: &Vocabulary,
) -> (Use, Option<i64>) {
    let facts = joined(asked.unwrap_or_default(), profile);
    let at = facts.at.map(|at| at.seconds);
    (v.within("use", |v| use_facts(v, missing, facts, vocabulary)), at)
}

fn joined(asked: pb::Use, profile: Option<pb::Use>) -> pb::Use {
    match profile {
        Some(profile) => super::join_use(asked, profile),
        None => asked,
    }
}

pub(super) fn use_facts(
    v: &mut Violations,
    missing: &mut Violations,
    message: pb::Use,
    vocabulary: &Vocabulary,
) -> Use {
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
    } = message;
    let hosting = optional(v, "hosting", hosting);
    let provider = read_provider(v, &provider);
    if provider.is_some() && hosting.is_some_and(|h: Hosting| h != Hosting::VendorApi) {
        v.add("provider", "a provider goes with HOSTING_VENDOR_API only");
    }
    let categories = bounded(v, "categories", categories, |v, slug| {
        let slug = slug.replace('_', "-");
        let known = vocabulary.use_categories.keys().map(|key| &**key);
        known_slug(v, "use category", &slug, known).map(|()| slug.into_boxed_str())
    });
    let mut fulfilled = DutyKinds::default();
    bounded(v, "fulfilled_duties", fulfilled_duties, |v, slug| {
        duty_kind(v, "", &slug).map(|kind| fulfilled.insert(kind))
    });
    Use {
        purpose: optional(v, "purpose", purpose),
        role: read_role(v, role),
        organization: v.within("organization", |v| read_organization(v, organization.unwrap_or_default(), vocabulary)),
        measures: read_measures(v, measures, vocabulary),
        deployment_countries: read_countries(v, "deployment_countries", deployment_countries),
        end_user_countries: read_countries(v, "end_user_countries", end_user_countries),
        hosting,
        provider,
        activities: enums::list(v, "activities", &activities).into_iter().collect::<Activities>(),
        categories,
        fulfilled_duties: fulfilled,
        labels: read_labels(v, labels),
        model_revision: v.text("model_revision", model_revision, ID_CHARS_MAX),
        requirements: requirements
            .map(|r| v.within("requirements", |v| read_requirements(v, missing, r)))
            .unwrap_or_default(),
        at: at.and_then(|at| read_day(v, at)),
    }
}

/// Most labels of a use, and the longest value of one in characters.
const LABELS_MAX: usize = 64;
const LABEL_CHARS_MAX: usize = 256;

fn read_labels(v: &mut Violations, labels: BTreeMap<String, String>) -> Vec<(Box<str>, Box<str>)> {
    if labels.len() > LABELS_MAX {
        v.add("labels", format_args!("it has {} entries and {LABELS_MAX} are allowed", labels.len()));
        return Vec::new();
    }
    let fits = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-' | b'/');
    let mut read = Vec::with_capacity(labels.len());
    for (key, value) in labels {
        if key.is_empty() || key.len() > LABEL_KEY_MAX || !key.bytes().all(fits) {
            let given = shown(&key);
            v.add(
                "labels",
                format_args!("`{given}` is no key: 1 to {LABEL_KEY_MAX} letters, digits, `.`, `_`, `-` and `/`"),
            );
            continue;
        }
        v.length(&format!("labels[{key}]"), &value, LABEL_CHARS_MAX);
        read.push((key.into(), value.into()));
    }
    read
}

fn bounded<I, T>(
    v: &mut Violations,
    field: &str,
    items: Vec<I>,
    read: impl FnMut(&mut Violations, I) -> Option<T>,
) -> Vec<T> {
    if items.len() > LIST_MAX {
        v.add(field, format_args!("it has {} entries and {LIST_MAX} are allowed", items.len()));
        return Vec::new();
    }
    v.each(field, items, read)
}

fn known_slug<'a>(
    v: &mut Violations,
    what: &str,
    slug: &str,
    known: impl Iterator<Item = &'a str> + Clone,
) -> Option<()> {
    if known.clone().any(|k| k == slug) {
        return Some(());
    }
    if v.has_room() {
        let near = nearest(slug, known);
        v.add("", format_args!("`{}` is no {what}{near}", shown(slug)));
    }
    None
}

fn read_provider(v: &mut Violations, text: &str) -> Option<ProviderId> {
    if text.is_empty() {
        return None;
    }
    let parsed = if text.starts_with("providers/") { ProviderId::parse(text) } else { ProviderId::new(text) };
    v.take("provider", parsed)
}

fn read_role(v: &mut Violations, number: i32) -> Role {
    match pb::Role::try_from(number) {
        Ok(pb::Role::Unspecified | pb::Role::Licensee) => Role::Licensee,
        Ok(pb::Role::EndUserOfProduct) => Role::EndUserOfProduct,
        Err(_) => {
            v.add(
                "role",
                format_args!("{number} is no value of this enum: use one of ROLE_LICENSEE, ROLE_END_USER_OF_PRODUCT"),
            );
            Role::Licensee
        }
    }
}

fn read_organization(v: &mut Violations, message: pb::Organization, vocabulary: &Vocabulary) -> Organization {
    let pb::Organization {
        country,
        r#type,
        business_types,
        monthly_active_users,
        daily_active_users,
        annual_revenue_usd,
        monthly_revenue_usd,
        employee_count,
    } = message;
    let country = if country.is_empty() { None } else { read_country(v, "country", &country) };
    let figures = [
        ("monthly_active_users", monthly_active_users),
        ("daily_active_users", daily_active_users),
        ("annual_revenue_usd", annual_revenue_usd),
        ("monthly_revenue_usd", monthly_revenue_usd),
        ("employee_count", employee_count),
    ];
    for (field, figure) in figures {
        if let Some(figure) = figure.filter(|f| *f < 0) {
            v.add(field, format_args!("{figure} is negative"));
        }
    }
    Organization {
        country,
        kind: optional(v, "type", r#type),
        business_types: read_business_types(v, business_types, vocabulary),
        monthly_active_users,
        daily_active_users,
        annual_revenue_usd,
        monthly_revenue_usd,
        employee_count,
    }
}

fn read_business_types(v: &mut Violations, slugs: Vec<String>, vocabulary: &Vocabulary) -> BusinessTypes {
    const NONE: &str = "none";
    if slugs.is_empty() {
        return BusinessTypes::Unknown;
    }
    let none = slugs.iter().any(|slug| slug == NONE);
    if none && slugs.len() > 1 {
        v.add("business_types", "`none` stands alone");
    }
    let types = bounded(v, "business_types", slugs, |v, slug| {
        if slug == NONE {
            return None;
        }
        let slug = slug.replace('_', "-");
        let known = vocabulary.business_types.keys().map(|key| &**key);
        known_slug(v, "business type", &slug, known).map(|()| slug.into_boxed_str())
    });
    BusinessTypes::Known(types)
}

fn read_measures(v: &mut Violations, measures: Vec<pb::Measure>, vocabulary: &Vocabulary) -> Vec<Measure> {
    let read = bounded(v, "measures", measures, |v, pb::Measure { metric, subject, period, value }| {
        let metric = metric.replace('-', "_");
        if metric == ScaleGate::BUSINESS_TYPE {
            v.add("metric", "a kind of business has no figure: use `organization.business_types`");
            return None;
        }
        v.within("metric", |v| known_slug(v, "metric", &metric, vocabulary.metrics.keys().map(|key| &**key)));
        let subject = required::<GateSubject>(v, "subject", subject);
        let period = if period.is_empty() { None } else { v.take("period", Date::parse(&period)) };
        if period.is_some_and(Date::has_day) {
            v.add("period", "it is a month or a year: write `YYYY-MM` or `YYYY`");
        }
        match value {
            None => v.add("value", "it must be set: a figure that is not known is left out as a whole"),
            Some(value) if value < 0 => v.add("value", format_args!("{value} is negative")),
            Some(_) => {}
        }
        Some(Measure { metric: metric.into_boxed_str(), subject: subject?, period, value: value? })
    });
    let key = |m: &Measure| (m.metric.clone(), m.subject, m.period);
    for (i, measure) in read.iter().enumerate() {
        if read.iter().take(i).any(|earlier| key(earlier) == key(measure)) {
            v.add(&format!("measures[{i}]"), "the same metric, subject and period is given twice");
        }
    }
    read
}

fn read_countries(v: &mut Violations, field: &str, codes: Vec<String>) -> Option<CountrySet> {
    if codes.is_empty() {
        return None;
    }
    let mut set = CountrySet::default();
    bounded(v, field, codes, |v, code| read_country(v, "", &code).map(|country| set.insert(country)));
    Some(set)
}

fn read_country(v: &mut Violations, field: &str, code: &str) -> Option<Country> {
    let country = Country::parse(code);
    if country.is_none() {
        let hint = if code.eq_ignore_ascii_case("uk") { ": did you mean `GB`?" } else { ", for example `DE`" };
        v.add(field, format_args!("`{}` is no ISO 3166-1 alpha-2 code{hint}", shown(code)));
    }
    country
}

fn read_requirements(v: &mut Violations, missing: &mut Violations, message: pb::Requirements) -> Requirements {
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
    } = message;
    for (field, price) in [("max_input_price", max_input_price), ("max_output_price", max_output_price)] {
        if price.is_some() {
            missing.add(&format!("use.requirements.{field}"), "requirements on prices are not built yet");
        }
    }
    if !data_residency_countries.is_empty() {
        missing.add("use.requirements.data_residency_countries", "where providers keep data is not known yet");
    }
    if min_context_tokens < 0 {
        v.add("min_context_tokens", format_args!("{min_context_tokens} is negative"));
    }
    let mut ids = |field: &str, ids: Vec<String>| {
        bounded(v, field, ids, |v, id| v.take("", LicenseId::new(id.strip_prefix("licenses/").unwrap_or(&id))))
    };
    Requirements {
        license_allow: ids("license_allow", license_allow),
        license_deny: ids("license_deny", license_deny),
        min_tier: optional(v, "min_tier", min_tier),
        components: enums::list(v, "components", &components),
        min_context_tokens: (min_context_tokens > 0).then_some(min_context_tokens),
        input_modalities: enums::list(v, "input_modalities", &input_modalities),
        output_modalities: enums::list(v, "output_modalities", &output_modalities),
        capabilities: enums::list(v, "capabilities", &capabilities),
        private_fine_tuning,
        offline,
    }
}

fn read_day(v: &mut Violations, at: prost_types::Timestamp) -> Option<Date> {
    let day = jiff::Timestamp::new(at.seconds, at.nanos).ok().and_then(|t| {
        let day = t.to_zoned_datetime(jiff::tz::TimeZone::UTC).date();
        let (year, month, day) =
            (u16::try_from(day.year()).ok()?, u8::try_from(day.month()).ok()?, u8::try_from(day.day()).ok()?);
        Date::from_day(year, month, day)
    });
    if day.is_none() {
        v.add("at", "it is outside the years 1 to 9999");
    }
    day
}

/// A model of a list with its verdict.
#[must_use]
pub fn eligible_model(decision: &Decision<'_>, model: &str) -> pb::EligibleModel {
    let mut duty_kinds: Vec<String> = decision.duties().map(|finding| duty(finding).kind).collect();
    duty_kinds.sort_unstable();
    duty_kinds.dedup();
    pb::EligibleModel {
        model: model.to_owned(),
        verdict: decision.verdict.number(),
        summary: decision.summary(),
        model_tier: decision.tier.map_or(0, Wire::number),
        license_expression: expression(decision),
        duty_kinds,
    }
}

/// A verdict on the wire.
#[must_use]
pub fn verdict_number(verdict: Verdict) -> i32 {
    verdict.number()
}

/// How many models have a verdict.
#[must_use]
pub fn verdict_count(verdict: Verdict, models: usize) -> pb::list_eligible_models_response::VerdictCount {
    let models = i32::try_from(models).unwrap_or(i32::MAX);
    pb::list_eligible_models_response::VerdictCount { verdict: verdict.number(), models }
}

pub(super) fn expression(decision: &Decision<'_>) -> String {
    decision.expression.map_or_else(String::new, ToString::to_string)
}

/// A decision as a message.
#[must_use]
pub fn decision(decision: &Decision<'_>, model: &str, revision: u64) -> pb::Decision {
    pb::Decision {
        verdict: decision.verdict.number(),
        summary: decision.summary(),
        model: model.to_owned(),
        model_tier: decision.tier.map_or(0, Wire::number),
        license_expression: expression(decision),
        findings: decision.findings.iter().map(|f| finding(f, model)).collect(),
        duties: decision.duties().map(duty).collect(),
        missing_facts: decision.missing_facts(),
        revision: i64::try_from(revision).unwrap_or(i64::MAX),
        sources: sources(decision),
        ..pb::Decision::default()
    }
}

/// `asked` is the resource name of what was asked for: a finding on no model is on that.
fn finding(finding: &Finding<'_>, asked: &str) -> pb::Finding {
    let mut origin = origin(finding);
    if origin.model.is_empty() {
        origin.model = asked.to_owned();
    }
    pb::Finding {
        reason: finding.reason.as_str().to_owned(),
        effect: finding.effect.number(),
        message: finding.message(),
        origin: Some(origin),
        facts: finding.facts.iter().map(|fact| fact.as_str().to_owned()).collect(),
        waived_by: finding.waived_by.map_or_else(String::new, |waiver| waiver.name.to_string()),
    }
}

fn origin(finding: &Finding<'_>) -> pb::FindingOrigin {
    let origin = finding.origin;
    let license = |text: fn(&crate::domain::license::License) -> &str| {
        origin.license.map_or_else(String::new, |l| text(l).to_owned())
    };
    pb::FindingOrigin {
        model: origin.model.map_or_else(String::new, |m| m.name.as_str().to_owned()),
        license: license(|l| &l.resource_name),
        policy: finding.policy().map_or_else(String::new, |policy| policy.name.to_string()),
        requirement: finding.requirement().unwrap_or_default().to_owned(),
        clause: origin.clause.to_owned(),
        url: license(|l| &l.url),
    }
}

fn duty(finding: &Finding<'_>) -> pb::Duty {
    let origin = Some(origin(finding));
    match finding.detail {
        crate::domain::eligibility::Detail::Duty { duty, started } => pb::Duty {
            kind: duty.kind.as_str().to_owned(),
            text: duty.text.to_string(),
            exact_strings: duty.exact_strings.iter().map(ToString::to_string).collect(),
            when: started.as_str().to_owned(),
            origin,
        },
        crate::domain::eligibility::Detail::Policy { policy, .. } => pb::Duty {
            kind: POLICY_DUTY.to_owned(),
            text: policy.message.to_string(),
            exact_strings: Vec::new(),
            when: crate::domain::license::Trigger::Any.as_str().to_owned(),
            origin,
        },
        // A royalty starts at a gate; the publisher's list of places needs no entry among the duties of a license.
        crate::domain::eligibility::Detail::Gate { .. } => pb::Duty {
            kind: crate::domain::license::DutyKind::Royalty.as_str().to_owned(),
            text: finding.message(),
            exact_strings: Vec::new(),
            when: crate::domain::license::Trigger::Any.as_str().to_owned(),
            origin,
        },
        _ => pb::Duty {
            kind: crate::domain::license::DutyKind::SupportedTerritory.as_str().to_owned(),
            text: finding.message(),
            exact_strings: Vec::new(),
            when: crate::domain::license::Trigger::Any.as_str().to_owned(),
            origin,
        },
    }
}

fn sources(decision: &Decision<'_>) -> Vec<pb::Source> {
    let licenses = decision.licenses().into_iter().map(|license| pb::Source {
        title: license.display_name.to_string(),
        url: license.url.to_string(),
        date: String::new(),
        license: String::new(),
    });
    let records = decision.model.into_iter().flat_map(|model| &model.sources).map(|source| pb::Source {
        title: source.title.to_string(),
        url: source.url.to_string(),
        date: source.date.to_string(),
        license: source.license.to_string(),
    });
    let policies = decision.findings.iter().filter(|finding| finding.acts().is_some());
    let policies = policies
        .filter_map(Finding::policy)
        .map(|policy| pb::Source { title: policy.name.to_string(), ..pb::Source::default() });
    licenses.chain(records).chain(policies).collect()
}
