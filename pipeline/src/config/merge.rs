//! Merge: several files of one directory into one tree.
//! In: trees. Out: one tree: maps recurse, lists are joined, of two scalars of one type the later wins.

use serde_json::{Map, Value};

use super::error::{Finding, Trail};

/// Merges `other` into `base`; what does not fit stays as it was and is told.
pub(super) fn deep_merge(
    base: &mut Map<String, Value>,
    other: Map<String, Value>,
    trail: &Trail,
    errors: &mut Vec<Finding>,
) {
    for (key, value) in other {
        let trail = trail.key(&key);
        match base.get_mut(&key) {
            None => {
                base.insert(key, value);
            }
            Some(existing) => match (existing, value) {
                (Value::Object(base), Value::Object(other)) => deep_merge(base, other, &trail, errors),
                (Value::Array(base), Value::Array(other)) => base.extend(other),
                (existing, value) if fits(existing, &value) => *existing = value,
                (existing, value) => {
                    let (expected, received) = (type_name(existing), type_name(&value));
                    errors.push(Finding::new(
                        trail.clone(),
                        format!(
                            "Incompatible types at path \"$.{trail}\", expected {expected:?} received {received:?}."
                        ),
                    ));
                }
            },
        }
    }
}

/// Whether `new` may stand in for `old`. Text with a variable may turn out to be any scalar.
fn fits(old: &Value, new: &Value) -> bool {
    let scalar = |value: &Value| !value.is_array() && !value.is_object();
    let variable = |value: &Value| value.as_str().is_some_and(|text| text.contains('$'));
    type_name(old) == type_name(new)
        || scalar(old) && scalar(new) && (variable(old) || variable(new) || old.is_null() || new.is_null())
}

fn type_name(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(number) if number.is_f64() => "float",
        Value::Number(_) => "integer",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "table",
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use serde_json::json;

    use super::*;

    fn merge(base: Value, other: Value) -> (Value, Vec<String>) {
        let (Value::Object(mut base), Value::Object(other)) = (base, other) else { panic!("two maps") };
        let mut errors = Vec::new();
        deep_merge(&mut base, other, &Trail::default(), &mut errors);
        (Value::Object(base), errors.into_iter().map(|finding| finding.message).collect())
    }

    #[test]
    fn maps_recurse_lists_join_and_the_later_scalar_wins() {
        for (base, other, expected) in [
            (json!({}), json!({"a": 1}), json!({"a": 1})),
            (json!({"a": 1}), json!({"a": 2}), json!({"a": 2})),
            (json!({"a": [1]}), json!({"a": ["b"]}), json!({"a": [1, "b"]})),
            (
                json!({"a": {"x": 1, "y": 1}}),
                json!({"a": {"y": 2, "z": 3}}),
                json!({"a": {"x": 1, "y": 2, "z": 3}}),
            ),
            (json!({"a": "x"}), json!({"b": "y"}), json!({"a": "x", "b": "y"})),
            (json!({"a": "${P}"}), json!({"a": 1}), json!({"a": 1})),
            (json!({"a": null}), json!({"a": 1}), json!({"a": 1})),
        ] {
            assert_eq!(merge(base, other), (expected, vec![]));
        }
    }

    #[test]
    fn a_type_clash_is_told_with_its_path_and_changes_nothing() {
        let (tree, errors) = merge(json!({"a": {"b": "x"}, "c": 1}), json!({"a": {"b": 1}, "c": 1.5}));
        assert_eq!(tree, json!({"a": {"b": "x"}, "c": 1}));
        assert_eq!(
            errors[0],
            "Incompatible types at path \"$.a.b\", expected \"string\" received \"integer\"."
        );
        assert_eq!(errors[1], "Incompatible types at path \"$.c\", expected \"integer\" received \"float\".");
        assert_eq!(merge(json!({"a": [1]}), json!({"a": {}})).1.len(), 1);
    }
}
