//! The models of a file: one a line, or those of a gateway's configuration.

use std::path::Path;

use serde_json::Value;

use super::Failure;
use super::client::{read_bounded, read_tree};

/// Largest list of models.
const FILE_BYTES_MAX: usize = 4 << 20;
/// What LiteLLM writes before the id of a model that is run by oneself.
const RUNNERS: &[&str] = &[
    "hosted_vllm",
    "vllm",
    "ollama",
    "ollama_chat",
    "huggingface",
    "lm_studio",
    "llamafile",
    "text-completion-openai",
];

/// What LiteLLM writes before a name that its user gave to a deployment.
const OWN_NAMES: &[&str] = &["azure", "azure_ai", "sagemaker", "sagemaker_chat"];

/// A model that is asked for, and where it is named.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Asked {
    pub(super) model: String,
    /// File and line, from 1.
    pub(super) at: Option<(String, usize)>,
}

impl Asked {
    /// One of the command line.
    pub(super) fn named(model: &str) -> Self {
        Self { model: model.to_owned(), at: None }
    }
}

/// The models of a file. Text: one a line, `#` begins a remark. YAML or JSON: a configuration of LiteLLM (`model_list`).
pub(super) fn read(path: &Path) -> Result<Vec<Asked>, Failure> {
    let shown = path.display().to_string();
    let text = String::from_utf8(read_bounded(path, FILE_BYTES_MAX)?)
        .map_err(|_| Failure::usage(format!("`{shown}` is no text")))?;
    let is_tree =
        path.extension().is_some_and(|end| ["yaml", "yml", "json"].iter().any(|known| end.eq_ignore_ascii_case(known)));
    let found = if is_tree { of_litellm(&read_tree(path)?, &text, &shown)? } else { of_lines(&text, &shown) };
    if found.is_empty() {
        return Err(Failure::usage(format!("`{shown}` names no model")));
    }
    Ok(found)
}

fn of_lines(text: &str, shown: &str) -> Vec<Asked> {
    let line = |(i, line): (usize, &str)| {
        let model = line.split(" #").next().unwrap_or(line).trim();
        let is_model = !model.is_empty() && !model.starts_with('#');
        is_model.then(|| Asked { model: model.to_owned(), at: Some((shown.to_owned(), i + 1)) })
    };
    text.lines().enumerate().filter_map(line).collect()
}

fn of_litellm(tree: &Value, text: &str, shown: &str) -> Result<Vec<Asked>, Failure> {
    if tree.get("include").is_some() {
        let reason =
            "`include` names further files: check those as well, each with --models, and leave `include` out here";
        return Err(Failure::usage(format!("`{shown}`: {reason}")));
    }
    let Some(list) = tree.get("model_list").and_then(Value::as_array) else {
        let reason = "expected `model_list`, as a configuration of LiteLLM has it; a plain list has the ending .txt";
        return Err(Failure::usage(format!("`{shown}`: {reason}")));
    };
    let mut found: Vec<Asked> = Vec::new();
    let mut after = 0;
    for (i, entry) in list.iter().enumerate() {
        let of = |group: &str, field: &str| entry.get(group).and_then(|group| group.get(field)).and_then(Value::as_str);
        let written = of("litellm_params", "model")
            .ok_or_else(|| Failure::usage(format!("`{shown}`: model_list[{i}].litellm_params.model: expected text")))?;
        // The entry's own line: of the same id further down, the next one.
        let at = text.get(after..).and_then(|rest| rest.find(written)).map(|at| at + after);
        after = at.map_or(after, |at| at + written.len());
        let line = text.get(..at.unwrap_or(0)).map_or(1, |before| before.matches('\n').count() + 1);
        let mut add = |model: &str| found.push(Asked { model: model.to_owned(), at: Some((shown.to_owned(), line)) });
        // Of a name of one's own only what is said to be behind it tells the model; else both are named, and both count.
        let is_own_name =
            OWN_NAMES.iter().any(|runner| written.strip_prefix(runner).is_some_and(|rest| rest.starts_with('/')));
        match of("model_info", "base_model") {
            Some(base) if is_own_name => add(base),
            Some(base) => {
                add(without_runner(written));
                add(base);
            }
            None => add(without_runner(written)),
        }
    }
    Ok(found)
}

fn without_runner(written: &str) -> &str {
    match written.split_once('/') {
        Some((runner, model)) if RUNNERS.contains(&runner) => model,
        _ => written,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(model: &str, line: usize) -> Asked {
        Asked { model: model.into(), at: Some(("f".into(), line)) }
    }

    #[test]
    fn lines_name_a_model_each() {
        let text = "# ours\n\nopenai/gpt-4o\n  Qwen/Qwen3-32B   # chat\nllama3.3:70b\n";
        assert_eq!(
            of_lines(text, "f"),
            [asked("openai/gpt-4o", 3), asked("Qwen/Qwen3-32B", 4), asked("llama3.3:70b", 5)]
        );
    }

    #[test]
    fn a_gateways_configuration_names_them_with_who_runs_them() {
        let text = "model_list:\n- model_name: a\n  litellm_params: {model: hosted_vllm/meta-llama/Llama-3.3-70B-Instruct}\n\
                    - model_name: b\n  litellm_params:\n    model: groq/llama-3.3-70b-versatile\n\
                    - model_name: c\n  litellm_params: {model: azure/our-name}\n  model_info: {base_model: openai/gpt-4o}\n";
        let tree = crate::convert::text::parse(
            text.as_bytes(),
            crate::convert::text::Syntax::Yaml,
            &crate::convert::text::Limits::default(),
        )
        .unwrap();
        let expected = [
            asked("meta-llama/Llama-3.3-70B-Instruct", 3),
            asked("groq/llama-3.3-70b-versatile", 6),
            asked("openai/gpt-4o", 8),
        ];
        assert_eq!(of_litellm(&tree, text, "f").unwrap(), expected);
        let both = serde_json::json!({ "model_list": [
            { "litellm_params": { "model": "openai/gpt-4o" }, "model_info": { "base_model": "allenai/OLMo-2-1124-7B" } },
        ] });
        assert_eq!(
            of_litellm(&both, "", "f").unwrap(),
            [asked("openai/gpt-4o", 1), asked("allenai/OLMo-2-1124-7B", 1)]
        );
        let more =
            serde_json::json!({ "model_list": [{ "litellm_params": { "model": "a/b" } }], "include": ["c.yaml"] });
        assert!(of_litellm(&more, "", "f").is_err());
        assert!(of_litellm(&serde_json::json!({}), "", "f").is_err());
        assert!(of_litellm(&serde_json::json!({ "model_list": [{}] }), "", "f").is_err());
    }
}
