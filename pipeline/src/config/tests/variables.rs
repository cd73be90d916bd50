//! Environment variables and secrets in whole configurations.

use super::*;

fn env(name: &str) -> Option<String> {
    Some(
        match name {
            "NUMBER" => "7",
            "LARGE" => "11",
            "ZEROS" => "007",
            "RATIO" => "1.50",
            "YES" => "true",
            "FAST" => "fast",
            "EMPTY" => "",
            "SECRET" => "hunter2hunter2",
            "ADDRESS" => "127.0.0.1:7",
            "http_proxy" => "http://environment",
            _ => return None,
        }
        .to_owned(),
    )
}

fn with(sink: &str) -> Result<Loaded, Vec<ConfigError>> {
    let text = pipeline("", "", sink);
    load_from_str(&text, Format::Yaml, &env, &LoadOptions::default())
}

fn debug(sink: &str) -> String {
    let loaded = with(sink).unwrap_or_else(|errors| panic!("{sink}: {errors:?}"));
    assert!(loaded.warnings.is_empty(), "{:?}", loaded.warnings);
    format!("{:?}", loaded.config.sinks[0].inner)
}

#[test]
fn a_variable_becomes_what_the_option_wants_quoted_or_not() {
    for (option, expected) in [
        ("limit: $NUMBER", "limit: Some(7)"),
        ("limit: '${NUMBER}'", "limit: Some(7)"),
        ("limit: '${NOPE:-5}'", "limit: Some(5)"),
        ("ratio: $NUMBER", "ratio: Some(7.0)"),
        ("ratio: $RATIO", "ratio: Some(1.5)"),
        ("on: $YES", "on: Some(true)"),
        ("region: $NUMBER", "region: Some(\"7\")"),
        ("region: $ZEROS", "region: Some(\"007\")"),
        ("region: $RATIO", "region: Some(\"1.50\")"),
        ("region: $YES", "region: Some(\"true\")"),
        ("region: '${EMPTY}'", "region: None"),
        ("region: x$NUMBER", "region: Some(\"x7\")"),
        ("concurrency: $NUMBER", "concurrency: Some(Fixed(7))"),
        ("concurrency: $FAST", "concurrency: Some(Named(Fast))"),
        ("mode: $FAST", "mode: Some(Fast)"),
        ("address: $ADDRESS", "address: Some(127.0.0.1:7)"),
        ("batch: {max_events: $NUMBER}", "max_events: Some(7)"),
        ("acknowledgements: $YES", "enabled: Some(true)"),
        ("acknowledgements: {enabled: $YES}", "enabled: Some(true)"),
        ("auth: {assume_role: $NUMBER}", "assume_role: \"7\""),
    ] {
        let debug = debug(&format!("{NAMED}, {option}"));
        assert!(debug.contains(expected), "{option}: {debug}");
    }
    assert!(debug("name: $NUMBER, encoding: {codec: json}").contains("name: \"7\""));
    assert!(debug("name: x, encoding: {codec: $NUMBER}").contains("codec: \"7\""));
}

#[test]
fn variables_work_in_the_keys_around_a_component_and_at_the_top() {
    let text = pipeline(
        "api: {enabled: $YES, address: $ADDRESS}\nhealthchecks: {enabled: $YES}",
        "",
        &format!(
            "{NAMED}, buffer: {{max_events: $NUMBER}}, healthcheck: {{timeout: $RATIO}}, proxy: {{enabled: $YES}}"
        ),
    );
    let config = load_from_str(&text, Format::Yaml, &env, &LoadOptions::default()).unwrap().config;
    assert_eq!(config.api.address.to_string(), "127.0.0.1:7");
    assert_eq!(config.sinks[0].buffer.max_events, 7);
    assert_eq!(config.sinks[0].healthcheck.timeout, std::time::Duration::from_millis(1500));
    assert_eq!(config.sinks[0].proxy.http.as_deref(), Some("http://environment"));
}

#[test]
fn missing_variables_are_told_once_and_nothing_that_follows_from_them() {
    let text = pipeline(
        "data_dir: $A",
        "",
        "name: $B, encoding: {codec: '${C:?say it}'}, limit: $D, buffer: {max_events: $E}",
    );
    let text = text.replace("inputs: [in]", "inputs: [$F, in]");
    let errors = lines(&load_from_str(&text, Format::Yaml, &no_env, &LoadOptions::default()).unwrap_err());
    assert_eq!(errors.len(), 6, "{errors:#?}");
    assert_eq!(errors[0], "line 1: data_dir: Missing environment variable in config. name = \"A\"");
    assert!(errors.contains(&"line 5: sinks.out.encoding.codec: Non-empty environment variable required in config. name = \"C\", error = \"say it\"".to_owned()));
}

#[test]
fn values_of_variables_never_show_in_errors() {
    for sink in [
        "name: x, encoding: $SECRET",
        "name: x, encoding: {codec: json}, limit: $SECRET",
        "name: x, encoding: {codec: json}, mode: $SECRET",
        "name: x, encoding: {codec: json}, address: $SECRET",
        "name: '!$SECRET', encoding: {codec: json}",
        "name: x, encoding: {codec: json}, buffer: {when_full: $SECRET}",
        "name: x, encoding: {codec: json}, buffer: $SECRET",
        "name: x, encoding: {codec: json}, healthcheck: $SECRET",
        "name: x, encoding: {codec: json}, inputs: [in, $SECRET]",
    ] {
        let sink = if sink.contains("inputs") { sink.to_owned() } else { format!("{sink}, inputs: [in]") };
        let text =
            format!("sources: {{in: {{type: cfg_source}}}}\nsinks: {{out: {{type: cfg_sink, {sink}}}}}\n");
        let errors = lines(&load_from_str(&text, Format::Yaml, &env, &LoadOptions::default()).unwrap_err());
        assert_eq!(errors.len(), 1, "{errors:#?}");
        assert!(!errors[0].contains("hunter2"), "{errors:#?}");
    }
    let text =
        pipeline("wildcard_matching: $SECRET\napi: {address: $SECRET}\ndata_dir: [$SECRET]", "", NAMED);
    let text = text.replace("type: cfg_sink", "type: $SECRET");
    let errors = lines(&load_from_str(&text, Format::Yaml, &env, &LoadOptions::default()).unwrap_err());
    assert_eq!(errors.len(), 4, "{errors:#?}");
    assert!(!errors.join("\n").contains("hunter2"), "{errors:#?}");
}

#[test]
fn values_under_keys_that_look_secret_never_show_in_errors() {
    for (auth, path) in [
        ("{access_key_id: [hunter2], secret_access_key: hunter2}", "sinks.out.auth"),
        ("{access_key_id: hunter2, secret_access_key: 12345678}", "sinks.out.auth"),
        ("{password: hunter2}", "sinks.out.auth"),
    ] {
        let errors = errors(&pipeline("", "", &format!("{NAMED}, auth: {auth}")));
        assert!(errors[0].contains(path), "{errors:#?}");
        assert!(!errors[0].contains("hunter2") && !errors[0].contains("12345678"), "{errors:#?}");
    }
    let errors =
        errors(&pipeline("", "", &format!("{NAMED}, proxy: {{token: {{a: hunter2}}, http: [hunter2]}}")));
    assert!(!errors.join("\n").contains("hunter2"), "{errors:#?}");
}

#[test]
fn interpolation_can_be_switched_off() {
    let text = pipeline("", "", "name: $NOPE, encoding: {codec: '$$'}");
    let options = LoadOptions { interpolate: false, ..LoadOptions::default() };
    let loaded = load_from_str(&text, Format::Yaml, &no_env, &options).unwrap();
    let debug = format!("{:?}", loaded.config.sinks[0].inner);
    assert!(debug.contains("name: \"$NOPE\"") && debug.contains("codec: \"$$\""), "{debug}");
}

#[test]
fn references_to_secret_backends_are_refused_not_taken_as_text() {
    let errors = errors(&pipeline("", "", &format!("{NAMED}, region: 'SECRET[vault.key]'")));
    assert_eq!(errors.len(), 1);
    assert!(
        errors[0].starts_with("line 5: sinks.out.region: SECRET[vault.key] is not supported"),
        "{errors:?}"
    );
}

#[cfg(target_os = "linux")]
#[test]
fn the_host_name_is_supplied() {
    assert!(!debug("name: $HOSTNAME, encoding: {codec: x}").contains("name: \"\""));
}
