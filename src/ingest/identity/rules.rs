//! What providers put around, or change in, the id of a model: one row a rule, each with its reason.
//!
//! A row is here only when what it takes away, or rewrites, can not change which weights are served. `-fast`,
//! `-latest`, `-preview`, `:thinking`, a date or a size is not such a thing: an id that holds one needs an alias that
//! says it all.

use super::AliasIndex;

/// One rule.
#[derive(Debug)]
pub(super) struct Rule {
    /// What it does.
    pub(super) rewrite: Rewrite,
    /// At which providers it holds; empty: wherever the form occurs, since the form itself is unmistakable.
    pub(super) providers: &'static [&'static str],
    /// Why it is certain.
    #[cfg_attr(not(test), expect(dead_code, reason = "kept beside the row for the reader"))]
    pub(super) reason: &'static str,
}

/// A change of an id. Texts match whatever their ASCII case.
#[derive(Debug)]
pub(super) enum Rewrite {
    /// Leaves a prefix out.
    Prefix(&'static str),
    /// Leaves out all up to the second text, of an id that begins with the first.
    After(&'static str, &'static str),
    /// Leaves a suffix out.
    Suffix(&'static str),
    /// Leaves a suffix out of the ids of one publisher: what is left must be a model of that publisher.
    SuffixOf(&'static str, &'static str),
    /// Writes one suffix for another.
    SuffixTo(&'static str, &'static str),
    /// Takes what stands before the separator for the organization that published the rest.
    Organization(char),
    /// Leaves out the middle of `{organization}/{app}/models/{model}`.
    AppPath,
    /// Writes the text for `from` wherever it stands between two version digits, for models of one publisher or of all.
    VersionMark(char, &'static str, Option<&'static str>),
    /// Writes a dot between the two digits of a version that stands by itself: `gpt-52` for `gpt-5.2`.
    GluedDigits,
    /// Writes `-` for a character.
    Dash(char),
    /// Writes a hyphen before the first digit of a name and a dot in its version: `llama3-3-` for `llama-3.3-`.
    GluedVersion(&'static str),
}

/// An id on its way, and the publisher it is known to be of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Candidate {
    pub(super) text: String,
    pub(super) publisher: Option<String>,
}

const fn everywhere(rewrite: Rewrite, reason: &'static str) -> Rule {
    Rule { rewrite, providers: &[], reason }
}

const fn at(providers: &'static [&'static str], rewrite: Rewrite, reason: &'static str) -> Rule {
    Rule { rewrite, providers, reason }
}

const BEDROCK: &[&str] = &["amazon-bedrock"];
const CLOUDFLARE: &[&str] = &["cloudflare-ai-gateway", "cloudflare-workers-ai"];
const UMANS: &[&str] = &["umans-ai", "umans-ai-coding-plan"];
const VERTEX: &[&str] = &["google-vertex", "google-vertex-anthropic"];
const DASH_FOR_DOT: &[&str] = &["auriko", "databricks", "llmgateway", "neon", "tinfoil", "venice"];
const FREE_PLANS: &[&str] = &["aihubmix", "llmgateway", "opencode", "zenmux"];
const UNDERSCORE_FOR_DOT: &[&str] = &["clarifai", "nano-gpt", "nebius", "nvidia"];

const REGION: &str = "an inference profile names the region that serves, not another model";
const THINKING: &str = "a switch of the request: the weights are the same";
const EFFORT: &str = "how much it reasons is set by the request";
const PRECISION: &str = "the same weights at a lower serving precision";

/// The rules. Their order means nothing.
#[rustfmt::skip]
pub(super) const RULES: &[Rule] = &[
    everywhere(Rewrite::Organization('/'), "the publisher's organization before the id, as on a hub"),
    everywhere(Rewrite::Organization('-'), "the publisher's name glued to the id; the rest must be its alias"),
    everywhere(Rewrite::Prefix("https://huggingface.co/"), "the address of a hub's repository"),
    everywhere(Rewrite::Prefix("hf.co/"), "the short address of a hub's repository"),
    everywhere(Rewrite::After("arn:aws:bedrock:", ":foundation-model/"), "Bedrock's full name of a model"),
    everywhere(Rewrite::After("arn:aws:bedrock:", ":inference-profile/"), "Bedrock's full name of a profile"),
    at(BEDROCK, Rewrite::Organization('.'), "the vendor stands before a dot"),
    at(BEDROCK, Rewrite::Prefix("us."), REGION),
    at(BEDROCK, Rewrite::Prefix("eu."), REGION),
    at(BEDROCK, Rewrite::Prefix("jp."), REGION),
    at(BEDROCK, Rewrite::Prefix("au."), REGION),
    at(BEDROCK, Rewrite::Prefix("ca."), REGION),
    at(BEDROCK, Rewrite::Prefix("apac."), REGION),
    at(BEDROCK, Rewrite::Prefix("us-gov."), REGION),
    at(BEDROCK, Rewrite::Prefix("global."), REGION),
    // Not `-v2` or `-v0:2`: there it is the maker's own version (`titan-embed-text-v2`, `mistral-7b-instruct-v0:2`).
    at(BEDROCK, Rewrite::Suffix("-v1:0"), "the first upload of a model has this version"),
    at(BEDROCK, Rewrite::Suffix("-1:0"), "the first upload of a model has this version"),
    at(BEDROCK, Rewrite::SuffixOf("-v1", "anthropic"), "the first upload; no model of Anthropic's is called so"),
    at(BEDROCK, Rewrite::GluedVersion("llama"), "Bedrock writes `llama3-3` for Llama 3.3"),
    at(VERTEX, Rewrite::Suffix("@default"), "the default version of a model that has one version"),
    at(VERTEX, Rewrite::Suffix("-maas"), "a model of others, served as a service"),
    at(VERTEX, Rewrite::Dash('@'), "Vertex writes `@` before the date; the dated id must itself be an alias"),
    everywhere(Rewrite::Prefix("@cf/"), "Cloudflare's catalog prefix"),
    at(CLOUDFLARE, Rewrite::Prefix("workers-ai/"), "Cloudflare's gateway names its own backend"),
    at(CLOUDFLARE, Rewrite::Suffix("-fp8-fast"), "served in FP8; no other weights"),
    everywhere(Rewrite::Prefix("accounts/fireworks/models/"), "Fireworks' account path"),
    at(&["fireworks-ai"], Rewrite::VersionMark('p', ".", None), "Fireworks writes `p` for the dot of a version"),
    everywhere(Rewrite::Prefix("hf:"), "says that a hub's id follows"),
    at(&["routing-run"], Rewrite::Prefix("route/"), "the provider's own path"),
    at(&["kilo", "openrouter"], Rewrite::Prefix("~"), "marks an id whose target moves; what follows must be an alias"),
    at(&["nano-gpt"], Rewrite::Prefix("tee/"), "served inside a trusted execution environment"),
    at(&["chutes"], Rewrite::Suffix("-tee"), "served inside a trusted execution environment"),
    at(&["neuralwatt"], Rewrite::Suffix("-flex"), "a service tier of the same model"),
    at(&["routing-run"], Rewrite::Suffix("-202k"), "how long a context the provider serves"),
    at(&["siliconflow-cn"], Rewrite::Prefix("pro/"), "a paid plan of the same model"),
    at(&["aihubmix"], Rewrite::Prefix("coding-"), "a coding plan of the same model"),
    at(&["databricks"], Rewrite::Prefix("databricks-"), "the provider's own name"),
    at(&["snowflake-cortex"], Rewrite::Prefix("snowflake-"), "the provider's own name"),
    at(&["xpersona"], Rewrite::Prefix("xpersona-"), "the provider's own name"),
    at(UMANS, Rewrite::Prefix("umans-"), "the provider's own name"),
    at(&["clarifai"], Rewrite::AppPath, "the app an organization files its model under"),
    at(&["ollama-cloud"], Rewrite::Dash(':'), "the size stands after a colon"),
    at(&["groq"], Rewrite::SuffixTo("-versatile", "-instruct"), "Groq's name of the instruction-tuned Llama 3.3"),
    at(&["groq"], Rewrite::SuffixTo("-instant", "-instruct"), "Groq's name of the instruction-tuned Llama 3.1"),
    at(&["deepinfra", "togetherai"], Rewrite::SuffixTo("-instruct-turbo", "-instruct"), "they so name an FP8 copy"),
    // Of Anthropic's only: `x-3.4` and `x-3-4` of another publisher may be two models.
    everywhere(Rewrite::VersionMark('.', "-", Some("anthropic")), "Anthropic's own ids have no dots"),
    at(&["venice"], Rewrite::GluedDigits, "the provider's ids leave the dot of a version out"),
    at(DASH_FOR_DOT, Rewrite::VersionMark('-', ".", None), "the provider's ids have no dots"),
    at(UNDERSCORE_FOR_DOT, Rewrite::VersionMark('_', ".", None), "the provider's ids have no dots"),
    everywhere(Rewrite::Suffix(":free"), "a plan without charge of the same model"),
    at(FREE_PLANS, Rewrite::Suffix("-free"), "a plan without charge of the same model"),
    everywhere(Rewrite::Suffix("-bf16"), PRECISION),
    everywhere(Rewrite::Suffix("-fp16"), PRECISION),
    everywhere(Rewrite::Suffix("-fp8"), PRECISION),
    everywhere(Rewrite::Suffix("-fp4"), PRECISION),
    everywhere(Rewrite::Suffix("-nvfp4"), PRECISION),
    everywhere(Rewrite::Suffix("-mxfp4"), PRECISION),
    everywhere(Rewrite::Suffix("-int8"), PRECISION),
    everywhere(Rewrite::Suffix("-int4"), PRECISION),
    everywhere(Rewrite::Suffix("-awq"), PRECISION),
    everywhere(Rewrite::Suffix("-gptq"), PRECISION),
    at(&["routing-run"], Rewrite::Suffix("-6bit"), PRECISION),
    // Modes of a request. `-thinking` only of makers who call no model so: `kimi-k2-thinking`, `qwen3-…-thinking`,
    // `glm-4.1v-9b-thinking` and `gemini-2.0-flash-thinking` are models. `:thinking` is what routers write for the switch.
    everywhere(Rewrite::SuffixOf("-thinking", "anthropic"), THINKING),
    everywhere(Rewrite::SuffixOf(":thinking", "anthropic"), THINKING),
    everywhere(Rewrite::SuffixOf("-think", "anthropic"), THINKING),
    everywhere(Rewrite::SuffixOf(":thinking", "google"), THINKING),
    everywhere(Rewrite::SuffixOf("-thinking", "deepseek"), THINKING),
    everywhere(Rewrite::SuffixOf(":thinking", "deepseek"), THINKING),
    everywhere(Rewrite::SuffixOf(":thinking", "nvidia"), THINKING),
    everywhere(Rewrite::SuffixOf("-thinking", "xiaomi"), THINKING),
    everywhere(Rewrite::SuffixOf(":thinking", "xiaomi"), THINKING),
    everywhere(Rewrite::SuffixOf(":thinking", "zhipuai"), THINKING),
    everywhere(Rewrite::SuffixOf("-fast", "anthropic"), "a speed of a request, at another price"),
    everywhere(Rewrite::SuffixOf("-highspeed", "minimax"), "the maker's faster service of the same model"),
    everywhere(Rewrite::SuffixOf("-highspeed", "moonshotai"), "the maker's faster service of the same model"),
    everywhere(Rewrite::SuffixOf("-lightning", "minimax"), "the maker's faster service of the same model"),
    // Efforts of a request.
    everywhere(Rewrite::SuffixOf("-high", "openai"), EFFORT),
    everywhere(Rewrite::SuffixOf("-medium", "openai"), EFFORT),
    everywhere(Rewrite::SuffixOf("-low", "openai"), EFFORT),
    everywhere(Rewrite::SuffixOf("-xhigh", "openai"), EFFORT),
    everywhere(Rewrite::SuffixOf("-minimal", "openai"), EFFORT),
];

impl Rule {
    /// Whether it holds at a provider.
    pub(super) fn holds_at(&self, provider: Option<&str>) -> bool {
        self.providers.is_empty() || provider.is_some_and(|p| self.providers.contains(&p))
    }

    /// What the id may stand for by this rule.
    pub(super) fn apply(&self, from: &Candidate, index: &dyn AliasIndex) -> Vec<Candidate> {
        let text = from.text.as_str();
        let same = |text: Option<String>| {
            text.map(|text| Candidate { text, publisher: from.publisher.clone() }).into_iter().collect()
        };
        match &self.rewrite {
            Rewrite::Prefix(prefix) => same(strip_prefix(text, prefix).map(str::to_owned)),
            Rewrite::After(start, until) => {
                let rest = text.split_once(until).filter(|(head, _)| strip_prefix(head, start).is_some());
                same(rest.map(|(_, rest)| rest.to_owned()))
            }
            Rewrite::Suffix(suffix) => same(strip_suffix(text, suffix).map(str::to_owned)),
            Rewrite::SuffixOf(suffix, publisher) => {
                let rest = strip_suffix(text, suffix).map(str::to_owned);
                let of = |rest| of_publisher(from, rest, Some((*publisher).to_owned()));
                rest.and_then(of).into_iter().collect()
            }
            Rewrite::SuffixTo(suffix, other) => same(strip_suffix(text, suffix).map(|rest| format!("{rest}{other}"))),
            Rewrite::Dash(mark) => same(text.contains(*mark).then(|| text.replace(*mark, "-"))),
            Rewrite::GluedDigits => same(with_dot(text)),
            Rewrite::AppPath => same(without_app(text)),
            Rewrite::GluedVersion(name) => same(unglued(text, name)),
            Rewrite::Organization(mark) => organizations(from, *mark, index),
            Rewrite::VersionMark(mark, other, publisher) => {
                let text = version_mark(text, *mark, other);
                text.and_then(|text| of_publisher(from, text, publisher.map(str::to_owned))).into_iter().collect()
            }
        }
    }
}

/// A candidate that is also known to be of a publisher; none when it is known to be of another.
fn of_publisher(from: &Candidate, text: String, publisher: Option<String>) -> Option<Candidate> {
    match (&from.publisher, publisher) {
        (Some(known), Some(other)) if *known != other => None,
        (known, other) => Some(Candidate { text, publisher: other.or_else(|| known.clone()) }),
    }
}

fn organizations(from: &Candidate, mark: char, index: &dyn AliasIndex) -> Vec<Candidate> {
    // A name can hold the mark itself (`zai-org-glm-5`), so each place is tried; few ids have more than eight.
    const PLACES_MAX: usize = 8;
    let places = from.text.match_indices(mark).take(PLACES_MAX);
    let parts = places.filter_map(|(at, _)| from.text.split_at_checked(at));
    parts
        .filter_map(|(organization, rest)| {
            let rest = rest.strip_prefix(mark)?;
            let whole = !organization.is_empty() && !rest.is_empty();
            whole.then(|| of_publisher(from, rest.to_owned(), Some(publisher_of(index, organization))))?
        })
        .collect()
}

/// The publisher an organization stands for: itself when no table names it.
fn publisher_of(index: &dyn AliasIndex, organization: &str) -> String {
    index.publisher_of(organization).map_or_else(|| organization.to_ascii_lowercase(), String::from)
}

fn strip_prefix<'a>(text: &'a str, prefix: &str) -> Option<&'a str> {
    let (head, rest) = text.split_at_checked(prefix.len())?;
    (head.eq_ignore_ascii_case(prefix) && !rest.is_empty()).then_some(rest)
}

fn strip_suffix<'a>(text: &'a str, suffix: &str) -> Option<&'a str> {
    let (rest, tail) = text.split_at_checked(text.len().checked_sub(suffix.len())?)?;
    (tail.eq_ignore_ascii_case(suffix) && !rest.is_empty()).then_some(rest)
}

/// `gpt-52-codex` → `gpt-5.2-codex`, `minimax-m25` → `minimax-m2.5`: the first part of a name that is two digits and at
/// most one letter before them.
fn with_dot(text: &str) -> Option<String> {
    let mut parts: Vec<String> = text.split('-').map(str::to_owned).collect();
    let part = parts.iter_mut().skip(1).find_map(|part| {
        let at = part.find(|c: char| c.is_ascii_digit())?;
        let (head, digits) = part.split_at_checked(at)?;
        let version = head.len() <= 1 && digits.len() == 2 && digits.bytes().all(|b| b.is_ascii_digit());
        version.then(|| format!("{head}{}.{}", &digits[..1], &digits[1..])).map(|dotted| (part, dotted))
    });
    let (part, dotted) = part?;
    *part = dotted;
    Some(parts.join("-"))
}

fn without_app(text: &str) -> Option<String> {
    let (organization, rest) = text.split_once('/')?;
    let (_, model) = rest.split_once("/models/")?;
    Some(format!("{organization}/{model}"))
}

/// `llama3-3-70b` → `llama-3.3-70b`, `llama4-scout` → `llama-4-scout`, wherever the name starts a part of the id.
fn unglued(text: &str, name: &str) -> Option<String> {
    let at = text.rfind(['/', '.']).map_or(0, |at| at + 1);
    let (head, last) = text.split_at_checked(at)?;
    let rest = strip_prefix(last, name)?;
    if !rest.starts_with(|c: char| c.is_ascii_digit()) {
        return None;
    }
    let rest = version_mark(rest, '-', ".").unwrap_or_else(|| rest.to_owned());
    Some(format!("{head}{name}-{rest}"))
}

/// Writes the text for the mark where it stands between two single digits, that is in a version and in no size or date:
/// `3-1-8b` → `3.1-8b`, but `3-70b` and `2025-04-14` stay. `None` when there is no such place.
fn version_mark(text: &str, mark: char, other: &str) -> Option<String> {
    let chars: Vec<char> = text.chars().collect();
    let get = |at: Option<usize>| at.and_then(|at| chars.get(at)).copied();
    let digit = |at: Option<usize>| get(at).is_some_and(|c| c.is_ascii_digit());
    let ends = |at: usize| get(Some(at)).is_none_or(|c| !c.is_alphanumeric() && c != '.');
    let mut out = String::with_capacity(text.len());
    let mut changed = false;
    for (at, c) in chars.iter().copied().enumerate() {
        let one_before = digit(at.checked_sub(1)) && !digit(at.checked_sub(2));
        let one_after = digit(Some(at + 1)) && ends(at + 2);
        // Of `1-2-3` no place is certain.
        let alone = get(Some(at + 2)) != Some(mark) || !digit(Some(at + 3)) || !ends(at + 4);
        let alone = alone && !(get(at.checked_sub(2)) == Some(mark) && digit(at.checked_sub(3)));
        if c == mark && one_before && one_after && alone {
            out.push_str(other);
            changed = true;
        } else {
            out.push(c);
        }
    }
    changed.then_some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_rule_gives_its_reason() {
        for rule in RULES {
            assert!(rule.reason.len() > 20, "{rule:?}");
            assert!(rule.providers.is_sorted(), "{rule:?}");
        }
    }

    #[test]
    fn version_marks_are_found_between_single_digits_only() {
        let check = |from: &str, to: Option<&str>| assert_eq!(version_mark(from, '-', ".").as_deref(), to, "{from}");
        check("gpt-5-4-mini", Some("gpt-5.4-mini"));
        check("qwen3-5-35b-a3b", Some("qwen3.5-35b-a3b"));
        check("glm-5-1", Some("glm-5.1"));
        check("llama-3-8b", None);
        check("gpt-4o-2024-05-13", None);
        check("gpt-5", None);
        check("grok-4-20-beta", None);
        check("x-1-2-3", None);
        assert_eq!(version_mark("glm-5p1", 'p', ".").as_deref(), Some("glm-5.1"));
        assert_eq!(version_mark("qwen3p7-plus", 'p', ".").as_deref(), Some("qwen3.7-plus"));
        assert_eq!(version_mark("claude-opus-4.6", '.', "-").as_deref(), Some("claude-opus-4-6"));
    }

    #[test]
    fn a_dot_comes_back_where_two_digits_are_a_version() {
        let check = |from: &str, to: Option<&str>| assert_eq!(with_dot(from).as_deref(), to, "{from}");
        check("openai-gpt-52-codex", Some("openai-gpt-5.2-codex"));
        check("minimax-m25", Some("minimax-m2.5"));
        check("gpt-5", None);
        check("qwen3-14b", None);
        check("gpt-120", None);
        check("52", None);
    }

    #[test]
    fn a_glued_version_comes_apart() {
        let check = |from: &str, to: Option<&str>| assert_eq!(unglued(from, "llama").as_deref(), to, "{from}");
        check("llama3-3-70b-instruct", Some("llama-3.3-70b-instruct"));
        check("llama3-8b-instruct", Some("llama-3-8b-instruct"));
        check("meta.llama4-scout-17b", Some("meta.llama-4-scout-17b"));
        check("llama-3", None);
        check("codellama3", None);
    }

    #[test]
    fn a_known_publisher_is_never_given_up_for_another() {
        let from = Candidate { text: "openai/x".into(), publisher: Some("meta".into()) };
        assert!(organizations(&from, '/', &super::super::table::Table::default()).is_empty());
    }
}
