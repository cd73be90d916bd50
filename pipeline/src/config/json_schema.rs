//! JSON Schema of a whole configuration, for editors.
//! In: the registry. Out: one schema; each component's options with the keys around them.

use schemars::SchemaGenerator;
use serde_json::{Map, Value, json};

use super::graph::section;
use crate::component::{ComponentDescription, ComponentKind, component_descriptions};

/// The JSON Schema of a whole configuration with the components that are linked in.
#[must_use]
pub fn json_schema() -> Value {
    let mut generator = SchemaGenerator::default();
    let mut properties = globals();
    for kind in [ComponentKind::Source, ComponentKind::Transform, ComponentKind::Sink] {
        let choices: Vec<_> = component_descriptions()
            .into_iter()
            .filter(|description| description.kind == kind)
            .map(|description| component(description, &mut generator))
            .collect();
        let each = if choices.is_empty() { json!(false) } else { json!({"oneOf": choices}) };
        let names = json!({"pattern": "^[^.]+$"});
        let map = json!({"type": "object", "propertyNames": names, "additionalProperties": each});
        properties.insert(section(kind).to_owned(), map);
    }
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Pipeline configuration",
        "type": "object",
        "properties": properties,
        "additionalProperties": false,
        "$defs": generator.take_definitions(true),
    })
}

fn component(description: &ComponentDescription, generator: &mut SchemaGenerator) -> Value {
    let mut schema = (description.schema)(generator).to_value();
    // A reference is followed: the keys around the options go into the very map that may refuse others.
    if let Some(name) = schema.get("$ref").and_then(Value::as_str).and_then(|path| path.rsplit('/').next())
        && let Some(target) = generator.definitions().get(name)
    {
        schema = target.clone();
    }
    let (keys, required) = wrapper(description.kind);
    let keys: Map<_, _> =
        std::iter::once(("type".to_owned(), json!({"const": description.name}))).chain(keys).collect();
    if let Value::Object(map) = &mut schema {
        map.insert("title".to_owned(), description.name.into());
        map.insert("description".to_owned(), description.summary.into());
        map.insert("type".to_owned(), "object".into());
        if let Value::Object(properties) = map.entry("properties").or_insert_with(|| json!({})) {
            properties.extend(keys);
        }
        if let Value::Array(names) = map.entry("required").or_insert_with(|| json!([])) {
            names.extend(required.iter().map(|name| Value::from(*name)));
        }
    }
    schema
}

/// Keys around a component's own options, and which of them are required.
fn wrapper(kind: ComponentKind) -> (Map<String, Value>, &'static [&'static str]) {
    let inputs = json!({"type": "array", "items": {"type": "string"}, "minItems": 1});
    let graph = json!({"type": "object"});
    let (keys, required): (Value, &'static [&'static str]) = match kind {
        ComponentKind::Source => (json!({"proxy": proxy(), "graph": graph}), &["type"]),
        ComponentKind::Transform => (
            json!({"inputs": inputs, "graph": graph, "measure_cpu_usage": {"type": "boolean", "default": false}}),
            &["type", "inputs"],
        ),
        ComponentKind::Sink => (
            json!({
                "inputs": inputs, "graph": graph, "proxy": proxy(), "buffer": buffer(),
                "healthcheck_uri": {"type": ["string", "null"], "deprecated": true},
                "healthcheck": {"anyOf": [{"type": "boolean"}, {"type": "object", "properties": {
                    "enabled": {"type": "boolean", "default": true},
                    "timeout": {"type": "number", "exclusiveMinimum": 0, "default": 10},
                    "uri": {"type": ["string", "null"]},
                }}]},
            }),
            &["type", "inputs"],
        ),
    };
    match keys {
        Value::Object(keys) => (keys, required),
        _ => (Map::new(), required),
    }
}

fn proxy() -> Value {
    let text = json!({"type": ["string", "null"]});
    json!({"type": "object", "additionalProperties": false, "properties": {
        "enabled": {"type": "boolean", "default": true}, "http": text, "https": text,
        "no_proxy": {"type": "array", "items": {"type": "string"}},
    }})
}

fn buffer() -> Value {
    let count = json!({"type": "integer", "minimum": 1});
    let when_full = json!({"enum": ["block", "drop_newest", "overflow"], "default": "block"});
    let budget = json!({"type": "integer", "minimum": super::buffer::BUDGET_BYTES_MIN});
    let stage = json!({"oneOf": [
        {"type": "object", "additionalProperties": false, "properties": {
            "type": {"const": "memory"}, "max_events": count, "max_size": count,
            "when_full": when_full, "max_bytes": budget,
        }},
        {"type": "object", "additionalProperties": false, "required": ["type", "max_size"], "properties": {
            "type": {"const": "disk"}, "max_size": count, "when_full": when_full, "max_bytes": budget,
        }},
    ]});
    json!({"anyOf": [stage, {"type": "array", "items": stage, "minItems": 1}]})
}

fn globals() -> Map<String, Value> {
    let on = |default: bool| json!({"type": "boolean", "default": default});
    let globals = json!({
        "data_dir": {"type": ["string", "null"], "default": super::DEFAULT_DATA_DIR},
        "acknowledgements": {"anyOf": [
            {"type": "boolean"},
            {"type": "object", "properties": {"enabled": {"type": ["boolean", "null"]}}},
        ]},
        "proxy": proxy(),
        "healthchecks": {"type": "object", "additionalProperties": false,
            "properties": {"enabled": on(true), "require_healthy": on(false)}},
        "api": {"type": "object", "additionalProperties": false, "properties": {
            "enabled": on(false),
            "address": {"type": "string", "default": super::DEFAULT_API_ADDRESS.to_string()},
        }},
        "wildcard_matching": {"enum": ["strict", "relaxed"], "default": "strict"},
    });
    match globals {
        Value::Object(globals) => globals,
        _ => Map::new(),
    }
}
