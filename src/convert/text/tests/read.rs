use std::borrow::Cow;

use prost_reflect::{DynamicMessage, Value};
use serde_json::json;

use super::super::{Limits, Syntax, nearest, parse, read, read_as};
use super::{descriptor, lines};

/// Reads one JSON text as `All`.
fn all(text: &str) -> Result<DynamicMessage, String> {
    let tree = parse(text.as_bytes(), Syntax::Json, &Limits::default()).unwrap();
    read(&tree, &descriptor("All")).map_err(|problems| lines(&problems).join("\n"))
}

/// `text` gives the message the same content as the canonical `same`.
#[track_caller]
fn check(text: &str, same: &str) {
    // Not `assert_eq`, which would print the descriptors too.
    let message = all(text).map_err(|problems| panic!("{text}: {problems}"));
    assert!(message == all(same), "{text}");
}

#[track_caller]
fn field(text: &str, name: &str, expected: impl Into<Option<Value>>) {
    let message = all(text).unwrap();
    assert_eq!(message.get_field_by_name(name).map(Cow::into_owned), expected.into(), "{text}");
}

#[track_caller]
fn problem(text: &str, expected: &str) {
    let found = all(text).map(|_| "accepted").unwrap_err();
    assert_eq!(found, expected, "{text}");
}

#[test]
fn field_names_may_be_snake_camel_or_kebab() {
    check(r#"{"count_i32": 1}"#, r#"{"countI32": 1}"#);
    check(r#"{"count-i32": 1}"#, r#"{"countI32": 1}"#);
    check(r#"{"scale-gates": [{"threshold-max": 1}]}"#, r#"{"scaleGates": [{"thresholdMax": 1}]}"#);
    problem(
        r#"{"count-i_32": 1}"#,
        "count-i_32: unknown field `count-i_32`, did you mean `count_i32`, `count_f32` or `count_s32`?",
    );
    problem(r#"{"Flag": true}"#, "Flag: unknown field `Flag`, did you mean `flag`?");
}

#[test]
fn unknown_fields_are_named_with_near_ones() {
    problem(
        r#"{"scale_gates": [{"metrc": 1}]}"#,
        "scale_gates[0].metrc: unknown field `metrc`, did you mean `metric`? expected one of `metric`, `threshold_max`, `inner_gates`, `purpose`",
    );
    problem(
        r#"{"gate": {"zzz": 1, "inner_gates": [{"threshold": 2}]}}"#,
        "gate.inner_gates[0].threshold: unknown field `threshold`, did you mean `threshold_max`? expected one of `metric`, `threshold_max`, `inner_gates`, `purpose`\ngate.zzz: unknown field `zzz`, expected one of `metric`, `threshold_max`, `inner_gates`, `purpose`",
    );
    problem(r#"{"a b\n\"c": 1}"#, "[\"a b\\n\"c\"]: unknown field `a b\\n\"c`");
    problem(r#"{"": 1}"#, "[\"\"]: unknown field ``");
}

#[test]
fn fields_given_twice_are_refused() {
    problem(r#"{"count_i32": 1, "countI32": 1}"#, "count_i32: field is given twice, as `countI32` and `count_i32`");
    problem(r#"{"count_i32": null, "countI32": 1}"#, "count_i32: field is given twice, as `countI32` and `count_i32`");
    problem(
        r#"{"region": "eu", "zone": 0}"#,
        "zone: only one of `region` and `zone` can be given (they are alternatives for `place`)",
    );
    check(r#"{"region": "eu", "zone": null}"#, r#"{"region": "eu"}"#);
    problem(
        r#"{"region": "eu", "open": null}"#,
        "region: only one of `open` and `region` can be given (they are alternatives for `place`)",
    );
    check(r#"{"maybe_flag": false, "maybe_name": ""}"#, r#"{"maybeFlag": false, "maybeName": ""}"#);
}

#[test]
fn null_is_absence() {
    check(r#"{"flag": null, "names": null, "labels": null, "gate": null, "w_i32": null, "purpose": null}"#, "{}");
    problem(r#"{"names": ["a", null]}"#, "names[1]: expected text, found nothing");
    problem(r#"{"labels": {"a": null}}"#, "labels[\"a\"]: expected text, found nothing");
    problem("null", "expected an object, found nothing");
    problem("[]", "expected an object, found a list");
}

#[test]
fn enum_values_have_long_and_short_names() {
    for name in
        ["PURPOSE_SELF_HOSTED", "self-hosted", "self_hosted", "SELF_HOSTED", "Self-Hosted", "purpose-self-hosted"]
    {
        field(&format!(r#"{{"purpose": "{name}"}}"#), "purpose", Value::EnumNumber(2));
    }
    field(r#"{"purpose": -3}"#, "purpose", Value::EnumNumber(-3));
    field(r#"{"maybe_purpose": "unspecified"}"#, "maybe_purpose", Value::EnumNumber(0));
    field(r#"{"maybe_purpose": "PURPOSE_UNSPECIFIED"}"#, "maybe_purpose", Value::EnumNumber(0));
    field(r#"{"odd": "ONE"}"#, "odd", Value::EnumNumber(2));
    field(r#"{"odd": "ODD_ONE"}"#, "odd", Value::EnumNumber(1));
    problem(
        r#"{"purpose": "comercial"}"#,
        "purpose: unknown value `comercial`, did you mean `commercial`? expected one of `research`, `commercial`, `self-hosted`",
    );
    problem(
        r#"{"purpose": "PURPOSE_COMERCIAL"}"#,
        "purpose: unknown value `PURPOSE_COMERCIAL`, did you mean `commercial`? expected one of `research`, `commercial`, `self-hosted`",
    );
    problem(
        r#"{"purpose": "zzz"}"#,
        "purpose: unknown value `zzz`, expected one of `research`, `commercial`, `self-hosted`",
    );
    problem(r#"{"purpose": ""}"#, "purpose: unknown value ``, expected one of `research`, `commercial`, `self-hosted`");
    problem(
        r#"{"purpose": 9}"#,
        "purpose: unknown value number `9`, expected one of `research`, `commercial`, `self-hosted`",
    );
    problem(r#"{"purpose": 1.5}"#, "purpose: expected a whole number, found number `1.5`");
    problem(r#"{"purpose": true}"#, "purpose: expected the name of a value, found `true`");
    problem(r#"{"many": "quantised"}"#, "many: unknown value `quantised`, did you mean `quantized`?");
    problem(r#"{"many": "zzz"}"#, "many: unknown value `zzz`");
}

#[test]
fn whole_numbers_are_exact_and_in_range() {
    field(r#"{"count_i32": -2147483648}"#, "count_i32", Value::I32(i32::MIN));
    field(r#"{"count_i32": 1e3}"#, "count_i32", Value::I32(1000));
    field(r#"{"count_i32": 2.0}"#, "count_i32", Value::I32(2));
    field(r#"{"count_i32": "7"}"#, "count_i32", Value::I32(7));
    field(r#"{"count_i32": "1e3"}"#, "count_i32", Value::I32(1000));
    field(r#"{"count_i32": -0}"#, "count_i32", Value::I32(0));
    field(r#"{"count_u32": 4294967295}"#, "count_u32", Value::U32(u32::MAX));
    field(r#"{"count_i64": "-9223372036854775808"}"#, "count_i64", Value::I64(i64::MIN));
    field(r#"{"count_i64": 9007199254740993}"#, "count_i64", Value::I64(9_007_199_254_740_993));
    field(r#"{"count_u64": 18446744073709551615}"#, "count_u64", Value::U64(u64::MAX));
    field(r#"{"count_u64": "18446744073709551615"}"#, "count_u64", Value::U64(u64::MAX));
    problem(
        r#"{"count_i32": 2147483648}"#,
        "count_i32: number `2147483648` is out of range, expected -2147483648 to 2147483647",
    );
    problem(
        r#"{"count_s32": -2147483649, "count_sf32": "2147483648"}"#,
        "count_s32: number `-2147483649` is out of range, expected -2147483648 to 2147483647\ncount_sf32: text `2147483648` is out of range, expected -2147483648 to 2147483647",
    );
    problem(r#"{"count_u32": -1}"#, "count_u32: number `-1` is out of range, expected 0 to 4294967295");
    problem(r#"{"count_f32": 4294967296}"#, "count_f32: number `4294967296` is out of range, expected 0 to 4294967295");
    problem(
        r#"{"count_i64": 9223372036854775808}"#,
        "count_i64: number `9223372036854775808` is out of range, expected -9223372036854775808 to 9223372036854775807",
    );
    problem(
        r#"{"count_i64": 1e30}"#,
        "count_i64: number `1e+30` is out of range, expected -9223372036854775808 to 9223372036854775807",
    );
    problem(
        r#"{"count_u64": 18446744073709551616}"#,
        "count_u64: number `1.8446744073709552e+19` is out of range, expected 0 to 18446744073709551615",
    );
    problem(
        r#"{"count_i64": 9007199254740993.0}"#,
        "count_i64: number `9007199254740992.0` may have been rounded; write out all digits, without a point or exponent",
    );
    for text in [
        "1.5",
        "\"1.5\"",
        "\"10k\"",
        "\"+1\"",
        "\" 1\"",
        "\"1 \"",
        "\"01\"",
        "\"\"",
        "\"0x10\"",
        "\"1_000\"",
        "\"-\"",
        "true",
        "[1]",
        "{}",
        "\"NaN\"",
    ] {
        let message = all(&format!(r#"{{"count_i64": {text}}}"#)).unwrap_err();
        assert!(message.starts_with("count_i64: expected a whole number, found "), "{message}");
    }
}

#[test]
fn floating_point_numbers_may_be_text() {
    field(r#"{"ratio": 1}"#, "ratio", Value::F64(1.0));
    field(r#"{"ratio": "-1.5e3"}"#, "ratio", Value::F64(-1500.0));
    field(r#"{"ratio": "Infinity"}"#, "ratio", Value::F64(f64::INFINITY));
    field(r#"{"weight": "-Infinity"}"#, "weight", Value::F32(f32::NEG_INFINITY));
    field(r#"{"weight": 0.1}"#, "weight", Value::F32(0.1));
    field(r#"{"weight": 3.4028234e38}"#, "weight", Value::F32(f32::MAX));
    assert!(all(r#"{"ratio": "NaN"}"#).unwrap().get_field_by_name("ratio").unwrap().as_f64().unwrap().is_nan());
    problem(
        r#"{"weight": 3.5e38}"#,
        "weight: number `3.5e+38` is out of range, expected a number from -3.4028235e38 to 3.4028235e38",
    );
    problem(r#"{"ratio": "1e999"}"#, "ratio: expected a number, found text `1e999`");
    problem(r#"{"ratio": "inf"}"#, "ratio: expected a number, found text `inf`");
    problem(r#"{"ratio": true}"#, "ratio: expected a number, found `true`");
}

#[test]
fn other_scalars_are_strict() {
    problem(r#"{"flag": "true"}"#, "flag: expected `true` or `false`, found text `true`");
    problem(r#"{"flag": 1}"#, "flag: expected `true` or `false`, found number `1`");
    problem(r#"{"name": 1.10}"#, "name: expected text, found number `1.1`; put it in quotes");
    problem(r#"{"name": false}"#, "name: expected text, found `false`; put it in quotes");
    problem(r#"{"name": ["a"]}"#, "name: expected text, found a list");
    for text in ["-_8=", "+/8=", "-_8", "+/8"] {
        field(&format!(r#"{{"digest": "{text}"}}"#), "digest", Value::Bytes(vec![0xfb, 0xff].into()));
    }
    problem(r#"{"digest": "a"}"#, "digest: expected bytes as base64 text, found text `a`");
    problem(r#"{"digest": "a b="}"#, "digest: expected bytes as base64 text, found text `a b=`");
    problem(r#"{"digest": 5}"#, "digest: expected bytes as base64 text, found number `5`");
}

#[test]
fn lists_and_maps_are_written_as_such() {
    problem(r#"{"names": "a"}"#, "names: expected a list, found text `a`; write one element as a list too: `[…]`");
    problem(
        r#"{"names": {"a": 1}}"#,
        "names: expected a list, found an object; write one element as a list too: `[…]`",
    );
    problem(r#"{"labels": [1]}"#, "labels: expected an object of keys and values, found a list");
    problem(
        r#"{"labels": {"a.b": 1, "c": 2}}"#,
        "labels[\"a.b\"]: expected text, found number `1`; put it in quotes\nlabels[\"c\"]: expected text, found number `2`; put it in quotes",
    );
    problem(
        r#"{"gates_by_i32": {"x": {}, "1": {"metric": 1}}}"#,
        "gates_by_i32[\"1\"].metric: expected text, found number `1`; put it in quotes\ngates_by_i32[\"x\"]: expected a whole number, found text `x`",
    );
    problem(r#"{"gates_by_i32": {"1": {}, "1.0": {}}}"#, "gates_by_i32[\"1.0\"]: key is given twice, in two spellings");
    problem(
        r#"{"values_by_flag": {"yes": 1}}"#,
        "values_by_flag[\"yes\"]: expected a key `true` or `false`, found text `yes`",
    );
    check(
        r#"{"values_by_flag": {"true": null}, "gates_by_i32": {"-1": {}}}"#,
        r#"{"valuesByFlag": {"true": null}, "gatesByI32": {"-1": {}}}"#,
    );
    problem(
        r#"{"scale_gates": [{"metric": 1}, {}, {"metric": "a", "inner_gates": [1]}], "gate": 1}"#,
        "gate: expected an object, found number `1`\nscale_gates[0].metric: expected text, found number `1`; put it in quotes\nscale_gates[2].inner_gates[0]: expected an object, found number `1`",
    );
}

#[test]
fn timestamps_are_times_or_dates() {
    check(r#"{"create_time": "2026-11-25"}"#, r#"{"createTime": "2026-11-25T00:00:00Z"}"#);
    check(r#"{"create_time": "2026-11-25T01:30:00+01:30"}"#, r#"{"createTime": "2026-11-25T00:00:00Z"}"#);
    check(r#"{"create_time": "2026-11-25 00:00:00z"}"#, r#"{"createTime": "2026-11-25T00:00:00.000Z"}"#);
    check(
        r#"{"times": ["0001-01-01T00:00:00Z", "9999-12-31T23:59:59.999999999Z", "2024-02-29"]}"#,
        r#"{"times": ["0001-01-01", "9999-12-31T23:59:59.999999999Z", "2024-02-29T00:00:00-00:00"]}"#,
    );
    for text in [
        "",
        "2026",
        "2026-02-29",
        "2026-13-01",
        "2026-1-1",
        "2026-11-25T10:00:00",
        "2026-11-25T10:00Z",
        "10:00:00",
        "2026-11-25T24:00:00Z",
        "2026-11-25T10:00:00+24:00",
        "2026-11-25T10:00:00+01:60",
        "2026-11-25T10:00:00.0123456789Z",
        "2026-11-25T10:00:00.Z",
        " 2026-11-25",
        "0000-01-01",
        "9999-12-31T23:59:59-01:00",
        "2026-11-25Z",
        "２026-11-25",
    ] {
        let message = all(&format!(r#"{{"create_time": "{text}"}}"#)).map(|_| text).unwrap_err();
        assert!(message.starts_with("create_time: expected a time"), "{message}");
    }
    problem(
        r#"{"create_time": 5}"#,
        "create_time: expected a time such as `2026-11-25T10:00:00Z` or a date, found number `5`",
    );
}

#[test]
fn durations_are_seconds() {
    let of = |text: &str| {
        let message = all(&format!(r#"{{"ttl": "{text}"}}"#))?;
        let value = message.get_field_by_name("ttl").unwrap();
        let ttl = value.as_message().unwrap().clone();
        let seconds = ttl.get_field_by_number(1).unwrap().as_i64().unwrap();
        Ok((seconds, ttl.get_field_by_number(2).unwrap().as_i32().unwrap()))
    };
    assert_eq!(of("90s"), Ok((90, 0)));
    assert_eq!(of("-1.5s"), Ok((-1, -500_000_000)));
    assert_eq!(of("-0.000000001s"), Ok((0, -1)));
    assert_eq!(of("315576000000s"), Ok((315_576_000_000, 0)));
    for text in [
        "",
        "90",
        "s",
        "1h",
        "1m30s",
        "+1s",
        "1.s",
        ".5s",
        "1.0123456789s",
        "315576000001s",
        "99999999999999999999s",
        "1 s",
        "--1s",
    ] {
        let message: Result<(i64, i32), String> = of(text);
        assert!(message.clone().unwrap_err().starts_with("ttl: expected a duration"), "{text} {message:?}");
    }
}

#[test]
fn well_known_messages_have_their_own_forms() {
    let paths = |paths: &[&str]| paths.iter().map(|p| Value::String((*p).to_owned())).collect();
    let message = all(r#"{"update_mask": "countI32, gate.thresholdMax,count_u32"}"#).unwrap();
    let mask = message.get_field_by_name("update_mask").unwrap().as_message().unwrap().clone();
    assert_eq!(
        *mask.get_field_by_number(1).unwrap(),
        Value::List(paths(&["count_i32", "gate.threshold_max", "count_u32"]))
    );
    check(r#"{"w_i64": 5, "w_bool": false, "w_bytes": "AA"}"#, r#"{"wI64": "5", "wBool": false, "wBytes": "AA=="}"#);
    check(r#"{"nothing": {}}"#, r#"{"nothing": {}}"#);
    check(r#"{"null_value": null}"#, r#"{"nullValue": "NULL_VALUE"}"#);
    problem(
        r#"{"w_u32": -1, "extra": [], "any_list": {}, "nothing": {"a": 1}, "update_mask": ["a"]}"#,
        "any_list: expected a list, found an object; write one element as a list too: `[…]`\nextra: expected an object of keys and values, found a list\nnothing.a: unknown field `a`\nupdate_mask: expected field paths as text, with commas between, found a list\nw_u32: number `-1` is out of range, expected 0 to 4294967295",
    );
    let tree = json!({"payload": {"@type": "type.googleapis.com/fixture.Gate"}});
    let problems = read(&tree, &descriptor("WithAny")).unwrap_err();
    assert_eq!(lines(&problems), ["payload: messages of any type are not supported"]);
}

#[test]
fn messages_nest_as_deep_as_decoders_accept() {
    let deep =
        |levels: usize, innermost: serde_json::Value| (1..levels).fold(innermost, |inner, _| json!({ "inner": inner }));
    let descriptor = descriptor("Deep");
    let message = read(&deep(100, json!({})), &descriptor).unwrap();
    let bytes = prost::Message::encode_to_vec(&message);
    assert_eq!(DynamicMessage::decode(descriptor.clone(), bytes.as_slice()).unwrap(), message);
    assert!(read(&deep(101, json!({})), &descriptor).is_err());

    let value = |levels: usize| (0..levels).fold(json!(1), |inner, _| json!({ "a": inner }));
    let message = read(&json!({"value": value(32)}), &descriptor).unwrap();
    let bytes = prost::Message::encode_to_vec(&message);
    assert_eq!(DynamicMessage::decode(descriptor.clone(), bytes.as_slice()).unwrap(), message);
    let problems = read(&json!({"value": value(40)}), &descriptor).unwrap_err();
    assert!(lines(&problems).join("\n").ends_with("messages are nested deeper than 100 levels"));
}

#[test]
fn problems_beyond_a_thousand_are_counted() {
    let tree = json!({ "names": vec![1; 5000] });
    let problems = read(&tree, &descriptor("All")).unwrap_err();
    assert_eq!(problems.len(), 1001);
    assert_eq!(problems.last().unwrap().to_string(), "4000 more problems are left out");
}

#[test]
fn all_syntaxes_give_the_same_message() {
    let json =
        r#"{"name": "a", "createTime": "2026-11-25", "scaleGates": [{"metric": "users"}], "gatesByI32": {"1": {}}}"#;
    let yaml = "name: a\ncreate-time: 2026-11-25\nscale_gates:\n  - metric: users\ngates_by_i32:\n  1: {}\n";
    let toml = "name = 'a'\ncreate-time = 2026-11-25\ngates_by_i32.1 = {}\n[[scale_gates]]\nmetric = 'users'\n";
    for (syntax, text) in [(Syntax::Yaml, yaml), (Syntax::Toml, toml)] {
        let tree = parse(text.as_bytes(), syntax, &Limits::default()).unwrap();
        let message = read(&tree, &descriptor("All")).map_err(|p| lines(&p).join("\n"));
        assert!(message == all(json), "{syntax:?}");
    }
}

#[test]
fn typed_messages_are_read() {
    let mut descriptor =
        descriptor("All").get_field_by_name("create_time").unwrap().kind().as_message().unwrap().clone();
    let time: prost_types::Timestamp = read_as(&json!("1970-01-02"), &descriptor).unwrap();
    assert_eq!((time.seconds, time.nanos), (86_400, 0));
    descriptor = super::descriptor("Gate");
    let problems = read_as::<prost_types::Timestamp>(&json!({"metric": "a"}), &descriptor).unwrap_err();
    assert!(problems[0].message.starts_with("value does not fit `fixture.Gate`"), "{problems:?}");
}

#[test]
fn near_names_are_near() {
    let known = ["metric", "metric_name", "threshold_max", "purpose", "id"];
    let check = |name: &str, expected: &[&str]| assert_eq!(nearest(name, known), expected, "{name}");
    check("metrc", &["metric"]);
    check("thresholdMax", &["threshold_max"]);
    check("treshold-max", &["threshold_max"]);
    check("threshold", &["threshold_max"]);
    check("name", &["metric_name"]);
    check("METRIC", &["metric"]);
    check("zzz", &[]);
    check("x", &[]);
    check("", &[]);
    check(&"metric".repeat(100), &[]);
    assert_eq!(nearest("a1", ["a2", "a3", "a4", "a5", "a2"]), ["a2", "a3", "a4"]);
}
