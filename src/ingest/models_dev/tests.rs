#[cfg(feature = "shared-data")]
mod shared_data;

use proptest::prelude::*;
use serde_json::{Map as JsonMap, Value, json};

use super::{normalise, read};
use crate::domain::model::{Capability, Modality};
use crate::domain::offering::MatchStage;
use crate::ingest::identity::table::Table;
use crate::ingest::{Import, ImportError, Limits, OfferingRecord, Outcome, Stage};

fn index() -> Table {
    Table::of(&[("openai/gpt-oss-120b", &[])])
}

fn import_text(text: &str) -> Import {
    normalise(&read(text.as_bytes(), &Limits::default()).unwrap(), &index(), "test")
}

/// A document of one provider with one offering of these fields.
fn import_offering(fields: &str) -> Import {
    import_text(&format!(r#"{{"p":{{"id":"p","name":"P","models":{{"m":{{{fields}}}}}}}}}"#))
}

/// Reads one offering, and checks the warnings it gets.
#[track_caller]
fn offering(fields: &str, warnings: &[&str]) -> OfferingRecord {
    let import = import_offering(fields);
    let offering = import.offerings.first().unwrap().clone();
    assert_eq!(offering.warnings, warnings, "{fields}");
    assert_eq!(import.warnings as usize, warnings.len());
    offering
}

#[test]
fn a_plain_record_is_read_without_a_warning() {
    let import = import_text(
        r#"{"groq":{"id":"groq","env":["KEY"],"npm":"@ai-sdk/groq","api":"https://api.groq.com","name":"Groq",
        "doc":"https://groq.com/docs","models":{"openai/gpt-oss-120b":{"id":"openai/gpt-oss-120b","name":"GPT OSS 120B",
        "family":"gpt-oss","attachment":false,"reasoning":true,"reasoning_options":[{"type":"effort","values":[null]}],
        "tool_call":true,"interleaved":true,"structured_output":true,"temperature":true,"knowledge":"2024-06",
        "release_date":"2025-08-05","last_updated":"2025-08-05","modalities":{"input":["text"],"output":["text"]},
        "open_weights":true,"limit":{"context":131072.0,"input":100000,"output":65536},"status":"beta",
        "experimental":{},"provider":{"npm":"x"},
        "cost":{"input":0.15,"output":0.6,"cache_read":0.075,"tiers":[]}}}}}"#,
    );
    assert_eq!((import.warnings, import.rejected, import.unknown_fields.len()), (0, 0, 0));
    let provider = import.providers.first().unwrap();
    assert_eq!((provider.id.as_str(), &*provider.display_name), ("groq", "Groq"));
    assert_eq!(provider.api_url.as_deref(), Some("https://api.groq.com"));
    assert_eq!(provider.documentation_url.as_deref(), Some("https://groq.com/docs"));
    let o = import.offerings.first().unwrap();
    assert_eq!(o.name.resource_name(), "providers/groq/offerings/openai%2Fgpt-oss-120b");
    let model = o.model.as_ref().unwrap();
    assert_eq!((model.model.as_str(), model.stage), ("publishers/openai/models/gpt-oss-120b", MatchStage::Name));
    assert_eq!((&*o.display_name, o.family.as_deref()), ("GPT OSS 120B", Some("gpt-oss")));
    let capabilities =
        [Capability::ToolCall, Capability::Reasoning, Capability::StructuredOutput, Capability::Temperature];
    assert_eq!(o.capabilities, capabilities);
    assert_eq!(
        (o.context_tokens, o.max_input_tokens, o.max_output_tokens),
        (Some(131_072), Some(100_000), Some(65_536))
    );
    assert_eq!((o.price.input, o.price.output, o.price.cache_read), (Some(0.15), Some(0.6), Some(0.075)));
    assert_eq!(o.price.cache_write, None);
    assert_eq!((o.open_weights, o.stage), (Some(true), Some(Stage::Beta)));
    assert_eq!(o.knowledge_cutoff.unwrap().to_string(), "2024-06");
    assert_eq!(o.release_date.unwrap().to_string(), "2025-08-05");
    assert!(import.entries.iter().all(|entry| entry.outcome == Outcome::Kept && entry.messages.is_empty()));
}

#[test]
fn a_record_without_fields_is_kept_and_everything_is_unknown() {
    let o = offering("", &[]);
    assert_eq!((&*o.display_name, o.model, o.context_tokens, o.open_weights), ("m", None, None, None));
    assert!(o.price.is_unknown() && o.price_tiers.is_empty() && o.capabilities.is_empty());
    assert!(!o.unresolved_reason.is_empty());
    offering(r#""name":null,"limit":null,"cost":{"input":null},"release_date":null,"modalities":{"input":null}"#, &[]);
}

#[test]
fn stray_blanks_are_mended() {
    let o = offering(r#""name":" DeepSeek  V3 (Turbo)\t""#, &["`name` has stray blanks: mended"]);
    assert_eq!(&*o.display_name, "DeepSeek V3 (Turbo)");
    assert_eq!(&*offering("\"name\":\"A \u{2013} B\"", &[]).display_name, "A \u{2013} B");
    assert_eq!(&*offering(r#""name":" ""#, &["`name` is blank: left out"]).display_name, "m");
}

#[test]
fn dates_that_are_none_are_absent() {
    let o = offering(
        r#""release_date":"2025-25-11","knowledge":"2025-02-31","last_updated":"1970-01-01""#,
        &[
            "`knowledge` is wrong, `2025-02-31` is no date: write `YYYY`, `YYYY-MM` or `YYYY-MM-DD`: left out",
            "`last_updated` is a placeholder, `1970-01-01`: left out",
            "`release_date` is wrong, `2025-25-11` is no date: write `YYYY`, `YYYY-MM` or `YYYY-MM-DD`: left out",
        ],
    );
    assert_eq!((o.release_date, o.last_updated, o.knowledge_cutoff), (None, None, None));
    // Often the provider added it later than it was updated: what is stated is kept.
    offering(r#""release_date":"2025-06","last_updated":"2025-01-02","knowledge":"2025-12""#, &[]);
}

#[test]
fn limits_that_no_model_has_are_absent() {
    let o = offering(
        r#""limit":{"context":0,"input":99999999,"output":20000000}"#,
        &[
            "`limit.context` is 0: left out",
            "`limit.input` is 99999999, more than the 10000000 that any model has: left out",
            "`limit.output` is 20000000, more than the 10000000 that any model has: left out",
        ],
    );
    assert_eq!((o.context_tokens, o.max_input_tokens, o.max_output_tokens), (None, None, None));
    offering(
        r#""limit":{"context":-1,"input":1.5,"output":1e300}"#,
        &[
            "`limit.context` is -1, below zero: left out",
            "`limit.input` is 1.5, no whole number of tokens: left out",
            "`limit.output` is 9223372036854775807, more than the 10000000 that any model has: left out",
        ],
    );
    // Embedders put the length of the vector there.
    let o = offering(r#""limit":{"context":77,"output":10000000}"#, &[]);
    assert_eq!((o.context_tokens, o.max_output_tokens), (Some(77), Some(10_000_000)));
}

#[test]
fn prices_lose_their_binary_noise_and_nothing_else() {
    let o = offering(r#""cost":{"input":0.049999999999999996,"output":0.8299999999999998,"reasoning":0}"#, &[]);
    assert_eq!((o.price.input, o.price.output, o.price.reasoning), (Some(0.05), Some(0.83), Some(0.0)));
    let o = offering(
        r#""cost":{"input":-1,"output":2000000.5,"reasoning":0.12345678}"#,
        &[
            "`cost.input` is -1, not between 0 and 1000000: left out",
            "`cost.output` is 2000000.5, not between 0 and 1000000: left out",
            "`cost.reasoning` is 0.12345678: rounded to 0.123457",
        ],
    );
    assert_eq!((o.price.input, o.price.output, o.price.reasoning), (None, None, Some(0.123_457)));
}

#[test]
fn prices_in_another_currency_are_absent() {
    let import = import_text(r#"{"moark":{"models":{"m":{"cost":{"input":7}}}}}"#);
    let o = import.offerings.first().unwrap();
    assert!(o.price.is_unknown());
    assert_eq!(o.warnings, ["`cost` is in CNY, not in US dollars: left out"]);
}

#[test]
fn tiers_are_sorted_and_the_generated_copy_is_ignored() {
    let o = offering(
        r#""cost":{"input":1,"context_over_200k":{"input":9},"tiers":[
            {"input":3,"tier":{"type":"context","size":256000}},{"input":2,"tier":{"type":"context","size":128000}}]}"#,
        &[],
    );
    let tiers: Vec<_> = o.price_tiers.iter().map(|t| (t.context_tokens, t.price.input)).collect();
    assert_eq!(tiers, [(128_000, Some(2.0)), (256_000, Some(3.0))]);
    let o = offering(
        r#""cost":{"tiers":[7,{"tier":{"type":"batch","size":1}},{"tier":{"type":"context"}},
            {"tier":{"type":"context","size":5}},{"tier":{"type":"context","size":5}}]}"#,
        &[
            "`cost.tiers` holds a number, not an object: left out",
            "`cost.tiers` holds a tier that is not by context size: left out",
            "`cost.tiers` holds a tier without a size: left out",
            "`cost.tiers` holds several tiers of one size: left out",
        ],
    );
    assert_eq!(o.price_tiers, []);
}

#[test]
fn modalities_come_in_one_order() {
    let o = offering(
        r#""modalities":{"input":["pdf","text","image","text"],"output":["smell",1]}"#,
        &[
            "`modalities.output` holds `smell`, no known modality: left out",
            "`modalities.output` is a number, not a text: left out",
        ],
    );
    assert_eq!(o.input_modalities, [Modality::Text, Modality::Image, Modality::Pdf]);
    assert_eq!(o.output_modalities, []);
}

#[test]
fn wrong_types_and_words_are_absent() {
    let o = offering(
        r#""tool_call":"yes","open_weights":1,"status":"retired","limit":[],"family":{},"cost":"free""#,
        &[
            "`cost` is a text, not an object: left out",
            "`family` is an object, not a text: left out",
            "`limit` is a list, not an object: left out",
            "`open_weights` is a number, not a truth value: left out",
            "`status` is `retired`, no known stage: left out",
            "`tool_call` is a text, not a truth value: left out",
        ],
    );
    assert_eq!((o.open_weights, o.stage, o.family), (None, None, None));
}

#[test]
fn unknown_fields_are_counted_by_path() {
    let import = import_text(
        r#"{"p":{"new":1,"models":{"a":{"new":1,"cost":{"x":1,"tiers":[{"y":1,"tier":{"z":1}}]},"limit":{"w":null}},
            "b":{"new":{"deep":1}}}}}"#,
    );
    let found: Vec<_> = import.unknown_fields.iter().map(|(path, count)| (path.as_str(), *count)).collect();
    let expected = [
        ("*.models.*.cost.tiers.*.tier.z", 1),
        ("*.models.*.cost.tiers.*.y", 1),
        ("*.models.*.cost.x", 1),
        ("*.models.*.limit.w", 1),
        ("*.models.*.new", 2),
        ("*.new", 1),
    ];
    let mut expected = expected;
    expected.sort_unstable();
    assert_eq!(found, expected);
}

#[test]
fn placeholders_are_no_urls() {
    let import = import_text(
        r#"{"a":{"api":"https://x/${ID}/v1","doc":"see x","models":{}},
            "b":{"api":"${URL}/v1","doc":"http://localhost:1"}}"#,
    );
    let urls: Vec<_> =
        import.providers.iter().map(|p| (p.api_url.as_deref(), p.documentation_url.as_deref())).collect();
    assert_eq!(urls, [(None, None), (None, Some("http://localhost:1"))]);
    assert_eq!(import.warnings, 5);
}

#[test]
fn the_key_is_the_id() {
    let o = offering(r#""id":"other""#, &["`id` is `other`, another than its key: the key counts"]);
    assert_eq!(o.name.offering(), "m");
}

#[track_caller]
fn rejected(text: &str, expected: &[&str]) {
    let import = import_text(text);
    let found: Vec<_> = import.entries.iter().filter(|e| e.outcome == Outcome::Rejected).map(|e| &e.record).collect();
    assert_eq!(found, expected, "{text}");
    assert_eq!(import.rejected as usize, expected.len());
}

#[test]
fn what_can_not_be_named_is_rejected() {
    rejected(r#"{"P":{"models":{"m":{}}},"q":7}"#, &["providers/P", "providers/P/offerings/m", "providers/q"]);
    rejected(
        r#"{"p":{"models":{"":{},"m":[],"a\nb":{}}}}"#,
        &["providers/p/offerings/", "providers/p/offerings/a\u{fffd}b", "providers/p/offerings/m"],
    );
}

#[test]
fn of_ids_given_twice_none_is_taken_and_none_is_lost() {
    rejected(r#"{"p":{"models":{"m":{},"n":{},"m":{}}}}"#, &["providers/p/offerings/m", "providers/p/offerings/m"]);
    rejected(
        r#"{"p":{"models":{"m":{}}},"p":{"models":{"n":{}}}}"#,
        &["providers/p", "providers/p", "providers/p/offerings/m", "providers/p/offerings/n"],
    );
    let import = import_text(r#"{"p":{"models":{"m":{}},"models":{"n":{}}}}"#);
    assert_eq!((import.offerings.len(), import.warnings), (2, 1));
    offering(r#""family":"a","family":"b""#, &["`family` is given more than once: left out"]);
}

#[test]
fn a_huge_text_is_left_out() {
    let text = "x".repeat(100_000);
    let o = offering(&format!(r#""name":"{text}""#), &["`name` has 100000 bytes, at most 1024 are kept: left out"]);
    assert_eq!(&*o.display_name, "m");
    rejected(
        &format!(r#"{{"p":{{"models":{{"{text}":{{}}}}}}}}"#),
        &[&format!("providers/p/offerings/{}…", &text[..80])],
    );
}

#[test]
fn a_document_of_nothing_but_mistakes_gives_a_short_report() {
    let import = import_offering(&format!(r#""cost":{{"tiers":[{}0]}}"#, "0,".repeat(10_000)));
    assert_eq!(import.warnings, 65);
    let fields: Vec<_> = (0..5_000).map(|at| format!("\"f{at}\":0")).collect();
    let import = import_offering(&fields.join(","));
    assert_eq!(import.unknown_fields.len(), 1_001);
    assert_eq!(import.unknown_fields.values().sum::<u32>(), 5_000);
}

#[test]
fn a_document_of_another_shape_is_refused() {
    let refused = |text: &str| read(text.as_bytes(), &Limits::default()).unwrap_err();
    for (text, kind) in [("[]", "a list"), ("null", "null"), ("0", "a number"), ("\"x\"", "a text")] {
        assert!(matches!(refused(text), ImportError::Shape { found, .. } if found == kind), "{text}");
    }
    assert!(matches!(refused("{\"p\":"), ImportError::Syntax { line: 1, .. }));
    assert_eq!(import_text("{}").entries, []);
}

const SAMPLE: &str = r#"{"id":"a","name":"A","family":"f","attachment":true,"reasoning":true,"tool_call":true,
    "structured_output":true,"temperature":true,"knowledge":"2024-06","release_date":"2025-08-05","status":"beta",
    "last_updated":"2025-08-05","modalities":{"input":["text"],"output":["text"]},"open_weights":true,
    "limit":{"context":1,"input":1,"output":1},
    "cost":{"input":1,"output":1,"tiers":[{"input":1,"tier":{"type":"context","size":1}}]}}"#;

fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        "\\PC{0,8}|[0-9-]{0,10}|https?://x".prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 24, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map("[a-z]{1,3}|input|tier|size|models", inner, 0..4)
                .prop_map(|map| Value::from(map.into_iter().collect::<JsonMap<_, _>>())),
        ]
    })
}

/// Paths of all values inside a value, the value itself included.
fn pointers(value: &Value, at: &str, out: &mut Vec<String>) {
    out.push(at.to_owned());
    match value {
        Value::Object(map) => map.iter().for_each(|(key, value)| pointers(value, &format!("{at}/{key}"), out)),
        Value::Array(list) => {
            list.iter().enumerate().for_each(|(key, value)| pointers(value, &format!("{at}/{key}"), out));
        }
        _ => {}
    }
}

/// Offerings in a document, as far as there are any.
fn offerings_in(document: &Value) -> usize {
    let providers = document.as_object().into_iter().flatten();
    providers.filter_map(|(_, provider)| provider.get("models")?.as_object().map(JsonMap::len)).sum()
}

/// A value as text with the keys of every object turned round.
fn reversed(value: &Value) -> String {
    match value {
        Value::Object(map) => {
            let fields: Vec<_> = map.iter().rev().map(|(k, v)| format!("{}:{}", json!(k), reversed(v))).collect();
            format!("{{{}}}", fields.join(","))
        }
        Value::Array(list) => format!("[{}]", list.iter().map(reversed).collect::<Vec<_>>().join(",")),
        other => other.to_string(),
    }
}

proptest! {
    #[test]
    fn any_value_anywhere_is_survived_and_no_offering_is_lost(value in any_json(), at in any::<prop::sample::Index>()) {
        let sample: Value = serde_json::from_str(SAMPLE).unwrap();
        let models = json!({ "a": sample, "b": {} });
        let mut document = json!({ "p": { "id": "p", "name": "P", "api": "https://x", "models": models } });
        let mut all = Vec::new();
        pointers(&document, "", &mut all);
        *document.pointer_mut(at.get(&all).as_str()).unwrap() = value;
        let read = read(document.to_string().as_bytes(), &Limits::default());
        prop_assert_eq!(read.is_ok(), document.is_object());
        if let Ok(read) = read {
            let import = normalise(&read, &index(), "test");
            let rejected = import.entries.iter().filter(|entry| entry.outcome == Outcome::Rejected);
            let rejected = rejected.filter(|entry| entry.record.contains("/offerings/")).count();
            prop_assert_eq!(import.offerings.len() + rejected, offerings_in(&document));
            prop_assert!(import.offerings.is_sorted_by(|a, b| a.name < b.name));
            let turned = super::read(reversed(&document).as_bytes(), &Limits::default()).unwrap();
            prop_assert_eq!(import, normalise(&turned, &index(), "test"));
        }
    }

    #[test]
    fn any_bytes_are_survived(bytes in prop::collection::vec(any::<u8>(), 0..64), cut in 0..SAMPLE.len()) {
        let _ = read(&bytes, &Limits::default());
        let truncated = format!("{{\"p\":{{\"models\":{{\"m\":{}", &SAMPLE[..cut]);
        prop_assert!(read(truncated.as_bytes(), &Limits::default()).is_err());
    }
}
