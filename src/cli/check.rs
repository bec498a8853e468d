//! `weighbridge check`.

use std::path::PathBuf;
use std::sync::Arc;

use clap::Args;
use jiff::Timestamp;
use serde_json::{Map, Value, json};
use tonic::{Code, Status};

use super::client::{ServerArguments, read_message, read_tree};
use super::output::{Output, Style, to_json};
use super::{Failure, client};
use crate::pb::weighbridge::v1 as pb;
use crate::pb::weighbridge::v1::eligibility_service_client::EligibilityServiceClient;
use crate::registry::Registry;
use crate::service::check_eligibility;
use crate::store::MemoryStore;

/// Facts that are not given are unknown: they never become a yes.
#[derive(Debug, Args)]
pub(super) struct CheckArguments {
    /// Models: resource names, or any id they are known by.
    #[arg(required = true)]
    models: Vec<String>,
    /// File with the facts of the use (`Use` as JSON, YAML or TOML); the options below add to it and replace what it says.
    #[arg(long = "use", value_name = "FILE")]
    use_file: Option<PathBuf>,
    /// A stored use profile.
    #[arg(long)]
    profile: Option<String>,
    /// commercial, internal-business, research, evaluation, education or personal.
    #[arg(long)]
    purpose: Option<String>,
    /// licensee or end-user-of-product.
    #[arg(long)]
    role: Option<String>,
    /// vendor-api, self-hosted, on-premises or edge-offline.
    #[arg(long)]
    hosting: Option<String>,
    /// With vendor-api: who serves it, for example groq.
    #[arg(long)]
    provider: Option<String>,
    /// fine-tune, modify, redistribute-weights, redistribute-derivative, offer-as-service, train-other-models,
    /// train-competing-models, distribute-trained-model, publish-outputs or benchmark-publicly.
    #[arg(long = "activity", value_name = "ACTIVITY")]
    activities: Vec<String>,
    /// A use category, for example medical-advice.
    #[arg(long = "category", value_name = "CATEGORY")]
    categories: Vec<String>,
    /// A duty that is done or held already, for example registration.
    #[arg(long = "fulfilled", value_name = "DUTY")]
    fulfilled: Vec<String>,
    /// Monthly active users: NUMBER[@PERIOD][:SUBJECT], for example 800M, 800M@2024-11, 5M:product.
    #[arg(long, value_name = "FIGURE")]
    mau: Vec<String>,
    /// Daily active users, in the same form.
    #[arg(long, value_name = "FIGURE")]
    dau: Vec<String>,
    /// Yearly revenue in US dollars, in the same form.
    #[arg(long, value_name = "FIGURE")]
    revenue: Vec<String>,
    /// Monthly revenue in US dollars, in the same form.
    #[arg(long, value_name = "FIGURE")]
    monthly_revenue: Vec<String>,
    /// Any other figure: METRIC=NUMBER[@PERIOD][:SUBJECT].
    #[arg(long = "measure", value_name = "METRIC=FIGURE")]
    measures: Vec<String>,
    /// Principal place of business, for example DE.
    #[arg(long, value_name = "COUNTRY")]
    org_country: Option<String>,
    /// individual, company, non-profit, academic, government or military.
    #[arg(long, value_name = "TYPE")]
    org_type: Option<String>,
    /// A kind of business, for example model-as-a-service; none for none of them.
    #[arg(long = "business-type", value_name = "TYPE")]
    business_types: Vec<String>,
    /// Where it runs or is offered from.
    #[arg(long = "deploy-country", value_name = "COUNTRY")]
    deploy_countries: Vec<String>,
    /// Where its users are.
    #[arg(long = "user-country", value_name = "COUNTRY")]
    user_countries: Vec<String>,
    /// Commit, tag or date of the weights.
    #[arg(long, value_name = "REVISION")]
    model_revision: Option<String>,
    /// The day the use happens, for example 2026-01-31; today without it.
    #[arg(long, value_name = "DAY")]
    at: Option<String>,
    /// At least this open: open-weight or open-source.
    #[arg(long, value_name = "TIER")]
    min_tier: Option<String>,
    /// Only these licenses.
    #[arg(long = "license-allow", value_name = "LICENSE")]
    license_allow: Vec<String>,
    /// Not these licenses.
    #[arg(long = "license-deny", value_name = "LICENSE")]
    license_deny: Vec<String>,
    /// Answer from the built-in catalog in this process, without a server.
    #[arg(long)]
    offline: bool,
    /// Answer as the registry stood at a revision.
    #[arg(long, value_name = "REVISION")]
    as_of: Option<i64>,
    /// Add remedies and the lineage view.
    #[arg(long)]
    explain: bool,
    /// Exit with 3 where duties remain.
    #[arg(long)]
    strict_conditions: bool,
    #[command(flatten)]
    server: ServerArguments,
}

pub(super) async fn run(arguments: CheckArguments, out: &Output) -> Result<u8, Failure> {
    let use_ = facts(&arguments)?;
    let checker = Checker::new(&arguments).await?;
    let mut worst = 0;
    let mut answers = Vec::new();
    for (i, model) in arguments.models.iter().enumerate() {
        let request = pb::CheckEligibilityRequest {
            model: model.clone(),
            r#use: Some(use_.clone()),
            use_profile: arguments.profile.clone().unwrap_or_default(),
            as_of_revision: arguments.as_of.unwrap_or_default(),
            explain: arguments.explain,
            ..pb::CheckEligibilityRequest::default()
        };
        let code = match checker.check(request).await {
            Ok(response) => {
                let decision = response.decision.clone().unwrap_or_default();
                if out.is_json() {
                    answers.push(to_json("weighbridge.v1.CheckEligibilityResponse", &response)?);
                } else {
                    print(out, &decision, i > 0)?;
                }
                exit_code(decision.verdict(), arguments.strict_conditions)
            }
            Err(status) => {
                let Failure { code, message } = client::failed(&status);
                super::output::complain(&format!("{model}: {message}"));
                if out.is_json() {
                    answers.push(
                        json!({ "model": model, "error": { "code": code_name(status.code()), "message": message } }),
                    );
                }
                code
            }
        };
        worst = worse(worst, code);
    }
    if out.is_json() {
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

fn exit_code(verdict: pb::Verdict, strict_conditions: bool) -> u8 {
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
    Online(EligibilityServiceClient<tonic::transport::Channel>),
}

impl Checker {
    async fn new(arguments: &CheckArguments) -> Result<Self, Failure> {
        if !arguments.offline {
            let channel = arguments.server.connect().await?;
            return Ok(Self::Online(EligibilityServiceClient::new(channel)));
        }
        let registry = Registry::open(Arc::new(MemoryStore::new()), Arc::new(Timestamp::now)).await;
        let registry = registry.map_err(|e| Failure::new(e.to_string()))?;
        Ok(Self::Offline(Box::new(registry)))
    }

    async fn check(&self, request: pb::CheckEligibilityRequest) -> Result<pb::CheckEligibilityResponse, Status> {
        match self {
            Self::Offline(registry) => check_eligibility(registry, request).await,
            Self::Online(client) => client.clone().check_eligibility(request).await.map(tonic::Response::into_inner),
        }
    }
}

/// The facts of the file and of the options, read in one go, so that every problem is reported at once.
fn facts(arguments: &CheckArguments) -> Result<pb::Use, Failure> {
    let mut tree = match &arguments.use_file {
        None => Map::new(),
        Some(path) => match read_tree(path)? {
            Value::Object(tree) => tree,
            _ => return Err(Failure::usage(format!("`{}`: it holds the fields of a use", path.display()))),
        },
    };
    let texts = [
        ("purpose", &arguments.purpose),
        ("role", &arguments.role),
        ("hosting", &arguments.hosting),
        ("provider", &arguments.provider),
        ("model_revision", &arguments.model_revision),
        ("at", &arguments.at),
    ];
    for (field, text) in texts {
        set(&mut tree, field, text.clone().map(Value::from));
    }
    let lists = [
        ("activities", &arguments.activities),
        ("categories", &arguments.categories),
        ("fulfilled_duties", &arguments.fulfilled),
        ("deployment_countries", &arguments.deploy_countries),
        ("end_user_countries", &arguments.user_countries),
    ];
    for (field, list) in lists {
        add(&mut tree, field, list);
    }
    let requirements = inner(&mut tree, "requirements");
    if let Some(requirements) = requirements {
        set(requirements, "min_tier", arguments.min_tier.clone().map(Value::from));
        set(requirements, "license_allow", list_value(&arguments.license_allow));
        set(requirements, "license_deny", list_value(&arguments.license_deny));
    }
    if let Some(organization) = inner(&mut tree, "organization") {
        set(organization, "country", arguments.org_country.clone().map(Value::from));
        set(organization, "type", arguments.org_type.clone().map(Value::from));
        set(organization, "business_types", list_value(&arguments.business_types));
    }
    figures(arguments, &mut tree)?;
    let shown = arguments.use_file.as_ref().map_or_else(|| "use".to_owned(), |p| p.display().to_string());
    read_message(&shown, &Value::Object(tree), "weighbridge.v1.Use")
}

fn list_value(list: &[String]) -> Option<Value> {
    (!list.is_empty()).then(|| Value::from(list.to_vec()))
}

/// Adds to a list of the file: what it says is done, and where, stays said.
fn add(tree: &mut Map<String, Value>, field: &str, more: &[String]) {
    if more.is_empty() {
        return;
    }
    let key = tree.keys().find(|key| spelled(key) == spelled(field)).cloned();
    let list = tree.entry(key.unwrap_or_else(|| field.to_owned())).or_insert_with(|| Value::Array(Vec::new()));
    if let Some(list) = list.as_array_mut() {
        for item in more {
            let item = Value::from(item.as_str());
            if !list.contains(&item) {
                list.push(item);
            }
        }
    }
}

/// Sets a field that an option gives; a spelling of it in the file gives way.
fn set(tree: &mut Map<String, Value>, field: &str, value: Option<Value>) {
    let Some(value) = value else { return };
    tree.retain(|key, _| spelled(key) != spelled(field));
    tree.insert(field.to_owned(), value);
}

/// The object under a field, made when it is not there; `None` when the file has something else there.
fn inner<'a>(tree: &'a mut Map<String, Value>, field: &str) -> Option<&'a mut Map<String, Value>> {
    tree.entry(field.to_owned()).or_insert_with(|| Value::Object(Map::new())).as_object_mut()
}

fn spelled(key: &str) -> String {
    key.chars().filter(|c| !matches!(c, '_' | '-')).flat_map(char::to_lowercase).collect()
}

/// Figures: with a period or subject they are exact measures, without they are the organization's.
fn figures(arguments: &CheckArguments, tree: &mut Map<String, Value>) -> Result<(), Failure> {
    let own = [
        ("monthly_active_users", &arguments.mau),
        ("daily_active_users", &arguments.dau),
        ("annual_revenue_usd", &arguments.revenue),
        ("monthly_revenue_usd", &arguments.monthly_revenue),
    ];
    let mut exact = Vec::new();
    for (metric, figures) in own {
        let mut own_figure = false;
        for text in figures {
            let figure = Figure::parse(text)?;
            match figure {
                Figure { period: None, subject: None, .. } if own_figure => {
                    return Err(Failure::usage(format!("`{text}`: the organization's {metric} is given twice")));
                }
                Figure { value, period: None, subject: None } => {
                    own_figure = true;
                    if let Some(organization) = inner(tree, "organization") {
                        set(organization, metric, Some(value.into()));
                    }
                }
                figure => exact.push(figure.measure(metric)),
            }
        }
    }
    for text in &arguments.measures {
        let Some((metric, figure)) = text.split_once('=') else {
            return Err(Failure::usage(format!("`{text}` is no measure: write METRIC=NUMBER[@PERIOD][:SUBJECT]")));
        };
        exact.push(Figure::parse(figure)?.measure(metric));
    }
    if !exact.is_empty() {
        let list = tree.entry("measures").or_insert_with(|| Value::Array(Vec::new()));
        if let Some(list) = list.as_array_mut() {
            list.extend(exact);
        }
    }
    Ok(())
}

/// `NUMBER[@PERIOD][:SUBJECT]`.
#[derive(Debug, PartialEq)]
struct Figure {
    value: i64,
    period: Option<String>,
    subject: Option<String>,
}

impl Figure {
    fn parse(text: &str) -> Result<Self, Failure> {
        let (rest, subject) = match text.rsplit_once(':') {
            Some((rest, subject)) => (rest, Some(subject.to_owned())),
            None => (text, None),
        };
        let (number, period) = match rest.split_once('@') {
            Some((number, period)) => (number, Some(period.to_owned())),
            None => (rest, None),
        };
        let value = number_of(number).ok_or_else(|| {
            Failure::usage(format!(
                "`{text}` is no figure: write NUMBER[@PERIOD][:SUBJECT], the number with K, M or B, for example 800M@2024-11:group"
            ))
        })?;
        Ok(Self { value, period, subject })
    }

    fn measure(self, metric: &str) -> Value {
        json!({
            "metric": metric,
            "subject": self.subject.unwrap_or_else(|| "group".to_owned()),
            "period": self.period.unwrap_or_default(),
            "value": self.value,
        })
    }
}

/// A whole number: digits with `_` or `,` between thousands, a decimal part only before K, M or B.
fn number_of(text: &str) -> Option<i64> {
    let text = text.replace(['_', ','], "");
    let (digits, places) = match text.chars().last()?.to_ascii_uppercase() {
        'K' => (text.get(..text.len() - 1)?, 3),
        'M' => (text.get(..text.len() - 1)?, 6),
        'B' | 'G' => (text.get(..text.len() - 1)?, 9),
        _ => (text.as_str(), 0),
    };
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let all_digits = |s: &str| s.bytes().all(|b| b.is_ascii_digit());
    if whole.is_empty() || !all_digits(whole) || !all_digits(fraction) || fraction.len() > places {
        return None;
    }
    let scaled = format!("{whole}{fraction}{}", "0".repeat(places - fraction.len()));
    scaled.parse().ok()
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
        let from = origin(finding.origin.as_ref(), &decision.model);
        if !from.is_empty() {
            out.line(&out.styled(Style::Dim, &format!("           {from}")))?;
        }
    }
    if !decision.missing_facts.is_empty() {
        out.line(&format!("  missing facts: {}", decision.missing_facts.join(", ")))?;
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
    fn figures_are_exact() {
        let value = |text| Figure::parse(text).map(|f| f.value).ok();
        assert_eq!(value("800M"), Some(800_000_000));
        assert_eq!(value("700,000,001"), Some(700_000_001));
        assert_eq!(value("2.5M"), Some(2_500_000));
        assert_eq!(value("1.2345K"), None);
        assert_eq!(value("-5"), None);
        assert_eq!(value("9999999999999999999"), None);
        assert_eq!(value(""), None);
        let exact = Figure::parse("800M@2024-11:group").unwrap();
        assert_eq!((exact.period.as_deref(), exact.subject.as_deref()), (Some("2024-11"), Some("group")));
    }

    #[test]
    fn the_worst_of_several_models_decides() {
        assert_eq!(worse(0, 4), 4);
        assert_eq!(worse(5, 4), 5);
        assert_eq!(worse(5, 6), 6);
        assert_eq!(worse(6, 1), 1);
        assert_eq!(worse(3, 0), 3);
    }
}
