//! What a filter is read as, what is said of one that cannot be read, and what it costs.

use proptest::prelude::*;

use super::parse::{Comparison, DEPTH_MAX, Field, LEN_MAX, Literal, Node, Operator, Span, TERMS_MAX, parse};
use super::pattern::Pattern;
use super::*;
use crate::domain::date::Date;
use crate::domain::tri::Tri;

#[track_caller]
fn reads(text: &str, expected: &str) {
    let node = parse(text).unwrap().unwrap();
    assert_eq!(node.to_string(), expected);
}

#[test]
fn or_binds_tighter_than_and_and_side_by_side_is_and() {
    reads("a", r#""a""#);
    reads("a b", r#""a" AND "b""#);
    reads("a b AND c", r#""a" AND "b" AND "c""#);
    reads("a AND b OR c", r#""a" AND ("b" OR "c")"#);
    reads("a b OR c d", r#""a" AND ("b" OR "c") AND "d""#);
    reads("(a AND b) OR c", r#"("a" AND "b") OR "c""#);
    reads("NOT a OR -b", r#"NOT "a" OR NOT "b""#);
    reads("NOT (a OR b)", r#"NOT ("a" OR "b")"#);
    reads("NOT NOT a", r#""a""#);
    reads("- -a", r#""-" AND NOT "a""#);
    reads("llama-3.3 -qwen", r#""llama-3.3" AND NOT "qwen""#);
    reads("((a))", r#""a""#);
    reads(r#""and" 'or' "not""#, r#""and" AND "or" AND "not""#);
    assert_eq!(parse("  \n ").unwrap(), None);
}

#[test]
fn fields_are_held_against_values() {
    reads("tier = OPEN_WEIGHT", r#"tier = "OPEN_WEIGHT""#);
    reads("tier=OPEN_WEIGHT AND a.b>=3", r#"tier = "OPEN_WEIGHT" AND a.b >= "3""#);
    reads("a!=-5", r#"a != "-5""#);
    reads(r#""a b".c:1"#, r#""a b.c" : "1""#);
    reads(r#"\\"-":1"#, r#""\\\\-" : "1""#);
    reads("input_modalities:IMAGE", r#"input_modalities : "IMAGE""#);
    reads("a:*", r#"a : "*""#);
    reads(r#"a = "x*y\*z""#, r#"a = "x*y\*z""#);
    reads(r#"a = 'it"s'"#, r#"a = "it\"s""#);
    reads("t >= 2024-07-01T10:00:00Z", r#"t >= "2024-07-01T10:00:00Z""#);
    reads("t = (2024-07-01T10:00:00Z OR 2025)", r#"t = "2024-07-01T10:00:00Z" OR t = "2025""#);
    reads("t >= 2024-07-01T10:00:00+02:00 b", r#"t >= "2024-07-01T10:00:00+02:00" AND "b""#);
    reads("tier = (A OR B)", r#"tier = "A" OR tier = "B""#);
    reads("tier = (NOT A B)", r#"NOT tier = "A" AND tier = "B""#);
    reads(r#"use.labels."my.key" = x"#, r#"use.labels.my.key = "x""#);
    reads("unknown(a = 1) OR unknown(b)", r#"unknown(a = "1") OR unknown("b")"#);
    reads(r#""AND" = 1"#, r#""AND" = "1""#);
}

#[track_caller]
fn fails(text: &str, character: usize, expected: &str) {
    let error = parse(text).unwrap_err();
    assert!(error.message.contains(expected), "{error}");
    assert_eq!(error.character, character, "{error}");
}

#[test]
fn what_is_most_likely_a_slip_is_not_a_word() {
    fails("a and b", 3, "write `AND` in capitals, or `\"and\"` for the word");
    fails("a = 1 or a = 2", 7, "write `OR` in capitals");
    fails("not a", 1, "write `NOT` in capitals");
    fails("unknown (a = 1)", 1, "write `unknown(…)` without a blank");
}

#[test]
fn what_cannot_be_read_says_where_and_what_is_expected() {
    fails("a AND", 6, "a term is expected here");
    fails("AND a", 1, "a term is expected before `AND`");
    fails("a OR OR b", 6, "a term is expected before `OR`");
    fails("a = ", 5, "a value is expected after `=`");
    fails("= a", 1, "a field is expected before `=`");
    fails("a = = b", 5, "a value is expected after `=`");
    fails("a == b", 3, "write `=`");
    fails("a <> b", 3, "write `!=`");
    fails("a && b", 3, "write `AND`");
    fails("a || b", 3, "write `OR`");
    fails("!a", 1, "write `NOT`");
    fails("(a", 1, "a `)` is missing");
    fails("a)", 2, "closes nothing");
    fails("()", 2, "a term is expected before `)`");
    fails("a, b", 2, "is expected here");
    fails("ü = \"x", 5, "has no end");
    fails(r#"a = "x\q""#, 7, "no escape");
    fails("has(a)", 1, "`unknown(…)` is the only one");
    fails("a = (b = c)", 6, "only values");
    fails("NOT", 4, "a term is expected here");
}

#[test]
fn hostile_filters_are_refused_or_answered_soon() {
    fails(&"(".repeat(1_000), DEPTH_MAX + 1, "nested deeper");
    fails(&"unknown(".repeat(1_000), DEPTH_MAX * 8 + 8, "nested deeper");
    fails(&"x".repeat(64 * 1024), 1, "bytes");
    fails(&"a ".repeat(TERMS_MAX + 1), TERMS_MAX * 2 + 1, "more than");
    assert!(parse(&"NOT ".repeat(4_000)).is_err());
    assert!(parse(&format!("{}a", "-".repeat(LEN_MAX - 1))).is_ok());
    let pieces = vec!["a".to_owned(); 4_000];
    assert!(!Pattern::new(pieces).unwrap().matches(&format!("{}b", "a".repeat(100_000))));
}

fn literal() -> impl Strategy<Value = Literal> {
    proptest::collection::vec("[a-z \"'\\\\*\n.ü-]{0,4}", 1..3).prop_map(|pieces| Literal {
        text: pieces.join("*").into(),
        pattern: Pattern::new(pieces),
        span: Span::default(),
    })
}

fn node() -> impl Strategy<Value = Node> {
    let operators = [Operator::Equal, Operator::NotEqual, Operator::Less, Operator::GreaterOrEqual, Operator::Has];
    let compare = ("[a-z]{1,3}(\\.[a-z]{1,3})?", proptest::sample::select(operators.to_vec()), literal()).prop_map(
        |(path, operator, value)| {
            let field = Field { path: path.into(), span: Span::default() };
            Node::Compare(Comparison { field, operator, value })
        },
    );
    let leaf = prop_oneof![literal().prop_map(Node::Word), compare];
    leaf.prop_recursive(4, 24, 4, |inner| {
        let several = || proptest::collection::vec(inner.clone(), 2..4);
        prop_oneof![
            several().prop_map(Node::And),
            several().prop_map(Node::Or),
            inner.clone().prop_map(|node| Node::Not(Box::new(node))),
            inner.prop_map(|node| Node::Unknown(Box::new(node))),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn nothing_makes_the_parser_panic(text in "[a-zA-Z()=<>!:,.\"'\\\\*ü \n-]{0,60}|(AND|OR|NOT|unknown\\(| |\\(|\\)|a|=|\"){0,30}") {
        let _ = parse(&text);
    }

    #[test]
    fn what_is_written_out_reads_the_same(node in node()) {
        let written = node.to_string();
        let read = parse(&written).unwrap().unwrap();
        // Once more: what is nested without need is flat by then.
        prop_assert_eq!(read.to_string(), parse(&read.to_string()).unwrap().unwrap().to_string());
        let plain = |text: &str| text.replace(['(', ')'], "").replace("NOT NOT ", "");
        prop_assert_eq!(plain(&read.to_string()), plain(&written));
    }
}

/// A table of one field of each kind.
struct Table;

impl Schema for Table {
    type Field = usize;

    fn find(path: &str) -> Option<usize> {
        Self::paths().iter().position(|known| known == path)
    }

    fn paths() -> Vec<String> {
        ["tier", "tokens", "price", "date", "name", "open", "tags"].map(str::to_owned).to_vec()
    }

    fn kind(field: usize) -> Kind {
        match field {
            0 => Kind::Word { words: &["PROPRIETARY", "OPEN_WEIGHT", "OPEN_SOURCE"], prefix: "TIER" },
            1 => Kind::Integer,
            2 => Kind::Amount,
            3 => Kind::Date,
            5 => Kind::Flag,
            _ => Kind::Text,
        }
    }

    fn repeated(field: usize) -> bool {
        field == 6
    }
}

/// What a row holds, field by field; `None`: not known.
#[derive(Default)]
struct Held<'a>(Vec<(usize, Vec<Value<'a>>, bool)>);

impl Row<usize> for Held<'_> {
    fn values(&self, field: usize) -> Values<'_> {
        match self.0.iter().find(|(known, ..)| *known == field) {
            Some((_, values, open)) => Values { list: values.iter().cloned().collect(), open: *open },
            None => Values { open: true, ..Values::default() },
        }
    }

    fn is_called(&self, word: &Word) -> bool {
        word.0.iter().all(|word| "llama".starts_with(&**word))
    }
}

fn query(text: &str) -> Result<Query<usize>, Vec<Problem>> {
    check::<Table>(&parse(text).unwrap().unwrap(), &|_, _| String::new())
}

#[track_caller]
fn asks(row: &Held<'_>, text: &str, expected: Tri) {
    assert_eq!(query(text).unwrap().holds(row), expected, "{text}");
}

#[test]
fn a_row_is_held_against_each_kind_of_value() {
    use Tri::{False, True, Unknown};
    let date = |text: &str| Value::Date(Date::parse(text).unwrap());
    let row = Held(vec![
        (0, vec![Value::Word(1)], false),
        (1, vec![Value::Integer(128_000)], false),
        (2, vec![Value::Amount(590_000_000)], false),
        (3, vec![date("2024-07")], false),
        (4, vec![Value::text("Llama 3.3")], false),
        (5, vec![Value::Flag(true)], false),
        (6, vec![Value::text("a"), Value::text("B")], false),
    ]);
    for (text, expected) in [
        ("tier = OPEN_WEIGHT", True),
        ("tier = open-weight", True),
        ("tier = TIER_OPEN_WEIGHT", True),
        ("tier > PROPRIETARY AND tier <= OPEN_WEIGHT", True),
        ("tier != OPEN_WEIGHT", False),
        ("tokens = 128k", True),
        ("tokens >= 128_000 tokens < 0.2M", True),
        ("tokens > 128000", False),
        ("price = 0.59", True),
        ("price <= 0.58", False),
        ("date = 2024", True),
        ("date = 2024-07-15", Unknown),
        ("date < 2024-07-15", Unknown),
        ("date < 2024-08", True),
        ("date <= 2024-07", True),
        ("date < 2024-07", False),
        ("date > 2024-06-30", True),
        ("date >= 2024-07", True),
        ("date > 2024-07", False),
        ("date >= 2024-07-02", Unknown),
        ("date = 2023", False),
        ("date < 2025-01-01T00:00:00Z", True),
        (r#"name = "llama 3.3""#, True),
        ("name = llama*", True),
        ("name = *3", True),
        ("name:*qwen*", False),
        ("open = true AND NOT open = FALSE", True),
        ("tags:a AND tags:b", True),
        ("tags:c", False),
        ("NOT tags:c", True),
        ("tags:*", True),
        ("tags = a OR tags:a", True),
        ("ll AND NOT qwen", True),
        ("unknown(date = 2024-07-15)", True),
        ("unknown(tier = OPEN_WEIGHT)", False),
    ] {
        if let Ok(query) = query(text) {
            assert_eq!(query.holds(&row), expected, "{text}");
        } else {
            assert_eq!(text, "tags = a OR tags:a", "{:?}", query(text));
        }
    }
}

#[test]
fn what_is_not_known_is_neither_met_nor_not() {
    use Tri::{False, True, Unknown};
    let nothing = Held::default();
    asks(&nothing, "tokens > 1", Unknown);
    asks(&nothing, "NOT tokens > 1", Unknown);
    asks(&nothing, "tokens != 1", Unknown);
    asks(&nothing, "tokens:*", False);
    asks(&nothing, "tokens > 1 OR ll", True);
    asks(&nothing, "tokens > 1 AND qwen", False);
    asks(&nothing, "unknown(tokens > 1)", True);
    // A list that may be longer than is known.
    let longer = Held(vec![(6, vec![Value::text("a")], true)]);
    asks(&longer, "tags:a", True);
    asks(&longer, "tags:b", Unknown);
    asks(&longer, "NOT tags:b", Unknown);
}

#[test]
fn every_mistake_is_told_at_once() {
    let told = |text: &str| {
        let problems = query(text).unwrap_err();
        problems.into_iter().map(|problem| (character(text, problem.span.start), problem.message)).collect::<Vec<_>>()
    };
    let problems = told("teir = A AND tokens = many OR tier = LOW AND name < 3 AND tags = x AND open = 1 AND \"…\"");
    let expected = [
        (1, "there is no field `teir`"),
        (23, "`many` is not a whole number"),
        (38, "`LOW` is not one of `PROPRIETARY`"),
        (46, "`name` has no order"),
        (59, "`tags` holds a list: ask for one of its values with `tags:x`"),
        (79, "`1` is not `true` or `false`"),
        (85, "no letter or digit"),
    ];
    assert_eq!(problems.len(), expected.len(), "{problems:#?}");
    for ((at, message), (expected_at, part)) in problems.iter().zip(expected) {
        assert!(message.contains(part), "{message}");
        assert_eq!(*at, expected_at, "{message}");
    }
    assert!(told("tokens = 1.5")[0].1.contains("whole number"));
    assert!(told("tokens = 99999999999999999999999999999999999999999999")[0].1.contains("whole number"));
    assert!(told("*llama*")[0].1.contains("name = "));
}

#[test]
fn amounts_are_shown_as_they_are_written() {
    let shown = |text: &str| match query(&format!("price = {text}")).unwrap() {
        Query::Test(Test { wanted: Wanted::Equal(value), .. }) => value.shown(Kind::Amount),
        other => panic!("{other:?}"),
    };
    for text in ["0", "0.59", "15", "-0.5", "0.000000001", "-2"] {
        assert_eq!(shown(text), text);
    }
}

/// A filter of many unknown names took a second to refuse: each was held against every field.
#[test]
fn near_names_are_found_for_the_first_mistakes_alone() {
    let looked_for = std::cell::Cell::new(0);
    let near = |_: &str, _: &[&str]| {
        looked_for.set(looked_for.get() + 1);
        String::new()
    };
    let node = parse(&"unknown-name = 1 ".repeat(900)).unwrap().unwrap();
    let problems = check::<Table>(&node, &near).unwrap_err();
    assert_eq!((problems.len(), looked_for.get()), (900, 20));
}
