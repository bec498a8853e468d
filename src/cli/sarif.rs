//! Answers as SARIF 2.1.0, which code hosts show beside the line that names a model.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Value, json};

use super::model_list::Asked;
use crate::pb::weighbridge::v1 as pb;

const SCHEMA: &str = "https://json.schemastore.org/sarif-2.1.0.json";
/// Rule of what is no decision.
const NO_ANSWER: &str = "NO_ANSWER";

/// What came of a model: a decision, or why there is none.
pub(super) type Outcome = Result<pb::Decision, String>;

/// A log of one run.
pub(super) fn log(outcomes: &[(Asked, Outcome)]) -> Value {
    let results: Vec<Value> = outcomes.iter().flat_map(|(asked, outcome)| results(asked, outcome)).collect();
    let mut rules: Vec<&str> = results.iter().filter_map(|result| result["ruleId"].as_str()).collect();
    rules.sort_unstable();
    rules.dedup();
    json!({
        "$schema": SCHEMA,
        "version": "2.1.0",
        "runs": [{
            "tool": { "driver": {
                "name": "weighbridge",
                "semanticVersion": env!("CARGO_PKG_VERSION"),
                "rules": rules.into_iter().map(rule).collect::<Vec<Value>>(),
            } },
            "results": results,
        }],
    })
}

/// A reason code as a rule; `docs/reasons/` has a page of each.
fn rule(id: &str) -> Value {
    let words = id.to_lowercase().replace('_', " ");
    let page = format!("docs/reasons/{}.md", id.to_lowercase().replace('_', "-"));
    json!({ "id": id, "shortDescription": { "text": words }, "help": { "text": page } })
}

fn results(asked: &Asked, outcome: &Outcome) -> Vec<Value> {
    let decision = match outcome {
        Ok(decision) => decision,
        Err(why) => return vec![result(asked, NO_ANSWER, "error", &format!("{}: {why}", asked.model))],
    };
    let acting = decision.findings.iter().filter(|finding| finding.acts());
    let leveled = acting.filter_map(|finding| {
        let level = match finding.effect() {
            pb::Effect::Blocks => "error",
            pb::Effect::Review => "warning",
            pb::Effect::Duty => "note",
            pb::Effect::Permits | pb::Effect::Info | pb::Effect::Unspecified => return None,
        };
        Some((finding, level))
    });
    leveled
        .map(|(finding, level)| {
            let text = format!("{}: {}", decision.model, finding.message);
            let mut result = result(asked, &finding.reason, level, &text);
            let origin = finding.origin.clone().unwrap_or_default();
            let properties = json!({
                "verdict": decision.verdict().as_str_name(),
                "model": decision.model,
                "license": origin.license,
                "policy": origin.policy,
                "clause": origin.clause,
                "revision": decision.revision,
            });
            if let Some(fields) = result.as_object_mut() {
                fields.insert("properties".to_owned(), properties);
            }
            result
        })
        .collect()
}

/// A path as a reference: `/` stays, and what a reference cannot hold is escaped.
fn uri(path: &str) -> String {
    const KEPT: &AsciiSet =
        &NON_ALPHANUMERIC.remove(b'/').remove(b'.').remove(b'-').remove(b'_').remove(b'~').remove(b'+').remove(b'@');
    utf8_percent_encode(path, KEPT).to_string()
}

fn result(asked: &Asked, rule: &str, level: &str, text: &str) -> Value {
    let logical = json!([{ "name": asked.model, "kind": "resource" }]);
    let location = match &asked.at {
        None => json!({ "logicalLocations": logical }),
        Some((file, line)) => json!({
            "logicalLocations": logical,
            "physicalLocation": { "artifactLocation": { "uri": uri(file) }, "region": { "startLine": line } },
        }),
    };
    json!({ "ruleId": rule, "level": level, "message": { "text": text }, "locations": [location] })
}
