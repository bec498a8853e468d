use super::table::Table;
use super::{Resolution, resolve};
use crate::domain::offering::MatchStage;

fn index() -> Table {
    Table::of(&[
        ("meta/llama-3.3-70b-instruct", &["meta-llama/Llama-3.3-70B-Instruct", "llama3.3:70b"]),
        ("meta/llama-3.1-8b", &["meta-llama/Llama-3.1-8B"]),
        ("meta/llama-3.1-8b-instruct", &["meta-llama/Llama-3.1-8B-Instruct"]),
        ("meta/llama-4-scout-17b-16e-instruct", &["llama-4-scout-17b-instruct"]),
        ("alibaba/qwen3.5-9b", &["Qwen/Qwen3.5-9B"]),
        ("alibaba/qwen3-32b", &["Qwen/Qwen3-32B"]),
        ("zhipuai/glm-5", &["zai-org/GLM-5"]),
        ("zhipuai/glm-5.1", &["zai-org/GLM-5.1"]),
        ("moonshotai/kimi-k2", &["moonshotai/Kimi-K2-Instruct"]),
        ("moonshotai/kimi-k2.6", &[]),
        ("moonshotai/kimi-k2-thinking", &[]),
        ("deepseek/deepseek-r1", &["deepseek-ai/DeepSeek-R1"]),
        ("deepseek/deepseek-v3", &["deepseek-ai/DeepSeek-V3"]),
        ("deepseek/deepseek-v3.2", &["deepseek-chat", "deepseek-reasoner", "some-reseller/deepseek-chat"]),
        ("openai/gpt-4o", &[]),
        ("openai/gpt-4o-2024-11-20", &[]),
        ("openai/gpt-oss-120b", &[]),
        ("anthropic/claude-haiku-4-5", &[]),
        ("anthropic/claude-haiku-4-5-20251001", &[]),
        ("anthropic/claude-opus-4-6", &[]),
        ("mistral/mistral-7b-instruct", &[]),
        ("mistral/codestral-2508", &["codestral-latest", "mistral/codestral-latest", "merge/codestral-latest"]),
        ("nvidia/nemotron-nano-9b", &[]),
        ("one/twin", &[]),
        ("two/twin", &[]),
        ("one/near-twin", &[]),
        ("two/near_twin", &[]),
    ])
}

/// `provider id` leads to `stage publisher/model`, `? publisher/model …` when ambiguous, or `-` when unresolved.
#[track_caller]
fn check(given: &str, expected: &str) {
    check_named(given, None, expected);
}

#[track_caller]
fn check_named(given: &str, name: Option<&str>, expected: &str) {
    let (provider, id) = given.split_once(' ').map_or((None, given), |(provider, id)| (Some(provider), id));
    check_all(provider, id, name, expected);
}

#[track_caller]
fn check_id(id: &str, expected: &str) {
    check_all(None, id, None, expected);
}

#[track_caller]
fn check_all(provider: Option<&str>, id: &str, name: Option<&str>, expected: &str) {
    let short = |model: &crate::domain::name::ModelName| format!("{}/{}", model.publisher(), model.model());
    let found = match resolve(&index(), provider, id, name) {
        Resolution::Matched { model, stage, .. } => format!("{stage:?} {}", short(&model)),
        Resolution::Ambiguous(models) => format!("? {}", models.iter().map(short).collect::<Vec<_>>().join(" ")),
        Resolution::Unresolved { .. } => "-".to_owned(),
    };
    assert_eq!(found, expected, "{provider:?} {id}");
}

#[test]
fn the_first_stage_that_hits_decides() {
    check("openai/gpt-4o", "Name openai/gpt-4o");
    check("openai gpt-4o", "Name openai/gpt-4o");
    check("gpt-4o", "FoldedAlias openai/gpt-4o");
    check("meta-llama/Llama-3.3-70B-Instruct", "Alias meta/llama-3.3-70b-instruct");
    check("meta-llama/llama-3.3-70b-instruct", "FoldedAlias meta/llama-3.3-70b-instruct");
    check_id("Llama 3.3 70B Instruct", "FoldedAlias meta/llama-3.3-70b-instruct");
    check("llama3.3:70b", "Alias meta/llama-3.3-70b-instruct");
    check("qwen/qwen3.5-9b", "FoldedAlias alibaba/qwen3.5-9b");
    check("z-ai/glm-5", "Cleaned zhipuai/glm-5");
}

#[test]
fn the_alias_is_told_as_it_stands() {
    let found = resolve(&index(), Some("chutes"), "zai-org/glm-5-TEE", None);
    let Resolution::Matched { alias, stage, .. } = found else { panic!("{found:?}") };
    assert_eq!((&*alias, stage), ("zai-org/GLM-5", MatchStage::Cleaned));
}

#[test]
fn what_providers_put_around_an_id_is_cleaned() {
    check("amazon-bedrock us.anthropic.claude-haiku-4-5-20251001-v1:0", "Cleaned anthropic/claude-haiku-4-5-20251001");
    check("amazon-bedrock global.anthropic.claude-opus-4-6-v1", "Cleaned anthropic/claude-opus-4-6");
    check("amazon-bedrock meta.llama3-3-70b-instruct-v1:0", "Cleaned meta/llama-3.3-70b-instruct");
    check("amazon-bedrock us.meta.llama4-scout-17b-instruct-v1:0", "Cleaned meta/llama-4-scout-17b-16e-instruct");
    check("google-vertex claude-haiku-4-5@20251001", "Cleaned anthropic/claude-haiku-4-5-20251001");
    check("google-vertex claude-opus-4-6@default", "Cleaned anthropic/claude-opus-4-6");
    check("cloudflare-workers-ai @cf/meta/llama-3.3-70b-instruct-fp8-fast", "Cleaned meta/llama-3.3-70b-instruct");
    check("cloudflare-ai-gateway workers-ai/@cf/openai/gpt-oss-120b", "Cleaned openai/gpt-oss-120b");
    check("fireworks-ai accounts/fireworks/models/glm-5p1", "Cleaned zhipuai/glm-5.1");
    check("synthetic hf:zai-org/GLM-5.1", "Cleaned zhipuai/glm-5.1");
    check("clarifai moonshotai/chat-completion/models/Kimi-K2_6", "Cleaned moonshotai/kimi-k2.6");
    check("openrouter openai/gpt-oss-120b:free", "Cleaned openai/gpt-oss-120b");
    check("evroc Qwen/Qwen3-32B-FP8", "Cleaned alibaba/qwen3-32b");
    check("venice qwen3-5-9b", "Cleaned alibaba/qwen3.5-9b");
    check("venice zai-org-glm-5-1", "Cleaned zhipuai/glm-5.1");
    check("openrouter anthropic/claude-haiku-4.5", "Cleaned anthropic/claude-haiku-4-5");
    check("ollama-cloud gpt-oss:120b", "Cleaned openai/gpt-oss-120b");
    check("google-vertex openai/gpt-oss-120b-maas", "Cleaned openai/gpt-oss-120b");
    check("x https://huggingface.co/zai-org/GLM-5.1", "Cleaned zhipuai/glm-5.1");
    check(
        "amazon-bedrock arn:aws:bedrock:us-east-1::foundation-model/anthropic.claude-haiku-4-5-20251001-v1:0",
        "Cleaned anthropic/claude-haiku-4-5-20251001",
    );
    check("venice zai-org-glm-51", "Cleaned zhipuai/glm-5.1");
}

/// Of makers who call no model so: whichever mode the request asks for, the weights are the same.
#[test]
fn a_mode_of_the_request_is_no_model() {
    check("venice claude-opus-4-6-fast", "Cleaned anthropic/claude-opus-4-6");
    check("x claude-opus-4-6-thinking", "Cleaned anthropic/claude-opus-4-6");
    check("nano-gpt anthropic/claude-opus-4.6:thinking", "Cleaned anthropic/claude-opus-4-6");
    check("x deepseek/deepseek-v3.2-thinking", "Cleaned deepseek/deepseek-v3.2");
    check("x zai-org/GLM-5.1:thinking", "Cleaned zhipuai/glm-5.1");
    check("x gpt-4o-high", "Cleaned openai/gpt-4o");
    // A model of its own is met before its name is cleaned.
    check("x moonshotai/kimi-k2-thinking", "Name moonshotai/kimi-k2-thinking");
}

#[test]
fn names_of_instruction_tuned_models_never_lead_to_the_base_model() {
    check("groq llama-3.1-8b-instant", "Cleaned meta/llama-3.1-8b-instruct");
    check("groq llama-3.3-70b-versatile", "Cleaned meta/llama-3.3-70b-instruct");
    check("togetherai meta-llama/Llama-3.1-8B-Instruct-Turbo", "Cleaned meta/llama-3.1-8b-instruct");
    check("elsewhere meta-llama/Llama-3.1-8B-Instruct-Turbo", "-");
}

#[test]
fn what_may_be_another_model_is_never_cleaned_away() {
    for id in [
        "openrouter deepseek/deepseek-r1-0528",
        "cloudflare-workers-ai @cf/deepseek-ai/deepseek-r1-distill-qwen-32b",
        "openai gpt-4o-2024-05-13",
        "google-vertex claude-opus-4-6@20260101",
        "nano-gpt moonshotai/kimi-k2:thinking",
        "venice kimi-k2-fast",
        "x moonshotai/kimi-k2.6-thinking",
        "x glm-5-turbo",
        "openrouter z-ai/glm-5-preview",
        "x qwen3.5-9b-latest",
        "amazon-bedrock mistral.mistral-7b-instruct-v0:2",
        "amazon-bedrock nvidia.nemotron-nano-9b-v2",
        "x glm-5-1",
        "x qwen3-5-9b",
    ] {
        check(id, "-");
    }
}

#[test]
fn latest_is_what_it_is_today_at_its_maker_alone() {
    check("mistral codestral-latest", "Alias mistral/codestral-2508");
    check("groq codestral-latest", "-");
    check("groq mistral/codestral-latest", "-");
    check("groq Codestral-Latest:free", "-");
    check("kilo ~deepseek/deepseek-chat", "-");
    check_id("codestral-latest", "Alias mistral/codestral-2508");
    check("merge codestral-latest", "Alias mistral/codestral-2508");
}

#[test]
fn another_organization_than_the_publisher_is_another_model() {
    check("evroc nvidia/Llama-3.3-70B-Instruct-FP8", "-");
    check("chutes unsloth/Llama-3.1-8B-TEE", "-");
    check("x openai/glm-5", "-");
    check("x pearl-ai/gpt-oss-120b", "-");
}

#[test]
fn an_id_of_two_models_is_ambiguous_unless_its_organization_tells_them_apart() {
    check("twin", "? one/twin two/twin");
    check("near-Twin", "? one/near-twin two/near_twin");
    check("x one/twin-fp8", "Cleaned one/twin");
    check("x three/twin", "-");
}

#[test]
fn a_name_that_is_another_model_unmakes_a_match() {
    check_named(
        "anyapi deepseek/deepseek-r1",
        Some("DeepSeek Reasoner"),
        "? deepseek/deepseek-r1 deepseek/deepseek-v3.2",
    );
    check_named("x deepseek/deepseek-r1", Some("DeepSeek: DeepSeek V3"), "? deepseek/deepseek-r1 deepseek/deepseek-v3");
    check_named("x deepseek/deepseek-r1", Some("DeepSeek R1"), "Name deepseek/deepseek-r1");
    check_named("x openai/gpt-4o-2024-11-20", Some("GPT-4o"), "Name openai/gpt-4o-2024-11-20");
    check_named("x unknown", Some("GPT-4o"), "-");
}

#[test]
fn a_moving_id_needs_an_alias_for_its_provider() {
    check("deepseek deepseek-chat", "Alias deepseek/deepseek-v3.2");
    check("kilo deepseek/deepseek-chat", "-");
    check("some-reseller deepseek-chat", "Alias deepseek/deepseek-v3.2");
}

#[test]
fn routers_and_unusable_ids_say_so() {
    let reason = |provider, id: &str| match resolve(&index(), provider, id, None) {
        Resolution::Unresolved { reason } => reason,
        other => panic!("{other:?}"),
    };
    assert_eq!(reason(Some("openrouter"), "openrouter/auto"), "a router, plan or product, not a model");
    assert!(reason(None, "claude-x-20251001").starts_with("a dated snapshot"));
    assert!(reason(None, "").starts_with("an id has 1 to 512 bytes"));
    assert!(reason(None, &"x-".repeat(300)).starts_with("an id has 1 to 512 bytes"));
}

proptest::proptest! {
    #[test]
    fn any_id_is_answered_alike_each_time(id in "\\PC{0,40}|[a-z@/:.~0-9-]{0,60}") {
        for provider in [None, Some("amazon-bedrock"), Some("venice"), Some("fireworks-ai")] {
            let answer = resolve(&index(), provider, &id, Some(&id));
            proptest::prop_assert_eq!(&answer, &resolve(&index(), provider, &id, Some(&id)));
        }
    }
}
