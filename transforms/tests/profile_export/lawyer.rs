//! Corner cases of the specification, each with the sentence that decides it.

use afluente_transforms::profile_export::Timestamp;

use crate::{dropped, export, mapper, once, run, skipped};

const ID: &str = r#""identityMap":{"ECID":[{"id":"1"}]}"#;
const TAIL: &str = r#""segmentMembership":{},"identityMap":{"ECID":[{"id":"1"}]}}"#;

/// The output for attributes alone.
fn attributes(paths: &str, members: &str) -> String {
    let config = format!("{{\"attributes\":{paths}}}");
    match once(&config, &format!("{{{members},{ID}}}")) {
        crate::Seen::Export(output) => {
            let attributes = output.strip_suffix(TAIL).unwrap();
            format!("{}}}", attributes.strip_suffix(',').unwrap_or(attributes))
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_key_that_comes_twice_keeps_its_first_place_and_its_last_value() {
    assert_eq!(attributes(r#"["x"]"#, r#""x":{"a":1,"b":2,"a":{"c":3}}"#), r#"{"x":{"a":{"c":3},"b":2}}"#);
    assert_eq!(attributes(r#"["x"]"#, r#""x":{"a":null,"b":2,"a":1}"#), r#"{"x":{"a":1,"b":2}}"#);
    assert_eq!(attributes(r#"["x"]"#, r#""x":{"a":1,"b":2,"a":null}"#), r#"{"x":{"b":2}}"#);
    assert_eq!(attributes(r#"["x"]"#, r#""x":{"a":1,"\u0061":2}"#), r#"{"x":{"a":2}}"#);
    assert_eq!(attributes(r#"["x.a"]"#, r#""x":{"a":1},"x":7"#), "{}");
    assert_eq!(attributes(r#"["x.a","x.b"]"#, r#""x":{"a":1},"x":{"b":2}"#), r#"{"x":{"b":2}}"#);
}

#[test]
fn a_plain_name_beats_a_renamed_one_in_any_order_and_they_are_not_merged() {
    assert_eq!(attributes(r#"["x"]"#, r#""x":{"xdm:a":1,"b":2,"a":3}"#), r#"{"x":{"b":2,"a":3}}"#);
    assert_eq!(attributes(r#"["x"]"#, r#""x":{"a":3,"b":2,"xdm:a":1}"#), r#"{"x":{"a":3,"b":2}}"#);
    assert_eq!(attributes(r#"["x"]"#, r#""x":{"_id":null,"@id":1}"#), r#"{"x":{}}"#);
    // Two names that both become a third are not specified: the value that comes last, as for one name.
    assert_eq!(
        attributes(r#"["x"]"#, r#""x":{"@id":1,"xdm:_id":2,"b":3,"@id":4}"#),
        r#"{"x":{"_id":4,"b":3}}"#
    );
    assert_eq!(attributes(r#"["x.b"]"#, r#""xdm:x":{"b":1},"x":{"a":2}"#), "{}");
    assert_eq!(attributes(r#"["x.b"]"#, r#""x":null,"xdm:x":{"b":1}"#), "{}");
    let memberships = r#"{"xdm:segmentMembership":{"ups":{"s":{}}},"segmentMembership":null,"identityMap":{"E":[{"id":"1"}]}}"#;
    assert_eq!(
        once("{}", memberships),
        export(r#"{"segmentMembership":{},"identityMap":{"E":[{"id":"1"}]}}"#)
    );
    let bad = r#"{"xdm:identityMap":7,"identityMap":{"E":[{"id":"1"}]},"xdm:segmentMembership":{},"segmentMembership":1}"#;
    assert_eq!(once("{}", bad), dropped("bad_segment_membership"));
}

#[test]
fn one_prefix_is_removed_once_and_only_in_field_names() {
    assert_eq!(attributes(r#"["xdm:xdm:a"]"#, r#""xdm:a":1,"xdm:xdm:a":2"#), r#"{"xdm:a":2}"#);
    assert_eq!(attributes(r#"["xdm:"]"#, r#""xdm:":1"#), r#"{"xdm:":1}"#);
    assert_eq!(
        attributes(r#"["x"]"#, r#""x":{"xdm:@id":1,"@type":2,"XDM:a":3}"#),
        r#"{"x":{"@id":1,"_type":2,"XDM:a":3}}"#
    );
    assert_eq!(attributes(r#"["xdm:person.@id"]"#, r#""person":{"xdm:_id":5}"#), r#"{"person":{"_id":5}}"#);
    assert_eq!(attributes(r#"["x"]"#, r#""x":{"xdm\u003aa":1}"#), r#"{"x":{"a":1}}"#);
    let data = r#"{"segmentMembership":{"xdm:ups":{"xdm:s":{"xdm:status":"exited"}}},"identityMap":{"@id":[{"xdm:id":"1"}]}}"#;
    assert_eq!(
        once("{}", data),
        export(
            r#"{"segmentMembership":{"xdm:ups":{"xdm:s":{"status":"exited"}}},"identityMap":{"@id":[{"id":"1"}]}}"#
        )
    );
}

#[test]
fn as_is_finds_plain_names_only() {
    let record = r#"{"xdm:segmentMembership":7,"segmentMembership":{"ups":{"s":{"xdm:status":"exited"}}},"identityMap":{"E":[{"xdm:id":"0","id":"1"}]},"xdm:a":{"@id":1},"xdm:identityMap":2}"#;
    assert_eq!(
        once(
            r#"{"key_style":"as_is","attributes":["xdm:a","a","xdm:identityMap.x","xdm:segmentMembership"]}"#,
            record
        ),
        export(
            r#"{"xdm:a":{"@id":1},"xdm:segmentMembership":7,"segmentMembership":{"ups":{"s":{"status":"realized"}}},"identityMap":{"E":[{"id":"1"}]}}"#
        )
    );
}

#[test]
fn attributes_stand_where_the_first_of_their_object_was_placed() {
    let record = r#""a":{"b":1,"d":{"e":2}},"c":3"#;
    assert_eq!(attributes(r#"["a.b","c","a.d.e"]"#, record), r#"{"a":{"b":1,"d":{"e":2}},"c":3}"#);
    // Without a.b, the object starts only with a.d.e, after c.
    assert_eq!(attributes(r#"["a.x","c","a.d.e"]"#, record), r#"{"c":3,"a":{"d":{"e":2}}}"#);
    // The whole takes the place of its parts, where the first of them stood.
    assert_eq!(attributes(r#"["a.d","c","a"]"#, record), r#"{"a":{"b":1,"d":{"e":2}},"c":3}"#);
    assert_eq!(attributes(r#"["a.x","c","a"]"#, record), r#"{"c":3,"a":{"b":1,"d":{"e":2}}}"#);
    assert_eq!(attributes(r#"["a","c","a.d","a"]"#, record), r#"{"a":{"b":1,"d":{"e":2}},"c":3}"#);
    assert_eq!(
        attributes(r#"["p.a.d.e","c","p.a.b","p.a"]"#, r#""p":{"a":{"b":1,"d":{"e":2}}},"c":3"#),
        r#"{"p":{"a":{"b":1,"d":{"e":2}}},"c":3}"#
    );
}

#[test]
fn a_value_on_the_way_that_is_no_object_makes_the_attribute_absent() {
    for value in ["null", "1", "\"x\"", "[]", "[{\"b\":1}]", "true"] {
        assert_eq!(attributes(r#"["a.b"]"#, &format!("\"a\":{value}")), "{}");
    }
    assert_eq!(attributes(r#"["a.0","a.[0]"]"#, r#""a":{"[0]":1,"0":2}"#), r#"{"a":{"0":2,"[0]":1}}"#);
}

#[test]
fn nulls_go_from_objects_at_every_level_and_stay_in_arrays() {
    assert_eq!(
        attributes(r#"["a"]"#, r#""a":[null,{"b":null,"c":[null,[null]]},{"d":{"e":null}}]"#),
        r#"{"a":[null,{"c":[null,[null]]},{"d":{}}]}"#
    );
    assert_eq!(attributes(r#"["a"]"#, r#""a":{"b":null,"c":null}"#), r#"{"a":{}}"#);
    assert_eq!(
        attributes(r#"["a"]"#, r#""a" : { "b" : null , "c" : 1 , "d" : null , "e" : [ 1 , 2 ] }"#),
        r#"{"a":{"c":1,"e":[1,2]}}"#
    );
}

#[test]
fn strings_are_written_with_the_escapes_that_json_needs_and_no_others() {
    assert_eq!(
        attributes(r#"["a"]"#, r#""a":"\u0022\u005c\/\u000A\u001F\u007f\u2028\uD83D\uDE00\u0000""#),
        "{\"a\":\"\\\"\\\\/\\n\\u001f\u{7f}\u{2028}\u{1f600}\\u0000\"}"
    );
    assert_eq!(
        attributes(r#"["a"]"#, r#""a":{"k\u0022\ud83d\ude00":"\/"}"#),
        "{\"a\":{\"k\\\"\u{1f600}\":\"/\"}}"
    );
    for bad in [
        r"\ud83d",
        r"\ude00",
        r"\ud83d\ud83d",
        r"\ud83dx\ude00",
        r"\ud83d\n",
        r"\uD83",
        r"\x",
        r"\u00g0",
        "\u{1f}",
        "\n",
    ] {
        let record = format!(r#"{{{ID},"z":"{bad}"}}"#);
        assert_eq!(once("{}", &record), dropped("invalid_json"), "{bad:?}");
    }
}

#[test]
fn an_identity_with_a_member_inside_a_value_is_not_json() {
    for bad in [
        r#""id":"\"primary":true,"id":"x""#,
        "\"id\":\"\u{1}\"primary\":true,\"id\":\"x\"",
        r#""id":"x","primary":"authenticatedState":"y""#,
        r#""id":"\"authenticatedState":"z","id":"y""#,
    ] {
        for items in [bad.to_owned(), bad.replace(':', ": ")] {
            let record = format!(r#"{{"identityMap":{{"E":[{{{items}}}]}}}}"#);
            assert_eq!(once("{}", &record), dropped("invalid_json"), "{record:?}");
        }
    }
}

#[test]
fn only_json_is_json() {
    for bad in [
        "+1",
        "01",
        "1.",
        ".5",
        "1e",
        "1e+",
        "-",
        "--1",
        "0x1",
        "1_0",
        "Infinity",
        "nul",
        "nulll",
        "True",
        "[1,]",
        "[,1]",
        "[1 2]",
        "{,}",
        "{\"a\":1,}",
        "{\"a\"}",
        "{\"a\" 1}",
        "{1:1}",
        "{a:1}",
        "[1}",
        "{]",
        "\"a",
        "[",
        "{\"a\":[}",
        "//x\n1",
        "1//x",
        "\u{a0}1",
        "\u{c}1",
        "'a'",
        "\"a\"\"b\"",
        "1 1",
        "[\"a\":1]",
        "\\u0031",
        "\"\\",
        "\u{0}",
        "1\u{0}",
    ] {
        let record = format!(r#"{{{ID},"z":{bad}}}"#);
        assert_eq!(once("{}", &record), dropped("invalid_json"), "{bad:?}");
    }
    for good in ["-0", "0.0e-0", "1E400", "\"\"", " [ ] ", "\t{ }\r\n", "[[],{}]", "\"\u{7f}\u{80}\u{ffff}\""]
    {
        let record = format!(r#"{{{ID},"z":{good}}}"#);
        assert_eq!(once("{}", &record), export(&format!("{{{TAIL}")), "{good:?}");
    }
}

#[test]
fn the_first_reason_wins() {
    let (mut mapper, now) = (mapper("{}"), Timestamp::default());
    assert_eq!(run(&mut mapper, b"\xff{", now).0, dropped("invalid_utf8"));
    assert_eq!(run(&mut mapper, b"{\"a\":\"\xed\xa0\x80\"}", now).0, dropped("invalid_utf8"));
    assert_eq!(once("{}", "[1"), dropped("invalid_json"));
    assert_eq!(once(r#"{"max_depth":3}"#, "[[[[]]]]"), dropped("too_deep"));
    assert_eq!(once(r#"{"input_root":"/a"}"#, "[]"), dropped("not_an_object"));
    assert_eq!(once(r#"{"input_root":"/a"}"#, "{}"), dropped("no_profile"));
    assert_eq!(
        once("{}", r#"{"identityMap":1,"segmentMembership":false}"#),
        dropped("bad_segment_membership")
    );
    assert_eq!(once("{}", r#"{"identityMap":1,"segmentMembership":null}"#), dropped("bad_identity_map"));
    let config = r#"{"segments":[{"id":"s"}],"trigger":"relevant"}"#;
    assert_eq!(once(config, "{}"), dropped("no_identity"));
    assert_eq!(once(config, &format!("{{{ID}}}")), skipped("no_mapped_segment"));
}

#[test]
fn the_last_value_along_the_pointer_counts() {
    let config = r#"{"input_root":"/a~1b/~0/","attributes":["x"]}"#;
    let inner = format!(r#"{{"x":1,{ID}}}"#);
    let good = format!(r#"{{"a/b":{{"~":{{"":{inner}}}}}}}"#);
    assert_eq!(once(config, &good), export(&format!("{{\"x\":1,{TAIL}")));
    for bad in [
        format!(r#"{{"a/b":{{"~":{{"":{inner}}}}},"a/b":1}}"#),
        format!(r#"{{"a/b":{{"~":{{"":{inner}}},"~":{{}}}}}}"#),
        format!(r#"{{"a/b":{{"~":{{"":{inner},"":[]}}}}}}"#),
        format!(r#"{{"xdm:a/b":{{"~":{{"":{inner}}}}}}}"#),
        format!(r#"{{"a/b":[{{"~":{{"":{inner}}}}}]}}"#),
    ] {
        assert_eq!(once(config, &bad), dropped("no_profile"), "{bad}");
    }
    let replaced = format!(r#"{{"a/b":{{"~":{{"":{{"x":1}},"":{{"y":2,{ID}}}}}}}}}"#);
    assert_eq!(once(config, &replaced), export(&format!("{{{TAIL}")));
}

#[test]
fn depth_counts_everywhere_and_exactly() {
    // The item of an identity lies at level 4: object, identityMap, namespace, item.
    assert_eq!(once(r#"{"max_depth":4}"#, &format!("{{{ID}}}")), export(&format!("{{{TAIL}")));
    assert_eq!(once(r#"{"max_depth":3}"#, &format!("{{{ID}}}")), dropped("too_deep"));
    for (config, place) in [
        ("{}", "{},\"z\":D"),
        ("{}", "{},\"segmentMembership\":{\"ups\":{\"s\":{\"payload\":D}}}"),
        (r#"{"attributes":["z"]}"#, "{},\"z\":{\"y\":D}"),
        (r#"{"attributes":["z.y.x"]}"#, "{},\"z\":{\"y\":{\"w\":D}}"),
        (r#"{"attributes":["z"],"arrays":"omit"}"#, "{},\"z\":D"),
    ] {
        for depth in [64, 1000] {
            let config = config.replacen('{', &format!("{{\"max_depth\":{depth},"), 1).replace(",}", "}");
            let around = place.matches('{').count();
            for (more, fits) in [(0, true), (1, false)] {
                let levels = depth - around + more;
                let nested = format!("{}{}", "[".repeat(levels), "]".repeat(levels));
                let record = place.replacen("{}", &format!("{{{ID}"), 1).replace('D', &nested) + "}";
                let seen = once(&config, &record);
                assert_eq!(seen == dropped("too_deep"), !fits, "{config} {place} {depth} {more}");
            }
        }
    }
    let bomb = "[".repeat(2_000_000);
    assert_eq!(once("{}", &bomb), dropped("too_deep"));
    assert_eq!(once(r#"{"attributes":["a"]}"#, &format!("{{\"a\":{bomb}")), dropped("too_deep"));
    assert_eq!(once(r#"{"max_depth":1000}"#, &"{\"a\":".repeat(500_000)), dropped("too_deep"));
}

#[test]
fn a_time_is_the_first_of_the_two_that_is_a_string() {
    for (fields, time) in [
        (r#""timestamp":"t""#, r#""lastQualificationTime":"t","#),
        (r#""timestamp":"t","lastQualificationTime":"""#, r#""lastQualificationTime":"","#),
        (r#""timestamp":"t","lastQualificationTime":5"#, r#""lastQualificationTime":"t","#),
        (r#""timestamp":5,"lastQualificationTime":null"#, ""),
        (r#""lastQualificationTime":"a\/b\u0022""#, r#""lastQualificationTime":"a/b\"","#),
    ] {
        let record = format!(r#"{{"segmentMembership":{{"ups":{{"s":{{{fields}}}}}}},{ID}}}"#);
        let expected = format!(
            r#"{{"segmentMembership":{{"ups":{{"s":{{{time}"status":"realized"}}}}}},"identityMap":{{"ECID":[{{"id":"1"}}]}}}}"#
        );
        assert_eq!(once("{}", &record), export(&expected), "{fields}");
    }
}

/// The ids of the memberships that are left at this time.
fn left(config: &str, now: &str, memberships: &str) -> Vec<String> {
    let record = format!(r#"{{"segmentMembership":{{"ups":{{{memberships}}}}},{ID}}}"#);
    let (seen, _) = run(&mut mapper(config), record.as_bytes(), Timestamp::parse(now).unwrap());
    let crate::Seen::Export(output) = seen else { panic!("{seen:?}") };
    let output: serde_json::Value = serde_json::from_str(&output).unwrap();
    output["segmentMembership"]["ups"].as_object().map_or(Vec::new(), |all| all.keys().cloned().collect())
}

#[test]
fn expiry_is_exact_to_the_last_digit_and_never_touches_exits_or_unknown_words() {
    let config = r#"{"expired_memberships":"omit","unknown_status":"keep"}"#;
    let now = "2024-06-01T00:00:00Z";
    let memberships = r#"
        "at":{"validUntil":"2024-06-01T00:00:00Z"},
        "after":{"validUntil":"2024-06-01T00:00:00.00000000000001Z","status":"existing"},
        "zone":{"validUntil":"2024-06-01t02:00:00+0200"},
        "minus":{"validUntil":"2024-05-31T23:00:00.5-01:00"},
        "leap":{"validUntil":"2024-02-30T00:00:00Z"},
        "number":{"validUntil":1},
        "exit":{"validUntil":"2020-01-01T00:00:00Z","status":"exited"},
        "other":{"validUntil":"2020-01-01T00:00:00Z","status":"paused"}"#;
    assert_eq!(left(config, now, memberships), ["after", "minus", "leap", "number", "exit", "other"]);
}

#[test]
fn an_exit_goes_when_it_is_older_than_the_days_to_the_nanosecond() {
    let config = r#"{"exited_retention_days":30}"#;
    let memberships = r#"
        "exact":{"status":"exited","lastQualificationTime":"2024-05-02T00:00:00Z"},
        "older":{"status":"exited","lastQualificationTime":"2024-05-01T23:59:59.999999999Z"},
        "digits":{"status":"exited","lastQualificationTime":"2024-05-01T23:59:59.9999999999Z"},
        "fallback":{"status":"exited","timestamp":"2024-01-01T00:00:00Z"},
        "shadow":{"status":"exited","lastQualificationTime":"x","timestamp":"2024-01-01T00:00:00Z"},
        "member":{"lastQualificationTime":"2024-01-01T00:00:00Z"}"#;
    assert_eq!(left(config, "2024-06-01T00:00:00Z", memberships), ["exact", "shadow", "member"]);
}

#[test]
fn the_key_is_the_only_primary_or_the_smallest_in_lower_case() {
    for (config, identities, key) in [
        ("{}", r#""b":[{"id":"2"}],"A":[{"id":"10"},{"id":"2"}]"#, "a:10"),
        ("{}", r#""B":[{"id":"2"}],"b":[{"id":"1"}]"#, "b:1"),
        ("{}", r#""b":[{"id":"2","primary":true}],"a":[{"id":"1"}]"#, "b:2"),
        ("{}", r#""b":[{"id":"2","primary":true}],"a":[{"id":"1","primary":true}]"#, "a:1"),
        ("{}", r#""b":[{"id":"2","primary":true}],"B":[{"id":"2","primary":true}],"a":[{"id":"1"}]"#, "b:2"),
        ("{}", r#""b":[{"id":"2"}],"B":[{"id":"2","primary":true}],"a":[{"id":"1"}]"#, "b:2"),
        ("{}", r#""b":[{"id":"2"},{"id":"2","primary":true}],"a":[{"id":"1","primary":"true"}]"#, "b:2"),
        ("{}", r#""é":[{"id":"1"}],"z":[{"id":"2"}]"#, "z:2"),
        ("{}", r#""Z":[{"id":"1"}],"_":[{"id":"2"}]"#, "_:2"),
        (r#"{"key_namespaces":["x","B"]}"#, r#""a":[{"id":"1","primary":true}],"b":[{"id":"2"}]"#, "b:2"),
        (r#"{"key_namespaces":["b","a"]}"#, r#""a":[{"id":"1"}],"B":[{"id":""}]"#, "a:1"),
        (r#"{"key_namespaces":["b"]}"#, r#""B":[{"id":"3"}],"b":[{"id":"2"}],"a":[{"id":"1"}]"#, "b:2"),
        (r#"{"key_namespaces":["b"]}"#, r#""a":[{"id":"1"}]"#, ""),
        (r#"{"on_missing_identity":"export"}"#, "", ""),
        (
            r#"{"identity_namespace_case":"lower"}"#,
            r#""ECID":[{"id":"2"}],"ecid":[{"id":"2","primary":true},{"id":"1"}]"#,
            "ecid:2",
        ),
        ("{}", r#""E\u0043ID":[{"id":"a\/\"b"}]"#, "ecid:a/\"b"),
    ] {
        let record = format!(r#"{{"identityMap":{{{identities}}}}}"#);
        let (_, found) = run(&mut mapper(config), record.as_bytes(), Timestamp::default());
        assert_eq!(String::from_utf8(found).unwrap(), key, "{config} {identities}");
    }
}

#[test]
fn joined_namespaces_stand_at_the_first_ones_place() {
    let record = r#"{"identityMap":{"Email":[{"id":"a"}],"ECID":[{"id":"1"}],"email":"x","EMAIL":[{"id":"b"},{"id":"a"}],"ecid":[{"id":"1"}],"É":[{"id":"1"}],"é":[{"id":"1"}]}}"#;
    assert_eq!(
        once(r#"{"identity_namespace_case":"lower"}"#, record),
        export(
            r#"{"segmentMembership":{},"identityMap":{"email":[{"id":"a"},{"id":"b"}],"ecid":[{"id":"1"}],"É":[{"id":"1"}],"é":[{"id":"1"}]}}"#
        )
    );
}

#[test]
fn a_repeated_namespace_or_segment_counts_once_with_its_last_value() {
    let record = format!(
        r#"{{"segmentMembership":{{"a":{{"x":{{}},"y":{{"status":"exited"}},"x":1}},"b":{{"z":{{}}}},"c":{{"q":{{}}}},"c":[],"a":{{"w":{{}},"y":{{}},"w":{{"status":"exited"}}}}}},{ID}}}"#
    );
    assert_eq!(
        once("{}", &record),
        export(
            r#"{"segmentMembership":{"a":{"w":{"status":"exited"},"y":{"status":"realized"}},"b":{"z":{"status":"realized"}}},"identityMap":{"ECID":[{"id":"1"}]}}"#
        )
    );
}

#[test]
fn an_unknown_word_that_is_kept_is_exported_but_triggers_nothing() {
    let config = r#"{"unknown_status":"keep","segments":[{"id":"s","name":"S"}],"segment_scope":"mapped","include_segment_names":true}"#;
    let record = format!(r#"{{"segmentMembership":{{"ups":{{"s":{{"status":"pa\u0075sed"}}}}}},{ID}}}"#);
    assert_eq!(
        once(config, &record),
        export(
            r#"{"segmentMembership":{"ups":{"s":{"status":"paused","name":"S"}}},"identityMap":{"ECID":[{"id":"1"}]}}"#
        )
    );
    for trigger in ["relevant", "change"] {
        let config = config.replacen('{', &format!("{{\"trigger\":\"{trigger}\","), 1);
        assert_eq!(once(&config, &record), skipped("no_mapped_segment"));
    }
}

#[test]
fn white_space_around_the_document_is_all_that_may_stand_there() {
    for (before, after, good) in [
        (" \t\r\n", "\n\n", true),
        ("\u{feff}", "", false),
        ("", "{}", false),
        ("", ",", false),
        ("", "\u{0}", false),
        ("\u{c}", "", false),
    ] {
        let seen = once("{}", &format!("{before}{{{ID}}}{after}"));
        assert_eq!(seen == dropped("invalid_json"), !good, "{before:?} {after:?}");
    }
}
