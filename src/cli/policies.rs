//! `weighbridge policies`: organisation policies, from their files to a server.

use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use serde_json::Value;
use tonic::{Code, Status};

use super::client::{Channel, ServerArguments, failed, read_message, read_tree};
use super::facts::FactArguments;
use super::named::{self, Collection, NamedCommand};
use super::output::{Output, Style};
use super::records::built_in;
use super::{Failure, fields};
use crate::catalog::fields::ModelField;
use crate::pb::weighbridge::v1 as pb;
use crate::pb::weighbridge::v1::policy_service_client::PolicyServiceClient;
use crate::pb::weighbridge::v1::simulate_policy_request::{DecisionsScope, DeploymentsScope, ModelsScope, Scope};
use crate::policy::PolicyField;
use crate::registry::{Registry, RequestId, validate_policies};
use crate::service::check_eligibility;

const POLICY: &str = "weighbridge.v1.Policy";

/// What can be done with policies.
#[derive(Debug, Subcommand)]
pub(super) enum PoliciesCommand {
    #[command(flatten)]
    Named(NamedCommand),
    /// List the fields that a condition can name, with what they hold.
    Fields,
    /// Say what is wrong with the policies of files, without a server: every mistake, those of conditions with their places.
    Validate {
        /// Files: a policy, or a list of them under `policies`.
        #[arg(required = true)]
        files: Vec<PathBuf>,
    },
    /// Run files of cases against policies, without a server: whether each check gives the verdict that its case expects. Exits
    /// with 1 where one does not.
    Test(TestArguments),
    /// Say which verdicts would change if policies were written, on what a server holds. Nothing is written.
    Simulate(Box<SimulateArguments>),
}

#[derive(Debug, Args)]
pub(super) struct TestArguments {
    /// Files of cases.
    #[arg(required = true)]
    cases: Vec<PathBuf>,
    /// Files of policies, beside those that the files of cases name.
    #[arg(long = "policies", value_name = "FILE")]
    policies: Vec<PathBuf>,
}

#[derive(Debug, Args)]
pub(super) struct SimulateArguments {
    /// Files of policies that would be written.
    files: Vec<PathBuf>,
    /// A policy that would be deleted.
    #[arg(long = "delete", value_name = "NAME")]
    deleted: Vec<String>,
    /// Try it on the newest decisions of the log, this many, instead of on models.
    #[arg(long, value_name = "COUNT", conflicts_with = "filter")]
    last: Option<i32>,
    /// Try it on the registered deployments, each with its own facts, instead of on models.
    #[arg(long, conflicts_with_all = ["filter", "last"])]
    deployments: bool,
    /// Only models that meet a filter.
    #[arg(long, default_value = "", hide_default_value = true)]
    filter: String,
    /// Changes that are told at most.
    #[arg(long, default_value_t = 100)]
    max_changes: i32,
    #[command(flatten)]
    facts: FactArguments,
    #[command(flatten)]
    server: ServerArguments,
}

pub(super) async fn run(command: PoliciesCommand, out: &Output) -> Result<u8, Failure> {
    match command {
        PoliciesCommand::Named(command) => named::run::<PolicyServiceClient<Channel>>(command, out).await,
        PoliciesCommand::Fields => fields::print::<PolicyField<ModelField>>(out).map(|()| 0),
        PoliciesCommand::Validate { files } => validate(&files, out).await,
        PoliciesCommand::Test(arguments) => test(&arguments, out).await,
        PoliciesCommand::Simulate(arguments) => simulate(*arguments, out).await,
    }
}

/// The policies of a file: one, or a list of them under `policies`.
pub(super) fn read(path: &Path) -> Result<Vec<pb::Policy>, Failure> {
    let shown = path.display().to_string();
    let tree = read_tree(path)?;
    let several = tree.as_object().filter(|fields| fields.len() == 1).and_then(|fields| fields.get("policies"));
    match several {
        None => Ok(vec![read_message(&shown, &tree, POLICY)?]),
        Some(Value::Array(list)) => {
            let read = |(i, tree)| read_message(&format!("{shown}: policies[{i}]"), tree, POLICY);
            all(list.iter().enumerate().map(read))
        }
        Some(_) => Err(Failure::usage(format!("{shown}: policies: expected a list"))),
    }
}

/// Everything that was read, or everything that is wrong.
fn all<T>(results: impl Iterator<Item = Result<T, Failure>>) -> Result<Vec<T>, Failure> {
    let (mut read, mut wrong) = (Vec::new(), Vec::new());
    for result in results {
        match result {
            Ok(one) => read.push(one),
            Err(failure) => wrong.push(failure),
        }
    }
    match wrong.iter().map(|failure| failure.code).max() {
        None => Ok(read),
        Some(code) => {
            let messages: Vec<String> = wrong.into_iter().map(|failure| failure.message).collect();
            Err(Failure { code, message: messages.join("\n") })
        }
    }
}

/// The valid policies of files.
async fn read_valid(files: &[PathBuf]) -> Result<Vec<(PathBuf, pb::Policy)>, Failure> {
    let read = all(files.iter().map(|file| Ok((file.clone(), read(file)?))))?;
    let list: Vec<(PathBuf, pb::Policy)> = read
        .into_iter()
        .flat_map(|(file, policies)| policies.into_iter().map(move |policy| (file.clone(), policy)))
        .collect();
    let policies: Vec<pb::Policy> = list.iter().map(|(_, policy)| policy.clone()).collect();
    let catalog = built_in().await?.snapshot();
    let problems = validate_policies(&policies, &catalog.reference().vocabulary)
        .map_err(|error| Failure::usage(error.to_string()))?;
    if problems.is_empty() {
        return Ok(list);
    }
    let told = problems.iter().map(|problem| {
        let (at, field) = problem.field.split_once('.').unwrap_or((&problem.field, ""));
        let at: Option<usize> = at.trim_start_matches("policies[").trim_end_matches(']').parse().ok();
        let file = at.and_then(|at| list.get(at)).map(|(file, _)| file.display().to_string()).unwrap_or_default();
        let place = match problem.character {
            0 => String::new(),
            character => format!("at character {character}: "),
        };
        format!("{file}: {}: {field}: {place}{}", problem.policy, problem.description)
    });
    Err(Failure::usage(told.collect::<Vec<_>>().join("\n")))
}

async fn validate(files: &[PathBuf], out: &Output) -> Result<u8, Failure> {
    for (file, policy) in read_valid(files).await? {
        out.line(&format!("{}: {} is valid", file.display(), policy.name))?;
    }
    Ok(0)
}

/// A registry of the built-in catalog with policies, in this process.
pub(super) async fn with_policies(policies: Vec<pb::Policy>) -> Result<Registry, Failure> {
    let registry = built_in().await?;
    for policy in policies {
        let id = policy.name.trim_start_matches("policies/").to_owned();
        let created = registry.create_named(&RequestId::default(), &id, Some(policy), false).await;
        created.map_err(|error| Failure::usage(error.to_string()))?;
    }
    Ok(registry)
}

/// The policies of files, for checks in this process.
pub(super) async fn of_files(files: &[PathBuf]) -> Result<Vec<pb::Policy>, Failure> {
    Ok(read_valid(files).await?.into_iter().map(|(_, policy)| policy).collect())
}

/// A case: a check and what must come of it.
struct Case {
    name: String,
    request: pb::CheckEligibilityRequest,
    verdict: Option<pb::Verdict>,
    /// The policies that must be met, or that may be; exactly these.
    met: Option<Vec<String>>,
    /// Reasons that must be among those of the findings.
    reasons: Vec<String>,
}

/// A file of cases.
struct CaseFile {
    policies: Vec<PathBuf>,
    cases: Vec<Case>,
}

async fn test(arguments: &TestArguments, out: &Output) -> Result<u8, Failure> {
    let files = all(arguments.cases.iter().map(|file| Ok((file, read_cases(file)?))))?;
    let (mut passed, mut failed) = (0, 0);
    for (file, CaseFile { policies, cases }) in files {
        let named: Vec<PathBuf> = arguments.policies.iter().cloned().chain(policies).collect();
        if named.is_empty() {
            let text = format!("{}: name files of policies under `policies`, or with --policies", file.display());
            return Err(Failure::usage(text));
        }
        let registry = with_policies(of_files(&named).await?).await?;
        for case in cases {
            let wrong = run_case(&registry, &case).await;
            let (style, word) = if wrong.is_empty() { (Style::Good, "ok") } else { (Style::Bad, "FAILED") };
            out.line(&format!("{}  {}: {}", out.styled(style, word), file.display(), case.name))?;
            for line in &wrong {
                out.line(&format!("        {line}"))?;
            }
            if wrong.is_empty() { passed += 1 } else { failed += 1 }
        }
    }
    out.line(&format!("{passed} passed, {failed} failed"))?;
    Ok(u8::from(failed > 0))
}

/// What is not as a case expects.
async fn run_case(registry: &Registry, case: &Case) -> Vec<String> {
    let decision = match check_eligibility(registry, case.request.clone()).await {
        Ok(response) => response.decision.unwrap_or_default(),
        Err(status) => return vec![told(&status)],
    };
    let mut wrong = Vec::new();
    let short = |verdict: pb::Verdict| verdict.as_str_name().trim_start_matches("VERDICT_").to_owned();
    if let Some(expected) = case.verdict.filter(|expected| *expected != decision.verdict()) {
        wrong.push(format!("expected {}, got {}: {}", short(expected), short(decision.verdict()), decision.summary));
    }
    let mut met: Vec<&str> = decision.findings.iter().filter_map(|f| Some(&*f.origin.as_ref()?.policy)).collect();
    met.retain(|policy| !policy.is_empty());
    met.sort_unstable();
    met.dedup();
    if let Some(expected) = &case.met {
        let mut expected: Vec<&str> = expected.iter().map(String::as_str).collect();
        expected.sort_unstable();
        if expected != met {
            wrong.push(format!("expected the policies {expected:?}, met {met:?}"));
        }
    }
    for reason in &case.reasons {
        if !decision.findings.iter().any(|finding| finding.reason == *reason) {
            wrong.push(format!("expected a finding {reason}"));
        }
    }
    wrong
}

fn told(status: &Status) -> String {
    match status.code() {
        Code::NotFound => format!("no such model: {}", status.message()),
        _ => status.message().to_owned(),
    }
}

fn read_cases(path: &Path) -> Result<CaseFile, Failure> {
    let shown = path.display().to_string();
    let wrong = |what: String| Failure::usage(format!("{shown}: {what}"));
    let tree = read_tree(path)?;
    let Some(fields) = tree.as_object() else { return Err(wrong("it holds `policies` and `cases`".into())) };
    known(fields, &["policies", "cases"]).map_err(&wrong)?;
    let beside = path.parent().unwrap_or(Path::new(""));
    let policies = texts(fields.get("policies"), "policies").map_err(&wrong)?;
    let Some(Value::Array(list)) = fields.get("cases") else { return Err(wrong("cases: expected a list".into())) };
    let read = |(i, tree)| read_case(&format!("{shown}: cases[{i}]"), tree);
    let cases = all(list.iter().enumerate().map(read))?;
    if cases.is_empty() {
        return Err(wrong("cases: there is none".into()));
    }
    Ok(CaseFile { policies: policies.into_iter().map(|file| beside.join(file)).collect(), cases })
}

fn read_case(shown: &str, tree: &Value) -> Result<Case, Failure> {
    let wrong = |what: String| Failure::usage(format!("{shown}: {what}"));
    let Some(fields) = tree.as_object() else { return Err(wrong("expected an object".into())) };
    known(fields, &["name", "model", "use", "verdict", "policies", "reasons"]).map_err(&wrong)?;
    let text = |field: &str| match fields.get(field) {
        None => Ok(String::new()),
        Some(Value::String(text)) => Ok(text.clone()),
        Some(_) => Err(wrong(format!("{field}: expected text"))),
    };
    let model = text("model")?;
    if model.is_empty() {
        return Err(wrong("model: it must be set".into()));
    }
    let use_ = match fields.get("use") {
        None => pb::Use::default(),
        Some(tree) => read_message(&format!("{shown}.use"), tree, "weighbridge.v1.Use")?,
    };
    let verdict = match text("verdict")?.as_str() {
        "" => None,
        word => {
            let named = super::deployments::verdict(word);
            Some(named.map_err(|Failure { message, .. }| wrong(format!("verdict: {message}")))?)
        }
    };
    let reasons = texts(fields.get("reasons"), "reasons").map_err(&wrong)?;
    let met = fields.get("policies").map(|list| texts(Some(list), "policies")).transpose().map_err(&wrong)?;
    let met = met.map(|list| list.into_iter().map(full).collect());
    if verdict.is_none() && met.is_none() && reasons.is_empty() {
        return Err(wrong("it expects nothing: say `verdict`, `policies` or `reasons`".into()));
    }
    let name = match text("name")? {
        name if name.is_empty() => model.clone(),
        name => name,
    };
    let request = pb::CheckEligibilityRequest { model, r#use: Some(use_), ..Default::default() };
    Ok(Case { name, request, verdict, met, reasons })
}

fn full(policy: String) -> String {
    if policy.starts_with("policies/") { policy } else { format!("policies/{policy}") }
}

fn known(fields: &serde_json::Map<String, Value>, names: &[&str]) -> Result<(), String> {
    match fields.keys().find(|key| !names.contains(&key.as_str())) {
        None => Ok(()),
        Some(key) => Err(format!("there is no field `{key}`: there are {}", names.join(", "))),
    }
}

fn texts(list: Option<&Value>, field: &str) -> Result<Vec<String>, String> {
    let wrong = || format!("{field}: expected a list of texts");
    match list {
        None => Ok(Vec::new()),
        Some(Value::Array(list)) => {
            list.iter().map(|text| text.as_str().map(str::to_owned).ok_or_else(wrong)).collect()
        }
        Some(_) => Err(wrong()),
    }
}

async fn simulate(arguments: SimulateArguments, out: &Output) -> Result<u8, Failure> {
    let SimulateArguments { files, deleted, last, deployments, filter, max_changes, facts, server } = arguments;
    if files.is_empty() && deleted.is_empty() {
        return Err(Failure::usage("name files of policies, or policies to delete with --delete"));
    }
    let scope = match last {
        Some(last) => Scope::Decisions(DecisionsScope { last }),
        None if deployments => Scope::Deployments(DeploymentsScope::default()),
        None => Scope::Models(ModelsScope { filter, r#use: Some(facts.read()?), use_profile: facts.profile() }),
    };
    let request = pb::SimulatePolicyRequest {
        policies: of_files(&files).await?,
        deleted_policies: deleted.into_iter().map(full).collect(),
        scope: Some(scope),
        max_changes,
        min_revision: 0,
    };
    let mut client = PolicyServiceClient::new(server.connect().await?);
    let response = client.simulate_policy(request).await.map_err(|status| failed(&status))?.into_inner();
    if out.is_json() {
        return out.json("weighbridge.v1.SimulatePolicyResponse", &response).map(|()| 0);
    }
    print(&response, out).map(|()| 0)
}

fn print(response: &pb::SimulatePolicyResponse, out: &Output) -> Result<(), Failure> {
    let short = |verdict: pb::Verdict| verdict.as_str_name().trim_start_matches("VERDICT_").to_owned();
    for change in &response.changes {
        let what = [&change.deployment, &change.decision].into_iter().find(|name| !name.is_empty());
        let what = what.map_or_else(String::new, |name| format!("{name}  "));
        let (before, after) = (short(change.before()), short(change.after()));
        out.line(&format!("{what}{}  {before} → {after}", out.styled(Style::Bold, &change.model)))?;
        for (sign, list) in [("+", &change.added), ("-", &change.removed)] {
            for finding in list {
                out.line(&format!("  {sign} {}  {}", finding.reason, finding.message))?;
            }
        }
    }
    for transition in &response.transitions {
        let (before, after) = (short(transition.before()), short(transition.after()));
        out.line(&format!("{:>8}  {before} → {after}", transition.count))?;
    }
    for reason in &response.reasons {
        let of = if reason.policy.is_empty() { String::new() } else { format!(" of {}", reason.policy) };
        out.line(&format!("{:>+8} {:>+8}  {}{of}", reason.added, -reason.removed, reason.reason))?;
    }
    let pb::SimulatePolicyResponse { changed, checked, skipped, revision, .. } = response;
    let skipped = if *skipped > 0 { format!(", {skipped} could not be asked again") } else { String::new() };
    let told = format!("{changed} of {checked} verdicts would change{skipped}; registry revision {revision}");
    out.line(&out.styled(Style::Dim, &told))
}

impl Collection for PolicyServiceClient<Channel> {
    type Record = pb::Policy;
    const COLLECTION: &'static str = "policies";
    const MESSAGE: &'static str = POLICY;

    fn open(channel: Channel) -> Self {
        Self::new(channel)
    }

    fn read(path: &Path) -> Result<Vec<pb::Policy>, Failure> {
        read(path)
    }

    async fn get(&mut self, name: String) -> Result<pb::Policy, Status> {
        Ok(self.get_policy(pb::GetPolicyRequest { name, ..Default::default() }).await?.into_inner())
    }

    async fn page(&mut self, page_token: String) -> Result<(Vec<pb::Policy>, String), Status> {
        let page = self.list_policies(pb::ListPoliciesRequest { page_size: 1_000, page_token }).await?.into_inner();
        Ok((page.policies, page.next_page_token))
    }

    async fn put(&mut self, record: pb::Policy, validate_only: bool) -> Result<(), Status> {
        let policy = Some(pb::Policy { etag: String::new(), ..record });
        let request = pb::UpdatePolicyRequest {
            policy,
            update_mask: named::whole(),
            allow_missing: true,
            validate_only,
            ..Default::default()
        };
        self.update_policy(request).await.map(drop)
    }

    async fn delete(&mut self, name: String, etag: String) -> Result<(), Status> {
        self.delete_policy(pb::DeletePolicyRequest { name, etag, validate_only: false, ..Default::default() })
            .await
            .map(drop)
    }

    fn line(record: &pb::Policy) -> String {
        let effect = record.effect().as_str_name().trim_start_matches("POLICY_EFFECT_");
        let mode = record.mode().as_str_name().trim_start_matches("POLICY_MODE_");
        format!("{:<40} {effect:<6} {mode:<8}  {}", record.name, record.condition)
    }
}
