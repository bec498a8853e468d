//! Waivers into the domain.

use super::license::duty_kind;
use super::nearest;
use super::violations::{Violation, Violations};
use super::{NOTE_CHARS_MAX, SHORT_CHARS_MAX};
use crate::domain::eligibility::{Reason, Waiver, Waiving};
use crate::domain::name::{LicenseId, ModelName, is_segment, shown};
use crate::pb::weighbridge::v1 as pb;

/// Reads a waiver. Its scope is checked as a whole: a reason alone is refused.
///
/// # Errors
/// Every violation at once, under `path`.
pub fn waiver(message: pb::Waiver, path: &str) -> Result<Waiver, Vec<Violation>> {
    let pb::Waiver {
        name,
        reason,
        license,
        model,
        use_profile,
        duty_kind: kind,
        category,
        policy,
        approver,
        ticket,
        justification,
        expire_time,
        revision: _,
        etag: _,
        create_time: _,
        update_time: _,
    } = message;
    let mut v = Violations::at(path);
    if !name.strip_prefix("waivers/").is_some_and(is_segment) {
        v.add("name", format_args!("`{}` is no waiver name: write `waivers/{{id}}`", shown(&name)));
    }
    let code = read_reason(&mut v, &reason);
    if license.is_empty() && model.is_empty() {
        v.add("license", "a waiver by reason alone is refused: name a `license` or a `model` as well");
    }
    let license = if license.is_empty() { None } else { v.take("license", LicenseId::parse(&license)) };
    let model = if model.is_empty() { None } else { v.take("model", ModelName::parse(&model)) };
    if !use_profile.is_empty() && !use_profile.strip_prefix("useProfiles/").is_some_and(is_segment) {
        let given = shown(&use_profile);
        v.add("use_profile", format_args!("`{given}` is no profile name: write `useProfiles/{{id}}`"));
    }
    let waiving = code.map(Reason::waiving);
    let duty = waiving == Some(Waiving::ByDuty);
    let duty_kind = match (duty, kind.is_empty()) {
        (true, true) => {
            v.add("duty_kind", format_args!("{reason} is about one duty: say which"));
            None
        }
        (true, false) => duty_kind(&mut v, "duty_kind", &kind),
        (false, false) => {
            v.add("duty_kind", "this reason is not about one duty: leave it out");
            None
        }
        (false, true) => None,
    };
    let by_category = waiving == Some(Waiving::ByCategory);
    match (by_category, category.is_empty()) {
        (true, true) => v.add("category", format_args!("{reason} is about one use category: say which")),
        (false, false) => v.add("category", "this reason is not about a use category: leave it out"),
        (true, false) | (false, true) => {}
    }
    let by_policy = waiving == Some(Waiving::ByPolicy);
    match (by_policy, policy.is_empty()) {
        (true, true) => v.add("policy", format_args!("{reason} is about one policy: say which")),
        (false, false) => v.add("policy", "this reason is not about a policy: leave it out"),
        (true, false) if !policy.strip_prefix("policies/").is_some_and(is_segment) => {
            v.add("policy", format_args!("`{}` is no policy name: write `policies/{{id}}`", shown(&policy)));
        }
        (true, false) | (false, true) => {}
    }
    if by_policy && model.is_none() {
        v.add("model", "a policy is waived for one model: say which");
    }
    if by_policy && license.is_some() {
        v.add("license", "a policy is waived for a model, whatever its license: leave it out");
    }
    for (field, text) in [("approver", &approver), ("ticket", &ticket)] {
        if text.trim().is_empty() {
            v.add(field, "it must be set: an exception is somebody's, and written down somewhere");
        }
        v.text(field, text.clone(), SHORT_CHARS_MAX);
    }
    v.text("justification", justification, NOTE_CHARS_MAX);
    if expire_time.is_none() {
        v.add("expire_time", "it must be set: every exception ends");
    }
    let read = code.zip(expire_time).map(|(reason, expires)| Waiver {
        name: name.into(),
        reason,
        license,
        model,
        use_profile: (!use_profile.is_empty()).then(|| use_profile.into()),
        duty_kind,
        category: (!category.is_empty()).then(|| category.replace('_', "-").into()),
        policy: (!policy.is_empty()).then(|| policy.into()),
        expires: expires.seconds,
    });
    v.finish(read)
}

fn read_reason(v: &mut Violations, reason: &str) -> Option<Reason> {
    let code = Reason::parse(reason);
    match code.map(Reason::waiving) {
        None => {
            let near = nearest(reason, Reason::ALL.iter().map(|code| code.as_str()));
            v.add("reason", format_args!("`{}` is no reason code{near}", shown(reason)));
        }
        Some(Waiving::No) => v.add(
            "reason",
            format_args!(
                "{reason} cannot be waived: it worsens no verdict, waits for a fact, or nobody can approve it"
            ),
        ),
        Some(Waiving::Whole | Waiving::ByDuty | Waiving::ByCategory | Waiving::ByPolicy) => {}
    }
    code
}
