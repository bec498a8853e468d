//! `weighbridge check`.

use clap::Args;
use serde_json::{Value, json};
use tonic::{Code, Status};

use super::client::{Channel, ServerArguments};
use super::facts::FactArguments;
use super::model_list::{self, Asked};
use super::moment::MomentArguments;
use super::output::{Output, Style, to_json};
use super::{Failure, client, sarif};
use crate::pb::weighbridge::v1 as pb;
use crate::pb::weighbridge::v1::eligibility_service_client::EligibilityServiceClient;
use crate::registry::Registry;
use crate::service::check_eligibility;

/// Facts that are not given are unknown: they never become a yes.
#[derive(Debug, Args)]
pub(super) struct CheckArguments {
    /// Models: resource names, or any id they are known by.
    #[arg(required_unless_present = "models_file")]
    models: Vec<String>,
    /// A file that names models: one a line, or a configuration of LiteLLM (YAML or JSON with `model_list`).
    #[arg(long = "models", value_name = "FILE")]
    models_file: Option<std::path::PathBuf>,
    #[command(flatten)]
    facts: FactArguments,
    /// Answer from the built-in catalog in this process, without a server.
    #[arg(long)]
    offline: bool,
    /// With --offline: files of organisation policies that hold as well.
    #[arg(long = "policies", value_name = "FILE", requires = "offline")]
    policies: Vec<std::path::PathBuf>,
    #[command(flatten)]
    moment: MomentArguments,
    /// Add remedies and the lineage view.
    #[arg(long)]
    explain: bool,
    /// Keep the decision in the server's decision log; its name is printed.
    #[arg(long, conflicts_with = "offline")]
    record: bool,
    /// Exit with 3 where duties remain.
    #[arg(long)]
    strict_conditions: bool,
    #[command(flatten)]
    server: ServerArguments,
}

pub(super) async fn run(arguments: CheckArguments, out: &Output) -> Result<u8, Failure> {
    if arguments.offline && arguments.moment.is_given() {
        let reason = "the catalog in this process has no history: leave out --offline, and ask a server with --server";
        return Err(Failure::usage(format!("--as-of does not go with --offline: {reason}")));
    }
    let use_ = arguments.facts.read()?;
    let use_profile = arguments.facts.profile();
    let checker = Checker::new(&arguments).await?;
    let mut asked: Vec<Asked> = arguments.models.iter().map(|model| Asked::named(model)).collect();
    if let Some(file) = &arguments.models_file {
        asked.extend(model_list::read(file)?);
    }
    let mut worst = 0;
    let mut answers = Vec::new();
    let mut outcomes = Vec::new();
    for (i, asked) in asked.into_iter().enumerate() {
        let model = &asked.model;
        let request = pb::CheckEligibilityRequest {
            model: model.clone(),
            r#use: Some(use_.clone()),
            use_profile: use_profile.clone(),
            as_of_revision: arguments.moment.revision(),
            as_of_time: arguments.moment.time(),
            explain: arguments.explain,
            record: arguments.record,
            ..pb::CheckEligibilityRequest::default()
        };
        let code = match checker.check(request).await {
            Ok(response) => {
                let decision = response.decision.clone().unwrap_or_default();
                let code = exit_code(decision.verdict(), arguments.strict_conditions);
                if out.is_sarif() {
                    outcomes.push((asked, Ok(decision)));
                } else if out.is_json() {
                    answers.push(to_json("weighbridge.v1.CheckEligibilityResponse", &response)?);
                } else {
                    print(out, &decision, i > 0)?;
                }
                code
            }
            Err(status) => {
                let Failure { code, message } = client::failed(&status);
                super::output::complain(&format!("{model}: {message}"));
                if out.is_sarif() {
                    outcomes.push((asked, Err(message)));
                } else if out.is_json() {
                    answers.push(
                        json!({ "model": model, "error": { "code": code_name(status.code()), "message": message } }),
                    );
                }
                code
            }
        };
        worst = worse(worst, code);
    }
    if out.is_sarif() {
        out.value(&sarif::log(&outcomes))?;
    } else if out.is_json() {
        // One model gives its answer, several give a list.
        match <[Value; 1]>::try_from(answers) {
            Ok([one]) => out.value(&one)?,
            Err(several) => out.value(&Value::Array(several))?,
        }
    }
    Ok(worst)
}

fn code_name(code: Code) -> String {
    format!("{code:?}")
}

pub(super) fn exit_code(verdict: pb::Verdict, strict_conditions: bool) -> u8 {
    match verdict {
        pb::Verdict::Eligible => 0,
        pb::Verdict::EligibleWithConditions => {
            if strict_conditions {
                3
            } else {
                0
            }
        }
        pb::Verdict::NeedsReview => 4,
        pb::Verdict::Ineligible => 5,
        pb::Verdict::Unspecified => 1,
    }
}

/// The worse of two exit codes: a failure to answer is worse than any answer.
fn worse(a: u8, b: u8) -> u8 {
    let rank = |code: u8| [0, 3, 4, 5, 6, 2, 1].iter().position(|c| *c == code);
    if rank(b) > rank(a) { b } else { a }
}

/// Answers in this process or from a server.
enum Checker {
    Offline(Box<Registry>),
    Online(Box<EligibilityServiceClient<Channel>>),
}

impl Checker {
    async fn new(arguments: &CheckArguments) -> Result<Self, Failure> {
        if !arguments.offline {
            let channel = arguments.server.connect().await?;
            return Ok(Self::Online(Box::new(EligibilityServiceClient::new(channel))));
        }
        let policies = super::policies::of_files(&arguments.policies).await?;
        Ok(Self::Offline(Box::new(super::policies::with_policies(policies).await?)))
    }

    async fn check(&self, request: pb::CheckEligibilityRequest) -> Result<pb::CheckEligibilityResponse, Status> {
        match self {
            Self::Offline(registry) => check_eligibility(registry, request).await,
            Self::Online(client) => client.clone().check_eligibility(request).await.map(tonic::Response::into_inner),
        }
    }
}

fn print(out: &Output, decision: &pb::Decision, again: bool) -> Result<(), Failure> {
    if again {
        out.line("")?;
    }
    let verdict = decision.verdict();
    let style = match verdict {
        pb::Verdict::Eligible => Style::Good,
        pb::Verdict::EligibleWithConditions | pb::Verdict::NeedsReview => Style::Warn,
        pb::Verdict::Ineligible | pb::Verdict::Unspecified => Style::Bad,
    };
    let word = verdict.as_str_name().trim_start_matches("VERDICT_");
    out.line(&format!("{}  {}", out.styled(style, word), out.styled(Style::Bold, &decision.model)))?;
    out.line(&format!("  {}", decision.summary))?;
    let tier = decision.model_tier().as_str_name().trim_start_matches("TIER_");
    let license =
        if decision.license_expression.is_empty() { "no license known" } else { &decision.license_expression };
    out.line(&out.styled(Style::Dim, &format!("  {tier}, {license}, registry revision {}", decision.revision)))?;
    for finding in &decision.findings {
        let effect = finding.effect().as_str_name().trim_start_matches("EFFECT_");
        let style = match finding.effect() {
            pb::Effect::Blocks => Style::Bad,
            pb::Effect::Review | pb::Effect::Duty => Style::Warn,
            pb::Effect::Permits => Style::Good,
            pb::Effect::Info | pb::Effect::Unspecified => Style::Dim,
        };
        out.line(&format!("  {}  {}", out.styled(style, &format!("{effect:<7}")), finding.reason))?;
        out.line(&format!("           {}", finding.message))?;
        if !finding.waived_by.is_empty() {
            out.line(&format!("           silenced by {}", finding.waived_by))?;
        }
        let from = origin(finding.origin.as_ref(), &decision.model);
        if !from.is_empty() {
            out.line(&out.styled(Style::Dim, &format!("           {from}")))?;
        }
    }
    if !decision.name.is_empty() {
        out.line(&format!("  recorded as {}, sha-256 {}", decision.name, decision.digest))?;
    }
    if !decision.missing_facts.is_empty() {
        out.line(&format!("  missing facts: {}", decision.missing_facts.join(", ")))?;
    }
    for step in &decision.lineage {
        super::models::print_step(out, step)?;
    }
    for remedy in &decision.remedies {
        let verdict = remedy.verdict().as_str_name().trim_start_matches("VERDICT_");
        out.line(&format!("  REMEDY   {} → {verdict}", remedy.text))?;
    }
    Ok(())
}

/// License, clause and url; the model too when it is an ancestor.
fn origin(origin: Option<&pb::FindingOrigin>, asked: &str) -> String {
    let Some(origin) = origin else { return String::new() };
    let mut parts = Vec::new();
    if !origin.model.is_empty() && origin.model != asked {
        parts.push(format!("from {}", origin.model));
    }
    if !origin.license.is_empty() {
        parts.push(origin.license.clone());
    }
    if !origin.clause.is_empty() {
        parts.push(format!("clause {}", origin.clause));
    }
    if !origin.requirement.is_empty() {
        parts.push(origin.requirement.clone());
    }
    if !origin.url.is_empty() {
        parts.push(origin.url.clone());
    }
    parts.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_worst_of_several_models_decides() {
        assert_eq!(worse(0, 4), 4);
        assert_eq!(worse(5, 4), 5);
        assert_eq!(worse(5, 6), 6);
        assert_eq!(worse(6, 1), 1);
        assert_eq!(worse(3, 0), 3);
    }
}
