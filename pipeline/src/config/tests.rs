//! Whole configurations: texts in, a [`Config`] or findings out.

#![allow(clippy::unwrap_used)]

mod components;
mod files;
mod variables;

use proptest::prelude::*;

use super::*;

fn no_env(_: &str) -> Option<String> {
    None
}

fn load_yaml(text: &str) -> Result<Loaded, Vec<ConfigError>> {
    load_from_str(text, Format::Yaml, &no_env, &LoadOptions::default())
}

fn loaded(text: &str) -> Loaded {
    load_yaml(text).unwrap_or_else(|errors| panic!("{text}\n{}", lines(&errors).join("\n")))
}

/// The errors of a text as a user sees them.
fn errors(text: &str) -> Vec<String> {
    lines(&load_yaml(text).map(|_| ()).expect_err("a configuration with mistakes"))
}

fn warnings(text: &str) -> Vec<String> {
    lines(&loaded(text).warnings)
}

fn lines<T: ToString>(findings: &[T]) -> Vec<String> {
    findings.iter().map(ToString::to_string).collect()
}

/// A small pipeline with more keys for its sink, its source, or at the top.
fn pipeline(top: &str, source: &str, sink: &str) -> String {
    format!(
        "{top}\nsources:\n  in: {{type: cfg_source, {source}}}\nsinks:\n  out: {{type: cfg_sink, inputs: [in], {sink}}}\n"
    )
}

const NAMED: &str = "name: x, encoding: {codec: json}";

#[test]
fn a_whole_pipeline_loads_in_file_order_with_everything_in_force() {
    let loaded = loaded(
        "
data_dir: /srv/pipe
acknowledgements: {enabled: false}
proxy: {http: 'http://global', no_proxy: [a.example]}
healthchecks: {require_healthy: true}
api: {enabled: true, address: '127.0.0.1:9999'}
wildcard_matching: relaxed
sources:
  z: {type: cfg_source, proxy: {https: 'http://own'}, graph: {node_attributes: {color: red}}}
  a: {type: cfg_source}
transforms:
  r: {type: cfg_route, inputs: ['*'], ports: [x, y]}
sinks:
  out:
    type: cfg_sink
    inputs: ['r.*', 'nothing*']
    name: n
    encoding: {codec: json}
    buffer: {max_events: 9, when_full: drop_newest, max_bytes: 2000000}
    healthcheck: {timeout: 2.5, uri: 'http://h'}
  other: {type: cfg_sink, inputs: [r.x], name: n, encoding: {codec: json}, acknowledgements: true, healthcheck: false}
",
    );
    assert_eq!(lines(&loaded.warnings), Vec::<String>::new());
    let config = loaded.config;
    let ids = |keys: &mut dyn Iterator<Item = &crate::component::ComponentKey>| {
        keys.map(ToString::to_string).collect::<Vec<_>>().join(" ")
    };
    assert_eq!(ids(&mut config.sources.keys()), "z a");
    assert_eq!(ids(&mut config.sinks.keys()), "out other");
    let out = &config.sinks[0];
    assert_eq!(lines(&out.inputs), ["r.x", "r.y"]);
    assert_eq!(lines(&config.transforms[0].inputs), ["z", "a"]);
    assert_eq!(out.buffer.max_events, 9);
    assert_eq!(out.buffer.max_bytes, Some(2_000_000));
    assert_eq!(out.buffer.when_full, WhenFull::DropNewest);
    assert_eq!(out.healthcheck.timeout, std::time::Duration::from_millis(2500));
    assert_eq!(out.healthcheck.uri.as_deref(), Some("http://h"));
    assert!(!config.sinks[1].healthcheck.enabled);
    assert_eq!(out.proxy.http.as_deref(), Some("http://global"));
    let z = &config.sources[0].proxy;
    assert_eq!((z.http.as_deref(), z.https.as_deref()), (Some("http://global"), Some("http://own")));
    assert_eq!(config.global.data_dir(), std::path::PathBuf::from("/srv/pipe"));
    assert!(config.healthchecks.require_healthy && config.healthchecks.enabled);
    assert_eq!(config.api, ApiOptions { enabled: true, address: "127.0.0.1:9999".parse().unwrap() });
    assert!(!config.sink_acknowledges(out) && config.sink_acknowledges(&config.sinks[1]));
    assert_eq!(config.acknowledging_sources().len(), 2);
}

#[test]
fn sources_wait_unless_somebody_says_no() {
    for (global, sink, waits) in [
        ("", "", true),
        ("", ", acknowledgements: false", false),
        ("", ", acknowledgements: {enabled: false}", false),
        ("acknowledgements: false", "", false),
        ("acknowledgements: {enabled: false}", ", acknowledgements: {enabled: true}", true),
        ("acknowledgements: true", ", acknowledgements: {enabled: null}", true),
        ("acknowledgements: true", ", acknowledgements: {enabled: false}", false),
    ] {
        let config = loaded(&pipeline(global, "", &format!("{NAMED}{sink}"))).config;
        assert_eq!(config.acknowledging_sources().len(), usize::from(waits), "{global} / {sink}");
    }
}

#[test]
fn mistakes_are_told_with_line_path_and_nearest_name() {
    for (top, source, sink, expected) in [
        ("", "", "encoding: {codec: json}", "line 5: sinks.out: missing field `name`"),
        ("", "", "name: x", "line 5: sinks.out: missing field `encoding`"),
        ("", "", "name: x, encoding: {}", "line 5: sinks.out.encoding: missing field `codec`"),
        ("", "", &format!("{NAMED}, bogus: 1"), "line 5: sinks.out: unknown field `bogus`, expected one of"),
        ("", "", &format!("{NAMED}, bufer: 1"), "(did you mean `buffer`?)"),
        (
            "",
            "",
            &format!("{NAMED}, batch: {{max_events: x}}"),
            "line 5: sinks.out.batch.max_events: invalid type: string \"x\", expected u16",
        ),
        (
            "",
            "",
            &format!("{NAMED}, mode: fas"),
            "line 5: sinks.out.mode: unknown variant `fas`, expected `fast` or `slow` (did you mean `fast`?)",
        ),
        (
            "",
            "",
            &format!("{NAMED}, proxy: {{bogus: 1}}"),
            "line 5: sinks.out.proxy.bogus: unknown field `bogus`",
        ),
        ("", "", &format!("{NAMED}, buffer: null"), "line 5: sinks.out.buffer: invalid type: null"),
        (
            "",
            "",
            &format!("{NAMED}, healthcheck: 5"),
            "line 5: sinks.out.healthcheck: invalid type: integer `5`, expected a boolean",
        ),
        (
            "",
            "",
            &format!("{NAMED}, healthcheck: {{timeout: 0}}"),
            "line 5: sinks.out.healthcheck.timeout: invalid type: integer `0`, expected a positive",
        ),
        ("", "", &format!("{NAMED}, limit: 11"), "line 5: sinks.out: `limit` is 11; at most 10"),
        (
            "sinkz: {}",
            "",
            NAMED,
            "line 1: sinkz: unknown field `sinkz`, expected one of `sources`, `transforms`, `sinks`",
        ),
        (
            "secret: {a: {type: exec}}",
            "",
            NAMED,
            "line 1: secret: `secret` is not supported (put secrets into",
        ),
        ("provider: {type: http}", "", NAMED, "provider: `provider` is not supported"),
        ("enrichment_tables: {a: 1}", "", NAMED, "enrichment_tables: `enrichment_tables` is not supported"),
        ("api: {adress: x}", "", NAMED, "line 1: api.adress: unknown field `adress`"),
        (
            "api: {address: x}",
            "",
            NAMED,
            "line 1: api.address: invalid type: string \"x\", expected an IP address and port",
        ),
        ("wildcard_matching: lax", "", NAMED, "unknown variant `lax`, expected one of `strict`, `relaxed`"),
        ("transforms: null", "", NAMED, "line 1: transforms: invalid type: null, expected a map"),
        ("transforms: {t: null}", "", NAMED, "line 1: transforms.t: invalid type: null, expected a map"),
        (
            "",
            "address: '0.0.0.0:1'",
            &format!("{NAMED}, address: '127.0.0.1:1'"),
            "line 5: sinks.out: Resource `tcp 0.0.0.0:1` is claimed by multiple components: {\"in\", \"out\"}",
        ),
        (
            "api: {enabled: true}",
            "address: '0.0.0.0:8686'",
            NAMED,
            "is claimed by multiple components: {\"api\", \"in\"}",
        ),
        ("", "n: 9223372036854775808", NAMED, "line 3: sources.in.n: integer values larger than i64::MAX"),
    ] {
        let text = pipeline(top, source, sink);
        let errors = errors(&text);
        assert_eq!(errors.len(), 1, "{text}{errors:#?}");
        assert!(errors[0].contains(expected), "{text}{errors:#?}");
    }
}

#[test]
fn an_unknown_key_is_shown_in_its_own_line() {
    let text = "sources: {in: {type: cfg_source}}\nsinks:\n  out:\n    type: cfg_sink\n    inputs: [in]\n    nam: x\n    name: x\n    encoding: {codec: json}\n";
    assert!(
        errors(text)[0].starts_with("line 6: sinks.out: unknown field `nam`, expected"),
        "{:?}",
        errors(text)
    );
}

#[test]
fn a_type_is_checked_against_the_linked_components() {
    let text = |kind: &str| {
        format!("sources: {{in: {{type: cfg_source}}}}\nsinks:\n  out: {{{kind} inputs: [in]}}\n")
    };
    let of = |kind: &str| errors(&text(kind)).remove(0);
    assert!(of("").starts_with("line 3: sinks.out: missing field `type` (it is one of: "));
    let error = of("type: cfg_sinc,");
    assert!(error.starts_with("line 3: sinks.out: unknown variant `cfg_sinc`, expected "), "{error}");
    assert!(error.ends_with("(did you mean `cfg_sink`?)"), "{error}");
    assert!(of("type: cfg_source,").contains("`cfg_source` is a source, not a sink"));
    assert!(of("type: 5,").contains("sinks.out.type: invalid type: integer `5`, expected a string"));
}

#[test]
fn inputs_are_a_list_of_names() {
    let of = |inputs: &str| {
        errors(&format!(
            "sources: {{in: {{type: cfg_source}}}}\nsinks:\n  out: {{type: cfg_sink, {NAMED}, {inputs}}}\n"
        ))
    };
    assert_eq!(of("x: 1").len(), 2);
    assert!(of("x: 1")[1].contains("sinks.out: missing field `inputs`"));
    assert_eq!(
        of("inputs: in"),
        ["line 3: sinks.out.inputs: invalid type: string \"in\", expected a sequence"]
    );
    assert_eq!(
        of("inputs: [5]")[0],
        "line 3: sinks.out.inputs[0]: invalid type: integer `5`, expected a string"
    );
    assert_eq!(of("inputs: []"), ["line 3: sinks.out.inputs: Sink \"out\" has no inputs"]);
    assert_eq!(
        of("inputs: [inn]"),
        [
            "line 3: sinks.out.inputs[0]: Input \"inn\" for sink \"out\" doesn't match any components. (did you mean `in`?)"
        ]
    );
}

#[test]
fn all_mistakes_of_all_stages_are_told_at_once() {
    let errors = errors(
        "
bogus: 1
sources:
  in: {type: nope}
  a.b: {type: cfg_source}
transforms:
  t: {type: cfg_pass, inputs: [t2]}
  t2: {type: cfg_pass, inputs: [t, in]}
sinks:
  out: {type: cfg_sink, inputs: [zz, t2], name: 5, batch: {max_events: x}, limit: y, buffer: {when_full: no}}
",
    );
    for expected in [
        "line 2: bogus: unknown field",
        "line 4: sources.in: unknown variant `nope`",
        "line 5: sources.a.b: Component name \"a.b\" should not contain",
        "chain [ t2 -> t -> t2 ]",
        "line 10: sinks.out.inputs[0]: Input \"zz\"",
        "line 10: sinks.out.name: invalid type: integer `5`",
        "line 10: sinks.out.batch.max_events: invalid type",
        "line 10: sinks.out.limit: invalid type",
        "line 10: sinks.out: missing field `encoding`",
        "line 10: sinks.out.buffer.when_full: unknown variant `no`",
    ] {
        assert!(errors.iter().any(|error| error.contains(expected)), "{expected}\n{errors:#?}");
    }
    assert_eq!(errors.len(), 10, "{errors:#?}");
}

#[test]
fn keys_that_vector_swallows_are_warned_of_with_the_nearest_known_one() {
    for (source, sink, expected) in [
        (
            "",
            "batch: {max_event: 1}",
            "line 5: sinks.out.batch.max_event: unknown field `max_event` is ignored (did you mean `max_events`?)",
        ),
        (
            "",
            "healthcheck: {timout: 1}",
            "line 5: sinks.out.healthcheck.timout: unknown field `timout` is ignored (did you mean `timeout`?)",
        ),
        (
            "",
            "acknowledgements: {enable: true}",
            "sinks.out.acknowledgements.enable: unknown field `enable` is ignored (did you mean `enabled`?)",
        ),
        (
            "adress: x",
            "",
            "line 3: sources.in.adress: unknown field `adress` is ignored (did you mean `address`?)",
        ),
        ("", "healthcheck_uri: 'http://x'", "`healthcheck_uri` is deprecated"),
        (
            "",
            "buffer: {type: disk, max_size: 268435488}",
            "line 5: sinks.out.buffer: disk buffers are not built yet",
        ),
        ("", "partial: true", "line 5: sinks.out: `partial` is always on"),
    ] {
        let text = pipeline("", source, &format!("{NAMED}, {sink}"));
        let warnings = warnings(&text);
        assert_eq!(warnings.len(), 1, "{text}{warnings:#?}");
        assert!(warnings[0].contains(expected), "{text}{warnings:#?}");
    }
    // Known by another name: the schema does not list aliases.
    assert!(warnings(&pipeline("", "listen: '127.0.0.1:1'", NAMED)).is_empty());
}

#[test]
fn keys_without_effect_are_warned_of_only_where_they_say_something() {
    for (top, count) in [
        (
            "timezone: local\nlog_schema: {}\ntests: []\nexpire_metrics_secs: 300\nsecret: {}\nenrichment_tables: {}",
            0,
        ),
        ("timezone: UTC", 1),
        ("log_schema: {message_key: m}\nexpire_metrics_secs: 10\nschema: {log_namespace: true}", 3),
        ("tests: [{name: x}]", 1),
        ("api: {playground: false}", 1),
    ] {
        assert_eq!(warnings(&pipeline(top, "", NAMED)).len(), count, "{top}");
    }
}

#[test]
fn a_source_that_cannot_wait_is_warned_of_only_if_somebody_asked() {
    let expected = "line 3: sources.in: Source has acknowledgements enabled by a sink, but";
    let of = |top: &str, sink: &str| warnings(&pipeline(top, "deaf: true", &format!("{NAMED}{sink}")));
    assert!(of("", "").is_empty());
    assert!(of("", ", acknowledgements: true")[0].starts_with(expected));
    assert!(of("acknowledgements: true", "")[0].starts_with(expected));
}

#[test]
fn an_empty_configuration_is_refused_unless_allowed() {
    let expected = ["sources: No sources defined in the config.", "sinks: No sinks defined in the config."];
    assert_eq!(errors(""), expected);
    let options = LoadOptions { allow_empty: true, ..LoadOptions::default() };
    assert!(load_from_str("", Format::Yaml, &no_env, &options).is_ok());
}

#[test]
fn the_three_formats_load_alike() {
    let toml = "[sources.in]\ntype = 'cfg_source'\n[sinks.out]\ntype = 'cfg_sink'\ninputs = ['in']\nname = 'x'\n[sinks.out.encoding]\ncodec = 'json'\n";
    let json = r#"{"sources":{"in":{"type":"cfg_source"}},"sinks":{"out":{"type":"cfg_sink","inputs":["in"],"name":"x","encoding":{"codec":"json"}}}}"#;
    let expected = format!("{:?}", loaded(&pipeline("", "", NAMED)).config);
    for (text, format) in [(toml, Format::Toml), (json, Format::Json)] {
        let loaded = load_from_str(text, format, &no_env, &LoadOptions::default()).unwrap();
        assert_eq!(format!("{:?}", loaded.config), expected);
    }
}

#[test]
fn the_json_schema_lists_linked_components_with_the_keys_around_them() {
    let schema = json_schema();
    let sinks = schema["properties"]["sinks"]["additionalProperties"]["oneOf"].as_array().unwrap();
    let sink = sinks.iter().find(|sink| sink["properties"]["type"]["const"] == "cfg_sink").unwrap();
    for key in ["inputs", "buffer", "healthcheck", "proxy", "name", "encoding"] {
        assert!(sink["properties"].get(key).is_some(), "{key}");
    }
    assert!(sink["required"].as_array().unwrap().iter().any(|name| name == "inputs"));
}

#[test]
fn one_transform_by_itself_loads() {
    let load = |text: &str, default| {
        load_transform_from_str(text, Format::Json, &no_env, &LoadOptions::default(), default)
    };
    assert!(load(r#"{"type": "cfg_route", "ports": ["a"], "inputs": ["x"]}"#, None).is_ok());
    assert!(load(r#"{"ports": ["a"]}"#, Some("cfg_route")).is_ok());
    let errors = load(r#"{"ports": "a"}"#, Some("cfg_route")).unwrap_err();
    assert_eq!(lines(&errors), ["line 1: ports: invalid type: string \"a\", expected a sequence"]);
    assert!(load("{", None).is_err());
}

proptest! {
    #[test]
    fn no_text_panics(text in "\\PC{0,200}", format in prop_oneof![Just(Format::Yaml), Just(Format::Toml), Just(Format::Json)]) {
        let _ = load_from_str(&text, format, &|name| Some(name.to_owned()), &LoadOptions::default());
    }

    #[test]
    fn no_tree_panics(tree in any_tree()) {
        let _ = load_from_str(&tree.to_string(), Format::Json, &no_env, &LoadOptions::default());
    }
}

/// Trees with the keys that mean something, in any place, with any value.
fn any_tree() -> impl Strategy<Value = serde_json::Value> {
    use serde_json::Value;
    const KEYS: [&str; 24] = [
        "sources",
        "transforms",
        "sinks",
        "in",
        "out",
        "type",
        "inputs",
        "buffer",
        "max_size",
        "max_events",
        "when_full",
        "healthcheck",
        "timeout",
        "proxy",
        "no_proxy",
        "api",
        "address",
        "acknowledgements",
        "enabled",
        "name",
        "encoding",
        "codec",
        "batch",
        "ports",
    ];
    const TEXTS: [&str; 14] = [
        "cfg_source",
        "cfg_sink",
        "cfg_pass",
        "cfg_route",
        "in",
        "out",
        "*",
        "in.",
        "disk",
        "overflow",
        "$X",
        "${X:-1}",
        "",
        "127.0.0.1:1",
    ];
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        proptest::sample::select(&TEXTS[..]).prop_map(Value::from),
    ];
    let tree = leaf.prop_recursive(4, 60, 6, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            proptest::collection::hash_map(proptest::sample::select(&KEYS[..]), inner, 0..6)
                .prop_map(|map| map.into_iter().map(|(key, value)| (key.to_owned(), value)).collect()),
        ]
    });
    proptest::collection::hash_map(proptest::sample::select(&KEYS[..]), tree, 0..5)
        .prop_map(|map| map.into_iter().map(|(key, value)| (key.to_owned(), value)).collect())
}
