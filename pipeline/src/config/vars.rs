//! Vars: environment variables in the scalars of a tree, `${NAME}` and its kin, replaced after parsing.
//! In: a parsed tree and a way to look names up. Out: the tree with values in it, and which scalars were touched.
//! Never: changes keys or structure, reads the environment itself, or puts a value into a message.
//!
//! The forms are Vector's: `$$` is one `$`; `$NAME`, `${NAME}`; `${NAME:-default}` when unset or empty, `${NAME-default}`
//! when unset; `${NAME:?message}` and `${NAME?message}` refuse instead. Anything else that starts with `$` stays.
//! A scalar that is nothing but one variable may become a number or a boolean where the option wants one (`port: ${PORT}`);
//! see [`typed`]. Everywhere else the result is a string.

use std::collections::{HashMap, HashSet};

use serde_json::{Map, Number, Value};

use super::error::{Finding, Trail};

/// Looks a variable up.
pub(super) type Lookup<'a> = &'a dyn Fn(&str) -> Option<String>;

/// A scalar that held variables.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Var {
    /// As it stands in the file; this may be shown.
    pub(super) raw: String,
    /// Whether the scalar is one variable and nothing else.
    pub(super) whole: bool,
}

/// Which scalars of a tree came from variables.
#[derive(Clone, Debug, Default)]
pub(super) struct Vars {
    pub(super) touched: HashMap<Trail, Var>,
    /// Scalars whose variables could not be had; their text is as in the file.
    pub(super) broken: HashSet<Trail>,
}

impl Vars {
    /// Whether a variable is missing at `trail` or below it.
    pub(super) fn broken_below(&self, trail: &Trail) -> bool {
        self.broken.iter().any(|broken| broken.starts_with(trail))
    }

    /// Whether the scalar at `trail` is one variable and nothing else.
    pub(super) fn is_whole(&self, trail: &Trail) -> bool {
        self.touched.get(trail).is_some_and(|var| var.whole)
    }
}

/// Replaces the variables in all string scalars of `tree`. Mistakes go to `errors`, all of them.
pub(super) fn interpolate(
    tree: &mut Map<String, Value>,
    lookup: Lookup<'_>,
    errors: &mut Vec<Finding>,
) -> Vars {
    let mut vars = Vars::default();
    for (key, value) in tree.iter_mut() {
        visit(value, &Trail::of(&[key]), &mut |text, trail| match substitute(text, lookup) {
            Ok(None) => {}
            Ok(Some(done)) => {
                let raw = std::mem::replace(text, done.text);
                if done.variables > 0 {
                    vars.touched.insert(trail.clone(), Var { raw, whole: done.whole });
                }
            }
            Err(messages) => {
                vars.broken.insert(trail.clone());
                errors.extend(messages.into_iter().map(|message| Finding::new(trail.clone(), message)));
            }
        });
    }
    vars
}

/// Refuses `SECRET[backend.key]`, which Vector would replace: taken as text it would be a wrong password.
pub(super) fn refuse_secrets(tree: &mut Map<String, Value>, errors: &mut Vec<Finding>) {
    for (key, value) in tree.iter_mut() {
        visit(value, &Trail::of(&[key]), &mut |text, trail| {
            if let Some(secret) = secret_reference(text) {
                let message = format!("{secret} is not supported: there are no secret backends here");
                let hint = "use a variable, `${NAME}`, and set it in the environment";
                errors.push(Finding::new(trail.clone(), message).hint(hint.to_owned()));
            }
        });
    }
}

fn visit(value: &mut Value, trail: &Trail, each: &mut dyn FnMut(&mut String, &Trail)) {
    match value {
        Value::String(text) => each(text, trail),
        Value::Array(list) => {
            for (index, item) in list.iter_mut().enumerate() {
                visit(item, &trail.index(index), each);
            }
        }
        Value::Object(map) => {
            for (key, item) in map.iter_mut() {
                visit(item, &trail.key(key), each);
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

#[derive(Debug, PartialEq, Eq)]
struct Substituted {
    text: String,
    variables: usize,
    whole: bool,
}

/// The text with its variables replaced; `None` if it holds none and no `$$`.
fn substitute(text: &str, lookup: Lookup<'_>) -> Result<Option<Substituted>, Vec<String>> {
    if !text.contains('$') {
        return Ok(None);
    }
    let mut done = Substituted { text: String::with_capacity(text.len()), variables: 0, whole: false };
    let mut errors = Vec::new();
    let mut changed = false;
    let mut rest = text;
    while let Some(at) = rest.find('$') {
        done.text.push_str(&rest[..at]);
        let after = &rest[at + 1..];
        if let Some(next) = after.strip_prefix('$') {
            done.text.push('$');
            changed = true;
            rest = next;
        } else if let Some((reference, length)) = Reference::parse(after) {
            match reference.value(lookup) {
                Ok(value) => done.text.push_str(&value),
                Err(error) => errors.push(error),
            }
            done.variables += 1;
            done.whole = at == 0 && length == text.len() - 1;
            changed = true;
            rest = &after[length..];
        } else {
            done.text.push('$');
            rest = after;
        }
    }
    done.text.push_str(rest);
    if errors.is_empty() { Ok(changed.then_some(done)) } else { Err(errors) }
}

/// A variable and what to do without it.
struct Reference<'a> {
    name: &'a str,
    otherwise: Otherwise<'a>,
    empty_counts_as_unset: bool,
}

enum Otherwise<'a> {
    Missing,
    Default(&'a str),
    Refuse(&'a str),
}

impl<'a> Reference<'a> {
    /// Reads what follows a `$`: the reference and its length.
    fn parse(text: &'a str) -> Option<(Self, usize)> {
        let Some(inner) = text.strip_prefix('{') else {
            let length = name_len(text);
            let name = &text[..length];
            let plain = Self { name, otherwise: Otherwise::Missing, empty_counts_as_unset: false };
            return (length > 0).then_some((plain, length));
        };
        let (name, tail) = inner.split_at(name_len(inner));
        let (inside, _) = tail.split_once('}')?;
        if name.is_empty() {
            return None;
        }
        let (empty_counts_as_unset, operator) = match inside.strip_prefix(':') {
            Some(operator) => (true, operator),
            None => (false, inside),
        };
        let otherwise = if inside.is_empty() {
            Otherwise::Missing
        } else if let Some(default) = operator.strip_prefix('-') {
            Otherwise::Default(default)
        } else {
            Otherwise::Refuse(operator.strip_prefix('?')?)
        };
        // The braces, the name, and what stands between them.
        let length = 2 + name.len() + inside.len();
        Some((Self { name, otherwise, empty_counts_as_unset }, length))
    }

    fn value(&self, lookup: Lookup<'_>) -> Result<String, String> {
        let name = self.name;
        match lookup(name) {
            Some(value) if value.contains(['\n', '\r']) => {
                Err(format!("Environment variable contains newline character. name = {name:?}"))
            }
            Some(value) if !(value.is_empty() && self.empty_counts_as_unset) => Ok(value),
            _ => match self.otherwise {
                Otherwise::Missing => Err(format!("Missing environment variable in config. name = {name:?}")),
                Otherwise::Default(default) => Ok(default.to_owned()),
                Otherwise::Refuse(message) => {
                    let what = if self.empty_counts_as_unset {
                        "Non-empty environment variable required in config."
                    } else {
                        "Missing environment variable required in config."
                    };
                    Err(format!("{what} name = {name:?}, error = {message:?}"))
                }
            },
        }
    }
}

/// Names are ASCII letters, digits, `_` and `.`.
fn name_len(text: &str) -> usize {
    text.bytes().take_while(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.')).count()
}

/// The first `SECRET[backend.key]` in `text`.
fn secret_reference(text: &str) -> Option<&str> {
    text.match_indices("SECRET[").find_map(|(at, _)| {
        let reference = &text[at..];
        let reference = &reference[..=reference.find(']')?];
        let (backend, key) = reference["SECRET[".len()..reference.len() - 1].split_once('.')?;
        let word = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-');
        let fits = !backend.is_empty()
            && !key.is_empty()
            && backend.bytes().all(word)
            && key.bytes().all(|byte| word(byte) || matches!(byte, b'.' | b'/'));
        fits.then_some(reference)
    })
}

/// What YAML would make of a plain scalar: a boolean, an integer or a decimal number. `None` for anything else, also for
/// `007`, `1_000`, `.inf`, `null`: what may have been meant as text stays text.
pub(super) fn typed(text: &str) -> Option<Value> {
    match text {
        "true" => return Some(true.into()),
        "false" => return Some(false.into()),
        _ => {}
    }
    let digits = text.strip_prefix(['-', '+']).unwrap_or(text);
    let whole = digits.split(['.', 'e', 'E']).next().unwrap_or_default();
    let fits = digits.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'.' | b'e' | b'E' | b'+' | b'-'))
        && !whole.is_empty()
        && (whole == "0" || !whole.starts_with('0'));
    if !fits {
        return None;
    }
    if digits.len() == whole.len() {
        return text.parse::<i64>().ok().map(Into::into);
    }
    text.parse::<f64>().ok().and_then(Number::from_f64).map(Value::Number)
}

#[cfg(test)]
#[path = "vars/tests.rs"]
mod tests;
