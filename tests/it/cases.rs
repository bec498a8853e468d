//! Table cases: a model and a use in, verdict and reasons out. Each says which clause it follows from. The model is one of
//! the built-in catalog, one of the case's own records, or one that has nothing but a license. They are read from
//! `tests/cases/*.toml`; whoever adds a license adds a case.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

use serde::Deserialize;
use weighbridge::convert;
use weighbridge::domain::eligibility::{Reason, Verdict};
use weighbridge::domain::license::DutyKind;
use weighbridge::pb::weighbridge::v1 as pb;
use weighbridge::registry::Registry;
use weighbridge::service;
use weighbridge::store::MemoryStore;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    cases: Vec<Case>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    /// What holds, in a few words.
    name: String,
    /// The clause, and what it says.
    why: String,
    /// An id of the catalog, or the name of one of `records`.
    #[serde(default)]
    model: String,
    /// Instead: a license expression, of a model of text with public weights that has nothing else.
    #[serde(default)]
    license: String,
    /// `Model`s in text form that are not in the catalog, ancestors before what was made from them.
    #[serde(default)]
    records: Vec<serde_json::Value>,
    /// A `Use` in text form.
    #[serde(rename = "use")]
    use_: serde_json::Value,
    verdict: String,
    /// Codes that must be there.
    reasons: Vec<String>,
    /// Codes that must not.
    #[serde(default)]
    not_reasons: Vec<String>,
    /// Exactly these, in any order.
    missing_facts: Option<BTreeSet<String>>,
    /// Kinds of duties that must be owed.
    #[serde(default)]
    duties: Vec<String>,
    /// Kinds of duties that must not.
    #[serde(default)]
    not_duties: Vec<String>,
    /// For some codes, the model that they must come from.
    #[serde(default)]
    from: BTreeMap<String, String>,
    /// For some codes, words that the message of one finding must have, each of them.
    #[serde(default)]
    says: BTreeMap<String, Vec<String>>,
}

fn files() -> Vec<(String, File)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cases");
    let mut out = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        // Tables and folders beside the files belong to other tests.
        if path.extension().is_none_or(|extension| extension != "toml") {
            continue;
        }
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        let text = std::fs::read_to_string(&path).unwrap();
        out.push((name.clone(), toml::from_str(&text).unwrap_or_else(|error| panic!("{name}: {error}"))));
    }
    out.sort_by(|(a, _), (b, _)| a.cmp(b));
    out
}

/// A registry with the built-in catalog alone, on a fixed day.
async fn built_in() -> Registry {
    let day: jiff::Timestamp = "2026-06-01T00:00:00Z".parse().unwrap();
    Registry::open(Arc::new(MemoryStore::new()), Arc::new(move || day)).await.unwrap()
}

/// Words of a case that stand for nothing.
fn misspelled(case: &Case) -> Vec<String> {
    let mut out = Vec::new();
    if Verdict::parse(&case.verdict).is_none() {
        out.push(format!("`{}` is no verdict", case.verdict));
    }
    for code in case.reasons.iter().chain(&case.not_reasons).chain(case.from.keys()).chain(case.says.keys()) {
        if Reason::parse(code).is_none() {
            out.push(format!("`{code}` is no reason"));
        }
    }
    for kind in case.duties.iter().chain(&case.not_duties) {
        if DutyKind::parse(kind).is_none() {
            out.push(format!("`{kind}` is no kind of duty"));
        }
    }
    if case.why.is_empty() {
        out.push("it does not say why".to_owned());
    }
    if case.model.is_empty() == case.license.is_empty() {
        out.push("it names either a model or a license".to_owned());
    }
    out
}

fn read<T: prost::Message + Default>(value: &serde_json::Value, message: &str) -> Result<T, String> {
    let descriptor = convert::descriptor(message).unwrap();
    convert::text::read_as(value, &descriptor).map_err(|problems| format!("{message}: {problems:?}"))
}

async fn create(registry: &Registry, model: pb::Model) -> Result<String, String> {
    let (parent, id) = model.name.split_once("/models/").ok_or("a record has a name: `publishers/…/models/…`")?;
    let (parent, model_id) = (parent.to_owned(), id.to_owned());
    let request = pb::CreateModelRequest { parent, model_id, model: Some(model), ..Default::default() };
    let created = registry.create_model(request).await.map_err(|error| error.to_string())?;
    Ok(created.name)
}

/// The id to check: the case's own records are created before.
async fn subject(registry: &Registry, case: &Case) -> Result<String, String> {
    for record in &case.records {
        create(registry, read(record, "weighbridge.v1.Model")?).await?;
    }
    if case.license.is_empty() {
        return Ok(case.model.clone());
    }
    let id: String =
        case.name.chars().map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '-' }).collect();
    let weights = pb::Component {
        kind: pb::component::Kind::ModelWeights as i32,
        availability: pb::component::Availability::Available as i32,
        license_expression: case.license.clone(),
        ..Default::default()
    };
    let text = vec![pb::Modality::Text as i32];
    let model = pb::Model {
        name: format!("publishers/case/models/c{id}"),
        components: vec![weights],
        input_modalities: text.clone(),
        output_modalities: text,
        ..Default::default()
    };
    create(registry, model).await
}

async fn decide(registry: &Registry, case: &Case) -> Result<pb::Decision, String> {
    let model = subject(registry, case).await?;
    let request = pb::CheckEligibilityRequest {
        model,
        r#use: Some(read(&case.use_, "weighbridge.v1.Use")?),
        ..Default::default()
    };
    let answer = service::check_eligibility(registry, request).await.map_err(|status| status.message().to_owned())?;
    Ok(answer.decision.unwrap())
}

/// What is not as the case says.
fn differences(case: &Case, decision: &pb::Decision) -> Vec<String> {
    let mut out = Vec::new();
    let verdict = decision.verdict().as_str_name().trim_start_matches("VERDICT_").to_owned();
    if verdict != case.verdict {
        out.push(format!("verdict {verdict}, not {}", case.verdict));
    }
    let has = |code: &String| decision.findings.iter().any(|f| f.reason == *code);
    out.extend(case.reasons.iter().filter(|code| !has(code)).map(|code| format!("no {code}")));
    out.extend(case.not_reasons.iter().filter(|code| has(code)).map(|code| format!("{code} all the same")));
    let missing: BTreeSet<String> = decision.missing_facts.iter().cloned().collect();
    if case.missing_facts.as_ref().is_some_and(|expected| *expected != missing) {
        out.push(format!("missing facts {missing:?}"));
    }
    let owed = |kind: &String| decision.duties.iter().any(|d| d.kind == *kind);
    out.extend(case.duties.iter().filter(|kind| !owed(kind)).map(|kind| format!("no duty {kind}")));
    out.extend(case.not_duties.iter().filter(|kind| owed(kind)).map(|kind| format!("duty {kind} all the same")));
    for (code, model) in &case.from {
        let of = |f: &&pb::Finding| f.reason == *code && f.origin.as_ref().is_some_and(|o| o.model == *model);
        if !decision.findings.iter().any(|f| of(&f)) {
            out.push(format!("no {code} from {model}"));
        }
    }
    for (code, words) in &case.says {
        let says = |f: &&pb::Finding| f.reason == *code && words.iter().all(|word| f.message.contains(word.as_str()));
        if !decision.findings.iter().any(|f| says(&f)) {
            out.push(format!("no {code} that says {}", words.join(", ")));
        }
    }
    out
}

#[tokio::test]
async fn every_case_holds() {
    let registry = built_in().await;
    let mut failures = String::new();
    for (file, File { cases }) in files() {
        for case in &cases {
            let mut wrong = misspelled(case);
            let mut said = Vec::new();
            match decide(&registry, case).await {
                Ok(decision) => {
                    wrong.extend(differences(case, &decision));
                    said = decision.findings.iter().map(|f| format!("{}: {}", f.reason, f.message)).collect();
                }
                Err(refused) => wrong.push(refused),
            }
            if !wrong.is_empty() {
                let (wrong, said) = (wrong.join("; "), said.join("\n        "));
                failures.push_str(&format!("{file}: {}\n    {wrong}\n        {said}\n", case.name));
            }
        }
    }
    assert!(failures.is_empty(), "cases that do not hold:\n{failures}");
}

#[test]
fn cases_are_told_apart_by_their_names() {
    let mut seen = BTreeSet::new();
    let files = files();
    for case in files.iter().flat_map(|(_, file)| &file.cases) {
        assert!(seen.insert(&case.name), "two cases are called `{}`", case.name);
    }
    assert!(seen.len() >= 300, "{}", seen.len());
}

#[test]
fn unknown_keys_are_refused() {
    let text = "[[cases]]\nname = \"a\"\nwhy = \"b\"\nmodel = \"c\"\nuse = {}\nverdict = \"ELIGIBLE\"\nreasons = []\n";
    assert!(toml::from_str::<File>(text).is_ok());
    assert!(toml::from_str::<File>(&format!("{text}reason = []\n")).is_err());
}
