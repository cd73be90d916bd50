//! Shape: what a component's JSON Schema says of a place: which keys it knows, which types it takes.
//! In: a schema from the registry. Out: unknown keys, known keys, types. Lenient: any branch of a choice counts,
//! and where the schema says nothing, everything is known.

use schemars::SchemaGenerator;
use serde_json::{Map, Value};

use super::error::{Step, Trail};
use crate::component::{ComponentDescription, ComponentKind, component_descriptions};

/// Branches of one place that are looked at; a schema with more is answered from the first ones.
const BRANCHES_MAX: usize = 1000;

/// The schema of one component's options.
#[derive(Clone, Debug)]
pub(super) struct Shape {
    root: Value,
    definitions: Map<String, Value>,
}

/// Types that a place takes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Types {
    pub(super) text: bool,
    pub(super) integer: bool,
    pub(super) decimal: bool,
    pub(super) boolean: bool,
    pub(super) null: bool,
}

impl Types {
    const ANY: Self = Self { text: true, integer: true, decimal: true, boolean: true, null: true };
}

impl Shape {
    /// The shape of the component `name`, if it is in the registry.
    pub(super) fn of(kind: ComponentKind, name: &str) -> Option<Self> {
        component_descriptions()
            .into_iter()
            .find(|description| description.kind == kind && description.name == name)
            .map(Self::new)
    }

    fn new(description: &ComponentDescription) -> Self {
        let mut generator = SchemaGenerator::default();
        let root = (description.schema)(&mut generator).to_value();
        Self { root, definitions: generator.take_definitions(true) }
    }

    #[cfg(test)]
    pub(super) fn from_parts(root: Value, definitions: Map<String, Value>) -> Self {
        Self { root, definitions }
    }

    /// Keys of `body` that nothing knows, at any depth.
    pub(super) fn unknown_keys(&self, body: &Value) -> Vec<Trail> {
        let mut unknown = Vec::new();
        self.find_unknown(&self.branches(vec![&self.root]), body, &Trail::default(), &mut unknown);
        unknown
    }

    fn find_unknown(&self, branches: &[&Value], value: &Value, trail: &Trail, unknown: &mut Vec<Trail>) {
        match value {
            Value::Object(map) => {
                if branches.iter().any(|branch| takes_anything(branch))
                    || !branches.iter().any(|branch| describes_map(branch))
                {
                    return;
                }
                for (key, item) in map {
                    let step = Step::Key(key.clone());
                    let trail = trail.key(key);
                    match self.children(branches, &step) {
                        children if !children.is_empty() => {
                            self.find_unknown(&children, item, &trail, unknown)
                        }
                        _ if branches.iter().any(|branch| is_open(branch)) => {}
                        _ => unknown.push(trail),
                    }
                }
            }
            Value::Array(list) => {
                for (index, item) in list.iter().enumerate() {
                    let children = self.children(branches, &Step::Index(index));
                    self.find_unknown(&children, item, &trail.index(index), unknown);
                }
            }
            _ => {}
        }
    }

    /// Keys that are known at `trail`.
    pub(super) fn keys_at(&self, trail: &Trail) -> Vec<&str> {
        let mut keys: Vec<&str> = self
            .at(trail)
            .into_iter()
            .filter_map(|branch| branch.get("properties")?.as_object())
            .flat_map(|properties| properties.keys().map(String::as_str))
            .collect();
        keys.sort_unstable();
        keys.dedup();
        keys
    }

    /// Types that `trail` takes when it holds `text`; everything if the schema does not know the place.
    pub(super) fn types_at(&self, trail: &Trail, text: &str) -> Types {
        let branches = self.at(trail);
        if branches.is_empty() || branches.iter().any(|branch| takes_anything(branch)) {
            return Types::ANY;
        }
        let mut types = Types::default();
        let text = Value::from(text);
        for branch in branches {
            let choices = match (branch.get("const"), branch.get("enum")) {
                (Some(one), _) => Some(vec![one]),
                (None, Some(Value::Array(list))) => Some(list.iter().collect()),
                _ => None,
            };
            if let Some(choices) = choices {
                for choice in choices {
                    match choice {
                        Value::String(_) => types.text |= *choice == text,
                        Value::Number(_) => (types.integer, types.decimal) = (true, true),
                        Value::Bool(_) => types.boolean = true,
                        Value::Null => types.null = true,
                        _ => {}
                    }
                }
                continue;
            }
            let names = match branch.get("type") {
                Some(Value::Array(list)) => list.iter().filter_map(Value::as_str).collect(),
                Some(Value::String(name)) => vec![name.as_str()],
                _ => Vec::new(),
            };
            for name in names {
                match name {
                    "string" => types.text = true,
                    "integer" => types.integer = true,
                    "number" => (types.integer, types.decimal) = (true, true),
                    "boolean" => types.boolean = true,
                    "null" => types.null = true,
                    _ => {}
                }
            }
        }
        types
    }

    fn at(&self, trail: &Trail) -> Vec<&Value> {
        let mut branches = self.branches(vec![&self.root]);
        for step in &trail.0 {
            branches = self.children(&branches, step);
        }
        branches
    }

    /// All branches of what `step` leads to.
    fn children<'a>(&'a self, branches: &[&'a Value], step: &Step) -> Vec<&'a Value> {
        let mut children = Vec::new();
        for branch in branches {
            match step {
                Step::Key(key) => {
                    let known = branch.get("properties").and_then(|properties| properties.get(key));
                    let rest = ["additionalProperties", "unevaluatedProperties"]
                        .into_iter()
                        .filter_map(|name| branch.get(name))
                        .filter(|schema| schema.is_object());
                    let patterns = branch.get("patternProperties").and_then(Value::as_object);
                    children.extend(known);
                    if known.is_none() {
                        children.extend(rest);
                        children.extend(patterns.into_iter().flat_map(Map::values));
                    }
                }
                Step::Index(index) => {
                    let prefix = branch.get("prefixItems").and_then(|items| items.get(index));
                    children.extend(prefix.or_else(|| branch.get("items")));
                }
            }
        }
        self.branches(children)
    }

    /// Follows references and choices to plain schemas.
    fn branches<'a>(&'a self, mut open: Vec<&'a Value>) -> Vec<&'a Value> {
        let mut plain: Vec<&Value> = Vec::new();
        let mut seen = 0;
        open.reverse();
        while let Some(schema) = open.pop() {
            seen += 1;
            if seen > BRANCHES_MAX || plain.iter().any(|known| std::ptr::eq(*known, schema)) {
                continue;
            }
            plain.push(schema);
            let reference = schema.get("$ref").and_then(Value::as_str);
            open.extend(reference.and_then(|path| self.definitions.get(path.rsplit('/').next()?)));
            for choice in ["allOf", "anyOf", "oneOf"] {
                open.extend(schema.get(choice).and_then(Value::as_array).into_iter().flatten().rev());
            }
            for part in ["then", "else"] {
                open.extend(schema.get(part));
            }
        }
        plain
    }
}

/// A schema without any constraint on the type.
fn takes_anything(schema: &Value) -> bool {
    const CONSTRAINTS: [&str; 12] = [
        "type",
        "properties",
        "$ref",
        "allOf",
        "anyOf",
        "oneOf",
        "enum",
        "const",
        "items",
        "prefixItems",
        "not",
        "additionalProperties",
    ];
    match schema {
        Value::Bool(any) => *any,
        Value::Object(map) => !CONSTRAINTS.iter().any(|name| map.contains_key(*name)),
        _ => true,
    }
}

fn describes_map(schema: &Value) -> bool {
    let object = |value: &Value| value.as_str() == Some("object");
    schema.get("properties").is_some()
        || match schema.get("type") {
            Some(Value::Array(names)) => names.iter().any(object),
            Some(name) => object(name),
            None => false,
        }
}

/// Whether keys beyond the named ones mean something.
fn is_open(schema: &Value) -> bool {
    ["additionalProperties", "unevaluatedProperties"]
        .into_iter()
        .any(|name| schema.get(name).is_some_and(|rest| rest.is_object() || rest.as_bool() == Some(true)))
        || schema.get("patternProperties").is_some()
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use schemars::JsonSchema;
    use serde_json::json;

    use super::*;

    #[derive(JsonSchema)]
    #[schemars(deny_unknown_fields)]
    #[allow(dead_code)]
    struct Options {
        name: String,
        port: u16,
        batch: Batch,
        concurrency: Option<Concurrency>,
        auth: Auth,
        extra: Value,
        tags: HashMap<String, Batch>,
        list: Vec<Batch>,
        #[schemars(flatten)]
        flat: Flat,
    }

    #[derive(JsonSchema)]
    #[allow(dead_code)]
    struct Batch {
        max_events: usize,
        timeout_secs: Option<f64>,
    }

    #[derive(JsonSchema)]
    #[allow(dead_code)]
    struct Flat {
        region: Option<String>,
    }

    #[derive(JsonSchema)]
    #[schemars(untagged)]
    #[allow(dead_code)]
    enum Auth {
        Keys { access_key_id: String },
        Role { assume_role: String },
    }

    #[derive(JsonSchema)]
    #[schemars(untagged)]
    #[allow(dead_code)]
    enum Concurrency {
        Named(Mode),
        Fixed(usize),
    }

    #[derive(JsonSchema)]
    #[schemars(rename_all = "snake_case")]
    #[allow(dead_code)]
    enum Mode {
        None,
        Adaptive,
    }

    fn shape() -> Shape {
        let mut generator = SchemaGenerator::default();
        let root = generator.subschema_for::<Options>().to_value();
        Shape::from_parts(root, generator.take_definitions(true))
    }

    #[test]
    fn unknown_keys_are_found_at_any_depth_and_only_those() {
        let body = json!({
            "name": "x", "region": "y", "bogus": 1,
            "batch": {"max_events": 1, "max_event": 2},
            "auth": {"assume_role": "r", "nope": 1},
            "extra": {"anything": {"goes": 1}},
            "tags": {"any": {"max_events": 1, "typo": 1}},
            "list": [{"max_events": 1}, {"typo": 1}],
            "concurrency": "adaptive",
        });
        let unknown: Vec<_> = shape().unknown_keys(&body).iter().map(ToString::to_string).collect();
        assert_eq!(unknown, ["bogus", "batch.max_event", "auth.nope", "tags.any.typo", "list[1].typo"]);
        assert_eq!(shape().keys_at(&Trail::of(&["auth"])), ["access_key_id", "assume_role"]);
        assert!(shape().keys_at(&Trail::default()).contains(&"region"));
    }

    #[test]
    fn types_follow_the_schema() {
        let shape = shape();
        let types = |keys: &[&str], text| shape.types_at(&Trail::of(keys), text);
        assert_eq!(types(&["name"], "5"), Types { text: true, ..Types::default() });
        assert_eq!(types(&["region"], "5"), Types { text: true, null: true, ..Types::default() });
        assert_eq!(types(&["port"], "5"), Types { integer: true, ..Types::default() });
        assert!(!types(&["concurrency"], "5").text);
        assert!(types(&["concurrency"], "5").integer);
        assert!(types(&["concurrency"], "adaptive").text);
        assert_eq!(types(&["extra", "x"], "5"), Types::ANY);
        assert_eq!(types(&["nope"], "5"), Types::ANY);
    }
}
