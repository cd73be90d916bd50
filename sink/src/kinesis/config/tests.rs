//! Tests of what a user may combine.
#![allow(clippy::unwrap_used)]

use serde_json::json;

use super::*;

fn problems(options: serde_json::Value) -> Vec<String> {
    let mut config = json!({"stream_name": "s", "encoding": {"codec": "json"}});
    config.as_object_mut().unwrap().extend(options.as_object().unwrap().clone());
    match serde_json::from_value::<KinesisSinkConfig>(config) {
        Err(error) => vec![error.to_string()],
        Ok(config) => config.validate_structure().err().unwrap_or_default(),
    }
}

#[test]
fn aggregation_goes_with_order_and_compression_but_not_without_order_or_with_conflation() {
    let on = json!({"enabled": true});
    assert_eq!(problems(json!({"aggregation": on, "compression": "gzip"})), [""; 0]);
    assert_eq!(
        problems(json!({"aggregation": {"enabled": false}, "ordering": "none", "conflate": false})),
        [""; 0]
    );
    for (others, word) in
        [(json!({"ordering": "none"}), "`ordering: per_key`"), (json!({"conflate": true}), "`conflate`")]
    {
        let mut options = others.clone();
        options["aggregation"] = on.clone();
        let problems = problems(options);
        assert!(
            matches!(problems.as_slice(), [one] if one.starts_with("aggregation: ") && one.contains(word)),
            "{problems:?}"
        );
    }
    let problems = problems(json!({"aggregation": {"enable": true}}));
    assert!(problems[0].contains("unknown field `enable`, expected `enabled`"), "{problems:?}");
}
