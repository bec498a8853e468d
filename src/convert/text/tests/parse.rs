use std::path::Path;
use std::time::{Duration, Instant};

use proptest::prelude::*;
use serde_json::json;

use super::super::{Limits, Syntax, parse};
use super::lines;

const ALL: [Syntax; 3] = [Syntax::Json, Syntax::Yaml, Syntax::Toml];

#[track_caller]
fn check(syntax: Syntax, text: &str, expected: serde_json::Value) {
    assert_eq!(parse(text.as_bytes(), syntax, &Limits::default()).map_err(|p| lines(&p)), Ok(expected), "{text}");
}

#[track_caller]
fn refused(syntax: Syntax, text: &[u8], limits: &Limits, expected: &str) {
    let start = Instant::now();
    let problems = parse(text, syntax, limits).map(|_| "accepted").unwrap_err();
    let found = lines(&problems).join("\n");
    assert!(found.contains(expected), "{syntax:?}: {found}");
    assert!(found.len() < 5000, "message is long: {found}");
    // Generous, for unoptimized builds on busy machines; the failures this guards against take minutes.
    assert!(start.elapsed() < Duration::from_secs(20), "{syntax:?}");
}

#[track_caller]
fn problem(syntax: Syntax, text: &str, expected: &str) {
    let problems = parse(text.as_bytes(), syntax, &Limits::default()).unwrap_err();
    assert_eq!(lines(&problems).join("\n"), expected, "{text}");
}

#[test]
fn file_names_choose_the_syntax() {
    let of = |name: &str| Syntax::of_path(Path::new(name));
    assert_eq!(of("a/b.json"), Some(Syntax::Json));
    assert_eq!(of("b.YAML"), Some(Syntax::Yaml));
    assert_eq!(of("b.v1.yml"), Some(Syntax::Yaml));
    assert_eq!(of("b.toml"), Some(Syntax::Toml));
    assert_eq!(of("b.txt"), None);
    assert_eq!(of("json"), None);
}

#[test]
fn values_arrive_as_written() {
    check(Syntax::Json, r#"{"a": [1, -2, 3.5, "x", null, true]}"#, json!({"a": [1, -2, 3.5, "x", null, true]}));
    check(Syntax::Json, "18446744073709551615", json!(u64::MAX));
    check(Syntax::Json, "\u{feff}{}", json!({}));
    check(Syntax::Yaml, "a: [1, -2, 3.5, x, null, true]", json!({"a": [1, -2, 3.5, "x", null, true]}));
    check(
        Syntax::Yaml,
        "a: 2026-11-25\nb: 2026-11-25T10:00:00Z",
        json!({"a": "2026-11-25", "b": "2026-11-25T10:00:00Z"}),
    );
    check(Syntax::Yaml, "a: no\nb: on\nyes: 1\nc: y", json!({"a": "no", "b": "on", "yes": 1, "c": "y"}));
    check(
        Syntax::Yaml,
        "1: a\n1.10: b\ntrue: c\n0x10: d\n~: e",
        json!({"1": "a", "1.10": "b", "true": "c", "0x10": "d", "~": "e"}),
    );
    check(
        Syntax::Yaml,
        "a: 007\nb: 1_000\nc: 12:30\nd: 0o17\ne: 0x1F",
        json!({"a": "007", "b": "1_000", "c": "12:30", "d": 15, "e": 31}),
    );
    check(Syntax::Yaml, "a: .nan\nb: .inf\nc: -.inf", json!({"a": "NaN", "b": "Infinity", "c": "-Infinity"}));
    check(Syntax::Yaml, "a: 18446744073709551615\nb: 1e3\nc: 2.0", json!({"a": u64::MAX, "b": 1000.0, "c": 2.0}));
    check(
        Syntax::Yaml,
        "a: '1'\nb: \"true\"\nc: !!str 5\nd: |\n  x\n  y\n",
        json!({"a": "1", "b": "true", "c": "5", "d": "x\ny\n"}),
    );
    check(
        Syntax::Yaml,
        "a: &x {b: 1}\nc: *x\nd: {<<: *x, e: 2}",
        json!({"a": {"b": 1}, "c": {"b": 1}, "d": {"b": 1, "e": 2}}),
    );
    check(Syntax::Yaml, "", json!(null));
    check(Syntax::Toml, "", json!({}));
    check(
        Syntax::Toml,
        "a = [1, 2.5, 'x', true]\n[b.c]\nd = 0x10\n[[e]]\nf = 1_000",
        json!({"a": [1, 2.5, "x", true], "b": {"c": {"d": 16}}, "e": [{"f": 1000}]}),
    );
    check(
        Syntax::Toml,
        "a = 2026-11-25\nb = 2026-11-25 10:00:00.5+02:00\nc = 10:00:00",
        json!({"a": "2026-11-25", "b": "2026-11-25T10:00:00.5+02:00", "c": "10:00:00"}),
    );
    check(
        Syntax::Toml,
        "a = nan\nb = inf\nc = -inf\nd = 1e3",
        json!({"a": "NaN", "b": "Infinity", "c": "-Infinity", "d": 1000.0}),
    );
    check(Syntax::Toml, "a = 9223372036854775807\nb = 18446744073709551615", json!({"a": i64::MAX, "b": u64::MAX}));
}

#[test]
fn comments_may_be_long() {
    let comment = "# why\n".repeat(200);
    check(Syntax::Yaml, &format!("{comment}a:\n{comment}  - 1\n{comment}  - 2\n{comment}"), json!({"a": [1, 2]}));
    check(Syntax::Yaml, &format!("a:\n{comment}  b:\n{comment}c: 1"), json!({"a": {"b": null}, "c": 1}));
    check(Syntax::Toml, &format!("{comment}a = [\n{comment}1,\n{comment}2]"), json!({"a": [1, 2]}));
}

#[test]
fn syntax_errors_name_the_place() {
    problem(Syntax::Json, "{\"a\": 1,\n  x}", "line 2, column 3: key must be a string");
    problem(Syntax::Json, "", "line 1: end of document while parsing a value");
    problem(Syntax::Json, "{} {}", "line 1, column 4: trailing characters");
    problem(Syntax::Json, "{\"a\": NaN}", "line 1, column 7: expected value");
    problem(Syntax::Yaml, "a: [1, 2", "line 1, column 4: unclosed bracket '['");
    problem(Syntax::Yaml, "a: b: c", "line 1, column 5: mapping values are not allowed in this context");
    problem(Syntax::Yaml, "a: 1\n---\nb: 2", "line 2, column 1: expected one document, found another");
    problem(Syntax::Yaml, "a: *x", "line 1, column 4: alias references unknown anchor");
    problem(Syntax::Yaml, "a: !custom 5", "line 1, column 12: unsupported tag `!custom`");
    problem(Syntax::Yaml, "? [a]\n: 1", "line 1, column 3: expected string scalar");
    problem(Syntax::Yaml, "a:\n\t- b", "line 2, column 2: tabs disallowed within this context (block indentation)");
    problem(
        Syntax::Toml,
        "a = \nb = 1\nc = [1",
        "line 1, column 5: string values must be quoted, expected literal string\nline 3, column 7: unclosed array, expected `]`",
    );
    problem(
        Syntax::Toml,
        "a = 99999999999999999999",
        "line 1, column 5: a: number `99999999999999999999` is out of range",
    );
}

#[test]
fn repeated_keys_are_refused() {
    problem(Syntax::Json, r#"{"a": [{"b": 1, "b": 2}]}"#, "line 1, column 19: a[0].b: key `b` is given twice");
    problem(Syntax::Yaml, "a:\n  - b: 1\n    b: 2", "line 3, column 5: a[0].b: key `b` is given twice");
    problem(Syntax::Yaml, "1: a\n'1': b", "1: key `1` is given twice");
    problem(
        Syntax::Toml,
        "a = 1\nb.c = 1\nb.c = 2\na = 3",
        "line 3, column 3: key `c` is given twice\nline 4, column 1: key `a` is given twice",
    );
    problem(Syntax::Toml, "[a]\n[a]", "line 2, column 2: key `a` is given twice");
    problem(Syntax::Toml, "a = {b = 1, b = 2}", "line 1, column 13: key `b` is given twice");
}

#[test]
fn text_that_is_not_utf8_is_refused_with_its_place() {
    for syntax in ALL {
        refused(syntax, b"a = 1\nb\xff", &Limits::default(), "line 2, column 2: text is not UTF-8");
    }
}

#[test]
fn large_documents_are_refused_by_size_alone() {
    let zeros = vec![0; 100_000_000];
    for syntax in ALL {
        let start = Instant::now();
        refused(syntax, &zeros, &Limits::default(), "document has 100000000 bytes, the limit is 16777216");
        assert!(start.elapsed() < Duration::from_millis(100));
    }
}

#[test]
fn zeros_within_the_size_limit_are_refused() {
    let zeros = vec![0; 4_000_000];
    for syntax in ALL {
        refused(syntax, &zeros, &Limits::default(), "line 1");
    }
}

#[test]
fn deep_documents_are_refused() {
    const LEVELS: usize = 100_000;
    let unlimited = Limits { max_depth: usize::MAX, ..Limits::default() };
    for limits in [Limits::default(), unlimited] {
        let list = "[".repeat(LEVELS);
        let objects = "{\"a\":".repeat(LEVELS);
        let dashes = "- ".repeat(LEVELS);
        let lines: String = (0..2000).map(|n| format!("{}a:\n", " ".repeat(n))).collect();
        let key = format!("{}a", "a.".repeat(LEVELS));
        let aliases: String = (1..1000).map(|n| format!("- &a{n} [*a{}]\n", n - 1)).collect();
        refused(Syntax::Json, list.as_bytes(), &limits, "nested");
        refused(Syntax::Json, objects.as_bytes(), &limits, "nested");
        refused(Syntax::Yaml, list.as_bytes(), &limits, "nested");
        refused(Syntax::Yaml, objects.as_bytes(), &limits, "nested");
        refused(Syntax::Yaml, "{a: ".repeat(LEVELS).as_bytes(), &limits, "nested");
        refused(Syntax::Yaml, dashes.as_bytes(), &limits, "nested");
        refused(Syntax::Yaml, "? ".repeat(LEVELS).as_bytes(), &limits, "nested");
        refused(Syntax::Yaml, lines.as_bytes(), &limits, "nested");
        refused(Syntax::Yaml, format!("- &a0 [x]\n{aliases}").as_bytes(), &limits, "nested");
        refused(Syntax::Toml, format!("a={list}").as_bytes(), &limits, "nested");
        refused(Syntax::Toml, format!("a={}", "{a=".repeat(LEVELS)).as_bytes(), &limits, "nested");
        let parts = vec!["a"; 79].join(".");
        let product = (0..78).fold("1".to_owned(), |inner, _| format!("{{{parts}={inner}}}"));
        refused(Syntax::Toml, format!("[{parts}]\n{parts}={product}").as_bytes(), &limits, "nested deeper");
        refused(Syntax::Toml, format!("{key}=1").as_bytes(), &limits, "nested");
        refused(Syntax::Toml, format!("[{key}]").as_bytes(), &limits, "nested");
    }
}

#[test]
fn the_depth_limit_is_exact_in_every_syntax() {
    let limits = Limits { max_depth: 3, ..Limits::default() };
    let check = |syntax, good: &str, bad: &str| {
        assert!(parse(good.as_bytes(), syntax, &limits).is_ok(), "{good}");
        refused(syntax, bad.as_bytes(), &limits, "deeper than 3 levels");
    };
    check(Syntax::Json, "[[[1]]]", "[[[[1]]]]");
    check(Syntax::Yaml, "[[[1]]]", "[[[[1]]]]");
    check(Syntax::Toml, "a=[[1]]", "a=[[[1]]]");
}

#[test]
fn alias_bombs_are_refused() {
    let mut laughs = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
    for n in 1..10 {
        let aliases = vec![format!("*a{}", n - 1); 10].join(", ");
        laughs.push_str(&format!("a{n}: &a{n} [{aliases}]\n"));
    }
    refused(Syntax::Yaml, laughs.as_bytes(), &Limits::default(), "line");

    let text = format!("a: &a {}\nb: [{}]", "x".repeat(1_000_000), vec!["*a"; 40_000].join(", "));
    refused(Syntax::Yaml, text.as_bytes(), &Limits::default(), "line");

    let merges = format!("a: &a {{b: 1}}\nc: [{}]", vec!["{<<: *a}"; 100_000].join(", "));
    refused(Syntax::Yaml, merges.as_bytes(), &Limits::default(), "line");
}

#[test]
fn documents_with_too_many_values_are_refused() {
    let limits = Limits { max_nodes: 10, ..Limits::default() };
    let many = vec!["1"; 30].join(",");
    refused(Syntax::Json, format!("[{many}]").as_bytes(), &limits, "more than 10 values");
    refused(Syntax::Yaml, format!("[{many}]").as_bytes(), &limits, "more than 10 values");
    refused(Syntax::Toml, format!("a=[{many}]").as_bytes(), &limits, "more than 10 values");
    let few = ["1"; 12].join(",");
    refused(Syntax::Toml, format!("a=[{few}]").as_bytes(), &limits, "a[8]: document has more than 10 values");
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn random_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        for syntax in ALL {
            let _ = parse(&bytes, syntax, &Limits::default());
        }
    }

    #[test]
    fn random_marks_never_panic(text in r##"[\[\]{}:,=\-?&*!|>'"#a1 \n\t.<~\\]{0,80}"##) {
        for syntax in ALL {
            let _ = parse(text.as_bytes(), syntax, &Limits::default());
        }
    }
}
