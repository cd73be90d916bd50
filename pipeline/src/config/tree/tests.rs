//! Tests of the tree: the three formats, their refusals, and how files are joined.
#![allow(clippy::unwrap_used)]

use proptest::prelude::*;
use serde_json::json;

use super::*;

fn yaml(text: &str) -> Value {
    Value::Object(parse(text, Format::Yaml).unwrap())
}

fn refusal(text: &str, format: Format) -> (String, Option<usize>) {
    let error = parse(text, format).unwrap_err();
    (error.message, error.line)
}

#[test]
fn three_formats_give_one_tree() {
    let expected = json!({"sinks": {"out": {"inputs": ["a", "b"], "n": 1, "f": 1.5, "on": true}}});
    let toml = "[sinks.out]\ninputs = ['a', 'b']\nn = 1\nf = 1.5\non = true\n";
    assert_eq!(yaml("sinks:\n  out: {inputs: [a, b], n: 1, f: 1.5, \"on\": true}\n"), expected);
    assert_eq!(Value::Object(parse(toml, Format::Toml).unwrap()), expected);
    assert_eq!(Value::Object(parse(&expected.to_string(), Format::Json).unwrap()), expected);
}

#[test]
fn yaml_merge_keys_anchors_and_aliases_work() {
    let text = "a: &a {x: 1, y: 2}\nb: {<<: *a, y: 3}\nc: {<<: [*a, {z: 4, x: 9}]}\nd: &d {<<: *a, w: 0}\ne: {<<: *d}\n";
    let tree = yaml(text);
    assert_eq!(tree["b"], json!({"y": 3, "x": 1}));
    assert_eq!(tree["c"], json!({"x": 1, "y": 2, "z": 4}));
    assert_eq!(tree["e"], json!({"w": 0, "x": 1, "y": 2}));
    assert!(refusal("b: {<<: 1}", Format::Yaml).0.contains("merges a map"));
}

#[test]
fn an_empty_yaml_file_is_an_empty_map_but_null_is_refused() {
    assert_eq!(yaml(""), json!({}));
    assert_eq!(yaml("# nothing\n"), json!({}));
    assert!(refusal("null", Format::Yaml).0.contains("expected a map"));
    assert!(refusal("- a", Format::Yaml).0.contains("found a list"));
    assert!(parse("", Format::Json).is_err());
}

#[test]
fn what_the_tree_cannot_hold_is_refused_with_its_line() {
    for (text, format, message, line) in [
        ("a: 1\nb: !secret x\n", Format::Yaml, "YAML tags", 2),
        ("a: 1\n2: x\n", Format::Yaml, "a string as key", 2),
        ("a: 1\na: 2\n", Format::Yaml, "duplicate key `a`", 2),
        ("a: .nan\n", Format::Yaml, "NaN", 1),
        ("a: 9223372036854775808\n", Format::Yaml, "larger than i64::MAX", 1),
        ("a: 99999999999999999999999\n", Format::Yaml, "larger than i64::MAX", 1),
        ("{\"a\":\n 9223372036854775808}", Format::Json, "larger than i64::MAX", 2),
        ("{\"a\": 1,\n \"a\": 2}", Format::Json, "duplicate key `a`", 2),
        ("x = 1\na = inf\n", Format::Toml, "infinite", 2),
        ("x = 1\nx = 2\n", Format::Toml, "duplicate key", 2),
        ("a: [b\nc: d\n", Format::Yaml, "", 2),
        ("{\"a\": 1,\n}", Format::Json, "trailing comma", 2),
        ("x = 1\ny = \n", Format::Toml, "", 2),
    ] {
        let (got, at) = refusal(text, format);
        assert!(got.contains(message), "{text}: {got}");
        assert_eq!(at, Some(line), "{text}: {got}");
    }
}

#[test]
fn toml_dates_become_strings() {
    let tree = parse("d = 2024-05-01T10:00:00Z\n", Format::Toml).unwrap();
    assert_eq!(tree["d"], json!("2024-05-01T10:00:00Z"));
}

#[test]
fn syntax_errors_do_not_show_the_text() {
    for (text, format) in [
        ("password = hunter2 x\n", Format::Toml),
        ("password: [hunter2\nb: c", Format::Yaml),
        ("{\"password\": hunter2}", Format::Json),
    ] {
        assert!(!refusal(text, format).0.contains("hunter2"), "{text}");
    }
}

#[test]
fn alias_bombs_and_deep_nesting_are_refused_quickly() {
    let mut bomb = String::from("a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n");
    for level in 1..12 {
        let previous = format!("*a{}, ", level - 1).repeat(10);
        bomb.push_str(&format!("a{level}: &a{level} [{previous}]\n"));
    }
    assert!(parse(&bomb, Format::Yaml).is_err());
    let wide = format!("a: &a [{}]\nb: [{}]\n", "x, ".repeat(20_000), "*a, ".repeat(20_000));
    assert!(refusal(&wide, Format::Yaml).0.contains("too large"));
    let long = format!("a: &a {}\nb: [{}]\n", "x".repeat(1_000_000), "*a, ".repeat(100));
    assert!(refusal(&long, Format::Yaml).0.contains("too large"));
    assert!(parse("a: &a [*a]\n", Format::Yaml).is_err());
    for depth in [200, 100_000] {
        assert!(parse(&format!("a: {}", "[".repeat(depth)), Format::Yaml).is_err());
        assert!(parse(&format!("{{\"a\": {}", "[".repeat(depth)), Format::Json).is_err());
        assert!(parse(&"- ".repeat(depth), Format::Yaml).is_err());
        assert!(parse(&"? ".repeat(depth), Format::Yaml).is_err());
        assert!(parse(&format!("a = {}", "[".repeat(depth)), Format::Toml).is_err());
    }
}

#[test]
fn a_variable_in_a_flow_collection_is_told_to_need_quotes() {
    assert!(refusal("a: 1\nb: [${X}, c]\n", Format::Yaml).0.contains("quotes"));
}

#[test]
fn places_are_found_in_all_formats() {
    let trail = Trail::of(&["sinks", "out", "inputs"]);
    let yaml = "sources:\n  in: {}\nsinks:\n  out:\n    type: x\n    inputs:\n      - a\n      - b\n";
    assert_eq!(line_of(yaml, Format::Yaml, &trail), Some(6));
    assert_eq!(line_of(yaml, Format::Yaml, &trail.index(1)), Some(8));
    assert_eq!(line_of(yaml, Format::Yaml, &Trail::of(&["sinks", "out"])), Some(4));
    assert_eq!(line_of(yaml, Format::Yaml, &Trail::of(&["sinks", "nope"])), None);
    assert_eq!(line_of(yaml, Format::Yaml, &trail.key("x")), None);
    assert_eq!(line_of(yaml, Format::Yaml, &trail.index(7)), None);
    let json = "{\"sinks\":\n {\"out\": {\n  \"inputs\": [\n\"a\",\n \"b\"]}}}";
    assert_eq!(line_of(json, Format::Json, &trail), Some(3));
    assert_eq!(line_of(json, Format::Json, &trail.index(1)), Some(5));
    let toml = "[sinks.out]\ntype = 'x'\ninputs = [\n 'a',\n 'b']\n";
    assert_eq!(line_of(toml, Format::Toml, &trail), Some(3));
    assert_eq!(line_of(toml, Format::Toml, &trail.index(1)), Some(5));
}

proptest! {
    #[test]
    fn no_text_panics(text in "\\PC{0,200}", format in prop_oneof![Just(Format::Yaml), Just(Format::Toml), Just(Format::Json)]) {
        let _ = parse(&text, format);
        let _ = line_of(&text, format, &Trail::of(&["a", "b"]));
    }

    #[test]
    fn no_yaml_like_text_panics(text in "([a-c<&*!:\\-\\[\\]{}, \"'|>#?%\\n$]|\\$\\{|: |- |\\n  ){0,80}") {
        let _ = parse(&text, Format::Yaml);
        let _ = line_of(&text, Format::Yaml, &Trail::of(&["a", "b"]).index(1));
    }
}
