//! What comes of asking for a model at a gate.

use tonic::{Code, Status};
use tonic_types::StatusExt as _;

use crate::pb::weighbridge::v1 as pb;
use crate::registry::Registry;
use crate::service::check_eligibility;

/// What comes of asking for a model.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Outcome {
    pub(super) passes: bool,
    /// Unspecified: there is none.
    pub(super) verdict: pb::Verdict,
    /// The models that the ids lead to.
    pub(super) models: Vec<String>,
    pub(super) reasons: Vec<String>,
    pub(super) policies: Vec<String>,
    /// What must be done, each as its duty says it.
    pub(super) duties: Vec<String>,
    pub(super) revision: i64,
    pub(super) message: String,
}

/// What a model is asked with.
#[derive(Clone, Copy, Debug)]
pub(super) struct With<'a> {
    pub(super) use_: &'a pb::Use,
    /// `useProfiles/…`; empty: none.
    pub(super) use_profile: &'a str,
    pub(super) pass_reviews: bool,
}

impl Outcome {
    /// A refusal without a decision.
    pub(super) fn refused(reason: &str, message: String) -> Self {
        Self {
            passes: false,
            verdict: pb::Verdict::Unspecified,
            models: Vec::new(),
            reasons: vec![reason.to_owned()],
            policies: Vec::new(),
            duties: Vec::new(),
            revision: 0,
            message,
        }
    }

    /// The one check.
    pub(super) async fn ask(registry: &Registry, model: &str, with: With<'_>) -> Self {
        let request = pb::CheckEligibilityRequest {
            model: model.to_owned(),
            r#use: Some(with.use_.clone()),
            use_profile: with.use_profile.to_owned(),
            ..Default::default()
        };
        match check_eligibility(registry, request).await {
            Ok(response) => Self::of(response.decision.unwrap_or_default(), with.pass_reviews),
            Err(status) => Self::refused(code_of(&status), status.message().to_owned()),
        }
    }

    fn of(decision: pb::Decision, pass_reviews: bool) -> Self {
        let passes = match decision.verdict() {
            pb::Verdict::Eligible | pb::Verdict::EligibleWithConditions => true,
            pb::Verdict::NeedsReview => pass_reviews,
            pb::Verdict::Ineligible | pb::Verdict::Unspecified => false,
        };
        let (mut reasons, mut policies) = (Vec::new(), Vec::new());
        let add = |list: &mut Vec<String>, text: &str| {
            if !text.is_empty() && !list.iter().any(|known| known == text) {
                list.push(text.to_owned());
            }
        };
        for finding in decision.findings.iter().filter(|finding| finding.acts()) {
            add(&mut reasons, &finding.reason);
            add(&mut policies, finding.origin.as_ref().map_or("", |origin| &origin.policy));
        }
        Self {
            passes,
            verdict: decision.verdict(),
            models: vec![decision.model],
            reasons,
            policies,
            duties: decision.duties.into_iter().map(|duty| duty.text).collect(),
            revision: decision.revision,
            message: decision.summary,
        }
    }

    /// Whether it is graver than another.
    pub(super) fn is_graver_than(&self, other: &Self) -> bool {
        (self.passes, other.verdict as i32) < (other.passes, self.verdict as i32)
    }

    /// The verdict's name; `NONE`: there is none.
    pub(super) fn verdict_name(&self) -> &'static str {
        match self.verdict {
            pb::Verdict::Unspecified => "NONE",
            verdict => verdict.as_str_name().trim_start_matches("VERDICT_"),
        }
    }
}

/// What a refusal without a decision is called.
fn code_of(status: &Status) -> &'static str {
    let of = |key: &str| status.get_error_details().error_info().and_then(|info| info.metadata.get(key).cloned());
    match status.code() {
        // The profile is the gate's own.
        Code::NotFound if of("kind").is_some_and(|kind| kind == "use profile") => "GATE_MISCONFIGURED",
        Code::NotFound => "MODEL_NOT_FOUND",
        Code::FailedPrecondition => "MODEL_AMBIGUOUS",
        Code::InvalidArgument => "GATE_MISCONFIGURED",
        _ => "NO_ANSWER",
    }
}
