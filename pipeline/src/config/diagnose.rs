//! Diagnose: where in a component's options an error arises, and whether there are more.
//! In: options that do not load, and a way to try others. Out: paths and messages.
//!
//! Flattened structs and untagged enums lose the path of an error. It is found again by trying: the key without which
//! the error goes away or becomes another is the one. Then something of another type stands in for it, and the next error
//! shows.

use serde_json::{Value, json};

use super::error::{Step, Trail};

/// Most tries for one component. Chosen: more than any real component has keys.
const TRIES_MAX: usize = 400;
/// Most errors told for one component.
const ERRORS_MAX: usize = 20;

/// Tries to load options; `Err` is serde's message.
pub(super) type Try<'a> = &'a dyn Fn(Value) -> Result<(), String>;

/// All errors that can be told apart, with their paths.
pub(super) fn diagnose(body: &Value, attempt: Try<'_>) -> Vec<(Trail, String)> {
    let mut search = Search { attempt, tries: 0 };
    let mut body = body.clone();
    let mut found: Vec<(Trail, String)> = Vec::new();
    let mut left_out: Vec<Trail> = Vec::new();
    while found.len() < ERRORS_MAX
        && let Err(message) = search.message(&body)
    {
        let trail = search.locate(&body, &message);
        let missing = quoted(&message, "missing field ").map(|field| trail.key(field));
        let follows = match &missing {
            Some(missing) => left_out.contains(missing),
            None => left_out.iter().any(|out| out.starts_with(&trail)),
        };
        if follows && missing.is_none() {
            break;
        }
        let leaf = missing.clone().unwrap_or_else(|| match quoted(&message, "unknown field ") {
            // Vector tells the full path only below the component's own keys.
            Some(field) if trail.0.is_empty() => trail.key(field),
            _ => trail.clone(),
        });
        if !follows {
            found.push((trail, message.clone()));
        }
        // What is wrong is better replaced than left out: other keys may need it.
        let unknown = message.starts_with("unknown field ");
        let filled = !unknown && search.fill(&mut body, &leaf, &message);
        let goes_on = filled || missing.is_none() && remove(&mut body, &leaf.0);
        if !goes_on {
            break;
        }
        left_out.push(leaf);
    }
    found
}

/// The name in backticks after `start`.
pub(super) fn quoted<'a>(message: &'a str, start: &str) -> Option<&'a str> {
    Some(message.strip_prefix(start)?.strip_prefix('`')?.split_once('`')?.0)
}

struct Search<'a> {
    attempt: Try<'a>,
    tries: usize,
}

impl Search<'_> {
    fn message(&mut self, body: &Value) -> Result<(), String> {
        self.tries += 1;
        (self.attempt)(body.clone())
    }

    /// Whether the error is another one, or none, with this body.
    fn differs(&mut self, body: &Value, message: &str) -> bool {
        self.tries < TRIES_MAX && self.message(body).err().as_deref() != Some(message)
    }

    fn locate(&mut self, body: &Value, message: &str) -> Trail {
        if let Some(field) = quoted(message, "missing field ") {
            return self.locate_missing(body, message, field);
        }
        if let Some(field) = quoted(message, "unknown field ") {
            return self.locate_unknown(body, message, field);
        }
        let mut trail = Trail::default();
        while let Some(next) = self.culprit(body, &trail, message) {
            trail = next;
        }
        trail
    }

    /// The child of `trail` that is to blame.
    fn culprit(&mut self, body: &Value, trail: &Trail, message: &str) -> Option<Trail> {
        let mut second_best = None;
        for child in children(body, trail) {
            let mut without = body.clone();
            if !remove(&mut without, &child.0) || self.tries >= TRIES_MAX {
                continue;
            }
            let outcome = self.message(&without);
            if outcome.as_ref().err().map(String::as_str) == Some(message) {
                continue;
            }
            // The key is required: it may be to blame, or it only changes which error comes first.
            let required = match (&outcome, child.0.last()) {
                (Err(new), Some(Step::Key(key))) => quoted(new, "missing field ") == Some(key),
                _ => false,
            };
            if !required {
                return Some(child);
            }
            second_best.get_or_insert(child);
        }
        second_best
    }

    /// The map in which `field` is missing: the one where adding it changes the error.
    fn locate_missing(&mut self, body: &Value, message: &str, field: &str) -> Trail {
        let mut maps = vec![Trail::default()];
        let mut next = 0;
        while let Some(trail) = maps.get(next).cloned() {
            next += 1;
            let mut with = body.clone();
            let map = at_mut(&mut with, &trail.0).and_then(Value::as_object_mut);
            if let Some(map) = map
                && !map.contains_key(field)
            {
                map.insert(field.to_owned(), Value::Null);
                if self.differs(&with, message) {
                    return trail;
                }
            }
            if maps.len() < TRIES_MAX {
                maps.extend(children(body, &trail));
            }
        }
        Trail::default()
    }

    /// Puts something of the right type where a key is missing or wrong, so that the next error shows; whether it does.
    fn fill(&mut self, body: &mut Value, key: &Trail, message: &str) -> bool {
        const NAMES_MAX: usize = 6;
        // Where the message lists what is expected, one of that is surely right.
        let names = message.split('`').skip(3).step_by(2).take(NAMES_MAX).map(|name| json!(name));
        let plain = [json!("x"), json!(1), json!(true), json!([]), json!({}), json!(["x"])];
        for filler in names.chain(plain) {
            let mut filled = body.clone();
            let Some((last, parents)) = key.0.split_last() else { return false };
            match (at_mut(&mut filled, parents), last) {
                (Some(Value::Object(map)), Step::Key(name)) => {
                    map.insert(name.clone(), filler);
                }
                (Some(Value::Array(list)), Step::Index(index)) if *index < list.len() => {
                    list[*index] = filler
                }
                _ => return false,
            }
            if self.tries >= TRIES_MAX {
                return false;
            }
            let fits = match self.message(&filled) {
                Ok(()) => true,
                Err(new) if new == message => false,
                // Only an error with another place of its own is surely not about the filler.
                Err(new) => {
                    let place = self.locate(&filled, &new);
                    !place.starts_with(key) && (!place.0.is_empty() || new.starts_with("missing field "))
                }
            };
            if fits {
                *body = filled;
                return true;
            }
        }
        false
    }

    /// The place of an unknown key: the component for its own keys, else the key itself.
    fn locate_unknown(&mut self, body: &Value, message: &str, field: &str) -> Trail {
        let mut maps = vec![Trail::default()];
        let mut next = 0;
        while let Some(trail) = maps.get(next).cloned() {
            next += 1;
            let key = trail.key(field);
            let mut without = body.clone();
            if remove(&mut without, &key.0) && self.differs(&without, message) {
                return if trail.0.is_empty() { trail } else { key };
            }
            if maps.len() < TRIES_MAX {
                maps.extend(children(body, &trail));
            }
        }
        Trail::default()
    }
}

fn children(body: &Value, trail: &Trail) -> Vec<Trail> {
    let mut value = body;
    for step in &trail.0 {
        let next = match step {
            Step::Key(key) => value.get(key),
            Step::Index(index) => value.get(index),
        };
        let Some(next) = next else { return Vec::new() };
        value = next;
    }
    match value {
        Value::Object(map) => {
            let keys = map.keys().filter(|key| !(trail.0.is_empty() && *key == "type"));
            keys.take(TRIES_MAX).map(|key| trail.key(key)).collect()
        }
        Value::Array(list) => (0..list.len().min(TRIES_MAX)).map(|index| trail.index(index)).collect(),
        _ => Vec::new(),
    }
}

fn at_mut<'a>(value: &'a mut Value, steps: &[Step]) -> Option<&'a mut Value> {
    steps.iter().try_fold(value, |value, step| match step {
        Step::Key(key) => value.get_mut(key),
        Step::Index(index) => value.get_mut(index),
    })
}

/// Takes the value at `steps` out; whether there was one.
pub(super) fn remove(value: &mut Value, steps: &[Step]) -> bool {
    let Some((last, parents)) = steps.split_last() else { return false };
    match (at_mut(value, parents), last) {
        (Some(Value::Object(map)), Step::Key(key)) => map.shift_remove(key).is_some(),
        (Some(Value::Array(list)), Step::Index(index)) if *index < list.len() => {
            list.remove(*index);
            true
        }
        _ => false,
    }
}

/// Puts `new` at `steps`, where something stands already.
pub(super) fn replace(value: &mut Value, steps: &[Step], new: Value) {
    if let Some(slot) = at_mut(value, steps) {
        *slot = new;
    }
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    #[derive(Deserialize)]
    #[allow(dead_code)]
    struct Options {
        name: String,
        encoding: Encoding,
        #[serde(flatten)]
        flat: Flat,
        list: Option<Vec<u8>>,
    }

    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    #[allow(dead_code)]
    struct Encoding {
        codec: Codec,
    }

    #[derive(Deserialize)]
    #[allow(dead_code)]
    enum Codec {
        #[serde(rename = "json")]
        Json,
    }

    #[derive(Deserialize)]
    #[allow(dead_code)]
    struct Flat {
        batch: Option<Batch>,
        auth: Option<Auth>,
        pair: Option<Pair>,
    }

    #[derive(Deserialize)]
    #[allow(dead_code)]
    struct Batch {
        max_events: Option<usize>,
    }

    #[derive(Deserialize)]
    #[serde(untagged)]
    #[allow(dead_code)]
    enum Auth {
        Keys { id: String },
        Role { role: String },
    }

    #[derive(Deserialize)]
    #[serde(try_from = "PairForm")]
    struct Pair;

    #[derive(Deserialize)]
    struct PairForm {
        left: Option<String>,
        right: Option<String>,
    }

    impl TryFrom<PairForm> for Pair {
        type Error = String;

        fn try_from(form: PairForm) -> Result<Self, String> {
            let fits = form.left.is_some() == form.right.is_some();
            fits.then_some(Self).ok_or_else(|| "`left` needs `right`".to_owned())
        }
    }

    fn run(body: Value) -> Vec<(String, String)> {
        let attempt = |body: Value| {
            serde_json::from_value::<Options>(body).map(|_| ()).map_err(|error| error.to_string())
        };
        diagnose(&body, &attempt).into_iter().map(|(trail, message)| (trail.to_string(), message)).collect()
    }

    #[test]
    fn paths_survive_flattening_and_untagged_enums() {
        let codec = json!({"codec": "json"});
        for (body, path, message) in [
            (
                json!({"name": "x", "encoding": codec, "batch": {"max_events": "y"}}),
                "batch.max_events",
                "invalid type",
            ),
            (json!({"name": 1, "encoding": codec}), "name", "invalid type: integer `1`"),
            (json!({"name": "x", "encoding": {}}), "encoding", "missing field `codec`"),
            (json!({"encoding": codec}), "", "missing field `name`"),
            (json!({"name": "x"}), "", "missing field `encoding`"),
            (
                json!({"name": "x", "encoding": {"codec": "json", "bogus": 1}}),
                "encoding.bogus",
                "unknown field `bogus`",
            ),
            (
                json!({"name": "x", "encoding": codec, "auth": {"rolle": "r"}}),
                "auth",
                "did not match any variant",
            ),
            (json!({"name": "x", "encoding": codec, "list": [1, 2, "x"]}), "list[2]", "invalid type"),
        ] {
            let found = run(body.clone());
            assert_eq!(found.len(), 1, "{body}: {found:?}");
            assert_eq!(found[0].0, path, "{body}");
            assert!(found[0].1.contains(message), "{found:?}");
        }
        assert!(run(json!({"name": "x", "encoding": codec})).is_empty());
    }

    #[test]
    fn several_errors_are_told_at_once_and_none_that_only_follow() {
        let found = run(json!({
            "name": 1, "encoding": {"codec": "json", "bogus": 1}, "batch": {"max_events": "y"}, "auth": 5,
        }));
        let paths: Vec<_> = found.iter().map(|(path, _)| path.as_str()).collect();
        assert_eq!(paths, ["name", "encoding.bogus", "batch.max_events", "auth"], "{found:?}");
        let pair = json!({"left": "x", "right": 5});
        let found = run(json!({"name": "x", "encoding": {"codec": "json"}, "pair": pair}));
        assert_eq!(found.len(), 1, "{found:?}");
        assert_eq!(found[0].0, "pair.right");
        let found = run(json!({"name": "x", "encoding": {"codec": "jsno"}, "auth": 5}));
        assert_eq!(found.len(), 2, "{found:?}");
        let found = run(json!({"list": ["x"]}));
        let told: Vec<_> = found.iter().map(|(path, message)| format!("{path}: {message}")).collect();
        assert_eq!(told.len(), 3, "{told:?}");
        assert!(told[0].starts_with("list[0]: invalid type"));
        assert_eq!(told[1..], [": missing field `name`", ": missing field `encoding`"]);
    }
}
