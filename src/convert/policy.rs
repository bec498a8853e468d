//! Policies into the domain, with their conditions compiled.

use super::enums::required;
use super::nearest;
use super::violations::{Violation, Violations};
use super::{NOTE_CHARS_MAX, SHORT_CHARS_MAX};
use crate::catalog::fields::ModelField;
use crate::domain::eligibility::{Policy, PolicyEffect};
use crate::domain::name::{is_segment, shown};
use crate::pb::weighbridge::v1 as pb;
use crate::policy::{Compiled, Condition, Mistake};

/// Reads a policy that is to be written.
///
/// # Errors
/// Every violation at once, under `path`; those of the condition with the character where they stand.
pub fn policy(message: &pb::Policy, path: &str) -> Result<Compiled<ModelField>, Vec<Violation>> {
    let mut v = Violations::at(path);
    let compiled = read(message, &mut v);
    match compile(&message.condition) {
        Ok(condition) => v.finish(compiled.map(|compiled| Compiled { condition: Some(condition), ..compiled })),
        Err(mistakes) => {
            for Mistake { character, message } in mistakes {
                v.add("condition", format_args!("at character {character}: {message}"));
            }
            v.finish(None)
        }
    }
}

/// Reads a policy of the store. A condition that this release cannot read is kept as one that nobody knows.
///
/// # Errors
/// Every violation at once, but for those of the condition.
pub fn stored_policy(message: &pb::Policy) -> Result<Compiled<ModelField>, Vec<Violation>> {
    let mut v = Violations::at("");
    let compiled = read(message, &mut v);
    let condition = compile(&message.condition);
    if let Err(mistakes) = &condition {
        tracing::error!(policy = %message.name, ?mistakes, "a policy's condition cannot be read: what it may meet is reviewed");
    }
    v.finish(compiled.map(|compiled| Compiled { condition: condition.ok(), ..compiled }))
}

/// Compiles a condition.
///
/// # Errors
/// Every mistake at once.
pub fn compile(condition: &str) -> Result<Condition<ModelField>, Vec<Mistake>> {
    Condition::read(condition, &|name, known| nearest(name, known.iter().copied()))
}

fn read(message: &pb::Policy, v: &mut Violations) -> Option<Compiled<ModelField>> {
    let pb::Policy {
        name,
        display_name,
        condition: _,
        effect,
        message: told,
        mode,
        unwaivable,
        revision: _,
        etag: _,
        create_time: _,
        update_time: _,
    } = message;
    if !name.strip_prefix("policies/").is_some_and(is_segment) {
        v.add("name", format_args!("`{}` is no policy name: write `policies/{{id}}`", shown(name)));
    }
    v.text("display_name", display_name.clone(), SHORT_CHARS_MAX);
    if told.trim().is_empty() {
        v.add("message", "it must be set: whoever meets the policy needs to know why, and what to do instead");
    }
    let told = v.text("message", told.clone(), NOTE_CHARS_MAX);
    let effect = required::<PolicyEffect>(v, "effect", *effect);
    let is_enforced = match pb::PolicyMode::try_from(*mode) {
        Ok(pb::PolicyMode::Enforced) => true,
        Ok(pb::PolicyMode::DryRun) => false,
        Ok(pb::PolicyMode::Unspecified) | Err(_) => {
            v.add("mode", "it must be set: POLICY_MODE_ENFORCED or POLICY_MODE_DRY_RUN");
            false
        }
    };
    let policy =
        Policy { name: name.as_str().into(), effect: effect?, message: told, is_enforced, is_unwaivable: *unwaivable };
    Some(Compiled { policy, condition: None })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mistakes_are_all_told_with_their_places() {
        let told = |text: &str| -> Vec<String> {
            let mistakes = compile(text).expect_err(text);
            mistakes.into_iter().map(|Mistake { character, message }| format!("{character}: {message}")).collect()
        };
        insta::assert_debug_snapshot!(
            [
                "",
                "use.purpos = COMMERCIAL AND model.teir = PROPRIETARY",
                "use.purpose = COMERCIAL",
                "NOT decision.duties:share_alike",
                "decision.verdict < NEEDS_REVIEW OR decision.reasons = TERMS_NOT_READ",
                "unknown(use.purpose = COMMERCIAL)",
                "NOT use.purpose:*",
                "use.labels.environment:*",
                "unknown(decision.verdict >= INELIGIBLE)",
                "use.labels = x",
                "model.tier = ",
            ]
            .map(|text| (text, told(text)))
        );
        for good in [
            "use.labels:environment",
            "NOT use.labels:environment",
            "unknown(model.tier = PROPRIETARY)",
            "use.activities:*",
            "llama",
            "decision.verdict > ELIGIBLE",
            "use.organization.monthly_active_users > 100M",
        ] {
            compile(good).unwrap_or_else(|mistakes| panic!("{good}: {mistakes:?}"));
        }
    }
}
