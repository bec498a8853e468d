//! License messages into the domain. The stored message itself is what callers get back.

use super::enums::{self, optional, required};
use super::violations::{Violation, Violations};
use crate::domain::date::Date;
use crate::domain::license::{
    Approval, Binding, Category, Confidence, Coverage, Duty, DutyKind, GateSubject, License, Listed, Measured,
    OutputTerms, Permission, PermissionStatus, Permissions, PurposeLimit, PurposeStatus, Purposes, Row, ScaleGate,
    Side, Territory, TerritoryTest, UsePolicy, UseRestriction,
};
use crate::domain::name::{LicenseId, shown};
use crate::domain::openness::is_osi_approved;
use crate::domain::place::Places;
use crate::pb::weighbridge::v1 as pb;

use super::{NOTE_CHARS_MAX, SHORT_CHARS_MAX, nearest};

type Found<T> = Option<T>;

/// Reads a license; `path` stands before every field of a violation.
///
/// # Errors
/// Every violation at once.
pub fn license(message: pb::License, path: &str) -> Result<License, Vec<Violation>> {
    let mut v = Violations::at(path);
    let read = read(&mut v, message);
    v.finish(read)
}

/// Reads a list of barred uses.
///
/// # Errors
/// Every violation at once.
pub fn restrictions(messages: Vec<pb::UseRestriction>) -> Result<Vec<UseRestriction>, Vec<Violation>> {
    let mut v = Violations::at("");
    let read = v.each("use_restrictions", messages, restriction);
    v.finish(Some(read))
}

/// Licenses side by side.
#[must_use]
pub fn compared_licenses(rows: &[Row]) -> pb::CompareLicensesResponse {
    use pb::compare_licenses_response as answer;
    let side = |side: &Side| answer::Side { words: side.words.clone(), clause: side.clause.clone() };
    let topic = |row: &Row| answer::Topic {
        topic: row.topic.clone(),
        sides: row.sides.iter().map(side).collect(),
        differs: row.differs,
    };
    pb::CompareLicensesResponse { topics: rows.iter().map(topic).collect() }
}

/// What the SPDX list says of a license that is no record: its name and flags, and that nothing else is known.
#[must_use]
pub fn listed_license(listed: &Listed) -> pb::License {
    let mut notes = vec!["listed by SPDX; its terms are not modelled".to_owned()];
    if listed.deprecated {
        notes.push("SPDX has deprecated this id".to_owned());
    }
    pb::License {
        name: format!("licenses/{}", listed.id),
        display_name: listed.full_name.to_owned(),
        url: listed.url(),
        osi_approved: listed.osi_approved,
        fsf_libre: listed.fsf_libre,
        spdx_listed: true,
        notes,
        origin: pb::Origin::BuiltIn as i32,
        ..pb::License::default()
    }
}

fn read(v: &mut Violations, message: pb::License) -> Found<License> {
    let pb::License {
        name,
        display_name,
        version,
        version_date,
        publisher,
        url,
        category,
        scopes,
        osi_approved,
        fsf_libre: _,
        spdx_listed,
        confidence,
        providers,
        companion_of,
        permissions,
        purposes,
        purpose_limits,
        duties,
        use_restrictions,
        use_policy,
        scale_gates,
        territory,
        outputs,
        patent,
        revocability,
        terminations,
        governing_law,
        documents,
        hub_tags,
        text_sources,
        notes,
        scancode_key,
        ambiguity,
        origin: _,
        revision: _,
        etag: _,
        create_time: _,
        update_time: _,
    } = message;
    let id = v.take("name", LicenseId::parse(&name));
    if display_name.trim().is_empty() {
        v.add("display_name", "it must be set: the license's title");
    }
    date(v, "version_date", &version_date);
    for (field, text) in
        [("version", version), ("publisher", publisher), ("scancode_key", scancode_key), ("ambiguity", ambiguity)]
    {
        v.text(field, text, SHORT_CHARS_MAX);
    }
    let category = required::<Category>(v, "category", category);
    enum_numbers(v, "scopes", &scopes, |n| pb::license::Scope::try_from(n).is_ok());
    if !companion_of.is_empty() {
        v.take("companion_of", LicenseId::new(&companion_of));
    }
    check_flags(v, id.as_ref(), osi_approved, spdx_listed);
    check_words(v, patent, revocability, terminations, governing_law, documents, hub_tags, text_sources, notes);
    let confidence = match pb::license::Confidence::try_from(confidence) {
        Ok(pb::license::Confidence::ReadFullText) => Confidence::ReadFullText,
        Ok(pb::license::Confidence::SecondarySource | pb::license::Confidence::Unspecified) => {
            Confidence::SecondarySource
        }
        Err(_) => {
            v.add("confidence", format_args!("{confidence} is no value of this enum"));
            Confidence::SecondarySource
        }
    };
    let permissions = v.within("permissions", |v| read_permissions(v, permissions));
    let silent = |p: &Permission| p.status == PermissionStatus::Unspecified;
    // A text that was read says whether it may be used at all; a record that does not would permit everything.
    if confidence == Confidence::ReadFullText {
        for (field, permission) in [("use", &permissions.use_), ("commercial_use", &permissions.commercial_use)] {
            if silent(permission) {
                v.add(&format!("permissions.{field}.status"), "it must be set for a text that was read");
            }
        }
    }
    let purposes = read_purposes(v, purposes);
    let purpose_limits = v.each("purpose_limits", purpose_limits, read_purpose_limit);
    let duties = v.each("duties", duties, read_duty);
    let use_restrictions = v.each("use_restrictions", use_restrictions, restriction);
    let mut use_policy = v.within("use_policy", |v| read_use_policy(v, use_policy.unwrap_or_default()));
    let named = !use_policy.title.is_empty() || !use_policy.url.is_empty();
    if named && use_policy.policy.is_empty() && use_restrictions.is_empty() && use_policy.coverage == Coverage::Complete
    {
        // A policy that is named and of which nothing is recorded was not read.
        use_policy.coverage = Coverage::NotRead;
    }
    let scale_gates = v.each("scale_gates", scale_gates, read_gate);
    let territory = territory.and_then(|t| v.within("territory", |v| read_territory(v, t)));
    let outputs = v.within("outputs", |v| read_outputs(v, outputs.unwrap_or_default()));
    check_groups(v, &duties, &scale_gates);
    check_incorporated(v, id.as_ref(), &duties);
    if !providers.is_empty() && category != Some(Category::ServiceTerms) {
        v.add("providers", "only terms of the category SERVICE_TERMS hold on a provider's service");
    }
    let id = id?;
    Some(License {
        limits: None,
        resource_name: id.resource_name().into(),
        id,
        display_name: v.text("display_name", display_name, SHORT_CHARS_MAX),
        url: v.text("url", url, SHORT_CHARS_MAX),
        category: category?,
        osi_approved,
        confidence,
        providers: providers.into_iter().map(String::into_boxed_str).collect(),
        permissions,
        purposes,
        purpose_limits,
        duties,
        use_restrictions,
        use_policy,
        scale_gates,
        territory,
        outputs,
        revocable: revocability == pb::license::Revocability::Revocable as i32,
    })
}

/// The SPDX list knows better than a record.
fn check_flags(v: &mut Violations, id: Option<&LicenseId>, osi_approved: bool, spdx_listed: bool) {
    let Some(id) = id else { return };
    if osi_approved && spdx::license_id(id.as_str()).is_some() && !is_osi_approved(id) {
        v.add("osi_approved", format_args!("the SPDX list does not mark `{id}` as OSI-approved"));
    }
    if osi_approved && id.as_str().starts_with("LicenseRef-") && !spdx_listed {
        // A companion record of an approved license is not the approved text.
        v.add("osi_approved", format_args!("`{id}` is not on the SPDX list, so it is not the approved text"));
    }
    if spdx_listed && spdx::license_id(id.as_str()).is_none() {
        v.add("spdx_listed", format_args!("`{id}` is not on the SPDX list ({})", spdx::license_version()));
    }
}

#[expect(clippy::too_many_arguments, reason = "the parts that decide nothing, checked for length and form only")]
fn check_words(
    v: &mut Violations,
    patent: Option<pb::PatentTerms>,
    revocability: i32,
    terminations: Vec<pb::Termination>,
    governing_law: Option<pb::GoverningLaw>,
    documents: Vec<pb::Document>,
    hub_tags: Vec<pb::HubTag>,
    text_sources: Vec<pb::TextSource>,
    notes: Vec<String>,
) {
    if let Some(pb::PatentTerms { grant, retaliation, clause }) = patent {
        enum_numbers(v, "patent.grant", &[grant], |n| pb::patent_terms::Grant::try_from(n).is_ok());
        v.text("patent.retaliation", retaliation, NOTE_CHARS_MAX);
        v.text("patent.clause", clause, SHORT_CHARS_MAX);
    }
    enum_numbers(v, "revocability", &[revocability], |n| pb::license::Revocability::try_from(n).is_ok());
    v.each("terminations", terminations, |v, pb::Termination { trigger, effect, clause, cure }| {
        for (field, text) in [("trigger", trigger), ("effect", effect), ("clause", clause), ("cure", cure)] {
            v.text(field, text, NOTE_CHARS_MAX);
        }
        Some(())
    });
    if let Some(pb::GoverningLaw { law, forum, clause }) = governing_law {
        for (field, text) in [("law", law), ("forum", forum), ("clause", clause)] {
            v.text(&format!("governing_law.{field}"), text, NOTE_CHARS_MAX);
        }
    }
    v.each("documents", documents, |v, pb::Document { title, url, version_date, digest }| {
        date(v, "version_date", &version_date);
        for (field, text) in [("title", title), ("url", url), ("digest", digest)] {
            v.text(field, text, SHORT_CHARS_MAX);
        }
        Some(())
    });
    v.each("hub_tags", hub_tags, |v, pb::HubTag { tag, license_name, note }| {
        for (field, text) in [("tag", tag), ("license_name", license_name), ("note", note)] {
            v.text(field, text, SHORT_CHARS_MAX);
        }
        Some(())
    });
    v.each("text_sources", text_sources, |v, pb::TextSource { repository, path, commit, commit_date, note }| {
        for (field, text) in [
            ("repository", repository),
            ("path", path),
            ("commit", commit),
            ("commit_date", commit_date),
            ("note", note),
        ] {
            v.text(field, text, SHORT_CHARS_MAX);
        }
        Some(())
    });
    v.each("notes", notes, |v, note| Some(v.text("", note, NOTE_CHARS_MAX)));
}

fn read_permissions(v: &mut Violations, message: Option<pb::Permissions>) -> Permissions {
    let Some(message) = message else {
        v.add("", "it must be set: at least `use` and `commercial_use`");
        return Permissions::default();
    };
    let pb::Permissions {
        r#use,
        commercial_use,
        modify,
        fine_tune,
        redistribute,
        redistribute_derivative,
        offer_as_service,
        use_outputs,
        train_other_models,
    } = message;
    let mut read = |field: &str, permission: Option<pb::Permission>| {
        v.within(field, |v| permission.map(|p| read_permission(v, p)).unwrap_or_default())
    };
    Permissions {
        use_: read("use", r#use),
        commercial_use: read("commercial_use", commercial_use),
        modify: read("modify", modify),
        fine_tune: read("fine_tune", fine_tune),
        redistribute: read("redistribute", redistribute),
        offer_as_service: read("offer_as_service", offer_as_service),
        use_outputs: read("use_outputs", use_outputs),
        train_other_models: read("train_other_models", train_other_models),
        redistribute_derivative: redistribute_derivative.map(|p| read("redistribute_derivative", Some(p))),
    }
}

fn read_permission(v: &mut Violations, message: pb::Permission) -> Permission {
    let pb::Permission { status, clause, note } = message;
    Permission {
        status: optional(v, "status", status).unwrap_or(PermissionStatus::Unspecified),
        clause: v.text("clause", clause, SHORT_CHARS_MAX),
        note: v.text("note", note, NOTE_CHARS_MAX),
    }
}

fn read_purposes(v: &mut Violations, grants: Vec<pb::PurposeGrant>) -> Purposes {
    use pb::purpose_grant::Subject;
    let mut purposes = Purposes::default();
    v.each("purposes", grants, |v, pb::PurposeGrant { purpose, status, clause }| {
        let status = optional(v, "status", status).unwrap_or(PurposeStatus::Unclear);
        let slot = match Subject::try_from(purpose) {
            Ok(Subject::InternalBusiness) => &mut purposes.internal_business,
            Ok(Subject::Research) => &mut purposes.research,
            Ok(Subject::Evaluation) => &mut purposes.evaluation,
            Ok(Subject::Education) => &mut purposes.education,
            Ok(Subject::Personal) => &mut purposes.personal,
            Ok(Subject::Company) => &mut purposes.company,
            Ok(Subject::Institution) => &mut purposes.institution,
            Ok(Subject::Unspecified) | Err(_) => {
                v.add("purpose", format_args!("{purpose} is no purpose: use one of the enum's names"));
                return None;
            }
        };
        if slot.replace(status).is_some() {
            v.add("purpose", "it is listed twice");
        }
        purposes.clause = v.text("clause", clause, SHORT_CHARS_MAX);
        Some(())
    });
    purposes
}

fn read_purpose_limit(v: &mut Violations, message: pb::PurposeLimit) -> Found<PurposeLimit> {
    let pb::PurposeLimit { purpose, clause, condition } = message;
    let purpose = required(v, "purpose", purpose);
    let clause = v.text("clause", clause, SHORT_CHARS_MAX);
    let condition = v.text("condition", condition, NOTE_CHARS_MAX);
    Some(PurposeLimit { purpose: purpose?, clause, condition })
}

fn read_duty(v: &mut Violations, message: pb::LicenseDuty) -> Found<Duty> {
    let pb::LicenseDuty {
        kind,
        text,
        when,
        not_when,
        only_if,
        clause,
        exact_strings,
        binding,
        approval,
        gate_group,
        not_open_to,
        incorporates,
        note,
    } = message;
    let kind = duty_kind(v, "kind", &kind);
    if when.is_empty() {
        v.add("when", "it must name at least one trigger, for example ANY or REDISTRIBUTE");
    }
    let binding = match pb::license_duty::Binding::try_from(binding) {
        Ok(pb::license_duty::Binding::Unspecified) => Binding::Required,
        Ok(pb::license_duty::Binding::Encouraged) => Binding::Encouraged,
        Ok(pb::license_duty::Binding::OutsideText) => Binding::OutsideText,
        Err(_) => {
            v.add("binding", format_args!("{binding} is no value of this enum"));
            Binding::Required
        }
    };
    let approval = match pb::license_duty::Approval::try_from(approval) {
        Ok(pb::license_duty::Approval::Unspecified) => Approval::SelfService,
        Ok(pb::license_duty::Approval::PublisherDecides) => Approval::PublisherDecides,
        Ok(pb::license_duty::Approval::UnreadAgreement) => Approval::UnreadAgreement,
        Err(_) => {
            v.add("approval", format_args!("{approval} is no value of this enum"));
            Approval::UnreadAgreement
        }
    };
    v.text("note", note, NOTE_CHARS_MAX);
    let not_open_to = v.each("not_open_to", not_open_to, |v, who| {
        if who != "natural_persons" {
            v.add("", format_args!("`{}` is not known: write `natural_persons`", shown(&who)));
        }
        Some(who.into_boxed_str())
    });
    Some(Duty {
        when: enums::list(v, "when", &when),
        not_when: enums::list(v, "not_when", &not_when),
        only_if: enums::list(v, "only_if", &only_if),
        text: v.text("text", text, NOTE_CHARS_MAX),
        clause: v.text("clause", clause, SHORT_CHARS_MAX),
        exact_strings: v.each("exact_strings", exact_strings, |v, text| Some(v.text("", text, NOTE_CHARS_MAX))),
        binding,
        approval,
        gate_group: v.text("gate_group", gate_group, SHORT_CHARS_MAX),
        not_open_to,
        incorporates: v.each("incorporates", incorporates, |v, id| v.take("", LicenseId::new(&id))),
        kind: kind?,
    })
}

/// Reads a duty kind; `-` may stand for `_`.
pub(super) fn duty_kind(v: &mut Violations, field: &str, slug: &str) -> Found<DutyKind> {
    let kind = DutyKind::parse(&slug.replace('-', "_"));
    if kind.is_none() {
        let near = nearest(slug, DutyKind::ALL.iter().map(|kind| kind.as_str()));
        v.add(field, format_args!("`{}` is no duty kind{near}", shown(slug)));
    }
    kind
}

/// Reads a barred use.
fn restriction(v: &mut Violations, message: pb::UseRestriction) -> Found<UseRestriction> {
    let pb::UseRestriction { category, strength, clause, condition } = message;
    let absolute = match pb::use_restriction::Strength::try_from(strength) {
        Ok(pb::use_restriction::Strength::Absolute) => true,
        Ok(pb::use_restriction::Strength::Conditional) => false,
        Ok(pb::use_restriction::Strength::Unspecified) | Err(_) => {
            v.add("strength", "it must be set: use one of STRENGTH_ABSOLUTE, STRENGTH_CONDITIONAL");
            true
        }
    };
    Some(UseRestriction {
        category: category.into_boxed_str(),
        absolute,
        clause: v.text("clause", clause, SHORT_CHARS_MAX),
        condition: v.text("condition", condition, NOTE_CHARS_MAX),
    })
}

fn read_use_policy(v: &mut Violations, message: pb::UsePolicy) -> UsePolicy {
    let pb::UsePolicy { policy, title, url, version, can_change: _, can_change_basis, coverage, note } = message;
    v.text("version", version, SHORT_CHARS_MAX);
    v.text("can_change_basis", can_change_basis, NOTE_CHARS_MAX);
    v.text("note", note, NOTE_CHARS_MAX);
    let coverage = match pb::use_policy::Coverage::try_from(coverage) {
        Ok(pb::use_policy::Coverage::Unspecified) => Coverage::Complete,
        Ok(pb::use_policy::Coverage::Partial) => Coverage::Partial,
        Ok(pb::use_policy::Coverage::NotRead) => Coverage::NotRead,
        Err(_) => {
            v.add("coverage", format_args!("{coverage} is no value of this enum"));
            Coverage::NotRead
        }
    };
    UsePolicy {
        policy: v.text("policy", policy, SHORT_CHARS_MAX),
        title: v.text("title", title, SHORT_CHARS_MAX),
        url: v.text("url", url, SHORT_CHARS_MAX),
        coverage,
    }
}

fn read_gate(v: &mut Violations, message: pb::ScaleGate) -> Found<ScaleGate> {
    let pb::ScaleGate {
        metric,
        threshold,
        comparison,
        at_threshold,
        subject,
        measured,
        effect,
        only_if,
        unless,
        unsettled_if,
        business_types,
        group,
        clause,
        scope,
        discretion,
        unverified,
        note,
    } = message;
    let comparison = required(v, "comparison", comparison);
    let effect = required(v, "effect", effect);
    let subject = read_subject(v, subject);
    let measured = v.within("measured", |v| read_measured(v, measured));
    let at_threshold = optional(v, "at_threshold", at_threshold).unwrap_or_default();
    let by_membership = metric == ScaleGate::BUSINESS_TYPE;
    match threshold {
        None if !by_membership => v.add("threshold", "it must be set, in the metric's unit"),
        Some(_) if by_membership => v.add("threshold", "a gate by business type has no number: leave it out"),
        Some(value) if value < 0 => v.add("threshold", format_args!("{value} is negative")),
        Some(_) | None => {}
    }
    if by_membership && business_types.is_empty() {
        v.add("business_types", "a gate by business type names at least one");
    }
    v.text("scope", scope, NOTE_CHARS_MAX);
    v.text("note", note, NOTE_CHARS_MAX);
    Some(ScaleGate {
        metric: v.text("metric", metric, SHORT_CHARS_MAX),
        threshold,
        at_threshold,
        subject,
        only_if: enums::list(v, "only_if", &only_if),
        unless: enums::list(v, "unless", &unless),
        unsettled_if: enums::list(v, "unsettled_if", &unsettled_if),
        business_types: business_types.into_iter().map(String::into_boxed_str).collect(),
        group: v.text("group", group, SHORT_CHARS_MAX),
        clause: v.text("clause", clause, SHORT_CHARS_MAX),
        discretion: v.text("discretion", discretion, NOTE_CHARS_MAX),
        unverified,
        comparison: comparison?,
        effect: effect?,
        measured: measured?,
    })
}

// Left unclear by the text: the licensee with its affiliates.
fn read_subject(v: &mut Violations, number: i32) -> GateSubject {
    use pb::scale_gate::Subject;
    match Subject::try_from(number) {
        Ok(Subject::Product) => GateSubject::Product,
        Ok(Subject::Licensee) => GateSubject::Licensee,
        Ok(Subject::Group | Subject::Unspecified) => GateSubject::Group,
        Err(_) => {
            v.add("subject", format_args!("{number} is no value of this enum"));
            GateSubject::Group
        }
    }
}

fn read_measured(v: &mut Violations, message: Option<pb::scale_gate::Measured>) -> Found<Measured> {
    use pb::scale_gate::measured::Kind;
    let Some(pb::scale_gate::Measured { kind, period, month_before_release, date: day, window }) = message else {
        v.add("", "it must be set: when the figure is measured");
        return None;
    };
    date(v, "date", &day);
    v.text("window", window, SHORT_CHARS_MAX);
    match Kind::try_from(kind) {
        Ok(Kind::FixedPeriod) if month_before_release && period.is_empty() => Some(Measured::MonthBeforeRelease),
        Ok(Kind::FixedPeriod) if month_before_release => {
            v.add("period", "it follows the model's release, so it must be empty");
            None
        }
        Ok(Kind::FixedPeriod) => v.take("period", Date::parse(&period)).map(Measured::Fixed),
        Ok(Kind::AnyTime) => Some(Measured::AnyTime),
        Ok(Kind::AtApplication) => Some(Measured::AtApplication),
        Ok(Kind::Unspecified) | Err(_) => {
            v.add("kind", "it must be set: use one of KIND_FIXED_PERIOD, KIND_ANY_TIME, KIND_AT_APPLICATION");
            None
        }
    }
}

fn read_territory(v: &mut Violations, message: pb::Territory) -> Found<Territory> {
    let pb::Territory { excluded, test, applies_to, unless, clause, note } = message;
    let (places, unknown) = Places::read(excluded.iter().map(String::as_str));
    for entry in unknown {
        v.add("excluded", format_args!("`{}` is no ISO 3166-1 code, part of one, EU or EEA", shown(entry)));
    }
    let multimodal_only = match pb::territory::AppliesTo::try_from(applies_to) {
        Ok(pb::territory::AppliesTo::Unspecified) => false,
        Ok(pb::territory::AppliesTo::MultimodalModels) => true,
        Err(_) => {
            v.add("applies_to", format_args!("{applies_to} is no value of this enum"));
            false
        }
    };
    let test = optional(v, "test", test).unwrap_or(TerritoryTest::Unknown);
    if places.written.is_empty() && test != TerritoryTest::PublisherList {
        v.add("excluded", "it must name at least one place");
    }
    Some(Territory {
        excluded: places,
        test,
        multimodal_only,
        unless: enums::list(v, "unless", &unless),
        clause: v.text("clause", clause, SHORT_CHARS_MAX),
        note: v.text("note", note, NOTE_CHARS_MAX),
    })
}

fn read_outputs(v: &mut Violations, message: pb::OutputTerms) -> OutputTerms {
    let pb::OutputTerms {
        stance,
        ownership,
        training_barred,
        training_barred_only_if,
        trained_model_is_derivative,
        clause,
        note,
    } = message;
    enum_numbers(v, "stance", &[stance], |n| pb::output_terms::Stance::try_from(n).is_ok());
    v.text("ownership", ownership, NOTE_CHARS_MAX);
    OutputTerms {
        training_barred: enums::list(v, "training_barred", &training_barred),
        training_barred_only_if: enums::list(v, "training_barred_only_if", &training_barred_only_if),
        trained_model_is_derivative,
        clause: v.text("clause", clause, SHORT_CHARS_MAX),
        note: v.text("note", note, NOTE_CHARS_MAX),
    }
}

/// Most licenses that one brings in. Each is gone through with what it brings in itself.
const INCORPORATED_MAX: usize = 8;

/// What a license brings in is named once, and is not itself.
fn check_incorporated(v: &mut Violations, id: Option<&LicenseId>, duties: &[Duty]) {
    let mut met: Vec<&LicenseId> = Vec::new();
    for (i, duty) in duties.iter().enumerate() {
        for (j, incorporated) in duty.incorporates.iter().enumerate() {
            let field = format!("duties[{i}].incorporates[{j}]");
            if Some(incorporated) == id {
                v.add(&field, "a license does not bring in itself");
            } else if met.contains(&incorporated) {
                v.add(&field, format_args!("`{incorporated}` is brought in already: name it once"));
            }
            met.push(incorporated);
        }
    }
    let count = duties.iter().map(|duty| duty.incorporates.len()).sum::<usize>();
    if count > INCORPORATED_MAX {
        v.add("duties", format_args!("they bring in {count} licenses and {INCORPORATED_MAX} are allowed"));
    }
}

/// A display gate starts the duties of its group, and a duty with a group waits for a gate: neither stands alone.
fn check_groups(v: &mut Violations, duties: &[Duty], gates: &[ScaleGate]) {
    use crate::domain::license::GateEffect;
    for (i, gate) in gates.iter().enumerate() {
        let waited_for = duties.iter().any(|d| !d.gate_group.is_empty() && d.gate_group == gate.group);
        if gate.effect == GateEffect::DisplayBranding && !waited_for {
            v.add(
                &format!("scale_gates[{i}].group"),
                "a gate that starts a display duty needs a group that a duty names in `gate_group`",
            );
        }
    }
    for (i, duty) in duties.iter().enumerate() {
        let lone = !duty.gate_group.is_empty() && !gates.iter().any(|g| g.group == duty.gate_group);
        if lone {
            v.add(
                &format!("duties[{i}].gate_group"),
                format_args!("no scale gate has the group `{}`", shown(&duty.gate_group)),
            );
        }
    }
}

fn enum_numbers(v: &mut Violations, field: &str, numbers: &[i32], known: impl Fn(i32) -> bool) {
    for number in numbers.iter().filter(|n| !known(**n)) {
        v.add(field, format_args!("{number} is no value of this enum"));
    }
}

fn date(v: &mut Violations, field: &str, text: &str) {
    if !text.is_empty() {
        v.take(field, Date::parse(text));
    }
}
