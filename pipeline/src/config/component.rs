//! Component: one component's own options, from the tree to a boxed configuration.
//! In: the body of `sinks.out` and the like, wrapper keys included. Out: the configuration, or every mistake in it.
//! Never: builds anything, shows secrets.

use std::fmt::Debug;

use serde_json::{Map, Value, json};

use super::diagnose::{diagnose, quoted, remove, replace};
use super::document::Document;
use super::error::{Finding, Trail, did_you_mean};
use super::fields::Report;
use super::shape::Shape;
use super::vars::typed;
use crate::component::{ComponentKind, SinkConfig, SourceConfig, TransformConfig, component_descriptions};

/// Most unknown keys told for one component.
const UNKNOWN_MAX: usize = 20;

/// A boxed component configuration.
pub(super) trait Loadable: Debug + Sized {
    const KIND: ComponentKind;
    /// The keys around its own options.
    const WRAPPER_KEYS: &'static [&'static str];

    fn from_tree(body: Value) -> Result<Self, String>;
    fn validate(&self) -> Result<(), Vec<String>>;
    fn notes(&self) -> Vec<String> {
        Vec::new()
    }
}

macro_rules! loadable {
    ($trait:ident, $kind:ident, $keys:expr $(, $notes:item)?) => {
        impl Loadable for Box<dyn $trait> {
            const KIND: ComponentKind = ComponentKind::$kind;
            const WRAPPER_KEYS: &'static [&'static str] = $keys;

            fn from_tree(body: Value) -> Result<Self, String> {
                serde_json::from_value(body).map_err(|error| error.to_string())
            }

            fn validate(&self) -> Result<(), Vec<String>> {
                self.validate_structure()
            }

            $($notes)?
        }
    };
}
loadable!(SourceConfig, Source, &["type", "proxy", "graph"]);
loadable!(TransformConfig, Transform, &["type", "inputs", "graph", "measure_cpu_usage"]);
loadable!(
    SinkConfig,
    Sink,
    &["type", "inputs", "healthcheck", "healthcheck_uri", "buffer", "proxy", "graph"],
    fn notes(&self) -> Vec<String> {
        SinkConfig::notes(self.as_ref())
    }
);

/// Loads the component at `trail`.
pub(super) fn load<T: Loadable>(
    document: &Document,
    trail: &Trail,
    body: &Map<String, Value>,
    report: &mut Report,
) -> Option<T> {
    if document.vars.broken_below(trail) {
        // The missing variable is told already; what follows from it would be noise.
        return None;
    }
    let kind = component_type::<T>(document, trail, body, report)?;
    let shape = Shape::of(T::KIND, kind);
    // `type` first: typetag then reads the rest as it comes and keeps exact messages.
    let own = body.iter().filter(|(key, _)| !T::WRAPPER_KEYS.contains(&key.as_str()));
    let own = own.map(|(key, value)| (key.clone(), value.clone()));
    let options: Map<_, _> = std::iter::once(("type".to_owned(), kind.into())).chain(own).collect();
    let masks = document.masks(trail, &Value::Object(body.clone()));
    let loader = Loader { document, trail, shape: shape.as_ref(), options: Value::Object(options) };

    let Some((component, options)) = loader.load::<T>() else {
        let attempt = |body: Value| T::from_tree(body).map(|_| ());
        let guess = loader.with_variables(Guess::Schema);
        for (place, message) in diagnose(&guess, &attempt) {
            let hint = loader.hint::<T>(&place, &message);
            let finding = Finding::new(trail.join(&place), masks.apply(&message));
            report.errors.push(finding.hint(hint.map(|hint| masks.apply(&hint))));
        }
        return None;
    };
    loader.warn_of_unknown_keys(&component, &options, report);
    for note in component.notes() {
        report.warn(trail.clone(), masks.apply(&note));
    }
    if let Err(mistakes) = component.validate() {
        for mistake in mistakes {
            report.error(trail.clone(), masks.apply(&mistake));
        }
    }
    Some(component)
}

/// The value of `type`, if there is such a component.
fn component_type<'a, T: Loadable>(
    document: &Document,
    trail: &Trail,
    body: &'a Map<String, Value>,
    report: &mut Report,
) -> Option<&'a str> {
    let known: Vec<_> = component_descriptions()
        .into_iter()
        .filter(|description| description.kind == T::KIND)
        .map(|description| description.name)
        .collect();
    let name = match body.get("type") {
        None => {
            let hint = format!("it is one of: {}", known.join(", "));
            report.errors.push(Finding::new(trail.clone(), "missing field `type`").hint(hint));
            return None;
        }
        Some(Value::String(name)) => name,
        Some(other) => {
            let trail = trail.key("type");
            let found = document.describe(&trail, other);
            report.error(trail, format!("invalid type: {found}, expected a string"));
            return None;
        }
    };
    let probe = T::from_tree(json!({"type": name})).err().unwrap_or_default();
    if known.contains(&name.as_str()) || quoted(&probe, "unknown variant ") != Some(name) {
        return Some(name);
    }
    let shown = document.shown(&trail.key("type"), name);
    let elsewhere = component_descriptions().into_iter().find(|other| other.name == name);
    let hint = match elsewhere {
        Some(other) => Some(format!("`{name}` is a {}, not a {}", other.kind.as_str(), T::KIND.as_str())),
        None => did_you_mean(name, known.iter().copied()),
    };
    let message = format!("unknown variant `{shown}`, expected {}", super::fields::expected(&known));
    report.errors.push(Finding::new(trail.clone(), message).hint(hint));
    None
}

/// How a scalar that is one variable is taken where both text and a number are possible.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Guess {
    /// By the component's schema.
    Schema,
    Text,
    Typed,
}

struct Loader<'a> {
    document: &'a Document,
    trail: &'a Trail,
    shape: Option<&'a Shape>,
    options: Value,
}

impl Loader<'_> {
    /// The component and the options it was loaded from. A wrong guess about a variable costs nothing: the others follow.
    fn load<T: Loadable>(&self) -> Option<(T, Value)> {
        [Guess::Schema, Guess::Text, Guess::Typed].into_iter().find_map(|guess| {
            let options = self.with_variables(guess);
            T::from_tree(options.clone()).ok().map(|component| (component, options))
        })
    }

    fn with_variables(&self, guess: Guess) -> Value {
        let mut options = self.options.clone();
        for (at, _) in self.document.vars.touched.iter().filter(|(_, var)| var.whole) {
            if !at.starts_with(self.trail) {
                continue;
            }
            let inner = Trail(at.0[self.trail.0.len()..].to_vec());
            let text = inner.0.iter().try_fold(&self.options, |value, step| match step {
                super::error::Step::Key(key) => value.get(key),
                super::error::Step::Index(index) => value.get(index),
            });
            if let Some(text) = text.and_then(Value::as_str)
                && let Some(value) = self.retype(&inner, text, guess)
            {
                replace(&mut options, &inner.0, value);
            }
        }
        options
    }

    /// What the text of a variable becomes at `place`, if not text.
    fn retype(&self, place: &Trail, text: &str, guess: Guess) -> Option<Value> {
        let types = self.shape.map(|shape| shape.types_at(place, text)).unwrap_or_default();
        let value = typed(text);
        match guess {
            Guess::Text => None,
            Guess::Typed => value,
            // Nothing in YAML (`key: ` and an empty variable) is null.
            Guess::Schema if text.is_empty() => types.null.then_some(Value::Null),
            Guess::Schema => value.filter(|value| match value {
                Value::Bool(_) => types.boolean,
                Value::Number(number) if number.is_f64() => types.decimal,
                _ => types.integer,
            }),
        }
    }

    /// Keys that the schema does not know and without which the component is just the same.
    fn warn_of_unknown_keys<T: Loadable>(&self, component: &T, options: &Value, report: &mut Report) {
        let Some(shape) = self.shape else { return };
        let is = format!("{component:?}");
        let unknown = shape.unknown_keys(options).into_iter().filter(|trail| *trail != Trail::of(&["type"]));
        for place in unknown.take(UNKNOWN_MAX) {
            let mut without = options.clone();
            remove(&mut without, &place.0);
            if T::from_tree(without).is_ok_and(|other| format!("{other:?}") == is) {
                let (key, parent) = match place.0.split_last() {
                    Some((super::error::Step::Key(key), parent)) => (key, Trail(parent.to_vec())),
                    _ => continue,
                };
                let hint = did_you_mean(key, shape.keys_at(&parent));
                let message = format!("unknown field `{key}` is ignored");
                report.warnings.push(Finding::new(self.trail.join(&place), message).hint(hint));
            }
        }
    }

    /// The nearest known name for serde's complaint about a key or a variant.
    fn hint<T: Loadable>(&self, place: &Trail, message: &str) -> Option<String> {
        let backticked = || message.split('`').skip(3).step_by(2);
        if let Some(field) = quoted(message, "unknown field ") {
            let at_key = place
                .0
                .last()
                .is_some_and(|step| matches!(step, super::error::Step::Key(key) if key == field));
            let parent = if at_key { Trail(place.0[..place.0.len() - 1].to_vec()) } else { place.clone() };
            let mut known: Vec<&str> = self.shape.map(|shape| shape.keys_at(&parent)).unwrap_or_default();
            known.extend(backticked());
            if parent.0.is_empty() {
                known.extend(T::WRAPPER_KEYS);
            }
            return did_you_mean(field, known);
        }
        if let (Some(name), true) = (message.split('`').nth(1), message.contains("expected ")) {
            return did_you_mean(name, backticked());
        }
        if message.contains("did not match any variant") {
            let known = self.shape.map(|shape| shape.keys_at(place)).unwrap_or_default();
            return (!known.is_empty()).then(|| format!("known keys here: {}", known.join(", ")));
        }
        None
    }
}
