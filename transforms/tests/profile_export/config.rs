//! Every configuration error gives its code, says where it is and what to do; every key works.

use afluente_transforms::profile_export::{ConfigErrorCode, ProfileExportConfig, Segment};

fn error(config: &str) -> (String, String) {
    let value: serde_json::Value = serde_json::from_str(config).unwrap();
    let error = ProfileExportConfig::from_json(value).unwrap_err();
    // Serde only passes text on: the code survives in it, also inside other text.
    let through_serde = serde_json::from_str::<ProfileExportConfig>(config).unwrap_err();
    let wrapped = format!("transforms.x: {through_serde} at line 3");
    assert_eq!(ConfigErrorCode::find_in(&wrapped), Some(error.code), "{through_serde}");
    (error.code.as_str().to_owned(), error.to_string())
}

#[test]
fn each_mistake_has_its_code() {
    for (config, code) in [
        (r#"{"atributes":[]}"#, "unknown_key"),
        (r#"{"type":"profile_export"}"#, "unknown_key"),
        (r#"{"attributes":[{"path":"a","op":"EXISTS"}]}"#, "unknown_key"),
        (r#"{"segments":[{"id":"a","label":"b"}]}"#, "unknown_key"),
        (r#"[]"#, "bad_value"),
        (r#"{"input_root":1}"#, "bad_value"),
        (r#"{"input_root":null}"#, "bad_value"),
        (r#"{"key_style":"Platform"}"#, "bad_value"),
        (r#"{"key_style":true}"#, "bad_value"),
        (r#"{"max_depth":2}"#, "bad_value"),
        (r#"{"max_depth":1001}"#, "bad_value"),
        (r#"{"max_depth":64.0}"#, "bad_value"),
        (r#"{"max_depth":"64"}"#, "bad_value"),
        (r#"{"attributes":"a"}"#, "bad_value"),
        (r#"{"attributes":[1]}"#, "bad_value"),
        (r#"{"attributes":[null]}"#, "bad_value"),
        (r#"{"attributes":[{}]}"#, "bad_value"),
        (r#"{"attributes":[{"path":1}]}"#, "bad_value"),
        (r#"{"arrays":"skip"}"#, "bad_value"),
        (r#"{"segments":{}}"#, "bad_value"),
        (r#"{"segments":["a"]}"#, "bad_value"),
        (r#"{"segments":[{}]}"#, "bad_value"),
        (r#"{"segments":[{"id":""}]}"#, "bad_value"),
        (r#"{"segments":[{"id":7}]}"#, "bad_value"),
        (r#"{"segments":[{"id":"a","namespace":""}]}"#, "bad_value"),
        (r#"{"segments":[{"id":"a","name":null}]}"#, "bad_value"),
        (r#"{"include_segment_names":"yes"}"#, "bad_value"),
        (r#"{"include_segment_timestamps":1}"#, "bad_value"),
        (r#"{"segment_scope":"some"}"#, "bad_value"),
        (r#"{"status_vocabulary":"old"}"#, "bad_value"),
        (r#"{"unknown_status":"drop"}"#, "bad_value"),
        (r#"{"expired_memberships":true}"#, "bad_value"),
        (r#"{"exited_retention_days":-1}"#, "bad_value"),
        (r#"{"exited_retention_days":36501}"#, "bad_value"),
        (r#"{"identity_namespace_case":"upper"}"#, "bad_value"),
        (r#"{"on_missing_identity":"skip"}"#, "bad_value"),
        (r#"{"trigger":"always"}"#, "bad_value"),
        (r#"{"attribute_change":"any"}"#, "bad_value"),
        (r#"{"backfill":"true"}"#, "bad_value"),
        (r#"{"key_namespaces":"ECID"}"#, "bad_value"),
        (r#"{"key_namespaces":[1]}"#, "bad_value"),
        (r#"{"state_max_profiles":0}"#, "bad_value"),
        (r#"{"input_root":"body"}"#, "bad_pointer"),
        (r#"{"input_root":"/a~"}"#, "bad_pointer"),
        (r#"{"input_root":"/a~2b"}"#, "bad_pointer"),
        (r##"{"input_root":"#/a"}"##, "bad_pointer"),
        (r#"{"attributes":[""]}"#, "bad_attribute_path"),
        (r#"{"attributes":["."]}"#, "bad_attribute_path"),
        (r#"{"attributes":["a."]}"#, "bad_attribute_path"),
        (r#"{"attributes":[".a"]}"#, "bad_attribute_path"),
        (r#"{"attributes":["a..b"]}"#, "bad_attribute_path"),
        (r#"{"attributes":["a\\"]}"#, "bad_attribute_path"),
        (r#"{"attributes":["a\\b"]}"#, "bad_attribute_path"),
        (r#"{"attributes":["identityMap..x"]}"#, "bad_attribute_path"),
        (r#"{"attributes":[{"path":"a..b"}]}"#, "bad_attribute_path"),
        (r#"{"attributes":[{"path":"a","operator":"MATCHES"}]}"#, "unknown_operator"),
        (r#"{"attributes":[{"path":"a","operator":"exists"}]}"#, "unknown_operator"),
        (r#"{"segments":[{"id":"a","created_at":-1}]}"#, "bad_timestamp"),
        (r#"{"segments":[{"id":"a","updated_at":1.5}]}"#, "bad_timestamp"),
        (r#"{"segments":[{"id":"a","updated_at":1648553325000.0}]}"#, "bad_timestamp"),
        (r#"{"segments":[{"id":"a","mapping_created_at":"2024-01-01T00:00:00Z"}]}"#, "bad_timestamp"),
        (r#"{"segments":[{"id":"a","mapping_updated_at":9223372036854775808}]}"#, "bad_timestamp"),
        (r#"{"segments":[{"id":"a","created_at":null}]}"#, "bad_timestamp"),
        (r#"{"segments":[{"id":"a"},{"id":"a"}]}"#, "duplicate_segment"),
        (r#"{"segments":[{"id":"a"},{"id":"b"},{"id":"a","namespace":"UPS"}]}"#, "duplicate_segment"),
        (r#"{"segment_scope":"mapped"}"#, "mapped_scope_without_segments"),
        (r#"{"segment_scope":"mapped","segments":[]}"#, "mapped_scope_without_segments"),
    ] {
        assert_eq!(error(config).0, code, "{config}");
    }
}

#[test]
fn an_error_says_where_what_and_what_to_do() {
    let text = |config| error(config).1;
    assert_eq!(
        text(r#"{"atributes":[]}"#),
        "atributes: unknown key; did you mean `attributes`? [unknown_key]"
    );
    assert_eq!(
        text(r#"{"segments":[{"id":"a"},{"nmae":"x","id":"b"}]}"#),
        "segments[1].nmae: unknown key; did you mean `name`? [unknown_key]"
    );
    assert_eq!(
        text(r#"{"max_depth":1}"#),
        "max_depth: found 1, expected an integer from 3 to 1000 [bad_value]"
    );
    assert_eq!(
        text(r#"{"trigger":"always"}"#),
        "trigger: found \"always\", expected one of `every`, `relevant`, `change` [bad_value]"
    );
    assert_eq!(
        text(r#"{"segments":[{}]}"#),
        "segments[0].id: missing; it is the id of the segment [bad_value]"
    );
    assert!(text(r#"{"zzz":1}"#).starts_with("zzz: unknown key; known keys are input_root, "));
    assert!(
        text(r#"{"attributes":["x",{"path":"a..b"}]}"#)
            .starts_with("attributes[1].path: \"a..b\" is not a path: ")
    );
}

#[test]
fn what_looks_odd_but_is_allowed_works() {
    for config in [
        r#"{"input_root":"/"}"#,
        r#"{"input_root":"/a//b"}"#,
        r#"{"max_depth":3,"exited_retention_days":36500,"state_max_profiles":18446744073709551615}"#,
        r#"{"attributes":["a","a","a.b",{"path":"a\\.b"},{"path":"x","operator":"EXISTS"}]}"#,
        r#"{"segments":[{"id":"a"},{"id":"A"},{"id":"a","namespace":"AAM"}],"segment_scope":"mapped"}"#,
        r#"{"segments":[{"id":"a","created_at":0,"updated_at":9223372036854775807,"name":""}]}"#,
        r#"{"key_namespaces":["ECID","ecid"]}"#,
        "{}",
    ] {
        let value = serde_json::from_str(config).unwrap();
        let parsed =
            ProfileExportConfig::from_json(value).unwrap_or_else(|error| panic!("{config}: {error}"));
        parsed.compile().unwrap();
        // What is written reads as the same.
        let written = serde_json::to_value(&parsed).unwrap();
        assert_eq!(ProfileExportConfig::from_json(written).unwrap(), parsed);
    }
}

#[test]
fn a_configuration_built_in_code_is_checked_as_well() {
    let code = |config: ProfileExportConfig| config.compile().unwrap_err().code.as_str();
    let default = ProfileExportConfig::default;
    assert_eq!(code(ProfileExportConfig { max_depth: 2, ..default() }), "bad_value");
    assert_eq!(code(ProfileExportConfig { state_max_profiles: 0, ..default() }), "bad_value");
    assert_eq!(code(ProfileExportConfig { input_root: "x".into(), ..default() }), "bad_pointer");
    let late = Segment { created_at: Some(u64::MAX), ..Segment::new("a") };
    assert_eq!(code(ProfileExportConfig { segments: vec![late], ..default() }), "bad_timestamp");
    assert_eq!(code(ProfileExportConfig { segments: vec![Segment::new("")], ..default() }), "bad_value");
}

#[test]
fn the_schema_names_every_key_and_says_what_it_does() {
    let schema = serde_json::to_value(schemars::schema_for!(ProfileExportConfig)).unwrap();
    let properties = schema["properties"].as_object().unwrap();
    assert_eq!(properties.len(), 20);
    for (key, property) in properties {
        assert!(property["description"].as_str().is_some_and(|text| text.len() > 10), "{key}");
    }
    assert_eq!(schema["additionalProperties"], false);
    assert_eq!(properties["max_depth"]["default"], 64);
}

#[test]
fn a_very_long_path_is_fine() {
    let path = vec!["a"; 100_000].join(".");
    let config = serde_json::json!({ "attributes": [path, "b"] });
    let mut mapper = ProfileExportConfig::from_json(config).unwrap().compile().unwrap();
    let record = br#"{"a":{"a":{"a":1}},"b":2,"identityMap":{"E":[{"id":"1"}]}}"#;
    let seen = crate::run(&mut mapper, record, Default::default()).0;
    assert_eq!(seen, crate::export(r#"{"b":2,"segmentMembership":{},"identityMap":{"E":[{"id":"1"}]}}"#));
}
