//! Model messages into the domain, and assessments out of it.

use super::enums::{self, Wire, numbers, optional, required};
use super::violations::{Violation, Violations};
use super::{NOTE_CHARS_MAX, SHORT_CHARS_MAX};
use crate::domain::date::Date;
use crate::domain::license::{Expression, LicensePeriod};
use crate::domain::model::{
    BaseModel, BaseRef, Component, ComponentKind, Conclusion, Evidence, Model, Parameters, Relation, Source,
};
use crate::domain::name::ModelName;
use crate::domain::openness::{self, Openness};
use crate::pb::weighbridge::v1 as pb;

const ALIASES_MAX: usize = 200;
const LIST_MAX: usize = 200;

/// Reads a model; `path` stands before every field of a violation.
///
/// # Errors
/// Every violation at once.
pub fn model(message: pb::Model, path: &str) -> Result<Model, Vec<Violation>> {
    let mut v = Violations::at(path);
    let read = read(&mut v, message);
    v.finish(read)
}

fn read(v: &mut Violations, message: pb::Model) -> Option<Model> {
    let pb::Model {
        name,
        display_name,
        description,
        aliases,
        components,
        base_models,
        input_modalities,
        output_modalities,
        capabilities,
        context_tokens,
        max_output_tokens,
        parameters,
        release_date,
        knowledge_cutoff,
        family,
        architecture,
        sources,
        conflicts,
        notes,
        provenance,
        tier: _,
        license_expression: _,
        origin: _,
        revision: _,
        etag: _,
        create_time: _,
        update_time: _,
    } = message;
    let name = v.take("name", ModelName::parse(&name));
    for (field, length) in [("base_models", base_models.len()), ("sources", sources.len()), ("notes", notes.len())] {
        if length > LIST_MAX {
            v.add(field, format_args!("it has {length} entries and {LIST_MAX} are allowed"));
            return None;
        }
    }
    let components = v.each("components", components, read_component);
    check_kinds(v, &components);
    let base_models = v.each("base_models", base_models, read_base);
    if let Some(name) = &name {
        let itself = |base: &BaseModel| base.model == BaseRef::Record(name.clone());
        if let Some(i) = base_models.iter().position(itself) {
            v.add(&format!("base_models[{i}].model"), "a model is not made from itself");
        }
    }
    v.length("description", &description, NOTE_CHARS_MAX);
    for (field, tokens) in [("context_tokens", context_tokens), ("max_output_tokens", max_output_tokens)] {
        if tokens < 0 {
            v.add(field, format_args!("{tokens} is negative: leave it out when it is not known"));
        }
    }
    check_numbers(v, parameters, architecture.as_ref());
    let release_date = date(v, "release_date", &release_date);
    let knowledge_cutoff = date(v, "knowledge_cutoff", &knowledge_cutoff);
    let conflicts = check_conflicts(v, conflicts);
    check_provenance(v, provenance);
    v.each("notes", notes, |v, note| {
        v.length("", &note, NOTE_CHARS_MAX);
        Some(())
    });
    if aliases.len() > ALIASES_MAX {
        v.add("aliases", format_args!("there are {} and {ALIASES_MAX} are allowed", aliases.len()));
    }
    let aliases = v.each("aliases", aliases, |v, alias| {
        if alias.trim().is_empty() || alias.chars().any(char::is_control) {
            v.add("", "an alias is not empty and has no control characters");
        }
        Some(v.text("", alias, SHORT_CHARS_MAX))
    });
    Some(Model {
        display_name: v.text("display_name", display_name, SHORT_CHARS_MAX),
        aliases,
        tier: openness::tier(&components),
        components: components.into(),
        base_models: base_models.into(),
        input_modalities: enums::list(v, "input_modalities", &input_modalities).into(),
        output_modalities: enums::list(v, "output_modalities", &output_modalities).into(),
        capabilities: enums::list(v, "capabilities", &capabilities).into(),
        context_tokens: (context_tokens > 0).then_some(context_tokens),
        max_output_tokens: (max_output_tokens > 0).then_some(max_output_tokens),
        parameters: parameters.map_or_else(Parameters::default, |p| Parameters {
            total: (p.total > 0).then_some(p.total),
            active: (p.active > 0).then_some(p.active),
        }),
        release_date,
        knowledge_cutoff,
        family: v.text("family", family, SHORT_CHARS_MAX).into(),
        conflicts: conflicts.into(),
        sources: v.each("sources", sources, |v, source| Some(read_source(v, source))).into(),
        name: name?,
    })
}

fn check_kinds(v: &mut Violations, components: &[Component]) {
    for (i, component) in components.iter().enumerate() {
        if components.iter().take(i).any(|earlier| earlier.kind == component.kind) {
            v.add(&format!("components[{i}].kind"), format_args!("{} is listed twice", component.kind));
        }
    }
}

fn check_numbers(v: &mut Violations, parameters: Option<pb::Parameters>, architecture: Option<&pb::Architecture>) {
    if let Some(pb::Parameters { total, active }) = parameters {
        if total < 0 || active < 0 {
            v.add("parameters", "a number of parameters is not negative");
        }
        if total > 0 && active > total {
            v.add("parameters.active", format_args!("{active} is more than the total of {total}"));
        }
    }
    if let Some(shape) = architecture {
        v.within("architecture", |v| super::hosting::architecture(v, shape));
    }
}

/// The fields on which sources disagree.
fn check_conflicts(v: &mut Violations, conflicts: Vec<pb::Conflict>) -> Vec<Box<str>> {
    v.each("conflicts", conflicts, |v, pb::Conflict { field, claims, chosen, rule }| {
        for (name, text) in [("chosen", chosen), ("rule", rule)] {
            v.text(name, text, NOTE_CHARS_MAX);
        }
        v.each("claims", claims, |v, pb::conflict::Claim { value, source, record }| {
            v.text("value", value, NOTE_CHARS_MAX);
            v.text("record", record, SHORT_CHARS_MAX);
            source.map(|source| v.within("source", |v| read_source(v, source)))
        });
        Some(v.text("field", field, SHORT_CHARS_MAX))
    })
}

fn check_provenance(v: &mut Violations, provenance: Vec<pb::Provenance>) {
    v.each("provenance", provenance, |v, pb::Provenance { fields, source, record, date, url }| {
        for (name, text) in [("source", source), ("record", record), ("date", date), ("url", url)] {
            v.text(name, text, SHORT_CHARS_MAX);
        }
        v.each("fields", fields, |v, field| Some(v.text("", field, SHORT_CHARS_MAX)));
        Some(())
    });
}

fn read_component(v: &mut Violations, message: pb::Component) -> Option<Component> {
    let pb::Component {
        kind,
        availability,
        license_expression,
        declared_license,
        evidence,
        url,
        license_periods,
        declared_in,
        note,
        conclusion,
    } = message;
    let kind = required::<ComponentKind>(v, "kind", kind);
    let expression = expression(v, "license_expression", &license_expression);
    // An expression without evidence is nobody's finding; writers fill in CONFIRMED for an operator before this.
    let evidence = optional(v, "evidence", evidence).unwrap_or(Evidence::GeneralKnowledge);
    if conclusion.is_some() {
        if evidence != Evidence::Confirmed {
            v.add("evidence", "with a reviewer's conclusion it is CONFIRMED");
        }
        if license_expression.is_empty() {
            v.add("license_expression", "it must be set: it is what the reviewer concluded");
        }
    }
    v.length("url", &url, SHORT_CHARS_MAX);
    v.length("declared_in", &declared_in, SHORT_CHARS_MAX);
    v.length("note", &note, NOTE_CHARS_MAX);
    Some(Component {
        availability: optional(v, "availability", availability),
        expression,
        declared_license: v.text("declared_license", declared_license, SHORT_CHARS_MAX),
        evidence,
        license_periods: v.each("license_periods", license_periods, read_period),
        conclusion: conclusion.and_then(|conclusion| v.within("conclusion", |v| read_conclusion(v, conclusion))),
        kind: kind?,
    })
}

fn read_conclusion(v: &mut Violations, message: pb::Conclusion) -> Option<Box<Conclusion>> {
    let pb::Conclusion { reviewer, url, date: day, justification } = message;
    for (field, text) in [("reviewer", &reviewer), ("url", &url), ("date", &day)] {
        if text.trim().is_empty() {
            v.add(field, "it must be set: a conclusion says whose it is, when, and where it is written down");
        }
    }
    v.text("justification", justification, NOTE_CHARS_MAX);
    Some(Box::new(Conclusion {
        reviewer: v.text("reviewer", reviewer, SHORT_CHARS_MAX),
        url: v.text("url", url, SHORT_CHARS_MAX),
        date: date(v, "date", &day)?,
    }))
}

fn read_period(v: &mut Violations, message: pb::LicensePeriod) -> Option<LicensePeriod> {
    let pb::LicensePeriod { from, until, license_expression, commit, note } = message;
    let from = date(v, "from", &from);
    let until = date(v, "until", &until);
    if let (Some(from), Some(until)) = (from, until)
        && from.first_day() > until.last_day()
    {
        v.add("until", format_args!("{until} is before {from}"));
    }
    v.text("note", note, NOTE_CHARS_MAX);
    let commit = v.text("commit", commit, SHORT_CHARS_MAX);
    if license_expression.is_empty() {
        v.add("license_expression", "it must be set");
    }
    let expression = expression(v, "license_expression", &license_expression)?;
    Some(LicensePeriod { from, until, expression, commit })
}

fn read_base(v: &mut Violations, message: pb::BaseModel) -> Option<BaseModel> {
    let pb::BaseModel { model, relation, license_expression, note } = message;
    v.text("note", note, NOTE_CHARS_MAX);
    let relation = optional(v, "relation", relation).unwrap_or(Relation::FineTune);
    let expression = expression(v, "license_expression", &license_expression);
    let model = if model.starts_with("publishers/") {
        BaseRef::Record(v.take("model", ModelName::parse(&model))?)
    } else if model.trim().is_empty() {
        v.add("model", "it must be set: a resource name, or the base's name as written");
        return None;
    } else {
        BaseRef::Written(v.text("model", model, SHORT_CHARS_MAX))
    };
    Some(BaseModel { model, relation, expression })
}

fn read_source(v: &mut Violations, message: pb::Source) -> Source {
    let pb::Source { title, url, date, license } = message;
    Source {
        title: v.text("title", title, SHORT_CHARS_MAX),
        url: v.text("url", url, SHORT_CHARS_MAX),
        date: v.text("date", date, SHORT_CHARS_MAX),
        license: v.text("license", license, SHORT_CHARS_MAX),
    }
}

fn expression(v: &mut Violations, field: &str, text: &str) -> Option<Expression> {
    if text.is_empty() {
        return None;
    }
    match Expression::parse(text) {
        Ok(expression) => Some(expression),
        Err(error) => {
            if v.has_room() {
                let near = super::nearest_license(&error.part);
                v.add(field, format_args!("{error}{near}"));
            }
            None
        }
    }
}

fn date(v: &mut Violations, field: &str, text: &str) -> Option<Date> {
    if text.is_empty() { None } else { v.take(field, Date::parse(text)) }
}

/// An assessment as a message.
#[must_use]
pub fn assessment(openness: &Openness) -> pb::OpennessAssessment {
    let Openness { tier, strict, mof, components, reasons } = openness;
    let openness::Mof { framework_version, class, next_class, missing_for_next, progress } = mof;
    pb::OpennessAssessment {
        tier: tier.map_or(0, Wire::number),
        strict_open_source: *strict,
        mof: Some(pb::MofAssessment {
            framework_version: framework_version.to_string(),
            class: class.map_or(0, Wire::number),
            next_class: next_class.map_or(0, Wire::number),
            missing_for_next: numbers(missing_for_next),
            progress: progress
                .iter()
                .map(|(class, percent)| pb::mof_assessment::Progress { class: class.number(), percent: *percent })
                .collect(),
        }),
        components: components
            .iter()
            .map(|c| pb::ComponentAssessment {
                kind: c.kind.number(),
                open: c.open,
                mof_open: c.mof_open,
                reason: c.reason.clone(),
            })
            .collect(),
        reasons: reasons.clone(),
    }
}

/// Fills in what a model message derives from the record: its tier and the license of its weights.
pub fn derive(message: &mut pb::Model, model: &Model) {
    message.tier = model.tier.map_or(0, Wire::number);
    let expression = model.weights().and_then(|w| w.expression.as_ref());
    message.license_expression = expression.map_or_else(String::new, ToString::to_string);
}
