use std::borrow::Borrow;

use prost_reflect::{DynamicMessage, Value};
use serde_json::{Value as Tree, json};

use super::super::{WriteStyle, read, write, write_of};
use super::descriptor;

fn styled(tree: &Tree, style: &WriteStyle) -> Tree {
    write(&read(tree, &descriptor("All")).unwrap(), style)
}

/// Both styles of one message.
#[track_caller]
fn check(canonical: impl Borrow<Tree>, readable: impl Borrow<Tree>) {
    assert_eq!(styled(readable.borrow(), &WriteStyle::default()), *canonical.borrow());
    assert_eq!(styled(canonical.borrow(), &WriteStyle::READABLE), *readable.borrow());
}

#[test]
fn styles_differ_in_names_only() {
    check(json!({"countI32": 1, "countI64": "2"}), json!({"count_i32": 1, "count_i64": "2"}));
    check(json!({"purpose": "PURPOSE_SELF_HOSTED"}), json!({"purpose": "self-hosted"}));
    check(json!({"maybePurpose": "PURPOSE_UNSPECIFIED"}), json!({"maybe_purpose": "unspecified"}));
    check(json!({"odd": "ODD_ONE"}), json!({"odd": "ODD_ONE"}));
    check(json!({"odd": "ONE"}), json!({"odd": "ONE"}));
    check(json!({"weight": 0.1, "ratio": "NaN"}), json!({"weight": 0.1, "ratio": "NaN"}));
    check(json!({"updateMask": "countI32,gate.thresholdMax"}), json!({"update_mask": "countI32,gate.thresholdMax"}));
    check(
        json!({"createTime": "2026-11-25T00:00:00Z", "ttl": "1.500s"}),
        json!({"create_time": "2026-11-25T00:00:00Z", "ttl": "1.500s"}),
    );
    check(
        json!({"gatesByI32": {"-1": {"thresholdMax": 2.0}}}),
        json!({"gates_by_i32": {"-1": {"threshold_max": 2.0}}}),
    );
    check(
        json!({"wI64": "5", "extra": {"a": [1.0, null]}, "digest": "+/8="}),
        json!({"w_i64": "5", "extra": {"a": [1.0, null]}, "digest": "+/8="}),
    );
}

#[test]
fn defaults_are_written_on_request() {
    let style = WriteStyle { omit_defaults: false, ..WriteStyle::default() };
    let gate = DynamicMessage::new(descriptor("Gate"));
    assert_eq!(
        write(&gate, &style),
        json!({"metric": "", "thresholdMax": 0.0, "innerGates": [], "purpose": "PURPOSE_UNSPECIFIED"})
    );
    let all = write(&DynamicMessage::new(descriptor("All")), &style);
    assert_eq!(all["labels"], json!({}));
    assert_eq!(all["countI64"], json!("0"));
    for absent in ["maybeFlag", "region", "createTime", "wI64", "gate"] {
        assert_eq!(all.get(absent), None, "{absent}");
    }
}

#[test]
fn values_without_a_form_are_written_as_objects() {
    let mut all = DynamicMessage::new(descriptor("All"));
    all.set_field_by_name("purpose", Value::EnumNumber(99));
    let time = all.get_field_by_name_mut("create_time").unwrap().as_message_mut().unwrap();
    time.set_field_by_name("seconds", Value::I64(i64::MIN));
    let ttl = all.get_field_by_name_mut("ttl").unwrap().as_message_mut().unwrap();
    ttl.set_field_by_name("nanos", Value::I32(i32::MIN));
    assert_eq!(
        write(&all, &WriteStyle::default()),
        json!({"purpose": 99, "createTime": {"seconds": "-9223372036854775808"}, "ttl": {"nanos": -2_147_483_648}})
    );
}

#[test]
fn messages_nested_without_end_are_cut() {
    let mut deep = DynamicMessage::new(descriptor("Deep"));
    for _ in 0..400 {
        let mut outer = DynamicMessage::new(descriptor_of(&deep));
        outer.set_field_by_name("inner", Value::Message(deep));
        deep = outer;
    }
    assert!(write(&deep, &WriteStyle::default()).to_string().contains("null"));
}

fn descriptor_of(message: &DynamicMessage) -> prost_reflect::MessageDescriptor {
    prost_reflect::ReflectMessage::descriptor(message)
}

#[test]
fn typed_messages_are_written() {
    let all = descriptor("All");
    let field = all.get_field_by_name("create_time").unwrap().kind();
    let time = prost_types::Timestamp { seconds: 1, nanos: 0 };
    let style = WriteStyle::default();
    let tree = write_of(&time, field.as_message().unwrap(), &style);
    assert_eq!(tree.unwrap(), json!("1970-01-01T00:00:01Z"));
    let error = write_of(&time, &descriptor("Gate"), &style).unwrap_err();
    assert_eq!(error.to_string(), "message does not fit its descriptor `fixture.Gate`");
}
