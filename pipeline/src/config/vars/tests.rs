//! Tests of variables: each form, each error, and nothing else touched.
#![allow(clippy::unwrap_used)]

use proptest::prelude::*;
use serde_json::json;

use super::*;

fn lookup(name: &str) -> Option<String> {
    Some(match name {
        "FOO" => "foo".to_owned(),
        "FOOBAR" => "foobar".to_owned(),
        "FOO.BAR" => "dotted".to_owned(),
        "EMPTY" => String::new(),
        "LINES" => "a\nb".to_owned(),
        "TRICK" => "a: b\", c: ${FOO}".to_owned(),
        _ => return None,
    })
}

fn run(text: &str) -> Result<String, Vec<String>> {
    Ok(substitute(text, &lookup)?.map_or_else(|| text.to_owned(), |done| done.text))
}

#[test]
fn each_form_gives_what_vector_gives() {
    for (text, expected) in [
        ("", ""),
        ("plain", "plain"),
        ("$FOO", "foo"),
        ("a $FOO b", "a foo b"),
        ("a$FOO/b", "afoo/b"),
        ("$FOOBAR", "foobar"),
        ("${FOO}BAR", "fooBAR"),
        ("${FOO.BAR}", "dotted"),
        ("$FOO.BAR", "dotted"),
        ("x${FOO}y${FOOBAR}z", "xfooyfoobarz"),
        ("$$FOO", "$FOO"),
        ("$$$FOO", "$foo"),
        ("$${FOO}", "${FOO}"),
        ("$$", "$"),
        ("$", "$"),
        ("$ x", "$ x"),
        ("cost: 5$", "cost: 5$"),
        ("${}", "${}"),
        ("${:-d}", "${:-d}"),
        ("${FOO x", "${FOO x"),
        ("${FOO x}", "${FOO x}"),
        ("${FOO", "${FOO"),
        ("${FOO:x}", "${FOO:x}"),
        ("${FOO:-d}", "foo"),
        ("${FOO-d}", "foo"),
        ("${NOPE:-d}", "d"),
        ("${NOPE-d}", "d"),
        ("${NOPE:-}", ""),
        ("${NOPE-}", ""),
        ("${EMPTY}", ""),
        ("${EMPTY:-d}", "d"),
        ("${EMPTY-d}", ""),
        ("${NOPE:-a:-b}", "a:-b"),
        ("${NOPE:-${FOO}}", "${FOO}"),
        ("${FOO:?m}", "foo"),
        ("${FOO?m}", "foo"),
        ("${EMPTY?m}", ""),
        ("$TRICK", "a: b\", c: ${FOO}"),
        ("ü$FOO-ü", "üfoo-ü"),
    ] {
        assert_eq!(run(text).as_deref(), Ok(expected), "{text}");
    }
}

#[test]
fn missing_variables_are_told_in_vectors_words_all_at_once() {
    for (text, expected) in [
        ("$NOPE", "Missing environment variable in config. name = \"NOPE\""),
        ("$FOOBARy", "Missing environment variable in config. name = \"FOOBARy\""),
        ("${NOPE}", "Missing environment variable in config. name = \"NOPE\""),
        ("${NOPE?m m}", "Missing environment variable required in config. name = \"NOPE\", error = \"m m\""),
        ("${NOPE:?m}", "Non-empty environment variable required in config. name = \"NOPE\", error = \"m\""),
        ("${EMPTY:?m}", "Non-empty environment variable required in config. name = \"EMPTY\", error = \"m\""),
        ("${LINES}", "Environment variable contains newline character. name = \"LINES\""),
        ("${LINES:-d}", "Environment variable contains newline character. name = \"LINES\""),
    ] {
        assert_eq!(run(text), Err(vec![expected.to_owned()]), "{text}");
    }
    assert_eq!(run("$A ${FOO} ${B?m} $C").unwrap_err().len(), 3);
}

#[test]
fn only_string_scalars_are_touched_and_structure_stays() {
    let mut tree = json!({"$FOO": {"a": "$TRICK", "b": [1, "${FOO}", "$$x"], "c": "${NOPE}"}});
    let mut errors = Vec::new();
    let vars = interpolate(tree.as_object_mut().unwrap(), &lookup, &mut errors);
    assert_eq!(tree, json!({"$FOO": {"a": "a: b\", c: ${FOO}", "b": [1, "foo", "$x"], "c": "${NOPE}"}}));
    assert_eq!(errors.len(), 1);
    let root = Trail::of(&["$FOO"]);
    assert!(vars.is_whole(&root.key("b").index(1)));
    assert!(!vars.touched.contains_key(&root.key("b").index(2)));
    assert!(vars.broken_below(&root));
    assert!(!vars.broken_below(&root.key("a")));
}

#[test]
fn only_a_scalar_that_is_one_variable_counts_as_whole() {
    let whole = |text| substitute(text, &lookup).unwrap().unwrap().whole;
    for text in ["$FOO", "${FOO}", "${NOPE:-1}"] {
        assert!(whole(text), "{text}");
    }
    for text in ["$FOO ", " ${FOO}", "${FOO}${FOO}", "$$", "$$FOO", "$FOO$", "${FOO}x"] {
        assert!(!whole(text), "{text}");
    }
}

#[test]
fn text_is_typed_as_yaml_would_but_never_loses_digits() {
    for (text, value) in [
        ("true", json!(true)),
        ("false", json!(false)),
        ("0", json!(0)),
        ("-17", json!(-17)),
        ("+17", json!(17)),
        ("9223372036854775807", json!(i64::MAX)),
        ("1.5", json!(1.5)),
        ("1e3", json!(1000.0)),
    ] {
        assert_eq!(typed(text), Some(value), "{text}");
    }
    for text in [
        "",
        "True",
        "yes",
        "null",
        "~",
        "007",
        "1_000",
        "0x10",
        ".5",
        ".inf",
        "nan",
        "-",
        "1e999",
        "e3",
        "1-2",
        "9223372036854775808",
    ] {
        assert_eq!(typed(text), None, "{text}");
    }
}

#[test]
fn secret_references_are_refused() {
    let mut errors = Vec::new();
    let mut tree =
        json!({"a": "x SECRET[vault.db/pass-1] y", "b": "SECRET[]", "c": "SECRET[x]", "d": "SECRET[a b.c]"});
    refuse_secrets(tree.as_object_mut().unwrap(), &mut errors);
    assert_eq!(errors.len(), 1);
    assert!(errors[0].message.contains("SECRET[vault.db/pass-1]"));
}

proptest! {
    #[test]
    fn no_text_panics_and_text_without_dollars_stays(text in "([$]|[{}:?-]|FOO|NOPE|\\PC){0,30}") {
        let result = run(&text);
        if !text.contains('$') {
            prop_assert_eq!(result.unwrap(), text.clone());
        }
        let _ = typed(&text);
        let _ = secret_reference(&text);
    }

    #[test]
    fn doubled_dollars_come_back(text in "\\PC{0,40}") {
        prop_assert_eq!(run(&text.replace('$', "$$")).unwrap(), text);
    }
}
